package query

import (
	"context"
	"runtime"
	"sync"

	"redthread/tracestore/column"
)

// pass is one reading of the blocks: what is counted, by which groups.
type pass struct {
	plan    *Plan
	layout  *layout
	frozen  *grouper // the only groups wanted, shared; nil: every worker numbers what it meets
	slots   []uint32 // by group of frozen: where to count
	rest    uint32   // where to count the rows of other groups
	buckets int      // time buckets counted apart: cell slot*buckets+bucket; 1: none
	cells   int      // of a frozen pass, rest included

	// light is the layout to fall back to, without buckets, when a worker meets
	// too many groups to count everything of each; nil: none.
	light *layout
	again sync.Once // when the first worker falls back
}

// maxHeavyCells bounds the cells of a pass that count more than light things.
const maxHeavyCells = 8 << 10

// worker is what one goroutine of a run keeps from block to block.
type worker struct {
	pass    *pass
	grouper *grouper
	groups  *groups
	buckets int
	reader  *groupReader
	numbers []numberColumn
	hashes  []hashReader
	weights weightReader
	starts  []int64 // of the block, where time matters
	ran     []int64 // durations of the block, where they are asked for

	scanned, matched int64
	sampled          bool
	held             int64 // bytes reported to the budget

	rows  []int32
	group []uint32
	other []uint32 // of the rows that have a number
	heavy []float64
	at    []uint32 // time bucket of each row
	later []uint32 // of the rows that have a number
	when  [2][]int64
}

// numberColumn is a column whose numbers go to sums, histograms or both.
type numberColumn struct {
	name      string
	sum, hist int // places in the layout, -1: none
	ends      int
	reader    numberReader
}

func newWorker(p *pass) *worker {
	w := &worker{pass: p, buckets: p.buckets, rows: make([]int32, chunkRows), group: make([]uint32, chunkRows)}
	if p.layout.busy {
		w.when = [2][]int64{make([]int64, chunkRows), make([]int64, chunkRows)}
	}
	if w.grouper = p.frozen; w.grouper == nil {
		w.grouper = newGrouper(p.plan.breakdowns)
	}
	w.reader = newGroupReader(w.grouper)
	w.count(newGroups(p.layout, p.cells))
	return w
}

// count makes the worker count into g.
func (w *worker) count(g *groups) {
	w.groups, w.numbers = g, nil
	column := func(name string) *numberColumn {
		for i := range w.numbers {
			if w.numbers[i].name == name {
				return &w.numbers[i]
			}
		}
		w.numbers = append(w.numbers, numberColumn{name: name, sum: -1, hist: -1, ends: -1})
		return &w.numbers[len(w.numbers)-1]
	}
	for i, name := range g.layout.sums {
		column(name).sum = i
	}
	for i, name := range g.layout.hists {
		column(name).hist = i
	}
	for i, name := range g.layout.ends {
		column(name).ends = i
	}
	w.hashes = make([]hashReader, len(g.layout.distincts))
}

// workerBytes is about what a worker holds before it counts anything, and again
// for each column it reads.
const workerBytes = 24 * chunkRows

func (w *worker) bytes() int64 {
	n := w.groups.bytes() + workerBytes*int64(1+len(w.reader.codes)+len(w.numbers)+len(w.hashes))
	if w.pass.frozen == nil {
		n += w.grouper.bytes()
	}
	return n
}

// deferred reports whether the worker fell back to the light layout.
func (w *worker) deferred() bool { return w.pass.light != nil && w.groups.layout == w.pass.light }

// lighten makes the worker count only what the light layout has, by group.
func (w *worker) lighten() {
	g := newGroups(w.pass.light, w.grouper.len())
	g.fold(w.groups, w.buckets)
	w.buckets = 1
	w.count(g)
}

// fold adds up the buckets of each group of other.
func (g *groups) fold(other *groups, buckets int) {
	for cell := range other.weight {
		if other.has(cell) {
			g.merge(cell/buckets, other, cell)
		}
	}
}

// run reads the blocks with as many workers as there are processors and merges
// what they found.
func (p *pass) run(ctx context.Context, blocks []column.Block, b *budget) (*worker, error) {
	workers := make([]*worker, b.lease.workers(len(blocks)))
	most := p.layout.bytes(p.cells) * int64(len(workers))
	if err := b.add(most); err != nil {
		return nil, err
	}
	for i := range workers {
		workers[i] = newWorker(p)
	}
	if err := b.add(-most); err != nil {
		return nil, err
	}
	err := b.lease.eachBlock(ctx, len(workers), blocks, func(i int, block column.Block) error {
		w := workers[i]
		v := p.plan.where.view(ctx, block, b.add)
		err := w.scan(v)
		w.drop()
		v.release()
		if err != nil {
			return err
		}
		if p.light != nil && !w.deferred() && len(w.groups.weight) > p.plan.heavyCells {
			w.lighten()
			p.again.Do(func() { b.lease.expect(blocks) })
		}
		return b.charge(w)
	})
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		if w.deferred() {
			for _, w := range workers {
				if !w.deferred() {
					w.lighten()
				}
			}
			break
		}
	}
	return mergeWorkers(ctx, workers, b)
}

// scan counts the rows of a block.
func (w *worker) scan(v *view) error {
	w.scanned += int64(v.rows)
	sel, err := w.pass.plan.where.choose(v)
	if err != nil {
		return err
	}
	n := sel.count()
	w.matched += int64(n)
	if n == 0 {
		return nil
	}
	if n == sel.rows {
		sel.bits = nil
	}
	if err := w.open(v); err != nil {
		return err
	}
	return sel.chunks(w.rows, w.add)
}

