package main

import (
	"fmt"
	"strconv"
	"time"

	"redthread/tracestore/trace"
)

// sidekiqScheduled: Sidekiq's poller sends a job again when its time has come: in a
// trace of its own, below a span of the poller (trace_poller_enqueue), or without
// any span. What the run knows is the first sending, the second, or, where an old
// SDK did not trace the second, a context that nobody has.
func sidekiqScheduled(mode, poller string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		jid := w.jid()
		const waited = 8 * time.Second
		common := with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.message_id", jid, "messaging.destination", "default")
		first := w.span(under, from, "default publish", producer, common, made(0))
		w.now = w.now.Add(waited)
		sent, poll := w.ref(), root
		switch poller {
		case "poller":
			poll = w.span(root, to, "Sidekiq::Scheduled::Poller#enqueue", internal)
			fallthrough
		case "root":
			sent = w.span(poll, to, "default publish", producer, common, made(waited))
		}
		switch mode {
		case "first":
			mode, sent = "link", first
		case "dead":
			mode = "link"
		}
		return receive(w, mode, sent, to, "default process", common, with("messaging.operation", "process"), made(waited), enqueued(7*time.Millisecond))
	}
}

// dd-trace-rb, contrib/sidekiq: client_tracer.rb, server_tracer.rb and, if it polls,
// server_internal_tracer/scheduled_poller.rb. Kinds stand in span.kind.
func datadogSidekiq(mode string, scheduled bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		kind := trace.KindUnspecified
		common := with("messaging.system", "sidekiq", "sidekiq.job.id", w.jid(), "sidekiq.job.queue", "default")
		sent := w.span(under, from, "sidekiq.push", kind, common, with("span.kind", "producer"))
		if scheduled {
			w.now = w.now.Add(8 * time.Second)
			poll := w.span(root, to, "sidekiq.scheduled_push", kind, with("span.type", "worker", "messaging.system", "sidekiq"))
			sent = w.span(poll, to, "sidekiq.push", kind, common, with("span.kind", "producer"))
		}
		above := root
		if mode == "child" {
			above = sent
		}
		return w.span(above, to, "sidekiq.job", kind, common, with("span.kind", "consumer", "span.type", "worker"))
	}
}

// kindless takes the kinds of all but requests.
func kindless(write func(*senders)) func(*senders) {
	return func(w *senders) {
		write(w)
		for i := range w.spans {
			if w.spans[i].Kind != trace.KindServer {
				w.spans[i].Kind = trace.KindUnspecified
			}
		}
	}
}

// oneService has one application do all.
func oneService(write func(*senders)) func(*senders) {
	return func(w *senders) {
		write(w)
		for i := range w.spans {
			w.spans[i].Service = "web"
		}
	}
}

// enqueuesItself: each run of a job enqueues the next.
func enqueuesItself(mode string) func(*senders) {
	return func(w *senders) {
		for range 2 {
			r, at := w.request()
			for range 12 {
				at = sidekiqHop(mode, false)(w, at, "worker", "worker")
				w.ask(at, false, r)
			}
		}
	}
}

// clocks: what a clock, a rake task or a console began is its own origin: whenever
// and clockwork run code below a span of theirs or none, sidekiq-cron pushes, and
// GoodJob's and BullMQ's schedulers mark the run.
func clocks(w *senders) {
	job := sidekiqHop("link", false)
	for _, name := range []string{"rake quotes:expire", "rails runner", "console", "clock", "every 5.minutes"} {
		r := w.span(root, "clock", name, internal)
		w.ask(r, false, r)
		w.ask(job(w, r, "clock", "worker"), false, r)
	}
	common := with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.message_id", w.jid(), "messaging.destination", "default")
	push := w.span(root, "worker", "default publish", producer, common, made(0))
	w.ask(receive(w, "link", push, "mail", "default process", common, with("messaging.operation", "process"), made(7*time.Millisecond), enqueued(6*time.Millisecond)), false, push)
	for _, attrs := range [][]any{
		{"messaging.system", "active_job", "messaging.operation", "process", "messaging.message_id", w.uuid(), "good_job.cron_key", "expire"},
		{"bullmq.queue.name", "expire", "bullmq.queue.operation", "process", "bullmq.job.id", "repeat:expire:1795381829276"},
	} {
		run := w.span(root, "worker", "expire process", consumer, with(attrs...))
		w.ask(run, false, run)
		w.ask(job(w, run, "worker", "mail"), false, run)
	}
}

