package handlers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// card is the picture of one frozen copy.
type card struct {
	span   *views.SpanCard
	trace  *views.TraceCard
	thread *views.ThreadCard
	query  *views.QueryCard
	sides  []*card // of a comparison
}

// maxCards bounds the pictures that are kept: some hundred bytes to some tens
// of kilobytes each.
const maxCards = 1_000

// cardCache keeps the pictures of frozen copies by the hash of the copy, which
// never changes. When full it starts anew.
type cardCache struct {
	mu    sync.Mutex
	cards map[string]*card
}

func (c *cardCache) find(sum string) *card {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cards[sum]
}

func (c *cardCache) put(sum string, v *card) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cards == nil || len(c.cards) >= maxCards {
		c.cards = map[string]*card{}
	}
	c.cards[sum] = v
}

// frozenSpan is a span of a frozen copy, as appendSpanJSON wrote it.
type frozenSpan struct {
	SpanID     string `json:"span_id"`
	ParentID   string `json:"parent_span_id"`
	Name       string `json:"name"`
	Service    string `json:"service"`
	Kind       string `json:"kind"`
	Error      bool   `json:"error"`
	Start      int64  `json:"start_unix_nano,string"`
	Duration   int64  `json:"duration_nano,string"`
	Attributes map[string]json.RawMessage
	Status     struct{ Message string }
}

type frozenMeasures struct {
	Start     int64 `json:"start_unix_nano,string"`
	Duration  int64 `json:"duration_nano,string"`
	Spans     int
	Services  int
	Errors    int
	Truncated bool
}

func (m frozenMeasures) text() string {
	parts := []string{countWord(m.Spans, "span"), countWord(m.Services, "service")}
	if m.Errors > 0 {
		parts = append(parts, countWord(m.Errors, "error"))
	}
	return "trace of " + ui.Duration(m.Duration) + ", " + strings.Join(parts, ", ")
}

// drawCard draws a frozen copy.
func drawCard(kind collab.BlockKind, body []byte) (*card, error) {
	switch kind {
	case collab.KindSpan:
		c, err := drawSpan(body)
		return &card{span: c}, err
	case collab.KindTrace:
		c, err := drawTrace(body)
		return &card{trace: c}, err
	case collab.KindThread:
		c, err := drawThread(body)
		return &card{thread: c}, err
	case collab.KindQuery:
		c, err := drawQuery(body)
		return &card{query: c}, err
	case collab.KindComparison:
		return drawComparison(body)
	}
	return nil, fmt.Errorf("draw %s: no such evidence", kind)
}

// maxCardAttributes is how many attributes a span's card shows.
const maxCardAttributes = 8

// keyAttributes are shown first: what tells requests of one route apart.
var keyAttributes = []string{"http.route", "http.response.status_code", "http.status_code", "db.statement", "db.query.text", "messaging.destination.name",
	"messaging.destination", "user.id", "exception.type", "exception.message", "service.version", "deployment.id"}

