package query

import "slices"

// layout says which accumulators a query needs; calculations over the same
// column share them.
type layout struct {
	sums      []string // columns with SUM, AVG, MIN or MAX
	hists     []string // columns with percentiles or HEATMAP
	distincts []string // columns with COUNT_DISTINCT
	ends      []string // columns with RATE_SUM, RATE_AVG or RATE_MAX
	busy      bool     // CONCURRENCY
}

// names is the list of columns that an operator of the kind needs; nil: none.
func (l *layout) names(k opKind) *[]string {
	switch k {
	case opSum, opAvg, opMin, opMax:
		return &l.sums
	case opQuantile, opHeatmap:
		return &l.hists
	case opDistinct:
		return &l.distincts
	case opRateSum, opRateAvg, opRateMax:
		return &l.ends
	}
	return nil
}

// need adds the accumulator of a calculation and returns its place.
func (l *layout) need(c Calculation) int {
	l.busy = l.busy || operators[c.Op].kind == opConcurrency
	names := l.names(operators[c.Op].kind)
	if names == nil {
		return 0
	}
	i := slices.Index(*names, c.Column)
	if i < 0 {
		i = len(*names)
		*names = append(*names, c.Column)
	}
	return i
}

// find is the place of the accumulator of an operator over a column.
func (l *layout) find(k opKind, name string) int {
	names := l.names(k)
	if names == nil {
		return 0
	}
	return slices.Index(*names, name)
}

// only is the layout of some of the calculations of a plan.
func (p *Plan) only(calculations []int) *layout {
	l := &layout{}
	for _, i := range calculations {
		l.need(p.calculations[i])
	}
	return l
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
	weight    []float64 // COUNT
	sums      [][]summary
	hists     [][]histogram
	fractions []bool // by column of hists: not only integers
	distincts [][]distinct
	ends      [][]ends
	busy      []float64 // span nanoseconds within the window or the time bucket; nil: not asked for
	slab      slab
	heap      int64 // bytes held by histograms and distinct sets
}

func newGroups(l *layout, n int) *groups {
	g := &groups{
		layout:    l,
		sums:      make([][]summary, len(l.sums)),
		hists:     make([][]histogram, len(l.hists)),
		fractions: make([]bool, len(l.hists)),
		distincts: make([][]distinct, len(l.distincts)),
		ends:      make([][]ends, len(l.ends)),
	}
	g.grow(n)
	return g
}

// has reports whether a group exists: whether a row is in it, or a span of another
// time bucket ran on into it.
func (g *groups) has(i int) bool { return g.weight[i] != 0 || g.busy != nil && g.busy[i] != 0 }

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
	for i := range g.ends {
		g.ends[i] = extend(g.ends[i], n)
	}
	if g.layout.busy {
		g.busy = extend(g.busy, n)
	}
}

func extend[T any](s []T, n int) []T { return slices.Grow(s, n-len(s))[:n] }

// bytes is about the memory that n groups take, without what their histograms
// and sets come to hold.
func (l *layout) bytes(n int) int64 {
	const histogramBytes, distinctBytes, summaryBytes, endsBytes = 40, 56, 32, 80
	return int64(n) * int64(16+summaryBytes*len(l.sums)+histogramBytes*len(l.hists)+distinctBytes*len(l.distincts)+endsBytes*len(l.ends))
}

// bytes is about the memory held.
func (g *groups) bytes() int64 { return g.layout.bytes(cap(g.weight)) + g.heap }

// fewGroups is when counting rows spreads them over four counters each, so that
// neighbouring rows of one group do not wait for each other.
const fewGroups = 256

// count adds rows to the weights of their groups; weights nil: all 1.
func (g *groups) count(group []uint32, weights []float64) {
	if weights != nil {
		for i, k := range group {
			g.weight[k] += weights[i]
		}
		return
	}
	if len(g.weight) > fewGroups || len(group) < 2*fewGroups {
		for _, k := range group {
			g.weight[k]++
		}
		return
	}
	var counts [4][fewGroups]uint32
	i := 0
	for ; i+4 <= len(group); i += 4 {
		four := group[i : i+4 : i+4]
		counts[0][four[0]%fewGroups]++
		counts[1][four[1]%fewGroups]++
		counts[2][four[2]%fewGroups]++
		counts[3][four[3]%fewGroups]++
	}
	for _, k := range group[i:] {
		counts[0][k%fewGroups]++
	}
	for k := range g.weight {
		g.weight[k] += float64(counts[0][k] + counts[1][k] + counts[2][k] + counts[3][k])
	}
}

