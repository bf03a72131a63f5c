package tracestore

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/segment"
)

// sums returns the hash of every file below dir.
func sums(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = sha256.Sum256(b)
		return err
	})
	must(t, err)
	return out
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	if at < 0 {
		at += int64(len(b))
	}
	b[at] ^= 0xff
	must(t, os.WriteFile(path, b, 0o644))
}

// TestCheckFolder damages a stopped store in every way there is and wants the
// check to name the file, and to change nothing.
func TestCheckFolder(t *testing.T) {
	h := start(t, Options{})
	for i := range 2 {
		h.append(testSpans(i*60, 60))
		must(t, h.Flush(t.Context()))
	}
	seg, run := h.current.segments[1].Path, h.current.runs[1].Path
	index := segment.IndexPath(seg)
	h.append(testSpans(120, 30))
	h.settle()
	h.crash() // 30 rows are in the log alone

	whole, wholeLog := t.TempDir(), t.TempDir()
	must(t, os.CopyFS(whole, os.DirFS(h.dir)))
	must(t, os.CopyFS(wholeLog, os.DirFS(h.logDir)))
	reset := func(t *testing.T) {
		must(t, os.RemoveAll(h.dir))
		must(t, os.RemoveAll(h.logDir))
		must(t, os.CopyFS(h.dir, os.DirFS(whole)))
		must(t, os.CopyFS(h.logDir, os.DirFS(wholeLog)))
	}
	in := func(path string) string { return filepath.Join(h.dir, path) }
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T)
		want   []string // "part path" of each fault
	}{
		{"nothing", func(*testing.T) {}, nil},
		{"segment gone", func(t *testing.T) { must(t, os.Remove(in(seg))) }, []string{"segments " + seg}},
		{"segment cut short", func(t *testing.T) { must(t, os.Truncate(in(seg), 2000)) }, []string{"segments " + seg}},
		{"segment empty", func(t *testing.T) { must(t, os.Truncate(in(seg), 0)) }, []string{"segments " + seg}},
		{"bit flipped in rows", func(t *testing.T) { flip(t, in(seg), 2000) }, []string{"segments " + seg}},
		{"bit flipped at the end", func(t *testing.T) { flip(t, in(seg), -6) }, []string{"segments " + seg}},
		{"sidecar gone", func(t *testing.T) { must(t, os.Remove(in(index))) }, []string{"sidecars " + index}},
		{"sidecar cut short", func(t *testing.T) { must(t, os.Truncate(in(index), 40)) }, []string{"sidecars " + index}},
		{"bit flipped in the sidecar", func(t *testing.T) { flip(t, in(index), 60) }, []string{"sidecars " + index}},
		{"edges gone", func(t *testing.T) { must(t, os.Remove(in(run))) }, []string{"edges " + run}},
		{"edges cut short", func(t *testing.T) { must(t, os.Truncate(in(run), 50)) }, []string{"edges " + run}},
		{"bit flipped in edges", func(t *testing.T) { flip(t, in(run), 20) }, []string{"edges " + run}},
		{"catalogue gone", func(t *testing.T) { must(t, os.Remove(in(catalogueName))) }, []string{"catalogue " + catalogueName}},
		{"log gone", func(t *testing.T) { must(t, os.RemoveAll(h.logDir)) }, []string{"ingest log jetstream"}},
		{"two things", func(t *testing.T) { must(t, errors.Join(os.Remove(in(seg)), os.Remove(in(run)))) }, []string{"segments " + seg, "edges " + run}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reset(t)
			tt.damage(t)
			before := sums(t, h.dir)
			r := h.checkFolder(CheckOptions{})
			var got []string
			for _, f := range r.Faults {
				got = append(got, f.Part+" "+f.Path)
				if f.Message == "" || strings.Contains(f.Message, h.dir) {
					t.Errorf("fault %+v: want a message without the whole path", f)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s%v", diff, r.Err())
			}
			faults := 0
			for _, p := range r.Parts {
				faults += p.Faults
			}
			if faults != len(r.Faults) {
				t.Errorf("%d faults by part, %d in all", faults, len(r.Faults))
			}
			after := sums(t, h.dir)
			for _, m := range []map[string][32]byte{before, after} {
				delete(m, "LOCK")
				for _, s := range []string{"", "-wal", "-shm"} { // opening it may empty its WAL
					delete(m, catalogueName+s)
				}
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the check has changed files (-before +after):\n%s", diff)
			}
		})
	}
	reset(t)
	r := h.checkFolder(CheckOptions{})
	want := []Part{
		{Name: "catalogue", Files: 1, Items: 4, Unit: "files"}, {Name: "segments", Files: 2, Items: 120, Unit: "rows"}, {Name: "sidecars", Files: 2},
		{Name: "edges", Files: 2, Items: 40, Unit: "edges"}, {Name: "quarantine"}, {Name: "ingest log", Items: 1, Unit: "messages"},
	}
	got := append([]Part{}, r.Parts...)
	for i := range got {
		if got[i].SizeBytes == 0 && got[i].Name != "quarantine" {
			t.Errorf("%s takes no bytes", got[i].Name)
		}
		got[i].SizeBytes = 0
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "30 rows in the ingest log") {
		t.Errorf("notes %q; want the 30 rows that are in no segment", notes)
	}
	h.open(nil)
	h.want(testSpans(0, 150))
}

