package tracestore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"redthread/tracestore/query"
)

// TestQueriesShareAPool: what runs is counted, watched, refused beyond the limit,
// and gives back all it held.
func TestQueriesShareAPool(t *testing.T) {
	h := start(t, Options{})
	defer h.stop()
	h.append(testSpans(0, 200))
	h.settle()
	from, to := float64(testClock.Unix()-3600), float64(testClock.Unix()+3600)
	spec := query.Spec{Breakdowns: []string{"name"}, StartTime: &from, EndTime: &to}

	var progress query.Progress
	r, err := h.QueryProgress(t.Context(), spec, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if scanned, total := progress.Rows(); scanned != total || total != r.Stats.RowsScanned || total < 200 {
		t.Errorf("progress %d of %d, %d rows scanned; want 200 of all", scanned, total, r.Stats.RowsScanned)
	}
	if r.Stats.Segments != 0 {
		t.Errorf("%d segments read, want none: all rows are in memory", r.Stats.Segments)
	}
	must(t, h.Flush(t.Context()))
	if r, err = h.Query(t.Context(), spec); err != nil || r.Stats.Segments != 1 {
		t.Errorf("%+v, %v; want one segment read", r.Stats, err)
	}
	spec.Filters = []query.Filter{{Column: "no.such.key", Op: "exists"}}
	if r, err = h.Query(t.Context(), spec); err != nil || r.Stats.Segments != 0 || r.Stats.RowsScanned != 0 {
		t.Errorf("%+v, %v; want no segment read of a key that is in none", r.Stats, err)
	}

	h.Store.queries = query.NewPool(query.PoolOptions{MaxRunning: 1, MaxWait: time.Nanosecond})
	other, err := h.Store.queries.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var busy *query.BusyError
	if _, err := h.Query(t.Context(), spec); !errors.As(err, &busy) {
		t.Errorf("a query too many: %v, want a BusyError", err)
	}
	if _, err := h.Search(t.Context(), query.Search{}); !errors.As(err, &busy) {
		t.Errorf("a search too many: %v, want a BusyError", err)
	}
	other.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Query(ctx, query.Spec{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query: %v", err)
	}
	if st := h.QueryStats(); st.Running != 0 || st.Waiting != 0 || st.HeldBytes != 0 || st.RefusedTotal != 2 {
		t.Errorf("%+v when no query runs and 2 were refused", st)
	}
}

func TestIngestMeter(t *testing.T) {
	var now atomic.Int64
	s := &Store{o: Options{Now: func() time.Time { return time.Unix(1, now.Load()) }}}
	if s.ingesting() {
		t.Error("ingesting before any row")
	}
	for _, c := range []struct {
		rows, nanos int64
		want        bool
	}{
		{100_000, 1e9, true},
		{0, 100e6, true}, // too short to tell
		{0, 200e6, false},
		{1_000, 1e9, false},
		{30_000, 1e9, true},
		{0, -5e9, false}, // a clock set back
	} {
		s.appended.Add(c.rows)
		now.Add(c.nanos)
		if got := s.ingesting(); got != c.want {
			t.Errorf("%d rows in %v: ingesting %t, want %t", c.rows, time.Duration(c.nanos), got, c.want)
		}
	}
}
