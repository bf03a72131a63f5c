package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/tracestore"
)

func cookieOf(a reply, name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// TestFirstRun is the way from an empty database to a second person.
func TestFirstRun(t *testing.T) {
	s := newBareSite(t)
	b := s.browser()
	b.get("/settings/people").wantRedirect(t, "a page before anybody is there", "/sign-in?next=%2Fsettings%2Fpeople")
	b.get("/sign-in").want(t, "sign-in before anybody is there", 200, "There is no administrator yet")

	code, err := s.Auth.FirstAdminCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.get("/welcome?code=wrong").want(t, "a wrong code", 404, "does not work any more", "Restart the server")
	page := b.get("/welcome?code=" + code)
	page.want(t, "the link", 200, "first administrator", code)
	if page.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the page with the code: Referrer-Policy %q, want no-referrer", page.header.Get("Referrer-Policy"))
	}
	b.post("/welcome", "code", code, "email", "ada@example.com", "name", "Ada", "password", "short").
		want(t, "a short password", 422, "at least 10 characters", `value="ada@example.com"`, `value="Ada"`, `aria-invalid="true"`)
	r := b.do(http.MethodPost, "/welcome", url.Values{"code": {code}, "email": {"ada@example.com"}, "name": {"Ada"}, "password": {sitePassword}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded", "Origin", s.srv.URL, "Sec-Fetch-Site", "same-origin")
	r.wantRedirect(t, "the form", "/")
	cookie := cookieOf(r, sessionCookie)
	if cookie == nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Secure || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("session cookie over http: %+v", cookie)
	}
	if got := s.PublicAddress(); got != s.srv.URL {
		t.Errorf("public address: got %q, want that of the browser %q", got, s.srv.URL)
	}
	if stored, err := s.Collab.Setting(t.Context(), collab.SettingPublicURL); err != nil || stored != s.srv.URL {
		t.Errorf("stored public address: got %q, %v", stored, err)
	}
	s.browser().post("/welcome", "code", code, "email", "eve@example.com", "name", "Eve", "password", sitePassword).
		want(t, "the link again", 404, "does not work any more")

	b.get("/settings").wantRedirect(t, "settings of an admin", "/settings/people")
	link := regexp.MustCompile(regexp.QuoteMeta(s.srv.URL) + `/invite/[a-z0-9]{52}`).
		FindString(b.post("/settings/people/invitations", "email", "bob@example.com", "role", "viewer").body)
	if link == "" {
		t.Fatal("no invitation link on the page")
	}
	if again := b.get("/settings/people").body; strings.Contains(again, "/invite/") {
		t.Error("the link is shown again")
	}
	path := strings.TrimPrefix(link, s.srv.URL)
	bob := s.browser()
	bob.get(path).want(t, "the invitation", 200, "bob@example.com", "readonly", "You join as viewer")
	bob.post(path, "email", "root@example.com", "name", "Bob", "password", sitePassword).wantRedirect(t, "join", "/")
	bob.get("/settings/account").want(t, "account of bob", 200, "bob@example.com, viewer", "!/settings/people")
	bob.get("/settings/people").want(t, "people as viewer", 403, "Your role does not allow this")
	bob.get("/settings").wantRedirect(t, "settings of a viewer", "/settings/account")
	s.browser().get(path).want(t, "the invitation again", 404, "Ask an administrator")
}

func TestSignInAndOut(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.post("/sign-in", "email", "member@example.com", "password", "wrong", "next", "/explore?x=1").
		want(t, "wrong password", 422, "do not belong together", `value="member@example.com"`, `value="/explore?x=1"`, "!wrong\"")
	b.post("/sign-in", "email", "nobody@example.com", "password", sitePassword).
		want(t, "unknown address", 422, "do not belong together")
	b.post("/sign-in", "email", "Member@example.com", "password", sitePassword, "next", "/settings/account?a=b").
		wantRedirect(t, "right", "/settings/account?a=b")
	b.get("/sign-in?next=/settings/about").wantRedirect(t, "signed in already", "/settings/about")
	b.get("/settings/account").want(t, "account", 200, "The member", "this one")

	other := s.browser()
	other.post("/sign-in", "email", "member@example.com", "password", sitePassword)
	other.post("/settings/account/password", "current", "wrong", "password", "another good one").want(t, "wrong current password", 422, "not your current password")
	other.post("/settings/account/password", "current", sitePassword, "password", "another good one").
		wantRedirect(t, "new password", "/settings/account?changed=password")
	other.get("/settings/account").want(t, "where it was changed", 200)
	b.get("/settings/account").wantRedirect(t, "elsewhere", "/sign-in?next=%2Fsettings%2Faccount")

	r := other.post("/sign-out")
	r.wantRedirect(t, "sign out", "/sign-in")
	if c := cookieOf(r, sessionCookie); c == nil || c.MaxAge >= 0 {
		t.Errorf("sign out leaves the cookie: %+v", c)
	}
	other.get("/settings/account").wantRedirect(t, "after signing out", "/sign-in?next=%2Fsettings%2Faccount")
}

func TestSignInLimit(t *testing.T) {
	s := newSite(t)
	var last reply
	for range 11 {
		last = s.browser().post("/sign-in", "email", "nobody@example.com", "password", "wrong")
	}
	last.want(t, "the eleventh try", 429, "Too many attempts")
	if last.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
}

func TestDeactivationAndRoles(t *testing.T) {
	s := newSite(t)
	admin, member := s.as(collab.RoleAdmin), s.as(collab.RoleMember)
	id := s.users[collab.RoleMember].ID
	admin.post("/settings/people/"+id+"/role", "role", "admin").wantRedirect(t, "make an admin", "/settings/people")
	member.get("/settings/people").want(t, "at once", 200)
	admin.post("/settings/people/"+id+"/role", "role", "owner").want(t, "unknown role", 422, "Choose viewer, member or admin")
	admin.post("/settings/people/"+id+"/deactivate").wantRedirect(t, "deactivate", "/settings/people")
	member.get("/settings/people").wantRedirect(t, "at once signed out", "/sign-in?next=%2Fsettings%2Fpeople")
	member.post("/sign-in", "email", "member@example.com", "password", sitePassword).want(t, "sign in deactivated", 422, "do not belong together")
	admin.post("/settings/people/"+s.users[collab.RoleAdmin].ID+"/deactivate").want(t, "the last admin", 422, "last administrator")
	admin.post("/settings/people/u_none/deactivate").want(t, "nobody", 404)
	admin.get("/settings/audit").want(t, "audit log", 200, "user.deactivated", "member → admin", "session.refused", "127.0.0.1")
}

func TestKeysAndTokens(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	admin.post("/settings/keys", "environment", "not an environment").want(t, "bad environment", 422, "production-uk", `value="not an environment"`)
	page := admin.post("/settings/keys", "environment", "staging")
	page.want(t, "new key", 201, "OTEL_EXPORTER_OTLP_HEADERS", "not shown again", s.srv.URL)
	key := regexp.MustCompile(`rtk_[a-z0-9]{52}`).FindString(page.body)
	if sender, ok, err := s.Auth.IngestKey(t.Context(), key); sender.Environment != "staging" || !ok || err != nil {
		t.Errorf("the key on the page: got %+v, %v, %v", sender, ok, err)
	}
	admin.get("/settings/keys").want(t, "list of keys", 200, "staging", "!"+key)
	keys, err := s.Collab.FindIngestKeys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys: %v, %v", keys, err)
	}
	edit := "/settings/keys/" + keys[0].ID + "/attributes"
	admin.get("/settings/keys?attributes="+keys[0].ID).want(t, "the lists of a key", 200, "come with the key staging", `action="`+edit+`"`)
	admin.get("/settings/keys?attributes=k_none").want(t, "the lists of no key", 404)
	admin.post(edit, "drop", "user.*\nsecret", "hash", "*").want(t, "a bad name", 422, "only at the end", "user.*\nsecret</textarea>", "come with the key staging")
	admin.post(edit, "drop", "user.*\nsecret a b", "hash", "account.id").wantRedirect(t, "lists", "/settings/keys")
	admin.get("/settings/keys").want(t, "lists in the table", 200, "drops", "<code>secret</code>", "hashes", "<code>account.id</code>", "!Without a key")
	if sender, _, _ := s.Auth.IngestKey(t.Context(), key); sender.Lists.Drop != "a\nb\nsecret\nuser.*" || sender.Lists.Hash != "account.id" {
		t.Errorf("lists of the key: %+v", sender)
	}
	admin.post("/settings/keys/attributes", "drop", "x").wantRedirect(t, "lists without a key", "/settings/keys")
	admin.get("/settings/keys?attributes=none").want(t, "what comes without a key", 200, "come without a key", ">x</textarea>")
	admin.post("/settings/keys", "environment", "other", "drop", "bad*").want(t, "a new key with a bad list", 422, "only at the end", "<details open", `value="other"`)
	admin.get("/settings/audit").want(t, "lists in the audit log", 200, "key.attributes", "drop a, b, secret, user.*; hash account.id", "without a key")
	admin.post("/settings/keys/"+keys[0].ID+"/revoke").wantRedirect(t, "revoke", "/settings/keys")
	admin.post(edit, "drop", "x").want(t, "lists of a revoked key", 404)
	if _, ok, _ := s.Auth.IngestKey(t.Context(), key); ok {
		t.Error("the revoked key works")
	}

	page = admin.post("/settings/tokens", "name", "<script>alert(1)</script>", "role", "member", "expiry", "90")
	page.want(t, "new token", 201, "&lt;script&gt;alert(1)&lt;/script&gt;", "!<script>alert")
	token := regexp.MustCompile(`rtt_[a-z0-9]{52}`).FindString(page.body)
	admin.post("/settings/tokens", "name", "x", "role", "member", "expiry", "-1").want(t, "bad expiry", 422, "Choose when the token expires")

	program := s.browser()
	bearer := []string{"Authorization", "Bearer " + token}
	program.get("/settings/account", bearer...).want(t, "a page with a token", 200, "This is the API token", "!<script>alert")
	program.get("/settings/people", bearer...).want(t, "an admin's page with a member's token", 403)
	program.get("/api/v1/columns", bearer...).want(t, "the API with a token", 200)
	program.get("/api/v1/columns", "Authorization", "Bearer nonsense").want(t, "the API with a wrong token", 401, `"code":"unauthorized"`)
	program.get("/api/v1/columns", "Authorization", "Basic abc").want(t, "the API with a password", 401, "Bearer")
	admin.get("/settings/account", "Authorization", "Bearer nonsense").want(t, "a wrong token beside a right cookie", 401)
	tokens, err := s.Collab.FindTokens(t.Context())
	if err != nil || len(tokens) != 1 {
		t.Fatalf("tokens: %v, %v", tokens, err)
	}
	admin.post("/settings/tokens/"+tokens[0].ID+"/revoke").wantRedirect(t, "revoke", "/settings/tokens")
	program.get("/api/v1/columns", bearer...).want(t, "the API with a revoked token", 401)
}

