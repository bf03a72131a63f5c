package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/trace"
)

// hop sends a message or job from under a span and writes its run, which it
// returns; batch sends one from under each and receives all together: it
// returns what handles each and what was caused by all.
type (
	hop   func(w *senders, under trace.Ref, from, to string) trace.Ref
	batch func(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref)
)

var root trace.Ref

const (
	producer = trace.KindProducer
	consumer = trace.KindConsumer
	internal = trace.KindInternal
	calls    = trace.KindClient
)

type senderShape struct {
	name  string
	clock bool // what its spans tell, their order in time tells, and that none is missing
	write func(w *senders)
}

func hops(h hop) func(*senders)    { return func(w *senders) { w.chains(h, false) } }
func silent(h hop) func(*senders)  { return func(w *senders) { w.chains(h, true) } }
func whole(b batch) func(*senders) { return func(w *senders) { w.batches(b) } }
func decimal(b []byte) string {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return strconv.FormatUint(n, 10)
}

// receive joins a run to what sent it.
func receive(w *senders, mode string, sent trace.Ref, to, name string, opts ...func(*trace.Span)) trace.Ref {
	switch mode {
	case "child":
		return w.span(sent, to, name, consumer, opts...)
	case "link":
		return w.span(root, to, name, consumer, append(opts, linked(sent))...)
	case "both":
		return w.span(sent, to, name, consumer, append(opts, linked(sent))...)
	}
	return w.span(root, to, name, consumer, opts...)
}

// happened adds an event of a time before the span.
func happened(name string, before time.Duration) func(*trace.Span) {
	return func(s *trace.Span) {
		s.Events = append(s.Events, trace.Event{Name: name, TimeUnixNano: s.StartUnixNano - int64(before)})
	}
}

func made(before time.Duration) func(*trace.Span)     { return happened("created_at", before) }
func enqueued(before time.Duration) func(*trace.Span) { return happened("enqueued_at", before) }

// opentelemetry-ruby-contrib instrumentation/sidekiq, middlewares/{calls,server}/tracer_middleware.rb
func sidekiqHop(mode string, newer bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		jid := w.jid()
		id, dest := "messaging.message_id", "messaging.destination"
		if newer {
			id, dest = "messaging.message.id", "messaging.destination.name"
		}
		common := with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", id, jid, dest, "default")
		sent := w.span(under, from, "default publish", producer, common, with("messaging.destination_kind", "queue"), made(0))
		return receive(w, mode, sent, to, "default process", common, with("messaging.operation", "process"), made(7*time.Millisecond), enqueued(5*time.Millisecond))
	}
}

// The same, run twice: the first run fails, and Sidekiq's poller, which is not
// traced, sends the job again.
func sidekiqRetry(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		jid := w.jid()
		common := with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.message_id", jid)
		sent := w.span(under, from, "default publish", producer, common, with("messaging.destination", "default"))
		receive(w, mode, sent, to, "default process", common, with("messaging.operation", "process", "messaging.destination", "default"))
		return receive(w, mode, sent, to, "default process", common, with("messaging.operation", "process", "messaging.destination", "retry"))
	}
}

// instrumentation/{active_job,resque,que,delayed_job}
func rubyHop(mode, system string, id func(*senders) string, attrs ...any) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		pairs := append([]any{"messaging.system", system, "messaging.destination", "default", "messaging.destination_kind", "queue"}, attrs...)
		if id != nil {
			pairs = append(pairs, "messaging.message_id", id(w))
		}
		sent := w.span(under, from, "default publish", producer, with(pairs...), with("messaging.operation", "publish"))
		return receive(w, mode, sent, to, "default process", with(pairs...), with("messaging.operation", "process"))
	}
}

