package query

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/memtable"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

// stored cuts the spans at random into blocks of a real memtable and of real
// segments, written and opened again.
func stored(t *testing.T, spans []trace.Span, rng *rand.Rand) []column.Block {
	t.Helper()
	var blocks []column.Block
	cache := segment.NewCache(1 << 20)
	for n := uint64(0); len(spans) > 0; {
		part := spans[:1+rng.IntN(len(spans))]
		spans = spans[len(part):]
		mem := memtable.New()
		var prints []uint64
		for i := range part {
			n++
			if added, err := mem.Add(&part[i], column.Mix(0, n)); err != nil || !added {
				t.Fatalf("add span %d: %t, %v", n, added, err)
			}
			prints = append(prints, n)
			if rng.IntN(10) == 0 {
				mem.Publish()
			}
		}
		mem.Publish()
		if rng.IntN(2) == 0 {
			for _, b := range mem.Blocks() {
				blocks = append(blocks, b)
			}
			continue
		}
		path := filepath.Join(t.TempDir(), "rows.parquet")
		if _, err := segment.Write(path, mem.Blocks(), prints, nil); err != nil {
			t.Fatal(err)
		}
		f := segment.Open(path, len(part), cache)
		t.Cleanup(f.Close)
		bs, err := f.Blocks()
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, bs...)
	}
	rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	return blocks
}