func drawSpan(body []byte) (*views.SpanCard, error) {
	var f struct {
		Span  frozenSpan
		Path  []struct{ Name, Service string }
		Trace frozenMeasures
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("frozen span: %w", err)
	}
	s := &f.Span
	c := &views.SpanCard{Service: s.Service, Name: s.Name, DurationNano: s.Duration, Start: time.Unix(0, s.Start).UTC(), TraceText: f.Trace.text()}
	if s.Error {
		c.Error = cmp.Or(s.Status.Message, jsonAttribute(s.Attributes["exception.message"]), "error")
	}
	if f.Trace.Duration > 0 {
		c.Share = int(min(s.Duration*100/f.Trace.Duration, 100))
	}
	for _, p := range f.Path {
		c.Path = append(c.Path, p.Name)
	}
	if n := len(c.Path); n > 6 {
		c.Path = append([]string{c.Path[0], "…"}, c.Path[n-4:]...)
	}
	keys := make([]string, 0, len(s.Attributes))
	for k := range s.Attributes {
		keys = append(keys, k)
	}
	rank := func(k string) int {
		if i := slices.Index(keyAttributes, k); i >= 0 {
			return i
		}
		if strings.HasPrefix(k, "app.") {
			return len(keyAttributes)
		}
		if strings.HasPrefix(k, "telemetry.") || strings.HasPrefix(k, "process.") || strings.HasPrefix(k, "host.") || strings.HasPrefix(k, "otel.") {
			return len(keyAttributes) + 2
		}
		return len(keyAttributes) + 1
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	for i, k := range keys {
		if i == maxCardAttributes {
			c.More = len(keys) - i
			break
		}
		c.Attributes = append(c.Attributes, views.CardAttribute{Key: k, Value: clipRunes(jsonAttribute(s.Attributes[k]), 160)})
	}
	return c, nil
}

// jsonAttribute is an attribute's value as text.
func jsonAttribute(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func clipRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// drawComparison draws both sides.
func drawComparison(body []byte) (*card, error) {
	var f struct{ Sides []json.RawMessage }
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("frozen comparison: %w", err)
	}
	c := &card{}
	for _, side := range f.Sides {
		var head struct{ Kind collab.BlockKind }
		if err := json.Unmarshal(side, &head); err != nil {
			return nil, fmt.Errorf("frozen comparison: %w", err)
		}
		half, err := drawCard(head.Kind, side)
		if err != nil {
			return nil, err
		}
		c.sides = append(c.sides, half)
	}
	return c, nil
}

const (
	// maxTraceRows is how many rows a small waterfall has.
	maxTraceRows = 14
	// maxRowBars is how many bars stand in one row: beyond that they cover each
	// other.
	maxRowBars = 150
)

// spanRow is a row of a small waterfall: the spans of one name below one parent.
type spanRow struct {
	first *frozenSpan
	spans []*frozenSpan
	depth int
	total int64 // duration of all
	bad   bool
}

func drawTrace(body []byte) (*views.TraceCard, error) {
	var f struct {
		Trace frozenMeasures
		Spans []frozenSpan
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("frozen trace: %w", err)
	}
	c := &views.TraceCard{Text: f.Trace.text()}
	rows := spanRows(f.Spans)
	if len(rows) > maxTraceRows {
		c.Text += fmt.Sprintf("; the longest of %d rows drawn", len(rows))
		rows = longestRows(rows)
	}
	scale := scale{start: f.Trace.Start, length: max(f.Trace.Duration, 1)}
	for i := range rows {
		r := &rows[i]
		b := scale.bar(r.first.Start, r.first.Duration)
		for _, s := range r.spans[1:min(len(r.spans), maxRowBars)] {
			also := scale.bar(s.Start, s.Duration)
			b.Also = append(b.Also, views.BarPart{X: also.X, W: also.W})
		}
		b.Label, b.Note, b.Depth = shortName(r.first.Name), ui.Duration(r.first.Duration), min(r.depth, 6)
		b.Class, b.Error = views.ServiceClass(r.first.Service), r.bad
		b.Title = r.first.Service + ": " + r.first.Name + ", " + ui.Duration(r.first.Duration)
		if n := len(r.spans); n > 1 {
			b.Note = "×" + ui.Count(n) + " · " + ui.Duration(r.total)
			b.Title = fmt.Sprintf("%s: %s, %s times, %s in all", r.first.Service, r.first.Name, ui.Count(n), ui.Duration(r.total))
		}
		c.Bars = append(c.Bars, b)
	}
	return c, nil
}

// spanRows folds spans of one service and name below one parent into a row, in
// the order in which a waterfall shows them: below their parent, by their start.
func spanRows(spans []frozenSpan) []spanRow {
	children := map[string][]*frozenSpan{}
	known := make(map[string]bool, len(spans))
	for i := range spans {
		known[spans[i].SpanID] = true
	}
	for i := range spans {
		parent := spans[i].ParentID
		if !known[parent] || parent == spans[i].SpanID {
			parent = ""
		}
		children[parent] = append(children[parent], &spans[i])
	}
	var rows []spanRow
	walked := make(map[string]bool, len(spans)) // two spans may share an id, and parents may run in a circle
	var walk func(parents []*frozenSpan, depth int)
	walk = func(parents []*frozenSpan, depth int) {
		var below []*frozenSpan
		for _, p := range parents {
			id := ""
			if p != nil {
				id = p.SpanID
			}
			if !walked[id] {
				walked[id] = true
				below = append(below, children[id]...)
			}
		}
		slices.SortStableFunc(below, func(a, b *frozenSpan) int { return cmp.Compare(a.Start, b.Start) })
		at := map[[2]string]int{}
		var groups []spanRow
		for _, s := range below {
			k := [2]string{s.Service, s.Name}
			i, ok := at[k]
			if !ok {
				i = len(groups)
				at[k] = i
				groups = append(groups, spanRow{first: s, depth: depth})
			}
			groups[i].spans = append(groups[i].spans, s)
			groups[i].total += s.Duration
			groups[i].bad = groups[i].bad || s.Error
		}
		for _, g := range groups {
			rows = append(rows, g)
			walk(g.spans, depth+1)
		}
	}
	walk([]*frozenSpan{nil}, 0)
	return rows
}

// longestRows keeps the rows that take the most time, in their order.
func longestRows(rows []spanRow) []spanRow {
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order[1:], func(a, b int) int {
		return cmp.Or(-compareBool(rows[a].bad, rows[b].bad), cmp.Compare(rows[b].total, rows[a].total))
	})
	order = order[:maxTraceRows]
	slices.Sort(order)
	out := make([]spanRow, 0, maxTraceRows)
	for _, i := range order {
		out = append(out, rows[i])
	}
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// minBar is the least width of a bar, in thousandths: it has to be seen.
const minBar = 8

// scale maps times to the width of a picture.
type scale struct{ start, length int64 }

func (s scale) x(nano int64) int {
	f := float64(nano-s.start) / float64(s.length)
	return int(min(max(f, 0), 1) * views.PictureWidth)
}

func (s scale) bar(start, duration int64) views.CardBar {
	b := views.CardBar{X: s.x(start)}
	b.W = max(s.x(start+duration)-b.X, minBar)
	b.X = min(b.X, views.PictureWidth-b.W)
	return b
}

// maxNameRunes is how much of a name goes into the page; how much of it is seen
// is a matter of the picture's width.
const maxNameRunes = 80

// shortName is a name without what stands on every name of its sort:
// OpenTelemetry's words behind the name of a queue or a job, and the modules of
// a class.
func shortName(name string) string {
	for _, what := range []string{" process", " publish", " receive"} {
		name = strings.TrimSuffix(name, what)
	}
	if i := strings.LastIndex(name, "::"); i > 0 && i+2 < len(name) && !strings.Contains(name[:i], " ") {
		name = name[i+2:]
	}
	return clipRunes(name, maxNameRunes)
}

// maxThreadBars is how many groups of a thread's picture are drawn.
const maxThreadBars = 12

// pinGroup is one bar of a thread's picture: the nodes of one service and name
// that are equally far from their origin, from the begin of the first to the
// end of the last.
type pinGroup struct {
	first  graph.Node
	end    int64
	times  int
	errors int
	depth  int // how many causes stand before it
	parent int // index of the group that caused it, -1: none
}

// frozenThread is graph.Thread as JSON gives it back: kinds are text there.
type frozenThread struct {
	Nodes []frozenNode
	Edges []struct {
		From, To struct {
			TraceID trace.ID `json:"trace_id"`
		}
		Inferred bool
	}
	Ripple    graph.Ripple
	Truncated bool
}

type frozenNode struct {
	TraceID  trace.ID `json:"trace_id"`
	Service  string
	Name     string
	Start    int64 `json:"start_unix_nano,string"`
	Duration int64 `json:"duration_nano,string"`
	Spans    int
	Errors   int
}

func drawThread(body []byte) (*views.ThreadCard, error) {
	var f struct{ Thread frozenThread }
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("frozen thread: %w", err)
	}
	t := &f.Thread
	c := &views.ThreadCard{Text: rippleText(t.Ripple)}
	groups, inferred := groupThread(t)
	c.More = len(t.Nodes)
	if len(groups) == 0 {
		return c, nil
	}
	if len(groups) > maxThreadBars {
		groups = groups[:maxThreadBars]
	}
	first, last := groups[0].first.StartUnixNano, groups[0].end
	for i := range groups {
		first, last = min(first, groups[i].first.StartUnixNano), max(last, groups[i].end)
		c.More -= groups[i].times
	}
	sc := scale{start: first, length: max(last-first, 1)}
	for i := range groups {
		g := &groups[i]
		b := sc.bar(g.first.StartUnixNano, g.end-g.first.StartUnixNano)
		b.Label, b.Note, b.Title = shortName(g.first.Name), ui.Duration(g.first.DurationNano), g.title()
		b.Class, b.Error, b.Times = views.ServiceClass(g.first.Service), g.errors > 0, g.times
		if g.times > 1 {
			b.Note = "×" + ui.Count(int64(g.times))
		}
		c.Bars = append(c.Bars, b)
		if g.parent < 0 {
			continue
		}
		p := c.Bars[g.parent]
		x1, y1 := min(p.X+p.W, max(b.X, p.X)), g.parent*views.PictureRow+(views.PictureRow+views.BarHeight)/2
		y2 := i*views.PictureRow + views.PictureRow/2
		mid := (y1 + y2) / 2
		c.Edges = append(c.Edges, views.CardEdge{Inferred: inferred[i],
			D: fmt.Sprintf("M%d %d C%d %d %d %d %d %d", x1, y1, x1, mid, b.X-views.PictureMargin*2/3, y2, b.X, y2)})
	}
	return c, nil
}

