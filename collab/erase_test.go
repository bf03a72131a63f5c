package collab

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestErasedBytesAreGone deletes a note and looks for its text in the files.
func TestErasedBytesAreGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "erase.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithActor(t.Context(), Actor{Kind: ActorToken, ID: "t_1", Name: "test", Role: RoleAdmin})
	inv, _, err := s.CreateInvestigation(ctx, InvestigationNew{Ref: "a", Title: "erase"})
	if err != nil {
		t.Fatal(err)
	}
	const secret = "the-quick-brown-password-of-somebody"
	b, _, err := s.CreateBlock(ctx, inv.ID, BlockNew{Ref: "b", Kind: "note", Text: secret})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlock(ctx, inv.ID, b.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // the last connection empties the WAL
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("files of the database: %v %v", files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%s still holds the text of the deleted note", filepath.Base(f))
		}
	}
}
