package segment

import (
	"fmt"
	"math/bits"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/segment/parquet"
	"redthread/tracestore/trace"
)

// packed is a decoded column of an input: its values one after the other.
type packed struct {
	present column.Bitmap // nil: every row has one
	parquet.Values
}

// scratch is room for one column of a row group, with a place for each row.
type scratch struct {
	present column.Bitmap
	ids     []uint32
	ints    []int64
	floats  []float64
	remap   []uint32 // by id of an input's dictionary: the new one, plus one
}

func grown[T any](b []T, n int) []T { return slices.Grow(b[:0], n)[:n] }

// merge puts a column of the group together. at says in which of a block's
// columns it stands: -1 in none, less under key -at-2 of the overflow. Columns of
// the inputs are kept for the next row groups as long as the same one is asked
// for.
func (g *mergedGroup) merge(name string, t trace.Type, width int, at func(block int) int) (*column.Sparse, error) {
	m := g.m
	if m.current != name {
		if err := m.breathe(); err != nil {
			return nil, err
		}
		m.current = name
		m.loaded = make(map[int]*packed)
	}
	for block := range m.loaded {
		if block < g.blocks[0] {
			delete(m.loaded, block)
		}
	}
	out := column.Vector{Type: t}
	m.present = grown(m.present, (g.rows+63)/64)
	clear(m.present)
	switch {
	case width > 0:
		out.Fixed, out.Width = make([]byte, g.rows*width), width
	case column.IsText(t):
		m.ids = grown(m.ids, g.rows)
	case t == trace.TypeFloat:
		m.floats = grown(m.floats, g.rows)
	default:
		m.ints = grown(m.ints, g.rows)
	}
	var dict column.DictBuilder
	count := 0
	for _, i := range g.blocks {
		to := m.to[m.base[i] : m.base[i]+m.blocks[i].Rows()]
		where := at(i)
		if where < -1 {
			n, err := g.takeRare(i, -where-2, t, to, &dict)
			if err != nil {
				return nil, err
			}
			count += n
			continue
		}
		if where < 0 {
			continue
		}
		v, ok := m.loaded[i]
		if !ok {
			b := m.blocks[i]
			v = new(packed)
			var err error
			if v.present, v.Values, err = b.r.file.Chunk(b.group, where).Packed(); err != nil {
				return nil, b.f.corrupt(fmt.Errorf("row group %d: %w", b.group, err))
			}
			m.loaded[i] = v
		}
		n, err := g.take(&out, v, to, &dict)
		if err != nil {
			return nil, err
		}
		count += n
	}
	if count == 0 {
		return nil, nil
	}
	out.Dict = dict.Dict()
	s := &column.Sparse{Values: out}
	if count < g.rows {
		s.Rows = make([]uint32, 0, count)
		eachBit(m.present, func(row int) { s.Rows = append(s.Rows, uint32(row)) })
	}
	switch {
	case width > 0:
	case column.IsText(t):
		s.Values.IDs = compactValues(m.ids, s.Rows)
	case t == trace.TypeFloat:
		s.Values.Floats = compactValues(m.floats, s.Rows)
	default:
		s.Values.Ints = compactValues(m.ints, s.Rows)
	}
	return s, nil
}

// compactValues copies the values of some rows, nil for all of them.
func compactValues[T any](from []T, rows []uint32) []T {
	if rows == nil {
		return slices.Clone(from)
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = from[r]
	}
	return out
}

// take puts the values of those rows of a block that go to this group in their
// places, and returns their number.
func (g *mergedGroup) take(out *column.Vector, v *packed, to []uint32, dict *column.DictBuilder) (n int, err error) {
	m := g.m
	switch {
	case out.Fixed != nil:
		w := out.Width
		return g.places(v.present, to, func(i int, at uint32) { copy(out.Fixed[int(at)*w:int(at+1)*w], v.Fixed[i*w:]) }), nil
	case v.IDs != nil:
		// Each value of the dictionary is hashed once, when its first row comes.
		m.remap = grown(m.remap, v.Dict.Len())
		clear(m.remap)
		n = g.places(v.present, to, func(i int, at uint32) {
			id := v.IDs[i]
			if m.remap[id] == 0 {
				next, e := dict.ID(v.Dict.At(id))
				if e != nil {
					err = e
				}
				m.remap[id] = next + 1
			}
			m.ids[at] = m.remap[id] - 1
		})
		return n, err
	case v.Floats != nil:
		return g.places(v.present, to, func(i int, at uint32) { m.floats[at] = v.Floats[i] }), nil
	}
	return g.places(v.present, to, func(i int, at uint32) { m.ints[at] = v.Ints[i] }), nil
}

