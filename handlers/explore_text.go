package handlers

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/query"
)

// The clauses of a query have a text form, used in the address of the Explore
// page and in its inputs: "P99(duration_ms)", "service.name = quotes-api",
// "COUNT desc", "COUNT > 10". Printing and parsing are inverse; the same rules
// stand in static/js/explore_text.js and both pass testdata/explore_text.json.

// textError is a clause that could not be read; Error is shown to the person.
type textError string

func (e textError) Error() string { return string(e) }

// wordOps are the filter operators spelled as words, longest first so that no
// operator hides another. Between the words a space does as well as a dash.
var wordOps = []string{
	"does-not-start-with", "does-not-end-with", "does-not-contain", "does-not-exist",
	"starts-with", "ends-with", "contains", "exists", "not-in", "in",
}

// symbolOps are the operators spelled as signs, longest first, with what they mean.
var symbolOps = []struct{ sign, op string }{
	{"!=", "!="}, {"<>", "!="}, {">=", ">="}, {"<=", "<="}, {"==", "="}, {"!~", "does-not-contain"},
	{"=", "="}, {">", ">"}, {"<", "<"}, {"~", "contains"},
}

// calculationOps are the operators of VISUALIZE that take a column.
var calculationOps = []string{
	"AVG", "COUNT_DISTINCT", "HEATMAP", "MAX", "MIN", "P001", "P01", "P05", "P10", "P20", "P25", "P50",
	"P75", "P80", "P90", "P95", "P99", "P999", "SUM", "RATE_AVG", "RATE_SUM", "RATE_MAX",
}

// bareCalculationOps take no column.
var bareCalculationOps = []string{"COUNT", "CONCURRENCY"}

