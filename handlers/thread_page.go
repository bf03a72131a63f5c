package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
)

// showThread is the page of the thread that a trace belongs to.
func (s *Server) showThread(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := trace.ParseID(c.Param("trace"))
	if err != nil {
		return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
	}
	var span trace.SpanID
	text := ""
	if q := c.QueryParam("span"); q != "" {
		if span, err = trace.ParseSpanID(q); err != nil {
			return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
		}
		text = span.String()
	}
	st := parseThreadState(id.String(), text, c.QueryParams())
	t, err := s.threadOf(ctx, id, span, st)
	if errors.Is(err, graph.ErrNotFound) {
		return s.traceMissing(c, http.StatusNotFound, views.NoTrace{TraceID: st.trace, Href: st.href(), Thread: true})
	}
	if err != nil {
		return err
	}
	who, err := s.threadPeople(ctx, t)
	if err != nil {
		return err
	}
	v := threadView(t, st, who)
	if words := s.lostWords(); words != "" && (t.Expired || t.Incomplete || t.Origin == nil) {
		v.Notices = append(v.Notices, views.Notice{Text: words})
	}
	if t.Origin != nil {
		others, ok, err := s.ranking(ctx, t.Origin.TraceID)
		if err != nil {
			return err
		}
		if ok {
			v.Rank = &views.ThreadRank{Href: others.href("/ripples")}
			if t.Ripple.Traces <= maxRankedTraces {
				v.Rank.Later = "/thread/" + t.Origin.TraceID.String() + "/rank"
			}
		}
	}
	if v.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindThread, TraceID: st.trace, Title: v.Name}); err != nil {
		return err
	}
	if p := v.Panel; p != nil {
		if err := s.tellDue(ctx, p, &t.Legs[t.Selected]); err != nil {
			return err
		}
		if p.Pin, err = s.pinForm(c, pinWhat{Kind: collab.KindSpan, TraceID: p.TraceID, SpanID: p.SpanID, Title: p.Name}); err != nil {
			return err
		}
	}
	if isFragment(c) {
		return render(c, http.StatusOK, views.ThreadBody(v))
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
func (s *Server) threadOf(ctx context.Context, id trace.ID, span trace.SpanID, st threadState) (*graph.Thread, error) {
	selected, _ := parseSelection(st.sel)
	if !span.IsZero() {
		t, err := s.Graph.ThreadWith(ctx, id, span, selected)
		if !errors.Is(err, graph.ErrNotFound) {
			return t, err
		}
	}
	return s.Graph.ThreadWith(ctx, id, trace.SpanID{}, selected)
}

// threadPeople tells who is behind the spans where the thread may have begun.
func (s *Server) threadPeople(ctx context.Context, t *graph.Thread) (requesters, error) {
	var refs []trace.Ref
	if t.Origin != nil {
		refs = append(refs, t.Origin.Ref)
	}
	for _, c := range t.Candidates[:min(len(t.Candidates), maxCandidates)] {
		refs = append(refs, c.Ref)
	}
	return s.requesters(ctx, refs)
}

var threadStyles = []string{"css/trace.css", "css/thread.css"}
