package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestDiskFull fills a small file system: ingest answers 503 with the reason,
// reading goes on, and ingest resumes by itself when there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("redthread-test", dir, "tmpfs", 0, "size=640m"); err != nil {
		why := fmt.Sprintf("cannot mount a small file system (it needs root): %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	p := start(t, filepath.Join(dir, "data"), "--min-free-disk", "0")
	r := rand.New(rand.NewPCG(rand.Uint64(), 4))
	id := newID(r)
	if got, text := send(t, p.otlpHTTP+"/v1/traces", spansIn(id, 3, "default")); got != 200 {
		t.Fatalf("with room: %d %s", got, text)
	}
	p.wantSpans(t, id, 3)

	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 250<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "refused for the full disk", func() error {
		got, text := send(t, p.otlpHTTP+"/v1/traces", spansIn(newID(r), 1, "default"))
		if got != 503 || !strings.Contains(text, "disk") {
			return fmt.Errorf("%d %s", got, text)
		}
		return nil
	})
	refused := newID(r)
	if err := exportGRPC(t, p.otlpGRPC, spansIn(refused, 1, "default")); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) == 0 {
		t.Errorf("over gRPC: %v, want ResourceExhausted and when to come again", err)
	}
	if got := p.spanCount(refused); got != 0 {
		t.Errorf("%d spans of a refused request are stored", got)
	}
	if got := p.spanCount(id); got != 3 {
		t.Errorf("reading on a full disk: %d spans, want 3", got)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	id = newID(r)
	eventually(t, patience, "taken again", func() error {
		if got, text := send(t, p.otlpHTTP+"/v1/traces", spansIn(id, 2, "default")); got != 200 {
			return fmt.Errorf("%d %s", got, text)
		}
		return nil
	})
	p.wantSpans(t, id, 2)
	p.stop()
}
