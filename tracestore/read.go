package tracestore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

// TraceSpans returns the spans of a trace by start, at most limit of them;
// truncated says there are more. Log records are joined to their span as events
// named "log"; one whose span is not there to the root, or else to the first span,
// with the missing id as its attribute "span_id". An unknown trace has no
// spans and no error.
func (s *Store) TraceSpans(ctx context.Context, id trace.ID, limit int) (spans []trace.Span, truncated bool, err error) {
	err = s.EachTrace(ctx, []trace.ID{id}, limit, nil, func(_ int, all []trace.Span, cut bool) error {
		spans, truncated = all, cut
		return nil
	})
	return spans, truncated, err
}

// traceRows is about how many rows of several traces are read at once (some
// hundred bytes each).
const traceRows = 16 << 10

// EachTrace calls fn with the spans of each of some traces, as TraceSpans gives
// them, in the order of the ids; an unknown trace has none. They are
// read together, so that what lies together is decoded once. want chooses the
// attributes; what neither identifies a span nor says what it did is left out too;
// nil: all. Most of what a trace takes to be read are its attributes.
func (s *Store) EachTrace(ctx context.Context, ids []trace.ID, limit int, want func(key string) bool, fn func(i int, spans []trace.Span, truncated bool) error) error {
	v := s.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.release()
	found := make([][][]int, len(v.segments)) // rows, by segment and trace
	for n, f := range v.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, err := f.file.FindTraces(ids)
		if err != nil && !s.setAsideSegment(f, err) {
			return err
		}
		found[n] = rows
	}
	rows := func(i int) (n int) {
		for _, f := range found {
			if f != nil {
				n += len(f[i])
			}
		}
		return n
	}
	for from, to := 0, 0; from < len(ids); from = to {
		n := rows(from)
		for to = from + 1; to < len(ids) && n+rows(to) <= traceRows; to++ {
			n += rows(to)
		}
		if err := s.readTraces(ctx, v, found, ids, from, to, limit, want, fn); err != nil {
			return err
		}
	}
	return nil
}

