package handlers

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
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
	d := annotationDrawer{actor: b.actor, canWrite: b.canWrite, now: b.now}
	var list []collab.Annotation
	for i := range b.Annotations {
		if b.home[b.Annotations[i].ID] == block {
			list = append(list, b.Annotations[i])
		}
	}
	return d.threads(list, func(a *collab.Annotation) (string, string) {
		back := "/i/" + string(b.Investigation.ID) + "#" + string(a.ID)
		switch {
		case a.Anchor.PinID == "" && a.Anchor.SpanID != "":
			return back, "on the span in its trace"
		case a.Anchor.PinID == "" && a.Anchor.TraceID != "":
			return back, "on the trace"
		case a.Anchor.SpanID != "":
			return back, "seen in its trace too"
		}
		return back, ""
	})
}

// annotationDrawer makes views of annotations for whoever looks.
type annotationDrawer struct {
	actor    collab.Actor
	canWrite bool
	now      time.Time
	base     int64 // the begin of the trace, whose moments are told from there; 0: by the clock
}

// threads puts replies below what they reply to, the oldest first. What was
// replied to may be gone. place says where one leads back to, and where it was
// made.
func (d annotationDrawer) threads(list []collab.Annotation, place func(*collab.Annotation) (back, where string)) []views.BoardAnnotation {
	var out []views.BoardAnnotation
	at := map[collab.AnnotationID]int{}
	for i := range list {
		a := &list[i]
		v := d.view(a)
		v.Back, v.Where = place(a)
		if a.ParentID == "" {
			at[a.ID] = len(out)
			out = append(out, v)
			continue
		}
		k, there := at[a.ParentID]
		if !there {
			k = len(out)
			at[a.ParentID] = k
			out = append(out, views.BoardAnnotation{ID: string(a.ParentID), Gone: true, Now: d.now})
		}
		v.Where = "" // where its parent is
		out[k].Replies = append(out[k].Replies, v)
	}
	return out
}

