package handlers

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/collab"
	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog/logtest"
)

// upload sends a picture as a browser's form does.
func (b *browser) upload(path string, raw []byte, fields ...string) reply {
	b.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			b.t.Fatal(err)
		}
	}
	f, err := w.CreateFormFile("picture", `evil".svg`)
	if err == nil {
		_, err = f.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(http.MethodPost, path, body.String(), "Content-Type", w.FormDataContentType(), "Sec-Fetch-Site", "same-origin")
}

func smallPNG(t *testing.T) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 3))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Hypotheses, tasks, comparisons and pictures with forms alone.
func TestBoardKindsWithoutScripts(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	ana, bo, vi := s.as(collab.RoleAdmin), s.as(collab.RoleMember), s.as(collab.RoleViewer)
	ana.get("/investigations/new").want(t, "templates", 200, "Something is slow", `value="queue"`)
	a := ana.post("/investigations", "title", "Slow quotes", "ref", "r", "template", "slow")
	if a.status != 303 {
		t.Fatalf("open with a template: %d %.300s", a.status, a.body)
	}
	page := a.header.Get("Location")
	ana.get(page).want(t, "a board from a template", 200, "A deploy made it slow", "Decide on rolling back", `role="checkbox"`)
	ana.post("/investigations", "title", "x", "template", "none").want(t, "an unknown template", 422)

	inv := ana.openInvestigation("Slow quotes")
	page = "/i/" + string(inv.ID)
	add := func(fields ...string) string {
		t.Helper()
		a := ana.post(page+"/blocks", fields...)
		_, id, ok := strings.Cut(a.header.Get("Location"), "#")
		if a.status != 303 || !ok {
			t.Fatalf("add %v: %d %.300s", fields, a.status, a.body)
		}
		return id
	}
	span := add("kind", "span", "trace_id", boardTrace, "span_id", "0000000000000003")
	trace := add("kind", "trace", "trace_id", boardTrace)
	h1 := add("kind", "hypothesis", "title", "The <build> is slow", "text", "since *13:51*")
	h2 := add("kind", "hypothesis", "title", "Postgres is slow")
	job := add("kind", "task", "title", "Roll back", "assignee", s.users[collab.RoleMember].ID)
	add("kind", "comparison", "side", span, "side", trace, "title", "before & after")
	ana.post(page+"/blocks", "kind", "comparison", "side", span, "side", span).want(t, "a comparison with itself", 422, "two different pins")

	// Evidence: for one, against the other; the same again from an old page asks.
	ana.post(page+"/blocks/"+span+"/cite", "seen", "7", "hypothesis", h1, "side", "for").wantRedirect(t, "cite", page+"#"+span)
	bo.post(page+"/blocks/"+span+"/cite", "seen", "7", "hypothesis", h2, "side", "against").wantRedirect(t, "cite another", page+"#"+span)
	bo.post(page+"/blocks/"+span+"/cite", "seen", "7", "hypothesis", h1, "side", "against").want(t, "cite the same", 409, "Two of you changed the evidence", `name="hypothesis" value="`+h1+`"`, `name="side" value="against"`)
	bo.post(page+"/blocks/"+h2, "seen", "8", "state", "refuted").wantRedirect(t, "refute", page+"#"+h2)
	bo.post(page+"/blocks/"+job, "seen", "8", "done", "true").wantRedirect(t, "do", page+"#"+job)
	bo.get("/inbox").want(t, "inbox", 200, "gave you a task", "Roll back")
	ana.get(page+"?timeline=all").want(t, "board", 200, "The &lt;build&gt; is slow", "Block--refuted", "Block--done", "before &amp; after", "Comparison-side",
		"ruled out “Postgres is slow”", "did: Roll back", "put GET /dealers/:id &lt;b&gt; for “The &lt;build&gt; is slow”", "! style=", "By hypothesis")
	lanes := ana.get(page + "?view=lanes")
	lanes.want(t, "lanes", 200, `data-lane="`+h1+`"`, "Speaks for none yet", ", in another lane")
	at := func(part string) int { return strings.Index(lanes.body, part) }
	if !(at(`data-lane="`+h1+`"`) < at(`id="`+span+`"`) && at(`id="`+span+`"`) < at(`data-lane="`+h2+`"`) && at(`data-lane="`+h2+`"`) < at(`id="`+trace+`"`)) {
		t.Error("the span is not in the lane of the first hypothesis that cites it, or the trace not behind the lanes")
	}
	vi.get(page).want(t, "a viewer's board", 200, "Postgres is slow", "!TaskBox", "!data-form", "!Evidence for")

	// Pictures: known by their bytes, sent back as they came.
	raw := smallPNG(t)
	a = ana.upload(page+"/blocks", raw, "kind", "picture", "title", "The <graph>")
	_, pic, _ := strings.Cut(a.header.Get("Location"), "#")
	if a.status != 303 || pic == "" {
		t.Fatalf("upload: %d %.300s", a.status, a.body)
	}
	src := page + "/blocks/" + pic + "/picture"
	got := vi.get(src)
	for name, want := range map[string]string{"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"} {
		if got.header.Get(name) != want {
			t.Errorf("picture: %s is %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.status != 200 || got.body != string(raw) {
		t.Errorf("picture: status %d, %d bytes, want the %d that were sent", got.status, len(got.body), len(raw))
	}
	vi.get(src, "If-None-Match", got.header.Get("ETag")).want(t, "picture again", http.StatusNotModified)
	ana.get(page).want(t, "board with a picture", 200, `src="`+src+`"`, `alt="The &lt;graph&gt;"`, `width="4"`)
	for what, bad := range map[string][]byte{"svg": []byte(`<svg onload="alert(1)"/>`), "nothing": nil, "too large": append(smallPNG(t), make([]byte, collab.MaxPictureBytes)...)} {
		ana.upload(page+"/blocks", bad, "kind", "picture", "title", "x").want(t, what, 422)
	}
	ana.upload(page+"/blocks", make([]byte, maxBodyBytes), "kind", "picture", "title", "x").want(t, "beyond the limit of bodies", 413)
	ana.post(page+"/blocks/"+pic+"/delete").wantRedirect(t, "delete", page)
	vi.get(src).want(t, "a deleted picture", 404)
}

func TestUnknownFieldsAreRefused(t *testing.T) {
	s := newSite(t)
	b := s.as(collab.RoleMember)
	inv := b.openInvestigation("x")
	base := "/api/v1/investigations/" + string(inv.ID)
	var bad struct{ Error struct{ Code, Field string } }
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", "/api/v1/investigations", `{"title":"x","sevrity":"sev1"}`, "sevrity"},
		{"PATCH", base, `{"seen":1,"state":"open"}`, "state"},
		{"POST", base + "/blocks", `{"kind":"note","text":"x","color":"red"}`, "color"},
		{"POST", base + "/pins", `{"kind":"comparison","sides":[{"pin":"b_1"}]}`, "pin"},
		{"POST", "/api/v1/annotations", `{"text":"x","anchor":{"investigation_id":"` + string(inv.ID) + `","page":"x"}}`, "page"},
		{"POST", base + "/blocks", `{"kind":"note","text":"x","done":true}`, "done"},
		{"POST", base + "/blocks", `{"kind":"note","text":"x"} {}`, ""},
	} {
		bad.Error.Field = ""
		b.api(c.method, c.path, c.body, 400, &bad)
		if bad.Error.Code != "invalid" || bad.Error.Field != c.field {
			t.Errorf("%s %s: got %+v, want field %q", c.path, c.body, bad.Error, c.field)
		}
	}
	var board struct{ Offset int }
	b.api("GET", base, "", 200, &board)
	if board.Offset != 1 {
		t.Errorf("the log is at %d: something refused was done", board.Offset)
	}
}

func TestOffers(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	b := s.as(collab.RoleMember)
	inv := b.openInvestigation("x")
	page := "/i/" + string(inv.ID)
	offer := func(text string) reply { return b.get(page + "/offer?text=" + url.QueryEscape(text)) }
	trace, span := `name="kind" value="trace"`, `name="kind" value="span"`
	offer(boardTrace).want(t, "a trace id", 200, trace, "Pin the thread", "GET /quotes", "!"+span)
	offer(boardTrace+":0000000000000003").want(t, "a span of a trace", 200, span, `value="0000000000000003"`)
	offer(s.srv.URL+"/t/"+boardTrace+"/0000000000000003").want(t, "a link to a span", 200, span)
	offer(s.srv.URL+"/thread/"+boardTrace).want(t, "a link to a thread", 200, `value="thread"`, "!Pin the span")
	if got := strings.Count(offer(s.srv.URL+"/thread/"+boardTrace).body, "Offer-row"); got != 1 {
		t.Errorf("a link to a thread is offered %d times", got)
	}
	hidden := s.as(collab.RoleAdmin).openInvestigation("Not for all")
	offer("/i/"+string(hidden.ID)).want(t, "a board", 200, `value="/i/`+string(hidden.ID)+`"`, `name="title" value="Not for all"`, "Add the link")
	s.as(collab.RoleAdmin).api("PATCH", "/api/v1/investigations/"+string(hidden.ID), `{"seen":1,"visibility":"private"}`, 200, nil)
	offer("/i/"+string(hidden.ID)).want(t, "a board that one may not see", 200, "!Not for all", "!Add the link")
	s.as(collab.RoleAdmin).get(page+"/offer?text=/i/"+string(hidden.ID)).want(t, "a board of few", 200, "!Not for all", `name="title" value="Investigation"`)
	offer(s.srv.URL+"/services/quotes-api?range=1h").want(t, "a service", 200, `value="/services/quotes-api?range=1h"`, `name="title" value="Service quotes-api"`)
	offer("/ripples").want(t, "a screen", 200, `name="title" value="Ripples"`)
	offer("/explore?v=COUNT&g=service.name&range=1h").want(t, "a query", 200, `value="query"`, "COUNT by service.name")
	offer("https://status.example/x?<y>").want(t, "another site", 200, "Add the link", "!<y>")
	for _, nothing := range []string{"ffffffffffffffffffffffffffffffff", "no such thing", "javascript:alert(1)", "/settings", "/t/zz", "a\nb"} {
		offer(nothing).want(t, nothing, 200, "Nothing is known", "!<form class=\"Row Offer-row\"")
	}
	b.get(page+"/offer?text="+strings.Repeat("x", maxOfferText+1)).want(t, "too long", 400)
	s.as(collab.RoleViewer).get(page+"/offer?text=x").want(t, "a viewer", 403)
	a := b.do(http.MethodPost, "/preview", "text="+url.QueryEscape("**bold** <script>alert(1)</script>"), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
	a.want(t, "preview", 200, "<strong>bold</strong>", "!<script")
	b.do(http.MethodPost, "/preview", "text="+strings.Repeat("x", maxPreviewBytes+1), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin").want(t, "a long preview", 400)
}

// Compared with the live data, a pin says what changed.
func TestCompareSaysWhat(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	b := s.as(collab.RoleMember)
	inv := b.openInvestigation("x")
	base := "/api/v1/investigations/" + string(inv.ID)
	var pins []collab.Block
	for _, body := range []string{`{"kind":"span","trace_id":"` + boardTrace + `","span_id":"0000000000000003"}`, `{"kind":"trace","trace_id":"` + boardTrace + `"}`,
		`{"kind":"thread","trace_id":"` + boardTrace + `"}`, `{"kind":"query","query":{"breakdowns":["name"],"calculations":[{"op":"COUNT"}]}}`} {
		var p collab.Block
		b.api("POST", base+"/pins", body, 201, &p)
		pins = append(pins, p)
	}
	var both collab.Block
	b.api("POST", base+"/pins", fmt.Sprintf(`{"kind":"comparison","sides":[{"pin_id":%q},{"pin_id":%q}]}`, pins[0].ID, pins[1].ID), 201, &both)
	pins = append(pins, both)
	s.addLate(boardSpan(4, 1, "web-uk", "late", 0, 2e9))
	want := map[collab.BlockKind][]string{
		collab.KindSpan:       nil,
		collab.KindTrace:      {"spans 3→4", "span late →web-uk: late, 2 s"},
		collab.KindThread:     {"trace GET /quotes: spans 3→4"},
		collab.KindQuery:      {"rows matched 3→4", "late →a group of the answer"},
		collab.KindComparison: {"right: spans 3→4"},
	}
	for _, p := range pins {
		var now collab.Comparison
		b.api("GET", base+"/pins/"+string(p.ID)+"/compare", "", 200, &now)
		var got []string
		for _, d := range now.Changes {
			got = append(got, d.What+" "+d.Frozen+"→"+d.Live)
		}
		state := collab.LiveChanged
		if want[p.Kind] == nil {
			state = collab.LiveSame
		}
		if all := strings.Join(got, "\n"); now.State != state || len(got) == 0 != (want[p.Kind] == nil) {
			t.Errorf("%s: %s, changes\n%s", p.Kind, now.State, all)
		}
		for _, w := range want[p.Kind] {
			if !strings.Contains(strings.Join(got, "\n"), w) {
				t.Errorf("%s: no change %q in\n%s", p.Kind, w, strings.Join(got, "\n"))
			}
		}
		b.get("/i/"+string(inv.ID)+"/blocks/"+string(p.ID)+"/compare").want(t, "page", 200, "sha256 "+p.Evidence.SHA256)
		b.get("/i/"+string(inv.ID)+"/blocks/"+string(p.ID)+"/compare", "HX-Request", "true").want(t, "fragment", 200, "now: "+string(state), "!<html")
	}
	// The board remembers what was found.
	b.get("/i/"+string(inv.ID)).want(t, "board", 200, "now: changed", "now: same")
}

// Evidence outlives the spans: after retention has run the pins show what they
// showed, say that the live data is gone, and their hashes hold.
func TestEvidenceOutlivesRetention(t *testing.T) {
	var age atomic.Int64
	log, _ := logtest.Start(t, t.TempDir())
	store, err := tracestore.Open(t.Context(), tracestore.Options{Dir: t.TempDir(), Log: log, MinFreeBytes: 1,
		SpanRetention: time.Hour, EdgeRetention: time.Hour, Now: func() time.Time { return time.Now().Add(time.Duration(age.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		if ok, progress := store.Ready(); ok {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the store is not ready after 60 s: %s", progress)
		}
	}
	s := newSite(t, func(d *Deps) { d.Store, d.Graph = store, graph.New(store, graph.Options{}) })
	s.addTrace()
	b := s.as(collab.RoleMember)
	inv := b.openInvestigation("x")
	base := "/api/v1/investigations/" + string(inv.ID)
	var pins []collab.Block
	for _, body := range []string{`{"kind":"span","trace_id":"` + boardTrace + `","span_id":"0000000000000003"}`, `{"kind":"trace","trace_id":"` + boardTrace + `"}`,
		`{"kind":"thread","trace_id":"` + boardTrace + `"}`, `{"kind":"query","query":{"breakdowns":["name"],"calculations":[{"op":"COUNT"}]}}`} {
		var p collab.Block
		b.api("POST", base+"/pins", body, 201, &p)
		pins = append(pins, p)
	}
	before := regexp.MustCompile(`(?s)<div class="Block-body">.*?</article>`).FindAllString(b.get("/i/"+string(inv.ID)).body, -1)
	if err := store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	age.Store(int64(3 * time.Hour))
	if err := store.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := boardSpan(1, 0, "", "", 0, 0).TraceID
	if left, _, err := store.TraceSpans(t.Context(), id, 10); err != nil || len(left) != 0 {
		t.Fatalf("retention left %d spans, %v", len(left), err)
	}
	for _, p := range pins {
		var now collab.Comparison
		b.api("GET", base+"/pins/"+string(p.ID)+"/compare", "", 200, &now)
		if now.State != collab.LiveGone || now.LiveSHA256 != "" || len(now.Changes) != 0 {
			t.Errorf("%s: after retention the live data is %+v, want gone", p.Kind, now)
		}
		b.get("/i/"+string(inv.ID)+"/blocks/"+string(p.ID)+"/compare").want(t, "page", 200, "It is gone", "sha256 "+p.Evidence.SHA256)
	}
	s.cards = cardCache{} // drawn anew, from the copies
	page := b.get("/i/" + string(inv.ID))
	page.want(t, "board", 200, "now: gone", "D-4471", "Picture-bar")
	after := regexp.MustCompile(`(?s)<div class="Block-body">.*?</article>`).FindAllString(page.body, -1)
	if len(before) != len(pins) || len(after) != len(pins) {
		t.Fatalf("%d and %d blocks on the board, want %d", len(before), len(after), len(pins))
	}
	ids := regexp.MustCompile(`name="ref" value="[^"]+"`)
	for i := range before {
		if diff := cmp.Diff(ids.ReplaceAllString(before[i], ""), ids.ReplaceAllString(after[i], "")); diff != "" {
			t.Errorf("%s is drawn otherwise (-before +after):\n%s", pins[i].Kind, diff)
		}
	}
	if err := s.Collab.CheckEvidence(t.Context()); err != nil {
		t.Error(err)
	}
}

// Several blocks come in one answer, without those that are gone or stand elsewhere.
func TestSeveralBlocksAtOnce(t *testing.T) {
	s := newSite(t)
	ana := s.as(collab.RoleMember)
	inv, other := ana.openInvestigation("Slow quotes"), ana.openInvestigation("Another")
	add := func(inv collab.Investigation, text string) string {
		var b collab.Block
		ana.api("POST", "/api/v1/investigations/"+string(inv.ID)+"/blocks", `{"kind":"note","text":"`+text+`"}`, 201, &b)
		return string(b.ID)
	}
	one, two, three, far := add(inv, "first"), add(inv, "second"), add(inv, "third"), add(other, "far away")
	ana.api("DELETE", "/api/v1/investigations/"+string(inv.ID)+"/blocks/"+three, "", 204, nil)
	at := "/i/" + string(inv.ID) + "/blocks"
	s.as(collab.RoleViewer).get(at+"?id="+two+"&id="+three+"&id="+far+"&id="+one).want(t, "two of four", http.StatusOK, `data-block="`+one+`"`, `data-block="`+two+`"`, "!"+three, "!"+far, "!far away", "!<html")
	ana.get(at).want(t, "none", http.StatusBadRequest)
	ana.get(at+"?"+strings.Repeat("id="+one+"&", maxShownBlocks+1)).want(t, "too many", http.StatusBadRequest)
}
