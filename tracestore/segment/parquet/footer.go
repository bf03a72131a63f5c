package parquet

import (
	"errors"
	"fmt"
	"slices"
)

// Numbers of parquet.thrift.
const (
	codecNone = 0
	codecZstd = 6

	required = 0
	optional = 1
	repeated = 2

	convertedUTF8 = 0
	convertedMap  = 1
	convertedList = 3

	logicalString = 1
	logicalMap    = 2
	logicalList   = 3
)

// Type is a physical type.
type Type uint8

// The physical types, by their numbers in the format.
const (
	Boolean   Type = 0
	Int32     Type = 1 // never written, nor read
	Int64     Type = 2
	Double    Type = 5
	ByteArray Type = 6
	Fixed     Type = 7
)

// Encoding is how a page's values are written.
type Encoding uint8

// The encodings, by their numbers in the format.
const (
	Plain         Encoding = 0
	oldDictionary Encoding = 2 // the name of Dictionary in version 1
	RLE           Encoding = 3
	Delta         Encoding = 5
	Dictionary    Encoding = 8
)

// Shape says how many values a row has in a column.
type Shape uint8

// The shapes. A row of a Many column has any number: it is the leaf of a list
// or a map whose other levels are required.
const (
	One Shape = iota
	AtMostOne
	Many
)

// Meaning is what a reader is told about a column's values.
type Meaning uint8

// The meanings.
const (
	Raw  Meaning = iota
	Text         // UTF-8
)

// Column is a leaf of the schema.
type Column struct {
	// Path is the name of a flat column; {list, "list", "element", leaf} and
	// {map, "key_value", "key" or "value"} of Many. The leaves of a list or a
	// map follow each other.
	Path    []string
	Type    Type
	Width   int // bytes, of Fixed
	Shape   Shape
	Meaning Meaning

	unread bool // nested deeper than this package reads
}

// chunk is a column of a row group. It holds no pointers: a file of 1 M rows and
// 1,000 columns has 16,000 of them.
type chunk struct {
	offset    int64 // of the first page
	index     int64 // of the offset index; 0: none
	size      int32 // bytes of all pages
	indexSize int32
	nulls     int32 // -1: not said
	codec     uint8
	dict      bool // the first page is a dictionary
}

// maxChunkBytes bounds a column chunk, so that its size fits 32 bits.
const maxChunkBytes = 1<<31 - 1

// maxRows bounds the rows of a row group that is read, and with them what a
// damaged footer can make a reader allocate.
const maxRows = 1 << 24

// Pair is a key and a value of a file's metadata.
type Pair struct{ Key, Value string }

// errFooter is a footer that cannot be.
var errFooter = errors.New("footer is damaged")

// appendSchema writes the list of schema elements, the root first.
func appendSchema(w *thriftWriter, columns []Column) {
	type group struct {
		name     string
		children []Column
	}
	var groups []group // of columns with one root
	for i := 0; i < len(columns); {
		n := 1
		if columns[i].Shape == Many {
			for i+n < len(columns) && columns[i+n].Shape == Many && columns[i+n].Path[0] == columns[i].Path[0] {
				n++
			}
		}
		groups = append(groups, group{columns[i].Path[0], columns[i : i+n]})
		i += n
	}
	elements := 1
	for _, g := range groups {
		if elements++; g.children[0].Shape == Many {
			elements += len(g.children) + len(g.children[0].Path) - 2
		}
	}
	w.list(2, thriftStruct, elements)
	inner := func(name string, repetition, children int, converted, logical int) {
		outer := w.begin(0)
		if repetition >= 0 {
			w.i32(3, int64(repetition))
		}
		w.string(4, name)
		w.i32(5, int64(children))
		if logical > 0 {
			w.i32(6, int64(converted))
			l := w.begin(10)
			w.empty(logical)
			w.end(l)
		}
		w.end(outer)
	}
	inner("redthread", -1, len(groups), 0, 0)
	for _, g := range groups {
		first := g.children[0]
		switch {
		case first.Shape != Many:
			appendLeaf(w, first.Path[0], first)
			continue
		case len(first.Path) == 3:
			inner(g.name, required, 1, convertedMap, logicalMap)
			inner(first.Path[1], repeated, len(g.children), 0, 0)
		default:
			inner(g.name, required, 1, convertedList, logicalList)
			inner(first.Path[1], repeated, 1, 0, 0)
			inner(first.Path[2], required, len(g.children), 0, 0)
		}
		for _, c := range g.children {
			appendLeaf(w, c.Path[len(c.Path)-1], c)
		}
	}
}

