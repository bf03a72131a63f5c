package handlers

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
)

// maxSuggestions bounds the columns offered without script.
const maxSuggestions = 500

// rangeOptions are the time ranges of the top bar.
var rangeOptions = []string{"10m", "1h", "2h", "8h", "24h", "7d", "30d"}

// showExplore answers the Explore page, or only its content for the page script.
func (s *Server) showExplore(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	e := s.explorer()
	var done func()
	e.progress, done = s.watched.begin(c.Request().Header.Get(headerProgress))
	defer done()
	st := readExplore(c.QueryParams(), s.Now())
	answer, err := e.answer(ctx, &st, c.QueryParam(paramAfter))
	if err != nil {
		return fmt.Errorf("explore: %w", err)
	}
	if len(answer.Charts) > 0 {
		if answer.Markers, err = s.findMarkerRows(ctx, st.Window, servicesAsked(&st.Spec), st.Spec.Environment); err != nil {
			return fmt.Errorf("explore: %w", err)
		}
		markCharts(answer.Charts, answer.Markers)
	}
	columns, err := e.store.Columns(ctx, st.Spec.Environment, "")
	if err != nil {
		return fmt.Errorf("explore columns: %w", err)
	}
	m := views.Explore{Form: st.form(columns), Answer: answer, ShareURL: st.address(timeWindow{From: st.Window.From, To: st.Window.To}.values)}
	status := http.StatusOK
	if st.faulty() {
		status = http.StatusBadRequest
	} else if m.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindQuery, QueryJSON: st.specJSON(), Title: st.title()}); err != nil {
		return fmt.Errorf("explore: %w", err)
	}
	if isFragment(c) {
		return render(c, status, views.ExploreContent(m))
	}
	if m.Page, err = s.page(c, "Explore", views.SectionExplore); err != nil {
		return err
	}
	m.Page.Styles = []string{"third_party/uPlot.min.css", "css/explore.css", "css/bubbleup.css"}
	m.Page.Scripts = []string{"third_party/uPlot.iife.min.js"}
	m.Page.Wide = true
	names, err := e.environments(ctx)
	if err != nil {
		return err
	}
	m.Page.Scope = st.scope(names)
	return render(c, status, views.ExplorePage(m))
}

// downloadExplore answers what the page shows, as JSON or CSV: the results, or
// the rows of the tab Raw.
func (s *Server) downloadExplore(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	format := c.Param("format")
	if format != "csv" && format != "json" {
		return echo.ErrNotFound
	}
	st := readExplore(c.QueryParams(), s.Now())
	if err := st.firstError(); err != nil {
		return err
	}
	d, err := s.explorer().download(ctx, &st)
	if err != nil {
		return fmt.Errorf("explore download: %w", err)
	}
	h := c.Response().Header()
	if format == "csv" {
		h.Set("Content-Disposition", `attachment; filename="redthread.csv"`)
		return c.Blob(http.StatusOK, "text/csv; charset=utf-8", d.csv())
	}
	h.Set("Content-Disposition", `attachment; filename="redthread.json"`)
	return c.JSON(http.StatusOK, d.body)
}

func (s *Server) explorer() explorer { return explorer{store: s.Store, now: s.Now} }

// download is an answer to take away.
type download struct {
	body   any
	header []string
	rows   [][]string
}

// maxDownloadRows is the rows of a raw download: what a search gives at once.
const maxDownloadRows = 1000

func (e explorer) download(ctx context.Context, st *exploreState) (download, error) {
	if st.Tab != tabRaw {
		spec := st.bound()
		spec.Granularity = nil
		res, err := e.store.QueryProgress(ctx, spec, e.progress)
		if err != nil {
			return download{}, err
		}
		d := download{body: res}
		calculations := st.calculations()
		d.header = slices.Clone(spec.Breakdowns)
		for _, c := range calculations {
			d.header = append(d.header, c.Name())
		}
		for _, g := range res.Results {
			var row []string
			for _, name := range d.header {
				row = append(row, csvCell(g.Data[name]))
			}
			d.rows = append(d.rows, row)
		}
		return d, nil
	}
	search := st.search()
	search.Columns, search.Limit = st.rawColumns(), maxDownloadRows
	found, err := e.store.Search(ctx, search)
	if err != nil {
		return download{}, err
	}
	d := download{body: found, header: append([]string{"start", "trace.trace_id", "trace.span_id"}, search.Columns...)}
	for _, r := range found.Rows {
		row := []string{time.Unix(0, r.StartUnixNano).UTC().Format(time.RFC3339Nano), r.TraceID.String(), r.SpanID.String()}
		for _, v := range r.Values {
			row = append(row, csvCell(v))
		}
		d.rows = append(d.rows, row)
	}
	return d, nil
}

