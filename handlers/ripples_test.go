package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// rippleSpans are requests of two endpoints, the n-th of which sets off n jobs in
// traces of their own, all by the first version but the last three; and a job
// that nobody sent.
func rippleSpans(now time.Time, requests int) []trace.Span {
	at := now.Add(-50 * time.Minute).UnixNano()
	var spans []trace.Span
	add := func(id byte, n int, service, name string, kind trace.Kind, attributes ...string) *trace.Span {
		at += int64(time.Second)
		s := trace.Span{Service: service, Name: name, Kind: kind, Environment: "uk", StartUnixNano: at, DurationNano: int64(100 * time.Millisecond)}
		s.TraceID = trace.ID{id, byte(n >> 8), byte(n), 1}
		s.SpanID = trace.SpanID{id, byte(len(spans) >> 8), byte(len(spans)), 1}
		for i := 0; i < len(attributes); i += 2 {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: attributes[i], Value: trace.String(attributes[i+1])})
		}
		spans = append(spans, s)
		return &spans[len(spans)-1]
	}
	jobs := 0
	for i := range requests {
		name, version := "POST /quotes", "v1"
		if i%2 == 1 {
			name = "GET /cars/:id"
		}
		if i >= requests-3 {
			version = "v2"
		}
		root := add(1, i, "web", name, trace.KindServer, "http.route", name[strings.Index(name, "/"):], "service.version", version).Ref()
		for range i {
			sent := add(1, i, "web", "default publish", trace.KindProducer, "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "PricingJob")
			sent.ParentID = root.SpanID
			link := sent.Ref()
			jobs++
			run := add(2, jobs, "worker", "PricingJob process", trace.KindConsumer, "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "PricingJob",
				"messaging.operation", "process")
			run.Links = []trace.Link{{TraceID: link.TraceID, SpanID: link.SpanID}}
			if run.Error = i == 4; run.Error {
				run.Status = trace.StatusError
			}
		}
	}
	add(3, 1, "worker", "LostJob process", trace.KindConsumer, "messaging.system", "sidekiq", "messaging.sidekiq.job_class", "LostJob", "messaging.operation", "process")
	return spans
}

func rippleSite(t *testing.T, now time.Time, spans []trace.Span) *site {
	t.Helper()
	s := newSite(t, func(d *Deps) { d.Now = func() time.Time { return now } })
	if len(spans) > 0 {
		for i := range spans {
			spans[i].Attributes = append(spans[i].Attributes, trace.Attribute{Key: "deployment.environment.name", Value: trace.String("uk")})
		}
		s.feed(spans)
	}
	return s
}

func TestRipplesPage(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	s := rippleSite(t, now, rippleSpans(now, 7))
	b := s.as(collab.RoleViewer)
	page := b.get("/ripples")
	if page.status != http.StatusOK {
		t.Fatalf("status %d: %.500s", page.status, page.body)
	}
	// POST /quotes are the requests 0, 2, 4 and 6, GET /cars/:id 1, 3 and 5.
	for _, want := range []string{"7 threads set off 42 messages, jobs and requests, in 29 traces", "POST /quotes", "GET /cars/:id", "Biggest threads",
		"6 jobs · 6 messages", "Traces without a single origin", "LostJob process", "not recorded", "/thread/01000601", "Nothing"} {
		if has := strings.Contains(page.body, want); has == (want == "Nothing") {
			t.Errorf("the page has %q: %v", want, has)
		}
	}
	if strings.Index(page.body, "POST /quotes") > strings.Index(page.body, "GET /cars/:id") {
		t.Error("the endpoint that set off less comes first")
	}

	open := "/ripples?" + url.Values{"service": {"web"}, "name": {"POST /quotes"}, "in": {"uk"}}.Encode()
	page = b.get(open)
	for _, want := range []string{"Its largest threads", "What it sets off, by trace", "PricingJob process", "This deploy against the last", "service.version", "v2", "this deploy", "the last", "These charts as a table"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the opened endpoint lacks %q", want)
		}
	}
	if page = b.get("/ripples?find=cars"); strings.Contains(page.body, ">POST /quotes<") || !strings.Contains(page.body, "GET /cars/:id") {
		t.Error("find=cars does not show the cars alone")
	}
	if page = b.get("/ripples?find=nothing+like+it"); !strings.Contains(page.body, "No service or name has") {
		t.Error("a search without a match does not say so")
	}
	if page = b.get("/ripples?environment=de"); !strings.Contains(page.body, "Nothing happened in the last 1 h") || !strings.Contains(page.body, "In all environments") {
		t.Errorf("another environment has threads: %.200s", page.body)
	}
	if de := answerOf[ripplesAnswer](t, b, "/api/v1/ripples?environment=de"); de.Traces != 0 || de.RippleReport.Before != 0 {
		t.Errorf("another environment has %d traces, and %d before", de.Traces, de.RippleReport.Before)
	}
	if page = b.get("/ripples?range=5m"); !strings.Contains(page.body, "Nothing happened in the last 5 min") || !strings.Contains(page.body, "The last 24 h") {
		t.Error("a time without traces does not say so, and where some are")
	}
	for _, bad := range []string{"?sort=best", "?line=-1", "?range=soon"} {
		if page = b.get("/ripples" + bad); page.status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", bad, page.status)
		}
	}
}

