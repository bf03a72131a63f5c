package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"redthread/tracestore/trace"
)

const (
	mapBars  = `document.querySelectorAll('[data-part="map"] [data-part="bar"]').length`
	mapFolds = `[...document.querySelectorAll('[data-part="fold"]')].map((e) => e.textContent).join("|")`
	panelOf  = `(document.querySelector('[data-part="panel"] h2')?.textContent.trim() ?? "")`
	redWays  = `document.querySelectorAll('[data-part="map"] .ThreadCurve--path').length`
)

// TestBrowserThread reads a thread by links without scripts, and by its keys.
func TestBrowserThread(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	w := storm{jobs: 40, spans: 3, perSend: 40, start: time.Now().Add(-time.Minute).UnixNano(), every: 20e6, failEach: 15}
	brew(t, p, w)
	mail := stormTrace(w.start, 2, 10)
	eventually(t, patience, "the last mail is findable", func() error {
		if p.spanCount(stormTrace(w.start, 2, 30)) == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	p.createUser("ann@example.com", "Ann", "member")
	a := openTab(t, chrome, p, "A")
	a.signInAs("ann@example.com")
	readThreadByKeys(t, a, w, mail)
	a.withoutScripts()
	readThreadByLinks(t, a, w)
	a.leave()
	p.stop()
}

func readThreadByKeys(t *testing.T, a *tab, w storm, mail trace.ID) {
	// From a mail to the request behind it.
	a.open("/thread/" + mail.String() + "?span=" + spanID(1).String())
	a.until("the thread is that of the request", `document.querySelector("h1").textContent.includes("Thread of POST /imports")`)
	a.until("the module runs", `document.querySelector('[data-js="thread"]').hasAttribute("data-mounted")`)
	a.until("the mail is selected", panelOf+` === "Mail"`)
	if got := value[int](a, mapBars); got != 3 {
		t.Errorf("%d bars, want the request, the jobs and the mails", got)
	}
	if got := value[string](a, mapFolds); !strings.Contains(got, "×40 · min 5 ms") || !strings.Contains(got, "×4 · 3 ms each") {
		t.Errorf("folds: %s", got)
	}
	if got, want := value[string](a, `document.querySelector('[data-part="sentence"]').textContent.replace(/\s+/g, " ").trim()`),
		"POST /imports by user 81723 in web-uk → SyncCar ×40 in worker-uk"; !strings.HasPrefix(got, want) {
		t.Errorf("the sentence is %q, want %q …", got, want)
	}
	if got := value[int](a, redWays); got != 2 {
		t.Errorf("%d red ways, want the two from the request to the mail", got)
	}

	lateLegs(t, a)
	// o, j and k select; the address keeps it.
	a.key("o")
	a.until("o selects the origin", panelOf+` === "POST /imports"`)
	a.key("j")
	a.until("j selects a job", panelOf+` === "SyncCar"`)
	if got := a.path(); !strings.Contains(got, "sel=") {
		t.Errorf("the address after j is %s", got)
	}
	// l unfolds, h folds.
	a.key("l")
	a.until("l unfolds the jobs", mapBars+` === 43`)
	a.follow("reload", chromedp.Reload())
	a.until("the fold is open after a reload", mapBars+` === 43`)
	a.until("and the job selected", panelOf+` === "SyncCar"`)
	a.until("the module runs again", `document.querySelector('[data-js="thread"]').hasAttribute("data-mounted")`)
	// ] goes to the next that failed.
	a.key("]")
	a.until("] goes to a failed one", `document.querySelector('[data-part="bar"][aria-current]')?.closest("[data-row]").dataset.failed === "true"`)
	// z zooms to it, 0 shows all again.
	a.key("z")
	a.until("z zooms", `new URLSearchParams(location.search).has("zoom") && document.querySelector('[data-zoom="all"]') !== null`)
	a.key("0")
	a.until("0 shows all", `!new URLSearchParams(location.search).has("zoom") && document.querySelector('[data-zoom="all"]') === null`)
	a.key("e")
	a.until("e goes on to what it set off, or stays where nothing is", panelOf+` !== ""`)
	a.key("o")
	a.until("o goes back", panelOf+` === "POST /imports"`)
	a.key("e")
	a.until("e goes to the first of what it set off", `document.activeElement.matches("[data-effect] [data-part=bar]")`)
	a.key("o")
	a.until("o goes back again", panelOf+` === "POST /imports" && document.activeElement === document.querySelector("[data-part=bar]")`)
	a.key("j")
	a.until("j selects the jobs", panelOf+` === "SyncCar"`)
	a.key("h")
	a.until("h folds the jobs", mapBars+` === 3`)
	value[bool](a, `(history.back(), true)`)
	a.until("back unfolds them", mapBars+` === 43`)
	// Enter opens the trace.
	a.key("o")
	a.until("o goes back", panelOf+` === "POST /imports"`)
	a.follow("Enter", press("Enter", 0))
	a.until("Enter opens the trace", `location.pathname.startsWith(`+jsonText("/t/"+w.root().TraceID.String())+`)`)
}

func readThreadByLinks(t *testing.T, a *tab, w storm) {
	a.open("/thread/" + w.root().TraceID.String())
	a.follow("unfold", clickOn(`[data-part="fold"]`))
	if got := value[int](a, mapBars); got != 43 {
		t.Errorf("without scripts %d bars after unfolding, want 43", got)
	}
	a.follow("critical path", clickOn(`.Thread-actions [data-part="go"]`))
	if got := value[int](a, `document.querySelectorAll("rect.ThreadBar-critical").length`); got < 3 {
		t.Errorf("without scripts the critical path has %d marks", got)
	}
	a.follow("table", clickOn(`.Thread-views a:last-child`))
	a.follow("sort", clickOn(`.Thread-sort[href*="sort=-took"]`))
	if got := value[string](a, `document.querySelector("[aria-sort]").textContent.trim().slice(0, 4)`); got != "Took" {
		t.Errorf("without scripts the table is sorted by %q", got)
	}
}

// TestBrowserStorm opens a thread too large to be drawn: it is folded, tells how
// many there are, and can be unfolded by pages.
func TestBrowserStorm(t *testing.T) {
	chrome := chromium(t)
	w := storm{jobs: 3_000, spans: 3, perSend: 1, start: time.Now().Add(-time.Minute).UnixNano(), every: 3e6, failEach: 300}
	if soak() {
		w.jobs, w.spans = 100_000, 10
	}
	p := start(t, t.TempDir())
	brew(t, p, w)
	p.createUser("ann@example.com", "Ann", "member")
	a := openTab(t, chrome, p, "A")
	a.signInAs("ann@example.com")
	page := "/thread/" + w.root().TraceID.String()
	eventually(t, patience, "all of it is counted", func() error {
		a.open(page)
		if got, want := value[string](a, mapFolds), fmt.Sprintf("×%s · ", count(w.jobs)); !strings.Contains(got, want) || !strings.Contains(got, "×"+count(w.mails())+" · ") {
			return fmt.Errorf("folds %s, want %s", got, want)
		}
		return nil
	})
	if n := value[int](a, `document.querySelectorAll('[data-part="map"] *').length`); n > 400 {
		t.Errorf("the folded map has %d elements", n)
	}
	a.until("the module runs", `document.querySelector('[data-js="thread"]').hasAttribute("data-mounted")`)
	a.key("j")
	a.until("j selects the request", panelOf+` === "POST /imports"`)
	a.key("j")
	a.until("j selects a job", panelOf+` === "SyncCar"`)
	a.key("l")
	a.until("l unfolds a page of the jobs", mapBars+` === 53`)
	a.click(`[data-part="go"][href*="slowest"]`)
	a.until("they can be sorted", `document.querySelector('[aria-current="true"] .ThreadMap-link--current')?.textContent === "slowest first"`)
	a.leave()
	if soak() {
		t.Logf("peak memory %d MB", rssPeak(t, p.cmd.Process.Pid)>>20)
	}
	p.stop()
}

// count is a number as the page writes it.
func count(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", count(n/1000), n%1000)
}

// rssNow is the memory that a process takes; its peak begins anew.
func rssNow(b testing.TB, pid int) int64 {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		b.Skipf("the peak of memory cannot be measured here: %v", err)
	}
	return rssPeak(b, pid)
}

// BenchmarkStormPage asks a server of its own for the page of a thread of a
// million spans in 110,000 traces, and measures how much memory a page takes
// beyond what the server has.
func BenchmarkStormPage(b *testing.B) {
	for _, perSend := range []int{1, 100} {
		b.Run(fmt.Sprintf("jobs=100000/perSend=%d", perSend), func(b *testing.B) {
			p := start(b, b.TempDir())
			w := storm{jobs: 100_000, spans: 10, perSend: perSend, start: time.Now().Add(-time.Minute).UnixNano(), every: 300e3, failEach: 300}
			brew(b, p, w)
			req, err := http.NewRequest(http.MethodGet, p.url+"/thread/"+w.root().TraceID.String(), nil)
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+p.admin())
			slowest, memory := time.Duration(0), int64(0)
			for b.Loop() {
				quiet := rssNow(b, p.cmd.Process.Pid)
				asked := time.Now()
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), "×100,000") {
					b.Fatalf("%s: %d, %v", req.URL, res.StatusCode, err)
				}
				res.Body.Close()
				slowest, memory = max(slowest, time.Since(asked)), max(memory, rssPeak(b, p.cmd.Process.Pid)-quiet)
			}
			b.StopTimer()
			b.ReportMetric(float64(slowest.Milliseconds()), "ms-slowest")
			b.ReportMetric(float64(memory>>20), "MB-peak")
			p.stop()
		})
	}
}

