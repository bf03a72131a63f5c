package handlers

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/trace"
	"redthread/views"
)

// findKinds name the kinds of a find to a person.
var findKinds = map[string]string{
	"trace": "Trace", "span": "Span", "request": "Request id", "job": "Job id", "message": "Message id",
	"user": "User", "session": "Session", "id": "Original id", "value": "Value of an attribute",
}

// showFind takes whoever pasted an id to what it is, or lists what it may be.
func (s *Server) showFind(c echo.Context) error {
	text := strings.TrimSpace(c.QueryParam("q"))
	v := views.Find{Text: text}
	status := http.StatusOK
	if text != "" {
		results, partial, err := s.find(c.Request().Context(), text)
		if fields, ok := fieldErrors(err); ok {
			v.Problem, status = fields[""], http.StatusBadRequest
		} else if err != nil {
			return err
		}
		if target, ok := onlyPlace(results); ok {
			return c.Redirect(http.StatusSeeOther, target)
		}
		for _, r := range results {
			kind := findKinds[r.Kind]
			if kind == "" {
				kind = r.Kind
			}
			v.Results = append(v.Results, views.FindResult{Kind: kind, Column: r.Column, Name: rowName(r.Name), Service: shown(r.Service),
				Environment: r.Environment, URL: r.URL, Thread: threadHref(trace.Ref{TraceID: r.TraceID, SpanID: r.SpanID}), Error: r.Error, Start: time.Unix(0, r.StartUnixNano).UTC()})
		}
		v.Partial = partial
		v.More = len(results) >= maxFindResults
	}
	p, err := s.page(c, "Find", "")
	if err != nil {
		return err
	}
	p.Find = text
	v.Page = p
	return render(c, status, views.FindPage(v))
}

// onlyPlace returns where a find leads if there is no choice: one result, or
// several spans of one trace, of which the earliest is the one that began it.
func onlyPlace(results []findResult) (string, bool) {
	if len(results) == 0 {
		return "", false
	}
	first := results[0]
	for _, r := range results[1:] {
		if r.TraceID != first.TraceID {
			return "", false
		}
		if first.Kind != "trace" && r.StartUnixNano < first.StartUnixNano {
			first = r
		}
	}
	return first.URL, true
}
