package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/memtable"
	"redthread/tracestore/trace"
)

// payloadIndex opens an index over a payload, as it would be in a file.
func payloadIndex(t testing.TB, payload []byte, rows int) *index {
	t.Helper()
	x, err := parseIndex(bytes.NewReader(pagesOf(t, payload)), fileBytes(payload), rows)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func pagesOf(t testing.TB, payload []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := writePages(&file, payload); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func fileBytes(payload []byte) int64 {
	return int64(len(payload) + 4*((len(payload)+indexPayloadBytes-1)/indexPayloadBytes))
}

// TestPages reads every part of payloads of awkward lengths, and damage anywhere
// is found by who reads there.
func TestPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 5, indexPayloadBytes - 1, indexPayloadBytes, indexPayloadBytes + 1, 3*indexPayloadBytes + 7} {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(rng.IntN(256))
		}
		file := pagesOf(t, payload)
		p, err := newPages(bytes.NewReader(file), int64(len(file)))
		if err != nil || p.bytes != int64(n) || fileBytes(payload) != int64(len(file)) {
			t.Fatalf("%d bytes: %d in the pages, %v", n, p.bytes, err)
		}
		bad := slices.Clone(file)
		at := rng.IntN(len(bad))
		bad[at] ^= 1
		q := pages{bytes.NewReader(bad), p.bytes}
		page := at / indexPageBytes
		for range 300 {
			from := rng.IntN(n)
			got := make([]byte, rng.IntN(n-from+1))
			if err := p.read(got, int64(from)); err != nil || !bytes.Equal(got, payload[from:from+len(got)]) {
				t.Fatalf("%d bytes, %d from %d: %v", n, len(got), from, err)
			}
			touched := len(got) > 0 && from/indexPayloadBytes <= page && (from+len(got)-1)/indexPayloadBytes >= page
			if err := q.read(got, int64(from)); errors.Is(err, errIndex) != touched {
				t.Fatalf("damage in page %d, %d bytes from %d: %v", page, len(got), from, err)
			}
		}
		if err := p.read(make([]byte, 2), int64(n)-1); !errors.Is(err, errIndex) {
			t.Fatalf("beyond the end: %v", err)
		}
	}
}

func TestBloom(t *testing.T) {
	for _, n := range []int{1, 100, 10000} {
		filter := make([]byte, bloomBlocks(n)*bloomBlockBytes)
		has := func(s string) bool {
			h := column.HashString(0, s)
			at := bloomBlock(h, len(filter)/bloomBlockBytes) * bloomBlockBytes
			return bloomHas(filter[at:at+bloomBlockBytes], h)
		}
		for i := range n {
			bloomAdd(filter, column.HashString(0, fmt.Sprint("value ", i)))
		}
		for i := range n {
			if !has(fmt.Sprint("value ", i)) {
				t.Fatalf("%d entries: value %d is lost", n, i)
			}
		}
		wrong := 0
		for i := range 100_000 {
			if has(fmt.Sprint("other ", i)) {
				wrong++
			}
		}
		t.Logf("%d entries in %d bytes: %.2f %% false", n, len(filter), float64(wrong)/1000)
		if wrong > 2500 {
			t.Errorf("%d entries: %d of 100,000 answers are false, want at most 2,500", n, wrong)
		}
	}
}

// builtIndex makes an index of rows with these trace hashes and fingerprints.
func builtIndex(t testing.TB, groups [][]uint32, prints []uint64) []byte {
	t.Helper()
	rows := make([]int, len(groups))
	for i := range groups {
		rows[i] = len(groups[i])
	}
	b := newIndexBuilder(rows)
	copy(b.traces, groups)
	payload, err := b.build(prints)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func TestTraceIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, rows := range []int{0, 1, 300, 9000} {
		var groups [][]uint32
		var all []uint32
		var prints []uint64
		for len(all) < rows {
			var g []uint32
			for len(g) < 2500 && len(all) < rows {
				h := column.TraceHash(numbered(rng.Uint64N(900)))
				for range min(1+rng.IntN(4), rows-len(all)) {
					g, all, prints = append(g, h), append(all, h), append(prints, rng.Uint64())
				}
			}
			groups = append(groups, g)
		}
		x := payloadIndex(t, builtIndex(t, groups, prints), rows)
		if got, err := x.fingerprints(); err != nil || !slices.Equal(got, prints) {
			t.Fatalf("%d rows: fingerprints differ, %v", rows, err)
		}
		if got, err := x.traceHashes(); err != nil || !slices.Equal(got, all) {
			t.Fatalf("%d rows: trace hashes differ, %v", rows, err)
		}
		for n := range uint64(1000) {
			var want []int
			for row, h := range all {
				if h == column.TraceHash(numbered(n)) {
					want = append(want, row)
				}
			}
			if got, err := x.find(numbered(n)); err != nil || !slices.Equal(got, want) {
				t.Fatalf("rows of trace %d: %v, %v; want %v", n, got, err, want)
			}
		}
	}
}

