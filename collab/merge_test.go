package collab

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"redthread/seeds"
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
		{"different words of a line", "the slow dealer answers late\n", "the slow dealer 17 answers late\n", "the slow dealer answers too late\n", "the slow dealer 17 answers too late\n", false},
		{"words apart", "the slow dealer answers late\n", "the very slow dealer answers late\n", "the slow dealer answers too late\n", "the very slow dealer answers too late\n", false},
		{"a word each, far apart", "It waits for the dealer and then fails.\n", "It hangs for the dealer and then fails.\n", "It waits for the dealer and then times out.\n", "It hangs for the dealer and then times out.\n", false},
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

// randomText is a text of few different words and lines, so that edits meet.
func randomText(r *rand.Rand, lines int) []string {
	list := make([]string, lines)
	for i := range list {
		var words []string
		for range r.IntN(6) {
			words = append(words, string(rune('a'+r.IntN(5))))
		}
		list[i] = strings.Join(words, " ") + "\n"
	}
	return list
}

func randomEdit(r *rand.Rand, lines []string) string {
	out := slices.Clone(lines)
	for range 1 + r.IntN(3) {
		i := r.IntN(len(out) + 1)
		switch r.IntN(3) {
		case 0:
			out = slices.Insert(out, i, randomText(r, 1)...)
		case 1:
			if i < len(out) {
				out = slices.Delete(out, i, i+1)
			}
		default:
			if i < len(out) {
				words := splitWords(out[i : i+1])
				words[r.IntN(len(words))] = "NEW "
				out[i] = strings.TrimRight(strings.Join(words, ""), " \n") + "\n"
			}
		}
	}
	return strings.Join(out, "")
}

// What holds of every merge: it is the same whoever merges, an edit alone is
// taken as it is, nothing appears that nobody wrote, and what both kept stays.
func TestMergeTextProperties(t *testing.T) {
	seed := seeds.One(t)
	r := rand.New(rand.NewPCG(seed, 3))
	merged := 0
	for range 20_000 {
		lines := randomText(r, r.IntN(8))
		base := strings.Join(lines, "")
		mine, theirs := randomEdit(r, lines), randomEdit(r, lines)
		got, ok := mergeText(base, mine, theirs)
		again, ok2 := mergeText(base, theirs, mine)
		if ok != ok2 || got != again {
			t.Fatalf("base %q mine %q theirs %q: %q, %v one way and %q, %v the other", base, mine, theirs, got, ok, again, ok2)
		}
		for _, c := range [][3]string{{mine, base, mine}, {base, mine, mine}, {mine, mine, mine}} {
			if got, ok := mergeText(base, c[0], c[1]); !ok || got != c[2] {
				t.Fatalf("base %q yours %q theirs %q: %q, %v, want %q", base, c[0], c[1], got, ok, c[2])
			}
		}
		both := mergeBoth(base, mine, theirs)
		if ok {
			merged++
			if both != got {
				t.Fatalf("base %q mine %q theirs %q: merged %q, and proposed %q", base, mine, theirs, got, both)
			}
		}
		count := func(s, w string) int {
			return slices.IndexFunc(strings.Fields(s), func(f string) bool { return f == w })
		}
		for _, w := range strings.Fields(both) {
			if count(mine, w) < 0 && count(theirs, w) < 0 {
				t.Fatalf("base %q mine %q theirs %q: %q in %q is of nobody", base, mine, theirs, w, both)
			}
		}
		if !ok && (strings.Contains(mine, "NEW") || strings.Contains(theirs, "NEW")) && !strings.Contains(both, "NEW") && !deletes(base, mine, theirs) {
			t.Fatalf("base %q mine %q theirs %q: %q loses what was written", base, mine, theirs, both)
		}
	}
	if merged < 1000 {
		t.Fatalf("only %d of 20,000 merged; the test proves little", merged)
	}
}

// deletes reports whether one side took out a line at all: then a new word of the
// other may go with it only if both made the same.
func deletes(base, mine, theirs string) bool {
	return strings.Count(mine, "\n") < strings.Count(base, "\n") || strings.Count(theirs, "\n") < strings.Count(base, "\n")
}

func FuzzMergeText(f *testing.F) {
	f.Add("a\nb\n", "a\nc\n", "b\n")
	f.Add("", "a", "b")
	f.Add("one two three\n", "one 2 three\n", "one two 3\n")
	f.Fuzz(func(t *testing.T, base, mine, theirs string) {
		if len(base)+len(mine)+len(theirs) > 1<<14 {
			t.Skip()
		}
		got, ok := mergeText(base, mine, theirs)
		again, ok2 := mergeText(base, theirs, mine)
		if ok != ok2 || got != again {
			t.Fatalf("%q, %v one way and %q, %v the other", got, ok, again, ok2)
		}
		mergeBoth(base, mine, theirs)
	})
}
