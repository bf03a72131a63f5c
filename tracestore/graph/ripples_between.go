package graph

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"redthread/tracestore/trace"
)

// RippleQuery asks what was set off in a time, by where it came from.
type RippleQuery struct {
	// From ≤ start < To are the traces that are counted, each for the thread it
	// belongs to, also where that began before; its effects after To are not.
	From, To int64
	// Before ≤ start < From are those they are compared with; 0: none.
	Before int64
	// Environment is that of the origins; "" for all.
	Environment string
	// Buckets is into how many parts the time is cut for what is told over time.
	Buckets int
	// Threads is how many single threads are listed by each measure.
	Threads int
	// Open is the endpoint that more is told of; nil: none.
	Open *Endpoint
}

// Endpoint names where threads begin: the service and the name of their first
// span, which is the route where the name alone does not say it. Other, in all
// services, stands for what was too many to be told apart.
type Endpoint struct {
	Environment string `json:"environment"`
	Service     string `json:"service"`
	Name        string `json:"name"`
}

// Other is the name of the endpoint for all those beyond the first 20,000.
const Other = "(other)"

// RippleMeasures are the measures of several threads.
type RippleMeasures struct {
	Threads   int `json:"threads"`
	Spreading int `json:"spreading"` // threads that set something off
	Failed    int `json:"failed"`    // threads with an error
	Earlier   int `json:"earlier"`   // threads that began before the time
	// Ripple is the sum of them; the time to the last effect is the longest.
	Ripple
}

// Effects is how much was set off: messages, jobs and requests.
func (r *Ripple) Effects() int { return r.Messages + r.Jobs + r.Requests }

// RippleEndpoint is the threads of one endpoint.
type RippleEndpoint struct {
	Endpoint
	Kind trace.Kind `json:"kind"`
	RippleMeasures
	Before RippleMeasures `json:"before"` // in the time before
	// Several of the traces are of one of its threads, and it is not known which: work on
	// a batch of messages of several of them. They are counted here once, and in no thread.
	Several int `json:"of_several_threads"`
	// LastP50Nano and LastP95Nano are of the time to the last effect, of the
	// threads that set something off.
	LastP50Nano int64        `json:"last_effect_p50_nano,string"`
	LastP95Nano int64        `json:"last_effect_p95_nano,string"`
	Over        []int        `json:"over"` // effects by bucket, when they began
	Largest     RippleThread `json:"largest"`
	Longest     RippleThread `json:"longest"`
	Failing     RippleThread `json:"failing"` // the one with most errors
}

// RippleThread is one thread, as much of it as began in the time.
type RippleThread struct {
	OriginSpan
	Environment string `json:"environment"`
	Ripple
}

// RippleUnknown is the traces of which no single origin is known.
type RippleUnknown struct {
	Status Status `json:"status"`
	Reason string `json:"reason"`
	Ripple
	Before Ripple       `json:"before"`
	Over   []int        `json:"over"`
	By     []RippleWork `json:"by"` // which they are, the most first
}

// RippleWork is traces of one service and name.
type RippleWork struct {
	Service    string   `json:"service"`
	Name       string   `json:"name"`
	Work       Work     `json:"work"`
	Traces     int      `json:"traces"`
	Failed     int      `json:"failed"` // traces with an error
	Errors     int      `json:"errors"`
	BusyNano   int64    `json:"busy_nano,string"`
	MedianNano int64    `json:"median_nano,string"`
	P95Nano    int64    `json:"p95_nano,string"`
	MaxNano    int64    `json:"max_nano,string"`
	Slowest    trace.ID `json:"slowest"`
}

// RippleDetail is more of one endpoint.
type RippleDetail struct {
	RippleEndpoint
	Parts    []RipplePart   `json:"parts"` // by bucket of the start of the thread
	LargestN []RippleThread `json:"largest_threads"`
	LongestN []RippleThread `json:"longest_threads"`
	FailingN []RippleThread `json:"failing_threads"`
	// SetsOff are the traces of these threads without those they begin in.
	SetsOff []RippleWork `json:"sets_off"`
	// All are its threads, the latest 10,000.
	All []RippleThread `json:"-"`
}

// RipplePart is the threads of one endpoint that began in one bucket.
type RipplePart struct {
	RippleMeasures
	MedianEffects int   `json:"median_effects"`
	MaxEffects    int   `json:"max_effects"`
	LastP95Nano   int64 `json:"last_effect_p95_nano,string"`
}