var (
	numberText  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	integerText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

// maxExactInt is the largest integer that JavaScript and float64 hold exactly.
const maxExactInt = 1 << 53

// parseCalculation reads COUNT, P99(duration_ms) or "p99 duration_ms".
func parseCalculation(s string) (query.Calculation, error) {
	op, rest := s, ""
	if i := strings.IndexAny(s, "( \t"); i >= 0 {
		op, rest = s[:i], strings.TrimSpace(s[i:])
	}
	if strings.HasPrefix(rest, "(") {
		if !strings.HasSuffix(rest, ")") {
			return query.Calculation{}, textError("The closing bracket is missing, as in P99(duration_ms).")
		}
		rest = strings.TrimSpace(rest[1 : len(rest)-1])
	}
	column, after, err := cutColumn(rest, "")
	if err == nil && after != "" {
		column = rest // a column with spaces, unquoted: the brackets delimit it
	}
	op = strings.ToUpper(op)
	if slices.Contains(bareCalculationOps, op) {
		if rest != "" {
			return query.Calculation{}, textError(op + " takes no column.")
		}
		return query.Calculation{Op: op}, nil
	}
	if err != nil {
		return query.Calculation{}, err
	}
	if column == "" {
		if slices.Contains(calculationOps, op) {
			return query.Calculation{}, textError("Name the column, as in " + op + "(duration_ms).")
		}
		return query.Calculation{}, textError("Write COUNT, or an operator and a column as in P99(duration_ms).")
	}
	return query.Calculation{Op: op, Column: column}, nil
}

// formatCalculation is the inverse of parseCalculation.
func formatCalculation(c query.Calculation) string {
	if c.Column == "" {
		return c.Op
	}
	return c.Op + "(" + quoteColumn(c.Column) + ")"
}

// parseFilter reads "column op value", "column exists" or "column in (a, b)".
func parseFilter(s string) (query.Filter, error) {
	column, rest, err := cutColumn(s, "=!<>~")
	if err != nil {
		return query.Filter{}, err
	}
	if column == "" {
		return query.Filter{}, textError("Begin with a column, as in service.name = quotes-api.")
	}
	if sign := unknownSign(rest); sign != "" {
		return query.Filter{}, unknownSignError(sign)
	}
	op, rest, ok := cutOperator(rest)
	if !ok {
		return query.Filter{}, textError("Say how " + column + " compares: " + column + " = value, or " + column + " exists.")
	}
	f := query.Filter{Column: column, Op: op}
	switch op {
	case "exists", "does-not-exist":
		if rest != "" {
			return query.Filter{}, textError(column + " " + op + " takes no value.")
		}
	case "in", "not-in":
		list, err := parseList(rest)
		if err != nil {
			return query.Filter{}, err
		}
		f.Value = list
	default:
		if rest == "" {
			return query.Filter{}, textError(`The value is missing; write "" for the empty text.`)
		}
		v, after, err := cutValue(rest, "")
		if err != nil {
			return query.Filter{}, err
		}
		if after != "" {
			return query.Filter{}, textError("Something follows the closing quote.")
		}
		f.Value = v
	}
	return f, nil
}

// formatFilter is the inverse of parseFilter.
func formatFilter(f query.Filter) string {
	s := quoteColumn(f.Column) + " " + f.Op
	if v := formatFilterValue(f); v != "" {
		s += " " + v
	}
	return s
}

// formatFilterValue is the text after the operator, empty if it takes none.
func formatFilterValue(f query.Filter) string {
	switch f.Op {
	case "exists", "does-not-exist":
		return ""
	case "in", "not-in":
		var parts []string
		for _, v := range listOf(f.Value) {
			parts = append(parts, formatValue(v, ",)"))
		}
		return "(" + strings.Join(parts, ", ") + ")"
	}
	return formatValue(f.Value, "")
}

// parseOrder reads "COUNT desc", "P99(duration_ms)" or "service.name asc".
func parseOrder(s string) (query.Order, error) {
	o := query.Order{Order: "ascending"}
	s = strings.TrimSpace(s)
	for _, d := range []struct{ word, order string }{
		{"descending", "descending"}, {"desc", "descending"}, {"ascending", "ascending"}, {"asc", "ascending"},
	} {
		n := len(s) - len(d.word)
		if n > 0 && strings.EqualFold(s[n:], d.word) && strings.ContainsRune(" \t)\"", rune(s[n-1])) {
			o.Order, s = d.order, strings.TrimSpace(s[:n])
			break
		}
	}
	if s == "" {
		return o, textError("Name a calculation or a column to order by, as in COUNT desc.")
	}
	if looksLikeCalculation(s) {
		c, err := parseCalculation(s)
		if err != nil {
			return o, err
		}
		o.Op, o.Column = c.Op, c.Column
		return o, nil
	}
	column, err := parseColumn(s)
	o.Column = column
	return o, err
}

// formatOrder is the inverse of parseOrder.
func formatOrder(o query.Order) string {
	s := quoteColumn(o.Column)
	if o.Op != "" {
		s = formatCalculation(query.Calculation{Op: o.Op, Column: o.Column})
	} else if looksLikeCalculation(s) {
		s = jsonText(o.Column)
	}
	if o.Order == "descending" {
		return s + " desc"
	}
	return s + " asc"
}

// parseHaving reads "COUNT > 10" or "P99(duration_ms) >= 250".
func parseHaving(s string) (query.Having, error) {
	i := strings.LastIndexAny(s, "=<>")
	j := i
	for j > 0 && strings.ContainsRune("=!<>", rune(s[j-1])) {
		j--
	}
	if i < 0 {
		return query.Having{}, textError("Compare a calculation with a number, as in COUNT > 10.")
	}
	if sign := unknownSign(s[j:]); sign != "" {
		return query.Having{}, unknownSignError(sign)
	}
	op, rest, ok := cutOperator(s[j:])
	if !ok || rest == "" {
		return query.Having{}, textError("The number is missing, as in COUNT > 10.")
	}
	c, err := parseCalculation(strings.TrimSpace(s[:j]))
	if err != nil {
		return query.Having{}, err
	}
	v, err := strconv.ParseFloat(rest, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return query.Having{}, textError(strconv.Quote(rest) + " is not a number.")
	}
	return query.Having{CalculateOp: c.Op, Column: c.Column, Op: op, Value: v}, nil
}

// formatHaving is the inverse of parseHaving.
func formatHaving(h query.Having) string {
	c := query.Calculation{Op: h.CalculateOp, Column: h.Column}
	return formatCalculation(c) + " " + h.Op + " " + formatNumber(h.Value)
}

// parseColumn reads a column's name, quoted or not; unquoted it may hold spaces.
func parseColumn(s string) (string, error) {
	s = strings.TrimSpace(s)
	column, after, err := cutColumn(s, "")
	if err != nil {
		return "", err
	}
	if after != "" && !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	if after != "" {
		return "", textError("Something follows the closing quote.")
	}
	return column, nil
}

// quoteColumn writes a column's name so that cutColumn reads it whole.
func quoteColumn(c string) string {
	if c == "" || strings.ContainsAny(c, " \t\r\n\"=!<>~()") {
		return jsonText(c)
	}
	return c
}

// cutColumn splits off a column's name: a JSON string, or everything up to a
// blank or one of stop.
func cutColumn(s, stop string) (column, rest string, err error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, `"`) {
		return cutQuoted(s)
	}
	if i := strings.IndexAny(s, " \t\r\n"+stop); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:]), nil
	}
	return s, "", nil
}

