package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// drawn is the legs of a thread as lines of text.
func drawn(t *Thread, how bool) []string {
	var out []string
	for _, l := range t.Legs {
		text := fmt.Sprintf("%s%s %s %s", strings.Repeat("  ", l.Depth), l.Work, l.Service, l.Name)
		if how && l.By != "" {
			text += " by " + string(l.By)
		}
		if l.Inferred {
			text += " inferred"
		}
		out = append(out, text)
	}
	return out
}

func threadOf(t *testing.T, g *Graph, id trace.ID) *Thread {
	t.Helper()
	th, err := g.Thread(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range th.Legs {
		if l.Cause >= i {
			t.Errorf("leg %d stands before its cause %d", i, l.Cause)
		}
		if l.WaitNano < 0 || l.BusyNano < 0 || l.DurationNano < 0 {
			t.Errorf("leg %d has a negative time: %+v", i, l)
		}
	}
	nodes := map[trace.ID]bool{}
	for _, n := range th.Nodes {
		if nodes[n.TraceID] {
			t.Errorf("trace %s is two nodes", n.TraceID)
		}
		nodes[n.TraceID] = true
	}
	for _, e := range th.Edges {
		if !nodes[e.From.TraceID] || !nodes[e.To.TraceID] {
			t.Errorf("edge %s>%s joins traces that are no nodes", e.From.Name, e.To.Name)
		}
	}
	return th
}

// quoteThread writes a request whose message sets off jobs that set off jobs,
// as children or as traces with links, and returns its root and its last job.
func quoteThread(w *workload, child bool) (root, last trace.Ref) {
	root, api := w.request("POST /quotes")
	sent := w.send(api, "api", "quotes")
	got := w.add(sent.TraceID, sent.SpanID, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"), link(sent))
	for range 2 {
		job := w.perform(w.enqueue(got, "dealers", "Notify"), child, "worker", "Notify")
		call := w.add(job.TraceID, job.SpanID, "worker", "GET", trace.KindClient)
		w.add(call.TraceID, call.SpanID, "api", "GET /quotes/:id", trace.KindServer)
		last = w.perform(w.enqueue(job, "worker", "Mail"), child, "worker", "Mail", failed)
	}
	return root, last
}

func TestThreadIsTheSameHoweverItIsRecorded(t *testing.T) {
	want := []string{
		"request web POST /quotes",
		"  request api POST /quotes",
		"    message dealers quotes process",
		"      job worker default process",
		"        request api GET /quotes/:id",
		"        job worker default process",
		"      job worker default process",
		"        request api GET /quotes/:id",
		"        job worker default process",
	}
	sorted := func(lines []string) map[string]int {
		m := map[string]int{}
		for _, l := range lines {
			m[l]++
		}
		return m
	}
	for _, child := range []bool{true, false} {
		var w workload
		root, last := quoteThread(&w, child)
		g, _ := testGraph(t, w.spans, Options{})
		for _, from := range []trace.ID{root.TraceID, last.TraceID} {
			th := threadOf(t, g, from)
			if th.Status != Found || th.Origin.Ref != root {
				t.Fatalf("child=%v: thread of %s starts at %v (%s), want %v", child, from, th.Origin, th.Status, root)
			}
			if diff := cmp.Diff(sorted(want), sorted(drawn(th, false))); diff != "" {
				t.Errorf("child=%v: legs (-want +got):\n%s", child, diff)
			}
			traces := 5
			if child {
				traces = 1
			}
			if len(th.Nodes) != traces || len(th.Edges) != traces-1 {
				t.Errorf("child=%v: %d nodes and %d edges, want %d and %d", child, len(th.Nodes), len(th.Edges), traces, traces-1)
			}
			r := th.Ripple
			r.BusyNano, r.WaitingNano, r.LastEffectNano = 0, 0, 0
			if want := (Ripple{Traces: traces, Spans: 18, Messages: 5, Jobs: 4, Requests: 3, Errors: 2}); r != want {
				t.Errorf("child=%v: ripple = %+v, want %+v", child, r, want)
			}
		}
	}
}

func TestThreadMeasures(t *testing.T) {
	var w workload
	id := w.newTrace()
	root := w.add(id, trace.SpanID{}, "web", "POST /quotes", trace.KindServer, at(0, 100*time.Millisecond))
	sent := w.add(id, root.SpanID, "web", "default publish", trace.KindProducer, at(50*time.Millisecond, 10*time.Millisecond))
	run := w.perform(sent, false, "worker", "Mail", at(time.Second, 300*time.Millisecond))
	w.add(run.TraceID, run.SpanID, "worker", "sql", trace.KindClient, at(1200*time.Millisecond, 200*time.Millisecond), failed)
	g, _ := testGraph(t, w.spans, Options{})
	got := threadOf(t, g, run.TraceID).Ripple
	want := Ripple{Traces: 2, Spans: 4, Messages: 1, Jobs: 1, Errors: 1, BusyNano: 500 * ms, WaitingNano: 940 * ms, LastEffectNano: 1400 * ms}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ripple (-want +got):\n%s", diff)
	}
}

func TestThreadCountsARunOnce(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	run := w.perform(w.enqueue(api, "api", "Wrapper"), false, "worker", "Wrapper")
	w.add(run.TraceID, run.SpanID, "worker", "Mail process", trace.KindConsumer, attr("messaging.system", "active_job"), attr("messaging.operation", "process"))
	add := w.bullAdd(api, "api", "Mail")
	for range 3 { // attempts are runs
		w.bullRun(add, "worker", "Mail", failed)
	}
	w.add(add.TraceID, add.SpanID, "worker", "complete mail", trace.KindInternal, bull("complete", "Mail"))
	g, _ := testGraph(t, w.spans, Options{})
	if got := threadOf(t, g, root.TraceID).Ripple.Jobs; got != 4 {
		t.Errorf("jobs = %d, want 4: one under its framework, and three attempts", got)
	}
}

// TestThreadOfARunToldTwice: ActiveJob's span inside Sidekiq's is no work of its own,
// whichever of the two is linked to what it was sent by.
func TestThreadOfARunToldTwice(t *testing.T) {
	for _, tc := range []struct {
		name         string
		outer, inner bool // have a link
		job          string
	}{{"both linked", true, true, "job worker default process"}, {"the queue alone", true, false, "job worker default process"},
		{"the framework alone", false, true, "job worker default process"}, {"by ids", false, false, "job worker default process inferred"}} {
		var w workload
		id, of := w.newTrace(), w.newTrace()
		sidekiq := []opt{attr("messaging.system", "sidekiq"), attr("messaging.destination", "default"), attr("messaging.message_id", "ab12cd34ab12cd34ab12cd34")}
		active := []opt{attr("messaging.system", "active_job"), attr("messaging.destination", "default"), attr("messaging.message.id", "0f1e2d3c-0000-4000-8000-0123456789ab")}
		add := func(id trace.ID, parent trace.SpanID, service, name string, kind trace.Kind, from, ms int, opts ...opt) trace.Ref {
			return w.add(id, parent, service, name, kind, append(opts, at(time.Duration(from)*time.Millisecond, time.Duration(ms)*time.Millisecond))...)
		}
		root := add(id, trace.SpanID{}, "web", "POST /mails", trace.KindServer, 0, 100)
		asked := add(id, root.SpanID, "web", "Mail publish", trace.KindProducer, 10, 3, append(active, attr("messaging.operation", "publish"))...)
		pushed := add(id, asked.SpanID, "web", "default publish", trace.KindProducer, 11, 1, append(sidekiq, attr("messaging.operation", "publish"))...)
		outer, inner := append(sidekiq, attr("messaging.operation", "process")), append(active, attr("messaging.operation", "process"))
		if tc.outer {
			outer = append(outer, link(pushed))
		}
		if tc.inner {
			inner = append(inner, link(asked))
		}
		if tc.outer != tc.inner { // nothing but the one link
			strip := func(s *trace.Span) {
				s.Attributes = slices.DeleteFunc(s.Attributes, func(a trace.Attribute) bool { return strings.HasPrefix(a.Key, "messaging.message") })
			}
			outer, inner = append(outer, strip), append(inner, strip)
		}
		run := add(of, trace.SpanID{}, "worker", "default process", trace.KindConsumer, 111, 50, outer...)
		add(of, run.SpanID, "worker", "Mail process", trace.KindConsumer, 112, 45, inner...)
		for range 2 {
			g, _ := testGraph(t, w.spans, Options{})
			asks := []trace.ID{id, of}
			if tc.inner && !tc.outer {
				asks = asks[:1] // of the outer span alone nobody knows the cause
			}
			for _, ask := range asks {
				th := threadOf(t, g, ask)
				if diff := cmp.Diff([]string{"request web POST /mails", "  " + tc.job}, drawn(th, false)); diff != "" {
					t.Errorf("%s: legs (-want +got):\n%s", tc.name, diff)
				}
				if r := th.Ripple; r.Jobs != 1 || r.WaitingNano != 99*ms || r.Traces != 2 || len(th.Loops) > 0 {
					t.Errorf("%s: ripple %+v, loops %v; want one job that waited 99 ms", tc.name, r, th.Loops)
				}
			}
			slices.Reverse(w.spans)
		}
	}
}

// TestThreadKeepsBatchesApart: what one message of a batch set off on its own
// belongs to its request alone; what was done for the batch belongs to both.
func TestThreadKeepsBatchesApart(t *testing.T) {
	var w workload
	root1, api1 := w.request("POST /quotes")
	_, api2 := w.request("PUT /quotes")
	receipt, handler := w.poll("dealers", "quotes", w.send(api1, "api", "quotes"), w.send(api2, "api", "quotes"))
	second := w.spans[len(w.spans)-2].Ref()
	w.perform(w.enqueue(second, "dealers", "ForSecond"), false, "worker", "ForSecond")
	w.perform(w.enqueue(handler, "dealers", "ForBoth"), false, "worker", "ForBoth")
	g, _ := testGraph(t, w.spans, Options{})

	th := threadOf(t, g, root1.TraceID)
	want := []string{
		"request web POST /quotes",
		"  request api POST /quotes by parent",
		"    message dealers poll quotes by link inferred",
		"      job worker default process by link",
	}
	if diff := cmp.Diff(want, drawn(th, true)); diff != "" {
		t.Errorf("legs of the first request (-want +got):\n%s", diff)
	}
	if th.Selected != 0 {
		t.Errorf("the thread of the root selects leg %d, want its own, 0", th.Selected)
	}
	if got := th.Legs[len(th.Legs)-1].Topic; got != "ForBoth" {
		t.Errorf("the job is %s, want ForBoth", got)
	}
	th, err := g.ThreadOfSpan(context.Background(), second.TraceID, second.SpanID)
	if err != nil {
		t.Fatal(err)
	}
	if th.Origin == nil || th.Origin.Name != "PUT /quotes" || th.Ripple.Jobs != 2 || th.Legs[th.Selected].Name != "poll quotes" {
		t.Errorf("thread of the second message = %v with %d jobs and leg %d selected, want PUT /quotes with 2 and the poll", th.Origin, th.Ripple.Jobs, th.Selected)
	}
	th = threadOf(t, g, receipt.TraceID)
	if th.Status != Ambiguous || th.Origin != nil || len(th.Candidates) != 2 || th.Start.Ref != receipt {
		t.Errorf("thread of the batch = %s from %v with %d candidates, want ambiguous from %v with 2", th.Status, th.Start, len(th.Candidates), receipt)
	}
}

// TestThreadOfAmbiguousJob starts where the ways to the candidates part.
func TestThreadOfAmbiguousJob(t *testing.T) {
	var w workload
	_, api1 := w.request("POST /quotes")
	_, api2 := w.request("PUT /quotes")
	receipt, handler := w.poll("dealers", "quotes", w.send(api1, "api", "quotes"), w.send(api2, "api", "quotes"))
	job := w.perform(w.enqueue(handler, "dealers", "ForBoth"), false, "worker", "ForBoth")
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, job.TraceID)
	if th.Status != Ambiguous || th.Start.Ref != receipt || len(th.Nodes) != 2 || len(th.Legs) != 2 {
		t.Errorf("thread = %s from %v with %d nodes and %d legs, want ambiguous from %v with 2 and 2",
			th.Status, th.Start, len(th.Nodes), len(th.Legs), receipt)
	}
}

