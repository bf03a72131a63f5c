package graph

import (
	"context"
	"fmt"
	"slices"

	"redthread/tracestore/trace"
)

// TraceOrigin is where a trace begins, for queries over many traces.
type TraceOrigin struct {
	Status Status
	Reason string   // while unknown
	Origin trace.ID // the trace that begins the chain, when found
	Cause  trace.ID // the one trace that caused this one, zero if none or several did
}

const (
	// maxOriginTraces bounds the traces that one call of Origins looks at (about
	// 400 bytes each).
	maxOriginTraces = 1_000_000
	// maxOriginHalves bounds the causes that are read for one chunk of traces.
	maxOriginHalves = 200_000
	// maxOriginWalks bounds the traces for which spans have to be read.
	maxOriginWalks = 2000
)

// originNode is what Origins knows of a trace.
type originNode struct {
	id     trace.ID
	causes []int32 // nodes
	reason string  // why they are not all, or why it is no beginning; "" if it begins a chain or is caused
	// tangled says that the spans of the trace have causes of their own, so that
	// what caused an effect of it depends on which of them did; or that what is
	// remembered of it does not suffice otherwise.
	tangled bool

	order, low int32 // Tarjan's
	onStack    bool
	answer     TraceOrigin
}

// Origins answers for many traces at once what [Graph.TraceOrigin] answers for
// one. It reads summaries and edges in numbers, and spans only of chains through
// traces whose spans were caused apart from each other, such as batches, or that
// have no root; after 2,000 of these it says that it was cut. It does not see
// that the parents of a cause run in a circle.
// It needs an [EdgeSource], else all is unknown.
func (g *Graph) Origins(ctx context.Context, ids []trace.ID) ([]TraceOrigin, error) {
	out := make([]TraceOrigin, len(ids))
	if g.edges == nil {
		for i := range out {
			out[i] = TraceOrigin{Status: Unknown, Reason: NotRecorded}
		}
		return out, nil
	}
	s := &originSearch{g: g, at: map[trace.ID]int32{}}
	if err := s.spread(ctx, ids); err != nil {
		return nil, fmt.Errorf("origins of %d traces: %w", len(ids), err)
	}
	s.settle()
	walks := 0
	for i, id := range ids {
		n := &s.nodes[s.at[id]]
		out[i] = n.answer
		if len(n.causes) == 1 {
			out[i].Cause = s.nodes[n.causes[0]].id
		}
		if !n.tangled {
			continue
		}
		if walks == maxOriginWalks {
			out[i] = TraceOrigin{Status: Unknown, Reason: Cut}
			continue
		}
		walks++
		o, err := g.TraceOrigin(ctx, id)
		if err != nil {
			return nil, err
		}
		out[i].Status, out[i].Reason, out[i].Origin = o.Status, o.Reason, trace.ID{}
		if o.Status == Found {
			out[i].Origin = o.Origins[0].TraceID
		}
	}
	return out, nil
}

type originSearch struct {
	g     *Graph
	nodes []originNode
	at    map[trace.ID]int32
	count int32 // Tarjan's numbers
}

// node returns the position of a trace, which may be new.
func (s *originSearch) node(id trace.ID) (at int32, fresh bool) {
	if at, ok := s.at[id]; ok {
		return at, false
	}
	at = int32(len(s.nodes))
	s.at[id] = at
	s.nodes = append(s.nodes, originNode{id: id})
	return at, true
}

// spread reads the causes of traces, and of these, to the beginnings.
func (s *originSearch) spread(ctx context.Context, ids []trace.ID) error {
	var todo []int32
	add := func(id trace.ID) int32 {
		at, fresh := s.node(id)
		if fresh {
			todo = append(todo, at)
		}
		return at
	}
	for _, id := range ids {
		add(id)
	}
	for len(todo) > 0 {
		chunk := first(todo, foldChunk)
		todo = todo[len(chunk):]
		if len(s.nodes) > maxOriginTraces {
			for _, at := range append(chunk, todo...) {
				s.nodes[at].reason = Cut
			}
			return nil
		}
		if err := s.read(ctx, slices.Clone(chunk), add); err != nil {
			return err
		}
	}
	return nil
}

