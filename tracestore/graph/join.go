package graph

import (
	"cmp"
	"context"
	"slices"

	"redthread/tracestore/trace"
)

// maxGone bounds the causes of a trace whose spans are gone.
const maxGone = 1000

// effectKeys lists what ids may say of the cause of span i, unless it is
// recorded: nothing outranks what the sender said.
func (x *index) effectKeys(i int32) []Half {
	n := &x.spans[i]
	sent, run := x.sentAgain(i)
	switch {
	case len(n.keys) == 0:
		return nil
	case sent:
		out := slices.DeleteFunc(slices.Clone(n.keys), func(h Half) bool { return h.Rule != byMessageID && h.Rule != byJobID })
		for k := range out {
			out[k].Side |= EffectSide
			out[k].StartUnixNano += skewAllowed // it is not the first, whatever its clock says
		}
		return out
	case run:
	case n.dropped == 0 && len(n.links) > 0:
		return nil
	case n.dropped == 0 && (n.parent == Absent || n.parent == Circle || n.parent >= 0 && (!n.shape.has(consumes) || x.crosses(n.parent, i))):
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.keys), func(h Half) bool { return h.Side&EffectSide == 0 })
}

// join finds by ids the causes of the spans of traces, from one on, that say none.
func (g *Graph) join(ctx context.Context, xs []*index, from int) error {
	if g.edges == nil {
		return nil
	}
	type place struct {
		x  *index
		at int32
	}
	var wanted []Half
	at := map[trace.Ref]place{}
	for _, x := range xs {
		for i := from; i < len(x.spans); i++ {
			if keys := x.effectKeys(int32(i)); len(keys) > 0 {
				wanted = append(wanted, keys...)
				at[trace.Ref{TraceID: x.trace, SpanID: x.spans[i].id}] = place{x, int32(i)}
			}
		}
	}
	found, crowded, err := g.ends(ctx, wanted)
	if err != nil {
		return err
	}
	for _, t := range found {
		p := at[t.at]
		x, i := p.x, p.at
		n := &x.spans[i]
		if t.TraceID == x.trace {
			if p := x.find(t.SpanID, ""); p < 0 || x.above(p, i) {
				continue // it sent the message again itself
			}
		}
		if !slices.ContainsFunc(n.links, func(l target) bool { return l.Ref == t.Ref }) &&
			!slices.ContainsFunc(n.inferred, func(l target) bool { return l.Ref == t.Ref }) {
			n.inferred = append(n.inferred, t)
			if _, run := x.sentAgain(i); run {
				n.links = nil // its poller's, at best
			}
		}
	}
	for _, i := range crowded {
		p := at[wanted[i].Of]
		n := &p.x.spans[p.at]
		n.crowded = len(n.links)+len(n.inferred) == 0
	}
	for len(found) > 0 {
		p, to := at[found[0].at], 1
		for to < len(found) && found[to].at == found[0].at {
			to++
		}
		p.x.spans[p.at].doubt(found[:to])
		found = found[to:]
	}
	return nil
}

// doubt marks what ids found of a span that handles several messages, if it is not
// the causes of all of them.
func (n *span) doubt(found []target) {
	if len(n.links) > 0 || n.dropped > 0 {
		return
	}
	ids, known := 0, 0
	for i := range n.keys {
		if n.keys[i].namesMessage() {
			ids++
			if slices.ContainsFunc(found, func(t target) bool { return t.key == n.keys[i].Key }) {
				known++
			}
		}
	}
	for i := range n.inferred {
		n.inferred[i].unsure = n.inferred[i].unsure || ids > 1 && known < ids
	}
}

// sentAgain reports whether a span sends again what was made before, and whether
// it is the run of a job that was.
func (x *index) sentAgain(i int32) (sent, run bool) {
	n := &x.spans[i]
	switch {
	case n.shape.has(consumes):
		return false, n.shape.has(again) && n.dropped == 0 && (n.parent < 0 || !x.crosses(n.parent, i))
	case !n.shape.has(produces):
		return false, false
	}
	return n.shape.has(again) || x.relayed(i), false
}

