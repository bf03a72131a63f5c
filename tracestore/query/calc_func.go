package query

import (
	"maps"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// calcRow is one row as a compiled expression sees it.
type calcRow struct {
	in   []trace.Value // by slot: the columns that the expression reads
	long bool          // a text got too long
}

// evalFunc evaluates a compiled expression. It has no state, so that any number
// of goroutines may call it, each with a row of its own. A number is never NaN.
type evalFunc func(*calcRow) trace.Value

// typeSet has bit t if a value may be of type t.
type typeSet uint8

func typesOf(types ...trace.Type) (s typeSet) {
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

const anyType typeSet = math.MaxUint8

var (
	numbers = typesOf(trace.TypeInt, trace.TypeFloat)
	texts   = typesOf(trace.TypeString)
	bools   = typesOf(trace.TypeBool)
)

// operand is a compiled argument.
type operand struct {
	eval     evalFunc
	types    typeSet
	constant bool
	value    trace.Value // if it is constant
}

// Limits of what an expression may cost to evaluate.
const (
	maxTextBytes       = 1 << 20  // that CONCAT makes
	maxRegexBytes      = 64 << 10 // of a text that a regular expression looks at
	maxRegexSteps      = 1_000    // instructions of one regular expression
	maxRegexStepsTotal = 10_000   // of all in a query
	usualBuckets       = 256      // of one BUCKET whose names are made once
)

// Functions lists the names of the functions of calculated fields.
func Functions() []string { return slices.Sorted(maps.Keys(calcFuncs)) }

// calcFunc is a function of the expression language.
type calcFunc struct {
	least, most int     // arguments; most < 0: any number
	types       typeSet // of the result
	build       func(c *calcCompiler, e *expr, args []operand) (evalFunc, error)
}

// calcFuncs are the functions by name: those of Honeycomb but for its metrics
// (docs.honeycomb.io/reference/calculated-field-formula), with its meaning.
var calcFuncs = map[string]calcFunc{
	"IF":       {2, -1, 0, buildIf},
	"SWITCH":   {3, -1, 0, buildSwitch},
	"COALESCE": {1, -1, 0, plain(coalesce)},

	"LT":     {2, 2, bools, ordering(func(c int) bool { return c < 0 })},
	"LTE":    {2, 2, bools, ordering(func(c int) bool { return c <= 0 })},
	"GT":     {2, 2, bools, ordering(func(c int) bool { return c > 0 })},
	"GTE":    {2, 2, bools, ordering(func(c int) bool { return c >= 0 })},
	"EQUALS": {2, 2, bools, plain(isIn)},
	"IN":     {2, -1, bools, plain(isIn)},

	"EXISTS": {1, 1, bools, unary(func(v trace.Value) trace.Value { return trace.Bool(v.Type != trace.TypeNone) })},
	"NOT":    {1, 1, bools, unary(func(v trace.Value) trace.Value { return trace.Bool(!truthy(v)) })},
	"AND":    {1, -1, bools, plain(func(r *calcRow, args []evalFunc) trace.Value { return trace.Bool(!anyOf(r, args, false)) })},
	"OR":     {1, -1, bools, plain(func(r *calcRow, args []evalFunc) trace.Value { return trace.Bool(anyOf(r, args, true)) })},

	"MIN":    {1, -1, 0, plain(func(r *calcRow, args []evalFunc) trace.Value { return extreme(r, args, -1) })},
	"MAX":    {1, -1, 0, plain(func(r *calcRow, args []evalFunc) trace.Value { return extreme(r, args, 1) })},
	"SUM":    {1, -1, numbers, arithmetic(add)},
	"SUB":    {2, 2, numbers, arithmetic(subtract)},
	"MUL":    {1, -1, numbers, arithmetic(multiply)},
	"DIV":    {2, 2, numbers, arithmetic(divide)},
	"MOD":    {2, 2, numbers, arithmetic(modulo)},
	"LOG10":  {1, 1, numbers, unary(func(v trace.Value) trace.Value { return floatOf(log10(asNumber(v).Float())) })},
	"BUCKET": {2, 4, texts, buildBucket},

	"INT":    {1, 1, numbers, unary(toInt)},
	"FLOAT":  {1, 1, numbers, unary(func(v trace.Value) trace.Value { return trace.Float(asNumber(v).Float()) })},
	"BOOL":   {1, 1, bools, unary(func(v trace.Value) trace.Value { return trace.Bool(truthy(v)) })},
	"STRING": {1, 1, texts, unary(func(v trace.Value) trace.Value { return trace.String(v.Text()) })},

	"CONCAT":      {1, -1, texts, plain(concat)},
	"TO_LOWER":    {1, 1, texts, ofText(trace.Value{}, func(s string) trace.Value { return trace.String(strings.ToLower(s)) })},
	"LENGTH":      {1, 2, numbers, buildLength},
	"STARTS_WITH": {2, 2, bools, matching(strings.HasPrefix)},
	"ENDS_WITH":   {2, 2, bools, matching(strings.HasSuffix)},
	"CONTAINS":    {2, 2, bools, matching(strings.Contains)},
	"REG_MATCH":   {2, 2, bools, regex(trace.Bool(false), regexMatch)},
	"REG_VALUE":   {2, 2, texts, regex(trace.Value{}, regexValue)},
	"REG_COUNT":   {2, 2, numbers, regex(trace.Int(0), regexCount)},

	"UNIX_TIMESTAMP":   {1, 1, numbers, ofText(trace.Value{}, unixTimestamp)},
	"EVENT_TIMESTAMP":  {0, 0, numbers, timestamp(column.Start)},
	"INGEST_TIMESTAMP": {0, 0, numbers, timestamp(column.Arrived)},
	"FORMAT_TIME":      {2, 2, texts, buildFormatTime},
}

type buildFunc = func(*calcCompiler, *expr, []operand) (evalFunc, error)

// plain builds a function that evaluates its arguments itself.
func plain(f func(*calcRow, []evalFunc) trace.Value) buildFunc {
	return func(_ *calcCompiler, _ *expr, args []operand) (evalFunc, error) {
		evals := evalsOf(args)
		return func(r *calcRow) trace.Value { return f(r, evals) }, nil
	}
}

func evalsOf(args []operand) []evalFunc {
	evals := make([]evalFunc, len(args))
	for i, a := range args {
		evals[i] = a.eval
	}
	return evals
}

func unary(f func(trace.Value) trace.Value) buildFunc {
	return func(_ *calcCompiler, _ *expr, args []operand) (evalFunc, error) {
		arg := args[0].eval
		return func(r *calcRow) trace.Value { return f(arg(r)) }, nil
	}
}

// ofText builds a function of a text, which is otherwise for anything else.
func ofText(otherwise trace.Value, f func(string) trace.Value) buildFunc {
	return unary(func(v trace.Value) trace.Value {
		if v.Type != trace.TypeString {
			return otherwise
		}
		return f(v.Str)
	})
}

func matching(holds func(s, part string) bool) buildFunc {
	return func(_ *calcCompiler, _ *expr, args []operand) (evalFunc, error) {
		text, part := args[0].eval, args[1].eval
		return func(r *calcRow) trace.Value {
			s, p := text(r), part(r)
			return trace.Bool(s.Type == trace.TypeString && p.Type == trace.TypeString && holds(s.Str, p.Str))
		}, nil
	}
}

// ordering compares numbers with numbers and texts with texts; other pairs stand
// in no relation.
func ordering(holds func(int) bool) buildFunc {
	return func(_ *calcCompiler, _ *expr, args []operand) (evalFunc, error) {
		left, right := args[0].eval, args[1].eval
		return func(r *calcRow) trace.Value {
			a, b := left(r), right(r)
			switch {
			case isNumber(a) && isNumber(b):
				return trace.Bool(holds(compareNumbers(a, b)))
			case a.Type == trace.TypeString && b.Type == trace.TypeString:
				return trace.Bool(holds(strings.Compare(a.Str, b.Str)))
			}
			return trace.Bool(false)
		}, nil
	}
}

// arithmetic folds the arguments, as numbers, from the left.
func arithmetic(f func(a, b trace.Value) trace.Value) buildFunc {
	return func(_ *calcCompiler, _ *expr, args []operand) (evalFunc, error) {
		first, rest := args[0].eval, evalsOf(args[1:])
		return func(r *calcRow) trace.Value {
			v := asNumber(first(r))
			for _, arg := range rest {
				v = f(asNumber(v), asNumber(arg(r)))
			}
			return v
		}, nil
	}
}

func isNumber(v trace.Value) bool { return v.Type == trace.TypeInt || v.Type == trace.TypeFloat }

// readValue is the number that a value is or that its text reads as.
func readValue(v trace.Value) (trace.Value, bool) {
	if isNumber(v) {
		return v, true
	}
	if v.Type != trace.TypeString {
		return trace.Value{}, false
	}
	if n, ok := canonicalInt(v.Str); ok {
		return trace.Int(n), true
	}
	f, ok := readNumber(v.Str)
	return trace.Float(f), ok
}

// asNumber is the number that a value counts as: 0 for what is none.
func asNumber(v trace.Value) trace.Value {
	if n, ok := readValue(v); ok {
		return n
	}
	return trace.Int(0)
}

// floatOf is a float, or no value for NaN.
func floatOf(f float64) trace.Value {
	if f != f {
		return trace.Value{}
	}
	return trace.Float(f)
}

func bothInts(a, b trace.Value) bool { return a.Type == trace.TypeInt && b.Type == trace.TypeInt }

func add(a, b trace.Value) trace.Value {
	if bothInts(a, b) {
		x, y := a.Int(), b.Int()
		if s := x + y; s > x == (y > 0) {
			return trace.Int(s)
		}
	}
	return floatOf(a.Float() + b.Float())
}

func subtract(a, b trace.Value) trace.Value {
	if bothInts(a, b) {
		x, y := a.Int(), b.Int()
		if s := x - y; s < x == (y > 0) {
			return trace.Int(s)
		}
	}
	return floatOf(a.Float() - b.Float())
}

func multiply(a, b trace.Value) trace.Value {
	if bothInts(a, b) {
		x, y := a.Int(), b.Int()
		if p := x * y; x == 0 || p/x == y && !(x == -1 && y == math.MinInt64) {
			return trace.Int(p)
		}
	}
	return floatOf(a.Float() * b.Float())
}

func divide(a, b trace.Value) trace.Value {
	if b.Float() == 0 {
		return trace.Value{}
	}
	return floatOf(a.Float() / b.Float())
}

func modulo(a, b trace.Value) trace.Value {
	switch {
	case b.Float() == 0:
		return trace.Value{}
	case bothInts(a, b):
		return trace.Int(a.Int() % b.Int())
	}
	return floatOf(math.Mod(a.Float(), b.Float()))
}

func log10(x float64) float64 {
	if x <= 0 {
		return math.NaN()
	}
	return math.Log10(x)
}

// toInt drops what stands behind the point.
func toInt(v trace.Value) trace.Value {
	v = asNumber(v)
	f := v.Float()
	switch {
	case v.Type == trace.TypeInt:
		return v
	case f >= math.MaxInt64: // 2^63, rounded
		return trace.Int(math.MaxInt64)
	case f <= math.MinInt64:
		return trace.Int(math.MinInt64)
	}
	return trace.Int(int64(f))
}

// truthy reports what a value means as a condition.
func truthy(v trace.Value) bool {
	switch v.Type {
	case trace.TypeBool:
		return v.Num != 0
	case trace.TypeInt, trace.TypeFloat:
		return v.Float() != 0
	}
	return v.Str == "true"
}

func anyOf(r *calcRow, args []evalFunc, want bool) bool {
	for _, arg := range args {
		if truthy(arg(r)) == want {
			return true
		}
	}
	return false
}

func compareNumbers(a, b trace.Value) int {
	if bothInts(a, b) {
		return compareInts(a.Int(), b.Int())
	}
	return compareFloats(a.Float(), b.Float())
}

// same reports whether values are equal. Numbers are equal to numbers only, texts
// to texts, bools to bools, no value to no value.
func same(a, b trace.Value) bool {
	if isNumber(a) && isNumber(b) {
		return compareNumbers(a, b) == 0
	}
	return a == b
}

func isIn(r *calcRow, args []evalFunc) trace.Value {
	v := args[0](r)
	for _, arg := range args[1:] {
		if same(v, arg(r)) {
			return trace.Bool(true)
		}
	}
	return trace.Bool(false)
}

func coalesce(r *calcRow, args []evalFunc) trace.Value {
	for _, arg := range args {
		if v := arg(r); v.Type != trace.TypeNone && (v.Type != trace.TypeString || v.Str != "") {
			return v
		}
	}
	return trace.Value{}
}

// extreme is the greatest argument, or for sign -1 the least, of the kind of the
// first one that has a value.
func extreme(r *calcRow, args []evalFunc, sign int) trace.Value {
	var best trace.Value
	for _, arg := range args {
		v := arg(r)
		switch {
		case best.Type == trace.TypeNone:
			best = v
		case isNumber(v) && isNumber(best):
			if compareNumbers(v, best) == sign {
				best = v
			}
		case v.Type == best.Type:
			if compareValues(v, best) == sign {
				best = v
			}
		}
	}
	return best
}

func buildIf(_ *calcCompiler, _ *expr, args []operand) (evalFunc, error) {
	evals := evalsOf(args)
	return func(r *calcRow) trace.Value {
		rest := evals
		for ; len(rest) > 1; rest = rest[2:] {
			if truthy(rest[0](r)) {
				return rest[1](r)
			}
		}
		return otherwise(r, rest)
	}, nil
}

func buildSwitch(_ *calcCompiler, _ *expr, args []operand) (evalFunc, error) {
	evals := evalsOf(args)
	return func(r *calcRow) trace.Value {
		v, rest := evals[0](r), evals[1:]
		for ; len(rest) > 1; rest = rest[2:] {
			if same(v, rest[0](r)) {
				return rest[1](r)
			}
		}
		return otherwise(r, rest)
	}, nil
}

// otherwise is the value of the argument that is left over, if there is one.
func otherwise(r *calcRow, rest []evalFunc) trace.Value {
	if len(rest) == 0 {
		return trace.Value{}
	}
	return rest[0](r)
}

func concat(r *calcRow, args []evalFunc) trace.Value {
	var b strings.Builder
	for _, arg := range args {
		text := arg(r).Text()
		if b.Len()+len(text) > maxTextBytes {
			r.long = true
			break
		}
		b.WriteString(text)
	}
	return trace.String(b.String())
}

func buildLength(c *calcCompiler, e *expr, args []operand) (evalFunc, error) {
	count := utf8.RuneCountInString
	if len(args) == 2 {
		switch unit := args[1]; {
		case unit.constant && unit.value == trace.String("bytes"):
			count = func(s string) int { return len(s) }
		case unit.constant && unit.value == trace.String("chars"):
		default:
			return nil, c.fault(e.args[1].at, `LENGTH counts "chars" or "bytes"; nothing else can stand here`)
		}
	}
	return ofText(trace.Value{}, func(s string) trace.Value { return trace.Int(int64(count(s))) })(c, e, args)
}

// buildBucket makes the name of the bucket that a number lies in: "0 - 500". With
// bounds there are a bucket below and one above them too.
func buildBucket(c *calcCompiler, e *expr, args []operand) (evalFunc, error) {
	bounds := [3]float64{0, math.Inf(-1), math.Inf(1)} // size, least, greatest
	for i, a := range args[1:] {
		if !a.constant || !isNumber(a.value) || math.IsInf(a.value.Float(), 0) {
			return nil, c.fault(e.args[i+1].at, "The size and the bounds of BUCKET are numbers as they stand, not calculated from the row")
		}
		bounds[i] = a.value.Float()
	}
	size, least, most := bounds[0], bounds[1], bounds[2]
	switch {
	case size <= 0:
		return nil, c.fault(e.args[1].at, "The size of a BUCKET is more than 0")
	case least >= most:
		return nil, c.fault(e.args[2].at, "The least bound of BUCKET must be below the greatest")
	}
	from := 0.0
	if len(args) > 2 {
		from = least
	}
	name := func(at float64) trace.Value {
		return trace.String(boundText(from+at*size, size) + " - " + boundText(min(from+(at+1)*size, most), size))
	}
	var names [usualBuckets]trace.Value
	for at := range names {
		names[at] = name(float64(at))
	}
	below, above := trace.String("< "+boundText(least, size)), trace.String("> "+boundText(most, size))
	value := args[0].eval
	return func(r *calcRow) trace.Value {
		n, ok := readValue(value(r))
		x := n.Float()
		switch {
		case !ok || math.IsInf(x, 0):
			return trace.Value{}
		case x < least:
			return below
		case x > most:
			return above
		}
		at := math.Floor((x - from) / size)
		if x == most && from+at*size == most { // the last bucket has its upper bound
			at--
		}
		if at >= 0 && at < usualBuckets {
			return names[int(at)]
		}
		return name(at)
	}, nil
}

// boundText is a number without the noise of adding fractions: 0.3, where 3 × 0.1
// is 0.30000000000000004. A float64 holds 15 digits; where these are too few for the
// size of a bucket, it is left as it is.
func boundText(x, size float64) string {
	f, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 15, 64), 64)
	if err == nil && x != math.Trunc(x) && math.Abs(f-x) < size/1000 {
		x = f
	}
	return trace.Float(x).Text()
}

