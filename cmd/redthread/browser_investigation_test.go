package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// blockIDs are the blocks on the board that a page shows, from above.
const blockIDs = `[...document.querySelectorAll('[data-part="blocks"] > [data-block]')].map((b) => b.dataset.block)`

// offsets are the changes that the timeline of a page shows, the newest first.
const offsets = `[...document.querySelectorAll('#timeline > [data-offset]')].map((e) => Number(e.dataset.offset))`

// blockWith counts the blocks of a kind that contain a text.
func blockWith(kind, text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('[data-part="blocks"] > .Block--%s')].filter((b) => b.textContent.includes(%s)).length`, kind, jsonText(text))
}

// headStatus is the status that the head of a board shows.
const headStatus = `document.querySelector('.BoardHead [data-key="head-status"] .HeadMenu-label').textContent`

// investigationState is what the API says of an investigation.
type investigationState struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Status string `json:"status"`
	Epoch  string `json:"epoch"`
	Offset int    `json:"offset"`
}

func (p *process) investigation(id string) (v investigationState) {
	p.t.Helper()
	if got := p.api(http.MethodGet, "/api/v1/investigations/"+id, nil, &v); got != 200 {
		p.t.Fatalf("investigation %s: status %d", id, got)
	}
	return v
}

// lastPart is the last part of a page's path: the id of an investigation.
func (b *tab) lastPart() string {
	b.t.Helper()
	return value[string](b, `location.pathname.split("/").at(-1)`)
}

// pin pins by the form inside sel: to a new investigation of that title, or, if
// title is empty, to the one that the form proposes. Then it waits for the word
// that it is done.
func (b *tab) pin(sel, title, text string) {
	b.t.Helper()
	// The form takes the focus when it has opened: what is typed before is lost.
	b.until("the page can pin", `document.querySelector(`+jsonText(sel+" .Pin")+`)?.hasAttribute("data-mounted") ?? "no form"`)
	b.click(sel + " .Pin > summary")
	b.until("the form has the focus", `document.querySelector(`+jsonText(sel+" .Pin form")+`).contains(document.activeElement)`)
	if title != "" {
		b.click(sel + ` .Pin input[name="investigation"][value=""]`)
		b.fill(sel+` .Pin input[name="title"]`, title)
	}
	b.fill(sel+` .Pin input[name="text"]`, text)
	b.click(sel + ` .Pin button[type="submit"]`)
	b.until("the pin is made", `document.querySelector("#toasts .Toast-link") !== null || document.getElementById("toasts").textContent`)
}

// TestBrowserInvestigation has two people, in two browser contexts, work on one
// investigation. B's connection is cut in the middle and comes back.
func TestBrowserInvestigation(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	hook := newSlack(t)
	line := newWire(t)
	a := openTab(t, chrome, p, "A")
	b := openTab(t, chrome, p, "B", viaProxy(line.address()))

	a.becomeAdmin(p, "ann@example.com", "Ann")
	a.open("/settings/people")
	a.follow("make an invitation", clickOn(`//button[normalize-space()="Make a link"]`))
	invitation := value[string](a, `document.querySelector("main").innerText.match(/https?:\/\/\S+\/invite\/\S+/)?.[0] ?? [...document.querySelectorAll("main input")].map((i) => i.value).find((v) => v.includes("/invite/")) ?? ""`)
	if invitation == "" {
		a.fatalf("no link of an invitation on the page")
	}
	b.open(invitation)
	b.fillAccount("bob@example.com", "Bob")

	a.open("/settings/notifications")
	a.fill(`form[action="/settings/notifications/hosts"] input[name="host"]`, "127.0.0.1")
	a.follow("allow the host", clickOn(`//button[normalize-space()="Allow"]`))
	a.fill(`form[action="/settings/notifications"] input[name="name"]`, "#incidents")
	a.fill(`form[action="/settings/notifications"] input[name="url"]`, hook.URL+"/services/T0/B0/x")
	value[int](a, `[...document.querySelectorAll('input[name="reasons"]:not(:checked)')].map((c) => c.click()).length`)
	a.follow("add the target", clickOn(`//button[normalize-space()="Add target"]`))

	// A opens an investigation from the span that failed.
	a.open("/t/" + s.job.String())
	a.click(fmt.Sprintf(`[data-key=%q] [data-part="link"]`, s.failed.String()))
	a.until("the panel shows the span", `document.querySelector(".SpanPanel")?.dataset.span === `+jsonText(s.failed.String()))
	a.until("the panel can pin", `document.querySelector(".SpanPanel .Pin")?.hasAttribute("data-mounted") ?? "no form"`)
	a.pin(".SpanPanel", "Quotes fail for dealer 17", "the span that fails")
	a.follow("open the board", clickOn("#toasts .Toast-link"))
	id := a.lastPart()
	board := "/i/" + id

	// B finds it and sees the span.
	b.open("/investigations")
	b.follow("open the investigation", clickOn(`//a[normalize-space()="Quotes fail for dealer 17"]`))
	if got := b.path(); got != board {
		t.Fatalf("B is on %s, want %s", got, board)
	}
	b.until("B sees the pinned span", blockWith("span", "GET /dealers/17/price")+` === 1`)
	b.until("B is connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	value[string](b, `window.sameDocument = "yes"`)
	a.open(board)
	for _, tab := range []*tab{a, b} {
		tab.until("both see both", `document.querySelectorAll("#here .Here-person").length === 2`)
	}

	// A pins a query and a span, and writes a note that names B: B sees each
	// without a reload, and B's inbox counts up.
	a.open("/explore?v=COUNT&v=P95(duration_ms)&g=service.name&range=1h")
	a.pin(".PageHead", "", "where the time goes")
	b.until("B sees the query", blockWith("query", "where the time goes")+` === 1`)
	a.open("/t/" + s.request.String() + "/" + s.root.String())
	a.pin(".SpanPanel", "", "where it began")
	b.until("B sees the second span", blockWith("span", "POST /quotes")+` === 1`)
	a.open(board)
	a.fill(`form[data-form="note"] textarea`, "It waits for **dealer 17**. @Bob, who runs that?")
	a.click(`//button[normalize-space()="Add note"]`)
	b.until("B sees the note", blockWith("note", "It waits for dealer 17.")+` === 1`)
	b.until("B's inbox counts up", `!document.getElementById("inbox-badge").hidden && parseInt(document.getElementById("inbox-badge").textContent) === 1`)
	if got := value[string](b, `document.querySelector("title").textContent`); !strings.Contains(got, "Quotes fail") {
		t.Errorf("title of B's page: %q", got)
	}
	eventually(t, patience, "Slack was told", func() error {
		got := hook.received()
		for _, want := range []string{"Ann opened an investigation", "Ann named Bob"} {
			if !slices.ContainsFunc(got, func(m string) bool { return strings.Contains(m, want) }) {
				return fmt.Errorf("messages %q, want one with %q", got, want)
			}
		}
		return nil
	})

	// The longest title and note there may be, full of what Slack has to escape,
	// stay within Slack's limits too: newSlack checks.
	var long investigationState
	if got := p.api(http.MethodPost, "/api/v1/investigations", map[string]any{"title": strings.Repeat("<&é>", 50)}, &long); got != 201 {
		t.Fatalf("an investigation with a long title: status %d", got)
	}
	text := "@Bob " + strings.Repeat("a & b < c\n", 1900)
	if got := p.api(http.MethodPost, "/api/v1/investigations/"+long.ID+"/pins", map[string]any{"ref": "1", "kind": "note", "text": text}, nil); got != 201 {
		t.Fatalf("a long note: status %d", got)
	}
	eventually(t, patience, "Slack was told of the long ones", func() error {
		if got := hook.received(); len(got) != 4 {
			return fmt.Errorf("messages %q, want 4", got)
		}
		return nil
	})

	// B's line is cut while B types. Meanwhile A makes 20 changes.
	b.fill(`form[data-form="note"] textarea`, "I think that dealer 17")
	line.cut()
	b.until("B knows that the line is cut", `document.querySelector(".Investigation").dataset.live === "off"`)
	b.write(" moved to a new host")
	b.fill(`#board-notes textarea`, "Sent while the line was cut")
	b.click(`#board-notes button[type="submit"]`)
	b.until("B is told that the remark waits", `document.querySelector("#board-notes").textContent.includes("Not sent yet")`)
	before := p.investigation(id).Offset
	var note struct {
		ID string `json:"id"`
	}
	for i := range 16 {
		body := map[string]any{"ref": fmt.Sprintf("note-%d", i), "kind": "note", "text": fmt.Sprintf("Finding %d of A", i)}
		if got := p.api(http.MethodPost, "/api/v1/investigations/"+id+"/pins", body, &note); got != 201 {
			t.Fatalf("note %d: status %d", i, got)
		}
	}
	if got := p.api(http.MethodDelete, "/api/v1/investigations/"+id+"/pins/"+note.ID, nil, nil); got/100 != 2 {
		t.Fatalf("delete a note: status %d", got)
	}
	a.until("the 15 notes have pushed the form down", blockWith("note", "Finding")+` === 15`)
	a.fill(`form[data-form="note"] textarea`, "Written on the page")
	a.click(`//button[normalize-space()="Add note"]`)
	a.until("A's note is on the board", blockWith("note", "Written on the page")+` === 1`)
	seen := p.investigation(id).Offset
	if got := p.api(http.MethodPatch, "/api/v1/investigations/"+id, map[string]any{"status": "mitigated", "seen": seen}, nil); got != 200 {
		t.Fatalf("change the status: %d", got)
	}
	if got := p.api(http.MethodPatch, "/api/v1/investigations/"+id, map[string]any{"title": "Dealer 17 is slow", "seen": seen + 1}, nil); got != 200 {
		t.Fatalf("change the title: %d", got)
	}
	if got := p.investigation(id).Offset - before; got != 20 {
		t.Fatalf("A made %d changes, want 20", got)
	}
	eventually(t, patience, "B tries to come back", func() error {
		if line.refusals() == 0 {
			return fmt.Errorf("no connection was tried")
		}
		return nil
	})
	if got := value[int](b, blockWith("note", "Finding")); got != 0 {
		t.Fatalf("B sees %d notes over a line that is cut", got)
	}
	for _, tab := range []*tab{a, b} { // from here on their timelines show the whole log
		value[bool](tab, `history.replaceState(null, "", location.pathname + "?timeline=all&order=recorded") ?? true`)
	}
	line.mend()

	// Nothing is missing, nothing double, all in order; what was typed is there.
	b.until("B is connected again", `document.querySelector(".Investigation").dataset.live === "on"`)
	b.until("B's remark arrived", `[...document.querySelectorAll("#board-notes .Annotation")].filter((e) => e.textContent.includes("Sent while the line was cut")).length === 1`)
	last := p.investigation(id).Offset
	if want := before + 21; last != want {
		t.Errorf("the server is at offset %d, want %d: 20 of A and one of B", last, want)
	}
	b.until("B has every change", fmt.Sprintf(`%s.join() === %s || %s.join()`, offsets, jsonText(downFrom(last)), offsets))
	a.until("A has every change", fmt.Sprintf(`%s.join() === %s || %s.join()`, offsets, jsonText(downFrom(last)), offsets))
	b.until("B sees the notes, and not the deleted one", blockWith("note", "Finding")+` === 15`)
	b.until("B sees the new head", `document.querySelector(".BoardHead h1").textContent === "Dealer 17 is slow" && `+headStatus+` === "mitigated"`)
	fresh := openTab(t, chrome, p, "B again")
	fresh.signInAs("bob@example.com")
	fresh.open(board)
	want := value[[]string](fresh, blockIDs)
	if len(want) != 20 {
		t.Errorf("%d blocks after a reload, want 20: 3 pins and 17 notes", len(want))
	}
	b.until("B's board is the board", fmt.Sprintf(`%s.join() === %s || %s.join()`, blockIDs, jsonText(strings.Join(want, ",")), blockIDs))
	a.until("A's board is the board", fmt.Sprintf(`%s.join() === %s || %s.join()`, blockIDs, jsonText(strings.Join(want, ",")), blockIDs))
	if got, want := value[string](b, `document.querySelector('form[data-form="note"] textarea').value`), "I think that dealer 17 moved to a new host"; got != want {
		t.Errorf("what B was typing: %q, want %q", got, want)
	}
	if got := value[string](b, `window.sameDocument ?? "no"`); got != "yes" {
		t.Error("B's page was loaded again")
	}
	a.forgive() // it may have asked for the note that was deleted at once
	b.forgive()
	for _, tab := range []*tab{a, b, fresh} {
		tab.leave()
	}
	p.stop()
}

