package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// senders writes one causal truth as a library records it. It knows what each
// run was caused by, and whether its spans tell.
type senders struct {
	rng     *rand.Rand
	now     time.Time
	spans   []trace.Span
	asked   []asked
	env     string
	counter int // of jobs, messages and offsets
	low     bool
}

// asked is a run with its true origins: of several all are candidates.
type asked struct {
	run     trace.Ref
	origins []trace.ID
	silent  bool // the spans do not tell: unknown is the best answer
}

func newSenders(seed uint64) *senders {
	return &senders{rng: rand.New(rand.NewPCG(seed, 11)), now: time.Now().Add(-10 * time.Minute), env: "default"}
}

// with are attributes in pairs.
func with(pairs ...any) func(*trace.Span) {
	return func(s *trace.Span) {
		for i := 0; i < len(pairs); i += 2 {
			var v trace.Value
			switch x := pairs[i+1].(type) {
			case string:
				v = trace.String(x)
			case int:
				v = trace.Int(int64(x))
			case bool:
				v = trace.Bool(x)
			case []string:
				text, _ := json.Marshal(x)
				v = trace.JSON(string(text))
			}
			s.Attributes = append(s.Attributes, trace.Attribute{Key: pairs[i].(string), Value: v})
		}
	}
}

func linked(to ...trace.Ref) func(*trace.Span) {
	return func(s *trace.Span) {
		for _, r := range to {
			s.Links = append(s.Links, trace.Link{TraceID: r.TraceID, SpanID: r.SpanID})
		}
	}
}

// span writes a span of 5 ms, in a new trace if under is zero.
func (w *senders) span(under trace.Ref, service, name string, kind trace.Kind, opts ...func(*trace.Span)) trace.Ref {
	w.now = w.now.Add(7 * time.Millisecond)
	s := trace.Span{TraceID: under.TraceID, ParentID: under.SpanID, Service: service, Name: name, Kind: kind, Environment: w.env,
		StartUnixNano: w.now.UnixNano(), DurationNano: 5e6}
	id := w.ref()
	s.SpanID = id.SpanID
	if under.TraceID.IsZero() {
		s.TraceID = id.TraceID
		if w.low {
			clear(s.TraceID[:8])
		}
	}
	for _, o := range opts {
		o(&s)
	}
	w.spans = append(w.spans, s)
	return s.Ref()
}

func (w *senders) ref() (r trace.Ref) {
	for i := range r.TraceID {
		r.TraceID[i] = byte(w.rng.Uint32())
	}
	for i := range r.SpanID {
		r.SpanID[i] = byte(w.rng.Uint32())
	}
	r.TraceID[8] |= 0x80
	return r
}

