package graph

import (
	"bytes"
	"cmp"
	"context"

	"redthread/tracestore/trace"
)

// maxSeek bounds the ancestors that are read one by one in a trace too large to
// be read whole.
const maxSeek = 1000

// seek reads a span, and its ancestors up to one that is known, into the index
// of a trace that was not read whole. Positions of spans do not change.
func (s *session) seek(ctx context.Context, x *index, id trace.SpanID) error {
	if !x.truncated || s.g.edges == nil {
		return nil
	}
	from := len(x.spans)
	seen := map[trace.SpanID]bool{}
	for range maxSeek {
		if id.IsZero() || seen[id] || x.find(id, "") >= 0 {
			break
		}
		seen[id] = true
		got, err := s.g.edges.SpansOf(ctx, []trace.Ref{{TraceID: x.trace, SpanID: id}})
		if err != nil {
			return err
		}
		if len(got) == 0 {
			break
		}
		// Of halves that share the id the callee's is the one that others hang
		// under; its parent is the caller's, or the caller itself.
		best := &got[0]
		for i := range got {
			if halfRank(got[i].Kind) > halfRank(best.Kind) {
				best = &got[i]
			}
		}
		x.add(s.g.rules.Load().read(best))
		id = best.ParentID
	}
	if len(x.spans) == from {
		return nil
	}
	x.rehang(from)
	return s.g.join(ctx, []*index{x}, from)
}

// add appends a span to the index; it is not hung up yet.
func (x *index) add(n span) {
	at := int32(len(x.spans))
	n.parent = Absent
	if n.parentID.IsZero() || n.parentID == n.id {
		n.parent = Root
	}
	x.spans = append(x.spans, n)
	x.tree.Parent = append(x.tree.Parent, n.parent)
	x.tree.Half = append(x.tree.Half, 0)
	x.tree.byID[n.id] = at
}

// rehang finds the parents that were absent before the spans from one on came.
func (x *index) rehang(from int) {
	earlier := func(a, b int32) bool { return before(x, a, x, b) }
	for i := range x.spans {
		if n := &x.spans[i]; n.parent == Absent {
			x.tree.Parent[i] = x.find(n.parentID, n.service)
		}
	}
	x.tree.cut(earlier)
	for i := range x.spans {
		x.spans[i].parent = x.tree.Parent[i]
	}
	for i := int32(from); i < int32(len(x.spans)); i++ {
		if earlier(i, x.first) {
			x.first = i
		}
		if x.spans[i].parent == Root && (x.root < 0 || earlier(i, x.root)) {
			x.root = i
		}
	}
	x.senders = nil
	x.hang()
}

// before orders spans by start, whatever the order they were read in.
func before(x *index, i int32, y *index, j int32) bool {
	a, b := &x.spans[i], &y.spans[j]
	return cmp.Or(cmp.Compare(a.start, b.start), bytes.Compare(x.trace[:], y.trace[:]), bytes.Compare(a.id[:], b.id[:]),
		cmp.Compare(halfRank(a.kind), halfRank(b.kind))) < 0
}
