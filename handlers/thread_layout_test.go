package handlers

import (
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/seeds"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
)

// testLeg makes a leg; times in ms.
func testLeg(cause int, service, name string, work graph.Work, start, length int64) graph.Leg {
	const base = int64(1e18)
	return graph.Leg{SpanInfo: graph.SpanInfo{Ref: trace.Ref{TraceID: trace.ID{byte(start >> 8), byte(start), byte(cause + 1), 1}, SpanID: spanID(1)}, Service: service, Name: name},
		Work: work, Cause: cause, By: graph.KindLink, Rule: graph.RuleSpanLink, StartUnixNano: base + start*1e6, DurationNano: length * 1e6, BusyNano: length * 1e6, Spans: 1}
}

// jobThread is a request that sends a message to two services; one enqueues a
// job that enqueues itself twice over, and one of these fails.
func jobThread() *graph.Thread {
	legs := []graph.Leg{
		testLeg(-1, "web", "POST /quotes", graph.WorkRequest, 0, 100),
		testLeg(0, "worker", "process quotes", graph.WorkMessage, 140, 20),
		testLeg(0, "indexer", "process quotes", graph.WorkMessage, 150, 10),
		testLeg(1, "worker", "Recalculate process", graph.WorkJob, 200, 60),
		testLeg(3, "worker", "Recalculate process", graph.WorkJob, 300, 50),
		testLeg(3, "worker", "Recalculate process", graph.WorkJob, 310, 70),
	}
	for i := range legs {
		legs[i].Depth = min(i, 3)
		if legs[i].Work == graph.WorkJob {
			legs[i].Topic = "Recalculate"
		}
	}
	for _, i := range []int{1, 2} {
		legs[i].Topic, legs[i].WaitNano = "quotes.created", 40e6
		legs[i].From = graph.SpanInfo{Ref: trace.Ref{TraceID: legs[0].TraceID, SpanID: spanID(7)}}
	}
	legs[5].Errors, legs[5].Inferred = 1, true
	for i := range legs {
		legs[i].FirstAttempt, legs[i].Fold = -1, -1
	}
	origin := graph.OriginSpan{SpanInfo: legs[0].SpanInfo, StartUnixNano: legs[0].StartUnixNano}
	return &graph.Thread{Origin: &origin, Status: graph.Found, Legs: legs, Ripple: graph.Ripple{Traces: 6, Messages: 4, Jobs: 3, Errors: 1, BusyNano: 310e6, WaitingNano: 80e6, LastEffectNano: 380e6}}
}

func TestThreadGroups(t *testing.T) {
	th := jobThread()
	g := newGrouping(th, false)
	var got []string
	for _, g := range g.groups {
		got = append(got, fmt.Sprintf("%d %s/%s ×%d failed %d of %d", g.parent, g.service, g.name, g.runs, g.failed, g.size))
	}
	want := []string{"-1 web/POST /quotes ×1 failed 0 of 6", "0 worker/process quotes ×1 failed 0 of 4", "0 indexer/process quotes ×1 failed 0 of 1",
		"1 worker/Recalculate ×1 failed 0 of 3", "3 worker/Recalculate ×2 failed 1 of 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 4}, g.of); diff != "" {
		t.Errorf("group of each leg (-want +got):\n%s", diff)
	}
	mail := testLeg(0, "mail", "deliver", graph.WorkJob, 500, 5)
	mail.FirstAttempt, mail.Fold = -1, -1
	th.Legs = append(th.Legs, mail)
	more := newGrouping(th, false)
	for i, g := range g.groups {
		if more.groups[i].id != g.id {
			t.Errorf("group %d is called %s, and %s once the thread has grown", i, g.id, more.groups[i].id)
		}
	}
}

