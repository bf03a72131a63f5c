package graph

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"redthread/tracestore/trace"
)

// PlainSpan is as much of a span as tells the legs of a trace whose spans were not
// caused apart ([TraceOrigin].Apart is false) and in which nothing is received below
// the root: there parents, services and kinds suffice, and no span has to be read.
type PlainSpan struct {
	ID, Parent trace.SpanID
	Service    uint32 // any number, another one for another service
	Kind       trace.Kind
	Odd        Oddity // of its attributes
}

// Oddity is what makes more of a span than its kind says.
type Oddity uint8

const (
	// OddReceiver may receive messages or run a job whatever its kind.
	OddReceiver Oddity = 1 << iota
	// OddMessage may receive one if it has no kind: its name says.
	OddMessage
	// OddNote may be a note on its parent, sent as a span.
	OddNote
)

// keyAnnotation marks notes, see [annotation].
const keyAnnotation = "meta.annotation_type"

// OddKeys are the attributes of which [OddityOf] may say anything.
func OddKeys() []string {
	return append(slices.Sorted(maps.Keys(receiptKeys)), keyAnnotation)
}

// OddityOf is what an attribute makes of its span.
func OddityOf(key, value string) Oddity {
	receives := false
	switch key {
	case keyAnnotation:
		return OddNote
	case "messaging.operation", "messaging.operation.type", "messaging.operation.name":
		receives = consumeOps[strings.ToLower(value)]
	case "bullmq.queue.operation":
		receives = value == "process"
	case "type":
		receives = value == "job"
	case "span.type":
		receives = value == "worker"
	case "span.kind":
		receives = value == "consumer"
	case "faas.trigger":
		receives = value == "pubsub" || value == "datasource"
	case "messaging.system":
		return OddMessage
	default:
		receives = receiptKeys[key]
	}
	if receives {
		return OddReceiver
	}
	return 0
}

// PlainLegs finds what caused the spans of one trace, all of which are given: above[i]
// becomes the position of the span that called the leg of span i, or -1 where that is
// the leg of the root, which has the causes of the trace. It returns false if the
// trace is not plain: then [Graph.SpanCauses] has to be asked. scratch is kept for the
// next trace.
func PlainLegs(spans []PlainSpan, above []int32, scratch *[]int32) bool {
	byID := (*scratch)[:0]
	for i := range spans {
		byID = append(byID, int32(i))
	}
	*scratch = byID
	slices.SortFunc(byID, func(a, b int32) int { return bytes.Compare(spans[a].ID[:], spans[b].ID[:]) })
	for k := 1; k < len(byID); k++ {
		if a, b := &spans[byID[k-1]], &spans[byID[k]]; a.ID == b.ID && *a != *b {
			return false // two halves of one call; a row that was sent twice is no harm
		}
	}
	find := func(id trace.SpanID) int32 {
		k, ok := slices.BinarySearchFunc(byID, id, func(i int32, id trace.SpanID) int { return bytes.Compare(spans[i].ID[:], id[:]) })
		if !ok {
			return none
		}
		return byID[k]
	}
	const open, busy = -2, -3
	root := none
	for i := range spans {
		s := &spans[i]
		above[i] = open
		switch {
		case s.Odd&OddNote != 0:
			return false
		case s.Parent.IsZero() || s.Parent == s.ID:
			if root >= 0 && spans[root].ID != s.ID {
				return false
			}
			root, above[i] = int32(i), none
		case s.Odd&OddReceiver != 0 || s.Kind == trace.KindConsumer,
			s.Odd&OddMessage != 0 && (s.Kind == trace.KindUnspecified || s.Kind == trace.KindInternal):
			return false
		}
	}
	if root < 0 {
		return false
	}
	way := byID[len(byID):]
	for i := range spans {
		way = way[:0]
		at := int32(i)
		for above[at] == open {
			s := &spans[at]
			p := find(s.Parent)
			if p < 0 {
				return false
			}
			if by := &spans[p]; by.Service != s.Service || s.Kind == trace.KindServer && by.Kind == trace.KindClient { // see index.crosses
				above[at] = p
				break
			}
			above[at] = busy
			way = append(way, at)
			at = p
		}
		if above[at] == busy {
			return false // a circle
		}
		for _, below := range way {
			above[below] = above[at]
		}
	}
	return true
}
