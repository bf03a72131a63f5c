package graph

import (
	"context"
	"errors"
	"fmt"

	"redthread/tracestore/trace"
)

// SpanOrigins answers for some spans of one trace what [Graph.Origins] answers for
// whole traces: what came of several messages has in its spans several origins.
// Cause is the span that caused what the span belongs to, in another trace or in
// this one. A span that is not there is unknown, not arrived.
func (g *Graph) SpanOrigins(ctx context.Context, id trace.ID, spans []trace.SpanID) ([]TraceOrigin, error) {
	s := g.newSession()
	x, err := s.load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("origins of spans of %s: %w", id, err)
	}
	out := make([]TraceOrigin, len(spans))
	known := make(map[int32]TraceOrigin) // by the span that others took their answer from
	for i, span := range spans {
		at := x.find(span, "")
		if at >= 0 && !x.truncated {
			at = x.entry(at)
		}
		if o, ok := known[at]; ok && at >= 0 {
			out[i] = o
			continue
		}
		var o *Origin
		if at >= 0 {
			o, err = s.origin(ctx, x, at, x.spans[at].id)
		} else {
			o, err = s.spanOrigin(ctx, x, span)
		}
		switch {
		case errors.Is(err, ErrNotFound):
			out[i] = TraceOrigin{Status: Unknown, Reason: NotArrived}
			continue
		case err != nil:
			return nil, fmt.Errorf("origin of %s:%s: %w", id, span, err)
		}
		out[i] = TraceOrigin{Status: o.Status, Reason: o.Reason}
		if o.Status == Found {
			out[i].Origin = o.Origins[0].Ref
		}
		if n := len(o.Hops); n > 0 {
			out[i].Cause = o.Hops[n-1].From.Ref
		}
		if at >= 0 {
			known[at] = out[i]
		}
	}
	return out, nil
}

// entry is the first of the spans above one, itself included, that something else
// than its parent caused, or whose parent is in another leg: its origin and cause
// are those of all spans up to it.
func (x *index) entry(i int32) int32 {
	for {
		p := x.spans[i].parent
		if p < 0 || x.crosses(p, i) {
			return i
		}
		if cs := x.causesAt(i); len(cs.list) > 0 || cs.unknown != "" {
			return i
		}
		i = p
	}
}
