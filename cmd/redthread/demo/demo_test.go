package demo

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

var testNow = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// madeUntil makes an hour of traffic, and all that follows from it within ten
// more minutes.
func madeUntil(t *testing.T, seed uint64) (*world, []trace.Span) {
	t.Helper()
	w := newWorld(seed, 2, testNow.Add(-time.Hour), testNow)
	w.advance(testNow.UnixNano())
	for _, c := range w.countries {
		if len(c.batch) > 0 {
			w.poll(c, c.code+".quote-requested", testNow.UnixNano())
		}
	}
	var rows []trace.Span
	for {
		due := w.due(testNow.Add(10*time.Minute).UnixNano(), batchSpans)
		if len(due) == 0 {
			break
		}
		spans, rep, err := otlp.DecodeAll(otlp.Traces, encode(due), otlp.Arrival{})
		if err != nil || rep.Rejected > 0 || rep.Accepted != len(due) {
			t.Fatalf("encode %d spans: %+v, %v", len(due), rep, err)
		}
		rows = append(rows, spans...)
	}
	if n := len(w.ready); n > 0 {
		t.Fatalf("%d spans end more than ten minutes after the hour", n)
	}
	return w, rows
}

func text(s *trace.Span, key string) string {
	v, _ := s.Attribute(key)
	return v.Text()
}

func TestTrafficHangsTogether(t *testing.T) {
	_, rows := madeUntil(t, 1)
	byRef := map[trace.Ref]*trace.Span{}
	roots := map[trace.ID]int{}
	for i := range rows {
		s := &rows[i]
		if byRef[s.Ref()] != nil {
			t.Fatalf("two spans have the id %s", s.SpanID)
		}
		byRef[s.Ref()] = s
		if s.ParentID.IsZero() {
			roots[s.TraceID]++
		}
	}
	forms := map[string]int{}
	services := map[string]bool{}
	for i := range rows {
		s := &rows[i]
		services[s.Environment+"/"+s.Service] = true
		if roots[s.TraceID] != 1 {
			t.Fatalf("trace %s has %d roots, want one", s.TraceID, roots[s.TraceID])
		}
		if s.DurationNano <= 0 {
			t.Errorf("%s %s takes %d ns", s.Service, s.Name, s.DurationNano)
		}
		if !s.ParentID.IsZero() {
			p := byRef[trace.Ref{TraceID: s.TraceID, SpanID: s.ParentID}]
			if p == nil {
				t.Fatalf("%s %s has a parent that was not sent", s.Service, s.Name)
			}
			if s.StartUnixNano < p.StartUnixNano {
				t.Errorf("%s begins before its parent %s", s.Name, p.Name)
			}
			if p.Kind == trace.KindProducer && s.Kind == trace.KindConsumer {
				forms["parent"]++
			}
		}
		for _, l := range s.Links {
			to := byRef[trace.Ref{TraceID: l.TraceID, SpanID: l.SpanID}]
			if to == nil {
				t.Fatalf("%s %s links to a span that was not sent", s.Service, s.Name)
			}
			if to.Kind != trace.KindProducer || s.Kind != trace.KindConsumer || s.StartUnixNano < to.EndUnixNano() {
				t.Errorf("%s (%s) links to %s (%s), which does not come before it as a producer", s.Name, s.Kind, to.Name, to.Kind)
			}
			if s.ParentID.IsZero() {
				forms["link"]++
			} else {
				forms["batch"]++
			}
		}
		if s.Kind == trace.KindConsumer && s.ParentID.IsZero() && len(s.Links) == 0 {
			t.Errorf("%s %s consumes what nobody sent", s.Service, s.Name)
		}
		if text(s, "cron.schedule") != "" {
			forms["cron"]++
		}
		if text(s, "messaging.sidekiq.retry_count") == "0" {
			forms["retry"]++
		}
		if s.Error && len(s.Events) > 0 && text(s, "exception.type") != "" {
			forms["exception"]++
		}
	}
	for form, least := range map[string]int{"parent": 200, "link": 2000, "batch": 100, "cron": 20, "retry": 20, "exception": 50} {
		if forms[form] < least {
			t.Errorf("%d of form %q, want at least %d", forms[form], form, least)
		}
	}
	if len(services) != 12 {
		t.Errorf("%d services: %v; want six in each of two environments", len(services), services)
	}
	t.Logf("%d spans, %d traces, %v", len(rows), len(roots), forms)
}

