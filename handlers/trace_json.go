package handlers

import (
	"strconv"
	"unicode/utf8"

	"redthread/tracestore/trace"
)

// tracePage is one page of a trace's spans as the API shows them (DESIGN.md
// §8). It is written by hand: a page has 10,000 spans and a million values.
type tracePage struct {
	id        trace.ID
	spans     []trace.Span
	missing   []trace.SpanID
	circles   []trace.SpanID // spans at which a circle of parents is cut
	truncated bool           // there are more spans behind these
	next      string         // after of the next page, "" at the end
}

func (p *tracePage) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"trace_id":`...), p.id.String())
	b = append(b, `,"spans":[`...)
	for i := range p.spans {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSpanJSON(b, &p.spans[i])
	}
	b = appendIDs(append(b, `],"missing_parents":[`...), p.missing)
	b = appendIDs(append(b, `],"cut_parents":[`...), p.circles)
	b = strconv.AppendBool(append(b, `],"truncated":`...), p.truncated)
	b = appendText(append(b, `,"next":`...), p.next)
	return append(b, '}')
}

func appendIDs(b []byte, ids []trace.SpanID) []byte {
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, id.String())
	}
	return b
}

func appendSpanJSON(b []byte, s *trace.Span) []byte {
	parent := ""
	if !s.ParentID.IsZero() {
		parent = s.ParentID.String()
	}
	b = appendText(append(b, `{"span_id":`...), s.SpanID.String())
	b = appendText(append(b, `,"parent_span_id":`...), parent)
	b = appendText(append(b, `,"name":`...), s.Name)
	b = appendText(append(b, `,"service":`...), s.Service)
	b = appendText(append(b, `,"environment":`...), s.Environment)
	b = appendText(append(b, `,"kind":`...), s.Kind.String())
	b = appendText(append(b, `,"status":{"code":`...), s.Status.String())
	b = appendText(append(b, `,"message":`...), s.StatusMessage)
	b = strconv.AppendBool(append(b, `},"error":`...), s.Error)
	b = appendNano(append(b, `,"start_unix_nano":`...), s.StartUnixNano)
	b = appendNano(append(b, `,"duration_nano":`...), s.DurationNano)
	b = appendAttributesJSON(append(b, `,"attributes":`...), s.Attributes)
	b = append(b, `,"events":[`...)
	for i := range s.Events {
		e := &s.Events[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"name":`...), e.Name)
		b = appendNano(append(b, `,"time_unix_nano":`...), e.TimeUnixNano)
		b = appendAttributesJSON(append(b, `,"attributes":`...), e.Attributes)
		b = append(b, '}')
	}
	b = append(b, `],"links":[`...)
	for i := range s.Links {
		l := &s.Links[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"trace_id":`...), l.TraceID.String())
		b = appendText(append(b, `,"span_id":`...), l.SpanID.String())
		b = appendAttributesJSON(append(b, `,"attributes":`...), l.Attributes)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

func appendAttributesJSON(b []byte, list []trace.Attribute) []byte {
	b = append(b, '{')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, list[i].Key), ':')
		b = appendValueJSON(b, list[i].Value)
	}
	return append(b, '}')
}

func appendValueJSON(b []byte, v trace.Value) []byte {
	if v.Type == trace.TypeString {
		return appendText(b, v.Str)
	}
	text, err := v.MarshalJSON()
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// appendNano writes nanoseconds as the API does: a decimal string, since a
// JavaScript number holds 53 bits.
func appendNano(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, '"'), n, 10), '"')
}

const hexDigits = "0123456789abcdef"

// appendText writes a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(append(b, s[from:i]...), "\uFFFD"...)
			i++
			from = i
			continue
		}
		i += n
	}
	return append(append(b, s[from:]...), '"')
}
