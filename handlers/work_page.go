package handlers

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/query"
	"redthread/tracestore/traffic"
	"redthread/views"
	"redthread/views/ui"
)

// Bounds of the tables of a page.
const (
	maxEndRows  = 30
	maxPartRows = 30
	maxRunRows  = 10
)

func (s *Server) showTopic(c echo.Context) error    { return s.showWork(c, topics) }
func (s *Server) showQueue(c echo.Context) error    { return s.showWork(c, queues) }
func (s *Server) showJobClass(c echo.Context) error { return s.showWork(c, classes) }

// What caused the runs takes longer than all the rest of a page, so it comes after
// it; where no script runs, a link leads to the page with all of it.
const (
	paramPart  = "part"
	partCauses = "causes"
	partAll    = "all"
)

// workPage asks about one topic, queue or class.
type workPage struct {
	*work
	kind workKind
	name string
	stat workStat
	// measured says that stat is known.
	measured bool
	// source, where there is one, is passed by every span of the name: a column that
	// is stored is read far quicker than one that is calculated.
	source []query.Filter
	// bulks says that spans may send jobs of this class among others.
	bulks bool
}

// showWork answers the page of a topic, a queue or a class.
func (s *Server) showWork(c echo.Context, k workKind) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	name := pathName(c)
	g := newWorkPage(w, k, name)
	if c.QueryParam(paramPart) == partCauses {
		m := views.WorkPage{Noun: k.noun, Jobs: k.jobs, Now: s.Now()}
		if err := g.fillCauses(ctx, &m); err != nil {
			return fmt.Errorf("causes of %s %q: %w", k.noun, name, err)
		}
		return render(c, http.StatusOK, views.WorkCauses(m))
	}
	p, err := s.page(c, name, views.SectionServices)
	if err != nil {
		return err
	}
	p.Styles = []string{"third_party/uPlot.min.css", "css/explore.css", "css/home.css", "css/work.css"}
	p.Scripts, p.Wide = []string{"third_party/uPlot.iife.min.js"}, true
	p.Scope = pickers(w.names, w.environment, w.window, url.Values{})
	m := views.WorkPage{Page: p, Nav: w.nav(k.path), Name: shown(name), Noun: k.noun, Jobs: k.jobs, Window: windowLabel(w.window), ListURL: w.link(k.path), Now: s.Now()}
	if err := g.fill(ctx, &m); err != nil {
		return fmt.Errorf("%s %q: %w", k.noun, name, err)
	}
	switch c.QueryParam(paramPart) {
	case partAll:
		if err := g.fillCauses(ctx, &m); err != nil {
			return fmt.Errorf("causes of %s %q: %w", k.noun, name, err)
		}
	default:
		path := k.path + "/" + url.PathEscape(name)
		m.CausesURL, m.AllURL = w.link(path, paramPart, partCauses), w.link(path, paramPart, partAll)
	}
	if m.Missing == nil {
		st := g.ask([]string{"service.name"}, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P50", "P95", "P99")...), g.handled()...)
		m.ExploreURL = st.address(nil)
		if m.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindQuery, QueryJSON: st.specJSON(), Title: name}); err != nil {
			return err
		}
	}
	return render(c, http.StatusOK, views.WorkShowPage(m))
}

func newWorkPage(w *work, k workKind, name string) *workPage {
	g := &workPage{work: w, kind: k, name: name}
	if g.bulks = k == classes && w.words.Bulks(); g.bulks {
		of := *w
		of.words = w.words.Of(name)
		g.work = &of
	}
	return g
}

// pathName is the name at the end of an address. One with a slash or the like comes
// escaped.
func pathName(c echo.Context) string {
	name := c.Param("name")
	if c.Request().URL.RawPath != "" {
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
	}
	return cleanText(name)
}

// of are the filters of this topic, queue or class.
func (g *workPage) of(more ...query.Filter) []query.Filter {
	return g.sided(g.kind.jobs, append(g.all(), more...)...)
}

// named are the filters of spans that are of this name alone, as those that handle it.
func (g *workPage) named() []query.Filter {
	return append(slices.Clone(g.source), equals(g.kind.column, g.name))
}