// celeryRetry: a task that fails sends itself again, under the id it has.
func celeryRetry(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		common := with("celery.task_name", "mail", "messaging.message.id", w.uuid(), "messaging.destination", "celery")
		sent := w.span(under, from, "apply_async/mail", producer, common, with("celery.action", "apply_async"))
		run := receive(w, mode, sent, to, "run/mail", common, with("celery.action", "run", "celery.state", "RETRY"))
		again := w.span(run, to, "apply_async/mail", producer, common, with("celery.action", "apply_async"))
		return receive(w, mode, again, to, "run/mail", common, with("celery.action", "run", "celery.state", "SUCCESS"))
	}
}

// opentelemetry-erlang-contrib, opentelemetry_oban: ids are rows of a table.
func oban(mode string, newer bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		id := w.next()
		common := with("messaging.system", "oban", "messaging.destination", "mail", "messaging.destination_kind", "queue", "messaging.oban.worker", "Mail", "messaging.oban.job_id", id)
		op := with("messaging.operation", "process")
		if newer {
			common = with("messaging.system", "oban", "messaging.destination.name", "mail", "oban.job.worker", "Mail", "oban.job.job_id", id)
			op = with("messaging.operation.type", "process")
		}
		sent := w.span(under, from, "Mail send", producer, common)
		return receive(w, mode, sent, to, "Mail process", common, op, with("messaging.oban.attempt", 1))
	}
}

// Faktory's jids, as its clients' users write them.
func faktory(w *senders, under trace.Ref, from, to string) trace.Ref {
	jid := w.jid()[:16]
	w.span(under, from, "faktory push", producer, with("messaging.system", "faktory", "faktory.job.jid", jid, "messaging.destination.name", "default"))
	return w.span(root, to, "faktory work", consumer, with("messaging.system", "faktory", "faktory.job.jid", jid, "messaging.destination.name", "default"))
}

// Temporal's interceptors carry the context through workflow and activity.
func temporal(w *senders, under trace.Ref, from, to string) trace.Ref {
	id := with("temporalWorkflowID", w.uuid(), "temporalRunID", w.uuid())
	started := w.span(under, from, "StartWorkflow:Mail", calls, id)
	flow := w.span(started, to, "RunWorkflow:Mail", trace.KindServer, id)
	act := w.span(flow, to, "StartActivity:Send", calls, id)
	return w.span(act, to, "RunActivity:Send", trace.KindServer, id)
}

// Google's clients: create is what the receiver's subscribe stands under; publish
// is the call that sent them.
func pubSub(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		attrs := func(op string) func(*trace.Span) {
			return with("messaging.system", "gcp_pubsub", "messaging.destination.name", "quotes", "gcp.project_id", "p", "messaging.operation", op)
		}
		id := with("messaging.message.id", fmt.Sprint(11_264_510_000_000_000+w.next()))
		created := w.span(under, from, "quotes create", producer, attrs("create"), id)
		w.span(root, from, "quotes publish", calls, attrs("publish"), with("messaging.batch.message_count", 1), linked(created))
		got := receive(w, mode, created, to, "quotes-sub subscribe", attrs("receive"), id)
		return w.span(got, to, "quotes-sub process", internal)
	}
}

// pubSubTogether: one call publishes the messages of several requests.
func pubSubTogether(w *senders) {
	var roots, created []trace.Ref
	for range 4 {
		r, h := w.request()
		roots = append(roots, r)
		created = append(created, w.span(h, "web", "quotes create", producer, with("messaging.system", "gcp_pubsub", "messaging.destination.name", "quotes", "messaging.operation", "create")))
	}
	call := w.span(root, "web", "quotes publish", calls, with("messaging.system", "gcp_pubsub", "messaging.operation", "publish", "messaging.batch.message_count", 4), linked(created...))
	w.ask(call, false, roots...)
	for i, c := range created {
		w.ask(w.span(c, "dealers", "quotes-sub subscribe", consumer, with("messaging.system", "gcp_pubsub", "messaging.operation", "receive")), false, roots[i])
	}
}