// canonical is the text that equality compares: ids are hex.
func canonical(v *column.Vector, row int) string {
	if v.Fixed != nil {
		return hex.EncodeToString(v.Fixed[row*v.Width : (row+1)*v.Width])
	}
	return v.Value(row).Text()
}

// TestStats compares what a segment knows of its columns with the rows.
func TestStats(t *testing.T) {
	m, _ := table(t, 21, 9000)
	f := write(t, m)
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	known, filters := 0, 0
	for _, b := range blocks {
		for _, info := range b.Columns() {
			if info.Rows == 0 || strings.HasPrefix(info.Key, "rare.") && info.Key[5] != '7' {
				continue
			}
			v, err := b.Column(info.Key, info.Type)
			if err != nil {
				t.Fatal(err)
			}
			counts := map[string]int{}
			lo, hi := math.Inf(1), math.Inf(-1)
			for row := range b.Rows() {
				if !v.Has(row) {
					continue
				}
				counts[canonical(v, row)]++
				n := v.Value(row)
				if n.Type == trace.TypeBool {
					n = trace.Int(int64(n.Num))
				}
				if f := n.Float(); !math.IsNaN(f) {
					lo, hi = min(lo, f), max(hi, f)
				}
			}
			for text := range counts {
				if !b.MayHave(info.Key, column.HashString(0, text)) {
					t.Fatalf("%q has the value %q, MayHave says no", info.Key, text)
				}
			}
			s, ok := b.Stats(info.Key, info.Type)
			if !ok {
				continue
			}
			known++
			if s.Distinct >= 0 && s.Distinct != len(counts) {
				t.Errorf("%q %s: %d distinct values, want %d", info.Key, info.Type, s.Distinct, len(counts))
			}
			if s.Min <= s.Max && (s.Min > lo || s.Max < hi || s.Min < lo-math.Abs(lo)*1e-15 || s.Max > hi+math.Abs(hi)*1e-15) {
				t.Errorf("%q %s: from %v to %v, want %v to %v", info.Key, info.Type, s.Min, s.Max, lo, hi)
			}
			if numeric := v.Ints != nil || v.Floats != nil; numeric && lo <= hi && s.Min > s.Max {
				t.Errorf("%q %s: no bounds, want %v to %v", info.Key, info.Type, lo, hi)
			}
			if s.Top != nil {
				var want []column.ValueCount
				for _, text := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
					if counts[a] != counts[b] {
						return counts[b] - counts[a]
					}
					return strings.Compare(a, b)
				}) {
					want = append(want, column.ValueCount{Text: text, Rows: counts[text]})
				}
				if want = want[:min(len(want), column.TopValues)]; !cmp.Equal(want, s.Top) {
					t.Errorf("%q %s: top values (-want +got):\n%s", info.Key, info.Type, cmp.Diff(want, s.Top))
				}
			}
			wrong := 0
			for i := range 1000 {
				if b.MayHave(info.Key, column.HashString(0, fmt.Sprint("no such value ", i))) {
					wrong++
				}
			}
			switch {
			case wrong <= 50:
				filters++
			case wrong < 1000:
				t.Errorf("%q: %d of 1,000 unknown values may be there", info.Key, wrong)
			}
		}
		for _, key := range []string{"no such key", "rare.x"} {
			hits := 0
			for i := range 1000 {
				if b.MayHave(key, column.HashString(0, fmt.Sprint("no such value ", i))) {
					hits++
				}
			}
			if hits > 50 {
				t.Errorf("an unknown value of the unknown key %q may be there in %d of 1,000 cases", key, hits)
			}
		}
	}
	if known < 30 || filters < 8 {
		t.Fatalf("%d columns with statistics, %d that rule values out: the test needs more", known, filters)
	}
}

