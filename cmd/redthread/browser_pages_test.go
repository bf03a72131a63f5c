package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
)

// view is a size of window and a theme.
type view struct {
	name          string
	width, height int64
	theme         string
}

// views are those that every page is looked at in.
var views = []view{
	{"light-1440", 1440, 900, "light"},
	{"dark-1440", 1440, 900, "dark"},
	{"light-390", 390, 844, "light"},
	{"dark-390", 390, 844, "dark"},
}

// site is a page to look at.
type site struct {
	name, path string
	refused    bool         // answers with an error of the client, as it should
	open       func(b *tab) // opens what is looked at, if not the page as it comes
}

// TestBrowserPages opens every page in both themes, on a desk and on a phone. A
// page throws nothing, logs no error, violates no policy, misses no file, is
// not wider than the window, and axe finds nothing serious or critical in it.
// With REDTHREAD_SHOTS=DIR it writes a picture of each there.
func TestBrowserPages(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join("..", "..", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Logf("pages are not checked for accessibility: %v; run make static", err)
	}
	chrome := chromium(t)
	p := start(t, t.TempDir())
	a := openTab(t, chrome, p, "A")
	stranger := openTab(t, chrome, p, "stranger")
	p.mu.Lock()
	link := p.signIn
	p.mu.Unlock()
	stranger.look(axe, site{name: "welcome", path: strings.TrimPrefix(link, p.url)})
	a.becomeAdmin(p, "ann@example.com", "Ann")
	stranger.look(axe, site{name: "sign-in", path: "/sign-in?next=/explore"})

	a.look(axe, []site{
		{name: "home-empty", path: "/"}, {name: "explore-empty", path: "/explore"}, {name: "investigations-empty", path: "/investigations"}, {name: "inbox-empty", path: "/inbox"},
		{name: "notifications-empty", path: "/settings/notifications"}, {name: "jobs-empty", path: "/jobs"}, {name: "messages-empty", path: "/messages"},
		{name: "markers-empty", path: "/settings/markers"},
	}...)

	s := tell(t, p)
	traffic(t, p, 600)
	big := bigTrace(t, p, 2_000)
	board, pin := fillBoard(t, p, s)
	a.look(axe, []site{
		{name: "home", path: "/"},
		{name: "explore", path: "/explore?v=HEATMAP(duration_ms)&v=COUNT&v=P95(duration_ms)&w=duration_ms+>+30&g=service.name&g=http.route&o=COUNT+desc&f=slow+%3D+GT($duration_ms,100)"},
		{name: "explore-bubbleup", path: "/explore?v=HEATMAP(duration_ms)&v=COUNT&tab=bubbleup&s=duration_ms+>%3D+30"},
		{name: "explore-bubbleup-help", path: "/explore?v=HEATMAP(duration_ms)&v=COUNT&tab=bubbleup"},
		{name: "explore-traces", path: "/explore?v=COUNT&tab=traces"},
		{name: "explore-raw", path: "/explore?v=COUNT&tab=raw"},
		{name: "explore-nothing", path: "/explore?w=service.name+%3D+nobody"},
		{name: "explore-invalid", path: "/explore?v=GUESS(x)&w=duration_ms", refused: true},
		{name: "trace", path: "/t/" + s.request.String()},
		{name: "trace-span", path: "/t/" + s.job.String() + "/" + s.failed.String()},
		{name: "trace-large", path: "/t/" + big.String() + "?q=step+1"},
		{name: "causes", path: "/t/" + s.job.String() + "/causes"},
		{name: "trace-missing", path: "/t/4bf92f3577b34da6a3ce929d0e0e4736", refused: true},
		{name: "thread", path: "/thread/" + s.request.String()},
		{name: "find", path: "/find?q=u-4711-nothing"},
		{name: "investigations", path: "/investigations"},
		{name: "investigation-new", path: "/investigations/new"},
		{name: "board", path: "/i/" + board}, {name: "lanes", path: "/i/" + board + "?view=lanes"}, {name: "board-then", path: "/i/" + board + "?at=4"}, {name: "board-log", path: "/i/" + board + "?timeline=all&order=recorded"}, {name: "timeline-entry", path: "/i/" + board + "/timeline/c_2"}, {name: "compare", path: "/i/" + board + "/blocks/" + pin + "/compare"},
		{name: "offer", path: "/i/" + board + "/offer?text=" + s.request.String()},
		{name: "ripples", path: "/ripples"},
		{name: "services", path: "/services"}, {name: "services-thread", path: "/services?thread=" + s.request.String()}, {name: "service", path: "/services/pricing"},
		{name: "messages", path: "/messages"}, {name: "topic", path: "/messages/quotes.requested"}, {name: "topic-missing", path: "/messages/nothing"},
		{name: "jobs", path: "/jobs"}, {name: "job", path: "/jobs/PriceQuoteJob"}, {name: "queues", path: "/queues"},
		{name: "inbox", path: "/inbox"}, {name: "inbox-done", path: "/inbox?show=done"}, {name: "inbox-rules", path: "/inbox/rules"},
		{name: "palette", path: "/services", open: func(b *tab) { b.openPalette("") }}, {name: "palette-found", path: "/inbox", open: func(b *tab) { b.openPalette("quo") }},
		{name: "list-of-keys", path: "/t/" + s.job.String() + "/" + s.failed.String(), open: func(b *tab) {
			b.key("?")
			b.until("the list of keys", `document.getElementById("keys").open`)
		}},
		{name: "account", path: "/settings/account"}, {name: "people", path: "/settings/people"}, {name: "teams", path: "/settings/teams"}, {name: "markers", path: "/settings/markers"}, {name: "keys", path: "/settings/keys"}, {name: "tokens", path: "/settings/tokens"},
		{name: "notifications", path: "/settings/notifications"}, {name: "correlations", path: "/settings/correlations?preview=1&means=message&cause=user.id&effect=http.route,app.never"}, {name: "storage", path: "/settings/storage"}, {name: "audit", path: "/settings/audit"}, {name: "about", path: "/settings/about"},
		{name: "not-found", path: "/nothing/here", refused: true},
	}...)
	a.leave()
	stranger.leave()
	p.stop()
}

