package collab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeEvidence freezes whatever it is asked for, with keys out of order.
type fakeEvidence struct {
	mu     sync.Mutex
	frozen int
	body   string // in place of the usual one
	facts  EvidenceFacts
	err    error
}

func (f *fakeEvidence) Freeze(_ context.Context, l Locator) (Frozen, error) {
	f.mu.Lock()
	f.frozen++
	f.mu.Unlock()
	if f.err != nil {
		return Frozen{}, f.err
	}
	if f.body != "" {
		return Frozen{Title: "x", Path: "/", Body: []byte(f.body)}, nil
	}
	if strings.HasPrefix(l.TraceID.String(), "dead") {
		return Frozen{}, ErrNotFound
	}
	body := fmt.Sprintf(`{"z": 1.50, "kind":%q, "a": {"y":"<b>&é", "x": [2,1]}}`, l.Kind)
	return Frozen{Title: "GET /quotes", Path: "/t/" + l.TraceID.String(), Query: l.Query, Body: []byte(body), Facts: f.facts}, nil
}

func (f *fakeEvidence) Compare(_ BlockKind, frozen, live json.RawMessage) ([]Difference, error) {
	if string(frozen) == string(live) {
		return nil, nil
	}
	return []Difference{{"all of it", string(frozen), string(live)}}, nil
}

type people struct{ ana, bo, vi, bot context.Context }

// openBoards opens a store with an admin Ana, a member Bo, a viewer Vi and a
// member token, and checks the whole database when the test ends.
func openBoards(t *testing.T) (*Store, people, *fakeEvidence) {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "app.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(s.Check(ctx), s.CheckLogs(ctx)); err != nil {
			t.Errorf("the database is not consistent: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	src := &fakeEvidence{}
	s.UseEvidence(src)
	for _, u := range [][3]string{{"u_ana", "Ana Lima", "admin"}, {"u_bo", "Bo Olsen", "member"}, {"u_vi", "Vi Ng", "viewer"}} {
		_, err := s.write.Exec(`INSERT INTO users (id, email, name, role, password_hash, created_at) VALUES (?, ?, ?, ?, '', 1)`,
			u[0], u[0][2:]+"@example.com", u[1], u[2])
		if err != nil {
			t.Fatal(err)
		}
	}
	as := func(kind ActorKind, id, name string, r Role) context.Context {
		return WithActor(t.Context(), Actor{Kind: kind, ID: id, Name: name, Role: r})
	}
	return s, people{
		ana: as(ActorUser, "u_ana", "Ana Lima", RoleAdmin),
		bo:  as(ActorUser, "u_bo", "Bo Olsen", RoleMember),
		vi:  as(ActorUser, "u_vi", "Vi Ng", RoleViewer),
		bot: as(ActorToken, "t_bot", "bot", RoleMember),
	}, src
}

func mustOpen(t *testing.T, s *Store, ctx context.Context, title string) *Investigation {
	t.Helper()
	inv, created, err := s.CreateInvestigation(ctx, InvestigationNew{Title: title})
	if err != nil || !created {
		t.Fatalf("create investigation: created %v, %v", created, err)
	}
	return inv
}

func mustBlock(t *testing.T, s *Store, ctx context.Context, id InvestigationID, n BlockNew) *Block {
	t.Helper()
	b, _, err := s.CreateBlock(ctx, id, n)
	if err != nil {
		t.Fatalf("create %s: %v", n.Kind, err)
	}
	return b
}

func seen(n int64) *int64     { return &n }
func text(s string) *string   { return &s }
func status(s Status) *Status { return &s }

const (
	traceA = "0af7651916cd43dd8448eb211c80319c"
	spanA  = "b7ad6b7169203331"
)

func TestInvestigationLifecycle(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "  Slow\n quotes ")
	if inv.Title != "Slow quotes" || inv.Status != StatusOpen || inv.Severity != SeverityUnknown || inv.Lead != "u_ana" || inv.LeadName != "Ana Lima" || inv.Offset != 1 {
		t.Fatalf("got %+v", inv)
	}
	mitigated, sev2, lead := StatusMitigated, Severity2, "bo@example.com"
	got, err := s.UpdateInvestigation(who.bo, inv.ID, InvestigationUpdate{Seen: seen(1), Status: &mitigated, Severity: &sev2, Lead: &lead})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != StatusMitigated || got.Severity != Severity2 || got.Lead != "u_bo" || got.Offset != 2 {
		t.Fatalf("got %+v", got)
	}
	list, _, err := s.Changes(who.vi, inv.ID, 0, 0)
	if err != nil || len(list) != 2 {
		t.Fatalf("got %d changes, %v; want 2", len(list), err)
	}
	var data struct{ Fields, Was map[string]string }
	if err := json.Unmarshal(list[1].Data, &data); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"status": "mitigated", "severity": "sev2", "lead": "u_bo"}
	if diff := cmp.Diff(want, data.Fields); diff != "" || data.Was["status"] != "open" {
		t.Fatalf("change data: %s; was %v", diff, data.Was)
	}
	for _, bad := range []InvestigationUpdate{
		{Seen: seen(2), Status: status("done")}, {Seen: seen(2), Lead: text("nobody@example.com")},
		{Status: &mitigated}, {Seen: seen(3), Title: text("x")}, {Seen: seen(2), Title: text(" ")},
	} {
		if _, err := s.UpdateInvestigation(who.bo, inv.ID, bad); !errors.As(err, new(*InvalidError)) {
			t.Errorf("update %+v: got %v, want an InvalidError", bad, err)
		}
	}
	if _, err := s.UpdateInvestigation(who.bo, "i_none", InvestigationUpdate{Seen: seen(1)}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown investigation: got %v", err)
	}
}

