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
// where the spans of a trace come from different ones.
type threadEnds struct {
	origins, causes []int32 // by trace: the number of the span, -1: none
	refs            map[scope]*spanTable
	apart           map[trace.Ref][2]int32 // of single spans: origin and cause
	isApart         column.Bitmap          // traces whose spans have origins of their own
}

func (t *threadEnds) bytes() int64 {
	n := int64(4*cap(t.origins)+4*cap(t.causes)+8*cap(t.isApart)) + 80*int64(len(t.apart))
	for _, r := range t.refs {
		n += r.bytes()
	}
	return n
}

// of returns the number of a row's origin or cause, -1: none.
func (t *threadEnds) of(s scope, traceNumber int, span trace.SpanID) int {
	list := t.origins
	if s == scopeCause {
		list = t.causes
	}
	return int(list[traceNumber])
}

// follow finds the origins and causes of the rows' traces and reads their columns.
func (r *resolution) follow(ctx context.Context) error {
	origin, cause := r.where.scopedNames(scopeOrigin), r.where.scopedNames(scopeCause)
	if len(origin)+len(cause) == 0 {
		return nil
	}
	t := &threadEnds{refs: map[scope]*spanTable{scopeOrigin: newSpanTable(), scopeCause: newSpanTable()}}
	r.thread = t
	var found []graph.TraceOrigin
	if r.threads != nil {
		var err error
		if found, err = r.threads.Origins(ctx, r.traces.traces()); err != nil {
			return err
		}
	}
	n := len(r.traces.keys)
	t.origins, t.causes = make([]int32, n), make([]int32, n)
	told := &untold{}
	for i := range n {
		t.origins[i], t.causes[i] = -1, -1
		if found == nil {
			continue
		}
		o := &found[i]
		told.rows += int64(r.rows[i])
		switch o.Status {
		case graph.Found:
			t.origins[i] = int32(t.refs[scopeOrigin].number(&o.Origin))
		case graph.Ambiguous:
			told.ambiguous += int64(r.rows[i])
		default:
			told.add(o.Reason, int64(r.rows[i]))
		}
		if !o.Cause.SpanID.IsZero() {
			t.causes[i] = int32(t.refs[scopeCause].number(&o.Cause))
		}
	}
	if err := r.charge(); err != nil {
		return err
	}
	for _, s := range []scope{scopeOrigin, scopeCause} {
		names := origin
		if s == scopeCause {
			names = cause
		}
		if len(names) == 0 {
			continue
		}
		if err := r.readEnds(ctx, s, names, told); err != nil {
			return err
		}
	}
	if len(origin) > 0 {
		r.warnings = append(r.warnings, told.warnings()...)
	}
	return nil
}

// untold counts the rows whose origin is not known.
type untold struct {
	rows, ambiguous, expired int64
	unknown                  map[string]int64 // by reason
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
func (r *resolution) readEnds(ctx context.Context, s scope, names []string, told *untold) error {
	t := r.thread
	refs := t.refs[s]
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
	gone := column.NewBitmap(values.n)
	for _, i := range wanted {
		if f.order[i].rank == 0 {
			gone.Set(int(i))
		}
	}
	list, word := t.origins, "origin"
	if s == scopeCause {
		list, word = t.causes, "cause"
	}
	rows := int64(0)
	for i, n := range list {
		if n >= 0 && gone.Has(int(n)) {
			rows += int64(r.rows[i])
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
	err := r.eachSummary(ctx, ids, func(i int, s *graph.Summary) error {
		if s.Root {
			r.begins[numbers[i]] = s.SpanID
		}
		return nil
	})
	if err != nil {
		return err
	}
	ripples, err := r.threads.Ripples(ctx, ids)
	if err != nil {
		return err
	}
	cut := 0
	for i := range ripples {
		p := &ripples[i]
		if p.Traces == 0 {
			r.begins[numbers[i]] = trace.SpanID{}
			continue
		}
		cut += int(b2u(p.Cut))
		for _, name := range names {
			if err := values.cols[name].set(numbers[i], n, rippleValue(p, name)); err != nil {
				return err
			}
		}
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
