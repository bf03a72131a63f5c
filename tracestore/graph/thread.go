package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"redthread/tracestore/trace"
)

// entry is a way into a trace: the span to was caused by from, a span of a leg
// that is part of the thread already.
type entry struct {
	link  Link
	leg   int   // the leg of link.From, -1 for the start
	at    int32 // link.From in its trace plus one; 0: to be looked for
	began int64 // start of link.From, once it is known
}

// spread is the walk forward over everything that one span set off.
type spread struct {
	*session
	legs    []Leg
	legOf   map[*index][]int32 // leg of each span plus one; 0: not in the thread
	goneLeg map[*index]int     // leg of a trace whose spans are gone
	covered [][]interval       // by leg
	handles []Key              // by leg
	begins  []member           // by leg: its first span, none if that is gone
	heard   map[*index][]bool  // spans whose message or job something took
	sent    []member           // spans that sent one
	loops   []Loop
	effects map[trace.ID]map[trace.SpanID][]Link
	open    map[trace.ID][]entry // effects of which only the causing trace is known, until their turn
	nodes   []Node
	isNode  map[trace.ID]bool
	edges   []Edge
	batches []batchLeg
	ripple  Ripple
	told    toldRuns // of the traces that are read
	lastEnd int64
	origin  trace.Ref
	cuts    []Part

	folds        []Fold
	folded       map[trace.ID]struct{} // traces that are only counted
	foldedTraces int
	examples     map[trace.ID]int  // the fold of a trace that is read although its like are not
	keep         map[trace.ID]bool // traces on the way to the span asked about are always read

	fresh     []member // spans that joined in this round
	linksRead int      // effects that were read in it
}

type member struct {
	x  *index
	at int32
}

type batchLeg struct {
	x   *index
	at  int32 // the receipt
	leg int32
}

type interval struct{ from, to int64 }

// Thread returns the origin of a trace, which is that of its root, and
// everything it set off. A trace that is not known gives [ErrNotFound].
func (g *Graph) Thread(ctx context.Context, id trace.ID) (*Thread, error) {
	t, err := g.thread(ctx, id, trace.SpanID{}, trace.Ref{})
	if err != nil {
		return nil, fmt.Errorf("thread of %s: %w", id, err)
	}
	return t, nil
}

// ThreadOfSpan is [Graph.Thread] for the origin of one span, which is another
// than that of its trace when the span carries a link of its own.
func (g *Graph) ThreadOfSpan(ctx context.Context, id trace.ID, span trace.SpanID) (*Thread, error) {
	return g.ThreadWith(ctx, id, span, trace.Ref{})
}

// ThreadWith is [Graph.ThreadOfSpan], or without a span [Graph.Thread], in which
// another span is selected: its way from the origin is among the legs, however
// many others like it are folded. Selected is -1 if it is not in the thread. A
// select without a span id is the root of its trace.
func (g *Graph) ThreadWith(ctx context.Context, id trace.ID, span trace.SpanID, selected trace.Ref) (*Thread, error) {
	t, err := g.thread(ctx, id, span, selected)
	if err != nil {
		return nil, fmt.Errorf("thread of %s:%s: %w", id, span, err)
	}
	return t, nil
}

