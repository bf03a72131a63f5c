package demo

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"redthread/tracestore/trace"
)

// The dates of the story, before the moment the demo starts.
const (
	incidentAge = 26 * time.Minute // the build that is slow for one dealer goes out
	rippleAge   = 15 * time.Minute // the price update whose job re-enqueues itself
	ripplePause = 2 * time.Hour    // it happens again, live
)

// The names of the story.
const (
	goodBuild  = "2026.11.20-b4102"
	slowBuild  = "2026.11.22-b4127"
	slowDealer = "dealer-0417"
	// neighbourDealer stands in for the slow dealer outside the UK.
	neighbourDealer = "dealer-0418"
)

// process is one running program.
type process struct {
	service, environment, host string
	resource                   []trace.Attribute
}

// key tells processes apart.
func (p *process) key() string { return p.environment + "/" + p.service + "/" + p.host }

// country is one market with its processes.
type country struct {
	code, environment, host string
	web, quotes             []*process
	dealers, worker, cron   *process
	consumer, pricing       *process
	models                  []string
	towns                   []string
	currency                string

	batch []message // waiting to be polled together
}

// message is a message on a topic.
type message struct {
	ref    trace.Ref
	at     int64
	offset int64
	quote  quote
}

// quote is what a person asks for.
type quote struct {
	id, user, model, request string
	dealers                  []string
}

// world makes the traffic. It is deterministic: the same seed and start give the
// same spans.
type world struct {
	rng       *rand.Rand
	rate      float64 // actions a second
	clock     int64   // everything before it is made
	next      int64   // the next action
	countries []*country
	offsets   map[string]int64 // next offset by topic
	ready     queue
	seq       int
	incident  int64 // the slow build runs from here on
	ripple    int64 // the next ripple
	ticks     []*tick
	story     Story
}

// newWorld makes a world whose traffic begins at start and whose story is told
// from now. The start is part of the seed: a demo that starts again in the same
// folder must not use its ids twice.
func newWorld(seed uint64, rate float64, start, now time.Time) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, uint64(start.UnixNano()))), rate: rate,
		clock: start.UnixNano(), next: start.UnixNano(), offsets: map[string]int64{},
		incident: now.Add(-incidentAge).UnixNano(), ripple: now.Add(-rippleAge).UnixNano(),
	}
	for w.ripple < w.clock { // a demo that goes on after a pause has had these
		w.ripple += int64(ripplePause)
	}
	w.countries = []*country{
		newCountry("uk", "GBP", []string{"golf", "fiesta", "qashqai", "model-3", "puma", "e-niro"}, []string{"leeds", "bristol", "london", "glasgow"}),
		newCountry("de", "EUR", []string{"golf", "passat", "octavia", "i4", "corsa", "id-3"}, []string{"berlin", "koeln", "muenchen", "leipzig"}),
	}
	for i, c := range w.countries {
		first := start.Truncate(5 * time.Minute).Add(5*time.Minute + time.Duration(i)*20*time.Second)
		w.ticks = append(w.ticks, &tick{c, "RefreshListingsJob", "*/5 * * * *", 5 * time.Minute, first.UnixNano()},
			&tick{c, "ExpireQuotesJob", "*/15 * * * *", 15 * time.Minute, first.Add(40 * time.Second).UnixNano()})
	}
	w.story = Story{Build: slowBuild, Dealer: slowDealer, Began: time.Unix(0, w.incident).UTC()}
	return w
}

