package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// headMenu opens a menu in the head of a board.
func (b *tab) headMenu(key string) {
	b.t.Helper()
	sel := fmt.Sprintf(`.BoardHead [data-key="head-%s"]`, key)
	b.until("the page is connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	if !value[bool](b, `document.querySelector(`+jsonText(sel)+`).open`) {
		b.click(sel + " > summary")
	}
	b.until("the menu is open", `document.querySelector(`+jsonText(sel)+`).open`)
}

// choose chooses by the first letter what a field offers. The list is not opened: it is
// a window of its own, which may come after the keys that are meant for it.
func (b *tab) choose(sel, name string) {
	b.t.Helper()
	b.painted()
	b.do("choose "+name, chromedp.Focus(chromedp.CSS(sel), chromedp.NodeVisible), press(name[:1], 0))
	b.until(name+" is chosen", fmt.Sprintf(`document.querySelector(%s).selectedOptions[0]?.textContent.includes(%s)`, jsonText(sel), jsonText(name)))
}

// TestBrowserPrivate has Ann close an investigation to all but herself, by the
// menus of its head. Bob finds nothing of it anywhere; asked in, he sees it; taken
// out, his page ends.
func TestBrowserPrivate(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	ann, bob := openTab(t, chrome, p, "Ann"), openTab(t, chrome, p, "Bob")
	ann.becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	bob.signInAs("bob@example.com")

	// A team that owns the service of the pin, with Bob in it.
	ann.open("/settings/teams")
	ann.fill(`form[action="/settings/teams"] input[name="name"]`, "Dealers")
	ann.fill(`form[action="/settings/teams"] textarea[name="services"]`, "*")
	ann.follow("make the team", clickOn(`//button[normalize-space()="Make the team"]`))
	if got := ann.text("main"); !strings.Contains(got, "A pattern needs a letter") {
		t.Errorf("a pattern of every service: %.300s", got)
	}
	ann.forgive() // that it was refused stands in the console
	ann.fill(`form[action="/settings/teams"] textarea[name="services"]`, "dealers*\npricing*")
	ann.follow("make the team", clickOn(`//button[normalize-space()="Make the team"]`))
	ann.choose(`.Team select[name="joins"]`, "Bob")
	ann.follow("add Bob", clickOn(`.Team .Row button`))
	if got := ann.text(".Team"); !strings.Contains(got, "Bob") || !strings.Contains(got, "@dealers") {
		t.Fatalf("the team: %s", got)
	}

	// Ann opens an investigation from the span, and makes it private.
	var made investigationState
	if got := p.api("POST", "/api/v1/investigations", map[string]any{"title": "Price list was read", "severity": "sev1",
		"pin": map[string]any{"kind": "span", "trace_id": s.job.String(), "span_id": s.failed.String()}}, &made); got != 201 {
		t.Fatalf("open an investigation: status %d", got)
	}
	board := "/i/" + made.ID
	ann.open(board)
	bob.open(board)
	bob.until("Bob is connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	ann.headMenu("people")
	ann.choose(`.BoardHead select[name="lead"]`, "Ann")
	ann.click(`.BoardHead form[data-form="lead"] button`)
	ann.until("Ann leads", `document.querySelector('.BoardHead [data-key="head-people"] .HeadMenu-label').textContent.includes("Ann")`)
	bob.until("Bob sees that", `document.querySelector('.BoardHead [data-key="head-people"] .HeadMenu-label').textContent.includes("Ann")`)
	ann.headMenu("update")
	ann.click(`.BoardHead button[name="next_update"][value="30"]`)
	bob.until("Bob sees the countdown", `document.querySelector('.BoardHead [data-js="countdown"]')?.textContent.match(/^next update in (30|29) min$/) !== null || document.querySelector(".BoardHead").textContent`)
	ann.headMenu("visibility")
	ann.click(`.BoardHead button[name="visibility"][value="private"]`)
	ann.until("it is private", `document.querySelector('.BoardHead [data-key="head-visibility"] .HeadMenu-label').textContent === "private"`)
	bob.until("Bob sees nothing of it any more", `!document.documentElement.textContent.includes("Price list")`)
	bob.forgive()

	nothing := func(when string) {
		t.Helper()
		for _, path := range []string{board, "/", "/investigations?show=all", "/inbox?show=all", "/t/" + s.job.String() + "/" + s.failed.String(), "/explore", "/api/v1/investigations", "/api/v1/inbox?show=all"} {
			bob.open(path)
			if got := value[string](bob, `document.documentElement.outerHTML`); strings.Contains(got, "Price list") || path != board && strings.Contains(got, made.ID) {
				t.Errorf("%s: %s tells Bob of it", when, path)
			}
		}
		bob.open(board)
		if got := value[string](bob, `document.title`); got != "Not Found · redthread" {
			t.Errorf("%s: the board's page is called %q to Bob", when, got)
		}
		bob.forgive() // 404 is an error in the console
	}
	nothing("private")

	// The menus read well, also to those who hear them.
	if axe, err := os.ReadFile(filepath.Join("..", "..", "node_modules", "axe-core", "axe.min.js")); err == nil {
		for _, key := range []string{"severity", "status", "people", "services", "impact", "update", "visibility", "more"} {
			ann.headMenu(key)
			ann.checkAccess("menu "+key, axe)
			if dir := os.Getenv("REDTHREAD_SHOTS"); dir != "" {
				ann.shot(dir, "menu-"+key)
			}
			ann.key("Escape")
		}
	}

	// The team is suggested, and asked in with one click.
	ann.until("the owners are suggested", `[...document.querySelectorAll(".BoardHead-hints button")].some((b) => b.textContent.includes("Dealers"))`)
	ann.click(`//div[@class="BoardHead-hints"]//button[contains(., "Dealers")]`)
	ann.until("Bob is in", `[...document.querySelectorAll(".BoardHead .HeadMenu-name")].some((n) => n.textContent === "Bob")`)
	bob.open("/inbox")
	bob.until("Bob is told", `document.querySelector("main").textContent.includes("Price list was read")`)
	bob.follow("open what is new", clickOn(".Inbox-link"))
	if got := bob.path(); got != board {
		t.Fatalf("the inbox leads to %s, want %s", got, board)
	}
	bob.until("Bob sees the pin", blockWith("span", "GET /dealers/17/price")+` === 1`)
	bob.until("Bob is connected", `document.querySelector(".Investigation").dataset.live === "on"`)

	// Taken out, by the menu.
	ann.headMenu("people")
	ann.click(`.BoardHead button[aria-label="Take out Bob"]`)
	bob.until("Bob's page ends", `!document.documentElement.textContent.includes("Price list")`)
	bob.forgive()
	nothing("taken out")
	for _, b := range []*tab{ann, bob} {
		b.leave()
	}
	p.stop()
}
