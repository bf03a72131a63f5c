// Package static holds what browsers load: style sheets, scripts, pictures. The
// files are embedded. Their address carries one hash over the whole tree, so
// they are cached for ever and relative imports between modules just work.
package static

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

//go:embed css js img third_party
var files embed.FS

// thirdParty lists the files that `make` copies from npm packages; the script
// "static" in package.json does it.
var thirdParty = []string{
	"third_party/htmx.min.js",
	"third_party/uPlot.iife.min.js",
	"third_party/uPlot.min.css",
}

// Files is the tree of files.
func Files() fs.FS { return files }

// Check returns an error if a third-party file is missing from the binary.
func Check() error {
	var missing []string
	for _, name := range thirdParty {
		if _, err := fs.Stat(files, name); err != nil {
			missing = append(missing, "static/"+name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("built without %s: run make, which fetches them, and build again", strings.Join(missing, ", "))
	}
	return nil
}

// Hash names the content of the whole tree.
var Hash = sync.OnceValue(func() string { return treeHash(files) })

func treeHash(tree fs.FS) string {
	h := sha256.New()
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s\x00%d\x00", path, len(b))
		h.Write(b)
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("static: read embedded files: %v", err)) // the files are part of the binary
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// URL returns the address of a file: "/static/<hash>/css/base.css".
func URL(path string) string { return "/static/" + Hash() + "/" + path }
