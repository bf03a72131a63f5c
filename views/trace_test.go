package views

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"
)

const hostileName = `"><script>alert('x')</script>&amp;`

func goldenTrace(name string) TracePage {
	start := time.Date(2026, 11, 22, 14, 3, 11, 204e6, time.UTC)
	cause := CauseView{Service: "web-uk", Name: name, Href: "/t/0b/01", Start: start, Wait: "waited 40 ms", Inferred: true, How: "inferred: same message id"}
	dead := CauseView{Service: "web", Name: name, Href: "/thread/0b", Thread: "/thread/0b?span=01", How: "recorded link", Rule: "link edge, rule span_link: recorded by the sender", Dead: "nothing of its trace has arrived"}
	effect := EffectView{Service: "worker", Name: name, Href: "/t/0d/01", Thread: "/thread/0d?span=01", Count: 1200, Errors: 3, Start: start, Wait: "waited up to 2 s"}
	row := WaterfallRow{Key: "01", Index: 1, Href: "/t/0a/01#r-01", FoldHref: "/t/0a?fold=01", Below: 2, Name: name, Service: name, ServiceClass: ServiceClass("web"),
		ShowService: true, Duration: "1.84 s", Title: name, X: "0%", Width: "100%"}
	selected := WaterfallRow{Key: "02", Index: 2, Depth: 1, Href: "/t/0a/02#r-02", Name: name, Service: "api", ServiceClass: ServiceClass("api"), Duration: "611 ms", Title: name,
		Error: true, Selected: true, OnPath: true, Match: true, X: "22.391%", Width: "33.207%", Events: []EventMark{{"30%", name, true}, {"25%", "retry", false}},
		Critical: []Stretch{{"25%", "5%"}}, Note: "◀ POST /cars  ▶ 3 consumers", NoteX: "55.598%", NoteHref: "/thread/0a?span=02"}
	missing := WaterfallRow{Key: "~09", Index: 3, Href: "/t/0a/~09#r-~09", FoldHref: "/t/0a?fold=~09", Folded: true, Below: 3, ErrorsBelow: 2, Name: "parent 09 never arrived", Missing: true, X: "1%", Width: "2%",
		Note: "◂ 56 years earlier", NoteX: "0"}
	return TracePage{
		TraceID: "0a", Name: name, Service: name, Duration: "1.84 s", Start: start, Spans: 214, Services: 5, Errors: 2,
		Notices: []string{"One parent never arrived. What hangs under it is shown below its row."},
		Parts:   []TimePart{{start, "12 spans in 1.84 s", "/t/0a", true}, {start.AddDate(-56, 0, 0), "1 span in 1 ns", "/t/0a?part=1", false}},
		Causes: TraceCauses{By: []CauseView{cause, dead}, ByFolded: []CauseView{cause}, ByMore: 30, AllHref: "/t/0a/causes", CausedSpans: 1200, CausedTraces: 900, Truncated: true,
			Origin: OriginView{At: &CauseView{Service: "cron", Name: name, Href: "/t/0c"}, Hops: 3, Note: "Some spans on the way never arrived; their traces lead here.", Links: name + ": 128 of 500 links were sent"},
			Caused: []EffectView{effect}, CausedFolded: []EffectView{effect}, CausedMore: 2},
		Waterfall: Waterfall{TraceID: "0a", RowsHref: "/t/0a/rows", Total: 700, Selected: "02", Later: &MoreRows{Count: 400, Href: "/t/0a?row=301"},
			Data:  &WaterfallData{TraceID: "0a", Names: []string{name}, Key: []string{"01"}, Depth: []int{0}},
			Ticks: []TimeTick{{"0%", "0", false}, {"95%", "1.8 s", true}}, Rows: []WaterfallRow{row, selected, missing},
			Minimap: Minimap{Height: 42, Bars: []MinimapBar{{"0", "1", "1000", "4", ServiceClass("web"), false}, {"200", "7", "300", "4", ServiceClass("api"), true}},
				PathX: "224", PathWidth: "332", FromX: "10%", ToX: "60%", RestWidth: "40%"},
			Search: TraceSearch{Action: "/t/0a/02", Text: name, Hidden: []Param{{"levels", "2"}}, Matches: 1, Next: "/t/0a/03"},
			Levels: []LevelLink{{"1", 1, "/t/0a?levels=1", true}, {"all", 0, "/t/0a", false}}, Zoomed: true, ZoomText: "1 ms to 2 ms", Unzoom: "/t/0a", Critical: true, CriticalHref: "/t/0a"},
		Panel: &SpanPanel{TraceID: "0a", SpanID: "02", Name: name, Service: "api", Kind: "server", Environment: name, Offset: "starts +412 ms", Start: start, Duration: "611 ms", Self: "51 ms",
			Status: "error", StatusMessage: name, Error: true, Notes: []string{name}, Href: "/t/0a/02", Close: "/t/0a", Filter: name, FilterAction: "/t/0a/02",
			Attributes: []AttributeView{{Key: name, Value: name, Type: "string", FilterHref: "/explore?q=1", GroupHref: "/explore?q=2"},
				{Key: "db.statement", Value: strings.Repeat("ü", 200), Type: "string", Hidden: true}, {Key: "exception.type", Value: "E", Warn: true}}, AttributesShown: 2,
			Events:   []EventView{{Name: name, Offset: "+200 ms", Error: true, Attributes: []AttributeView{{Key: name, Value: name}}}},
			CausedBy: []CauseView{cause, dead}, CausedByMore: 490, Caused: []EffectView{effect}, CausedMore: 7, AllHref: "/t/0a/causes?span=02", ThreadHref: "/thread/0a?span=02",
			FullName: name, Links: []CauseView{{Name: name, Href: "/t/0e/01", How: "recorded link", Attributes: []AttributeView{{Key: name, Value: name}}}}, LinksMore: 4, LinksKept: "128 of 500 links were sent",
			Origin: OriginView{Unknown: "one of 5 requests", Fix: "It was handled in a batch.", Candidates: []CauseView{cause}, CandidatesMore: 4, Furthest: &cause},
			Remarks: TraceNotes{ID: "span-annotations", TraceID: "0a", SpanID: "02", Ref: "ref", Back: "/t/0a/02#span-annotations", CanWrite: true,
				Annotations: []BoardAnnotation{{ID: "a_1", ByID: "u_1", By: name, At: start, Now: start, HTML: "<p>Only <strong>these</strong></p>", Text: "Only", Versions: 1, Where: "in an investigation"}}}},
		Notes:      TraceNotes{ID: "trace-notes", TraceID: "0a", Back: "/t/0a/02#trace-notes", Elsewhere: 1},
		ThreadHref: "/thread/0a?span=02", JSONHref: "/api/v1/traces/0a",
	}
}

