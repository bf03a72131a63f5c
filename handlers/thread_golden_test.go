package handlers

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/views"
)

var updateThreads = flag.Bool("update-threads", false, "rewrite the golden pages of threads instead of comparing with them")

// TestThreadPages compares the pages of real threads, from spans to markup.
func TestThreadPages(t *testing.T) {
	for _, c := range threadCases() {
		t.Run(c.name, func(t *testing.T) {
			th, st, who := c.thread(t)
			var b strings.Builder
			if err := views.ThreadBody(threadView(th, st, who)).Render(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(b.String(), "><", ">\n<")
			path := filepath.Join("testdata", "thread", c.name+".html")
			if *updateThreads {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the page differs from %s; if that is meant, run go test ./handlers -run TestThreadPages -update-threads (-want +got):\n%s", path, diff)
			}
		})
	}
}
