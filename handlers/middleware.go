package handlers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"redthread/collab"
)

// Keys of what the middleware leaves in the echo context.
const (
	ctxGroup     = "group"
	ctxRequestID = "request_id"
)

// Limits of the body of pages and API calls; ingest has its own.
const (
	maxBodyBytes     = 8 << 20  // a picture of 5 MB and its form fit
	maxOpenBodyBytes = 64 << 10 // of whoever is not signed in
)

// contentSecurityPolicy is DESIGN.md §10.
const contentSecurityPolicy = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; " +
	"base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

// groupMiddleware returns what stands before the handlers of each group.
func (s *Server) groupMiddleware() map[group][]echo.MiddlewareFunc {
	mark := func(g group) echo.MiddlewareFunc {
		return func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				c.Set(ctxGroup, g)
				return next(c)
			}
		}
	}
	gzip := middleware.GzipWithConfig(middleware.GzipConfig{Level: 5, MinLength: 1024})
	return map[group][]echo.MiddlewareFunc{
		groupPage:   {mark(groupPage), securityHeaders, gzip, s.refuseCrossOrigin, s.withActor},
		groupAPI:    {mark(groupAPI), securityHeaders, gzip, s.refuseCrossOrigin, s.withActor},
		groupLive:   {mark(groupLive), s.checkLiveOrigin, s.withActor},
		groupIngest: {mark(groupIngest)},
		groupDebug:  {mark(groupDebug), securityHeaders, gzip},
	}
}

// requestID names the request, in the answer and in the log. An id that a
// proxy made is kept if it is short and plain.
func (s *Server) requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get("X-Request-Id")
		if !plainID(id) {
			id = rand.Text()[:16]
		}
		c.Set(ctxRequestID, id)
		c.Response().Header().Set("X-Request-Id", id)
		return next(c)
	}
}

func plainID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

func requestIDOf(c echo.Context) string {
	id, _ := c.Get(ctxRequestID).(string)
	return id
}

func (s *Server) recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch v := recover(); {
			case v == nil:
			case v == http.ErrAbortHandler:
				panic(v)
			default:
				err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
			}
		}()
		return next(c)
	}
}

// logRequest writes one debug line for each request; errors are logged where
// they are answered.
func (s *Server) logRequest(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		r := c.Request()
		s.Log.DebugContext(r.Context(), "request", "request_id", requestIDOf(c), "method", r.Method,
			"route", c.Path(), "status", c.Response().Status, "duration", time.Since(start))
		return nil
	}
}

// securityHeaders sets what every answer to a browser carries.
func securityHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-store")
		return next(c)
	}
}

// limitBody bounds the body and reads it if it is a form, so that a form that
// is too large or broken is an error and not an empty form. The API reads its
// bodies as JSON, whatever they are called: curl -d says form.
func limitBody(rt route) echo.MiddlewareFunc {
	limit := int64(maxBodyBytes)
	if rt.access == accessOpen {
		limit = maxOpenBodyBytes
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			r.Body = http.MaxBytesReader(c.Response(), r.Body, limit)
			if rt.group == groupAPI {
				return next(c)
			}
			var err error
			switch kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) {
			case echo.MIMEApplicationForm:
				err = r.ParseForm()
			case echo.MIMEMultipartForm:
				err = r.ParseMultipartForm(limit)
			}
			var tooBig *http.MaxBytesError
			if err != nil && !errors.As(err, &tooBig) {
				err = echo.NewHTTPError(http.StatusBadRequest, "The form could not be read.")
			}
			if err != nil {
				return err
			}
			return next(c)
		}
	}
}

// refuseCrossOrigin stops a page of another site from sending forms in the
// name of the person who is signed in here.
func (s *Server) refuseCrossOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := s.cross.Check(c.Request()); err != nil {
			return echo.NewHTTPError(http.StatusForbidden, "This request came from another site and was refused.")
		}
		return next(c)
	}
}

// checkLiveOrigin refuses a websocket that another site opens. Programs send
// no Origin; they need a token.
func (s *Server) checkLiveOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !s.originAllowed(c.Request()) {
			return echo.NewHTTPError(http.StatusForbidden, "A websocket has to be opened from "+s.PublicAddress()+".")
		}
		return next(c)
	}
}

// originAllowed reports whether the request's Origin is the public URL. On a
// loopback address the host that was asked for will do as well, so that
// localhost and 127.0.0.1 both work.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if p := s.publicURL.Load(); p != nil && strings.EqualFold(p.Host, u.Host) && p.Scheme == u.Scheme {
		return true
	}
	return strings.EqualFold(u.Host, r.Host) && isLoopbackHost(u.Hostname())
}

func isLoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// withActor finds out who asks: a bearer token, or else the session cookie. A
// token that is not valid is refused; a cookie that is not valid is nobody.
func (s *Server) withActor(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		actor, ok, err := s.authenticate(r)
		if err != nil {
			return err
		}
		if ok {
			c.SetRequest(r.WithContext(collab.WithActor(r.Context(), actor)))
		}
		return next(c)
	}
}

func (s *Server) authenticate(r *http.Request) (collab.Actor, bool, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, secret, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return collab.Actor{}, false, echo.NewHTTPError(http.StatusUnauthorized, "Send the token as Authorization: Bearer TOKEN.")
		}
		actor, err := s.Auth.ActorByToken(r.Context(), strings.TrimSpace(secret))
		if errors.Is(err, collab.ErrNotFound) {
			return collab.Actor{}, false, echo.NewHTTPError(http.StatusUnauthorized, "This token is unknown, revoked or expired.")
		}
		return actor, err == nil, err
	}
	secret := s.sessionSecret(r)
	if secret == "" {
		return collab.Actor{}, false, nil
	}
	actor, err := s.Auth.ActorBySession(r.Context(), secret)
	if errors.Is(err, collab.ErrNotFound) {
		return collab.Actor{}, false, nil
	}
	return actor, err == nil, err
}

// requireAccess lets the request through if its actor has the route's access.
func (s *Server) requireAccess(rt route) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		need := rt.access.role()
		if need == "" {
			return next
		}
		return func(c echo.Context) error {
			actor, ok := collab.ActorFrom(c.Request().Context())
			switch {
			case rt.access == accessLocal && fromThisMachine(c.Request()):
				return next(c)
			case ok && actor.Role.AtLeast(need):
				return next(c)
			case ok:
				return fmt.Errorf("%s %s needs role %s: %w", rt.method, rt.path, need, collab.ErrForbidden)
			case rt.group == groupPage:
				return s.sendToSignIn(c)
			}
			return echo.NewHTTPError(http.StatusUnauthorized, "Sign in, or send a token as Authorization: Bearer TOKEN.")
		}
	}
}

// sendToSignIn answers an anonymous person: after signing in they come back to
// the page they asked for. A form they sent is not repeated.
func (s *Server) sendToSignIn(c echo.Context) error {
	r := c.Request()
	next := r.URL.RequestURI()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		next = refererPath(r)
	}
	target := "/sign-in"
	if next != "" && next != "/" {
		target += "?next=" + url.QueryEscape(next)
	}
	if isFragment(c) {
		c.Response().Header().Set("HX-Redirect", target)
		return c.NoContent(http.StatusUnauthorized)
	}
	return c.Redirect(http.StatusSeeOther, target)
}

// refererPath returns the path and query of the page the request came from, if
// that page is ours.
func refererPath(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host {
		return ""
	}
	return sitePath(u.RequestURI())
}

// clientAddress returns the address that limits and the audit log use. Behind
// a proxy on this machine or on a private network, that is the last address
// the proxy added; a header sent by anybody else is not believed.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !(ip.IsLoopback() || ip.IsPrivate()) {
		return host
	}
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) == 0 {
		return host
	}
	last := forwarded[len(forwarded)-1]
	last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	if p, err := netip.ParseAddr(last); err == nil {
		return p.String()
	}
	return host
}

// loadPublicURL takes the configured public URL, or else the stored one.
func (s *Server) loadPublicURL(ctx context.Context) error {
	raw := s.PublicURL
	if raw == "" {
		stored, err := s.Collab.Setting(ctx, collab.SettingPublicURL)
		if err != nil && !errors.Is(err, collab.ErrNotFound) {
			return fmt.Errorf("read public url: %w", err)
		}
		raw = stored
	}
	if raw == "" {
		return nil
	}
	return s.setPublicURL(raw)
}

func (s *Server) setPublicURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("public url %q: want http://host or https://host", raw)
	}
	u = &url.URL{Scheme: u.Scheme, Host: u.Host}
	if err := s.cross.AddTrustedOrigin(u.String()); err != nil {
		return fmt.Errorf("public url %q: %w", raw, err)
	}
	s.publicURL.Store(u)
	return nil
}

// PublicAddress returns the address of the server as browsers see it, without
// a trailing slash, or "" while it is not known.
func (s *Server) PublicAddress() string {
	if u := s.publicURL.Load(); u != nil {
		return u.String()
	}
	return ""
}

// ownAddress returns the public URL, or, while there is none, the address that
// the request was sent to. Its Origin, which a browser sends with a form, says
// the scheme even behind a proxy; the cross-origin check has seen it.
func (s *Server) ownAddress(r *http.Request) string {
	if a := s.PublicAddress(); a != "" {
		return a
	}
	if u, err := url.Parse(r.Header.Get("Origin")); err == nil && u.Host == r.Host && (u.Scheme == "http" || u.Scheme == "https") {
		return u.Scheme + "://" + u.Host
	}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
