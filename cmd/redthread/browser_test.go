package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for something that it means to happen at once.
// It says nothing of how fast that is: it ends a test that would wait for ever, and
// the machine of a test may be busy with much else.
const patience = time.Minute

// chromium starts a headless Chromium that ends with the test. Without one the
// test is skipped; under CI that is a failure.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		const missing = "no Chromium found; install it with: apt-get install chromium"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1440, 900), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("force-prefers-reduced-motion", true), chromedp.Flag("hide-scrollbars", true))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// tab is one page of a browser, in a browser context of its own: cookies and
// storage of two tabs have nothing to do with each other, as of two people.
type tab struct {
	t    testing.TB
	name string
	ctx  context.Context
	base string // address of the server

	scriptless bool

	mu     sync.Mutex
	faults []fault
	gone   bool // the server is stopping: its pages lose their sockets
}

// fault is something that a page did and should not have done.
type fault struct {
	network bool // a request that failed or was refused
	text    string
}

// openTab opens a browser context with one page. What its page does wrong
// (exceptions, console errors, violations of the policy, requests that fail)
// fails the test at its end, unless forgiven.
func openTab(t testing.TB, chrome context.Context, p *process, name string, opts ...chromedp.CreateBrowserContextOption) *tab {
	t.Helper()
	b := &tab{t: t, name: name, base: p.url}
	ctx, cancel := chromedp.NewContext(chrome, chromedp.WithNewBrowserContext(opts...), chromedp.WithListener(b.listen))
	b.ctx = ctx
	p.onStop = append(p.onStop, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.gone = true
	})
	t.Cleanup(func() {
		for _, f := range b.takeFaults() {
			t.Errorf("%s: %s", name, f.text)
		}
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s: open a tab: %v", name, err)
	}
	b.size(1440, 900)
	return b
}

func viaProxy(address string) chromedp.CreateBrowserContextOption {
	return func(p *target.CreateBrowserContextParams) {
		p.ProxyServer, p.ProxyBypassList = "socks5://"+address, "<-loopback>"
	}
}

func (b *tab) listen(ev any) {
	var f fault
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		f.text = "exception: " + ev.ExceptionDetails.Text
		if x := ev.ExceptionDetails.Exception; x != nil {
			f.text += " " + x.Description
		}
	case *runtime.EventConsoleAPICalled:
		if ev.Type != runtime.ConsoleAPICalledTypeError && ev.Type != runtime.ConsoleAPICalledTypeAssert {
			return
		}
		f.text = "console error:"
		for _, a := range ev.Args {
			f.text += " " + string(a.Value) + a.Description
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level != log.EntryLevelError {
			return
		}
		f.network = ev.Entry.Source == log.EntrySourceNetwork || strings.Contains(ev.Entry.Text, "WebSocket connection to")
		f.text = fmt.Sprintf("%s: %s %s", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
	case *network.EventResponseReceived:
		if ev.Response.Status < 400 {
			return
		}
		f.network = true
		f.text = fmt.Sprintf("%s answered %d", ev.Response.URL, ev.Response.Status)
	case *network.EventLoadingFailed:
		if ev.Canceled || ev.ErrorText == "net::ERR_ABORTED" {
			return // left, or answered by a download
		}
		f.network = true
		f.text = fmt.Sprintf("a %s was not loaded: %s %s", ev.Type, ev.ErrorText, ev.BlockedReason)
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.gone || !f.network {
		b.faults = append(b.faults, f)
	}
}

func (b *tab) takeFaults() []fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.faults
	b.faults = nil
	return taken
}

// forgive forgets requests that failed so far; what else went wrong stays.
func (b *tab) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = slices.DeleteFunc(b.faults, func(f fault) bool { return f.network })
}

// leave closes the page, before its server stops answering it.
func (b *tab) leave() {
	b.t.Helper()
	b.do("leave the page", chromedp.Navigate("about:blank"))
}

// do runs steps within the patience.
func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.fatalf("%s: %v", what, err)
	}
}

