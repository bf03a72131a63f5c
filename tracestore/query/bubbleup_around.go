package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"redthread/tracestore/column"
)

// AroundColumns are the columns of other spans that every comparison looks at: why
// are these jobs slow? They come from this endpoint.
var AroundColumns = []string{"origin.service.name", "origin.name", "origin.http.route", "origin.user.id"}

// aroundColumns adds those that a query names.
func aroundColumns(named []string) []string {
	out := slices.Clone(AroundColumns)
	for _, name := range scopedOf(named) {
		if s, _ := cutScope(name); !s.inFilters() && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// aroundRows are how many rows of each side are looked around at most, one number
// after the other while it takes too much (0.4 s of a processor for a million rows), and
// aroundApart those whose traces have to be read.
var aroundRows = []int{1 << 19, 1 << 16}

const aroundApart = 1 << 18

// around compares the columns of other spans, over fewer rows than the others if
// there are many.
func (r *bubbleRun) around(ctx context.Context, blocks []column.Block) (out []Difference, told []string, err error) {
	if r.plan.Threads == nil || r.total[selected].Rows == 0 {
		return nil, nil, nil
	}
	for _, most := range aroundRows {
		of, err := r.lookAround(ctx, blocks, most)
		var invalid *InvalidError
		var busy *BusyError
		if errors.As(err, &invalid) || errors.As(err, &busy) {
			continue // the rest is answered
		}
		if err != nil {
			return nil, nil, err
		}
		defer of.resolved.drop()
		if of.total[selected].RowsRead < r.total[selected].RowsRead || of.total[baseline].RowsRead < r.total[baseline].RowsRead {
			told = append(told, fmt.Sprintf("What is said of other spans (%s, …) is of %d rows of the selection and %d of the others, in whole blocks spread evenly over time.",
				r.plan.around[0], of.total[selected].RowsRead, of.total[baseline].RowsRead))
		}
		for _, c := range of.columns {
			if c.rows[selected]+c.rows[baseline] > 0 {
				out = append(out, of.difference(c))
			}
		}
		return out, told, nil
	}
	return nil, []string{"Where the rows began (" + r.plan.around[0] + ", …) was not compared: it needs more memory or time than a comparison may have. Select fewer rows."}, nil
}

// lookAround counts the columns of other spans for so many rows of each side.
func (r *bubbleRun) lookAround(ctx context.Context, blocks []column.Block, most int) (*bubbleRun, error) {
	of := &bubbleRun{plan: r.plan, workers: r.workers, weighted: r.weighted}
	for _, b := range r.blocks {
		if b.read[selected] || b.read[baseline] {
			same := *b
			same.read = [2]bool{}
			of.blocks = append(of.blocks, &same)
		}
	}
	for side := range of.total {
		of.total[side] = Side{Rows: r.total[side].Rows, Count: r.total[side].Count}
		var with []*bubbleBlock
		rows := 0
		for _, b := range of.blocks {
			if b.rows[side] > 0 {
				with, rows = append(with, b), rows+b.rows[side]
			}
		}
		of.spread(side, with, float64(most)/float64(max(1, rows)), func(b *bubbleBlock) int { return b.rows[side] })
	}
	w := &where{fields: r.plan.where.fields, scoped: r.plan.around, from: r.plan.where.from, to: r.plan.where.to,
		anySignal: r.plan.where.anySignal, maxApart: aroundApart}
	res := w.newResolution(r.plan.Threads, r.plan.Lease, blocks, r.charge)
	for _, b := range of.blocks {
		if b.read[selected] || b.read[baseline] {
			res.live = append(res.live, b)
		}
	}
	res.choose = func(v *view) (column.Bitmap, error) { return v.block.(*bubbleBlock).readRows(), nil }
	err := res.collect(ctx)
	if err == nil {
		err = res.lookUp(ctx)
	}
	if err == nil {
		of.resolved = res
		err = of.countColumns(ctx, func(*bubbleBlock) []string { return r.plan.around })
	}
	if err == nil {
		err = of.recount(ctx)
	}
	if err != nil {
		res.drop()
		return nil, err
	}
	return of, nil
}

// readRows are the rows of the block that are counted.
func (b *bubbleBlock) readRows() column.Bitmap {
	rows := make(column.Bitmap, len(b.sides[selected]))
	for side, sel := range b.sides {
		if b.read[side] {
			for w := range rows {
				rows[w] |= sel[w]
			}
		}
	}
	return rows
}

// view is a block whose columns are counted.
func (r *bubbleRun) view(b *bubbleBlock) *view {
	v := newView(b.Block)
	if r.resolved != nil {
		v.resolved, v.selected = r.resolved, b.readRows()
	}
	return v
}

// compared returns the vectors of a column: of another span, or as it is stored.
func (v *view) compared(name string) ([]*column.Vector, error) {
	if s, rest := cutScope(name); s != noScope && v.resolved != nil {
		return v.scopedVectors(s, rest, v.selected)
	}
	return v.key(name)
}

// drop gives back what a resolution holds.
func (r *resolution) drop() {
	_ = r.hold(-r.held) // giving back is no reason to stop
	r.held = 0
}

// news leaves out of the columns of other spans those that say what a row's own
// column does: where most rows are the beginning themselves.
func news(around, own []Difference) []Difference {
	byName := make(map[string]*Difference, len(own))
	for i := range own {
		byName[own[i].Name] = &own[i]
	}
	out := make([]Difference, 0, len(around))
	for _, d := range around {
		_, rest := cutScope(d.Name)
		if o := byName[rest]; o == nil || !alike(o.Best, d.Best) || strings.HasPrefix(d.Name, scopePrefixes[scopeRipple]) {
			out = append(out, d)
		}
	}
	return out
}

// alike reports whether two statements hold alike.
func alike(a, b *Statement) bool {
	if a == nil || b == nil {
		return a == b
	}
	near := func(x, y float64) bool { return math.Abs(x-y) < 1e-3 }
	return a.Op == b.Op && a.Value.Text() == b.Value.Text() && near(a.Selection, b.Selection) && near(a.Baseline, b.Baseline)
}
