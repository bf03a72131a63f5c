package handlers

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"redthread/collab"
	"redthread/tracestore/query"
)

// TestMarkersPage puts a marker by the form, finds it by its filters, and deletes it
// as who put it and as an administrator, not as another member.
func TestMarkersPage(t *testing.T) {
	s := newSite(t)
	member, viewer := s.as(collab.RoleMember), s.as(collab.RoleViewer)
	viewer.get("/settings/markers").want(t, "without markers", http.StatusOK, "No markers yet", "curl -X POST", "!Put a marker")

	wrong := member.post("/settings/markers", "type", "flag", "message", "new search", "time", "noon")
	wrong.want(t, "a time that is none", http.StatusUnprocessableEntity, "Write a time as", `value="new search"`)
	wrong = member.post("/settings/markers", "time", "2026-11-22T14:00", "end_time", "2026-11-22T13:00")
	wrong.want(t, "an end before the begin", http.StatusUnprocessableEntity, "It cannot end before it begins.")
	wrong = member.post("/settings/markers", "url", "javascript:alert(1)")
	wrong.want(t, "a link that is none", http.StatusUnprocessableEntity, "Give an address that begins with")

	for _, f := range [][]string{
		{"ref", "1", "service", "quotes-api", "environment", "production-uk", "message", "build 7f3c1e9d", "url", "https://ci.example.com/1", "time", "2026-11-22T14:00:00"},
		{"ref", "1", "service", "quotes-api", "environment", "production-uk", "message", "build 7f3c1e9d", "url", "https://ci.example.com/1", "time", "2026-11-22T14:00:00"}, // sent twice
		{"ref", "2", "type", "flag", "message", "<b>new search</b>", "time", "2026-11-22T13:00", "end_time", "2026-11-22T13:30"},
	} {
		member.post("/settings/markers", f...).wantRedirect(t, "put "+strings.Join(f, " "), "/settings/markers?done=added")
	}
	page := member.get("/settings/markers")
	page.want(t, "the list", http.StatusOK, "build 7f3c1e9d", "&lt;b&gt;new search&lt;/b&gt;", "for 30 min", "https://ci.example.com/1")
	if n := strings.Count(page.body, "build 7f3c1e9d</a>"); n != 1 {
		t.Errorf("the deploy is listed %d times, want once: its form was sent twice", n)
	}
	member.get("/settings/markers?service=quotes-api&type=deploy&environment=production-uk").want(t, "its filter", http.StatusOK, "https://ci.example.com/1", "!new search")
	member.get("/settings/markers?service=other").want(t, "another service", http.StatusOK, "new search", "!https://ci.example.com/1")
	member.get("/settings/markers?type=nothing").want(t, "no type like it", http.StatusOK, "No marker like that.")

	id := regexp.MustCompile(`/settings/markers/(k_[0-9a-z]+)/delete`).FindStringSubmatch(page.body)
	if id == nil {
		t.Fatal("the page has no button to delete")
	}
	s.as(collab.RoleViewer).get("/settings/markers").want(t, "as viewer", http.StatusOK, "build 7f3c1e9d", "!/delete")
	admin := s.as(collab.RoleAdmin)
	admin.post("/settings/markers", "ref", "3", "message", "by the admin").wantRedirect(t, "an administrator puts one", "/settings/markers?done=added")
	theirs, err := s.Collab.FindMarkers(t.Context(), collab.MarkerFilter{Limit: 1})
	if err != nil || len(theirs) == 0 {
		t.Fatalf("the newest marker: %v, %v", theirs, err)
	}
	member.post("/settings/markers/"+string(theirs[0].ID)+"/delete").want(t, "a member deletes another's", http.StatusForbidden)
	admin.post("/settings/markers/"+id[1]+"/delete").wantRedirect(t, "an administrator deletes any", "/settings/markers")
	member.get("/settings/markers").want(t, "after", http.StatusOK, "new search", "!https://ci.example.com/1")
}

