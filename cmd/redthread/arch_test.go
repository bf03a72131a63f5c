package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// importRules say what a package and everything below it must not import
// directly, and why. A path of ours is relative to the module. The longest
// matching `in` that has a rule for the import decides; `except` lifts it.
var importRules = []struct {
	in     string
	except []string
	never  []string
	reason string
}{
	{in: "handlers", never: []string{"database/sql", "tracestore/segment", "tracestore/column", "tracestore/ingestlog", "cmd"}, reason: "handlers speak to stores, not to files or SQL"},
	{in: "views", never: []string{"handlers", "collab", "tracestore", "database/sql", "net/http", "cmd"}, reason: "a page takes a view model of its own, so that it can be drawn from anything"},
	{in: "collab", except: []string{"collab/notify"}, never: []string{"net/http"}, reason: "collab knows no transport"},
	{in: "collab", never: []string{"handlers", "views", "static", "cmd", "github.com/labstack/echo", "github.com/gorilla/websocket", "github.com/a-h/templ", "tracestore"}, reason: "collab knows no pages and no store; only trace ids"},
	{in: "tracestore", never: []string{"collab", "handlers", "views", "static", "cmd", "github.com/labstack/echo", "github.com/a-h/templ", "net/http"}, reason: "the store is below everything and knows no transport"},
	{in: "tracestore", except: []string{"tracestore/ingestlog"}, never: []string{"github.com/nats-io"}, reason: "only the ingest log knows NATS"},
	{in: "tracestore/trace", never: []string{"tracestore", "github.com", "google.golang.org", "go.opentelemetry.io"}, reason: "trace is a leaf on the standard library"},
	{in: "static", never: []string{"handlers", "views", "collab", "tracestore", "cmd"}, reason: "files and their addresses only"},
}

// allowed lifts a rule for one import.
var allowed = map[string]string{
	"collab tracestore/trace": "ids of evidence are trace ids",
}

func TestImportRules(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "node_modules" || n == ".git" || n == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if reason := forbidden(pkg, imp); reason != "" {
				t.Errorf("%s imports %s: %s", rel, imp, reason)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("only %d files seen under %s", seen, root)
	}
}

func forbidden(pkg, imp string) string {
	imp = strings.TrimPrefix(imp, "redthread/")
	for from := pkg; from != "."; from = path.Dir(from) {
		if _, ok := allowed[from+" "+imp]; ok {
			return ""
		}
	}
	for _, r := range importRules {
		if !within(pkg, r.in) {
			continue
		}
		lifted := false
		for _, e := range r.except {
			lifted = lifted || within(pkg, e)
		}
		for _, n := range r.never {
			if !lifted && within(imp, n) {
				return r.reason
			}
		}
	}
	return ""
}

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func TestImportRulesForbid(t *testing.T) {
	for _, tc := range []struct {
		pkg, imp string
		want     bool
	}{
		{"views", "redthread/collab", true},
		{"views/ui", "net/http", true},
		{"tracestore/segment", "github.com/nats-io/nats.go", true},
		{"tracestore/ingestlog", "github.com/nats-io/nats.go", false},
		{"collab/notify", "net/http", false},
		{"collab/live", "net/http", true},
		{"collab", "redthread/tracestore/trace", false},
		{"collab", "redthread/tracestore", true},
		{"handlers", "redthread/tracestore", false},
		{"cmd/redthread", "redthread/handlers", false},
		{"tracestore/trace", "redthread/tracestore/column", true},
	} {
		if got := forbidden(tc.pkg, tc.imp) != ""; got != tc.want {
			t.Errorf("forbidden(%s, %s) = %v, want %v", tc.pkg, tc.imp, got, tc.want)
		}
	}
}
