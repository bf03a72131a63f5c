package handlers

import (
	"net/http"
	"strings"
	"testing"

	"redthread/collab"
	"redthread/tracestore/query"
)

func TestProgressOfAPage(t *testing.T) {
	s := newSite(t)
	s.feed(exploreSpans(s.Now()))
	b := s.as(collab.RoleViewer)
	id := strings.Repeat("0a", 16)
	none := `{"rows_scanned":0,"rows_total":0}`
	b.get("/explore/progress/"+id).want(t, "nothing runs", http.StatusOK, none)

	progress, done := s.watched.begin(id)
	b.get("/explore/progress/"+id).want(t, "a query that has not begun", http.StatusOK, none)
	if _, err := s.Store.QueryProgress(t.Context(), query.Spec{}, progress); err != nil {
		t.Fatal(err)
	}
	b.get("/explore/progress/"+id).want(t, "a query", http.StatusOK, `{"rows_scanned":66,"rows_total":66}`)
	done()
	b.get("/explore/progress/"+id).want(t, "a query that has ended", http.StatusOK, none)

	b.get(explorePath("v", "COUNT", "tab", "bubbleup", "s", "error = true"), headerProgress, id).want(t, "a page that is watched", http.StatusOK, "everything else")
	if s.watched.find(id) != nil {
		t.Error("the page's queries are still watched after its answer")
	}
	if p, _ := s.watched.begin("not a number"); p != nil {
		t.Error("any text names a query")
	}
}
