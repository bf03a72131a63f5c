package column

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"redthread/tracestore/trace"
)

// AppendAttributes appends the attributes of an event or a link as a JSON
// object, in their order and with their types: strings, integers and bools as
// JSON, floats with a point or an exponent, and {"bytes":…} (base64), {"json":…}
// and {"float":…} (NaN, Infinity, -Infinity) for what JSON cannot tell apart.
// No attributes append nothing.
func AppendAttributes(dst []byte, attrs []trace.Attribute) []byte {
	if len(attrs) == 0 {
		return dst
	}
	dst = append(dst, '{')
	for i, a := range attrs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, a.Key)
		dst = append(dst, ':')
		dst = appendValue(dst, a.Value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, v trace.Value) []byte {
	switch v.Type {
	case trace.TypeString:
		return appendText(dst, v.Str)
	case trace.TypeInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case trace.TypeFloat:
		f := v.Float()
		switch {
		case math.IsNaN(f):
			return append(dst, `{"float":"NaN"}`...)
		case math.IsInf(f, 1):
			return append(dst, `{"float":"Infinity"}`...)
		case math.IsInf(f, -1):
			return append(dst, `{"float":"-Infinity"}`...)
		}
		from := len(dst)
		dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
		if !bytes.ContainsAny(dst[from:], ".e") {
			dst = append(dst, ".0"...)
		}
		return dst
	case trace.TypeBool:
		return strconv.AppendBool(dst, v.Bool())
	case trace.TypeBytes:
		dst = append(dst, `{"bytes":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Str))
		return append(dst, `"}`...)
	case trace.TypeJSON:
		dst = append(dst, `{"json":`...)
		dst = appendText(dst, v.Str)
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string. Bytes that are not UTF-8 pass unchanged, so
// that the value comes back as it was.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// ParseAttributes reads what [AppendAttributes] wrote.
func ParseAttributes(text string) ([]trace.Attribute, error) {
	if text == "" {
		return nil, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("column: attributes: want an object: %w", err)
	}
	var attrs []trace.Attribute
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("column: attributes: %w", err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("column: attribute %q: %w", key, err)
		}
		v, err := parseValue(raw)
		if err != nil {
			return nil, fmt.Errorf("column: attribute %q: %w", key, err)
		}
		attrs = append(attrs, trace.Attribute{Key: key.(string), Value: v})
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("column: attributes: %w", err)
	}
	return attrs, nil
}

func parseValue(raw json.RawMessage) (trace.Value, error) {
	switch c := raw[0]; {
	case c == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return trace.String(s), err
	case c == 't' || c == 'f':
		return trace.Bool(c == 't'), nil
	case c == 'n':
		return trace.Value{}, nil
	case c == '{':
		var o map[string]string
		if err := json.Unmarshal(raw, &o); err != nil {
			return trace.Value{}, err
		}
		if s, ok := o["bytes"]; ok {
			b, err := base64.StdEncoding.DecodeString(s)
			return trace.Bytes(string(b)), err
		}
		if s, ok := o["json"]; ok {
			return trace.JSON(s), nil
		}
		f, err := strconv.ParseFloat(o["float"], 64)
		return trace.Float(f), err
	case bytes.ContainsAny(raw, ".eE"):
		f, err := strconv.ParseFloat(string(raw), 64)
		return trace.Float(f), err
	}
	i, err := strconv.ParseInt(string(raw), 10, 64)
	return trace.Int(i), err
}
