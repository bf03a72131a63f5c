package graph

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"redthread/tracestore/trace"
)

// TestRipplesBetween: the lines of a time are what asking for each trace gives.
func TestRipplesBetween(t *testing.T) {
	lines, several := 0, 0
	for seed := range uint64(120) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var spans []trace.Span
		name := fmt.Sprintf("random, seed %d", seed)
		if as := int(seed) % (2 * len(encodings)); as < len(encodings) {
			spans, _ = encode(seed, encodings[as])
			name = fmt.Sprintf("%s, seed %d", encodings[as], seed)
		} else if spans = randomWorkload(rng); hasCircle(spans) {
			continue
		}
		for i := range spans {
			if rng.IntN(10) == 0 {
				spans[i].Error = true
			}
			spans[i].Environment = []string{"uk", "de"}[spans[i].TraceID[15]%2]
		}
		lo, hi := spans[0].StartUnixNano, spans[0].StartUnixNano
		for i := range spans {
			lo, hi = min(lo, spans[i].StartUnixNano), max(hi, spans[i].StartUnixNano+1)
		}
		q := RippleQuery{Before: lo + (hi-lo)/5, From: lo + (hi-lo)/2, To: hi - (hi-lo)/20, Buckets: 7, Threads: 3}
		if rng.IntN(3) == 0 {
			q.Environment = "de"
		}
		n, of := checkReport(t, name, spans, q)
		lines, several = lines+n, several+of
		if t.Failed() {
			return
		}
	}
	if lines == 0 || several == 0 {
		t.Errorf("%d lines were compared, with %d traces of several threads", lines, several)
	}
}

// bruteLine is a line of a report, counted trace by trace.
type bruteLine struct {
	threads, before map[trace.ID]*Ripple
	over            int
	several         int
	of, ofBefore    Ripple // what is of one of several threads
}

// agreed is the endpoint of all candidates, if they have one.
func agreed(t *testing.T, m *Memory, o *Origin) (e Endpoint, ok bool) {
	if o.Status != Ambiguous || len(o.Origins) > MaxCandidates {
		return e, false
	}
	for i := range o.Origins {
		sum, known, err := m.TraceSummary(context.Background(), o.Origins[i].TraceID)
		if err != nil {
			t.Fatal(err)
		}
		of := Endpoint{sum.Environment, sum.Service, EndpointName(sum.Name, sum.Route)}
		if !known || i > 0 && of != e {
			return e, false
		}
		e = of
	}
	return e, len(o.Origins) > 1
}

