package segment

import (
	"context"
	"errors"
	"fmt"
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

// segmentOf writes spans to a segment, blocks of at most blockRows rows.
func segmentOf(t testing.TB, spans []trace.Span) *File {
	t.Helper()
	m := memtable.New()
	for i := range spans {
		if ok, err := m.Add(&spans[i], column.RowHash(&spans[i])); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	m.Publish()
	return write(t, m)
}

// uniqueSpans makes random rows that differ.
func uniqueSpans(rng *rand.Rand, n int) []trace.Span {
	spans := make([]trace.Span, n)
	for i := range spans {
		spans[i] = randomSpan(rng)
		spans[i].Environment = fmt.Sprint("env", rng.IntN(3))
		spans[i].ArrivedUnixNano = int64(i) * 1000
	}
	return spans
}

// byHash sorts rows so that two sets can be compared.
func byHash(spans []trace.Span) []trace.Span {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b trace.Span) int {
		x, y := column.RowHash(&a), column.RowHash(&b)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return spans
}

func compacted(t testing.TB, inputs []*File, o CompactOptions) (*File, Compacted) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "merged.parquet")
	info, err := Compact(t.Context(), path, inputs, o)
	if err != nil {
		t.Fatal(err)
	}
	f := Open(path, info.Rows, NewCache(64<<20))
	t.Cleanup(f.Close)
	return f, info
}

