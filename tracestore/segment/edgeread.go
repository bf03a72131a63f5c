package segment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// The questions below are asked for many traces or keys at once. In the order of
// ids, or of keys, each block is unpacked once and each step is short.

// Summaries calls fn with what the run knows of traces, and with the position of
// each in ids. The summary is only valid until fn returns, its strings for ever.
func (e *Edges) Summaries(ids []trace.ID, fn func(i int, s *graph.Summary)) error {
	r, err := e.reader()
	if err != nil {
		return err
	}
	var s graph.Summary
	for i := range ids {
		b, at, err := r.find(&ids[i])
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		ok, err := r.summary(b, at, &s)
		if err != nil {
			return err
		}
		if ok {
			fn(i, &s)
		}
	}
	return nil
}

// Between lists, in order, the traces of which the run has a span and that may
// start in from ≤ t < to, as far as the run knows.
func (e *Edges) Between(ctx context.Context, from, to int64) (ids []trace.ID, err error) {
	r, err := e.reader()
	if err != nil {
		return nil, err
	}
	if e.footer.maxStart < from || e.footer.minStart >= to {
		return nil, nil
	}
	for block := range e.footer.from[traceSection+1] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := r.traces(block)
		if err != nil {
			return nil, err
		}
		delete(r.blocks, block) // it is used once
		if len(ids)+len(b.ids) > cap(ids) {
			ids = slices.Grow(ids, max(len(ids), len(b.ids)))
		}
		for i := range b.ids {
			if s := &b.sums[i]; s.spans > 0 && s.start >= from && s.start < to {
				ids = append(ids, b.ids[i])
			}
		}
	}
	return ids, nil
}

// Starts are the least and the greatest start of a trace of the run.
func (e *Edges) Starts() (least, most int64, err error) {
	if err := e.open(); err != nil {
		return 0, 0, err
	}
	return e.footer.minStart, e.footer.maxStart, nil
}

// edgeSection walks the records of a section by a number that they are in order of.
type edgeSection[T any] struct {
	e      *Edges
	which  int
	decode func([]byte) ([]T, error)
	number func(*T) uint32
	block  int // whose records list are; -1: none
	list   []T
	pos    int // in list, where the last search ended
}

func (s *edgeSection[T]) load(block int) error {
	if block == s.block {
		return nil
	}
	list, err := cachedBlock(s.e, block, func(raw []byte) ([]T, int64, error) {
		list, err := s.decode(raw)
		return list, int64(len(list))*32 + entryBytes, err
	})
	if err != nil {
		return err
	}
	s.block, s.list, s.pos = block, list, 0
	return nil
}

// seek is the position in list of the first record whose number is lo or more.
// Asked in order it goes on from where it was.
func (s *edgeSection[T]) seek(lo uint32) int {
	from, to := 0, len(s.list)
	if s.pos < to && s.number(&s.list[s.pos]) < lo {
		from = s.pos + 1
		for step := 1; from+step < to; step *= 2 {
			if s.number(&s.list[from+step]) >= lo {
				to = from + step
				break
			}
			from += step
		}
	} else {
		to = min(to, s.pos+1)
		if s.pos == 0 || s.number(&s.list[s.pos-1]) < lo {
			from = min(s.pos, to)
		}
	}
	for from < to {
		mid := int(uint(from+to) >> 1)
		if s.number(&s.list[mid]) < lo {
			from = mid + 1
		} else {
			to = mid
		}
	}
	s.pos = min(from, max(0, len(s.list)-1))
	return from
}

