package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// paletteChoice is what the palette would take.
const paletteChoice = `document.getElementById(document.querySelector(".Palette-input")?.getAttribute("aria-activedescendant"))?.querySelector(".Palette-label").textContent`

// The palette goes anywhere by keys, does what the page offers, and gives the focus
// back.
func TestBrowserPalette(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	a := openTab(t, chrome, p, "A")
	a.becomeAdmin(p, "ann@example.com", "Ann")
	s := tell(t, p)
	var made investigationState
	if got := p.api(http.MethodPost, "/api/v1/investigations", map[string]any{"title": "Dealer quotes time out"}, &made); got != http.StatusCreated {
		t.Fatalf("an investigation: status %d", got)
	}
	palette := a.openPalette
	choice := func(want string) {
		t.Helper()
		a.until("the choice", paletteChoice+` === `+jsonText(want)+` || `+paletteChoice)
	}

	a.open("/explore")
	a.do("focus a link", chromedp.Focus(chromedp.CSS(`.Rail a[href="/inbox"]`), chromedp.NodeVisible))
	palette("")
	a.until("it lists screens", `[...document.querySelectorAll(".Palette-row")].some((r) => r.textContent.includes("Explore"))`)
	a.key("Escape")
	a.until("the focus is back", `!document.querySelector(".Palette").open && document.activeElement.matches('.Rail a[href="/inbox"]')`)
	latePlaces(a)
	palette("dqto")
	choice("Dealer quotes time out")
	a.follow("go there", press("Enter", 0))
	if got := a.path(); got != "/i/"+made.ID {
		t.Fatalf("the palette led to %s", got)
	}
	palette("pricwork")
	choice("pricing-worker")
	a.key("Escape")
	a.until("it is closed", `!document.querySelector(".Palette").open`)
	palette("ann")
	choice("Ann")
	a.key("Escape")
	a.until("it is closed once more", `!document.querySelector(".Palette").open`)
	palette(s.request.String())
	a.until("it knows the trace", `document.querySelector(".Palette [aria-label='Ids'] .Palette-row")?.textContent.includes("POST /quotes")`)
	choice("POST /quotes · web-uk")
	a.follow("go to the trace", press("Enter", 0))
	if got := a.path(); got != "/t/"+s.request.String() {
		t.Fatalf("the palette led to %s", got)
	}

	// The page's own actions, and what was shown lately.
	palette("pin to")
	choice("Pin to an investigation")
	a.key("Enter")
	a.until("the form is open", `[...document.querySelectorAll(".Pin")].some((p) => p.open) && !document.querySelector(".Palette").open`)
	a.open("/services")
	palette("")
	a.until("the board is among the recent places", `[...document.querySelectorAll(".Palette [aria-label='Lately here'] .Palette-row")].some((r) => r.textContent.includes("Dealer quotes"))`)
	a.key("Escape")
	a.until("it is closed again", `!document.querySelector(".Palette").open`)
	theme := value[string](a, `document.documentElement.dataset.theme ?? ""`)
	palette("light and dark")
	choice("Switch between light and dark")
	a.key("Enter")
	a.until("the theme changed", `document.documentElement.dataset.theme !== `+jsonText(theme))

	// Keys are heard nowhere while somebody types, and lists say what works.
	a.click(".TopBar-input")
	a.write("g h ? j")
	if got := value[string](a, `location.pathname + document.querySelector(".TopBar-input").value`); got != "/servicesg h ? j" {
		t.Errorf("typing led to %q", got)
	}
	a.key("Escape")
	a.key("?")
	a.until("the list of keys", `document.getElementById("keys").open && document.getElementById("keys-list").textContent.includes("go to Explore")`)
	a.key("Escape")
	a.follow("g e", keysAtOnce("g", "e"))
	if got := value[string](a, `location.pathname`); got != "/explore" {
		t.Errorf("g e led to %s", got)
	}

	// On a slow connection the page is there before its modules: what is pressed then
	// is heard once they are.
	a.openSlowly("/services")
	a.do("press g e", keysAtOnce("g", "e"))
	a.follow("the modules come", release())
	if got := value[string](a, `location.pathname`); got != "/explore" {
		t.Errorf("an early g e led to %s", got)
	}
	a.openSlowly("/services")
	a.do("open the palette", press("k", chromedp.ModifierCtrl))
	a.write("dqto")
	a.do("the modules come", release())
	a.ready()
	choice("Dealer quotes time out")
	p.stop()
}

// openSlowly opens a page whose modules do not come before they are released.
func (b *tab) openSlowly(path string) {
	b.t.Helper()
	before := value[float64](b, `performance.timeOrigin`)
	call(b, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true})
	call(b, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*/js/keys.js"}}})
	value[string](b, `(setTimeout(() => location.assign(`+jsonText(path)+`)), "")`)
	b.until("another page", fmt.Sprintf(`performance.timeOrigin !== %s && document.readyState === "interactive"`, jsonText(before)))
	b.drawn()
}

// release lets the modules come.
func release() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, fetch.Disable, cdp.Empty{})
		return err
	})
}

// drawn waits until the page takes keys: a browser under load hears none of a page
// that it has not drawn yet.
func (b *tab) drawn() {
	b.t.Helper()
	b.painted()
	b.until("frames come", `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
}

// openPalette opens the palette and writes a text in it.
func (b *tab) openPalette(text string) {
	b.t.Helper()
	b.drawn()
	b.do("open the palette", press("k", chromedp.ModifierCtrl))
	b.until("it is open, with the focus", `document.querySelector(".Palette")?.open && document.activeElement.matches(".Palette-input") ||
		JSON.stringify([performance.getEntriesByType("navigation")[0].type, performance.timeOrigin, performance.now(), document.hasFocus(),
			document.activeElement.outerHTML.slice(0, 100), [...document.querySelectorAll("dialog")].map((d) => d.className + d.open)])`)
	b.write(text)
	b.until("it lists something", `document.querySelector(".Palette-row") !== null`)
}

// No page binds one key twice.
func (b *tab) checkKeys(name string) {
	b.t.Helper()
	const js = `import(document.querySelector('script[type="module"]').src.replace(/app\.js$/, "keys.js")).then((m) => m.conflicts().join(", "))`
	if got := value[string](b, js); got != "" {
		b.t.Errorf("%s: keys that two modules claim: %s", name, got)
	}
}
