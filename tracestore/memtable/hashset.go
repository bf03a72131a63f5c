package memtable

import "redthread/tracestore/column"

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

// Len is the number of hashes in the set.
func (s *HashSet) Len() int { return s.count }
