package tracestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
)

// recentRows is how many of the last rows the writer surely remembers by hash, in 8
// MB.
const recentRows = 256 << 10

// measureEvery is how many raw bytes the writer applies between two measures of
// its memtable's size.
const measureEvery = 8 << 20

// table is a memtable with what a flush must know of it.
type table struct {
	mem      *memtable.Table
	firstSeq uint64
	lastSeq  uint64 // every message up to it is in this table or an earlier one
	raw      int64
	began    time.Time // of the first message; zero: empty
	measured int64     // raw bytes at the last measure
	done     chan struct{}

	minArrived, maxArrived int64

	// The flusher's own: the files it has written of the table, nil before.
	segment *segmentFile
	edges   *edgeFile
}

// newTable returns the table after before, which may be nil.
func (w *writer) newTable(before *table) *table {
	var mem *memtable.Table
	if before != nil {
		mem = before.mem
	}
	return &table{mem: memtable.NewAfter(mem, w.recent, *w.edges), done: make(chan struct{})}
}

// writer is the state of the goroutine that applies the log.
type writer struct {
	table  *table
	recent *memtable.Recent // hashes of rows
	// restored are the fingerprints of the last rows before the start. They go
	// when as many rows have come since.
	restored memtable.HashSet
	decoder  otlp.Decoder
	edges    *memtable.Edges
}

// useRules has the next rows looked at for edges by the rules that the store was
// given last.
func (w *writer) useRules(edges *memtable.Edges) {
	if edges == w.edges {
		return
	}
	w.edges = edges
	rules := edges.Rules
	if rules == nil {
		rules = graph.DefaultRules()
	}
	w.decoder.UseMarks(rules.Marks)
	if w.table != nil {
		w.table.mem.UseRules(*edges)
	}
}

// write is the goroutine that applies the log, first what is in it, then what
// the committer hands over.
func (s *Store) write() {
	defer close(s.flushes)
	s.replay()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case m := <-s.apply:
			s.applyLogged(m)
		case r := <-s.rotations:
			ok := s.readLog(r.through)
			if ok {
				s.rotate()
			}
			r.done <- ok
		case <-tick.C:
			w := s.writer.table
			if !w.began.IsZero() && s.o.Now().Sub(w.began) >= s.o.FlushAge {
				s.rotate()
			}
		case <-s.quit:
			s.drain()
			return
		}
	}
}

// drain applies what is left after the committer has ended, and freezes the
// memtable. What it misses is in the log.
func (s *Store) drain() {
	<-s.committed
	for {
		select {
		case m := <-s.apply:
			s.applyLogged(m)
			continue
		case <-s.ctx.Done():
			return
		default:
		}
		break
	}
	if s.ready.Load() {
		s.rotate()
	}
}

// retryEvery is the pause before the log is asked again after an error.
const retryEvery = time.Second

// replay applies the log up to where it ended at the start.
func (s *Store) replay() {
	began := time.Now()
	from := s.applied.Load()
	if !s.readLog(s.replayTo.Load()) {
		return
	}
	if to := s.replayTo.Load(); to > from {
		s.o.Logger.Info("ingest log replayed", "from_sequence", from+1, "through_sequence", to, "rows", s.appended.Load(), "elapsed", time.Since(began))
	}
	s.ready.Store(true)
}

// readLog applies the messages after the last applied one up to through. It
// tries until it succeeds, or returns false when the store closes.
func (s *Store) readLog(through uint64) bool {
	for s.applied.Load() < through {
		ctx, cancel := s.untilQuit()
		err := s.log.Read(ctx, s.applied.Load()+1, through, func(seq uint64, msg []byte) error {
			s.applyMessage(seq, msg)
			return nil
		})
		cancel()
		if err == nil {
			// A hole at the end was trimmed or never written.
			s.skipTo(through)
			return true
		}
		select {
		case <-s.quit:
			return false
		default:
		}
		s.o.Logger.Error("read the ingest log", "error", err, "after_sequence", s.applied.Load())
		select {
		case <-s.quit:
			return false
		case <-time.After(retryEvery):
		}
	}
	return true
}

