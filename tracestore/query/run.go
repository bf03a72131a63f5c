package query

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"redthread/tracestore/column"
)

// worker is what one goroutine of a run keeps from block to block.
type worker struct {
	grouper *grouper
	groups  *groups
	scanned int64
	matched int64
	sampled bool
	held    int64 // bytes reported to the budget

	rows    []int32
	group   []uint32
	scratch []uint32
	weights []float64
}

func (w *worker) bytes() int64 { return w.grouper.bytes() + w.groups.bytes() }

// budget bounds what the workers of a run hold together.
type budget struct {
	limit int64
	held  atomic.Int64
}

func (b *budget) charge(w *worker) error {
	now := w.bytes()
	total := b.held.Add(now - w.held)
	w.held = now
	if total > b.limit {
		return tooMuch(b.limit)
	}
	return nil
}

func tooMuch(limit int64) error {
	return &InvalidError{"breakdowns", fmt.Sprintf(
		"This query makes too many groups: it needs more than %d MiB. Filter more, take a shorter time range, or group by a column with fewer values.", limit>>20)}
}

// Run answers the plan from the blocks, reading them in parallel. It stops soon
// after ctx ends. Stats.Segments counts the blocks read; a caller that knows
// segments puts their number there.
func Run(ctx context.Context, p *Plan, blocks []column.Block) (*Result, error) {
	started := time.Now()
	live := inWindow(&p.where, blocks)
	b := &budget{limit: p.MemoryBytes}

	// Without breakdowns the time buckets are the groups, and their sum is the
	// one group of the answer.
	direct := p.series && len(p.breakdowns) == 0
	n := 1
	if direct {
		n = p.buckets
	}
	workers, err := p.scan(ctx, live, b, n, func(w *worker, n int) {
		w.grouper, w.groups = newGrouper(p.breakdowns), newGroups(&p.layout, n)
	}, direct, false)
	if err != nil {
		return nil, err
	}
	all, err := mergeWorkers(ctx, workers, p.MemoryBytes)
	if err != nil {
		return nil, err
	}
	a := &answer{plan: p, grouper: all.grouper, groups: all.groups}
	if direct {
		a.series, a.places, a.groups = all.groups, []int{0}, newGroups(&p.layout, 1)
		for i := range p.buckets {
			a.groups.merge(0, a.series, i)
		}
		all.groups = a.groups
	}
	a.choose()
	if p.series && !direct && len(a.listed) > 0 {
		if err := a.scanSeries(ctx, live, b); err != nil {
			return nil, err
		}
	}
	r := a.result()
	r.Warnings = append(missing(p.columns(), live), p.notNumbers(live)...)
	r.Warnings = append(r.Warnings, a.warnings(all.sampled)...)
	if r.Warnings == nil {
		r.Warnings = []string{}
	}
	r.Stats = Stats{
		RowsScanned: all.scanned,
		RowsMatched: all.matched,
		Segments:    len(live),
		ElapsedNano: time.Since(started).Nanoseconds(),
		Sampled:     all.sampled,
	}
	return r, nil
}

// inWindow leaves out the blocks that no row of the window can lie in.
func inWindow(q *where, blocks []column.Block) []column.Block {
	live := make([]column.Block, 0, len(blocks))
	for _, b := range blocks {
		if !q.misses(b) {
			live = append(live, b)
		}
	}
	return live
}

// scan reads the blocks with as many workers as there are processors, each made
// ready by start with room for n groups. With buckets, each row counts in the group of its time bucket
// within its group. Frozen groupers drop the rows of other groups.
func (p *Plan) scan(ctx context.Context, blocks []column.Block, b *budget, n int, start func(w *worker, n int), buckets, frozen bool) ([]*worker, error) {
	workers := make([]*worker, max(1, min(runtime.GOMAXPROCS(0), len(blocks))))
	if b.held.Load()+p.layout.bytes(n)*int64(len(workers)) > b.limit {
		return nil, tooMuch(b.limit)
	}
	for i := range workers {
		workers[i] = &worker{}
		start(workers[i], n)
	}
	err := eachBlock(ctx, len(workers), blocks, func(i int, block column.Block) error {
		w := workers[i]
		if err := p.scanBlock(w, block, buckets, frozen); err != nil {
			return err
		}
		return b.charge(w)
	})
	return workers, err
}

// eachBlock calls fn for every block on n goroutines, telling it which, until
// the first error or the end of ctx.
func eachBlock(ctx context.Context, n int, blocks []column.Block, fn func(worker int, b column.Block) error) error {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	fail := func(err error) {
		once.Do(func() { first = err })
		next.Store(int64(len(blocks)))
	}
	for i := range n {
		wg.Go(func() {
			for {
				at := int(next.Add(1)) - 1
				if at >= len(blocks) {
					return
				}
				if err := ctx.Err(); err != nil {
					fail(err)
					return
				}
				if err := fn(i, blocks[at]); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}

func (p *Plan) scanBlock(w *worker, block column.Block, buckets, frozen bool) error {
	v := newView(block)
	w.scanned += int64(v.rows)
	sel, err := p.where.selectRows(v)
	if err != nil {
		return err
	}
	w.rows = rowsOf(sel, w.rows[:0])
	n := len(w.rows)
	w.matched += int64(n)
	if n == 0 {
		return nil
	}
	w.group = resize(w.group, n)
	w.scratch = resize(w.scratch, n)
	if err := w.grouper.encode(v, w.rows, w.group, w.scratch); err != nil {
		return err
	}
	if frozen {
		n = 0
		for i, g := range w.group {
			if g != none {
				w.rows[n], w.group[n] = w.rows[i], g
				n++
			}
		}
		w.rows, w.group = w.rows[:n], w.group[:n]
	}
	if buckets {
		starts, err := v.fixed(column.Start)
		if err != nil {
			return err
		}
		for i, row := range w.rows {
			at := uint32((starts.Ints[row] - p.firstNano) / p.stepNano)
			w.group[i] = w.group[i]*uint32(p.buckets) + at
		}
	} else {
		w.groups.grow(w.grouper.len())
	}
	weights, err := sampleRates(v, w.rows, &w.weights)
	if err != nil {
		return err
	}
	w.sampled = w.sampled || weights != nil
	return w.groups.update(v, &batch{w.rows, w.group, weights})
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// mergeWorkers adds up what the workers found into one of them.
func mergeWorkers(ctx context.Context, workers []*worker, limit int64) (*worker, error) {
	to := workers[0]
	for _, w := range workers[1:] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(w.groups.weight) > len(to.groups.weight) {
			to, w = w, to
		}
		to.scanned += w.scanned
		to.matched += w.matched
		to.sampled = to.sampled || w.sampled
		if w.matched == 0 {
			continue
		}
		if len(to.grouper.coders) == 0 || to.grouper.coders[0].frozen { // the same numbers in both
			for i, weight := range w.groups.weight {
				if weight != 0 {
					to.groups.merge(i, w.groups, i)
				}
			}
			continue
		}
		numbers := to.grouper.absorb(w.grouper)
		to.groups.grow(to.grouper.len())
		for i, weight := range w.groups.weight {
			if weight != 0 {
				to.groups.merge(numbers[i], w.groups, i)
			}
		}
		if to.bytes() > limit {
			return nil, tooMuch(limit)
		}
	}
	return to, nil
}
