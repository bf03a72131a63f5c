package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

const (
	// evidenceVersion is the "v" of a frozen body; a reader of old boards goes
	// by it.
	evidenceVersion = 2
	// maxEvidenceSpans is how many spans of a trace a pin keeps.
	maxEvidenceSpans = 5_000
	// maxEvidenceJSON keeps a pin under the limit of a board's store. A trace
	// whose spans are larger keeps fewer of them, and says so.
	maxEvidenceJSON = 6 << 20
)

// evidence reads what pins show. It is the collab.EvidenceSource.
type evidence struct {
	store interface {
		graph.Source
		Query(ctx context.Context, spec query.Spec) (*query.Result, error)
	}
	graph *graph.Graph
	now   func() time.Time
}

// Freeze implements collab.EvidenceSource.
func (e evidence) Freeze(ctx context.Context, l collab.Locator) (collab.Frozen, error) {
	var f collab.Frozen
	var err error
	switch l.Kind {
	case collab.KindSpan:
		f, err = e.freezeSpan(ctx, l.TraceID, l.SpanID)
	case collab.KindTrace:
		f, err = e.freezeTrace(ctx, l.TraceID)
	case collab.KindThread:
		f, err = e.freezeThread(ctx, l.TraceID)
	case collab.KindQuery:
		f, err = e.freezeQuery(ctx, l.Query)
	default:
		return f, &collab.InvalidError{Field: "kind", Message: "A pin is a span, trace, thread or query."}
	}
	if errors.Is(err, graph.ErrNotFound) {
		err = fmt.Errorf("%w: %w", collab.ErrNotFound, err)
	}
	if err == nil {
		f.Facts, err = evidenceFacts(l.Kind, f.Body)
	}
	return f, err
}

// traceSpans returns the spans of a trace without its log records.
func (e evidence) traceSpans(ctx context.Context, id trace.ID, limit int) ([]trace.Span, bool, error) {
	spans, truncated, err := e.store.TraceSpans(ctx, id, limit)
	if err != nil {
		return nil, false, fmt.Errorf("read trace %s: %w", id, err)
	}
	if len(spans) == 0 {
		return nil, false, fmt.Errorf("trace %s: %w", id, collab.ErrNotFound)
	}
	return spans, truncated, nil
}

// freezeSpan keeps the span and those on its path to the root, whole; the chain
// of causes behind it, across traces; and the measures of its trace.
func (e evidence) freezeSpan(ctx context.Context, id trace.ID, spanID trace.SpanID) (collab.Frozen, error) {
	spans, truncated, err := e.traceSpans(ctx, id, traceReadSpans)
	if err != nil {
		return collab.Frozen{}, err
	}
	byID := make(map[trace.SpanID]*trace.Span, len(spans))
	for i := range spans {
		if byID[spans[i].SpanID] == nil {
			byID[spans[i].SpanID] = &spans[i]
		}
	}
	span := byID[spanID]
	if span == nil {
		return collab.Frozen{}, fmt.Errorf("span %s of trace %s: %w", spanID, id, collab.ErrNotFound)
	}
	var path []*trace.Span
	seen := map[trace.SpanID]bool{spanID: true}
	for p := byID[span.ParentID]; p != nil && !seen[p.SpanID]; p = byID[p.ParentID] {
		seen[p.SpanID] = true
		path = append(path, p)
	}
	slices.Reverse(path)
	b := appendEvidenceHead(nil, collab.KindSpan, id)
	b = appendSpanJSON(append(b, `,"span":`...), span)
	b = append(b, `,"path":[`...)
	for i, p := range path {
		if i > 0 {
			b = append(b, ',')
		}
		// What does not fit is named at least.
		if before := len(b); len(appendSpanJSON(b, p)) > maxEvidenceJSON {
			b = appendBriefJSON(b[:before], p)
		} else {
			b = appendSpanJSON(b[:before], p)
		}
	}
	b = append(b, `],"chain":`...)
	if b, err = e.appendChain(b, func() (*graph.Origin, error) { return e.graph.Origin(ctx, id, spanID) }); err != nil {
		return collab.Frozen{}, err
	}
	b = appendMeasures(append(b, `,"trace":`...), spans, truncated)
	return collab.Frozen{Title: span.Name, Path: "/t/" + id.String() + "/" + spanID.String(), Body: append(b, '}')}, nil
}

// appendChain writes what is known of the origin: who began it, and the hops
// from there.
func (e evidence) appendChain(b []byte, read func() (*graph.Origin, error)) ([]byte, error) {
	o, err := read()
	if errors.Is(err, graph.ErrNotFound) {
		return append(b, "null"...), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read chain of causes: %w", err)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode chain of causes: %w", err)
	}
	return append(b, raw...), nil
}

// freezeTrace keeps the trace's spans, as many as fit, and the chain of causes
// before it.
func (e evidence) freezeTrace(ctx context.Context, id trace.ID) (collab.Frozen, error) {
	spans, truncated, err := e.traceSpans(ctx, id, maxEvidenceSpans)
	if err != nil {
		return collab.Frozen{}, err
	}
	title := spans[0].Name
	for i := range spans {
		if spans[i].ParentID.IsZero() {
			title = spans[i].Name
			break
		}
	}
	b := append(appendEvidenceHead(nil, collab.KindTrace, id), `,"chain":`...)
	if b, err = e.appendChain(b, func() (*graph.Origin, error) { return e.graph.TraceOrigin(ctx, id) }); err != nil {
		return collab.Frozen{}, err
	}
	b = appendMeasures(append(b, `,"trace":`...), spans, truncated)
	b = append(b, `,"spans":[`...)
	for i := range spans {
		before := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		if b = appendSpanJSON(b, &spans[i]); len(b) > maxEvidenceJSON {
			b, truncated = b[:before], true
			break
		}
	}
	b = append(b, `],"truncated":`...)
	b = fmt.Appendf(b, "%v}", truncated)
	return collab.Frozen{Title: title, Path: "/t/" + id.String(), Body: b}, nil
}