// RippleReport answers a [RippleQuery].
type RippleReport struct {
	Endpoints []RippleEndpoint `json:"endpoints"` // by effects, the most first
	Unknown   []RippleUnknown  `json:"unknown"`
	Largest   []RippleThread   `json:"largest"`
	Longest   []RippleThread   `json:"longest"`
	Failing   []RippleThread   `json:"failing"`
	// Traces are those of the time, each on one of the lines above, and Before those
	// of the time before.
	Traces int `json:"traces"`
	Before int `json:"before"`
	// BeforeFirst is when the first trace of the time before began, of whatever
	// environment, 0 without any: what is kept may not reach back far enough to
	// compare with.
	BeforeFirst int64 `json:"before_first_unix_nano,string"`
	// Cut says that there were more than a million traces, or more batches than
	// are read, and that not all are counted or have an origin.
	Cut  bool          `json:"cut"`
	Open *RippleDetail `json:"open,omitempty"`
}

const (
	// maxEndpoints is how many names of work are told apart.
	maxEndpoints = 20_000
	// maxRawNames is how many names before routes are put in their place.
	maxRawNames = 100_000
	// maxDetailThreads is how many threads of an endpoint are listed whole.
	maxDetailThreads = 10_000
	// maxRippleWorks is how many sorts of work are listed.
	maxRippleWorks = 200
)

// RipplesBetween counts the traces of a time by the endpoint where their threads
// begin. Each is counted once: those with several possible origins of different
// endpoints, or none that is known, on lines of their own with the reason. The measures are those of
// [Graph.Ripples]. It needs a [WindowSource].
func (g *Graph) RipplesBetween(ctx context.Context, q RippleQuery) (*RippleReport, error) {
	w := &windowScan{q: q, names: names{raw: map[rawName]int32{}, at: map[workName]int32{}, endpoints: map[Endpoint]int32{}}}
	w.originSearch = newOriginSearch(g, 1<<12)
	if _, ok := g.src.(WindowSource); !ok {
		return &RippleReport{Cut: true}, nil
	}
	if w.q.Before == 0 || w.q.Before > q.From {
		w.q.Before = q.From
	}
	report, err := w.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("ripples of a time: %w", err)
	}
	return report, nil
}

// names numbers the names of work.
type names struct {
	raw       map[rawName]int32
	at        map[workName]int32
	endpoints map[Endpoint]int32
	list      []workName
	place     []int32 // of each, the first that has the same endpoint
}

type rawName struct{ environment, service, name, route string }

type workName struct {
	Endpoint
	kind trace.Kind
	work Work
}

// of returns the number of the work that a trace begins with.
func (n *names) of(m *Summary) int32 {
	raw := rawName{m.Environment, m.Service, m.Name, m.Route}
	at, ok := n.raw[raw]
	if ok && n.list[at].kind == m.Kind && n.list[at].work == m.work() {
		return at
	}
	key := workName{Endpoint{m.Environment, m.Service, EndpointName(m.Name, m.Route)}, m.Kind, m.work()}
	if at, ok = n.at[key]; !ok {
		if len(n.list) >= maxEndpoints {
			key = workName{Endpoint: Endpoint{Environment: m.Environment, Name: Other}, work: WorkOther}
			at, ok = n.at[key]
		}
		if !ok {
			key.Environment, key.Service, key.Name = strings.Clone(key.Environment), strings.Clone(key.Service), strings.Clone(key.Name)
			at = int32(len(n.list))
			n.list, n.at[key] = append(n.list, key), at
			place, again := n.endpoints[key.Endpoint]
			if !again {
				place = at
				n.endpoints[key.Endpoint] = at
			}
			n.place = append(n.place, place)
		}
	}
	if len(n.raw) < maxRawNames {
		n.raw[rawName{strings.Clone(raw.environment), strings.Clone(raw.service), strings.Clone(raw.name), strings.Clone(raw.route)}] = at
	}
	return at
}

// methods are those of HTTP (RFC 9110, 5789).
var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"}

// EndpointName is the name of a span, with its route in place of a path or where
// there is nothing but the method: names with ids in them would make an endpoint
// of each request.
func EndpointName(name, route string) string {
	if route == "" || strings.Contains(name, route) {
		return name
	}
	method, path := "", false
	for word := range strings.FieldsSeq(name) {
		if slices.Contains(methods, word) {
			method = word
		}
		path = path || strings.HasPrefix(word, "/") || strings.Contains(word, "://")
	}
	switch {
	case method != "":
		return method + " " + route
	case path:
		return route
	}
	return name
}

