package query

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// Threads is what a query asks of the causal graph and of the edge index.
type Threads interface {
	// Origins says where traces begin and what caused them.
	Origins(ctx context.Context, ids []trace.ID) ([]graph.TraceOrigin, error)
	// PlaceCauses finds the causing spans that Origins left out.
	PlaceCauses(ctx context.Context, found []graph.TraceOrigin) error
	// SpanOrigins says the same of spans, also of those whose trace came of several.
	SpanOrigins(ctx context.Context, refs []trace.Ref) ([]graph.TraceOrigin, error)
	// SpanCauses says what caused the parts of their traces that spans belong to.
	SpanCauses(ctx context.Context, refs []trace.Ref) ([]trace.Ref, error)
	// Ripples measures the threads that traces begin.
	Ripples(ctx context.Context, ids []trace.ID) ([]graph.Ripple, error)
	// Summaries says what is known of traces, also when their spans are gone.
	Summaries(ctx context.Context, ids []trace.ID) ([]graph.Summary, error)
}

// resolution is what a run knows of the spans around its rows: first the rows that
// the other filters keep are read for their traces and parents, then what is asked
// of the spans around them is looked up, all at once. From then on it is only read,
// and a block's rows get their values by number (scope_vector.go).
type resolution struct {
	where   *where
	threads Threads        // nil: nothing is known of causes
	blocks  []column.Block // of all of time
	live    []column.Block // those that hold the rows
	page    []trace.Ref    // or else the rows themselves
	hold    func(int64) error
	lease   *Lease

	mu      sync.Mutex
	traces  *spanTable // of the rows
	rows    []uint32   // by trace: how many there are
	heads   column.Bitmap
	parents *spanTable // of the rows; nil: not asked for
	spans   *spanTable // those with a child that is asked for; nil: not asked for
	loose   bool       // the rows may be of any number of blocks

	maxApart int // see the constant
	// choose are the rows of a live block.
	choose func(v *view) (column.Bitmap, error)

	values map[scope]*spanValues
	found  []column.Bitmap // by place in where.exists: the traces, or spans, that have such a span
	thread threadEnds      // where the rows come from; nil: not asked for
	begins []trace.SpanID  // by trace: the span that begins a thread, zero: none does

	held     int64
	warnings []string
}

// resolve looks up what a query asks of the spans around its rows, which are in the
// live blocks. Nil: nothing.
func (q *where) resolve(ctx context.Context, threads Threads, lease *Lease, blocks, live []column.Block, hold func(int64) error) (*resolution, error) {
	if !q.looksAround() {
		return nil, nil
	}
	r := q.newResolution(threads, lease, blocks, hold)
	r.live = live
	if err := r.collect(ctx); err != nil {
		return nil, r.explain(err)
	}
	if err := r.lookUp(ctx); err != nil {
		return nil, r.explain(err)
	}
	return r, nil
}

func (q *where) newResolution(threads Threads, lease *Lease, blocks []column.Block, hold func(int64) error) *resolution {
	r := &resolution{where: q, threads: threads, blocks: blocks, lease: lease, hold: hold, maxApart: cmp.Or(q.maxApart, maxApart), traces: newSpanTable(), values: make(map[scope]*spanValues)}
	r.choose = q.first().selectRows
	if len(q.scopedNames(scopeParent)) > 0 {
		r.parents = newSpanTable()
	}
	for _, e := range q.exists {
		if e.scope == scopeChild {
			r.spans = newSpanTable()
		}
	}
	return r
}

// scopedNames are the columns that the query reads of the spans of a scope, by
// their names there.
func (q *where) scopedNames(s scope) []string {
	var out []string
	for _, name := range q.scoped {
		if of, rest := cutScope(name); of == s {
			out = append(out, rest)
		}
	}
	return out
}

// explain says what a query that needs too much memory can do.
func (r *resolution) explain(err error) error {
	var invalid *InvalidError
	if errors.As(err, &invalid) && invalid.Field == "breakdowns" {
		return &InvalidError{"filters", fmt.Sprintf("The rows lie in so many traces (%d so far) that looking around them needs more memory than a query may have. "+
			"Filter more by the rows' own columns, or take a shorter time range.", len(r.traces.keys))}
	}
	return err
}

