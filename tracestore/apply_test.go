package tracestore

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// wideBatch makes a request such as a collector sends: resources of ten attributes
// with about sixteen spans each, wide ones of five kinds, some with a link, an
// event or a key that the resource has too.
func wideBatch(rng *rand.Rand, spans int) []byte {
	var raw []byte
	pick := func(prefix string, n int) trace.Value { return trace.String(fmt.Sprint(prefix, rng.IntN(n))) }
	for made := 0; made < spans; {
		n := min(1+rng.IntN(32), spans-made)
		made += n
		service := rng.IntN(6)
		res := []trace.Attribute{
			{Key: "service.name", Value: trace.String(fmt.Sprint("service-", service))},
			{Key: "service.version", Value: trace.String(fmt.Sprint("2026.", service))},
			{Key: "service.instance.id", Value: pick(fmt.Sprint("instance-", service, "-"), 40)},
			{Key: "deployment.environment.name", Value: trace.String("production")},
			{Key: "k8s.pod.name", Value: pick(fmt.Sprint("pod-", service, "-"), 40)},
			{Key: "k8s.namespace.name", Value: trace.String("shop")},
			{Key: "cloud.region", Value: trace.String("eu-west-1")},
			{Key: "telemetry.sdk.language", Value: trace.String("ruby")},
			{Key: "telemetry.sdk.name", Value: trace.String("opentelemetry")},
			{Key: "process.pid", Value: trace.Int(rng.Int64N(100))},
		}
		rows := make([]trace.Span, n)
		for i := range rows {
			s := &rows[i]
			for b := range s.TraceID {
				s.TraceID[b] = byte(rng.IntN(255) + 1)
			}
			for b := range s.SpanID {
				s.SpanID[b] = byte(rng.IntN(255) + 1)
			}
			if i > 0 && rng.IntN(4) > 0 {
				s.TraceID, s.ParentID = rows[i-1].TraceID, rows[i-1].SpanID
			}
			kind := rng.IntN(5)
			s.Name, s.Kind = fmt.Sprint("operation ", kind), trace.Kind(kind+1)
			s.StartUnixNano, s.DurationNano = testClock.UnixNano()+rng.Int64N(1e12), rng.Int64N(1e9)
			s.Attributes = []trace.Attribute{
				{Key: "request.id", Value: trace.String(fmt.Sprintf("%016x", rng.Uint64()))},
				{Key: "user.id", Value: pick("user-", 1e6)},
				{Key: "dealer.id", Value: trace.Int(rng.Int64N(3000))},
				{Key: "country", Value: pick("c", 3)},
				{Key: "flag", Value: trace.Bool(rng.IntN(2) == 0)},
				{Key: "thread.name", Value: pick("puma-", 40)},
				{Key: fmt.Sprint("kind-", kind, ".statement"), Value: pick("SELECT * FROM things WHERE id = $1 AND made_at > $2 ORDER BY id LIMIT $3 -- ", 200)},
				{Key: fmt.Sprint("kind-", kind, ".rows"), Value: trace.Int(rng.Int64N(500))},
				{Key: fmt.Sprint("kind-", kind, ".wait_ms"), Value: trace.Float(rng.Float64())},
				{Key: "server.address", Value: pick("host-", 12)},
				{Key: "server.port", Value: trace.Int(5432)},
			}
			switch rng.IntN(20) {
			case 0:
				s.Links = []trace.Link{{TraceID: rows[0].TraceID, SpanID: rows[0].SpanID}}
			case 1:
				s.Events = []trace.Event{{Name: "exception", TimeUnixNano: s.StartUnixNano, Attributes: []trace.Attribute{{Key: "exception.type", Value: trace.String("Timeout")}}}}
			case 2:
				s.Attributes = append(s.Attributes, trace.Attribute{Key: "k8s.pod.name", Value: pick("pod-", 3)})
			case 3:
				s.Attributes = append(s.Attributes, trace.Attribute{Key: "map", Value: trace.JSON(`{"a":[1,"é"],"b":{"c":2.5}}`)})
			}
		}
		raw = otlp.AppendResourceSpans(raw, res, "instrumentation-ruby", "0.63.0", rows)
	}
	return raw
}