func (g *Graph) thread(ctx context.Context, id trace.ID, span trace.SpanID, selected trace.Ref) (*Thread, error) {
	s := g.newSession()
	x, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	var o *Origin
	if span.IsZero() {
		o, err = s.traceOrigin(ctx, x)
	} else {
		o, err = s.spanOrigin(ctx, x, span)
	}
	if err != nil {
		return nil, err
	}
	keep := map[trace.ID]bool{id: true}
	o.keep(keep)
	asked, askedAt := x, x.find(span, "")
	if span.IsZero() {
		askedAt = x.begin()
	}
	if !selected.TraceID.IsZero() {
		if asked, askedAt, err = s.selected(ctx, selected, keep); err != nil {
			return nil, err
		}
	}
	t := &Thread{Status: o.Status, Reason: o.Reason, Candidates: []OriginSpan{}, Incomplete: o.Incomplete, Expired: o.Expired, Circle: o.Circle, Links: o.Links}
	start := trace.Ref{TraceID: id, SpanID: span}
	switch o.Status {
	case Found:
		t.Origin = &o.Origins[0]
		start = t.Origin.Ref
	case Ambiguous:
		t.Candidates = o.Origins
		if len(o.Hops) > 0 {
			start = o.Hops[0].From.Ref
		}
	case Unknown:
		t.Candidates = o.Candidates
		start = o.Furthest.Ref
	}
	if x, err = s.load(ctx, start.TraceID); err != nil {
		return nil, err
	}
	at := x.find(start.SpanID, "")
	if at < 0 {
		at = x.begin()
	}
	switch {
	case at >= 0:
		at = x.top(at)
		begin := x.origin(at)
		t.Start = &begin
	case x.hasSummary:
		begin := x.summary.origin()
		t.Start = &begin
	}
	sp, err := s.spread(ctx, x, at, keep)
	if err != nil {
		return nil, err
	}
	t.Selected = -1
	if leg, gone := sp.goneLeg[asked]; gone {
		t.Selected = leg
	} else if legs := sp.legOf[asked]; legs != nil && askedAt >= 0 {
		t.Selected = int(legs[askedAt]) - 1
	}
	t.Nodes, t.Edges, t.Legs, t.Folds, t.Ripple = sp.nodes, sp.edges, sp.legs, sp.folds, sp.ripple
	t.Loops, t.Ends = sp.loops, sp.ends()
	t.Folded = sp.foldedTraces
	if o.Truncated {
		sp.cut(PartOrigin)
	}
	t.Cuts = append([]Part{}, sp.cuts...)
	t.Cut = len(t.Cuts) > 0
	t.Critical = critical(t)
	t.Truncated = t.Cut || t.Folded > 0
	if t.Start != nil && sp.lastEnd > t.Start.StartUnixNano {
		t.Ripple.LastEffectNano = sp.lastEnd - t.Start.StartUnixNano
	}
	return t, nil
}

// keep notes the traces on the way.
func (o *Origin) keep(ids map[trace.ID]bool) {
	for i := range o.Hops {
		ids[o.Hops[i].From.TraceID], ids[o.Hops[i].To.TraceID] = true, true
	}
}

// selected finds a span that is to be part of the thread, and notes the traces
// on its way.
func (s *session) selected(ctx context.Context, ref trace.Ref, keep map[trace.ID]bool) (*index, int32, error) {
	x, err := s.load(ctx, ref.TraceID)
	if err != nil {
		return nil, none, err
	}
	var o *Origin
	if ref.SpanID.IsZero() {
		o, err = s.traceOrigin(ctx, x)
	} else {
		o, err = s.spanOrigin(ctx, x, ref.SpanID)
	}
	if errors.Is(err, ErrNotFound) {
		return x, none, nil
	}
	if err != nil {
		return nil, none, err
	}
	keep[ref.TraceID] = true
	o.keep(keep)
	if ref.SpanID.IsZero() {
		return x, x.begin(), nil
	}
	return x, x.find(ref.SpanID, ""), nil
}

// top climbs from span i to where its own chain in this trace ends.
func (x *index) top(i int32) int32 {
	for range x.spans {
		if cs := x.causesAt(i); len(cs.list) > 0 || cs.unknown != "" {
			return i
		}
		switch p := x.spans[i].parent; {
		case p >= 0:
			i = p
		case p == Absent && x.root >= 0:
			i = x.root
		default:
			return i
		}
	}
	return i
}

// spread walks forward from span at of x; at may be none when only the effects
// of the trace are known.
func (s *session) spread(ctx context.Context, x *index, at int32, keep map[trace.ID]bool) (*spread, error) {
	sp := &spread{session: s, legOf: map[*index][]int32{}, goneLeg: map[*index]int{}, heard: map[*index][]bool{}, loops: []Loop{}, effects: map[trace.ID]map[trace.SpanID][]Link{}, open: map[trace.ID][]entry{},
		isNode: map[trace.ID]bool{}, nodes: []Node{}, edges: []Edge{}, legs: []Leg{}, folds: []Fold{},
		folded: map[trace.ID]struct{}{}, examples: map[trace.ID]int{}, keep: keep, told: toldRuns{}}
	if at >= 0 {
		sp.origin = x.info(at).Ref
	}
	return sp, sp.run(ctx, x, at)
}

