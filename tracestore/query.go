package tracestore

import (
	"context"
	"errors"
	"path/filepath"

	"redthread/tracestore/column"
	"redthread/tracestore/query"
	"redthread/tracestore/segment"
)

// minQueryBytes is what one query may hold however small the memory is: enough
// for a hundred thousand groups.
const minQueryBytes = 64 << 20

// Query runs a query over the rows in its time window. A specification at fault
// is a *query.InvalidError.
func (s *Store) Query(ctx context.Context, spec query.Spec) (*query.Result, error) {
	p, err := query.Compile(spec, s.o.Now())
	if err != nil {
		return nil, err
	}
	p.MemoryBytes = min(p.MemoryBytes, max(s.o.MemoryBytes/4, minQueryBytes))
	from, to := p.Window()
	return read(ctx, s, from, to, func(blocks []column.Block, segments int) (*query.Result, error) {
		r, err := query.Run(ctx, p, blocks)
		if err == nil {
			r.Stats.Segments = segments
		}
		return r, err
	})
}

// Search finds single rows, newest first.
func (s *Store) Search(ctx context.Context, q query.Search) (*query.SearchResult, error) {
	p, err := query.CompileSearch(q, s.o.Now())
	if err != nil {
		return nil, err
	}
	from, to := p.Window()
	return read(ctx, s, from, to, func(blocks []column.Block, segments int) (*query.SearchResult, error) {
		r, err := query.RunSearch(ctx, p, blocks)
		if err == nil {
			r.Stats.Segments = segments
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
