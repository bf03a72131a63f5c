package views

import (
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"
)

var assetHash = regexp.MustCompile(`/static/[0-9a-f]{16}/`)

func renderPage(t *testing.T, c templ.Component) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return assetHash.ReplaceAllString(b.String(), "/static/HASH/")
}

// text is a page's content made of text alone.
func text(s string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, templ.EscapeString(s))
		return err
	})
}

func layoutOf(p Page, content string) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		return Layout(p).Render(templ.WithChildren(ctx, text(content)), w)
	})
}

func TestShellGolden(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 3, 11, 0, time.UTC)
	admin := &Me{ID: "u_1", Name: "Mara Thiel", Role: "admin", Admin: true, CanWrite: true}
	hostile := `"><script>alert(1)</script>`
	cases := map[string]templ.Component{
		"anonymous": SignInPage(Page{Title: "Sign in", Now: now}, SignIn{Email: "ada@example.com", Next: "/explore", Problem: "This address and password do not belong together."}),
		"admin": layoutOf(Page{Title: "Explore", Section: SectionExplore, Me: admin, Unread: 3, Theme: "dark", Path: "/explore?a=b", Now: now,
			Scope:  &Scope{Environments: []string{"production-uk", "staging"}, Environment: "staging", Ranges: []Option{{"1h", "last 1 h"}, {"24h", "last 24 h"}}, Range: "24h", Keep: url.Values{"q": {"x"}, "environment": {"no"}, "range": {"no"}}},
			Styles: []string{"css/explore.css"}, Scripts: []string{"third_party/uPlot.iife.min.js"}, Wide: true}, "content"),
		"viewer": layoutOf(Page{Title: "Home", Section: SectionHome, Me: &Me{ID: "u_2", Name: "Vi", Role: "viewer"}, Path: "/", Now: now, Scope: &Scope{Environment: "gone"}}, "content"),
		"hostile": layoutOf(Page{Title: hostile, Me: &Me{ID: hostile, Name: hostile, Role: hostile}, Path: hostile, Find: hostile, Now: now,
			Scope: &Scope{Environments: []string{hostile}, Environment: hostile, Keep: url.Values{hostile: {hostile}}}}, hostile),
		"error": Error(Page{Title: "Internal Server Error", Me: admin, Path: "/", Now: now}, ErrorPage{Status: 500, Message: "Something went wrong on our side.", RequestID: "abc123"}),
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := strings.ReplaceAll(renderPage(t, c), "><", ">\n<") + "\n"
			if strings.Contains(got, "<script>alert") || strings.Contains(got, "onerror") || strings.Contains(got, " style=") {
				t.Errorf("markup comes through, or a style attribute that the policy blocks:\n%s", got)
			}
			path := filepath.Join("testdata", "shell", name+".html")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (go test ./views -update rewrites it) (-want +got):\n%s", path, diff)
			}
		})
	}
}

func TestInitials(t *testing.T) {
	for name, want := range map[string]string{"Mara Thiel": "MT", "jo": "J", "jo.o'neil@example.com": "JO", "": "?", "  ": "?", "Ödön von Horváth": "ÖV", "李 小龙": "李小"} {
		if got := Initials(name); got != want {
			t.Errorf("Initials(%q): got %q, want %q", name, got, want)
		}
	}
}

func TestScopeQuery(t *testing.T) {
	for _, c := range []struct {
		scope *Scope
		want  string
	}{{nil, ""}, {&Scope{}, ""}, {&Scope{Environment: "*"}, ""}, {&Scope{Environment: "a&b"}, "?environment=a%26b"}} {
		if got := c.scope.Query(); got != c.want {
			t.Errorf("Query of %+v: got %q, want %q", c.scope, got, c.want)
		}
	}
}
