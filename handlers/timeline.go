package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// maxTimeline is how many entries a page shows.
const maxTimeline = 300

// timelineQuery reads which timeline an address asks for: timeline=all, and
// order=recorded.
func timelineQuery(q url.Values) (collab.TimelineQuery, error) {
	tq := collab.TimelineQuery{Limit: maxTimeline}
	switch q.Get("timeline") {
	case "", "curated":
	case "all":
		tq.All = true
	default:
		return tq, &collab.InvalidError{Field: "timeline", Message: "A timeline is curated or all."}
	}
	switch q.Get("order") {
	case "", "happened":
	case "recorded":
		tq.ByRecorded = true
	default:
		return tq, &collab.InvalidError{Field: "order", Message: "A timeline is sorted by happened or recorded."}
	}
	return tq, nil
}

// showTimeline answers GET /i/:id/timeline with the timeline alone.
func (s *Server) showTimeline(c echo.Context) error {
	b, err := s.readBoardThen(c)
	if err != nil {
		return err
	}
	v, err := b.timeline(c.Request().Context(), c.QueryParams())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.TimelinePanel(v))
}

// timeline is the view of the timeline as of the board.
func (b *board) timeline(ctx context.Context, q url.Values) (views.Timeline, error) {
	id := b.Investigation.ID
	v := views.Timeline{ID: string(id), Offset: b.Investigation.Offset, Last: b.last, Ref: uuid.NewString(), CanWrite: b.canWrite, Now: b.now}
	tq, err := timelineQuery(q)
	if err != nil {
		return v, err
	}
	if v.All, v.Recorded = tq.All, tq.ByRecorded; b.replayed {
		v.At, tq.At = b.Investigation.Offset, b.Investigation.Offset
	}
	tl, err := b.server.Collab.Timeline(ctx, id, tq)
	if err != nil {
		return v, err
	}
	v.Hidden, v.More = tl.Hidden, tl.More
	w, err := b.words(ctx)
	if err != nil {
		return v, err
	}
	for i := range tl.Entries {
		e := w.timelineEntry(&tl.Entries[i])
		if b.canWrite {
			e.EditHref = "/i/" + url.PathEscape(string(id)) + "/timeline/" + url.PathEscape(e.ID)
		}
		if e.Offset > 0 {
			e.ThenHref = "/i/" + url.PathEscape(string(id)) + "?at=" + strconv.FormatInt(e.Offset, 10)
		}
		v.Entries = append(v.Entries, e)
	}
	if v.Recorded {
		slices.Reverse(v.Entries)
	}
	return v, nil
}

// words puts the changes of a board into words.
func (b *board) words(ctx context.Context) (changeWords, error) {
	w := changeWords{blocks: map[string]*collab.Block{}, people: map[string]string{}, teams: map[string]string{}}
	teams, err := b.server.Collab.FindTeams(ctx)
	if err != nil {
		return w, err
	}
	for i := range teams {
		w.teams[string(teams[i].ID)] = teams[i].Name
	}
	for i := range b.Blocks {
		w.blocks[string(b.Blocks[i].ID)] = &b.Blocks[i]
	}
	for _, u := range b.people {
		w.people[u.ID] = u.Name
	}
	return w, nil
}

// timelineEntry puts an entry into words.
func (w changeWords) timelineEntry(t *collab.TimelineEntry) views.TimelineEntry {
	e := views.TimelineEntry{ID: string(t.ID), Who: t.ActorName}
	switch {
	case t.Change != nil:
		e = w.entry(t.Change)
		e.ID = string(t.ID)
		if t.FromEvidence {
			w.evidenceEntry(t, &e)
		}
	case t.Marker != nil:
		m := t.Marker
		e.Who, e.Tone = "", "deploy"
		e.What = strings.TrimSpace(m.Type + " " + m.Service)
		e.Detail, e.Href = strings.TrimSpace(m.Message), m.URL
		if m.Environment != "" {
			e.Detail = strings.TrimPrefix(e.Detail+" · "+m.Environment, " · ")
		}
	}
	if t.Text != "" {
		e.What, e.Detail = t.Text, ""
		if t.Change != nil {
			e.Who = ""
			e.Detail = "by " + t.ActorName
		}
	}
	e.At, e.Pinned, e.Hidden, e.Edited = nanoTime(t.HappenedUnixNano), t.Pinned, t.Hidden, t.Edited
	if apart := t.RecordedUnixNano - t.HappenedUnixNano; apart >= 1e9 || apart <= -1e9 {
		e.Recorded = nanoTime(t.RecordedUnixNano)
	}
	return e
}

