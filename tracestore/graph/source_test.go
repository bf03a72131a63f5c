package graph

import (
	"testing"

	"redthread/tracestore/trace"
)

func testGraph(t testing.TB, spans []trace.Span, o Options) (*Graph, *Memory) {
	t.Helper()
	m := NewMemory(o.Rules, spans)
	return New(m, o), m
}
