package handlers

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/collab"
	"redthread/tracestore"
	"redthread/tracestore/otlp"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
)

const hostileValue = `"></script><script>alert(1)</script>`

// exploreSpans are 60 requests of web-uk over the last half hour, every tenth
// slow and failed, and 6 of web-de with a hostile value.
func exploreSpans(now time.Time) []trace.Span {
	var spans []trace.Span
	for i := range 66 {
		s := trace.Span{TraceID: trace.ID{1, 15: byte(i + 1)}, SpanID: trace.SpanID{2, 7: byte(i + 1)}, Service: "web-uk", Environment: "production-uk", Name: "POST /quotes", Kind: trace.KindServer,
			StartUnixNano: now.Add(-time.Duration(i%60)*30*time.Second - time.Second).UnixNano(), DurationNano: 20e6,
			Attributes: []trace.Attribute{{Key: "app.dealer_id", Value: trace.String(fmt.Sprintf("D-%d", i%3))}}}
		if i%10 == 0 {
			s.DurationNano, s.Error, s.Status = 2e9, true, trace.StatusError
		}
		if i >= 60 {
			s.Service, s.Environment, s.Name = "web-de", "production-de", hostileValue
			s.Attributes = []trace.Attribute{{Key: "odd key", Value: trace.String("=1+1")}}
		}
		spans = append(spans, s)
	}
	return spans
}

// feed stores the spans and waits until the last can be found.
func (s *site) feed(spans []trace.Span) {
	s.t.Helper()
	if _, err := s.Store.Append(s.t.Context(), tracestore.Batch{Format: tracestore.FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans)}); err != nil {
		s.t.Fatal(err)
	}
	last := spans[len(spans)-1]
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		got, _, err := s.Store.TraceSpans(s.t.Context(), last.TraceID, 10)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(got) > 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the spans are not found after 60 s")
		}
	}
}

func exploreSite(t *testing.T) *browser {
	s := newSite(t)
	s.feed(exploreSpans(s.Now()))
	return s.as(collab.RoleMember)
}

func explorePath(params ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	return "/explore?" + q.Encode()
}

func TestExplorePage(t *testing.T) {
	b := exploreSite(t)
	b.get("/explore").want(t, "without a query", http.StatusOK, "HEATMAP(duration_ms)", `value="COUNT"`, ">66<", "66 matched")
	b.get(explorePath("v", "COUNT", "v", "P99(duration_ms)", "g", "service.name", "o", "COUNT desc")).want(t, "groups", http.StatusOK,
		`<option value="service.name">`, "web-uk", "web-de", ">60<", "2 s", `aria-sort="descending"`, "Pin to", `data-js="chart_lines"`, `aria-label="Traces of web-uk"`)
	b.get(explorePath("w", "service.name = web-uk", "w", "duration_ms > 1000")).want(t, "filters", http.StatusOK, "6 matched", `value="duration_ms &gt; 1000"`)
	b.get(explorePath("w", "service.name = web-de", "w", "duration_ms > 1000", "match", "any")).want(t, "any of the filters", http.StatusOK, "12 matched")
	b.get(explorePath("v", "COUNT", "environment", "production-de")).want(t, "one environment", http.StatusOK, "6 matched",
		`<option value="production-de" selected>`, `<option value="production-uk">`)
	b.get(explorePath("v", "COUNT", "g", "app.dealr")).want(t, "an unknown column", http.StatusOK, "app.dealr", "Answer-warning")
	b.get(explorePath("v", "COUNT", "g", "name")).want(t, "hostile values", http.StatusOK, "&lt;script&gt;alert(1)", "!<script>alert")
	share := regexp.MustCompile(`data-part="share" data-url="([^"]+)"`).FindStringSubmatch(b.get(explorePath("v", "COUNT", "g", "service.name", "range", "2h")).body)
	if share == nil || strings.Contains(share[1], "range=") || !strings.Contains(share[1], "from=") {
		t.Fatalf("the link to share is %q, want one with a fixed window", share)
	}
	b.get(html.UnescapeString(share[1])).want(t, "a shared link", http.StatusOK, "66 matched", "web-de")
	b.get(explorePath("v", "COUNT"), "HX-Request", "true").want(t, "the content alone", http.StatusOK, `id="explore"`, "!<html")
}

