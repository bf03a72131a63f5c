package handlers

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

const (
	// maxChartBuckets is how many buckets a chart has at most by itself: each is
	// wide enough to be seen and pointed at.
	maxChartBuckets = 120
	// maxHeatRows is how many bands a heatmap has at most: what the engine gives.
	maxHeatRows = 64
	// maxChartLines bounds what is handed to the page script for pointing at.
	maxChartLines = 100
)

// chartTime is the time axis of a window cut into buckets of step seconds that
// begin at whole multiples of it.
func chartTime(w timeWindow, step int64) views.ChartTime {
	stepMilli := step * 1000
	from, to := w.From.UnixMilli(), w.To.UnixMilli()
	start := from - mod(from, stepMilli)
	return views.ChartTime{From: from, To: to, Start: start, Step: stepMilli, Buckets: int((to - start + stepMilli - 1) / stepMilli)}
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

// charts draws each calculation over time, heatmaps first.
func charts(st *exploreState, res *query.Result, step int64) []views.ExploreChart {
	axis := chartTime(st.Window, step)
	order := map[string]int{}
	for i, g := range res.Results {
		order[groupKey(g.Data, st.Spec.Breakdowns)] = i
	}
	var heats, lines []views.ExploreChart
	for i, c := range st.calculations() {
		id := "chart-" + strconv.Itoa(i)
		if c.Op == "HEATMAP" {
			h := heatmap(id, c, res, axis)
			h.Selected = st.Select.box(c.Column, axis)
			if res.Other != nil {
				h.Note = "of the " + ui.Count(len(res.Results)) + " groups listed; the rest is beyond the limit"
			}
			heats = append(heats, views.ExploreChart{Heat: h})
		} else {
			lines = append(lines, views.ExploreChart{Line: lineChart(id, c, st, res, order, axis)})
		}
	}
	return append(heats, lines...)
}

// box is the selection as a box of the heatmap of a column; nil if it is none.
func (s *exploreSelection) box(column string, axis views.ChartTime) *views.HeatBox {
	if !s.any() {
		return nil
	}
	b := &views.HeatBox{From: float64(axis.From), To: float64(axis.To), Min: math.Inf(-1), Max: math.Inf(1)}
	if s.From != nil {
		b.From = *s.From * 1000
	}
	if s.To != nil {
		b.To = *s.To * 1000
	}
	for _, f := range s.Filters {
		v, ok := numberOf(f.Value)
		if f.Column != column || !ok {
			return nil
		}
		switch f.Op {
		case ">=", ">":
			b.Min = max(b.Min, v)
		case "<", "<=":
			b.Max = min(b.Max, v)
		default:
			return nil
		}
	}
	return b
}

func lineChart(id string, c query.Calculation, st *exploreState, res *query.Result, order map[string]int, axis views.ChartTime) *views.LineChart {
	chart := &views.LineChart{ID: id, Title: c.Name(), Unit: unitOf(c), Time: axis}
	missing := math.NaN()
	if c.Op == "COUNT" || c.Op == "COUNT_DISTINCT" || c.Op == "SUM" {
		missing = 0 // no rows: nothing was counted
	}
	for i, g := range res.Results[:min(len(res.Results), maxChartLines)] {
		values := make([]float64, axis.Buckets)
		for j := range values {
			values[j] = missing
		}
		chart.Lines = append(chart.Lines, views.Line{Key: strconv.Itoa(i), Label: groupLabel(g.Data, st.Spec.Breakdowns),
			Class: groupClass(g.Data, st.Spec.Breakdowns, i), Values: values})
	}
	chart.Hidden = max(len(res.Results)-views.ServiceHues, 0)
	name := c.Name()
	for _, p := range res.Series {
		i, ok := order[groupKey(p.Data, st.Spec.Breakdowns)]
		bucket := bucketOf(p.Time, axis)
		if !ok || i >= len(chart.Lines) || bucket < 0 {
			continue
		}
		if v, ok := numberOf(p.Data[name]); ok {
			chart.Lines[i].Values[bucket] = v
		}
	}
	if missing == 0 {
		leaveOutCut(chart)
	}
	return chart
}

// leaveOutCut leaves out the first and the last bucket where the window cuts
// them: half a bucket of rows would look like a drop.
func leaveOutCut(chart *views.LineChart) {
	axis := chart.Time
	if axis.Buckets < 4 {
		return
	}
	for _, l := range chart.Lines {
		if axis.Start < axis.From {
			l.Values[0] = math.NaN()
		}
		if axis.Start+int64(axis.Buckets)*axis.Step > axis.To {
			l.Values[axis.Buckets-1] = math.NaN()
		}
	}
}

func heatmap(id string, c query.Calculation, res *query.Result, axis views.ChartTime) *views.Heatmap {
	h := &views.Heatmap{ID: id, Title: c.Name(), Column: c.Column, Unit: columnUnit(c.Column), Time: axis}
	type cell struct {
		bucket   int
		min, max float64
	}
	counts := map[cell]float64{}
	var bands []views.HeatRow
	seen := map[views.HeatRow]bool{}
	name := c.Name()
	for _, p := range res.Series {
		bucket := bucketOf(p.Time, axis)
		if bucket < 0 {
			continue
		}
		for _, b := range bucketsOf(p.Data[name]) {
			counts[cell{bucket, b.Min, b.Max}] += b.Count
			if r := (views.HeatRow{Min: b.Min, Max: b.Max}); !seen[r] {
				seen[r] = true
				bands = append(bands, r)
			}
		}
	}
	h.Rows = heatRows(bands)
	sum := map[[2]int]float64{}
	for k, n := range counts {
		sum[[2]int{k.bucket, heatRowOf(h.Rows, k.min, k.max)}] += n
	}
	for at, n := range sum {
		h.Cells = append(h.Cells, views.HeatCell{Bucket: at[0], Row: at[1], Count: n})
	}
	slices.SortFunc(h.Cells, func(a, b views.HeatCell) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Row, b.Row))
	})
	return h
}

