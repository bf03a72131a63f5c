package tracestore

import (
	"context"

	"redthread/tracestore/column"
	"redthread/tracestore/query"
)

// BubbleUp compares a selection of a query's rows with its other rows. Errors are
// those of [Store.Query].
func (s *Store) BubbleUp(ctx context.Context, spec query.BubbleUp) (*query.BubbleUpResult, error) {
	return s.BubbleUpProgress(ctx, spec, nil)
}

// BubbleUpProgress is [Store.BubbleUp], whose progress can be watched meanwhile.
func (s *Store) BubbleUpProgress(ctx context.Context, spec query.BubbleUp, progress *query.Progress) (*query.BubbleUpResult, error) {
	names := columnsOf(spec.SelectionFilters)
	if spec.Selection != nil {
		names = append(names, spec.Selection.Column)
	}
	worded := spec
	var err error
	if worded.Query, err = s.spec(ctx, spec.Query, names...); err != nil {
		return nil, err
	}
	p, err := compile(s, spec, worded, query.CompileBubbleUp)
	if err != nil {
		return nil, err
	}
	from, to := p.Window()
	p.Threads = s.threads()
	readFrom, readTo := lookedAt(p)
	return read(ctx, s, readFrom, readTo, func(blocks []column.Block, _ int) (*query.BubbleUpResult, error) {
		if p.Lease, err = s.begin(ctx, progress); err != nil {
			return nil, err
		}
		defer p.Lease.End()
		r, err := query.RunBubbleUp(ctx, p, blocks)
		if err == nil {
			r.Warnings = append(r.Warnings, s.lostRows(from, to)...)
		}
		return r, err
	})
}