func TestExploreTabs(t *testing.T) {
	b := exploreSite(t)
	traces := b.get(explorePath("w", "error = true", "tab", "traces"))
	traces.want(t, "traces", http.StatusOK, "POST /quotes", "2 s", "Newest match in it", `aria-current="page"`)
	if n := strings.Count(traces.body, `<td class="Table-time">`); n != 7 {
		t.Errorf("%d traces are listed, want the 7 with an error", n)
	}
	first := strings.Index(traces.body, trace.ID{1, 15: 1}.String())
	if first < 0 || first > strings.Index(traces.body, trace.ID{1, 15: 11}.String()) {
		t.Error("the newest trace does not come first")
	}
	raw := b.get(explorePath("tab", "raw", "c", "name", "c", "app.dealer_id", "w", "service.name = web-uk"))
	raw.want(t, "raw rows", http.StatusOK, `data-column="app.dealer_id"`, "D-2", `aria-label="Take away name"`, "/t/"+trace.ID{1, 15: 1}.String()+"/"+trace.SpanID{2, 7: 1}.String())
	if n := strings.Count(raw.body, `<td class="Table-time">`); n != 60 {
		t.Errorf("%d raw rows, want 60", n)
	}
}

func TestExploreSaysWhatIsWrong(t *testing.T) {
	b := exploreSite(t)
	for what, c := range map[string]struct {
		path  string
		parts []string
	}{
		"a filter without operator": {explorePath("w", "service.name"), []string{"Say how service.name compares", `id="explore-w0-error"`, "The query did not run"}},
		"an unknown operator":       {explorePath("v", "COUNT", "v", "P42(duration_ms)"), []string{"P42", `id="explore-v1-error"`}},
		"an order of nothing":       {explorePath("v", "COUNT", "o", "zzz"), []string{`id="explore-o0-error"`}},
		"a condition without group": {explorePath("v", "COUNT", "h", "P99(duration_ms) > 1"), []string{`id="explore-h0-error"`}},
		"a limit of words":          {explorePath("n", "many"), []string{`id="explore-limit-error"`, `value="many"`}},
		"a limit too large":         {explorePath("n", "999999"), []string{`id="explore-limit-error"`}},
		"too fine a bucket":         {explorePath("range", "7d", "step", "1"), []string{`id="explore-step-error"`}},
		"a range backwards":         {explorePath("from", "2", "to", "1"), []string{"ends before it begins"}},
		"a hostile clause":          {explorePath("w", hostileValue), []string{"&lt;script&gt;", "!<script>alert"}},
		"JSON that is none":         {explorePath("q", "{"), []string{"The query in the address cannot be read"}},
	} {
		b.get(c.path).want(t, what, http.StatusBadRequest, c.parts...)
	}
}

func TestExploreTakesASpecification(t *testing.T) {
	b := exploreSite(t)
	spec := `{"calculations":[{"op":"COUNT"}],"filters":[{"column":"duration_ms","op":">","value":1000},{"column":"service.name","op":"in","value":["web-uk","x"]}],
		"breakdowns":["app.dealer_id"],"orders":[{"op":"COUNT","order":"descending"}],"havings":[{"calculate_op":"COUNT","op":">=","value":1}],"limit":7,"time_range":5400}`
	a := b.get(explorePath("q", spec))
	a.want(t, "a specification", http.StatusOK, `value="duration_ms &gt; 1000"`, `value="service.name in (web-uk, x)"`, `value="COUNT desc"`, `value="COUNT &gt;= 1"`, `value="7"`, "6 matched", `<option value="90m" selected>`)
	b.get(explorePath("q", spec, "range", "2h")).want(t, "with a range beside it", http.StatusOK, `<option value="2h" selected>`)
	b.get(explorePath("q", `{"start_time":1,"end_time":2}`)).want(t, "an absolute window", http.StatusOK, `value="1970-01-01T00:00:01"`, "No rows match")
}

