package query

import (
	"errors"
	"math/bits"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// calcColumn is a calculated field in one block.
type calcColumn struct {
	vecs []*column.Vector
	rows column.Bitmap // worked out; nil: all
	held int64         // bytes
}

// calculated returns the vectors of a calculated field. They have the rows of need
// (nil: all rows) and perhaps others.
func (v *view) calculated(f *calcField, need column.Bitmap) ([]*column.Vector, error) {
	c := v.columns[f]
	if c != nil {
		if c.rows == nil || need != nil && isWithin(need, c.rows) {
			return c.vecs, nil
		}
		if need != nil { // an OR asks for some rows, then for others
			need = union(need, c.rows)
		}
		v.drop(c)
	}
	rows := need
	if need == nil {
		rows = column.NewBitmap(v.rows)
		fill(rows, v.rows)
	}
	c = &calcColumn{}
	e := &evaluation{calcColumn: c, view: v, field: f, need: rows}
	err := e.run()
	var invalid *InvalidError
	if errors.As(err, &invalid) && invalid.Field == "breakdowns" {
		err = &InvalidError{f.at, "The values of this calculated field need more memory than a query may have. Filter more, take a shorter time range, or make its texts shorter."}
	}
	if err != nil {
		v.drop(c)
		return nil, err
	}
	if need != nil {
		c.rows = append(column.Bitmap(nil), need...) // who asked may change it
	}
	if v.columns == nil {
		v.columns = make(map[*calcField]*calcColumn)
	}
	v.columns[f] = c
	return c.vecs, nil
}

func isWithin(a, b column.Bitmap) bool {
	for w := range a {
		if a[w]&^b[w] != 0 {
			return false
		}
	}
	return true
}

func union(a, b column.Bitmap) column.Bitmap {
	out := make(column.Bitmap, len(a))
	for w := range out {
		out[w] = a[w] | b[w]
	}
	return out
}

// pay says that the run holds so many bytes more, or fewer, and returns an error
// if it should stop.
func (v *view) pay(bytes int64) error {
	if v.spend == nil {
		return nil
	}
	return v.spend(bytes)
}

// drop lets go of a calculated column.
func (v *view) drop(c *calcColumn) {
	if c.held != 0 {
		_ = v.pay(-c.held) // giving back is no reason to stop
		c.held = 0
	}
}

// release lets go of all calculated columns.
func (v *view) release() {
	for _, c := range v.columns {
		v.drop(c)
	}
	v.columns = nil
}

// evaluation works out a calculated field for rows of a block. If it reads one
// column, it is evaluated once for each dictionary value; else once for each row.
type evaluation struct {
	*calcColumn
	view  *view
	field *calcField
	need  column.Bitmap
	row   calcRow
	since int // evaluations since pay was asked

	dict    column.DictBuilder
	strings *column.Vector
	ints    *column.Vector
	floats  *column.Vector
	bools   *column.Vector
}

// cell is a result: its type, and bits as in [trace.Value] or the place of a text
// in the dictionary.
type cell struct {
	known bool
	typ   trace.Type
	bits  uint64
}

// payEvery is how many quick evaluations go by before it is looked whether the run
// should stop: some 0.1 ms.
const payEvery = 1024

func (e *evaluation) run() error {
	inputs := make([][]*column.Vector, len(e.field.inputs))
	for i, name := range e.field.inputs {
		var err error
		if inputs[i], err = e.view.vectorsOf(name, e.need); err != nil {
			return err
		}
	}
	e.row.in = make([]trace.Value, len(inputs))
	var err error
	switch len(inputs) {
	case 0:
		err = e.constant(e.need)
	case 1:
		err = e.single(inputs[0])
	default:
		err = e.eachRow(e.need, func(row int) {
			for i, vecs := range inputs {
				e.row.in[i] = trace.Value{}
				for _, vec := range vecs {
					if vec.Has(row) {
						e.row.in[i] = calcInput(at(vec, row))
						break
					}
				}
			}
		})
	}
	if err != nil {
		return err
	}
	return e.finish()
}

// constant sets one result, of the inputs as they are, for all rows.
func (e *evaluation) constant(rows column.Bitmap) error {
	c, err := e.cell()
	if err != nil || c.typ == trace.TypeNone {
		return err
	}
	for w, word := range rows {
		for ; word != 0; word &= word - 1 {
			e.set(w<<6|bits.TrailingZeros64(word), c)
		}
	}
	return nil
}

// eachRow evaluates for each of the rows, after load has set the inputs.
func (e *evaluation) eachRow(rows column.Bitmap, load func(row int)) error {
	for w, word := range rows {
		for ; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			load(row)
			c, err := e.cell()
			if err != nil {
				return err
			}
			e.set(row, c)
		}
	}
	return nil
}

