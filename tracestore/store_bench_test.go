package tracestore

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// benchRows is how many rows the store of BenchmarkStore has;
// REDTHREAD_BENCH_ROWS sets it.
func benchRows() int {
	if n, err := strconv.Atoi(os.Getenv("REDTHREAD_BENCH_ROWS")); err == nil && n > 0 {
		return n
	}
	return 1_000_000
}

const benchBatch = 800

// benchBodies makes export requests of a car marketplace: requests of six
// services with their SQL, messages and jobs, about 18 attributes a span, the
// same for the same seed.
func benchBodies(rows int, seed uint64, end int64) (bodies [][]byte, ids []trace.ID) {
	r := rand.New(rand.NewPCG(seed, 1))
	services := []string{"web-uk", "web-de", "quotes-api", "dealers-api", "job-workers", "kafka-consumers"}
	users := rand.NewZipf(r, 1.1, 8, uint64(max(rows/8, 100)))
	pick := func(prefix string, n int) trace.Value { return trace.String(prefix + strconv.Itoa(r.IntN(n))) }
	start := end - time.Hour.Nanoseconds()
	var spans []trace.Span
	var last trace.Ref // of a trace before, which a consumer's link points to
	for made := 0; made < rows; {
		var id trace.ID
		binary.BigEndian.PutUint64(id[:], r.Uint64())
		binary.BigEndian.PutUint64(id[8:], r.Uint64()|1)
		ids = append(ids, id)
		n := min(1+int(r.ExpFloat64()*10), 200, rows-made)
		at := start + int64(float64(time.Hour)*float64(made)/float64(rows))
		user, request, build := fmt.Sprintf("u-%d", users.Uint64()), fmt.Sprintf("%016x", r.Uint64()), pick("build-", 24)
		service := r.IntN(len(services))
		var parent trace.SpanID
		for i := range n {
			var span trace.SpanID
			binary.BigEndian.PutUint64(span[:], r.Uint64()|1)
			s := trace.Span{TraceID: id, SpanID: span, ParentID: parent, Service: services[service], Kind: trace.KindServer,
				StartUnixNano: at + int64(i)*1e6, DurationNano: int64(20e6 * r.ExpFloat64() * r.ExpFloat64()), Attributes: []trace.Attribute{
					{Key: "user.id", Value: trace.String(user)}, {Key: "request.id", Value: trace.String(request)}, {Key: "app.build", Value: build},
					{Key: "dealer.id", Value: pick("d-", 2000)}, {Key: "host.name", Value: pick("host-", 40)}, {Key: "k8s.pod.name", Value: pick("pod-", 120)},
					{Key: "site.country", Value: pick("c", 2)}, {Key: "thread.id", Value: trace.Int(r.Int64N(32))}, {Key: "alloc.objects", Value: trace.Int(int64(r.ExpFloat64() * 5000))},
					{Key: "feature.new_quotes", Value: trace.Bool(r.IntN(3) == 0)}, {Key: "gc.share", Value: trace.Float(float64(r.IntN(1000)) / 1000)},
				}}
			switch {
			case i == 0:
				s.Name = "GET /cars/" + strconv.Itoa(r.IntN(30))
				s.Attributes = append(s.Attributes, trace.Attribute{Key: "http.route", Value: trace.String(s.Name[4:])},
					trace.Attribute{Key: "http.response.status_code", Value: trace.Int([]int64{200, 200, 200, 201, 404, 500}[r.IntN(6)])})
				if service == 5 && last.TraceID != (trace.ID{}) {
					s.Kind, s.Links = trace.KindConsumer, []trace.Link{{TraceID: last.TraceID, SpanID: last.SpanID}}
				}
				parent, last = span, trace.Ref{TraceID: id, SpanID: span}
			case r.IntN(3) > 0:
				s.Name, s.Kind = "SELECT cars", trace.KindClient
				s.Attributes = append(s.Attributes, trace.Attribute{Key: "db.system.name", Value: trace.String("postgresql")},
					trace.Attribute{Key: "db.statement", Value: trace.String(fmt.Sprintf("SELECT * FROM cars_%d WHERE make = $1 AND model = $2 ORDER BY price LIMIT 20", r.IntN(200)))},
					trace.Attribute{Key: "db.rows", Value: trace.Int(r.Int64N(20))})
			default:
				s.Name, s.Kind = "price "+strconv.Itoa(r.IntN(12)), trace.KindInternal
			}
			if r.IntN(200) == 0 {
				s.Status, s.StatusMessage, s.Error = trace.StatusError, "timed out", true
			}
			spans = append(spans, s)
			made++
		}
		if len(spans) >= benchBatch || made >= rows {
			bodies = append(bodies, otlp.AppendSpans(nil, spans))
			spans = spans[:0]
		}
	}
	return bodies, ids
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchQueries are the sorts of question that are timed.
var benchQueries = []struct{ name, spec string }{
	{"count-by-service", `{"calculations":[{"op":"COUNT"}],"breakdowns":["service.name"]}`},
	{"count-p99-by-service-minute", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["service.name"],"granularity":60}`},
	{"count-p99-by-statement", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["db.statement"],"orders":[{"op":"COUNT","order":"descending"}],"limit":20}`},
	{"count-p99-by-user", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["user.id"],"orders":[{"op":"COUNT","order":"descending"}],"limit":20}`},
	{"count-p99-by-request", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["request.id"],"orders":[{"op":"COUNT","order":"descending"}],"limit":20}`},
	{"one-build-p99-by-dealer", `{"calculations":[{"op":"P99","column":"duration_ms"}],"filters":[{"column":"app.build","op":"=","value":"build-3"}],"breakdowns":["dealer.id"],"orders":[{"op":"P99","column":"duration_ms","order":"descending"}],"limit":20}`},
}

