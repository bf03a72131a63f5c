package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
	"redthread/tracestore/segment/parquet"
	"redthread/tracestore/trace"
)

// captured fills memtables with the first rows of the file that REDTHREAD_OTLP
// names: OTLP/protobuf requests as the benchmark generator writes them, each after
// a head of 36 bytes that begins with its length (u32). REDTHREAD_ROWS is how many
// rows, 256 k without it.
func captured(t testing.TB) []column.Source {
	t.Helper()
	path := os.Getenv("REDTHREAD_OTLP")
	if path == "" {
		t.Skip("REDTHREAD_OTLP names no file of requests")
	}
	want := 256 << 10
	if s := os.Getenv("REDTHREAD_ROWS"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := memtable.New()
	var d otlp.Decoder
	var head [36]byte
	for n := int64(0); m.Rows() < want; n++ {
		if _, err := io.ReadFull(f, head[:]); err != nil {
			break
		}
		body := make([]byte, binary.LittleEndian.Uint32(head[:]))
		if _, err := io.ReadFull(f, body); err != nil {
			t.Fatal(err)
		}
		_, err := d.DecodeRows(otlp.Traces, body, otlp.Arrival{UnixNano: 1_700_000_000_000_000_000 + n*4_321_987}, func(r *column.Row) error {
			_, err := m.AddRow(r, r.Hash())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Publish()
	}
	return m.Blocks()
}

// BenchmarkEncode writes captured rows and prints what each column takes.
func BenchmarkEncode(b *testing.B) {
	sources := captured(b)
	rows := 0
	for _, s := range sources {
		rows += s.Rows()
	}
	for _, effort := range []parquet.Effort{parquet.Fast, parquet.Thorough} {
		b.Run(fmt.Sprintf("effort=%d", effort), func(b *testing.B) {
			b.ReportAllocs()
			var out bytes.Buffer
			for b.Loop() {
				out.Reset()
				l, place := plan(sources)
				if err := encode(&out, l, place, sources, effort); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
			b.ReportMetric(float64(out.Len())/float64(rows), "B/row")
			if testing.Verbose() {
				fmt.Print(columnTable(b, out.Bytes(), rows))
			}
		})
	}
}

// columnTable lists the columns that take most.
func columnTable(t testing.TB, file []byte, rows int) string {
	t.Helper()
	f, err := parquet.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		name string
		size parquet.Size
	}
	var lines []line
	var sum parquet.Size
	for i, c := range f.Columns() {
		s := line{name: strings.Join(c.Path, "/")}
		for g := range f.Groups() {
			x, err := f.Chunk(g, i).Size()
			if err != nil {
				t.Fatal(err)
			}
			s.size.Add(x)
		}
		sum.Add(s.size)
		lines = append(lines, s)
	}
	slices.SortFunc(lines, func(a, b line) int { return int(b.size.Bytes - a.size.Bytes) })
	var out strings.Builder
	per := func(n int64) float64 { return float64(n) / float64(rows) }
	show := func(name string, s parquet.Size) {
		fmt.Fprintf(&out, "%-42s %9d values %6d pages %-18s  %7.3f B/row  raw %7.3f  levels %6.3f  dictionary %6.3f (%6.3f)  headers %6.3f\n",
			name, s.Values, s.Pages, s.Encodings(), per(s.Bytes), per(s.RawBytes), per(s.LevelBytes), per(s.DictionaryBytes), per(s.RawDictionaryBytes), per(s.HeaderBytes))
	}
	for _, x := range lines[:min(60, len(lines))] {
		show(x.name, x.size)
	}
	var rest parquet.Size
	for _, x := range lines[min(60, len(lines)):] {
		rest.Add(x.size)
	}
	show(fmt.Sprintf("%d others", len(lines)-60), rest)
	show("all", sum)
	fmt.Fprintf(&out, "footer, indexes: %.3f B/row\n", per(int64(len(file))-sum.Bytes))
	return out.String()
}

// BenchmarkTraceSpans reads traces of captured rows: from a file that was just
// opened, with nothing decoded, and with the cache in use.
func BenchmarkTraceSpans(b *testing.B) {
	sources := captured(b)
	path := filepath.Join(b.TempDir(), "s.parquet")
	info, err := Write(path, sources, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	var ids []trace.ID // of different traces with 9 to 15 rows
	rows := make(map[trace.ID]int)
	for _, s := range sources {
		v, err := s.Column(column.TraceID, trace.TypeBytes)
		if err != nil {
			b.Fatal(err)
		}
		for row := range s.Rows() {
			rows[trace.ID(v.Fixed[16*row:16*row+16])]++
		}
	}
	for id, n := range rows {
		if n >= 9 && n <= 15 {
			ids = append(ids, id)
		}
	}
	missing := func(i int) (id trace.ID) {
		binary.LittleEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
		return id
	}
	run := func(name string, open func() *File, id func(i int) trace.ID) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			spans, i := 0, 0
			for b.Loop() {
				f := open()
				got, _, err := f.TraceSpans(id(i), 1000)
				if err != nil {
					b.Fatal(err)
				}
				spans += len(got)
				i++
			}
			b.ReportMetric(float64(spans)/float64(b.N), "spans")
		})
	}
	known := func(i int) trace.ID { return ids[i*7919%len(ids)] }
	var last *File
	fresh := func() *File {
		if last != nil {
			last.Close()
		}
		last = Open(path, info.Rows, NewCache(64<<20))
		return last
	}
	run("file=fresh", fresh, known)
	opened := fresh()
	run("file=open/cache=none", func() *File { opened.cache = NewCache(0); return opened }, known)
	opened.cache = NewCache(64 << 20)
	run("file=open/cache=warm", func() *File { return opened }, known)
	run("file=open/miss", func() *File { return opened }, missing)
	opened.Close()
}

// BenchmarkDecode decodes every column of captured rows, nothing cached.
func BenchmarkDecode(b *testing.B) {
	sources := captured(b)
	path := filepath.Join(b.TempDir(), "s.parquet")
	info, err := Write(path, sources, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f := Open(path, info.Rows, NewCache(0))
		blocks, err := f.Blocks()
		if err != nil {
			b.Fatal(err)
		}
		for _, block := range blocks {
			for _, c := range block.Columns() {
				if _, err := block.Column(c.Key, c.Type); err != nil {
					b.Fatal(err)
				}
			}
		}
		f.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(info.Rows), "ns/row")
}
