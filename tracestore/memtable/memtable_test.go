package memtable

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// randomSpan makes spans of few shapes, so that the guess of the next column is
// right often, and wrong sometimes.
func randomSpan(rng *rand.Rand) trace.Span {
	s := trace.Span{
		Name: fmt.Sprintf("op %d", rng.IntN(9)), Service: fmt.Sprintf("svc %d", rng.IntN(3)), Environment: "e",
		Kind: trace.Kind(rng.IntN(6)), Error: rng.IntN(5) == 0,
		StartUnixNano: rng.Int64N(1e15), DurationNano: rng.Int64N(1e9), ArrivedUnixNano: 1,
	}
	binary.BigEndian.PutUint64(s.TraceID[8:], 1+rng.Uint64N(200))
	binary.BigEndian.PutUint64(s.SpanID[:], 1+rng.Uint64())
	if rng.IntN(4) > 0 {
		binary.BigEndian.PutUint64(s.ParentID[:], 1+rng.Uint64())
	}
	for i := range 8 {
		if rng.IntN(10) < 2 {
			continue
		}
		v := trace.Int(rng.Int64N(100))
		switch (i + rng.IntN(20)/19) % 4 {
		case 0:
			v = trace.String(fmt.Sprint("v", rng.IntN(30)))
		case 1:
			v = trace.Float(rng.Float64())
		case 2:
			v = trace.Bool(rng.IntN(2) == 0)
		}
		s.Attributes = append(s.Attributes, trace.Attribute{Key: fmt.Sprint("key", i), Value: v})
	}
	if rng.IntN(10) == 0 {
		s.StatusMessage = "bad"
		s.Events = []trace.Event{{Name: "e", TimeUnixNano: 3}}
		s.Links = []trace.Link{{SpanID: s.ParentID}}
		binary.BigEndian.PutUint64(s.Links[0].TraceID[8:], 1+rng.Uint64N(200))
	}
	return s
}

// TestSnapshots adds rows and takes snapshots at every publish. Readers then
// check, while more is added, that each snapshot shows just its rows.
func TestSnapshots(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	m := New()
	var all []trace.Span
	var readers sync.WaitGroup
	for round := range 15 {
		for range rng.IntN(150) {
			s := randomSpan(rng)
			if ok, err := m.Add(&s, column.RowHash(&s)); err != nil || !ok {
				t.Fatal(ok, err)
			}
			all = append(all, s)
		}
		if before := m.Rows(); before == len(all) && round > 0 {
			continue
		}
		m.Publish()
		if m.Rows() != len(all) {
			t.Fatalf("%d rows shown, want %d", m.Rows(), len(all))
		}
		blocks, want := m.Blocks(), slices.Clone(all)
		if len(blocks) == 0 {
			continue
		}
		readers.Add(1)
		go func() {
			defer readers.Done()
			b := blocks[0]
			if b.Rows() != len(want) {
				t.Errorf("snapshot of %d rows, want %d", b.Rows(), len(want))
				return
			}
			rows := make([]int, len(want))
			for i := range rows {
				rows[i] = i
			}
			got, err := b.Spans(rows, nil)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("snapshot: %v (-want +got):\n%s", err, diff)
			}
			for _, info := range b.Columns() {
				v, err := b.Column(info.Key, info.Type)
				if err != nil {
					t.Error(err)
				}
				n := 0
				for row := range want {
					if v == nil || !v.Has(row) {
						continue
					}
					n++
					if _, fixed := column.FixedType(info.Key); fixed {
						continue
					}
					if a, ok := want[row].Attribute(info.Key); !ok || a != v.Value(row) {
						t.Errorf("column %s row %d: %+v, want %+v", info.Key, row, v.Value(row), a)
						return
					}
				}
				if n != info.Rows {
					t.Errorf("column %s has %d values, Columns says %d", info.Key, n, info.Rows)
				}
			}
		}()
	}
	readers.Wait()

	for n := range uint64(201) {
		var id trace.ID
		binary.BigEndian.PutUint64(id[8:], n+1)
		want := slices.DeleteFunc(slices.Clone(all), func(s trace.Span) bool { return s.TraceID != id })
		got, truncated, err := m.TraceSpans(id, 1000)
		if diff := cmp.Diff(want, got); err != nil || truncated || len(want)+len(got) > 0 && diff != "" {
			t.Fatalf("trace %d: %v (-want +got):\n%s", n, err, diff)
		}
		var links []graph.Link
		for i := len(all) - 1; i >= 0; i-- {
			for _, h := range graph.DefaultRules().Halves(nil, &all[i]) {
				if h.Target.TraceID == id {
					links = append(links, graph.Link{From: h.Target, To: all[i].Ref()})
				}
			}
		}
		var effects []graph.Link
		m.Effects([]trace.ID{id}, func(_ int, l graph.Link) bool { effects = append(effects, l); return true })
		if diff := cmp.Diff(links, effects); diff != "" {
			t.Fatalf("effects of trace %d (-want +got):\n%s", n, diff)
		}
		var sum graph.Summary
		ok := false
		m.EachSummary([]trace.ID{id}, func(_ int, s *graph.Summary) { sum, ok = *s, true })
		errs := 0
		for _, s := range want {
			if s.Error {
				errs++
			}
		}
		if ok != (len(want) > 0) || sum.Spans != len(want) || sum.Errors != errs {
			t.Fatalf("summary of trace %d: %+v, %v; want %d spans, %d errors", n, sum, ok, len(want), errs)
		}
	}
}

