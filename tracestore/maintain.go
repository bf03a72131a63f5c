package tracestore

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// maintainEvery is the pause between two rounds of retention.
const maintainEvery = time.Minute

// maintain is the goroutine that drops what is too old or too much.
func (s *Store) maintain() {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		s.retain()
		s.emptyQuarantine()
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
	}
}

// retain drops segments and runs of edges whose last row arrived longer ago than
// they are kept, and the oldest segments while all take more than MaxDiskBytes.
func (s *Store) retain() {
	v := s.acquire()
	if v == nil {
		return
	}
	defer v.release()
	now := s.o.Now()
	segments := make(map[*segmentFile]bool)
	var ids []string
	drop := func(f *segmentFile) {
		if !segments[f] {
			segments[f] = true
			ids = append(ids, f.ID)
		}
	}
	if s.o.SpanRetention > 0 {
		limit := now.Add(-s.o.SpanRetention).UnixNano()
		for _, f := range v.segments {
			if f.MaxArrived < limit {
				drop(f)
			}
		}
	}
	if s.o.MaxDiskBytes > 0 {
		var sum int64
		byAge := slices.Clone(v.segments)
		slices.SortFunc(byAge, func(a, b *segmentFile) int { return int(min(max(b.MaxArrived-a.MaxArrived, -1), 1)) })
		for _, f := range byAge {
			if sum += f.SizeBytes; sum > s.o.MaxDiskBytes {
				drop(f)
			}
		}
	}
	if len(ids) > 0 {
		if err := s.cat.deleteSegments(s.ctx, ids); err != nil {
			s.o.Logger.Error("drop old segments", "error", err)
			return
		}
		for f := range segments {
			f.drop.Store(true)
		}
		s.change(func(v *view) {
			v.segments = slices.DeleteFunc(v.segments, func(f *segmentFile) bool { return segments[f] })
		})
		s.o.Logger.Info("old segments dropped", "segments", len(ids))
	}
	s.retainEdges(v, now)
}

func (s *Store) retainEdges(v *view, now time.Time) {
	if s.o.EdgeRetention <= 0 {
		return
	}
	limit := now.Add(-s.o.EdgeRetention).UnixNano()
	runs := make(map[*edgeFile]bool)
	var ids []string
	for _, f := range v.runs {
		if f.MaxArrived < limit {
			runs[f] = true
			ids = append(ids, f.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	if err := s.cat.deleteEdges(s.ctx, ids); err != nil {
		s.o.Logger.Error("drop old edges", "error", err)
		return
	}
	for f := range runs {
		f.drop.Store(true)
	}
	s.change(func(v *view) { v.runs = slices.DeleteFunc(v.runs, func(f *edgeFile) bool { return runs[f] }) })
}

// emptyQuarantine deletes files that were set aside long enough ago.
func (s *Store) emptyQuarantine() {
	dir := filepath.Join(s.o.Dir, quarantineDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.o.Logger.Error("read quarantine", "error", err)
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || s.o.Now().Sub(info.ModTime()) < quarantineAge {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			s.o.Logger.Error("empty quarantine", "error", err)
		}
	}
}
