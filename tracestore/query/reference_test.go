package query

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// This file is the reference: it answers a valid specification one row and one
// value at a time, straight from spans, sharing no code with the engine but
// the alias table and canonical text.

func refValue(s *trace.Span, name string) trace.Value {
	switch name {
	case "duration_ms":
		return trace.Float(float64(s.DurationNano) / 1e6)
	case "duration_nano":
		return trace.Int(s.DurationNano)
	case "start_unix_nano":
		return trace.Int(s.StartUnixNano)
	case "is_root":
		return trace.Bool(s.ParentID.IsZero())
	case "error":
		return trace.Bool(s.Error)
	case "name":
		return trace.String(s.Name)
	case "service.name":
		if s.Service == "" {
			return trace.Value{}
		}
		return trace.String(s.Service)
	case "environment":
		return trace.String(s.Environment)
	case "span.kind":
		return trace.String(s.Kind.String())
	case "status_code":
		return trace.String(s.Status.String())
	case "status_message":
		if s.StatusMessage == "" {
			return trace.Value{}
		}
		return trace.String(s.StatusMessage)
	case "trace.trace_id":
		return trace.String(s.TraceID.String())
	case "trace.span_id":
		return trace.String(s.SpanID.String())
	case "trace.parent_id":
		if s.ParentID.IsZero() {
			return trace.Value{}
		}
		return trace.String(s.ParentID.String())
	case "meta.signal":
		return trace.String([]string{"span", "log"}[s.Signal])
	}
	for _, n := range append([]string{name}, aliases[name]...) {
		if v, ok := s.Attribute(n); ok {
			return v
		}
	}
	if strings.HasPrefix(name, "deployment.environment") {
		return trace.String(s.Environment)
	}
	return trace.Value{}
}

func refKeeps(s *trace.Span, f Filter) bool {
	v := refValue(s, f.Column)
	has, text := v.Type != trace.TypeNone, v.Text()
	want, _ := valueOf(f.Value)
	order := func() (int, bool) {
		if !has {
			return 0, false
		}
		wantNum, wantErr := strconv.ParseFloat(want.Text(), 64)
		if wantErr == nil {
			if v.Type != trace.TypeInt && v.Type != trace.TypeFloat && v.Type != trace.TypeString {
				return 0, false
			}
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(n) {
				return 0, false
			}
			return compareFloats(n, wantNum), true
		}
		if v.Type == trace.TypeInt || v.Type == trace.TypeFloat {
			return 0, false
		}
		return strings.Compare(text, want.Text()), true
	}
	in := func() bool {
		return slices.ContainsFunc(f.Value.([]any), func(e any) bool {
			w, _ := valueOf(e)
			return has && w.Text() == text
		})
	}
	switch f.Op {
	case "exists":
		return has
	case "does-not-exist":
		return !has
	case "=":
		return has && text == want.Text()
	case "!=":
		return !has || text != want.Text()
	case ">":
		c, ok := order()
		return ok && c > 0
	case ">=":
		c, ok := order()
		return ok && c >= 0
	case "<":
		c, ok := order()
		return ok && c < 0
	case "<=":
		c, ok := order()
		return ok && c <= 0
	case "in":
		return in()
	case "not-in":
		return !in()
	case "contains":
		return has && strings.Contains(text, want.Text())
	case "does-not-contain":
		return !has || !strings.Contains(text, want.Text())
	case "starts-with":
		return has && strings.HasPrefix(text, want.Text())
	case "does-not-start-with":
		return !has || !strings.HasPrefix(text, want.Text())
	case "ends-with":
		return has && strings.HasSuffix(text, want.Text())
	case "does-not-end-with":
		return !has || !strings.HasSuffix(text, want.Text())
	}
	panic("operator " + f.Op)
}

func refWeight(s *trace.Span) float64 {
	v, ok := s.Attribute("sampleRate")
	if !ok {
		if v, ok = s.Attribute("SampleRate"); !ok {
			switch { // half, and a quarter, were kept
			case strings.HasSuffix(s.TraceState, "th:8"):
				return 2
			case strings.HasSuffix(s.TraceState, "th:c"):
				return 4
			}
			return 1
		}
	}
	f, err := strconv.ParseFloat(v.Text(), 64)
	if err != nil || f < 1 {
		return 1
	}
	return math.Round(f)
}

// refMatches are the rows of a query.
func refMatches(spans []trace.Span, filters []Filter, combination, environment string, from, to int64) []*trace.Span {
	var out []*trace.Span
	for i := range spans {
		s := &spans[i]
		if s.StartUnixNano < from || s.StartUnixNano >= to || environment != "" && environment != "*" && s.Environment != environment {
			continue
		}
		kept, signal := 0, false
		for _, f := range filters {
			signal = signal || f.Column == column.Signal
			if refKeeps(s, f) {
				kept++
			}
		}
		if s.Signal != trace.SignalSpan && !signal {
			continue
		}
		if kept == len(filters) || combination == "OR" && kept > 0 {
			out = append(out, s)
		}
	}
	return out
}

