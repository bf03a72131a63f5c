// Package tracestore is the span store: a durable log in front, a memtable of
// columns, immutable Parquet segments behind it, and a catalogue that says which
// segments count.
//
// # The way of a batch
//
// [Store.Append] validates the body and hands it to the committer, which writes
// all bodies that wait at the same moment as one message of the log and answers
// after the sync. The writer applies messages in the order of their sequence:
// bytes to rows to columns of the memtable, and publishes a watermark. A full
// memtable is frozen and the flusher makes a segment and a run of edges of it:
// temporary file, sync, rename, sync of the folder, then one catalogue
// transaction that also says how far the log is applied, then the log is
// trimmed. Segments are merged with their neighbours until they have about a
// million rows. A start replays the log from there: every message is applied exactly
// once, whenever the process dies.
//
// # Folder
//
//	catalogue.db            SQLite: epochs, segments, edge runs
//	segments/<day>/<id>.parquet, .idx
//	edges/<id>.edges        links and summaries of traces, with their own age
//	quarantine/             files that the catalogue does not know, for 7 days
//	LOCK                    held while a store is open
//
// # Rules
//
// A row that equals an earlier one in everything the sender said is a duplicate
// (the sender asks again when it lost our answer). It is dropped when the earlier
// one is in a memtable or among the last [recentRows] rows, of which none is known
// any more once a segment was set aside: its rows are taken again. A later one is dropped
// when both come into one segment; until then when its trace is read, but it is
// counted by queries.
//
// Locks: Store.mu guards the current view and is held for no I/O; index locks of
// a memtable are taken under no other lock.
package tracestore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"redthread/tracestore/ingestlog"
	"redthread/tracestore/memtable"
	"redthread/tracestore/query"
	"redthread/tracestore/segment"
)

// Store holds rows. All methods may be called from several goroutines.
type Store struct {
	o    Options
	log  ingestlog.Log
	lock *os.File
	cat  *catalogue
	disk diskGuard

	ctx    context.Context // of the store's goroutines; ends when Close is done
	cancel context.CancelFunc
	quit   chan struct{} // closed when Close begins
	wg     sync.WaitGroup

	requests  chan *request
	committed chan struct{} // closed when the committer has ended
	apply     chan logged
	buffers   chan []byte // of messages that were applied
	flushes   chan *table
	rotations chan rotation
	rounds    chan chan struct{}

	compactions chan chan<- error

	queries *query.Pool
	ingest  ingestMeter

	mu      sync.Mutex
	current *view

	// runs is held by who replaces or drops runs of edges: merges, retention, and
	// a rebuild, which others do not wait for. It is taken before mu.
	runs sync.Mutex

	epoch  epoch
	writer writer
	edges  atomic.Pointer[memtable.Edges]
	cache  *segment.Cache

	columns columnsCache

	closed     atomic.Bool
	ready      atomic.Bool
	inFlight   atomic.Int64
	rejected   atomic.Int64
	ackedBytes atomic.Int64
	messages   atomic.Int64
	appended   atomic.Int64
	duplicates atomic.Int64
	forget     atomic.Bool // rows were lost: the writer is to forget what it had
	applied    atomic.Uint64
	replayTo   atomic.Uint64
	flushed    atomic.Int64

	flushFailures atomic.Int64

	compacting       atomic.Bool
	compactionsTotal atomic.Int64
	compactedRows    atomic.Int64
	compactedBytes   atomic.Int64
	expiredRows      atomic.Int64

	status   sync.Mutex // guards what follows
	flushErr string
	flushAt  int64
	corrupt  map[string]string        // why, by path
	lost     map[string]segmentRecord // the segments among them

	compactErr string

	// fault, if set by a test, is called before each step of a flush or a
	// compaction and may fail it.
	fault func(step string) error
}

// Open opens the store in o.Dir and makes what is missing. It returns when the
// catalogue is read and every file is accounted for, and replays the log in the
// background; see [Store.Ready]. [ErrLocked] means another process has the
// folder.
func Open(ctx context.Context, o Options) (*Store, error) { return open(ctx, o, nil) }

