package segment

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// A column record is zstd of: key (uvarint length, bytes), type (1), the texts
// that the groups speak of (uvarint count, then uvarint length and bytes each),
// then for each row group one byte of flags and what they name, in this order:
const (
	statHere    = 1 << iota // a row has a value; without it nothing follows
	statNumbers             // least and greatest number, float64 each
	statCount               // uvarint distinct values
	statTop                 // uvarint count, then uvarint text and uvarint rows each
	statBloom               // uvarint offset in the blooms, uvarint blocks
)

// maxRecordBytes bounds a record when it is unpacked: 32 texts a row group, of
// 16 KiB in all.
const maxRecordBytes = 64 << 20

var (
	recordEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	recordDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxRecordBytes))
)

func (c *columnRecord) append(dst []byte) []byte {
	texts := make(map[string]uint64)
	var list, groups []byte
	for i := range c.groups {
		g := &c.groups[i]
		if !g.here {
			groups = append(groups, 0)
			continue
		}
		flags := byte(statHere)
		at := len(groups)
		groups = append(groups, 0)
		if g.Min <= g.Max {
			flags |= statNumbers
			groups = binary.LittleEndian.AppendUint64(groups, math.Float64bits(g.Min))
			groups = binary.LittleEndian.AppendUint64(groups, math.Float64bits(g.Max))
		}
		if g.Distinct >= 0 {
			flags |= statCount
			groups = binary.AppendUvarint(groups, uint64(g.Distinct))
		}
		if g.Top != nil {
			flags |= statTop
			groups = binary.AppendUvarint(groups, uint64(len(g.Top)))
			for _, v := range g.Top {
				id, ok := texts[v.Text]
				if !ok {
					id = uint64(len(texts))
					texts[v.Text] = id
					list = binary.AppendUvarint(list, uint64(len(v.Text)))
					list = append(list, v.Text...)
				}
				groups = binary.AppendUvarint(groups, id)
				groups = binary.AppendUvarint(groups, uint64(v.Rows))
			}
		}
		if g.blocks > 0 {
			flags |= statBloom
			groups = binary.AppendUvarint(groups, uint64(g.bloom))
			groups = binary.AppendUvarint(groups, uint64(g.blocks))
		}
		groups[at] = flags
	}
	raw := binary.AppendUvarint(nil, uint64(len(c.key)))
	raw = append(append(raw, c.key...), byte(c.typ))
	raw = binary.AppendUvarint(raw, uint64(len(texts)))
	raw = append(append(raw, list...), groups...)
	return recordEncoder.EncodeAll(raw, dst)
}

// readRecord reads what append wrote.
func readRecord(packed []byte, groups int) (c *columnRecord, err error) {
	raw, err := recordDecoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: column record: %w", errIndex, err)
	}
	text := string(raw) // the record's strings alias it
	at := 0
	bad := false
	number := func() uint64 {
		v, n := binary.Uvarint(raw[at:])
		if n <= 0 {
			bad = true
			return 0
		}
		at += n
		return v
	}
	word := func() string {
		n := number()
		if bad = bad || n > uint64(len(raw)-at); bad {
			return ""
		}
		at += int(n)
		return text[at-int(n) : at]
	}
	c = &columnRecord{key: word()}
	if at < len(raw) {
		c.typ = trace.Type(raw[at])
		at++
	}
	count := number()
	if bad || count > uint64(len(raw)-at) {
		return nil, errIndex
	}
	texts := make([]string, count)
	for i := range texts {
		texts[i] = word()
	}
	if bad || groups > len(raw)-at {
		return nil, errIndex
	}
	c.groups = make([]groupRecord, groups)
	for i := range c.groups {
		if bad || at == len(raw) {
			return nil, errIndex
		}
		g := &c.groups[i]
		flags := raw[at]
		at++
		g.here = flags&statHere != 0
		g.Min, g.Max, g.Distinct = math.Inf(1), math.Inf(-1), -1
		if flags&statNumbers != 0 {
			if len(raw)-at < 16 {
				return nil, errIndex
			}
			g.Min = math.Float64frombits(binary.LittleEndian.Uint64(raw[at:]))
			g.Max = math.Float64frombits(binary.LittleEndian.Uint64(raw[at+8:]))
			at += 16
		}
		if flags&statCount != 0 {
			g.Distinct = int(number() & math.MaxUint32)
		}
		if flags&statTop != 0 {
			n := number()
			if bad || n > column.TopValues {
				return nil, errIndex
			}
			g.Top = make([]column.ValueCount, n)
			for i := range g.Top {
				id, rows := number(), number()
				if bad || id >= uint64(len(texts)) {
					return nil, errIndex
				}
				g.Top[i] = column.ValueCount{Text: texts[id], Rows: int(rows & math.MaxUint32)}
			}
		}
		if flags&statBloom != 0 {
			g.bloom, g.blocks = int(number()&math.MaxUint32), int(number()&math.MaxUint32)
		}
	}
	if bad || at != len(raw) {
		return nil, errIndex
	}
	return c, nil
}

