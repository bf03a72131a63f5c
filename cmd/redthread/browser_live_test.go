package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
)

// others are the people whom the bar at the top shows beside oneself.
const others = `[...document.querySelectorAll("#people-here:not([hidden]) .People-faces .Avatar")].map((a) => a.title).join()`

// leadText says whom a page follows.
const leadText = `(document.querySelector(".Follow-text")?.textContent ?? "")`

// sees waits until the bar names these people.
func (b *tab) sees(names string) {
	b.t.Helper()
	b.until("the others who are here", fmt.Sprintf(`%s === %s || %s`, others, jsonText(names), others))
}

// at waits until the page is at an address.
func (b *tab) at(what, path string) {
	b.t.Helper()
	b.until(what, fmt.Sprintf(`location.pathname + location.search === %s || location.href`, jsonText(path)))
}

// point moves the mouse over what a CSS selector finds first.
func (b *tab) point(sel string) {
	b.t.Helper()
	at := b.box(sel)
	for _, d := range []float64{7, 5} { // a mouse that does not move says nothing
		call(b, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: at.X + d, Y: at.Y + at.H/2})
	}
}

// followBy follows somebody by the menu of people.
func (b *tab) followBy(name string) {
	b.t.Helper()
	b.click(".People > summary")
	b.until("the menu is open", `document.querySelector(".People").open`)
	b.click(fmt.Sprintf(`//div[@class="People-row"][.//span[text()=%q]]/button[text()="Follow"]`, name))
	b.until("the frame says whom", fmt.Sprintf(`%s === "You follow %s." || %s`, leadText, name, leadText))
}