// heatRows chooses the bands of a heatmap from the histogram cells there are.
// Cells of positive numbers are equally wide in the bits of their float64 form,
// which is close to a logarithm, so the bands between the least and the
// greatest are exactly the engine's own and nothing is counted askew. Cells at
// zero have a band below; those of negative numbers make all bands linear.
func heatRows(bands []views.HeatRow) []views.HeatRow {
	if len(bands) == 0 {
		return nil
	}
	lo, hi, least := math.Inf(1), math.Inf(-1), math.Inf(1)
	cell := int64(math.MaxInt64)
	for _, b := range bands {
		lo, hi = min(lo, b.Min), max(hi, b.Max)
		if b.Min > 0 {
			least = min(least, b.Min)
			cell = min(cell, floatBits(b.Max)-floatBits(b.Min))
		}
	}
	if lo < 0 {
		return linearRows(lo, hi)
	}
	var rows []views.HeatRow
	if lo < least {
		rows = append(rows, views.HeatRow{Min: lo, Max: min(least, hi)})
	}
	if math.IsInf(least, 1) {
		return rows
	}
	first, last := floatBits(least), floatBits(hi)
	cell = max(cell, 1)
	cell *= ((last-first)/cell + maxHeatRows - 1) / maxHeatRows // whole cells make a band
	for at := first; at < last; at += cell {
		rows = append(rows, views.HeatRow{Min: math.Float64frombits(uint64(at)), Max: math.Float64frombits(uint64(min(at+cell, last)))})
	}
	return rows
}

// floatBits maps positive numbers to integers of the same order.
func floatBits(f float64) int64 { return int64(math.Float64bits(f)) }

func linearRows(lo, hi float64) []views.HeatRow {
	const n = 32
	var rows []views.HeatRow
	for i := range n {
		rows = append(rows, views.HeatRow{Min: lo + (hi-lo)*float64(i)/n, Max: lo + (hi-lo)*float64(i+1)/n})
	}
	return rows
}

// heatRowOf is the band that holds the middle of a histogram bucket.
func heatRowOf(rows []views.HeatRow, lo, hi float64) int {
	middle := (lo + hi) / 2
	if lo > 0 && hi > 0 {
		middle = math.Sqrt(lo * hi)
	}
	i, _ := slices.BinarySearchFunc(rows, middle, func(r views.HeatRow, v float64) int {
		if r.Max <= v {
			return -1
		}
		return 1
	})
	return min(i, len(rows)-1)
}

// bucketOf is the bucket that begins at an RFC 3339 time, -1 if it is outside.
func bucketOf(text string, axis views.ChartTime) int {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || axis.Step <= 0 {
		return -1
	}
	d := t.UnixMilli() - axis.Start
	if d < 0 || d >= int64(axis.Buckets)*axis.Step {
		return -1
	}
	return int(d / axis.Step)
}

// groupKey tells the groups of an answer apart.
func groupKey(data map[string]any, breakdowns []string) string {
	if len(breakdowns) == 0 {
		return ""
	}
	parts := make([]any, len(breakdowns))
	for i, b := range breakdowns {
		parts[i] = data[b]
	}
	b, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	return string(b)
}

// groupLabel names a group.
func groupLabel(data map[string]any, breakdowns []string) string {
	if len(breakdowns) == 0 {
		return "all rows"
	}
	parts := make([]string, len(breakdowns))
	for i, b := range breakdowns {
		parts[i], _ = valueText(data[b])
	}
	return strings.Join(parts, " · ")
}

// groupClass is the colour of a group: the service's own if the answer is
// grouped by it, else the next of the ring.
func groupClass(data map[string]any, breakdowns []string, i int) string {
	if len(breakdowns) == 1 && breakdowns[0] == "service.name" {
		if s, missing := valueText(data[breakdowns[0]]); !missing {
			return views.ServiceClass(s)
		}
	}
	return "Service--" + strconv.Itoa(i%views.ServiceHues)
}

// unitOf is the unit of a calculation's result.
func unitOf(c query.Calculation) views.Unit {
	switch c.Op {
	case "COUNT", "COUNT_DISTINCT", "CONCURRENCY", "HEATMAP":
		return views.UnitNone
	}
	return columnUnit(c.Column)
}

func columnUnit(column string) views.Unit {
	if strings.HasSuffix(column, "_ms") {
		return views.UnitMilliseconds
	}
	return views.UnitNone
}

// missingText stands where a row has no value.
const missingText = "—"

// valueText is a group's value as a table shows it; missing is true for none.
func valueText(v any) (text string, missing bool) {
	switch v := v.(type) {
	case nil:
		return missingText, true
	case string:
		return v, false
	case bool:
		return strconv.FormatBool(v), false
	case trace.Value:
		if v.Type == trace.TypeNone {
			return missingText, true
		}
		return v.Text(), false
	}
	if f, ok := numberOf(v); ok {
		return formatNumber(f), false
	}
	b, err := json.Marshal(v)
	if err != nil {
		return missingText, true
	}
	return string(b), false
}

// numberOf reads a number of any Go type.
func numberOf(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case trace.Value:
		f := v.Float()
		return f, v.Type == trace.TypeInt || v.Type == trace.TypeFloat
	}
	return 0, false
}

// bucketsOf reads the result of a HEATMAP.
func bucketsOf(v any) []query.Bucket {
	b, _ := v.([]query.Bucket)
	return b
}
