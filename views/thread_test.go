package views

import (
	"testing"
	"time"

	"github.com/a-h/templ"
)

// hostileThread has every part of the page, with a name that is markup.
func hostileThread(name string) ThreadPage {
	start := time.Date(2026, 11, 22, 14, 3, 11, 204e6, time.UTC)
	hop := ThreadPanelHop{Name: name, Service: name, Href: "/thread/0a?sel=0b", How: "recorded link", Wait: "waited 40 ms", Span: name, SpanHref: "/t/0a/01", Topic: name, Count: 3, Failed: 1}
	step := ThreadStep{Text: name, Href: "/thread/0a?sel=0c", Current: true}
	return ThreadPage{
		TraceID: "0a", Name: name, Service: name, By: name, Start: start, Known: true, MapHref: "/thread/0a", TableHref: "/thread/0a?view=table", JSONHref: "/api/v1/traces/0a/thread", TraceHref: "/t/0a",
		CriticalHref: "/thread/0a?critical=1", CriticalOn: true,
		Sentence: []Phrase{{Text: name, Strong: true, Href: "/t/0a"}, {Arrow: true, Text: "message"}, {Text: "1 failed", Warn: true}, {Text: name, Quiet: true}}, SentenceText: name,
		Notices:    []Notice{{Text: name}, {Text: name, Href: "/thread/0a?skew=off", Link: name}},
		Candidates: []ThreadCandidate{{Cause: CauseView{Service: name, Name: name, Href: "/t/0c"}, By: name, Means: name, Thread: "/thread/0c"}}, MoreCandidates: 4, AllCandidates: "/t/0a/causes",
		Map: ThreadMap{Height: 120, More: 3, Scale: "[]", Lanes: []ThreadLane{{Y: 38, Height: 48, Head: name, Title: name, Full: name, Class: ServiceClass("web")}},
			Ticks: []TimeTick{{"1%", "0", false}}, Breaks: []ThreadBreak{{"50%", "⋯", name}}, Curves: []ThreadCurve{{"M1 2C3 4 5 6 7 8", true, true, name, "r1"}},
			Waits: []ThreadWait{{"10%", "5%", 60, name, true}}, Dots: []ThreadDot{{X: "9%", Y: 50, Several: true, Path: true, Text: name, Title: name}, {X: "9%", Y: 90, End: true, Text: name, Href: "/t/0a/01"}},
			Bars: []ThreadBar{{ID: "g1", Row: "r1", Level: 1, Href: "/thread/0a?sel=0a", TraceHref: "/t/0a/01", X: "1%", Width: "20%", Y: 44, Class: ServiceClass("web"), Error: true, Selected: true, Path: true, Text: name, Warn: "2 errors", TextX: "21%", Title: name,
				Label: name, LabelX: "1%", CriticalX: "1%", CriticalWidth: "5%"},
				{ID: "g2", Row: "r2", Level: 2, Href: "/t/0b/01", X: "30%", Width: "50%", Y: 82, Class: ServiceClass("job"), Stack: true, Busy: []Stretch{{"30%", "10%"}}, Text: name, TextX: "80%", TextEnd: true, Title: name, FoldHref: "/thread/0a?open=1", Folded: true,
					Selected: true, OutlineX: "31%", OutlineWidth: "1%"}, {Row: "r3", Out: true, Text: "◂ +1 s", Href: "/thread/0a", TextX: "1%"}},
			Pages:    []ThreadPages{{Y: 100, Text: "1–50 of 100,000", Links: []ThreadStep{step}}},
			Minimap:  ThreadMinimap{Height: 34, Scale: "[]", Bars: []ThreadMiniBar{{"1%", "20%", "3", ServiceClass("web"), true, true}}, From: "10%", To: "60%", Window: "50%", Rest: "40%"},
			ZoomText: "+1 s to +2 s", ZoomIn: "/thread/0a?zoom=1~2", ZoomOut: "/thread/0a?zoom=0~3", ZoomAll: "/thread/0a", Earlier: "/thread/0a?zoom=0~1", Later: "/thread/0a?zoom=2~3"},
		Panel: &ThreadPanel{TraceID: "0a", SpanID: "01", Name: name, Service: name, Work: "job", Error: true, Start: start, TraceHref: "/t/0a/01", Close: "/thread/0a?sel=none", Copy: "/thread/0a?span=01",
			Facts: []ThreadFact{{"took", name, "", name}}, Notes: []string{name}, By: &hop, BatchHref: "/thread/0a", Attempts: []ThreadStep{step, {Text: name, Href: "/thread/0b"}}, Effects: []ThreadPanelHop{hop}, MoreEffects: 3,
			Among: &ThreadAmong{Text: name, Links: []ThreadStep{step}}},
		Critical: []CriticalStep{{Name: name, Service: name, Href: "/thread/0a", Self: "1 s", Wait: "waited 40 ms"}, {Name: name}},
		Ripple:   []ThreadFact{{"jobs run", "24", "1 failed", ""}}, Busy: []BusyService{{name, "9.2 s", "100%", 4, 2}}, Hops: []HopCount{{"recorded link", 29, false}, {name, 3, true}},
	}
}

// TestThreadGolden: hostile values in every part, and no values at all. The
// pages of real threads are compared in package handlers.
func TestThreadGolden(t *testing.T) {
	table := hostileThread(hostileName)
	table.Table, table.Known, table.Panel = true, false, nil
	table.Rows = &ThreadTable{Messages: true, Columns: []ThreadColumn{{"What", "/thread/0a?sort=name", "ascending", false}, {"Took", "/thread/0a?sort=-took", "descending", true}},
		Rows: []ThreadRow{{Depth: 1, Name: hostileName, Service: hostileName, Work: "job", Href: "/t/0a/01", TraceHref: "/t/0a", Offset: "+1 s", Wait: "40 ms", Duration: "2 s", Runs: "×3", Messages: "8", Spans: 3, Errors: 1, How: "recorded link", Selected: true, Topic: hostileName}},
		All:  700, Of: 900, Earlier: &MoreRows{Count: 1, Href: "/thread/0a?row=1"}, Later: &MoreRows{Count: 899, Href: "/thread/0a?view=table&row=2"}, Action: "/thread/0a", Hidden: []Param{{"view", "table"}},
		Services: []string{hostileName, "web"}, Service: "web", Failed: true, ClearHref: "/thread/0a?view=table"}
	for name, c := range map[string]templ.Component{
		"hostile": ThreadBody(hostileThread(hostileName)),
		"table":   ThreadBody(table),
		"empty":   ThreadBody(ThreadPage{}),
	} {
		compareGolden(t, "thread", name, c)
	}
}
