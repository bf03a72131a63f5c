package tracestore

import (
	"context"
	"slices"

	"redthread/tracestore/graph"
	"redthread/tracestore/memtable"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

var _ graph.WindowSource = (*Store)(nil)

// UseRules has the rows that arrive from now on looked at for edges with other
// rules, and other attributes kept in the summaries of traces; nil: the default.
// [Store.RebuildEdges] applies them to the rows that are stored.
func (s *Store) UseRules(rules *graph.Rules, kept []string) {
	s.edges.Store(&memtable.Edges{Rules: rules, Kept: kept})
}

// eachRun calls fn with the runs of edges of a view. One that is corrupt is set
// aside, and the rest answers.
func (s *Store) eachRun(ctx context.Context, v *view, fn func(*segment.Edges) error) error {
	for _, f := range v.runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(f.file); err != nil && !s.setAsideEdges(f, err) {
			return err
		}
	}
	return nil
}

// Effects returns the links whose target is a span of the trace, at most limit;
// truncated says there are more. They outlive the spans.
func (s *Store) Effects(ctx context.Context, id trace.ID, limit int) (links []graph.Link, truncated bool, err error) {
	v := s.acquire()
	if v == nil {
		return nil, false, ErrClosed
	}
	defer v.release()
	if err := s.eachRun(ctx, v, func(e *segment.Edges) error {
		more, cut, err := e.Effects(id, limit)
		links, truncated = append(links, more...), truncated || cut
		return err
	}); err != nil {
		return nil, false, err
	}
	for _, t := range v.tables {
		more, cut := t.mem.Effects(id, limit)
		links, truncated = append(links, more...), truncated || cut
	}
	links = unique(links)
	if len(links) > limit {
		links, truncated = links[:limit], true
	}
	return links, truncated, nil
}

// unique keeps the first of equal elements: a row that was sent again has the
// same edges.
func unique[T comparable](list []T) []T {
	if len(list) < 2 {
		return list
	}
	seen := make(map[T]struct{}, len(list))
	return slices.DeleteFunc(list, func(l T) bool {
		_, again := seen[l]
		seen[l] = struct{}{}
		return again
	})
}

// EffectsOf implements [graph.EdgeSource].
func (s *Store) EffectsOf(ctx context.Context, ids []trace.ID, limit int) (links []graph.Link, truncated bool, err error) {
	for _, id := range ids {
		more, cut, err := s.Effects(ctx, id, limit-len(links))
		if err != nil {
			return nil, false, err
		}
		if links = append(links, more...); cut {
			return links, true, nil
		}
	}
	return links, false, nil
}

// Causes implements [graph.EdgeSource].
func (s *Store) Causes(ctx context.Context, ids []trace.ID, limit int) (halves []graph.Half, truncated bool, err error) {
	v := s.acquire()
	if v == nil {
		return nil, false, ErrClosed
	}
	defer v.release()
	for _, id := range ids {
		var of []graph.Half
		add := func(h *graph.Half) bool {
			of = append(of, *h)
			return len(halves)+len(of) <= limit
		}
		if err := s.eachRun(ctx, v, func(e *segment.Edges) error { return e.Causes(id, add) }); err != nil {
			return nil, false, err
		}
		for _, t := range v.tables {
			t.mem.Causes(id, add)
		}
		if halves = append(halves, unique(of)...); len(halves) > limit {
			return halves[:limit], true, nil
		}
	}
	return halves, false, nil
}

// Ends implements [graph.EdgeSource].
func (s *Store) Ends(ctx context.Context, side graph.Side, keys []graph.Key, limit int) (ends []graph.Half, truncated bool, err error) {
	v := s.acquire()
	if v == nil {
		return nil, false, ErrClosed
	}
	defer v.release()
	for _, key := range keys {
		var of []graph.Half
		add := func(h *graph.Half) bool {
			if h.Side&side != 0 {
				of = append(of, *h)
			}
			return len(of) <= limit
		}
		if err := s.eachRun(ctx, v, func(e *segment.Edges) error { return e.Ends(key, add) }); err != nil {
			return nil, false, err
		}
		for _, t := range v.tables {
			t.mem.Ends(key, add)
		}
		if of = unique(of); len(of) > limit {
			of, truncated = of[:limit], true
		}
		ends = append(ends, of...)
	}
	return ends, truncated, nil
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
	add := func(i int, more graph.Summary, ok bool) {
		switch {
		case !ok:
		case out[i].TraceID.IsZero():
			out[i] = more
		default:
			out[i] = segment.MergeSummaries(out[i], more)
		}
	}
	for i, id := range ids {
		if err := s.eachRun(ctx, v, func(e *segment.Edges) error {
			more, ok, err := e.Summary(id)
			add(i, more, ok)
			return err
		}); err != nil {
			return nil, err
		}
		for _, t := range v.tables {
			more, ok := t.mem.Summary(id)
			add(i, more, ok)
		}
	}
	return out, nil
}

// SummariesBetween implements [graph.WindowSource].
func (s *Store) SummariesBetween(ctx context.Context, from, to int64, fn func(*graph.Summary) error) error {
	v := s.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.release()
	all := map[trace.ID]graph.Summary{}
	add := func(more *graph.Summary) error {
		if have, ok := all[more.TraceID]; ok {
			all[more.TraceID] = segment.MergeSummaries(have, *more)
		} else {
			all[more.TraceID] = *more
		}
		return nil
	}
	if err := s.eachRun(ctx, v, func(e *segment.Edges) error { return e.All(add) }); err != nil {
		return err
	}
	for _, t := range v.tables {
		for _, sum := range t.mem.Summaries() {
			if err := add(&sum); err != nil {
				return err
			}
		}
	}
	for _, sum := range all {
		if sum.StartUnixNano < from || sum.StartUnixNano >= to {
			continue
		}
		if err := fn(&sum); err != nil {
			return err
		}
	}
	return nil
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
