package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// threadEnds are the origins and causes of the rows.
type threadEnds map[scope]*endList

// endList is where rows come from: numbers in refs, -1 for none, and below that of
// several, see group. A row in spans has that of bySpan, any other that of its trace.
type endList struct {
	refs    *spanTable
	groups  [][]int32 // several of which one is the end: numbers in refs
	grouped map[string]int32
	rows    []int64 // by number in refs: how many there are
	byTrace []int32
	apart   column.Bitmap // the traces with rows in spans
	spans   *spanTable
	bySpan  []int32
}

func newEndList(traces int) *endList {
	return &endList{refs: newSpanTable(), spans: newSpanTable(), byTrace: make([]int32, traces), apart: column.NewBitmap(traces)}
}

func (t threadEnds) bytes() int64 {
	n := int64(0)
	for _, e := range t {
		for _, g := range e.groups {
			n += int64(8*len(g)) + 64 // and its key
		}
		n += e.refs.bytes() + e.spans.bytes() + int64(4*cap(e.byTrace)+4*cap(e.bySpan)+8*cap(e.rows)+8*cap(e.apart))
	}
	return n
}

// of returns the number of a row's origin or cause, -1: none. Those of groups come
// after those of refs.
func (e *endList) of(traceNumber int, ref trace.Ref) int {
	end := e.byTrace[traceNumber]
	if e.apart.Has(traceNumber) {
		if n := e.spans.find(&ref); n >= 0 && n < len(e.bySpan) {
			end = e.bySpan[n]
		}
	}
	if end < -1 {
		return len(e.refs.keys) + int(-2-end)
	}
	return int(end)
}

// group returns the number of several ends, one of which is that of so many rows: what
// they have in common is known.
func (e *endList) group(refs []trace.Ref, rows int64) int32 {
	list := make([]int32, 0, len(refs))
	for _, ref := range refs {
		n := e.number(ref, 0)
		if n < 0 {
			return -1
		}
		list = append(list, n)
	}
	if len(list) == 0 {
		return -1
	}
	e.rows[list[0]] += rows
	slices.Sort(list)
	key := fmt.Sprint(list)
	at, ok := e.grouped[key]
	if !ok {
		if e.grouped == nil {
			e.grouped = make(map[string]int32)
		}
		at = int32(len(e.groups))
		e.groups, e.grouped[key] = append(e.groups, list), at
	}
	return -2 - at
}