func newCountry(code, currency string, models, towns []string) *country {
	env := "production-" + code
	c := &country{code: code, environment: env, currency: currency, models: models, towns: towns, host: "autolane." + map[string]string{"uk": "co.uk", "de": "de"}[code]}
	ruby := func(service, host, version string) *process {
		return newProcess(env, service, host, version, "ruby", "1.10.0", "process.runtime.name", "ruby", "process.runtime.version", "3.4.7")
	}
	for i := range 2 {
		c.web = append(c.web, ruby("web-"+code, fmt.Sprintf("web.%d", i+1), "2026.11.21-b4115"))
	}
	for i := range 3 {
		c.quotes = append(c.quotes, ruby("quotes-api", fmt.Sprintf("quotes-%s.%d", code, i+1), goodBuild))
	}
	c.dealers = newProcess(env, "dealers-api", "dealers-"+code+".1", "1.88.2", "go", "1.38.0", "process.runtime.name", "go", "process.runtime.version", "go1.26.0")
	c.worker = ruby("worker-"+code, "worker.1", "2026.11.21-b4115")
	c.cron = ruby("worker-"+code, "scheduler.1", "2026.11.21-b4115")
	c.consumer = newProcess(env, "dealer-consumer", "consumer-"+code+".1", "3.4.0", "nodejs", "2.12.0", "process.runtime.name", "nodejs", "process.runtime.version", "22.21.0")
	c.pricing = ruby("pricing-consumer", "pricing-"+code+".1", "2026.11.18-b4066")
	return c
}

func newProcess(env, service, host, version, language, sdk string, runtime ...any) *process {
	return &process{service: service, environment: env, host: host, resource: append(attrs(
		"service.name", service, "service.version", version, "service.namespace", "autolane",
		"deployment.environment.name", env, "host.name", host,
		"telemetry.sdk.name", "opentelemetry", "telemetry.sdk.language", language, "telemetry.sdk.version", sdk,
	), attrs(runtime...)...)}
}

// withBuild is the process as it runs another build.
func (p *process) withBuild(version string) *process {
	c := *p
	c.host += "-" + version[len(version)-5:]
	c.resource = append([]trace.Attribute(nil), p.resource...)
	for i := range c.resource {
		switch c.resource[i].Key {
		case "service.version":
			c.resource[i].Value = trace.String(version)
		case "host.name":
			c.resource[i].Value = trace.String(c.host)
		}
	}
	return &c
}

// advance makes everything that begins before until.
func (w *world) advance(until int64) {
	for {
		at, what := w.next, w.action
		for _, t := range w.ticks {
			if t.next < at {
				at, what = t.next, t.fire
			}
		}
		if w.ripple < at {
			at, what = w.ripple, w.startRipple
		}
		if at >= until {
			break
		}
		w.clock = at
		w.pollOld(at)
		what(w, at)
	}
	w.clock = until
}

// action lets one person do something, and plans the next.
func (w *world) action(_ *world, at int64) {
	w.next = at + int64(w.rng.ExpFloat64()/w.rate*float64(time.Second)) + 1
	c := w.countries[0]
	if w.chance(0.42) {
		c = w.countries[1]
	}
	switch p := w.rng.Float64(); {
	case p < 0.40:
		w.searchCars(c, at)
	case p < 0.68:
		w.showCar(c, at)
	case p < 0.88:
		w.requestQuote(c, at)
	case p < 0.95:
		w.updatePrice(c, at)
	default:
		w.showInbox(c, at)
	}
}

// finish hands over a span that has ended.
func (w *world) finish(r *record) {
	r.seq = w.seq
	w.seq++
	heap.Push(&w.ready, r)
}

// due takes the spans that have ended by the time, at most n of them, in order
// of their ends.
func (w *world) due(by int64, n int) []*record {
	var out []*record
	for len(w.ready) > 0 && len(out) < n && w.ready[0].EndUnixNano() <= by {
		out = append(out, heap.Pop(&w.ready).(*record))
	}
	return out
}

// queue orders spans by their end.
type queue []*record

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := q[i].EndUnixNano(), q[j].EndUnixNano()
	return a < b || a == b && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*record)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return x
}

// offset is the next offset of a topic's partition.
func (w *world) offset(topic string) int64 {
	n := w.offsets[topic]
	w.offsets[topic] = n + 1
	return n
}

// user draws somebody; a few people come often.
func (w *world) user() string {
	if w.chance(0.2) {
		return fmt.Sprintf("user-%05d", 10000+w.rng.IntN(40))
	}
	return fmt.Sprintf("user-%05d", 10000+w.rng.IntN(30000))
}

// dealer draws a dealer.
func (w *world) dealer() string { return fmt.Sprintf("dealer-%04d", 380+w.rng.IntN(60)) }
