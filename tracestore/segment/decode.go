package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/segment/parquet"
	"redthread/tracestore/trace"
)

// reader decodes columns of one open Parquet file. It may be used by several
// goroutines at once.
type reader struct {
	file   *parquet.File
	layout *layout
}

func newReader(r io.ReaderAt, size int64) (*reader, error) {
	f, err := parquet.Open(r, size)
	if err != nil {
		return nil, err
	}
	text, ok := f.Lookup(layoutKey)
	if !ok || !f.Checked() {
		return nil, fmt.Errorf("no %s or no checksum in the file's metadata", layoutKey)
	}
	l, err := decodeLayout(text)
	if err != nil {
		return nil, err
	}
	if len(f.Groups()) != len(l.Groups) {
		return nil, fmt.Errorf("file has %d row groups, its layout %d", len(f.Groups()), len(l.Groups))
	}
	for i, n := range f.Groups() {
		if n != l.Groups[i].Rows || n > column.MaxBlockRows {
			return nil, fmt.Errorf("row group %d has %d rows, its layout says %d", i, n, l.Groups[i].Rows)
		}
	}
	same := func(a, b parquet.Column) bool {
		return slices.Equal(a.Path, b.Path) && a.Type == b.Type && a.Width == b.Width && a.Shape == b.Shape
	}
	want := schema(l)
	if !slices.EqualFunc(want, f.Columns(), same) {
		return nil, errors.New("the columns are not those of the layout")
	}
	f.Share(want)
	out := &reader{f, l}
	counts := make([]uint32, len(l.Columns)*len(l.Groups))
	for i := range l.Columns {
		c := &l.Columns[i]
		c.Rows, counts = counts[:len(l.Groups):len(l.Groups)], counts[len(l.Groups):]
		for g := range l.Groups {
			c.Rows[g] = uint32(out.having(g, firstOther+otherColumns+i))
		}
	}
	return out, nil
}

// having is the number of rows that have a value in a flat column.
func (r *reader) having(group, leaf int) int {
	n := r.layout.Groups[group].Rows
	return n - min(n, max(0, r.file.Chunk(group, leaf).Nulls()))
}

// other returns one of the columns that are neither fixed nor of the layout.
func (r *reader) other(group, at int) parquet.Chunk { return r.file.Chunk(group, firstOther+at) }

// chunk finds a flat column by its name.
func (r *reader) chunk(group int, name string) (parquet.Chunk, error) {
	for i, c := range r.file.Columns() {
		if len(c.Path) == 1 && c.Path[0] == name {
			return r.file.Chunk(group, i), nil
		}
	}
	return parquet.Chunk{}, fmt.Errorf("no column %q", name)
}

// vector decodes a flat column. It returns nil if no row has a value.
func (r *reader) vector(group int, name string, t trace.Type, width int) (*column.Vector, error) {
	c, err := r.chunk(group, name)
	if err != nil {
		return nil, err
	}
	present, x, err := c.Flat()
	if err != nil || present != nil && present.Count() == 0 {
		return nil, err
	}
	v := &column.Vector{Type: t, Present: present, IDs: x.IDs, Dict: x.Dict, Ints: x.Ints, Floats: x.Floats, Fixed: x.Fixed}
	if x.Fixed != nil {
		v.Width = width
	}
	return v, nil
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
	rows, keys, err := r.other(group, overflowKeyAt).Many()
	if err != nil {
		return nil, err
	}
	same, values, err := r.other(group, overflowValueAt).Many()
	if err != nil {
		return nil, err
	}
	if !slices.Equal(rows, same) {
		return nil, errors.New("overflow: keys and values of different rows")
	}
	o.row, o.key, o.keys, o.value, o.values = rows, keys.IDs, keys.Dict, values.IDs, values.Dict
	return o, nil
}

// lists reads leaves of one list, which have the same rows.
func (r *reader) lists(group int, leaves ...int) (rows []uint32, values []parquet.Values, err error) {
	for i, leaf := range leaves {
		at, v, err := r.other(group, leaf).Many()
		if err != nil {
			return nil, nil, err
		}
		if i > 0 && !slices.Equal(at, rows) {
			return nil, nil, errors.New("events or links: columns of different rows")
		}
		rows, values = at, append(values, v)
	}
	return rows, values, nil
}

func (r *reader) events(group int) (*column.Events, error) {
	rows, v, err := r.lists(group, eventNameAt, eventTimeAt, eventAttributesAt)
	if err != nil {
		return nil, err
	}
	e := &column.Events{Row: rows, Name: v[0].IDs, Time: v[1].Ints, Attributes: v[2].IDs}
	e.Dict = join(v[0].Dict, v[2].Dict, e.Attributes)
	return e, nil
}

func (r *reader) links(group int) (*column.Links, error) {
	rows, v, err := r.lists(group, linkTraceAt, linkSpanAt, linkStateAt, linkAttributesAt)
	if err != nil {
		return nil, err
	}
	l := &column.Links{Row: rows, State: v[2].IDs, Attributes: v[3].IDs}
	for i := range rows {
		l.TraceID = append(l.TraceID, trace.ID(v[0].Fixed[16*i:16*i+16]))
		l.SpanID = append(l.SpanID, trace.SpanID(v[1].Fixed[8*i:8*i+8]))
	}
	l.Dict = join(v[2].Dict, v[3].Dict, l.Attributes)
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