// charge brings up to date what is held.
func (r *resolution) charge() error {
	now := r.traces.bytes() + int64(4*cap(r.rows)+8*cap(r.heads))
	for _, t := range []*spanTable{r.parents, r.spans} {
		if t != nil {
			now += t.bytes()
		}
	}
	for _, v := range r.values {
		now += v.bytes()
	}
	for _, b := range r.found {
		now += int64(8 * len(b))
	}
	now += r.thread.bytes() + int64(8*cap(r.begins))
	more := now - r.held
	r.held = now
	return r.hold(more)
}

// seen is what a block's rows tell of where to look: traces and parents, neighbours
// that are equal once.
type seen struct {
	traces  []trace.Ref
	rows    []uint32
	heads   []bool
	parents []trace.Ref
}

// collect reads where to look from the rows that the plain filters keep.
func (r *resolution) collect(ctx context.Context) error {
	return r.eachLive(ctx, func(v *view, rows column.Bitmap) error {
		s, err := r.read(v, rows)
		if err != nil {
			return err
		}
		return r.take(s)
	})
}

// eachLive calls fn for the blocks that hold rows, with these.
func (r *resolution) eachLive(ctx context.Context, fn func(v *view, rows column.Bitmap) error) error {
	r.lease.expect(r.live)
	return r.lease.eachBlock(ctx, r.lease.workers(len(r.live)), r.live, func(_ int, b column.Block) error {
		v := r.where.view(ctx, b, r.hold)
		defer v.release()
		rows, err := r.choose(v)
		if err != nil || rows.Count() == 0 {
			return err
		}
		return fn(v, rows)
	})
}

func (r *resolution) read(v *view, rows column.Bitmap) (*seen, error) {
	ids, err := v.spanIDs()
	if err != nil {
		return nil, err
	}
	s := &seen{}
	for w, word := range rows {
		for ; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			s.add(r, ids.trace(row), ids.span(row), ids.parent(row))
		}
	}
	return s, nil
}

// add notes a row.
func (s *seen) add(r *resolution, id trace.ID, span, parent trace.SpanID) {
	head := parent.IsZero() || parent == span
	if n := len(s.traces); n > 0 && s.traces[n-1].TraceID == id {
		s.rows[n-1]++
		s.heads[n-1] = s.heads[n-1] || head
	} else {
		s.traces, s.rows, s.heads = append(s.traces, trace.Ref{TraceID: id}), append(s.rows, 1), append(s.heads, head)
	}
	if r.parents != nil && !head {
		if ref := (trace.Ref{TraceID: id, SpanID: parent}); len(s.parents) == 0 || s.parents[len(s.parents)-1] != ref {
			s.parents = append(s.parents, ref)
		}
	}
}

// take numbers what a block's rows tell.
func (r *resolution) take(s *seen) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range s.traces {
		n := r.traces.number(&s.traces[i])
		if n == len(r.rows) {
			r.rows = append(r.rows, 0)
			if n>>6 == len(r.heads) {
				r.heads = append(r.heads, 0)
			}
		}
		r.rows[n] += s.rows[i]
		if s.heads[i] {
			r.heads.Set(n)
		}
	}
	for i := range s.parents {
		r.parents.number(&s.parents[i])
	}
	return r.charge()
}

