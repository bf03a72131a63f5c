package query

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"redthread/tracestore/trace"
)

// none is the group number of a row that belongs to no wanted group.
const none uint32 = math.MaxUint32

// coder numbers the values of one breakdown, across blocks and types: values
// of the same canonical text get the same number. Number 0 is "no value". A
// frozen coder gives no new numbers, answers none for other values, and may be
// shared.
//
// Values lie in a hash table without pointers: entries by number, their texts
// in one arena, and slots that hold numbers. Text that is a canonical integer is
// kept as that integer, so integers are found without making their text.
type coder struct {
	column  string
	frozen  bool
	entries []entry
	arena   []byte
	slots   []uint32          // open addressing by hash, 0: free; len is a power of two
	small   []uint32          // numbers of the integers from 0, 0: none yet
	floats  map[uint64]uint32 // numbers of fractions, by bits, to spare making text
}

// smallInts is how many integers a coder finds without hashing.
const smallInts = 4 << 10

// entry is a value, in 16 bytes: there may be millions.
type entry struct {
	bits  uint64 // the integer, if whole; else where its text begins in the arena, and its length
	hash  uint32
	typ   trace.Type // to show it as; see rank
	whole bool
}

func newCoder(name string) *coder {
	return &coder{column: name, entries: make([]entry, 1), slots: make([]uint32, 16), floats: make(map[uint64]uint32)}
}

func (c *coder) bytes() int64 {
	const entryBytes, floatBytes = 16, 40
	return int64(cap(c.entries)*entryBytes + cap(c.arena) + 4*len(c.slots) + 4*len(c.small) + floatBytes*len(c.floats))
}

// number returns the number of a value, giving it one if it is new.
func (c *coder) number(v trace.Value) uint32 {
	switch v.Type {
	case trace.TypeNone:
		return 0
	case trace.TypeInt:
		return c.whole(v.Int(), trace.TypeInt)
	case trace.TypeFloat:
		const exact = 1 << 53
		if f := v.Float(); f == math.Trunc(f) && math.Abs(f) <= exact {
			return c.whole(int64(f), trace.TypeFloat)
		}
	}
	t := v.Text()
	if i, ok := canonicalInt(t); ok {
		return c.whole(i, v.Type)
	}
	return c.find(entry{hash: uint32(hashText(t)), typ: v.Type}, t)
}

// float returns the number of a float.
func (c *coder) float(f float64) uint32 {
	key := floatKey(f)
	if n, ok := c.floats[key]; ok {
		return n
	}
	n := c.number(trace.Float(f))
	if !c.frozen {
		c.floats[key] = n
	}
	return n
}

// integer returns the number of an integer.
func (c *coder) integer(i int64) uint32 {
	if uint64(i) >= smallInts {
		return c.whole(i, trace.TypeInt)
	}
	if int(i) < len(c.small) && c.small[i] != 0 {
		return c.small[i]
	}
	n := c.whole(i, trace.TypeInt)
	if !c.frozen {
		if c.small == nil {
			c.small = make([]uint32, smallInts)
		}
		c.small[i] = n
	}
	return n
}

func (c *coder) whole(i int64, t trace.Type) uint32 {
	return c.find(entry{bits: uint64(i), hash: uint32(mix(uint64(i))), typ: t, whole: true}, "")
}

// canonicalInt returns the integer whose canonical text is t.
func canonicalInt(t string) (int64, bool) {
	if t == "" || len(t) > 20 || t[0] != '-' && (t[0] < '0' || t[0] > '9') {
		return 0, false
	}
	i, err := strconv.ParseInt(t, 10, 64)
	if err != nil || len(t) > 1 && (t[0] == '0' || t[0] == '-' && t[1] == '0') {
		return 0, false
	}
	return i, true
}

// mix spreads the bits of an integer (the finalizer of SplitMix64; Steele, Lea
// and Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// find returns the number of the entry with this hash and text or integer.
func (c *coder) find(e entry, text string) uint32 {
	mask := uint32(len(c.slots) - 1)
	for at := e.hash & mask; ; at = (at + 1) & mask {
		n := c.slots[at]
		if n == 0 {
			if c.frozen {
				return none
			}
			return c.insert(at, e, text)
		}
		have := &c.entries[n]
		if have.hash == e.hash && have.whole == e.whole && (e.whole && have.bits == e.bits || !e.whole && c.text(have) == text) {
			if !c.frozen && rank(e.typ) < rank(have.typ) {
				have.typ = e.typ
			}
			return n
		}
	}
}

