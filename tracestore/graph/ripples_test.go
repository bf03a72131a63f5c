package graph

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"redthread/tracestore/trace"
)

// TestRipplesAgreeWithThreads: what is counted for many threads at once is what
// each thread counts.
func TestRipplesAgreeWithThreads(t *testing.T) {
	for _, as := range encodings {
		for seed := range uint64(20) {
			spans, _ := encode(seed, as)
			checkRipples(t, fmt.Sprintf("%s, seed %d", as, seed), spans, Ripple{})
		}
	}
	var w workload
	tree(&w, 300, 3)
	checkRipples(t, "tree", w.spans, Ripple{})
	w = workload{}
	chain(&w, 40)
	checkRipples(t, "chain", w.spans, Ripple{})

	// Messages of several requests in one batch, each with a job of its own, and
	// one job for all of them.
	w = workload{}
	var sent []trace.Ref
	for range 5 {
		_, api := w.request("POST /quotes")
		sent = append(sent, w.send(api, "api", "quotes"))
	}
	receipt, handler := w.poll("dealers", "quotes", sent...)
	for i := range w.spans {
		if s := w.spans[i]; s.TraceID == receipt.TraceID && s.Kind == trace.KindConsumer {
			w.perform(w.enqueue(s.Ref(), "dealers", "Mail"), false, "worker", "Mail", failed)
		}
	}
	w.perform(w.enqueue(handler, "dealers", "Index"), false, "worker", "Index")
	checkRipples(t, "batch", w.spans, Ripple{Messages: 4, Spans: 8}) // the other four receipts and their sendings in the trace of the batch
}

// TestRunsToldTwice: of a run that its queue and the framework above it tell of, one
// is counted, whichever of the spans comes first; a job inside another one's process
// by a message of its own is a run more.
func TestRunsToldTwice(t *testing.T) {
	captured, _ := readCapture(t, "rails")
	var spans []trace.Span
	runs := 0
	for _, s := range captured {
		spans = append(spans, s)
		if sh, _ := shapeOf(&s); !sh.jobRun() {
			continue
		}
		runs++
		// ActiveJob's span and, as some applications have, one of their own in it.
		inner := s
		inner.SpanID[0] ^= 0xff
		inner.ParentID, inner.Links, inner.DurationNano = s.SpanID, nil, s.DurationNano/2
		inner.Attributes = []trace.Attribute{{Key: "messaging.system", Value: trace.String("active_job")}, {Key: "messaging.operation", Value: trace.String("process")}}
		own := inner
		own.SpanID[1] ^= 0xff
		own.ParentID = inner.SpanID
		own.Attributes = nil
		own.Kind = trace.KindInternal
		spans = append(spans, inner, own)
	}
	if runs == 0 {
		t.Fatal("the capture has no runs")
	}
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		rnd.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
		_, m := testGraph(t, spans, Options{})
		n := 0
		for _, sum := range m.summaries {
			n += sum.Jobs
		}
		if n != runs {
			t.Errorf("seed %d: summaries count %d runs, want %d", seed, n, runs)
		}
	}
	checkRipples(t, "rails", spans, Ripple{})
}

// TestRipplesOfLateEffects: an effect counts whenever it came, if it is recorded.
func TestRipplesOfLateEffects(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	run := w.perform(w.enqueue(api, "api", "Renew"), false, "worker", "Renew", at(40*24*time.Hour, time.Second))
	w.perform(w.enqueue(run, "worker", "Mail"), false, "worker", "Mail", at(41*24*time.Hour, time.Second))
	g, m := testGraph(t, w.spans, Options{})
	m.Expire(run.TraceID)
	got, err := g.Ripples(context.Background(), []trace.ID{root.TraceID, run.TraceID})
	if err != nil {
		t.Fatal(err)
	}
	if r := got[0]; r.Traces != 3 || r.Jobs != 2 || r.Messages != 2 || r.LastEffectNano < int64(41*24*time.Hour) {
		t.Errorf("ripple of the request = %+v; want 3 traces, 2 jobs, 2 messages, the last 41 days later", r)
	}
	if got[1] != (Ripple{}) {
		t.Errorf("ripple of a job that was caused = %+v, want nothing", got[1])
	}
}

// checkRipples compares the ripples of all traces with their threads, which count
// of a trace they share with others only their own part: so much less.
func checkRipples(t *testing.T, name string, spans []trace.Span, shared Ripple) {
	t.Helper()
	ctx := context.Background()
	g, _ := testGraph(t, spans, Options{FoldAbove: 1 << 20})
	var ids []trace.ID
	for i := range spans {
		ids = append(ids, spans[i].TraceID)
	}
	ids = distinct(ids, len(ids))
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	got, err := g.Ripples(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	begun := 0
	for i, id := range ids {
		th, err := g.Thread(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		want := Ripple{}
		if th.Origin != nil && th.Origin.TraceID == id {
			want = th.Ripple
			want.sum(&shared)
			begun++
		}
		// What only spans tell.
		want.BusyNano, want.WaitingNano = got[i].BusyNano, 0
		if (want.Traces > 0) != (got[i].BusyNano > 0) {
			t.Errorf("%s: busy time of %d traces is %d", name, want.Traces, got[i].BusyNano)
		}
		if got[i] != want {
			t.Errorf("%s: ripple of trace %s is %+v, its thread says %+v", name, id, got[i], want)
		}
	}
	if begun == 0 {
		t.Errorf("%s: no trace begins a thread", name)
	}
}
