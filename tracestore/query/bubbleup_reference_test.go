package query

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"redthread/seeds"
	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// refSide is one side of a comparison, row by row.
type refSide struct {
	rows            []*trace.Span
	weight, squares float64
}

func newRefSide(rows []*trace.Span) refSide {
	s := refSide{rows: rows}
	for _, row := range rows {
		w := refWeight(row)
		s.weight += w
		s.squares += w * w
	}
	return s
}

// count is the weight of the rows for which a filter's operator holds.
func (s refSide) count(holds func(*trace.Span) bool) float64 {
	n := 0.0
	for _, row := range s.rows {
		if holds(row) {
			n += refWeight(row)
		}
	}
	return n
}

func (s refSide) share(count float64) float64 {
	if s.weight == 0 {
		return 0
	}
	return count / s.weight
}

// refOwn is the row's value of a column under its own name only.
func refOwn(s *trace.Span, name string) trace.Value {
	if slices.Contains(compared, name) && name != column.TraceState {
		return refValue(s, name)
	}
	if name == column.TraceState {
		if s.TraceState == "" {
			return trace.Value{}
		}
		return trace.String(s.TraceState)
	}
	v, _ := s.Attribute(name)
	return v
}

// refScore is certain, written down once more from the papers.
func refScore(p, n, q, m float64) float64 {
	const z = 2.0
	bounds := func(p, n float64) (float64, float64) {
		if n == 0 {
			return 0, 1
		}
		mid := (2*n*p + z*z) / (2 * (n + z*z))
		half := z * math.Sqrt(z*z+4*n*p*(1-p)) / (2 * (n + z*z))
		return math.Max(0, mid-half), math.Min(1, mid+half)
	}
	if q > p {
		p, n, q, m = q, m, p, n
	}
	l, _ := bounds(p, n)
	_, u := bounds(q, m)
	return math.Max(0, (p-q)-math.Sqrt((p-l)*(p-l)+(u-q)*(u-q)))
}

// refSides divides the rows of a valid BubbleUp.
func refSides(b BubbleUp, spans []trace.Span, now time.Time) (sides [2]refSide) {
	from, to, _ := window(b.Query.TimeRange, b.Query.StartTime, b.Query.EndTime, now)
	var rows [2][]*trace.Span
	for _, s := range refMatches(spans, b.Query.Filters, b.Query.FilterCombination, b.Query.Environment, from, to) {
		in := true
		if box := b.Selection; box != nil {
			in = in && (box.StartTime == nil || s.StartUnixNano >= nanos(*box.StartTime))
			in = in && (box.EndTime == nil || s.StartUnixNano < nanos(*box.EndTime))
			in = in && (box.Min == nil || refKeeps(s, Filter{box.Column, ">=", *box.Min}))
			in = in && (box.Max == nil || refKeeps(s, Filter{box.Column, "<", *box.Max}))
		}
		for _, f := range b.SelectionFilters {
			in = in && refKeeps(s, f)
		}
		if in {
			rows[selected] = append(rows[selected], s)
		} else {
			rows[baseline] = append(rows[baseline], s)
		}
	}
	return [2]refSide{newRefSide(rows[selected]), newRefSide(rows[baseline])}
}

