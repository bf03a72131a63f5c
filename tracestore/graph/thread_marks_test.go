package graph

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// TestThreadOfExpiredTraces: traces whose spans are gone stay legs, drawn from
// their summaries, and what they set off hangs under them.
func TestThreadOfExpiredTraces(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	first := w.perform(w.enqueue(api, "api", "Split"), false, "worker", "Split")
	w.perform(w.enqueue(first, "worker", "Mail"), false, "mailer", "Mail", failed)
	g, m := testGraph(t, w.spans, Options{})
	m.Expire(root.TraceID)
	m.Expire(first.TraceID)
	th := threadOf(t, g, root.TraceID)
	want := []string{"request web POST /quotes", "  job worker default process by link", "    job mailer default process by link"}
	if diff := cmp.Diff(want, drawn(th, true)); diff != "" {
		t.Errorf("legs (-want +got):\n%s", diff)
	}
	for i, expired := range []bool{true, true, false} {
		if th.Legs[i].Expired != expired {
			t.Errorf("leg %d: expired = %v, want %v", i, th.Legs[i].Expired, expired)
		}
	}
	if r := th.Ripple; !th.Expired || r.Traces != 3 || r.Jobs != 2 || r.Errors != 1 || r.Requests != 1 || th.Selected != 0 {
		t.Errorf("expired=%v, selected %d, ripple %+v; want true, 0, 3 traces, 2 jobs, 1 request, 1 error", th.Expired, th.Selected, r)
	}
}

func TestThreadCountsBatches(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	sent := []trace.Ref{w.send(api, "api", "quotes"), w.send(api, "api", "quotes")}
	for range 3 {
		_, other := w.request("PUT /quotes")
		sent = append(sent, w.send(other, "api", "quotes"))
	}
	w.poll("dealers", "quotes", sent...)
	g, _ := testGraph(t, w.spans, Options{})
	l := threadOf(t, g, root.TraceID).Legs[2]
	if l.Name != "poll quotes" || l.Batch != 5 || l.BatchHere != 2 || l.Messages != 2 || !l.Inferred {
		t.Errorf("batch leg = %s with %d of %d, %d messages, inferred=%v; want poll quotes, 2 of 5, 2, true", l.Name, l.BatchHere, l.Batch, l.Messages, l.Inferred)
	}
}

// TestThreadNamesLinksThatWereDropped: a batch of which the SDK kept some.
func TestThreadNamesLinksThatWereDropped(t *testing.T) {
	var w workload
	_, api := w.request("POST /quotes")
	kept := w.send(api, "api", "quotes")
	batch := w.add(w.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"), link(kept), func(s *trace.Span) {
		s.Attributes = append(s.Attributes, trace.Attribute{Key: keyDroppedLinks, Value: trace.Int(372)})
	})
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, batch.TraceID)
	want := LinkCount{Of: SpanInfo{Ref: batch, Service: "dealers", Name: "quotes process"}, Recorded: 1, Dropped: 372}
	if th.Links == nil || *th.Links != want || th.Legs[0].Links == nil || *th.Legs[0].Links != want {
		t.Errorf("links = %+v, of the leg %+v; want %+v", th.Links, th.Legs[0].Links, want)
	}
}

// TestThreadEnds: what was sent and never taken is said, but a producer above
// another is no message of its own.
func TestThreadEnds(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	w.perform(w.enqueue(api, "api", "Mail"), false, "worker", "Mail")
	outer := w.add(api.TraceID, api.SpanID, "api", "Sync publish", trace.KindProducer, attr("messaging.system", "active_job"))
	w.perform(w.enqueue(outer, "api", "Sync"), false, "worker", "Sync")
	first := w.send(api, "api", "audit")
	w.send(api, "api", "audit")
	g, _ := testGraph(t, w.spans, Options{})
	ends := threadOf(t, g, root.TraceID).Ends
	if len(ends) != 1 || ends[0].Topic != "audit" || ends[0].Count != 2 || ends[0].First.Ref != first || ends[0].Leg != 1 || ends[0].Reason != NotArrived {
		t.Errorf("ends = %+v, want the two messages of audit, sent by leg 1", ends)
	}
}

func TestThreadLoops(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	first := w.perform(w.enqueue(api, "api", "Ping"), false, "worker", "Ping")
	second := w.perform(w.enqueue(first, "worker", "Pong"), false, "worker", "Pong")
	back := w.enqueue(second, "worker", "Ping")
	for i := range w.spans {
		if w.spans[i].SpanID == first.SpanID {
			w.spans[i].Links = append(w.spans[i].Links, trace.Link{TraceID: back.TraceID, SpanID: back.SpanID})
		}
	}
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, root.TraceID)
	if len(th.Loops) != 1 || th.Legs[th.Loops[0].From].SpanID != second.SpanID || th.Legs[th.Loops[0].To].SpanID != first.SpanID {
		t.Errorf("loops = %+v, want one from Pong back to Ping", th.Loops)
	}
	if len(th.Legs) != 4 || len(th.Ends) != 0 {
		t.Errorf("%d legs and ends %+v, want 4 and none", len(th.Legs), th.Ends)
	}
}

