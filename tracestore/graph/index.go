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
	runs          int32 // children that run jobs
	kind          trace.Kind
	shape         shape
	err           bool
	dropped       int32 // links that the sender dropped, or messages of a batch that have none
	short         bool  // the latter
	batch         int32 // messages that it handles, if it says so
	service, name string
	topic         string
	handles       Key // the message or job, 0 if it has no id
	run           Key // of the run of a job, see runID
	above         bool
	start, end    int64
	links         []target // recorded, each once
	inferred      []target // found by ids, see session.join
	keys          []Half   // what ids may join
	crowded       bool     // a correlation joins it to too many to name any, and nothing else to any
}

// target is what a span says, or its ids do, that it was caused by.
type target struct {
	trace.Ref           // without a span id if only the trace was recorded
	by        RuleID    // how
	unsampled bool      // the sender knew that the target would not be recorded
	at        trace.Ref // the span that says so: the effect
	key       Key       // what they have in common, if that is how
	loose     bool      // of many at once: see chunkCause
	unsure    bool      // others may have the id too: it may have been caused otherwise
}

// index holds one trace for walking.
type index struct {
	trace     trace.ID
	spans     []span
	tree      *Tree
	root      int32 // the earliest span without a parent id, or none
	first     int32 // the earliest span, or none
	truncated bool
	entries   int // roots that a request or a message began

	summary    Summary // set when there are no spans, or no root among them
	hasSummary bool
	gone       []target       // what caused the spans that are no longer there
	dropped    []trace.SpanID // those of them whose senders dropped links
	lost       bool           // and not all of these were found by ids
	short      bool           // they are all messages that came without context
	crowded    []trace.SpanID // of those of them that are crowded, as in span

	senders   map[string]int32 // producers by topic, none where there are several
	senderKey map[Key]int32    // and by what they offer
}

// Where the decoder keeps OTLP's dropped_links_count and flags.
const (
	keyDroppedLinks = "dropped_links_count"
	keyFlags        = "trace.flags"
	keyBatchCount   = "messaging.batch.message_count"
)

// newIndex arranges the spans of a trace. It keeps strings of the spans, but
// neither attributes nor events.
func newIndex(rules *Rules, id trace.ID, all []trace.Span, truncated bool) *index {
	x := &index{trace: id, truncated: truncated, root: none, first: none}
	spans := all
	aside := func(s trace.Span) bool { return s.Signal != trace.SignalSpan || annotation(&s) }
	if slices.ContainsFunc(all, aside) {
		spans = slices.DeleteFunc(slices.Clone(all), aside)
	}
	x.tree = Arrange(spans)
	x.spans = make([]span, len(spans))
	for i := range spans {
		x.spans[i] = rules.read(&spans[i])
		n := &x.spans[i]
		n.parent = x.tree.Parent[i]
		if x.first < 0 || earlier(&spans[i], &spans[x.first]) {
			x.first = int32(i)
		}
		if n.parent == Root && (n.kind == trace.KindServer || n.shape.has(consumes)) {
			x.entries++
		}
		if n.parent == Root && (x.root < 0 || earlier(&spans[i], &spans[x.root])) {
			x.root = int32(i)
		}
	}
	for i := range x.spans {
		if x.astray(int32(i)) {
			x.spans[i].parent = Absent
		}
	}
	if len(spans) < len(all) {
		for i := range all {
			if !aside(all[i]) {
				continue
			}
			for _, h := range rules.Halves(nil, &all[i]) {
				if at := x.find(h.Of.SpanID, all[i].Service); at >= 0 {
					x.spans[at].take(&h)
				}
			}
		}
	}
	x.hang()
	return x
}