// checkDifference compares a column of the answer with the rows themselves. Of
// columns with few values the score has to be that of the best statement.
func checkDifference(t *testing.T, where string, d Difference, sides [2]refSide, whole bool) {
	t.Helper()
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-9*math.Max(1, math.Abs(want)) {
			t.Errorf("%s: %s: %s is %v, want %v", where, d.Name, what, got, want)
		}
	}
	pair := func(what string, got Compared, holds func(*trace.Span) bool) (score float64) {
		var shares [2]float64
		for side, share := range []Share{got.Selection, got.Baseline} {
			n := sides[side].count(holds)
			shares[side] = sides[side].share(n)
			near(fmt.Sprintf("%s: count on side %d", what, side), share.Count, n)
			near(fmt.Sprintf("%s: share on side %d", what, side), share.Share, shares[side])
		}
		kish := func(s refSide) float64 {
			if s.weight == 0 {
				return 0
			}
			return s.weight * s.weight / s.squares
		}
		return refScore(shares[0], kish(sides[0]), shares[1], kish(sides[1]))
	}
	has := func(s *trace.Span) bool { return refOwn(s, d.Name).Type != trace.TypeNone }
	best := pair("present", d.Present, has)
	shown := make(map[string]bool)
	for _, v := range d.Values {
		if shown[v.Value.Text()] {
			t.Errorf("%s: %s: %q stands there twice", where, d.Name, v.Value.Text())
		}
		shown[v.Value.Text()] = true
		best = max(best, pair(v.Value.Text(), v.Compared, func(s *trace.Span) bool {
			return has(s) && refOwn(s, d.Name).Text() == v.Value.Text()
		}))
	}
	if whole && d.Name != durationMS { // also the values that are not shown
		judged := maps.Clone(shown)
		for _, side := range sides {
			for _, s := range side.rows {
				text := refOwn(s, d.Name).Text()
				if !has(s) || judged[text] {
					continue
				}
				judged[text] = true
				var c Compared
				is := func(s *trace.Span) bool { return has(s) && refOwn(s, d.Name).Text() == text }
				c.Selection.Count, c.Baseline.Count = sides[0].count(is), sides[1].count(is)
				c.Selection.Share, c.Baseline.Share = sides[0].share(c.Selection.Count), sides[1].share(c.Baseline.Count)
				best = max(best, pair(text, c, is))
			}
		}
	}
	pair("other", d.Other, func(s *trace.Span) bool { return has(s) && !shown[refOwn(s, d.Name).Text()] })
	finite := func(s *trace.Span) bool {
		x := refOwn(s, d.Name).Float()
		return !math.IsNaN(x) && !math.IsInf(x, 0)
	}
	for i, b := range d.Histogram {
		if b.Min >= b.Max || i > 0 && d.Histogram[i-1].Max != b.Min || len(d.Histogram) > maxBars {
			t.Errorf("%s: %s: bar %d is from %v to %v, of %d", where, d.Name, i, b.Min, b.Max, len(d.Histogram))
		}
		pair(fmt.Sprintf("bar %d", i), b.Compared, func(s *trace.Span) bool {
			x := refOwn(s, d.Name).Float()
			return finite(s) && x >= b.Min && (x < b.Max || b.Max == math.MaxFloat64)
		})
	}
	for _, v := range edges {
		if !slices.ContainsFunc(d.Types, func(t string) bool { return t == "int" || t == "float" }) {
			break
		}
		for _, edge := range []float64{v, -v} {
			parts := [2]bool{} // whether there are numbers on either side of the edge
			for _, side := range sides {
				for _, s := range side.rows {
					if finite(s) {
						parts[b2u(refOwn(s, d.Name).Float() >= edge)] = true
					}
				}
			}
			if !parts[0] || !parts[1] {
				continue
			}
			for _, above := range []bool{true, false} {
				var zero Compared
				holds := func(s *trace.Span) bool { return finite(s) && (refOwn(s, d.Name).Float() >= edge) == above }
				zero.Selection.Count, zero.Baseline.Count = sides[0].count(holds), sides[1].count(holds)
				zero.Selection.Share, zero.Baseline.Share = sides[0].share(zero.Selection.Count), sides[1].share(zero.Baseline.Count)
				best = max(best, pair(fmt.Sprint("edge ", edge), zero, holds))
			}
		}
	}
	if len(sides[baseline].rows) == 0 {
		best = 0
	}
	if whole && math.Abs(d.Score-best) > 1e-9 || d.Score < 0 || d.Score > 1 {
		t.Errorf("%s: %s: score %v, want %v (%+v)", where, d.Name, d.Score, best, d.Best)
	}
	if d.Best == nil {
		return
	}
	holds := func(s *trace.Span) bool {
		v := refOwn(s, d.Name)
		if d.Best.Op == ">=" || d.Best.Op == "<" {
			return finite(s) && (v.Float() >= d.Best.Value.Float()) == (d.Best.Op == ">=")
		}
		return has(s) == (d.Best.Op != "does-not-exist") && (d.Best.Op != "=" || v.Text() == d.Best.Value.Text())
	}
	near("the best statement's share of the selection", d.Best.Selection, sides[0].share(sides[0].count(holds)))
	near("the best statement's share of the baseline", d.Best.Baseline, sides[1].share(sides[1].count(holds)))
}

