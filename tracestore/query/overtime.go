package query

import "math"

// ends is what a RATE needs of one group: the numbers of the first time bucket
// that has one and those of the last. The change from one to the other is the sum
// of all changes from bucket to bucket.
type ends struct {
	first, last struct {
		bucket int32
		summary
	}
}

func (e *ends) add(bucket int32, x, w float64) {
	if e.first.weight == 0 {
		e.first.bucket, e.last.bucket = bucket, bucket
	}
	switch {
	case bucket < e.first.bucket:
		e.first.bucket, e.first.summary = bucket, summary{}
		fallthrough
	case bucket == e.first.bucket:
		e.first.add(x, w)
	}
	switch {
	case bucket > e.last.bucket:
		e.last.bucket, e.last.summary = bucket, summary{}
		fallthrough
	case bucket == e.last.bucket:
		e.last.add(x, w)
	}
}

func (e *ends) merge(o *ends) {
	if o.first.weight == 0 {
		return
	}
	if e.first.weight == 0 {
		*e = *o
		return
	}
	switch {
	case o.first.bucket < e.first.bucket:
		e.first = o.first
	case o.first.bucket == e.first.bucket:
		e.first.merge(&o.first.summary)
	}
	switch {
	case o.last.bucket > e.last.bucket:
		e.last = o.last
	case o.last.bucket == e.last.bucket:
		e.last.merge(&o.last.summary)
	}
}

// change is by how much a sum, average or maximum of the last bucket is above that
// of the first; false if there are not two buckets.
func (e *ends) change(k opKind) (float64, bool) {
	if e.first.weight == 0 || e.first.bucket == e.last.bucket {
		return 0, false
	}
	return e.last.of(k) - e.first.of(k), true
}

// of is the value of an operator over what was summed up.
func (s *summary) of(k opKind) float64 {
	switch k {
	case opSum, opRateSum:
		return s.sum
	case opAvg, opRateAvg:
		return s.sum / s.weight
	case opMin:
		return s.min
	}
	return s.max
}

// rate adds numbers to a column of ends.
func (g *groups) rate(column int, group, bucket []uint32, numbers, weights []float64) {
	acc, w := g.ends[column], 1.0
	for i, x := range numbers {
		if weights != nil {
			w = weights[i]
		}
		acc[group[i]].add(int32(bucket[i]), x, w)
	}
}

// run adds the time that spans ran within the plan's window: to the cell of each
// bucket that they ran in, or if there are no buckets to their group.
func (g *groups) run(p *Plan, buckets int, cells, bucket []uint32, starts, durations []int64, weights []float64) {
	w := 1.0
	for i, start := range starts {
		if weights != nil {
			w = weights[i]
		}
		end := p.where.to
		if d := durations[i]; d < end-start {
			end = start + max(d, 0)
		}
		if buckets == 1 {
			g.busy[cells[i]] += w * float64(end-start)
			continue
		}
		cell := cells[i]
		for at := int64(bucket[i]); ; at++ {
			next := min(end, p.firstNano+(at+1)*p.stepNano)
			g.busy[cell] += w * float64(next-start)
			if start = next; start >= end {
				break
			}
			cell++
		}
	}
}

// width is how much of a time bucket lies in the window, nanoseconds; of all of
// them if bucket is negative.
func (p *Plan) width(bucket int) float64 {
	from, to := p.where.from, p.where.to
	if bucket >= 0 {
		begin := p.firstNano + int64(bucket)*p.stepNano
		from, to = max(from, begin), min(to, begin+p.stepNano)
	}
	return math.Max(1, float64(to)-float64(from))
}
