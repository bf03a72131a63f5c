package handlers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/query"
	"redthread/tracestore/traffic"
	"redthread/views"
)

// maxServiceRows is how many lines each table of a service's page has.
const maxServiceRows = 15

// showService answers the page of a service.
func (s *Server) showService(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	name := pathName(c)
	p, err := s.page(c, name, views.SectionServices)
	if err != nil {
		return err
	}
	p.Styles = []string{"third_party/uPlot.min.css", "css/explore.css", "css/home.css", "css/work.css"}
	p.Scripts, p.Wide = []string{"third_party/uPlot.iife.min.js"}, true
	p.Scope = pickers(w.names, w.environment, w.window, url.Values{})
	m := views.ServicePage{Page: p, Nav: w.nav("/services"), Name: shown(name), Class: views.ServiceClass(name), Window: windowLabel(w.window), ListURL: w.link("/services"),
		MapURL: w.link("/services", paramFocus, nodeID(mapService, name)), Now: s.Now()}
	v := &serviceView{work: w, name: name}
	if err := v.fill(ctx, &m); err != nil {
		return fmt.Errorf("service %q: %w", name, err)
	}
	if m.Missing == nil {
		marks, err := s.findMarkerRows(ctx, w.window, []string{name}, w.environment)
		if err != nil {
			return err
		}
		markCharts(m.Charts, marks)
		st := v.ask([]string{"name"}, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P50", "P95", "P99")...), v.entering()...)
		m.ExploreURL = st.address(nil)
		if m.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindQuery, QueryJSON: st.specJSON(), Title: name}); err != nil {
			return err
		}
	}
	return render(c, http.StatusOK, views.ServiceShowPage(m))
}

// serviceView asks about one service.
type serviceView struct {
	*work
	name  string
	enter query.Filter // the spans by which work enters the service
}

// of are the filters of the service's spans.
func (v *serviceView) of(more ...query.Filter) []query.Filter {
	return append([]query.Filter{equals("service.name", v.name)}, more...)
}

func (v *serviceView) entering(more ...query.Filter) []query.Filter {
	return v.of(append([]query.Filter{v.enter}, more...)...)
}

func (v *serviceView) fill(ctx context.Context, m *views.ServicePage) error {
	kinds, err := v.run(ctx, v.ask([]string{"span.kind"}, calculations(), v.of()...), 10, calculationNamed("COUNT"), false)
	if err != nil {
		return err
	}
	if len(kinds.Results) == 0 {
		m.Missing, err = v.elsewhere(ctx)
		return err
	}
	v.enter = roots // nothing says what enters it
	for _, g := range kinds.Results {
		if kind, _ := valueText(g.Data["span.kind"]); kind == "server" || kind == "consumer" {
			v.enter = enters
		}
	}
	parts := make([]views.WorkParts, 7)
	asks := []func(context.Context) error{
		func(ctx context.Context) (err error) { m.Facts, err = v.facts(ctx); return err },
		func(ctx context.Context) (err error) { m.Charts, err = v.charts(ctx); return err },
		func(ctx context.Context) (err error) {
			m.Slowest, m.SlowestURL, err = v.runs(ctx, "slowest", v.entering()...)
			return err
		},
		func(ctx context.Context) (err error) {
			m.Failed, m.FailedURL, err = v.runs(ctx, "", v.entering(failed)...)
			return err
		},
		func(ctx context.Context) (err error) { parts[2], parts[3], err = v.callers(ctx); return err },
	}
	for i, t := range []struct {
		title, unit, column string
		filters             []query.Filter
		url                 func(string) string
	}{
		{"Requests", "Count", "name", v.of(requests), nil},
		{"Jobs it runs", "Runs", traffic.Class, v.of(v.sided(true, notSent)...), v.linkTo(classes)},
		{"", "", "", nil, nil}, {"", "", "", nil, nil}, // callers
		{"Messages it handles", "Handled", traffic.Topic, v.of(v.sided(false, notSent)...), v.linkTo(topics)},
		{"Messages it sends", "Sent", traffic.Topic, v.of(v.sided(false, onlySent)...), v.linkTo(topics)},
		{"Jobs it sets off", "Sent", traffic.Class, v.of(v.sided(true, onlySent)...), v.linkTo(classes)},
	} {
		if t.column == "" {
			continue
		}
		asks = append(asks, func(ctx context.Context) (err error) {
			parts[i], err = v.part(ctx, t.title, t.unit, t.column, t.filters, t.url)
			parts[i].ID = "service-part-" + strconv.Itoa(i)
			return err
		})
	}
	if err := askAll(ctx, asks...); err != nil {
		return err
	}
	m.Parts = slices.DeleteFunc(parts, func(p views.WorkParts) bool { return len(p.Rows) == 0 })
	return nil
}

