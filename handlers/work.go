package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"github.com/labstack/echo/v4"

	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/traffic"
	"redthread/views"
)

// workKind is a way to sort messages and jobs.
type workKind struct {
	column string // of the vocabulary
	jobs   bool
	path   string // of its pages
	noun   string
	nouns  string
}

var (
	topics  = workKind{traffic.Topic, false, "/messages", "topic", "topics"}
	queues  = workKind{traffic.Topic, true, "/queues", "queue", "queues"}
	classes = workKind{traffic.Class, true, "/jobs", "job class", "job classes"}
)

// work asks about the messages and jobs, the services and the calls of one window.
type work struct {
	home
	spans *tracestore.Store
	graph *graph.Graph
	words *traffic.Vocabulary
	kinds []any // the kinds of span that have a side
	names []string
}

// work reads the window and the environment of a request, and by what attributes
// its data tells of messages and jobs.
func (s *Server) work(ctx context.Context, c echo.Context) (*work, error) {
	q := c.QueryParams()
	win, err := readWindow(q, defaultExploreRange, s.Now())
	if err != nil {
		return nil, &query.InvalidError{Field: paramWindow, Message: err.Error()}
	}
	w := &work{home: home{explorer: s.explorer(), window: win, environment: q.Get(paramEnvironment)}, spans: s.Store, graph: s.Graph}
	if w.environment == "*" {
		w.environment = ""
	}
	during := w.state(nil, nil)
	if w.words, err = s.Store.Vocabulary(ctx, during.bound()); err != nil {
		return nil, fmt.Errorf("vocabulary: %w", err)
	}
	if w.names, err = w.explorer.environments(ctx); err != nil {
		return nil, err
	}
	w.kinds = []any{"consumer", "producer"}
	return w, w.findKinds(ctx)
}

// findKinds adds the kinds of span that senders use for messages and jobs beside
// consumer and producer. Nearly always there are none, and then the vocabulary has
// few rows to look at.
func (w *work) findKinds(ctx context.Context) error {
	var asks []func(context.Context) error
	var mu sync.Mutex
	for _, f := range w.words.Others() {
		asks = append(asks, func(ctx context.Context) error {
			st := w.state([]string{"span.kind"}, calculations(), f, query.Filter{Column: "span.kind", Op: "not-in", Value: []any{"consumer", "producer", "server"}})
			res, err := w.run(ctx, st, 10, calculationNamed("COUNT"), false)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, g := range res.Results {
				if kind, missing := valueText(g.Data["span.kind"]); !missing && !slices.Contains(w.kinds, any(kind)) {
					w.kinds = append(w.kinds, kind)
				}
			}
			return nil
		})
	}
	return askAll(ctx, asks...)
}