// places calls fn with the values, by position, whose rows go to this group, and
// their places in it.
func (g *mergedGroup) places(present column.Bitmap, to []uint32, fn func(i int, at uint32)) (n int) {
	from, rows, set := uint32(g.from), uint32(g.rows), g.m.present
	if present == nil {
		for i, at := range to {
			// dropped is beyond every group.
			if at -= from; at < rows {
				set.Set(int(at))
				n++
				fn(i, at)
			}
		}
		return n
	}
	i := 0
	for word, w := range present {
		for ; w != 0; w &= w - 1 {
			if at := to[word<<6+bits.TrailingZeros64(w)] - from; at < rows {
				set.Set(int(at))
				n++
				fn(i, at)
			}
			i++
		}
	}
	return n
}

// rareOf returns the overflow of a block. It is kept until the groups have gone
// past the block.
func (g *mergedGroup) rareOf(block int) (*rare, error) {
	m := g.m
	for i := range m.rare {
		if i < g.blocks[0] {
			delete(m.rare, i)
		}
	}
	if r := m.rare[block]; r != nil {
		return r, nil
	}
	r, err := m.blocks[block].rare()
	if err == nil {
		m.rare[block] = r
	}
	return r, err
}

// eachRare calls fn with the values of an overflow key whose rows go to this
// group.
func (g *mergedGroup) eachRare(block, key int, t trace.Type, to []uint32, fn func(at uint32, v trace.Value) error) error {
	r, err := g.rareOf(block)
	if err != nil {
		return err
	}
	for _, e := range r.entries[r.first[key]:r.first[key+1]] {
		at := to[r.row[e]] - uint32(g.from)
		if at >= uint32(g.rows) {
			continue
		}
		v, err := parseText(t, r.values.At(r.value[e]))
		if err != nil {
			return g.m.blocks[block].f.corrupt(err)
		}
		if err := fn(at, v); err != nil {
			return err
		}
	}
	return nil
}

// takeRare is take for a column that lies in the block's overflow.
func (g *mergedGroup) takeRare(block, key int, t trace.Type, to []uint32, dict *column.DictBuilder) (n int, err error) {
	m := g.m
	err = g.eachRare(block, key, t, to, func(at uint32, v trace.Value) error {
		m.present.Set(int(at))
		n++
		switch {
		case column.IsText(t):
			id, err := dict.ID(v.Str)
			m.ids[at] = id
			return err
		case t == trace.TypeFloat:
			m.floats[at] = v.Float()
		default:
			m.ints[at] = v.Int()
		}
		return nil
	})
	return n, err
}

// mergeRare puts a column together that lies in the overflow of every input. It
// does nothing that takes a step for each row.
func (g *mergedGroup) mergeRare(position int, k attributeKey) (*column.Sparse, error) {
	m := g.m
	type value struct {
		at uint32
		v  trace.Value
	}
	var values []value
	for _, i := range g.blocks {
		key := -int(m.sources[i][position]) - 1
		if key < 0 {
			continue
		}
		to := m.to[m.base[i] : m.base[i]+m.blocks[i].Rows()]
		err := g.eachRare(i, key, k.typ, to, func(at uint32, v trace.Value) error {
			values = append(values, value{at, v})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(values, func(a, b value) int { return int(a.at) - int(b.at) })
	s := &column.Sparse{Rows: make([]uint32, len(values)), Values: column.Vector{Type: k.typ}}
	var dict column.DictBuilder
	for i, x := range values {
		s.Rows[i] = x.at
		switch {
		case column.IsText(k.typ):
			id, err := dict.ID(x.v.Str)
			if err != nil {
				return nil, err
			}
			s.Values.IDs = append(s.Values.IDs, id)
		case k.typ == trace.TypeFloat:
			s.Values.Floats = append(s.Values.Floats, x.v.Float())
		default:
			s.Values.Ints = append(s.Values.Ints, x.v.Int())
		}
	}
	if len(values) == g.rows {
		s.Rows = nil
	}
	s.Values.Dict = dict.Dict()
	return s, nil
}
