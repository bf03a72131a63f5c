package query

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// maxFilters bounds the filters of a query, as Honeycomb does.
const maxFilters = 100

// maxFilterValues bounds the list of an in or not-in.
const maxFilterValues = 10_000

// filter is a compiled [Filter]: a test of values, and whether the rows that
// pass it are kept or the others. A row without a value passes no test, so it
// is kept by the negative operators.
type filter struct {
	column string
	negate bool
	any    bool // exists: every value passes

	ints   func(int64) bool
	floats func(float64) bool
	text   func(string) bool
	fixed  [][]byte // ids: the bytes that pass; nil: test the hex text
}

// positive maps each negative operator to the test it denies.
var positive = map[string]string{
	"!=": "=", "does-not-exist": "exists", "not-in": "in", "does-not-contain": "contains",
	"does-not-start-with": "starts-with", "does-not-end-with": "ends-with",
}

// FilterOps lists the operators of a filter.
var FilterOps = []string{"=", "!=", ">", ">=", "<", "<=", "exists", "does-not-exist", "in", "not-in", "contains",
	"does-not-contain", "starts-with", "does-not-start-with", "ends-with", "does-not-end-with"}

func compileFilters(fs []Filter, field string) ([]filter, error) {
	if len(fs) > maxFilters {
		return nil, &InvalidError{field, fmt.Sprintf("At most %d filters.", maxFilters)}
	}
	out := make([]filter, 0, len(fs))
	for i, f := range fs {
		c, err := compileFilter(f, fmt.Sprintf("%s[%d]", field, i))
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func compileFilter(f Filter, field string) (filter, error) {
	c := filter{column: f.Column}
	if err := checkColumn(field+".column", f.Column); err != nil {
		return c, err
	}
	if !slices.Contains(FilterOps, f.Op) {
		return c, &InvalidError{field + ".op", fmt.Sprintf("Unknown operator %q. Use one of %s.", f.Op, strings.Join(FilterOps, ", "))}
	}
	op := f.Op
	if p, ok := positive[op]; ok {
		op, c.negate = p, true
	}
	if op == "exists" {
		c.any = true
		return c, nil
	}
	var vals []trace.Value
	if op == "in" {
		list, ok := anyList(f.Value)
		if !ok {
			return c, &InvalidError{field + ".value", fmt.Sprintf("%s wants a list of values.", f.Op)}
		}
		if len(list) > maxFilterValues {
			return c, &InvalidError{field + ".value", fmt.Sprintf("At most %d values.", maxFilterValues)}
		}
		for _, e := range list {
			v, err := valueOf(e)
			if err != nil {
				return c, &InvalidError{field + ".value", fmt.Sprintf("%s wants a list of values: %v.", f.Op, err)}
			}
			vals = append(vals, v)
		}
	} else {
		v, err := valueOf(f.Value)
		if err != nil {
			return c, &InvalidError{field + ".value", fmt.Sprintf("%s wants a value: %v. For rows without one, use does-not-exist.", f.Op, err)}
		}
		vals = []trace.Value{v}
	}
	switch op {
	case "=", "in":
		c.equal(vals)
	case ">", ">=", "<", "<=":
		c.compare(op, vals[0])
	case "contains":
		c.match(vals[0], strings.Contains)
	case "starts-with":
		c.match(vals[0], strings.HasPrefix)
	case "ends-with":
		c.match(vals[0], strings.HasSuffix)
	}
	return c, nil
}

func anyList(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []string:
		out := make([]any, len(v))
		for i, s := range v {
			out[i] = s
		}
		return out, true
	}
	return nil, false
}

// equal passes the values whose canonical text is that of one of vals.
func (c *filter) equal(vals []trace.Value) {
	texts := make(map[string]bool, len(vals))
	ints := make(map[int64]bool)
	floats := make(map[float64]bool)
	nan := false
	for _, v := range vals {
		t := v.Text()
		if width, ok := idWidth(c.column); ok {
			t = idText(t, width)
			if b, err := hex.DecodeString(t); err == nil && len(b) == width {
				c.fixed = append(c.fixed, b)
			}
		}
		texts[t] = true
		if i, err := strconv.ParseInt(t, 10, 64); err == nil && strconv.FormatInt(i, 10) == t {
			ints[i] = true
		}
		if f, err := strconv.ParseFloat(t, 64); err == nil && trace.Float(f).Text() == t {
			nan = nan || math.IsNaN(f)
			floats[f] = true
		}
	}
	if _, ok := idWidth(c.column); ok && c.fixed == nil {
		c.fixed = [][]byte{} // not an id: nothing passes
	}
	if len(vals) == 1 {
		t := vals[0].Text()
		c.text = func(s string) bool { return s == t }
		i, hasInt := oneKey(ints)
		c.ints = func(n int64) bool { return hasInt && n == i }
		f, hasFloat := oneKey(floats)
		c.floats = func(x float64) bool { return hasFloat && x == f || nan && math.IsNaN(x) }
		return
	}
	c.text = func(s string) bool { return texts[s] }
	c.ints = func(n int64) bool { return ints[n] }
	c.floats = func(x float64) bool { return floats[x] || nan && math.IsNaN(x) }
}

func oneKey[K comparable](m map[K]bool) (k K, ok bool) {
	for k = range m {
		return k, true
	}
	return k, false
}

// idWidth is the bytes of an id column.
func idWidth(name string) (int, bool) {
	switch name {
	case column.TraceID:
		return 16, true
	case column.SpanID, column.ParentID:
		return 8, true
	}
	return 0, false
}

// idText is an id as it is stored: lower case, no dashes, padded on the left if
// it is a trace id of 16 digits.
func idText(t string, width int) string {
	t = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(t), "-", ""))
	if width == 16 && len(t) == 16 {
		t = strings.Repeat("0", 16) + t
	}
	return t
}

