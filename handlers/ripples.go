package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/views"
)

// Orders of the Ripples page.
const (
	sortBiggest = "biggest"
	sortGrowing = "growing"
	sortLongest = "longest"
	sortFailing = "failing"
)

const (
	// rippleLines is how many endpoints a page of them has.
	rippleLines = 100
	// rippleThreads is how many single threads are listed.
	rippleThreads = 10
	// rippleBuckets is how many parts of time the small charts have at most.
	rippleBuckets = 60
	// ripplesKept is for how long a counted time is shown again.
	ripplesKept = 10 * time.Second
	// maxRipplesKept bounds the reports that are kept (a few MB each where there
	// are thousands of endpoints).
	maxRipplesKept = 16
)

// ripplesState is what the address of the Ripples page says.
type ripplesState struct {
	window      timeWindow
	environment string
	sort        string
	find        string // only endpoints with this text
	line        int    // the first line of the page
	open        *graph.Endpoint
}

// Parameters of the Ripples page beside those of the pickers.
const (
	paramRippleSort    = "sort"
	paramRippleFind    = "find"
	paramRippleLine    = "line"
	paramRippleService = "service"
	paramRippleName    = "name"
	paramRippleIn      = "in" // the environment of the endpoint that is open
)

func readRipples(q url.Values, now time.Time) (ripplesState, error) {
	st := ripplesState{environment: q.Get(paramEnvironment), sort: q.Get(paramRippleSort), find: strings.TrimSpace(q.Get(paramRippleFind))}
	if st.environment == "*" {
		st.environment = ""
	}
	switch st.sort {
	case "":
		st.sort = sortBiggest
	case sortBiggest, sortGrowing, sortLongest, sortFailing:
	default:
		return st, &collab.InvalidError{Field: paramRippleSort, Message: "Sort by biggest, growing, longest or failing."}
	}
	if text := q.Get(paramRippleLine); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return st, &collab.InvalidError{Field: paramRippleLine, Message: "The line is a whole number from 0."}
		}
		st.line = n
	}
	if q.Has(paramRippleService) || q.Has(paramRippleName) {
		st.open = &graph.Endpoint{Environment: st.environment, Service: q.Get(paramRippleService), Name: q.Get(paramRippleName)}
		if q.Has(paramRippleIn) {
			st.open.Environment = q.Get(paramRippleIn)
		}
	}
	var err error
	if st.window, err = readWindow(q, defaultExploreRange, now); err != nil {
		return st, &collab.InvalidError{Field: paramWindow, Message: err.Error()}
	}
	return st, nil
}

// values is the state as an address says it.
func (st ripplesState) values() url.Values {
	q := url.Values{}
	if st.window.Range != defaultExploreRange {
		st.window.values(q)
	}
	if st.environment != "" {
		q.Set(paramEnvironment, st.environment)
	}
	if st.sort != sortBiggest {
		q.Set(paramRippleSort, st.sort)
	}
	if st.find != "" {
		q.Set(paramRippleFind, st.find)
	}
	if st.line > 0 {
		q.Set(paramRippleLine, strconv.Itoa(st.line))
	}
	if e := st.open; e != nil {
		q.Set(paramRippleService, e.Service)
		q.Set(paramRippleName, e.Name)
		if e.Environment != "" {
			q.Set(paramRippleIn, e.Environment)
		}
	}
	return q
}

// href is the address of the page in this state.
func (st ripplesState) href(path string) string {
	if q := st.values(); len(q) > 0 {
		return path + "?" + q.Encode()
	}
	return path
}

// query is what is asked of the graph.
func (st ripplesState) query() graph.RippleQuery {
	w := st.window
	step := bucketStep(w, rippleBuckets)
	buckets := int((w.length() + time.Duration(step)*time.Second - 1) / (time.Duration(step) * time.Second))
	return graph.RippleQuery{From: w.From.UnixNano(), To: w.To.UnixNano(), Before: w.From.Add(-w.length()).UnixNano(),
		Environment: st.environment, Buckets: min(max(buckets, 1), rippleBuckets), Threads: rippleThreads, Open: st.open}
}

