package handlers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
)

// requester is who is behind a request, and its id: what tells it from others of
// the same endpoint.
type requester struct {
	user    string // "user 81723", or ""
	request string // its id, or ""
}

// requesters are those of the spans where something may have begun.
type requesters map[trace.Ref]requester

// facts tell a span from others of its name: "user 81723 · request 13251a55". Of
// one of which nothing else is known it is the trace.
func (r requester) facts(of trace.Ref) string {
	var facts []string
	if r.user != "" {
		facts = append(facts, r.user)
	}
	if r.request != "" {
		facts = append(facts, "request "+r.request)
	}
	if facts == nil {
		facts = append(facts, "trace "+of.TraceID.String()[:8])
	}
	return strings.Join(facts, " · ")
}

const (
	// maxRequesterText bounds a user or an id as shown, in bytes.
	maxRequesterText = 60
	// maxRequesterSpans is how long a trace may be to be read for who is behind it.
	// The summaries of longer ones know it too, if the settings keep the attribute.
	maxRequesterSpans = 2_000
)

// requesterOf reads the attributes of a span, or what is kept of it.
func requesterOf(attrs []trace.Attribute) requester {
	s := trace.Span{Attributes: attrs}
	first := func(keys []string) string {
		for _, key := range keys {
			if v, ok := s.Attribute(key); ok && v.Text() != "" {
				return clip(v.Text(), maxRequesterText)
			}
		}
		return ""
	}
	r := requester{request: first(graph.RequestIDKeys())}
	if user := first(graph.UserKeys()); user != "" {
		r.user = "user " + user
	}
	return r
}

// requesters tells who is behind spans where something may have begun. The summaries
// of their traces know it, also when the spans are gone, if they begin with these
// spans and the settings keep the attributes; else the spans are read.
func (s *Server) requesters(ctx context.Context, refs []trace.Ref) (requesters, error) {
	ids := make([]trace.ID, len(refs))
	for i, r := range refs {
		ids[i] = r.TraceID
	}
	sums, err := s.Store.Summaries(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read who is behind: %w", err)
	}
	who := requesters{}
	var rest []trace.Ref
	for i, ref := range refs {
		if sums[i].SpanID == ref.SpanID {
			who[ref] = requesterOf(sums[i].Kept)
		}
		if who[ref].user == "" && sums[i].Spans <= maxRequesterSpans && !ref.SpanID.IsZero() {
			rest = append(rest, ref)
		}
	}
	ids = ids[:0]
	for _, ref := range rest {
		ids = append(ids, ref.TraceID)
	}
	wanted := append(graph.RequestIDKeys(), graph.UserKeys()...)
	err = s.Store.EachTrace(ctx, ids, maxRequesterSpans, func(key string) bool { return slices.Contains(wanted, key) },
		func(i int, spans []trace.Span, _ bool) error {
			found := requesterIn(spans, rest[i].SpanID)
			have := who[rest[i]]
			if have.user == "" {
				have.user = found.user
			}
			if have.request == "" {
				have.request = found.request
			}
			who[rest[i]] = have
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read who is behind: %w", err)
	}
	return who, nil
}

// requesterIn looks at a span of a trace and, for what it does not say, at those of
// the same service below it, the first ones first: frameworks put the user on the
// handler of a route, inside the span of the server.
func requesterIn(spans []trace.Span, id trace.SpanID) requester {
	at := slices.IndexFunc(spans, func(s trace.Span) bool { return s.SpanID == id })
	if at < 0 {
		return requester{}
	}
	r := requesterOf(spans[at].Attributes)
	below := map[trace.SpanID][]int{}
	for i := range spans {
		if s := &spans[i]; i != at && s.Service == spans[at].Service {
			below[s.ParentID] = append(below[s.ParentID], i)
		}
	}
	for next := []int{at}; len(next) > 0 && (r.user == "" || r.request == ""); {
		parent := spans[next[0]].SpanID
		next = next[1:]
		for _, i := range below[parent] {
			child := requesterOf(spans[i].Attributes)
			if r.user == "" {
				r.user = child.user
			}
			if r.request == "" {
				r.request = child.request
			}
			next = append(next, i)
		}
		delete(below, parent) // two halves may share an id, and parents stand in a circle
	}
	return r
}

// candidatesOf are the spans that [originStatus] names as candidates.
func candidatesOf(o *graph.Origin) []graph.OriginSpan {
	if o == nil {
		return nil
	}
	list := o.Candidates
	if o.Status == graph.Ambiguous {
		list = o.Origins
	}
	return list[:min(len(list), maxCandidates)]
}

// tellApart adds to the candidates of an origin who is behind each, since they are
// often of one endpoint.
func (s *Server) tellApart(ctx context.Context, v *views.OriginView, o *graph.Origin) {
	list := candidatesOf(o)
	if len(list) == 0 || len(v.Candidates) != len(list) {
		return
	}
	refs := make([]trace.Ref, len(list))
	for i := range list {
		refs[i] = list[i].Ref
	}
	who, err := s.requesters(ctx, refs)
	if err != nil {
		s.Log.ErrorContext(ctx, "read candidates", "error", err)
	}
	for i, ref := range refs {
		v.Candidates[i].By = who[ref].facts(ref)
	}
}
