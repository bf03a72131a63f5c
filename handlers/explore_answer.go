package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// exploreStore is the span store as Explore and Home ask it.
type exploreStore interface {
	Query(ctx context.Context, spec query.Spec) (*query.Result, error)
	QueryProgress(ctx context.Context, spec query.Spec, progress *query.Progress) (*query.Result, error)
	BubbleUpProgress(ctx context.Context, spec query.BubbleUp, progress *query.Progress) (*query.BubbleUpResult, error)
	Search(ctx context.Context, s query.Search) (*query.SearchResult, error)
	Columns(ctx context.Context, environment, prefix string) ([]query.ColumnInfo, error)
	TraceSummary(ctx context.Context, id trace.ID) (graph.Summary, bool, error)
	Stats() tracestore.Stats
}

// explorer answers the questions of the pages Explore and Home.
type explorer struct {
	store    exploreStore
	now      func() time.Time
	progress *query.Progress // of its queries; nil: nobody watches
}

const (
	// maxSeriesGroups is the limit up to which a query may have a series
	// (DESIGN.md §8); a larger one has a table only.
	maxSeriesGroups = 1000
	// maxTraces and maxRawRows are the rows of one page.
	maxTraces  = 50
	maxRawRows = 100
)

// chartStep is the width of a bucket in seconds.
func (st *exploreState) chartStep() int64 {
	if g := st.Spec.Granularity; g != nil && *g > 0 {
		return *g
	}
	return bucketStep(st.Window, maxChartBuckets)
}

// aggregateSpec is the query of the charts and of the table.
func (st *exploreState) aggregateSpec() query.Spec {
	spec := st.bound()
	if spec.Limit == nil || *spec.Limit <= maxSeriesGroups {
		step := st.chartStep()
		spec.Granularity = &step
	} else {
		spec.Granularity = nil
	}
	return spec
}

// search is the query for the rows behind the charts.
func (st *exploreState) search() query.Search {
	spec := st.bound()
	return query.Search{Filters: spec.Filters, FilterCombination: spec.FilterCombination, Environment: spec.Environment,
		CalculatedFields: spec.CalculatedFields, StartTime: spec.StartTime, EndTime: spec.EndTime}
}

// answer runs the query and builds the view of its answer. A query the
// engine refuses is noted in the state, and the answer's Ran is false.
func (e explorer) answer(ctx context.Context, st *exploreState, after string) (views.ExploreAnswer, error) {
	a := views.ExploreAnswer{Now: e.now()}
	if st.faulty() {
		return a, nil
	}
	res, err := e.store.QueryProgress(ctx, st.aggregateSpec(), e.progress)
	var invalid *query.InvalidError
	if errors.As(err, &invalid) {
		st.refuse(invalid)
		return a, nil
	}
	if err != nil {
		return a, err
	}
	a.Ran, a.Warnings = true, res.Warnings
	a.Foot = e.foot(res.Stats)
	a.JSONURL, a.CSVURL = downloadURL(st, "json"), downloadURL(st, "csv")
	if res.Stats.RowsMatched == 0 {
		a.Empty, err = e.emptyAnswer(ctx, st)
		return a, err
	}
	if st.aggregateSpec().Granularity != nil {
		a.Charts = charts(st, res, st.chartStep())
	}
	a.Tabs = exploreTabs(st, len(res.Results))
	switch st.Tab {
	case tabBubble:
		a.BubbleUp, err = e.bubbleTab(ctx, st, &a)
	case tabTraces:
		a.Traces, err = e.tracesTab(ctx, st)
	case tabRaw:
		a.Raw, err = e.rawTab(ctx, st, after)
	default:
		a.Results = resultsTab(st, res)
	}
	return a, err
}

