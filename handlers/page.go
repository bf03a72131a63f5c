package handlers

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

const themeCookie = "redthread-theme"

// page returns the shell of a page for whoever asks.
func (s *Server) page(c echo.Context, title, section string) (views.Page, error) {
	r := c.Request()
	p := views.Page{Title: title, Section: section, Path: r.URL.RequestURI(), Now: s.Now()}
	if cookie, err := r.Cookie(themeCookie); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		p.Theme = cookie.Value
	}
	if a, ok := collab.ActorFrom(r.Context()); ok {
		p.Me = &views.Me{ID: a.ID, Name: a.Name, Role: string(a.Role), Token: a.Kind == collab.ActorToken,
			Admin: a.Role.AtLeast(collab.RoleAdmin), CanWrite: a.Role.AtLeast(collab.RoleMember)}
		if a.Kind == collab.ActorUser {
			var err error
			if p.Unread, err = s.Collab.UnreadCount(r.Context(), a.ID); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// render writes a component. It is rendered into memory first, so that an error
// becomes an error page and not half of this one.
func render(c echo.Context, status int, component templ.Component) error {
	var b bytes.Buffer
	if err := component.Render(c.Request().Context(), &b); err != nil {
		return err
	}
	c.Response().Header().Add("Vary", "HX-Request")
	return c.HTMLBlob(status, b.Bytes())
}

// isFragment reports whether htmx asks for a part of a page.
func isFragment(c echo.Context) bool {
	h := c.Request().Header
	return h.Get("HX-Request") == "true" && h.Get("HX-Boosted") != "true" && h.Get("HX-History-Restore-Request") != "true"
}

// seeOther answers a form that did its work: the browser loads the page at path.
func seeOther(c echo.Context, path string) error {
	if isFragment(c) {
		c.Response().Header().Set("HX-Redirect", path)
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, path)
}

// sitePath returns raw if it is a path on this site, and "/" otherwise:
// whatever follows sign-in must not lead away.
func sitePath(raw string) string {
	u, err := url.Parse(raw)
	bad := err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, "//") || strings.ContainsAny(raw, "\\\r\n\t") ||
		strings.HasPrefix(u.Path, "//") || strings.HasPrefix(u.Path, "/\\")
	if bad {
		return "/"
	}
	return raw
}
