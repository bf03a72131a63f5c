package handlers

import (
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/labstack/echo/v4"

	"redthread/static"
	"redthread/views"
)

// serveStatic serves an embedded file. Under the current hash it may be cached
// for ever; a page that is still open from before an upgrade gets today's file,
// uncached.
func (s *Server) serveStatic(c echo.Context) error {
	name := path.Clean(c.Param("*"))
	body, err := fs.ReadFile(static.Files(), name)
	if err != nil {
		return echo.ErrNotFound
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "no-cache")
	if c.Param("hash") == static.Hash() {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // not left to the tables of the machine
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".css":
		kind = "text/css; charset=utf-8"
	case ".svg":
		kind = "image/svg+xml"
	case "":
		kind = echo.MIMETextPlainCharsetUTF8
	}
	return c.Blob(http.StatusOK, kind, body)
}

// showHealth says that the process answers.
func (s *Server) showHealth(c echo.Context) error {
	return c.String(http.StatusOK, "ok\n")
}

// showReady says whether every acknowledged row can be found.
func (s *Server) showReady(c echo.Context) error {
	if s.draining.Load() {
		return c.String(http.StatusServiceUnavailable, "not ready: shutting down\n")
	}
	ok, progress := s.Store.Ready()
	if !ok {
		return c.String(http.StatusServiceUnavailable, "not ready: "+progress+"\n")
	}
	return c.String(http.StatusOK, "ready\n")
}

// showGallery shows the shared components.
func (s *Server) showGallery(c echo.Context) error {
	p, err := s.page(c, "Components", "")
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.GalleryPage(p))
}

// setTheme remembers light or dark for this browser.
func (s *Server) setTheme(c echo.Context) error {
	theme := c.FormValue("theme")
	if theme != "light" && theme != "dark" {
		return echo.NewHTTPError(http.StatusBadRequest, "Choose light or dark.")
	}
	c.SetCookie(&http.Cookie{Name: themeCookie, Value: theme, Path: "/", MaxAge: 365 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.secure(c.Request())})
	if isFragment(c) {
		return c.NoContent(http.StatusNoContent)
	}
	return seeOther(c, sitePath(c.FormValue("back")))
}