// ActiveJob over Sidekiq: two publishes, one in the other, and two runs.
func activeJobOnSidekiq(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		id, jid := w.uuid(), w.jid()
		aj := with("messaging.system", "active_job", "messaging.destination", "default", "messaging.message.id", id, "messaging.active_job.adapter.name", "sidekiq",
			"messaging.active_job.message.provider_job_id", jid)
		sk := with("messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.message_id", jid, "messaging.destination", "default")
		out := w.span(under, from, "default publish", producer, aj)
		in := w.span(out, from, "default publish", producer, sk)
		run := receive(w, mode, in, to, "default process", sk, with("messaging.operation", "process"))
		if mode == "link" {
			return w.span(run, to, "default process", consumer, aj, with("messaging.operation", "process"), linked(out))
		}
		return w.span(run, to, "default process", consumer, aj, with("messaging.operation", "process"))
	}
}

// instrumentation/{rdkafka,racecar,ruby_kafka}: each_message, child and link to
// the same span; newer names.
func kafkaHop(mode string, names func(w *senders, topic string, sending bool) []any) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		w.next()
		topic := "quotes-for-" + to
		sent := w.span(under, from, topic+" publish", producer, with(names(w, topic, true)...))
		return receive(w, mode, sent, to, topic+" process", with(names(w, topic, false)...))
	}
}

func oldKafka(w *senders, topic string, sending bool) []any {
	p := []any{"messaging.system", "kafka", "messaging.destination", topic, "messaging.destination_kind", "topic", "messaging.kafka.message_key", fmt.Sprint("dealer-", w.counter)}
	if !sending {
		p = append(p, "messaging.operation", "process", "messaging.kafka.partition", 0, "messaging.kafka.offset", w.counter)
	}
	return p
}

func newKafka(w *senders, topic string, sending bool) []any {
	op := "process"
	if sending {
		op = "send"
	}
	p := []any{"messaging.system", "kafka", "messaging.destination.name", topic, "messaging.operation.type", op, "messaging.operation.name", op, "messaging.destination.partition.id", "3"}
	if !sending {
		p = append(p, "messaging.kafka.offset", w.counter)
	}
	return p
}

// offsets on both sides, once the broker has answered: semantic conventions 1.16 to
// 1.19 (messaging.source.* on the consumer) and after.
func offsetKafka(version int) func(*senders, string, bool) []any {
	return func(w *senders, topic string, sending bool) []any {
		switch {
		case version >= 26:
			return []any{"messaging.system", "kafka", "messaging.destination.name", topic, "messaging.destination.partition.id", strconv.Itoa(w.counter % 3), "messaging.kafka.offset", w.counter / 3}
		case version >= 20 || sending:
			return []any{"messaging.system", "kafka", "messaging.destination.name", topic, "messaging.kafka.destination.partition", w.counter % 3, "messaging.kafka.message.offset", w.counter / 3}
		}
		return []any{"messaging.system", "kafka", "messaging.source.name", topic, "messaging.source.kind", "topic", "messaging.operation", "process",
			"messaging.kafka.source.partition", w.counter % 3, "messaging.kafka.message.offset", w.counter / 3}
	}
}

// otelsarama writes the offset as message id, unique in its partition only, on
// both sides (go.opentelemetry.io/contrib, dispatcher.go and producer.go).
func sarama(w *senders, topic string, sending bool) []any {
	p := []any{"messaging.system", "kafka", "messaging.destination", topic, "messaging.destination_kind", "topic",
		"messaging.message_id", strconv.Itoa(w.counter / 3), "messaging.kafka.partition", w.counter % 3}
	if !sending {
		p = append(p, "messaging.operation", "receive")
	}
	return p
}

// confluent-kafka and kafka-python: topic.partition.offset as message id on the
// consumer (opentelemetry-python-contrib, utils.py).
func pythonKafka(w *senders, topic string, sending bool) []any {
	if sending {
		return []any{"messaging.system", "kafka", "messaging.destination", topic}
	}
	return []any{"messaging.system", "kafka", "messaging.destination", topic, "messaging.operation", "receive", "messaging.kafka.partition", 0,
		"messaging.kafka.offset", w.counter, "messaging.message.id", fmt.Sprintf("%s.0.%d", topic, w.counter)}
}

