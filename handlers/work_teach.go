package handlers

import "redthread/views"

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
