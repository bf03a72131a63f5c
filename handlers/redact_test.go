package handlers

import (
	"testing"

	"redthread/collab"
)

// TestRedactPage: an administrator takes a value out of a pin by the form, which
// works without scripts; the board shows and says so, others are not offered it.
func TestRedactPage(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	admin, member := s.as(collab.RoleAdmin), s.as(collab.RoleMember)
	inv := admin.openInvestigation("x")
	var p collab.Block
	admin.api("POST", "/api/v1/investigations/"+string(inv.ID)+"/pins", `{"kind":"span","trace_id":"`+boardTrace+`","span_id":"0000000000000003"}`, 201, &p)
	board := "/i/" + string(inv.ID)
	path := board + "/blocks/" + string(p.ID) + "/redact"
	admin.get(board).want(t, "the board", 200, "D-4471", `href="`+path+`"`, "!values taken out")
	member.get(board).want(t, "the board of a member", 200, "D-4471", "!"+path)
	admin.get(path).want(t, "the form", 200, `name="value"`, "cannot be undone")
	admin.post(path, "value", "no such value").want(t, "a value that is not there", 422, "not in the pin", "!no such value")
	admin.post(path, "value", "D-4471").wantRedirect(t, "the form sent", board+"#"+string(p.ID))
	admin.get(board).want(t, "the board after", 200, "!D-4471", "[redacted]", "values taken out by")
	member.post(path, "value", "xyz").want(t, "by a member", 403)
	var again collab.Block
	admin.api("GET", "/api/v1/investigations/"+string(inv.ID)+"/pins/"+string(p.ID), "", 200, &again)
	if again.Evidence == nil || again.Evidence.SHA256 == p.Evidence.SHA256 || len(again.Evidence.Redactions) != 1 {
		t.Errorf("the pin by the API: %+v", again.Evidence)
	}
	if err := s.Collab.CheckEvidence(t.Context()); err != nil {
		t.Error(err)
	}
}
