package memtable

import (
	"encoding/binary"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Fingerprint is the identity of a row's content: the upper half is
// [TraceHash], the lower a hash over everything the sender said. Two rows with
// equal fingerprints are one row that was sent twice. When it arrived does not
// count. The value is stored in segments: the function must not change.
func Fingerprint(s *trace.Span) uint64 {
	h := column.Mix(binary.LittleEndian.Uint64(s.SpanID[:]), binary.LittleEndian.Uint64(s.ParentID[:]))
	h = column.Mix(h, binary.LittleEndian.Uint64(s.TraceID[:8]))
	h = column.Mix(h, binary.LittleEndian.Uint64(s.TraceID[8:]))
	h = column.Mix(h, uint64(s.StartUnixNano))
	h = column.Mix(h, uint64(s.DurationNano))
	bits := uint64(s.Signal)<<24 | uint64(s.Kind)<<16 | uint64(s.Status)<<8
	if s.Error {
		bits |= 1
	}
	h = column.Mix(h, bits)
	h = column.HashString(h, s.Name)
	h = column.HashString(h, s.Service)
	h = column.HashString(h, s.Environment)
	h = column.HashString(h, s.StatusMessage)
	h = column.HashString(h, s.TraceState)
	h = hashAttributes(h, s.Attributes)
	for i := range s.Events {
		e := &s.Events[i]
		h = column.Mix(h, uint64(e.TimeUnixNano))
		h = hashAttributes(column.HashString(h, e.Name), e.Attributes)
	}
	h = column.Mix(h, uint64(len(s.Events)))
	for i := range s.Links {
		l := &s.Links[i]
		h = column.Mix(h, binary.LittleEndian.Uint64(l.TraceID[:8]))
		h = column.Mix(h, binary.LittleEndian.Uint64(l.TraceID[8:]))
		h = column.Mix(h, binary.LittleEndian.Uint64(l.SpanID[:]))
		h = hashAttributes(column.HashString(h, l.TraceState), l.Attributes)
	}
	return uint64(TraceHash(s.TraceID))<<32 | h&0xffffffff
}

func hashAttributes(h uint64, attrs []trace.Attribute) uint64 {
	for i := range attrs {
		a := &attrs[i]
		h = column.HashString(h, a.Key)
		h = column.HashString(h, a.Value.Str)
		h = column.Mix(h, a.Value.Num^uint64(a.Value.Type)<<56)
	}
	return column.Mix(h, uint64(len(attrs)))
}

// TraceHash is the hash under which segments index a trace.
func TraceHash(id trace.ID) uint32 {
	return uint32(column.Mix(binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])) >> 32)
}

// HashSet is a set of 64-bit hashes without pointers. One goroutine uses it. The
// zero value is empty.
type HashSet struct {
	slots []uint64 // 0 is empty
	count int
	zero  bool // whether 0 itself is in the set
}

// Add adds h and reports whether it was new.
func (s *HashSet) Add(h uint64) bool {
	if h == 0 {
		was := s.zero
		s.zero = true
		return !was
	}
	if s.count*4 >= len(s.slots)*3 {
		old := s.slots
		s.slots = make([]uint64, max(2*len(old), 1024))
		for _, x := range old {
			if x != 0 {
				s.slots[s.find(x)] = x
			}
		}
	}
	i := s.find(h)
	if s.slots[i] == h {
		return false
	}
	s.slots[i] = h
	s.count++
	return true
}

// Has reports whether h is in the set.
func (s *HashSet) Has(h uint64) bool {
	if h == 0 {
		return s.zero
	}
	return len(s.slots) > 0 && s.slots[s.find(h)] == h
}

// find returns the slot of h or the empty one where it belongs.
func (s *HashSet) find(h uint64) int {
	mask := uint64(len(s.slots) - 1)
	for i := column.Mix(h, 0) & mask; ; i = (i + 1) & mask {
		if s.slots[i] == h || s.slots[i] == 0 {
			return int(i)
		}
	}
}

// Bytes is the memory the set holds.
func (s *HashSet) Bytes() int64 { return 8 * int64(len(s.slots)) }