// agree gives each group the values that all of its members have.
func (e *endList) agree(values *spanValues) error {
	for _, name := range values.names {
		vecs := values.vectors(name)
		for k, group := range e.groups {
			v, ok := common(vecs, group)
			if !ok {
				continue
			}
			if err := values.cols[name].set(len(e.refs.keys)+k, values.n, v); err != nil {
				return err
			}
		}
	}
	return nil
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
// they differ within a trace, and reads their columns. The blocks hold the spans of
// these traces.
func (r *resolution) follow(ctx context.Context, blocks []column.Block) error {
	origin, cause := r.where.scopedNames(scopeOrigin), r.where.scopedNames(scopeCause)
	if len(origin)+len(cause) == 0 || r.threads == nil {
		return nil
	}
	found, err := r.threads.Origins(ctx, r.traces.traces())
	if err != nil {
		return err
	}
	r.thread = threadEnds{}
	if len(origin) > 0 {
		e := newEndList(len(found))
		r.thread[scopeOrigin] = e
		if err := r.origins(ctx, found, e); err != nil {
			return err
		}
		if err := r.readEnds(ctx, scopeOrigin, origin, e); err != nil {
			return err
		}
		if err := e.agree(r.values[scopeOrigin]); err != nil {
			return err
		}
	}
	if len(cause) > 0 {
		e := newEndList(len(found))
		r.thread[scopeCause] = e
		if err := r.causes(ctx, found, blocks, e); err != nil {
			return err
		}
		if err := r.readEnds(ctx, scopeCause, cause, e); err != nil {
			return err
		}
	}
	return r.charge()
}

// origins finds where the rows begin.
func (r *resolution) origins(ctx context.Context, found []graph.TraceOrigin, e *endList) error {
	told := &untold{}
	apart := column.NewBitmap(len(found))
	for i := range found {
		if e.byTrace[i] = -1; found[i].Apart {
			apart.Set(i)
		} else {
			e.byTrace[i] = told.take(e, &found[i], int64(r.rows[i]))
		}
	}
	err := r.eachApart(ctx, apart, e, "where they began", func(refs []trace.Ref) error {
		spans, err := r.threads.SpanOrigins(ctx, refs)
		for i := range spans {
			e.bySpan = append(e.bySpan, told.take(e, &spans[i], 1))
		}
		return err
	})
	r.warnings = append(r.warnings, told.warnings()...)
	return err
}

// causes finds what caused the rows: where a trace goes on in another process, they
// have causes within it.
func (r *resolution) causes(ctx context.Context, found []graph.TraceOrigin, blocks []column.Block, e *endList) error {
	if err := r.threads.PlaceCauses(ctx, found); err != nil {
		return err
	}
	apart, several := column.NewBitmap(len(found)), column.NewBitmap(len(found))
	for i := range found {
		o := &found[i]
		switch {
		case o.Apart, !o.Cause.TraceID.IsZero() && o.Cause.SpanID.IsZero(), o.Reason == graph.Cut && o.Cause.TraceID.IsZero(),
			!r.alone(i) && r.where.anySignal:
			apart.Set(i)
		case !r.alone(i):
			several.Set(i)
		}
	}
	if err := r.legs(ctx, blocks, several, e); err != nil {
		return err
	}
	for i := range found {
		switch e.byTrace[i] = -1; {
		case several.Has(i):
			apart.Set(i)
		case !apart.Has(i):
			e.byTrace[i] = e.number(found[i].Cause, int64(r.rows[i]))
		}
	}
	return r.eachApart(ctx, apart, e, "what caused them", func(refs []trace.Ref) error {
		causes, err := r.threads.SpanCauses(ctx, refs)
		for i := range causes {
			e.bySpan = append(e.bySpan, e.number(causes[i], 1))
		}
		return err
	})
}

// alone reports whether all rows of a trace are its roots: what caused the trace
// caused them.
func (r *resolution) alone(i int) bool { return r.heads.Has(i) && r.rows[i] == 1 }

const (
	// maxApart bounds the rows for which the spans of their traces are read (about
	// 5 s of a processor for a million).
	maxApart = 1_000_000
	// apartChunk is how many of these rows are asked for at once, and apartBytes what
	// the answer takes at most, with the spans that are read for it: apartRowBytes for
	// each row and for a few traces at a time apartLeastBytes.
	apartChunk      = 64 << 10
	apartBytes      = 32 << 20
	apartRowBytes   = 4 << 10
	apartLeastBytes = 1 << 20
)

// eachApart numbers the rows of some traces and has them answered, those of a trace
// together; what they are asked for is said to whoever asks too much.
func (r *resolution) eachApart(ctx context.Context, apart column.Bitmap, e *endList, what string, ask func(refs []trace.Ref) error) error {
	if apart.Count() == 0 {
		return nil
	}
	asked := int64(0)
	for i := range e.apart {
		e.apart[i] |= apart[i]
	}
	for i := range r.rows {
		if apart.Has(i) {
			asked += int64(r.rows[i])
		}
	}
	if asked > int64(r.maxApart) {
		return &InvalidError{"filters", fmt.Sprintf("To find %s, the traces of %d rows would have to be read one by one; at most %d are. "+
			"Filter more by the rows' own columns (with is_root = true a trace is asked for once), or take a shorter time range.", what, asked, r.maxApart)}
	}
	rows, err := r.rowsOf(ctx, apart)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b apartRow) int { return cmp.Compare(a.trace, b.trace) })
	held := int64(min(apartBytes, apartLeastBytes+apartRowBytes*len(rows)) + int(unsafe.Sizeof(apartRow{}))*cap(rows))
	if err := r.hold(held); err != nil {
		return err
	}
	defer func() { _ = r.hold(-held) }() // giving back is no reason to stop
	r.lease.more(int64(len(rows)))
	refs := make([]trace.Ref, 0, min(apartChunk, len(rows)))
	for i := range rows {
		ref := trace.Ref{TraceID: r.traces.keys[rows[i].trace].TraceID, SpanID: rows[i].span}
		if before := len(e.spans.keys); e.spans.number(&ref) == before {
			refs = append(refs, ref)
		}
		if last := i == len(rows)-1; last || len(refs) >= apartChunk && rows[i+1].trace != rows[i].trace {
			if err := ask(refs); err != nil {
				return err
			}
			r.lease.read(int64(len(refs)))
			refs = refs[:0]
			if err := r.charge(); err != nil {
				return err
			}
		}
	}
	return nil
}

