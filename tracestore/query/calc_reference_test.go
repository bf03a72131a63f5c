package query

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/trace"
)

// This file is the reference for calculated fields: it walks the parsed expression
// for one span, by what Honeycomb's documentation says of each function, and shares
// nothing with the compiler but the parser.

// refCalculated returns the spans with the calculated fields as attributes.
func refCalculated(spans []trace.Span, fields []CalculatedField) []trace.Span {
	out := make([]trace.Span, len(spans))
	for i, s := range spans {
		s.Attributes = append([]trace.Attribute(nil), s.Attributes...)
		for _, f := range fields {
			e, err := parseExpression(f.Expression)
			if err != nil {
				panic(err)
			}
			if v := refEval(e, &s); v.Type != trace.TypeNone {
				s.Attributes = append(s.Attributes, trace.Attribute{Key: f.Name, Value: v})
			}
		}
		out[i] = s
	}
	return out
}

// refKind sorts values into those that can be equal: n, s, b, or empty.
func refKind(v trace.Value) string {
	switch v.Type {
	case trace.TypeInt, trace.TypeFloat:
		return "n"
	case trace.TypeString:
		return "s"
	case trace.TypeBool:
		return "b"
	}
	return ""
}

func refNumber(v trace.Value) (float64, bool) {
	switch refKind(v) {
	case "n":
		return v.Float(), true
	case "s":
		if strings.Trim(v.Str, "0123456789.eE+-") != "" || len(v.Str) > 64 {
			return 0, false
		}
		if f, err := strconv.ParseFloat(v.Str, 64); err == nil {
			return f, true
		}
	}
	return 0, false
}

// refResult is a number as a value.
func refResult(f float64) trace.Value {
	if math.IsNaN(f) {
		return trace.Value{}
	}
	return trace.Float(f)
}

