// Package memtable holds the newest rows in memory, by column, until they are
// written to a segment.
//
// One goroutine writes: it calls [Table.AddRow] for each row and [Table.Publish]
// after each message of the log. Readers call the other methods from any
// goroutine; what they get is immutable and ends at the watermark of the last
// Publish. Writer and readers never wait for each other, but for the short lock
// over the index of traces and links.
//
// A table is a list of chunks of at most column.MaxBlockRows rows. Each has its
// own dictionaries (byte arenas with offsets: nothing for the garbage collector
// to scan) and becomes one row group of a segment, row for row.
//
// Memory per row is about 0.45 KB (reference measurement, 18 attributes a row).
package memtable

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// Table is one memtable.
type Table struct {
	// writer only
	current *chunk
	rows    int
	recent  *Recent
	prints  []uint64     // fingerprint of each row
	halves  []graph.Half // of the rows since the last Publish
	more    []moreRuns   // likewise
	runs    graph.Runs   // of all rows, and of the table before
	joined  []trace.Attribute
	whole   trace.Span

	chunks atomic.Pointer[[]*chunk]
	bytes  atomic.Int64
	shown  atomic.Int64
	edges  atomic.Pointer[Edges]

	index index
}

// defaultRecent is how many rows a table on its own remembers.
const defaultRecent = 16 << 10

// New returns an empty table that drops the rows it has had lately.
func New() *Table { return NewAfter(nil, NewRecent(defaultRecent), Edges{}) }

// Edges say what a table has to find out about its spans.
type Edges struct {
	Rules *graph.Rules // nil: those without correlations
	Kept  []string     // the attributes that summaries keep; nil: graph.DefaultKept
}

// NewAfter returns an empty table that drops the rows recent has already, and adds
// its own there. It makes room for as much as the table before it, if there is
// one, held in its last chunk, and knows its runs of jobs: that table is not written
// any more.
func NewAfter(before *Table, recent *Recent, edges Edges) *Table {
	var expect *sizes
	if before != nil {
		expect = before.current.sizes()
		if chunks := *before.chunks.Load(); expect == nil && len(chunks) > 1 {
			expect = chunks[len(chunks)-2].sizes()
		}
	}
	t := &Table{current: newChunk(expect), recent: recent}
	if before != nil {
		t.runs = graph.RunsAfter(&before.runs)
	}
	t.UseRules(edges)
	t.chunks.Store(&[]*chunk{t.current})
	return t
}

// AddRow appends a row unless one with its hash was added lately, which it reports
// by false. The hash is the row's own ([column.Row.Hash]) or another that tells it
// from others. The row is not kept, and not visible before [Table.Publish].
func (t *Table) AddRow(r *column.Row, hash uint64) (bool, error) {
	if !t.recent.Add(hash, column.TraceHash(r.TraceID)) {
		return false, nil
	}
	if t.current.rows() == column.MaxBlockRows {
		t.current.publish()
		t.current = newChunk(t.current.sizes())
		chunks := append([]*chunk(nil), *t.chunks.Load()...)
		chunks = append(chunks, t.current)
		t.chunks.Store(&chunks)
	}
	if err := t.current.add(r, t.look(r)); err != nil {
		return false, fmt.Errorf("memtable: add row: %w", err)
	}
	t.prints = append(t.prints, hash)
	t.rows++
	return true, nil
}

