package handlers

import (
	"context"
	"net/url"
	"time"

	"redthread/views"
)

// workSenders are lines that make messages, or jobs, appear.
func workSenders(jobs bool) []views.WorkSender {
	if jobs {
		return []views.WorkSender{
			{Name: "Rails with Sidekiq, ActiveJob, Resque, Que or Delayed Job", Text: "Gemfile, then config/initializers/opentelemetry.rb. Each job becomes a trace of its own with a link to what enqueued it.",
				Code: "bundle add opentelemetry-sdk opentelemetry-exporter-otlp opentelemetry-instrumentation-all\n\nOpenTelemetry::SDK.configure do |c|\n  c.use 'OpenTelemetry::Instrumentation::Sidekiq', { span_naming: :job_class, propagation_style: :link }\n  c.use 'OpenTelemetry::Instrumentation::ActiveJob', { span_naming: :job_class }\nend"},
			{Name: "Node with BullMQ", Text: "Hand the telemetry to the queue and to the worker.",
				Code: "npm install bullmq-otel\n\nimport { BullMQOtel } from 'bullmq-otel';\nconst telemetry = new BullMQOtel('my-app');\nconst queue = new Queue('pricing', { connection, telemetry });\nconst worker = new Worker('pricing', work, { connection, telemetry });"},
			{Name: "Sidekiq with honeykiq", Text: "Its events are understood as they are: type, job.class, queue.name, job.latency_sec and job.attempt_number.",
				Code: "Sidekiq.configure_server do |config|\n  config.server_middleware { |chain| chain.add Honeykiq::ServerMiddleware, tracing_mode: :link }\nend"},
			{Name: "By hand", Text: "Any span with these attributes is a run of a job.",
				Code: "tracer.in_span('PricingJob process', kind: :consumer, links: [OpenTelemetry::Trace::Link.new(enqueuing_context)], attributes: {\n  'messaging.system' => 'sidekiq', 'messaging.destination.name' => 'default', 'messaging.operation.type' => 'process',\n  'messaging.message.id' => jid, 'job.class' => 'PricingJob', 'job.attempt' => 1, 'job.latency_ms' => waited_ms\n}) { perform }"},
		}
	}
	return []views.WorkSender{
		{Name: "Rails with Kafka", Text: "ruby-kafka, rdkafka and racecar are traced on both sides.",
			Code: "bundle add opentelemetry-sdk opentelemetry-exporter-otlp opentelemetry-instrumentation-all\n\nOpenTelemetry::SDK.configure do |c|\n  c.use_all\nend"},
		{Name: "Node with kafkajs", Text: "The auto-instrumentations trace producers, single messages and batches.",
			Code: "npm install @opentelemetry/auto-instrumentations-node\nNODE_OPTIONS='--require @opentelemetry/auto-instrumentations-node/register' node app.js"},
		{Name: "By hand", Text: "Send with kind producer, handle with kind consumer, and link the two.",
			Code: "tracer.in_span('send quotes.created', kind: :producer, attributes: {\n  'messaging.system' => 'kafka', 'messaging.destination.name' => 'quotes.created', 'messaging.operation.type' => 'send', 'messaging.message.id' => id\n}) { deliver }\n\ntracer.in_span('process quotes.created', kind: :consumer, links: [link], attributes: {\n  'messaging.system' => 'kafka', 'messaging.destination.name' => 'quotes.created', 'messaging.operation.type' => 'process', 'messaging.message.id' => id\n}) { handle }"},
	}
}

// elsewhere says when something of this name was seen last.
func (g *workPage) elsewhere(ctx context.Context) (*views.WorkTeach, error) {
	st := g.ask(nil, calculations(), g.of()...)
	empty, err := g.emptyAnswer(ctx, &st)
	if err != nil {
		return nil, err
	}
	t := &views.WorkTeach{Newest: empty.Newest}
	if !empty.Newest.IsZero() {
		t.Links = g.windowsWith(g.kind.path+"/"+url.PathEscape(g.name), empty.Newest)
	}
	if g.environment != "" {
		all := *g.work
		all.environment = ""
		t.Links = append(t.Links, views.ExploreLink{Label: "In all environments", URL: all.page(g.kind, g.name)})
	}
	return t, nil
}

// windowsWith are ways to a window of a page that has a moment.
func (w *work) windowsWith(path string, at time.Time) []views.ExploreLink {
	for _, r := range []string{"2h", "24h", "7d", "30d"} {
		d, _ := parseRange(r)
		if d > w.window.length() && at.After(w.window.To.Add(-d)) && at.Before(w.window.To) {
			wide := *w
			wide.window = timeWindow{Range: r}
			return []views.ExploreLink{{Label: "The last " + views.RangeLabel(r), URL: wide.link(path)}}
		}
	}
	around := *w
	half := w.window.length() / 2
	around.window = timeWindow{From: at.Add(-half).Truncate(time.Second), To: at.Add(half).Truncate(time.Second)}
	return []views.ExploreLink{{Label: "Around the newest", URL: around.link(path)}}
}

// teach says what would make a topic or a job appear.
func (w *work) teach(ctx context.Context, k workKind, s *Server) (*views.WorkTeach, error) {
	st := w.ask(nil, calculations(), w.sided(k.jobs)...)
	empty, err := w.emptyAnswer(ctx, &st)
	if err != nil {
		return nil, err
	}
	t := &views.WorkTeach{Newest: empty.Newest}
	if !empty.Newest.IsZero() {
		t.Links = w.windowsWith(k.path, empty.Newest)
		return t, nil
	}
	if w.environment != "" {
		all := *w
		all.environment = ""
		t.Links = append(t.Links, views.ExploreLink{Label: "In all environments", URL: all.link(k.path)})
	}
	t.Senders = workSenders(k.jobs)
	return t, nil
}
