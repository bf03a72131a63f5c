package query

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// TestBubbleUpSample reads a part of the blocks only, and says so.
func TestBubbleUpSample(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var blocks []column.Block
	for b := range 100 {
		spans := make([]trace.Span, 200)
		for i := range spans {
			s := &spans[i]
			s.SpanID[0], s.SpanID[7] = byte(b), byte(i)
			s.Service, s.Name = "web", "GET /"
			s.StartUnixNano = testNow.Add(-time.Duration(100-b) * time.Minute).Add(time.Duration(i) * time.Millisecond).UnixNano()
			s.DurationNano = 1e6
			if rng.IntN(5) == 0 {
				s.DurationNano = 1e9
				s.Attributes = []trace.Attribute{{Key: "slow", Value: trace.Bool(true)}}
			}
		}
		blocks = append(blocks, newTestBlock(spans))
	}
	run := func(exact bool, box Box) *BubbleUpResult {
		t.Helper()
		p, err := CompileBubbleUp(BubbleUp{Selection: &box, Exact: exact}, testNow)
		if err != nil {
			t.Fatal(err)
		}
		p.limits.exactRows, p.limits.readRows = 5000, 4000
		r, err := RunBubbleUp(context.Background(), p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		r.Stats.ElapsedNano = 0
		return r
	}
	least := 500.0
	slow := Box{Column: "duration_ms", Min: &least}
	exact, sampled := run(true, slow), run(false, slow)
	if exact.Selection.Sampled || exact.Stats.Sampled || exact.Baseline.RowsRead != exact.Baseline.Rows {
		t.Errorf("exact: %+v, %+v", exact.Selection, exact.Baseline)
	}
	for _, side := range []struct {
		name        string
		got, entire Side
	}{{"selection", sampled.Selection, exact.Selection}, {"baseline", sampled.Baseline, exact.Baseline}} {
		if side.got.Rows != side.entire.Rows || side.got.Count != side.entire.Count || !side.got.Sampled ||
			side.got.RowsRead > side.entire.Rows/4 || side.got.RowsRead < side.entire.Rows/6 {
			t.Errorf("%s: %+v, want about a fifth read of %+v", side.name, side.got, side.entire)
		}
	}
	if !sampled.Stats.Sampled || sampled.Columns[0].Name != "slow" || sampled.Columns[0].Present.Selection.Count != exact.Selection.Count {
		t.Errorf("sampled: %+v, first column %+v", sampled.Stats, sampled.Columns[0])
	}
	if diff := cmp.Diff(sampled, run(false, slow)); diff != "" {
		t.Errorf("the same question twice differs:\n%s", diff)
	}
	from := float64(testNow.Add(-3 * time.Minute).Unix())
	late := run(false, Box{StartTime: &from})
	if late.Selection.Sampled || late.Selection.RowsRead != late.Selection.Rows || !late.Baseline.Sampled {
		t.Errorf("a selection in few blocks: %+v of %+v; want all of it read, and a part of the rest", late.Selection, late.Baseline)
	}
}

// TestBarOf: each number lies in its bar, also at and beside the edges.
func TestBarOf(t *testing.T) {
	check := func(x float64) {
		bar := barOf(x)
		if low, high := barLow(bar), barHigh(bar); x < low || x >= high && high != math.MaxFloat64 {
			t.Errorf("%v is in the bar from %v to %v", x, low, high)
		}
	}
	for _, e := range edges {
		for _, x := range []float64{e, math.Nextafter(e, 0), math.Nextafter(e, math.Inf(1))} {
			check(x)
			check(-x)
		}
	}
	for _, x := range []float64{0, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, -1e-12, 3, 2.24} {
		check(x)
	}
}

// TestColumnsOfSegments: what statistics and memtables tell together is what the
// rows have.
func TestColumnsOfSegments(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 3))
		spans := randomSpans(rng, 300)
		for i := range spans {
			spans[i].Signal = trace.SignalSpan
		}
		blocks := stored(t, spans, rng)
		for _, environment := range []string{"", "uk"} {
			got, err := Columns(context.Background(), blocks, environment, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range got {
				rows, values := int64(0), map[string]int64{}
				for i := range spans {
					if environment != "" && spans[i].Environment != environment {
						continue
					}
					if v := refOwn(&spans[i], c.Name); v.Type != trace.TypeNone {
						rows++
						values[v.Text()]++
					}
				}
				if _, fixed := column.FixedType(c.Name); fixed || c.Name == durationMS || c.Name == isRoot {
					continue
				}
				where := "seed " + strconv.FormatUint(seed, 10) + ", environment " + environment + ": " + c.Name
				if c.Rows != rows || c.Distinct != int64(len(values)) {
					t.Errorf("%s: %d rows, %d values; want %d and %d", where, c.Rows, c.Distinct, rows, len(values))
				}
				for _, top := range c.Top {
					if values[top.Value.Text()] != top.Rows {
						t.Errorf("%s: %q on %d rows, want %d", where, top.Value.Text(), top.Rows, values[top.Value.Text()])
					}
				}
			}
		}
	}
}