// fillBoard makes an investigation with a block of every kind, and messages in
// the inbox of Ann. pin is a span on it.
func fillBoard(t *testing.T, p *process, s story) (board, pin string) {
	t.Helper()
	var made investigationState
	post := func(path string, body map[string]any, out any) {
		t.Helper()
		if got := p.api(http.MethodPost, path, body, out); got != http.StatusCreated {
			t.Fatalf("POST %s: status %d", path, got)
		}
	}
	for _, m := range []map[string]any{
		{"service": "pricing", "message": "build 7f3c1e9d", "url": "https://example.com/deploys/1234"},
		{"type": "migration", "message": "an index of prices by dealer and country, made while everybody goes on", "time": time.Now().Add(-40 * time.Minute).Unix(), "end_time": time.Now().Add(-30 * time.Minute).Unix()},
	} {
		post("/api/v1/markers", m, nil)
	}
	post("/api/v1/investigations", map[string]any{"title": "Quotes of dealer 17 fail since the deploy", "severity": "sev2"}, &made)
	pins := "/api/v1/investigations/" + made.ID + "/pins"
	var span struct {
		ID string `json:"id"`
	}
	post(pins, map[string]any{"ref": "1", "kind": "span", "trace_id": s.job.String(), "span_id": s.failed.String()}, &span)
	post(pins, map[string]any{"ref": "2", "kind": "trace", "trace_id": s.request.String(), "text": "the request behind it"}, nil)
	post(pins, map[string]any{"ref": "3", "kind": "thread", "trace_id": s.request.String()}, nil)
	post(pins, map[string]any{"ref": "4", "kind": "query", "query": map[string]any{"calculations": []any{map[string]any{"op": "COUNT"}, map[string]any{"op": "HEATMAP", "column": "duration_ms"}},
		"breakdowns": []any{"service.name"}, "time_range": 3600, "granularity": 0}}, nil)
	post(pins, map[string]any{"ref": "5", "kind": "note", "text": "It waits for **dealer 17**. @Ann, who runs that?\n\n- `GET /dealers/17/price` takes 500 ms\n- others do not"}, nil)
	post(pins, map[string]any{"ref": "6", "kind": "link", "url": "https://example.com/deploys/1234", "title": "The deploy"}, nil)
	post(pins, map[string]any{"ref": "10", "kind": "comparison", "sides": []any{map[string]any{"pin_id": span.ID}, map[string]any{"kind": "trace", "trace_id": s.request.String()}}}, nil)
	post(pins, map[string]any{"ref": "11", "kind": "hypothesis", "title": "Dealer 17 is down", "state": "supported", "references": map[string]any{span.ID: "for"}}, nil)
	post(pins, map[string]any{"ref": "12", "kind": "hypothesis", "title": "RecalculateQuotesForEveryDealer::PerformLater retries itself", "text": "Count `runs` against `jobs`."}, nil)
	post(pins, map[string]any{"ref": "13", "kind": "task", "title": "Switch dealer 17 off", "assignee": "Ann"}, nil)
	post(pins, map[string]any{"ref": "14", "kind": "task", "title": "Tell support", "done": true}, nil)
	post(pins, map[string]any{"ref": "15", "kind": "picture", "title": "The dashboard", "picture": dotPNG}, nil)
	post("/api/v1/annotations", map[string]any{"ref": "7", "anchor": map[string]any{"pin_id": span.ID}, "text": "The dealer answers others in time."}, nil)
	post("/api/v1/annotations", map[string]any{"ref": "8", "anchor": map[string]any{"investigation_id": made.ID}, "text": "Started at ten, @Ann."}, nil)
	post("/api/v1/annotations", map[string]any{"ref": "9", "anchor": map[string]any{"trace_id": s.job.String(), "span_id": s.failed.String()}, "text": "This one."}, nil)
	return made.ID, span.ID
}

