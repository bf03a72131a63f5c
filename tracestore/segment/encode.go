package segment

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

const (
	// pageRows is the rows of a page (storage.md §7.2).
	pageRows = 64 << 10
	// pageBytes ends a page of long values earlier.
	pageBytes = 1 << 20
	// writeBatch is how many values are handed to the codec at once.
	writeBatch = 2048
	// dictionaryInts: integer columns with at most this many distinct values in
	// a row group are written with a dictionary.
	dictionaryInts = 4096
)

var codec = zstd.Codec{Level: zstd.SpeedDefault}

// encode writes the sources as one Parquet file, a row group each. place says
// where the attributes go, see plan.
func encode(w io.Writer, l *layout, place [][]int, sources []column.Source) error {
	text, err := l.encode()
	if err != nil {
		return err
	}
	schema := parquet.NewSchema("redthread", schemaNode(l, place, sources))
	options := []parquet.WriterOption{
		schema,
		parquet.CreatedBy("redthread", "1", ""),
		parquet.KeyValueMetadata(layoutKey, text),
		parquet.Compression(&codec),
		parquet.DataPageVersion(2),
		parquet.PageBufferSize(pageBytes),
		parquet.WriteBufferSize(256 << 10),
	}
	for _, path := range schema.Columns() {
		if path[0] != column.Start {
			options = append(options, parquet.SkipPageBounds(path...))
		}
	}
	pw := parquet.NewGenericWriter[any](w, options...)
	for i, s := range sources {
		e := groupEncoder{source: s, schema: schema, writers: pw.ColumnWriters(), buf: make([]parquet.Value, 0, writeBatch)}
		if err := e.write(l, place[i]); err != nil {
			return err
		}
		if err := pw.Flush(); err != nil {
			return err
		}
	}
	return pw.Close()
}

// schemaNode builds the file's schema.
func schemaNode(l *layout, place [][]int, sources []column.Source) parquet.Node {
	text := func() parquet.Node { return parquet.Encoded(parquet.String(), &parquet.RLEDictionary) }
	raw := func(width int) parquet.Node { return parquet.Leaf(parquet.FixedLenByteArrayType(width)) }
	small := func() parquet.Node { return parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.RLEDictionary) }
	times := func() parquet.Node {
		return parquet.Encoded(parquet.Timestamp(parquet.Nanosecond), &parquet.DeltaBinaryPacked)
	}
	g := parquet.Group{
		column.TraceID:       parquet.Compressed(parquet.Encoded(raw(16), &parquet.RLEDictionary), &parquet.Uncompressed),
		column.SpanID:        parquet.Compressed(parquet.Encoded(raw(8), &parquet.Plain), &parquet.Uncompressed),
		column.ParentID:      parquet.Encoded(raw(8), &parquet.RLEDictionary),
		column.Start:         times(),
		column.Duration:      parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.Plain),
		column.Arrived:       times(),
		column.Name:          text(),
		column.Service:       text(),
		column.Environment:   text(),
		column.Kind:          small(),
		column.Status:        small(),
		column.StatusMessage: parquet.Optional(text()),
		column.Error:         parquet.Leaf(parquet.BooleanType),
		column.Signal:        small(),
		column.TraceState:    parquet.Optional(text()),
		shapeColumn:          parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.RLEDictionary),
		overflowColumn:       parquet.Map(text(), text()),
		eventsColumn: parquet.List(parquet.Group{
			"name":           text(),
			"time_unix_nano": parquet.Encoded(parquet.Timestamp(parquet.Nanosecond), &parquet.DeltaBinaryPacked),
			"attributes":     text(),
		}),
		linksColumn: parquet.List(parquet.Group{
			"trace_id":    raw(16),
			"span_id":     raw(8),
			"trace_state": text(),
			"attributes":  text(),
		}),
	}
	for i, c := range l.Columns {
		g[c.Name] = parquet.Optional(attributeNode(c, i, place, sources))
	}
	return g
}

func attributeNode(c promoted, position int, place [][]int, sources []column.Source) parquet.Node {
	switch c.Type {
	case trace.TypeInt:
		if fewInts(position, place, sources) {
			return parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.RLEDictionary)
		}
		return parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked)
	case trace.TypeFloat:
		return parquet.Encoded(parquet.Leaf(parquet.DoubleType), &parquet.Plain)
	case trace.TypeBool:
		return parquet.Leaf(parquet.BooleanType)
	case trace.TypeBytes:
		return parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.RLEDictionary)
	}
	return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
}

// fewInts reports whether a dictionary suits an integer column.
func fewInts(position int, place [][]int, sources []column.Source) bool {
	seen := make(map[int64]struct{})
	for i, s := range sources {
		for j, at := range place[i] {
			if at != position {
				continue
			}
			v, err := s.AttributeAt(j)
			if err != nil || v == nil {
				continue
			}
			clear(seen)
			for row, x := range v.Ints {
				if !v.Has(row) {
					continue
				}
				if seen[x] = struct{}{}; len(seen) > dictionaryInts {
					return false
				}
			}
		}
	}
	return true
}

