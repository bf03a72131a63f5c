package memtable

import (
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// index finds the rows of a trace, the links that point to it, and the row that
// stands for it. Its slices are free of pointers; lists are chained through them.
type index struct {
	mu       sync.RWMutex
	traces   idTable // positions in entries
	entries  []traceEntry
	prevRow  []uint32 // by row: the row before of the same trace, plus one; 0 ends
	targets  idTable  // the last link to the trace, a position in links
	links    []graph.Link
	prevLink []uint32 // by link: the link before to the same trace, plus one
}

// traceEntry is what is known of a trace.
type traceEntry struct {
	id            trace.ID
	lastRow       uint32 // plus one
	spans, errors uint32
	start, end    int64 // of all spans
	root          root
}

// root is the span that stands for its trace.
type root struct {
	row    uint32
	isRoot bool // without a parent
	span   trace.SpanID
	start  int64
}

// better reports whether r stands for the trace rather than o: true roots first,
// then the earlier start, then the lesser id, so that any order gives one answer.
func (r *root) better(o *root) bool {
	if r.isRoot != o.isRoot {
		return r.isRoot
	}
	if r.start != o.start {
		return r.start < o.start
	}
	return string(r.span[:]) < string(o.span[:])
}

// idTable is a hash table with open addressing from trace ids to positions in a
// slice that holds the ids.
type idTable struct {
	slots []uint32 // position plus one; 0 is empty; len is a power of two
	used  int
}

// find returns the slot of an id, or the empty one where it belongs. idAt gives
// the id at a position. The table must not be empty.
func (t *idTable) find(id *trace.ID, idAt func(uint32) *trace.ID) *uint32 {
	mask := uint32(len(t.slots) - 1)
	for i := column.TraceHash(*id) & mask; ; i = (i + 1) & mask {
		if s := t.slots[i]; s == 0 || *idAt(s - 1) == *id {
			return &t.slots[i]
		}
	}
}

// slot is find for a writer who fills the slot if it is empty: it makes room, and
// counts.
func (t *idTable) slot(id *trace.ID, idAt func(uint32) *trace.ID) *uint32 {
	if t.used*4 >= len(t.slots)*3 {
		old := t.slots
		t.slots = make([]uint32, max(2*len(old), 1024))
		for _, s := range old {
			if s != 0 {
				*t.find(idAt(s-1), idAt) = s
			}
		}
	}
	s := t.find(id, idAt)
	if *s == 0 {
		t.used++
	}
	return s
}

// at returns the position of an id, plus one; 0 if it is not there.
func (t *idTable) at(id trace.ID, idAt func(uint32) *trace.ID) uint32 {
	if len(t.slots) == 0 {
		return 0
	}
	return *t.find(&id, idAt)
}

func (x *index) entryID(i uint32) *trace.ID { return &x.entries[i].id }
func (x *index) linkID(i uint32) *trace.ID  { return &x.links[i].From.TraceID }

// addLinks adds links; mu is held.
func (x *index) addLinks(links []graph.Link) {
	for i := range links {
		x.links = append(x.links, links[i])
		slot := x.targets.slot(&links[i].From.TraceID, x.linkID)
		x.prevLink = append(x.prevLink, *slot)
		*slot = uint32(len(x.links))
	}
}

// addRows adds the rows from and before to of a chunk, whose row 0 is row base of
// the table; mu is held.
func (x *index) addRows(f *fixedColumns, base, from, to int) {
	for i := from; i < to; i++ {
		id := (*trace.ID)(f.trace[16*i:])
		slot := x.traces.slot(id, x.entryID)
		if *slot == 0 {
			x.entries = append(x.entries, traceEntry{id: *id})
			*slot = uint32(len(x.entries))
		}
		e := &x.entries[*slot-1]
		row := uint32(base + i)
		x.prevRow = append(x.prevRow, e.lastRow)
		e.lastRow = row + 1
		if f.flags[i]&flagLog != 0 {
			continue
		}
		start := f.start[i]
		end := start + f.duration[i]
		r := root{row: row, isRoot: trace.SpanID(f.parent[8*i : 8*i+8]).IsZero(), span: trace.SpanID(f.span[8*i : 8*i+8]), start: start}
		if e.spans == 0 {
			e.root, e.start, e.end = r, start, end
		} else {
			if r.better(&e.root) {
				e.root = r
			}
			e.start, e.end = min(e.start, start), max(e.end, end)
		}
		e.spans++
		if f.flags[i]&flagError != 0 {
			e.errors++
		}
	}
}

// traceRows returns the rows of a trace, latest first.
func (x *index) traceRows(id trace.ID, limit int) (rows []uint32, truncated bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at := x.traces.at(id, x.entryID)
	if at == 0 {
		return nil, false
	}
	for row := x.entries[at-1].lastRow; row != 0; row = x.prevRow[row-1] {
		if len(rows) == limit {
			return rows, true
		}
		rows = append(rows, row-1)
	}
	return rows, false
}

func (x *index) effects(id trace.ID, limit int) (out []graph.Link, truncated bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for at := x.targets.at(id, x.linkID); at != 0; at = x.prevLink[at-1] {
		if len(out) == limit {
			return out, true
		}
		out = append(out, x.links[at-1])
	}
	return out, false
}

// trace returns what is known of a trace with a span, or false.
func (x *index) trace(id trace.ID) (traceEntry, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at := x.traces.at(id, x.entryID)
	if at == 0 || x.entries[at-1].spans == 0 {
		return traceEntry{}, false
	}
	return x.entries[at-1], true
}

const (
	traceEntryBytes = 72
	linkBytes       = 48
)

// bytes is called by the writer, which alone changes the sizes.
func (x *index) bytes() int64 {
	return traceEntryBytes*int64(cap(x.entries)) + linkBytes*int64(cap(x.links)) +
		4*int64(cap(x.prevRow)+cap(x.prevLink)+len(x.traces.slots)+len(x.targets.slots))
}
