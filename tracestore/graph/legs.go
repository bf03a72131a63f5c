package graph

import (
	"bytes"
	"cmp"
	"slices"

	"redthread/tracestore/trace"
)

// members says which leg a span of a trace belongs to, plus one; 0: none.
func (s *spread) members(x *index) []int32 {
	legs := s.legOf[x]
	if legs == nil {
		legs = make([]int32, len(x.spans))
		s.legOf[x] = legs
	}
	return legs
}

// join begins a leg at span at, unless it is in the thread already, and lets
// it grow.
func (s *spread) join(x *index, at int32, causeLeg int, by Edge, began int64) bool {
	if s.members(x)[at] != 0 {
		return false
	}
	leg, ok := s.newLeg(x, at, causeLeg, by, began)
	if ok {
		s.grow(x, at, leg)
	}
	return ok
}

// newLeg begins a leg that was caused by a span which began then.
func (s *spread) newLeg(x *index, at int32, causeLeg int, by Edge, began int64) (int32, bool) {
	if len(s.legs) >= s.g.o.MaxLegs {
		s.cut(PartLegs)
		return 0, false
	}
	n := &x.spans[at]
	l := Leg{SpanInfo: x.info(at), Kind: n.kind, Work: n.work(), Cause: causeLeg, From: by.From, By: by.Kind, Rule: by.Rule,
		Inferred: by.Inferred, Topic: n.topic, WaitNano: by.WaitNano, StartUnixNano: n.start}
	if causeLeg >= 0 {
		l.Depth = s.legs[causeLeg].Depth + 1
		l.SkewNano = s.skew(causeLeg, n.service, n.start, began)
		l.WaitNano = s.waited(causeLeg, l.WaitNano, l.SkewNano)
	}
	return s.addLeg(l, member{x, at}, n.handles), true
}

func (s *spread) addLeg(l Leg, begin member, handles Key) int32 {
	l.FirstAttempt, l.Fold = -1, -1
	s.legs = append(s.legs, l)
	s.covered = append(s.covered, nil)
	s.handles = append(s.handles, handles)
	s.begins = append(s.begins, begin)
	return int32(len(s.legs) - 1)
}

// skew is how much later an effect that began at start is to be drawn, given
// when its cause began by its own clock. A service has one clock.
func (s *spread) skew(causeLeg int, service string, start, began int64) int64 {
	c := &s.legs[causeLeg]
	least := max(0, began+c.SkewNano-start)
	if c.Service == service {
		return max(least, c.SkewNano)
	}
	return least
}

// waited corrects what an effect waited by the clocks on both sides.
func (s *spread) waited(causeLeg int, waited, skew int64) int64 {
	if waited == 0 {
		return 0
	}
	return max(0, waited+skew-s.legs[causeLeg].SkewNano)
}

// joinGone begins a leg for a trace of which only the summary is left.
func (s *spread) joinGone(x *index, causeLeg int, by Edge, began int64) {
	if _, again := s.goneLeg[x]; again || !x.hasSummary || len(x.spans) > 0 {
		return
	}
	if len(s.legs) >= s.g.o.MaxLegs {
		s.cut(PartLegs)
		return
	}
	m := &x.summary
	l := Leg{SpanInfo: m.origin().SpanInfo, Kind: m.Kind, Work: m.work(), Topic: m.Class(), Cause: causeLeg, From: by.From, By: by.Kind, Rule: by.Rule, Inferred: by.Inferred,
		Spans: m.Spans, Errors: m.Errors, WaitNano: by.WaitNano, StartUnixNano: m.StartUnixNano, Expired: true}
	if causeLeg >= 0 {
		l.Depth = s.legs[causeLeg].Depth + 1
		l.SkewNano = s.skew(causeLeg, m.Service, m.StartUnixNano, began)
		l.WaitNano = s.waited(causeLeg, l.WaitNano, l.SkewNano)
	}
	leg := s.addLeg(l, member{x, none}, 0)
	s.goneLeg[x] = int(leg)
	s.covered[leg] = []interval{{m.StartUnixNano, m.StartUnixNano + m.DurationNano}}
	s.lastEnd = max(s.lastEnd, m.StartUnixNano+m.DurationNano)
	s.ripple.Spans += m.Spans
	s.ripple.Messages += m.Messages
	s.ripple.Jobs += m.Jobs
	s.ripple.Requests += m.Requests
	if causeLeg < 0 && m.Kind == trace.KindServer && m.Requests > 0 {
		s.ripple.Requests-- // the origin itself
	}
	s.ripple.Errors += m.Errors
}

