package views

import (
	"strconv"
	"time"

	"redthread/views/ui"
)

// TabStorage is the page about what the span store holds.
const TabStorage = "storage"

// Storage is what the span store holds and how it is.
type Storage struct {
	Settings
	Warnings []string
	Tiles    []StorageTile
	Groups   []StorageGroup
	Aside    []StorageFile // cannot be read, or not known
	Keys     []StorageKey  // as many as are shown, by falling size
	AllKeys  int
	KeysMore string // address of the page with all; "" when all are shown
	Segments []StorageSegment
	// AllSegments and SegmentsMore are as for keys.
	AllSegments  int
	SegmentsMore string
}

// StorageTile is a figure that one looks for first.
type StorageTile struct{ Label, Value, Note string }

// StorageGroup is a list of facts under a title.
type StorageGroup struct {
	Title string
	Facts []AboutFact
}

// StorageFile is a file that answers no query.
type StorageFile struct {
	Path, Why string
	SizeBytes int64
	Gone      time.Time // when it will be deleted; zero: not by itself
}

// StorageKey is what one key takes.
type StorageKey struct {
	Key, Types string
	Rows       int64 // -1: not counted
	Share      string
	SizeBytes  int64 // 0: with other rare keys
	PerRow     string
	Quiet      bool // not a key: what lies beside them
}

// StorageSegment is one segment.
type StorageSegment struct {
	Name        string
	Rows        int
	SizeBytes   int64
	Level       int
	From, To    time.Time // starts of its rows
	ArrivedLast time.Time
}

// PerRow prints the bytes of a row: "53.4 B".
func (s StorageSegment) PerRow() string { return BytesPerRow(s.SizeBytes, int64(s.Rows)) }

// BytesPerRow prints how many bytes a row takes, "" without rows.
func BytesPerRow(size, rows int64) string {
	if rows <= 0 {
		return ""
	}
	per := float64(size) / float64(rows)
	if per >= 1024 {
		return ui.Bytes(int64(per))
	}
	prec := 1
	if per < 0.1 {
		prec = 2
	}
	return strconv.FormatFloat(per, 'f', prec, 64) + " B"
}

// storageLevel says how often the rows of a segment were written.
func storageLevel(level int) string {
	if level == 0 {
		return "as it came"
	}
	return "merged"
}