// title is what the bar says when one points at it.
func (g *pinGroup) title() string {
	if g.times > 1 {
		return fmt.Sprintf("%s: %s, %s times in %s", g.first.Service, g.first.Name, ui.Count(int64(g.times)), ui.Duration(g.end-g.first.StartUnixNano))
	}
	return g.first.Service + ": " + g.first.Name + ", " + ui.Duration(g.first.DurationNano)
}

// groupThread folds nodes that are alike and equally far from their origin, in
// the order of their start; a group's cause is that of its first node. The map says which groups' edges are inferred.
func groupThread(t *frozenThread) ([]pinGroup, map[int]bool) {
	cause, guessed := map[trace.ID]trace.ID{}, map[trace.ID]bool{}
	for _, e := range t.Edges {
		if e.From.TraceID == e.To.TraceID {
			continue
		}
		if _, have := cause[e.To.TraceID]; !have {
			cause[e.To.TraceID], guessed[e.To.TraceID] = e.From.TraceID, e.Inferred
		}
	}
	nodes := slices.Clone(t.Nodes)
	slices.SortStableFunc(nodes, func(a, b frozenNode) int { return cmp.Compare(a.Start, b.Start) })
	type key struct {
		depth         int
		service, name string
	}
	var groups []pinGroup
	at, of := map[key]int{}, map[trace.ID]int{}
	inferred := map[int]bool{}
	for _, n := range nodes {
		parent, depth := -1, 0
		if from, ok := cause[n.TraceID]; ok {
			if i, ok := of[from]; ok {
				parent, depth = i, groups[i].depth+1
			}
		}
		k := key{depth, n.Service, n.Name}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			inferred[i] = guessed[n.TraceID]
			groups = append(groups, pinGroup{parent: parent, depth: depth, first: graph.Node{TraceID: n.TraceID, Service: n.Service, Name: n.Name,
				StartUnixNano: n.Start, DurationNano: n.Duration}})
		}
		g := &groups[i]
		of[n.TraceID] = i
		g.times++
		g.errors += n.Errors
		g.end = max(g.end, n.Start+n.Duration)
	}
	return groups, inferred
}

