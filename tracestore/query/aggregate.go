package query

import (
	"math"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// layout says which accumulators a query needs; calculations over the same
// column share them.
type layout struct {
	sums      []string // columns with SUM, AVG, MIN or MAX
	hists     []string // columns with percentiles or HEATMAP
	distincts []string // columns with COUNT_DISTINCT
}

// need adds the accumulator of a calculation and returns its place.
func (l *layout) need(c Calculation) int {
	var names *[]string
	switch operators[c.Op].kind {
	case opSum, opAvg, opMin, opMax:
		names = &l.sums
	case opQuantile, opHeatmap:
		names = &l.hists
	case opDistinct:
		names = &l.distincts
	default:
		return 0
	}
	i := slices.Index(*names, c.Column)
	if i < 0 {
		i = len(*names)
		*names = append(*names, c.Column)
	}
	return i
}

// summary is what SUM, AVG, MIN and MAX need of one group.
type summary struct{ sum, weight, min, max float64 }

func (s *summary) add(x, w float64) {
	if s.weight == 0 || x < s.min {
		s.min = x
	}
	if s.weight == 0 || x > s.max {
		s.max = x
	}
	s.sum += x * w
	s.weight += w
}

func (s *summary) merge(o *summary) {
	if o.weight == 0 {
		return
	}
	if s.weight == 0 || o.min < s.min {
		s.min = o.min
	}
	if s.weight == 0 || o.max > s.max {
		s.max = o.max
	}
	s.sum += o.sum
	s.weight += o.weight
}

// groups are the accumulators of all groups, by group number.
type groups struct {
	layout    *layout
	weight    []float64 // COUNT; 0: no row, the group does not exist
	sums      [][]summary
	hists     [][]histogram
	fractions []bool // by column of hists: not only integers
	distincts [][]distinct
	heap      int64 // bytes held by histograms and distinct sets
}

func newGroups(l *layout, n int) *groups {
	g := &groups{
		layout:    l,
		sums:      make([][]summary, len(l.sums)),
		hists:     make([][]histogram, len(l.hists)),
		fractions: make([]bool, len(l.hists)),
		distincts: make([][]distinct, len(l.distincts)),
	}
	g.grow(n)
	return g
}

// grow makes room for group numbers below n.
func (g *groups) grow(n int) {
	if n <= len(g.weight) {
		return
	}
	g.weight = extend(g.weight, n)
	for i := range g.sums {
		g.sums[i] = extend(g.sums[i], n)
	}
	for i := range g.hists {
		g.hists[i] = extend(g.hists[i], n)
	}
	for i := range g.distincts {
		g.distincts[i] = extend(g.distincts[i], n)
	}
}

func extend[T any](s []T, n int) []T { return slices.Grow(s, n-len(s))[:n] }

// bytes is about the memory that n groups take, without what their histograms
// and sets come to hold.
func (l *layout) bytes(n int) int64 {
	const histogramBytes, distinctBytes, summaryBytes = 104, 56, 32
	return int64(n) * int64(8+summaryBytes*len(l.sums)+histogramBytes*len(l.hists)+distinctBytes*len(l.distincts))
}

// bytes is about the memory held.
func (g *groups) bytes() int64 { return g.layout.bytes(cap(g.weight)) + g.heap }

// batch is some rows of a block, with the group number and weight of each.
type batch struct {
	rows    []int32
	group   []uint32
	weights []float64 // nil: all 1
}

func (b *batch) weight(i int) float64 {
	if b.weights == nil {
		return 1
	}
	return b.weights[i]
}

// update adds a batch. Group numbers must be below the last grow.
func (g *groups) update(v *view, b *batch) error {
	for i, k := range b.group {
		g.weight[k] += b.weight(i)
	}
	for c, name := range g.layout.sums {
		acc := g.sums[c]
		err := eachNumber(v, name, b, func(i int, x float64) { acc[b.group[i]].add(x, b.weight(i)) })
		if err != nil {
			return err
		}
	}
	for c, name := range g.layout.hists {
		acc := g.hists[c]
		grown := 0
		err := eachNumber(v, name, b, func(i int, x float64) { grown += acc[b.group[i]].add(x, b.weight(i)) })
		if err != nil {
			return err
		}
		g.heap += int64(grown)
		if !g.fractions[c] {
			if g.fractions[c], err = v.hasFractions(name); err != nil {
				return err
			}
		}
	}
	for c, name := range g.layout.distincts {
		acc := g.distincts[c]
		grown := 0
		err := eachHash(v, name, b, func(i int, h uint64) { grown += acc[b.group[i]].add(h) })
		if err != nil {
			return err
		}
		g.heap += int64(grown)
	}
	return nil
}

// merge adds group from of other to group to.
func (g *groups) merge(to int, other *groups, from int) {
	g.weight[to] += other.weight[from]
	for i := range g.sums {
		g.sums[i][to].merge(&other.sums[i][from])
	}
	grown := 0
	for i := range g.hists {
		grown += g.hists[i][to].merge(&other.hists[i][from])
		g.fractions[i] = g.fractions[i] || other.fractions[i]
	}
	for i := range g.distincts {
		grown += g.distincts[i][to].merge(&other.distincts[i][from])
	}
	g.heap += int64(grown)
}

// eachNumber calls fn with the position in the batch and the number of every
// row that has a finite one; text and bools are no numbers.
func eachNumber(v *view, name string, b *batch, fn func(i int, x float64)) error {
	vecs, err := v.vectors(name)
	if err != nil {
		return err
	}
	for _, vec := range vecs {
		switch {
		case vec.Type == trace.TypeInt && vec.Ints != nil:
			for i, row := range b.rows {
				if vec.Has(int(row)) {
					fn(i, float64(vec.Ints[row]))
				}
			}
		case vec.Floats != nil:
			for i, row := range b.rows {
				if x := vec.Floats[row]; vec.Has(int(row)) && !math.IsNaN(x) && !math.IsInf(x, 0) {
					fn(i, x)
				}
			}
		}
	}
	return nil
}

// hasFractions reports whether the column holds floats here.
func (v *view) hasFractions(name string) (bool, error) {
	vecs, err := v.vectors(name)
	return slices.ContainsFunc(vecs, func(vec *column.Vector) bool { return vec.Floats != nil }), err
}

// eachHash calls fn with the position in the batch and the hash of the
// canonical text of every row that has a value.
func eachHash(v *view, name string, b *batch, fn func(i int, hash uint64)) error {
	vecs, err := v.vectors(name)
	if err != nil {
		return err
	}
	for _, vec := range vecs {
		hash := rowHash(vec)
		for i, row := range b.rows {
			if vec.Has(int(row)) {
				fn(i, hash(int(row)))
			}
		}
	}
	return nil
}

func rowHash(vec *column.Vector) func(row int) uint64 {
	if vec.IDs == nil {
		return func(row int) uint64 { return hashText(at(vec, row).Text()) }
	}
	memo := make([]uint64, vec.Dict.Len())
	return func(row int) uint64 {
		id := vec.IDs[row]
		if memo[id] == 0 {
			memo[id] = hashText(vec.Value(row).Text())
		}
		return memo[id]
	}
}