func (e evidence) freezeThread(ctx context.Context, id trace.ID) (collab.Frozen, error) {
	t, err := e.graph.Thread(ctx, id)
	if err != nil {
		return collab.Frozen{}, fmt.Errorf("thread of %s: %w", id, err)
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return collab.Frozen{}, fmt.Errorf("encode thread of %s: %w", id, err)
	}
	title := "Thread"
	if t.Origin != nil {
		title = t.Origin.Name
	} else if len(t.Nodes) > 0 {
		title = t.Nodes[0].Name
	}
	b := append(appendEvidenceHead(nil, collab.KindThread, id), `,"thread":`...)
	return collab.Frozen{Title: title, Path: "/thread/" + id.String(), Body: append(append(b, raw...), '}')}, nil
}

// freezeQuery runs the query over its time range made absolute, and keeps that
// query with its answer.
func (e evidence) freezeQuery(ctx context.Context, raw json.RawMessage) (collab.Frozen, error) {
	spec, err := query.ParseSpec(raw)
	if err != nil {
		return collab.Frozen{}, inField("query", err)
	}
	plan, err := query.Compile(spec, e.now())
	if err != nil {
		return collab.Frozen{}, inField("query", err)
	}
	if spec.StartTime == nil || spec.EndTime == nil { // given in full they stay as they are
		from, to := plan.Window()
		start, end := float64(from)/1e9, float64(to)/1e9
		spec.StartTime, spec.EndTime, spec.TimeRange = &start, &end, nil
	}
	if spec.Granularity == nil {
		spec.Granularity = new(int64) // automatic: the card draws a chart
		if spec.Limit != nil && *spec.Limit > query.MaxLimit {
			most := query.MaxLimit
			spec.Limit = &most
		}
	}
	if plan, err = query.Compile(spec, e.now()); err != nil {
		return collab.Frozen{}, inField("query", err)
	}
	step := plan.StepNano() / int64(time.Second)
	spec.Granularity = &step
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	res, err := e.store.Query(ctx, spec)
	if err != nil {
		return collab.Frozen{}, inField("query", err)
	}
	// What the answer cost says nothing about the rows; equal answers have equal
	// hashes.
	res.Stats = query.Stats{RowsMatched: res.Stats.RowsMatched, Sampled: res.Stats.Sampled}
	absolute, err := json.Marshal(spec)
	if err != nil {
		return collab.Frozen{}, fmt.Errorf("encode query: %w", err)
	}
	body, err := json.Marshal(struct {
		V      int             `json:"v"`
		Kind   string          `json:"kind"`
		Query  json.RawMessage `json:"query"`
		Result *query.Result   `json:"result"`
	}{evidenceVersion, string(collab.KindQuery), absolute, res})
	if err != nil {
		return collab.Frozen{}, fmt.Errorf("encode result: %w", err)
	}
	return collab.Frozen{Title: queryTitle(spec), Path: "/explore?q=" + url.QueryEscape(string(absolute)), Query: absolute, Body: body}, nil
}

// inField says that the error of a query is about a field of the request.
func inField(field string, err error) error {
	var invalid *query.InvalidError
	if errors.As(err, &invalid) {
		return &collab.InvalidError{Field: field, Message: invalid.Message}
	}
	return fmt.Errorf("%s: %w", field, err)
}

// queryTitle says in a few words what a query asks.
func queryTitle(spec query.Spec) string {
	var b bytes.Buffer
	for i, c := range spec.Calculations {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c.Name())
	}
	if len(spec.Calculations) == 0 {
		b.WriteString("COUNT")
	}
	for i, col := range spec.Breakdowns {
		if i == 0 {
			b.WriteString(" by ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(col)
	}
	for i, f := range spec.Filters {
		if i == 0 {
			b.WriteString(" where ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(formatFilter(f))
	}
	return b.String()
}

func appendEvidenceHead(b []byte, kind collab.BlockKind, id trace.ID) []byte {
	b = fmt.Appendf(b, `{"v":%d,"kind":%q,"trace_id":%q`, evidenceVersion, kind, id)
	return b
}

// appendBriefJSON writes what names a span to a person.
func appendBriefJSON(b []byte, s *trace.Span) []byte {
	b = appendText(append(b, `{"span_id":`...), s.SpanID.String())
	b = appendText(append(b, `,"name":`...), s.Name)
	b = appendText(append(b, `,"service":`...), s.Service)
	b = appendNano(append(b, `,"start_unix_nano":`...), s.StartUnixNano)
	b = appendNano(append(b, `,"duration_nano":`...), s.DurationNano)
	return append(b, '}')
}

// appendMeasures writes the measures of a trace.
func appendMeasures(b []byte, spans []trace.Span, truncated bool) []byte {
	first, last, errs := spans[0].StartUnixNano, spans[0].EndUnixNano(), 0
	services := map[string]bool{}
	for i := range spans {
		first, last = min(first, spans[i].StartUnixNano), max(last, spans[i].EndUnixNano())
		services[spans[i].Service] = true
		if spans[i].Error {
			errs++
		}
	}
	b = appendNano(append(b, `{"start_unix_nano":`...), first)
	b = appendNano(append(b, `,"duration_nano":`...), last-first)
	return fmt.Appendf(b, `,"spans":%d,"services":%d,"errors":%d,"truncated":%v}`, len(spans), len(services), errs, truncated)
}
