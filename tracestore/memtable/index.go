package memtable

import (
	"sync"
	"unsafe"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// index finds the rows of a trace, the row that stands for it, and the halves of
// edges of a trace, to a trace and by key. Its slices are free of pointers; lists
// are chained through them.
type index struct {
	mu      sync.RWMutex
	traces  idTable // positions in entries
	entries []traceEntry
	prevRow []uint32 // by row: the row before of the same trace, plus one; 0 ends
	targets idTable  // the last recorded half to the trace, a position in halves
	keys    keyTable // the last half with the key, a position in halves
	halves  []graph.Half
	prev    []halfPrev // by half
}

// halfPrev are the halves before one, plus one: of the same trace, on the effect
// side; and of the same target's trace or key.
type halfPrev struct{ of, other uint32 }

// traceEntry is what is known of a trace.
type traceEntry struct {
	id            trace.ID
	lastRow       uint32 // plus one
	lastHalf      uint32 // plus one: of the effect side
	spans, errors uint32
	messages      uint32
	jobs          uint32
	requests      uint32
	start, end    int64 // of all spans
	root          root
}

// root is the span that stands for its trace.
type root struct {
	row    uint32
	isRoot bool // without a parent
	caused bool // see graph.Summary
	run    bool // likewise
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

// keyTable is an idTable of keys.
type keyTable struct {
	slots []uint32
	used  int
}

// find returns the slot of a key, or the empty one where it belongs. Keys are
// hashes themselves.
func (t *keyTable) find(key graph.Key, keyAt func(uint32) graph.Key) *uint32 {
	mask := uint64(len(t.slots) - 1)
	for i := uint64(key) & mask; ; i = (i + 1) & mask {
		if s := t.slots[i]; s == 0 || keyAt(s-1) == key {
			return &t.slots[i]
		}
	}
}

func (t *keyTable) slot(key graph.Key, keyAt func(uint32) graph.Key) *uint32 {
	if t.used*4 >= len(t.slots)*3 {
		old := t.slots
		t.slots = make([]uint32, max(2*len(old), 1024))
		for _, s := range old {
			if s != 0 {
				*t.find(keyAt(s-1), keyAt) = s
			}
		}
	}
	s := t.find(key, keyAt)
	if *s == 0 {
		t.used++
	}
	return s
}

func (t *keyTable) at(key graph.Key, keyAt func(uint32) graph.Key) uint32 {
	if len(t.slots) == 0 {
		return 0
	}
	return *t.find(key, keyAt)
}

func (x *index) entryID(i uint32) *trace.ID  { return &x.entries[i].id }
func (x *index) targetID(i uint32) *trace.ID { return &x.halves[i].Target.TraceID }
func (x *index) key(i uint32) graph.Key      { return x.halves[i].Key }

// addHalves adds halves of rows that were added; mu is held.
func (x *index) addHalves(halves []graph.Half) {
	for i := range halves {
		h := &halves[i]
		x.halves = append(x.halves, *h)
		at := uint32(len(x.halves))
		var slot *uint32
		if h.Recorded() {
			slot = x.targets.slot(&h.Target.TraceID, x.targetID)
		} else {
			slot = x.keys.slot(h.Key, x.key)
		}
		p := halfPrev{other: *slot}
		*slot = at
		if h.Side&graph.EffectSide != 0 {
			if e := x.traces.at(h.Of.TraceID, x.entryID); e != 0 {
				p.of = x.entries[e-1].lastHalf
				x.entries[e-1].lastHalf = at
			}
		}
		x.prev = append(x.prev, p)
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
		if f.flags[i]&(flagLog|flagAside) != 0 {
			continue
		}
		start := f.start[i]
		end := start + f.duration[i]
		span, parent := trace.SpanID(f.span[8*i:8*i+8]), trace.SpanID(f.parent[8*i:8*i+8])
		r := root{row: row, isRoot: parent.IsZero() || parent == span, caused: f.flags[i]&flagCaused != 0, run: f.flags[i]&flagRun != 0, span: span, start: start}
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
		switch trace.Kind(f.kind[i]) {
		case trace.KindProducer:
			e.messages++
		case trace.KindServer:
			e.requests++
		}
	}
}

// moreRuns are runs of jobs that a trace has more, or less, since a row was added.
type moreRuns struct {
	trace trace.ID
	n     int32
}

// addRuns counts runs of rows that were added; mu is held.
func (x *index) addRuns(list []moreRuns) {
	for i := range list {
		if e := x.traces.at(list[i].trace, x.entryID); e != 0 {
			x.entries[e-1].jobs = uint32(max(0, int64(x.entries[e-1].jobs)+int64(list[i].n))) // less than none: the table before counted them
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

// eachEffect calls fn with the recorded halves whose target is in the trace, the
// latest first, until it says stop; mu is held for reading.
func (x *index) eachEffect(id trace.ID, fn func(*graph.Half) bool) {
	for at := x.targets.at(id, x.targetID); at != 0; at = x.prev[at-1].other {
		if !fn(&x.halves[at-1]) {
			return
		}
	}
}

// eachCause calls fn with the halves on the effect side of spans of the trace.
func (x *index) eachCause(id trace.ID, fn func(*graph.Half) bool) {
	e := x.traces.at(id, x.entryID)
	if e == 0 {
		return
	}
	for at := x.entries[e-1].lastHalf; at != 0; at = x.prev[at-1].of {
		if !fn(&x.halves[at-1]) {
			return
		}
	}
}

// eachEnd calls fn with the halves that have the key.
func (x *index) eachEnd(key graph.Key, fn func(*graph.Half) bool) {
	for at := x.keys.at(key, x.key); at != 0; at = x.prev[at-1].other {
		if !fn(&x.halves[at-1]) {
			return
		}
	}
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

// Sizes of the elements of an index.
const (
	traceEntryBytes = int64(unsafe.Sizeof(traceEntry{}))
	halfBytes       = int64(unsafe.Sizeof(graph.Half{}))
	halfPrevBytes   = int64(unsafe.Sizeof(halfPrev{}))
)

// bytes is called by the writer, which alone changes the sizes.
func (x *index) bytes() int64 {
	return traceEntryBytes*int64(cap(x.entries)) + halfBytes*int64(cap(x.halves)) + halfPrevBytes*int64(cap(x.prev)) +
		4*int64(cap(x.prevRow)+len(x.traces.slots)+len(x.targets.slots)+len(x.keys.slots))
}
