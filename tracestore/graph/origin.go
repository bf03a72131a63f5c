package graph

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"redthread/tracestore/trace"
)

// stop is a place where the walk back enters a trace. Stops form a tree whose
// root is the span asked about; prev points to the stop the walk came from.
type stop struct {
	x          *index
	at         int32
	prev       int    // -1 for the span asked about
	prevHops   int    // how many hops of prev lie between it and here
	edge       Edge   // from here to prev
	hops       []Edge // inside this trace, upwards
	incomplete bool
	expired    bool  // the spans of some trace on the way are gone
	cause      cause // where the walk is to go, until it is resolved
}

// ending is where a walk ends.
type ending struct {
	stop       int
	hops       int // how many hops of the stop lie below it
	span       OriginSpan
	reason     string // "" for an origin
	incomplete bool
	expired    bool
}

// walk searches all beginnings of the chains that lead to one span.
type walk struct {
	*session
	stops   []stop
	endings []ending
	visited map[*index][]bool
	gone    map[trace.Ref]bool // the same for spans that are no longer there
	links   *LinkCount
	cut     bool // some chain was not followed to its end
	back    bool // some chain led back to the span asked about
}

// maxStops bounds the branches of one walk (about 300 bytes each).
const maxStops = 1 << 16

// Origin answers what caused a span, across any number of traces. A span that
// is not in the trace gives [ErrNotFound], unless the spans of the trace have
// expired: then its summary answers.
func (g *Graph) Origin(ctx context.Context, id trace.ID, spanID trace.SpanID) (*Origin, error) {
	s := g.newSession()
	x, err := s.load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("origin of %s:%s: %w", id, spanID, err)
	}
	o, err := s.spanOrigin(ctx, x, spanID)
	if err != nil {
		return nil, fmt.Errorf("origin of %s:%s: %w", id, spanID, err)
	}
	return o, nil
}

// spanOrigin is the origin of a span of a loaded trace.
func (s *session) spanOrigin(ctx context.Context, x *index, id trace.SpanID) (*Origin, error) {
	if err := s.seek(ctx, x, id); err != nil {
		return nil, err
	}
	at := x.find(id, "")
	if at < 0 && (len(x.spans) > 0 || !x.hasSummary) {
		return nil, ErrNotFound
	}
	return s.origin(ctx, x, at, id)
}

// TraceOrigin answers what caused a trace: the origin of its root, or of its
// earliest span if it has none.
func (g *Graph) TraceOrigin(ctx context.Context, id trace.ID) (*Origin, error) {
	s := g.newSession()
	x, err := s.load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("origin of trace %s: %w", id, err)
	}
	o, err := s.traceOrigin(ctx, x)
	if err != nil {
		return nil, fmt.Errorf("origin of trace %s: %w", id, err)
	}
	return o, nil
}

func (s *session) traceOrigin(ctx context.Context, x *index) (*Origin, error) {
	if len(x.spans) == 0 && !x.hasSummary {
		return nil, ErrNotFound
	}
	return s.origin(ctx, x, x.begin(), x.summary.SpanID)
}

// origin walks back from one span of a loaded trace; at is none if the span,
// which has the id, is gone.
func (s *session) origin(ctx context.Context, x *index, at int32, id trace.SpanID) (*Origin, error) {
	w, err := s.walkBack(ctx, x, at, id)
	if err != nil {
		return nil, err
	}
	o := w.answer()
	if len(w.endings) == 0 {
		begin, err := s.circle(ctx, w)
		if err != nil {
			return nil, err
		}
		o.Furthest = &begin
	}
	return o, nil
}

// walkBack follows all chains that lead to a span to their ends.
func (s *session) walkBack(ctx context.Context, x *index, at int32, id trace.SpanID) (*walk, error) {
	w := &walk{session: s, visited: map[*index][]bool{}, gone: map[trace.Ref]bool{}}
	w.stops = append(w.stops, stop{x: x, at: at, prev: -1})
	if at < 0 {
		w.recall(0, id)
	} else if err := w.climb(ctx, 0); err != nil {
		return nil, err
	}
	// climb appends the stops that a stop leads to; they are taken in order,
	// their traces read ahead together. What was read for other questions of the
	// session does not count.
	before := len(s.traces) - 1
	for from := 1; from < len(w.stops); {
		to := len(w.stops)
		if room := max(0, min(s.g.o.MaxReads-(len(s.traces)-before), maxStops-from)); to-from > room {
			w.cutAt(from + room)
			to = from + room
		}
		ids := make([]trace.ID, 0, to-from)
		seen := map[trace.ID]bool{}
		for _, st := range w.stops[from:to] {
			if id := st.cause.from.TraceID; !seen[id] {
				seen[id] = true
				if _, plain := s.answered(id); !plain {
					ids = append(ids, id)
				}
			}
		}
		if err := s.loadAll(ctx, ids); err != nil {
			return nil, err
		}
		for k := from; k < to; k++ {
			if o, plain := s.answered(w.stops[k].cause.from.TraceID); plain {
				w.endings = append(w.endings, ending{stop: k, span: o})
				continue
			}
			if err := w.arrive(ctx, k); err != nil {
				return nil, err
			}
		}
		from = to
	}
	return w, nil
}

