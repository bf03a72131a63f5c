package parquet

import (
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"

	"redthread/tracestore/column"
)

const (
	// maxPageBytes bounds what a page may claim to hold. A data page is longer
	// than pageBytes only if one row is: no more than a request may bring.
	maxPageBytes = 512 << 20
	// maxRatio bounds what a page may claim to hold by what is there: zstd makes
	// no more than one block (128 KiB) of four bytes.
	maxRatio = 32 << 10
	// maxEntries bounds the entries of a Many column in a row group.
	maxEntries = 1 << 26
)

// decoder is for all files: DecodeAll may be called by many at once. It writes no
// more than the room it is given.
var decoder = func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxPageBytes))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}()

var (
	errHeader   = errors.New("page header is damaged")
	errChecksum = errors.New("page has a wrong checksum")
	errSize     = errors.New("page has a wrong size")
)

// pageHeader is what a page says of itself.
type pageHeader struct {
	typ                int64
	raw, packed        int // bytes before and after compression
	crc                uint32
	checked            bool
	entries            int
	encoding           Encoding
	rows               int // -1: not said
	defBytes, repBytes int
	compressed         bool
}

// readHeader reads the header at the start of b and returns its length.
func readHeader(b []byte) (h pageHeader, n int, err error) {
	r := &thriftReader{b: b}
	h.rows, h.compressed = -1, true
	var raw, packed, entries, rows, defs, reps int64
	rows = -1
	for last := 0; ; {
		id, typ := r.field(last)
		if typ == thriftStop {
			break
		}
		last = id
		switch {
		case id == 1 && typ == thriftI32:
			h.typ = r.varint()
		case id == 2 && typ == thriftI32:
			raw = r.varint()
		case id == 3 && typ == thriftI32:
			packed = r.varint()
		case id == 4 && typ == thriftI32:
			h.crc, h.checked = uint32(r.varint()), true
		case (id == 5 || id == 7 || id == 8) && typ == thriftStruct:
			version2 := id == 8
			for last := 0; ; {
				id, typ := r.field(last)
				if typ == thriftStop {
					break
				}
				switch last = id; {
				case id == 1 && typ == thriftI32:
					entries = r.varint()
				case id == 2 && typ == thriftI32 && !version2, id == 4 && typ == thriftI32 && version2:
					h.encoding = Encoding(min(uint64(r.varint()), 255))
				case id == 3 && typ == thriftI32 && version2:
					rows = r.varint()
				case id == 5 && typ == thriftI32 && version2:
					defs = r.varint()
				case id == 6 && typ == thriftI32 && version2:
					reps = r.varint()
				case id == 7 && version2:
					h.compressed = typ == thriftTrue
				default:
					r.skip(typ, 0)
				}
			}
		default:
			r.skip(typ, 0)
		}
	}
	const most = maxPageBytes
	if r.bad || raw < 0 || raw > most || packed < 0 || packed > most || entries < 0 || entries > maxEntries ||
		rows < -1 || rows > maxEntries || defs < 0 || reps < 0 || defs > packed || reps > packed-defs || defs+reps > raw {
		return h, 0, errHeader
	}
	h.raw, h.packed, h.entries, h.rows, h.defBytes, h.repBytes = int(raw), int(packed), int(entries), int(rows), int(defs), int(reps)
	return h, r.at, nil
}

// page is a data page, decompressed. Its bytes are valid until the next one.
type page struct {
	entries    int // nulls too
	rows       int // -1: as many as entries begin one
	encoding   Encoding
	reps, defs []byte
	values     []byte

	// Of a page that is kept, decoded: the levels, and the values if they are
	// differences. nil: not yet.
	repBits, defBits column.Bitmap
	ints             []int64
}

// scratch is what reading a column needs for a while.
type scratch struct {
	read   []byte // of the file
	raw    []byte // of a page, decompressed
	ids    []uint32
	ints   []int64
	floats []float64
	defs   column.Bitmap
	reps   column.Bitmap
	places []int32
}

// maxScratch is the buffer size, in bytes, beyond which one is not kept.
const maxScratch = 4 << 20

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if cap(s.read) > maxScratch {
		s.read = nil
	}
	if cap(s.raw) > maxScratch {
		s.raw = nil
	}
	scratches.Put(s)
}

