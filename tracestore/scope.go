package tracestore

import (
	"math"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
)

// threads is what queries ask about causes: the graph over the store, and what its
// edge index keeps of traces.
type threads struct {
	*graph.Graph
	*Store
}

var _ query.Threads = threads{}

// threads returns the graph by the rules that hold now.
func (s *Store) threads() query.Threads {
	return threads{graph.New(s, graph.Options{Rules: s.edges.Load().Rules}), s}
}

// lookedAt is the time whose blocks a query reads: all of it if it looks at the
// spans around its rows, which may lie anywhere.
func lookedAt(p interface {
	Window() (from, to int64)
	LooksAround() bool
}) (from, to int64) {
	if p.LooksAround() {
		return math.MinInt64, math.MaxInt64
	}
	return p.Window()
}