func appendLeaf(w *thriftWriter, name string, c Column) {
	outer := w.begin(0)
	w.i32(1, int64(c.Type))
	if c.Type == Fixed {
		w.i32(2, int64(c.Width))
	}
	if c.Shape == AtMostOne {
		w.i32(3, optional)
	} else {
		w.i32(3, required)
	}
	w.string(4, name)
	if c.Meaning == Text {
		w.i32(6, convertedUTF8)
		l := w.begin(10)
		w.empty(logicalString)
		w.end(l)
	}
	w.end(outer)
}

// footer is what a file says of itself.
type footer struct {
	columns []Column
	rows    []int   // of each row group
	raw     []int64 // bytes of each before compression; 0: not said
	chunks  []chunk
	pairs   []Pair
	checked int // where the pair under checkKey begins; -1: nowhere
}

// parseFooter reads the metadata of a file whose pages end at end.
func parseFooter(b []byte, end int64) (*footer, error) {
	r := &thriftReader{b: b}
	f := &footer{checked: -1}
	for last := 0; ; {
		id, typ := r.field(last)
		if typ == thriftStop {
			break
		}
		last = id
		switch {
		case id == 2 && typ == thriftList:
			if err := f.schema(r); err != nil {
				return nil, err
			}
		case id == 4 && typ == thriftList:
			_, n := r.list()
			for range n {
				if err := f.group(r, end); err != nil {
					return nil, err
				}
			}
		case id == 5 && typ == thriftList:
			_, n := r.list()
			for range n {
				f.pair(r)
			}
		default:
			r.skip(typ, 0)
		}
	}
	if r.bad || len(f.columns) == 0 {
		return nil, errFooter
	}
	return f, nil
}

func (f *footer) pair(r *thriftReader) {
	var p Pair
	start := r.at
	for last := 0; ; {
		id, typ := r.field(last)
		if typ == thriftStop {
			break
		}
		switch last = id; {
		case id == 1 && typ == thriftBinary:
			p.Key = string(r.text())
		case id == 2 && typ == thriftBinary:
			p.Value = string(r.text())
		default:
			r.skip(typ, 0)
		}
	}
	if p.Key == checkKey {
		f.checked = start
	}
	f.pairs = append(f.pairs, p)
}

// element is a node of the schema as it is written: depth first.
type element struct {
	name       string
	leaf       bool
	typ        int64
	width      int64
	repetition int64
	children   int64
	text       bool
}

func readElement(r *thriftReader) (e element) {
	for last := 0; ; {
		id, typ := r.field(last)
		if typ == thriftStop {
			return e
		}
		switch last = id; {
		case id == 1 && typ == thriftI32:
			e.leaf, e.typ = true, r.varint()
		case id == 2 && typ == thriftI32:
			e.width = r.varint()
		case id == 3 && typ == thriftI32:
			e.repetition = r.varint()
		case id == 4 && typ == thriftBinary:
			e.name = string(r.text())
		case id == 5 && typ == thriftI32:
			e.children = r.varint()
		case id == 6 && typ == thriftI32:
			e.text = r.varint() == convertedUTF8
		default:
			r.skip(typ, 0)
		}
	}
}