func TestPasswordLink(t *testing.T) {
	s := newSite(t)
	member := s.as(collab.RoleMember)
	page := s.as(collab.RoleAdmin).post("/settings/people/" + s.users[collab.RoleMember].ID + "/password-link")
	page.want(t, "link", 201, "Password link for The member")
	path := regexp.MustCompile(`/invite/[a-z0-9]{52}`).FindString(page.body)
	b := s.browser()
	b.get(path).want(t, "form", 200, "Choose a password", "!name=\"email\"")
	b.post(path, "password", "another good one").wantRedirect(t, "new password", "/")
	b.get("/settings/account").want(t, "signed in", 200, "member@example.com")
	member.get("/settings/account").wantRedirect(t, "session from before", "/sign-in?next=%2Fsettings%2Faccount")
}

func TestOverHTTPS(t *testing.T) {
	s := newSite(t, func(d *Deps) { d.PublicURL = "https://redthread.example/" })
	if err := s.setPublicURL("https://redthread.example"); err != nil {
		t.Fatal(err)
	}
	r := s.browser().post("/sign-in", "email", "member@example.com", "password", sitePassword)
	r.wantRedirect(t, "sign in", "/")
	c := cookieOf(r, secureSessionCookie)
	if c == nil || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
		t.Fatalf("session cookie over https: %+v", c)
	}
	r = s.browser().get("/settings/account", "Cookie", c.Name+"="+c.Value)
	r.want(t, "with the cookie", 200)
	r = s.browser().get("/settings/account", "Cookie", sessionCookie+"="+c.Value)
	r.wantRedirect(t, "with the cookie of http", "/sign-in?next=%2Fsettings%2Faccount")
	// The browser's Origin is the public URL, the Host is what the proxy calls us.
	a := s.browser().do(http.MethodPost, "/sign-out", "", "Origin", "https://redthread.example")
	a.wantRedirect(t, "a form through the proxy", "/sign-in")
}

