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
	return s.TraceSpansWith(ctx, id, limit, nil)
}

// TraceSpansWith is TraceSpans with those attributes only that are wanted, and
// others where that costs nothing; nil: all. Most of what a trace takes to be read
// are its attributes.
func (s *Store) TraceSpansWith(ctx context.Context, id trace.ID, limit int, want func(key string) bool) (spans []trace.Span, truncated bool, err error) {
	v := s.acquire()
	if v == nil {
		return nil, false, ErrClosed
	}
	defer v.release()
	var rows []trace.Span
	// Each source is asked for as many as could be wanted: which of them come
	// first by start is only known when all are there.
	gather := func(more []trace.Span, cut bool) {
		rows = append(rows, more...)
		truncated = truncated || cut
	}
	for _, f := range v.segments {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		more, cut, err := f.file.TraceSpansWith(id, limit, want)
		if err != nil {
			if !s.setAsideSegment(f, err) {
				return nil, false, err
			}
			continue
		}
		gather(more, cut)
	}
	for _, t := range v.tables {
		more, cut, err := t.mem.TraceSpans(id, limit)
		if err != nil {
			return nil, false, err
		}
		gather(more, cut)
	}
	spans = joinLogs(dropEqual(rows))
	if len(spans) > limit {
		spans, truncated = spans[:limit], true
	}
	return spans, truncated, nil
}

// dropEqual drops rows that equal an earlier one.
func dropEqual(rows []trace.Span) []trace.Span {
	seen := make(map[uint64]struct{}, len(rows))
	return slices.DeleteFunc(rows, func(r trace.Span) bool {
		f := column.RowHash(&r)
		if _, again := seen[f]; again {
			return true
		}
		seen[f] = struct{}{}
		return false
	})
}

// logEvent is the name of the event that a log record becomes.
const logEvent = "log"

// joinLogs makes log records events of their spans and sorts spans by start. A
// record may come before its span, or its span never: then the root has it.
func joinLogs(rows []trace.Span) []trace.Span {
	spans := make([]trace.Span, 0, len(rows))
	var logs []trace.Span
	at := make(map[trace.SpanID]int)
	for _, r := range rows {
		if r.Signal == trace.SignalLog {
			logs = append(logs, r)
			continue
		}
		spans = append(spans, r)
	}
	slices.SortStableFunc(spans, func(a, b trace.Span) int {
		return cmp.Or(cmp.Compare(a.StartUnixNano, b.StartUnixNano), bytes.Compare(a.SpanID[:], b.SpanID[:]))
	})
	if len(logs) == 0 {
		return spans
	}
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

// setAsideSegment takes a corrupt segment out of the store and names it, so that
// the rest answers. It reports false for any other error.
func (s *Store) setAsideSegment(f *segmentFile, err error) bool {
	var bad *segment.CorruptError
	if !errors.As(err, &bad) {
		return false
	}
	if s.noteCorrupt(f.Path, faultWords(err)) {
		s.noteLost(f.segmentRecord)
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