// all are the filters of all spans that have to do with it.
func (g *workPage) all() []query.Filter {
	if g.bulks {
		return []query.Filter{equals(traffic.IsClass, true)}
	}
	return g.named()
}

// findSource finds the source. There is none where several attributes have the name
// that do not stand on the same spans, as where different senders send the same.
func (g *workPage) findSource(ctx context.Context) error {
	list := g.words.Sources(g.kind.column, g.name)
	count := func(into *float64, filters ...query.Filter) func(context.Context) error {
		return func(ctx context.Context) error {
			res, err := g.run(ctx, g.ask(nil, calculations(), append(filters, query.Filter{Column: "span.kind", Op: "in", Value: g.kinds})...), 1, calculationNamed("COUNT"), false)
			if err == nil {
				*into = float64(res.Stats.RowsMatched)
			}
			return err
		}
	}
	all, both := make([]float64, len(list)), make([]float64, len(list))
	var asks []func(context.Context) error
	for i, f := range list {
		asks = append(asks, count(&all[i], f))
	}
	if err := askAll(ctx, asks...); err != nil {
		return err
	}
	best := slices.IndexFunc(all, func(n float64) bool { return n > 0 })
	if best < 0 {
		return nil
	}
	asks = asks[:0]
	for i, f := range list {
		if i != best && all[i] > 0 {
			asks = append(asks, count(&both[i], list[best], f))
		}
	}
	if err := askAll(ctx, asks...); err != nil {
		return err
	}
	for i := range list {
		if i != best && all[i] != both[i] {
			return nil
		}
	}
	g.source = list[best : best+1]
	return nil
}

// handled are the filters of the spans that handled it.
func (g *workPage) handled(more ...query.Filter) []query.Filter {
	side := traffic.Handles
	if g.stat.received {
		side = traffic.Receives
	}
	return g.sided(g.kind.jobs, append(append(g.named(), equals(traffic.Side, side)), more...)...)
}

// sent are the filters of the spans that sent it.
func (g *workPage) sent() []query.Filter {
	return g.of(query.Filter{Column: traffic.Side, Op: "=", Value: traffic.Sends})
}

// measure finds the numbers of the name, and whether there are any.
func (g *workPage) measure(ctx context.Context) (bool, error) {
	if g.measured {
		return true, nil
	}
	if err := g.findSource(ctx); err != nil {
		return false, err
	}
	stats, _, err := g.list(ctx, g.kind, g.all()...)
	at := slices.IndexFunc(stats, func(x workStat) bool { return x.Name == g.name }) // others may have been sent with it
	if err != nil || at < 0 {
		return false, err
	}
	g.stat, g.measured = stats[at], true
	return true, nil
}

func (g *workPage) fill(ctx context.Context, m *views.WorkPage) error {
	found, err := g.measure(ctx)
	if err != nil {
		return err
	}
	if !found {
		m.Missing, err = g.elsewhere(ctx)
		return err
	}
	m.Facts = g.facts()
	return askAll(ctx,
		func(ctx context.Context) (err error) { m.Charts, err = g.charts(ctx); return err },
		func(ctx context.Context) (err error) { m.Producers, err = g.ends(ctx, g.sent(), false); return err },
		func(ctx context.Context) (err error) { m.Consumers, err = g.ends(ctx, g.handled(), true); return err },
		func(ctx context.Context) (err error) { m.Parts, err = g.parts(ctx); return err },
		func(ctx context.Context) (err error) {
			m.Slowest, m.SlowestURL, err = g.runs(ctx, "slowest")
			return err
		},
		func(ctx context.Context) (err error) {
			m.Failed, m.FailedURL, err = g.runs(ctx, "", failed)
			return err
		},
	)
}

