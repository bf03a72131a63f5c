package handlers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/query"
	"redthread/tracestore/traffic"
)

// Kinds of nodes and edges of the service map.
const (
	mapService = "service"
	mapTopic   = "topic"
	mapQueue   = "queue"
	mapJob     = "job"    // of a thread, whose legs name the class
	mapCall    = "call"   // a span of the one service has a child in the other
	mapSend    = "send"   // to a topic or queue
	mapHandle  = "handle" // from a topic or queue
)

// mapNode is a service, a topic or a queue; or, with members, several that were
// folded into one.
type mapNode struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Count   float64  `json:"count"` // requests and runs of a service; what was handled of a topic or queue
	Errors  float64  `json:"errors"`
	P95MS   *float64 `json:"p95_ms"`
	WaitMS  *float64 `json:"wait_p95_ms"`
	Sent    float64  `json:"sent"`
	Spans   float64  `json:"spans"`
	Members []string `json:"members"`
	// service is the one whose messages have no name, see [serviceGraph.via].
	service string
}

// mapEdge is what went from one node to another.
type mapEdge struct {
	From   string   `json:"from"`
	To     string   `json:"to"`
	Kind   string   `json:"kind"`
	Count  float64  `json:"count"`
	Errors float64  `json:"errors"`
	P95MS  *float64 `json:"p95_ms"`
	WaitMS *float64 `json:"wait_p95_ms"`
	// Inferred: no span says so by itself, the causes of a sample of runs do.
	Inferred bool `json:"inferred"`
}

// serviceGraph is the map before it is laid out.
type serviceGraph struct {
	Nodes []mapNode `json:"nodes"`
	Edges []mapEdge `json:"edges"`
	// Every: calls are counted in one of so many traces, and multiplied.
	Every int `json:"calls_from_one_trace_in"`
	// WaitsOf: the waits are those of so many, the newest; 0: of all.
	WaitsOf int `json:"waits_of_newest"`

	at    map[string]int
	links map[[2]string]int
}

func newServiceGraph() *serviceGraph {
	return &serviceGraph{Nodes: []mapNode{}, Edges: []mapEdge{}, Every: 1, at: map[string]int{}, links: map[[2]string]int{}}
}

func nodeID(kind, name string) string { return kind + ":" + name }

// node returns a node, which may be new, until the next one is asked for.
func (g *serviceGraph) node(kind, name string) *mapNode {
	id := nodeID(kind, name)
	i, ok := g.at[id]
	if !ok {
		i = len(g.Nodes)
		g.at[id] = i
		g.Nodes = append(g.Nodes, mapNode{ID: id, Kind: kind, Name: name, Members: []string{}})
	}
	return &g.Nodes[i]
}

// Of what has no name nothing says that it is the same: who sends it and who handles it
// have a node each.
const (
	sentBy   = "-sent-by" // after the kind, before the service, in the id
	handedTo = "-handed-to"
)

// via is the node of a topic or queue that a service sends to or handles from.
func (g *serviceGraph) via(kind, name, side, service string) *mapNode {
	if name != "" {
		return g.node(kind, name)
	}
	end := handedTo
	if side == traffic.Sends {
		end = sentBy
	}
	id := nodeID(kind+end, service)
	i, ok := g.at[id]
	if !ok {
		i = len(g.Nodes)
		g.at[id] = i
		g.Nodes = append(g.Nodes, mapNode{ID: id, Kind: kind, Members: []string{}, service: service})
	}
	return &g.Nodes[i]
}

// edge returns an edge, which may be new, until the next one is asked for.
func (g *serviceGraph) edge(from, to, kind string) *mapEdge {
	key := [2]string{from, to}
	i, ok := g.links[key]
	if !ok {
		i = len(g.Edges)
		g.links[key] = i
		g.Edges = append(g.Edges, mapEdge{From: from, To: to, Kind: kind})
	}
	return &g.Edges[i]
}