// evidenceEntry tells of spans at the time when they were, not of their pinning.
func (w changeWords) evidenceEntry(t *collab.TimelineEntry, e *views.TimelineEntry) {
	var d struct {
		Kind  string
		Title string
		Text  string
	}
	if err := json.Unmarshal(t.Change.Data, &d); err != nil || d.Title == "" {
		return
	}
	e.Who, e.What = "", d.Title
	e.Detail = "from the " + d.Kind + " that " + t.ActorName + " pinned"
	if d.Text != "" {
		e.Detail = excerpt(d.Text) + " · " + e.Detail
	}
}

func entryParam(c echo.Context) collab.EntryID { return collab.EntryID(c.Param("entry")) }

// showTimelineEntry answers GET /i/:id/timeline/:entry with its form.
func (s *Server) showTimelineEntry(c echo.Context) error {
	ctx := c.Request().Context()
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	tl, err := s.Collab.Timeline(ctx, b.Investigation.ID, collab.TimelineQuery{All: true, Limit: 2_000})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(tl.Entries, func(e collab.TimelineEntry) bool { return e.ID == entryParam(c) })
	if i < 0 {
		return collab.ErrNotFound
	}
	w, err := b.words(ctx)
	if err != nil {
		return err
	}
	t := &tl.Entries[i]
	v := views.TimelineEdit{ID: string(b.Investigation.ID), Entry: w.timelineEntry(t), Text: t.Text, Happened: nanoTime(t.HappenedUnixNano).Truncate(time.Second), Seen: b.Investigation.Offset, Ref: uuid.NewString()}
	if own := *t; own.Change != nil || own.Marker != nil {
		own.Text = ""
		e := w.timelineEntry(&own)
		v.Says = strings.TrimSpace(e.Who + " " + e.What)
	} else {
		v.Mine = t.Actor == b.actor.ID || b.actor.Role.AtLeast(collab.RoleAdmin)
	}
	if isFragment(c) {
		return render(c, http.StatusOK, views.TimelineEditFragment(v))
	}
	if v.Page, err = s.page(c, "Timeline", views.SectionInvestigations); err != nil {
		return err
	}
	v.Page.Styles = boardStyles
	return render(c, http.StatusOK, views.TimelineEditPage(v))
}

// createTimelineEntry answers POST /i/:id/timeline.
func (s *Server) createTimelineEntry(c echo.Context) error {
	n := collab.EntryNew{Ref: c.FormValue("ref"), Text: c.FormValue("text")}
	happened := c.FormValue("happened")
	at, err := utcField("happened", &happened)
	if err != nil {
		return err
	}
	n.HappenedUnixNano = *at
	e, _, err := s.Collab.CreateEntry(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return s.formDone(c, e.Offset, "/i/"+string(investigationParam(c))+"#entry-"+string(e.ID))
}

// updateTimelineEntry answers POST /i/:id/timeline/:entry. Only what was changed
// in the form is taken.
func (s *Server) updateTimelineEntry(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	u := collab.EntryUpdate{Ref: form.Get("ref")}
	if u.Seen, err = seenOf(form); err != nil {
		return err
	}
	if text := form.Get("text"); form.Has("text") && text != form.Get("was_text") {
		u.Text = &text
	}
	if at := form.Get("happened"); form.Has("happened") && at != form.Get("was_happened") {
		if u.HappenedUnixNano, err = utcField("happened", &at); err != nil {
			return err
		}
	}
	for name, flag := range map[string]**bool{"pinned": &u.Pinned, "hidden": &u.Hidden} {
		if form.Has(name) {
			on := form.Get(name) == "true"
			*flag = &on
		}
	}
	back := "/i/" + string(investigationParam(c)) + "#entry-" + string(entryParam(c))
	e, err := s.Collab.UpdateEntry(c.Request().Context(), investigationParam(c), entryParam(c), u)
	if err != nil {
		return s.conflictPage(c, err, c.Request().URL.Path, back)
	}
	return s.formDone(c, e.Offset, back)
}

// deleteTimelineEntry answers POST /i/:id/timeline/:entry/delete.
func (s *Server) deleteTimelineEntry(c echo.Context) error {
	if err := s.Collab.DeleteEntry(c.Request().Context(), investigationParam(c), entryParam(c)); err != nil {
		return err
	}
	return s.formDone(c, 0, "/i/"+string(investigationParam(c))+"#timeline-title")
}

// listTimeline answers GET /api/v1/investigations/:id/timeline.
func (s *Server) listTimeline(c echo.Context) error {
	tq, err := timelineQuery(c.QueryParams())
	if err != nil {
		return err
	}
	if tq.Limit, err = limitParam(c, 500, 2_000); err != nil {
		return err
	}
	if tq.At, _, err = int64Param(c, "at"); err != nil {
		return err
	}
	tl, err := s.Collab.Timeline(c.Request().Context(), investigationParam(c), tq)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, tl)
}