// TestCheckRebuildsIndex makes sidecars anew, byte for byte, and only when asked.
func TestCheckRebuildsIndex(t *testing.T) {
	h := start(t, Options{})
	h.append(testSpans(0, 60))
	must(t, h.Flush(t.Context()))
	h.append(testSpans(60, 60))
	must(t, h.Flush(t.Context()))
	index := filepath.Join(h.dir, segment.IndexPath(h.current.segments[0].Path))
	other := filepath.Join(h.dir, segment.IndexPath(h.current.segments[1].Path))
	h.stop()
	want, err := os.ReadFile(index)
	must(t, err)
	foreign, err := os.ReadFile(other) // whole, as many rows, of another segment
	must(t, err)
	for name, damage := range map[string]func() error{
		"gone":    func() error { return os.Remove(index) },
		"short":   func() error { return os.WriteFile(index, want[:20], 0o644) },
		"foreign": func() error { return os.WriteFile(index, foreign, 0o644) },
	} {
		must(t, damage())
		if r := h.checkFolder(CheckOptions{}); len(r.Faults) != 1 || r.Faults[0].Part != "sidecars" || !strings.Contains(r.Faults[0].Message, "--rebuild-index") {
			t.Errorf("%s: faults %+v; want the sidecar, with what to do", name, r.Faults)
		}
		r := h.checkFolder(CheckOptions{RebuildIndex: true})
		if len(r.Faults) != 0 || len(r.Notes) != 1 {
			t.Errorf("%s, made anew: %+v; want one note and no fault", name, r)
		}
		for _, p := range r.Parts {
			if size := int64(len(want) + len(foreign)); p.Name == "sidecars" && p.SizeBytes != size {
				t.Errorf("%s, made anew: the sidecars have %d bytes, it says %d", name, size, p.SizeBytes)
			}
		}
		if got, err := os.ReadFile(index); err != nil || string(got) != string(want) {
			t.Errorf("%s: the sidecar made anew differs, %v", name, err)
		}
		if r := h.checkFolder(CheckOptions{}); len(r.Faults) != 0 || len(r.Notes) != 0 {
			t.Errorf("%s: after that: %+v", name, r)
		}
	}
}

