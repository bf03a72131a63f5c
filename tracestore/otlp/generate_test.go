package otlp

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// attr makes a KeyValue of a Go value.
func attr(key string, v any) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: anyOf(v)}
}

func anyOf(v any) *commonpb.AnyValue {
	switch v := v.(type) {
	case string:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}
	case int:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(v)}}
	case float64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	case []byte:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: v}}
	case []any:
		list := &commonpb.ArrayValue{}
		for _, e := range v {
			list.Values = append(list.Values, anyOf(e))
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}}
	case []*commonpb.KeyValue:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: v}}}
	case nil:
		return &commonpb.AnyValue{}
	}
	panic(fmt.Sprintf("no AnyValue for %T", v))
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

const (
	testTrace  = "0af7651916cd43dd8448eb211c80319c"
	testSpan   = "b7ad6b7169203331"
	testParent = "00f067aa0ba902b7"
)

// request wraps spans into one resource and scope.
func request(res []*commonpb.KeyValue, spans ...*tracepb.Span) *tracepb.TracesData {
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: res},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}}
}

// oneSpan is a span with valid ids and nothing else.
func oneSpan() *tracepb.Span {
	return &tracepb.Span{TraceId: unhex(testTrace), SpanId: unhex(testSpan)}
}

// randomRequest makes a request such as a service sends.
func randomRequest(r *rand.Rand, resources, spansEach int) *tracepb.TracesData {
	td := &tracepb.TracesData{}
	for range resources {
		rs := &tracepb.ResourceSpans{
			Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
				attr("service.name", []string{"web-uk", "web-de", "quotes-api"}[r.IntN(3)]),
				attr("service.version", "1.4.2"), attr("host.name", fmt.Sprintf("dyno-%d", r.IntN(9))),
				attr("process.pid", r.IntN(4000)), attr("deployment.environment.name", "production-uk"),
			}},
			SchemaUrl: "https://opentelemetry.io/schemas/1.30.0",
		}
		sc := &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: "@opentelemetry/instrumentation-http", Version: "0.57.1"}}
		for range spansEach {
			sc.Spans = append(sc.Spans, randomSpan(r))
		}
		rs.ScopeSpans = append(rs.ScopeSpans, sc)
		td.ResourceSpans = append(td.ResourceSpans, rs)
	}
	return td
}

func randomID(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.UintN(255) + 1)
	}
	return b
}

func randomSpan(r *rand.Rand) *tracepb.Span {
	start := uint64(1_790_000_000_000_000_000) + r.Uint64N(1e15)
	s := &tracepb.Span{
		TraceId: randomID(r, 16), SpanId: randomID(r, 8), Name: "GET /quotes/:id", Kind: tracepb.Span_SpanKind(1 + r.IntN(5)),
		StartTimeUnixNano: start, EndTimeUnixNano: start + r.Uint64N(1e10), Flags: 0x101,
		Attributes: []*commonpb.KeyValue{
			attr("http.request.method", "GET"), attr("http.route", "/quotes/:id"), attr("url.path", fmt.Sprintf("/quotes/%d", r.IntN(1e6))),
			attr("http.response.status_code", 200), attr("user.id", fmt.Sprintf("user-%d", r.IntN(1e6))), attr("server.address", "quotes.internal"),
			attr("server.port", 8080), attr("network.protocol.version", "1.1"), attr("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
			attr("db.rows", r.Float64()), attr("cache.hit", r.IntN(2) == 0), attr("request.id", fmt.Sprintf("%x", randomID(r, 16))),
		},
	}
	if r.IntN(4) > 0 {
		s.ParentSpanId = randomID(r, 8)
	}
	if r.IntN(5) == 0 {
		s.Links = append(s.Links, &tracepb.Span_Link{TraceId: randomID(r, 16), SpanId: randomID(r, 8), Attributes: []*commonpb.KeyValue{attr("messaging.message.id", r.IntN(1e6))}})
	}
	if r.IntN(10) == 0 {
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "upstream said 500"}
		s.Events = append(s.Events, &tracepb.Span_Event{TimeUnixNano: start, Name: "exception", Attributes: []*commonpb.KeyValue{
			attr("exception.type", "Net::ReadTimeout"), attr("exception.message", "too slow")}})
	}
	return s
}