// TestThreadLeavesAsidesOut: what the walk back would not cross, the walk
// forward does not follow.
func TestThreadLeavesAsidesOut(t *testing.T) {
	var w workload
	page, _ := w.request("GET /cars")
	root, _ := w.request("POST /quotes")
	w.spans[len(w.spans)-1].Links = []trace.Link{{TraceID: page.TraceID, SpanID: page.SpanID}}
	g, _ := testGraph(t, w.spans, Options{})
	if th := threadOf(t, g, page.TraceID); len(th.Nodes) != 1 || len(th.Edges) != 0 {
		t.Errorf("thread of the page = %d nodes and %d edges, want it alone: the linking span of %s has a caller", len(th.Nodes), len(th.Edges), root.TraceID)
	}
}

func TestThreadOfOneRequestsBatchIsSure(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	w.poll("dealers", "quotes", w.send(api, "api", "quotes"), w.send(api, "api", "quotes"))
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, root.TraceID)
	want := []string{"request web POST /quotes", "  request api POST /quotes", "    message dealers poll quotes"}
	if diff := cmp.Diff(want, drawn(th, false)); diff != "" {
		t.Errorf("legs (-want +got):\n%s", diff)
	}
	if len(th.Edges) != 2 || len(th.Nodes) != 2 || th.Legs[2].Spans != 4 {
		t.Errorf("%d edges, %d nodes, %d spans in the batch; want 2, 2 and 4", len(th.Edges), len(th.Nodes), th.Legs[2].Spans)
	}
}

