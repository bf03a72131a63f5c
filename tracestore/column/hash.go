package column

import (
	"encoding/binary"
	"math/bits"
)

// The odd constants of wyhash (Wang Yi, public domain); any would do.
const (
	mixA = 0xa0761d6478bd642f
	mixB = 0xe7037ed1a0b428db
)

// Mix folds v into a running hash.
func Mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^mixA, v^mixB)
	return hi ^ lo
}

// HashString hashes s into a running hash, its length too, so that a list of
// strings hashes differently from their concatenation. The result is the same on
// every machine and in every version: it is stored.
func HashString(h uint64, s string) uint64 {
	h = Mix(h, uint64(len(s)))
	for len(s) >= 8 {
		h = Mix(h, le64(s))
		s = s[8:]
	}
	if len(s) > 0 {
		var tail [8]byte
		copy(tail[:], s)
		h = Mix(h, binary.LittleEndian.Uint64(tail[:]))
	}
	return h
}

func le64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
