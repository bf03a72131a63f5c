package tracestore

import (
	"context"

	"redthread/tracestore/column"
	"redthread/tracestore/query"
)

// BubbleUp compares a selection of a query's rows with its other rows. A
// specification at fault is a *query.InvalidError.
func (s *Store) BubbleUp(ctx context.Context, spec query.BubbleUp) (*query.BubbleUpResult, error) {
	p, err := query.CompileBubbleUp(spec, s.o.Now())
	if err != nil {
		return nil, err
	}
	p.MemoryBytes = min(p.MemoryBytes, max(s.o.MemoryBytes/4, minQueryBytes))
	from, to := p.Window()
	return read(ctx, s, from, to, func(blocks []column.Block, segments int) (*query.BubbleUpResult, error) {
		r, err := query.RunBubbleUp(ctx, p, blocks)
		if err == nil {
			r.Stats.Segments = segments
		}
		return r, err
	})
}