func TestTrafficIsDeterministic(t *testing.T) {
	digest := func(seed uint64) string {
		w := newWorld(seed, 2, testNow.Add(-10*time.Minute), testNow)
		w.advance(testNow.UnixNano())
		return string(encode(w.due(testNow.UnixNano(), 1<<20)))
	}
	first, again := digest(7), digest(7)
	if first != again {
		t.Error("the same seed makes other spans")
	}
	if first == digest(8) {
		t.Error("another seed makes the same spans")
	}
}

func TestIncidentIsBuildAndDealerTogether(t *testing.T) {
	w, rows := madeUntil(t, 1)
	took := map[string][]time.Duration{}
	for i := range rows {
		s := &rows[i]
		if s.Name != "Api::QuotesController#create" || s.StartUnixNano < w.incident {
			continue
		}
		build, dealer := "other build", "other dealer"
		if text(s, "service.version") == slowBuild {
			build = "slow build"
		}
		if text(s, "dealer.id") == slowDealer {
			dealer = "slow dealer"
		}
		took[build+", "+dealer] = append(took[build+", "+dealer], time.Duration(s.DurationNano))
	}
	for group, list := range took {
		slices.Sort(list)
		median := list[len(list)/2]
		if slow := group == "slow build, slow dealer"; slow && median < 2*time.Second || !slow && median > 400*time.Millisecond {
			t.Errorf("%s: median %v of %d quotes", group, median, len(list))
		}
	}
	if n := len(took["slow build, slow dealer"]); n < 5 || len(took) != 4 {
		t.Errorf("%d slow quotes in %d groups, want at least 5 in four", n, len(took))
	}
	timeouts := 0
	for i := range rows {
		if s := &rows[i]; s.Name == "QuotesController#create" && text(s, "http.status_code") == "504" {
			timeouts++
			if text(s, "exception.type") != "Net::ReadTimeout" {
				t.Errorf("a timeout without its exception: %+v", s)
			}
		}
	}
	if timeouts == 0 {
		t.Error("no quote timed out")
	}
}

func TestStory(t *testing.T) {
	w, rows := madeUntil(t, 1)
	s := w.story
	if !s.Complete() {
		t.Fatalf("story is not complete: %+v", s)
	}
	byRef := map[trace.Ref]*trace.Span{}
	effects := map[trace.ID][]*trace.Span{} // spans that link into the trace
	for i := range rows {
		byRef[rows[i].Ref()] = &rows[i]
		for _, l := range rows[i].Links {
			effects[l.TraceID] = append(effects[l.TraceID], &rows[i])
		}
	}
	if q := byRef[s.SlowQuote]; q == nil || !q.ParentID.IsZero() || time.Duration(q.DurationNano) < 3*time.Second || text(q, "user.id") != s.SlowUser {
		t.Errorf("slow quote: %+v", q)
	}
	if q := byRef[s.SlowServer]; q == nil || text(q, "dealer.id") != s.Dealer || text(q, "service.version") != s.Build || q.TraceID != s.SlowQuote.TraceID {
		t.Errorf("its request to the quotes API: %+v", q)
	}
	if q := byRef[s.HealthyQuote]; q == nil || time.Duration(q.DurationNano) > time.Second {
		t.Errorf("healthy quote: %+v", q)
	}
	// Walk the ripple from its origin over links.
	seen := map[trace.ID]bool{s.RippleOrigin.TraceID: true}
	jobs := 0
	for todo := []trace.ID{s.RippleOrigin.TraceID}; len(todo) > 0; todo = todo[1:] {
		for _, e := range effects[todo[0]] {
			if strings.HasPrefix(e.Name, "RecalculateValuationsJob") {
				jobs++
			}
			if !seen[e.TraceID] {
				seen[e.TraceID] = true
				todo = append(todo, e.TraceID)
			}
		}
	}
	if jobs < 250 || jobs > 600 || len(seen) < jobs {
		t.Errorf("the ripple has %d runs in %d traces, want hundreds", jobs, len(seen))
	}
	if s.RippleJobs < 250 {
		t.Errorf("the story says %d jobs", s.RippleJobs)
	}
	t.Logf("ripple: %d runs, %d traces", jobs, len(seen))
}

