package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"redthread/tracestore/trace"
)

// looped: one span of a worker stands above all that it ever does. What it handles
// has a link, an id, a key or nothing; it is a job or a message.
func looped(name string, kind trace.Kind, mode string, attrs func(w *senders, op string) []any) func(*senders) {
	return func(w *senders) {
		loops := map[string]trace.Ref{}
		w.chains(func(w *senders, under trace.Ref, from, to string) trace.Ref {
			common := attrs(w, "send")
			sent := w.span(under, from, "quotes send", producer, with(common...))
			if loops[to] == root {
				loops[to] = w.span(root, to, name, kind)
			}
			for i := range common {
				if common[i] == "send" {
					common[i] = "process"
				}
			}
			opts := []func(*trace.Span){with(common...)}
			if mode == "link" {
				opts = append(opts, linked(sent))
			}
			return w.span(loops[to], to, "quotes process", consumer, opts...)
		}, mode == "none")
	}
}

func rabbitID(w *senders, op string) []any {
	return []any{"messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.operation.type", op, "messaging.message.id", w.uuid()}
}

func rabbitBare(_ *senders, op string) []any {
	return []any{"messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.operation.type", op}
}

func jobID(w *senders, op string) []any {
	return []any{"messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.destination.name", "default", "messaging.operation", op, "messaging.message.id", w.jid()}
}

func jobBare(_ *senders, op string) []any {
	return []any{"messaging.system", "resque", "messaging.resque.job_class", "Mail", "messaging.destination", "default", "messaging.operation", op}
}

// laravel: `artisan queue:work` is a command with a span of its own, and what came
// without a context is handled below it (opentelemetry-php-contrib, Laravel).
func laravel(mode string) func(*senders) {
	return func(w *senders) {
		commands := map[string]trace.Ref{}
		w.chains(func(w *senders, under trace.Ref, from, to string) trace.Ref {
			common := with("messaging.system", "redis", "messaging.destination.name", "default", "messaging.destination.template", "Illuminate\\Queue\\RedisQueue", "messaging.message.id", w.uuid())
			sent := w.span(under, from, "default publish", producer, common, with("messaging.operation", "publish"))
			if mode == "child" {
				return w.span(sent, to, "default process", consumer, common, with("messaging.operation", "process"))
			}
			if commands[to] == root {
				commands[to] = w.span(w.span(root, to, "Artisan handler", producer), to, "Command queue:work", internal)
			}
			return w.span(commands[to], to, "default process", consumer, common, with("messaging.operation", "process"))
		}, false)
	}
}

// performedNow: a job that is run where it stands was never enqueued.
func performedNow(w *senders) {
	for _, name := range []string{"rake quotes:expire", "rails runner", "bin/rails console", "console", "cron", "artisan schedule:run", "manage.py expire", "every 5.minutes"} {
		r := w.span(root, "clock", name, internal)
		run := w.span(r, "clock", "default process", consumer, with("messaging.system", "active_job", "messaging.operation", "process", "messaging.message.id", w.uuid()))
		w.ask(run, false, r)
		w.ask(sidekiqHop("link", false)(w, run, "clock", "worker"), false, r)
	}
	r, h := w.request()
	run := w.span(h, "web", "default process", consumer, with("messaging.system", "active_job", "messaging.operation", "process", "messaging.message.id", w.uuid()))
	w.ask(run, false, r)
	job := sidekiqHop("link", false)(w, run, "web", "worker")
	w.ask(w.span(job, "worker", "default process", consumer, with("messaging.system", "active_job", "messaging.operation", "process", "messaging.message.id", w.uuid())), false, r)
}