// kotel of franz-go: a receive span under the producer, process under it.
func franz(w *senders, under trace.Ref, from, to string) trace.Ref {
	topic := "quotes"
	sent := w.span(under, from, topic+" publish", producer, with("messaging.system", "kafka", "messaging.destination.kind", "topic", "messaging.destination.name", topic, "messaging.operation", "publish"))
	got := w.span(sent, to, topic+" receive", consumer, with("messaging.system", "kafka", "messaging.source.kind", "topic", "messaging.source.name", topic, "messaging.operation", "receive",
		"messaging.kafka.source.partition", 1, "messaging.kafka.message.offset", w.next()))
	return w.span(got, to, topic+" process", consumer, with("messaging.system", "kafka", "messaging.source.name", topic, "messaging.operation", "process"))
}

// Java agent, kafka-clients with receive telemetry, Spring: receive is a root,
// process below it links to the producer.
func javaReceive(links bool) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		sent := w.span(under, from, "quotes publish", producer, with(newKafka(w, "quotes", true)...))
		opts := []func(*trace.Span){with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation", "receive", "messaging.batch.message_count", 1)}
		if links {
			opts = append(opts, linked(sent))
		}
		got := w.span(root, to, "quotes receive", consumer, opts...)
		w.next()
		return w.span(got, to, "quotes process", consumer, with(newKafka(w, "quotes", false)...), linked(sent))
	}
}

// Java, Spring AMQP and RabbitMQ: parent and link; the receive is a client span.
func rabbit(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		sent := w.span(under, from, "quotes publish", producer, with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.operation", "publish"))
		w.span(root, to, "quotes receive", calls, with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.operation", "receive"))
		return receive(w, mode, sent, to, "quotes process", with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.operation", "process"))
	}
}

// SQS: the client polls in a worker's own trace; the process spans below it link,
// or have the message id alone. One poll stands under a loop that never ends.
func sqs(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		id := w.uuid()
		sent := w.span(under, from, "quotes send", producer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.operation.type", "send", "messaging.message.id", id))
		loop := w.span(root, to, "worker loop", internal)
		poll := w.span(loop, to, "SQS.ReceiveMessage", calls, with("messaging.system", "aws_sqs", "messaging.operation.type", "receive"))
		opts := []func(*trace.Span){with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.operation.type", "process", "messaging.message.id", strings.ToUpper(id))}
		if mode == "link" {
			opts = append(opts, linked(sent))
		}
		return w.span(poll, to, "quotes process", consumer, opts...)
	}
}

// MassTransit 8: send, then receive and process under it; GUIDs with dashes.
func massTransit(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		ids := with("messaging.system", "rabbitmq", "messaging.masstransit.message_id", w.uuid(), "messaging.message.conversation_id", w.uuid(), "messaging.destination.name", "quotes")
		sent := w.span(under, from, "quotes send", producer, ids, with("messaging.operation", "send"))
		got := receive(w, mode, sent, to, "quotes receive", ids, with("messaging.operation", "receive"))
		return w.span(got, to, "quotes process", consumer, with("messaging.operation", "process"))
	}
}

// opentelemetry-instrumentation-celery
func celery(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		common := with("celery.task_name", "mail", "messaging.message.id", w.uuid(), "messaging.destination", "celery")
		sent := w.span(under, from, "apply_async/mail", producer, common, with("celery.action", "apply_async"))
		receive(w, mode, sent, to, "run/mail", common, with("celery.action", "run", "celery.state", "RETRY"))
		return receive(w, mode, sent, to, "run/mail", common, with("celery.action", "run", "celery.state", "SUCCESS"))
	}
}

// bullmq-otel: small numbers as job ids, of which each queue has its own.
func bullmq(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		id := strconv.Itoa(w.next())
		if mode == "none" { // the numbers of each queue
			id = strconv.Itoa(w.counter/3 + 1)
		}
		common := func(op string) func(*trace.Span) {
			return with("bullmq.queue.name", "mail-"+to, "bullmq.queue.operation", op, "bullmq.job.name", "Mail", "bullmq.job.id", id)
		}
		sent := w.span(under, from, "add mail.Mail", producer, common("add"))
		receive(w, mode, sent, to, "process mail", common("process"), with("bullmq.job.attempts.made", 1))
		run := receive(w, mode, sent, to, "process mail", common("process"), with("bullmq.job.attempts.made", 2))
		w.span(run, to, "complete mail", internal, common("complete"))
		return run
	}
}

