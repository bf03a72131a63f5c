package tracestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"redthread/tracestore/ingestlog/logtest"
)

// openCopy opens a backup as a store of its own.
func openCopy(t *testing.T, dir string) *harness {
	t.Helper()
	report, err := CheckFolder(t.Context(), dir, nil, CheckOptions{})
	if err = errors.Join(err, report.Err()); err != nil {
		t.Fatalf("check of the backup: %v", err)
	}
	h := &harness{t: t, dir: dir, logDir: t.TempDir(), opts: Options{MinFreeBytes: 1}}
	h.open(nil)
	return h
}

// TestBackup copies a running store with rows in segments, in memtables and in
// the log only. The copy has them all once, also when the store is gone, and
// goes its own way.
func TestBackup(t *testing.T) {
	h := start(t, Options{})
	h.append(testSpans(0, 60))
	must(t, h.Flush(t.Context()))
	h.append(testSpans(60, 60)) // applied or not: it is acknowledged
	dir := t.TempDir()
	info, err := h.Backup(t.Context(), dir)
	must(t, err)
	if info.Segments != 2 || info.Rows != 120 || info.EdgeRuns != 2 || info.Links != 40 || info.Linked+info.Copied != 6 || info.Bytes == 0 {
		t.Errorf("backup %+v; want 2 segments with 120 rows, 2 runs with 40 links, 6 files", info)
	}
	h.append(testSpans(120, 30))
	h.settle()
	h.wantRows(150)
	h.stop()
	must(t, os.RemoveAll(h.dir))
	h.dir, h.logDir = t.TempDir(), t.TempDir()

	c := openCopy(t, dir)
	c.wantRows(120)
	c.want(testSpans(0, 120))
	c.append(testSpans(30, 30)) // known in the copy as well
	c.append(testSpans(120, 60))
	c.settle()
	c.wantRows(180)
	c.reopen()
	c.wantRows(180)
	c.want(testSpans(0, 180))
}

// TestBackupOfMoving takes backups while rows come in, segments are written and
// runs of edges are merged away. Each has every row acknowledged before it.
func TestBackupOfMoving(t *testing.T) {
	h := start(t, Options{FlushRows: 90})
	var acked atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil && n < 3000; n += 30 {
			h.append(testSpans(n, 30))
			acked.Store(int64(n + 30))
			if n%300 == 0 {
				_ = h.Maintain(ctx) // the end of the test may cut it short
			}
		}
	}()
	for range 4 {
		before := int(acked.Load())
		dir := t.TempDir()
		info, err := h.Backup(t.Context(), dir)
		must(t, err)
		c := openCopy(t, dir)
		if int(info.Rows) < before {
			t.Errorf("%d rows in the backup, %d were acknowledged before it", info.Rows, before)
		}
		c.wantRows(int(info.Rows))
		c.want(testSpans(0, before))
		c.stop()
	}
	cancel()
	<-done
}

// TestBackupResumes fails a backup at each of its files. The next one into the
// same folder goes on from there, and leaves nothing that is no more.
func TestBackupResumes(t *testing.T) {
	h := start(t, Options{})
	h.append(testSpans(0, 60))
	h.stop()
	var left atomic.Int64
	h.open(func(step string) error {
		if step == "backup.file" && left.Add(-1) == -1 {
			return errCrash
		}
		return nil
	})
	dir := t.TempDir()
	stale := filepath.Join(dir, segmentsDir, "2020-01-01", "old.parquet")
	must(t, os.MkdirAll(filepath.Dir(stale), 0o755))
	must(t, os.WriteFile(stale, []byte("of a backup before"), 0o644))
	h.append(testSpans(60, 60))
	for n := range 6 {
		left.Store(int64(n))
		if _, err := h.Backup(t.Context(), dir); !errors.Is(err, errCrash) {
			t.Fatalf("the backup that fails at file %d: %v", n, err)
		}
	}
	left.Store(1000)
	info, err := h.Backup(t.Context(), dir)
	must(t, err)
	if info.Kept != 5 || info.Linked+info.Copied != 1 {
		t.Errorf("backup %+v; want 5 files kept of the tries before, 1 new", info)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("a file of no segment is still there: %v", err)
	}
	c := openCopy(t, dir)
	c.wantRows(120)
	c.want(testSpans(0, 120))
}

// TestBackupLeavesOutCorrupt: what cannot be read is named and not in the copy,
// which has all the rest.
func TestBackupLeavesOutCorrupt(t *testing.T) {
	h := start(t, Options{})
	for i := range 3 {
		h.append(testSpans(i*30, 30))
		must(t, h.Flush(t.Context()))
	}
	path := h.current.segments[1].Path
	h.stop()
	h.broken = true
	must(t, os.Truncate(filepath.Join(h.dir, path), 100))
	h.open(nil)
	if err := h.check(); err == nil {
		t.Fatal("a segment cut short is not noticed")
	}
	dir := t.TempDir()
	info, err := h.Backup(t.Context(), dir)
	must(t, err)
	if len(info.LeftOut) != 1 || info.LeftOut[0] != path || info.Rows != 60 {
		t.Errorf("backup %+v; want %s left out", info, path)
	}
	c := openCopy(t, dir)
	c.wantRows(60)
	c.want(testSpans(0, 30))
	c.want(testSpans(60, 30))
}

// TestBackupOfFullDisk: rows that cannot be flushed are not in segments, so there
// is no backup of them, and the caller is told why.
func TestBackupOfFullDisk(t *testing.T) {
	h := start(t, Options{})
	h.stop()
	var full atomic.Bool
	full.Store(true)
	h.open(func(step string) error {
		if full.Load() && step == "write.parquet" {
			return errors.New("no space left on device")
		}
		return nil
	})
	h.append(testSpans(0, 30))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if _, err := h.Backup(ctx, t.TempDir()); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("backup while nothing can be flushed: %v", err)
	}
	full.Store(false)
	dir := t.TempDir()
	_, err := h.Backup(ctx, dir)
	must(t, err)
	openCopy(t, dir).want(testSpans(0, 30))
}

func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	must(t, os.WriteFile(from, []byte("the bytes"), 0o644))
	must(t, copyFile(from, to))
	if got, err := os.ReadFile(to); err != nil || string(got) != "the bytes" {
		t.Errorf("copied %q, %v", got, err)
	}
	if err := copyFile(filepath.Join(dir, "missing"), to+"2"); !os.IsNotExist(err) {
		t.Errorf("copy of a missing file: %v", err)
	}
	if err := copyFile(from, filepath.Join(dir, "no folder", "to")); err == nil {
		t.Error("copy into no folder: no error")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("files %v, %v; want from and to", files, err)
	}
}

// checkFolder checks the stopped store with its log.
func (h *harness) checkFolder(o CheckOptions) Report {
	h.t.Helper()
	log, stop := logtest.Start(h.t, h.logDir)
	defer stop()
	report, err := CheckFolder(h.t.Context(), h.dir, log, o)
	must(h.t, err)
	return report
}
