package query

import (
	"encoding/hex"
	"fmt"
	"math"
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

	ints   intTest
	floats floatTest
	nanos  intTest // of duration_ms: the same in nanoseconds
	text   func(string) bool
	equals []string // the canonical texts that pass, if it is an equality; else nil
	fixed  [][]byte // ids: the bytes that pass; nil: test the hex text

	source    string // as it was written, for warnings
	notNumber bool   // compares with texts only that are no numbers
	notBool   bool   // is equal to texts only that are neither true nor false

	exists scope // asks for a span of this scope, until where.bind
	around int   // 1 + the place in where.exists: all else is there; 0: a test of the column
}

// intTest passes the integers between lo and hi, those of a set, or those whose
// text passes.
type intTest struct {
	lo, hi int64
	set    map[int64]bool
	text   func(string) bool
}

// floatTest is like [intTest]; NaN lies between nothing.
type floatTest struct {
	lo, hi float64
	nan    bool // NaN passes
	set    map[float64]bool
	text   func(string) bool
}

// Tests that nothing passes.
var (
	noInts   = intTest{lo: math.MaxInt64, hi: math.MinInt64}
	noFloats = floatTest{lo: math.Inf(1), hi: math.Inf(-1)}
)

func (t *intTest) passes(n int64) bool {
	switch {
	case t.set != nil:
		return t.set[n]
	case t.text != nil:
		var b [20]byte
		return t.text(string(strconv.AppendInt(b[:0], n, 10)))
	}
	return n >= t.lo && n <= t.hi
}

func (t *floatTest) passes(x float64) bool {
	switch {
	case t.set != nil:
		return t.set[x] || t.nan && math.IsNaN(x)
	case t.text != nil:
		return t.text(trace.Float(x).Text())
	}
	return x >= t.lo && x <= t.hi || t.nan && math.IsNaN(x)
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
	source := sourceOf(f)
	s, rest := cutScope(f.Column)
	if s.inFilters() {
		if err := checkScope(field+".column", f.Column); err != nil {
			return filter{}, err
		}
		f.Column = rest
	} else {
		s = noScope
	}
	c := filter{column: f.Column, exists: s, source: source}
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
	is := func(test func(v trace.Value) bool) bool { return slices.ContainsFunc(vals, test) }
	switch op {
	case "=", "in":
		c.equal(vals)
		c.notNumber = !is(func(v trace.Value) bool { _, ok := number(v); return ok })
		c.notBool = !is(func(v trace.Value) bool { t := v.Text(); return t == "true" || t == "false" })
	case ">", ">=", "<", "<=":
		c.compare(op, vals[0])
		c.notNumber = !is(func(v trace.Value) bool { _, ok := number(v); return ok })
	case "contains":
		c.match(vals[0], strings.Contains)
	case "starts-with":
		c.match(vals[0], strings.HasPrefix)
	case "ends-with":
		c.match(vals[0], strings.HasSuffix)
	}
	if f.Column == durationMS {
		c.nanos = c.floats.inNanos()
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
	width, isID := idWidth(c.column)
	c.equals = make([]string, 0, len(vals))
	for _, v := range vals {
		t := v.Text()
		if isID {
			t = idText(t, width)
			if b, err := hex.DecodeString(t); err == nil && len(b) == width {
				c.fixed = append(c.fixed, b)
			}
		}
		if !texts[t] {
			texts[t] = true
			c.equals = append(c.equals, t)
		}
		if i, err := strconv.ParseInt(t, 10, 64); err == nil && strconv.FormatInt(i, 10) == t {
			ints[i] = true
		}
		if f, err := strconv.ParseFloat(t, 64); err == nil && trace.Float(f).Text() == t {
			nan = nan || math.IsNaN(f)
			floats[f] = true
		}
	}
	if isID && c.fixed == nil {
		c.fixed = [][]byte{} // not an id: nothing passes
	}
	c.text = func(s string) bool { return texts[s] }
	if len(c.equals) == 1 {
		t := c.equals[0]
		c.text = func(s string) bool { return s == t }
	}
	c.ints, c.floats = noInts, noFloats
	switch len(ints) {
	case 0:
	case 1:
		for i := range ints {
			c.ints = intTest{lo: i, hi: i}
		}
	default:
		c.ints.set = ints
	}
	switch len(floats) {
	case 0:
	case 1:
		for f := range floats {
			c.floats.lo, c.floats.hi = f, f // nothing is equal to NaN
		}
	default:
		c.floats.set = floats
	}
	c.floats.nan = nan
}

// idWidth is the bytes of an id column.
func idWidth(name string) (int, bool) {
	_, name = cutScope(name)
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
	c.ints, c.floats = noInts, noFloats
	f, ok := number(v)
	if !ok {
		t := v.Text()
		c.text = func(s string) bool { return holds(strings.Compare(s, t)) }
		return
	}
	c.floats = floatRange(op, f)
	whole := func(n int64) int { return compareFloats(float64(n), f) }
	if i, err := strconv.ParseInt(v.Text(), 10, 64); err == nil {
		whole = func(n int64) int { return compareInts(n, i) } // exact beyond 2^53
	}
	c.ints = intRange(op, whole)
	c.text = func(s string) bool {
		x, ok := readNumber(s)
		return ok && holds(compareFloats(x, f))
	}
}

// floatRange passes the numbers that stand in the relation to f.
func floatRange(op string, f float64) floatTest {
	t := floatTest{lo: math.Inf(-1), hi: math.Inf(1)}
	switch op {
	case ">":
		if t.lo = math.Nextafter(f, math.Inf(1)); t.lo == f {
			return noFloats
		}
	case ">=":
		t.lo = f
	case "<":
		if t.hi = math.Nextafter(f, math.Inf(-1)); t.hi == f {
			return noFloats
		}
	case "<=":
		t.hi = f
	}
	return t
}

// intRange passes the integers that stand in the relation to what compare
// compares them with; greater integers must not compare less.
func intRange(op string, compare func(int64) int) intTest {
	holds := relation(op)
	if op == ">" || op == ">=" {
		lo, ok := leastInt(func(n int64) bool { return holds(compare(n)) })
		if !ok {
			return noInts
		}
		return intTest{lo: lo, hi: math.MaxInt64}
	}
	above, ok := leastInt(func(n int64) bool { return !holds(compare(n)) })
	switch {
	case !ok:
		return intTest{lo: math.MinInt64, hi: math.MaxInt64}
	case above == math.MinInt64:
		return noInts
	}
	return intTest{lo: math.MinInt64, hi: above - 1}
}

// leastInt is the least integer that passes, given that every greater one does
// too; false if none does.
func leastInt(pass func(int64) bool) (int64, bool) {
	if !pass(math.MaxInt64) {
		return 0, false
	}
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	for lo < hi {
		mid := lo>>1 + hi>>1 + lo&hi&1
		if pass(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo, true
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
	c.ints.text, c.floats.text = c.text, c.text
}

// inNanos is the test of the nanoseconds that in milliseconds lie between lo and
// hi.
func (t *floatTest) inNanos() intTest {
	if t.lo > t.hi {
		return noInts
	}
	ms := func(n int64) float64 { return float64(n) / 1e6 }
	lo, ok := leastInt(func(n int64) bool { return ms(n) >= t.lo })
	if !ok {
		return noInts
	}
	above, ok := leastInt(func(n int64) bool { return ms(n) > t.hi })
	switch {
	case !ok:
		return intTest{lo: lo, hi: math.MaxInt64}
	case above == math.MinInt64:
		return noInts
	}
	return intTest{lo: lo, hi: above - 1}
}
