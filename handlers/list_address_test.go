package handlers

import (
	"testing"

	"redthread/collab"
)

// What a list does not understand of its address is never left out without a word:
// the API refuses it, a page shows its list and says so.
func TestListsSayWhatTheyDoNotUnderstand(t *testing.T) {
	s := newSite(t)
	bo := s.as(collab.RoleMember)
	first := bo.openInvestigation("Slow quotes")
	bo.openInvestigation("Slow orders")
	base := "/api/v1/investigations/" + string(first.ID)
	for path, field := range map[string]string{
		"/api/v1/investigations?after=yesterday":                     "after",
		"/api/v1/investigations?after=i_1":                           "after",
		"/api/v1/investigations?status=begun":                        "status",
		"/api/v1/investigations?severity=sev9":                       "severity",
		"/api/v1/investigations?kind=exercise":                       "kind",
		"/api/v1/investigations?limit=all":                           "limit",
		"/api/v1/inbox?after=i_1":                                    "after",
		"/api/v1/inbox?show=old":                                     "show",
		"/api/v1/inbox/news?after=now":                               "after",
		"/api/v1/markers?from=noon":                                  "from",
		"/api/v1/markers?limit=0":                                    "limit",
		"/api/v1/annotations":                                        "trace_id",
		"/api/v1/annotations?trace_id=x":                             "trace_id",
		"/api/v1/annotations?span_id=00f067aa0ba902b7":               "trace_id",
		"/api/v1/annotations?pin_id=b_1":                             "pin_id",
		"/api/v1/annotations?trace_id=" + boardTrace + "&pin_id=b_1": "pin_id",
		base + "/changes?after=x":                                    "after",
		base + "/timeline?at=x":                                      "at",
		base + "/timeline?timeline=half":                             "timeline",
	} {
		bo.get(path).want(t, path, 400, `"field":"`+field+`"`)
	}
	const place = "goes on at a place that is not in this list"
	for path, want := range map[string][]string{
		"/investigations?show=everything": {"There is no list “everything”", "Slow quotes"},
		"/investigations?after=yesterday": {place, "Slow quotes"},
		"/investigations?severity=sev9":   {"There is no severity “sev9”", "Slow quotes"},
		"/investigations?kind=<b>":        {"There is no kind “&lt;b&gt;”", "Slow quotes"},
		"/investigations?team=t_1":        {"There is no such team", "Slow quotes"},
		"/inbox?show=old":                 {"The inbox has no list “old”"},
		"/inbox?after=i_1":                {place},
		"/settings/markers?to=noon":       {place},
		"/settings/markers?to=1&before=x": {place},
	} {
		bo.get(path).want(t, path, 200, want...)
	}
	bo.get("/i/"+string(first.ID)+"?view=columns").want(t, "a view that is none", 400, "A board is shown")

	// One that is gone is still a place where the list goes on.
	gone := bo.openInvestigation("Gone")
	bo.api("DELETE", "/api/v1/investigations/"+string(gone.ID), "", 204, nil)
	bo.get("/api/v1/investigations?after="+string(gone.ID)).want(t, "after one that was deleted", 200, "Slow quotes", "Slow orders")
}
