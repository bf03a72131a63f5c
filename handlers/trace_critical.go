package handlers

import (
	"cmp"
	"slices"

	"redthread/tracestore/trace"
)

// stretch is a part of a row's time, in nanoseconds since the epoch.
type stretch struct{ from, to int64 }

// criticalPath is what the trace waited for: for each row, the stretches in
// which finishing it sooner would have finished the root sooner. Going back from
// the root's end, it is always the child that finished last; where none runs,
// the span itself. Children that outlive their parent count up to its end, work
// handed over by a message does not count: nobody waited for it. (The same
// notion as in Jaeger and in CRISP, Zhang et al., USENIX ATC 2022.)
func (t *traceTree) criticalPath() map[int][]stretch {
	path := map[int][]stretch{}
	root := t.main()
	if root < 0 {
		return path
	}
	type task struct {
		row int
		stretch
	}
	tasks := []task{{root, stretch{t.rows[root].startNano, t.rows[root].endNano}}}
	for len(tasks) > 0 {
		at := tasks[len(tasks)-1]
		tasks = tasks[:len(tasks)-1]
		var children []int
		for c := at.row + 1; c < t.rows[at.row].end; c = t.rows[c].end {
			if s := t.rows[c].span; s != nil && s.Kind != trace.KindConsumer {
				children = append(children, c)
			}
		}
		slices.SortFunc(children, func(a, b int) int { return cmp.Compare(t.rows[b].endNano, t.rows[a].endNano) })
		now := at.to
		for _, c := range children {
			child := stretch{max(t.rows[c].startNano, at.from), min(t.rows[c].endNano, at.to)}
			if child.to > now || child.from >= child.to {
				continue // it ran beside another that finished later, or outside
			}
			if child.to < now {
				path[at.row] = append(path[at.row], stretch{child.to, now})
			}
			tasks = append(tasks, task{c, child})
			now = child.from
		}
		if now > at.from {
			path[at.row] = append(path[at.row], stretch{at.from, now})
		}
	}
	return path
}
