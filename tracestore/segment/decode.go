package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// reader decodes columns of one open Parquet file. It may be used by several
// goroutines at once.
type reader struct {
	file   *parquet.File
	layout *layout
}

func newReader(r io.ReaderAt, size int64) (_ *reader, err error) {
	// parquet-go panics on some bytes that cannot be: a bad file is an error.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("footer: %v", p)
		}
	}()
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	text, ok := f.Lookup(layoutKey)
	if !ok {
		return nil, fmt.Errorf("no %s in the file's metadata", layoutKey)
	}
	l, err := decodeLayout(text)
	if err != nil {
		return nil, err
	}
	groups := f.RowGroups()
	if len(groups) != len(l.Groups) {
		return nil, fmt.Errorf("file has %d row groups, its layout %d", len(groups), len(l.Groups))
	}
	for i, g := range groups {
		if g.NumRows() != int64(l.Groups[i].Rows) || l.Groups[i].Rows > column.MaxBlockRows {
			return nil, fmt.Errorf("row group %d has %d rows, its layout says %d", i, g.NumRows(), l.Groups[i].Rows)
		}
	}
	for _, c := range l.Columns {
		if len(c.Rows) != len(groups) {
			return nil, fmt.Errorf("layout of column %q has %d row groups, want %d", c.Name, len(c.Rows), len(groups))
		}
	}
	return &reader{f, l}, nil
}

// pages calls fn with every page of a column of a row group.
func (r *reader) pages(group int, fn func(parquet.Page) error, path ...string) (err error) {
	leaf, ok := r.file.Schema().Lookup(path...)
	if !ok {
		return fmt.Errorf("no column %q", path)
	}
	defer func() { // as in newReader
		if p := recover(); p != nil {
			err = fmt.Errorf("column %q: %v", path, p)
		}
	}()
	pages := r.file.RowGroups()[group].ColumnChunks()[leaf.ColumnIndex].Pages()
	defer pages.Close()
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("column %q: %w", path, err)
		}
		err = fn(p)
		parquet.Release(p)
		if err != nil {
			return fmt.Errorf("column %q: %w", path, err)
		}
	}
}

// texts gathers the dictionary ids of a column of byte strings, page by page.
type texts struct {
	dict   column.Dict
	loaded bool
	more   *column.DictBuilder // when a page is not dictionary-encoded
}

// ids appends the ids of the page's values to dst.
func (t *texts) ids(dst []uint32, p parquet.Page) ([]uint32, error) {
	data := p.Data()
	if d := p.Dictionary(); d != nil {
		if t.more != nil {
			return nil, errors.New("a dictionary page after a plain one")
		}
		if !t.loaded {
			values := d.Page().Data()
			arena, ends := values.ByteArray()
			t.dict.Arena = append([]byte(nil), arena...)
			if len(ends) > 0 {
				t.dict.Ends = append([]uint32(nil), ends[1:]...)
			}
			t.loaded = true
			if err := checkDict(t.dict); err != nil {
				return nil, err
			}
		}
		n := uint32(t.dict.Len())
		for _, id := range data.Int32() {
			if uint32(id) >= n {
				return nil, fmt.Errorf("id %d in a dictionary of %d", id, n)
			}
			dst = append(dst, uint32(id))
		}
		return dst, nil
	}
	if t.more == nil {
		t.more = new(column.DictBuilder)
		for id := range t.dict.Ends {
			if _, err := t.more.ID(t.dict.At(uint32(id))); err != nil {
				return nil, err
			}
		}
	}
	arena, ends := data.ByteArray()
	for i := 1; i < len(ends); i++ {
		id, err := t.more.ID(string(arena[ends[i-1]:ends[i]]))
		if err != nil {
			return nil, err
		}
		dst = append(dst, id)
	}
	t.dict = t.more.Dict()
	return dst, nil
}

func checkDict(d column.Dict) error {
	var last uint32
	for _, e := range d.Ends {
		if e < last || int64(e) > int64(len(d.Arena)) {
			return errors.New("dictionary offsets are not in order")
		}
		last = e
	}
	return nil
}

