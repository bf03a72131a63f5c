package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// maxTracePageSpans is how many spans of one trace its page reads: some 5 MB of
// rows for the page script. Beyond it the page says that it is cut.
const maxTracePageSpans = 50_000

// traceStyles are the style sheets of the trace and thread pages.
var traceStyles = []string{"css/trace.css", "css/annotations.css"}

// showTrace is the page of a trace, with a span selected or not; as a fragment
// it is the panel of the selected span alone.
func (s *Server) showTrace(c echo.Context) error {
	ctx := c.Request().Context()
	id, st, err := traceOfPath(c)
	if err != nil {
		return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
	}
	spans, truncated, err := s.Store.TraceSpans(ctx, id, maxTracePageSpans)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		left, err := s.expiredTrace(ctx, id)
		if err != nil {
			return err
		}
		return s.traceMissing(c, http.StatusNotFound, views.NoTrace{TraceID: st.trace, SpanID: st.span, Href: st.href(), Expired: left})
	}
	near, err := s.neighbours(ctx, id)
	if err != nil {
		return err
	}
	notes, err := s.traceNotes(ctx, id)
	if err != nil {
		return err
	}
	v := newTraceView(newTraceTree(spans), st, spanMarks(near))
	v.notes = notes
	if near != nil && v.selected >= 0 && v.tree.rows[v.selected].span != nil {
		of := v.tree.rows[v.selected].span.Ref()
		causes := distinctCauses(near, func(to trace.Ref) bool { return to == of })
		s.lookUp(ctx, v.tree, causes[:min(len(causes), maxPanelCauses)])
	}
	if st.span != "" && v.selected < 0 {
		return s.traceMissing(c, http.StatusNotFound, views.NoTrace{TraceID: st.trace, SpanID: st.span, Href: st.href(), Rest: len(spans)})
	}
	panel := v.panel(near)
	s.addOrigin(ctx, v, panel)
	s.addLinks(ctx, v, panel)
	if err := s.addPeople(c, v, panel); err != nil {
		return err
	}
	if isFragment(c) && panel != nil {
		return render(c, http.StatusOK, views.SpanPanelFragment(*panel))
	}
	page := v.page(near, truncated)
	page.Service = shown(page.Service)
	page.Panel = panel
	if near != nil {
		s.tellApart(ctx, &page.Causes.Origin, near.Origin)
	}
	page.Notes = s.notesView(c, st.trace, "", st.href(), v.tree.startNano, notes[""])
	for span, list := range notes {
		if span != "" {
			page.Notes.Elsewhere += len(list)
		}
	}
	if page.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindTrace, TraceID: st.trace, Title: page.Name}); err != nil {
		return err
	}
	shell, err := s.page(c, page.Name+" · "+page.Service, "")
	if err != nil {
		return err
	}
	shell.Styles, shell.Wide = traceStyles, true
	return render(c, http.StatusOK, views.Trace(shell, page))
}

// addOrigin adds to the panel where the chain behind its span begins.
func (s *Server) addOrigin(ctx context.Context, v *traceView, p *views.SpanPanel) {
	if p == nil || p.Missing {
		return
	}
	span := v.tree.rows[v.selected].span
	o, err := s.Graph.Origin(ctx, span.TraceID, span.SpanID)
	if err != nil {
		if !errors.Is(err, graph.ErrNotFound) { // a log record that stands as a row
			s.Log.ErrorContext(ctx, "read origin of span", "trace_id", p.TraceID, "span_id", p.SpanID, "error", err)
		}
		p.Origin.Itself = true
		return
	}
	p.Origin = originStatus(o)
	s.tellApart(ctx, &p.Origin, o)
	p.Origin.Itself = p.Origin.At != nil && o.Origins[0].Ref == span.Ref()
}

