package segment

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"redthread/tracestore/column"
	"redthread/tracestore/segment/parquet"
	"redthread/tracestore/trace"
)

// encode writes the sources as one Parquet file, a row group each. place says
// where the attributes go, see plan.
func encode(w io.Writer, l *layout, place [][]int, sources []column.Source, effort parquet.Effort) error {
	text, err := l.encode()
	if err != nil {
		return err
	}
	out, err := parquet.NewWriter(w, schema(l), effort)
	if err != nil {
		return err
	}
	e := groupEncoder{out: out}
	for _, s := range sources {
		out.Group(s.Rows())
	}
	if err := e.write(l, place, sources); err != nil {
		return err
	}
	return out.Close(parquet.Pair{Key: layoutKey, Value: text})
}

// Columns of the file that are neither fixed nor of the layout, by their distance
// from the last fixed one, which they follow in this order.
const (
	shapeAt = iota
	overflowKeyAt
	overflowValueAt
	eventNameAt
	eventTimeAt
	eventAttributesAt
	linkTraceAt
	linkSpanAt
	linkStateAt
	linkAttributesAt
	otherColumns // the columns of the layout follow
)

// firstOther is where the columns begin that are not fixed.
var firstOther = len(column.FixedColumns())

// schema lists the columns of a file: the fixed ones, the shape, overflow map,
// events and links, and then the layout's.
func schema(l *layout) []parquet.Column {
	var columns []parquet.Column
	for _, info := range column.FixedColumns() {
		c := attributeColumn(info.Key, info.Type)
		c.Shape = parquet.One
		switch info.Key {
		case column.TraceID, column.SpanID, column.ParentID:
			c.Type, c.Width = parquet.Fixed, fixedWidth(info.Key)
		case column.StatusMessage, column.TraceState:
			c.Shape = parquet.AtMostOne
		}
		columns = append(columns, c)
	}
	text := func(path ...string) parquet.Column {
		return parquet.Column{Path: path, Type: parquet.ByteArray, Meaning: parquet.Text, Shape: parquet.Many}
	}
	raw := func(width int, path ...string) parquet.Column {
		return parquet.Column{Path: path, Type: parquet.Fixed, Width: width, Shape: parquet.Many}
	}
	columns = append(columns,
		parquet.Column{Path: []string{shapeColumn}, Type: parquet.ByteArray},
		text(overflowColumn, "key_value", "key"),
		text(overflowColumn, "key_value", "value"),
		text(eventsColumn, "list", "element", "name"),
		parquet.Column{Path: []string{eventsColumn, "list", "element", "time_unix_nano"}, Type: parquet.Int64, Shape: parquet.Many},
		text(eventsColumn, "list", "element", "attributes"),
		raw(16, linksColumn, "list", "element", "trace_id"),
		raw(8, linksColumn, "list", "element", "span_id"),
		text(linksColumn, "list", "element", "trace_state"),
		text(linksColumn, "list", "element", "attributes"))
	for _, c := range l.Columns {
		columns = append(columns, attributeColumn(c.Name, c.Type))
	}
	return columns
}

func attributeColumn(name string, t trace.Type) parquet.Column {
	c := parquet.Column{Path: []string{name}, Type: parquet.ByteArray, Meaning: parquet.Text, Shape: parquet.AtMostOne}
	switch t {
	case trace.TypeInt:
		c.Type, c.Meaning = parquet.Int64, parquet.Raw
	case trace.TypeFloat:
		c.Type, c.Meaning = parquet.Double, parquet.Raw
	case trace.TypeBool:
		c.Type, c.Meaning = parquet.Boolean, parquet.Raw
	case trace.TypeBytes:
		c.Meaning = parquet.Raw
	}
	return c
}

// groupEncoder writes sources as row groups, column by column.
type groupEncoder struct {
	source column.Source
	out    *parquet.Writer

	rows   []uint32 // of the values of a column that not every row has
	values parquet.Values
}

