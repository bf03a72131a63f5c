package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

func numbered(n uint64) (id trace.ID) {
	binary.BigEndian.PutUint64(id[8:], n+1)
	return id
}

func randomEdges(rng *rand.Rand, halves, traces int) (hs []graph.Half, ss map[trace.ID]graph.Summary) {
	for range halves {
		h := graph.Half{Of: trace.Ref{TraceID: numbered(rng.Uint64N(400))}, Side: graph.EffectSide, Rule: graph.RuleID(1 + rng.IntN(12))}
		binary.BigEndian.PutUint64(h.Of.SpanID[:], rng.Uint64N(1000))
		h.StartUnixNano = int64(binary.BigEndian.Uint64(h.Of.SpanID[:])) * 1e6
		if rng.IntN(2) == 0 {
			h.Target = trace.Ref{TraceID: numbered(rng.Uint64N(400)), SpanID: trace.SpanID{byte(rng.IntN(3))}}
			h.Unsampled = rng.IntN(5) == 0
			if rng.IntN(3) == 0 {
				h.Target.TraceID = numbered(7) // one cause of thousands of effects
			}
		} else {
			h.Key, h.Side = graph.Key(1+rng.Uint64N(50)), graph.Side(1+rng.IntN(3))
			if rng.IntN(3) == 0 {
				h.Key = graph.Key(rng.Uint64() | 1)
			}
		}
		if h.Side != graph.CauseSide && rng.IntN(10) == 0 {
			h.Dropped = rng.Int32()
		}
		hs = append(hs, h)
	}
	ss = make(map[trace.ID]graph.Summary)
	for len(ss) < traces {
		id := numbered(rng.Uint64N(4000))
		s := graph.Summary{
			TraceID: id, Root: rng.IntN(2) == 0, Service: "svc", Name: fmt.Sprint("op", rng.IntN(5)),
			Route: "/r", Kind: trace.Kind(rng.IntN(6)), Environment: "e", StartUnixNano: (rng.Int64N(1e10) - 5e9) * grain, DurationNano: durationOf(durationCode(rng.Int64N(1 << (10 + rng.IntN(40))))),
			Spans: 1 + rng.IntN(100), Errors: rng.IntN(3), Caused: rng.IntN(4) == 0, Run: rng.IntN(4) == 0, Batch: rng.IntN(4) == 0, Messages: rng.IntN(3), Jobs: rng.IntN(3), Requests: rng.IntN(5),
		}
		binary.BigEndian.PutUint64(s.SpanID[:], rng.Uint64()) // one span has one time, in every run
		s.RootStartUnixNano = s.StartUnixNano + rng.Int64N(2)*rng.Int64N(1e6)*grain
		for i := range rng.IntN(3) {
			s.Kept = append(s.Kept, trace.Attribute{Key: fmt.Sprint("kept", i), Value: trace.String([]string{"", "u00", "c0e42043-4a75-", "ABCDEF", "é"}[rng.IntN(5)] + fmt.Sprint(rng.IntN(1e6)))})
		}
		ss[id] = s
	}
	for id, s := range ss { // halves by the request id that the summary keeps
		if len(s.Kept) > 0 && rng.IntN(2) == 0 {
			hs = append(hs, graph.Half{Of: trace.Ref{TraceID: id, SpanID: s.SpanID}, Side: graph.Side(1 + rng.IntN(3)), Rule: requestRule,
				Key: graph.RequestKey(s.Kept[rng.IntN(len(s.Kept))].Value.Str), StartUnixNano: floorDiv(s.RootStartUnixNano, millisecond) * millisecond})
		}
	}
	return hs, ss
}

// runHalf is what a run gives of a half: of who sends little, the trace only.
func runHalf(h graph.Half, halves []graph.Half) graph.Half {
	n := 0
	for i := range halves {
		if o := &halves[i]; mereSender(o) && o.Of.TraceID == h.Of.TraceID {
			n++
		}
	}
	if mereSender(&h) && n <= maxSenders {
		h.Of.SpanID = trace.SpanID{}
	}
	return h
}

// runHalves are those that a run made of halves and summaries gives.
func runHalves(halves []graph.Half) []graph.Half {
	out := make([]graph.Half, len(halves))
	for i := range halves {
		out[i] = runHalf(halves[i], halves)
	}
	return out
}

