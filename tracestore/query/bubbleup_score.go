package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// standardErrors is the width of the confidence intervals behind a score; see
// [BubbleUp].
const standardErrors = 2

// certain returns what is certain of the difference of two shares, p seen in n
// rows and q in m: the end nearer to zero of Newcombe's interval, never below 0.
func certain(p, n, q, m float64) float64 {
	if p < q {
		p, n, q, m = q, m, p, n
	}
	pLow, _ := wilson(p, n)
	_, qHigh := wilson(q, m)
	return max(0, p-q-math.Hypot(p-pLow, qHigh-q))
}

// wilson is the score interval of a share p seen in n rows (Wilson 1927).
func wilson(p, n float64) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	const z = standardErrors
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(max(0, p*(1-p)/n+z*z/(4*n*n)))
	return max(0, middle-half), min(1, middle+half)
}

// Of each column the answer shows this many values: the most frequent of either
// side, and the most different.
const (
	shownFrequent  = 10
	shownDifferent = 5
	// fewNumbers is how many distinct numbers are shown as values, without a
	// histogram.
	fewNumbers = 20
)

// result renders the answer, with what was found around the rows.
func (r *bubbleRun) result(around []Difference) *BubbleUpResult {
	out := &BubbleUpResult{Selection: r.total[selected], Baseline: r.total[baseline], Columns: []Difference{}, Warnings: []string{}}
	out.Stats.Sampled = r.weighted || r.total[selected].Sampled || r.total[baseline].Sampled
	for _, c := range r.columns {
		if c.rows[selected]+c.rows[baseline] > 0 {
			out.Columns = append(out.Columns, r.difference(c))
		}
	}
	out.Columns = append(out.Columns, news(around, out.Columns)...)
	slices.SortFunc(out.Columns, func(a, b Difference) int {
		if a.Defines != b.Defines {
			if a.Defines {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.gap(), b.gap()), strings.Compare(a.Name, b.Name))
	})
	out.Compared = len(out.Columns)
	out.Columns = out.Columns[:min(len(out.Columns), r.plan.limit)]
	switch {
	case r.total[selected].Rows == 0:
		out.Warnings = append(out.Warnings, "No row of the query is in the selection.")
	case r.total[baseline].Rows == 0:
		out.Warnings = append(out.Warnings, "Every row of the query is in the selection: there is nothing to compare it with.")
	}
	if r.skipped > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf(
			"%d columns are on too few rows to differ by a thousandth of the selection; they were not compared.", r.skipped))
	}
	return out
}

// gap orders the columns of one score: the greater the difference the less.
func (d *Difference) gap() float64 {
	if d.Best == nil {
		return 0
	}
	return -math.Abs(d.Best.Selection - d.Best.Baseline)
}

// share scales a count of rows read up and gives its share of the side's rows.
func (r *bubbleRun) share(count float64, side int) Share {
	if r.total[side].Count == 0 {
		return Share{}
	}
	n := count * r.scale[side]
	return Share{Count: n, Share: min(1, n/r.total[side].Count)}
}

func (r *bubbleRun) compare(count [2]float64) Compared {
	return Compared{r.share(count[selected], selected), r.share(count[baseline], baseline)}
}

// nearUniqueRows is how many rows tell that a column is near-unique.
const nearUniqueRows = 20

