package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// MergeEdges makes one run at path of several, which stay as they are. What two
// of them know of one trace is joined, equal links are kept once. It is durable
// like [Write]. A damaged input is a *[CorruptError], and nothing is written.
func MergeEdges(path string, runs []*Edges, step Step) (EdgesInfo, error) {
	var failed error
	links := make([]*cursor[graph.Link], 0, len(runs))
	summaries := make([]*cursor[graph.Summary], 0, len(runs))
	for _, r := range runs {
		if err := r.open(); err != nil {
			return EdgesInfo{}, err
		}
		links = append(links, linkCursor(r))
		summaries = append(summaries, summaryCursor(r))
	}
	compareSummaries := func(a, b graph.Summary) int { return bytes.Compare(a.TraceID[:], b.TraceID[:]) }
	sameLink := func(a, _ graph.Link) graph.Link { return a }
	return writeEdges(path,
		merge(links, compareLinks, sameLink, &failed),
		merge(summaries, compareSummaries, MergeSummaries, &failed),
		&failed, step)
}

// Verify reads the whole run: every record must be there and in order.
func (e *Edges) Verify(ctx context.Context) error {
	if err := e.open(); err != nil {
		return err
	}
	var links, traces int
	var last graph.Link
	c := linkCursor(e)
	for {
		ok, err := c.advance()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if links > 0 && compareLinks(last, c.at) >= 0 {
			return e.corrupt(-1, errors.New("links are out of order"))
		}
		last = c.at
		if links++; links%edgesBlockItems == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	var lastID trace.ID
	s := summaryCursor(e)
	for {
		ok, err := s.advance()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if traces > 0 && bytes.Compare(lastID[:], s.at.TraceID[:]) >= 0 {
			return e.corrupt(-1, errors.New("traces are out of order"))
		}
		lastID = s.at.TraceID
		if traces++; traces%edgesBlockItems == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if links != e.links || traces != e.traces {
		return e.corrupt(-1, fmt.Errorf("%d links and %d traces, the footer says %d and %d", links, traces, e.links, e.traces))
	}
	return nil
}

func linkCursor(e *Edges) *cursor[graph.Link] {
	return &cursor[graph.Link]{run: e, end: e.linkBlocks, read: func(b []byte) (graph.Link, []byte, error) {
		if len(b) < linkBytes {
			return graph.Link{}, nil, errEdges
		}
		return readLink(b), b[linkBytes:], nil
	}}
}

func summaryCursor(e *Edges) *cursor[graph.Summary] {
	return &cursor[graph.Summary]{run: e, next: e.linkBlocks, end: e.blocks, read: readSummary}
}

// cursor walks the records of a run, block by block.
type cursor[T any] struct {
	run       *Edges
	next, end int // blocks
	read      func([]byte) (T, []byte, error)
	rest      []byte
	at        T
}

// advance moves to the next record; false at the end.
func (c *cursor[T]) advance() (bool, error) {
	for len(c.rest) == 0 {
		if c.next == c.end {
			return false, nil
		}
		b, err := c.run.block(c.next)
		if err != nil {
			return false, err
		}
		c.rest = b
		c.next++
	}
	var err error
	if c.at, c.rest, err = c.read(c.rest); err != nil {
		entry := c.run.index[(c.next-1)*edgesIndexBytes:]
		return false, c.run.corrupt(int64(binary.LittleEndian.Uint64(entry[16:])), err)
	}
	return true, nil
}

// merge yields the records of all cursors in order, equal ones joined into one.
// It stops early at an error, which it leaves in failed.
func merge[T any](cursors []*cursor[T], compare func(a, b T) int, join func(a, b T) T, failed *error) iter.Seq[T] {
	return func(yield func(T) bool) {
		var open []*cursor[T]
		for _, c := range cursors {
			ok, err := c.advance()
			if err != nil {
				*failed = err
				return
			}
			if ok {
				open = append(open, c)
			}
		}
		for len(open) > 0 {
			least := open[0].at
			for _, c := range open[1:] {
				if compare(c.at, least) < 0 {
					least = c.at
				}
			}
			var out T
			first := true
			still := open[:0]
			for _, c := range open {
				ok := true
				for ok && compare(c.at, least) == 0 {
					if first {
						out, first = c.at, false
					} else {
						out = join(out, c.at)
					}
					var err error
					if ok, err = c.advance(); err != nil {
						*failed = err
						return
					}
				}
				if ok {
					still = append(still, c)
				}
			}
			open = still
			if !yield(out) {
				return
			}
		}
	}
}