// carwow/honeykiq
func honeykiq(mode string) hop {
	return func(w *senders, under trace.Ref, from, to string) trace.Ref {
		jid := w.jid()
		job := with("type", "job", "job.class", "Mail", "job.id", jid, "job.attempt_number", 1, "queue.name", "default", "job.status", "finished")
		sent := w.span(under, from, "enqueue", internal, with("job.class", "Mail"))
		kind := trace.KindUnspecified
		switch mode {
		case "child":
			return w.span(sent, to, "Mail", kind, job)
		case "parent.trace_id":
			return w.span(root, to, "Mail", kind, job, with("parent.trace_id", sent.TraceID.String()))
		case "trace.parent_id":
			return w.span(root, to, "Mail", kind, job, with("trace.parent_id", strings.ToUpper(sent.TraceID.String())))
		case "both":
			return w.span(root, to, "Mail", kind, job, with("parent.trace_id", sent.TraceID.String(), "trace.parent_id", sent.SpanID.String()))
		case "link span":
			run := w.span(root, to, "Mail", kind, job)
			w.span(run, to, "link", kind, with("name", "link", "meta.annotation_type", "link", "meta.span_type", "leaf", "trace.trace_id", run.TraceID.String(), "trace.parent_id", run.SpanID.String(),
				"trace.link.trace_id", sent.TraceID.String(), "trace.link.span_id", sent.SpanID.String()))
			w.span(run, to, "retrying", kind, with("meta.annotation_type", "span_event", "name", "retrying"))
			return run
		case "link event":
			run := w.span(root, to, "Mail", kind, job, func(s *trace.Span) {
				s.Events = append(s.Events, trace.Event{Name: "link", TimeUnixNano: s.StartUnixNano, Attributes: []trace.Attribute{
					{Key: "meta.annotation_type", Value: trace.String("link")},
					{Key: "trace.link.trace_id", Value: trace.String(sent.TraceID.String())}, {Key: "trace.link.span_id", Value: trace.String(sent.SpanID.String())}}})
			})
			return run
		case "ids, producer":
			w.span(sent, from, "Mail enqueue", producer, with("job.id", jid, "job.class", "Mail"))
		case "ids, internal":
			w.mark(sent, with("job.id", jid))
		}
		return w.span(root, to, "Mail", kind, job)
	}
}

