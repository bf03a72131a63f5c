package query

import (
	"math"
	"slices"
	"strconv"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// verdict is what a block's statistics say of a filter.
type verdict uint8

const (
	keepsSome verdict = iota // or perhaps all, or none
	keepsAll
	keepsNone
)

// verdict tells what the filter keeps of a block, as far as that is known without
// reading rows.
func (c *filter) verdict(v *view) verdict {
	known := c.hitsBlock(v)
	if c.negate {
		switch known {
		case keepsAll:
			return keepsNone
		case keepsNone:
			return keepsAll
		}
	}
	return known
}

// excludes reports whether surely no row of the block belongs to the query.
func (q *where) excludes(v *view) bool {
	if q.misses(v.block) {
		return true
	}
	if c := q.inEnvironment(); c != nil && c.verdict(v) == keepsNone {
		return true
	}
	for i := range q.filters {
		none := q.filters[i].verdict(v) == keepsNone
		if none != q.or {
			return none // AND: one that keeps nothing; OR: one that may keep something
		}
	}
	return q.or && len(q.filters) > 0
}

// misses reports whether no row of the block can lie in the window.
func (q *where) misses(b column.Block) bool {
	minStart, maxStart := b.Bounds()
	return b.Rows() == 0 || maxStart < q.from || minStart >= q.to
}

// inWindow leaves out the blocks that no row of the window can lie in.
func inWindow(q *where, blocks []column.Block) []column.Block {
	return slices.DeleteFunc(slices.Clone(blocks), q.misses)
}

// live leaves out the blocks of which surely no row belongs to the query.
func (q *where) live(blocks []column.Block) []column.Block {
	live := make([]column.Block, 0, len(blocks))
	for _, b := range blocks {
		v := newView(b)
		v.fields = q.fields
		if !q.excludes(v) {
			live = append(live, b)
		}
	}
	return live
}

// onlySpans reports whether every row of the block is known to be a span.
func (v *view) onlySpans() bool {
	st, ok := v.block.Stats(column.Signal, trace.TypeInt)
	return ok && st.Min == float64(trace.SignalSpan) && st.Max == st.Min
}

// hitsBlock tells which rows of the block have a value that passes the test:
// all, none, or that it is not known.
func (c *filter) hitsBlock(v *view) verdict {
	if c.around > 0 || v.fields.field(c.column) != nil || isScoped(c.column) {
		return keepsSome
	}
	switch c.column {
	case durationMS:
		if c.any {
			return keepsAll
		}
		if c.ints.set != nil || c.floats.set != nil || c.floats.text != nil {
			return keepsSome
		}
		return intsKnown(v, column.Duration, &c.nanos)
	case column.TraceID:
		if c.equals != nil && !mayHaveOne(v, column.TraceID, c.equals) {
			return keepsNone
		}
		return keepsSome
	case isRoot, column.SpanID, column.ParentID:
		return keepsSome
	case column.Kind:
		return c.enumKnown(v, kindNames.names)
	case column.Status:
		return c.enumKnown(v, statusNames.names)
	case column.Signal:
		return c.enumKnown(v, signalNames.names)
	}
	all, none := false, true
	for i, name := range append([]string{c.column}, v.others(c.column)...) {
		for _, t := range v.block.Types(name) {
			switch c.known(v, name, t) {
			case keepsNone:
			case keepsAll:
				all = all || i == 0 // every row has the first name
				none = false
			default:
				none = false
			}
		}
	}
	switch {
	case all:
		return keepsAll
	case none:
		return keepsNone
	}
	return keepsSome
}

// known is hitsBlock for one column of the block.
func (c *filter) known(v *view, name string, t trace.Type) verdict {
	if c.any {
		return keepsSome
	}
	if c.equals != nil && t != trace.TypeBool && !mayHaveOne(v, name, c.equals) {
		return keepsNone
	}
	st, ok := v.block.Stats(name, t)
	if !ok {
		return keepsSome
	}
	if st.Distinct > 0 && st.Distinct == len(st.Top) {
		return c.ofTop(v, name, t, st.Top)
	}
	switch t {
	case trace.TypeInt:
		return intsKnown(v, name, &c.ints)
	case trace.TypeFloat:
		if c.floats.set == nil && c.floats.text == nil && !c.floats.nan && st.Min <= st.Max &&
			(c.floats.hi < st.Min || c.floats.lo > st.Max) {
			return keepsNone
		}
	case trace.TypeBool:
		if st.Min == st.Max && !c.text(strconv.FormatBool(st.Min != 0)) {
			return keepsNone
		}
	}
	return keepsSome
}

// mayHaveOne reports whether the block may have one of the texts in a column.
func mayHaveOne(v *view, name string, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return v.block.MayHave(name, column.HashString(0, text)) })
}

// ofTop tests all values that a column has.
func (c *filter) ofTop(v *view, name string, t trace.Type, top []column.ValueCount) verdict {
	rows, passed := 0, 0
	for _, value := range top {
		rows += value.Rows
		if name == column.Service && value.Text == "" { // no value, to queries
			continue
		}
		pass := false
		switch t {
		case trace.TypeInt:
			n, err := strconv.ParseInt(value.Text, 10, 64)
			if err != nil {
				return keepsSome
			}
			pass = c.ints.passes(n)
		case trace.TypeFloat:
			x, err := strconv.ParseFloat(value.Text, 64)
			if err != nil {
				return keepsSome
			}
			pass = c.floats.passes(x)
		default:
			pass = c.text(value.Text)
		}
		if pass {
			passed++
		}
	}
	switch {
	case passed == 0:
		return keepsNone
	case passed == len(top) && rows == v.rows:
		return keepsAll
	}
	return keepsSome
}

// intsKnown compares a test of integers with the bounds of a column that every
// row has, or that is not asked for more than whether some row passes.
func intsKnown(v *view, name string, t *intTest) verdict {
	st, ok := v.block.Stats(name, trace.TypeInt)
	if !ok || t.set != nil || t.text != nil || st.Min > st.Max {
		return keepsSome
	}
	if t.lo > t.hi || surelyBelow(float64(t.hi), st.Min) || surelyBelow(st.Max, float64(t.lo)) {
		return keepsNone
	}
	return keepsSome
}

// surelyBelow reports whether a is below b although both may be integers rounded
// to float64.
func surelyBelow(a, b float64) bool {
	const exact = 1 << 53
	if math.Abs(a) < exact && math.Abs(b) < exact {
		return a < b
	}
	return a < b-math.Abs(b)*0x1p-50
}

// enumKnown is hitsBlock for a column of small numbers that queries see by name.
func (c *filter) enumKnown(v *view, names []string) verdict {
	if c.any {
		return keepsAll
	}
	st, ok := v.block.Stats(c.column, trace.TypeInt)
	if !ok || st.Min > st.Max {
		return keepsSome
	}
	all, none := true, true
	for n, name := range names {
		// A number without a name shows as the first.
		if n > 0 && (float64(n) < st.Min || float64(n) > st.Max) || n == 0 && st.Min > 0 && st.Max < float64(len(names)) {
			continue
		}
		if c.text(name) {
			none = false
		} else {
			all = false
		}
	}
	switch {
	case none:
		return keepsNone
	case all:
		return keepsAll
	}
	return keepsSome
}
