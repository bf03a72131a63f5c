package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"redthread/collab"
	"redthread/collab/live"
	"redthread/tracestore"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

const boardTrace = "5b8aa5a2d2c872e8321cf37308d69df2"

func boardSpan(id byte, parent byte, service, name string, start, length time.Duration, attributes ...trace.Attribute) trace.Span {
	traceID, err := trace.ParseID(boardTrace)
	if err != nil {
		panic(err)
	}
	s := trace.Span{TraceID: traceID, SpanID: trace.SpanID{7: id}, Name: name, Service: service, Kind: trace.KindServer,
		StartUnixNano: time.Now().Add(-time.Minute + start).UnixNano(), DurationNano: int64(length), Attributes: attributes}
	if parent != 0 {
		s.ParentID = trace.SpanID{7: parent}
		s.Kind = trace.KindInternal
	}
	return s
}

// addTrace puts one trace into the store and waits until it is found.
func (s *site) addTrace(spans ...trace.Span) {
	s.t.Helper()
	if len(spans) == 0 {
		bad := boardSpan(3, 1, "dealers-api", "GET /dealers/:id <b>", 200*time.Millisecond, 600*time.Millisecond,
			trace.Attribute{Key: "exception.message", Value: trace.String(`<script>alert("x")</script>`)}, trace.Attribute{Key: "app.dealer_id", Value: trace.String("D-4471")})
		bad.Status, bad.StatusMessage = trace.StatusError, "too slow"
		spans = []trace.Span{boardSpan(1, 0, "web-uk", "GET /quotes", 0, time.Second), boardSpan(2, 1, "web-uk", "SELECT quotes", 50*time.Millisecond, 80*time.Millisecond), bad}
	}
	if _, err := s.Store.Append(s.t.Context(), tracestore.Batch{Format: tracestore.FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans)}); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		got, _, err := s.Store.TraceSpans(s.t.Context(), spans[0].TraceID, 100)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(got) == len(spans) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of %d spans found after 60 s", len(got), len(spans))
		}
	}
}

// addLate adds a fourth span to the trace and waits until it is found.
func (s *site) addLate(late trace.Span) {
	s.t.Helper()
	if _, err := s.Store.Append(s.t.Context(), tracestore.Batch{Format: tracestore.FormatOTLPProto, Raw: otlp.AppendSpans(nil, []trace.Span{late})}); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		got, _, err := s.Store.TraceSpans(s.t.Context(), late.TraceID, 100)
		if err != nil || time.Now().After(deadline) {
			s.t.Fatalf("the late span is not found: %v", err)
		}
		if len(got) == 4 {
			return
		}
	}
}

// api sends JSON and decodes the answer into out, if there is one.
func (b *browser) api(method, path, body string, want int, out any) reply {
	b.t.Helper()
	a := b.do(method, path, body, "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin")
	if a.status != want {
		b.t.Fatalf("%s %s: status %d, want %d; body %.600s", method, path, a.status, want, a.body)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			b.t.Fatalf("%s %s: %v in %.600s", method, path, err, a.body)
		}
	}
	return a
}

func (b *browser) openInvestigation(title string) collab.Investigation {
	b.t.Helper()
	var inv collab.Investigation
	b.api("POST", "/api/v1/investigations", fmt.Sprintf(`{"title":%q}`, title), 201, &inv)
	return inv
}

// conflictAnswer is a conflict as DESIGN.md §8 has it.
type conflictAnswer struct {
	Error         struct{ Code, Field, Message string }
	Yours, Theirs any
	Offset        int64
}