// forgetKept takes from summaries what their runs leave to the trace that caused theirs.
func forgetKept(halves []graph.Half, sums map[trace.ID]graph.Summary) {
	for i := range halves {
		h := &halves[i]
		s, ok := sums[h.Of.TraceID]
		if t := (edgeTrace{sum: s}); !ok || !t.inherits(h) || slices.ContainsFunc(halves, func(o graph.Half) bool {
			return o.Of == h.Of && requestOf(&s, &o) != 0
		}) {
			continue
		}
		s.Kept = s.OnlyClass()
		sums[h.Of.TraceID] = s
	}
}

// requestRule is a rule of request ids.
var requestRule = func() graph.RuleID {
	for r := graph.RuleID(1); ; r++ {
		if r.Kind() == graph.KindRequestID {
			return r
		}
	}
}()

// sameHalf says that two halves are one edge: a row that was sent twice.
func sameHalf(a, b graph.Half) bool {
	return a.Of == b.Of && a.Target == b.Target && a.Key == b.Key && a.Rule == b.Rule && (!a.Of.SpanID.IsZero() || a.StartUnixNano == b.StartUnixNano)
}

func checkEdges(t *testing.T, e *Edges, halves []graph.Half, sums map[trace.ID]graph.Summary) {
	t.Helper()
	if err := e.Verify(t.Context()); err != nil {
		t.Fatalf("verify: %v", err)
	}
	// Of equal halves any may be kept.
	wants := func(got []graph.Half, is func(h *graph.Half) bool) bool {
		var want []graph.Half
		for i := range halves {
			if is(&halves[i]) && !slices.ContainsFunc(want, func(h graph.Half) bool { return sameHalf(h, halves[i]) }) {
				want = append(want, halves[i])
			}
		}
		return len(got) == len(want) && !slices.ContainsFunc(want, func(h graph.Half) bool {
			return !slices.ContainsFunc(got, func(g graph.Half) bool { return sameHalf(g, h) })
		}) && !slices.ContainsFunc(got, func(h graph.Half) bool { return !slices.Contains(halves, h) })
	}
	for n := range uint64(402) {
		id := numbered(n)
		var got []graph.Half
		if err := e.Causes([]trace.ID{id}, func(_ int, h *graph.Half) bool { got = append(got, *h); return true }); err != nil ||
			!wants(got, func(h *graph.Half) bool { return h.Of.TraceID == id && h.Side&graph.EffectSide != 0 }) {
			t.Fatalf("causes of %d: %d, %v", n, len(got), err)
		}
		want := map[graph.Link]bool{}
		for i := range halves {
			if h := &halves[i]; h.Target.TraceID == id {
				want[graph.Link{From: h.Target, To: h.Of}] = true
			}
		}
		if err := e.Effects([]trace.ID{id}, func(_ int, l graph.Link) bool {
			if !want[l] {
				t.Fatalf("effects of %d: %+v, which is none or was there", n, l)
			}
			delete(want, l)
			return true
		}); err != nil || len(want) > 0 {
			t.Fatalf("effects of %d: %v lack, %v", n, want, err)
		}
	}
	keys := []graph.Key{51, 1 << 63}
	for i := range halves {
		if h := &halves[i]; h.Key != 0 && (len(keys) < 100 || h.Key < 50) {
			keys = append(keys, h.Key)
		}
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		var got []graph.Half
		if err := e.Ends([]graph.Key{key}, func(_ int, h *graph.Half) bool { got = append(got, *h); return true }); err != nil ||
			!wants(got, func(h *graph.Half) bool { return h.Key == key }) {
			t.Fatalf("ends of %x: %d, %v", key, len(got), err)
		}
	}
	var ids []trace.ID
	for n := range uint64(4002) {
		ids = append(ids, numbered(n))
	}
	n := 0
	if err := e.Summaries(ids, func(i int, got *graph.Summary) {
		n++
		if diff := cmp.Diff(sums[ids[i]], *got); diff != "" {
			t.Fatalf("summary of %d (-want +got):\n%s", i, diff)
		}
	}); err != nil || n != len(sums) {
		t.Fatalf("%d summaries, %v; want %d", n, err, len(sums))
	}
}

