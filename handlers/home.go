package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/query"
	"redthread/views"
)

const (
	maxHomeServices       = 50
	maxHomeRoutes         = 8
	maxHomeErrors         = 8
	maxHomeInvestigations = 5
	maxHomeThreads        = 5
	maxHomeMarkers        = 5
	homeSparkBuckets      = 60
)

// showHome answers the first page.
func (s *Server) showHome(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	p, err := s.page(c, "Home", views.SectionHome)
	if err != nil {
		return err
	}
	p.Styles = []string{"css/explore.css", "css/home.css", "css/ripples.css"}
	m := views.Home{Page: p, Now: s.Now()}
	e := s.explorer()
	first, err := e.newest(ctx)
	if err != nil {
		return fmt.Errorf("home: %w", err)
	}
	if first == nil {
		m.First = s.firstTrace(c, p.Me != nil && p.Me.Admin)
		return render(c, http.StatusOK, views.HomePage(m))
	}
	names, err := e.environments(ctx)
	if err != nil {
		return err
	}
	q := c.QueryParams()
	w, err := readWindow(q, defaultExploreRange, s.Now())
	if err != nil {
		return &query.InvalidError{Field: paramWindow, Message: err.Error()}
	}
	h := home{explorer: e, window: w, environment: q.Get(paramEnvironment)}
	if h.environment == "*" {
		h.environment = ""
	}
	threads := make(chan error, 1)
	go func() { // beside the queries; it does not wait for long
		var err error
		m.Threads, m.ThreadsURL, err = s.homeThreads(ctx, w, h.environment)
		threads <- err
	}()
	if err := errors.Join(h.fill(ctx, &m), <-threads); err != nil {
		return fmt.Errorf("home: %w", err)
	}
	if m.Investigations, err = s.openInvestigations(ctx); err != nil {
		return err
	}
	changes, err := s.Collab.FindMarkers(ctx, collab.MarkerFilter{ToUnixNano: w.To.UnixNano(), Environment: h.environment, Limit: maxHomeMarkers})
	if err != nil {
		return fmt.Errorf("home: %w", err)
	}
	for i := range changes {
		m.Markers = append(m.Markers, markerRow(&changes[i], collab.Actor{}))
	}
	m.Page.Scope = pickers(names, h.environment, w, url.Values{})
	return render(c, http.StatusOK, views.HomePage(m))
}

// homeThreads are the threads that set off most; nil if counting them takes too
// long for this page.
func (s *Server) homeThreads(ctx context.Context, w timeWindow, environment string) ([]views.RippleThread, string, error) {
	st := ripplesState{window: w, environment: environment, sort: sortBiggest}
	report, err := s.ripples.glance(ctx, s.Graph, st)
	if err != nil {
		return nil, "", err
	}
	if report == nil {
		return nil, st.href("/ripples"), nil
	}
	threads := threadRows(report.Largest[:min(len(report.Largest), maxHomeThreads)], st)
	if threads == nil {
		threads = []views.RippleThread{}
	}
	return threads, st.href("/ripples"), nil
}

func (s *Server) openInvestigations(ctx context.Context) ([]views.HomeInvestigation, error) {
	list, _, err := s.Collab.FindInvestigations(ctx, collab.InvestigationFilter{
		Statuses: []collab.Status{collab.StatusOpen, collab.StatusMitigated}, Limit: maxHomeInvestigations})
	if err != nil {
		return nil, fmt.Errorf("home investigations: %w", err)
	}
	var out []views.HomeInvestigation
	for _, i := range list {
		v := views.HomeInvestigation{URL: "/i/" + string(i.ID), Title: i.Title, Status: string(i.Status), Lead: i.LeadName,
			Updated: time.Unix(0, i.UpdatedUnixNano).UTC()}
		if i.Severity != collab.SeverityUnknown {
			v.Severity = string(i.Severity)
		}
		out = append(out, v)
	}
	return out, nil
}

// newest is the newest row of all, nil if there is none.
func (e explorer) newest(ctx context.Context) (*query.Row, error) {
	found, err := e.store.Search(ctx, query.Search{AnyTime: true, Limit: 1})
	if err != nil || len(found.Rows) == 0 {
		return nil, err
	}
	return &found.Rows[0], nil
}

