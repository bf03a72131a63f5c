package query

import (
	"cmp"
	"context"
	"hash/maphash"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Bounds of the work of [Columns]: it asks the statistics of so many of the newest
// blocks, and where those do not say reads the columns of so many of the newest
// rows, in each block at some rows spread evenly.
const (
	maxStatBlocks = 512
	maxReadRows   = 128 << 10
	maxColumnRows = 16 << 10
	maxColumnRuns = 200 // values of one block that compete for the top
	topValues     = 20
	maxTopText    = 200 // bytes: longer values are no help in completion
)

// named are the columns that every row has, under the names people use. Ids and
// lengths of time are not worth listing values of.
var named = []struct {
	name   string
	typ    trace.Type
	values bool
}{
	{durationMS, trace.TypeFloat, false},
	{column.Duration, trace.TypeInt, false},
	{column.Environment, trace.TypeString, true},
	{column.Error, trace.TypeBool, true},
	{isRoot, trace.TypeBool, true},
	{column.Name, trace.TypeString, true},
	{column.Service, trace.TypeString, true},
	{column.Kind, trace.TypeString, true},
	{column.Status, trace.TypeString, true},
	{column.StatusMessage, trace.TypeString, true},
	{column.ParentID, trace.TypeString, false},
	{column.SpanID, trace.TypeString, false},
	{column.TraceID, trace.TypeString, false},
}

// hidden are fixed columns that completion does not offer.
var hidden = map[string]bool{column.Start: true, column.Arrived: true, column.Signal: true}

// columnStats gathers one column. Its goroutines take turns by mu.
type columnStats struct {
	info   ColumnInfo
	values bool

	mu                   sync.Mutex
	distinct             distinct
	counts               map[string]*ValueCount // by canonical text
	sum                  float64                // distinct values of the blocks that list only the top ones
	known, read, skipped int64                  // rows
	// Of the blocks that were read: their distinct values together, and the sum of
	// each one's.
	sampled distinct
	drawn   float64
}

// columnBlock is a block whose columns may be read.
type columnBlock struct {
	column.Block
	read bool
	rows map[column.Info]int // by key and type
}

// Columns describes the columns of the blocks whose name begins with prefix,
// sorted by name, and counts the rows of the environment only (empty or *: all).
// Rows is exact without an environment; the rest comes from what blocks know of
// their columns, and from the newest rows of those that do not know.
func Columns(ctx context.Context, blocks []column.Block, environment, prefix string) ([]ColumnInfo, error) {
	q := &where{from: minTime, to: maxTime}
	if environment != "*" {
		q.environment = environment
	}
	recent := slices.Clone(blocks)
	recent = slices.DeleteFunc(recent, func(b column.Block) bool { return b.Rows() == 0 })
	slices.SortStableFunc(recent, func(a, b column.Block) int {
		_, x := a.Bounds()
		_, y := b.Bounds()
		return cmp.Compare(y, x)
	})
	all := listColumns(recent, prefix, q.environment == "")
	if len(all) == 0 {
		return []ColumnInfo{}, nil
	}
	rows := 0
	for i, b := range recent[:min(len(recent), maxStatBlocks)] {
		rows += b.Rows()
		recent[i] = &columnBlock{Block: b, read: i == 0 || rows <= maxReadRows}
	}
	recent = recent[:min(len(recent), maxStatBlocks)]
	err := eachBlock(ctx, max(1, min(runtime.GOMAXPROCS(0), len(recent))), recent, func(_ int, block column.Block) error {
		b := block.(*columnBlock)
		v := newView(b.Block)
		whole, in := q.holds(v)
		if !in {
			return nil
		}
		b.rows = make(map[column.Info]int)
		for _, info := range b.Columns() {
			b.rows[column.Info{Key: info.Key, Type: info.Type}] = info.Rows
		}
		var sel column.Bitmap // made when a column is read
		for _, c := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			if whole && c.know(b, q.environment != "") {
				continue
			}
			if !b.read {
				c.skip(b.Rows())
				continue
			}
			if sel == nil {
				var err error
				if sel, err = q.selectRows(v); err != nil {
					return err
				}
			}
			vecs, err := v.key(c.info.Name)
			if err != nil {
				return err
			}
			c.observe(vecs, sel, q.environment != "")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]ColumnInfo, 0, len(all))
	for _, c := range all {
		if q.environment != "" && c.info.Rows == 0 {
			continue
		}
		out = append(out, c.finish())
	}
	return out, nil
}

// holds tells of the block's rows whether all are spans of the environment, and
// whether any may be.
func (q *where) holds(v *view) (whole, in bool) {
	env := keepsAll
	if c := q.inEnvironment(); c != nil {
		env = c.verdict(v)
	}
	return env == keepsAll && v.onlySpans(), env != keepsNone
}

// know counts a column of a block from the block's statistics, unless they say
// nothing, or not all and the block may be read; countRows adds its rows too.
func (c *columnStats) know(b *columnBlock, countRows bool) bool {
	name := c.info.Name
	switch name {
	case durationMS, isRoot, column.ParentID:
		return false
	}
	types := b.Types(name)
	stats := make([]column.Stats, len(types))
	for i, t := range types {
		var ok bool
		if stats[i], ok = b.Stats(name, t); !ok || stats[i].Distinct < 0 || b.read && stats[i].Distinct > len(stats[i].Top) {
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, st := range stats {
		rows := int64(b.rows[column.Info{Key: name, Type: types[i]}])
		c.known += rows
		if countRows {
			c.info.Rows += rows
		}
		if st.Distinct > len(st.Top) {
			c.sum += float64(st.Distinct)
		}
		for _, top := range st.Top {
			value := knownValue(name, types[i], top.Text)
			if text := value.Text(); text != "" || name != column.Service {
				c.distinct.add(hashText(text))
				if c.values {
					c.count(value, int64(top.Rows))
				}
			}
		}
	}
	return true
}

// skip notes rows that were not looked at.
func (c *columnStats) skip(rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped += int64(rows)
}

// knownValue is the value that a text of the statistics stands for.
func knownValue(name string, t trace.Type, text string) trace.Value {
	x, whole := canonicalInt(text)
	switch {
	case name == column.Kind:
		return trace.String(kindNames.of(int(x)))
	case name == column.Status:
		return trace.String(statusNames.of(int(x)))
	case t == trace.TypeInt && whole:
		return trace.Int(x)
	}
	return valueOfText(t, text)
}

// expectDistinct is how many values there may be if so many different ones were
// found in so many draws: were all of N equally frequent, n draws would show
// N(1-exp(-n/N)) of them. Where nearly all draws differ there is no limit.
func expectDistinct(found, draws float64) float64 {
	if found > 0.98*draws {
		return math.Inf(1)
	}
	lo, hi := found, 100*draws
	for range 60 {
		mid := (lo + hi) / 2
		if mid*-math.Expm1(-draws/mid) < found {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// listColumns lists the columns by name, with their types.
func listColumns(blocks []column.Block, prefix string, countRows bool) []*columnStats {
	byName := make(map[string]*columnStats)
	rows := 0
	for _, b := range blocks {
		rows += b.Rows()
	}
	fixed := make(map[string]bool, len(named))
	for _, n := range named {
		fixed[n.name] = true
		if strings.HasPrefix(n.name, prefix) && len(blocks) > 0 {
			c := &columnStats{values: n.values, counts: make(map[string]*ValueCount)}
			c.info = ColumnInfo{Name: n.name, Types: []string{n.typ.String()}}
			if countRows {
				c.info.Rows = int64(rows)
			}
			byName[n.name] = c
		}
	}
	for _, b := range blocks {
		for _, i := range b.Columns() {
			if fixed[i.Key] || hidden[i.Key] || !strings.HasPrefix(i.Key, prefix) {
				continue
			}
			c := byName[i.Key]
			if c == nil {
				c = &columnStats{info: ColumnInfo{Name: i.Key}, values: true, counts: make(map[string]*ValueCount)}
				byName[i.Key] = c
			}
			if t := i.Type.String(); !slices.Contains(c.info.Types, t) {
				c.info.Types = append(c.info.Types, t)
			}
			if countRows {
				c.info.Rows += int64(i.Rows)
			}
		}
	}
	out := make([]*columnStats, 0, len(byName))
	for _, c := range byName {
		slices.Sort(c.info.Types)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *columnStats) int { return strings.Compare(a.info.Name, b.info.Name) })
	return out
}

// observe counts the values of the selected rows of one block; countRows adds the
// rows to those of the column too.
func (c *columnStats) observe(vecs []*column.Vector, sel column.Bitmap, countRows bool) {
	for _, vec := range vecs {
		has := slices.Clone(sel)
		if vec.Present != nil {
			for w := range has {
				has[w] &= vec.Present[w]
			}
		}
		rows := rowsOf(has, nil)
		runs := countValues(vec, rows)
		c.mu.Lock()
		c.drawn += float64(len(runs))
		for _, r := range runs {
			hash := r.key // of an id, already
			if vec.Fixed == nil {
				hash = hashText(r.value(vec).Text())
			}
			c.sampled.add(hash)
			c.distinct.add(hash)
		}
		c.read += int64(len(rows))
		if countRows {
			c.info.Rows += int64(len(rows))
		}
		if c.values {
			for _, r := range frequent(runs) {
				c.count(r.value(vec), r.rows)
			}
		}
		c.mu.Unlock()
	}
}

func (c *columnStats) count(v trace.Value, rows int64) {
	t := v.Text()
	if len(t) > maxTopText {
		return
	}
	if have := c.counts[t]; have != nil {
		have.Rows += rows
	} else {
		c.counts[strings.Clone(t)] = &ValueCount{own(v), rows}
	}
}

// run is a value and about how many rows have it.
type run struct {
	key  uint64 // dictionary id, bits of the number, or hash of the id
	rows int64
}

// countValues counts the rows of each value: of all rows where there is a
// dictionary, else of a sample spread evenly.
func countValues(vec *column.Vector, rows []int32) []run {
	var runs []run
	if vec.IDs != nil {
		counts := make([]int64, vec.Dict.Len())
		for _, row := range rows {
			counts[vec.IDs[row]]++
		}
		for id, n := range counts {
			if n > 0 {
				runs = append(runs, run{uint64(id), n})
			}
		}
		return runs
	}
	stride := max(1, len(rows)/maxColumnRows)
	keys := make([]uint64, 0, len(rows)/stride+1)
	for i := 0; i < len(rows); i += stride {
		row := int(rows[i])
		switch {
		case vec.Ints != nil:
			keys = append(keys, uint64(vec.Ints[row]))
		case vec.Floats != nil:
			keys = append(keys, floatKey(vec.Floats[row]))
		case vec.Fixed != nil:
			keys = append(keys, maphash.Bytes(hashSeed, vec.Fixed[row*vec.Width:(row+1)*vec.Width]))
		}
	}
	slices.Sort(keys)
	for i, k := range keys {
		if i == 0 || k != keys[i-1] {
			runs = append(runs, run{key: k})
		}
		runs[len(runs)-1].rows += int64(stride)
	}
	return runs
}

// frequent returns the runs that compete for the top, most rows first. Of many
// values those above the mean are enough.
func frequent(runs []run) []run {
	if len(runs) > maxColumnRuns*16 {
		sum := int64(0)
		for _, r := range runs {
			sum += r.rows
		}
		mean := sum / int64(len(runs))
		runs = slices.DeleteFunc(runs, func(r run) bool { return r.rows <= mean })
	}
	slices.SortFunc(runs, func(a, b run) int { return cmp.Or(cmp.Compare(b.rows, a.rows), cmp.Compare(a.key, b.key)) })
	return runs[:min(len(runs), maxColumnRuns)]
}

func (r run) value(vec *column.Vector) trace.Value {
	if vec.IDs != nil {
		return trace.Value{Type: vec.Type, Str: vec.Dict.At(uint32(r.key))}
	}
	return trace.Value{Type: vec.Type, Num: r.key}
}

func (c *columnStats) finish() ColumnInfo {
	n, _ := c.distinct.count()
	if c.sum > 0 || c.skipped > 0 { // not all values were seen
		found, _ := c.sampled.count()
		most := c.sum
		if c.read > 0 {
			most += found * float64(c.read+c.skipped) / float64(c.read)
		}
		n = max(n, min(expectDistinct(found, c.drawn), most))
	}
	c.info.Distinct = int64(min(n, float64(c.info.Rows)))
	c.info.Top = make([]ValueCount, 0, len(c.counts))
	for _, v := range c.counts {
		c.info.Top = append(c.info.Top, *v)
	}
	slices.SortFunc(c.info.Top, func(a, b ValueCount) int {
		if d := cmp.Compare(b.Rows, a.Rows); d != 0 {
			return d
		}
		return compareValues(a.Value, b.Value)
	})
	c.info.Top = slices.Clip(c.info.Top[:min(len(c.info.Top), topValues)])
	return c.info
}
