package segment

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// indexBuilder makes a sidecar from the columns of a segment, each seen once, row
// group by row group or column by column.
type indexBuilder struct {
	groupRows []int
	columns   map[attributeKey]*columnRecord
	traces    [][]uint32 // by row group: the trace hash of each row
	rare      [][]uint64 // by row group: hashes of the overflow's entries

	counts []uint32 // scratch: rows by dictionary id
	hashes []uint64 // scratch
	ints   intCounter
}

// columnRecord is what a sidecar knows of one column.
type columnRecord struct {
	key    string
	typ    trace.Type
	groups []groupRecord
}

// groupRecord is what it knows of one column in one row group.
type groupRecord struct {
	here bool // a row has a value
	column.Stats
	filter []byte // while it is built
	bloom  int    // offset of the filter in the section of blooms
	blocks int    // of the filter; 0: none
}

// overflowKey names the record of the overflow: bloom filters of keys and values.
// No column has it.
var overflowKey = attributeKey{"", trace.TypeNone}

const (
	// maxTopBytes: a group whose most frequent values are longer than this in
	// all keeps none of them.
	maxTopBytes = 16 << 10
	// numberBloomShare: numbers that are different in more than a fifth of a
	// group's rows are measures rather than ids. A filter would cost two bits a
	// row, and nobody asks for one of them.
	numberBloomShare = 5
)

// measures are the last words of keys whose numbers are measures whatever their
// values, as OpenTelemetry names them (semantic conventions, metric units).
var measures = map[string]bool{
	"bytes": true, "count": true, "duration": true, "latency": true, "length": true, "size": true, "time": true,
	"ms": true, "us": true, "ns": true, "seconds": true, "percent": true, "ratio": true,
}

// isMeasure reports whether a key is named for a measure.
func isMeasure(key string) bool { return measures[key[strings.LastIndexAny(key, "._")+1:]] }

func newIndexBuilder(groupRows []int) *indexBuilder {
	n := len(groupRows)
	return &indexBuilder{
		groupRows: groupRows, columns: make(map[attributeKey]*columnRecord),
		traces: make([][]uint32, n), rare: make([][]uint64, n),
	}
}

func (b *indexBuilder) record(k attributeKey, group int) *groupRecord {
	c := b.columns[k]
	if c == nil {
		c = &columnRecord{key: k.key, typ: k.typ, groups: make([]groupRecord, len(b.groupRows))}
		b.columns[k] = c
	}
	return &c.groups[group]
}

// see takes in a column of a row group, or its values alone. v is not kept.
func (b *indexBuilder) see(group int, key string, t trace.Type, v *column.Vector) {
	if v == nil {
		return
	}
	switch key {
	case column.SpanID, column.ParentID:
		return
	case column.TraceID:
		b.seeTraces(group, v)
		return
	}
	g := b.record(attributeKey{key, t}, group)
	g.Min, g.Max, g.Distinct = math.Inf(1), math.Inf(-1), -1
	switch {
	case v.IDs != nil:
		b.seeTexts(g, v)
	case key == column.Start, key == column.Duration, key == column.Arrived:
		g.here = true
		bounds(g, v)
	case v.Ints != nil:
		b.seeInts(g, v, b.groupRows[group], isMeasure(key))
	case v.Floats != nil:
		b.seeFloats(g, v)
	}
}

