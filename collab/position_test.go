package collab

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPositionBetween(t *testing.T) {
	cases := [][2]string{{"", ""}, {"", "1"}, {"", "01"}, {"V", ""}, {"z", ""}, {"zz", ""}, {"A", "B"}, {"A", "A1"}, {"Az", "B"}, {"A1", "A2"}, {"Azz", "B1"}}
	for _, c := range cases {
		got := positionBetween(c[0], c[1])
		if got <= c[0] || (c[1] != "" && got >= c[1]) {
			t.Errorf("between %q and %q: got %q", c[0], c[1], got)
		}
	}
}

func TestPositionBetweenNeverRunsOut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	list := []string{positionBetween("", "")}
	for range 5000 {
		i := r.IntN(len(list) + 1)
		if r.IntN(3) == 0 {
			i = 0 // always before the first is the hard case
		}
		a, b := "", ""
		if i > 0 {
			a = list[i-1]
		}
		if i < len(list) {
			b = list[i]
		}
		p := positionBetween(a, b)
		if p <= a || (b != "" && p >= b) {
			t.Fatalf("between %q and %q: got %q", a, b, p)
		}
		list = slices.Insert(list, i, p)
	}
}

func TestPositionsStayShortWhenAppending(t *testing.T) {
	p := ""
	for range 1000 {
		p = positionBetween(p, "")
	}
	if len(p) > 40 {
		t.Fatalf("after 1,000 appends a position is %d long", len(p))
	}
}
