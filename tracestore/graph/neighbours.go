package graph

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"redthread/tracestore/trace"
)

const (
	// maxNeighbours is how many other traces a trace page resolves: each is one
	// read, and a page of more would not be looked at.
	maxNeighbours = 200
	// maxCauses bounds the resolved causes of one trace.
	maxCauses = 2000
	// maxEffects bounds the effects that are counted.
	maxEffects = 20_000
)

// Neighbours returns the origin of a trace and its next causes and effects in
// other traces. A trace that is not known gives [ErrNotFound].
func (g *Graph) Neighbours(ctx context.Context, id trace.ID) (*Neighbours, error) {
	n, err := g.neighbours(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("neighbours of %s: %w", id, err)
	}
	return n, nil
}

func (g *Graph) neighbours(ctx context.Context, id trace.ID) (*Neighbours, error) {
	s := g.newSession()
	x, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &Neighbours{Causes: []Cause{}, Effects: []Effect{}}
	if out.Origin, err = s.traceOrigin(ctx, x); err != nil {
		return nil, err
	}
	links, cut, err := g.effects(ctx, x, maxEffects)
	if err != nil {
		return nil, err
	}
	out.Truncated = cut
	links = slices.DeleteFunc(links, func(l Link) bool { return l.To.TraceID == id })

	causes := x.crossTraceCauses()
	if len(causes) > maxCauses {
		causes, out.Truncated = causes[:maxCauses], true
	}
	// Both sides together within one budget; causes first, they are fewer.
	want := make([]trace.ID, 0, len(causes)+len(links))
	for _, c := range causes {
		want = append(want, c.from.TraceID)
	}
	for _, l := range links {
		want = append(want, l.To.TraceID)
	}
	want = distinct(want, maxNeighbours)
	if err := s.loadAll(ctx, want); err != nil {
		return nil, err
	}
	for _, c := range causes {
		out.Causes = append(out.Causes, s.cause(x, c))
	}
	known, err := s.summaries(ctx, links)
	if err != nil {
		return nil, err
	}
	s.addEffects(out, x, links, known)
	return out, nil
}