func (n *span) work() Work {
	switch {
	case n.shape.jobRun():
		return WorkJob
	case n.shape.has(consumes):
		return WorkMessage
	case n.kind == trace.KindServer:
		return WorkRequest
	}
	return WorkOther
}

// grow adds a span and what stands under it. Spans with causes of their own
// stay out: they join by these.
func (s *spread) grow(x *index, at, leg int32) {
	type step struct{ at, leg int32 }
	members := s.members(x)
	stack := []step{{at, leg}}
	descend := func(p, c, leg int32) {
		if members[c] != 0 {
			return
		}
		if cs := x.causesAt(c); (len(cs.list) > 0 || cs.unknown != "") && !cs.parent && x.toldAbove(c) != p {
			return
		}
		orphan := x.spans[c].parent == Absent
		if orphan && x.spans[c].kind != trace.KindServer && !x.spans[c].shape.has(consumes) && x.spans[c].service == x.spans[p].service ||
			!orphan && !x.crosses(p, c) {
			stack = append(stack, step{c, leg})
			return
		}
		by := Edge{From: x.info(p), To: x.info(c), Kind: KindParent, Rule: RuleParentID,
			WaitNano: wait(x.spans[p].end, x.spans[c].start)}
		if orphan {
			by.Rule, by.Inferred, by.WaitNano = RuleSharedRoot, true, 0
		}
		s.hear(x, p)
		if leg, ok := s.newLeg(x, c, int(leg), by, x.spans[p].start); ok {
			stack = append(stack, step{c, leg})
		}
	}
	for len(stack) > 0 {
		st := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if members[st.at] != 0 {
			continue
		}
		members[st.at] = st.leg + 1
		s.fresh = append(s.fresh, member{x, st.at})
		s.count(x, st.at, st.leg)
		for c := x.spans[st.at].child; c >= 0; c = x.spans[c].next {
			descend(st.at, c, st.leg)
		}
		if st.at == x.root {
			for c := range x.spans {
				if x.spans[c].parent == Absent {
					descend(st.at, int32(c), st.leg)
				}
			}
		}
	}
}

// toldAbove is the parent of a span if both tell of one run of a job, the queue and the
// framework above it, each with what one request sent as its cause. none for others.
func (x *index) toldAbove(i int32) int32 {
	n := &x.spans[i]
	if p := n.parent; p < 0 || !n.shape.jobRun() || !x.spans[p].shape.jobRun() || x.spans[p].runs > 1 || x.crosses(p, i) {
		return none
	}
	above, own := x.causesAt(n.parent).list, x.causesAt(i).list
	if len(above) > 0 && len(own) > 0 && !slices.ContainsFunc(own, func(c cause) bool { return sentIn(above, c.from.TraceID) }) {
		return none
	}
	return n.parent
}

// sentIn reports whether one of the causes stands in a trace.
func sentIn(list []cause, id trace.ID) bool {
	return slices.ContainsFunc(list, func(c cause) bool { return c.from.TraceID == id })
}