// lookUp finds what was asked of the spans around the rows.
func (r *resolution) lookUp(ctx context.Context) error {
	if len(r.traces.keys) == 0 {
		return nil
	}
	var within []column.Block
	if r.where.looksNear() {
		var err error
		if within, err = r.within(ctx); err != nil {
			return err
		}
	}
	if names := r.where.scopedNames(scopeRoot); len(names) > 0 {
		f := &fetch{resolution: r, table: r.traces, byTrace: true, values: newSpanValues(len(r.traces.keys), names)}
		if err := f.run(ctx, within); err != nil {
			return err
		}
		r.values[scopeRoot] = f.values
	}
	if names := r.where.scopedNames(scopeParent); len(names) > 0 {
		f := &fetch{resolution: r, table: r.parents, values: newSpanValues(len(r.parents.keys), names)}
		if err := f.run(ctx, within); err != nil {
			return err
		}
		r.values[scopeParent] = f.values
	}
	for _, e := range r.where.exists {
		if err := r.search(ctx, e, within); err != nil {
			return err
		}
	}
	for i, e := range r.where.exists {
		if most := column.NewBitmap(len(r.asked(e.scope).keys)); len(r.found[i]) < len(most) {
			r.found[i] = append(r.found[i], most[len(r.found[i]):]...)
		}
	}
	if err := r.follow(ctx, within); err != nil {
		return err
	}
	return r.measure(ctx)
}

// asked are the spans, or traces, that a search tells of by number.
func (r *resolution) asked(s scope) *spanTable {
	if s == scopeChild {
		return r.spans
	}
	return r.traces
}

// nearby is a block to look into, for spans of some traces only if they are listed.
type nearby struct {
	column.Block
	traces []int32 // numbers of traces; nil: any
}

// within lists the blocks that may hold spans of the rows' traces: those of the
// window, and others by when the traces are known to have begun and ended.
func (r *resolution) within(ctx context.Context) ([]column.Block, error) {
	var out, outside []column.Block
	for _, b := range r.blocks {
		lo, hi := b.Bounds()
		switch {
		case b.Rows() == 0:
		case r.loose || hi < r.where.from || lo >= r.where.to:
			outside = append(outside, b)
		default:
			out = append(out, &nearby{Block: b})
		}
	}
	if len(outside) == 0 {
		return out, nil
	}
	all := make([]int32, len(r.traces.keys))
	for i := range all {
		all[i] = int32(i)
	}
	far, err := r.reaching(ctx, r.traces, all, outside)
	return append(out, far...), err
}

// span64 is from when to when the spans of a trace start.
type span64 struct{ from, to int64 }

// summaryChunk is how many summaries are asked for at once (about 300 bytes each).
const summaryChunk = 8 << 10

