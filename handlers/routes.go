package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
)

// group says what sort of client a route serves, and so which middleware it
// gets and how it refuses.
type group uint8

const (
	groupPage   group = iota // browser: session or token, HTML errors, 303 to sign in
	groupAPI                 // programs and page scripts: token or session, JSON errors, 401
	groupLive                // websockets: token or session, origin checked, 401
	groupIngest              // exporters: ingest keys, checked by the handler; no cookies
	groupDebug               // probes and files: no actor at all
)

// access says who may use a route.
type access uint8

const (
	accessOpen   access = iota // everyone, also without signing in
	accessKey                  // the handler checks an ingest key
	accessViewer               // whoever is signed in
	accessMember               // members and administrators
	accessAdmin                // administrators
)

// role returns the weakest role that has the access, "" if none is needed.
func (a access) role() collab.Role {
	switch a {
	case accessViewer:
		return collab.RoleViewer
	case accessMember:
		return collab.RoleMember
	case accessAdmin:
		return collab.RoleAdmin
	}
	return ""
}

type route struct {
	group   group
	method  string
	path    string
	access  access
	handler echo.HandlerFunc
}

// routes lists every route of the server.
func (s *Server) routes() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		// People and the shell.
		{groupPage, get, "/sign-in", accessOpen, s.showSignIn},
		{groupPage, post, "/sign-in", accessOpen, s.createSession},
		{groupPage, post, "/sign-out", accessOpen, s.deleteSession},
		{groupPage, post, "/theme", accessOpen, s.setTheme},

		// Telemetry.
		{groupIngest, post, "/v1/traces", accessKey, s.ingestTraces},
		{groupIngest, post, "/v1/logs", accessKey, s.ingestLogs},
		{groupIngest, post, "/v1/metrics", accessKey, s.ingestMetrics},

		// The API over traces.
		{groupAPI, get, "/api/v1/traces/:trace", accessViewer, s.showTraceJSON},
		{groupAPI, get, "/api/v1/traces/:trace/spans/:span/origin", accessViewer, s.showOriginJSON},
		{groupAPI, get, "/api/v1/traces/:trace/thread", accessViewer, s.showThreadJSON},

		// Probes and files.
		{groupDebug, get, "/healthz", accessOpen, s.showHealth},
		{groupDebug, get, "/readyz", accessOpen, s.showReady},
		{groupDebug, get, "/static/:hash/*", accessOpen, s.serveStatic},
	}
}