// count adds one span to the measures of its leg and of the thread.
func (s *spread) count(x *index, i, leg int32) {
	n := &x.spans[i]
	l := &s.legs[leg]
	l.Spans++
	s.ripple.Spans++
	if n.kind == trace.KindProducer {
		s.sent = append(s.sent, member{x, i})
	}
	s.lastEnd = max(s.lastEnd, n.end)
	// A span stands after its parent, which mostly covers it.
	if c := s.covered[leg]; len(c) > 0 && c[len(c)-1].from <= n.start && n.end <= c[len(c)-1].to {
		// It adds nothing.
	} else if len(c) > 1 && c[0].from <= n.start && n.end <= c[0].to {
		// Nor does it to the first, which is the longest as a rule.
	} else {
		s.covered[leg] = append(c, interval{n.start, n.end})
	}
	if n.err {
		l.Errors++
		s.ripple.Errors++
	}
	if n.kind == trace.KindProducer {
		s.ripple.Messages++
	}
	if n.kind == trace.KindServer && (x.trace != s.origin.TraceID || n.id != s.origin.SpanID) {
		s.ripple.Requests++
	}
	// The spans of a job queue and of the framework above it are one run.
	if _, counted := s.examples[x.trace]; !counted && n.shape.jobRun() && !(n.parent >= 0 && x.spans[n.parent].shape.jobRun() && !x.crosses(n.parent, i)) {
		s.ripple.Jobs += s.told.add(n.run, n.above)
	}
}

func (s *spread) addNode(x *index) {
	s.isNode[x.trace] = true
	if x.truncated {
		s.cut(PartTrace)
	}
	s.nodes = append(s.nodes, x.node())
}

// node describes a trace.
func (x *index) node() Node {
	at := x.begin()
	if at < 0 {
		m := &x.summary
		return Node{TraceID: x.trace, SpanID: m.SpanID, Service: m.Service, Name: m.Name, Kind: m.Kind,
			StartUnixNano: m.StartUnixNano, DurationNano: m.DurationNano, Spans: m.Spans, Errors: m.Errors}
	}
	n := &x.spans[at]
	out := Node{TraceID: x.trace, SpanID: n.id, Service: n.service, Name: n.name, Kind: n.kind,
		StartUnixNano: x.spans[x.first].start, Spans: len(x.spans)}
	end := n.end
	for i := range x.spans {
		end = max(end, x.spans[i].end)
		if x.spans[i].err {
			out.Errors++
		}
	}
	out.DurationNano = end - out.StartUnixNano
	return out
}

// finish sums up what needs the whole thread.
func (s *spread) finish() {
	s.ripple.Traces += len(s.nodes)
	for i := range s.nodes {
		s.ripple.BusyNano += s.nodes[i].DurationNano
	}
	for i := range s.legs {
		s.batch(i)
	}
	for _, b := range s.batches {
		// The work on a batch is surely this thread's if all its messages are.
		if l := &s.legs[b.leg]; l.BatchHere < l.Batch {
			l.Inferred = true
		}
	}
	shared := map[trace.ID]bool{}
	for i := range s.legs { // each after its cause
		l := &s.legs[i]
		if l.Shared = l.Cause >= 0 && (l.BatchHere < l.Batch || s.legs[l.Cause].Shared && !s.ofOneMessage(l)); l.Shared {
			shared[l.TraceID] = true
		}
	}
	s.ripple.Shared = len(shared)
	for i := range s.legs {
		l := &s.legs[i]
		var end int64
		l.BusyNano, end = cover(s.covered[i])
		l.DurationNano = max(0, end-l.StartUnixNano)
		s.ripple.WaitingNano += l.WaitNano
		if l.Work == WorkMessage {
			l.Messages = max(l.BatchHere, 1)
			if l.Cause < 0 {
				l.Messages = max(l.Batch, 1) // the thread begins with all of it
			}
		}
	}
	s.attempts()
	s.order()
}

// ofOneMessage reports whether what caused a leg stands under the span of a single
// message of a batch, whose causes are its own, and not of the whole batch.
func (s *spread) ofOneMessage(l *Leg) bool {
	b, x := s.begins[l.Cause], s.traces[l.From.TraceID]
	if x == nil || x != b.x || b.at < 0 {
		return false
	}
	for i := x.find(l.From.SpanID, ""); i >= 0 && i != b.at; i = x.spans[i].parent {
		if len(x.causesAt(i).list) > 0 {
			return true
		}
	}
	return false
}

