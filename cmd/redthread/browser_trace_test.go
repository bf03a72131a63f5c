package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"redthread/tracestore/trace"
)

// selected is the key of the row that is selected, on the page.
const selected = `(document.querySelector('#waterfall [role="row"][aria-selected="true"]')?.dataset.key ?? "")`

// TestBrowserTrace reads the story's traces by the keys, and a trace of 10,000
// spans by scrolling.
func TestBrowserTrace(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	big := bigTrace(t, p, 10_000)
	p.createUser("ann@example.com", "Ann", "member")
	a := openTab(t, chrome, p, "A")
	a.signInAs("ann@example.com")

	readByKeys(t, a, s)
	scrollBig(t, a, big)
	a.leave()
	p.stop()
}

// readByKeys walks through the story with the keys of the trace page.
func readByKeys(t *testing.T, a *tab, s story) {
	page := "/t/" + s.request.String()
	a.open(page)
	a.until("all rows are drawn", fmt.Sprintf(`document.querySelectorAll('#waterfall [role="row"][data-key]').length === %d`, s.spans))
	wantSelected := func(key string, span fmt.Stringer) {
		t.Helper()
		a.key(key)
		a.until("after "+key+" the row is selected", selected+` === `+jsonText(span.String()))
		a.until("after "+key+" the address says so", `location.pathname === `+jsonText(page+"/"+span.String()))
		a.until("after "+key+" the panel shows it", `document.querySelector(".SpanPanel")?.dataset.span === `+jsonText(span.String()))
	}
	lateSpans(t, a, page, s.root.String(), spanID(0xa2).String())
	wantSelected("j", s.root)
	wantSelected("j", spanID(0xa2))
	wantSelected("j", spanID(0xa3))
	wantSelected("k", spanID(0xa2))

	// h folds, l opens again; the address keeps it over a reload.
	rows := `document.querySelectorAll('#waterfall [role="row"][data-key]').length`
	a.key("h")
	a.until("h folds", rows+` === 2`)
	if got := a.path(); !strings.Contains(got, "fold="+spanID(0xa2).String()) {
		t.Errorf("after folding the address is %s", got)
	}
	a.follow("reload", chromedp.Reload())
	a.until("the fold is there after a reload", rows+` === 2`)
	a.until("the selection is there after a reload", selected+` === `+jsonText(spanID(0xa2).String()))
	a.key("l")
	a.until("l opens", fmt.Sprintf("%s === %d", rows, s.spans))

	// / searches in the trace.
	a.key("/")
	a.until("/ goes to the search of the trace", `document.activeElement.id === "trace-search"`)
	a.write("sidekiq")
	a.until("one span matches", `document.querySelector('[data-part="matches"]').textContent.includes("1 match")`)
	if got := value[string](a, selected); got != spanID(0xa2).String() {
		t.Errorf("typing selects %q", got)
	}
	a.key("Enter")
	a.until("Enter goes to the match", selected+` === `+jsonText(s.publish.String()))
	a.until("the address has the search and the match", `new URLSearchParams(location.search).get("q") === "sidekiq" && location.pathname === `+jsonText(page+"/"+s.publish.String()))
	address := a.path()
	a.follow("reload", chromedp.Reload())
	a.until("the match is there after a reload", selected+` === `+jsonText(s.publish.String()))
	if got := a.path(); got != address {
		t.Errorf("the address is %s after a reload, want %s", got, address)
	}
	if got := value[string](a, `document.getElementById("trace-search").value`); got != "sidekiq" {
		t.Errorf("the search is %q after a reload", got)
	}

	// The publishing span leads to the job that it caused; o leads back from
	// the job to where it all began.
	a.until("the panel names the job", `[...document.querySelectorAll(".SpanLinks a")].some((e) => e.textContent === "PriceQuoteJob process")`)
	a.follow("go to the job", clickOn(`//*[contains(@class,"SpanLinks")]//a[normalize-space()="PriceQuoteJob process"]`))
	if got, want := value[string](a, `location.pathname`), "/t/"+s.job.String()+"/"+s.run.String(); got != want {
		t.Fatalf("the effect leads to %s, want %s", got, want)
	}
	page = "/t/" + s.job.String()
	wantSelected("]", s.failed)
	wantSelected("[", s.run)
	a.until("the panel has its origin", `document.querySelector('[data-part="origin"]') !== null`)
	a.follow("o for the origin", press("o", 0))
	if got, want := a.path(), "/thread/"+s.job.String()+"?span="+s.run.String(); got != want {
		t.Errorf("o leads to %s, want %s", got, want)
	}
	a.until("the thread begins with the request", `document.querySelector("h1").textContent.includes("POST /quotes")`)
}