func TestInvestigationAPI(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	ana, bo := s.as(collab.RoleAdmin), s.as(collab.RoleMember)
	inv := ana.openInvestigation("Slow quotes")
	if inv.Offset != 1 || inv.Epoch == "" || inv.Status != "open" || inv.Severity != "unknown" || inv.Lead != s.users[collab.RoleAdmin].ID {
		t.Fatalf("created %+v", inv)
	}
	base := "/api/v1/investigations/" + string(inv.ID)
	pin := `{"ref":"6b0e","kind":"span","trace_id":"` + boardTrace + `","span_id":"0000000000000003"}`
	var block collab.Block
	first := ana.api("POST", base+"/pins", pin, 201, &block)
	if block.Evidence == nil || block.Title != "GET /dealers/:id <b>" || block.Locator != "/t/"+boardTrace+"/0000000000000003" || block.Offset != 2 {
		t.Fatalf("pinned %+v", block)
	}
	if again := ana.api("POST", base+"/pins", pin, 200, nil); again.body != first.body {
		t.Errorf("the same ref answers\n%s, want\n%s", again.body, first.body)
	}
	var clash conflictAnswer
	ana.api("POST", base+"/pins", strings.Replace(pin, "0003", "0002", 1), 409, &clash)
	if clash.Error.Code != "conflict" || clash.Error.Field != "ref" {
		t.Errorf("a used ref: %+v", clash)
	}
	var frozen struct {
		Evidence struct {
			SHA256 string
			Body   struct {
				Kind string
				Span struct{ Name string }
				Path []struct{ Name string }
			}
		}
	}
	ana.api("GET", base+"/pins/"+string(block.ID), "", 200, &frozen)
	if e := frozen.Evidence; e.SHA256 != block.Evidence.SHA256 || e.Body.Span.Name != block.Title || len(e.Body.Path) != 1 || e.Body.Path[0].Name != "GET /quotes" {
		t.Errorf("frozen copy %+v", e)
	}
	// Frozen twice, the same rows have the same hash.
	var twin collab.Block
	bo.api("POST", base+"/blocks", strings.Replace(pin, "6b0e", "other", 1), 201, &twin)
	if twin.Evidence.SHA256 != block.Evidence.SHA256 {
		t.Errorf("hashes differ: %s and %s", twin.Evidence.SHA256, block.Evidence.SHA256)
	}
	for _, kind := range []string{"trace", "thread"} {
		ana.api("POST", base+"/pins", `{"kind":"`+kind+`","trace_id":"`+boardTrace+`"}`, 201, nil)
	}
	ana.api("POST", base+"/pins", `{"kind":"query","query":{"breakdowns":["service.name"],"calculations":[{"op":"COUNT"},{"op":"HEATMAP","column":"duration_ms"}]}}`, 201, &block)
	if block.Title != "COUNT, HEATMAP(duration_ms) by service.name" || !strings.Contains(string(block.Query), `"start_time"`) || strings.Contains(string(block.Query), `time_range`) {
		t.Errorf("query pin %q: %s", block.Title, block.Query)
	}
	ana.api("POST", base+"/pins", `{"kind":"trace","trace_id":"ffffffffffffffffffffffffffffffff"}`, 404, nil)
	ana.api("POST", base+"/pins", `{"kind":"span","trace_id":"`+boardTrace+`","span_id":"00000000000000ff"}`, 404, nil)
	var bad struct{ Error struct{ Code, Field string } }
	ana.api("POST", base+"/pins", `{"kind":"query","query":{"calculations":[{"op":"NOPE"}]}}`, 400, &bad)
	if bad.Error.Field != "query" {
		t.Errorf("a bad query: %+v", bad)
	}
	ana.api("POST", base+"/pins", `{"kind":7}`, 400, &bad)
	if bad.Error.Field != "kind" {
		t.Errorf("a kind of the wrong type: %+v", bad)
	}

	// Compared at once, nothing has changed; after another span came, the trace
	// has.
	var board struct{ Blocks []collab.Block }
	ana.api("GET", base, "", 200, &board)
	compare := func(want map[collab.BlockKind]string) {
		t.Helper()
		for _, b := range board.Blocks {
			var cmp struct{ State string }
			ana.api("GET", base+"/pins/"+string(b.ID)+"/compare", "", 200, &cmp)
			if w := want[b.Kind]; cmp.State != w {
				t.Errorf("%s: the live view is %q, want %q", b.Kind, cmp.State, w)
			}
			ana.get("/i/"+string(inv.ID)+"/blocks/"+string(b.ID)+"/compare").want(t, "compare page", 200, "sha256 "+b.Evidence.SHA256)
		}
	}
	compare(map[collab.BlockKind]string{"span": "same", "trace": "same", "thread": "same", "query": "same"})
	s.addLate(boardSpan(4, 1, "web-uk", "late", 0, time.Second))
	compare(map[collab.BlockKind]string{"span": "same", "trace": "changed", "thread": "changed", "query": "changed"})
	if err := s.Collab.CheckEvidence(t.Context()); err != nil {
		t.Error(err)
	}

	// Bo and Ana change the same field.
	var note collab.Block
	ana.api("POST", base+"/blocks", `{"kind":"note","text":"one"}`, 201, &note)
	path := base + "/blocks/" + string(note.ID)
	ana.api("PATCH", path, fmt.Sprintf(`{"seen":%d,"text":"two"}`, note.Offset), 200, nil)
	bo.api("PATCH", path, fmt.Sprintf(`{"seen":%d,"text":"three"}`, note.Offset), 409, &clash)
	if clash.Error.Field != "text" || clash.Yours != "three" || clash.Theirs != "two" || clash.Offset != note.Offset+1 {
		t.Errorf("conflict %+v", clash)
	}
	bo.api("PATCH", base, `{"seen":1,"status":"mitigated","severity":"sev2"}`, 200, &inv)
	ana.api("PATCH", base, `{"seen":1,"title":"Slow quotes in the UK","status":"resolved"}`, 409, &clash)
	if clash.Error.Field != "status" {
		t.Errorf("conflict %+v", clash)
	}
	bo.api("DELETE", path, "", 204, nil)
	bo.api("GET", path, "", 404, nil)
	bo.api("PATCH", path, `{"seen":1,"text":"x"}`, 404, nil)

	var log struct {
		Epoch   string
		Offset  int64
		Changes []collab.Change
		More    bool
	}
	ana.api("GET", base+"/changes?after=0&limit=4", "", 200, &log)
	if len(log.Changes) != 4 || !log.More || log.Epoch != inv.Epoch {
		t.Fatalf("log %d changes, more %v", len(log.Changes), log.More)
	}
	ana.api("GET", base+"/changes?after=4", "", 200, &log)
	for i, c := range log.Changes {
		if c.Offset != int64(5+i) {
			t.Fatalf("change %d has offset %d", i, c.Offset)
		}
	}
	ana.api("GET", base+"/changes?after=-1", "", 400, nil)
	ana.api("GET", "/api/v1/investigations/i_none/changes", "", 404, nil)
	bo.api("DELETE", base, "", 403, nil)
	ana.api("DELETE", base, "", 204, nil)
	ana.api("GET", base, "", 404, nil)
	ana.api("GET", base+"/changes", "", 404, nil)
}

