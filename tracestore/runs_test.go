package tracestore

import (
	"fmt"
	"slices"
	"testing"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// TestRunsToldTwice: a queue and the framework above it tell of a run both, and it
// counts once, whichever comes first, in memory, on disk and found again.
func TestRunsToldTwice(t *testing.T) {
	h := start(t, Options{})
	var spans []trace.Span
	var ids []trace.ID
	for i := range 40 {
		outer := trace.Span{TraceID: traceID(i / 2), SpanID: spanID(2 * i), Service: "worker", Name: "PriceJob process", Kind: trace.KindConsumer, Environment: "default",
			StartUnixNano: testClock.UnixNano() - 1e9, DurationNano: 1e6, Attributes: []trace.Attribute{{Key: "messaging.system", Value: trace.String("sidekiq")}}}
		inner := outer
		inner.SpanID, inner.ParentID = spanID(2*i+1), outer.SpanID
		inner.Attributes = []trace.Attribute{{Key: "messaging.system", Value: trace.String("active_job")}}
		if spans = append(spans, inner, outer); i%2 == 1 {
			spans[len(spans)-1], spans[len(spans)-2] = outer, inner
			ids = append(ids, outer.TraceID)
		}
	}
	want := func(when string) {
		t.Helper()
		sums, err := h.Summaries(t.Context(), ids)
		must(t, err)
		for _, sum := range sums {
			if sum.Jobs != 2 || sum.Spans != 4 {
				t.Fatalf("%s: trace %s has %d runs and %d spans, want 2 and 4", when, sum.TraceID, sum.Jobs, sum.Spans)
			}
		}
	}
	for part := range slices.Chunk(spans, 3) { // the spans of a run in two messages
		h.append(part)
	}
	h.settle()
	want("in memory")
	must(t, h.Flush(t.Context()))
	want("flushed")
	must(t, h.RebuildEdges(t.Context(), nil))
	want("found again")
}

// TestRunsToldApart: OpenTelemetry Ruby's ActiveJob tells of a run in a trace of its own
// or beside Sidekiq's span of it, and a flush may come between the two. It is one run:
// of its traces and of the thread of its request, by summaries and by spans.
func TestRunsToldApart(t *testing.T) {
	const jobs, attempts = 6, 2
	now := testClock.UnixNano() - 60e9
	seq := 0
	span := func(id trace.ID, parent trace.SpanID, service, name string, kind trace.Kind, attributes ...string) trace.Span {
		seq++
		now += 1e6
		s := trace.Span{TraceID: id, SpanID: spanID(seq), ParentID: parent, Service: service, Name: name, Kind: kind, Environment: "default", StartUnixNano: now, DurationNano: 1e6}
		for i := 0; i < len(attributes); i += 2 {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: attributes[i], Value: trace.String(attributes[i+1])})
		}
		return s
	}
	// shape of the runs: how the two spans of one stand to each other.
	type shape struct {
		name    string
		request trace.ID
		spans   func(root, sent, pushed *trace.Span, n int) (queue, framework trace.Span)
	}
	queued := func(n int) []string {
		return []string{"messaging.system", "sidekiq", "messaging.operation", "process", "messaging.sidekiq.job_class", "PriceJob", "messaging.message_id", fmt.Sprintf("%024x", n)}
	}
	framed := func(n int) []string {
		return []string{"messaging.system", "active_job", "messaging.operation.type", "process", "messaging.message.id", fmt.Sprintf("7f1ad1cc-1e0b-4a5a-9a7e-%012x", n),
			"messaging.active_job.adapter.name", "sidekiq", "messaging.active_job.message.provider_job_id", fmt.Sprintf("%024x", n)}
	}
	linked := func(s trace.Span, to *trace.Span) trace.Span {
		s.Links = []trace.Link{{TraceID: to.TraceID, SpanID: to.SpanID}}
		return s
	}
	shapes := []shape{
		{name: "two traces", request: traceID(1), spans: func(_, sent, pushed *trace.Span, n int) (trace.Span, trace.Span) {
			q := span(traceID(100+seq), trace.SpanID{}, "worker", "PriceJob process", trace.KindConsumer, queued(n)...)
			return linked(q, pushed), linked(span(traceID(100+seq), trace.SpanID{}, "worker", "PriceJob process", trace.KindConsumer, framed(n)...), sent)
		}},
		{name: "beside each other", request: traceID(2), spans: func(root, sent, pushed *trace.Span, n int) (trace.Span, trace.Span) {
			return span(root.TraceID, pushed.SpanID, "worker", "PriceJob process", trace.KindConsumer, queued(n)...),
				span(root.TraceID, sent.SpanID, "worker", "PriceJob process", trace.KindConsumer, framed(n)...)
		}},
		{name: "inside", request: traceID(3), spans: func(_, _, pushed *trace.Span, n int) (trace.Span, trace.Span) {
			q := linked(span(traceID(100+seq), trace.SpanID{}, "worker", "PriceJob process", trace.KindConsumer, queued(n)...), pushed)
			return q, span(q.TraceID, q.SpanID, "worker", "PriceJob process", trace.KindConsumer, framed(n)...)
		}},
		{name: "framework alone", request: traceID(4), spans: func(_, sent, _ *trace.Span, n int) (trace.Span, trace.Span) {
			return trace.Span{}, linked(span(traceID(100+seq), trace.SpanID{}, "worker", "PriceJob process", trace.KindConsumer, framed(n)...), sent)
		}},
		{name: "queue alone", request: traceID(5), spans: func(_, _, pushed *trace.Span, n int) (trace.Span, trace.Span) {
			return linked(span(traceID(100+seq), trace.SpanID{}, "worker", "PriceJob process", trace.KindConsumer, queued(n)...), pushed), trace.Span{}
		}},
	}
	for _, flushed := range []bool{false, true} {
		t.Run(fmt.Sprint("flush=", flushed), func(t *testing.T) {
			h := start(t, Options{})
			var first, second []trace.Span
			n := 1 << 20
			for _, sh := range shapes {
				root := span(sh.request, trace.SpanID{}, "web", "POST /prices", trace.KindServer)
				first = append(first, root)
				for i := range jobs {
					n++
					sent := span(sh.request, root.SpanID, "web", "PriceJob publish", trace.KindProducer, "messaging.system", "active_job", "messaging.operation", "publish")
					pushed := span(sh.request, sent.SpanID, "web", "default publish", trace.KindProducer, "messaging.system", "sidekiq", "messaging.operation", "publish", "messaging.message_id", fmt.Sprintf("%024x", n))
					first = append(first, sent, pushed)
					for range attempts {
						queue, framework := sh.spans(&root, &sent, &pushed, n)
						if i%2 == 0 { // which comes first
							queue, framework = framework, queue
						}
						for k, s := range []trace.Span{queue, framework} {
							if s.TraceID.IsZero() {
								continue
							}
							if k == 0 {
								first = append(first, s)
							} else {
								second = append(second, s)
							}
						}
					}
				}
			}
			g := graph.New(h.Store, graph.Options{})
			want := func(when string) {
				t.Helper()
				ids := make([]trace.ID, len(shapes))
				for i := range shapes {
					ids[i] = shapes[i].request
				}
				ripples, err := g.Ripples(t.Context(), ids)
				must(t, err)
				for i := range shapes {
					if got := ripples[i].Jobs; got != jobs*attempts {
						t.Errorf("%s, %s: by summaries %d runs, want %d", when, shapes[i].name, got, jobs*attempts)
					}
					for _, fold := range []int{0, 5} {
						th, err := graph.New(h.Store, graph.Options{FoldAbove: fold}).Thread(t.Context(), ids[i])
						must(t, err)
						if got := th.Ripple.Jobs; got != jobs*attempts {
							t.Errorf("%s, %s: the thread has %d runs, want %d (folds above %d)", when, shapes[i].name, got, jobs*attempts, fold)
						}
						for _, f := range th.Folds {
							if f.Work != graph.WorkJob {
								t.Errorf("%s, %s: a fold of %s, want jobs", when, shapes[i].name, f.Work)
							}
						}
					}
				}
			}
			h.append(first)
			h.settle()
			if flushed {
				must(t, h.Flush(t.Context()))
			}
			h.append(second)
			h.settle()
			want("in memory")
			must(t, h.Flush(t.Context()))
			want("flushed")
			must(t, h.RebuildEdges(t.Context(), nil))
			want("found again")
		})
	}
}

