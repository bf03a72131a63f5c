package handlers

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// settings returns the frame of a settings page.
func (s *Server) settings(c echo.Context, tab, title, sub string) (views.Settings, error) {
	p, err := s.page(c, title, views.SectionSettings)
	return views.Settings{Page: p, Tab: tab, Title: title, Sub: sub}, err
}

// fieldErrors sorts an [collab.InvalidError] to its field of a form; ok is
// false for any other error. What is about no field of the form stands under "".
func fieldErrors(err error, fields ...string) (views.FieldErrors, bool) {
	var invalid *collab.InvalidError
	if !errors.As(err, &invalid) {
		return nil, false
	}
	for _, f := range fields {
		if f == invalid.Field {
			return views.FieldErrors{f: invalid.Message}, true
		}
	}
	return views.FieldErrors{"": invalid.Message}, true
}

// renderPrivate renders a page that holds a secret, which no cache may keep and
// no other page may learn from an address.
func renderPrivate(c echo.Context, status int, component templ.Component) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	c.Response().Header().Set("Referrer-Policy", "no-referrer")
	return render(c, status, component)
}

func (s *Server) showSettings(c echo.Context) error {
	if a, _ := collab.ActorFrom(c.Request().Context()); a.Role.AtLeast(collab.RoleAdmin) {
		return c.Redirect(http.StatusSeeOther, "/settings/people")
	}
	return c.Redirect(http.StatusSeeOther, "/settings/account")
}

func (s *Server) showKeys(c echo.Context) error {
	return s.renderKeys(c, http.StatusOK, views.Keys{})
}

func (s *Server) renderKeys(c echo.Context, status int, v views.Keys) error {
	var err error
	v.Settings, err = s.settings(c, views.TabKeys, "Ingest keys", "Exporters send with a key.")
	if err != nil {
		return err
	}
	v.Problem = v.Errors[""]
	v.Endpoint = s.ownAddress(c.Request())
	list, err := s.Collab.FindIngestKeys(c.Request().Context())
	if err != nil {
		return err
	}
	for _, k := range list {
		v.Keys = append(v.Keys, views.KeyRow{ID: k.ID, Name: k.Name, Environment: k.Environment, Hint: k.Hint, By: k.CreatedBy,
			Created: k.CreatedAt, Used: k.LastUsedAt, Drop: k.Lists.DropNames(), Hash: k.Lists.HashNames()})
	}
	keyless, err := s.Collab.KeylessLists(c.Request().Context())
	if err != nil {
		return err
	}
	if keyless != (collab.AttributeLists{}) || s.Ingest != nil && s.Ingest.o.Open {
		v.Keyless = &views.KeyRow{Name: "what comes without a key", Drop: keyless.DropNames(), Hash: keyless.HashNames()}
	}
	if id := c.QueryParam("attributes"); id != "" && v.Edit == nil {
		if v.Edit = keyLists(list, keyless, id); v.Edit == nil {
			return collab.ErrNotFound
		}
	}
	return renderPrivate(c, status, views.KeysPage(v))
}