// single evaluates an expression that reads one column.
func (e *evaluation) single(vecs []*column.Vector) error {
	left := append(column.Bitmap(nil), e.need...) // the rows without a value so far
	for _, vec := range vecs {
		with := append(column.Bitmap(nil), left...)
		if vec.Present != nil {
			for w := range with {
				with[w] &= vec.Present[w]
			}
		}
		for w := range left {
			left[w] &^= with[w]
		}
		var err error
		switch {
		case vec.IDs != nil:
			err = e.memoised(with, vec.Dict.Len(), func(row int) int { return int(vec.IDs[row]) },
				func(id int) trace.Value { return trace.Value{Type: vec.Type, Str: vec.Dict.At(uint32(id))} })
		case vec.Type == trace.TypeBool:
			err = e.memoised(with, 2, func(row int) int { return int(vec.Ints[row] & 1) },
				func(id int) trace.Value { return trace.Bool(id != 0) })
		default:
			err = e.eachRow(with, func(row int) { e.row.in[0] = calcInput(at(vec, row)) })
		}
		if err != nil {
			return err
		}
	}
	e.row.in[0] = trace.Value{}
	return e.constant(left)
}

// memoised evaluates once for each of n values that one of the rows has.
func (e *evaluation) memoised(rows column.Bitmap, n int, idOf func(row int) int, valueOf func(id int) trace.Value) error {
	memo := make([]cell, n)
	for w, word := range rows {
		for ; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			id := idOf(row)
			if !memo[id].known {
				e.row.in[0] = calcInput(valueOf(id))
				var err error
				if memo[id], err = e.cell(); err != nil {
					return err
				}
			}
			e.set(row, memo[id])
		}
	}
	return nil
}

// cell evaluates the expression.
func (e *evaluation) cell() (cell, error) {
	var err error
	switch e.since++; {
	case e.since >= payEvery:
		err = e.charge()
	case e.field.slow:
		err = e.view.pay(0)
	}
	if err != nil {
		return cell{}, err
	}
	v, err := e.field.run(&e.row)
	if err != nil {
		return cell{}, err
	}
	c := cell{true, v.Type, v.Num}
	if v.Type == trace.TypeString {
		id, err := e.dict.ID(v.Str)
		if err != nil {
			return cell{}, tooMuch(1 << 32)
		}
		c.bits = uint64(id)
		if len(v.Str) >= payEvery { // long texts add up
			return c, e.charge()
		}
	}
	return c, nil
}

// charge pays for what the evaluation holds.
func (e *evaluation) charge() error {
	e.since = 0
	now := e.dict.Bytes()
	for _, vec := range e.all() {
		now += 4*int64(len(vec.IDs)) + 8*int64(len(vec.Ints)+len(vec.Floats)+len(vec.Present))
	}
	more := now - e.held
	e.held = now
	return e.view.pay(more)
}

// set sets the result of a row.
func (e *evaluation) set(row int, c cell) {
	switch c.typ {
	case trace.TypeNone:
	case trace.TypeString:
		if e.strings == nil {
			e.strings = e.vector(trace.TypeString)
			e.strings.IDs = make([]uint32, e.view.rows)
		}
		e.strings.IDs[row] = uint32(c.bits)
		e.strings.Present.Set(row)
	case trace.TypeInt:
		if e.ints == nil {
			e.ints = e.vector(trace.TypeInt)
			e.ints.Ints = make([]int64, e.view.rows)
		}
		e.ints.Ints[row] = int64(c.bits)
		e.ints.Present.Set(row)
	case trace.TypeFloat:
		if e.floats == nil {
			e.floats = e.vector(trace.TypeFloat)
			e.floats.Floats = make([]float64, e.view.rows)
		}
		e.floats.Floats[row] = trace.Value{Type: c.typ, Num: c.bits}.Float()
		e.floats.Present.Set(row)
	case trace.TypeBool:
		if e.bools == nil {
			e.bools = e.vector(trace.TypeBool)
			e.bools.Ints = make([]int64, e.view.rows)
		}
		e.bools.Ints[row] = int64(c.bits & 1)
		e.bools.Present.Set(row)
	}
}

func (e *evaluation) vector(t trace.Type) *column.Vector {
	return &column.Vector{Type: t, Present: column.NewBitmap(e.view.rows)}
}

// all are the vectors that there are.
func (e *evaluation) all() []*column.Vector {
	var out []*column.Vector
	for _, vec := range []*column.Vector{e.strings, e.ints, e.floats, e.bools} {
		if vec != nil {
			out = append(out, vec)
		}
	}
	return out
}

func (e *evaluation) finish() error {
	e.vecs = e.all()
	for _, vec := range e.vecs {
		if vec.Type == trace.TypeString {
			vec.Dict = e.dict.Dict()
		}
	}
	if err := e.charge(); err != nil {
		return err
	}
	for _, vec := range e.vecs {
		if vec.Present.Count() == e.view.rows {
			vec.Present = nil
		}
	}
	return nil
}