func (c *coder) insert(at uint32, e entry, text string) uint32 {
	n := uint32(len(c.entries))
	if !e.whole {
		e.bits = uint64(len(c.arena))<<32 | uint64(len(text))
		c.arena = append(c.arena, text...)
	}
	c.entries = append(c.entries, e)
	c.slots[at] = n
	if 4*len(c.entries) > 3*len(c.slots) {
		c.slots = make([]uint32, 2*len(c.slots))
		mask := uint32(len(c.slots) - 1)
		for i := range c.entries[1:] {
			at := c.entries[i+1].hash & mask
			for c.slots[at] != 0 {
				at = (at + 1) & mask
			}
			c.slots[at] = uint32(i + 1)
		}
	}
	return n
}

// text is the entry's text, aliasing the arena, which only grows.
func (c *coder) text(e *entry) string {
	if e.whole {
		return ""
	}
	b := c.arena[e.bits>>32:][:uint32(e.bits)]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// value returns the value of a number.
func (c *coder) value(n uint32) trace.Value {
	if n == 0 {
		return trace.Value{}
	}
	e := &c.entries[n]
	if e.whole {
		switch e.typ {
		case trace.TypeInt:
			return trace.Int(int64(e.bits))
		case trace.TypeFloat:
			return trace.Float(float64(int64(e.bits)))
		}
		return valueOfText(e.typ, strconv.FormatInt(int64(e.bits), 10))
	}
	return valueOfText(e.typ, c.text(e))
}

// valueOfText is the value of a type with the canonical text.
func valueOfText(t trace.Type, text string) trace.Value {
	switch t {
	case trace.TypeFloat:
		f, _ := strconv.ParseFloat(text, 64) // a float's own text
		return trace.Float(f)
	case trace.TypeBool:
		return trace.Bool(text == "true")
	case trace.TypeBytes:
		b, _ := base64.StdEncoding.DecodeString(text) // bytes' own text
		return trace.Bytes(string(b))
	}
	return trace.Value{Type: t, Str: text}
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
	return 4 + int(t)
}

// own copies the value's text out of the block.
func own(v trace.Value) trace.Value {
	v.Str = strings.Clone(v.Str)
	return v
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

// grouper numbers the groups of a query: the combinations of its breakdowns'
// values. Group numbers are dense from 0. A frozen grouper may be shared.
type grouper struct {
	coders []*coder
	joins  []join // joins[i] adds coders[i+1] to what coders[0..i] made
}

func newGrouper(breakdowns []string) *grouper {
	g := &grouper{}
	for i, name := range breakdowns {
		g.coders = append(g.coders, newCoder(name))
		if i > 0 {
			g.joins = append(g.joins, join{})
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
		return len(g.coders[0].entries)
	}
	return 1
}

func (g *grouper) bytes() int64 {
	n := int64(0)
	for _, c := range g.coders {
		n += c.bytes()
	}
	for i := range g.joins {
		n += g.joins[i].bytes()
	}
	return n
}

// values returns the breakdown values of a group.
func (g *grouper) values(group int) []trace.Value {
	out := make([]trace.Value, len(g.coders))
	for i := range out {
		out[i] = g.value(group, i)
	}
	return out
}

// value returns one breakdown value of a group, its text aliasing the grouper.
func (g *grouper) value(group, breakdown int) trace.Value {
	n := uint32(group)
	for i := len(g.coders) - 1; i > 0; i-- {
		pair := g.joins[i-1].pairs[n]
		if i == breakdown {
			return g.coders[i].value(uint32(pair))
		}
		n = uint32(pair >> 32)
	}
	return g.coders[0].value(n)
}

// group returns the number of a combination of values, giving it one if new.
func (g *grouper) group(vals []trace.Value) int {
	n := uint32(0)
	for i, v := range vals {
		code := g.coders[i].number(v)
		if i == 0 {
			n = code
		} else {
			n = g.joins[i-1].join(n, code, false)
		}
	}
	return int(n)
}

func (g *grouper) freeze() {
	for _, c := range g.coders {
		c.frozen = true
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
		codes[i] = make([]uint32, len(c.entries))
		for n := range c.entries[1:] {
			e := &c.entries[n+1]
			codes[i][n+1] = g.coders[i].find(*e, c.text(e))
		}
	}
	to := codes[0]
	for i := range other.joins {
		next := make([]uint32, len(other.joins[i].pairs))
		for n, pair := range other.joins[i].pairs {
			next[n] = g.joins[i].join(to[pair>>32], codes[i+1][uint32(pair)], false)
		}
		to = next
	}
	out := make([]int, len(to))
	for n, k := range to {
		out[n] = int(k)
	}
	return out
}
