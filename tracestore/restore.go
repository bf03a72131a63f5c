package tracestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"redthread/tracestore/memtable"
	"redthread/tracestore/segment"
)

// quarantineAge is how long a file that the catalogue does not know is kept.
const quarantineAge = 7 * 24 * time.Hour

// lockDir takes the folder for this process. The lock ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("tracestore: lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("tracestore: lock %s: %w", dir, err)
	}
	return f, nil
}

// restore brings the store to where it was: which files count, and from where
// the log is to be replayed.
func (s *Store) restore(ctx context.Context) error {
	v := &view{}
	segments, err := s.cat.findSegments(ctx)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	runs, err := s.cat.findEdges(ctx)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	known := make(map[string]bool)
	for _, r := range segments {
		known[r.Path] = true
		known[segment.IndexPath(r.Path)] = true
		if r.Corrupt != "" {
			s.noteCorrupt(r.Path, r.Corrupt)
			s.noteLost(r)
			continue
		}
		v.segments = append(v.segments, &segmentFile{segmentRecord: r, file: segment.Open(filepath.Join(s.o.Dir, r.Path), r.Rows, s.cache)})
	}
	for _, r := range runs {
		known[r.Path] = true
		if r.Corrupt != "" {
			s.noteCorrupt(r.Path, r.Corrupt)
			continue
		}
		v.runs = append(v.runs, &edgeFile{edgeRecord: r, file: segment.OpenEdges(filepath.Join(s.o.Dir, r.Path), s.cache)})
	}
	if err := s.deleteDropped(ctx); err != nil {
		return err
	}
	if err := s.sweep(known); err != nil {
		return err
	}
	if err := s.chooseEpoch(ctx); err != nil {
		return err
	}
	s.writer.recent = memtable.NewRecent(recentRows)
	s.writer.useRules(s.edges.Load())
	s.writer.table = s.writer.newTable(nil)
	s.writer.table.lastSeq = s.epoch.Applied
	s.recall(v.segments)
	v.tables = []*table{s.writer.table}
	v.hold()
	s.current = v
	return nil
}

// deleteDropped deletes files that were replaced or too old when the process
// ended.
func (s *Store) deleteDropped(ctx context.Context) error {
	paths, err := s.cat.droppedFiles(ctx)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	if len(paths) == 0 {
		return nil
	}
	for _, path := range paths {
		full := filepath.Join(s.o.Dir, path)
		for _, p := range []string{full, segment.IndexPath(full)} {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("delete a dropped file: %w", err)
			}
		}
	}
	if err := s.cat.forgetDropped(ctx, paths); err != nil {
		return fmt.Errorf("clear the list of dropped files: %w", err)
	}
	return nil
}

// sweep deletes what a crash left half-written and sets aside whole files that
// the catalogue does not know.
func (s *Store) sweep(known map[string]bool) error {
	for _, dir := range []string{segmentsDir, edgesDir} {
		err := filepath.WalkDir(filepath.Join(s.o.Dir, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(s.o.Dir, path)
			if err != nil || known[rel] {
				return err
			}
			if strings.HasSuffix(path, ".tmp") {
				return os.Remove(path)
			}
			s.o.Logger.Warn("file is not in the catalogue, set aside", "path", rel)
			target := filepath.Join(s.o.Dir, quarantineDir, d.Name())
			if err := os.Rename(path, target); err != nil {
				return err
			}
			// Its age in quarantine counts from now.
			now := s.o.Now()
			return os.Chtimes(target, now, now)
		})
		if err != nil {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
	}
	return nil
}

// chooseEpoch decides from which sequence the log is applied. The log that the
// catalogue knows goes on after what is in segments. A log that is new, lost or
// behind the catalogue begins an epoch, and is applied from its first message.
func (s *Store) chooseEpoch(ctx context.Context) error {
	state, err := s.log.State(ctx)
	if err != nil {
		return fmt.Errorf("state of the ingest log: %w", err)
	}
	e, ok, err := s.cat.lastEpoch(ctx)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	switch {
	case ok && e.Identity == state.Identity && state.Last >= e.Applied:
		if state.First > e.Applied+1 {
			s.o.Logger.Error("ingest log has lost messages that no segment holds", "after_sequence", e.Applied, "first_sequence", state.First)
			e.Applied = state.First - 1
		}
	default:
		if ok && e.Identity != "" { // a backup comes without a log
			s.o.Logger.Warn("ingest log is not the one the catalogue knows, a new epoch begins",
				"known", e.Identity, "applied_sequence", e.Applied, "found", state.Identity, "last_sequence", state.Last)
		}
		if e, err = s.cat.createEpoch(ctx, state.Identity, state.First-1, s.now()); err != nil {
			return fmt.Errorf("begin an epoch: %w", err)
		}
	}
	s.epoch = e
	s.applied.Store(e.Applied)
	s.replayTo.Store(state.Last)
	return nil
}

// recall fills the writer's memory of the rows before the start from the newest
// segments; large ones, of compaction, remember none.
func (s *Store) recall(segments []*segmentFile) {
	set, rows := &s.writer.restored, 0
	for i := len(segments) - 1; i >= 0 && rows < recentRows; i-- {
		f := segments[i]
		rows += f.Rows
		prints, err := f.file.Fingerprints()
		if err != nil {
			s.o.Logger.Warn("segment's fingerprints cannot be read", "path", f.Path, "error", err)
			continue
		}
		for _, p := range prints {
			set.Add(p)
		}
	}
}