// home asks what the first page shows of one window.
type home struct {
	explorer
	window      timeWindow
	environment string
}

// Filters of the work that enters a service: from outside, and from a queue.
var (
	enters   = query.Filter{Column: "span.kind", Op: "in", Value: []any{"server", "consumer"}}
	requests = query.Filter{Column: "span.kind", Op: "=", Value: "server"}
	jobs     = query.Filter{Column: "span.kind", Op: "=", Value: "consumer"}
	roots    = query.Filter{Column: "is_root", Op: "=", Value: true}
	failed   = query.Filter{Column: "error", Op: "=", Value: true}
)

func calculations(names ...string) []query.Calculation {
	list := []query.Calculation{{Op: "COUNT"}}
	for _, n := range names {
		list = append(list, query.Calculation{Op: n, Column: "duration_ms"})
	}
	return list
}

// state is a query over the window as the Explore page says it.
func (h home) state(groups []string, calculations []query.Calculation, filters ...query.Filter) exploreState {
	st := exploreState{Window: h.window, Tab: tabResults, Clauses: map[string][]clause{}}
	st.Spec = query.Spec{Calculations: calculations, Filters: filters, Breakdowns: groups, Environment: h.environment}
	for param, texts := range specValues(st.Spec) {
		if param == paramEnvironment {
			continue
		}
		for _, t := range texts {
			st.Clauses[param] = append(st.Clauses[param], clause{Text: t})
		}
	}
	return st
}

// run asks for at most limit groups, the largest by order first.
func (h home) run(ctx context.Context, st exploreState, limit int, order query.Calculation, series bool) (*query.Result, error) {
	spec := st.bound()
	spec.Limit = &limit
	spec.Orders = []query.Order{{Op: order.Op, Column: order.Column, Order: "descending"}}
	if series {
		step := h.step()
		spec.Granularity = &step
	}
	return h.store.Query(ctx, spec)
}

func (h home) step() int64 { return bucketStep(h.window, homeSparkBuckets) }

// fill asks all questions of the page at once.
func (h home) fill(ctx context.Context, m *views.Home) error {
	m.Window = windowLabel(h.window)
	entering := []query.Filter{enters}
	if h.window.length() > 0 {
		any, err := h.store.Query(ctx, h.count(enters))
		if err != nil {
			return err
		}
		if any.Stats.RowsMatched == 0 { // nothing says what it is: take roots
			entering = []query.Filter{roots}
		}
	}
	var all, bad, routes, routeErrors, work, workErrors *query.Result
	var errs [7]error
	var wg sync.WaitGroup
	ask := func(i int, into **query.Result, st exploreState, limit int, order string, series bool) {
		wg.Go(func() {
			*into, errs[i] = h.run(ctx, st, limit, calculationNamed(order), series)
		})
	}
	count := calculations()
	byService, byName := []string{"service.name"}, []string{"service.name", "name"}
	ask(0, &all, h.state(byService, calculations("P50", "P95", "P99"), entering...), maxHomeServices, "COUNT", true)
	ask(1, &bad, h.state(byService, count, append(slices.Clone(entering), failed)...), query.MaxLimit, "COUNT", true)
	ask(2, &routes, h.state(byName, calculations("P50", "P95"), requests), maxHomeRoutes, "P95", false)
	ask(3, &routeErrors, h.state(byName, count, requests, failed), query.MaxLimit, "COUNT", false)
	ask(4, &work, h.state(byName, calculations("P50", "P95"), jobs), maxHomeRoutes, "COUNT", false)
	ask(5, &workErrors, h.state(byName, count, jobs, failed), query.MaxLimit, "COUNT", false)
	wg.Go(func() { m.Errors, m.ErrorsURL, errs[6] = h.errorTraces(ctx) })
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	m.Services = h.services(all, bad, entering)
	m.Routes = h.routes(routes, routeErrors, requests)
	m.Jobs = h.routes(work, workErrors, jobs)
	if len(m.Services) > 0 || len(m.Errors) > 0 {
		return nil
	}
	st := h.state(nil, count)
	quiet, err := h.emptyAnswer(ctx, &st)
	if err != nil {
		return err
	}
	quiet.Links = homeWindows(quiet.Links, h.window, quiet.Newest, h.environment)
	m.Quiet = quiet
	return nil
}