var hiddenRef = regexp.MustCompile(`name="ref" value="([^"]+)"`)

// The whole flow with forms alone, as a browser without scripts does it.
func TestInvestigationsByStatus(t *testing.T) {
	s := newSite(t)
	b := s.as(collab.RoleMember)
	b.openInvestigation("one")
	var list investigationList
	b.api(http.MethodGet, "/api/v1/investigations?status=open,closed,open", "", http.StatusOK, &list)
	if len(list.Investigations) != 1 {
		t.Errorf("open or closed: %d investigations, want 1", len(list.Investigations))
	}
	for _, status := range []string{"bogus", "open,bogus", strings.Repeat("a,", 40_000)} {
		a := b.api(http.MethodGet, "/api/v1/investigations?status="+status, "", http.StatusBadRequest, nil)
		if !strings.Contains(a.body, `"field":"status"`) {
			t.Errorf("status %.20s: got %.200s, want an error about the field status", status, a.body)
		}
	}
	b.api(http.MethodGet, "/api/v1/investigations?status="+strings.Repeat("open,", 40_000), "", http.StatusOK, &list)
}

func TestBoardWithoutScripts(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	ana, bo, vi := s.as(collab.RoleAdmin), s.as(collab.RoleMember), s.as(collab.RoleViewer)
	ana.get("/investigations").want(t, "empty list", 200, "No investigation yet", "New investigation")
	vi.get("/investigations").want(t, "empty list of a viewer", 200, "No investigation yet", "!/investigations/new")
	ana.post("/investigations", "title", " ", "ref", "r").want(t, "no title", 422, "Give it a title.")

	// From a span, with a new investigation.
	form := []string{"kind", "span", "trace_id", boardTrace, "span_id", "0000000000000003", "ref", "r1", "investigation", "", "title", `Slow <quotes> & "more"`}
	a := ana.post("/investigations/pin", form...)
	target := a.header.Get("Location")
	if a.status != 303 || !strings.HasPrefix(target, "/i/i_") || !strings.Contains(target, "#b_") {
		t.Fatalf("pin: %d to %q: %.300s", a.status, target, a.body)
	}
	ana.post("/investigations/pin", form...).wantRedirect(t, "the same form again", target)
	page, block, _ := strings.Cut(target, "#")
	ana.get(page).want(t, "board", 200, "Slow &lt;quotes&gt; &amp; &#34;more&#34;", "GET /dealers/:id &lt;b&gt;", "dealers-api", "600 ms", "too slow", "D-4471",
		"from the span that ", "opened this investigation", "!<script>alert", "! style=")
	ana.post("/investigations/pin", "kind", "span", "trace_id", boardTrace, "span_id", "00000000000000ff", "title", "Nothing").want(t, "an unknown span", 404)
	ana.get("/investigations?show=all").want(t, "list", 200, "Slow &lt;quotes&gt;", "!Nothing")

	// Trace, thread and query go to the chosen one.
	id := strings.TrimPrefix(page, "/i/")
	for _, kind := range []string{"trace", "thread"} {
		if a := ana.post("/investigations/pin", "kind", kind, "trace_id", boardTrace, "investigation", id); a.status != 303 {
			t.Fatalf("pin %s: %d %.300s", kind, a.status, a.body)
		}
	}
	a = ana.post("/investigations/pin", "kind", "query", "query", `{"calculations":[{"op":"P99","column":"duration_ms"},{"op":"HEATMAP","column":"duration_ms"}],"breakdowns":["service.name"]}`, "investigation", id)
	if a.status != 303 {
		t.Fatalf("pin query: %d %.300s", a.status, a.body)
	}
	ana.get(page).want(t, "board with pictures", 200, "Picture-bar", "P99(duration_ms), HEATMAP(duration_ms) by service.name", "rows matched", "Chart-line", "Heat--", "1 trace · ")

	// A note that names Bo, who finds it in the inbox.
	bo.get("/api/v1/inbox/count").want(t, "count before", 200, `{"unread":0}`)
	ref := hiddenRef.FindStringSubmatch(ana.get(page).body)[1]
	for range 2 { // a double click
		if a := ana.post(page+"/blocks", "kind", "note", "ref", ref, "text", "**Look** @The member <img src=x onerror=alert(1)>"); a.status != 303 {
			t.Fatalf("note: %d %.300s", a.status, a.body)
		}
	}
	bo.get("/api/v1/inbox/count").want(t, "count after", 200, `{"unread":1}`)
	inbox := bo.get("/inbox")
	inbox.want(t, "inbox", 200, "named you:", "The admin", "Slow &lt;quotes&gt;", "!<img src=x")
	item := regexp.MustCompile(`action="(/inbox/n_[^"]+)"`).FindStringSubmatch(inbox.body)[1]
	vi.post(item, "state", "read").want(t, "somebody else's message", 404)
	if a := bo.post(item, "open", "1"); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), page+"#b_") {
		t.Errorf("open a message: %d to %q, want 303 to the note on %s", a.status, a.header.Get("Location"), page)
	}
	bo.get("/api/v1/inbox/count").want(t, "count when read", 200, `{"unread":0}`)
	if a := bo.post(item, "state", "done"); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/inbox?moved=1&undo=") {
		t.Errorf("done: %d to %q, want 303 to the inbox", a.status, a.header.Get("Location"))
	}
	bo.get("/inbox").want(t, "inbox when done", 200, "Nothing waits for you")
	bo.get(page).want(t, "board", 200, "<strong>Look</strong>", "!<img src=x")

	// A remark on the pin shows on the board and with the span.
	bo.post("/annotations", "pin_id", block, "text", "The *stock* query lost its limit", "ref", "x").want(t, "remark", 303)
	bo.get(page).want(t, "board with a remark", 200, "The <em>stock</em> query lost its limit", "seen in its trace too")
	bo.get("/api/v1/annotations?trace_id="+boardTrace+"&span_id=0000000000000003").want(t, "annotations of the span", 200, "stock")
	vi.get(page).want(t, "board of a viewer", 200, "stock", "!<textarea", "!Add note", "!data-form")

	// Status, severity and lead; of a form made from an old page only what was
	// changed counts.
	ana.post(page, "seen", "1", "status", "mitigated", "was_status", "open", "severity", "unknown", "was_severity", "unknown", "lead", "", "was_lead", "").wantRedirect(t, "status", page)
	bo.post(page, "seen", "1", "status", "open", "was_status", "open", "severity", "sev1", "was_severity", "unknown").wantRedirect(t, "severity", page)
	ana.get(page).want(t, "head", 200, "SEV1", "changed the status from open to mitigated", "set the severity to sev1")
	bo.post(page, "seen", "1", "status", "closed", "was_status", "open").want(t, "conflict", 409, "Two of you changed the status", "mitigated", `value="closed"`)
	bo.post(page+"/blocks/"+block, "seen", "2", "move", "1", "after", "").wantRedirect(t, "move", page+"#"+block)
	bo.post(page+"/blocks/"+block+"/delete").wantRedirect(t, "delete", page)
	ana.get(page+"?timeline=all").want(t, "after deleting", 200, "!"+`id="`+block+`"`, "deleted a pinned span", "!stock")
	vi.post(page+"/blocks", "kind", "note", "text", "x").want(t, "a viewer's note", 403)
}

