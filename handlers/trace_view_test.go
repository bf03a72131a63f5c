package handlers

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
	"redthread/views"
)

// The same cases are in static/js/waterfall_layout.test.js.
func TestBarsAndNotes(t *testing.T) {
	for _, c := range []struct {
		start, end, from, to int64
		x, width             string
	}{
		{0, 100, 0, 100, "0%", "100%"}, {25, 50, 0, 100, "25%", "25%"}, {0, 1e15, 10, 20, "-1%", "102%"},
		{90, 95, 0, 10, "101%", "0%"}, {0, 0, 0, 0, "0%", "0%"},
	} {
		if x, width := barOf(c.start, c.end, c.from, c.to); x != c.x || width != c.width {
			t.Errorf("barOf(%d, %d, %d, %d) = %s, %s; want %s, %s", c.start, c.end, c.from, c.to, x, width, c.x, c.width)
		}
	}
	for _, c := range []struct {
		start, end int64
		x          string
		ends       bool
	}{{10, 20, "20%", false}, {60, 90, "60%", true}, {0, 100, "100%", true}} {
		if x, ends := noteOf(c.start, c.end, 0, 100); x != c.x || ends != c.ends {
			t.Errorf("noteOf(%d, %d) = %s, %v; want %s, %v", c.start, c.end, x, ends, c.x, c.ends)
		}
	}
	if got := percent(1, 3); got != "33.333%" {
		t.Errorf("percent(1, 3) = %s", got)
	}
}

func TestTimeTicks(t *testing.T) {
	texts := func(ticks []views.TimeTick) (list []string) {
		for _, tick := range ticks {
			list = append(list, tick.Text)
		}
		return list
	}
	if diff := cmp.Diff([]string{"0", "500 ms", "1 s", "1.5 s"}, texts(timeTicks(0, 1_840_000_000))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"2 ms", "3 ms", "4 ms", "5 ms"}, texts(timeTicks(1_200_000, 5_300_000))); diff != "" {
		t.Error(diff)
	}
	for _, extent := range []int64{1, 7, 999, 1e6, 3.3e9, 8.64e13, 9e15, 1 << 62} {
		if n := len(timeTicks(0, extent)); n < 2 || n > 6 {
			t.Errorf("%d ticks for %d, want 2 to 6", n, extent)
		}
	}
}

// flatTrace is a root with n children.
func flatTrace(n int) []trace.Span {
	spans := []trace.Span{testSpan(1, 0, "web", 0, int64(n)+10)}
	for i := range n {
		spans = append(spans, testSpan(i+2, 1, fmt.Sprintf("svc-%d", i%9), int64(i), 5))
	}
	return spans
}

func TestWaterfallPages(t *testing.T) {
	tree := newTraceTree(flatTrace(9999))
	first := newTraceView(tree, traceState{trace: "0a"}, nil).waterfall()
	if len(first.Rows) != waterfallPageRows || first.Total != 10000 || first.Earlier != nil || first.Later == nil || first.Later.Count != 10000-waterfallPageRows {
		t.Errorf("first page: %d rows of %d, later %+v", len(first.Rows), first.Total, first.Later)
	}
	if first.Data != nil {
		t.Error("the data of 10,000 rows stands in the page")
	}
	selected := newTraceView(tree, traceState{trace: "0a", span: spanID(7001).String()}, nil).waterfall()
	found := false
	for _, r := range selected.Rows {
		found = found || r.Selected && r.Key == spanID(7001).String() && r.OnPath
	}
	if !found || selected.Earlier == nil || selected.Later == nil {
		t.Errorf("the selected row is not on its page; earlier %+v, later %+v", selected.Earlier, selected.Later)
	}
	// Following "more rows" reaches every row once.
	seen := map[string]int{}
	for st, n := (traceState{trace: "0a"}), 0; n < 100; n++ {
		w := newTraceView(tree, st, nil).waterfall()
		for _, r := range w.Rows {
			seen[r.Key]++
		}
		if w.Later == nil {
			break
		}
		u, err := url.Parse(w.Later.Href)
		if err != nil {
			t.Fatal(err)
		}
		st = parseTraceState("0a", "", u.Query())
	}
	if len(seen) != 10000 {
		t.Errorf("the pages hold %d rows, want 10000", len(seen))
	}
	for key, n := range seen {
		if n != 1 {
			t.Fatalf("row %s is on %d pages", key, n)
		}
	}
	if n := len(first.Minimap.Bars); n > minimapLanes*minimapCells {
		t.Errorf("the minimap has %d bars", n)
	}
}

