package graph

import (
	"context"
	"math/rand/v2"
	"testing"

	"redthread/tracestore/trace"
)

// TestSpanOrigins: what is answered for many spans at once, with what was caused
// apart in their traces, is what is answered for each; and in traces that nothing
// was caused apart in, the trace answers for its spans.
func TestSpanOrigins(t *testing.T) {
	workloads := map[string]func(seed uint64) []trace.Span{
		"random": func(seed uint64) []trace.Span { return randomWorkload(rand.New(rand.NewPCG(seed, 1))) },
		"mix":    func(seed uint64) []trace.Span { spans, _ := encode(seed, "mix"); return spans },
	}
	ctx := context.Background()
	differ, apart, statuses := 0, 0, map[Status]int{}
	for name, spansOf := range workloads {
		for seed := range uint64(300) {
			spans := spansOf(seed)
			if hasCircle(spans) || hasRoots(spans) {
				continue
			}
			g, _ := testGraph(t, spans, Options{})
			var refs []trace.Ref
			var ids []trace.ID
			for i := range spans {
				refs, ids = append(refs, spans[i].Ref()), append(ids, spans[i].TraceID)
			}
			got, err := g.SpanOrigins(ctx, refs)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := g.Origins(ctx, ids)
			if err != nil {
				t.Fatal(err)
			}
			for i, ref := range refs {
				o, err := g.Origin(ctx, ref.TraceID, ref.SpanID)
				if err != nil {
					t.Fatal(err)
				}
				if o.Circle || o.Truncated {
					continue
				}
				want := TraceOrigin{Status: o.Status, Reason: o.Reason}
				if o.Status == Found {
					want.Origin = o.Origins[0].Ref
				}
				want.Origins = candidatesOf(o)
				one := func(o TraceOrigin) TraceOrigin {
					if o.Status == Unknown { // of several reasons any
						o.Reason = ""
					}
					o.Cause, o.Apart = trace.Ref{}, false
					return o
				}
				statuses[o.Status]++
				if !sameOrigin(one(got[i]), one(want)) {
					differ++
					t.Errorf("%s, seed %d: origin of %v is %+v, want %+v", name, seed, ref, got[i], want)
				}
				// Of random links several may lead to one origin: hops then name any.
				if n := len(o.Hops); o.Status == Found && n > 0 && name == "mix" {
					if from := o.Hops[n-1].From.Ref; got[i].Cause != from {
						differ++
						t.Errorf("%s, seed %d: cause of %v is %v, want %v", name, seed, ref, got[i].Cause, from)
					}
				}
				if whole[i].Apart {
					apart++
				} else if !sameOrigin(one(whole[i]), one(want)) {
					differ++
					t.Errorf("%s, seed %d: the trace of %v is not apart and has %+v, its span %+v", name, seed, ref, whole[i], want)
				}
			}
			if differ > 3 {
				t.FailNow()
			}
		}
	}
	for _, s := range []Status{Found, Ambiguous, Unknown} {
		if statuses[s] == 0 {
			t.Errorf("no origin was %s: %v", s, statuses)
		}
	}
	if apart == 0 {
		t.Error("no span was of a trace whose spans were caused apart")
	}
}

// hasRoots reports whether some trace has several roots.
func hasRoots(spans []trace.Span) bool {
	roots := map[trace.ID]int{}
	for i := range spans {
		if spans[i].ParentID.IsZero() || spans[i].ParentID == spans[i].SpanID {
			if roots[spans[i].TraceID]++; roots[spans[i].TraceID] > 1 {
				return true
			}
		}
	}
	return false
}

// TestSpanOriginsOfManyBatches: how many traces one origin may pass through is not what
// the origins of many spans may together.
func TestSpanOriginsOfManyBatches(t *testing.T) {
	var w workload
	var handlers []trace.Ref
	for range 30 {
		var sent []trace.Ref
		for range 50 {
			_, api := w.request("POST /quotes")
			sent = append(sent, w.send(api, "api", "quotes"))
		}
		_, handler := w.poll("dealers", "quotes", sent...)
		handlers = append(handlers, handler)
	}
	g, _ := testGraph(t, w.spans, Options{MaxReads: 60})
	got, err := g.SpanOrigins(t.Context(), handlers)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range got {
		if o.Status != Ambiguous || len(o.Origins) != 50 {
			t.Errorf("batch %d of 50 messages: %d origins, %s %s", i, len(o.Origins), o.Status, o.Reason)
		}
	}
}
