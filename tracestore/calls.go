package tracestore

import (
	"context"

	"redthread/tracestore/column"
	"redthread/tracestore/query"
)

// Calls tells which services call which inside traces. Errors are those of
// [Store.Query].
func (s *Store) Calls(ctx context.Context, q query.Calls) (*query.CallsResult, error) {
	worded, during := q, query.Spec{StartTime: q.StartTime, EndTime: q.EndTime, Environment: q.Environment}
	var err error
	if worded.CalculatedFields, err = s.withWords(ctx, during, q.CalculatedFields, columnsOf(q.Filters)); err != nil {
		return nil, err
	}
	p, err := compile(s, q, worded, query.CompileCalls)
	if err != nil {
		return nil, err
	}
	from, to := p.Window()
	return read(ctx, s, from, to, func(blocks []column.Block, _ int) (*query.CallsResult, error) {
		if p.Lease, err = s.begin(ctx, nil); err != nil {
			return nil, err
		}
		defer p.Lease.End()
		return query.RunCalls(ctx, p, blocks)
	})
}

// Sample chooses some of the spans that match, each as likely as the others.
// Errors are those of [Store.Query].
func (s *Store) Sample(ctx context.Context, q query.Search) (*query.SampleResult, error) {
	worded, err := s.searchSpec(ctx, q)
	if err != nil {
		return nil, err
	}
	p, err := compile(s, q, worded, query.CompileSearch)
	if err != nil {
		return nil, err
	}
	from, to := p.Window()
	return read(ctx, s, from, to, func(blocks []column.Block, _ int) (*query.SampleResult, error) {
		if p.Lease, err = s.begin(ctx, nil); err != nil {
			return nil, err
		}
		defer p.Lease.End()
		return query.RunSample(ctx, p, blocks)
	})
}