// scrollBig scrolls through a trace of 10,000 spans.
func scrollBig(t *testing.T, a *tab, big trace.ID) {
	a.open("/t/" + big.String())
	count := `document.querySelectorAll('#waterfall [role="row"][data-key]').length`
	a.until("the page takes over", `document.querySelector('#waterfall [data-part="more"]') === null`)
	scroll := `document.querySelector('#waterfall [data-part="scroll"]')`
	a.until("all rows can be scrolled to", scroll+`.scrollHeight > 200000`)
	most := 0
	for _, at := range []float64{0.1, 0.37, 0.5, 0.99, 1, 0.2, 0} {
		value[float64](a, fmt.Sprintf(`%s.scrollTop = %s.scrollHeight * %v`, scroll, scroll, at))
		a.until(fmt.Sprintf("the rows at %v are drawn", at), fmt.Sprintf(`(() => {
				const box = %s.getBoundingClientRect();
				const rows = [...document.querySelectorAll('#waterfall [role="row"][data-key]')].map((r) => r.getBoundingClientRect());
				const inView = rows.filter((r) => r.bottom > box.top && r.top < Math.min(box.bottom, innerHeight));
				return inView.length > 10 && rows.some((r) => r.bottom > Math.min(box.bottom, innerHeight) - 60);
			})()`, scroll))
		most = max(most, value[int](a, count))
	}
	if most > 200 {
		t.Errorf("%d rows in the document, want at most 200 of 10,000", most)
	}
	a.key("]")
	a.until("] finds the first error", `document.querySelector('#waterfall [aria-selected="true"]')?.textContent.includes("step 999")`)
	a.until("the panel shows it", `document.querySelector(".SpanPanel-name")?.textContent === "step 999"`)
	t.Logf("at most %d of 10,000 rows in the document", most)
}

