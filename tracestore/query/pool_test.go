package query

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"redthread/tracestore/column"
)

func mustBegin(t *testing.T, p *Pool) *Lease {
	t.Helper()
	l, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestPoolLetsSomeWait: a bounded number of queries run, a bounded number wait for
// them, not for ever, and the others are told to come back.
func TestPoolLetsSomeWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolOptions{MaxRunning: 1, MaxWaiting: 2, MaxWait: time.Minute})
		first := mustBegin(t, p)
		begun := make(chan *Lease)
		go func() {
			l, err := p.Begin(t.Context())
			if err != nil {
				t.Errorf("a waiting query: %v", err)
			}
			begun <- l
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := p.Begin(ctx)
			gone <- err
		}()
		synctest.Wait()
		if st := p.Stats(); st.Running != 1 || st.Waiting != 2 {
			t.Fatalf("%d run and %d wait, want 1 and 2", st.Running, st.Waiting)
		}
		var busy *BusyError
		if _, err := p.Begin(t.Context()); !errors.As(err, &busy) || busy.RetryAfter <= 0 {
			t.Errorf("one too many: %v, want a BusyError that says when to come back", err)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a query that gave up waiting: %v", err)
		}
		first.End()
		second := <-begun
		if st := p.Stats(); st.Running != 1 || st.Waiting != 0 {
			t.Fatalf("%d run and %d wait, want 1 and 0", st.Running, st.Waiting)
		}
		from := time.Now()
		if _, err := p.Begin(t.Context()); !errors.As(err, &busy) || time.Since(from) != time.Minute {
			t.Errorf("waited %v: %v, want a BusyError after a minute", time.Since(from), err)
		}
		second.End()
		if st := p.Stats(); st != (PoolStats{BegunTotal: 2, RefusedTotal: 2}) {
			t.Errorf("%+v at the end, want 2 begun and 2 refused", st)
		}
	})
}

// TestPoolWaitsForMemory: a query begins when half of the memory is free, and not
// while it is not, unless none runs.
func TestPoolWaitsForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolOptions{MemoryBytes: 100, QueryBytes: 100, MaxWait: time.Minute})
		big, small := mustBegin(t, p), mustBegin(t, p)
		if err := errors.Join(big.hold(45), small.hold(10)); err != nil {
			t.Fatal(err)
		}
		begun := make(chan *Lease, 2)
		for range 2 {
			go func() {
				l, err := p.Begin(t.Context())
				if err != nil {
					t.Error(err)
				}
				begun <- l
			}()
		}
		synctest.Wait()
		if st := p.Stats(); st.Running != 2 || st.Waiting != 2 {
			t.Fatalf("%d run and %d wait while 55 of 100 bytes are held, want 2 and 2", st.Running, st.Waiting)
		}
		small.End()
		synctest.Wait()
		if st := p.Stats(); st.Running != 3 || st.Waiting != 0 {
			t.Fatalf("%d run and %d wait while 45 of 100 bytes are held, want 3 and 0", st.Running, st.Waiting)
		}
		big.End()
		(<-begun).End()
		(<-begun).End()
		if st := p.Stats(); st.Running != 0 || st.HeldBytes != 0 {
			t.Errorf("%d run and hold %d bytes at the end", st.Running, st.HeldBytes)
		}
	})
}

// TestPoolSharesTurns: no more blocks are read at once than there are workers,
// and a new query does not wait for an old one that still has much to read.
func TestPoolSharesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolOptions{Workers: 2})
		var now, most, long, short atomic.Int64
		read := func(n *atomic.Int64) func(int, column.Block) error {
			return func(int, column.Block) error {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(10 * time.Millisecond) // of the bubble's clock: how long a block takes
				now.Add(-1)
				n.Add(1)
				return nil
			}
		}
		blocks := make([]column.Block, 1000)
		for i := range blocks {
			blocks[i] = newTestBlock(nil)
		}
		var wg sync.WaitGroup
		run := func(n *atomic.Int64, blocks []column.Block) {
			l := mustBegin(t, p)
			defer l.End()
			if err := l.eachBlock(t.Context(), 2, blocks, read(n)); err != nil {
				t.Error(err)
			}
		}
		for range 5 {
			wg.Go(func() { run(&long, blocks) })
		}
		time.Sleep(time.Second)
		before := long.Load()
		run(&short, blocks[:4])
		// Two turns may have been taken when it began.
		if passed := long.Load() - before; passed > 4 {
			t.Errorf("%d blocks of old queries were read while a new one waited for its 4", passed)
		}
		run(&short, blocks[:50])
		if passed := long.Load() - before; passed > 250 {
			t.Errorf("%d blocks of 5 old queries were read while a sixth waited for its 50", passed)
		}
		wg.Wait()
		if most.Load() != 2 {
			t.Errorf("%d blocks were read at the same moment, want 2", most.Load())
		}
		if n := long.Load(); n != 5000 {
			t.Errorf("%d blocks read, want 5000", n)
		}
	})
}

