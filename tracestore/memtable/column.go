package memtable

import (
	"math"
	"sort"
	"sync/atomic"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// attribute is one growing attribute column of a chunk. Rows that said the value
// themselves are held sparsely: the rows, and their values. A value that rows take
// over from their scope or resource is held once for the group of those rows.
// Only the writer touches its fields; readers load view.
type attribute struct {
	key      string
	typ      trace.Type
	position uint32
	next     guess // the columns that followed this one
	dirty    bool  // grown since the last publish

	own    values // by row
	shared values // by group of rows
	dict   column.DictBuilder

	view atomic.Pointer[attributeView]
}

// guess are the last two columns at a place: rows of two kinds, one after the
// other, part ways where their keys begin to differ.
type guess [2]*attribute

// values are the values at some places, in rising order. Of text, nums holds
// nothing; of numbers, ids.
type values struct {
	places []uint32
	ids    []uint32 // String, JSON, Bytes: in the dictionary
	nums   []uint64 // Int, Float, Bool
}

// attributeView is a consistent, immutable state of an attribute column. It may
// be ahead of the watermark of a snapshot.
type attributeView struct {
	own, shared values
	dict        column.Dict
}

// cell finds or makes the stored form of a value: a dictionary id, or the number.
func (a *attribute) cell(v trace.Value, hash uint64) (uint64, error) {
	if !column.IsText(a.typ) {
		return v.Num, nil
	}
	id, err := a.dict.HashedID(v.Str, hash)
	return uint64(id), err
}

// add appends a value; place is beyond the last one.
func (v *values) add(place uint32, text bool, cell uint64) {
	if text {
		v.ids = append(v.ids, uint32(cell))
	} else {
		v.nums = append(v.nums, cell)
	}
	v.places = append(v.places, place)
}

// has reports whether the last value is at the place.
func (v *values) has(place uint32) bool {
	return len(v.places) > 0 && v.places[len(v.places)-1] == place
}

// find returns the position of the value at a place, or -1.
func (v *values) find(place uint32) int {
	i := sort.Search(len(v.places), func(i int) bool { return v.places[i] >= place })
	if i == len(v.places) || v.places[i] != place {
		return -1
	}
	return i
}

// before is the number of values at places below n.
func (v *values) before(n int) int {
	if len(v.places) == 0 || v.places[len(v.places)-1] < uint32(n) {
		return len(v.places)
	}
	return sort.Search(len(v.places), func(i int) bool { return v.places[i] >= uint32(n) })
}

func (v *values) bytes() int64 {
	return 4*int64(cap(v.places)) + 4*int64(cap(v.ids)) + 8*int64(cap(v.nums))
}

// reserve makes room for n values.
func (v *values) reserve(n int, text bool) {
	v.places = make([]uint32, 0, n)
	if text {
		v.ids = make([]uint32, 0, n)
	} else {
		v.nums = make([]uint64, 0, n)
	}
}

func (a *attribute) publish() {
	a.view.Store(&attributeView{own: a.own, shared: a.shared, dict: a.dict.Dict()})
	a.dirty = false
}

// attributeBytes is about what an attribute takes beside its values: the struct,
// its view, its key and its place in the map of columns.
const attributeBytes = 768

func (a *attribute) bytes() int64 {
	return a.own.bytes() + a.shared.bytes() + a.dict.Bytes() + attributeBytes
}

// count is the number of values in the first n rows, of which groupRows says how
// many are in each group.
func (v *attributeView) count(n int, groupRows []int) int {
	if v == nil {
		return 0
	}
	count := v.own.before(n)
	for _, g := range v.shared.places {
		if int(g) < len(groupRows) {
			count += groupRows[g]
		}
	}
	return count
}

// value returns the value of a row in a group, the zero Value if it has none.
func (v *attributeView) value(t trace.Type, row int, group uint32) trace.Value {
	if v == nil {
		return trace.Value{}
	}
	from, i := &v.own, v.own.find(uint32(row))
	if i < 0 {
		if from, i = &v.shared, v.shared.find(group); i < 0 {
			return trace.Value{}
		}
	}
	if column.IsText(t) {
		return trace.Value{Type: t, Str: v.dict.At(from.ids[i])}
	}
	return trace.Value{Type: t, Num: from.nums[i]}
}

// sparse returns the column's values in the first n rows, nil if there are none.
// ok is false for a column that groups of rows share.
func (v *attributeView) sparse(t trace.Type, n int) (s *column.Sparse, ok bool) {
	if v == nil {
		return nil, true
	}
	if len(v.shared.places) > 0 {
		return nil, false
	}
	count := v.own.before(n)
	if count == 0 {
		return nil, true
	}
	s = &column.Sparse{Values: column.Vector{Type: t}}
	if count < n {
		s.Rows = v.own.places[:count:count]
	}
	switch {
	case column.IsText(t):
		s.Values.IDs, s.Values.Dict = v.own.ids[:count:count], v.dict
	case t == trace.TypeFloat:
		s.Values.Floats = make([]float64, count)
		for i, x := range v.own.nums[:count] {
			s.Values.Floats[i] = math.Float64frombits(x)
		}
	default:
		s.Values.Ints = make([]int64, count)
		for i, x := range v.own.nums[:count] {
			s.Values.Ints[i] = int64(x)
		}
	}
	return s, true
}

// vector spreads the column over the rows, of which groups says the groups; nil
// if none of them has a value.
func (v *attributeView) vector(t trace.Type, groups []uint32, groupRows []int) *column.Vector {
	n := len(groups)
	count := v.count(n, groupRows)
	if count == 0 {
		return nil
	}
	out := &column.Vector{Type: t}
	if column.IsText(t) {
		out.Dict = v.dict
		out.IDs, out.Present = spread(v, v.own.ids, v.shared.ids, groups, count, func(id uint32) uint32 { return id })
		return out
	}
	if t == trace.TypeFloat {
		out.Floats, out.Present = spread(v, v.own.nums, v.shared.nums, groups, count, math.Float64frombits)
		return out
	}
	out.Ints, out.Present = spread(v, v.own.nums, v.shared.nums, groups, count, func(x uint64) int64 { return int64(x) })
	return out
}

// spread puts own values at their rows and shared ones at the rows of their
// groups. present is nil when every row has a value.
func spread[S, D uint32 | uint64 | int64 | float64](v *attributeView, own, shared []S, groups []uint32, count int, of func(S) D) (out []D, present column.Bitmap) {
	n := len(groups)
	out = make([]D, n)
	if count < n {
		present = column.NewBitmap(n)
	}
	for i, r := range v.own.places[:v.own.before(n)] {
		out[r] = of(own[i])
		if present != nil {
			present.Set(int(r))
		}
	}
	if len(shared) == 0 {
		return out, present
	}
	last := v.shared.places[len(v.shared.places)-1]
	at := make([]uint32, last+1) // position in shared plus one, by group
	for i, g := range v.shared.places {
		at[g] = uint32(i + 1)
	}
	for r, g := range groups {
		if g <= last && at[g] != 0 {
			out[r] = of(shared[at[g]-1])
			if present != nil {
				present.Set(r)
			}
		}
	}
	return out, present
}
