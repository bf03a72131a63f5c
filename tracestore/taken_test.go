package tracestore

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// TestTakenNames: attributes whose keys are names that queries have of themselves are
// columns under others, in memory, on disk, whether many rows have them or few, and
// after segments were merged; where none has them there are no such columns.
func TestTakenNames(t *testing.T) {
	h := start(t, Options{})
	keys := []string{"name", "duration_ms", "trace.parent_id", "error", "span.kind", "is_root", "attr.status"}
	value := func(key string, n int) trace.Value {
		if key == "duration_ms" {
			return trace.Int(int64(5000 + n%2))
		}
		return trace.String(fmt.Sprintf("%s-%d", key, n%2))
	}
	spans := testSpans(0, 1200) // of a span's attribute in a thousand rows the segment makes no column
	plain := slices.Clone(spans)
	for i := range spans {
		if i%2 == 0 || i == 601 {
			s := &spans[i]
			s.Attributes = slices.Clone(s.Attributes)
			for _, key := range keys {
				if i%2 == 0 {
					s.Attributes = append(s.Attributes, trace.Attribute{Key: key, Value: value(key, i/2)})
				}
			}
			if i == 601 {
				s.Attributes = append(s.Attributes, trace.Attribute{Key: "trace.state", Value: trace.String("rare")})
			}
		}
	}
	from, to := float64(testClock.Unix()-86400), float64(testClock.Unix()+86400)
	count := func(group string, filters ...query.Filter) string {
		t.Helper()
		spec := query.Spec{StartTime: &from, EndTime: &to, Filters: filters}
		if group != "" {
			spec.Breakdowns = []string{group}
			spec.Orders = []query.Order{{Column: group}}
		}
		r, err := h.Query(t.Context(), spec)
		must(t, err)
		var out []string
		for _, g := range r.Results {
			if v, ok := g.Data[group].(trace.Value); ok && v.Type != trace.TypeNone {
				out = append(out, v.Text()+"="+fmt.Sprint(g.Data["COUNT"]))
			} else if group == "" {
				out = append(out, fmt.Sprint(g.Data["COUNT"]))
			}
		}
		return strings.Join(out, " ")
	}
	names := func() (out []string) {
		columns, err := h.Columns(t.Context(), "", "attr.")
		must(t, err)
		for _, c := range columns {
			out = append(out, c.Name)
		}
		return out
	}
	want := func(when string) {
		t.Helper()
		for _, c := range []struct{ name, a, b string }{
			{"attr.name", "name-0", "name-1"}, {"attr.duration_ms", "5000", "5001"}, {"attr.trace.parent_id", "trace.parent_id-0", "trace.parent_id-1"},
			{"attr.error", "error-0", "error-1"}, {"attr.span.kind", "span.kind-0", "span.kind-1"}, {"attr.is_root", "is_root-0", "is_root-1"},
			{"attr.status", "attr.status-0", "attr.status-1"}, // which has this very key
		} {
			if got, want := count(c.name), c.a+"=300 "+c.b+"=300"; !strings.HasPrefix(got, want) {
				t.Errorf("%s: by %s: %s, want %s", when, c.name, got, want)
			}
			if got := count("", query.Filter{Column: c.name, Op: "=", Value: c.b}); got != "300" {
				t.Errorf("%s: %s of %s, want 300", when, got, c.b)
			}
			if got := count("", query.Filter{Column: c.name, Op: "=", Value: "nobody's"}); got != "" && got != "0" {
				t.Errorf("%s: %s of no value, want none", when, got)
			}
		}
		if got := count("", query.Filter{Column: "attr.duration_ms", Op: ">", Value: 5000}); got != "300" {
			t.Errorf("%s: %s are above 5000, want 300", when, got)
		}
		if got := count("attr.trace.state", query.Filter{Column: "attr.trace.state", Op: "=", Value: "rare"}); got != "rare=1" {
			t.Errorf("%s: %q of what one row has", when, got)
		}
		if got := count("", query.Filter{Column: "name", Op: "=", Value: "name-1"}); got != "" && got != "0" {
			t.Errorf("%s: %s spans are called as the attribute says, want none", when, got)
		}
		r, err := h.Search(t.Context(), query.Search{StartTime: &from, EndTime: &to, Filters: []query.Filter{{Column: "any.attr.name", Op: "=", Value: "name-1"}},
			CalculatedFields: []query.CalculatedField{{Name: "long", Expression: "$attr.duration_ms"}}, Columns: []string{"attr.name", "long"}})
		must(t, err)
		if len(r.Rows) == 0 {
			t.Errorf("%s: no row of a trace with the attribute", when)
		}
		if got, want := fmt.Sprint(names()), "[attr.duration_ms attr.error attr.is_root attr.name attr.span.kind attr.status attr.trace.parent_id attr.trace.state]"; got != want {
			t.Errorf("%s: columns %s, want %s", when, got, want)
		}
	}
	h.append(plain[:3])
	h.settle()
	if got := names(); len(got) > 0 {
		t.Errorf("columns %v of spans without such attributes", got)
	}
	for part := range slices.Chunk(spans, 300) {
		h.append(part)
	}
	h.settle()
	want("in memory")
	must(t, h.Flush(t.Context()))
	want("flushed")
	h.reopen()
	want("reopened")
	report, err := h.Check(t.Context(), CheckOptions{})
	must(t, err)
	must(t, report.Err())
}
