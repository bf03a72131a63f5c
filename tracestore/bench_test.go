package tracestore

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

// BenchmarkAppend takes in batches through a real log, synced, from several
// senders at once, until they are applied.
func BenchmarkAppend(b *testing.B) {
	for _, spans := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("spans=%d", spans), func(b *testing.B) {
			log, stop := logtest.Start(b, b.TempDir())
			s, err := Open(b.Context(), Options{Dir: b.TempDir(), Log: log, MinFreeBytes: 1})
			if err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					raw := otlp.AppendSpans(nil, testSpans(int(n.Add(int64(spans)))-spans, spans))
					if _, err := s.Append(b.Context(), Batch{Format: FormatOTLPProto, Raw: raw}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			for s.Stats().AppendedRowsTotal < n.Load() {
				if b.Context().Err() != nil {
					b.Fatal("not applied")
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(b.N)/float64(s.Stats().LogMessagesTotal), "requests/message")
			if err := s.Close(); err != nil {
				b.Error(err)
			}
			stop()
		})
	}
}

// BenchmarkApply decodes wide spans into a memtable, as the writer does.
func BenchmarkApply(b *testing.B) {
	const batch, batches = 800, 150
	rng := rand.New(rand.NewPCG(1, 2))
	var raws [][]byte
	size := 0
	for range batches {
		raws = append(raws, wideBatch(rng, batch))
		size += len(raws[len(raws)-1])
	}
	var d otlp.Decoder
	var mem *memtable.Table
	recent := memtable.NewRecent(recentRows)
	round := uint64(0)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		round++
		mem = memtable.NewAfter(mem, recent, memtable.Edges{})
		for _, raw := range raws {
			if _, err := d.DecodeRows(otlp.Traces, raw, otlp.Arrival{UnixNano: 1}, func(r *column.Row) error {
				_, err := mem.AddRow(r, column.Mix(r.Hash(), round)) // other rows each time
				return err
			}); err != nil {
				b.Fatal(err)
			}
			mem.Publish()
		}
	}
	if mem.Rows() != batch*batches {
		b.Fatalf("%d rows, want %d", mem.Rows(), batch*batches)
	}
	b.ReportMetric(float64(b.N*batch*batches)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch*batches), "ns/row")
	b.ReportMetric(float64(mem.Measure())/(batch*batches), "B/row")
}

// BenchmarkFlush decodes 60,000 spans into a memtable and writes it to a segment.
func BenchmarkFlush(b *testing.B) {
	const rows = 60_000
	raw := otlp.AppendSpans(nil, testSpans(0, rows))
	dir := b.TempDir()
	var d otlp.Decoder
	fill := func() *memtable.Table {
		m := memtable.New()
		_, err := d.Decode(otlp.Traces, raw, otlp.Arrival{UnixNano: 1}, func(s *trace.Span) error {
			_, err := m.Add(s, column.RowHash(s))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		m.Publish()
		return m
	}
	b.Run("step=memtable", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fill()
		}
		b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("step=segment", func(b *testing.B) {
		m := fill()
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			if _, err := segment.Write(filepath.Join(dir, fmt.Sprint(n, ".parquet")), m.Blocks(), m.Fingerprints(), nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n*rows)/b.Elapsed().Seconds(), "rows/s")
	})
}