// refTime is where a query lies in time: from ≤ start < to, in buckets that begin
// at the multiples of step.
type refTime struct{ from, to, step int64 }

func (w refTime) bucket(t int64) int64 { return t - ((t%w.step)+w.step)%w.step }

// refConcurrency is the mean number of the rows that run at once from ≤ t < to.
func refConcurrency(rows []*trace.Span, from, to int64) float64 {
	busy := 0.0
	for _, s := range rows {
		if begin, end := max(s.StartUnixNano, from), min(s.StartUnixNano+s.DurationNano, to); begin < end {
			busy += refWeight(s) * float64(end-begin)
		}
	}
	return busy / float64(to-from)
}

// refRates are the buckets of the rows that have numbers, in order, with the value
// of a RATE's operator.
func refRates(c Calculation, rows []*trace.Span, w refTime) (buckets []int64, values []float64) {
	byBucket := make(map[int64][]*trace.Span)
	for _, s := range rows {
		byBucket[w.bucket(s.StartUnixNano)] = append(byBucket[w.bucket(s.StartUnixNano)], s)
	}
	op := Calculation{Op: strings.TrimPrefix(c.Op, "RATE_"), Column: c.Column}
	for _, b := range slices.Sorted(maps.Keys(byBucket)) {
		if x, ok := refCalculate(op, byBucket[b], w).(float64); ok {
			buckets, values = append(buckets, b), append(values, x)
		}
	}
	return buckets, values
}

// refPoint computes one calculation over the rows of a group for a time bucket.
func refPoint(c Calculation, rows, inBucket []*trace.Span, w refTime, bucket int64) any {
	switch {
	case c.Op == "CONCURRENCY":
		return refConcurrency(rows, max(bucket, w.from), min(bucket+w.step, w.to))
	case strings.HasPrefix(c.Op, "RATE_"):
		buckets, values := refRates(c, rows, w)
		if i := slices.Index(buckets, bucket); i > 0 {
			return values[i] - values[i-1]
		}
		return nil
	}
	return refCalculate(c, inBucket, w)
}

// refCalculate computes one calculation over rows; a HEATMAP as its weight.
func refCalculate(c Calculation, rows []*trace.Span, w refTime) any {
	switch {
	case c.Op == "CONCURRENCY":
		return refConcurrency(rows, w.from, w.to)
	case strings.HasPrefix(c.Op, "RATE_"):
		if _, values := refRates(c, rows, w); len(values) > 1 {
			return values[len(values)-1] - values[0]
		}
		return nil
	}
	var weight float64
	var nums []sample
	texts := make(map[string]bool)
	for _, s := range rows {
		w := refWeight(s)
		weight += w
		v := refValue(s, c.Column)
		if v.Type != trace.TypeNone {
			texts[v.Text()] = true
		}
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			nums = append(nums, sample{f, w})
		}
	}
	switch c.Op {
	case "COUNT":
		return weight
	case "COUNT_DISTINCT":
		return float64(len(texts))
	}
	var sum, numWeight float64
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, n := range nums {
		sum += n.value * n.weight
		numWeight += n.weight
		lo, hi = min(lo, n.value), max(hi, n.value)
	}
	if c.Op == "HEATMAP" {
		return numWeight
	}
	if len(nums) == 0 {
		return nil
	}
	switch c.Op {
	case "SUM":
		return sum
	case "AVG":
		return sum / numWeight
	case "MIN":
		return lo
	case "MAX":
		return hi
	}
	digits := c.Op[1:] // P95 is 0.95, P999 is 0.999
	q, err := strconv.ParseFloat("0."+digits, 64)
	if err != nil {
		panic("operator " + c.Op)
	}
	sort.Slice(nums, func(i, j int) bool { return nums[i].value < nums[j].value })
	at := 0.0
	for _, n := range nums {
		if at += n.weight; at >= q*numWeight-1e-9*numWeight {
			return n.value
		}
	}
	return hi
}

// refGroup is a group with its rows.
type refGroup struct {
	vals []trace.Value // by breakdown
	rows []*trace.Span
}

func refGroups(rows []*trace.Span, breakdowns []string) []*refGroup {
	byKey := make(map[string]*refGroup)
	shown := make(map[string]trace.Value) // equal values show alike in all groups
	var out []*refGroup
	for _, s := range rows {
		vals := make([]trace.Value, len(breakdowns))
		key := ""
		for i, b := range breakdowns {
			vals[i] = refValue(s, b)
			key += fmt.Sprintf("%v %q,", vals[i].Type != trace.TypeNone, vals[i].Text())
		}
		g := byKey[key]
		if g == nil {
			g = &refGroup{vals: vals}
			byKey[key] = g
			out = append(out, g)
		}
		for i, v := range vals {
			if was, ok := shown[breakdowns[i]+v.Text()]; v.Type != trace.TypeNone && (!ok || rank(v.Type) < rank(was.Type)) {
				shown[breakdowns[i]+v.Text()] = v
			}
		}
		g.rows = append(g.rows, s)
	}
	for _, g := range out {
		for i, v := range g.vals {
			if v.Type != trace.TypeNone {
				g.vals[i] = shown[breakdowns[i]+v.Text()]
			}
		}
	}
	return out
}

