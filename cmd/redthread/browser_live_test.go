package main

import (
	"fmt"
	"os"
	"testing"

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
	at := value[struct{ X, Y float64 }](b, fmt.Sprintf(`(() => { const r = document.querySelector(%s).getBoundingClientRect(); return { X: r.left + 5, Y: r.top + r.height / 2 } })()`, jsonText(sel)))
	for _, d := range []float64{2, 0} { // a mouse that does not move says nothing
		call(b, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: at.X + d, Y: at.Y})
	}
}

// followBy follows somebody by the menu of people.
func (b *tab) followBy(name string) {
	b.t.Helper()
	b.click(".People > summary")
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
	ann.key("z")
	ann.until("Ann has zoomed", `location.search.includes("zoom=")`)
	bob.at("Bob has Ann's zoom", ann.path())
	bob.until("Bob's waterfall is zoomed", `!document.querySelector('[data-part="zoom"]').hidden`)
	ann.key("h")
	ann.key("h")
	bob.at("Bob has Ann's folds", ann.path())
	if got := value[string](bob, `window.sameDocument ?? "no"`); got != "yes" {
		t.Error("Bob's page was loaded again for what it could show")
	}

	// Nobody follows in a circle.
	ann.click(".People > summary")
	if got := value[int](ann, `[...document.querySelectorAll(".People-row")].filter((r) => r.textContent.startsWith("B") && r.textContent.includes("Let go")).length`); got != 1 {
		t.Errorf("Ann's menu: %q, want Bob and a way to let him go", ann.text(".People-list"))
	}
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

	// Where Bob may not go he is told no more than if Ann were nowhere.
	ann.open("/settings/account")
	bob.until("Bob cannot see where Ann is", leadText+` === "Ann is somewhere you cannot see."`)
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