// dd-trace: links as JSON on each span of the chunk. form is how ids are
// written; split keeps the upper half of trace ids in _dd.p.tid, as the
// collector's Datadog receiver does by default.
func datadog(form string, split bool) batch {
	return func(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
		var links []string
		for i, u := range under {
			sent := w.span(u, from, "kafka.produce", producer, with("span.kind", "producer", "messaging.destination.name", "quotes"))
			id, high := sent.TraceID.String(), "66b6417a00000000"
			if split {
				id = high + id[16:]
			}
			sid := strings.TrimLeft(sent.SpanID.String(), "0")
			switch form {
			case "hex":
				links = append(links, fmt.Sprintf(`{"trace_id":%q,"span_id":%q,"flags":1,"attributes":{"n":"%d"}}`, id, sid, i))
			case "numbers": // dd-trace-rb
				up, _ := trace.ParseSpanID(id[:16])
				l := fmt.Sprintf(`{"span_id":%s,"trace_id":%s`, decimal(sent.SpanID[:]), decimal(sent.TraceID[8:]))
				if !up.IsZero() {
					l += `,"trace_id_high":` + decimal(up[:])
				}
				links = append(links, l+`,"flags":2147483648}`)
			case "decimal": // text of the lower half
				links = append(links, fmt.Sprintf(`{"trace_id":"%s","span_id":"%s"}`, decimal(sent.TraceID[8:]), decimal(sent.SpanID[:])))
			}
		}
		text := with("_dd.span_links", "["+strings.Join(links, ",")+"]")
		tid := with("_dd.p.dm", "-0")
		if split {
			tid = with("_dd.p.tid", "66b6417a00000000")
		}
		got := w.span(root, to, "kafka.consume", consumer, text, tid, with("span.type", "worker", "span.kind", "consumer", "messaging.destination.name", "quotes"))
		run := w.span(got, to, "handle", internal, text)
		db := w.span(run, to, "pg.query", calls, text)
		return nil, []trace.Ref{got, run, db}
	}
}

func low(b func(*senders)) func(*senders) { return func(w *senders) { w.low = true; b(w) } }

// kafkajs eachBatch: the poll is a root without links, its messages below it have
// one each, and the handler stands beside these.
func kafkajs(newer bool) batch {
	return func(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
		attrs := func(op string) func(*trace.Span) {
			if newer {
				return with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation.type", op, "messaging.operation.name", op)
			}
			return with("messaging.system", "kafka", "messaging.destination", "quotes", "messaging.destination_kind", "topic", "messaging.operation", op)
		}
		var sent []trace.Ref
		for _, u := range under {
			sent = append(sent, w.span(u, from, "send quotes", producer, attrs("send")))
		}
		kind := calls
		if !newer {
			kind = consumer
		}
		poll := w.span(root, to, "poll quotes", kind, attrs("receive"))
		for _, s := range sent {
			single = append(single, w.span(poll, to, "process quotes", consumer, attrs("process"), linked(s)))
		}
		return single, []trace.Ref{poll, w.span(poll, to, "handle", internal)}
	}
}

// racecar, rdkafka each_batch, Spring batch listeners: one span with N links,
// for Java with the first message as parent.
func linksBatch(parent bool) batch {
	return func(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
		var sent []trace.Ref
		for _, u := range under {
			sent = append(sent, w.span(u, from, "quotes send", producer, with(newKafka(w, "quotes", true)...)))
		}
		above := root
		if parent {
			above = sent[0]
		}
		got := w.span(above, to, "quotes process", consumer, with("messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation.type", "process",
			"messaging.batch.message_count", len(sent)), linked(sent...))
		return nil, []trace.Ref{got, w.span(got, to, "handle", internal)}
	}
}

