package handlers

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"redthread/collab"
	"redthread/collab/live"
)

// A form without scripts sends every field of its block. What was not touched is
// no edit, whatever others made of it since.
func TestUntouchedFieldsOfAFormAskNothing(t *testing.T) {
	s := newSite(t)
	ana, bo := s.as(collab.RoleAdmin), s.as(collab.RoleMember)
	inv := ana.openInvestigation("Slow quotes")
	page := "/i/" + string(inv.ID)
	api := "/api/v1/investigations/" + string(inv.ID) + "/blocks"
	var task collab.Block
	ana.api("POST", api, `{"ref":"t","kind":"task","title":"Look","text":"One.","due_unix_nano":"1763820180000000000"}`, 201, &task)
	seen := fmt.Sprint(task.Offset)
	me := s.users[collab.RoleMember].ID
	ana.api("PATCH", api+"/"+string(task.ID), `{"seen":`+seen+`,"title":"Look harder","due_unix_nano":"1763823780000000000"}`, 200, nil)
	form := func(set ...string) []string {
		return append([]string{"seen", seen, "was_title", "Look", "was_assignee", "", "was_due", "2025-11-22T14:03:00"}, set...)
	}
	at := page + "/blocks/" + string(task.ID)
	bo.post(at, form("title", "Look", "assignee", me, "due", "2025-11-22T14:03:00", "text", "One.")...).wantRedirect(t, "only given to somebody", page+"#"+string(task.ID))
	if b, err := s.Collab.BlockByID(collab.AsServer(t.Context()), inv.ID, task.ID); err != nil {
		t.Error(err)
	} else if b.Title != "Look harder" || b.Assignee != me || b.DueUnixNano != 1763823780000000000 || b.Text != "One." {
		t.Errorf("the task is %+v", b)
	}
	bo.post(at, form("title", "Look now", "assignee", "", "due", "2025-11-22T14:03:00", "text", "One.")...).want(t, "both renamed it", http.StatusConflict, "Two of you changed the title", `value="Look now"`, "Look harder", `name="was_assignee"`, "!"+`name="was_title"`, "The admin</strong>", "saved another version while you wrote, at")
	bo.post(at, form("title", "Look", "assignee", "", "due", "2025-11-22T16:00:00", "text", "One.")...).want(t, "both put it off", http.StatusConflict,
		"Two of you changed the due (UTC)", `name="due" value="2025-11-22T16:00:00"`, "2025-11-22T15:03:00")
	bo.get(at).want(t, "the block", 200, `name="was_title" value="Look harder"`, `name="was_due" value="2025-11-22T15:03:00"`)
}

// A conflict over the socket says what the API says: both versions.
func TestConflictOverTheSocketHasBothVersions(t *testing.T) {
	s := newSite(t)
	ana := s.as(collab.RoleAdmin)
	inv := ana.openInvestigation("Slow quotes")
	c := s.dial(ana, inv.ID, "")
	ask := func(ref, typ string, data map[string]any) {
		t.Helper()
		if err := c.WriteJSON(map[string]any{"type": typ, "ref": ref, "data": data}); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(ref string) map[string]any {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			m := map[string]any{}
			if err := c.ReadJSON(&m); err != nil {
				t.Fatal(err)
			}
			if m["ref"] == ref && (m["type"] == live.TypeAck || m["type"] == live.TypeError) {
				return m
			}
		}
	}
	ask("r1", "investigation.update", map[string]any{"seen": 1, "title": "Slow quotes in Spain"})
	if m := answer("r1"); m["type"] != live.TypeAck || m["field"] != nil {
		t.Fatalf("renamed: %v", m)
	}
	ask("r2", "investigation.update", map[string]any{"seen": 1, "title": "Slow stock"})
	if m := answer("r2"); m["code"] != "conflict" || m["field"] != "title" || m["yours"] != "Slow stock" || m["theirs"] != "Slow quotes in Spain" || m["offset"] != 2.0 ||
		m["actor_name"] != "The admin" || m["at"] == "0" || m["at"] == nil {
		t.Errorf("a conflict: %v", m)
	}
	ask("r3", "investigation.update", map[string]any{"seen": 2, "severity": "sev9"})
	if m := answer("r3"); m["code"] != "invalid" || m["theirs"] != nil {
		t.Errorf("nonsense: %v", m)
	}
}

// Whoever is mentioned but may not see the board is not told of it, and the board
// says so: with one click they are asked in.
func TestNamedWhoMayNotSeeIsOffered(t *testing.T) {
	s := newSite(t)
	ana := s.as(collab.RoleAdmin)
	member := s.as(collab.RoleMember)
	inv := ana.openInvestigation("Slow quotes")
	page := "/i/" + string(inv.ID)
	api := "/api/v1/investigations/" + string(inv.ID)
	const said = "named here, cannot see it"
	ana.post(page+"/blocks", "kind", "note", "text", "@The member, look at this", "ref", "n").want(t, "a note", 303)
	ana.get(page).want(t, "all may see it", 200, "!"+said)
	ana.api("PATCH", api, `{"seen":2,"visibility":"private"}`, 200, nil)
	ana.post("/annotations", "investigation_id", string(inv.ID), "text", "@The viewer too", "ref", "a").want(t, "a remark", 303)
	for _, at := range []string{page, page + "/head"} {
		ana.get(at).want(t, "neither may see it", 200, said, `value="`+s.users[collab.RoleMember].ID+`"`, `value="`+s.users[collab.RoleViewer].ID+`"`)
	}
	s.as(collab.RoleViewer).get("/inbox").want(t, "the inbox of who was named", 200, "!Slow quotes", "!too")
	for _, role := range []collab.Role{collab.RoleMember, collab.RoleViewer} {
		ana.post(page+"/ask", "ref", string(role), "user_id", s.users[role].ID).want(t, "asked in", 303)
	}
	ana.get(page).want(t, "both may see it", 200, "!"+said)
	member.get(page).want(t, "who was asked in", 200, "look at this")
}
