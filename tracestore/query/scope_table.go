package query

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// spanTable numbers spans, or traces where the span id is zero, from 0 on in the
// order in which they come. It has no pointers in it: there may be millions. A slot
// has a part of the hash, so that a span that is not there is seldom compared.
type spanTable struct {
	keys  []trace.Ref
	slots []uint64 // upper half of the hash, then 1 + number; 0: free; a power of two of them
	seed  uint64   // since senders choose the ids
}

func newSpanTable() *spanTable {
	return &spanTable{slots: make([]uint64, 64), seed: rand.Uint64()}
}

// hash is in the upper half; a slot is found by it, and so moved without the key.
func (t *spanTable) hash(k *trace.Ref) uint64 {
	h := column.Mix(t.seed, binary.LittleEndian.Uint64(k.TraceID[:8]))
	h = column.Mix(h, binary.LittleEndian.Uint64(k.TraceID[8:]))
	return column.Mix(h, binary.LittleEndian.Uint64(k.SpanID[:])) &^ math.MaxUint32
}

// find returns the number of a span, -1 if it has none.
func (t *spanTable) find(k *trace.Ref) int {
	mask := uint64(len(t.slots) - 1)
	h := t.hash(k)
	for at := h >> 32 & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		if s == 0 {
			return -1
		}
		if n := uint32(s) - 1; s&^math.MaxUint32 == h && t.keys[n] == *k {
			return int(n)
		}
	}
}

// number returns the number of a span, which may be new.
func (t *spanTable) number(k *trace.Ref) int {
	mask := uint64(len(t.slots) - 1)
	h := t.hash(k)
	at := h >> 32 & mask
	for ; t.slots[at] != 0; at = (at + 1) & mask {
		if s := t.slots[at]; s&^math.MaxUint32 == h && t.keys[uint32(s)-1] == *k {
			return int(uint32(s) - 1)
		}
	}
	t.keys = append(t.keys, *k)
	t.slots[at] = h | uint64(len(t.keys))
	if 4*len(t.keys) > 3*len(t.slots) {
		t.grow()
	}
	return len(t.keys) - 1
}

func (t *spanTable) grow() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	mask := uint64(len(t.slots) - 1)
	for _, s := range old {
		if s == 0 {
			continue
		}
		at := s >> 32 & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = s
	}
}

// bytes is the memory held.
func (t *spanTable) bytes() int64 { return int64(24*cap(t.keys) + 8*len(t.slots)) }

// traces lists the trace of each number.
func (t *spanTable) traces() []trace.ID {
	out := make([]trace.ID, len(t.keys))
	for i := range t.keys {
		out[i] = t.keys[i].TraceID
	}
	return out
}

// spanValues are columns of numbered spans: what is read of them, as vectors with
// one value for each number.
type spanValues struct {
	n     int
	names []string
	cols  map[string]*valueColumn
	held  int64
}

func newSpanValues(n int, names []string) *spanValues {
	s := &spanValues{n: n, names: names, cols: make(map[string]*valueColumn, len(names))}
	for _, name := range names {
		s.cols[name] = &valueColumn{}
	}
	return s
}

// bytes is about the memory held.
func (s *spanValues) bytes() int64 {
	n := int64(0)
	for _, c := range s.cols {
		for _, v := range c.vecs {
			if v != nil {
				n += int64(8*len(v.Present) + 4*len(v.IDs) + 8*len(v.Ints) + 8*len(v.Floats))
			}
		}
		for _, d := range c.dicts {
			if d != nil {
				n += d.Bytes()
			}
		}
	}
	return n
}

// vectors returns a column, a vector for each type. It may be called from several
// goroutines once all values are set.
func (s *spanValues) vectors(name string) []*column.Vector {
	c := s.cols[name]
	if c == nil {
		return nil
	}
	var out []*column.Vector
	for t, v := range c.vecs {
		if v == nil {
			continue
		}
		vec := *v // the dictionary belongs to its builder until then
		if c.dicts[t] != nil {
			vec.Dict = c.dicts[t].Dict()
		}
		out = append(out, &vec)
	}
	return out
}

// valueColumn is one column of spanValues, by type.
type valueColumn struct {
	vecs  [trace.TypeJSON + 1]*column.Vector
	dicts [trace.TypeJSON + 1]*column.DictBuilder
}

// vector returns the vector of a type for n spans, made when first needed.
func (c *valueColumn) vector(t trace.Type, n int) *column.Vector {
	v := c.vecs[t]
	if v != nil {
		return v
	}
	v = &column.Vector{Type: t, Present: column.NewBitmap(n)}
	switch t {
	case trace.TypeInt, trace.TypeBool:
		v.Ints = make([]int64, n)
	case trace.TypeFloat:
		v.Floats = make([]float64, n)
	default:
		v.IDs = make([]uint32, n)
		c.dicts[t] = &column.DictBuilder{}
	}
	c.vecs[t] = v
	return v
}

// set gives span i, of n, a value.
func (c *valueColumn) set(i, n int, value trace.Value) error {
	if value.Type == trace.TypeNone {
		return nil
	}
	v := c.vector(value.Type, n)
	switch {
	case v.Ints != nil:
		v.Ints[i] = int64(value.Num)
	case v.Floats != nil:
		v.Floats[i] = value.Float()
	default:
		id, err := c.dicts[value.Type].ID(value.Str)
		if err != nil {
			return err
		}
		v.IDs[i] = id
	}
	v.Present.Set(i)
	return nil
}

// has reports whether span i has a value.
func (c *valueColumn) has(i int) bool {
	return slices.ContainsFunc(c.vecs[:], func(v *column.Vector) bool { return v != nil && v.Has(i) })
}

// clear takes a span's value back.
func (c *valueColumn) clear(i int) {
	for _, v := range c.vecs {
		if v != nil {
			v.Present.Clear(i)
		}
	}
}

// spanRow is a row of a block that holds a numbered span.
type spanRow struct{ span, row int32 }

// common is the value of a column that spans have in common; false if they differ, or
// have none.
func common(vecs []*column.Vector, spans []int32) (trace.Value, bool) {
	for _, vec := range vecs {
		if !vec.Has(int(spans[0])) {
			continue
		}
		v := at(vec, int(spans[0]))
		for _, n := range spans[1:] {
			if !vec.Has(int(n)) || at(vec, int(n)) != v {
				return trace.Value{}, false
			}
		}
		return own(v), true
	}
	return trace.Value{}, false
}

// copyRows takes over a column of some rows of a block.
func (s *spanValues) copyRows(name string, vecs []*column.Vector, rows []spanRow) error {
	c := s.cols[name]
	for _, r := range rows {
		c.clear(int(r.span))
	}
	for _, vec := range vecs {
		if vec.IDs == nil {
			for _, r := range rows {
				if vec.Has(int(r.row)) {
					if err := c.set(int(r.span), s.n, at(vec, int(r.row))); err != nil {
						return err
					}
				}
			}
			continue
		}
		into := c.vector(vec.Type, s.n)
		known := make(map[uint32]uint32)
		for _, r := range rows {
			if !vec.Has(int(r.row)) {
				continue
			}
			from := vec.IDs[r.row]
			id, ok := known[from]
			if !ok {
				var err error
				if id, err = c.dicts[vec.Type].ID(vec.Dict.At(from)); err != nil {
					return err
				}
				known[from] = id
			}
			into.IDs[r.span] = id
			into.Present.Set(int(r.span))
		}
	}
	return nil
}