// relayed reports whether a span stands under that of a poller.
func (x *index) relayed(i int32) bool {
	if x.root < 0 || !x.spans[x.root].shape.has(relay) {
		return false
	}
	for p := x.spans[i].parent; p >= 0 && !x.crosses(p, i); p = x.spans[i].parent {
		i = p
	}
	return i == x.root
}

// recall finds what caused a trace whose spans are gone.
func (g *Graph) recall(ctx context.Context, x *index) error {
	if g.edges == nil {
		return nil
	}
	halves, _, err := g.edges.Causes(ctx, []trace.ID{x.trace}, maxGone)
	if err != nil {
		return err
	}
	var wanted []Half
	for _, h := range halves {
		if h.recorded() {
			x.gone = append(x.gone, target{Ref: h.Target, by: h.Rule, unsampled: h.Unsampled, at: h.Of})
		} else {
			wanted = append(wanted, h)
		}
	}
	slices.SortStableFunc(wanted, func(a, b Half) int { return compareRefs(a.Of, b.Of) })
	found, crowded, err := g.ends(ctx, wanted)
	if err != nil {
		return err
	}
	for _, i := range crowded {
		x.crowded = append(x.crowded, wanted[i].Of.SpanID)
	}
	var lost int32
	for _, t := range found {
		if t.TraceID != x.trace && !slices.ContainsFunc(x.gone, func(o target) bool { return o.Ref == t.Ref }) {
			lost--
			if !slices.ContainsFunc(halves, func(h Half) bool { return h.Of == t.at && h.Dropped != 0 }) {
				x.gone = slices.DeleteFunc(x.gone, func(o target) bool { return o.at == t.at && o.by < byMessageID }) // sent again
			}
			x.gone = append(x.gone, t)
		}
	}
	for _, h := range halves {
		if h.Dropped != 0 && !slices.Contains(x.dropped, h.Of.SpanID) {
			x.dropped = append(x.dropped, h.Of.SpanID)
			x.short = h.Dropped < 0 && (x.short || len(x.dropped) == 1)
			lost += max(h.Dropped, -h.Dropped)
		}
	}
	x.lost = len(x.dropped) > 0 && lost > 0
	slices.SortFunc(x.gone, func(a, b target) int { return cmp.Or(compareRefs(a.at, b.at), compareRefs(a.Ref, b.Ref)) })
	return nil
}

// ends finds the causes of effects by what they have in common, in the order of
// the effects, of which those of one span stand together. For each span only
// those rules speak that are the surest of those that found something. Crowded are
// the places of effects that a correlation joins to too many to name any.
func (g *Graph) ends(ctx context.Context, effects []Half) (out []target, crowded []int, err error) {
	out, senders, crowded, err := g.looseEnds(ctx, effects)
	if err != nil {
		return nil, nil, err
	}
	if err := g.placeSenders(ctx, senders); err != nil {
		return nil, nil, err
	}
	for i := range out {
		out[i].Ref, out[i].key = senders[i].Of, senders[i].Key
	}
	return out, crowded, nil
}

// looseEnds is ends, but of who sent a message maybe only the trace is given; senders
// has the halves of the targets.
func (g *Graph) looseEnds(ctx context.Context, effects []Half) (out []target, senders []Half, crowded []int, err error) {
	if len(effects) == 0 {
		return nil, nil, nil, nil
	}
	keys := make([]Key, len(effects))
	for i := range effects {
		keys[i] = effects[i].Key
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	ends, _, err := g.edges.Ends(ctx, CauseSide, keys, g.o.MaxEnds)
	if err != nil || len(ends) == 0 {
		return nil, nil, nil, err
	}
	slices.SortFunc(ends, func(a, b Half) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.StartUnixNano, b.StartUnixNano), compareRefs(a.Of, b.Of))
	})
	ends = slices.CompactFunc(ends, func(a, b Half) bool {
		return a.Key == b.Key && a.Of == b.Of && (!a.Of.SpanID.IsZero() || a.StartUnixNano == b.StartUnixNano)
	})
	c, err := g.contexts(ctx, ends)
	if err != nil {
		return nil, nil, nil, err
	}
	from, surest := 0, 0 // of the span that is being looked at
	for i := range effects {
		e := effects[i]
		if i == 0 || effects[i-1].Of != e.Of {
			from = len(out)
		}
		at, ok := slices.BinarySearchFunc(ends, e.Key, func(h Half, k Key) int { return cmp.Compare(h.Key, k) })
		if !ok {
			continue
		}
		to := at
		for to < len(ends) && ends[to].Key == e.Key {
			to++
		}
		if to-at >= g.o.MaxEnds {
			if e.Rule == byCorrelation { // which is said to name something
				crowded = append(crowded, i)
			}
			continue // no name of anything
		}
		if e.Rule == byReceipt {
			e.Rule = ends[at].Rule
		}
		causes := c.causesByKey(&e, ends[at:to])
		unsure := len(causes) > 0 && c.unsure(&e, causes)
		if len(causes) == 0 || len(out) > from && surest < e.Rule.rank() {
			continue
		}
		if len(out) > from && surest > e.Rule.rank() {
			out, senders = out[:from], senders[:from]
		}
		surest = e.Rule.rank()
		for k := range causes {
			out = append(out, target{Ref: causes[k].Of, by: e.Rule, at: e.Of, unsure: unsure})
			senders = append(senders, causes[k])
		}
	}
	return out, senders, crowded, nil
}

