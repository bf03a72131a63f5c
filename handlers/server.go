// Package handlers is the web server: it parses requests, asks who may do what,
// calls one store or service method and renders a page, a fragment or JSON.
//
// [Server.Handler] serves everything; [Server.IngestHandler] serves the ingest
// routes alone, for the OTLP/HTTP port. routes.go lists every route with the
// access it needs; errors.go alone turns an error into a status.
package handlers

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/collab/live"
	"redthread/collab/notify"
	"redthread/tracestore"
	"redthread/tracestore/graph"
)

// Deps is what the server works with. Log and Now may be left out; the rest
// has to be there.
type Deps struct {
	Store  *tracestore.Store
	Graph  *graph.Graph
	Collab *collab.Store
	Auth   *auth.Service
	Ingest *Ingest         // nil: no ingest routes
	Live   *live.Hub       // nil: no websockets
	Notify *notify.Service // nil: nothing is sent from here
	// Archive checks and copies what is stored; nil: not from here.
	Archive Archive
	Log     *slog.Logger
	Now     func() time.Time

	// PublicURL is the configured address of the server as browsers see it,
	// without a path. If empty, it is learned when the first administrator
	// signs in, and kept in the database.
	PublicURL string
	// Version is shown on the page about the server.
	Version string
	// Dev switches on the gallery of components.
	Dev bool
}

// Server answers HTTP requests. Its methods may be called from several
// goroutines.
type Server struct {
	Deps
	cross     *http.CrossOriginProtection
	publicURL atomic.Pointer[url.URL]
	draining  atomic.Bool
	cards     cardCache
	marks     liveMarks
	watched   watchedQueries
	ripples   ripplesCache
	guard     liveGuard
	pulse     livePulse
	browser   http.Handler
	ingest    http.Handler
}

// New returns a server for the dependencies. It reads the stored public URL.
func New(ctx context.Context, d Deps) (*Server, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	s := &Server{Deps: d, cross: http.NewCrossOriginProtection(), pulse: defaultPulse}
	d.Collab.UseEvidence(evidence{store: d.Store, graph: d.Graph, now: d.Now})
	if d.Live != nil {
		d.Collab.OnChange(d.Live.Announce)
		d.Collab.OnInbox(d.Live.TellInboxes)
		d.Collab.OnAnnotation(d.Live.TellAnnotations)
		d.Collab.OnSignOut(func(actor string) { s.guard.look(s, actor) })
	}
	if err := s.loadPublicURL(ctx); err != nil {
		return nil, err
	}
	s.browser = s.build(func(group) bool { return true })
	s.ingest = s.build(func(g group) bool { return g == groupIngest })
	return s, nil
}

// Drain makes /readyz say that the server is going away, so that whoever sends
// requests here stops.
func (s *Server) Drain() { s.draining.Store(true) }

// Handler serves every route.
func (s *Server) Handler() http.Handler { return s.browser }

// IngestHandler serves the ingest routes only.
func (s *Server) IngestHandler() http.Handler { return s.ingest }

func (s *Server) build(want func(group) bool) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.handleError
	e.Use(s.requestID, s.recoverPanic, s.logRequest)
	groups := s.groupMiddleware()
	for _, r := range s.routes() {
		if !want(r.group) || r.group == groupIngest && s.Ingest == nil || r.group == groupLive && s.Live == nil {
			continue
		}
		mw := append([]echo.MiddlewareFunc{}, groups[r.group]...)
		mw = append(mw, s.requireAccess(r))
		if r.group == groupPage || r.group == groupAPI {
			mw = append(mw, limitBody(r))
		}
		e.Add(r.method, r.path, r.handler, mw...)
		if r.method == http.MethodGet && r.group != groupLive {
			e.Add(http.MethodHead, r.path, r.handler, mw...)
		}
	}
	if want(groupPage) {
		routes := s.routes()
		notFound := func(c echo.Context) error {
			allow := methodsOf(routes, c.Request().URL.Path)
			if len(allow) == 0 {
				return echo.ErrNotFound
			}
			c.Response().Header().Set(echo.HeaderAllow, strings.Join(allow, ", "))
			return echo.ErrMethodNotAllowed
		}
		e.RouteNotFound("/*", notFound, groups[groupPage]...)
		for prefix, g := range map[string]group{"/api/*": groupAPI, "/live/*": groupAPI, "/v1/*": groupIngest} {
			mw := append([]echo.MiddlewareFunc{}, groups[g]...)
			if g != groupIngest { // a stranger is not told what there is
				mw = append(mw, s.requireAccess(route{group: g, access: accessViewer, path: prefix}))
			}
			e.RouteNotFound(prefix, notFound, mw...)
		}
	}
	return e
}

// methodsOf lists the methods that an address answers to.
func methodsOf(routes []route, path string) []string {
	var out []string
	for _, r := range routes {
		if !r.matches(path) || slices.Contains(out, r.method) {
			continue
		}
		if out = append(out, r.method); r.method == http.MethodGet && r.group != groupLive {
			out = append(out, http.MethodHead)
		}
	}
	return out
}

// matches reports whether the route is of the address.
func (r *route) matches(path string) bool {
	want, got := strings.Split(r.path, "/"), strings.Split(path, "/")
	for i, part := range want {
		switch {
		case part == "*":
			return true
		case i >= len(got), strings.HasPrefix(part, ":") && got[i] == "", !strings.HasPrefix(part, ":") && part != got[i]:
			return false
		}
	}
	return len(want) == len(got)
}