// vector decodes a flat column. It returns nil if no row has a value.
func (r *reader) vector(group int, name string, t trace.Type, width int) (*column.Vector, error) {
	n := r.layout.Groups[group].Rows
	v := &column.Vector{Type: t}
	var tx texts
	var ids []uint32
	var ints []int64
	row := 0
	err := r.pages(group, func(p parquet.Page) error {
		count := int(p.NumValues())
		if row+count > n {
			return fmt.Errorf("more than %d rows", n)
		}
		levels := p.DefinitionLevels()
		optional := len(levels) > 0
		if optional && len(levels) != count {
			return fmt.Errorf("%d definition levels for %d values", len(levels), count)
		}
		present := count - int(p.NumNulls())
		if optional {
			present = 0
			for _, l := range levels {
				present += int(l)
			}
			if v.Present == nil {
				v.Present = column.NewBitmap(n)
			}
		}
		var place func(i, row int)
		data := p.Data()
		have := 0
		switch {
		case width > 0:
			if v.Fixed == nil {
				v.Fixed = make([]byte, n*width)
				v.Width = width
			}
			var values []byte
			if d := p.Dictionary(); d != nil {
				page := d.Page().Data()
				dict, w := page.FixedLenByteArray()
				if w != width {
					return fmt.Errorf("width %d, want %d", w, width)
				}
				index := data.Int32()
				have = len(index)
				place = func(i, row int) {
					at := int(index[i]) * width
					copy(v.Fixed[row*width:(row+1)*width], dict[at:at+width])
				}
				break
			}
			var w int
			if values, w = data.FixedLenByteArray(); w != width {
				return fmt.Errorf("width %d, want %d", w, width)
			}
			have = len(values) / width
			place = func(i, row int) { copy(v.Fixed[row*width:(row+1)*width], values[i*width:]) }
		case t == trace.TypeFloat:
			if v.Floats == nil {
				v.Floats = make([]float64, n)
			}
			values := data.Double()
			have = len(values)
			place = func(i, row int) { v.Floats[row] = values[i] }
		case t == trace.TypeBool:
			if v.Ints == nil {
				v.Ints = make([]int64, n)
			}
			bits := data.Boolean()
			have = min(present, 8*len(bits))
			place = func(i, row int) { v.Ints[row] = int64(bits[i>>3] >> (i & 7) & 1) }
		case t == trace.TypeInt:
			if v.Ints == nil {
				v.Ints = make([]int64, n)
			}
			var err error
			if ints, err = intValues(ints[:0], p); err != nil {
				return err
			}
			have = len(ints)
			place = func(i, row int) { v.Ints[row] = ints[i] }
		default:
			if v.IDs == nil {
				v.IDs = make([]uint32, n)
			}
			var err error
			if ids, err = tx.ids(ids[:0], p); err != nil {
				return err
			}
			have = len(ids)
			place = func(i, row int) { v.IDs[row] = ids[i] }
		}
		if have < present {
			return fmt.Errorf("%d values, want %d", have, present)
		}
		i := 0
		for k := range count {
			if optional {
				if levels[k] == 0 {
					continue
				}
				v.Present.Set(row + k)
			}
			place(i, row+k)
			i++
		}
		row += count
		return nil
	}, name)
	if err != nil {
		return nil, err
	}
	if row != n {
		return nil, fmt.Errorf("column %q has %d rows, want %d", name, row, n)
	}
	v.Dict = tx.dict
	if v.Present != nil {
		switch v.Present.Count() {
		case 0:
			return nil, nil
		case n:
			v.Present = nil
		}
	}
	return v, nil
}

func intValues(dst []int64, p parquet.Page) ([]int64, error) {
	data := p.Data()
	d := p.Dictionary()
	if d == nil {
		return append(dst, data.Int64()...), nil
	}
	page := d.Page().Data()
	dict := page.Int64()
	for _, id := range data.Int32() {
		if int(uint32(id)) >= len(dict) {
			return nil, fmt.Errorf("id %d in a dictionary of %d", id, len(dict))
		}
		dst = append(dst, dict[id])
	}
	return dst, nil
}

// repeated decodes one leaf of a list or map: value is called with each page, to
// take its values; rows gets the row of each entry if it is not nil.
func (r *reader) repeated(group int, rows *[]uint32, value func(parquet.Page) error, path ...string) error {
	n := r.layout.Groups[group].Rows
	row := -1
	err := r.pages(group, func(p parquet.Page) error {
		reps, defs := p.RepetitionLevels(), p.DefinitionLevels()
		if len(reps) != len(defs) {
			return fmt.Errorf("%d repetition levels, %d definition levels", len(reps), len(defs))
		}
		for i, rep := range reps {
			if rep == 0 {
				row++
			}
			if row < 0 || row >= n {
				return fmt.Errorf("more than %d rows", n)
			}
			if defs[i] == 1 && rows != nil {
				*rows = append(*rows, uint32(row))
			}
		}
		return value(p)
	}, path...)
	if err != nil {
		return err
	}
	if row != n-1 {
		return fmt.Errorf("column %q has %d rows, want %d", path, row+1, n)
	}
	return nil
}