// seeTraces gathers the trace of each row, and makes a filter of the ids as text.
func (b *indexBuilder) seeTraces(group int, v *column.Vector) {
	rows := b.groupRows[group]
	hashes := make([]uint32, rows)
	var id trace.ID
	var text [2 * len(id)]byte
	distinct := make(map[trace.ID]struct{}, rows/8)
	for row := range rows {
		next := trace.ID(v.Fixed[row*len(id) : (row+1)*len(id)])
		if row > 0 && next == id {
			hashes[row] = hashes[row-1]
			continue
		}
		id = next
		hashes[row] = column.TraceHash(id)
		distinct[id] = struct{}{}
	}
	b.traces[group] = hashes
	b.hashes = b.hashes[:0]
	for id := range distinct {
		hex.Encode(text[:], id[:])
		b.hashes = append(b.hashes, column.HashString(0, string(text[:])))
	}
	g := b.record(attributeKey{column.TraceID, v.Type}, group)
	g.Min, g.Max, g.Distinct, g.here = math.Inf(1), math.Inf(-1), len(distinct), rows > 0
	b.bloom(g)
}

// bloom makes a filter of the gathered hashes.
func (b *indexBuilder) bloom(g *groupRecord) {
	g.blocks = bloomBlocks(len(b.hashes))
	g.filter = make([]byte, g.blocks*bloomBlockBytes)
	for _, h := range b.hashes {
		bloomAdd(g.filter, h)
	}
}

// eachPresent calls fn with the rows that have a value.
func eachPresent(p column.Bitmap, rows int, fn func(row int)) {
	if p == nil {
		for row := range rows {
			fn(row)
		}
		return
	}
	eachBit(p, fn)
}

func (b *indexBuilder) seeTexts(g *groupRecord, v *column.Vector) {
	n := v.Dict.Len()
	b.counts = slices.Grow(b.counts[:0], n)[:n]
	clear(b.counts)
	counts := b.counts
	if v.Present == nil {
		for _, id := range v.IDs {
			counts[id]++
		}
	} else {
		eachBit(v.Present, func(row int) { counts[v.IDs[row]]++ })
	}
	text := func(id uint32) string { return v.Dict.At(id) }
	if v.Type == trace.TypeBytes {
		text = func(id uint32) string { return trace.Bytes(v.Dict.At(id)).Text() }
	}
	var top topValues
	g.Distinct = 0
	for id, n := range counts {
		if n == 0 {
			continue
		}
		g.Distinct++
		top.add(uint64(id), n, func(id uint64) string { return text(uint32(id)) })
	}
	if g.here = g.Distinct > 0; !g.here {
		return
	}
	g.Top = top.values(func(id uint64) string { return text(uint32(id)) })
	if g.complete() {
		return
	}
	b.hashes = b.hashes[:0]
	for id, n := range counts {
		if n > 0 {
			b.hashes = append(b.hashes, column.HashString(0, text(uint32(id))))
		}
	}
	b.bloom(g)
}

// complete reports whether Top has every value.
func (g *groupRecord) complete() bool {
	return g.Distinct >= 0 && g.Top != nil && len(g.Top) == g.Distinct
}

func (b *indexBuilder) seeInts(g *groupRecord, v *column.Vector, rows int, measure bool) {
	bounds(g, v)
	b.ints.reset()
	eachPresent(v.Present, len(v.Ints), func(row int) { b.ints.add(v.Ints[row]) })
	text := func(x uint64) string { return trace.Value{Type: v.Type, Num: x}.Text() }
	b.seeNumbers(g, text)
	if g.here && !g.complete() && g.Distinct*numberBloomShare <= rows && !measure {
		b.hashes = b.hashes[:0]
		b.ints.each(func(x int64, _ uint32) { b.hashes = append(b.hashes, column.HashString(0, text(uint64(x)))) })
		b.bloom(g)
	}
}

func (b *indexBuilder) seeFloats(g *groupRecord, v *column.Vector) {
	bounds(g, v)
	b.ints.reset()
	eachPresent(v.Present, len(v.Floats), func(row int) {
		f := v.Floats[row]
		switch {
		case f == 0:
			f = 0 // -0 has the text of 0
		case math.IsNaN(f):
			f = math.NaN()
		}
		b.ints.add(int64(math.Float64bits(f)))
	})
	b.seeNumbers(g, func(x uint64) string { return trace.Float(math.Float64frombits(x)).Text() })
}

