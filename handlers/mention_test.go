package handlers

import (
	"net/http"
	"testing"

	"redthread/collab"
)

// Whom a text can name is told to those who may see what it stands in, and names only
// them.
func TestMentionsAreOfThoseWhoSee(t *testing.T) {
	s := newSite(t)
	bo, admin := s.as(collab.RoleMember), s.as(collab.RoleAdmin)
	inv := bo.openInvestigation("Slow quotes")
	var note collab.Annotation
	bo.api("POST", "/api/v1/annotations", `{"anchor":{"investigation_id":"`+string(inv.ID)+`"},"text":"x"}`, 201, &note)
	admin.get("/mentions?q=the+&investigation="+string(inv.ID)).want(t, "of what all may see", 200, "The viewer", "The member", "The admin")
	bo.api("PATCH", "/api/v1/investigations/"+string(inv.ID), `{"seen":2,"visibility":"private"}`, 200, nil)
	for _, q := range []string{"investigation=" + string(inv.ID), "annotation=" + string(note.ID)} {
		bo.get("/mentions?"+q).want(t, "of what few may see", 200, `"insert":"The member"`, "!The admin", "!The viewer")
		admin.get("/mentions?"+q).want(t, "of what one may not see", http.StatusNotFound)
	}
	bo.get("/mentions?q=vie").want(t, "of a trace", 200, `"insert":"The viewer"`, "!The admin")
	bo.get("/mentions?q=nobody").want(t, "nobody", 200, `"mentions":[]`)
}
