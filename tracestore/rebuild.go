package tracestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"

	"redthread/tracestore/graph"
	"redthread/tracestore/segment"
)

// rebuild finds the edges of stored rows again.
type rebuild struct {
	dir      string
	cache    *segment.Cache
	rules    *graph.Rules
	kept     []string
	now      int64
	step     segment.Step
	progress func(done, total int) // segments
	// corrupt is told of a segment or a run that cannot be read; false ends the
	// rebuild with the error.
	corrupt func(path string, err error) bool

	made    []string // files that are not in the catalogue yet
	old     []edgeRecord
	records []edgeRecord
}

// tmpRun is the name of a run that is not in the catalogue: a start deletes it.
func (r *rebuild) tmpRun() string {
	path := filepath.Join(r.dir, edgesDir, ulid.Make().String()+".edges.tmp")
	r.made = append(r.made, path)
	return path
}

// discard deletes what the rebuild made and nobody took.
func (r *rebuild) discard() {
	for _, path := range r.made {
		os.Remove(path)
		os.Remove(path + ".tmp")
	}
}

// run makes runs anew: old are replaced by records, whose files are there.
func (r *rebuild) run(ctx context.Context, segments []*segmentFile, runs []*edgeFile) error {
	oldest := int64(math.MaxInt64)
	var found []edgeRecord
	var fresh []*segment.Edges
	var jobs graph.Runs
	for i, f := range segments {
		oldest = min(oldest, f.MinArrived)
		path := r.tmpRun()
		info, err := segment.FindEdges(ctx, path, f.file, r.rules, r.kept, &jobs, r.step)
		jobs = graph.RunsAfter(&jobs)
		if err != nil {
			var bad *segment.CorruptError
			if ctx.Err() != nil || !errors.As(err, &bad) || !r.corrupt(f.Path, err) {
				return err
			}
			continue
		}
		fresh = append(fresh, segment.OpenEdges(path, r.cache))
		found = append(found, edgeRecord{Level: min(f.Level, 1), Links: info.Links, Traces: info.Traces, SizeBytes: info.SizeBytes,
			MinArrived: f.MinArrived, MaxArrived: f.MaxArrived, Created: r.now})
		if r.progress != nil {
			r.progress(i+1, len(segments))
		}
	}
	defer func() {
		for _, e := range fresh {
			e.Close()
		}
	}()
	// All spans of a run from before the first row that is stored are gone.
	runs = slices.DeleteFunc(slices.Clone(runs), func(f *edgeFile) bool { return f.MaxArrived < oldest })
	var was []*segment.Edges
	for _, f := range runs {
		was = append(was, f.file)
	}
	old, anew, err := segment.CorrectEdges(ctx, was, fresh)
	if err != nil {
		return err
	}
	take := func(e *segment.Edges, c segment.Correction, isFresh bool, record edgeRecord) error {
		path := e.Path()
		if c.Some() {
			path = r.tmpRun()
			info, some, err := e.Rewrite(path, c, isFresh, r.step)
			if err != nil || !some {
				return err
			}
			record.Links, record.Traces, record.SizeBytes = info.Links, info.Traces, info.SizeBytes
		}
		record.ID, record.Created = ulid.Make().String(), r.now
		record.Path = filepath.Join(edgesDir, record.ID+".edges")
		full := filepath.Join(r.dir, record.Path)
		if err := os.Rename(path, full); err != nil {
			return err
		}
		r.made = append(r.made, full)
		r.records = append(r.records, record)
		return nil
	}
	for i, f := range runs {
		if !old[i].Some() {
			continue
		}
		if err := take(f.file, old[i], false, f.edgeRecord); err != nil {
			return err
		}
		r.old = append(r.old, f.edgeRecord)
	}
	for i, e := range fresh {
		if err := take(e, anew[i], true, found[i]); err != nil {
			return err
		}
	}
	return segment.SyncDir(filepath.Join(r.dir, edgesDir))
}

// recordsOf are the catalogue's records of runs.
func recordsOf(runs []*edgeFile) (out []edgeRecord) {
	for _, f := range runs {
		out = append(out, f.edgeRecord)
	}
	return out
}

