package column

import "math/bits"

// Source is a block with everything that a segment keeps of it.
type Source interface {
	Block
	// Events and Links return what belongs to the block's rows.
	Events() (Events, error)
	Links() (Links, error)
	// Shapes returns for each row the id of its shape, in dict. A shape is the
	// list of the row's attributes in their order: for each the position in
	// Attributes, as a uvarint.
	Shapes() (ids []uint32, dict Dict, err error)
	// Attributes lists the attribute columns by position, by their keys. Columns and
	// Column know them by their names, see [NameOf].
	Attributes() []Info
	// AttributeAt returns the attribute column at a position, nil if no row has a
	// value.
	AttributeAt(position int) (*Sparse, error)
}

// Sparse is a column by its values alone, so that a thousand columns that few
// rows have take little.
type Sparse struct {
	Rows   []uint32 // the row of each value, ascending; nil: value i is that of row i
	Values Vector   // without a bitmap
}

// Len is the number of values.
func (s *Sparse) Len() int { return max(len(s.Values.IDs), len(s.Values.Ints), len(s.Values.Floats)) }

// Packed drops the places of rows without a value from a column that has no
// bytes of one width; nil if that is all of them.
func Packed(v *Vector) *Sparse {
	if v == nil {
		return nil
	}
	s := &Sparse{Values: *v}
	if v.Present == nil {
		return s
	}
	s.Values.Present = nil
	s.Rows = make([]uint32, 0, v.Present.Count())
	for i, w := range v.Present {
		for ; w != 0; w &= w - 1 {
			s.Rows = append(s.Rows, uint32(i<<6+bits.TrailingZeros64(w)))
		}
	}
	switch {
	case len(s.Rows) == 0:
		return nil
	case v.IDs != nil:
		s.Values.IDs = pick(v.IDs, s.Rows)
	case v.Ints != nil:
		s.Values.Ints = pick(v.Ints, s.Rows)
	default:
		s.Values.Floats = pick(v.Floats, s.Rows)
	}
	return s
}

func pick[T any](from []T, rows []uint32) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = from[r]
	}
	return out
}
