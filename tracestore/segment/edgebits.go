package segment

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"
)

// What blocks of a run of edges are made of, see edges.go. A block is some columns,
// of which the first are stored as they are, since no compression makes ids less,
// and each other one in a zstd frame of its own if that is shorter: columns of small
// numbers have codes of their own so. Elements follow each other; unless said
// otherwise they are uvarints.
//
//	per column: length uvarint, times two, plus one if it is compressed
//	the columns

// col is a column that is written.
type col []byte

func (c *col) uvarint(n uint64) { *c = binary.AppendUvarint(*c, n) }
func (c *col) text(s string) {
	c.uvarint(uint64(len(s)))
	*c = append(*c, s...)
}

// encodeColumns appends a block, the first raw columns of which stay as they are.
func encodeColumns(dst []byte, cols []col, raw int) []byte {
	var data []byte
	for i, c := range cols {
		n := uint64(len(c)) << 1
		if i >= raw && len(c) > 0 {
			from := len(data)
			if data = edgesEncoder.EncodeAll(c, data); len(data)-from < len(c) {
				dst = binary.AppendUvarint(dst, uint64(len(data)-from)<<1|1)
				continue
			}
			data = data[:from]
		}
		dst, data = binary.AppendUvarint(dst, n), append(data, c...)
	}
	return append(dst, data...)
}

// columnBuffers are for unpacked columns, which are read and forgotten.
var columnBuffers = sync.Pool{New: func() any { return new([]byte) }}

// decodeColumns calls fn with the columns of a block, of which there are n. They are
// only valid until it returns, but for those that are stored as they are.
func decodeColumns(block []byte, n int, fn func(cols []colReader) error) error {
	r := colReader{rest: block}
	lengths := make([]uint64, n)
	for i := range lengths {
		lengths[i] = r.uvarint()
	}
	buffer := columnBuffers.Get().(*[]byte)
	defer columnBuffers.Put(buffer)
	out := (*buffer)[:0]
	cols := make([]colReader, n)
	for i, length := range lengths {
		b := r.bytes(int(min(length>>1, math.MaxInt32)))
		if r.bad {
			return errEdges
		}
		if length&1 != 0 {
			from := len(out)
			var err error
			if out, err = edgesDecoder.DecodeAll(b, out); err != nil {
				return err
			}
			if b = out[from:]; len(out) > maxEdgeBlockBytes {
				return errEdges
			}
		}
		cols[i] = colReader{rest: b}
	}
	if cap(out) < 1<<20 {
		*buffer = out
	}
	if len(r.rest) > 0 {
		return errEdges
	}
	if err := fn(cols); err != nil {
		return err
	}
	for i := range cols {
		if cols[i].bad || len(cols[i].rest) > 0 {
			return errEdges
		}
	}
	return nil
}

// colReader reads a column. After something that cannot be, bad is set and the rest
// is zero.
type colReader struct {
	rest []byte
	bad  bool
}

func (r *colReader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *colReader) varint() int64 { return unzigzag(r.uvarint()) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

// count reads a number that may be at most limit.
func (r *colReader) count(limit int) int {
	v := r.uvarint()
	if limit < 0 || v > uint64(limit) {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(v)
}

func (r *colReader) u32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.bad, r.rest = true, nil
		return 0
	}
	return uint32(v)
}

