package query

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// testBlock is a block made of spans, for tests.
type testBlock struct {
	spans []trace.Span
	infos []column.Info
	cols  map[string]map[trace.Type]*column.Vector
	knows uint64 // seed of what its statistics tell; 0: nothing

	mu    sync.Mutex
	stats map[column.Info]column.Stats // told already
	has   map[string]map[uint64]bool   // hashes of all values, of the keys asked for
}

func (b *testBlock) Rows() int { return len(b.spans) }

func (b *testBlock) Bounds() (lo, hi int64) {
	lo, hi = math.MaxInt64, math.MinInt64
	for i := range b.spans {
		lo, hi = min(lo, b.spans[i].StartUnixNano), max(hi, b.spans[i].StartUnixNano)
	}
	return lo, hi
}

func (b *testBlock) Columns() []column.Info { return b.infos }

func (b *testBlock) Types(key string) []trace.Type {
	var out []trace.Type
	for t := trace.TypeNone; t <= trace.TypeJSON; t++ {
		if b.cols[key][t] != nil {
			out = append(out, t)
		}
	}
	return out
}

// Stats tells the truth, but not always all of it.
func (b *testBlock) Stats(key string, t trace.Type) (column.Stats, bool) {
	vec := b.cols[key][t]
	if vec == nil || b.knows == 0 {
		return column.Stats{}, false
	}
	luck := column.HashString(b.knows, key+t.String())
	if luck%4 == 0 {
		return column.Stats{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	info := column.Info{Key: key, Type: t}
	st, ok := b.stats[info]
	if !ok {
		st = b.measure(vec, t, luck)
		if b.stats == nil {
			b.stats = make(map[column.Info]column.Stats)
		}
		b.stats[info] = st
	}
	return st, true
}

func (b *testBlock) measure(vec *column.Vector, t trace.Type, luck uint64) column.Stats {
	st := column.Stats{Min: math.Inf(1), Max: math.Inf(-1), Distinct: -1}
	counts := make(map[string]int)
	for i := range b.spans {
		if v := vec.Value(i); v.Type != trace.TypeNone {
			counts[v.Text()]++
			x := v.Float()
			if t == trace.TypeBool {
				x = float64(v.Num)
			}
			if !math.IsNaN(x) {
				st.Min, st.Max = min(st.Min, x), max(st.Max, x)
			}
		}
	}
	if luck>>8%4 == 0 {
		st.Min, st.Max = 1, 0
	}
	if luck>>16%4 == 0 {
		return st
	}
	st.Distinct = len(counts)
	for _, text := range slices.Sorted(maps.Keys(counts)) {
		st.Top = append(st.Top, column.ValueCount{Text: text, Rows: counts[text]})
	}
	slices.SortStableFunc(st.Top, func(a, b column.ValueCount) int { return b.Rows - a.Rows })
	st.Top = st.Top[:min(len(st.Top), column.TopValues, 1+int(luck>>24%40))]
	return st
}

// MayHave is never wrong about a value that is there.
func (b *testBlock) MayHave(key string, hash uint64) bool {
	if b.knows == 0 || column.Mix(b.knows, hash)%8 == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.has[key] == nil {
		if b.has == nil {
			b.has = make(map[string]map[uint64]bool)
		}
		b.has[key] = make(map[uint64]bool)
		for _, vec := range b.cols[key] {
			for i := range b.spans {
				if vec.Has(i) {
					b.has[key][column.HashString(0, at(vec, i).Text())] = true
				}
			}
		}
	}
	return b.has[key][hash]
}

func (b *testBlock) Column(key string, t trace.Type) (*column.Vector, error) {
	return b.cols[key][t], nil
}

func (b *testBlock) Spans(rows []int, dst []trace.Span) ([]trace.Span, error) {
	for _, r := range rows {
		dst = append(dst, b.spans[r])
	}
	return dst, nil
}

// newTestBlock holds the spans by column, as column.Block says.
func newTestBlock(spans []trace.Span) *testBlock {
	n := len(spans)
	b := &testBlock{spans: spans, cols: make(map[string]map[trace.Type]*column.Vector)}
	dicts := make(map[*column.Vector]map[string]uint32)
	put := func(key string, row int, v trace.Value) {
		vec := b.cols[key][v.Type]
		if vec == nil {
			vec = &column.Vector{Type: v.Type, Present: column.NewBitmap(n)}
			switch v.Type {
			case trace.TypeInt, trace.TypeBool:
				vec.Ints = make([]int64, n)
			case trace.TypeFloat:
				vec.Floats = make([]float64, n)
			default:
				vec.IDs = make([]uint32, n)
				vec.Dict = column.Dict{Arena: []byte("unused"), Ends: []uint32{6}}
				dicts[vec] = make(map[string]uint32)
			}
			if b.cols[key] == nil {
				b.cols[key] = make(map[trace.Type]*column.Vector)
			}
			b.cols[key][v.Type] = vec
		}
		vec.Present.Set(row)
		switch {
		case vec.Ints != nil:
			vec.Ints[row] = int64(v.Num)
		case vec.Floats != nil:
			vec.Floats[row] = v.Float()
		default:
			id, ok := dicts[vec][v.Str]
			if !ok {
				id = uint32(vec.Dict.Len())
				vec.Dict.Arena = append(vec.Dict.Arena, v.Str...)
				vec.Dict.Ends = append(vec.Dict.Ends, uint32(len(vec.Dict.Arena)))
				dicts[vec][v.Str] = id
			}
			vec.IDs[row] = id
		}
	}
	tid, sid, pid := make([]byte, 0, 16*n), make([]byte, 0, 8*n), make([]byte, 0, 8*n)
	for i := range spans {
		s := &spans[i]
		tid, sid, pid = append(tid, s.TraceID[:]...), append(sid, s.SpanID[:]...), append(pid, s.ParentID[:]...)
		put(column.Start, i, trace.Int(s.StartUnixNano))
		put(column.Duration, i, trace.Int(s.DurationNano))
		put(column.Arrived, i, trace.Int(s.ArrivedUnixNano))
		put(column.Name, i, trace.String(s.Name))
		put(column.Service, i, trace.String(s.Service))
		put(column.Environment, i, trace.String(s.Environment))
		put(column.Kind, i, trace.Int(int64(s.Kind)))
		put(column.Status, i, trace.Int(int64(s.Status)))
		put(column.Error, i, trace.Bool(s.Error))
		put(column.Signal, i, trace.Int(int64(s.Signal)))
		if s.StatusMessage != "" {
			put(column.StatusMessage, i, trace.String(s.StatusMessage))
		}
		if s.TraceState != "" {
			put(column.TraceState, i, trace.String(s.TraceState))
		}
		for _, a := range s.Attributes {
			put(a.Key, i, a.Value)
		}
	}
	fixed := func(key string, data []byte, width int) {
		b.cols[key] = map[trace.Type]*column.Vector{trace.TypeBytes: {Type: trace.TypeBytes, Fixed: data, Width: width}}
	}
	fixed(column.TraceID, tid, 16)
	fixed(column.SpanID, sid, 8)
	fixed(column.ParentID, pid, 8)
	for key, types := range b.cols {
		for t, vec := range types {
			rows := n
			if vec.Present != nil {
				if rows = vec.Present.Count(); rows == n {
					vec.Present = nil
				}
			}
			b.infos = append(b.infos, column.Info{Key: key, Type: t, Rows: rows})
		}
	}
	return b
}

// cut makes blocks of the spans, of random sizes; of one block if rng is nil.
func cut(spans []trace.Span, rng *rand.Rand) []column.Block {
	if rng == nil {
		return []column.Block{newTestBlock(spans)}
	}
	add := func(spans []trace.Span) column.Block {
		b := newTestBlock(spans)
		if rng.IntN(4) > 0 {
			b.knows = rng.Uint64()
		}
		return b
	}
	blocks := []column.Block{add(nil)}
	most := 1 + rng.IntN(len(spans)+1)
	for len(spans) > 0 {
		n := 1 + rng.IntN(min(most, len(spans)))
		blocks = append(blocks, add(spans[:n]))
		spans = spans[n:]
	}
	rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	return blocks
}

func ExampleParseSpec() {
	_, err := ParseSpec([]byte(`{"filter":[{"column":"error","op":"=","value":true}]}`))
	fmt.Println(err)
	// Output: query: filter: Unknown field "filter".
}
