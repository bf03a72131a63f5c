package collab

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testClock is a clock that the test moves.
type testClock struct {
	mu sync.Mutex
	t  time.Time
}

func newTestClock() *testClock {
	return &testClock{t: time.Date(2026, 11, 22, 14, 3, 11, 0, time.UTC)}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *testClock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// openPeople opens a store in a fresh folder and checks the whole database
// when the test ends.
func openPeople(t *testing.T) (*Store, *testClock) {
	t.Helper()
	clock := newTestClock()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "data", "redthread.db"), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Check(context.Background()); err != nil {
			t.Errorf("database after the test: %v", err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Errorf("close twice: %v", err)
		}
	})
	return s, clock
}

func TestSchemaGolden(t *testing.T) {
	s, _ := openPeople(t)
	rows, err := s.read.Query(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY tbl_name, type DESC, name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		b.WriteString(text + ";\n\n")
	}
	golden := filepath.Join("testdata", "schema.sql")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("schema after all migrations (go test -run SchemaGolden -update rewrites it) (-want +got):\n%s", diff)
	}
}

func TestOpenTwiceKeepsData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space?#%.db")
	for i, want := range []string{"", "https://redthread.example"} {
		s, err := Open(t.Context(), Options{Path: path})
		if err != nil {
			t.Fatalf("open %d: %v", i, err)
		}
		got, err := s.Setting(t.Context(), SettingPublicURL)
		if want == "" && !errors.Is(err, ErrNotFound) {
			t.Errorf("setting in a new database: got %q, %v, want ErrNotFound", got, err)
		}
		if want != "" && (err != nil || got != want) {
			t.Errorf("setting after reopening: got %q, %v, want %q", got, err, want)
		}
		if err := s.SetSetting(t.Context(), SettingPublicURL, "https://redthread.example"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file has another name: %v", err)
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the database: got %v, want 0600", info.Mode().Perm())
	}
}

func TestOpenAtTheSameTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redthread.db")
	errs := make(chan error, 6)
	for range cap(errs) {
		go func() {
			s, err := Open(context.Background(), Options{Path: path})
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Errorf("open while others open: %v", err)
		}
	}
}

func TestConnectionSettings(t *testing.T) {
	s, _ := openPeople(t)
	for name, want := range map[string]string{"foreign_keys": "1", "journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000"} {
		var got string
		if err := s.write.QueryRow("PRAGMA " + name).Scan(&got); err != nil || got != want {
			t.Errorf("writer %s: got %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := s.read.Exec(`DELETE FROM users`); err == nil {
		t.Error("the read pool can write")
	}
}

func TestMigrate(t *testing.T) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "m.db")+writerDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	one := &fstest.MapFile{Data: []byte(`CREATE TABLE a (x INTEGER) STRICT;`)}
	two := &fstest.MapFile{Data: []byte(`ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES (1, 2);`)}
	broken := &fstest.MapFile{Data: []byte(`INSERT INTO a VALUES (3, 4); SELECT nonsense;`)}
	steps := []struct {
		name  string
		files fstest.MapFS
		want  string // in the error
	}{
		{"first", fstest.MapFS{"0001_a.sql": one}, ""},
		{"second", fstest.MapFS{"0001_a.sql": one, "0002_b.sql": two}, ""},
		{"again", fstest.MapFS{"0001_a.sql": one, "0002_b.sql": two}, ""},
		{"broken", fstest.MapFS{"0001_a.sql": one, "0002_b.sql": two, "0003_c.sql": broken}, "0003_c.sql"},
		{"older binary", fstest.MapFS{"0001_a.sql": one}, "version 2, this binary knows up to 1"},
		{"hole", fstest.MapFS{"0001_a.sql": one, "0003_c.sql": two}, "want number 0002"},
	}
	for _, step := range steps {
		err := migrate(t.Context(), db, step.files, time.Now)
		if step.want == "" && err != nil || step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("%s: got error %v, want %q in it", step.name, err, step.want)
		}
	}
	var rows int
	if err := db.QueryRow(`SELECT COUNT(*) FROM a`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("rows: got %d, %v, want 1: a broken migration leaves nothing, a done one is not repeated", rows, err)
	}
}