// unknownSign returns the run of signs at the front of s if it is no operator,
// such as =~, which else would be read as = and a value that begins with ~.
func unknownSign(s string) string {
	sign := s[:len(s)-len(strings.TrimLeft(s, "=!<>~"))]
	for _, o := range symbolOps {
		if sign == o.sign {
			return ""
		}
	}
	return sign
}

func unknownSignError(sign string) error {
	return textError("There is no operator " + sign + "; write =, !=, <, <=, >, >= or contains. Quote a value that begins with a sign.")
}

func cutOperator(s string) (op, rest string, ok bool) {
	for _, o := range symbolOps {
		if after, found := strings.CutPrefix(s, o.sign); found {
			return o.op, strings.TrimSpace(after), true
		}
	}
	for _, op := range wordOps {
		if len(s) < len(op) || strings.ReplaceAll(strings.ToLower(s[:len(op)]), " ", "-") != op {
			continue
		}
		rest := s[len(op):]
		if rest == "" || strings.ContainsRune(" \t(", rune(rest[0])) {
			return op, strings.TrimSpace(rest), true
		}
	}
	return "", s, false
}

func parseList(s string) ([]any, error) {
	if strings.HasPrefix(s, "(") {
		if !strings.HasSuffix(s, ")") {
			return nil, textError("The closing bracket is missing, as in (uk, de).")
		}
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	list := []any{}
	for s != "" {
		v, rest, err := cutValue(s, ",")
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if rest == "" {
			break
		}
		after, ok := strings.CutPrefix(rest, ",")
		if !ok {
			return nil, textError("Put a comma between the values.")
		}
		s = strings.TrimSpace(after)
	}
	if len(list) == 0 {
		return nil, textError("List the values, as in (uk, de).")
	}
	return list, nil
}

// cutValue reads one value: a JSON string, true, false, a number, or plain text
// up to stop.
func cutValue(s, stop string) (v any, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		text, rest, err := cutQuoted(s)
		return text, rest, err
	}
	if i := strings.IndexAny(s, stop); stop != "" && i >= 0 {
		s, rest = strings.TrimSpace(s[:i]), s[i:]
	}
	switch {
	case s == "true":
		return true, rest, nil
	case s == "false":
		return false, rest, nil
	case isNumberText(s):
		f, err := strconv.ParseFloat(s, 64)
		return f + 0, rest, err // + 0: no negative zero
	}
	return s, rest, nil
}

// isNumberText reports whether the text is a number that survives a float64.
func isNumberText(s string) bool {
	if !numberText.MatchString(s) {
		return false
	}
	if integerText.MatchString(s) {
		n, err := strconv.ParseInt(s, 10, 64)
		return err == nil && n <= maxExactInt && n >= -maxExactInt
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// formatValue is the inverse of cutValue; quote holds further characters that
// force quotes.
func formatValue(v any, quote string) string {
	switch v := v.(type) {
	case string:
		if v == "" || v == "true" || v == "false" || isNumberText(v) || strings.HasPrefix(v, `"`) ||
			strings.TrimSpace(v) != v || strings.ContainsAny(v, "\t\r\n"+quote) {
			return jsonText(v)
		}
		return v
	case float64:
		return formatNumber(v)
	case nil:
		return `""`
	}
	return fmt.Sprint(v)
}

func formatNumber(f float64) string {
	b, err := json.Marshal(f)
	if err != nil {
		return "0"
	}
	return string(b)
}

func listOf(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

// cutQuoted reads a JSON string at the front of s.
func cutQuoted(s string) (text, rest string, err error) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			if json.Unmarshal([]byte(s[:i+1]), &text) != nil {
				return "", "", textError("The quoted text is not valid; escape as in JSON.")
			}
			return text, strings.TrimSpace(s[i+1:]), nil
		}
	}
	return "", "", textError("The closing quote is missing.")
}

// jsonText quotes a text as JSON, without escaping <, > and &.
func jsonText(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// looksLikeCalculation tells COUNT and P99(x) from a plain column.
func looksLikeCalculation(s string) bool {
	op, _, bracket := strings.Cut(s, "(")
	op = strings.ToUpper(strings.TrimSpace(op))
	if bracket {
		return slices.Contains(calculationOps, op)
	}
	return slices.Contains(bareCalculationOps, op)
}
