package handlers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/query"
	"redthread/tracestore/traffic"
	"redthread/views"
)

const (
	// maxWorkRows is how many topics or classes one page lists; the rest is found
	// by a search or on further pages.
	maxWorkRows = 100
	// maxRowEnds is how many producers or consumers a line of the list names.
	maxRowEnds = 3
)

func (s *Server) listMessages(c echo.Context) error { return s.listWork(c, topics) }
func (s *Server) listJobs(c echo.Context) error     { return s.listWork(c, classes) }
func (s *Server) listQueues(c echo.Context) error   { return s.listWork(c, queues) }

// workSorts order the list, each with the order that is asked for first.
var workSorts = map[string]func(a, b *workStat) int{
	"handled": func(a, b *workStat) int { return cmp.Compare(b.Handled, a.Handled) },
	"sent":    func(a, b *workStat) int { return cmp.Compare(b.Sent, a.Sent) },
	"failed":  func(a, b *workStat) int { return cmp.Compare(b.Failed, a.Failed) },
	"name":    func(a, b *workStat) int { return cmp.Compare(a.Name, b.Name) },
	"p95":     func(a, b *workStat) int { return cmp.Compare(b.RunMS.p95(), a.RunMS.p95()) },
	"time":    func(a, b *workStat) int { return cmp.Compare(b.Handled*b.RunMS.p50(), a.Handled*a.RunMS.p50()) },
	"wait":    func(a, b *workStat) int { return cmp.Compare(b.WaitMS.p95(), a.WaitMS.p95()) },
}

func (s *spread) p50() float64 {
	if s == nil {
		return -1
	}
	return s.P50
}

func (s *spread) p95() float64 {
	if s == nil {
		return -1
	}
	return s.P95
}

// listWork answers the list of topics, queues or classes.
func (s *Server) listWork(c echo.Context, k workKind) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	title := strings.ToUpper(k.nouns[:1]) + k.nouns[1:]
	p, err := s.page(c, title, views.SectionServices)
	if err != nil {
		return err
	}
	stats, notes, err := w.list(ctx, k)
	if err != nil {
		return fmt.Errorf("list %s: %w", k.nouns, err)
	}
	q := c.QueryParams()
	m := views.WorkList{Page: p, Nav: w.nav(k.path), Title: title, Noun: k.noun, Nouns: k.nouns, Window: windowLabel(w.window), Now: s.Now(), Notes: notes,
		Jobs: k.jobs, Search: cleanText(q.Get("q")), Action: k.path, HasWaits: len(w.words.Waits()) > 0, HasTries: w.tries(k), All: len(stats)}
	m.Page.Styles, m.Page.Wide = []string{"css/explore.css", "css/home.css", "css/work.css"}, true
	keep := url.Values{}
	if m.Search != "" {
		keep.Set("q", m.Search)
		needle := strings.ToLower(m.Search)
		stats = slices.DeleteFunc(stats, func(x workStat) bool { return !strings.Contains(strings.ToLower(x.Name), needle) })
	}
	order := q.Get("sort")
	if workSorts[order] == nil {
		if order != "" {
			m.Notes = append(m.Notes, "There is no order “"+shown(cleanText(order))+"”: sort by "+wordList(slices.Sorted(maps.Keys(workSorts)))+".")
		}
		order = "handled"
	}
	if row := q.Get("from_row"); row != "" && positive(row) == 0 && row != "0" {
		m.Notes = append(m.Notes, "“"+shown(cleanText(row))+"” is no number of a row: this is the first page.")
	}
	if order != "handled" {
		keep.Set("sort", order)
	}
	slices.SortStableFunc(stats, func(a, b workStat) int { return workSorts[order](&a, &b) })
	m.Found = len(stats)
	from := min(positive(q.Get("from_row")), max(len(stats)-1, 0)/maxWorkRows*maxWorkRows) // the last page at most
	shown := stats[from:min(from+maxWorkRows, len(stats))]
	params := func(more ...string) []string {
		list := []string{}
		for name, v := range keep {
			list = append(list, name, v[0])
		}
		return append(list, more...)
	}
	if rest := from + len(shown); rest < len(stats) {
		m.NextURL = w.link(k.path, params("from_row", fmt.Sprint(rest))...)
	}
	if from > 0 {
		m.FirstURL = w.link(k.path, params()...)
		m.From = from
	}
	m.Columns = w.workColumns(k, order, keep)
	m.Page.Scope = pickers(w.names, w.environment, w.window, keep)
	m.Kept = append(m.Kept, w.keptParams()...)
	sparks, err := w.listSparks(ctx, k, shown)
	if err != nil {
		return fmt.Errorf("rates of %s: %w", k.nouns, err)
	}
	for i := range shown {
		m.Rows = append(m.Rows, w.listRow(k, &shown[i], sparks))
	}
	if len(stats) == 0 && m.Search == "" {
		if m.Teach, err = w.teach(ctx, k, s); err != nil {
			return err
		}
	}
	return render(c, http.StatusOK, views.WorkListPage(m))
}

// keptParams are the window and the environment as parameters of a form.
func (w *work) keptParams() []views.ExploreParam {
	q := url.Values{}
	if w.environment != "" {
		q.Set(paramEnvironment, w.environment)
	}
	if w.window.Range != defaultExploreRange {
		w.window.values(q)
	}
	return paramsOf(q)
}

