package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/query"
	"redthread/views"
	"redthread/views/ui"
)

// What the tab BubbleUp shows.
const (
	maxBubbleCards  = 60 // columns that differ, each a card
	maxBubbleRest   = 100
	bubbleValues    = 4    // of a card before it is unfolded
	slowShare       = 0.01 // of the rows, that the tab offers to compare
	slowestSentence = "The slowest 1 %"
)

// bubbleTab compares the selection with the rest, or helps to select something. The
// foot of the answer is then that of the comparison.
func (e explorer) bubbleTab(ctx context.Context, st *exploreState, a *views.ExploreAnswer) (*views.ExploreBubbleUp, error) {
	if !st.Select.any() {
		return e.bubbleHelp(ctx, st)
	}
	limit := maxBubbleCards + maxBubbleRest
	spec := st.bubbleUp()
	spec.Limit = &limit
	res, err := e.store.BubbleUpProgress(ctx, spec, e.progress)
	var invalid *query.InvalidError
	if errors.As(err, &invalid) {
		st.refuse(&query.InvalidError{Field: strings.TrimPrefix(invalid.Field, "query."), Message: invalid.Message})
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a.Foot = e.foot(res.Stats)
	b := &views.ExploreBubbleUp{
		Selection: ui.Count(res.Selection.Rows), Baseline: ui.Count(res.Baseline.Rows), Label: st.Select.label(),
		DropURL: st.address(func(q url.Values) {
			dropSelection(q)
			q.Del(paramTab)
		}),
		TracesURL: st.address(st.toSelection(tabTraces)), ZoomURL: st.address(st.toSelection("")),
		Warnings: res.Warnings, Compared: ui.Count(res.Compared),
	}
	for _, side := range []struct {
		name string
		side query.Side
	}{{"selection", res.Selection}, {"rest", res.Baseline}} {
		if side.side.Sampled {
			b.Sampled = append(b.Sampled, fmt.Sprintf("The shares of the %s are of %s of its rows, read in whole blocks spread evenly over time.",
				side.name, ui.Count(side.side.RowsRead)))
		}
	}
	if len(b.Sampled) > 0 {
		a.Foot.Sampled, a.Foot.Sample = true, true
	}
	for _, d := range res.Columns {
		switch {
		case d.Score > 0 && !d.Defines && len(b.Cards) < maxBubbleCards:
			b.Cards = append(b.Cards, bubbleCard(st, d))
		default:
			b.Rest = append(b.Rest, bubbleCard(st, d))
		}
	}
	b.More = max(res.Compared-len(res.Columns), 0)
	return b, nil
}

// toSelection changes an address so that the selection's rows are the query's.
func (st *exploreState) toSelection(tab string) func(url.Values) {
	return func(q url.Values) {
		dropSelection(q)
		if st.Spec.FilterCombination != "OR" || len(st.Spec.Filters) < 2 {
			q.Del(paramMatch)
			for _, f := range st.Select.Filters {
				if text := formatFilter(f); !slices.Contains(q[paramWhere], text) {
					q.Add(paramWhere, text)
				}
			}
		}
		w := st.Window
		if st.Select.From != nil {
			w.From, w.Range = later(w.From, momentOf(*st.Select.From)), ""
		}
		if st.Select.To != nil {
			w.To, w.Range = earlier(w.To, momentOf(*st.Select.To)), ""
		}
		if w.From.Before(w.To) {
			w.values(q)
		}
		q.Del(paramTab)
		if tab != "" {
			q.Set(paramTab, tab)
		}
	}
}

func momentOf(sec float64) time.Time { return time.UnixMicro(int64(math.Round(sec * 1e6))).UTC() }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// label says the selection in words.
func (s *exploreSelection) label() string {
	var parts []string
	for _, f := range s.Filters {
		parts = append(parts, formatFilter(f))
	}
	return strings.Join(parts, " and ")
}

// bubbleHelp offers selections of the query's rows.
func (e explorer) bubbleHelp(ctx context.Context, st *exploreState) (*views.ExploreBubbleUp, error) {
	b := &views.ExploreBubbleUp{Help: true}
	offer := func(label string, f query.Filter) {
		b.Offers = append(b.Offers, views.ExploreLink{Label: label, URL: st.address(func(q url.Values) {
			dropSelection(q)
			q.Set(paramSelect, formatFilter(f))
		})})
	}
	spec := st.bound()
	spec.Breakdowns, spec.Orders, spec.Havings, spec.Limit, spec.Granularity = nil, nil, nil, nil, nil
	spec.Calculations = []query.Calculation{{Op: "P99", Column: "duration_ms"}, {Op: "MIN", Column: "duration_ms"}}
	res, err := e.store.QueryProgress(ctx, spec, e.progress)
	if err != nil {
		return nil, err
	}
	if res.Total != nil {
		p99, ok := numberOf(res.Total.Data["P99(duration_ms)"])
		least, _ := numberOf(res.Total.Data["MIN(duration_ms)"])
		if ok && p99 > least {
			p99 = roundTo(p99, 3)
			offer(slowestSentence+", from "+views.FormatUnit(p99, views.UnitMilliseconds), query.Filter{Column: "duration_ms", Op: ">=", Value: p99})
		}
	}
	offer("Errors", query.Filter{Column: "error", Op: "=", Value: true})
	return b, nil
}

// roundTo keeps so many digits of a number.
func roundTo(f float64, digits int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', digits, 64), 64)
	if err != nil {
		return f
	}
	return r
}

// withoutSelection is the page's address without the selection, on the first tab.
func (st *exploreState) withoutSelection(change func(url.Values)) string {
	return st.address(func(q url.Values) {
		dropSelection(q)
		q.Del(paramTab)
		change(q)
	})
}

func (st *exploreState) filterURL(f query.Filter) string {
	return st.withoutSelection(func(q url.Values) {
		if text := formatFilter(f); !slices.Contains(q[paramWhere], text) {
			q.Add(paramWhere, text)
		}
	})
}

// bubbleCard shows one column.
func bubbleCard(st *exploreState, d query.Difference) views.BubbleCard {
	unit := columnUnit(d.Name)
	c := views.BubbleCard{Name: d.Name, NearUnique: d.NearUnique, Defines: d.Defines, Score: formatNumber(roundTo(d.Score, 3)),
		GroupURL: st.withoutSelection(func(q url.Values) {
			if text := quoteColumn(d.Name); !slices.Contains(q[paramGroupBy], text) {
				q.Add(paramGroupBy, text)
			}
		})}
	if d.Best != nil && d.Score > 0 {
		c.Difference = points(d.Best.Selection - d.Best.Baseline)
		c.Statement, c.StatementURL = statement(st, d, unit)
	}
	values := d.Values
	if len(d.Histogram) > 0 && (d.Best == nil || d.Best.Op != "=") {
		c.Bars = histogramPair(d.Histogram, unit)
		values = nil
	}
	for _, v := range values {
		row := bubbleRow(v.Compared)
		row.Column, row.Value = d.Name, jsonOf(v.Value)
		row.Text, row.Title = clipCell(v.Value.Text())
		row.Title = cmp.Or(row.Title, row.Text)
		if isNumber(v.Value) && unit == views.UnitMilliseconds {
			row.Text = views.FormatUnit(v.Value.Float(), unit)
		}
		if row.Text == "" {
			row.Text = "(empty)"
		}
		row.FilterURL = st.filterURL(equals(d.Name, v.Value))
		row.Best = d.Best != nil && d.Best.Op == "=" && d.Best.Value.Text() == v.Value.Text()
		c.Rows = append(c.Rows, row)
	}
	slices.SortStableFunc(c.Rows, func(a, b views.BubbleRow) int { // the value that tells stands first
		return cmp.Compare(boolInt(b.Best), boolInt(a.Best))
	})
	if other := d.Other; len(d.Values) > 0 && c.Bars == nil && other.Selection.Count+other.Baseline.Count > 0 {
		row := bubbleRow(other)
		row.Text, row.Rest = "other values", true
		c.Rows = append(c.Rows, row)
	}
	missing := query.Compared{Selection: query.Share{Share: 1 - d.Present.Selection.Share}, Baseline: query.Share{Share: 1 - d.Present.Baseline.Share}}
	if missing.Selection.Share > 5e-4 || missing.Baseline.Share > 5e-4 {
		row := bubbleRow(missing)
		row.Text, row.Missing, row.Column = "no value", true, d.Name
		row.FilterURL = st.filterURL(query.Filter{Column: d.Name, Op: "does-not-exist"})
		row.Best = d.Best != nil && (d.Best.Op == "does-not-exist" || d.Best.Op == "exists")
		at := min(len(c.Rows), bubbleValues-1) // always to be seen
		c.Rows = slices.Insert(c.Rows, at, row)
	}
	if len(c.Rows) > bubbleValues {
		c.Rows, c.MoreRows = c.Rows[:bubbleValues], c.Rows[bubbleValues:]
	}
	return c
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func bubbleRow(c query.Compared) views.BubbleRow {
	return views.BubbleRow{Selection: sharePercent(c.Selection.Share), Baseline: sharePercent(c.Baseline.Share),
		SelectionShare: c.Selection.Share, BaselineShare: c.Baseline.Share}
}

// statement writes the statement that tells the sides apart, where a value's bars do
// not show it already, with the address that filters by it.
func statement(st *exploreState, d query.Difference, unit views.Unit) (text, address string) {
	f := query.Filter{Column: d.Name, Op: d.Best.Op}
	switch d.Best.Op {
	case "=":
		return "", ""
	case "exists":
		text = "has a value"
	case "does-not-exist":
		text = "has no value"
	default:
		f.Value = d.Best.Value.Float()
		sign := map[string]string{">=": "≥", "<": "<"}[d.Best.Op]
		text = sign + " " + views.FormatUnit(d.Best.Value.Float(), unit)
	}
	return text, st.filterURL(f)
}

// points writes a difference of shares in percentage points.
func points(f float64) string {
	text := strconv.FormatFloat(math.Abs(100*f), 'f', 1, 64) + " pt"
	if f < 0 {
		return "−" + text
	}
	return "+" + text
}

// sharePercent writes a share; one that is not zero does not read as zero.
func sharePercent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0"
	case p < 0.1:
		return "< 0.1 %"
	case p > 99.9 && p < 100:
		return "> 99.9 %"
	default:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
}

func histogramPair(bars []query.BarPair, unit views.Unit) *views.BubbleBars {
	h := &views.BubbleBars{Low: barEnd(bars[0].Min, unit), High: barEnd(bars[len(bars)-1].Max, unit)}
	for _, b := range bars {
		h.Bars = append(h.Bars, views.BubbleBar{Low: barEnd(b.Min, unit), High: barEnd(b.Max, unit),
			Selection: b.Selection.Share, Baseline: b.Baseline.Share, SelectionText: sharePercent(b.Selection.Share), BaselineText: sharePercent(b.Baseline.Share)})
	}
	return h
}

// barEnd writes the end of a bar; the outermost have none.
func barEnd(f float64, unit views.Unit) string {
	if math.Abs(f) == math.MaxFloat64 {
		return "…"
	}
	if math.Abs(f) <= 1e-9 {
		f = 0
	}
	return views.FormatUnit(f, unit)
}
