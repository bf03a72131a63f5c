package graph

import (
	"cmp"
	"slices"

	"redthread/tracestore/trace"
)

// Positions of spans that are not there.
const (
	none   int32 = -1 // a root has no parent
	absent int32 = -2 // the parent never arrived
)

// span is what the graph keeps of a stored span.
type span struct {
	id, parentID  trace.SpanID
	parent        int32 // position, none or absent
	child, next   int32 // first child; next sibling
	kind          trace.Kind
	shape         shape
	err           bool
	dropped       bool // links were dropped by the sender
	service, name string
	topic         string
	start, end    int64
	links         []target // each once, without those that mean something else
}

// target is what a link points to.
type target struct {
	trace.Ref
	unsampled bool // the sender knew that the target would not be recorded
}

// index holds one trace for walking.
type index struct {
	trace     trace.ID
	spans     []span
	byID      map[trace.SpanID]int32 // the first of those that share an id
	halves    map[trace.SpanID][]int32
	root      int32 // the earliest span without a parent id, or none
	first     int32 // the earliest span, or none
	truncated bool

	summary    Summary // set when there are no spans, or no root among them
	hasSummary bool
}

// Where the decoder keeps OTLP's dropped_links_count and flags.
const (
	keyDroppedLinks = "dropped_links_count"
	keyFlags        = "trace.flags"
)

// newIndex arranges the spans of a trace. It keeps strings of the spans, but
// neither attributes nor events.
func newIndex(id trace.ID, spans []trace.Span, truncated bool) *index {
	x := &index{trace: id, truncated: truncated, root: none, first: none}
	x.spans = make([]span, 0, len(spans))
	x.byID = make(map[trace.SpanID]int32, len(spans))
	for i := range spans {
		s := &spans[i]
		if s.Signal != trace.SignalSpan {
			continue
		}
		n := span{
			id: s.SpanID, parentID: s.ParentID, parent: none, child: none, next: none, kind: s.Kind, err: s.Error,
			service: s.Service, name: s.Name, start: s.StartUnixNano, end: max(s.EndUnixNano(), s.StartUnixNano),
		}
		n.shape, n.topic = shapeOf(s)
		if v, ok := s.Attribute(keyDroppedLinks); ok && v.Float() > 0 {
			n.dropped = true
		}
		for j := range s.Links {
			l := &s.Links[j]
			ref := trace.Ref{TraceID: l.TraceID, SpanID: l.SpanID}
			unsampled, ok := readLink(l)
			if !ok || ref == s.Ref() || slices.ContainsFunc(n.links, func(t target) bool { return t.Ref == ref }) {
				continue
			}
			n.links = append(n.links, target{ref, unsampled})
		}
		at := int32(len(x.spans))
		x.spans = append(x.spans, n)
		if other, ok := x.byID[n.id]; ok {
			if x.halves == nil {
				x.halves = map[trace.SpanID][]int32{}
			}
			if x.halves[n.id] == nil {
				x.halves[n.id] = []int32{other}
			}
			x.halves[n.id] = append(x.halves[n.id], at)
		} else {
			x.byID[n.id] = at
		}
	}
	for id, halves := range x.halves {
		slices.SortStableFunc(halves, func(a, b int32) int {
			return cmp.Or(cmp.Compare(halfRank(x.spans[a].kind), halfRank(x.spans[b].kind)), cmp.Compare(x.spans[a].start, x.spans[b].start))
		})
		x.byID[id] = halves[0]
	}
	for i := range x.spans {
		x.place(int32(i))
	}
	// Children in the order of the spans: go backwards, each before the others.
	for i := int32(len(x.spans)) - 1; i >= 0; i-- {
		if p := x.spans[i].parent; p >= 0 {
			x.spans[i].next = x.spans[p].child
			x.spans[p].child = i
		}
	}
	return x
}

// place finds the parent of span i and notes whether it is first or root.
func (x *index) place(i int32) {
	n := &x.spans[i]
	earlier := func(than int32) bool { return than < 0 || n.start < x.spans[than].start }
	if earlier(x.first) {
		x.first = i
	}
	if halves := x.halves[n.id]; len(halves) > 0 && halves[0] != i && (n.parentID == x.spans[halves[0]].parentID || n.parentID == n.id) {
		n.parent = halves[0] // the callee's half of a span shared by both sides
		return
	}
	if n.parentID.IsZero() || n.parentID == n.id {
		if earlier(x.root) {
			x.root = i
		}
		return
	}
	n.parent = x.find(n.parentID, n.service)
}

// find returns the span of an id, absent if there is none. Of halves that share
// it, it is the one of the service, else the callee's.
func (x *index) find(id trace.SpanID, service string) int32 {
	if halves := x.halves[id]; len(halves) > 0 {
		for i := len(halves) - 1; i >= 0; i-- {
			if x.spans[halves[i]].service == service {
				return halves[i]
			}
		}
		return halves[len(halves)-1]
	}
	if at, ok := x.byID[id]; ok {
		return at
	}
	return absent
}

// halfRank puts the caller's half of a shared span id before the callee's.
func halfRank(k trace.Kind) int {
	switch k {
	case trace.KindClient, trace.KindProducer:
		return 0
	case trace.KindServer, trace.KindConsumer:
		return 2
	}
	return 1
}

// readLink reports whether a link says that its target caused the span, and
// whether it says too that the target was not sampled: OTLP's Link.flags are
// set (bit 8) and the W3C sampled flag (bit 0) is not. Sentry joins the traces
// of one browser session by links of another meaning.
func readLink(l *trace.Link) (unsampled, ok bool) {
	for i := range l.Attributes {
		switch a := &l.Attributes[i]; a.Key {
		case "sentry.link.type":
			return false, false
		case keyFlags:
			f := a.Value.Int()
			unsampled = f&0x100 != 0 && f&1 == 0
		}
	}
	return unsampled, !l.TraceID.IsZero()
}

// begin is the root, else the earliest span; none if there are no spans.
func (x *index) begin() int32 {
	if x.root >= 0 {
		return x.root
	}
	return x.first
}

func (x *index) info(i int32) SpanInfo {
	n := &x.spans[i]
	return SpanInfo{Ref: trace.Ref{TraceID: x.trace, SpanID: n.id}, Service: n.service, Name: n.name}
}

func (x *index) origin(i int32) OriginSpan {
	return OriginSpan{SpanInfo: x.info(i), StartUnixNano: x.spans[i].start}
}
