package graph

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// encoding is how a workload tells what caused its messages and jobs.
type encoding string

var encodings = []encoding{"child", "link", "child_trace", "ids", "mix"}

// encode writes the same seeded workload, span for span, in an encoding. The
// ids of spans are the same in all, those of traces are not.
func encode(seed uint64, as encoding) (spans []trace.Span, root trace.Ref) {
	plan, how := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	var w workload
	ids := map[trace.SpanID]opt{}
	var work func(under trace.Ref, service string, depth int)
	// receive writes the receipt of what a producer sent.
	receive := func(sent trace.Ref, service, name string, opts ...opt) trace.Ref {
		if ids[sent.SpanID] == nil {
			ids[sent.SpanID] = attr("messaging.message.id", fmt.Sprintf("%024x", uint64(len(ids)+1)*0x9e3779b97f4a7c15))
			for i := range w.spans {
				if w.spans[i].SpanID == sent.SpanID {
					ids[sent.SpanID](&w.spans[i])
				}
			}
		}
		opts = append(opts, ids[sent.SpanID])
		fresh := w.newTrace()
		e := as
		if as == "mix" {
			e = encodings[how.IntN(4)]
		}
		switch e {
		case "child":
			return w.add(sent.TraceID, sent.SpanID, service, name, trace.KindConsumer, opts...)
		case "link":
			opts = append(opts, link(sent))
		case "child_trace":
			opts = append(opts, attr("parent.trace_id", sent.TraceID.String()))
		}
		return w.add(fresh, trace.SpanID{}, service, name, trace.KindConsumer, opts...)
	}
	work = func(under trace.Ref, service string, depth int) {
		for range plan.IntN(5 - depth) {
			switch plan.IntN(5) {
			case 0:
				call := w.add(under.TraceID, under.SpanID, service, "GET", trace.KindClient)
				work(w.add(call.TraceID, call.SpanID, "api", "GET /dealers", trace.KindServer), "api", depth+1)
			case 1, 2:
				sent := w.send(under, service, "quotes")
				to := fmt.Sprintf("dealers-%d", plan.IntN(3))
				work(receive(sent, to, "process quotes", kafka("process", "quotes")), to, depth+1)
			case 3:
				class := fmt.Sprintf("Job%d", plan.IntN(3))
				sent := w.enqueue(under, service, class)
				for range 1 + plan.IntN(6)/5 { // sometimes a second attempt
					var fails []opt
					if plan.IntN(4) == 0 {
						fails = append(fails, failed)
					}
					work(receive(sent, "worker", "default process", append(fails, sidekiq(class), attr("messaging.operation", "process"))...), "worker", depth+1)
				}
			default:
				w.add(under.TraceID, under.SpanID, service, "SELECT", trace.KindClient)
			}
		}
	}
	root, api := w.request("POST /quotes")
	work(api, "api", 0)
	work(root, "web", 0)
	return w.spans, root
}

// TestEncodingsGiveOneThread: a workload gives the same legs in the same order,
// and the same measures, however its senders record it.
func TestEncodingsGiveOneThread(t *testing.T) {
	seen := map[Kind]int{}
	legs := 0
	for seed := range uint64(120) {
		var want []string
		var ripple Ripple
		for _, as := range encodings {
			spans, root := encode(seed, as)
			last := spans[len(spans)-1].Ref()
			rng := rand.New(rand.NewPCG(seed, 3))
			rng.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
			g := New(NewMemory(nil, append(spans, spans[:len(spans)/2]...)), Options{})
			th, err := g.ThreadOfSpan(context.Background(), last.TraceID, last.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			if th.Status != Found || th.Origin.Ref.SpanID != root.SpanID || th.Truncated {
				t.Fatalf("seed %d as %s: thread of %v is %s %s from %v, truncated=%v; want found from %v", seed, as, last, th.Status, th.Reason, th.Origin, th.Truncated, root)
			}
			var got []string
			for _, l := range th.Legs {
				line := fmt.Sprintf("%d %s %s %s %x", l.Depth, l.Work, l.Service, l.Name, l.SpanID)
				if l.Cause >= 0 {
					line += fmt.Sprintf(" by %x of %x, waited %d", l.From.SpanID, th.Legs[l.Cause].SpanID, l.WaitNano)
					seen[l.By]++
				}
				got = append(got, line)
				if by, ok := map[encoding]Kind{"child": KindParent, "link": KindLink, "child_trace": KindChildTrace, "ids": KindMessageID}[as]; ok &&
					l.Kind == trace.KindConsumer && l.By != by || l.By == KindMessageID != l.Inferred {
					t.Errorf("seed %d as %s: %s is said to be caused by %s, inferred=%v", seed, as, line, l.By, l.Inferred)
				}
			}
			th.Ripple.Traces, th.Ripple.BusyNano = 0, 0 // the traces, and so their length, depend on the sender
			if as == encodings[0] {
				want, ripple = got, th.Ripple
				legs += len(got)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d as %s (-child +%s):\n%s", seed, as, as, diff)
			}
			if diff := cmp.Diff(ripple, th.Ripple); diff != "" {
				t.Errorf("seed %d as %s: ripple (-child +%s):\n%s", seed, as, as, diff)
			}
			if t.Failed() {
				return
			}
		}
	}
	for _, k := range []Kind{KindParent, KindLink, KindChildTrace, KindMessageID} {
		if seen[k] == 0 {
			t.Errorf("no leg by %s", k)
		}
	}
	if legs < 500 {
		t.Errorf("only %d legs were compared", legs)
	}
}

// TestEncodingsWithoutAService: with the spans of a service left out, no span
// gets another origin than it has: the same, or unknown with a reason.
func TestEncodingsWithoutAService(t *testing.T) {
	for seed := range uint64(30) {
		for _, as := range encodings {
			spans, root := encode(seed, as)
			for _, without := range []string{"web", "api", "dealers-0", "dealers-1", "worker"} {
				kept := slices.DeleteFunc(slices.Clone(spans), func(s trace.Span) bool { return s.Service == without })
				g := New(NewMemory(nil, kept), Options{})
				for i := range kept {
					o, err := g.Origin(context.Background(), kept[i].TraceID, kept[i].SpanID)
					if err != nil {
						t.Fatal(err)
					}
					if o.Status == Found && o.Origins[0].SpanID == root.SpanID || o.Status == Unknown && o.Reason != "" && o.Furthest != nil {
						continue
					}
					t.Errorf("seed %d as %s without %s: origin of %v %s is %s %s %v, want %v or unknown", seed, as, without, kept[i].Ref(), kept[i].Name, o.Status, o.Reason, o.Origins, root)
				}
			}
		}
	}
}