// Filters of the sides.
var (
	notSent  = query.Filter{Column: traffic.Side, Op: "!=", Value: traffic.Sends}
	onlySent = query.Filter{Column: traffic.Side, Op: "=", Value: traffic.Sends}
)

func (w *work) linkTo(k workKind) func(string) string {
	return func(name string) string { return w.page(k, name) }
}

func (v *serviceView) facts(ctx context.Context) ([]views.WorkFact, error) {
	all, err := v.run(ctx, v.ask(nil, append(calculations("P50", "P95", "P99"), countFailures), v.entering()...), 1, calculationNamed("COUNT"), false)
	if err != nil {
		return nil, err
	}
	n, fails := 0.0, 0.0
	var run views.WorkSpread
	for _, g := range all.Results {
		n, _ = numberOf(g.Data["COUNT"])
		run = spreadText(spreadOf(g, "duration_ms"))
		fails = sumOf(g, countFailures)
	}
	count := views.WorkFact{Name: "Requests, messages and jobs", Value: views.FormatNumber(n), Note: rateOf(n, v.window.length())}
	if st := v.ask([]string{"name"}, calculations(), v.entering()...); n > 0 {
		count.URL = st.address(nil)
	}
	fail := views.WorkFact{Name: "Failed", Value: views.FormatNumber(fails)}
	if fails > 0 {
		st := v.ask([]string{"name", "exception.type"}, calculations(), v.entering(failed)...)
		fail.Warn, fail.Note, fail.URL = true, shareOf(fails, n), st.address(nil)
	}
	return []views.WorkFact{count, fail, {Name: "p50", Value: run.P50}, {Name: "p95", Value: run.P95}, {Name: "p99", Value: run.P99}}, nil
}

func (v *serviceView) charts(ctx context.Context) ([]views.ExploreChart, error) {
	step := bucketStep(v.window, maxChartBuckets)
	var spread, kinds *query.Result
	series := func(into **query.Result, st exploreState) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			spec := st.bound()
			spec.Granularity = &step
			*into, err = v.store.Query(ctx, spec)
			return err
		}
	}
	heat := query.Calculation{Op: "HEATMAP", Column: "duration_ms"}
	err := askAll(ctx, series(&spread, v.ask(nil, []query.Calculation{heat}, v.entering()...)),
		series(&kinds, v.ask([]string{"span.kind"}, append(calculations(), countFailures), v.entering()...)))
	if err != nil {
		return nil, err
	}
	axis := chartTime(v.window, step)
	lines := []rateLine{{kinds, "span.kind", "server", "COUNT", "requests", "Service--0"}, {kinds, "span.kind", "consumer", "COUNT", "messages and jobs", "Service--2"}}
	for i, kind := range []string{"internal", "client", "producer", "unspecified"} { // of a service that only begins work
		lines = append(lines, rateLine{kinds, "span.kind", kind, "COUNT", kind, "Service--" + strconv.Itoa(4+i)})
	}
	chart := rateChart(axis, step, append(lines, rateLine{kinds, "", "", failuresName, "failed", "Work--failed"})...)
	h := heatmap("chart-0", heat, spread, axis)
	h.Title = "How long they took"
	out := []views.ExploreChart{{Line: chart}}
	if len(h.Cells) > 0 {
		out = append(out, views.ExploreChart{Heat: h})
	}
	return out, nil
}

