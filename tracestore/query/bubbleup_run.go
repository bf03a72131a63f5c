package query

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"redthread/tracestore/column"
)

// The two sides of a comparison.
const (
	selected = 0
	baseline = 1
)

// bubbleBlock is a block with the rows of each side.
type bubbleBlock struct {
	column.Block
	sides [2]column.Bitmap
	rows  [2]int
	count [2]float64 // rows by weight
	// squares is the sum of the squared weights.
	squares [2]float64
	read    [2]bool // whether the side's values are counted in this block
}

// RunBubbleUp answers the plan from the blocks, reading them in parallel. It
// stops soon after ctx ends. First the filters find the rows of both sides in
// every block. Then each column of the blocks to read is counted and set aside
// again, one at a time, so that little is held however many there are. Columns
// with very many values keep candidates only; a third pass counts these anew.
func RunBubbleUp(ctx context.Context, p *BubblePlan, blocks []column.Block) (*BubbleUpResult, error) {
	started := time.Now()
	live := p.where.live(blocks)
	r := &bubbleRun{plan: p, workers: p.Lease.workers(len(live))}
	resolved, err := p.where.resolve(ctx, p.Threads, p.Lease, blocks, live, r.charge)
	if err != nil {
		return nil, err
	}
	if resolved != nil {
		of := *p
		of.where.resolved = resolved
		r.plan = &of
	}
	if err := r.divide(ctx, live); err != nil {
		return nil, err
	}
	r.choose()
	if r.total[selected].Rows > 0 {
		if err := r.count(ctx); err != nil {
			return nil, err
		}
		if err := r.recount(ctx); err != nil {
			return nil, err
		}
	}
	around, told, err := r.around(ctx, blocks)
	if err != nil {
		return nil, err
	}
	out := r.result(around)
	out.Warnings = append(out.Warnings, told...)
	out.Warnings = append(out.Warnings, p.where.missing(p.columns(), blocks)...)
	out.Warnings = append(out.Warnings, resolved.told()...)
	for _, b := range live {
		out.Stats.RowsScanned += int64(b.Rows())
	}
	out.Stats.Segments = segments(live)
	out.Stats.RowsMatched = out.Selection.Rows + out.Baseline.Rows
	out.Stats.ElapsedNano = time.Since(started).Nanoseconds()
	return out, nil
}

// bubbleRun is one run of a plan.
type bubbleRun struct {
	plan    *BubblePlan
	workers int
	blocks  []*bubbleBlock // with rows of either side, by time
	total   [2]Side
	// kish is the number of rows that the sides' shares are as certain as, scale
	// what a count read stands for.
	kish, scale [2]float64
	weighted    bool
	columns     map[string]*bubbleColumn
	skipped     int         // keys on too few rows to matter
	resolved    *resolution // of columns of other spans; nil: none are counted
	held        atomic.Int64
}

