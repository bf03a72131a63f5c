package handlers

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore/trace"
)

func TestHomeBeforeTheFirstTrace(t *testing.T) {
	s := newSite(t)
	b := s.as(collab.RoleAdmin)
	b.get("/").want(t, "home without data", http.StatusOK, "Send your first trace", "Waiting for your first span", s.srv.URL, "bundle add opentelemetry-sdk",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+s.srv.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-redthread-key=YOUR_KEY", "/settings/keys", "!{endpoint}", "!KEY?")
	for _, x := range senders {
		b.get("/?sender="+x.id).want(t, x.name, http.StatusOK, x.name, s.srv.URL, "!{endpoint}", "!KEY?", "x-redthread-key")
	}
	s.as(collab.RoleViewer).get("/").want(t, "home of a viewer", http.StatusOK, "An administrator makes one", `!href="/settings/keys"`)
	var waiting firstTraceAnswer
	if err := json.Unmarshal([]byte(b.get("/home/first-trace").body), &waiting); err != nil || waiting.Found {
		t.Fatalf("before the first span: %+v, %v", waiting, err)
	}
	spans := exploreSpans(s.Now())[:1]
	s.feed(spans)
	if err := json.Unmarshal([]byte(b.get("/home/first-trace").body), &waiting); err != nil {
		t.Fatal(err)
	}
	if want := (firstTraceAnswer{Found: true, URL: "/t/" + spans[0].TraceID.String(), Service: "web-uk", Name: "POST /quotes"}); waiting != want {
		t.Errorf("after the first span: %+v, want %+v", waiting, want)
	}
	b.get("/").want(t, "home with data", http.StatusOK, "Services", "!Send your first trace")
}

func TestHomeWithoutKeys(t *testing.T) {
	s := newSite(t, func(d *Deps) { d.Ingest = NewIngest(IngestOptions{Store: d.Store, Open: true}) })
	for _, x := range senders {
		s.as(collab.RoleMember).get("/?sender="+x.id).want(t, x.name+" without a key", http.StatusOK, "!YOUR_KEY", "!x-redthread-key", "!KEY?", s.srv.URL)
	}
}

func TestHome(t *testing.T) {
	s := newSite(t)
	job := trace.Span{TraceID: trace.ID{9}, SpanID: trace.SpanID{9}, Service: "worker-uk", Name: "PricingJob", Kind: trace.KindConsumer,
		StartUnixNano: s.Now().Add(-time.Minute).UnixNano(), DurationNano: 5e6}
	s.feed(append(exploreSpans(s.Now()), job))
	b := s.as(collab.RoleMember)
	a := b.get("/")
	a.want(t, "home", http.StatusOK, "web-uk", "worker-uk", "PricingJob", "Latest traces with errors", "10 %", "1.0/min", "!<script>alert", "&lt;script&gt;",
		`class="Spark-line"`, `class="Spark-errors"`, "2 s")
	if n := strings.Count(a.body, `class="Home-error"`); n != 7 {
		t.Errorf("%d traces with errors, want 7", n)
	}
	b.get("/?environment=production-de").want(t, "one environment", http.StatusOK, "web-de", "!web-uk")
	b.get("/?range=bad").want(t, "a bad range", http.StatusBadRequest, "Write the time range")
	b.get("/?environment=nowhere").want(t, "nothing in it", http.StatusOK, "Nothing happened in the last 1 h")
	ctx := collab.WithActor(t.Context(), collab.Actor{Kind: collab.ActorUser, ID: string(s.users[collab.RoleMember].ID), Name: "The member", Role: collab.RoleMember})
	if _, _, err := s.Collab.CreateInvestigation(ctx, collab.InvestigationNew{Ref: "r", Title: "Slow quotes", Severity: collab.Severity2}); err != nil {
		t.Fatal(err)
	}
	b.get("/").want(t, "an open investigation", http.StatusOK, "Open investigations", "Slow quotes", "sev2", `href="/i/i_`)
}

func TestRateOf(t *testing.T) {
	for _, c := range []struct {
		n      float64
		length time.Duration
		want   string
	}{{0, time.Hour, "0/s"}, {7200, time.Hour, "2.0/s"}, {60, time.Hour, "1.0/min"}, {2, time.Hour, "2.0/h"}} {
		if got := rateOf(c.n, c.length); got != c.want {
			t.Errorf("rateOf(%v, %v) = %q, want %q", c.n, c.length, got, c.want)
		}
	}
}
