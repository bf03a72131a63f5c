package tracestore

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/memtable"
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

// BenchmarkEdgeCost measures what the edge index costs at ingest: the same requests
// are taken in with it and without, in turn, until all is on disk and merged, and the
// processor time of the one is set against that of the other. There are as many
// flushes as the first level of merges needs; a store that keeps on merges each run
// twice more, which is counted as twice what the first time took.
func BenchmarkEdgeCost(b *testing.B) {
	bodies, rows := edgeBenchBodies(b)
	const flushes = mergeRuns
	// ingest returns the processor time for all, and for the merges of edges alone.
	ingest := func(none bool) (all, merges time.Duration, bytes int64) {
		log, stop := logtest.Start(b, b.TempDir())
		defer stop()
		s, err := Open(b.Context(), Options{Dir: b.TempDir(), Log: log, MinFreeBytes: 1, FlushRows: 1 << 30, FlushBytes: maxFlushBytes})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		s.edges.Store(&memtable.Edges{None: none})
		runtime.GC()
		began := cpu(b)
		for i := range flushes {
			for _, raw := range bodies[i*len(bodies)/flushes : (i+1)*len(bodies)/flushes] {
				if _, err := s.Append(b.Context(), Batch{Format: FormatOTLPProto, Raw: raw}); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		before := cpu(b)
		if err := s.Maintain(b.Context()); err != nil {
			b.Fatal(err)
		}
		merges = cpu(b) - before
		if st := s.Stats(); int(st.AppendedRowsTotal) < rows || st.EdgeRuns != 1 {
			b.Fatalf("%d of %d rows, %d runs", st.AppendedRowsTotal, rows, st.EdgeRuns)
		}
		return cpu(b) - began, merges, s.Stats().EdgeBytes
	}
	b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
		var more, ratio, merge []float64
		var size int64
		const pairs = 5
		ingest(false) // until the heap has the size that it keeps
		for i := range pairs {
			var with, without, merges time.Duration
			if i%2 == 0 {
				with, merges, size = ingest(false)
			}
			without, _, _ = ingest(true)
			if i%2 == 1 {
				with, merges, size = ingest(false)
			}
			perSpan := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(rows) }
			b.Logf("with edges %.2f us of processor time a span, of which merging them %.2f; without %.2f", perSpan(with), perSpan(merges), perSpan(without))
			with += (maxRunLevel - 1) * merges
			more, ratio, merge = append(more, perSpan(with-without)), append(ratio, with.Seconds()/without.Seconds()), append(merge, perSpan(merges))
		}
		median := func(list []float64) float64 {
			slices.Sort(list)
			return list[len(list)/2]
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(more), "us/span")
		b.ReportMetric(median(ratio), "with/without")
		b.ReportMetric(median(merge), "us/span/merge")
		b.ReportMetric(float64(size)/float64(rows), "bytes/span")
	})
}