// refInt is a value as an integer, if it counts as one in a calculation.
func refInt(v trace.Value) *big.Int {
	if _, ok := refNumber(v); !ok {
		return new(big.Int)
	}
	n, err := strconv.ParseInt(v.Text(), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != v.Text() || v.Type == trace.TypeFloat {
		return nil
	}
	return big.NewInt(n)
}

// refStep is one step of SUM, SUB or MUL: exact if it can be.
func refStep(name string, a, b trace.Value) trace.Value {
	if x, y := refInt(a), refInt(b); x != nil && y != nil {
		switch name {
		case "SUM":
			x.Add(x, y)
		case "SUB":
			x.Sub(x, y)
		default:
			x.Mul(x, y)
		}
		if x.IsInt64() {
			return trace.Int(x.Int64())
		}
	}
	x, _ := refNumber(a)
	y, _ := refNumber(b)
	switch name {
	case "SUM":
		x += y
	case "SUB":
		x -= y
	default:
		x *= y
	}
	return refResult(x)
}

func refTruth(v trace.Value) bool {
	f, _ := refNumber(v)
	return refKind(v) == "n" && f != 0 || v.Text() == "true" && refKind(v) != ""
}

func refEqual(a, b trace.Value) bool { return refKind(a) == refKind(b) && a.Text() == b.Text() }

// refCompare is below 0, 0 or above 0; false if the two stand in no order.
func refCompare(a, b trace.Value) (float64, bool) {
	if refKind(a) != refKind(b) {
		return 0, false
	}
	switch refKind(a) {
	case "n":
		if x, y := refInt(a), refInt(b); x != nil && y != nil {
			return float64(x.Cmp(y)), true
		}
		return float64(compareFloats(a.Float(), b.Float())), true
	case "s":
		return float64(strings.Compare(a.Str, b.Str)), true
	}
	return 0, false
}

func refEval(e *expr, s *trace.Span) trace.Value {
	switch e.kind {
	case exprLiteral:
		return e.value
	case exprColumn:
		v := refValue(s, e.name)
		switch {
		case v.Type == trace.TypeBytes, v.Type == trace.TypeJSON:
			return trace.String(v.Text())
		case v.Type == trace.TypeFloat && math.IsNaN(v.Float()):
			return trace.Value{}
		}
		return v
	}
	var args []trace.Value
	for _, a := range e.args {
		args = append(args, refEval(a, s))
	}
	num := func(i int) float64 {
		f, _ := refNumber(args[i])
		return f
	}
	text := func(i int) (string, bool) { return args[i].Str, refKind(args[i]) == "s" }
	compare := func(holds func(c float64) bool) trace.Value {
		c, ok := refCompare(args[0], args[1])
		return trace.Bool(ok && holds(c))
	}
	part := func(holds func(a, b string) bool) trace.Value {
		a, aok := text(0)
		b, bok := text(1)
		return trace.Bool(aok && bok && holds(a, b))
	}
	switch e.name {
	case "IF":
		for len(args) > 1 {
			if refTruth(args[0]) {
				return args[1]
			}
			args = args[2:]
		}
		return append(args, trace.Value{})[0]
	case "SWITCH":
		v := args[0]
		for args = args[1:]; len(args) > 1; args = args[2:] {
			if refEqual(v, args[0]) {
				return args[1]
			}
		}
		return append(args, trace.Value{})[0]
	case "COALESCE":
		for _, a := range args {
			if a.Text() != "" {
				return a
			}
		}
		return trace.Value{}
	case "LT":
		return compare(func(c float64) bool { return c < 0 })
	case "LTE":
		return compare(func(c float64) bool { return c <= 0 })
	case "GT":
		return compare(func(c float64) bool { return c > 0 })
	case "GTE":
		return compare(func(c float64) bool { return c >= 0 })
	case "EQUALS", "IN":
		found := false
		for _, a := range args[1:] {
			found = found || refEqual(args[0], a)
		}
		return trace.Bool(found)
	case "EXISTS":
		return trace.Bool(refKind(args[0]) != "")
	case "NOT":
		return trace.Bool(!refTruth(args[0]))
	case "AND", "OR":
		n := 0
		for _, a := range args {
			if refTruth(a) {
				n++
			}
		}
		return trace.Bool(n == len(args) || e.name == "OR" && n > 0)
	case "MIN", "MAX":
		var best trace.Value
		for _, a := range args {
			switch c, ok := refCompare(a, best); {
			case refKind(best) == "":
				best = a
			case ok && (e.name == "MIN" && c < 0 || e.name == "MAX" && c > 0):
				best = a
			case refKind(a) == "b" && refKind(best) == "b" && a.Bool() != best.Bool():
				best = trace.Bool(e.name == "MAX")
			}
		}
		return best
	case "SUM", "MUL", "SUB":
		out := trace.Float(num(0))
		if x := refInt(args[0]); x != nil {
			out = trace.Int(x.Int64())
		}
		for _, a := range args[1:] {
			out = refStep(e.name, out, a)
		}
		return out
	case "DIV", "MOD":
		if num(1) == 0 {
			return trace.Value{}
		}
		if e.name == "DIV" {
			return refResult(num(0) / num(1))
		}
		if x, y := refInt(args[0]), refInt(args[1]); x != nil && y != nil {
			return trace.Int(x.Rem(x, y).Int64())
		}
		return refResult(math.Mod(num(0), num(1)))
	case "LOG10":
		if num(0) <= 0 {
			return trace.Value{}
		}
		return refResult(math.Log10(num(0)))
	case "INT":
		switch x := refInt(args[0]); {
		case x != nil:
			return trace.Int(x.Int64())
		case num(0) >= 1<<63:
			return trace.Int(math.MaxInt64)
		}
		return trace.Int(int64(max(-1<<63, num(0))))
	case "FLOAT":
		return trace.Float(num(0))
	case "BOOL":
		return trace.Bool(refTruth(args[0]))
	case "STRING":
		return trace.String(args[0].Text())
	case "CONCAT":
		all := ""
		for _, a := range args {
			all += a.Text()
		}
		return trace.String(all)
	case "BUCKET":
		x, ok := refNumber(args[0])
		if !ok || math.IsInf(x, 0) {
			return trace.Value{}
		}
		name := func(f float64) string { return trace.Float(f).Text() }
		lo, hi := math.Inf(-1), math.Inf(1)
		if len(args) > 2 {
			lo = num(2)
		}
		if len(args) > 3 {
			hi = num(3)
		}
		if x < lo || x > hi {
			return trace.String(map[bool]string{true: "< " + name(lo), false: "> " + name(hi)}[x < lo])
		}
		from := max(lo, math.Floor(x/num(1))*num(1)) // without a bound: 0 is one
		if len(args) > 2 {
			from = lo + math.Floor((x-lo)/num(1))*num(1)
			if from == hi {
				from -= num(1)
			}
		}
		return trace.String(name(from) + " - " + name(min(from+num(1), hi)))
	case "TO_LOWER", "LENGTH", "UNIX_TIMESTAMP", "REG_VALUE":
		str, ok := text(0)
		if !ok {
			return trace.Value{}
		}
		switch e.name {
		case "TO_LOWER":
			return trace.String(strings.ToLower(str))
		case "LENGTH":
			if len(args) > 1 && args[1].Str == "bytes" {
				return trace.Int(int64(len(str)))
			}
			return trace.Int(int64(len([]rune(str))))
		case "REG_VALUE":
			m := regexp.MustCompile(args[1].Str).FindStringSubmatch(str)
			if m == nil {
				return trace.Value{}
			}
			return trace.String(m[min(1, len(m)-1)])
		}
		t, err := time.Parse(time.RFC3339, str)
		if err != nil {
			return trace.Value{}
		}
		return trace.Float(float64(t.UnixNano()) / 1e9)
	case "STARTS_WITH":
		return part(strings.HasPrefix)
	case "ENDS_WITH":
		return part(strings.HasSuffix)
	case "CONTAINS":
		return part(strings.Contains)
	case "REG_MATCH":
		return part(func(a, b string) bool { return regexp.MustCompile(b).MatchString(a) })
	case "REG_COUNT":
		str, ok := text(0)
		if !ok {
			return trace.Int(0)
		}
		return trace.Int(int64(len(regexp.MustCompile(args[1].Str).FindAllString(str, -1))))
	case "EVENT_TIMESTAMP":
		return trace.Float(float64(s.StartUnixNano) / 1e9)
	case "INGEST_TIMESTAMP":
		return trace.Float(float64(s.ArrivedUnixNano) / 1e9)
	case "FORMAT_TIME":
		sec, ok := refNumber(args[1])
		if !ok || math.Abs(sec) > 253402300799 {
			return trace.Value{}
		}
		if whole := math.Floor(sec); sec-whole == 1 { // a hair's breadth before the full second
			sec = whole + 1
		}
		t := time.UnixMilli(1000 * int64(math.Floor(sec))).UTC()
		year := fmt.Sprintf("%04d", t.Year())
		if t.Year() < 0 {
			year = fmt.Sprintf("-%04d", -t.Year())
		}
		return trace.String(strings.NewReplacer("%H", fmt.Sprintf("%02d", t.Hour()), "%A", t.Weekday().String(),
			"%F", year+fmt.Sprintf("-%02d-%02d", int(t.Month()), t.Day())).Replace(args[0].Str))
	}
	panic("function " + e.name)
}

// exprText writes an expression, now and then with operators, so that it reads as
// the same one again.
func exprText(e *expr, rng *rand.Rand) string {
	switch e.kind {
	case exprColumn:
		for _, r := range e.name {
			if !inColumn(r) {
				return "$" + strconv.Quote(e.name)
			}
		}
		return "$" + e.name
	case exprLiteral:
		switch e.value.Type {
		case trace.TypeNone:
			return "null"
		case trace.TypeString:
			if !strings.Contains(e.value.Str, "`") && rng.IntN(2) == 0 {
				return "`" + e.value.Str + "`"
			}
			return strconv.Quote(e.value.Str)
		}
		if f := e.value.Float(); e.value.Type == trace.TypeFloat {
			return strconv.FormatFloat(f, 'e', -1, 64)
		}
		return e.value.Text()
	}
	if rng.IntN(2) == 0 {
		for sign, op := range operatorFuncs {
			if op.function == e.name && len(e.args) == 2 && sign != "!=" {
				return "(" + exprText(e.args[0], rng) + " " + sign + " " + exprText(e.args[1], rng) + ")"
			}
		}
		if e.name == "NOT" {
			if a := e.args[0]; a.name == "EQUALS" && len(a.args) == 2 {
				return "(" + exprText(a.args[0], rng) + " != " + exprText(a.args[1], rng) + ")"
			}
			return "!" + exprText(e.args[0], rng)
		}
	}
	var args []string
	for _, a := range e.args {
		args = append(args, exprText(a, rng))
	}
	return e.name + "(" + strings.Join(args, ", ") + strings.Repeat(",", b2i(len(args) > 0 && rng.IntN(4) == 0)) + ")"
}

func b2i(b bool) int { return int(b2u(b)) }

// randomExpr is an expression over the columns of randomSpans and those given.
func randomExpr(rng *rand.Rand, depth int, columns []string) *expr {
	lit := func(v trace.Value) *expr { return &expr{kind: exprLiteral, value: v} }
	pick := func(vs ...trace.Value) *expr { return lit(vs[rng.IntN(len(vs))]) }
	if depth == 0 || rng.IntN(6) == 0 {
		if rng.IntN(3) > 0 {
			return &expr{kind: exprColumn, name: columns[rng.IntN(len(columns))]}
		}
		return pick(trace.Int(500), trace.Int(-3), trace.Int(0), trace.Float(2.5), trace.Float(-0.25), trace.String("500"), trace.String("GET"),
			trace.String("u1"), trace.String(""), trace.String("say \"`hi`\"\n\\"), trace.String("true"), trace.Bool(true), trace.Bool(false), trace.Value{})
	}
	names := []string{"IF", "SWITCH", "COALESCE", "LT", "LTE", "GT", "GTE", "EQUALS", "IN", "EXISTS", "NOT", "AND", "OR", "MIN", "MAX", "SUM", "SUB",
		"MUL", "DIV", "MOD", "LOG10", "BUCKET", "INT", "FLOAT", "BOOL", "STRING", "CONCAT", "TO_LOWER", "LENGTH", "STARTS_WITH", "ENDS_WITH",
		"CONTAINS", "REG_MATCH", "REG_VALUE", "REG_COUNT", "UNIX_TIMESTAMP", "EVENT_TIMESTAMP", "INGEST_TIMESTAMP", "FORMAT_TIME"}
	e := &expr{kind: exprCall, name: names[rng.IntN(len(names))]}
	f := calcFuncs[e.name]
	n := f.least
	if f.most < 0 {
		n += rng.IntN(4)
	}
	arg := func() *expr { return randomExpr(rng, depth-1, columns) }
	switch e.name {
	case "BUCKET":
		e.args = []*expr{arg(), pick(trace.Int(100), trace.Float(0.5), trace.Float(2.5)), lit(trace.Int(-2)), pick(trace.Int(7), trace.Float(401.25))}[:2+rng.IntN(3)]
	case "REG_MATCH", "REG_VALUE", "REG_COUNT":
		e.args = []*expr{arg(), pick(trace.String(`[0-9]+`), trace.String("(e|5).*"), trace.String("^u(.)"), trace.String(``))}
	case "FORMAT_TIME":
		e.args = []*expr{pick(trace.String("%H"), trace.String("%A, %F"), trace.String("")), arg()}
		if rng.IntN(2) == 0 {
			e.args[1] = &expr{kind: exprCall, name: "EVENT_TIMESTAMP"}
		}
	case "LENGTH":
		e.args = []*expr{arg(), pick(trace.String("bytes"), trace.String("chars"))}[:1+rng.IntN(2)]
	default:
		for range n {
			e.args = append(e.args, arg())
		}
	}
	return e
}

// randomFields are calculated fields of which each may be made from those before.
// A number is a quarter of a small integer, so that sums are exact in any order.
func randomFields(rng *rand.Rand) (fields []CalculatedField, names []string) {
	columns := randomColumns
	for i := range rng.IntN(4) {
		f := CalculatedField{Name: []string{"calc.a", "b c", "ä"}[i]}
		text := exprText(randomExpr(rng, 1+rng.IntN(4), columns), rng)
		switch rng.IntN(4) {
		case 0:
			f.Expression = "(INT(" + text + ") % 400) / 4"
		case 1:
			f.Expression = "BOOL(" + text + ")"
		case 2:
			f.Expression = "CONCAT(" + text + ")"
		default:
			f.Expression = "IF(EXISTS($retries), INT(" + text + ") % 10, $error, STRING(" + text + "), $is_root)"
		}
		fields = append(fields, f)
		names = append(names, f.Name)
		columns = append(columns[:len(columns):len(columns)], f.Name, f.Name, f.Name, f.Name)
	}
	return fields, names
}
