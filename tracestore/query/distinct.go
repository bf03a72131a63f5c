package query

import (
	"hash/maphash"
	"math"
	"math/bits"

	"redthread/tracestore/column"
)

// maxExact is how many distinct values are counted exactly; beyond it the
// count is estimated.
const maxExact = 100_000

// hllBits makes 2^14 registers: a standard error of 1.04/sqrt(2^14) = 0.8 %
// (Flajolet and others, "HyperLogLog", 2007).
const hllBits = 14

// hashSeed is shared by the whole process, so that sets can be merged.
var hashSeed = maphash.MakeSeed()

func hashText(s string) uint64 { return maphash.String(hashSeed, s) }

// distinct counts distinct values by the hash of their canonical text: a set of
// hashes while they are few, then HyperLogLog registers. With 64 bits the
// chance that 100,000 values share a hash is below 3 in 10^10. Which of the two
// it is depends on the values only, not on the order they came in.
type distinct struct {
	slots     []uint64 // open addressing, 0: free; len is a power of two
	n         int      // hashes in slots
	registers []uint8
}

// add counts a value and returns the bytes grown by.
func (d *distinct) add(hash uint64) int {
	if d.registers != nil {
		d.observe(hash)
		return 0
	}
	hash |= b2u(hash == 0)
	grown := 0
	if 4*(d.n+1) > 3*len(d.slots) {
		grown = d.grow()
	}
	if !d.insert(hash) {
		return grown
	}
	if d.n++; d.n > maxExact {
		grown += (1 << hllBits) - 8*len(d.slots)
		d.registers = make([]uint8, 1<<hllBits)
		for _, h := range d.slots {
			if h != 0 {
				d.observe(h)
			}
		}
		d.slots, d.n = nil, 0
	}
	return grown
}

func (d *distinct) insert(hash uint64) bool {
	mask := uint64(len(d.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch d.slots[i] {
		case hash:
			return false
		case 0:
			d.slots[i] = hash
			return true
		}
	}
}

func (d *distinct) grow() int {
	old := d.slots
	d.slots = make([]uint64, max(8, 2*len(old)))
	for _, h := range old {
		if h != 0 {
			d.insert(h)
		}
	}
	return 8 * (len(d.slots) - len(old))
}

func (d *distinct) observe(hash uint64) {
	r := hash >> (64 - hllBits)
	rank := uint8(bits.LeadingZeros64(hash<<hllBits|1<<(hllBits-1))) + 1
	d.registers[r] = max(d.registers[r], rank)
}

// merge adds the values of other and returns the bytes grown by.
func (d *distinct) merge(other *distinct) int {
	grown := 0
	if other.registers != nil {
		if d.registers == nil {
			exact := d.slots
			grown += (1 << hllBits) - 8*len(exact)
			*d = distinct{registers: make([]uint8, 1<<hllBits)}
			for _, h := range exact {
				if h != 0 {
					d.observe(h)
				}
			}
		}
		for i, r := range other.registers {
			d.registers[i] = max(d.registers[i], r)
		}
		return grown
	}
	for _, h := range other.slots {
		if h != 0 {
			grown += d.add(h)
		}
	}
	return grown
}

// count is the number of distinct values, and whether it is an estimate.
func (d *distinct) count() (n float64, estimated bool) {
	if d.registers == nil {
		return float64(d.n), false
	}
	m := float64(len(d.registers))
	sum := 0.0
	for _, r := range d.registers {
		sum += math.Ldexp(1, -int(r))
	}
	// No correction for few values: there are more than maxExact, six times m.
	return math.Round(0.7213 / (1 + 1.079/m) * m * m / sum), true
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// hashReader reads the hash of the canonical text of a column's values in one
// block.
type hashReader struct {
	vecs  []*column.Vector
	memos [][]uint64 // by vector: the hash of each dictionary value, 0: not asked yet

	pick   picker
	hashes []uint64
	at     []int32
}

// open sets the reader to a column of a block.
func (r *hashReader) open(v *view, name string) error {
	var err error
	if r.vecs, err = v.vectors(name); err != nil {
		return err
	}
	if r.hashes == nil {
		r.pick = picker{make([]int32, 0, chunkRows), make([]int32, 0, chunkRows)}
		r.hashes, r.at = make([]uint64, 0, chunkRows), make([]int32, 0, chunkRows)
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

// read returns the hashes of the rows that have a value, and their places in s;
// nil: all rows have one. Both are valid until the next call.
func (r *hashReader) read(s rowSet) (hashes []uint64, at []int32) {
	hashes, at = r.hashes[:0], r.at[:0]
	for i, vec := range r.vecs {
		rows, places := r.pick.pick(s, vec.Present)
		from := len(hashes)
		for k := range rows.len() {
			row := rows.from + k
			if rows.rows != nil {
				row = int(rows.rows[k])
			}
			hashes = append(hashes, r.hash(i, vec, row))
		}
		at = appendPlaces(at, places, len(hashes)-from)
	}
	return hashes, at
}

func (r *hashReader) hash(i int, vec *column.Vector, row int) uint64 {
	if vec.IDs == nil {
		return hashText(at(vec, row).Text())
	}
	id := vec.IDs[row]
	h := r.memos[i][id]
	if h == 0 {
		h = hashText(vec.Value(row).Text())
		r.memos[i][id] = h
	}
	return h
}