// regex builds a function of a text and a regular expression.
func regex(otherwise trace.Value, f func(*regexp.Regexp, string) trace.Value) buildFunc {
	return func(c *calcCompiler, e *expr, args []operand) (evalFunc, error) {
		if !args[1].constant || args[1].value.Type != trace.TypeString {
			return nil, c.fault(e.args[1].at, "A regular expression is a text as it stands, best between backquotes")
		}
		re, err := c.regexp(args[1].value.Str, e.args[1].at)
		if err != nil {
			return nil, err
		}
		return ofText(otherwise, func(s string) trace.Value {
			if len(s) > maxRegexBytes {
				s = s[:maxRegexBytes]
			}
			return f(re, s)
		})(c, e, args)
	}
}

// regexp compiles a regular expression, if it is not too large.
func (c *calcCompiler) regexp(pattern string, at int) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, c.fault(at, "This is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	steps := regexSteps(parsed)
	c.fields.regexSteps += steps
	if steps > maxRegexSteps || c.fields.regexSteps > maxRegexStepsTotal {
		return nil, c.fault(at, "The regular expressions of this query are too large, repetitions counted in; make them simpler")
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, c.fault(at, "This is no regular expression: %v", err)
	}
	c.field.slow = true
	return re, nil
}

// regexSteps is about how many instructions a regular expression compiles to.
func regexSteps(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += regexSteps(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Max, re.Min+1)
	}
	return n
}

func regexMatch(re *regexp.Regexp, s string) trace.Value { return trace.Bool(re.MatchString(s)) }

// regexValue is the first group of the first match, the match itself if the
// regular expression has no group.
func regexValue(re *regexp.Regexp, s string) trace.Value {
	at := re.FindStringSubmatchIndex(s)
	if len(at) > 2 {
		at = at[2:4]
	}
	if at == nil || at[0] < 0 {
		return trace.Value{}
	}
	return trace.String(s[at[0]:at[1]])
}

func regexCount(re *regexp.Regexp, s string) trace.Value {
	return trace.Int(int64(len(re.FindAllStringIndex(s, -1))))
}
