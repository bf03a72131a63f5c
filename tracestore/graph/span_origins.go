package graph

import (
	"context"
	"fmt"
	"slices"

	"redthread/tracestore/trace"
)

// SpanOrigins answers for many spans what [Graph.Origins] answers for whole traces:
// in what came of several messages, spans have origins of their own. It reads the
// spans of their traces and of those on the way back, once for each of their traces,
// so ask for spans of traces only that Origins says are [TraceOrigin].Apart. Cause
// is the last hop's, in another trace or in this one. A span that is not there is
// unknown, not arrived.
func (g *Graph) SpanOrigins(ctx context.Context, refs []trace.Ref) ([]TraceOrigin, error) {
	out, err := entries(ctx, g, refs, (*session).originFrom)
	if err != nil {
		return nil, fmt.Errorf("origins of %d spans: %w", len(refs), err)
	}
	return out, nil
}

// Traces that follow each other were stored together, mostly: many are read at once,
// but not more spans than this in one go, if those before tell.
const (
	entryTraces = 1024 // a worker's share
	entryChunk  = 256
	entrySpans  = 20_000
	// entrySenders is how many other traces one go may hold when it comes to its next.
	entrySenders = 1024
)

// entries answers for each span what ask does for its entry: once for each of a
// trace, several traces at once.
func entries[T any](ctx context.Context, g *Graph, refs []trace.Ref, ask func(*session, context.Context, *index, int32, trace.SpanID) (T, error)) ([]T, error) {
	out := make([]T, len(refs))
	byTrace := make(map[trace.ID][]int)
	var ids []trace.ID
	for i, ref := range refs {
		if byTrace[ref.TraceID] == nil {
			ids = append(ids, ref.TraceID)
		}
		byTrace[ref.TraceID] = append(byTrace[ref.TraceID], i)
	}
	shares := slices.Collect(slices.Chunk(ids, entryTraces))
	err := g.each(ctx, len(shares), func(ctx context.Context, k int) error {
		n := 4
		for rest := shares[k]; len(rest) > 0; {
			n = min(n, len(rest))
			s := g.newSession()
			if err := s.loadAll(ctx, rest[:n]); err != nil {
				return err
			}
			spans := s.spans
			for i, id := range rest[:n] {
				if len(s.traces) > n+entrySenders {
					s = s.only(rest[i:n])
				}
				if err := answerEntries(ctx, s, id, refs, byTrace[id], out, ask); err != nil {
					return err
				}
			}
			rest = rest[n:]
			n = max(1, min(entryChunk, n*entrySpans/max(1, spans)))
		}
		return nil
	})
	return out, err
}

// only is the session with no more than some of its traces.
func (s *session) only(ids []trace.ID) *session {
	out := s.g.newSession()
	for _, id := range ids {
		if x := s.traces[id]; x != nil {
			out.traces[id], out.spans = x, out.spans+len(x.spans)
		}
	}
	return out
}

// answerEntries answers for those spans of one trace.
func answerEntries[T any](ctx context.Context, s *session, id trace.ID, refs []trace.Ref, of []int, out []T, ask func(*session, context.Context, *index, int32, trace.SpanID) (T, error)) error {
	x, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	known := make(map[int32]T)
	for _, i := range of {
		at, err := s.entryOf(ctx, x, refs[i].SpanID)
		if err != nil {
			return err
		}
		o, again := known[at]
		if !again {
			if o, err = ask(s, ctx, x, at, refs[i].SpanID); err != nil {
				return err
			}
			if at >= 0 {
				known[at] = o
			}
		}
		out[i] = o
	}
	return nil
}

