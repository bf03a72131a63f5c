package graph

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"redthread/tracestore/trace"
)

const (
	// skewAllowed is how much earlier than its cause an effect may seem to begin,
	// before an id that both have is held to mean something else.
	skewAllowed = int64(time.Minute)
	// keyWindow is how long before its receipt a Kafka key may have been sent. A key
	// that names a thing is sent again, and not every sending is seen.
	keyWindow = int64(10 * time.Minute)
	// queueWindow is how close to the latest sending of a small number another
	// one cannot be told from it, and how long a job of it may be tried again.
	queueWindow = int64(24 * time.Hour)
	// requestWindow is how far apart requests of one id may begin, if one of them is
	// to have called the others.
	requestWindow = int64(15 * time.Minute)
	// requestSpread is how far apart they begin at most, if the id is of a request:
	// it is of a session otherwise, or of nothing.
	requestSpread = int64(time.Hour)
	// maxCallers is how many requests of one id may have called another.
	maxCallers = 16
	// maxGone bounds the causes of a trace whose spans are gone.
	maxGone = 1000
)

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
	found, err := g.ends(ctx, wanted)
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
	return nil
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
	found, err := g.ends(ctx, wanted)
	if err != nil {
		return err
	}
	var lost int32
	for _, t := range found {
		if t.TraceID != x.trace && !slices.ContainsFunc(x.gone, func(o target) bool { return o.Ref == t.Ref }) {
			lost--
			if !slices.ContainsFunc(halves, func(h Half) bool { return h.Of == t.at && h.Dropped > 0 }) {
				x.gone = slices.DeleteFunc(x.gone, func(o target) bool { return o.at == t.at && o.by < byMessageID }) // sent again
			}
			x.gone = append(x.gone, t)
		}
	}
	for _, h := range halves {
		if h.Dropped > 0 && !slices.Contains(x.dropped, h.Of.SpanID) {
			x.dropped = append(x.dropped, h.Of.SpanID)
			lost += h.Dropped
		}
	}
	x.lost = len(x.dropped) > 0 && lost > 0
	slices.SortFunc(x.gone, func(a, b target) int { return cmp.Or(compareRefs(a.at, b.at), compareRefs(a.Ref, b.Ref)) })
	return nil
}

// ends finds the causes of effects by what they have in common, in the order of
// the effects, of which those of one span stand together. For each span only
// those rules speak that are the surest of those that found something.
func (g *Graph) ends(ctx context.Context, effects []Half) ([]target, error) {
	out, senders, err := g.looseEnds(ctx, effects)
	if err != nil {
		return nil, err
	}
	if err := g.placeSenders(ctx, senders); err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Ref = senders[i].Of
	}
	return out, nil
}

// looseEnds is ends, but of who sent a message maybe only the trace is given; senders
// has the halves of the targets.
func (g *Graph) looseEnds(ctx context.Context, effects []Half) (out []target, senders []Half, err error) {
	if len(effects) == 0 {
		return nil, nil, nil
	}
	keys := make([]Key, len(effects))
	for i := range effects {
		keys[i] = effects[i].Key
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	ends, _, err := g.edges.Ends(ctx, CauseSide, keys, g.o.MaxEnds)
	if err != nil || len(ends) == 0 {
		return nil, nil, err
	}
	slices.SortFunc(ends, func(a, b Half) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.StartUnixNano, b.StartUnixNano), compareRefs(a.Of, b.Of))
	})
	ends = slices.CompactFunc(ends, func(a, b Half) bool {
		return a.Key == b.Key && a.Of == b.Of && (!a.Of.SpanID.IsZero() || a.StartUnixNano == b.StartUnixNano)
	})
	c, err := g.contexts(ctx, ends)
	if err != nil {
		return nil, nil, err
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
	return out, senders, nil
}

// senderFacts is what is needed to choose among several senders of one id.
type senderFacts struct {
	caused  map[trace.ID]bool  // the traces, of those that sent an id more than once, that a request or a message began
	lasted  map[trace.ID]int64 // how long the traces of requests of one id were
	handled map[Key][]receipt  // who handled the messages and jobs of weak ids, and when
}

// receipt is one handling of a message or job.
type receipt struct {
	start   int64
	trace   trace.ID
	service string // of the root of its trace; "" if the key has no other receipt
}