// answered is the answer for a trace that need not be read.
func (s *session) answered(id trace.ID) (o OriginSpan, ok bool) {
	if s.plain == nil {
		return o, false
	}
	return s.plain(id)
}

// circle is where a chain without an end is cut: at the earliest span of the
// circle that it runs into, so that whoever asks from there or from beyond it
// is told the same.
func (s *session) circle(ctx context.Context, w *walk) (OriginSpan, error) {
	for {
		x, at := w.earliest()
		start := &w.stops[0]
		switch {
		case start.at < 0:
			return start.x.summary.origin(), nil
		case x == nil || x == start.x && at == start.at:
			return start.x.origin(start.at), nil
		}
		var err error
		if w, err = s.walkBack(ctx, x, at, trace.SpanID{}); err != nil {
			return OriginSpan{}, err
		}
	}
}

// arrive resolves the cause that stop k stands for and climbs on from it.
func (w *walk) arrive(ctx context.Context, k int) error {
	st := &w.stops[k]
	x := w.traces[st.cause.from.TraceID]
	st.x = x
	if err := w.seek(ctx, x, st.cause.from.SpanID); err != nil {
		return err
	}
	p := &w.stops[st.prev]
	var effect *span
	if st.cause.via >= 0 {
		effect = &p.x.spans[st.cause.via]
	}
	if at := x.causeOf(st.cause.from, effect); at >= 0 {
		st.at = at
		st.edge.From = x.info(at)
		if effect != nil {
			st.edge.WaitNano = wait(x.spans[at].end, effect.start)
		}
		return w.climb(ctx, k)
	}
	st.edge.From = SpanInfo{Ref: st.cause.from}
	if x.hasSummary && x.summary.SpanID == st.cause.from.SpanID {
		st.edge.From = x.summary.origin().SpanInfo
	}
	switch {
	case x.root >= 0:
		st.at = x.root
		st.incomplete = true
		return w.climb(ctx, k)
	case x.hasSummary && (x.summary.Root || len(x.spans) == 0):
		w.recall(k, st.cause.from.SpanID)
	case len(x.spans) > 0:
		w.endings = append(w.endings, ending{stop: k, span: x.origin(x.first), reason: st.cause.missing()})
	case effect == nil:
		w.endings = append(w.endings, ending{stop: k, span: p.x.summary.origin(), reason: st.cause.missing(), expired: true})
	default:
		from := p.x.origin(st.cause.via)
		if st.cause.kind == KindBatch {
			from = p.x.origin(effect.parent)
		}
		w.endings = append(w.endings, ending{stop: k, span: from, reason: st.cause.missing()})
	}
	return nil
}

// recall goes on from a span that is gone, as far as the edge index remembers
// what caused it, or else the root of its trace; or else any of its spans, for
// those of a batch stand under a root without a cause.
func (w *walk) recall(k int, id trace.SpanID) {
	st := &w.stops[k]
	x := st.x
	st.expired = true
	ref := trace.Ref{TraceID: x.trace, SpanID: id}
	if w.gone[ref] {
		w.back = w.back || k > 0 && x == w.stops[0].x
		return
	}
	w.gone[ref] = true
	list := x.causesOfGone(id)
	if len(list) == 0 && (slices.Contains(x.crowded, id) || slices.Contains(x.crowded, x.summary.SpanID)) {
		w.endings = append(w.endings, ending{stop: k, hops: len(st.hops), span: x.summary.origin(), reason: TooMany, expired: true, incomplete: st.incomplete})
		return
	}
	if len(list) == 0 && !x.summary.beginsChain() {
		list = x.gone
	}
	if len(list) == 0 {
		w.endAtSummary(k, x.summary)
		return
	}
	incomplete, hops := st.incomplete, len(st.hops)
	if slices.ContainsFunc(list, func(t target) bool { return slices.Contains(x.dropped, t.at.SpanID) }) {
		list = x.gone // the links of its messages stand for those dropped
	}
	if x.lost && slices.ContainsFunc(list, func(t target) bool { return slices.Contains(x.dropped, t.at.SpanID) }) {
		e := ending{stop: k, hops: hops, span: x.summary.origin(), reason: LinksDropped, expired: true, incomplete: incomplete}
		if x.short {
			e.reason = NotRecorded
		}
		w.endings = append(w.endings, e)
	}
	if slices.ContainsFunc(list, func(t target) bool { return t.unsure }) {
		w.endAtSummary(k, x.summary)
	}
	for i := range list {
		t := &list[i]
		c := t.cause(none)
		to := SpanInfo{Ref: t.at}
		if t.at.SpanID == x.summary.SpanID {
			to.Service, to.Name = x.summary.Service, x.summary.Name
		}
		w.stops = append(w.stops, stop{prev: k, prevHops: hops, cause: c, incomplete: incomplete, expired: true,
			edge: Edge{To: to, Kind: c.kind, Rule: c.rule, Inferred: c.inferred}})
	}
}

