package handlers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkLayout reports what no map may have: nodes that overlap, an edge that does
// not join its nodes, anything outside the picture.
func checkLayout(t *testing.T, name string, n int, edges [][2]int, l mapLayout) {
	t.Helper()
	for a := range n {
		for b := range a {
			dx, dy := l.nodes[a].x-l.nodes[b].x, l.nodes[a].y-l.nodes[b].y
			if max(dx, -dx) < mapNodeWidth && max(dy, -dy) < mapNodeHeight {
				t.Errorf("%s: nodes %d and %d overlap: %v, %v", name, a, b, l.nodes[a], l.nodes[b])
			}
		}
		if p := l.nodes[a]; p.x < 0 || p.y < 0 || p.x+mapNodeWidth > l.width || p.y+mapNodeHeight > l.height {
			t.Errorf("%s: node %d at %v is outside %vx%v", name, a, p, l.width, l.height)
		}
	}
	for i, e := range edges {
		if e[0] == e[1] {
			continue
		}
		p := l.edges[i]
		from, to := l.nodes[e[0]], l.nodes[e[1]]
		start, end := mapPoint{from.x + mapNodeWidth, from.y + mapNodeHeight/2}, mapPoint{to.x, to.y + mapNodeHeight/2}
		if l.back[i] {
			start.x, end.x = from.x, to.x+mapNodeWidth
		}
		if p[0] != start || p[len(p)-1] != end {
			t.Errorf("%s: edge %v goes from %v to %v, want %v to %v", name, e, p[0], p[len(p)-1], start, end)
		}
		for k := 1; k < len(p); k++ {
			if (p[k].x > p[k-1].x) == l.back[i] {
				t.Errorf("%s: edge %v turns at %v", name, e, p[k])
			}
		}
	}
}

func TestLayoutOfAChain(t *testing.T) {
	edges := [][2]int{{0, 1}, {1, 2}, {0, 2}}
	l := layoutMap(3, edges)
	checkLayout(t, "chain", 3, edges, l)
	if !(l.nodes[0].x < l.nodes[1].x && l.nodes[1].x < l.nodes[2].x) {
		t.Errorf("the chain does not go from left to right: %v", l.nodes)
	}
	if slices.Contains(l.back, true) {
		t.Errorf("an edge of a chain leads back: %v", l.back)
	}
}

func TestLayoutOfACircle(t *testing.T) {
	edges := [][2]int{{0, 1}, {1, 2}, {2, 0}, {2, 2}}
	l := layoutMap(3, edges)
	checkLayout(t, "circle", 3, edges, l)
	n := 0
	for _, b := range l.back {
		if b {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d edges lead back, want 1: %v", n, l.back)
	}
	if l.edges[3] != nil {
		t.Errorf("an edge from a node to itself has the way %v", l.edges[3])
	}
}

// TestLayoutUncrosses: what can be drawn without crossings is.
func TestLayoutUncrosses(t *testing.T) {
	edges := [][2]int{{0, 7}, {1, 6}, {2, 5}, {3, 4}}
	l := layoutMap(8, edges)
	checkLayout(t, "pairs", 8, edges, l)
	for i, a := range edges {
		for _, b := range edges[:i] {
			if (l.nodes[a[0]].y < l.nodes[b[0]].y) != (l.nodes[a[1]].y < l.nodes[b[1]].y) {
				t.Errorf("%v and %v cross", a, b)
			}
		}
	}
}

func TestLayoutIsStable(t *testing.T) {
	for _, size := range []struct{ nodes, edges int }{{1, 0}, {6, 9}, {50, 90}, {500, 1200}} {
		rng := rand.New(rand.NewPCG(uint64(size.nodes), 7))
		var edges [][2]int
		for range size.edges {
			edges = append(edges, [2]int{rng.IntN(size.nodes), rng.IntN(size.nodes)})
		}
		l := layoutMap(size.nodes, edges)
		checkLayout(t, "random", size.nodes, edges, l)
		if diff := cmp.Diff(l, layoutMap(size.nodes, edges), cmp.AllowUnexported(mapLayout{}, mapPoint{})); diff != "" {
			t.Errorf("%d nodes: two layouts of one graph differ:\n%s", size.nodes, diff)
		}
	}
}

func TestClipName(t *testing.T) {
	topics := []string{"carwow.users.registered.v2", "carwow.prices.recalculated.v1", "carwow.leads.v1"}
	for _, c := range []struct{ name, start, want string }{
		{"carwow.leads.v1", sharedStart(topics), "carwow.leads.v1"}, // it fits
		{"carwow.users.registered.v2", sharedStart(topics), "…users.registered.v2"},
		{"carwow.prices.recalculated.v1", sharedStart(topics), "…prices.re…ulated.v1"},
		{"orders.created.for.export.eu", sharedStart(topics), "orders.cre…export.eu"},
		{"orders.created.for.export.eu", "", "orders.cre…export.eu"},
		{"ümlaute.überall.in.jedem.namen", sharedStart([]string{"ümlaute.überall.in.jedem.namen", "ümlaute.übermorgen"}), "…überall.i…dem.namen"},
		{"one-name-alone-that-is-long", sharedStart([]string{"one-name-alone-that-is-long"}), "one-name-a…t-is-long"},
	} {
		got := clipName(c.name, c.start, 20)
		if got != c.want {
			t.Errorf("%q after %q is %q, want %q", c.name, c.start, got, c.want)
		}
		if n := len([]rune(got)); n > 20 {
			t.Errorf("%q has %d characters", got, n)
		}
	}
	if got := sharedStart([]string{"aé", "aè", ""}); got != "" {
		t.Errorf("names without a common start begin with %q", got)
	}
}
