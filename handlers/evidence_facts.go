package handlers

import (
	"encoding/json"
	"fmt"

	"redthread/collab"
	"redthread/tracestore/trace"
)

// factSpan is what facts are taken from: a span, or a trace of a thread.
type factSpan struct {
	Service  string
	Start    int64 `json:"start_unix_nano,string"`
	Duration int64 `json:"duration_nano,string"`
}

// factOrigin names the trace that began something.
type factOrigin struct {
	TraceID trace.ID `json:"trace_id"`
}

// factBody is the part of any frozen body that facts are taken from.
type factBody struct {
	TraceID trace.ID `json:"trace_id"`
	Span    *factSpan
	Path    []factSpan
	Trace   *factSpan // its measures
	Spans   []factSpan
	Chain   *struct {
		Status  string
		Origins []factOrigin
		Hops    []struct{ From, To factSpan }
	}
	Thread struct {
		Origin *factOrigin
		Nodes  []factSpan
	}
	Query struct {
		Filters []struct {
			Column, Op string
			Value      any
		}
	}
}

// queried are the services that a query asks for by name. Those in its answer
// may be all there are.
func (b *factBody) queried() []string {
	var list []string
	for _, f := range b.Query.Filters {
		if f.Column != "service.name" || f.Op != "=" && f.Op != "in" {
			continue
		}
		values, ok := f.Value.([]any)
		if !ok {
			values = []any{f.Value}
		}
		for _, v := range values {
			if name, ok := v.(string); ok {
				list = append(list, name)
			}
		}
	}
	return list
}

// evidenceFacts reads from a frozen body which services it is about, when its
// spans were, and where it all began.
func evidenceFacts(kind collab.BlockKind, body []byte) (collab.EvidenceFacts, error) {
	var f collab.EvidenceFacts
	var b factBody
	if err := json.Unmarshal(body, &b); err != nil {
		return f, fmt.Errorf("facts of a %s: %w", kind, err)
	}
	seen := map[string]bool{"": true}
	service := func(name string) {
		if !seen[name] {
			seen[name] = true
			f.Services = append(f.Services, name)
		}
	}
	during := func(s factSpan) {
		if s.Start <= 0 {
			return
		}
		if f.FirstUnixNano == 0 || s.Start < f.FirstUnixNano {
			f.FirstUnixNano = s.Start
		}
		f.LastUnixNano = max(f.LastUnixNano, s.Start+s.Duration)
	}
	switch kind {
	case collab.KindSpan:
		if b.Span != nil {
			service(b.Span.Service)
			during(*b.Span)
		}
		for _, s := range b.Path {
			service(s.Service)
		}
	case collab.KindTrace:
		for _, s := range b.Spans {
			service(s.Service)
		}
		if b.Trace != nil {
			during(*b.Trace)
		}
	case collab.KindThread:
		for _, n := range b.Thread.Nodes {
			service(n.Service)
			during(n)
		}
		if b.Thread.Origin != nil {
			f.Origin = b.Thread.Origin.TraceID
		}
	case collab.KindQuery:
		for _, name := range b.queried() {
			service(name)
		}
	}
	switch {
	case kind != collab.KindSpan && kind != collab.KindTrace:
	case b.Chain == nil:
		f.Origin = b.TraceID
	default:
		for _, h := range b.Chain.Hops {
			service(h.From.Service)
			service(h.To.Service)
		}
		if b.Chain.Status == "found" && len(b.Chain.Origins) == 1 {
			f.Origin = b.Chain.Origins[0].TraceID
		}
	}
	return f, nil
}
