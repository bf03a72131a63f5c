package otlp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"redthread/tracestore/trace"
)

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return b
}

// decodeOne decodes a request of exactly one accepted record.
func decodeOne(t testing.TB, sig Signal, m proto.Message, in Arrival) trace.Span {
	t.Helper()
	spans, rep, err := DecodeAll(sig, mustMarshal(t, m), in)
	if err != nil || len(spans) != 1 || rep != (Report{Accepted: 1}) {
		t.Fatalf("DecodeAll = %d rows, %+v, %v; want one row", len(spans), rep, err)
	}
	return spans[0]
}

// show prints attributes as key=type:text, for comparing.
func show(list []trace.Attribute) []string {
	out := []string{}
	for _, a := range list {
		out = append(out, fmt.Sprintf("%s=%s:%s", a.Key, a.Value.Type, a.Value.Text()))
	}
	return out
}

func kv(pairs ...any) []*commonpb.KeyValue {
	var out []*commonpb.KeyValue
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, attr(pairs[i].(string), pairs[i+1]))
	}
	return out
}

func TestAttributesOfSpanScopeAndResource(t *testing.T) {
	td := request(kv("service.name", "web", "host", "a", "same", "x", "team", "uk"),
		&tracepb.Span{TraceId: unhex(testTrace), SpanId: unhex(testSpan), Attributes: kv("host", "b", "twice", 1, "same", "x", "twice", 2, "name", "n")})
	td.ResourceSpans[0].ScopeSpans[0].Scope = &commonpb.InstrumentationScope{Name: "http", Version: "2", Attributes: kv("host", "c", "team", "de", "scoped", true)}
	s := decodeOne(t, Traces, td, Arrival{})
	want := []string{
		"host=string:b", "twice=int:2", "same=string:x", "name=string:n",
		"otel.scope.name=string:http", "otel.scope.version=string:2", "scope.host=string:c", "team=string:de", "scoped=bool:true",
		"resource.host=string:a", "resource.team=string:uk",
	}
	if diff := cmp.Diff(want, show(s.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestManyAttributesKeepEachKeyOnce(t *testing.T) {
	var list []*commonpb.KeyValue
	for i := range 300 {
		list = append(list, attr(fmt.Sprintf("key.%d", i%150), i))
	}
	list = append(list, attr("service.name", "inner"), attr("key.3", "last"))
	span := oneSpan()
	span.Attributes = list
	s := decodeOne(t, Traces, request(kv("service.name", "outer", "key.7", "r"), span), Arrival{})
	seen := map[string]string{}
	for _, a := range s.Attributes {
		if _, ok := seen[a.Key]; ok {
			t.Fatalf("key %s stands twice", a.Key)
		}
		seen[a.Key] = a.Value.Text()
	}
	if seen["key.3"] != "last" || seen["key.149"] != "299" || seen["resource.key.7"] != "r" || seen["resource.service.name"] != "outer" || s.Service != "inner" {
		t.Errorf("service %s, key.3 %s, key.149 %s, resource.key.7 %s: want inner, last, 299, r", s.Service, seen["key.3"], seen["key.149"], seen["resource.key.7"])
	}
	if len(seen) != 152 {
		t.Errorf("%d keys, want 152", len(seen))
	}
}

func TestValues(t *testing.T) {
	deep := kv("leaf", 1)
	for range 6 {
		deep = kv("m", deep)
	}
	span := oneSpan()
	span.Attributes = kv(
		"s", "text", "i", -5, "f", 2.5, "b", true, "raw", []byte{0, 255}, "none", nil,
		"list", []any{1, "a\"\n", 1.5, false, nil, []byte("hi"), []any{}, kv("k", 2)},
		"http", kv("method", "GET", "headers", kv("x", "1"), "codes", []any{200}),
		"http.method", "POST",
		"empty", kv(), "deep", deep)
	s := decodeOne(t, Traces, request(nil, span), Arrival{})
	want := []string{
		"s=string:text", "i=int:-5", "f=float:2.5", "b=bool:true", "raw=bytes:AP8=", "none=json:null",
		`list=json:[1,"a\"\n",1.5,false,null,"aGk=",[],{"k":2}]`,
		`http=json:{"method":"GET","headers":{"x":"1"},"codes":[200]}`,
		"http.method=string:POST", "http.headers.x=string:1", "http.codes=json:[200]",
		"empty=json:{}",
		`deep=json:{"m":{"m":{"m":{"m":{"m":{"m":{"leaf":1}}}}}}}`,
		`deep.m.m.m.m.m=json:{"m":{"leaf":1}}`,
	}
	if diff := cmp.Diff(want, show(s.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestMapsAreFlattenedWithinBounds(t *testing.T) {
	var many []*commonpb.KeyValue
	for i := range 5000 {
		many = append(many, attr(fmt.Sprint(i), i))
	}
	span := oneSpan()
	span.Attributes = kv("many", many, strings.Repeat("k", 2000), kv("a", 1))
	s := decodeOne(t, Traces, request(nil, span), Arrival{})
	if n := len(s.Attributes); n != maxFlattenedKeys+2 {
		t.Errorf("%d attributes, want the two that were sent and %d made from them", n, maxFlattenedKeys)
	}
}

func TestBadTextIsRepaired(t *testing.T) {
	raw := mustMarshal(t, request(kv("service.name", "web"), &tracepb.Span{
		TraceId: unhex(testTrace), SpanId: unhex(testSpan), Name: "GET ??",
		Attributes: kv("sql", "a??b", "list", []any{"x??"}),
	}))
	raw = []byte(strings.ReplaceAll(string(raw), "??", "\xff\xfe"))
	spans, _, err := DecodeAll(Traces, raw, Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"sql=string:a\uFFFD\uFFFDb", "list=json:[\"x\uFFFD\uFFFD\"]"}
	if diff := cmp.Diff(want, show(spans[0].Attributes)); diff != "" || spans[0].Name != "GET \uFFFD\uFFFD" {
		t.Errorf("name %q, attributes (-want +got):\n%s", spans[0].Name, diff)
	}
}

func TestEnvironmentAndService(t *testing.T) {
	tests := []struct {
		key     string
		res     []*commonpb.KeyValue
		env     string
		service string
	}{
		{"", nil, "default", "unknown_service"},
		{"", kv("service.name", ""), "default", "unknown_service"},
		{"", kv("service.name", "web", "deployment.environment", "old"), "old", "web"},
		{"", kv("deployment.environment", "old", "deployment.environment.name", "new"), "new", "unknown_service"},
		{"", kv("deployment.environment", "old", "deployment.environment.name", ""), "old", "unknown_service"},
		{"*", kv("deployment.environment.name", "new"), "new", "unknown_service"},
		{"key", kv("deployment.environment.name", "new"), "key", "unknown_service"},
		{"key", nil, "key", "unknown_service"},
		{"", kv("service.name", 7), "default", "7"},
	}
	for _, tt := range tests {
		s := decodeOne(t, Traces, request(tt.res, oneSpan()), Arrival{UnixNano: 5, Environment: tt.key})
		if s.Environment != tt.env || s.Service != tt.service || s.ArrivedUnixNano != 5 {
			t.Errorf("key %q, resource %v: environment %q, service %q, arrived %d; want %q, %q, 5", tt.key, tt.res, s.Environment, s.Service, s.ArrivedUnixNano, tt.env, tt.service)
		}
		if _, ok := s.Attribute("service.name"); ok {
			t.Errorf("service.name is among the attributes too")
		}
		if tt.key == "key" && tt.res != nil {
			if v, _ := s.Attribute("deployment.environment.name"); v.Str != "new" {
				t.Errorf("what the resource said of its environment is lost: %v", show(s.Attributes))
			}
		}
	}
}

func TestErrorFlagAndLift(t *testing.T) {
	exception := func(pairs ...any) *tracepb.Span_Event {
		return &tracepb.Span_Event{Name: "exception", Attributes: kv(pairs...)}
	}
	tests := []struct {
		name string
		span *tracepb.Span
		err  bool
		want []string
	}{
		{"plain", &tracepb.Span{}, false, []string{}},
		{"status ok", &tracepb.Span{Status: &tracepb.Status{Code: 1}}, false, []string{}},
		{"status error", &tracepb.Span{Status: &tracepb.Status{Code: 2}}, true, []string{}},
		{"exception", &tracepb.Span{Events: []*tracepb.Span_Event{exception("exception.type", "A", "exception.message", "m")}}, true,
			[]string{"exception.type=string:A", "exception.message=string:m"}},
		{"two exceptions", &tracepb.Span{Events: []*tracepb.Span_Event{exception("exception.type", "A"), exception("exception.type", "B")}}, true,
			[]string{"exception.type=string:B"}},
		{"exception, own type", &tracepb.Span{Attributes: kv("exception.type", "own"), Events: []*tracepb.Span_Event{exception("exception.type", "A")}}, true,
			[]string{"exception.type=string:own"}},
		{"other event", &tracepb.Span{Events: []*tracepb.Span_Event{{Name: "retry"}}}, false, []string{}},
		{"bullmq", &tracepb.Span{Events: []*tracepb.Span_Event{{Name: "job failed", Attributes: kv("bullmq.job.failed.reason", "SMTP 451")}}}, true,
			[]string{"exception.message=string:SMTP 451"}},
		{"error tag true", &tracepb.Span{Attributes: kv("error", true)}, true, []string{"error=bool:true"}},
		{"error tag false", &tracepb.Span{Attributes: kv("error", false)}, false, []string{"error=bool:false"}},
		{"error tag text", &tracepb.Span{Attributes: kv("error", "timeout")}, true, []string{"error=string:timeout"}},
		{"error tag 'false'", &tracepb.Span{Attributes: kv("error", "false")}, false, []string{"error=string:false"}},
		{"error tag 1", &tracepb.Span{Attributes: kv("error", 1)}, true, []string{"error=int:1"}},
		{"error tag 0", &tracepb.Span{Attributes: kv("error", 0)}, false, []string{"error=int:0"}},
	}
	for _, tt := range tests {
		tt.span.TraceId, tt.span.SpanId = unhex(testTrace), unhex(testSpan)
		s := decodeOne(t, Traces, request(nil, tt.span), Arrival{})
		if diff := cmp.Diff(tt.want, show(s.Attributes)); s.Error != tt.err || diff != "" {
			t.Errorf("%s: error %v, want %v; attributes (-want +got):\n%s", tt.name, s.Error, tt.err, diff)
		}
	}
}

func TestIDs(t *testing.T) {
	span := oneSpan()
	span.TraceId = unhex("8448eb211c80319c")
	span.ParentSpanId = make([]byte, 8)
	s := decodeOne(t, Traces, request(nil, span), Arrival{})
	if got := s.TraceID.String(); got != "00000000000000008448eb211c80319c" || !s.ParentID.IsZero() || len(s.Attributes) != 0 {
		t.Errorf("8-byte trace id: %s, parent %s, attributes %v; want it padded on the left", got, s.ParentID, show(s.Attributes))
	}

	span.TraceId, span.SpanId, span.ParentSpanId = []byte("abc"), []byte{1}, []byte{2}
	span.Links = []*tracepb.Span_Link{{TraceId: []byte("abc"), SpanId: []byte{2}}, {}}
	s = decodeOne(t, Traces, request(nil, span), Arrival{})
	if s.TraceID.IsZero() || s.SpanID.IsZero() || s.ParentID == s.SpanID {
		t.Errorf("ids of wrong length give %s, %s, parent %s", s.TraceID, s.SpanID, s.ParentID)
	}
	if s.Links[0].TraceID != s.TraceID || s.Links[0].SpanID != s.ParentID || !s.Links[1].TraceID.IsZero() {
		t.Errorf("links %v do not agree with trace %s and parent %s", s.Links, s.TraceID, s.ParentID)
	}
	want := []string{"trace.original_id=string:616263", "span.original_id=string:01"}
	if diff := cmp.Diff(want, show(s.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if id, original := TraceIDFromText("616263"); id != s.TraceID || original != "616263" {
		t.Errorf("TraceIDFromText finds %s of %q, want the id of the row, %s", id, original, s.TraceID)
	}
	if id, _ := SpanIDFromText("01"); id != s.SpanID {
		t.Errorf("SpanIDFromText = %s, want the id of the row, %s", id, s.SpanID)
	}

	for why, bad := range map[string]*tracepb.Span{
		"a span has no trace id":        {SpanId: unhex(testSpan)},
		"a span's trace id is all zero": {TraceId: make([]byte, 16), SpanId: unhex(testSpan)},
		"a span has no span id":         {TraceId: unhex(testTrace)},
		"a span's span id is all zero":  {TraceId: unhex(testTrace), SpanId: make([]byte, 8)},
	} {
		raw := mustMarshal(t, request(nil, oneSpan(), bad, oneSpan()))
		spans, rep, err := DecodeAll(Traces, raw, Arrival{})
		want := Report{Accepted: 2, Rejected: 1, Message: why}
		if err != nil || rep != want || len(spans) != 2 {
			t.Errorf("%s: report %+v, %d rows, %v; want %+v", why, rep, len(spans), err, want)
		}
		if rep, err := Validate(Traces, raw); rep != want || err != nil {
			t.Errorf("Validate = %+v, %v; want %+v", rep, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	tests := []struct {
		start, end        uint64
		wantStart, wantNs int64
		extra             []string
	}{
		{100, 150, 100, 50, []string{}},
		{100, 0, 100, 0, []string{}}, // not ended
		{100, 40, 100, 0, []string{"end_unix_nano=int:40"}},
		{0, 0, 0, 0, []string{}},
		{1 << 63, 1<<63 + 5, 1<<63 - 1, 0, []string{}},
	}
	for _, tt := range tests {
		span := oneSpan()
		span.StartTimeUnixNano, span.EndTimeUnixNano = tt.start, tt.end
		s := decodeOne(t, Traces, request(nil, span), Arrival{})
		if diff := cmp.Diff(tt.extra, show(s.Attributes)); s.StartUnixNano != tt.wantStart || s.DurationNano != tt.wantNs || diff != "" {
			t.Errorf("%d to %d: start %d, duration %d, %s; want %d, %d", tt.start, tt.end, s.StartUnixNano, s.DurationNano, diff, tt.wantStart, tt.wantNs)
		}
	}
}

func TestResourceBehindItsSpans(t *testing.T) {
	first := mustMarshal(t, &tracepb.ResourceSpans{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{oneSpan()}}}})
	second := mustMarshal(t, &tracepb.ResourceSpans{Resource: request(kv("service.name", "late")).ResourceSpans[0].Resource})
	raw := appendBytesField(nil, 1, append(first, second...))
	spans, _, err := DecodeAll(Traces, raw, Arrival{})
	if err != nil || len(spans) != 1 || spans[0].Service != "late" {
		t.Errorf("rows %v, %v; want one row of service late", spans, err)
	}
}

func TestLogs(t *testing.T) {
	ld := &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: request(kv("service.name", "web")).ResourceSpans[0].Resource,
		ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{
			{TraceId: unhex(testTrace), SpanId: unhex(testSpan), TimeUnixNano: 7, ObservedTimeUnixNano: 9, SeverityNumber: 17, SeverityText: "ERROR",
				Body: anyOf("could not save"), Attributes: kv("user.id", "u1")},
			{Body: anyOf("of no trace")},
			{TraceId: unhex(testTrace), ObservedTimeUnixNano: 11, SeverityNumber: 9, Body: anyOf(kv("event", "x", "n", kv("a", 1))), EventName: "checkout"},
		}}},
	}}}
	raw := mustMarshal(t, ld)
	spans, rep, err := DecodeAll(Logs, raw, Arrival{})
	if err != nil || rep.Accepted != 2 || rep.Rejected != 1 || !strings.Contains(rep.Message, "trace id") {
		t.Fatalf("report %+v, %v; want 2 accepted, 1 rejected for its trace id", rep, err)
	}
	if got, err := Validate(Logs, raw); got != rep || err != nil {
		t.Errorf("Validate = %+v, %v; want %+v", got, err, rep)
	}
	a, b := spans[0], spans[1]
	if a.Signal != trace.SignalLog || a.TraceID.String() != testTrace || a.ParentID.String() != testSpan || a.Name != "could not save" || a.StartUnixNano != 7 || !a.Error || a.Service != "web" {
		t.Errorf("first record: %+v", a)
	}
	if b.Error || b.StartUnixNano != 11 || b.Name != `{"event":"x","n":{"a":1}}` {
		t.Errorf("second record: %+v", b)
	}
	want := [][]string{
		{"severity_number=int:17", "severity_text=string:ERROR", "user.id=string:u1", "observed_time_unix_nano=int:9"},
		{"severity_number=int:9", "event.name=string:checkout", `body=json:{"event":"x","n":{"a":1}}`, "body.event=string:x", "body.n.a=int:1"},
	}
	if diff := cmp.Diff(want, [][]string{show(a.Attributes), show(b.Attributes)}); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestDecodeStopsAtTheCallersError(t *testing.T) {
	raw := mustMarshal(t, request(nil, oneSpan(), oneSpan()))
	stop := fmt.Errorf("stop")
	n := 0
	var d Decoder
	if _, err := d.Decode(Traces, raw, Arrival{}, func(*trace.Span) error { n++; return stop }); err != stop || n != 1 {
		t.Errorf("Decode = %v after %d rows, want the caller's error after one", err, n)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	raw := mustMarshal(t, randomRequest(rand.New(rand.NewPCG(1, 2)), 4, 200))
	var d Decoder
	n := 0
	run := func() {
		if _, err := d.Decode(Traces, raw, Arrival{}, func(*trace.Span) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if got := testing.AllocsPerRun(20, run); got > 2 { // a request may cost a closure, a span nothing
		t.Errorf("%v allocations in a request of 800 spans, want at most 2", got)
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := mustMarshal(b, randomRequest(rand.New(rand.NewPCG(1, 2)), 4, 2048))
	var d Decoder
	spans := 0
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		rep, err := d.Decode(Traces, raw, Arrival{}, func(*trace.Span) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		spans += rep.Accepted
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(spans), "ns/span")
}

func BenchmarkValidate(b *testing.B) {
	raw := mustMarshal(b, randomRequest(rand.New(rand.NewPCG(1, 2)), 4, 2048))
	spans := 0
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		rep, err := Validate(Traces, raw)
		if err != nil {
			b.Fatal(err)
		}
		spans += rep.Accepted
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(spans), "ns/span")
}
