package segment

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"redthread/tracestore/column"
	"redthread/tracestore/memtable"
	"redthread/tracestore/segment/segmenttest"
	"redthread/tracestore/trace"
)

// manyKeys fills a memtable with rows of three of so many keys, a few of them
// frequent; every twentieth key comes in two types.
func manyKeys(t testing.TB, rows, keys int) *memtable.Table {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(keys), 1))
	skewed := rand.NewZipf(rng, 1.2, 8, uint64(keys-1))
	m := memtable.New()
	for i := range rows {
		s := trace.Span{Name: "op", Service: "svc", Environment: "e", StartUnixNano: int64(i)}
		binary.BigEndian.PutUint64(s.TraceID[:], uint64(i/7+1))
		binary.BigEndian.PutUint64(s.SpanID[:], uint64(i+1))
		used := map[uint64]bool{}
		for range 3 {
			k := skewed.Uint64()
			if used[k] {
				continue
			}
			used[k] = true
			v := trace.String(fmt.Sprint("v", rng.IntN(40)))
			if k%20 == 0 && rng.IntN(2) == 0 {
				v = trace.Int(rng.Int64N(1000))
			}
			s.Attributes = append(s.Attributes, trace.Attribute{Key: fmt.Sprint("key.", k), Value: v})
		}
		if _, err := m.Add(&s, column.RowHash(&s)); err != nil {
			t.Fatal(err)
		}
	}
	m.Publish()
	return m
}

// TestManyKeys writes rows of thousands of keys: as many as may be get a column,
// the others lie together, and all read as they were.
func TestManyKeys(t *testing.T) {
	for _, keys := range []int{5_000, 50_000} {
		const rows = 20_000
		m := manyKeys(t, rows, keys)
		path := filepath.Join(t.TempDir(), "s.parquet")
		info, err := Write(path, m.Blocks(), m.Fingerprints(), nil)
		if err != nil {
			t.Fatal(err)
		}
		// 24 bytes of ids, three values with their keys, and what columns cost.
		if perRow := info.SizeBytes / rows; perRow > 80 {
			t.Errorf("%d keys: %d bytes a row", keys, perRow)
		}
		f := Open(path, info.Rows, NewCache(64<<20))
		defer f.Close()
		blocks, err := f.Blocks()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(blocks[0].(*block).r.layout.Columns); n > maxColumns || n < 100 {
			t.Errorf("%d keys have %d columns", keys, n)
		}
		segmenttest.Check(t, path, blocks)
		sameBlock(t, m.Blocks()[0], blocks[0])
	}
}

// TestFooterMemory opens a file of many columns and row groups: what stays in
// memory is small, as dozens of files are open.
func TestFooterMemory(t *testing.T) {
	m := manyKeys(t, 30_000, 2_000)
	source := m.Blocks()[0]
	var sources []column.Source
	for range 16 {
		sources = append(sources, source)
	}
	path := filepath.Join(t.TempDir(), "s.parquet")
	info, err := Write(path, sources, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		var st runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&st)
		return st.HeapAlloc
	}
	before := heap()
	var files []*File
	const n = 8
	for range n {
		f := Open(path, info.Rows, NewCache(1<<20))
		defer f.Close()
		if _, err := f.Blocks(); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	each := max(int64(heap())-int64(before), 0) / n // other garbage may have gone meanwhile
	blocks, _ := files[0].Blocks()
	r := blocks[0].(*block).r
	t.Logf("%d columns, %d row groups: %d KiB a file", len(r.layout.Columns), len(blocks), each>>10)
	if most := int64(len(blocks)*len(r.layout.Columns)*64 + len(r.layout.Columns)*400 + 64<<10); each > most {
		t.Errorf("%d bytes a file, at most %d wanted", each, most)
	}
	runtime.KeepAlive(files)
}
