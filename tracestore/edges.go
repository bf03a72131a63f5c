package tracestore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/memtable"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

var (
	_ graph.WindowSource = (*Store)(nil)
	_ graph.KeySource    = (*Store)(nil)
	_ graph.SenderSource = (*Store)(nil)
)

// UseRules has the rows that arrive from now on looked at for edges with other
// rules, and other attributes kept in the summaries of traces; nil: the default.
// [Store.RebuildEdges] applies them to the rows that are stored.
func (s *Store) UseRules(rules *graph.Rules, kept []string) {
	s.edges.Store(&memtable.Edges{Rules: rules, Kept: kept})
}

// edgeWorkers is how many runs of edges are read at once for one question.
const edgeWorkers = 4

// manyIDs is from how many traces or keys on runs are read side by side.
const manyIDs = 64

// eachRun calls fn with the runs of edges of a view and their number, several at
// once where a question is about many traces. One that is corrupt is set aside,
// and the rest answers.
func (s *Store) eachRun(ctx context.Context, v *view, many bool, fn func(n int, e *segment.Edges) error) error {
	one := func(n int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := v.runs[n]
		if err := fn(n, f.file); err != nil && !s.setAsideEdges(f, err) {
			return err
		}
		return nil
	}
	workers := min(edgeWorkers, len(v.runs))
	if !many || workers < 2 {
		for n := range v.runs {
			if err := one(n); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(v.runs) {
					return
				}
				errs[i] = one(n)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sorted returns ids in order, and the position of each in the list it comes from;
// nil if that is in order itself.
func sorted[T any](list []T, compare func(a, b T) int) ([]T, []int) {
	if slices.IsSortedFunc(list, compare) {
		return list, nil
	}
	at := make([]int, len(list))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(a, b int) int { return compare(list[a], list[b]) })
	out := make([]T, len(list))
	for i, k := range at {
		out[i] = list[k]
	}
	return out, at
}

func compareIDs(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) }

// answers gathers what runs and tables say about each of some traces or keys.
type answers[T comparable] struct {
	parts [][]answer[T] // by run, then by table; each in the order of the question
	limit int
}

type answer[T any] struct {
	i int
	v T
}

// add notes an answer of a part, and reports whether more are wanted of it: a
// part never needs more than the limit and one.
func (a *answers[T]) add(part, i int, v T) bool {
	list := a.parts[part]
	if len(list) == cap(list) { // append alone makes long lists over and over
		list = slices.Grow(list, max(16, len(list)))
	}
	a.parts[part] = append(list, answer[T]{i, v})
	return len(list) < a.limit
}

// joined returns the answers about one after the other, each once: a row that was
// sent again has the same edges. It stops beyond the limit in all.
func (a *answers[T]) joined() (out []T, truncated bool) {
	heads := make([]int, len(a.parts))
	n := 0
	for _, list := range a.parts {
		n += len(list)
	}
	out = make([]T, 0, min(n, a.limit))
	for {
		least := math.MaxInt
		for p, list := range a.parts {
			if heads[p] < len(list) {
				least = min(least, list[heads[p]].i)
			}
		}
		if least == math.MaxInt {
			return out, false
		}
		from := len(out)
		for p, list := range a.parts {
			for ; heads[p] < len(list) && list[heads[p]].i == least; heads[p]++ {
				out = append(out, list[heads[p]].v)
			}
		}
		if out = append(out[:from], unique(out[from:])...); len(out) > a.limit {
			return out[:a.limit], true
		}
	}
}

// unique keeps the first of equal elements.
func unique[T comparable](list []T) []T {
	if len(list) < 16 {
		out := list[:0]
		for _, v := range list {
			if !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
		return out
	}
	seen := make(map[T]struct{}, len(list))
	return slices.DeleteFunc(list, func(l T) bool {
		_, again := seen[l]
		seen[l] = struct{}{}
		return again
	})
}

// Effects returns the links whose target is a span of the trace, at most limit;
// truncated says there are more. They outlive the spans.
func (s *Store) Effects(ctx context.Context, id trace.ID, limit int) (links []graph.Link, truncated bool, err error) {
	return s.EffectsOf(ctx, []trace.ID{id}, limit)
}

// EffectsOf implements [graph.EdgeSource].
func (s *Store) EffectsOf(ctx context.Context, ids []trace.ID, limit int) (links []graph.Link, truncated bool, err error) {
	v := s.acquire()
	if v == nil {
		return nil, false, ErrClosed
	}
	defer v.release()
	ids, _ = sorted(ids, compareIDs)
	a := answers[graph.Link]{parts: make([][]answer[graph.Link], len(v.runs)+len(v.tables)), limit: limit}
	if err := s.eachRun(ctx, v, len(ids) > manyIDs, func(n int, e *segment.Edges) error {
		return e.Effects(ids, func(i int, l graph.Link) bool { return a.add(n, i, l) })
	}); err != nil {
		return nil, false, err
	}
	for n, t := range v.tables {
		t.mem.Effects(ids, func(i int, l graph.Link) bool { return a.add(len(v.runs)+n, i, l) })
	}
	links, truncated = a.joined()
	return links, truncated, nil
}

// Causes implements [graph.EdgeSource].
func (s *Store) Causes(ctx context.Context, ids []trace.ID, limit int) (halves []graph.Half, truncated bool, err error) {
	v := s.acquire()
	if v == nil {
		return nil, false, ErrClosed
	}
	defer v.release()
	ids, _ = sorted(ids, compareIDs)
	a := answers[graph.Half]{parts: make([][]answer[graph.Half], len(v.runs)+len(v.tables)), limit: limit}
	if err := s.eachRun(ctx, v, len(ids) > manyIDs, func(n int, e *segment.Edges) error {
		return e.Causes(ids, func(i int, h *graph.Half) bool { return a.add(n, i, *h) })
	}); err != nil {
		return nil, false, err
	}
	for n, t := range v.tables {
		t.mem.Causes(ids, func(i int, h *graph.Half) bool { return a.add(len(v.runs)+n, i, toMillisecond(h)) })
	}
	halves, truncated = a.joined()
	return halves, truncated, nil
}

// toMillisecond rounds the start of a half as runs do, so that the same half is
// equal wherever it is found.
func toMillisecond(h *graph.Half) graph.Half {
	out := *h
	out.StartUnixNano -= out.StartUnixNano % int64(time.Millisecond)
	return out
}

// Ends implements [graph.EdgeSource].
func (s *Store) Ends(ctx context.Context, side graph.Side, keys []graph.Key, limit int) (ends []graph.Half, truncated bool, err error) {
	v := s.acquire()
	if v == nil {
		return nil, false, ErrClosed
	}
	defer v.release()
	keys, _ = sorted(keys, cmp.Compare[graph.Key])
	a := answers[graph.Half]{parts: make([][]answer[graph.Half], len(v.runs)+len(v.tables)), limit: math.MaxInt}
	// Of each key as many are wanted as the limit, and one to know that there are more.
	most := func(part int) func(i int, h *graph.Half) bool {
		last, n := -1, 0
		return func(i int, h *graph.Half) bool {
			if i != last {
				last, n = i, 0
			}
			if h.Side&side == 0 {
				return true
			}
			a.add(part, i, toMillisecond(h))
			n++
			return n <= limit
		}
	}
	if err := s.eachRun(ctx, v, len(keys) > manyIDs, func(n int, e *segment.Edges) error { return e.Ends(keys, most(n)) }); err != nil {
		return nil, false, err
	}
	for n, t := range v.tables {
		t.mem.Ends(keys, most(len(v.runs)+n))
	}
	all, _ := a.joined()
	last, n := graph.Key(0), 0
	ends = all[:0]
	for _, h := range all {
		if h.Key != last {
			last, n = h.Key, 0
		}
		if n++; n > limit {
			truncated = true
			continue
		}
		ends = append(ends, h)
	}
	return ends, truncated, nil
}

// Senders implements [graph.SenderSource].
func (s *Store) Senders(ctx context.Context, halves []graph.Half) error {
	rules := s.edges.Load().Rules
	if rules == nil {
		rules = graph.DefaultRules()
	}
	byTrace := map[trace.ID][]int{}
	var ids []trace.ID
	for i := range halves {
		id := halves[i].Of.TraceID
		if byTrace[id] == nil {
			ids = append(ids, id)
		}
		byTrace[id] = append(byTrace[id], i)
	}
	slices.SortFunc(ids, compareIDs) // the parts of one file together
	var offers []graph.Half
	return s.EachTrace(ctx, ids, math.MaxInt, rules.Wants, func(n int, spans []trace.Span, _ bool) error {
		of := byTrace[ids[n]]
		for i := range spans { // by start
			offers = rules.Halves(offers[:0], &spans[i])
			for k := range offers {
				o := toMillisecond(&offers[k])
				for _, at := range of {
					if h := &halves[at]; h.Key == o.Key && o.Side&graph.CauseSide != 0 && (h.Of.SpanID.IsZero() || h.StartUnixNano == o.StartUnixNano) {
						h.Of.SpanID = o.Of.SpanID
					}
				}
			}
		}
		return nil
	})
}

// Shared implements [graph.KeySource].
func (s *Store) Shared(ctx context.Context, keys []graph.Key) ([]graph.Key, error) {
	v := s.acquire()
	if v == nil {
		return nil, ErrClosed
	}
	defer v.release()
	keys, _ = sorted(keys, cmp.Compare[graph.Key])
	counts := make([]uint8, len(keys)) // 2: or more
	var mu sync.Mutex
	if err := s.eachRun(ctx, v, len(keys) > manyIDs, func(_ int, e *segment.Edges) error {
		type count struct{ i, n int }
		var found []count
		err := e.Sharing(keys, func(i, n int) { found = append(found, count{i, n}) })
		mu.Lock()
		defer mu.Unlock()
		for _, f := range found {
			counts[f.i] = uint8(min(2, int(counts[f.i])+f.n))
		}
		return err
	}); err != nil {
		return nil, err
	}
	for _, t := range v.tables {
		t.mem.Ends(keys, func(i int, _ *graph.Half) bool {
			counts[i] = min(2, counts[i]+1)
			return counts[i] < 2
		})
	}
	var out []graph.Key
	for i, n := range counts {
		if n > 1 {
			out = append(out, keys[i])
		}
	}
	return out, nil
}

// TraceSummary returns what is known of a trace, or false. It outlives the
// spans.
func (s *Store) TraceSummary(ctx context.Context, id trace.ID) (sum graph.Summary, ok bool, err error) {
	all, err := s.Summaries(ctx, []trace.ID{id})
	if err != nil {
		return graph.Summary{}, false, err
	}
	return all[0], !all[0].TraceID.IsZero(), nil
}

// Summaries implements [graph.EdgeSource].
func (s *Store) Summaries(ctx context.Context, ids []trace.ID) ([]graph.Summary, error) {
	v := s.acquire()
	if v == nil {
		return nil, ErrClosed
	}
	defer v.release()
	out := make([]graph.Summary, len(ids))
	if err := s.summaries(ctx, v, ids, out); err != nil {
		return nil, err
	}
	return out, nil
}

// summaries fills in what is known of some traces.
func (s *Store) summaries(ctx context.Context, v *view, ids []trace.ID, out []graph.Summary) error {
	ids, at := sorted(ids, compareIDs)
	var locks [64]sync.Mutex // of the summaries
	add := func(i int, more *graph.Summary) {
		if at != nil {
			i = at[i]
		}
		mu := &locks[i%len(locks)]
		mu.Lock()
		defer mu.Unlock()
		if o := &out[i]; o.TraceID.IsZero() {
			*o = *more
		} else {
			*o = segment.MergeSummaries(*o, *more)
		}
	}
	if err := s.eachRun(ctx, v, len(ids) > manyIDs, func(_ int, e *segment.Edges) error { return e.Summaries(ids, add) }); err != nil {
		return err
	}
	for _, t := range v.tables {
		t.mem.EachSummary(ids, add)
	}
	return nil
}

// SummariesBetween implements [graph.WindowSource].
func (s *Store) SummariesBetween(ctx context.Context, from, to int64, fn func(sums []graph.Summary, left int) error) error {
	v := s.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.release()
	// A trace of which a part begins in the window begins there, or earlier: then
	// another part says so, which may be in any run. So the parts are gathered first,
	// and all that is known of the traces joined then.
	parts := make([][]trace.ID, len(v.runs), len(v.runs)+len(v.tables)) // each in order
	if err := s.eachRun(ctx, v, true, func(n int, e *segment.Edges) (err error) {
		parts[n], err = e.Between(ctx, from, to)
		return err
	}); err != nil {
		return err
	}
	for _, t := range v.tables {
		part := t.mem.Between(from, to)
		slices.SortFunc(part, compareIDs)
		parts = append(parts, part)
	}
	ids := union(parts)
	// While fn has one chunk (2 MB), others are looked up.
	const chunk, ahead = 8192, 3
	type found struct {
		sums []graph.Summary
		err  error
	}
	var wg sync.WaitGroup
	defer wg.Wait() // before the view is released
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var coming []chan found
	var spare [][]graph.Summary
	for rest := ids; len(ids) > 0; {
		for ; len(rest) > 0 && len(coming) < ahead; rest = rest[min(len(rest), chunk):] {
			part, c := rest[:min(len(rest), chunk)], make(chan found, 1)
			if len(spare) == 0 {
				spare = append(spare, make([]graph.Summary, len(part)))
			}
			sums := spare[len(spare)-1][:len(part)]
			spare = spare[:len(spare)-1]
			coming = append(coming, c)
			wg.Go(func() { c <- found{sums, s.summaries(ctx, v, part, sums)} })
		}
		a := <-coming[0]
		if a.err != nil {
			return a.err
		}
		coming, ids = coming[1:], ids[min(len(ids), chunk):]
		some := slices.DeleteFunc(a.sums, func(m graph.Summary) bool {
			return m.TraceID.IsZero() || m.StartUnixNano < from || m.StartUnixNano >= to
		})
		if err := fn(some, len(ids)); err != nil {
			return err
		}
		clear(a.sums)
		spare = append(spare, a.sums)
	}
	return nil
}

// union joins lists that are in order, into one that has each id once.
func union(parts [][]trace.ID) []trace.ID {
	for len(parts) > 1 {
		var joined [][]trace.ID
		for pair := range slices.Chunk(parts, 2) {
			if len(pair) == 1 || len(pair[1]) == 0 {
				joined = append(joined, pair[0])
				continue
			}
			a, b := pair[0], pair[1]
			out := make([]trace.ID, 0, len(a)+len(b))
			for len(a) > 0 && len(b) > 0 {
				c := compareIDs(a[0], b[0])
				if c <= 0 {
					out, a = append(out, a[0]), a[1:]
				} else {
					out = append(out, b[0])
				}
				if c >= 0 {
					b = b[1:]
				}
			}
			joined = append(joined, append(append(out, a...), b...))
		}
		parts = joined
	}
	if len(parts) == 0 {
		return nil
	}
	return parts[0]
}

// SpansOf implements [graph.EdgeSource].
func (s *Store) SpansOf(ctx context.Context, refs []trace.Ref) (spans []trace.Span, err error) {
	v := s.acquire()
	if v == nil {
		return nil, ErrClosed
	}
	defer v.release()
	byTrace := map[trace.ID][]trace.SpanID{}
	for _, r := range refs {
		byTrace[r.TraceID] = append(byTrace[r.TraceID], r.SpanID)
	}
	for id, of := range byTrace {
		for _, f := range v.segments {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			more, err := f.file.SpansOf(id, of)
			if err != nil {
				if !s.setAsideSegment(f, err) {
					return nil, err
				}
				continue
			}
			spans = append(spans, more...)
		}
		for _, t := range v.tables {
			more, err := t.mem.SpansOf(id, of)
			if err != nil {
				return nil, err
			}
			spans = append(spans, more...)
		}
	}
	// Log records have no id of their own.
	spans = slices.DeleteFunc(dropEqual(spans), func(r trace.Span) bool { return r.Signal != trace.SignalSpan })
	return spans, nil
}
