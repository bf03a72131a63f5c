package views

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"
)

var exploreNow = time.Date(2026, 11, 22, 14, 3, 11, 0, time.UTC)

// checkGolden compares fragments with testdata/<page>/<case>.html and looks for
// markup that came through from the data.
func checkGolden(t *testing.T, page string, cases map[string]templ.Component) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := strings.ReplaceAll(renderPage(t, c), "><", ">\n<") + "\n"
			for _, bad := range []string{"<script>alert", "<img src=x", " style=", "javascript:"} {
				if strings.Contains(got, bad) {
					t.Errorf("%q is in the page:\n%s", bad, got)
				}
			}
			path := filepath.Join("testdata", page, name+".html")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (go test ./views -update rewrites it) (-want +got):\n%s", path, diff)
			}
		})
	}
}

const hostileText = `"></script><script>alert(1)</script><img src=x onerror=alert(1)>`

func exploreForm1() ExploreForm {
	return ExploreForm{
		Visualize: ExploreClauses{"v", "Calculation", "P99(duration_ms)", []ExploreClause{{Text: "P99(duration_ms)"}}},
		Where:     ExploreClauses{"w", "Filter", "service.name = …", []ExploreClause{{Text: "service.name = quotes-api"}}},
		GroupBy:   ExploreClauses{"g", "Column to group by", "column", []ExploreClause{{Text: "app.dealer_id"}}},
		Order:     ExploreClauses{"o", "Order", "COUNT desc", nil}, Having: ExploreClauses{"h", "Condition on groups", "COUNT > 10", nil},
		Calculated: ExploreClauses{"f", "Calculated field", "name = expression", nil},
		Automatic:  "30", Window: ExploreWindow{Range: "1h", From: exploreNow.Add(-time.Hour), To: exploreNow},
		Suggestions: []string{"app.dealer_id", "duration_ms"}, Operators: []string{"COUNT", "P99"}, Environment: "production-uk",
	}
}

func exploreAxis() ChartTime {
	return ChartTime{From: exploreNow.Add(-time.Hour).UnixMilli(), To: exploreNow.UnixMilli(), Start: exploreNow.Add(-time.Hour).UnixMilli(), Step: 1_200_000, Buckets: 3}
}

func exploreTabs() []ExploreTab {
	return []ExploreTab{{Label: "Results", Count: "2", URL: "/explore", Current: true}, {Label: "Traces", URL: "/explore?tab=traces"}}
}