// batch counts what caused a leg, if it was several spans, and what of it is in
// the thread.
func (s *spread) batch(leg int) {
	b := s.begins[leg]
	if b.at < 0 {
		return
	}
	cs := b.x.causesAt(b.at)
	l := &s.legs[leg]
	if cs.dropped > 0 {
		l.Links = &LinkCount{Of: b.x.info(b.at), Recorded: cs.kept, Dropped: cs.dropped, Inferred: cs.recovered}
	}
	if len(cs.list) < 2 {
		return
	}
	l.Batch = len(cs.list)
	for _, c := range cs.list {
		y := s.traces[c.from.TraceID]
		if y == nil {
			continue
		}
		if at := y.causeOf(c.from, &b.x.spans[c.via]); at >= 0 && s.legOf[y] != nil && s.legOf[y][at] != 0 {
			l.BatchHere++
		}
	}
}

// attempts numbers the legs that handled the same message or job, by start.
func (s *spread) attempts() {
	type same struct {
		handles       Key
		service, name string
	}
	tries := map[same][]int{}
	for i, k := range s.handles {
		if k != 0 {
			of := same{k, s.legs[i].Service, s.legs[i].Name}
			tries[of] = append(tries[of], i)
		}
	}
	for _, list := range tries {
		if len(list) < 2 {
			continue
		}
		slices.SortFunc(list, func(a, b int) int {
			x, y := &s.legs[a], &s.legs[b]
			return cmp.Or(cmp.Compare(x.StartUnixNano, y.StartUnixNano), compareRefs(x.Ref, y.Ref))
		})
		for n, i := range list {
			s.legs[i].Attempt, s.legs[i].Attempts, s.legs[i].FirstAttempt = n+1, len(list), list[0]
		}
	}
}

// order puts the legs in the order of the picture, whatever order they were
// found in.
func (s *spread) order() {
	n := len(s.legs)
	under := make([][]int32, n)
	var todo []int32 // reversed: the next one is last
	for i := n - 1; i >= 0; i-- {
		if c := s.legs[i].Cause; c >= 0 {
			under[c] = append(under[c], int32(i))
		} else {
			todo = append(todo, int32(i))
		}
	}
	later := func(a, b int32) int {
		x, y := &s.legs[a], &s.legs[b]
		return -cmp.Or(cmp.Compare(x.StartUnixNano+x.SkewNano, y.StartUnixNano+y.SkewNano), cmp.Compare(x.Service, y.Service), cmp.Compare(x.Name, y.Name),
			bytes.Compare(x.SpanID[:], y.SpanID[:]))
	}
	slices.SortStableFunc(todo, later)
	legs := make([]Leg, 0, n)
	now := make([]int, n) // where a leg went
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		now[i] = len(legs)
		l := s.legs[i]
		if l.Cause >= 0 {
			l.Cause = now[l.Cause]
		}
		legs = append(legs, l)
		slices.SortStableFunc(under[i], later)
		todo = append(todo, under[i]...)
	}
	s.legs = legs
	for i := range legs {
		if first := legs[i].FirstAttempt; first >= 0 {
			legs[i].FirstAttempt = now[first]
		}
	}
	for _, of := range s.legOf {
		for i, leg := range of {
			if leg > 0 {
				of[i] = int32(now[leg-1]) + 1
			}
		}
	}
	for x, leg := range s.goneLeg {
		s.goneLeg[x] = now[leg]
	}
	for i := range s.loops {
		s.loops[i].From, s.loops[i].To = now[s.loops[i].From], now[s.loops[i].To]
	}
	for i := range s.folds {
		if c := s.folds[i].Cause; c >= 0 {
			s.folds[i].Cause = now[c]
		}
	}
	for i := range legs {
		// Of the legs of such a trace the first is the one that the fold counts.
		if at, ok := s.examples[legs[i].TraceID]; ok {
			delete(s.examples, legs[i].TraceID)
			legs[i].Fold = at
			if s.folds[at].Example < 0 {
				s.folds[at].Example = i
			}
		}
	}
}

// cover returns how much time the intervals cover together, and their last end.
func cover(in []interval) (sum, last int64) {
	slices.SortFunc(in, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	for i, iv := range in {
		if i == 0 || iv.from > last {
			sum += iv.to - iv.from
			last = iv.to
		} else if iv.to > last {
			sum += iv.to - last
			last = iv.to
		}
	}
	return sum, last
}
