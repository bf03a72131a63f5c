package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// threadEnds are the origins and causes of the rows' traces, and of single rows
// where those of a trace have different ones.
type threadEnds struct {
	ends  map[scope]*endList
	spans *spanTable    // the rows that are answered one by one
	apart column.Bitmap // the traces of these
}

// endList is where rows come from: the number in refs, -1 for none.
type endList struct {
	refs    *spanTable
	byTrace []int32
	bySpan  []int32
	rows    []int64 // by number in refs
}

func (t *threadEnds) bytes() int64 {
	n := t.spans.bytes() + int64(8*cap(t.apart))
	for _, e := range t.ends {
		n += e.refs.bytes() + int64(4*cap(e.byTrace)+4*cap(e.bySpan)+8*cap(e.rows))
	}
	return n
}

// of returns the number of a row's origin or cause, -1: none.
func (t *threadEnds) of(s scope, traceNumber int, ref trace.Ref) int {
	e := t.ends[s]
	if !t.apart.Has(traceNumber) {
		return int(e.byTrace[traceNumber])
	}
	if n := t.spans.find(&ref); n >= 0 && n < len(e.bySpan) {
		return int(e.bySpan[n])
	}
	return -1
}

// number returns the number of an end that is of so many rows; one without a span
// has none.
func (e *endList) number(ref trace.Ref, rows int64) int32 {
	if ref.SpanID.IsZero() {
		return -1
	}
	n := e.refs.number(&ref)
	if n == len(e.rows) {
		e.rows = append(e.rows, 0)
	}
	e.rows[n] += rows
	return int32(n)
}

// follow finds the origins and causes of the rows' traces, and of single rows where
// they differ within a trace, and reads their columns.
func (r *resolution) follow(ctx context.Context) error {
	origin, cause := r.where.scopedNames(scopeOrigin), r.where.scopedNames(scopeCause)
	if len(origin)+len(cause) == 0 || r.threads == nil {
		return nil
	}
	n := len(r.traces.keys)
	t := &threadEnds{spans: newSpanTable(), apart: column.NewBitmap(n), ends: make(map[scope]*endList)}
	found, err := r.threads.Origins(ctx, r.traces.traces())
	if err != nil {
		return err
	}
	for i := range found {
		// Where a trace goes on in another process, its rows have causes within it.
		if found[i].Apart || len(cause) > 0 && !r.alone(i) {
			t.apart.Set(i)
		}
	}
	if err := r.collectApart(ctx, t); err != nil {
		return err
	}
	r.thread = t
	told := &untold{}
	if len(origin) > 0 {
		e := &endList{refs: newSpanTable(), byTrace: make([]int32, n)}
		t.ends[scopeOrigin] = e
		for i := range found {
			if e.byTrace[i] = -1; !t.apart.Has(i) {
				e.byTrace[i] = told.take(e, &found[i], int64(r.rows[i]))
			}
		}
		spans, err := r.threads.SpanOrigins(ctx, t.spans.keys)
		if err != nil {
			return err
		}
		e.bySpan = make([]int32, len(spans))
		for i := range spans {
			e.bySpan[i] = told.take(e, &spans[i], 1)
		}
		if err := r.readEnds(ctx, scopeOrigin, origin, e); err != nil {
			return err
		}
		r.warnings = append(r.warnings, told.warnings()...)
	}
	if len(cause) > 0 {
		e := &endList{refs: newSpanTable(), byTrace: make([]int32, n)}
		t.ends[scopeCause] = e
		for i := range found {
			if e.byTrace[i] = -1; !t.apart.Has(i) {
				e.byTrace[i] = e.number(found[i].Cause, int64(r.rows[i]))
			}
		}
		if err := r.causesApart(ctx, t, e); err != nil {
			return err
		}
		if err := r.readEnds(ctx, scopeCause, cause, e); err != nil {
			return err
		}
	}
	return r.charge()
}

// alone reports whether all rows of a trace are its roots: what caused the trace
// caused them.
func (r *resolution) alone(i int) bool { return r.heads.Has(i) && r.rows[i] == 1 }

