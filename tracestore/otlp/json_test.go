package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// fromJSON rewrites and decodes a request.
func decodeJSON(t testing.TB, sig Signal, text string) ([]string, Report, error) {
	t.Helper()
	raw, err := FromJSON(nil, sig, []byte(text))
	if err != nil {
		return nil, Report{}, err
	}
	rows, rep, err := DecodeAll(sig, raw, Arrival{})
	if err != nil {
		t.Fatalf("decode what FromJSON wrote: %v", err)
	}
	var attrs []string
	for _, r := range rows {
		attrs = append(attrs, show(r.Attributes)...)
	}
	return attrs, rep, nil
}

// hexIDs turns the base64 ids of protojson into the hex ids of OTLP's JSON.
func hexIDs(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			switch k {
			case "traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id":
				b, err := base64.StdEncoding.DecodeString(e.(string))
				if err != nil {
					panic(err)
				}
				v[k] = hex.EncodeToString(b)
			default:
				hexIDs(e)
			}
		}
	case []any:
		for _, e := range v {
			hexIDs(e)
		}
	}
}

func otlpJSON(t testing.TB, m proto.Message, o protojson.MarshalOptions) []byte {
	t.Helper()
	b, err := o.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	hexIDs(v)
	if b, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJSONSaysTheSameAsProtobuf(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	td := randomRequest(r, 3, 50)
	td.ResourceSpans[0].ScopeSpans[0].Spans[0].Attributes = append(td.ResourceSpans[0].ScopeSpans[0].Spans[0].Attributes,
		kv("list", []any{1, "a<b>&\u2028\"\\\n\x01é漢😀", 2.5, nil, true}, "map", kv("b", 1), "raw", []byte{1, 2, 0xff, 0xfe},
			"inf", math.Inf(-1), "nan", math.NaN(), "big", math.MaxInt64, "small", math.MinInt64, "tiny", 5e-324)...)
	want, wantRep, err := DecodeAll(Traces, mustMarshal(t, td), Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []protojson.MarshalOptions{{}, {UseProtoNames: true}, {UseEnumNumbers: true}, {EmitUnpopulated: true}} {
		raw, err := FromJSON(nil, Traces, otlpJSON(t, td, o))
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		got, rep, err := DecodeAll(Traces, raw, Arrival{})
		if err != nil || rep != wantRep {
			t.Fatalf("%+v: %+v, %v; want %+v", o, rep, err, wantRep)
		}
		if diff := sameRows(want, got); diff != "" {
			t.Errorf("%+v (-protobuf +json):\n%s", o, diff)
		}
	}
}

// inSpan wraps the fields of one span.
func inSpan(fields string) string {
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"` + testTrace + `","spanId":"` + testSpan + `",` + fields + `}]}]}]}`
}

func TestJSONForms(t *testing.T) {
	tests := []struct {
		fields string
		want   []string
	}{
		{`"attributes":[{"key":"i","value":{"intValue":5}},{"key":"s","value":{"intValue":"-5"}},{"key":"e","value":{"intValue":1e3}}]`,
			[]string{"i=int:5", "s=int:-5", "e=int:1000"}},
		{`"attributes":[{"key":"d","value":{"doubleValue":"1.5"}},{"key":"n","value":{"doubleValue":"NaN"}},{"key":"i","value":{"doubleValue":2}}]`,
			[]string{"d=float:1.5", "n=float:NaN", "i=float:2"}},
		{`"attributes":[{"key":"x","value":null},{"key":"y","value":{}},{"key":"z"}]`, []string{"x=json:null", "y=json:null", "z=json:null"}},
		{`"attributes":[{"key":"b","value":{"bytesValue":"_-8"}},{"key":"c","value":{"bytesValue":"/+8="}}]`, []string{"b=bytes:/+8=", "c=bytes:/+8="}},
		{`"flags":257,"droppedLinksCount":"3","kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_OK"}`, []string{"trace.flags=int:257", "dropped_links_count=int:3"}},
		{`"unknown":{"deep":[1,{"a":null}]},"attributes":null,"dropped_events_count":2`, []string{"dropped_events_count=int:2"}},
		{`"attributes":[{"key":"\u0061\ud83d\ude00\ud800x","value":{"stringValue":"\"\\\/\b\f\n\r\t"}}]`, []string{"a😀\uFFFDx=string:\"\\/\b\f\n\r\t"}},
	}
	for _, tt := range tests {
		got, rep, err := decodeJSON(t, Traces, inSpan(tt.fields))
		if err != nil || rep.Accepted != 1 {
			t.Errorf("%s: %+v, %v", tt.fields, rep, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.fields, diff)
		}
	}
}

func TestJSONIDs(t *testing.T) {
	text := `{"resource_spans":[{"scope_spans":[{"spans":[
		{"traceId":"0AF7651916CD43DD8448EB211C80319C","spanId":"b7ad6b7169203331"},
		{"traceId":"8448eb211c80319c","spanId":"b7ad6b7169203332"},
		{"traceId":"order-17","spanId":"step-1","links":[{"traceId":"order-17","spanId":"step-0"}]},
		{"traceId":"order-17","spanId":"step-2","parentSpanId":"step-1"},
		{"traceId":"","spanId":"b7ad6b7169203331"},
		{"traceId":"00000000000000000000000000000000","spanId":"b7ad6b7169203331"}]}]}]}`
	raw, err := FromJSON(nil, Traces, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	rows, rep, err := DecodeAll(Traces, raw, Arrival{})
	if err != nil || rep.Accepted != 4 || rep.Rejected != 2 {
		t.Fatalf("%+v, %v; want 4 accepted, 2 rejected", rep, err)
	}
	if rows[0].TraceID.String() != testTrace || rows[1].TraceID.String() != "00000000000000008448eb211c80319c" {
		t.Errorf("trace ids %s, %s", rows[0].TraceID, rows[1].TraceID)
	}
	a, b := rows[2], rows[3]
	if a.TraceID != b.TraceID || b.ParentID != a.SpanID || a.Links[0].TraceID != a.TraceID || len(a.Links[0].Attributes) != 0 {
		t.Errorf("ids that are not hex do not agree: %+v and %+v", a, b)
	}
	want := []string{"trace.original_id=string:order-17", "span.original_id=string:step-1"}
	if diff := cmp.Diff(want, show(a.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestJSONRefuses(t *testing.T) {
	tests := []struct{ text, field, want string }{
		{``, "", "empty"},
		{`  `, "", "empty"},
		{`[]`, "", "want an object, got an array"},
		{`"x"`, "", "want an object"},
		{`{`, "", "end of the body"},
		{`{"resourceSpans":[`, "resourceSpans[0]", "end of the body"},
		{`{"resourceSpans":[{}`, "resourceSpans[0]", "cut short inside an array"},
		{`{"resourceSpans":{}}`, "resourceSpans", "want an array, got an object"},
		{`{"resourceSpans":[1]}`, "resourceSpans[0]", "want an object, got the number 1"},
		{`{} {}`, "", "more behind"},
		{`{"a":01}`, "a", "malformed number"},
		{`{"a":1.}`, "a", "malformed number"},
		{`{"a":tru}`, "a", "boolean"},
		{`{"a" 1}`, "", "colon"},
		{`{"a":1 "b":2}`, "", "comma"},
		{`{"a":"` + "\n" + `"}`, "a", "control character"},
		{`{"a":"\x"}`, "a", "escape"},
		{`{"a":"\u12g4"}`, "a", "hex digits"},
		{`{"a":"abc`, "a", "cut short inside a string"},
		{`{"a":` + strings.Repeat("[", 200), "a", "nested deeper"},
		{strings.Repeat(`{"resourceSpans":[`, 200), "resourceSpans", "nested deeper"},
		{inSpan(`"name":5`), "resourceSpans[0].scopeSpans[0].spans[0].name", "want a string, got the number 5"},
		{inSpan(`"name":{"a":1}`), "resourceSpans[0].scopeSpans[0].spans[0].name", "got an object"},
		{inSpan(`"traceId":7`), "resourceSpans[0].scopeSpans[0].spans[0].traceId", "want an id in hex"},
		{inSpan(`"kind":"SERVERISH"`), "resourceSpans[0].scopeSpans[0].spans[0].kind", `got the string "SERVERISH"`},
		{inSpan(`"kind":-1`), "resourceSpans[0].scopeSpans[0].spans[0].kind", "want a number or a name"},
		{inSpan(`"startTimeUnixNano":true`), "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano", "got a boolean"},
		{inSpan(`"startTimeUnixNano":"soon"`), "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano", `got the string "soon"`},
		{inSpan(`"startTimeUnixNano":-1`), "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano", "got the number -1"},
		{inSpan(`"droppedLinksCount":4294967296`), "resourceSpans[0].scopeSpans[0].spans[0].droppedLinksCount", "4294967296"},
		{inSpan(`"attributes":[{"key":"a","value":{"intValue":1.5}}]`), "resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.intValue", "1.5"},
		{inSpan(`"attributes":[{"key":"a","value":{"intValue":"9223372036854775808"}}]`), "resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.intValue", "9223372036854775808"},
		{inSpan(`"attributes":[{"key":"a","value":{"boolValue":"true"}}]`), "resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.boolValue", "want true or false"},
		{inSpan(`"attributes":[{"key":"a","value":{"bytesValue":"%%"}}]`), "resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.bytesValue", "base64"},
		{inSpan(`"attributes":[{"key":"a","value":{"doubleValue":"0x1p3"}}]`), "resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.doubleValue", "want a number"},
		{inSpan(`"attributes":{"a":"b"}`), "resourceSpans[0].scopeSpans[0].spans[0].attributes", "want an array"},
		{inSpan(`"events":[{"name":1}]`), "resourceSpans[0].scopeSpans[0].spans[0].events[0].name", "want a string"},
	}
	for _, tt := range tests {
		_, err := FromJSON(nil, Traces, []byte(tt.text))
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%.80s: %v, want an InvalidError", tt.text, err)
			continue
		}
		if !strings.HasPrefix(invalid.Field, tt.field) || tt.field == "" && invalid.Field != "" || !strings.Contains(invalid.Message, tt.want) {
			t.Errorf("%.80s:\n got field %q, %q\nwant field %q, %q", tt.text, invalid.Field, invalid.Message, tt.field, tt.want)
		}
		if invalid.Offset < 0 || invalid.Offset > len(tt.text) {
			t.Errorf("%.80s: offset %d of %d", tt.text, invalid.Offset, len(tt.text))
		}
	}
}

func TestJSONOfLogsAndMetrics(t *testing.T) {
	attrs, rep, err := decodeJSON(t, Logs, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[
		{"traceId":"`+testTrace+`","spanId":"`+testSpan+`","severityNumber":"SEVERITY_NUMBER_WARN2","timeUnixNano":"5","body":{"stringValue":"x"}},
		{"traceId":"req 7","body":{"stringValue":"y"}},
		{"body":{"stringValue":"z"}}]}]}]}`)
	if err != nil || rep.Accepted != 2 || rep.Rejected != 1 {
		t.Fatalf("logs: %+v, %v; want 2 accepted, 1 rejected", rep, err)
	}
	if diff := cmp.Diff([]string{"severity_number=int:14", "trace.original_id=string:req 7"}, attrs); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	raw, err := FromJSON(nil, Metrics, []byte(`{"resourceMetrics":[{"resource":{},"scopeMetrics":[{"metrics":[
		{"name":"a","sum":{"dataPoints":[{"asInt":"1"},{"asInt":"2"}],"isMonotonic":true}},
		{"name":"b","exponentialHistogram":{"dataPoints":[{"positive":{"bucketCounts":[1]}}]}}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := Validate(Metrics, raw); err != nil || rep.Accepted != 3 {
		t.Errorf("metrics: %+v, %v; want 3 points", rep, err)
	}
}

func FuzzFromJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(13, 14))
	f.Add(otlpJSON(f, randomRequest(r, 1, 2), protojson.MarshalOptions{}))
	f.Add([]byte(inSpan(`"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{"kvlistValue":{"values":[{"key":"k"}]}}]}}}]`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		for _, sig := range []Signal{Traces, Logs, Metrics} {
			raw, err := FromJSON(nil, sig, text)
			if err != nil {
				var invalid *InvalidError
				if !errors.As(err, &invalid) {
					t.Fatalf("%v: %v, want an InvalidError", sig, err)
				}
				continue
			}
			if !json.Valid(text) {
				t.Fatalf("%v: took what is not JSON", sig)
			}
			v, err := Validate(sig, raw)
			if err != nil && !strings.Contains(err.Error(), "nested deeper") {
				t.Fatalf("%v: wrote a request that is not valid: %v", sig, err)
			}
			if err != nil || sig == Metrics {
				continue
			}
			if _, rep, err := DecodeAll(sig, raw, Arrival{}); err != nil || rep != v {
				t.Fatalf("%v: Validate %+v, Decode %+v, %v", sig, v, rep, err)
			}
		}
	})
}
