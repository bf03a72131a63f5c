package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"redthread/tracestore/trace"
)

// recording is how a sender records what caused the handling of a message or job.
type recording int

// The recordings.
const (
	byLink      recording = iota // OpenTelemetry: a trace of its own with a link
	byID                         // nothing but the message id on both sides
	byHoneycomb                  // honeykiq: a trace of its own that names its parent's
	byLinkEvent                  // honeykiq: a trace of its own and an event that is a link
	byDatadog                    // dd-trace: links as JSON in an attribute
	recordings
)

// market sends what the journeys are about, with senders of all recordings: users
// whose requests send messages, which are handled by jobs.
type market struct {
	t     testing.TB
	r     *rand.Rand
	at    int64 // unix nanoseconds of the request being made
	n     uint64
	spans []trace.Span
}

func (m *market) span(id trace.ID, parent trace.SpanID, service, name string, kind trace.Kind, start, length time.Duration, attributes ...any) *trace.Span {
	m.n++
	s := trace.Span{TraceID: id, SpanID: spanID(m.n), ParentID: parent, Service: service, Name: name, Kind: kind, Environment: "production-uk",
		StartUnixNano: m.at + int64(start), DurationNano: int64(length)}
	for i := 0; i < len(attributes); i += 2 {
		v, ok := attributes[i+1].(string)
		a := trace.Attribute{Key: attributes[i].(string), Value: trace.String(v)}
		if !ok {
			a.Value = trace.Int(int64(attributes[i+1].(int)))
		}
		s.Attributes = append(s.Attributes, a)
	}
	m.spans = append(m.spans, s)
	return &m.spans[len(m.spans)-1]
}

// handle makes the run of a job in a trace of its own, caused by a span that sent
// the job of an id.
func (m *market) handle(how recording, from trace.Ref, jid, job string, start, length time.Duration) trace.Ref {
	id := newID(m.r)
	switch how {
	case byHoneycomb:
		return m.span(id, trace.SpanID{}, "worker", job, trace.KindUnspecified, start, length, "type", "job", "job.class", job, "job.id", jid+"-other", "parent.trace_id", from.TraceID.String(), "job.status", "finished").Ref()
	case byLinkEvent:
		s := m.span(id, trace.SpanID{}, "worker", job, trace.KindUnspecified, start, length, "type", "job", "job.class", job, "job.id", jid+"-other", "job.status", "finished").Ref()
		m.span(id, s.SpanID, "worker", "link", trace.KindUnspecified, start, 0, "meta.annotation_type", "link", "trace.link.trace_id", from.TraceID.String(), "trace.link.span_id", from.SpanID.String())
		return s
	}
	s := m.span(id, trace.SpanID{}, "worker", job, trace.KindConsumer, start, length, "messaging.system", "sidekiq", "messaging.destination.name", "default", "messaging.sidekiq.job_class", job)
	switch how {
	case byLink:
		s.Links = []trace.Link{{TraceID: from.TraceID, SpanID: from.SpanID}}
	case byID:
		s.Attributes = append(s.Attributes, trace.Attribute{Key: "messaging.message.id", Value: trace.String(jid)})
	case byDatadog:
		s.Attributes = append(s.Attributes, trace.Attribute{Key: "_dd.span_links", Value: trace.String(fmt.Sprintf(`[{"trace_id":"%s","span_id":"%s"}]`, from.TraceID, from.SpanID))})
	}
	return s.Ref()
}

// request makes a request of a user at an age, which sends one message; that is
// handled in a trace of its own, and enqueues jobs, each recorded in the next of
// the recordings. It returns the server span and the runs.
func (m *market) request(age time.Duration, route, user string, jobs int, job string, took time.Duration) (root trace.Ref, runs []trace.Ref) {
	m.at = time.Now().Add(-age).UnixNano()
	id := newID(m.r)
	unique := id.String()[:12]
	root = m.span(id, trace.SpanID{}, "web", "POST "+route, trace.KindServer, 0, 120*time.Millisecond, "http.route", route, "http.response.status_code", 202,
		"user.id", user, "enduser.email", user+"@example.com", "http.request.header.x-request-id", "req-"+unique).Ref()
	publish := m.span(id, root.SpanID, "web", "cars.changed publish", trace.KindProducer, 50*time.Millisecond, 2*time.Millisecond,
		"messaging.system", "kafka", "messaging.destination.name", "cars.changed", "messaging.message.id", "msg-"+unique).Ref()
	consumer := m.span(newID(m.r), trace.SpanID{}, "pricing", "cars.changed process", trace.KindConsumer, 90*time.Millisecond, 400*time.Millisecond,
		"messaging.system", "kafka", "messaging.destination.name", "cars.changed", "messaging.message.id", "msg-"+unique)
	consumer.Links = []trace.Link{{TraceID: publish.TraceID, SpanID: publish.SpanID}}
	from := consumer.Ref()
	for i := range jobs {
		jid := fmt.Sprintf("%s%08x", unique, i)
		at := 100*time.Millisecond + time.Duration(i)*time.Millisecond/2
		send := m.span(from.TraceID, from.SpanID, "pricing", job+" publish", trace.KindProducer, at, time.Millisecond/4,
			"messaging.system", "sidekiq", "messaging.destination.name", "default", "messaging.sidekiq.job_class", job, "messaging.message.id", jid).Ref()
		runs = append(runs, m.handle(recording(i)%recordings, send, jid, job, at+40*time.Millisecond, took))
	}
	return root, runs
}