func (r *colReader) bytes(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// all is what is left of the column.
func (r *colReader) all() []byte {
	b := r.rest
	r.rest = nil
	return b
}

// text reads a string of at most limit bytes.
func (r *colReader) text(limit int) string { return string(r.bytes(r.count(min(limit, len(r.rest))))) }

// bitWriter packs numbers of any width.
type bitWriter struct {
	b   []byte
	acc uint64 // what is not in b yet
	n   int    // bits in acc, less than 64
}

// reset empties the writer, whose memory stays.
func (w *bitWriter) reset() { *w = bitWriter{b: w.b[:0]} }

// put appends the lowest width bits of v, at most 64.
func (w *bitWriter) put(v uint64, width int) {
	v &= 1<<width - 1
	w.acc |= v << w.n
	if w.n += width; w.n >= 64 {
		w.b = binary.LittleEndian.AppendUint64(w.b, w.acc)
		w.n -= 64
		w.acc = v >> (width - w.n)
	}
}

// copy appends bits of b from bit at on.
func (w *bitWriter) copy(b []byte, at, n int) {
	for r := (bitReader{b: b, at: at}); n > 0; n -= 56 {
		width := min(n, 56)
		w.put(r.take(width), width)
	}
}

// bytes returns all that was written, the last byte filled with zeros. Nothing may be
// written after that.
func (w *bitWriter) bytes() []byte {
	for ; w.n > 0; w.n -= 8 {
		w.b = append(w.b, byte(w.acc))
		w.acc >>= 8
	}
	return w.b
}

// rice appends v as v>>k zeros, a one, and the lowest k bits: of numbers around
// 2^k this is the shortest.
func (w *bitWriter) rice(v uint64, k int) {
	q := v >> k
	for ; q >= 32; q -= 32 {
		w.put(0, 32)
	}
	w.put(1<<q, int(q)+1)
	w.put(v, k)
}

// riceBits is the k for n numbers whose sum is known.
func riceBits(sum uint64, n int) int {
	if n == 0 {
		return 0
	}
	return max(0, bits.Len64(sum/uint64(n))-1)
}

// bitReader reads what bitWriter wrote; bad as in colReader.
type bitReader struct {
	b   []byte
	at  int // bit
	bad bool
}

// peek returns at least the next 56 bits, as far as they are there.
func (r *bitReader) peek() uint64 {
	i := r.at >> 3
	if i+8 <= len(r.b) {
		return binary.LittleEndian.Uint64(r.b[i:]) >> (r.at & 7)
	}
	var v uint64
	for k := len(r.b) - 1; k >= i; k-- {
		v = v<<8 | uint64(r.b[k])
	}
	return v >> (r.at & 7)
}

func (r *bitReader) take(width int) uint64 {
	if width > 56 {
		v := r.take(32)
		return v | r.take(width-32)<<32
	}
	if r.bad || width > 8*len(r.b)-r.at {
		r.bad = true
		return 0
	}
	v := r.peek() & (1<<width - 1)
	r.at += width
	return v
}

func (r *bitReader) rice(k int) uint64 {
	q := uint64(0)
	for {
		v := r.peek()
		if zeros := bits.TrailingZeros64(v); zeros < 56 {
			q += uint64(zeros)
			r.at += zeros + 1
			break
		}
		if r.at += 56; r.at >= 8*len(r.b) {
			r.bad = true
			return 0
		}
		q += 56
	}
	if r.at > 8*len(r.b) {
		r.bad = true
		return 0
	}
	return q<<k | r.take(k)
}

// whole reports whether all was read, but for the bits that fill the last byte.
func (r *bitReader) whole() bool { return !r.bad && (r.at+7)/8 == len(r.b) }

// steps appends numbers that are in order: the least of them to head, and what each
// is more than the one before to w.
func (w *bitWriter) steps(head *col, n int, at func(i int) uint64) {
	if n == 0 {
		return
	}
	first := at(0)
	k := riceBits(at(n-1)-first, n)
	head.uvarint(first)
	head.uvarint(uint64(k))
	for i, last := 0, first; i < n; i++ {
		v := at(i)
		w.rice(v-last, k)
		last = v
	}
}

// steps reads n numbers that are in order.
func (r *bitReader) steps(head *colReader, n int, set func(i int, v uint64)) {
	if n == 0 {
		return
	}
	v := head.uvarint()
	k := head.count(63)
	for i := range n {
		v += r.rice(k)
		set(i, v)
	}
}
