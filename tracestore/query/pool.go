package query

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"redthread/tracestore/column"
)

// PoolOptions configure a [Pool]. The zero value of each field means the default
// named beside it.
type PoolOptions struct {
	Workers     int           // blocks read at the same moment; default: the processors
	MemoryBytes int64         // what all queries may hold together; default 512 MiB
	QueryBytes  int64         // what one query may hold; default half of MemoryBytes
	MaxRunning  int           // queries at once; default 32: each takes about a MiB before it counts anything
	MaxWaiting  int           // further queries that wait for their beginning; default 256
	MaxWait     time.Duration // how long they do; default 10 s

	// Ingesting reports whether rows are coming in fast. While they are and
	// several queries run, a part of the workers stays idle. Default: never.
	Ingesting func() bool
}

// Pool shares processors and memory among the queries of a store. A query takes a
// turn for each block it reads. The next turn is for the query that has had the
// least of the processors, and a new one begins a little ahead of all others: so
// queries that need little are answered while long ones go on. A Pool may be used
// by any number of goroutines at once.
type Pool struct {
	o    PoolOptions
	held atomic.Int64 // bytes

	begun, refused atomic.Int64

	mu      sync.Mutex
	running int
	waiting []chan struct{} // queries that wait to begin, by age
	busy    int             // turns taken
	turns   []*turn         // turns waited for, by age
	floor   time.Duration   // the greatest Lease.had that a turn was given at
}

// headStart is the part of a query that goes before all longer ones.
const headStart = 50 * time.Millisecond

const (
	defaultPoolBytes  = 512 << 20
	defaultMaxRunning = 32
	defaultMaxWaiting = 256
	defaultMaxWait    = 10 * time.Second
)

// NewPool returns a pool.
func NewPool(o PoolOptions) *Pool {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = defaultPoolBytes
	}
	if o.QueryBytes <= 0 {
		o.QueryBytes = o.MemoryBytes / 2
	}
	if o.MaxRunning <= 0 {
		o.MaxRunning = defaultMaxRunning
	}
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = defaultMaxWaiting
	}
	if o.MaxWait <= 0 {
		o.MaxWait = defaultMaxWait
	}
	return &Pool{o: o}
}

// BusyError is a query that there is no room for now. Message is a sentence shown
// to the person.
type BusyError struct {
	Message    string
	RetryAfter time.Duration
}

// Error returns the message.
func (e *BusyError) Error() string { return "query: " + e.Message }

// retryAfter is when to try again: most queries are done by then.
const retryAfter = 2 * time.Second

// PoolStats are a pool's counters.
type PoolStats struct {
	Running      int
	Waiting      int // for their beginning
	HeldBytes    int64
	BegunTotal   int64
	RefusedTotal int64 // told to come back: too many, or no memory left
}

// Stats returns the counters.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolStats{
		Running: p.running, Waiting: len(p.waiting), HeldBytes: p.held.Load(),
		BegunTotal: p.begun.Load(), RefusedTotal: p.refused.Load(),
	}
}

// Lease is the place of one query in a pool. A nil Lease belongs to no pool: its
// query takes what it needs. The goroutines of one query may use it at once.
type Lease struct {
	pool *Pool
	held atomic.Int64  // bytes
	had  time.Duration // of the processors, since the pool began; guarded by pool.mu

	// Rows to read and rows read, for whoever watches.
	total, scanned atomic.Int64
}

// turn is a wait for a worker.
type turn struct {
	lease *Lease
	given chan struct{}
}