// compare passes the values that stand in the relation to v: numbers, and texts
// that read as numbers, with a number; other texts, byte by byte, with a text.
func (c *filter) compare(op string, v trace.Value) {
	holds := relation(op)
	never := func(float64) bool { return false }
	if f, ok := number(v); ok {
		c.floats = func(x float64) bool { return !math.IsNaN(x) && holds(compareFloats(x, f)) }
		c.ints = func(n int64) bool { return holds(compareFloats(float64(n), f)) }
		if i, err := strconv.ParseInt(v.Text(), 10, 64); err == nil {
			c.ints = func(n int64) bool { return holds(compareInts(n, i)) } // exact beyond 2^53
		}
		c.text = func(s string) bool {
			x, ok := readNumber(s)
			return ok && holds(compareFloats(x, f))
		}
		return
	}
	c.floats, c.ints = never, func(int64) bool { return false }
	t := v.Text()
	c.text = func(s string) bool { return holds(strings.Compare(s, t)) }
}

func relation(op string) func(int) bool {
	switch op {
	case ">":
		return func(c int) bool { return c > 0 }
	case ">=":
		return func(c int) bool { return c >= 0 }
	case "<":
		return func(c int) bool { return c < 0 }
	case "<=":
		return func(c int) bool { return c <= 0 }
	case "!=":
		return func(c int) bool { return c != 0 }
	}
	return func(c int) bool { return c == 0 }
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// match passes the values whose canonical text stands in the relation to v's.
func (c *filter) match(v trace.Value, holds func(s, part string) bool) {
	t := v.Text()
	if _, ok := idWidth(c.column); ok {
		t = strings.ToLower(t)
	}
	c.text = func(s string) bool { return holds(s, t) }
	c.ints = func(n int64) bool {
		var b [20]byte
		return holds(string(strconv.AppendInt(b[:0], n, 10)), t)
	}
	c.floats = func(x float64) bool { return holds(trace.Float(x).Text(), t) }
}

// apply clears the bits of sel whose rows the filter does not keep.
func (c *filter) apply(v *view, sel column.Bitmap) error {
	hit, err := c.hits(v, sel)
	if err != nil {
		return err
	}
	for w := range sel {
		if c.negate {
			sel[w] &^= hit[w]
		} else {
			sel[w] &= hit[w]
		}
	}
	return nil
}

// hits returns the rows of within whose value passes the test.
func (c *filter) hits(v *view, within column.Bitmap) (column.Bitmap, error) {
	vecs, err := v.vectors(c.column)
	if err != nil {
		return nil, err
	}
	hit := column.NewBitmap(v.rows)
	for _, vec := range vecs {
		c.test(vec, within, hit)
	}
	return hit, nil
}

// test sets the bits of hit for the rows of within that vec has and whose value
// passes. A dictionary value is tested once, when it is first met.
func (c *filter) test(vec *column.Vector, within, hit column.Bitmap) {
	pass := c.rowTest(vec)
	for w, word := range within {
		if vec.Present != nil {
			word &= vec.Present[w]
		}
		if c.any {
			hit[w] |= word
			continue
		}
		got := uint64(0)
		for ; word != 0; word &= word - 1 {
			b := bits.TrailingZeros64(word)
			if pass(w<<6 | b) {
				got |= 1 << b
			}
		}
		hit[w] |= got
	}
}

func (c *filter) rowTest(vec *column.Vector) func(row int) bool {
	switch {
	case c.any:
		return nil
	case vec.IDs != nil:
		const yes, no = 1, 2
		memo := make([]uint8, vec.Dict.Len())
		text := c.text
		if vec.Type == trace.TypeBytes {
			text = func(s string) bool { return c.text(trace.Bytes(s).Text()) }
		}
		return func(row int) bool {
			id := vec.IDs[row]
			if memo[id] == 0 {
				memo[id] = no
				if text(vec.Dict.At(id)) {
					memo[id] = yes
				}
			}
			return memo[id] == yes
		}
	case vec.Ints != nil && vec.Type == trace.TypeBool:
		yes, no := c.text("true"), c.text("false")
		return func(row int) bool {
			if vec.Ints[row] != 0 {
				return yes
			}
			return no
		}
	case vec.Ints != nil:
		return func(row int) bool { return c.ints(vec.Ints[row]) }
	case vec.Floats != nil:
		return func(row int) bool { return c.floats(vec.Floats[row]) }
	case vec.Fixed != nil && c.fixed != nil:
		return func(row int) bool {
			id := vec.Fixed[row*vec.Width : (row+1)*vec.Width]
			for _, want := range c.fixed {
				if string(id) == string(want) {
					return true
				}
			}
			return false
		}
	case vec.Fixed != nil:
		return func(row int) bool { return c.text(hexAt(vec, row)) }
	}
	return func(int) bool { return false }
}

// where is everything that decides whether a row belongs to a query.
type where struct {
	from, to    int64 // from ≤ start < to, Unix nanoseconds
	environment string
	filters     []filter
	or          bool // one filter is enough
	anySignal   bool // log rows too
}

// columns lists the columns that the filters name.
func (q *where) columns() []string {
	var names []string
	for i := range q.filters {
		names = append(names, q.filters[i].column)
	}
	return names
}

// misses reports whether no row of the block can lie in the window.
func (q *where) misses(b column.Block) bool {
	minStart, maxStart := b.Bounds()
	return b.Rows() == 0 || maxStart < q.from || minStart >= q.to
}

// selectRows returns the rows of the block that belong to the query.
func (q *where) selectRows(v *view) (column.Bitmap, error) {
	sel := column.NewBitmap(v.rows)
	fill(sel, v.rows)
	if minStart, maxStart := v.block.Bounds(); minStart < q.from || maxStart >= q.to {
		start, err := v.fixed(column.Start)
		if err != nil {
			return nil, err
		}
		for i, t := range start.Ints[:v.rows] {
			if t < q.from || t >= q.to {
				sel.Clear(i)
			}
		}
	}
	if !q.anySignal {
		signal, err := v.fixed(column.Signal)
		if err != nil {
			return nil, err
		}
		for i, s := range signal.Ints[:v.rows] {
			if s != int64(trace.SignalSpan) {
				sel.Clear(i)
			}
		}
	}
	if q.environment != "" {
		c := filter{column: column.Environment}
		c.equal([]trace.Value{trace.String(q.environment)})
		if err := c.apply(v, sel); err != nil {
			return nil, err
		}
	}
	if !q.or || len(q.filters) == 0 {
		for i := range q.filters {
			if err := q.filters[i].apply(v, sel); err != nil {
				return nil, err
			}
		}
		return sel, nil
	}
	kept := column.NewBitmap(v.rows)
	for i := range q.filters {
		c := &q.filters[i]
		hit, err := c.hits(v, sel) // sel: the rows no filter has kept so far
		if err != nil {
			return nil, err
		}
		for w := range sel {
			if c.negate {
				hit[w] = sel[w] &^ hit[w]
			}
			kept[w] |= hit[w]
			sel[w] &^= hit[w]
		}
	}
	return kept, nil
}
