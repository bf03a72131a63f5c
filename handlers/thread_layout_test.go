package handlers

import (
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
	origin := graph.OriginSpan{SpanInfo: legs[0].SpanInfo, StartUnixNano: legs[0].StartUnixNano}
	return &graph.Thread{Origin: &origin, Status: graph.Found, Legs: legs, Ripple: graph.Ripple{Traces: 6, Messages: 4, Jobs: 3, Errors: 1, BusyNano: 310e6, WaitingNano: 80e6, LastEffectNano: 380e6}}
}

func TestThreadGroups(t *testing.T) {
	legs := jobThread().Legs
	groups, of := threadGroups(legs)
	var got []string
	for _, g := range groups {
		got = append(got, fmt.Sprintf("%d %s/%s ×%d failed %d of %d", g.parent, g.service, g.name, len(g.legs), g.failed, g.size))
	}
	want := []string{"-1 web/POST /quotes ×1 failed 0 of 6", "0 worker/process quotes ×1 failed 0 of 4", "0 indexer/process quotes ×1 failed 0 of 1",
		"1 worker/Recalculate ×1 failed 0 of 3", "3 worker/Recalculate ×2 failed 1 of 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 4}, of); diff != "" {
		t.Errorf("group of each leg (-want +got):\n%s", diff)
	}
	more, _ := threadGroups(append(legs, testLeg(0, "mail", "deliver", graph.WorkJob, 500, 5)))
	for i, g := range groups {
		if more[i].id != g.id {
			t.Errorf("group %d is called %s, and %s once the thread has grown", i, g.id, more[i].id)
		}
	}
}

func TestThreadSentence(t *testing.T) {
	th := jobThread()
	groups, _ := threadGroups(th.Legs)
	var b strings.Builder
	for _, p := range threadSentence(th, groups, "user 81723") {
		if p.Arrow {
			b.WriteString("→ ")
		}
		b.WriteString(p.Text + " ")
	}
	want := "POST /quotes by user 81723 in web → message quotes.created waited 40 ms → process quotes in worker → Recalculate ×3 set off itself 1 deep 1 failed and 1 other branch "
	if b.String() != want {
		t.Errorf("got  %s\nwant %s", b.String(), want)
	}
}

func TestThreadMap(t *testing.T) {
	th := jobThread()
	href := func(g string) string { return "?open=" + g }
	m := newThreadMap(th, nil, 5, href).view()
	if len(m.Bars) != 5 || len(m.Dots) != 1 || m.Dots[0].Text != "1 message · 2 consumers" {
		t.Fatalf("%d bars, dots %+v", len(m.Bars), m.Dots)
	}
	group := m.Bars[3]
	if !group.Stack || group.Text != "×2 p50 50 ms" || group.Warn != "1 failed" || !group.Selected || !group.Folded {
		t.Errorf("folded group: %+v", group)
	}
	aside, inferred := 0, 0
	for _, c := range m.Curves {
		if c.Aside {
			aside++
		}
		if c.Inferred {
			inferred++
		}
	}
	if len(m.Curves) != 5 || aside != 1 { // to the indexer alone
		t.Errorf("%d curves, %d aside; want 5, 1", len(m.Curves), aside)
	}
	if len(m.Waits) == 0 || m.Waits[0].Title != "waited 40 ms" {
		t.Errorf("waits: %+v", m.Waits)
	}
	groups, _ := threadGroups(th.Legs)
	open := newThreadMap(th, map[string]bool{groups[4].id: true}, 5, href).view()
	if len(open.Bars) != 6 || open.Bars[4].Selected == open.Bars[3].Selected || open.Bars[3].FoldHref == "" {
		t.Errorf("unfolded: %d bars, %+v", len(open.Bars), open.Bars[3:5])
	}
	for _, c := range open.Curves {
		if c.Inferred {
			inferred++
		}
	}
	if inferred != 1 {
		t.Errorf("%d inferred curves, want the one to the failed run", inferred)
	}
}

