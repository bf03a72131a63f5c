package query

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// budget bounds what a run holds.
type budget struct {
	limit int64
	lease *Lease
	held  atomic.Int64
}

// add says that the run holds so many bytes more, or fewer.
func (b *budget) add(bytes int64) error {
	if held := b.held.Add(bytes); bytes > 0 && held > b.limit {
		return tooMuch(b.limit)
	}
	return b.lease.hold(bytes)
}

// charge brings up to date what a worker holds.
func (b *budget) charge(w *worker) error {
	now := w.bytes()
	more := now - w.held
	w.held = now
	return b.add(more)
}

// Run answers the plan from the blocks, reading them in parallel. It stops soon
// after ctx ends.
func Run(ctx context.Context, p *Plan, blocks []column.Block) (*Result, error) {
	started := time.Now()
	live := p.where.live(blocks)
	b := &budget{limit: p.MemoryBytes, lease: p.Lease}
	if p.Lease != nil {
		b.limit = math.MaxInt64 // the pool's
	}
	resolved, err := p.where.resolve(ctx, p.Threads, p.Lease, blocks, live, b.add)
	if err != nil {
		return nil, err
	}
	if resolved != nil {
		of := *p
		of.where.resolved = resolved
		p = &of
	}
	buckets := 1
	if p.series {
		buckets = p.buckets
	}
	first := &pass{plan: p, layout: &p.layout, buckets: buckets, cells: buckets, light: p.light()}
	p.Lease.expect(live)
	all, err := first.run(ctx, live, b)
	if err != nil {
		return nil, err
	}
	a := &answer{plan: p, grouper: all.grouper, groups: all.groups}
	if all.buckets > 1 {
		a.groups = newGroups(&p.layout, all.grouper.len())
		a.groups.fold(all.groups, all.buckets)
	}
	a.choose()
	if all.deferred() {
		err = a.measure(ctx, live, b)
	} else {
		err = a.gather(all, b)
	}
	if err == nil && p.series {
		err = b.add(a.pointBytes())
	}
	if err != nil {
		return nil, err
	}
	r := a.result()
	window := inWindow(&p.where, blocks)
	r.Warnings = append(p.where.missing(p.columns(), window), p.notNumbers(window)...)
	r.Warnings = append(r.Warnings, a.warnings(all.sampled)...)
	r.Warnings = append(r.Warnings, resolved.told()...)
	if r.Warnings == nil {
		r.Warnings = []string{}
	}
	r.Stats = Stats{
		RowsScanned: all.scanned,
		RowsMatched: all.matched,
		Segments:    segments(live),
		ElapsedNano: time.Since(started).Nanoseconds(),
		Sampled:     all.sampled,
	}
	return r, nil
}

// light is the layout that choosing the groups of the answer needs, if the whole
// one takes much more and so is better left to a second reading of the blocks,
// when there are many groups; else nil.
func (p *Plan) light() *layout {
	if len(p.breakdowns) == 0 {
		return nil
	}
	var needed []int
	for _, o := range p.orders {
		if o.calculation >= 0 {
			needed = append(needed, o.calculation)
		}
	}
	for _, h := range p.havings {
		needed = append(needed, h.calculation)
	}
	l := p.only(needed)
	if !p.series && len(l.hists) == len(p.layout.hists) && len(l.distincts) == len(p.layout.distincts) {
		return nil
	}
	return l
}

// gather sorts what the only reading of the blocks found into the slots of the
// answer.
func (a *answer) gather(all *worker, b *budget) error {
	p := a.plan
	cells := len(a.listed) + 2
	if p.series {
		cells += len(a.listed) * all.buckets
	}
	if err := b.add(p.layout.bytes(cells)); err != nil {
		return err
	}
	slot := a.slots(len(a.groups.weight))
	n := len(a.listed) + 2
	if p.series {
		a.series = newGroups(&p.layout, len(a.listed)*all.buckets)
	}
	a.final = newGroups(&p.layout, n)
	for g := range a.groups.weight {
		if !a.groups.has(g) {
			continue
		}
		to := int(slot[g])
		if p.series && to < len(a.listed) {
			for t := range all.buckets {
				if cell := g*all.buckets + t; cell < len(all.groups.weight) && all.groups.has(cell) {
					a.series.adopt(to*all.buckets+t, all.groups, cell)
				}
			}
		}
		if !a.final.has(to) {
			a.final.adopt(to, a.groups, g)
		} else {
			a.final.merge(to, a.groups, g)
		}
	}
	return nil
}

// pointBytes is about the memory that the points of the series take as a result.
func (a *answer) pointBytes() int64 {
	const pointBytes, valueBytes = 400, 100
	points := int64(0)
	for cell := range len(a.listed) * a.plan.buckets {
		points += int64(b2u(a.series.has(cell)))
	}
	return points * int64(pointBytes+valueBytes*(len(a.plan.calculations)+len(a.plan.breakdowns)))
}

// slots tells for each group of n where it stands in the answer: its place in
// listed, then that of the groups beyond the limit, then that of the groups left
// out by a having.
func (a *answer) slots(n int) []uint32 {
	slot := make([]uint32, n)
	for g := range slot {
		slot[g] = uint32(len(a.listed) + 1)
	}
	for i, g := range a.listed {
		slot[g] = uint32(i)
	}
	for _, g := range a.beyond {
		slot[g] = uint32(len(a.listed))
	}
	return slot
}

// measure reads the blocks again, for all calculations of the groups listed and
// of the others together.
func (a *answer) measure(ctx context.Context, blocks []column.Block, b *budget) error {
	p := a.plan
	second := &pass{plan: p, layout: &p.layout, buckets: 1, rest: uint32(len(a.listed))}
	if p.series {
		second.buckets = p.buckets
	}
	second.cells = (len(a.listed) + 2) * second.buckets
	if len(p.havings) > 0 {
		a.grouper.freeze()
		second.frozen, second.slots = a.grouper, a.slots(a.grouper.len())
	} else {
		// Few groups are found faster among themselves.
		second.frozen = newGrouper(p.breakdowns)
		at := make([]int, len(a.listed))
		for i, g := range a.listed {
			at[i] = second.frozen.group(a.grouper.values(g))
		}
		second.slots = slices.Repeat([]uint32{second.rest}, second.frozen.len())
		for i, g := range at {
			second.slots[g] = uint32(i)
		}
		second.frozen.freeze()
	}
	all, err := second.run(ctx, blocks, b)
	if err != nil {
		return err
	}
	a.final = all.groups
	if p.series {
		a.series = all.groups
		a.final = newGroups(&p.layout, len(a.listed)+2)
		a.final.fold(all.groups, p.buckets)
	}
	return nil
}

// values returns the breakdown values of the listed groups.
func (a *answer) values() [][]trace.Value {
	out := make([][]trace.Value, len(a.listed))
	for i, g := range a.listed {
		out[i] = a.grouper.values(g)
	}
	return out
}

// segments counts the segments that the blocks lie in. A block of a segment tells
// which one it is; one of a memtable lies in none.
func segments(blocks []column.Block) int {
	seen := make(map[uint64]bool)
	for _, b := range blocks {
		if b, ok := b.(interface{ Segment() uint64 }); ok {
			seen[b.Segment()] = true
		}
	}
	return len(seen)
}