// divide finds the rows of both sides.
func (r *bubbleRun) divide(ctx context.Context, live []column.Block) error {
	found := make([][]*bubbleBlock, r.workers)
	r.plan.Lease.expect(live)
	err := r.plan.Lease.eachBlock(ctx, r.workers, live, func(worker int, b column.Block) error {
		v := r.plan.where.view(ctx, b, r.charge)
		defer v.release()
		all, err := r.plan.where.selectRows(v)
		if err != nil {
			return err
		}
		bb := &bubbleBlock{Block: b}
		bb.sides[selected], err = r.plan.selectedOf(v, all)
		if err != nil {
			return err
		}
		for w, word := range bb.sides[selected] {
			all[w] &^= word
		}
		bb.sides[baseline] = all
		weights, err := rowWeights(v, bb)
		if err != nil {
			return err
		}
		for side := range bb.sides {
			bb.rows[side] = bb.sides[side].Count()
			bb.count[side], bb.squares[side] = float64(bb.rows[side]), float64(bb.rows[side])
			if weights != nil {
				bb.count[side], bb.squares[side] = 0, 0
				for _, row := range rowsOf(bb.sides[side], nil) {
					bb.count[side] += weights[row]
					bb.squares[side] += weights[row] * weights[row]
				}
			}
		}
		if bb.rows[selected]+bb.rows[baseline] > 0 {
			found[worker] = append(found[worker], bb)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.blocks = slices.Concat(found...)
	slices.SortStableFunc(r.blocks, func(a, b *bubbleBlock) int {
		aMin, aMax := a.Bounds()
		bMin, bMax := b.Bounds()
		return cmp.Or(cmp.Compare(aMin, bMin), cmp.Compare(aMax, bMax), cmp.Compare(a.Rows(), b.Rows()))
	})
	for _, b := range r.blocks {
		for side := range r.total {
			r.total[side].Rows += int64(b.rows[side])
			r.total[side].Count += b.count[side]
			r.weighted = r.weighted || b.count[side] != float64(b.rows[side])
		}
	}
	return nil
}

// selectedOf returns the rows of all that belong to the selection.
func (p *BubblePlan) selectedOf(v *view, all column.Bitmap) (column.Bitmap, error) {
	sel := slices.Clone(all)
	if lo, hi := v.block.Bounds(); lo < p.from || hi >= p.to {
		start, err := v.fixed(column.Start)
		if err != nil {
			return nil, err
		}
		for _, row := range rowsOf(all, nil) {
			if t := start.Ints[row]; t < p.from || t >= p.to {
				sel.Clear(int(row))
			}
		}
	}
	for i := range p.filters {
		if err := p.filters[i].apply(v, sel); err != nil {
			return nil, err
		}
	}
	return sel, nil
}

// rowWeights returns the weight of each row of the block; nil if all are 1.
func rowWeights(v *view, b *bubbleBlock) ([]float64, error) {
	either := column.NewBitmap(v.rows)
	for w := range either {
		either[w] = b.sides[selected][w] | b.sides[baseline][w]
	}
	rows := rowsOf(either, nil)
	var buf []float64
	weights, err := sampleRates(v, rows, &buf)
	if err != nil || weights == nil {
		return nil, err
	}
	byRow := make([]float64, v.rows)
	for i, row := range rows {
		byRow[row] = weights[i]
	}
	return byRow, nil
}

// choose decides which blocks are read: all of them if they are few rows, else
// for each side blocks spread evenly over time, the same in every run.
func (r *bubbleRun) choose() {
	rows := 0
	for _, b := range r.blocks {
		rows += b.Rows()
	}
	for side := range r.total {
		var with []*bubbleBlock
		sideRows := 0
		for _, b := range r.blocks {
			if b.rows[side] > 0 {
				with = append(with, b)
				sideRows += b.Rows()
			}
		}
		share := 1.0
		if !r.plan.exact && rows > r.plan.limits.exactRows {
			share = float64(r.plan.limits.readRows) / float64(max(1, sideRows))
		}
		r.spread(side, with, share, func(b *bubbleBlock) int { return b.Rows() })
	}
}

// spread reads a share of the blocks for a side, by their sizes.
func (r *bubbleRun) spread(side int, blocks []*bubbleBlock, share float64, size func(b *bubbleBlock) int) {
	var read, squares float64
	debt := 0.0 // what ought to have been read by now
	for i, b := range blocks {
		n := float64(size(b))
		debt += share * n
		if share < 1 && debt < n/2 && (i < len(blocks)-1 || read > 0) {
			continue
		}
		debt -= n
		b.read[side] = true
		r.total[side].RowsRead += int64(b.rows[side])
		read += b.count[side]
		squares += b.squares[side]
	}
	r.total[side].Sampled = r.total[side].RowsRead < r.total[side].Rows
	if read > 0 {
		r.kish[side] = read * read / squares
		r.scale[side] = r.total[side].Count / read
	}
}

var tooMuchToCompare = &InvalidError{"query", "The comparison needs more memory than a query may have. Filter more or take a shorter time range."}

// charge counts memory held against the plan's bound.
func (r *bubbleRun) charge(bytes int64) error {
	if r.plan.Lease == nil && r.held.Add(bytes) > r.plan.MemoryBytes {
		return tooMuchToCompare
	}
	err := r.plan.Lease.hold(bytes)
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return tooMuchToCompare
	}
	return err
}

// eachRead calls fn for every block that is read.
func (r *bubbleRun) eachRead(ctx context.Context, fn func(worker int, b *bubbleBlock) error) error {
	var list []column.Block
	for _, b := range r.blocks {
		if b.read[selected] || b.read[baseline] {
			list = append(list, b)
		}
	}
	r.plan.Lease.expect(list)
	return r.plan.Lease.eachBlock(ctx, r.workers, list, func(worker int, b column.Block) error { return fn(worker, b.(*bubbleBlock)) })
}
