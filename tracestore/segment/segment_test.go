package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/seeds"
	"redthread/tracestore/column"
	"redthread/tracestore/memtable"
	"redthread/tracestore/segment/segmenttest"
	"redthread/tracestore/trace"
)

// hostileKeys clash with names that the file uses, or with each other.
var hostileKeys = []string{
	"", "#", "a#int", "a", "a#string", "name", "error", "start_unix_nano", "trace.state", "attr.overflow", "events", "links", "meta.shape",
	"key_value", "ключ", "with space", "with\nnewline", "dot.ted.key", "service.name#string",
	"events name", "events attributes", "attr.overflow key", "attr.overflow value", "links trace_state", "\x00overflow", "\x00events", "\x00links",
}

func randomValue(rng *rand.Rand) trace.Value {
	switch rng.IntN(9) {
	case 0:
		return trace.Int(rng.Int64() - math.MaxInt64/2)
	case 1:
		return trace.Int(int64(rng.IntN(3)))
	case 2:
		return trace.Float(rng.NormFloat64())
	case 3:
		return trace.Float([]float64{math.Inf(1), math.Inf(-1), 0, 1e300, 5}[rng.IntN(5)])
	case 4:
		return trace.Bool(rng.IntN(2) == 0)
	case 5:
		return trace.Bytes(string([]byte{0, 255, byte(rng.IntN(256))}))
	case 6:
		return trace.JSON(fmt.Sprintf(`["a",%d]`, rng.IntN(10)))
	case 7:
		return trace.String("")
	}
	return trace.String(fmt.Sprintf("value %d \"\\\n", rng.IntN(50)))
}

func randomAttributes(rng *rand.Rand, n int) []trace.Attribute {
	var attrs []trace.Attribute
	used := map[string]bool{}
	for range rng.IntN(n + 1) {
		key := hostileKeys[rng.IntN(len(hostileKeys))]
		switch rng.IntN(3) {
		case 0:
			key = fmt.Sprintf("common.%d", rng.IntN(10))
		case 1:
			key = fmt.Sprintf("rare.%d", rng.IntN(20000))
		}
		if !used[key] {
			used[key] = true
			attrs = append(attrs, trace.Attribute{Key: key, Value: randomValue(rng)})
		}
	}
	return attrs
}

func randomSpan(rng *rand.Rand) trace.Span {
	s := trace.Span{
		Name: fmt.Sprintf("op %d", rng.IntN(20)), Service: fmt.Sprintf("svc %d", rng.IntN(4)), Environment: "e",
		Kind: trace.Kind(rng.IntN(6)), Status: trace.StatusCode(rng.IntN(3)), Error: rng.IntN(4) == 0,
		StartUnixNano: rng.Int64() - math.MaxInt64/2, DurationNano: rng.Int64N(1e9), ArrivedUnixNano: rng.Int64N(1e18),
		Attributes: randomAttributes(rng, 12),
	}
	binary.BigEndian.PutUint64(s.TraceID[8:], 1+rng.Uint64N(3000))
	binary.BigEndian.PutUint64(s.SpanID[:], rng.Uint64())
	if rng.IntN(3) > 0 {
		binary.BigEndian.PutUint64(s.ParentID[:], rng.Uint64())
	}
	if rng.IntN(50) == 0 {
		s.Signal = trace.SignalLog
	}
	if rng.IntN(10) == 0 {
		s.StatusMessage, s.TraceState = "went wrong", "ot=th:8"
	}
	for range max(0, rng.IntN(8)-5) {
		s.Events = append(s.Events, trace.Event{Name: "e", TimeUnixNano: rng.Int64N(1e18), Attributes: randomAttributes(rng, 3)})
	}
	for range max(0, rng.IntN(9)-6) {
		l := trace.Link{TraceState: "k=v", Attributes: randomAttributes(rng, 2)}
		binary.BigEndian.PutUint64(l.TraceID[8:], 1+rng.Uint64N(3000))
		binary.BigEndian.PutUint64(l.SpanID[:], rng.Uint64())
		s.Links = append(s.Links, l)
	}
	return s
}

// table fills a memtable with random rows.
func table(t testing.TB, seed uint64, rows int) (*memtable.Table, []trace.Span) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	m := memtable.New()
	var spans []trace.Span
	for len(spans) < rows {
		s := randomSpan(rng)
		ok, err := m.Add(&s, column.RowHash(&s))
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			spans = append(spans, s)
		}
	}
	m.Publish()
	return m, spans
}