// A fold counts with the legs that are examples of it, once.
func TestThreadGroupsWithFolds(t *testing.T) {
	c := caseHuge(false)
	th, _, _ := c.thread(t)
	g := newGrouping(th, false)
	if th.Folded == 0 || len(g.groups) != 4 {
		t.Fatalf("%d groups, %d folded; want 4 and many", len(g.groups), th.Folded)
	}
	jobs := &g.groups[2]
	if jobs.name != "SyncCar" || jobs.runs != 1200 || jobs.failed != 33 || jobs.least != 20*1e6 || jobs.most != 419*1e6 || g.groups[3].runs != 400 {
		t.Errorf("jobs: %d runs of %s, %d failed, %d to %d; below %d; want 1200 of SyncCar, 33, 20 to 419 ms, 400", jobs.runs, jobs.name, jobs.failed, jobs.least, jobs.most, g.groups[3].runs)
	}
	units := g.units(jobs, graph.BySlowest)
	if len(units) != 1200 {
		t.Fatalf("%d members, want 1200", len(units))
	}
	for i := 1; i < len(units); i++ {
		if g.took(&units[i]) > g.took(&units[i-1]) {
			t.Fatalf("member %d took longer than the one before", i)
		}
	}
	for i, u := range g.units(jobs, graph.ByFailed)[:34] {
		if (g.errors(&u) > 0) != (i < 33) {
			t.Errorf("failed first: member %d has %d errors", i, g.errors(&u))
		}
	}
}

// A job that sets off itself for ever is a few rows and not thousands.
func TestThreadGroupsOfChains(t *testing.T) {
	c := caseCut()
	c.options = graph.Options{}
	th, _, _ := c.thread(t)
	g := newGrouping(th, false)
	if len(g.groups) != 2+maxRepeats {
		t.Fatalf("%d groups, want %d", len(g.groups), 2+maxRepeats)
	}
	if last := &g.groups[len(g.groups)-1]; last.runs != 60-maxRepeats+1 || last.deep != 60-maxRepeats {
		t.Errorf("the last has %d runs, deep %d; want %d", last.runs, last.deep, 60-maxRepeats+1)
	}
	// What each of them sets off stands in one row too, which did not set off itself.
	for _, between := range []bool{false, true} { // whether the way to the next leads over it
		legs := []graph.Leg{testLeg(-1, "web", "POST /quotes", graph.WorkRequest, 0, 10)}
		for i := range 60 {
			last := len(legs) - 1
			if i > 0 && !between {
				last--
			}
			legs = append(legs, testLeg(last, "worker", "Again", graph.WorkJob, int64(i)*20, 10))
			legs = append(legs, testLeg(len(legs)-1, "worker", "Mail", graph.WorkJob, int64(i)*20+10, 10))
		}
		for i := range legs {
			legs[i].FirstAttempt, legs[i].Fold = -1, -1
			if cause := legs[i].Cause; cause >= 0 {
				legs[i].Depth = legs[cause].Depth + 1
			}
		}
		deep := map[string]int{}
		for _, grp := range newGrouping(&graph.Thread{Legs: legs}, false).groups {
			deep[grp.name] = max(deep[grp.name], grp.deep)
		}
		if deep["Again"] != 60-maxRepeats || deep["Mail"] != 0 {
			t.Errorf("between %v: set off itself %v deep, want Again %d, Mail 0", between, deep, 60-maxRepeats)
		}
	}
}

func toldOf(th *graph.Thread, selected int, who string) string {
	g := newGrouping(th, false)
	return sentenceText(threadSentence(g, told(g, selected), who, func(int) string { return "" }))
}

