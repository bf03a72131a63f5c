package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"
	"strconv"
)

// tailBytes are read first: most footers are shorter.
const tailBytes = 64 << 10

// Error is a file that is not what its bytes must be.
type Error struct {
	Offset int64 // where it was found, or the start of what could not be read
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("parquet: at byte %d: %v", e.Offset, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// File is an open file. It holds no bytes of it but the footer's, and may be used
// by several goroutines at once if its reader may.
type File struct {
	r io.ReaderAt
	footer
	sound bool // the footer has a checksum
}

// Open reads the footer of a file of so many bytes.
func Open(r io.ReaderAt, size int64) (*File, error) {
	if size < 12 {
		return nil, &Error{0, errors.New("file is too short")}
	}
	tail := make([]byte, min(size, tailBytes))
	at := size - int64(len(tail))
	if _, err := r.ReadAt(tail, at); err != nil {
		return nil, &Error{at, err}
	}
	if string(tail[len(tail)-4:]) != magic {
		return nil, &Error{size - 4, errors.New("file does not end as Parquet does")}
	}
	n := int64(binary.LittleEndian.Uint32(tail[len(tail)-8:]))
	if n > size-12 {
		return nil, &Error{size - 8, errFooter}
	}
	end := size - 8 - n
	b := tail[:len(tail)-8]
	if n <= int64(len(b)) {
		b = b[int64(len(b))-n:]
	} else {
		b = make([]byte, n)
		if _, err := r.ReadAt(b, end); err != nil {
			return nil, &Error{end, err}
		}
	}
	f, err := parseFooter(b, end)
	if err != nil {
		return nil, &Error{end, err}
	}
	file := &File{r: r, footer: *f}
	if text, ok := file.Lookup(checkKey); ok {
		want, err := strconv.ParseUint(text, 16, 32)
		if err != nil || f.checked < 0 || crc32.ChecksumIEEE(b[:f.checked]) != uint32(want) {
			return nil, &Error{end, errors.New("footer has a wrong checksum")}
		}
		file.sound = true
	}
	return file, nil
}

// Checked reports whether the footer has a checksum; it is right then.
func (f *File) Checked() bool { return f.sound }

// Lookup returns a value of the metadata.
func (f *File) Lookup(key string) (string, bool) {
	for _, p := range f.pairs {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// Share makes the file use columns in place of its own, which must be equal, and
// forget its metadata: what a caller keeps anyway is then held once.
func (f *File) Share(columns []Column) { f.columns, f.pairs = columns, nil }

// Columns returns the leaves of the schema, in the order of the file.
func (f *File) Columns() []Column { return f.columns }

// Groups returns the number of rows of each row group.
func (f *File) Groups() []int { return f.rows }

// RawBytes is what the pages of a row group take before compression, 0 if the file
// does not say.
func (f *File) RawBytes(group int) int64 { return f.raw[group] }

// Chunk is a column of a row group.
type Chunk struct {
	file          *File
	group, column int
}

// Chunk returns a column of a row group.
func (f *File) Chunk(group, column int) Chunk { return Chunk{f, group, column} }

func (c Chunk) meta() *chunk { return &c.file.chunks[c.group*len(c.file.columns)+c.column] }

func (c Chunk) def() *Column { return &c.file.columns[c.column] }

func (c Chunk) rows() int { return c.file.rows[c.group] }

// Nulls is the number of rows without a value, -1 if the file does not say.
func (c Chunk) Nulls() int { return int(c.meta().nulls) }

// Bytes is what the chunk takes in the file.
func (c Chunk) Bytes() int64 { return int64(c.meta().size) }

// wrap makes err an [*Error] of the chunk.
func (c Chunk) wrap(err error) error {
	if err == nil {
		return nil
	}
	return &Error{c.meta().offset, fmt.Errorf("column %q: %w", c.def().Path, err)}
}

// readAt reads bytes of the file into the scratch.
func (c Chunk) readAt(s *scratch, at int64, n int) ([]byte, error) {
	s.read = grow(s.read, n)
	_, err := c.file.r.ReadAt(s.read, at)
	return s.read, err
}

// place is where a page stands, by its offset index.
type place struct {
	offset   int64
	size     int32
	firstRow int32
}

// index reads the chunk's offset index.
func (c Chunk) index(s *scratch) ([]place, error) {
	m := c.meta()
	b, err := c.readAt(s, m.index, int(m.indexSize))
	if err != nil {
		return nil, err
	}
	r := &thriftReader{b: b}
	id, typ := r.field(0)
	if id != 1 || typ != thriftList {
		return nil, errIndex
	}
	_, n := r.list()
	pages := make([]place, 0, n)
	for range n {
		var at, size, row int64
		for last := 0; ; {
			id, typ := r.field(last)
			if typ == thriftStop {
				break
			}
			switch last = id; {
			case id == 1 && typ == thriftI64:
				at = r.varint()
			case id == 2 && typ == thriftI32:
				size = r.varint()
			case id == 3 && typ == thriftI64:
				row = r.varint()
			default:
				r.skip(typ, 0)
			}
		}
		before := int64(-1)
		if len(pages) > 0 {
			before = int64(pages[len(pages)-1].firstRow)
		}
		if r.bad || size < 0 || size > int64(m.size) || at < m.offset || at > m.offset+int64(m.size)-size || row <= before || row >= int64(c.rows()) || before < 0 && row != 0 {
			return nil, errIndex
		}
		pages = append(pages, place{at, int32(size), int32(row)})
	}
	if n == 0 {
		return nil, errIndex
	}
	return pages, nil
}

var errIndex = errors.New("offset index is damaged")

// each calls fn with the dictionary, if there is one, and then with each data
// page of the chunk, in order.
func (c Chunk) each(s *scratch, dict func(*Values), fn func(*page) error) error {
	m, def := c.meta(), c.def()
	b, err := c.readAt(s, m.offset, int(m.size))
	if err != nil {
		return err
	}
	for first := true; len(b) > 0; first = false {
		h, n, err := readHeader(b)
		if err != nil {
			return err
		}
		body, rest, err := s.body(b, &h, n)
		if err != nil {
			return err
		}
		b = rest
		if h.typ == pageDictionary {
			if !first {
				return errHeader
			}
			if dict != nil {
				d, err := s.dictionary(def, m.codec, &h, body)
				if err != nil {
					return err
				}
				dict(d)
			}
			continue
		}
		if h.entries == 0 {
			return errHeader
		}
		p, err := s.data(def, m.codec, &h, body)
		if err != nil {
			return err
		}
		if err := fn(&p); err != nil {
			return err
		}
	}
	return nil
}

// Head is what must be read of a chunk before some of its rows can be: its
// dictionary, unless it is long, and where the pages stand. It holds no bytes of the
// file and may be kept.
type Head struct {
	dict   *Values
	long   int // bytes of the page of a long dictionary, read frame by frame; 0: none
	places []place
}

// Bytes is the memory that the head takes.
func (h *Head) Bytes() int64 {
	n := int64(cap(h.places))*16 + 64
	if h.dict != nil {
		n += h.dict.Bytes()
	}
	return n
}

// Head reads the head of the chunk.
func (c Chunk) Head() (*Head, error) {
	if err := c.readable(); err != nil {
		return nil, c.wrap(err)
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	h := new(Head)
	m := c.meta()
	if m.indexSize > 0 {
		var err error
		if h.places, err = c.index(s); err != nil {
			return nil, c.wrap(err)
		}
	} else if places, err := c.walk(s); err != nil {
		return nil, c.wrap(err)
	} else {
		h.places = places
	}
	if m.dict {
		if err := c.dictionary(s, h); err != nil {
			return nil, c.wrap(err)
		}
	}
	return h, nil
}

// walk finds where the pages of a chunk without an offset index stand; none if they do
// not say how many rows they have.
func (c Chunk) walk(s *scratch) ([]place, error) {
	m := c.meta()
	b, err := c.readAt(s, m.offset, int(m.size))
	if err != nil {
		return nil, err
	}
	var pages []place
	for first := 0; len(b) > 0 && first < c.rows(); {
		h, n, err := readHeader(b)
		if err != nil {
			return nil, err
		}
		if h.packed > len(b)-n {
			return nil, errSize
		}
		rows := h.rows
		if c.def().Shape != Many {
			rows = h.entries
		}
		if h.typ != pageDictionary {
			if rows <= 0 {
				return nil, nil
			}
			pages = append(pages, place{m.offset + int64(int(m.size)-len(b)), int32(n + h.packed), int32(first)})
			first += rows
		}
		b = b[n+h.packed:]
	}
	return pages, nil
}

// headerBytes is more than a header of a dictionary page takes, of this package.
const headerBytes = 64

// dictionary reads the chunk's dictionary, or only its header if it is long.
func (c Chunk) dictionary(s *scratch, head *Head) error {
	m := c.meta()
	b, err := c.readAt(s, m.offset, min(int(m.size), headerBytes))
	if err != nil {
		return err
	}
	h, n, err := readHeader(b)
	if err != nil {
		return err
	}
	if h.typ != pageDictionary || h.packed > int(m.size)-n {
		return errHeader
	}
	if c.file.sound && c.def().Type == ByteArray && h.raw > frameBytes {
		head.long = n + h.packed
		return nil
	}
	if b, err = c.readAt(s, m.offset, n+h.packed); err != nil {
		return err
	}
	body, _, err := s.body(b, &h, n)
	if err != nil {
		return err
	}
	head.dict, err = s.dictionary(c.def(), m.codec, &h, body)
	return err
}

func (c Chunk) readable() error {
	if c.def().unread {
		return errors.New("a shape or type of column that is not read here")
	}
	return nil
}

// At reads the values of some rows, which ascend, and of the pages only those that
// hold them. at holds the row of each value: a row has as many as the column's
// shape allows. Byte arrays come with a dictionary of their own, which may hold a
// value more than once. Pages are kept by keep, unless it is nil.
func (c Chunk) At(rows []uint32, h *Head, keep Keep) (at []uint32, v Values, err error) {
	if err := c.readable(); err != nil {
		return nil, v, c.wrap(err)
	}
	if !slices.IsSorted(rows) || len(rows) > 0 && int(rows[len(rows)-1]) >= c.rows() {
		return nil, v, fmt.Errorf("parquet: rows asked for do not ascend below %d", c.rows())
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	k := picker{def: c.def(), dict: h.dict, long: h.long > 0, s: s, keep: keep, rows: make([]uint32, 0, len(rows))}
	if len(h.places) > 0 {
		err = c.atPlaces(&k, rows, h.places)
	} else {
		err = c.atWalk(&k, rows)
	}
	if err == nil && k.long && len(k.out.IDs) > 0 {
		err = c.resolve(&k, h.long)
	}
	return k.rows, k.out, c.wrap(err)
}

// atPlaces reads pages by their places.
func (c Chunk) atPlaces(k *picker, rows []uint32, places []place) error {
	for i, p := range places {
		end := c.rows()
		if i+1 < len(places) {
			end = int(places[i+1].firstRow)
		}
		here := rowsBefore(rows, end)
		if here == 0 {
			continue
		}
		unpacked := func() (page, error) {
			b, err := c.readAt(k.s, p.offset, int(p.size))
			if err != nil {
				return page{}, err
			}
			h, n, err := readHeader(b)
			if err != nil {
				return page{}, err
			}
			body, _, err := k.s.body(b, &h, n)
			if err != nil {
				return page{}, err
			}
			return k.s.data(k.def, c.meta().codec, &h, body)
		}
		page, err := k.page(p.offset, unpacked)
		if err != nil {
			return err
		}
		got, err := k.take(page, int(p.firstRow), rows[:here])
		if err != nil {
			return err
		}
		if got != end-int(p.firstRow) {
			return errIndex
		}
		rows = rows[here:]
	}
	return nil
}

// atWalk reads the whole chunk and passes over pages that are not needed and say
// how many rows they have.
func (c Chunk) atWalk(k *picker, rows []uint32) error {
	m := c.meta()
	b, err := c.readAt(k.s, m.offset, int(m.size))
	if err != nil {
		return err
	}
	for first := 0; len(rows) > 0; {
		h, n, err := readHeader(b)
		if err != nil {
			return err
		}
		if h.packed > len(b)-n {
			return errSize
		}
		if h.typ == pageDictionary {
			b = b[n+h.packed:]
			continue
		}
		got := h.rows
		if k.def.Shape != Many {
			got = h.entries
		}
		if got < 0 || rowsBefore(rows, first+got) > 0 {
			page, err := k.page(m.offset+int64(int(m.size)-len(b)), func() (page, error) {
				body, _, err := k.s.body(b, &h, n)
				if err != nil {
					return page{}, err
				}
				return k.s.data(k.def, m.codec, &h, body)
			})
			if err != nil {
				return err
			}
			if got, err = k.take(page, first, rows); err != nil {
				return err
			}
			rows = rows[rowsBefore(rows, first+got):]
		}
		first += got
		b = b[n+h.packed:]
	}
	return nil
}

// rowsBefore is the number of rows below end.
func rowsBefore(rows []uint32, end int) int {
	return sort.Search(len(rows), func(i int) bool { return int(rows[i]) >= end })
}