// effects lists what the spans of a trace caused, as the edge index knows it:
// what says so itself, and what ids may join. The walk back decides.
func (g *Graph) effects(ctx context.Context, x *index, limit int) (links []Link, cut bool, err error) {
	if links, cut, err = g.src.Effects(ctx, x.trace, limit); err != nil {
		return nil, false, err
	}
	if g.edges != nil {
		joined, more, err := g.joined(ctx, x, limit)
		if err != nil {
			return nil, false, err
		}
		links, cut = append(links, joined...), cut || more
	}
	// A source gives them in the order of its files, which compaction changes; a
	// thread that did not change is to look the same.
	slices.SortFunc(links, func(a, b Link) int { return cmp.Or(compareRefs(a.To, b.To), compareRefs(a.From, b.From)) })
	links = slices.Compact(links)
	if len(links) > limit {
		links, cut = links[:limit], true
	}
	return links, cut, nil
}

// joined lists the spans that have an id in common with what the trace sent.
func (g *Graph) joined(ctx context.Context, x *index, limit int) (links []Link, cut bool, err error) {
	senders := map[Key][]trace.SpanID{}
	var keys []Key
	for i := range x.spans {
		for _, h := range x.spans[i].keys {
			if h.Side&CauseSide == 0 {
				continue
			}
			if senders[h.Key] == nil {
				keys = append(keys, h.Key)
			}
			senders[h.Key] = append(senders[h.Key], x.spans[i].id)
		}
	}
	if len(keys) == 0 {
		return nil, false, nil
	}
	ends, cut, err := g.edges.Ends(ctx, CauseSide|EffectSide, keys, limit)
	if err != nil {
		return nil, false, err
	}
	if ends, err = g.received(ctx, x.trace, ends); err != nil {
		return nil, false, err
	}
	if err := g.placeSenders(ctx, ends); err != nil {
		return nil, false, err
	}
	for _, e := range ends {
		for _, from := range senders[e.Key] {
			if ref := (trace.Ref{TraceID: x.trace, SpanID: from}); ref != e.Of {
				links = append(links, Link{From: ref, To: e.Of})
			}
		}
	}
	return links, cut, nil
}

// received leaves of the ends of keys those on the effect side, and what a poller
// sent that the trace may have sent before.
func (g *Graph) received(ctx context.Context, id trace.ID, ends []Half) ([]Half, error) {
	effect := func(h Half) bool { return h.Side&EffectSide != 0 }
	var others []trace.ID
	for _, h := range ends {
		if !effect(h) && h.Of.TraceID != id && (h.Rule == byMessageID || h.Rule == byJobID) {
			others = append(others, h.Of.TraceID)
		}
	}
	polled := map[trace.ID]bool{}
	if len(others) > 0 {
		sums, err := g.edges.Summaries(ctx, others)
		if err != nil {
			return nil, err
		}
		for i := range sums {
			polled[others[i]] = sums[i].polls()
		}
	}
	return slices.DeleteFunc(ends, func(h Half) bool { return !effect(h) && !polled[h.Of.TraceID] }), nil
}
