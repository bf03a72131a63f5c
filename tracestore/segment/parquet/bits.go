package parquet

import "encoding/binary"

// Bit-packed values lie least significant bit first, value after value, as
// Encodings.md of parquet-format says of the RLE hybrid and of delta miniblocks.

// le64 reads up to eight bytes, those past the end as zero.
func le64(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b)
	}
	var x uint64
	for i, c := range b {
		x |= uint64(c) << (8 * uint(i))
	}
	return x
}

// unpack32 reads len(dst) values of width bits from src, which holds them all.
// width is 1 to 32. Whole groups of eight take a kernel for their width's class:
// as few loads as hold eight values.
func unpack32(dst []uint32, src []byte, width uint) {
	mask := uint64(1)<<width - 1
	n := len(dst) &^ 7
	// The kernels load eight bytes at a time: the last groups, whose loads would
	// pass the end, go one by one.
	for n > 0 && (n/8-1)*int(width)+int(width)+8 > len(src) {
		n -= 8
	}
	at := 0
	switch {
	case width == 8:
		for i := range dst[:n] {
			dst[i] = uint32(src[i])
		}
	case width == 16:
		for i := range dst[:n] {
			dst[i] = uint32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case width < 8:
		w := width
		for i := 0; i < n; i += 8 {
			x := binary.LittleEndian.Uint64(src[at:])
			d := dst[i : i+8 : i+8]
			d[0] = uint32(x & mask)
			d[1] = uint32(x >> (w & 63) & mask)
			d[2] = uint32(x >> (2 * w & 63) & mask)
			d[3] = uint32(x >> (3 * w & 63) & mask)
			d[4] = uint32(x >> (4 * w & 63) & mask)
			d[5] = uint32(x >> (5 * w & 63) & mask)
			d[6] = uint32(x >> (6 * w & 63) & mask)
			d[7] = uint32(x >> (7 * w & 63) & mask)
			at += int(width)
		}
	case width < 16:
		// Four values take 4*width bits, at most 60, and begin at bit 0 or 4.
		w, half, shift := width, int(width/2), 4*width&7
		for i := 0; i < n; i += 8 {
			x := binary.LittleEndian.Uint64(src[at:])
			y := binary.LittleEndian.Uint64(src[at+half:]) >> (shift & 63)
			d := dst[i : i+8 : i+8]
			d[0] = uint32(x & mask)
			d[1] = uint32(x >> (w & 63) & mask)
			d[2] = uint32(x >> (2 * w & 63) & mask)
			d[3] = uint32(x >> (3 * w & 63) & mask)
			d[4] = uint32(y & mask)
			d[5] = uint32(y >> (w & 63) & mask)
			d[6] = uint32(y >> (2 * w & 63) & mask)
			d[7] = uint32(y >> (3 * w & 63) & mask)
			at += int(width)
		}
	default:
		for i := 0; i < n; i += 8 {
			d := dst[i : i+8 : i+8]
			bit := uint(0)
			for k := range d {
				d[k] = uint32(binary.LittleEndian.Uint64(src[at+int(bit>>3):]) >> (bit & 7) & mask)
				bit += width
			}
			at += int(width)
		}
	}
	for i := n; i < len(dst); i++ {
		bit := uint(i) * width
		dst[i] = uint32(le64(src[bit>>3:]) >> (bit & 7) & mask)
	}
}

// unpack64 reads len(dst) values of up to 64 bits from src.
func unpack64(dst []uint64, src []byte, width uint) {
	if width == 0 {
		clear(dst)
		return
	}
	mask := ^uint64(0) >> (64 - width)
	for i := range dst {
		bit := uint(i) * width
		at, shift := bit>>3, bit&7
		x := le64(src[at:]) >> shift
		if shift+width > 64 {
			x |= uint64(src[at+8]) << (64 - shift)
		}
		dst[i] = x & mask
	}
}

// pack32 appends values of width bits, then zero bits to a whole byte.
func pack32(dst []byte, values []uint32, width uint) []byte {
	var x uint64
	var n uint
	for _, v := range values {
		x |= uint64(v) << n
		if n += width; n >= 32 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
			x >>= 32
			n -= 32
		}
	}
	for ; n > 0; n -= min(n, 8) {
		dst = append(dst, byte(x))
		x >>= 8
	}
	return dst
}

// pack64 is pack32 for up to 64 bits.
func pack64(dst []byte, values []uint64, width uint) []byte {
	var x uint64
	var n uint
	for _, v := range values {
		x |= v << n
		if n+width >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, x)
			x = 0
			if n > 0 {
				x = v >> (64 - n)
			}
			n += width - 64
		} else {
			n += width
		}
	}
	for ; n > 0; n -= min(n, 8) {
		dst = append(dst, byte(x))
		x >>= 8
	}
	return dst
}