func (s *site) dial(b *browser, id collab.InvestigationID, query string) *websocket.Conn {
	s.t.Helper()
	u, err := url.Parse(s.srv.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	header := http.Header{"Origin": {s.srv.URL}}
	for _, c := range b.client.Jar.Cookies(u) {
		header.Add("Cookie", c.String())
	}
	d := websocket.Dialer{Subprotocols: []string{live.Subprotocol}, HandshakeTimeout: 60 * time.Second}
	conn, res, err := d.Dial("ws"+strings.TrimPrefix(s.srv.URL, "http")+"/live/investigations/"+string(id)+query, header)
	if err != nil {
		s.t.Fatalf("dial: %v, %v", err, res)
	}
	s.t.Cleanup(func() { conn.Close() })
	if conn.Subprotocol() != live.Subprotocol {
		s.t.Fatalf("subprotocol %q", conn.Subprotocol())
	}
	return conn
}

type frame struct {
	Type, Epoch, Ref, Code, Actor, ID, At string
	Offset                                int64
	Data                                  json.RawMessage
}

// nextFrame reads the next message that is not of presence.
func nextFrame(t *testing.T, c *websocket.Conn) frame {
	t.Helper()
	for {
		if err := c.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, raw, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("read message: %v", err)
		}
		var f frame
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatalf("message %s: %v", raw, err)
		}
		if f.Type != live.TypePresence && f.Type != live.TypeSelf {
			return f
		}
	}
}