// serviceGraph asks for the map of the window.
func (w *work) serviceGraph(ctx context.Context) (*serviceGraph, error) {
	var ends, endsBad, sums *query.Result
	var calls *query.CallsResult
	g := newServiceGraph()
	ask := func(into **query.Result, st exploreState) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			*into, err = w.run(ctx, st, query.MaxLimitNoSeries, calculationNamed("COUNT"), false)
			return err
		}
	}
	sided := append([]query.Filter{{Column: "span.kind", Op: "in", Value: w.kinds}, {Column: traffic.Side, Op: "exists"}}, w.once()...)
	groups := []string{traffic.IsJob, traffic.Topic, traffic.Side, "service.name"}
	measures := calculations("P95")
	if len(w.words.Waits()) > 0 {
		measures = append(measures, query.Calculation{Op: "P95", Column: traffic.WaitMS})
	}
	err := askAll(ctx,
		func(ctx context.Context) error { return w.askServices(ctx, g) },
		ask(&ends, w.ask(groups, w.counting(measures), sided...)),
		ask(&endsBad, w.ask(groups, calculations(), append(slices.Clone(sided), failed)...)),
		ask(&sums, w.ask(groups[:3], w.counting(measures), sided...)),
		func(ctx context.Context) (err error) { calls, err = w.calls(ctx); return err },
	)
	if err != nil {
		return nil, err
	}
	g.Every = calls.Every
	g.addWork(sums, ends, endsBad)
	for _, c := range calls.Calls {
		e := g.edge(g.node(mapService, c.Caller).ID, g.node(mapService, c.Callee).ID, mapCall)
		e.Count, e.Errors, e.P95MS = c.Count, c.Errors, &c.P95
	}
	var waits, waitsEach *query.Result
	newest := w.newest(g)
	sent := []query.Calculation{{Op: "COUNT"}, {Op: "P95", Column: traffic.SentWaitMS}}
	taken := append(slices.Clone(sided), notSent)
	err = askAll(ctx,
		func(ctx context.Context) error { return w.addSenders(ctx, g) },
		ask(&waits, newest.ask(groups[:3], sent, taken...)),
		ask(&waitsEach, newest.ask(groups, sent, taken...)),
	)
	if err != nil {
		return nil, err
	}
	g.addWaits(waits, waitsEach)
	g.sort()
	return g, nil
}

// maxMapWaits is of how many messages and jobs the map looks up what sent them, to
// tell how long they waited (some microseconds each).
const maxMapWaits = 3000

// newest asks about as much of the end of the time as has so many messages and jobs.
func (w *work) newest(g *serviceGraph) *work {
	handled := 0.0
	for i := range g.Nodes {
		if n := &g.Nodes[i]; n.Kind != mapService {
			handled += n.Count
		}
	}
	some := *w
	if handled > maxMapWaits {
		g.WaitsOf = maxMapWaits
		some.window.Range, some.window.From = "", w.window.To.Add(-time.Duration(float64(w.window.length())*maxMapWaits/handled))
	}
	return &some
}

// addWaits tells how long messages and jobs waited from the end of what sent them,
// where their senders did not measure it.
func (g *serviceGraph) addWaits(nodes, edges *query.Result) {
	wait := "P95(" + traffic.SentWaitMS + ")"
	for _, pass := range []string{traffic.Handles, traffic.Receives} {
		for _, x := range append(slices.Clone(nodes.Results), edges.Results...) {
			kind, name, side := workOf(x)
			if side != pass {
				continue
			}
			service, each := x.Data["service.name"]
			if name != "" && !each {
				if i, ok := g.at[nodeID(kind, name)]; ok && g.Nodes[i].WaitMS == nil {
					g.Nodes[i].WaitMS = millis(x, wait)
				}
				continue
			}
			if !each {
				continue
			}
			via := nodeID(kind, name)
			if name == "" {
				via = nodeID(kind+handedTo, textOf(service))
			}
			if i, ok := g.links[[2]string{via, nodeID(mapService, textOf(service))}]; ok && g.Edges[i].WaitMS == nil {
				g.Edges[i].WaitMS = millis(x, wait)
			}
			if i, ok := g.at[via]; ok && name == "" && g.Nodes[i].WaitMS == nil {
				g.Nodes[i].WaitMS = millis(x, wait)
			}
		}
	}
}

const (
	// maxSenderless is for how many topics and queues that nobody seems to send to
	// the map looks at the causes of what was handled, of so many runs each.
	maxSenderless  = 6
	senderlessRuns = 300
)

