package handlers

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/collab/live"
	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog/logtest"
)

// site is the whole server over real stores, with one account for each role.
type site struct {
	*Server
	t     *testing.T
	srv   *httptest.Server
	users map[collab.Role]collab.User
}

const sitePassword = "four words in a row"

// siteHash is the hash of sitePassword, made once: it is costly on purpose.
var siteHash = sync.OnceValue(func() string {
	hash, err := auth.HashPassword(context.Background(), sitePassword)
	if err != nil {
		panic(err)
	}
	return hash
})

// newBareSite is a site without accounts. The options change the dependencies.
func newBareSite(t *testing.T, options ...func(*Deps)) *site {
	t.Helper()
	people, err := collab.Open(t.Context(), collab.Options{Path: filepath.Join(t.TempDir(), "redthread.db")})
	if err != nil {
		t.Fatal(err)
	}
	log, _ := logtest.Start(t, t.TempDir())
	store, err := tracestore.Open(t.Context(), tracestore.Options{Dir: t.TempDir(), Log: log, MinFreeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	hub := live.NewHub(live.Options{Store: people, Readers: people.Readers})
	t.Cleanup(func() {
		if err := errors.Join(hub.Close(), store.Close(), people.Check(context.Background()), people.Close()); err != nil {
			t.Error(err)
		}
	})
	a := auth.New(people, auth.Options{})
	d := Deps{Store: store, Graph: graph.New(store, graph.Options{}), Collab: people, Auth: a, Version: "v-test", Dev: true,
		Ingest: NewIngest(IngestOptions{Store: store, Keys: a}), Live: hub}
	for _, o := range options {
		o(&d)
	}
	s, err := New(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		if ok, progress := store.Ready(); ok {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the store is not ready after 60 s: %s", progress)
		}
	}
	return &site{Server: s, t: t, srv: srv, users: map[collab.Role]collab.User{}}
}

// newSite is a site with a viewer, a member and an admin.
func newSite(t *testing.T, options ...func(*Deps)) *site {
	t.Helper()
	s := newBareSite(t, options...)
	if err := s.setPublicURL(s.srv.URL); err != nil {
		t.Fatal(err)
	}
	for _, role := range []collab.Role{collab.RoleViewer, collab.RoleMember, collab.RoleAdmin} {
		u, err := s.Collab.CreateUser(t.Context(), collab.NewUser{Email: string(role) + "@example.com", Name: "The " + string(role), Role: role, PasswordHash: siteHash()})
		if err != nil {
			t.Fatal(err)
		}
		s.users[role] = u
	}
	return s
}

// browser is a client that keeps cookies and does not follow redirects.
type browser struct {
	*site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s, &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: s.srv.Client().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as is a browser in which the person of the role is signed in; "" is nobody.
func (s *site) as(role collab.Role) *browser {
	s.t.Helper()
	b := s.browser()
	if role == "" {
		return b
	}
	secret := rand.Text()
	sum := sha256.Sum256([]byte(secret))
	if _, err := s.Collab.CreateSession(s.t.Context(), collab.NewSession{UserID: s.users[role].ID, SecretHash: sum[:], Lifetime: time.Hour}); err != nil {
		s.t.Fatal(err)
	}
	u, err := url.Parse(s.srv.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: secret, Path: "/"}})
	return b
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path, body string, header ...string) reply {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.srv.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

func (b *browser) get(path string, header ...string) reply {
	b.t.Helper()
	return b.do(http.MethodGet, path, "", header...)
}

// post sends a form: names and values in turn.
func (b *browser) post(path string, form ...string) reply {
	b.t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		v.Add(form[i], form[i+1])
	}
	return b.do(http.MethodPost, path, v.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
}

// want checks the status, what the body must contain, and after "!" what it
// must not.
func (a reply) want(t *testing.T, what string, status int, parts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d; body: %.600s", what, a.status, status, a.body)
		return
	}
	for _, p := range parts {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if strings.Contains(a.body, not) {
				t.Errorf("%s: the body contains %q", what, not)
			}
		} else if !strings.Contains(a.body, p) {
			t.Errorf("%s: the body does not contain %q:\n%.3000s", what, p, a.body)
		}
	}
}

func (a reply) wantRedirect(t *testing.T, what, target string) {
	t.Helper()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != target {
		t.Errorf("%s: got %d to %q, want 303 to %q; body: %.400s", what, a.status, a.header.Get("Location"), target, a.body)
	}
}
