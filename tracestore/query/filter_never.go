package query

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// never warns of filters that no value of their column can pass, or that every one
// passes, and of an environment that no row is of.
func (q *where) never(blocks []column.Block) []string {
	var out []string
	if q.environment != "" && len(blocks) > 0 && !slices.ContainsFunc(blocks, q.mayHaveEnvironment) {
		out = append(out, fmt.Sprintf("No row in this time range is of the environment %q.", q.environment))
	}
	warn := func(c *filter) {
		why := c.cannot(q, blocks)
		if why == "" {
			return
		}
		does := "no row passes it"
		if c.negate {
			does = "every row passes it"
		}
		out = append(out, fmt.Sprintf("The filter %s says little: %s, so %s.", c.source, why, does))
	}
	for i := range q.filters {
		if f := &q.filters[i]; f.around == 0 {
			warn(f)
		}
	}
	for _, e := range q.exists {
		for i := range e.where.filters {
			warn(&e.where.filters[i])
		}
	}
	return out
}

// mayHaveEnvironment reports whether the block may have rows of the environment.
func (q *where) mayHaveEnvironment(b column.Block) bool {
	v := newView(b)
	if known := q.inEnvironment().verdict(v); known != keepsSome {
		return known == keepsAll
	}
	vec, err := v.fixed(column.Environment)
	if err != nil || vec.IDs == nil {
		return true
	}
	for id := range vec.Dict.Len() {
		if vec.Dict.At(uint32(id)) == q.environment {
			return true
		}
	}
	return false
}

// sourceOf writes a filter for a person.
func sourceOf(f Filter) string {
	if f.Op == "exists" || f.Op == "does-not-exist" {
		return f.Column + " " + f.Op
	}
	value, err := json.Marshal(f.Value)
	if err != nil { // it was JSON before
		value = []byte("…")
	}
	text := strings.ToValidUTF8(string(value), "\uFFFD")
	if r := []rune(text); len(r) > 60 {
		text = string(r[:60]) + "…"
	}
	return f.Column + " " + f.Op + " " + text
}

// cannot says why no value of the column can pass; "": some may.
func (c *filter) cannot(q *where, blocks []column.Block) string {
	if c.any || q.fields.field(c.column) != nil {
		return ""
	}
	if c.equals != nil && len(c.equals) == 0 {
		return "its list is empty"
	}
	if !c.notNumber && !c.notBool {
		return ""
	}
	numbers, bools, others := kindsOf(c.column, blocks)
	switch {
	case others:
	case numbers && !bools && c.notNumber:
		return fmt.Sprintf("%s holds numbers", c.column)
	case bools && !numbers && c.notBool:
		return fmt.Sprintf("%s is true or false", c.column)
	}
	return ""
}

// kindsOf tells what sorts of values a column has.
func kindsOf(name string, blocks []column.Block) (numbers, bools, others bool) {
	s, rest := cutScope(name)
	switch {
	case s == scopeRipple:
		return true, false, false
	case s != noScope:
		name = rest
	}
	switch name {
	case durationMS, column.Duration, column.Start, column.Arrived:
		return true, false, false
	case isRoot, column.Error:
		return false, true, false
	case column.Kind, column.Status, column.Signal, column.TraceID, column.SpanID, column.ParentID:
		return false, false, true
	}
	for _, b := range blocks {
		for _, n := range append([]string{name}, aliases[name]...) {
			for _, t := range b.Types(n) {
				switch t {
				case trace.TypeInt, trace.TypeFloat:
					numbers = true
				case trace.TypeBool:
					bools = true
				default:
					others = true
				}
			}
		}
	}
	return numbers, bools, others
}
