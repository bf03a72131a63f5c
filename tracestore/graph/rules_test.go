package graph

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// offered is a half as a line of text: side, rule and what it names.
func offered(s *trace.Span, r *Rules) []string {
	var out []string
	for _, h := range r.Halves(nil, s) {
		side := [4]string{"", "cause", "effect", "both"}[h.Side]
		what := fmt.Sprintf("key %x", uint64(h.Key))
		if h.recorded() {
			what = fmt.Sprintf("%x:%x", h.Target.TraceID[14:], h.Target.SpanID[6:])
		}
		if h.Of != s.Ref() {
			what += fmt.Sprintf(" of %x", h.Of.SpanID[6:])
		}
		out = append(out, side+" "+h.Rule.Name()+" "+what)
	}
	return out
}

const (
	jid  = "d028b411e30577e4803f2842"
	uuid = "3f2b9c1e-8d4a-4f6b-9c1d-2e3f4a5b6c7d"
	low  = "00000000000000000000000000000abc" // a trace id
)

func key(parts ...string) string { return fmt.Sprintf("key %x", uint64(KeyOf(parts...))) }

// TestRules writes what real libraries record on one span and looks at the
// halves. The names are those of the captures where these have them, else of
// the sources that the table of rules names.
func TestRules(t *testing.T) {
	link := func(traceID, spanID byte) func(*trace.Span) {
		return func(s *trace.Span) {
			s.Links = append(s.Links, trace.Link{TraceID: trace.ID{15: traceID}, SpanID: trace.SpanID{7: spanID}})
		}
	}
	tests := []struct {
		name  string
		kind  trace.Kind
		root  bool
		attrs []string // key, value, …
		more  func(*trace.Span)
		want  []string
	}{
		{name: "a database call", kind: trace.KindClient, attrs: []string{"db.system", "postgresql", "db.statement", "SELECT 1"}},
		{name: "a request", kind: trace.KindServer, root: true, attrs: []string{"http.method", "GET", "http.route", "/quotes"}},

		{name: "OpenTelemetry Ruby, Sidekiq publish", kind: trace.KindProducer, attrs: []string{"messaging.system", "sidekiq",
			"messaging.sidekiq.job_class", "Mail", "messaging.message_id", jid, "messaging.destination", "default"},
			want: []string{"cause message_id " + key("id", "", jid)}},
		{name: "OpenTelemetry Ruby, Sidekiq process, link", kind: trace.KindConsumer, root: true, attrs: []string{"messaging.system", "sidekiq",
			"messaging.message_id", jid, "messaging.destination", "default", "messaging.operation", "process"}, more: link(1, 2),
			want: []string{"effect span_link 0001:0002"}},
		{name: "OpenTelemetry Ruby, Sidekiq process, none", kind: trace.KindConsumer, root: true, attrs: []string{"messaging.system", "sidekiq",
			"messaging.message_id", jid, "messaging.destination", "retry", "messaging.operation", "process"},
			want: []string{"effect message_id " + key("id", "", jid)}},
		{name: "OpenTelemetry Ruby, Sidekiq process, child", kind: trace.KindConsumer, attrs: []string{"messaging.system", "sidekiq",
			"messaging.message_id", jid, "messaging.destination", "default", "messaging.operation", "process"},
			want: []string{"effect receipt " + key("id", "", jid)}},
		{name: "ActiveJob, new names", kind: trace.KindProducer, attrs: []string{"messaging.system", "active_job",
			"messaging.message.id", strings.ToUpper(uuid), "messaging.destination", "default"},
			want: []string{"cause message_id " + key("id", "", strings.ReplaceAll(uuid, "-", ""))}},
		{name: "Resque, Que: a small number counts in its queue", kind: trace.KindConsumer, root: true, attrs: []string{"messaging.system", "que",
			"messaging.message_id", "17", "messaging.destination", "default", "messaging.operation", "process"},
			want: []string{"effect queue_id " + key("id", "", "que", "default", "17")}},
		{name: "Delayed Job enqueues", kind: trace.KindProducer, attrs: []string{"messaging.system", "delayed_job",
			"messaging.message_id", "17", "messaging.destination", "default"},
			want: []string{"cause queue_id " + key("id", "", "delayed_job", "default", "17")}},
		{name: "a small number without a queue", kind: trace.KindProducer, attrs: []string{"messaging.system", "delayed_job", "messaging.message_id", "17"}},
		{name: "bullmq-otel add", kind: trace.KindProducer, attrs: []string{"bullmq.queue.name", "mail", "bullmq.queue.operation", "add", "bullmq.job.id", "4"},
			want: []string{"cause queue_id " + key("id", "", "", "mail", "4")}},
		{name: "bullmq-otel process without context", kind: trace.KindConsumer, root: true, attrs: []string{"bullmq.queue.name", "mail", "bullmq.queue.operation", "process", "bullmq.job.id", "4"},
			want: []string{"effect queue_id " + key("id", "", "", "mail", "4")}},
		{name: "bullmq-otel complete is neither side", kind: trace.KindInternal, attrs: []string{"bullmq.queue.name", "mail", "bullmq.queue.operation", "complete", "bullmq.job.id", "4"}},
		{name: "dd-trace, Sidekiq", kind: trace.KindConsumer, root: true, attrs: []string{"span.type", "worker", "sidekiq.job.id", jid, "sidekiq.job.queue", "default"},
			want: []string{"effect job_id " + key("id", "", jid)}},
		{name: "honeykiq job, none", kind: trace.KindUnspecified, root: true, attrs: []string{"type", "job", "job.class", "Mail", "job.id", jid, "queue.name", "default"},
			want: []string{"effect job_id " + key("id", "", jid)}},
		{name: "honeykiq job, child_trace as the code writes it", kind: trace.KindUnspecified, root: true,
			attrs: []string{"type", "job", "job.class", "Mail", "parent.trace_id", low}, want: []string{"effect child_trace 0abc:0000"}},
		{name: "honeykiq job, child_trace as the README says", kind: trace.KindUnspecified, root: true,
			attrs: []string{"type", "job", "job.class", "Mail", "trace.parent_id", low}, want: []string{"effect child_trace 0abc:0000"}},
		{name: "child_trace with the span", kind: trace.KindUnspecified, root: true,
			attrs: []string{"type", "job", "job.class", "Mail", "parent.trace_id", low, "trace.parent_id", "00000000000000ef"}, want: []string{"effect child_trace 0abc:00ef"}},
		{name: "Honeycomb writes the parent on every span", kind: trace.KindUnspecified, attrs: []string{"trace.parent_id", "00000000000000ef"}},
		{name: "parent.trace_id copied to the spans below", kind: trace.KindClient, attrs: []string{"parent.trace_id", low}},
		{name: "Honeycomb link event", kind: trace.KindUnspecified, attrs: []string{"name", "link", "meta.annotation_type", "link", "meta.span_type", "leaf",
			"trace.link.trace_id", low, "trace.link.span_id", "00000000000000ef"}, want: []string{"effect link_event 0abc:00ef of 0009"}},
		{name: "Honeycomb span event", kind: trace.KindUnspecified, attrs: []string{"meta.annotation_type", "span_event", "trace.link.trace_id", low}},
		{name: "a link in an event of the span", kind: trace.KindUnspecified, root: true, attrs: []string{"type", "job", "job.class", "Mail"}, more: func(s *trace.Span) {
			s.Events = []trace.Event{{Name: "link", Attributes: []trace.Attribute{{Key: "trace.link.trace_id", Value: trace.String(low)}, {Key: "trace.link.span_id", Value: trace.String("00000000000000ef")}}}}
		}, want: []string{"effect link_event 0abc:00ef"}},

		{name: "dd-trace, batch", kind: trace.KindConsumer, root: true, attrs: []string{"_dd.span_links",
			`[{"trace_id":"` + low + `","span_id":"00000000000000ef"},{"trace_id":"abd","span_id":"f0","attributes":{"a":"b"}}]`},
			want: []string{"effect dd_span_links 0abc:00ef", "effect dd_span_links 0abd:00f0"}},
		{name: "dd-trace, as numbers", kind: trace.KindConsumer, root: true, attrs: []string{"_dd.span_links",
			`[{"trace_id":2748,"trace_id_high":1,"span_id":239}]`}, want: []string{"effect dd_span_links 0abc:00ef"}},
		{name: "dd-trace, cut", kind: trace.KindConsumer, root: true, attrs: []string{"_dd.span_links",
			`[{"trace_id":"abc","span_id":"ef"},{"trace_id":"abd","sp...`}, want: []string{"effect dd_span_links 0abc:00ef"}},
		{name: "dd-trace, another span of the chunk", kind: trace.KindClient, attrs: []string{"_dd.span_links", `[{"trace_id":"abc","span_id":"ef"}]`}},

		{name: "kafkajs send", kind: trace.KindProducer, attrs: []string{"messaging.system", "kafka", "messaging.destination.name", "quotes",
			"messaging.operation.type", "send", "messaging.kafka.message.key", "msg-62b86206"}, want: []string{"cause kafka_key " + key("key", "", "quotes", "msg-62b86206")}},
		{name: "kafkajs process of a batch, link", kind: trace.KindConsumer, attrs: []string{"messaging.system", "kafka", "messaging.destination.name", "quotes",
			"messaging.operation.type", "process", "messaging.kafka.message.key", "msg-62b86206"}, more: link(1, 2), want: []string{"effect span_link 0001:0002"}},
		{name: "rdkafka, old names, parent and link", kind: trace.KindConsumer, attrs: []string{"messaging.system", "kafka", "messaging.destination", "quotes",
			"messaging.kafka.partition", "0", "messaging.kafka.offset", "5", "messaging.kafka.message_key", "msg-e3d9f33a"}, more: link(1, 2), want: []string{"effect span_link 0001:0002"}},
		{name: "Kafka with its offset on the producer", kind: trace.KindProducer, attrs: []string{"messaging.destination.name", "quotes",
			"messaging.destination.partition.id", "3", "messaging.kafka.offset", "41", "messaging.kafka.cluster.id", "c1"},
			want: []string{"cause kafka_offset " + key("offset", "c1", "quotes", "3", "41")}},
		{name: "a Kafka key that is a number, or short", kind: trace.KindProducer, attrs: []string{"messaging.destination.name", "quotes", "messaging.kafka.message.key", "1234567890"}},
		{name: "a batch by ids", kind: trace.KindConsumer, root: true, attrs: []string{"messaging.destination.name", "quotes", "messaging.message.ids", `["a","b"]`}, more: asJSON,
			want: []string{"effect queue_id " + key("id", "", "", "quotes", "a"), "effect queue_id " + key("id", "", "", "quotes", "b")}},
		{name: "a message without context in a batch", kind: trace.KindConsumer, root: true, attrs: []string{"messaging.destination.name", "quotes"}, more: func(s *trace.Span) {
			s.Links = []trace.Link{{Attributes: []trace.Attribute{{Key: "messaging.message.id", Value: trace.String(jid)}}}}
		}, want: []string{"effect message_id " + key("id", "", jid)}},

		{name: "Heroku router", kind: trace.KindServer, root: true, attrs: []string{"request_id", uuid, "fwd", "203.0.113.42", "dyno", "web.1", "connect", "1"},
			want: []string{"cause router_request_id " + key("request", uuid)}},
		{name: "a request behind the router", kind: trace.KindServer, root: true, attrs: []string{"http.request.header.x-request-id", `["` + uuid + `"]`}, more: asJSON,
			want: []string{"both request_id " + key("request", uuid)}},
		{name: "a call on whose span the id is stamped", kind: trace.KindClient, attrs: []string{"request_id", uuid}},
		{name: "a job that was handed the id", kind: trace.KindUnspecified, root: true, attrs: []string{"type", "job", "job.class", "Mail", "request_id", uuid},
			want: []string{"effect request_id " + key("request", uuid)}},
		{name: "a request with a caller needs no id", kind: trace.KindServer, attrs: []string{"request_id", uuid}},
		{name: "a request id that counts", kind: trace.KindServer, root: true, attrs: []string{"request_id", "17"}},

		{name: "Sentry's link to the page before", kind: trace.KindServer, root: true, more: func(s *trace.Span) {
			s.Links = []trace.Link{{TraceID: trace.ID{15: 1}, SpanID: trace.SpanID{7: 2}, Attributes: []trace.Attribute{{Key: "sentry.link.type", Value: trace.String("previous_trace")}}}}
		}},
		{name: "a link to itself", kind: trace.KindServer, root: true, more: func(s *trace.Span) { s.Links = []trace.Link{{TraceID: s.TraceID, SpanID: s.SpanID}} }},
	}
	for _, tt := range tests {
		s := trace.Span{TraceID: trace.ID{0: 7}, SpanID: trace.SpanID{7: 8}, Kind: tt.kind}
		if !tt.root {
			s.ParentID = trace.SpanID{7: 9}
		}
		for i := 0; i < len(tt.attrs); i += 2 {
			attr(tt.attrs[i], tt.attrs[i+1])(&s)
		}
		if tt.more != nil {
			tt.more(&s)
		}
		if diff := cmp.Diff(tt.want, offered(&s, defaultRules)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// asJSON makes arrays of the attributes that look like it, as the decoder does.
func asJSON(s *trace.Span) {
	for i := range s.Attributes {
		if v := &s.Attributes[i].Value; json.Valid([]byte(v.Str)) && strings.HasPrefix(v.Str, "[") {
			*v = trace.JSON(v.Str)
		}
	}
}

func TestCorrelations(t *testing.T) {
	r, err := NewRules(
		Correlation{Name: "order event", Means: MeansMessage, Cause: []string{"event.id"}, Effect: []string{"received.event.id"}},
		Correlation{Name: "mailing", Means: MeansJob, Cause: []string{"mailing.id"}, Effect: []string{"mailing.id"}, Scope: []string{"shop"}},
		Correlation{Name: "visit", Means: MeansRequest, Cause: []string{"visit.id"}, Effect: []string{"visit.of"}},
		Correlation{Name: "scheduled by", Means: MeansTrace, Effect: []string{"scheduled_by"}},
		Correlation{Name: "kafka key", Means: MeansMessage, Cause: []string{"messaging.kafka.message.key"}, Effect: []string{"messaging.kafka.message.key"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		kind  trace.Kind
		root  bool
		attrs []string
		want  []string
	}{
		{"in an environment", trace.KindInternal, false, []string{"event.id", "7", "environment", "uk"}, []string{"cause attribute " + key("attribute order event", "uk", "7")}},
		{"a request in an environment", trace.KindInternal, false, []string{"visit.id", "7", "environment", "uk"}, []string{"cause attribute " + key("attribute visit", "7")}},
		{"sends", trace.KindInternal, false, []string{"event.id", "7"}, []string{"cause attribute " + key("attribute order event", "", "7")}},
		{"receives, under another name", trace.KindServer, true, []string{"received.event.id", "7"}, []string{"effect attribute " + key("attribute order event", "", "7")}},
		{"has a caller", trace.KindServer, false, []string{"received.event.id", "7"}, nil},
		{"one name: not a receipt", trace.KindInternal, false, []string{"mailing.id", "7", "shop", "uk"}, []string{"cause attribute " + key("attribute mailing", "", "uk", "7")}},
		{"one name: a run", trace.KindConsumer, true, []string{"mailing.id", "7", "shop", "de"}, []string{"effect attribute " + key("attribute mailing", "", "de", "7")}},
		{"a trace id", trace.KindInternal, true, []string{"scheduled_by", low}, []string{"effect attribute 0abc:0000"}},
		{"a traceparent", trace.KindInternal, true, []string{"scheduled_by", "00-" + low + "-00000000000000ef-01"}, []string{"effect attribute 0abc:00ef"}},
		{"a known field too", trace.KindProducer, false, []string{"messaging.kafka.message.key", "17", "messaging.destination.name", "quotes"},
			[]string{"cause attribute " + key("attribute kafka key", "", "17")}},
	}
	for _, tt := range tests {
		s := trace.Span{TraceID: trace.ID{0: 7}, SpanID: trace.SpanID{7: 8}, Kind: tt.kind}
		if !tt.root {
			s.ParentID = trace.SpanID{7: 9}
		}
		for i := 0; i < len(tt.attrs); i += 2 {
			if tt.attrs[i] == "environment" {
				s.Environment = tt.attrs[i+1]
				continue
			}
			attr(tt.attrs[i], tt.attrs[i+1])(&s)
		}
		if diff := cmp.Diff(tt.want, offered(&s, r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, c := range []Correlation{{}, {Name: "x", Means: "thing", Cause: []string{"a"}, Effect: []string{"b"}}, {Name: "x", Means: MeansJob, Effect: []string{"b"}},
		{Name: "x", Means: MeansJob, Cause: []string{"a"}}, {Name: "x", Means: MeansJob, Cause: []string{" "}, Effect: []string{"b"}}} {
		if _, err := NewRules(c); err == nil {
			t.Errorf("correlation %+v was taken", c)
		}
	}
}

func TestOpaque(t *testing.T) {
	for id, want := range map[string]string{
		jid: jid, uuid: strings.ReplaceAll(uuid, "-", ""), "01J9ZK4V5N8Q3R7S2T6W1X0Y4B": "01J9ZK4V5N8Q3R7S2T6W1X0Y4B", "179538182927612": "179538182927612",
		"17": "", "": "", "repeat:refresh-prices:1795381829276": "", "msg-62b86206": "", "2026-11-22-000000001": "", "deadbeefdeadbeef": "", "daily-report-for-everybody": "",
	} {
		if got := opaque(id); got != want {
			t.Errorf("opaque(%q) = %q, want %q", id, got, want)
		}
	}
}

// TestRulesAreNumberedForEver: edge indexes on disk hold the numbers.
func TestRulesAreNumberedForEver(t *testing.T) {
	want := []string{"", "span_link", "link_event", "dd_span_links", "child_trace", "message_id", "job_id", "queue_id", "kafka_offset", "kafka_key",
		"router_request_id", "request_id", "attribute", "kafka_offset", "queue_id", "receipt"}
	var got []string
	for r := range ruleCount {
		got = append(got, r.Name())
		if t2 := ruleTable[r]; r > 0 && (t2.source == "" || t2.kind == "") {
			t.Errorf("rule %s has no source or kind", t2.name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rules = %q, want %q: new ones come last", got, want)
	}
	if k := KeyOf("id", jid); k != KeyOf("id", jid) || k == KeyOf("id"+jid) || KeyOf() == 0 {
		t.Errorf("KeyOf does not tell parts apart")
	}
	if k := KeyOf("id", "abc"); k != 0x80d3549bcc56655f {
		t.Errorf("KeyOf(id, abc) = %#x: the hash of stored keys has changed", uint64(k))
	}
}

// TestRulesOnCaptures counts what the spans of the captures offer.
func TestRulesOnCaptures(t *testing.T) {
	for name, want := range map[string]map[string]int{
		"node":  {"effect span_link": 12, "cause queue_id": 37, "cause kafka_key": 16, "effect kafka_key": 4, "effect kafka_offset": 4, "effect receipt": 51},
		"rails": {"effect span_link": 23, "cause message_id": 22, "effect message_id": 1, "cause kafka_key": 8, "both request_id": 8, "effect receipt": 8},
	} {
		spans, _ := readCapture(t, name)
		got := map[string]int{}
		for i := range spans {
			for _, h := range defaultRules.Halves(nil, &spans[i]) {
				got[[4]string{"", "cause ", "effect ", "both "}[h.Side]+h.Rule.Name()]++
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, %d spans (-want +got):\n%s", name, len(spans), diff)
		}
	}
}

func BenchmarkHalves(b *testing.B) {
	for _, name := range []string{"node", "rails"} {
		b.Run(name, func(b *testing.B) {
			spans, _ := readCapture(b, name)
			var halves []Half
			b.ReportAllocs()
			for b.Loop() {
				for i := range spans {
					halves = defaultRules.Halves(halves[:0], &spans[i])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(spans)), "ns/span")
		})
	}
}

// FuzzHalves: whatever stands in the attributes that rules read, they neither
// panic nor answer differently when asked again, and name no zero ends.
func FuzzHalves(f *testing.F) {
	f.Add("_dd.span_links", `[{"trace_id":"abc","span_id":"ef"},{"trace_id":12,"trace_id_high":{},"span_id":null}]`, uint8(5), true)
	f.Add("messaging.message.ids", `["a",1,null,["b"]]`, uint8(4), false)
	f.Add("trace.parent_id", low, uint8(1), true)
	f.Add("traceparent", "00-"+low+"-00000000000000ef-01", uint8(2), true)
	rules, err := NewRules(Correlation{Name: "c", Means: MeansTrace, Effect: []string{"traceparent"}}, Correlation{Name: "d", Means: MeansJob, Cause: []string{"d"}, Effect: []string{"d"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value string, kind uint8, root bool) {
		if len(value) > 1<<16 {
			return
		}
		s := trace.Span{TraceID: trace.ID{0: 7}, SpanID: trace.SpanID{7: 8}, Kind: trace.Kind(kind % 6)}
		if !root {
			s.ParentID = trace.SpanID{7: 9}
		}
		attr(key, value)(&s)
		attr("messaging.destination.name", "quotes")(&s)
		attr("trace.link.trace_id", low)(&s)
		asJSON(&s)
		got := rules.Halves(nil, &s)
		if diff := cmp.Diff(got, rules.Halves(nil, &s)); diff != "" {
			t.Errorf("asked again: %s", diff)
		}
		for _, h := range got {
			if h.Of.TraceID.IsZero() || h.Of.SpanID.IsZero() || h.Side == 0 || h.Rule.Name() == "" || h.recorded() == (h.Key != 0) || h.Target == h.Of {
				t.Errorf("%q=%q offers %+v", key, value, h)
			}
		}
	})
}

// A span that names its one message and has its link knows its cause, however large
// the batch was in which the message came.
func TestOneMessageOfABatch(t *testing.T) {
	batch := trace.Attribute{Key: keyBatchCount, Value: trace.Int(39)}
	id := trace.Attribute{Key: "messaging.message.id", Value: trace.String("4b97cc0e")}
	link := trace.Link{TraceID: trace.ID{1}, SpanID: trace.SpanID{2}}
	for _, tt := range []struct {
		attrs []trace.Attribute
		links int
		want  int
	}{
		{[]trace.Attribute{batch, id}, 1, 0},
		{[]trace.Attribute{batch}, 1, 38},
		{[]trace.Attribute{batch, id}, 2, 37},
		{[]trace.Attribute{batch, id}, 0, 0},
		{[]trace.Attribute{batch, {Key: "messaging.message.id", Value: trace.JSON(`["a","b"]`)}}, 1, 38},
		{[]trace.Attribute{id, {Key: keyDroppedLinks, Value: trace.Int(3)}}, 1, 3},
	} {
		s := trace.Span{Kind: trace.KindConsumer, Attributes: tt.attrs}
		for range tt.links {
			s.Links = append(s.Links, link)
		}
		if got := droppedLinks(&s); got != tt.want {
			t.Errorf("%d links, %v: %d dropped, want %d", tt.links, tt.attrs, got, tt.want)
		}
	}
}