// downFrom writes the numbers from n to 1.
func downFrom(n int) string {
	var list []string
	for ; n > 0; n-- {
		list = append(list, fmt.Sprint(n))
	}
	return strings.Join(list, ",")
}

// TestBrowserWithoutScripts goes the same way with scripts switched off.
func TestBrowserWithoutScripts(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	a := openTab(t, chrome, p, "A")
	b := openTab(t, chrome, p, "B")
	a.withoutScripts()
	b.withoutScripts()

	a.becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	b.signInAs("bob@example.com")
	if got := value[bool](a, `document.querySelector("[data-mounted]") === null`); !got {
		t.Fatal("scripts run; this test would prove nothing")
	}

	// The trace by its id, a span by its link.
	a.fill(".TopBar-input", s.job.String())
	a.follow("find the trace", press("Enter", 0))
	if got := a.path(); got != "/t/"+s.job.String() {
		t.Fatalf("the box leads to %s, want the trace", got)
	}
	a.follow("open the span", clickOn(`//a[normalize-space()="GET /dealers/17/price"]`))
	if got, want := a.path(), "/t/"+s.job.String()+"/"+s.failed.String(); got != want {
		t.Fatalf("the span's link leads to %s, want %s", got, want)
	}
	for _, want := range []string{"GET /dealers/17/price", "DealerTimeout", "dealer 17 did not answer"} {
		if !strings.Contains(a.text(".SpanPanel"), want) {
			t.Errorf("the panel does not say %q", want)
		}
	}

	// Pinned to a new investigation.
	a.click(".SpanPanel .Pin > summary")
	a.fill(`.SpanPanel .Pin input[name="title"]`, "Quotes fail")
	a.follow("pin the span", clickOn(`.SpanPanel .Pin button[type="submit"]`))
	b.open("/investigations")
	b.follow("open the investigation", clickOn(`//a[normalize-space()="Quotes fail"]`))
	board := b.path()
	b.until("B sees the span", blockWith("span", "GET /dealers/17/price")+` === 1`)

	// B takes part by a note, so that B hears of another status.
	b.fill(`form[data-form="note"] textarea`, "I am looking.")
	b.follow("add a note", clickOn(`//button[normalize-space()="Add note"]`))

	// A note that names B, and another status.
	a.open(board)
	a.fill(`form[data-form="note"] textarea`, "It waits for **dealer 17**. @Bob?")
	a.follow("add the note", clickOn(`//button[normalize-space()="Add note"]`))
	a.click(`.BoardHead [data-key="head-status"] > summary`)
	a.follow("choose a status", clickOn(`.BoardHead button[name="status"][value="mitigated"]`))
	a.until("A sees the status", headStatus+` === "mitigated"`)

	b.follow("load again", chromedp.Reload())
	b.until("B sees the note", blockWith("note", "It waits for dealer 17.")+` === 1`)
	b.until("B sees the status", headStatus+` === "mitigated"`)
	if got := b.text("#inbox-badge"); !strings.HasPrefix(got, "2") {
		t.Errorf("B's inbox counts %q, want 2: named, and the status changed", got)
	}
	b.follow("open the inbox", clickOn(`.Rail a[href="/inbox"]`))
	if got := b.text("main"); !strings.Contains(got, "Ann") || !strings.Contains(got, "Quotes fail") {
		t.Errorf("the inbox says %q", got)
	}
	b.follow("open what is new", clickOn(".Inbox-link"))
	if got := value[string](b, `location.pathname`); got != board {
		t.Errorf("the inbox leads to %s, want %s", got, board)
	}
	if got := b.text("#inbox-badge"); !strings.HasPrefix(got, "1") {
		t.Errorf("B's inbox counts %q after one was opened, want 1", got)
	}
	p.stop()
}