func TestLiveInvestigation(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	ana, bo, vi := s.as(collab.RoleAdmin), s.as(collab.RoleMember), s.as(collab.RoleViewer)
	inv := ana.openInvestigation("Slow quotes")
	base := "/api/v1/investigations/" + string(inv.ID)
	a, b, v := s.dial(ana, inv.ID, ""), s.dial(bo, inv.ID, "?epoch="+inv.Epoch+"&after=0"), s.dial(vi, inv.ID, "")
	for _, c := range []*websocket.Conn{a, b, v} {
		if f := nextFrame(t, c); f.Type != "hello" || f.Epoch != inv.Epoch || f.Offset != 1 {
			t.Fatalf("first message %+v", f)
		}
	}
	if f := nextFrame(t, b); f.Type != "investigation.created" || f.Offset != 1 {
		t.Fatalf("replay %+v", f)
	}
	// A pin by the API, a note by the socket.
	ana.api("POST", base+"/pins", `{"ref":"p1","kind":"span","trace_id":"`+boardTrace+`","span_id":"0000000000000003"}`, 201, nil)
	for _, c := range []*websocket.Conn{a, b, v} {
		if f := nextFrame(t, c); f.Type != "pin.added" || f.Offset != 2 || f.Ref != "p1" || f.Actor != s.users[collab.RoleAdmin].ID || f.At == "" {
			t.Fatalf("pin %+v", f)
		}
	}
	send := func(c *websocket.Conn, text string) {
		t.Helper()
		if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send(b, `{"type":"note.add","ref":"n1","data":{"text":"from the socket"}}`)
	got := map[string]frame{}
	for range 2 {
		f := nextFrame(t, b)
		got[f.Type] = f
	}
	if got["ack"].Ref != "n1" || got["ack"].Offset != 3 || got["note.added"].Offset != 3 {
		t.Fatalf("note %+v", got)
	}
	// The frames on the socket are those of the API.
	var log struct{ Changes []json.RawMessage }
	ana.api("GET", base+"/changes?after=2", "", 200, &log)
	if f := nextFrame(t, a); f.Type != "note.added" || !strings.Contains(string(log.Changes[0]), `"from the socket"`) {
		t.Fatalf("socket %+v, API %s", f, log.Changes[0])
	}
	nextFrame(t, v)
	for _, c := range []struct{ send, code string }{
		{`{"type":"note.add","ref":"e1","data":{"text":" "}}`, "invalid"},
		{`{"type":"note.add","ref":"e1","data":{"text":7}}`, "invalid"},
		{`{"type":"rocket.launch","ref":"e1"}`, "invalid"},
		{`{"type":"pin.add","ref":"e1","data":{"kind":"trace","trace_id":"ffffffffffffffffffffffffffffffff"}}`, "not_found"},
		{`{"type":"investigation.update","ref":"e1","data":{"seen":0,"title":"x"}}`, "conflict"},
		{`{"type":"note.update","ref":"e1","data":{"id":"b_none","seen":1,"text":"x"}}`, "not_found"},
	} {
		send(b, c.send)
		if f := nextFrame(t, b); f.Type != "error" || f.Ref != "e1" || f.Code != c.code {
			t.Errorf("%s: got %+v, want error %s", c.send, f, c.code)
		}
	}
	send(v, `{"type":"note.add","ref":"v1","data":{"text":"x"}}`)
	if f := nextFrame(t, v); f.Type != "error" || f.Code != "forbidden" {
		t.Errorf("a viewer's note: %+v", f)
	}
	// Cut, and back: nothing missing, nothing twice.
	b.Close()
	ana.api("POST", base+"/blocks", `{"kind":"note","text":"while Bo was away"}`, 201, nil)
	b = s.dial(bo, inv.ID, "?epoch="+inv.Epoch+"&after=3")
	if f := nextFrame(t, b); f.Type != "hello" || f.Offset != 4 {
		t.Fatalf("hello %+v", f)
	}
	if f := nextFrame(t, b); f.Offset != 4 {
		t.Fatalf("resumed with %+v", f)
	}
	// Another epoch: reload.
	if err := s.Collab.RenewEpochs(t.Context()); err != nil {
		t.Fatal(err)
	}
	stale := s.dial(bo, inv.ID, "?epoch="+inv.Epoch+"&after=4")
	if f := nextFrame(t, stale); f.Type != "reload" {
		t.Fatalf("old epoch: %+v", f)
	}
	wantClose(t, stale, live.CloseReload, 60*time.Second)
	wantClose(t, v, live.CloseReload, 60*time.Second)
}

func wantClose(t *testing.T, c *websocket.Conn, code int, within time.Duration) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	for {
		_, _, err := c.ReadMessage()
		if err == nil {
			continue
		}
		if !websocket.IsCloseError(err, code) {
			t.Fatalf("closed with %v, want %d within %v", err, code, within)
		}
		return
	}
}

