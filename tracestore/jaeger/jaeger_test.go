package jaeger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

func show(list []trace.Attribute) []string {
	out := []string{}
	for _, a := range list {
		out = append(out, fmt.Sprintf("%s=%s:%s", a.Key, a.Value.Type, a.Value.Text()))
	}
	return out
}

const file = `{"data":[{"traceID":"abc123","spans":[
	{"traceID":"abc123","spanID":"1f","flags":1,"operationName":"GET /","startTime":1660049722779884,"duration":1500,"processID":"p1",
	 "references":[],"tags":[
		{"key":"span.kind","type":"string","value":"server"},{"key":"http.status_code","type":"int64","value":500},
		{"key":"n","type":"int64","value":"9007199254740993"},{"key":"f","type":"float64","value":1},{"key":"raw","type":"binary","value":"AQI="},
		{"key":"error","type":"bool","value":true},{"key":"otel.status_description","value":"boom"},{"key":"w3c.tracestate","value":"a=b"},
		{"key":"host","type":"string","value":"inner"},{"key":"list","value":[1,2]},{"key":"untyped","value":2.5}],
	 "logs":[{"timestamp":1660049722779900,"fields":[{"key":"event","type":"string","value":"retry"},{"key":"attempt","type":"int64","value":2}]},
		{"timestamp":1660049722779950,"fields":[{"key":"event","value":"error"},{"key":"error.kind","value":"IOError"},{"key":"message","value":"closed"}]},
		{"timestamp":1660049722779960,"fields":[{"key":"x","value":"y"}]}],
	 "warnings":["clock skew"]},
	{"spanID":"2f","operationName":"child","startTime":1660049722780000,"duration":10.5,"processID":"p2","references":[
		{"refType":"FOLLOWS_FROM","traceID":"abc123","spanID":"3f"},{"refType":"CHILD_OF","traceID":"abc123","spanID":"1f"},
		{"refType":"CHILD_OF","traceID":"0af7651916cd43dd8448eb211c80319c","spanID":"b7ad6b7169203331"}]},
	{"spanID":"3f","operationName":"old","parentSpanID":"1f","startTime":0,"duration":0,"process":{"serviceName":"inline","tags":[]}}],
	"processes":{"p1":{"serviceName":"web","tags":[{"key":"host","type":"string","value":"outer"},{"key":"deployment.environment","value":"prod"}]},
		"p2":{"serviceName":"db"}}}],"total":0,"errors":null}`

func TestDecode(t *testing.T) {
	rows, err := Decode([]byte(file))
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v; want three", len(rows), err)
	}
	a, b, c := rows[0], rows[1], rows[2]
	if a.TraceID.String() != "00000000000000000000000000abc123" || a.SpanID.String() != "000000000000001f" || !a.ParentID.IsZero() ||
		a.Kind != trace.KindServer || a.Status != trace.StatusError || a.StatusMessage != "boom" || a.TraceState != "a=b" ||
		a.Service != "web" || a.Environment != "prod" || a.StartUnixNano != 1660049722779884000 || a.DurationNano != 1500000 {
		t.Errorf("first span: %+v", a)
	}
	want := []string{
		"trace.original_id=string:abc123", "span.original_id=string:1f", "trace.flags=int:1", "http.status_code=int:500", "n=int:9007199254740993",
		"f=float:1", "raw=bytes:AQI=", "error=bool:true", "host=string:inner", "list=json:[1,2]", "untyped=float:2.5",
		"resource.host=string:outer", "deployment.environment=string:prod", `jaeger.warnings=json:["clock skew"]`,
	}
	if diff := cmp.Diff(want, show(a.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	var events []string
	for _, e := range a.Events {
		events = append(events, fmt.Sprint(e.Name, " ", e.TimeUnixNano, " ", show(e.Attributes)))
	}
	want = []string{
		"retry 1660049722779900000 [attempt=int:2]",
		"exception 1660049722779950000 [exception.type=string:IOError exception.message=string:closed]",
		"log 1660049722779960000 [x=string:y]",
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if b.TraceID != a.TraceID || b.ParentID != a.SpanID || b.DurationNano != 10500 || b.Service != "db" || len(b.Links) != 2 {
		t.Fatalf("second span: %+v", b)
	}
	if l := b.Links[0]; l.SpanID != c.SpanID || l.TraceID != a.TraceID || show(l.Attributes)[0] != "opentracing.ref_type=string:follows_from" {
		t.Errorf("first link: %+v", l)
	}
	if l := b.Links[1]; l.TraceID.String() != "0af7651916cd43dd8448eb211c80319c" || show(l.Attributes)[0] != "opentracing.ref_type=string:child_of" {
		t.Errorf("second link: %+v", l)
	}
	if c.ParentID != a.SpanID || c.Service != "inline" {
		t.Errorf("third span: %+v", c)
	}
}

func TestDecodeForms(t *testing.T) {
	one := file[len(`{"data":[`):strings.LastIndex(file, `],"total"`)]
	for name, text := range map[string]string{
		"one trace": one, "list": "[" + one + "]", "data object": `{"data":` + one + `}`, "data list": `{"data":[` + one + `]}`,
	} {
		if rows, err := Decode([]byte(text)); err != nil || len(rows) != 3 {
			t.Errorf("%s: %d rows, %v; want three", name, len(rows), err)
		}
	}
}

func TestFollowsFromAloneIsTheParent(t *testing.T) {
	rows, err := Decode([]byte(`{"traceID":"1","spans":[{"spanID":"2","references":[{"refType":"FOLLOWS_FROM","traceID":"1","spanID":"3"}]}],"processes":{}}`))
	if err != nil || rows[0].ParentID.String() != "0000000000000003" || len(rows[0].Links) != 0 {
		t.Errorf("%+v, %v; want parent 3 and no links", rows, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ text, field, want string }{
		{`{`, "", "not JSON"},
		{`{"a":1}`, "", `"data" or "spans"`},
		{`{"data":[]}`, "", "no spans"},
		{`{"data":7}`, "", "want an object, got number"},
		{`{"spans":{}}`, "spans", "want a list, got object"},
		{`{"traceID":"1","spans":[{"spanID":"2","startTime":"soon"}]}`, "", "soon"},
		{`{"traceID":"1","spans":[{"spanID":"2","startTime":1e300}]}`, "spans[0].startTime", "not a time"},
		{`{"traceID":"1","spans":[{"spanID":""}]}`, "spans[0].spanID", "not a span id"},
		{`{"traceID":"1","spans":[{"spanID":"2","logs":[{"timestamp":1e300}]}]}`, "spans[0].logs[0].timestamp", "not a time"},
	}
	for _, tt := range tests {
		_, err := Decode([]byte(tt.text))
		var e *InvalidError
		if !errors.As(err, &e) || !strings.Contains(e.Field, tt.field) || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%s: %v, want an InvalidError of %q with %q", tt.text, err, tt.field, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte(`[{"spans":[{"spanID":"zz","traceID":"x","tags":[{"key":"k"}]}]}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		rows, err := Decode(raw)
		var e *InvalidError
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v, want an InvalidError", err)
		}
		for _, r := range rows {
			if r.TraceID.IsZero() || r.SpanID.IsZero() {
				t.Fatalf("a row without ids: %+v", r)
			}
		}
	})
}