// groupEncoder writes one source as a row group, column by column.
type groupEncoder struct {
	source  column.Source
	schema  *parquet.Schema
	writers []*parquet.ColumnWriter
	buf     []parquet.Value

	out  *parquet.ColumnWriter // of the column being written
	rows int                   // begun in the open page
}

func (e *groupEncoder) write(l *layout, place []int) error {
	for _, info := range column.FixedColumns() {
		v, err := e.source.Column(info.Key, info.Type)
		if err != nil {
			return err
		}
		optional := info.Key == column.StatusMessage || info.Key == column.TraceState
		if err := e.vector(v, info.Type, optional, info.Key); err != nil {
			return err
		}
	}
	at := make([]int, len(l.Columns)) // source position plus one, by column
	for j, p := range place {
		if p >= 0 {
			at[p] = j + 1
		}
	}
	for i, c := range l.Columns {
		var v *column.Vector
		if at[i] > 0 {
			var err error
			if v, err = e.source.AttributeAt(at[i] - 1); err != nil {
				return err
			}
		}
		if err := e.vector(v, c.Type, true, c.Name); err != nil {
			return err
		}
	}
	if err := e.shapes(place); err != nil {
		return err
	}
	if err := e.overflow(place); err != nil {
		return err
	}
	if err := e.events(); err != nil {
		return err
	}
	return e.links()
}

// begin starts a column.
func (e *groupEncoder) begin(path ...string) error {
	leaf, ok := e.schema.Lookup(path...)
	if !ok {
		return fmt.Errorf("segment: no column %q in the schema", path)
	}
	e.out, e.buf, e.rows = e.writers[leaf.ColumnIndex], e.buf[:0], 0
	return nil
}

// row says that a row begins, and ends pages at their size.
func (e *groupEncoder) row() error {
	if e.rows == pageRows {
		if err := e.end(); err != nil {
			return err
		}
		e.rows = 0
	} else if len(e.buf) >= writeBatch {
		if err := e.spill(); err != nil {
			return err
		}
	}
	e.rows++
	return nil
}

func (e *groupEncoder) spill() error {
	_, err := e.out.WriteRowValues(e.buf)
	e.buf = e.buf[:0]
	return err
}

// end writes the open page.
func (e *groupEncoder) end() error {
	if err := e.spill(); err != nil {
		return err
	}
	return e.out.Flush()
}

// vector writes a flat column; a nil vector is all absent.
func (e *groupEncoder) vector(v *column.Vector, t trace.Type, optional bool, name string) error {
	if err := e.begin(name); err != nil {
		return err
	}
	def := 0
	if optional {
		def = 1
	}
	var null parquet.Value
	for row := range e.source.Rows() {
		if err := e.row(); err != nil {
			return err
		}
		if v == nil || !v.Has(row) {
			if !optional {
				return fmt.Errorf("segment: column %q has no value in row %d", name, row)
			}
			e.buf = append(e.buf, null)
			continue
		}
		var x parquet.Value
		switch {
		case v.Fixed != nil:
			x = parquet.FixedLenByteArrayValue(v.Fixed[row*v.Width : (row+1)*v.Width])
		case v.IDs != nil:
			x = parquet.ByteArrayValue(bytesAt(v.Dict, v.IDs[row]))
		case t == trace.TypeBool:
			x = parquet.BooleanValue(v.Ints[row] != 0)
		case v.Ints != nil:
			x = parquet.Int64Value(v.Ints[row])
		default:
			x = parquet.DoubleValue(v.Floats[row])
		}
		e.buf = append(e.buf, x.Level(0, def, 0))
	}
	return e.end()
}

func bytesAt(d column.Dict, id uint32) []byte {
	var from uint32
	if id > 0 {
		from = d.Ends[id-1]
	}
	to := d.Ends[id]
	return d.Arena[from:to:to]
}

// shapes writes the shape of each row: for each of its attributes a uvarint, 0
// for the row's next entry in the overflow map, else its place in the layout's
// columns plus one.
func (e *groupEncoder) shapes(place []int) error {
	ids, dict, err := e.source.Shapes()
	if err != nil {
		return err
	}
	translated := make([][]byte, dict.Len())
	for id := range translated {
		positions, err := shapePositions(nil, dict.At(uint32(id)))
		if err != nil {
			return err
		}
		shape := []byte{}
		for _, p := range positions {
			shape = binary.AppendUvarint(shape, uint64(place[p]+1))
		}
		translated[id] = shape
	}
	if err := e.begin(shapeColumn); err != nil {
		return err
	}
	for _, id := range ids {
		if err := e.row(); err != nil {
			return err
		}
		e.buf = append(e.buf, parquet.ByteArrayValue(translated[id]))
	}
	return e.end()
}