// TestRipplesSorts: each order puts first what it is about.
func TestRipplesSorts(t *testing.T) {
	list := []graph.RippleEndpoint{
		{Endpoint: graph.Endpoint{Name: "big"}}, {Endpoint: graph.Endpoint{Name: "growing"}}, {Endpoint: graph.Endpoint{Name: "long"}}, {Endpoint: graph.Endpoint{Name: "failing"}},
	}
	for i, jobs := range []int{100, 50, 10, 5} {
		list[i].Jobs, list[i].Before.Jobs, list[i].Spreading = jobs, jobs, 1
	}
	list[0].Before.Jobs, list[1].Before.Jobs = 200, 1
	list[2].Longest.LastEffectNano, list[3].Errors = 1e9, 3
	for sort, want := range map[string]string{sortBiggest: "big", sortGrowing: "growing", sortLongest: "long", sortFailing: "failing"} {
		if got := sortRipples(list, ripplesState{sort: sort}); got[0].Name != want || len(got) != 4 {
			t.Errorf("sorted by %s, the first of %d is %s, want %s", sort, len(got), got[0].Name, want)
		}
	}
}

func TestRipplesJSON(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	s := rippleSite(t, now, rippleSpans(now, 7))
	b := s.as(collab.RoleViewer)
	read := func(path string) (out struct {
		Endpoints []struct {
			Service, Name, Environment                string
			Threads, Jobs, Messages, Requests, Errors int
			LastEffect                                string `json:"last_effect_nano"`
			Largest                                   struct{ Jobs int }
		}
		Unknown []struct {
			Status, Reason string
			Traces         int
		}
		Largest []struct {
			TraceID string `json:"trace_id"`
			Jobs    int
		}
		Total, Traces int
		Cut           bool
		Open          *struct {
			SetsOff []struct {
				Name   string
				Traces int
			} `json:"sets_off"`
		}
		Deploys []struct {
			Version       string
			Threads, Jobs int
		}
	}) {
		t.Helper()
		a := b.get(path)
		if a.status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, a.status, a.body)
		}
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := read("/api/v1/ripples?limit=1&service=web&name=POST+%2Fquotes&in=uk")
	if all.Total != 2 || len(all.Endpoints) != 1 || all.Traces != 29 || all.Cut {
		t.Fatalf("%+v: want 1 of 2 endpoints of 29 traces", all)
	}
	if e := all.Endpoints[0]; e.Name != "POST /quotes" || e.Threads != 4 || e.Jobs != 12 || e.Messages != 12 || e.Requests != 0 || e.Errors != 4 || e.Largest.Jobs != 6 {
		t.Errorf("first endpoint = %+v", e)
	}
	if len(all.Unknown) != 1 || all.Unknown[0].Reason != "not_recorded" || all.Unknown[0].Traces != 1 {
		t.Errorf("without an origin: %+v", all.Unknown)
	}
	if len(all.Largest) == 0 || all.Largest[0].Jobs != 6 {
		t.Errorf("largest threads: %+v", all.Largest)
	}
	if all.Open == nil || len(all.Open.SetsOff) != 1 || all.Open.SetsOff[0].Traces != 12 {
		t.Errorf("opened: %+v", all.Open)
	}
	if len(all.Deploys) != 2 || all.Deploys[0].Version != "v2" || all.Deploys[0].Threads != 2 || all.Deploys[0].Jobs != 10 || all.Deploys[1].Threads != 2 || all.Deploys[1].Jobs != 2 {
		t.Errorf("deploys: %+v; want v2 with 10 jobs of 2 threads, v1 with 2 of 2", all.Deploys)
	}
	if next := read("/api/v1/ripples?limit=1&line=1"); len(next.Endpoints) != 1 || next.Endpoints[0].Name != "GET /cars/:id" {
		t.Errorf("second endpoint: %+v", next.Endpoints)
	}
}

// TestRipplesOverfull: thousands of endpoints come in pages.
func TestRipplesOverfull(t *testing.T) {
	report := &graph.RippleReport{Traces: 5000}
	for i := range 5000 {
		report.Endpoints = append(report.Endpoints, graph.RippleEndpoint{Endpoint: graph.Endpoint{Service: "web", Name: fmt.Sprintf("GET /%d/%s", i, strings.Repeat("x", 2000))}})
	}
	st := ripplesState{window: timeWindow{Range: "1h", To: time.Unix(3600, 0)}, sort: sortBiggest, line: 4900}
	m := ripplesView(report, st)
	if len(m.Rows) != rippleLines || m.First != 4901 || m.Last != 5000 || m.All != 5000 || m.NextURL != "" || !strings.Contains(m.PrevURL, "line=4800") {
		t.Errorf("last page: %d rows, %d to %d of %d, previous %s, next %s", len(m.Rows), m.First, m.Last, m.All, m.PrevURL, m.NextURL)
	}
	if n := len(m.Rows[0].Name); n > 300 {
		t.Errorf("a name is %d bytes long on the page", n)
	}
}

// TestErrorsOfSeveralThreads: errors that are not of a known thread lead to none, and are
// no share of the threads.
func TestErrorsOfSeveralThreads(t *testing.T) {
	var thread graph.RippleThread
	thread.TraceID, thread.SpanID = trace.ID{1}, trace.SpanID{1}
	e := graph.RippleEndpoint{Endpoint: graph.Endpoint{Service: "web", Name: "POST /quotes"}, Failing: thread, Several: 1}
	e.Threads, e.Errors = 3, 2
	if r := endpointRows([]*graph.RippleEndpoint{&e}, ripplesState{})[0]; !r.HasErrors || r.Errors != "2" || r.FailingURL != "" || r.FailedShare != "" {
		t.Errorf("no thread failed: %+v", r)
	}
	e.Failed = 1
	if r := endpointRows([]*graph.RippleEndpoint{&e}, ripplesState{})[0]; r.Errors != "2" || r.FailingURL != rippleHref(&thread) || r.FailedShare != "33 %" {
		t.Errorf("one thread failed: %+v", r)
	}
}
