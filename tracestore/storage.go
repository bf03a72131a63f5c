package tracestore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/segment"
)

// Storage is what the store holds, file by file.
type Storage struct {
	Stats
	Log         LogStats
	SegmentList []SegmentInfo // the newest arrival first
	SetAside    []FileInfo    // cannot be read
	Quarantined []FileInfo    // the catalogue does not know them
	Retention   Retention
}

// LogStats is what waits in the ingest log.
type LogStats struct {
	Messages  int64 // not trimmed yet
	Bytes     int64
	Unapplied int64 // of the messages: not findable yet
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	ID                                     string
	Path                                   string
	Rows                                   int
	SizeBytes                              int64
	Level                                  int // how often its rows were compacted
	MinStartUnixNano, MaxStartUnixNano     int64
	MinArrivedUnixNano, MaxArrivedUnixNano int64
	CreatedUnixNano                        int64
}

// FileInfo describes a file that answers no query.
type FileInfo struct {
	Path      string // relative to the data folder
	Why       string
	SizeBytes int64
	// GoneUnixNano is when it will be deleted; 0: not by itself.
	GoneUnixNano int64
}

// Retention is what the store keeps, as it was set. 0 or less: for ever, without a
// limit.
type Retention struct {
	Spans, Edges time.Duration
	Environments []EnvironmentAge // shorter ages, by name
	MaxDiskBytes int64
}

// EnvironmentAge is how long the spans of an environment are kept.
type EnvironmentAge struct {
	Environment string
	Age         time.Duration
}

// Storage describes what the store holds.
func (s *Store) Storage(ctx context.Context) (Storage, error) {
	out := Storage{Stats: s.Stats(), Retention: Retention{Spans: s.o.SpanRetention, Edges: s.o.EdgeRetention, MaxDiskBytes: s.o.MaxDiskBytes}}
	for _, e := range slices.Sorted(maps.Keys(s.o.EnvironmentRetention)) {
		out.Retention.Environments = append(out.Retention.Environments, EnvironmentAge{e, s.o.EnvironmentRetention[e]})
	}
	var err error
	if out.Log, err = s.LogStats(ctx); err != nil {
		return out, err
	}
	v := s.acquire()
	if v == nil {
		return out, ErrClosed
	}
	defer v.release()
	for _, f := range v.segments {
		out.SegmentList = append(out.SegmentList, SegmentInfo{
			ID: f.ID, Path: f.Path, Rows: f.Rows, SizeBytes: f.SizeBytes, Level: f.Level, CreatedUnixNano: f.Created,
			MinStartUnixNano: f.MinStart, MaxStartUnixNano: f.MaxStart, MinArrivedUnixNano: f.MinArrived, MaxArrivedUnixNano: f.MaxArrived,
		})
	}
	slices.SortStableFunc(out.SegmentList, func(a, b SegmentInfo) int { return cmp.Compare(b.MaxArrivedUnixNano, a.MaxArrivedUnixNano) })
	for _, f := range out.CorruptFiles {
		path, why, _ := strings.Cut(f, ": ")
		out.SetAside = append(out.SetAside, FileInfo{Path: path, Why: why, SizeBytes: fileSize(filepath.Join(s.o.Dir, path))})
	}
	entries, err := os.ReadDir(filepath.Join(s.o.Dir, quarantineDir))
	if err != nil {
		return out, fmt.Errorf("tracestore: storage: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it has just gone
			out.Quarantined = append(out.Quarantined, FileInfo{Path: filepath.Join(quarantineDir, e.Name()), Why: "not in the catalogue",
				SizeBytes: info.Size(), GoneUnixNano: info.ModTime().Add(quarantineAge).UnixNano()})
		}
	}
	return out, nil
}

// LogStats says what waits in the ingest log.
func (s *Store) LogStats(ctx context.Context) (LogStats, error) {
	state, err := s.log.State(ctx)
	if err != nil {
		return LogStats{}, fmt.Errorf("tracestore: state of the ingest log: %w", err)
	}
	return LogStats{
		Messages: int64(state.Last + 1 - state.First), Bytes: int64(state.Bytes),
		Unapplied: max(0, int64(state.Last)-int64(s.applied.Load())),
	}, nil
}

// Keys is what the attributes take.
type Keys struct {
	Keys []KeyInfo // by falling size
	// Other are the bytes that belong to no key of their own: rare keys together,
	// events, links.
	Other []PartSize
}

// KeyInfo is what one key of attributes takes.
type KeyInfo struct {
	Key       string
	Types     []string
	Rows      int64 // with a value, in segments and memory
	SizeBytes int64 // in segments; 0 if it lies with other rare keys
}

// PartSize is a part of all segments and its size.
type PartSize struct {
	Name      string
	SizeBytes int64
}

// Keys returns what the attributes of all rows take. It reads the footer of every
// segment.
func (s *Store) Keys(ctx context.Context) (Keys, error) {
	v := s.acquire()
	if v == nil {
		return Keys{}, ErrClosed
	}
	defer v.release()
	var out Keys
	byKey, byPart := make(map[string]*KeyInfo), make(map[string]int)
	count := func(c segment.ColumnSize) {
		if c.Key == "" {
			at, ok := byPart[c.Part]
			if !ok {
				at = len(out.Other)
				byPart[c.Part], out.Other = at, append(out.Other, PartSize{Name: c.Part})
			}
			out.Other[at].SizeBytes += c.Bytes
			return
		}
		k := byKey[c.Key]
		if k == nil {
			k = &KeyInfo{Key: c.Key}
			byKey[c.Key] = k
		}
		k.Rows += int64(c.Rows)
		k.SizeBytes += c.Bytes
		if name := c.Type.String(); !slices.Contains(k.Types, name) {
			k.Types = append(k.Types, name)
		}
	}
	for _, f := range v.segments {
		if err := ctx.Err(); err != nil {
			return Keys{}, err
		}
		sizes, err := f.file.ColumnSizes()
		if err != nil {
			if !s.setAsideSegment(f, err) {
				return Keys{}, err
			}
			continue
		}
		for _, c := range sizes {
			count(c)
		}
	}
	for _, t := range v.tables {
		for _, b := range t.mem.Blocks() {
			for _, c := range b.Columns() {
				if key, ok := column.TakenKey(c.Key); ok {
					c.Key = key
				}
				count(segment.ColumnSize{Key: c.Key, Type: c.Type, Rows: c.Rows})
			}
		}
	}
	for _, k := range byKey {
		out.Keys = append(out.Keys, *k)
	}
	slices.SortFunc(out.Keys, func(a, b KeyInfo) int {
		return cmp.Or(cmp.Compare(b.SizeBytes, a.SizeBytes), cmp.Compare(b.Rows, a.Rows), strings.Compare(a.Key, b.Key))
	})
	return out, nil
}