// originFrom is the origin of an entry, or of a span that is not there.
func (s *session) originFrom(ctx context.Context, x *index, at int32, id trace.SpanID) (TraceOrigin, error) {
	if at < 0 && (len(x.spans) > 0 || !x.hasSummary) {
		return TraceOrigin{Status: Unknown, Reason: NotArrived}, nil
	}
	o, err := s.origin(ctx, x, at, id)
	if err != nil {
		return TraceOrigin{}, err
	}
	out := TraceOrigin{Status: o.Status, Reason: o.Reason}
	switch {
	case o.Status == Found:
		out.Origin = o.Origins[0].Ref
	case o.Status == Ambiguous && len(o.Origins) <= MaxCandidates:
		for i := range o.Origins {
			out.Origins = append(out.Origins, o.Origins[i].Ref)
		}
	}
	if n := len(o.Hops); n > 0 {
		out.Cause = o.Hops[n-1].From.Ref
	}
	return out, nil
}

// SpanCauses says of spans what caused the part of their trace that each belongs to,
// as in [TraceOrigin]; it reads these traces only, unless of a cause only the trace
// was recorded.
func (g *Graph) SpanCauses(ctx context.Context, refs []trace.Ref) ([]trace.Ref, error) {
	out, err := entries(ctx, g, refs, func(s *session, ctx context.Context, x *index, at int32, _ trace.SpanID) (trace.Ref, error) {
		if at < 0 {
			return trace.Ref{}, nil
		}
		return s.causeOf(ctx, x, at)
	})
	if err != nil {
		return nil, fmt.Errorf("causes of %d spans: %w", len(refs), err)
	}
	return out, nil
}

// entryOf is the entry of a span; none if it is not there.
func (s *session) entryOf(ctx context.Context, x *index, id trace.SpanID) (int32, error) {
	if err := s.seek(ctx, x, id); err != nil {
		return none, err
	}
	at := x.find(id, "")
	if at < 0 {
		return none, nil
	}
	return x.entry(at), nil
}

// entry is the first of the spans above one, itself included, that something else
// than its parent caused, or whose parent belongs to another leg: its origin and
// cause are those of all spans up to it. Where the parent never arrived the root of
// the trace stands for it.
func (x *index) entry(i int32) int32 {
	for {
		n := &x.spans[i]
		if n.parent >= 0 && x.crosses(n.parent, i) {
			return i
		}
		if cs := x.causesAt(i); len(cs.list) > 0 || cs.unknown != "" {
			return i
		}
		switch {
		case n.parent >= 0:
			i = n.parent
		case n.parent == Absent && x.root >= 0 && n.kind != trace.KindServer && !n.shape.has(consumes):
			i = x.root
		default:
			return i
		}
	}
}

// causeOf is the one span that caused an entry; zero if there is none, or several.
func (s *session) causeOf(ctx context.Context, x *index, i int32) (trace.Ref, error) {
	n := &x.spans[i]
	cs := x.causesAt(i)
	if cs.unknown != "" {
		return trace.Ref{}, nil
	}
	var found []trace.Ref
	add := func(r trace.Ref) {
		if !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	for _, c := range cs.list {
		ref, err := s.sender(ctx, x, c)
		if err != nil {
			return ref, err
		}
		add(ref)
	}
	if len(cs.list) == 0 || cs.parent {
		if n.parent >= 0 && x.crosses(n.parent, i) {
			add(trace.Ref{TraceID: x.trace, SpanID: x.spans[n.parent].id})
		} else if n.parent == Absent {
			add(trace.Ref{TraceID: x.trace, SpanID: n.parentID})
		}
	}
	if len(found) != 1 {
		return trace.Ref{}, nil
	}
	return found[0], nil
}

// sender is the span that a cause names, or that sent the message where only the
// trace was recorded.
func (s *session) sender(ctx context.Context, x *index, c cause) (trace.Ref, error) {
	ref := c.from
	if !ref.SpanID.IsZero() {
		return ref, nil
	}
	y, err := s.load(ctx, ref.TraceID)
	if err != nil {
		return ref, err
	}
	if at := y.causeOf(ref, &x.spans[c.via]); at >= 0 {
		ref.SpanID = y.spans[at].id
	}
	return ref, nil
}