// TestBubbleUpAround: what a comparison says of where rows began is what it says if
// each row has that as an attribute of its own.
func TestBubbleUpAround(t *testing.T) {
	compared := 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 11))
		spans, expired := randomThreads(rng)
		if len(spans) == 0 {
			continue
		}
		threads := threadsOf(spans, expired).(testThreads)
		ref := &refAround{spans, threads.Graph, threads.Memory}
		flat := slices.Clone(spans)
		for i := range flat {
			flat[i].Attributes = slices.Clone(flat[i].Attributes)
			for _, name := range append([]string{"parent.name"}, AroundColumns...) {
				if v := ref.value(t, &spans[i], name); v.Type != trace.TypeNone {
					flat[i].Attributes = append(flat[i].Attributes, trace.Attribute{Key: name, Value: v})
				}
			}
		}
		day := 86400.0
		least := 50.0
		question := BubbleUp{Query: Spec{TimeRange: &day, Breakdowns: []string{"parent.name"}}, Selection: &Box{Column: "duration_ms", Min: &least}}
		if seed%2 == 0 {
			question.Query.Filters = []Filter{{Column: "service.name", Op: "=", Value: "jobs"}}
		}
		run := func(spans []trace.Span, with Threads, named bool) map[string]Difference {
			t.Helper()
			of := question
			if !named {
				of.Query.Breakdowns = nil
			}
			p, err := CompileBubbleUp(of, testNow)
			if err != nil {
				t.Fatal(err)
			}
			p.Threads = with
			r, err := RunBubbleUp(t.Context(), p, cut(spans, rand.New(rand.NewPCG(seed, 5))))
			if err != nil {
				t.Fatal(err)
			}
			out := make(map[string]Difference)
			for _, d := range r.Columns {
				out[d.Name] = d
			}
			return out
		}
		want, got := run(flat, nil, false), run(spans, threads, true)
		for _, name := range append([]string{"parent.name"}, AroundColumns...) {
			_, rest := cutScope(name)
			w, g := want[name], got[name]
			if g.Name == "" && alike(w.Best, want[rest].Best) {
				continue // it says nothing new
			}
			if diff := cmp.Diff(w, g, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(a)) })); diff != "" {
				t.Fatalf("seed %d: %s differs (-attribute +column):\n%s", seed, name, diff)
			}
			compared++
		}
	}
	if compared < 50 {
		t.Errorf("only %d columns were compared", compared)
	}
}

// TestBubbleUpAroundIsBounded: rows that need too much to be looked around are
// compared without, and it says so.
func TestBubbleUpAroundIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 11))
	spans, expired := randomThreads(rng)
	least := 50.0
	p, err := CompileBubbleUp(BubbleUp{Selection: &Box{Column: "duration_ms", Min: &least}}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	p.Threads = threadsOf(spans, expired)
	pool := NewPool(PoolOptions{MemoryBytes: 2 << 20, QueryBytes: 1 << 20}) // less than reading traces takes
	if p.Lease, err = pool.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.Lease.End()
	r, err := RunBubbleUp(t.Context(), p, cut(spans, rng))
	if err != nil {
		t.Fatal(err)
	}
	told := slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, "was not compared") })
	if !told || slices.ContainsFunc(r.Columns, func(d Difference) bool { return isScoped(d.Name) }) {
		t.Errorf("without memory the comparison has %d columns and says %q", len(r.Columns), r.Warnings)
	}
}