// forwardedRequest: a request calls another application with its X-Request-ID and
// without a context, several times. That the second is no request of its own is not
// written anywhere: the client may have made both under the id.
func forwardedRequest(again int) func(*senders) {
	return func(w *senders) {
		for range 3 {
			id := w.uuid()
			r, h := w.request()
			w.mark(r, with("http.request.header.x-request-id", []string{id}), func(s *trace.Span) { s.DurationNano = 900e6 })
			w.ask(r, false, r)
			w.ask(sidekiqHop("link", false)(w, h, "web", "worker"), false, r)
			for range again {
				w.span(h, "web", "GET", calls, with("url.full", "http://prices/"))
				b := w.span(root, "prices", "GET /prices", trace.KindServer, with("http.request.header.x-request-id", []string{id}))
				w.ask(b, true, r)
				w.ask(sidekiqHop("link", false)(w, b, "prices", "worker"), true, r)
				w.ask(w.span(root, "mail", "Mail", trace.KindUnspecified, with("type", "job", "job.class", "Mail", "request_id", id)), true, r)
			}
		}
	}
}

// sameRequestID: a client makes all of its requests under one id, of an application
// that has it of the client's session, say.
func sameRequestID(w *senders) {
	id := w.uuid()
	for range 30 {
		r, h := w.request()
		w.mark(r, with("request_id", id))
		w.ask(r, true, r)
		w.ask(sidekiqHop("link", false)(w, h, "web", "worker"), true, r)
		w.now = w.now.Add(time.Minute)
	}
}

// halfClusters: of two clusters without names in one environment only the messages
// of one are seen when they are sent. Both are handled by the same service.
func halfClusters(w *senders) {
	for i := range 4 {
		attrs := with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.destination.partition.id", "0", "messaging.kafka.offset", i)
		r, h := w.request()
		w.span(h, "web", "quotes send", producer, attrs)
		w.ask(w.span(root, "dealers", "quotes process", consumer, attrs), true, r)
		w.ask(w.span(root, "dealers", "quotes process", consumer, attrs), true, w.ref())
	}
}

// keySoon: of two messages of one key, minutes apart, one was sent by a request that
// was not sampled.
func keySoon(w *senders) {
	for i := range 4 {
		attrs := with("messaging.system", "kafka", "messaging.destination.name", "dealers", "messaging.kafka.message.key", fmt.Sprint("dealer-12345", i))
		r, h := w.request()
		w.span(h, "web", "dealers send", producer, attrs)
		w.ask(w.span(root, "search", "dealers process", consumer, attrs), true, r)
		w.now = w.now.Add(2 * time.Minute)
		w.ask(w.span(root, "search", "dealers process", consumer, attrs), true, w.ref())
	}
}

// twoDatabases: two applications of one environment have queues of the same name,
// each in its own database, which numbers its jobs itself. Of one the sending may
// not be seen.
func twoDatabases(seen bool, attrs func(id int) []any) func(*senders) {
	return func(w *senders) {
		for i := range 5 {
			r, h := w.request()
			w.span(h, "web", "default publish", producer, with(attrs(i+1)...))
			r2 := w.ref()
			if seen {
				r2 = w.span(root, "crm", "POST /leads", trace.KindServer)
				w.span(r2, "crm", "default publish", producer, with(attrs(i+1)...))
			}
			w.ask(w.span(root, "web-worker", "default process", consumer, with(attrs(i+1)...), with("messaging.operation", "process")), true, r)
			w.ask(w.span(root, "crm-worker", "default process", consumer, with(attrs(i+1)...), with("messaging.operation", "process")), true, r2)
		}
	}
}

func queIDs(id int) []any {
	return []any{"messaging.system", "que", "messaging.destination", "default", "messaging.que.job_class", "Mail", "messaging.message_id", strconv.Itoa(id)}
}

func delayedIDs(id int) []any {
	return []any{"messaging.system", "delayed_job", "messaging.destination", "default", "messaging.delayed_job.name", "Mail", "messaging.message_id", strconv.Itoa(id)}
}

func bullIDs(id int) []any {
	return []any{"bullmq.queue.name", "default", "bullmq.job.name", "Mail", "bullmq.job.id", strconv.Itoa(id)}
}

