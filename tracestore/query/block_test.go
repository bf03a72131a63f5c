package query

import (
	"fmt"
	"math"
	"math/rand/v2"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// testBlock is a block made of spans, for tests.
type testBlock struct {
	spans []trace.Span
	infos []column.Info
	cols  map[string]map[trace.Type]*column.Vector
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

// Stats knows nothing: the rows are in memory, to read them is cheap.
func (*testBlock) Stats(string, trace.Type) (column.Stats, bool) { return column.Stats{}, false }

// MayHave is always possible.
func (*testBlock) MayHave(string, uint64) bool { return true }

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
	blocks := []column.Block{newTestBlock(nil)}
	most := 1 + rng.IntN(len(spans)+1)
	for len(spans) > 0 {
		n := 1 + rng.IntN(min(most, len(spans)))
		blocks = append(blocks, newTestBlock(spans[:n]))
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