// TestThreadCritical adds up to the time from the origin to the last effect.
func TestThreadCritical(t *testing.T) {
	var w workload
	id := w.newTrace()
	root := w.add(id, trace.SpanID{}, "web", "POST /quotes", trace.KindServer, at(0, 100*time.Millisecond))
	sent := w.add(id, root.SpanID, "web", "default publish", trace.KindProducer, at(50*time.Millisecond, 10*time.Millisecond))
	w.perform(sent, false, "worker", "Early", at(70*time.Millisecond, 20*time.Millisecond))
	last := w.perform(sent, false, "worker", "Mail", at(time.Second, 300*time.Millisecond))
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, root.TraceID)
	want := []Step{{Leg: 0, Fold: -1, SelfNano: 60 * ms}, {Leg: 2, Fold: -1, SelfNano: 300 * ms, WaitNano: 940 * ms}}
	if diff := cmp.Diff(want, th.Critical); diff != "" || th.Legs[2].Ref != last {
		t.Errorf("critical (-want +got):\n%s", diff)
	}
}

// TestServicesHaveOneClock: what a slow clock's service sets off in itself is
// drawn later by as much, and keeps its wait.
func TestServicesHaveOneClock(t *testing.T) {
	var w workload
	_, api := w.request("POST /quotes")
	sent := w.enqueue(api, "api", "Split")
	slow := 3 * time.Second
	from := time.Duration(w.now)
	first := w.perform(sent, false, "worker", "Split", at(from-slow, 500*time.Millisecond))
	again := w.add(first.TraceID, first.SpanID, "worker", "default publish", trace.KindProducer, sidekiq("Mail"), at(from-slow+100*time.Millisecond, time.Millisecond))
	second := w.perform(again, false, "worker", "Mail", at(from-slow+time.Second, time.Millisecond))
	g, _ := testGraph(t, w.spans, Options{})
	legs := threadOf(t, g, second.TraceID).Legs
	if n := len(legs); legs[n-1].Ref != second || legs[n-1].SkewNano == 0 || legs[n-1].SkewNano != legs[n-2].SkewNano || legs[n-1].WaitNano != 899*ms {
		t.Errorf("legs = %+v, want both jobs drawn later by the same, and the second waiting 899 ms", legs)
	}
}

// TestThreadWithSelected: one of very many is read when it is asked for, and
// lists of a fold come in pages.
func TestThreadWithSelected(t *testing.T) {
	var w workload
	root, api := w.request("POST /import")
	sent := w.enqueue(api, "api", "Sync")
	var jobs []trace.Ref
	for i := range 1000 {
		var opts []opt
		if i%100 == 7 {
			opts = append(opts, failed)
		}
		jobs = append(jobs, w.perform(sent, false, "worker", "Sync", opts...))
	}
	g, _ := testGraph(t, w.spans, Options{})
	th, err := g.ThreadWith(context.Background(), root.TraceID, trace.SpanID{}, jobs[500])
	if err != nil {
		t.Fatal(err)
	}
	if th.Selected < 0 || th.Legs[th.Selected].Ref != jobs[500] || len(th.Folds) != 1 || len(th.Legs) > 20 || th.Ripple.Jobs != 1000 {
		t.Fatalf("selected %d of %d legs, %d folds, %d jobs; want %v among few, 1 fold, 1000 jobs", th.Selected, len(th.Legs), len(th.Folds), th.Ripple.Jobs, jobs[500])
	}
	f := &th.Folds[0]
	var ids []trace.ID
	for from := 0; ; from += 300 {
		page := f.List(ByStart, from, 300)
		for _, l := range page {
			ids = append(ids, l.TraceID)
		}
		if len(page) < 300 {
			break
		}
	}
	if len(ids) != f.Traces || !slices.IsSortedFunc(ids, func(a, b trace.ID) int { return slices.Compare(a[:], b[:]) }) {
		t.Errorf("the pages have %d traces, want all %d by start", len(ids), f.Traces)
	}
	if page := f.List(ByFailed, 0, 11); page[0].TraceID != jobs[7].TraceID || page[9].Errors != 1 || page[10].Errors != 0 {
		t.Errorf("failed first: %+v", page)
	}
	if page := f.List(ByStart, 5000, 10); len(page) != 0 {
		t.Errorf("beyond the end: %d traces", len(page))
	}
	other, _ := w.request("GET /cars")
	g, _ = testGraph(t, w.spans, Options{})
	if th, err := g.ThreadWith(context.Background(), root.TraceID, trace.SpanID{}, other); err != nil || th.Selected != -1 {
		t.Errorf("a span of another thread: selected %d, %v; want -1", th.Selected, err)
	}
	if th, err := g.ThreadWith(context.Background(), root.TraceID, trace.SpanID{}, trace.Ref{TraceID: trace.ID{9}}); err != nil || th.Selected != -1 {
		t.Errorf("a span that is not there: selected %d, %v; want -1", th.Selected, err)
	}
}
