package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// said is the part of an answer that the table compares.
type said struct {
	Status     Status
	Reason     string
	Origins    []trace.Ref
	Candidates []trace.Ref
	Furthest   trace.Ref
	Hops       []string
	Flags      string
}

func summarise(o *Origin) said {
	out := said{Status: o.Status, Reason: o.Reason}
	for _, s := range o.Origins {
		out.Origins = append(out.Origins, s.Ref)
	}
	for _, s := range o.Candidates {
		out.Candidates = append(out.Candidates, s.Ref)
	}
	if o.Furthest != nil {
		out.Furthest = o.Furthest.Ref
	}
	for _, h := range o.Hops {
		text := fmt.Sprintf("%s %s>%s", h.Kind, h.From.Name, h.To.Name)
		if h.Inferred {
			text += " inferred"
		}
		out.Hops = append(out.Hops, text)
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{o.Incomplete, "incomplete "}, {o.Expired, "expired "}, {o.Truncated, "truncated "}} {
		if f.on {
			out.Flags += f.name
		}
	}
	return out
}

func TestOrigin(t *testing.T) {
	toAPI := "parent POST>POST /quotes"
	tests := []struct {
		name string
		make func(w *workload, m *[]func(*Memory)) (ask trace.Ref, want said)
	}{
		{"the root of a request is its own origin", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, _ := w.request("POST /quotes")
			return root, said{Status: Found, Origins: []trace.Ref{root}}
		}},
		{"a call inside the request", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			return api, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI}}
		}},
		{"kafkajs, single message: parent", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			sent := w.send(api, "api", "quotes")
			got := w.add(sent.TraceID, sent.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"))
			return got, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "parent send quotes>process quotes"}}
		}},
		{"kafkajs, batch of one: the siblings take its link", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			_, handler := w.poll("dealers", "quotes", w.send(api, "api", "quotes"))
			return handler, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "batch send quotes>poll quotes"}}
		}},
		{"kafkajs, batch: the receipt itself", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			receipt, _ := w.poll("dealers", "quotes", w.send(api, "api", "quotes"))
			return receipt, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "batch send quotes>poll quotes"}}
		}},
		{"kafkajs, mixed batch: ambiguous, the hops behind it are shared", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			var sent, roots []trace.Ref
			for range 3 {
				root, api := w.request("POST /quotes")
				roots, sent = append(roots, root), append(sent, w.send(api, "api", "quotes"))
			}
			_, handler := w.poll("dealers", "quotes", sent...)
			run := w.bullRun(w.bullAdd(handler, "dealers", "Mail"), "worker", "Mail")
			return run, said{Status: Ambiguous, Origins: roots, Hops: []string{"parent add mail.Mail>process mail"}}
		}},
		{"kafkajs, mixed batch: under one message there is no doubt", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			_, api1 := w.request("POST /quotes")
			root2, api2 := w.request("POST /quotes")
			receipt, _ := w.poll("dealers", "quotes", w.send(api1, "api", "quotes"), w.send(api2, "api", "quotes"))
			second := w.spans[len(w.spans)-2].Ref()
			under := w.add(receipt.TraceID, second.SpanID, "dealers", "save", trace.KindInternal)
			return under, said{Status: Found, Origins: []trace.Ref{root2}, Hops: []string{toAPI, "link send quotes>process quotes"}}
		}},
		{"kafkajs, batch of messages of one request", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			_, handler := w.poll("dealers", "quotes", w.send(api, "api", "quotes"), w.send(api, "api", "quotes"))
			return handler, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "batch send quotes>poll quotes inferred"}}
		}},
		{"kafkajs, batch with a message that came without context", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			receipt, handler := w.poll("dealers", "quotes", w.send(api, "api", "quotes"))
			w.add(receipt.TraceID, receipt.SpanID, "dealers", "process quotes", trace.KindConsumer, kafka("process", "quotes"))
			return handler, said{Status: Unknown, Reason: NotRecorded, Candidates: []trace.Ref{root}, Furthest: receipt}
		}},
		{"bullmq: the second attempt under the same add", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			add := w.bullAdd(api, "api", "Mail")
			w.bullRun(add, "worker", "Mail", failed)
			second := w.bullRun(add, "worker", "Mail")
			return second, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "parent add mail.Mail>process mail"}}
		}},
		{"bullmq: a scheduler's job", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			add := w.bullAdd(trace.Ref{TraceID: w.newTrace()}, "worker", "Refresh", attr("bullmq.job.scheduler.id", "refresh"))
			run := w.bullRun(add, "worker", "Refresh")
			return run, said{Status: Found, Origins: []trace.Ref{add}, Hops: []string{"parent add mail.Refresh>process mail"}}
		}},
		{"Sidekiq, ActiveJob, Resque, Que: own trace, one link, twice", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			first := w.perform(w.enqueue(api, "api", "Recalculate"), false, "worker", "Recalculate")
			second := w.perform(w.enqueue(first, "worker", "Mail"), false, "worker", "Mail")
			return second, said{Status: Found, Origins: []trace.Ref{root},
				Hops: []string{toAPI, "link default publish>default process", "link default publish>default process"}}
		}},
		{"Sidekiq set to child", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			run := w.perform(w.enqueue(api, "api", "Mail"), true, "worker", "Mail")
			return run, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "parent default publish>default process"}}
		}},
		{"honeykiq child: no span for the enqueuing", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			run := w.add(api.TraceID, api.SpanID, "api", "Mail", trace.KindUnspecified, attr("type", "job"), attr("job.class", "Mail"))
			return run, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "parent POST /quotes>Mail"}}
		}},
		{"rdkafka: parent and link to the same span are one cause", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			sent := w.send(api, "api", "quotes")
			got := w.add(sent.TraceID, sent.SpanID, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"), link(sent))
			return got, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "parent send quotes>quotes process"}}
		}},
		{"ruby-kafka batch: N links and no parent", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root1, api1 := w.request("POST /quotes")
			root2, api2 := w.request("POST /quotes")
			got := w.add(w.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"),
				link(w.send(api1, "api", "quotes"), w.send(api2, "api", "quotes"), w.send(api1, "api", "quotes")))
			return got, said{Status: Ambiguous, Origins: []trace.Ref{root1, root2}}
		}},
		{"a batch under the context of its first message", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root1, api1 := w.request("POST /quotes")
			root2, api2 := w.request("POST /quotes")
			s1, s2 := w.send(api1, "api", "quotes"), w.send(api2, "api", "quotes")
			got := w.add(s1.TraceID, s1.SpanID, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"), link(s1, s2))
			return got, said{Status: Ambiguous, Origins: []trace.Ref{root1, root2}}
		}},
		{"a message linked inside an ambient trace", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			loop := w.add(w.newTrace(), trace.SpanID{}, "dealers", "loop", trace.KindInternal)
			got := w.add(loop.TraceID, loop.SpanID, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"), link(w.send(api, "api", "quotes")))
			return got, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "link send quotes>quotes process"}}
		}},
		{"a message linked inside the trace of an ambient parent", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			sent := w.send(api, "api", "quotes")
			loop := w.add(root.TraceID, root.SpanID, "web", "drain", trace.KindInternal)
			got := w.add(root.TraceID, loop.SpanID, "web", "quotes process", trace.KindConsumer, kafka("process", "quotes"), link(sent))
			return got, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "link send quotes>quotes process"}}
		}},
		{"a service that calls itself", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, _ := w.request("POST /quotes")
			call := w.add(root.TraceID, root.SpanID, "web", "GET", trace.KindClient)
			got := w.add(root.TraceID, call.SpanID, "web", "GET /cars", trace.KindServer)
			return got, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{"parent GET>GET /cars"}}
		}},
		{"a job that a clock began", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			run := w.add(w.newTrace(), trace.SpanID{}, "worker", "default process", trace.KindConsumer, sidekiq("Refresh"), attr("sidekiq.cron", "true"))
			return run, said{Status: Found, Origins: []trace.Ref{run}}
		}},
		{"a link on a request that has a caller is an aside", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			other, _ := w.request("GET /cars")
			root, api := w.request("POST /quotes")
			w.spans[len(w.spans)-1].Links = []trace.Link{{TraceID: other.TraceID, SpanID: other.SpanID}}
			return api, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI}}
		}},
		{"a public endpoint: own trace and a link", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			served := w.add(w.newTrace(), trace.SpanID{}, "partner", "POST /hook", trace.KindServer, link(api))
			return served, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{toAPI, "link POST /quotes>POST /hook"}}
		}},
		{"Sentry's link to the page before is no cause", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			before, _ := w.request("GET /cars")
			root := w.add(w.newTrace(), trace.SpanID{}, "browser", "/quotes", trace.KindInternal, link(before))
			w.spans[len(w.spans)-1].Links[0].Attributes = []trace.Attribute{{Key: "sentry.link.type", Value: trace.String("previous_trace")}}
			return root, said{Status: Found, Origins: []trace.Ref{root}}
		}},
		{"Zipkin: client and server share an id", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			id := w.newTrace()
			root := w.add(id, trace.SpanID{}, "web", "get", trace.KindServer)
			call := w.add(id, root.SpanID, "web", "get api", trace.KindClient)
			w.add(id, root.SpanID, "api", "get api", trace.KindServer)
			w.spans[len(w.spans)-1].SpanID = call.SpanID
			query := w.add(id, call.SpanID, "api", "select", trace.KindClient)
			return query, said{Status: Found, Origins: []trace.Ref{root}, Hops: []string{"parent get api>get api"}}
		}},
		{"a consumer root without a cause", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			got := w.add(w.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"))
			return got, said{Status: Unknown, Reason: NotRecorded, Furthest: got}
		}},
		{"a job root without a cause", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			run := w.add(w.newTrace(), trace.SpanID{}, "worker", "Mail", trace.KindInternal, attr("span.type", "worker"), attr("sidekiq.job.id", "1"))
			under := w.add(run.TraceID, run.SpanID, "worker", "sql", trace.KindClient)
			return under, said{Status: Unknown, Reason: NotRecorded, Furthest: run}
		}},
		{"the link's target never arrived", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			run := w.perform(trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}, false, "worker", "Mail")
			return run, said{Status: Unknown, Reason: NotArrived, Furthest: run, Hops: []string{"link >default process"}}
		}},
		{"the link's target was not sampled", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			run := w.perform(trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}, false, "worker", "Mail")
			w.spans[len(w.spans)-1].Links[0].Attributes = []trace.Attribute{{Key: keyFlags, Value: trace.Int(0x100)}}
			return run, said{Status: Unknown, Reason: SampledOut, Furthest: run, Hops: []string{"link >default process"}}
		}},
		{"the link's target is missing, the root of its trace is known", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			run := w.perform(trace.Ref{TraceID: api.TraceID, SpanID: trace.SpanID{9}}, false, "worker", "Mail")
			return run, said{Status: Found, Origins: []trace.Ref{root}, Flags: "incomplete ", Hops: []string{"link >default process"}}
		}},
		{"the link's target and the root of its trace are missing", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			part := w.add(w.newTrace(), trace.SpanID{8}, "api", "select", trace.KindClient)
			run := w.perform(trace.Ref{TraceID: part.TraceID, SpanID: trace.SpanID{9}}, false, "worker", "Mail")
			return run, said{Status: Unknown, Reason: NotArrived, Furthest: part, Hops: []string{"link >default process"}}
		}},
		{"the root of the cause's trace has expired, a late part of it has not", func(w *workload, after *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			run := w.perform(w.enqueue(api, "api", "Mail"), false, "worker", "Mail")
			*after = append(*after, func(m *Memory) { m.traces[root.TraceID] = m.traces[root.TraceID][2:3] })
			return run, said{Status: Found, Origins: []trace.Ref{root}, Flags: "expired ", Hops: []string{"link >default process"}}
		}},
		{"a parent is missing, the root is known", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			lost := w.add(api.TraceID, trace.SpanID{9}, "dealers", "GET /dealers", trace.KindServer)
			return lost, said{Status: Found, Origins: []trace.Ref{root}, Flags: "incomplete ", Hops: []string{"parent >GET /dealers"}}
		}},
		{"a parent is missing and no root is known", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			lost := w.add(w.newTrace(), trace.SpanID{9}, "dealers", "GET /dealers", trace.KindServer)
			return lost, said{Status: Unknown, Reason: NotArrived, Furthest: lost, Flags: "incomplete ", Hops: []string{"parent >GET /dealers"}}
		}},
		{"one cause of two never arrived: no guess", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			got := w.add(w.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, kafka("process", "quotes"),
				link(w.send(api, "api", "quotes"), trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}))
			return got, said{Status: Unknown, Reason: NotArrived, Candidates: []trace.Ref{root}, Furthest: got}
		}},
		{"links dropped by the SDK's cap", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			got := w.add(w.newTrace(), trace.SpanID{}, "dealers", "quotes process", trace.KindConsumer, link(w.send(api, "api", "quotes")))
			s := &w.spans[len(w.spans)-1]
			s.Attributes = append(s.Attributes, trace.Attribute{Key: keyDroppedLinks, Value: trace.Int(372)})
			return got, said{Status: Unknown, Reason: LinksDropped, Candidates: []trace.Ref{root}, Furthest: got}
		}},
		{"the cause's spans have expired, its summary is kept", func(w *workload, after *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			run := w.perform(w.enqueue(api, "api", "Mail"), false, "worker", "Mail")
			*after = append(*after, func(m *Memory) { m.Expire(root.TraceID) })
			return run, said{Status: Found, Origins: []trace.Ref{root}, Flags: "expired ", Hops: []string{"link >default process"}}
		}},
		{"an expired job between: the edges outlive the spans", func(w *workload, after *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			first := w.perform(w.enqueue(api, "api", "Mail"), false, "worker", "Mail")
			second := w.perform(w.enqueue(first, "worker", "Mail"), false, "worker", "Mail")
			*after = append(*after, func(m *Memory) { m.Expire(first.TraceID) })
			return second, said{Status: Found, Origins: []trace.Ref{root}, Flags: "expired ",
				Hops: []string{toAPI, "link default publish>default process", "link >default process"}}
		}},
		{"everything before the job has expired", func(w *workload, after *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			first := w.perform(w.enqueue(api, "api", "Mail"), false, "worker", "Mail")
			second := w.perform(w.enqueue(first, "worker", "Mail"), false, "worker", "Mail")
			*after = append(*after, func(m *Memory) { m.Expire(first.TraceID); m.Expire(root.TraceID) })
			return second, said{Status: Found, Origins: []trace.Ref{root}, Flags: "expired ", Hops: []string{"link >default process", "link >default process"}}
		}},
		{"an expired batch of two requests stays ambiguous", func(w *workload, after *[]func(*Memory)) (trace.Ref, said) {
			root1, api1 := w.request("POST /quotes")
			root2, api2 := w.request("POST /quotes")
			receipt, handler := w.poll("dealers", "quotes", w.send(api1, "api", "quotes"), w.send(api2, "api", "quotes"))
			run := w.perform(w.enqueue(handler, "dealers", "Mail"), false, "worker", "Mail")
			*after = append(*after, func(m *Memory) { m.Expire(receipt.TraceID) })
			return run, said{Status: Ambiguous, Origins: []trace.Ref{root1, root2}, Flags: "expired ", Hops: []string{"link >default process"}}
		}},
		{"an expired job whose cause nobody recorded", func(w *workload, after *[]func(*Memory)) (trace.Ref, said) {
			first := w.add(w.newTrace(), trace.SpanID{}, "worker", "Mail", trace.KindInternal, attr("type", "job"), attr("job.class", "Mail"))
			second := w.perform(w.enqueue(first, "worker", "Mail"), false, "worker", "Mail")
			*after = append(*after, func(m *Memory) { m.Expire(first.TraceID) })
			return second, said{Status: Unknown, Reason: NotRecorded, Furthest: first, Flags: "expired ", Hops: []string{"link >default process"}}
		}},
		{"two jobs that link to each other", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			first := w.perform(trace.Ref{TraceID: w.newTrace(), SpanID: trace.SpanID{9}}, false, "worker", "Ping")
			second := w.perform(first, false, "worker", "Pong")
			w.spans[0].Links = []trace.Link{{TraceID: second.TraceID, SpanID: second.SpanID}}
			return second, said{Status: Unknown, Reason: NotRecorded, Furthest: first, Flags: "truncated "}
		}},
		{"a circle with one way in", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			root, api := w.request("POST /quotes")
			first := w.perform(w.enqueue(api, "api", "Ping"), false, "worker", "Ping")
			entry := len(w.spans) - 1
			second := w.perform(first, false, "worker", "Pong")
			w.spans[entry].Links = append(w.spans[entry].Links, trace.Link{TraceID: second.TraceID, SpanID: second.SpanID})
			return second, said{Status: Found, Origins: []trace.Ref{root},
				Hops: []string{toAPI, "link default publish>default process", "link default process>default process"}}
		}},
		{"spans that are each other's parent", func(w *workload, _ *[]func(*Memory)) (trace.Ref, said) {
			a := w.add(w.newTrace(), trace.SpanID{9}, "web", "a", trace.KindInternal)
			b := w.add(a.TraceID, a.SpanID, "web", "b", trace.KindInternal)
			w.spans[0].ParentID = b.SpanID
			return b, said{Status: Unknown, Reason: NotRecorded, Furthest: a, Flags: "truncated "}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w workload
			var after []func(*Memory)
			ask, want := tt.make(&w, &after)
			slices.Reverse(w.spans) // the order of arrival does not matter
			g, m := testGraph(t, w.spans, Options{})
			for _, f := range after {
				f(m)
			}
			o, err := g.Origin(context.Background(), ask.TraceID, ask.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, summarise(o)); diff != "" {
				t.Errorf("origin of %v (-want +got):\n%s", ask, diff)
			}
			for _, h := range o.Hops {
				if h.WaitNano < 0 {
					t.Errorf("hop %s>%s waited %d ns, want none negative", h.From.Name, h.To.Name, h.WaitNano)
				}
			}
		})
	}
}