// causesOfGone is what is remembered of a span, or else of the root.
func (x *index) causesOfGone(id trace.SpanID) []target {
	for _, of := range [2]trace.SpanID{id, x.summary.SpanID} {
		var out []target
		for _, t := range x.gone {
			if t.at.SpanID == of {
				out = append(out, t)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// endAtSummary ends a walk in a trace whose spans, or root, are gone. The index looked at
// all of them: what it does not know of a root was not recorded, as [Graph.Origins] says.
func (w *walk) endAtSummary(k int, sum Summary) {
	e := ending{stop: k, hops: len(w.stops[k].hops), span: sum.origin(), expired: true, incomplete: w.stops[k].incomplete}
	if !sum.beginsChain() {
		e.reason = Expired
		if sum.Root && w.g.edges != nil {
			e.reason = NotRecorded
		}
	}
	w.endings = append(w.endings, e)
}

// cutAt drops the stops from k on.
func (w *walk) cutAt(k int) {
	w.cut = true
	p := &w.stops[k]
	prev := &w.stops[p.prev]
	at := prev.x.summary.origin()
	if p.cause.via >= 0 {
		at = prev.x.origin(p.cause.via)
	}
	w.endings = append(w.endings, ending{stop: p.prev, hops: p.prevHops, span: at, reason: Cut})
	w.stops = w.stops[:k]
}

// climb goes from a stop up the parents, to the first span with causes of its
// own, which become stops, or to an end. It stops where another climb has been:
// that one found what there is to find, or the chain runs in a circle.
func (w *walk) climb(ctx context.Context, k int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x, i := w.stops[k].x, w.stops[k].at
	incomplete, expired := w.stops[k].incomplete, w.stops[k].expired
	var hops []Edge
	seen := w.seen(x)
	end := func(i int32, reason string) {
		w.endings = append(w.endings, ending{stop: k, hops: len(hops), span: x.origin(i), reason: reason, incomplete: incomplete, expired: expired})
	}
	for {
		if seen[i] {
			start := &w.stops[0]
			w.back = w.back || x == start.x && i == start.at
			break
		}
		seen[i] = true
		cs := x.causesAt(i)
		if cs.unknown != "" {
			end(i, cs.unknown)
		}
		if cs.dropped > 0 && w.links == nil {
			w.links = &LinkCount{Of: x.info(i), Recorded: cs.kept, Dropped: cs.dropped, Inferred: cs.recovered}
		}
		for _, c := range cs.list {
			to := c.via
			if c.kind == KindBatch {
				to = i
			}
			w.stops = append(w.stops, stop{prev: k, prevHops: len(hops), cause: c, incomplete: incomplete, expired: expired,
				edge: Edge{To: x.info(to), Kind: c.kind, Rule: c.rule, Inferred: c.inferred}})
		}
		if (len(cs.list) > 0 || cs.unknown != "") && !cs.parent {
			break
		}
		n := &x.spans[i]
		if p := n.parent; p >= 0 {
			if x.crosses(p, i) {
				hops = append(hops, Edge{From: x.info(p), To: x.info(i), Kind: KindParent, Rule: RuleParentID,
					WaitNano: wait(x.spans[p].end, n.start)})
			}
			i = p
			continue
		}
		if n.parent == Circle {
			w.cut = true
			end(i, NotRecorded)
			break
		}
		if n.parent == Root {
			reason := ""
			if !x.ownOrigin(i) {
				reason = NotRecorded
			}
			end(i, reason)
			break
		}
		if x.truncated {
			if err := w.seek(ctx, x, n.parentID); err != nil {
				return err
			}
			if n = &x.spans[i]; n.parent >= 0 {
				seen = w.seen(x)
				seen[i] = false // again, with a parent
				continue
			}
		}
		// The parent never arrived; the root of its trace stands for it.
		incomplete = true
		if n.kind == trace.KindServer || n.shape.has(consumes) {
			hops = append(hops, Edge{From: SpanInfo{Ref: trace.Ref{TraceID: x.trace, SpanID: n.parentID}}, To: x.info(i),
				Kind: KindParent, Rule: RuleParentID})
		}
		if x.root >= 0 {
			i = x.root
			continue
		}
		w.stops[k].hops = hops
		switch {
		case x.hasSummary && x.summary.Root:
			w.recall(k, x.summary.SpanID)
		case x.truncated:
			w.cut = true
			end(i, Cut)
		default:
			end(i, NotArrived)
		}
		break
	}
	w.stops[k].hops = hops
	return nil
}

// seen says which spans of a trace the walk has been at.
func (w *walk) seen(x *index) []bool {
	seen := w.visited[x]
	if len(seen) < len(x.spans) {
		seen = append(seen, make([]bool, len(x.spans)-len(seen))...)
		w.visited[x] = seen
	}
	return seen
}

// path lists the hops from an ending to the span asked about.
func (w *walk) path(e *ending) []Edge {
	out := []Edge{}
	for k, n := e.stop, e.hops; ; {
		st := &w.stops[k]
		for j := n - 1; j >= 0; j-- {
			out = append(out, st.hops[j])
		}
		if st.prev < 0 {
			return out
		}
		out = append(out, st.edge)
		k, n = st.prev, st.prevHops
	}
}

// sharedTail lists the hops that the ways from all endings have in common.
func (w *walk) sharedTail() []Edge {
	tail := w.path(&w.endings[0])
	for i := 1; i < len(w.endings) && len(tail) > 0; i++ {
		p := w.path(&w.endings[i])
		n := 0
		for n < len(tail) && n < len(p) && tail[len(tail)-1-n] == p[len(p)-1-n] {
			n++
		}
		tail = tail[len(tail)-n:]
	}
	return tail
}

// answer adds up where the chains ended. One that does not end at an origin
// makes the whole unknown: the true origin may be behind it.
func (w *walk) answer() *Origin {
	o := &Origin{Origins: []OriginSpan{}, Candidates: []OriginSpan{}, Hops: []Edge{}, Truncated: w.cut, Links: w.links}
	var (
		found []OriginSpan
		known = map[trace.Ref]bool{}
		first *ending // the unknown end whose span is earliest
	)
	for i := range w.endings {
		e := &w.endings[i]
		switch {
		case e.reason == "":
			o.Incomplete = o.Incomplete || e.incomplete
			o.Expired = o.Expired || e.expired
			if !known[e.span.Ref] {
				known[e.span.Ref] = true
				found = append(found, e.span)
			}
		case first == nil || e.span.StartUnixNano < first.span.StartUnixNano:
			first = e
		}
	}
	slices.SortStableFunc(found, func(a, b OriginSpan) int { return cmp.Compare(a.StartUnixNano, b.StartUnixNano) })
	switch {
	case len(w.endings) == 0: // the chain runs in a circle
		o.Status, o.Reason, o.Truncated, o.Circle = Unknown, NotRecorded, true, true
	case first != nil:
		o.Status, o.Reason, o.Candidates = Unknown, first.reason, append(o.Candidates, found...)
		o.Incomplete = o.Incomplete || first.incomplete
		o.Expired = first.expired || first.reason == Expired
		o.Furthest = &first.span
		if len(w.endings) == 1 {
			o.Hops = w.path(first)
		} else {
			o.Hops = w.sharedTail()
		}
	case len(found) == 1:
		o.Status, o.Origins = Found, found
		o.Hops = w.path(&w.endings[0])
	default:
		o.Status, o.Origins = Ambiguous, found
		o.Hops = w.sharedTail()
	}
	return o
}

// earliest is the earliest of the spans behind the one asked about, which is
// among them only if a chain led back to it; nil if there is none.
func (w *walk) earliest() (x *index, at int32) {
	start := &w.stops[0]
	for y, seen := range w.visited {
		for i := range seen {
			if !seen[i] || y == start.x && int32(i) == start.at && !w.back {
				continue
			}
			if x == nil || before(y, int32(i), x, at) {
				x, at = y, int32(i)
			}
		}
	}
	return x, at
}

// beginsChain reports whether the trace's root is known and its own origin.
func (s *Summary) beginsChain() bool { return s.Root && !s.Caused }

// polls reports whether the root of the trace is a poller that sends what others made.
func (s *Summary) polls() bool { return s.Root && relays(s.Kind, s.Name, 0) }

func (s *Summary) origin() OriginSpan {
	return OriginSpan{StartUnixNano: s.StartUnixNano,
		SpanInfo: SpanInfo{Ref: trace.Ref{TraceID: s.TraceID, SpanID: s.SpanID}, Service: s.Service, Name: s.Name}}
}
