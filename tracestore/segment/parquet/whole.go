package parquet

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"redthread/tracestore/column"
)

// Flat reads a column that has at most one value a row. The slice of v that the
// type uses has a place for each row, zero where present says no; present is nil
// if every row has a value. Byte arrays are ids in a dictionary of different
// values: the file's own wherever its pages have one.
func (c Chunk) Flat() (present column.Bitmap, v Values, err error) {
	def, rows := c.def(), c.rows()
	if err := c.readable(); err != nil || def.Shape == Many {
		return nil, v, c.wrap(cmp.Or(err, errors.New("not a flat column")))
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	f := flat{def: def, s: s}
	switch def.Type {
	case Double:
		f.out.Floats = make([]float64, rows)
	case Fixed:
		if rows > maxChunkBytes/def.Width {
			return nil, v, c.wrap(errSize)
		}
		f.out.Fixed = make([]byte, rows*def.Width)
	case ByteArray:
		f.out.IDs = make([]uint32, rows)
	default:
		f.out.Ints = make([]int64, rows)
	}
	if def.Shape == AtMostOne {
		present = column.NewBitmap(rows)
	}
	row, values := 0, 0
	err = c.each(s, func(d *Values) { f.dict = d }, func(p *page) error {
		if p.rows > rows-row {
			return fmt.Errorf("more than %d rows", rows)
		}
		n := p.rows
		if present != nil {
			ones, err := decodeBits(present, row, p.rows, p.defs)
			if err != nil {
				return err
			}
			n = ones
		}
		if err := f.page(p, row, n, present); err != nil {
			return err
		}
		row += p.rows
		values += n
		return nil
	})
	if err == nil && row != rows {
		err = fmt.Errorf("%d rows, want %d", row, rows)
	}
	if err != nil {
		return nil, v, c.wrap(err)
	}
	if values == rows {
		present = nil
	}
	f.finish()
	return present, f.out, nil
}

// Packed reads a column that has at most one value a row: v holds the values one
// after the other, present the rows that have one, nil if every row has. The
// dictionary of byte arrays is as in Flat.
func (c Chunk) Packed() (present column.Bitmap, v Values, err error) {
	def, rows := c.def(), c.rows()
	if err := c.readable(); err != nil || def.Shape == Many {
		return nil, v, c.wrap(cmp.Or(err, errors.New("not a flat column")))
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	f := flat{def: def, s: s}
	if def.Shape == AtMostOne {
		present = column.NewBitmap(rows)
	}
	row, values := 0, 0
	err = c.each(s, func(d *Values) { f.dict = d }, func(p *page) error {
		if p.rows > rows-row {
			return fmt.Errorf("more than %d rows", rows)
		}
		n := p.rows
		if present != nil {
			ones, err := decodeBits(present, row, p.rows, p.defs)
			if err != nil {
				return err
			}
			n = ones
		}
		row += p.rows
		values += n
		return f.append(p, n)
	})
	if err == nil && row != rows {
		err = fmt.Errorf("%d rows, want %d", row, rows)
	}
	if err != nil {
		return nil, v, c.wrap(err)
	}
	if values == rows {
		present = nil
	}
	f.finish()
	return present, f.out, nil
}

// Many reads a column of any number of values a row; rows holds the row of each
// value.
func (c Chunk) Many() (rows []uint32, v Values, err error) {
	def, total := c.def(), c.rows()
	if err := c.readable(); err != nil || def.Shape != Many {
		return nil, v, c.wrap(cmp.Or(err, errors.New("not a column of lists")))
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	f := flat{def: def, s: s}
	row, entries := -1, 0
	err = c.each(s, func(d *Values) { f.dict = d }, func(p *page) error {
		if entries += p.entries; entries > maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		n, err := s.levels(p)
		if err != nil {
			return err
		}
		if n > total-row-1 {
			return fmt.Errorf("more than %d rows", total)
		}
		before := len(rows)
		for i, left := 0, p.entries; left > 0; i, left = i+1, left-64 {
			inner, values := s.reps[i], s.defs[i]
			if inner == 0 && values == 0 { // rows without values
				row += min(64, left)
				continue
			}
			for bit := range min(64, left) {
				if inner>>uint(bit)&1 == 0 {
					row++
				}
				if values>>uint(bit)&1 != 0 {
					rows = append(rows, uint32(row))
				}
			}
		}
		return f.append(p, len(rows)-before)
	})
	if err == nil && row != total-1 {
		err = fmt.Errorf("%d rows, want %d", row+1, total)
	}
	if err != nil {
		return nil, v, c.wrap(err)
	}
	f.finish()
	return rows, f.out, nil
}

// flat gathers the values of pages.
type flat struct {
	def     *Column
	s       *scratch
	dict    *Values
	out     Values
	builder *column.DictBuilder // once a page of byte arrays has no ids
}

// finish sets the dictionary of byte arrays.
func (f *flat) finish() {
	switch {
	case f.builder != nil:
		f.out.Dict = f.builder.Dict()
	case f.dict != nil:
		f.out.Dict = f.dict.Dict
	}
}

// page puts the page's n values where its rows are.
func (f *flat) page(p *page, row, n int, present column.Bitmap) error {
	switch f.def.Type {
	case Double:
		if n == p.rows {
			return f.floats(f.out.Floats[row:row+n], p)
		}
		f.s.floats = grow(f.s.floats, n)
		if err := f.floats(f.s.floats, p); err != nil {
			return err
		}
		scatter(f.out.Floats, f.s.floats, present, row, p.rows)
	case Fixed:
		w := f.def.Width
		if n == p.rows {
			return f.fixed(f.out.Fixed[row*w:(row+n)*w], p)
		}
		values := make([]byte, n*w)
		if err := f.fixed(values, p); err != nil {
			return err
		}
		for i := row; i < row+p.rows; i++ {
			if present.Has(i) {
				values = values[copy(f.out.Fixed[i*w:(i+1)*w], values):]
			}
		}
	case ByteArray:
		if n == p.rows {
			return f.texts(f.out.IDs[row:row+n], p)
		}
		f.s.ids = grow(f.s.ids, n)
		if err := f.texts(f.s.ids, p); err != nil {
			return err
		}
		scatter(f.out.IDs, f.s.ids, present, row, p.rows)
	default:
		if n == p.rows {
			return f.ints(f.out.Ints[row:row+n], p)
		}
		f.s.ints = grow(f.s.ints, n)
		if err := f.ints(f.s.ints, p); err != nil {
			return err
		}
		scatter(f.out.Ints, f.s.ints, present, row, p.rows)
	}
	return nil
}

// scatter puts values at the bits of present among n rows from row on.
func scatter[T any](dst, values []T, present column.Bitmap, row, n int) {
	at := 0
	for i := row &^ 63; i < row+n; i += 64 {
		w := present[i>>6]
		if i < row {
			w &= ^uint64(0) << (uint(row) & 63)
		}
		if i+64 > row+n {
			w &= ^uint64(0) >> (64 - uint(row+n-i))
		}
		for ; w != 0; w &= w - 1 {
			dst[i+bits.TrailingZeros64(w)] = values[at]
			at++
		}
	}
}

// append appends the page's n values.
func (f *flat) append(p *page, n int) error {
	switch f.def.Type {
	case Double:
		f.out.Floats = extend(f.out.Floats, n)
		return f.floats(f.out.Floats[len(f.out.Floats)-n:], p)
	case Fixed:
		if n > maxChunkBytes/f.def.Width {
			return errSize
		}
		f.out.Fixed = extend(f.out.Fixed, n*f.def.Width)
		return f.fixed(f.out.Fixed[len(f.out.Fixed)-n*f.def.Width:], p)
	case ByteArray:
		f.out.IDs = extend(f.out.IDs, n)
		return f.texts(f.out.IDs[len(f.out.IDs)-n:], p)
	}
	f.out.Ints = extend(f.out.Ints, n)
	return f.ints(f.out.Ints[len(f.out.Ints)-n:], p)
}

func extend[T any](b []T, n int) []T { return append(b, make([]T, n)...) }

// number decodes the ids of a page of n values into the scratch.
func (f *flat) number(p *page, n int) ([]uint32, error) {
	if f.dict == nil {
		return nil, errors.New("ids without a dictionary")
	}
	f.s.ids = grow(f.s.ids, n)
	return f.s.ids, f.decodeIDs(f.s.ids, p)
}

func (f *flat) decodeIDs(dst []uint32, p *page) error {
	if len(dst) == 0 {
		return nil
	}
	width, runs, err := p.ids()
	if err != nil {
		return err
	}
	if err := decodeHybrid(dst, runs, width); err != nil {
		return err
	}
	return checkIDs(dst, f.dict.distinct(f.def))
}

func (p *page) hasIDs() bool { return p.encoding == Dictionary || p.encoding == oldDictionary }

func (f *flat) floats(dst []float64, p *page) error {
	switch {
	case p.hasIDs():
		ids, err := f.number(p, len(dst))
		if err != nil {
			return err
		}
		for i, id := range ids {
			dst[i] = f.dict.Floats[id]
		}
		return nil
	case p.encoding == Plain:
		if len(p.values) < 8*len(dst) {
			return errPlain
		}
		for i := range dst {
			dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(p.values[8*i:]))
		}
		return nil
	}
	return fmt.Errorf("floats in encoding %d", p.encoding)
}

func (f *flat) fixed(dst []byte, p *page) error {
	w := f.def.Width
	switch {
	case p.hasIDs():
		ids, err := f.number(p, len(dst)/w)
		if err != nil {
			return err
		}
		for i, id := range ids {
			copy(dst[i*w:(i+1)*w], f.dict.Fixed[int(id)*w:])
		}
		return nil
	case p.encoding == Plain:
		if len(p.values) < len(dst) {
			return errPlain
		}
		copy(dst, p.values)
		return nil
	}
	return fmt.Errorf("fixed bytes in encoding %d", p.encoding)
}

func (f *flat) ints(dst []int64, p *page) error {
	if f.def.Type == Boolean {
		return f.booleans(dst, p)
	}
	switch {
	case p.hasIDs():
		ids, err := f.number(p, len(dst))
		if err != nil {
			return err
		}
		for i, id := range ids {
			dst[i] = f.dict.Ints[id]
		}
		return nil
	case len(dst) == 0:
		return nil
	case p.encoding == Delta:
		return decodeDelta(dst, p.values)
	case p.encoding == Plain:
		if len(p.values) < 8*len(dst) {
			return errPlain
		}
		for i := range dst {
			dst[i] = int64(binary.LittleEndian.Uint64(p.values[8*i:]))
		}
		return nil
	}
	return fmt.Errorf("integers in encoding %d", p.encoding)
}

func (f *flat) booleans(dst []int64, p *page) error {
	if len(dst) == 0 {
		return nil
	}
	src, runs, err := booleans(p.values, p.encoding)
	if err != nil {
		return err
	}
	set := emptyBits(f.s.defs, len(dst))
	f.s.defs = set
	switch {
	case runs:
		if _, err := decodeBits(set, 0, len(dst), src); err != nil {
			return err
		}
	case 8*len(src) < len(dst):
		return errPlain
	default:
		orBits(set, 0, len(dst), src)
	}
	for i := range dst {
		dst[i] = int64(set[i>>6] >> (uint(i) & 63) & 1)
	}
	return nil
}

// texts decodes byte arrays to ids. A file may begin with ids and go on with
// plain values.
func (f *flat) texts(dst []uint32, p *page) error {
	switch {
	case p.hasIDs() && f.builder == nil:
		if f.dict == nil {
			return errors.New("ids without a dictionary")
		}
		return f.decodeIDs(dst, p)
	case len(dst) == 0:
		return nil
	case p.encoding != Plain:
		return fmt.Errorf("byte arrays in encoding %d", p.encoding)
	}
	if f.builder == nil {
		f.builder = new(column.DictBuilder)
		if f.dict != nil {
			for id := range f.dict.Dict.Ends {
				if got, err := f.builder.ID(f.dict.Dict.At(uint32(id))); err != nil || got != uint32(id) {
					return errors.Join(err, errors.New("a value is twice in the dictionary"))
				}
			}
		}
	}
	src := p.values
	for i := range dst {
		text, rest, err := plainText(src)
		if err != nil {
			return err
		}
		src = rest
		// The builder copies what it keeps.
		if dst[i], err = f.builder.ID(unsafe.String(unsafe.SliceData(text), len(text))); err != nil {
			return err
		}
	}
	return nil
}