// RebuildEdges finds the edges of all stored rows again, by the rules of
// [Store.UseRules]: what was missing is added, what was wrong corrected. Edges and
// summaries whose spans are gone stay as they are, and runs of edges that were set
// aside are no longer wanted. progress, which may be nil, is told of the segments
// that are done. The store works on meanwhile; merges of edges wait. Rows that are
// in no segment yet are not looked at.
func (s *Store) RebuildEdges(ctx context.Context, progress func(done, total int)) error {
	s.runs.Lock()
	defer s.runs.Unlock()
	v := s.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.release()
	edges := s.edges.Load()
	r := &rebuild{dir: s.o.Dir, cache: s.cache, rules: edges.Rules, kept: edges.Kept, now: s.now(), progress: progress,
		step: func(name string) error { return s.step("rebuild." + name) }}
	r.defaults()
	r.corrupt = func(path string, err error) bool {
		i := slices.IndexFunc(v.segments, func(f *segmentFile) bool { return f.Path == path })
		return i >= 0 && s.setAsideSegment(v.segments[i], err)
	}
	defer r.discard()
	if err := r.run(ctx, v.segments, v.runs); err != nil {
		var bad *segment.CorruptError
		if errors.As(err, &bad) {
			for _, f := range v.runs {
				if f.file.Path() == bad.Path {
					s.setAsideEdges(f, err)
				}
			}
		}
		return fmt.Errorf("tracestore: rebuild edges: %w", err)
	}
	aside, err := corruptRuns(ctx, s.cat)
	if err != nil {
		return fmt.Errorf("tracestore: rebuild edges: %w", err)
	}
	if err := s.step("rebuild.commit"); err != nil {
		return fmt.Errorf("tracestore: rebuild edges: %w", err)
	}
	if err := s.cat.replaceEdges(s.ctx, append(aside, r.old...), r.records...); err != nil {
		return fmt.Errorf("tracestore: rebuild edges: %w", err)
	}
	r.made = nil
	gone := map[string]bool{}
	for _, o := range r.old {
		gone[o.ID] = true
	}
	for _, f := range v.runs {
		if gone[f.ID] {
			f.drop.Store(true)
		}
	}
	s.change(func(v *view) {
		v.runs = slices.DeleteFunc(v.runs, func(f *edgeFile) bool { return gone[f.ID] })
		var anew []*edgeFile
		for _, rec := range r.records {
			anew = append(anew, &edgeFile{edgeRecord: rec, file: segment.OpenEdges(filepath.Join(s.o.Dir, rec.Path), s.cache)})
		}
		v.runs = append(anew, v.runs...)
	})
	s.status.Lock()
	for _, a := range aside {
		delete(s.corrupt, a.Path)
		os.Remove(filepath.Join(s.o.Dir, a.Path))
	}
	s.status.Unlock()
	s.o.Logger.Info("edges rebuilt", "segments", len(v.segments), "runs", len(r.records), "replaced", len(r.old)+len(aside))
	return nil
}

// rebuildAll is RebuildEdges of all rows, as those in no segment yet are written to
// one before; and again where a run of edges turned out corrupt and was set aside.
func (s *Store) rebuildAll(ctx context.Context) error {
	if err := s.flushOrFail(ctx); err != nil {
		return err
	}
	for {
		err := s.RebuildEdges(ctx, nil)
		var bad *segment.CorruptError
		if err == nil || !errors.As(err, &bad) || ctx.Err() != nil {
			return err
		}
		if filepath.Ext(bad.Path) != ".edges" {
			return err
		}
	}
}

