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
	s.addEffects(out, x, links)
	return out, nil
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
	return out
}

// cause resolves one cause of a span of x, as far as its trace was read.
func (s *session) cause(x *index, c cause) Cause {
	out := Cause{To: trace.Ref{TraceID: x.trace, SpanID: x.spans[c.via].id},
		Edge: Edge{From: SpanInfo{Ref: c.from}, To: x.info(c.via), Kind: c.kind, Rule: c.rule, Inferred: c.inferred}}
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
	switch at := y.causeOf(c.from, &x.spans[c.via]); {
	case at >= 0:
		out.Known = true
		out.Edge.From = y.info(at)
		out.Edge.WaitNano = wait(y.spans[at].end, x.spans[c.via].start)
		out.StartUnixNano = y.spans[at].start
	case len(y.spans) == 0 && y.hasSummary:
		out.Reason = Expired
	default:
		out.Reason = c.missing()
	}
	return out
}

// addEffects counts what the spans of x caused, by causing span and by service
// and name of the effect. Effects in traces that were not read are counted
// without a name.
func (s *session) addEffects(out *Neighbours, x *index, links []Link) {
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
