package graph

import (
	"slices"

	"redthread/tracestore/trace"
)

// none is the position of a span that is not there.
const none int32 = -1

// span is what the graph keeps of a stored span.
type span struct {
	id, parentID  trace.SpanID
	parent        int32 // as in Tree.Parent
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
	tree      *Tree
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
	if slices.ContainsFunc(spans, func(s trace.Span) bool { return s.Signal != trace.SignalSpan }) {
		spans = slices.DeleteFunc(slices.Clone(spans), func(s trace.Span) bool { return s.Signal != trace.SignalSpan })
	}
	x.tree = Arrange(spans)
	x.spans = make([]span, len(spans))
	for i := range spans {
		s := &spans[i]
		n := &x.spans[i]
		*n = span{
			id: s.SpanID, parentID: s.ParentID, parent: x.tree.Parent[i], child: none, next: none, kind: s.Kind, err: s.Error,
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
		if x.first < 0 || earlier(s, &spans[x.first]) {
			x.first = int32(i)
		}
		if n.parent == Root && (x.root < 0 || earlier(s, &spans[x.root])) {
			x.root = int32(i)
		}
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

// find returns the span of an id, see [Tree.find].
func (x *index) find(id trace.SpanID, service string) int32 {
	return x.tree.find(id, service, func(i int32) string { return x.spans[i].service })
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