// BenchmarkStore takes in a seeded workload through a synced log until it is
// merged, and asks the questions of a debugger of it. The store is made once for
// all of them; `go test -bench Store -run ^$ ./tracestore` runs them alone.
func BenchmarkStore(b *testing.B) {
	rows := benchRows()
	end := testClock.UnixNano()
	bodies, ids := benchBodies(rows, 1, end)
	log, stop := logtest.Start(b, b.TempDir())
	defer stop()
	o := Options{Dir: b.TempDir(), Log: log, MinFreeBytes: 1, Now: func() time.Time { return time.Unix(0, end) }}
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { s.Close() }()

	// One pass says all, however often the benchmark is run.
	var taken, used time.Duration
	ingest := sync.OnceFunc(func() {
		before := cpu(b)
		began := time.Now()
		next := make(chan []byte)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for raw := range next {
					if _, err := s.Append(b.Context(), Batch{Format: FormatOTLPProto, Raw: raw}); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for _, raw := range bodies {
			next <- raw
		}
		close(next)
		wg.Wait()
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		taken = time.Since(began)
		if err := s.Compact(b.Context()); err != nil {
			b.Fatal(err)
		}
		used = cpu(b) - before
	})
	b.Run(fmt.Sprintf("step=ingest/rows=%d", rows), func(b *testing.B) {
		ingest()
		st := s.Stats()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(rows)/taken.Seconds(), "rows/s")
		b.ReportMetric(used.Seconds()/float64(rows)*1e6, "cpu-s/Mrow")
		b.ReportMetric(float64(st.SegmentBytes+st.EdgeBytes)/float64(st.SegmentRows), "bytes/row")
	})
	ingest() // also when the step above is not asked for

	lookup := func(b *testing.B, id trace.ID) time.Duration {
		began := time.Now()
		if spans, _, err := s.TraceSpans(b.Context(), id, 1000); err != nil || len(spans) == 0 {
			b.Fatalf("%d spans, %v", len(spans), err)
		}
		return time.Since(began)
	}
	b.Run("step=trace/cache=warm", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			lookup(b, ids[i*7919%len(ids)])
		}
	})
	cold := sync.OnceValue(func() (took []time.Duration) {
		const opens, each = 10, 5
		for i := range opens { // each with nothing decoded, and the files in the system's cache
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			if s, err = Open(b.Context(), o); err != nil {
				b.Fatal(err)
			}
			for j := range each {
				took = append(took, lookup(b, ids[(i*each+j)*7919%len(ids)]))
			}
		}
		slices.Sort(took)
		return took
	})
	b.Run("step=trace/cache=cold", func(b *testing.B) {
		took := cold()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
		b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1e3, "p95-ms")
	})
	for _, q := range benchQueries {
		b.Run("step=query/name="+q.name, func(b *testing.B) {
			spec, err := query.ParseSpec([]byte(q.spec))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if r, err := s.Query(b.Context(), spec); err != nil || len(r.Results) == 0 {
					b.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
	for name, spec := range map[string]string{
		"user":   `{"filters":[{"column":"user.id","op":"=","value":"u-7"}],"limit":20}`,
		"slow":   `{"filters":[{"column":"service.name","op":"=","value":"quotes-api"},{"column":"duration_ms","op":">","value":400}],"limit":20}`,
		"errors": `{"filters":[{"column":"error","op":"=","value":true}],"limit":20}`,
	} {
		b.Run("step=search/name="+name, func(b *testing.B) {
			var f struct {
				Filters []query.Filter
				Limit   int
			}
			if err := json.Unmarshal([]byte(spec), &f); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if r, err := s.Search(b.Context(), query.Search{Filters: f.Filters, Limit: f.Limit}); err != nil || len(r.Rows) == 0 {
					b.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
	b.Run("step=bubbleup", func(b *testing.B) {
		spec, err := query.ParseBubbleUp([]byte(`{"query":{},"exact":true,"selection_filters":[{"column":"duration_ms","op":">","value":250}]}`))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.BubbleUp(b.Context(), spec); err != nil {
				b.Fatal(err)
			}
		}
	})
}