// run spreads from one span, breadth first: a round takes all ways into further
// traces at once, so that a thread costs two reads a trace and waits for few.
func (s *spread) run(ctx context.Context, x *index, at int32) error {
	s.addNode(x)
	if at >= 0 {
		s.join(x, at, -1, Edge{}, 0)
	} else {
		s.joinGone(x, -1, Edge{}, 0)
	}
	touched := []*index{x}
	for {
		if err := s.readEffects(ctx, touched); err != nil {
			return err
		}
		round := s.ways(touched)
		if len(round) == 0 {
			break
		}
		var err error
		if touched, err = s.enter(ctx, round); err != nil {
			return err
		}
	}
	s.finish()
	return nil
}

// readEffects reads what was caused by traces that were entered for the first time.
func (s *spread) readEffects(ctx context.Context, touched []*index) error {
	var todo []*index
	for _, x := range touched {
		if s.effects[x.trace] == nil {
			s.effects[x.trace] = map[trace.SpanID][]Link{}
			todo = append(todo, x)
		}
	}
	links := make([][]Link, len(todo))
	cut := make([]bool, len(todo))
	err := s.g.each(ctx, len(todo), func(ctx context.Context, i int) (err error) {
		links[i], cut[i], err = s.g.effects(ctx, todo[i], s.g.o.MaxLinks)
		return err
	})
	if err != nil {
		return err
	}
	for i, x := range todo {
		if cut[i] {
			s.cut(PartLinks)
		}
		to := make(map[trace.SpanID][]Link, min(len(links[i]), len(x.spans)))
		s.effects[x.trace] = to
		s.linksRead += len(links[i])
		// Those of one span stand together, in the order of their effects.
		slices.SortStableFunc(links[i], func(a, b Link) int { return bytes.Compare(a.From.SpanID[:], b.From.SpanID[:]) })
		for from, rest := 0, links[i]; len(rest) > 0; rest = rest[from:] {
			id := rest[0].From.SpanID
			for from = 1; from < len(rest) && rest[from].From.SpanID == id; from++ {
			}
			switch {
			case id.IsZero():
				// Only the trace was recorded: which span of it is known when the
				// effect is.
				for _, l := range rest[:from] {
					s.open[x.trace] = append(s.open[x.trace], entry{link: l, leg: -1})
				}
			case x.find(id, "") < 0:
				to[trace.SpanID{}] = append(to[trace.SpanID{}], rest[:from]...) // their cause never arrived, or is gone
			default:
				to[id] = rest[:from:from]
			}
		}
	}
	return nil
}

// ways lists the effects of the spans that joined in the last round.
func (s *spread) ways(touched []*index) []entry {
	out := make([]entry, 0, s.linksRead)
	s.linksRead = 0
	add := func(links []Link, leg int, at int32) {
		for _, l := range links {
			out = append(out, entry{link: l, leg: leg, at: at})
		}
	}
	for _, x := range touched {
		if len(x.spans) == 0 {
			leg := -1
			if gone, ok := s.goneLeg[x]; ok {
				leg = gone
			}
			add(s.effects[x.trace][trace.SpanID{}], leg, 0)
		}
		out = append(out, s.open[x.trace]...)
		delete(s.open, x.trace)
	}
	for _, m := range s.fresh {
		leg := int(s.legOf[m.x][m.at]) - 1
		add(s.effects[m.x.trace][m.x.spans[m.at].id], leg, m.at+1)
		if m.at == m.x.root {
			add(s.effects[m.x.trace][trace.SpanID{}], leg, 0)
		}
	}
	s.fresh = s.fresh[:0]
	return out
}

// readChunk is how many traces are asked for at once.
const readChunk = 1024

