package collab

import (
	"errors"
	"strings"
	"testing"
)

func TestFindMentions(t *testing.T) {
	s, who, _ := openBoards(t)
	for _, id := range []string{"u_olga", "u_olga2"} { // two of one name
		if _, err := s.write.Exec(`INSERT INTO users (id, name, email, role, password_hash, created_at) VALUES (?1, 'Olga Ruiz', ?1 || '@example.com', 'member', '', 1)`, id); err != nil {
			t.Fatal(err)
		}
	}
	mustTeam(t, s, who.ana, "Dealers", nil, "u_vi")
	mustTeam(t, s, who.ana, "Owls", nil, "u_olga")
	mustTeam(t, s, who.ana, "Nobody", nil)
	open, hidden := mustOpen(t, s, who.bo, "open"), mustOpen(t, s, who.bo, "hidden")
	mustUpdate(t, s, who.bo, hidden.ID, InvestigationUpdate{Visibility: ptr(VisibilityPrivate), People: map[string]*string{"u_vi": text("")}})
	for _, c := range []struct {
		id          InvestigationID
		begin, want string
	}{
		{"", "", "Ana Lima,Bo Olsen,dealers,u_olga,u_olga2,owls,Vi Ng"},
		{open.ID, "", "Ana Lima,Bo Olsen,dealers,u_olga,u_olga2,owls,Vi Ng"},
		{open.ID, "o", "Bo Olsen,u_olga,u_olga2,owls"},
		{open.ID, "OLSEN", "Bo Olsen"},
		{open.ID, "bo ols", "Bo Olsen"},
		{open.ID, "bo x", ""},
		{open.ID, "u_olga2", "u_olga2"},
		{open.ID, "u_olga2@exa", ""}, // the rest of an address is not told
		{hidden.ID, "", "Bo Olsen,dealers,Vi Ng"},
		{hidden.ID, "ow", ""},
	} {
		list, err := s.FindMentions(who.bo, c.id, c.begin, 8)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range list {
			got = append(got, m.Insert)
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%q in %q: got %v, want %s", c.begin, c.id, got, c.want)
		}
		// Each names whom it says.
		people, err := mentionables(t.Context(), s.read)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if ids := mentioned("see @"+m.Insert+" there", people); len(ids) != 1 || ids[0] != m.ID {
				t.Errorf("@%s names %v, want %s", m.Insert, ids, m.ID)
			}
		}
	}
	if _, err := s.FindMentions(who.ana, hidden.ID, "", 8); !errors.Is(err, ErrNotFound) {
		t.Errorf("of one that is hidden: %v", err)
	}
}
