package query

import (
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// testThreads is the causal graph over spans in memory.
type testThreads struct {
	*graph.Graph
	*graph.Memory
}

// threadsOf returns the graph over spans, of which some are gone and only what an
// edge index keeps is left.
func threadsOf(spans, expired []trace.Span) Threads {
	m := graph.NewMemory(nil, expired)
	for i := range expired {
		m.Expire(expired[i].TraceID)
	}
	m.Add(spans...)
	return testThreads{graph.New(m, graph.Options{}), m}
}

// scriptThreads is the graph over the rows of the script that runs.
var scriptThreads Threads
