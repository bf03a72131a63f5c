package column

import (
	"encoding/binary"

	"redthread/tracestore/trace"
)

// Fingerprint is the identity of a row's content: the upper half is
// [TraceHash], the lower a hash over everything the sender said. Two rows with
// equal fingerprints are one row that was sent twice. When it arrived does not
// count. The value is stored in segments: the function must not change.
func Fingerprint(s *trace.Span) uint64 {
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
	h = HashString(h, s.Service)
	h = HashString(h, s.Environment)
	h = HashString(h, s.StatusMessage)
	h = HashString(h, s.TraceState)
	h = hashAttributes(h, s.Attributes)
	for i := range s.Events {
		e := &s.Events[i]
		h = Mix(h, uint64(e.TimeUnixNano))
		h = hashAttributes(HashString(h, e.Name), e.Attributes)
	}
	h = Mix(h, uint64(len(s.Events)))
	for i := range s.Links {
		l := &s.Links[i]
		h = Mix(h, binary.LittleEndian.Uint64(l.TraceID[:8]))
		h = Mix(h, binary.LittleEndian.Uint64(l.TraceID[8:]))
		h = Mix(h, binary.LittleEndian.Uint64(l.SpanID[:]))
		h = hashAttributes(HashString(h, l.TraceState), l.Attributes)
	}
	return uint64(TraceHash(s.TraceID))<<32 | h&0xffffffff
}

func hashAttributes(h uint64, attrs []trace.Attribute) uint64 {
	for i := range attrs {
		a := &attrs[i]
		h = HashString(h, a.Key)
		h = HashString(h, a.Value.Str)
		h = Mix(h, a.Value.Num^uint64(a.Value.Type)<<56)
	}
	return Mix(h, uint64(len(attrs)))
}

// TraceHash is the hash under which segments index a trace.
func TraceHash(id trace.ID) uint32 {
	return uint32(Mix(binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])) >> 32)
}
