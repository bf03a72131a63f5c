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
func (s *HashSet) Len() int {
	if s.zero {
		return s.count + 1
	}
	return s.count
}

// Recent remembers the last hashes that were added to it, at least as many as it
// was made for and at most twice as many. One goroutine uses it.
//
// It is one table with open addressing, so that a hash costs one miss of the
// cache. The lowest bit of a slot is not the hash's: it says of which of two
// generations the hash is. When the young one is full, the table is made anew
// without the old one.
type Recent struct {
	keep       int
	slots      []uint64 // 0 is empty; len is a power of two
	count      int
	young      int    // hashes of the young generation
	generation uint64 // the young one: 0 or 1
}

// NewRecent returns a Recent that remembers keep hashes, in 10 to 22 bytes each.
func NewRecent(keep int) *Recent { return &Recent{keep: keep} }

// Add adds h and reports whether it was new.
func (r *Recent) Add(h uint64) bool {
	h &^= 1
	if h == 0 {
		h = 2 // an empty slot is 0
	}
	if r.young >= r.keep {
		r.rebuild(len(r.slots), false)
		r.generation ^= 1
		r.young = 0
	}
	if r.count*4 >= len(r.slots)*3 {
		r.rebuild(max(2*len(r.slots), 1024), true)
	}
	i := r.find(h)
	if r.slots[i] != 0 {
		return false
	}
	r.slots[i] = h | r.generation
	r.count++
	r.young++
	return true
}

// find returns the slot of h, whose lowest bit is 0, or the empty one where it
// belongs.
func (r *Recent) find(h uint64) int {
	mask := uint64(len(r.slots) - 1)
	for i := (h >> 1) & mask; ; i = (i + 1) & mask {
		if s := r.slots[i]; s&^1 == h || s == 0 {
			return int(i)
		}
	}
}

// rebuild moves the hashes to a table of n slots, with the old generation or
// without.
func (r *Recent) rebuild(n int, old bool) {
	was := r.slots
	r.slots, r.count = make([]uint64, n), 0
	for _, s := range was {
		if s != 0 && (old || s&1 == r.generation) {
			r.slots[r.find(s&^1)] = s
			r.count++
		}
	}
}

// Bytes is the memory the hashes take.
func (r *Recent) Bytes() int64 { return 8 * int64(len(r.slots)) }
