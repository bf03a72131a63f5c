package query

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// valueOf turns a filter's value, from JSON or from Go, into a typed value.
func valueOf(v any) (trace.Value, error) {
	switch v := v.(type) {
	case trace.Value:
		return v, nil
	case string:
		return trace.String(v), nil
	case bool:
		return trace.Bool(v), nil
	case int:
		return trace.Int(int64(v)), nil
	case int64:
		return trace.Int(v), nil
	case float64:
		return trace.Float(v), nil
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return trace.Int(i), nil
		}
		f, err := strconv.ParseFloat(v.String(), 64)
		if err != nil {
			return trace.Value{}, fmt.Errorf("the number %s is out of range", v)
		}
		return trace.Float(f), nil
	case nil:
		return trace.Value{}, fmt.Errorf("a value is missing")
	}
	return trace.Value{}, fmt.Errorf("want a string, a number or a bool")
}

// readNumber returns the number that a text stands for: a decimal number and
// nothing else.
func readNumber(s string) (float64, bool) {
	if s == "" || len(s) > 64 {
		return 0, false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// number returns the number that a value is, or that its text stands for.
func number(v trace.Value) (float64, bool) {
	switch v.Type {
	case trace.TypeInt, trace.TypeFloat:
		f := v.Float()
		return f, !math.IsNaN(f)
	case trace.TypeString:
		return readNumber(v.Str)
	}
	return 0, false
}

// at returns the row's value; an id of fixed width as its hex text. Strings
// alias the column.
func at(vec *column.Vector, row int) trace.Value {
	if vec.Fixed != nil && vec.Has(row) {
		return trace.String(hexAt(vec, row))
	}
	return vec.Value(row)
}

func hexAt(vec *column.Vector, row int) string {
	return hex.EncodeToString(vec.Fixed[row*vec.Width : (row+1)*vec.Width])
}
