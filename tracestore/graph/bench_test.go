package graph

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"redthread/tracestore/trace"
)

// tree writes a request that sets off jobs in traces of their own, perTrace
// spans each, and returns its root and the last job.
func tree(w *workload, traces, perTrace int) (root, last trace.Ref) {
	root, api := w.request("POST /quotes")
	level := []trace.Ref{api}
	for made := 1; made < traces; made++ {
		cause := level[0]
		level = level[1:]
		last = w.perform(w.enqueue(cause, "worker", "Recalculate"), false, "worker", "Recalculate")
		for i := 2; i < perTrace; i++ {
			w.add(last.TraceID, last.SpanID, "worker", "SELECT quotes", trace.KindClient,
				attr("db.system", "postgresql"), attr("db.statement", "SELECT * FROM quotes"), attr("server.address", "db-1"), attr("host.name", "web.1"))
		}
		level = append(level, last, last, last)
	}
	return root, last
}

func BenchmarkThread(b *testing.B) {
	for _, size := range []struct{ traces, perTrace int }{{10, 20}, {100, 100}, {1000, 100}} {
		b.Run(fmt.Sprintf("traces=%d/spans=%d", size.traces, size.traces*size.perTrace), func(b *testing.B) {
			var w workload
			root, _ := tree(&w, size.traces, size.perTrace)
			g, _ := testGraph(b, w.spans, Options{})
			b.ReportAllocs()
			for b.Loop() {
				t, err := g.Thread(context.Background(), root.TraceID)
				if err != nil || len(t.Nodes) != size.traces {
					b.Fatalf("thread = %d nodes, %v; want %d", len(t.Nodes), err, size.traces)
				}
			}
		})
	}
}

func BenchmarkOrigin(b *testing.B) {
	bench := func(name string, w *workload, ask trace.Ref, want int) {
		b.Run(name, func(b *testing.B) {
			g, _ := testGraph(b, w.spans, Options{})
			b.ReportAllocs()
			for b.Loop() {
				o, err := g.Origin(context.Background(), ask.TraceID, ask.SpanID)
				if err != nil || len(o.Origins) != want {
					b.Fatalf("origin = %v, %v; want %d", o, err, want)
				}
			}
		})
	}
	for _, hops := range []int{1, 10, 1000} {
		var w workload
		_, last := chain(&w, hops)
		bench(fmt.Sprintf("hops=%d", hops), &w, last, 1)
	}
	for _, size := range []int{10, 500} {
		var w workload
		var sent []trace.Ref
		for range size {
			_, api := w.request("POST /quotes")
			sent = append(sent, w.send(api, "api", "quotes"))
		}
		_, handler := w.poll("dealers", "quotes", sent...)
		bench(fmt.Sprintf("batch=%d", size), &w, handler, size)
	}
	var w workload
	_, last := tree(&w, 2, 10_000)
	bench("spans=10000", &w, last, 1)
}

func BenchmarkOrigins(b *testing.B) {
	const traces = 20_000
	var w workload
	tree(&w, traces, 2)
	g, _ := testGraph(b, w.spans, Options{})
	var ids []trace.ID
	for i := range w.spans {
		ids = append(ids, w.spans[i].TraceID)
	}
	ids = distinct(ids, len(ids))
	b.ReportAllocs()
	for b.Loop() {
		got, err := g.Origins(context.Background(), ids)
		if err != nil || got[len(got)-1].Origin.TraceID != ids[0] {
			b.Fatalf("origin of the last of %d traces = %+v, %v; want %s", len(ids), got[len(got)-1], err, ids[0])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ids)), "ns/trace")
}

// BenchmarkShortBatches sets what the origins of batches take that have more messages
// than links against what those of the same batches take that do not say so.
func BenchmarkShortBatches(b *testing.B) {
	const batches = 30_000
	ask := func(short bool) func() time.Duration {
		var w workload
		for range batches {
			_, api := w.request("POST /quotes")
			sent := w.send(api, "api", "quotes")
			if short {
				w.receive(sent, number(keyBatchCount, 3))
			} else {
				w.receive(sent)
			}
		}
		g, _ := testGraph(b, w.spans, Options{})
		ids := distinct(traceIDs(w.spans), len(w.spans))
		return func() time.Duration {
			began := time.Now()
			if _, err := g.Origins(b.Context(), ids); err != nil {
				b.Fatal(err)
			}
			if _, err := g.RipplesBetween(b.Context(), RippleQuery{From: dayOne, To: dayOne + int64(time.Hour), Buckets: 1}); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
	}
	short, whole := ask(true), ask(false)
	least := [2]time.Duration{math.MaxInt64, math.MaxInt64} // the others waited for something else
	for b.Loop() {
		runtime.GC()
		least[0] = min(least[0], short())
		runtime.GC()
		least[1] = min(least[1], whole())
	}
	b.ReportMetric(least[0].Seconds()/least[1].Seconds(), "short/whole")
}

// BenchmarkPolledBatches is what the origins of batches take whose messages have the
// links, of one message, of two of one request and of three requests.
func BenchmarkPolledBatches(b *testing.B) {
	var w workload
	polledBatches(&w, 1500)
	g, m := testGraph(b, w.spans, Options{})
	ids := distinct(traceIDs(w.spans), len(w.spans))
	before := m.reads.Load()
	for b.Loop() {
		if _, err := g.Origins(b.Context(), ids); err != nil {
			b.Fatal(err)
		}
		if _, err := g.RipplesBetween(b.Context(), RippleQuery{From: dayOne, To: dayOne + int64(time.Hour), Buckets: 1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ids)), "ns/trace")
	b.ReportMetric(float64(m.reads.Load()-before)/float64(b.N), "traces-read")
}
