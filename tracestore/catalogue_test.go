package tracestore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCatalogueSchema shows every change of the schema in review.
func TestCatalogueSchema(t *testing.T) {
	c, err := openCatalogue(t.Context(), t.TempDir())
	must(t, err)
	defer c.close()
	rows, err := c.db.QueryContext(t.Context(), "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
	must(t, err)
	defer rows.Close()
	var got strings.Builder
	for rows.Next() {
		var text string
		must(t, rows.Scan(&text))
		got.WriteString(text + ";\n")
	}
	must(t, rows.Err())
	golden := filepath.Join("testdata", "catalogue.sql")
	want, err := os.ReadFile(golden)
	must(t, err)
	if got.String() != string(want) {
		t.Errorf("the schema is\n%s\nwant, as in %s:\n%s", got.String(), golden, want)
	}
}

func TestNewerCatalogueIsRefused(t *testing.T) {
	dir := t.TempDir()
	c, err := openCatalogue(t.Context(), dir)
	must(t, err)
	_, err = c.db.ExecContext(t.Context(), "PRAGMA user_version = 7")
	must(t, err)
	must(t, c.close())
	_, err = openCatalogue(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "version 7") || !strings.Contains(err.Error(), "knows 3") {
		t.Fatalf("got %v, want an error that names both versions", err)
	}
}

// TestOlderCatalogueIsRefused: version 1 lists files that nobody reads any more.
func TestOlderCatalogueIsRefused(t *testing.T) {
	dir := t.TempDir()
	c, err := openCatalogue(t.Context(), dir)
	must(t, err)
	_, err = c.db.ExecContext(t.Context(), "PRAGMA user_version = 1")
	must(t, err)
	must(t, c.close())
	_, err = openCatalogue(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "version 1") || !strings.Contains(err.Error(), "knows 3") {
		t.Fatalf("got %v, want an error that names both versions", err)
	}
}

// TestCommitAgain: a flush whose commit's answer was lost commits the same again.
func TestCommitAgain(t *testing.T) {
	c, err := openCatalogue(t.Context(), t.TempDir())
	must(t, err)
	defer c.close()
	e, err := c.createEpoch(t.Context(), "log", 0, 1)
	must(t, err)
	seg, run := &segmentRecord{ID: "a", EpochID: e.ID, Path: "a.parquet", Rows: 3}, &edgeRecord{ID: "a", Path: "a.edges", Links: 2}
	for range 2 {
		must(t, c.commitFlush(t.Context(), e.ID, 7, seg, run))
	}
	segments, err := c.findSegments(t.Context())
	must(t, err)
	runs, err := c.findEdges(t.Context())
	must(t, err)
	last, _, err := c.lastEpoch(t.Context())
	if len(segments) != 1 || len(runs) != 1 || last.Applied != 7 || err != nil {
		t.Errorf("%d segments, %d runs, applied through %d, %v; want each once, and 7", len(segments), len(runs), last.Applied, err)
	}
}

// TestCataloguePath opens folders whose names mean something in a URI.
func TestCataloguePath(t *testing.T) {
	for _, name := range []string{"a?b", "a#b", "a%20b", "a b"} {
		dir := filepath.Join(t.TempDir(), name)
		must(t, os.Mkdir(dir, 0o755))
		c, err := openCatalogue(t.Context(), dir)
		must(t, err)
		var mode string
		must(t, c.db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode))
		var sync int
		must(t, c.db.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&sync))
		if mode != "wal" || sync != 2 {
			t.Errorf("%s: journal %s, synchronous %d; want wal and 2 (FULL)", name, mode, sync)
		}
		must(t, c.close())
		if _, err := os.Stat(filepath.Join(dir, "catalogue.db")); err != nil {
			t.Errorf("catalogue of %q lies elsewhere: %v", name, err)
		}
	}
}