// An effect that comes long after its cause is cut off from it, not squeezed.
func TestTimeScaleCutsIdleTime(t *testing.T) {
	const month = int64(30 * 86400e9)
	s := newTimeScale([][2]int64{{month, month + 50e6}, {0, 100e6}, {90e6, 120e6}})
	ticks, breaks := s.ticks()
	if len(breaks) != 1 || len(ticks) != 2 || ticks[0].Text != "0" || ticks[1].Text != "+30 d 0 h" {
		t.Errorf("ticks %+v, breaks %+v", ticks, breaks)
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
	if ticks, breaks := newTimeScale([][2]int64{{0, 100e6}, {150e6, 300e6}}).ticks(); len(breaks) != 0 || len(ticks) != 4 {
		t.Errorf("short idle time: ticks %+v, breaks %+v", ticks, breaks)
	}
}

// Whatever the thread, the map is bounded, finite and well-formed.
func TestThreadMapOfAnyThread(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 3))
	works := []graph.Work{graph.WorkRequest, graph.WorkMessage, graph.WorkJob, graph.WorkOther}
	for round := range 60 {
		n := 1 + r.IntN(400)
		th := &graph.Thread{Status: graph.Unknown, Reason: graph.NotRecorded}
		open := map[string]bool{}
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
			l.WaitNano = r.Int64N(1e9)
			th.Legs = append(th.Legs, l)
		}
		groups, _ := threadGroups(th.Legs)
		for _, g := range groups {
			open[g.id] = r.IntN(3) == 0
		}
		m := newThreadMap(th, open, r.IntN(n+1)-1, func(string) string { return "" }).view()
		if len(m.Bars)+len(m.Dots) > maxMapRows+maxOpenLegs+2 {
			t.Fatalf("seed %d: %d bars and %d dots", seed, len(m.Bars), len(m.Dots))
		}
		for _, b := range m.Bars {
			x, err1 := strconv.ParseFloat(strings.TrimSuffix(b.X, "%"), 64)
			w, err2 := strconv.ParseFloat(strings.TrimSuffix(b.Width, "%"), 64)
			if err1 != nil || err2 != nil || x < 0 || w <= 0 || x+w > 90 || b.Y < mapTop || b.Y > m.Height {
				t.Fatalf("seed %d: bar %+v in a map %d high", seed, b, m.Height)
			}
		}
		var page strings.Builder
		if err := views.Thread(views.Page{}, threadView(th, threadState{trace: "0a"}, "")).Render(t.Context(), &page); err != nil {
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

func TestThreadState(t *testing.T) {
	st := threadState{trace: "0a", span: "0b", open: []string{"x"}, table: true, row: 501}
	if got, want := st.href(), "/thread/0a?span=0b&open=x&view=table&row=501"; got != want {
		t.Errorf("href = %s, want %s", got, want)
	}
	if got := st.toggled("y").toggled("x").open; len(got) != 1 || got[0] != "y" {
		t.Errorf("open after toggling: %v", got)
	}
	if got := (threadState{trace: "0a"}).href(); got != "/thread/0a" {
		t.Errorf("href = %s", got)
	}
}

func TestThreadTablePages(t *testing.T) {
	th := &graph.Thread{}
	for i := range 1201 {
		th.Legs = append(th.Legs, testLeg(min(i, 1)-1, "s", "n"+strconv.Itoa(i), graph.WorkJob, int64(i), 5))
	}
	p := threadView(th, threadState{trace: "0a", table: true}, "")
	if len(p.Rows) != threadTableRows || p.RowsAll != 1201 || p.Earlier != nil || p.Later.Count != 701 || p.Later.Href != "/thread/0a?view=table&row=501" {
		t.Errorf("first page: %d rows, later %+v", len(p.Rows), p.Later)
	}
	p = threadView(th, threadState{trace: "0a", table: true, row: 1001}, "")
	if len(p.Rows) != 201 || p.Later != nil || p.Earlier.Href != "/thread/0a?view=table&row=501" {
		t.Errorf("last page: %d rows, earlier %+v", len(p.Rows), p.Earlier)
	}
}

// A thread of which only summaries are left still has its page.
func TestThreadWithoutLegs(t *testing.T) {
	start := graph.OriginSpan{SpanInfo: graph.SpanInfo{Ref: trace.Ref{TraceID: trace.ID{7}}, Service: "web", Name: "POST /old"}, StartUnixNano: 1e18}
	for _, th := range []*graph.Thread{{}, {Start: &start, Status: graph.Unknown, Reason: graph.Expired}, {Origin: &start, Status: graph.Found}} {
		for _, table := range []bool{false, true} {
			p := threadView(th, threadState{trace: "0a", table: table}, "")
			if err := views.Thread(views.Page{}, p).Render(t.Context(), io.Discard); err != nil {
				t.Fatal(err)
			}
			if th.Origin == nil && len(p.Notices) == 0 {
				t.Errorf("%+v: the page does not say that its origin is unknown", th)
			}
		}
	}
}
