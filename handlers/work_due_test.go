package handlers

import (
	"math"
	"testing"
	"time"

	"redthread/tracestore/trace"
)

// TestDueOf: what clocks say that cannot be is no wait.
func TestDueOf(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano()
	event := func(name string, at int64) trace.Event { return trace.Event{Name: name, TimeUnixNano: at} }
	for _, c := range []struct {
		name      string
		events    []trace.Event
		attribute trace.Value // active_job.job.scheduled_at
		made, due int64       // 0: it is not said
	}{
		{"Sidekiq", []trace.Event{event("created_at", start-9e9), event("enqueued_at", start-2e9)}, trace.Value{}, start - 9e9, start - 2e9},
		{"a clock that is ahead", []trace.Event{event("created_at", start), event("enqueued_at", start+2e9)}, trace.Value{}, start, start + 2e9},
		{"made in 1970", []trace.Event{event("created_at", 1), event("enqueued_at", start-2e9)}, trace.Value{}, 0, start - 2e9},
		{"made at the end of time", []trace.Event{event("created_at", math.MaxInt64), event("enqueued_at", start)}, trace.Value{}, 0, start},
		{"made before time", []trace.Event{event("created_at", math.MinInt64), event("enqueued_at", start)}, trace.Value{}, 0, start},
		{"due in 1970", []trace.Event{event("enqueued_at", 1)}, trace.Value{}, 0, 0},
		{"due at the end of time", []trace.Event{event("run_at", math.MaxInt64)}, trace.Value{}, 0, 0},
		{"due at no time", []trace.Event{event("run_at", 0)}, trace.Float(float64(start) / 1e9), 0, start},
		{"text", nil, trace.String("2026-11-23 11:59:00 UTC"), 0, start - 60e9},
		{"nanoseconds for seconds", nil, trace.Int(start), 0, 0},
		{"no number", nil, trace.Float(math.NaN()), 0, 0},
		{"no end", nil, trace.Float(math.Inf(1)), 0, 0},
		{"below none", nil, trace.Int(math.MinInt64), 0, 0},
		// 2⁶⁴ ns later, which is the same nanosecond where it overflows
		{"years from now", nil, trace.String(time.Unix(0, start).Add(1 << 62).Add(1 << 62).Add(1 << 62).Add(1 << 62).UTC().Format(time.RFC3339Nano)), 0, 0},
	} {
		s := trace.Span{StartUnixNano: start, Events: c.events, Attributes: []trace.Attribute{{Key: "active_job.job.scheduled_at", Value: c.attribute}}}
		got, ok := dueOf(&s)
		if ok != (c.due != 0) || ok && (got.made != c.made || got.due != c.due) {
			t.Errorf("%s: made %d, due %d, %v, want %d, %d", c.name, got.made, got.due, ok, c.made, c.due)
		}
	}
}