// addSenders finds who sends to the busiest topics and queues that no span says it
// sends to: services whose senders record only the link, or only an id.
func (w *work) addSenders(ctx context.Context, g *serviceGraph) error {
	var list []*mapNode
	for i := range g.Nodes {
		if n := &g.Nodes[i]; n.Kind != mapService && n.Sent == 0 && n.Count > 0 {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *mapNode) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.ID, b.ID)) })
	list = list[:min(len(list), maxSenderless)]
	for _, n := range list {
		id, kind, of := n.ID, n.Kind, []query.Filter{equals(traffic.Topic, nameOrNil(n.Name)), notSent}
		if n.Name == "" {
			of = append(of, equals("service.name", nameOrNil(n.service)))
		}
		some, scale := *w, 1.0
		if n.Count > senderlessRuns { // the newest of them stand for all
			scale = n.Count / senderlessRuns
			some.window.Range, some.window.From = "", w.window.To.Add(-time.Duration(float64(w.window.length())/scale))
		}
		res, err := some.run(ctx, some.ask([]string{traffic.SenderService}, calculations(), w.sided(kind == mapQueue, of...)...),
			query.MaxLimit, calculationNamed("COUNT"), false)
		if err != nil {
			return err
		}
		for _, x := range res.Results {
			service, none := valueText(x.Data[traffic.SenderService])
			if none {
				continue
			}
			count, _ := numberOf(x.Data["COUNT"])
			e := g.edge(g.node(mapService, service).ID, id, mapSend)
			e.Count += count * scale
			e.Inferred = true
		}
	}
	return nil
}

// askServices adds the services of the window.
func (w *work) askServices(ctx context.Context, g *serviceGraph) error {
	var spans, enter, bad, begin *query.Result
	by := []string{"service.name"}
	ask := func(into **query.Result, st exploreState) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			*into, err = w.run(ctx, st, query.MaxLimitNoSeries, calculationNamed("COUNT"), false)
			return err
		}
	}
	err := askAll(ctx,
		ask(&spans, w.ask(by, calculations())),
		ask(&enter, w.ask(by, calculations("P95"), enters)),
		ask(&bad, w.ask(by, calculations(), enters, failed)),
		ask(&begin, w.ask(by, calculations("P95"), roots)),
	)
	if err == nil {
		g.addServices(spans, enter, bad, begin)
	}
	return err
}

// calls asks who calls whom. What hands a message or a job over is no call.
func (w *work) calls(ctx context.Context) (*query.CallsResult, error) {
	from, to := secondsOf(w.window.From), secondsOf(w.window.To)
	q := query.Calls{StartTime: &from, EndTime: &to, Environment: w.environment, Filters: []query.Filter{{Column: "span.kind", Op: "!=", Value: "consumer"}}}
	if len(w.kinds) > 2 {
		q.Filters = append(q.Filters, query.Filter{Column: traffic.Side, Op: "not-in", Value: []any{traffic.Handles, traffic.Receives}})
		q.CalculatedFields = w.words.Fields(traffic.Side)
	}
	return w.spans.Calls(ctx, q)
}

func textOf(v any) string {
	text, missing := valueText(v)
	if missing {
		return ""
	}
	return text
}

func millis(g query.Group, name string) *float64 {
	if f, ok := numberOf(g.Data[name]); ok {
		return &f
	}
	return nil
}

// addServices adds the services. One that no request, message or job enters is
// measured by the roots that it begins.
func (g *serviceGraph) addServices(spans, enter, bad, begin *query.Result) {
	for _, x := range spans.Results {
		n := g.node(mapService, textOf(x.Data["service.name"]))
		n.Spans, _ = numberOf(x.Data["COUNT"])
	}
	for _, res := range []*query.Result{enter, begin} {
		for _, x := range res.Results {
			n := g.node(mapService, textOf(x.Data["service.name"]))
			if n.Count == 0 {
				n.Count, _ = numberOf(x.Data["COUNT"])
				n.P95MS = millis(x, "P95(duration_ms)")
			}
		}
	}
	for _, x := range bad.Results {
		g.node(mapService, textOf(x.Data["service.name"])).Errors, _ = numberOf(x.Data["COUNT"])
	}
}

// workOf tells the topic or queue of a group, and which side it is of.
func workOf(x query.Group) (kind, name, side string) {
	kind = mapTopic
	if v, _ := valueText(x.Data[traffic.IsJob]); v == "true" {
		kind = mapQueue
	}
	return kind, textOf(x.Data[traffic.Topic]), textOf(x.Data[traffic.Side])
}

