package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// keyValue reads a KeyValue into a list. The value may stand before the key.
func (d *Decoder) keyValue(b []byte, a *attributes, arena *[]byte) error {
	name, val, err := d.pair(b)
	if err != nil {
		return err
	}
	v, hash, fields, err := d.value(val, arena)
	if err != nil {
		return err
	}
	k := a.key(alias(name))
	a.putKey(k, v, hash)
	if fields != nil {
		return d.flatten(k.name, fields, 1, a, arena)
	}
	return nil
}

// pair finds the key and the AnyValue of a KeyValue.
func (d *Decoder) pair(b []byte) (key, val []byte, err error) {
	// Nearly every pair is a key of less than 128 bytes and then the value.
	if len(b) > 2 && b[0] == 1<<3|wireBytes && b[1] < 0x80 {
		if i := 2 + int(b[1]); i+1 < len(b) && b[i] == 2<<3|wireBytes && b[i+1] < 0x80 && i+2+int(b[i+1]) == len(b) {
			return b[2:i], b[i+2:], nil
		}
	}
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return nil, nil, d.invalid(b, i, why)
		}
		switch f.number<<3 | int(f.typ) {
		case 1<<3 | wireBytes:
			key = f.data
		case 2<<3 | wireBytes:
			val = f.data
		}
		i = j
	}
	return key, val, nil
}

// textValue reads a string value and its hash.
func textValue(b []byte, arena *[]byte) (trace.Value, uint64) {
	s := alias(b)
	hash, ascii := column.HashText(s)
	if !ascii && !utf8.ValidString(s) {
		s = repaired(s, arena)
		hash = column.HashString(0, s)
	}
	return trace.String(s), hash
}

// value reads an AnyValue, and its hash. Of a map, fields is its KeyValueList, not
// nil.
func (d *Decoder) value(b []byte, arena *[]byte) (v trace.Value, hash uint64, fields []byte, err error) {
	// Nearly every value is one field to its end, and a string a short one.
	if len(b) > 1 {
		switch b[0] {
		case 1<<3 | wireBytes:
			if int(b[1]) == len(b)-2 && b[1] < 0x80 {
				v, hash = textValue(b[2:], arena)
				return v, hash, nil, nil
			}
		case 2<<3 | wireVarint:
			if len(b) == 2 && b[1] < 0x80 {
				v = trace.Bool(b[1] != 0)
				return v, v.Num, nil, nil
			}
		case 3<<3 | wireVarint:
			if n, end := uvarint(b, 1); end == len(b) {
				return trace.Int(int64(n)), n, nil, nil
			}
		case 4<<3 | wireFixed64:
			if len(b) == 9 {
				v = trace.Value{Type: trace.TypeFloat, Num: binary.LittleEndian.Uint64(b[1:])}
				return v, column.ValueHash(v), nil, nil
			}
		}
	}
	f, err := d.oneof(b)
	if err != nil {
		return v, 0, nil, err
	}
	switch f.number<<3 | int(f.typ) {
	case 1<<3 | wireBytes:
		v, hash = textValue(f.data, arena)
		return v, hash, nil, nil
	case 2<<3 | wireVarint:
		v = trace.Bool(f.num != 0)
		return v, v.Num, nil, nil
	case 3<<3 | wireVarint:
		return trace.Int(int64(f.num)), f.num, nil, nil
	case 4<<3 | wireFixed64:
		v = trace.Value{Type: trace.TypeFloat, Num: f.num}
		return v, column.ValueHash(v), nil, nil
	case 7<<3 | wireBytes:
		v = trace.Bytes(alias(f.data))
		return v, column.ValueHash(v), nil, nil
	case 5<<3 | wireBytes:
	case 6<<3 | wireBytes:
		fields = f.data
	default:
		v = trace.JSON("null")
		return v, column.ValueHash(v), nil, nil
	}
	from := len(*arena)
	if *arena, err = d.appendJSON(*arena, f, 0); err != nil {
		return v, 0, nil, err
	}
	v = trace.JSON(alias((*arena)[from:]))
	return v, column.ValueHash(v), fields, nil
}

// oneof finds the value that an AnyValue holds: as in every protobuf oneof, the
// last one counts. Number 0 means none.
func (d *Decoder) oneof(b []byte) (wireField, error) {
	var f, found wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return found, d.invalid(b, i, why)
		}
		if f.number <= 7 {
			found = f
		}
		i = j
	}
	return found, nil
}

// flatten adds the leaves of a map under dotted keys. What lies deeper than
// maxFlattenDepth stays JSON text.
func (d *Decoder) flatten(prefix string, list []byte, level int, a *attributes, arena *[]byte) error {
	return d.each(list, 1, func(b []byte) error {
		key, val, err := d.pair(b)
		if err != nil {
			return err
		}
		f, err := d.oneof(val)
		if err != nil {
			return err
		}
		if d.flattened == maxFlattenedKeys || len(prefix)+1+len(key) > maxFlattenedKeyBytes {
			return nil
		}
		from := len(*arena)
		*arena = append(append(*arena, prefix...), '.')
		name := text(key, arena)
		if len(*arena) == from+len(prefix)+1 { // the key aliases the request
			*arena = append(*arena, name...)
		}
		name = alias((*arena)[from:])
		if f.number == 6 && f.typ == wireBytes && level < maxFlattenDepth {
			return d.flatten(name, f.data, level+1, a, arena)
		}
		v, hash, _, err := d.value(val, arena)
		if err != nil {
			return err
		}
		d.flattened++
		if k := a.key(name); a.find(k) < 0 {
			a.putKey(k, v, hash)
		}
		return nil
	})
}

// appendJSON writes the value of an AnyValue as JSON.
func (d *Decoder) appendJSON(dst []byte, f wireField, depth int) ([]byte, error) {
	if depth > maxDepth {
		return dst, d.invalid(f.data, 0, errDepth)
	}
	switch f.number<<3 | int(f.typ) {
	case 1<<3 | wireBytes:
		return appendJSONString(dst, alias(f.data)), nil
	case 2<<3 | wireVarint:
		return strconv.AppendBool(dst, f.num != 0), nil
	case 3<<3 | wireVarint:
		return strconv.AppendInt(dst, int64(f.num), 10), nil
	case 4<<3 | wireFixed64:
		return appendJSONFloat(dst, math.Float64frombits(f.num)), nil
	case 5<<3 | wireBytes:
		dst = append(dst, '[')
		first := true
		err := d.each(f.data, 1, func(b []byte) error {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			inner, err := d.oneof(b)
			if err == nil {
				dst, err = d.appendJSON(dst, inner, depth+1)
			}
			return err
		})
		return append(dst, ']'), err
	case 6<<3 | wireBytes:
		dst = append(dst, '{')
		first := true
		err := d.each(f.data, 1, func(b []byte) error {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			key, val, err := d.pair(b)
			if err != nil {
				return err
			}
			dst = append(appendJSONString(dst, alias(key)), ':')
			inner, err := d.oneof(val)
			if err == nil {
				dst, err = d.appendJSON(dst, inner, depth+1)
			}
			return err
		})
		return append(dst, '}'), err
	case 7<<3 | wireBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, f.data)
		return append(dst, '"'), nil
	}
	return append(dst, "null"...), nil
}

// appendJSONFloat writes a number; NaN and the infinities, which JSON lacks, are
// the strings that protojson uses.
func appendJSONFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// appendJSONString writes a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