func TestExploreEmpty(t *testing.T) {
	s := newSite(t)
	b := s.as(collab.RoleViewer)
	b.get("/explore").want(t, "without data", http.StatusOK, "There is no data yet", "!Pin to")
	old := exploreSpans(s.Now().Add(-5 * time.Hour))
	s.feed(old)
	b.get("/explore").want(t, "with older data", http.StatusOK, "No rows match in the last 1 h", "The last 24 h", "Around the newest match")
	b.get(explorePath("w", "service.name = nobody")).want(t, "nothing at any time", http.StatusOK, "No row of any time matches", "Without filters")
	links := regexp.MustCompile(`class="Button" href="(/explore[^"]+)"`).FindAllStringSubmatch(b.get("/explore").body, -1)
	if len(links) != 2 {
		t.Fatalf("%d ways on, want 2", len(links))
	}
	for _, l := range links {
		b.get(html.UnescapeString(l[1])).want(t, "a way on", http.StatusOK, "!No rows match", " matched")
	}
}

func TestExploreDownload(t *testing.T) {
	b := exploreSite(t)
	path := strings.Replace(explorePath("v", "COUNT", "v", "P50(duration_ms)", "g", "odd key", "o", "COUNT desc"), "/explore?", "/explore/download/csv?", 1)
	a := b.get(path)
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"odd key", "COUNT", "P50(duration_ms)"}, {"", "60", "20"}, {"'=1+1", "6", "20"}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("CSV of the results (-want +got):\n%s", diff)
	}
	if got := a.header.Get("Content-Disposition"); got != `attachment; filename="redthread.csv"` {
		t.Errorf("Content-Disposition %q", got)
	}
	a = b.get(strings.Replace(path, "/csv?", "/json?", 1))
	var res query.Result
	if err := json.Unmarshal([]byte(a.body), &res); err != nil || len(res.Results) != 2 || res.Results[1].Data["odd key"] != "=1+1" {
		t.Errorf("JSON of the results: %v, %s", err, a.body)
	}
	a = b.get(strings.Replace(explorePath("tab", "raw", "c", "name", "w", "service.name = web-de"), "/explore?", "/explore/download/csv?", 1))
	rows, err = csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil || len(rows) != 7 || rows[1][3] != hostileValue {
		t.Errorf("CSV of the rows: %v, %q", err, rows)
	}
	b.get("/explore/download/csv?w=x").want(t, "a query that cannot be read", http.StatusBadRequest, "Say how x compares")
	b.get("/explore/download/xml?v=COUNT").want(t, "an unknown format", http.StatusNotFound)
}

// TestExploreAddress: every state in the address comes back from it.
func TestExploreAddress(t *testing.T) {
	now := time.Unix(1_800_000_000, 0).UTC()
	in := url.Values{"v": {"COUNT", "P99(duration_ms)"}, "w": {`zip = "500"`, "a in (1, b)"}, "g": {`"odd column"`, "b"}, "o": {"COUNT desc"}, "h": {"COUNT > 1"}, "n": {"5"},
		"match": {"any"}, "step": {"60"}, "environment": {"uk"}, "tab": {"raw"}, "c": {"name"}, "from": {"1799990000.5"}, "to": {"1799999999"}}
	st := readExplore(in, now)
	if st.faulty() {
		t.Fatalf("faults: %+v", st.Clauses)
	}
	if diff := cmp.Diff(in, st.values()); diff != "" {
		t.Errorf("the address read and written again (-want +got):\n%s", diff)
	}
	spec, err := query.ParseSpec([]byte(st.specJSON()))
	if err != nil {
		t.Fatal(err)
	}
	byJSON := readExplore(url.Values{"q": {st.specJSON()}, "tab": {"raw"}, "c": {"name"}}, now)
	if diff := cmp.Diff(st.values(), byJSON.values()); diff != "" {
		t.Errorf("the address by its specification (-want +got):\n%s", diff)
	}
	if *spec.StartTime != 1799990000.5 || *spec.EndTime != 1799999999 {
		t.Errorf("the window became %v to %v", *spec.StartTime, *spec.EndTime)
	}
}