func write(t testing.TB, m *memtable.Table) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.parquet")
	info, err := Write(path, m.Blocks(), m.Fingerprints(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := Open(path, info.Rows, NewCache(64<<20))
	t.Cleanup(f.Close)
	return f
}

func allSpans(t testing.TB, blocks []column.Block) []trace.Span {
	t.Helper()
	var out []trace.Span
	for _, b := range blocks {
		rows := make([]int, b.Rows())
		for i := range rows {
			rows[i] = i
		}
		var err error
		if out, err = b.Spans(rows, out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRoundTrip writes random rows and wants the same rows, in the same order,
// with the same attributes in their order, and the same columns.
func TestRoundTrip(t *testing.T) {
	seed := seeds.One(t)
	for _, rows := range []int{1, 63, 6000} {
		m, want := table(t, seed, rows)
		f := write(t, m)
		blocks, err := f.Blocks()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, allSpans(t, blocks)); diff != "" {
			t.Fatalf("%d rows (-want +got):\n%s", rows, diff)
		}
		sources := m.Blocks()
		for i, b := range blocks {
			sameBlock(t, sources[i], b)
		}
		segmenttest.Check(t, f.Path(), blocks)
		if err := f.Verify(t.Context()); err != nil {
			t.Fatalf("verify: %v", err)
		}
		for range 200 {
			id := want[rand.IntN(len(want))].TraceID
			got, truncated, err := f.TraceSpans(id, 1000)
			if err != nil || truncated {
				t.Fatal(truncated, err)
			}
			only := slices.DeleteFunc(slices.Clone(want), func(s trace.Span) bool { return s.TraceID != id })
			if diff := cmp.Diff(only, got); diff != "" {
				t.Fatalf("trace %s (-want +got):\n%s", id, diff)
			}
			if len(only) > 1 {
				got, truncated, err = f.TraceSpans(id, len(only)-1)
				if err != nil || !truncated || len(got) != len(only)-1 {
					t.Fatalf("limit %d: %d spans, truncated %v, %v", len(only)-1, len(got), truncated, err)
				}
			}
		}
	}
}

// sameBlock wants two blocks to show the same columns with the same values.
func sameBlock(t *testing.T, want, got column.Block) {
	t.Helper()
	byKey := func(infos []column.Info) []column.Info {
		infos = slices.DeleteFunc(infos, func(i column.Info) bool { return i.Rows == 0 })
		slices.SortFunc(infos, func(a, b column.Info) int {
			if c := strings.Compare(a.Key, b.Key); c != 0 {
				return c
			}
			return int(a.Type) - int(b.Type)
		})
		return infos
	}
	columns := byKey(want.Columns())
	if diff := cmp.Diff(columns, byKey(got.Columns())); diff != "" {
		t.Fatalf("columns (-want +got):\n%s", diff)
	}
	wantMin, wantMax := want.Bounds()
	if gotMin, gotMax := got.Bounds(); gotMin != wantMin || gotMax != wantMax || got.Rows() != want.Rows() {
		t.Fatalf("bounds %d %d rows %d, want %d %d %d", gotMin, gotMax, got.Rows(), wantMin, wantMax, want.Rows())
	}
	for i, info := range columns {
		if i > 200 && i%20 != 0 {
			continue // thousands of rare keys: a sample
		}
		if diff := cmp.Diff(want.Types(info.Key), got.Types(info.Key)); diff != "" {
			t.Fatalf("types of %q (-want +got):\n%s", info.Key, diff)
		}
		a, err := want.Column(info.Key, info.Type)
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.Column(info.Key, info.Type)
		if err != nil {
			t.Fatal(err)
		}
		for row := range want.Rows() {
			if a.Value(row) != b.Value(row) || a.Has(row) != b.Has(row) {
				t.Fatalf("column %q %s row %d: %+v, want %+v", info.Key, info.Type, row, b.Value(row), a.Value(row))
			}
		}
	}
	if v, err := got.Column("no such key", trace.TypeString); v != nil || err != nil || got.Types("no such key") != nil {
		t.Fatalf("absent column: %v, %v", v, err)
	}
	if v, err := got.Column(column.Name, trace.TypeInt); v != nil || err != nil {
		t.Fatalf("fixed column of another type: %v, %v", v, err)
	}
}

// TestRowGroups writes more rows than a block holds.
func TestRowGroups(t *testing.T) {
	m := memtable.New()
	const rows = column.MaxBlockRows + 1000
	var s trace.Span
	for i := range rows {
		binary.BigEndian.PutUint64(s.TraceID[8:], uint64(i/2)+1)
		binary.BigEndian.PutUint64(s.SpanID[:], uint64(i)+1)
		s.StartUnixNano = int64(i)
		s.Attributes = append(s.Attributes[:0], trace.Attribute{Key: "n", Value: trace.Int(int64(i))})
		if i > column.MaxBlockRows {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: "late", Value: trace.String("x")})
		}
		if ok, err := m.Add(&s, column.RowHash(&s)); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	m.Publish()
	f := write(t, m)
	blocks, err := f.Blocks()
	if err != nil || len(blocks) != 2 || blocks[0].Rows() != column.MaxBlockRows || blocks[1].Rows() != 1000 {
		t.Fatalf("%d blocks, %v; want 128 k and 1,000 rows", len(blocks), err)
	}
	if lo, hi := blocks[1].Bounds(); lo != column.MaxBlockRows || hi != rows-1 {
		t.Fatalf("bounds of the second: %d to %d", lo, hi)
	}
	for i, b := range blocks {
		sameBlock(t, m.Blocks()[i], b)
	}
	for _, n := range []int{0, column.MaxBlockRows/2 - 1, column.MaxBlockRows / 2, rows/2 - 1} {
		var id trace.ID
		binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
		got, _, err := f.TraceSpans(id, 10)
		if err != nil || len(got) != 2 || got[0].StartUnixNano != int64(2*n) || got[1].StartUnixNano != int64(2*n+1) {
			t.Fatalf("trace %d: %+v, %v", n, got, err)
		}
	}
}

// TestOddFloats: segments keep rare floats, and those of events, as texts, which
// do not tell zeros or NaN apart. The sidecar made anew from them is the same.
func TestOddFloats(t *testing.T) {
	var spans []trace.Span
	for i, f := range []float64{math.Copysign(0, -1), math.Float64frombits(0x7ff8000000000000), math.Float64frombits(0xfff8000000000003), 1} {
		odd := []trace.Attribute{{Key: "f", Value: trace.Float(f)}}
		spans = append(spans, trace.Span{SpanID: trace.SpanID{byte(i), 1}, Attributes: odd}, trace.Span{SpanID: trace.SpanID{byte(i), 2}, Events: []trace.Event{{Attributes: odd}}})
	}
	for i := range 4000 { // make the key rare
		spans = append(spans, trace.Span{SpanID: trace.SpanID{byte(i), byte(i >> 8), 3}})
	}
	if err := segmentOf(t, spans).Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReadError: what the disk cannot read now may be whole, and is not absent.
func TestReadError(t *testing.T) {
	m, spans := table(t, 4, 4000)
	f := write(t, m)
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	b := blocks[0].(*block)
	f.fd.Close() // every read fails from here on
	_, columnErr := b.Column(column.Name, trace.TypeString)
	_, spansErr := b.Spans([]int{0}, nil)
	_, _, traceErr := f.TraceSpans(spans[0].TraceID, 10)
	var rareErr error
	types := b.Types("rare.1") // of those that have no column
	for _, t := range types {
		_, err := b.Column("rare.1", t)
		rareErr = errors.Join(rareErr, err)
	}
	_, compactErr := Compact(t.Context(), filepath.Join(t.TempDir(), "s.parquet"), []*File{Open(t.TempDir(), f.rows, nil)}, CompactOptions{})
	for what, err := range map[string]error{"a column": columnErr, "spans": spansErr, "a trace": traceErr, "a rare column": rareErr, "a merge": compactErr} {
		var bad *CorruptError
		if err == nil || errors.As(err, &bad) {
			t.Errorf("%s: got %v, want the disk's error", what, err)
		}
	}
}

func TestCorruptFile(t *testing.T) {
	m, _ := table(t, 3, 700)
	f := write(t, m)
	whole, err := os.ReadFile(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	found := 0
	for range 60 {
		b := slices.Clone(whole)
		for range 1 + rng.IntN(5) {
			b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
		}
		path := filepath.Join(t.TempDir(), "bad.parquet")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		bad := Open(path, f.rows, NewCache(64<<20))
		err := bad.Verify(t.Context())
		bad.Close()
		var c *CorruptError
		if err != nil && !errors.As(err, &c) {
			t.Fatalf("got %v, want a CorruptError", err)
		}
		if err != nil {
			found++
		}
	}
	// Every page has a checksum; what is left are bytes of the footer that
	// nobody reads, such as statistics.
	if found < 50 {
		t.Errorf("damage found in %d of 60 files", found)
	}
}

// FuzzSegment opens and verifies any bytes as a segment.
func FuzzSegment(f *testing.F) {
	for _, rows := range []int{1, 40} {
		m, _ := table(f, uint64(rows), rows)
		b, err := os.ReadFile(write(f, m).Path())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, rows)
	}
	path := filepath.Join(f.TempDir(), "fuzz.parquet")
	f.Fuzz(func(t *testing.T, b []byte, rows int) {
		if len(b) > 64<<10 {
			return
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		s := Open(path, rows, NewCache(1<<20))
		defer s.Close()
		blocks, err := s.Blocks()
		if err == nil {
			for _, b := range blocks {
				if b.Rows() > 0 {
					_, err = b.Spans([]int{b.Rows() - 1, 0}, nil)
				}
				for _, c := range b.Columns() {
					_, columnErr := b.Column(c.Key, c.Type)
					err = errors.Join(err, columnErr)
				}
			}
		}
		var bad *CorruptError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("got %v, want a CorruptError", err)
		}
	})
}
