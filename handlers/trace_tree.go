package handlers

import (
	"cmp"
	"slices"
	"strconv"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// traceTree is one trace in the order of its waterfall: every span stands
// before its children, siblings by start. Spans whose parent is absent hang
// under a row for that parent, so nothing that arrived is left out.
type traceTree struct {
	rows       []treeRow
	startNano  int64 // where the time axis begins: at the earliest span of the part shown
	extentNano int64 // from there to its end, at least 1
	parts      []timePart
	part       int // the part shown
	mainPart   int
	spans      int // rows that are spans
	errors     int
	roots      int // spans without a parent id
	missing    []trace.SpanID
	services   []string // by first appearance in the waterfall
}

// treeRow is one row: a span, or the parent that some spans name and that never
// arrived (span is nil then, and missing its id).
type treeRow struct {
	span    *trace.Span
	missing trace.SpanID
	depth   int
	parent  int // row index, -1 at the top
	end     int // the row's subtree is rows[i:end]
	errors  int // erroneous spans below the row, without itself
	half    int // 0, or 1… for a further span that has the same id
	circle  bool
	// startNano and endNano are the span's own; for a missing parent those
	// of what hangs under it.
	startNano, endNano int64
}

// id is the span id the row stands for.
func (r *treeRow) id() trace.SpanID {
	if r.span == nil {
		return r.missing
	}
	return r.span.SpanID
}

// key names the row within its trace, in URLs and in the page: its span id,
// ".1" after it for the further half of a span shared by client and server, and
// a "~" before the id of a parent that never arrived.
func (r *treeRow) key() string {
	switch {
	case r.span == nil:
		return "~" + r.missing.String()
	case r.half > 0:
		return r.span.SpanID.String() + "." + strconv.Itoa(r.half)
	}
	return r.span.SpanID.String()
}

// newTraceTree arranges the spans of one trace. It accepts whatever senders
// make: several roots, parents that never arrived, ids shared by client and
// server, spans that are their own parent and circles of parents.
func newTraceTree(spans []trace.Span) *traceTree {
	t := &traceTree{spans: len(spans)}
	if len(spans) == 0 {
		t.parts = []timePart{{from: 0, to: 1}}
		t.usePart(0)
		return t
	}
	// Nodes are the spans, then one for each absent parent.
	type node struct {
		parent   int // -1: top
		children []int
		missing  trace.SpanID
		start    int64
	}
	family := graph.Arrange(spans)
	nodes := make([]node, len(spans), len(spans)+8)
	absent := map[trace.SpanID]int{}
	for i := range spans {
		s := &spans[i]
		nodes[i] = node{parent: -1, start: s.StartUnixNano}
		switch p := family.Parent[i]; p {
		case graph.Root:
			t.roots++
		case graph.Circle:
		case graph.Absent:
			at, ok := absent[s.ParentID]
			if !ok {
				at = len(nodes)
				absent[s.ParentID] = at
				nodes = append(nodes, node{parent: -1, missing: s.ParentID, start: s.StartUnixNano})
				t.missing = append(t.missing, s.ParentID)
			}
			nodes[i].parent = at
			nodes[at].start = min(nodes[at].start, s.StartUnixNano)
		default:
			nodes[i].parent = int(p)
		}
	}

	var top []int
	for i := range nodes {
		if p := nodes[i].parent; p >= 0 {
			nodes[p].children = append(nodes[p].children, i)
		} else {
			top = append(top, i)
		}
	}
	length := func(i int) int64 {
		if i < len(spans) {
			return spans[i].DurationNano
		}
		return 0
	}
	order := func(list []int) {
		slices.SortFunc(list, func(a, b int) int {
			return cmp.Or(cmp.Compare(nodes[a].start, nodes[b].start),
				cmp.Compare(length(b), length(a)), cmp.Compare(a, b))
		})
	}

	t.rows = make([]treeRow, 0, len(nodes))
	seen := map[string]bool{}
	type visit struct{ node, row int } // node and the row of its parent
	order(top)
	stack := make([]visit, 0, len(top))
	for i := len(top) - 1; i >= 0; i-- {
		stack = append(stack, visit{top[i], -1})
	}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		n := &nodes[v.node]
		row := treeRow{parent: v.row, missing: n.missing}
		if v.row >= 0 {
			row.depth = t.rows[v.row].depth + 1
		}
		if v.node < len(spans) {
			row.span = &spans[v.node]
			row.half, row.circle = int(family.Half[v.node]), family.Parent[v.node] == graph.Circle
			row.startNano, row.endNano = row.span.StartUnixNano, row.span.EndUnixNano()
			if row.span.Error {
				t.errors++
			}
			if !seen[row.span.Service] {
				seen[row.span.Service] = true
				t.services = append(t.services, row.span.Service)
			}
		}
		at := len(t.rows)
		t.rows = append(t.rows, row)
		order(n.children)
		for i := len(n.children) - 1; i >= 0; i-- {
			stack = append(stack, visit{n.children[i], at})
		}
	}
	t.sum()
	return t
}

// sum fills what comes from below: the ends of subtrees, counts of errors, the
// times of absent parents, and the extent of the whole.
func (t *traceTree) sum() {
	for i := len(t.rows) - 1; i >= 0; i-- {
		r := &t.rows[i]
		r.end = max(r.end, i+1)
		if r.parent < 0 {
			continue
		}
		p := &t.rows[r.parent]
		p.end = max(p.end, r.end)
		p.errors += r.errors
		if r.span != nil && r.span.Error {
			p.errors++
		}
		if p.span == nil {
			if p.startNano == 0 || r.startNano < p.startNano {
				p.startNano = r.startNano
			}
			p.endNano = max(p.endNano, r.endNano)
		}
	}
	t.parts, t.mainPart = t.timeParts()
	t.usePart(0)
}

// traceID is the id of the trace, zero for an empty one.
func (t *traceTree) traceID() trace.ID {
	for i := range t.rows {
		if s := t.rows[i].span; s != nil {
			return s.TraceID
		}
	}
	return trace.ID{}
}

// rowOf returns the row of a key, or of the first half of a span id; -1 if none.
func (t *traceTree) rowOf(key string) int {
	for i := range t.rows {
		if t.rows[i].key() == key {
			return i
		}
	}
	return -1
}

// path returns the rows from the top to row i, i included.
func (t *traceTree) path(i int) []int {
	var up []int
	for ; i >= 0; i = t.rows[i].parent {
		up = append(up, i)
	}
	slices.Reverse(up)
	return up
}

// main is the row the trace is named for: the earliest true root, else the
// first row that is a span; -1 for an empty trace.
func (t *traceTree) main() int {
	first := -1
	for i := range t.rows {
		r := &t.rows[i]
		if r.span == nil {
			continue
		}
		if r.parent < 0 {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}