// fillCauses adds what set off the runs, how long they waited, and what was sent and
// not handled.
func (g *workPage) fillCauses(ctx context.Context, m *views.WorkPage) error {
	if any, err := g.measure(ctx); err != nil || !any {
		return err
	}
	var found *causes
	var said []string
	due := &dueWaits{}
	err := askAll(ctx,
		func(ctx context.Context) (err error) { m.Pending, err = g.pending(ctx); return err },
		func(ctx context.Context) (err error) { found, err = g.causesOf(ctx, g.handled()...); return err },
		func(ctx context.Context) (err error) {
			if g.stat.WaitMS != nil {
				said, err = g.waitNames(ctx)
			}
			return err
		},
		func(ctx context.Context) (err error) {
			if g.kind.jobs {
				due, err = g.dueWaits(ctx, g.ask(nil, calculations(), g.handled()...))
			}
			return err
		},
	)
	if err != nil {
		return err
	}
	if wait, ok := found.wait(g.runsWord()); ok {
		if g.kind.jobs { // a poll takes messages when they are there
			wait.How += ": a delay that was asked for is in it, and the pause before a retry"
			if len(due.queued) == 0 {
				wait.How += "; no span here says when it was due"
			}
		}
		m.Waits = append(m.Waits, wait)
	}
	m.Waits = append(m.Waits, due.rows(g.runsWord())...)
	if g.stat.WaitMS != nil {
		m.Waits = append(m.Waits, views.WorkWait{Spread: spreadText(g.stat.WaitMS), How: "as the senders measured it, in " + wordList(said), Of: "from all " + g.runsWord() + " that say it"})
	}
	if g.stat.Sent == 0 {
		m.Senders = g.senderRows(found)
	}
	m.Origins = g.originTable(found)
	return nil
}

// waitNames are the attributes that say how long these waited.
func (g *workPage) waitNames(ctx context.Context) ([]string, error) {
	all := g.words.Waits()
	used := make([]bool, len(all))
	var asks []func(context.Context) error
	for i, name := range all {
		asks = append(asks, func(ctx context.Context) error {
			res, err := g.run(ctx, g.ask(nil, calculations(), g.handled(query.Filter{Column: name, Op: "exists"})...), 1, calculationNamed("COUNT"), false)
			if err == nil {
				used[i] = res.Stats.RowsMatched > 0
			}
			return err
		})
	}
	err := askAll(ctx, asks...)
	var out []string
	for i, name := range all {
		if used[i] {
			out = append(out, name)
		}
	}
	return out, err
}

// runsWord is what is handled, in the plural.
func (g *workPage) runsWord() string {
	if g.kind.jobs {
		return "runs"
	}
	return "messages"
}

func wordList(list []string) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return list[0]
	}
	out := list[0]
	for _, x := range list[1 : len(list)-1] {
		out += ", " + x
	}
	return out + " or " + list[len(list)-1]
}

// facts are the numbers at the head of the page.
func (g *workPage) facts() []views.WorkFact {
	x := &g.stat
	length := g.window.length()
	handled := "Handled"
	if g.kind.jobs {
		handled = "Runs"
	}
	facts := []views.WorkFact{
		{Name: "Sent", Value: views.FormatNumber(x.Sent), Note: rateOf(x.Sent, length)},
		{Name: handled, Value: views.FormatNumber(x.Handled), Note: rateOf(x.Handled, length)},
	}
	for i, of := range [][]query.Filter{g.sent(), g.handled()} {
		counts := calculations()
		if i == 0 {
			counts = g.counting(counts)
		}
		if st := g.ask([]string{"service.name", "name"}, counts, of...); facts[i].Value != "0" {
			facts[i].URL = st.address(nil)
		}
	}
	bad := views.WorkFact{Name: "Failed", Value: views.FormatNumber(x.Failed)}
	if x.Failed > 0 {
		bad.Warn, bad.Note = true, shareOf(x.Failed, x.Handled)
		st := g.ask([]string{"exception.type"}, calculations(), g.handled(failed)...)
		bad.URL = st.address(nil)
	}
	facts = append(facts, bad)
	if x.Retried != nil && (g.kind.jobs || *x.Retried > 0) {
		again := views.WorkFact{Name: "Retries", Value: views.FormatNumber(*x.Retried)}
		if *x.Retried > 0 {
			st := g.ask([]string{"service.name", "name"}, calculations(), g.handled(equals(traffic.Retry, true))...)
			if x.repeated > 0 { // those that ran most often stand first
				st = g.ask([]string{traffic.Run}, calculations(), g.handled(query.Filter{Column: traffic.Run, Op: "exists"})...)
			}
			again.Note, again.URL = shareOf(*x.Retried, x.Handled), st.address(nil)
		}
		facts = append(facts, again)
	}
	run := spreadText(x.RunMS)
	facts = append(facts, views.WorkFact{Name: "Run time p50", Value: run.P50}, views.WorkFact{Name: "p95", Value: run.P95}, views.WorkFact{Name: "p99", Value: run.P99})
	return facts
}