func TestThreadOfUnknownOrigin(t *testing.T) {
	var w workload
	first := w.perform(trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}, false, "worker", "Notify")
	second := w.perform(w.enqueue(first, "worker", "Mail"), false, "worker", "Mail")
	g, m := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, second.TraceID)
	if th.Status != Unknown || th.Reason != NotArrived || th.Origin != nil || th.Start == nil || th.Start.Ref != first || len(th.Nodes) != 2 {
		t.Errorf("thread = %s %s from %v with %d nodes, want unknown not_arrived from %v with 2", th.Status, th.Reason, th.Start, len(th.Nodes), first)
	}
	if _, err := g.Thread(context.Background(), trace.ID{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("thread of an unknown trace: error %v, want ErrNotFound", err)
	}
	m.Expire(first.TraceID)
	th = threadOf(t, g, first.TraceID)
	if th.Status != Unknown || th.Reason != NotArrived || len(th.Nodes) != 2 || len(th.Edges) != 1 || th.Nodes[0].Name != "default process" {
		t.Errorf("thread of an expired trace = %s %s, %d nodes, %d edges; want unknown not_arrived, 2 and 1", th.Status, th.Reason, len(th.Nodes), len(th.Edges))
	}
}

func TestThreadGathersOrphans(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	lost := w.add(api.TraceID, trace.SpanID{9}, "dealers", "GET /dealers", trace.KindServer)
	w.perform(w.enqueue(lost, "dealers", "Mail"), false, "worker", "Mail")
	w.perform(trace.Ref{TraceID: api.TraceID, SpanID: trace.SpanID{8}}, false, "worker", "Mail") // its cause never arrived
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, root.TraceID)
	want := map[string]int{
		"request web POST /quotes": 1, "  request api POST /quotes by parent": 1, "  request dealers GET /dealers by parent inferred": 1,
		"    job worker default process by link": 1, "  job worker default process by link": 1,
	}
	got := map[string]int{}
	for _, l := range drawn(th, true) {
		got[l]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("legs (-want +got):\n%s", diff)
	}
}

