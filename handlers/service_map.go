package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/tracestore/traffic"
	"redthread/views"
)

// Parameters of the map's address.
const (
	paramFocus  = "focus"  // the id of a node
	paramThread = "thread" // a trace: only the thread it belongs to
	paramUnfold = "all"    // 1: draw every node, up to maxMapAll
)

// failingShare is the share of failures from which an edge is drawn as failing.
const failingShare = 0.02

// maxMapLabels is how many edges have their count beside them; the counts of more
// would stand on top of each other.
const maxMapLabels = 16

// showServices answers the service map.
func (s *Server) showServices(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	p, err := s.page(c, "Services", views.SectionServices)
	if err != nil {
		return err
	}
	p.Styles, p.Wide = []string{"css/explore.css", "css/home.css", "css/work.css"}, true
	q := c.QueryParams()
	v := &mapView{work: w, keep: url.Values{}, search: cleanText(q.Get("q")), focus: cleanText(q.Get(paramFocus)), unfold: q.Get(paramUnfold) == "1"}
	m := views.ServiceMap{Page: p, Nav: w.nav("/services"), Window: windowLabel(w.window), Search: v.search, Now: s.Now()}
	if id := cleanText(q.Get(paramThread)); id != "" {
		if v.graph, err = s.threadMap(ctx, id); err != nil {
			return err
		}
		v.thread = id
		m.Thread, m.ThreadURL = id, "/thread/"+url.PathEscape(id)
	} else if v.graph, err = w.serviceGraph(ctx); err != nil {
		return fmt.Errorf("service map: %w", err)
	}
	for name, on := range map[string]string{paramThread: v.thread, paramFocus: v.focus, paramUnfold: q.Get(paramUnfold), "q": v.search} {
		if on != "" {
			v.keep.Set(name, on)
		}
	}
	m.Page.Scope = pickers(w.names, w.environment, w.window, v.keep)
	if len(v.graph.Nodes) == 0 {
		st := w.state(nil, calculations())
		if m.Quiet, err = w.emptyAnswer(ctx, &st); err != nil {
			return err
		}
		if !m.Quiet.Newest.IsZero() {
			m.Quiet.Links = w.windowsWith("/services", m.Quiet.Newest)
		}
		return render(c, http.StatusOK, views.ServiceMapPage(m))
	}
	v.fill(&m)
	return render(c, http.StatusOK, views.ServiceMapPage(m))
}

// threadMap is the map of the thread that a trace belongs to.
func (s *Server) threadMap(ctx context.Context, text string) (*serviceGraph, error) {
	id, err := trace.ParseID(text)
	if err != nil {
		return nil, &query.InvalidError{Field: paramThread, Message: invalidWords(err)}
	}
	t, err := s.Graph.Thread(ctx, id)
	if errors.Is(err, graph.ErrNotFound) {
		return nil, echo.NewHTTPError(http.StatusNotFound, "No span of this trace has arrived, so there is no thread to draw.")
	}
	if err != nil {
		return nil, fmt.Errorf("thread of the map: %w", err)
	}
	return threadGraph(t), nil
}

// mapView lays out a map and says where its parts lead.
type mapView struct {
	*work
	graph                 *serviceGraph
	keep                  url.Values
	search, focus, thread string
	unfold                bool
	found                 map[string]bool
}

// address is the map's own, with some parameters changed: name and value in turn.
func (v *mapView) address(changes ...string) string {
	q := url.Values{}
	for name, x := range v.keep {
		q[name] = x
	}
	for i := 0; i+1 < len(changes); i += 2 {
		if q.Del(changes[i]); changes[i+1] != "" {
			q.Set(changes[i], changes[i+1])
		}
	}
	var params []string
	for name := range q {
		params = append(params, name, q.Get(name))
	}
	return v.link("/services", params...)
}