// collectApart numbers the rows of the traces that are answered row by row.
func (r *resolution) collectApart(ctx context.Context, t *threadEnds) error {
	if t.apart.Count() == 0 {
		return nil
	}
	for i := range r.page {
		if n := r.traces.find(&trace.Ref{TraceID: r.page[i].TraceID}); n >= 0 && t.apart.Has(n) {
			t.spans.number(&r.page[i])
		}
	}
	first := r.where.first()
	r.lease.expect(r.live)
	return r.lease.eachBlock(ctx, r.lease.workers(len(r.live)), r.live, func(_ int, b column.Block) error {
		v := first.view(ctx, b, r.hold)
		defer v.release()
		sel, err := first.choose(v)
		if err != nil || sel.count() == 0 {
			return err
		}
		ids, err := v.spanIDs()
		if err != nil {
			return err
		}
		var list []trace.Ref
		last, apart := trace.ID{}, false
		for k, row := range rowsOf(sel.bitmap(), nil) {
			id := ids.trace(int(row))
			if k == 0 || id != last {
				n := r.traces.find(&trace.Ref{TraceID: id})
				last, apart = id, n >= 0 && t.apart.Has(n)
			}
			if apart {
				list = append(list, trace.Ref{TraceID: id, SpanID: ids.span(int(row))})
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		before := t.spans.bytes()
		for i := range list {
			t.spans.number(&list[i])
		}
		return r.hold(t.spans.bytes() - before)
	})
}

// causesApart finds the causes of rows one by one.
func (r *resolution) causesApart(ctx context.Context, t *threadEnds, e *endList) error {
	refs, err := r.threads.SpanCauses(ctx, t.spans.keys)
	if err != nil {
		return err
	}
	e.bySpan = make([]int32, len(refs))
	for i := range refs {
		e.bySpan[i] = e.number(refs[i], 1)
	}
	return nil
}

// untold counts the rows whose origin is not known.
type untold struct {
	rows, ambiguous int64
	unknown         map[string]int64 // by reason
}

func (u *untold) add(reason string, rows int64) {
	if u.unknown == nil {
		u.unknown = make(map[string]int64)
	}
	u.unknown[reason] += rows
}

// reasonWords say why an origin is not known.
var reasonWords = map[string]string{
	graph.NotArrived: "the cause has not arrived", graph.SampledOut: "the cause was sampled out", graph.LinksDropped: "the sender dropped links",
	graph.NotRecorded: "the cause was not recorded", graph.Expired: "the cause has expired", graph.Cut: "the search was cut",
}

// take returns the number of an origin that is of so many rows, -1 if it is not
// known.
func (u *untold) take(e *endList, o *graph.TraceOrigin, rows int64) int32 {
	u.rows += rows
	switch o.Status {
	case graph.Found:
		return e.number(o.Origin, rows)
	case graph.Ambiguous:
		u.ambiguous += rows
	default:
		u.add(o.Reason, rows)
	}
	return -1
}

func (u *untold) warnings() []string {
	var out []string
	if u.ambiguous > 0 {
		out = append(out, fmt.Sprintf("The origin of %d of %d rows is ambiguous: several began what led to them. They have none here.", u.ambiguous, u.rows))
	}
	if len(u.unknown) > 0 {
		sum := int64(0)
		var why []string
		for reason, n := range u.unknown {
			sum += n
			words := reasonWords[reason]
			if words == "" {
				words = reason
			}
			why = append(why, fmt.Sprintf("%s: %d", words, n))
		}
		slices.Sort(why)
		out = append(out, fmt.Sprintf("The origin of %d of %d rows is unknown (%s).", sum, u.rows, strings.Join(why, "; ")))
	}
	return out
}

// ofSummary are the columns of a trace's root that its summary tells.
func ofSummary(s *graph.Summary, name string) (trace.Value, bool) {
	switch name {
	case column.Name:
		return trace.String(s.Name), true
	case column.Service:
		if s.Service == "" {
			return trace.Value{}, true
		}
		return trace.String(s.Service), true
	case "http.route":
		if s.Route == "" {
			return trace.Value{}, true
		}
		return trace.String(s.Route), true
	case column.Environment:
		return trace.String(s.Environment), true
	case column.Kind:
		return trace.String(kindNames.of(int(s.Kind))), true
	case column.Start:
		return trace.Int(s.RootStartUnixNano), true
	case column.TraceID:
		return trace.String(s.TraceID.String()), true
	case column.SpanID:
		return trace.String(s.SpanID.String()), true
	case isRoot:
		return trace.Bool(s.Root), true
	}
	for _, n := range append([]string{name}, aliases[name]...) {
		for _, a := range s.Kept {
			if a.Key == n {
				return a.Value, false
			}
		}
	}
	return trace.Value{}, false
}

// readEnds reads columns of the origins or causes: from the summaries of their
// traces as far as these tell them, else from the spans, and where these are gone
// what the summaries keep.
func (r *resolution) readEnds(ctx context.Context, s scope, names []string, e *endList) error {
	refs := e.refs
	values := newSpanValues(len(refs.keys), names)
	r.values[s] = values
	if values.n == 0 {
		return nil
	}
	var wanted []int32 // of which the spans have to be read
	err := r.eachSummary(ctx, refs.traces(), func(i int, sum *graph.Summary) error {
		known := sum.TraceID == refs.keys[i].TraceID && sum.SpanID == refs.keys[i].SpanID
		whole := known
		for _, name := range names {
			if !known {
				break
			}
			v, sure := ofSummary(sum, name)
			whole = whole && sure
			if err := values.cols[name].set(i, values.n, v); err != nil {
				return err
			}
		}
		if !whole {
			wanted = append(wanted, int32(i))
		}
		return nil
	})
	if err != nil || len(wanted) == 0 {
		return err
	}
	blocks, err := r.reaching(ctx, refs, wanted, r.blocks)
	if err != nil {
		return err
	}
	f := &fetch{resolution: r, table: refs, values: values}
	if err := f.run(ctx, blocks); err != nil {
		return err
	}
	word := "origin"
	if s == scopeCause {
		word = "cause"
	}
	rows := int64(0)
	for _, i := range wanted {
		if f.order[i].rank == 0 {
			rows += e.rows[i]
		}
	}
	if rows > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("The %s of %d rows is not stored any more: of it only service, name, route, time and the kept attributes are known.", word, rows))
	}
	return nil
}

