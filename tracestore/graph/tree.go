package graph

import (
	"bytes"
	"cmp"
	"slices"

	"redthread/tracestore/trace"
)

// What stands in [Tree.Parent] for a span without a parent.
const (
	Root   int32 = -1 // it names none
	Absent int32 = -2 // the one it names is not among the spans
	Circle int32 = -3 // its parents led back to it: the circle is cut here
)

// Tree says how the spans of one trace hang together. Whoever walks or draws a
// trace takes it from here, so that all give one answer for what senders make
// of parents: ids shared by caller and callee, spans that are their own parent,
// and circles. It does not depend on the order of the spans.
type Tree struct {
	// Parent holds, by the position of a span, that of its parent, or one of
	// Root, Absent and Circle. Following it always ends.
	Parent []int32
	// Half is 0, or the rank of a span among those that share its id: Zipkin's
	// caller and callee do, the caller is 0.
	Half []int32

	byID   map[trace.SpanID]int32 // the first of those that share an id
	halves map[trace.SpanID][]int32
}

// Arrange finds the parents of the spans of one trace.
func Arrange(spans []trace.Span) *Tree {
	t := &Tree{Parent: make([]int32, len(spans)), Half: make([]int32, len(spans)), byID: make(map[trace.SpanID]int32, len(spans))}
	for i := range spans {
		id, at := spans[i].SpanID, int32(i)
		first, shared := t.byID[id]
		if !shared {
			t.byID[id] = at
			continue
		}
		if t.halves == nil {
			t.halves = map[trace.SpanID][]int32{}
		}
		if t.halves[id] == nil {
			t.halves[id] = []int32{first}
		}
		t.halves[id] = append(t.halves[id], at)
	}
	for id, halves := range t.halves {
		slices.SortStableFunc(halves, func(a, b int32) int {
			s, o := &spans[a], &spans[b]
			return cmp.Or(cmp.Compare(halfRank(s.Kind), halfRank(o.Kind)), cmp.Compare(s.StartUnixNano, o.StartUnixNano),
				cmp.Compare(o.DurationNano, s.DurationNano), cmp.Compare(s.Service, o.Service), cmp.Compare(s.Name, o.Name))
		})
		t.byID[id] = halves[0]
		for rank, at := range halves {
			t.Half[at] = int32(rank)
		}
	}
	service := func(i int32) string { return spans[i].Service }
	for i := range spans {
		s := &spans[i]
		first := t.byID[s.SpanID]
		switch {
		case t.Half[i] > 0 && (s.ParentID == spans[first].ParentID || s.ParentID == s.SpanID):
			t.Parent[i] = first // the callee's half of a span shared by both sides
		case s.ParentID.IsZero() || s.ParentID == s.SpanID:
			t.Parent[i] = Root
		default:
			t.Parent[i] = t.find(s.ParentID, s.Service, service)
		}
	}
	t.cut(func(a, b int32) bool { return earlier(&spans[a], &spans[b]) })
	return t
}

// find returns the span of an id, Absent if there is none. Of halves that share
// it, it is the one of the service, else the callee's.
func (t *Tree) find(id trace.SpanID, service string, serviceOf func(int32) string) int32 {
	if halves := t.halves[id]; len(halves) > 0 {
		for i := len(halves) - 1; i >= 0; i-- {
			if serviceOf(halves[i]) == service {
				return halves[i]
			}
		}
		return halves[len(halves)-1]
	}
	if at, ok := t.byID[id]; ok {
		return at
	}
	return Absent
}

// cut opens each circle of parents at its earliest span; of several as early,
// at the one with the lowest id.
func (t *Tree) cut(earlier func(a, b int32) bool) {
	const fresh, onTheWay, done = 0, 1, 2
	state := make([]uint8, len(t.Parent))
	var way []int32
	for i := range t.Parent {
		way = way[:0]
		at := int32(i)
		for at >= 0 && state[at] == fresh {
			state[at] = onTheWay
			way = append(way, at)
			at = t.Parent[at]
		}
		if at >= 0 && state[at] == onTheWay {
			first := at
			for j := t.Parent[at]; j != at; j = t.Parent[j] {
				if earlier(j, first) {
					first = j
				}
			}
			t.Parent[first] = Circle
		}
		for _, j := range way {
			state[j] = done
		}
	}
}

// earlier orders spans of one trace by start, whatever their order of arrival.
func earlier(a, b *trace.Span) bool {
	return cmp.Or(cmp.Compare(a.StartUnixNano, b.StartUnixNano), bytes.Compare(a.SpanID[:], b.SpanID[:]),
		cmp.Compare(halfRank(a.Kind), halfRank(b.Kind)), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name)) < 0
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