// charts are the rates over time, and how run and wait times are spread.
func (g *workPage) charts(ctx context.Context) ([]views.ExploreChart, error) {
	calcs := []query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}
	if g.stat.WaitMS != nil {
		calcs = append(calcs, query.Calculation{Op: "HEATMAP", Column: traffic.WaitMS})
	}
	st := g.ask(nil, append(calcs, query.Calculation{Op: "COUNT"}), g.handled()...)
	rates := g.ask([]string{traffic.Side}, g.counting(append(calculations(), countFailures)), g.of()...)
	step := bucketStep(g.window, maxChartBuckets)
	var res, byside *query.Result
	series := func(into **query.Result, st exploreState) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			spec := st.bound()
			spec.Granularity = &step
			*into, err = g.store.Query(ctx, spec)
			return err
		}
	}
	if err := askAll(ctx, series(&res, st), series(&byside, rates)); err != nil {
		return nil, err
	}
	side, word := traffic.Handles, "handled"
	if g.stat.received {
		side = traffic.Receives
	}
	if g.kind.jobs {
		word = "run"
	}
	axis := chartTime(g.window, step)
	sent := "COUNT"
	if g.words.Bulks() {
		sent = sentName
	}
	out := []views.ExploreChart{{Line: rateChart(axis, step,
		rateLine{byside, traffic.Side, traffic.Sends, sent, "sent", "Service--0"},
		rateLine{byside, traffic.Side, side, "COUNT", word, "Service--2"},
		rateLine{byside, traffic.Side, side, failuresName, "failed", "Work--failed"})}}
	for i, c := range calcs {
		h := heatmap("chart-"+strconv.Itoa(i), c, res, axis)
		h.Title = "Run time"
		if c.Column == traffic.WaitMS {
			h.Title = "Wait before it began"
			h.Unit = views.UnitMilliseconds
		}
		if len(h.Cells) > 0 {
			out = append(out, views.ExploreChart{Heat: h})
		}
	}
	return out, nil
}

// rateLine is counts over time: of one group of an answer, or without a column of
// all its groups.
type rateLine struct {
	res           *query.Result
	column, value string
	count         string // the calculation
	label, class  string
}

// rateChart draws counts over time; groups without any are left out.
func rateChart(axis views.ChartTime, step int64, lines ...rateLine) *views.LineChart {
	chart := &views.LineChart{ID: "chart-rate", Alone: true, Title: "Spans per " + views.RangeLabel(formatRange(time.Duration(step)*time.Second)), Time: axis}
	for _, l := range lines {
		values, any := make([]float64, axis.Buckets), false
		for _, p := range l.res.Series {
			if got, _ := valueText(p.Data[l.column]); got != l.value && l.column != "" {
				continue
			}
			if b := bucketOf(p.Time, axis); b >= 0 {
				n, _ := numberOf(p.Data[l.count])
				values[b] += n
				any = any || n > 0
			}
		}
		if any {
			chart.Lines = append(chart.Lines, views.Line{Key: strconv.Itoa(len(chart.Lines)), Label: l.label, Class: l.class, Values: values})
		}
	}
	leaveOutCut(chart)
	return chart
}

