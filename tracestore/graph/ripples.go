package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"redthread/tracestore/trace"
)

const (
	// rippleReach is how long after the last of the traces that are asked about
	// effects are looked for that only ids join; those that are recorded are
	// followed whenever they came.
	rippleReach = int64(time.Hour)
	// maxRippleLinks bounds the recorded effects that are read for one chunk of
	// traces.
	maxRippleLinks = 250_000
	// maxRippleSteps bounds the steps back from traces of several origins.
	maxRippleSteps = 20_000_000
)

// traceInfo is what a scan keeps of the summary of a trace.
type traceInfo struct {
	start, end               int64
	spans, errors            int32
	messages, jobs, requests int32
	endpoint                 int32 // see rippleScan.endpoints; -1: not kept
	kind                     trace.Kind
	known                    bool
}

// traceScan is a search for origins that keeps what traces did.
type traceScan struct {
	*originSearch
	infos []traceInfo // by node; may be shorter
}

// expect makes room for more traces.
func (r *traceScan) expect(more int) {
	if more = max(0, more); len(r.nodes)+more > cap(r.nodes) {
		r.nodes = slices.Grow(r.nodes, more+more/4) // their causes may be others
		r.todo = slices.Grow(r.todo, more+more/4)
		r.at.grow(cap(r.nodes))
	}
}

// info is what is known of the trace of a node.
func (r *traceScan) info(at int32) *traceInfo {
	if int(at) >= len(r.infos) {
		r.infos = slices.Grow(r.infos, cap(r.nodes)-len(r.infos))[:len(r.nodes)]
	}
	return &r.infos[at]
}

// see notes a summary.
func (r *traceScan) see(m *Summary) *traceInfo {
	at := r.ask(m.TraceID)
	r.originSearch.see(at, m)
	i := r.info(at)
	*i = traceInfo{start: m.StartUnixNano, end: m.StartUnixNano + m.DurationNano, spans: int32(m.Spans), errors: int32(m.Errors),
		messages: int32(m.Messages), jobs: int32(m.Jobs), requests: int32(m.Requests), kind: m.Kind, known: true, endpoint: -1}
	return i
}

// lookUp sees the traces that are not known yet.
func (r *traceScan) lookUp(ctx context.Context, ids []trace.ID) error {
	ids = slices.Clone(ids) // in order, since an index is
	slices.SortFunc(ids, func(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) })
	for chunk := range slices.Chunk(ids, originChunk) {
		sums, err := r.g.edges.Summaries(ctx, chunk)
		if err != nil {
			return err
		}
		for i := range sums {
			if !sums[i].TraceID.IsZero() {
				r.see(&sums[i])
			}
		}
	}
	return nil
}

// errFull ends a scan that reached its bound.
var errFull = errors.New("graph: too many traces")