func (d download) csv() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	header := make([]string, len(d.header))
	for i, h := range d.header {
		header[i] = csvText(h)
	}
	_ = w.Write(header) // a bytes.Buffer does not fail
	_ = w.WriteAll(d.rows)
	return b.Bytes()
}

// csvCell writes a value for a table; a missing one is empty.
func csvCell(v any) string {
	if f, ok := numberOf(v); ok && !math.IsNaN(f) {
		if t, ok := v.(trace.Value); ok {
			return t.Text()
		}
		return formatNumber(f)
	}
	text, missing := valueText(v)
	if missing {
		return ""
	}
	return csvText(text)
}

// csvText keeps a spreadsheet from reading a text that somebody sent as a
// formula (OWASP, CSV injection).
func csvText(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func downloadURL(st *exploreState, format string) string {
	return "/explore/download/" + format + "?" + st.values().Encode()
}

// firstError is the first fault of the state, as the API reports one.
func (st *exploreState) firstError() error {
	if st.Error != "" {
		return &query.InvalidError{Field: "q", Message: st.Error}
	}
	for _, param := range append(slices.Clone(clauseParams), paramLimit, paramGranularity, paramWindow, paramSelectFrom, paramSelectTo) {
		for _, c := range st.Clauses[param] {
			if c.Error != "" {
				return &query.InvalidError{Field: param, Message: c.Error}
			}
		}
	}
	return nil
}

// clauseParams are the parameters that repeat.
var clauseParams = []string{paramVisualize, paramWhere, paramGroupBy, paramOrder, paramHaving, paramCalculated, paramSelect}

// form is the query as inputs.
func (st *exploreState) form(columns []query.ColumnInfo) views.ExploreForm {
	f := views.ExploreForm{
		Visualize:  st.clauses(paramVisualize, "Calculation", "P99(duration_ms)"),
		Where:      st.clauses(paramWhere, "Filter", "service.name = …"),
		GroupBy:    st.clauses(paramGroupBy, "Column to group by", "column"),
		Order:      st.clauses(paramOrder, "Order", "COUNT desc"),
		Having:     st.clauses(paramHaving, "Condition on groups", "COUNT > 10"),
		Calculated: st.clauses(paramCalculated, "Calculated field", "slow = GT($duration_ms, 1000)"),
		MatchAny:   st.Spec.FilterCombination == "OR", Limit: st.single(paramLimit), Granularity: st.single(paramGranularity),
		Automatic:   formatNumber(float64(bucketStep(st.Window, maxChartBuckets))),
		Environment: st.Spec.Environment, RawColumns: st.Columns, Error: st.Error, Operators: query.Operators, Functions: query.Functions(),
		Select:     st.clauses(paramSelect, "Filter of the selection", "duration_ms >= 1000"),
		SelectFrom: st.momentInput(paramSelectFrom), SelectTo: st.momentInput(paramSelectTo),
		Window: views.ExploreWindow{Range: st.Window.Range, From: st.Window.From, To: st.Window.To, Error: st.single(paramWindow).Error},
	}
	if st.Tab != tabResults {
		f.Tab = st.Tab
	}
	if len(f.Visualize.Clauses) == 0 { // what no calculation means
		f.Visualize.Clauses = []views.ExploreClause{{Text: "COUNT"}}
	}
	for _, c := range columns[:min(len(columns), maxSuggestions)] {
		f.Suggestions = append(f.Suggestions, quoteColumn(c.Name))
	}
	if len(columns) > 0 {
		f.Suggestions = append(append(f.Suggestions, query.AroundColumns...), query.RippleColumns...)
	}
	if st.Fresh && len(columns) > 0 {
		f.Examples = st.examples()
	}
	return f
}

// examples are questions that one trace cannot answer.
func (st *exploreState) examples() []views.ExploreLink {
	var out []views.ExploreLink
	for _, e := range []struct {
		label string
		ask   url.Values
	}{
		{"how slow jobs and messages are, by the route that set them off",
			url.Values{paramVisualize: {"P99(duration_ms)", "COUNT"}, paramWhere: {"span.kind = consumer"}, paramGroupBy: {"origin.http.route"}}},
		{"requests that set off more than 100 jobs",
			url.Values{paramVisualize: {"COUNT", "MAX(ripple.jobs)"}, paramWhere: {"ripple.jobs > 100"}, paramGroupBy: {"name"}}},
		{"errors by the user they go back to",
			url.Values{paramVisualize: {"COUNT"}, paramWhere: {"error = true"}, paramGroupBy: {"origin.user.id"}}},
	} {
		out = append(out, views.ExploreLink{Label: e.label, URL: st.address(func(q url.Values) {
			q.Del(paramVisualize)
			for p, vs := range e.ask {
				q[p] = vs
			}
		})})
	}
	return out
}

func (st *exploreState) clauses(param, name, placeholder string) views.ExploreClauses {
	cs := views.ExploreClauses{Param: param, Name: name, Placeholder: placeholder}
	for _, c := range st.Clauses[param] {
		cs.Clauses = append(cs.Clauses, views.ExploreClause{Text: c.Text, Error: c.Error})
	}
	return cs
}

func (st *exploreState) single(param string) views.ExploreClause {
	if cs := st.Clauses[param]; len(cs) > 0 {
		return views.ExploreClause{Text: cs[0].Text, Error: cs[0].Error}
	}
	return views.ExploreClause{}
}

// momentInput is a time of the selection as its input shows it.
func (st *exploreState) momentInput(param string) views.ExploreClause {
	c := st.single(param)
	if sec, err := strconv.ParseFloat(c.Text, 64); err == nil && c.Error == "" {
		c.Text = time.UnixMicro(int64(math.Round(sec * 1e6))).UTC().Format("2006-01-02T15:04:05.999999")
	}
	return c
}

// calculations are those of the query; none means COUNT.
func (st *exploreState) calculations() []query.Calculation {
	if len(st.Spec.Calculations) == 0 {
		return []query.Calculation{{Op: "COUNT"}}
	}
	return st.Spec.Calculations
}

// scope is the pickers of the top bar for this state.
func (st *exploreState) scope(environments []string) *views.Scope {
	keep := st.values()
	if st.Window.Range != "" {
		keep.Del("from")
		keep.Del("to")
	}
	return pickers(environments, st.Spec.Environment, st.Window, keep)
}

// pickers are the pickers of the top bar. An absolute window is one more choice.
func pickers(environments []string, environment string, w timeWindow, keep url.Values) *views.Scope {
	scope := &views.Scope{Environments: environments, Environment: environment, Range: w.Range, Keep: keep}
	known := slices.Contains(rangeOptions, w.Range)
	if !known {
		label := "last " + views.RangeLabel(w.Range)
		if w.Range == "" {
			label = "custom, " + views.RangeLabel(formatRange(w.length().Round(time.Second)))
		}
		scope.Ranges = append(scope.Ranges, views.Option{Value: w.Range, Label: label})
	}
	for _, r := range rangeOptions {
		scope.Ranges = append(scope.Ranges, views.Option{Value: r, Label: "last " + views.RangeLabel(r)})
	}
	return scope
}

// environments lists the environments there are.
func (e explorer) environments(ctx context.Context) ([]string, error) {
	return e.topValues(ctx, environmentColumn)
}

// topValues lists the values that a column has most often, by name.
func (e explorer) topValues(ctx context.Context, column string) ([]string, error) {
	columns, err := e.store.Columns(ctx, "", column)
	if err != nil {
		return nil, fmt.Errorf("values of %s: %w", column, err)
	}
	var names []string
	for _, c := range columns {
		if c.Name != column {
			continue
		}
		for _, v := range c.Top {
			if name := v.Value.Text(); name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// environmentColumn holds the environment of every row.
const environmentColumn = "environment"
