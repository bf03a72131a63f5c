package tracestore

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/query"
	"redthread/tracestore/segment"
)

// minQueryBytes is what queries may hold however small the memory is: enough for a
// few hundred thousand groups.
const minQueryBytes = 64 << 20

// newPool returns the pool that all queries of the store share. One query may take
// three quarters of its memory, so that small ones can run beside it.
func (s *Store) newPool() *query.Pool {
	all := max(s.o.MemoryBytes/queryShare, minQueryBytes)
	return query.NewPool(query.PoolOptions{MemoryBytes: all, QueryBytes: all / 4 * 3, Ingesting: s.ingesting})
}

// QueryStats tells what queries run.
func (s *Store) QueryStats() query.PoolStats { return s.queries.Stats() }

// begin takes a place in the pool, which progress, if not nil, watches.
func (s *Store) begin(ctx context.Context, progress *query.Progress) (*query.Lease, error) {
	l, err := s.queries.Begin(ctx)
	progress.Watch(l)
	return l, err
}

// ingestMeter tells whether rows come in fast.
type ingestMeter struct {
	mu   sync.Mutex
	at   int64 // when rows were counted last, Unix nanoseconds
	rows int64
	fast bool
}

// Ingest is fast above so many rows a second, measured over so long: a tenth of
// what one processor takes in.
const (
	fastIngestRows   = 20_000
	ingestMeterNanos = 250e6
)

// ingesting reports whether rows come in fast.
func (s *Store) ingesting() bool {
	now, rows := s.o.Now().UnixNano(), s.appended.Load()
	m := &s.ingest
	m.mu.Lock()
	defer m.mu.Unlock()
	if since := now - m.at; since < 0 || since >= ingestMeterNanos {
		m.fast = m.at != 0 && since > 0 && float64(rows-m.rows) > fastIngestRows*float64(since)/1e9
		m.at, m.rows = now, rows
	}
	return m.fast
}

// Query runs a query over the rows in its time window. A specification at fault,
// or one that needs more memory than a query may have, is a *query.InvalidError;
// a *query.BusyError means that too many others run.
func (s *Store) Query(ctx context.Context, spec query.Spec) (*query.Result, error) {
	return s.QueryProgress(ctx, spec, nil)
}

// QueryProgress is [Store.Query], whose progress can be watched meanwhile.
func (s *Store) QueryProgress(ctx context.Context, spec query.Spec, progress *query.Progress) (*query.Result, error) {
	worded, err := s.spec(ctx, spec)
	if err != nil {
		return nil, err
	}
	p, err := compile(s, spec, worded, query.Compile)
	if err != nil {
		return nil, err
	}
	from, to := p.Window()
	p.Threads = s.threads()
	readFrom, readTo := lookedAt(p)
	return read(ctx, s, readFrom, readTo, func(blocks []column.Block, _ int) (*query.Result, error) {
		if p.Lease, err = s.begin(ctx, progress); err != nil {
			return nil, err
		}
		defer p.Lease.End()
		r, err := query.Run(ctx, p, blocks)
		if err == nil {
			r.Warnings = append(r.Warnings, s.lostRows(from, to)...)
		}
		return r, err
	})
}

// Search finds single rows, newest first.
func (s *Store) Search(ctx context.Context, q query.Search) (*query.SearchResult, error) {
	worded, err := s.searchSpec(ctx, q)
	if err != nil {
		return nil, err
	}
	p, err := compile(s, q, worded, query.CompileSearch)
	if err != nil {
		return nil, err
	}
	from, to := p.Window()
	p.Threads = s.threads()
	readFrom, readTo := lookedAt(p)
	return read(ctx, s, readFrom, readTo, func(blocks []column.Block, _ int) (*query.SearchResult, error) {
		if p.Lease, err = s.begin(ctx, nil); err != nil {
			return nil, err
		}
		defer p.Lease.End()
		r, err := query.RunSearch(ctx, p, blocks)
		if err == nil {
			r.Warnings = append(r.Warnings, s.lostRows(from, to)...)
		}
		return r, err
	})
}

// maxSetAside bounds how many corrupt segments one query steps over.
const maxSetAside = 100

// read runs fn over the blocks of a time window. When a segment turns out
// corrupt it is set aside and fn runs again without it.
func read[T any](ctx context.Context, s *Store, from, to int64, fn func([]column.Block, int) (T, error)) (T, error) {
	for range maxSetAside {
		out, err := readOnce(s, from, to, fn)
		var bad *segment.CorruptError
		if err == nil || !errors.As(err, &bad) || ctx.Err() != nil || !s.setAsidePath(bad) {
			return out, err
		}
	}
	return readOnce(s, from, to, fn)
}

func readOnce[T any](s *Store, from, to int64, fn func([]column.Block, int) (T, error)) (T, error) {
	v := s.acquire()
	if v == nil {
		var none T
		return none, ErrClosed
	}
	defer v.release()
	blocks, segments, err := v.blocks(from, to, s.setAsideSegment)
	if err != nil {
		var none T
		return none, err
	}
	return fn(blocks, segments)
}

// setAsidePath finds the segment that an error names; false if there is none.
func (s *Store) setAsidePath(bad *segment.CorruptError) bool {
	v := s.acquire()
	if v == nil {
		return false
	}
	defer v.release()
	for _, f := range v.segments {
		if filepath.Clean(f.file.Path()) == filepath.Clean(bad.Path) {
			return s.setAsideSegment(f, bad)
		}
	}
	return false
}