// sum adds numbers to a column of sums.
func (g *groups) sum(column int, group []uint32, numbers, weights []float64) {
	acc := g.sums[column]
	if weights == nil {
		for i, x := range numbers {
			acc[group[i]].add(x, 1)
		}
		return
	}
	for i, x := range numbers {
		acc[group[i]].add(x, weights[i])
	}
}

// spread adds numbers to a column of histograms.
func (g *groups) spread(column int, group []uint32, numbers, weights []float64) {
	acc, grown := g.hists[column], 0
	for i, x := range numbers {
		h := &acc[group[i]]
		if weights != nil {
			grown += h.add(x, weights[i], &g.slab)
			continue
		}
		if w := h.wide; w != nil {
			if bucket := bucketOf(x); x > 0 {
				if at := int(bucket>>subBits - w.above.base); uint(at) < uint(len(w.above.pages)) && w.above.pages[at] != nil {
					w.above.pages[at][bucket&(subBuckets-1)]++
					w.min, w.max = min(w.min, x), max(w.max, x)
					continue
				}
			}
		} else if !h.weighted && len(h.few) < maxFew && len(h.few) < cap(h.few) {
			h.few = append(h.few, x)
			continue
		}
		grown += h.add(x, 1, &g.slab)
	}
	g.heap += int64(grown)
}

// tell adds hashes of values to a column of distinct counts.
func (g *groups) tell(column int, group []uint32, hashes []uint64) {
	acc, grown := g.distincts[column], 0
	for i, h := range hashes {
		grown += acc[group[i]].add(h)
	}
	g.heap += int64(grown)
}

// merge adds group from of other to group to. Other may have accumulators that g
// has not.
func (g *groups) merge(to int, other *groups, from int) {
	g.weight[to] += other.weight[from]
	if g.busy != nil {
		g.busy[to] += other.busy[from]
	}
	o := other.layout
	for i, name := range g.layout.sums {
		g.sums[i][to].merge(&other.sums[place(o.sums, i, name)][from])
	}
	for i, name := range g.layout.ends {
		g.ends[i][to].merge(&other.ends[place(o.ends, i, name)][from])
	}
	grown := 0
	for i, name := range g.layout.hists {
		at := place(o.hists, i, name)
		grown += g.hists[i][to].merge(&other.hists[at][from], &g.slab)
		g.fractions[i] = g.fractions[i] || other.fractions[at]
	}
	for i, name := range g.layout.distincts {
		grown += g.distincts[i][to].merge(&other.distincts[place(o.distincts, i, name)][from])
	}
	g.heap += int64(grown)
}

// place is the position of a name, which is likely i.
func place(names []string, i int, name string) int {
	if i < len(names) && names[i] == name {
		return i
	}
	return slices.Index(names, name)
}

// adopt is merge into an empty group, taking over what the other holds: the other
// must not be used again.
func (g *groups) adopt(to int, other *groups, from int) {
	g.weight[to] = other.weight[from]
	if g.busy != nil {
		g.busy[to] = other.busy[from]
	}
	o := other.layout
	for i, name := range g.layout.sums {
		g.sums[i][to] = other.sums[place(o.sums, i, name)][from]
	}
	for i, name := range g.layout.ends {
		g.ends[i][to] = other.ends[place(o.ends, i, name)][from]
	}
	for i, name := range g.layout.hists {
		at := place(o.hists, i, name)
		g.hists[i][to] = other.hists[at][from]
		g.fractions[i] = g.fractions[i] || other.fractions[at]
	}
	for i, name := range g.layout.distincts {
		g.distincts[i][to] = other.distincts[place(o.distincts, i, name)][from]
	}
}
