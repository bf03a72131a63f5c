package static

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTreeHash(t *testing.T) {
	tree := func(name, body string) fstest.MapFS {
		return fstest.MapFS{"css/a.css": {Data: []byte("a")}, name: {Data: []byte(body)}}
	}
	base := treeHash(tree("js/b.js", "b"))
	if len(base) != 16 || base != treeHash(tree("js/b.js", "b")) {
		t.Errorf("hash %q: want 16 digits, the same each time", base)
	}
	if base == treeHash(tree("js/b.js", "c")) || base == treeHash(tree("js/c.js", "b")) {
		t.Error("another content or another name has the same hash")
	}
	if got, want := URL("js/app.js"), "/static/"+Hash()+"/js/app.js"; got != want {
		t.Errorf("URL: got %q, want %q", got, want)
	}
}

// TestThirdParty holds the list of files the program needs and the script that
// copies them together.
func TestThirdParty(t *testing.T) {
	script, err := os.ReadFile("third_party.sh")
	if err != nil {
		t.Fatal(err)
	}
	copied := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^copy \S+ (\S+)$`).FindAllSubmatch(script, -1) {
		copied["third_party/"+string(m[1])] = true
	}
	for _, name := range thirdParty {
		if !copied[name] {
			t.Errorf("third_party.sh does not copy %s", name)
		}
		delete(copied, name)
	}
	for name := range copied {
		t.Errorf("%s is copied but not in the list of embed.go", name)
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	old := thirdParty
	defer func() { thirdParty = old }()
	thirdParty = []string{"css/base.css", "third_party/nothing.js"}
	err := Check()
	if err == nil || !strings.Contains(err.Error(), "static/third_party/nothing.js") || !strings.Contains(err.Error(), "make") || strings.Contains(err.Error(), "base.css") {
		t.Errorf("Check: got %v, want the missing file and how to get it", err)
	}
}

// TestStyleSheets checks what the conventions say of style sheets: everything
// in a layer, colours only in the tokens.
func TestStyleSheets(t *testing.T) {
	err := fs.WalkDir(files, "css", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		text := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(string(b), "")
		if strings.Count(text, "{") != strings.Count(text, "}") {
			t.Errorf("%s: braces do not match", path)
		}
		for _, top := range topLevel(text) {
			if !strings.HasPrefix(top, "@layer") {
				t.Errorf("%s: %q stands outside a layer", path, top)
			}
		}
		if strings.Contains(text, "url(http") || strings.Contains(text, "@import") {
			t.Errorf("%s: loads something else", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// topLevel returns what stands before each outermost brace.
func topLevel(css string) []string {
	var list []string
	depth, start := 0, 0
	for i, r := range css {
		switch r {
		case ';':
			if depth == 0 {
				start = i + 1
			}
		case '{':
			if depth == 0 {
				list = append(list, strings.TrimSpace(css[start:i]))
			}
			depth++
		case '}':
			depth--
			start = i + 1
		}
	}
	return list
}

var token = regexp.MustCompile(`(--[a-z0-9-]+): (#[0-9A-F]{6});`)

func tokensOf(block []byte) map[string]string {
	m := map[string]string{}
	for _, f := range token.FindAllSubmatch(block, -1) {
		m[string(f[1])] = string(f[2])
	}
	return m
}

// TestTokens checks the palette against UI.md, that both dark blocks are the
// same and for screens only, and the contrast of text in both themes (WCAG 2.2:
// 4.5 for text, 3 for the edge of a control).
func TestTokens(t *testing.T) {
	css, err := fs.ReadFile(files, "css/tokens.css")
	if err != nil {
		t.Fatal(err)
	}
	media := bytes.Index(css, []byte("@media screen and (prefers-color-scheme: dark)"))
	chosen := bytes.Index(css, []byte(`:root[data-theme="dark"]`))
	if media < 0 || chosen < media {
		t.Fatal("the blocks of the themes are not where they were")
	}
	light, dark, same := tokensOf(css[:media]), tokensOf(css[media:chosen]), tokensOf(css[chosen:])
	if fmt.Sprint(dark) != fmt.Sprint(same) {
		t.Errorf("the dark theme of the system and the chosen one differ:\n%v\n%v", dark, same)
	}
	for theme, want := range map[string]string{
		"light": "#FBFAF8 #FFFFFF #E6E2DC #1D1F23 #5D6169 #C8102E #B45309 #2F7D4F #2457D6",
		"dark":  "#15171A #1C1F24 #2C3138 #E9E7E3 #A3A8B0 #FF5A6E #F5A524 #5BC08A #7AA2FF",
	} {
		m := map[string]map[string]string{"light": light, "dark": dark}[theme]
		var got []string
		for _, name := range []string{"paper", "card", "line", "ink", "ink-2", "thread", "warn", "ok", "focus"} {
			got = append(got, m["--"+name])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s palette: got %s, want %s", theme, strings.Join(got, " "), want)
		}
		check := func(fg, bg string, least float64) {
			t.Helper()
			if m[fg] == "" || m[bg] == "" {
				t.Errorf("%s: no token %s or %s", theme, fg, bg)
			} else if c := contrast(t, m[fg], m[bg]); c < least {
				t.Errorf("%s: %s on %s has contrast %.2f, want %.1f", theme, fg, bg, c, least)
			}
		}
		for _, bg := range []string{"--paper", "--card", "--rail", "--sunken", "--hover"} {
			check("--ink", bg, 4.5)
			check("--ink-2", bg, 4.5)
		}
		for _, fg := range []string{"--thread", "--warn", "--ok", "--focus"} {
			check(fg, "--paper", 4.5)
			check(fg, "--card", 4.5)
			check(fg, fg+"-soft", 4.5)
		}
		check("--field-line", "--card", 3)
		check("--field-line", "--paper", 3)
	}
}

// contrast is that of WCAG 2.2, "contrast ratio".
func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

func luminance(t *testing.T, hex string) float64 {
	var c [3]int
	if _, err := fmt.Sscanf(hex, "#%02X%02X%02X", &c[0], &c[1], &c[2]); err != nil {
		t.Fatalf("colour %q: %v", hex, err)
	}
	var lin [3]float64
	for i, v := range c {
		f := float64(v) / 255
		if f <= .04045 {
			lin[i] = f / 12.92
		} else {
			lin[i] = math.Pow((f+.055)/1.055, 2.4)
		}
	}
	return .2126*lin[0] + .7152*lin[1] + .0722*lin[2]
}