// read takes from a stored span what the graph keeps.
func (r *Rules) read(s *trace.Span) span {
	n := span{
		id: s.SpanID, parentID: s.ParentID, kind: s.Kind, err: s.Error, service: s.Service, name: s.Name,
		start: s.StartUnixNano, end: max(s.EndUnixNano(), s.StartUnixNano), dropped: int32(dropped(s)),
	}
	if batch, ok := s.Attribute(keyBatchCount); ok {
		n.batch = int32(batchCount(batch.Text()))
		n.short = n.dropped > 0 && short(s)
	}
	if n.shape, n.topic = shapeOf(s); n.shape.has(consumes) {
		n.handles = r.identity(s)
		if n.shape.has(isJob) {
			n.run, n.above = runID(s)
		}
	}
	var few [4]Half
	for _, h := range r.Halves(few[:0], s) {
		n.take(&h)
	}
	return n
}

// hang lists the children of each span, in the order of the spans.
func (x *index) hang() {
	for i := range x.spans {
		x.spans[i].child, x.spans[i].next, x.spans[i].runs = none, none, 0
	}
	for i := int32(len(x.spans)) - 1; i >= 0; i-- {
		n := &x.spans[i]
		if n.parent < 0 {
			continue
		}
		p := &x.spans[n.parent]
		n.next, p.child = p.child, i
		if n.shape.jobRun() {
			p.runs++
		}
		// dd-trace copies the links of a chunk to each of its spans.
		if n.service == p.service {
			n.links = slices.DeleteFunc(n.links, func(t target) bool {
				return t.by == byDatadogLinks && slices.ContainsFunc(p.links, func(o target) bool { return o.by == t.by && o.Ref == t.Ref })
			})
		}
	}
}

// dropped is how many links of a span its sender dropped.
func dropped(s *trace.Span) int {
	n := droppedLinks(s)
	if v, ok := s.Attribute("_dd.span_links"); ok {
		if _, cut := datadogLinks(v.Text()); cut {
			n++ // and perhaps more
		}
	}
	return n
}

// short reports whether the links that a span lacks are those of messages of its batch
// that came without context: the sender does not say that it dropped any.
func short(s *trace.Span) bool {
	_, batch := s.Attribute(keyBatchCount)
	return batch && len(s.Links) < linkCap && !saysDropped(s)
}

// take keeps a half that the span offers.
func (n *span) take(h *Half) {
	if !h.recorded() {
		n.keys = append(n.keys, *h)
		return
	}
	if !slices.ContainsFunc(n.links, func(t target) bool { return t.Ref == h.Target }) {
		n.links = append(n.links, target{Ref: h.Target, by: h.Rule, unsampled: h.Unsampled, at: h.Of})
	}
}

// find returns the span of an id, see [Tree.find].
func (x *index) find(id trace.SpanID, service string) int32 {
	return x.tree.find(id, service, func(i int32) string { return x.spans[i].service })
}

// causeOf returns the span of x that caused a span of another trace, given what
// was recorded of it. Where that is only the trace, it is the span that sent the
// effect's message, if that can be told, else the beginning of the trace.
func (x *index) causeOf(ref trace.Ref, effect *span) int32 {
	if !ref.SpanID.IsZero() {
		return x.find(ref.SpanID, "")
	}
	if x.senders == nil {
		x.senders, x.senderKey = map[string]int32{}, map[Key]int32{}
		for i := range x.spans {
			n := &x.spans[i]
			for _, k := range n.keys {
				if _, again := x.senderKey[k.Key]; !again && k.Side&CauseSide != 0 {
					x.senderKey[k.Key] = int32(i)
				}
			}
			if !n.shape.has(produces) || n.topic == "" {
				continue
			}
			if _, again := x.senders[n.topic]; again {
				x.senders[n.topic] = none
			} else {
				x.senders[n.topic] = int32(i)
			}
		}
	}
	if effect != nil {
		for _, k := range effect.keys {
			if at, ok := x.senderKey[k.Key]; ok {
				return at
			}
		}
		if at, ok := x.senders[effect.topic]; ok && at >= 0 {
			return at
		}
	}
	return x.begin()
}

// astray reports whether a span without a parent is the work of a trace that
// something else began: a thread that lost its parent and kept the trace.
func (x *index) astray(i int32) bool {
	n := &x.spans[i]
	return n.parent == Root && i != x.root && x.entries <= 1 && n.kind != trace.KindServer && !n.shape.has(consumes)
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