// TestTraceGolden compares whole fragments, also with hostile and empty values.
func TestTraceGolden(t *testing.T) {
	for name, c := range map[string]templ.Component{
		"trace":         traceBody(goldenTrace("POST /quotes")),
		"trace-hostile": traceBody(goldenTrace(hostileName)),
		"trace-empty":   traceBody(TracePage{TraceID: "0a"}),
		"panel-missing": SpanPanelFragment(SpanPanel{TraceID: "0a", SpanID: "09", Name: "Parent that never arrived", Missing: true, Close: "/t/0a"}),
		"absent":        traceMissing(NoTrace{TraceID: "0a", Href: "/t/0a", Explore: "/explore"}),
		"expired": traceMissing(NoTrace{TraceID: "0a", Href: "/t/0a", Expired: &ExpiredTrace{Name: "Quotes::Controller#create" + hostileName, Service: hostileName,
			Class: "Service--3", Start: time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC), Duration: "1.84 s", Spans: 214}}),
		"absent-span": traceMissing(NoTrace{TraceID: "0a", SpanID: "02", Href: "/t/0a/02", Explore: "/explore", Rest: 12}),
		"invalid":     traceMissing(NoTrace{Invalid: hostileName}),
	} {
		compareGolden(t, "trace", name, c)
	}
}

// compareGolden compares a fragment with its golden page.
func compareGolden(t *testing.T, dir, name string, c templ.Component) {
	t.Helper()
	got := strings.ReplaceAll(renderPage(t, c), "><", ">\n<")
	if strings.Contains(got, "<script>") || regexp.MustCompile(`\s(style|on[a-z]+)=`).MatchString(got) {
		t.Errorf("%s: markup comes through, or an attribute that the policy blocks", name)
	}
	path := filepath.Join("testdata", dir, name+".html")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs from %s; if that is meant, run go test ./views -update (-want +got):\n%s", name, path, diff)
	}
}

// The same cases are in static/js/waterfall_layout.test.js.
func TestGuides(t *testing.T) {
	for _, c := range []struct {
		depth        int
		width, lines string
	}{
		{0, "0", ""}, {2, "28", "M7.5 0v44M21.5 0v44"}, {10, "120", "M105.5 0v44M114.5 0v44M118.5 0v44"}, {500, "160", "M154.5 0v44M158.5 0v44"},
	} {
		r := WaterfallRow{Depth: c.depth}
		if r.indent() != c.width || !strings.HasSuffix(r.guides(), c.lines) {
			t.Errorf("depth %d: width %s, guides %s; want %s, …%s", c.depth, r.indent(), r.guides(), c.width, c.lines)
		}
	}
}

func TestClipText(t *testing.T) {
	if got := clipText("größe", 3); got != "gr…" {
		t.Errorf("clipText cuts inside a letter: %q", got)
	}
	if got := clipText("abc", 3); got != "abc" {
		t.Errorf("clipText(abc, 3) = %q", got)
	}
}

func TestShortID(t *testing.T) {
	for id, want := range map[string]string{"0469e1e4f933a1d6b2bef69fc83c7707": "0469e1e4…c83c7707", "00000000000000001e223ff1f80f1c69": "…1e223ff1f80f1c69", "0a": "0a"} {
		if got := shortID(id); got != want {
			t.Errorf("shortID(%s) = %s, want %s", id, got, want)
		}
	}
}
