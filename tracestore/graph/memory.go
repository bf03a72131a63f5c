package graph

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"redthread/tracestore/trace"
)

// Memory is an [EdgeSource] over spans in memory, made as an edge index is: by
// looking at one span at a time, in any order. Tests use it, and compare a
// store's index with it. It is ready for several readers once all is added.
type Memory struct {
	rules     *Rules
	kept      []string
	traces    map[trace.ID][]trace.Span
	links     map[trace.ID][]Link // by the trace of the cause
	causes    map[trace.ID][]Half // by the trace of the effect
	ends      map[Key][]Half
	summaries map[trace.ID]*Summing
	runs      Runs
	reads     atomic.Int64 // traces whose spans were read
}

var _ WindowSource = (*Memory)(nil)

// NewMemory returns a source with the spans; rules may be nil for the default.
func NewMemory(rules *Rules, spans []trace.Span) *Memory {
	if rules == nil {
		rules = defaultRules
	}
	m := &Memory{rules: rules, kept: DefaultKept(), traces: map[trace.ID][]trace.Span{}, links: map[trace.ID][]Link{}, causes: map[trace.ID][]Half{},
		ends: map[Key][]Half{}, summaries: map[trace.ID]*Summing{}}
	m.Add(spans...)
	return m
}

// Add takes more spans. One that is there already, by trace, id, kind and
// service, changes nothing.
func (m *Memory) Add(spans ...trace.Span) {
	var halves []Half
	for i := range spans {
		s := &spans[i]
		if slices.ContainsFunc(m.traces[s.TraceID], func(o trace.Span) bool {
			return o.SpanID == s.SpanID && o.Kind == s.Kind && o.Service == s.Service && o.Signal == s.Signal
		}) {
			continue
		}
		m.traces[s.TraceID] = append(m.traces[s.TraceID], *s)
		halves = m.rules.Halves(halves[:0], s)
		for _, h := range halves {
			if h.Side&EffectSide != 0 {
				m.causes[h.Of.TraceID] = append(m.causes[h.Of.TraceID], h)
			}
			if h.recorded() {
				m.links[h.Target.TraceID] = append(m.links[h.Target.TraceID], Link{From: h.Target, To: h.Of})
			} else {
				m.ends[h.Key] = append(m.ends[h.Key], h)
			}
		}
		if Counts(s) {
			sum := m.summaries[s.TraceID]
			if sum == nil {
				sum = &Summing{}
				m.summaries[s.TraceID] = sum
			}
			sum.Add(s, m.kept, &m.runs)
		}
	}
	for i := range spans {
		if sum := m.summaries[spans[i].TraceID]; sum != nil {
			sum.Settle(m.causes[spans[i].TraceID])
		}
	}
}

// SummariesBetween implements [WindowSource].
func (m *Memory) SummariesBetween(ctx context.Context, from, to int64, fn func(sums []Summary, left int) error) error {
	var sums []Summary
	for _, s := range m.summaries {
		if s.StartUnixNano >= from && s.StartUnixNano < to {
			sums = append(sums, s.Summary)
		}
	}
	if len(sums) > 0 {
		if err := fn(sums, 0); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Expire forgets the spans of a trace and keeps what an edge index keeps.
func (m *Memory) Expire(id trace.ID) { delete(m.traces, id) }

// TraceSpans implements [Source].
func (m *Memory) TraceSpans(ctx context.Context, id trace.ID, limit int) ([]trace.Span, bool, error) {
	m.reads.Add(1)
	list := slices.Clone(m.traces[id])
	slices.SortStableFunc(list, func(a, b trace.Span) int { return cmp.Compare(a.StartUnixNano, b.StartUnixNano) })
	return first(list, limit), len(list) > limit, ctx.Err()
}

// Effects implements [Source].
func (m *Memory) Effects(ctx context.Context, id trace.ID, limit int) ([]Link, bool, error) {
	list := m.links[id]
	return slices.Clone(first(list, limit)), len(list) > limit, ctx.Err()
}

// TraceSummary implements [Source].
func (m *Memory) TraceSummary(ctx context.Context, id trace.ID) (Summary, bool, error) {
	if s := m.summaries[id]; s != nil {
		return s.Summary, true, ctx.Err()
	}
	return Summary{}, false, ctx.Err()
}

// Ends implements [EdgeSource].
func (m *Memory) Ends(ctx context.Context, side Side, keys []Key, limit int) (ends []Half, truncated bool, err error) {
	for _, key := range keys {
		n := 0
		for _, h := range m.ends[key] {
			if h.Side&side == 0 {
				continue
			}
			if n++; n > limit {
				truncated = true
				break
			}
			ends = append(ends, h)
		}
	}
	return ends, truncated, ctx.Err()
}

// Causes implements [EdgeSource].
func (m *Memory) Causes(ctx context.Context, ids []trace.ID, limit int) (halves []Half, truncated bool, err error) {
	for _, id := range ids {
		halves = append(halves, m.causes[id]...)
		if len(halves) > limit {
			return halves[:limit], true, ctx.Err()
		}
	}
	return halves, false, ctx.Err()
}

// Summaries implements [EdgeSource].
func (m *Memory) Summaries(ctx context.Context, ids []trace.ID) ([]Summary, error) {
	out := make([]Summary, len(ids))
	for i, id := range ids {
		if s := m.summaries[id]; s != nil {
			out[i] = s.Summary
		}
	}
	return out, ctx.Err()
}

// SpansOf implements [EdgeSource].
func (m *Memory) SpansOf(ctx context.Context, refs []trace.Ref) (out []trace.Span, err error) {
	for _, r := range refs {
		for _, s := range m.traces[r.TraceID] {
			if s.SpanID == r.SpanID {
				out = append(out, s)
			}
		}
	}
	return out, ctx.Err()
}

// EffectsOf implements [EdgeSource].
func (m *Memory) EffectsOf(ctx context.Context, ids []trace.ID, limit int) (links []Link, truncated bool, err error) {
	for _, id := range ids {
		list := m.links[id]
		if len(links)+len(list) > limit {
			return append(links, list[:limit-len(links)]...), true, ctx.Err()
		}
		links = append(links, list...)
	}
	return links, false, ctx.Err()
}

func first[T any](list []T, limit int) []T { return list[:min(len(list), limit)] }