func TestThreadSentence(t *testing.T) {
	if got, want := toldOf(jobThread(), -1, "user 81723"), "POST /quotes by user 81723 in web → message quotes.created (waited 40 ms) → process quotes in worker → Recalculate ×3 set off itself 1 deep (1 failed) and 1 other branch"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := toldOf(jobThread(), 2, ""), "POST /quotes in web → message quotes.created (waited 40 ms) → process quotes in indexer and 1 other branch"; got != want {
		t.Errorf("to the indexer: %s\nwant %s", got, want)
	}
	if got, want := toldOf(jobThread(), 1, ""), "POST /quotes in web → message quotes.created (waited 40 ms) → process quotes in worker → Recalculate → 2 more and 1 other branch"; got != want {
		t.Errorf("to the worker: %s\nwant %s", got, want)
	}
	one := caseOneLeg()
	th, _, _ := one.thread(t)
	if got, want := toldOf(th, -1, ""), "GET /cars in web-uk set off nothing that is recorded"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func mapOf(t *testing.T, th *graph.Thread, st threadState, selected int) views.ThreadMap {
	t.Helper()
	g := newGrouping(th, st.raw)
	return newThreadMap(g, st, selected, told(g, selected)).view()
}

func TestThreadMap(t *testing.T) {
	th := jobThread()
	m := mapOf(t, th, threadState{trace: "0a"}, 5)
	if len(m.Bars) != 5 || len(m.Dots) != 1 || m.Dots[0].Text != "1 message · 2 consumers" || !m.Dots[0].Path {
		t.Fatalf("%d bars, dots %+v", len(m.Bars), m.Dots)
	}
	group := m.Bars[3]
	if !group.Stack || group.Text != "×2 · 50 ms and 70 ms" || group.Warn != "1 failed" || !group.Selected || !group.Folded || group.OutlineX == "" {
		t.Errorf("folded group: %+v", group)
	}
	onPath, inferred := 0, 0
	for _, c := range m.Curves {
		if c.Path {
			onPath++
		}
		if c.Inferred {
			inferred++
		}
	}
	if len(m.Curves) != 5 || onPath != 4 || inferred != 1 { // all but the one to the indexer; the failed run is inferred
		t.Errorf("%d curves, %d on the path, %d inferred; want 5, 4, 1", len(m.Curves), onPath, inferred)
	}
	if len(m.Waits) == 0 || m.Waits[0].Title != "waited 40 ms" || !strings.HasPrefix(m.Bars[1].Label, "waited 40 ms · link") {
		t.Errorf("waits: %+v, label %q", m.Waits, m.Bars[1].Label)
	}
	g := newGrouping(th, false)
	open := threadState{trace: "0a"}.toggled(g.groups[4].id)
	m = mapOf(t, th, open, 5)
	if len(m.Bars) != 7 || m.Bars[3].Selected || m.Bars[3].Folded || !m.Bars[5].Selected || !m.Bars[5].Error {
		t.Errorf("unfolded: %d bars, %+v", len(m.Bars), m.Bars[3:])
	}
	// Nothing is red but the way that is told.
	m = mapOf(t, th, threadState{trace: "0a"}, 2)
	for _, c := range m.Curves {
		if c.Inferred && c.Path {
			t.Errorf("the way to the indexer runs over %+v", c)
		}
	}
}

func TestThreadZoom(t *testing.T) {
	th := jobThread()
	st := threadState{trace: "0a", from: 190e6, to: 380e6}
	m := mapOf(t, th, st, -1)
	var out, in int
	for _, b := range m.Bars {
		if b.Out {
			out++
		} else {
			in++
		}
	}
	if out != 3 || in != 2 || m.ZoomText != "+190 ms to +380 ms" || m.ZoomAll != "/thread/0a" || m.Later != "" || m.Earlier != "/thread/0a?zoom=95000000~285000000" || m.Minimap.From == "" {
		t.Errorf("%d bars outside, %d inside; %s, all %s, earlier %s, later %s", out, in, m.ZoomText, m.ZoomAll, m.Earlier, m.Later)
	}
}

// Attempts at one thing are one row, and a clock that is behind is corrected
// unless the address says otherwise.
func TestThreadAttemptsAndSkew(t *testing.T) {
	c := caseRetries()
	th, st, _ := c.thread(t)
	m := mapOf(t, th, st, th.Selected)
	var texts []string
	for _, b := range m.Bars {
		texts = append(texts, strings.TrimSpace(b.Text+" "+b.Warn))
	}
	want := []string{"120 ms", "112 ms", "", "", "110 ms · attempt 3 of 3 ✓", "×9 · min 30 ms, median 40 ms, max 40 ms 3 failed, 3 retried"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("bars (-want +got):\n%s", diff)
	}
	for _, raw := range []bool{false, true} {
		c := caseSkew(raw)
		th, st, who := c.thread(t)
		p := threadView(th, st, who)
		before := 0
		for _, l := range th.Legs {
			if l.Cause >= 0 && newGrouping(th, raw).begin(&l) < th.Legs[0].StartUnixNano {
				before++
			}
		}
		notice := p.Notices[len(p.Notices)-1]
		if raw != (before > 0) || strings.Contains(notice.Href, "skew=off") == raw || !strings.Contains(notice.Text, "worker-de is at least 2.94 s behind") {
			t.Errorf("raw=%v: %d legs before the origin, notice %+v", raw, before, notice)
		}
	}
}

// The table of a storm counts each run once, also of those that are examples of a
// fold, whatever it is filtered by; what is folded is listed when it is opened.
func TestThreadTableOfAStorm(t *testing.T) {
	c := caseHuge(false)
	th, st, who := c.thread(t)
	st.table = true
	runs := func(v *views.ThreadTable) (n, failed int) {
		for _, r := range v.Rows {
			of := 1
			if text, many := strings.CutPrefix(r.Runs, "×"); many {
				var err error
				if of, err = strconv.Atoi(strings.ReplaceAll(text, ",", "")); err != nil {
					t.Fatalf("a row with runs %q", r.Runs)
				}
			}
			if n += of; r.Errors > 0 {
				failed += of
			}
		}
		return n, failed
	}
	const all, failures = 2 + 1200 + 400, 1200/37 + 1 // the request in two services, its jobs, what every third of them set off
	p := threadView(th, st, who)
	if n, _ := runs(p.Rows); n != all || p.Rows.All != all || p.Rows.Of != all {
		t.Errorf("%d runs in the rows, %d of %d told; want %d", n, p.Rows.All, p.Rows.Of, all)
	}
	hops := 0
	for _, h := range p.Hops {
		hops += h.Count
	}
	if hops != all-1 {
		t.Errorf("%d hops in %+v, want %d", hops, p.Hops, all-1)
	}
	g := newGrouping(th, false)
	for _, r := range p.Rows.Rows {
		if r.OpenHref != "" && r.Name != "SyncCar" && r.Name != "Reindex" {
			t.Errorf("a fold is called %q, want the class of its jobs", r.Name)
		}
	}
	st.failed = true
	p = threadView(th, st, who)
	if n, failed := runs(p.Rows); n != failures || failed != n || p.Rows.All != failures {
		t.Errorf("failed only: %d runs in the rows, %d of them failed, %d told; want %d", n, failed, p.Rows.All, failures)
	}
	for i := range g.groups {
		if g.groups[i].name == "SyncCar" {
			st.open = []openGroup{{id: g.groups[i].id, order: graph.ByStart}}
		}
	}
	p = threadView(th, st, who)
	if n, failed := runs(p.Rows); n != failures || failed != n || len(p.Rows.Rows) != n {
		t.Errorf("opened: %d rows of %d runs, %d failed; want each of the %d failures listed", len(p.Rows.Rows), n, failed, failures)
	}
}

// Each state of the address gives itself back.
func TestThreadState(t *testing.T) {
	id, span, other := "000000000000000000000000000000aa", "00000000000000bb", "000000000000000000000000000000cc.00000000000000dd"
	for _, q := range []string{"", "span=" + span, "span=" + span + "&sel=" + other, "sel=none", "open=aaaa,bbbb~50,cccc~100~slowest", "skew=off&critical=1", "zoom=-5~100", "view=table&sort=-took&service=a%26b&failed=1&row=501"} {
		v, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		st := parseThreadState(id, v.Get("span"), v)
		want := "/thread/" + id
		if q != "" {
			want += "?" + q
		}
		if got := st.href(); got != want {
			t.Errorf("%s became %s", want, got)
		}
	}
	v, _ := url.ParseQuery("sel=zz&open=,~~&zoom=9~1&sort=age&row=-1&skew=1")
	if got := parseThreadState(id, "", v).href(); got != "/thread/"+id {
		t.Errorf("a mangled state became %s", got)
	}
	st := threadState{trace: id}
	if got := st.toggled("y").toggled("x").toggled("y").open; len(got) != 1 || got[0].id != "x" {
		t.Errorf("open after toggling: %v", got)
	}
}

func TestThreadTable(t *testing.T) {
	th := &graph.Thread{}
	for i := range 1201 {
		l := testLeg(min(i, 1)-1, "s"+strconv.Itoa(i%2), "n"+strconv.Itoa(i), graph.WorkJob, int64(i), int64(i%7))
		l.FirstAttempt, l.Fold = -1, -1
		if i%100 == 3 {
			l.Errors = 1
		}
		th.Legs = append(th.Legs, l)
	}
	table := func(st threadState) *views.ThreadTable {
		st.trace, st.table = "0a", true
		return threadView(th, st, nil).Rows
	}
	p := table(threadState{})
	if len(p.Rows) != threadTableRows || p.All != 1201 || p.Earlier != nil || p.Later.Count != 701 || p.Later.Href != "/thread/0a?view=table&row=501" {
		t.Errorf("first page: %d rows, later %+v", len(p.Rows), p.Later)
	}
	p = table(threadState{row: 1001})
	if len(p.Rows) != 201 || p.Later != nil || p.Earlier.Href != "/thread/0a?view=table&row=501" {
		t.Errorf("last page: %d rows, earlier %+v", len(p.Rows), p.Earlier)
	}
	p = table(threadState{sort: "-took", service: "s1", failed: true})
	if p.All != 12 || p.Of != 1201 || p.Rows[0].Duration != "6 ms" || p.Rows[11].Duration != "0 ns" || p.ClearHref != "/thread/0a?view=table&sort=-took" || p.Columns[5].Sorted != "descending" {
		t.Errorf("filtered and sorted: %d of %d, first %s, last %s, clear %s, %+v", p.All, p.Of, p.Rows[0].Duration, p.Rows[len(p.Rows)-1].Duration, p.ClearHref, p.Columns[5])
	}
	if got := table(threadState{sort: "took"}).Columns[5].Href; got != "/thread/0a?view=table" {
		t.Errorf("a third press leads to %s, want the order of causes", got)
	}
}

// A thread of which nothing but its beginning is left still has its page.
func TestThreadWithoutLegs(t *testing.T) {
	start := graph.OriginSpan{SpanInfo: graph.SpanInfo{Ref: trace.Ref{TraceID: trace.ID{7}}, Service: "web", Name: "POST /old"}, StartUnixNano: 1e18}
	for _, th := range []*graph.Thread{{}, {Start: &start, Status: graph.Unknown, Reason: graph.Expired}, {Origin: &start, Status: graph.Found}} {
		for _, table := range []bool{false, true} {
			p := threadView(th, threadState{trace: "0a", table: table}, nil)
			if err := views.Thread(views.Page{}, p).Render(t.Context(), io.Discard); err != nil {
				t.Fatal(err)
			}
			if th.Origin == nil && len(p.Notices) == 0 {
				t.Errorf("%+v: the page does not say that its origin is unknown", th)
			}
		}
	}
}

// An effect that comes long after its cause is cut off from it, not squeezed.
func TestTimeScaleCutsIdleTime(t *testing.T) {
	const month = int64(30 * 86400e9)
	s := newTimeScale([][2]int64{{month, month + 50e6}, {0, 100e6}, {90e6, 120e6}}, 0, 0)
	ticks, breaks := s.ticks(0)
	var texts []string
	for _, tick := range ticks {
		texts = append(texts, tick.Text)
	}
	if diff := cmp.Diff([]string{"0", "+50 ms", "+100 ms", "+30 d", "+30 d 0.05 s"}, texts); diff != "" || len(breaks) != 1 {
		t.Errorf("breaks %+v, ticks (-want +got):\n%s", breaks, diff)
	}
	if a, b := s.x(120e6), s.x(month); b-a < idleWidth-0.1 || b-a > idleWidth+0.1 {
		t.Errorf("the idle month is %.1f %% wide, want %.1f", b-a, idleWidth)
	}
	last := -1.0
	for at := int64(0); at < month+50e6; at += month / 977 {
		if x := s.x(at); x < last || x > mapRight+0.01 {
			t.Fatalf("x(%d) = %v after %v", at, x, last)
		} else {
			last = x
		}
	}
	if ticks, breaks := newTimeScale([][2]int64{{0, 100e6}, {150e6, 300e6}}, 0, 0).ticks(0); len(breaks) != 0 || len(ticks) != 7 {
		t.Errorf("short idle time: ticks %+v, breaks %+v", ticks, breaks)
	}
}

// However close the marks of an axis are, and however far from the start, no two
// say the same.
func TestTicksDiffer(t *testing.T) {
	const minute, hour, day = int64(60e9), int64(3600e9), int64(86400e9)
	for _, c := range []struct {
		nano, step int64
		want       string
	}{
		{0, 1e9, "0"}, {-40e6, 10e6, "−40 ms"}, {1_500e6, 500e6, "+1.5 s"}, {356_120e6, 20e6, "+5 min 56.12 s"}, {356e9, 20e6, "+5 min 56 s"}, {5 * minute, 30e9, "+5 min"},
		{5*minute + 30e9, 30e9, "+5 min 30 s"}, {2 * hour, minute, "+2 h"}, {2*hour + 5*minute, 5 * minute, "+2 h 5 min"}, {40*day + 1_120e6, 20e6, "+40 d 1.12 s"}, {40*day + 3*hour, 2 * day, "+40 d"},
		{1_250, 50, "+1.25 µs"}, {60*minute + 7, 1, "+1 h 0.000000007 s"},
	} {
		if got := offsetWords(c.nano, c.step); got != c.want {
			t.Errorf("%d ns in steps of %d: %q, want %q", c.nano, c.step, got, c.want)
		}
	}
	seed := seeds.One(t)
	r := rand.New(rand.NewPCG(seed, 4))
	for range 3000 {
		from := r.Int64N(1 << uint(1+r.IntN(55)))
		busy := [][2]int64{{from, from + 1 + r.Int64N(1<<uint(1+r.IntN(50)))}}
		for range r.IntN(4) {
			at := r.Int64N(1 << uint(1+r.IntN(55)))
			busy = append(busy, [2]int64{at, at + r.Int64N(1<<uint(1+r.IntN(40)))})
		}
		s := newTimeScale(busy, 0, 0)
		ticks, _ := s.ticks(0)
		seen := map[string]bool{}
		for _, tick := range ticks {
			if seen[tick.Text] {
				t.Fatalf("seed %d: %+v: %q twice in %+v", seed, s.pieces, tick.Text, ticks)
			}
			seen[tick.Text] = true
		}
		if len(ticks) == 0 || len(ticks) > 9 {
			t.Fatalf("seed %d: %+v: %d ticks", seed, s.pieces, len(ticks))
		}
	}
}

// An address may ask for any part of the time.
func TestThreadZoomOfAnyAddress(t *testing.T) {
	th := jobThread()
	for zoom, want := range map[string]string{
		"-9223372036854775808~9223372036854775807": "0 to +380 ms", "0~1": "0 to +1 ns", "9000000000000000000~9223372036854775807": "", "-9000000000000000000~-1": "", "-5~100000000": "0 to +100 ms",
		"379999999~380000001": "+379.99999999 ms to +380 ms", "100000000~9223372036854775807": "+100 ms to +380 ms",
	} {
		v, err := url.ParseQuery("zoom=" + zoom)
		if err != nil {
			t.Fatal(err)
		}
		m := mapOf(t, th, parseThreadState("0a", "", v), 4)
		if len(m.Ticks) == 0 || len(m.Ticks) > 9 || zoom != "379999999~380000001" && m.ZoomText != want {
			t.Errorf("zoom %s: %q, want %q; ticks %+v", zoom, m.ZoomText, want, m.Ticks)
		}
	}
}

// Whatever the thread, the map is bounded, finite and well-formed.
func TestThreadMapOfAnyThread(t *testing.T) {
	seed := seeds.One(t)
	r := rand.New(rand.NewPCG(seed, 3))
	works := []graph.Work{graph.WorkRequest, graph.WorkMessage, graph.WorkJob, graph.WorkOther}
	for round := range 60 {
		n := 1 + r.IntN(400)
		th := &graph.Thread{Status: graph.Unknown, Reason: graph.NotRecorded}
		for i := range n {
			cause := r.IntN(i+1) - 1
			if round%3 == 0 {
				cause = i - 1 // one long chain
			}
			if i > 0 && cause < 0 {
				cause = 0
			}
			l := testLeg(cause, "s"+strconv.Itoa(r.IntN(4)), "n"+strconv.Itoa(r.IntN(6)), works[r.IntN(4)], r.Int64N(1<<uint(r.IntN(40))), r.Int64N(2000))
			l.Topic = []string{"", "a", "b"}[r.IntN(3)]
			l.WaitNano, l.SkewNano = r.Int64N(1e9), r.Int64N(2)*r.Int64N(1e9)
			l.FirstAttempt, l.Fold = -1, -1
			th.Legs = append(th.Legs, l)
		}
		st := threadState{trace: "0a", critical: true, raw: r.IntN(2) == 0}
		for _, g := range newGrouping(th, st.raw).groups {
			if r.IntN(3) == 0 {
				st = st.toggled(g.id)
			}
		}
		if r.IntN(2) == 0 {
			st.from, st.to = r.Int64N(1e9), 1e9+r.Int64N(1<<40)
		}
		m := mapOf(t, th, st, r.IntN(n+1)-1)
		if len(m.Bars)+len(m.Dots) > 2*maxUnitRows {
			t.Fatalf("seed %d: %d bars and %d dots", seed, len(m.Bars), len(m.Dots))
		}
		for _, b := range m.Bars {
			if b.Out {
				continue
			}
			x, err1 := strconv.ParseFloat(strings.TrimSuffix(b.X, "%"), 64)
			w, err2 := strconv.ParseFloat(strings.TrimSuffix(b.Width, "%"), 64)
			if err1 != nil || err2 != nil || x < 0 || w <= 0 || x+w > 90 || b.Y < mapTop || b.Y > m.Height {
				t.Fatalf("seed %d: bar %+v in a map %d high", seed, b, m.Height)
			}
		}
		var page strings.Builder
		if err := views.Thread(views.Page{}, threadView(th, st, nil)).Render(t.Context(), &page); err != nil {
			t.Fatal(err)
		}
		from := strings.Index(page.String(), `<svg class="ThreadMap-chart"`)
		to := strings.Index(page.String(), `</svg></div></div>`)
		if from < 0 || to < from {
			t.Fatalf("seed %d: no chart in the page", seed)
		}
		if err := xml.Unmarshal([]byte(page.String()[from:to+6]), new(struct{})); err != nil {
			t.Fatalf("seed %d: the chart is not well-formed: %v", seed, err)
		}
	}
}

// A thread is placed among others from its endpoint, if these are enough.
func TestThreadRank(t *testing.T) {
	threads := func(sizes ...int) (list []graph.RippleThread) {
		for i, n := range sizes {
			r := graph.RippleThread{Ripple: graph.Ripple{Jobs: n}}
			r.TraceID = trace.ID{15: byte(i + 1)}
			list = append(list, r)
		}
		return list
	}
	many := func(n, size int, more ...int) []int {
		for range n {
			more = append(more, size)
		}
		return more
	}
	for _, c := range []struct {
		name        string
		sizes       []int // the first is asked about
		share, than string
	}{
		{"the largest", many(40, 2, 24), "Bigger than all", " of 40 others from this endpoint within the hour"},
		{"larger than most", many(38, 2, 24, 30, 30), "Bigger than 95 %", " of 40 others from this endpoint within the hour"},
		{"larger than nearly all", many(199, 2, 24, 30), "Bigger than 99.5 %", " of 200 others from this endpoint within the hour"},
		{"small", many(30, 2, 0), "Smaller than all", " of 30 others from this endpoint within the hour"},
		{"one of all", many(30, 2, 2), "As big as all", " of 30 others from this endpoint within the hour"},
		{"too few", many(19, 2, 24), "", ""},
	} {
		if share, than := threadRank(threads(c.sizes...), trace.ID{15: 1}); share != c.share || than != c.than {
			t.Errorf("%s: %q %q, want %q %q", c.name, share, than, c.share, c.than)
		}
	}
	if share, _ := threadRank(threads(many(40, 2)...), trace.ID{7}); share != "" {
		t.Errorf("a thread that is not among them: %q", share)
	}
}