func TestViewersAndAnonymousDoNotWrite(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "n"})
	for name, ctx := range map[string]context.Context{"viewer": who.vi, "anonymous": t.Context()} {
		_, _, e1 := s.CreateInvestigation(ctx, InvestigationNew{Title: "x"})
		_, e2 := s.UpdateInvestigation(ctx, inv.ID, InvestigationUpdate{Seen: seen(1), Title: text("y")})
		_, _, e3 := s.CreateBlock(ctx, inv.ID, BlockNew{Kind: KindNote, Text: "n"})
		_, e4 := s.UpdateBlock(ctx, inv.ID, note.ID, BlockUpdate{Seen: seen(1), Text: text("y")})
		_, _, e5 := s.CreateAnnotation(ctx, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "y"})
		e6, e7 := s.DeleteBlock(ctx, inv.ID, note.ID), s.DeleteInvestigation(ctx, inv.ID)
		_, e8 := s.CreateTarget(ctx, TargetNew{Name: "x", URL: "https://x.example/", Reasons: Reasons})
		for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, e8} {
			if !errors.Is(err, ErrForbidden) {
				t.Errorf("%s, write %d: got %v, want forbidden", name, i+1, err)
			}
		}
	}
}

func TestDifferentFieldsBothWin(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	if _, err := s.UpdateInvestigation(who.ana, inv.ID, InvestigationUpdate{Seen: seen(1), Title: text("Ana's title")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UpdateInvestigation(who.bo, inv.ID, InvestigationUpdate{Seen: seen(1), Status: status(StatusResolved)}); err != nil {
		t.Fatalf("another field: %v", err)
	}
	_, err := s.UpdateInvestigation(who.bo, inv.ID, InvestigationUpdate{Seen: seen(1), Severity: ptr(Severity1), Title: text("Bo's title")})
	var c *ConflictError
	if !errors.As(err, &c) || !errors.Is(err, ErrConflict) || c.Field != "title" || c.Yours != "Bo's title" || c.Theirs != "Ana's title" || c.Offset != 3 {
		t.Fatalf("same field: got %#v", err)
	}
	got, err := s.InvestigationByID(who.vi, inv.ID)
	if err != nil || got.Title != "Ana's title" || got.Status != StatusResolved || got.Severity != SeverityUnknown || got.Offset != 3 {
		t.Fatalf("after the conflict: %+v, %v", got, err)
	}
	// The same value is no conflict, and no change.
	if got, err = s.UpdateInvestigation(who.bo, inv.ID, InvestigationUpdate{Seen: seen(1), Title: text("Ana's title")}); err != nil || got.Offset != 3 {
		t.Fatalf("same value: %+v, %v", got, err)
	}
}

func ptr[T any](v T) *T { return &v }

func TestNoteTextMerges(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "one\ntwo\nthree"})
	if _, err := s.UpdateBlock(who.ana, inv.ID, note.ID, BlockUpdate{Seen: seen(2), Text: text("ONE\ntwo\nthree")}); err != nil {
		t.Fatal(err)
	}
	got, err := s.UpdateBlock(who.bo, inv.ID, note.ID, BlockUpdate{Seen: seen(2), Text: text("one\ntwo\nTHREE")})
	if err != nil || got.Text != "ONE\ntwo\nTHREE" {
		t.Fatalf("merge: got %+v, %v", got, err)
	}
	_, err = s.UpdateBlock(who.bo, inv.ID, note.ID, BlockUpdate{Seen: seen(3), Text: text("uno\ntwo\nthree")})
	if err != nil {
		t.Fatalf("line one is as it was seen at 3, line three was changed by Bo himself: %v", err)
	}
	_, err = s.UpdateBlock(who.bo, inv.ID, note.ID, BlockUpdate{Seen: seen(2), Text: text("eins\ntwo\nthree")})
	var c *ConflictError
	if !errors.As(err, &c) || c.Field != "text" || c.Yours != "eins\ntwo\nthree" {
		t.Fatalf("got %v, want a conflict of text", err)
	}
}