// addLinks names the recorded links of the span that are no causes of it.
func (s *Server) addLinks(ctx context.Context, v *traceView, p *views.SpanPanel) {
	if p == nil || p.Missing {
		return
	}
	span := v.tree.rows[v.selected].span
	causes := map[trace.Ref]bool{}
	for _, ref := range v.causes {
		causes[ref] = true
	}
	for i := range span.Links {
		l := &span.Links[i]
		ref := trace.Ref{TraceID: l.TraceID, SpanID: l.SpanID}
		if causes[ref] && len(l.Attributes) == 0 {
			continue
		}
		if len(p.Links) == maxPanelLinks {
			p.LinksMore++
			continue
		}
		p.Links = append(p.Links, s.linkView(ctx, v, ref, l))
	}
}

// linkView names the span of a link as far as it is known.
func (s *Server) linkView(ctx context.Context, v *traceView, ref trace.Ref, l *trace.Link) views.CauseView {
	c := views.CauseView{Name: "span " + l.SpanID.String(), Href: spanHref(ref), Thread: threadHref(ref), How: "recorded link", Attributes: plainAttributes(l.Attributes)}
	if ref.TraceID == v.tree.traceID() {
		if i := v.tree.rowOf(l.SpanID.String()); i >= 0 && v.tree.rows[i].span != nil {
			to := v.tree.rows[i].span
			c.Name, c.Service, c.Start = rowName(to.Name), clip(to.Service, maxRowName), timeOf(to.StartUnixNano)
			return c
		}
		c.Dead = "this span has not arrived"
		return c
	}
	spans, err := s.Store.SpansOf(ctx, []trace.Ref{ref})
	if len(spans) > 0 {
		c.Name, c.Service, c.Start = rowName(spans[0].Name), clip(spans[0].Service, maxRowName), timeOf(spans[0].StartUnixNano)
		return c
	}
	if err != nil {
		s.Log.ErrorContext(ctx, "read trace of link", "trace_id", ref.TraceID.String(), "error", err)
		return c
	}
	sum, known, err := s.Store.TraceSummary(ctx, ref.TraceID)
	switch {
	case err != nil:
		s.Log.ErrorContext(ctx, "read trace of link", "trace_id", ref.TraceID.String(), "error", err)
	case known:
		c.Service = clip(sum.Service, maxRowName)
		c.Dead = "this span is not here; its trace is " + rowName(sum.Name)
	default:
		c.Dead = "nothing of its trace has arrived"
	}
	return c
}

// addPeople adds to the panel of a span what people do with it: annotations and
// pins.
func (s *Server) addPeople(c echo.Context, v *traceView, p *views.SpanPanel) error {
	if p == nil || p.Missing {
		return nil
	}
	p.Remarks = s.notesView(c, p.TraceID, p.SpanID, v.state.href(), v.tree.startNano, v.notes[p.SpanID])
	var err error
	if p.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindSpan, TraceID: p.TraceID, SpanID: p.SpanID, Title: p.Name}); err != nil {
		return err
	}
	return nil
}

// showTraceRows lists every row of a trace for the page script.
func (s *Server) showTraceRows(c echo.Context) error {
	v, err := s.readTraceView(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, v.data())
}

// findInTrace lists the rows of a trace that a search finds.
func (s *Server) findInTrace(c echo.Context) error {
	v, err := s.readTraceView(c)
	if err != nil {
		return err
	}
	matches := v.matches
	if matches == nil {
		matches = []int{}
	}
	return c.JSON(http.StatusOK, map[string]any{"matches": matches, "rows": len(v.tree.rows)})
}

func (s *Server) readTraceView(c echo.Context) (*traceView, error) {
	ctx := c.Request().Context()
	id, st, err := traceOfPath(c)
	if err != nil {
		return nil, echo.NewHTTPError(http.StatusBadRequest, invalidWords(err))
	}
	spans, _, err := s.Store.TraceSpans(ctx, id, maxTracePageSpans)
	if err != nil {
		return nil, err
	}
	if len(spans) == 0 {
		return nil, echo.NewHTTPError(http.StatusNotFound, strings.TrimSpace("No span of this trace is here. "+s.lostWords()))
	}
	near, err := s.neighbours(ctx, id)
	if err != nil {
		return nil, err
	}
	v := newTraceView(newTraceTree(spans), st, spanMarks(near))
	v.notes, err = s.traceNotes(ctx, id)
	return v, err
}

