package handlers

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

const (
	// maxFindText is the longest id or value that is looked for.
	maxFindText = 512
	// maxFindResults is how many places are named.
	maxFindResults = 50
	// maxFindRows is how many spans of jobs and messages are looked at.
	maxFindRows = 200
	// maxAnyResults is how many traces are named of a value that stands in none of the
	// attributes for ids, and anyTimeout how long is looked for it in all others.
	maxAnyResults = 20
	anyTimeout    = 5 * time.Second
	// maxSpanIDHits bounds the traces that have a span of one id.
	maxSpanIDHits = 20
)

// findKeys are the attributes in which senders put ids, by what the id names.
// The first kind that has the value names the place.
var findKeys = []struct {
	kind string
	keys []string
}{
	{"request", []string{"http.request_id", "http.request.id", "request_id", "request.id", "requestId", "app.request_id",
		"http.request.header.x-request-id", "http.request.header.x_request_id", "http.response.header.x-request-id",
		"action_dispatch.request_id", "rails.request_id", "heroku.request_id", "x_request_id", "correlation_id", "correlation.id"}},
	{"job", []string{"bullmq.job.id", "job.id", "job_id", "job.batch_id", "sidekiq.jid", "sidekiq.job.id", "jid", "active_job.job_id",
		"active_job.id", "messaging.active_job.job.id", "provider_job_id", "delayed_job.id", "good_job.id", "resque.job.id",
		"que.job.id", "celery.task_id"}},
	{"message", []string{"messaging.message_id", "messaging.message.id", "messaging.kafka.message_key",
		"messaging.kafka.message.key", "messaging.conversation_id", "messaging.message.conversation_id"}},
	{"user", []string{"user.id", "enduser.id", "enduser.pseudo.id", "app.user_id", "user_id", "userId", "usr.id", "user.email",
		"usr.email", "enduser.email", "app.user.email", "app.email", "email", "user.name", "account.id", "app.account_id", "customer.id",
		"app.customer_id", "customer.email"}},
	{"session", []string{"session.id", "session_id", "app.session_id"}},
	{"id", []string{"trace.original_id", "span.original_id"}},
}

// findResult is one place where an id or value stands.
type findResult struct {
	Kind          string       `json:"kind"` // trace, span, or a kind of findKeys
	Label         string       `json:"label"`
	URL           string       `json:"url"`
	TraceID       trace.ID     `json:"trace_id"`
	SpanID        trace.SpanID `json:"span_id"`
	Column        string       `json:"column"` // the attribute that has the value, "" for an id
	Service       string       `json:"service"`
	Name          string       `json:"name"`
	Environment   string       `json:"environment"`
	Error         bool         `json:"error"`
	StartUnixNano int64        `json:"start_unix_nano,string"`

	works bool // it sends or handles
}

// findJSON answers GET /api/v1/find.
func (s *Server) findJSON(c echo.Context) error {
	results, partial, err := s.find(c.Request().Context(), c.QueryParam("q"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"results": results, "partial": partial})
}

// find says what an id or value is: exact ids first, then the spans that carry
// it in one of the attributes for ids, and then in any other, newest first.
// partial says that there was no time for all spans.
func (s *Server) find(ctx context.Context, text string) (results []findResult, partial bool, err error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, false, &collab.InvalidError{Field: "q", Message: "Give an id or a value to look for."}
	case len(text) > maxFindText:
		return nil, false, &collab.InvalidError{Field: "q", Message: fmt.Sprintf("The value is longer than %d bytes.", maxFindText)}
	}
	results = []findResult{}
	traceID, spanID := idsIn(text)
	if !traceID.IsZero() {
		r, ok, err := s.findTrace(ctx, traceID, spanID)
		if err != nil {
			return nil, false, err
		}
		if ok {
			results = append(results, r)
		}
	}
	if traceID.IsZero() || strings.TrimLeft(text, "0123456789abcdefABCDEF") == "" && len(text) == 16 {
		if id, err := trace.ParseSpanID(text); err == nil {
			rows, err := s.findSpans(ctx, id)
			if err != nil {
				return nil, false, err
			}
			results = append(results, rows...)
		}
	}
	rows, err := s.findValues(ctx, text)
	if err != nil {
		return nil, false, err
	}
	results = append(results, rows...)
	if len(results) == 0 {
		if results, partial, err = s.findAnywhere(ctx, text); err != nil {
			return nil, false, err
		}
	}
	return results[:min(len(results), maxFindResults)], partial, nil
}

// findAnywhere returns traces that have the text as the value of any column,
// newest first; partial says that there was no time to look at all spans.
func (s *Server) findAnywhere(ctx context.Context, text string) (results []findResult, partial bool, err error) {
	found, err := s.Store.Search(ctx, query.Search{Anywhere: text, Within: anyTimeout, PerTrace: true, AnyTime: true, Limit: maxAnyResults})
	if err != nil {
		return nil, false, fmt.Errorf("find value: %w", err)
	}
	results = make([]findResult, len(found.Rows))
	for i := range found.Rows {
		results[i] = rowResult(&found.Rows[i], "value", found.Rows[i].Column)
	}
	return results, found.Partial, nil
}