func TestExploreGolden(t *testing.T) {
	foot := ExploreFoot{Scanned: "12,408", Matched: "300", Elapsed: "83 ms", Segments: "2 segments"}
	results := ExploreAnswer{Ran: true, Now: exploreNow, Warnings: []string{`No row in this time range has the column "app.dealr".`}, Foot: foot, Tabs: exploreTabs(),
		JSONURL: "/explore/download/json?v=COUNT", CSVURL: "/explore/download/csv?v=COUNT",
		Charts: []ExploreChart{
			{Heat: &Heatmap{ID: "chart-0", Title: "HEATMAP(duration_ms)", Column: "duration_ms", Unit: UnitMilliseconds, Time: exploreAxis(),
				Rows: []HeatRow{{5, 10}, {10, 20}, {20, 40}}, Cells: []HeatCell{{0, 0, 3}, {1, 2, 90}}}},
			{Line: &LineChart{ID: "chart-1", Title: "P99(duration_ms)", Unit: UnitMilliseconds, Time: exploreAxis(), Hidden: 1,
				Lines: []Line{{"0", "D-4471", "Service--0", []float64{1200, 1300, math.NaN()}}}}},
		},
		Results: &ExploreResults{
			Columns: []ExploreColumn{{Name: "app.dealer_id", Group: true, SortURL: "/explore?o=app.dealer_id+asc"}, {Name: "P99(duration_ms)", SortURL: "/explore?o=x", Sorted: "descending"}},
			Rows: []ExploreRow{
				{Key: "0", Class: "Service--0", Label: "D-4471", TracesURL: "/explore?tab=traces", Cells: []ExploreCell{{Text: "D-4471", Column: "app.dealer_id", Value: `"D-4471"`}, {Text: "1.3 s", Title: "1300", Number: true}}},
				{Key: "1", Class: "Service--1", Label: "—", Cells: []ExploreCell{{Text: "—", Missing: true, Column: "app.dealer_id"}, {Number: true, Bars: "M0 20v-3h5v3z", Title: "values from 1 to 2"}}},
			},
			Total: &ExploreRow{Label: "total", Cells: []ExploreCell{{Text: "total"}, {Text: "1.3 s", Number: true}}},
		}}
	marks := []MarkerRow{
		{ID: "k_1", Type: "migration", Message: "all prices", At: exploreNow.Add(-50 * time.Minute), End: exploreNow.Add(-40 * time.Minute), For: "10 min"},
		{ID: "k_2", Type: "deploy", Service: "quotes-api", ServiceClass: "Service--1", Environment: "production-uk", Message: "build 7f3c1e9d", URL: "https://ci.example.com/1", By: "Ann", At: exploreNow.Add(-20 * time.Minute)},
	}
	results.Markers, results.Charts[0].Heat.Time.Markers, results.Charts[1].Line.Time.Markers = marks, marks, marks
	results.Charts = append(results.Charts, ExploreChart{Line: &LineChart{ID: "chart-2", Title: "Rate", Alone: true, Time: results.Charts[0].Heat.Time, Lines: []Line{{"0", "all", "Service--0", []float64{1, 2, 3}}}}})
	wrong := exploreForm1()
	wrong.Where.Clauses = append(wrong.Where.Clauses, ExploreClause{Text: "service.name", Error: "Say how service.name compares."})
	wrong.Calculated.Clauses = []ExploreClause{{Text: "slow", Error: "Write a calculated field as name = expression."}}
	wrong.Limit = ExploreClause{Text: "x", Error: "The limit is a whole number, at least 1."}
	wrong.Window = ExploreWindow{From: exploreNow.Add(-time.Minute), To: exploreNow, Error: "The time range ends before it begins."}
	wrong.Error, wrong.MatchAny = "The query in the address cannot be read.", true
	traces := ExploreAnswer{Ran: true, Now: exploreNow, Foot: foot, Tabs: exploreTabs(), Traces: &ExploreTraces{More: true, Rows: []ExploreTrace{
		{URL: "/t/aa", SpanURL: "/t/aa/bb", TraceID: "aa", RootService: "web-uk", RootName: "POST /quotes", RootClass: "Service--9", Spans: "214", Errors: "2", HasErrors: true, Took: "1.84 s",
			Service: "quotes-api", Name: "GET /quotes", Duration: "1.2 s", Error: true, Start: exploreNow.Add(-3 * time.Minute), MatchClassName: "Service--1"},
		{URL: "/t/cc", SpanURL: "/t/cc/dd", TraceID: "cc", Service: "quotes-api", Name: "GET /quotes", Duration: "20 ms", Start: exploreNow, MatchClassName: "Service--1"},
	}}}
	hostile := exploreForm1()
	hostile.Where.Clauses = []ExploreClause{{Text: hostileText, Error: hostileText}}
	hostileMark := []MarkerRow{{ID: "k_1", Type: hostileText, Service: hostileText, Environment: hostileText, Message: hostileText, URL: "javascript:alert(1)", By: hostileText, At: exploreNow}}
	hostile.Environment, hostile.Error, hostile.Suggestions, hostile.RawColumns = hostileText, hostileText, []string{hostileText}, []string{hostileText}
	bubble := exploreForm1()
	bubble.Tab = "bubbleup"
	bubble.Select = ExploreClauses{"s", "Filter of the selection", "duration_ms >= 1000", []ExploreClause{{Text: "duration_ms >= 500"}, {Text: "x", Error: "Say how x compares."}}}
	bubble.SelectFrom, bubble.SelectTo = ExploreClause{Text: "2026-11-22T14:00:00"}, ExploreClause{Text: "noon", Error: "Write a time."}
	heat := *results.Charts[0].Heat
	heat.Selected = &HeatBox{From: float64(exploreAxis().From) + 600_000, To: math.Inf(1), Min: 15, Max: math.Inf(1)}
	compared := ExploreAnswer{Ran: true, Now: exploreNow, Foot: ExploreFoot{Scanned: "20,000,160", Matched: "20,000,160", Elapsed: "0.9 s", Segments: "20 of 24 segments", Sampled: true, Sample: true},
		Tabs: exploreTabs(), Charts: []ExploreChart{{Heat: &heat}},
		BubbleUp: &ExploreBubbleUp{Selection: "8,402", Baseline: "1,204,118", DropURL: "/explore", TracesURL: "/explore?tab=traces", ZoomURL: "/explore?w=x", Compared: "41", More: 3,
			Sampled: []string{"The shares of the rest are of 100 of its rows."}, Warnings: []string{"No row is odd."},
			Cards: []BubbleCard{
				{Name: "build.id", GroupURL: "/explore?g=build.id", Difference: "+98.2 pt", Score: "0.97", Rows: []BubbleRow{
					{Text: "bld-7f3c1e9d", Best: true, Column: "build.id", Value: `"bld-7f3c1e9d"`, FilterURL: "/explore?w=a", Selection: "99.0 %", Baseline: "0.8 %", SelectionShare: 0.99, BaselineShare: 0.008},
					{Text: "no value", Missing: true, Column: "build.id", FilterURL: "/explore?w=b", Selection: "0", Baseline: "< 0.1 %", BaselineShare: 0.0004}},
					MoreRows: []BubbleRow{{Text: "other values", Rest: true, Selection: "1.0 %", Baseline: "99.1 %", SelectionShare: 0.01, BaselineShare: 0.991}}},
				{Name: "db.rows", GroupURL: "/explore?g=db.rows", Difference: "+91.0 pt", Score: "0.9", Statement: "≥ 10,000", StatementURL: "/explore?w=c", NearUnique: true,
					Bars: &BubbleBars{Low: "1", High: "100,000", Bars: []BubbleBar{{"1", "10", 0, 0.5, "0", "50.0 %"}, {"10", "100", 0, 0, "0", "0"}, {"100", "100,000", 1, 0.5, "100.0 %", "50.0 %"}}}},
			},
			Rest: []BubbleCard{{Name: "duration_ms", GroupURL: "/explore?g=duration_ms", Defines: true}, {Name: hostileText, GroupURL: "javascript:alert(1)", Rows: []BubbleRow{
				{Text: hostileText, Title: hostileText, Column: hostileText, Value: `"x"`, FilterURL: "/explore", Selection: "1.0 %", Baseline: "1.0 %"}}}},
		}}
	help := ExploreAnswer{Ran: true, Now: exploreNow, Foot: foot, Tabs: exploreTabs(),
		BubbleUp: &ExploreBubbleUp{Help: true, Offers: []ExploreLink{{"Errors", "/explore?s=error+%3D+true&tab=bubbleup"}}}}
	alike := ExploreAnswer{Ran: true, Now: exploreNow, Foot: foot, Tabs: exploreTabs(),
		BubbleUp: &ExploreBubbleUp{Selection: "2", Baseline: "9", Compared: "1", Rest: []BubbleCard{{Name: "name", GroupURL: "/explore?g=name"}}}}
	checkGolden(t, "explore", map[string]templ.Component{
		"bubbleup":       ExploreContent(Explore{Form: bubble, Answer: compared}),
		"bubbleup_help":  ExploreContent(Explore{Form: bubble, Answer: help}),
		"bubbleup_alike": ExploreContent(Explore{Form: bubble, Answer: alike}),
		"results":        ExploreContent(Explore{Form: exploreForm1(), Answer: results}),
		"wrong":          ExploreContent(Explore{Form: wrong}),
		"traces":         ExploreContent(Explore{Form: exploreForm1(), Answer: traces}),
		"nothing": ExploreContent(Explore{Form: exploreForm1(), Answer: ExploreAnswer{Ran: true, Now: exploreNow, Foot: ExploreFoot{Scanned: "9", Matched: "0", Elapsed: "1 ms", Segments: "in memory", Sampled: true},
			Empty: &ExploreEmpty{Window: "the last 1 h", Newest: exploreNow.Add(-3 * time.Hour), Now: exploreNow, Links: []ExploreLink{{"The last 24 h", "/explore?range=24h"}}}}}),
		"no_data": ExploreContent(Explore{Form: exploreForm1(), Answer: ExploreAnswer{Ran: true, Now: exploreNow, Empty: &ExploreEmpty{NoData: true}}}),
		"hostile": ExploreContent(Explore{Form: hostile, Answer: ExploreAnswer{Ran: true, Now: exploreNow, Warnings: []string{hostileText}, Foot: foot, Markers: hostileMark,
			Tabs:   []ExploreTab{{Label: "Raw", URL: "javascript:alert(1)", Current: true}},
			Charts: []ExploreChart{{Line: &LineChart{ID: "chart-0", Title: hostileText, Time: ChartTime{From: exploreAxis().From, To: exploreAxis().To, Start: exploreAxis().Start, Step: 1_200_000, Buckets: 3, Markers: hostileMark}, Lines: []Line{{"0", hostileText, "Service--0", []float64{1, 2, 3}}}}}},
			Raw: &ExploreRaw{Columns: []ExploreRawColumn{{Name: hostileText, RemoveURL: "/explore"}}, AddName: "c", Keep: []ExploreParam{{"w", hostileText}}, NextURL: "/explore?after=x",
				Rows: []ExploreRawRow{{URL: "/t/aa/bb", TraceID: "aa", SpanID: "bb", Start: exploreNow, Error: true, Cells: []ExploreCell{{Text: hostileText, Title: hostileText, Column: hostileText, Value: `"x"`}}}}}}}),
	})
}