// sink takes requests; it refuses the first of them.
type sink struct {
	mu     sync.Mutex
	refuse int
	spans  int
	status int
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	rep, verr := otlp.Validate(otlp.Traces, body)
	switch {
	case s.status != 0:
		w.WriteHeader(s.status)
	case s.refuse > 0:
		s.refuse--
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	case err != nil || verr != nil || r.URL.Path != "/v1/traces":
		http.Error(w, fmt.Sprint(err, verr), http.StatusBadRequest)
	default:
		s.spans += rep.Accepted
	}
}

func TestRunFillsThePastAndGoesOn(t *testing.T) {
	to := &sink{refuse: 2}
	srv := httptest.NewServer(to)
	defer srv.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	now := testNow
	var stories []Story
	afterPast := 0
	err := Run(ctx, Options{
		URL: srv.URL, Seed: 1, Rate: 2, Now: func() time.Time { return now },
		OnStory: func(s Story) {
			stories = append(stories, s)
			to.mu.Lock()
			afterPast = to.spans
			to.mu.Unlock()
		},
		Wait: func(_ context.Context, d time.Duration) error {
			now = now.Add(d)
			if now.Sub(testNow) > time.Minute {
				cancel()
			}
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatalf("Run = %v, want nil when its context is done", err)
	}
	if len(stories) != 1 || !stories[0].Complete() {
		t.Errorf("told %d stories, want one that is complete", len(stories))
	}
	if afterPast < 20000 || to.spans < afterPast+200 {
		t.Errorf("%d spans after the past, %d a minute later; want tens of thousands, and more live", afterPast, to.spans)
	}
}

func TestRunGivesUpWhenRefusedForGood(t *testing.T) {
	srv := httptest.NewServer(&sink{status: http.StatusUnauthorized})
	defer srv.Close()
	err := Run(context.Background(), Options{URL: srv.URL, Now: func() time.Time { return testNow }})
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("Run = %v, want an error that says 401", err)
	}
	if err := Run(context.Background(), Options{URL: srv.URL, Rate: -1}); err == nil {
		t.Error("a negative rate is taken")
	}
}

func BenchmarkWorld(b *testing.B) {
	spans := 0
	for b.Loop() {
		w := newWorld(1, 2, testNow.Add(-time.Hour), testNow)
		w.advance(testNow.UnixNano())
		for {
			due := w.due(testNow.UnixNano(), batchSpans)
			if len(due) == 0 {
				break
			}
			encode(due)
			spans += len(due)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(spans), "ns/span")
}

func TestCheckRate(t *testing.T) {
	for rate, want := range map[float64]bool{2: true, 500: true, 0.01: true, 0: false, -1: false, 501: false, math.Inf(1): false} {
		if got := CheckRate(rate) == nil; got != want {
			t.Errorf("CheckRate(%g) accepts: %v, want %v", rate, got, want)
		}
	}
	if CheckRate(math.NaN()) == nil {
		t.Error("CheckRate accepts NaN")
	}
}