// Azure's SDKs, EventHubs too: a span for the message, one for the call that sends
// it, and one for its handling, below it or linked.
func serviceBus(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		common := with("messaging.system", "servicebus", "messaging.destination.name", "quotes", "az.namespace", "Microsoft.ServiceBus")
		message := w.span(under, from, "ServiceBus.message", producer, common)
		w.span(under, from, "ServiceBus.send", calls, common, with("messaging.operation", "publish", "messaging.batch.message_count", 1), linked(message))
		run := receive(w, mode, message, to, "ServiceBus.process", common, with("messaging.operation", "process"))
		w.span(run, to, "ServiceBus.complete", calls, common, with("messaging.operation", "settle"), linked(message))
		return run
	}
}

func serviceBusBatch(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
	common := with("messaging.system", "servicebus", "messaging.destination.name", "quotes", "az.namespace", "Microsoft.ServiceBus")
	var messages []trace.Ref
	for _, u := range under {
		messages = append(messages, w.span(u, from, "ServiceBus.message", producer, common))
	}
	got := w.span(root, to, "ServiceBus.receive", calls, common, with("messaging.operation", "receive", "messaging.batch.message_count", len(messages)), linked(messages...))
	return nil, []trace.Ref{got, w.span(root, to, "ServiceBus.process", consumer, common, with("messaging.operation", "process"), linked(messages...))}
}

// SNS gives a message one id, and SQS another.
func snsToSQS(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		sent := w.span(under, from, "quotes publish", producer, with("rpc.service", "SNS", "messaging.system", "aws.sns", "messaging.destination.name", "quotes", "messaging.message.id", w.uuid()))
		return receive(w, mode, sent, to, "quotes-queue process", with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes-queue", "messaging.operation", "process", "messaging.message.id", w.uuid()))
	}
}

func natsHop(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		common := with("messaging.system", "nats", "messaging.destination.name", "quotes.new")
		return receive(w, mode, w.span(under, from, "quotes.new publish", producer, common), to, "quotes.new process", common)
	}
}

// lambda: a function that SQS calls is a server to OpenTelemetry's instrumentations
// of AWS Lambda, and its trigger says by what.
func lambda(links bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		sent := w.span(under, from, "quotes send", producer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes"))
		call := w.span(root, to, "quotes-handler", trace.KindServer, with("faas.trigger", "pubsub", "faas.invocation_id", w.uuid()))
		if !links {
			return call
		}
		return w.span(call, to, "quotes process", consumer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.operation", "process"), linked(sent))
	}
}

// servedMessage: tracing made by hand gives the handling of messages the kind of a server.
func servedMessage(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		common := with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes")
		sent := w.span(under, from, "quotes publish", producer, common)
		run := receive(w, mode, sent, to, "quotes process", common, with("messaging.operation", "process"))
		w.mark(run, func(s *trace.Span) { s.Kind = trace.KindServer })
		return run
	}
}

// keyAgain: a key names a dealer, and of two messages about it only one's sending
// was seen, hours before the other was handled.
func keyAgain(w *senders) {
	w.now = w.now.Add(-5 * time.Hour)
	for i := range 3 {
		r, h := w.request()
		attrs := with("messaging.system", "kafka", "messaging.destination.name", "dealers", "messaging.kafka.message.key", fmt.Sprint("dealer-12345", i))
		w.span(h, "web", "dealers send", producer, attrs)
		w.ask(w.span(root, "search", "dealers process", consumer, attrs), false, r)
		w.now = w.now.Add(time.Hour)
		w.ask(w.span(root, "search", "dealers process", consumer, attrs), true, w.ref())
	}
}

