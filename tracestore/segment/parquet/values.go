package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"redthread/tracestore/column"
)

// Values are values of one column, without the nulls. Exactly one of the slices
// is used, by the column's type.
type Values struct {
	Ints   []int64   // Int64, and Boolean as 0 and 1
	Floats []float64 // Double
	Fixed  []byte    // Fixed, one after the other
	IDs    []uint32  // ByteArray: positions in Dict
	Dict   column.Dict
}

// size is the number of values.
func (v *Values) size(c *Column) int {
	switch c.Type {
	case Double:
		return len(v.Floats)
	case Fixed:
		return len(v.Fixed) / c.Width
	case ByteArray:
		return len(v.IDs)
	}
	return len(v.Ints)
}

// Bytes is the memory that the values take.
func (v *Values) Bytes() int64 {
	return 8*int64(cap(v.Ints)+cap(v.Floats)) + int64(cap(v.Fixed)+cap(v.Dict.Arena)) + 4*int64(cap(v.IDs)+cap(v.Dict.Ends))
}

var errPlain = errors.New("plain values are cut short")

// appendText writes a byte array in PLAIN.
func appendText(dst []byte, d column.Dict, id uint32) []byte {
	var from uint32
	if id > 0 {
		from = d.Ends[id-1]
	}
	dst = binary.LittleEndian.AppendUint32(dst, d.Ends[id]-from)
	return append(dst, d.Arena[from:d.Ends[id]]...)
}

// plainTexts reads a page of byte arrays in PLAIN into a dictionary's form.
func plainTexts(src []byte, n int) (d column.Dict, err error) {
	if n < 0 || len(src) < 4*n {
		return d, errPlain
	}
	d.Ends = make([]uint32, n)
	d.Arena = make([]byte, 0, len(src)-4*n)
	for i := range d.Ends {
		text, rest, err := plainText(src)
		if err != nil {
			return d, err
		}
		src = rest
		d.Arena = append(d.Arena, text...)
		d.Ends[i] = uint32(len(d.Arena))
	}
	return d, nil
}

// plainText reads a byte array in PLAIN.
func plainText(src []byte) (text, rest []byte, err error) {
	if len(src) < 4 {
		return nil, nil, errPlain
	}
	n := int64(binary.LittleEndian.Uint32(src))
	if n > int64(len(src)-4) {
		return nil, nil, errPlain
	}
	return src[4 : 4+n], src[4+n:], nil
}

func plainInts(dst []int64, src []byte) error {
	if len(src) < 8*len(dst) {
		return errPlain
	}
	for i := range dst {
		dst[i] = int64(binary.LittleEndian.Uint64(src[8*i:]))
	}
	return nil
}

func plainFloats(dst []float64, src []byte) error {
	if len(src) < 8*len(dst) {
		return errPlain
	}
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
	return nil
}

// booleans returns the packed bits of a page of booleans, as runs if runs.
func booleans(src []byte, e Encoding) (bits []byte, runs bool, err error) {
	switch e {
	case Plain:
		return src, false, nil
	case RLE:
		if len(src) < 4 || uint64(binary.LittleEndian.Uint32(src)) > uint64(len(src)-4) {
			return nil, false, errPlain
		}
		return src[4 : 4+binary.LittleEndian.Uint32(src)], true, nil
	}
	return nil, false, fmt.Errorf("booleans in encoding %d", e)
}

// checkIDs reports an id that is not in a dictionary of n.
func checkIDs(ids []uint32, n int) error {
	var most uint32
	for _, id := range ids {
		most = max(most, id)
	}
	if len(ids) > 0 && int64(most) >= int64(n) {
		return fmt.Errorf("id %d in a dictionary of %d", most, n)
	}
	return nil
}
