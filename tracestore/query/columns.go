package query

import (
	"cmp"
	"context"
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Bounds of the work of [Columns]. It looks at values in the newest blocks only,
// fewer blocks the more columns there are, and in each at some rows spread evenly.
const (
	maxColumnBlocks  = 8
	maxColumnVectors = 512
	maxColumnRows    = 16 << 10
	maxColumnRuns    = 200 // values of one block that compete for the top
	topValues        = 20
	maxTopText       = 200 // bytes: longer values are no help in completion
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

	mu       sync.Mutex
	distinct distinct
	counts   map[string]*ValueCount // by canonical text
}

// Columns describes the columns of the blocks whose name begins with prefix,
// sorted by name, and counts the rows of the environment only (empty or *: all).
// Rows is exact over all blocks without an environment; everything else comes
// from the most recent rows, top values from a sample of them.
func Columns(ctx context.Context, blocks []column.Block, environment, prefix string) ([]ColumnInfo, error) {
	q := &where{}
	if environment != "*" {
		q.environment = environment
	}
	q.from, q.to = minTime, maxTime
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
	recent = recent[:min(len(recent), maxColumnBlocks, max(1, maxColumnVectors/len(all)))]
	err := eachBlock(ctx, max(1, min(runtime.GOMAXPROCS(0), len(recent))), recent, func(_ int, b column.Block) error {
		v := newView(b)
		sel, err := q.selectRows(v)
		if err != nil {
			return err
		}
		for _, c := range all {
			if err := ctx.Err(); err != nil {
				return err
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

// observe counts the values of the selected rows of one block; countRows adds
// them to the rows of the column too.
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
		if countRows {
			c.info.Rows += int64(len(rows))
		}
		for _, r := range runs {
			if vec.Fixed != nil {
				c.distinct.add(r.key) // a hash already
			} else {
				c.distinct.add(hashText(r.value(vec).Text()))
			}
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
	c.info.Distinct = int64(n)
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
