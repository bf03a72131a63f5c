package handlers

import (
	"cmp"
	"math"
	"slices"
)

// The service map is laid out in layers from left to right, in the way of
// Sugiyama, Tagawa and Toda (Methods for Visual Understanding of Hierarchical
// System Structures, 1981): edges that close a circle are turned round, each node
// stands right of what leads to it, long edges pass through every layer between
// their ends, the order within layers is swept to the barycentre until crossings
// no longer become fewer, and heights are pulled towards the neighbours. The same
// graph gives the same picture: nothing depends on the order of maps or on chance.

// Measures of the picture in units of its view box, which are pixels at its
// natural size.
const (
	mapNodeWidth  = 200
	mapNodeHeight = 44
	mapNodeGap    = 14 // between nodes of a layer
	mapWayGap     = 10 // between edges that pass through a layer
	mapLayerGap   = 76
	mapMargin     = 16
	mapSweeps     = 12
)

// mapPoint is a place in the picture.
type mapPoint struct{ x, y float64 }

// mapLayout places the nodes and the edges of a graph.
type mapLayout struct {
	width, height float64
	nodes         []mapPoint   // upper left corners
	edges         [][]mapPoint // from the side of the one node to the side of the other, by way of each layer between
	back          []bool       // the edge leads from right to left
}

// mapLayers are the nodes of each layer, top to bottom: those of the graph, and
// numbered behind them the places that edges pass through.
type mapLayers struct {
	layer []int   // by node or place
	order [][]int // by layer
	up    [][]int // neighbours one layer to the left
	down  [][]int // and to the right
	ways  int     // the first number of a place
}

// layoutMap lays out n nodes and the edges between them; edges from a node to
// itself have no place. Nodes of equal standing keep their order.
func layoutMap(n int, edges [][2]int) mapLayout {
	out := mapLayout{nodes: make([]mapPoint, n), edges: make([][]mapPoint, len(edges)), back: turned(n, edges)}
	if n == 0 {
		return out
	}
	straight := make([][2]int, len(edges))
	for i, e := range edges {
		if straight[i] = e; out.back[i] {
			straight[i] = [2]int{e[1], e[0]}
		}
	}
	l := &mapLayers{layer: layerOf(n, straight), ways: n}
	l.up, l.down = make([][]int, n), make([][]int, n)
	passes := l.thread(straight)
	l.sort()
	x := func(layer int) float64 { return mapMargin + float64(layer)*(mapNodeWidth+mapLayerGap) }
	y := l.heights()
	for v := range n {
		out.nodes[v] = mapPoint{x(l.layer[v]), y[v] - mapNodeHeight/2}
		out.width = max(out.width, x(l.layer[v])+mapNodeWidth+mapMargin)
	}
	for v := range y {
		half := 0.0
		if v < n {
			half = mapNodeHeight / 2
		}
		out.height = max(out.height, y[v]+half+mapMargin)
	}
	for i, e := range straight {
		if e[0] == e[1] {
			continue
		}
		points := []mapPoint{{x(l.layer[e[0]]) + mapNodeWidth, y[e[0]]}}
		for _, way := range passes[i] {
			points = append(points, mapPoint{x(l.layer[way]), y[way]}, mapPoint{x(l.layer[way]) + mapNodeWidth, y[way]})
		}
		points = append(points, mapPoint{x(l.layer[e[1]]), y[e[1]]})
		if out.back[i] {
			slices.Reverse(points)
		}
		out.edges[i] = points
	}
	return out
}

