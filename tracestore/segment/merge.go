package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"redthread/tracestore/graph"
)

// MergeEdges makes one run at path of several, which stay as they are. What two
// of them know of one trace is joined, equal links are kept once. It is durable
// like [Write]. A damaged input is a *[CorruptError], and nothing is written.
func MergeEdges(path string, runs []*Edges, step Step) (EdgesInfo, error) {
	var failed error
	var halves [edgeSections - 1]iter.Seq[graph.Half]
	var summaries []*cursor[graph.Summary]
	for _, r := range runs {
		if err := r.open(); err != nil {
			return EdgesInfo{}, err
		}
		summaries = append(summaries, summaryCursor(r))
	}
	for section := range halves {
		var list []*cursor[graph.Half]
		for _, r := range runs {
			list = append(list, halfCursor(r, section))
		}
		halves[section] = merge(list, halfOrder[section], func(a, _ graph.Half) graph.Half { return a }, &failed)
	}
	compare := func(a, b graph.Summary) int { return bytes.Compare(a.TraceID[:], b.TraceID[:]) }
	return writeEdges(path, halves, merge(summaries, compare, MergeSummaries, &failed), &failed, step)
}

// Verify reads the whole run: every record must be there and in order.
func (e *Edges) Verify(ctx context.Context) error {
	if err := e.open(); err != nil {
		return err
	}
	for section := range edgeSections - 1 {
		if err := verify(ctx, e, halfCursor(e, section), e.records[section], halfOrder[section]); err != nil {
			return err
		}
	}
	return verify(ctx, e, summaryCursor(e), e.records[summarySection], func(a, b graph.Summary) int { return bytes.Compare(a.TraceID[:], b.TraceID[:]) })
}

func verify[T any](ctx context.Context, e *Edges, c *cursor[T], want int, compare func(a, b T) int) error {
	var last T
	n := 0
	for {
		ok, err := c.advance()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if n > 0 && compare(last, c.at) >= 0 {
			return e.corrupt(-1, errors.New("records are out of order"))
		}
		last = c.at
		if n++; n%edgesBlockItems == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if n != want {
		return e.corrupt(-1, fmt.Errorf("%d records, the footer says %d", n, want))
	}
	return nil
}

func halfCursor(e *Edges, section int) *cursor[graph.Half] {
	return &cursor[graph.Half]{run: e, next: e.from[section], end: e.from[section+1], read: readHalf}
}

func summaryCursor(e *Edges) *cursor[graph.Summary] {
	return &cursor[graph.Summary]{run: e, next: e.from[summarySection], end: e.from[edgeSections], read: readSummary}
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