func open(ctx context.Context, o Options, fault func(string) error) (_ *Store, err error) {
	o = o.withDefaults()
	if o.Dir == "" || o.Log == nil {
		return nil, fmt.Errorf("tracestore: open: Dir and Log are needed")
	}
	for _, d := range []string{"", segmentsDir, edgesDir, quarantineDir} {
		if err := os.MkdirAll(filepath.Join(o.Dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("tracestore: open: %w", err)
		}
	}
	s := &Store{
		o: o, log: o.Log, fault: fault,
		cache:     segment.NewCache(o.MemoryBytes / cacheShare),
		corrupt:   make(map[string]string),
		lost:      make(map[string]segmentRecord),
		disk:      diskGuard{dir: o.Dir, minFree: o.MinFreeBytes, free: freeBytes},
		quit:      make(chan struct{}),
		requests:  make(chan *request, maxWaiting),
		committed: make(chan struct{}),
		apply:     make(chan logged, maxUnapplied),
		buffers:   make(chan []byte, maxUnapplied+1),
		flushes:   make(chan *table),
		rotations: make(chan rotation),
		rounds:    make(chan chan struct{}),

		compactions: make(chan chan<- error),
	}
	s.queries = s.newPool()
	s.edges.Store(&memtable.Edges{Rules: o.Rules, Kept: o.Kept})
	if s.lock, err = lockDir(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.cat, err = openCatalogue(ctx, o.Dir); err != nil {
		return nil, fmt.Errorf("tracestore: %w", err)
	}
	if err = s.restore(ctx); err != nil {
		return nil, fmt.Errorf("tracestore: open: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Add(5)
	go func() { defer s.wg.Done(); s.commit() }()
	go func() { defer s.wg.Done(); s.write() }()
	go func() { defer s.wg.Done(); s.flushAll() }()
	go func() { defer s.wg.Done(); s.maintain() }()
	go func() { defer s.wg.Done(); s.compactAll() }()
	return s, nil
}

// release gives back what Open took.
func (s *Store) release() {
	s.mu.Lock()
	v := s.current
	s.current = nil
	s.mu.Unlock()
	if v != nil {
		v.release()
	}
	if s.cat != nil {
		if err := s.cat.close(); err != nil {
			s.o.Logger.Error("close catalogue", "error", err)
		}
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

// Ready reports whether the log is replayed, so that every acknowledged row is
// findable, and if not, how far the replay has come.
func (s *Store) Ready() (ok bool, progress string) {
	if s.ready.Load() {
		return true, ""
	}
	return false, fmt.Sprintf("replaying the ingest log: message %d of %d", s.applied.Load(), s.replayTo.Load())
}

// closeTimeout bounds the last flush.
const closeTimeout = 12 * time.Second

// Close writes the memtable to a segment and stops. What cannot be written within
// 12 s is still in the log. Close may be called twice.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		s.wg.Wait()
		return nil
	}
	close(s.quit)
	late := time.AfterFunc(closeTimeout, s.cancel) // then each step of a flush ends it
	s.wg.Wait()
	late.Stop()
	s.cancel()
	s.release()
	return nil
}

// Stats are the store's counters and sizes at one moment.
type Stats struct {
	AppendedRowsTotal  int64 // rows applied since the start, also by replay
	AckedBytesTotal    int64 // bytes of bodies acknowledged since the start
	DuplicateRowsTotal int64 // rows dropped because an equal one was stored
	RejectedRowsTotal  int64
	LogMessagesTotal   int64 // messages written to the log
	FlushesTotal       int64
	FlushFailuresTotal int64
	InFlightBytes      int64
	MemtableRows       int64
	MemtableBytes      int64
	CacheBytes         int64 // decoded columns kept
	CacheHitsTotal     int64
	CacheMissesTotal   int64
	Segments           int
	SegmentRows        int64
	SegmentBytes       int64
	EdgeRuns           int
	EdgeBytes          int64
	DiskFreeBytes      int64
	DiskMinFreeBytes   int64 // below it ingest stops
	DiskFull           bool
	DiskFullReason     string
	AppliedSequence    uint64
	CorruptFiles       []string // "path: why" of what was set aside
	LastFlushError     string   // empty after a success
	LastFlushUnixNano  int64
	CompactionsTotal   int64
	CompactedRowsTotal int64 // rows written by compaction
	// CompactedBytesTotal counts bytes written by compaction.
	CompactedBytesTotal int64
	ExpiredRowsTotal    int64 // rows dropped because their environment keeps less
	// WaitingSegments are those that will be merged soon; none, and Compacting
	// false: the store has settled.
	WaitingSegments     int
	Compacting          bool
	LastCompactionError string // empty after a success
	// OldestArrivedUnixNano is the arrival of the oldest row kept; 0: no rows.
	OldestArrivedUnixNano int64
}

// Stats returns counters and sizes.
func (s *Store) Stats() Stats {
	st := Stats{
		AppendedRowsTotal: s.appended.Load(), AckedBytesTotal: s.ackedBytes.Load(), DuplicateRowsTotal: s.duplicates.Load(),
		RejectedRowsTotal: s.rejected.Load(), LogMessagesTotal: s.messages.Load(), FlushesTotal: s.flushed.Load(), FlushFailuresTotal: s.flushFailures.Load(),
		InFlightBytes: s.inFlight.Load(), AppliedSequence: s.applied.Load(),
	}
	st.CompactionsTotal, st.CompactedRowsTotal, st.CompactedBytesTotal = s.compactionsTotal.Load(), s.compactedRows.Load(), s.compactedBytes.Load()
	st.ExpiredRowsTotal, st.Compacting = s.expiredRows.Load(), s.compacting.Load()
	s.status.Lock()
	st.LastCompactionError = s.compactErr
	st.LastFlushError, st.LastFlushUnixNano = s.flushErr, s.flushAt
	for path, why := range s.corrupt {
		st.CorruptFiles = append(st.CorruptFiles, path+": "+why)
	}
	s.status.Unlock()
	slices.Sort(st.CorruptFiles)
	// A fresh figure; that the disk is nearly full is in the state.
	_ = s.disk.check(0, s.inFlight.Load())
	st.DiskFreeBytes, st.DiskFull = s.disk.state()
	st.DiskMinFreeBytes, st.DiskFullReason = s.disk.refusal()
	cache := s.cache.Stats()
	st.CacheBytes, st.CacheHitsTotal, st.CacheMissesTotal = cache.Bytes, cache.HitsTotal, cache.MissesTotal
	if v := s.acquire(); v != nil {
		v.count(&st)
		v.release()
	}
	return st
}

// now is the store's clock in nanoseconds.
func (s *Store) now() int64 { return s.o.Now().UnixNano() }

// step comes before each step on the disk. It ends a flush that takes longer than
// Close may wait, and runs the fault seam.
func (s *Store) step(name string) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.fault == nil {
		return nil
	}
	return s.fault(name)
}

// tickEvery is how often the writer looks at the age of its memtable.
const tickEvery = time.Second