// enter follows the ways of a round and returns the traces they lead into.
func (s *spread) enter(ctx context.Context, round []entry) ([]*index, error) {
	round, err := s.fold(ctx, round)
	if err != nil {
		return nil, err
	}
	var ids []trace.ID
	fresh := map[trace.ID]bool{}
	for _, e := range round {
		id := e.link.To.TraceID
		if _, folded := s.folded[id]; folded || s.traces[id] != nil || fresh[id] {
			continue
		}
		if len(s.nodes)+len(ids) >= s.g.o.MaxNodes {
			s.cut(PartTraces)
			continue
		}
		fresh[id] = true
		ids = append(ids, id)
	}
	for len(ids) > 0 {
		if s.spans >= s.g.o.MaxThreadSpans {
			s.cut(PartSpans)
			break
		}
		n := min(readChunk, len(ids))
		if err := s.loadSome(ctx, ids[:n], s.g.o.MaxThreadSpans); err != nil {
			return nil, err
		}
		for n > 0 && s.traces[ids[n-1]] == nil {
			n-- // not reached
		}
		ids = ids[n:]
	}
	var touched []*index
	seen := map[*index]bool{}
	for i, e := range round {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		x := s.traces[e.link.To.TraceID]
		if x == nil || !s.follow(x, e) {
			continue
		}
		if !seen[x] {
			seen[x] = true
			touched = append(touched, x)
		}
	}
	return touched, nil
}

// follow takes one way into a trace; false if the walk back from there would
// not come this way.
func (s *spread) follow(x *index, e entry) bool {
	at := x.find(e.link.To.SpanID, "")
	edge := Edge{From: SpanInfo{Ref: e.link.From}, To: SpanInfo{Ref: e.link.To}, Kind: KindLink, Rule: RuleSpanLink}
	cut := x.truncated || len(x.spans) == 0
	var effect *span
	switch {
	case at >= 0:
		list := x.causesAt(at).list
		c := slices.IndexFunc(list, func(c cause) bool { return c.from == e.link.From })
		if c < 0 {
			return false
		}
		effect = &x.spans[at]
		edge.To, edge.Kind, edge.Rule, edge.Inferred = x.info(at), list[c].kind, list[c].rule, list[c].inferred
	case !cut:
		return false
	}
	from := s.traces[e.link.From.TraceID]
	if i := from.causeOf(e.link.From, effect); i >= 0 {
		if e.link.From.SpanID.IsZero() {
			if s.members(from)[i] == 0 {
				s.open[from.trace] = append(s.open[from.trace], e) // it may join yet
				return false
			}
			e.leg = int(s.members(from)[i]) - 1
		}
		edge.From = from.info(i)
		s.hear(from, i)
		e.began = from.spans[i].start
		if at >= 0 {
			edge.WaitNano = wait(from.spans[i].end, x.spans[at].start)
		}
	} else if _, gone := s.goneLeg[from]; gone {
		e.began = from.summary.StartUnixNano
		if from.summary.SpanID == e.link.From.SpanID {
			edge.From = from.summary.origin().SpanInfo
		}
	}
	if at < 0 && len(x.spans) == 0 {
		for _, t := range x.gone {
			if t.Ref == e.link.From {
				c := t.cause(none)
				edge.Kind, edge.Rule, edge.Inferred = c.kind, c.rule, c.inferred
				break
			}
		}
	}
	if !s.isNode[x.trace] {
		if len(s.nodes) >= s.g.o.MaxNodes {
			s.cut(PartTraces)
			return false
		}
		s.addNode(x)
	}
	if x != from {
		s.edges = append(s.edges, edge)
	}
	if at < 0 {
		s.joinGone(x, e.leg, edge, e.began)
		return true
	}
	// A message of a batch brings with it what was done with the whole batch.
	if p := x.spans[at].parent; p >= 0 && !x.crosses(p, at) {
		inBatch := func(c cause) bool { return c.kind == KindBatch && c.from == e.link.From }
		if n := &x.spans[at]; n.shape.has(consumes) && !n.shape.has(isJob) && slices.ContainsFunc(x.causesAt(p).list, inBatch) {
			if s.members(x)[p] == 0 && s.join(x, p, e.leg, edge, e.began) {
				s.batches = append(s.batches, batchLeg{x, p, s.members(x)[p] - 1})
			}
			if leg := s.members(x)[p]; leg > 0 {
				s.grow(x, at, leg-1)
			}
			return true
		}
	}
	// What a queue and the framework above it tell of is one run: it begins with the
	// outer span, by the way that leads there if there is one.
	if p := x.toldAbove(at); p >= 0 && x != from && s.members(x)[at] == 0 {
		if sentIn(x.causesAt(p).list, e.link.From.TraceID) {
			return true
		}
		at = p
	}
	if !s.join(x, at, e.leg, edge, e.began) {
		s.loop(x, at, e.leg)
	}
	return true
}
