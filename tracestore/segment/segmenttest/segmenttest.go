// Package segmenttest reads segments with parquet-go, as any other program would,
// and knows of them only what the package comment of segment says. Tests compare
// with it what our own codec reads.
package segmenttest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Check fails the test unless parquet-go reads the segment at path as blocks, all
// of its row groups in order, show it: every span, with its attributes in order.
func Check(t testing.TB, path string, blocks []column.Block) {
	t.Helper()
	want := Read(t, path)
	at := 0
	for g, b := range blocks {
		rows := make([]int, b.Rows())
		for i := range rows {
			rows[i] = i
		}
		got, err := b.Spans(rows, nil)
		if err != nil {
			t.Fatalf("%s, row group %d: %v", path, g, err)
		}
		if len(got) > len(want)-at {
			t.Fatalf("%s: more than the %d rows that parquet-go reads", path, len(want))
		}
		for i := range got {
			if diff := cmp.Diff(want[at+i], got[i]); diff != "" {
				t.Fatalf("%s, row %d of row group %d (-parquet-go +ours):\n%s", path, i, g, diff)
			}
		}
		at += len(got)
	}
	if at != len(want) {
		t.Fatalf("%s: %d rows, parquet-go reads %d", path, at, len(want))
	}
}

// Rows returns the number of rows that the file at path says it has.
func Rows(t testing.TB, path string) int {
	t.Helper()
	f, done := open(t, path)
	defer done()
	return int(f.NumRows())
}

func open(t testing.TB, path string) (*parquet.File, func()) {
	t.Helper()
	fd, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := fd.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(fd, info.Size())
	if err != nil {
		t.Fatalf("parquet-go: open %s: %v", path, err)
	}
	return f, func() { fd.Close() }
}

// attributeColumn is a column of the layout in the file's metadata.
type attributeColumn struct {
	Name string     `json:"name"`
	Key  string     `json:"key"`
	Type trace.Type `json:"type"`
}

// file is a segment that is being read.
type file struct {
	leaves  map[string]int // of parquet-go, by path
	columns []attributeColumn
	row     map[int][]parquet.Value // the row's values, without nulls
}

// Read returns every span of the segment at path.
func Read(t testing.TB, path string) []trace.Span {
	t.Helper()
	pf, done := open(t, path)
	defer done()
	f := &file{leaves: make(map[string]int)}
	for i, p := range pf.Schema().Columns() {
		f.leaves[strings.Join(p, "\x00")] = i
	}
	text, _ := pf.Lookup("redthread.layout")
	var l struct {
		Columns []attributeColumn `json:"columns"`
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatalf("%s: layout: %v", path, err)
	}
	f.columns = l.Columns
	for i := range f.columns {
		if c := &f.columns[i]; c.Name == "" {
			c.Name = c.Key
		}
	}
	var out []trace.Span
	for g, group := range pf.RowGroups() {
		rows := group.Rows()
		buf := make([]parquet.Row, 256)
		n := 0
		for {
			got, err := rows.ReadRows(buf)
			for _, r := range buf[:got] {
				f.row = make(map[int][]parquet.Value)
				for _, v := range r {
					if !v.IsNull() {
						f.row[v.Column()] = append(f.row[v.Column()], v.Clone())
					}
				}
				s, err := f.span()
				if err != nil {
					t.Fatalf("%s: row %d of row group %d: %v", path, n, g, err)
				}
				out = append(out, s)
				n++
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("parquet-go: %s: row group %d after row %d: %v", path, g, n, err)
			}
		}
		rows.Close()
		if int64(n) != group.NumRows() {
			t.Fatalf("parquet-go: %s: row group %d: %d rows, want %d", path, g, n, group.NumRows())
		}
	}
	return out
}

func (f *file) all(path ...string) []parquet.Value {
	leaf, ok := f.leaves[strings.Join(path, "\x00")]
	if !ok {
		return nil
	}
	return f.row[leaf]
}

// one returns the value of a flat column, a null if the row has none.
func (f *file) one(name string) parquet.Value {
	if v := f.all(name); len(v) == 1 {
		return v[0]
	}
	return parquet.Value{}
}

func (f *file) text(name string) string {
	if v := f.one(name); !v.IsNull() {
		return string(v.ByteArray())
	}
	return ""
}