func (w *senders) uuid() string {
	h := hex.EncodeToString(func() []byte { r := w.ref(); return r.TraceID[:] }())
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

func (w *senders) jid() string {
	r := w.ref()
	return hex.EncodeToString(r.TraceID[:12])
}

func (w *senders) next() int { w.counter++; return w.counter }

// mark adds to a span that was written.
func (w *senders) mark(ref trace.Ref, opts ...func(*trace.Span)) {
	for i := range w.spans {
		if w.spans[i].Ref() == ref {
			for _, o := range opts {
				o(&w.spans[i])
			}
		}
	}
}

// request writes a request of a user and returns the span of its handler.
func (w *senders) request() (root, handler trace.Ref) {
	root = w.span(trace.Ref{}, "web", "POST /quotes", trace.KindServer, with("http.request.method", "POST", "http.route", "/quotes"))
	return root, w.span(root, "web", "QuotesController#create", trace.KindInternal)
}

// ask notes what a run was caused by.
func (w *senders) ask(run trace.Ref, silent bool, origins ...trace.Ref) {
	a := asked{run: run, silent: silent}
	for _, o := range origins {
		if !slices.Contains(a.origins, o.TraceID) {
			a.origins = append(a.origins, o.TraceID)
		}
	}
	w.asked = append(w.asked, a)
}

// chains sends from several requests over three services, twice from each.
func (w *senders) chains(hop hop, silent bool) {
	for range 3 {
		root, handler := w.request()
		for range 2 {
			at := handler
			from := "web"
			for _, to := range []string{"worker", "dealers", "mail"} {
				run := hop(w, at, from, to)
				w.ask(run, silent, root)
				at = w.span(run, to, "SELECT", trace.KindClient, with("db.system", "postgresql"))
				w.ask(at, silent, root)
				at, from = run, to
			}
		}
	}
}

// batches sends messages of several requests that are received together, of one
// request alone, and goes on from each.
func (w *senders) batches(receive batch) {
	for _, sizes := range [][]int{{1, 1, 1}, {3}, {1}, {2, 1}} {
		var roots, each []trace.Ref
		var under []trace.Ref
		for _, n := range sizes {
			root, handler := w.request()
			each = append(each, root)
			for range n {
				roots, under = append(roots, root), append(under, handler)
			}
		}
		single, whole := receive(w, under, "web", "dealers")
		for i, s := range single {
			w.ask(s, false, roots[i])
		}
		for _, s := range whole {
			w.ask(s, false, each...)
			job := sidekiqHop("link", false)(w, s, "dealers", "worker")
			w.ask(job, false, each...)
		}
	}
}

// verdicts counts as check_causes.py does; silent are unknown where the spans do
// not tell.
type verdicts struct{ Right, Candidates, Silent, Missing, Wrong int }

// judgeAnswer judges one answer.
func (a *asked) judge(v *verdicts, status graph.Status, said []trace.ID, lossy bool) string {
	part := !slices.ContainsFunc(said, func(id trace.ID) bool { return !slices.Contains(a.origins, id) })
	same := len(said) == len(a.origins)
	for _, o := range a.origins {
		same = same && slices.Contains(said, o)
	}
	switch {
	case status == graph.Found && same && len(a.origins) == 1:
		v.Right++
	case status == graph.Ambiguous && same:
		v.Candidates++
	case lossy && part && len(a.origins) > 1, lossy && status == graph.Ambiguous && slices.Contains(said, a.origins[0]):
		v.Candidates++ // the span that said more of it is not there
	case status == graph.Unknown && a.silent:
		v.Silent++
	case status == graph.Unknown:
		v.Missing++
		return "missing"
	case status == graph.Ambiguous && a.silent && slices.Contains(said, a.origins[0]):
		v.Candidates++
	default:
		v.Wrong++
		return "WRONG"
	}
	return ""
}

func (w *senders) inMemory(t *testing.T, spans []trace.Span, strict bool, what string) (v verdicts) {
	t.Helper()
	g := graph.New(graph.NewMemory(nil, spans), graph.Options{})
	there := map[trace.Ref]bool{}
	ids := []trace.ID{}
	for i := range spans {
		there[spans[i].Ref()] = true
		ids = append(ids, spans[i].TraceID)
	}
	many, err := g.Origins(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids { // what queries say of traces is what the page says
		one, err := g.TraceOrigin(t.Context(), id)
		if errors.Is(err, graph.ErrNotFound) {
			continue // of its spans only notes are left
		}
		if err != nil {
			t.Fatal(err)
		}
		if many[i].Status != one.Status || one.Status == graph.Found && many[i].Origin.TraceID != one.Origins[0].TraceID {
			t.Errorf("%s: trace %s is %s alone and %s in numbers", what, id, one.Status, many[i].Status)
		}
	}
	w.inNumbers(t, g, there, ids, many, what)
	for i := range w.asked {
		a := &w.asked[i]
		if !there[a.run] {
			continue
		}
		o, err := g.Origin(t.Context(), a.run.TraceID, a.run.SpanID)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var said []trace.ID
		for _, s := range o.Origins {
			if !slices.Contains(said, s.TraceID) {
				said = append(said, s.TraceID)
			}
		}
		if o.Incomplete && !strict {
			continue // it says that something on the way is not there
		}
		if bad := a.judge(&v, o.Status, said, !strict); bad == "WRONG" || bad != "" && strict {
			at := slices.IndexFunc(spans, func(s trace.Span) bool { return s.Ref() == a.run })
			t.Errorf("%s: %s: %s %q of %s: %s %s %v, want %v", what, bad, a.run.SpanID, spans[at].Name, spans[at].Service, o.Status, o.Reason, said, a.origins)
		}
	}
	return v
}

// inNumbers compares what queries say of runs with what their pages say, and looks
// for each that is found in the thread of its origin.
func (w *senders) inNumbers(t *testing.T, g *graph.Graph, there map[trace.Ref]bool, ids []trace.ID, many []graph.TraceOrigin, what string) {
	t.Helper()
	of := map[trace.ID]graph.TraceOrigin{}
	for i, id := range ids {
		of[id] = many[i]
	}
	var runs []trace.Ref
	for i := range w.asked {
		if run := w.asked[i].run; there[run] {
			runs = append(runs, run)
		}
	}
	apart, err := g.SpanOrigins(t.Context(), runs)
	if err != nil {
		t.Fatal(err)
	}
	threads := map[trace.ID]map[trace.ID]bool{}
	for i, run := range runs {
		one, err := g.Origin(t.Context(), run.TraceID, run.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		said := of[run.TraceID]
		if said.Apart {
			said = apart[i]
		}
		if said.Status != one.Status || one.Status == graph.Found && said.Origin.TraceID != one.Origins[0].TraceID {
			t.Errorf("%s: run %v is %s %s alone and %s %s in numbers", what, run, one.Status, one.Reason, said.Status, said.Reason)
		}
		for _, o := range one.Origins {
			if threads[o.TraceID] == nil {
				th, err := g.Thread(t.Context(), o.TraceID)
				if err != nil {
					t.Fatal(err)
				}
				threads[o.TraceID] = map[trace.ID]bool{}
				for _, n := range th.Nodes {
					threads[o.TraceID][n.TraceID] = true
				}
			}
			if !threads[o.TraceID][run.TraceID] {
				t.Errorf("%s: run %v is not in the thread of its origin %v", what, run, o.Ref)
			}
		}
	}
}

// afterExpiry compares what queries say of traces with what their pages say once the
// spans of half of them are gone, and then of all: the reasons too.
func (w *senders) afterExpiry(t *testing.T) {
	t.Helper()
	m := graph.NewMemory(nil, w.spans)
	g := graph.New(m, graph.Options{})
	var ids []trace.ID
	for i := range w.spans {
		if id := w.spans[i].TraceID; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, every := range []int{2, 1} {
		for i := 0; i < len(ids); i += every {
			m.Expire(ids[i])
		}
		many, err := g.Origins(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			one, err := g.TraceOrigin(t.Context(), id)
			if errors.Is(err, graph.ErrNotFound) {
				continue // of its spans only notes were left
			}
			if err != nil {
				t.Fatal(err)
			}
			// That a sender sampled is said by the link, which queries do not read.
			reason := strings.Replace(one.Reason, graph.SampledOut, graph.NotArrived, 1)
			if many[i].Status != one.Status || many[i].Reason != reason || one.Status == graph.Found && many[i].Origin.TraceID != one.Origins[0].TraceID {
				t.Errorf("one in %d expired: trace %s is %s %s alone and %s %s in numbers", every, id, one.Status, one.Reason, many[i].Status, many[i].Reason)
			}
		}
	}
}

// decoded takes spans through the wire, as protobuf and as JSON.
func decoded(t *testing.T, spans []trace.Span, asJSON bool) []trace.Span {
	t.Helper()
	body := otlp.AppendSpans(nil, spans)
	if asJSON {
		var err error
		if body, err = otlp.FromJSON(nil, otlp.Traces, otlpJSON(spans)); err != nil {
			t.Fatal(err)
		}
	}
	out, _, err := otlp.DecodeAll(otlp.Traces, body, otlp.Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// otlpJSON writes an export request as OTLP/JSON: ids in hex, 64-bit numbers as text.
func otlpJSON(spans []trace.Span) []byte {
	type m = map[string]any
	attrs := func(list []trace.Attribute) (out []m) {
		for _, a := range list {
			v := m{"stringValue": a.Value.Str}
			switch a.Value.Type {
			case trace.TypeInt:
				v = m{"intValue": strconv.FormatInt(a.Value.Int(), 10)}
			case trace.TypeBool:
				v = m{"boolValue": a.Value.Bool()}
			case trace.TypeJSON:
				var list []string
				_ = json.Unmarshal([]byte(a.Value.Str), &list)
				values := []m{}
				for _, e := range list {
					values = append(values, m{"stringValue": e})
				}
				v = m{"arrayValue": m{"values": values}}
			}
			out = append(out, m{"key": a.Key, "value": v})
		}
		return out
	}
	var resources []m
	for i := range spans {
		s := &spans[i]
		links, events := []m{}, []m{}
		for _, l := range s.Links {
			links = append(links, m{"traceId": strings.ToUpper(l.TraceID.String()), "spanId": strings.ToUpper(l.SpanID.String()), "attributes": attrs(l.Attributes)})
		}
		for _, e := range s.Events {
			events = append(events, m{"name": e.Name, "timeUnixNano": strconv.FormatInt(e.TimeUnixNano, 10), "attributes": attrs(e.Attributes)})
		}
		span := m{"traceId": s.TraceID.String(), "spanId": s.SpanID.String(), "name": s.Name, "kind": int(s.Kind),
			"startTimeUnixNano": strconv.FormatInt(s.StartUnixNano, 10), "endTimeUnixNano": strconv.FormatInt(s.EndUnixNano(), 10),
			"attributes": attrs(s.Attributes), "links": links, "events": events}
		if !s.ParentID.IsZero() {
			span["parentSpanId"] = s.ParentID.String()
		}
		resources = append(resources, m{"resource": m{"attributes": []m{
			{"key": "service.name", "value": m{"stringValue": s.Service}}, {"key": "deployment.environment", "value": m{"stringValue": s.Environment}}}},
			"scopeSpans": []m{{"spans": []m{span}}}})
	}
	out, err := json.Marshal(m{"resourceSpans": resources})
	if err != nil {
		panic(err)
	}
	return out
}

// TestSenders: what truly caused each run is found, however its library records
// it: never wrong, and unknown only where its spans do not tell.
func TestSenders(t *testing.T) {
	table := []string{fmt.Sprintf("%-46s %5s %5s %6s %7s %5s", "sender", "right", "cand.", "silent", "missing", "WRONG")}
	for _, s := range allSenders {
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(2) {
				w := newSenders(seed)
				s.write(w)
				v := w.inMemory(t, decoded(t, w.spans, false), true, "protobuf")
				if seed == 0 {
					table = append(table, fmt.Sprintf("%-46s %5d %5d %6d %7d %5d", s.name, v.Right, v.Candidates, v.Silent, v.Missing, v.Wrong))
				}
				if seed == 0 {
					if again := w.inMemory(t, decoded(t, w.spans, true), true, "JSON"); again != v {
						t.Errorf("JSON: %+v, protobuf: %+v", again, v)
					}
					twice := append(slices.Clone(w.spans), w.spans...)
					w.rng.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
					w.inMemory(t, decoded(t, twice, false), true, "doubled and shuffled")
				}
				if s.clock {
					continue
				}
				services := map[string]bool{}
				for i := range w.spans {
					services[w.spans[i].Service] = true
				}
				for service := range services {
					w.inMemory(t, decoded(t, slices.DeleteFunc(slices.Clone(w.spans), func(s trace.Span) bool { return s.Service == service }), false), false, "without "+service)
				}
				lost := slices.DeleteFunc(slices.Clone(w.spans), func(trace.Span) bool { return w.rng.IntN(4) == 0 })
				w.inMemory(t, decoded(t, lost, false), false, "with a quarter of the spans lost")
				if seed > 0 {
					continue
				}
				skewed := slices.Clone(w.spans)
				for i := range skewed {
					by := (int64(len(skewed[i].Service)*7919)%7 - 3) * int64(time.Second)
					skewed[i].StartUnixNano += by
					skewed[i].Events = slices.Clone(skewed[i].Events)
					for k := range skewed[i].Events {
						skewed[i].Events[k].TimeUnixNano += by
					}
				}
				w.inMemory(t, skewed, true, "with clocks 3 s apart")
				for i := range skewed {
					skewed[i] = w.spans[i]
					skewed[i].Service = "web"
				}
				w.inMemory(t, skewed, true, "as one application")
				w.afterExpiry(t)
			}
		})
	}
	t.Log("\n" + strings.Join(table, "\n"))
}

// TestSendersToServer sends all of them at once to the running program, over
// HTTP in both encodings and gRPC, effects first.
func TestSendersToServer(t *testing.T) {
	p := start(t, t.TempDir())
	var all []*senders
	n := 0
	for i, s := range allSenders {
		w := newSenders(uint64(100 + i))
		w.env = "env-" + strconv.Itoa(i) // small ids are those of their environment
		s.write(w)
		all = append(all, w)
		spans := slices.Clone(w.spans)
		slices.Reverse(spans)
		for part := range slices.Chunk(spans, 40) {
			switch n++; n % 3 {
			case 0:
				if got, text := send(t, p.otlpHTTP+"/v1/traces", otlpJSON(part), "Content-Type", "application/json"); got != http.StatusOK {
					t.Fatalf("%s: %d %s", s.name, got, text)
				}
			case 1:
				sendSpans(t, p, part)
			default:
				if err := exportGRPC(t, p.otlpGRPC, otlp.AppendSpans(nil, part)); err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
			}
		}
	}
	p.awaitApplied() // what is not there yet is no cause
	for _, again := range []bool{false, true} {
		if again {
			p.stop()
			p = start(t, p.dir)
		}
		for i, w := range all {
			var v verdicts
			for k := range w.asked {
				a := &w.asked[k]
				var got struct {
					Status  graph.Status
					Origins []trace.Ref
				}
				eventually(t, patience, "the run is found", func() error {
					if code := p.api(http.MethodGet, "/api/v1/traces/"+a.run.TraceID.String()+"/spans/"+a.run.SpanID.String()+"/origin", nil, &got); code != http.StatusOK {
						return fmt.Errorf("status %d", code)
					}
					return nil
				})
				var said []trace.ID
				for _, o := range got.Origins {
					if !slices.Contains(said, o.TraceID) {
						said = append(said, o.TraceID)
					}
				}
				if bad := a.judge(&v, got.Status, said, false); bad != "" {
					t.Errorf("%s, restarted %v: %s: run %v: %s %v, want %v", allSenders[i].name, again, bad, a.run, got.Status, said, a.origins)
				}
			}
		}
	}
	p.stop()
}
