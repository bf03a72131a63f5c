package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

func (s *Server) showPeople(c echo.Context) error {
	return s.renderPeople(c, http.StatusOK, views.People{Role: string(collab.RoleMember)})
}

func (s *Server) renderPeople(c echo.Context, status int, v views.People) error {
	ctx := c.Request().Context()
	var err error
	v.Settings, err = s.settings(c, views.TabPeople, "People", "Who may come in, and what they may do.")
	if err != nil {
		return err
	}
	v.Problem = v.Errors[""]
	users, err := s.Collab.FindUsers(ctx)
	if err != nil {
		return err
	}
	me, _ := collab.ActorFrom(ctx)
	for _, u := range users {
		v.Users = append(v.Users, views.UserRow{ID: u.ID, Name: u.Name, Email: u.Email, Role: string(u.Role), Active: u.Active(),
			HasPassword: u.HasPassword, Self: u.ID == me.ID, Created: u.CreatedAt, Used: u.LastUsedAt})
	}
	links, err := s.Collab.FindInvitations(ctx)
	if err != nil {
		return err
	}
	for _, l := range links {
		who := l.Email
		if who == "" {
			who = "whoever has the link"
		}
		v.Invitations = append(v.Invitations, views.InvitationRow{ID: l.ID, For: who, Role: string(l.Role), By: l.CreatedBy,
			Password: l.Kind == collab.InvitationPassword, Expires: l.ExpiresAt})
	}
	return renderPrivate(c, status, views.PeoplePage(v))
}

