package tracestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"redthread/tracestore/segment"
)

// maintainEvery is the pause between two rounds of retention.
const maintainEvery = time.Minute

// maintain is the goroutine that drops what is too old or too much, and joins
// runs of edges.
func (s *Store) maintain() {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	s.renewEdges()
	s.round()
	for {
		select {
		case <-tick.C:
			s.round()
		case done := <-s.rounds:
			s.round()
			close(done)
		case <-s.quit:
			return
		}
	}
}

func (s *Store) round() {
	s.retain()
	if s.runs.TryLock() { // else they are being rebuilt
		s.mergeEdges()
		s.runs.Unlock()
	}
	s.emptyQuarantine()
	s.forgetDropped()
}

// Maintain runs retention and merging now and returns when they are done.
func (s *Store) Maintain(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case s.rounds <- done:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return ErrClosed
	}
	<-done
	return nil
}

// retain drops segments and runs of edges whose last row arrived longer ago than
// they are kept, and the oldest ones while all take more than MaxDiskBytes.
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
		// Edges are kept for longer and have their share of the space first.
		var sum int64
		for _, f := range v.runs {
			sum += f.SizeBytes
		}
		sum = min(sum, s.o.MaxDiskBytes/maxEdgeShare)
		byAge := slices.Clone(v.segments)
		slices.SortFunc(byAge, func(a, b *segmentFile) int { return cmp.Compare(b.MaxArrived, a.MaxArrived) })
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
	if s.runs.TryLock() {
		s.retainEdges(now)
		s.retainCorrupt(now)
		s.runs.Unlock()
	}
}

// retainCorrupt forgets files that were set aside, once they are as old as what
// they held would be kept.
func (s *Store) retainCorrupt(now time.Time) {
	s.status.Lock()
	some := len(s.corrupt) > 0
	s.status.Unlock()
	if !some {
		return
	}
	forget := func(path string) {
		full := filepath.Join(s.o.Dir, path)
		for _, p := range []string{full, segment.IndexPath(full)} {
			if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
				s.o.Logger.Error("drop a corrupt file", "error", err)
			}
		}
		s.status.Lock()
		delete(s.corrupt, path)
		delete(s.lost, path)
		s.status.Unlock()
	}
	segments, err := s.cat.findSegments(s.ctx)
	if err != nil {
		s.o.Logger.Error("read catalogue", "error", err)
		return
	}
	for _, r := range segments {
		if r.Corrupt != "" && s.o.SpanRetention > 0 && r.MaxArrived < now.Add(-s.o.SpanRetention).UnixNano() {
			if err := s.cat.deleteSegments(s.ctx, []string{r.ID}); err != nil {
				s.o.Logger.Error("drop a corrupt segment", "error", err)
				continue
			}
			forget(r.Path)
		}
	}
	runs, err := s.cat.findEdges(s.ctx)
	if err != nil {
		s.o.Logger.Error("read catalogue", "error", err)
		return
	}
	for _, r := range runs {
		if r.Corrupt != "" && s.o.EdgeRetention > 0 && r.MaxArrived < now.Add(-s.o.EdgeRetention).UnixNano() {
			if err := s.cat.deleteEdges(s.ctx, []string{r.ID}); err != nil {
				s.o.Logger.Error("drop a corrupt run of edges", "error", err)
				continue
			}
			forget(r.Path)
		}
	}
}

// maxEdgeShare: edges take at most a quarter of MaxDiskBytes.
const maxEdgeShare = 4