func checkReport(t *testing.T, name string, spans []trace.Span, q RippleQuery) (lines, several int) {
	t.Helper()
	ctx := context.Background()
	g, m := testGraph(t, spans, Options{})
	report, err := g.RipplesBetween(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	want, unknown := map[Endpoint]*bruteLine{}, map[string]*Ripple{}
	var ids []trace.ID
	for i := range spans {
		ids = append(ids, spans[i].TraceID)
	}
	for _, id := range distinct(ids, len(ids)) {
		sum, ok, _ := m.TraceSummary(ctx, id)
		if !ok || sum.StartUnixNano < q.Before || sum.StartUnixNano >= q.To {
			continue
		}
		o, err := g.TraceOrigin(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		now := sum.StartUnixNano >= q.From
		one := Ripple{Traces: 1, Spans: sum.Spans, Messages: sum.Messages, Jobs: sum.Jobs, Requests: sum.Requests, Errors: sum.Errors, BusyNano: sum.DurationNano}
		if e, ok := agreed(t, m, o); ok {
			if q.Environment == "" || e.Environment == q.Environment {
				if want[e] == nil {
					want[e] = &bruteLine{threads: map[trace.ID]*Ripple{}, before: map[trace.ID]*Ripple{}}
				}
				if now {
					want[e].several++
					want[e].of.sum(&one)
					want[e].over += one.Effects()
				} else {
					want[e].ofBefore.sum(&one)
				}
			}
			continue
		}
		if o.Status != Found {
			if now && (q.Environment == "" || sum.Environment == q.Environment) {
				key := string(o.Status) + o.Reason
				if unknown[key] == nil {
					unknown[key] = &Ripple{}
				}
				unknown[key].sum(&one)
			}
			continue
		}
		origin, _, _ := m.TraceSummary(ctx, o.Origins[0].TraceID)
		if q.Environment != "" && origin.Environment != q.Environment {
			continue
		}
		e := Endpoint{origin.Environment, origin.Service, EndpointName(origin.Name, origin.Route)}
		if origin.TraceID == id && sum.Kind == trace.KindServer {
			one.Requests--
		}
		one.LastEffectNano = sum.StartUnixNano + sum.DurationNano - origin.StartUnixNano
		if want[e] == nil {
			want[e] = &bruteLine{threads: map[trace.ID]*Ripple{}, before: map[trace.ID]*Ripple{}}
		}
		threads := want[e].before
		if now {
			threads = want[e].threads
			want[e].over += one.Effects()
		}
		if threads[origin.TraceID] == nil {
			threads[origin.TraceID] = &Ripple{}
		}
		threads[origin.TraceID].sum(&one)
	}
	if len(report.Endpoints) != len(want) {
		t.Errorf("%s: %d endpoints, want %d", name, len(report.Endpoints), len(want))
	}
	total := func(threads map[trace.ID]*Ripple, from int64) (out RippleMeasures) {
		for id, r := range threads {
			sum, _, _ := m.TraceSummary(ctx, id)
			out.add(&threadSum{Ripple: *r}, sum.StartUnixNano < from)
		}
		return out
	}
	for i := range report.Endpoints {
		got := &report.Endpoints[i]
		w := want[got.Endpoint]
		if w == nil {
			t.Errorf("%s: there is no endpoint %+v", name, got.Endpoint)
			continue
		}
		m := total(w.threads, q.From)
		m.Ripple.sum(&w.of)
		if got.RippleMeasures != m || got.Several != w.several {
			t.Errorf("%s: %+v is %+v, want %+v", name, got.Endpoint, got.RippleMeasures, m)
		}
		m = total(w.before, q.Before)
		m.Ripple.sum(&w.ofBefore)
		if got.Before != m {
			t.Errorf("%s: %+v before is %+v, want %+v", name, got.Endpoint, got.Before, m)
		}
		over := 0
		for _, n := range got.Over {
			over += n
		}
		if over != w.over || len(got.Over) != q.Buckets {
			t.Errorf("%s: %+v over time %v, want %d in all", name, got.Endpoint, got.Over, w.over)
		}
		if i > 0 && got.Effects() > report.Endpoints[i-1].Effects() {
			t.Errorf("%s: endpoints are not in order", name)
		}
		largest, errors := 0, 0
		last := []int64{}
		for _, r := range w.threads {
			largest, errors = max(largest, r.Effects()), max(errors, r.Errors)
			if r.Effects() > 0 {
				last = append(last, r.LastEffectNano)
			}
		}
		slices.Sort(last)
		if got.Largest.Effects() != largest || got.Failing.Errors != errors {
			t.Errorf("%s: %+v has a largest thread of %d effects and one of %d errors, want %d and %d", name, got.Endpoint, got.Largest.Effects(), got.Failing.Errors, largest, errors)
		}
		if len(last) > 0 && (got.LastP50Nano != last[(len(last)-1)/2] || got.Longest.LastEffectNano != last[len(last)-1]) {
			t.Errorf("%s: %+v: time to the last effect p50 %d, longest %d, want %v", name, got.Endpoint, got.LastP50Nano, got.Longest.LastEffectNano, last)
		}
	}
	got := map[string]Ripple{}
	for _, u := range report.Unknown {
		n := 0
		for _, k := range u.By {
			n += k.Traces
		}
		if n != u.Traces {
			t.Errorf("%s: %s %s is %d traces, but %d by what they are", name, u.Status, u.Reason, u.Traces, n)
		}
		if u.Traces > 0 {
			got[string(u.Status)+u.Reason] = u.Ripple
		}
	}
	for key, r := range unknown {
		if got[key] != *r {
			t.Errorf("%s: without an origin because %s: %+v, want %+v", name, key, got[key], *r)
		}
	}
	traces, before := 0, 0
	for i := range report.Endpoints {
		traces, before = traces+report.Endpoints[i].Traces, before+report.Endpoints[i].Before.Traces
	}
	for i := range report.Unknown {
		traces, before = traces+report.Unknown[i].Traces, before+report.Unknown[i].Before.Traces
	}
	if report.Traces != traces || report.Before != before {
		t.Errorf("%s: %d traces and %d before, but the lines have %d and %d", name, report.Traces, report.Before, traces, before)
	}
	if len(got) != len(unknown) {
		t.Errorf("%s: without an origin: %v, want %v", name, slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(unknown)))
	}
	for _, w := range want {
		several += w.several
	}
	return len(want), several
}

// TestRipplesOfBatch: work on a batch of messages of one endpoint is that endpoint's,
// though not of a known thread of it; of several endpoints it is nobody's.
func TestRipplesOfBatch(t *testing.T) {
	var w workload
	batch := func(a, b string) {
		var sent []trace.Ref
		for _, name := range []string{a, b} {
			_, api := w.request(name)
			sent = append(sent, w.enqueue(api, "api", "Recalculate"))
		}
		run := w.perform(sent[0], false, "worker", "Recalculate", link(sent[1]))
		w.perform(w.enqueue(run, "worker", "Mail"), false, "mailer", "Mail")
	}
	batch("POST /quotes", "POST /quotes")
	batch("POST /quotes", "POST /cars")
	g, _ := testGraph(t, w.spans, Options{})
	report, err := g.RipplesBetween(context.Background(), RippleQuery{From: dayOne, To: dayOne + w.now + 1, Buckets: 4, Threads: 2, Open: &Endpoint{Service: "web", Name: "POST /quotes"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Endpoints) != 2 || len(report.Unknown) != 1 || report.Unknown[0].Status != Ambiguous || report.Unknown[0].Traces != 2 {
		t.Fatalf("%+v", report)
	}
	e := report.Endpoints[0]
	if e.Name != "POST /quotes" || e.Threads != 3 || e.Several != 2 || e.Jobs != 2 || e.Messages != 4 || e.Traces != 5 || e.Largest.Jobs != 0 {
		t.Errorf("POST /quotes: %+v, want 3 threads, and two runs that are of one of them", e)
	}
	if d := report.Open; d == nil || len(d.SetsOff) != 2 || d.SetsOff[0].Traces != 1 {
		t.Errorf("it sets off %+v, want both runs", report.Open)
	}
}

// TestRippleDetail: one endpoint, opened.
func TestRippleDetail(t *testing.T) {
	var w workload
	for i := range 12 {
		_, api := w.request("POST /quotes")
		for range i {
			w.perform(w.enqueue(api, "api", "Recalculate"), false, "worker", "Recalculate", failed)
		}
	}
	w.request("GET /cars")
	g, _ := testGraph(t, w.spans, Options{})
	open := Endpoint{Service: "web", Name: "POST /quotes"}
	q := RippleQuery{From: dayOne, To: dayOne + w.now + 1, Buckets: 4, Threads: 2, Open: &open}
	report, err := g.RipplesBetween(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	d := report.Open
	if d == nil || d.Threads != 12 || d.Spreading != 12 || d.Jobs != 66 || d.Messages != 66 || d.Requests != 12 || d.Errors != 66 || d.Failed != 11 {
		t.Fatalf("POST /quotes = %+v; want 12 threads with 66 jobs, 66 messages, 12 requests to the API and 66 errors in 11", d)
	}
	if len(d.LargestN) != 2 || d.LargestN[0].Jobs != 11 || d.LargestN[1].Jobs != 10 || len(d.All) != 12 {
		t.Errorf("largest threads = %+v of %d", d.LargestN, len(d.All))
	}
	if len(d.SetsOff) != 1 || d.SetsOff[0].Service != "worker" || d.SetsOff[0].Traces != 66 || d.SetsOff[0].Failed != 66 || d.SetsOff[0].Work != WorkJob {
		t.Errorf("sets off %+v, want 66 jobs of the worker", d.SetsOff)
	}
	threads, most := 0, 0
	for _, p := range d.Parts {
		threads += p.Threads
		most = max(most, p.MaxEffects)
	}
	if len(d.Parts) != 4 || threads != 12 || most != 23 {
		t.Errorf("over time = %+v, want 12 threads, the largest of 23 effects", d.Parts)
	}
	if report, err = g.RipplesBetween(context.Background(), RippleQuery{From: 0, To: 1, Buckets: 3, Threads: 3, Open: &open}); err != nil || len(report.Endpoints) != 0 || report.Open != nil {
		t.Errorf("of another time: %+v, %v", report, err)
	}
}

func TestEndpointName(t *testing.T) {
	for _, c := range [][3]string{
		{"GET /cars/:id", "/cars/:id", "GET /cars/:id"},
		{"GET /cars/81723", "/cars/:id", "GET /cars/:id"},
		{"GET", "/cars/:id", "GET /cars/:id"},
		{"HTTP POST", "/quotes", "POST /quotes"},
		{"CarsController#show", "/cars/:id", "CarsController#show"},
		{"/cars/81723", "/cars/:id", "/cars/:id"},
		{"nightly", "", "nightly"},
	} {
		if got := EndpointName(c[0], c[1]); got != c[2] {
			t.Errorf("endpoint of %q with the route %q is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
