package main

import (
	"encoding/binary"
	"fmt"
	"testing"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// storm is a thread of many traces: a request that enqueues jobs, each of which
// runs in a trace of its own with a link to its cause. Of every ten jobs one
// enqueues a mail.
type storm struct {
	jobs     int   // traces, without those of the mails
	spans    int   // of each job
	perSend  int   // jobs that one span of the request enqueues (Sidekiq's push_bulk); 1: each has its own
	start    int64 // nanoseconds
	every    int64 // nanoseconds between jobs
	failEach int   // every so many jobs one fails
}

// stormTrace is trace i of a level: the request (0), a job (1) or a mail (2).
func stormTrace(start int64, level byte, i int) (id trace.ID) {
	id[0], id[7] = 0x57, level
	binary.BigEndian.PutUint32(id[1:], uint32(start/1e6))
	binary.BigEndian.PutUint32(id[12:], uint32(i+1))
	return id
}

func stormJob(class string, s *trace.Span) {
	s.Attributes = append(s.Attributes, trace.Attribute{Key: "messaging.system", Value: trace.String("sidekiq")},
		trace.Attribute{Key: "messaging.destination.name", Value: trace.String("default")}, trace.Attribute{Key: "messaging.sidekiq.job_class", Value: trace.String(class)})
}

func (w storm) root() trace.Ref {
	return trace.Ref{TraceID: stormTrace(w.start, 0, 0), SpanID: spanID(1)}
}

// mails is how many mails are enqueued.
func (w storm) mails() int { return (w.jobs + 9) / 10 }

// write hands the spans over in batches of about 20,000.
func (w storm) write(send func([]trace.Span)) {
	var batch []trace.Span
	add := func(s trace.Span) *trace.Span {
		if len(batch) >= 20_000 {
			send(batch)
			batch = batch[:0]
		}
		s.Environment = "production-uk"
		batch = append(batch, s)
		return &batch[len(batch)-1]
	}
	root := w.root()
	sends := (w.jobs + w.perSend - 1) / w.perSend
	add(trace.Span{TraceID: root.TraceID, SpanID: root.SpanID, Service: "web-uk", Name: "POST /imports", Kind: trace.KindServer, StartUnixNano: w.start, DurationNano: int64(sends+10) * 10_000,
		Attributes: []trace.Attribute{{Key: "user.id", Value: trace.String("81723")}, {Key: "http.route", Value: trace.String("/imports")}}})
	for i := range sends {
		stormJob("SyncCar", add(trace.Span{TraceID: root.TraceID, SpanID: spanID(uint64(i) + 2), ParentID: root.SpanID, Service: "web-uk", Name: "default publish", Kind: trace.KindProducer,
			StartUnixNano: w.start + int64(i)*10_000, DurationNano: 8_000}))
	}
	for i := range w.jobs {
		id := stormTrace(w.start, 1, i)
		at := w.start + 50e6 + int64(i)*w.every
		took := int64(5e6) + int64(i*7919%400)*1e5
		job := add(trace.Span{TraceID: id, SpanID: spanID(1), Service: "worker-uk", Name: "default process", Kind: trace.KindConsumer, StartUnixNano: at, DurationNano: took,
			Links:      []trace.Link{{TraceID: root.TraceID, SpanID: spanID(uint64(i/w.perSend) + 2)}},
			Attributes: []trace.Attribute{{Key: "messaging.operation", Value: trace.String("process")}, {Key: "messaging.message.id", Value: trace.String(fmt.Sprintf("%024x", uint64(i+1)*0x9e3779b97f4a7c15))}}})
		stormJob("SyncCar", job)
		if w.failEach > 0 && i%w.failEach == w.failEach/2 {
			job.Status = trace.StatusError
		}
		for k := 2; k <= w.spans; k++ {
			s := add(trace.Span{TraceID: id, SpanID: spanID(uint64(k)), ParentID: spanID(1), Service: "worker-uk", Name: "SELECT cars", Kind: trace.KindClient, StartUnixNano: at + int64(k)*1e5, DurationNano: 9e4,
				Attributes: []trace.Attribute{{Key: "db.system", Value: trace.String("postgresql")}, {Key: "db.statement", Value: trace.String("SELECT * FROM cars WHERE id = $1")}}})
			if k == 2 && i%10 == 0 {
				s.Name, s.Kind, s.Attributes = "mails publish", trace.KindProducer, nil
				stormJob("Mail", s)
			}
		}
		if i%10 == 0 {
			mail := add(trace.Span{TraceID: stormTrace(w.start, 2, i), SpanID: spanID(1), Service: "mailer", Name: "mails process", Kind: trace.KindConsumer, StartUnixNano: at + took + 20e6, DurationNano: 3e6,
				Links: []trace.Link{{TraceID: id, SpanID: spanID(2)}}, Attributes: []trace.Attribute{{Key: "messaging.operation", Value: trace.String("process")}}})
			stormJob("Mail", mail)
		}
	}
	send(batch)
}

// brew sends a storm to a server and waits until it is findable.
func brew(t testing.TB, p *process, w storm) {
	t.Helper()
	w.write(func(spans []trace.Span) {
		if got, text := send(t, p.otlpHTTP+"/v1/traces", gzipped(otlp.AppendSpans(nil, spans)), "Content-Encoding", "gzip"); got != 200 {
			t.Fatalf("send spans: %d %s", got, text)
		}
	})
	last := stormTrace(w.start, 1, w.jobs-1)
	eventually(t, patience, "the storm is findable", func() error {
		if got := p.spanCount(last); got != w.spans {
			return fmt.Errorf("the last job has %d spans, want %d", got, w.spans)
		}
		return nil
	})
}
