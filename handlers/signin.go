package handlers

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/views"
)

// Names of the session cookie. The browser itself holds a __Host- cookie to
// https, to this host and to the whole site.
const (
	sessionCookie       = "redthread-session"
	secureSessionCookie = "__Host-redthread-session"
)

// secure reports whether the browser speaks https with us, or with the proxy
// before us.
func (s *Server) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	u := s.publicURL.Load()
	return u != nil && u.Scheme == "https"
}

func (s *Server) sessionCookieName(r *http.Request) string {
	if s.secure(r) {
		return secureSessionCookie
	}
	return sessionCookie
}

func (s *Server) sessionSecret(r *http.Request) string {
	cookie, err := r.Cookie(s.sessionCookieName(r))
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (s *Server) setSession(c echo.Context, secret string) {
	c.SetCookie(&http.Cookie{Name: s.sessionCookieName(c.Request()), Value: secret, Path: "/",
		MaxAge: int(auth.SessionLifetime.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.secure(c.Request())})
}

func (s *Server) clearSession(c echo.Context) {
	c.SetCookie(&http.Cookie{Name: s.sessionCookieName(c.Request()), Path: "/", MaxAge: -1,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.secure(c.Request())})
}

func clientOf(r *http.Request) auth.Client {
	return auth.Client{Address: clientAddress(r), UserAgent: r.UserAgent()}
}

func (s *Server) showSignIn(c echo.Context) error {
	next := sitePath(c.QueryParam("next"))
	if _, ok := collab.ActorFrom(c.Request().Context()); ok {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return s.renderSignIn(c, http.StatusOK, views.SignIn{Next: next})
}

func (s *Server) renderSignIn(c echo.Context, status int, v views.SignIn) error {
	has, err := s.Collab.HasAdmin(c.Request().Context())
	if err != nil {
		return err
	}
	if !has {
		v.Notice = "There is no administrator yet. Open the sign-in link that the server printed when it started; if it is older than 15 minutes, restart the server for a new one."
	}
	p, err := s.page(c, "Sign in", "")
	if err != nil {
		return err
	}
	return render(c, status, views.SignInPage(p, v))
}

// createSession signs a person in.
func (s *Server) createSession(c echo.Context) error {
	v := views.SignIn{Email: c.FormValue("email"), Next: sitePath(c.FormValue("next"))}
	secret, _, err := s.Auth.SignIn(c.Request().Context(), v.Email, c.FormValue("password"), clientOf(c.Request()))
	var limited *auth.LimitedError
	switch {
	case errors.Is(err, auth.ErrSignIn):
		v.Problem = "This address and password do not belong together."
		return s.renderSignIn(c, http.StatusUnprocessableEntity, v)
	case errors.As(err, &limited):
		setRetryAfter(c, limited.RetryAfter)
		v.Problem = limited.Error()
		return s.renderSignIn(c, http.StatusTooManyRequests, v)
	case err != nil:
		return err
	}
	s.setSession(c, secret)
	return seeOther(c, v.Next)
}

// deleteSession signs the person out of this browser.
func (s *Server) deleteSession(c echo.Context) error {
	if actor, ok := collab.ActorFrom(c.Request().Context()); ok {
		if err := s.Auth.SignOut(c.Request().Context(), actor); err != nil {
			return err
		}
	}
	s.clearSession(c)
	c.Response().Header().Set("Clear-Site-Data", `"cache"`)
	return seeOther(c, "/sign-in")
}