// TestCheckForeignRows: where rows are read otherwise than they were written it is the
// segment that is at fault, and its sidecar is not made anew.
func TestCheckForeignRows(t *testing.T) {
	h := start(t, Options{})
	h.append(testSpans(0, 60))
	must(t, h.Flush(t.Context()))
	h.append(testSpans(60, 60))
	must(t, h.Flush(t.Context()))
	path, other := h.current.segments[0].Path, h.current.segments[1].Path
	h.stop()
	h.broken = true
	index, err := os.ReadFile(filepath.Join(h.dir, segment.IndexPath(path)))
	must(t, err)
	foreign, err := os.ReadFile(filepath.Join(h.dir, other)) // whole, as many rows, others
	must(t, err)
	must(t, os.WriteFile(filepath.Join(h.dir, path), foreign, 0o644))
	for _, rebuild := range []bool{false, true} {
		if r := h.checkFolder(CheckOptions{RebuildIndex: rebuild}); len(r.Faults) != 1 || r.Faults[0].Path != path || len(r.Notes) != 0 {
			t.Errorf("rebuilding %t: faults %+v, notes %q; want one, of %s", rebuild, r.Faults, r.Notes, path)
		}
	}
	if got, err := os.ReadFile(filepath.Join(h.dir, segment.IndexPath(path))); err != nil || string(got) != string(index) {
		t.Errorf("the sidecar was changed, %v", err)
	}
}

// TestCheckFolderInUse refuses a folder that a store has open.
func TestCheckFolderInUse(t *testing.T) {
	h := start(t, Options{})
	if _, err := CheckFolder(t.Context(), h.dir, nil, CheckOptions{}); !errors.Is(err, ErrLocked) {
		t.Errorf("check of an open store: %v, want ErrLocked", err)
	}
}

// TestCheckNotesStrayFiles tells of files that the next start will move or
// delete.
func TestCheckNotesStrayFiles(t *testing.T) {
	h := start(t, Options{})
	h.append(testSpans(0, 30))
	h.stop()
	must(t, os.WriteFile(filepath.Join(h.dir, edgesDir, "stray.edges"), []byte("x"), 0o644))
	must(t, os.WriteFile(filepath.Join(h.dir, edgesDir, "half.edges.tmp"), []byte("x"), 0o644))
	r := h.checkFolder(CheckOptions{})
	if notes := strings.Join(r.Notes, "\n"); len(r.Faults) != 0 || len(r.Notes) != 2 || !strings.Contains(notes, "stray.edges is not in the catalogue") || !strings.Contains(notes, "half.edges.tmp was not finished") {
		t.Errorf("faults %v, notes %q", r.Faults, notes)
	}
	h.open(nil)
	h.stop()
	r = h.checkFolder(CheckOptions{})
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "quarantine") {
		t.Errorf("after a start: notes %q, want the file in quarantine", r.Notes)
	}
}

// TestCheckTakesBack puts a segment and a run of edges back that were set aside:
// they answer again when a check has read them, and not before.
func TestCheckTakesBack(t *testing.T) {
	h := start(t, Options{})
	for i := range 2 {
		h.append(testSpans(i*60, 60))
		must(t, h.Flush(t.Context()))
	}
	seg, run := filepath.Join(h.dir, h.current.segments[0].Path), filepath.Join(h.dir, h.current.runs[0].Path)
	h.stop()
	h.broken = true
	saved := t.TempDir()
	for _, p := range []string{seg, run} {
		must(t, copyFile(p, filepath.Join(saved, filepath.Base(p))))
		must(t, os.Truncate(p, 60))
	}
	h.open(nil)
	if err := h.check(); err == nil {
		t.Fatal("no fault")
	}
	h.stop()
	if r := h.checkFolder(CheckOptions{TakeBack: true}); len(r.Faults) != 2 {
		t.Errorf("still damaged: %+v", r)
	}
	for _, p := range []string{seg, run} {
		must(t, copyFile(filepath.Join(saved, filepath.Base(p)), p))
	}
	if r := h.checkFolder(CheckOptions{}); len(r.Faults) != 2 || !strings.Contains(r.Faults[0].Message, "set aside") {
		t.Errorf("put back and not asked for: %+v", r)
	}
	if r := h.checkFolder(CheckOptions{TakeBack: true}); len(r.Faults) != 0 || len(r.Notes) != 2 {
		t.Errorf("put back: %+v; want 2 notes", r)
	}
	h.broken = false
	h.open(nil)
	h.wantRows(120)
	h.want(testSpans(0, 120))
}