func TestDuplicateAndRepeatedKeys(t *testing.T) {
	m := New()
	s := randomSpan(rand.New(rand.NewPCG(1, 1)))
	s.Attributes = []trace.Attribute{{Key: "k", Value: trace.Int(1)}, {Key: "k", Value: trace.Int(2)}, {Key: "k", Value: trace.String("x")}, {Key: "nothing"}}
	for n, want := range []bool{true, false} {
		if ok, err := m.Add(&s, column.RowHash(&s)); err != nil || ok != want {
			t.Fatalf("add %d: %v, %v; want %v", n, ok, err, want)
		}
	}
	if m.Rows() != 0 || len(m.Blocks()) != 0 {
		t.Fatal("rows are visible before Publish")
	}
	m.Publish()
	b := m.Blocks()[0]
	if got := b.Types("k"); !slices.Equal(got, []trace.Type{trace.TypeString, trace.TypeInt}) {
		t.Fatalf("types of k: %v", got)
	}
	spans, err := b.Spans([]int{0}, nil)
	want := []trace.Attribute{{Key: "k", Value: trace.Int(1)}, {Key: "k", Value: trace.String("x")}}
	if diff := cmp.Diff(want, spans[0].Attributes); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
}

func TestHashSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var s HashSet
	want := map[uint64]bool{}
	for range 50000 {
		h := rng.Uint64N(30000)
		if got := s.Has(h); got != want[h] {
			t.Fatalf("has %d: %v", h, got)
		}
		if got := s.Add(h); got == want[h] {
			t.Fatalf("add %d: %v", h, got)
		}
		want[h] = true
	}
}

// TestRecent: the last hashes are known, those long before are not, and there is
// a bound.
func TestRecent(t *testing.T) {
	const keep = 1000
	rng := rand.New(rand.NewPCG(5, 5))
	r := NewRecent(keep)
	added := map[uint64]int{} // when it was last new
	n := 0
	for range 50_000 {
		row := rng.Uint64N(4000)
		h, trace := column.Mix(row, 0), uint32(row%7) // few large traces
		age := n - added[h]
		_, known := added[h]
		isNew := r.Add(h, trace*0x9e3779b9)
		if known && age <= keep && isNew {
			t.Fatalf("%#x was new again after %d others, want at least %d remembered", h, age, keep)
		}
		if (!known || age > 2*keep) && !isNew {
			t.Fatalf("%#x is known after %d others, want at most %d remembered", h, age, 2*keep)
		}
		if isNew {
			n++
			added[h] = n
		}
	}
	if got, most := r.Bytes(), int64(43*keep); got > most {
		t.Errorf("%d bytes for %d hashes, want at most %d", got, keep, most)
	}
}

func BenchmarkAdd(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	spans := make([]trace.Span, 10000)
	for i := range spans {
		spans[i] = randomSpan(rng)
	}
	b.ReportAllocs()
	m := New()
	for i := 0; b.Loop(); i++ {
		s := &spans[i%len(spans)]
		binary.BigEndian.PutUint64(s.SpanID[:], uint64(i))
		if _, err := m.Add(s, column.RowHash(s)); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			m.Publish()
		}
		if m.Rows() > 256<<10 {
			m = New()
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