// showRipples is the page of what was set off, by where it began.
func (s *Server) showRipples(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	st, err := readRipples(c.QueryParams(), s.Now())
	if err != nil {
		return err
	}
	report, err := s.ripples.report(ctx, s.Graph, st)
	if err != nil {
		return err
	}
	p, err := s.page(c, "Ripples", views.SectionThreads)
	if err != nil {
		return err
	}
	e := s.explorer()
	names, err := e.environments(ctx)
	if err != nil {
		return err
	}
	p.Styles, p.Wide = []string{"css/explore.css", "css/home.css", "css/ripples.css"}, true
	keep := st
	keep.line = 0
	p.Scope = pickers(names, st.environment, st.window, keep.values())
	m := ripplesView(report, st)
	m.Page, m.Now = p, s.Now()
	if report.Traces == 0 {
		if m.Empty, err = e.noRipples(ctx, st); err != nil {
			return err
		}
	}
	if report.Open != nil {
		deploys, err := e.deploys(ctx, st, report.Open)
		if err != nil {
			return fmt.Errorf("deploys of %s %s: %w", st.open.Service, st.open.Name, err)
		}
		m.Open = rippleOpen(report.Open, deploys, st)
	}
	return render(c, http.StatusOK, views.RipplesPage(m))
}

// noRipples says that nothing happened in the time, and when something did.
func (e explorer) noRipples(ctx context.Context, st ripplesState) (*views.ExploreEmpty, error) {
	h := home{explorer: e, window: st.window, environment: st.environment}
	asked := h.state(nil, calculations())
	empty, err := e.emptyAnswer(ctx, &asked)
	if err != nil {
		return nil, err
	}
	empty.Links = nil
	for _, r := range []string{"24h", "7d", "30d"} {
		d, _ := parseRange(r)
		if !empty.Newest.IsZero() && d > st.window.length() && empty.Newest.After(st.window.To.Add(-d)) && empty.Newest.Before(st.window.To) {
			wider := st
			wider.window, wider.line, wider.open = timeWindow{Range: r}, 0, nil
			empty.Links = append(empty.Links, views.ExploreLink{Label: "The last " + views.RangeLabel(r), URL: wider.href("/ripples")})
			break
		}
	}
	if st.environment != "" {
		all := st
		all.environment, all.line, all.open = "", 0, nil
		empty.Links = append(empty.Links, views.ExploreLink{Label: "In all environments", URL: all.href("/ripples")})
	}
	return empty, nil
}

// ripplesCache keeps what was counted for some seconds: counting reads each
// trace of the time, and whoever sorts or turns the page asks the same again.
type ripplesCache struct {
	mu   sync.Mutex
	kept map[string]*keptRipples
}

type keptRipples struct {
	busy   chan struct{} // holds one token; whoever has it may count
	at     time.Time
	report *graph.RippleReport
	slow   time.Time // until then it is known to take too long for other pages
}

// key says what is counted: the same relative range is the same for a while.
func (st ripplesState) key() string {
	only := ripplesState{window: st.window, environment: st.environment, open: st.open, sort: sortBiggest}
	return only.href("")
}

// of returns the place for a key.
func (c *ripplesCache) of(key string, now time.Time) *keptRipples {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.kept[key]; k != nil {
		return k
	}
	if len(c.kept) >= maxRipplesKept {
		oldest := ""
		for key, k := range c.kept {
			if oldest == "" || k.at.Before(c.kept[oldest].at) {
				oldest = key
			}
		}
		delete(c.kept, oldest)
	}
	if c.kept == nil {
		c.kept = map[string]*keptRipples{}
	}
	k := &keptRipples{busy: make(chan struct{}, 1), at: now}
	c.kept[key] = k
	return k
}

