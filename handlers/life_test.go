package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/collab"
	"redthread/tracestore/trace"
)

func TestEvidenceFacts(t *testing.T) {
	id, err := trace.ParseID(boardTrace)
	if err != nil {
		t.Fatal(err)
	}
	origin := trace.ID{15: 9}
	span := `{"service":"dealers-api","start_unix_nano":"500","duration_nano":"60"}`
	head := `"trace_id":"` + boardTrace + `"`
	chain := `{"status":"found","origins":[{"trace_id":"` + origin.String() + `"}],"hops":[{"from":{"service":"web-uk"},"to":{"service":"worker"}}]}`
	for name, c := range map[string]struct {
		kind collab.BlockKind
		body string
		want collab.EvidenceFacts
	}{
		"a span with its path and chain": {collab.KindSpan, `{` + head + `,"span":` + span + `,"path":[{"service":"web-uk"},{"service":"dealers-api"}],"chain":` + chain + `,"trace":{"start_unix_nano":"1","duration_nano":"9999"}}`,
			collab.EvidenceFacts{Services: []string{"dealers-api", "web-uk", "worker"}, FirstUnixNano: 500, LastUnixNano: 560, Origin: origin}},
		"a span that nothing caused": {collab.KindSpan, `{` + head + `,"span":` + span + `,"path":[],"chain":null}`,
			collab.EvidenceFacts{Services: []string{"dealers-api"}, FirstUnixNano: 500, LastUnixNano: 560, Origin: id}},
		"of several origins none": {collab.KindSpan, `{` + head + `,"span":` + span + `,"chain":{"status":"ambiguous","origins":[{"trace_id":"` + origin.String() + `"},{"trace_id":"` + boardTrace + `"}],"hops":[]}}`,
			collab.EvidenceFacts{Services: []string{"dealers-api"}, FirstUnixNano: 500, LastUnixNano: 560}},
		"a trace": {collab.KindTrace, `{` + head + `,"chain":null,"trace":{"start_unix_nano":"100","duration_nano":"50"},"spans":[` + span + `,{"service":"pg"},{"service":""}]}`,
			collab.EvidenceFacts{Services: []string{"dealers-api", "pg"}, FirstUnixNano: 100, LastUnixNano: 150, Origin: id}},
		"a thread": {collab.KindThread, `{` + head + `,"thread":{"origin":{"trace_id":"` + origin.String() + `"},"nodes":[` + span + `,{"service":"web-uk","start_unix_nano":"400","duration_nano":"10"}]}}`,
			collab.EvidenceFacts{Services: []string{"dealers-api", "web-uk"}, FirstUnixNano: 400, LastUnixNano: 560, Origin: origin}},
		"a thread without an origin": {collab.KindThread, `{"thread":{"origin":null,"nodes":[]}}`, collab.EvidenceFacts{}},
		"a query": {collab.KindQuery, `{"query":{"filters":[{"column":"service.name","op":"=","value":"web-uk"},{"column":"service.name","op":"in","value":["pg",7]},{"column":"service.name","op":"!=","value":"x"},{"column":"name","op":"=","value":"y"}]}}`,
			collab.EvidenceFacts{Services: []string{"web-uk", "pg"}}},
	} {
		got, err := evidenceFacts(c.kind, []byte(c.body))
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if _, err := evidenceFacts(collab.KindSpan, []byte(`[`)); err == nil {
		t.Error("facts of what is no JSON")
	}
}

// TestHeadForms changes the life of an investigation with forms alone.
func TestHeadForms(t *testing.T) {
	now := time.Date(2096, 11, 22, 14, 9, 0, 0, time.UTC) // the store has its own clock, and no update is promised in its past
	s := newSite(t, func(d *Deps) { d.Now = func() time.Time { return now } })
	s.addTrace()
	admin, bo := s.as(collab.RoleAdmin), s.as(collab.RoleMember)
	viewer := s.users[collab.RoleViewer].ID
	admin.post("/settings/teams", "name", "Dealers", "services", "dealers-api, stock-*\nweb-*").wantRedirect(t, "make a team", "/settings/teams")
	admin.post("/settings/teams", "name", "dealers").want(t, "make it twice", http.StatusUnprocessableEntity, "There is a team @dealers already.", `value="dealers"`)
	teams, err := s.Collab.FindTeams(t.Context())
	if err != nil || len(teams) != 1 || !slices.Equal(teams[0].Services, []string{"dealers-api", "stock-*", "web-*"}) {
		t.Fatalf("teams %+v, %v", teams, err)
	}
	team := string(teams[0].ID)
	admin.post("/settings/teams/"+team, "joins", viewer).wantRedirect(t, "join", "/settings/teams")
	admin.post("/settings/teams/"+team, "name", "!", "services", "kept").want(t, "a bad name", http.StatusUnprocessableEntity, "Use letters or digits", ">kept</textarea>", "<details open>")
	bo.get("/settings/teams").want(t, "teams, as a member", http.StatusOK, "@dealers", "The viewer", "!Make the team", "!Delete the team")

	bo.post("/investigations", "title", "Slow quotes", "severity", "sev2", "kind", "drill", "visibility", "team", "teams", team).want(t, "open", http.StatusSeeOther)
	list, _, err := s.Collab.FindInvestigations(collab.AsServer(t.Context()), collab.InvestigationFilter{})
	if err != nil || len(list) != 1 || list[0].Kind != collab.InvestigationDrill || list[0].Visibility != collab.VisibilityTeam || len(list[0].Teams) != 1 {
		t.Fatalf("opened %+v, %v", list, err)
	}
	id := list[0].ID
	page := "/i/" + string(id)
	inv := func() collab.Investigation {
		t.Helper()
		var v collab.Investigation
		bo.api("GET", "/api/v1/investigations/"+string(id), "", 200, &v)
		return v
	}
	post := func(what string, form ...string) collab.Investigation {
		t.Helper()
		bo.post(page, append([]string{"seen", fmt.Sprint(inv().Offset)}, form...)...).wantRedirect(t, what, page)
		return inv()
	}
	bad := func(what string, form ...string) {
		t.Helper()
		bo.post(page, append([]string{"seen", fmt.Sprint(inv().Offset)}, form...)...).want(t, what, http.StatusUnprocessableEntity)
	}
	if got := post("next update", "next_update", "30"); got.NextUpdateUnixNano != now.Add(30*time.Minute).UnixNano() {
		t.Errorf("next update at %d", got.NextUpdateUnixNano)
	}
	bo.get(page).want(t, "the countdown", http.StatusOK, "next update in 30 min", `data-due="2096-11-22T14:39:00Z"`, "drill", "teams only")
	now = now.Add(time.Hour)
	bo.get(page).want(t, "what is overdue", http.StatusOK, "update overdue 30 min", "HeadMenu-button--warn")
	bo.get("/investigations").want(t, "what is overdue, in the list", http.StatusOK, "update overdue")
	if got := post("no next update", "next_update", "0"); got.NextUpdateUnixNano != 0 {
		t.Errorf("next update at %d", got.NextUpdateUnixNano)
	}
	bad("an odd time to the next", "next_update", "soon")
	bad("a long time to the next", "next_update", "999999")
	if got := post("impact", "impact_start", "2026-11-22T13:51", "impact_end", "2026-11-22T14:03:30", "was_impact_start", "", "was_impact_end", ""); got.ImpactStartUnixNano != time.Date(2026, 11, 22, 13, 51, 0, 0, time.UTC).UnixNano() ||
		got.ImpactEndUnixNano != time.Date(2026, 11, 22, 14, 3, 30, 0, time.UTC).UnixNano() {
		t.Errorf("impact %+v", got)
	}
	bad("an odd time", "impact_start", "yesterday")
	bad("an end before the begin", "impact_end", "2026-11-22T13:00")
	if got := post("ask in", "person", s.users[collab.RoleAdmin].ID, "role", "scribe"); len(got.People) != 1 || got.People[0].Role != "scribe" {
		t.Errorf("people %+v", got.People)
	}
	if got := post("another role", "person", s.users[collab.RoleAdmin].ID, "role", "comms"); got.People[0].Role != "comms" {
		t.Errorf("people %+v", got.People)
	}
	if got := post("put a service in", "service_in", " pg "); len(got.Services) != 1 || got.Services[0].Name != "pg" {
		t.Errorf("services %+v", got.Services)
	}
	if got := post("take it out", "service_out", "pg"); len(got.Services) != 0 {
		t.Errorf("services %+v", got.Services)
	}
	post("status", "status", "mitigated", "was_status", "open")
	bo.get(page+"/timeline?timeline=all").want(t, "the timeline", http.StatusOK, "promised the next update by <time", `data-style="minute">2096-11-22 14:39 UTC</time>`, "asked The admin in as scribe", "made The admin comms", "put pg among the affected services",
		"said that the impact began at <time", `data-style="minute">2026-11-22 13:51 UTC</time>`, "changed the status from open to mitigated", "!13:51 UTC, ")
	// Both ends of the impact were told in one change, and each is an entry of its own.
	over := regexp.MustCompile(`/timeline/(c_\d+_over)"`).FindStringSubmatch(bo.get(page + "/timeline").body)
	if over == nil {
		t.Fatal("no entry of the end of the impact can be edited")
	}
	bo.get(page+"/timeline/"+over[1]).want(t, "its form", http.StatusOK, "impact was over at <time", `>2026-11-22 14:03 UTC</time>`, "!impact began")
	bo.post(page+"/timeline/"+over[1], "seen", "1", "hidden", "true").wantRedirect(t, "hide it", page+"#entry-"+over[1])
	bo.get(page+"/timeline").want(t, "without it", http.StatusOK, "impact began at", "!impact was over", "1 entry is hidden")
	if got := post("leave", "person", s.users[collab.RoleAdmin].ID, "leave", "1"); len(got.People) != 0 {
		t.Errorf("people %+v", got.People)
	}
	post("take the team out", "team_leaves", team)
	bo.post(page+"/ask", "team_id", team).wantRedirect(t, "ask a team in", page)
	s.as(collab.RoleViewer).get(page).want(t, "as a viewer of the team", http.StatusOK, "Slow quotes", "!data-form=", "Status history")

	// A task is due.
	bo.post(page+"/blocks", "kind", "task", "title", "Roll back", "due", "2026-11-22T15:00").want(t, "a task", http.StatusSeeOther)
	bo.get(page).want(t, "a task that is overdue", http.StatusOK, `Badge--warn`, "overdue")

	// Found by its evidence; merged with the other one about the same request.
	bo.api("POST", "/api/v1/investigations/"+string(id)+"/pins", `{"kind":"span","trace_id":"`+boardTrace+`","span_id":"0000000000000003"}`, 201, nil)
	other := bo.openInvestigation("Stuck jobs")
	admin.api("POST", "/api/v1/investigations/"+string(other.ID)+"/pins", `{"kind":"trace","trace_id":"`+boardTrace+`"}`, 201, nil)
	bo.get("/investigations?show=all&q=dealers-API&severity=sev2&kind=drill&team="+team).want(t, "found", http.StatusOK, "Slow quotes", "!Stuck jobs", "dealers-api · web-uk", "Clear")
	bo.get("/investigations?show=all&q=nothing").want(t, "not found", http.StatusOK, "None like this")
	bo.get("/investigations?severity=sev9").want(t, "an unknown severity", http.StatusOK, "There is no severity “sev9”")
	bo.get(page).want(t, "suggested, but where fewer see it nothing is offered to come", http.StatusOK, "Stuck jobs</a> is about the same request", "!Merge it into this")
	bo.get("/i/"+string(other.ID)).want(t, "suggested, asking", http.StatusOK, "Slow quotes</a> is about the same request", "Merge it into this…", `name="sure" value="1" required`, "Whoever may see this one sees it then", "!type=\"hidden\" name=\"sure\"", `!<option value="`+string(id)+`"`)
	bo.post("/i/"+string(other.ID)+"/merge", "into", string(id)).want(t, "unsure", http.StatusUnprocessableEntity)
	bo.post("/i/"+string(other.ID)+"/merge", "into", string(id), "sure", "1").wantRedirect(t, "merge", page)
	if a := bo.get("/i/" + string(other.ID) + "?view=lanes"); a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != page+"?view=lanes" {
		t.Errorf("the old address: %d to %q", a.status, a.header.Get("Location"))
	}
	bo.post("/i/"+string(other.ID), "seen", "1", "title", "x").want(t, "a late change", http.StatusConflict, string(id))
	bo.api("GET", "/api/v1/investigations/"+string(other.ID)+"/changes", "", http.StatusConflict, nil)
	s.as(collab.RoleViewer).get("/i/"+string(other.ID)).want(t, "the old address, of who may see the new", http.StatusTemporaryRedirect)
	var whole struct {
		StatusHistory []collab.StatusAt   `json:"status_history"`
		Suggested     *collab.Suggestions `json:"suggested"`
		Blocks        []collab.Block
	}
	raw := bo.api("GET", "/api/v1/investigations/"+string(id), "", 200, &whole)
	if len(whole.StatusHistory) != 2 || whole.Suggested == nil || len(whole.Suggested.Merges) != 0 || len(whole.Blocks) != 3 {
		t.Errorf("the whole: %+v", whole)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(raw.body), &fields); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"id", "title", "status", "severity", "lead", "epoch", "offset", "kind", "visibility", "teams", "people", "services", "lead_since_unix_nano", "next_update_unix_nano", "impact_start_unix_nano", "impact_end_unix_nano"} {
		if v := string(fields[f]); v == "" || v == "null" {
			t.Errorf("the answer leaves out %q", f)
		}
	}
	for name, v := range map[string]string{"next_update_unix_nano": "1795381829680000000", "impact_end_unix_nano": "1.5", "impact_start_unix_nano": `"soon"`} {
		bo.api("PATCH", "/api/v1/investigations/"+string(id), fmt.Sprintf(`{%q: %s}`, name, v), http.StatusBadRequest, nil).want(t, name, http.StatusBadRequest, `"field":"`+name+`"`, "a string of digits")
	}
	// Made private, the old address of the other leads those nowhere who may not see it.
	post("private", "visibility", "private", "was_visibility", "team")
	for what, path := range map[string]string{"the new address": page, "the old address": "/i/" + string(other.ID)} {
		a := s.as(collab.RoleViewer).get(path)
		if a.status != http.StatusNotFound || strings.Contains(fmt.Sprint(a.header, a.body), string(id)) && path != page {
			t.Errorf("%s, of who may not see it: %d", what, a.status)
		}
	}
	admin.post("/settings/teams/"+team+"/delete").wantRedirect(t, "delete the team", "/settings/teams")
	if got := inv(); len(got.Teams) != 0 {
		t.Errorf("teams %+v", got.Teams)
	}
}
