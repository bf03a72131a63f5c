package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// dragOnto drags a block by its head onto what sel finds, to its upper or lower
// part, as the events of a mouse would.
func (b *tab) dragOnto(block, sel string, lower bool) {
	b.t.Helper()
	got := value[string](b, fmt.Sprintf(`(() => {
		const block = document.getElementById(%s), target = document.querySelector(%s);
		if (!block || !target) return "not there";
		block.querySelector(".Block-head").dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
		if (block.getAttribute("draggable") !== "true") return "cannot be dragged";
		const r = target.getBoundingClientRect(), data = new DataTransfer();
		const at = { bubbles: true, cancelable: true, dataTransfer: data, clientX: r.left + 5, clientY: %t ? r.bottom - 3 : r.top + 3 };
		block.dispatchEvent(new DragEvent("dragstart", at));
		if (target.dispatchEvent(new DragEvent("dragover", at))) return "may not be dropped there";
		target.dispatchEvent(new DragEvent("drop", at));
		block.dispatchEvent(new DragEvent("dragend", at));
		return "";
	})()`, jsonText(block), jsonText(sel), lower))
	if got != "" {
		b.fatalf("drag %s onto %s: %s", block, sel, got)
	}
}

// TestBrowserBoard fills and orders a board in one window while another watches.
func TestBrowserBoard(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	a := openTab(t, chrome, p, "A")
	b := openTab(t, chrome, p, "B")
	a.becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	b.signInAs("bob@example.com")
	var made, pin investigationState
	if got := p.api(http.MethodPost, "/api/v1/investigations", map[string]any{"title": "Quotes fail"}, &made); got != 201 {
		t.Fatalf("open an investigation: %d", got)
	}
	api := "/api/v1/investigations/" + made.ID
	if got := p.api(http.MethodPost, api+"/pins", map[string]any{"kind": "span", "trace_id": s.job.String(), "span_id": s.failed.String()}, &pin); got != 201 {
		t.Fatalf("pin: %d", got)
	}
	board := "/i/" + made.ID
	for _, tab := range []*tab{a, b} {
		tab.open(board)
		tab.until("it is connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	}
	value[string](b, `window.sameDocument = "yes"`)

	// A hypothesis and a task appear at B, and with them the choice to cite.
	a.click(`[data-key="compose-hypothesis"] > summary`)
	a.fill(`[data-key="compose-hypothesis"] [name="title"]`, "Dealer 17 is down")
	a.click(`[data-key="compose-hypothesis"] button[type="submit"]`)
	b.until("B sees the hypothesis", blockWith("hypothesis", "Dealer 17 is down")+` === 1`)
	a.click(`[data-key="compose-task"] > summary`)
	a.fill(`[data-key="compose-task"] [name="title"]`, "Switch it off")
	a.click(`[data-key="compose-task"] button[type="submit"]`)
	b.until("B sees the task", blockWith("task", "Switch it off")+` === 1`)
	hypothesis := value[string](b, `document.querySelector(".Block--hypothesis").dataset.block`)
	b.click("#" + pin.ID + " .Block-cite > summary")
	b.click("#" + pin.ID + ` .Block-cite button[value="against"]`)
	a.until("A sees what speaks against it", `document.querySelector(".Sides-side--against a")?.hash === `+jsonText("#"+pin.ID))
	a.do("choose a state", chromedp.Focus(chromedp.CSS(`.Block-state select`)), press("r", 0))
	b.until("B sees it refuted", `document.querySelector(".Block--hypothesis").classList.contains("Block--refuted")`)
	b.click(".TaskBox-button")
	a.until("A sees that it is done", `document.querySelector(".TaskBox-button").getAttribute("aria-checked") === "true"`)

	// Order: by the mouse, then by the keys.
	order := func(want ...string) string {
		return fmt.Sprintf(`[...document.querySelectorAll('[data-part="blocks"] > [data-block]')].map((b) => b.dataset.kind).join() === %s`, jsonText(strings.Join(want, ",")))
	}
	a.until("the order at first", order("span", "hypothesis", "task"))
	a.dragOnto(hypothesis, "#"+pin.ID, false)
	b.until("B sees the hypothesis first", order("hypothesis", "span", "task"))
	a.until("A too", order("hypothesis", "span", "task"))
	task := value[string](a, `document.querySelector(".Block--task").dataset.block`)
	a.lateDrop(task, hypothesis, false)
	a.until("the task is first", order("task", "hypothesis", "span"))
	a.lateDrop(task, pin.ID, true)
	b.until("B sees it last again", order("hypothesis", "span", "task"))
	a.until("and A", order("hypothesis", "span", "task"))
	value[bool](a, fmt.Sprintf(`document.getElementById(%s).focus() ?? true`, jsonText(hypothesis)))
	a.do("press Alt and down", press("ArrowDown", chromedp.ModifierAlt))
	b.until("B sees the span first", order("span", "hypothesis", "task"))

	// Compared with the live data, in its place.
	a.click("#" + pin.ID + " a[data-compare]")
	a.until("A is told that it is the same", `document.querySelector(".LiveMark").textContent.includes("now: same")`)

	// A pasted id is offered as a pin; Markdown is shown as it will look.
	value[bool](a, fmt.Sprintf(`(() => {
		const area = document.querySelector('form[data-form="note"] textarea'), data = new DataTransfer();
		data.setData("text/plain", %s);
		area.value = %s;
		return area.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData: data }));
	})()`, jsonText(s.request.String()), jsonText(s.request.String())))
	a.until("the trace is offered", `document.querySelectorAll(".Offer-row").length === 2`)
	a.click(`.Offer-row:first-child button`)
	b.until("B sees the trace", `document.querySelectorAll(".Block--trace").length === 1`)
	a.until("the id is no text any more", `document.querySelector('form[data-form="note"] textarea').value === "" && !document.querySelector(".Offer")`)
	a.fill(`form[data-form="note"] textarea`, "It *waits*")
	a.until("the preview shows it", `document.querySelector(".Preview:not([hidden]) em")?.textContent === "waits"`)

	// Changes that come at once are fetched at once.
	value[bool](b, `dispatchEvent(new Event("offline"))`)
	b.until("B is not connected", `document.querySelector(".Investigation").dataset.live === "off"`)
	const burst = 20
	var notes [burst]investigationState
	for i := range notes {
		if got := p.api(http.MethodPost, api+"/blocks", map[string]any{"kind": "note", "text": fmt.Sprintf("burst %d", i)}, &notes[i]); got != 201 {
			t.Fatalf("write a note: %d", got)
		}
	}
	value[bool](b, `performance.clearResourceTimings() ?? dispatchEvent(new Event("online"))`)
	b.until("B sees them all", blockWith("note", "burst ")+fmt.Sprintf(` === %d`, burst))
	if got := value[int](b, `performance.getEntriesByType("resource").filter((e) => /\/blocks[?/]/.test(e.name)).length`); got > burst/2 {
		t.Errorf("%d changes that came at once took %d requests", burst, got)
	}
	for _, n := range notes {
		if got := p.api(http.MethodDelete, api+"/blocks/"+n.ID, nil, nil); got != 204 {
			t.Fatalf("delete a note: %d", got)
		}
	}
	for _, tab := range []*tab{a, b} {
		tab.until("they are gone", blockWith("note", "burst ")+` === 0`)
	}

	// What is begun in any of the forms is there after a reload.
	begun := map[string]string{"hypothesis": "text", "task": "title", "picture": "title", "link": "url", "comparison": "title"}
	for kind, field := range begun {
		value[bool](a, fmt.Sprintf(`(() => {
			const form = document.querySelector('[data-key="compose-%s"] form'), field = form.elements.namedItem(%s);
			field.value = "begun: %s";
			field.dispatchEvent(new Event("input", { bubbles: true }));
			for (const s of form.querySelectorAll("select")) s.selectedIndex = 1 - s.selectedIndex;
			return form.querySelector("select")?.dispatchEvent(new Event("input", { bubbles: true })) ?? true;
		})()`, kind, jsonText(field), kind))
	}
	a.open(board)
	a.until("A is connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	for kind, field := range begun {
		a.until("what was begun is there", fmt.Sprintf(`(() => {
			const form = document.querySelector('[data-key="compose-%s"] form'), field = form.elements.namedItem(%s);
			return field.value === "begun: %s" && [...form.querySelectorAll("select")].map((s) => s.selectedIndex).join("");
		})() === %s`, kind, jsonText(field), kind, map[string]string{"task": `"1"`, "comparison": `"10"`, "hypothesis": `""`, "picture": `""`, "link": `""`}[kind]))
	}
	value[bool](a, `document.querySelector('[data-key="compose-hypothesis"]').open = true`) // one is open at a time
	a.fill(`[data-key="compose-hypothesis"] [name="title"]`, "Dealer 18 is down")
	a.click(`[data-key="compose-hypothesis"] button[type="submit"]`)
	b.until("B sees the second hypothesis", blockWith("hypothesis", "begun: hypothesis")+` === 1`)
	a.open(board)
	a.until("what was sent is not begun any more", `document.querySelector('[data-key="compose-hypothesis"] textarea').value === "" && document.querySelector('[data-key="compose-task"] input[name="title"]').value !== ""`)

	// In the lanes the span stands against; dropped on the other side, it is for.
	a.open(board + "?view=lanes")
	a.until("A is connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	a.until("the span stands against", fmt.Sprintf(`document.getElementById(%s).closest(".Lane-blocks").dataset.side === "against"`, jsonText(pin.ID)))
	a.dragOnto(pin.ID, `[data-lane="`+hypothesis+`"] [data-side="for"]`, true)
	a.until("the span stands for it", fmt.Sprintf(`document.getElementById(%s)?.closest(".Lane-blocks")?.dataset.side === "for"`, jsonText(pin.ID)))
	b.until("B sees it for", `document.querySelector(".Sides-side--for a")?.hash === `+jsonText("#"+pin.ID))
	if got := value[string](b, `window.sameDocument ?? "no"`); got != "yes" {
		t.Error("B's page was loaded again")
	}
	a.leave()
	b.leave()
	p.stop()
}