// fatalf ends the test and tells what the page shows.
func (b *tab) fatalf(format string, args ...any) {
	b.t.Helper()
	b.t.Log(b.name + " sees: " + b.where())
	if dir := os.Getenv("REDTHREAD_SHOTS"); dir != "" {
		b.shot(dir, "failed-"+b.name)
	}
	b.t.Fatalf(b.name+": "+format, args...)
}

func (b *tab) where() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	seen, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + (document.getElementById("main") ?? document.body ?? {}).innerText?.replace(/\s+/g, " ").slice(0, 1500)`))
	if err != nil {
		return err.Error()
	}
	for _, f := range b.takeFaults() {
		seen += "\n" + f.text
	}
	return seen
}

// call sends one command to the browser.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.fatalf("%s: %v", cmd.Method, err)
	}
	return r
}

// value is what an expression is worth on the page.
func value[T any](b *tab, js string) T {
	b.t.Helper()
	v, err := evaluate[T](b, js)
	if err != nil {
		b.fatalf("evaluate %s: %v", js, err)
	}
	return v
}

func evaluate[T any](b *tab, js string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// until waits for an expression to become true. Another value of it is told
// when it does not.
func (b *tab) until(what, js string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, err := evaluate[[]byte](b, js) // fails while a page makes way for the next
		if err == nil && string(got) == "true" {
			return
		}
		if time.Now().After(deadline) {
			b.fatalf("%s: not within %s: %s is %s (%v)", what, patience, js, got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// open loads a page of the server and waits until its scripts run.
func (b *tab) open(path string) {
	b.t.Helper()
	url := path
	if !strings.HasPrefix(path, "http") {
		url = b.base + path
	}
	b.do("open "+path, chromedp.Navigate(url))
	b.ready()
}

// ready waits until the page is loaded and its scripts are at work.
func (b *tab) ready() {
	b.t.Helper()
	js := `document.readyState === "complete"`
	if !b.scriptless {
		js += ` && [...document.querySelectorAll("[data-js]")].filter((e) => !e.hasAttribute("data-mounted")).map((e) => e.dataset.js).join() === ""`
	}
	b.until("the page is ready", js)
}

// follow does something that leads to another page, and waits for that.
func (b *tab) follow(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.painted()
	before := value[float64](b, `performance.timeOrigin`)
	b.do(what, steps...)
	b.until(what+": another page", fmt.Sprintf(`performance.timeOrigin !== %s`, jsonText(before)))
	b.ready()
}

// click clicks what a CSS selector, or an XPath, finds first.
func (b *tab) click(sel string) {
	b.t.Helper()
	b.do("click "+sel, clickOn(sel))
}

// clickTarget is where to press what a selector finds first: not before it stands still
// and nothing lies over it.
type clickTarget struct {
	There  bool    // it is found, seen and not disabled
	Hit    bool    // it is what a press at X, Y would meet
	Active bool    // it is being pressed
	X, Y   float64 // the middle of its first line
	Box    string  // all of its place
}

func targetOf(sel string) string {
	find := `document.querySelector(` + jsonText(sel) + `)`
	if strings.HasPrefix(sel, "/") {
		find = `document.evaluate(` + jsonText(sel) + `, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue`
	}
	return `(() => {
		const el = ` + find + `;
		if (!el?.checkVisibility({ visibilityProperty: true }) || el.disabled || el.getClientRects().length === 0) return {};
		let r = el.getClientRects()[0];
		if (r.top < 0 || r.left < 0 || r.bottom > innerHeight || r.right > innerWidth || !met(r)) {
			el.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
			r = el.getClientRects()[0];
		}
		function met(r) {
			const hit = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
			return el.contains(hit) || hit?.closest("label")?.control === el;
		}
		const box = el.getBoundingClientRect();
		return { There: true, Hit: met(r), Active: el.matches(":active"), X: r.left + r.width / 2, Y: r.top + r.height / 2, Box: [box.x, box.y, box.width, box.height].join() };
	})()`
}

// box is a place in the window.
type box struct{ X, Y, W, H float64 }

// box is the place of what a CSS selector finds first, once that stands still.
func (b *tab) box(sel string) (now box) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	at := `(() => { const r = document.querySelector(` + jsonText(sel) + `).getBoundingClientRect(); return { X: r.x, Y: r.y, W: r.width, H: r.height }; })()`
	frames := `new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(() => then(` + at + `))))`
	before, err := chromedp.Run(ctx, chromedp.Evaluate[box](at))
	for {
		if err == nil {
			if now, err = chromedp.Run(ctx, chromedp.Evaluate[box](frames, chromedp.EvalAwaitPromise)); err == nil && now == before && now.W > 0 {
				return now
			}
			before = now
		}
		if err != nil {
			b.fatalf("the place of %s: %v", sel, err)
		}
	}
}

// clickOn clicks what a CSS selector, or an XPath, finds first, once it stands still
// and can be met. A press that met something else after all is let go elsewhere, and
// clicks nothing.
func clickOn(sel string) chromedp.Action[chromedp.Void] {
	look := chromedp.Evaluate[clickTarget](targetOf(sel))
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		mouse := func(kind input.DispatchMouseEventType, x, y float64) error {
			e := input.DispatchMouseEventParams{Type: kind, X: x, Y: y}
			if kind != input.DispatchMouseEventTypeMouseMoved {
				e.Button, e.ClickCount = input.MouseButtonLeft, 1
			}
			_, err := cdp.Call(ctx, t, input.DispatchMouseEvent, e)
			return err
		}
		var before clickTarget
		for {
			at, err := look(ctx, t)
			if err == nil && at.Hit && at.Box == before.Box {
				if err := errors.Join(mouse(input.DispatchMouseEventTypeMouseMoved, at.X, at.Y), mouse(input.DispatchMouseEventTypeMousePressed, at.X, at.Y)); err != nil {
					return err
				}
				// What a press takes away has been met.
				now, err := look(ctx, t)
				if err != nil || !now.There || now.Active {
					return mouse(input.DispatchMouseEventTypeMouseReleased, at.X, at.Y)
				}
				if err := errors.Join(mouse(input.DispatchMouseEventTypeMouseMoved, 0, 0), mouse(input.DispatchMouseEventTypeMouseReleased, 0, 0)); err != nil {
					return err
				}
			}
			before = at
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w; %s: %+v", ctx.Err(), sel, at)
			case <-time.After(20 * time.Millisecond): // two frames
			}
		}
	})
}

// fill replaces the text of a field as a person does: by keys.
func (b *tab) fill(sel, text string) {
	b.t.Helper()
	b.do("fill "+sel, chromedp.Focus(chromedp.CSS(sel), chromedp.NodeVisible))
	if value[string](b, `document.querySelector(`+jsonText(sel)+`).value`) != "" {
		b.do("empty "+sel, press("a", chromedp.ModifierCtrl), press("Backspace", 0))
	}
	b.write(text)
}

// key presses one key wherever the focus is: a letter, or Enter, Escape and the
// like by name.
func (b *tab) key(name string) {
	b.t.Helper()
	b.painted()
	b.do("press "+name, press(name, 0))
}

// painted waits until the page was painted once: before that a browser drops keys.
func (b *tab) painted() {
	b.t.Helper()
	b.until("the page is painted", `performance.getEntriesByType("paint").length > 0`)
}

// write presses the keys of a text.
func (b *tab) write(text string) {
	b.t.Helper()
	b.painted()
	var keys []chromedp.Action[chromedp.Void]
	for _, r := range text {
		name := string(r)
		if r == '\n' {
			name = "Enter"
		}
		keys = append(keys, press(name, 0))
	}
	b.do("write "+text, keys...)
}

// press presses a key as a keyboard does. (KeyEvent of chromedp sends the letter
// even where the page has taken the key for itself, and its SendKeys reads
// attributes of the field while the page may change them.)
func press(name string, modifiers chromedp.Modifier) chromedp.Action[chromedp.Void] {
	return pressAt(name, modifiers, 0)
}

// keysAtOnce presses keys right after each other, however long the page takes for each:
// it hears them 50 ms apart.
func keysAtOnce(names ...string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		at := float64(time.Now().UnixMicro()) / 1e6
		for i, name := range names {
			if _, err := pressAt(name, 0, input.TimeSinceEpoch(at+0.05*float64(i)))(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// pressAt presses a key at a time, 0: now.
func pressAt(name string, modifiers chromedp.Modifier, at input.TimeSinceEpoch) chromedp.Action[chromedp.Void] {
	text := name
	code := map[string]int64{"Enter": 13, "Escape": 27, "Backspace": 8, "ArrowUp": 38, "ArrowDown": 40}[name]
	switch c := name[0]; {
	case name == "Enter":
		text = "\r"
	case code != 0 || modifiers != 0:
		text = ""
	case 'a' <= c && c <= 'z':
		code = int64(c - 'a' + 'A')
	case 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
		code = int64(c)
	}
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		e := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: name, Text: text, UnmodifiedText: text,
			WindowsVirtualKeyCode: code, NativeVirtualKeyCode: code, Modifiers: int64(modifiers), Timestamp: at}
		if modifiers == chromedp.ModifierCtrl && name == "a" {
			e.Commands = []string{"selectAll"}
		}
		if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, e); err != nil {
			return err
		}
		e.Type, e.Text, e.UnmodifiedText, e.Commands = input.DispatchKeyEventTypeKeyUp, "", "", nil
		_, err := cdp.Call(ctx, t, input.DispatchKeyEvent, e)
		return err
	})
}

func (b *tab) text(sel string) string {
	b.t.Helper()
	return value[string](b, `document.querySelector(`+jsonText(sel)+`)?.innerText.trim() ?? "(none)"`)
}

func (b *tab) path() string {
	b.t.Helper()
	return value[string](b, `location.pathname + location.search`)
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
}

// withoutScripts makes the page's scripts not run from the next load on.
func (b *tab) withoutScripts() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.scriptless = true
}

// shot writes a picture of what is in view.
func (b *tab) shot(dir, name string) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/"+name+".png", png, 0o644))
	}
	if err != nil {
		b.t.Errorf("%s: picture %s: %v", b.name, name, err)
	}
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // values of this test only
	}
	return string(b)
}

// becomeAdmin follows the printed link and makes the first administrator.
func (b *tab) becomeAdmin(p *process, email, name string) {
	b.t.Helper()
	p.mu.Lock()
	link := p.signIn
	p.mu.Unlock()
	if link == "" {
		b.t.Fatal("the server printed no link to sign in with")
	}
	b.open(link)
	b.fillAccount(email, name)
	b.until(name+" is signed in", `document.querySelector(".Menu-head strong")?.textContent === `+jsonText(name))
}

// fillAccount fills the form behind a welcome or invitation link and sends it.
func (b *tab) fillAccount(email, name string) {
	b.t.Helper()
	b.fill(`input[name="email"]`, email)
	b.fill(`input[name="name"]`, name)
	b.fill(`input[name="password"]`, password)
	b.follow("make the account", clickOn(`//button[normalize-space()="Continue"]`))
}

// password is that of all people in these tests.
const password = "correct horse battery"

// createUser makes an account from the terminal.
func (p *process) createUser(email, name, role string) {
	p.t.Helper()
	cmd := exec.Command(program, "user", "create", "--data", p.dir, "--email", email, "--name", name, "--role", role, "--password-stdin")
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("redthread user create: %v\n%s", err, out)
	}
}

// signInAs signs in by the form.
func (b *tab) signInAs(email string) {
	b.t.Helper()
	b.open("/sign-in")
	b.fill(`input[name="email"]`, email)
	b.fill(`input[name="password"]`, password)
	b.follow("sign in", clickOn(`//button[normalize-space()="Sign in"]`))
}