// addWork adds topics and queues, and who sends to them and handles from them.
func (g *serviceGraph) addWork(sums, ends, bad *query.Result) {
	wait := "P95(" + traffic.WaitMS + ")"
	totals := slices.DeleteFunc(slices.Clone(sums.Results), func(x query.Group) bool { _, name, _ := workOf(x); return name == "" })
	for _, x := range ends.Results {
		if _, name, _ := workOf(x); name == "" {
			totals = append(totals, x)
		}
	}
	handled := map[string]bool{} // by single spans, so that what polled for them does not count
	for _, pass := range []string{traffic.Handles, traffic.Receives, traffic.Sends} {
		for _, x := range totals {
			kind, name, side := workOf(x)
			if side != pass {
				continue
			}
			n := g.via(kind, name, side, textOf(x.Data["service.name"]))
			switch {
			case side == traffic.Sends:
				n.Sent = sentOf(x)
			case !handled[n.ID]:
				handled[n.ID] = side == traffic.Handles
				n.Count, _ = numberOf(x.Data["COUNT"])
				n.P95MS, n.WaitMS = millis(x, "P95(duration_ms)"), millis(x, wait)
			}
		}
	}
	each := func(res *query.Result, fn func(n *mapNode, e *mapEdge, count float64, x query.Group)) {
		for _, x := range res.Results {
			kind, name, side := workOf(x)
			from := textOf(x.Data["service.name"])
			id, service := g.via(kind, name, side, from).ID, g.node(mapService, from).ID
			if side == traffic.Receives && handled[id] {
				continue
			}
			count, _ := numberOf(x.Data["COUNT"])
			e := g.edge
			if side == traffic.Sends {
				fn(nil, e(service, id, mapSend), sentOf(x), x)
			} else {
				fn(g.via(kind, name, side, from), e(id, service, mapHandle), count, x)
			}
		}
	}
	each(ends, func(_ *mapNode, e *mapEdge, count float64, x query.Group) {
		e.Count += count
		e.P95MS, e.WaitMS = millis(x, "P95(duration_ms)"), millis(x, wait)
	})
	each(bad, func(n *mapNode, e *mapEdge, count float64, _ query.Group) {
		e.Errors += count
		if n != nil {
			n.Errors += count
		}
	})
}

// sort puts nodes and edges in an order that does not depend on how they were
// found.
func (g *serviceGraph) sort() {
	rank := map[string]int{mapService: 0, mapTopic: 1, mapQueue: 2, mapJob: 2}
	slices.SortStableFunc(g.Nodes, func(a, b mapNode) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(b.Count+b.Sent, a.Count+a.Sent), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(g.Edges, func(a, b mapEdge) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	g.index()
}

func (g *serviceGraph) index() {
	clear(g.at)
	clear(g.links)
	for i := range g.Nodes {
		g.at[g.Nodes[i].ID] = i
	}
	for i := range g.Edges {
		g.links[[2]string{g.Edges[i].From, g.Edges[i].To}] = i
	}
}

// keep leaves the nodes of the ids, and the edges between them.
func (g *serviceGraph) keep(ids map[string]bool) {
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n mapNode) bool { return !ids[n.ID] })
	g.Edges = slices.DeleteFunc(g.Edges, func(e mapEdge) bool { return !ids[e.From] || !ids[e.To] })
	g.index()
}

// around are a node and those next to it.
func (g *serviceGraph) around(id string) map[string]bool {
	near := map[string]bool{id: true}
	for _, e := range g.Edges {
		if e.From == id || e.To == id {
			near[e.From], near[e.To] = true, true
		}
	}
	return near
}

const (
	// maxMapNodes is how many nodes the map draws before it folds: about what fits
	// on a screen and can still be read.
	maxMapNodes = 40
	// maxMapLines is how many edges it draws before it folds what is alike.
	maxMapLines = 60
	// maxMapAll bounds the map that is asked for without folding.
	maxMapAll = 500
	// maxMapEdges bounds the edges that are drawn.
	maxMapEdges = 1200
)