// paintWatch notes when the picture of a thread stood on the screen: the frame
// after the one in which its bars were there.
const paintWatch = `(() => {
	const there = () => document.querySelector('[data-part="map"] .ThreadBar-body') !== null;
	const look = () => there() ? requestAnimationFrame(() => requestAnimationFrame(() => { window.paintedAt = performance.now(); })) : requestAnimationFrame(look);
	look();
})()`

// paints is what the browser tells of how a page came, in ms from the start of the
// navigation.
type paints struct{ First, Last, Contentful, Picture, Elements float64 }

// TestStormPaint opens the page of a thread of a million spans in 110,000 traces
// in Chromium, in a new profile and again, and prints when its picture stands on the
// screen, and what the server needs for it beyond what it holds.
func TestStormPaint(t *testing.T) {
	liveBench(t)
	chrome := chromium(t)
	p := start(t, t.TempDir())
	w := storm{jobs: envInt("REDTHREAD_TRACES", 100_000), spans: 10, perSend: envInt("REDTHREAD_PER_SEND", 1), start: time.Now().Add(-time.Minute).UnixNano(), every: 300e3, failEach: 300}
	brew(t, p, w)
	p.createUser("ann@example.com", "Ann", "member")
	page := "/thread/" + w.root().TraceID.String()
	for round := range 3 { // each a new profile
		a := openTab(t, chrome, p, "A")
		a.signInAs("ann@example.com")
		call(a, devtools.AddScriptToEvaluateOnNewDocument, devtools.AddScriptToEvaluateOnNewDocumentParams{Source: paintWatch})
		var pictures, answers []float64
		memory := int64(0)
		for again := range 10 {
			a.open("/settings/about")
			quiet := rssNow(t, p.cmd.Process.Pid)
			a.open(page)
			a.until("the picture is painted", `window.paintedAt > 0`)
			memory = max(memory, rssPeak(t, p.cmd.Process.Pid)-quiet)
			got := value[paints](a, `(() => {
				const nav = performance.getEntriesByType("navigation")[0];
				return { First: nav.responseStart, Last: nav.responseEnd, Contentful: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0, Picture: window.paintedAt, Elements: document.querySelectorAll("*").length };
			})()`)
			if text := value[string](a, mapFolds); !strings.Contains(text, "×"+count(w.jobs)+" · ") {
				t.Fatalf("the folds say %s, want ×%s", text, count(w.jobs))
			}
			if again == 0 {
				t.Logf("profile %d, first time: answer begins %.0f ms, ends %.0f ms; first contentful paint %.0f ms, picture %.0f ms; %.0f elements", round, got.First, got.Last, got.Contentful, got.Picture, got.Elements)
				continue
			}
			pictures, answers = append(pictures, got.Picture), append(answers, got.Last)
		}
		slices.Sort(pictures)
		slices.Sort(answers)
		n := len(pictures)
		t.Logf("profile %d, again: answer p50 %.0f ms, slowest %.0f ms; picture p50 %.0f ms, slowest %.0f ms; server %d MB over what it held", round, answers[n/2], answers[n-1], pictures[n/2], pictures[n-1], memory>>20)
		a.leave()
	}
	p.stop()
}