func grow[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// emptyBits returns n zero bits in b's memory.
func emptyBits(b column.Bitmap, n int) column.Bitmap {
	b = grow(b, (n+63)/64)
	clear(b)
	return b
}

// body returns the bytes of the page at the start of b, whose header is h of n
// bytes, and what follows it.
func (*scratch) body(b []byte, h *pageHeader, n int) (body, rest []byte, err error) {
	if h.packed > len(b)-n {
		return nil, nil, errSize
	}
	body, rest = b[n:n+h.packed], b[n+h.packed:]
	if h.checked && crc32.ChecksumIEEE(body) != h.crc {
		return nil, nil, errChecksum
	}
	return body, rest, nil
}

// unpack decompresses src to size bytes.
func (s *scratch) unpack(src []byte, size int, codec uint8) ([]byte, error) {
	switch codec {
	case codecNone:
		if len(src) != size {
			return nil, errSize
		}
		return src, nil
	case codecZstd:
		if size == 0 {
			return nil, nil
		}
		if size/maxRatio > len(src) {
			return nil, errSize
		}
		s.raw = grow(s.raw, size)
		out, err := decoder.DecodeAll(src, s.raw[:0:size])
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		if len(out) != size {
			return nil, errSize
		}
		return out, nil
	}
	return nil, fmt.Errorf("compressed with codec %d", codec)
}

// data makes a page of a data page's body.
func (s *scratch) data(c *Column, codec uint8, h *pageHeader, body []byte) (p page, err error) {
	p = page{entries: h.entries, rows: h.rows, encoding: h.encoding}
	if c.Shape != Many {
		p.rows = p.entries
		if h.rows >= 0 && h.rows != p.rows {
			return p, errHeader
		}
	}
	switch h.typ {
	case pageDataV2:
		levels := h.repBytes + h.defBytes
		p.reps, p.defs = body[:h.repBytes], body[h.repBytes:levels]
		if !h.compressed {
			codec = codecNone
		}
		p.values, err = s.unpack(body[levels:], h.raw-levels, codec)
		return p, err
	case pageData:
		if p.values, err = s.unpack(body, h.raw, codec); err != nil {
			return p, err
		}
		if c.Shape == Many {
			if p.reps, p.values, err = plainText(p.values); err != nil {
				return p, err
			}
		}
		if c.Shape != One {
			p.defs, p.values, err = plainText(p.values)
		}
		return p, err
	}
	return p, fmt.Errorf("%w: type %d", errHeader, h.typ)
}

// dictionary decodes a dictionary page. What it returns owns its memory.
func (s *scratch) dictionary(c *Column, codec uint8, h *pageHeader, body []byte) (*Values, error) {
	if h.encoding != Plain && h.encoding != oldDictionary {
		return nil, fmt.Errorf("dictionary in encoding %d", h.encoding)
	}
	src, err := s.unpack(body, h.raw, codec)
	if err != nil {
		return nil, err
	}
	v := new(Values)
	switch c.Type {
	case ByteArray:
		v.Dict, err = plainTexts(src, h.entries)
	case Int64:
		if len(src) < 8*h.entries {
			return nil, errPlain
		}
		v.Ints = make([]int64, h.entries)
		err = plainInts(v.Ints, src)
	case Double:
		if len(src) < 8*h.entries {
			return nil, errPlain
		}
		v.Floats = make([]float64, h.entries)
		err = plainFloats(v.Floats, src)
	case Fixed:
		if len(src) < c.Width*h.entries {
			return nil, errPlain
		}
		v.Fixed = append([]byte(nil), src[:c.Width*h.entries]...)
	default:
		err = fmt.Errorf("dictionary of type %d", c.Type)
	}
	return v, err
}

// ids splits a dictionary-encoded page into the bits of an id and the runs.
func (p *page) ids() (width uint, runs []byte, err error) {
	if len(p.values) == 0 || p.values[0] > 32 {
		return 0, nil, errHybrid
	}
	return uint(p.values[0]), p.values[1:], nil
}