func (v *mapView) fill(m *views.ServiceMap) {
	g := v.graph
	var lost []string
	v.seek(m)
	if i, ok := g.at[v.focus]; ok && v.focus != "" {
		m.Focus = g.Nodes[i].title()
		g.keep(g.around(v.focus))
	} else if v.focus != "" {
		lost = append(lost, "The map has no node “"+shown(v.focus)+"” in this time: it is shown whole.")
	}
	if v.focus != "" || v.thread != "" || v.search != "" || v.unfold {
		m.AllURL, m.AllText = v.link("/services"), "Whole map"
		if v.focus == "" && v.thread == "" && v.search == "" {
			m.AllText = "Fold"
		}
	}
	m.Kept = append(m.Kept, v.keptParams()...)
	if v.thread != "" {
		m.Kept = append(m.Kept, views.ExploreParam{Name: paramThread, Value: v.thread})
	}
	v.tables(m) // of everything, folded or not
	most := maxMapNodes
	if v.unfold {
		most = maxMapAll
	}
	m.Notes = append(lost, g.fold(most, func(n *mapNode) bool { return v.found[n.ID] || n.ID == v.focus })...)
	if len(m.Notes) > len(lost) && !v.unfold {
		m.UnfoldURL = v.address(paramUnfold, "1")
	}
	if g.Every > 1 {
		m.Notes = append(m.Notes, fmt.Sprintf("Calls are counted in one of %d traces, chosen by their ids, and multiplied; services, messages and jobs are counted in full.", g.Every))
	}
	if g.WaitsOf > 0 {
		m.Notes = append(m.Notes, "Where senders do not measure it, waits are told from the newest "+views.FormatNumber(float64(g.WaitsOf))+" messages and jobs.")
	}
	v.draw(m)
}

// seek finds the nodes that the search means. A single one is shown with its
// neighbours.
func (v *mapView) seek(m *views.ServiceMap) {
	v.found = map[string]bool{}
	if v.search == "" {
		return
	}
	needle := strings.ToLower(v.search)
	var hits []*mapNode
	for i := range v.graph.Nodes {
		if n := &v.graph.Nodes[i]; strings.Contains(strings.ToLower(n.Name), needle) {
			hits = append(hits, n)
			v.found[n.ID] = true
		}
	}
	const most = 20
	switch {
	case len(hits) == 0:
		m.Missed = true
	case len(hits) == 1 && v.focus == "":
		v.focus = hits[0].ID
	case v.focus == "":
		for _, n := range hits[:min(len(hits), most)] {
			m.Found = append(m.Found, views.ExploreLink{Label: n.title(), URL: v.address(paramFocus, n.ID, "q", "")})
		}
	}
}

// title is the name of a node, also of one without.
func (n *mapNode) title() string {
	switch {
	case n.Name != "":
		return shown(n.Name)
	case n.Kind == mapService:
		return "(no service name)"
	}
	return n.short() + " · " + cmp.Or(shown(n.service), "(no service name)")
}

// short is the title where there is little room.
func (n *mapNode) short() string {
	if n.Name == "" && n.Kind != mapService {
		return "(no " + n.Kind + " named)"
	}
	return n.title()
}

// page is where a node leads.
func (v *mapView) pageOf(n *mapNode) string {
	switch {
	case len(n.Members) > 0 || n.Name == "":
		return ""
	case n.Kind == mapService:
		return v.serviceLink(n.Name)
	case n.Kind == mapTopic:
		return v.page(topics, n.Name)
	case v.thread != "": // a leg names the class of a job, or else its queue
		return v.link("/jobs", "q", n.Name)
	}
	return v.page(queues, n.Name)
}

