package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

func containsAll(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func said(text string) string {
	return `document.querySelector("#timeline").textContent.includes(` + jsonText(text) + `)`
}

// comes has an entry come to the timeline of the page, and waits until it is drawn,
// or no more than fetched.
func (b *tab) comes(text, board string, drawn bool) {
	b.t.Helper()
	value[string](b, `performance.clearResourceTimings() ?? ""`)
	inPage[any](b, "POST", "/api/v1/investigations/"+board+"/timeline", map[string]any{"text": text})
	if drawn {
		b.until("the timeline has "+text, said(text))
		return
	}
	b.until("the timeline was fetched", `performance.getEntriesByType("resource").some((r) => r.name.includes("/timeline") && !r.name.includes("/api/") && r.responseEnd > 0)`)
	b.until("frames go by", `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
	if value[bool](b, said(text)) {
		b.fatalf("the timeline was drawn under a press")
	}
}

// TestBrowserAnnotations has two people talk about a span: a reply that names the
// other, a reaction, an edit with its history, an end; on its trace they read it
// too. Then they look at the board as it was.
func TestBrowserAnnotations(t *testing.T) {
	chrome := chromium(t)
	p := start(t, t.TempDir())
	s := tell(t, p)
	ann, bob := openTab(t, chrome, p, "Ann"), openTab(t, chrome, p, "Bob")
	ann.becomeAdmin(p, "ann@example.com", "Ann")
	p.createUser("bob@example.com", "Bob", "member")
	bob.signInAs("bob@example.com")
	var made investigationState
	if got := p.api("POST", "/api/v1/investigations", map[string]any{"title": "Price list was read",
		"pin": map[string]any{"kind": "span", "trace_id": s.job.String(), "span_id": s.failed.String()}}, &made); got != 201 {
		t.Fatalf("open an investigation: status %d", got)
	}
	if got := p.api("POST", "/api/v1/markers", map[string]any{"type": "deploy", "message": "7f3c1e9d"}, nil); got != 201 {
		t.Fatalf("put a marker: status %d", got)
	}
	board := "/i/" + made.ID
	for _, b := range []*tab{ann, bob} {
		b.open(board)
		b.until("the page is connected", `document.querySelector(".Investigation").dataset.live === "on"`)
	}

	// Ann remarks on the pin; Bob replies and names her, reacts, and resolves.
	ann.click(".Block--span .Block-remark > summary")
	ann.fill(".Block--span .Block-remark textarea", "The list is read for every quote.")
	ann.click(".Block--span .Block-remark button")
	remark := `.Block--span .Annotations > .Annotation-thread`
	bob.until("Bob reads the remark", `document.querySelector(`+jsonText(remark)+`)?.textContent.includes("for every quote") ?? false`)
	bob.click(remark + ` .Annotation-reply > summary`)
	// Whom he can name is offered: Escape leaves it, Enter takes it.
	bob.fill(remark+` .Annotation-reply textarea`, "Since which build, @a")
	offered := `document.querySelector('.Mentions [aria-selected="true"] .Mentions-name')?.textContent === "Ann" && document.activeElement.role === "combobox"
		&& document.activeElement.getAttribute("aria-activedescendant") === document.querySelector('.Mentions [aria-selected="true"]').id`
	bob.until("Ann is offered", offered)
	bob.key("Escape")
	bob.until("the list is gone", `document.querySelector(".Mentions") === null && document.activeElement.role !== "combobox"`)
	bob.write("n")
	bob.until("Ann is offered again", offered)
	bob.key("ArrowDown")
	bob.key("Enter")
	bob.until("her name stands there", `document.activeElement.value === "Since which build, @Ann " && document.querySelector(".Mentions") === null`)
	bob.click(remark + ` .Annotation-reply button`)
	ann.until("Ann reads the reply below it", `document.querySelector(`+jsonText(remark+" .Annotation-replies")+`)?.textContent.includes("Since which build") ?? false`)
	ann.until("Ann's inbox counts up", `parseInt(document.getElementById("inbox-badge").textContent) === 1`)
	bob.until("Bob sees his own reply", `document.querySelector(`+jsonText(remark+" .Annotation-replies")+`) !== null`)
	bob.click(remark + ` > .Annotation .Annotation-react > summary`)
	bob.click(remark + ` > .Annotation button[value="agree"]`)
	count := `(document.querySelector(` + jsonText(remark+` > .Annotation button[value="agree"] .Reaction-count`) + `)?.textContent ?? "none")`
	ann.until("Ann sees the reaction", count+` === "1"`)
	ann.click(remark + ` > .Annotation button[value="agree"]`)
	bob.until("both agree", count+` === "2"`)

	// Ann edits; the history has both texts.
	ann.until("Ann sees both agree", count+` === "2"`)
	ann.click(remark + ` > .Annotation .Annotation-editor > summary`)
	ann.fill(remark+` > .Annotation .Annotation-editor textarea`, "The whole list is read for each quote.")
	ann.click(remark + ` > .Annotation .Annotation-editor button`)
	bob.until("Bob reads the new text", `document.querySelector(`+jsonText(remark)+`).textContent.includes("for each quote")`)
	bob.follow("read its history", clickOn(remark+` > .Annotation a[href$="/history"]`))
	if got := bob.text(".Versions"); !containsAll(got, "for each quote", "for every quote", "Version 2", "Version 1") {
		t.Errorf("the history: %s", got)
	}

	// The trace shows the same, and its row a mark; Bob resolves it there.
	bob.open("/t/" + s.job.String() + "/" + s.failed.String())
	bob.until("the panel shows the thread", `document.querySelector("#span-annotations .Annotation-replies")?.textContent.includes("Since which build") ?? false`)
	mark := fmt.Sprintf(`document.querySelector('[data-key=%q] [data-part="remarks"]')`, s.failed.String())
	bob.until("the row has a mark", mark+`.hidden === false && `+mark+`.textContent === "2"`)
	bob.until("the page takes keys", `document.querySelector(".Trace").hasAttribute("data-mounted")`)
	if got := p.api("POST", "/api/v1/annotations", map[string]any{"ref": "row", "anchor": map[string]any{"trace_id": s.job.String(), "span_id": s.failed.String()}, "text": "Written elsewhere."}, nil); got != 201 {
		t.Fatalf("annotate the span: status %d", got)
	}
	bob.until("the row counts what is written elsewhere", mark+`.textContent === "3"`)
	bob.until("and the panel has it", `document.querySelector("#span-annotations")?.textContent.includes("Written elsewhere.") ?? false`)
	bob.click(`#span-annotations form[data-form="resolve"] button`)
	bob.until("it is resolved there", `document.querySelector("#span-annotations .Annotation-ended") !== null`)
	ann.until("and on Ann's board", `document.querySelector(".Block--span .Annotation-ended")?.textContent.includes("resolved by Bob") ?? false`)

	// What is half written there stays when he looks elsewhere.
	bob.fill(`#span-annotations [data-part="annotate-text"]`, "Half a thought")
	bob.open("/jobs")
	bob.open("/t/" + s.job.String() + "/" + s.failed.String())
	bob.until("it is there again", `document.querySelector('#span-annotations [data-part="annotate-text"]')?.value === "Half a thought"`)
	// Who signs out leaves it to nobody: the form is sent, but not answered here.
	value[bool](bob, `(() => {
		const form = document.querySelector('form[action="/sign-out"]');
		form.addEventListener("submit", (e) => e.preventDefault());
		form.requestSubmit();
		return true;
	})()`)
	bob.open("/t/" + s.job.String() + "/" + s.failed.String())
	bob.until("the page is whole", `document.querySelector(".Trace").hasAttribute("data-mounted")`)
	if got := value[string](bob, `document.querySelector('#span-annotations [data-part="annotate-text"]').value`); got != "" {
		t.Errorf("after signing out the tab still has %q", got)
	}
	// Nor does whoever's session ended by itself.
	bob.fill(`#span-annotations [data-part="annotate-text"]`, "Half a thought")
	value[bool](bob, `(sessionStorage.setItem("redthread:whose", "u_somebody"), true)`)
	bob.open("/t/" + s.job.String() + "/" + s.failed.String())
	bob.until("the page is whole", `document.querySelector(".Trace").hasAttribute("data-mounted")`)
	if got := value[string](bob, `document.querySelector('#span-annotations [data-part="annotate-text"]').value`); got != "" {
		t.Errorf("of somebody else the tab still has %q", got)
	}

	// The timeline has the deploy, and an entry by hand; the board is replayed.
	ann.until("the deploy is on the timeline", `document.querySelector(".Timeline-entry--deploy")?.textContent.includes("7f3c1e9d") ?? false`)
	ann.click(".Timeline-add > summary")
	ann.fill(`.Timeline-add input[name="text"]`, "Called the vendor")
	ann.click(".Timeline-add button")
	ann.until("the entry is there", `[...document.querySelectorAll(".Timeline-entry")].some((e) => e.textContent.includes("Called the vendor"))`)

	// What comes while Ann presses something takes nothing away from under her, and
	// not the focus either.
	ann.until("the form of the new entry is closed", `!document.querySelector(".Timeline-add").open`)
	ann.do("the focus is on an entry", chromedp.Focus(chromedp.CSS(`.Timeline-entry--deploy [data-entry-edit]`), chromedp.NodeVisible))
	ann.comes("While nothing is pressed", made.ID, true)
	ann.until("the focus is there after the timeline was drawn anew", `document.activeElement.matches(".Timeline-entry--deploy [data-entry-edit]") || document.activeElement.outerHTML.slice(0, 200)`)
	at := ann.box(".Timeline-entry--deploy [data-entry-edit]")
	mouse := input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMousePressed, X: at.X + at.W/2, Y: at.Y + at.H/2, Button: input.MouseButtonLeft, ClickCount: 1}
	call(ann, input.DispatchMouseEvent, mouse)
	ann.comes("While Ann presses", made.ID, false)
	mouse.Type = input.DispatchMouseEventTypeMouseReleased
	call(ann, input.DispatchMouseEvent, mouse)
	ann.until("her click was heard", `document.querySelector(".Timeline-entry--deploy [data-entry-form] textarea") !== null`)
	ann.until("and what came is there", said("While Ann presses"))
	ann.do("write on the entry", chromedp.Focus(chromedp.CSS(`.Timeline-entry--deploy textarea`), chromedp.NodeVisible))
	ann.write("half")
	ann.comes("While Ann writes", made.ID, true)
	ann.write("way")
	if got := value[string](ann, `document.querySelector(".Timeline-entry--deploy [data-entry-form] textarea").value`); !strings.Contains(got, "halfway") {
		t.Errorf("what Ann wrote while it was drawn anew: %q", got)
	}

	// Headings say the days of the zone of who reads: here, one begins at 10:00 UTC.
	call(ann, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Pacific/Kiritimati"})
	for _, at := range []string{"2025-02-01T09:30:00Z", "2025-02-01T10:30:00Z"} {
		happened, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		inPage[any](ann, "POST", "/api/v1/investigations/"+made.ID+"/timeline", map[string]any{"text": "At " + at, "happened_unix_nano": strconv.FormatInt(happened.UnixNano(), 10)})
	}
	ann.until("each stands below its day", `[...document.querySelector("#timeline").children].slice(0, 4).map((e) => e.querySelector("h3, time").textContent).join() === "Sat 1 Feb 2025,23:30,Sun 2 Feb 2025,00:30"`)
	call(ann, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: ""})

	ann.open(board + "?at=3")
	if got := ann.text(".Board"); !containsAll(got, "for every quote") {
		t.Errorf("the board at change 3: %s", got)
	}
	if got := value[int](ann, `document.querySelectorAll(".Investigation textarea, .Investigation input:not([type=hidden], [type=range])").length`); got != 0 {
		t.Errorf("%d fields to write into the past", got)
	}
	ann.until("the slider is ready", `document.querySelector('.Replay [data-js="replay"]').hasAttribute("data-mounted")`)
	ann.follow("the change before", clickOn(`.Replay a[aria-label="The change before"]`))
	if got := value[string](ann, `new URLSearchParams(location.search).get("at") + " " + document.querySelectorAll(".Annotation").length`); got != "2 0" {
		t.Errorf("the change before: offset and remarks %q, want 2 and none", got)
	}
	ann.follow("back to now", clickOn(".Replay-now"))
	ann.until("it is live again", `document.querySelector(".Investigation").dataset.live === "on"`)

	// Both have the span open: what one writes in an investigation the other reads
	// at once, and not any more once it is closed to him.
	other := inPage[investigationState](ann, "POST", "/api/v1/investigations", map[string]any{"title": "Another"})
	for _, b := range []*tab{ann, bob} {
		b.open("/t/" + s.job.String() + "/" + s.failed.String())
		b.until("the page takes keys", `document.querySelector(".Trace").hasAttribute("data-mounted")`)
	}
	ann.sees("Bob")
	bob.sees("Ann")
	inPage[any](ann, "POST", "/api/v1/annotations", map[string]any{"text": "Written while both look.",
		"anchor": map[string]any{"investigation_id": other.ID, "trace_id": s.job.String(), "span_id": s.failed.String()}})
	for _, b := range []*tab{ann, bob} {
		b.until("both read it", `document.querySelector("#span-annotations").textContent.includes("while both look")`)
	}
	inPage[any](ann, "PATCH", "/api/v1/investigations/"+other.ID, map[string]any{"visibility": "private", "seen": p.investigation(other.ID).Offset})
	bob.until("Bob reads it no more", `!document.documentElement.textContent.includes("while both look")`)
	if got := ann.text("#span-annotations"); !containsAll(got, "while both look") {
		t.Errorf("Ann reads %s", got)
	}
}