// retainEdges drops runs of edges that are too old, and the oldest ones beyond
// their share of the space.
func (s *Store) retainEdges(now time.Time) {
	v := s.acquire()
	if v == nil {
		return
	}
	defer v.release()
	runs := make(map[*edgeFile]bool)
	var ids []string
	drop := func(f *edgeFile) {
		if !runs[f] {
			runs[f] = true
			ids = append(ids, f.ID)
		}
	}
	if s.o.EdgeRetention > 0 {
		limit := now.Add(-s.o.EdgeRetention).UnixNano()
		for _, f := range v.runs {
			if f.MaxArrived < limit {
				drop(f)
			}
		}
	}
	if s.o.MaxDiskBytes > 0 {
		var sum int64
		byAge := slices.Clone(v.runs)
		slices.SortFunc(byAge, func(a, b *edgeFile) int { return cmp.Compare(b.MaxArrived, a.MaxArrived) })
		for _, f := range byAge {
			if sum += f.SizeBytes; sum > s.o.MaxDiskBytes/maxEdgeShare {
				drop(f)
			}
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

const (
	// mergeRuns is how many runs of edges of one level become one of the next.
	mergeRuns = 8
	// maxRunLevel: a run of level 3 joins 512 flushes, three and a half days of
	// the slowest ones. So 400 days are some 130 runs, and retention, which
	// drops whole runs, is never late by more than that.
	maxRunLevel = 3
)

// mergeEdges joins runs of edges, so that finding what a trace caused opens few
// files.
func (s *Store) mergeEdges() {
	for level := 0; level < maxRunLevel; {
		select {
		case <-s.quit:
			return
		default:
		}
		merged, err := s.mergeLevel(level)
		if err != nil {
			s.o.Logger.Error("merge runs of edges", "error", err, "level", level)
			return
		}
		if !merged {
			level++
		}
	}
}

// mergeLevel joins the oldest runs of a level if there are enough of them.
func (s *Store) mergeLevel(level int) (bool, error) {
	v := s.acquire()
	if v == nil {
		return false, nil
	}
	defer v.release()
	var old []*edgeFile
	for _, f := range v.runs {
		if f.Level == level && len(old) < mergeRuns {
			old = append(old, f)
		}
	}
	if len(old) < mergeRuns {
		return false, nil
	}
	id := ulid.Make().String()
	path := filepath.Join(edgesDir, id+".edges")
	record := edgeRecord{ID: id, Path: path, Level: level + 1, MinArrived: old[0].MinArrived, Created: s.now()}
	var inputs []*segment.Edges
	for _, f := range old {
		inputs = append(inputs, f.file)
		record.MinArrived = min(record.MinArrived, f.MinArrived)
		record.MaxArrived = max(record.MaxArrived, f.MaxArrived)
	}
	full := filepath.Join(s.o.Dir, path)
	info, err := segment.MergeEdges(full, inputs, s.mergeStep)
	if err != nil {
		err = errors.Join(err, s.discard(full))
		var bad *segment.CorruptError
		if errors.As(err, &bad) {
			for _, f := range old {
				if f.file.Path() == bad.Path {
					return s.setAsideEdges(f, err), nil
				}
			}
		}
		return false, err
	}
	record.Links, record.Traces, record.SizeBytes = info.Links, info.Traces, info.SizeBytes
	err = s.mergeStep("commit")
	if err == nil {
		if err = s.cat.replaceEdges(s.ctx, recordsOf(old), record); err != nil {
			// The answer may be lost, and the run there.
			has, again := s.cat.hasEdges(s.ctx, id)
			if again != nil {
				return false, errors.Join(err, again) // the next start finds out
			}
			if has {
				err = nil
			}
		}
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("commit to the catalogue: %w", err), s.discard(full))
	}
	run := &edgeFile{edgeRecord: record, file: segment.OpenEdges(full, s.cache)}
	for _, f := range old {
		f.drop.Store(true)
	}
	s.change(func(v *view) {
		v.runs = append([]*edgeFile{run}, slices.DeleteFunc(v.runs, func(f *edgeFile) bool { return slices.Contains(old, f) })...)
	})
	return true, nil
}

// mergeStep is the fault seam of a merge.
func (s *Store) mergeStep(name string) error { return s.step("merge." + name) }

// forgetDropped clears the catalogue's list of files to be deleted of those that
// are gone.
func (s *Store) forgetDropped() {
	paths, err := s.cat.droppedFiles(s.ctx)
	if err != nil {
		s.o.Logger.Error("read catalogue", "error", err)
		return
	}
	paths = slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Stat(filepath.Join(s.o.Dir, path))
		return !errors.Is(err, os.ErrNotExist)
	})
	if len(paths) == 0 {
		return
	}
	if err := s.cat.forgetDropped(s.ctx, paths); err != nil {
		s.o.Logger.Error("clear the list of dropped files", "error", err)
	}
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
