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