// tables are the nodes and edges as text.
func (v *mapView) tables(m *views.ServiceMap) {
	g := v.graph
	length := v.window.length()
	rate := func(n float64) string {
		if v.thread != "" {
			return missingText
		}
		return rateOf(n, length)
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		r := views.MapRow{Name: n.title(), Kind: n.Kind, URL: v.pageOf(n), Count: views.FormatNumber(n.Count), Rate: rate(n.Count), Failed: views.FormatNumber(n.Errors),
			P95: milliText(n.P95MS), Wait: milliText(n.WaitMS), Sent: views.FormatNumber(n.Sent), FocusURL: v.address(paramFocus, n.ID, "q", "")}
		if v.thread != "" && n.Kind == mapQueue {
			r.Kind = "job" // see pageOf
		}
		if n.Errors > 0 {
			r.Failing, r.Share = true, shareOf(n.Errors, max(n.Count, n.Errors))
		}
		if n.Kind == mapService {
			r.Class = views.ServiceClass(n.Name)
			m.Services = append(m.Services, r)
		} else {
			m.Topics = append(m.Topics, r)
		}
	}
	const most = 500
	for i := range g.Edges[:min(len(g.Edges), most)] {
		e := &g.Edges[i]
		from, to := &g.Nodes[g.at[e.From]], &g.Nodes[g.at[e.To]]
		l := views.MapLine{From: from.title(), To: to.title(), Kind: edgeWord(e), Count: views.FormatNumber(e.Count), Rate: rate(e.Count), Failed: views.FormatNumber(e.Errors),
			P95: milliText(e.P95MS), Wait: milliText(e.WaitMS), URL: v.edgeURL(e, from, to), Inferred: e.Inferred}
		if from.Kind == mapService {
			l.FromClass = views.ServiceClass(from.Name)
		}
		if to.Kind == mapService {
			l.ToClass = views.ServiceClass(to.Name)
		}
		if e.Errors > 0 {
			l.Failing, l.Share = true, shareOf(e.Errors, max(e.Count, e.Errors))
		}
		m.Lines = append(m.Lines, l)
	}
}

func edgeWord(e *mapEdge) string {
	switch e.Kind {
	case mapSend:
		return "sends"
	case mapHandle:
		return "handled by"
	}
	return "calls"
}

func milliText(ms *float64) string {
	if ms == nil {
		return missingText
	}
	return views.FormatUnit(*ms, views.UnitMilliseconds)
}

// edgeURL leads to the traces behind an edge; "" where a query cannot say it. What
// the query says is long, so another address leads there.
func (v *mapView) edgeURL(e *mapEdge, from, to *mapNode) string {
	if v.thread != "" || len(from.Members)+len(to.Members) > 0 || e.Inferred || e.Kind == mapCall && !v.parents() {
		return ""
	}
	return v.link("/service-map/traces", "source", from.ID, "target", to.ID)
}

// parents reports whether queries know columns of a span's parent.
func (w *work) parents() bool {
	st := w.state(nil, calculations(), equals("parent.service.name", "x"))
	_, err := query.Compile(st.bound(), w.now())
	return err == nil
}

