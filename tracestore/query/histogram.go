package query

import (
	"math"
	"math/bits"
	"slices"
	"sort"
)

// A histogram counts numbers in buckets that are 1/64 of an octave wide: the
// bucket of x is the sign, the exponent and the top six bits of the fraction of
// its float64 form. A bucket's middle is within 0.8 % of every number in it.
// While it holds few numbers it keeps them as they are, so small groups get
// exact percentiles and take little room.
type histogram struct {
	few      []float64 // the numbers; if weighted, each followed by its weight
	weighted bool
	wide     *wide // set once there are more than few
}

// wide is a histogram of more than a few numbers.
type wide struct {
	above    ladder // numbers > 0 by their bucket
	below    ladder // numbers < 0 by -1 - bucket
	zero     float64
	min, max float64
}

// ladder counts in pages of an octave each, the first of which is base; nil
// where there is nothing.
type ladder struct {
	base  int32
	pages []*page
}

type sample struct{ value, weight float64 }

type page [subBuckets]float64

const (
	subBits    = 6
	subBuckets = 1 << subBits
	// maxFew is when a histogram turns from numbers to buckets: 4 KiB, about what
	// the buckets of that many numbers take.
	maxFew = 512

	pageBytes = subBuckets * 8
	wideBytes = 128
)

// bucketOf numbers the bucket of a finite number; bucket order is number order.
func bucketOf(x float64) int32 {
	if x >= 0 {
		return int32(math.Float64bits(x+0) >> (52 - subBits)) // +0: -0 counts as 0
	}
	return -int32((math.Float64bits(-x)-1)>>(52-subBits)) - 1
}

// bucketMin is the least number of a bucket; that of the next is its upper end.
func bucketMin(b int32) float64 {
	if b >= 0 {
		return math.Float64frombits(uint64(b) << (52 - subBits))
	}
	return -math.Float64frombits(uint64(-b) << (52 - subBits))
}

// add counts a finite number and returns the bytes that the histogram grew by.
func (h *histogram) add(x, weight float64, s *slab) int {
	if h.wide != nil {
		return h.wide.add(x, weight)
	}
	grown := 0
	if weight != 1 && !h.weighted {
		grown += h.weigh(s)
	}
	n := 1
	if h.weighted {
		n = 2
	}
	if len(h.few) >= maxFew*n {
		return grown + h.spill(s) + h.wide.add(x, weight)
	}
	if len(h.few)+n > cap(h.few) {
		grown += s.grow(&h.few)
	}
	h.few = append(h.few, x)
	if h.weighted {
		h.few = append(h.few, weight)
	}
	return grown
}

// weigh gives each of the few numbers its weight.
func (h *histogram) weigh(s *slab) int {
	old := h.few
	h.few, h.weighted = nil, true
	grown := 0
	for _, x := range old {
		if len(h.few)+2 > cap(h.few) {
			grown += s.grow(&h.few)
		}
		h.few = append(h.few, x, 1)
	}
	return grown + s.free(old)
}

// spill turns the few numbers into buckets.
func (h *histogram) spill(s *slab) int {
	w := &wide{min: math.Inf(1), max: math.Inf(-1)}
	grown := wideBytes
	h.samples(func(x, weight float64) { grown += w.add(x, weight) })
	grown += s.free(h.few)
	h.few, h.weighted, h.wide = nil, false, w
	return grown
}

// samples calls fn for each of the few numbers.
func (h *histogram) samples(fn func(x, weight float64)) {
	if !h.weighted {
		for _, x := range h.few {
			fn(x, 1)
		}
		return
	}
	for i := 0; i < len(h.few); i += 2 {
		fn(h.few[i], h.few[i+1])
	}
}

func (w *wide) add(x, weight float64) int {
	w.min, w.max = min(w.min, x), max(w.max, x)
	switch {
	case x > 0:
		return w.above.add(bucketOf(x), weight)
	case x < 0:
		return w.below.add(-1-bucketOf(x), weight)
	}
	w.zero += weight
	return 0
}

func (l *ladder) add(bucket int32, weight float64) int {
	o := bucket >> subBits
	if at := int(o - l.base); uint(at) < uint(len(l.pages)) && l.pages[at] != nil {
		l.pages[at][bucket&(subBuckets-1)] += weight
		return 0
	}
	grown := l.reach(o)
	l.pages[o-l.base][bucket&(subBuckets-1)] += weight
	return grown
}

