package parquet

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// DELTA_BINARY_PACKED (Encodings.md, 5): block size, miniblocks in a block, number
// of values and the first value; then for each block the least difference, a
// width for each miniblock, and the differences less the least one, packed.

const (
	deltaBlock      = 128
	deltaMiniblocks = 4
	deltaMiniblock  = deltaBlock / deltaMiniblocks
	// maxDeltaBlock bounds the blocks of files that others wrote.
	maxDeltaBlock = 1 << 16
)

var errDelta = errors.New("differences are damaged")

// appendDelta writes values.
func appendDelta(dst []byte, values []int64) []byte {
	dst = binary.AppendUvarint(dst, deltaBlock)
	dst = binary.AppendUvarint(dst, deltaMiniblocks)
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	if len(values) == 0 {
		return binary.AppendVarint(dst, 0)
	}
	dst = binary.AppendVarint(dst, values[0])
	last := values[0]
	var deltas [deltaBlock]uint64
	for rest := values[1:]; len(rest) > 0; {
		n := min(deltaBlock, len(rest))
		least := int64(0)
		for i, v := range rest[:n] {
			d := v - last // wraps, and wraps back when it is added
			if i == 0 || d < least {
				least = d
			}
			deltas[i] = uint64(d)
			last = v
		}
		rest = rest[n:]
		for i := range deltas[:n] {
			deltas[i] -= uint64(least)
		}
		clear(deltas[n:])
		dst = binary.AppendVarint(dst, least)
		widths := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		for m := 0; m*deltaMiniblock < n; m++ {
			mini := deltas[m*deltaMiniblock : (m+1)*deltaMiniblock]
			var all uint64
			for _, d := range mini {
				all |= d
			}
			width := uint(bits.Len64(all))
			dst[widths+m] = byte(width)
			dst = pack64(dst, mini, width)
		}
	}
	return dst
}

// deltaCount is the number of values written, at most limit.
func deltaCount(src []byte, limit int) (int, error) {
	var head [3]uint64
	for i := range head {
		x, n := binary.Uvarint(src)
		if n <= 0 {
			return 0, errDelta
		}
		head[i], src = x, src[n:]
	}
	if head[2] > uint64(limit) {
		return 0, errDelta
	}
	return int(head[2]), nil
}

// decodeDelta fills dst.
func decodeDelta(dst []int64, src []byte) error {
	ok := true
	uvarint := func() uint64 {
		x, n := binary.Uvarint(src)
		if n <= 0 {
			ok = false
			return 0
		}
		src = src[n:]
		return x
	}
	varint := func() int64 {
		x := uvarint()
		return int64(x>>1) ^ -int64(x&1)
	}
	block, miniblocks, count, value := uvarint(), uvarint(), uvarint(), varint()
	if !ok || count != uint64(len(dst)) || block == 0 || block > maxDeltaBlock || miniblocks == 0 || block%miniblocks != 0 || block/miniblocks%32 != 0 {
		return errDelta
	}
	if len(dst) == 0 {
		return nil
	}
	dst[0], dst = value, dst[1:]
	mini := int(block / miniblocks)
	var buf [deltaMiniblock]uint64
	for len(dst) > 0 {
		least := varint()
		if !ok || uint64(len(src)) < miniblocks {
			return errDelta
		}
		widths := src[:miniblocks]
		src = src[miniblocks:]
		for _, w := range widths {
			if len(dst) == 0 {
				break
			}
			width := uint(w)
			size := mini / 8 * int(width)
			if width > 64 || len(src) < size {
				return errDelta
			}
			packed := src[:size]
			src = src[size:]
			for left := min(mini, len(dst)); left > 0; {
				n := min(left, len(buf))
				unpack64(buf[:n], packed, width)
				for i, d := range buf[:n] {
					value += int64(d) + least
					dst[i] = value
				}
				dst = dst[n:]
				left -= n
				packed = packed[min(len(packed), len(buf)/8*int(width)):]
			}
		}
	}
	return nil
}
