package query

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// compared are the fixed columns that a comparison shows. Ids are near-unique by
// nature, and duration_nano is duration_ms.
var compared = []string{durationMS, column.Environment, column.Error, isRoot, column.Name, column.Service, column.Kind,
	column.Status, column.StatusMessage, column.TraceState}

// bubbleColumn is what was counted of one column.
type bubbleColumn struct {
	name   string
	types  []trace.Type
	values valueTable
	bars   *barCounts // of numbers; nil: there were none
	rows   [2]int64   // that have the key, unweighted
	count  [2]float64 // and weighted
	// distinct is the sum of the blocks' distinct values.
	distinct int64
	// pruned: some values were left out, so the counts of values are low.
	pruned bool
	fresh  []recounted // counted anew, if pruned
}

// count counts the values of every column in the blocks that are read.
func (r *bubbleRun) count(ctx context.Context) error {
	keys := r.keys()
	found := make([]map[string]*bubbleColumn, r.workers)
	scratches := make([]bubbleScratch, r.workers)
	for i := range found {
		found[i] = make(map[string]*bubbleColumn)
	}
	err := r.eachRead(ctx, func(worker int, b *bubbleBlock) error {
		s := &scratches[worker]
		v := newView(b.Block)
		if err := s.start(v, b, r.weighted); err != nil {
			return err
		}
		for _, name := range b.names(keys) {
			if err := ctx.Err(); err != nil {
				return err
			}
			vecs, err := v.key(name)
			if err != nil {
				return err
			}
			c := found[worker][name]
			if c == nil {
				c = &bubbleColumn{name: name}
				found[worker][name] = c
			}
			before := c.bytes()
			for _, vec := range vecs {
				s.observe(r, c, vec)
			}
			if err := r.charge(c.bytes() - before); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.columns = found[0]
	for _, m := range found[1:] {
		for name, c := range m {
			if have := r.columns[name]; have != nil {
				have.merge(c, r)
			} else {
				r.columns[name] = c
			}
		}
	}
	return nil
}

// minGap is the least difference in share worth reading a column for.
const minGap = 0.001

// keys are the attributes to compare: those on enough rows that they can make a
// difference of minGap, were all of them selected.
func (r *bubbleRun) keys() map[string]bool {
	rows := make(map[string]int)
	for _, b := range r.blocks {
		if !b.read[selected] && !b.read[baseline] {
			continue
		}
		for _, info := range b.Columns() {
			if _, fixed := column.FixedType(info.Key); !fixed {
				rows[info.Key] += info.Rows
			}
		}
	}
	keys := make(map[string]bool, len(rows))
	for key, n := range rows {
		if float64(n) >= minGap*float64(r.total[selected].RowsRead) {
			keys[key] = true
		} else {
			r.skipped++
		}
	}
	return keys
}

// names lists the columns of the block to compare.
func (b *bubbleBlock) names(keys map[string]bool) []string {
	names := slices.Clone(compared)
	last := ""
	for _, info := range b.Columns() {
		if keys[info.Key] && info.Key != last {
			names = append(names, info.Key)
			last = info.Key
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bytes is about the memory held.
func (c *bubbleColumn) bytes() int64 {
	n := c.values.bytes() + 128
	if c.bars != nil {
		n += int64(barBytes)
	}
	return n
}

func (c *bubbleColumn) merge(o *bubbleColumn, r *bubbleRun) {
	for _, t := range o.types {
		c.addType(t)
	}
	for i := range o.values.entries {
		e := &o.values.entries[i]
		c.values.add(e.hash, e.value, e.count)
	}
	c.values.bound(c, r)
	if c.bars == nil {
		c.bars = o.bars
	} else if o.bars != nil {
		c.bars.merge(o.bars)
	}
	for side := range c.rows {
		c.rows[side] += o.rows[side]
		c.count[side] += o.count[side]
	}
	c.distinct += o.distinct
	c.pruned = c.pruned || o.pruned
}

func (c *bubbleColumn) addType(t trace.Type) {
	if !slices.Contains(c.types, t) {
		c.types = append(c.types, t)
	}
}

// bubbleScratch is what one goroutine counts with, from block to block.
type bubbleScratch struct {
	block   *bubbleBlock
	sides   [2]column.Bitmap // the rows to count
	has     [2]column.Bitmap // those of them that the column has
	weights []float64        // by row; nil: all 1

	ids     []uint32 // local ids of numbers, by row
	numbers []uint64 // what they stand for, as trace.Value.Num
	slots   []uint32 // to number them by
	whole   [2][]uint32
	shares  [2][]float64
}

// start makes ready for a block.
func (s *bubbleScratch) start(v *view, b *bubbleBlock, weighted bool) error {
	s.block, s.weights = b, nil
	for side := range s.sides {
		s.has[side] = resize(s.has[side], (v.rows+63)/64)
		s.sides[side] = b.sides[side]
		if !b.read[side] {
			s.sides[side] = column.NewBitmap(v.rows)
		}
	}
	if !weighted {
		return nil
	}
	var err error
	s.weights, err = rowWeights(v, b)
	return err
}

// within sets has to the rows of each side that the vector has, and returns how many.
func (s *bubbleScratch) within(vec *column.Vector) (rows [2]int) {
	for side, has := range s.has {
		n := 0
		if vec.Present == nil {
			copy(has, s.sides[side])
			n = has.Count()
		} else {
			for w, word := range s.sides[side] {
				word &= vec.Present[w]
				has[w] = word
				n += bits.OnesCount64(word)
			}
		}
		rows[side] = n
	}
	return rows
}

// localID shows a vector as ids of few values: those of its dictionary, or ones
// given to its numbers. n is the number of ids. Only the rows of has count.
func (s *bubbleScratch) localIDs(vec *column.Vector) (ids []uint32, n int) {
	switch {
	case vec.IDs != nil:
		return vec.IDs, vec.Dict.Len()
	case vec.Ints != nil:
		return s.numberInts(vec.Ints)
	case vec.Floats != nil:
		s.startNumbers(len(vec.Floats))
		for w := range s.has[0] {
			for word := s.has[0][w] | s.has[1][w]; word != 0; word &= word - 1 {
				row := w<<6 | bits.TrailingZeros64(word)
				s.ids[row] = s.number(floatKey(vec.Floats[row]))
			}
		}
		return s.ids, len(s.numbers)
	}
	return nil, 0
}

// maxSpread is the widest range of integers that is counted by position.
const maxSpread = 1 << 14

func (s *bubbleScratch) numberInts(ints []int64) ([]uint32, int) {
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	for w := range s.has[0] {
		for word := s.has[0][w] | s.has[1][w]; word != 0; word &= word - 1 {
			x := ints[w<<6|bits.TrailingZeros64(word)]
			lo, hi = min(lo, x), max(hi, x)
		}
	}
	s.startNumbers(len(ints))
	if lo > hi {
		return s.ids, 0
	}
	if spread := uint64(hi) - uint64(lo); spread < maxSpread {
		for w := range s.has[0] {
			for word := s.has[0][w] | s.has[1][w]; word != 0; word &= word - 1 {
				row := w<<6 | bits.TrailingZeros64(word)
				s.ids[row] = uint32(ints[row] - lo)
			}
		}
		for x := range spread + 1 {
			s.numbers = append(s.numbers, uint64(lo)+x)
		}
		return s.ids, len(s.numbers)
	}
	for w := range s.has[0] {
		for word := s.has[0][w] | s.has[1][w]; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			s.ids[row] = s.number(uint64(ints[row]))
		}
	}
	return s.ids, len(s.numbers)
}

func (s *bubbleScratch) startNumbers(rows int) {
	s.ids = resize(s.ids, rows)
	s.numbers = s.numbers[:0]
	clear(s.slots)
}

// number gives a number its local id.
func (s *bubbleScratch) number(bits uint64) uint32 {
	if 2*len(s.numbers) >= len(s.slots) {
		s.slots = make([]uint32, max(1<<10, 4*len(s.slots)))
		for id, x := range s.numbers {
			*s.slot(x) = uint32(id) + 1
		}
	}
	at := s.slot(bits)
	if *at == 0 {
		s.numbers = append(s.numbers, bits)
		*at = uint32(len(s.numbers))
	}
	return *at - 1
}

// slot is where the id of a number stands, or is to stand.
func (s *bubbleScratch) slot(x uint64) *uint32 {
	mask := uint64(len(s.slots) - 1)
	for i := mix(x) & mask; ; i = (i + 1) & mask {
		if at := &s.slots[i]; *at == 0 || s.numbers[*at-1] == x {
			return at
		}
	}
}

// observe counts one vector of a column.
func (s *bubbleScratch) observe(r *bubbleRun, c *bubbleColumn, vec *column.Vector) {
	rows := s.within(vec)
	if rows[selected]+rows[baseline] == 0 {
		return
	}
	c.addType(vec.Type)
	for side, n := range rows {
		c.rows[side] += int64(n)
	}
	ids, n := s.localIDs(vec)
	if s.weights == nil {
		for side := range s.whole {
			s.whole[side] = zeros(s.whole[side], n)
			countRows(s.has[side], ids, s.whole[side])
		}
		settle(s, r, c, vec, s.whole)
		return
	}
	for side := range s.shares {
		s.shares[side] = zeros(s.shares[side], n)
		weighRows(s.has[side], ids, s.weights, s.shares[side])
	}
	settle(s, r, c, vec, s.shares)
}

func zeros[N any](s []N, n int) []N {
	s = resize(s, n)
	clear(s)
	return s
}

// countRows counts the ids of the rows.
func countRows(rows column.Bitmap, ids []uint32, counts []uint32) {
	for w, word := range rows {
		if word == math.MaxUint64 {
			for _, id := range ids[w<<6 : w<<6+64] {
				counts[id]++
			}
			continue
		}
		for ; word != 0; word &= word - 1 {
			counts[ids[w<<6|bits.TrailingZeros64(word)]]++
		}
	}
}

// weighRows adds up the weights of the ids of the rows.
func weighRows(rows column.Bitmap, ids []uint32, weights, counts []float64) {
	for w, word := range rows {
		for ; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			counts[ids[row]] += weights[row]
		}
	}
}

// A block's column with many values gives only those on at least a
// selectedPart-th of its selected rows or a baselinePart-th of the others.
const (
	selectedPart = 256
	baselinePart = 512
)

// settle adds a block's counts by local id to the column.
func settle[N uint32 | float64](s *bubbleScratch, r *bubbleRun, c *bubbleColumn, vec *column.Vector, counts [2][]N) {
	distinct := 0
	var sum [2]float64
	for id := range counts[selected] {
		a, b := counts[selected][id], counts[baseline][id]
		if a != 0 || b != 0 {
			distinct++
			sum[selected] += float64(a)
			sum[baseline] += float64(b)
		}
	}
	c.distinct += int64(distinct)
	for side := range sum {
		c.count[side] += sum[side]
	}
	number := vec.Type == trace.TypeInt || vec.Type == trace.TypeFloat
	if number && c.bars == nil {
		c.bars = new(barCounts)
	}
	least := [2]N{}
	if distinct > r.plan.limits.smallValues {
		least = [2]N{N(sum[selected] / selectedPart), N(sum[baseline] / baselinePart)}
	}
	for id := range counts[selected] {
		a, b := counts[selected][id], counts[baseline][id]
		if a == 0 && b == 0 {
			continue
		}
		count := [2]float64{float64(a), float64(b)}
		if number {
			c.bars.add(s.float(vec, id), count)
		}
		if distinct > r.plan.limits.smallValues && (a == 0 || a < least[selected]) && (b == 0 || b < least[baseline]) {
			c.pruned = true
			continue
		}
		value := s.value(vec, id)
		c.values.add(hashText(value.Text()), value, count)
	}
	c.values.bound(c, r)
}

// value is what a local id stands for; its text aliases the block.
func (s *bubbleScratch) value(vec *column.Vector, id int) trace.Value {
	if vec.IDs != nil {
		return trace.Value{Type: vec.Type, Str: vec.Dict.At(uint32(id))}
	}
	return trace.Value{Type: vec.Type, Num: s.numbers[id]}
}

func (s *bubbleScratch) float(vec *column.Vector, id int) float64 {
	if vec.Type == trace.TypeInt {
		return float64(int64(s.numbers[id]))
	}
	return math.Float64frombits(s.numbers[id])
}

// valueTable holds values by the hash of their canonical text. At 64 bits, and a
// seed of the process's own, two values of a column share one never.
type valueTable struct {
	entries []valueEntry
	slots   []uint32 // open addressing: position+1, 0: free; len is a power of two
	text    int      // bytes of the entries' texts
}

type valueEntry struct {
	hash  uint64
	value trace.Value
	count [2]float64
}

func (t *valueTable) bytes() int64 {
	const entryBytes = 64
	return int64(entryBytes*cap(t.entries) + 4*len(t.slots) + t.text)
}

// add counts a value, copying its text if it is new.
func (t *valueTable) add(hash uint64, v trace.Value, count [2]float64) {
	if 4*(len(t.entries)+1) > 3*len(t.slots) {
		t.index(max(16, 2*len(t.slots)))
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if t.slots[i] == 0 {
			v.Str = strings.Clone(v.Str)
			t.text += len(v.Str)
			t.entries = append(t.entries, valueEntry{hash, v, count})
			t.slots[i] = uint32(len(t.entries))
			return
		}
		e := &t.entries[t.slots[i]-1]
		if e.hash == hash {
			e.count[selected] += count[selected]
			e.count[baseline] += count[baseline]
			if rank(v.Type) < rank(e.value.Type) {
				v.Str = strings.Clone(v.Str)
				t.text += len(v.Str) - len(e.value.Str)
				e.value = v
			}
			return
		}
	}
}

func (t *valueTable) index(slots int) {
	t.slots = make([]uint32, slots)
	mask := uint64(slots - 1)
	for n := range t.entries {
		i := t.entries[n].hash & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = uint32(n) + 1
	}
}

// bound drops the rarer half of the values once they are too many.
func (t *valueTable) bound(c *bubbleColumn, r *bubbleRun) {
	for n := len(t.entries); n > r.plan.limits.tableValues || t.text > r.plan.limits.tableBytes && n > 1; n = len(t.entries) {
		share := func(e *valueEntry) float64 {
			return e.count[selected]*r.perRow(selected) + e.count[baseline]*r.perRow(baseline)
		}
		slices.SortFunc(t.entries, func(a, b valueEntry) int {
			return cmp.Or(cmp.Compare(share(&b), share(&a)), cmp.Compare(a.value.Text(), b.value.Text()))
		})
		clear(t.entries[n/2:])
		t.entries, t.text = t.entries[:n/2], 0
		for i := range t.entries {
			t.text += len(t.entries[i].value.Str)
		}
		t.index(len(t.slots))
		c.pruned = true
	}
}

// perRow is what one row weighs in a share of a side.
func (r *bubbleRun) perRow(side int) float64 {
	if r.total[side].Count == 0 {
		return 0
	}
	return r.scale[side] / r.total[side].Count
}

// recounted is a value whose rows are counted anew.
type recounted struct {
	value trace.Value
	count [2]float64
}

// maxCandidates bounds the values of a column that are counted anew.
const maxCandidates = 96

// recount counts the candidates of the pruned columns over all blocks read.
func (r *bubbleRun) recount(ctx context.Context) error {
	var pruned []*bubbleColumn
	for _, c := range r.columns {
		if c.pruned {
			c.choose(r)
			pruned = append(pruned, c)
		}
	}
	if len(pruned) == 0 {
		return nil
	}
	slices.SortFunc(pruned, func(a, b *bubbleColumn) int { return strings.Compare(a.name, b.name) })
	scratches := make([]bubbleScratch, r.workers)
	counts := make([][][maxCandidates + 1][2]float64, r.workers)
	finders := make([]*finder, len(pruned))
	for i, c := range pruned {
		finders[i] = newFinder(c.fresh)
	}
	for i := range counts {
		counts[i] = make([][maxCandidates + 1][2]float64, len(pruned))
	}
	err := r.eachRead(ctx, func(worker int, b *bubbleBlock) error {
		s := &scratches[worker]
		v := newView(b.Block)
		if err := s.start(v, b, r.weighted); err != nil {
			return err
		}
		for i, c := range pruned {
			if err := ctx.Err(); err != nil {
				return err
			}
			vecs, err := v.key(c.name)
			if err != nil {
				return err
			}
			for _, vec := range vecs {
				s.within(vec)
				finders[i].count(s, vec, &counts[worker][i])
			}
		}
		return nil
	})
	for i, c := range pruned {
		for n := range c.fresh {
			for worker := range counts {
				for side := range c.fresh[n].count {
					c.fresh[n].count[side] += counts[worker][i][n+1][side]
				}
			}
		}
	}
	return err
}

// choose makes candidates of the values that look most frequent on a side or
// most different between them.
func (c *bubbleColumn) choose(r *bubbleRun) {
	chosen := make(map[int]bool)
	order := make([]int, len(c.values.entries))
	for i := range order {
		order[i] = i
	}
	share := func(i, side int) float64 { return c.values.entries[i].count[side] * r.perRow(side) }
	for _, by := range []func(i int) float64{
		func(i int) float64 { return share(i, selected) },
		func(i int) float64 { return share(i, baseline) },
		func(i int) float64 { return math.Abs(share(i, selected) - share(i, baseline)) },
	} {
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(by(b), by(a)), cmp.Compare(c.values.entries[a].value.Text(), c.values.entries[b].value.Text()))
		})
		for _, i := range order[:min(len(order), maxCandidates/3)] {
			if !chosen[i] {
				chosen[i] = true
				c.fresh = append(c.fresh, recounted{value: c.values.entries[i].value})
			}
		}
	}
}

// finder maps values to candidates, numbered from 1.
type finder struct {
	texts  map[string]uint8
	bytes  map[string]uint8
	ints   map[int64]uint8
	floats map[uint64]uint8
}

func newFinder(list []recounted) *finder {
	f := &finder{make(map[string]uint8), make(map[string]uint8), make(map[int64]uint8), make(map[uint64]uint8)}
	for i, c := range list {
		n, text := uint8(i+1), c.value.Text()
		f.texts[text] = n
		f.bytes[valueOfText(trace.TypeBytes, text).Str] = n
		if x, ok := canonicalInt(text); ok {
			f.ints[x] = n
		}
		if x, err := strconv.ParseFloat(text, 64); err == nil && trace.Float(x).Text() == text {
			f.floats[floatKey(x)] = n
		}
	}
	return f
}

// of is the recounted of a row's value, 0 if it is none.
func (f *finder) of(vec *column.Vector, row int) uint8 {
	switch {
	case vec.Type == trace.TypeBool:
		return f.texts[vec.Value(row).Text()]
	case vec.Ints != nil:
		return f.ints[vec.Ints[row]]
	}
	return f.floats[floatKey(vec.Floats[row])]
}

// count adds the rows of a vector to the candidates.
func (f *finder) count(s *bubbleScratch, vec *column.Vector, counts *[maxCandidates + 1][2]float64) {
	var byID []uint8
	if vec.IDs != nil {
		table := f.texts
		if vec.Type == trace.TypeBytes {
			table = f.bytes
		}
		byID = make([]uint8, vec.Dict.Len())
		for id := range byID {
			byID[id] = table[vec.Dict.At(uint32(id))]
		}
	}
	for side, has := range s.has {
		for w, word := range has {
			for ; word != 0; word &= word - 1 {
				row := w<<6 | bits.TrailingZeros64(word)
				var n uint8
				if byID != nil {
					n = byID[vec.IDs[row]]
				} else {
					n = f.of(vec, row)
				}
				if s.weights != nil {
					counts[n][side] += s.weights[row]
				} else {
					counts[n][side]++
				}
			}
		}
	}
}
