package handlers

import (
	"context"
	"slices"

	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// sentSearch finds out of sends whether something handled them. Many stand in one
// trace, which is read once.
type sentSearch struct {
	store  *tracestore.Store
	rules  *graph.Rules
	traces map[trace.ID]*sentTrace
}

// sentTrace is what is known of a trace that sent something.
type sentTrace struct {
	caused map[trace.SpanID]bool // spans that others say caused them, by a link or as their parent
	whole  bool                  // the trace itself was named as the cause of something, so any of its sends may be
	spans  map[trace.SpanID][]graph.Key
	cut    bool // there is more than was read
}

// isHandled reports whether something says that a send caused it: by a link, by an
// id, or by the parent in its trace. It is not sure where not all could be read.
func (s *sentSearch) isHandled(ctx context.Context, ref trace.Ref) (handled, sure bool, err error) {
	t := s.traces[ref.TraceID]
	if t == nil {
		if t, err = s.read(ctx, ref.TraceID); err != nil {
			return false, false, err
		}
		s.traces[ref.TraceID] = t
	}
	if t.whole || t.caused[ref.SpanID] {
		return true, true, nil
	}
	keys, known := t.spans[ref.SpanID]
	if !known && t.cut {
		spans, err := s.store.SpansOf(ctx, []trace.Ref{ref})
		if err != nil {
			return false, false, err
		}
		for i := range spans {
			keys = append(keys, s.keys(&spans[i])...)
		}
	}
	if len(keys) > 0 {
		ends, _, err := s.store.Ends(ctx, graph.EffectSide, keys, 2) // the send may be one itself
		if err != nil {
			return false, false, err
		}
		if slices.ContainsFunc(ends, func(h graph.Half) bool {
			return h.Of.TraceID != ref.TraceID || h.Of.SpanID != ref.SpanID && !h.Of.SpanID.IsZero()
		}) {
			return true, true, nil
		}
	}
	return false, !t.cut, nil
}

// read reads what the spans of a trace caused.
func (s *sentSearch) read(ctx context.Context, id trace.ID) (*sentTrace, error) {
	t := &sentTrace{caused: map[trace.SpanID]bool{}, spans: map[trace.SpanID][]graph.Key{}}
	links, cut, err := s.store.Effects(ctx, id, maxSentEffects)
	if err != nil {
		return nil, err
	}
	t.cut = cut
	for _, l := range links {
		t.whole = t.whole || l.From.SpanID.IsZero()
		t.caused[l.From.SpanID] = true
	}
	spans, cut, err := s.store.TraceSpans(ctx, id, maxSentSpans)
	if err != nil {
		return nil, err
	}
	t.cut = t.cut || cut
	for i := range spans {
		x := &spans[i]
		switch x.Kind {
		case trace.KindProducer, trace.KindClient: // a step of the sending
		default:
			t.caused[x.ParentID] = true
		}
		if keys := s.keys(x); len(keys) > 0 {
			t.spans[x.SpanID] = append(t.spans[x.SpanID], keys...)
		} else if _, ok := t.spans[x.SpanID]; !ok {
			t.spans[x.SpanID] = nil
		}
	}
	return t, nil
}

// keys are the ids by which what a span sent may be found.
func (s *sentSearch) keys(x *trace.Span) (keys []graph.Key) {
	for _, h := range s.rules.Halves(nil, x) {
		if h.Side&graph.CauseSide != 0 && h.Key != 0 {
			keys = append(keys, h.Key)
		}
	}
	return keys
}
