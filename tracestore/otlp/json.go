package otlp

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"redthread/tracestore/trace"
)

// FromJSON appends the protobuf form of a request in OTLP's JSON
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids are
// hex, 64-bit integers numbers or strings, enums numbers or names, and unknown
// fields are ignored. Field names may be lowerCamelCase or as in the .proto files.
// A value of the wrong type is an [*InvalidError] that names the field.
//
// Ids that are not hex of the right length are hashed to size here, and the text
// kept as an attribute, as [Decoder] does for protobuf.
func FromJSON(dst []byte, sig Signal, raw []byte) ([]byte, error) {
	t := transcoder{jsonReader: jsonReader{b: raw}, dst: dst}
	t.space()
	if t.i == len(raw) {
		return dst, t.invalid("the body is empty, want a JSON object")
	}
	if err := t.message(requestOf(sig), 0); err != nil {
		return dst, err
	}
	t.space()
	if t.i < len(raw) {
		return dst, t.invalid("there is more behind the JSON object")
	}
	return t.dst, nil
}

type transcoder struct {
	jsonReader
	dst       []byte
	originals []trace.Attribute // of the record being read
}

// message writes the fields of the JSON object that begins here.
func (t *transcoder) message(m *message, depth int) error {
	if depth > maxDepth {
		return t.invalid(errDepth)
	}
	return t.object(func(name string) error {
		f := m.byName(name)
		if f == nil || t.peek() == 'n' { // unknown, or null: the default
			return t.skip(depth)
		}
		if !f.repeated {
			return t.field(m, f, depth)
		}
		return t.array(func() error { return t.field(m, f, depth) })
	})
}

// field writes one value of a field.
func (t *transcoder) field(m *message, f *field, depth int) error {
	switch f.kind {
	case kindMessage:
		if t.peek() != '{' {
			return t.wrongType("an object")
		}
		at := t.open(f.number)
		if f.message.record != 0 {
			t.originals = t.originals[:0]
		}
		if err := t.message(f.message, depth+1); err != nil {
			return err
		}
		if f.message.record != 0 {
			for i := range t.originals {
				t.dst = appendAttribute(t.dst, f.message.attributes, &t.originals[i])
			}
			t.originals = t.originals[:0]
		}
		t.dst = closeNested(t.dst, at)
		return nil
	case kindString:
		s, err := t.str("a string")
		if err != nil {
			return err
		}
		t.dst = append(appendTag(t.dst, f.number, len(s)), s...)
		return nil
	case kindBytes:
		s, err := t.str("a base64 string")
		if err != nil {
			return err
		}
		b, err := decodeBase64(s)
		if err != nil {
			return t.invalid("not base64")
		}
		t.dst = appendBytesField(t.dst, f.number, b)
		return nil
	case kindTraceID, kindSpanID:
		return t.id(m, f)
	case kindBool:
		switch {
		case t.literal("true"):
			t.dst = appendVarint(t.dst, f.number, 1)
		case t.literal("false"):
			t.dst = appendVarint(t.dst, f.number, 0)
		default:
			return t.wrongType("true or false")
		}
		return nil
	}
	return t.number(f)
}

// open begins a message field; closeNested ends it.
func (t *transcoder) open(number int) int {
	t.dst = appendTag(t.dst, number, 0)
	return len(t.dst) - 1
}

// id writes a trace id or span id.
func (t *transcoder) id(m *message, f *field) error {
	s, err := t.str("an id in hex")
	if err != nil || s == "" {
		return err
	}
	size := 8
	var whole [16]byte
	original := ""
	if f.kind == kindTraceID {
		var id trace.ID
		size = 16
		id, original = TraceIDFromText(s)
		whole = id
	} else {
		var id trace.SpanID
		id, original = SpanIDFromText(s)
		copy(whole[:], id[:])
	}
	if original != "" && m.record != 0 {
		switch f.name {
		case "trace_id":
			t.keep(AttrOriginalTraceID, original)
		case "span_id":
			t.keep(AttrOriginalSpanID, original)
		}
	}
	t.dst = appendBytesField(t.dst, f.number, whole[:size])
	return nil
}

// keep adds the text of an id to the attributes of the record.
func (t *transcoder) keep(key, original string) {
	t.originals = append(t.originals, trace.Attribute{Key: key, Value: trace.String(original)})
}

// number writes a numeric field from a JSON number or a string with one.
func (t *transcoder) number(f *field) error {
	want := map[fieldKind]string{
		kindInt64: "a 64-bit integer, as a number or a string", kindUint32: "a number of 0 to 4294967295",
		kindFixed32: "a number of 0 to 4294967295", kindFixed64: "a number from 0, or a string with one",
		kindDouble: "a number", kindEnum: "a number or a name",
	}[f.kind]
	quoted := t.peek() == '"'
	start := t.i
	var s string
	var err error
	if quoted {
		s, err = t.str(want)
	} else {
		s, err = t.num(want)
	}
	if err != nil {
		return err
	}
	bad := func() error {
		t.i = start
		return t.wrongType(want)
	}
	switch f.kind {
	case kindDouble:
		v, err := strconv.ParseFloat(s, 64)
		if err != nil && (!math.IsInf(v, 0) || quoted) || quoted && !decimal(s) && s != "NaN" && s != "Infinity" && s != "-Infinity" {
			return bad()
		}
		t.dst = appendFixed64(t.dst, f.number, math.Float64bits(v))
	case kindInt64:
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			x, ok := integral(s)
			if !ok || x < math.MinInt64 || x >= math.MaxInt64 {
				return bad()
			}
			v = int64(x)
		}
		t.dst = appendVarint(t.dst, f.number, uint64(v))
	case kindEnum:
		if quoted {
			for i, name := range f.enum {
				if s == name || s == f.prefix+name {
					t.dst = appendVarint(t.dst, f.number, uint64(i))
					return nil
				}
			}
		}
		v, err := strconv.ParseInt(s, 10, 32)
		if err != nil || v < 0 {
			return bad()
		}
		t.dst = appendVarint(t.dst, f.number, uint64(v))
	default:
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			x, ok := integral(s)
			if !ok || x < 0 || x >= math.MaxUint64 {
				return bad()
			}
			v = uint64(x)
		}
		if f.kind != kindFixed64 && v > math.MaxUint32 {
			return bad()
		}
		switch f.kind {
		case kindUint32:
			t.dst = appendVarint(t.dst, f.number, v)
		case kindFixed32:
			t.dst = appendFixed32(t.dst, f.number, uint32(v))
		default:
			t.dst = appendFixed64(t.dst, f.number, v)
		}
	}
	return nil
}

// integral reads a number such as 1e3 or 5.0, which protojson takes for integers.
func integral(s string) (float64, bool) {
	if !decimal(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && f == math.Trunc(f)
}

// decimal reports whether s has only what a JSON number may have; ParseFloat
// would also take hexadecimals and underscores.
func decimal(s string) bool { return s != "" && strings.Trim(s, "0123456789+-.eE") == "" }

// decodeBase64 takes the standard and the URL alphabet, padded or not, as
// protojson readers do.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	if strings.ContainsAny(s, "-_") {
		return base64.RawURLEncoding.DecodeString(s)
	}
	return base64.RawStdEncoding.DecodeString(s)
}