// A batch by ids alone.
func idsBatch(key string) batch {
	return func(w *senders, under []trace.Ref, from, to string) (single, whole []trace.Ref) {
		var ids []string
		for _, u := range under {
			id := w.uuid()
			w.span(u, from, "quotes send", producer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.message.id", id))
			ids = append(ids, strings.ReplaceAll(id, "-", ""))
		}
		got := w.span(root, to, "quotes process", consumer, with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.operation", "process", key, ids))
		return nil, []trace.Ref{got}
	}
}

// otherPlace writes each hop also in another environment, a little earlier, with the same ids.
func otherPlace(h hop) func(*senders) {
	return func(w *senders) {
		fresh := newSenders(w.rng.Uint64())
		for _, env := range []string{"production-uk", "production-de"} {
			w.rng, w.counter, w.env = newSenders(5).rng, 0, env
			from := len(w.spans)
			w.chains(h, false)
			moved := map[trace.ID]trace.ID{}
			for i := range w.spans[from:] {
				s := &w.spans[from+i]
				if moved[s.TraceID].IsZero() {
					moved[s.TraceID] = fresh.ref().TraceID
				}
				s.TraceID = moved[s.TraceID]
				for k := range s.Links {
					if to := moved[s.Links[k].TraceID]; !to.IsZero() {
						s.Links[k].TraceID = to
					}
				}
			}
			for i := range w.asked {
				a := &w.asked[i]
				if to := moved[a.run.TraceID]; !to.IsZero() {
					a.run.TraceID, a.origins[0] = to, moved[a.origins[0]]
				}
			}
		}
	}
}

// twoRequests: the id names a thing, a quote say, and not one sending of it.
func twoRequests(w *senders) {
	for range 3 {
		id := with("messaging.system", "aws_sqs", "messaging.destination.name", "quotes", "messaging.message.id", w.uuid())
		var roots []trace.Ref
		for range 2 {
			r, h := w.request()
			roots = append(roots, r)
			w.span(h, "web", "quotes send", producer, id)
			run := w.span(root, "worker", "quotes process", consumer, id, with("messaging.operation", "process"))
			w.ask(run, true, roots...)
			w.asked[len(w.asked)-1].origins = w.asked[len(w.asked)-1].origins[:len(roots)]
		}
	}
}

// anew: a queue's numbers began anew after it was emptied, weeks ago and today.
func anew(w *senders) {
	for _, back := range []time.Duration{-20 * 24 * time.Hour, -9 * 24 * time.Hour, -30 * time.Hour, 0} {
		w.now, w.counter = time.Now().Add(back-time.Hour), 0
		w.chains(bullmq("none"), false)
	}
}

// delayed: of two Redis with a queue of the same name one ran a job three days
// after it was added, the other just now added one of the same number.
func delayed(w *senders) {
	id := with("bullmq.queue.name", "mail", "bullmq.job.name", "Mail", "bullmq.job.id", "17")
	w.now = time.Now().Add(-4 * 24 * time.Hour)
	first, h := w.request()
	w.span(h, "web", "add mail.Mail", producer, id, with("bullmq.queue.operation", "add"))
	w.now = time.Now().Add(-time.Hour)
	second, h2 := w.request()
	w.span(h2, "web", "add mail.Mail", producer, id, with("bullmq.queue.operation", "add"))
	for range 2 { // which is which cannot be known
		w.ask(w.span(root, "worker", "process mail", consumer, id, with("bullmq.queue.operation", "process")), true, first, second)
	}
}

// placeholders: what is written where there is no id.
func placeholders(w *senders) {
	for _, no := range []string{"undefined", "null", "None", "nil", "unknown", "0", "-1", "00000000-0000-0000-0000-000000000000", "0000000000000000", "n/a", "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		for range 2 {
			_, h := w.request()
			w.span(h, "web", "quotes publish", producer, with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.message.id", no))
			other, _ := w.request()
			w.ask(w.span(root, "worker", "quotes process", consumer, with("messaging.system", "rabbitmq", "messaging.destination.name", "quotes", "messaging.operation", "process", "messaging.message.id", no)), true, other)
			r, _ := w.request()
			w.mark(r, with("http.request.header.x-request-id", no))
			w.ask(w.span(root, "worker", "job", consumer, with("messaging.system", "sidekiq", "request_id", no)), true, other)
		}
	}
}

// forwarded: a service sends a message on, as it came, to another topic.
func forwarded(w *senders) {
	for range 3 {
		r, h := w.request()
		id := with("messaging.system", "aws_sqs", "messaging.message.id", w.uuid())
		a, b := with("messaging.destination.name", "quotes"), with("messaging.destination.name", "quotes-dead")
		w.span(h, "web", "quotes send", producer, id, a)
		run := w.span(root, "worker", "quotes process", consumer, id, a, with("messaging.operation", "process"))
		w.ask(run, false, r)
		w.span(run, "worker", "quotes-dead send", producer, id, b)
		w.ask(w.span(root, "mail", "quotes-dead process", consumer, id, b, with("messaging.operation", "process")), false, r)
	}
}
