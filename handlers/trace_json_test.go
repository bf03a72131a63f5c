package handlers

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

func TestTracePageJSON(t *testing.T) {
	id := trace.ID{0xab, 15: 1}
	p := tracePage{id: id, missing: []trace.SpanID{{7: 9}}, truncated: true, next: "0000000000000002", spans: []trace.Span{
		{TraceID: id, SpanID: trace.SpanID{7: 1}, Name: "POST /quotes", Service: "web", Environment: "production-uk",
			Kind: trace.KindServer, Status: trace.StatusError, StatusMessage: "a \"bad\"\nthing \x01", Error: true,
			StartUnixNano: 1_795_381_829_805_342_001, DurationNano: 1500,
			Attributes: []trace.Attribute{
				{Key: "text", Value: trace.String("grüße </script> \xff")}, {Key: "int", Value: trace.Int(-7)},
				{Key: "big", Value: trace.Int(math.MaxInt64)}, {Key: "float", Value: trace.Float(0.5)}, {Key: "nan", Value: trace.Float(math.NaN())},
				{Key: "inf", Value: trace.Float(math.Inf(-1))}, {Key: "yes", Value: trace.Bool(true)}, {Key: "bytes", Value: trace.Bytes("\x00\x01")},
				{Key: "list", Value: trace.JSON(`["a",1]`)}, {Key: `k"ey`, Value: trace.JSON(`{"a":{"b":null}}`)}, {Key: "broken", Value: trace.JSON(`{`)},
			},
			Events: []trace.Event{{Name: "exception", TimeUnixNano: 5, Attributes: []trace.Attribute{{Key: "exception.type", Value: trace.String("E")}}}, {Name: ""}},
			Links:  []trace.Link{{TraceID: id, SpanID: trace.SpanID{7: 3}}}},
		{TraceID: id, SpanID: trace.SpanID{7: 2}, ParentID: trace.SpanID{7: 9}},
	}}
	const want = `{"trace_id":"ab000000000000000000000000000001","spans":[` +
		`{"span_id":"0000000000000001","parent_span_id":"","name":"POST /quotes","service":"web","environment":"production-uk","kind":"server",` +
		`"status":{"code":"error","message":"a \"bad\"\nthing \u0001"},"error":true,"start_unix_nano":"1795381829805342001","duration_nano":"1500",` +
		`"attributes":{"text":"grüße </script> ` + "\uFFFD" + `","int":-7,"big":{"int":"9223372036854775807"},"float":0.5,"nan":{"float":"NaN"},` +
		`"inf":{"float":"-Infinity"},"yes":true,"bytes":{"bytes":"AAE="},"list":["a",1],"k\"ey":{"a":{"b":null}},"broken":"{"},` +
		`"events":[{"name":"exception","time_unix_nano":"5","attributes":{"exception.type":"E"}},{"name":"","time_unix_nano":"0","attributes":{}}],` +
		`"links":[{"trace_id":"ab000000000000000000000000000001","span_id":"0000000000000003","attributes":{}}]},` +
		`{"span_id":"0000000000000002","parent_span_id":"0000000000000009","name":"","service":"","environment":"","kind":"unspecified",` +
		`"status":{"code":"unset","message":""},"error":false,"start_unix_nano":"0","duration_nano":"0","attributes":{},"events":[],"links":[]}],` +
		`"missing_parents":["0000000000000009"],"cut_parents":[],"truncated":true,"next":"0000000000000002"}`
	got := p.appendJSON(nil)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	if !json.Valid(got) {
		t.Errorf("not JSON: %s", got)
	}
}

func FuzzTextJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\x00\x7f", "grüße\u2028", "\xff\xfe", "\xe2\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		if err := json.Unmarshal(appendText(nil, s), &got); err != nil {
			t.Fatalf("text %q: %v", s, err)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("text %q reads back as %q, want %q", s, got, want)
		}
	})
}

func TestSpanCursor(t *testing.T) {
	a, b := trace.SpanID{7: 1}, trace.SpanID{7: 2}
	spans := []trace.Span{{SpanID: a}, {SpanID: b}, {SpanID: a}, {SpanID: a}}
	for i := range spans {
		cursor := spanCursor(spans, i)
		if at, ok := spanAfter(spans, cursor); !ok || at != i+1 {
			t.Errorf("after the cursor %q of span %d stands %d %v, want %d", cursor, i, at, ok, i+1)
		}
	}
	for _, cursor := range []string{"0000000000000009", "0000000000000002.1", "x", "1"} {
		if _, ok := spanAfter(spans, cursor); ok {
			t.Errorf("cursor %q was found", cursor)
		}
	}
}

func TestMissingParents(t *testing.T) {
	spans := []trace.Span{
		{SpanID: trace.SpanID{1}}, {SpanID: trace.SpanID{2}, ParentID: trace.SpanID{8}}, {SpanID: trace.SpanID{3}, ParentID: trace.SpanID{4}},
		{SpanID: trace.SpanID{4}, ParentID: trace.SpanID{1}}, {SpanID: trace.SpanID{5}, ParentID: trace.SpanID{8}},
	}
	if diff := cmp.Diff([]trace.SpanID{{8}}, missingParents(graph.Arrange(spans), spans)); diff != "" {
		t.Errorf("missing parents (-want +got):\n%s", diff)
	}
}

// A circle of parents is cut at one span, the same for the API, the trace page
// and a thread.
func TestCutParents(t *testing.T) {
	at := func(id, parent byte, start int64) trace.Span {
		return trace.Span{SpanID: trace.SpanID{id}, ParentID: trace.SpanID{parent}, StartUnixNano: start}
	}
	spans := []trace.Span{at(1, 3, 30), at(2, 1, 20), at(3, 2, 10), at(4, 3, 40)}
	if diff := cmp.Diff([]trace.SpanID{{3}}, cutParents(graph.Arrange(spans), spans)); diff != "" {
		t.Errorf("cut at (-want +got):\n%s", diff)
	}
	tree := newTraceTree(spans)
	if r := tree.rows[0]; !r.circle || r.span.SpanID != (trace.SpanID{3}) || r.parent != -1 {
		t.Errorf("the page cuts elsewhere: its first row is %+v", r)
	}
}

func TestIDsInText(t *testing.T) {
	const id, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for text, want := range map[string][2]string{
		id: {id, ""}, id + ":" + span: {id, span}, "00-" + id + "-" + span + "-01": {id, span},
		"https://red.example/t/" + id + "/" + span + "?q=x": {id, span}, "/t/" + id: {id, ""}, "/thread/" + id + "?span=" + span: {id, ""},
		"0AF76519-16CD-43DD-8448-EB211C80319C": {id, ""}, span: {"0000000000000000" + span, ""},
		"user-1": {}, "": {}, id + "0": {}, "7": {},
	} {
		traceID, spanID := idsIn(text)
		got := [2]string{}
		if !traceID.IsZero() {
			got[0] = traceID.String()
		}
		if !spanID.IsZero() {
			got[1] = spanID.String()
		}
		if got != want {
			t.Errorf("ids in %q = %v, want %v", text, got, want)
		}
	}
}