// apartRow is a row whose trace does not answer for it.
type apartRow struct {
	trace int32 // number
	span  trace.SpanID
}

// rowsOf are the rows of some traces.
func (r *resolution) rowsOf(ctx context.Context, of column.Bitmap) ([]apartRow, error) {
	var out []apartRow
	for i := range r.page {
		if n := r.traces.find(&trace.Ref{TraceID: r.page[i].TraceID}); n >= 0 && of.Has(n) {
			out = append(out, apartRow{int32(n), r.page[i].SpanID})
		}
	}
	err := r.eachLive(ctx, func(v *view, rows column.Bitmap) error {
		ids, err := v.spanIDs()
		if err != nil {
			return err
		}
		var list []apartRow
		last, number := trace.ID{}, -1
		for k, row := range rowsOf(rows, nil) {
			if id := ids.trace(int(row)); k == 0 || id != last {
				last, number = id, r.traces.find(&trace.Ref{TraceID: id})
			}
			if number >= 0 && of.Has(number) {
				list = append(list, apartRow{int32(number), ids.span(int(row))})
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		out = append(out, list...)
		return nil
	})
	return out, err
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
	graph.TooMany: "too many spans share the value of its correlation",
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
		return e.group(o.Origins, rows)
	default:
		u.add(o.Reason, rows)
	}
	return -1
}

func (u *untold) warnings() []string {
	var out []string
	if u.ambiguous > 0 {
		out = append(out, fmt.Sprintf("The origin of %d of %d rows is ambiguous: several may have begun what led to them. Of it only that is known which all of these have in common.", u.ambiguous, u.rows))
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
	values := newSpanValues(len(refs.keys)+len(e.groups), names)
	r.values[s] = values
	if values.n == 0 {
		return nil
	}
	var wanted []int32 // of which the spans have to be read
	// What the summaries keep stands also for spans that do not say it themselves:
	// it may come from another span of the same service.
	type keptValue struct {
		name  string
		at    int
		value trace.Value
	}
	var kept []keptValue
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
			if !sure && v.Type != trace.TypeNone {
				kept = append(kept, keptValue{name, i, v})
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
	size := int64(len(kept)) * int64(unsafe.Sizeof(keptValue{}))
	if err := r.hold(size); err != nil {
		return err
	}
	defer func() { _ = r.hold(-size) }() // giving back is no reason to stop
	for _, k := range kept {
		if c := values.cols[k.name]; !c.has(k.at) {
			if err := c.set(k.at, values.n, k.value); err != nil {
				return err
			}
		}
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
var RippleColumns = []string{"ripple.traces", "ripple.spans", "ripple.messages", "ripple.jobs", "ripple.requests", "ripple.errors", "ripple.busy_ms", "ripple.last_effect_ms"}

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
	cut, shared := 0, 0
	var begins []trace.ID
	var which []int
	for i := range ripples {
		p := &ripples[i]
		if p.Traces == 0 {
			continue
		}
		begins, which = append(begins, ids[i]), append(which, numbers[i])
		cut += int(b2u(p.Cut))
		shared += int(b2u(p.Shared > 0))
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
	if shared > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("Of %d threads a part may be of others, as work on a batch of messages of several requests: "+
			"each has it whole, so their ripples are upper bounds, and a sum of them counts it more than once.", shared))
	}
	return r.charge()
}

// rippleValue is a measure of a thread.
func rippleValue(p *graph.Ripple, name string) trace.Value {
	ms := func(nanos int64) trace.Value { return trace.Float(float64(nanos) / 1e6) }
	switch name {
	case "traces":
		return trace.Int(int64(p.Traces))
	case "spans":
		return trace.Int(int64(p.Spans))
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
