package parquet

import "encoding/binary"

// The types of the Thrift compact protocol
// (github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// maxThriftDepth bounds how deep a structure that is skipped may nest.
const maxThriftDepth = 16

// thriftWriter appends a structure in the compact protocol.
type thriftWriter struct {
	b    []byte
	last int // id of the open structure's last field
}

func (w *thriftWriter) field(id, typ int) {
	if d := id - w.last; d > 0 && d < 16 {
		w.b = append(w.b, byte(d<<4|typ))
	} else {
		w.b = append(w.b, byte(typ))
		w.b = binary.AppendVarint(w.b, int64(id))
	}
	w.last = id
}

func (w *thriftWriter) varint(x int64) { w.b = binary.AppendVarint(w.b, x) }

func (w *thriftWriter) i32(id int, x int64) { w.field(id, thriftI32); w.varint(x) }

func (w *thriftWriter) i64(id int, x int64) { w.field(id, thriftI64); w.varint(x) }

func (w *thriftWriter) bool(id int, x bool) {
	if x {
		w.field(id, thriftTrue)
	} else {
		w.field(id, thriftFalse)
	}
}

func (w *thriftWriter) text(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *thriftWriter) string(id int, s string) { w.field(id, thriftBinary); w.text(s) }

func (w *thriftWriter) list(id, typ, n int) {
	w.field(id, thriftList)
	if n < 15 {
		w.b = append(w.b, byte(n<<4|typ))
		return
	}
	w.b = append(w.b, byte(0xf0|typ))
	w.b = binary.AppendUvarint(w.b, uint64(n))
}

// begin opens a structure, an element of a list if id is 0, and returns what end
// needs to close it.
func (w *thriftWriter) begin(id int) (outer int) {
	if id > 0 {
		w.field(id, thriftStruct)
	}
	outer, w.last = w.last, 0
	return outer
}

func (w *thriftWriter) end(outer int) {
	w.b = append(w.b, thriftStop)
	w.last = outer
}

// empty writes a structure without fields.
func (w *thriftWriter) empty(id int) { w.end(w.begin(id)) }

// thriftReader reads what thriftWriter writes. After the first fault it is bad
// and gives zeros.
type thriftReader struct {
	b   []byte
	at  int
	bad bool
}

func (r *thriftReader) fail() { r.bad, r.at = true, len(r.b) }

func (r *thriftReader) byte() byte {
	if r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *thriftReader) uvarint() uint64 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 {
		r.at++
		return uint64(r.b[r.at-1])
	}
	x, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.at += n
	return x
}

func (r *thriftReader) varint() int64 {
	x := r.uvarint()
	return int64(x>>1) ^ -int64(x&1)
}

// field moves to the next field of the open structure; last is the id of the one
// before. typ is thriftStop at its end.
func (r *thriftReader) field(last int) (id, typ int) {
	b := r.byte()
	typ = int(b & 15)
	if r.bad || typ == thriftStop {
		return 0, thriftStop
	}
	if d := int(b >> 4); d > 0 {
		return last + d, typ
	}
	return int(int16(r.varint())), typ
}

// text reads a string that aliases the input.
func (r *thriftReader) text() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.at) {
		r.fail()
		return nil
	}
	s := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return s
}

// list reads the head of a list: no more elements than bytes are left.
func (r *thriftReader) list() (typ, n int) {
	b := r.byte()
	typ, n = int(b&15), int(b>>4)
	if n == 15 {
		x := r.uvarint()
		if x > uint64(len(r.b)-r.at) {
			r.fail()
			return 0, 0
		}
		n = int(x)
	}
	if n > len(r.b)-r.at {
		r.fail()
		return 0, 0
	}
	return typ, n
}

// skip passes over a field's value.
func (r *thriftReader) skip(typ, depth int) {
	if depth > maxThriftDepth {
		r.fail()
		return
	}
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		r.byte()
	case thriftI16, thriftI32, thriftI64:
		r.uvarint()
	case thriftDouble:
		if len(r.b)-r.at < 8 {
			r.fail()
			return
		}
		r.at += 8
	case thriftBinary:
		r.text()
	case thriftList, thriftSet:
		t, n := r.list()
		for range n {
			if r.bad {
				return
			}
			r.skipElement(t, depth+1)
		}
	case thriftMap:
		n := r.uvarint()
		if n == 0 {
			return
		}
		kv := r.byte()
		for ; n > 0 && !r.bad; n-- {
			r.skipElement(int(kv>>4), depth+1)
			r.skipElement(int(kv&15), depth+1)
		}
	case thriftStruct:
		for last := 0; ; {
			id, t := r.field(last)
			if t == thriftStop {
				return
			}
			r.skip(t, depth+1)
			last = id
		}
	default:
		r.fail()
	}
}

// skipElement passes over an element of a list: there, a bool takes a byte.
func (r *thriftReader) skipElement(typ, depth int) {
	if typ == thriftTrue || typ == thriftFalse {
		typ = thriftByte
	}
	r.skip(typ, depth)
}