func (s *Server) createInvitation(c echo.Context) error {
	v := views.People{Email: c.FormValue("email"), Role: c.FormValue("role")}
	code, err := s.Auth.CreateInvitation(c.Request().Context(), v.Email, collab.Role(v.Role))
	if fields, ok := fieldErrors(err, "email", "role"); ok {
		v.Errors = fields
		return s.renderPeople(c, http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	return s.renderPeople(c, http.StatusCreated, views.People{Role: string(collab.RoleMember), Link: &views.Secret{
		Title: "Invitation link", Value: s.ownAddress(c.Request()) + "/invite/" + code,
		Hint: "Copy it now: it is not shown again. It works once, within 7 days."}})
}

func (s *Server) deleteInvitation(c echo.Context) error {
	if err := s.Collab.DeleteInvitation(c.Request().Context(), c.Param("id")); err != nil {
		return err
	}
	return seeOther(c, "/settings/people")
}

func (s *Server) createPasswordLink(c echo.Context) error {
	ctx := c.Request().Context()
	u, err := s.Collab.UserByID(ctx, c.Param("id"))
	if err != nil {
		return err
	}
	code, err := s.Auth.CreatePasswordLink(ctx, u.ID)
	if err != nil {
		return err
	}
	return s.renderPeople(c, http.StatusCreated, views.People{Role: string(collab.RoleMember), Link: &views.Secret{
		Title: "Password link for " + u.Name, Value: s.ownAddress(c.Request()) + "/invite/" + code,
		Hint: "Copy it now: it is not shown again. It works once, within 24 hours."}})
}

func (s *Server) updateRole(c echo.Context) error {
	role := collab.Role(c.FormValue("role"))
	return s.updateUser(c, collab.UserUpdate{Role: &role})
}

func (s *Server) deactivateUser(c echo.Context) error {
	active := false
	return s.updateUser(c, collab.UserUpdate{Active: &active})
}

func (s *Server) reactivateUser(c echo.Context) error {
	active := true
	return s.updateUser(c, collab.UserUpdate{Active: &active})
}

func (s *Server) updateUser(c echo.Context, up collab.UserUpdate) error {
	_, err := s.Collab.UpdateUser(c.Request().Context(), c.Param("id"), up)
	if fields, ok := fieldErrors(err); ok {
		return s.renderPeople(c, http.StatusUnprocessableEntity, views.People{Role: string(collab.RoleMember), Errors: fields})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/people")
}

// showWelcome shows the form that makes the first administrator.
func (s *Server) showWelcome(c echo.Context) error {
	return s.showLink(c, c.QueryParam("code"), http.StatusOK, views.Welcome{})
}

func (s *Server) createFirstAdmin(c echo.Context) error {
	return s.useLink(c, c.FormValue("code"))
}

// showInvitation shows the form of an invitation, or of a password link.
func (s *Server) showInvitation(c echo.Context) error {
	return s.showLink(c, c.Param("code"), http.StatusOK, views.Welcome{})
}

func (s *Server) useInvitation(c echo.Context) error {
	return s.useLink(c, c.Param("code"))
}

// showLink shows the form behind a link, with what was typed.
func (s *Server) showLink(c echo.Context, code string, status int, v views.Welcome) error {
	ctx := c.Request().Context()
	inv, err := s.Auth.Invitation(ctx, code)
	if errors.Is(err, collab.ErrNotFound) {
		return s.showLinkGone(c)
	}
	if err != nil {
		return err
	}
	v.Action = "/invite/" + url.PathEscape(code)
	if inv.Email != "" {
		v.Email, v.Fixed = inv.Email, true
	}
	switch inv.Kind {
	case collab.InvitationSetup:
		v.Title, v.Action, v.Code = "Welcome to redthread", "/welcome", code
		v.Intro = "This makes the first administrator, who then invites the others."
	case collab.InvitationPassword:
		v.Title, v.Password = "Choose a password", true
		v.Intro = "For " + inv.Email + ". It signs you out everywhere else."
	default:
		v.Title = "Join redthread"
		v.Intro = inv.CreatedBy + " invited you. You join as " + string(inv.Role) + "."
	}
	p, err := s.page(c, v.Title, "")
	if err != nil {
		return err
	}
	p.Me = nil // the form stands alone, whoever is signed in here
	return renderPrivate(c, status, views.WelcomePage(p, v))
}

func (s *Server) showLinkGone(c echo.Context) error {
	has, err := s.Collab.HasAdmin(c.Request().Context())
	if err != nil {
		return err
	}
	text := "It was used already, taken back, or is too old. Ask an administrator for a new one."
	if !has {
		text = "It was used already or is older than 15 minutes. Restart the server: while there is no administrator, it prints a new one."
	}
	p, err := s.page(c, "Link", "")
	if err != nil {
		return err
	}
	p.Me = nil
	return render(c, http.StatusNotFound, views.LinkGonePage(p, "This link does not work any more", text))
}

func (s *Server) useLink(c echo.Context, code string) error {
	ctx := c.Request().Context()
	v := views.Welcome{Email: c.FormValue("email"), Name: c.FormValue("name")}
	inv, err := s.Auth.Invitation(ctx, code)
	if errors.Is(err, collab.ErrNotFound) {
		return s.showLinkGone(c)
	}
	if err != nil {
		return err
	}
	secret, _, err := s.Auth.UseInvitation(ctx, code, v.Email, v.Name, c.FormValue("password"), clientOf(c.Request()))
	if fields, ok := fieldErrors(err, "email", "name", "password"); ok {
		v.Errors = fields
		return s.showLink(c, code, http.StatusUnprocessableEntity, v)
	}
	if errors.Is(err, collab.ErrNotFound) {
		return s.showLinkGone(c)
	}
	if err != nil {
		return err
	}
	if inv.Kind == collab.InvitationSetup {
		if err := s.learnPublicURL(ctx, c.Request()); err != nil {
			return err
		}
	}
	s.setSession(c, secret)
	return seeOther(c, "/")
}

// learnPublicURL stores the address that the first administrator's browser
// used, unless one is configured.
func (s *Server) learnPublicURL(ctx context.Context, r *http.Request) error {
	if s.publicURL.Load() != nil {
		return nil
	}
	raw := s.ownAddress(r)
	if err := s.setPublicURL(raw); err != nil {
		return err
	}
	return s.Collab.SetSetting(ctx, collab.SettingPublicURL, raw)
}