// look finds out what a row means for edges: it takes their halves, and returns
// flags.
func (t *Table) look(r *column.Row) (flags uint8) {
	rules := t.edges.Load().Rules
	receipt, offer := graph.MayReceive(r.Marks, &r.Span), rules.MayOffer(r.Marks, r.EventMarks, &r.Span)
	if !receipt && !offer {
		return 0
	}
	t.whole = r.Span // here, since who looks at it keeps a pointer for a while
	whole := &t.whole
	if r.Shared != nil {
		t.joined = append(append(t.joined[:0], r.Attributes...), r.Shared.Attributes...)
		whole.Attributes = t.joined
	}
	if offer {
		if graph.Aside(r.Marks, whole) {
			flags |= flagAside
		}
		t.halves = rules.Halves(t.halves, whole)
	}
	if receipt {
		job, caused := graph.Receipt(whole)
		if job && flags&flagAside == 0 && r.Signal == trace.SignalSpan {
			flags |= flagRun
			if n := t.runs.Add(whole); n != 0 {
				t.more = append(t.more, moreRuns{r.TraceID, int32(n)})
			}
		}
		if caused {
			flags |= flagCaused
		}
	}
	return flags
}

// UseRules has the rows from now on looked at with other rules.
func (t *Table) UseRules(edges Edges) {
	if edges.Rules == nil {
		edges.Rules = graph.DefaultRules()
	}
	if edges.Kept == nil {
		edges.Kept = graph.DefaultKept()
	}
	t.edges.Store(&edges)
}

// Add is AddRow for a whole span.
func (t *Table) Add(s *trace.Span, hash uint64) (bool, error) {
	r, rules := column.NewRow(s), t.edges.Load().Rules
	for i := range s.Attributes {
		r.Marks |= rules.Marks(s.Attributes[i].Key)
	}
	for i := range s.Events {
		for k := range s.Events[i].Attributes {
			r.EventMarks |= rules.Marks(s.Events[i].Attributes[k].Key)
		}
	}
	return t.AddRow(r, hash)
}

// Publish makes all rows added so far visible.
func (t *Table) Publish() {
	shown := int(t.shown.Load())
	if t.rows == shown {
		return
	}
	t.current.publish()
	t.index.mu.Lock()
	for chunks := *t.chunks.Load(); shown < t.rows; {
		n := shown / column.MaxBlockRows
		base := n * column.MaxBlockRows
		to := min(t.rows, base+column.MaxBlockRows)
		t.index.addRows(&chunks[n].fixed, base, shown-base, to-base)
		shown = to
	}
	t.index.addHalves(t.halves)
	t.index.addRuns(t.more)
	t.index.mu.Unlock()
	t.halves, t.more = t.halves[:0], t.more[:0]
	t.shown.Store(int64(t.rows))
}

// Measure counts the memory that the table holds. The writer calls it.
func (t *Table) Measure() int64 {
	var sum int64
	for _, c := range *t.chunks.Load() {
		sum += c.bytes()
	}
	sum += 8*int64(cap(t.prints)) + halfBytes*int64(cap(t.halves)) + graph.RunBytes*int64(t.runs.Len()) + t.index.bytes()
	t.bytes.Store(sum)
	return sum
}

// Bytes is the last measure.
func (t *Table) Bytes() int64 { return t.bytes.Load() }

// Rows is the number of visible rows.
func (t *Table) Rows() int { return int(t.shown.Load()) }

// Fingerprints returns the fingerprint of each row, in order. Only for a table
// that is not written any more.
func (t *Table) Fingerprints() []uint64 { return t.prints }

// Blocks returns the visible rows.
func (t *Table) Blocks() []column.Source {
	chunks := *t.chunks.Load()
	out := make([]column.Source, 0, len(chunks))
	for _, c := range chunks {
		if v := c.view.Load(); v.n > 0 {
			out = append(out, block{c, v})
		}
	}
	return out
}

// TraceSpans returns the visible rows of a trace in the order of arrival, at
// most limit of them; truncated says there are more.
func (t *Table) TraceSpans(id trace.ID, limit int) (spans []trace.Span, truncated bool, err error) {
	rows, truncated := t.index.traceRows(id, limit)
	if len(rows) == 0 {
		return nil, false, nil
	}
	blocks := t.Blocks()
	spans = make([]trace.Span, 0, len(rows))
	var here []int // rows of one block
	for i := len(rows) - 1; i >= 0; i-- {
		block := rows[i] / column.MaxBlockRows
		here = append(here, int(rows[i]%column.MaxBlockRows))
		if i > 0 && rows[i-1]/column.MaxBlockRows == block {
			continue
		}
		if spans, err = blocks[block].Spans(here, spans); err != nil {
			return nil, false, err
		}
		here = here[:0]
	}
	return spans, truncated, nil
}

