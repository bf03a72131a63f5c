package main

import (
	"fmt"
	"testing"
)

// What a page fetches may come late, when its user has gone on: a test holds it back
// until then.

// holds keeps back what scripts fetch from addresses that match a pattern, from now on
// until gives: the server's answers are there, and wait.
func (b *tab) holds(pattern string) {
	b.t.Helper()
	b.until("answers are held back", fmt.Sprintf(`(() => {
		const ask = window.fetch;
		const held = [];
		window.held = held;
		window.giveHeld = () => {
			window.fetch = ask;
			for (const h of held) h.give();
		};
		window.fetch = async (at, ...more) => {
			const res = await ask(at, ...more);
			const { pathname, search } = new URL(at, location.href);
			if (!new RegExp(%s).test(pathname + search)) return res;
			const text = await res.clone().text();
			await new Promise((give) => held.push({ at: pathname + search, text, give }));
			return res;
		};
		return true;
	})()`, jsonText(pattern)))
}

// held waits until so many answers are held back.
func (b *tab) held(n int) {
	b.t.Helper()
	b.until(fmt.Sprintf("%d answers are held back", n), fmt.Sprintf(`held.length === %d || held.map((h) => h.at).join(" ")`, n))
}

// gives lets all answers go that were held back, and those that are still to come, and
// leaves the page the time to take them.
func (b *tab) gives() {
	b.t.Helper()
	b.until("the answers have come", `(giveHeld(), new Promise((then) => setTimeout(() => then(true), 150)))`)
}

// lateLegs goes on in a thread before the leg that was selected is there.
func lateLegs(t *testing.T, a *tab) {
	const legs = "^/thread/[^/]+[?].*sel=" // not the rank, which comes by itself
	const at = `[...document.querySelectorAll('[data-part="bar"]')].indexOf(document.activeElement)`
	a.key("o")
	a.until("the origin is selected", panelOf+` === "POST /imports" && `+at+` === 0`)
	a.holds(legs)
	a.key("j")
	a.held(1)
	a.key("j")
	a.until("the focus is on the third", at+` === 2`)
	a.gives()
	a.until("it stays there, and that is selected", panelOf+` === "Mail" && `+at+` === 2 || `+panelOf)
	// A key about what is selected is about that, and not about what was before.
	a.key("o")
	a.until("the origin is selected", panelOf+` === "POST /imports"`)
	a.holds(legs)
	a.key("j")
	a.key("p")
	a.held(1)
	if value[bool](a, `document.querySelector(".Pin[open]") !== null`) {
		t.Error("p opened the form of what was selected before")
	}
	a.gives()
	a.until("it is the form of what is selected now", `document.querySelector('[data-part="panel"] .Pin[open] [name="investigation"]:checked') === document.activeElement && `+panelOf+` === "SyncCar"`)
	// A form that was opened meanwhile stays until it is closed.
	a.key("Escape")
	a.holds(legs)
	a.key("j")
	a.held(1)
	a.click(`[data-part="panel"] .Pin > summary`)
	a.fill(`[data-part="panel"] .Pin [name="text"]`, "odd")
	a.gives()
	a.until("what is typed stays", `document.activeElement.matches('[name="text"]') && document.activeElement.value === "odd"`)
	a.key("Escape")
	a.until("then the next is shown", panelOf+` === "Mail"`)
}

// lateSpans goes on in a trace before the span that was selected is there.
func lateSpans(t *testing.T, a *tab, page string, spans ...string) {
	const shown = `document.querySelector(".SpanPanel")?.dataset.span`
	a.holds("^" + page + "/")
	a.key("j")
	a.until("the first is selected", selected+` === `+jsonText(spans[0]))
	a.held(1)
	a.key("j")
	a.key("c")
	a.write("x")
	a.held(2)
	if value[bool](a, `document.activeElement.matches("textarea")`) {
		t.Error("c writes about what was selected before")
	}
	a.gives()
	a.until("what is written is about the second", shown+` === `+jsonText(spans[1])+` &&
		document.activeElement.matches(".SpanPanel textarea") && document.activeElement.value === "x" || `+shown)
	a.key("Backspace")
	a.key("Escape")
	value[bool](a, `(document.activeElement.blur(), true)`)
	// Nothing is left of a span that nobody waits for.
	a.holds("^" + page + "/")
	a.key("j")
	a.held(1)
	a.key("Escape")
	a.gives()
	a.until("none is selected, and none awaited", selected+` === "" && !document.querySelector('[data-part="panel"]').hasAttribute("aria-busy") && `+shown+` === undefined || `+shown)
}