func TestEdges(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(9, 9))
	var runs []*Edges
	var allLinks []graph.Half
	allSums := make(map[trace.ID]graph.Summary)
	for i, size := range [][2]int{{0, 0}, {1, 1}, {5000, 2000}, {300, 512}, {512, 513}} {
		links, sums := randomEdges(rng, size[0], size[1])
		var list []graph.Summary
		for _, s := range sums {
			list = append(list, s)
		}
		forgetKept(links, sums)
		for id, s := range sums {
			if have, ok := allSums[id]; ok {
				s = MergeSummaries(have, s)
			}
			allSums[id] = s
		}
		found := runHalves(links)
		allLinks = append(allLinks, found...)
		path := filepath.Join(dir, fmt.Sprint(i, ".edges"))
		info, err := WriteEdges(path, links, list, nil)
		if err != nil || info.Traces != size[1] {
			t.Fatalf("write: %+v, %v", info, err)
		}
		e := OpenEdges(path, NewCache(1<<20))
		t.Cleanup(e.Close)
		checkEdges(t, e, found, sums)
		runs = append(runs, e)
	}
	for id, s := range allSums {
		s.DurationNano = durationOf(durationCode(s.DurationNano))
		allSums[id] = s
	}
	path := filepath.Join(dir, "all.edges")
	info, err := MergeEdges(path, runs, nil)
	if err != nil || info.Traces != len(allSums) {
		t.Fatalf("merge: %+v, %v; want %d traces", info, err, len(allSums))
	}
	e := OpenEdges(path, NewCache(1<<20))
	t.Cleanup(e.Close)
	checkEdges(t, e, allLinks, allSums)
}

func TestCorruptEdges(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 9))
	links, sums := randomEdges(rng, 3000, 1000)
	var list []graph.Summary
	for _, s := range sums {
		list = append(list, s)
	}
	path := filepath.Join(dir, "a.edges")
	if _, err := WriteEdges(path, links, list, nil); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		b := slices.Clone(whole)
		if rng.IntN(5) == 0 {
			b = b[:rng.IntN(len(b))]
		} else {
			b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		e := OpenEdges(path, NewCache(1<<20))
		_, err := MergeEdges(filepath.Join(dir, "b.edges"), []*Edges{e}, nil)
		e.Close()
		var bad *CorruptError
		if !errors.As(err, &bad) || bad.Path != path {
			t.Fatalf("got %v, want a CorruptError of %s", err, path)
		}
		if _, err := os.Stat(filepath.Join(dir, "b.edges")); !os.IsNotExist(err) {
			t.Fatalf("a run was made of a damaged one: %v", err)
		}
	}
}

// TestEdgesOfLongNames: names as long as senders like do not make a block that is
// too long to be read.
func TestEdgesOfLongNames(t *testing.T) {
	sums := make([]graph.Summary, 3*edgesBlockItems)
	for i := range sums {
		sums[i] = graph.Summary{TraceID: numbered(uint64(i)), Spans: 1, Service: strings.Repeat("s", 32<<10), Name: fmt.Sprint(i)}
	}
	path := filepath.Join(t.TempDir(), "e.edges")
	if _, err := WriteEdges(path, nil, slices.Clone(sums), nil); err != nil {
		t.Fatal(err)
	}
	e := OpenEdges(path, NewCache(1<<20))
	t.Cleanup(e.Close)
	if err := e.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range e.footer.from[edgeSections] {
		b, err := e.load(i)
		if err != nil || len(b) > edgesBlockBytes+33<<10 {
			t.Fatalf("block %d has %d bytes, %v; want 1 MiB and a record at most", i, len(b), err)
		}
	}
	n := 0
	if err := e.Summaries([]trace.ID{sums[0].TraceID, sums[700].TraceID}, func(i int, got *graph.Summary) {
		n++
		if diff := cmp.Diff(sums[700*i], *got); diff != "" {
			t.Fatalf("summary of %d (-want +got):\n%s", 700*i, diff)
		}
	}); err != nil || n != 2 {
		t.Fatalf("%d summaries, %v", n, err)
	}
}

// TestSortByNumber: any list, with few different numbers or many, with those that
// differ in some digits only, is sorted as by comparing.
func TestSortByNumber(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, n := range []int{0, 1, 2, 255, 256, 3000} {
		for _, mask := range []uint64{0, 3, 0x7ff, 0x3ff000, 0xffc00000, 0xffffffff} {
			list := make([]endRecord, n)
			for i := range list {
				list[i] = endRecord{key: graph.Key(rng.Uint64()&mask<<32 | rng.Uint64N(4)), of: rng.Uint32N(3)}
			}
			want := slices.SortedFunc(slices.Values(list), compareEnds)
			sortByNumber(list, endNumber, compareEnds)
			if !slices.Equal(list, want) {
				t.Fatalf("%d records with mask %x are out of order", n, mask)
			}
		}
	}
}