func TestThreadCircle(t *testing.T) {
	var w workload
	first := w.perform(trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}, false, "worker", "Ping")
	second := w.perform(first, false, "worker", "Pong")
	w.spans[0].Links = []trace.Link{{TraceID: second.TraceID, SpanID: second.SpanID}}
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, second.TraceID)
	if th.Status != Unknown || !th.Truncated || len(th.Nodes) != 2 || len(th.Edges) != 2 || len(th.Legs) != 2 {
		t.Errorf("circle = %s truncated=%v, %d nodes, %d edges, %d legs; want unknown, cut, 2, 2, 2",
			th.Status, th.Truncated, len(th.Nodes), len(th.Edges), len(th.Legs))
	}
}

// fanOut writes a request with one producer whose message n jobs take.
func fanOut(w *workload, n int) trace.Ref {
	root, api := w.request("POST /quotes")
	sent := w.enqueue(api, "api", "Recalculate")
	for range n {
		w.perform(sent, false, "worker", "Recalculate")
	}
	return root
}

func TestThreadFanOutIsBounded(t *testing.T) {
	var w workload
	root := fanOut(&w, 10_000)
	m := NewMemory(nil, w.spans)
	g := New(onlySource{m}, Options{}) // that is, without summaries in numbers
	th := threadOf(t, g, root.TraceID)
	if len(th.Nodes) != g.o.MaxNodes || !th.Truncated || th.Ripple.Jobs != g.o.MaxNodes-1 {
		t.Errorf("fan-out: %d nodes, truncated=%v, %d jobs; want %d, true, %d", len(th.Nodes), th.Truncated, th.Ripple.Jobs, g.o.MaxNodes, g.o.MaxNodes-1)
	}
	if n := m.reads.Load(); n > int64(2*g.o.MaxNodes) {
		t.Errorf("fan-out took %d reads, want at most two a node", n)
	}
	for _, o := range []Options{{MaxThreadSpans: 500}, {MaxLinks: 100}, {MaxLegs: 50}} {
		g := New(onlySource{m}, o)
		if th := threadOf(t, g, root.TraceID); !th.Truncated || !th.Cut || len(th.Legs) > 700 {
			t.Errorf("%+v: truncated=%v with %d legs, want cut", o, th.Truncated, len(th.Legs))
		}
	}
}