// TestBrowserExplore asks by the form, the cells and the chart. Each state is in
// the address, and the address brings it back.
func TestBrowserExplore(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	traffic(t, p, 600)
	p.createUser("ann@example.com", "Ann", "member")
	a := openTab(t, chrome, p, "A")
	a.signInAs("ann@example.com")

	query := func() url.Values {
		t.Helper()
		u, err := url.Parse(a.path())
		if err != nil || u.Path != "/explore" {
			t.Fatalf("the address is %s (%v)", a.path(), err)
		}
		return u.Query()
	}
	// groups are the values in the first column of the results.
	const groups = `[...document.querySelectorAll('[data-part="results"] tbody tr')].map((r) => r.cells[0].querySelector(".Table-text").textContent.trim()).sort()`
	newClause := func(param string) string { return `[data-clauses="` + param + `"] .Clause--new input` }

	// What is typed is completed from the columns there are; each says its type, how
	// many values it has and the most frequent of them.
	a.open("/explore")
	first := newClause("w")
	// offered are the choices as "name | note", the one that Enter takes with a star.
	const offered = `[...document.querySelectorAll(".Complete-option")].map((o) => (o.getAttribute("aria-selected") === "true" ? "*" : "") +
		o.querySelector(".Complete-name").textContent + " | " + o.querySelector(".Complete-note").textContent)`
	a.fill(first, "http.rou")
	a.until("the column is offered with what it holds", offered+`.some((c) => /^http\.route \| string · 5 values · (\/[^,]+, ){2}\/\S+$/.test(c))`)
	a.key("ArrowDown")
	a.until("the arrow picks it", offered+`[0].startsWith("*http.route |") && document.activeElement.getAttribute("aria-activedescendant") === document.querySelector(".Complete-option").id`)
	a.key("Enter")
	a.until("Enter inserts it, and how it compares is offered next", `document.activeElement.value === "http.route " && `+offered+`[0].startsWith("= |")`)
	a.key("ArrowDown")
	a.key("Enter")
	a.until("then its values with their rows", `document.activeElement.value === "http.route = " && `+offered+`.some((c) => /^\/quotes \| [\d,]+ rows$/.test(c))`)
	a.write("/quo")
	a.until("typing narrows them", offered+`.length === 1`)
	a.key("ArrowDown")
	a.key("Enter")
	a.until("the value is inserted", `document.activeElement.value === "http.route = /quotes" && document.querySelector(".Complete") === null`)
	if got := a.path(); got != "/explore" {
		t.Errorf("taking choices ran the query: %s", got)
	}
	a.key("Enter")
	a.until("Enter then runs", `new URLSearchParams(location.search).get("w") === "http.route = /quotes"`)

	// A calculated field: what is wrong is said at it, and other clauses know it.
	a.fill(newClause("f"), "slow = GT($duration_ms)")
	a.key("Enter")
	a.until("the fault is told at the field", `document.querySelector('[data-clauses="f"] .Clause-error')?.textContent.includes("GT")`)
	a.forgive() // the refusal
	a.fill(`[data-clauses="f"] .Clause--invalid input`, "slow = GT($duration_ms, 20)")
	a.key("Enter")
	a.until("corrected it runs", `document.querySelector('[data-clauses="f"] .is-text .Clause-text')?.textContent.replaceAll(" ", "") === "slow=GT($duration_ms,20)"`)
	// What is chosen before the other columns have come stays chosen when they come.
	a.holds("^/api/v1/columns")
	a.fill(newClause("g"), "slo")
	a.until("it is offered as a column", offered+`.includes("slow | calculated")`)
	a.key("ArrowDown")
	a.until("the arrow picks it", offered+`.includes("*slow | calculated")`)
	a.held(1)
	value[string](a, `document.querySelector(".Complete").dataset.before = "yes"`)
	a.gives()
	a.until("they have come, and the choice stands", `document.querySelector(".Complete")?.dataset.before === undefined && `+offered+`.includes("*slow | calculated") || `+offered+`.join()`)
	a.key("Enter")
	a.key("Enter")
	a.until("grouped by it", groups+`.join() === "true" || `+groups+`.join()`)

	a.open("/explore")
	value[string](a, `window.sameDocument = "yes"`)
	a.fill(newClause("g"), "http.route")
	a.key("Enter")
	a.until("grouped by route", groups+`.join() === "/cars,/cars/{id},/dealers,/offers,/quotes" || `+groups+`.join()`)
	if got := query()["g"]; !slices.Equal(got, []string{"http.route"}) {
		t.Errorf("g in the address is %q", got)
	}
	a.until("the clause is a chip", `document.querySelector('[data-clauses="g"] .is-text .Clause-text')?.textContent === "http.route"`)

	a.fill(newClause("v"), "P95(duration_ms)")
	a.key("Enter")
	a.until("there is a column of the 95th percentile", `[...document.querySelectorAll('[data-part="results"] thead th')].some((h) => h.textContent.includes("P95(duration_ms)"))`)
	a.fill(newClause("w"), "http.response.status_code >= 500")
	a.key("Enter")
	a.until("the filter is in the address", `new URLSearchParams(location.search).getAll("w").length === 1`)
	a.until("fewer rows match", `Number(document.querySelectorAll(".Answer-foot")[0].textContent.match(/([\d,]+) matched/)[1].replaceAll(",", "")) < 100`)

	// A clause that cannot be read says so and does not run.
	before := a.path()
	a.fill(newClause("w"), "duration_ms")
	a.key("Enter")
	a.until("the clause is marked", `document.querySelector('[data-clauses="w"] .Clause-error') !== null`)
	if got := a.path(); got != before {
		t.Errorf("a clause that cannot be read ran: %s", got)
	}
	a.key("Escape")
	if got := value[string](a, `window.sameDocument ?? "no"`); got != "yes" {
		t.Error("the page was loaded again")
	}

	// The address alone brings it all back.
	results := value[string](a, groups+`.join()`)
	a.open(before)
	a.until("the same groups after a reload", groups+`.join() === `+jsonText(results))
	if got := value[int](a, `document.querySelectorAll('[data-clauses] .is-text').length`); got != len(query()["v"])+len(query()["g"])+len(query()["w"]) {
		t.Errorf("%d chips for %s", got, a.path())
	}

	// A cell filters.
	a.open("/explore?v=COUNT&g=http.route")
	cell := `//td[@data-column="http.route"][normalize-space(span[@class="Table-text"])="/quotes"]`
	a.do("point at the cell", chromedp.ScrollIntoView(chromedp.Search(cell)))
	a.do("open the cell's menu", chromedp.Focus(chromedp.Search(cell+`//button`)), press("Enter", 0))
	a.click(`//*[@role="menuitem"][normalize-space()="Only rows with this"]`)
	a.until("only this route is left", groups+`.join() === "/quotes" || `+groups+`.join()`)
	if got := query()["w"]; !slices.Equal(got, []string{"http.route = /quotes"}) {
		t.Errorf("w in the address is %q", got)
	}
	a.do("go back", chromedp.NavigateBack())
	a.until("back has all routes", groups+`.length === 5`)

	// A stretch of the chart zooms.
	a.until("the chart is live", `document.querySelector(".Chart .u-over")?.clientWidth > 100`)
	a.do("show the chart", chromedp.ScrollIntoView(chromedp.CSS(".Chart .u-over")))
	at := a.box(".Chart .u-over")
	y := at.Y + at.H/2
	a.do("drag over the chart", chromedp.DragAndDropXY(at.X+at.W*0.3, y, at.X+at.W*0.6, y))
	a.click(`//button[normalize-space()="Zoom"]`)
	a.until("the time range is in the address", `new URLSearchParams(location.search).has("from") && new URLSearchParams(location.search).has("to")`)
	if got := query(); got.Get("range") != "" {
		t.Errorf("after zooming the address still has range=%s", got.Get("range"))
	}

	// A box on the heatmap is compared with the rest, and a value of it filters.
	a.open("/explore?v=HEATMAP(duration_ms)&v=COUNT&range=1h")
	const plot = `.Chart--heat [data-part="plot"]`
	a.until("the heatmap is there", `document.querySelector('`+plot+`')?.clientWidth > 100`)
	a.do("show the heatmap", chromedp.ScrollIntoView(chromedp.CSS(plot)))
	at = a.box(plot)
	a.do("drag a box", chromedp.DragAndDropXY(at.X+2, at.Y+2, at.X+at.W-2, at.Y+at.H*0.4))
	a.click(`//button[normalize-space()="BubbleUp"]`)
	a.until("the comparison", `document.querySelectorAll(".BubbleUp .BubbleCard").length > 3`)
	if got := query(); got.Get("tab") != "bubbleup" || len(got["s"]) != 2 || got.Has("range") {
		t.Errorf("after comparing the address is %s", a.path())
	}
	a.until("the box is drawn", `document.querySelector(".Chart-selected") !== null`)
	value[bool](a, `(document.querySelector("a.BubbleTable-text").click(), true)`)
	a.until("the value filters and the selection is gone", `(() => { const q = new URLSearchParams(location.search); return q.getAll("w").length === 1 && !q.has("s") && !q.has("tab"); })()`)
	a.do("go back", chromedp.NavigateBack())
	a.until("back has the comparison", `document.querySelector(".BubbleUp .BubbleCard") !== null`)
	lateAnswer(a)
	a.leave()
	p.stop()
}
