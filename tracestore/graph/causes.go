package graph

import (
	"bytes"
	"cmp"
	"slices"

	"redthread/tracestore/trace"
)

// cause is one recorded cause of a span outside its own chain of parents.
type cause struct {
	from      trace.Ref
	kind      Kind
	rule      string
	inferred  bool
	unsampled bool  // the sender knew that the cause would not be recorded
	unsure    bool  // as in target
	via       int32 // the span that carries the link
}

// causes are the ways out of a trace at one span.
type causes struct {
	list    []cause
	parent  bool   // the parent caused the span too: the walk goes on to it as well
	unknown string // reason why the list is not all of them, or ""

	kept, dropped, recovered int // links: recorded, dropped by the sender, and of these found by ids
}

// crosses reports whether the step from parent p to its child c is a hop: into
// another process, the handling of a message, or the run of a job.
func (x *index) crosses(p, c int32) bool {
	a, b := &x.spans[p], &x.spans[c]
	switch {
	case a.service != b.service:
		return true
	case b.shape.has(consumes) && a.shape.has(produces):
		return true
	case b.kind == trace.KindServer && a.kind == trace.KindClient:
		return true
	case b.shape.jobRun() && !a.shape.has(consumes):
		// Enqueued without a span of its own, if not run by a loop.
		return b.kind != trace.KindConsumer || !x.ambient(p)
	}
	return false
}

// causesAt returns what caused span i other than its parent in the trace; an
// empty list sends the walk to the parent.
//
// A parent outranks links of what handles no message, if a request or a message
// began it all: there a link is an aside. For messages both count, as batches may take the first message's
// context as parent and link to all. What only ids say counts where nothing is
// recorded, and for the links that the sender dropped.
func (x *index) causesAt(i int32) causes {
	n := &x.spans[i]
	crossed := n.parent >= 0 && x.crosses(n.parent, i)
	if !n.shape.has(consumes) && n.parent != Root && len(n.links) > 0 && !x.ambient(i) {
		return causes{}
	}
	var away, here []cause
	add := func(t *target) {
		c := t.cause(i)
		if t.TraceID != x.trace {
			away = append(away, c)
		} else if t.SpanID != n.parentID {
			if at := x.find(t.SpanID, ""); at >= 0 && !x.above(i, at) {
				here = append(here, c)
			}
		}
	}
	for k := range n.links {
		add(&n.links[k])
	}
	recorded := len(away) + len(here)
	for k := range n.inferred {
		add(&n.inferred[k])
	}
	recovered := len(away) + len(here) - recorded
	if n.dropped > 0 {
		for c := n.child; c >= 0; c = x.spans[c].next {
			for k := range x.spans[c].inferred {
				t := &x.spans[c].inferred[k]
				if x.spans[c].shape.has(consumes) && t.TraceID != x.trace && !slices.ContainsFunc(away, func(o cause) bool { return o.from == t.Ref }) {
					away = append(away, cause{from: t.Ref, kind: KindBatch, rule: RuleBatch, inferred: true, via: c})
					recovered++
				}
			}
		}
	}
	switch {
	case n.parent < 0:
		away = append(away, here...)
	case len(away) == 0 && len(here) > 0 && n.shape.has(consumes) && !crossed:
		away = here // an ambient parent; the message came from elsewhere in the trace
	}
	lost := n.dropped > int32(recovered)
	if len(away) > 0 {
		cs := causes{list: away, parent: crossed, kept: recorded, dropped: int(n.dropped), recovered: recovered}
		switch unsure := slices.ContainsFunc(away, func(c cause) bool { return c.unsure }); {
		case lost && n.short:
			cs.unknown, cs.dropped = NotRecorded, 0 // messages that came without context
		case lost:
			cs.unknown = LinksDropped
		case unsure && n.shape.has(consumes):
			cs.unknown = NotRecorded
		case unsure:
			cs.parent = true // or it began by itself
		}
		return cs
	}
	if lost && n.shape.has(consumes) && !crossed {
		return causes{unknown: LinksDropped, dropped: int(n.dropped)}
	}
	if crossed {
		if n.batch > 1 && n.shape.has(consumes) && !n.shape.has(isJob) && len(n.links) == 0 {
			return causes{unknown: NotRecorded, parent: true} // below the first of its messages
		}
		return causes{}
	}
	if sent, _ := x.sentAgain(i); sent && x.ambient(i) {
		return causes{unknown: NotRecorded} // whoever sent it first
	}
	crowded := n.crowded && n.parent == Root
	if !n.shape.has(consumes) {
		if crowded {
			return causes{unknown: TooMany}
		}
		return causes{}
	}
	var cs causes
	job := n.shape.has(isJob)
	if !job {
		cs = x.batchAt(i)
	}
	if len(cs.list) == 0 && cs.unknown == "" && n.parent >= 0 && n.kind == trace.KindConsumer && x.ambient(i) &&
		!(job && x.root >= 0 && x.spans[x.root].shape.has(scheduled)) {
		cs.unknown = NotRecorded // somebody sent it; only a person's or a clock's work runs jobs where it stands
	}
	if crowded && len(cs.list) == 0 && cs.unknown == "" {
		cs.unknown = TooMany
	}
	return cs
}

