package graph

import (
	"context"
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
	var todo []trace.ID
	for _, id := range ids {
		if s.traces[id] == nil {
			todo = append(todo, id)
		}
	}
	if len(todo) < 2 {
		for _, id := range todo {
			if _, err := s.load(ctx, id); err != nil {
				return err
			}
		}
		return nil
	}
	got := make([]*index, len(todo))
	err := s.g.each(ctx, len(todo), func(ctx context.Context, i int) (err error) {
		got[i], err = s.g.read(ctx, todo[i])
		return err
	})
	if err != nil {
		return err
	}
	for i, x := range got {
		s.traces[todo[i]] = x
		s.spans += len(x.spans)
	}
	return nil
}

// traceSpans reads the spans of a trace, of a source that can with no more
// attributes than are looked at.
func (g *Graph) traceSpans(ctx context.Context, id trace.ID) ([]trace.Span, bool, error) {
	if src, ok := g.src.(interface {
		TraceSpansWith(ctx context.Context, id trace.ID, limit int, want func(key string) bool) ([]trace.Span, bool, error)
	}); ok {
		return src.TraceSpansWith(ctx, id, g.o.MaxTraceSpans, g.rules.Load().Wants)
	}
	return g.src.TraceSpans(ctx, id, g.o.MaxTraceSpans)
}

// read reads one trace.
func (g *Graph) read(ctx context.Context, id trace.ID) (*index, error) {
	spans, truncated, err := g.traceSpans(ctx, id)
	if err != nil {
		return nil, err
	}
	x := newIndex(g.rules.Load(), id, spans, truncated)
	if x.root < 0 {
		if x.summary, x.hasSummary, err = g.src.TraceSummary(ctx, id); err != nil {
			return nil, err
		}
	}
	if x.hasSummary && (len(x.spans) == 0 || x.summary.Root) {
		if err := g.recall(ctx, x); err != nil {
			return nil, err
		}
	}
	return x, g.join(ctx, x, 0)
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
