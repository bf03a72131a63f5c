package handlers

import (
	"context"
	"net/http"

	"github.com/a-h/templ"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/trace"
	"redthread/views"
)

// placeAnnotations decides on which block each annotation shows: on its own pin,
// else on the first block of its span or trace, else beside the board.
func (b *board) placeAnnotations() {
	b.home = map[collab.AnnotationID]collab.BlockID{}
	for i := range b.Annotations {
		a := &b.Annotations[i]
		for j := range b.Blocks {
			block := &b.Blocks[j]
			if block.ID == a.Anchor.PinID {
				b.home[a.ID] = block.ID
				break
			}
			same := block.TraceID != "" && block.TraceID == a.Anchor.TraceID && (block.Kind != collab.KindSpan || block.SpanID == a.Anchor.SpanID)
			if _, placed := b.home[a.ID]; same && !placed {
				b.home[a.ID] = block.ID
			}
		}
	}
}

// annotations are the views of those that show on a block, or beside the board
// for "".
func (b *board) annotations(block collab.BlockID) []views.BoardAnnotation {
	var list []views.BoardAnnotation
	for i := range b.Annotations {
		a := &b.Annotations[i]
		if b.home[a.ID] != block {
			continue
		}
		v := views.BoardAnnotation{ID: string(a.ID), ByID: a.CreatedBy, By: a.CreatedByName, HTML: markdown(a.Text), Text: a.Text,
			At: nanoTime(a.CreatedUnixNano), Now: b.now, Seen: b.Investigation.Offset, Back: "/i/" + string(b.Investigation.ID) + "#" + string(a.ID),
			Mine: b.canWrite && (a.CreatedBy == b.actor.ID || b.actor.Role.AtLeast(collab.RoleAdmin)), Edited: a.UpdatedUnixNano > a.CreatedUnixNano}
		if a.Anchor.AtUnixNano > 0 {
			v.Moment = nanoTime(a.Anchor.AtUnixNano)
		}
		switch {
		case a.Anchor.PinID == "" && a.Anchor.SpanID != "":
			v.Where = "on the span in its trace"
		case a.Anchor.PinID == "" && a.Anchor.TraceID != "":
			v.Where = "on the trace"
		case a.Anchor.SpanID != "":
			v.Where = "seen in its trace too"
		}
		list = append(list, v)
	}
	return list
}

func (b *board) notes() views.BoardNotes {
	return views.BoardNotes{InvestigationID: string(b.Investigation.ID), Ref: uuid.NewString(), CanWrite: b.canWrite, Annotations: b.annotations("")}
}

// showBoardNotes answers GET /i/:id/remarks with the remarks alone.
func (s *Server) showBoardNotes(c echo.Context) error {
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.BoardNotesFragment(b.notes()))
}

// spanAnnotations are the annotations on a span, or on a whole trace and its
// spans for the zero span, the oldest first.
func (s *Server) spanAnnotations(ctx context.Context, id trace.ID, span trace.SpanID) ([]views.AnnotationView, error) {
	list, err := s.Collab.FindAnnotations(ctx, collab.AnnotationFilter{TraceID: id, SpanID: span})
	if err != nil {
		return nil, err
	}
	var out []views.AnnotationView
	for i := range list {
		a := &list[i]
		out = append(out, views.AnnotationView{ID: string(a.ID), Author: a.CreatedByName, Hue: views.ServiceHue(a.CreatedBy),
			Time: nanoTime(a.CreatedUnixNano), HTML: templ.Raw(markdown(a.Text))})
	}
	return out, nil
}

// createAnnotation answers POST /annotations: the forms on boards and on the
// trace page.
func (s *Server) createAnnotation(c echo.Context) error {
	n := collab.AnnotationNew{Ref: c.FormValue("ref"), Text: c.FormValue("text"), Anchor: collab.Anchor{
		InvestigationID: collab.InvestigationID(c.FormValue("investigation_id")), PinID: collab.BlockID(c.FormValue("pin_id")),
		TraceID: c.FormValue("trace_id"), SpanID: c.FormValue("span_id")}}
	a, _, err := s.Collab.CreateAnnotation(c.Request().Context(), n)
	if err != nil {
		return err
	}
	return s.formDone(c, a.Offset, annotationPath(a, c.FormValue("back")))
}

// annotationPath is the page to go to after an annotation was written.
func annotationPath(a *collab.Annotation, back string) string {
	switch {
	case back != "":
		return sitePath(back)
	case a.Anchor.InvestigationID != "":
		return "/i/" + string(a.Anchor.InvestigationID) + "#" + string(a.ID)
	case a.Anchor.SpanID != "":
		return "/t/" + a.Anchor.TraceID + "/" + a.Anchor.SpanID
	}
	return "/t/" + a.Anchor.TraceID
}

// updateAnnotation answers POST /annotations/:annotation.
func (s *Server) updateAnnotation(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	text := form.Get("text")
	u := collab.AnnotationUpdate{Ref: form.Get("ref"), Text: &text}
	if form.Has("seen") {
		if u.Seen, err = seenOf(form); err != nil {
			return err
		}
	}
	back := sitePath(form.Get("back"))
	a, err := s.Collab.UpdateAnnotation(c.Request().Context(), collab.AnnotationID(c.Param("annotation")), u)
	if err != nil {
		return s.conflictPage(c, err, c.Request().URL.Path, back)
	}
	return s.formDone(c, a.Offset, annotationPath(a, form.Get("back")))
}

// deleteAnnotation answers POST /annotations/:annotation/delete.
func (s *Server) deleteAnnotation(c echo.Context) error {
	if err := s.Collab.DeleteAnnotation(c.Request().Context(), collab.AnnotationID(c.Param("annotation"))); err != nil {
		return err
	}
	return s.formDone(c, 0, sitePath(c.FormValue("back")))
}
