package graph

import (
	"encoding/binary"
	"time"

	"redthread/tracestore/trace"
)

// workload writes spans as the libraries of DESIGN.md §6 do.
type workload struct {
	spans []trace.Span
	ids   uint64
	now   int64 // the clock: each span begins a millisecond after the last
}

// opt changes a span that is being written.
type opt func(*trace.Span)

const (
	ms     = int64(time.Millisecond)
	dayOne = int64(1_795_000_000_000_000_000)
)

func (w *workload) newTrace() (id trace.ID) {
	w.ids++
	binary.BigEndian.PutUint64(id[:], 0xabc)
	binary.BigEndian.PutUint64(id[8:], w.ids)
	return id
}

// add writes a span of 10 ms under a parent, which may be zero, and returns it.
func (w *workload) add(id trace.ID, parent trace.SpanID, service, name string, kind trace.Kind, opts ...opt) trace.Ref {
	w.ids++
	w.now += ms
	s := trace.Span{TraceID: id, ParentID: parent, Service: service, Name: name, Kind: kind,
		StartUnixNano: dayOne + w.now, DurationNano: 10 * ms}
	binary.BigEndian.PutUint64(s.SpanID[:], w.ids)
	for _, o := range opts {
		o(&s)
	}
	w.spans = append(w.spans, s)
	return s.Ref()
}

func attr(key, value string) opt {
	return func(s *trace.Span) {
		s.Attributes = append(s.Attributes, trace.Attribute{Key: key, Value: trace.String(value)})
	}
}

func link(to ...trace.Ref) opt {
	return func(s *trace.Span) {
		for _, r := range to {
			s.Links = append(s.Links, trace.Link{TraceID: r.TraceID, SpanID: r.SpanID})
		}
	}
}

func failed(s *trace.Span) { s.Error = true }

func at(start, duration time.Duration) opt {
	return func(s *trace.Span) { s.StartUnixNano, s.DurationNano = dayOne+int64(start), int64(duration) }
}

// request writes a request: a web server that calls an API, whose server span
// it returns after the root.
func (w *workload) request(name string) (root, api trace.Ref) {
	id := w.newTrace()
	root = w.add(id, trace.SpanID{}, "web", name, trace.KindServer)
	handler := w.add(id, root.SpanID, "web", "handler", trace.KindInternal)
	call := w.add(id, handler.SpanID, "web", "POST", trace.KindClient)
	api = w.add(id, call.SpanID, "api", name, trace.KindServer)
	return root, api
}

func (w *workload) send(under trace.Ref, service, topic string) trace.Ref {
	return w.add(under.TraceID, under.SpanID, service, "send "+topic, trace.KindProducer,
		attr("messaging.system", "kafka"), attr("messaging.destination.name", topic), attr("messaging.operation.type", "send"))
}

func kafka(op, topic string) opt {
	return func(s *trace.Span) {
		attr("messaging.system", "kafka")(s)
		attr("messaging.destination.name", topic)(s)
		attr("messaging.operation.type", op)(s)
	}
}

// poll writes what kafkajs does for a batch: the receipt, the messages with a
// link each, and a span of the handler, which it returns after the receipt.
func (w *workload) poll(service, topic string, messages ...trace.Ref) (receipt, handler trace.Ref) {
	id := w.newTrace()
	receipt = w.add(id, trace.SpanID{}, service, "poll "+topic, trace.KindClient, kafka("receive", topic))
	for _, m := range messages {
		w.add(id, receipt.SpanID, service, "process "+topic, trace.KindConsumer, kafka("process", topic), link(m))
	}
	handler = w.add(id, receipt.SpanID, service, "handle", trace.KindInternal)
	return receipt, handler
}

func bull(op, class string) opt {
	return func(s *trace.Span) {
		attr("bullmq.queue.name", "mail")(s)
		attr("bullmq.queue.operation", op)(s)
		attr("bullmq.job.name", class)(s)
	}
}

func (w *workload) bullAdd(under trace.Ref, service, class string, opts ...opt) trace.Ref {
	return w.add(under.TraceID, under.SpanID, service, "add mail."+class, trace.KindProducer, append(opts, bull("add", class))...)
}

func (w *workload) bullRun(under trace.Ref, service, class string, opts ...opt) trace.Ref {
	return w.add(under.TraceID, under.SpanID, service, "process mail", trace.KindConsumer, append(opts, bull("process", class))...)
}

func sidekiq(class string) opt {
	return func(s *trace.Span) {
		attr("messaging.system", "sidekiq")(s)
		attr("messaging.sidekiq.job_class", class)(s)
		attr("messaging.destination", "default")(s)
	}
}

func (w *workload) enqueue(under trace.Ref, service, class string) trace.Ref {
	return w.add(under.TraceID, under.SpanID, service, "default publish", trace.KindProducer, sidekiq(class))
}

// perform writes a run of a job in a trace of its own with a link, or, as a
// child, in the trace of its cause.
func (w *workload) perform(cause trace.Ref, child bool, service, class string, opts ...opt) trace.Ref {
	opts = append(opts, sidekiq(class), attr("messaging.operation", "process"))
	if child {
		return w.add(cause.TraceID, cause.SpanID, service, "default process", trace.KindConsumer, opts...)
	}
	return w.add(w.newTrace(), trace.SpanID{}, service, "default process", trace.KindConsumer, append(opts, link(cause))...)
}

// attr is the text of an attribute of a span that was written.
func (w *workload) attr(of trace.Ref, key string) string {
	for i := range w.spans {
		if w.spans[i].Ref() == of {
			v, _ := w.spans[i].Attribute(key)
			return v.Text()
		}
	}
	return ""
}
