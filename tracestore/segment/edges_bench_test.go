package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// BenchmarkEdges writes runs of the edges of captured rows, see [captured], and
// merges them, and asks the one that it gets.
func BenchmarkEdges(b *testing.B) {
	path := os.Getenv("REDTHREAD_OTLP")
	if path == "" {
		b.Skip("REDTHREAD_OTLP names no file of requests")
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const runs, rows = 8, 100_000 // of each
	var tables []*memtable.Table
	var d otlp.Decoder
	var head [36]byte
	for range runs {
		m := memtable.New()
		d.UseMarks(graph.DefaultRules().Marks)
		for m.Rows() < rows {
			if _, err := io.ReadFull(f, head[:]); err != nil {
				b.Fatal(err)
			}
			body := make([]byte, binary.LittleEndian.Uint32(head[:]))
			if _, err := io.ReadFull(f, body); err != nil {
				b.Fatal(err)
			}
			if _, err := d.DecodeRows(otlp.Traces, body, otlp.Arrival{UnixNano: 1_700_000_000_000_000_000}, func(r *column.Row) error {
				_, err := m.AddRow(r, r.Hash())
				return err
			}); err != nil {
				b.Fatal(err)
			}
			m.Publish()
		}
		tables = append(tables, m)
	}
	dir := b.TempDir()
	var list []*Edges
	for i := range tables {
		list = append(list, OpenEdges(filepath.Join(dir, fmt.Sprint(i, ".edges")), NewCache(1<<20)))
	}
	b.Run("step=write", func(b *testing.B) {
		b.ReportAllocs()
		size := int64(0)
		for b.Loop() {
			size = 0
			for i, m := range tables {
				info, err := WriteEdges(list[i].Path(), m.Halves(), m.Summaries(), nil)
				if err != nil {
					b.Fatal(err)
				}
				size += info.SizeBytes
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(runs*rows), "ns/row")
		b.ReportMetric(float64(size)/(runs*rows), "B/row")
	})
	b.Run("step=merge", func(b *testing.B) {
		b.ReportAllocs()
		size := int64(0)
		for b.Loop() {
			info, err := MergeEdges(filepath.Join(dir, "merged.edges"), list, nil)
			if err != nil {
				b.Fatal(err)
			}
			size = info.SizeBytes
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(runs*rows), "ns/row")
		b.ReportMetric(float64(size)/(runs*rows), "B/row")
	})
	// One trace after the other, as who follows a thread asks, of a run whose unpacked
	// blocks fill the cache again and again.
	b.Run("step=ask", func(b *testing.B) {
		e := OpenEdges(filepath.Join(dir, "merged.edges"), NewCache(4<<20))
		defer e.Close()
		sums, n := tables[0].Summaries(), 0
		b.ReportAllocs()
		for b.Loop() {
			id := []trace.ID{sums[n%len(sums)].TraceID}
			n++
			found := false
			if err := errors.Join(
				e.Summaries(id, func(int, *graph.Summary) { found = true }),
				e.Causes(id, func(int, *graph.Half) bool { return true }),
				e.Effects(id, func(int, graph.Link) bool { return true }),
			); err != nil || !found {
				b.Fatal(found, err)
			}
		}
	})
}