func exploreTabs(st *exploreState, groups int) []views.ExploreTab {
	var tabs []views.ExploreTab
	for _, t := range []struct{ tab, label, count string }{
		{tabResults, "Results", ui.Count(groups)}, {tabBubble, "BubbleUp", ""}, {tabTraces, "Traces", ""}, {tabRaw, "Raw", ""},
	} {
		tabs = append(tabs, views.ExploreTab{Label: t.label, Count: t.count, Current: st.Tab == t.tab,
			URL: st.address(func(q url.Values) {
				q.Del(paramTab)
				if t.tab != tabResults {
					q.Set(paramTab, t.tab)
				}
			})})
	}
	return tabs
}

func (e explorer) foot(s query.Stats) views.ExploreFoot {
	return views.ExploreFoot{Scanned: ui.Count(s.RowsScanned), Matched: ui.Count(s.RowsMatched),
		Elapsed: ui.Duration(s.ElapsedNano), Segments: segmentsOf(s, e.store.Stats().Segments), Sampled: s.Sampled}
}

// segmentsOf says where the rows were, of how many segments there are: the newest
// are in none yet.
func segmentsOf(s query.Stats, all int) string {
	switch {
	case s.Segments == 0 && s.RowsScanned > 0:
		return "in memory"
	case s.Segments < all:
		return ui.Count(s.Segments) + " of " + countWord(all, "segment")
	}
	return countWord(s.Segments, "segment")
}

func countWord(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return ui.Count(n) + " " + noun + "s"
}

// resultsTab is the table of groups.
func resultsTab(st *exploreState, res *query.Result) *views.ExploreResults {
	calculations := st.calculations()
	r := &views.ExploreResults{}
	for _, b := range st.Spec.Breakdowns {
		o := query.Order{Column: b, Order: "ascending"}
		r.Columns = append(r.Columns, sortable(st, views.ExploreColumn{Name: b, Group: true}, o))
	}
	for _, c := range calculations {
		col := views.ExploreColumn{Name: c.Name()}
		if c.Op != "HEATMAP" && len(st.Spec.Breakdowns) > 0 {
			col = sortable(st, col, query.Order{Op: c.Op, Column: c.Column, Order: "descending"})
		}
		r.Columns = append(r.Columns, col)
	}
	for i, g := range res.Results {
		row := resultRow(st, calculations, g, res, groupLabel(g.Data, st.Spec.Breakdowns))
		row.Key, row.Class = strconv.Itoa(i), groupClass(g.Data, st.Spec.Breakdowns, i)
		if len(st.Spec.Breakdowns) == 0 {
			row.Class = ""
		}
		row.TracesURL, row.CompareURL = groupTraces(st, g), groupCompare(st, g)
		r.Rows = append(r.Rows, row)
	}
	if len(st.Spec.Breakdowns) > 0 {
		r.Other = restRow(st, calculations, res.Other, res, "all other groups")
		r.Total = restRow(st, calculations, res.Total, res, "total")
	}
	return r
}

// sortable gives a column the link that orders by it, the other way round if it
// is ordered by already.
func sortable(st *exploreState, col views.ExploreColumn, o query.Order) views.ExploreColumn {
	if len(st.Spec.Orders) > 0 {
		now := st.Spec.Orders[0]
		if now.Op == o.Op && now.Column == o.Column {
			col.Sorted, o.Order = "ascending", "descending"
			if now.Order == "descending" {
				col.Sorted, o.Order = "descending", "ascending"
			}
		}
	}
	col.SortURL = st.address(func(q url.Values) { q[paramOrder] = []string{formatOrder(o)} })
	return col
}

func resultRow(st *exploreState, calculations []query.Calculation, g query.Group, res *query.Result, label string) views.ExploreRow {
	row := views.ExploreRow{Label: label}
	for _, b := range st.Spec.Breakdowns {
		text, missing := valueText(g.Data[b])
		cell := views.ExploreCell{Missing: missing, Column: b, Value: jsonOf(g.Data[b])}
		cell.Text, cell.Title = clipCell(text)
		row.Cells = append(row.Cells, cell)
	}
	for _, c := range calculations {
		row.Cells = append(row.Cells, numberCell(g, c, res.Total))
	}
	return row
}

