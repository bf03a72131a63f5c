package graph

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"redthread/tracestore/trace"
)

func TestShape(t *testing.T) {
	tests := []struct {
		name  string
		kind  trace.Kind
		attrs []string // key, value, …
		want  shape
		topic string
	}{
		{"a server", trace.KindServer, []string{"http.request.method", "GET"}, 0, ""},
		{"kafka send, new names", trace.KindProducer, []string{"messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation.type", "send"}, produces, "quotes"},
		{"kafka receive as client", trace.KindClient, []string{"messaging.system", "kafka", "messaging.destination.name", "quotes", "messaging.operation.type", "receive", "messaging.operation.name", "poll"}, consumes, "quotes"},
		{"kafka process, old names", trace.KindConsumer, []string{"messaging.system", "kafka", "messaging.destination", "quotes", "messaging.operation", "process"}, consumes, "quotes"},
		{"kafka send as client", trace.KindClient, []string{"messaging.operation.name", "send"}, produces, ""},
		{"kafka commit", trace.KindClient, []string{"messaging.operation.name", "commit", "messaging.operation.type", "settle"}, 0, ""},
		{"Sidekiq publish", trace.KindProducer, []string{"messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.destination", "default"}, produces | isJob, "Mail"},
		{"Sidekiq process", trace.KindConsumer, []string{"messaging.system", "sidekiq", "messaging.sidekiq.job_class", "Mail", "messaging.operation", "process"}, consumes | isJob, "Mail"},
		{"ActiveJob process", trace.KindConsumer, []string{"messaging.system", "active_job", "messaging.destination", "default"}, consumes | isJob, "default"},
		{"Resque", trace.KindConsumer, []string{"messaging.system", "resque", "messaging.resque.job_class", "Mail"}, consumes | isJob, "Mail"},
		{"bullmq add", trace.KindProducer, []string{"bullmq.queue.name", "mail", "bullmq.queue.operation", "add", "bullmq.job.name", "Mail"}, produces | isJob, "Mail"},
		{"bullmq process", trace.KindConsumer, []string{"bullmq.queue.name", "mail", "bullmq.queue.operation", "process", "bullmq.job.name", "Mail"}, consumes | isJob, "Mail"},
		{"bullmq complete", trace.KindInternal, []string{"bullmq.queue.name", "mail", "bullmq.queue.operation", "complete"}, isJob, "mail"},
		{"bullmq bookkeeping of consumer kind", trace.KindConsumer, []string{"bullmq.queue.name", "mail", "bullmq.queue.operation", "retry"}, isJob, "mail"},
		{"bullmq scheduler", trace.KindProducer, []string{"bullmq.queue.operation", "add", "bullmq.job.id", "repeat:x:1"}, produces | isJob | scheduled, ""},
		{"honeykiq job", trace.KindUnspecified, []string{"type", "job", "job.class", "Mail", "queue.name", "default"}, consumes | isJob, "Mail"},
		{"honeykiq report", trace.KindUnspecified, []string{"type", "queue", "queue.name", "default"}, 0, "default"},
		{"dd-trace Sidekiq", trace.KindInternal, []string{"span.type", "worker", "sidekiq.job.id", "1", "sidekiq.job.queue", "default"}, consumes | isJob, ""},
		{"dd-trace Kafka", trace.KindInternal, []string{"span.kind", "consumer", "kafka.topic", "quotes"}, consumes, ""},
		{"dd-trace Sidekiq push", trace.KindUnspecified, []string{"span.kind", "producer", "sidekiq.job.id", "1"}, produces | isJob, ""},
		{"a timer of a function", trace.KindServer, []string{"faas.trigger", "timer"}, scheduled, ""},
		{"a cron key that says no", trace.KindConsumer, []string{"sidekiq.cron", "false"}, consumes | isJob, ""},
	}
	for _, tt := range tests {
		s := trace.Span{Kind: tt.kind}
		for i := 0; i < len(tt.attrs); i += 2 {
			attr(tt.attrs[i], tt.attrs[i+1])(&s)
		}
		got, topic := shapeOf(&s)
		if got != tt.want || topic != tt.topic {
			t.Errorf("%s: shape %04b topic %q, want %04b %q", tt.name, got, topic, tt.want, tt.topic)
		}
		if run, caused := Receipt(&s); run != tt.want.jobRun() || caused != (tt.want.has(consumes) && !tt.want.has(scheduled)) {
			t.Errorf("%s: receipt is run=%v caused=%v of shape %04b", tt.name, run, caused, tt.want)
		}
	}
}

// TestShapeKeys: every key that shapeOf reads is one that it is told of, and that the
// graph has read from where spans are stored.
func TestShapeKeys(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "shape.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if sw, ok := n.(*ast.SwitchStmt); !ok {
			return true
		} else if tag, ok := sw.Tag.(*ast.Ident); !ok || tag.Name != "key" {
			return true
		}
		ast.Inspect(n.(*ast.SwitchStmt).Body, func(n ast.Node) bool {
			if _, ok := n.(*ast.SwitchStmt); ok {
				return false // of values
			}
			if c, ok := n.(*ast.CaseClause); ok {
				for _, e := range c.List {
					lit, ok := e.(*ast.BasicLit)
					if !ok {
						continue
					}
					key, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					keys++
					if !shapeKey(key) || !DefaultRules().Wants(key) {
						t.Errorf("%s is read but not known", key)
					}
				}
			}
			return true
		})
		return false
	})
	if keys < 20 {
		t.Fatalf("%d keys were found in shape.go", keys)
	}
}