func TestHomeGolden(t *testing.T) {
	now := Home{Now: exploreNow, Window: "the last 1 h", ErrorsURL: "/explore?w=error",
		Services: []HomeService{
			{Name: "web-uk", Class: "Service--9", URL: "/explore?w=a", Count: "12,408", Rate: "3.4/s", Errors: "12", Share: "0.1 %", HasErrors: true, ErrorsURL: "/explore?w=b", P50: "20 ms", P95: "90 ms", P99: "1.2 s",
				Requests: Spark{[]float64{1, 2, 3}, "rate of web-uk over time"}, ErrorSpark: Spark{[]float64{0, 1, 0}, "errors of web-uk over time"}, Slow: Spark{[]float64{3, 2, 1}, "p95 of web-uk over time"}},
			{Name: hostileText, Class: "Service--0", URL: "/explore", Count: "1", Rate: "1.0/h", Errors: "0", P50: "1 ms", P95: "1 ms", P99: "1 ms"},
		},
		Routes:  []HomeRoute{{Service: "web-uk", Class: "Service--9", Name: "POST /quotes", URL: "/explore?tab=traces", Count: "9", Errors: "1", HasErrors: true, P50: "1 ms", P95: "2 ms"}},
		Threads: []RippleThread{{Service: "web-uk", Class: "Service--9", Name: hostileText, URL: "/thread/aa", Start: exploreNow.Add(-time.Minute), Effects: "3,482", Bar: "100.0%", Words: "3,482 jobs", Errors: "12", Last: "4 min 20 s"}}, ThreadsURL: "/ripples",
		Errors:         []ExploreTrace{{SpanURL: "/t/aa/bb", Service: "quotes-api", Name: hostileText, RootName: "POST /quotes", Duration: "3 s", Start: exploreNow.Add(-time.Minute), MatchClassName: "Service--1"}},
		Investigations: []HomeInvestigation{{URL: "/i/i_1", Title: hostileText, Status: "open", Severity: "sev2", Lead: "Mara", Updated: exploreNow.Add(-time.Hour)}},
	}
	first := HomeFirst{Endpoint: "http://localhost:8080", NeedsKey: true, Admin: true, Local: true, Senders: []HomeSender{
		{Name: "Rails", URL: "/?sender=rails", Current: true, Steps: []HomeStep{{"Add the gems.", "terminal", "bundle add opentelemetry-sdk"}}}, {Name: "Node", URL: "/?sender=node"}}}
	checkGolden(t, "home", map[string]templ.Component{
		"now":   homeNow(now),
		"quiet": homeNow(Home{Now: exploreNow, Window: "the last 1 h", Quiet: &ExploreEmpty{Window: "the last 1 h", Newest: exploreNow.Add(-26 * time.Hour), Now: exploreNow, Links: []ExploreLink{{"The last 7 days", "/?range=7d"}}}}),
		"calm":  homeNow(Home{Now: exploreNow, Window: "the last 1 h", Services: now.Services[:1]}),
		"first": homeFirst(first),
	})
}

// TestFirstQueryOfFormWithoutScript: what the form sends without script is what
// the address of the page says.
func TestExploreFormWithoutScript(t *testing.T) {
	page := renderPage(t, ExploreContent(Explore{Form: exploreForm1()}))
	var names []string
	for _, m := range regexp.MustCompile(`<(?:input|select)[^>]*? name="([a-z]+)"`).FindAllStringSubmatch(page, -1) {
		names = append(names, m[1])
	}
	want := "environment v v w w match g g o h n f range from to step"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the form's controls are %q, want %q", got, want)
	}
	if !strings.Contains(page, `action="/explore"`) || !strings.Contains(page, `method="get"`) || !strings.Contains(page, `type="submit"`) {
		t.Error("the form cannot be sent without script")
	}
}
