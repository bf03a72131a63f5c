package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// liveStatuses are those of investigations that somebody still works on.
var liveStatuses = []collab.Status{collab.StatusOpen, collab.StatusMitigated}

// showInvestigations answers GET /investigations.
func (s *Server) showInvestigations(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	show := c.QueryParam("show")
	f := collab.InvestigationFilter{After: collab.InvestigationID(c.QueryParam("after"))}
	switch show {
	case "mine":
		f.UserID = actor.ID
	case "resolved", "closed":
		f.Statuses = []collab.Status{collab.Status(show)}
	case "all":
	default:
		show, f.Statuses = "live", liveStatuses
	}
	list, more, err := s.Collab.FindInvestigations(ctx, f)
	if err != nil {
		return err
	}
	page, err := s.page(c, "Investigations", views.SectionInvestigations)
	if err != nil {
		return err
	}
	v := views.InvestigationList{Page: page}
	for _, x := range [][2]string{{"live", "Open"}, {"mine", "Mine"}, {"resolved", "Resolved"}, {"closed", "Closed"}, {"all", "All"}} {
		v.Filters = append(v.Filters, views.Filter{Label: x[1], Href: "/investigations?show=" + x[0], Here: show == x[0]})
	}
	for i := range list {
		v.Rows = append(v.Rows, s.investigationRow(&list[i], actor))
	}
	if more {
		v.More = "/investigations?show=" + show + "&after=" + url.QueryEscape(string(list[len(list)-1].ID))
	}
	if len(list) == 0 && show != "all" {
		any, _, err := s.Collab.FindInvestigations(ctx, collab.InvestigationFilter{Limit: 1})
		if err != nil {
			return err
		}
		v.Filtered = len(any) > 0
	}
	v.Page.Styles = []string{"css/investigation.css"}
	return render(c, http.StatusOK, views.InvestigationsPage(v))
}

// investigationRow is one line of a list of investigations.
func (s *Server) investigationRow(inv *collab.Investigation, me collab.Actor) views.InvestigationRow {
	return views.InvestigationRow{Href: "/i/" + string(inv.ID), Title: inv.Title, Status: string(inv.Status), Severity: string(inv.Severity),
		LeadName: inv.LeadName, Blocks: inv.Blocks, Created: nanoTime(inv.CreatedUnixNano), Updated: nanoTime(inv.UpdatedUnixNano), Here: s.peopleHere(inv.ID, me)}
}

func nanoTime(nano int64) time.Time { return time.Unix(0, nano).UTC() }

// peopleHere lists who looks at an investigation now, the asker first.
func (s *Server) peopleHere(id collab.InvestigationID, me collab.Actor) []views.PersonHere {
	if s.Live == nil {
		return nil
	}
	var list []views.PersonHere
	for _, p := range s.Live.People(id) {
		h := views.PersonHere{ID: p.ID, Name: p.Name, Where: whereWords(p.Pages), Me: p.ID == me.ID}
		if h.Me {
			list = slices.Insert(list, 0, h)
		} else {
			list = append(list, h)
		}
	}
	return list
}

// whereWords says where somebody's windows are; static/js/investigation.js does
// the same.
func whereWords(pages []string) string {
	if len(pages) == 0 || slices.Contains(pages, "board") {
		return "on this board"
	}
	return "elsewhere"
}

// newInvestigation answers GET /investigations/new.
func (s *Server) newInvestigation(c echo.Context) error {
	return s.renderNewInvestigation(c, http.StatusOK, views.InvestigationForm{Ref: uuid.NewString(), Severity: string(collab.SeverityUnknown), Title: c.QueryParam("title")})
}

func (s *Server) renderNewInvestigation(c echo.Context, status int, v views.InvestigationForm) error {
	page, err := s.page(c, "New investigation", views.SectionInvestigations)
	if err != nil {
		return err
	}
	v.Page = page
	return render(c, status, views.NewInvestigationPage(v))
}

