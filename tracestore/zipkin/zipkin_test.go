package zipkin

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

const file = `[
	{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","kind":"CLIENT","name":"get","timestamp":1472470996199000,"duration":207000,
	 "localEndpoint":{"serviceName":"frontend","ipv6":"2001:db8::c001"},"remoteEndpoint":{"serviceName":"backend","ipv4":"192.168.99.101","port":9000},
	 "annotations":[{"timestamp":1472470996238000,"value":"foo"}],"tags":{"http.path":"/api","error":"timeout","deployment.environment":"prod"}},
	{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","kind":"SERVER","name":"get","timestamp":1472470996200000,"duration":100000,
	 "shared":true,"debug":true,"localEndpoint":{"serviceName":"backend"}},
	{"traceId":"463ac35c9f6413ad48485a3953bb6124","parentId":"a2fb4a1d1a96d312","id":"1","name":"late","localEndpoint":{"serviceName":"backend"},
	 "annotations":[{"timestamp":1472470996300000,"value":"b"},{"timestamp":1472470996250000,"value":"a"}]},
	{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"2","kind":"PRODUCER","tags":{"error":""}}]`

func TestDecode(t *testing.T) {
	rows, err := Decode([]byte(file))
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v; want four", len(rows), err)
	}
	a, b, c, d := rows[0], rows[1], rows[2], rows[3]
	if a.Kind != trace.KindClient || a.Service != "frontend" || a.Environment != "prod" || a.Status != trace.StatusError || a.StatusMessage != "timeout" ||
		a.StartUnixNano != 1472470996199000000 || a.DurationNano != 207000000 || !a.ParentID.IsZero() {
		t.Errorf("client half: %+v", a)
	}
	want := []string{"deployment.environment=string:prod", "error=string:timeout", "http.path=string:/api", "peer.service=string:backend",
		"network.peer.address=string:192.168.99.101", "network.peer.port=int:9000", "network.local.address=string:2001:db8::c001"}
	if diff := cmp.Diff(want, show(a.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if len(a.Events) != 1 || a.Events[0].Name != "foo" || a.Events[0].TimeUnixNano != 1472470996238000000 {
		t.Errorf("events %+v", a.Events)
	}
	if b.SpanID != a.SpanID || b.Kind != trace.KindServer || cmp.Diff([]string{"zipkin.shared=bool:true", "zipkin.debug=bool:true"}, show(b.Attributes)) != "" {
		t.Errorf("server half: %+v", b)
	}
	if c.ParentID != a.SpanID || c.SpanID.String() != "0000000000000001" || c.StartUnixNano != 1472470996250000000 {
		t.Errorf("span without a time: %+v, want that of its first annotation", c)
	}
	if d.Status != trace.StatusError || d.Kind != trace.KindProducer || d.StartUnixNano != a.StartUnixNano {
		t.Errorf("span without any time: %+v, want that of the earliest span", d)
	}
	if got := show(d.Attributes); got[len(got)-1] != "zipkin.time_unknown=bool:true" {
		t.Errorf("attributes %v do not say that the time is not known", got)
	}
}

func TestDecodeForms(t *testing.T) {
	for name, text := range map[string]string{
		"lists": "[" + file + "," + file + "]", "empty list in lists": "[[]," + file + "]", "one": `{"traceId":"1","id":"2"}`,
	} {
		if rows, err := Decode([]byte(text)); err != nil || len(rows) == 0 {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ text, field, want string }{
		{`[`, "", "not JSON"},
		{`[]`, "", "no spans"},
		{`[{"traceId":"","id":"1"}]`, "[0].traceId", "not a trace id"},
		{`[{"traceId":"1","id":"00"}]`, "[0].id", "not a span id"},
		{`[{"traceId":"1","id":"2","timestamp":-5}]`, "[0].timestamp", "not a time"},
		{`[{"traceId":"1","id":"2","annotations":[{"timestamp":1.5}]}]`, "[0].annotations[0].timestamp", "not a time"},
		{`[{"traceId":1,"id":"2"}]`, "traceId", "want a string, got number"},
		{`[{"traceId":"1","id":"2","tags":{"a":1}}]`, "tags", "want a string, got number"},
		{`[{"traceId":"1","id":"2","binaryAnnotations":[]}]`, "[0].binaryAnnotations", "version 1"},
		{`"x"`, "", "want a list, got string"},
	}
	for _, tt := range tests {
		_, err := Decode([]byte(tt.text))
		var e *InvalidError
		if !errors.As(err, &e) || !strings.HasPrefix(e.Field, tt.field) || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%s: %v, want an InvalidError of %q with %q", tt.text, err, tt.field, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte(`[[{"traceId":"zz","id":"x"}]]`))
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