// size is the memory that a record takes.
func (c *columnRecord) size() int64 {
	n := int64(len(c.key)) + entryBytes
	for i := range c.groups {
		n += 80
		for _, v := range c.groups[i].Top {
			n += 24 + int64(len(v.Text))
		}
	}
	return n
}

// topValues finds the most frequent values. Of equally frequent ones those with
// the lesser text count, so that the result does not hang on their order.
type topValues struct {
	list []topValue // a heap while it is full: the least is first
}

type topValue struct {
	value uint64
	rows  uint32
	text  string // once it was compared
	known bool
}

func (v *topValue) load(text func(uint64) string) string {
	if !v.known {
		v.text, v.known = text(v.value), true
	}
	return v.text
}

// before reports whether a is to be listed before b.
func (a *topValue) before(b *topValue, text func(uint64) string) bool {
	if a.rows != b.rows {
		return a.rows > b.rows
	}
	return a.load(text) < b.load(text)
}

func (t *topValues) add(value uint64, rows uint32, text func(uint64) string) {
	v := topValue{value: value, rows: rows}
	if len(t.list) < column.TopValues {
		t.list = append(t.list, v)
		if len(t.list) == column.TopValues {
			for i := len(t.list)/2 - 1; i >= 0; i-- {
				t.sink(i, text)
			}
		}
		return
	}
	if rows < t.list[0].rows || !v.before(&t.list[0], text) {
		return
	}
	t.list[0] = v
	t.sink(0, text)
}

// sink restores the heap below i.
func (t *topValues) sink(i int, text func(uint64) string) {
	for {
		child := 2*i + 1
		if child >= len(t.list) {
			return
		}
		if child+1 < len(t.list) && t.list[child].before(&t.list[child+1], text) {
			child++
		}
		if !t.list[i].before(&t.list[child], text) {
			return
		}
		t.list[i], t.list[child] = t.list[child], t.list[i]
		i = child
	}
}

// values returns the values found, nil if their texts are too long.
func (t *topValues) values(text func(uint64) string) []column.ValueCount {
	slices.SortFunc(t.list, func(a, b topValue) int {
		return cmp.Or(cmp.Compare(b.rows, a.rows), strings.Compare(a.load(text), b.load(text)))
	})
	out := make([]column.ValueCount, len(t.list))
	bytes := 0
	for i := range t.list {
		out[i] = column.ValueCount{Text: strings.Clone(t.list[i].load(text)), Rows: int(t.list[i].rows)}
		if bytes += len(out[i].Text); bytes > maxTopBytes {
			return nil
		}
	}
	return out
}

// intCounter counts equal integers. It is emptied without touching its memory.
type intCounter struct {
	slots []intSlot // open addressing; len is a power of two
	round uint32    // a slot of another round is empty
	used  int
	last  int // slot of the last integer, -1: none
}

type intSlot struct {
	value int64
	rows  uint32
	round uint32
}

func (c *intCounter) reset() {
	c.used, c.last = 0, -1
	if c.round++; c.round == 0 {
		clear(c.slots)
		c.round = 1
	}
}

func (c *intCounter) add(x int64) {
	if c.last >= 0 && c.slots[c.last].value == x {
		c.slots[c.last].rows++
		return
	}
	if c.used*4 >= len(c.slots)*3 {
		c.grow()
	}
	i := c.find(x)
	s := &c.slots[i]
	if s.round != c.round {
		*s = intSlot{value: x, round: c.round}
		c.used++
	}
	s.rows++
	c.last = i
}

// find returns the slot of x or the empty one where it belongs.
func (c *intCounter) find(x int64) int {
	shift := 64 - bits.TrailingZeros(uint(len(c.slots)))
	i := int(uint64(x) * 0x9e3779b97f4a7c15 >> shift) // Fibonacci hashing
	for c.slots[i].round == c.round && c.slots[i].value != x {
		i = (i + 1) & (len(c.slots) - 1)
	}
	return i
}

func (c *intCounter) grow() {
	old := c.slots
	c.slots = make([]intSlot, max(2*len(old), 1024))
	for _, s := range old {
		if s.round == c.round {
			c.slots[c.find(s.value)] = s
		}
	}
	c.last = -1
}

// each calls fn with every integer and how often it was added.
func (c *intCounter) each(fn func(x int64, rows uint32)) {
	for i := range c.slots {
		if c.slots[i].round == c.round {
			fn(c.slots[i].value, c.slots[i].rows)
		}
	}
}

// eachBit calls fn with the bits that are set, in order.
func eachBit(b column.Bitmap, fn func(i int)) {
	for w, word := range b {
		for ; word != 0; word &= word - 1 {
			fn(w<<6 + bits.TrailingZeros64(word))
		}
	}
}
