package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

const (
	// defaultTraceLimit is how many spans one answer holds unless asked
	// otherwise; maxTraceLimit keeps it under about 100 MB of JSON.
	defaultTraceLimit = 10_000
	maxTraceLimit     = 50_000
	// How many spans of a trace are read for one page, at first and at most.
	traceReadSpans     = 100_000
	traceReadFarSpans  = 1_000_000
	estimatedSpanBytes = 1024
)

// showTraceJSON answers GET /api/v1/traces/:trace.
func (s *Server) showTraceJSON(c echo.Context) error {
	id, err := traceParam(c)
	if err != nil {
		return err
	}
	limit, err := limitParam(c, defaultTraceLimit, maxTraceLimit)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	after := c.QueryParam("after")
	// Most traces fit the page; of larger ones more is read, so that parents are
	// only called missing when they are, and for pages that lie further back.
	var (
		spans []trace.Span
		from  int
		more  bool
		ok    bool
	)
	for _, size := range []int{limit, traceReadSpans, traceReadFarSpans} {
		if spans, more, err = s.Store.TraceSpans(ctx, id, size); err != nil {
			return fmt.Errorf("read trace %s: %w", id, err)
		}
		from, ok = spanAfter(spans, after)
		if !more || size >= traceReadSpans && ok && from+limit <= len(spans) {
			break
		}
	}
	if len(spans) == 0 {
		if words := s.lostWords(); words != "" {
			return echo.NewHTTPError(http.StatusNotFound, "No span of this trace is here. "+words)
		}
		return fmt.Errorf("trace %s: %w", id, graph.ErrNotFound)
	}
	if !ok {
		return &collab.InvalidError{Field: "after", Message: "No span of this trace has that id: give the next of the page before."}
	}
	to := min(from+limit, len(spans))
	tree := graph.Arrange(spans)
	p := tracePage{id: id, spans: spans[from:to], missing: missingParents(tree, spans), circles: cutParents(tree, spans), truncated: more || to < len(spans)}
	if to < len(spans) {
		p.next = spanCursor(spans, to-1)
	}
	return c.JSONBlob(http.StatusOK, p.appendJSON(make([]byte, 0, 256+len(p.spans)*estimatedSpanBytes)))
}

// showOriginJSON answers GET /api/v1/traces/:trace/spans/:span/origin.
func (s *Server) showOriginJSON(c echo.Context) error {
	id, err := traceParam(c)
	if err != nil {
		return err
	}
	span, err := trace.ParseSpanID(c.Param("span"))
	if err != nil {
		return &collab.InvalidError{Field: "span", Message: sentence(err)}
	}
	o, err := s.Graph.Origin(c.Request().Context(), id, span)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, o)
}

// showTraceOriginJSON answers GET /api/v1/traces/:trace/origin: the origin of its
// root, or of its earliest span.
func (s *Server) showTraceOriginJSON(c echo.Context) error {
	id, err := traceParam(c)
	if err != nil {
		return err
	}
	o, err := s.Graph.TraceOrigin(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, o)
}

// showThreadJSON answers GET /api/v1/traces/:trace/thread: that of a span, if one
// is named, which in a batch may be another than that of its trace.
func (s *Server) showThreadJSON(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := traceParam(c)
	if err != nil {
		return err
	}
	var t *graph.Thread
	if text := c.QueryParam("span"); text == "" {
		t, err = s.Graph.Thread(ctx, id)
	} else if span, bad := trace.ParseSpanID(text); bad != nil {
		return &collab.InvalidError{Field: "span", Message: sentence(bad)}
	} else {
		t, err = s.Graph.ThreadOfSpan(ctx, id, span)
	}
	if err != nil {
		return err
	}
	answer, err := s.threadAnswer(ctx, t, id, c.QueryParam("span"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, answer)
}

// traceParam reads the trace id of the path.
func traceParam(c echo.Context) (trace.ID, error) {
	id, err := trace.ParseID(c.Param("trace"))
	if err != nil {
		return id, &collab.InvalidError{Field: "trace", Message: sentence(err)}
	}
	return id, nil
}

// limitParam reads the limit of a list: at least 1, silently at most max.
func limitParam(c echo.Context, def, most int) (int, error) {
	text := c.QueryParam("limit")
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil && !errors.Is(err, strconv.ErrRange) || n < 1 {
		return 0, &collab.InvalidError{Field: "limit", Message: fmt.Sprintf("The limit is a whole number from 1 to %d.", most)}
	}
	return min(n, most), nil
}

// sentence makes an error of our own parsers a sentence for a person.
func sentence(err error) string {
	text := err.Error()
	r, n := utf8.DecodeRuneInString(text)
	return strings.ToUpper(string(r)) + text[n:] + "."
}

// spanCursor names the place behind span i: its id, and where spans share the
// id, a dot and which of them it is.
func spanCursor(spans []trace.Span, i int) string {
	half := 0
	for j := range i {
		if spans[j].SpanID == spans[i].SpanID {
			half++
		}
	}
	if half == 0 {
		return spans[i].SpanID.String()
	}
	return spans[i].SpanID.String() + "." + strconv.Itoa(half)
}

// spanAfter finds the place behind the span of a cursor.
func spanAfter(spans []trace.Span, cursor string) (int, bool) {
	if cursor == "" {
		return 0, true
	}
	text, half, _ := strings.Cut(cursor, ".")
	id, err := trace.ParseSpanID(text)
	if err != nil {
		return 0, false
	}
	n, _ := strconv.Atoi(half)
	for i := range spans {
		if spans[i].SpanID != id {
			continue
		}
		if n == 0 {
			return i + 1, true
		}
		n--
	}
	return 0, false
}

// missingParents lists the parent ids that no span of the trace has, in the
// order in which their children stand.
func missingParents(t *graph.Tree, spans []trace.Span) (out []trace.SpanID) {
	seen := map[trace.SpanID]bool{}
	for i, p := range t.Parent {
		if id := spans[i].ParentID; p == graph.Absent && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// cutParents lists the spans whose parents lead back to themselves, where the
// circle is cut: at the same span as on the trace page and in a thread.
func cutParents(t *graph.Tree, spans []trace.Span) (out []trace.SpanID) {
	for i, p := range t.Parent {
		if p == graph.Circle {
			out = append(out, spans[i].SpanID)
		}
	}
	return out
}