// SpansOf returns the visible rows of some spans of a trace.
func (t *Table) SpansOf(id trace.ID, ids []trace.SpanID) (spans []trace.Span, err error) {
	rows, _ := t.index.traceRows(id, math.MaxInt)
	blocks := t.Blocks()
	for _, row := range rows {
		b, at := blocks[row/column.MaxBlockRows].(block), int(row%column.MaxBlockRows)
		if !slices.Contains(ids, trace.SpanID(b.v.fixed.span[8*at:8*at+8])) {
			continue
		}
		if spans, err = b.Spans([]int{at}, spans); err != nil {
			return nil, err
		}
	}
	return spans, nil
}

// Effects calls fn with the links whose target is a span of some traces, until it
// says stop, and with the position of the trace in ids. fn must not ask the table
// again.
func (t *Table) Effects(ids []trace.ID, fn func(i int, l graph.Link) bool) {
	t.index.mu.RLock()
	defer t.index.mu.RUnlock()
	more := true
	for i := 0; i < len(ids) && more; i++ {
		t.index.eachEffect(ids[i], func(h *graph.Half) bool {
			more = fn(i, graph.Link{From: h.Target, To: h.Of})
			return more
		})
	}
}

// Causes is Effects for the halves on the effect side of spans of the traces.
func (t *Table) Causes(ids []trace.ID, fn func(i int, h *graph.Half) bool) {
	t.index.mu.RLock()
	defer t.index.mu.RUnlock()
	more := true
	for i := 0; i < len(ids) && more; i++ {
		t.index.eachCause(ids[i], func(h *graph.Half) bool {
			more = fn(i, h)
			return more
		})
	}
}

// Ends calls fn with the halves that have one of the keys, on either side, and
// with the position of the key in keys. fn's false skips the rest of the key. fn
// must not ask the table again.
func (t *Table) Ends(keys []graph.Key, fn func(i int, h *graph.Half) bool) {
	t.index.mu.RLock()
	defer t.index.mu.RUnlock()
	for i, key := range keys {
		t.index.eachEnd(key, func(h *graph.Half) bool { return fn(i, h) })
	}
}

// EachSummary calls fn with what the table knows of some traces, and with the
// position of each in ids. fn must not ask the table again.
func (t *Table) EachSummary(ids []trace.ID, fn func(i int, s *graph.Summary)) {
	blocks := t.rootBlocks()
	for i, id := range ids {
		e, ok := t.index.trace(id)
		if !ok {
			continue
		}
		if n := int(e.root.row / column.MaxBlockRows); n >= len(blocks) {
			blocks = t.rootBlocks() // rows have come since
		}
		sum := t.summarise(&e, blocks[e.root.row/column.MaxBlockRows].fresh(t, e.root.row))
		t.index.mu.RLock()
		t.keepBelow(&sum, &e, blocks)
		sum.Batch = t.isBatch(&sum, &e, blocks)
		t.index.mu.RUnlock()
		own(&sum)
		fn(i, &sum)
	}
}

// own gives a summary strings of its own.
func own(sum *graph.Summary) {
	sum.Service, sum.Name = strings.Clone(sum.Service), strings.Clone(sum.Name)
	sum.Route, sum.Environment = strings.Clone(sum.Route), strings.Clone(sum.Environment)
	for i := range sum.Kept {
		sum.Kept[i].Value.Str = strings.Clone(sum.Kept[i].Value.Str)
	}
}