// fold makes one node of many: first of topics and queues that have the same
// neighbours, then of services that have, then of the quietest nodes. Nodes that
// keep says stay. It tells what it did.
func (g *serviceGraph) fold(most int, stays func(*mapNode) bool) []string {
	var notes []string
	for _, kinds := range [][]string{{mapTopic, mapQueue, mapJob}, {mapService}} {
		if len(g.Nodes) <= most && (len(g.Edges) <= maxMapLines || most > maxMapNodes) {
			break
		}
		if n := g.foldAlike(kinds, stays); n > 0 {
			what := "services"
			if kinds[0] != mapService {
				what = "topics and queues"
			}
			notes = append(notes, fmt.Sprintf("%d %s that have the same neighbours are drawn as one.", n, what))
		}
	}
	if len(g.Nodes) > most {
		groups := map[string][]string{}
		order := slices.Clone(g.Nodes)
		slices.SortStableFunc(order, func(a, b mapNode) int { return cmp.Compare(b.Count+b.Sent, a.Count+a.Sent) })
		left := most - 3
		for i := range order {
			if left > 0 || stays(&order[i]) {
				left--
				continue
			}
			groups[order[i].Kind] = append(groups[order[i].Kind], order[i].ID)
		}
		n := 0
		for _, kind := range slices.Sorted(maps.Keys(groups)) {
			n += len(groups[kind])
			g.merge(kind, groups[kind])
		}
		notes = append(notes, fmt.Sprintf("The %d quietest nodes are drawn as one of each kind.", n))
	}
	if hidden := len(g.Edges) - maxMapEdges; hidden > 0 {
		g.Edges = g.Edges[:maxMapEdges]
		g.index()
		notes = append(notes, fmt.Sprintf("The %d quietest edges are not drawn.", hidden))
	}
	return notes
}

// foldAlike folds nodes of the kinds that have the same neighbours.
func (g *serviceGraph) foldAlike(kinds []string, stays func(*mapNode) bool) int {
	var in, out = map[string][]string{}, map[string][]string{}
	for _, e := range g.Edges {
		out[e.From] = append(out[e.From], e.To)
		in[e.To] = append(in[e.To], e.From)
	}
	alike := map[string][]string{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if !slices.Contains(kinds, n.Kind) || stays(n) || len(in[n.ID])+len(out[n.ID]) == 0 {
			continue
		}
		slices.Sort(in[n.ID])
		slices.Sort(out[n.ID])
		key := n.Kind + "\n" + strings.Join(in[n.ID], "\n") + "\n→\n" + strings.Join(out[n.ID], "\n")
		alike[key] = append(alike[key], n.ID)
	}
	folded := 0
	const least = 3 // two alike are as well drawn as two
	for _, key := range slices.Sorted(maps.Keys(alike)) {
		if ids := alike[key]; len(ids) >= least {
			folded += len(ids)
			g.merge(g.Nodes[g.at[ids[0]]].Kind, ids)
		}
	}
	return folded
}

// merge makes one node of several of a kind.
func (g *serviceGraph) merge(kind string, ids []string) {
	if len(ids) < 2 {
		return
	}
	into := mapNode{ID: "folded:" + ids[0], Kind: kind, Name: strconv.Itoa(len(ids)) + " " + kind + "s", Members: []string{}}
	gone := map[string]bool{}
	for _, id := range ids {
		n := g.Nodes[g.at[id]]
		gone[id] = true
		into.Count, into.Errors, into.Sent, into.Spans = into.Count+n.Count, into.Errors+n.Errors, into.Sent+n.Sent, into.Spans+n.Spans
		into.P95MS, into.WaitMS = greater(into.P95MS, n.P95MS), greater(into.WaitMS, n.WaitMS)
		if len(n.Members) > 0 {
			into.Members = append(into.Members, n.Members...)
		} else {
			into.Members = append(into.Members, cmp.Or(n.Name, n.title()))
		}
	}
	into.Name = strconv.Itoa(len(into.Members)) + " " + kind + "s"
	old := g.Edges
	g.Nodes = append(slices.DeleteFunc(g.Nodes, func(n mapNode) bool { return gone[n.ID] }), into)
	g.Edges = nil
	g.index()
	for _, e := range old {
		if gone[e.From] {
			e.From = into.ID
		}
		if gone[e.To] {
			e.To = into.ID
		}
		if e.From == e.To {
			continue
		}
		m := g.edge(e.From, e.To, e.Kind)
		m.Count, m.Errors = m.Count+e.Count, m.Errors+e.Errors
		m.P95MS, m.WaitMS = greater(m.P95MS, e.P95MS), greater(m.WaitMS, e.WaitMS)
		m.Inferred = m.Inferred || e.Inferred
	}
	g.sort()
}

// greater is the greater of two measures, for what cannot be added up.
func greater(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// p95Of is the nearest rank.
func p95Of(list []float64) *float64 { return quantileOf(list, 0.95) }

// quantileOf is the nearest rank of numbers; nil of none.
func quantileOf(list []float64, q float64) *float64 {
	if len(list) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(list))
	at := int(q*float64(len(sorted))+0.999999) - 1
	return &sorted[min(max(at, 0), len(sorted)-1)]
}
