package tracestore

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

const (
	// defaultMinFreeBytes and defaultMinFreeShare: below the greater of both,
	// ingest stops; the rest is what flushing and SQLite need (DESIGN.md §5).
	defaultMinFreeBytes = 512 << 20
	defaultMinFreeShare = 50 // one fiftieth: 2 %
	// diskCheckEvery bounds how old the figure may be.
	diskCheckEvery = 100 * time.Millisecond
	// diskCheckBytes bounds how much may be taken in on one figure: what is on
	// its way to the log is not in the figure yet.
	diskCheckBytes = 1 << 20
)

// diskGuard watches the free space of the data folder.
type diskGuard struct {
	dir     string
	minFree int64
	free    func(dir string) (free, total int64, err error) // a seam for tests

	mu      sync.Mutex
	checked time.Time
	taken   int64 // since checked
	left    int64
	limit   int64
	err     error
}

func freeBytes(dir string) (free, total int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	unit := int64(st.Bsize)
	return int64(st.Bavail) * unit, int64(st.Blocks) * unit, nil
}

// check returns an [ErrDiskFull] while too little is free for size bytes more.
// pending bytes, these among them, are on their way to the log.
func (g *diskGuard) check(size, pending int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken += size
	if now := time.Now(); g.taken >= diskCheckBytes || now.Sub(g.checked) >= diskCheckEvery {
		g.checked, g.taken = now, size
		g.err = g.measure(pending)
	}
	return g.err
}

func (g *diskGuard) measure(pending int64) error {
	free, total, err := g.free(g.dir)
	if err != nil {
		return err
	}
	limit := g.minFree
	if limit <= 0 {
		limit = max(defaultMinFreeBytes, total/defaultMinFreeShare)
	}
	g.left, g.limit = free, limit
	if free-pending < limit {
		return fmt.Errorf("%w: %d MiB free, ingest stops below %d MiB and goes on when space is freed", ErrDiskFull, free>>20, limit>>20)
	}
	return nil
}

// state returns the last figure.
func (g *diskGuard) state() (free int64, full bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left, g.err != nil
}

// refusal returns the free space below which ingest stops, and why it has; empty:
// it has not.
func (g *diskGuard) refusal() (limit int64, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		why = g.err.Error()
	}
	return g.limit, why
}