// each calls fn with the records whose number n is lo ≤ n ≤ hi, until it says stop.
func (s *edgeSection[T]) each(lo, hi uint32, fn func(*T) (bool, error)) error {
	from, to := s.e.footer.from[s.which], s.e.footer.from[s.which+1]
	// The block before the first that begins at lo or later may have it too.
	block := s.block
	if block < 0 || s.e.first(block) >= lo || block+1 < to && s.e.first(block+1) < lo {
		block = max(from, from+sort.Search(to-from, func(i int) bool { return s.e.first(from+i) >= lo })-1)
	}
	for ; block < to && s.e.first(block) <= hi; block++ {
		if err := s.load(block); err != nil {
			return err
		}
		for i := s.seek(lo); i < len(s.list); i++ {
			if s.number(&s.list[i]) > hi {
				return nil
			}
			if more, err := fn(&s.list[i]); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

func (e *Edges) causes() edgeSection[causeRecord] {
	return edgeSection[causeRecord]{e: e, which: causeSection, decode: decodeCauses, number: causeNumber, block: -1}
}

func (e *Edges) effects() edgeSection[effectRecord] {
	return edgeSection[effectRecord]{e: e, which: effectSection, decode: decodeEffects, number: effectNumber, block: -1}
}

func (e *Edges) ends() edgeSection[endRecord] {
	return edgeSection[endRecord]{e: e, which: endSection, decode: decodeEnds, number: endNumber, block: -1}
}

func (e *Edges) requests() edgeSection[requestRecord] {
	return edgeSection[requestRecord]{e: e, which: requestSection, decode: decodeRequests, number: requestNumber, block: -1}
}

// Causes calls fn with the halves on the effect side of spans of some traces, until
// it says stop, and with the position of the trace in ids. fn must not keep the half.
func (e *Edges) Causes(ids []trace.ID, fn func(i int, h *graph.Half) bool) error {
	r, err := e.reader()
	if err != nil {
		return err
	}
	c := e.causes()
	var h graph.Half // one for all: fn has a pointer to it
	for i := range ids {
		b, at, err := r.find(&ids[i])
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		more, ok := true, false
		if h, ok = b.request(at); ok && h.Side&graph.EffectSide != 0 {
			more = fn(i, &h)
		}
		if more && b.first[at+1] > b.first[at] {
			if err := c.each(b.first[at], b.first[at+1]-1, func(rec *causeRecord) (bool, error) {
				if h, err = r.cause(b, at, rec); err == nil {
					more = fn(i, &h)
				}
				return more, err
			}); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
	return nil
}

// cause makes the half of a record whose span is of the trace.
func (r *edgeReader) cause(b *traceBlock, at int, rec *causeRecord) (h graph.Half, err error) {
	k := rec.of - b.first[0]
	h = graph.Half{Of: trace.Ref{TraceID: b.ids[at], SpanID: b.spanIDs[k]}, Side: graph.Side(rec.side), Rule: graph.RuleID(rec.rule),
		Unsampled: rec.unsampled, Key: rec.key, Dropped: rec.dropped, StartUnixNano: startOf(b.starts[k])}
	if rec.target != recordedNone {
		h.Target, _, err = r.ref(rec.target)
	}
	return h, err
}

func startOf(ms int64) int64 {
	if ms == unknownStart {
		return 0
	}
	return ms * millisecond
}

// Effects calls fn with the links whose target is a span of some traces, until it
// says stop, and with the position of the trace in ids.
func (e *Edges) Effects(ids []trace.ID, fn func(i int, l graph.Link) bool) error {
	r, err := e.reader()
	if err != nil {
		return err
	}
	c := e.effects()
	for i := range ids {
		b, at, err := r.find(&ids[i])
		if err != nil {
			return err
		}
		if b == nil || b.first[at+1] == b.first[at] {
			continue
		}
		more := true
		if err := c.each(b.first[at], b.first[at+1]-1, func(rec *effectRecord) (bool, error) {
			to, _, err := r.ref(rec.of)
			if err == nil {
				more = fn(i, graph.Link{From: trace.Ref{TraceID: b.ids[at], SpanID: b.spanIDs[rec.target-b.first[0]]}, To: to})
			}
			return more, err
		}); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	return nil
}

// Ends calls fn with the halves that have one of the keys, on either side, and
// with the position of the key in keys. fn's false skips the rest of the key. Of a
// mere sender only the trace is known, not the span.
func (e *Edges) Ends(keys []graph.Key, fn func(i int, h *graph.Half) bool) error {
	r, err := e.reader()
	if err != nil {
		return err
	}
	ends, requests := e.ends(), e.requests()
	for i, key := range keys {
		more := true
		hi, part := uint32(key>>32), requestPart(key)
		if err := ends.each(hi, hi, func(rec *endRecord) (bool, error) {
			if rec.key != key {
				return true, nil
			}
			h, err := r.end(rec)
			if err == nil {
				more = fn(i, &h)
			}
			return more, err
		}); err != nil {
			return err
		}
		if !more {
			continue
		}
		last := int64(-1)
		if err := requests.each(part, part, func(rec *requestRecord) (bool, error) {
			if int64(rec.block) == last {
				return true, nil
			}
			last = int64(rec.block)
			if int(rec.block) >= e.footer.from[traceSection+1] {
				return false, e.corrupt(-1, errEdges)
			}
			b, err := r.aside(int(rec.block))
			if err != nil {
				return false, err
			}
			for k := b.byRequest(key); more && k < len(b.requests) && b.requests[k].key == key; k++ {
				if h, ok := b.request(b.requests[k].at); ok {
					more = fn(i, &h)
				}
			}
			return more, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Sharing calls fn with the position of each key, which are in order, of which the
// run has halves on either side, and how many it may have: some may be of other
// keys whose upper part is the same. It looks at no spans.
func (e *Edges) Sharing(keys []graph.Key, fn func(i, n int)) error {
	if err := e.open(); err != nil {
		return err
	}
	ends := counter[endRecord]{edgeSection: e.ends(), from: e.footer.from[endSection]}
	requests := counter[requestRecord]{edgeSection: e.requests(), from: e.footer.from[requestSection]}
	for i, key := range keys {
		n, err := ends.count(uint32(key>>32), func(rec *endRecord) bool { return rec.key == key })
		if err != nil {
			return err
		}
		more, err := requests.count(requestPart(key), func(*requestRecord) bool { return true })
		if err != nil {
			return err
		}
		if n += more; n > 0 {
			fn(i, n)
		}
	}
	return nil
}

// counter counts the records of numbers that are asked for in order.
type counter[T any] struct {
	edgeSection[T]
	from int // the block to begin at
}

func (c *counter[T]) count(number uint32, is func(*T) bool) (n int, err error) {
	e, to := c.e, c.e.footer.from[c.which+1]
	// The block before the first that begins with the number or later may have it too.
	if c.from+1 < to && e.first(c.from+1) < number {
		c.from += sort.Search(to-c.from-1, func(n int) bool { return e.first(c.from+1+n) >= number })
	}
	for b := c.from; b < to && e.first(b) <= number; b++ {
		if err := c.load(b); err != nil {
			return 0, err
		}
		at := c.seek(number)
		for ; at < len(c.list) && c.number(&c.list[at]) == number; at++ {
			if is(&c.list[at]) {
				n++
			}
		}
		if at < len(c.list) {
			break
		}
	}
	return n, nil
}

// end makes the half of a record.
func (r *edgeReader) end(rec *endRecord) (h graph.Half, err error) {
	h = graph.Half{Side: graph.Side(rec.side), Rule: graph.RuleID(rec.rule), Key: rec.key, Dropped: rec.dropped}
	if rec.sender {
		b, at, err := r.ofTrace(rec.of)
		if err != nil {
			return h, err
		}
		h.Of.TraceID, h.StartUnixNano = b.ids[at], (floorDiv(b.sums[at].start, millisecond)+rec.start)*millisecond
		return h, nil
	}
	b, at, err := r.ofSpan(rec.of)
	if err != nil {
		return h, err
	}
	k := rec.of - b.first[0]
	h.Of, h.StartUnixNano = trace.Ref{TraceID: b.ids[at], SpanID: b.spanIDs[k]}, startOf(b.starts[k])
	return h, nil
}

// Verify reads the whole run: every record must be there, in order, and name
// spans that are there.
func (e *Edges) Verify(ctx context.Context) error {
	r, err := e.reader()
	if err != nil {
		return err
	}
	var last trace.ID
	traces, spans := 0, uint32(0)
	for block := range e.footer.from[traceSection+1] {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := r.traces(block)
		if err != nil {
			return err
		}
		delete(r.blocks, block)
		if b.first[0] != spans {
			return e.corrupt(e.offset(block), errors.New("spans are missing"))
		}
		spans = b.first[len(b.ids)]
		for i := range b.ids {
			if traces > 0 && compareIDs(&last, &b.ids[i]) >= 0 {
				return e.corrupt(e.offset(block), errors.New("traces are out of order"))
			}
			last = b.ids[i]
			traces++
			var s graph.Summary
			if _, err := r.summary(b, i, &s); err != nil {
				return err
			}
		}
	}
	if traces != e.footer.records[traceSection] || spans != e.footer.spans {
		return e.corrupt(-1, fmt.Errorf("%d traces with %d spans, the footer says %d and %d", traces, spans, e.footer.records[traceSection], e.footer.spans))
	}
	causes, effects, ends, requests := e.causes(), e.effects(), e.ends(), e.requests()
	return errors.Join(
		verify(ctx, &causes, spans, func(h *causeRecord) (a, b uint32) {
			if h.target == recordedNone {
				return h.of, 0
			}
			return h.of, h.target
		}),
		verify(ctx, &effects, spans, func(h *effectRecord) (a, b uint32) { return h.target, h.of }),
		verify(ctx, &ends, max(spans, uint32(traces)), func(h *endRecord) (a, b uint32) {
			if !h.sender && h.of >= spans || h.sender && h.of >= uint32(traces) {
				return recordedNone, 0
			}
			return h.of, 0
		}),
		verify(ctx, &requests, recordedNone, func(r *requestRecord) (a, b uint32) {
			if int(r.block) >= e.footer.from[traceSection+1] {
				return recordedNone, 0
			}
			return r.block, 0
		}))
}

// verify reads a section.
func verify[T any](ctx context.Context, s *edgeSection[T], spans uint32, of func(*T) (a, b uint32)) error {
	n, last := 0, uint32(0)
	for block := s.e.footer.from[s.which]; block < s.e.footer.from[s.which+1]; block++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.load(block); err != nil {
			return err
		}
		for i := range s.list {
			if a, b := of(&s.list[i]); a >= spans || b >= spans {
				return s.e.corrupt(s.e.offset(block), errors.New("an edge names a span that is not there"))
			}
			if at := s.number(&s.list[i]); at < last {
				return s.e.corrupt(s.e.offset(block), errors.New("edges are out of order"))
			} else {
				last = at
			}
		}
		n += len(s.list)
	}
	if n != s.e.footer.records[s.which] {
		return s.e.corrupt(-1, fmt.Errorf("%d edges, the footer says %d", n, s.e.footer.records[s.which]))
	}
	return nil
}