// TestMarkersPages walks more markers than a page lists, half of them of one moment:
// each is on one page.
func TestMarkersPages(t *testing.T) {
	s := newSite(t)
	member := s.as(collab.RoleMember)
	const all = 2*maxMarkerRows + 30
	for i := range all {
		body := fmt.Sprintf(`{"message":"build %03d.","time":%d}`, i, 1_700_000_000+min(i, all/2))
		if a := member.do(http.MethodPost, "/api/v1/markers", body, "Content-Type", "application/json"); a.status != http.StatusCreated {
			t.Fatalf("put marker %d: status %d; body %.200s", i, a.status, a.body)
		}
	}
	older := regexp.MustCompile(`href="([^"]+)">Older`)
	seen := map[string]int{}
	next := "/settings/markers"
	for pages := 0; next != ""; pages++ {
		if pages > 4 {
			t.Fatal("the pages do not end")
		}
		a := member.get(next)
		for _, m := range regexp.MustCompile(`build \d{3}\.`).FindAllString(a.body, -1) {
			seen[m]++
		}
		next = ""
		if m := older.FindStringSubmatch(a.body); m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	times := seen["build 000."]
	if len(seen) != all || times == 0 {
		t.Errorf("%d markers are on the pages, want %d", len(seen), all)
	}
	for m, n := range seen {
		if n != times {
			t.Errorf("%s is there %d times, others %d", m, n, times)
		}
	}
}

func TestServicesAsked(t *testing.T) {
	is := func(op string, v any) query.Filter { return query.Filter{Column: "service.name", Op: op, Value: v} }
	for _, c := range []struct {
		spec query.Spec
		want string
	}{
		{query.Spec{}, ""},
		{query.Spec{Filters: []query.Filter{is("=", "a")}}, "a"},
		{query.Spec{Filters: []query.Filter{{Column: "error", Op: "=", Value: true}, is("in", []any{"a", "b"})}}, "a b"},
		{query.Spec{Filters: []query.Filter{is("!=", "a")}}, ""},
		{query.Spec{FilterCombination: "OR", Filters: []query.Filter{is("=", "a"), {Column: "error", Op: "=", Value: true}}}, ""},
	} {
		if got := strings.Join(servicesAsked(&c.spec), " "); got != c.want {
			t.Errorf("services of %+v: %q, want %q", c.spec, got, c.want)
		}
	}
}

// TestExploreMarkers wants the markers of a query's time, services and environment
// on its charts and in a table beside them.
func TestExploreMarkers(t *testing.T) {
	s := newSite(t)
	member := s.as(collab.RoleMember)
	now := s.Now()
	s.feed(exploreSpans(now))
	for i, m := range []string{
		`{"message":"build one","service":"web-uk","time":%d}`, `{"message":"build two","service":"other","time":%d}`,
		`{"type":"flag","message":"for all","time":%d}`, `{"message":"elsewhere","environment":"staging","time":%d}`,
	} {
		if a := member.do(http.MethodPost, "/api/v1/markers", fmt.Sprintf(m, now.Unix()-60*int64(i+1)), "Content-Type", "application/json"); a.status != http.StatusCreated {
			t.Fatalf("put a marker: status %d; body %.200s", a.status, a.body)
		}
	}
	member.get("/explore?v=COUNT").want(t, "everything", http.StatusOK, "Chart-marks", "4 markers in this time", "build one", "build two", "elsewhere")
	member.get("/explore?v=COUNT&v=HEATMAP(duration_ms)&w=service.name+%3D+web-uk").want(t, "of one service", http.StatusOK, "3 markers in this time", "build one", "for all", "!build two")
	member.get("/explore?v=COUNT&range=30s").want(t, "before them", http.StatusOK, "!Chart-marks")
	member.get("/").want(t, "home", http.StatusOK, "Latest deploys and changes", "build one")
}
