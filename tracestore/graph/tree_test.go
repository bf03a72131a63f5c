package graph

import (
	"context"
	"math/rand/v2"
	"testing"

	"redthread/tracestore/trace"
)

// TestArrangeIsTheSameInAnyOrder: what hangs under what, and where a circle of
// parents is cut, does not depend on the order of arrival.
func TestArrangeIsTheSameInAnyOrder(t *testing.T) {
	cuts := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 9))
		n := 2 + rng.IntN(30)
		spans := make([]trace.Span, n)
		for i := range spans {
			spans[i] = trace.Span{SpanID: trace.SpanID{byte(1 + i - i%(1+rng.IntN(8)))}, ParentID: trace.SpanID{byte(rng.IntN(n + 3))},
				Service: string(rune('a' + rng.IntN(3))), Kind: trace.Kind(rng.IntN(6)), StartUnixNano: rng.Int64N(6), DurationNano: int64(i)}
		}
		want := parents(spans)
		for i := range spans {
			if want[spans[i].DurationNano] == int64(Circle) {
				cuts++
			}
		}
		for range 5 {
			rng.Shuffle(n, func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
			for i, p := range parents(spans) {
				if p != want[i] {
					t.Fatalf("seed %d: the parent of span %d is %d and, in another order, %d", seed, i, want[i], p)
				}
			}
		}
	}
	if cuts == 0 {
		t.Error("no circle was cut")
	}
}

// parents gives the parent of each span, both named by their durations, and
// fails by never ending if a circle is left.
func parents(spans []trace.Span) map[int64]int64 {
	tree := Arrange(spans)
	out := map[int64]int64{}
	for i, p := range tree.Parent {
		out[spans[i].DurationNano] = int64(p)
		if p >= 0 {
			out[spans[i].DurationNano] = spans[p].DurationNano
		}
		for p >= 0 {
			p = tree.Parent[p]
		}
	}
	return out
}

// TestCirclesHaveOneAnswer asks from every span of a circle, and from behind it.
func TestCirclesHaveOneAnswer(t *testing.T) {
	var w workload
	first := w.perform(trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}, false, "worker", "Ping")
	second := w.perform(w.enqueue(first, "worker", "Pong"), false, "worker", "Pong")
	third := w.perform(w.enqueue(second, "worker", "Pang"), false, "worker", "Pang")
	behind := w.perform(w.enqueue(third, "worker", "Mail"), false, "worker", "Mail")
	w.spans[0].Links = []trace.Link{{TraceID: third.TraceID, SpanID: third.SpanID}}
	w.spans[len(w.spans)-1].StartUnixNano = dayOne - 5*ms // a slow clock
	a := w.add(w.newTrace(), trace.SpanID{9}, "web", "a", trace.KindInternal)
	at := len(w.spans) - 1
	b := w.add(a.TraceID, a.SpanID, "web", "b", trace.KindInternal)
	c := w.add(a.TraceID, b.SpanID, "web", "c", trace.KindInternal)
	w.spans[at].ParentID = c.SpanID
	d := w.add(a.TraceID, c.SpanID, "web", "d", trace.KindInternal)
	g, _ := testGraph(t, w.spans, Options{})
	for _, tt := range []struct {
		cut trace.Ref
		ask []trace.Ref
	}{{first, []trace.Ref{first, second, third, behind}}, {a, []trace.Ref{a, b, c, d}}} {
		for _, ask := range tt.ask {
			o, err := g.Origin(context.Background(), ask.TraceID, ask.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			if o.Status != Unknown || o.Reason != NotRecorded || !o.Truncated || o.Furthest.Ref != tt.cut {
				t.Errorf("origin of %v = %s %s truncated=%v furthest %v, want unknown not_recorded, cut at %v", ask, o.Status, o.Reason, o.Truncated, o.Furthest, tt.cut)
			}
			th, err := g.ThreadOfSpan(context.Background(), ask.TraceID, ask.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			if th.Start.Ref != tt.cut || !th.Truncated || th.Selected < 0 {
				t.Errorf("thread of %v starts at %v, truncated=%v, selects %d; want it cut at %v", ask, th.Start, th.Truncated, th.Selected, tt.cut)
			}
		}
	}
}