// windowScan counts the traces of a time.
type windowScan struct {
	traceScan
	q     RippleQuery
	names names

	threads []threadSum // those of the time
	before  []threadSum

	// agreed is by node what [windowScan.agree] found: place plus one, -1: none; 0: not
	// looked at. It may be shorter.
	agreed []int32
}

// threadSum is what a thread did in a time.
type threadSum struct {
	Ripple
	origin int32 // node
	name   int32 // place
}

func (w *windowScan) run(ctx context.Context) (*RippleReport, error) {
	whole, err := w.between(ctx, w.q.Before, w.q.To, func(m *Summary, i *traceInfo) { i.endpoint = w.names.of(m) })
	if err != nil {
		return nil, err
	}
	inTime := len(w.infos)
	asked := make([]int32, inTime)
	for at := range asked {
		asked[at] = int32(at)
	}
	if err := w.resolve(ctx, asked); err != nil {
		return nil, err
	}
	if err := w.origins(ctx, inTime); err != nil {
		return nil, err
	}
	if err := w.agree(ctx, inTime); err != nil {
		return nil, err
	}
	out := &RippleReport{Endpoints: []RippleEndpoint{}, Unknown: []RippleUnknown{}, Largest: []RippleThread{}, Longest: []RippleThread{},
		Failing: []RippleThread{}, Cut: w.cut || !whole}
	for at := range inTime {
		start, counts := w.infos[at].start, w.inEnvironment(int32(at))
		switch {
		case start >= w.q.From && counts:
			out.Traces++
		case start < w.q.From:
			if counts {
				out.Before++
			}
			if out.BeforeFirst == 0 || start < out.BeforeFirst {
				out.BeforeFirst = start
			}
		}
	}
	w.gather(inTime)
	w.endpoints(out, inTime)
	w.unknown(out, inTime)
	by := func(less func(a, b *threadSum) int) []RippleThread { return w.top(w.threads, w.q.Threads, less) }
	out.Largest, out.Longest, out.Failing = by(w.larger), by(w.longer), by(w.failing)
	if w.q.Open != nil {
		w.detail(out, inTime)
	}
	return out, nil
}

// origins looks up those origins that began before the time.
func (w *windowScan) origins(ctx context.Context, inTime int) error {
	var ids []trace.ID
	seen := map[int32]bool{}
	for at := range inTime {
		n := &w.nodes[at]
		if o := n.origin; n.status == originFound && !w.info(o).known && !seen[o] {
			seen[o] = true
			ids = append(ids, w.nodes[o].id)
		}
	}
	return w.lookUpNames(ctx, ids)
}

// lookUpNames sees traces outside the time.
func (w *windowScan) lookUpNames(ctx context.Context, ids []trace.ID) error {
	for chunk := range slices.Chunk(ids, originChunk) {
		sums, err := w.g.edges.Summaries(ctx, chunk)
		if err != nil {
			return err
		}
		for i := range sums {
			if m := &sums[i]; !m.TraceID.IsZero() {
				w.see(m).endpoint = w.names.of(m)
			}
		}
	}
	return nil
}

