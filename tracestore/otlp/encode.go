package otlp

import (
	"encoding/binary"
	"encoding/json"
	"strings"

	"redthread/tracestore/trace"
)

// AppendSpans appends rows as an ExportTraceServiceRequest. Neighbours of one
// service and environment share a resource; all other attributes are the spans'
// own. Decoding the result gives the rows back, but for ArrivedUnixNano and for
// Error where nothing in the row says why. Log records are left out.
func AppendSpans(dst []byte, spans []trace.Span) []byte {
	for from := 0; from < len(spans); {
		first := &spans[from]
		to := from + 1
		for to < len(spans) && spans[to].Service == first.Service && spans[to].Environment == first.Environment {
			to++
		}
		var res []trace.Attribute
		if first.Service != "" && first.Service != unknownService {
			res = append(res, trace.Attribute{Key: keyService, Value: trace.String(first.Service)})
		}
		if first.Environment != "" && first.Environment != defaultEnv {
			res = append(res, trace.Attribute{Key: keyEnvironment, Value: trace.String(first.Environment)})
		}
		dst = AppendResourceSpans(dst, res, "", "", spans[from:to])
		from = to
	}
	return dst
}

// AppendResourceSpans appends one ResourceSpans with one scope and the spans,
// whose Service and Environment are not written: the resource's attributes say
// them. An empty scope name leaves the scope out.
func AppendResourceSpans(dst []byte, res []trace.Attribute, scopeName, scopeVersion string, spans []trace.Span) []byte {
	return nested(dst, 1, func(dst []byte) []byte {
		dst = nested(dst, 1, func(dst []byte) []byte { return appendAttributes(dst, 1, res) })
		return nested(dst, 2, func(dst []byte) []byte {
			if scopeName != "" {
				dst = nested(dst, 1, func(dst []byte) []byte {
					dst = appendString(dst, 1, scopeName)
					return appendString(dst, 2, scopeVersion)
				})
			}
			for i := range spans {
				if spans[i].Signal == trace.SignalSpan {
					dst = nested(dst, 2, func(dst []byte) []byte { return appendSpan(dst, &spans[i]) })
				}
			}
			return dst
		})
	})
}

func appendSpan(dst []byte, s *trace.Span) []byte {
	dst = appendBytesField(dst, 1, s.TraceID[:])
	dst = appendBytesField(dst, 2, s.SpanID[:])
	dst = appendString(dst, 3, s.TraceState)
	if !s.ParentID.IsZero() {
		dst = appendBytesField(dst, 4, s.ParentID[:])
	}
	dst = appendString(dst, 5, s.Name)
	if s.Kind != trace.KindUnspecified {
		dst = appendVarint(dst, 6, uint64(s.Kind))
	}
	dst = appendFixed64(dst, 7, uint64(max(s.StartUnixNano, 0)))
	dst = appendFixed64(dst, 8, uint64(max(s.EndUnixNano(), 0)))
	for i := range s.Attributes {
		a := &s.Attributes[i]
		number, wire := 0, uint8(wireVarint)
		if a.Value.Type == trace.TypeInt {
			switch a.Key {
			case AttrDroppedAttributes:
				number = 10
			case AttrDroppedEvents:
				number = 12
			case AttrDroppedLinks:
				number = 14
			case AttrFlags:
				number, wire = 16, wireFixed32
			}
		}
		switch {
		case number == 0 || a.Value.Num > 1<<32-1:
			dst = appendAttribute(dst, 9, a)
		case wire == wireFixed32:
			dst = appendFixed32(dst, number, uint32(a.Value.Num))
		default:
			dst = appendVarint(dst, number, a.Value.Num)
		}
	}
	for i := range s.Events {
		e := &s.Events[i]
		dst = nested(dst, 11, func(dst []byte) []byte {
			dst = appendFixed64(dst, 1, uint64(max(e.TimeUnixNano, 0)))
			dst = appendString(dst, 2, e.Name)
			return appendAttributes(dst, 3, e.Attributes)
		})
	}
	for i := range s.Links {
		l := &s.Links[i]
		dst = nested(dst, 13, func(dst []byte) []byte {
			dst = appendBytesField(dst, 1, l.TraceID[:])
			dst = appendBytesField(dst, 2, l.SpanID[:])
			dst = appendString(dst, 3, l.TraceState)
			return appendAttributes(dst, 4, l.Attributes)
		})
	}
	if s.Status != trace.StatusUnset || s.StatusMessage != "" {
		dst = nested(dst, 15, func(dst []byte) []byte {
			dst = appendString(dst, 2, s.StatusMessage)
			if s.Status != trace.StatusUnset {
				dst = appendVarint(dst, 3, uint64(s.Status))
			}
			return dst
		})
	}
	return dst
}