// shapePositions reads the uvarints of a shape.
func shapePositions(dst []int, shape string) ([]int, error) {
	b := []byte(shape)
	for len(b) > 0 {
		p, n := binary.Uvarint(b)
		if n <= 0 || p > 1<<30 {
			return nil, fmt.Errorf("segment: shape is cut short")
		}
		dst = append(dst, int(p))
		b = b[n:]
	}
	return dst, nil
}

// overflow writes the map of the attributes without a column, each row's in the
// order of its shape.
func (e *groupEncoder) overflow(place []int) error {
	vectors := make(map[int]*column.Vector)
	names := make(map[int][]byte)
	for j, a := range e.source.Attributes() {
		if place[j] >= 0 || a.Rows == 0 {
			continue
		}
		v, err := e.source.AttributeAt(j)
		if err != nil {
			return err
		}
		vectors[j] = v
		names[j] = []byte(overflowName(attributeKey{a.Key, a.Type}))
	}
	ids, dict, err := e.source.Shapes()
	if err != nil {
		return err
	}
	rare := make([][]int, dict.Len()) // overflow positions by shape
	for id := range rare {
		positions, err := shapePositions(nil, dict.At(uint32(id)))
		if err != nil {
			return err
		}
		for _, p := range positions {
			if place[p] < 0 {
				rare[id] = append(rare[id], p)
			}
		}
	}
	each := func(leaf string, value func(p, row int) []byte) error {
		if err := e.begin(overflowColumn, "key_value", leaf); err != nil {
			return err
		}
		for row, id := range ids {
			if err := e.row(); err != nil {
				return err
			}
			if len(rare[id]) == 0 {
				e.buf = append(e.buf, parquet.Value{})
				continue
			}
			for i, p := range rare[id] {
				e.buf = append(e.buf, parquet.ByteArrayValue(value(p, row)).Level(min(i, 1), 1, 0))
			}
		}
		return e.end()
	}
	if err := each("key", func(p, _ int) []byte { return names[p] }); err != nil {
		return err
	}
	return each("value", func(p, row int) []byte { return []byte(vectors[p].Value(row).Text()) })
}

// list writes one leaf of a list column; rowOf holds the row of each entry.
func (e *groupEncoder) list(name, leaf string, rowOf []uint32, value func(i int) parquet.Value) error {
	if err := e.begin(name, "list", "element", leaf); err != nil {
		return err
	}
	i := 0
	for row := range e.source.Rows() {
		if err := e.row(); err != nil {
			return err
		}
		if i == len(rowOf) || rowOf[i] != uint32(row) {
			e.buf = append(e.buf, parquet.Value{})
			continue
		}
		for rep := 0; i < len(rowOf) && rowOf[i] == uint32(row); i++ {
			e.buf = append(e.buf, value(i).Level(rep, 1, 0))
			rep = 1
		}
	}
	return e.end()
}

func (e *groupEncoder) events() error {
	ev, err := e.source.Events()
	if err != nil {
		return err
	}
	err = e.list(eventsColumn, "name", ev.Row, func(i int) parquet.Value {
		return parquet.ByteArrayValue(bytesAt(ev.Dict, ev.Name[i]))
	})
	if err != nil {
		return err
	}
	err = e.list(eventsColumn, "time_unix_nano", ev.Row, func(i int) parquet.Value { return parquet.Int64Value(ev.Time[i]) })
	if err != nil {
		return err
	}
	return e.list(eventsColumn, "attributes", ev.Row, func(i int) parquet.Value {
		return parquet.ByteArrayValue(bytesAt(ev.Dict, ev.Attributes[i]))
	})
}

func (e *groupEncoder) links() error {
	ln, err := e.source.Links()
	if err != nil {
		return err
	}
	err = e.list(linksColumn, "trace_id", ln.Row, func(i int) parquet.Value { return parquet.FixedLenByteArrayValue(ln.TraceID[i][:]) })
	if err != nil {
		return err
	}
	err = e.list(linksColumn, "span_id", ln.Row, func(i int) parquet.Value { return parquet.FixedLenByteArrayValue(ln.SpanID[i][:]) })
	if err != nil {
		return err
	}
	err = e.list(linksColumn, "trace_state", ln.Row, func(i int) parquet.Value {
		return parquet.ByteArrayValue(bytesAt(ln.Dict, ln.State[i]))
	})
	if err != nil {
		return err
	}
	return e.list(linksColumn, "attributes", ln.Row, func(i int) parquet.Value {
		return parquet.ByteArrayValue(bytesAt(ln.Dict, ln.Attributes[i]))
	})
}
