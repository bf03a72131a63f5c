package query

import (
	"strings"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// TestFiltersThatSayNothing: a filter that no value can pass gives a warning; one
// that some may, none.
func TestFiltersThatSayNothing(t *testing.T) {
	at := testNow.UnixNano() - 1e9
	blocks := []column.Block{newTestBlock([]trace.Span{{TraceID: trace.ID{1}, SpanID: trace.SpanID{1}, Name: "GET /", Service: "web", Environment: "uk", StartUnixNano: at,
		Attributes: []trace.Attribute{{Key: "retries", Value: trace.Int(3)}, {Key: "late", Value: trace.Bool(true)}, {Key: "mixed", Value: trace.Int(1)}}},
		{TraceID: trace.ID{1}, SpanID: trace.SpanID{2}, Name: "x", Service: "web", Environment: "uk", StartUnixNano: at,
			Attributes: []trace.Attribute{{Key: "mixed", Value: trace.String("one")}}}})}
	for _, c := range []struct {
		spec, want string // "": no warning
	}{
		{`{"filters":[{"column":"duration_ms","op":">","value":"abc"}]}`, `duration_ms > "abc" says little: duration_ms holds numbers, so no row passes it`},
		{`{"filters":[{"column":"duration_ms","op":">","value":"12"}]}`, ""},
		{`{"filters":[{"column":"duration_ms","op":"!=","value":"abc"}]}`, "so every row passes it"},
		{`{"filters":[{"column":"origin.duration_ms","op":"<","value":"abc"}]}`, "origin.duration_ms holds numbers"},
		{`{"filters":[{"column":"ripple.jobs","op":"=","value":"many"}]}`, "ripple.jobs holds numbers"},
		{`{"filters":[{"column":"any.duration_ms","op":">=","value":"abc"}]}`, `any.duration_ms >= "abc" says little`},
		{`{"filters":[{"column":"retries","op":"=","value":"few"}]}`, "retries holds numbers"},
		{`{"filters":[{"column":"retries","op":"contains","value":"few"}]}`, ""},
		{`{"filters":[{"column":"mixed","op":"=","value":"few"}]}`, ""},
		{`{"filters":[{"column":"error","op":"=","value":"yes"}]}`, "error is true or false"},
		{`{"filters":[{"column":"late","op":"=","value":"true"}]}`, ""},
		{`{"filters":[{"column":"name","op":"in","value":[]}]}`, "name in [] says little: its list is empty, so no row passes it"},
		{`{"filters":[{"column":"name","op":"not-in","value":[]}]}`, "its list is empty, so every row passes it"},
		{`{"filters":[{"column":"nobody.has","op":"=","value":1}]}`, `No row in this time range has the column "nobody.has".`},
		{`{"environment":"fr"}`, `No row in this time range is of the environment "fr".`},
		{`{"environment":"uk"}`, ""},
	} {
		spec, err := ParseSpec([]byte(c.spec))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(spec, testNow)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Run(t.Context(), p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(r.Warnings, "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s warns %q, want %q", c.spec, got, c.want)
		}
	}
}

// TestAnyTimeStandsAlone: a search of all of time has no window.
func TestAnyTimeStandsAlone(t *testing.T) {
	hour := 3600.0
	if _, err := CompileSearch(Search{AnyTime: true, TimeRange: &hour}, testNow); err == nil || !strings.Contains(err.Error(), "it means all of time") {
		t.Errorf("any_time with a time range gives %v", err)
	}
}