// summaries reads what is known of the traces of effects that were not read, or
// whose spans are gone.
func (s *session) summaries(ctx context.Context, links []Link) (map[trace.ID]*Summary, error) {
	known := map[trace.ID]*Summary{}
	var ids []trace.ID
	for _, l := range links {
		id := l.To.TraceID
		if _, again := known[id]; again {
			continue
		}
		switch y := s.traces[id]; {
		case y == nil && s.g.edges != nil:
			known[id] = nil
			ids = append(ids, id)
		case y != nil && len(y.spans) == 0 && y.hasSummary:
			known[id] = &y.summary
		}
	}
	for chunk := range slices.Chunk(ids, foldChunk) {
		sums, err := s.g.edges.Summaries(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for i := range sums {
			known[sums[i].TraceID] = &sums[i]
		}
	}
	return known, nil
}

// crossTraceCauses lists what caused the spans of a trace from other traces, by
// the start of the effect.
func (x *index) crossTraceCauses() []cause {
	var out []cause
	for i := range x.spans {
		if len(x.spans[i].links)+len(x.spans[i].inferred) == 0 {
			continue
		}
		for _, c := range x.causesAt(int32(i)).list {
			if c.from.TraceID != x.trace {
				out = append(out, c)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b cause) int { return cmp.Compare(x.spans[a.via].start, x.spans[b.via].start) })
	if len(x.spans) == 0 {
		for i := range x.gone {
			out = append(out, x.gone[i].cause(none))
		}
	}
	return out
}

// cause resolves one cause of a span of x, as far as its trace was read.
func (s *session) cause(x *index, c cause) Cause {
	var effect *span
	to := x.summary.origin().SpanInfo // of spans that are gone only the root is known
	if c.via >= 0 {
		effect, to = &x.spans[c.via], x.info(c.via)
	}
	out := Cause{To: to.Ref, Edge: Edge{From: SpanInfo{Ref: c.from}, To: to, Kind: c.kind, Rule: c.rule, Inferred: c.inferred}}
	y := s.traces[c.from.TraceID]
	switch {
	case y == nil:
		out.Reason = Cut
		return out
	case y.root >= 0:
		out.RootService, out.RootName = y.spans[y.root].service, y.spans[y.root].name
	case y.hasSummary:
		out.RootService, out.RootName = y.summary.Service, y.summary.Name
	}
	switch at := y.causeOf(c.from, effect); {
	case at >= 0:
		out.Known = true
		out.Edge.From = y.info(at)
		if effect != nil {
			out.Edge.WaitNano = wait(y.spans[at].end, effect.start)
		}
		out.StartUnixNano = y.spans[at].start
	case len(y.spans) == 0 && y.hasSummary:
		out.Reason = Expired
	default:
		out.Reason = c.missing()
	}
	return out
}

// addEffects counts what the spans of x caused, by causing span and by service
// and name of the effect. Effects in traces that were not read have the name of
// their trace if they are its root, else none.
func (s *session) addEffects(out *Neighbours, x *index, links []Link, known map[trace.ID]*Summary) {
	type key struct {
		from          trace.SpanID
		service, name string
		kind          trace.Kind
	}
	var (
		groups = map[key]*Effect{}
		order  []*Effect
		traces = map[trace.ID]bool{}
	)
	for _, l := range links {
		y := s.traces[l.To.TraceID]
		at := Absent
		if y != nil {
			at = y.find(l.To.SpanID, "")
		}
		k := key{from: l.From.SpanID}
		e := Effect{From: l.From.SpanID, First: l.To, Work: WorkOther}
		if at >= 0 {
			if !slices.ContainsFunc(y.causesAt(at).list, func(c cause) bool { return c.from == l.From }) {
				continue
			}
			n := &y.spans[at]
			k.service, k.name, k.kind = n.service, n.name, n.kind
			e.Service, e.Name, e.Kind, e.Work = n.service, n.name, n.kind, n.work()
			e.FirstStartUnixNano = n.start
			if n.err {
				e.Errors = 1
			}
			if p := x.causeOf(l.From, n); p >= 0 {
				k.from, e.From = x.spans[p].id, x.spans[p].id
				e.MaxWaitNano = wait(x.spans[p].end, n.start)
			}
		}
		if m := known[l.To.TraceID]; m != nil && m.SpanID == l.To.SpanID {
			k.service, k.name, k.kind = m.Service, m.Name, m.Kind
			e.Service, e.Name, e.Kind, e.Work = m.Service, m.Name, m.Kind, m.work()
			e.FirstStartUnixNano = m.StartUnixNano
			if m.Errors > 0 {
				e.Errors = 1
			}
			if p := x.causeOf(l.From, nil); p >= 0 {
				k.from, e.From = x.spans[p].id, x.spans[p].id
				e.MaxWaitNano = wait(x.spans[p].end, m.StartUnixNano)
			}
		}
		out.Caused++
		traces[l.To.TraceID] = true
		g := groups[k]
		if g == nil {
			e.Count = 1
			groups[k] = &e
			order = append(order, &e)
			continue
		}
		g.Count++
		g.Errors += e.Errors
		g.MaxWaitNano = max(g.MaxWaitNano, e.MaxWaitNano)
		if e.FirstStartUnixNano < g.FirstStartUnixNano {
			g.First, g.FirstStartUnixNano = e.First, e.FirstStartUnixNano
		}
	}
	start := func(e *Effect) int64 {
		if at, ok := x.tree.byID[e.From]; ok {
			return x.spans[at].start
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b *Effect) int {
		return cmp.Or(cmp.Compare(start(a), start(b)), cmp.Compare(b.Count, a.Count))
	})
	for _, e := range order {
		out.Effects = append(out.Effects, *e)
	}
	out.Traces = len(traces)
}

// distinct returns the first limit different ids.
func distinct(ids []trace.ID, limit int) []trace.ID {
	seen := map[trace.ID]bool{}
	var out []trace.ID
	for _, id := range ids {
		if !seen[id] && len(out) < limit {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