// weak reports whether an id of the rule may be that of another message too.
func (r RuleID) weak() bool { return r == byQueueID || r == byBareOffset || r == byKafkaKey }

// contexts reads what helps to choose among the senders in ends, which are in
// order of key and start; for nearly all effects there is one, and nothing to read.
func (g *Graph) contexts(ctx context.Context, ends []Half) (c senderFacts, err error) {
	var again []trace.ID
	var weak []Key
	for from := 0; from < len(ends); {
		to := from + 1
		for to < len(ends) && ends[to].Key == ends[from].Key {
			to++
		}
		switch list := ends[from:to]; {
		case list[0].Rule.weak():
			weak = append(weak, list[0].Key)
		case len(list) > 1 && (list[0].Rule == byMessageID || list[0].Rule == byJobID):
			for i := range list[1:] {
				again = append(again, list[1+i].Of.TraceID)
			}
		case len(list) > 1 && list[0].Rule.Kind() == KindRequestID:
			for i := range list {
				again = append(again, list[i].Of.TraceID)
			}
		}
		from = to
	}
	if len(weak) > 0 {
		if err := g.receipts(ctx, weak, &c); err != nil {
			return c, err
		}
	}
	if len(again) == 0 {
		return c, nil
	}
	again = sortedIDs(again)
	sums, err := g.edges.Summaries(ctx, again)
	if err != nil {
		return c, err
	}
	c.caused, c.lasted = map[trace.ID]bool{}, map[trace.ID]int64{}
	for i := range sums {
		c.caused[again[i]] = sums[i].Root && (sums[i].Kind == trace.KindServer || sums[i].Caused)
		c.lasted[again[i]] = sums[i].DurationNano
	}
	return c, nil
}

// receipts reads who handled the messages and jobs of weak ids.
func (g *Graph) receipts(ctx context.Context, keys []Key, c *senderFacts) error {
	runs, _, err := g.edges.Ends(ctx, EffectSide, keys, g.o.MaxEnds)
	if err != nil {
		return err
	}
	c.handled = map[Key][]receipt{}
	for i := range runs {
		c.handled[runs[i].Key] = append(c.handled[runs[i].Key], receipt{start: runs[i].StartUnixNano, trace: runs[i].Of.TraceID})
	}
	var several []trace.ID
	for _, list := range c.handled {
		for i := range list[1:] {
			if list[1+i].trace != list[0].trace {
				several = append(several, list[0].trace, list[1+i].trace)
			}
		}
	}
	if len(several) == 0 {
		return nil
	}
	several = sortedIDs(several)
	sums, err := g.edges.Summaries(ctx, several)
	if err != nil {
		return err
	}
	for _, list := range c.handled {
		for i := range list {
			if at, ok := slices.BinarySearchFunc(several, list[i].trace, compareIDs); ok {
				list[i].service = sums[at].Service
			}
		}
	}
	return nil
}

func compareIDs(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) }

