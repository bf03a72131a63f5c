package collab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMentionedUsers(t *testing.T) {
	people := []mentionable{
		{ID: "u_ana", Name: "Ana Lima", Email: "ana@example.com"},
		{ID: "u_bo", Name: "Bo", Email: "bo.olsen@example.com"},
		{ID: "u_kim1", Name: "Kim Ito", Email: "kim@example.com"},
		{ID: "u_kim2", Name: "Kim Orr", Email: "korr@example.com"},
		{ID: "u_zoe", Name: "Zoë Ångström", Email: "z@example.com"},
		{ID: "m_quo", Name: "quotes-team", Members: []string{"u_bo", "u_kim1"}},
	}
	cases := []struct {
		text string
		want []string
	}{
		{"nobody here", nil},
		{"@Ana Lima please look", []string{"u_ana"}},
		{"@analima, @ANA.LIMA and @ana", []string{"u_ana"}},
		{"(@bo) and @bo.olsen.", []string{"u_bo"}},
		{"ask @Bo, then @Ana Lima", []string{"u_bo", "u_ana"}},
		{"mail ana@example.com", nil},
		{"@bob is not Bo", nil},
		{"@Kim is the one with that address", nil},
		{"@korr and @Kim Ito", []string{"u_kim2", "u_kim1"}},
		{"@zoë ångström!", []string{"u_zoe"}},
		{"@Quotes-Team, and @bo", []string{"m_quo", "u_bo"}},
		{"@quotes-team-api and @quotes-team.created are no team", nil},
		{"@ana-lima-service, @ana_2, @ana.x", nil},
		{"@quotes-team.", []string{"m_quo"}},
		{"thanks @ana... and @bo- or @quotes-team's", []string{"u_ana", "u_bo", "m_quo"}},
		{"@@ana", []string{"u_ana"}},
		{"@", nil},
		{"trailing @an", nil},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, mentioned(c.text, people)); diff != "" {
			t.Errorf("%q: -want +got\n%s", c.text, diff)
		}
	}
}

func TestTold(t *testing.T) {
	list := []mentionable{{ID: "u_ana"}, {ID: "m_quo", Members: []string{"u_bo", "u_ana"}}}
	if diff := cmp.Diff([]string{"u_ana", "u_bo"}, told([]string{"u_ana", "m_quo", "u_gone"}, list)); diff != "" {
		t.Errorf("who is told: each once (-want +got):\n%s", diff)
	}
}