// idsIn reads the ids out of what people paste: a trace id, TRACE:SPAN, a W3C
// traceparent, or an address of a trace page.
func idsIn(text string) (trace.ID, trace.SpanID) {
	if id, err := trace.ParseID(text); err == nil {
		return id, trace.SpanID{}
	}
	var first, second string
	if parts := strings.Split(text, "-"); len(parts) == 4 && len(parts[0]) == 2 && len(parts[3]) == 2 {
		first, second = parts[1], parts[2]
	} else if _, path, ok := strings.Cut(text, "/t/"); ok {
		path, _, _ = strings.Cut(path, "?")
		first, second, _ = strings.Cut(path, "/")
	} else if _, path, ok := strings.Cut(text, "/thread/"); ok {
		first, _, _ = strings.Cut(path, "?")
	} else {
		first, second, _ = strings.Cut(text, ":")
	}
	id, err := trace.ParseID(first)
	if err != nil {
		return trace.ID{}, trace.SpanID{}
	}
	span, err := trace.ParseSpanID(second)
	if err != nil {
		return id, trace.SpanID{}
	}
	return id, span
}

func (s *Server) findTrace(ctx context.Context, id trace.ID, span trace.SpanID) (findResult, bool, error) {
	sum, ok, err := s.Store.TraceSummary(ctx, id)
	if err != nil || !ok {
		return findResult{}, false, err
	}
	r := findResult{Kind: "trace", TraceID: id, SpanID: sum.SpanID, Service: sum.Service, Name: sum.Name, Environment: sum.Environment,
		Error: sum.Errors > 0, StartUnixNano: sum.StartUnixNano, URL: "/t/" + id.String(), Label: placeLabel(sum.Name, sum.Service)}
	if span.IsZero() {
		return r, true, nil
	}
	rows, err := s.findSpans(ctx, span)
	if err != nil {
		return r, false, err
	}
	for _, row := range rows {
		if row.TraceID == id {
			return row, true, nil
		}
	}
	return r, true, nil
}

// findSpans returns the spans of an id, which may be in several traces.
func (s *Server) findSpans(ctx context.Context, id trace.SpanID) ([]findResult, error) {
	found, err := s.Store.Search(ctx, query.Search{AnyTime: true, Limit: maxSpanIDHits,
		Filters: []query.Filter{{Column: "trace.span_id", Op: "=", Value: id.String()}}})
	if err != nil {
		return nil, fmt.Errorf("find span %s: %w", id, err)
	}
	out := make([]findResult, 0, len(found.Rows))
	for i := range found.Rows {
		out = append(out, rowResult(&found.Rows[i], "span", ""))
	}
	return out, nil
}

// findValues returns where the text stands in an attribute for ids, newest
// first: for requests, users and sessions the traces, for jobs and messages the
// spans that send and handle them.
func (s *Server) findValues(ctx context.Context, text string) ([]findResult, error) {
	found, err := s.searchKeys(ctx, text, query.Search{PerTrace: true, Limit: maxFindResults},
		func(kind string) bool { return !worksOn(kind) })
	if err != nil {
		return nil, err
	}
	for i := range found {
		r := &found[i]
		sum, ok, err := s.Store.TraceSummary(ctx, r.TraceID)
		if err != nil {
			return nil, fmt.Errorf("find value: %w", err)
		}
		if ok {
			r.Service, r.Name, r.Error, r.StartUnixNano = sum.Service, sum.Name, sum.Errors > 0, sum.StartUnixNano
			r.Label = placeLabel(sum.Name, sum.Service)
		}
	}
	work, err := s.searchKeys(ctx, text, query.Search{Limit: maxFindRows}, worksOn)
	if err != nil {
		return nil, err
	}
	// Job libraries put the id on their bookkeeping too; that is of interest only
	// where nothing else has it.
	if slices.ContainsFunc(work, func(r findResult) bool { return r.works }) {
		work = slices.DeleteFunc(work, func(r findResult) bool { return !r.works })
	}
	found = append(found, work...)
	slices.SortStableFunc(found, func(a, b findResult) int { return cmp.Compare(b.StartUnixNano, a.StartUnixNano) })
	return found, nil
}

// worksOn reports whether ids of the kind name work: a job or a message.
func worksOn(kind string) bool { return kind == "job" || kind == "message" }

// searchKeys runs a search for the text in the keys of the kinds wanted.
func (s *Server) searchKeys(ctx context.Context, text string, search query.Search, want func(kind string) bool) ([]findResult, error) {
	var kinds []string
	for _, k := range findKeys {
		if !want(k.kind) {
			continue
		}
		for _, key := range k.keys {
			kinds = append(kinds, k.kind)
			search.Columns = append(search.Columns, key)
			search.Filters = append(search.Filters, query.Filter{Column: key, Op: "=", Value: text})
		}
	}
	search.Columns = append(search.Columns, "messaging.system")
	search.FilterCombination, search.AnyTime = "OR", true
	found, err := s.Store.Search(ctx, search)
	if err != nil {
		return nil, fmt.Errorf("find value: %w", err)
	}
	var out []findResult
	for i := range found.Rows {
		row := &found.Rows[i]
		for k, v := range row.Values[:len(kinds)] {
			if v.Type == trace.TypeNone || v.Text() != text {
				continue
			}
			kind := kinds[k]
			if kind == "message" && graph.IsJobSystem(row.Values[len(kinds)].Text()) {
				kind = "job" // Sidekiq and its like call the job's id a message id
			}
			out = append(out, rowResult(row, kind, search.Columns[k]))
			break
		}
	}
	return out, nil
}

func placeLabel(name, service string) string { return name + " · " + service }

func rowResult(row *query.Row, kind, column string) findResult {
	return findResult{Kind: kind, Label: placeLabel(row.Name, row.Service), URL: "/t/" + row.TraceID.String() + "/" + row.SpanID.String(),
		TraceID: row.TraceID, SpanID: row.SpanID, Column: column, Service: row.Service, Name: row.Name,
		Environment: row.Environment, Error: row.Error, StartUnixNano: row.StartUnixNano,
		works: row.Kind == trace.KindProducer || row.Kind == trace.KindConsumer}
}
