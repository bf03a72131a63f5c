package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
)

// maxOriginSpans is how many spans of the origin's trace are read to find who
// was behind it.
const maxOriginSpans = 10_000

// showThread is the page of the thread that a trace belongs to.
func (s *Server) showThread(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := trace.ParseID(c.Param("trace"))
	if err != nil {
		return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
	}
	st := threadState{trace: id.String(), open: splitKeys(c.QueryParam("open")), table: c.QueryParam("view") == "table"}
	if n, err := strconv.Atoi(c.QueryParam("row")); err == nil && n > 0 {
		st.row = n
	}
	var span trace.SpanID
	if q := c.QueryParam("span"); q != "" {
		if span, err = trace.ParseSpanID(q); err != nil {
			return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
		}
		st.span = span.String()
	}
	t, err := s.threadOf(ctx, id, span)
	if errors.Is(err, graph.ErrNotFound) {
		return s.traceMissing(c, http.StatusNotFound, views.NoTrace{TraceID: st.trace, Href: st.href(), Thread: true})
	}
	if err != nil {
		return err
	}
	who := ""
	if t.Origin != nil {
		spans, _, err := s.Store.TraceSpans(ctx, t.Origin.TraceID, maxOriginSpans)
		if err != nil {
			return err
		}
		who = whoOf(spans, t.Origin.SpanID)
	}
	v := threadView(t, st, who)
	if v.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindThread, TraceID: st.trace, Title: v.Name}); err != nil {
		return err
	}
	p, err := s.page(c, "Thread of "+v.Name, "")
	if err != nil {
		return err
	}
	p.Styles, p.Wide = threadStyles, true
	return render(c, http.StatusOK, views.Thread(p, v))
}

// threadOf returns the thread of a span, which may be another than that of its
// trace; for no span, or one that is not here, that of the trace.
func (s *Server) threadOf(ctx context.Context, id trace.ID, span trace.SpanID) (*graph.Thread, error) {
	if !span.IsZero() {
		t, err := s.Graph.ThreadOfSpan(ctx, id, span)
		if !errors.Is(err, graph.ErrNotFound) {
			return t, err
		}
	}
	return s.Graph.Thread(ctx, id)
}

var threadStyles = []string{"css/trace.css", "css/thread.css"}
