package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// searchPage is the answer of POST /api/v1/search: single spans, in the order
// asked for. It is written by hand, since a span's attributes are an object.
type searchPage struct {
	columns []string
	*query.SearchResult
}

// searchSpans answers POST /api/v1/search.
func (s *Server) searchSpans(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return fmt.Errorf("read search: %w", err)
	}
	search, err := query.ParseSearch(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	found, err := s.Store.Search(ctx, search)
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	page := searchPage{search.Columns, found}
	return c.JSONBlob(http.StatusOK, page.appendJSON(nil))
}

func (p *searchPage) appendJSON(b []byte) []byte {
	b = append(b, `{"rows":[`...)
	for i := range p.Rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = p.appendRow(b, &p.Rows[i])
	}
	b = appendText(append(b, `],"next":`...), p.Next)
	b = append(b, `,"warnings":[`...)
	for i, w := range p.Warnings {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, w)
	}
	b = append(b, `],"stats":`...)
	stats, err := json.Marshal(p.Stats)
	if err != nil { // numbers and a bool always marshal
		stats = []byte("null")
	}
	return append(append(b, stats...), '}')
}

// appendRow writes a row under the names that spans have in a trace. attributes
// are the columns asked for that the row has.
func (p *searchPage) appendRow(b []byte, r *query.Row) []byte {
	parent := ""
	if !r.ParentID.IsZero() {
		parent = r.ParentID.String()
	}
	b = appendText(append(b, `{"trace_id":`...), r.TraceID.String())
	b = appendText(append(b, `,"span_id":`...), r.SpanID.String())
	b = appendText(append(b, `,"parent_span_id":`...), parent)
	b = appendText(append(b, `,"name":`...), r.Name)
	b = appendText(append(b, `,"service":`...), r.Service)
	b = appendText(append(b, `,"environment":`...), r.Environment)
	b = appendText(append(b, `,"kind":`...), r.Kind.String())
	b = strconv.AppendBool(append(b, `,"error":`...), r.Error)
	b = appendNano(append(b, `,"start_unix_nano":`...), r.StartUnixNano)
	b = appendNano(append(b, `,"duration_nano":`...), r.DurationNano)
	var attrs []trace.Attribute
	for i, name := range p.columns {
		if v := r.Values[i]; v.Type != trace.TypeNone {
			attrs = append(attrs, trace.Attribute{Key: name, Value: v})
		}
	}
	return append(appendAttributesJSON(append(b, `,"attributes":`...), attrs), '}')
}
