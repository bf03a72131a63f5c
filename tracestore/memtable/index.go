package memtable

import (
	"strings"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// index finds the rows of a trace, the links that point to it, and its summary.
// Maps and slices are free of pointers; lists are chained through next slices.
type index struct {
	texts column.DictBuilder // the writer adds, texts.Dict is copied under mu

	mu       sync.RWMutex
	traces   map[trace.ID]uint32 // position in entries
	entries  []summaryEntry
	prevRow  []uint32 // by row: the row before of the same trace, plus one; 0 ends
	targets  map[trace.ID]uint32
	links    []graph.Link
	prevLink []uint32 // by link: the link before to the same trace, plus one
	dict     column.Dict
}

// indexEntry is a row on its way into the index.
type indexEntry struct {
	id        trace.ID
	row       uint32
	log       bool
	isError   bool
	candidate root
	end       int64
}

// root is a span that may stand for its trace.
type root struct {
	span                              trace.SpanID
	isRoot                            bool
	kind                              trace.Kind
	start, duration                   int64
	name, service, environment, route uint32
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

type summaryEntry struct {
	id            trace.ID
	lastRow       uint32 // plus one
	spans, errors uint32
	start, end    int64
	root          root
}

func (x *index) init() {
	x.traces = make(map[trace.ID]uint32)
	x.targets = make(map[trace.ID]uint32)
}

// text interns s. The writer calls it; an index of texts cannot fill a
// dictionary that the chunk's own did not fill first.
func (x *index) text(s string) uint32 {
	id, err := x.texts.ID(s)
	if err != nil {
		id, _ = x.texts.ID("")
	}
	return id
}

func (x *index) entry(s *trace.Span, row uint32) indexEntry {
	e := indexEntry{id: s.TraceID, row: row, log: s.Signal == trace.SignalLog}
	if e.log {
		return e
	}
	route := ""
	if v, ok := s.Attribute("http.route"); ok {
		route = v.Text()
	}
	e.isError = s.Error
	e.end = s.EndUnixNano()
	e.candidate = root{
		span: s.SpanID, isRoot: s.ParentID.IsZero(), kind: s.Kind, start: s.StartUnixNano, duration: s.DurationNano,
		name: x.text(s.Name), service: x.text(s.Service), environment: x.text(s.Environment), route: x.text(route),
	}
	return e
}

// apply adds the rows and links of one message.
func (x *index) apply(rows []indexEntry, links []graph.Link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dict = x.texts.Dict()
	for i := range rows {
		x.applyRow(&rows[i])
	}
	for i := range links {
		target := links[i].From.TraceID
		x.prevLink = append(x.prevLink, x.targets[target])
		x.links = append(x.links, links[i])
		x.targets[target] = uint32(len(x.links))
	}
}

func (x *index) applyRow(r *indexEntry) {
	at, ok := x.traces[r.id]
	if !ok {
		at = uint32(len(x.entries))
		x.traces[r.id] = at
		x.entries = append(x.entries, summaryEntry{id: r.id})
	}
	e := &x.entries[at]
	x.prevRow = append(x.prevRow, e.lastRow)
	e.lastRow = r.row + 1
	if r.log {
		return
	}
	if e.spans == 0 || r.candidate.better(&e.root) {
		e.root = r.candidate
	}
	if e.spans == 0 || r.candidate.start < e.start {
		e.start = r.candidate.start
	}
	if e.spans == 0 || r.end > e.end {
		e.end = r.end
	}
	e.spans++
	if r.isError {
		e.errors++
	}
}

// traceRows returns the rows of a trace, latest first.
func (x *index) traceRows(id trace.ID, limit int) (rows []uint32, truncated bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at, ok := x.traces[id]
	if !ok {
		return nil, false
	}
	for row := x.entries[at].lastRow; row != 0; row = x.prevRow[row-1] {
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
	for at := x.targets[id]; at != 0; at = x.prevLink[at-1] {
		if len(out) == limit {
			return out, true
		}
		out = append(out, x.links[at-1])
	}
	return out, false
}

func (x *index) summary(id trace.ID) (graph.Summary, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at, ok := x.traces[id]
	if !ok || x.entries[at].spans == 0 {
		return graph.Summary{}, false
	}
	return x.build(&x.entries[at]), true
}

func (x *index) summaries() []graph.Summary {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]graph.Summary, 0, len(x.entries))
	for i := range x.entries {
		if x.entries[i].spans > 0 {
			out = append(out, x.build(&x.entries[i]))
		}
	}
	return out
}

func (x *index) build(e *summaryEntry) graph.Summary {
	r := &e.root
	return graph.Summary{
		TraceID: e.id, SpanID: r.span, Root: r.isRoot, Kind: r.kind,
		Service: strings.Clone(x.dict.At(r.service)), Name: strings.Clone(x.dict.At(r.name)),
		Route: strings.Clone(x.dict.At(r.route)), Environment: strings.Clone(x.dict.At(r.environment)),
		StartUnixNano: e.start, DurationNano: e.end - e.start,
		Spans: int(e.spans), Errors: int(e.errors),
	}
}

// Sizes of a map entry: key, value and the table's slack.
const (
	traceEntryBytes  = 16 + 4 + 12
	summaryEntrySize = 120
)

// bytes is called by the writer, which alone changes the sizes.
func (x *index) bytes() int64 {
	return int64(len(x.traces)+len(x.targets))*traceEntryBytes + int64(cap(x.entries))*summaryEntrySize +
		4*int64(cap(x.prevRow)+cap(x.prevLink)) + 48*int64(cap(x.links)) + x.texts.Bytes()
}
