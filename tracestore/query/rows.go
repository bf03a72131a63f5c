package query

import (
	"math/bits"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// chunkRows is how many rows of a block are worked on at once, so that what is
// worked out for each of them stays in the processor's first caches. A multiple
// of 64, the rows of a word of a bitmap.
const chunkRows = 4 << 10

// rowSet is some rows of a block, in order: a list, or a run if rows is nil.
type rowSet struct {
	from, to int // from ≤ row < to
	rows     []int32
}

func (s *rowSet) len() int {
	if s.rows != nil {
		return len(s.rows)
	}
	return s.to - s.from
}

// chunks calls fn with the selected rows, at most chunkRows at a time. buf has
// room for chunkRows rows.
func (s *selection) chunks(buf []int32, fn func(rowSet) error) error {
	if s.bits == nil {
		for from := 0; from < s.rows; from += chunkRows {
			if err := fn(rowSet{from: from, to: min(from+chunkRows, s.rows)}); err != nil {
				return err
			}
		}
		return nil
	}
	list := buf[:0]
	for w, word := range s.bits {
		if len(list)+bits.OnesCount64(word) > chunkRows {
			if err := fn(rowSet{rows: list}); err != nil {
				return err
			}
			list = buf[:0]
		}
		for ; word != 0; word &= word - 1 {
			list = append(list, int32(w<<6|bits.TrailingZeros64(word)))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return fn(rowSet{rows: list})
}

// picker finds the rows of a set that a vector has. Its slices are reused.
type picker struct {
	rows, at []int32
}

// pick returns the rows of s that have a value, and their places in s; nil: all
// of them.
func (p *picker) pick(s rowSet, present column.Bitmap) (rowSet, []int32) {
	if present == nil {
		return s, nil
	}
	rows, at := p.rows[:0], p.at[:0]
	if s.rows != nil {
		for i, row := range s.rows {
			if present.Has(int(row)) {
				rows, at = append(rows, row), append(at, int32(i))
			}
		}
	} else {
		for from := s.from; from < s.to; from += 64 {
			word := present[from>>6]
			if left := s.to - from; left < 64 {
				word &= 1<<left - 1
			}
			for ; word != 0; word &= word - 1 {
				row := from | bits.TrailingZeros64(word)
				rows, at = append(rows, int32(row)), append(at, int32(row-s.from))
			}
		}
	}
	p.rows, p.at = rows, at
	if len(rows) == s.len() {
		return s, nil
	}
	if len(rows) == 0 {
		return rowSet{}, at
	}
	return rowSet{rows: rows}, at
}

// gather copies the values of the rows, one after the other.
func gather[T any](dst []T, s rowSet, values []T) []T {
	if s.rows == nil {
		return append(dst[:0], values[s.from:s.to]...)
	}
	dst = dst[:len(s.rows)]
	for i, row := range s.rows {
		dst[i] = values[row]
	}
	return dst
}

// valuesOf returns the values of the rows: the column itself where they are a
// run.
func valuesOf[T any](buf []T, s rowSet, values []T) []T {
	if s.rows == nil {
		return values[s.from:s.to]
	}
	return gather(buf, s, values)
}

// numberReader reads the finite numbers of a column of one block; text and bools
// are no numbers.
type numberReader struct {
	vecs []*column.Vector
	ms   *column.Vector // instead: nanoseconds to show as milliseconds

	pick   picker
	ints   []int64
	floats []float64
	out    []float64
	at     []int32
}

// open sets the reader to a column of a block.
func (r *numberReader) open(v *view, name string) error {
	var err error
	r.vecs, r.ms = nil, nil
	if name == durationMS {
		r.ms, err = v.fixed(column.Duration)
	} else {
		r.vecs, err = v.vectors(name)
	}
	if r.out == nil {
		r.ints, r.floats = make([]int64, chunkRows), make([]float64, chunkRows)
		r.out, r.at = make([]float64, 0, chunkRows), make([]int32, 0, chunkRows)
		r.pick = picker{make([]int32, 0, chunkRows), make([]int32, 0, chunkRows)}
	}
	return err
}

// read returns the numbers of the rows that have one, and their places in s;
// nil: all rows have one. Both are valid until the next call.
func (r *numberReader) read(s rowSet) (numbers []float64, at []int32) {
	if r.ms != nil {
		rows, at := r.pick.pick(s, r.ms.Present)
		out := r.out[:rows.len()]
		for i, n := range valuesOf(r.ints, rows, r.ms.Ints) {
			out[i] = float64(n) / 1e6
		}
		return out, at
	}
	if len(r.vecs) == 1 {
		numbers, at = r.one(r.vecs[0], s, r.out[:0], r.at[:0])
		if len(numbers) == s.len() {
			at = nil
		}
		return numbers, at
	}
	numbers, at = r.out[:0], r.at[:0]
	for _, vec := range r.vecs {
		numbers, at = r.one(vec, s, numbers, at)
	}
	return numbers, at
}

// one appends the numbers of one vector and their places.
func (r *numberReader) one(vec *column.Vector, s rowSet, out []float64, at []int32) ([]float64, []int32) {
	if vec.Floats == nil && !isInts(vec) {
		return out, at
	}
	rows, places := r.pick.pick(s, vec.Present)
	from := len(out)
	if vec.Floats == nil {
		for _, n := range valuesOf(r.ints, rows, vec.Ints) {
			out = append(out, float64(n))
		}
		return out, appendPlaces(at, places, len(out)-from)
	}
	values := valuesOf(r.floats, rows, vec.Floats)
	for i, x := range values {
		if x-x == 0 { // finite
			out = append(out, x)
			if places == nil {
				at = append(at, int32(i))
			} else {
				at = append(at, places[i])
			}
		}
	}
	return out, at
}

// appendPlaces appends n places, from 0 on if they are nil.
func appendPlaces(at, places []int32, n int) []int32 {
	if places != nil {
		return append(at, places...)
	}
	for i := range n {
		at = append(at, int32(i))
	}
	return at
}

func isInts(vec *column.Vector) bool { return vec.Ints != nil && vec.Type == trace.TypeInt }

// hasFractions reports whether the column holds floats here.
func (r *numberReader) hasFractions() bool {
	if r.ms != nil {
		return true
	}
	for _, vec := range r.vecs {
		if vec.Floats != nil {
			return true
		}
	}
	return false
}

// take returns the entries at the places; all if they are nil.
func take[T any](buf *[]T, values []T, at []int32) []T {
	if at == nil || values == nil {
		return values
	}
	*buf = resize(*buf, len(at))
	for i, a := range at {
		(*buf)[i] = values[a]
	}
	return *buf
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, max(n, chunkRows))
	}
	return s[:n]
}
