package query

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucketsHoldTheirNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	numbers := []float64{0, math.Copysign(0, -1), 1, -1, 64, 127, 128, 200, -200, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64}
	for range 10_000 {
		numbers = append(numbers, rng.NormFloat64()*math.Exp(40*rng.NormFloat64()))
	}
	for _, x := range numbers {
		b := bucketOf(x)
		lo, hi := bucketMin(b), bucketMin(b+1)
		if x < lo || x >= hi {
			t.Errorf("%g is in bucket %d of [%g, %g)", x, b, lo, hi)
		}
		if a := math.Abs(x); a >= leastNormal && (hi-lo)/a > 1.0/64*1.0001 && !math.IsInf(hi-lo, 0) {
			t.Errorf("the bucket [%g, %g) of %g is wider than 1/64", lo, hi, x)
		}
	}
	slices.Sort(numbers)
	for i, x := range numbers[1:] {
		if bucketOf(x) < bucketOf(numbers[i]) {
			t.Errorf("bucket %d of %g is below that of the smaller %g", bucketOf(x), x, numbers[i])
		}
	}
}

func TestQuantileError(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var parts [3]histogram
	var all []float64
	for i := range 30_000 {
		x := 50 * math.Exp(2*rng.NormFloat64())
		if i%10 == 0 {
			x = -x
		}
		parts[i%3].add(x, 1, nil)
		all = append(all, x)
	}
	var h histogram
	for i := range parts {
		h.merge(&parts[i], nil)
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1} {
		want := all[max(0, int(math.Ceil(q*float64(len(all))-1e-6))-1)]
		got, ok := h.quantile(q, false)
		if !ok || math.Abs(got-want) > 0.008*math.Abs(want) {
			t.Errorf("quantile %g = %g, want %g within 0.8 %%", q, got, want)
		}
	}
}

func TestQuantileOfIntegers(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(float64(200+i%2*304), 1, nil) // 200 and 504, many times
	}
	for q, want := range map[float64]float64{0.25: 200, 0.99: 504} {
		if got, _ := h.quantile(q, true); math.Abs(got-want) > 2 || got != math.Trunc(got) {
			t.Errorf("quantile %g = %v, want about %v and a whole number", q, got, want)
		}
	}
}

func TestGridCoversZeroAndBothSigns(t *testing.T) {
	var h histogram
	for _, x := range []float64{0, 1, 10, 1e6, -5, -1e6} {
		h.add(x, 1, nil)
	}
	cells := h.cells(gridFor(&h))
	if len(cells) < 5 || len(cells) > maxCells+1 {
		t.Errorf("%d cells for six numbers: %v", len(cells), cells)
	}
	for _, x := range []float64{0, 1, 10, 1e6, -5, -1e6} {
		if !slices.ContainsFunc(cells, func(c Bucket) bool { return c.Min <= x && x < c.Max }) {
			t.Errorf("no cell holds %g: %v", x, cells)
		}
	}
}

func TestNth(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 2000 {
		xs := make([]float64, 1+rng.IntN(100))
		for i := range xs {
			xs[i] = float64(rng.IntN(1 + rng.IntN(100)))
		}
		sorted := slices.Sorted(slices.Values(xs))
		n := rng.IntN(len(xs))
		if got := nth(slices.Clone(xs), n); got != sorted[n] {
			t.Fatalf("number %d of %v is %v, want %v", n, xs, got, sorted[n])
		}
	}
}

func TestFewNumbersAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var s slab
	for _, n := range []int{1, 2, 63, 64, 65, maxFew} {
		var whole, weighted histogram
		var all []float64
		for i := range n {
			x := rng.NormFloat64()
			all = append(all, x)
			whole.add(x, 1, &s)
			weighted.add(x, float64(1+i%2), &s)
			if i%2 == 1 {
				all = append(all, x)
			}
		}
		slices.Sort(all)
		for _, q := range []float64{0.001, 0.5, 0.99} {
			want := all[int(math.Ceil(q*float64(len(all))-1e-6))-1]
			if got, ok := weighted.quantile(q, false); !ok || got != want {
				t.Errorf("quantile %g of %d weighted numbers = %g, want %g", q, n, got, want)
			}
		}
		if whole.wide != nil || weighted.wide != nil {
			t.Errorf("%d numbers are in buckets", n)
		}
	}
}
