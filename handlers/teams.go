package handlers

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// showTeams answers GET /settings/teams. Everybody may see who is in which team;
// administrators change them.
func (s *Server) showTeams(c echo.Context) error {
	return s.renderTeams(c, http.StatusOK, views.Teams{})
}

func (s *Server) renderTeams(c echo.Context, status int, v views.Teams) error {
	ctx := c.Request().Context()
	var err error
	v.Settings, err = s.settings(c, views.TabTeams, "Teams", "Named groups of people, and the services that are theirs.")
	if err != nil {
		return err
	}
	v.Page.Styles = []string{"css/investigation.css"}
	if v.Problem = v.Errors[""]; v.Problem == "" {
		v.Problem = v.Problems[""]
	}
	teams, err := s.Collab.FindTeams(ctx)
	if err != nil {
		return err
	}
	users, err := s.Collab.FindUsers(ctx)
	if err != nil {
		return err
	}
	for i := range teams {
		t := &teams[i]
		row := views.TeamRow{ID: string(t.ID), Name: t.Name, NewName: t.Name, Handle: t.Handle, Services: strings.Join(t.Services, "\n")}
		in := map[string]bool{}
		for _, m := range t.Members {
			in[m.ID] = true
			row.Members = append(row.Members, views.TeamPerson{ID: m.ID, Name: m.Name, Since: nanoTime(m.SinceUnixNano)})
		}
		for _, u := range users {
			if u.Active() && !in[u.ID] {
				row.Others = append(row.Others, views.Option{Value: u.ID, Label: u.Name})
			}
		}
		if row.ID == v.Editing { // what was typed stays
			row.Open, row.Errors, row.Services, row.NewName = true, v.Problems, v.EditServices, v.EditName
		}
		v.List = append(v.List, row)
	}
	return render(c, status, views.TeamsPage(v))
}

// servicesField reads names and patterns, one on a line or with commas between.
func servicesField(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == ',' })
}

// createTeam answers POST /settings/teams.
func (s *Server) createTeam(c echo.Context) error {
	v := views.Teams{Name: c.FormValue("name"), Services: c.FormValue("services")}
	_, err := s.Collab.CreateTeam(c.Request().Context(), collab.TeamNew{Name: v.Name, Services: servicesField(v.Services)})
	if fields, ok := fieldErrors(err, "name", "services"); ok {
		v.Errors = fields
		return s.renderTeams(c, http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/teams")
}

// updateTeam answers POST /settings/teams/:team: its name and services, or one
// member who joins or leaves.
func (s *Server) updateTeam(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	u := collab.TeamUpdate{Name: formValue(form, "name"), Members: map[string]bool{}}
	if form.Has("services") {
		list := servicesField(form.Get("services"))
		u.Services = &list
	}
	if who := form.Get("joins"); who != "" {
		u.Members[who] = true
	}
	if who := form.Get("leaves"); who != "" {
		u.Members[who] = false
	}
	_, err = s.Collab.UpdateTeam(c.Request().Context(), collab.TeamID(c.Param("team")), u)
	if fields, ok := fieldErrors(err, "name", "services"); ok {
		return s.renderTeams(c, http.StatusUnprocessableEntity, views.Teams{Editing: c.Param("team"), EditName: form.Get("name"), EditServices: form.Get("services"), Problems: fields})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/teams")
}

// deleteTeam answers POST /settings/teams/:team/delete.
func (s *Server) deleteTeam(c echo.Context) error {
	if err := s.Collab.DeleteTeam(c.Request().Context(), collab.TeamID(c.Param("team"))); err != nil {
		return err
	}
	return seeOther(c, "/settings/teams")
}