// restRow is a row of all groups or of those beyond the limit, nil if there is
// none. Its first cell says which.
func restRow(st *exploreState, calculations []query.Calculation, g *query.Group, res *query.Result, label string) *views.ExploreRow {
	if g == nil {
		return nil
	}
	row := views.ExploreRow{Label: label, Cells: []views.ExploreCell{{Text: label}}}
	for range st.Spec.Breakdowns[1:] {
		row.Cells = append(row.Cells, views.ExploreCell{})
	}
	for _, c := range calculations {
		row.Cells = append(row.Cells, numberCell(*g, c, res.Total))
	}
	return &row
}

func numberCell(g query.Group, c query.Calculation, total *query.Group) views.ExploreCell {
	v := g.Data[c.Name()]
	cell := views.ExploreCell{Number: true}
	if c.Op == "HEATMAP" {
		all := bucketsOf(v)
		if total != nil {
			all = bucketsOf(total.Data[c.Name()])
		}
		cell.Bars, cell.Title = histogram(bucketsOf(v), all, columnUnit(c.Column))
		if cell.Bars == "" {
			cell.Text, cell.Missing = missingText, true
		}
		return cell
	}
	f, ok := numberOf(v)
	if !ok {
		text, missing := valueText(v)
		cell.Text, cell.Missing = text, missing
		return cell
	}
	cell.Text, cell.Title = views.FormatUnit(f, unitOf(c)), formatNumber(f)
	return cell
}

// histogram draws how the values of a group are spread over the range that the
// values of all groups have, so that the groups of a table can be compared.
func histogram(buckets, all []query.Bucket, unit views.Unit) (path, title string) {
	var bands []views.HeatRow
	for _, b := range all {
		bands = append(bands, views.HeatRow{Min: b.Min, Max: b.Max})
	}
	rows := heatRows(bands)
	if len(buckets) == 0 || len(rows) == 0 {
		return "", ""
	}
	values := make([]float64, len(rows))
	for _, b := range buckets {
		values[heatRowOf(rows, b.Min, b.Max)] += b.Count
	}
	title = "values from " + views.FormatUnit(buckets[0].Min, unit) + " to " + views.FormatUnit(buckets[len(buckets)-1].Max, unit)
	return views.Spark{Values: values}.Bars(), title
}

// groupTraces is the address of the traces of one group.
func groupTraces(st *exploreState, g query.Group) string {
	if st.Spec.FilterCombination == "OR" && len(st.Spec.Breakdowns) > 0 && len(st.Spec.Filters) > 1 {
		return "" // the group cannot be added to filters joined by OR
	}
	return st.address(func(q url.Values) {
		q.Del(paramMatch)
		for _, b := range st.Spec.Breakdowns {
			q.Add(paramWhere, formatFilter(equals(b, g.Data[b])))
		}
		q.Del(paramGroupBy)
		q.Del(paramOrder)
		q.Del(paramHaving)
		q.Set(paramTab, tabTraces)
	})
}

// groupCompare is the address that compares a group with the rest; "" if all rows
// are one group.
func groupCompare(st *exploreState, g query.Group) string {
	if len(st.Spec.Breakdowns) == 0 {
		return ""
	}
	return st.address(func(q url.Values) {
		dropSelection(q)
		for _, b := range st.Spec.Breakdowns {
			q.Add(paramSelect, formatFilter(equals(b, g.Data[b])))
		}
		q.Set(paramTab, tabBubble)
	})
}

// equals is the filter that keeps the rows with a value.
func equals(column string, v any) query.Filter {
	if t, ok := v.(trace.Value); ok {
		v = jsonValue(t)
	}
	if v == nil {
		return query.Filter{Column: column, Op: "does-not-exist"}
	}
	return query.Filter{Column: column, Op: "=", Value: v}
}

// jsonValue is a typed value as a filter's value.
func jsonValue(v trace.Value) any {
	switch v.Type {
	case trace.TypeNone:
		return nil
	case trace.TypeBool:
		return v.Bool()
	case trace.TypeInt, trace.TypeFloat:
		if isNumberText(v.Text()) {
			return v.Float()
		}
	}
	return v.Text()
}

