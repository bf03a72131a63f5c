package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// traceServer serves the API over traces from a real store with the spans.
func traceServer(t *testing.T, spans []trace.Span) *httptest.Server {
	t.Helper()
	log, _ := logtest.Start(t, t.TempDir())
	store, err := tracestore.Open(t.Context(), tracestore.Options{Dir: t.TempDir(), Log: log, MinFreeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := store.Append(t.Context(), tracestore.Batch{Format: tracestore.FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans)}); err != nil {
		t.Fatal(err)
	}
	last := spans[len(spans)-1].Ref()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		got, _, err := store.TraceSpans(t.Context(), last.TraceID, len(spans))
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(got, func(s trace.Span) bool { return s.SpanID == last.SpanID }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the spans are not found after 60 s")
		}
	}
	s := &Server{Deps: Deps{Store: store, Graph: graph.New(store, graph.Options{})}}
	e := echo.New()
	e.HTTPErrorHandler = s.handleError
	e.GET("/api/v1/traces/:trace", s.showTraceJSON)
	e.GET("/api/v1/traces/:trace/spans/:span/origin", s.showOriginJSON)
	e.GET("/api/v1/traces/:trace/origin", s.showTraceOriginJSON)
	e.GET("/api/v1/traces/:trace/thread", s.showThreadJSON)
	e.GET("/api/v1/find", s.findJSON)
	e.POST("/api/v1/query", s.runQuery)
	e.POST("/api/v1/bubbleup", s.compareRows)
	e.POST("/api/v1/search", s.searchSpans)
	e.GET("/api/v1/columns", s.listColumns)
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return srv
}