// RippleColumns are the measures of the thread that a row began.
var RippleColumns = []string{"ripple.traces", "ripple.messages", "ripple.jobs", "ripple.requests", "ripple.errors", "ripple.busy_ms", "ripple.last_effect_ms"}

// measure measures the threads that rows begin.
func (r *resolution) measure(ctx context.Context) error {
	names := r.where.scopedNames(scopeRipple)
	if len(names) == 0 || r.threads == nil {
		return nil
	}
	n := len(r.traces.keys)
	r.begins = make([]trace.SpanID, n)
	values := newSpanValues(n, names)
	r.values[scopeRipple] = values
	var numbers []int
	var ids []trace.ID
	for i := range r.traces.keys {
		if r.heads.Has(i) {
			numbers, ids = append(numbers, i), append(ids, r.traces.keys[i].TraceID)
		}
	}
	ripples, err := r.threads.Ripples(ctx, ids)
	if err != nil {
		return err
	}
	cut := 0
	var begins []trace.ID
	var which []int
	for i := range ripples {
		p := &ripples[i]
		if p.Traces == 0 {
			continue
		}
		begins, which = append(begins, ids[i]), append(which, numbers[i])
		cut += int(b2u(p.Cut))
		for _, name := range names {
			if err := values.cols[name].set(numbers[i], n, rippleValue(p, name)); err != nil {
				return err
			}
		}
	}
	if err := r.eachSummary(ctx, begins, func(i int, s *graph.Summary) error {
		if s.Root {
			r.begins[which[i]] = s.SpanID
		}
		return nil
	}); err != nil {
		return err
	}
	if cut > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("Of %d threads more was there than was counted: their ripple is larger than it says.", cut))
	}
	return r.charge()
}

// rippleValue is a measure of a thread.
func rippleValue(p *graph.Ripple, name string) trace.Value {
	ms := func(nanos int64) trace.Value { return trace.Float(float64(nanos) / 1e6) }
	switch name {
	case "traces":
		return trace.Int(int64(p.Traces))
	case "messages":
		return trace.Int(int64(p.Messages))
	case "jobs":
		return trace.Int(int64(p.Jobs))
	case "requests":
		return trace.Int(int64(p.Requests))
	case "errors":
		return trace.Int(int64(p.Errors))
	case "busy_ms":
		return ms(p.BusyNano)
	case "last_effect_ms":
		return ms(p.LastEffectNano)
	}
	return trace.Value{}
}
