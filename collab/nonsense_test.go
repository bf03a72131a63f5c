package collab

import (
	"encoding/json"
	"testing"
	"time"
)

// What nobody can mean is refused in a sentence, and then nothing is changed.
func TestNonsenseIsRefused(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "Slow quotes")
	start := inv.CreatedUnixNano
	for name, c := range map[string]struct {
		field string
		u     InvestigationUpdate
	}{
		"a viewer as lead":    {"lead", InvestigationUpdate{Lead: text("u_vi")}},
		"team without a team": {"visibility", InvestigationUpdate{Visibility: ptr(VisibilityTeam)}},
		"over but not begun":  {"impact_end_unix_nano", InvestigationUpdate{ImpactEndUnixNano: &start}},
		"begun in 1970":       {"impact_start_unix_nano", InvestigationUpdate{ImpactStartUnixNano: ptr(int64(5))}},
		"begun in 2262":       {"impact_start_unix_nano", InvestigationUpdate{ImpactStartUnixNano: ptr(int64(1<<63 - 1))}},
		"next update in 1970": {"next_update_unix_nano", InvestigationUpdate{NextUpdateUnixNano: ptr(int64(1))}},
		"next update past":    {"next_update_unix_nano", InvestigationUpdate{NextUpdateUnixNano: ptr(s.nowNano() - 3*int64(time.Minute))}},
		"next update in 2262": {"next_update_unix_nano", InvestigationUpdate{NextUpdateUnixNano: ptr(int64(1<<63 - 1))}},
	} {
		c.u.Seen = seen(1)
		_, err := s.UpdateInvestigation(who.bo, inv.ID, c.u)
		wantInvalid(t, name, err, c.field)
		_, _, err = s.CreateInvestigation(who.bo, InvestigationNew{Title: "x", Lead: c.u.Lead, Visibility: deref(c.u.Visibility), NextUpdateUnixNano: c.u.NextUpdateUnixNano,
			ImpactStartUnixNano: c.u.ImpactStartUnixNano, ImpactEndUnixNano: c.u.ImpactEndUnixNano})
		wantInvalid(t, "a new one: "+name, err, c.field)
	}
	_, _, err := s.CreateBlock(who.bo, inv.ID, BlockNew{Kind: KindTask, Title: "x", DueUnixNano: 5})
	wantInvalid(t, "due in 1970", err, "due_unix_nano")
	if after, err := s.InvestigationByID(who.bo, inv.ID); err != nil || after.Offset != 1 {
		t.Errorf("after all that: %+v, %v", after, err)
	}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// What an update sets, a new investigation can have from the first moment; teams are
// a list or an object.
func TestNewInvestigationTakesWhatAnUpdateDoes(t *testing.T) {
	s, who, _ := openBoards(t)
	team := mustTeam(t, s, who.ana, "Dealers", nil, "u_vi")
	for _, teams := range []string{`["` + string(team.ID) + `"]`, `{"` + string(team.ID) + `":true,"m_other":false}`} {
		var n InvestigationNew
		raw := `{"title":"Slow quotes","teams":` + teams + `,"people":{"u_vi":"scribe"},"services":{"pg":true},"next_update_unix_nano":"3900000000000000000",
			"impact_start_unix_nano":"1900000000000000000","impact_end_unix_nano":"1900000000000000001"}`
		if err := json.Unmarshal([]byte(raw), &n); err != nil {
			t.Fatal(err)
		}
		inv, _, err := s.CreateInvestigation(who.bo, n)
		if err != nil {
			t.Fatal(err)
		}
		if len(inv.Teams) != 1 || inv.asked("u_vi") == nil || len(inv.Services) != 1 || inv.NextUpdateUnixNano != 3_900_000_000_000_000_000 || inv.ImpactEndUnixNano != 1_900_000_000_000_000_001 || inv.Offset != 2 {
			t.Errorf("teams as %s: got %+v", teams, inv)
		}
	}
}