func jsonOf(v any) string {
	if t, ok := v.(trace.Value); ok {
		v = jsonValue(t)
	}
	return jsonAny(v)
}

func jsonAny(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
}

// tracesTab lists the newest traces that have matching rows.
func (e explorer) tracesTab(ctx context.Context, st *exploreState) (*views.ExploreTraces, error) {
	search := st.search()
	search.PerTrace, search.Limit = true, maxTraces+1
	found, err := e.store.Search(ctx, search)
	if err != nil {
		return nil, err
	}
	t := &views.ExploreTraces{More: len(found.Rows) > maxTraces}
	for _, row := range found.Rows[:min(len(found.Rows), maxTraces)] {
		r, err := e.traceRow(ctx, row)
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}

// traceRow shows a row together with what is known of its trace.
func (e explorer) traceRow(ctx context.Context, row query.Row) (views.ExploreTrace, error) {
	id := row.TraceID.String()
	r := views.ExploreTrace{URL: "/t/" + id, SpanURL: "/t/" + id + "/" + row.SpanID.String(), ThreadURL: threadHref(trace.Ref{TraceID: row.TraceID, SpanID: row.SpanID}), TraceID: id,
		Service: row.Service, Name: row.Name, Duration: ui.Duration(row.DurationNano), Error: row.Error,
		Start: time.Unix(0, row.StartUnixNano).UTC(), MatchClassName: views.ServiceClass(row.Service)}
	sum, ok, err := e.store.TraceSummary(ctx, row.TraceID)
	if err != nil || !ok {
		return r, err
	}
	r.RootService, r.RootName, r.RootClass = sum.Service, sum.Name, views.ServiceClass(sum.Service)
	r.Spans, r.Errors, r.HasErrors = ui.Count(sum.Spans), ui.Count(sum.Errors), sum.Errors > 0
	r.Took = ui.Duration(sum.DurationNano)
	return r, nil
}

// rawColumns are the columns of the raw rows: the chosen ones, or else the usual
// ones and those the query is about.
func (st *exploreState) rawColumns() []string {
	if len(st.Columns) > 0 {
		return st.Columns
	}
	columns := []string{"service.name", "name", "duration_ms"}
	add := func(c string) {
		if c != "" && !slices.Contains(columns, c) && len(columns) < 12 {
			columns = append(columns, c)
		}
	}
	for _, f := range st.Spec.Filters {
		add(f.Column)
	}
	for _, b := range st.Spec.Breakdowns {
		add(b)
	}
	for _, c := range st.Spec.Calculations {
		add(c.Column)
	}
	return columns
}

// rawTab lists single rows, newest first.
func (e explorer) rawTab(ctx context.Context, st *exploreState, after string) (*views.ExploreRaw, error) {
	search := st.search()
	columns := st.rawColumns()
	search.Columns, search.Limit, search.After = columns, maxRawRows, after
	found, err := e.store.Search(ctx, search)
	if err != nil {
		return nil, err
	}
	raw := &views.ExploreRaw{AddName: paramColumns}
	for i, c := range columns {
		col := views.ExploreRawColumn{Name: c, Number: !slices.ContainsFunc(found.Rows, func(r query.Row) bool { return !isNumber(r.Values[i]) })}
		if len(columns) > 1 {
			rest := slices.Delete(slices.Clone(columns), i, i+1)
			col.RemoveURL = st.address(func(q url.Values) { q[paramColumns] = rest })
		}
		raw.Columns = append(raw.Columns, col)
	}
	for _, row := range found.Rows {
		r := views.ExploreRawRow{TraceID: row.TraceID.String(), SpanID: row.SpanID.String(), Error: row.Error,
			Start: time.Unix(0, row.StartUnixNano).UTC()}
		r.URL, r.ThreadURL = "/t/"+r.TraceID+"/"+r.SpanID, threadHref(trace.Ref{TraceID: row.TraceID, SpanID: row.SpanID})
		for i, v := range row.Values {
			r.Cells = append(r.Cells, rawCell(columns[i], v))
		}
		raw.Rows = append(raw.Rows, r)
	}
	keep := st.values()
	keep[paramColumns] = columns
	raw.Keep = paramsOf(keep)
	if found.Next != "" {
		raw.NextURL = st.address(func(q url.Values) { q.Set(paramAfter, found.Next) })
	}
	return raw, nil
}

// maxCellRunes is where the text of a cell is cut; its title has more of it.
const (
	maxCellRunes  = 200
	maxTitleRunes = 2000
)

func isNumber(v trace.Value) bool { return v.Type == trace.TypeInt || v.Type == trace.TypeFloat }

func rawCell(column string, v trace.Value) views.ExploreCell {
	text, missing := valueText(v)
	cell := views.ExploreCell{Missing: missing, Column: column, Value: jsonOf(v)}
	cell.Text, cell.Title = clipCell(text)
	cell.Number = isNumber(v)
	if cell.Number && columnUnit(column) == views.UnitMilliseconds {
		cell.Text, cell.Title = views.FormatUnit(v.Float(), views.UnitMilliseconds), text
	}
	return cell
}

// clipCell cuts a long text and gives more of it as the title.
func clipCell(text string) (shown, title string) {
	if len(text) <= maxCellRunes {
		return text, ""
	}
	r := []rune(text)
	if len(r) <= maxCellRunes {
		return text, ""
	}
	return string(r[:maxCellRunes]) + "…", string(r[:min(len(r), maxTitleRunes)])
}

func paramsOf(q url.Values) []views.ExploreParam {
	var list []views.ExploreParam
	for name, values := range q {
		for _, v := range values {
			list = append(list, views.ExploreParam{Name: name, Value: v})
		}
	}
	slices.SortStableFunc(list, func(a, b views.ExploreParam) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// emptyAnswer says why nothing matched, and where the next matching row is.
func (e explorer) emptyAnswer(ctx context.Context, st *exploreState) (*views.ExploreEmpty, error) {
	empty := &views.ExploreEmpty{Window: windowLabel(st.Window), Filters: len(st.Spec.Filters) > 0, Now: e.now()}
	search := st.search()
	search.StartTime, search.EndTime, search.AnyTime, search.Limit = nil, nil, true, 1
	found, err := e.store.Search(ctx, search)
	if err != nil {
		return nil, err
	}
	if len(found.Rows) == 0 {
		if !empty.Filters && st.Spec.Environment == "" {
			empty.NoData = true
			return empty, nil
		}
		if empty.Filters {
			empty.Links = append(empty.Links, views.ExploreLink{Label: "Without filters", URL: st.address(func(q url.Values) { q.Del(paramWhere) })})
		}
		if st.Spec.Environment != "" {
			empty.Links = append(empty.Links, views.ExploreLink{Label: "In all environments", URL: st.address(func(q url.Values) { q.Del(paramEnvironment) })})
		}
		return empty, nil
	}
	empty.Newest = time.Unix(0, found.Rows[0].StartUnixNano).UTC()
	empty.Links = widerWindows(st, empty.Newest)
	return empty, nil
}

// widerWindows are ways to a window that has the row that began at t.
func widerWindows(st *exploreState, t time.Time) []views.ExploreLink {
	var links []views.ExploreLink
	for _, r := range []string{"2h", "24h", "7d", "30d"} {
		d, _ := parseRange(r)
		if from := st.Window.To.Add(-d); !t.Before(from) && t.Before(st.Window.To) && d > st.Window.length() {
			links = append(links, views.ExploreLink{Label: "The last " + views.RangeLabel(r), URL: st.address(func(q url.Values) {
				timeWindow{Range: r}.values(q)
			})})
			break
		}
	}
	around := timeWindow{From: t.Add(-st.Window.length() / 2).Truncate(time.Second), To: t.Add(st.Window.length() / 2).Truncate(time.Second)}
	return append(links, views.ExploreLink{Label: "Around the newest match", URL: st.address(around.values)})
}

func windowLabel(w timeWindow) string {
	return views.ExploreWindow{Range: w.Range, From: w.From, To: w.To}.Label()
}
