package query

import (
	"encoding/hex"
	"unsafe"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// codeReader turns the values of a breakdown in one block into the numbers that
// its coder gives them.
type codeReader struct {
	coder *coder
	vecs  []*column.Vector
	memos [][]uint32 // by vector: the number of each dictionary value, 0: not asked yet

	pick   picker
	ids    []uint32
	ints   []int64
	floats []float64
	codes  []uint32
}

func newCodeReader(c *coder) *codeReader {
	return &codeReader{
		coder:  c,
		pick:   picker{make([]int32, 0, chunkRows), make([]int32, 0, chunkRows)},
		ids:    make([]uint32, chunkRows),
		ints:   make([]int64, chunkRows),
		floats: make([]float64, chunkRows),
		codes:  make([]uint32, chunkRows),
	}
}

// open sets the reader to a block.
func (r *codeReader) open(v *view) error {
	var err error
	if r.vecs, err = v.vectors(r.coder.column); err != nil {
		return err
	}
	for len(r.memos) < len(r.vecs) {
		r.memos = append(r.memos, nil)
	}
	for i, vec := range r.vecs {
		if vec.IDs != nil {
			r.memos[i] = resize(r.memos[i], vec.Dict.Len())
			clear(r.memos[i])
		}
	}
	return nil
}

// read writes the number of each row's value into codes.
func (r *codeReader) read(s rowSet, codes []uint32) {
	if len(r.vecs) == 1 && r.vecs[0].Present == nil {
		r.one(0, s, codes)
		return
	}
	clear(codes)
	for i, vec := range r.vecs {
		rows, at := r.pick.pick(s, vec.Present)
		if at == nil {
			r.one(i, rows, codes)
			continue
		}
		if len(at) == 0 {
			continue
		}
		found := r.codes[:len(at)]
		r.one(i, rows, found)
		for k, a := range at {
			codes[a] = found[k]
		}
	}
}

// one writes the numbers of the values of rows that all have one.
func (r *codeReader) one(i int, s rowSet, codes []uint32) {
	vec := r.vecs[i]
	switch {
	case vec.IDs != nil:
		memo := r.memos[i]
		if s.rows != nil {
			for k, row := range s.rows {
				id := vec.IDs[row]
				n := memo[id]
				if n == 0 {
					n = r.first(vec, memo, id)
				}
				codes[k] = n
			}
			return
		}
		codes = codes[:s.to-s.from]
		for k, id := range vec.IDs[s.from:s.to] {
			n := memo[id]
			if n == 0 {
				n = r.first(vec, memo, id)
			}
			codes[k] = n
		}
	case vec.Ints != nil && vec.Type == trace.TypeBool:
		var memo [2]uint32
		for k, n := range valuesOf(r.ints, s, vec.Ints) {
			b := n & 1
			if memo[b] == 0 {
				memo[b] = r.coder.number(trace.Bool(b != 0))
			}
			codes[k] = memo[b]
		}
	case vec.Ints != nil:
		c := r.coder
		last, code := int64(-1), none
		for k, n := range valuesOf(r.ints, s, vec.Ints) {
			if n != last || k == 0 {
				last, code = n, c.integer(n)
			}
			codes[k] = code
		}
	case vec.Floats != nil:
		for k, f := range valuesOf(r.floats, s, vec.Floats) {
			codes[k] = r.coder.float(f)
		}
	case vec.Fixed != nil:
		r.fixed(vec, s, codes)
	}
}

// first gives a dictionary value its number.
func (r *codeReader) first(vec *column.Vector, memo []uint32, id uint32) uint32 {
	memo[id] = r.coder.number(trace.Value{Type: vec.Type, Str: vec.Dict.At(id)})
	return memo[id]
}

// fixed numbers ids by their hex text. Neighbours are often equal.
func (r *codeReader) fixed(vec *column.Vector, s rowSet, codes []uint32) {
	var buf [32]byte
	text := buf[:2*vec.Width]
	at := func(k int) []byte {
		row := s.from + k
		if s.rows != nil {
			row = int(s.rows[k])
		}
		return vec.Fixed[row*vec.Width : (row+1)*vec.Width]
	}
	for k := range codes[:s.len()] {
		id := at(k)
		if k > 0 && string(id) == string(at(k-1)) {
			codes[k] = codes[k-1]
			continue
		}
		hex.Encode(text, id)
		codes[k] = r.coder.number(trace.Value{Type: trace.TypeString, Str: unsafe.String(&text[0], len(text))})
	}
}

// groupReader reads the group number of rows: the combination of the numbers of
// their breakdown values.
type groupReader struct {
	grouper *grouper
	codes   []*codeReader
	second  []uint32
}

func newGroupReader(g *grouper) *groupReader {
	r := &groupReader{grouper: g}
	for _, c := range g.coders {
		r.codes = append(r.codes, newCodeReader(c))
	}
	if len(g.joins) > 0 {
		r.second = make([]uint32, chunkRows)
	}
	return r
}

func (r *groupReader) open(v *view) error {
	for _, c := range r.codes {
		if err := c.open(v); err != nil {
			return err
		}
	}
	return nil
}

// read writes the group number of each row into groups.
func (r *groupReader) read(s rowSet, groups []uint32) {
	if len(r.codes) == 0 {
		clear(groups)
		return
	}
	r.codes[0].read(s, groups)
	for i, c := range r.codes[1:] {
		second := r.second[:len(groups)]
		c.read(s, second)
		j, frozen := &r.grouper.joins[i], c.coder.frozen
		for k, g := range groups {
			groups[k] = j.join(g, second[k], frozen)
		}
	}
}
