package handlers

import (
	"net/http"
	"strings"
	"testing"

	"redthread/collab"
)

// What a form without scripts says is not lost when something in it is refused.
func TestRefusedFormComesBack(t *testing.T) {
	s := newSite(t)
	s.addTrace()
	ana := s.as(collab.RoleMember)
	inv := ana.openInvestigation("Slow quotes")
	board := "/i/" + string(inv.ID)
	api := "/api/v1" + "/investigations/" + string(inv.ID)
	var pin collab.Block
	ana.api("POST", api+"/pins", `{"kind":"trace","trace_id":"`+boardTrace+`"}`, 201, &pin)
	home := `href="` + board + `"`
	for _, c := range []struct {
		name, path string
		form       []string
		want       []string
	}{
		{"hypothesis", board + "/blocks", []string{"kind", "hypothesis", "ref", "r1", "title", " ", "text", "It <is> long"},
			[]string{`action="` + board + `/blocks"`, home, "It &lt;is&gt; long</textarea>", `name="kind" value="hypothesis"`, `name="ref" value="r1"`, `name="title"`}},
		{"task", board + "/blocks", []string{"kind", "task", "title", "Look", "due", "tomorrow", "assignee", s.users[collab.RoleAdmin].ID},
			[]string{home, `value="Look"`, `value="tomorrow"`, `value="` + s.users[collab.RoleAdmin].ID + `" selected`, "2026-11-22 14:03"}},
		{"link", board + "/blocks", []string{"kind", "link", "title", "Runbook", "url", "ftp:/x"}, []string{home, `value="Runbook"`, `value="ftp:/x"`}},
		{"comparison", board + "/blocks", []string{"kind", "comparison", "title", "Before", "side", string(pin.ID), "side", string(pin.ID)},
			[]string{home, `value="Before"`, `value="` + string(pin.ID) + `" selected`, "beside this"}},
		{"picture", board + "/blocks", []string{"kind", "picture", "title", "The chart"}, []string{home, `value="The chart"`, `type="file"`, `enctype="multipart/form-data"`}},
		{"remark", "/annotations", []string{"investigation_id", string(inv.ID), "text", "When?", "at", "noon"}, []string{home, "When?</textarea>", `value="noon"`}},
		{"timeline", board + "/timeline", []string{"text", "It began", "happened", "noon"}, []string{home, "It began</textarea>", `value="noon"`}},
		{"impact", board, []string{"seen", "1", "impact_start", "2026-11-22T10:00", "impact_end", "9999-12-31T23:59"}, []string{home, `value="9999-12-31T23:59"`, "!since 1970"}},
		{"delete, another title", board + "/delete", []string{"title", "slow quotes"}, []string{home, `value="slow quotes"`, "type its title as it stands: Slow quotes", "That was not deleted", ">Delete</button>", "!>Save</button>"}},
	} {
		ana.post(c.path, c.form...).want(t, c.name, http.StatusUnprocessableEntity, append(c.want, "That was not ")...)
	}
	// A field that comes more often than any form has it is not answered so often: each
	// has all pins of the board to choose from.
	many := []string{"kind", "comparison", "title", "Before"}
	for range 200 {
		many = append(many, "side", string(pin.ID))
	}
	a := ana.post(board+"/blocks", many...)
	a.want(t, "many sides", http.StatusUnprocessableEntity, "beside this")
	if n := strings.Count(a.body, `name="side"`); n != 2 {
		t.Errorf("many sides: %d of them come back, want 2", n)
	}
	// Put right, the same form goes.
	ana.post(board+"/blocks", "kind", "task", "ref", "r2", "title", "Look", "due", "2026-11-22 14:03").want(t, "a time as the message has it", http.StatusSeeOther)
	ana.post(board+"/delete", "title", " Slow  quotes").wantRedirect(t, "delete", "/investigations?done=deleted")
	inv = ana.openInvestigation("Slow quotes")
	board = "/i/" + string(inv.ID)
	// A script hears it as before.
	a = ana.do("POST", board+"/blocks", "kind=task&title=", "Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json", "Sec-Fetch-Site", "same-origin")
	a.want(t, "a script", http.StatusBadRequest, `"field":"title"`)
}