// TestPoolLeavesRoomForIngest: while rows come in, several queries take fewer
// turns than there are workers, one query alone takes them all.
func TestPoolLeavesRoomForIngest(t *testing.T) {
	var ingesting atomic.Bool
	p := NewPool(PoolOptions{Workers: 4, Ingesting: ingesting.Load})
	one := mustBegin(t, p)
	defer one.End()
	ingesting.Store(true)
	workers := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.workers()
	}
	if got := workers(); got != 4 {
		t.Errorf("%d workers for the only query, want 4", got)
	}
	defer mustBegin(t, p).End()
	if got := workers(); got != 3 {
		t.Errorf("%d workers for two queries beside ingest, want 3", got)
	}
	ingesting.Store(false)
	if got := workers(); got != 4 {
		t.Errorf("%d workers for two queries, want 4", got)
	}
}

func TestPoolBoundsMemory(t *testing.T) {
	p := NewPool(PoolOptions{MemoryBytes: 100, QueryBytes: 60})
	a, b := mustBegin(t, p), mustBegin(t, p)
	var invalid *InvalidError
	var busy *BusyError
	if err := a.hold(50); err != nil {
		t.Fatal(err)
	}
	if err := b.hold(50); err != nil {
		t.Fatal(err)
	}
	if err := a.hold(5); !errors.As(err, &busy) {
		t.Errorf("beyond what all may hold: %v, want a BusyError", err)
	}
	if err := a.hold(20); !errors.As(err, &invalid) {
		t.Errorf("beyond what one may hold: %v, want an InvalidError", err)
	}
	a.End()
	if err := b.hold(5); err != nil {
		t.Errorf("after the other ended: %v", err)
	}
	b.End()
	if held := p.Stats().HeldBytes; held != 0 {
		t.Errorf("%d bytes held when all have ended", held)
	}
}

// TestRunInPool runs queries at once in a pool: right answers, all of the rows
// counted as read, nothing held at the end, and a waiting one can be cancelled.
func TestRunInPool(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	spans := randomSpans(rng, 2000)
	blocks := cut(spans, rng)
	p := NewPool(PoolOptions{Workers: 2})
	spec := `{"breakdowns":["user.id"],"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"granularity":60}`
	want, err := Run(t.Context(), mustCompile(t, spec), blocks)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			plan := mustCompile(t, spec)
			l, err := p.Begin(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer l.End()
			plan.Lease, plan.heavyCells = l, 10
			r, err := Run(t.Context(), plan, blocks)
			if err != nil || r.Stats.RowsMatched != want.Stats.RowsMatched || len(r.Series) != len(want.Series) {
				t.Errorf("Run in a pool: %v, %v; want %v", r, err, want)
			}
			if scanned, total := l.Progress(); scanned != total || total < 2*want.Stats.RowsScanned {
				t.Errorf("progress %d of %d, want all of them twice %d", scanned, total, want.Stats.RowsScanned)
			}
		})
	}
	wg.Wait()
	if st := p.Stats(); st.HeldBytes != 0 || st.Running != 0 {
		t.Errorf("%+v at the end, want nothing", st)
	}

	taken := mustBegin(t, p)
	defer taken.End()
	for range 2 {
		if err := taken.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		plan := mustCompile(t, spec)
		plan.Lease = mustBegin(t, p)
		defer plan.Lease.End()
		_, err := Run(ctx, plan, blocks)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting for a turn: %v", err)
	}
	taken.give(0)
	taken.give(0)
}