// relayLoop: a process publishes what requests wrote into a table.
func relayLoop(name string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		w.span(under, from, "INSERT", calls, with("db.system", "postgresql"))
		w.now = w.now.Add(2 * time.Second)
		tick := w.span(root, "relay", name, internal)
		w.span(tick, "relay", "SELECT", calls, with("db.system", "postgresql"))
		sent := w.span(tick, "relay", "quotes send", producer, with("messaging.system", "kafka", "messaging.destination.name", "quotes"))
		return receive(w, "link", sent, to, "quotes process", with("messaging.system", "kafka", "messaging.destination.name", "quotes"))
	}
}

// twoRuns: an order's id is the id of every message about it, and those are sent by
// jobs of different requests.
func twoRuns(w *senders) {
	for range 3 {
		id := w.uuid()
		for _, topic := range []string{"orders.paid", "orders.shipped"} {
			r, h := w.request()
			run := sidekiqHop("link", false)(w, h, "web", "worker")
			attrs := with("messaging.system", "rabbitmq", "messaging.destination.name", topic, "messaging.message.id", id)
			w.span(run, "worker", topic+" publish", producer, attrs)
			w.ask(w.span(root, "mail", topic+" process", consumer, attrs), true, r)
		}
	}
}

// linkedReceive: the receipt of N messages has N links, and each of the messages a
// span below it: with a link, or without one.
func linkedReceive(links bool) batch {
	return func(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
		var sent []trace.Ref
		for _, u := range under {
			sent = append(sent, w.span(u, from, "quotes send", producer, with(newKafka(w, "quotes", true)...)))
		}
		got := w.span(root, to, "quotes receive", consumer, with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation.type", "receive",
			"messaging.batch.message_count", len(sent)), linked(sent...))
		whole = append(whole, got)
		for _, s := range sent {
			opts := []func(*trace.Span){with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation.type", "process")}
			if links {
				single = append(single, w.span(got, to, "quotes process", consumer, append(opts, linked(s))...))
			} else {
				whole = append(whole, w.span(got, to, "quotes process", consumer, opts...))
			}
		}
		return single, whole
	}
}

// partBatch: of the messages of a batch some came without a context.
func partBatch(parent, links bool) func(*senders) {
	return func(w *senders) {
		for n := range 3 {
			var roots, sent []trace.Ref
			for range n + 1 {
				r, h := w.request()
				roots, sent = append(roots, r), append(sent, w.span(h, "web", "quotes send", producer, with(newKafka(w, "quotes", true)...)))
			}
			above := root
			if parent {
				above = sent[0]
			}
			opts := []func(*trace.Span){with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation.type", "process", "messaging.batch.message_count", n+2)}
			if links {
				opts = append(opts, linked(sent...))
			}
			run := w.span(above, "dealers", "quotes process", consumer, opts...)
			roots = append(roots, w.ref()) // of one nothing is known
			w.ask(run, true, roots...)
			w.ask(sidekiqHop("link", false)(w, run, "dealers", "worker"), true, roots...)
		}
	}
}

// linksReceive: the handling of a message is below its sending, and linked to the
// receipt that brought it, which is a trace of its own.
func linksReceive(w *senders, under trace.Ref, from, to string) trace.Ref {
	common := with("messaging.system", "servicebus", "messaging.destination.name", "quotes")
	sent := w.span(under, from, "quotes send", producer, common)
	got := w.span(root, to, "quotes receive", consumer, common, with("messaging.operation", "receive"), linked(sent))
	return w.span(sent, to, "quotes process", consumer, common, with("messaging.operation", "process"), linked(got))
}

// pointsForward: by hand, who enqueues a job links to the trace that it will be.
func pointsForward(w *senders, under trace.Ref, from, to string) trace.Ref {
	run := w.ref()
	w.span(under, from, "enqueue Mail", producer, linked(run))
	return w.span(root, to, "Mail", consumer, with("messaging.system", "sidekiq"), func(s *trace.Span) { s.TraceID, s.SpanID = run.TraceID, run.SpanID })
}

// late: a job is run again much later, under the id that it has.
func late(after time.Duration, mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		jid := w.jid()
		common := with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.message_id", jid, "messaging.destination", "default")
		began := w.now
		sent := w.span(under, from, "default publish", producer, common, made(0))
		receive(w, mode, sent, to, "default process", common, with("messaging.operation", "process"), made(7*time.Millisecond), enqueued(5*time.Millisecond))
		w.now = began.Add(after)
		again := w.span(root, to, "default publish", producer, common, made(after))
		return receive(w, mode, again, to, "default process", common, with("messaging.operation", "process"), made(after), enqueued(5*time.Millisecond))
	}
}