// untilQuit returns a context that ends when Close begins.
func (s *Store) untilQuit() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(s.ctx)
	go func() {
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (s *Store) skipTo(seq uint64) {
	if seq > s.applied.Load() {
		s.applied.Store(seq)
		s.writer.table.lastSeq = seq
	}
}

// applyLogged applies a message from the committer. Messages before it that the
// committer does not know of (the log took them but its answer was lost) are read
// from the log.
func (s *Store) applyLogged(m logged) {
	applied := s.applied.Load()
	if m.seq <= applied {
		return
	}
	if m.seq > applied+1 && !s.readLog(m.seq-1) {
		return
	}
	s.applyMessage(m.seq, m.msg)
	s.putMessage(m.msg)
}

// applyMessage makes rows of one message and publishes them.
func (s *Store) applyMessage(seq uint64, msg []byte) {
	w := &s.writer
	w.useRules(s.edges.Load())
	if s.forget.CompareAndSwap(true, false) {
		w.recent.Forget()
		w.restored = memtable.HashSet{}
	}
	t := w.table
	if t.began.IsZero() {
		t.began = s.o.Now()
		t.firstSeq = seq
	}
	var added, dropped int64
	err := eachRecord(msg, func(f Format, arrived int64, environment string, raw []byte) error {
		sig, _, ok := f.signal()
		if !ok {
			s.o.Logger.Error("unknown format in the ingest log", "format", f, "sequence", seq)
			return nil
		}
		if t.minArrived == 0 || arrived < t.minArrived {
			t.minArrived = arrived
		}
		t.maxArrived = max(t.maxArrived, arrived)
		_, err := w.decoder.DecodeRows(sig, raw, otlp.Arrival{UnixNano: arrived, Environment: environment}, func(row *column.Row) error {
			ok, err := w.add(row)
			if ok {
				added++
			} else {
				dropped++
			}
			return err
		})
		var bad *otlp.InvalidError
		if errors.As(err, &bad) {
			// It was valid when it was accepted: another version wrote it.
			s.o.Logger.Error("record in the ingest log cannot be read", "error", err, "sequence", seq)
			return nil
		}
		return err
	})
	if err != nil {
		s.o.Logger.Error("apply a message of the ingest log", "error", err, "sequence", seq)
	}
	t.mem.Publish()
	t.lastSeq = seq
	t.raw += int64(len(msg))
	s.appended.Add(added)
	s.duplicates.Add(dropped)
	s.applied.Store(seq)
	if t.raw-t.measured >= measureEvery {
		t.measured = t.raw
		t.mem.Measure()
	}
	if s.o.full(t, int(added)) {
		s.rotate()
	}
}

// add adds a row unless it is known already.
func (w *writer) add(row *column.Row) (bool, error) {
	hash := row.Hash()
	if w.restored.Len() > 0 && w.restored.Has(hash) {
		return false, nil
	}
	return w.table.mem.AddRow(row, hash)
}

// rotate freezes the memtable and hands it to the flusher; it waits while the
// flusher is at work on another. An empty one stays.
func (s *Store) rotate() {
	t := s.writer.table
	if t.began.IsZero() {
		return
	}
	t.mem.Measure()
	next := s.writer.newTable(t)
	next.lastSeq = t.lastSeq
	s.writer.table = next
	if s.appended.Load() >= recentRows {
		s.writer.restored = memtable.HashSet{}
	}
	s.change(func(v *view) { v.tables = append(v.tables, next) })
	select {
	case s.flushes <- t:
	case <-s.ctx.Done():
	}
}

// rotation asks the writer to apply the log through a sequence and to freeze its
// memtable. done gets false when the store closes.
type rotation struct {
	through uint64
	done    chan<- bool // buffered
}

// Flush writes everything that was acknowledged before the call to segments and
// returns when that is done.
func (s *Store) Flush(ctx context.Context) error {
	state, err := s.log.State(ctx)
	if err != nil {
		return fmt.Errorf("tracestore: flush: %w", err)
	}
	done := make(chan bool, 1)
	select {
	case s.rotations <- rotation{state.Last, done}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return ErrClosed
	}
	select {
	case ok := <-done:
		if !ok {
			return ErrClosed
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	v := s.acquire()
	if v == nil {
		return ErrClosed
	}
	tables := v.tables
	v.release()
	// Tables are flushed in their order, so the last frozen one stands for all.
	if len(tables) < 2 {
		return nil
	}
	select {
	case <-tables[len(tables)-2].done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return ErrClosed
	}
}