// neighbours returns causes and effects of a trace. If only they cannot be read
// the trace is still shown, without them: nil.
func (s *Server) neighbours(ctx context.Context, id trace.ID) (*graph.Neighbours, error) {
	near, err := s.Graph.Neighbours(ctx, id)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, graph.ErrNotFound):
		return nil, nil
	case err != nil:
		s.Log.ErrorContext(ctx, "read neighbours of trace", "trace_id", id.String(), "error", err)
		return nil, nil
	}
	return near, nil
}

// traceOfPath reads the trace, and the state that the address says.
func traceOfPath(c echo.Context) (trace.ID, traceState, error) {
	id, err := trace.ParseID(c.Param("trace"))
	if err != nil {
		return id, traceState{}, err
	}
	key := c.Param("span")
	if key != "" {
		bare, absent := strings.CutPrefix(key, "~")
		span, err := trace.ParseSpanID(bare)
		if err != nil {
			return id, traceState{}, err
		}
		key = span.String()
		if absent {
			key = "~" + key
		}
	}
	return id, parseTraceState(id.String(), key, c.QueryParams()), nil
}

// invalidWords makes a sentence of what is wrong with an id.
func invalidWords(err error) string {
	text := err.Error()
	if text == "" {
		return "This is not an id."
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func (s *Server) traceMissing(c echo.Context, status int, v views.NoTrace) error {
	hour := 3600.0
	v.Lost = s.lostWords()
	v.Explore = exploreSpec(query.Spec{Calculations: []query.Calculation{{Op: "COUNT"}}, Breakdowns: []string{"service.name"}, TimeRange: &hour})
	p, err := s.page(c, "No trace", "")
	if err != nil {
		return err
	}
	p.Styles = traceStyles
	return render(c, status, views.TraceMissing(p, v))
}

// expiredTrace is what is left of a trace without spans; nil if nothing is.
func (s *Server) expiredTrace(ctx context.Context, id trace.ID) (*views.ExpiredTrace, error) {
	sums, err := s.Store.Summaries(ctx, []trace.ID{id})
	if err != nil || len(sums) == 0 || sums[0].Spans == 0 {
		return nil, err
	}
	sum := &sums[0]
	return &views.ExpiredTrace{Name: rowName(sum.Name), Service: shown(sum.Service), Class: views.ServiceClass(sum.Service), Start: nanoTime(sum.StartUnixNano),
		Duration: ui.Duration(sum.DurationNano), Spans: sum.Spans}, nil
}

// lostWords says that spans which are not here may have been in damaged files; ""
// if there are none.
func (s *Server) lostWords() string {
	files, rows := s.Store.LostRows()
	if files == 0 {
		return ""
	}
	return fmt.Sprintf("What is missing may have been among the %s of %s that had to be set aside as damaged. An administrator finds them under Settings → Storage.", countOf(rows, "row", "rows"), countOf(files, "file", "files"))
}

// page builds the page around waterfall and panel.
func (v *traceView) page(near *graph.Neighbours, truncated bool) views.TracePage {
	t := v.tree
	p := views.TracePage{
		TraceID: v.state.trace, Duration: ui.Duration(t.extentNano), Start: unixTime(t.startNano),
		Spans: t.spans, Services: len(t.services), Errors: t.errors,
		Notices: t.notices(truncated), Parts: v.timePartLinks(), Causes: causesStrip(near, t.traceID()), Waterfall: v.waterfall(),
		ThreadHref: "/thread/" + v.state.trace, JSONHref: "/api/v1/traces/" + v.state.trace,
	}
	if v.selected >= 0 && t.rows[v.selected].span != nil {
		p.ThreadHref += "?span=" + t.rows[v.selected].span.SpanID.String()
	}
	if i := t.main(); i >= 0 {
		p.Name, p.Service = rowName(t.rows[i].span.Name), t.rows[i].span.Service
	}
	return p
}