func TestSitePath(t *testing.T) {
	for _, p := range []string{"/", "/explore?q=%2F%2Fx&a=b", "/t/0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331", "/i/1#x"} {
		if got := sitePath(p); got != p {
			t.Errorf("sitePath(%q): got %q", p, got)
		}
	}
	for _, p := range []string{"", "explore", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "https:/evil", "javascript:alert(1)",
		"/\t/evil.example", "/\n/evil", "/%2F/evil.example\\", "//", "/%zz", "mailto:a@b", "/%2fevil.example", "/%5cevil.example"} {
		if got := sitePath(p); got != "/" {
			t.Errorf("sitePath(%q): got %q, want /", p, got)
		}
	}
}

func TestSendToSignIn(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.get("/explore?a=1&b=%2F").wantRedirect(t, "a page", "/sign-in?next="+url.QueryEscape("/explore?a=1&b=%2F"))
	b.do(http.MethodPost, "/settings/account", "", "Referer", s.srv.URL+"/settings/account").
		wantRedirect(t, "a form", "/sign-in?next=%2Fsettings%2Faccount")
	b.do(http.MethodPost, "/settings/account", "", "Referer", "https://evil.example/x").wantRedirect(t, "a form from elsewhere", "/sign-in")
	r := b.get("/settings/account", "HX-Request", "true")
	if r.status != 401 || r.header.Get("HX-Redirect") != "/sign-in?next=%2Fsettings%2Faccount" {
		t.Errorf("a fragment: got %d, HX-Redirect %q", r.status, r.header.Get("HX-Redirect"))
	}
	b.get("/sign-in?next=//evil.example").want(t, "next to another site", 200, `name="next" value="/"`, "!evil")
	b.post("/sign-in", "email", "viewer@example.com", "password", sitePassword, "next", "https://evil.example").wantRedirect(t, "next to another site", "/")
}

