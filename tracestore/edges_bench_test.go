package tracestore

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

// edgeBenchBodies are the export requests that BenchmarkEdgeCost takes in: those of
// benchBodies, or the first of the file that REDTHREAD_BENCH_BODIES names. Its records
// are a header of 36 bytes, which begins with the length of the body and the number
// of its spans, u32 little-endian, and the body.
func edgeBenchBodies(b *testing.B) (bodies [][]byte, rows int) {
	path := os.Getenv("REDTHREAD_BENCH_BODIES")
	if path == "" {
		bodies, _ = benchBodies(benchRows(), 1, testClock.UnixNano())
		return bodies, benchRows()
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for rows < benchRows() {
		var head [36]byte
		if _, err := io.ReadFull(f, head[:]); err == io.EOF {
			break
		} else if err != nil {
			b.Fatal(err)
		}
		body := make([]byte, binary.LittleEndian.Uint32(head[:]))
		if _, err := io.ReadFull(f, body); err != nil {
			b.Fatal(err)
		}
		bodies, rows = append(bodies, body), rows+int(binary.LittleEndian.Uint32(head[4:]))
	}
	return bodies, rows
}

// edgeTable decodes requests into a memtable as the writer does, with what the
// decoder and the table do for edges or without. Without, no key has a mark and no
// row a link or the kind of a consumer, so that no row is looked at.
func edgeTable(b *testing.B, with bool, d *otlp.Decoder, recent *memtable.Recent, bodies [][]byte, round uint64) *memtable.Table {
	mem := memtable.NewAfter(nil, recent, memtable.Edges{})
	for _, raw := range bodies {
		if _, err := d.DecodeRows(otlp.Traces, raw, otlp.Arrival{UnixNano: testClock.UnixNano()}, func(r *column.Row) error {
			hash := column.Mix(r.Hash(), round) // other rows each time
			if !with {
				if r.Links = nil; r.Kind == trace.KindConsumer {
					r.Kind = trace.KindInternal
				}
			}
			_, err := mem.AddRow(r, hash)
			return err
		}); err != nil {
			b.Fatal(err)
		}
		mem.Publish()
	}
	if with == (len(mem.Halves()) == 0) {
		b.Fatalf("%d halves", len(mem.Halves()))
	}
	return mem
}

// BenchmarkEdgeCost measures what the edge index costs at ingest, in processor time
// of all that runs, the garbage collector too:
//
//   - looking at rows: the same requests go into memtables with it and without, in
//     turn, and the one is set against the other;
//   - the run of edges of a flush: summaries, halves in order, the file;
//   - merging: of as many flushes as one merge joins. A store that keeps on merges
//     each run once a level, so that it counts maxRunLevel times.
//
// What it reports are medians: of 40 pairs of memtables, of 40 flushes and of 5 merges,
// per span, and their sum as us/span.
func BenchmarkEdgeCost(b *testing.B) {
	bodies, rows := edgeBenchBodies(b)
	const flushes, rounds = mergeRuns, 5
	var decoders [2]otlp.Decoder
	var recents [2]*memtable.Recent
	decoders[1].UseMarks(graph.DefaultRules().Marks)
	for i := range recents {
		recents[i] = memtable.NewRecent(recentRows)
	}
	// timed is the processor time that fn takes, in microseconds a span of n.
	timed := func(n int, fn func()) float64 {
		runtime.GC() // of what came before
		began := cpu(b)
		fn()
		return float64((cpu(b) - began).Nanoseconds()) / 1e3 / float64(n)
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
		var look, flush, merge []float64
		dir, size := b.TempDir(), int64(0)
		for round := range uint64(rounds + 1) { // the first until the heap has the size that it keeps
			var runs []*segment.Edges
			for i := range flushes {
				part := bodies[i*len(bodies)/flushes : (i+1)*len(bodies)/flushes]
				var tables [2]*memtable.Table
				var took [2]float64
				for k := range tables {
					with := (k + i + int(round)) % 2 // which comes first changes
					took[with] = timed(rows/flushes, func() {
						tables[with] = edgeTable(b, with == 1, &decoders[with], recents[with], part, round)
					})
				}
				path := filepath.Join(dir, fmt.Sprint(i, ".edges"))
				wrote := timed(tables[1].Rows(), func() {
					if _, err := segment.WriteEdges(path, tables[1].Halves(), tables[1].Summaries(), nil); err != nil {
						b.Fatal(err)
					}
				})
				runs = append(runs, segment.OpenEdges(path, segment.NewCache(1<<20)))
				if round > 0 {
					look, flush = append(look, took[1]-took[0]), append(flush, wrote)
				}
			}
			merged := timed(rows, func() {
				info, err := segment.MergeEdges(filepath.Join(dir, "merged.edges"), runs, nil)
				if err != nil {
					b.Fatal(err)
				}
				size = info.SizeBytes
			})
			if round > 0 {
				merge = append(merge, merged)
			}
			for _, e := range runs {
				e.Close()
			}
		}
		l, f, m := median(look), median(flush), median(merge)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(l, "us/span-look")
		b.ReportMetric(f, "us/span-flush")
		b.ReportMetric(m, "us/span-merge")
		b.ReportMetric(l+f+maxRunLevel*m, "us/span")
		b.ReportMetric(float64(size)/float64(rows), "bytes/span")
	})
}