// agree finds the endpoint of those traces that may be of several threads, if all of
// these begin at it.
func (w *windowScan) agree(ctx context.Context, inTime int) error {
	w.agreed = make([]int32, len(w.nodes))
	candidates := map[int32][]int32{} // by the trace where they came together
	var ids []trace.ID
	seen := map[trace.ID]bool{}
	for at := range int32(inTime) {
		if w.nodes[at].status != originAmbiguous {
			continue
		}
		of := w.together(at)
		if _, ok := candidates[of]; ok {
			continue
		}
		list := w.mayBegin(of)
		candidates[of] = list
		for _, o := range list {
			if id := w.nodes[o].id; !w.info(o).known && !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	if err := w.lookUpNames(ctx, ids); err != nil {
		return err
	}
	for at := range int32(inTime) {
		if w.nodes[at].status != originAmbiguous {
			continue
		}
		of := w.together(at)
		if w.agreed[of] == 0 {
			w.agreed[of] = w.placeOf(candidates[of])
		}
		w.agreed[at] = w.agreed[of]
	}
	return nil
}

// together is the trace at which the ways to an ambiguous one came together: it has
// the same candidates.
func (w *windowScan) together(at int32) int32 {
	for range w.nodes {
		n := &w.nodes[at]
		if n.tangled() || n.causes != 1 || n.flags&mayBegin != 0 || w.nodes[n.cause].status != originAmbiguous || w.nodes[n.cause].tangled() || int(n.cause) >= len(w.agreed) {
			break
		}
		at = n.cause
	}
	return at
}

// mayBegin are the candidates of an ambiguous trace, nil if they are not all known.
func (w *windowScan) mayBegin(at int32) []int32 {
	if w.needsSpans(&w.nodes[at]) {
		var list []int32
		for _, ref := range w.candidates(at) {
			list = append(list, w.node(ref.TraceID))
		}
		return list
	}
	list, ok := w.candidateNodes(at, nil)
	if !ok {
		return nil
	}
	return list
}

// placeOf is the place of the one endpoint of some traces plus one, -1 if there is
// not one.
func (w *windowScan) placeOf(list []int32) int32 {
	place := int32(-1)
	for i, o := range list {
		info := w.info(o)
		if !info.known {
			return -1
		}
		p := w.names.place[info.endpoint] + 1
		if i > 0 && p != place {
			return -1
		}
		place = p
	}
	return place
}

// endpointAgreed is the place of the endpoint that all candidates of a trace have.
func (w *windowScan) endpointAgreed(at int32) (place int32, ok bool) {
	if int(at) >= len(w.agreed) || w.agreed[at] <= 0 || w.nodes[at].status != originAmbiguous {
		return 0, false
	}
	return w.agreed[at] - 1, true
}

// inEnvironment reports whether a trace is of the environment that is asked for:
// that of its origin, or its own where no single origin is known.
func (w *windowScan) inEnvironment(at int32) bool {
	if w.q.Environment == "" {
		return true
	}
	if place, ok := w.endpointAgreed(at); ok {
		return w.names.list[place].Environment == w.q.Environment
	}
	of := &w.infos[at]
	if n := &w.nodes[at]; n.status == originFound && w.infos[n.origin].known {
		of = &w.infos[n.origin]
	}
	return w.names.list[of.endpoint].Environment == w.q.Environment
}

// gather adds up the threads of both times.
func (w *windowScan) gather(inTime int) {
	now, then := make([]int32, len(w.nodes)), make([]int32, len(w.nodes)) // by node of the origin: place plus one
	each := func(fn func(at, origin int32, places []int32, list *[]threadSum)) {
		for at := range int32(inTime) {
			n := &w.nodes[at]
			if n.status != originFound {
				continue
			}
			if o := w.info(n.origin); !o.known || !w.inEnvironment(at) {
				continue
			}
			if w.infos[at].start < w.q.From {
				fn(at, n.origin, then, &w.before)
			} else {
				fn(at, n.origin, now, &w.threads)
			}
		}
	}
	var counts [2]int
	each(func(_, origin int32, places []int32, list *[]threadSum) {
		if places[origin] == 0 {
			k := 0
			if list == &w.before {
				k = 1
			}
			counts[k]++
			places[origin] = int32(counts[k])
		}
	})
	w.threads, w.before = make([]threadSum, counts[0]), make([]threadSum, counts[1])
	each(func(at, origin int32, places []int32, list *[]threadSum) {
		t, o := &(*list)[places[origin]-1], w.info(origin)
		t.origin, t.name = origin, w.names.place[o.endpoint]
		t.add(w.info(at), o, at == origin)
	})
}

// Add counts a thread.
func (m *RippleMeasures) Add(r *Ripple) {
	m.Threads++
	if r.Effects() > 0 {
		m.Spreading++
	}
	if r.Errors > 0 {
		m.Failed++
	}
	m.Ripple.sum(r)
}

// add counts a thread that may have begun earlier.
func (m *RippleMeasures) add(t *threadSum, earlier bool) {
	m.Add(&t.Ripple)
	if earlier {
		m.Earlier++
	}
}

// sum adds another ripple.
func (r *Ripple) sum(o *Ripple) {
	r.Traces += o.Traces
	r.Spans += o.Spans
	r.Messages += o.Messages
	r.Jobs += o.Jobs
	r.Requests += o.Requests
	r.Errors += o.Errors
	r.BusyNano += o.BusyNano
	r.WaitingNano += o.WaitingNano
	r.Shared += o.Shared
	r.LastEffectNano = max(r.LastEffectNano, o.LastEffectNano)
}
