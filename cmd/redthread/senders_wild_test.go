package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"redthread/tracestore/trace"
)

// partIDs: of the messages of a batch, known by their ids alone, one was sent by an
// application that is not traced.
func partIDs(w *senders) {
	for n := range 3 {
		var roots []trace.Ref
		ids := []string{w.uuid()}
		for range n + 1 {
			r, h := w.request()
			id := w.uuid()
			w.span(h, "web", "quotes send", producer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.message.id", id))
			roots, ids = append(roots, r), append(ids, id)
		}
		run := w.span(root, "dealers", "quotes process", consumer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.operation", "process", "messaging.message.ids", ids))
		roots = append(roots, w.ref())
		w.ask(run, true, roots...)
		w.ask(sidekiqHop("link", false)(w, run, "dealers", "worker"), true, roots...)
	}
}

// sentTogether: one call sends several messages, and has the ids of all.
func sentTogether(w *senders) {
	for range 3 {
		r, h := w.request()
		ids := []string{w.uuid(), w.uuid(), w.uuid()}
		w.span(h, "web", "quotes send", producer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.batch.message_count", 3, "messaging.message.ids", ids))
		for _, id := range ids {
			w.ask(w.span(root, "dealers", "quotes process", consumer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.operation", "process", "messaging.message.id", id)), false, r)
		}
		w.ask(w.span(root, "mail", "quotes process", consumer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.operation", "process", "messaging.message.ids", ids)), false, r)
	}
}

// mirrored: production's requests are sent to staging as well, under their ids.
func mirrored(w *senders) {
	for range 3 {
		id := w.uuid()
		for _, env := range []string{"production", "staging"} {
			w.env = env
			r, h := w.request()
			w.mark(r, with("http.request.header.x-request-id", id))
			w.ask(r, false, r)
			w.ask(sidekiqHop("none", false)(w, h, "web", "worker"), false, r)
		}
	}
}

// tagged: what a job is known by stands on all spans of its trace, on those that send
// the next jobs too.
func tagged(w *senders) {
	for range 3 {
		r, h := w.request()
		at, from := h, "web"
		var mine []any
		for _, to := range []string{"worker", "mail", "search"} {
			jid := w.jid()
			w.span(at, from, "Mail enqueue", producer, with("messaging.system", "sidekiq", "messaging.message.id", jid, "messaging.destination.name", "default"), with(mine...))
			mine = []any{"job.id", jid, "job.class", "Mail"}
			at = w.span(root, to, "Mail", trace.KindUnspecified, with(mine...), with("type", "job"))
			w.ask(at, false, r)
			w.ask(w.span(at, to, "SELECT", calls, with(mine...)), false, r)
			from = to
		}
	}
}

// requestIDs: every message of a request has the request's id for its own, and so
// have those that are sent because of it.
func requestIDs(w *senders) {
	for range 3 {
		r, h := w.request()
		id := with("messaging.system", "rabbitmq", "messaging.message.id", w.uuid())
		for _, topic := range []string{"quotes", "prices"} {
			to := with("messaging.destination.name", topic)
			w.span(h, "web", topic+" publish", producer, id, to)
			run := w.span(root, "worker", topic+" process", consumer, id, to)
			w.ask(run, false, r)
			next := with("messaging.destination.name", topic+".done")
			w.span(run, "worker", topic+".done publish", producer, id, next)
			w.ask(w.span(root, "mail", topic+".done process", consumer, id, next), false, r)
		}
	}
}

// publicEndpoint: a service begins a trace of its own for what others send it, and
// links to theirs (otelhttp.WithPublicEndpoint, dd-trace's restart).
func publicEndpoint(datadog bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		call := w.span(under, from, "POST", calls, with("http.request.method", "POST"))
		opt := linked(call)
		if datadog {
			opt = with("_dd.span_links", fmt.Sprintf(`[{"trace_id":%q,"span_id":%q,"attributes":{"reason":"propagation_behavior_extract","context_headers":"tracecontext"}}]`, call.TraceID, call.SpanID))
		}
		served := w.span(root, "api-"+to, "POST /dealers", trace.KindServer, opt)
		return sidekiqHop("link", false)(w, served, "api-"+to, to)
	}
}

// conflicting: a service goes on with one context that it was handed, and links to
// the other (dd-trace, reason terminated_context).
func conflicting(w *senders, under trace.Ref, from, to string) trace.Ref {
	other := w.span(root, "edge", "GET /", trace.KindServer)
	call := w.span(under, from, "POST", calls)
	served := w.span(call, "api-"+to, "POST /dealers", trace.KindServer, with("_dd.span_links", fmt.Sprintf(`[{"trace_id":%q,"span_id":%q,"attributes":{"reason":"terminated_context"}}]`, other.TraceID, other.SpanID)))
	return sidekiqHop("link", false)(w, served, "api-"+to, to)
}

// dd-trace-rb for ActiveJob: kinds stand nowhere.
func datadogActiveJob(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		kind := trace.KindUnspecified
		aj := with("active_job.job.id", w.uuid(), "active_job.queue", "default", "active_job.adapter", "SidekiqAdapter", "component", "active_job")
		out := w.span(under, from, "active_job.enqueue", kind, aj)
		sk := with("messaging.system", "sidekiq", "sidekiq.job.id", w.jid(), "sidekiq.job.queue", "default")
		sent := w.span(out, from, "sidekiq.push", kind, sk, with("span.kind", "producer"))
		above := root
		if mode == "child" {
			above = sent
		}
		run := w.span(above, to, "sidekiq.job", kind, sk, with("span.kind", "consumer", "span.type", "worker"))
		return w.span(run, to, "active_job.perform", kind, aj, with("span.type", "worker"))
	}
}

// dd-trace-rb for Racecar: the partition and the offset of what is handled.
func datadogRacecar(w *senders, under trace.Ref, from, to string) trace.Ref {
	w.span(under, from, "kafka.deliver_messages", trace.KindUnspecified, with("span.kind", "producer", "messaging.system", "kafka"))
	return w.span(root, to, "racecar.message", trace.KindUnspecified, with("span.type", "worker", "span.kind", "consumer", "kafka.topic", "quotes", "kafka.partition", 0, "kafka.offset", w.next(), "messaging.system", "kafka"))
}

// azureFunction: the trigger's span has no kind of a consumer, and links to what it
// handles, or is below it.
func azureFunction(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
	var sent []trace.Ref
	for _, u := range under {
		sent = append(sent, w.span(u, from, "ServiceBus.message", producer, with("messaging.system", "servicebus", "messaging.destination.name", "quotes")))
	}
	run := w.span(root, to, "Functions.Quotes", internal, with("faas.name", "Quotes", "faas.trigger", "pubsub"), linked(sent...))
	return nil, []trace.Ref{run, w.span(run, to, "handle", internal)}
}

// secondRoot: a thread of the sender lost its context but not its trace id.
func secondRoot(w *senders, under trace.Ref, from, to string) trace.Ref {
	orphan := w.span(root, from, "thread", internal, func(s *trace.Span) { s.TraceID = under.TraceID })
	return sidekiqHop("link", false)(w, orphan, from, to)
}

// laterNumbers: a job of a small number is tried again days later.
func laterNumbers(w *senders) {
	for i := range 4 {
		id := with("bullmq.queue.name", "mail", "bullmq.job.name", "Mail", "bullmq.job.id", fmt.Sprint(i+1))
		r, h := w.request()
		w.span(h, "web", "add mail.Mail", producer, id, with("bullmq.queue.operation", "add"))
		w.ask(w.span(root, "worker", "process mail", consumer, id, with("bullmq.queue.operation", "process", "bullmq.job.attempts.made", 1)), false, r)
		w.now = w.now.Add(60 * time.Hour)
		w.ask(w.span(root, "worker", "process mail", consumer, id, with("bullmq.queue.operation", "process", "bullmq.job.attempts.made", 2)), true, r)
	}
}

// chord: Celery's chord runs once all tasks of its group are done; each that is done
// says so, and the last sends it.
func chord(w *senders) {
	for range 3 {
		r, h := w.request()
		var last trace.Ref
		for range 3 {
			last = celery("link")(w, h, "web", "worker")
			w.ask(last, false, r)
		}
		w.ask(celery("none")(w, last, "worker", "worker"), false, r)
	}
}

// saga by ids: each step handles the message of the one before, and sends the next.
func sagaSteps(w *senders, under trace.Ref, from, to string) trace.Ref {
	conversation := "0f8fad5b-d9cb-469f-a165-70867728950e"
	step := func(above trace.Ref, from, to, topic string) trace.Ref {
		id := with("messaging.system", "rabbitmq", "messaging.message.id", w.uuid(), "messaging.message.conversation_id", conversation, "messaging.destination.name", topic)
		w.span(above, from, topic+" publish", producer, id)
		return w.span(root, to, topic+" process", consumer, id)
	}
	return step(step(step(under, from, "orders", "order.place"), "orders", "payments", "payment.take"), "payments", to, "order.ship")
}

// replyTo: the answer to a message names it as what it answers, and is handled where
// it was asked.
func replyTo(w *senders, under trace.Ref, from, to string) trace.Ref {
	ask, answer := w.uuid(), w.uuid()
	q := []any{"messaging.system", "rabbitmq", "messaging.destination.name", "rpc"}
	w.span(under, from, "rpc publish", producer, with(q...), with("messaging.message.id", ask))
	run := w.span(root, "rpc-"+to, "rpc process", consumer, with(q...), with("messaging.message.id", ask))
	a := []any{"messaging.system", "rabbitmq", "messaging.destination.name", "amq.rabbitmq.reply-to", "messaging.message.conversation_id", ask, "messaging.message.id", answer}
	w.span(run, "rpc-"+to, "reply publish", producer, with(a...))
	return w.span(root, to, "reply process", consumer, with(a...))
}

// counters: ids that count from one in every process that sends, and are said to be
// those of messages.
func counters(w *senders) {
	for i := range 6 {
		id := fmt.Sprint(i/2 + 1)
		attrs := with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.message.id", id)
		r, h := w.request()
		w.span(h, "web", "quotes publish", producer, attrs)
		w.ask(w.span(root, "worker", "quotes process", consumer, attrs), true, r)
	}
}

// unsampledSome: of the requests that send jobs by their ids half were not sampled.
func unsampledSome(hop hop) func(*senders) {
	return func(w *senders) {
		for i := range 6 {
			r, h := w.request()
			run := hop(w, h, "web", fmt.Sprint("worker-", i)) // each has its own queue, or its jobs their ids
			w.ask(run, i%2 == 1, r)
			if i%2 == 1 {
				w.spans = slices.DeleteFunc(w.spans, func(s trace.Span) bool { return s.TraceID == r.TraceID && s.TraceID != run.TraceID })
			}
		}
	}
}

// contexts as people hand them on: in capitals, with spaces, without leading zeros.
func shabby(form func(string) string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		sent := w.span(under, from, "enqueue", internal, with("job.class", "Mail"))
		return w.span(root, to, "Mail", trace.KindUnspecified, with("type", "job", "job.class", "Mail", "parent.trace_id", form(sent.TraceID.String()), "trace.parent_id", form(sent.SpanID.String())))
	}
}

func upper(s string) string  { return strings.ToUpper(s) }
func spaced(s string) string { return " " + s + "\n" }
