package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// another opens a second tab of the same person: it shares cookies and storage.
func (b *tab) another(name string) *tab {
	b.t.Helper()
	o := &tab{t: b.t, name: name, base: b.base}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithListener(o.listen))
	o.ctx = ctx
	b.t.Cleanup(func() {
		for _, f := range o.takeFaults() {
			b.t.Errorf("%s: %s", name, f.text)
		}
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatalf("%s: open a tab: %v", name, err)
	}
	o.size(1440, 900)
	return o
}

// named writes a note on a board that names somebody.
func (p *process) named(board, ref, text string) {
	p.t.Helper()
	if got := p.api(http.MethodPost, "/api/v1/investigations/"+board+"/blocks", map[string]any{"ref": ref, "kind": "note", "text": text}, nil); got != http.StatusCreated {
		p.t.Fatalf("a note: status %d", got)
	}
}

// The browser says each message once, whatever the number of tabs, and none to
// somebody who looks at it.
func TestBrowserNotifications(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	openTab(t, chrome, p, "A").becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	b := openTab(t, chrome, p, "B")
	b.signInAs("bob@example.com")
	var made investigationState
	if got := p.api(http.MethodPost, "/api/v1/investigations", map[string]any{"title": "Slow quotes"}, &made); got != http.StatusCreated {
		t.Fatalf("an investigation: status %d", got)
	}
	p.named(made.ID, "before", "@Bob, before you asked to be told")

	// The browser is asked only on a click.
	b.open("/inbox")
	if got := value[string](b, `Notification.permission`); got == "granted" {
		t.Fatalf("permission before anybody asked: %s", got)
	}
	call(b, browser.SetPermission, browser.SetPermissionParams{Permission: &browser.PermissionDescriptor{Name: "notifications"}, Setting: browser.PermissionSettingGranted,
		Origin: p.url, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID})
	b.click(`[data-js="inbox_notify"]`)
	b.until("the browser notifies", `document.querySelector('[data-js="inbox_notify"]').getAttribute("aria-pressed") === "true"`)

	second := b.another("B, second tab")
	tabs := []*tab{b, second}
	const listen = `window.said = []; document.addEventListener("redthread:said", (e) => window.said.push(e.detail.title)); true`
	for i, tab := range tabs {
		tab.open([]string{"/investigations", "/services"}[i])
		value[bool](tab, listen)
	}
	quiet := func(unread int) {
		t.Helper()
		for _, tab := range tabs {
			tab.until("the badge counts", fmt.Sprintf(`parseInt(document.getElementById("inbox-badge").textContent) === %d`, unread))
			tab.until("nobody is about to say anything", `Promise.all([navigator.locks.query(), fetch("/api/v1/inbox/news").then((r) => r.json())]).then(([l, n]) =>
				l.held.length === 0 && l.pending.length === 0 && localStorage.getItem("redthread:said") === n.newest_unix_nano)`)
		}
	}
	count := func() int {
		return value[int](b, `window.said.length`) + value[int](second, `window.said.length`)
	}
	for i := 1; i <= 3; i++ {
		p.named(made.ID, fmt.Sprint(i), fmt.Sprintf("@Bob, number %d", i))
		quiet(i + 1)
		if got := count(); got != i {
			t.Fatalf("after %d messages the browser said %d", i, got)
		}
	}

	// Who looks at the board is told nothing of it, by any tab.
	second.open("/i/" + made.ID)
	value[bool](second, listen)
	call(second, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	before := count()
	p.named(made.ID, "4", "@Bob, number 4")
	quiet(5)
	if got := count(); got != before {
		t.Errorf("the browser said %d more, want none: somebody looks at the board", got-before)
	}
	second.leave()
	b.leave()
	p.stop()
}

// person calls the API with the session of somebody.
type person struct {
	t      *testing.T
	client *http.Client
}

func newPerson(t *testing.T) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t, &http.Client{Jar: jar}}
}

func (h *person) signIn(p *process, email string) {
	h.t.Helper()
	res, err := h.client.PostForm(p.url+"/sign-in", url.Values{"email": {email}, "password": {password}})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		h.t.Fatalf("sign in as %s: %s, %v", email, res.Status, err)
	}
}

func (h *person) api(p *process, method, path string, body, out any) int {
	h.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, p.url+path, bytes.NewReader(raw))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := h.client.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	if out != nil && res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			h.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return res.StatusCode
}

