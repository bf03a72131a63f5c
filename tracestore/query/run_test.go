package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"redthread/seeds"
	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

func mustCompile(t testing.TB, spec string) *Plan {
	t.Helper()
	s, err := ParseSpec([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(s, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRunStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	spans := randomSpans(rand.New(rand.NewPCG(1, 1)), 20)
	var read atomic.Int64
	blocks := make([]column.Block, 1000)
	for i := range blocks {
		blocks[i] = watchedBlock{newTestBlock(spans), func() {
			if read.Add(1) == 5 {
				cancel()
			}
		}}
	}
	if _, err := Run(ctx, mustCompile(t, `{"breakdowns":["user.id"]}`), blocks); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
	if n := read.Load(); n > 100 {
		t.Errorf("read %d columns after the context ended at the fifth", n)
	}
}

// watchedBlock calls read before each column.
type watchedBlock struct {
	column.Block
	read func()
}

func (b watchedBlock) Column(key string, t trace.Type) (*column.Vector, error) {
	b.read()
	return b.Block.Column(key, t)
}

// brokenBlock fails to read one column.
type brokenBlock struct{ column.Block }

var errBroken = errors.New("page checksum differs")

func (b brokenBlock) Column(key string, t trace.Type) (*column.Vector, error) {
	if key == "user.id" {
		return nil, errBroken
	}
	return b.Block.Column(key, t)
}

func TestRunReturnsReadErrors(t *testing.T) {
	blocks := []column.Block{brokenBlock{newTestBlock(randomSpans(rand.New(rand.NewPCG(1, 1)), 20))}}
	for _, spec := range []string{
		`{"breakdowns":["user.id"]}`, `{"breakdowns":["name","user.id"]}`, `{"calculations":[{"op":"COUNT_DISTINCT","column":"user.id"}]}`,
		`{"calculations":[{"op":"P50","column":"user.id"}]}`, `{"calculations":[{"op":"SUM","column":"user.id"}]}`,
		`{"filters":[{"column":"user.id","op":"exists"}]}`,
		`{"filters":[{"column":"user.id","op":"exists"},{"column":"name","op":"exists"}],"filter_combination":"OR"}`,
	} {
		if _, err := Run(context.Background(), mustCompile(t, spec), blocks); !errors.Is(err, errBroken) {
			t.Errorf("%s: Run = %v, want the block's error", spec, err)
		}
	}
	if _, err := Run(context.Background(), mustCompile(t, `{}`), blocks); err != nil {
		t.Errorf("a query without the broken column: %v", err)
	}
}

func TestRunPrunesBlocks(t *testing.T) {
	b := newTestBlock([]trace.Span{{StartUnixNano: testNow.Add(-time.Hour).UnixNano()}})
	read := 0
	blocks := []column.Block{watchedBlock{b, func() { read++ }}}
	r, err := Run(context.Background(), mustCompile(t, `{"time_range":60}`), blocks)
	if err != nil {
		t.Fatal(err)
	}
	if read != 0 || r.Stats.RowsScanned != 0 {
		t.Errorf("read %d columns and %d rows of a block outside the window", read, r.Stats.RowsScanned)
	}
}

func TestRunBoundsMemory(t *testing.T) {
	var blocks []column.Block
	for b := range 4 {
		spans := make([]trace.Span, 20_000)
		for i := range spans {
			spans[i].StartUnixNano = testNow.Add(-time.Minute).UnixNano() - int64(b)*1e12 - int64(i)*5e7
			spans[i].Attributes = []trace.Attribute{{Key: "id", Value: trace.Int(int64(b*20_000 + i))}}
		}
		blocks = append(blocks, newTestBlock(spans))
	}
	for _, spec := range []string{
		`{"breakdowns":["id"]}`,
		`{"breakdowns":["name","id"]}`,
		`{"calculations":[{"op":"COUNT_DISTINCT","column":"id"}]}`,
		`{"calculations":[{"op":"P50","column":"id"}],"breakdowns":["id"]}`,
		`{"granularity":8,"breakdowns":["id"],"limit":1000}`,
	} {
		p := mustCompile(t, spec)
		if _, err := Run(context.Background(), p, blocks); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		p.MemoryBytes = 1_200_000
		_, err := Run(context.Background(), p, blocks)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Message, "too many groups") {
			t.Errorf("%s with %d bytes: Run = %v, want an InvalidError about groups", spec, p.MemoryBytes, err)
		}
	}
	p := mustCompile(t, `{"calculations":[{"op":"COUNT"},{"op":"P50","column":"id"}],"breakdowns":["name"]}`)
	p.MemoryBytes = 600_000 * int64(max(2, runtime.GOMAXPROCS(0))) // each worker has its own part
	if _, err := Run(context.Background(), p, blocks); err != nil {
		t.Errorf("a query of one group with %d bytes: %v", p.MemoryBytes, err)
	}
}

func TestDistinctIsExactThenEstimated(t *testing.T) {
	const n = 150_000
	var blocks []column.Block
	for b := range 3 {
		spans := make([]trace.Span, n/2)
		for i := range spans {
			spans[i].StartUnixNano = testNow.Add(-time.Minute).UnixNano()
			id := (b*n/2 + i) % n // the third block repeats the first
			spans[i].Attributes = []trace.Attribute{{Key: "id", Value: trace.String(fmt.Sprintf("u%d", id))}, {Key: "half", Value: trace.Bool(id < n/2)}}
		}
		blocks = append(blocks, newTestBlock(spans))
	}
	r, err := Run(context.Background(), mustCompile(t, `{"calculations":[{"op":"COUNT_DISTINCT","column":"id"}],"breakdowns":["half"]}`), blocks)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range r.Results {
		if got := g.Data["COUNT_DISTINCT(id)"]; got != float64(n/2) {
			t.Errorf("group %v: %v distinct ids, want exactly %d", g.Data["half"], got, n/2)
		}
	}
	if got := r.Total.Data["COUNT_DISTINCT(id)"].(float64); got < n*0.97 || got > n*1.03 {
		t.Errorf("total: %v distinct ids, want %d within 3 %%", got, n)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "estimated") {
		t.Errorf("warnings %q, want one that says estimated", r.Warnings)
	}
}

func TestSeriesIsListedOnlyIfAsked(t *testing.T) {
	for spec, want := range map[string]bool{`{}`: false, `{"granularity":0}`: true, `{"granularity":60,"breakdowns":["x"]}`: true} {
		r, err := Run(context.Background(), mustCompile(t, spec), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), `"series":[]`); got != want {
			t.Errorf("%s answers %s, want a series: %t", spec, text, want)
		}
		for _, field := range []string{`"results":[`, `"other":null`, `"total":{"data":{"COUNT":0}}`, `"warnings":[`, `"rows_scanned":0`, `"sampled":false`} {
			if !strings.Contains(string(text), field) {
				t.Errorf("%s answers %s, without %s", spec, text, field)
			}
		}
	}
}

func TestAutomaticGranularity(t *testing.T) {
	for seconds, want := range map[float64]time.Duration{
		0.5: time.Second, 60: time.Second, 3600: 30 * time.Second, 7200: time.Minute, 86400: 15 * time.Minute,
		7 * 86400: 2 * time.Hour, 60 * 86400: 12 * time.Hour, 20000 * 86400: 167 * 24 * time.Hour,
	} {
		zero := int64(0)
		p, err := Compile(Spec{TimeRange: &seconds, Granularity: &zero}, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(p.StepNano()); got != want {
			t.Errorf("%v seconds: buckets of %v, want %v", seconds, got, want)
		}
		if p.buckets > autoBuckets+1 {
			t.Errorf("%v seconds: %d buckets", seconds, p.buckets)
		}
	}
}

func TestSearchAgainstReference(t *testing.T) {
	seed := seeds.One(t)
	for i := range 100 {
		rng := rand.New(rand.NewPCG(seed+uint64(i), 2))
		spans := randomSpans(rng, 1+rng.IntN(400))
		s := Search{Limit: 1 + rng.IntN(20), PerTrace: rng.IntN(3) == 0, Columns: []string{"mixed", "duration_ms", "trace.parent_id"}}
		if rng.IntN(2) == 0 {
			s.Order = "slowest"
		}
		if rng.IntN(2) == 0 {
			s.Filters = []Filter{{"user.id", "exists", nil}}
		}
		if rng.IntN(2) == 0 {
			s.AnyTime = true
		}
		blocks := cut(spans, rng)
		if i%4 == 0 {
			blocks = stored(t, spans, rng)
		}
		compareSearch(t, seed+uint64(i), s, spans, blocks)
	}
}

func compareSearch(t *testing.T, seed uint64, s Search, spans []trace.Span, blocks []column.Block) {
	t.Helper()
	from, to, _ := window(nil, nil, nil, testNow)
	if s.AnyTime {
		from, to = minTime, maxTime
	}
	left := make(map[string]int) // rows not seen yet, with what they show
	traces := make(map[trace.ID]int64)
	show := func(r Row) string { text, _ := json.Marshal(r); return string(text) }
	rank := func(start, duration int64) int64 {
		if s.Order == "slowest" {
			return duration
		}
		return start
	}
	for _, m := range refMatches(spans, s.Filters, "", "", from, to) {
		r := Row{TraceID: m.TraceID, SpanID: m.SpanID, ParentID: m.ParentID, Name: m.Name, Service: m.Service, Environment: m.Environment,
			Kind: m.Kind, Error: m.Error, StartUnixNano: m.StartUnixNano, DurationNano: m.DurationNano}
		for _, c := range s.Columns {
			r.Values = append(r.Values, refValue(m, c))
		}
		left[show(r)]++
		if was, ok := traces[m.TraceID]; !ok || rank(m.StartUnixNano, m.DurationNano) > was {
			traces[m.TraceID] = rank(m.StartUnixNano, m.DurationNano)
		}
	}
	last := int64(maxTime)
	total := 0
	for _, n := range left {
		total += n
	}
	for got := 0; ; {
		p, err := CompileSearch(s, testNow)
		if err != nil {
			t.Fatal(err)
		}
		r, err := RunSearch(context.Background(), p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			key := rank(row.StartUnixNano, row.DurationNano)
			if key > last {
				t.Fatalf("seed %d: %+v: row %s comes after %d", seed, s, show(row), last)
			}
			last = key
			if left[show(row)]--; left[show(row)] < 0 {
				t.Fatalf("seed %d: %+v: row %s is not wanted, or twice", seed, s, show(row))
			}
			if s.PerTrace && traces[row.TraceID] != key {
				t.Fatalf("seed %d: %+v: row %s is not the first of its trace", seed, s, show(row))
			}
			delete(traces, row.TraceID)
		}
		got += len(r.Rows)
		if s.PerTrace {
			if len(r.Rows) < s.Limit && len(traces) > 0 {
				t.Fatalf("seed %d: %+v: %d traces left out", seed, s, len(traces))
			}
			return
		}
		if r.Next == "" {
			if got != total {
				t.Fatalf("seed %d: %+v: %d rows in all pages, want %d", seed, s, got, total)
			}
			return
		}
		if len(r.Rows) != s.Limit {
			t.Fatalf("seed %d: %+v: a page of %d rows with a next one", seed, s, len(r.Rows))
		}
		s.After = r.Next
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{`{}`, `{"granularity":0,"breakdowns":["a","mixed"],"calculations":[{"op":"P99","column":"duration_ms"},{"op":"HEATMAP","column":"load"}]}`,
		`{"filters":[{"column":"mixed","op":"in","value":["500",1e400,-0,9223372036854775808]}],"filter_combination":"OR","start_time":-1e300,"time_range":1e300}`,
		`{"orders":[{"op":"COUNT","order":"descending"},{"column":"name"}],"havings":[{"calculate_op":"COUNT","op":">","value":1}],"limit":3,"breakdowns":["name"]}`,
		`{"calculations":[{"op":"CONCURRENCY"},{"op":"RATE_AVG","column":"retries"},{"op":"COUNT_DISTINCT","column":"mixed"}],"breakdowns":["http.status_code","is_root"],"granularity":7,"time_range":7000}`,
		`{"calculations":[{"op":"CONCURRENCY"},{"op":"RATE_SUM","column":"duration_nano"}],"start_time":-4e9,"end_time":4e12,"havings":[{"calculate_op":"CONCURRENCY","op":">","value":0}]}`,
		`{"filters":[{"column":"duration_ms","op":"<=","value":1e308},{"column":"duration_ms","op":"contains","value":5},{"column":"load","op":">","value":-1e-320},{"column":"retries","op":"<","value":9223372036854775807}]}`,
		`{"filters":[{"column":"span.kind","op":"not-in","value":["server",true,1]},{"column":"trace.parent_id","op":"starts-with","value":"0"}],"filter_combination":"or","breakdowns":["trace.parent_id","start_unix_nano","load"]}`,
		`{"breakdowns":["root.name","parent.span.kind"],"filters":[{"column":"any.error","op":"=","value":true},{"column":"none.retries","op":">","value":3},{"column":"child.mixed","op":"exists"}],"calculations":[{"op":"P99","column":"parent.duration_ms"}]}`,
		`{"breakdowns":["origin.name","cause.service.name"],"filters":[{"column":"ripple.jobs","op":">=","value":0}],"filter_combination":"OR","calculated_fields":[{"name":"x","expression":"CONCAT($origin.name, $root.user.id)"}],"orders":[{"column":"origin.name"}]}`,
		`{"granularity":9223372036,"end_time":1e18,"filters":[{"column":"trace.trace_id","op":"=","value":"Zz"}]}`} {
		f.Add([]byte(s))
	}
	spans := randomSpans(rand.New(rand.NewPCG(3, 3)), 60)
	blocks, threads := cut(spans, rand.New(rand.NewPCG(3, 3))), threadsOf(spans, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			t.Skip()
		}
		s, err := ParseSpec(data)
		var p *Plan
		if err == nil {
			p, err = Compile(s, testNow)
		}
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || invalid.Message == "" {
				t.Fatalf("%q: error %v is no InvalidError with a message", data, err)
			}
			return
		}
		p.MemoryBytes = 256 << 20
		p.heavyCells = len(data) // now and then less than there are
		p.Threads = threads
		r, err := Run(context.Background(), p, blocks)
		if err != nil {
			t.Fatalf("%q: Run: %v", data, err)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatalf("%q: the result is not JSON: %v", data, err)
		}
		if len(r.Series) > (len(r.Results)+1)*(maxBuckets+1) {
			t.Fatalf("%q: %d points", data, len(r.Series))
		}
	})
}
