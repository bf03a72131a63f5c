package graph

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"redthread/tracestore/trace"
)

// memory is a Source over spans in memory, linked as the store links them.
type memory struct {
	traces    map[trace.ID][]trace.Span
	effects   map[trace.ID][]Link
	summaries map[trace.ID]Summary
	reads     atomic.Int64
}

func newMemory(spans []trace.Span) *memory {
	m := &memory{traces: map[trace.ID][]trace.Span{}, effects: map[trace.ID][]Link{}, summaries: map[trace.ID]Summary{}}
	for _, s := range spans {
		m.traces[s.TraceID] = append(m.traces[s.TraceID], s)
		for _, l := range s.Links {
			m.effects[l.TraceID] = append(m.effects[l.TraceID], Link{From: trace.Ref{TraceID: l.TraceID, SpanID: l.SpanID}, To: s.Ref()})
		}
	}
	for id, list := range m.traces {
		slices.SortStableFunc(list, func(a, b trace.Span) int { return cmp.Compare(a.StartUnixNano, b.StartUnixNano) })
		sum := Summary{TraceID: id, Spans: len(list)}
		for i := range list {
			s := &list[i]
			if i == 0 || s.ParentID.IsZero() && !sum.Root {
				sum.SpanID, sum.Root, sum.Service, sum.Name, sum.Kind = s.SpanID, s.ParentID.IsZero(), s.Service, s.Name, s.Kind
				sum.StartUnixNano, sum.DurationNano = s.StartUnixNano, s.DurationNano
			}
		}
		m.summaries[id] = sum
	}
	return m
}

// expire drops the spans of a trace and keeps its summary and edges.
func (m *memory) expire(id trace.ID) { delete(m.traces, id) }

func (m *memory) TraceSpans(ctx context.Context, id trace.ID, limit int) ([]trace.Span, bool, error) {
	m.reads.Add(1)
	list := m.traces[id]
	if len(list) > limit {
		return slices.Clone(list[:limit]), true, ctx.Err()
	}
	return slices.Clone(list), false, ctx.Err()
}

func (m *memory) Effects(ctx context.Context, id trace.ID, limit int) ([]Link, bool, error) {
	m.reads.Add(1)
	list := m.effects[id]
	if len(list) > limit {
		return slices.Clone(list[:limit]), true, ctx.Err()
	}
	return slices.Clone(list), false, ctx.Err()
}

func (m *memory) TraceSummary(ctx context.Context, id trace.ID) (Summary, bool, error) {
	s, ok := m.summaries[id]
	return s, ok, ctx.Err()
}

func testGraph(t testing.TB, spans []trace.Span, o Options) (*Graph, *memory) {
	t.Helper()
	m := newMemory(spans)
	return New(m, o), m
}
