package demo

import (
	"encoding/hex"
	"time"

	"redthread/tracestore/trace"
)

// record is a finished span with what its exporter adds.
type record struct {
	trace.Span
	process *process
	scope   scope
	seq     int // order of making, which breaks ties of time
}

// scope is an instrumentation library.
type scope struct{ name, version string }

// The libraries, under the names they send.
var (
	scopeRack       = scope{"OpenTelemetry::Instrumentation::Rack", "0.27.1"}
	scopeActionPack = scope{"OpenTelemetry::Instrumentation::ActionView", "0.10.0"}
	scopePG         = scope{"OpenTelemetry::Instrumentation::PG", "0.30.1"}
	scopeRedis      = scope{"OpenTelemetry::Instrumentation::Redis", "0.26.1"}
	scopeNetHTTP    = scope{"OpenTelemetry::Instrumentation::Net::HTTP", "0.23.1"}
	scopeSidekiq    = scope{"OpenTelemetry::Instrumentation::Sidekiq", "0.26.1"}
	scopeRdkafka    = scope{"OpenTelemetry::Instrumentation::Rdkafka", "0.7.0"}
	scopeRacecar    = scope{"OpenTelemetry::Instrumentation::Racecar", "0.4.0"}
	scopeGoHTTP     = scope{"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "0.63.0"}
	scopeGoSQL      = scope{"github.com/XSAM/otelsql", "0.40.0"}
	scopeNodeKafka  = scope{"@opentelemetry/instrumentation-kafkajs", "0.20.0"}
	scopeNodePG     = scope{"@opentelemetry/instrumentation-pg", "0.63.0"}
)

// call is an open span. t is the moment its thread of work has reached.
type call struct {
	w   *world
	rec *record
	t   int64
}

// attrs makes attributes of pairs of key and value.
func attrs(pairs ...any) []trace.Attribute {
	out := make([]trace.Attribute, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		var v trace.Value
		switch x := pairs[i+1].(type) {
		case string:
			v = trace.String(x)
		case int:
			v = trace.Int(int64(x))
		case int64:
			v = trace.Int(x)
		case float64:
			v = trace.Float(x)
		case bool:
			v = trace.Bool(x)
		default:
			panic("demo: attribute of an unknown type")
		}
		out = append(out, trace.Attribute{Key: pairs[i].(string), Value: v})
	}
	return out
}

// root opens the first span of a new trace.
func (w *world) root(p *process, s scope, kind trace.Kind, name string, t int64, pairs ...any) *call {
	return w.open(p, s, w.traceID(), trace.SpanID{}, kind, name, t, pairs)
}

func (w *world) open(p *process, s scope, id trace.ID, parent trace.SpanID, kind trace.Kind, name string, t int64, pairs []any) *call {
	return &call{w: w, t: t, rec: &record{process: p, scope: s, Span: trace.Span{
		TraceID: id, SpanID: w.spanID(), ParentID: parent, Name: name, Kind: kind,
		Service: p.service, Environment: p.environment, StartUnixNano: t, Attributes: attrs(pairs...),
	}}}
}

// child opens a span of the same process under c, at c's moment.
func (c *call) child(s scope, kind trace.Kind, name string, pairs ...any) *call {
	return c.remote(c.rec.process, s, kind, name, c.t, pairs...)
}

// remote opens a span of any process under c, at t.
func (c *call) remote(p *process, s scope, kind trace.Kind, name string, t int64, pairs ...any) *call {
	return c.w.open(p, s, c.rec.TraceID, c.rec.SpanID, kind, name, t, pairs)
}

// work lets time pass.
func (c *call) work(d time.Duration) { c.t += int64(d) }

// set adds attributes.
func (c *call) set(pairs ...any) { c.rec.Attributes = append(c.rec.Attributes, attrs(pairs...)...) }

// link adds a link to another span.
func (c *call) link(to trace.Ref, pairs ...any) {
	c.rec.Links = append(c.rec.Links, trace.Link{TraceID: to.TraceID, SpanID: to.SpanID, Attributes: attrs(pairs...)})
}

// event adds an event at c's moment.
func (c *call) event(name string, pairs ...any) { c.eventAt(c.t, name, pairs...) }

// eventAt adds an event of another time than that of the work.
func (c *call) eventAt(at int64, name string, pairs ...any) {
	c.rec.Events = append(c.rec.Events, trace.Event{Name: name, TimeUnixNano: at, Attributes: attrs(pairs...)})
}

// fail records an exception and sets status ERROR.
func (c *call) fail(x exception) {
	c.event("exception", "exception.type", x.typ, "exception.message", x.message, "exception.stacktrace", x.stack)
	c.rec.Status = trace.StatusError
	c.rec.StatusMessage = "Unhandled exception of type: " + x.typ
}

// ref names the span.
func (c *call) ref() trace.Ref { return c.rec.Ref() }

// end closes the span and hands it over. It returns the moment of the end.
func (c *call) end() int64 {
	c.rec.DurationNano = c.t - c.rec.StartUnixNano
	c.w.finish(c.rec)
	return c.t
}

// leaf is a child that takes d.
func (c *call) leaf(s scope, kind trace.Kind, name string, d time.Duration, pairs ...any) {
	l := c.child(s, kind, name, pairs...)
	l.work(d)
	c.t = l.end()
}

// exception is what a program threw.
type exception struct{ typ, message, stack string }

var (
	errReadTimeout = exception{"Net::ReadTimeout", "Net::ReadTimeout with #<TCPSocket:(closed)>",
		"net/protocol.rb:219:in `rbuf_fill'\nnet/http.rb:1575:in `transport_request'\napp/services/quotes/client.rb:41:in `create'\napp/controllers/quotes_controller.rb:18:in `create'"}
	errNotFound = exception{"ActiveRecord::RecordNotFound", "Couldn't find Car with 'id'",
		"active_record/core.rb:253:in `find'\napp/controllers/cars_controller.rb:12:in `show'"}
	errDeadlock = exception{"PG::TRDeadlockDetected", "ERROR:  deadlock detected\nDETAIL:  Process 4711 waits for ShareLock on transaction 99120; blocked by process 4718.",
		"active_record/connection_adapters/postgresql_adapter.rb:894:in `exec_params'\napp/models/valuation.rb:57:in `recalculate!'\napp/jobs/recalculate_valuations_job.rb:23:in `perform'"}
	errWebhook = exception{"Dealers::WebhookError", "dealer answered 502 Bad Gateway",
		"app/services/dealers/webhook.rb:33:in `deliver'\napp/jobs/notify_dealers_job.rb:15:in `perform'"}
	errMail = exception{"Postmark::HttpServerError", "The mail provider answered 503",
		"postmark/http_client.rb:92:in `handle_response'\napp/jobs/send_quote_email_job.rb:9:in `perform'"}
)

// spread draws a duration around d, with the long tail that real latencies have.
func (w *world) spread(d time.Duration) time.Duration {
	f := 0.6 + 0.5*w.rng.Float64() + 0.25*w.rng.ExpFloat64()
	return time.Duration(float64(d) * f)
}

// chance is true with probability p.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// pick draws one of a list.
func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

func (w *world) traceID() (id trace.ID) {
	for i := range id {
		id[i] = byte(w.rng.UintN(256))
	}
	id[0] |= 1 // never all zero
	return id
}

func (w *world) spanID() (id trace.SpanID) {
	for i := range id {
		id[i] = byte(w.rng.UintN(256))
	}
	id[0] |= 1
	return id
}

// hexID draws n bytes and prints them.
func (w *world) hexID(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rng.UintN(256))
	}
	return hex.EncodeToString(b)
}
