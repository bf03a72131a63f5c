package collab

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestMergeText(t *testing.T) {
	cases := []struct {
		name, base, yours, theirs, want string
		conflict                        bool
	}{
		{"same", "a\n", "a\n", "a\n", "a\n", false},
		{"only mine", "a\n", "b\n", "a\n", "b\n", false},
		{"only theirs", "a\n", "a\n", "b\n", "b\n", false},
		{"both alike", "a\n", "b\n", "b\n", "b\n", false},
		{"different lines", "1\n2\n3\n4\n5\n", "1\nzwei\n3\n4\n5\n", "1\n2\n3\nvier\n5\n", "1\nzwei\n3\nvier\n5\n", false},
		{"top and bottom", "a\nb\n", "x\na\nb\n", "a\nb\ny\n", "x\na\nb\ny\n", false},
		{"mine deletes, they add below", "a\nb\nc\nd\n", "a\nc\nd\n", "a\nb\nc\nd\ne\n", "a\nc\nd\ne\n", false},
		{"same line", "a\nb\nc\n", "a\nx\nc\n", "a\ny\nc\n", "", true},
		{"both append", "a\n", "a\nx\n", "a\ny\n", "", true},
		{"delete against edit", "a\nb\nc\n", "a\nc\n", "a\nB\nc\n", "", true},
		{"from nothing", "", "a", "b", "", true},
		{"no newline at the end", "a\nb", "A\nb", "a\nb\nc", "", true},
	}
	for _, c := range cases {
		got, ok := mergeText(c.base, c.yours, c.theirs)
		if ok == c.conflict || got != c.want {
			t.Errorf("%s: got %q, merged %v; want %q, merged %v", c.name, got, ok, c.want, !c.conflict)
		}
	}
}

// A merge of edits to separate lines keeps both edits, whoever merges.
func TestMergeTextKeepsSeparateEdits(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	for range 500 {
		n := 3 + r.IntN(30)
		base := make([]string, n)
		for i := range base {
			base[i] = fmt.Sprintf("line %d\n", r.IntN(6))
		}
		mine, theirs := append([]string(nil), base...), append([]string(nil), base...)
		i := r.IntN(n - 2)
		j := i + 2 + r.IntN(n-i-2)
		mine[i], theirs[j] = "mine\n", "theirs\n"
		want := append([]string(nil), base...)
		want[i], want[j] = "mine\n", "theirs\n"
		b, m, o := strings.Join(base, ""), strings.Join(mine, ""), strings.Join(theirs, "")
		for _, pair := range [][2]string{{m, o}, {o, m}} {
			got, ok := mergeText(b, pair[0], pair[1])
			if !ok || got != strings.Join(want, "") {
				t.Fatalf("base %q yours %q theirs %q: got %q, merged %v", b, pair[0], pair[1], got, ok)
			}
		}
	}
}

func TestMergeTextGivesUpOnHugeTexts(t *testing.T) {
	a, b := strings.Repeat("a\n", 3000), strings.Repeat("b\n", 3000)
	if _, ok := mergeText(strings.Repeat("c\n", 3000), a, b); ok {
		t.Fatal("merged two texts that share no line")
	}
}