func (d annotationDrawer) view(a *collab.Annotation) views.BoardAnnotation {
	v := views.BoardAnnotation{ID: string(a.ID), ByID: a.CreatedBy, By: a.CreatedByName, HTML: markdown(a.Text), Text: a.Text,
		At: nanoTime(a.CreatedUnixNano), Now: d.now, Seen: a.Offset, Versions: a.Versions, EditedBy: a.EditedByName, CanWrite: d.canWrite, Reply: a.ParentID != "", ReplyRef: uuid.NewString(),
		Mine: d.canWrite && (a.CreatedBy == d.actor.ID || d.actor.Role.AtLeast(collab.RoleAdmin)), Resolved: timeAt(a.ResolvedUnixNano), ResolvedBy: a.ResolvedByName,
		Moment: timeAt(a.Anchor.AtUnixNano), Until: timeAt(a.Anchor.UntilUnixNano)}
	if at := a.Anchor.AtUnixNano; d.base > 0 && at >= d.base {
		v.Offset = "+" + ui.Duration(at-d.base)
		if until := a.Anchor.UntilUnixNano; until > 0 {
			v.Offset += " to +" + ui.Duration(until-d.base)
		}
	}
	for _, r := range collab.AnnotationReactions {
		rv := views.ReactionView{Name: string(r), Mine: a.HasReacted(d.actor.ID, r)}
		for _, c := range a.Reactions {
			if c.Reaction != r {
				continue
			}
			for _, p := range c.People {
				rv.People = append(rv.People, p.Name)
			}
		}
		v.Reactions = append(v.Reactions, rv)
	}
	return v
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

// maxTraceNotes is how many annotations a trace's page shows.
const maxTraceNotes = 1_000

// traceNotes are the annotations on a trace that the actor may see, by the span
// that they hang on; those on the whole trace are under "".
func (s *Server) traceNotes(ctx context.Context, id trace.ID) (map[string][]collab.Annotation, error) {
	list, err := s.Collab.FindAnnotations(ctx, collab.AnnotationFilter{TraceID: id, Limit: maxTraceNotes})
	if err != nil {
		return nil, err
	}
	out := map[string][]collab.Annotation{}
	for i := range list {
		span := list[i].Anchor.SpanID
		out[span] = append(out[span], list[i])
	}
	return out, nil
}

// notesView is the view of the annotations on a trace or, if span is not "", on
// a span of it. Begin is when the trace began.
func (s *Server) notesView(c echo.Context, traceID, span, back string, begin int64, list []collab.Annotation) views.TraceNotes {
	actor, _ := collab.ActorFrom(c.Request().Context())
	d := annotationDrawer{actor: actor, canWrite: actor.Role.AtLeast(collab.RoleMember), now: s.Now(), base: begin}
	n := views.TraceNotes{ID: "trace-notes", TraceID: traceID, SpanID: span, Ref: uuid.NewString(), CanWrite: d.canWrite, Begin: begin}
	if span != "" {
		n.ID = "span-annotations"
	}
	n.Back = back + "#" + n.ID
	n.Annotations = d.threads(list, func(a *collab.Annotation) (string, string) {
		if a.Anchor.InvestigationID != "" {
			return n.Back, "in an investigation"
		}
		return n.Back, ""
	})
	return n
}

// createAnnotation answers POST /annotations: the forms on boards and on the
// trace page.
func (s *Server) createAnnotation(c echo.Context) error {
	n := collab.AnnotationNew{Ref: c.FormValue("ref"), Text: c.FormValue("text"), ParentID: collab.AnnotationID(c.FormValue("parent_id")), Anchor: collab.Anchor{
		InvestigationID: collab.InvestigationID(c.FormValue("investigation_id")), PinID: collab.BlockID(c.FormValue("pin_id")),
		TraceID: c.FormValue("trace_id"), SpanID: c.FormValue("span_id")}}
	var err error
	if n.Anchor.AtUnixNano, err = momentField(c, "at"); err != nil {
		return err
	}
	if n.Anchor.UntilUnixNano, err = momentField(c, "until"); err != nil {
		return err
	}
	a, _, err := s.Collab.CreateAnnotation(c.Request().Context(), n)
	if err != nil {
		return err
	}
	return s.formDone(c, a.Offset, annotationPath(a, c.FormValue("back")))
}

// momentField reads a time that an annotation is about: as a datetime-local field
// has it, in UTC, or, beside a field "base" with a time in nanoseconds, as
// milliseconds after that. 0 is none.
func momentField(c echo.Context, name string) (int64, error) {
	text := strings.TrimSpace(c.FormValue(name))
	base := c.FormValue("base")
	if text == "" || base == "" {
		at, err := utcField(name, &text)
		if err != nil {
			return 0, err
		}
		return *at, nil
	}
	from, err := strconv.ParseInt(base, 10, 64)
	after, bad := strconv.ParseFloat(text, 64)
	if err != nil || bad != nil || !(after >= 0 && after <= maxMomentMilli) {
		return 0, &collab.InvalidError{Field: name, Message: "Say how many milliseconds after the begin of the trace."}
	}
	return from + int64(math.Round(after*1e6)), nil
}

// maxMomentMilli is how long after the begin of a trace a moment of it can be: a
// year.
const maxMomentMilli = 366 * 24 * 3600 * 1e3

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

// reactToAnnotation answers POST /annotations/:annotation/react.
func (s *Server) reactToAnnotation(c echo.Context) error {
	a, err := s.Collab.React(c.Request().Context(), collab.AnnotationID(c.Param("annotation")), collab.Reaction(c.FormValue("reaction")), c.FormValue("on") != "false")
	if err != nil {
		return err
	}
	return s.formDone(c, 0, annotationPath(a, c.FormValue("back")))
}

// resolveAnnotation answers POST /annotations/:annotation/resolve.
func (s *Server) resolveAnnotation(c echo.Context) error {
	resolved := c.FormValue("resolved") != "false"
	a, err := s.Collab.UpdateAnnotation(c.Request().Context(), collab.AnnotationID(c.Param("annotation")), collab.AnnotationUpdate{Resolved: &resolved})
	if err != nil {
		return err
	}
	return s.formDone(c, 0, annotationPath(a, c.FormValue("back")))
}

// showAnnotationHistory answers GET /annotations/:annotation/history.
func (s *Server) showAnnotationHistory(c echo.Context) error {
	ctx := c.Request().Context()
	id := collab.AnnotationID(c.Param("annotation"))
	a, err := s.Collab.AnnotationByID(ctx, id)
	if err != nil {
		return err
	}
	list, err := s.Collab.AnnotationVersions(ctx, id)
	if err != nil {
		return err
	}
	page, err := s.page(c, "How a remark was edited", views.SectionInvestigations)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/annotations.css"}
	v := views.History{Page: page, Back: annotationPath(a, "")}
	for i := len(list) - 1; i >= 0; i-- {
		v.Versions = append(v.Versions, views.TextVersion{Version: list[i].Version, By: list[i].ActorName, At: nanoTime(list[i].AtUnixNano), HTML: markdown(list[i].Text)})
	}
	return render(c, http.StatusOK, views.HistoryPage(v))
}

// versionList is the answer of GET /api/v1/annotations/:annotation/history.
type versionList struct {
	Versions []collab.AnnotationVersion `json:"versions"` // the first first
}

// listAnnotationVersions answers GET /api/v1/annotations/:annotation/history.
func (s *Server) listAnnotationVersions(c echo.Context) error {
	list, err := s.Collab.AnnotationVersions(c.Request().Context(), collab.AnnotationID(c.Param("annotation")))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, versionList{list})
}

// reactJSON answers PUT and DELETE
// /api/v1/annotations/:annotation/reactions/:reaction.
func (s *Server) reactJSON(c echo.Context) error {
	on := c.Request().Method == http.MethodPut
	a, err := s.Collab.React(c.Request().Context(), collab.AnnotationID(c.Param("annotation")), collab.Reaction(c.Param("reaction")), on)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a)
}
