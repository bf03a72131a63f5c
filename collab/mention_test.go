package collab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMentionedUsers(t *testing.T) {
	people := []mentionable{
		{"u_ana", "Ana Lima", "ana@example.com"},
		{"u_bo", "Bo", "bo.olsen@example.com"},
		{"u_kim1", "Kim Ito", "kim@example.com"},
		{"u_kim2", "Kim Orr", "korr@example.com"},
		{"u_zoe", "Zoë Ångström", "z@example.com"},
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
		{"@@ana", []string{"u_ana"}},
		{"@", nil},
		{"trailing @an", nil},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, mentionedUsers(c.text, people)); diff != "" {
			t.Errorf("%q: -want +got\n%s", c.text, diff)
		}
	}
}