func rippleText(r graph.Ripple) string {
	parts := []string{countWord(r.Traces, "trace")}
	for _, p := range []struct {
		n    int
		noun string
	}{{r.Messages, "message"}, {r.Jobs, "job"}, {r.Requests, "request"}, {r.Errors, "error"}} {
		if p.n > 0 {
			parts = append(parts, countWord(p.n, p.noun))
		}
	}
	parts = append(parts, "trace time "+ui.Duration(r.BusyNano))
	return strings.Join(parts, " · ")
}

const (
	maxPinnedRows   = 8
	maxPinnedCharts = 2
	maxPinnedLines  = 6 // of a chart: more cannot be told apart
)

func drawQuery(body []byte) (*views.QueryCard, error) {
	var f struct {
		Query  query.Spec
		Result query.Result
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("frozen query: %w", err)
	}
	res := &f.Result
	reviveBuckets(res)
	st := &exploreState{Spec: f.Query}
	if f.Query.StartTime != nil && f.Query.EndTime != nil {
		st.Window = timeWindow{From: fromSeconds(*f.Query.StartTime), To: fromSeconds(*f.Query.EndTime)}
	}
	c := &views.QueryCard{Note: strings.Join(res.Warnings, " ")}
	if f.Query.Granularity != nil && *f.Query.Granularity > 0 && len(res.Series) > 0 && !st.Window.From.IsZero() {
		c.Charts = charts(st, res, *f.Query.Granularity)
		c.Charts = c.Charts[:min(len(c.Charts), maxPinnedCharts)]
		for _, ch := range c.Charts {
			if l := ch.Line; l != nil && len(l.Lines) > maxPinnedLines {
				l.Hidden += min(len(l.Lines), views.ServiceHues) - maxPinnedLines
				l.Lines = l.Lines[:maxPinnedLines]
			}
		}
	}
	calculations := st.calculations()
	for _, b := range f.Query.Breakdowns {
		c.Columns = append(c.Columns, views.QueryColumn{Name: b})
	}
	for _, k := range calculations {
		if k.Op != "HEATMAP" {
			c.Columns = append(c.Columns, views.QueryColumn{Name: k.Name(), Number: true})
		}
	}
	for i, g := range res.Results {
		if i == maxPinnedRows || len(c.Columns) == 0 {
			c.More = len(res.Results) - i
			break
		}
		row := make([]string, 0, len(c.Columns))
		for _, name := range f.Query.Breakdowns {
			text, _ := valueText(g.Data[name])
			row = append(row, clipRunes(text, 80))
		}
		for _, k := range calculations {
			if k.Op != "HEATMAP" {
				row = append(row, numberCell(g, k, nil).Text)
			}
		}
		c.Rows = append(c.Rows, row)
	}
	c.Text, c.From, c.To = ui.Count(res.Stats.RowsMatched)+" rows matched", st.Window.From.UTC(), st.Window.To.UTC()
	return c, nil
}

func fromSeconds(f float64) time.Time { return time.UnixMilli(int64(f * 1000)).UTC() }

// reviveBuckets makes the cells of heatmaps what they were before JSON.
func reviveBuckets(res *query.Result) {
	revive := func(data map[string]any) {
		for k, v := range data {
			list, ok := v.([]any)
			if !ok {
				continue
			}
			raw, err := json.Marshal(list)
			var buckets []query.Bucket
			if err == nil && json.Unmarshal(raw, &buckets) == nil {
				data[k] = buckets
			}
		}
	}
	for _, g := range res.Results {
		revive(g.Data)
	}
	for _, p := range res.Series {
		revive(p.Data)
	}
}
