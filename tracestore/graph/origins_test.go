package graph

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

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

// TestShortBatches: of batches that have more messages than links edges tell that their
// origin is not known, while their spans are there and after that. It would take a
// millisecond for each to read them.
func TestShortBatches(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opts   []opt
		reason string
	}{
		{"of three messages", []opt{number(keyBatchCount, 3)}, NotRecorded},
		{"with the ids of others", []opt{number(keyBatchCount, 3), attr("messaging.message.ids", "4b97cc0e4b97cc0e"), attr("messaging.batch.id", "1")}, NotRecorded},
		{"whose sender dropped links", []opt{number(keyBatchCount, 3), number(keyDroppedLinks, 2)}, LinksDropped},
	} {
		var w workload
		receipts, whole := shortBatches(&w, 50, tt.opts...)
		g, m := testGraph(t, w.spans, Options{})
		ids := distinct(traceIDs(w.spans), len(w.spans))
		before := m.reads.Load()
		got, err := g.Origins(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.RipplesBetween(t.Context(), RippleQuery{From: dayOne, To: dayOne + int64(time.Hour), Buckets: 1}); err != nil {
			t.Fatal(err)
		}
		if n := m.reads.Load() - before; n > 0 {
			t.Errorf("%s: %d traces were read", tt.name, n)
		}
		short := 0
		for _, expired := range []bool{false, true} {
			for i, id := range ids {
				if expired {
					m.Expire(id)
				}
				o, err := g.TraceOrigin(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if got[i].Status != o.Status || got[i].Reason != o.Reason || got[i].Apart {
					t.Errorf("%s, expired %t: origin of %s is %+v, alone %s %s", tt.name, expired, id, got[i], o.Status, o.Reason)
				}
				if o.Reason == tt.reason {
					short++
				}
			}
		}
		if want := 2 * len(receipts); short != want || len(whole) == 0 {
			t.Errorf("%s: %d are short, want %d", tt.name, short, want)
		}
	}
}

// TestPolledBatches: what caused batches as kafkajs writes them, the summary tells that
// they are, and edges what caused them: their spans are not read.
func TestPolledBatches(t *testing.T) {
	var w workload
	batches := polledBatches(&w, 40)
	g, m := testGraph(t, w.spans, Options{})
	ids := distinct(traceIDs(w.spans), len(w.spans))
	before := m.reads.Load()
	got, err := g.Origins(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.RipplesBetween(t.Context(), RippleQuery{From: dayOne, To: dayOne + int64(time.Hour), Buckets: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Ripples(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	if n := m.reads.Load() - before; n > 0 {
		t.Errorf("%d traces were read", n)
	}
	statuses := map[Status]int{}
	for i, id := range ids {
		o, err := g.TraceOrigin(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want := TraceOrigin{Status: o.Status, Reason: o.Reason, Cause: got[i].Cause, Apart: got[i].Apart, Origins: candidatesOf(o)}
		if o.Status == Found {
			want.Origin = o.Origins[0].Ref
		}
		if !sameOrigin(got[i], want) {
			t.Errorf("origin of %s is %+v, want %+v", id, got[i], want)
		}
		if of, ok := batches[id]; ok {
			statuses[o.Status]++
			if got[i].Apart != (of > 1) {
				t.Errorf("a batch of %d messages: apart %t", of, got[i].Apart)
			}
		}
	}
	if want := map[Status]int{Found: 80, Ambiguous: 40}; !reflect.DeepEqual(statuses, want) {
		t.Errorf("the batches are %v, want %v", statuses, want)
	}
}

// polledBatches writes n times each: a batch of one message, one of two of the same
// request, one of three of three requests. It returns how many messages are in each.
func polledBatches(w *workload, n int) map[trace.ID]int {
	batches := map[trace.ID]int{}
	message := func() trace.Ref {
		_, api := w.request("POST /quotes")
		return w.send(api, "api", "quotes")
	}
	poll := func(sent ...trace.Ref) {
		receipt, _ := w.poll("dealers", "quotes", sent...)
		batches[receipt.TraceID] = len(sent)
	}
	for range n {
		poll(message())
		first := message()
		poll(first, w.send(w.parentOf(first), "api", "quotes"))
		poll(message(), message(), message())
	}
	return batches
}

// parentOf is the span above one.
func (w *workload) parentOf(ref trace.Ref) trace.Ref {
	i := slices.IndexFunc(w.spans, func(s trace.Span) bool { return s.Ref() == ref })
	return trace.Ref{TraceID: ref.TraceID, SpanID: w.spans[i].ParentID}
}

// TestBatchOrNot: what makes a trace something else than a batch that edges tell all of.
func TestBatchOrNot(t *testing.T) {
	for name, tt := range map[string]struct {
		more func(w *workload, receipt, sent trace.Ref)
		want bool
	}{
		"as it is": {func(*workload, trace.Ref, trace.Ref) {}, true},
		"a message without a link": {func(w *workload, receipt, _ trace.Ref) {
			w.add(receipt.TraceID, receipt.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"))
		}, false},
		"a message of another service": {func(w *workload, receipt, sent trace.Ref) {
			w.add(receipt.TraceID, receipt.SpanID, "others", "process quotes", trace.KindConsumer, kafka("process", "quotes"), link(sent))
		}, false},
		"a job": {func(w *workload, receipt, sent trace.Ref) {
			w.add(receipt.TraceID, receipt.SpanID, "dealers", "process quotes", trace.KindConsumer, attr("messaging.system", "sidekiq"), link(sent))
		}, false},
		"a message below the handler": {func(w *workload, receipt, sent trace.Ref) {
			handler := w.add(receipt.TraceID, receipt.SpanID, "dealers", "handle", trace.KindInternal)
			w.add(receipt.TraceID, handler.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"), link(sent))
		}, false},
		"a link of another span": {func(w *workload, receipt, sent trace.Ref) {
			w.add(receipt.TraceID, receipt.SpanID, "dealers", "handle", trace.KindInternal, link(sent))
		}, false},
		"dropped links": {func(w *workload, receipt, sent trace.Ref) {
			w.add(receipt.TraceID, receipt.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"), link(sent), number(keyDroppedLinks, 2))
		}, false},
		"a message by its id": {func(w *workload, receipt, _ trace.Ref) {
			w.add(receipt.TraceID, receipt.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"), attr("messaging.message.id", "4b97cc0e4b97cc0e"))
		}, false},
		"another root": {func(w *workload, receipt, _ trace.Ref) {
			w.add(receipt.TraceID, trace.SpanID{}, "dealers", "poll quotes", trace.KindClient, kafka("receive", "quotes"))
		}, false},
	} {
		var w workload
		_, api := w.request("POST /quotes")
		sent := w.send(api, "api", "quotes")
		receipt, _ := w.poll("dealers", "quotes", sent)
		tt.more(&w, receipt, w.send(api, "api", "quotes"))
		_, m := testGraph(t, w.spans, Options{})
		if sum, _, _ := m.TraceSummary(t.Context(), receipt.TraceID); sum.Batch != tt.want {
			t.Errorf("%s: batch = %t, want %t", name, sum.Batch, tt.want)
		}
	}
}

// shortBatches writes requests that send a message each, and batches with the link of
// one of them: in short with the attributes, in whole without.
func shortBatches(w *workload, n int, opts ...opt) (short, whole []trace.Ref) {
	for range n {
		_, api := w.request("POST /quotes")
		sent := w.send(api, "api", "quotes")
		short = append(short, w.receive(sent, opts...))
		whole = append(whole, w.receive(sent))
	}
	return short, whole
}

// receive writes the receipt of messages in a trace of its own, with one link and a
// span below it.
func (w *workload) receive(sent trace.Ref, opts ...opt) trace.Ref {
	r := w.add(w.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, append([]opt{kafka("process", "quotes"), link(sent)}, opts...)...)
	w.add(r.TraceID, r.SpanID, "dealers", "handle", trace.KindInternal)
	return r
}

func traceIDs(spans []trace.Span) (ids []trace.ID) {
	for i := range spans {
		ids = append(ids, spans[i].TraceID)
	}
	return ids
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

// TestCorrelationOfTooMany: where a correlation joins a span to more than it can name,
// the span is not its own origin: its cause is not known, and the reason is told, by
// its spans, by many at once, and when its spans are gone.
func TestCorrelationOfTooMany(t *testing.T) {
	rules, err := NewRules(Correlation{Name: "outbox", Means: MeansMessage, Cause: []string{"outbox.id"}, Effect: []string{"event.id"}})
	if err != nil {
		t.Fatal(err)
	}
	const most = 20
	for _, tt := range []struct {
		name    string
		senders int
		kind    trace.Kind
		status  Status
		reason  string
	}{
		{"one", 1, trace.KindInternal, Found, ""},
		{"several", 3, trace.KindInternal, Ambiguous, ""},
		{"too many", most, trace.KindInternal, Unknown, TooMany},
		{"too many, of a request", most + 5, trace.KindServer, Unknown, TooMany},
		{"too many, of a message", most + 5, trace.KindConsumer, Unknown, TooMany},
		{"none", 0, trace.KindInternal, Found, ""},
	} {
		var w workload
		for range tt.senders {
			w.add(w.newTrace(), trace.SpanID{}, "web", "POST /cars", trace.KindServer, attr("outbox.id", "o-1234567"))
		}
		handler := w.add(w.newTrace(), trace.SpanID{}, "relay", "relay", tt.kind, attr("event.id", "o-1234567"))
		job := w.perform(w.enqueue(handler, "relay", "Mail"), false, "worker", "Mail")
		g, m := testGraph(t, w.spans, Options{Rules: rules, MaxEnds: most})
		ask := func(when string) {
			for _, of := range []trace.Ref{handler, job} {
				o, err := g.TraceOrigin(t.Context(), of.TraceID)
				if err != nil {
					t.Fatal(err)
				}
				many, err := g.Origins(t.Context(), []trace.ID{of.TraceID})
				if err != nil {
					t.Fatal(err)
				}
				if o.Status != tt.status || o.Reason != tt.reason || many[0].Status != tt.status || many[0].Reason != tt.reason {
					t.Errorf("%s%s: %s %q, of many at once %s %q; want %s %q", tt.name, when, o.Status, o.Reason, many[0].Status, many[0].Reason, tt.status, tt.reason)
				}
			}
		}
		ask("")
		m.Expire(handler.TraceID)
		ask(", its spans are gone")
	}
}