// activeJobScheduled: a job of ActiveJob waits in Sidekiq's set of scheduled jobs.
func activeJobScheduled(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		id, jid := w.uuid(), w.jid()
		const waited = 8 * time.Second
		aj := with("messaging.system", "active_job", "messaging.destination", "default", "messaging.message.id", id, "messaging.active_job.adapter.name", "sidekiq")
		sk := with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.message_id", jid, "messaging.destination", "default")
		out := w.span(under, from, "default publish", producer, aj)
		w.span(out, from, "default publish", producer, sk, made(0))
		w.now = w.now.Add(waited)
		again := w.span(root, to, "default publish", producer, sk, made(waited))
		run := receive(w, mode, again, to, "default process", sk, with("messaging.operation", "process"), made(waited), enqueued(5*time.Millisecond))
		if mode == "link" {
			return w.span(run, to, "default process", consumer, aj, with("messaging.operation", "process"), linked(out))
		}
		return w.span(run, to, "default process", consumer, aj, with("messaging.operation", "process"))
	}
}

// saga: all messages of a saga have the id of the conversation, and none of their own.
func saga(w *senders, under trace.Ref, from, to string) trace.Ref {
	common := with("messaging.system", "rabbitmq", "messaging.message.conversation_id", "7f1ad1cc-1e0b-4a5a-9a7e-0f5bb6c9d4a1", "messaging.destination.name", "quotes")
	return receive(w, "none", w.span(under, from, "quotes publish", producer, common), to, "quotes process", common, with("messaging.operation", "process"))
}

// unsampled: the sender's trace was not kept; its context was sent along.
func unsampled(said bool) hop {
	return func(w *senders, _ trace.Ref, _, to string) trace.Ref {
		return w.span(root, to, "quotes process", consumer, with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation", "process"), linked(w.ref()), func(s *trace.Span) {
			if said {
				s.Links[0].Attributes = []trace.Attribute{{Key: "trace.flags", Value: trace.Int(0x100)}}
			}
		})
	}
}

// asides: a step of a request links to the trace of another, whose result it
// shares, say; what it does is still done for its own.
func asides(w *senders, under trace.Ref, from, to string) trace.Ref {
	other := w.span(root, from, "GET /prices", trace.KindServer)
	step := w.span(under, from, "prices", internal, linked(other))
	return sidekiqHop("link", false)(w, step, from, to)
}

// httpBetween calls a service that sends a message.
func httpBetween(w *senders, under trace.Ref, from, to string) trace.Ref {
	call := w.span(under, from, "POST", calls, with("http.request.method", "POST"))
	served := w.span(call, "api-"+to, "POST /dealers", trace.KindServer, with("http.request.method", "POST"))
	return sidekiqHop("link", false)(w, served, "api-"+to, to)
}

// redelivered: after a rebalance another consumer handles a message again.
func redelivered(mode string) func(*senders) {
	return func(w *senders) {
		for range 3 {
			r, h := w.request()
			w.next()
			names := offsetKafka(27)
			sent := w.span(h, "web", "quotes send", producer, with(names(w, "quotes", true)...))
			for range 2 {
				// By an offset alone it may have been another cluster's message.
				w.ask(receive(w, mode, sent, "dealers", "quotes process", with(names(w, "quotes", false)...)), mode == "none", r)
			}
		}
	}
}

// groups: each group of consumers handles each message.
func groups(mode string) func(*senders) {
	return func(w *senders) {
		for range 3 {
			r, h := w.request()
			w.next()
			names := offsetKafka(21)
			sent := w.span(h, "web", "quotes send", producer, with(names(w, "quotes", true)...))
			for _, to := range []string{"dealers", "mail", "search"} {
				run := receive(w, mode, sent, to, "quotes process", with(names(w, "quotes", false)...), with("messaging.kafka.consumer.group", to))
				// By an offset alone, and as one service, another cluster's may be among them.
				w.ask(run, mode == "none", r)
				w.ask(sidekiqHop("link", false)(w, run, to, "worker"), mode == "none", r)
			}
		}
	}
}

// deadLetters: who fails to handle a message sends it on.
func deadLetters(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		w.next()
		names := offsetKafka(27)
		sent := w.span(under, from, "quotes send", producer, with(names(w, "quotes", true)...))
		run := receive(w, mode, sent, to, "quotes process", with(names(w, "quotes", false)...))
		again := w.span(run, to, "quotes-dlt send", producer, with(names(w, "quotes-dlt", true)...))
		return receive(w, mode, again, to, "quotes-dlt process", with(names(w, "quotes-dlt", false)...))
	}
}