func TestHostileNames(t *testing.T) {
	s := newSite(t)
	hostile := `"><img src=x onerror=alert(1)>'&{{`
	admin := s.as(collab.RoleAdmin)
	if _, err := s.Collab.UpdateUser(t.Context(), s.users[collab.RoleViewer].ID, collab.UserUpdate{Name: &hostile}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/settings/people", "/find?q=" + url.QueryEscape(hostile), "/sign-in?next=" + url.QueryEscape("/"+hostile),
		"/settings/audit?before=" + url.QueryEscape(hostile), "/" + url.PathEscape(hostile), "/invite/" + url.PathEscape(hostile)} {
		for _, b := range []*browser{admin, s.as(collab.RoleViewer), s.browser()} {
			if r := b.get(path); strings.Contains(r.body, "<img") {
				t.Errorf("%s: markup comes back unescaped", path)
			}
		}
	}
	s.as(collab.RoleViewer).get("/settings/account").want(t, "own page", 200, "&lt;img src=x", "!<img")
}

func TestClientAddress(t *testing.T) {
	for _, c := range []struct{ remote, forwarded, want string }{
		{"198.51.100.7:1234", "", "198.51.100.7"},
		{"198.51.100.7:1234", "203.0.113.1", "198.51.100.7"}, // nobody's proxy
		{"127.0.0.1:1234", "203.0.113.1", "203.0.113.1"},
		{"10.1.2.3:1234", "6.6.6.6, 203.0.113.1", "203.0.113.1"}, // what was there before the proxy may be forged
		{"127.0.0.1:1234", "nonsense", "127.0.0.1"},
		{"[::1]:1234", "2001:db8::1", "2001:db8::1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := clientAddress(r); got != c.want {
			t.Errorf("from %s for %q: got %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func TestOriginAllowed(t *testing.T) {
	s := newSite(t)
	if err := s.setPublicURL("https://redthread.example"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, origin string
		want         bool
	}{
		{"10.0.0.1:8080", "https://redthread.example", true},
		{"10.0.0.1:8080", "http://redthread.example", false},
		{"10.0.0.1:8080", "https://redthread.example.evil.example", false},
		{"10.0.0.1:8080", "https://evil.example", false},
		{"evil.example", "http://evil.example", false}, // a name that was made to point here
		{"10.0.0.1:8080", "null", false},
		{"10.0.0.1:8080", "", true}, // a program
		{"localhost:8080", "http://localhost:8080", true},
		{"127.0.0.1:8080", "http://localhost:8080", false},
	} {
		r := httptest.NewRequest("GET", "/live/investigations/x", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if got := s.originAllowed(r); got != c.want {
			t.Errorf("host %s, origin %q: got %v, want %v", c.host, c.origin, got, c.want)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{&collab.InvalidError{Field: "name", Message: "x"}, 400, "invalid"},
		{fmt.Errorf("a: %w", collab.ErrNotFound), 404, "not_found"},
		{fmt.Errorf("a: %w", collab.ErrConflict), 409, "conflict"},
		{fmt.Errorf("a: %w", collab.ErrForbidden), 403, "forbidden"},
		{&auth.LimitedError{}, 429, "rate_limited"},
		{&http.MaxBytesError{Limit: 5}, 413, "too_large"},
		{fmt.Errorf("query: %w", &tracestore.ReadError{Path: "a/b.parquet", Err: syscall.EIO}), 500, "unreadable"},
		{errors.New("sqlite: table users has no column x"), 500, "internal"},
	} {
		f := describe(c.err)
		if f.Status != c.status || f.Code != c.code {
			t.Errorf("describe(%v): got %d %s, want %d %s", c.err, f.Status, f.Code, c.status, c.code)
		}
		if c.code == "unreadable" && (!strings.Contains(f.Message, "b.parquet") || strings.Contains(f.Message, "a/b")) {
			t.Errorf("want the file's name, and not its folder: %s", f.Message)
		}
		if c.status == 500 && strings.Contains(f.Message, "sqlite") {
			t.Errorf("an internal error tells its text: %s", f.Message)
		}
	}
}

func TestErrorPages(t *testing.T) {
	s := newSite(t)
	s.browser().get("/nowhere").want(t, "404 for anonymous", 404, "Not found", "!class=\"Rail\"")
	s.as(collab.RoleViewer).get("/nowhere").want(t, "404", 404, "Not found", "class=\"Rail\"")
	s.browser().get("/api/v1/columns").want(t, "401", 401, `{"error":{"code":"unauthorized"`)
	big := strings.Repeat("x", maxBodyBytes+1)
	s.as(collab.RoleViewer).do(http.MethodPost, "/settings/account", "name="+big, "Content-Type", "application/x-www-form-urlencoded").
		want(t, "a huge form", 413)
}

func TestPanicIsAnError(t *testing.T) {
	s := newSite(t)
	s.Collab = nil // a bug
	r := s.browser().get("/sign-in")
	r.want(t, "a bug", 500, "Something went wrong", r.header.Get("X-Request-Id"), "!nil pointer", "!goroutine")
}

func TestTheme(t *testing.T) {
	s := newSite(t)
	b := s.as(collab.RoleViewer)
	b.get("/settings/account").want(t, "no theme chosen", 200, "!data-theme")
	b.post("/theme", "theme", "dark", "back", "/settings/account").wantRedirect(t, "choose", "/settings/account")
	b.get("/settings/account").want(t, "dark", 200, `data-theme="dark"`)
	b.post("/theme", "theme", "light", "back", "//evil.example").wantRedirect(t, "choose from elsewhere", "/")
	b.post("/theme", "theme", `"><script>`).want(t, "nonsense", 400)
}

func TestStatic(t *testing.T) {
	s := newSite(t)
	page := s.browser().get("/sign-in").body
	path := regexp.MustCompile(`/static/[0-9a-f]{16}/css/tokens\.css`).FindString(page)
	if path == "" {
		t.Fatal("no style sheet on the page")
	}
	r := s.browser().get(path)
	r.want(t, "style sheet", 200, "--thread: #C8102E")
	if cc := r.header.Get("Cache-Control"); cc != "public, max-age=31536000, immutable" {
		t.Errorf("style sheet: Cache-Control %q", cc)
	}
	if ct := r.header.Get("Content-Type"); ct != "text/css; charset=utf-8" {
		t.Errorf("style sheet: Content-Type %q", ct)
	}
	old := s.browser().get("/static/0000000000000000/js/app.js")
	old.want(t, "an old hash", 200, "mountAll")
	if cc := old.header.Get("Cache-Control"); cc != "no-cache" {
		t.Errorf("an old hash: Cache-Control %q, want no-cache", cc)
	}
	if ct := old.header.Get("Content-Type"); ct != "text/javascript; charset=utf-8" {
		t.Errorf("script: Content-Type %q", ct)
	}
	for _, bad := range []string{"/static/x/nowhere.js", "/static/x/..%2f..%2fgo.mod", "/static/x/css", "/static/x/%2e%2e/embed.go"} {
		if got := s.browser().get(bad); got.status != 404 {
			t.Errorf("%s: status %d, want 404", bad, got.status)
		}
	}
}
