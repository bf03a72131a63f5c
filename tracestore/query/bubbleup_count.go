package query

import (
	"context"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"strconv"

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
	// pruned: some values were left out, so the counts of values are low, each by
	// no more than missed.
	pruned bool
	missed [2]float64
	fresh  []recounted // counted anew, if pruned
	// continuous: the numbers are nearly all different, only bars are counted.
	continuous bool
}

// count counts the values of every column in the blocks that are read.
func (r *bubbleRun) count(ctx context.Context) error {
	keys := r.keys()
	return r.countColumns(ctx, func(b *bubbleBlock) []string { return b.names(keys) })
}

// countColumns counts the values of some columns of each block that is read.
func (r *bubbleRun) countColumns(ctx context.Context, names func(b *bubbleBlock) []string) error {
	found := make([]map[string]*bubbleColumn, r.workers)
	scratches := make([]bubbleScratch, r.workers)
	for i := range found {
		found[i] = make(map[string]*bubbleColumn)
	}
	err := r.eachRead(ctx, func(worker int, b *bubbleBlock) error {
		s := &scratches[worker]
		v := r.view(b)
		if err := s.start(v, b, r.weighted); err != nil {
			return err
		}
		for _, name := range names(b) {
			if err := ctx.Err(); err != nil {
				return err
			}
			c := found[worker][name]
			if c == nil {
				c = &bubbleColumn{name: name, continuous: name == durationMS}
				found[worker][name] = c
			}
			before := c.bytes()
			if !s.known(r, c, b) {
				vecs, err := v.compared(name)
				if err != nil {
					return err
				}
				for _, vec := range vecs {
					s.observe(r, c, vec)
				}
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
		c.missed[side] += o.missed[side]
	}
	c.distinct += o.distinct
	c.continuous = c.continuous || o.continuous
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
	found   [2]int64 // rows of each side in the vector counted
	text    []byte
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
	s.numbers, s.slots = s.numbers[:0], s.slots[:0]
}

// number gives a number its local id.
func (s *bubbleScratch) number(bits uint64) uint32 {
	if 2*len(s.numbers) >= len(s.slots) {
		s.slots = zeros(s.slots, max(1<<10, 4*len(s.slots)))
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

// known counts a column of a block from its statistics, where they say as much as
// its rows: every row has the one value, or all rows are on one side and the
// statistics list all values.
func (s *bubbleScratch) known(r *bubbleRun, c *bubbleColumn, b *bubbleBlock) bool {
	types := b.Types(c.name)
	if len(types) != 1 || s.weights != nil || c.continuous || types[0] == trace.TypeBytes {
		return false
	}
	switch c.name { // shown otherwise than they are stored
	case column.Kind, column.Status, column.Service:
		return false
	}
	st, ok := b.Stats(c.name, types[0])
	if !ok || st.Distinct < 1 || st.Distinct != len(st.Top) {
		return false
	}
	all := b.Rows()
	side := selected
	if b.read[baseline] && b.rows[baseline] == all {
		side = baseline
	} else if !b.read[selected] || b.rows[selected] != all {
		if st.Distinct != 1 || st.Top[0].Rows != all {
			return false
		}
	}
	c.addType(types[0])
	c.distinct += int64(st.Distinct)
	for _, top := range st.Top {
		var count [2]float64
		if st.Distinct == 1 && top.Rows == all {
			for i := range count {
				if b.read[i] {
					count[i] = float64(b.rows[i])
				}
			}
		} else {
			count[side] = float64(top.Rows)
		}
		for i, n := range count {
			c.rows[i] += int64(n)
			c.count[i] += n
		}
		v := valueOfText(types[0], top.Text)
		if x, ok := canonicalInt(top.Text); ok && types[0] == trace.TypeInt {
			v = trace.Int(x)
		}
		if f := v.Float(); !math.IsNaN(f) {
			c.addBar(f, count)
		}
		c.values.add(hashText(top.Text), v, count)
	}
	c.values.bound(c, r)
	return true
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
		s.found[side] = int64(n)
	}
	if c.continuous && (vec.Type == trace.TypeInt || vec.Type == trace.TypeFloat) {
		s.observeBars(c, vec)
		return
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

// observeBars counts numbers by bar only.
func (s *bubbleScratch) observeBars(c *bubbleColumn, vec *column.Vector) {
	if c.bars == nil {
		c.bars = new(barCounts)
	}
	for side, has := range s.has {
		for w, word := range has {
			for ; word != 0; word &= word - 1 {
				row := w<<6 | bits.TrailingZeros64(word)
				weight := 1.0
				if s.weights != nil {
					weight = s.weights[row]
				}
				c.count[side] += weight
				var x float64
				if vec.Ints != nil {
					x = float64(vec.Ints[row])
				} else {
					x = vec.Floats[row]
				}
				if !math.IsNaN(x) && !math.IsInf(x, 0) {
					c.bars[barEdges+barOf(x)][side] += weight
				}
			}
		}
	}
}

// addBar counts a number in its bar.
func (c *bubbleColumn) addBar(x float64, count [2]float64) {
	if c.bars == nil {
		c.bars = new(barCounts)
	}
	c.bars.add(x, count)
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
	many := distinct > r.plan.limits.smallValues
	var rows int64
	for _, n := range s.found {
		rows += n
	}
	if number && many && 8*int64(distinct) > 7*rows {
		c.continuous = true
	}
	var least [2]float64
	if many {
		least = [2]float64{sum[selected] / selectedPart, sum[baseline] / baselinePart}
	}
	left := false
	for id := range counts[selected] {
		a, b := counts[selected][id], counts[baseline][id]
		if a == 0 && b == 0 {
			continue
		}
		count := [2]float64{float64(a), float64(b)}
		if number {
			c.addBar(s.float(vec, id), count)
		}
		if many && (a == 0 || count[selected] < least[selected]) && (b == 0 || count[baseline] < least[baseline]) {
			left = true
			continue
		}
		value := s.value(vec, id)
		c.values.add(s.hash(value), value, count)
	}
	if left {
		c.pruned = true
		c.missed[selected] += least[selected]
		c.missed[baseline] += least[baseline]
	}
	c.values.bound(c, r)
}

// hash is that of the value's canonical text.
func (s *bubbleScratch) hash(v trace.Value) uint64 {
	switch v.Type {
	case trace.TypeString, trace.TypeJSON:
		return hashText(v.Str)
	case trace.TypeInt:
		s.text = strconv.AppendInt(s.text[:0], v.Int(), 10)
		return maphash.Bytes(hashSeed, s.text)
	}
	return hashText(v.Text())
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
