package handlers

import (
	"errors"
	"maps"
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

// whereWords says where somebody is, by the addresses of their windows, the
// newest first; static/js/presence_words.js does the same.
func whereWords(pages []string) string {
	if len(pages) == 0 {
		return "elsewhere"
	}
	switch first, _, _ := strings.Cut(strings.TrimPrefix(pages[0], "/"), "/"); {
	case first == "i":
		return "on the board"
	case first == "t":
		return "in a trace"
	case first == "thread":
		return "in a thread"
	case strings.HasPrefix(first, "explore"):
		return "in Explore"
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
	page.Styles = []string{"css/investigation.css", "css/board.css"}
	v.Page = page
	for _, t := range collab.Templates {
		v.Templates = append(v.Templates, views.TemplateChoice{ID: t.ID, Name: t.Name, About: t.About})
	}
	return render(c, status, views.NewInvestigationPage(v))
}

// createInvestigation answers POST /investigations.
func (s *Server) createInvestigation(c echo.Context) error {
	v := views.InvestigationForm{Ref: c.FormValue("ref"), Title: c.FormValue("title"), Severity: c.FormValue("severity"), Template: c.FormValue("template")}
	inv, _, err := s.Collab.CreateInvestigation(c.Request().Context(),
		collab.InvestigationNew{Ref: v.Ref, Title: v.Title, Severity: collab.Severity(v.Severity), Template: v.Template})
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
	page.Styles = []string{"css/investigation.css", "css/board.css"}
	form, formErr := c.FormParams()
	if formErr != nil {
		return formErr
	}
	v := views.Conflict{Page: page, Action: action, Field: conflict.Field, Label: conflict.Field, Yours: conflictText(conflict.Yours), Theirs: conflictText(conflict.Theirs),
		Seen: conflict.Offset, Ref: uuid.NewString(), Back: back, Long: conflict.Field == "text"}
	if strings.HasPrefix(v.Field, "references.") {
		v.Field, v.Label = "side", "evidence"
	}
	// Whatever else was filled in goes along.
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name != v.Field && name != "was_"+v.Field && name != "seen" && name != "ref" {
			v.Keep = append(v.Keep, views.Option{Value: form.Get(name), Label: name})
		}
	}
	return render(c, http.StatusConflict, views.ConflictPage(v))
}

// conflictText is one version of a field as a form shows and sends it.
func conflictText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