// read fills the nodes of some traces.
func (s *originSearch) read(ctx context.Context, chunk []int32, add func(trace.ID) int32) error {
	ids := make([]trace.ID, len(chunk))
	for i, at := range chunk {
		ids[i] = s.nodes[at].id
	}
	sums, err := s.g.edges.Summaries(ctx, ids)
	if err != nil {
		return err
	}
	halves, cut, err := s.g.edges.Causes(ctx, ids, maxOriginHalves)
	if err != nil {
		return err
	}
	gone := map[trace.ID][]target{}
	var wanted []Half
	tangled := map[trace.ID]bool{}
	for _, h := range halves {
		if h.Dropped > 0 || h.Target.TraceID == h.Of.TraceID {
			tangled[h.Of.TraceID] = true
		}
		switch {
		case !h.recorded():
			wanted = append(wanted, h)
		case h.Target.TraceID != h.Of.TraceID:
			gone[h.Of.TraceID] = append(gone[h.Of.TraceID], target{Ref: h.Target, by: h.Rule, unsampled: h.Unsampled, at: h.Of})
		}
	}
	found, err := s.g.ends(ctx, wanted)
	if err != nil {
		return err
	}
	for _, t := range found {
		list := gone[t.at.TraceID]
		if t.TraceID != t.at.TraceID && !slices.ContainsFunc(list, func(o target) bool { return o.at == t.at && o.by < byMessageID }) {
			gone[t.at.TraceID] = append(list, t)
		}
	}
	for i, at := range chunk {
		list := gone[ids[i]]
		slices.SortFunc(list, func(a, b target) int { return compareRefs(a.Ref, b.Ref) })
		x := &index{trace: ids[i], summary: sums[i], gone: list}
		var causes []int32
		for _, t := range x.causesOf() {
			if c := add(t.TraceID); !slices.Contains(causes, c) {
				causes = append(causes, c)
			}
		}
		n := &s.nodes[at]
		n.causes = causes
		n.tangled = tangled[ids[i]] || len(list) > 0 && (!sums[i].Root || len(causes) > 1 ||
			slices.ContainsFunc(list, func(t target) bool { return t.at.SpanID != sums[i].SpanID }))
		switch m := &sums[i]; {
		case cut:
			n.reason = Cut
		case len(causes) > 0:
		case m.TraceID.IsZero() || !m.Root:
			n.reason = NotArrived
		case !m.beginsChain():
			n.reason = NotRecorded
		}
	}
	return nil
}

// causesOf is what caused a trace, as the edge index remembers it.
func (x *index) causesOf() []target {
	if list := x.causesOfGone(x.summary.SpanID); len(list) > 0 || x.summary.beginsChain() {
		return list
	}
	return x.gone
}

// settle answers for all nodes: Tarjan's algorithm finds what is caused in
// circles, and gives it after its causes.
func (s *originSearch) settle() {
	type frame struct{ at, next int32 }
	var stack []int32
	for i := range s.nodes {
		if s.nodes[i].order != 0 {
			continue
		}
		calls := []frame{{int32(i), 0}}
		for len(calls) > 0 {
			f := &calls[len(calls)-1]
			n := &s.nodes[f.at]
			if n.order == 0 {
				s.count++
				n.order, n.low, n.onStack = s.count, s.count, true
				stack = append(stack, f.at)
			}
			if int(f.next) < len(n.causes) {
				c := n.causes[f.next]
				f.next++
				if m := &s.nodes[c]; m.order == 0 {
					calls = append(calls, frame{c, 0})
				} else if m.onStack {
					n.low = min(n.low, m.order)
				}
				continue
			}
			at := f.at
			calls = calls[:len(calls)-1]
			if len(calls) > 0 {
				p := &s.nodes[calls[len(calls)-1].at]
				p.low = min(p.low, n.low)
			}
			if n.low == n.order {
				from := len(stack) - 1
				for stack[from] != at {
					from--
				}
				s.answer(stack[from:])
				stack = stack[:from]
			}
		}
	}
}

// answer decides for traces that caused each other, or a single one.
func (s *originSearch) answer(circle []int32) {
	out := TraceOrigin{}
	tangled := false
	take := func(a TraceOrigin) {
		switch {
		case out.Status == Unknown:
		case a.Status == Unknown, out.Status == "":
			out = a
		case a.Status == Ambiguous || a.Origin != out.Origin:
			out = TraceOrigin{Status: Ambiguous}
		}
	}
	for _, at := range circle {
		n := &s.nodes[at]
		n.onStack = false
		tangled = tangled || n.tangled
		if n.reason != "" {
			take(TraceOrigin{Status: Unknown, Reason: n.reason})
		} else if len(n.causes) == 0 {
			take(TraceOrigin{Status: Found, Origin: n.id})
		}
		for _, c := range n.causes {
			if m := &s.nodes[c]; !slices.Contains(circle, c) {
				tangled = tangled || m.tangled
				take(m.answer)
			}
		}
	}
	if out.Status == "" {
		out = TraceOrigin{Status: Unknown, Reason: NotRecorded} // nothing leads out
	}
	for _, at := range circle {
		s.nodes[at].answer, s.nodes[at].tangled = out, tangled
	}
}