func TestExploreRefusesAtTheClause(t *testing.T) {
	st := readExplore(url.Values{"w": {"a = 1", "b = 2"}, "v": {"COUNT"}}, time.Now())
	st.refuse(&query.InvalidError{Field: "filters[1].op", Message: "no"})
	if st.Clauses["w"][1].Error != "no" || !st.faulty() {
		t.Errorf("clauses %+v, want the error at the second filter", st.Clauses)
	}
	st.refuse(&query.InvalidError{Field: "filters[9].op", Message: "beyond"})
	if st.Error != "beyond" {
		t.Errorf("an error of a clause that is not there is lost: %+v", st)
	}
	st.refuse(&query.InvalidError{Message: "memory"})
	if st.Error != "memory" {
		t.Errorf("an error of the whole query is lost: %+v", st)
	}
}

func TestHeatRows(t *testing.T) {
	bits := func(f float64, cells int64) float64 {
		return math.Float64frombits(math.Float64bits(f) + uint64(cells)<<50)
	}
	var bands []views.HeatRow
	for _, at := range []int64{0, 1, 5, 9} { // with gaps
		bands = append(bands, views.HeatRow{Min: bits(8, at), Max: bits(8, at+1)})
	}
	rows := heatRows(bands)
	if len(rows) != 10 {
		t.Fatalf("%d bands, want the 10 cells from the least to the greatest", len(rows))
	}
	for i, at := range []int{0, 1, 5, 9} {
		if got := heatRowOf(rows, bands[i].Min, bands[i].Max); got != at {
			t.Errorf("cell %v lies in band %d, want %d", bands[i], got, at)
		}
	}
	for i := 1; i < len(rows); i++ {
		if rows[i].Min != rows[i-1].Max {
			t.Errorf("there is a gap between bands %v and %v", rows[i-1], rows[i])
		}
	}
	withZero := heatRows(append(bands, views.HeatRow{Min: 0, Max: 1e-300}))
	if len(withZero) != 11 || withZero[0].Min != 0 || heatRowOf(withZero, 0, 1e-300) != 0 {
		t.Errorf("zero has no band of its own: %v", withZero)
	}
	if n := len(heatRows([]views.HeatRow{{Min: 1, Max: 1.01}, {Min: 1e9, Max: 1.01e9}})); n < 1 || n > maxHeatRows+1 {
		t.Errorf("%d bands", n)
	}
	for _, odd := range [][]views.HeatRow{nil, {{Min: 0, Max: 0}}, {{Min: -5, Max: -4}, {Min: 3, Max: 4}}, {{Min: -math.MaxFloat64, Max: math.MaxFloat64}}} {
		rows := heatRows(odd)
		for _, b := range odd {
			if i := heatRowOf(rows, b.Min, b.Max); i < 0 || i >= len(rows) {
				t.Errorf("%v in %d bands: band %d", b, len(rows), i)
			}
		}
	}
}

// TestRippleMeasuresInBrowser: the page completes the measures that queries have,
// and says the same of them.
func TestRippleMeasuresInBrowser(t *testing.T) {
	js, err := os.ReadFile("../static/js/explore_complete.js")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(js), "const RIPPLE = {\n")
	list, _, _ = strings.Cut(list, "};")
	want := ""
	for _, m := range query.RippleMeasures() {
		want += fmt.Sprintf("  %s: %q,\n", strings.TrimPrefix(m.Name, "ripple."), m.Note)
	}
	if list != want {
		t.Errorf("explore_complete.js has\n%s\nwant\n%s", list, want)
	}
}

// TestExploreExamples: a page on which nothing was asked yet offers questions across
// traces, and each of them runs.
func TestExploreExamples(t *testing.T) {
	st := readExplore(url.Values{"environment": {"uk"}}, time.Now())
	examples := st.form([]query.ColumnInfo{{Name: "name"}}).Examples
	if len(examples) != 3 {
		t.Fatalf("%d examples, want 3", len(examples))
	}
	for _, e := range examples {
		u, err := url.Parse(e.URL)
		if err != nil {
			t.Fatal(err)
		}
		asked := readExplore(u.Query(), time.Now())
		if _, err := query.Compile(asked.bound(), time.Now()); err != nil || asked.faulty() || asked.Fresh || asked.Spec.Environment != "uk" {
			t.Errorf("%s: %s gives %v", e.Label, e.URL, err)
		}
	}
	if asked := readExplore(url.Values{"v": {"COUNT"}}, time.Now()); asked.form([]query.ColumnInfo{{Name: "name"}}).Examples != nil {
		t.Error("examples stand beside a question")
	}
}
