package collab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestBackup copies the database while somebody writes: the copy is whole, its
// logs have no hole and other identities, and no other user may read it.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Path: filepath.Join(dir, "redthread.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := WithActor(t.Context(), Actor{Kind: ActorToken, ID: "t_1", Name: "test", Role: RoleAdmin})
	inv, _, err := s.CreateInvestigation(ctx, InvestigationNew{Ref: "a", Title: "moving"})
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, _, err := s.CreateBlock(ctx, inv.ID, BlockNew{Ref: fmt.Sprint(n), Kind: "note", Text: "note"}); err != nil {
				done <- err
				return
			}
		}
	}()
	path := filepath.Join(dir, "copy.db")
	for range 3 {
		before, err := s.LogPosition(ctx, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Backup(ctx, path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the copy: %v, %v; want permissions 0600", info.Mode(), err)
		}
		c, err := Open(t.Context(), Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Check(ctx), c.CheckLogs(ctx), c.CheckEvidence(ctx)); err != nil {
			t.Error(err)
		}
		at, err := c.LogPosition(ctx, inv.ID)
		if err != nil || at.Offset < before.Offset || at.Epoch == before.Epoch {
			t.Errorf("log of the copy %+v, %v; want at least offset %d and another epoch than %s", at, err, before.Offset, before.Epoch)
		}
		if n, err := c.Contents(ctx); err != nil || n.Investigations != 1 || n.Changes != at.Offset {
			t.Errorf("contents %+v, %v; want 1 investigation with %d changes", n, err, at.Offset)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 1 {
		t.Errorf("files of the copy: %v, %v; want one", files, err)
	}
	if err := s.Backup(ctx, filepath.Join(dir, "missing", "copy.db")); err == nil {
		t.Error("backup into a folder that is not there: no error")
	}
}