func TestWaterfallRow(t *testing.T) {
	spans := []trace.Span{testSpan(1, 0, "web", 0, 100), testSpan(2, 1, "api", 50, 25), testSpan(3, 2, "api", 60, 5), testSpan(4, 9, "api", 10, 5)}
	spans[2].Error = true
	spans[1].Events = []trace.Event{{Name: "retry", TimeUnixNano: spans[1].StartUnixNano}, {Name: "exception", TimeUnixNano: spans[1].StartUnixNano + 25e6}}
	tree := newTraceTree(spans)
	w := newTraceView(tree, traceState{trace: "0a", fold: []string{spanID(2).String()}}, map[trace.SpanID]string{spanID(2): "▶ 3 consumers"}).waterfall()
	if len(w.Rows) != 4 {
		t.Fatalf("%d rows, want 4: root, folded child, missing parent, orphan", len(w.Rows))
	}
	r := w.Rows[1]
	if r.X != "50%" || r.Width != "25%" || !r.Folded || r.Below != 1 || r.ErrorsBelow != 1 || !r.ShowService || r.Duration != "25 ms" {
		t.Errorf("folded row: %+v", r)
	}
	if r.Note != "▶ 3 consumers" || r.NoteHref != "/thread/0a?span=0000000000000002" {
		t.Errorf("note %q to %q", r.Note, r.NoteHref)
	}
	if len(r.Events) != 2 || r.Events[0].X != "50%" || r.Events[0].Error || !r.Events[1].Error {
		t.Errorf("events: %+v", r.Events)
	}
	if r.FoldHref != "/t/0a#r-0000000000000002" {
		t.Errorf("unfold leads to %s", r.FoldHref)
	}
	if m := w.Rows[2]; !m.Missing || m.Name != "parent 0000000000000009 never arrived" || m.Href != "/t/0a/~0000000000000009?fold=0000000000000002#r-~0000000000000009" {
		t.Errorf("missing parent: %+v", m)
	}
	zoomed := newTraceView(tree, traceState{trace: "0a", from: 40e6, to: 60e6}, map[trace.SpanID]string{spanID(1): "▶ 1 consumer", spanID(4): "◀ POST /quotes"}).waterfall()
	if r := zoomed.Rows[1]; r.X != "50%" || r.Width != "51%" {
		t.Errorf("zoomed row at %s, %s wide; want 50%%, 51%% (cut just past the edge)", r.X, r.Width)
	}
	if !zoomed.Zoomed || zoomed.ZoomText != "40 ms to 60 ms" || zoomed.Minimap.FromX != "40%" || zoomed.Minimap.RestWidth != "40%" {
		t.Errorf("zoom: %q, %+v", zoomed.ZoomText, zoomed.Minimap)
	}
	if note := zoomed.Rows[len(zoomed.Rows)-1].Note; note != "" {
		t.Errorf("a bar outside the zoom says %q", note)
	}
}

func TestSearchInTrace(t *testing.T) {
	spans := []trace.Span{testSpan(1, 0, "web-UK", 0, 100), testSpan(2, 1, "api", 50, 25), testSpan(3, 1, "api", 60, 5)}
	spans[1].Attributes = []trace.Attribute{{Key: "db.statement", Value: trace.String("SELECT Größe")}, {Key: "rows", Value: trace.Int(1824)}}
	spans[2].Events = []trace.Event{{Name: "log", Attributes: []trace.Attribute{{Key: "body", Value: trace.String("Cache Miss")}}}}
	spans[2].Error = true
	tree := newTraceTree(spans)
	for text, want := range map[string][]int{
		"": nil, "web-uk": {0}, "OP": {0, 1, 2}, "select größe": {1}, "1824": {1}, "db.statement": {1}, "cache": {2}, "error": {2},
		"api 1824": {1}, "api cache select": {}, "internal": {0, 1, 2}, spanID(3).String(): {2}, "nowhere": {},
	} {
		if diff := cmp.Diff(want, searchRows(tree, text)); diff != "" {
			t.Errorf("search %q (-want +got):\n%s", text, diff)
		}
	}
	s := newTraceView(tree, traceState{trace: "0a", search: "api", span: spanID(2).String()}, nil).search()
	if s.Prev != "" || s.Next != "/t/0a/0000000000000003?q=api#r-0000000000000003" || s.Matches != 2 {
		t.Errorf("from the first match: %+v", s)
	}
}

func TestSelfTime(t *testing.T) {
	tree := newTraceTree([]trace.Span{testSpan(1, 0, "a", 0, 100), testSpan(2, 1, "a", 10, 30), testSpan(3, 1, "a", 20, 40), testSpan(4, 1, "a", 90, 50), testSpan(5, 2, "a", 10, 30)})
	for i, want := range map[int]int64{0: 40e6, 1: 0, 3: 40e6} { // 10–60 and 90–100 of the root are covered
		if got := tree.selfNano(i); got != want {
			t.Errorf("self time of row %d = %d, want %d", i, got, want)
		}
	}
}

func TestPanel(t *testing.T) {
	spans := []trace.Span{testSpan(1, 0, "web", 10, 5), testSpan(2, 1, "api", 4, 25)}
	spans[1].Attributes = []trace.Attribute{
		{Key: "z", Value: trace.String(`quo"te & <b>`)}, {Key: "big", Value: trace.Int(1 << 60)}, {Key: "ok", Value: trace.Bool(true)},
		{Key: "http.response.status_code", Value: trace.Int(503)},
	}
	p := newTraceView(newTraceTree(spans), traceState{trace: trace.ID{1}.String(), span: spanID(2).String(), fields: "STATUS"}, nil).panel(nil)
	var keys []string
	for _, a := range p.Attributes {
		keys = append(keys, fmt.Sprintf("%s %v %v", a.Key, a.Hidden, a.Warn))
	}
	if diff := cmp.Diff([]string{"big true false", "http.response.status_code false true", "ok true false", "z true false"}, keys); diff != "" {
		t.Errorf("attributes, hidden, warn (-want +got):\n%s", diff)
	}
	if p.AttributesShown != 1 {
		t.Errorf("%d attributes shown, want 1", p.AttributesShown)
	}
	u, err := url.Parse(p.Attributes[3].FilterHref)
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query().Get("q"); !strings.Contains(q, `"filters":[{"column":"z","op":"=","value":"quo\"te`) {
		t.Errorf("filter of a text: %s", q)
	}
	if u, err = url.Parse(p.Attributes[0].FilterHref); err != nil || !strings.Contains(u.Query().Get("q"), `"value":1152921504606846976`) {
		t.Errorf("a large integer loses digits: %s, %v", u, err)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "6 ms before its parent") {
		t.Errorf("notes: %q", p.Notes)
	}
}
