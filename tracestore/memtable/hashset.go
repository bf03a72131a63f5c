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

// Clear empties the set and keeps its memory.
func (s *HashSet) Clear() {
	clear(s.slots)
	s.count, s.zero = 0, false
}

// Bytes is the memory the set holds.
func (s *HashSet) Bytes() int64 { return 8 * int64(len(s.slots)) }

// Len is the number of hashes in the set.
func (s *HashSet) Len() int {
	if s.zero {
		return s.count + 1
	}
	return s.count
}

// Recent remembers the last hashes that were added to it, at least as many as it
// was made for and at most twice as many, in 10 to 22 bytes each. One goroutine
// uses it.
type Recent struct {
	keep       int
	young, old HashSet
}

// NewRecent returns a Recent that remembers keep hashes.
func NewRecent(keep int) *Recent { return &Recent{keep: keep} }

// Add adds h and reports whether it was new.
func (r *Recent) Add(h uint64) bool {
	if r.old.Has(h) || !r.young.Add(h) {
		return false
	}
	if r.young.Len() >= r.keep {
		r.young, r.old = r.old, r.young
		r.young.Clear()
	}
	return true
}

// Bytes is the memory the hashes take.
func (r *Recent) Bytes() int64 { return r.young.Bytes() + r.old.Bytes() }