// reach makes the page of an octave.
func (l *ladder) reach(o int32) int {
	before := cap(l.pages)
	switch {
	case len(l.pages) == 0:
		l.base, l.pages = o, make([]*page, 1, 4)
	case o < l.base:
		l.pages = slices.Insert(l.pages, 0, make([]*page, l.base-o)...)
		l.base = o
	case int(o-l.base) >= len(l.pages):
		l.pages = append(l.pages, make([]*page, int(o-l.base)+1-len(l.pages))...)
	}
	grown := 8 * (cap(l.pages) - before)
	if l.pages[o-l.base] == nil {
		l.pages[o-l.base] = new(page)
		grown += pageBytes
	}
	return grown
}

// merge adds what other holds and returns the bytes grown by.
func (h *histogram) merge(other *histogram, s *slab) int {
	grown := 0
	if other.wide == nil {
		other.samples(func(x, weight float64) { grown += h.add(x, weight, s) })
		return grown
	}
	if h.wide == nil {
		grown += h.spill(s)
	}
	w, o := h.wide, other.wide
	w.min, w.max, w.zero = min(w.min, o.min), max(w.max, o.max), w.zero+o.zero
	return grown + w.above.merge(&o.above) + w.below.merge(&o.below)
}

func (l *ladder) merge(other *ladder) int {
	grown := 0
	for i, p := range other.pages {
		if p == nil {
			continue
		}
		grown += l.reach(other.base + int32(i))
		to := l.pages[other.base+int32(i)-l.base]
		for j, w := range p {
			to[j] += w
		}
	}
	return grown
}

// empty reports whether no number was added.
func (h *histogram) empty() bool { return h.wide == nil && len(h.few) == 0 }

// each calls fn for every bucket that is not empty: in order, unless the
// histogram holds only few numbers.
func (h *histogram) each(fn func(bucket int32, weight float64)) {
	if h.wide == nil {
		h.samples(func(x, weight float64) { fn(bucketOf(x), weight) })
		return
	}
	w := h.wide
	for i := len(w.below.pages) - 1; i >= 0; i-- {
		p := w.below.pages[i]
		for j := subBuckets - 1; p != nil && j >= 0; j-- {
			if p[j] != 0 {
				fn(-1-((w.below.base+int32(i))<<subBits|int32(j)), p[j])
			}
		}
	}
	if w.zero != 0 {
		fn(0, w.zero)
	}
	for i, p := range w.above.pages {
		for j := 0; p != nil && j < subBuckets; j++ {
			if p[j] != 0 {
				fn((w.above.base+int32(i))<<subBits|int32(j), p[j])
			}
		}
	}
}

// quantile is the least number at or below which a share q of the weight lies
// (the nearest rank): exact for few numbers, else the middle of its bucket, or
// the middle of the integers in it if there were only integers.
func (h *histogram) quantile(q float64, whole bool) (float64, bool) {
	if h.empty() {
		return 0, false
	}
	if h.wide == nil {
		return h.exact(q), true
	}
	weight := 0.0
	h.each(func(_ int32, w float64) { weight += w })
	target := reach(q, weight)
	sum := 0.0
	at, found := int32(0), false
	h.each(func(b int32, w float64) {
		if sum += w; sum >= target && !found {
			at, found = b, true
		}
	})
	if !found {
		return h.wide.max, true
	}
	return min(max(middle(at, whole), h.wide.min), h.wide.max), true
}

// reach is the weight at which a share q of it is reached: 0.95 of 20 is 19,
// whatever the rounding.
func reach(q, weight float64) float64 { return q*weight - 1e-9*weight }

// exact is the quantile of few numbers, which it may put in order.
func (h *histogram) exact(q float64) float64 {
	if !h.weighted {
		at := int(math.Ceil(reach(q, float64(len(h.few))))) - 1
		return nth(h.few, min(max(at, 0), len(h.few)-1))
	}
	sorted := make([]sample, 0, len(h.few)/2)
	weight := 0.0
	h.samples(func(x, w float64) {
		sorted = append(sorted, sample{x, w})
		weight += w
	})
	slices.SortFunc(sorted, func(a, b sample) int { return compareFloats(a.value, b.value) })
	target, sum := reach(q, weight), 0.0
	for _, s := range sorted {
		if sum += s.weight; sum >= target {
			return s.value
		}
	}
	return sorted[len(sorted)-1].value
}

// middle is the number that stands for a bucket.
func middle(b int32, whole bool) float64 {
	lo, hi := bucketMin(b), bucketMin(b+1)
	mid := lo/2 + hi/2
	if whole {
		mid = math.Floor((math.Ceil(lo) + math.Ceil(hi) - 1) / 2)
	}
	if math.Abs(mid) < leastNormal {
		return 0
	}
	return mid
}

// leastNormal is the smallest number that float64 holds in full precision.
const leastNormal = 0x1p-1022