// TestBrowserFollow has three people on one trace. Bob follows Ann through zoom,
// selection, folds, another page and a query, and lets go by a key.
func TestBrowserFollow(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	ann, bob, cy := openTab(t, chrome, p, "Ann"), openTab(t, chrome, p, "Bob"), openTab(t, chrome, p, "Cy")
	ann.becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	p.createUser("cy@example.com", "Cy", "viewer")
	bob.signInAs("bob@example.com")
	cy.signInAs("cy@example.com")

	// Presence on a trace: the trace and its thread are one place.
	ann.open("/t/" + s.request.String())
	bob.open("/t/" + s.request.String())
	cy.open("/thread/" + s.request.String())
	ann.sees("Bob,Cy")
	bob.sees("Ann,Cy")
	cy.sees("Ann,Bob")

	// Where Ann points, Bob sees.
	ann.point(fmt.Sprintf(`.Waterfall [data-key=%q] [data-part="link"]`, s.publish.String()))
	bob.until("Ann's mark is at her row", fmt.Sprintf(`(() => {
		const mark = [...document.querySelectorAll(".Cursor:not([hidden])")].find((m) => m.textContent === "Ann");
		const row = document.getElementById(%s);
		if (!mark || !row) return "no mark or no row";
		const y = mark.getBoundingClientRect().top, r = row.getBoundingClientRect();
		return y >= r.top - 2 && y <= r.bottom || [y, r.top, r.bottom].join();
	})()`, jsonText("r-"+s.publish.String())))

	bob.followBy("Ann")
	ann.until("Ann sees that she is followed", `document.querySelector(".People-followers")?.textContent === "1 follows you"`)
	value[string](bob, `window.sameDocument = "yes"`)
	ann.click(fmt.Sprintf(`[data-key=%q] [data-part="link"]`, s.publish.String()))
	ann.until("Ann's panel shows the span", `document.querySelector(".SpanPanel")?.dataset.span === `+jsonText(s.publish.String()))
	bob.at("Bob has Ann's span", ann.path())
	bob.until("Bob's panel shows it", `document.querySelector(".SpanPanel")?.dataset.span === `+jsonText(s.publish.String()))
	// A field of the span's panel is an address of its own: what moves is not the row's mark.
	const attribute = `.SpanPanel [data-part="attribute"]:nth-of-type(2)`
	ann.point(attribute)
	if key := ann.text(attribute + ` [data-part="key"]`); key == "(none)" {
		t.Error("the panel shows no second attribute")
	} else {
		bob.until("Ann's mark is at her field", fmt.Sprintf(`(() => {
			const mark = [...document.querySelectorAll(".Cursor:not([hidden])")].find((m) => m.textContent === "Ann");
			const field = [...document.querySelectorAll('.SpanPanel [data-part="attribute"]')].find((a) => a.querySelector('[data-part="key"]').textContent === %s);
			if (!mark || !field) return "no mark or no field";
			const m = mark.getBoundingClientRect(), f = field.getBoundingClientRect();
			return Math.abs(m.top - f.top) <= 2 && Math.abs(m.left - f.right) <= 2 || [m.left, m.top, f.right, f.top].join();
		})()`, jsonText(key)))
	}
	ann.key("z")
	ann.until("Ann has zoomed", `location.search.includes("zoom=")`)
	bob.at("Bob has Ann's zoom", ann.path())
	bob.until("Bob's waterfall is zoomed", `!document.querySelector('[data-part="zoom"]').hidden`)
	ann.key("h")
	ann.key("h")
	ann.until("Ann has folded", `location.search.includes("fold=")`)
	bob.at("Bob has Ann's folds", ann.path())
	if got := value[string](bob, `window.sameDocument ?? "no"`); got != "yes" {
		t.Error("Bob's page was loaded again for what it could show")
	}

	// Nobody follows in a circle.
	ann.click(".People > summary")
	ann.until("Ann's menu has Bob and a way to let him go", `[...document.querySelectorAll(".People-row")].filter((r) => r.textContent.startsWith("B") && r.textContent.includes("Let go")).length === 1 ||
		document.querySelector(".People-list").innerText`)
	ann.key("Escape")

	// Another page, and the query there.
	ann.open("/explore?v=COUNT&g=service.name&range=1h")
	bob.at("Bob goes where Ann goes", "/explore?v=COUNT&g=service.name&range=1h")
	bob.until("Bob's frame is still there", leadText+` === "You follow Ann."`)
	bob.ready()
	bob.sees("Ann")
	value[string](bob, `window.sameDocument = "yes"`)
	ann.click(`a[data-run][href*="tab=traces"]`)
	ann.until("Ann sees the traces", `location.search.includes("tab=traces")`)
	bob.at("Bob sees Ann's tab", ann.path())
	bob.until("Bob's answer is that of the tab", `document.querySelector('a[data-run][href*="tab=traces"]')?.getAttribute("aria-current") !== null`)
	if got := value[string](bob, `window.sameDocument ?? "no"`); got != "yes" {
		t.Error("Bob's page was loaded again for another tab")
	}

	ann.click(`[data-clauses="g"] .Clause-remove`)
	ann.until("Ann asks something else", `!location.search.includes("g=service.name")`)
	bob.at("Bob has Ann's query", ann.path())
	bob.until("Bob's form has it", `![...document.querySelectorAll('[data-clauses="g"] input')].some((i) => i.value === "service.name")`)

	// The thread, its zoom and its selection, in place.
	ann.open("/thread/" + s.request.String())
	bob.at("Bob goes to the thread", "/thread/"+s.request.String())
	bob.ready()
	bob.sees("Ann,Cy")
	value[string](bob, `window.sameDocument = "yes"`)
	ann.key("j")
	ann.until("Ann has chosen a bar", `location.search.includes("sel=")`)
	bob.at("Bob has Ann's bar", ann.path())
	ann.key("z")
	ann.until("Ann has zoomed the thread", `location.search.includes("zoom=") || location.search`)
	bob.at("Bob has Ann's zoom of the thread", ann.path())
	bob.until("Bob's thread is zoomed", `document.querySelector('[data-zoom="all"]') !== null && document.querySelector('[data-part="bar"][aria-current]') !== null`)
	if got := value[string](bob, `window.sameDocument ?? "no"`); got != "yes" {
		t.Error("Bob's page was loaded again for what the thread could show in place")
	}

	// Every other page, and a board as it is and as it was.
	inv := inPage[investigationState](ann, "POST", "/api/v1/investigations", map[string]any{"title": "Dealer 17 is slow"})
	for _, path := range []string{"/ripples?range=1h", "/services", "/services/quotes-api", "/messages", "/jobs?range=1h", "/queues", "/investigations?show=all", "/i/" + inv.ID, "/i/" + inv.ID + "?at=1", "/"} {
		ann.open(path)
		path, _, _ = strings.Cut(path, "?show=") // what is looked for in the list is not told
		bob.at("Bob goes on to "+path, path)
	}
	bob.ready()
	bob.sees("Ann")
	bob.until("Bob's frame is there still", leadText+` === "You follow Ann."`)

	// Where Bob may not go he is told no more than if Ann were nowhere.
	ann.open("/settings/account")
	bob.until("Bob cannot see where Ann is", leadText+` === "Ann is somewhere you cannot see. You go on when they are back."`)
	ann.open("/explore?v=COUNT&range=1h")
	bob.at("Bob goes on", "/explore?v=COUNT&range=1h")
	bob.until("Bob follows still", leadText+` === "You follow Ann."`)

	// Any own action lets go.
	bob.ready()
	bob.until("Bob is connected", others+` === "Ann"`)
	bob.key("x")
	bob.until("Bob lets go", `document.querySelector(".Follow") === null`)
	ann.until("Ann is followed no more", `document.querySelector(".People-followers") === null`)
	ann.open("/t/" + s.job.String())
	ann.sees("")
	if got, want := bob.path(), "/explore?v=COUNT&range=1h"; got != want {
		t.Errorf("Bob is at %s, want %s: he let go", got, want)
	}

	// Ann hides.
	bob.open("/t/" + s.job.String())
	bob.sees("Ann")
	ann.sees("Bob")
	ann.click(".People > summary")
	ann.click(`.People-list input[data-key="hidden"]`)
	bob.sees("")
	ann.until("Ann is told that she is hidden", `document.querySelector(".People-hidden") !== null`)
	ann.open("/t/" + s.request.String())
	cy.open("/t/" + s.request.String())
	ann.sees("Cy")
	cy.sees("")
	ann.click(".People > summary")
	ann.click(`.People-list input[data-key="hidden"]`)
	cy.sees("Ann")

	// Asked, Cy may say no.
	ann.click(`.People-list button[data-key="ask"]`)
	cy.until("Cy is asked", `document.querySelector(".Follow-ask")?.textContent.includes("Ann asks you to follow") ?? "nothing"`)
	cy.click(`.Follow-ask button[data-key="ask-yes"]`)
	cy.until("Cy follows", leadText+` === "You follow Ann."`)
	if dir := os.Getenv("REDTHREAD_SHOTS"); dir != "" {
		ann.shot(dir, "presence-leader")
		cy.shot(dir, "presence-follower")
	}
	ann.until("Ann has a follower", `document.querySelector(".People-followers") !== null`)
	ann.click(`.People-list button[data-key^="letgo-"]`)
	cy.until("Cy is let go", `document.querySelector(".Follow") === null`)
	for _, b := range []*tab{ann, bob, cy} {
		b.leave()
	}
	p.stop()
}

