package handlers

import (
	"regexp"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	cases := [][2]string{
		{"**bold** and `code`", "<p><strong>bold</strong> and <code>code</code></p>\n"},
		{"a\nb", "<p>a<br>\nb</p>\n"},
		{"[x](/t/1)", `<p><a href="/t/1" rel="nofollow noreferrer">x</a></p>` + "\n"},
		{"- [ ] look\n- [x] done", "<ul>\n<li>☐ look</li>\n<li>☑ done</li>\n</ul>\n"},
		{"https://example.com", `<p><a href="https://example.com" rel="nofollow noreferrer">https://example.com</a></p>` + "\n"},
	}
	for _, c := range cases {
		if got := markdown(c[0]); got != c[1] {
			t.Errorf("%q:\n got %q\nwant %q", c[0], got, c[1])
		}
	}
}

var dangerous = regexp.MustCompile(`(?i)<(script|img|svg|iframe|object|embed|form|input|button|style|link|meta|base|video|math|template)|\son[a-z]+\s*=|href="\s*(javascript|data|vbscript|file):|\bstyle=|\bid=|\bclass=`)

func TestMarkdownHostileStrings(t *testing.T) {
	hostile := []string{
		`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `<svg/onload=alert(1)>`, `<a href="javascript:alert(1)">x</a>`,
		`[x](javascript:alert(1))`, `[x](JaVaScRiPt:alert(1))`, `[x](java&#10;script:alert(1))`, "[x](java\tscript:alert(1))", `[x](data:text/html,<script>alert(1)</script>)`,
		`[x](vbscript:x)`, `![x](https://evil.example/p.png)`, `![x](javascript:alert(1))`, `<javascript:alert(1)>`,
		"```\n</code></pre><script>alert(1)</script>\n```", "`</code><script>alert(1)</script>`", `<iframe src=//evil.example>`, `<form action=//evil.example><input name=password>`,
		`<style>*{display:none}</style>`, `<div style="position:fixed;inset:0">x</div>`, `<base href=//evil.example>`, `<meta http-equiv=refresh content=0>`,
		`# <img src=x onerror=alert(1)>`, `| a |` + "\n|---|\n" + `| <script>alert(1)</script> |`, `<a id="board-head" class="Button">x</a>`,
		"[a]: javascript:alert(1)\n[a]", `<!--<script>alert(1)</script>-->`, `<p onclick=alert(1)>x`, "\x00<script>", `<<script>script>alert(1)<</script>/script>`,
		`<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>`, `<noscript><p title="</noscript><img src=x onerror=alert(1)>">`,
		strings.Repeat("[", 5000) + strings.Repeat("](javascript:x)", 5000), strings.Repeat(">", 5000) + "<script>", strings.Repeat("*a_", 5000),
	}
	for _, h := range hostile {
		// Text may say anything; what counts is what the browser takes for markup.
		got := regexp.MustCompile(`&(lt|gt|amp|#34|#39|quot);`).ReplaceAllString(markdown(h), "_")
		if bad := dangerous.FindString(regexp.MustCompile(`>[^<]*<`).ReplaceAllString(got, "><")); bad != "" {
			t.Errorf("%.80q gives %q in %.300q", h, bad, got)
		}
	}
}