// dotPNG is a picture of one grey dot, in base64.
const dotPNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="

// look opens pages in all views and reports what is wrong with them.
func (b *tab) look(axe []byte, sites ...site) {
	b.t.Helper()
	for _, v := range views {
		b.size(v.width, v.height)
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: v.theme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		for _, s := range sites {
			b.open(s.path)
			if s.open != nil {
				s.open(b)
			}
			name := s.name + "-" + v.name
			b.checkKeys(name)
			if w := value[int](b, `document.documentElement.scrollWidth`); w > int(v.width) {
				b.t.Errorf("%s: the document is %d wide in a window of %d: %s", name, w, v.width, value[[]byte](b, tooWide))
			}
			if axe != nil {
				b.checkAccess(name, axe)
			}
			if dir := os.Getenv("REDTHREAD_SHOTS"); dir != "" {
				b.shot(dir, name)
			}
			faults := b.takeFaults()
			if s.refused {
				faults = slices.DeleteFunc(faults, func(f fault) bool { return f.network && strings.Contains(f.text, s.path) })
			}
			for _, f := range faults {
				b.t.Errorf("%s: %s", name, f.text)
			}
		}
	}
}

// tooWide names elements that reach out of the window.
const tooWide = `[...document.querySelectorAll("body *")].filter((e) => {
	const r = e.getBoundingClientRect();
	return r.width > 0 && r.right > innerWidth + 1 && getComputedStyle(e).position !== "fixed";
}).slice(0, 4).map((e) => e.outerHTML.slice(0, 120))`

// checkAccess runs axe on the page.
func (b *tab) checkAccess(name string, axe []byte) {
	b.t.Helper()
	value[bool](b, string(axe)+"\n;true")
	type finding struct {
		ID, Impact, Help string
		Nodes            []string
	}
	found := value[[]finding](b, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations
		.filter((v) => v.impact === "serious" || v.impact === "critical")
		.map((v) => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + n.html.slice(0, 160) + " " + (n.any[0]?.message ?? n.failureSummary))})))`)
	for _, f := range found {
		b.t.Errorf("%s: axe: %s %s: %s\n\t%s", name, f.Impact, f.ID, f.Help, strings.Join(f.Nodes, "\n\t"))
	}
	if _, err := evaluate[bool](b, `delete window.axe`); err != nil {
		b.t.Error(fmt.Errorf("%s: %w", name, err))
	}
}