// seeNumbers takes over what was counted.
func (b *indexBuilder) seeNumbers(g *groupRecord, text func(uint64) string) {
	var top topValues
	b.ints.each(func(x int64, n uint32) { top.add(uint64(x), n, text) })
	g.Distinct = b.ints.used
	g.here = g.Distinct > 0
	if g.here {
		g.Top = top.values(text)
	}
}

// bounds finds the least and the greatest number, rounded outward where a float
// cannot hold it.
func bounds(g *groupRecord, v *column.Vector) {
	if v.Floats != nil {
		eachPresent(v.Present, len(v.Floats), func(row int) {
			if f := v.Floats[row]; f < g.Min {
				g.Min = f
			}
			if f := v.Floats[row]; f > g.Max {
				g.Max = f
			}
		})
		return
	}
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	eachPresent(v.Present, len(v.Ints), func(row int) { lo, hi = min(lo, v.Ints[row]), max(hi, v.Ints[row]) })
	if lo > hi {
		return
	}
	g.Min, g.Max = float64(lo), float64(hi)
	// Beyond 2^53 the nearest float may lie on either side.
	if lo < -1<<53 || lo > 1<<53 {
		g.Min = math.Nextafter(g.Min, math.Inf(-1))
	}
	if hi < -1<<53 || hi > 1<<53 {
		g.Max = math.Nextafter(g.Max, math.Inf(1))
	}
}

// seeRare takes in a column that lies in the overflow.
func (b *indexBuilder) seeRare(group int, key string, s *column.Sparse) {
	for i := range s.Len() {
		b.rare[group] = append(b.rare[group], rareHash(key, s.Values.Value(i).Text()))
	}
}

// rareHash stands for a key and a value in the filter of the overflow.
func rareHash(key, text string) uint64 { return rareTextHash(key, column.HashString(0, text)) }

func rareTextHash(key string, hash uint64) uint64 {
	return column.Mix(column.HashString(0, key), hash)
}

// build returns the payload of the sidecar. prints are the fingerprints of all
// rows, or nil.
func (b *indexBuilder) build(prints []uint64) ([]byte, error) {
	rows := 0
	for g, hashes := range b.rare {
		slices.Sort(hashes)
		if b.hashes = slices.Compact(hashes); len(b.hashes) > 0 {
			r := b.record(overflowKey, g)
			r.Min, r.Max, r.Distinct, r.here = math.Inf(1), math.Inf(-1), -1, true
			b.bloom(r)
		}
	}
	for g, n := range b.groupRows {
		if len(b.traces[g]) != n {
			return nil, fmt.Errorf("trace ids of %d rows of row group %d, want %d", len(b.traces[g]), g, n)
		}
		rows += n
	}
	if prints != nil && len(prints) != rows {
		return nil, fmt.Errorf("%d fingerprints for %d rows", len(prints), rows)
	}
	first, traces, count := b.encodeTraces(rows)
	keys, records, blooms := b.encodeRecords()
	bytes := indexHeaderBytes + len(first) + len(keys) + len(records) + len(traces) + len(blooms) + printBytes*len(prints)
	if int64(bytes) > math.MaxUint32 {
		return nil, errIndexTooLarge
	}
	out := make([]byte, 0, bytes)
	out = append(out, indexMagic...)
	for _, n := range []int{indexVersion, rows, len(b.groupRows), count, 0} {
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
	}
	for _, n := range []int{len(first), len(keys), len(records), len(traces), len(blooms), printBytes * len(prints)} {
		out = binary.LittleEndian.AppendUint64(out, uint64(n))
	}
	for _, part := range [][]byte{first, keys, records, traces, blooms} {
		out = append(out, part...)
	}
	for _, p := range prints {
		out = binary.LittleEndian.AppendUint64(out, p)
	}
	return out, nil
}