// turned tells which edges to turn round so that none closes a circle: those that
// lead back in the order of Eades, Lin and Smyth (A fast and effective heuristic
// for the feedback arc set problem, 1993).
func turned(n int, edges [][2]int) []bool {
	in, out := make([]int, n), make([]int, n)
	for _, e := range edges {
		if e[0] != e[1] {
			out[e[0]]++
			in[e[1]]++
		}
	}
	place := make([]int, n)
	done := make([]bool, n)
	first, last := 0, n-1
	take := func(v, at int) {
		done[v], place[v] = true, at
		for _, e := range edges {
			if e[0] == v {
				in[e[1]]--
			}
			if e[1] == v {
				out[e[0]]--
			}
		}
	}
	for first <= last {
		again := true
		for again {
			again = false
			for v := range n {
				if done[v] {
					continue
				}
				if out[v] == 0 {
					take(v, last)
					last--
					again = true
				} else if in[v] == 0 {
					take(v, first)
					first++
					again = true
				}
			}
		}
		best := -1
		for v := range n {
			if !done[v] && (best < 0 || out[v]-in[v] > out[best]-in[best]) {
				best = v
			}
		}
		if best < 0 {
			break
		}
		take(best, first)
		first++
	}
	back := make([]bool, len(edges))
	for i, e := range edges {
		back[i] = e[0] != e[1] && place[e[0]] > place[e[1]]
	}
	return back
}

// layerOf puts each node right of all that lead to it, and those that nothing
// leads to right before the first that they lead to.
func layerOf(n int, edges [][2]int) []int {
	layer, in := make([]int, n), make([]int, n)
	for _, e := range edges {
		if e[0] != e[1] {
			in[e[1]]++
		}
	}
	var ready []int
	for v := range n {
		if in[v] == 0 {
			ready = append(ready, v)
		}
	}
	sources := slices.Clone(ready)
	for len(ready) > 0 {
		v := ready[0]
		ready = ready[1:]
		for _, e := range edges {
			if e[0] != v || e[1] == v {
				continue
			}
			layer[e[1]] = max(layer[e[1]], layer[v]+1)
			if in[e[1]]--; in[e[1]] == 0 {
				ready = append(ready, e[1])
			}
		}
	}
	for _, v := range sources {
		nearest := math.MaxInt
		for _, e := range edges {
			if e[0] == v && e[1] != v {
				nearest = min(nearest, layer[e[1]])
			}
		}
		if nearest != math.MaxInt {
			layer[v] = nearest - 1
		}
	}
	return layer
}

// thread makes the places where long edges pass through layers, and the order to
// begin with. It returns the places by edge.
func (l *mapLayers) thread(edges [][2]int) [][]int {
	passes := make([][]int, len(edges))
	join := func(a, b int) {
		l.down[a] = append(l.down[a], b)
		l.up[b] = append(l.up[b], a)
	}
	for i, e := range edges {
		if e[0] == e[1] {
			continue
		}
		at := e[0]
		for layer := l.layer[e[0]] + 1; layer < l.layer[e[1]]; layer++ {
			way := len(l.layer)
			l.layer = append(l.layer, layer)
			l.up, l.down = append(l.up, nil), append(l.down, nil)
			join(at, way)
			passes[i] = append(passes[i], way)
			at = way
		}
		join(at, e[1])
	}
	layers := 0
	for _, at := range l.layer {
		layers = max(layers, at+1)
	}
	l.order = make([][]int, layers)
	for v, at := range l.layer {
		l.order[at] = append(l.order[at], v)
	}
	return passes
}

// sort orders the layers so that few edges cross.
func (l *mapLayers) sort() {
	best, least := l.copyOrder(), l.crossings()
	place := make([]float64, len(l.layer))
	for sweep := 0; sweep < mapSweeps && least > 0; sweep++ {
		for k := range l.order {
			layer, towards := k, l.up
			if sweep%2 == 1 {
				layer, towards = len(l.order)-1-k, l.down
			}
			for _, order := range l.order {
				for i, v := range order {
					place[v] = float64(i)
				}
			}
			centre := func(v int) float64 {
				if len(towards[v]) == 0 {
					return place[v]
				}
				sum := 0.0
				for _, o := range towards[v] {
					sum += place[o]
				}
				return sum / float64(len(towards[v]))
			}
			slices.SortStableFunc(l.order[layer], func(a, b int) int { return cmp.Compare(centre(a), centre(b)) })
		}
		if n := l.crossings(); n < least {
			best, least = l.copyOrder(), n
		}
	}
	l.order = best
}