// Whoever is signed out or deactivated is out of the room; if nothing tells of it, the
// next look does, within 5 s.
func TestRevokedReadersLeave(t *testing.T) {
	if defaultPulse.check >= 5*time.Second {
		t.Errorf("between looks there are %v, want less than 5 s", defaultPulse.check)
	}
	s := newSite(t)
	bo, vi := s.as(collab.RoleMember), s.as(collab.RoleViewer)
	inv := bo.openInvestigation("x")
	b, v := s.dial(bo, inv.ID, ""), s.dial(vi, inv.ID, "")
	nextFrame(t, b)
	nextFrame(t, v)
	bo.post("/sign-out")
	off := false
	if _, err := s.Collab.UpdateUser(t.Context(), s.users[collab.RoleViewer].ID, collab.UserUpdate{Active: &off}); err != nil {
		t.Fatal(err)
	}
	wantClose(t, b, live.CloseSignedOut, 60*time.Second)
	wantClose(t, v, live.CloseSignedOut, 60*time.Second)
}

// However somebody loses access: what is written next never comes to their socket.
func TestRevokedReadersHearNothingMore(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	viewer := s.users[collab.RoleViewer].ID
	as := collab.WithActor(t.Context(), collab.Actor{Kind: collab.ActorUser, ID: s.users[collab.RoleAdmin].ID, Role: collab.RoleAdmin})
	team, err := s.Collab.CreateTeam(as, collab.TeamNew{Name: "Quotes"})
	if err != nil {
		t.Fatal(err)
	}
	member := func(in bool) {
		t.Helper()
		if _, err := s.Collab.UpdateTeam(as, team.ID, collab.TeamUpdate{Members: map[string]bool{viewer: in}}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		before, end string // bodies of changes; "": none
		code        int
	}{
		"made private":    {"", `"visibility":"private"`, live.CloseForbidden},
		"taken out":       {`"visibility":"private","people":{"` + viewer + `":""}`, `"people":{"` + viewer + `":null}`, live.CloseForbidden},
		"leaves the team": {`"visibility":"team","teams":{"` + string(team.ID) + `":true}`, "", live.CloseForbidden},
		"signs out":       {"", "", live.CloseSignedOut},
	} {
		member(true)
		inv := admin.openInvestigation(name)
		change := func(body string) {
			t.Helper()
			if body == "" {
				return
			}
			var now collab.Investigation
			admin.api("GET", "/api/v1/investigations/"+string(inv.ID), "", 200, &now)
			admin.api("PATCH", "/api/v1/investigations/"+string(inv.ID), fmt.Sprintf(`{"seen":%d,%s}`, now.Offset, body), 200, nil)
		}
		change(c.before)
		vi := s.as(collab.RoleViewer)
		conn := s.dial(vi, inv.ID, "")
		nextFrame(t, conn)
		change(c.end)
		switch name {
		case "leaves the team":
			member(false)
		case "signs out":
			vi.post("/sign-out")
		}
		admin.api("POST", "/api/v1/investigations/"+string(inv.ID)+"/blocks", `{"kind":"note","text":"the sensitive thing"}`, 201, nil)
		if err := conn.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			_, raw, err := conn.ReadMessage()
			if err != nil {
				if !websocket.IsCloseError(err, c.code) {
					t.Errorf("%s: the socket ends with %v, want code %d", name, err, c.code)
				}
				break
			}
			if strings.Contains(string(raw), "sensitive") {
				t.Errorf("%s: the socket was told %s", name, raw)
			}
		}
	}
}

