package query

import (
	"math"
	"slices"
	"sort"
)

// A histogram counts numbers in buckets that are 1/64 of an octave wide: the
// bucket of x is the sign, the exponent and the top six bits of the fraction of
// its float64 form. A bucket's middle is within 0.8 % of every number in it.
// While it holds few numbers it keeps them as they are, so small groups get
// exact percentiles.
type histogram struct {
	few     []sample
	octaves []int32 // sorted; set once few is full
	pages   []*page // counts of the octave's 64 buckets
	last    int     // where the last number went
	min     float64
	max     float64
	weight  float64
}

type sample struct{ value, weight float64 }

type page [subBuckets]float64

const (
	subBits    = 6
	subBuckets = 1 << subBits
	// maxFew is when a histogram turns from samples to buckets: 1 KiB, the
	// size of two pages.
	maxFew = 64

	pageBytes   = subBuckets * 8
	sampleBytes = 16
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
func (h *histogram) add(x, weight float64) int {
	if h.weight == 0 || x < h.min {
		h.min = x
	}
	if h.weight == 0 || x > h.max {
		h.max = x
	}
	h.weight += weight
	if h.octaves == nil {
		if len(h.few) < maxFew {
			before := cap(h.few)
			h.few = append(h.few, sample{x, weight})
			return (cap(h.few) - before) * sampleBytes
		}
		return h.spill() + h.count(bucketOf(x), weight)
	}
	return h.count(bucketOf(x), weight)
}

// spill turns samples into buckets.
func (h *histogram) spill() int {
	grown := -cap(h.few) * sampleBytes
	for _, s := range h.few {
		grown += h.count(bucketOf(s.value), s.weight)
	}
	h.few = nil
	return grown
}

func (h *histogram) count(bucket int32, weight float64) int {
	o := bucket >> subBits
	if h.last < len(h.octaves) && h.octaves[h.last] == o {
		h.pages[h.last][bucket&(subBuckets-1)] += weight
		return 0
	}
	i, found := slices.BinarySearch(h.octaves, o)
	grown := 0
	if !found {
		h.octaves = slices.Insert(h.octaves, i, o)
		h.pages = slices.Insert(h.pages, i, new(page))
		grown = pageBytes + 12
	}
	h.last = i
	h.pages[i][bucket&(subBuckets-1)] += weight
	return grown
}

// merge adds what other holds and returns the bytes grown by.
func (h *histogram) merge(other *histogram) int {
	if other.weight == 0 {
		return 0
	}
	grown := 0
	if other.octaves == nil {
		for _, s := range other.few {
			grown += h.add(s.value, s.weight)
		}
		return grown
	}
	if h.octaves == nil {
		grown += h.spill()
	}
	if h.weight == 0 || other.min < h.min {
		h.min = other.min
	}
	if h.weight == 0 || other.max > h.max {
		h.max = other.max
	}
	h.weight += other.weight
	other.each(func(bucket int32, weight float64) { grown += h.count(bucket, weight) })
	return grown
}

// each calls fn for every bucket that is not empty: in order, unless the
// histogram holds only few numbers.
func (h *histogram) each(fn func(bucket int32, weight float64)) {
	for _, s := range h.few {
		fn(bucketOf(s.value), s.weight)
	}
	for i, p := range h.pages {
		for j, w := range p {
			if w != 0 {
				fn(h.octaves[i]<<subBits|int32(j), w)
			}
		}
	}
}

// quantile is the least number at or below which a share q of the weight lies
// (the nearest rank): exact for few numbers, else the middle of its bucket, or
// the middle of the integers in it if there were only integers.
func (h *histogram) quantile(q float64, whole bool) (float64, bool) {
	if h.weight == 0 {
		return 0, false
	}
	target := q*h.weight - 1e-9*h.weight // 0.95 of 20 is 19, whatever the rounding
	sum := 0.0
	if h.octaves == nil {
		slices.SortFunc(h.few, func(a, b sample) int { return compareFloats(a.value, b.value) })
		for _, s := range h.few {
			if sum += s.weight; sum >= target {
				return s.value, true
			}
		}
		return h.max, true
	}
	for i, p := range h.pages {
		for j, w := range p {
			if w == 0 {
				continue
			}
			if sum += w; sum >= target {
				return min(max(middle(h.octaves[i]<<subBits|int32(j), whole), h.min), h.max), true
			}
		}
	}
	return h.max, true
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