func (h home) count(filters ...query.Filter) query.Spec {
	st := h.state(nil, calculations(), filters...)
	return st.bound()
}

func calculationNamed(op string) query.Calculation {
	if op == "COUNT" {
		return query.Calculation{Op: op}
	}
	return query.Calculation{Op: op, Column: "duration_ms"}
}

// homeWindows are ways to a longer window of this page that has the newest row.
func homeWindows(fallback []views.ExploreLink, w timeWindow, newest time.Time, environment string) []views.ExploreLink {
	for _, r := range []string{"24h", "7d", "30d"} {
		d, _ := parseRange(r)
		if !newest.IsZero() && d > w.length() && newest.After(w.To.Add(-d)) && newest.Before(w.To) {
			q := url.Values{"range": {r}}
			if environment != "" {
				q.Set(paramEnvironment, environment)
			}
			return []views.ExploreLink{{Label: "The last " + views.RangeLabel(r), URL: "/?" + q.Encode()}}
		}
	}
	return fallback
}

func (h home) services(all, bad *query.Result, entering []query.Filter) []views.HomeService {
	axis := chartTime(h.window, h.step())
	errorsOf := map[string]float64{}
	for _, g := range bad.Results {
		errorsOf[groupKey(g.Data, []string{"service.name"})], _ = numberOf(g.Data["COUNT"])
	}
	rates := sparks(all, axis, "COUNT", "service.name")
	slow := sparks(all, axis, "P95(duration_ms)", "service.name")
	fails := sparks(bad, axis, "COUNT", "service.name")
	var out []views.HomeService
	for _, g := range all.Results {
		key := groupKey(g.Data, []string{"service.name"})
		name, missing := valueText(g.Data["service.name"])
		if missing || name == "" {
			name = "(no service name)"
		}
		n, _ := numberOf(g.Data["COUNT"])
		only := append(slices.Clone(entering), equals("service.name", g.Data["service.name"]))
		st := h.state([]string{"name"}, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...), only...)
		errSt := h.state([]string{"name", "exception.type"}, calculations(), append(only, failed)...)
		v := views.HomeService{Name: shown(name), Class: views.ServiceClass(name), Missing: missing, URL: st.address(nil),
			Count: views.FormatNumber(n), Rate: rateOf(n, h.window.length()), ErrorsURL: errSt.address(nil), Errors: "0",
			P50: measure(g, "P50(duration_ms)"), P95: measure(g, "P95(duration_ms)"), P99: measure(g, "P99(duration_ms)"),
			Requests:   views.Spark{Values: rates[key], Label: "rate of " + name + " over time"},
			Slow:       views.Spark{Values: slow[key], Label: "p95 of " + name + " over time"},
			ErrorSpark: views.Spark{Values: fails[key], Label: "errors of " + name + " over time"}}
		if bad := errorsOf[key]; bad > 0 {
			v.HasErrors, v.Errors, v.Share = true, views.FormatNumber(bad), shareOf(bad, n)
		}
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b views.HomeService) int {
		if a.Missing != b.Missing && a.Missing {
			return 1
		}
		return 0
	})
	return out
}

func (h home) routes(res, bad *query.Result, kind query.Filter) []views.HomeRoute {
	groups := []string{"service.name", "name"}
	errorsOf := map[string]float64{}
	for _, g := range bad.Results {
		errorsOf[groupKey(g.Data, groups)], _ = numberOf(g.Data["COUNT"])
	}
	var out []views.HomeRoute
	for _, g := range res.Results {
		service, _ := valueText(g.Data["service.name"])
		name, _ := valueText(g.Data["name"])
		n, _ := numberOf(g.Data["COUNT"])
		st := h.state(nil, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...),
			kind, equals("service.name", g.Data["service.name"]), equals("name", g.Data["name"]))
		st.Tab = tabTraces
		r := views.HomeRoute{Service: shown(service), Class: views.ServiceClass(service), Name: name, URL: st.address(nil),
			Count: views.FormatNumber(n), Errors: "0", P50: measure(g, "P50(duration_ms)"), P95: measure(g, "P95(duration_ms)")}
		if bad := errorsOf[groupKey(g.Data, groups)]; bad > 0 {
			r.HasErrors, r.Errors = true, views.FormatNumber(bad)
		}
		out = append(out, r)
	}
	return out
}