// What is put off comes back by itself, once, however often the server dies around
// that time.
func TestSnoozeWakesOnce(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	p.createUser("bob@example.com", "Bob", "member")
	var made investigationState
	if got := p.api(http.MethodPost, "/api/v1/investigations", map[string]any{"title": "Slow quotes"}, &made); got != http.StatusCreated {
		t.Fatalf("an investigation: status %d", got)
	}
	p.named(made.ID, "1", "@Bob, look")
	bob := newPerson(t)
	bob.signIn(p, "bob@example.com")
	type item struct {
		ID      string `json:"id"`
		Told    string `json:"told_unix_nano"`
		Snoozed string `json:"snoozed_until_unix_nano"`
		Read    bool   `json:"read"`
	}
	type inbox struct {
		Items []item `json:"items"`
	}
	look := func() item {
		t.Helper()
		var in inbox
		if got := bob.api(p, http.MethodGet, "/api/v1/inbox?show=all", nil, &in); got != http.StatusOK || len(in.Items) != 1 {
			t.Fatalf("the inbox: status %d, %+v", got, in)
		}
		return in.Items[0]
	}
	before := look()
	until := time.Now().Add(4 * time.Second)
	if got := bob.api(p, http.MethodPatch, "/api/v1/inbox/"+before.ID, map[string]any{"state": "snoozed", "until_unix_nano": fmt.Sprint(until.UnixNano())}, nil); got != http.StatusOK {
		t.Fatalf("snooze: status %d", got)
	}
	told := map[string]bool{}
	for deaths := 0; deaths < 4 || time.Now().Before(until.Add(time.Second)); deaths++ {
		p.kill()
		p = start(t, dir)
		if it := look(); it.Snoozed == "0" {
			told[it.Told] = true
			if it.Read || time.Now().Before(until) {
				t.Errorf("awake at %s, before %s, or read: %+v", time.Now(), until, it)
			}
		} else if it.Told != before.Told {
			t.Errorf("asleep, and told anew: %+v", it)
		}
	}
	eventually(t, patience, "it is awake", func() error {
		if it := look(); it.Snoozed != "0" {
			return fmt.Errorf("still asleep: %+v", it)
		}
		return nil
	})
	told[look().Told] = true
	if len(told) != 1 || told[before.Told] {
		t.Errorf("it came up at %v, want once after %s", told, before.Told)
	}
	p.stop()
}

// The inbox in the browser: keys, groups, undo, and what comes meanwhile.
func TestBrowserInbox(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	openTab(t, chrome, p, "A").becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	b := openTab(t, chrome, p, "B")
	b.signInAs("bob@example.com")
	boards := make([]investigationState, 2)
	for i := range boards {
		if got := p.api(http.MethodPost, "/api/v1/investigations", map[string]any{"title": fmt.Sprintf("Board %d", i)}, &boards[i]); got != http.StatusCreated {
			t.Fatalf("an investigation: status %d", got)
		}
		p.named(boards[i].ID, "1", "@Bob, first of "+fmt.Sprint(i))
		p.named(boards[i].ID, "2", "@Bob, second of "+fmt.Sprint(i))
	}
	b.open("/inbox")
	const items = `[...document.querySelectorAll('[data-part="item"]')].map((i) => i.querySelector(".Inbox-text").textContent.slice(-11)).join()`
	want := func(what, list string) {
		t.Helper()
		b.until(what, items+` === `+jsonText(list)+` || `+items)
	}
	want("four messages, the newest first", "second of 1, first of 1,second of 0, first of 0")
	b.key("j")
	b.key("j")
	b.key("e")
	want("the second is done", "second of 1,second of 0, first of 0")
	b.until("the focus went on", `document.activeElement.closest('[data-part="item"]')?.textContent.includes("second of 0")`)
	b.key("z")
	want("undone", "second of 1, first of 1,second of 0, first of 0")
	b.until("nothing more to undo", `document.querySelector('[data-part="undo"]') === null`)
	// What comes does so under nobody's hands, and takes nobody's place.
	b.holds("^/inbox")
	b.key("j")
	p.named(boards[1].ID, "3", "@Bob, third of 1")
	b.until("it is read", `held.some((h) => h.text.includes("third of 1"))`)
	b.key("s")
	b.until("the times show", `document.activeElement.matches('[data-part="snooze"] .Menu-item')`)
	b.gives()
	b.until("the times still show", `document.activeElement.matches('[data-part="snooze"] .Menu-item')`)
	b.key("Escape")
	want("it has come", " third of 1,second of 1, first of 1,second of 0, first of 0")
	b.until("the focus stayed", `document.activeElement.closest('[data-part="item"]')?.textContent.includes("first of 0")`)
	lateActs(b, items)
	b.key("s")
	b.until("the times show", `document.activeElement.matches('[data-part="snooze"] .Menu-item')`)
	b.key("Enter")
	b.until("one is put off", `document.querySelectorAll('[data-part="item"]').length === 4`)
	b.until("by an hour", `/1 message is? ?put off until|put off until/.test(document.querySelector('[data-part="said"]').textContent)`)
	b.open("/inbox?show=snoozed")
	b.until("it is among what is put off", `document.querySelectorAll('[data-part="item"]').length === 1`)
	b.open("/inbox")
	b.key("j")
	b.key("#")
	b.until("a group is done", `document.querySelectorAll("[data-group]").length === 1`)
	// What comes shows by itself, and folding stays in the address.
	p.named(boards[1].ID, "4", "@Bob, fourth of 1")
	b.until("it shows", items+`.includes("fourth of 1")`)
	b.click(`[data-group="` + boards[1].ID + `"] > summary`)
	b.until("folded", `new URLSearchParams(location.search).get("closed") === `+jsonText(boards[1].ID))
	b.follow("load again", chromedp.Reload())
	if !value[bool](b, `!document.querySelector('[data-group="`+boards[1].ID+`"]').open`) {
		t.Error("folded, and open after a reload")
	}
	// Without a script.
	b.withoutScripts()
	b.open("/inbox")
	before := value[int](b, `document.querySelectorAll('[data-part="item"]').length`)
	b.follow("put one away", clickOn(`[data-part="done"]`))
	if got := value[int](b, `document.querySelectorAll('[data-part="item"]').length`); got != before-1 {
		t.Errorf("%d messages, want %d", got, before-1)
	}
	b.follow("undo", clickOn(`[data-part="undo"]`))
	if got := value[int](b, `document.querySelectorAll('[data-part="item"]').length`); got != before {
		t.Errorf("%d messages after undo, want %d", got, before)
	}
	p.stop()
}