// applied decodes a request into a memtable and reads the rows back.
func applied(t testing.TB, d *otlp.Decoder, mem *memtable.Table, sig otlp.Signal, raw []byte) []trace.Span {
	t.Helper()
	from := mem.Rows()
	n := uint64(from)
	if _, err := d.DecodeRows(sig, raw, otlp.Arrival{UnixNano: 7}, func(r *column.Row) error {
		n++
		added, err := mem.AddRow(r, n) // equal rows too
		if err == nil && !added {
			err = errors.New("row was not added")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	mem.Publish()
	var spans []trace.Span
	for i, b := range mem.Blocks() {
		var rows []int
		for row := range b.Rows() {
			if i*column.MaxBlockRows+row >= from {
				rows = append(rows, row)
			}
		}
		var err error
		if spans, err = b.Spans(rows, spans); err != nil {
			t.Fatal(err)
		}
	}
	return spans
}

// plainNaN makes each NaN among the attributes of events and links the usual one:
// they are kept as text.
func plainNaN(s *trace.Span) {
	plain := func(list []trace.Attribute) {
		for i := range list {
			if v := list[i].Value; v.Type == trace.TypeFloat && math.IsNaN(v.Float()) {
				list[i].Value = trace.Float(math.NaN())
			}
		}
	}
	for i := range s.Events {
		plain(s.Events[i].Attributes)
	}
	for i := range s.Links {
		plain(s.Links[i].Attributes)
	}
}

// sameAsDecoded compares what a memtable gives back with the plain decoding of the
// same bytes.
func sameAsDecoded(t testing.TB, sig otlp.Signal, raw []byte, got []trace.Span) {
	t.Helper()
	want, _, err := otlp.DecodeAll(sig, raw, otlp.Arrival{UnixNano: 7})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows from columns, %d decoded", len(got), len(want))
	}
	for i := range want {
		plainNaN(&want[i])
		// Floats are compared by their bits: NaN is a value too.
		if diff := cmp.Diff(want[i], got[i]); diff != "" {
			t.Fatalf("row %d (-decoded +columns):\n%s", i, diff)
		}
		if a, b := column.RowHash(&want[i]), column.RowHash(&got[i]); a != b {
			t.Fatalf("row %d: hash %#x decoded, %#x from columns", i, a, b)
		}
	}
}

// TestApplyEqualsDecode: rows that went into columns come back as they decode.
func TestApplyEqualsDecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	var d otlp.Decoder
	mem := memtable.New()
	for range 30 {
		raw := wideBatch(rng, 1+rng.IntN(400))
		sameAsDecoded(t, otlp.Traces, raw, applied(t, &d, mem, otlp.Traces, raw))
	}
	// The columns agree with the rows, at the end and a message before it.
	for _, b := range mem.Blocks() {
		all := make([]int, b.Rows())
		for i := range all {
			all[i] = i
		}
		spans, err := b.Spans(all, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range b.Columns() {
			if _, fixed := column.FixedType(info.Key); fixed {
				continue
			}
			v, err := b.Column(info.Key, info.Type)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for row := range spans {
				want, ok := spans[row].Attribute(info.Key)
				if ok = ok && want.Type == info.Type; ok {
					n++
				}
				if v.Has(row) != ok || ok && v.Value(row) != want {
					t.Fatalf("column %s row %d: %+v, want %+v, %v", info.Key, row, v.Value(row), want, ok)
				}
			}
			if n != info.Rows {
				t.Errorf("column %s has %d values, Columns says %d", info.Key, n, info.Rows)
			}
		}
	}
}

// TestRowHashOnTheWay: a row in parts has the hash of the whole span.
func TestRowHashOnTheWay(t *testing.T) {
	raw := wideBatch(rand.New(rand.NewPCG(13, 14)), 500)
	var d otlp.Decoder
	var hashes []uint64
	if _, err := d.DecodeRows(otlp.Traces, raw, otlp.Arrival{}, func(r *column.Row) error {
		hashes = append(hashes, r.Hash())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := d.Decode(otlp.Traces, raw, otlp.Arrival{}, func(s *trace.Span) error {
		if got := column.RowHash(s); got != hashes[n] {
			return fmt.Errorf("row %d: hash %#x in parts, %#x whole", n, hashes[n], got)
		}
		n++
		return nil
	}); err != nil || n != len(hashes) {
		t.Fatalf("%d rows of %d: %v", n, len(hashes), err)
	}
}

// FuzzApply: whatever is valid goes into columns and comes back as it decodes.
func FuzzApply(f *testing.F) {
	f.Add(wideBatch(rand.New(rand.NewPCG(1, 2)), 5))
	logs, err := otlp.FromJSON(nil, otlp.Logs, []byte(`{"resourceLogs":[{"resource":{"attributes":[{"key":"a","value":{"intValue":1}}]},"scopeLogs":[{"scope":{"name":"s","attributes":[{"key":"a","value":{"intValue":2}}]},"logRecords":[{"traceId":"0af7651916cd43dd8448eb211c80319c","attributes":[{"key":"a","value":{"intValue":3}}],"body":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"x"}}]}}}]}]}]}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(logs)
	var d otlp.Decoder // used again, as the writer does
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		for _, sig := range []otlp.Signal{otlp.Traces, otlp.Logs} {
			if _, err := otlp.Validate(sig, raw); err == nil {
				sameAsDecoded(t, sig, raw, applied(t, &d, memtable.New(), sig, raw))
			}
		}
	})
}
