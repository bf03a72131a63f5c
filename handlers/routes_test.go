package handlers

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/collab"
)

// openRoutes are the routes that need nobody signed in. A route that joins
// them has to be written here as well, so that it is looked at twice.
var openRoutes = []string{
	"GET /healthz", "GET /invite/:code", "GET /readyz", "GET /sign-in", "GET /static/:hash/*", "GET /welcome",
	"POST /invite/:code", "POST /sign-in", "POST /sign-out", "POST /theme", "POST /welcome",
	// These take an ingest key.
	"POST /v1/logs", "POST /v1/metrics", "POST /v1/traces",
}

func TestOpenRoutes(t *testing.T) {
	var got []string
	seen := map[string]bool{}
	for _, r := range (&Server{}).routes() {
		name := r.method + " " + r.path
		if seen[name] {
			t.Errorf("%s is in the table twice", name)
		}
		seen[name] = true
		if r.access.role() == "" {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(openRoutes))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes that need nobody signed in (-want +got):\n%s", diff)
	}
}

var pathParam = regexp.MustCompile(`:[a-z_]+|\*`)

// TestAccess tries every route of the table as anonymous, viewer, member and
// admin. It joins new routes by itself.
func TestAccess(t *testing.T) {
	s := newSite(t)
	for _, r := range s.routes() {
		path := pathParam.ReplaceAllString(r.path, "x")
		for _, role := range []collab.Role{"", collab.RoleViewer, collab.RoleMember, collab.RoleAdmin} {
			name := r.method + " " + r.path + " as " + string(role)
			if role == "" {
				name += "anonymous"
			}
			b := s.as(role)
			var a reply
			if r.method == http.MethodGet {
				a = b.get(path)
			} else {
				a = b.do(r.method, path, "", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
			}
			need := r.access.role()
			toSignIn := a.status == http.StatusSeeOther && strings.HasPrefix(a.header.Get("Location"), "/sign-in")
			switch {
			case r.access == accessKey:
				if a.status != http.StatusUnauthorized {
					t.Errorf("%s: status %d, want 401: no key was sent", name, a.status)
				}
			case need == "" || r.access == accessLocal || role.AtLeast(need): // the test is on this machine
				refused := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || toSignIn && r.path != "/sign-out"
				if refused || a.status >= 500 || a.status == http.StatusMethodNotAllowed {
					t.Errorf("%s: status %d to %q, want to be let in; body %.300s", name, a.status, a.header.Get("Location"), a.body)
				}
			case role != "":
				if a.status != http.StatusForbidden {
					t.Errorf("%s: status %d, want 403", name, a.status)
				}
			case r.group == groupPage:
				if !toSignIn {
					t.Errorf("%s: status %d to %q, want 303 to /sign-in", name, a.status, a.header.Get("Location"))
				}
			default:
				if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" || !strings.Contains(a.body, `"code":"unauthorized"`) {
					t.Errorf("%s: status %d, want 401 as JSON; body %.300s", name, a.status, a.body)
				}
			}
		}
	}
}

// TestCrossOrigin tries every route that changes something from another site,
// with the session of an administrator.
func TestCrossOrigin(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	for _, r := range s.routes() {
		path := pathParam.ReplaceAllString(r.path, "x")
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			switch {
			case r.group == groupLive:
				if header[0] == "Origin" {
					if a := admin.get(path, header...); a.status != http.StatusForbidden {
						t.Errorf("%s %s with %v: status %d, want 403", r.method, r.path, header, a.status)
					}
				}
			case r.method == http.MethodGet, r.group == groupIngest:
			default:
				a := admin.do(r.method, path, "", header...)
				if a.status != http.StatusForbidden || !strings.Contains(a.body, "another site") {
					t.Errorf("%s %s with %v: status %d, want 403", r.method, r.path, header, a.status)
				}
			}
		}
	}
	// Programs send neither header.
	if a := admin.do(http.MethodPost, "/settings/keys", "environment=x", "Content-Type", "application/x-www-form-urlencoded"); a.status != http.StatusCreated {
		t.Errorf("a form without the headers of a browser: status %d, want 201", a.status)
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/sign-in", "/settings/account", "/nowhere", "/api/v1/columns", "/healthz", "/settings"} {
		a := s.as(collab.RoleViewer).get(path)
		for name, want := range map[string]string{
			"Content-Security-Policy": contentSecurityPolicy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", path)
		}
	}
	if got, want := contentSecurityPolicy, "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"; got != want {
		t.Errorf("policy: %q, want that of DESIGN.md §10: %q", got, want)
	}
}

// TestUnknownAddresses wants programs to be told in JSON, and strangers nothing.
func TestUnknownAddresses(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/api/v1/nothing", "/api/v1/columns/nothing", "/live/nothing", "/v1/nothing"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for role, want := range map[collab.Role]int{"": http.StatusUnauthorized, collab.RoleViewer: http.StatusNotFound} {
				if strings.HasPrefix(path, "/v1/") {
					want = http.StatusNotFound
				}
				a := s.as(role).do(method, path, "", "Sec-Fetch-Site", "same-origin")
				if a.status != want || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") || !strings.Contains(a.body, `{"error":{"code":`) {
					t.Errorf("%s %s as %q: status %d, %s, %.80s; want %d and an error in JSON", method, path, role, a.status, a.header.Get("Content-Type"), a.body, want)
				}
			}
		}
	}
	s.as(collab.RoleViewer).get("/nothing").want(t, "unknown page", http.StatusNotFound, "<!doctype html>")
}

// TestWrongMethod: a known address says which methods it answers to; one that does
// not exist says nothing, and a stranger is asked to sign in first.
func TestWrongMethod(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		method, path string
		role         collab.Role
		status       int
		allow        string
	}{
		{http.MethodGet, "/api/v1/query", collab.RoleViewer, http.StatusMethodNotAllowed, "POST"},
		{http.MethodPost, "/api/v1/columns", collab.RoleViewer, http.StatusMethodNotAllowed, "GET, HEAD"},
		{http.MethodPut, "/api/v1/investigations/x", collab.RoleAdmin, http.StatusMethodNotAllowed, "GET, HEAD, PATCH, DELETE"},
		{http.MethodPut, "/api/v1/investigations/", collab.RoleAdmin, http.StatusNotFound, ""},
		{http.MethodGet, "/api/v1/nothing", collab.RoleAdmin, http.StatusNotFound, ""},
		{http.MethodGet, "/api/v1/query", "", http.StatusUnauthorized, ""},
		{http.MethodGet, "/v1/traces", "", http.StatusMethodNotAllowed, "POST"},
		{http.MethodGet, "/sign-out", collab.RoleViewer, http.StatusMethodNotAllowed, "POST"},
	} {
		b := s.as(c.role)
		var a reply
		if c.method == http.MethodGet {
			a = b.get(c.path)
		} else {
			a = b.do(c.method, c.path, "", "Sec-Fetch-Site", "same-origin")
		}
		if a.status != c.status || a.header.Get("Allow") != c.allow {
			t.Errorf("%s %s as %q: status %d, Allow %q; want %d, %q", c.method, c.path, c.role, a.status, a.header.Get("Allow"), c.status, c.allow)
		}
	}
}