func TestThreadOfLongChain(t *testing.T) {
	var w workload
	root, last := chain(&w, 1000)
	g, _ := testGraph(t, w.spans, Options{})
	th := threadOf(t, g, last.TraceID)
	if th.Origin == nil || th.Origin.Ref != root || len(th.Nodes) != 1001 || th.Ripple.Jobs != 1000 || th.Truncated {
		t.Errorf("chain: origin %v, %d nodes, %d jobs, truncated=%v; want %v, 1001, 1000, false", th.Origin, len(th.Nodes), th.Ripple.Jobs, th.Truncated, root)
	}
}

func TestThreadStopsWhenCanceled(t *testing.T) {
	var w workload
	root := fanOut(&w, 100)
	g, _ := testGraph(t, w.spans, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.Thread(ctx, root.TraceID); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
}

func TestNeighbours(t *testing.T) {
	var w workload
	_, api := w.request("POST /quotes")
	first := w.perform(w.enqueue(api, "api", "Notify"), false, "worker", "Notify")
	mails := w.enqueue(first, "worker", "Mail")
	w.perform(mails, false, "worker", "Mail")
	w.perform(mails, false, "worker", "Mail", failed)
	audit := w.send(first, "worker", "audit")
	w.add(w.newTrace(), trace.SpanID{}, "audit", "audit process", trace.KindConsumer, kafka("process", "audit"), link(audit))
	g, m := testGraph(t, w.spans, Options{})
	n, err := g.Neighbours(context.Background(), first.TraceID)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Causes) != 1 || !n.Causes[0].Known || n.Causes[0].Edge.From.Name != "default publish" || n.Causes[0].RootName != "POST /quotes" {
		t.Errorf("causes = %+v, want the publishing span of POST /quotes", n.Causes)
	}
	type row struct {
		From          trace.SpanID
		Name          string
		Work          Work
		Count, Errors int
	}
	var got []row
	for _, e := range n.Effects {
		got = append(got, row{e.From, e.Name, e.Work, e.Count, e.Errors})
	}
	want := []row{{mails.SpanID, "default process", WorkJob, 2, 1}, {audit.SpanID, "audit process", WorkMessage, 1, 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
	if n.Caused != 3 || n.Traces != 3 || n.Truncated || n.Origin.Status != Found {
		t.Errorf("caused %d in %d traces, truncated=%v, origin %s; want 3, 3, false, found", n.Caused, n.Traces, n.Truncated, n.Origin.Status)
	}
	m.Expire(api.TraceID)
	if n, err = g.Neighbours(context.Background(), first.TraceID); err != nil {
		t.Fatal(err)
	}
	if c := n.Causes[0]; c.Known || c.Reason != Expired || c.RootName != "POST /quotes" {
		t.Errorf("expired cause = %+v, want it named by its root and marked expired", c)
	}
}

// TestNeighboursOfMany: effects beyond those that are read have a name too, and
// an expired trace still says what caused it and what it caused.
func TestNeighboursOfMany(t *testing.T) {
	var w workload
	root, api := w.request("POST /import")
	first := w.perform(w.enqueue(api, "api", "Split"), false, "worker", "Split")
	sent := w.enqueue(first, "worker", "Sync")
	for i := range 1000 {
		opts := []opt{}
		if i%10 == 0 {
			opts = append(opts, failed)
		}
		w.perform(sent, false, "worker", "Sync", opts...)
	}
	g, m := testGraph(t, w.spans, Options{})
	for _, expired := range []bool{false, true} {
		if expired {
			m.Expire(first.TraceID)
		}
		n, err := g.Neighbours(context.Background(), first.TraceID)
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Effects) != 1 || n.Effects[0].Count != 1000 || n.Effects[0].Errors != 100 || n.Effects[0].Name != "default process" || n.Effects[0].Work != WorkJob {
			t.Errorf("expired=%v: effects = %+v, want 1000 of one name with 100 errors", expired, n.Effects)
		}
		if len(n.Causes) != 1 || !n.Causes[0].Known || n.Causes[0].RootName != "POST /import" || n.Causes[0].To != first {
			t.Errorf("expired=%v: causes = %+v, want the request", expired, n.Causes)
		}
		if n.Origin.Status != Found || n.Origin.Origins[0].Ref != root || n.Origin.Expired != expired {
			t.Errorf("expired=%v: origin = %+v, want %v", expired, n.Origin, root)
		}
	}
}