func (f *file) span() (trace.Span, error) {
	number := func(name string) int64 { return f.one(name).Int64() }
	s := trace.Span{
		Name: f.text(column.Name), Service: f.text(column.Service), Environment: f.text(column.Environment),
		StatusMessage: f.text(column.StatusMessage), TraceState: f.text(column.TraceState),
		Signal: trace.Signal(number(column.Signal)), Kind: trace.Kind(number(column.Kind)), Status: trace.StatusCode(number(column.Status)),
		StartUnixNano: number(column.Start), DurationNano: number(column.Duration), ArrivedUnixNano: number(column.Arrived),
		Error: f.one(column.Error).Boolean(),
	}
	copy(s.TraceID[:], f.text(column.TraceID))
	copy(s.SpanID[:], f.text(column.SpanID))
	copy(s.ParentID[:], f.text(column.ParentID))
	if err := f.attributes(&s); err != nil {
		return s, err
	}
	return s, f.nested(&s)
}

// attributes follows the row's shape.
func (f *file) attributes(s *trace.Span) error {
	keys, values := f.all("attr.overflow", "key_value", "key"), f.all("attr.overflow", "key_value", "value")
	if len(keys) != len(values) {
		return fmt.Errorf("overflow map has %d keys and %d values", len(keys), len(values))
	}
	shape := []byte(f.text("meta.shape"))
	had := 0
	for len(shape) > 0 {
		p, n := binary.Uvarint(shape)
		if n <= 0 || p > uint64(len(f.columns)) {
			return errors.New("shape is damaged")
		}
		shape = shape[n:]
		if p == 0 {
			if len(keys) == 0 {
				return errors.New("shape has more overflow entries than the map")
			}
			a, err := rare(string(keys[0].ByteArray()), string(values[0].ByteArray()))
			if err != nil {
				return err
			}
			s.Attributes = append(s.Attributes, a)
			keys, values = keys[1:], values[1:]
			continue
		}
		c := f.columns[p-1]
		v := f.one(c.Name)
		if v.IsNull() {
			return fmt.Errorf("no value in column %q, which the shape names", c.Name)
		}
		had++
		a := trace.Attribute{Key: c.Key, Value: trace.Value{Type: c.Type}}
		switch c.Type {
		case trace.TypeInt:
			a.Value = trace.Int(v.Int64())
		case trace.TypeFloat:
			a.Value = trace.Float(v.Double())
		case trace.TypeBool:
			a.Value = trace.Bool(v.Boolean())
		default:
			a.Value.Str = string(v.ByteArray())
		}
		s.Attributes = append(s.Attributes, a)
	}
	if len(keys) > 0 {
		return errors.New("overflow entries that the shape does not name")
	}
	for _, c := range f.columns {
		if len(f.all(c.Name)) > 0 {
			had--
		}
	}
	if had != 0 {
		return errors.New("values in columns that the shape does not name")
	}
	return nil
}

// rare reads an entry of the overflow map.
func rare(name, text string) (a trace.Attribute, err error) {
	a = trace.Attribute{Key: name, Value: trace.String(text)}
	i := strings.LastIndexByte(name, '#')
	if i < 0 {
		return a, nil
	}
	a.Key = name[:i]
	switch name[i+1:] {
	case "string":
	case "int":
		var x int64
		x, err = strconv.ParseInt(text, 10, 64)
		a.Value = trace.Int(x)
	case "float":
		var x float64
		x, err = strconv.ParseFloat(text, 64)
		a.Value = trace.Float(x)
	case "bool":
		a.Value = trace.Bool(text == "true")
	case "bytes":
		var b []byte
		b, err = base64.StdEncoding.DecodeString(text)
		a.Value = trace.Bytes(string(b))
	case "json":
		a.Value = trace.JSON(text)
	default:
		err = fmt.Errorf("overflow key %q has an unknown type", name)
	}
	return a, err
}

func (f *file) nested(s *trace.Span) error {
	event := func(leaf string) []parquet.Value { return f.all("events", "list", "element", leaf) }
	names, times, attributes := event("name"), event("time_unix_nano"), event("attributes")
	for i := range names {
		attrs, err := column.ParseAttributes(string(attributes[i].ByteArray()))
		if err != nil {
			return err
		}
		s.Events = append(s.Events, trace.Event{Name: string(names[i].ByteArray()), TimeUnixNano: times[i].Int64(), Attributes: attrs})
	}
	link := func(leaf string) []parquet.Value { return f.all("links", "list", "element", leaf) }
	traces, spans, states, attributes := link("trace_id"), link("span_id"), link("trace_state"), link("attributes")
	for i := range traces {
		attrs, err := column.ParseAttributes(string(attributes[i].ByteArray()))
		if err != nil {
			return err
		}
		l := trace.Link{TraceState: string(states[i].ByteArray()), Attributes: attrs}
		copy(l.TraceID[:], traces[i].ByteArray())
		copy(l.SpanID[:], spans[i].ByteArray())
		s.Links = append(s.Links, l)
	}
	return nil
}
