package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// say runs a command of the binary and returns its exit code and all it said.
func say(t testing.TB, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("redthread %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// wantSay runs a command that has to end with a code and say some words.
func wantSay(t testing.TB, code int, words []string, args ...string) {
	t.Helper()
	got, out := say(t, args...)
	missing := ""
	for _, w := range words {
		if !strings.Contains(out, w) {
			missing += fmt.Sprintf("\n%q is missing", w)
		}
	}
	if got != code || missing != "" {
		t.Errorf("redthread %s: code %d, want %d; said\n%s%s", strings.Join(args, " "), got, code, out, missing)
	}
}

// TestBackupAndRestore copies a folder with its server running and stopped, and
// starts a server on each copy: every span is there, and what people wrote.
func TestBackupAndRestore(t *testing.T) {
	dir, copies := t.TempDir(), t.TempDir()
	r := rand.New(rand.NewPCG(5, 5))
	p := start(t, dir)
	var sent []sentTrace
	spans := 0
	for range 3 {
		body, traces := batchOf(r, 50)
		if !post(p.otlpHTTP+"/v1/traces", body) {
			t.Fatal("a batch was refused")
		}
		sent = append(sent, traces...)
	}
	for _, s := range sent {
		spans += s.spans
	}
	var inv struct{ ID, Epoch string }
	if status := p.api(http.MethodPost, "/api/v1/investigations", map[string]string{"ref": "a", "title": "Slow quotes"}, &inv); status != 201 {
		t.Fatalf("make an investigation: %d", status)
	}
	rows := fmt.Sprintf("%d rows and 1 investigations", spans)

	running := filepath.Join(copies, "running")
	wantSay(t, 0, []string{rows, "Everything is well."}, "backup", "--data", dir, running)
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)
	wantSay(t, 0, []string{"Everything is well.", fmt.Sprintf("%d rows", spans)}, "check", "--data", running)
	wantSay(t, 1, []string{"not empty"}, "backup", "--data", dir, running)
	wantSay(t, 1, []string{"inside the data folder"}, "backup", "--data", dir, filepath.Join(dir, "copy"))
	wantSay(t, 1, []string{"no folder"}, "backup", "--data", dir, filepath.Join(copies, "a", "b"))
	member := strings.TrimSpace(run(t, "token", "create", "--data", dir, "--name", "m", "--role", "member"))
	wantSay(t, 1, []string{"role"}, "backup", "--url", p.url, "--token", member, filepath.Join(copies, "refused"))
	p.stop()
	stopped := filepath.Join(copies, "stopped")
	wantSay(t, 0, []string{rows, "Everything is well."}, "backup", "--data", dir, "--to", stopped)
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)

	// What happens to the original is nothing to the copies.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{running, stopped} {
		c := start(t, dir)
		for _, s := range sent {
			if got := c.spanCount(s.id); got != s.spans {
				t.Errorf("%s: trace %s has %d spans, want %d", filepath.Base(dir), s.id, got, s.spans)
			}
		}
		var again struct{ ID, Epoch, Title string }
		if status := c.api(http.MethodGet, "/api/v1/investigations/"+inv.ID, nil, &again); status != 200 || again.Title != "Slow quotes" || again.Epoch == inv.Epoch {
			t.Errorf("%s: investigation %+v (%d); want the title, and another epoch than %s", filepath.Base(dir), again, status, inv.Epoch)
		}
		body, more := batchOf(r, 5)
		if !post(c.otlpHTTP+"/v1/traces", body) {
			t.Fatal("a batch was refused by the copy")
		}
		for _, s := range more {
			eventually(t, patience, "trace "+s.id.String(), func() error {
				if got := c.spanCount(s.id); got != s.spans {
					return fmt.Errorf("%d spans, want %d", got, s.spans)
				}
				return nil
			})
		}
		c.stop()
		wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)
	}
}

// TestKillDuringBackup kills the server in the middle of backups. The copy never
// has its name before it is whole, and the next try makes it.
func TestKillDuringBackup(t *testing.T) {
	dir, copies := t.TempDir(), t.TempDir()
	r := rand.New(rand.NewPCG(rand.Uint64(), 6))
	var sent []sentTrace
	for i := range min(kills(), 20) {
		p := start(t, dir)
		body, traces := batchOf(r, 200)
		if !post(p.otlpHTTP+"/v1/traces", body) {
			t.Fatal("a batch was refused")
		}
		sent = append(sent, traces...)
		ctx, cancel := context.WithCancel(context.Background())
		copied := filepath.Join(copies, fmt.Sprint(i))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = exec.CommandContext(ctx, program, "backup", "--data", dir, copied).Run() // it may be cut off
		}()
		<-time.After(time.Duration(r.IntN(150)) * time.Millisecond)
		p.kill()
		<-done
		cancel()
		if _, err := os.Stat(copied); err == nil {
			wantSay(t, 0, []string{"Everything is well."}, "check", "--data", copied)
			continue
		}
		wantSay(t, 0, []string{"Everything is well."}, "backup", "--data", dir, copied)
		c := start(t, copied)
		for _, s := range sent {
			if got := c.spanCount(s.id); got != s.spans {
				t.Errorf("copy %d: trace %s has %d spans, want %d", i, s.id, got, s.spans)
			}
		}
		c.stop()
	}
}

// TestCheckCommand names each fault and ends with 1.
func TestCheckCommand(t *testing.T) {
	dir := t.TempDir()
	wantSay(t, 1, []string{"not a folder of redthread"}, "check", "--data", dir)
	wantSay(t, 1, []string{"no such file"}, "check", "--data", filepath.Join(dir, "missing"))
	p := start(t, dir)
	body, _ := batchOf(rand.New(rand.NewPCG(8, 8)), 50)
	if !post(p.otlpHTTP+"/v1/traces", body) {
		t.Fatal("a batch was refused")
	}
	p.stop()
	wantSay(t, 0, []string{"PART", "segments", "database", "ingest log", "Everything is well."}, "check", "--data", dir)
	segments, err := filepath.Glob(filepath.Join(dir, "segments", "*", "*.parquet"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	index := strings.TrimSuffix(segments[0], ".parquet") + ".idx"
	if err := os.Remove(index); err != nil {
		t.Fatal(err)
	}
	wantSay(t, 1, []string{"fault: segments/", "--rebuild-index"}, "check", "--data", dir)
	wantSay(t, 0, []string{"was made anew"}, "check", "--data", dir, "--rebuild-index")
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)
	if err := os.Truncate(segments[0], 1000); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	wantSay(t, 1, []string{"fault: segments/", "fault: jetstream"}, "check", "--data", dir)
	p = start(t, dir)
	wantSay(t, 1, []string{"fault: segments/"}, "check", "--data", dir)
	if status := p.api(http.MethodPost, "/api/v1/backup", map[string]string{"to": "relative"}, nil); status != 400 {
		t.Errorf("backup to a relative path: %d, want 400", status)
	}
	wantSay(t, 1, []string{"stop it first"}, "check", "--data", dir, "--take-back")
	left := filepath.Join(t.TempDir(), "left")
	wantSay(t, 1, []string{"left out: segments/", "files left out: 1"}, "backup", "--data", dir, left)
	p.stop()
}
