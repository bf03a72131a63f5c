package query

import (
	"math/bits"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// spanIDs are the ids of a block's rows.
type spanIDs struct{ traces, spans, parents []byte }

func (v *view) spanIDs() (*spanIDs, error) {
	var out [3]*column.Vector
	for i, name := range [...]string{column.TraceID, column.SpanID, column.ParentID} {
		var err error
		if out[i], err = v.fixed(name); err != nil {
			return nil, err
		}
	}
	return &spanIDs{out[0].Fixed, out[1].Fixed, out[2].Fixed}, nil
}

func (s *spanIDs) trace(row int) trace.ID      { return trace.ID(s.traces[16*row : 16*row+16]) }
func (s *spanIDs) span(row int) trace.SpanID   { return trace.SpanID(s.spans[8*row : 8*row+8]) }
func (s *spanIDs) parent(row int) trace.SpanID { return trace.SpanID(s.parents[8*row : 8*row+8]) }

// isRoot reports whether the row names no parent, or itself.
func (s *spanIDs) isRoot(row int) bool {
	p := s.parent(row)
	return p.IsZero() || p == s.span(row)
}

// spanRows leaves the rows that are spans and not log records; nil: of all rows.
func (v *view) spanRows(rows column.Bitmap) (column.Bitmap, error) {
	sel := &selection{rows: v.rows, bits: rows}
	out := sel.bitmap()
	if v.onlySpans() {
		return out, nil
	}
	signal, err := v.fixed(column.Signal)
	if err != nil {
		return nil, err
	}
	between(signal.Ints, int64(trace.SignalSpan), int64(trace.SignalSpan), out)
	return out, nil
}

// numbered are the spans of one scope around a block's rows: 1 + number by row, 0
// where there is none or the row was not asked for.
type numbered struct {
	spans []uint32
	rows  column.Bitmap // asked for; nil: all
}

// numbers returns the spans of a scope around rows of the block; nil: all rows.
func (v *view) numbers(s scope, need column.Bitmap) ([]uint32, error) {
	have := v.around[s]
	if have != nil {
		if have.rows == nil || need != nil && isWithin(need, have.rows) {
			return have.spans, nil
		}
		if need != nil {
			need = union(need, have.rows)
		}
	}
	ids, err := v.spanIDs()
	if err != nil {
		return nil, err
	}
	rows := need
	if need == nil {
		rows = column.NewBitmap(v.rows)
		fill(rows, v.rows)
	} else {
		need = append(column.Bitmap(nil), need...) // who asked may change it
	}
	n := &numbered{spans: make([]uint32, v.rows), rows: need}
	of := v.resolved.numberer(s)
	for w, word := range rows {
		for ; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			n.spans[row] = uint32(of(ids.trace(row), ids.span(row), ids.parent(row)) + 1)
		}
	}
	if v.around == nil {
		v.around = make(map[scope]*numbered)
	}
	v.around[s] = n
	return n.spans, nil
}

// numberer returns what finds the span of a scope for rows, one after the other: its
// number, or -1.
func (r *resolution) numberer(s scope) func(id trace.ID, span, parent trace.SpanID) int {
	last, number := trace.Ref{}, -2
	find := func(t *spanTable, ref trace.Ref) int {
		if number == -2 || ref != last {
			last, number = ref, t.find(&ref)
		}
		return number
	}
	switch s {
	case scopeParent:
		return func(id trace.ID, span, parent trace.SpanID) int {
			if parent.IsZero() || parent == span {
				return -1
			}
			return find(r.parents, trace.Ref{TraceID: id, SpanID: parent})
		}
	case scopeChild:
		return func(id trace.ID, span, _ trace.SpanID) int {
			return find(r.spans, trace.Ref{TraceID: id, SpanID: span})
		}
	case scopeRipple:
		return func(id trace.ID, span, _ trace.SpanID) int {
			n := find(r.traces, trace.Ref{TraceID: id})
			if n < 0 || n >= len(r.begins) || r.begins[n] != span || span.IsZero() {
				return -1
			}
			return n
		}
	case scopeOrigin, scopeCause:
		return func(id trace.ID, span, _ trace.SpanID) int {
			n := find(r.traces, trace.Ref{TraceID: id})
			if n < 0 || r.thread[s] == nil {
				return -1
			}
			return r.thread[s].of(n, trace.Ref{TraceID: id, SpanID: span})
		}
	}
	return func(id trace.ID, _, _ trace.SpanID) int { return find(r.traces, trace.Ref{TraceID: id}) }
}

// scopedVectors returns the vectors of a column of the spans around the rows; nil:
// of all rows.
func (v *view) scopedVectors(s scope, name string, need column.Bitmap) ([]*column.Vector, error) {
	if v.resolved == nil || v.resolved.values[s] == nil {
		return nil, nil
	}
	from := v.resolved.values[s].vectors(name)
	if len(from) == 0 {
		return nil, nil
	}
	spans, err := v.numbers(s, need)
	if err != nil {
		return nil, err
	}
	out := make([]*column.Vector, 0, len(from))
	for _, f := range from {
		vec := &column.Vector{Type: f.Type, Present: column.NewBitmap(v.rows), Dict: f.Dict}
		any := false
		switch {
		case f.IDs != nil:
			vec.IDs = make([]uint32, v.rows)
		case f.Floats != nil:
			vec.Floats = make([]float64, v.rows)
		default:
			vec.Ints = make([]int64, v.rows)
		}
		for row, n := range spans {
			if n == 0 || !f.Present.Has(int(n-1)) {
				continue
			}
			any = true
			vec.Present.Set(row)
			switch {
			case f.IDs != nil:
				vec.IDs[row] = f.IDs[n-1]
			case f.Floats != nil:
				vec.Floats[row] = f.Floats[n-1]
			default:
				vec.Ints[row] = f.Ints[n-1]
			}
		}
		if any {
			out = append(out, vec)
		}
	}
	return out, nil
}

// keepsAround returns the rows of within around which there is a span that the
// filters of a scope ask for.
func (v *view) keepsAround(place int, within column.Bitmap) (column.Bitmap, error) {
	hit := column.NewBitmap(v.rows)
	r := v.resolved
	if r == nil || place >= len(r.found) {
		return hit, nil
	}
	s := r.where.exists[place].scope
	if s != scopeChild {
		s = scopeAny // all of a trace
	}
	spans, err := v.numbers(s, within)
	if err != nil {
		return nil, err
	}
	found := r.found[place]
	for w, word := range within {
		for ; word != 0; word &= word - 1 {
			row := w<<6 | bits.TrailingZeros64(word)
			if n := spans[row]; n > 0 && found.Has(int(n-1)) {
				hit.Set(row)
			}
		}
	}
	return hit, nil
}

// value is the value of a column of the span around a single one.
func (r *resolution) value(s scope, name string, span *trace.Span) trace.Value {
	if r == nil || r.values[s] == nil {
		return trace.Value{}
	}
	n := r.numberer(s)(span.TraceID, span.SpanID, span.ParentID)
	if n < 0 {
		return trace.Value{}
	}
	for _, vec := range r.values[s].vectors(name) {
		if vec.Has(n) {
			return own(at(vec, n))
		}
	}
	return trace.Value{}
}