// eachSummary calls fn with what is known of traces, in the order of their ids, in
// which an index has them.
func (r *resolution) eachSummary(ctx context.Context, ids []trace.ID, fn func(i int, s *graph.Summary) error) error {
	type place struct {
		upper uint64 // half of the id
		at    int32
	}
	order := make([]place, len(ids))
	for i := range ids {
		order[i] = place{binary.BigEndian.Uint64(ids[i][:]), int32(i)}
	}
	slices.SortFunc(order, func(a, b place) int { return cmp.Compare(a.upper, b.upper) })
	chunk := make([]trace.ID, 0, min(len(ids), summaryChunk))
	for part := range slices.Chunk(order, summaryChunk) {
		chunk = chunk[:0]
		for _, p := range part {
			chunk = append(chunk, ids[p.at])
		}
		sums, err := r.threads.Summaries(ctx, chunk)
		if err != nil {
			return err
		}
		for i := range sums {
			if err := fn(int(part[i].at), &sums[i]); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// reaching leaves those blocks that may hold spans of some traces, by the times of
// the traces. Without an edge index, and for traces that it does not know, these
// are all.
func (r *resolution) reaching(ctx context.Context, table *spanTable, numbers []int32, blocks []column.Block) ([]column.Block, error) {
	if r.threads == nil {
		out := make([]column.Block, len(blocks))
		for i, b := range blocks {
			out[i] = &nearby{Block: b}
		}
		return out, nil
	}
	ids := make([]trace.ID, len(numbers))
	for i, n := range numbers {
		ids[i] = table.keys[n].TraceID
	}
	type known struct {
		span64
		number int32
	}
	list := make([]known, 0, len(ids))
	err := r.eachSummary(ctx, ids, func(i int, s *graph.Summary) error {
		k := known{span64{math.MinInt64, math.MaxInt64}, numbers[i]}
		if !s.TraceID.IsZero() {
			k.span64 = span64{s.StartUnixNano, s.StartUnixNano + max(0, s.DurationNano)}
		}
		list = append(list, k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b known) int { return compareInts(a.from, b.from) })
	latest := make([]int64, len(list)) // the greatest end up to here
	for i := range list {
		latest[i] = list[i].to
		if i > 0 {
			latest[i] = max(latest[i], latest[i-1])
		}
	}
	var out []column.Block
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lo, hi := b.Bounds()
		end, _ := slices.BinarySearchFunc(list, hi, func(k known, t int64) int {
			if k.from <= t {
				return -1
			}
			return 1
		})
		var here []int32
		for i := end - 1; i >= 0 && latest[i] >= lo; i-- {
			if list[i].to >= lo {
				here = append(here, list[i].number)
			}
		}
		if len(here) > 0 {
			out = append(out, &nearby{b, here})
		}
	}
	return out, nil
}

// tracer is a block that finds the rows of a trace by an index.
type tracer interface {
	// TraceRows returns the rows that may belong to one of the traces, in order.
	TraceRows(ids []trace.ID) ([]int32, error)
}

// indexShare is how much cheaper it is to read the ids of a row than to find a trace by
// the index.
const indexShare = 512

// candidates returns the rows of the block worth looking at; nil: all.
func (b *nearby) candidates(table *spanTable) (column.Bitmap, error) {
	t, ok := b.Block.(tracer)
	if !ok || b.traces == nil || len(b.traces)*indexShare > b.Rows() {
		return nil, nil
	}
	ids := make([]trace.ID, 0, len(b.traces))
	for _, n := range b.traces {
		if id := table.keys[n].TraceID; len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	list, err := t.TraceRows(ids)
	if err != nil {
		return nil, err
	}
	rows := column.NewBitmap(b.Rows())
	for _, row := range list {
		rows.Set(int(row))
	}
	return rows, nil
}

// eachReach calls fn for the blocks to look into.
func (r *resolution) eachReach(ctx context.Context, blocks []column.Block, fn func(b *nearby, v *view) error) error {
	r.lease.expect(blocks)
	return r.lease.eachBlock(ctx, r.lease.workers(len(blocks)), blocks, func(_ int, b column.Block) error {
		in := b.(*nearby)
		v := (&where{fields: r.where.fields}).view(ctx, in.Block, r.hold)
		defer v.release()
		return fn(in, v)
	})
}

// fetch reads columns of numbered spans.
type fetch struct {
	*resolution
	table   *spanTable
	byTrace bool // the root of each trace; else the span of each id
	values  *spanValues
	order   []rowOrder // by number: of the row that was taken
}

// rowOrder decides between rows that are one span, or roots of one trace.
type rowOrder struct {
	start int64
	span  trace.SpanID
	rank  uint8 // as halves of one id stand: 1 the caller, 3 the callee; 0: no row yet
}

// rankOf is as in the causal graph: the caller's half of a shared id is first.
func rankOf(kind int64) uint8 {
	switch trace.Kind(kind) {
	case trace.KindClient, trace.KindProducer:
		return 1
	case trace.KindServer, trace.KindConsumer:
		return 3
	}
	return 2
}

// before reports whether a row goes before another: the earliest root, and of
// halves that share an id the callee's.
func (f *fetch) before(a, b *rowOrder) bool {
	if f.byTrace {
		switch {
		case a.start != b.start:
			return a.start < b.start
		case a.span != b.span:
			return slices.Compare(a.span[:], b.span[:]) < 0
		}
		return a.rank < b.rank
	}
	if a.rank != b.rank {
		return a.rank > b.rank
	}
	return a.start > b.start
}

func (f *fetch) run(ctx context.Context, blocks []column.Block) error {
	f.order = make([]rowOrder, f.values.n)
	if err := f.hold(int64(24 * len(f.order))); err != nil {
		return err
	}
	defer func() { _ = f.hold(-int64(24 * len(f.order))) }() // giving back is no reason to stop
	return f.eachReach(ctx, blocks, func(b *nearby, v *view) error {
		ids, err := v.spanIDs()
		if err != nil {
			return err
		}
		rows, err := b.candidates(f.table)
		if err != nil {
			return err
		}
		signal, err := v.spanRows(rows)
		if err != nil {
			return err
		}
		var hits []spanRow
		last, number := trace.Ref{}, -2
		for w, word := range signal {
			for ; word != 0; word &= word - 1 {
				row := w<<6 | bits.TrailingZeros64(word)
				ref := trace.Ref{TraceID: ids.trace(row)}
				if f.byTrace {
					if !ids.isRoot(row) {
						continue
					}
				} else {
					ref.SpanID = ids.span(row)
				}
				if number == -2 || ref != last {
					last, number = ref, f.table.find(&ref)
				}
				if number >= 0 {
					hits = append(hits, spanRow{int32(number), int32(row)})
				}
			}
		}
		if len(hits) == 0 {
			return nil
		}
		return f.takeRows(v, ids, hits)
	})
}

// takeRows reads the columns of rows that are the spans looked for, but for those
// that have been found better.
func (f *fetch) takeRows(v *view, ids *spanIDs, hits []spanRow) error {
	starts, err := v.fixed(column.Start)
	if err != nil {
		return err
	}
	kinds, err := v.fixed(column.Kind)
	if err != nil {
		return err
	}
	want := column.NewBitmap(v.rows)
	for _, h := range hits {
		want.Set(int(h.row))
	}
	vecs := make([][]*column.Vector, len(f.values.names))
	for i, name := range f.values.names {
		if vecs[i], err = v.vectorsOf(name, want); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := hits[:0]
	for _, h := range hits {
		o := rowOrder{starts.Ints[h.row], ids.span(int(h.row)), rankOf(kinds.Ints[h.row])}
		if have := &f.order[h.span]; have.rank == 0 || f.before(&o, have) {
			*have = o
			taken = append(taken, h)
		}
	}
	for i, name := range f.values.names {
		if err := f.values.copyRows(name, vecs[i], taken); err != nil {
			return err
		}
	}
	more := f.values.bytes() - f.values.held
	f.values.held += more
	return f.hold(more)
}

// search finds the traces that have a span which passes the filters of a scope, or
// the spans that have such a child.
func (r *resolution) search(ctx context.Context, e *exists, blocks []column.Block) error {
	place := len(r.found)
	r.found = append(r.found, column.NewBitmap(len(r.traces.keys)))
	live := make([]column.Block, 0, len(blocks))
	for _, b := range blocks {
		v := newView(b.(*nearby).Block)
		v.fields = e.where.fields
		if !e.where.excludes(v) {
			live = append(live, b)
		}
	}
	return r.eachReach(ctx, live, func(b *nearby, v *view) error {
		sel, err := e.where.choose(v)
		if err != nil || sel.count() == 0 {
			return err
		}
		ids, err := v.spanIDs()
		if err != nil {
			return err
		}
		var traces []int
		var parents []trace.Ref
		last, number := trace.ID{}, -2
		for w, word := range sel.bitmap() {
			for ; word != 0; word &= word - 1 {
				row := w<<6 | bits.TrailingZeros64(word)
				id := ids.trace(row)
				again := number != -2 && id == last
				if !again {
					last, number = id, r.traces.find(&trace.Ref{TraceID: id})
				}
				switch {
				case number < 0:
				case e.scope != scopeChild:
					if !again {
						traces = append(traces, number)
					}
				case !ids.isRoot(row):
					if ref := (trace.Ref{TraceID: id, SpanID: ids.parent(row)}); len(parents) == 0 || parents[len(parents)-1] != ref {
						parents = append(parents, ref)
					}
				}
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, n := range traces {
			r.found[place].Set(n)
		}
		for i := range parents {
			n := r.spans.number(&parents[i])
			for n>>6 >= len(r.found[place]) {
				r.found[place] = append(r.found[place], 0)
			}
			r.found[place].Set(n)
		}
		return r.charge()
	})
}
