package parquet

import (
	"encoding/binary"
	"math/bits"
)

// numberSet numbers distinct 64-bit values in the order that they appear in.
type numberSet struct {
	values []uint64
	table  [4 * maxDictionaryNumbers]uint16 // open addressing: id + 1, 0 is empty
	used   []uint16                         // slots, to be emptied
}

func (s *numberSet) reset() {
	for _, slot := range s.used {
		s.table[slot] = 0
	}
	s.used, s.values = s.used[:0], s.values[:0]
}

// id returns the number of x, false if it would be the most-th.
func (s *numberSet) id(x uint64, most int) (uint32, bool) {
	hi, lo := bits.Mul64(x^0x9e3779b97f4a7c15, 0xa0761d6478bd642f)
	for i := (hi ^ lo) % uint64(len(s.table)); ; i = (i + 1) % uint64(len(s.table)) {
		slot := s.table[i]
		if slot == 0 {
			if len(s.values) >= most {
				return 0, false
			}
			s.values = append(s.values, x)
			s.table[i] = uint16(len(s.values))
			s.used = append(s.used, uint16(i))
			return uint32(len(s.values) - 1), true
		}
		if s.values[slot-1] == x {
			return uint32(slot - 1), true
		}
	}
}

// append writes the values in PLAIN.
func (s *numberSet) append(dst []byte) []byte {
	for _, x := range s.values {
		dst = binary.LittleEndian.AppendUint64(dst, x)
	}
	return dst
}