// TestCompact merges random segments and wants the union of their rows: each
// once, whatever their keys, types, events and links, traces together, and a
// whole sidecar.
func TestCompact(t *testing.T) {
	seed := seeds.One(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	for round := range 3 {
		var inputs []*File
		var all []trace.Span
		twice := 0
		for range 1 + rng.IntN(4) {
			spans := uniqueSpans(rng, 1+rng.IntN(1000))
			// Some rows come again, in another segment.
			for i, n := range rng.Perm(len(all))[:min(len(all), len(spans)/20)] {
				spans[i*20] = all[n]
				twice++
			}
			inputs = append(inputs, segmentOf(t, spans))
			for i, s := range spans {
				if i%20 != 0 || !slices.ContainsFunc(all, func(x trace.Span) bool { return x.SpanID == s.SpanID }) {
					all = append(all, s)
				}
			}
		}
		f, info := compacted(t, inputs, CompactOptions{})
		if info.Rows != len(all) || info.Duplicates != twice || info.Expired != 0 {
			t.Fatalf("round %d: %d rows, %d duplicates, %d expired; want %d, %d, 0", round, info.Rows, info.Duplicates, info.Expired, len(all), twice)
		}
		blocks, err := f.Blocks()
		if err != nil {
			t.Fatal(err)
		}
		segmenttest.Check(t, f.Path(), blocks)
		got := allSpans(t, blocks)
		if diff := cmp.Diff(byHash(all), byHash(got)); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
		seen := map[trace.ID]bool{}
		for i, s := range got {
			if i > 0 && got[i-1].TraceID == s.TraceID {
				continue
			}
			if seen[s.TraceID] {
				t.Fatalf("round %d: the rows of trace %s lie apart", round, s.TraceID)
			}
			seen[s.TraceID] = true
		}
		if err := f.Verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for i := range 20 {
			id := all[i*len(all)/20].TraceID
			want := slices.DeleteFunc(slices.Clone(all), func(s trace.Span) bool { return s.TraceID != id })
			spans, _, err := f.TraceSpans(id, 10000)
			if err != nil || cmp.Diff(want, spans) != "" {
				t.Fatalf("trace %s: %v (-want +got):\n%s", id, err, cmp.Diff(want, spans))
			}
		}
		// What is merged can be merged again, alone or with others.
		again, info := compacted(t, []*File{f, segmentOf(t, uniqueSpans(rng, 10))}, CompactOptions{})
		if info.Rows != len(all)+10 {
			t.Fatalf("round %d: merged again: %d rows, want %d", round, info.Rows, len(all)+10)
		}
		if err := again.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompactManyKeys merges segments in which keys are columns here and rare
// there.
func TestCompactManyKeys(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	var inputs []*File
	var all []trace.Span
	for part := range 3 {
		spans := uniqueSpans(rng, 1000)
		for i := range spans {
			s := &spans[i]
			// Common in one segment, one value in five hundred overall.
			if part == 1 && i%200 == 0 {
				s.Attributes = append(s.Attributes, trace.Attribute{Key: "demoted", Value: trace.Int(int64(i))})
			}
			// In the overflow of the small one, a column of the whole.
			if part > 0 || i == 7 {
				s.Attributes = append(s.Attributes, trace.Attribute{Key: "promoted", Value: trace.String(fmt.Sprint(i % 9))})
			}
			for k := range 4 {
				var v trace.Value
				switch n := rng.IntN(5000); n % 3 {
				case 0:
					v = trace.Int(int64(n))
				case 1:
					v = trace.String(fmt.Sprint("text ", n))
				default:
					v = trace.Float(float64(n) / 8)
				}
				s.Attributes = append(s.Attributes, trace.Attribute{Key: fmt.Sprint("many.", k, ".", rng.IntN(1250)), Value: v})
			}
		}
		inputs = append(inputs, segmentOf(t, spans))
		all = append(all, spans...)
	}
	f, _ := compacted(t, inputs, CompactOptions{})
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byHash(all), byHash(allSpans(t, blocks))); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if err := f.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range blocks[0].(*block).r.layout.Columns {
		if c.Key == "demoted" {
			t.Error("a key of five in 3,000 rows has kept its column")
		}
	}
}

// TestCompactGroups merges segments of several row groups, with traces that reach
// across them.
func TestCompactGroups(t *testing.T) {
	var inputs []*File
	const per = column.MaxBlockRows + 5000
	for part := range 2 {
		spans := make([]trace.Span, per)
		for i := range spans {
			n := part*per + i
			spans[i] = trace.Span{TraceID: numbered(uint64(n / 40 * 4 % 40000)), SpanID: trace.SpanID{byte(n >> 16), byte(n >> 8), byte(n), 1}, StartUnixNano: int64(n), ArrivedUnixNano: int64(n), Service: "s"}
			if n%3 == 0 {
				spans[i].Attributes = []trace.Attribute{{Key: "k", Value: trace.String(fmt.Sprint(n % 1000))}}
			}
		}
		inputs = append(inputs, segmentOf(t, spans))
	}
	f, info := compacted(t, inputs, CompactOptions{})
	if info.Rows != 2*per || info.MinStart != 0 || info.MaxStart != 2*per-1 || info.MaxArrived != 2*per-1 {
		t.Fatalf("%+v, want %d rows", info, 2*per)
	}
	blocks, err := f.Blocks()
	if err != nil || len(blocks) != 3 {
		t.Fatalf("%d row groups, %v; want 3", len(blocks), err)
	}
	segmenttest.Check(t, f.Path(), blocks)
	var seen [2 * per]bool
	for _, b := range blocks {
		start, err := b.Column(column.Start, trace.TypeInt)
		if err != nil {
			t.Fatal(err)
		}
		k, err := b.Column("k", trace.TypeString)
		if err != nil {
			t.Fatal(err)
		}
		for row, n := range start.Ints {
			if seen[n] {
				t.Fatalf("row %d is there twice", n)
			}
			seen[n] = true
			if k.Has(row) != (n%3 == 0) || k.Has(row) && k.Value(row).Str != fmt.Sprint(n%1000) {
				t.Fatalf("row %d: k is %+v", n, k.Value(row))
			}
		}
	}
	if err := f.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestCompactExpired drops the rows of an environment that is kept for less long.
func TestCompactExpired(t *testing.T) {
	spans := uniqueSpans(rand.New(rand.NewPCG(2, 2)), 900)
	inputs := []*File{segmentOf(t, spans[:400]), segmentOf(t, spans[400:])}
	keep := func(environment string) int64 {
		if environment == "env1" {
			return spans[500].ArrivedUnixNano
		}
		return 0
	}
	want := slices.DeleteFunc(slices.Clone(spans), func(s trace.Span) bool { return s.ArrivedUnixNano < keep(s.Environment) })
	f, info := compacted(t, inputs, CompactOptions{Keep: keep})
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byHash(want), byHash(allSpans(t, blocks))); diff != "" || info.Expired != len(spans)-len(want) {
		t.Fatalf("%+v (-want +got):\n%s", info, diff)
	}
	// All of them: no file.
	path := filepath.Join(t.TempDir(), "none.parquet")
	info, err = Compact(t.Context(), path, inputs, CompactOptions{Keep: func(string) int64 { return 1 << 60 }})
	if err != nil || info.Rows != 0 || info.Expired != len(spans) {
		t.Fatalf("%+v, %v", info, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("a segment without rows was written: %v", err)
	}
}

func TestCompactStops(t *testing.T) {
	spans := uniqueSpans(rand.New(rand.NewPCG(2, 2)), 300)
	inputs := []*File{segmentOf(t, spans[:100]), segmentOf(t, spans[100:])}
	ctx, cancel := context.WithCancel(t.Context())
	pauses := 0
	_, err := Compact(ctx, filepath.Join(t.TempDir(), "s.parquet"), inputs, CompactOptions{Pause: func() {
		if pauses++; pauses == 20 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("after %d pauses: %v, want canceled", pauses, err)
	}
}

// TestCompactLongRows merges rows of long texts that are alike, of two traces by
// turns. On disk they are next to nothing; a row group of them is held in memory.
func TestCompactLongRows(t *testing.T) {
	const files, per, textBytes = 8, 32, 1 << 20
	var inputs []*File
	for i := range files {
		spans := make([]trace.Span, per)
		for j := range spans {
			n := i*per + j
			spans[j] = trace.Span{TraceID: numbered(uint64(n % 2)), SpanID: trace.SpanID{byte(n), 1}, StartUnixNano: int64(n),
				Attributes: []trace.Attribute{{Key: "body", Value: trace.String(strings.Repeat("x", textBytes) + fmt.Sprint(n))}}}
		}
		inputs = append(inputs, segmentOf(t, spans))
	}
	f, info := compacted(t, inputs, CompactOptions{})
	blocks, err := f.Blocks()
	if err != nil || info.Rows != files*per {
		t.Fatalf("%+v, %v", info, err)
	}
	row, moved := 0, 0
	for i, b := range blocks {
		if raw := b.(*block).r.file.RawBytes(i); raw > maxGroupRaw+maxGroupRaw/8 {
			t.Errorf("row group %d of %d rows has %d MiB before compression, want at most %d", i, b.Rows(), raw>>20, maxGroupRaw>>20)
		}
		start, err := b.Column(column.Start, trace.TypeInt)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range start.Ints {
			moved = max(moved, int(n)-row, row-int(n))
			row++
		}
	}
	// Of the rows within clusterRaw, every other one is of the trace.
	if limit := clusterRaw/textBytes/2 + per; moved > limit {
		t.Errorf("a row has moved by %d places, and the merge held as many; want %d at most", moved, limit)
	}
}

// ownKeys makes rows of 20 keys that no other row has.
func ownKeys(from, n int) []trace.Span {
	spans := make([]trace.Span, n)
	for i := range spans {
		spans[i] = trace.Span{TraceID: numbered(uint64(from + i)), SpanID: trace.SpanID{1}}
		for k := range 20 {
			spans[i].Attributes = append(spans[i].Attributes, trace.Attribute{Key: fmt.Sprintf("user.%d.%d", from+i, k), Value: trace.Int(int64(k))})
		}
	}
	return spans
}

// TestCompactTooManyKeys: the segment that has them is named, and can be written
// anew alone.
func TestCompactTooManyKeys(t *testing.T) {
	few, many := segmentOf(t, ownKeys(0, 50)), segmentOf(t, ownKeys(1000, maxMergedKeys/20+50))
	for _, inputs := range [][]*File{{few, many}, {many, few}} {
		var keys *KeysError
		_, err := Compact(t.Context(), filepath.Join(t.TempDir(), "s.parquet"), inputs, CompactOptions{})
		if !errors.As(err, &keys) || keys.Path != many.Path() {
			t.Errorf("got %v, want a KeysError of %s", err, many.Path())
		}
	}
	if _, info := compacted(t, []*File{many}, CompactOptions{}); info.Rows != many.rows {
		t.Errorf("%d rows, want %d", info.Rows, many.rows)
	}
}
