package query

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/seeds"
	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

var testNow = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

// randomSpans are rows whose sums are exact in any order: numbers are small
// multiples of a quarter.
func randomSpans(rng *rand.Rand, n int) []trace.Span {
	spans := make([]trace.Span, n)
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	for i := range spans {
		s := &spans[i]
		s.TraceID[15], s.TraceID[0] = byte(rng.IntN(20)), 1
		s.SpanID[0], s.SpanID[7] = byte(1+rng.IntN(255)), byte(rng.IntN(256))
		if rng.IntN(3) > 0 {
			s.ParentID[3] = byte(1 + rng.IntN(255))
		}
		s.Name = pick("GET /", "POST /cars", "poll", "")
		s.Service = pick("web", "api", "jobs", "")
		s.Environment = pick("uk", "de", "default")
		s.Kind = trace.Kind(rng.IntN(6))
		s.Status = trace.StatusCode(rng.IntN(3))
		s.Error = s.Status == trace.StatusError
		s.StatusMessage = pick("", "", "boom")
		s.StartUnixNano = testNow.Add(-time.Duration(rng.IntN(9000)) * time.Second).UnixNano()
		s.DurationNano = int64(rng.IntN(4000)) * 250_000
		if rng.IntN(10) == 0 { // runs through several time buckets
			s.DurationNano = int64(rng.IntN(4000)) * 250_000_000
		}
		if rng.IntN(20) == 0 {
			s.Signal = trace.SignalLog
		}
		if rng.IntN(8) == 0 {
			s.TraceState = pick("ot=th:8", "a=b, ot=rv:1;th:c", "ot=th:0", "ot=th:zz")
		}
		set := func(key string, vals ...trace.Value) {
			if v := vals[rng.IntN(len(vals))]; v.Type != trace.TypeNone {
				s.Attributes = append(s.Attributes, trace.Attribute{Key: key, Value: v})
			}
		}
		no := trace.Value{}
		set("mixed", no, trace.String("500"), trace.Int(500), trace.Float(500), trace.Float(2.5), trace.Bool(true), trace.String("true"),
			trace.String("x500y"), trace.JSON(`["a"]`), trace.Bytes("\x00\xff"), trace.Int(-3), trace.Float(math.NaN()), trace.Float(math.Inf(1)))
		set("user.id", no, trace.String("u"+strconv.Itoa(rng.IntN(30))))
		set("retries", no, trace.Int(int64(rng.IntN(5))))
		set("http.status_code", no, no, trace.Int(200), trace.Int(404), trace.String("500"))
		set("http.response.status_code", no, no, trace.Int(200), trace.Int(503))
		set("load", no, trace.Float(float64(rng.IntN(400)-100)/4))
		if rng.IntN(8) == 0 {
			set("SampleRate", trace.Int(4), trace.Float(10), trace.String("2"), trace.Int(0))
		}
		if rng.IntN(8) == 0 {
			set("sampleRate", trace.Int(3), trace.Float(2))
		}
	}
	return spans
}

var randomColumns = []string{"mixed", "user.id", "retries", "http.status_code", "http.response.status_code", "load", "duration_ms",
	"duration_nano", "service.name", "name", "error", "is_root", "span.kind", "status_code", "status_message", "environment",
	"trace.trace_id", "trace.parent_id", "deployment.environment", "nowhere"}