// inPage asks the API as the person of the page, and returns what it answers.
func inPage[T any](b *tab, method, path string, body any) T {
	b.t.Helper()
	return value[T](b, fmt.Sprintf(`fetch(%s, { method: %s, headers: { "Content-Type": "application/json" }, body: %s }).then((r) => r.ok ? r.json() : r.text().then((t) => { throw new Error(r.status + " " + t) }))`,
		jsonText(path), jsonText(method), jsonText(jsonText(body))))
}

// TestBrowserConflict has three people on one board. Ann and Bob change the same
// words of a note: both versions are shown, and nothing typed is lost.
func TestBrowserConflict(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	ann, bob, cy := openTab(t, chrome, p, "Ann"), openTab(t, chrome, p, "Bob"), openTab(t, chrome, p, "Cy")
	ann.becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	p.createUser("cy@example.com", "Cy", "member")
	bob.signInAs("bob@example.com")
	cy.signInAs("cy@example.com")
	inv := inPage[investigationState](ann, "POST", "/api/v1/investigations", map[string]any{"title": "Dealer 17 is slow"})
	base := "/api/v1/investigations/" + inv.ID
	note := inPage[struct{ ID string }](ann, "POST", base+"/blocks", map[string]any{"ref": "1", "kind": "note", "text": "The dealer answers late.\n\nWe wait."})
	for _, b := range []*tab{ann, bob, cy} {
		b.open("/i/" + inv.ID)
		b.until("connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	}
	ann.sees("Bob,Cy")
	edit := fmt.Sprintf("#%s .Block-editor > summary", note.ID)
	area := fmt.Sprintf(`#%s form[data-form="block"] textarea[name="text"]`, note.ID)
	save := fmt.Sprintf(`#%s form[data-form="block"] button[type="submit"]`, note.ID)
	ann.click(edit)
	bob.click(edit)
	ann.fill(area, "The dealer answers after 9 s.\n\nWe wait.")
	cy.until("Cy sees that Ann is typing", `[...document.querySelectorAll(".Cursor:not([hidden])")].some((m) => m.textContent === "Ann is typing")`)
	bob.until("Bob sees Ann's caret in the text", `document.querySelector(".Cursor--text:not([hidden])") !== null`)
	bob.fill(area, "The dealer answers not at all.\n\nWe wait.")
	if dir := os.Getenv("REDTHREAD_SHOTS"); dir != "" {
		cy.shot(dir, "cursor-typing")
	}
	ann.click(save)
	cy.until("Ann's text is saved", blockWith("note", "answers after 9 s.")+` === 1`)
	bob.until("Bob sees Ann's text, and keeps his", fmt.Sprintf(`%s === 1 && document.querySelector(%s).value.includes("not at all")`, blockWith("note", "answers after 9 s."), jsonText(area)))

	bob.click(save)
	bob.until("both versions are shown", fmt.Sprintf(`[...document.querySelectorAll("#%s .Conflict-text")].map((e) => e.textContent.split("\n")[0]).join() === "The dealer answers not at all.,The dealer answers after 9 s."`, note.ID))
	bob.until("and whose the other is, and since when", fmt.Sprintf(`/^Ann changed the text at \d\d:\d\d\. /.test(document.querySelector("#%s .Conflict-text").closest("form").querySelector("p").textContent) || document.querySelector("#%s .Conflict-text").closest("form").innerText`, note.ID, note.ID))
	if dir := os.Getenv("REDTHREAD_SHOTS"); dir != "" {
		bob.shot(dir, "conflict")
	}
	// A change of somebody else to the same block leaves the choice standing.
	inPage[any](ann, "PATCH", base+"/blocks/"+note.ID, map[string]any{"title": "Late", "seen": p.investigation(inv.ID).Offset})
	bob.until("the block was drawn anew", fmt.Sprintf(`document.querySelector("#%s .Block-title").textContent.trim() === "Late" && document.querySelector("#%s .Conflict-text") !== null`, note.ID, note.ID))
	bob.click(fmt.Sprintf(`#%s button[data-key="conflict-theirs"]`, note.ID))
	bob.until("theirs", fmt.Sprintf(`document.querySelector(%s).value.includes("after 9 s")`, jsonText(area)))
	bob.click(fmt.Sprintf(`#%s button[data-key="conflict-back"]`, note.ID))
	bob.until("mine again", fmt.Sprintf(`document.querySelector(%s).value.includes("not at all")`, jsonText(area)))
	bob.click(save)
	bob.until("what was seen is replaced", blockWith("note", "answers not at all.")+` === 1`)
	ann.until("Ann has it too", blockWith("note", "answers not at all.")+` === 1`)

	// Merged by hand, from a proposal with both.
	ann.open("/i/" + inv.ID)
	ann.click(edit)
	ann.fill(area, "Nobody answers the phone here.\n\nWe wait.")
	inPage[any](cy, "PATCH", base+"/blocks/"+note.ID, map[string]any{"text": "Everybody answers.\n\nWe wait.", "seen": p.investigation(inv.ID).Offset})
	ann.until("Ann sees Cy's text", blockWith("note", "Everybody answers.")+` === 1`)
	ann.click(save)
	ann.click(fmt.Sprintf(`#%s button[data-key="conflict-merge"]`, note.ID))
	ann.until("both are in the text", fmt.Sprintf(`document.querySelector(%s).value === "Everybody answers.\nNobody answers the phone here.\n\nWe wait." || document.querySelector(%s).value`, jsonText(area), jsonText(area)))
	ann.click(save)
	bob.until("Bob has both", blockWith("note", "Everybody answers.")+` === 1 && `+blockWith("note", "Nobody answers the phone here.")+` === 1`)

	// Different words of one line both win, without asking.
	ann.until("Ann's form is at rest", fmt.Sprintf(`!document.querySelector("#%s .Block-editor").open`, note.ID))
	seen := p.investigation(inv.ID).Offset
	inPage[any](ann, "PATCH", base+"/blocks/"+note.ID, map[string]any{"text": "Everybody answers.\nNobody really answers the phone here.\n\nWe wait.", "seen": seen})
	inPage[any](cy, "PATCH", base+"/blocks/"+note.ID, map[string]any{"text": "Everybody answers.\nNobody answers the phone here today.\n\nWe wait long.", "seen": seen})
	bob.until("all of it", blockWith("note", "Nobody really answers the phone here today.")+` === 1 && `+blockWith("note", "We wait long.")+` === 1`)
	for _, b := range []*tab{ann, bob, cy} {
		b.forgive() // the answers 409 were wanted
		b.leave()
	}
	p.stop()
}

// TestBrowserRevoked takes Bob's access away while he has the board open, and
// while he follows Ann there.
func TestBrowserRevoked(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	ann, bob, cy := openTab(t, chrome, p, "Ann"), openTab(t, chrome, p, "Bob"), openTab(t, chrome, p, "Cy")
	ann.becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	p.createUser("cy@example.com", "Cy", "member")
	bob.signInAs("bob@example.com")
	cy.signInAs("cy@example.com")
	inv := inPage[investigationState](ann, "POST", "/api/v1/investigations", map[string]any{"title": "Secret thing"})
	inPage[any](ann, "POST", "/api/v1/investigations/"+inv.ID+"/blocks", map[string]any{"ref": "1", "kind": "note", "text": "Secret note"})
	ann.open("/i/" + inv.ID)
	bob.open("/i/" + inv.ID)
	ann.sees("Bob")
	bob.sees("Ann")
	bob.followBy("Ann")
	began := time.Now()
	inPage[any](ann, "PATCH", "/api/v1/investigations/"+inv.ID, map[string]any{"visibility": "private", "seen": p.investigation(inv.ID).Offset})
	bob.until("Bob sees nothing of it any more", `!document.documentElement.textContent.includes("Secret") && document.title === "redthread" && document.getElementById("main").textContent.startsWith("There is nothing here, or it is not for you to see.")`)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to close the page", took)
	}
	ann.sees("")
	bob.until("he follows still", leadText+` === "Ann is somewhere you cannot see. You go on when they are back."`)
	bob.key("x")
	bob.until("Bob lets go", `document.querySelector(".Follow") === null`)
	bob.forgive()

	// What somebody deletes, or merges into another, says so to whoever has it open;
	// what was typed there is left to them.
	merged := inPage[investigationState](ann, "POST", "/api/v1/investigations", map[string]any{"title": "Orders too"})
	into := inPage[investigationState](ann, "POST", "/api/v1/investigations", map[string]any{"title": "Quotes and orders"})
	bob.open("/i/" + merged.ID)
	bob.until("connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	inPage[any](ann, "POST", "/api/v1/investigations/"+merged.ID+"/merge", map[string]any{"ref": "1", "into": into.ID})
	bob.at("Bob goes where it is now", "/i/"+into.ID)
	bob.until("and is told why", `document.getElementById("toasts").textContent.includes("Ann merged “Orders too” into this investigation.")`)
	bob.until("connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	bob.fill(`form[data-form="note"] textarea`, "It is the cache")
	if got := value[int](ann, `fetch("/api/v1/investigations/`+into.ID+`", { method: "DELETE" }).then((r) => r.status)`); got != 204 {
		t.Fatalf("delete: %d", got)
	}
	bob.until("Bob is told who deleted it", `document.getElementById("main").textContent.startsWith("Ann deleted this investigation just now.") || document.getElementById("main").textContent`)
	bob.until("and has what he typed", `document.querySelector("#main textarea")?.value === "It is the cache"`)

	// Who was cut off meanwhile hears of it when the server is there again.
	gone := inPage[investigationState](ann, "POST", "/api/v1/investigations", map[string]any{"title": "Secret too"})
	bob.open("/i/" + gone.ID)
	bob.until("connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	value[bool](bob, `dispatchEvent(new Event("offline"))`)
	inPage[any](ann, "PATCH", "/api/v1/investigations/"+gone.ID, map[string]any{"visibility": "private", "seen": p.investigation(gone.ID).Offset})
	bob.until("Bob is told no more than of what is not there", `document.getElementById("main").textContent.startsWith("There is nothing here, or it is not for you to see.") && !document.documentElement.textContent.includes("Secret")`)
	bob.forgive()

	// He follows from elsewhere: where Ann is now he is not told.
	bob.open("/t/" + s.job.String())
	ann.open("/t/" + s.job.String())
	bob.sees("Ann")
	bob.followBy("Ann")
	ann.open("/i/" + inv.ID)
	ann.ready()
	bob.until("Bob cannot see where Ann is", leadText+` === "Ann is somewhere you cannot see. You go on when they are back."`)

	// On a trace that she opened from it, nothing says so.
	ann.open("/t/" + s.job.String())
	cy.open("/t/" + s.job.String())
	cy.sees("Ann,Bob")
	if got := value[string](cy, `document.documentElement.outerHTML`); strings.Contains(got, inv.ID) || strings.Contains(got, "Secret") {
		t.Error("the page of a trace tells Cy of an investigation that he may not see")
	}
	for _, b := range []*tab{ann, bob, cy} {
		b.leave()
	}
	p.stop()
}
