package tracestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mountSmall mounts a file system of its own, which takes root.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size="+size); err != nil {
		why := fmt.Sprintf("cannot mount a small file system (it needs root): %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return mount
}

// TestReadOnlyDisk makes the segments' folder read-only under a running store:
// reading goes on, flushes fail with the reason, and all is well when it can be
// written again. A store on a disk that is read-only as a whole does not open, and
// says why.
func TestReadOnlyDisk(t *testing.T) {
	mount := mountSmall(t, "64m")
	checkLeaks(t)
	h := &harness{t: t, dir: filepath.Join(mount, "data"), logDir: filepath.Join(mount, "log"), opts: Options{MinFreeBytes: 1}}
	h.open(nil)
	h.append(testSpans(0, 60))
	must(t, h.Flush(t.Context()))
	h.append(testSpans(60, 60))
	h.settle()
	// A file system with files open for writing (the log) cannot be made
	// read-only as a whole, a folder can that is bound onto itself.
	folder := filepath.Join(h.dir, segmentsDir)
	must(t, syscall.Mount(folder, folder, "", syscall.MS_BIND, ""))
	bound := true
	unbind := func() {
		if bound {
			bound = false
			must(t, syscall.Unmount(folder, syscall.MNT_DETACH))
		}
	}
	t.Cleanup(unbind)
	must(t, syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY|syscall.MS_BIND, ""))
	done := make(chan error, 1)
	s := h.Store
	go func() { done <- s.Flush(t.Context()) }()
	h.wait("failing", func() bool { return h.Stats().LastFlushError != "" })
	if why := h.Stats().LastFlushError; !strings.Contains(why, "read-only") {
		t.Errorf("why the flush fails: %q, want the reason", why)
	}
	h.want(testSpans(0, 120))
	h.append(testSpans(120, 30)) // the log takes it
	h.settle()
	if n := h.count(); n != 150 {
		t.Errorf("COUNT is %d, want 150", n)
	}
	unbind()
	must(t, <-done)
	h.reopen()
	h.wantRows(150)
	h.want(testSpans(0, 150))
	h.stop()

	must(t, syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_RDONLY|syscall.MS_BIND, ""))
	_, err := Open(t.Context(), Options{Dir: h.dir, Log: &lossyLog{}})
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("open on a read-only disk: %v, want the reason", err)
	}
	must(t, syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_BIND, ""))
	h.open(nil)
	h.want(testSpans(0, 150))
	h.stop()
}