func (s *Server) createKey(c echo.Context) error {
	v := views.Keys{Name: c.FormValue("name"), Environment: c.FormValue("environment"), Drop: c.FormValue("drop"), Hash: c.FormValue("hash")}
	secret, k, err := s.Auth.CreateIngestKey(c.Request().Context(), v.Name, v.Environment, collab.AttributeLists{Drop: v.Drop, Hash: v.Hash})
	if fields, ok := fieldErrors(err, "name", "environment", "drop", "hash"); ok {
		v.Errors = fields
		return s.renderKeys(c, http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	made := views.Keys{Made: &views.Secret{Title: "Key " + k.Name, Value: secret,
		Hint: "Copy it now: it is not shown again. Exporters send it as x-redthread-key or Authorization: Bearer."}}
	return s.renderKeys(c, http.StatusCreated, made)
}

// keyLists are the lists of a key in their form, of "none" those of what comes
// without one; nil if there is no such key.
func keyLists(keys []collab.IngestKey, keyless collab.AttributeLists, id string) *views.KeyLists {
	if id == "none" {
		return &views.KeyLists{Drop: keyless.Drop, Hash: keyless.Hash}
	}
	for _, k := range keys {
		if k.ID == id {
			return &views.KeyLists{ID: k.ID, Name: k.Name, Drop: k.Lists.Drop, Hash: k.Lists.Hash}
		}
	}
	return nil
}

// updateKeyLists takes the lists of a key, or without an id those of what comes
// without one.
func (s *Server) updateKeyLists(c echo.Context) error {
	ctx := c.Request().Context()
	edit := &views.KeyLists{ID: c.Param("id"), Drop: c.FormValue("drop"), Hash: c.FormValue("hash")}
	err := s.Auth.UpdateKeyLists(ctx, edit.ID, collab.AttributeLists{Drop: edit.Drop, Hash: edit.Hash})
	fields, ok := fieldErrors(err, "drop", "hash")
	if !ok {
		if err != nil {
			return err
		}
		return seeOther(c, "/settings/keys")
	}
	edit.Errors = fields
	keys, err := s.Collab.FindIngestKeys(ctx)
	if err != nil {
		return err
	}
	if k := keyLists(keys, collab.AttributeLists{}, edit.ID); k != nil {
		edit.Name = k.Name
	}
	return s.renderKeys(c, http.StatusUnprocessableEntity, views.Keys{Edit: edit})
}

func (s *Server) revokeKey(c echo.Context) error {
	if err := s.Auth.RevokeIngestKey(c.Request().Context(), c.Param("id")); err != nil {
		return err
	}
	return seeOther(c, "/settings/keys")
}

func (s *Server) showTokens(c echo.Context) error {
	return s.renderTokens(c, http.StatusOK, views.Tokens{Role: string(collab.RoleViewer), Expiry: "90"})
}

func (s *Server) renderTokens(c echo.Context, status int, v views.Tokens) error {
	var err error
	v.Settings, err = s.settings(c, views.TabTokens, "API tokens", "Programs come in with a token.")
	if err != nil {
		return err
	}
	v.Problem = v.Errors[""]
	v.Address = s.ownAddress(c.Request())
	list, err := s.Collab.FindTokens(c.Request().Context())
	if err != nil {
		return err
	}
	for _, t := range list {
		v.Tokens = append(v.Tokens, views.TokenRow{ID: t.ID, Name: t.Name, Role: string(t.Role), Hint: t.Hint, By: t.CreatedBy,
			Created: t.CreatedAt, Used: t.LastUsedAt, Expires: t.ExpiresAt, Expired: !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(s.Now())})
	}
	return renderPrivate(c, status, views.TokensPage(v))
}

// maxTokenDays bounds the lifetime of a token that a form asks for.
const maxTokenDays = 3650

func (s *Server) createToken(c echo.Context) error {
	v := views.Tokens{Name: c.FormValue("name"), Role: c.FormValue("role"), Expiry: c.FormValue("expiry")}
	days, err := strconv.Atoi(v.Expiry)
	if err != nil || days < 0 || days > maxTokenDays {
		v.Errors = views.FieldErrors{"expiry": "Choose when the token expires."}
		return s.renderTokens(c, http.StatusUnprocessableEntity, v)
	}
	secret, t, err := s.Auth.CreateToken(c.Request().Context(), v.Name, collab.Role(v.Role), time.Duration(days)*24*time.Hour)
	if fields, ok := fieldErrors(err, "name", "role"); ok {
		v.Errors = fields
		return s.renderTokens(c, http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	return s.renderTokens(c, http.StatusCreated, views.Tokens{Role: string(collab.RoleViewer), Expiry: "90",
		Made: &views.Secret{Title: "Token " + t.Name, Value: secret, Hint: "Copy it now: it is not shown again."}})
}

func (s *Server) revokeToken(c echo.Context) error {
	if err := s.Collab.RevokeToken(c.Request().Context(), c.Param("id")); err != nil {
		return err
	}
	return seeOther(c, "/settings/tokens")
}

// auditPage is how many entries one page of the audit log shows.
const auditPage = 100

func (s *Server) showAudit(c echo.Context) error {
	frame, err := s.settings(c, views.TabAudit, "Audit log", "Sign-ins, keys, tokens and roles.")
	if err != nil {
		return err
	}
	v := views.Audit{Settings: frame}
	var before int64
	if raw := c.QueryParam("before"); raw != "" {
		if before, err = strconv.ParseInt(raw, 10, 64); err != nil || before < 0 {
			return &collab.InvalidError{Field: "before", Message: "The parameter before is the number of an entry."}
		}
	}
	list, err := s.Collab.FindAudit(c.Request().Context(), before, auditPage+1)
	if err != nil {
		return err
	}
	if len(list) > auditPage {
		list = list[:auditPage]
		v.Older = "/settings/audit?before=" + strconv.FormatInt(list[auditPage-1].ID, 10)
	}
	for _, e := range list {
		who := e.ActorName
		if who == "" && strings.HasPrefix(e.Action, "session.refused") {
			who = "nobody"
		} else if who == "" {
			who = "command line"
		}
		v.Entries = append(v.Entries, views.AuditRow{At: e.At, Actor: who, Action: e.Action, Subject: e.Subject, Detail: e.Detail, Address: e.Address})
	}
	return render(c, http.StatusOK, views.AuditPage(v))
}