func randomSpec(rng *rand.Rand) Spec {
	var s Spec
	columns := randomColumns
	if rng.IntN(2) == 0 {
		var calculated []string
		s.CalculatedFields, calculated = randomFields(rng)
		columns = slices.Concat(columns, calculated, calculated, calculated)
	}
	name := func() string { return columns[rng.IntN(len(columns))] }
	for range rng.IntN(4) {
		c := Calculation{Op: Operators[rng.IntN(len(Operators))]}
		if c.Op != "COUNT" && c.Op != "CONCURRENCY" {
			c.Column = name()
		}
		if !slices.Contains(s.Calculations, c) {
			s.Calculations = append(s.Calculations, c)
		}
	}
	vals := []any{"500", int64(500), 500.0, 2.5, "true", true, "u1", "u", "GET", "", "web", int64(-3), 0.0, "server", "error", int64(2), "00"}
	val := func() any { return vals[rng.IntN(len(vals))] }
	for range rng.IntN(4) {
		f := Filter{Column: name(), Op: FilterOps[rng.IntN(len(FilterOps))]}
		switch f.Op {
		case "exists", "does-not-exist":
		case "in", "not-in":
			f.Value = []any{val(), val(), val()}[:rng.IntN(4)]
		default:
			f.Value = val()
		}
		s.Filters = append(s.Filters, f)
	}
	if rng.IntN(3) == 0 {
		s.FilterCombination = "OR"
	}
	for range rng.IntN(4) {
		if c := name(); !slices.Contains(s.Breakdowns, c) {
			s.Breakdowns = append(s.Breakdowns, c)
		}
	}
	// Percentiles are not exact, so they neither order nor cut groups here.
	exact := slices.DeleteFunc(slices.Clone(s.Calculations), func(c Calculation) bool {
		k := operators[c.Op].kind
		return k == opQuantile || k == opHeatmap
	})
	if len(s.Calculations) > 0 && len(exact) == 0 || operatorKind(s.Calculations) == opQuantile {
		s.Calculations = append([]Calculation{{Op: "COUNT"}}, slices.DeleteFunc(s.Calculations, func(c Calculation) bool { return c.Op == "COUNT" })...)
	}
	direction := []string{"", "ascending", "descending"}
	for range rng.IntN(3) {
		o := Order{Order: direction[rng.IntN(3)]}
		switch {
		case len(exact) > 0 && rng.IntN(2) == 0:
			c := exact[rng.IntN(len(exact))]
			o.Op, o.Column = c.Op, c.Column
		case len(s.Breakdowns) > 0:
			o.Column = s.Breakdowns[rng.IntN(len(s.Breakdowns))]
		default:
			continue
		}
		s.Orders = append(s.Orders, o)
	}
	if len(exact) > 0 && rng.IntN(4) == 0 {
		c := exact[rng.IntN(len(exact))]
		s.Havings = append(s.Havings, Having{c.Op, c.Column, []string{"=", "!=", ">", ">=", "<", "<="}[rng.IntN(6)], float64(rng.IntN(8))})
	}
	if rng.IntN(2) == 0 {
		n := 1 + rng.IntN(12)
		s.Limit = &n
	}
	if rng.IntN(2) == 0 {
		g := []int64{60, 77, 600, 3600, 9000}[rng.IntN(5)]
		s.Granularity = &g
	}
	if rng.IntN(2) == 0 {
		r := float64(1+rng.IntN(9000)) + 0.5
		s.TimeRange = &r
	}
	s.Environment = []string{"", "*", "uk", "nowhere"}[rng.IntN(4)]
	return s
}

func operatorKind(cs []Calculation) opKind {
	for _, c := range cs {
		if k := operators[c.Op].kind; k != opHeatmap {
			return k
		}
	}
	return opCount
}

// TestAgainstReference runs random queries over random rows cut into random
// blocks.
func TestAgainstReference(t *testing.T) {
	seed, runs := seeds.Many(t, 300)
	for i := range runs {
		compareRun(t, seed+uint64(i))
		if t.Failed() {
			return
		}
	}
}

func compareRun(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	spans := randomSpans(rng, 1+rng.IntN(600))
	spec := randomSpec(rng)
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	where := fmt.Sprintf("REDTHREAD_SEED=%d %s", seed, text)
	p, err := Compile(spec, testNow)
	if err != nil {
		t.Fatalf("%s: Compile: %v", where, err)
	}
	if rng.IntN(2) == 0 { // as if there were many groups
		p.heavyCells = rng.IntN(20)
	}
	var blocks []column.Block
	if seed%4 == 0 { // a quarter from memtables and segments, which take a while to make
		blocks = stored(t, spans, rng)
	} else {
		blocks = cut(spans, rng)
	}
	got, err := Run(context.Background(), p, blocks)
	if err != nil {
		t.Fatalf("%s: Run: %v", where, err)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Fatalf("%s: result is not JSON: %v", where, err)
	}
	want := refRunSteps(spec, spans, testNow, max(1, p.stepNano))
	got.Warnings = nil
	got.Stats = Stats{RowsMatched: got.Stats.RowsMatched}
	checkHeatmaps(t, where, got)
	// Within 1.6 % for percentiles; everything else to the bit, but for the
	// rounding of AVG over a weighted sum.
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool {
		return a == b || math.Abs(a-b) <= 1e-9+0.016*math.Max(math.Abs(a), math.Abs(b))
	})); diff != "" {
		t.Errorf("%s: result differs (-reference +engine):\n%s", where, diff)
	}
}

// checkHeatmaps replaces each HEATMAP by its weight, after a look at its cells.
func checkHeatmaps(t *testing.T, where string, r *Result) {
	one := func(d map[string]any) {
		for k, v := range d {
			cells, ok := v.([]Bucket)
			if !ok {
				continue
			}
			weight := 0.0
			for i, c := range cells {
				weight += c.Count
				if c.Count <= 0 || c.Min >= c.Max || i > 0 && c.Min < cells[i-1].Max {
					t.Errorf("%s: %s: cells out of order or empty: %v", where, k, cells)
				}
			}
			if len(cells) > maxCells+1 {
				t.Errorf("%s: %s: %d cells", where, k, len(cells))
			}
			d[k] = weight
		}
	}
	for _, g := range r.Results {
		one(g.Data)
	}
	for _, p := range r.Series {
		one(p.Data)
	}
	one(r.Total.Data)
	if r.Other != nil {
		one(r.Other.Data)
	}
}
