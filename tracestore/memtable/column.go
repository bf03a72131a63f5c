package memtable

import (
	"math"
	"sort"
	"sync/atomic"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// attribute is one growing attribute column of a chunk, held sparsely: the rows
// that have a value, and the values. Only the writer touches its fields; readers
// load view.
type attribute struct {
	key      string
	typ      trace.Type
	position uint32
	next     *attribute // the column that followed this one in the last row: a guess
	dirty    bool       // grown since the last publish

	rows []uint32
	ids  []uint32 // String, JSON, Bytes
	nums []uint64 // Int, Float, Bool
	dict column.DictBuilder

	view atomic.Pointer[attributeView]
}

// attributeView is a consistent, immutable state of an attribute column. It may
// be ahead of the watermark of a snapshot.
type attributeView struct {
	rows []uint32
	ids  []uint32
	nums []uint64
	dict column.Dict
}

func isText(t trace.Type) bool {
	return t == trace.TypeString || t == trace.TypeJSON || t == trace.TypeBytes
}

// has reports whether the column already has a value in the row being written.
func (a *attribute) has(row uint32) bool {
	return len(a.rows) > 0 && a.rows[len(a.rows)-1] == row
}

func (a *attribute) add(row uint32, v trace.Value) error {
	if isText(a.typ) {
		id, err := a.dict.ID(v.Str)
		if err != nil {
			return err
		}
		a.ids = append(a.ids, id)
	} else {
		a.nums = append(a.nums, v.Num)
	}
	a.rows = append(a.rows, row)
	return nil
}

func (a *attribute) publish() {
	a.view.Store(&attributeView{rows: a.rows, ids: a.ids, nums: a.nums, dict: a.dict.Dict()})
	a.dirty = false
}

func (a *attribute) bytes() int64 {
	return 4*int64(cap(a.rows)) + 4*int64(cap(a.ids)) + 8*int64(cap(a.nums)) + a.dict.Bytes() + 256
}

// count is the number of values in the first n rows.
func (v *attributeView) count(n int) int {
	if v == nil {
		return 0
	}
	if len(v.rows) == 0 || v.rows[len(v.rows)-1] < uint32(n) {
		return len(v.rows)
	}
	return sort.Search(len(v.rows), func(i int) bool { return v.rows[i] >= uint32(n) })
}

// value returns the value of a row, the zero Value if it has none.
func (v *attributeView) value(t trace.Type, row int) trace.Value {
	if v == nil {
		return trace.Value{}
	}
	i := sort.Search(len(v.rows), func(i int) bool { return v.rows[i] >= uint32(row) })
	if i == len(v.rows) || v.rows[i] != uint32(row) {
		return trace.Value{}
	}
	if isText(t) {
		return trace.Value{Type: t, Str: v.dict.At(v.ids[i])}
	}
	return trace.Value{Type: t, Num: v.nums[i]}
}

// vector spreads the column over n rows.
func (v *attributeView) vector(t trace.Type, n int) *column.Vector {
	count := v.count(n)
	if count == 0 {
		return nil
	}
	out := &column.Vector{Type: t}
	rows := v.rows[:count]
	if count < n {
		out.Present = column.NewBitmap(n)
		for _, r := range rows {
			out.Present.Set(int(r))
		}
	}
	switch {
	case isText(t):
		out.Dict = v.dict
		if count == n {
			out.IDs = v.ids[:n:n]
			break
		}
		out.IDs = make([]uint32, n)
		for i, r := range rows {
			out.IDs[r] = v.ids[i]
		}
	case t == trace.TypeFloat:
		out.Floats = make([]float64, n)
		for i, r := range rows {
			out.Floats[r] = math.Float64frombits(v.nums[i])
		}
	default:
		out.Ints = make([]int64, n)
		for i, r := range rows {
			out.Ints[r] = int64(v.nums[i])
		}
	}
	return out
}
