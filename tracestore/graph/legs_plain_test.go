package graph

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"redthread/tracestore/trace"
)

// TestPlainLegs: what parents, services and kinds tell of a trace is what the graph
// finds by reading it; and they tell of most traces that go on in another process.
func TestPlainLegs(t *testing.T) {
	ctx := context.Background()
	told, within, read := 0, 0, 0
	check := func(t *testing.T, name string, spans []trace.Span) {
		g, _ := testGraph(t, spans, Options{})
		byTrace := map[trace.ID][]trace.Span{}
		var ids []trace.ID
		for _, s := range spans {
			if s.Signal != trace.SignalSpan {
				continue
			}
			if byTrace[s.TraceID] == nil {
				ids = append(ids, s.TraceID)
			}
			byTrace[s.TraceID] = append(byTrace[s.TraceID], s)
		}
		whole, err := g.Origins(ctx, ids)
		if err != nil {
			t.Fatal(err)
		}
		var scratch []int32
		for k, id := range ids {
			if o := whole[k]; o.Apart || !o.Cause.TraceID.IsZero() && o.Cause.SpanID.IsZero() {
				continue
			}
			var plain []PlainSpan
			var refs []trace.Ref
			services := []string{}
			for _, s := range byTrace[id] {
				at := slices.Index(services, s.Service)
				if at < 0 {
					at = len(services)
					services = append(services, s.Service)
				}
				p := PlainSpan{ID: s.SpanID, Parent: s.ParentID, Service: uint32(at), Kind: s.Kind}
				for _, a := range s.Attributes {
					p.Odd |= OddityOf(a.Key, a.Value.Str)
				}
				plain, refs = append(plain, p), append(refs, s.Ref())
			}
			above := make([]int32, len(plain))
			if !PlainLegs(plain, above, &scratch) {
				read++
				continue
			}
			got, err := g.SpanCauses(ctx, refs)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				want := whole[k].Cause
				if above[i] >= 0 {
					want = refs[above[i]]
					within++
				}
				if told++; got[i] != want {
					t.Fatalf("%s: span %v is caused by %v, its columns say %v", name, refs[i], got[i], want)
				}
			}
		}
	}
	for seed := range uint64(300) {
		check(t, "random", randomWorkload(rand.New(rand.NewPCG(seed, 3))))
		for _, how := range encodings {
			if seed < 10 {
				spans, _ := encode(seed, how)
				check(t, string(how), spans)
			}
		}
	}
	if told < 2000 || within < 200 || read < 100 {
		t.Errorf("told of %d spans, %d of them caused within their trace; %d traces have to be read: too few to mean anything", told, within, read)
	}
}

// TestPlainLegsRefuses: a trace of which columns do not tell enough has to be read.
func TestPlainLegsRefuses(t *testing.T) {
	id := func(n byte) trace.SpanID { return trace.SpanID{n} }
	root := PlainSpan{ID: id(1), Kind: trace.KindServer}
	child := PlainSpan{ID: id(2), Parent: id(1), Service: 1}
	with := func(change func(s *PlainSpan)) PlainSpan {
		s := child
		change(&s)
		return s
	}
	for name, spans := range map[string][]PlainSpan{
		"no root":        {child},
		"two roots":      {root, {ID: id(2)}},
		"missing parent": {root, with(func(s *PlainSpan) { s.Parent = id(9) })},
		"shared id":      {root, child, with(func(s *PlainSpan) { s.Kind = trace.KindClient })},
		"consumer":       {root, with(func(s *PlainSpan) { s.Kind = trace.KindConsumer })},
		"receiver":       {root, with(func(s *PlainSpan) { s.Odd = OddityOf("messaging.operation", "Process") })},
		"note":           {root, with(func(s *PlainSpan) { s.Odd = OddityOf("meta.annotation_type", "span_event") })},
		"circle":         {root, {ID: id(2), Parent: id(3)}, {ID: id(3), Parent: id(2)}},
	} {
		if PlainLegs(spans, make([]int32, len(spans)), new([]int32)) {
			t.Errorf("%s: the columns are said to tell enough", name)
		}
	}
	above := make([]int32, 3)
	if !PlainLegs([]PlainSpan{root, child, child}, above, new([]int32)) || !slices.Equal(above, []int32{-1, 0, 0}) {
		t.Errorf("a call into another service, sent twice, is under %v, want [-1 0 0]", above)
	}
}
