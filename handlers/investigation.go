package handlers

import (
	"cmp"
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
	path, _, _ := strings.Cut(strings.TrimPrefix(pages[0], "/"), "?")
	first, _, _ := strings.Cut(path, "/")
	return cmp.Or(wheres[first], "elsewhere")
}

var wheres = map[string]string{
	"": "at home", "i": "on the board", "t": "in a trace", "thread": "in a thread", "explore": "in Explore", "ripples": "in Ripples",
	"services": "in Services", "service-map": "in Services", "messages": "in Messages", "queues": "in Queues", "jobs": "in Jobs",
	"investigations": "in the list of investigations",
}

// newInvestigation answers GET /investigations/new.
func (s *Server) newInvestigation(c echo.Context) error {
	return s.renderNewInvestigation(c, http.StatusOK, views.InvestigationForm{Ref: uuid.NewString(), Severity: string(collab.SeverityUnknown),
		Kind: string(collab.InvestigationReal), Visibility: string(collab.VisibilityWorkspace), Title: c.QueryParam("title")})
}

func (s *Server) renderNewInvestigation(c echo.Context, status int, v views.InvestigationForm) error {
	page, err := s.page(c, "New investigation", views.SectionInvestigations)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/investigation.css", "css/board.css"}
	v.Page = page
	teams, err := s.Collab.FindTeams(c.Request().Context())
	if err != nil {
		return err
	}
	for _, t := range teams {
		v.Teams = append(v.Teams, views.Option{Value: string(t.ID), Label: t.Name})
	}
	for _, t := range collab.Templates {
		v.Templates = append(v.Templates, views.TemplateChoice{ID: t.ID, Name: t.Name, About: t.About})
	}
	return render(c, status, views.NewInvestigationPage(v))
}

// createInvestigation answers POST /investigations.
func (s *Server) createInvestigation(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	v := views.InvestigationForm{Ref: form.Get("ref"), Title: form.Get("title"), Severity: form.Get("severity"), Template: form.Get("template"),
		Kind: form.Get("kind"), Visibility: form.Get("visibility"), Chosen: map[string]bool{}}
	n := collab.InvestigationNew{Ref: v.Ref, Title: v.Title, Severity: collab.Severity(v.Severity), Template: v.Template,
		Kind: collab.InvestigationKind(v.Kind), Visibility: collab.Visibility(v.Visibility)}
	for _, t := range form["teams"] {
		v.Chosen[t] = true
		n.Teams = append(n.Teams, collab.TeamID(t))
	}
	inv, _, err := s.Collab.CreateInvestigation(c.Request().Context(), n)
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

// deleteInvestigation answers POST /i/:id/delete.
func (s *Server) deleteInvestigation(c echo.Context) error {
	inv, err := s.Collab.InvestigationByID(c.Request().Context(), investigationParam(c))
	if err != nil {
		return err
	}
	typed := strings.Join(strings.Fields(c.FormValue("title")), " ")
	if typed != strings.Join(strings.Fields(inv.Title), " ") {
		return &collab.InvalidError{Field: "title", Message: "To delete the investigation, at once and for good, type its title as it stands: " + inv.Title}
	}
	if err := s.Collab.DeleteInvestigation(c.Request().Context(), investigationParam(c)); err != nil {
		return err
	}
	return s.formDone(c, 0, "/investigations?done=deleted")
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
		Seen: conflict.Offset, Ref: uuid.NewString(), Back: back, Long: conflict.Field == "text",
		By: conflict.ActorName}
	if conflict.AtNano > 0 {
		v.At = nanoTime(conflict.AtNano)
	}
	if strings.HasPrefix(v.Field, "references.") {
		v.Field, v.Label = "side", "evidence"
	}
	if name, isTime := strings.CutSuffix(v.Field, "_unix_nano"); isTime {
		v.Field, v.Label = name, strings.ReplaceAll(name, "_", " ")+" (UTC)"
		v.Yours, v.Theirs = form.Get(name), utcWords(v.Theirs)
	}
	// Whatever else was filled in goes along.
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name != v.Field && name != "was_"+v.Field && name != "seen" && name != "ref" {
			v.Keep = append(v.Keep, views.Option{Value: form.Get(name), Label: name})
		}
	}
	return render(c, http.StatusConflict, views.ConflictPage(v))
}

// utcWords writes a time as a form without scripts has it; "" is none.
func utcWords(nano string) string {
	n, err := strconv.ParseInt(nano, 10, 64)
	if err != nil || n == 0 {
		return ""
	}
	return nanoTime(n).UTC().Format("2006-01-02T15:04:05")
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