// workColumns heads the list; each column orders by itself.
func (w *work) workColumns(k workKind, order string, keep url.Values) []views.WorkColumn {
	handled := "Handled"
	if k.jobs {
		handled = "Runs"
	}
	list := []views.WorkColumn{{Name: strings.ToUpper(k.noun[:1]) + k.noun[1:], Sort: "name"}, {Name: "Sent by"}, {Name: "Handled by"}, {Name: "Sent", Sort: "sent", Number: true},
		{Name: handled, Sort: "handled", Number: true}, {Name: "Rate over time", Hidden: true}, {Name: "Failed", Sort: "failed", Number: true}}
	if w.tries(k) {
		list = append(list, views.WorkColumn{Name: "Retries", Number: true})
	}
	list = append(list, views.WorkColumn{Name: "Run p50", Number: true}, views.WorkColumn{Name: "p95", Sort: "p95", Number: true}, views.WorkColumn{Name: "p99", Number: true})
	if len(w.words.Waits()) > 0 {
		list = append(list, views.WorkColumn{Name: "Wait p50", Number: true}, views.WorkColumn{Name: "p95", Sort: "wait", Number: true})
	}
	for i := range list {
		if list[i].Sort == "" {
			continue
		}
		list[i].Sorted = list[i].Sort == order
		params := []string{"sort", list[i].Sort}
		if q := keep.Get("q"); q != "" {
			params = append(params, "q", q)
		}
		list[i].URL = w.link(k.path, params...)
	}
	return list
}

// listSparks are the rates over time of the lines that are shown.
func (w *work) listSparks(ctx context.Context, k workKind, shown []workStat) (map[string][]float64, error) {
	var names []any
	for i := range shown {
		if shown[i].Name != "" {
			names = append(names, shown[i].Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	st := w.ask([]string{k.column}, calculations(), w.sided(k.jobs, query.Filter{Column: traffic.Side, Op: "!=", Value: traffic.Sends},
		query.Filter{Column: k.column, Op: "in", Value: names})...)
	res, err := w.run(ctx, st, maxWorkRows, calculationNamed("COUNT"), true)
	if err != nil {
		return nil, err
	}
	return sparks(res, chartTime(w.window, w.step()), "COUNT", k.column), nil
}

func (w *work) listRow(k workKind, x *workStat, sparks map[string][]float64) views.WorkRow {
	r := views.WorkRow{Name: shown(x.Name), Systems: strings.Join(x.Systems, ", "), Sent: views.FormatNumber(x.Sent), Handled: views.FormatNumber(x.Handled),
		Rate: rateOf(x.Handled, w.window.length()), Failed: "0", Producers: w.rowEnds(x.Producers), Consumers: w.rowEnds(x.Consumers)}
	r.MoreProducers, r.MoreConsumers = max(len(x.Producers)-maxRowEnds, 0), max(len(x.Consumers)-maxRowEnds, 0)
	if x.Name != "" {
		r.URL = w.page(k, x.Name)
	} else {
		st := w.ask([]string{"service.name", "name"}, w.spreadCalculations(), w.sided(k.jobs, query.Filter{Column: k.column, Op: "does-not-exist"})...)
		r.URL = st.address(nil)
	}
	if x.Failed > 0 {
		r.HasFailed, r.Failed, r.Share = true, views.FormatNumber(x.Failed), shareOf(x.Failed, x.Handled)
		st := w.ask([]string{"service.name", "exception.type"}, calculations(), w.sided(k.jobs, equals(k.column, nameOrNil(x.Name)), failed)...)
		st.Tab = tabTraces
		r.FailedURL = st.address(nil)
	}
	r.Retried = missingText
	if x.Retried != nil {
		r.Retried = views.FormatNumber(*x.Retried)
	}
	r.Run, r.Wait = spreadText(x.RunMS), spreadText(x.WaitMS)
	key := groupKey(map[string]any{k.column: x.Name}, []string{k.column})
	r.Spark = views.Spark{Values: sparks[key], Label: "rate of " + shown(x.Name) + " over time"}
	return r
}

func nameOrNil(name string) any {
	if name == "" {
		return nil
	}
	return name
}

func (w *work) rowEnds(list []workEnd) []views.WorkService {
	var out []views.WorkService
	for _, e := range list[:min(len(list), maxRowEnds)] {
		out = append(out, w.service(e))
	}
	return out
}

// service is a service as pages name it.
func (w *work) service(e workEnd) views.WorkService {
	name := e.Service
	v := views.WorkService{Name: shown(name), Class: views.ServiceClass(name), Count: views.FormatNumber(e.Count), URL: w.serviceLink(name)}
	if name == "" {
		v.Name, v.URL = "(no service name)", ""
	}
	return v
}

func spreadText(s *spread) views.WorkSpread {
	if s == nil {
		return views.WorkSpread{P50: missingText, P95: missingText, P99: missingText}
	}
	f := func(ms float64) string { return views.FormatUnit(ms, views.UnitMilliseconds) }
	return views.WorkSpread{P50: f(s.P50), P95: f(s.P95), P99: f(s.P99), Known: true}
}

// positive reads a whole number, 0 if it is none.
func positive(text string) int {
	n := 0
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
		return 0
	}
	return max(n, 0)
}