// showEdgeTraces leads to the traces behind an edge of the map.
func (s *Server) showEdgeTraces(c echo.Context) error {
	if c.QueryParam("source") == "" && c.QueryParam("target") == "" {
		return c.Redirect(http.StatusSeeOther, "/services") // where there are edges to choose from
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	from, fromName, ok := strings.Cut(cleanText(c.QueryParam("source")), ":")
	to, toName, okay := strings.Cut(cleanText(c.QueryParam("target")), ":")
	nodes := []string{mapService, mapTopic, mapQueue}
	for _, n := range []struct {
		kind, name *string
		end        string
	}{{&from, &fromName, handedTo}, {&to, &toName, sentBy}} {
		if kind, cut := strings.CutSuffix(*n.kind, n.end); cut && (kind == mapTopic || kind == mapQueue) {
			*n.kind, *n.name = kind, ""
		}
	}
	if !ok || !okay || !slices.Contains(nodes, from) || !slices.Contains(nodes, to) || from != mapService && to != mapService {
		return &query.InvalidError{Field: "source", Message: "Want the ids of two nodes of the map, as in service:web-uk."}
	}
	kind := mapCall
	switch {
	case to != mapService:
		kind = mapSend
	case from != mapService:
		kind = mapHandle
	}
	side := ""
	if kind == mapHandle {
		if side, err = w.takes(ctx, from == mapQueue, fromName, toName); err != nil {
			return fmt.Errorf("traces of %s and %s: %w", fromName, toName, err)
		}
	}
	return seeOther(c, w.edgeLink(kind, side, &mapNode{Kind: from, Name: fromName}, &mapNode{Kind: to, Name: toName}))
}

// takes is by which side of spans a service handles a topic or queue: that of single
// ones, where there are any, as on the map.
func (w *work) takes(ctx context.Context, jobs bool, topic, service string) (string, error) {
	st := w.ask([]string{traffic.Side}, calculations(), w.sided(jobs, equals(traffic.Topic, nameOrNil(topic)), notSent, equals("service.name", nameOrNil(service)))...)
	res, err := w.run(ctx, st, 10, calculationNamed("COUNT"), false)
	if err != nil {
		return "", err
	}
	for _, g := range res.Results {
		if textOf(g.Data[traffic.Side]) == traffic.Handles {
			return traffic.Handles, nil
		}
	}
	return traffic.Receives, nil
}

// edgeLink is the query for the traces behind an edge; side is that of its spans
// where something is handled.
func (w *work) edgeLink(kind, side string, from, to *mapNode) string {
	var st exploreState
	heat := append([]query.Calculation{{Op: "HEATMAP", Column: "duration_ms"}}, calculations("P95")...)
	switch kind {
	case mapCall:
		st = w.ask([]string{"name"}, heat, equals("parent.service.name", nameOrNil(from.Name)), equals("service.name", nameOrNil(to.Name)))
	case mapSend:
		st = w.ask([]string{"name"}, heat, w.sided(to.Kind == mapQueue, equals(traffic.Topic, nameOrNil(to.Name)), equals(traffic.Side, traffic.Sends), equals("service.name", nameOrNil(from.Name)))...)
	default:
		st = w.ask([]string{"name"}, heat, w.sided(from.Kind == mapQueue, equals(traffic.Topic, nameOrNil(from.Name)),
			equals(traffic.Side, side), equals("service.name", nameOrNil(to.Name)))...)
	}
	st.Tab = tabTraces
	return st.address(nil)
}

// draw lays the map out.
func (v *mapView) draw(m *views.ServiceMap) {
	g := v.graph
	edges := make([][2]int, len(g.Edges))
	top := 1.0
	for i, e := range g.Edges {
		edges[i] = [2]int{g.at[e.From], g.at[e.To]}
		top = max(top, e.Count)
	}
	l := layoutMap(len(g.Nodes), edges)
	const usual = 1000
	m.Width, m.Height, m.Wide = mapNumber(l.width), mapNumber(l.height), l.width > usual
	m.Huge = l.width > 2*usual
	for i := range g.Edges {
		e := &g.Edges[i]
		points := l.edges[i]
		if len(points) == 0 {
			continue
		}
		from, to := &g.Nodes[edges[i][0]], &g.Nodes[edges[i][1]]
		x := views.MapEdge{Path: mapCurve(points), Kind: e.Kind, Arrow: "call", URL: v.edgeURL(e, from, to), Red: v.thread != "", Inferred: e.Inferred,
			Width: mapNumber(1 + 2*math.Log1p(e.Count)/math.Log1p(top))}
		if e.Kind != mapCall {
			x.Arrow = "send"
		}
		x.Failing = e.Errors >= failingShare*e.Count && e.Errors > 0 && v.thread == ""
		switch {
		case x.Red:
			x.Arrow = "thread"
		case x.Failing:
			x.Arrow = "failing"
		}
		x.Title = fmt.Sprintf("%s %s %s: %s", from.title(), edgeWord(e), to.title(), v.countWord(e.Count))
		if e.P95MS != nil {
			x.Title += ", p95 " + milliText(e.P95MS)
		}
		if e.WaitMS != nil {
			x.Title += ", waited p95 " + milliText(e.WaitMS)
		}
		if e.Errors > 0 {
			x.Title += ", " + views.FormatNumber(e.Errors) + " failed"
		}
		if len(g.Edges) <= maxMapLabels {
			x.Label = v.countWord(e.Count)
			a, b := points[0], points[1]
			x.LabelX, x.LabelY = mapNumber((a.x+b.x)/2), mapNumber((a.y+b.y)/2-4)
		}
		m.Edges = append(m.Edges, x)
	}
	names := map[string][]string{} // by kind
	for i := range g.Nodes {
		if n := &g.Nodes[i]; len(n.Members) == 0 && n.Name != "" {
			names[n.Kind] = append(names[n.Kind], n.title())
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		box := v.box(n, l.nodes[i])
		box.Short = clipName(n.short(), sharedStart(names[n.Kind]), maxNodeRunes)
		m.Nodes = append(m.Nodes, box)
	}
}

// countWord is a count as a rate, but in a thread, which happened once.
func (v *mapView) countWord(n float64) string {
	if v.thread != "" {
		return "×" + views.FormatNumber(n)
	}
	return rateOf(n, v.window.length())
}

// maxNodeRunes is how much of a name fits into a node.
const maxNodeRunes = 20

func (v *mapView) box(n *mapNode, at mapPoint) views.MapNode {
	const text, name, fact, end = 14, 18, 35, mapNodeWidth - 12
	x := views.MapNode{X: mapNumber(at.x), Y: mapNumber(at.y), Kind: n.Kind, Name: n.title(), URL: v.pageOf(n), Members: len(n.Members),
		Found: v.found[n.ID], Middle: n.ID == v.focus, TextX: mapNumber(at.x + text), NameY: mapNumber(at.y + name), FactY: mapNumber(at.y + fact), WarnX: mapNumber(at.x + end)}
	if n.Kind == mapService {
		x.Class = views.ServiceClass(n.Name)
	}
	count := max(n.Count, n.Sent)
	x.Facts = v.countWord(count)
	if n.P95MS != nil {
		x.Facts += " · " + milliText(n.P95MS)
	}
	x.Title = fmt.Sprintf("%s %s: %s", n.Kind, n.title(), strings.Replace(x.Facts, "· ", "· p95 ", 1))
	if len(n.Members) > 0 {
		x.Title += "\n" + strings.Join(n.Members[:min(len(n.Members), 50)], "\n")
		x.URL = v.address(paramUnfold, "1")
	}
	if n.Errors > 0 {
		x.Failing, x.Failed = true, shareOf(n.Errors, max(n.Count, n.Errors))
		x.Title += ", " + views.FormatNumber(n.Errors) + " failed"
	}
	return x
}

// clipName shortens a name that is too long. What all names begin with goes first,
// then what stands in its middle: names of topics often differ in the last part only.
func clipName(s, start string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	lead := ""
	if rest, ok := strings.CutPrefix(s, start); ok && start != "" {
		if lead, r = "…", []rune(rest); len(r) < most {
			return lead + rest
		}
		most--
	}
	head := most / 2
	return lead + string(r[:head]) + "…" + string(r[len(r)-(most-1-head):])
}

// sharedStart is what several names begin with, whole parts of it.
func sharedStart(names []string) string {
	if len(names) < 2 {
		return ""
	}
	start := names[0]
	for _, n := range names[1:] {
		for !strings.HasPrefix(n, start) {
			start = start[:len(start)-1]
		}
	}
	return start[:strings.LastIndexAny(start, ".-_:/")+1]
}

// mapCurve is a path through points whose pieces begin and end level.
func mapCurve(points []mapPoint) string {
	var b strings.Builder
	b.WriteString("M" + mapNumber(points[0].x) + " " + mapNumber(points[0].y))
	for i := 1; i < len(points); i++ {
		p, q := points[i-1], points[i]
		if p.y == q.y {
			b.WriteString("H" + mapNumber(q.x))
			continue
		}
		half := (p.x + q.x) / 2
		b.WriteString("C" + mapNumber(half) + " " + mapNumber(p.y) + " " + mapNumber(half) + " " + mapNumber(q.y) + " " + mapNumber(q.x) + " " + mapNumber(q.y))
	}
	return b.String()
}

func mapNumber(f float64) string { return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) }