// askAll asks several questions at once and returns the first error.
func askAll(ctx context.Context, asks ...func(context.Context) error) error {
	errs := make([]error, len(asks))
	var wg sync.WaitGroup
	for i, ask := range asks {
		wg.Go(func() { errs[i] = ask(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sided are the filters of what has to do with messages, or with jobs. Filters by
// what is stored come first, as the rest is calculated for the rows that they leave.
func (w *work) sided(jobs bool, more ...query.Filter) []query.Filter {
	var list []query.Filter
	for _, f := range more {
		if !traffic.Calculated(f.Column) {
			list = append(list, f)
		}
	}
	list = append(list, query.Filter{Column: "span.kind", Op: "in", Value: w.kinds}, query.Filter{Column: traffic.IsJob, Op: "=", Value: jobs},
		query.Filter{Column: traffic.Side, Op: "exists"})
	for _, f := range more {
		if traffic.Calculated(f.Column) {
			list = append(list, f)
		}
	}
	return append(list, w.once()...)
}

// once leaves out what the parent tells too. It is asked only where that can be, as
// the parents have to be looked up.
func (w *work) once() []query.Filter {
	if !w.words.Nests() {
		return nil
	}
	return []query.Filter{{Column: traffic.Nested, Op: "=", Value: false}}
}

// ask is a query in the vocabulary, as the Explore page says it.
func (w *work) ask(groups []string, calculations []query.Calculation, filters ...query.Filter) exploreState {
	st := w.state(groups, calculations, filters...)
	names := slices.Clone(groups)
	for _, c := range calculations {
		names = append(names, c.Column)
	}
	for _, f := range filters {
		names = append(names, f.Column)
	}
	st.Spec.CalculatedFields = w.words.Fields(names...)
	// The store knows them by their names: addresses say only those of this page.
	st.implied = map[string]bool{}
	for _, f := range st.Spec.CalculatedFields {
		if st.implied[f.Name] = !w.words.Special(f.Name); st.implied[f.Name] {
			continue
		}
		st.Clauses[paramCalculated] = append(st.Clauses[paramCalculated], clause{Text: quoteColumn(f.Name) + " = " + f.Expression})
	}
	return st
}

// link is the address of a page of this window and environment.
func (w *work) link(path string, params ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	if w.environment != "" {
		q.Set(paramEnvironment, w.environment)
	}
	if w.window.Range != defaultExploreRange {
		w.window.values(q)
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// page is the address of one topic, queue or class.
func (w *work) page(k workKind, name string) string {
	return w.link(k.path + "/" + url.PathEscape(name))
}

// serviceLink is the address of a service's page.
func (w *work) serviceLink(name string) string { return w.link("/services/" + url.PathEscape(name)) }

// spread is how long things took, in milliseconds. Nil: none of them says.
type spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func spreadOf(g query.Group, column string) *spread {
	p50, ok := numberOf(g.Data["P50("+column+")"])
	if !ok {
		return nil
	}
	p95, _ := numberOf(g.Data["P95("+column+")"])
	p99, _ := numberOf(g.Data["P99("+column+")"])
	return &spread{p50, p95, p99}
}

// workStat measures one topic, queue or class. Counts are weighted by the sample
// rate.
type workStat struct {
	Name      string    `json:"name"` // "": the spans do not say
	Systems   []string  `json:"systems"`
	Sent      float64   `json:"sent"`
	Handled   float64   `json:"handled"`
	Failed    float64   `json:"failed"`
	Retried   *float64  `json:"retried"` // runs that were a further attempt, by what the senders say or by their ids; nil: not known
	RunMS     *spread   `json:"run_ms"`
	WaitMS    *spread   `json:"wait_ms"` // as the senders measured
	Producers []workEnd `json:"producers"`
	Consumers []workEnd `json:"consumers"`
	// received: nothing says that it was handled, only that it was taken in.
	received bool
	// repeated are those of Retried that are known by their ids.
	repeated float64
}

// workEnd is a service that sends or handles.
type workEnd struct {
	Service string  `json:"service"`
	Count   float64 `json:"count"`
}

// Sums beside the count of all.
var (
	countFailures = query.Calculation{Op: "SUM", Column: traffic.Failures}
	countRetries  = query.Calculation{Op: "SUM", Column: traffic.Retries}
)

// countSent counts what spans sent, which may be several jobs each.
var countSent = query.Calculation{Op: "SUM", Column: traffic.Jobs}

// sentName is the number of what was sent in an answer.
const sentName = "SUM(" + traffic.Jobs + ")"

// counting adds to calculations what counts the sent.
func (w *work) counting(list []query.Calculation) []query.Calculation {
	if w.words.Bulks() {
		list = append(list, countSent)
	}
	return list
}

// sentOf is how much spans of a group sent.
func sentOf(g query.Group) float64 {
	if n, ok := numberOf(g.Data[sentName]); ok {
		return n
	}
	n, _ := numberOf(g.Data["COUNT"])
	return n
}

// failuresName is the number of failures in an answer.
const failuresName = "SUM(" + traffic.Failures + ")"

// sumOf is a sum of a group, 0 if it has none.
func sumOf(g query.Group, c query.Calculation) float64 {
	n, _ := numberOf(g.Data[c.Op+"("+c.Column+")"])
	return n
}

// spreadCalculations measure how long things took and waited.
func (w *work) spreadCalculations() []query.Calculation {
	list := calculations("P50", "P95", "P99")
	if len(w.words.Waits()) > 0 {
		for _, op := range []string{"P50", "P95", "P99"} {
			list = append(list, query.Calculation{Op: op, Column: traffic.WaitMS})
		}
	}
	return list
}

// list measures all topics, queues or classes, those first that were handled most.
func (w *work) list(ctx context.Context, k workKind, only ...query.Filter) ([]workStat, []string, error) {
	var ends, sides *query.Result
	ask := func(into **query.Result, groups []string, calculations []query.Calculation) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			*into, err = w.run(ctx, w.ask(groups, calculations, w.sided(k.jobs, only...)...), query.MaxLimitNoSeries, calculationNamed("COUNT"), false)
			return err
		}
	}
	measures := append(w.spreadCalculations(), countFailures)
	if w.words.Tries() {
		measures = append(measures, countRetries)
	}
	err := askAll(ctx,
		ask(&ends, []string{k.column, traffic.Side, "service.name", "messaging.system"}, w.counting(calculations())),
		ask(&sides, []string{k.column, traffic.Side}, w.counting(measures)),
	)
	if err != nil {
		return nil, nil, err
	}
	t := workTable{kind: k, tries: w.tries(k), at: map[string]int{}}
	t.addSides(sides)
	t.addEnds(ends)
	if err := w.addRepeats(ctx, &t); err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(t.stats, func(a, b workStat) int {
		return cmp.Or(cmp.Compare(b.Handled, a.Handled), cmp.Compare(b.Sent, a.Sent), cmp.Compare(a.Name, b.Name))
	})
	var notes []string
	if ends.Other != nil || sides.Other != nil {
		notes = append(notes, fmt.Sprintf("There are more %s than can be listed: these are the %d with the most spans.", k.nouns, len(t.stats)))
	}
	return t.stats, notes, nil
}

// tries reports whether further attempts are told of a kind.
func (w *work) tries(k workKind) bool {
	return w.words.Tries() || k.jobs && w.words.Identifies()
}

// maxRepeated is up to how many runs it is counted how often one was tried again: the
// query language counts so many distinct values exactly.
const maxRepeated = 100_000

// addRepeats counts the further attempts of jobs whose senders do not tell: of runs
// with one id all but the first are. Only what failed is tried again.
func (w *work) addRepeats(ctx context.Context, t *workTable) error {
	var list []any
	for i := range t.stats {
		if x := &t.stats[i]; x.Failed > 0 && x.Name != "" && x.Retried != nil {
			list = append(list, x.Name)
		}
	}
	if !t.kind.jobs || !w.words.Identifies() || len(list) == 0 {
		return nil
	}
	runs, ids := query.Calculation{Op: "COUNT_DISTINCT", Column: "trace.span_id"}, query.Calculation{Op: "COUNT_DISTINCT", Column: traffic.Run}
	// Both are counted without the sample rate.
	st := w.ask([]string{t.kind.column}, []query.Calculation{{Op: "COUNT"}, runs, ids}, w.sided(true, query.Filter{Column: t.kind.column, Op: "in", Value: list},
		equals(traffic.Side, traffic.Handles), query.Filter{Column: traffic.Run, Op: "exists"})...)
	res, err := w.run(ctx, st, query.MaxLimitNoSeries, calculationNamed("COUNT"), false)
	if err != nil {
		return fmt.Errorf("further attempts: %w", err)
	}
	for _, g := range res.Results {
		stat := t.row(textOf(g.Data[t.kind.column]))
		if n := sumOf(g, runs); n > maxRepeated {
			stat.Retried = nil
		} else if stat.Retried != nil {
			stat.repeated = n - sumOf(g, ids)
			*stat.Retried += stat.repeated
		}
	}
	return nil
}

// workTable puts the answers of several queries together by name.
type workTable struct {
	kind  workKind
	tries bool // the senders tell attempts apart
	at    map[string]int
	stats []workStat
}

// named is how many of one name a group has.
type named struct {
	name string // "": the spans do not say
	n    float64
}

// of are the names of a group, its side, and how many it has of each: jobs of several
// classes may be sent in one go.
func (t *workTable) of(g query.Group) (list []named, side string) {
	name := textOf(g.Data[t.kind.column])
	side, _ = valueText(g.Data[traffic.Side])
	n, _ := numberOf(g.Data["COUNT"])
	if side != traffic.Sends {
		return []named{{name, n}}, side
	}
	if t.kind == classes {
		for _, class := range traffic.Classes(name) {
			if i := slices.IndexFunc(list, func(x named) bool { return x.name == class }); i >= 0 {
				list[i].n += n
				continue
			}
			list = append(list, named{class, n})
		}
	}
	if list == nil {
		list = []named{{name, sentOf(g)}}
	}
	return list, side
}

// row is that of a name, which may be new.
func (t *workTable) row(name string) *workStat {
	at, ok := t.at[name]
	if !ok {
		at = len(t.stats)
		t.at[name] = at
		t.stats = append(t.stats, workStat{Name: name, Systems: []string{}, Producers: []workEnd{}, Consumers: []workEnd{}})
		if t.tries {
			t.stats[at].Retried = new(float64)
		}
	}
	return &t.stats[at]
}

// addSides makes the rows. What was taken in counts as handled only where no span
// handles it by itself: the poll of a batch is no message.
func (t *workTable) addSides(res *query.Result) {
	for _, pass := range []string{traffic.Handles, traffic.Receives, traffic.Sends} {
		for _, g := range res.Results {
			list, side := t.of(g)
			if side != pass {
				continue
			}
			for _, x := range list {
				stat := t.row(x.name)
				switch {
				case side == traffic.Sends:
					stat.Sent += x.n
				case stat.Handled == 0:
					stat.Handled, stat.received = x.n, side == traffic.Receives
					stat.RunMS, stat.WaitMS = spreadOf(g, "duration_ms"), spreadOf(g, traffic.WaitMS)
					stat.Failed = sumOf(g, countFailures)
					if t.tries && side == traffic.Handles {
						*stat.Retried = sumOf(g, countRetries)
					}
				}
			}
		}
	}
}

// addEnds adds who sends and who handles, the busiest first.
func (t *workTable) addEnds(res *query.Result) {
	add := func(list []workEnd, service string, n float64) []workEnd {
		if i := slices.IndexFunc(list, func(e workEnd) bool { return e.Service == service }); i >= 0 {
			list[i].Count += n
			return list
		}
		return append(list, workEnd{service, n})
	}
	for _, g := range res.Results {
		list, side := t.of(g)
		for _, x := range list {
			at, ok := t.at[x.name]
			if !ok {
				continue
			}
			stat, service := &t.stats[at], textOf(g.Data["service.name"])
			if system, none := valueText(g.Data["messaging.system"]); !none && !slices.Contains(stat.Systems, system) {
				stat.Systems = append(stat.Systems, system)
			}
			if side == traffic.Sends {
				stat.Producers = add(stat.Producers, service, x.n)
			} else if (side == traffic.Receives) == stat.received {
				stat.Consumers = add(stat.Consumers, service, x.n)
			}
		}
	}
	for i := range t.stats {
		for _, list := range [][]workEnd{t.stats[i].Producers, t.stats[i].Consumers} {
			slices.SortStableFunc(list, func(a, b workEnd) int {
				return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Service, b.Service))
			})
		}
	}
}

// nav is the row of tabs above the pages of services, messages and jobs.
func (w *work) nav(here string) views.WorkNav {
	nav := views.WorkNav{}
	for _, t := range []struct{ label, path string }{{"Map", "/services"}, {"Messages", "/messages"}, {"Jobs", "/jobs"}, {"Queues", "/queues"}} {
		nav.Tabs = append(nav.Tabs, views.WorkTab{Label: t.label, URL: w.link(t.path), Current: t.path == here})
	}
	return nav
}
