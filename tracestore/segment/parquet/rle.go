package parquet

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"redthread/tracestore/column"
)

// The hybrid of run lengths and bit packing (Encodings.md, RLE = 3) holds
// dictionary ids, levels and booleans: runs of a uvarint head, whose lowest bit
// says bit-packed (head>>1 groups of eight values) or repeated (head>>1 times one
// value in whole bytes).

var errHybrid = errors.New("run of ids or levels is damaged")

// hybridRun is one run: n values, packed in bits, or all the same if bits is nil.
type hybridRun struct {
	n     int
	value uint32
	bits  []byte
}

// nextRun reads a run. It has at least one value.
func nextRun(src []byte, width uint) (run hybridRun, rest []byte, err error) {
	head, n := binary.Uvarint(src)
	if n <= 0 || head>>1 == 0 || head>>1 > 1<<31 {
		return run, nil, errHybrid
	}
	src = src[n:]
	count := int(head >> 1)
	if head&1 == 0 {
		size := int(width+7) / 8
		if len(src) < size {
			return run, nil, errHybrid
		}
		v := le64(src[:size])
		if v >= 1<<width {
			return run, nil, errHybrid
		}
		return hybridRun{n: count, value: uint32(v)}, src[size:], nil
	}
	// Some writers cut the padding of the last group.
	size := min(count*int(width), len(src))
	groups := size * 8 / max(1, int(width))
	if groups == 0 {
		return run, nil, errHybrid
	}
	return hybridRun{n: min(8*count, groups), bits: src[:size]}, src[size:], nil
}

// decodeHybrid fills dst with values of width bits, 0 to 32.
func decodeHybrid(dst []uint32, src []byte, width uint) error {
	if width == 0 {
		clear(dst)
		return nil
	}
	for len(dst) > 0 {
		run, rest, err := nextRun(src, width)
		if err != nil {
			return err
		}
		src = rest
		n := min(run.n, len(dst))
		if run.bits != nil {
			unpack32(dst[:n], run.bits, width)
		} else {
			for i := range dst[:n] {
				dst[i] = run.value
			}
		}
		dst = dst[n:]
	}
	return nil
}

// pickHybrid appends to dst the values at some places, which ascend.
func pickHybrid(dst []uint32, places []int32, src []byte, width uint) ([]uint32, error) {
	if width == 0 {
		for range places {
			dst = append(dst, 0)
		}
		return dst, nil
	}
	base := 0
	for len(places) > 0 {
		run, rest, err := nextRun(src, width)
		if err != nil {
			return dst, err
		}
		src = rest
		for len(places) > 0 && int(places[0])-base < run.n {
			v := run.value
			if run.bits != nil {
				bit := uint(int(places[0])-base) * width
				v = uint32(le64(run.bits[bit>>3:]) >> (bit & 7) & (1<<width - 1))
			}
			dst = append(dst, v)
			places = places[1:]
		}
		base += run.n
	}
	return dst, nil
}

// decodeBits reads n values of one bit and sets those of set that are 1, from bit
// at on. It returns how many.
func decodeBits(set column.Bitmap, at, n int, src []byte) (ones int, err error) {
	for n > 0 {
		run, rest, err := nextRun(src, 1)
		if err != nil {
			return 0, err
		}
		src = rest
		k := min(run.n, n)
		switch {
		case run.bits != nil:
			ones += orBits(set, at, k, run.bits)
		case run.value != 0:
			setBits(set, at, k)
			ones += k
		}
		at += k
		n -= k
	}
	return ones, nil
}

// setBits sets n bits from bit at on.
func setBits(set column.Bitmap, at, n int) {
	for n > 0 {
		shift := uint(at) & 63
		k := min(n, 64-int(shift))
		set[at>>6] |= ^uint64(0) >> (64 - uint(k)) << shift
		at += k
		n -= k
	}
}

// orBits sets those of n bits from bit at on that are set in src, and returns how
// many.
func orBits(set column.Bitmap, at, n int, src []byte) (ones int) {
	for i := 0; n > 0; i += 8 {
		x := le64(src[i:])
		k := min(n, 64)
		x &= ^uint64(0) >> (64 - uint(k))
		ones += bits.OnesCount64(x)
		shift := uint(at) & 63
		set[at>>6] |= x << shift
		if int(shift)+k > 64 {
			set[at>>6+1] |= x >> (64 - shift)
		}
		at += k
		n -= k
	}
	return ones
}

// minRun is the shortest repetition of a value that is written as one, minBitRun
// that of a byte of bits: the run and the head of what follows cost up to four
// bytes.
const (
	minRun    = 8
	minBitRun = 4
)

// appendHybrid writes values of width bits.
func appendHybrid(dst []byte, values []uint32, width uint) []byte {
	if width == 0 {
		return binary.AppendUvarint(dst, uint64(len(values))<<1)
	}
	from := 0 // of the values that are not written yet
	flush := func(to int) {
		if to > from {
			dst = binary.AppendUvarint(dst, uint64(to-from+7)/8<<1|1)
			dst = pack32(dst, values[from:to], width)
			dst = append(dst, zeroes[:(uint(to-from+7)/8)*width-(uint(to-from)*width+7)/8]...)
		}
	}
	for i := 0; i+minRun <= len(values); {
		v, n := values[i], 1
		for i+n < len(values) && values[i+n] == v {
			n++
		}
		if n < minRun {
			i += 8 // packed values come in eights
			continue
		}
		flush(i)
		dst = binary.AppendUvarint(dst, uint64(n)<<1)
		for k := uint(0); k < width; k += 8 {
			dst = append(dst, byte(v>>k))
		}
		i += n
		from = i
	}
	flush(len(values))
	return dst
}

// zeroes pads the last group of a packed run.
var zeroes [32]byte

// appendLevels writes n levels of one bit, the first bits of set.
func appendLevels(dst []byte, set []byte, n int) []byte { return appendBits(dst, set, n, true) }

// appendBooleans writes n booleans, the first bits of set. Ones are not written as
// a repetition: parquet-go up to 0.32 at least reads one true and seven false in
// place of every eight.
func appendBooleans(dst []byte, set []byte, n int) []byte { return appendBits(dst, set, n, false) }

func appendBits(dst []byte, set []byte, n int, repeatOnes bool) []byte {
	from := 0 // byte that is not written yet
	flush := func(to int) {
		if to > from {
			dst = binary.AppendUvarint(dst, uint64(to-from)<<1|1)
			dst = append(dst, set[from:to]...)
		}
	}
	whole := n / 8
	for i := 0; i < whole; {
		b := set[i]
		if b != 0 && (b != 0xff || !repeatOnes) {
			i++
			continue
		}
		end := i + 1
		for end < whole && set[end] == b {
			end++
		}
		if end-i < minBitRun && !(i == 0 && end == whole) {
			i = end
			continue
		}
		flush(i)
		run := 8 * (end - i)
		if end == whole && n&7 != 0 && set[whole]|^(1<<(uint(n)&7)-1) == 0xff && b == 0xff ||
			end == whole && n&7 != 0 && set[whole]&(1<<(uint(n)&7)-1) == 0 && b == 0 {
			run = n - 8*i
			end++
		}
		dst = binary.AppendUvarint(dst, uint64(run)<<1)
		dst = append(dst, b&1)
		i, from = end, end
	}
	flush((n + 7) / 8)
	return dst
}