// readTraces does the traces in from ≤ i < to.
func (s *Store) readTraces(ctx context.Context, v *view, found [][][]int, ids []trace.ID, from, to, limit int, want func(key string) bool, fn func(i int, spans []trace.Span, truncated bool) error) error {
	rows := make([][]trace.Span, to-from)
	cut := make([]bool, to-from)
	for n, f := range v.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if found[n] == nil {
			continue // corrupt
		}
		var here []*segment.TraceRows
		var at []int
		for i := from; i < to; i++ {
			if len(found[n][i]) > 0 {
				here, at = append(here, &segment.TraceRows{ID: ids[i], Rows: found[n][i]}), append(at, i-from)
			}
		}
		// Each segment is asked for as many as could be wanted: which of them come
		// first by start is only known when all are there.
		if err := f.file.ReadTraces(here, limit, want); err != nil {
			if !s.setAsideSegment(f, err) {
				return err
			}
			continue
		}
		for k, t := range here {
			if i := at[k]; rows[i] == nil {
				rows[i], cut[i] = t.Spans, t.Truncated
			} else {
				rows[i], cut[i] = append(rows[i], t.Spans...), cut[i] || t.Truncated
			}
		}
	}
	for i := from; i < to; i++ {
		all, truncated := rows[i-from], cut[i-from]
		for _, t := range v.tables {
			more, cut, err := t.mem.TraceSpans(ids[i], limit)
			if err != nil {
				return err
			}
			if want != nil {
				for k := range more {
					leaveOut(&more[k], want)
				}
			}
			all, truncated = append(all, more...), truncated || cut
		}
		rows[i-from] = nil
		spans := joinLogs(dropEqual(all))
		if len(spans) > limit {
			spans, truncated = spans[:limit], true
		}
		if err := fn(i, spans, truncated); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut drops of a row what segments do not read, so that one that was sent
// again is equal wherever it lies.
func leaveOut(r *trace.Span, want func(key string) bool) {
	r.StatusMessage, r.TraceState, r.ArrivedUnixNano = "", "", 0
	r.Attributes = slices.DeleteFunc(r.Attributes, func(a trace.Attribute) bool { return !want(a.Key) })
}

// dropEqual drops rows that equal an earlier one.
func dropEqual(rows []trace.Span) []trace.Span {
	// Only rows of one id can be equal: few need to be hashed.
	several := make(map[trace.SpanID]bool, len(rows))
	any := false
	for i := range rows {
		_, again := several[rows[i].SpanID]
		several[rows[i].SpanID] = again
		any = any || again
	}
	if !any {
		return rows
	}
	seen := map[uint64]struct{}{}
	out := rows[:0]
	for i := range rows {
		if several[rows[i].SpanID] {
			f := column.RowHash(&rows[i])
			if _, again := seen[f]; again {
				continue
			}
			seen[f] = struct{}{}
		}
		out = append(out, rows[i])
	}
	clear(rows[len(out):])
	return out
}

// logEvent is the name of the event that a log record becomes.
const logEvent = "log"

// joinLogs makes log records events of their spans and sorts spans by start. A
// record may come before its span, or its span never: then the root has it.
func joinLogs(rows []trace.Span) []trace.Span {
	spans := rows[:0]
	var logs []trace.Span
	for i := range rows {
		if rows[i].Signal == trace.SignalLog {
			logs = append(logs, rows[i])
			continue
		}
		spans = append(spans, rows[i])
	}
	clear(rows[len(spans):])
	sortSpans(spans)
	if len(logs) == 0 {
		return spans
	}
	at := make(map[trace.SpanID]int, len(spans))
	for i := range spans {
		// Two halves may share an id (Zipkin): the first one has the logs.
		if _, taken := at[spans[i].SpanID]; !taken {
			at[spans[i].SpanID] = i
		}
	}
	if len(spans) == 0 {
		return spans
	}
	root := max(slices.IndexFunc(spans, func(s trace.Span) bool { return s.ParentID.IsZero() }), 0)
	touched := make(map[int]bool)
	for _, l := range logs {
		attrs := make([]trace.Attribute, 0, len(l.Attributes)+2)
		attrs = append(attrs, trace.Attribute{Key: "body", Value: trace.String(l.Name)})
		i, ok := at[l.ParentID]
		if !ok {
			i = root
			if !l.ParentID.IsZero() {
				attrs = append(attrs, trace.Attribute{Key: "span_id", Value: trace.String(l.ParentID.String())})
			}
		}
		attrs = append(attrs, l.Attributes...)
		spans[i].Events = append(spans[i].Events, trace.Event{Name: logEvent, TimeUnixNano: l.StartUnixNano, Attributes: attrs})
		touched[i] = true
	}
	for i := range touched {
		slices.SortStableFunc(spans[i].Events, func(a, b trace.Event) int { return cmp.Compare(a.TimeUnixNano, b.TimeUnixNano) })
	}
	return spans
}

// sortSpans sorts spans by start and id; those that are equal stay as they are.
func sortSpans(spans []trace.Span) {
	before := func(a, b *trace.Span) int {
		return cmp.Or(cmp.Compare(a.StartUnixNano, b.StartUnixNano), bytes.Compare(a.SpanID[:], b.SpanID[:]))
	}
	sorted := true
	for i := 1; i < len(spans) && sorted; i++ {
		sorted = before(&spans[i-1], &spans[i]) <= 0
	}
	if sorted {
		return
	}
	// Spans are large: their places are sorted, and each is moved once.
	order := make([]int32, len(spans))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(before(&spans[a], &spans[b]), cmp.Compare(a, b)) })
	for i := range order {
		if order[i] < 0 || int(order[i]) == i {
			continue
		}
		held := spans[i]
		at := int32(i)
		for {
			from := order[at]
			order[at] = -1
			if int(from) == i {
				spans[at] = held
				break
			}
			spans[at] = spans[from]
			at = from
		}
	}
}

// setAsideSegment takes a corrupt segment out of the store and names it, so that
// the rest answers. It reports false for any other error.
func (s *Store) setAsideSegment(f *segmentFile, err error) bool {
	var bad *segment.CorruptError
	if !errors.As(err, &bad) {
		return false
	}
	if s.noteCorrupt(f.Path, faultWords(err)) {
		s.noteLost(f.segmentRecord)
		s.forget.Store(true)
		s.o.Logger.Error("segment is corrupt, set aside", "path", f.Path, "error", err)
		if err := s.cat.markSegmentCorrupt(s.ctx, f.ID, faultWords(err)); err != nil {
			s.o.Logger.Error("mark segment corrupt", "path", f.Path, "error", err)
		}
		s.change(func(v *view) {
			v.segments = slices.DeleteFunc(v.segments, func(x *segmentFile) bool { return x == f })
		})
	}
	return true
}

// setAsideEdges is setAsideSegment for a run of edges.
func (s *Store) setAsideEdges(f *edgeFile, err error) bool {
	var bad *segment.CorruptError
	if !errors.As(err, &bad) {
		return false
	}
	if s.noteCorrupt(f.Path, faultWords(err)) {
		s.o.Logger.Error("run of edges is corrupt, set aside", "path", f.Path, "error", err)
		if err := s.cat.markEdgesCorrupt(s.ctx, f.ID, faultWords(err)); err != nil {
			s.o.Logger.Error("mark run of edges corrupt", "path", f.Path, "error", err)
		}
		s.change(func(v *view) {
			v.runs = slices.DeleteFunc(v.runs, func(x *edgeFile) bool { return x == f })
		})
	}
	return true
}

// noteCorrupt remembers a file that was set aside; false if it was before.
func (s *Store) noteCorrupt(path, why string) bool {
	s.status.Lock()
	defer s.status.Unlock()
	if _, again := s.corrupt[path]; again {
		return false
	}
	s.corrupt[path] = why
	return true
}