// renewEdges makes edges anew where an older program wrote runs whose format is no
// longer read: of the rows that are stored. What only those runs knew, of rows that
// are gone, is lost.
func (s *Store) renewEdges() {
	v := s.acquire()
	if v == nil {
		return
	}
	older := slices.DeleteFunc(slices.Clone(v.runs), func(f *edgeFile) bool { return !f.file.Older() })
	segments := len(v.segments)
	v.release()
	aside, err := corruptRuns(s.ctx, s.cat)
	if err != nil {
		s.o.Logger.Error("read catalogue", "error", err)
		return
	}
	begun := slices.ContainsFunc(aside, func(r edgeRecord) bool { return r.Corrupt == olderWords }) // and was interrupted
	if len(older) == 0 && !begun {
		return
	}
	s.o.Logger.Warn("edges between traces are of an older format: they are made anew from the stored rows in the background; what was known of rows that are gone is lost",
		"runs", len(older), "segments", segments)
	for _, f := range older {
		s.noteCorrupt(f.Path, olderWords)
		if err := s.cat.markEdgesCorrupt(s.ctx, f.ID, olderWords); err != nil {
			s.o.Logger.Error("mark run of edges", "path", f.Path, "error", err)
		}
	}
	s.change(func(v *view) {
		v.runs = slices.DeleteFunc(v.runs, func(f *edgeFile) bool { return slices.Contains(older, f) })
	})
	s.wg.Go(func() {
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		s.wg.Go(func() {
			select {
			case <-s.quit:
				cancel()
			case <-ctx.Done():
			}
		})
		if err := s.RebuildEdges(ctx, nil); err != nil && ctx.Err() == nil {
			s.o.Logger.Error("edges of an older format could not be made anew: redthread check --rebuild-edges does it", "error", err)
		}
	})
}

// olderWords say why a run is set aside that renewEdges replaces.
const olderWords = "of an older format, to be made anew"

func (r *rebuild) defaults() {
	if r.rules == nil {
		r.rules = graph.DefaultRules()
	}
	if r.kept == nil {
		r.kept = graph.DefaultKept()
	}
}

// corruptRuns are the runs of edges that were set aside.
func corruptRuns(ctx context.Context, cat *catalogue) ([]edgeRecord, error) {
	runs, err := cat.findEdges(ctx)
	return slices.DeleteFunc(runs, func(r edgeRecord) bool { return r.Corrupt == "" }), err
}

// rebuildFolder is RebuildEdges for a folder that is not open.
func rebuildFolder(ctx context.Context, dir string, cat *catalogue, cache *segment.Cache, now int64, o CheckOptions) error {
	segments, err := cat.findSegments(ctx)
	if err != nil {
		return err
	}
	runs, err := cat.findEdges(ctx)
	if err != nil {
		return err
	}
	r := &rebuild{dir: dir, cache: cache, rules: o.Rules, kept: o.Kept, now: now, corrupt: func(string, error) bool { return true }}
	r.defaults()
	var files []*segmentFile
	for _, rec := range segments {
		if rec.Corrupt == "" {
			files = append(files, &segmentFile{segmentRecord: rec, file: segment.Open(filepath.Join(dir, rec.Path), rec.Rows, cache)})
		}
	}
	var edges []*edgeFile
	for _, rec := range runs {
		if rec.Corrupt == "" {
			edges = append(edges, &edgeFile{edgeRecord: rec, file: segment.OpenEdges(filepath.Join(dir, rec.Path), cache)})
		}
	}
	defer func() {
		for _, f := range files {
			f.file.Close()
		}
		for _, f := range edges {
			f.file.Close()
		}
		r.discard()
	}()
	for {
		err := r.run(ctx, files, edges)
		if err == nil {
			break
		}
		// A run that cannot be read is made anew with the others.
		var bad *segment.CorruptError
		i := -1
		if errors.As(err, &bad) {
			i = slices.IndexFunc(edges, func(f *edgeFile) bool { return f.file.Path() == bad.Path })
		}
		if i < 0 {
			return err
		}
		if err := cat.markEdgesCorrupt(ctx, edges[i].ID, faultWords(err)); err != nil {
			return err
		}
		edges[i].file.Close()
		edges = slices.Delete(edges, i, i+1)
		r.discard()
		r.made, r.old, r.records = nil, nil, nil
	}
	aside, err := corruptRuns(ctx, cat)
	if err != nil {
		return err
	}
	if err := cat.replaceEdges(ctx, append(aside, r.old...), r.records...); err != nil {
		return err
	}
	r.made = nil
	return nil
}