// report counts, or returns what was counted a moment ago. Those who ask the same
// at once wait for one count. Nothing of the report may be changed.
func (c *ripplesCache) report(ctx context.Context, g *graph.Graph, st ripplesState) (*graph.RippleReport, error) {
	k := c.of(st.key(), time.Now())
	select {
	case k.busy <- struct{}{}:
		defer func() { <-k.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	report, at := k.report, k.at
	c.mu.Unlock()
	if report != nil && time.Since(at) < ripplesKept {
		return report, nil
	}
	report, err := g.RipplesBetween(ctx, st.query())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	k.report, k.at = report, time.Now()
	c.mu.Unlock()
	return report, nil
}

const (
	// glanceTime is how long a page that shows a few ripples beside other things
	// waits for them, and glanceRest for how long it does not ask again after
	// that was too short.
	glanceTime = 400 * time.Millisecond
	glanceRest = time.Minute
)

// glance is report for a page that must not wait: nil if it would have to.
func (c *ripplesCache) glance(ctx context.Context, g *graph.Graph, st ripplesState) (*graph.RippleReport, error) {
	k := c.of(st.key(), time.Now())
	c.mu.Lock()
	report, at, slow := k.report, k.at, k.slow
	c.mu.Unlock()
	if time.Now().Before(slow) {
		if report != nil && time.Since(at) < glanceRest {
			return report, nil
		}
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, glanceTime)
	defer cancel()
	report, err := c.report(ctx, g, st)
	if errors.Is(err, context.DeadlineExceeded) {
		c.mu.Lock()
		k.slow = time.Now().Add(glanceRest)
		c.mu.Unlock()
		return nil, nil
	}
	return report, err
}

// sortRipples lists the endpoints that are looked for, in the order asked for.
func sortRipples(list []graph.RippleEndpoint, st ripplesState) []*graph.RippleEndpoint {
	find := strings.ToLower(st.find)
	var out []*graph.RippleEndpoint
	for i := range list {
		if e := &list[i]; find == "" || strings.Contains(strings.ToLower(e.Service+" "+e.Name), find) {
			out = append(out, e)
		}
	}
	var order func(a, b *graph.RippleEndpoint) int
	switch st.sort {
	case sortGrowing:
		order = func(a, b *graph.RippleEndpoint) int { return cmp.Compare(growth(b), growth(a)) }
	case sortLongest:
		order = func(a, b *graph.RippleEndpoint) int {
			return cmp.Or(cmp.Compare(min(b.Spreading, 1), min(a.Spreading, 1)), cmp.Compare(longestOf(b), longestOf(a)))
		}
	case sortFailing:
		order = func(a, b *graph.RippleEndpoint) int {
			return cmp.Or(cmp.Compare(b.Errors, a.Errors), cmp.Compare(b.Failed, a.Failed))
		}
	default:
		return out // as they come
	}
	slices.SortStableFunc(out, order)
	return out
}

func growth(e *graph.RippleEndpoint) int { return e.Effects() - e.Before.Effects() }

func longestOf(e *graph.RippleEndpoint) int64 {
	if e.Spreading == 0 {
		return 0
	}
	return e.Longest.LastEffectNano
}

// ripplesAnswer is the answer of GET /api/v1/ripples.
type ripplesAnswer struct {
	From   int64 `json:"from_unix_nano,string"`
	To     int64 `json:"to_unix_nano,string"`
	Before int64 `json:"before_unix_nano,string"`
	*graph.RippleReport
	Endpoints []*graph.RippleEndpoint `json:"endpoints"`
	Total     int                     `json:"total"` // endpoints before the limit
	Deploys   []deploy                `json:"deploys,omitempty"`
}

// maxRippleLimit is the most endpoints of one answer.
const maxRippleLimit = 10_000

// showRipplesJSON answers GET /api/v1/ripples.
func (s *Server) showRipplesJSON(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	st, err := readRipples(c.QueryParams(), s.Now())
	if err != nil {
		return err
	}
	limit, err := limitParam(c, rippleLines, maxRippleLimit)
	if err != nil {
		return err
	}
	report, err := s.ripples.report(ctx, s.Graph, st)
	if err != nil {
		return err
	}
	list := sortRipples(report.Endpoints, st)
	q := st.query()
	answer := ripplesAnswer{From: q.From, To: q.To, Before: q.Before, RippleReport: report, Total: len(list), Endpoints: []*graph.RippleEndpoint{}}
	list = list[min(st.line, len(list)):]
	answer.Endpoints = append(answer.Endpoints, list[:min(limit, len(list))]...)
	if report.Open != nil {
		if answer.Deploys, err = s.explorer().deploys(ctx, st, report.Open); err != nil {
			return err
		}
	}
	return c.JSON(http.StatusOK, answer)
}