// send sends what was made and waits until it can be found.
func (m *market) send(p *process) {
	m.t.Helper()
	sendSpans(m.t, p, m.spans)
	want := map[trace.ID]int{}
	for i := range m.spans {
		want[m.spans[i].TraceID]++
	}
	for id, n := range want {
		eventually(m.t, patience, "trace "+id.String()+" is found", func() error {
			if got := p.spanCount(id); got < 1 || got < n-1 { // a link event is a note on its span
				return fmt.Errorf("%d of %d spans", got, n)
			}
			return nil
		})
	}
}

// TestBrowserJourneys walks the three ways for which people come here.
func TestBrowserJourneys(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	m := &market{t: t, r: rand.New(rand.NewPCG(rand.Uint64(), 6)), n: 1 << 32}
	complaint, _ := m.request(8*time.Minute, "/quotes", "u-90210", 10, "SendQuoteMail", 30*time.Millisecond)
	for i := range 12 {
		m.request(time.Duration(20+i)*time.Minute, "/cars/{id}", fmt.Sprintf("u-%d", 100+i), 5, "RecalculateQuotes", 20*time.Millisecond)
		m.request(time.Duration(20+i)*time.Minute, "/offers", fmt.Sprintf("u-%d", 200+i), 5, "RecalculateQuotes", 90*time.Millisecond)
	}
	importing, storm := m.request(3*time.Minute, "/dealers/import", "u-777", 200, "RecalculateQuotes", 250*time.Millisecond)
	m.send(p)
	p.createUser("ann@example.com", "Ann", "member")
	a := openTab(t, chrome, p, "A")
	a.signInAs("ann@example.com")

	t.Run("complaint", func(t *testing.T) { followComplaint(t, a, complaint) })
	t.Run("storm", func(t *testing.T) { followStorm(t, a, importing, storm) })
	t.Run("blame", func(t *testing.T) { findCulprit(t, a) })
	t.Run("without scripts", func(t *testing.T) { followWithoutScripts(t, openTab(t, chrome, p, "no scripts"), complaint) })
	a.leave()
	p.stop()
}

// onThread checks that the page is the thread that a request began.
func (b *tab) onThread(t *testing.T, name string, words ...string) {
	t.Helper()
	b.until("the page is the thread of "+name, `location.pathname.startsWith("/thread/") && document.querySelector("h1").textContent.includes(`+jsonText(name)+`)`)
	body := b.text("main")
	for _, w := range words {
		if !strings.Contains(body, w) {
			t.Errorf("the thread of %s has no %q", name, w)
		}
	}
}

// followComplaint: a user complains. Their address, pasted, leads to their
// request, and that to its message and all of its jobs.
func followComplaint(t *testing.T, a *tab, request trace.Ref) {
	for _, text := range []string{"u-90210@example.com", "u-90210"} {
		a.open("/")
		a.key("/")
		a.until("/ goes to the box", `document.activeElement.matches(".TopBar-input")`)
		a.write(text)
		a.follow("look for "+text, press("Enter", 0))
		if got, want := value[string](a, `location.pathname`), "/t/"+request.TraceID.String()+"/"+request.SpanID.String(); got != want {
			t.Fatalf("%s leads to %s, want %s", text, got, want)
		}
	}
	a.until("the message is marked on its bar", `[...document.querySelectorAll(".Waterfall-note")].some((n) => n.textContent === "▶ 1 consumer")`)
	if got := a.text(".Causes"); !strings.Contains(got, "this is the origin") || !strings.Contains(got, "cars.changed process") {
		t.Errorf("the strip of the request says %q", got)
	}
	a.until("the panel is there", `document.querySelector('.SpanPanel [data-part="effects"]') !== null`)
	a.follow("e for what it caused", press("e", 0))
	a.onThread(t, "POST /quotes", "cars.changed", "SendQuoteMail", "u-90210")
	if got := a.text("main"); !strings.Contains(got, "×10") {
		t.Errorf("the ten mails are not counted: %.2000s", got)
	}
}

