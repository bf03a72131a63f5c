package query

import (
	"fmt"
	"math"
	"strconv"
)

// barCounts is a histogram of both sides. Its bars end at the preferred numbers
// of the R20 series (ISO 3), twenty to a decade, that people would choose as
// limits themselves; from 1e-9 to 1e19, and what is beyond in the outermost bars.
// Bar 0 is zero and all nearer to it than the least edge, bar n begins at edge
// n-1, bar -n at minus edge n.
type barCounts [2*barEdges + 1][2]float64

var preferred = [...]string{"1", "1.12", "1.25", "1.4", "1.6", "1.8", "2", "2.24", "2.5", "2.8",
	"3.15", "3.55", "4", "4.5", "5", "5.6", "6.3", "7.1", "8", "9"}

const (
	perDecade     = len(preferred)
	leastExponent = -9
	decades       = 28
	barEdges      = decades * perDecade
	barBytes      = (2*barEdges + 1) * 16

	// barBits is the bits of a fraction that, with the exponent, tell a number's
	// bar but for one edge: 1/32 of an octave is less than a twentieth of a decade.
	barBits = 5
)

// edges are the ends of the bars above zero.
var edges = func() (out [barEdges]float64) {
	for i := range out {
		text := fmt.Sprintf("%se%d", preferred[i%perDecade], leastExponent+i/perDecade)
		out[i], _ = strconv.ParseFloat(text, 64) // a number, as written here
	}
	return out
}()

// firstEdge is, by exponent and barBits, the last edge at or below all such numbers.
var firstEdge = func() (out [1 << (11 + barBits)]int16) {
	at := -1
	for i := range out {
		low := math.Float64frombits(uint64(i) << (52 - barBits))
		for at+1 < barEdges && edges[at+1] <= low {
			at++
		}
		out[i] = int16(at)
	}
	return out
}()

// barOf is the bar of a finite number.
func barOf(x float64) int {
	a := math.Abs(x)
	at := int(firstEdge[math.Float64bits(a)>>(52-barBits)])
	if at+1 < barEdges && edges[at+1] <= a {
		at++
	}
	switch {
	case x >= 0 || at < 0:
		return at + 1
	case a == edges[at]:
		return -at
	}
	return -at - 1
}

// add counts a number; NaN and infinities are left out.
func (b *barCounts) add(x float64, count [2]float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return
	}
	c := &b[barEdges+barOf(x)]
	c[selected] += count[selected]
	c[baseline] += count[baseline]
}

func (b *barCounts) merge(o *barCounts) {
	for i := range b {
		b[i][selected] += o[i][selected]
		b[i][baseline] += o[i][baseline]
	}
}

// barLow is the lower end of a bar, which belongs to it.
func barLow(bar int) float64 {
	switch {
	case bar > 0:
		return edges[bar-1]
	case bar == 0:
		return -edges[0]
	case bar <= -barEdges:
		return -math.MaxFloat64
	}
	return -edges[-bar]
}

// thresholds calls fn for each edge between two bars that are not empty, with the
// rows at or above it and below it.
func (b *barCounts) thresholds(fn func(edge float64, above, below [2]float64)) {
	var above, below [2]float64
	for i := range b {
		above[selected] += b[i][selected]
		above[baseline] += b[i][baseline]
	}
	empty := true
	for i := range b {
		if b[i] == [2]float64{} {
			continue
		}
		if !empty {
			fn(barLow(i-barEdges), above, below)
		}
		empty = false
		for side, n := range b[i] {
			above[side] -= n
			below[side] += n
		}
	}
}

// maxBars bounds the bars of an answer.
const maxBars = 32

// bars joins neighbours until they are few enough to draw, without the empty ones
// at both ends.
func (r *bubbleRun) bars(b *barCounts) []BarPair {
	first, last := -1, -1
	for i := range b {
		if b[i] != [2]float64{} {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return []BarPair{}
	}
	for _, width := range []int{1, 2, 4, perDecade, 2 * perDecade, 4 * perDecade, 8 * perDecade, 16 * perDecade} {
		from, to := floorDiv(first-barEdges, width), floorDiv(last-barEdges, width)
		if to-from+1 > maxBars && width < 16*perDecade {
			continue
		}
		out := make([]BarPair, 0, to-from+1)
		for n := from; n <= to; n++ {
			low, high := n*width, (n+1)*width
			var count [2]float64
			for bar := max(low, -barEdges); bar < min(high, barEdges+1); bar++ {
				count[selected] += b[barEdges+bar][selected]
				count[baseline] += b[barEdges+bar][baseline]
			}
			out = append(out, BarPair{Min: barLow(max(low, -barEdges)), Max: barHigh(high - 1), Compared: r.compare(count)})
		}
		return out
	}
	return []BarPair{}
}

// barHigh is the upper end of a bar.
func barHigh(bar int) float64 {
	if bar >= barEdges {
		return math.MaxFloat64
	}
	return barLow(bar + 1)
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && a < 0 {
		q--
	}
	return q
}
