package views

import (
	"net/url"
	"strconv"
	"time"
)

// Timeline is what happened, as its order wants it.
type Timeline struct {
	ID       string // of the investigation
	All      bool   // the whole log; else what matters
	Recorded bool   // by when it was told, the newest first; else as it happened
	Offset   int64  // of the log that it shows
	Last     int64  // where the log ends
	At       int64  // the board is shown as it was then, 0: as it is
	Entries  []TimelineEntry
	Hidden   int // entries taken out
	More     int // older ones
	Ref      string
	CanWrite bool
	Now      time.Time
}

// TimelineEntry is one thing that happened, in words.
type TimelineEntry struct {
	ID       string
	Offset   int64 // of the change that it shows, 0: none
	At       time.Time
	Recorded time.Time // when it was told, if that was another time
	Who      string
	What     string
	Detail   string
	Href     string // "#b_…", "" if it is gone
	Tone     string // thread, warn, ok, deploy or ""
	Pinned   bool
	Hidden   bool
	Edited   bool
	EditHref string // "" for whoever may not
	ThenHref string // the board as it was then
}

func (e TimelineEntry) elementID() string { return "entry-" + e.ID }

// timelineDay is what a timeline tells of one day. Its entries say the date of times
// that are not of the same day as base.
type timelineDay struct {
	day     time.Time // zero: it has no heading
	base    time.Time
	entries []TimelineEntry
}

// days are the entries by the day that they are sorted by, in UTC until the script of
// the page knows the reader's zone; one without a heading if all are of one day.
func (t Timeline) days() []timelineDay {
	var days []timelineDay
	for _, e := range t.Entries {
		at := e.At.UTC()
		if t.Recorded && !e.Recorded.IsZero() {
			at = e.Recorded.UTC()
		}
		n := len(days)
		if n == 0 || days[n-1].day.Format(time.DateOnly) != at.Format(time.DateOnly) {
			days, n = append(days, timelineDay{day: at, base: at}), n+1
		}
		days[n-1].entries = append(days[n-1].entries, e)
	}
	if len(days) == 1 {
		days[0].day, days[0].base = time.Time{}, t.Now
	}
	return days
}

// query is the address of the same page with other settings of the timeline.
func (t Timeline) query(all, recorded bool) string {
	q := url.Values{}
	if t.At > 0 {
		q.Set("at", strconv.FormatInt(t.At, 10))
	}
	if all {
		q.Set("timeline", "all")
	}
	if recorded {
		q.Set("order", "recorded")
	}
	path := investigationURL(t.ID)
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path + "#timeline-title"
}

// TimelineEdit is the form of one entry.
type TimelineEdit struct {
	Page     Page
	ID       string // of the investigation
	Entry    TimelineEntry
	Says     string // what stands in the log, "" for one written by hand
	Text     string
	Happened time.Time
	Seen     int64
	Ref      string
	Mine     bool // may delete it
}

func (e TimelineEdit) url() string {
	return investigationURL(e.ID) + "/timeline/" + url.PathEscape(e.Entry.ID)
}

// Replay says which moment of a board is shown.
type Replay struct {
	ID       string
	At       int64
	Last     int64
	Time     time.Time
	What     string // the change made then
	Erased   int    // things that stood there and were deleted since
	Settings []Option
}

func (r Replay) href(at int64) string {
	q := url.Values{"at": {strconv.FormatInt(at, 10)}}
	for _, s := range r.Settings {
		q.Set(s.Label, s.Value)
	}
	return investigationURL(r.ID) + "?" + q.Encode()
}
