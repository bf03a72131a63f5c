package collab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// everywhere returns the columns of all tables that hold a text.
func everywhere(t *testing.T, s *Store, text string) []string {
	t.Helper()
	var found []string
	rows, err := s.read.Query(`SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
	var columns [][2]string
	for rows.Next() {
		var c [2]string
		if err := rows.Scan(&c[0], &c[1]); err != nil {
			t.Fatal(err)
		}
		columns = append(columns, c)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(columns) < 100 {
		t.Fatalf("%d columns, %v", len(columns), err)
	}
	for _, c := range columns {
		var n int
		err := s.read.QueryRow(`SELECT COUNT(*) FROM `+c[0]+` WHERE instr(CAST("`+c[1]+`" AS TEXT), ?) > 0`, text).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			found = append(found, c[0]+"."+c[1])
		}
	}
	return found
}

func filesWith(t *testing.T, glob, text string) (found []string) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("files %s: %v %v", glob, files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(text)) {
			found = append(found, filepath.Base(f))
		}
	}
	return found
}

// secretPin is evidence of a span with the value in many places.
func secretPin(value string) string {
	return fmt.Sprintf(`{"v":2,"kind":"span","trace_id":%q,"span":{"span_id":%q,"name":"GET /users/%s","service":"web","attributes":{"user.email":%q,"list":["a",%q],"note":"mail of %s bounced","size":4711},
		"events":[{"name":"e","attributes":{"to":%q}}]}}`, traceA, spanA, value, value, value, value, value)
}

func TestRedactPin(t *testing.T) {
	s, who, src := openBoards(t)
	var path string
	if err := s.read.QueryRow(`SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
		t.Fatal(err)
	}
	const secret = "ana.secret@example.com"
	src.body = secretPin(secret)
	inv := mustOpen(t, s, who.ana, "x")
	pin := mustBlock(t, s, who.ana, inv.ID, BlockNew{Ref: "p", Kind: KindSpan, TraceID: traceA, SpanID: spanA, Title: "Mail to " + secret, Text: "@Bo look: " + secret})
	other := mustBlock(t, s, who.ana, inv.ID, BlockNew{Ref: "q", Kind: KindQuery, Query: json.RawMessage(`{"filters":[{"column":"user.email","op":"=","value":"` + secret + `"}]}`)})
	both := mustBlock(t, s, who.ana, inv.ID, BlockNew{Ref: "c", Kind: KindComparison, Sides: []Side{{PinID: pin.ID}, {PinID: other.ID}}})
	note, _, err := s.CreateAnnotation(who.bo, AnnotationNew{Ref: "a", Anchor: Anchor{InvestigationID: inv.ID, PinID: pin.ID}, Text: "@Ana is " + secret + " yours?"})
	if err != nil {
		t.Fatal(err)
	}
	edited := "@Ana is it " + secret + "?"
	if _, err := s.UpdateAnnotation(who.bo, note.ID, AnnotationUpdate{Seen: &note.Offset, Text: &edited}); err != nil {
		t.Fatal(err)
	}
	old := pin.Evidence.SHA256
	for name, tt := range map[string]struct {
		ctx   context.Context
		block BlockID
		value string
	}{
		"too short": {who.ana, pin.ID, "an"}, "not there": {who.ana, pin.ID, "somebody@else.example"}, "part of an id": {who.ana, pin.ID, traceA},
		"a name": {who.ana, pin.ID, "user.email"}, "of a comparison": {who.ana, both.ID, secret}, "the mark": {who.ana, pin.ID, "redact"},
	} {
		if _, err := s.RedactPin(tt.ctx, inv.ID, tt.block, RedactNew{Value: tt.value}); !errors.As(err, new(*InvalidError)) {
			t.Errorf("%s: %v, want a sentence", name, err)
		}
	}
	if _, err := s.RedactPin(who.bo, inv.ID, pin.ID, RedactNew{Value: secret}); !errors.Is(err, ErrForbidden) {
		t.Errorf("by a member: %v", err)
	}
	if now, err := s.BlockByID(who.ana, inv.ID, pin.ID); err != nil || now.Evidence.SHA256 != old || len(now.Evidence.Redactions) != 0 {
		t.Fatalf("a redaction that was refused changed the pin: %+v %v", now, err)
	}

	// The query has the value for itself: its evidence is the same body here.
	if _, err := s.RedactPin(who.ana, inv.ID, other.ID, RedactNew{Value: secret}); err != nil {
		t.Fatal(err)
	}
	b, err := s.RedactPin(who.ana, inv.ID, pin.ID, RedactNew{Ref: "r", Value: " " + secret + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	if found := everywhere(t, s, secret); len(found) > 0 {
		t.Errorf("the value is still in %v", found)
	}
	if found := everywhere(t, s, old); len(found) > 0 {
		t.Errorf("the hash of the copy that had it is still in %v: by it the value can be tried", found)
	}
	if b.Title != "Mail to "+RedactedText || b.Text != "@Bo look: "+RedactedText || b.Evidence.SHA256 == old || len(b.Evidence.Redactions) != 1 ||
		b.Evidence.Redactions[0].ByName != "Ana Lima" || b.Evidence.Redactions[0].Places != 5 {
		t.Errorf("the pin is %+v, %+v", b, b.Evidence)
	}
	e, err := s.EvidenceByBlock(who.vi, inv.ID, pin.ID)
	if err != nil || !strings.Contains(string(e.Body), `"note":"mail of [redacted] bounced","size":4711`) || !strings.Contains(string(e.Body), traceA) {
		t.Errorf("the copy is %s, %v", e.Body, err)
	}
	if c, err := s.BlockByID(who.vi, inv.ID, both.ID); err != nil || c.Sides[0].SHA256 != b.Evidence.SHA256 || len(c.Evidence.Redactions) == 0 {
		t.Errorf("the comparison is %+v, %v", c, err)
	}
	if err := errors.Join(s.CheckEvidence(t.Context()), s.CheckLogs(t.Context()), s.Check(t.Context())); err != nil {
		t.Error(err)
	}
	if then, err := s.BoardAt(who.vi, inv.ID, pin.Offset); err != nil || then.Blocks[0].Title != "Mail to "+RedactedText {
		t.Errorf("the board as it was: %+v %v", then, err)
	}
	log, err := s.FindAudit(t.Context(), 0, 1)
	if err != nil || log[0].Action != "pin.redacted" || log[0].Subject != string(pin.ID) {
		t.Errorf("audit log: %+v %v", log, err)
	}
	if found := filesWith(t, path+"*", secret); len(found) > 0 {
		t.Errorf("files that still hold the value while the database is open: %v", found)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if found := filesWith(t, copied+"*", secret); len(found) > 0 {
		t.Errorf("the backup holds the value: %v", found)
	}
	// A number is taken out where a sender chose it, and nowhere else.
	if b, err = s.RedactPin(who.ana, inv.ID, pin.ID, RedactNew{Value: "4711"}); err != nil || len(b.Evidence.Redactions) != 2 {
		t.Fatalf("a number: %+v %v", b, err)
	}
	if e, err := s.EvidenceByBlock(who.vi, inv.ID, pin.ID); err != nil || !strings.Contains(string(e.Body), `"size":"[redacted]"`) {
		t.Errorf("the copy is %s, %v", e.Body, err)
	}
}

// TestDeletedInvestigationIsGone deletes one with a pin, a picture, a remark and
// notices, and looks for what they held in every table and file.
func TestDeletedInvestigationIsGone(t *testing.T) {
	s, who, src := openBoards(t)
	var path string
	if err := s.read.QueryRow(`SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
		t.Fatal(err)
	}
	const secret = "bo.secret@example.com"
	src.body = secretPin(secret)
	from, inv := mustOpen(t, s, who.ana, "from "+secret), mustOpen(t, s, who.ana, "into "+secret)
	mustBlock(t, s, who.ana, from.ID, BlockNew{Ref: "p", Kind: KindSpan, TraceID: traceA, SpanID: spanA, Title: secret, Text: "@Bo " + secret})
	if _, err := s.MergeInvestigation(who.ana, from.ID, MergeNew{Ref: "m", Into: inv.ID}); err != nil {
		t.Fatal(err)
	}
	pin := mustBlock(t, s, who.ana, inv.ID, BlockNew{Ref: "p", Kind: KindSpan, TraceID: traceA, SpanID: spanA, Text: "@Bo " + secret})
	mustBlock(t, s, who.ana, inv.ID, BlockNew{Ref: "q", Kind: KindQuery, Query: json.RawMessage(`{"filters":[{"column":"user.email","op":"=","value":"` + secret + `"}]}`)})
	for i, at := range []Anchor{{InvestigationID: inv.ID, PinID: pin.ID}, {InvestigationID: inv.ID, TraceID: traceA, SpanID: spanA}} {
		if _, _, err := s.CreateAnnotation(who.bo, AnnotationNew{Ref: fmt.Sprint("a", i), Anchor: at, Text: "@Ana " + secret}); err != nil {
			t.Fatal(err)
		}
	}
	if len(everywhere(t, s, secret)) < 6 {
		t.Fatalf("the test wrote too little: %v", everywhere(t, s, secret))
	}
	if err := s.DeleteInvestigation(who.ana, inv.ID); err != nil {
		t.Fatal(err)
	}
	if found := everywhere(t, s, secret); len(found) > 0 {
		t.Errorf("the value is still in %v", found)
	}
	if found := filesWith(t, path+"*", secret); len(found) > 0 {
		t.Errorf("files that still hold the value: %v", found)
	}
}