// lateAnswer writes on in a query, and in a menu, before the answer to it is there.
func lateAnswer(a *tab) {
	field := `[data-clauses="w"] .Clause--new input`
	a.open("/explore?v=COUNT&g=http.route")
	a.holds("^/explore[?]")
	value[bool](a, `(document.querySelector('th a[data-run]').click(), true)`)
	a.held(1)
	a.fill(field, "http.route = /car")
	a.gives()
	a.until("the answer is there", `document.querySelectorAll("#explore").length === 1 && new URLSearchParams(location.search).toString() !== "v=COUNT&g=http.route"`)
	a.until("what is typed goes on", `document.activeElement.value === "http.route = /car" && document.activeElement.selectionStart === 17 && document.activeElement.name === "w" || document.activeElement.outerHTML`)
	a.write("s")
	a.key("Enter")
	a.until("and is asked", `new URLSearchParams(location.search).getAll("w").includes("http.route = /cars")`)
	// The menu of a cell stays until it is closed.
	a.holds("^/explore[?]")
	before := a.path()
	value[bool](a, `(document.getElementById("explore-run").click(), true)`)
	a.held(1)
	value[bool](a, `(document.querySelector(".CellMenu-button").click(), true)`)
	value[bool](a, `(window.menu = document.querySelector(".CellMenu"), true)`)
	a.gives()
	a.until("the menu is there", `window.menu.isConnected && window.menu.contains(document.activeElement)`)
	a.key("Escape")
	a.until("then the answer is", `!document.querySelector("#explore-answer").hasAttribute("aria-busy") && document.querySelector(".CellMenu") === null`)
	if got := a.path(); got != before {
		a.t.Errorf("the address is %s, want %s", got, before)
	}
}

// latePlaces chooses in the palette before all is found.
func latePlaces(a *tab) {
	const chosen = `document.querySelector('.Palette-row[aria-selected="true"] .Palette-label')?.textContent`
	a.holds("^/api/v1/palette")
	a.openPalette("e")
	a.held(2)
	a.key("ArrowDown")
	a.key("ArrowDown")
	first := value[string](a, chosen)
	a.gives()
	a.until("the same is chosen", chosen+` === `+jsonText(first)+` || `+chosen)
	a.key("Escape")
}

// lateActs goes on in the inbox before what was done with a message is answered. The
// focus is on the last of five messages, and on that before it afterwards.
func lateActs(b *tab, items string) {
	const count = `document.querySelectorAll('[data-part="item"]').length`
	const inMenu = `document.activeElement.matches('[data-part="snooze"] .Menu-item')`
	b.holds("^/inbox")
	b.key("e")
	b.held(1)
	b.key("e") // is done already
	b.key("k")
	b.key("s")
	b.until("the times show", inMenu)
	b.gives()
	b.until("the times still show", inMenu+` && `+count+` === 5`)
	b.key("Escape")
	b.until("then the list is as it is", items+`.endsWith("second of 0") && `+count+` === 4`)
	b.until("the focus stayed where it was", `document.activeElement.matches("summary") && document.activeElement.closest('[data-part="item"]').textContent.includes("second of 0")`)
	b.key("z")
	b.until("undone", count+` === 5 && document.activeElement.matches("summary")`)
	// What was folded meanwhile stays so.
	const unread = `document.querySelectorAll(".Inbox-item--unread").length`
	before := value[int](b, unread)
	b.holds("^/inbox")
	b.key("u")
	b.held(1)
	b.click("[data-group] > summary")
	b.gives()
	b.until("it is read, or unread", fmt.Sprintf(unread+` !== %d`, before))
	b.until("the group is folded, and the address says so", `(() => {
		const group = document.querySelector("[data-group]");
		return !group.open && new URLSearchParams(location.search).get("closed") === group.dataset.group;
	})()`)
	b.click("[data-group] > summary")
	b.until("unfolded", `!new URLSearchParams(location.search).has("closed")`)
	b.key("j")
}

// lateDrop drags a block that is drawn anew meanwhile.
func (b *tab) lateDrop(block, target string, lower bool) {
	b.t.Helper()
	value[bool](b, fmt.Sprintf(`(() => {
		const block = document.getElementById(%s), target = document.getElementById(%s);
		block.querySelector(".Block-head").dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
		const r = target.getBoundingClientRect();
		const at = { bubbles: true, cancelable: true, dataTransfer: new DataTransfer(), clientX: r.left + 5, clientY: %t ? r.bottom - 3 : r.top + 3 };
		block.dispatchEvent(new DragEvent("dragstart", at));
		block.replaceWith(block.cloneNode(true));
		target.dispatchEvent(new DragEvent("dragover", at));
		return target.dispatchEvent(new DragEvent("drop", at)) || true;
	})()`, jsonText(block), jsonText(target), lower))
}