// open sets the readers to a block.
func (w *worker) open(v *view) error {
	if err := w.reader.open(v); err != nil {
		return err
	}
	l := w.groups.layout
	if w.timed() || l.busy {
		starts, err := v.fixed(column.Start)
		if err != nil {
			return err
		}
		w.starts = starts.Ints
	}
	if l.busy {
		durations, err := v.fixed(column.Duration)
		if err != nil {
			return err
		}
		w.ran = durations.Ints
	}
	for i := range w.numbers {
		c := &w.numbers[i]
		if err := c.reader.open(v, c.name); err != nil {
			return err
		}
		if c.hist >= 0 && c.reader.hasFractions() {
			w.groups.fractions[c.hist] = true
		}
	}
	for i, name := range w.groups.layout.distincts {
		if err := w.hashes[i].open(v, name); err != nil {
			return err
		}
	}
	return w.weights.open(v)
}

// drop lets go of the block.
func (w *worker) drop() {
	for _, c := range w.reader.codes {
		c.vecs = nil
	}
	for i := range w.numbers {
		w.numbers[i].reader.vecs, w.numbers[i].reader.ms = nil, nil
	}
	for i := range w.hashes {
		w.hashes[i].vecs = nil
	}
	w.weights.vecs, w.weights.memos, w.starts, w.ran = nil, nil, nil, nil
}

// timed reports whether rows are counted by the time bucket they start in.
func (w *worker) timed() bool { return w.buckets > 1 || len(w.groups.layout.ends) > 0 }

// add counts the rows of a chunk. It gives way before: whatever else is ready to
// run, ingest above all, would otherwise wait for the 10 ms that Go lets a goroutine
// go on, at each of the half dozen steps that a batch takes.
func (w *worker) add(s rowSet) error {
	runtime.Gosched()
	group := w.group[:s.len()]
	w.reader.read(s, group)
	if w.pass.frozen == nil {
		w.groups.grow(w.grouper.len() * w.buckets)
	} else {
		w.place(group)
	}
	if w.timed() {
		w.bucket(s)
	}
	if w.buckets > 1 {
		for i, at := range w.at {
			group[i] = group[i]*uint32(w.buckets) + at
		}
	}
	weights := w.weights.read(s)
	w.sampled = w.sampled || weights != nil
	w.groups.count(group, weights)
	if w.ran != nil {
		starts, durations := valuesOf(w.when[0], s, w.starts), valuesOf(w.when[1], s, w.ran)
		w.groups.run(w.pass.plan, w.buckets, group, w.at, starts, durations, weights)
	}
	for i := range w.numbers {
		c := &w.numbers[i]
		numbers, at := c.reader.read(s)
		of, heavy := take(&w.other, group, at), take(&w.heavy, weights, at)
		if c.sum >= 0 {
			w.groups.sum(c.sum, of, numbers, heavy)
		}
		if c.ends >= 0 {
			w.groups.rate(c.ends, of, take(&w.later, w.at, at), numbers, heavy)
		}
		if c.hist >= 0 {
			w.groups.spread(c.hist, of, numbers, heavy)
		}
	}
	for i := range w.hashes {
		hashes, at := w.hashes[i].read(s)
		w.groups.tell(i, take(&w.other, group, at), hashes)
	}
	return nil
}

// place turns the group numbers of a frozen grouper into slots.
func (w *worker) place(group []uint32) {
	p := w.pass
	for i, g := range group {
		if g == none {
			group[i] = p.rest
		} else {
			group[i] = p.slots[g]
		}
	}
}

// bucket finds the time bucket of each row.
func (w *worker) bucket(s rowSet) {
	first, step := w.pass.plan.firstNano, w.pass.plan.stepNano
	w.at = resize(w.at, s.len())
	at, from, until := uint32(0), int64(0), int64(0) // from ≤ start-first < until is bucket at; none yet
	for i := range w.at {
		row := s.from + i
		if s.rows != nil {
			row = int(s.rows[i])
		}
		since := w.starts[row] - first
		if since < from || since >= until {
			n := since / step
			at, from = uint32(n), n*step
			until = from + step
		}
		w.at[i] = at
	}
}

// mergeWorkers adds up what the workers found into one of them, in pairs at once.
func mergeWorkers(ctx context.Context, workers []*worker, b *budget) (*worker, error) {
	for len(workers) > 1 {
		half := (len(workers) + 1) / 2
		var wg sync.WaitGroup
		errs := make([]error, half)
		for i := range len(workers) - half {
			wg.Go(func() {
				if errs[i] = ctx.Err(); errs[i] == nil {
					workers[i] = workers[i].merge(workers[half+i])
					errs[i] = b.charge(workers[i])
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return nil, err
			}
		}
		workers = workers[:half]
	}
	return workers[0], nil
}

// merge adds up two workers in one of them.
func (w *worker) merge(other *worker) *worker {
	if len(other.groups.weight) > len(w.groups.weight) {
		w, other = other, w
	}
	w.scanned += other.scanned
	w.matched += other.matched
	w.sampled = w.sampled || other.sampled
	w.held += other.held
	if other.matched == 0 {
		return w
	}
	var numbers []int // by group of the other; nil: the same numbers in both
	if w.pass.frozen == nil {
		numbers = w.grouper.absorb(other.grouper)
		w.groups.grow(w.grouper.len() * w.buckets)
	}
	for cell := range other.groups.weight {
		if !other.groups.has(cell) {
			continue
		}
		to := cell
		if numbers != nil {
			to = numbers[cell/w.buckets]*w.buckets + cell%w.buckets
		}
		if !w.groups.has(to) {
			w.groups.adopt(to, other.groups, cell)
		} else {
			w.groups.merge(to, other.groups, cell)
		}
	}
	w.groups.heap += other.groups.heap
	return w
}
