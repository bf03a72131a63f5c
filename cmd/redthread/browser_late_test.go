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
	const at = `[...document.querySelectorAll('[data-part="bar"]')].indexOf(document.activeElement)`
	a.key("o")
	a.until("the origin is selected", panelOf+` === "POST /imports" && `+at+` === 0`)
	a.holds("^/thread/")
	a.key("j")
	a.held(1)
	a.key("j")
	a.until("the focus is on the third", at+` === 2`)
	a.gives()
	a.until("it stays there, and that is selected", panelOf+` === "Mail" && `+at+` === 2 || `+panelOf)
	// A key about what is selected is about that, and not about what was before.
	a.key("o")
	a.until("the origin is selected", panelOf+` === "POST /imports"`)
	a.holds("^/thread/")
	a.key("j")
	a.key("p")
	a.write("xy")
	a.held(1)
	if value[bool](a, `document.querySelector(".Pin[open]") !== null`) {
		t.Error("p opened the form of what was selected before")
	}
	a.gives()
	a.until("it is the form of what is selected now", `document.querySelector('[data-part="panel"] .Pin[open] [name="investigation"]:checked') === document.activeElement && `+panelOf+` === "SyncCar"`)
	// A form that was opened meanwhile stays until it is closed.
	a.key("Escape")
	a.holds("^/thread/")
	a.key("j")
	a.held(1)
	a.click(`[data-part="panel"] .Pin > summary`)
	a.fill(`[data-part="panel"] .Pin [name="text"]`, "odd")
	a.gives()
	a.until("what is typed stays", `document.activeElement.matches('[name="text"]') && document.activeElement.value === "odd"`)
	a.key("Escape")
	a.until("then the next is shown", panelOf+` === "Mail"`)
}
