package query

import (
	"math"
	"strconv"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// none is the group number of a row that belongs to no wanted group.
const none = math.MaxUint32

// coder numbers the values of one breakdown, across blocks and types, by their
// canonical text. Number 0 is "no value". A frozen coder numbers only the
// values it was given, answers none for others, and may be shared.
type coder struct {
	column string
	frozen bool
	vals   []trace.Value // by number; 0 is the zero Value
	texts  map[string]uint32
	ints   map[int64]uint32
	floats map[uint64]uint32 // by bits
	ids    map[[16]byte]uint32
	heap   int64
}

func newCoder(name string) *coder {
	return &coder{
		column: name,
		vals:   []trace.Value{{}},
		texts:  make(map[string]uint32),
		ints:   make(map[int64]uint32),
		floats: make(map[uint64]uint32),
		ids:    make(map[[16]byte]uint32),
	}
}

// entryBytes is about what a map entry with its value costs.
const entryBytes = 96

// number returns the number of a value, giving it one if it is new.
func (c *coder) number(v trace.Value) uint32 {
	if v.Type == trace.TypeNone {
		return 0
	}
	t := v.Text()
	if n, ok := c.texts[t]; ok {
		if !c.frozen && rank(v.Type) < rank(c.vals[n].Type) {
			c.vals[n] = own(v)
		}
		return n
	}
	if c.frozen {
		return none
	}
	n := uint32(len(c.vals))
	c.vals = append(c.vals, own(v))
	c.texts[strings.Clone(t)] = n
	c.heap += entryBytes + 2*int64(len(t))
	return n
}

// rank orders the types by which of two equal values is shown: "500" and 500
// are one group, shown as the number.
func rank(t trace.Type) int {
	switch t {
	case trace.TypeInt:
		return 0
	case trace.TypeFloat:
		return 1
	case trace.TypeBool:
		return 2
	case trace.TypeString:
		return 3
	}
	return 4
}

// own copies the value's text out of the block.
func own(v trace.Value) trace.Value {
	v.Str = strings.Clone(v.Str)
	return v
}

// freeze lets the coder be shared: it numbers nothing more.
func (c *coder) freeze() {
	for n, v := range c.vals[1:] {
		code, t := uint32(n+1), v.Text()
		if i, err := strconv.ParseInt(t, 10, 64); err == nil && strconv.FormatInt(i, 10) == t {
			c.ints[i] = code
		}
		if f, err := strconv.ParseFloat(t, 64); err == nil && trace.Float(f).Text() == t {
			c.floats[floatKey(f)] = code
		}
		if width, ok := idWidth(c.column); ok {
			if key, ok := idKey(t, width); ok {
				c.ids[key] = code
			}
		}
	}
	c.frozen = true
}

// floatKey makes 0 and -0, and all NaNs, one.
func floatKey(f float64) uint64 {
	if f == 0 {
		return 0
	}
	if math.IsNaN(f) {
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(f)
}

func idKey(t string, width int) (key [16]byte, ok bool) {
	if len(t) != 2*width {
		return key, false
	}
	for i := range width {
		b, err := strconv.ParseUint(t[2*i:2*i+2], 16, 8)
		if err != nil {
			return key, false
		}
		key[i] = byte(b)
	}
	return key, true
}

// encode writes the number of each row's value into codes.
func (c *coder) encode(v *view, rows []int32, codes []uint32) error {
	vecs, err := v.vectors(c.column)
	if err != nil {
		return err
	}
	clear(codes)
	for _, vec := range vecs {
		code := c.rowCode(vec)
		if vec.Present == nil {
			for i, row := range rows {
				codes[i] = code(int(row))
			}
			continue
		}
		for i, row := range rows {
			if vec.Present.Has(int(row)) {
				codes[i] = code(int(row))
			}
		}
	}
	return nil
}

func (c *coder) rowCode(vec *column.Vector) func(row int) uint32 {
	switch {
	case vec.IDs != nil:
		memo := make([]uint32, vec.Dict.Len()) // number 0 cannot be: here is a value
		return func(row int) uint32 {
			id := vec.IDs[row]
			if memo[id] == 0 {
				memo[id] = c.number(trace.Value{Type: vec.Type, Str: vec.Dict.At(id)})
			}
			return memo[id]
		}
	case vec.Ints != nil && vec.Type == trace.TypeBool:
		var memo [2]uint32
		return func(row int) uint32 {
			b := vec.Ints[row] & 1
			if memo[b] == 0 {
				memo[b] = c.number(trace.Bool(b != 0))
			}
			return memo[b]
		}
	case vec.Ints != nil:
		return func(row int) uint32 {
			i := vec.Ints[row]
			return cached(c, c.ints, i, trace.Int(i))
		}
	case vec.Floats != nil:
		return func(row int) uint32 {
			f := vec.Floats[row]
			return cached(c, c.floats, floatKey(f), trace.Float(f))
		}
	case vec.Fixed != nil:
		return func(row int) uint32 {
			var key [16]byte
			copy(key[:], vec.Fixed[row*vec.Width:(row+1)*vec.Width])
			if n, ok := c.ids[key]; ok {
				return n
			}
			return cached(c, c.ids, key, trace.String(hexAt(vec, row)))
		}
	}
	return func(int) uint32 { return 0 }
}

// cached is number with a map that spares making the text again.
func cached[K comparable](c *coder, m map[K]uint32, key K, v trace.Value) uint32 {
	if n, ok := m[key]; ok {
		return n
	}
	if c.frozen {
		return none
	}
	n := c.number(v)
	m[key] = n
	c.heap += 24
	return n
}

// grouper numbers the groups of a query: the combinations of its breakdowns'
// values. Group numbers are dense from 0. A frozen grouper may be shared.
type grouper struct {
	coders []*coder
	joins  []join // joins[i] adds coders[i+1] to what coders[0..i] made
}

// join numbers the pairs of a group so far and a further value.
type join struct {
	pairs  []uint64 // by number: group<<32 | value
	number map[uint64]uint32
}

func newGrouper(breakdowns []string) *grouper {
	g := &grouper{}
	for i, name := range breakdowns {
		g.coders = append(g.coders, newCoder(name))
		if i > 0 {
			g.joins = append(g.joins, join{number: make(map[uint64]uint32)})
		}
	}
	return g
}

// len is one more than the highest group number.
func (g *grouper) len() int {
	switch {
	case len(g.joins) > 0:
		return len(g.joins[len(g.joins)-1].pairs)
	case len(g.coders) > 0:
		return len(g.coders[0].vals)
	}
	return 1
}

func (g *grouper) bytes() int64 {
	n := int64(0)
	for _, c := range g.coders {
		n += c.heap
	}
	for i := range g.joins {
		n += 40 * int64(len(g.joins[i].pairs))
	}
	return n
}

// encode writes the group number of each row into group; scratch is as long.
func (g *grouper) encode(v *view, rows []int32, group, scratch []uint32) error {
	clear(group)
	for i, c := range g.coders {
		if i == 0 {
			if err := c.encode(v, rows, group); err != nil {
				return err
			}
			continue
		}
		if err := c.encode(v, rows, scratch); err != nil {
			return err
		}
		j := &g.joins[i-1]
		var lastKey uint64
		var last uint32
		for r := range group {
			key := uint64(group[r])<<32 | uint64(scratch[r])
			if r == 0 || key != lastKey {
				lastKey, last = key, j.join(key, c.frozen)
			}
			group[r] = last
		}
	}
	return nil
}

func (j *join) join(key uint64, frozen bool) uint32 {
	if n, ok := j.number[key]; ok {
		return n
	}
	if frozen {
		return none
	}
	n := uint32(len(j.pairs))
	j.pairs = append(j.pairs, key)
	j.number[key] = n
	return n
}

// values returns the breakdown values of a group.
func (g *grouper) values(group int) []trace.Value {
	out := make([]trace.Value, len(g.coders))
	for i, n := range g.numbers(group) {
		out[i] = g.coders[i].vals[n]
	}
	return out
}

// numbers returns the coders' numbers of a group.
func (g *grouper) numbers(group int) []uint32 {
	out := make([]uint32, len(g.coders))
	for i := len(g.coders) - 1; i > 0; i-- {
		pair := g.joins[i-1].pairs[group]
		out[i] = uint32(pair)
		group = int(pair >> 32)
	}
	if len(out) > 0 {
		out[0] = uint32(group)
	}
	return out
}

// group returns the number of a combination of values, giving it one if new.
func (g *grouper) group(vals []trace.Value) int {
	n := uint32(0)
	for i, v := range vals {
		code := g.coders[i].number(v)
		if i == 0 {
			n = code
		} else {
			n = g.joins[i-1].join(uint64(n)<<32|uint64(code), false)
		}
	}
	return int(n)
}

func (g *grouper) freeze() {
	for _, c := range g.coders {
		c.freeze()
	}
}

// absorb numbers the groups of other too and returns their numbers here, by
// their number there.
func (g *grouper) absorb(other *grouper) []int {
	if len(g.coders) == 0 {
		return []int{0}
	}
	codes := make([][]uint32, len(g.coders))
	for i, c := range other.coders {
		codes[i] = make([]uint32, len(c.vals))
		for n, v := range c.vals {
			codes[i][n] = g.coders[i].number(v)
		}
	}
	to := codes[0]
	for i := range other.joins {
		next := make([]uint32, len(other.joins[i].pairs))
		for n, pair := range other.joins[i].pairs {
			key := uint64(to[pair>>32])<<32 | uint64(codes[i+1][uint32(pair)])
			next[n] = g.joins[i].join(key, false)
		}
		to = next
	}
	out := make([]int, len(to))
	for n, k := range to {
		out[n] = int(k)
	}
	return out
}
