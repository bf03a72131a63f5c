package graph

import (
	"context"
	"errors"
	"math"
	"sync"

	"redthread/tracestore/trace"
)

// session is one question: it reads each trace once.
type session struct {
	g      *Graph
	traces map[trace.ID]*index
	spans  int // read in all
	// plain, if set, answers for traces that need not be read: all of their spans
	// have the same origin.
	plain func(id trace.ID) (o OriginSpan, ok bool)
}

func (g *Graph) newSession() *session {
	return &session{g: g, traces: map[trace.ID]*index{}}
}

// load returns the index of a trace; one without spans and without a summary
// is not known at all.
func (s *session) load(ctx context.Context, id trace.ID) (*index, error) {
	if x := s.traces[id]; x != nil {
		return x, nil
	}
	x, err := s.g.read(ctx, id)
	if err != nil {
		return nil, err
	}
	s.traces[id] = x
	s.spans += len(x.spans)
	return x, nil
}

// loadAll reads the traces that are not loaded yet, several at once.
func (s *session) loadAll(ctx context.Context, ids []trace.ID) error {
	return s.loadSome(ctx, ids, math.MaxInt)
}

// loadSome is loadAll until so many spans are loaded in all; the traces after that
// are not.
func (s *session) loadSome(ctx context.Context, ids []trace.ID, most int) error {
	var todo []trace.ID
	for _, id := range ids {
		if s.traces[id] == nil {
			todo = append(todo, id)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	got, err := s.g.readAll(ctx, todo, most-s.spans)
	if err != nil {
		return err
	}
	for i, x := range got {
		s.traces[todo[i]] = x
		s.spans += len(x.spans)
	}
	return nil
}

// manySource reads many traces at once, with no more of their spans than is
// looked at.
type manySource interface {
	EachTrace(ctx context.Context, ids []trace.ID, limit int, want func(key string) bool, fn func(i int, spans []trace.Span, truncated bool) error) error
}

// read reads one trace.
func (g *Graph) read(ctx context.Context, id trace.ID) (*index, error) {
	xs, err := g.readAll(ctx, []trace.ID{id}, math.MaxInt)
	if err != nil {
		return nil, err
	}
	return xs[0], nil
}

// errEnough ends the reading of traces.
var errEnough = errors.New("enough spans")

// readAll reads traces, together if the source can, until they have so many spans:
// as many of the first ones.
func (g *Graph) readAll(ctx context.Context, ids []trace.ID, most int) ([]*index, error) {
	xs := make([]*index, 0, len(ids))
	rules := g.rules.Load()
	var err error
	add := func(spans []trace.Span, truncated bool) error {
		x := newIndex(rules, ids[len(xs)], spans, truncated)
		xs = append(xs, x)
		if most -= len(x.spans); most <= 0 {
			return errEnough
		}
		return nil
	}
	if src, ok := g.src.(manySource); ok {
		err = src.EachTrace(ctx, ids, g.o.MaxTraceSpans, rules.Wants, func(_ int, spans []trace.Span, truncated bool) error { return add(spans, truncated) })
	} else {
		for i := 0; i < len(ids) && err == nil; i++ {
			spans, truncated, failed := g.src.TraceSpans(ctx, ids[i], g.o.MaxTraceSpans)
			if err = failed; err == nil {
				err = add(spans, truncated)
			}
		}
	}
	if err != nil && err != errEnough {
		return nil, err
	}
	if err := g.recallAll(ctx, xs); err != nil {
		return nil, err
	}
	return xs, g.join(ctx, xs, 0)
}

// recallAll reads what is left of those traces whose spans, or whose root, are not
// there.
func (g *Graph) recallAll(ctx context.Context, xs []*index) error {
	return g.each(ctx, len(xs), func(ctx context.Context, i int) (err error) {
		x := xs[i]
		if x.root >= 0 {
			return nil
		}
		if x.summary, x.hasSummary, err = g.src.TraceSummary(ctx, x.trace); err != nil {
			return err
		}
		if x.hasSummary && (len(x.spans) == 0 || x.summary.Root) {
			return g.recall(ctx, x)
		}
		return nil
	})
}

// each calls fn for 0 ≤ i < n from several goroutines, waits for them and
// returns the first error, after which no further call begins.
func (g *Graph) each(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		work = make(chan int)
	)
	for range min(g.o.Workers, n) {
		wg.Go(func() {
			for i := range work {
				if err := fn(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for i := range n {
		select {
		case work <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