// between sees the traces of a time; false if they are more than it may.
func (r *traceScan) between(ctx context.Context, from, to int64, fn func(*Summary, *traceInfo)) (bool, error) {
	w, ok := r.g.src.(WindowSource)
	if !ok {
		return true, nil
	}
	n := 0
	err := w.SummariesBetween(ctx, from, to, func(sums []Summary, left int) error {
		r.expect(min(len(sums)+left, maxOriginTraces-n))
		for k := range sums {
			if n++; n > maxOriginTraces || len(r.nodes) > maxOriginTraces {
				return errFull
			}
			i := r.see(&sums[k])
			if fn != nil {
				fn(&sums[k], i)
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, errFull) {
		return false, nil
	}
	return true, err
}

// Ripples measures the threads that some traces begin; for a trace that something
// else caused, or that is not known, all is 0. Ask for many at once: it looks at
// each trace of their time.
//
// It reads summaries and edges and, but for what [Graph.Origins] has to, no
// spans. So a trace counts whole, for each thread it belongs to (work on a batch
// belongs to those of all its messages, and is Shared), and waiting time is 0. An effect
// that is joined by ids only has to begin within an hour after the last of the
// traces. A thread is Cut where more was there than was looked at.
func (g *Graph) Ripples(ctx context.Context, ids []trace.ID) ([]Ripple, error) {
	out := make([]Ripple, len(ids))
	if g.edges == nil || len(ids) == 0 {
		return out, nil
	}
	if err := g.ripples(ctx, ids, out); err != nil {
		return nil, fmt.Errorf("ripples of %d traces: %w", len(ids), err)
	}
	return out, nil
}

func (g *Graph) ripples(ctx context.Context, ids []trace.ID, out []Ripple) error {
	r := &traceScan{originSearch: newOriginSearch(g, 2*len(ids))}
	full := len(ids) > maxOriginTraces
	if err := r.lookUp(ctx, first(ids, maxOriginTraces)); err != nil {
		return err
	}
	var from, to int64
	asked := false
	for at := range r.infos {
		if i := &r.infos[at]; i.known && r.nodes[at].flags&isBeginning != 0 {
			if !asked {
				from, to, asked = i.start, i.start, true
			}
			from, to = min(from, i.start), max(to, i.start)
		}
	}
	if !asked {
		return nil
	}
	whole, err := r.between(ctx, from-skewAllowed, to+rippleReach, nil)
	if err != nil {
		return err
	}
	full = full || !whole
	if err := r.resolve(ctx, nil); err != nil {
		return err
	}
	sums := &rippleSums{traceScan: r, of: make([]int32, len(r.nodes)), seen: map[trace.ID]bool{}}
	place := make([]int32, len(ids)) // in sums.list; -1: begins nothing
	for i, id := range ids {
		place[i] = -1
		if at, _ := r.at.find(r.nodes, id); at >= 0 && r.isOrigin(at) {
			place[i] = sums.begin(at)
		}
	}
	if err := sums.forward(ctx); err != nil {
		return err
	}
	for i, k := range place {
		if k >= 0 {
			out[i] = sums.list[k]
			out[i].Cut = full || r.cut || sums.cut
		}
	}
	return nil
}

// isOrigin reports whether a trace begins a chain.
func (s *originSearch) isOrigin(at int32) bool {
	n := &s.nodes[at]
	return n.status == originFound && n.origin == at
}

// rippleSums adds up the threads of some origins.
type rippleSums struct {
	*traceScan
	of   []int32 // by node of an origin: its place in the list plus one, 0: none; may be shorter
	list []Ripple
	seen map[trace.ID]bool // effects that were looked up

	stamp []int32 // by node, of the last trace whose origins were looked for
	mark  int32
	steps int
	todo  []int32
	cut   bool
}

// begin makes a place for the thread of an origin.
func (s *rippleSums) begin(at int32) int32 {
	if s.of[at] == 0 {
		s.list = append(s.list, Ripple{})
		s.of[at] = int32(len(s.list))
	}
	return s.of[at] - 1
}

// thread is the place of the thread of an origin, -1: it is not asked for.
func (s *rippleSums) thread(origin int32) int32 {
	if int(origin) >= len(s.of) {
		return -1
	}
	return s.of[origin] - 1
}

// forward counts what was found, and goes on with what its traces set off, until
// that is known.
func (s *rippleSums) forward(ctx context.Context) error {
	fresh := make([]int32, len(s.infos))
	for at := range fresh {
		fresh[at] = int32(at)
	}
	for len(fresh) > 0 {
		members, err := s.count(ctx, fresh)
		if err != nil {
			return err
		}
		ids, err := s.effects(ctx, members)
		if err != nil {
			return err
		}
		if err := s.lookUp(ctx, ids); err != nil {
			return err
		}
		fresh = fresh[:0]
		for _, id := range ids {
			if at, _ := s.at.find(s.nodes, id); at >= 0 {
				fresh = append(fresh, at)
			}
		}
		if err := s.resolve(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// effects lists the traces, not known yet, of which some traces are a recorded
// cause.
func (s *rippleSums) effects(ctx context.Context, of []trace.ID) (ids []trace.ID, err error) {
	for chunk := range slices.Chunk(of, originChunk) {
		links, cut, err := s.g.edges.EffectsOf(ctx, chunk, maxRippleLinks)
		if err != nil {
			return nil, err
		}
		s.cut = s.cut || cut
		for _, l := range links {
			id := l.To.TraceID
			if at, _ := s.at.find(s.nodes, id); at >= 0 && s.info(at).known || s.seen[id] {
				continue
			}
			s.seen[id] = true
			ids = append(ids, id)
		}
	}
	if room := max(0, maxOriginTraces-len(s.nodes)); len(ids) > room {
		ids, s.cut = ids[:room], true
	}
	return ids, nil
}

// count adds traces to their threads, and returns those that belong to one, in
// the order of their ids.
func (s *rippleSums) count(ctx context.Context, fresh []int32) (members []trace.ID, err error) {
	take := func(at int32, origins []int32) {
		member := false
		for _, o := range origins {
			if k := s.thread(o); k >= 0 {
				s.list[k].add(s.info(at), s.info(o), at == o)
				if len(origins) > 1 {
					s.list[k].Shared++
				}
				member = true
			}
		}
		if member {
			members = append(members, s.nodes[at].id)
		}
	}
	var tangled, origins []int32
	for _, at := range fresh {
		n := &s.nodes[at]
		if !s.info(at).known {
			continue
		}
		origins = origins[:0]
		if n.status == originFound && !n.tangled() {
			origins = append(origins, n.origin)
		} else {
			origins = s.originsOf(at, origins)
		}
		if len(origins) > 1 && s.needsSpans(n) && slices.ContainsFunc(origins, func(o int32) bool { return s.thread(o) >= 0 }) {
			tangled = append(tangled, at)
			continue
		}
		take(at, origins)
	}
	if err := s.walk(ctx, tangled); err != nil {
		return nil, err
	}
	for _, at := range tangled {
		origins = origins[:0]
		for _, ref := range s.walked[at] {
			if o, _ := s.at.find(s.nodes, ref.TraceID); o >= 0 && !slices.Contains(origins, o) {
				origins = append(origins, o)
			}
		}
		take(at, origins)
	}
	slices.SortFunc(members, func(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) })
	return members, nil
}

// originsOf appends the known beginnings of the chains that lead to a trace.
func (s *rippleSums) originsOf(at int32, origins []int32) []int32 {
	if len(s.stamp) < len(s.nodes) {
		s.stamp = append(s.stamp, make([]int32, len(s.nodes)-len(s.stamp))...)
	}
	s.mark++
	s.todo = append(s.todo[:0], at)
	s.stamp[at] = s.mark
	for len(s.todo) > 0 {
		at := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		if s.steps++; s.steps > maxRippleSteps {
			s.cut = true
			return origins
		}
		n := &s.nodes[at]
		if n.causes == 0 && n.reason == noReason {
			origins = append(origins, at)
		}
		for k := range n.causes {
			if c := s.causeAt(n, k); s.stamp[c] != s.mark {
				s.stamp[c] = s.mark
				s.todo = append(s.todo, c)
			}
		}
	}
	return origins
}

// add counts a trace for the thread of an origin.
func (r *Ripple) add(i, origin *traceInfo, itself bool) {
	r.Traces++
	r.Spans += int(i.spans)
	r.Messages += int(i.messages)
	r.Jobs += int(i.jobs)
	r.Requests += int(i.requests)
	if itself && i.kind == trace.KindServer {
		r.Requests--
	}
	r.Errors += int(i.errors)
	r.BusyNano += i.end - i.start
	r.LastEffectNano = max(r.LastEffectNano, i.end-origin.start)
}
