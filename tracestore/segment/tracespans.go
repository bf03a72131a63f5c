package segment

import (
	"cmp"
	"math"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// TraceSpans returns the rows of a trace in the order of arrival, at most limit;
// truncated says there are more.
func (f *File) TraceSpans(id trace.ID, limit int) (spans []trace.Span, truncated bool, err error) {
	return f.spansOf(id, nil, limit)
}

// SpansOf returns the rows of some spans of a trace.
func (f *File) SpansOf(id trace.ID, ids []trace.SpanID) ([]trace.Span, error) {
	spans, _, err := f.spansOf(id, ids, math.MaxInt)
	return spans, err
}

func (f *File) spansOf(id trace.ID, of []trace.SpanID, limit int) (spans []trace.Span, truncated bool, err error) {
	rows, err := f.FindTraces([]trace.ID{id})
	if err != nil {
		return nil, false, err
	}
	t := TraceRows{ID: id, Rows: rows[0]}
	err = f.traceSpans([]*TraceRows{&t}, of, limit, nil)
	return t.Spans, t.Truncated, err
}

// TraceRows is a trace that is read together with others.
type TraceRows struct {
	ID        trace.ID
	Rows      []int // as FindTraces gives them
	Spans     []trace.Span
	Truncated bool // there are more
}

// FindTraces returns for each of some traces the rows that it may have, in order:
// all of its own, and rarely those of a trace whose id has the same hash.
func (f *File) FindTraces(ids []trace.ID) (rows [][]int, err error) {
	rows = make([][]int, len(ids))
	err = f.withIndex(func(x *index) error {
		for i, id := range ids {
			if rows[i], err = x.find(id); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

// ReadTraces appends to the spans of each trace its rows in the order of arrival,
// so that there are at most limit. Pages are decoded once for all the traces. want
// chooses what is read, as for [picked].
func (f *File) ReadTraces(traces []*TraceRows, limit int, want func(key string) bool) error {
	return f.traceSpans(traces, nil, limit, want)
}

// claim is a row that a trace may have.
type claim struct{ row, of int }

// traceSpans reads rows of traces, only of some spans unless of is nil.
func (f *File) traceSpans(traces []*TraceRows, of []trace.SpanID, limit int, want func(key string) bool) error {
	n := 0
	for _, t := range traces {
		n += len(t.Rows)
	}
	if n == 0 {
		return nil
	}
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	claims := make([]claim, 0, n)
	for i, t := range traces {
		for _, row := range t.Rows {
			claims = append(claims, claim{row, i})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.of, b.of)) })
	base := 0
	for _, b := range blocks {
		end := base + b.Rows()
		n, _ := slices.BinarySearchFunc(claims, end, func(c claim, row int) int { return cmp.Compare(c.row, row) })
		if err := b.(*block).readTraces(traces, claims[:n], base, of, limit, want); err != nil {
			return err
		}
		claims, base = claims[n:], end
	}
	return nil
}

// readTraces appends the rows of a block, whose first row is number base of the
// segment, to the traces that they belong to.
func (b *block) readTraces(traces []*TraceRows, claims []claim, base int, of []trace.SpanID, limit int, want func(key string) bool) error {
	claims = slices.DeleteFunc(claims, func(c claim) bool { return traces[c.of].Truncated })
	if len(claims) == 0 {
		return nil
	}
	rows := make([]uint32, len(claims)) // two traces may claim a row
	for i, c := range claims {
		rows[i] = uint32(c.row - base)
	}
	ask := slices.Compact(slices.Clone(rows))
	ids, err := b.pickIDs(column.TraceID, ask)
	if err != nil {
		return err
	}
	var spans []byte
	if of != nil {
		if spans, err = b.pickIDs(column.SpanID, ask); err != nil {
			return err
		}
	}
	left := make([]int, len(traces))
	for i, t := range traces {
		left[i] = limit - len(t.Spans)
	}
	var owners []int
	at, kept := 0, rows[:0]
	for i, c := range claims {
		if i > 0 && c.row != claims[i-1].row {
			at++
		}
		t := traces[c.of]
		if trace.ID(ids[16*at:16*at+16]) != t.ID || of != nil && !slices.Contains(of, trace.SpanID(spans[8*at:8*at+8])) {
			continue
		}
		if left[c.of] <= 0 {
			t.Truncated = true
			continue
		}
		left[c.of]--
		kept, owners = append(kept, uint32(c.row-base)), append(owners, c.of)
	}
	if len(kept) == 0 {
		return nil
	}
	p := picked{b: b, rows: kept, spans: make([]trace.Span, len(kept)), want: want, placed: true}
	for i, of := range owners {
		p.spans[i].TraceID = traces[of].ID
	}
	if err := p.read(); err != nil {
		return b.corrupt(err)
	}
	// Rows of a trace mostly stand together.
	for from, to := 0, 0; from < len(owners); from = to {
		for to = from + 1; to < len(owners) && owners[to] == owners[from]; to++ {
		}
		t := traces[owners[from]]
		if t.Spans == nil {
			t.Spans = p.spans[from:to:to]
		} else {
			t.Spans = append(t.Spans, p.spans[from:to]...)
		}
	}
	return nil
}
