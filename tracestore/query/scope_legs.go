package query

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// legSpan is a span of a trace whose legs are looked for.
type legSpan struct {
	trace int32 // number
	graph.PlainSpan
}

// legSearch finds the legs of traces by columns alone.
type legSearch struct {
	*resolution
	wanted   column.Bitmap // traces, by number
	services map[string]uint32

	mu    sync.Mutex
	spans []legSpan
	held  int64
}

const legSpanBytes = 32

// legs finds what called the rows of those wanted traces in which parents, services
// and kinds tell it, and leaves the others wanted.
func (r *resolution) legs(ctx context.Context, blocks []column.Block, wanted column.Bitmap, e *endList) error {
	if wanted.Count() == 0 {
		return nil
	}
	l := &legSearch{resolution: r, wanted: wanted, services: make(map[string]uint32)}
	defer func() { _ = r.hold(-l.held) }() // giving back is no reason to stop
	if err := r.eachReach(ctx, blocks, l.read); err != nil {
		return err
	}
	// A trace at a time; what is left of memory for it is that of a number each.
	if err := l.charge(int64(4 * len(l.spans))); err != nil {
		return err
	}
	order := make([]int32, len(l.spans))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(l.spans[a].trace, l.spans[b].trace), cmp.Compare(a, b))
	})
	var plain []graph.PlainSpan
	var above, scratch []int32
	for from, to := 0, 0; from < len(order); from = to {
		n := l.spans[order[from]].trace
		plain = plain[:0]
		for to = from; to < len(order) && l.spans[order[to]].trace == n; to++ {
			plain = append(plain, l.spans[order[to]].PlainSpan)
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		above = resize(above, len(plain))
		if !graph.PlainLegs(plain, above, &scratch) {
			continue
		}
		wanted.Clear(int(n))
		id := r.traces.keys[n].TraceID
		for i, by := range above {
			if by < 0 {
				continue
			}
			k := e.spans.number(&trace.Ref{TraceID: id, SpanID: plain[i].ID})
			if k == len(e.bySpan) { // a span that was sent twice has its number
				e.bySpan = append(e.bySpan, e.number(trace.Ref{TraceID: id, SpanID: plain[by].ID}, 1))
			}
			e.apart.Set(int(n))
		}
	}
	return r.charge()
}

func (l *legSearch) charge(more int64) error {
	l.held += more
	return l.hold(more)
}

// read notes the spans of wanted traces in a block.
func (l *legSearch) read(b *nearby, v *view) error {
	ids, err := v.spanIDs()
	if err != nil {
		return err
	}
	rows, err := b.candidates(l.traces)
	if err != nil {
		return err
	}
	if rows, err = v.spanRows(rows); err != nil {
		return err
	}
	kinds, err := v.fixed(column.Kind)
	if err != nil {
		return err
	}
	services, err := l.serviceNumbers(v)
	if err != nil {
		return err
	}
	odd, err := v.oddities()
	if err != nil {
		return err
	}
	var list []legSpan
	last, number, wanted := trace.ID{}, -2, false
	for w, word := range rows {
		for ; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			if id := ids.trace(row); number == -2 || id != last {
				last, number = id, l.traces.find(&trace.Ref{TraceID: id})
				wanted = number >= 0 && l.wanted.Has(number)
			}
			if !wanted {
				continue
			}
			s := legSpan{int32(number), graph.PlainSpan{ID: ids.span(row), Parent: ids.parent(row), Service: services(row), Kind: trace.Kind(kinds.Ints[row])}}
			if odd != nil {
				s.Odd = odd[row]
			}
			list = append(list, s)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := cap(l.spans)
	l.spans = append(l.spans, list...)
	return l.charge(legSpanBytes * int64(cap(l.spans)-before))
}

// serviceNumbers returns the number of a row's service.
func (l *legSearch) serviceNumbers(v *view) (func(row int) uint32, error) {
	vec, err := v.fixed(column.Service)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	numbers := make([]uint32, vec.Dict.Len())
	for id := range numbers {
		name := vec.Dict.At(uint32(id))
		n, ok := l.services[name]
		if !ok {
			n = uint32(len(l.services))
			l.services[string([]byte(name))] = n // not the block's bytes
		}
		numbers[id] = n
	}
	return func(row int) uint32 { return numbers[vec.IDs[row]] }, nil
}

// oddities are what their attributes make of a block's rows; nil: nothing of any.
func (v *view) oddities() ([]graph.Oddity, error) {
	var out []graph.Oddity
	for _, key := range graph.OddKeys() {
		fixed, isFixed := column.FixedType(key)
		for _, t := range v.block.Types(key) {
			if isFixed && t == fixed {
				continue
			}
			vec, err := v.block.Column(key, t)
			if err != nil {
				return nil, err
			}
			if vec == nil {
				continue
			}
			var byID []graph.Oddity
			if vec.IDs != nil {
				byID = make([]graph.Oddity, vec.Dict.Len())
				for id := range byID {
					byID[id] = graph.OddityOf(key, vec.Dict.At(uint32(id)))
				}
				if !slices.ContainsFunc(byID, func(o graph.Oddity) bool { return o != 0 }) {
					continue
				}
			}
			if out == nil {
				out = make([]graph.Oddity, v.rows)
			}
			for row := range out {
				if !vec.Has(row) {
					continue
				}
				if byID != nil {
					out[row] |= byID[vec.IDs[row]]
				} else {
					out[row] |= graph.OddityOf(key, "")
				}
			}
		}
	}
	return out, nil
}
