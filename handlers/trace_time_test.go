package handlers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// A clock at 1970 or 2100 must not make the bars of the others invisible.
func TestTimeParts(t *testing.T) {
	at := func(id, parent int, when time.Time, length time.Duration) trace.Span {
		s := testSpan(id, parent, "web", 0, 0)
		s.StartUnixNano, s.DurationNano = when.UnixNano(), int64(length)
		return s
	}
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	epoch := time.Unix(0, 0)
	future := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		spans  []trace.Span
		extent time.Duration
		far    []string // of the rows in their order
		notice string
	}{
		{"all together", []trace.Span{at(1, 0, noon, time.Second), at(2, 1, noon.Add(time.Millisecond), time.Millisecond)}, time.Second, []string{"", ""}, ""},
		{"1970 and 2100", []trace.Span{at(1, 0, noon, 100*time.Millisecond), at(2, 1, noon.Add(10*time.Millisecond), 5*time.Millisecond), at(3, 1, epoch, time.Millisecond), at(4, 1, future, time.Millisecond)},
			100 * time.Millisecond, []string{"", "◂ 56 years earlier", "", "73 years later ▸"}, "Clocks disagree"},
		{"from 1970 until now", []trace.Span{at(1, 0, noon, 100*time.Millisecond), at(2, 1, epoch, noon.Sub(epoch)), at(3, 1, noon, time.Millisecond)}, 100 * time.Millisecond, []string{"", "", ""}, "Clocks disagree"},
		{"a job three days later", []trace.Span{at(1, 0, noon, time.Second), at(2, 1, noon, time.Second), at(3, 1, noon.AddDate(0, 0, 3), time.Second)}, time.Second, []string{"", "", "2 days later ▸"}, "waited long"},
		{"a job of two days", []trace.Span{at(1, 0, noon, 48*time.Hour), at(2, 1, noon.Add(47*time.Hour), time.Second)}, 48 * time.Hour, []string{"", ""}, ""},
		{"a retry after an hour", []trace.Span{at(1, 0, noon, time.Second), at(2, 1, noon.Add(time.Hour), time.Second)}, time.Hour + time.Second, []string{"", ""}, ""},
		{"before and after all that an int64 holds", []trace.Span{at(1, 0, noon, time.Second), at(2, 1, time.Unix(0, -1<<63), time.Second), at(3, 1, time.Unix(0, 1<<63-1), 0), at(4, 1, noon, time.Second)},
			time.Second, []string{"", "◂ centuries earlier", "", "235 years later ▸"}, "Clocks disagree"},
	} {
		tree := newTraceTree(c.spans)
		var far []string
		for i := range tree.rows {
			_, words := tree.far(i)
			far = append(far, words)
		}
		if diff := cmp.Diff(c.far, far); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if tree.extentNano != int64(c.extent) {
			t.Errorf("%s: the axis is %v long, want %v", c.name, time.Duration(tree.extentNano), c.extent)
		}
		if got := tree.timePartsNotice(); c.notice == "" && got != "" || !strings.Contains(got, c.notice) {
			t.Errorf("%s: notice %q, want %q in it", c.name, got, c.notice)
		}
	}

	tree := newTraceTree([]trace.Span{at(1, 0, noon, time.Second), at(2, 1, noon, time.Second), at(3, 1, epoch, time.Millisecond)})
	main := newTraceView(tree, traceState{trace: "0a", part: 9}, nil)
	if links := main.timePartLinks(); len(links) != 2 || links[0].Href != "/t/0a?part=1" || links[0].Text != "1 span in 1 ms" || links[1].Href != "/t/0a" || !links[1].Current {
		t.Errorf("links to the parts: %+v", links)
	}
	first := newTraceView(tree, traceState{trace: "0a", part: 1}, nil)
	w := first.waterfall()
	if tree.startNano != 0 || w.Rows[1].Note != "" || w.Rows[1].X != "0%" || w.Rows[0].Note != "56 years later ▸" || !w.Rows[0].NoteEnd {
		t.Errorf("the part of 1970 begins at %d with rows %+v", tree.startNano, w.Rows)
	}
	if d := first.data(); d.Far[0] != "56 years later ▸" || d.Far[1] != "" || d.Extent != 1e6 {
		t.Errorf("rows for the script: %+v", d)
	}
}

func TestRowName(t *testing.T) {
	for name, want := range map[string]string{
		"": "(no name)", "GET /quotes": "GET /quotes", "größe": "größe", "שלום": "שלום", "a\u202Eb\u2066c\u200Fd\u061Ce": "a\uFFFDb\uFFFDc\uFFFDd\uFFFDe",
		strings.Repeat("ä", 200): strings.Repeat("ä", 120) + "…",
	} {
		if got := rowName(name); got != want {
			t.Errorf("rowName(%q) = %q, want %q", name, got, want)
		}
	}
}
