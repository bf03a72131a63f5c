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

func randomEdges(rng *rand.Rand, links, traces int) (ls []graph.Link, ss map[trace.ID]graph.Summary) {
	for range links {
		l := graph.Link{From: trace.Ref{TraceID: numbered(rng.Uint64N(400))}, To: trace.Ref{TraceID: numbered(rng.Uint64N(400))}}
		if rng.IntN(3) == 0 {
			l.From.TraceID = numbered(7) // one cause of thousands of effects
		}
		binary.BigEndian.PutUint64(l.To.SpanID[:], rng.Uint64N(1000))
		ls = append(ls, l)
	}
	ss = make(map[trace.ID]graph.Summary)
	for len(ss) < traces {
		id := numbered(rng.Uint64N(4000))
		ss[id] = graph.Summary{
			TraceID: id, SpanID: trace.SpanID{byte(rng.IntN(256))}, Root: rng.IntN(2) == 0, Service: "svc", Name: fmt.Sprint("op", rng.IntN(5)),
			Route: "/r", Kind: trace.Kind(rng.IntN(6)), Environment: "e", StartUnixNano: rng.Int64N(1e15) - 5e14, DurationNano: rng.Int64N(1e9),
			Spans: 1 + rng.IntN(100), Errors: rng.IntN(3),
		}
	}
	return ls, ss
}

func checkEdges(t *testing.T, e *Edges, links []graph.Link, sums map[trace.ID]graph.Summary) {
	t.Helper()
	if err := e.Verify(t.Context()); err != nil {
		t.Fatalf("verify: %v", err)
	}
	links = slices.Clone(links)
	slices.SortFunc(links, compareLinks)
	links = slices.Compact(links)
	for n := range uint64(402) {
		id := numbered(n)
		want := slices.DeleteFunc(slices.Clone(links), func(l graph.Link) bool { return l.From.TraceID != id })
		got, truncated, err := e.Effects(id, 1e6)
		if diff := cmp.Diff(want, got); err != nil || truncated || len(want)+len(got) > 0 && diff != "" {
			t.Fatalf("effects of %d: truncated %v, %v (-want +got):\n%s", n, truncated, err, diff)
		}
		if len(want) > 1 {
			if got, truncated, err = e.Effects(id, len(want)-1); err != nil || !truncated || len(got) != len(want)-1 {
				t.Fatalf("effects of %d with a limit: %d, %v, %v", n, len(got), truncated, err)
			}
		}
	}
	for n := range uint64(4002) {
		want, wantOK := sums[numbered(n)]
		got, ok, err := e.Summary(numbered(n))
		if err != nil || ok != wantOK || got != want {
			t.Fatalf("summary of %d: %+v, %v, %v; want %+v, %v", n, got, ok, err, want, wantOK)
		}
	}
}

func TestEdges(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(9, 9))
	var runs []*Edges
	var allLinks []graph.Link
	allSums := make(map[trace.ID]graph.Summary)
	for i, size := range [][2]int{{0, 0}, {1, 1}, {5000, 2000}, {300, 512}, {512, 513}} {
		links, sums := randomEdges(rng, size[0], size[1])
		var list []graph.Summary
		for id, s := range sums {
			list = append(list, s)
			if have, ok := allSums[id]; ok {
				s = MergeSummaries(have, s)
			}
			allSums[id] = s
		}
		allLinks = append(allLinks, links...)
		path := filepath.Join(dir, fmt.Sprint(i, ".edges"))
		info, err := WriteEdges(path, slices.Clone(links), list, nil)
		if err != nil || info.Traces != size[1] {
			t.Fatalf("write: %+v, %v", info, err)
		}
		e := OpenEdges(path)
		t.Cleanup(e.Close)
		checkEdges(t, e, links, sums)
		runs = append(runs, e)
	}
	path := filepath.Join(dir, "all.edges")
	info, err := MergeEdges(path, runs, nil)
	if err != nil || info.Traces != len(allSums) {
		t.Fatalf("merge: %+v, %v; want %d traces", info, err, len(allSums))
	}
	e := OpenEdges(path)
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
		e := OpenEdges(path)
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

func FuzzSummary(f *testing.F) {
	f.Add(appendSummary(nil, graph.Summary{TraceID: numbered(1), Service: "s", Name: "n", StartUnixNano: -5, Spans: 3}))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, rest, err := readSummary(data)
		if err != nil {
			return
		}
		again, _, err := readSummary(appendSummary(nil, s))
		if err != nil || again != s || len(rest) > len(data) {
			t.Fatalf("%+v, again %+v, %v", s, again, err)
		}
	})
}

// TestEdgesOfLongNames: names as long as senders like do not make a block that is
// too long to be read.
func TestEdgesOfLongNames(t *testing.T) {
	sums := make([]graph.Summary, 3*edgesBlockItems)
	for i := range sums {
		sums[i] = graph.Summary{TraceID: numbered(uint64(i)), Service: strings.Repeat("s", 32<<10), Name: fmt.Sprint(i)}
	}
	path := filepath.Join(t.TempDir(), "e.edges")
	if _, err := WriteEdges(path, nil, slices.Clone(sums), nil); err != nil {
		t.Fatal(err)
	}
	e := OpenEdges(path)
	t.Cleanup(e.Close)
	if err := e.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range e.blocks {
		b, err := e.block(i)
		if err != nil || len(b) > edgesBlockBytes+33<<10 {
			t.Fatalf("block %d has %d bytes, %v; want 1 MiB and a record at most", i, len(b), err)
		}
	}
	for _, want := range sums {
		if got, ok, err := e.Summary(want.TraceID); err != nil || !ok || got != want {
			t.Fatalf("summary of %s: %v, %v", want.Name, ok, err)
		}
	}
}
