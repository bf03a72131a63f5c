package handlers

import (
	"fmt"
	"net/http"
	"testing"

	"redthread/collab"
)

// Null in an update takes away what can be absent, and is refused where nothing can.
func TestNullClearsOrIsRefused(t *testing.T) {
	s := newSite(t)
	bo := s.as(collab.RoleMember)
	var inv collab.Investigation
	bo.api("POST", "/api/v1/investigations", `{"title":"Slow quotes","impact_start_unix_nano":"1900000000000000000"}`, 201, &inv)
	if inv.Lead == "" || inv.ImpactStartUnixNano == 0 {
		t.Fatalf("opened %+v", inv)
	}
	at := "/api/v1/investigations/" + string(inv.ID)
	bo.api("PATCH", at, fmt.Sprintf(`{"seen":%d,"lead":null,"impact_start_unix_nano":null}`, inv.Offset), 200, &inv)
	if inv.Lead != "" || inv.ImpactStartUnixNano != 0 {
		t.Errorf("cleared, it is %+v", inv)
	}
	for _, name := range []string{"title", "status", "severity", "kind", "visibility"} {
		bo.api("PATCH", at, fmt.Sprintf(`{"seen":%d,%q:null}`, inv.Offset, name), http.StatusBadRequest, nil).want(t, name, 400, `"field":"`+name+`"`)
	}
	bo.api("POST", "/api/v1/investigations", `{"title":"Nobody's","lead":null}`, 201, &inv)
	if inv.Lead != "" {
		t.Errorf("a new one of nobody is led by %s", inv.Lead)
	}
	bo.api("PATCH", "/api/v1/investigations/"+string(inv.ID), fmt.Sprintf(`{"seen":1,"lead":%q}`, s.users[collab.RoleViewer].ID), 400, nil)
	bo.get("/i/"+string(inv.ID)).want(t, "who can lead", 200, "!"+`<option value="`+s.users[collab.RoleViewer].ID+`">The viewer</option></select><button class="Button Button--small" type="submit">Hand over`)
}