// write writes all columns, one after the other: what is next to each other in
// the file is read together, and a source that is made of others takes each of
// theirs in hand once.
func (e *groupEncoder) write(l *layout, place [][]int, sources []column.Source) error {
	each := func(at int, name string, fn func(group int) error) error {
		for i, s := range sources {
			e.source = s
			e.out.At(i, at)
			if err := fn(i); err != nil {
				return fmt.Errorf("column %q: %w", name, err)
			}
		}
		return nil
	}
	for i, info := range column.FixedColumns() {
		err := each(i, info.Key, func(int) error {
			v, err := e.source.Column(info.Key, info.Type)
			if err != nil {
				return err
			}
			return e.vector(v)
		})
		if err != nil {
			return err
		}
	}
	for _, c := range []struct {
		at    int
		name  string
		write func(place []int) error
	}{
		{shapeAt, shapeColumn, e.shapes},
		{overflowKeyAt, overflowColumn, e.overflow},
		{eventNameAt, eventsColumn, func([]int) error { return e.events() }},
		{linkTraceAt, linksColumn, func([]int) error { return e.links() }},
	} {
		if err := each(firstOther+c.at, c.name, func(group int) error { return c.write(place[group]) }); err != nil {
			return err
		}
	}
	at := make([][]int, len(sources)) // source position plus one, by column
	for g := range sources {
		at[g] = make([]int, len(l.Columns))
		for j, p := range place[g] {
			if p >= 0 {
				at[g][p] = j + 1
			}
		}
	}
	for i, c := range l.Columns {
		err := each(firstOther+otherColumns+i, c.Name, func(group int) error {
			if at[group][i] == 0 {
				return e.sparse(nil)
			}
			v, err := e.source.AttributeAt(at[group][i] - 1)
			if err != nil {
				return err
			}
			return e.sparse(v)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sparse writes a column by its values; nil is all absent.
func (e *groupEncoder) sparse(s *column.Sparse) error {
	if s == nil {
		return e.out.Column([]uint32{}, &parquet.Values{})
	}
	v := &s.Values
	return e.out.Column(s.Rows, &parquet.Values{Ints: v.Ints, Floats: v.Floats, IDs: v.IDs, Dict: v.Dict})
}

// vector writes a flat column; a nil vector is all absent.
func (e *groupEncoder) vector(v *column.Vector) error {
	if v == nil {
		return e.out.Column([]uint32{}, &parquet.Values{})
	}
	if v.Present == nil {
		return e.out.Column(nil, &parquet.Values{Ints: v.Ints, Floats: v.Floats, Fixed: v.Fixed, IDs: v.IDs, Dict: v.Dict})
	}
	e.rows = e.rows[:0]
	for i, w := range v.Present {
		for ; w != 0; w &= w - 1 {
			e.rows = append(e.rows, uint32(i*64+bits.TrailingZeros64(w)))
		}
	}
	x := &e.values
	x.Ints, x.Floats, x.Fixed, x.IDs, x.Dict = x.Ints[:0], x.Floats[:0], x.Fixed[:0], x.IDs[:0], v.Dict
	switch {
	case v.IDs != nil:
		for _, r := range e.rows {
			x.IDs = append(x.IDs, v.IDs[r])
		}
	case v.Ints != nil:
		for _, r := range e.rows {
			x.Ints = append(x.Ints, v.Ints[r])
		}
	case v.Floats != nil:
		for _, r := range e.rows {
			x.Floats = append(x.Floats, v.Floats[r])
		}
	default:
		for _, r := range e.rows {
			x.Fixed = append(x.Fixed, v.Fixed[int(r)*v.Width:(int(r)+1)*v.Width]...)
		}
	}
	return e.out.Column(e.rows, x)
}

// shapes writes the shape of each row: for each of its attributes a uvarint, 0
// for the row's next entry in the overflow map, else its place in the layout's
// columns plus one.
func (e *groupEncoder) shapes(place []int) error {
	ids, dict, err := e.source.Shapes()
	if err != nil {
		return err
	}
	var shapes column.DictBuilder
	translated := make([]uint32, dict.Len())
	var shape []byte
	var positions []int
	for id := range translated {
		if positions, err = shapePositions(positions[:0], dict.At(uint32(id))); err != nil {
			return err
		}
		shape = shape[:0]
		for _, p := range positions {
			shape = binary.AppendUvarint(shape, uint64(place[p]+1))
		}
		if translated[id], err = shapes.BytesID(shape); err != nil {
			return err
		}
	}
	out := make([]uint32, len(ids))
	for i, id := range ids {
		out[i] = translated[id]
	}
	return e.out.Column(nil, &parquet.Values{IDs: out, Dict: shapes.Dict()})
}

// shapePositions reads the uvarints of a shape.
func shapePositions(dst []int, shape string) ([]int, error) {
	for len(shape) > 0 {
		p, n := uint64(shape[0]), 1
		if p >= 0x80 {
			p, n = binary.Uvarint([]byte(shape[:min(len(shape), binary.MaxVarintLen64)]))
		}
		if n <= 0 || p > 1<<30 {
			return nil, fmt.Errorf("segment: shape is cut short")
		}
		dst = append(dst, int(p))
		shape = shape[n:]
	}
	return dst, nil
}

// overflow writes the attributes without a column, of each row in the order of
// its shape.
func (e *groupEncoder) overflow(place []int) error {
	columns := make([]*column.Sparse, len(place))
	next := make([]int, len(place)) // the value that comes next, of each column
	names := make([]uint32, len(place))
	var keys, texts column.DictBuilder
	for j, info := range e.source.Attributes() {
		if place[j] >= 0 {
			continue
		}
		var err error
		if columns[j], err = e.source.AttributeAt(j); err != nil {
			return err
		}
		if names[j], err = keys.ID(overflowName(attributeKey{info.Key, info.Type})); err != nil {
			return err
		}
	}
	ids, dict, err := e.source.Shapes()
	if err != nil {
		return err
	}
	rare := make([][]int, dict.Len()) // overflow positions by shape
	var positions []int
	for id := range rare {
		if positions, err = shapePositions(positions[:0], dict.At(uint32(id))); err != nil {
			return err
		}
		for _, p := range positions {
			if place[p] < 0 {
				rare[id] = append(rare[id], p)
			}
		}
	}
	rows, key, value := []uint32{}, []uint32{}, []uint32{}
	for row, id := range ids {
		for _, p := range rare[id] {
			c, i := columns[p], next[p]
			if c == nil || i == c.Len() || c.Rows == nil && i != row || c.Rows != nil && int(c.Rows[i]) != row {
				return fmt.Errorf("row %d has no value for its shape", row)
			}
			next[p]++
			text, err := texts.ID(c.Values.Value(i).Text())
			if err != nil {
				return err
			}
			rows, key, value = append(rows, uint32(row)), append(key, names[p]), append(value, text)
		}
	}
	if err := e.out.Column(rows, &parquet.Values{IDs: key, Dict: keys.Dict()}); err != nil {
		return err
	}
	return e.out.Column(rows, &parquet.Values{IDs: value, Dict: texts.Dict()})
}

func (e *groupEncoder) events() error {
	ev, err := e.source.Events()
	if err != nil {
		return err
	}
	rows := ev.Row[:len(ev.Row):len(ev.Row)]
	if rows == nil {
		rows = []uint32{}
	}
	if err := e.out.Column(rows, &parquet.Values{IDs: ev.Name, Dict: ev.Dict}); err != nil {
		return err
	}
	if err := e.out.Column(rows, &parquet.Values{Ints: ev.Time}); err != nil {
		return err
	}
	return e.out.Column(rows, &parquet.Values{IDs: ev.Attributes, Dict: ev.Dict})
}

func (e *groupEncoder) links() error {
	ln, err := e.source.Links()
	if err != nil {
		return err
	}
	rows := ln.Row
	if rows == nil {
		rows = []uint32{}
	}
	var traces, spans []byte
	for i := range rows {
		traces = append(traces, ln.TraceID[i][:]...)
		spans = append(spans, ln.SpanID[i][:]...)
	}
	if err := e.out.Column(rows, &parquet.Values{Fixed: traces}); err != nil {
		return err
	}
	if err := e.out.Column(rows, &parquet.Values{Fixed: spans}); err != nil {
		return err
	}
	if err := e.out.Column(rows, &parquet.Values{IDs: ln.State, Dict: ln.Dict}); err != nil {
		return err
	}
	return e.out.Column(rows, &parquet.Values{IDs: ln.Attributes, Dict: ln.Dict})
}
