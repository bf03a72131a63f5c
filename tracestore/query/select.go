package query

import (
	"context"
	"math/bits"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// where is everything that decides whether a row belongs to a query.
type where struct {
	fields      *calcFields
	from, to    int64 // from ≤ start < to, Unix nanoseconds
	environment string
	filters     []filter
	or          bool // one filter is enough
	anySignal   bool // log rows too

	exists   []*exists   // what filters ask for around a row
	scoped   []string    // columns of other spans that the query reads
	resolved *resolution // of one run
	maxApart int         // see the constant, unless 0
}

// inEnvironment keeps the rows of the query's environment; nil: all rows.
func (q *where) inEnvironment() *filter {
	if q.environment == "" {
		return nil
	}
	c := &filter{column: column.Environment}
	c.equal([]trace.Value{trace.String(q.environment)})
	return c
}

// columns lists the columns that the filters name.
func (q *where) columns() []string {
	var names []string
	for i := range q.filters {
		if q.filters[i].around == 0 {
			names = append(names, q.filters[i].column)
		}
	}
	return names
}

// selection is the rows of a block that belong to a query.
type selection struct {
	rows int           // of the block
	bits column.Bitmap // nil: all
}

func (s *selection) count() int {
	if s.bits == nil {
		return s.rows
	}
	return s.bits.Count()
}

// bitmap returns the selection as a bitmap of its own.
func (s *selection) bitmap() column.Bitmap {
	if s.bits == nil {
		s.bits = column.NewBitmap(s.rows)
		fill(s.bits, s.rows)
	}
	return s.bits
}

// selectRows returns the rows of the block that belong to the query.
func (q *where) selectRows(v *view) (column.Bitmap, error) {
	sel, err := q.choose(v)
	if err != nil {
		return nil, err
	}
	return sel.bitmap(), nil
}

// view is a block with the query's calculated fields. They are worked out until
// hold, which counts the bytes that they take, returns an error or ctx ends; nil:
// without end.
func (q *where) view(ctx context.Context, b column.Block, hold func(int64) error) *view {
	v := newView(b)
	v.resolved = q.resolved
	if q.fields != nil {
		v.fields = q.fields
		v.spend = func(bytes int64) error {
			if err := hold(bytes); err != nil {
				return err
			}
			return ctx.Err()
		}
	}
	return v
}

// choose returns the rows of the block that belong to the query, and tells the view
// which they are. It reads no column of which the block's statistics tell enough.
func (q *where) choose(v *view) (*selection, error) {
	sel, err := q.pick(v)
	if err != nil {
		return nil, err
	}
	v.selected = sel.bits
	return sel, nil
}

func (q *where) pick(v *view) (*selection, error) {
	sel := &selection{rows: v.rows}
	if minStart, maxStart := v.block.Bounds(); minStart < q.from || maxStart >= q.to {
		start, err := v.fixed(column.Start)
		if err != nil {
			return nil, err
		}
		between(start.Ints, q.from, q.to-1, sel.bitmap())
	}
	if !q.anySignal && !v.onlySpans() {
		signal, err := v.fixed(column.Signal)
		if err != nil {
			return nil, err
		}
		between(signal.Ints, int64(trace.SignalSpan), int64(trace.SignalSpan), sel.bitmap())
	}
	if c := q.inEnvironment(); c != nil {
		if err := c.narrow(v, sel); err != nil {
			return nil, err
		}
	}
	if !q.or || len(q.filters) == 0 {
		for i := range q.filters {
			if err := q.filters[i].narrow(v, sel); err != nil {
				return nil, err
			}
		}
		return sel, nil
	}
	left := sel.bitmap() // the rows that no filter has kept so far
	kept := column.NewBitmap(v.rows)
	for i := range q.filters {
		c := &q.filters[i]
		keep := c.verdict(v)
		if keep == keepsNone {
			continue
		}
		hit := left
		if keep == keepsSome {
			var err error
			if hit, err = c.keeps(v, left); err != nil {
				return nil, err
			}
		}
		for w := range left {
			kept[w] |= hit[w]
			left[w] &^= kept[w]
		}
	}
	sel.bits = kept
	return sel, nil
}

// narrow leaves in the selection the rows that the filter keeps.
func (c *filter) narrow(v *view, sel *selection) error {
	switch c.verdict(v) {
	case keepsAll:
		return nil
	case keepsNone:
		sel.bits = column.NewBitmap(v.rows)
		return nil
	}
	kept, err := c.keeps(v, sel.bitmap())
	sel.bits = kept
	return err
}

// apply clears the bits of sel whose rows the filter does not keep.
func (c *filter) apply(v *view, sel column.Bitmap) error {
	left := &selection{rows: v.rows, bits: sel}
	err := c.narrow(v, left)
	copy(sel, left.bits)
	return err
}

// keeps returns the rows of within that the filter keeps.
func (c *filter) keeps(v *view, within column.Bitmap) (column.Bitmap, error) {
	hit := column.NewBitmap(v.rows)
	if c.around > 0 {
		var err error
		if hit, err = v.keepsAround(c.around-1, within); err != nil {
			return nil, err
		}
	} else if c.column == durationMS && c.ints.set == nil && c.floats.set == nil && c.floats.text == nil && !c.any {
		vec, err := v.fixed(column.Duration)
		if err != nil {
			return nil, err
		}
		c.test(vec, &c.nanos, within, hit)
	} else {
		vecs, err := v.vectorsOf(c.column, within)
		if err != nil {
			return nil, err
		}
		for _, vec := range vecs {
			c.test(vec, &c.ints, within, hit)
		}
	}
	if c.negate {
		for w := range hit {
			hit[w] = within[w] &^ hit[w]
		}
	}
	return hit, nil
}

// between clears the bits of the rows whose value is not in lo ≤ value ≤ hi.
func between(values []int64, lo, hi int64, sel column.Bitmap) {
	for w, word := range sel {
		if word == 0 {
			continue
		}
		from := w << 6
		sel[w] = word & intsBetween(values[from:min(from+64, len(values))], lo, hi)
	}
}

// intsBetween sets bit i if value i is in lo ≤ value ≤ hi. At most 64 values.
func intsBetween(values []int64, lo, hi int64) uint64 {
	if lo > hi {
		return 0
	}
	width := uint64(hi) - uint64(lo)
	m := uint64(0)
	for i, n := range values {
		m |= b2u(uint64(n)-uint64(lo) <= width) << (i & 63)
	}
	return m
}

func floatsBetween(values []float64, lo, hi float64) uint64 {
	m := uint64(0)
	for i, x := range values {
		m |= (b2u(x >= lo) & b2u(x <= hi)) << (i & 63)
	}
	return m
}

func idsEqual(ids []uint32, id uint32) uint64 {
	m := uint64(0)
	for i, have := range ids {
		m |= b2u(have == id) << (i & 63)
	}
	return m
}

// fewBits is when the rows of a word are tested one by one rather than all.
const fewBits = 12

// test sets the bits of hit for the rows of within that vec has and whose value
// passes; integers pass ints. A dictionary value is tested once at most.
func (c *filter) test(vec *column.Vector, ints *intTest, within, hit column.Bitmap) {
	t := tester{filter: c, vec: vec, ints: ints}
	if !t.open() {
		return
	}
	rows := t.rows()
	for w, word := range within {
		if vec.Present != nil {
			word &= vec.Present[w]
		}
		if word == 0 || c.any {
			hit[w] |= word
			continue
		}
		if bits.OnesCount64(word) > fewBits {
			from := w << 6
			if got, ok := t.run(from, min(from+64, rows)); ok {
				hit[w] |= got & word
				continue
			}
		}
		for left := word; left != 0; left &= left - 1 {
			b := bits.TrailingZeros64(left)
			hit[w] |= b2u(t.row(w<<6|b)) << b
		}
	}
}

// tester tests the values of one vector.
type tester struct {
	*filter
	vec  *column.Vector
	ints *intTest

	found []uint32 // an equality: the dictionary ids that pass
	memo  []uint8  // by dictionary id, if found is not set
	yes   [2]bool  // a bool: whether false and true pass
}

const (
	memoNo  = 1
	memoYes = 2
	// maxFound is how many texts of an equality are looked for in a dictionary;
	// of more, each dictionary value is looked up among the texts.
	maxFound = 4
)

// open makes ready and reports whether a value may pass.
func (t *tester) open() bool {
	switch {
	case t.any:
	case t.vec.IDs != nil && t.vec.Dict.Len() == 0:
		return false
	case t.vec.IDs != nil && t.vec.Type != trace.TypeBytes && t.equals != nil && len(t.equals) <= maxFound:
		for _, text := range t.equals {
			if id, ok := idOf(t.vec.Dict, text); ok {
				t.found = append(t.found, id)
			}
		}
		return len(t.found) > 0
	case t.vec.IDs != nil:
		t.memo = make([]uint8, t.vec.Dict.Len())
	case t.vec.Type == trace.TypeBool:
		t.yes = [2]bool{t.text("false"), t.text("true")}
		return t.yes[0] || t.yes[1]
	}
	return true
}

// idOf finds a text in a dictionary.
func idOf(d column.Dict, text string) (uint32, bool) {
	from, n := uint32(0), uint32(len(text))
	for id, end := range d.Ends {
		if end-from == n && d.At(uint32(id)) == text {
			return uint32(id), true
		}
		from = end
	}
	return 0, false
}

func (t *tester) rows() int {
	switch v := t.vec; {
	case v.IDs != nil:
		return len(v.IDs)
	case v.Ints != nil:
		return len(v.Ints)
	case v.Floats != nil:
		return len(v.Floats)
	case v.Width > 0:
		return len(v.Fixed) / v.Width
	}
	return 0
}

// run tests the rows from ≤ row < to, at most 64; false: it cannot.
func (t *tester) run(from, to int) (passed uint64, ok bool) {
	v := t.vec
	switch {
	case t.found != nil:
		for _, id := range t.found {
			passed |= idsEqual(v.IDs[from:to], id)
		}
		return passed, true
	case v.IDs != nil:
		for i, id := range v.IDs[from:to] {
			m := t.memo[id]
			if m == 0 {
				m = t.entry(id)
			}
			passed |= uint64(m>>1) << (i & 63)
		}
		return passed, true
	case v.Ints != nil && v.Type == trace.TypeBool:
		for i, n := range v.Ints[from:to] {
			passed |= b2u(t.yes[n&1]) << (i & 63)
		}
		return passed, true
	case v.Ints != nil && t.ints.set == nil && t.ints.text == nil:
		return intsBetween(v.Ints[from:to], t.ints.lo, t.ints.hi), true
	case v.Floats != nil && t.floats.set == nil && t.floats.text == nil && !t.floats.nan:
		return floatsBetween(v.Floats[from:to], t.floats.lo, t.floats.hi), true
	}
	return 0, false
}

// row tests one row.
func (t *tester) row(row int) bool {
	v := t.vec
	switch {
	case t.found != nil:
		for _, id := range t.found {
			if v.IDs[row] == id {
				return true
			}
		}
	case v.IDs != nil:
		id := v.IDs[row]
		m := t.memo[id]
		if m == 0 {
			m = t.entry(id)
		}
		return m == memoYes
	case v.Ints != nil && v.Type == trace.TypeBool:
		return t.yes[v.Ints[row]&1]
	case v.Ints != nil:
		return t.ints.passes(v.Ints[row])
	case v.Floats != nil:
		return t.floats.passes(v.Floats[row])
	case v.Fixed != nil && t.fixed != nil:
		id := v.Fixed[row*v.Width : (row+1)*v.Width]
		for _, want := range t.fixed {
			if string(id) == string(want) {
				return true
			}
		}
	case v.Fixed != nil:
		return t.text(hexAt(v, row))
	}
	return false
}

// entry tests a dictionary value.
func (t *tester) entry(id uint32) uint8 {
	s := t.vec.Dict.At(id)
	if t.vec.Type == trace.TypeBytes {
		s = trace.Bytes(s).Text()
	}
	m := uint8(memoNo)
	if t.text(s) {
		m = memoYes
	}
	t.memo[id] = m
	return m
}