// ambient reports whether what stands above a span is no cause of what it sends
// again, receives or is linked to: nothing, or the work of one process that no
// request and no message is known to have begun, such as a loop that polls.
func (x *index) ambient(i int32) bool {
	for p := x.spans[i].parent; p >= 0; p = x.spans[i].parent {
		n := &x.spans[p]
		if x.crosses(p, i) || len(n.links)+len(n.inferred) > 0 {
			return false
		}
		i = p
	}
	return x.spans[i].parent == Root && x.spans[i].kind != trace.KindServer
}

// cause is what a target says of its span, or of one under it.
func (t *target) cause(via int32) cause {
	return cause{from: t.Ref, kind: t.by.Kind(), rule: t.by.Name(), inferred: t.by >= byMessageID, unsampled: t.unsampled, unsure: t.unsure, via: via}
}

// batchAt returns the causes of a receipt of messages that carries no link
// itself while the spans of the single messages under it do (OpenTelemetry's
// kafkajs, eachBatch). What else stands under it was caused by any of them.
func (x *index) batchAt(i int32) causes {
	var cs causes
	var seen map[trace.Ref]bool
	for c := x.spans[i].child; c >= 0; c = x.spans[c].next {
		n := &x.spans[c]
		if !n.shape.has(consumes) || n.shape.has(isJob) || x.crosses(i, c) {
			continue
		}
		switch {
		case n.dropped > int32(len(n.inferred)):
			cs.unknown = LinksDropped
		case len(n.links)+len(n.inferred) == 0 && cs.unknown == "":
			cs.unknown = NotRecorded // a message that came without context
		}
		for _, list := range [2][]target{n.links, n.inferred} {
			for k := range list {
				t := &list[k]
				if t.TraceID == x.trace || seen[t.Ref] {
					continue
				}
				if seen == nil {
					seen = map[trace.Ref]bool{}
				}
				seen[t.Ref] = true
				cs.list = append(cs.list, cause{from: t.Ref, unsampled: t.unsampled, kind: KindBatch, rule: RuleBatch, via: c, inferred: t.by >= byMessageID})
				if t.unsure {
					cs.unknown = NotRecorded
				}
			}
		}
	}
	if len(cs.list) == 0 {
		return causes{} // not a batch of linked messages: the parent decides
	}
	if len(cs.list) > 1 {
		for k := range cs.list {
			cs.list[k].inferred = true
		}
	}
	return cs
}

// above reports whether span up is i or one of its ancestors.
func (x *index) above(i, up int32) bool {
	for steps := 0; i >= 0 && steps <= len(x.spans); steps++ {
		if i == up {
			return true
		}
		i = x.spans[i].parent
	}
	return false
}

// ownOrigin reports whether a root that nothing caused is where a chain begins:
// requests, clients, scripts and senders are, and so is what a clock began.
func (x *index) ownOrigin(i int32) bool {
	n := &x.spans[i]
	return !n.shape.has(consumes) || n.shape.has(scheduled)
}

// wait is the time from a producer's end to a consumer's start.
func wait(producerEnd, consumerStart int64) int64 { return max(0, consumerStart-producerEnd) }

// missing is the reason why the causing span is not there.
func (c *cause) missing() string {
	if c.unsampled {
		return SampledOut
	}
	return NotArrived
}

func compareRefs(a, b trace.Ref) int {
	return cmp.Or(bytes.Compare(a.TraceID[:], b.TraceID[:]), bytes.Compare(a.SpanID[:], b.SpanID[:]))
}