// TestUnknownValueDecodesNothing: equality on a value that no row has is answered
// from the sidecar.
func TestUnknownValueDecodesNothing(t *testing.T) {
	m, _ := table(t, 5, 4000)
	f := write(t, m)
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if b.MayHave(column.TraceID, column.HashString(0, strings.Repeat("ab", 16))) || b.MayHave("rare.1", column.HashString(0, "nobody")) {
			t.Log("a false answer of a filter")
		}
	}
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	for key := range f.cache.byKey {
		if key.group != recordGroup {
			t.Errorf("column %q was decoded", key.name)
		}
	}
}

// TestSidecarIsMadeAnew loses and damages the sidecar and wants the same one back.
func TestSidecarIsMadeAnew(t *testing.T) {
	m, spans := table(t, 4, 700)
	f := write(t, m)
	path := IndexPath(f.Path())
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		again := Open(f.Path(), f.rows, NewCache(64<<20))
		defer again.Close()
		for i := range 50 {
			s := &spans[i*len(spans)/50]
			got, _, err := again.TraceSpans(s.TraceID, 1000)
			if err != nil || len(got) == 0 || got[0].TraceID != s.TraceID {
				t.Fatalf("%s: trace %s: %d spans, %v", what, s.TraceID, len(got), err)
			}
		}
		if prints, err := again.Fingerprints(); err != nil || len(prints) != len(spans) || prints[7] != column.RowHash(&spans[7]) {
			t.Fatalf("%s: %d fingerprints, %v", what, len(prints), err)
		}
		if err := again.Verify(t.Context()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(want, got) {
			t.Fatalf("%s: the sidecar is not the one that was written: %d bytes, want %d, %v", what, len(got), len(want), err)
		}
	}
	check("whole")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("lost")
	rng := rand.New(rand.NewPCG(3, 3))
	for range 12 {
		b := slices.Clone(want)
		what := "cut short"
		if rng.IntN(3) == 0 {
			b = b[:rng.IntN(len(b))]
		} else {
			at := rng.IntN(len(b))
			what = fmt.Sprint("damaged at byte ", at)
			b[at] ^= byte(1 + rng.IntN(255))
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := CheckIndex(f.Path(), f.rows); err == nil {
			t.Fatalf("%s: CheckIndex finds nothing", what)
		}
		check(what)
	}
	// Version 1 is not known any more.
	b := slices.Clone(want)
	b[4] = 1
	binary.LittleEndian.PutUint32(b[min(len(b), indexPageBytes)-4:], pageChecksum(0, b[:min(len(b), indexPageBytes)-4]))
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	check("of another version")
}

// TestSidecarOnReadOnlyDisk: a sidecar that is lost and cannot be written answers
// all the same.
func TestSidecarOnReadOnlyDisk(t *testing.T) {
	m, spans := table(t, 4, 300)
	f := write(t, m)
	if err := os.Remove(IndexPath(f.Path())); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(IndexPath(f.Path())+".tmp", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, _, err := f.TraceSpans(spans[0].TraceID, 1000)
	if err != nil || len(got) == 0 {
		t.Fatalf("%d spans, %v", len(got), err)
	}
}

// FuzzIndex reads sidecars of any content, with right checksums: no panic, no
// memory beyond what the rows and the file allow.
func FuzzIndex(f *testing.F) {
	f.Add(builtIndex(f, [][]uint32{{7, 7, 9}, {7}}, []uint64{10, 11, 12, 13}))
	m, _ := table(f, 2, 60)
	b := newIndexBuilder([]int{60})
	s := m.Blocks()[0]
	w := b.watch(s, 0, make([]int, len(s.Attributes())))
	w.place[0] = -1
	for _, info := range column.FixedColumns() {
		if _, err := w.Column(info.Key, info.Type); err != nil {
			f.Fatal(err)
		}
	}
	for i := range w.place {
		if _, err := w.AttributeAt(i); err != nil {
			f.Fatal(err)
		}
	}
	payload, err := b.build(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < indexHeaderBytes || len(payload) > 1<<18 {
			return
		}
		rows := int(binary.LittleEndian.Uint32(payload[8:]))
		if rows > 1<<16 {
			return // the catalogue says how many rows there are
		}
		x, err := parseIndex(bytes.NewReader(pagesOf(t, payload)), fileBytes(payload), rows)
		if err != nil {
			return
		}
		for _, id := range []trace.ID{{}, numbered(1)} {
			if rows, err := x.find(id); err == nil && len(rows) > x.rows {
				t.Fatalf("%d rows of one trace, the file has %d", len(rows), x.rows)
			}
		}
		_, _ = x.traceHashes()
		_, _ = x.fingerprints()
		_ = x.verify()
		cache := NewCache(1 << 20)
		for i := range min(len(x.keys)/keyBytes, 8) {
			e := x.keys[i*keyBytes:]
			packed, err := x.part(x.recordAt, int64(binary.LittleEndian.Uint32(e[4:])), int64(binary.LittleEndian.Uint32(e[8:])))
			if err != nil {
				continue
			}
			c, err := readRecord(packed, x.groups)
			if err != nil {
				continue
			}
			records, _ := x.records(cache, 1, c.key)
			for g := range min(x.groups, 8) {
				_, _ = x.mayHave(records, g, 12345, trace.TypeNone, trace.TypeJSON)
			}
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	m, spans := table(b, 1, 20000)
	dir := b.TempDir()
	b.ReportAllocs()
	var size int64
	n := 0
	for b.Loop() {
		info, err := Write(filepath.Join(dir, fmt.Sprint(n, ".parquet")), m.Blocks(), m.Fingerprints(), nil)
		if err != nil {
			b.Fatal(err)
		}
		size = info.SizeBytes
		n++
	}
	b.ReportMetric(float64(n*len(spans))/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(size)/float64(len(spans)), "B/row")
}

// TestMissOpensNothing: whether a trace is in a segment is told by the sidecar.
func TestMissOpensNothing(t *testing.T) {
	m, _ := table(t, 4, 500)
	f := write(t, m)
	for n := range uint64(50) {
		if spans, _, err := f.TraceSpans(numbered(1_000_000+n), 10); err != nil || len(spans) > 0 {
			t.Fatalf("%d spans of an unknown trace, %v", len(spans), err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd != nil {
		t.Fatal("the Parquet file was opened")
	}
}

func BenchmarkTraceMiss(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	traces := make([]uint32, 1<<20)
	for i := range traces {
		if i%12 == 0 {
			traces[i] = rng.Uint32()
		} else {
			traces[i] = traces[i-1]
		}
	}
	path := filepath.Join(b.TempDir(), "s.idx")
	if err := os.WriteFile(path, pagesOf(b, builtIndex(b, [][]uint32{traces}, nil)), 0o644); err != nil {
		b.Fatal(err)
	}
	x, err := openIndex(path, len(traces))
	if err != nil {
		b.Fatal(err)
	}
	defer x.close()
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		if _, err := x.find(numbered(n)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestForeignSidecar: one of as many rows in other row groups is made anew.
func TestForeignSidecar(t *testing.T) {
	m, spans := table(t, 11, 400)
	parts := make([]column.Source, 0, 2)
	for _, half := range [][]trace.Span{spans[:200], spans[200:]} {
		p := memtable.New()
		for i := range half {
			if ok, err := p.Add(&half[i], column.RowHash(&half[i])); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		p.Publish()
		parts = append(parts, p.Blocks()...)
	}
	path := filepath.Join(t.TempDir(), "two.parquet")
	if _, err := Write(path, parts, m.Fingerprints(), nil); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(IndexPath(path))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(IndexPath(write(t, m).Path()))
	if err != nil {
		t.Fatal(err)
	}
	for what, use := range map[string]func(f *File, b column.Block) error{
		"stats": func(_ *File, b column.Block) error {
			if _, ok := b.Stats(column.Start, trace.TypeInt); !ok {
				return errors.New("nothing is known")
			}
			return nil
		},
		"filter": func(_ *File, b column.Block) error {
			if b.MayHave(column.Name, column.HashString(0, "no such name")) {
				return errors.New("it may have what it has not")
			}
			return nil
		},
		"merge": func(f *File, _ column.Block) error {
			_, err := Compact(t.Context(), filepath.Join(t.TempDir(), "s.parquet"), []*File{f}, CompactOptions{})
			return err
		},
	} {
		if err := os.WriteFile(IndexPath(path), foreign, 0o644); err != nil {
			t.Fatal(err)
		}
		f := Open(path, 400, NewCache(1<<20))
		blocks, err := f.Blocks()
		if err == nil {
			err = use(f, blocks[1])
		}
		f.Close()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if again, err := os.ReadFile(IndexPath(path)); err != nil || string(again) != string(whole) {
			t.Errorf("%s: the sidecar was not made anew: %v", what, err)
		}
	}
}
