package tracestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"redthread/tracestore/segment"
)

// Sub-folders of the data folder.
const (
	segmentsDir   = "segments"
	edgesDir      = "edges"
	quarantineDir = "quarantine"
)

const (
	// flushRetryMin and flushRetryMax: the pause after a flush that went wrong
	// (a full disk, most likely) doubles between them.
	flushRetryMin = time.Second
	flushRetryMax = 30 * time.Second
)

// flushAll is the goroutine that turns frozen memtables into segments, in their
// order.
func (s *Store) flushAll() {
	for t := range s.flushes {
		pause := flushRetryMin
		for {
			err := s.flush(t)
			s.noteFlush(err)
			if err == nil {
				break
			}
			s.o.Logger.Error("flush memtable", "error", err, "rows", t.mem.Rows(), "retry_in", pause)
			select {
			case <-time.After(pause):
				pause = min(2*pause, flushRetryMax)
				continue
			case <-s.quit:
			}
			// It closes: what is not written is in the log. Later tables must
			// not be written either, or the log would be trimmed past this one.
			for range s.flushes {
			}
			return
		}
		close(t.done)
	}
}

func (s *Store) noteFlush(err error) {
	s.status.Lock()
	defer s.status.Unlock()
	if err != nil {
		s.flushErr = err.Error()
		s.flushFailures.Add(1)
		return
	}
	s.flushErr, s.flushAt = "", s.now()
	s.flushed.Add(1)
}

// flush makes a segment and a run of edges of a frozen memtable, records them,
// shows them in its place, and trims the log. After an error it is called again:
// what was written whole is not written again, so that a disk that is full does
// not get fuller with each try, and a commit whose answer was lost is the same.
func (s *Store) flush(t *table) error {
	began := time.Now()
	if t.mem.Rows() > 0 {
		var err error
		if t.segment == nil {
			if t.segment, err = s.writeSegment(t); err != nil {
				return err
			}
		}
		if t.edges == nil {
			if t.edges, err = s.writeEdges(t, t.segment.ID); err != nil {
				return err
			}
		}
	}
	seg, run := t.segment, t.edges
	if err := s.step("commit"); err != nil {
		return err
	}
	var record *segmentRecord
	var edges *edgeRecord
	if seg != nil {
		record, edges = &seg.segmentRecord, &run.edgeRecord
	}
	if err := s.cat.commitFlush(s.ctx, s.epoch.ID, t.lastSeq, record, edges); err != nil {
		return fmt.Errorf("commit to the catalogue: %w", err)
	}
	s.change(func(v *view) {
		v.tables = slices.DeleteFunc(v.tables, func(x *table) bool { return x == t })
		if seg != nil {
			v.segments = append(v.segments, seg)
			v.runs = append(v.runs, run)
		}
	})
	if seg != nil {
		s.o.Logger.Info("segment written", "segment", seg.ID, "rows", seg.Rows, "size_bytes", seg.SizeBytes, "elapsed", time.Since(began))
	}
	if err := s.step("trim"); err != nil {
		return nil // the next flush trims
	}
	if err := s.log.Trim(s.ctx, t.lastSeq); err != nil {
		s.o.Logger.Warn("trim the ingest log", "error", err, "through_sequence", t.lastSeq)
	}
	return nil
}

func (s *Store) writeSegment(t *table) (*segmentFile, error) {
	id := ulid.Make().String()
	day := time.Unix(0, t.maxArrived).UTC().Format(time.DateOnly)
	path := filepath.Join(segmentsDir, day, id+".parquet")
	full := filepath.Join(s.o.Dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return nil, err
	}
	if err := segment.SyncDir(filepath.Join(s.o.Dir, segmentsDir)); err != nil {
		return nil, err
	}
	info, err := segment.Write(full, t.mem.Blocks(), t.mem.Fingerprints(), s.step)
	if err != nil {
		return nil, errors.Join(err, s.discard(full, segment.IndexPath(full)))
	}
	return &segmentFile{
		segmentRecord: segmentRecord{
			ID: id, EpochID: s.epoch.ID, FirstSeq: t.firstSeq, LastSeq: t.lastSeq, Path: path,
			Rows: info.Rows, SizeBytes: info.SizeBytes, Checksum: info.Checksum, MinStart: info.MinStart, MaxStart: info.MaxStart,
			MinArrived: t.minArrived, MaxArrived: t.maxArrived, Created: s.now(),
		},
		file: segment.Open(full, info.Rows, s.cache),
	}, nil
}

func (s *Store) writeEdges(t *table, id string) (*edgeFile, error) {
	path := filepath.Join(edgesDir, id+".edges")
	full := filepath.Join(s.o.Dir, path)
	info, err := segment.WriteEdges(full, t.mem.Halves(), t.mem.Summaries(), s.step)
	if err != nil {
		return nil, errors.Join(err, s.discard(full))
	}
	return &edgeFile{
		edgeRecord: edgeRecord{
			ID: id, Path: path, Links: info.Links, Traces: info.Traces, SizeBytes: info.SizeBytes,
			MinArrived: t.minArrived, MaxArrived: t.maxArrived, Created: s.now(),
		},
		file: segment.OpenEdges(full, s.cache),
	}, nil
}

// discard deletes what a write that failed has left of files that the catalogue
// has never heard of.
func (s *Store) discard(paths ...string) error {
	if err := s.step("discard"); err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		for _, p := range []string{path, path + ".tmp"} {
			if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
