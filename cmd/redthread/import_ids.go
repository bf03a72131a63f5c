package main

import (
	"crypto/sha256"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// shortIDs reports whether a trace id of the file has fewer than 8 hex digits.
func shortIDs(spans []trace.Span) bool {
	for i := range spans {
		if v, ok := spans[i].Attribute(otlp.AttrOriginalTraceID); ok {
			if len(v.Str) < 8 {
				return true
			}
			continue
		}
		id := spans[i].TraceID
		var n uint64
		for _, b := range id[8:] {
			n = n<<8 | uint64(b)
		}
		if [8]byte(id[:8]) == [8]byte{} && n < shortID {
			return true
		}
	}
	return false
}

// renameIDs gives every trace and span a new id made of the old one and the
// salt: the same file always gives the same ids. The old ones stay findable.
func renameIDs(spans []trace.Span, salt [sha256.Size]byte) {
	salted := func(kind byte, id []byte) []byte {
		sum := sha256.Sum256(append(append([]byte{kind}, salt[:]...), id...))
		return sum[:]
	}
	traceID := func(id trace.ID) trace.ID {
		if id.IsZero() {
			return id
		}
		return trace.ID(salted('t', id[:])[:16])
	}
	spanID := func(in trace.ID, id trace.SpanID) trace.SpanID {
		if id.IsZero() {
			return id
		}
		return trace.SpanID(salted('s', append(in[:], id[:]...))[:8])
	}
	for i := range spans {
		s := &spans[i]
		if _, ok := s.Attribute(otlp.AttrOriginalTraceID); !ok {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: otlp.AttrOriginalTraceID, Value: trace.String(s.TraceID.String())})
		}
		if _, ok := s.Attribute(otlp.AttrOriginalSpanID); !ok {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: otlp.AttrOriginalSpanID, Value: trace.String(s.SpanID.String())})
		}
		for j := range s.Links {
			l := &s.Links[j]
			l.SpanID = spanID(l.TraceID, l.SpanID)
			l.TraceID = traceID(l.TraceID)
		}
		s.SpanID, s.ParentID = spanID(s.TraceID, s.SpanID), spanID(s.TraceID, s.ParentID)
		s.TraceID = traceID(s.TraceID)
	}
}
