package graph

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"redthread/tracestore/trace"
)

// randomWorkload writes requests, messages, batches and jobs of every shape, at
// random, loses some spans and adds some links that make no sense.
func randomWorkload(rng *rand.Rand) []trace.Span {
	var w workload
	pick := func() trace.Ref { return w.spans[rng.IntN(len(w.spans))].Ref() }
	w.request("POST /quotes")
	for range 3 + rng.IntN(60) {
		cause := pick()
		switch rng.IntN(13) {
		case 0:
			w.request("POST /quotes")
		case 1:
			sent := w.send(cause, "api", "quotes")
			w.add(sent.TraceID, sent.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"), link(sent))
		case 2, 3:
			var sent []trace.Ref
			for range 1 + rng.IntN(3) {
				sent = append(sent, w.send(pick(), "api", "quotes"))
			}
			_, handler := w.poll("dealers", "quotes", sent...)
			w.enqueue(handler, "dealers", "Mail")
		case 4:
			var sent []trace.Ref
			for range 1 + rng.IntN(3) {
				sent = append(sent, w.send(pick(), "api", "quotes"))
			}
			// Half of them say how many messages there were, which may be more than came with context.
			w.add(w.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"), link(sent...),
				number(keyBatchCount, rng.IntN(2)*(1+rng.IntN(4))))
		case 5, 6:
			w.perform(w.enqueue(cause, "worker", "Mail"), rng.IntN(2) == 0, "worker", "Mail")
		case 7:
			w.bullRun(w.bullAdd(cause, "worker", "Mail"), "worker-2", "Mail")
		case 9, 10: // by ids: one message or several, some of them sent twice
			var ids, list []string
			for range 1 + rng.IntN(3) {
				id := fmt.Sprintf("%024x", 0xabc0000+len(w.spans))
				for range 1 + rng.IntN(4)/3 {
					at := pick()
					w.send(at, "api", "quotes")
					attr("messaging.message.id", id)(&w.spans[len(w.spans)-1])
				}
				ids = append(ids, id)
				list = append(list, strconv.Quote(id))
			}
			switch rng.IntN(3) {
			case 0:
				w.add(w.newTrace(), trace.SpanID{}, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"), attr("messaging.message.id", ids[0]))
			case 1:
				w.add(w.newTrace(), trace.SpanID{}, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"), link(pick()),
					number([]string{keyDroppedLinks, keyBatchCount}[rng.IntN(2)], rng.IntN(4)), func(s *trace.Span) {
						s.Attributes = append(s.Attributes, trace.Attribute{Key: "messaging.message.ids", Value: trace.JSON("[" + strings.Join(list, ",") + "]")})
					})
			default:
				receipt, handler := w.poll("dealers", "quotes")
				for _, id := range ids {
					w.add(receipt.TraceID, receipt.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"), attr("messaging.message.id", id))
				}
				w.enqueue(handler, "dealers", "Mail")
			}
		case 11: // only the trace is recorded
			w.add(w.newTrace(), trace.SpanID{}, "worker", "Mail", trace.KindInternal, attr("type", "job"), attr("job.class", "Mail"), attr("parent.trace_id", cause.TraceID.String()))
		case 12:
			class := fmt.Sprintf("Mail%d", rng.IntN(4))
			sent := w.bullAdd(cause, "worker", class, attr("bullmq.job.id", strconv.Itoa(rng.IntN(5))))
			w.add(w.newTrace(), trace.SpanID{}, "worker-2", "process mail", trace.KindConsumer, bull("process", class), attr("bullmq.job.id", w.attr(sent, "bullmq.job.id")))
		case 8:
			w.add(cause.TraceID, cause.SpanID, "api", "GET /", trace.Kind(rng.IntN(6)), link(pick()))
		}
	}
	if rng.IntN(2) == 0 {
		for range rng.IntN(5) { // links and parents against the direction of time
			s := &w.spans[rng.IntN(len(w.spans))]
			to := pick()
			if rng.IntN(2) == 0 {
				s.Links = append(s.Links, trace.Link{TraceID: to.TraceID, SpanID: to.SpanID})
			} else if s.TraceID == to.TraceID {
				s.ParentID = to.SpanID
			}
		}
	}
	lost := rng.IntN(5)
	var kept []trace.Span
	for _, s := range w.spans {
		if rng.IntN(20) >= lost {
			kept = append(kept, s)
		}
	}
	return kept
}

// TestBackwardAndForwardAgree: a span whose origin is found is in the thread of
// that origin, and a span of the thread has that origin among its beginnings.
func TestBackwardAndForwardAgree(t *testing.T) {
	seeds := uint64(400)
	if os.Getenv("REDTHREAD_SOAK") != "" {
		seeds = 20_000
	}
	statuses := map[Status]int{}
	for seed := range seeds {
		spans := randomWorkload(rand.New(rand.NewPCG(seed, 1)))
		g, _ := testGraph(t, spans, Options{})
		ctx := context.Background()
		threads := map[trace.Ref]*spread{}
		origins := map[trace.Ref]*Origin{}
		for i := range spans {
			ref := spans[i].Ref()
			o, err := g.Origin(ctx, ref.TraceID, ref.SpanID)
			if err != nil {
				t.Fatalf("seed %d: origin of %v: %v", seed, ref, err)
			}
			origins[ref] = o
			statuses[o.Status]++
			if wrong := contradiction(o); wrong != "" {
				t.Errorf("seed %d: origin of %v %s: %+v", seed, ref, wrong, o)
			}
			for _, begin := range o.Origins {
				sp := threads[begin.Ref]
				if sp == nil {
					s := g.newSession()
					x, err := s.load(ctx, begin.TraceID)
					if err != nil {
						t.Fatal(err)
					}
					if sp, err = s.spread(ctx, x, x.find(begin.SpanID, ""), nil); err != nil {
						t.Fatal(err)
					}
					threads[begin.Ref] = sp
				}
				x := sp.traces[ref.TraceID]
				if x == nil || sp.legOf[x] == nil || sp.legOf[x][x.find(ref.SpanID, "")] == 0 {
					t.Errorf("seed %d: %v has the origin %v, but is not in its thread", seed, ref, begin.Ref)
				}
			}
		}
		for begin, sp := range threads {
			for x, legs := range sp.legOf {
				for i, leg := range legs {
					o := origins[x.info(int32(i)).Ref]
					if leg != 0 && !begins(o, begin) {
						t.Errorf("seed %d: %v is in the thread of %v, but its origin is %s %v %v", seed, x.info(int32(i)).Ref, begin, o.Status, o.Origins, o.Candidates)
					}
				}
			}
		}
		if _, err := g.Thread(ctx, trace.ID{1}); !errors.Is(err, ErrNotFound) {
			t.Fatalf("seed %d: thread of nothing: %v", seed, err)
		}
		if t.Failed() {
			return
		}
	}
	for _, s := range []Status{Found, Ambiguous, Unknown} {
		if statuses[s] == 0 {
			t.Errorf("no origin was %s: %v", s, statuses)
		}
	}
}

// contradiction says what is wrong with an origin in itself.
func contradiction(o *Origin) string {
	switch {
	case o.Origins == nil || o.Candidates == nil || o.Hops == nil:
		return "has a nil list"
	case o.Status == Found && (len(o.Origins) != 1 || o.Reason != "" || o.Furthest != nil || len(o.Candidates) != 0):
		return "is found and not"
	case o.Status == Ambiguous && (len(o.Origins) < 2 || o.Reason != ""):
		return "is ambiguous and not"
	case o.Status == Unknown && (len(o.Origins) != 0 || o.Reason == "" || o.Furthest == nil):
		return "is unknown and not"
	}
	for i, h := range o.Hops {
		if h.WaitNano < 0 || h.Kind == "" || h.Rule == "" {
			return "has a hop without a kind or with a negative wait"
		}
		if o.Status == Found && i == 0 && !o.Incomplete && h.From.TraceID != o.Origins[0].TraceID {
			return "has a first hop that is not from the origin's trace"
		}
	}
	return ""
}

// begins reports whether a chain of the origin begins at the span.
func begins(o *Origin, begin trace.Ref) bool {
	for _, list := range [][]OriginSpan{o.Origins, o.Candidates} {
		for _, s := range list {
			if s.Ref == begin {
				return true
			}
		}
	}
	return false
}
