package handlers

import (
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// threadGraph is the map of one thread: its legs as nodes and edges. It counts
// messages and runs, as the other pages do: a leg may have handled several messages
// in one go, and a message that is handled again was sent once.
func threadGraph(t *graph.Thread) *serviceGraph {
	g := newServiceGraph()
	times, waits := map[string][]float64{}, map[string][]float64{}
	join := func(from, service, topic string, work graph.Work, handled, errors float64) []string {
		to := g.node(mapService, service)
		to.Count += handled
		to.Errors += errors
		kind := mapTopic
		switch {
		case from == "":
			return nil
		case work == graph.WorkJob:
			kind = mapJob
		case work != graph.WorkMessage:
			topic = ""
		}
		src := nodeID(mapService, from)
		if topic == "" {
			if from == service {
				return nil
			}
			e := g.edge(src, to.ID, mapCall)
			e.Count += handled
			e.Errors += errors
			return []string{src + "\n" + to.ID}
		}
		toID := to.ID
		via := g.node(kind, topic)
		via.Count += handled
		via.Errors += errors
		g.edge(src, via.ID, mapSend)
		handle := g.edge(via.ID, toID, mapHandle)
		handle.Count += handled
		handle.Errors += errors
		return []string{via.ID + "\n" + toID, via.ID}
	}
	sent := map[[2]string]*sendings{} // by the nodes of the edge
	for i := range t.Legs {
		l := &t.Legs[i]
		from := ""
		if l.Cause >= 0 {
			from = t.Legs[l.Cause].Service
		}
		failed := 0.0
		if l.Errors > 0 {
			failed = 1
		}
		keys := join(from, l.Service, l.Topic, l.Work, float64(messagesOf(l)), failed)
		if len(keys) == 2 {
			edge := [2]string{nodeID(mapService, from), keys[1]}
			if sent[edge] == nil {
				sent[edge] = newSendings()
			}
			sent[edge].add(l, i)
		}
		for _, k := range append(keys, nodeID(mapService, l.Service)) {
			times[k] = append(times[k], float64(l.DurationNano)/1e6)
			waits[k] = append(waits[k], float64(l.WaitNano)/1e6)
		}
	}
	for i := range t.Folds {
		f := &t.Folds[i]
		hidden := f.Traces - f.Shown
		if hidden <= 0 || f.Cause < 0 || f.Service == "" {
			continue
		}
		topic := f.Topic
		if topic == "" && f.Example >= 0 {
			topic = t.Legs[f.Example].Topic
		}
		if keys := join(t.Legs[f.Cause].Service, f.Service, topic, f.Work, float64(hidden), float64(min(f.Failed, hidden))); len(keys) == 2 {
			g.send(nodeID(mapService, t.Legs[f.Cause].Service), keys[1], hidden)
		}
	}
	for edge, s := range sent {
		g.send(edge[0], edge[1], s.count())
	}
	for i := range g.Nodes {
		g.Nodes[i].P95MS = p95Of(times[g.Nodes[i].ID])
		if g.Nodes[i].Kind != mapService {
			g.Nodes[i].WaitMS = p95Of(waits[g.Nodes[i].ID])
		}
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		key := e.From + "\n" + e.To
		e.P95MS = p95Of(times[key])
		if e.Kind == mapHandle {
			e.WaitMS = p95Of(waits[key])
		}
	}
	g.sort()
	return g
}

// send counts what was sent along an edge that is there.
func (g *serviceGraph) send(from, via string, n int) {
	g.edge(from, via, mapSend).Count += float64(n)
	g.Nodes[g.at[via]].Sent += float64(n)
}

// messagesOf is how many messages of its thread a leg handled, or that it ran once.
func messagesOf(l *graph.Leg) int { return max(l.Messages, 1) }

// sendings counts the messages and jobs that legs of one topic, queue or class were
// sent by. A leg names one span that sent what it handled, though it may have handled
// several messages; one span may send several jobs; and several services may handle
// what one span sent, or one service again.
type sendings struct {
	spans map[trace.Ref]bool
	by    map[string]int // what each service handled, once each
	most  int            // of these
	once  map[handling]int
}

// handling is what counts once: a message of a service, or a job, whatever attempts
// there were.
type handling struct {
	service string
	from    trace.Ref
	first   int // attempt
}

func newSendings() *sendings {
	return &sendings{spans: map[trace.Ref]bool{}, by: map[string]int{}, once: map[handling]int{}}
}

// add counts a leg that something caused; leg is its number.
func (s *sendings) add(l *graph.Leg, leg int) {
	s.spans[l.From.Ref] = true
	of := handling{service: l.Service, from: l.From.Ref, first: -1}
	if l.Work == graph.WorkJob {
		of.first = leg
		if l.FirstAttempt >= 0 {
			of.from, of.first = trace.Ref{}, l.FirstAttempt
		}
	}
	if more := messagesOf(l) - s.once[of]; more > 0 {
		s.once[of] += more
		s.by[l.Service] += more
		s.most = max(s.most, s.by[l.Service])
	}
}

func (s *sendings) count() int { return max(len(s.spans), s.most) }