// encodeTraces writes the rows of each trace, blocks of traceBlockItems traces by
// hash, and the directory of the blocks.
func (b *indexBuilder) encodeTraces(rows int) (first, blocks []byte, count int) {
	order := make([]uint64, 0, rows) // trace hash and row
	for _, hashes := range b.traces {
		for _, h := range hashes {
			order = append(order, uint64(h)<<32|uint64(len(order)))
		}
	}
	slices.Sort(order)
	last := uint64(0)
	for i := 0; i < len(order); count++ {
		hash := order[i] >> 32
		if count%traceBlockItems == 0 {
			first = binary.LittleEndian.AppendUint32(first, uint32(hash))
			first = binary.LittleEndian.AppendUint32(first, uint32(len(blocks)))
			last = hash
		}
		blocks = binary.AppendUvarint(blocks, hash-last)
		last = hash
		end := uint64(0) // of the run before
		for more := true; more; {
			row := order[i] & math.MaxUint32
			n := uint64(1)
			for i++; i < len(order) && order[i] == hash<<32|(row+n); i++ {
				n++
			}
			more = i < len(order) && order[i]>>32 == hash
			flag := uint64(0)
			if more {
				flag = 1
			}
			blocks = binary.AppendUvarint(blocks, row-end)
			blocks = binary.AppendUvarint(blocks, n<<1|flag)
			end = row + n
		}
	}
	return first, blocks, count
}

// encodeRecords writes the column records, their directory and the filters, those
// of one column side by side.
func (b *indexBuilder) encodeRecords() (keys, records, blooms []byte) {
	all := make([]*columnRecord, 0, len(b.columns))
	for _, c := range b.columns {
		if slices.ContainsFunc(c.groups, func(g groupRecord) bool { return g.here }) {
			all = append(all, c)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, c := all[i], all[j]
		if h, k := keyHash(a.key), keyHash(c.key); h != k {
			return h < k
		}
		return a.key < c.key || a.key == c.key && a.typ < c.typ
	})
	for _, c := range all {
		for i := range c.groups {
			c.groups[i].bloom = len(blooms)
			blooms = append(blooms, c.groups[i].filter...)
		}
		from := len(records)
		records = c.append(records)
		keys = binary.LittleEndian.AppendUint32(keys, keyHash(c.key))
		keys = binary.LittleEndian.AppendUint32(keys, uint32(from))
		keys = binary.LittleEndian.AppendUint32(keys, uint32(len(records)-from))
	}
	return keys, records, blooms
}

// seen shows a source to an encoder and lets the builder see what it reads.
type seen struct {
	column.Source
	b     *indexBuilder
	group int
	infos []column.Info
	place []int // of the attributes; -1: in the overflow
	done  []bool
	fixed map[string]bool
}

func (b *indexBuilder) watch(s column.Source, group int, place []int) *seen {
	return &seen{Source: s, b: b, group: group, infos: s.Attributes(), place: place, done: make([]bool, len(place)), fixed: make(map[string]bool)}
}

func (s *seen) Attributes() []column.Info { return s.infos }

func (s *seen) Column(key string, t trace.Type) (*column.Vector, error) {
	v, err := s.Source.Column(key, t)
	if want, fixed := column.FixedType(key); err == nil && fixed && want == t && !s.fixed[key] {
		s.fixed[key] = true
		s.b.see(s.group, key, t, v)
	}
	return v, err
}

func (s *seen) AttributeAt(position int) (*column.Sparse, error) {
	v, err := s.Source.AttributeAt(position)
	if err != nil || v == nil || s.done[position] {
		return v, err
	}
	s.done[position] = true
	info := s.infos[position]
	if _, hidden := column.FixedType(info.Key); hidden {
		return v, nil // queries see the fixed column of that name
	}
	if s.place[position] < 0 {
		s.b.seeRare(s.group, info.Key, v)
	} else {
		s.b.see(s.group, info.Key, info.Type, &v.Values)
	}
	return v, nil
}
