package memtable

import (
	"math/bits"

	"redthread/tracestore/column"
)

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
// There are two tables of the same size: when the young one is full, it becomes
// the old one, and the old one is emptied. A hash has its place in the window of
// its trace, so that rows of one trace, which come together, meet in the cache of
// the processor; when the window is full, anywhere.
type Recent struct {
	keep       int
	young, old []uint64 // 0 is empty; len is a power of two
	count      int      // in young
}

// recentWindow is the number of slots in a window.
const recentWindow = 32

// NewRecent returns a Recent that remembers keep hashes, in 32 to 64 bytes each.
func NewRecent(keep int) *Recent {
	n := max(2<<bits.Len(uint(keep-1)), recentWindow)
	return &Recent{keep: keep, young: make([]uint64, n), old: make([]uint64, n)}
}

// Add adds h, of a row of the trace with the hash, and reports whether it was new.
func (r *Recent) Add(h uint64, trace uint32) bool {
	if h == 0 {
		h = 1 // an empty slot is 0
	}
	if *recentSlot(r.old, h, trace) == h {
		return false
	}
	slot := recentSlot(r.young, h, trace)
	if *slot == h {
		return false
	}
	*slot = h
	if r.count++; r.count == r.keep {
		r.young, r.old = r.old, r.young
		clear(r.young)
		r.count = 0
	}
	return true
}

// Forget makes every hash new again.
func (r *Recent) Forget() {
	clear(r.young)
	clear(r.old)
	r.count = 0
}

// recentSlot returns the slot of h or the empty one where it belongs.
func recentSlot(slots []uint64, h uint64, trace uint32) *uint64 {
	mask := len(slots) - 1
	at := int(trace) & mask &^ (recentWindow - 1)
	window := (*[recentWindow]uint64)(slots[at:])
	for i := h; i < h+recentWindow; i++ {
		if s := &window[i%recentWindow]; *s == h || *s == 0 {
			return s
		}
	}
	for i := int(h>>8) & mask; ; i = (i + 1) & mask {
		if s := &slots[i]; *s == h || *s == 0 {
			return s
		}
	}
}

// Bytes is the memory the hashes take.
func (r *Recent) Bytes() int64 { return 8 * int64(len(r.young)+len(r.old)) }