// strings decodes a leaf of byte strings inside a list or map.
func (r *reader) strings(group int, rows *[]uint32, path ...string) (ids []uint32, dict column.Dict, err error) {
	var tx texts
	err = r.repeated(group, rows, func(p parquet.Page) error {
		var err error
		ids, err = tx.ids(ids, p)
		return err
	}, path...)
	return ids, tx.dict, err
}

// overflow is the decoded overflow map of a row group.
type overflow struct {
	row        []uint32
	key, value []uint32
	keys       column.Dict
	values     column.Dict
}

func (r *reader) overflow(group int) (*overflow, error) {
	o := new(overflow)
	if r.layout.Groups[group].Overflow == 0 {
		return o, nil
	}
	var err error
	if o.key, o.keys, err = r.strings(group, &o.row, overflowColumn, "key_value", "key"); err != nil {
		return nil, err
	}
	if o.value, o.values, err = r.strings(group, nil, overflowColumn, "key_value", "value"); err != nil {
		return nil, err
	}
	if len(o.key) != len(o.row) || len(o.value) != len(o.row) {
		return nil, fmt.Errorf("overflow: %d rows, %d keys, %d values", len(o.row), len(o.key), len(o.value))
	}
	return o, nil
}

func (r *reader) events(group int) (*column.Events, error) {
	e := new(column.Events)
	var names, attributes column.Dict
	var err error
	if e.Name, names, err = r.strings(group, &e.Row, eventsColumn, "list", "element", "name"); err != nil {
		return nil, err
	}
	if e.Attributes, attributes, err = r.strings(group, nil, eventsColumn, "list", "element", "attributes"); err != nil {
		return nil, err
	}
	err = r.repeated(group, nil, func(p parquet.Page) error {
		var err error
		e.Time, err = intValues(e.Time, p)
		return err
	}, eventsColumn, "list", "element", "time_unix_nano")
	if err != nil {
		return nil, err
	}
	if n := len(e.Row); len(e.Name) != n || len(e.Time) != n || len(e.Attributes) != n {
		return nil, fmt.Errorf("events: columns of different length")
	}
	e.Dict = join(names, attributes, e.Attributes)
	return e, nil
}

func (r *reader) links(group int) (*column.Links, error) {
	l := new(column.Links)
	var states, attributes column.Dict
	var err error
	if l.State, states, err = r.strings(group, &l.Row, linksColumn, "list", "element", "trace_state"); err != nil {
		return nil, err
	}
	if l.Attributes, attributes, err = r.strings(group, nil, linksColumn, "list", "element", "attributes"); err != nil {
		return nil, err
	}
	err = r.repeated(group, nil, func(p parquet.Page) error {
		data := p.Data()
		b, w := data.FixedLenByteArray()
		for ; w == 16 && len(b) >= 16; b = b[16:] {
			l.TraceID = append(l.TraceID, trace.ID(b[:16]))
		}
		return nil
	}, linksColumn, "list", "element", "trace_id")
	if err != nil {
		return nil, err
	}
	err = r.repeated(group, nil, func(p parquet.Page) error {
		data := p.Data()
		b, w := data.FixedLenByteArray()
		for ; w == 8 && len(b) >= 8; b = b[8:] {
			l.SpanID = append(l.SpanID, trace.SpanID(b[:8]))
		}
		return nil
	}, linksColumn, "list", "element", "span_id")
	if err != nil {
		return nil, err
	}
	if n := len(l.Row); len(l.TraceID) != n || len(l.SpanID) != n || len(l.State) != n || len(l.Attributes) != n {
		return nil, fmt.Errorf("links: columns of different length")
	}
	l.Dict = join(states, attributes, l.Attributes)
	return l, nil
}

// join appends dictionary b to a, and moves ids, which are of b, accordingly.
func join(a, b column.Dict, ids []uint32) column.Dict {
	shift, base := uint32(a.Len()), uint32(len(a.Arena))
	out := column.Dict{Arena: append(a.Arena, b.Arena...), Ends: a.Ends}
	for _, e := range b.Ends {
		out.Ends = append(out.Ends, e+base)
	}
	for i := range ids {
		ids[i] += shift
	}
	return out
}

// shapes decodes the shape of each row.
func (r *reader) shapes(group int) (*column.Vector, error) {
	return r.vector(group, shapeColumn, trace.TypeBytes, 0)
}