func sortedIDs(ids []trace.ID) []trace.ID {
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// handledIn reports whether a message or job of the id was handled in from ≤ t < to.
func (c *senderFacts) handledIn(key Key, from, to int64) bool {
	return slices.ContainsFunc(c.handled[key], func(r receipt) bool { return r.start >= from && r.start < to })
}

// unsure reports whether an effect may have been caused otherwise than by the
// causes that its key has, which are in order of start. A request may be its
// client's, as another of its id is. A weak id is taken for that of one message or
// job only while nobody else handled it: a number of a queue by another service,
// which has a queue of that name elsewhere; an offset or a key twice by one service.
func (c *senderFacts) unsure(e *Half, causes []Half) bool {
	if e.Rule == byRequestID {
		return e.Side&CauseSide != 0 && causes[0].Rule == byRequestID
	}
	if !e.Rule.weak() || len(c.handled[e.Key]) < 2 {
		return false
	}
	sent := func(id trace.ID) bool {
		return slices.ContainsFunc(causes, func(h Half) bool { return h.Of.TraceID == id })
	}
	var mine string
	for _, r := range c.handled[e.Key] {
		if r.trace == e.Of.TraceID {
			mine = r.service
		}
	}
	for _, r := range c.handled[e.Key] {
		if r.trace == e.Of.TraceID || r.start < causes[0].StartUnixNano-skewAllowed || sent(r.trace) {
			continue
		}
		if e.Rule == byKafkaKey && max(r.start-e.StartUnixNano, e.StartUnixNano-r.start) > keyWindow {
			continue
		}
		if (r.service == mine) != (e.Rule == byQueueID) {
			return true
		}
	}
	return false
}

// callers are the requests of one id that may have called the request e with it:
// who began before it, or lasted longer, whatever the clocks say.
func (c *senderFacts) callers(e *Half, list []Half) []Half {
	var out []Half
	first, last := e.StartUnixNano, e.StartUnixNano
	for _, h := range list {
		if h.Rule != byRequestID {
			continue
		}
		first, last = min(first, h.StartUnixNano), max(last, h.StartUnixNano)
		apart := h.StartUnixNano - e.StartUnixNano
		if h.Of.TraceID == e.Of.TraceID || apart > skewAllowed || -apart > requestWindow {
			continue
		}
		if apart <= 0 || c.lasted[h.Of.TraceID] >= c.lasted[e.Of.TraceID] {
			out = append(out, h)
		}
	}
	if last-first > requestSpread {
		return nil
	}
	return out[:min(len(out), maxCallers)]
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

// rank orders the rules of ids by how sure they are. A message is nearer than
// the request that it belongs to.
func (r RuleID) rank() int {
	switch r {
	case byMessageID, byJobID, byKafkaOffset:
		return 0
	case byQueueID, byCorrelation:
		return 1
	case byKafkaKey:
		return 2
	}
	return 3
}

// causesByKey chooses among the spans that offer the key of an effect, which
// are in order of start, those that may have caused it.
func (c *senderFacts) causesByKey(e *Half, list []Half) []Half {
	var out []Half
	latest := e.StartUnixNano + skewAllowed
	if e.Side&CauseSide != 0 && e.Rule != byRequestID {
		latest = e.StartUnixNano - 1 // it sends what was sent before
	}
	for _, h := range list {
		if h.Of != e.Of && (h.StartUnixNano <= latest || c.caused[h.Of.TraceID] && h.StartUnixNano <= e.StartUnixNano+skewAllowed) {
			out = append(out, h)
		}
	}
	// What a run sends under its own id runs later.
	if slices.ContainsFunc(out, func(h Half) bool { return h.Of.TraceID != e.Of.TraceID }) {
		out = slices.DeleteFunc(out, func(h Half) bool { return h.Of.TraceID == e.Of.TraceID })
	}
	if len(out) == 0 {
		return nil
	}
	switch e.Rule {
	case byMessageID, byJobID:
		// The id was made with the message. Who sends it later sends it again, as
		// Sidekiq does for a retry; but a request or a run that sends it may have
		// given the id of a thing to a message of its own.
		first := out[0].Of.TraceID
		n := 1
		for _, h := range out[1:] {
			if h.Of.TraceID != first && c.caused[h.Of.TraceID] {
				out[n] = h
				n++
			}
		}
		return out[:n]
	case byQueueID:
		// Small numbers begin anew when a queue is emptied: one that was handled
		// before it was sent again does not wait any more.
		last := out[len(out)-1].StartUnixNano
		kept := out[:0:0]
		for i, h := range out {
			if h.StartUnixNano >= last-queueWindow || !c.handledIn(e.Key, h.StartUnixNano-skewAllowed, out[i+1].StartUnixNano) {
				kept = append(kept, h)
			}
		}
		if len(kept) == 1 && c.handledIn(e.Key, last-skewAllowed, e.StartUnixNano-queueWindow) {
			return nil // handled long ago, and sent again unseen
		}
		return kept
	case byKafkaKey:
		if len(list) > 1 || out[0].StartUnixNano < e.StartUnixNano-keyWindow {
			return nil
		}
	case byRequestID:
		// A request is caused by the router only; a job by the request, and if
		// that is not there by the router.
		requests := slices.DeleteFunc(slices.Clone(out), func(c Half) bool { return c.Rule != byRequestID })
		if e.Side&CauseSide == 0 && len(requests) > 0 {
			return requests
		}
		if routers := slices.DeleteFunc(out, func(c Half) bool { return c.Rule == byRequestID }); len(routers) > 0 {
			return routers
		}
		return c.callers(e, list)
	}
	return out
}