func appendAttributes(dst []byte, number int, list []trace.Attribute) []byte {
	for i := range list {
		dst = appendAttribute(dst, number, &list[i])
	}
	return dst
}

func appendAttribute(dst []byte, number int, a *trace.Attribute) []byte {
	return nested(dst, number, func(dst []byte) []byte {
		dst = appendString(dst, 1, a.Key)
		return nested(dst, 2, func(dst []byte) []byte { return appendValue(dst, a.Value) })
	})
}

// appendValue appends the fields of an AnyValue.
func appendValue(dst []byte, v trace.Value) []byte {
	switch v.Type {
	case trace.TypeString:
		return append(appendTag(dst, 1, len(v.Str)), v.Str...)
	case trace.TypeBool:
		return appendVarint(dst, 2, v.Num)
	case trace.TypeInt:
		return appendVarint(dst, 3, v.Num)
	case trace.TypeFloat:
		return appendFixed64(dst, 4, v.Num)
	case trace.TypeBytes:
		return append(appendTag(dst, 7, len(v.Str)), v.Str...)
	case trace.TypeJSON:
		d := json.NewDecoder(strings.NewReader(v.Str))
		d.UseNumber()
		from := len(dst)
		if out, err := appendTokens(dst, d); err == nil {
			return out
		}
		return append(appendTag(dst[:from], 1, len(v.Str)), v.Str...)
	}
	return dst
}

// appendTokens appends the next JSON value as the fields of an AnyValue and keeps
// the order of a map's keys.
func appendTokens(dst []byte, d *json.Decoder) ([]byte, error) {
	tok, err := d.Token()
	if err != nil {
		return dst, err
	}
	switch t := tok.(type) {
	case string:
		return append(appendTag(dst, 1, len(t)), t...), nil
	case bool:
		return appendValue(dst, trace.Bool(t)), nil
	case json.Number:
		if i, err := t.Int64(); err == nil {
			return appendValue(dst, trace.Int(i)), nil
		}
		f, err := t.Float64()
		return appendValue(dst, trace.Float(f)), err
	case json.Delim:
		number := 5
		if t == '{' {
			number = 6
		}
		dst = nested(dst, number, func(dst []byte) []byte {
			for err == nil && d.More() {
				dst = nested(dst, 1, func(dst []byte) []byte {
					if number == 6 {
						if tok, err = d.Token(); err != nil {
							return dst
						}
						dst = appendString(dst, 1, tok.(string))
						return nested(dst, 2, func(dst []byte) []byte {
							dst, err = appendTokens(dst, d)
							return dst
						})
					}
					dst, err = appendTokens(dst, d)
					return dst
				})
			}
			return dst
		})
		if err == nil {
			_, err = d.Token() // the closing delimiter
		}
		return dst, err
	}
	return dst, nil // null: an AnyValue without a value
}

// nested appends a message field whose content body appends. The length is
// written afterwards: room for one byte is left, and the content moves when the
// length needs more.
func nested(dst []byte, number int, body func([]byte) []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(number)<<3|wireBytes)
	at := len(dst)
	return closeNested(body(append(dst, 0)), at)
}

// closeNested writes the length of the content that began behind dst[at].
func closeNested(dst []byte, at int) []byte {
	n := len(dst) - at - 1
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	var head [10]byte
	l := binary.PutUvarint(head[:], uint64(n))
	dst = append(dst, head[:l-1]...)
	copy(dst[at+l:], dst[at+1:at+1+n])
	copy(dst[at:], head[:l])
	return dst
}

func appendString(dst []byte, number int, s string) []byte {
	if s == "" {
		return dst
	}
	return append(appendTag(dst, number, len(s)), s...)
}

func appendVarint(dst []byte, number int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(number)<<3|wireVarint), v)
}

func appendFixed64(dst []byte, number int, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.AppendUvarint(dst, uint64(number)<<3|wireFixed64), v)
}

func appendFixed32(dst []byte, number int, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(dst, uint64(number)<<3|wireFixed32), v)
}