func TestRefMakesRetriesSafe(t *testing.T) {
	s, who, src := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	n := BlockNew{Ref: "r1", Kind: KindSpan, TraceID: strings.ToUpper(traceA), SpanID: spanA}
	first, created, err := s.CreateBlock(who.ana, inv.ID, n)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if _, err := s.UpdateBlock(who.bo, inv.ID, first.ID, BlockUpdate{Seen: seen(2), Title: text("renamed")}); err != nil {
		t.Fatal(err)
	}
	again, created, err := s.CreateBlock(who.ana, inv.ID, n)
	if err != nil || created {
		t.Fatal(created, err)
	}
	a, _ := json.Marshal(first)
	b, _ := json.Marshal(again)
	if string(a) != string(b) {
		t.Fatalf("the same ref answers\n%s, want\n%s", b, a)
	}
	if src.frozen != 1 {
		t.Errorf("evidence was read %d times, want once", src.frozen)
	}
	n.SpanID = "00f067aa0ba902b7"
	if _, _, err := s.CreateBlock(who.ana, inv.ID, n); !errors.Is(err, ErrConflict) {
		t.Fatalf("the ref with another body: got %v, want a conflict", err)
	}
	if _, created, err := s.CreateBlock(who.bo, inv.ID, n); err != nil || !created {
		t.Fatalf("another actor's ref: created %v, %v", created, err)
	}
	i1, c1, err1 := s.CreateInvestigation(who.ana, InvestigationNew{Ref: "r1", Title: "t"})
	i2, c2, err2 := s.CreateInvestigation(who.ana, InvestigationNew{Ref: "r1", Title: "t"})
	if err := errors.Join(err1, err2); err != nil || !c1 || c2 || i1.ID != i2.ID {
		t.Fatal(err, c1, c2)
	}
	a1, c1, err1 := s.CreateAnnotation(who.ana, AnnotationNew{Ref: "r1", Anchor: Anchor{PinID: first.ID}, Text: "t"})
	a2, c2, err2 := s.CreateAnnotation(who.ana, AnnotationNew{Ref: "r1", Anchor: Anchor{PinID: first.ID}, Text: "t"})
	if err := errors.Join(err1, err2); err != nil || !c1 || c2 || a1.ID != a2.ID {
		t.Fatal(err, c1, c2)
	}
}

