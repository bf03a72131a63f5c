package views

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Every time on a board is an instant that the page's script puts into the reader's
// zone; until then it is said to be in UTC.
func TestBoardTimesNameTheirZone(t *testing.T) {
	yesterday := boardNow.Add(-24 * time.Hour)
	var out strings.Builder
	head := BoardHead{ID: "i_1", Status: "open", Now: boardNow, ImpactStart: yesterday, Visibility: "workspace"}
	day := ChartTime{From: boardNow.Add(-time.Hour).UnixMilli(), To: boardNow.UnixMilli()}
	entry := TimelineEntry{ID: "e_1", At: yesterday, What: "it began"}
	if err := BoardHeadFragment(head).Render(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	if err := chartX(day).Render(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	if err := TimelineFragment(entry, boardNow).Render(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	if got := len(regexp.MustCompile(`<time[^>]* data-clock[^>]*>`+yesterday.UTC().Format("2 Jan 15:04 UTC")+`</time>`).FindAllString(page, -1)); got != 2 {
		t.Errorf("%d times of yesterday with date and zone in the head and in the timeline, want 2: %s", got, page)
	}
	for _, want := range []string{`data-js="chart_axis"`, `>UTC</text>`, `data-milli="`} {
		if !strings.Contains(page, want) {
			t.Errorf("the axis lacks %s", want)
		}
	}
}

// A timeline of several days has a heading for each, and its times no dates but those
// of another day; one of a single day has none.
func TestTimelineHasDays(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 30, 0, 0, time.UTC) }
	entry := func(id string, happened, recorded time.Time) TimelineEntry {
		return TimelineEntry{ID: id, At: happened, Recorded: recorded, What: id}
	}
	for _, c := range []struct {
		name string
		t    Timeline
		want string
	}{
		{"one day", Timeline{Now: at(23, 9), Entries: []TimelineEntry{entry("a", at(21, 8), time.Time{}), entry("b", at(21, 9), time.Time{})}},
			"21 Nov 08:30 UTC a; 21 Nov 09:30 UTC b"},
		{"as it happened", Timeline{Now: at(23, 9), Entries: []TimelineEntry{entry("a", at(21, 8), at(23, 7)), entry("b", at(21, 9), at(21, 10)), entry("c", at(23, 8), time.Time{})}},
			"Sat 21 Nov UTC; 08:30 UTC a recorded 23 Nov 07:30 UTC; 09:30 UTC b recorded 10:30 UTC; Mon 23 Nov UTC; 08:30 UTC c"},
		{"as it was told", Timeline{Now: at(23, 9), Recorded: true, Entries: []TimelineEntry{entry("c", at(23, 8), time.Time{}), entry("a", at(21, 8), at(23, 7)), entry("b", at(21, 9), at(21, 10))}},
			"Mon 23 Nov UTC; 08:30 UTC c; 21 Nov 08:30 UTC a recorded 07:30 UTC; Sat 21 Nov UTC; 09:30 UTC b recorded 10:30 UTC"},
	} {
		var out strings.Builder
		if err := TimelinePanel(c.t).Render(context.Background(), &out); err != nil {
			t.Fatal(err)
		}
		_, list, _ := strings.Cut(out.String(), `<ol class="Timeline-list"`)
		list, _, _ = strings.Cut(list, "</ol>")
		var got []string
		for _, item := range strings.Split(list, "<li")[1:] {
			text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<li"+item, " ")
			got = append(got, strings.Join(strings.Fields(text), " "))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, strings.Join(got, "; "), c.want)
		}
	}
}
