package column

import (
	"encoding/binary"

	"redthread/tracestore/trace"
)

// RowHash is the identity of a row's content: two rows with equal hashes are one
// row that was sent twice. Everything the sender said counts, but for the order
// of attributes; when it arrived does not. Segments keep it as a row's
// fingerprint: the function must not change.
func RowHash(s *trace.Span) uint64 {
	return rowHash(s, HashString(0, s.Service), HashString(0, s.Environment), sumAttributes(s.Attributes))
}

// rowHash joins what a row says with the hashes of its service and environment
// and the sum over its attributes.
func rowHash(s *trace.Span, service, environment, attributes uint64) uint64 {
	h := Mix(binary.LittleEndian.Uint64(s.SpanID[:]), binary.LittleEndian.Uint64(s.ParentID[:]))
	h = Mix(h, binary.LittleEndian.Uint64(s.TraceID[:8]))
	h = Mix(h, binary.LittleEndian.Uint64(s.TraceID[8:]))
	h = Mix(h, uint64(s.StartUnixNano))
	h = Mix(h, uint64(s.DurationNano))
	bits := uint64(s.Signal)<<24 | uint64(s.Kind)<<16 | uint64(s.Status)<<8
	if s.Error {
		bits |= 1
	}
	h = Mix(h, bits)
	h = HashString(h, s.Name)
	h = Mix(h, service)
	h = Mix(h, environment)
	h = HashString(h, s.StatusMessage)
	h = HashString(h, s.TraceState)
	h = Mix(h, attributes)
	for i := range s.Events {
		e := &s.Events[i]
		h = Mix(h, uint64(e.TimeUnixNano))
		h = Mix(HashString(h, e.Name), sumAttributes(e.Attributes))
	}
	h = Mix(h, uint64(len(s.Events)))
	for i := range s.Links {
		l := &s.Links[i]
		h = Mix(h, binary.LittleEndian.Uint64(l.TraceID[:8]))
		h = Mix(h, binary.LittleEndian.Uint64(l.TraceID[8:]))
		h = Mix(h, binary.LittleEndian.Uint64(l.SpanID[:]))
		h = Mix(HashString(h, l.TraceState), sumAttributes(l.Attributes))
	}
	return h
}

// sumAttributes adds up the hashes of attributes, so that those which many rows
// share are hashed once.
func sumAttributes(attrs []trace.Attribute) uint64 {
	var sum uint64
	for i := range attrs {
		a := &attrs[i]
		sum += attributeHash(HashString(0, a.Key), a.Value.Type, ValueHash(a.Value))
	}
	return sum
}

// attributeHash is the share of an attribute in the sum; one without a value,
// which no column keeps, has none.
func attributeHash(key uint64, t trace.Type, value uint64) uint64 {
	if t == trace.TypeNone {
		return 0
	}
	return Mix(key+uint64(t), value)
}

// TraceHash is the hash under which segments index a trace.
func TraceHash(id trace.ID) uint32 {
	return uint32(Mix(binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])) >> 32)
}