// renumbered gives spans ids that are unique only in their trace.
func renumbered(write func(*senders)) func(*senders) {
	return func(w *senders) {
		write(w)
		ids := map[trace.Ref]trace.SpanID{}
		count := map[trace.ID]byte{}
		for i := range w.spans {
			s := &w.spans[i]
			count[s.TraceID]++
			ids[s.Ref()] = trace.SpanID{7: count[s.TraceID]}
		}
		to := func(r trace.Ref) trace.SpanID {
			if id, ok := ids[r]; ok {
				return id
			}
			return r.SpanID
		}
		for i := range w.spans {
			s := &w.spans[i]
			for k := range s.Links {
				s.Links[k].SpanID = to(trace.Ref{TraceID: s.Links[k].TraceID, SpanID: s.Links[k].SpanID})
			}
			s.ParentID, s.SpanID = to(trace.Ref{TraceID: s.TraceID, SpanID: s.ParentID}), to(s.Ref())
		}
		for i := range w.asked {
			w.asked[i].run.SpanID = to(w.asked[i].run)
		}
	}
}

// zeros: a context of zeros is none, however it is written.
func zeros(w *senders) {
	const no = "00000000000000000000000000000000"
	for _, opt := range []func(*trace.Span){
		linked(trace.Ref{}),
		with("trace.link.trace_id", no, "trace.link.span_id", no[:16]),
		with("parent.trace_id", no),
		with("trace.parent_id", no),
		with("_dd.span_links", `[{"trace_id":"`+no+`","span_id":"`+no[:16]+`"},{"trace_id":"0","span_id":"0","attributes":{"link.kind":"span-pointer","ptr.kind":"aws.s3.object","ptr.dir":"u"}}]`),
		with("messaging.message.id", no),
	} {
		for range 2 {
			r, h := w.request()
			w.span(h, "web", "quotes send", producer, with("messaging.destination.name", "quotes"), opt)
			w.ask(w.span(root, "worker", "quotes process", consumer, with("messaging.system", "sqs", "messaging.destination.name", "quotes"), opt), true, r)
		}
	}
}

// activeJobOfSidekiq: who enqueues is traced as ActiveJob, and who runs as Sidekiq.
func activeJobOfSidekiq(w *senders, under trace.Ref, from, to string) trace.Ref {
	jid := w.jid()
	w.span(under, from, "default publish", producer, with("messaging.system", "active_job", "messaging.destination", "default", "messaging.message.id", w.uuid(),
		"messaging.active_job.adapter.name", "sidekiq", "messaging.active_job.message.provider_job_id", jid))
	return w.span(root, to, "default process", consumer, with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.message_id", jid, "messaging.destination", "default", "messaging.operation", "process"))
}

// plainHop sends under some names and receives under others.
func plainHop(mode, sends, receives string, names func(w *senders) (sent, got []any), kinds ...trace.Kind) hop {
	kinds = append(kinds, producer, consumer)
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		a, b := names(w)
		sent := w.span(under, from, sends, kinds[0], with(a...))
		run := receive(w, mode, sent, to, receives, with(b...))
		w.mark(run, func(s *trace.Span) { s.Kind = kinds[1] })
		return run
	}
}