// followStorm: jobs fill the queue. Any of them leads, with one key, to the one
// request that caused them all, whatever way its sender recorded the cause.
func followStorm(t *testing.T, a *tab, request trace.Ref, runs []trace.Ref) {
	a.open("/explore?v=COUNT&w=name+%3D+RecalculateQuotes&w=duration_ms+>+200&tab=traces&range=1h")
	a.until("the runs are listed", `document.querySelectorAll(".Traces tbody tr").length > 20`)
	a.key("j")
	a.until("j goes to the first row", `document.activeElement.closest("tr") === document.querySelector(".Traces tbody tr")`)
	a.key("j")
	a.until("and to the next", `document.activeElement.closest("tr") === document.querySelectorAll(".Traces tbody tr")[1]`)
	a.follow("o for what caused it", press("o", 0))
	a.onThread(t, "POST /dealers/import", "u-777", "cars.changed", "RecalculateQuotes", "×200")
	a.until("the way to the run is drawn", `document.querySelector("path.ThreadCurve--path") !== null`)

	for how := range recordings {
		run := runs[how]
		a.open("/t/" + run.TraceID.String() + "/" + run.SpanID.String())
		a.until("the panel names its origin", `document.querySelector(".SpanLinks")?.textContent.includes("POST /dealers/import")`)
		a.follow("o for what caused it", press("o", 0))
		if got, want := a.path(), "/thread/"+run.TraceID.String()+"?span="+run.SpanID.String(); got != want {
			t.Errorf("recording %d: o leads to %s, want %s", how, got, want)
		}
		a.onThread(t, "POST /dealers/import", "×200")
	}
	a.open("/find?q=" + request.SpanID.String())
	a.until("the request says what it caused", `document.querySelector(".Causes")?.textContent.includes("cars.changed process")`)
}

// findCulprit: which endpoint causes most of a job's time? The query groups the
// job's spans by the route of the request behind each.
func findCulprit(t *testing.T, a *tab) {
	newClause := func(param string) string { return `[data-clauses="` + param + `"] .Clause--new input` }
	a.open("/explore?v=COUNT&range=1h")
	for _, c := range [][2]string{{"w", "name = RecalculateQuotes"}, {"g", "origin.http.route"}, {"v", "SUM(duration_ms)"}, {"o", "SUM(duration_ms) desc"}} {
		a.fill(newClause(c[0]), c[1])
		a.key("Enter")
		a.until(c[1]+" is in the address", `new URLSearchParams(location.search).getAll(`+jsonText(c[0])+`).includes(`+jsonText(c[1])+`)`)
	}
	const rows = `[...document.querySelectorAll('[data-part="results"] tbody tr')].map((r) => [...r.cells].map((c) => c.querySelector(".Table-text")?.textContent.trim() ?? ""))`
	a.until("the endpoints stand in order", rows+`.map((r) => r[0]).join() === "/dealers/import,/offers,/cars/{id}"`)
	got := value[[][]string](a, rows)
	if row := strings.Join(got[0], " "); !strings.Contains(row, "200") || !strings.Contains(row, "50 s") {
		t.Errorf("the first row is %q, want 200 runs of 50 s", row)
	}
	a.click(`[data-part="results"] tbody tr .Results-go a`)
	a.until("its runs are listed", `document.querySelectorAll(".Traces tbody tr").length > 20`)
	a.follow("to the thread of the first", clickOn(`.Traces tbody tr .ThreadLink`))
	a.onThread(t, "POST /dealers/import")
}

// followWithoutScripts goes the way of the complaint by links alone.
func followWithoutScripts(t *testing.T, a *tab, request trace.Ref) {
	a.signInAs("ann@example.com")
	a.withoutScripts()
	a.open("/find?q=u-90210")
	if got, want := value[string](a, `location.pathname`), "/t/"+request.TraceID.String()+"/"+request.SpanID.String(); got != want {
		t.Fatalf("the user leads to %s, want %s", got, want)
	}
	a.follow("to the effects", clickOn(`.SpanPanel [data-part="effects"]`))
	a.onThread(t, "POST /quotes", "SendQuoteMail")
	a.leave()
}