func (l *mapLayers) copyOrder() [][]int {
	out := make([][]int, len(l.order))
	for i := range l.order {
		out[i] = slices.Clone(l.order[i])
	}
	return out
}

// crossings counts the pairs of edges that cross, with a Fenwick tree over the
// places of the right-hand layer.
func (l *mapLayers) crossings() int {
	total := 0
	place := make([]int, len(l.layer))
	for k := 0; k+1 < len(l.order); k++ {
		right := l.order[k+1]
		for i, v := range right {
			place[v] = i
		}
		tree := make([]int, len(right)+1)
		seen := 0
		for _, v := range l.order[k] {
			ends := make([]int, 0, len(l.down[v]))
			for _, o := range l.down[v] {
				ends = append(ends, place[o])
			}
			for _, end := range ends {
				below := 0 // edges before that end at or above
				for i := end + 1; i > 0; i &= i - 1 {
					below += tree[i]
				}
				total += seen - below
			}
			for _, end := range ends {
				for i := end + 1; i < len(tree); i += i & -i {
					tree[i]++
				}
				seen++
			}
		}
	}
	return total
}

// heights places nodes and ways, by their middles: as near to their neighbours as
// the order and the gaps allow.
func (l *mapLayers) heights() []float64 {
	y := make([]float64, len(l.layer))
	room := func(a, b int) float64 { // between the middles of a and of b below it
		switch {
		case a < l.ways && b < l.ways:
			return mapNodeHeight + mapNodeGap
		case a < l.ways || b < l.ways:
			return mapNodeHeight/2 + mapWayGap
		}
		return mapWayGap
	}
	for _, order := range l.order {
		at := 0.0
		for i, v := range order {
			if i > 0 {
				at += room(order[i-1], v)
			}
			y[v] = at
		}
	}
	wish := make([]float64, len(l.layer))
	for sweep := range 2 * mapSweeps {
		for k := range l.order {
			layer := k
			if sweep%2 == 1 {
				layer = len(l.order) - 1 - k
			}
			for _, v := range l.order[layer] {
				sum, n := 0.0, 0
				for _, o := range l.up[v] {
					sum, n = sum+y[o], n+1
				}
				for _, o := range l.down[v] {
					sum, n = sum+y[o], n+1
				}
				if wish[v] = y[v]; n > 0 {
					wish[v] = sum / float64(n)
				}
			}
			settle(l.order[layer], wish, y, room)
		}
	}
	top := math.Inf(1)
	for v := range y {
		half := 0.0
		if v < l.ways {
			half = mapNodeHeight / 2
		}
		top = min(top, y[v]-half)
	}
	for v := range y {
		y[v] = math.Round(y[v] - top + mapMargin)
	}
	return y
}

// settle puts the nodes of a layer as near to their wishes as the room between
// them allows, by least squares: neighbours that press against each other form a
// block that stands where their wishes are on average (the pool-adjacent-violators
// algorithm of isotonic regression).
func settle(order []int, wish, y []float64, room func(a, b int) float64) {
	type block struct {
		sum  float64
		n    int
		from int
	}
	shift := make([]float64, len(order)) // of each node from the first
	for i := 1; i < len(order); i++ {
		shift[i] = shift[i-1] + room(order[i-1], order[i])
	}
	var blocks []block
	for i, v := range order {
		blocks = append(blocks, block{wish[v] - shift[i], 1, i})
		for len(blocks) > 1 {
			a, b := &blocks[len(blocks)-2], blocks[len(blocks)-1]
			if a.sum/float64(a.n) <= b.sum/float64(b.n) {
				break
			}
			a.sum, a.n = a.sum+b.sum, a.n+b.n
			blocks = blocks[:len(blocks)-1]
		}
	}
	for k, b := range blocks {
		to := len(order)
		if k+1 < len(blocks) {
			to = blocks[k+1].from
		}
		for i := b.from; i < to; i++ {
			y[order[i]] = b.sum/float64(b.n) + shift[i]
		}
	}
}
