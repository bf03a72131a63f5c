package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/views"
	"redthread/views/ui"
)

func (s *Server) showAccount(c echo.Context) error {
	v := views.Account{}
	if c.QueryParam("changed") == "password" {
		v.Done = "The password is changed. You are signed out everywhere else."
	}
	return s.renderAccount(c, http.StatusOK, v)
}

func (s *Server) renderAccount(c echo.Context, status int, v views.Account) error {
	ctx := c.Request().Context()
	done, problem := v.Done, v.Errors[""]
	var err error
	if v.Settings, err = s.settings(c, views.TabAccount, "Account", ""); err != nil {
		return err
	}
	v.Done, v.Problem = done, problem
	me, _ := collab.ActorFrom(ctx)
	if me.Kind == collab.ActorToken {
		return render(c, status, views.AccountPage(v))
	}
	u, err := s.Collab.UserByID(ctx, me.ID)
	if err != nil {
		return err
	}
	v.Email = u.Email
	if v.Name == "" && v.Errors["name"] == "" {
		v.Name = u.Name
	}
	sessions, err := s.Collab.FindSessions(ctx, me.ID)
	if err != nil {
		return err
	}
	for _, ses := range sessions {
		v.Sessions = append(v.Sessions, views.SessionRow{ID: ses.ID, Browser: browserName(ses.UserAgent), Address: ses.Address,
			Created: ses.CreatedAt, Used: ses.LastUsedAt, Here: ses.ID == me.SessionID})
	}
	return render(c, status, views.AccountPage(v))
}

// person returns the actor if it is one: a token has no account.
func person(c echo.Context) (collab.Actor, error) {
	me, ok := collab.ActorFrom(c.Request().Context())
	if !ok || me.Kind != collab.ActorUser {
		return me, fmt.Errorf("account of a token: %w", collab.ErrForbidden)
	}
	return me, nil
}

func (s *Server) updateAccount(c echo.Context) error {
	me, err := person(c)
	if err != nil {
		return err
	}
	name := c.FormValue("name")
	_, err = s.Collab.UpdateUser(c.Request().Context(), me.ID, collab.UserUpdate{Name: &name})
	if fields, ok := fieldErrors(err, "name"); ok {
		return s.renderAccount(c, http.StatusUnprocessableEntity, views.Account{Name: name, Errors: fields})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/account")
}

func (s *Server) changePassword(c echo.Context) error {
	me, err := person(c)
	if err != nil {
		return err
	}
	err = s.Auth.ChangePassword(c.Request().Context(), me, c.FormValue("current"), c.FormValue("password"), clientOf(c.Request()))
	if fields, ok := fieldErrors(err, "current", "password"); ok {
		return s.renderAccount(c, http.StatusUnprocessableEntity, views.Account{Errors: fields})
	}
	var limited *auth.LimitedError
	if errors.As(err, &limited) {
		setRetryAfter(c, limited.RetryAfter)
		return s.renderAccount(c, http.StatusTooManyRequests, views.Account{Errors: views.FieldErrors{"current": limited.Error()}})
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/settings/account?changed=password")
}

func (s *Server) deleteOneSession(c echo.Context) error {
	me, err := person(c)
	if err != nil {
		return err
	}
	if err := s.Collab.DeleteSession(c.Request().Context(), me.ID, c.Param("id")); err != nil {
		return err
	}
	return seeOther(c, "/settings/account")
}

func (s *Server) deleteOtherSessions(c echo.Context) error {
	me, err := person(c)
	if err != nil {
		return err
	}
	if err := s.Collab.DeleteOtherSessions(c.Request().Context(), me.ID, me.SessionID); err != nil {
		return err
	}
	return seeOther(c, "/settings/account")
}

// browserName names a browser from its user agent, roughly: people only have
// to tell their own browsers apart.
func browserName(agent string) string {
	name := "Unknown browser"
	for _, b := range []struct{ sign, name string }{
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	} {
		if strings.Contains(agent, b.sign) {
			name = b.name
			break
		}
	}
	for _, o := range []struct{ sign, name string }{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"},
	} {
		if strings.Contains(agent, o.sign) {
			return name + " on " + o.name
		}
	}
	return name
}

func (s *Server) showAbout(c echo.Context) error {
	frame, err := s.settings(c, views.TabAbout, "About", "")
	if err != nil {
		return err
	}
	v := views.About{Settings: frame, Version: s.Version, Go: runtime.Version(), Address: s.ownAddress(c.Request())}
	st := s.Store.Stats()
	v.Store = []views.AboutFact{
		{Name: "Rows in segments", Value: ui.Count(st.SegmentRows)},
		{Name: "Segments", Value: fmt.Sprintf("%s, %s", ui.Count(st.Segments), ui.Bytes(st.SegmentBytes))},
		{Name: "Rows in memory", Value: fmt.Sprintf("%s, %s", ui.Count(st.MemtableRows), ui.Bytes(st.MemtableBytes))},
		{Name: "Edge index", Value: fmt.Sprintf("%s files, %s", ui.Count(st.EdgeRuns), ui.Bytes(st.EdgeBytes))},
		{Name: "Taken in since start", Value: fmt.Sprintf("%s rows, %s", ui.Count(st.AppendedRowsTotal), ui.Bytes(st.AckedBytesTotal))},
		{Name: "Duplicates dropped", Value: ui.Count(st.DuplicateRowsTotal)},
		{Name: "Free disk", Value: ui.Bytes(st.DiskFreeBytes)},
	}
	if st.OldestArrivedUnixNano > 0 {
		v.Store = append(v.Store, views.AboutFact{Name: "Oldest data arrived", Value: time.Unix(0, st.OldestArrivedUnixNano).UTC().Format("2006-01-02 15:04:05 UTC")})
	}
	if st.DiskFull {
		v.Warnings = append(v.Warnings, "The disk is nearly full: new spans are refused until there is room. Reading goes on.")
	}
	if st.LastFlushError != "" {
		v.Warnings = append(v.Warnings, "The last flush failed; it is tried again. What was acknowledged is safe in the log.")
	}
	for _, name := range st.CorruptFiles {
		v.Warnings = append(v.Warnings, "A file is damaged and set aside, its rows cannot be found: "+name)
	}
	return render(c, http.StatusOK, views.AboutPage(v))
}
