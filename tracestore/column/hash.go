package column

import (
	"math"
	"math/bits"

	"redthread/tracestore/trace"
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
	h, _ = hashText(h, s)
	return h
}

// HashText is HashString(0, s). ascii is true when every byte of s is below 0x80:
// then s is surely UTF-8.
func HashText(s string) (h uint64, ascii bool) { return hashText(0, s) }

const highBits = 0x8080808080808080

// hashText takes 16 bytes a step, as wyhash does; the last step overlaps the one
// before it, so that no byte is read alone.
func hashText(h uint64, s string) (uint64, bool) {
	var a, b, seen uint64
	n := len(s)
	switch {
	case n > 16:
		t := s
		for len(t) > 16 {
			a, b = le64(t), le64(t[8:])
			seen |= a | b
			hi, lo := bits.Mul64(a^mixA, b^h^mixB)
			h = hi ^ lo
			t = t[16:]
		}
		a, b = le64(s[n-16:]), le64(s[n-8:])
	case n >= 8:
		a, b = le64(s), le64(s[n-8:])
	case n >= 4:
		a, b = le32(s), le32(s[n-4:])
	case n > 0:
		a = uint64(s[0]) | uint64(s[n>>1])<<8 | uint64(s[n-1])<<16
	}
	seen |= a | b
	hi, lo := bits.Mul64(a^mixA, b^h^mixB)
	return Mix(hi^lo, uint64(n)), seen&highBits == 0
}

func le64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func le32(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// IsText reports whether values of the type are byte strings, kept in a
// dictionary.
func IsText(t trace.Type) bool {
	return t == trace.TypeString || t == trace.TypeJSON || t == trace.TypeBytes
}

// ValueHash is the hash of a value that [Row] carries: of the bytes of a text, and
// of a number the number itself. Floats of one text are one number: segments keep
// rare ones as texts, where -0 is 0 and every NaN the same.
func ValueHash(v trace.Value) uint64 {
	if IsText(v.Type) {
		return HashString(0, v.Str)
	}
	if v.Type == trace.TypeFloat {
		switch f := v.Float(); {
		case f == 0:
			return 0
		case f != f:
			return math.Float64bits(math.NaN())
		}
	}
	return v.Num
}