// part is one table of what the service does, by a column.
func (v *serviceView) part(ctx context.Context, title, unit, column string, filters []query.Filter, link func(string) string) (views.WorkParts, error) {
	p := views.WorkParts{Title: title, Unit: unit}
	groups := []string{column}
	measures := append(calculations("P50", "P95", "P99"), countFailures)
	if unit == "Sent" {
		measures = v.counting(measures)
	}
	all, err := v.run(ctx, v.ask(groups, measures, filters...), maxServiceRows, calculationNamed("COUNT"), false)
	if err != nil {
		return p, err
	}
	list := slices.Clone(all.Results)
	if column == traffic.Class {
		list = oneClassEach(list)
	}
	for _, x := range list {
		name, missing := valueText(x.Data[column])
		n := sentOf(x)
		r := views.WorkPart{Name: shown(name), Count: views.FormatNumber(n), Rate: rateOf(n, v.window.length()), Failed: "0", Run: spreadText(spreadOf(x, "duration_ms"))}
		switch {
		case missing:
			r.Name = "(no name)"
		case link != nil:
			r.URL = link(name)
		default:
			st := v.ask(nil, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...), append(slices.Clone(filters), equals(column, name))...)
			st.Tab = tabTraces
			r.URL = st.address(nil)
		}
		if f := sumOf(x, countFailures); f > 0 {
			r.Failing, r.Failed = true, views.FormatNumber(f)
		}
		p.Rows = append(p.Rows, r)
	}
	if all.Other != nil {
		p.Note = fmt.Sprintf("the %d most frequent", maxServiceRows)
	}
	return p, nil
}

// oneClassEach shares out the groups of what sent jobs of several classes in one go.
// How long that took is told of the first alone.
func oneClassEach(groups []query.Group) []query.Group {
	var out []query.Group
	for _, g := range groups {
		names := traffic.Classes(textOf(g.Data[traffic.Class]))
		if names == nil {
			names = []string{textOf(g.Data[traffic.Class])}
		}
		spans, _ := numberOf(g.Data["COUNT"])
		for _, name := range names {
			n := spans
			if len(names) == 1 {
				n = sentOf(g)
			}
			i := slices.IndexFunc(out, func(o query.Group) bool { return textOf(o.Data[traffic.Class]) == name })
			if i < 0 {
				i = len(out)
				out = append(out, query.Group{Data: maps.Clone(g.Data)})
				out[i].Data[sentName] = 0.0
				if name != "" {
					out[i].Data[traffic.Class] = name
				}
			}
			out[i].Data[sentName] = sentOf(out[i]) + n
		}
	}
	slices.SortStableFunc(out, func(a, b query.Group) int { return cmp.Compare(sentOf(b), sentOf(a)) })
	return out
}

// callers are who calls the service, and whom it calls.
func (v *serviceView) callers(ctx context.Context) (by, calls views.WorkParts, err error) {
	by = views.WorkParts{ID: "service-part-2", Title: "Called by", Unit: "Calls"}
	calls = views.WorkParts{ID: "service-part-3", Title: "Calls", Unit: "Calls"}
	res, err := v.calls(ctx)
	if err != nil {
		return by, calls, err
	}
	if res.Every > 1 {
		by.Note = fmt.Sprintf("from one of %d traces", res.Every)
		calls.Note = by.Note
	}
	for i := range res.Calls {
		x := &res.Calls[i]
		into, other := &by, x.Caller
		switch v.name {
		case x.Callee:
		case x.Caller:
			into, other = &calls, x.Callee
		default:
			continue
		}
		r := views.WorkPart{Name: shown(other), Class: views.ServiceClass(other), URL: v.serviceLink(other), Count: views.FormatNumber(x.Count), Rate: rateOf(x.Count, v.window.length()),
			Failed: views.FormatNumber(x.Errors), Failing: x.Errors > 0, Run: spreadText(&spread{x.P50, x.P95, x.P99})}
		if other == "" {
			r.Name, r.URL = "(no service name)", ""
		}
		into.Rows = append(into.Rows, r)
	}
	return by, calls, nil
}

// elsewhere says when the service was seen last.
func (v *serviceView) elsewhere(ctx context.Context) (*views.WorkTeach, error) {
	st := v.ask(nil, calculations(), v.of()...)
	empty, err := v.emptyAnswer(ctx, &st)
	if err != nil {
		return nil, err
	}
	t := &views.WorkTeach{Newest: empty.Newest}
	if !empty.Newest.IsZero() {
		t.Links = v.windowsWith("/services/"+url.PathEscape(v.name), empty.Newest)
	}
	if v.environment != "" {
		all := *v.work
		all.environment = ""
		t.Links = append(t.Links, views.ExploreLink{Label: "In all environments", URL: all.serviceLink(v.name)})
	}
	return t, nil
}
