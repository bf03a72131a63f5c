package query

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// answer turns accumulators into a [Result].
type answer struct {
	plan    *Plan
	grouper *grouper
	groups  *groups // by group: what choosing needs, perhaps no more
	listed  []int   // groups of the answer, in order
	beyond  []int   // groups beyond the limit

	final  *groups // by place in listed; then those beyond, then those left out
	series *groups // by place in listed, times the buckets
	lost   bool    // a distinct count was estimated
}

// candidate is a group with its first sort key, unless that is a breakdown;
// further keys are worked out when the first ones are equal.
type candidate struct {
	group   int
	key     float64
	missing bool
}

// choose fills listed and beyond: the groups that pass the havings, ordered.
func (a *answer) choose() {
	p := a.plan
	if len(p.breakdowns) == 0 {
		if a.passes(0) {
			a.listed = []int{0}
		}
		return
	}
	// Of many groups only the first few are wanted: sort whenever there are
	// twice as many as the limit, and forget those behind it.
	var best []candidate
	keep := func() {
		slices.SortFunc(best, a.compare)
		for _, c := range best[min(p.limit, len(best)):] {
			a.beyond = append(a.beyond, c.group)
		}
		best = best[:min(p.limit, len(best))]
	}
	var worst *candidate
	for g := range a.groups.weight {
		if !a.groups.has(g) || !a.passes(g) {
			continue
		}
		c := a.candidate(g)
		if worst != nil && a.compare(c, *worst) > 0 {
			a.beyond = append(a.beyond, g)
			continue
		}
		best = append(best, c)
		if len(best) >= 2*p.limit+64 {
			keep()
			w := best[len(best)-1]
			worst = &w
		}
	}
	keep()
	for _, c := range best {
		a.listed = append(a.listed, c.group)
	}
}

func (a *answer) candidate(g int) candidate {
	if o := a.plan.orders; len(o) > 0 && o[0].calculation >= 0 {
		return a.keyed(g, o[0].calculation)
	}
	return candidate{group: g}
}

