package tracestore

import (
	"os"
	"slices"
	"sync/atomic"

	"redthread/tracestore/column"
	"redthread/tracestore/segment"
)

// view is what readers see at one moment: memtables and files. It is immutable
// once it is current, and counts who uses it; a file is closed, and deleted if it
// was dropped, when the last view with it is released.
type view struct {
	tables   []*table // oldest first; the last one grows
	segments []*segmentFile
	runs     []*edgeFile
	refs     atomic.Int64
}

// segmentFile is a segment with its place in the catalogue.
type segmentFile struct {
	segmentRecord
	file *segment.File
	refs atomic.Int64
	drop atomic.Bool // delete when unused
	// apart says that it has too many keys to be merged with others. The next start
	// has to find out again.
	apart atomic.Bool
	// looked is when the compactor last looked what of it has expired, Unix
	// nanoseconds.
	looked atomic.Int64
}

// edgeFile is a run of edges with its place in the catalogue.
type edgeFile struct {
	edgeRecord
	file *segment.Edges
	refs atomic.Int64
	drop atomic.Bool
}

// acquire returns the current view, to be released; nil after Close.
func (s *Store) acquire() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.refs.Add(1)
	}
	return s.current
}

// change makes a new current view from a copy of the old one.
func (s *Store) change(edit func(*view)) {
	s.mu.Lock()
	old := s.current
	if old == nil {
		s.mu.Unlock()
		return
	}
	v := &view{tables: slices.Clone(old.tables), segments: slices.Clone(old.segments), runs: slices.Clone(old.runs)}
	edit(v)
	v.hold()
	s.current = v
	s.mu.Unlock()
	old.release()
}

// hold takes the store's reference to the view, and the view's to its files.
func (v *view) hold() {
	v.refs.Store(1)
	for _, f := range v.segments {
		f.refs.Add(1)
	}
	for _, f := range v.runs {
		f.refs.Add(1)
	}
}

// release gives back a reference.
func (v *view) release() {
	if v.refs.Add(-1) > 0 {
		return
	}
	for _, f := range v.segments {
		f.release()
	}
	for _, f := range v.runs {
		if f.refs.Add(-1) == 0 {
			f.file.Close()
			if f.drop.Load() {
				os.Remove(f.file.Path())
			}
		}
	}
}

// release gives back a reference to a segment.
func (f *segmentFile) release() {
	if f.refs.Add(-1) > 0 {
		return
	}
	f.file.Close()
	if f.drop.Load() {
		os.Remove(f.file.Path())
		os.Remove(segment.IndexPath(f.file.Path()))
	}
}

// blocks returns, by age, the blocks with a row that starts in from ≤ start < to, and the
// number of segments they come from. Segments that setAside takes for corrupt are
// left out.
func (v *view) blocks(from, to int64, setAside func(*segmentFile, error) bool) (blocks []column.Block, segments int, err error) {
	add := func(b column.Block) {
		if lo, hi := b.Bounds(); hi >= from && lo < to {
			blocks = append(blocks, b)
		}
	}
	for _, f := range v.segments {
		if f.MaxStart < from || f.MinStart >= to {
			continue
		}
		groups, err := f.file.Blocks()
		if err != nil {
			if !setAside(f, err) {
				return nil, 0, err
			}
			continue
		}
		segments++
		for _, b := range groups {
			add(b)
		}
	}
	for _, t := range v.tables {
		for _, b := range t.mem.Blocks() {
			add(b)
		}
	}
	return blocks, segments, nil
}

// count fills in the sizes of what the view holds.
func (v *view) count(st *Stats) {
	oldest := func(t int64) {
		if t != 0 && (st.OldestArrivedUnixNano == 0 || t < st.OldestArrivedUnixNano) {
			st.OldestArrivedUnixNano = t
		}
	}
	for _, t := range v.tables {
		st.MemtableRows += int64(t.mem.Rows())
		st.MemtableBytes += t.mem.Bytes()
	}
	for _, f := range v.segments {
		st.Segments++
		st.SegmentRows += int64(f.Rows)
		st.SegmentBytes += f.SizeBytes
		oldest(f.MinArrived)
	}
	st.WaitingSegments = waiting(v.segments)
	for _, f := range v.runs {
		st.EdgeRuns++
		st.EdgeBytes += f.SizeBytes
	}
}
