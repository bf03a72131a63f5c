package graph

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"redthread/tracestore/trace"
)

// TestOriginsInNumbers: what is answered for many traces at once is what is
// answered for each.
func TestOriginsInNumbers(t *testing.T) {
	workloads := map[string]func(seed uint64) []trace.Span{
		"random": func(seed uint64) []trace.Span { return randomWorkload(rand.New(rand.NewPCG(seed, 1))) },
		"mix":    func(seed uint64) []trace.Span { spans, _ := encode(seed, "mix"); return spans },
	}
	statuses := map[Status]int{}
	differ := 0
	for name, spansOf := range workloads {
		for seed := range uint64(300) {
			spans := spansOf(seed)
			if hasCircle(spans) {
				continue
			}
			g, _ := testGraph(t, spans, Options{})
			var ids []trace.ID
			roots := map[trace.ID]int{}
			for i := range spans {
				if spans[i].ParentID.IsZero() || spans[i].ParentID == spans[i].SpanID {
					roots[spans[i].TraceID]++
				}
			}
			for i := range spans {
				ids = append(ids, spans[i].TraceID)
			}
			ids = append(distinct(ids, len(ids)), trace.ID{1})
			got, err := g.Origins(context.Background(), ids)
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				o, err := g.TraceOrigin(context.Background(), id)
				if errors.Is(err, ErrNotFound) {
					o = &Origin{Status: Unknown, Reason: NotArrived}
				} else if err != nil {
					t.Fatal(err)
				}
				want := TraceOrigin{Status: o.Status, Reason: o.Reason, Cause: got[i].Cause, Apart: got[i].Apart}
				if o.Status == Found {
					want.Origin = o.Origins[0].Ref
					if roots[want.Origin.TraceID] > 1 {
						want.Origin.SpanID = got[i].Origin.SpanID
					}
				}
				want.Origins = candidatesOf(o)
				statuses[o.Status]++
				if !sameOrigin(got[i], want) {
					differ++
					t.Errorf("%s, seed %d: origin of trace %s is %+v, want %+v", name, seed, id, got[i], want)
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
}

// candidatesOf are the candidates of an origin as [Graph.Origins] tells them.
func candidatesOf(o *Origin) (out []trace.Ref) {
	if o.Status == Ambiguous && len(o.Origins) <= MaxCandidates {
		for i := range o.Origins {
			out = append(out, o.Origins[i].Ref)
		}
	}
	return out
}

// sameOrigin compares origins, of several candidates the traces that they begin.
func sameOrigin(a, b TraceOrigin) bool {
	traces := func(o *TraceOrigin) []trace.ID {
		var ids []trace.ID
		for _, ref := range o.Origins {
			ids = append(ids, ref.TraceID)
		}
		o.Origins = nil
		slices.SortFunc(ids, func(a, b trace.ID) int { return bytes.Compare(a[:], b[:]) })
		return slices.Compact(ids)
	}
	return slices.Equal(traces(&a), traces(&b)) && reflect.DeepEqual(a, b)
}

// hasCircle reports whether parents of some trace form a circle: that only its
// spans tell.
func hasCircle(spans []trace.Span) bool {
	byTrace := map[trace.ID][]trace.Span{}
	for _, s := range spans {
		byTrace[s.TraceID] = append(byTrace[s.TraceID], s)
	}
	for _, list := range byTrace {
		if slices.Contains(Arrange(list).Parent, Circle) {
			return true
		}
	}
	return false
}