func (r *bubbleRun) difference(c *bubbleColumn) Difference {
	d := Difference{
		Name: c.name, Defines: r.plan.defines[c.name], Present: r.compare(c.count),
		Values: []ValuePair{}, Histogram: []BarPair{},
	}
	for _, t := range c.types {
		d.Types = append(d.Types, t.String())
	}
	switch c.name {
	case column.Kind, column.Status:
		d.Types = []string{trace.TypeString.String()}
	}
	slices.Sort(d.Types)
	rows := c.rows[selected] + c.rows[baseline]
	d.NearUnique = rows >= nearUniqueRows && (2*c.distinct > rows || c.continuous && c.name != durationMS)
	list := c.fresh
	if !c.pruned && !c.continuous {
		list = make([]recounted, len(c.values.entries))
		for i, e := range c.values.entries {
			list[i] = recounted{e.value, e.count}
		}
	}
	slices.SortFunc(list, func(a, b recounted) int {
		return cmp.Or(cmp.Compare(b.count[selected], a.count[selected]), cmp.Compare(b.count[baseline], a.count[baseline]), compareValues(a.value, b.value))
	})
	j := judge{run: r}
	for _, v := range list {
		j.state("=", v.value, v.count)
	}
	if c.bars != nil {
		c.bars.thresholds(j.number)
		if c.continuous || c.pruned || len(list) > fewNumbers {
			d.Histogram = r.bars(c.bars)
		}
	}
	absent := [2]float64{}
	for side := range absent {
		absent[side] = r.total[side].Count/max(r.scale[side], 1) - c.count[side]
	}
	j.presence(c.count, absent)
	if r.total[selected].Rows > 0 && r.total[baseline].Rows > 0 {
		d.Score, d.Best = j.score, j.best
	}

	d.Other = d.Present
	for _, v := range r.shown(list) {
		pair := ValuePair{v.value, r.compare(v.count)}
		d.Values = append(d.Values, pair)
		d.Other.Selection = d.Other.Selection.without(pair.Selection)
		d.Other.Baseline = d.Other.Baseline.without(pair.Baseline)
	}
	return d
}

// without takes a part away; what rounding leaves of nothing is nothing.
func (s Share) without(part Share) Share {
	if s.Count -= part.Count; s.Count < 1e-9*part.Count {
		return Share{}
	}
	s.Share = max(0, s.Share-part.Share)
	return s
}

// shown picks the values to show, in the order of the list.
func (r *bubbleRun) shown(list []recounted) []recounted {
	keep := make([]bool, len(list))
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	pick := func(n int, by func(c *recounted) float64) {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(by(&list[b]), by(&list[a])) })
		for _, i := range order[:min(n, len(order))] {
			keep[i] = by(&list[i]) > 0 || keep[i]
		}
	}
	pick(shownFrequent, func(c *recounted) float64 { return c.count[selected] })
	pick(shownFrequent, func(c *recounted) float64 { return c.count[baseline] })
	pick(shownDifferent, func(c *recounted) float64 {
		return math.Abs(c.count[selected]*r.perRow(selected) - c.count[baseline]*r.perRow(baseline))
	})
	var out []recounted
	for i, c := range list {
		if keep[i] {
			out = append(out, c)
		}
	}
	return out
}

// judge finds the best of the statements it is told.
type judge struct {
	run   *bubbleRun
	score float64
	gap   float64 // of best, above 0 if it holds for the selection more often
	best  *Statement
}

// state judges the statement that holds for so many rows read. Of equals the
// first told stays, unless a later one holds for the selection more often.
func (j *judge) state(op string, v trace.Value, count [2]float64) {
	r := j.run
	p, q := count[selected]*r.perRow(selected), count[baseline]*r.perRow(baseline)
	score, gap := certain(p, r.kish[selected], q, r.kish[baseline]), p-q
	const equal = 1e-12
	better := cmp.Or(cmpAbout(score, j.score, equal), cmpAbout(math.Abs(gap), math.Abs(j.gap), equal))
	if better > 0 || better == 0 && gap > equal && j.gap < -equal {
		j.score, j.gap = score, gap
		j.best = &Statement{Op: op, Value: v, Selection: p, Baseline: q}
	}
}

func cmpAbout(a, b, equal float64) int {
	if math.Abs(a-b) <= equal {
		return 0
	}
	return cmp.Compare(a, b)
}

// number judges an edge between numbers.
func (j *judge) number(edge float64, above, below [2]float64) {
	j.state(">=", trace.Float(edge), above)
	j.state("<", trace.Float(edge), below)
}

// presence judges whether rows have the key, by what the selection prefers.
func (j *judge) presence(present, absent [2]float64) {
	r := j.run
	if present[selected]*r.perRow(selected) >= present[baseline]*r.perRow(baseline) {
		j.state("exists", trace.Value{}, present)
	} else {
		j.state("does-not-exist", trace.Value{}, absent)
	}
}