// maxCells bounds the cells of a heatmap's column, but for that of zero: what a
// picture can show.
const maxCells = 96

// grid is how many neighbouring buckets, 1<<grid, make one cell of a heatmap.
type grid uint

// gridFor is the finest grid on which the cells from the least to the greatest
// number are at most maxCells, counting negative and positive numbers apart
// and leaving zero out: the distance from zero to any number is a thousand octaves.
func gridFor(h *histogram) grid {
	var ranges [2]struct {
		lo, hi int32
		any    bool
	}
	h.each(func(b int32, _ float64) {
		if b == 0 {
			return
		}
		r := &ranges[0]
		if b < 0 {
			r = &ranges[1]
		}
		if !r.any || b < r.lo {
			r.lo = b
		}
		if !r.any || b > r.hi {
			r.hi = b
		}
		r.any = true
	})
	for g := grid(0); ; g++ {
		cells := 0
		for _, r := range ranges {
			if r.any {
				cells += int(r.hi>>g-r.lo>>g) + 1
			}
		}
		if cells <= maxCells {
			return g
		}
	}
}

// cells lists the cells of the grid that are not empty, lowest first.
func (h *histogram) cells(g grid) []Bucket {
	counts := make(map[int32]float64)
	h.each(func(b int32, w float64) { counts[b>>g] += w })
	at := make([]int32, 0, len(counts))
	for c := range counts {
		at = append(at, c)
	}
	sort.Slice(at, func(i, j int) bool { return at[i] < at[j] })
	out := make([]Bucket, len(at))
	for i, c := range at {
		out[i] = Bucket{Min: edge(c, g), Max: edge(c+1, g), Count: counts[c]}
	}
	return out
}

// edge is the lower end of a cell, kept finite for JSON.
func edge(cell int32, g grid) float64 {
	b := int64(cell) << g
	const top = 0x7ff << subBits // the bucket of +Inf
	switch {
	case b >= top:
		return math.MaxFloat64
	case b <= -top:
		return -math.MaxFloat64
	}
	return bucketMin(int32(b))
}

// nth returns the number that comes n-th, from 0, among the numbers in order, and
// moves them about (Hoare, "Algorithm 65: find", 1961).
func nth(xs []float64, n int) float64 {
	for len(xs) > 16 {
		mid, last := len(xs)/2, len(xs)-1
		pivot := max(min(xs[0], xs[mid]), min(max(xs[0], xs[mid]), xs[last])) // the median of three
		i, j := 0, last
		for i <= j {
			for xs[i] < pivot {
				i++
			}
			for xs[j] > pivot {
				j--
			}
			if i <= j {
				xs[i], xs[j] = xs[j], xs[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			xs = xs[:j+1]
		case n >= i:
			xs, n = xs[i:], n-i
		default:
			return pivot
		}
	}
	slices.Sort(xs)
	return xs[n]
}

// slab hands out the short slices in which histograms keep their few numbers,
// cut from large ones and used again, so that a hundred thousand groups are not
// as many allocations. It belongs to one goroutine; a nil one allocates.
type slab struct {
	rest []float64
	used [12][][]float64 // slices given back, by size
}

const (
	leastFew  = 4 // capacity of the first slice; each further one is twice as large
	slabCells = 16 << 10
)

// grow replaces *few by a copy of twice its capacity and returns the bytes that
// were added.
func (s *slab) grow(few *[]float64) int {
	n := max(leastFew, 2*cap(*few))
	if s == nil {
		more := make([]float64, len(*few), n)
		copy(more, *few)
		*few = more
		return 8 * n
	}
	class := bits.Len(uint(n / leastFew))
	var more []float64
	if free := s.used[class]; len(free) > 0 {
		more = free[len(free)-1][:len(*few)]
		s.used[class] = free[:len(free)-1]
		copy(more, *few)
		s.put(*few)
		*few = more
		return 0
	}
	grown := 0
	if len(s.rest) < n {
		s.rest = make([]float64, slabCells)
		grown = 8 * slabCells
	}
	more, s.rest = s.rest[:len(*few):n], s.rest[n:]
	copy(more, *few)
	s.put(*few)
	*few = more
	return grown
}

// free gives a slice back and returns the bytes that this added: those of a
// slab stay with it.
func (s *slab) free(few []float64) int {
	if s == nil {
		return -8 * cap(few)
	}
	s.put(few)
	return 0
}

func (s *slab) put(few []float64) {
	if cap(few) > 0 {
		class := bits.Len(uint(cap(few) / leastFew))
		s.used[class] = append(s.used[class], few[:0])
	}
}