func TestEvidenceIsFrozenAndCanonical(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	b := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	e, err := s.EvidenceByBlock(who.vi, inv.ID, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":{"x":[2,1],"y":"<b>&é"},"kind":"trace","z":1.50}`
	if string(e.Body) != want || e.SHA256 != hashHex([]byte(want)) || b.Evidence.SHA256 != e.SHA256 || b.Evidence.FrozenBy != "u_ana" {
		t.Fatalf("got %s with %+v, block says %+v", e.Body, e.EvidenceInfo, b.Evidence)
	}
	if b.Title != "GET /quotes" || b.Locator != "/t/"+traceA {
		t.Fatalf("got title %q, locator %q", b.Title, b.Locator)
	}
	if _, _, err := s.CreateBlock(who.ana, inv.ID, BlockNew{Kind: KindTrace, TraceID: "dead" + traceA[4:]}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a trace that is not there: got %v", err)
	}
	if p, err := s.LogPosition(who.vi, inv.ID); err != nil || p.Offset != 2 {
		t.Fatalf("a refused pin left a change: %+v, %v", p, err)
	}
}

func TestCanonicalJSON(t *testing.T) {
	cases := [][2]string{
		{`{"b":1,"a":2}`, `{"a":2,"b":1}`},
		{" [ 1.0 , 1e3, 12345678901234567890 ] ", `[1.0,1e3,12345678901234567890]`},
		{`"\u003cé\u2028"`, "\"<é\\u2028\""},
	}
	for _, c := range cases {
		got, err := CanonicalJSON([]byte(c[0]))
		if err != nil || string(got) != c[1] {
			t.Errorf("%s: got %s, %v; want %s", c[0], got, err, c[1])
		}
		if again, err := CanonicalJSON(got); err != nil || string(again) != string(got) {
			t.Errorf("%s: not stable: %s, %v", c[0], again, err)
		}
	}
	for _, bad := range []string{"", "{", "1 2", `{"a":}`} {
		if _, err := CanonicalJSON([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestBlocksHaveAnOrder(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	var ids []BlockID
	for i := range 4 {
		ids = append(ids, mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: fmt.Sprint(i)}).ID)
	}
	move := func(b, after BlockID) {
		if _, err := s.UpdateBlock(who.bo, inv.ID, b, BlockUpdate{Seen: seen(5), After: &after}); err != nil {
			t.Fatal(err)
		}
	}
	move(ids[3], "")
	move(ids[0], ids[2])
	move(ids[0], ids[2]) // is there already
	board, err := s.Board(who.vi, inv.ID)
	if err != nil {
		t.Fatal(err)
	}
	order := ""
	for _, b := range board.Blocks {
		order += b.Text
	}
	if order != "3120" || board.Investigation.Offset != 7 {
		t.Fatalf("got order %s at offset %d, want 3120 at 7", order, board.Investigation.Offset)
	}
}

func TestDeletingErases(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Ref: "n", Kind: KindNote, Text: "the secret @bo"})
	pin := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA, Text: "secret caption"})
	if _, _, err := s.CreateAnnotation(who.ana, AnnotationNew{Anchor: Anchor{PinID: pin.ID}, Text: "secret remark @bo"}); err != nil {
		t.Fatal(err)
	}
	// It shows on another board too, whose log holds it.
	other := mustOpen(t, s, who.bo, "other")
	mustBlock(t, s, who.bo, other.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	elsewhere, _, err := s.CreateAnnotation(who.ana, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID, TraceID: traceA}, Text: "a hush for all @bo"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice is no error
		if err := errors.Join(s.DeleteBlock(who.bo, inv.ID, note.ID), s.DeleteBlock(who.bo, inv.ID, pin.ID)); err != nil {
			t.Fatal(err)
		}
	}
	list, p, err := s.Changes(who.vi, inv.ID, 0, 0)
	if err != nil || p.Offset != 8 || len(list) != 8 {
		t.Fatalf("got %d changes up to %d, %v; want 8", len(list), p.Offset, err)
	}
	for _, table := range []string{"changes", "blocks", "evidence", "annotations", "inbox_items"} {
		var n int
		err := s.read.QueryRow(`SELECT COUNT(*) FROM ` + table + ` WHERE ` + map[string]string{"changes": "data", "blocks": "text", "evidence": "CAST(body AS TEXT)", "annotations": "text", "inbox_items": "text"}[table] + ` LIKE '%secret%'`).Scan(&n)
		if err != nil || n != 0 {
			t.Errorf("%s keeps %d secrets, %v", table, n, err)
		}
	}
	if _, err := s.EvidenceByBlock(who.vi, inv.ID, pin.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("evidence of a deleted pin: %v", err)
	}
	if _, _, err := s.CreateBlock(who.ana, inv.ID, BlockNew{Ref: "n", Kind: KindNote, Text: "the secret @bo"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a late retry made it again: %v", err)
	}
	if err := s.DeleteInvestigation(who.bo, inv.ID); !errors.Is(err, ErrForbidden) {
		t.Errorf("Bo deletes Ana's investigation: %v", err)
	}
	if err := s.DeleteInvestigation(who.ana, inv.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Board(who.vi, inv.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("board of a deleted investigation: %v", err)
	}
	if all, _, err := s.FindInvestigations(who.vi, InvestigationFilter{}); err != nil || len(all) != 1 {
		t.Errorf("the list has %d, %v", len(all), err)
	}
	list, _, err = s.Changes(who.vi, other.ID, 0, 0)
	if err != nil || list[len(list)-1].Type != AnnotationDeleted || list[len(list)-1].ID != string(elsewhere.ID) {
		t.Errorf("the log of the other board ends with %+v, %v", list[len(list)-1], err)
	}
	for _, c := range list {
		if strings.Contains(string(c.Data), "hush") {
			t.Errorf("the log of the other board still says %s", c.Data)
		}
	}
	if a, err := s.FindAnnotations(who.vi, AnnotationFilter{TraceID: mustTrace(t, traceA)}); err != nil || len(a) != 0 {
		t.Errorf("on the trace: %+v, %v", a, err)
	}
}

func TestAnnotationsShowWhereTheirSpanShows(t *testing.T) {
	s, who, _ := openBoards(t)
	one, two := mustOpen(t, s, who.ana, "one"), mustOpen(t, s, who.ana, "two")
	pin := mustBlock(t, s, who.ana, one.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
	mustBlock(t, s, who.ana, two.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	onPin, _, err := s.CreateAnnotation(who.bo, AnnotationNew{Anchor: Anchor{PinID: pin.ID}, Text: "on the pin"})
	if err != nil {
		t.Fatal(err)
	}
	if a := onPin.Anchor; a.InvestigationID != one.ID || a.TraceID != traceA || a.SpanID != spanA {
		t.Fatalf("anchor %+v", a)
	}
	_, _, err = s.CreateAnnotation(who.bo, AnnotationNew{Anchor: Anchor{TraceID: traceA, SpanID: "00f067aa0ba902b7"}, Text: "on another span"})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[InvestigationID]int{one.ID: 1, two.ID: 2} {
		b, err := s.Board(who.vi, id)
		if err != nil || len(b.Annotations) != want {
			t.Errorf("board %s shows %d annotations, %v; want %d", id, len(b.Annotations), err, want)
		}
		if b.Investigation.Offset != int64(2+want) {
			t.Errorf("log %s ends at %d, want %d", id, b.Investigation.Offset, 2+want)
		}
	}
	if _, err := s.UpdateAnnotation(who.bo, onPin.ID, AnnotationUpdate{Seen: seen(3), Text: text("edited")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UpdateAnnotation(who.bot, onPin.ID, AnnotationUpdate{Seen: seen(4), Text: text("edited")}); !errors.Is(err, ErrForbidden) {
		t.Fatalf("somebody else's annotation: %v", err)
	}
	if _, err := s.UpdateAnnotation(who.ana, onPin.ID, AnnotationUpdate{Seen: seen(3), Text: text("other")}); !errors.Is(err, ErrConflict) {
		t.Fatalf("an old seen: %v", err)
	}
	if err := s.DeleteAnnotation(who.bo, onPin.ID); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []Anchor{{}, {SpanID: spanA}, {TraceID: "x"}, {PinID: "b_none"}, {InvestigationID: two.ID, PinID: pin.ID}} {
		if _, _, err := s.CreateAnnotation(who.bo, AnnotationNew{Anchor: bad, Text: "x"}); err == nil {
			t.Errorf("anchor %+v: no error", bad)
		}
	}
}

// Many writers on one log: every offset once, in order, and each change of the
// state has its row.
func TestLogHasNoHoleUnderConcurrentWriters(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	var mu sync.Mutex
	var told []Position
	s.OnChange(func(p Position) { mu.Lock(); told = append(told, p); mu.Unlock() })
	const writers, each = 8, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			ctx := []context.Context{who.ana, who.bo, who.bot}[w%3]
			for i := range each {
				var err error
				switch i % 3 {
				case 0:
					_, _, err = s.CreateBlock(ctx, inv.ID, BlockNew{Kind: KindNote, Text: fmt.Sprint(w, i)})
				case 1:
					_, _, err = s.CreateAnnotation(ctx, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "x"})
				case 2:
					_, _, err = s.CreateBlock(ctx, inv.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, p, err := s.Changes(who.vi, inv.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(1 + writers*each); p.Offset != want || int64(len(list)) != want || len(told) != writers*each {
		t.Fatalf("log ends at %d with %d rows, %d told; want %d", p.Offset, len(list), len(told), want)
	}
	for i, c := range list {
		if c.Offset != int64(i+1) {
			t.Fatalf("row %d has offset %d", i, c.Offset)
		}
	}
	page, _, err := s.Changes(who.vi, inv.ID, 5, 3)
	if err != nil || len(page) != 3 || page[0].Offset != 6 {
		t.Fatalf("page after 5: %v, %v", page, err)
	}
}

func TestHostileInputIsRefused(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	bad := []BlockNew{
		{Kind: "drawing"}, {Kind: KindNote}, {Kind: KindNote, Text: strings.Repeat("é", maxTextRunes+1)},
		{Kind: KindSpan, TraceID: traceA}, {Kind: KindSpan, TraceID: "x", SpanID: spanA},
		{Kind: KindLink, URL: "javascript:alert(1)"}, {Kind: KindLink, URL: "//evil.example"}, {Kind: KindLink, URL: `/\evil.example`},
		{Kind: KindLink, URL: "https://"}, {Kind: KindQuery, Query: []byte(`[1]`)}, {Kind: KindQuery, Query: []byte(`{`)}, {Kind: KindQuery},
		{Kind: KindNote, Text: "x", Ref: strings.Repeat("r", 201)},
	}
	for _, n := range bad {
		if _, _, err := s.CreateBlock(who.ana, inv.ID, n); !errors.As(err, new(*InvalidError)) {
			t.Errorf("%+v: got %v, want an InvalidError", n, err)
		}
	}
	if b := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindLink, URL: " https://status.example/x?y=1 "}); b.URL != "https://status.example/x?y=1" {
		t.Errorf("link %q", b.URL)
	}
}

func TestComparePin(t *testing.T) {
	s, who, src := openBoards(t)
	inv := mustOpen(t, s, who.ana, "x")
	pin := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "x"})
	for _, c := range []struct {
		body string
		err  error
		want LiveState
	}{{"", nil, LiveSame}, {`{"other":1}`, nil, LiveChanged}, {"", ErrNotFound, LiveGone}} {
		src.body, src.err = c.body, c.err
		got, err := s.ComparePin(who.vi, inv.ID, pin.ID)
		if err != nil || got.State != c.want || got.FrozenSHA256 != pin.Evidence.SHA256 || (got.LiveSHA256 == "") != (c.want == LiveGone) || (len(got.Changes) > 0) != (c.want == LiveChanged) {
			t.Errorf("got %+v, %v; want %s", got, err, c.want)
		}
	}
	if _, err := s.ComparePin(who.vi, inv.ID, note.ID); !errors.As(err, new(*InvalidError)) {
		t.Errorf("comparing a note: %v", err)
	}
	if err := s.CheckEvidence(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.write.Exec(`UPDATE evidence SET body = x'7b7d'`); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckEvidence(t.Context()); err == nil || !strings.Contains(err.Error(), string(pin.ID)) {
		t.Errorf("a copy that was tampered with: %v", err)
	}
}