// refRun answers a valid specification.
func refRun(s Spec, spans []trace.Span, now time.Time) *Result {
	return refRunSteps(s, spans, now, 1)
}

// refRunSteps answers a specification whose calculations go by time in steps of so
// many nanoseconds, if it does not ask for a series.
func refRunSteps(s Spec, spans []trace.Span, now time.Time, step int64) *Result {
	spans = refCalculated(spans, s.CalculatedFields)
	if len(s.Calculations) == 0 {
		s.Calculations = []Calculation{{Op: "COUNT"}}
	}
	from, to, _ := window(s.TimeRange, s.StartTime, s.EndTime, now)
	rows := refMatches(spans, s.Filters, s.FilterCombination, s.Environment, from, to)
	if s.Granularity != nil {
		step = *s.Granularity * 1e9
	}
	w := refTime{from, to, step}
	groups := refGroups(rows, s.Breakdowns)
	if len(s.Breakdowns) == 0 && len(groups) == 0 {
		groups = []*refGroup{{}}
	}
	groups = slices.DeleteFunc(groups, func(g *refGroup) bool {
		for _, h := range s.Havings {
			x, ok := refCalculate(Calculation{h.CalculateOp, h.Column}, g.rows, w).(float64)
			holds := map[string]bool{"=": x == h.Value, "!=": x != h.Value, ">": x > h.Value, ">=": x >= h.Value, "<": x < h.Value, "<=": x <= h.Value}[h.Op]
			if !ok || !holds {
				return true
			}
		}
		return false
	})
	orders := s.Orders
	if len(orders) == 0 {
		for _, c := range s.Calculations {
			if c.Op != "HEATMAP" {
				orders = []Order{{Op: c.Op, Column: c.Column, Order: "descending"}}
				break
			}
		}
	}
	sort.SliceStable(groups, func(i, j int) bool {
		x, y := groups[i], groups[j]
		for _, o := range orders {
			c := 0
			if o.Op == "" {
				k := slices.Index(s.Breakdowns, o.Column)
				a, b := x.vals[k], y.vals[k]
				if (a.Type == trace.TypeNone) != (b.Type == trace.TypeNone) {
					return b.Type == trace.TypeNone
				}
				c = compareValues(a, b)
			} else {
				a, aok := refCalculate(Calculation{o.Op, o.Column}, x.rows, w).(float64)
				b, bok := refCalculate(Calculation{o.Op, o.Column}, y.rows, w).(float64)
				if aok != bok {
					return aok
				}
				c = compareFloats(a, b)
			}
			if o.Order == "descending" {
				c = -c
			}
			if c != 0 {
				return c < 0
			}
		}
		for k := range x.vals {
			if c := compareValues(x.vals[k], y.vals[k]); c != 0 {
				return c < 0
			}
		}
		return false
	})
	name := func(d map[string]any, vals []trace.Value) {
		for i, v := range vals {
			if d[s.Breakdowns[i]] = nil; v.Type != trace.TypeNone {
				d[s.Breakdowns[i]] = v
			}
		}
	}
	data := func(rows []*trace.Span, vals []trace.Value) map[string]any {
		d := make(map[string]any)
		name(d, vals)
		for _, c := range s.Calculations {
			d[c.Name()] = refCalculate(c, rows, w)
		}
		return d
	}
	r := &Result{Results: []Group{}, Total: &Group{data(rows, nil)}, Stats: Stats{RowsMatched: int64(len(rows))}}
	limit := 100
	if s.Limit != nil {
		limit = *s.Limit
	}
	var beyond []*trace.Span
	for i, g := range groups {
		if i >= limit {
			beyond = append(beyond, g.rows...)
			continue
		}
		r.Results = append(r.Results, Group{data(g.rows, g.vals)})
	}
	if len(groups) > limit {
		r.Other = &Group{data(beyond, nil)}
	}
	if s.Granularity == nil {
		return r
	}
	r.Series = []Point{}
	concurrent := slices.ContainsFunc(s.Calculations, func(c Calculation) bool { return c.Op == "CONCURRENCY" })
	for t := w.bucket(from); t < to; t += step {
		for i, g := range groups {
			var in []*trace.Span
			for _, s := range g.rows {
				if s.StartUnixNano >= t && s.StartUnixNano < t+step {
					in = append(in, s)
				}
			}
			if i >= limit || len(in) == 0 && !(concurrent && refConcurrency(g.rows, max(t, from), min(t+step, to)) > 0) {
				continue
			}
			d := make(map[string]any)
			name(d, g.vals)
			for _, c := range s.Calculations {
				d[c.Name()] = refPoint(c, g.rows, in, w, t)
			}
			r.Series = append(r.Series, Point{time.Unix(0, t).UTC().Format(time.RFC3339), d})
		}
	}
	return r
}
