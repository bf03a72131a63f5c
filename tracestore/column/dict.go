package column

import (
	"errors"
	"math/bits"
)

// ErrDictFull is returned when a dictionary's arena would pass 4 GiB, the reach
// of its 32-bit offsets.
var ErrDictFull = errors.New("column: dictionary is full")

// maxArenaBytes bounds an arena: offsets are uint32.
const maxArenaBytes = 1<<32 - 1

// DictBuilder makes a [Dict] value by value. Ids are given in order of first
// appearance. It holds no pointers beyond three slices, so the garbage collector
// has nothing to scan in it. One goroutine adds; a Dict taken between adds stays
// valid and unchanged while more is added. The zero value is ready for use.
type DictBuilder struct {
	dict Dict
	// table finds ids by hash, with open addressing. A slot of 0 is empty; else
	// its lower bits, as many as index the table, are id+1 and the rest is a part
	// of the value's hash, so that other values are rarely looked at.
	table []uint32 // len is a power of two
	last  struct { // the last value asked for
		hash     uint64
		id       uint32
		from, to uint32 // in the arena
		ok       bool
	}
}

// ID returns the id of s, adding it if it is new. s is copied.
func (b *DictBuilder) ID(s string) (uint32, error) { return b.HashedID(s, HashString(0, s)) }

// BytesID is ID for bytes, which are copied.
func (b *DictBuilder) BytesID(s []byte) (uint32, error) { return b.ID(aliasString(s)) }

// HashedID is ID for who has HashString(0, s) already.
func (b *DictBuilder) HashedID(s string, hash uint64) (uint32, error) {
	last := &b.last
	if last.ok && last.hash == hash && string(b.dict.Arena[last.from:last.to]) == s {
		return last.id, nil
	}
	if len(b.dict.Ends)*4 >= len(b.table)*3 {
		b.grow(len(b.dict.Ends) + 1)
	}
	mask := uint32(len(b.table) - 1)
	mark := slotMark(hash, mask)
	for i := uint32(hash) & mask; ; i = (i + 1) & mask {
		slot := b.table[i]
		if slot == 0 {
			from := len(b.dict.Arena)
			if from+len(s) > maxArenaBytes {
				return 0, ErrDictFull
			}
			id := uint32(len(b.dict.Ends))
			b.dict.Arena = append(b.dict.Arena, s...)
			b.dict.Ends = append(b.dict.Ends, uint32(from+len(s)))
			b.table[i] = mark | (id + 1)
			last.hash, last.id, last.from, last.to, last.ok = hash, id, uint32(from), uint32(from+len(s)), true
			return id, nil
		}
		if slot&^mask == mark {
			id := slot&mask - 1
			from, to := b.dict.span(id)
			if string(b.dict.Arena[from:to]) == s {
				last.hash, last.id, last.from, last.to, last.ok = hash, id, from, to, true
				return id, nil
			}
		}
	}
}

// slotMark is the part of a hash that a slot keeps: upper bits, since the lower
// ones say where the slot is.
func slotMark(hash uint64, mask uint32) uint32 { return uint32(hash>>32) &^ mask }

// Reserve makes room for values that come to so many bytes, so that adding them
// moves nothing.
func (b *DictBuilder) Reserve(values, bytes int) {
	if values > cap(b.dict.Ends) {
		b.dict.Ends = append(make([]uint32, 0, values), b.dict.Ends...)
	}
	if bytes > cap(b.dict.Arena) {
		b.dict.Arena = append(make([]byte, 0, bytes), b.dict.Arena...)
	}
	if values*4 >= len(b.table)*3 {
		b.grow(values)
	}
}

// grow makes the table large enough for so many values: at most three quarters
// are ever full.
func (b *DictBuilder) grow(values int) {
	n := max(1<<bits.Len(uint(values*4/3)), 16)
	table := make([]uint32, n)
	mask := uint32(n - 1)
	for id := range b.dict.Ends {
		hash := HashString(0, b.dict.At(uint32(id)))
		i := uint32(hash) & mask
		for table[i] != 0 {
			i = (i + 1) & mask
		}
		table[i] = slotMark(hash, mask) | uint32(id) + 1
	}
	b.table = table
}

// Len is the number of values.
func (b *DictBuilder) Len() int { return len(b.dict.Ends) }

// ArenaLen is the length of all values together.
func (b *DictBuilder) ArenaLen() int { return len(b.dict.Arena) }

// Dict returns the dictionary so far.
func (b *DictBuilder) Dict() Dict { return b.dict }

// Bytes is the memory the builder holds.
func (b *DictBuilder) Bytes() int64 {
	return int64(cap(b.dict.Arena)) + 4*int64(cap(b.dict.Ends)) + 4*int64(len(b.table))
}