// ends are who sends or who handles, by service and span.
func (g *workPage) ends(ctx context.Context, filters []query.Filter, grouped bool) ([]views.WorkEndRow, error) {
	groups := []string{"service.name", "name"}
	if grouped && !g.kind.jobs {
		groups = append(groups, traffic.Group)
	}
	measures := append(calculations("P50", "P95", "P99"), countFailures)
	if !grouped {
		measures = g.counting(measures)
	}
	all, err := g.run(ctx, g.ask(groups, measures, filters...), maxEndRows, calculationNamed("COUNT"), false)
	if err != nil {
		return nil, err
	}
	var out []views.WorkEndRow
	for _, x := range all.Results {
		service, missing := valueText(x.Data["service.name"])
		if missing {
			service = ""
		}
		n := sentOf(x)
		r := views.WorkEndRow{Service: g.service(workEnd{service, n}), Count: views.FormatNumber(n), Rate: rateOf(n, g.window.length()), Failed: "0",
			Run: spreadText(spreadOf(x, "duration_ms"))}
		r.Span, _ = valueText(x.Data["name"])
		if group, none := valueText(x.Data[traffic.Group]); !none {
			r.Group = group
		}
		if bad := sumOf(x, countFailures); bad > 0 {
			r.Failing, r.Failed = true, views.FormatNumber(bad)
		}
		st := g.ask(nil, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...),
			append(slices.Clone(filters), equals("service.name", x.Data["service.name"]), equals("name", x.Data["name"]))...)
		st.Tab = tabTraces
		r.URL = st.address(nil)
		out = append(out, r)
	}
	return out, nil
}

// parts are the classes of a queue, or the queues of a class.
func (g *workPage) parts(ctx context.Context) (views.WorkParts, error) {
	other, title := classes, "Job classes of this queue"
	switch {
	case !g.kind.jobs:
		return views.WorkParts{}, nil
	case g.kind == classes:
		other, title = queues, "Queues"
	}
	groups := []string{other.column}
	res, err := g.run(ctx, g.ask(groups, append(calculations("P50", "P95", "P99"), countFailures), g.handled()...), maxPartRows, calculationNamed("COUNT"), false)
	if err != nil {
		return views.WorkParts{}, err
	}
	parts := views.WorkParts{ID: "work-parts", Title: title, Unit: "Runs"}
	for _, x := range res.Results {
		name, missing := valueText(x.Data[other.column])
		if missing {
			continue
		}
		n, _ := numberOf(x.Data["COUNT"])
		p := views.WorkPart{Name: shown(name), URL: g.page(other, name), Count: views.FormatNumber(n), Rate: rateOf(n, g.window.length()), Failed: "0", Run: spreadText(spreadOf(x, "duration_ms"))}
		if bad := sumOf(x, countFailures); bad > 0 {
			p.Failing, p.Failed = true, views.FormatNumber(bad)
		}
		parts.Rows = append(parts.Rows, p)
	}
	return parts, nil
}

// runs are the slowest, or else the newest, of what was handled.
func (g *workPage) runs(ctx context.Context, order string, more ...query.Filter) ([]views.WorkRun, string, error) {
	return g.work.runs(ctx, order, g.handled(more...)...)
}

// runs are the slowest, or else the newest, spans that pass the filters.
func (w *work) runs(ctx context.Context, order string, filters ...query.Filter) ([]views.WorkRun, string, error) {
	st := w.ask(nil, append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...), filters...)
	st.Tab = tabTraces
	search := st.search()
	search.Order, search.Limit, search.Columns = order, maxRunRows, []string{"exception.type", "exception.message", "status_message"}
	found, err := w.store.Search(ctx, search)
	if err != nil {
		return nil, "", err
	}
	var out []views.WorkRun
	for i := range found.Rows {
		out = append(out, w.workRun(&found.Rows[i]))
	}
	return out, st.address(nil), nil
}

func (w *work) workRun(r *query.Row) views.WorkRun {
	id, span := r.TraceID.String(), r.SpanID.String()
	v := views.WorkRun{Service: w.service(workEnd{Service: r.Service}), Name: rowName(r.Name), URL: "/t/" + id + "/" + span, ThreadURL: "/thread/" + id + "?span=" + span,
		Duration: ui.Duration(r.DurationNano), Failed: r.Error, Start: time.Unix(0, r.StartUnixNano).UTC()}
	for _, x := range r.Values {
		if text, missing := valueText(x); !missing && text != "" && v.Problem == "" {
			v.Problem, _ = clipCell(text)
		}
	}
	return v
}

// percentText is a share as the width of a bar, of 100.
func percentText(part, whole float64) string {
	if whole <= 0 {
		return "0"
	}
	return strconv.FormatFloat(math.Round(min(part/whole, 1)*1000)/10, 'f', -1, 64)
}