func randomBubbleUp(rng *rand.Rand) BubbleUp {
	spec := randomSpec(rng)
	b := BubbleUp{Query: Spec{Environment: spec.Environment, TimeRange: spec.TimeRange}}
	if rng.IntN(3) == 0 {
		b.Query.Filters, b.Query.FilterCombination = spec.Filters, spec.FilterCombination
	}
	if rng.IntN(3) > 0 {
		b.Selection = &Box{}
		at := func(low float64) *float64 {
			if rng.IntN(4) == 0 {
				return nil
			}
			return &low
		}
		end := float64(testNow.Unix())
		length := 9000 * rng.Float64()
		b.Selection.StartTime = at(end - length - 1)
		if rng.IntN(2) == 0 {
			b.Selection.EndTime = at(end - length/2)
		}
		b.Selection.Column = []string{"duration_ms", "load", "retries", "mixed"}[rng.IntN(4)]
		b.Selection.Min = at(float64(rng.IntN(700)) - 100)
		if b.Selection.Max = at(700); b.Selection.Min == nil && b.Selection.Max == nil {
			b.Selection.Column = ""
		}
		if b.Selection.Column == "" && b.Selection.StartTime == nil && b.Selection.EndTime == nil {
			b.Selection = nil
		}
	}
	if b.Selection == nil {
		for b.SelectionFilters = nil; len(b.SelectionFilters) == 0; {
			b.SelectionFilters = randomSpec(rng).Filters
		}
	}
	most := maxBubbleColumns
	b.Limit = &most
	return b
}

// TestBubbleUpAgainstReference compares random selections of random rows, also
// with bounds so small that values are left out and counted anew.
func TestBubbleUpAgainstReference(t *testing.T) {
	seed, runs := seeds.Many(t, 100)
	for i := range runs {
		bubbleRunOnce(t, seed+uint64(i))
		if t.Failed() {
			return
		}
	}
}

func bubbleRunOnce(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	spans := randomSpans(rng, 1+rng.IntN(600))
	b := randomBubbleUp(rng)
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	where := fmt.Sprintf("REDTHREAD_SEED=%d %s", seed, text)
	p, err := CompileBubbleUp(b, testNow)
	if err != nil {
		t.Fatalf("%s: CompileBubbleUp: %v", where, err)
	}
	whole := rng.IntN(2) == 0
	if !whole {
		p.limits.smallValues, p.limits.tableValues = 1+rng.IntN(10), 1+rng.IntN(20)
		p.limits.tableBytes = 1 + rng.IntN(200)
	}
	var blocks []column.Block
	if seed%4 == 0 {
		blocks = stored(t, spans, rng)
	} else {
		blocks = cut(spans, rng)
	}
	got, err := RunBubbleUp(context.Background(), p, blocks)
	if err != nil {
		t.Fatalf("%s: RunBubbleUp: %v", where, err)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Fatalf("%s: answer is not JSON: %v", where, err)
	}
	sides := refSides(b, spans, testNow)
	for side, s := range []Side{got.Selection, got.Baseline} {
		if s.Rows != int64(len(sides[side].rows)) || math.Abs(s.Count-sides[side].weight) > 1e-9*sides[side].weight || s.Sampled {
			t.Errorf("%s: side %d is %+v, want %d rows of weight %v", where, side, s, len(sides[side].rows), sides[side].weight)
		}
	}
	if len(sides[selected].rows) == 0 {
		if len(got.Columns) > 0 {
			t.Errorf("%s: %d columns without a selection", where, len(got.Columns))
		}
		return
	}
	want := make(map[string]bool)
	for _, side := range sides {
		for _, s := range side.rows {
			for _, name := range compared {
				if refOwn(s, name).Type != trace.TypeNone {
					want[name] = true
				}
			}
			for _, a := range s.Attributes {
				want[a.Key] = true
			}
		}
	}
	for i, d := range got.Columns {
		if !want[d.Name] {
			t.Errorf("%s: column %q is there twice or has no rows", where, d.Name)
		}
		delete(want, d.Name)
		checkDifference(t, where, d, sides, whole)
		if i > 0 && got.Columns[i-1].Score < d.Score && got.Columns[i-1].Defines == d.Defines {
			t.Errorf("%s: %q stands behind %q", where, d.Name, got.Columns[i-1].Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("%s: columns %v are missing", where, want)
	}
}