func TestOriginWaits(t *testing.T) {
	var w workload
	_, api := w.request("POST /quotes")
	sent := w.add(api.TraceID, api.SpanID, "api", "default publish", trace.KindProducer, at(time.Second, 5*time.Millisecond))
	run := w.perform(sent, false, "worker", "Mail", at(3*time.Second, time.Second))
	early := w.perform(sent, false, "worker", "Mail", at(-2*time.Second, time.Second)) // a clock 3 s slow
	g, _ := testGraph(t, w.spans, Options{})
	for _, tt := range []struct {
		ask  trace.Ref
		want time.Duration
	}{{run, 1995 * time.Millisecond}, {early, 0}} {
		o, err := g.Origin(context.Background(), tt.ask.TraceID, tt.ask.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(o.Hops[len(o.Hops)-1].WaitNano); got != tt.want {
			t.Errorf("wait of %v = %v, want %v", tt.ask, got, tt.want)
		}
	}
}

func TestOriginNotFound(t *testing.T) {
	var w workload
	root, _ := w.request("POST /quotes")
	g, _ := testGraph(t, w.spans, Options{})
	for _, ref := range []trace.Ref{{TraceID: trace.ID{1}, SpanID: root.SpanID}, {TraceID: root.TraceID, SpanID: trace.SpanID{1}}} {
		if _, err := g.Origin(context.Background(), ref.TraceID, ref.SpanID); !errors.Is(err, ErrNotFound) {
			t.Errorf("Origin(%v) error = %v, want ErrNotFound", ref, err)
		}
	}
}

// chain is a request and a row of jobs that each enqueue the next.
func chain(w *workload, hops int) (root, last trace.Ref) {
	root, last = w.request("POST /quotes")
	service := "api"
	for range hops {
		last = w.perform(w.enqueue(last, service, "Again"), false, "worker", "Again")
		service = "worker"
	}
	return root, last
}

func TestOriginOfLongChain(t *testing.T) {
	var w workload
	root, last := chain(&w, 1000)
	g, m := testGraph(t, w.spans, Options{})
	o, err := g.Origin(context.Background(), last.TraceID, last.SpanID)
	if err != nil {
		t.Fatal(err)
	}
	if o.Status != Found || o.Origins[0].Ref != root || len(o.Hops) != 1001 {
		t.Errorf("origin of 1,000 hops = %s %v with %d hops, want found %v with 1001", o.Status, o.Origins, len(o.Hops), root)
	}
	if n := m.reads.Load(); n != 1001 {
		t.Errorf("origin read %d traces, want each of 1001 once", n)
	}
	g = New(m, Options{MaxReads: 10})
	if o, err = g.Origin(context.Background(), last.TraceID, last.SpanID); err != nil {
		t.Fatal(err)
	}
	if o.Status != Unknown || o.Reason != Cut || !o.Truncated || len(o.Hops) != 9 || o.Furthest == nil {
		t.Errorf("origin with 10 reads = %s %s truncated=%v with %d hops, furthest %v; want unknown cut truncated with 9 hops",
			o.Status, o.Reason, o.Truncated, len(o.Hops), o.Furthest)
	}
}

func TestOriginOfLargeBatch(t *testing.T) {
	var w workload
	var roots, sent []trace.Ref
	for range 500 {
		root, api := w.request("POST /quotes")
		roots, sent = append(roots, root), append(sent, w.send(api, "api", "quotes"))
	}
	_, handler := w.poll("dealers", "quotes", sent...)
	g, _ := testGraph(t, w.spans, Options{})
	o, err := g.Origin(context.Background(), handler.TraceID, handler.SpanID)
	if err != nil {
		t.Fatal(err)
	}
	got := summarise(o)
	if diff := cmp.Diff(said{Status: Ambiguous, Origins: roots}, got); diff != "" {
		t.Errorf("batch of 500 (-want +got):\n%s", diff)
	}
}

// TestNoServiceMakesAGuess leaves out one service at a time: what was found
// before is found again or unknown, never something else.
func TestNoServiceMakesAGuess(t *testing.T) {
	var w workload
	var asks []trace.Ref
	for range 3 {
		_, api := w.request("POST /quotes")
		sent := w.send(api, "api", "quotes")
		_, handler := w.poll("dealers", "quotes", sent)
		job := w.perform(w.enqueue(handler, "dealers", "Mail"), false, "worker", "Mail")
		asks = append(asks, job, w.perform(w.enqueue(job, "worker", "Mail"), false, "worker-2", "Mail"))
	}
	full, _ := testGraph(t, w.spans, Options{})
	for _, without := range []string{"web", "api", "dealers", "worker"} {
		var kept []trace.Span
		for _, s := range w.spans {
			if s.Service != without {
				kept = append(kept, s)
			}
		}
		g, _ := testGraph(t, kept, Options{})
		for _, ask := range asks {
			want, err := full.Origin(context.Background(), ask.TraceID, ask.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.Origin(context.Background(), ask.TraceID, ask.SpanID)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Status == Unknown && got.Reason != "" && got.Furthest != nil {
				continue
			}
			if got.Status != Found || got.Origins[0].Ref != want.Origins[0].Ref {
				t.Errorf("without %s: origin of %v = %s %v, want %v or unknown", without, ask, got.Status, got.Origins, want.Origins)
			}
		}
	}
}

func TestOriginJSON(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	g, _ := testGraph(t, w.spans, Options{})
	o, err := g.Origin(context.Background(), api.TraceID, api.SpanID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	span := func(i int, start string) string {
		s := w.spans[i]
		return fmt.Sprintf(`"trace_id":%q,"span_id":%q,"service":%q,"name":%q%s`, s.TraceID, s.SpanID, s.Service, s.Name, start)
	}
	want := fmt.Sprintf(`{"status":"found","reason":"","incomplete":false,"expired":false,"origins":[{%s}],"candidates":[],"furthest":null,`+
		`"hops":[{"from":{%s},"to":{%s},"kind":"parent","rule":"parent_id","inferred":false,"wait_nano":"0"}],"truncated":false}`,
		span(0, fmt.Sprintf(`,"start_unix_nano":"%d"`, w.spans[0].StartUnixNano)), span(2, ""), span(3, ""))
	if string(got) != want {
		t.Errorf("JSON of the origin %v:\ngot  %s\nwant %s", root, got, want)
	}
}

// onlySource hides what a source has beside the methods of [Source].
type onlySource struct{ Source }

// TestOriginWithoutEdgeIndex: a source that knows only links still answers what
// they say, and says that it does not know what has expired.
func TestOriginWithoutEdgeIndex(t *testing.T) {
	var w workload
	root, api := w.request("POST /quotes")
	first := w.perform(w.enqueue(api, "api", "Mail"), false, "worker", "Mail")
	second := w.perform(w.enqueue(first, "worker", "Mail"), false, "worker", "Mail")
	m := NewMemory(nil, w.spans)
	g := New(onlySource{m}, Options{})
	for _, expired := range []bool{false, true} {
		want := said{Status: Found, Origins: []trace.Ref{root},
			Hops: []string{"parent POST>POST /quotes", "link default publish>default process", "link default publish>default process"}}
		if expired {
			m.Expire(first.TraceID)
			want = said{Status: Unknown, Reason: Expired, Furthest: first, Flags: "expired ", Hops: []string{"link >default process"}}
		}
		o, err := g.Origin(context.Background(), second.TraceID, second.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, summarise(o)); diff != "" {
			t.Errorf("expired=%v (-want +got):\n%s", expired, diff)
		}
	}
}

// TestOriginInALargeTrace: of a trace too large to be read, what leads to the
// span asked about is read.
func TestOriginInALargeTrace(t *testing.T) {
	for _, child := range []bool{true, false} {
		var w workload
		root, api := w.request("POST /import")
		for range 300 {
			w.add(api.TraceID, api.SpanID, "api", "SELECT", trace.KindClient)
		}
		last := api
		for range 20 {
			last = w.perform(w.enqueue(last, "worker", "Again"), child, "worker", "Again")
			for range 50 {
				w.add(last.TraceID, last.SpanID, "worker", "SELECT", trace.KindClient)
			}
			last = w.add(last.TraceID, last.SpanID, "worker", "work", trace.KindInternal)
		}
		w.bullRun(w.bullAdd(last, "worker", "Mail"), "mailer", "Mail")
		last = w.spans[len(w.spans)-1].Ref()
		whole, err := New(NewMemory(nil, w.spans), Options{}).Origin(context.Background(), last.TraceID, last.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 40} {
			g := New(NewMemory(nil, w.spans), Options{MaxTraceSpans: limit})
			o, err := g.Origin(context.Background(), last.TraceID, last.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(whole, o); diff != "" || o.Status != Found || o.Origins[0].Ref != root {
				t.Errorf("child=%v limit=%d: origin (-whole trace +part of it):\n%s", child, limit, diff)
			}
			th, err := g.ThreadOfSpan(context.Background(), last.TraceID, last.SpanID)
			if err != nil {
				t.Fatal(err)
			}
			if th.Origin == nil || th.Origin.Ref != root || th.Selected < 0 || !th.Cut {
				t.Errorf("child=%v limit=%d: thread from %v selects %d, cut=%v; want %v, a leg, and cut", child, limit, th.Origin, th.Selected, th.Cut, root)
			}
		}
	}
}

// TestRequestIDs: the router is before the request, the request before the jobs
// that were handed its id, however many spans the id is stamped on.
func TestRequestIDs(t *testing.T) {
	var w workload
	id := attr("request_id", uuid)
	router := w.add(w.newTrace(), trace.SpanID{}, "heroku", "router", trace.KindServer, id, attr("fwd", "203.0.113.42"), attr("dyno", "web.1"))
	web := w.add(w.newTrace(), trace.SpanID{}, "web", "POST /quotes", trace.KindServer, id)
	w.add(web.TraceID, web.SpanID, "web", "SELECT", trace.KindClient, id)
	job := w.add(w.newTrace(), trace.SpanID{}, "worker", "Mail", trace.KindInternal, id, attr("type", "job"), attr("job.class", "Mail"), at(-3*time.Second, time.Second))
	under := w.add(job.TraceID, job.SpanID, "worker", "GET", trace.KindClient, id, at(-2*time.Second, time.Second))
	other := w.add(w.newTrace(), trace.SpanID{}, "web", "POST /quotes", trace.KindServer, attr("request_id", strings.Replace(uuid, "3", "4", 1)))
	g, m := testGraph(t, w.spans, Options{})
	toWeb, toJob := "request_id router>POST /quotes inferred", "request_id POST /quotes>Mail inferred"
	for _, tt := range []struct {
		ask  trace.Ref
		want said
	}{
		{router, said{Status: Found, Origins: []trace.Ref{router}}},
		{web, said{Status: Found, Origins: []trace.Ref{router}, Hops: []string{toWeb}}},
		{under, said{Status: Found, Origins: []trace.Ref{router}, Hops: []string{toWeb, toJob}}},
		{other, said{Status: Found, Origins: []trace.Ref{other}}},
	} {
		o, err := g.Origin(context.Background(), tt.ask.TraceID, tt.ask.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, summarise(o)); diff != "" {
			t.Errorf("origin of %v (-want +got):\n%s", tt.ask, diff)
		}
	}
	th, err := New(m, Options{}).Thread(context.Background(), job.TraceID)
	if err != nil || len(th.Nodes) != 3 || len(th.Legs) != 3 {
		t.Errorf("thread of the job = %d traces in %d legs, %v; want router, request and job", len(th.Nodes), len(th.Legs), err)
	}
}