// compare orders two groups by the orders of the plan, then by their values. A
// missing value comes last either way.
func (a *answer) compare(x, y candidate) int {
	for i, o := range a.plan.orders {
		c := 0
		if o.calculation >= 0 {
			if i > 0 {
				x, y = a.keyed(x.group, o.calculation), a.keyed(y.group, o.calculation)
			}
			if x.missing || y.missing {
				if x.missing != y.missing {
					return missingLast(x.missing)
				}
				continue
			}
			c = compareFloats(x.key, y.key)
		} else {
			vx, vy := a.grouper.value(x.group, o.breakdown), a.grouper.value(y.group, o.breakdown)
			if vx.Type == trace.TypeNone || vy.Type == trace.TypeNone {
				if vx.Type != vy.Type {
					return missingLast(vx.Type == trace.TypeNone)
				}
				continue
			}
			c = compareValues(vx, vy)
		}
		if o.descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	for i := range a.plan.breakdowns {
		if c := compareValues(a.grouper.value(x.group, i), a.grouper.value(y.group, i)); c != 0 {
			return c
		}
	}
	return 0
}

func (a *answer) keyed(g, calculation int) candidate {
	x, ok := a.number(a.groups, g, calculation)
	return candidate{g, x, !ok}
}

func missingLast(missing bool) int {
	if missing {
		return 1
	}
	return -1
}

// compareValues orders values: numbers, then texts byte by byte, then none.
func compareValues(x, y trace.Value) int {
	class := func(v trace.Value) int {
		switch v.Type {
		case trace.TypeInt, trace.TypeFloat:
			return 0
		case trace.TypeNone:
			return 2
		}
		return 1
	}
	if c := class(x) - class(y); c != 0 {
		return c
	}
	if x.Type == trace.TypeInt && y.Type == trace.TypeInt {
		return compareInts(x.Int(), y.Int())
	}
	if class(x) == 0 {
		if c := compareFloats(x.Float(), y.Float()); c != 0 {
			return c
		}
	}
	return strings.Compare(x.Text(), y.Text())
}

func (a *answer) passes(g int) bool {
	for _, h := range a.plan.havings {
		x, ok := a.number(a.groups, g, h.calculation)
		if !ok || !h.holds(compareFloats(x, h.value)) {
			return false
		}
	}
	return true
}

// number is a calculation of one group; false if no row has a number for it.
func (a *answer) number(gs *groups, g, calculation int) (float64, bool) {
	op, at := a.plan.ops[calculation], a.plan.accumulators[calculation]
	if gs.layout != &a.plan.layout {
		at = gs.layout.find(op.kind, a.plan.calculations[calculation].Column)
	}
	x, ok := 0.0, true
	switch op.kind {
	case opCount:
		x = gs.weight[g]
	case opDistinct:
		var estimated bool
		x, estimated = gs.distincts[at][g].count()
		a.lost = a.lost || estimated
	case opQuantile:
		x, ok = gs.hists[at][g].quantile(op.quantile, !gs.fractions[at])
	case opRateSum, opRateAvg, opRateMax:
		x, ok = gs.ends[at][g].change(op.kind)
	case opConcurrency:
		x = gs.busy[g] / a.plan.width(-1)
	default:
		s := &gs.sums[at][g]
		if ok = s.weight != 0; ok {
			x = s.of(op.kind)
		}
	}
	return x, ok && finite(x)
}

// data renders the calculations of one group; grids are those of gridFor.
func (a *answer) data(gs *groups, g int, grids []grid) map[string]any {
	data := make(map[string]any, len(a.plan.calculations)+len(a.plan.breakdowns))
	for i, c := range a.plan.calculations {
		if a.plan.ops[i].kind == opHeatmap {
			h := a.plan.accumulators[i]
			data[c.Name()] = gs.hists[h][g].cells(grids[h])
			continue
		}
		if x, ok := a.number(gs, g, i); ok {
			data[c.Name()] = x
		} else {
			data[c.Name()] = nil
		}
	}
	return data
}

// name adds the breakdown values of the group.
func (a *answer) name(data map[string]any, vals []trace.Value) {
	for i, v := range vals {
		if v.Type == trace.TypeNone {
			data[a.plan.breakdowns[i]] = nil
		} else {
			data[a.plan.breakdowns[i]] = v
		}
	}
}

func (a *answer) result() *Result {
	p := a.plan
	r := &Result{Results: make([]Group, 0, len(a.listed))}
	total := newGroups(&p.layout, 1)
	for g := range a.final.weight {
		if a.final.has(g) {
			total.merge(0, a.final, g)
		}
	}
	grids := make([]grid, len(p.layout.hists))
	for i := range grids {
		grids[i] = gridFor(&total.hists[i][0])
	}
	r.Total = &Group{Data: a.data(total, 0, grids)}
	if len(a.beyond) > 0 {
		r.Other = &Group{Data: a.data(a.final, len(a.listed), grids)}
	}
	vals := a.values()
	for i := range a.listed {
		data := a.data(a.final, i, grids)
		a.name(data, vals[i])
		r.Results = append(r.Results, Group{Data: data})
	}
	if !p.series {
		return r
	}
	r.Series = []Point{}
	before := make([]int, len(a.listed)*len(p.calculations)) // bucket+1 that had the last number
	for t := range p.buckets {
		begin := time.Unix(0, p.firstNano+int64(t)*p.stepNano).UTC().Format(time.RFC3339)
		for i := range a.listed {
			cell := i*p.buckets + t
			if !a.series.has(cell) {
				continue
			}
			data := a.data(a.series, cell, grids)
			a.overTime(data, i, t, before)
			a.name(data, vals[i])
			r.Series = append(r.Series, Point{Time: begin, Data: data})
		}
	}
	return r
}

// overTime puts into a point what depends on more than its own rows: changes since
// the bucket that had a number before, and how many spans ran.
func (a *answer) overTime(data map[string]any, listed, bucket int, before []int) {
	cell := listed*a.plan.buckets + bucket
	for i, op := range a.plan.ops {
		name := a.plan.calculations[i].Name()
		switch op.kind {
		case opConcurrency:
			data[name] = a.series.busy[cell] / a.plan.width(bucket)
		case opRateSum, opRateAvg, opRateMax:
			data[name] = nil
			ends := a.series.ends[a.plan.accumulators[i]]
			if ends[cell].first.weight == 0 {
				continue
			}
			last := &before[listed*len(a.plan.ops)+i]
			if *last > 0 {
				was := &ends[listed*a.plan.buckets+*last-1].first
				if x := ends[cell].first.of(op.kind) - was.of(op.kind); finite(x) {
					data[name] = x
				}
			}
			*last = bucket + 1
		}
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// warnings says what about the numbers is not exact.
func (a *answer) warnings(sampled bool) []string {
	var out []string
	if a.lost {
		out = append(out, fmt.Sprintf("COUNT_DISTINCT is estimated (within about 2 %%) where it is above %d.", maxExact))
	}
	if sampled && len(a.plan.layout.distincts) > 0 {
		out = append(out, "Some rows are sampled: COUNT_DISTINCT counts the values of the rows that were kept, the other calculations are corrected by the sample rate.")
	}
	return out
}

// missing warns of the names that none of the blocks has.
func missing(names []string, blocks []column.Block) []string {
	var out []string
	for _, name := range names {
		if !inEveryRow(name) && !slices.ContainsFunc(blocks, func(b column.Block) bool { return newView(b).has(name) }) {
			out = append(out, fmt.Sprintf("No row in this time range has the column %q.", name))
		}
	}
	return out
}

// inEveryRow reports whether each row has the column, so that its absence can
// only mean that there are no rows.
func inEveryRow(name string) bool {
	switch name {
	case durationMS, isRoot, column.TraceID, column.SpanID, column.ParentID, column.Start, column.Duration, column.Name,
		column.Service, column.Environment, column.Kind, column.Status, column.Error, column.Signal, column.Arrived:
		return true
	}
	return false
}

// has reports whether the block has the column, under any of its names.
func (v *view) has(name string) bool {
	_, name = cutScope(name)
	if inEveryRow(name) || len(v.block.Types(name)) > 0 {
		return true
	}
	return slices.ContainsFunc(v.others(name), func(o string) bool { return len(v.block.Types(o)) > 0 })
}

// notNumbers warns of calculations over columns that hold no numbers.
func (p *Plan) notNumbers(blocks []column.Block) []string {
	var out []string
	for _, c := range p.calculations {
		if c.Column == "" || operators[c.Op].kind == opDistinct {
			continue
		}
		f := p.where.fields.field(c.Column)
		known, numbers := f != nil, f != nil && f.types&numbers != 0
		for _, b := range blocks {
			v := newView(b)
			known = known || v.has(c.Column)
			numbers = numbers || v.hasNumbers(c.Column)
		}
		if known && !numbers {
			out = append(out, fmt.Sprintf("%s is empty: the column %q holds no numbers in this time range.", c.Name(), c.Column))
		}
	}
	return out
}

func (v *view) hasNumbers(name string) bool {
	s, name := cutScope(name)
	if s == scopeRipple {
		return true
	}
	switch name {
	case durationMS, column.Start, column.Duration, column.Arrived:
		return true
	case column.Kind, column.Status, column.Signal: // numbers in the block, names in queries
		return false
	}
	for _, n := range append([]string{name}, v.others(name)...) {
		for _, t := range v.block.Types(n) {
			if t == trace.TypeInt || t == trace.TypeFloat {
				return true
			}
		}
	}
	return false
}