func (f *footer) schema(r *thriftReader) error {
	_, n := r.list()
	if n == 0 || f.columns != nil {
		return errFooter
	}
	root := readElement(r)
	n--
	var walk func(path []string, reps, defs int) error
	walk = func(path []string, reps, defs int) error {
		if n == 0 || r.bad || len(path) > maxThriftDepth {
			return errFooter
		}
		n--
		e := readElement(r)
		path = append(slices.Clone(path), e.name)
		switch e.repetition {
		case optional:
			defs++
		case repeated:
			defs++
			reps++
		}
		if !e.leaf {
			for range e.children {
				if err := walk(path, reps, defs); err != nil {
					return err
				}
			}
			return nil
		}
		c := Column{Path: path, Type: Type(e.typ), Width: int(e.width), Shape: Many}
		if e.text && c.Type == ByteArray {
			c.Meaning = Text
		}
		if reps == 0 {
			c.Shape = Shape(min(defs, 1))
		}
		known := c.Type == Boolean || c.Type == Int64 || c.Type == Double || c.Type == ByteArray || c.Type == Fixed && e.width > 0 && e.width <= 1<<16
		c.unread = !known || reps > 1 || defs > 1
		f.columns = append(f.columns, c)
		return nil
	}
	for range root.children {
		if err := walk(nil, 0, 0); err != nil {
			return err
		}
	}
	if n != 0 {
		return errFooter
	}
	return nil
}

func (f *footer) group(r *thriftReader, end int64) error {
	rows, raw, columns := int64(-1), int64(0), 0
	for last := 0; ; {
		id, typ := r.field(last)
		if typ == thriftStop {
			break
		}
		switch last = id; {
		case id == 1 && typ == thriftList:
			_, columns = r.list()
			if columns != len(f.columns) {
				return fmt.Errorf("row group %d has %d columns, the schema %d", len(f.rows), columns, len(f.columns))
			}
			if len(f.rows) == 0 {
				f.chunks = make([]chunk, 0, columns)
			}
			for i := range columns {
				c, err := readChunk(r, end)
				if err != nil {
					return fmt.Errorf("row group %d, column %q: %w", len(f.rows), f.columns[i].Path, err)
				}
				f.chunks = append(f.chunks, c)
			}
		case id == 2 && typ == thriftI64:
			raw = r.varint()
		case id == 3 && typ == thriftI64:
			rows = r.varint()
		default:
			r.skip(typ, 0)
		}
	}
	if r.bad || rows < 0 || rows > maxRows || columns == 0 {
		return errFooter
	}
	f.rows, f.raw = append(f.rows, int(rows)), append(f.raw, max(0, raw))
	return nil
}

func readChunk(r *thriftReader, end int64) (c chunk, err error) {
	var data, dict, size, indexSize int64
	size, c.nulls = -1, -1
	for last := 0; ; {
		id, typ := r.field(last)
		if typ == thriftStop {
			break
		}
		switch last = id; {
		case id == 3 && typ == thriftStruct:
			for last := 0; ; {
				id, typ := r.field(last)
				if typ == thriftStop {
					break
				}
				switch last = id; {
				case id == 4 && typ == thriftI32:
					c.codec = uint8(min(uint64(r.varint()), 255))
				case id == 7 && typ == thriftI64:
					size = r.varint()
				case id == 9 && typ == thriftI64:
					data = r.varint()
				case id == 11 && typ == thriftI64:
					dict = r.varint()
				case id == 12 && typ == thriftStruct:
					c.nulls = readNulls(r)
				default:
					r.skip(typ, 0)
				}
			}
		case id == 4 && typ == thriftI64:
			c.index = r.varint()
		case id == 5 && typ == thriftI32:
			indexSize = r.varint()
		default:
			r.skip(typ, 0)
		}
	}
	c.offset, c.dict = data, dict > 0 && dict < data
	if c.dict {
		c.offset = dict
	}
	if r.bad || c.offset < int64(len(magic)) || size < 0 || size > maxChunkBytes || c.offset > end-size ||
		c.index < 0 || indexSize < 0 || indexSize > maxChunkBytes || c.index > end-indexSize {
		return c, errFooter
	}
	c.size, c.indexSize = int32(size), int32(indexSize)
	return c, nil
}

func readNulls(r *thriftReader) int32 {
	nulls := int32(-1)
	for last := 0; ; {
		id, typ := r.field(last)
		if typ == thriftStop {
			return nulls
		}
		if last = id; id == 3 && typ == thriftI64 {
			if x := r.varint(); x >= 0 && x <= 1<<31-1 {
				nulls = int32(x)
			}
		} else {
			r.skip(typ, 0)
		}
	}
}