// clusters: two clusters of one environment have a topic of the same name, and the
// same offsets: what happened is known only if spans name the cluster.
func clusters(named bool) func(*senders) {
	return func(w *senders) {
		for i := range 3 {
			var roots, runs []trace.Ref
			for _, c := range []string{"uk", "de"} {
				r, h := w.request()
				roots = append(roots, r)
				attrs := with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.destination.partition.id", "0", "messaging.kafka.offset", i)
				if named {
					attrs = with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.destination.partition.id", "0", "messaging.kafka.offset", i, "messaging.kafka.cluster.id", c)
				}
				w.span(h, "web", "quotes send", producer, attrs)
				runs = append(runs, w.span(root, "dealers", "quotes process", consumer, attrs))
			}
			for k, run := range runs {
				if named {
					w.ask(run, false, roots[k])
				} else {
					w.ask(run, true, roots...)
				}
			}
		}
	}
}

// rabbitDead: the broker puts a message that failed into another queue, as it came.
func rabbitDead(w *senders, under trace.Ref, from, to string) trace.Ref {
	common := with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.message.id", w.uuid())
	sent := w.span(under, from, "quotes publish", producer, common)
	receive(w, "link", sent, to, "quotes process", common, with("messaging.operation", "process"))
	return receive(w, "link", sent, to, "quotes.dead process", common, with("messaging.operation", "process"))
}

// outbox: a request writes a message into a table, whence a relay sends it: with the
// request's context, under the id it was given there, or without anything.
func outbox(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		common := []any{"messaging.system", "kafka", "messaging.destination.name", "quotes"}
		write := w.span(under, from, "INSERT outbox", calls, with("db.system", "postgresql"))
		above := write
		switch mode {
		case "ids", "ids, root":
			common = append(common, "messaging.message.id", w.uuid())
			w.span(under, from, "quotes create", producer, with(common...), with("messaging.operation.type", "create"))
			above = root
		case "nothing", "nothing, links":
			above = root
		}
		if above == root && mode != "ids, root" {
			above = w.span(root, "relay", "outbox poll", internal)
		}
		w.now = w.now.Add(2 * time.Second)
		sent := w.span(above, "relay", "quotes send", producer, with(common...), with("messaging.operation.type", "send"))
		how := "child"
		if mode == "nothing, links" {
			how = "link"
		}
		return receive(w, how, sent, to, "quotes process", with(common...), with("messaging.operation.type", "process"))
	}
}

// fanIn: a timer gathers what several requests sent, and sends one message of it.
func fanIn(w *senders) {
	for range 3 {
		var roots, sent []trace.Ref
		for i := range 3 {
			r, h := w.request()
			roots = append(roots, r)
			sent = append(sent, w.span(h, "web", "quotes send", producer, with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.message.id", "q-"+strconv.Itoa(i))))
		}
		tick := w.span(root, "statistics", "aggregate", internal, linked(sent...))
		w.ask(tick, false, roots...)
		w.ask(sidekiqHop("link", false)(w, tick, "statistics", "mail"), false, roots...)
	}
}

// router: Heroku's router logs a request, of which a span is made; the application
// and its jobs have its id, and nothing else in common with it.
func router(w *senders) {
	for range 3 {
		id := w.uuid()
		r := w.span(root, "heroku-router", "GET /quotes", trace.KindServer, with("request_id", id, "fwd", "203.0.113.42", "dyno", "web.1", "connect", "1ms", "service", "12ms", "at", "info"))
		app := w.span(root, "web", "GET /quotes", trace.KindServer, with("http.request.header.x-request-id", []string{id}, "http.route", "/quotes"))
		w.ask(app, false, r)
		call := w.span(app, "web", "SELECT", calls, with("request_id", id))
		w.ask(call, false, r)
		w.ask(sidekiqHop("link", false)(w, app, "web", "worker"), false, r)
		job := w.span(root, "mail", "Mail", trace.KindUnspecified, with("type", "job", "job.class", "Mail", "request_id", id))
		w.ask(job, false, r)
		w.ask(w.span(job, "mail", "SELECT", calls, with("request_id", id)), false, r)
	}
}