// both has the same attributes on both sides, with the id of a message or job.
func both(key string, id func(*senders) string, attrs ...any) func(*senders) (sent, got []any) {
	return func(w *senders) (sent, got []any) {
		all := slices.Concat(attrs, []any{key, id(w)})
		return all, all
	}
}

// bare has no id.
func bare(attrs ...any) func(*senders) (sent, got []any) {
	return func(*senders) (sent, got []any) { return attrs, attrs }
}

func jmsID(w *senders) string { return "ID:broker-1-41234-1795381829276-1:1:1:1:" + number(w) }

// hangfire: the context goes along as a parameter of the job; with an application
// that is not traced it is not there. The run has no kind (OpenTelemetry .NET contrib).
func hangfire(traced bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		above := root
		if traced {
			above = under
		}
		return w.span(above, to, "JOB Mail.Send", internal, with("job.id", number(w), "job.createdat", "2026-11-23T10:00:00Z"))
	}
}

// kinesis: records of a shard by their sequence numbers, for a Lambda.
func kinesis(w *senders, under trace.Ref, from, to string) trace.Ref {
	w.span(under, from, "Kinesis.PutRecord", calls, with("rpc.service", "Kinesis", "rpc.method", "PutRecord", "aws.kinesis.stream_name", "quotes"))
	return w.span(root, to, "handler", trace.KindServer, with("faas.trigger", "datasource", "faas.invocation_id", w.uuid(), "cloud.resource_id", "arn"))
}

// lambdaBatch: a Lambda that SQS calls with several messages: a server with N links.
func lambdaBatch(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
	var sent []trace.Ref
	for _, u := range under {
		sent = append(sent, w.span(u, from, "quotes send", producer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes")))
	}
	call := w.span(root, to, "quotes-handler", trace.KindServer, with("faas.trigger", "pubsub", "messaging.system", "aws_sqs", "messaging.operation", "process", "messaging.batch.message_count", len(sent)), linked(sent...))
	return nil, []trace.Ref{call, w.span(call, to, "handle", internal)}
}

// nServiceBus: a delayed message is handled in a trace of its own with a link, any
// other below its sending; all of a conversation have its id.
func nServiceBus(delayed bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		id := with("nservicebus.message_id", w.uuid(), "nservicebus.conversation_id", "3c9a7c1e-40a6-4b70-8b9a-b1f200f0c3a1", "messaging.message.conversation_id", "3c9a7c1e-40a6-4b70-8b9a-b1f200f0c3a1")
		sent := w.span(under, from, "send message", producer, id)
		if delayed {
			w.now = w.now.Add(time.Hour)
			return w.span(root, to, "process message", consumer, id, linked(sent))
		}
		return w.span(sent, to, "process message", consumer, id)
	}
}

// attempts: each attempt links to the one before it, and the first to its sending.
func attempts(w *senders, under trace.Ref, from, to string) trace.Ref {
	at := w.span(under, from, "quotes send", producer, with("messaging.system", "rabbitmq"))
	for range 4 {
		at = w.span(root, to, "quotes process", consumer, with("messaging.system", "rabbitmq"), linked(at))
		w.now = w.now.Add(10 * time.Minute)
	}
	return at
}

// throughDeadLetters: a message that failed is kept, and sent again by a person days
// later, under its id and from a console.
func throughDeadLetters(w *senders) {
	for range 3 {
		r, h := w.request()
		id := with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.message.id", w.uuid())
		w.span(h, "web", "quotes publish", producer, id)
		w.ask(w.span(root, "worker", "quotes process", consumer, id), false, r)
		w.now = w.now.Add(36 * time.Hour)
		console := w.span(root, "console", "rails console", internal)
		w.span(console, "console", "quotes publish", producer, id)
		w.ask(w.span(root, "worker", "quotes process", consumer, id), false, r)
	}
}