// errorTraces are the newest traces with an error, and where all of them are.
func (h home) errorTraces(ctx context.Context) ([]views.ExploreTrace, string, error) {
	st := h.state([]string{"service.name", "exception.type"}, calculations(), failed)
	st.Tab = tabTraces
	search := st.search()
	search.PerTrace, search.Limit = true, maxHomeErrors
	found, err := h.store.Search(ctx, search)
	if err != nil {
		return nil, "", err
	}
	var out []views.ExploreTrace
	for _, row := range found.Rows {
		t, err := h.traceRow(ctx, row)
		if err != nil {
			return nil, "", err
		}
		out = append(out, t)
	}
	return out, st.address(nil), nil
}

// sparks are the values over time of each group of an answer by some columns. The
// first and the last bucket are left out where the window cuts them: half a
// bucket of requests would look like a drop.
func sparks(res *query.Result, axis views.ChartTime, name string, groups ...string) map[string][]float64 {
	if axis.Start < axis.From && axis.Buckets > 2 {
		axis.Start, axis.Buckets = axis.Start+axis.Step, axis.Buckets-1
	}
	if axis.Start+int64(axis.Buckets)*axis.Step > axis.To && axis.Buckets > 2 {
		axis.Buckets--
	}
	out := map[string][]float64{}
	for _, p := range res.Series {
		bucket := bucketOf(p.Time, axis)
		v, ok := numberOf(p.Data[name])
		if bucket < 0 || !ok {
			continue
		}
		key := groupKey(p.Data, groups)
		if out[key] == nil {
			out[key] = make([]float64, axis.Buckets)
		}
		out[key][bucket] = v
	}
	return out
}

func measure(g query.Group, name string) string {
	f, ok := numberOf(g.Data[name])
	if !ok {
		return missingText
	}
	return views.FormatUnit(f, views.UnitMilliseconds)
}

// rateOf is a count as a rate, per second or, if that is little, per minute.
func rateOf(n float64, length time.Duration) string {
	perSecond := n / length.Seconds()
	switch {
	case length <= 0 || n == 0:
		return "0/s"
	case perSecond >= 1:
		return strconv.FormatFloat(perSecond, 'f', 1, 64) + "/s"
	case perSecond*60 >= 0.1:
		return strconv.FormatFloat(perSecond*60, 'f', 1, 64) + "/min"
	}
	return strconv.FormatFloat(perSecond*3600, 'f', 1, 64) + "/h"
}

// shareOf is a part of a whole in percent.
func shareOf(part, whole float64) string {
	if whole <= 0 {
		return ""
	}
	percent := part / whole * 100
	switch {
	case percent < 0.1:
		return "< 0.1 %"
	case percent >= 10:
		return strconv.FormatFloat(percent, 'f', 0, 64) + " %"
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
}

// firstTraceAnswer is what the waiting page asks for.
type firstTraceAnswer struct {
	Found   bool   `json:"found"`
	URL     string `json:"url"`
	Service string `json:"service"`
	Name    string `json:"name"`
}

// showFirstTrace tells the waiting page whether a span has arrived.
func (s *Server) showFirstTrace(c echo.Context) error {
	row, err := s.explorer().newest(c.Request().Context())
	if err != nil {
		return fmt.Errorf("first trace: %w", err)
	}
	if row == nil {
		return c.JSON(http.StatusOK, firstTraceAnswer{})
	}
	return c.JSON(http.StatusOK, firstTraceAnswer{Found: true, URL: "/t/" + row.TraceID.String(), Service: row.Service, Name: row.Name})
}