// createInvestigation answers POST /investigations.
func (s *Server) createInvestigation(c echo.Context) error {
	v := views.InvestigationForm{Ref: c.FormValue("ref"), Title: c.FormValue("title"), Severity: c.FormValue("severity")}
	inv, _, err := s.Collab.CreateInvestigation(c.Request().Context(),
		collab.InvestigationNew{Ref: v.Ref, Title: v.Title, Severity: collab.Severity(v.Severity)})
	var invalid *collab.InvalidError
	if errors.As(err, &invalid) {
		v.Problem = invalid.Message
		return s.renderNewInvestigation(c, http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/i/"+string(inv.ID))
}

// board builds the views of one investigation.
type board struct {
	*collab.Board
	server   *Server
	actor    collab.Actor
	canWrite bool
	now      time.Time
	people   []collab.User
	home     map[collab.AnnotationID]collab.BlockID // where each annotation shows
}

func (s *Server) readBoard(c echo.Context) (*board, error) {
	ctx := c.Request().Context()
	b, err := s.Collab.Board(ctx, investigationParam(c))
	if err != nil {
		return nil, err
	}
	actor, _ := collab.ActorFrom(ctx)
	people, err := s.Collab.FindUsers(ctx)
	if err != nil {
		return nil, err
	}
	people = slices.DeleteFunc(people, func(u collab.User) bool { return !u.Active() })
	out := &board{Board: b, server: s, actor: actor, canWrite: actor.Role.AtLeast(collab.RoleMember), now: s.Now(), people: people}
	out.placeAnnotations()
	return out, nil
}

// showInvestigation answers GET /i/:id.
func (s *Server) showInvestigation(c echo.Context) error {
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	inv := b.Investigation
	page, err := s.page(c, inv.Title, views.SectionInvestigations)
	if err != nil {
		return err
	}
	page.Wide = true
	page.Styles = []string{"css/explore.css", "css/investigation.css"}
	v := views.Board{Page: page, Head: b.head(), Notes: b.notes(), Here: s.peopleHere(inv.ID, b.actor), Epoch: inv.Epoch, Offset: inv.Offset,
		Compose: views.Composer{InvestigationID: string(inv.ID), Ref: uuid.NewString(), LinkRef: uuid.NewString(), CanWrite: b.canWrite}}
	for i := range b.Blocks {
		block, err := b.block(ctx, i)
		if err != nil {
			return err
		}
		v.Block = append(v.Block, block)
	}
	if v.Timeline, err = b.timeline(ctx, max(inv.Offset-maxTimeline, 0)); err != nil {
		return err
	}
	return render(c, http.StatusOK, views.BoardPage(v))
}

func (b *board) head() views.BoardHead {
	inv := b.Investigation
	h := views.BoardHead{ID: string(inv.ID), Title: inv.Title, Status: string(inv.Status), Severity: string(inv.Severity), Lead: inv.Lead,
		LeadName: inv.LeadName, OpenedBy: inv.CreatedByName, Created: nanoTime(inv.CreatedUnixNano), Seen: inv.Offset, Now: b.now, CanWrite: b.canWrite,
		CanDelete: b.canWrite && (inv.CreatedBy == b.actor.ID || b.actor.Role.AtLeast(collab.RoleAdmin))}
	for _, st := range collab.Statuses {
		h.Statuses = append(h.Statuses, views.Option{Value: string(st), Label: string(st)})
	}
	for _, sev := range collab.Severities {
		h.Severities = append(h.Severities, views.Option{Value: string(sev), Label: string(sev)})
	}
	h.Leads = []views.Option{{Value: "", Label: "nobody"}}
	known := inv.Lead == ""
	for _, u := range b.people {
		h.Leads = append(h.Leads, views.Option{Value: u.ID, Label: u.Name})
		known = known || u.ID == inv.Lead
	}
	if !known { // deactivated since
		h.Leads = append(h.Leads, views.Option{Value: inv.Lead, Label: inv.LeadName})
	}
	return h
}

// block is the view of the i-th block.
func (b *board) block(ctx context.Context, i int) (views.BoardBlock, error) {
	block := &b.Blocks[i]
	id := string(b.Investigation.ID)
	v := views.BoardBlock{InvestigationID: id, ID: string(block.ID), Kind: string(block.Kind), Position: block.Position, Title: block.Title,
		Href: block.Locator, By: block.CreatedByName, At: nanoTime(block.CreatedUnixNano), Now: b.now, Text: block.Text, URL: block.URL,
		Seen: b.Investigation.Offset, CanWrite: b.canWrite, AnnotateRef: uuid.NewString(), Annotations: b.annotations(block.ID)}
	if block.Kind == collab.KindLink && v.Title == "" {
		v.Title = "Link"
	}
	if block.Text != "" {
		v.HTML = markdown(block.Text)
	}
	if i > 0 {
		up := ""
		if i > 1 {
			up = string(b.Blocks[i-2].ID)
		}
		v.Up = &up
	}
	if i+1 < len(b.Blocks) {
		down := string(b.Blocks[i+1].ID)
		v.Down = &down
	}
	if block.Evidence == nil {
		return v, nil
	}
	e := block.Evidence
	v.Frozen = &views.FrozenMark{At: nanoTime(e.FrozenUnixNano), By: e.FrozenByName, SHA256: e.SHA256, Bytes: e.SizeBytes,
		Href: "/api/v1/investigations/" + url.PathEscape(id) + "/pins/" + url.PathEscape(string(block.ID))}
	pic, err := b.server.pinCard(ctx, block)
	if err != nil {
		return v, err
	}
	v.Card = cardBody(pic)
	return v, nil
}

// pinCard draws a pin, nil if its frozen copy cannot be read.
func (s *Server) pinCard(ctx context.Context, block *collab.Block) (*card, error) {
	if c := s.cards.find(block.Evidence.SHA256); c != nil {
		return c, nil
	}
	e, err := s.Collab.EvidenceByBlock(ctx, block.InvestigationID, block.ID)
	if errors.Is(err, collab.ErrNotFound) {
		return nil, nil // deleted this moment
	}
	if err != nil {
		return nil, err
	}
	c, err := drawCard(block.Kind, e.Body)
	if err != nil {
		s.Log.WarnContext(ctx, "frozen copy cannot be drawn", "block", block.ID, "error", err)
		return nil, nil
	}
	s.cards.put(block.Evidence.SHA256, c)
	return c, nil
}

// showBlock answers GET /i/:id/blocks/:block with the block alone.
func (s *Server) showBlock(c echo.Context) error {
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	for i := range b.Blocks {
		if b.Blocks[i].ID != blockParam(c) {
			continue
		}
		v, err := b.block(c.Request().Context(), i)
		if err != nil {
			return err
		}
		return render(c, http.StatusOK, views.BoardBlockFragment(v))
	}
	return collab.ErrNotFound
}

// comparePin answers GET /i/:id/blocks/:block/compare: the frozen copy beside
// what is there now.
func (s *Server) comparePin(c echo.Context) error {
	ctx := c.Request().Context()
	block, err := s.Collab.BlockByID(ctx, investigationParam(c), blockParam(c))
	if err != nil {
		return err
	}
	cmp, err := s.Collab.ComparePin(ctx, block.InvestigationID, block.ID)
	if err != nil {
		return err
	}
	page, err := s.page(c, "Compare "+block.Title, views.SectionInvestigations)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/explore.css", "css/investigation.css"}
	v := views.Compare{Page: page, Title: block.Title, State: string(cmp.State), Back: "/i/" + string(block.InvestigationID) + "#" + string(block.ID),
		Href: block.Locator, FrozenAt: nanoTime(block.Evidence.FrozenUnixNano), FrozenBy: block.Evidence.FrozenByName, FrozenSHA256: cmp.FrozenSHA256, LiveSHA256: cmp.LiveSHA256}
	frozen, err := s.pinCard(ctx, block)
	if err != nil {
		return err
	}
	v.Frozen = cardBody(frozen)
	if cmp.Live != nil {
		now, err := drawCard(block.Kind, cmp.Live)
		if err != nil {
			return err
		}
		v.Live = cardBody(now)
	}
	return render(c, http.StatusOK, views.ComparePage(v))
}

func cardBody(c *card) views.CardBody {
	if c == nil {
		return views.CardBody{Broken: true}
	}
	return views.CardBody{Span: c.span, Trace: c.trace, Thread: c.thread, Query: c.query}
}

// showBoardHead answers GET /i/:id/head with the head alone.
func (s *Server) showBoardHead(c echo.Context) error {
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.BoardHeadFragment(b.head()))
}

// updateInvestigation answers POST /i/:id: the forms in the head of a board. Of
// what a form holds, only the fields that the person changed are taken.
func (s *Server) updateInvestigation(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	u := collab.InvestigationUpdate{Ref: form.Get("ref")}
	if u.Seen, err = seenOf(form); err != nil {
		return err
	}
	changed := func(name string) *string {
		v, has := form[name]
		if was, known := form["was_"+name]; !has || known && was[0] == v[0] {
			return nil
		}
		return &v[0]
	}
	u.Title, u.Lead = changed("title"), changed("lead")
	if v := changed("status"); v != nil {
		u.Status = (*collab.Status)(v)
	}
	if v := changed("severity"); v != nil {
		u.Severity = (*collab.Severity)(v)
	}
	inv, err := s.Collab.UpdateInvestigation(c.Request().Context(), investigationParam(c), u)
	if err != nil {
		return s.conflictPage(c, err, c.Request().URL.Path, "/i/"+string(investigationParam(c)))
	}
	return s.formDone(c, inv.Offset, "/i/"+string(inv.ID))
}

// deleteInvestigation answers POST /i/:id/delete.
func (s *Server) deleteInvestigation(c echo.Context) error {
	if c.FormValue("sure") == "" {
		return &collab.InvalidError{Field: "sure", Message: "Tick the box to delete the investigation."}
	}
	if err := s.Collab.DeleteInvestigation(c.Request().Context(), investigationParam(c)); err != nil {
		return err
	}
	return s.formDone(c, 0, "/investigations")
}

func seenOf(form url.Values) (*int64, error) {
	n, err := strconv.ParseInt(form.Get("seen"), 10, 64)
	if err != nil {
		return nil, &collab.InvalidError{Field: "seen", Message: "The form does not say which version it was made from. Reload the page."}
	}
	return &n, nil
}

// formDone answers a form: a script gets the offset of the change as JSON,
// otherwise the browser goes to path.
func (s *Server) formDone(c echo.Context, offset int64, path string) error {
	if wantsJSON(c) {
		return c.JSON(http.StatusOK, map[string]any{"offset": offset, "path": path})
	}
	return seeOther(c, path)
}

// conflictPage shows both versions of a field to a person who filled in a form.
// Any other error, and what a script sent, is returned as it is.
func (s *Server) conflictPage(c echo.Context, err error, action, back string) error {
	var conflict *collab.ConflictError
	if !errors.As(err, &conflict) || conflict.Field == "ref" || wantsJSON(c) {
		return err
	}
	page, pageErr := s.page(c, "Conflict", views.SectionInvestigations)
	if pageErr != nil {
		return pageErr
	}
	page.Styles = []string{"css/investigation.css"}
	text := func(v any) string { t, _ := v.(string); return t }
	return render(c, http.StatusConflict, views.ConflictPage(views.Conflict{Page: page, Action: action, Field: conflict.Field, Label: conflict.Field,
		Yours: text(conflict.Yours), Theirs: text(conflict.Theirs), Seen: conflict.Offset, Ref: uuid.NewString(), Back: back, Long: conflict.Field == "text"}))
}

// createBlock answers POST /i/:id/blocks: the forms at the end of a board.
func (s *Server) createBlock(c echo.Context) error {
	n := collab.BlockNew{Ref: c.FormValue("ref"), Kind: collab.BlockKind(c.FormValue("kind")), Title: c.FormValue("title"),
		Text: c.FormValue("text"), URL: c.FormValue("url")}
	b, _, err := s.Collab.CreateBlock(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return s.formDone(c, b.Offset, "/i/"+string(b.InvestigationID)+"#"+string(b.ID))
}

// updateBlock answers POST /i/:id/blocks/:block: the editor of a block, and its
// moves.
func (s *Server) updateBlock(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	u := collab.BlockUpdate{Ref: form.Get("ref")}
	if u.Seen, err = seenOf(form); err != nil {
		return err
	}
	value := func(name string) *string {
		if v, has := form[name]; has {
			return &v[0]
		}
		return nil
	}
	u.Title, u.Text, u.URL = value("title"), value("text"), value("url")
	if form.Get("move") != "" {
		u.After = (*collab.BlockID)(value("after"))
	}
	id := investigationParam(c)
	path := "/i/" + string(id) + "#" + string(blockParam(c))
	b, err := s.Collab.UpdateBlock(c.Request().Context(), id, blockParam(c), u)
	if err != nil {
		return s.conflictPage(c, err, c.Request().URL.Path, path)
	}
	return s.formDone(c, b.Offset, path)
}

// deleteBlock answers POST /i/:id/blocks/:block/delete.
func (s *Server) deleteBlock(c echo.Context) error {
	ctx, id := c.Request().Context(), investigationParam(c)
	if err := s.Collab.DeleteBlock(ctx, id, blockParam(c)); err != nil {
		return err
	}
	p, err := s.Collab.LogPosition(ctx, id)
	if err != nil {
		return err
	}
	return s.formDone(c, p.Offset, "/i/"+string(id))
}
