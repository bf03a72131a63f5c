package query

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// SampleResult is some of the spans that match a search, each as likely to be among
// them as the others.
type SampleResult struct {
	Spans   []SampledSpan // at most the limit of the search; the same for the same rows
	Matched int64         // spans that match, of which these were chosen
}

// SampledSpan is one of them.
type SampledSpan struct {
	trace.Ref
	ParentID      trace.SpanID
	Service, Name string
	StartUnixNano int64
	DurationNano  int64
	Error         bool

	rank uint64
}

// RunSample chooses spans by the hash of their ids: those with the least. It reads
// ids and what a [SampledSpan] has, not whole rows; columns and order of the search
// do not matter.
func RunSample(ctx context.Context, p *SearchPlan, blocks []column.Block) (*SampleResult, error) {
	live := p.where.live(blocks)
	out := &SampleResult{Spans: []SampledSpan{}}
	var mu sync.Mutex
	p.Lease.expect(live)
	err := p.Lease.eachBlock(ctx, p.Lease.workers(len(live)), live, func(_ int, b column.Block) error {
		mu.Lock()
		bound := sampleBound(out.Spans, p.limit)
		mu.Unlock()
		found, matched, err := p.sampleBlock(ctx, b, bound)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		out.Matched += int64(matched)
		out.Spans = leastRanks(append(out.Spans, found...), p.limit)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sampleBound is the rank from which no span is wanted any more.
func sampleBound(sorted []SampledSpan, limit int) uint64 {
	if len(sorted) < limit {
		return ^uint64(0)
	}
	return sorted[limit-1].rank
}

func leastRanks(spans []SampledSpan, limit int) []SampledSpan {
	slices.SortFunc(spans, func(a, b SampledSpan) int { return cmp.Compare(a.rank, b.rank) })
	return slices.Clip(spans[:min(len(spans), limit)])
}

func (p *SearchPlan) sampleBlock(ctx context.Context, b column.Block, bound uint64) ([]SampledSpan, int, error) {
	v := p.where.view(ctx, b, p.Lease.hold)
	defer v.release()
	sel, err := p.where.selectRows(v)
	if err != nil {
		return nil, 0, err
	}
	matched := sel.Count()
	if matched == 0 {
		return nil, 0, nil
	}
	traces, err := v.fixed(column.TraceID)
	if err != nil {
		return nil, 0, err
	}
	spans, err := v.fixed(column.SpanID)
	if err != nil {
		return nil, 0, err
	}
	type ranked struct {
		rank uint64
		row  int
	}
	var best []ranked
	for _, row := range rowsOf(sel, nil) {
		rank := spanKey(traceHash(traces.Fixed[16*int(row):]), spans.Fixed[8*int(row):])
		if rank < bound {
			best = append(best, ranked{rank, int(row)})
		}
	}
	slices.SortFunc(best, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	best = best[:min(len(best), p.limit)]
	if len(best) == 0 {
		return nil, matched, nil
	}
	var vecs [6]*column.Vector
	for i, name := range [...]string{column.ParentID, column.Service, column.Name, column.Start, column.Duration, column.Error} {
		if vecs[i], err = v.fixed(name); err != nil {
			return nil, 0, err
		}
	}
	out := make([]SampledSpan, len(best))
	for i, x := range best {
		s := &out[i]
		s.rank = x.rank
		copy(s.TraceID[:], traces.Fixed[16*x.row:])
		copy(s.SpanID[:], spans.Fixed[8*x.row:])
		copy(s.ParentID[:], vecs[0].Fixed[8*x.row:])
		s.Service, s.Name = strings.Clone(vecs[1].Value(x.row).Str), strings.Clone(vecs[2].Value(x.row).Str)
		s.StartUnixNano, s.DurationNano, s.Error = vecs[3].Ints[x.row], vecs[4].Ints[x.row], vecs[5].Ints[x.row]&1 != 0
	}
	return out, matched, nil
}
