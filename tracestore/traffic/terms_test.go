package traffic

import (
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// words is what the vocabulary says of a span, as text; "" is no value.
type words struct {
	Side, Job, Topic, Class, Wait, Retry, Group string
}

var fieldNames = []string{Side, IsJob, Topic, Class, WaitMS, Retry, Group}

// say puts the spans into a store of their own and asks it, in the vocabulary of
// its columns, about each.
func say(t *testing.T, spans []trace.Span) (*Vocabulary, map[trace.Ref]words) {
	t.Helper()
	mem := memtable.New()
	for i := range spans {
		if _, err := mem.Add(&spans[i], column.Mix(0, uint64(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	mem.Publish()
	var blocks []column.Block
	for _, b := range mem.Blocks() {
		blocks = append(blocks, b)
	}
	ctx := context.Background()
	columns, err := query.Columns(ctx, blocks, "", "")
	if err != nil {
		t.Fatal(err)
	}
	v := NewVocabulary(columns)
	out := map[trace.Ref]words{}
	for after := ""; ; {
		p, err := query.CompileSearch(query.Search{AnyTime: true, CalculatedFields: v.Fields(fieldNames...), Columns: fieldNames, Limit: 1000, After: after}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		found, err := query.RunSearch(ctx, p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found.Rows {
			w := words{}
			for i, to := range []*string{&w.Side, &w.Job, &w.Topic, &w.Class, &w.Wait, &w.Retry, &w.Group} {
				*to = r.Values[i].Text()
			}
			out[trace.Ref{TraceID: r.TraceID, SpanID: r.SpanID}] = w
		}
		if after = found.Next; after == "" {
			return v, out
		}
	}
}

// span makes a span from its kind, name and attributes: names and values in turn.
func span(kind trace.Kind, name string, attributes ...any) trace.Span {
	s := trace.Span{TraceID: trace.ID{1}, SpanID: trace.SpanID{1}, Service: "worker", Name: name, Kind: kind, StartUnixNano: 1e18, DurationNano: 1e6}
	for i := 0; i+1 < len(attributes); i += 2 {
		v := trace.Value{}
		switch a := attributes[i+1].(type) {
		case string:
			v = trace.String(a)
		case int:
			v = trace.Int(int64(a))
		case float64:
			v = trace.Float(a)
		}
		s.Attributes = append(s.Attributes, trace.Attribute{Key: attributes[i].(string), Value: v})
	}
	return s
}

// senders are spans as real libraries send them (the shapes of honeykiq, dd-trace
// and the Ruby contrib packages from their sources, the others from captures).
var senders = []struct {
	name string
	span trace.Span
	want words
}{
	{"kafka, old conventions", span(trace.KindConsumer, "uk.quotes process", "messaging.system", "kafka", "messaging.destination", "uk.quotes", "messaging.operation", "process", "messaging.kafka.consumer_group", "pricing"),
		words{Handles, "false", "uk.quotes", "", "", "false", "pricing"}},
	{"kafka, new conventions", span(trace.KindConsumer, "process uk.quotes", "messaging.system", "kafka", "messaging.destination.name", "uk.quotes", "messaging.operation.type", "process", "messaging.consumer.group.name", "pricing"),
		words{Handles, "false", "uk.quotes", "", "", "false", "pricing"}},
	{"kafka, sending", span(trace.KindProducer, "send uk.quotes", "messaging.system", "kafka", "messaging.destination.name", "uk.quotes", "messaging.operation.type", "send"),
		words{Sends, "false", "uk.quotes", "", "", "false", ""}},
	{"kafkajs, the poll of a batch", span(trace.KindClient, "poll uk.quotes", "messaging.system", "kafka", "messaging.destination.name", "uk.quotes", "messaging.operation.type", "receive", "messaging.operation.name", "poll"),
		words{Receives, "false", "uk.quotes", "", "", "false", ""}},
	{"kafka, Java, with the time in the log", span(trace.KindConsumer, "uk.quotes process", "messaging.system", "kafka", "messaging.destination.name", "uk.quotes", "messaging.operation", "process", "kafka.record.queue_time_ms", 40),
		words{Handles, "false", "uk.quotes", "", "40", "false", ""}},
	{"OpenTelemetry Ruby, Sidekiq runs", span(trace.KindConsumer, "PricingJob process", "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "PricingJob", "messaging.destination", "default", "messaging.operation", "process"),
		words{Handles, "true", "default", "PricingJob", "", "false", ""}},
	{"OpenTelemetry Ruby, Sidekiq is given one", span(trace.KindProducer, "PricingJob publish", "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "PricingJob", "messaging.destination", "default", "messaging.operation", "publish"),
		words{Sends, "true", "default", "PricingJob", "", "false", ""}},
	{"OpenTelemetry Ruby, Que", span(trace.KindConsumer, "PricingJob process", "messaging.system", "que", "messaging.destination", "default", "messaging.operation", "process", "messaging.message_id", "12"),
		words{Handles, "true", "default", "PricingJob", "", "false", ""}},
	{"OpenTelemetry Ruby, ActiveJob", span(trace.KindConsumer, "default process", "messaging.system", "active_job", "code.namespace", "Quotes::PricingJob", "messaging.destination", "default", "rails.active_job.execution.counter", 2),
		words{Handles, "true", "default", "Quotes::PricingJob", "", "true", ""}},
	{"OpenTelemetry Ruby, Delayed Job", span(trace.KindConsumer, "PricingJob process", "messaging.system", "delayed_job", "messaging.delayed_job.name", "PricingJob", "messaging.delayed_job.attempts", 1, "messaging.destination", "slow"),
		words{Handles, "true", "slow", "PricingJob", "", "true", ""}},
	{"OpenTelemetry Ruby, Resque", span(trace.KindConsumer, "default process", "messaging.system", "resque", "messaging.resque.job_class", "PricingJob", "messaging.destination", "default"),
		words{Handles, "true", "default", "PricingJob", "", "false", ""}},
	{"BullMQ runs", span(trace.KindConsumer, "process uk-recalc", "bullmq.queue.name", "uk-recalc", "bullmq.queue.operation", "process", "bullmq.job.name", "Recalculate", "bullmq.job.attempts.made", 2),
		words{Handles, "true", "uk-recalc", "Recalculate", "", "true", ""}},
	{"BullMQ is given one", span(trace.KindProducer, "add uk-recalc", "bullmq.queue.name", "uk-recalc", "bullmq.queue.operation", "add", "bullmq.job.name", "Recalculate"),
		words{Sends, "true", "uk-recalc", "Recalculate", "", "false", ""}},
	{"BullMQ is given one, of which only the span's name says what", span(trace.KindProducer, "add uk-cron.RefreshPrices", "bullmq.queue.name", "uk-cron", "bullmq.queue.operation", "add"),
		words{Sends, "true", "uk-cron", "RefreshPrices", "", "false", ""}},
	{"BullMQ is given several", span(trace.KindProducer, "addBulk uk-recalc", "bullmq.queue.name", "uk-recalc", "bullmq.queue.operation", "addBulk"),
		words{Sends, "true", "uk-recalc", "", "", "false", ""}},
	{"BullMQ keeps house", span(trace.KindConsumer, "moveStalledJobsToWait uk-recalc", "bullmq.queue.name", "uk-recalc", "bullmq.queue.operation", "moveStalledJobsToWait"),
		words{"", "true", "uk-recalc", "", "", "false", ""}},
	{"honeykiq", span(trace.KindUnspecified, "PricingJob", "type", "job", "job.class", "PricingJob", "queue.name", "default", "job.attempt_number", 3, "job.latency_sec", 1.5, "job.status", "failed"),
		words{Handles, "true", "default", "PricingJob", "1500", "true", ""}},
	{"honeykiq's reporter is no job", span(trace.KindUnspecified, "", "type", "queue", "queue.name", "default", "queue.latency_sec", 3, "queue.size", 12),
		words{"", "false", "default", "", "", "false", ""}},
	{"dd-trace, Sidekiq", span(trace.KindInternal, "sidekiq.job", "span.type", "worker", "resource.name", "PricingJob", "sidekiq.job.id", "12ab", "sidekiq.job.queue", "default", "sidekiq.job.delay", 12.5, "sidekiq.job.retry_count", 1),
		words{Handles, "true", "default", "PricingJob", "12.5", "true", ""}},
	{"dd-trace, the first retry of Sidekiq", span(trace.KindInternal, "sidekiq.job", "span.type", "worker", "resource.name", "PricingJob", "sidekiq.job.id", "12ab", "sidekiq.job.queue", "default", "sidekiq.job.retry_count", 0),
		words{Handles, "true", "default", "PricingJob", "", "true", ""}},
	{"dd-trace, the first run of Sidekiq", span(trace.KindInternal, "sidekiq.job", "span.type", "worker", "resource.name", "PricingJob", "sidekiq.job.id", "12ab", "sidekiq.job.queue", "default", "sidekiq.job.retry_count", ""),
		words{Handles, "true", "default", "PricingJob", "", "false", ""}},
	{"Celery", span(trace.KindConsumer, "run/tasks.price", "celery.action", "run", "celery.task_name", "tasks.price", "celery.retries", 0),
		words{Handles, "true", "", "tasks.price", "", "false", ""}},
	{"Sentry", span(trace.KindConsumer, "price", "messaging.system", "bullmq", "messaging.destination.name", "default", "messaging.message.receive.latency", 7, "messaging.message.retry.count", 1),
		words{Handles, "true", "default", "price", "7", "true", ""}},
	{"a hand-made sender", span(trace.KindConsumer, "PricingJob", "messaging.system", "sidekiq", "job.class", "PricingJob", "job.queue", "low", "job.attempt", 1, "job.latency_ms", 9),
		words{Handles, "true", "low", "PricingJob", "9", "false", ""}},
	{"a request", span(trace.KindServer, "POST /quotes", "http.route", "/quotes"), words{Side: "", Job: "false", Retry: "false"}},
	{"a query", span(trace.KindClient, "SELECT", "db.system", "postgresql"), words{Side: "", Job: "false", Retry: "false"}},
	{"a cache read without messaging", span(trace.KindInternal, "cache read", "messaging.system", ""), words{Side: "", Job: "false", Retry: "false"}},
}

// TestSenders asks about each sender alone, as in a store that knows nothing
// else, and about all of them in one store.
func TestSenders(t *testing.T) {
	var all []trace.Span
	for i, c := range senders {
		s := c.span
		_, got := say(t, []trace.Span{s})
		if diff := cmp.Diff(c.want, got[s.Ref()]); diff != "" {
			t.Errorf("%s, alone (-want +got):\n%s", c.name, diff)
		}
		s.SpanID = trace.SpanID{2, byte(i)}
		all = append(all, s)
	}
	_, got := say(t, all)
	for i, c := range senders {
		if diff := cmp.Diff(c.want, got[all[i].Ref()]); diff != "" {
			t.Errorf("%s, among all (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestGraphAgrees: the vocabulary and the causal graph see the same runs of jobs
// and the same receipts.
func TestGraphAgrees(t *testing.T) {
	for _, name := range []string{"node", "rails"} {
		spans := capture(t, name)
		_, got := say(t, spans)
		runs := 0
		for i := range spans {
			s := &spans[i]
			if s.Signal != trace.SignalSpan {
				continue
			}
			w := got[s.Ref()]
			run, caused := graph.Receipt(s)
			handled := w.Side == Handles || w.Side == Receives
			if run != (handled && w.Job == "true") || caused && !handled {
				t.Errorf("%s: %s %s: the graph says run %t, caused %t; the vocabulary %+v", name, s.Kind, s.Name, run, caused, w)
			}
			if run {
				runs++
			}
			if w.Side != "" && w.Topic == "" {
				t.Errorf("%s: %s %s has no topic", name, s.Kind, s.Name)
			}
		}
		if runs < 20 {
			t.Errorf("%s: %d runs of jobs, want at least 20", name, runs)
		}
	}
}

func TestVocabularyOfNothing(t *testing.T) {
	v, _ := say(t, []trace.Span{span(trace.KindServer, "GET /")})
	if len(v.Waits()) != 0 {
		t.Errorf("waits %v, want none", v.Waits())
	}
	for _, f := range v.Fields(fieldNames...) {
		if strings.Contains(f.Expression, "messaging") || strings.Contains(f.Expression, "job.") {
			t.Errorf("%s reads what is not there: %s", f.Name, f.Expression)
		}
	}
	if got := v.Fields(Class); len(got) != 2 || got[0].Name != IsJob {
		t.Errorf("the class alone has the fields %v, want it after what it reads", got)
	}
}

// capture reads the spans of a capture of the graph's tests.
func capture(t *testing.T, name string) (spans []trace.Span) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "graph", "testdata", "captures", name, "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no capture %s: %v", name, err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(z)
		if err == nil && strings.HasSuffix(path, ".json.gz") {
			body, err = otlp.FromJSON(nil, otlp.Traces, body)
		}
		if err != nil {
			t.Fatal(err)
		}
		more, _, err := otlp.DecodeAll(otlp.Traces, body, otlp.Arrival{})
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, more...)
		f.Close()
	}
	return spans
}
