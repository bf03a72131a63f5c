package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// benchBlocks is about 2 M rows in 16 blocks: 12 services, 60 names, one user
// id in 200 k, one order id a row, durations of a log-normal shape, over two hours.
var benchBlocks = sync.OnceValue(func() []column.Block {
	rng := rand.New(rand.NewPCG(7, 7))
	blocks := make([]column.Block, 16)
	for b := range blocks {
		spans := make([]trace.Span, column.MaxBlockRows)
		for i := range spans {
			s := &spans[i]
			s.TraceID[0], s.TraceID[1], s.TraceID[2] = byte(b), byte(i>>12), byte(i>>4)
			s.SpanID[0], s.SpanID[7] = byte(i), byte(i>>8)
			if i%8 != 0 {
				s.ParentID[7] = 1
			}
			s.Service = fmt.Sprintf("service-%d", min(rng.IntN(12), rng.IntN(12)))
			s.Name = fmt.Sprintf("operation-%d", rng.IntN(60))
			s.Environment = "production"
			s.Kind = trace.Kind(1 + rng.IntN(5))
			s.Error = rng.IntN(100) == 0
			s.StartUnixNano = testNow.UnixNano() - int64(16-b)*450e9 + int64(i)*3_000_000
			s.DurationNano = int64(1e6 * math.Exp(2+1.5*rng.NormFloat64()))
			s.Attributes = []trace.Attribute{
				{Key: "user.id", Value: trace.String(fmt.Sprintf("user-%d", rng.IntN(200_000)))},
				{Key: "order.id", Value: trace.Int(int64(b)<<32 | int64(i))},
				{Key: "http.response.status_code", Value: trace.Int([]int64{200, 200, 200, 404, 500}[rng.IntN(5)])},
			}
		}
		blocks[b] = newTestBlock(spans)
		blocks[b].(*testBlock).spans = spans[:len(spans):len(spans)]
		blocks[b] = benchBlock{blocks[b], testNow.UnixNano() - int64(16-b)*450e9, testNow.UnixNano() - int64(15-b)*450e9}
	}
	return blocks
})

// benchBlock knows its bounds, as real blocks do.
type benchBlock struct {
	column.Block
	lo, hi int64
}

func (b benchBlock) Bounds() (int64, int64) { return b.lo, b.hi - 1 }

func BenchmarkRun(b *testing.B) {
	for _, c := range []struct{ name, spec string }{
		{"scan/count", `{}`},
		{"scan/selectivity=0.01", `{"filters":[{"column":"error","op":"=","value":true}]}`},
		{"scan/user", `{"filters":[{"column":"user.id","op":"=","value":"user-77"}]}`},
		{"p99/groups=12", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["service.name"]}`},
		{"p99/groups=12/series", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["service.name"],"granularity":0}`},
		{"count/groups=720", `{"breakdowns":["service.name","name"]}`},
		{"count/groups=2e5", `{"breakdowns":["user.id"]}`},
		{"p99/groups=2e5", `{"calculations":[{"op":"P99","column":"duration_ms"}],"breakdowns":["user.id"]}`},
		{"count/groups=2e6", `{"breakdowns":["order.id"]}`},
		{"distinct/groups=12", `{"calculations":[{"op":"COUNT_DISTINCT","column":"user.id"}],"breakdowns":["service.name"]}`},
		{"heatmap", `{"calculations":[{"op":"HEATMAP","column":"duration_ms"}],"granularity":0}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			blocks := benchBlocks()
			spec, err := ParseSpec([]byte(c.spec))
			if err != nil {
				b.Fatal(err)
			}
			p, err := Compile(spec, testNow)
			if err != nil {
				b.Fatal(err)
			}
			var scanned int64
			b.ReportAllocs()
			for b.Loop() {
				r, err := Run(context.Background(), p, blocks)
				if err != nil {
					b.Fatal(err)
				}
				scanned += r.Stats.RowsScanned
			}
			b.ReportMetric(float64(scanned)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}

func BenchmarkSearch(b *testing.B) {
	for _, c := range []struct {
		name string
		s    Search
	}{
		{"newest", Search{}},
		{"slowest/per_trace", Search{Order: "slowest", PerTrace: true, Limit: 20}},
		{"user", Search{Filters: []Filter{{"user.id", "=", "user-77"}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			blocks := benchBlocks()
			p, err := CompileSearch(c.s, testNow)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := RunSearch(context.Background(), p, blocks); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkColumns(b *testing.B) {
	blocks := benchBlocks()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Columns(context.Background(), blocks, "", ""); err != nil {
			b.Fatal(err)
		}
	}
}