func TestLiveRefuses(t *testing.T) {
	s := newSite(t)
	bo := s.as(collab.RoleMember)
	inv := bo.openInvestigation("x")
	path := "/live/investigations/" + string(inv.ID)
	bo.get(path).want(t, "no upgrade", 426)
	bo.get(path+"?after=x").want(t, "bad after", 400, `"field":"after"`)
	bo.get(path, "Sec-WebSocket-Protocol", "investigation.v9").want(t, "another protocol", 400)
	bo.get("/live/investigations/i_none").want(t, "unknown", 404)
	c := s.dial(bo, inv.ID, "")
	nextFrame(t, c)
	if err := c.WriteMessage(websocket.TextMessage, []byte("not json")); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, live.CloseProtocol, 60*time.Second)
}

func TestTargetsPage(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	admin.get("/settings/notifications").want(t, "empty", 200, "Notifications stay in the inbox", "Nothing was sent yet")
	admin.post("/settings/notifications", "name", "ops", "url", "ftp://x", "reasons", "mention").want(t, "bad address", 422, "it begins with https://", `value="ops"`)
	admin.post("/settings/notifications", "name", "ops", "url", "https://hooks.example/secret").want(t, "no reason", 422, "at least one reason")
	admin.post("/settings/notifications", "name", "#ops <b>", "url", "https://hooks.example/secret", "reasons", "mention", "reasons", "status").wantRedirect(t, "add", "/settings/notifications?done=added")
	page := admin.get("/settings/notifications")
	page.want(t, "one target", 200, "#ops &lt;b&gt;", "hooks.example", "mention, status", "!secret\"")
	target := regexp.MustCompile(`action="(/settings/notifications/g_[^/]+)/test"`).FindStringSubmatch(page.body)[1]
	admin.post(target+"/test").wantRedirect(t, "test", "/settings/notifications?done=test")
	page = admin.get("/settings/notifications")
	page.want(t, "log", 200, "Test from redthread", "pending")
	admin.post(target+"/disable").wantRedirect(t, "disable", "/settings/notifications")
	admin.post(target+"/delete").wantRedirect(t, "delete", "/settings/notifications")
	admin.post(target+"/test").want(t, "a deleted target", 404)
	admin.get("/settings/notifications").want(t, "after deleting", 200, "failed", "Notifications stay in the inbox")
	admin.post("/settings/notifications/hosts", "host", "http://x/").want(t, "bad host", 422, "without scheme and port")
	admin.post("/settings/notifications/hosts", "host", "Chat.Internal").wantRedirect(t, "allow", "/settings/notifications")
	admin.get("/settings/notifications").want(t, "hosts", 200, "chat.internal")
	admin.post("/settings/notifications/hosts/delete", "host", "chat.internal").wantRedirect(t, "forbid", "/settings/notifications")
}
