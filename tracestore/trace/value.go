package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
)

// Type is the type of an attribute's value.
type Type uint8

// The types. JSON holds arrays and maps as JSON text.
const (
	TypeNone Type = iota
	TypeString
	TypeInt
	TypeFloat
	TypeBool
	TypeBytes
	TypeJSON
)

var typeNames = [...]string{"none", "string", "int", "float", "bool", "bytes", "json"}

// String returns the type's lower-case name.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "none"
}

// Attribute is a typed key and value.
type Attribute struct {
	Key   string
	Value Value
}

// Value is one typed value. Str carries string, bytes and JSON; Num carries
// int64, the bits of a float64, or 0 and 1 for a bool.
type Value struct {
	Type Type
	Str  string
	Num  uint64
}

// String makes a string value.
func String(s string) Value { return Value{Type: TypeString, Str: s} }

// Int makes an integer value.
func Int(i int64) Value { return Value{Type: TypeInt, Num: uint64(i)} }

// Float makes a floating-point value.
func Float(f float64) Value { return Value{Type: TypeFloat, Num: math.Float64bits(f)} }

// Bool makes a boolean value.
func Bool(b bool) Value {
	if b {
		return Value{Type: TypeBool, Num: 1}
	}
	return Value{Type: TypeBool}
}

// Bytes makes a value of raw bytes.
func Bytes(b string) Value { return Value{Type: TypeBytes, Str: b} }

// JSON makes a value of JSON text: an array or a map.
func JSON(text string) Value { return Value{Type: TypeJSON, Str: text} }

// Int returns the integer, or 0 for other types.
func (v Value) Int() int64 { return int64(v.Num) }

// Float returns the number of an int or float value, else NaN.
func (v Value) Float() float64 {
	switch v.Type {
	case TypeInt:
		return float64(int64(v.Num))
	case TypeFloat:
		return math.Float64frombits(v.Num)
	}
	return math.NaN()
}

// Bool reports whether a bool value is true.
func (v Value) Bool() bool { return v.Type == TypeBool && v.Num != 0 }

// Text is the canonical text of the value: what equality compares and what a
// table shows. An integral float prints as the integer does, bytes as base64.
func (v Value) Text() string {
	switch v.Type {
	case TypeString, TypeJSON:
		return v.Str
	case TypeBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Str))
	case TypeInt:
		return strconv.FormatInt(int64(v.Num), 10)
	case TypeFloat:
		return floatText(math.Float64frombits(v.Num))
	case TypeBool:
		if v.Num != 0 {
			return "true"
		}
		return "false"
	}
	return ""
}

// floatText is the shortest text that reads back as f: without an exponent
// where a person would write none, so that 1e6 and the integer 1000000 agree.
func floatText(f float64) string {
	if f == 0 {
		return "0" // not -0
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// maxSafeInt is the largest integer that every JSON reader holds exactly (2^53).
const maxSafeInt = 1 << 53

// MarshalJSON renders the value as the API does (DESIGN.md §8): an integer
// beyond 2^53 as {"int":"…"}, bytes as {"bytes":"base64"}, NaN and the
// infinities as {"float":"NaN"}, arrays and maps as JSON.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Type {
	case TypeString:
		return marshalText(v.Str)
	case TypeBytes:
		return json.Marshal(map[string]string{"bytes": v.Text()})
	case TypeInt:
		i := int64(v.Num)
		if i > maxSafeInt || i < -maxSafeInt {
			return json.Marshal(map[string]string{"int": v.Text()})
		}
		return strconv.AppendInt(nil, i, 10), nil
	case TypeFloat:
		f := math.Float64frombits(v.Num)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			name := "NaN"
			if math.IsInf(f, 1) {
				name = "Infinity"
			} else if math.IsInf(f, -1) {
				name = "-Infinity"
			}
			return json.Marshal(map[string]string{"float": name})
		}
		return json.Marshal(f)
	case TypeBool:
		return []byte(v.Text()), nil
	case TypeJSON:
		if json.Valid([]byte(v.Str)) {
			return []byte(v.Str), nil
		}
		return marshalText(v.Str)
	}
	return []byte("null"), nil
}

// marshalText encodes a string without escaping <, > and &.
func marshalText(s string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