// Begin waits until a further query may run. It returns a *[BusyError] if too many
// wait already, or after PoolOptions.MaxWait.
func (p *Pool) Begin(ctx context.Context) (*Lease, error) {
	if p == nil {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 && p.room() {
		p.running++
		return p.lease(), nil
	}
	if len(p.waiting) >= p.o.MaxWaiting {
		return nil, p.refuse(tooManyRun)
	}
	begin := make(chan struct{})
	p.waiting = append(p.waiting, begin)
	p.mu.Unlock()
	late := time.NewTimer(p.o.MaxWait)
	defer late.Stop()
	var err error
	select {
	case <-begin: // by admit, which has counted it
		p.mu.Lock()
		return p.lease(), nil
	case <-late.C:
		err = p.refuse(tooManyRun)
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	if at := slices.Index(p.waiting, begin); at >= 0 {
		p.waiting = slices.Delete(p.waiting, at, at+1)
	} else { // it may begin at this very moment
		p.running--
		p.admit()
	}
	return nil, err
}

// room reports whether one more query may begin: half of the memory is left to
// those that run, so that they seldom have to be refused when they are half done.
func (p *Pool) room() bool {
	return p.running == 0 || p.running < p.o.MaxRunning && p.held.Load() < p.o.MemoryBytes/2
}

func (p *Pool) lease() *Lease {
	p.begun.Add(1)
	return &Lease{pool: p, had: p.floor - headStart}
}

const (
	tooManyRun = "Too many queries are running. Try again in a moment."
	noMemory   = "The queries that are running take all the memory there is for queries. Try again in a moment."
)

// refuse tells a query to come back.
func (p *Pool) refuse(why string) error {
	p.refused.Add(1)
	return &BusyError{why, retryAfter}
}

// End gives back all that the query holds.
func (l *Lease) End() {
	if l == nil {
		return
	}
	l.pool.held.Add(-l.held.Swap(0))
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pool.running--
	l.pool.admit()
}

// admit lets the oldest waiting queries begin, as many as there is room for.
func (p *Pool) admit() {
	for len(p.waiting) > 0 && p.room() {
		p.running++
		close(p.waiting[0])
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
}

// workers is how many turns may be taken now.
func (p *Pool) workers() int {
	n := p.o.Workers
	if n > 1 && p.running > 1 && p.o.Ingesting != nil && p.o.Ingesting() {
		n -= max(1, n/4)
	}
	return n
}

// workers is how many goroutines a query over so many blocks should have.
func (l *Lease) workers(blocks int) int {
	n := runtime.GOMAXPROCS(0)
	if l != nil {
		n = l.pool.o.Workers
	}
	return max(1, min(n, blocks))
}

// take waits for a turn.
func (l *Lease) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil || l == nil {
		return err
	}
	l.pool.mu.Lock()
	return l.wait(ctx)
}

// pass ends a turn that lasted so long and waits for the next one, which it is
// given at once unless another query has had less. An error means no turn.
func (l *Lease) pass(ctx context.Context, d time.Duration) error {
	if l == nil {
		return ctx.Err()
	}
	l.pool.mu.Lock()
	l.had += d
	l.pool.busy--
	return l.wait(ctx)
}

// wait is called with the pool's lock held and returns without it.
func (l *Lease) wait(ctx context.Context) error {
	p := l.pool
	t := &turn{l, make(chan struct{})}
	p.turns = append(p.turns, t)
	p.deal()
	p.mu.Unlock()
	select {
	case <-t.given:
		if ctx.Err() == nil {
			return nil
		}
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := slices.Index(p.turns, t); at >= 0 {
		p.turns = slices.Delete(p.turns, at, at+1)
	} else {
		p.busy--
		p.deal()
	}
	return ctx.Err()
}

// give ends a turn.
func (l *Lease) give(d time.Duration) {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.had += d
	l.pool.busy--
	l.pool.deal()
}

// deal gives free turns to the queries that have had the least.
func (p *Pool) deal() {
	for n := p.workers(); p.busy < n && len(p.turns) > 0; {
		least := 0
		for i, t := range p.turns {
			if t.lease.had < p.turns[least].lease.had {
				least = i
			}
		}
		t := p.turns[least]
		p.turns = slices.Delete(p.turns, least, least+1)
		p.busy++
		p.floor = max(p.floor, t.lease.had)
		close(t.given)
	}
}

// hold says that the query holds so many bytes more, or fewer. It returns an
// *[InvalidError] if that is more than one query may hold, and a *[BusyError] if
// it is more than all may.
func (l *Lease) hold(bytes int64) error {
	if l == nil {
		return nil
	}
	own, all := l.held.Add(bytes), l.pool.held.Add(bytes)
	switch {
	case bytes <= 0:
		return nil
	case own > l.pool.o.QueryBytes:
		return tooMuch(l.pool.o.QueryBytes)
	case all > l.pool.o.MemoryBytes:
		return l.pool.refuse(noMemory)
	}
	return nil
}

// tooMuch is the error of a query that needs more memory than it may hold.
func tooMuch(limit int64) error {
	return &InvalidError{"breakdowns", fmt.Sprintf(
		"This query makes too many groups: it needs more than %d MiB. Filter more, take a shorter time range, or group by a column with fewer values.", limit>>20)}
}

// Progress returns the rows read so far and those to read. The total may grow,
// once, when a query finds that it has to read its rows a second time.
func (l *Lease) Progress() (scanned, total int64) {
	if l == nil {
		return 0, 0
	}
	return l.scanned.Load(), l.total.Load()
}

// Progress watches a query from its beginning, whichever goroutine runs it. The
// zero value watches none yet.
type Progress struct{ lease atomic.Pointer[Lease] }

// Watch makes p show the progress of a lease. A nil Progress does not.
func (p *Progress) Watch(l *Lease) {
	if p != nil {
		p.lease.Store(l)
	}
}

// Rows is as [Lease.Progress].
func (p *Progress) Rows() (scanned, total int64) { return p.lease.Load().Progress() }

// expect adds the rows of blocks to those to read.
func (l *Lease) expect(blocks []column.Block) {
	rows := int64(0)
	for _, b := range blocks {
		rows += int64(b.Rows())
	}
	l.more(rows)
}

// more adds rows to those to read.
func (l *Lease) more(rows int64) {
	if l != nil {
		l.total.Add(rows)
	}
}

// read adds rows to those read.
func (l *Lease) read(rows int64) {
	if l != nil {
		l.scanned.Add(rows)
	}
}

// eachBlock calls fn for every block on n goroutines, telling it which, one turn
// for each, until the first error or the end of ctx.
func (l *Lease) eachBlock(ctx context.Context, n int, blocks []column.Block, fn func(worker int, b column.Block) error) error {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	fail := func(err error) {
		once.Do(func() { first = err })
		next.Store(int64(len(blocks)))
	}
	for i := range n {
		wg.Go(func() {
			if err := l.take(ctx); err != nil {
				fail(err)
				return
			}
			from := time.Now()
			for {
				at := int(next.Add(1)) - 1
				if at >= len(blocks) {
					l.give(time.Since(from))
					return
				}
				if err := fn(i, blocks[at]); err != nil {
					fail(err)
					l.give(time.Since(from))
					return
				}
				l.read(int64(blocks[at].Rows()))
				if err := l.pass(ctx, time.Since(from)); err != nil {
					fail(err)
					return
				}
				from = time.Now()
			}
		})
	}
	wg.Wait()
	return first
}

// eachBlock is [Lease.eachBlock] without a pool.
func eachBlock(ctx context.Context, n int, blocks []column.Block, fn func(worker int, b column.Block) error) error {
	return (*Lease)(nil).eachBlock(ctx, n, blocks, fn)
}