// getJSON asks for a path and reads the answer.
func getJSON(t *testing.T, srv *httptest.Server, path string, status int, into any) {
	t.Helper()
	res, err := srv.Client().Get(srv.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != status {
		t.Fatalf("GET %s: status %d, want %d", path, res.StatusCode, status)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

var apiTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano()

// jobSpans are a request that enqueues a job, the job's trace, and what a span
// id and a user id are found by.
func jobSpans() (spans []trace.Span, root, job trace.Ref) {
	root = trace.Ref{TraceID: trace.ID{0xa0, 15: 1}, SpanID: trace.SpanID{0xb0, 7: 1}}
	send := trace.Ref{TraceID: root.TraceID, SpanID: trace.SpanID{0xb0, 7: 2}}
	job = trace.Ref{TraceID: trace.ID{0xa0, 15: 2}, SpanID: trace.SpanID{0xb0, 7: 3}}
	text := func(key, value string) trace.Attribute { return trace.Attribute{Key: key, Value: trace.String(value)} }
	return []trace.Span{
		{TraceID: root.TraceID, SpanID: root.SpanID, Name: "POST /quotes", Service: "web", Kind: trace.KindServer, StartUnixNano: apiTime, DurationNano: 50e6,
			Attributes: []trace.Attribute{text("user.id", "81723"), text("request_id", "req-1")}},
		{TraceID: send.TraceID, SpanID: send.SpanID, ParentID: root.SpanID, Name: "default publish", Service: "web", Kind: trace.KindProducer,
			StartUnixNano: apiTime + 10e6, DurationNano: 5e6, Attributes: []trace.Attribute{text("messaging.system", "sidekiq"), text("messaging.message_id", "jid-1")}},
		{TraceID: job.TraceID, SpanID: job.SpanID, Name: "default process", Service: "worker", Kind: trace.KindConsumer, StartUnixNano: apiTime + 100e6, DurationNano: 20e6,
			Attributes: []trace.Attribute{text("messaging.system", "sidekiq"), text("messaging.message_id", "jid-1"), {Key: "bullmq.job.id", Value: trace.Int(7)}},
			Links:      []trace.Link{{TraceID: send.TraceID, SpanID: send.SpanID}}},
	}, root, job
}

// keysOf lists every path of keys of a JSON value.
func keysOf(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			into[path+k] = true
			keysOf(e, path+k+".", into)
		}
	case []any:
		for _, e := range v {
			keysOf(e, path, into)
		}
	}
}

// TestTraceAPIFields holds the answers to DESIGN.md §8: no listed field is ever
// left out, and times are decimal strings.
func TestTraceAPIFields(t *testing.T) {
	spans, root, job := jobSpans()
	srv := traceServer(t, spans)
	tests := []struct{ path, fields string }{
		{"/api/v1/traces/" + job.TraceID.String(), `trace_id spans spans.span_id spans.parent_span_id spans.name spans.service spans.environment
			spans.kind spans.status spans.status.code spans.status.message spans.error spans.start_unix_nano spans.duration_nano spans.attributes
			spans.events spans.links spans.links.trace_id spans.links.span_id spans.links.attributes missing_parents cut_parents truncated`},
		{"/api/v1/traces/" + job.TraceID.String() + "/spans/" + job.SpanID.String() + "/origin", `status reason incomplete expired origins origins.trace_id
			origins.span_id origins.service origins.name origins.start_unix_nano furthest hops hops.kind hops.rule hops.inferred hops.wait_nano
			hops.from hops.from.trace_id hops.from.span_id hops.from.service hops.from.name hops.to hops.to.trace_id hops.to.span_id hops.to.service hops.to.name`},
		{"/api/v1/traces/" + job.TraceID.String() + "/thread", `origin candidates nodes nodes.trace_id nodes.service nodes.name nodes.start_unix_nano
			nodes.duration_nano nodes.spans nodes.errors edges edges.from edges.from.trace_id edges.from.span_id edges.to edges.to.trace_id edges.to.span_id
			edges.kind edges.rule edges.inferred edges.wait_nano ripple ripple.traces ripple.messages ripple.jobs ripple.requests ripple.errors
			ripple.busy_nano ripple.waiting_nano ripple.last_effect_nano truncated`},
	}
	for _, tt := range tests {
		var got any
		getJSON(t, srv, tt.path, http.StatusOK, &got)
		keys := map[string]bool{}
		keysOf(got, "", keys)
		for _, field := range strings.Fields(tt.fields) {
			if !keys[field] {
				t.Errorf("%s has no %s", tt.path, field)
			}
		}
	}

	var origin struct {
		Status, Reason string
		Origins        []struct {
			TraceID trace.ID `json:"trace_id"`
			Start   string   `json:"start_unix_nano"`
		}
		Furthest *struct{}
		Hops     []struct {
			Kind string
			Wait string `json:"wait_nano"`
		}
	}
	getJSON(t, srv, tests[1].path, http.StatusOK, &origin)
	if origin.Status != "found" || origin.Reason != "" || origin.Furthest != nil || len(origin.Origins) != 1 || origin.Origins[0].TraceID != root.TraceID ||
		origin.Origins[0].Start != fmt.Sprint(apiTime) || len(origin.Hops) != 1 || origin.Hops[0].Kind != "link" || origin.Hops[0].Wait != "85000000" {
		t.Errorf("origin of the job = %+v, want the request %s, one link, 85 ms waited", origin, root.TraceID)
	}
	whole := origin
	getJSON(t, srv, "/api/v1/traces/"+job.TraceID.String()+"/origin", http.StatusOK, &whole)
	if diff := cmp.Diff(origin, whole); diff != "" {
		t.Errorf("the origin of the trace is another than that of its root (-root +trace):\n%s", diff)
	}
	var ofSpan struct{ Selected int }
	getJSON(t, srv, tests[2].path+"?span="+job.SpanID.String(), http.StatusOK, &ofSpan)
	if ofSpan.Selected != 1 {
		t.Errorf("in the thread of the job leg %d is selected, want 1", ofSpan.Selected)
	}
	var thread struct {
		Origin struct {
			TraceID trace.ID `json:"trace_id"`
		}
		Nodes  []json.RawMessage
		Edges  []json.RawMessage
		Ripple map[string]any
	}
	getJSON(t, srv, tests[2].path, http.StatusOK, &thread)
	want := map[string]any{"traces": 2.0, "messages": 1.0, "jobs": 1.0, "requests": 0.0, "errors": 0.0,
		"busy_nano": "70000000", "waiting_nano": "85000000", "last_effect_nano": "120000000", "cut": false, "spans": 3.0, "shared": 0.0}
	if diff := cmp.Diff(want, thread.Ripple); diff != "" {
		t.Errorf("ripple (-want +got):\n%s", diff)
	}
	if thread.Origin.TraceID != root.TraceID || len(thread.Nodes) != 2 || len(thread.Edges) != 1 {
		t.Errorf("thread from %s with %d nodes, %d edges; want %s, 2, 1", thread.Origin.TraceID, len(thread.Nodes), len(thread.Edges), root.TraceID)
	}
}

func TestTraceAPIRefuses(t *testing.T) {
	spans, root, _ := jobSpans()
	srv := traceServer(t, spans)
	id, unknown := root.TraceID.String(), "00000000000000000000000000000abc"
	tests := []struct {
		path   string
		status int
		field  string
	}{
		{"/api/v1/traces/xyz", 400, "trace"},
		{"/api/v1/traces/" + unknown, 404, ""},
		{"/api/v1/traces/" + id + "?limit=0", 400, "limit"},
		{"/api/v1/traces/" + id + "?limit=x", 400, "limit"},
		{"/api/v1/traces/" + id + "?after=1234567890abcdef", 400, "after"},
		{"/api/v1/traces/xyz/thread", 400, "trace"},
		{"/api/v1/traces/" + unknown + "/thread", 404, ""},
		{"/api/v1/traces/" + id + "/spans/1/origin", 400, "span"},
		{"/api/v1/traces/" + id + "/spans/1234567890abcdef/origin", 404, ""},
		{"/api/v1/traces/" + unknown + "/spans/1234567890abcdef/origin", 404, ""},
		{"/api/v1/traces/xyz/origin", 400, "trace"},
		{"/api/v1/traces/" + unknown + "/origin", 404, ""},
		{"/api/v1/traces/" + id + "/thread?span=1", 400, "span"},
		{"/api/v1/traces/" + id + "/thread?span=1234567890abcdef", 404, ""},
		{"/api/v1/find", 400, "q"},
		{"/api/v1/find?q=" + strings.Repeat("x", 600), 400, "q"},
	}
	for _, tt := range tests {
		var body errorBody
		getJSON(t, srv, tt.path, tt.status, &body)
		if body.Error.Field != tt.field || body.Error.Message == "" || body.Error.Code == "" {
			t.Errorf("%s: error %+v, want a message and field %q", tt.path, body.Error, tt.field)
		}
	}
}

func TestTraceAPIPages(t *testing.T) {
	const n = 25
	var spans []trace.Span
	for i := range n {
		s := trace.Span{TraceID: trace.ID{9}, SpanID: trace.SpanID{1, 7: byte(i)}, Service: "web", Name: "step", StartUnixNano: apiTime + int64(i), ParentID: trace.SpanID{1}}
		if i == 0 {
			s.ParentID = trace.SpanID{}
		}
		if i == 3 {
			s.ParentID = trace.SpanID{0xff}
		}
		spans = append(spans, s)
	}
	srv := traceServer(t, spans)
	var got []string
	for after, pages := "", 0; ; pages++ {
		var page struct {
			Spans []struct {
				SpanID string `json:"span_id"`
			}
			Missing   []string `json:"missing_parents"`
			Truncated bool
			Next      string
		}
		getJSON(t, srv, "/api/v1/traces/"+spans[0].TraceID.String()+"?limit=10&after="+after, http.StatusOK, &page)
		if diff := cmp.Diff([]string{"ff00000000000000"}, page.Missing); diff != "" {
			t.Errorf("missing parents (-want +got):\n%s", diff)
		}
		if page.Truncated != (page.Next != "") || page.Truncated != (pages < 2) {
			t.Errorf("page %d: truncated %v, next %q", pages, page.Truncated, page.Next)
		}
		for _, s := range page.Spans {
			got = append(got, s.SpanID)
		}
		if after = page.Next; after == "" || pages > n {
			break
		}
	}
	var want []string
	for i := range spans {
		want = append(want, spans[i].SpanID.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans of all pages (-want +got):\n%s", diff)
	}
}

func TestFind(t *testing.T) {
	spans, root, job := jobSpans()
	spans = append(spans, trace.Span{TraceID: job.TraceID, SpanID: trace.SpanID{0xb0, 7: 4}, ParentID: job.SpanID, Name: "complete mail", Service: "worker",
		Kind: trace.KindInternal, StartUnixNano: apiTime + 110e6, Attributes: []trace.Attribute{{Key: "bullmq.job.id", Value: trace.String("7")}}})
	srv := traceServer(t, spans)
	for _, tt := range []struct {
		q    string
		want []string // kind and URL
	}{
		{root.TraceID.String(), []string{"trace /t/" + root.TraceID.String()}},
		{job.TraceID.String() + ":" + job.SpanID.String(), []string{"span /t/" + job.TraceID.String() + "/" + job.SpanID.String()}},
		{job.SpanID.String(), []string{"span /t/" + job.TraceID.String() + "/" + job.SpanID.String()}},
		{"req-1", []string{"request /t/" + root.TraceID.String() + "/" + root.SpanID.String()}},
		{"81723", []string{"user /t/" + root.TraceID.String() + "/" + root.SpanID.String()}},
		{"7", []string{"job /t/" + job.TraceID.String() + "/" + job.SpanID.String()}},
		{"jid-1", []string{"job /t/" + job.TraceID.String() + "/" + job.SpanID.String(), "job /t/" + root.TraceID.String() + "/" + spans[1].SpanID.String()}},
		{"nothing like it", nil},
	} {
		var got struct {
			Results []struct {
				Kind, URL, Label string
			}
		}
		getJSON(t, srv, "/api/v1/find?q="+url.QueryEscape(tt.q), http.StatusOK, &got)
		var lines []string
		for _, r := range got.Results {
			lines = append(lines, r.Kind+" "+r.URL)
			if r.Label == "" {
				t.Errorf("find %q: a result without a label", tt.q)
			}
		}
		if diff := cmp.Diff(tt.want, lines); diff != "" {
			t.Errorf("find %q (-want +got):\n%s", tt.q, diff)
		}
		if got.Results == nil {
			t.Errorf("find %q: results are null, want a list", tt.q)
		}
	}
}