// createTimelineEntryJSON answers POST /api/v1/investigations/:id/timeline.
func (s *Server) createTimelineEntryJSON(c echo.Context) error {
	var n collab.EntryNew
	if err := readJSON(c, &n); err != nil {
		return err
	}
	e, fresh, err := s.Collab.CreateEntry(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return c.JSON(created(fresh), e)
}

// updateTimelineEntryJSON answers PATCH
// /api/v1/investigations/:id/timeline/:entry.
func (s *Server) updateTimelineEntryJSON(c echo.Context) error {
	var u collab.EntryUpdate
	if err := readJSON(c, &u); err != nil {
		return err
	}
	e, err := s.Collab.UpdateEntry(c.Request().Context(), investigationParam(c), entryParam(c), u)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, e)
}

// deleteTimelineEntryJSON answers DELETE
// /api/v1/investigations/:id/timeline/:entry.
func (s *Server) deleteTimelineEntryJSON(c echo.Context) error {
	if err := s.Collab.DeleteEntry(c.Request().Context(), investigationParam(c), entryParam(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// momentParam reads at=: an offset, or a time as RFC 3339, whose last offset it
// looks for. 0: none was given.
func (s *Server) momentParam(c echo.Context) (int64, error) {
	text := c.QueryParam("at")
	if text == "" {
		return 0, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return s.Collab.OffsetAt(c.Request().Context(), investigationParam(c), t.UnixNano())
	}
	at, err := strconv.ParseInt(text, 10, 64)
	if err != nil || at < 1 {
		return 0, &collab.InvalidError{Field: "at", Message: "A moment is an offset of the log, from 1, or a time as 2026-11-22T14:03:00Z."}
	}
	return at, nil
}

// readBoardThen reads the board as it is, or, with at=, as it was, which nobody
// can write to.
func (s *Server) readBoardThen(c echo.Context) (*board, error) {
	at, err := s.momentParam(c)
	if err != nil {
		return nil, err
	}
	if at == 0 {
		return s.readBoard(c)
	}
	ctx := c.Request().Context()
	then, err := s.Collab.BoardAt(ctx, investigationParam(c), at)
	if err != nil {
		return nil, err
	}
	people, err := s.activePeople(ctx)
	if err != nil {
		return nil, err
	}
	actor, _ := collab.ActorFrom(ctx)
	b := &board{Board: &then.Board, server: s, actor: actor, now: s.Now(), people: people, replayed: true, last: then.Last, thenNano: then.AtUnixNano, erased: len(then.Erased)}
	b.placeAnnotations()
	return b, nil
}

// replay says which moment is shown, nil if it is that of now.
func (b *board) replay(ctx context.Context, q url.Values) (*views.Replay, error) {
	if !b.replayed {
		return nil, nil
	}
	id := b.Investigation.ID
	v := &views.Replay{ID: string(id), At: b.Investigation.Offset, Last: b.last, Time: nanoTime(b.thenNano), Erased: b.erased}
	for _, name := range []string{"order", "timeline", "view"} {
		if value := q.Get(name); value != "" {
			v.Settings = append(v.Settings, views.Option{Label: name, Value: value})
		}
	}
	list, _, err := b.server.Collab.Changes(ctx, id, v.At-1, 1)
	if err != nil || len(list) != 1 {
		return v, errors.Join(err)
	}
	w, err := b.words(ctx)
	if err != nil {
		return nil, err
	}
	e := w.entry(&list[0])
	v.What = strings.TrimSpace(e.Who + " " + e.What)
	return v, nil
}
