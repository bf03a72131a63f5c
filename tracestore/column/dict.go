package column

import "errors"

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
	dict   Dict
	table  []uint32 // open addressing: id+1, 0 is empty; len is a power of two
	last   uint32   // id of the last value added
	filled bool     // whether last is valid
}

// ID returns the id of s, adding it if it is new. s is copied.
func (b *DictBuilder) ID(s string) (uint32, error) {
	if b.filled && b.dict.At(b.last) == s {
		return b.last, nil
	}
	if len(b.dict.Ends)*4 >= len(b.table)*3 {
		b.grow()
	}
	mask := uint64(len(b.table) - 1)
	for i := HashString(0, s) & mask; ; i = (i + 1) & mask {
		slot := b.table[i]
		if slot == 0 {
			if len(b.dict.Arena)+len(s) > maxArenaBytes {
				return 0, ErrDictFull
			}
			id := uint32(len(b.dict.Ends))
			b.dict.Arena = append(b.dict.Arena, s...)
			b.dict.Ends = append(b.dict.Ends, uint32(len(b.dict.Arena)))
			b.table[i] = id + 1
			b.last, b.filled = id, true
			return id, nil
		}
		if b.dict.At(slot-1) == s {
			b.last, b.filled = slot-1, true
			return slot - 1, nil
		}
	}
}

func (b *DictBuilder) grow() {
	n := max(len(b.table)*2, 16)
	table := make([]uint32, n)
	mask := uint64(n - 1)
	for id := range b.dict.Ends {
		i := HashString(0, b.dict.At(uint32(id))) & mask
		for table[i] != 0 {
			i = (i + 1) & mask
		}
		table[i] = uint32(id) + 1
	}
	b.table = table
}

// Dict returns the dictionary so far.
func (b *DictBuilder) Dict() Dict { return b.dict }

// Bytes is the memory the builder holds.
func (b *DictBuilder) Bytes() int64 {
	return int64(cap(b.dict.Arena)) + 4*int64(cap(b.dict.Ends)) + 4*int64(len(b.table))
}