// TestPolledBatches: that a trace is a batch whose messages have the links is known in
// memory, on disk and when found again; not where a flush came between its spans, and
// the origins are the same.
func TestPolledBatches(t *testing.T) {
	h := start(t, Options{})
	var requests, receipts, messages []trace.Span
	var ids []trace.ID
	for i := range 30 {
		sent := trace.Span{TraceID: traceID(i), SpanID: spanID(i), Service: "web", Name: "POST /quotes", Kind: trace.KindServer, Environment: "default",
			StartUnixNano: testClock.UnixNano() - 9e9, DurationNano: 1e6}
		receipt := trace.Span{TraceID: traceID(1000 + i/3), SpanID: spanID(1000 + i/3), Service: "dealers", Name: "poll quotes", Kind: trace.KindClient, Environment: "default",
			StartUnixNano: testClock.UnixNano() - 1e9, DurationNano: 1e6, Attributes: []trace.Attribute{{Key: "messaging.operation.type", Value: trace.String("receive")}}}
		message := receipt
		message.SpanID, message.ParentID, message.Kind, message.Name = spanID(2000+i), receipt.SpanID, trace.KindConsumer, "process quotes"
		message.Links = []trace.Link{{TraceID: sent.TraceID, SpanID: sent.SpanID}}
		requests, messages = append(requests, sent), append(messages, message)
		if i%3 == 0 {
			receipts, ids = append(receipts, receipt), append(ids, receipt.TraceID)
		}
	}
	want := func(when string, batches int) {
		t.Helper()
		sums, err := h.Summaries(t.Context(), ids)
		must(t, err)
		n := 0
		for _, sum := range sums {
			if sum.Batch {
				n++
			}
		}
		if n != batches {
			t.Errorf("%s: %d of %d are batches, want %d", when, n, len(ids), batches)
		}
		got, err := graph.New(h.Store, graph.Options{}).Origins(t.Context(), ids)
		must(t, err)
		for i := range got {
			if got[i].Status != graph.Ambiguous || len(got[i].Origins) != 3 {
				t.Errorf("%s: the origin of %s is %+v, want three requests", when, ids[i], got[i])
			}
		}
	}
	h.append(slices.Concat(requests, receipts, messages[:15]))
	must(t, h.Flush(t.Context())) // five are whole
	h.append(messages[15:])
	h.settle()
	want("in memory", 5)
	must(t, h.Flush(t.Context()))
	want("flushed", 5)
	must(t, h.RebuildEdges(t.Context(), nil))
	want("found again", 5)
	h.reopen()
	want("reopened", 5)
}
