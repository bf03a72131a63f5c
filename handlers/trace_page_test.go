package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
	"redthread/views"
)

// send appends spans to the site's store and waits until all are found.
func (s *site) send(spans []trace.Span) {
	s.t.Helper()
	if _, err := s.Store.Append(s.t.Context(), tracestore.Batch{Format: tracestore.FormatOTLPProto, Environment: "test", Raw: otlp.AppendSpans(nil, spans)}); err != nil {
		s.t.Fatal(err)
	}
	want := map[trace.ID]int{}
	for i := range spans {
		want[spans[i].TraceID]++
	}
	for deadline := time.Now().Add(60 * time.Second); len(want) > 0; time.Sleep(time.Millisecond) {
		for id, n := range want {
			got, _, err := s.Store.TraceSpans(s.t.Context(), id, len(spans)+1)
			if err != nil {
				s.t.Fatal(err)
			}
			if len(got) >= n {
				delete(want, id)
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("after 60 s spans of %d traces are not found", len(want))
		}
	}
}

// shop is a request that publishes a message which two traces handle by link.
func shop() (request trace.ID, spans []trace.Span) {
	request = trace.ID{0x0a, 1}
	add := func(id trace.ID, n, parent int, service, name string, kind trace.Kind, start, length int64) *trace.Span {
		s := testSpan(n, parent, service, start, length)
		s.TraceID, s.Name, s.Kind = id, name, kind
		spans = append(spans, s)
		return &spans[len(spans)-1]
	}
	root := add(request, 1, 0, "web", "POST /quotes", trace.KindServer, 0, 100)
	root.Attributes = []trace.Attribute{{Key: "user.id", Value: trace.String("81723")}}
	failed := add(request, 2, 1, "dealers", `GET <b>"dealers"</b>`, trace.KindServer, 10, 60)
	failed.Status, failed.StatusMessage, failed.Error = trace.StatusError, "boom <i>", true
	failed.Attributes = []trace.Attribute{{Key: `<script>alert(1)</script>`, Value: trace.String(`"><img src=x onerror=alert(1)>`)}}
	message := []trace.Attribute{{Key: "messaging.system", Value: trace.String("kafka")}, {Key: "messaging.destination.name", Value: trace.String("quotes.created")}}
	add(request, 3, 1, "web", "publish quotes.created", trace.KindProducer, 80, 2).Attributes = message
	add(request, 4, 99, "pricing", "late", trace.KindInternal, 20, 5)
	for i := range 2 {
		c := add(trace.ID{0x0b, byte(i)}, 10+i, 0, "worker", "process quotes.created", trace.KindConsumer, int64(122+i), 40)
		c.Attributes, c.Links = message, []trace.Link{{TraceID: request, SpanID: spanID(3)}}
	}
	return request, spans
}

func TestTracePage(t *testing.T) {
	s := newSite(t)
	id, spans := shop()
	s.send(spans)
	member := s.as(collab.RoleMember)
	path := "/t/" + id.String()

	member.get(path).want(t, "trace", 200, "POST /quotes", "4 spans", "1 error", "parent 0000000000000063 never arrived",
		"▶ 2 consumers", "this is the origin", "process quotes.created", "×2", "waited up to 41 ms", `role="treegrid"`, `href="/thread/`+id.String()+`"`,
		"GET &lt;b&gt;", "!<b>\"dealers", "Pin to", "Pick a span")
	failed := member.get(path + "/" + spanID(2).String())
	failed.want(t, "span", 200, `aria-selected="true"`, "boom &lt;i&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;", "!<script>alert", "!<img", "Waterfall-barPath", "self time")
	if regexp.MustCompile(`\sstyle=`).MatchString(failed.body) || regexp.MustCompile(`\son[a-z]+="`).MatchString(failed.body) {
		t.Error("the page has a style attribute or an inline handler, which the policy blocks")
	}
	member.get("/t/"+trace.ID{0x0b}.String()).want(t, "effect", 200, "Caused by", "publish quotes.created", "waited 40 ms", "recorded link", "rule span_link: recorded by the sender", "origin", "POST /quotes", "◀ POST /quotes")
	member.get(path+"/"+spanID(3).String()).want(t, "producer", 200, "process quotes.created", "×2")
	member.get(path+"/~0000000000000063").want(t, "missing parent", 200, "It never arrived")
	member.get(path+"?levels=1").want(t, "one level", 200, `aria-label="Unfold 2 rows"`, "+2", "1 error inside")
	member.get(path+"?q=dealers").want(t, "search", 200, "1 match<", "Waterfall-row--match")
	member.get(path+"?zoom=10000000-20000000").want(t, "zoom", 200, "10 ms to 20 ms", "whole trace")

	fragment := member.get(path+"/"+spanID(2).String(), "HX-Request", "true")
	fragment.want(t, "panel alone", 200, `id="span-panel-title"`, "!<html", "!treegrid")

	member.get("/t/ffffffffffffffffffffffffffffffff").want(t, "unknown", 404, "No span of this trace has arrived", "Look again")
	member.get(path+"/ffffffffffffffff").want(t, "unknown span", 404, "This span has not arrived", "4 spans")
	member.get("/t/xyz").want(t, "no id", 400, "does not name a span", "want 32 or 16 hex digits")
	member.get("/t/%3Cscript%3E").want(t, "hostile id", 400, "&lt;script&gt;", "!<script>\"")
	member.get("/t/"+id.String()[:16]).want(t, "short id of another trace", 404)

	viewer := s.as(collab.RoleViewer)
	viewer.get(path+"/"+spanID(2).String()).want(t, "viewer", 200, "!Pin to", "!<textarea")
	s.as("").get(path).wantRedirect(t, "anonymous", "/sign-in?next=%2Ft%2F"+id.String())
}

func TestTraceAnnotations(t *testing.T) {
	s := newSite(t)
	id, spans := shop()
	s.send(spans)
	member := s.as(collab.RoleMember)
	path := "/t/" + id.String() + "/" + spanID(2).String()
	page := member.get(path)
	ref := regexp.MustCompile(`name="ref" value="([^"]+)"/?>\s*<input type="hidden" name="back"`).FindStringSubmatch(page.body)
	if ref == nil {
		t.Fatalf("the page has no form to annotate:\n%.4000s", page.body)
	}
	member.post("/annotations", "ref", ref[1], "trace_id", id.String(), "span_id", spanID(2).String(), "text", "Only **these** dealers <script>", "back", path+"#span-annotations").
		wantRedirect(t, "annotate", path+"#span-annotations")
	member.get(path).want(t, "annotated", 200, "<strong>these</strong>", "The member", "!dealers <script>")
	member.get("/t/"+id.String()+"/"+spanID(1).String()).want(t, "another span", 200, "!<strong>these</strong>")
}

func TestTraceRows(t *testing.T) {
	s := newSite(t)
	id, spans := shop()
	s.send(spans)
	viewer := s.as(collab.RoleViewer)
	var rows views.WaterfallData
	got := viewer.get("/t/" + id.String() + "/rows?q=dealers")
	if err := json.Unmarshal([]byte(got.body), &rows); err != nil || got.status != 200 {
		t.Fatalf("rows: %d %v %s", got.status, err, got.body)
	}
	if len(rows.Key) != 5 || rows.Key[3] != "~0000000000000063" || rows.Flags[3] != views.RowMissing || rows.Flags[1] != views.RowError {
		t.Errorf("rows: %s", got.body)
	}
	if rows.Start[1] != 10e6 || rows.Length[1] != 60e6 || rows.Depth[1] != 1 || rows.Names[rows.Name[2]] != "publish quotes.created" || rows.Services[rows.Service[1]] != "dealers" {
		t.Errorf("row 1: %s", got.body)
	}
	if rows.Notes[2] != "▶ 2 consumers" || fmt.Sprint(rows.Matches) != "[1]" {
		t.Errorf("notes %v, matches %v", rows.Notes, rows.Matches)
	}
	viewer.get("/t/"+id.String()+"/matches?q=quotes").want(t, "matches", 200, `"matches":[0,2]`, `"rows":5`)
	viewer.get("/t/ffffffffffffffffffffffffffffffff/rows").want(t, "rows of an unknown trace", 404, `"code":"not_found"`)
	viewer.get("/t/zz/matches").want(t, "no id", 400, `"error"`)
	s.as("").get("/t/"+id.String()+"/rows").want(t, "anonymous", 401)
}

func TestLargeTracePage(t *testing.T) {
	s := newSite(t)
	spans := flatTrace(9999)
	s.send(spans)
	viewer := s.as(collab.RoleViewer)
	path := "/t/" + spans[0].TraceID.String()
	page := viewer.get(path)
	page.want(t, "10,000 spans", 200, "10000 spans", "more rows", "!id=\"waterfall-data\"")
	if n := strings.Count(page.body, `role="row"`); n != waterfallPageRows+2 { // and the head and the blank row
		t.Errorf("%d rows in the page, want %d", n, waterfallPageRows+2)
	}
	if len(page.body) > 1<<20 {
		t.Errorf("the page is %d bytes", len(page.body))
	}
	viewer.get(path+"/"+spanID(8000).String()).want(t, "a late span", 200, `id="r-`+spanID(8000).String()+`"`, "rows before these")
}

func TestThreadPage(t *testing.T) {
	s := newSite(t)
	id, spans := shop()
	s.send(spans)
	viewer := s.as(collab.RoleViewer)
	path := "/thread/" + id.String()
	viewer.get(path).want(t, "thread", 200, "Thread of POST /quotes", "user 81723", "quotes.created", "waited up to 41 ms", "×2", "1 message",
		"recorded link", "Ripple", `class="ThreadCurve"`, "GET &lt;b&gt;", "!<b>\"dealers")
	// From an effect the same thread is reached, with the effect outlined.
	viewer.get("/thread/"+trace.ID{0x0b}.String()).want(t, "from the effect", 200, "Thread of POST /quotes", "ThreadBar--selected")
	viewer.get(path+"?view=table").want(t, "table", 200, "How it is known", "process quotes.created", "5 of 5", "40 ms")
	viewer.get("/thread/ffffffffffffffffffffffffffffffff").want(t, "unknown", 404, "No span of this trace has arrived", "!look for its thread")
	viewer.get("/thread/nope").want(t, "no id", 400, "does not name a span")
	viewer.get(path+"?span=nope").want(t, "no span id", 400, "does not name a span")
	s.as(collab.RoleMember).get(path).want(t, "member", 200, "Pin to")
	s.as("").get(path).wantRedirect(t, "anonymous", "/sign-in?next=%2Fthread%2F"+id.String())
}

// What a thread page cannot know, it says.
func TestThreadPageUnknown(t *testing.T) {
	s := newSite(t)
	message := []trace.Attribute{{Key: "messaging.system", Value: trace.String("kafka")}, {Key: "messaging.destination.name", Value: trace.String("orders")}}
	var spans []trace.Span
	batch := testSpan(50, 0, "worker", 60, 40)
	batch.TraceID, batch.Kind, batch.Attributes, batch.Name = trace.ID{0x0c}, trace.KindConsumer, message, "process batch"
	for i := range 3 {
		id := trace.ID{0x0d, byte(i)}
		root, send := testSpan(1, 0, "web", int64(i), 30), testSpan(2, 1, "web", int64(i)+5, 2)
		root.TraceID, send.TraceID, root.Kind, send.Kind, send.Attributes = id, id, trace.KindServer, trace.KindProducer, message
		root.Name = fmt.Sprintf("POST /cars/%d", i)
		spans = append(spans, root, send)
		batch.Links = append(batch.Links, trace.Link{TraceID: id, SpanID: send.SpanID})
	}
	orphan := testSpan(60, 0, "worker", 10, 5)
	orphan.TraceID, orphan.Kind, orphan.Attributes, orphan.Name = trace.ID{0x0e}, trace.KindConsumer, message, "process lost"
	orphan.Links = []trace.Link{{TraceID: trace.ID{0x0f}, SpanID: spanID(9)}}
	s.send(append(spans, batch, orphan))
	viewer := s.as(collab.RoleViewer)
	viewer.get("/thread/"+batch.TraceID.String()).want(t, "ambiguous", http.StatusOK, "ambiguous", "It may have begun with", "POST /cars/0", "POST /cars/2", "Thread through process batch")
	// Candidates of one endpoint within one second are told apart: the user is on the
	// handler of the route, inside the span of the server.
	var same []trace.Span
	again := batch
	again.TraceID, again.Links = trace.ID{0x1c}, nil
	for i := range 3 {
		id := trace.ID{0x1d, byte(i)}
		root, handler, send := testSpan(1, 0, "web", int64(i), 30), testSpan(2, 1, "web", int64(i)+2, 25), testSpan(3, 2, "web", int64(i)+5, 2)
		root.TraceID, handler.TraceID, send.TraceID, root.Kind, send.Kind, send.Attributes = id, id, id, trace.KindServer, trace.KindProducer, message
		root.Name, handler.Name = "POST /quotes", "request handler - /quotes"
		if i < 2 {
			handler.Attributes = []trace.Attribute{{Key: "app.user_id", Value: trace.String(fmt.Sprintf("user-%d", i))}, {Key: "app.request_id", Value: trace.String(fmt.Sprintf("rid-%d", i))}}
		}
		same = append(same, root, handler, send)
		again.Links = append(again.Links, trace.Link{TraceID: id, SpanID: send.SpanID})
	}
	s.send(append(same, again))
	apart := []string{"user user-0 · request rid-0", "user user-1 · request rid-1", "trace 1d020000", ".001 UTC</time>", ".002 UTC</time>"}
	viewer.get("/t/"+again.TraceID.String()).want(t, "candidates of one endpoint", http.StatusOK, apart...)
	viewer.get("/t/"+again.TraceID.String()+"/"+again.SpanID.String()).want(t, "in the panel", http.StatusOK, apart...)
	viewer.get("/t/"+again.TraceID.String()+"/causes").want(t, "on the page of causes", http.StatusOK, apart...)
	viewer.get("/thread/"+again.TraceID.String()).want(t, "on the thread", http.StatusOK, apart...)
	viewer.get("/thread/"+orphan.TraceID.String()).want(t, "not arrived", http.StatusOK, "has not arrived", "Thread through process lost")
	viewer.get("/t/"+orphan.TraceID.String()).want(t, "not arrived", http.StatusOK, "not known: the span it names has not arrived", "!this is the origin")
}

// Of a trace whose spans are past their time the page tells what is left, and not that
// nothing came.
func TestExpiredTracePage(t *testing.T) {
	var age atomic.Int64
	log, _ := logtest.Start(t, t.TempDir())
	store, err := tracestore.Open(t.Context(), tracestore.Options{Dir: t.TempDir(), Log: log, MinFreeBytes: 1,
		SpanRetention: time.Hour, Now: func() time.Time { return time.Now().Add(time.Duration(age.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s := newSite(t, func(d *Deps) { d.Store, d.Graph = store, graph.New(store, graph.Options{}) })
	s.addTrace()
	if err := store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	age.Store(int64(3 * time.Hour))
	if err := store.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := s.as(collab.RoleViewer)
	b.get("/t/"+boardTrace).want(t, "page", 404, "past their time", `href="/thread/`+boardTrace+`"`, "!Just sent?")
	b.get("/t/4bf92f3577b34da6a3ce929d0e0e4736").want(t, "another", 404, "Just sent?", "!past their time")
}