// Between lists, in no order, the traces that start in from ≤ t < to as far as the
// table knows.
func (t *Table) Between(from, to int64) (ids []trace.ID) {
	t.index.mu.RLock()
	defer t.index.mu.RUnlock()
	for i := range t.index.entries {
		if e := &t.index.entries[i]; e.spans > 0 && e.start >= from && e.start < to {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// Summaries returns the summaries of all traces in no order. Their strings alias
// the table.
func (t *Table) Summaries() []graph.Summary {
	t.index.mu.RLock()
	defer t.index.mu.RUnlock()
	blocks := t.rootBlocks()
	out := make([]graph.Summary, 0, len(t.index.entries))
	for i := range t.index.entries {
		if e := &t.index.entries[i]; e.spans > 0 {
			sum := t.summarise(e, blocks[e.root.row/column.MaxBlockRows])
			t.keepBelow(&sum, e, blocks)
			sum.Batch = t.isBatch(&sum, e, blocks)
			out = append(out, sum)
		}
	}
	return out
}

// roots is a block with what a summary needs of its rows.
type roots struct {
	block
	routes []*attribute // http.route, by type
	kept   []*attribute // in the order of Edges.Kept
	class  []*attribute // in the order of graph.ClassKeys
}

// rootBlocks are the visible rows.
func (t *Table) rootBlocks() (blocks []roots) {
	for _, b := range t.Blocks() {
		blocks = append(blocks, t.rootBlock(b))
	}
	return blocks
}

// fresh returns the block with the row in it, which may have come since.
func (r roots) fresh(t *Table, row uint32) roots {
	if int(row%column.MaxBlockRows) < r.v.n {
		return r
	}
	return t.rootBlocks()[row/column.MaxBlockRows]
}

func (t *Table) rootBlock(b column.Source) roots {
	r := roots{block: b.(block)}
	for _, a := range r.v.all {
		if a.key == "http.route" {
			r.routes = append(r.routes, a)
		}
	}
	r.kept, r.class = r.of(t.edges.Load().Kept), r.of(graph.ClassKeys())
	return r
}

// of lists the attributes of some keys, in their order.
func (r *roots) of(keys []string) (out []*attribute) {
	for _, key := range keys {
		for _, a := range r.v.all {
			if a.key == key {
				out = append(out, a)
			}
		}
	}
	return out
}

// summarise joins what the index knows of a trace with what its root says. The
// strings alias the block.
func (t *Table) summarise(e *traceEntry, b roots) graph.Summary {
	row, f := int(e.root.row%column.MaxBlockRows), &b.v.fixed
	sum := graph.Summary{
		TraceID: e.id, SpanID: e.root.span, Root: e.root.isRoot, RootStartUnixNano: e.root.start, Kind: trace.Kind(f.kind[row]),
		Service: b.v.service.At(f.service[row]), Name: b.v.name.At(f.name[row]), Environment: b.v.environment.At(f.environment[row]),
		StartUnixNano: e.start, DurationNano: max(0, e.end-e.start),
		Spans: int(e.spans), Errors: int(e.errors), Caused: e.root.caused, Run: e.root.run,
		Messages: int(e.messages), Jobs: int(e.jobs), Requests: int(e.requests),
	}
	for _, a := range b.routes {
		if v := b.value(a, row); v.Type != trace.TypeNone {
			sum.Route = v.Text()
		}
	}
	for _, a := range b.kept {
		if n := len(sum.Kept); n > 0 && sum.Kept[n-1].Key == a.key {
			continue // of another type
		}
		if v, ok := graph.Keep(b.value(a, row)); ok {
			sum.Kept = append(sum.Kept, trace.Attribute{Key: a.key, Value: v})
		}
	}
	for _, a := range b.class {
		if !sum.Run || sum.Class() != "" {
			break
		}
		if v, ok := graph.Keep(b.value(a, row)); ok && v.Str != sum.Name {
			sum.Kept = append(sum.Kept, trace.Attribute{Key: a.key, Value: v})
		}
	}
	return sum
}

// maxKeptRows is up to how many rows of a trace are looked at for what its root does
// not say.
const maxKeptRows = 4 << 10

// keepBelow adds to the summary what the root does not say and another row of its
// service does; mu is held for reading. Most traces have a root that says all, or
// none of the attributes: their rows are not looked at.
func (t *Table) keepBelow(sum *graph.Summary, e *traceEntry, blocks []roots) {
	if sum.Caused || e.spans < 2 || e.spans > maxKeptRows {
		return
	}
	type first struct {
		trace.Attribute
		start int64
		span  trace.SpanID
	}
	var found []first
	for at, looked := e.lastRow, 0; at != 0 && looked < maxKeptRows; at, looked = t.index.prevRow[at-1], looked+1 {
		row := at - 1
		if int(row/column.MaxBlockRows) >= len(blocks) {
			continue
		}
		b, i := blocks[row/column.MaxBlockRows], int(row%column.MaxBlockRows)
		f := &b.v.fixed
		if len(b.kept) == 0 || i >= b.v.n || row == e.root.row || f.flags[i]&(flagLog|flagAside) != 0 || b.v.service.At(f.service[i]) != sum.Service {
			continue
		}
		for _, a := range b.kept {
			if sum.Keeps(a.key) {
				continue
			}
			v, ok := graph.Keep(b.value(a, i))
			if !ok {
				continue
			}
			span := trace.SpanID(f.span[8*i : 8*i+8])
			n := slices.IndexFunc(found, func(k first) bool { return k.Key == a.key })
			if n < 0 {
				n = len(found)
				found = append(found, first{start: math.MaxInt64})
			}
			if k := &found[n]; f.start[i] < k.start || f.start[i] == k.start && bytes.Compare(span[:], k.span[:]) < 0 {
				*k = first{trace.Attribute{Key: a.key, Value: v}, f.start[i], span}
			}
		}
	}
	for i := range found {
		sum.KeepMore(found[i].Attribute)
	}
}

// isBatch finds out what [graph.Summary.IsBatch] wants to know; mu is held for
// reading. Most traces have a root with causes of its own, or none that has any: their
// rows are not looked at.
func (t *Table) isBatch(sum *graph.Summary, e *traceEntry, blocks []roots) bool {
	if !sum.Root || !sum.Caused || sum.Run || !graph.MayBeMessage(sum.Kind) || e.lastHalf == 0 || e.spans < 2 {
		return false
	}
	var causes []graph.Half
	t.index.eachCause(e.id, func(h *graph.Half) bool {
		causes = append(causes, *h)
		return h.Of.SpanID != sum.SpanID && len(causes) <= graph.MaxReceived
	})
	if causes[len(causes)-1].Of.SpanID == sum.SpanID {
		return false
	}
	var received []graph.Received
	for at := e.lastRow; at != 0; at = t.index.prevRow[at-1] {
		row := at - 1
		if int(row/column.MaxBlockRows) >= len(blocks) {
			return false
		}
		b, i := blocks[row/column.MaxBlockRows], int(row%column.MaxBlockRows)
		if i >= b.v.n {
			return false
		}
		f := &b.v.fixed
		if f.flags[i]&(flagCaused|flagRun) == 0 || f.flags[i]&(flagLog|flagAside) != 0 {
			continue
		}
		if received = append(received, graph.Received{
			Span: trace.SpanID(f.span[8*i : 8*i+8]), Parent: trace.SpanID(f.parent[8*i : 8*i+8]), Service: b.v.service.At(f.service[i]),
			Message: f.flags[i]&flagRun == 0 && graph.MayBeMessage(trace.Kind(f.kind[i])),
		}); len(received) > graph.MaxReceived {
			return false
		}
	}
	return sum.IsBatch(received, causes)
}

// Halves returns the halves of all rows in the order of arrival. Only for a table
// that is not written any more.
func (t *Table) Halves() []graph.Half { return t.index.halves }
