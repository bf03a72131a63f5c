package collab

import (
	"context"
	"errors"
	"testing"

	"redthread/tracestore/trace"
)

// setVisibility writes it past the rules.
func setVisibility(t *testing.T, s *Store, id InvestigationID, v Visibility) {
	t.Helper()
	if _, err := s.write.Exec(`UPDATE investigations SET visibility = ? WHERE id = ?`, v, id); err != nil {
		t.Fatal(err)
	}
}

// TestMaySee holds the rule against every kind of reader.
func TestMaySee(t *testing.T) {
	s, who, _ := openBoards(t)
	for _, stmt := range []string{
		`INSERT INTO users (id, email, name, role, password_hash, created_at) VALUES ('u_lea', 'lea@example.com', 'Lea', 'member', '', 1),
			('u_tim', 'tim@example.com', 'Tim', 'viewer', '', 1), ('u_tom', 'tom@example.com', 'Tom', 'member', '', 1), ('u_pia', 'pia@example.com', 'Pia', 'viewer', '', 1)`,
		`INSERT INTO teams (id, name, handle, services, created_by, created_by_name, created_at) VALUES ('m_one', 'One', 'one', '[]', '', '', 1), ('m_two', 'Two', 'two', '[]', '', '', 1)`,
		`INSERT INTO team_members VALUES ('m_one', 'u_tim', 1), ('m_two', 'u_tom', 1)`,
	} {
		if _, err := s.write.Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
	inv := mustOpen(t, s, who.bo, "Slow quotes")
	for _, stmt := range []string{
		`UPDATE investigations SET lead = 'u_lea' WHERE id = ?`,
		`INSERT INTO investigation_people VALUES (?, 'u_pia', '', 1)`,
		`INSERT INTO investigation_teams VALUES (?, 'm_one', 1)`,
	} {
		if _, err := s.write.Exec(stmt, inv.ID); err != nil {
			t.Fatal(err)
		}
	}
	as := func(id string, r Role) context.Context {
		return WithActor(t.Context(), Actor{Kind: ActorUser, ID: id, Role: r})
	}
	readers := []struct {
		name  string
		ctx   context.Context
		wants map[Visibility]bool
	}{
		{"nobody", t.Context(), map[Visibility]bool{}},
		{"an empty actor", WithActor(t.Context(), Actor{}), map[Visibility]bool{}},
		{"the server", AsServer(t.Context()), map[Visibility]bool{"workspace": true, "team": true, "private": true}},
		{"its creator", who.bo, map[Visibility]bool{"workspace": true, "team": true, "private": true}},
		{"its lead", as("u_lea", RoleMember), map[Visibility]bool{"workspace": true, "team": true, "private": true}},
		{"somebody asked in", as("u_pia", RoleViewer), map[Visibility]bool{"workspace": true, "team": true, "private": true}},
		{"a member of its team", as("u_tim", RoleViewer), map[Visibility]bool{"workspace": true, "team": true}},
		{"a member of another team", as("u_tom", RoleMember), map[Visibility]bool{"workspace": true}},
		{"an administrator", who.ana, map[Visibility]bool{"workspace": true}},
		{"a viewer", who.vi, map[Visibility]bool{"workspace": true}},
		{"a token", who.bot, map[Visibility]bool{"workspace": true}},
	}
	for _, v := range Visibilities {
		setVisibility(t, s, inv.ID, v)
		for _, r := range readers {
			err := s.MaySee(r.ctx, inv.ID)
			if want := r.wants[v]; want && err != nil || !want && !errors.Is(err, ErrNotFound) {
				t.Errorf("%s, %s: may see %v, got %v", v, r.name, want, err)
			}
			list, _, err := s.FindInvestigations(r.ctx, InvestigationFilter{})
			if want := r.wants[v]; err != nil || (len(list) == 1) != want {
				t.Errorf("%s, %s: listed %d, %v, want %v", v, r.name, len(list), err, want)
			}
		}
	}
	if err := s.MaySee(who.bo, "i_none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such investigation: %v", err)
	}
	// Merged, it leads those who could see it, and may see the other, there, and
	// nobody else anywhere.
	other := mustOpen(t, s, as("u_tom", RoleMember), "Other")
	for _, stmt := range []string{`UPDATE investigations SET merged_into = ?1 WHERE id = ?2`, `INSERT INTO investigation_people SELECT ?1, 'u_lea', '', 1 WHERE ?2 <> ''`} {
		if _, err := s.write.Exec(stmt, other.ID, inv.ID); err != nil {
			t.Fatal(err)
		}
	}
	setVisibility(t, s, other.ID, VisibilityPrivate)
	var merged *MergedError
	if err := s.MaySee(as("u_lea", RoleMember), inv.ID); !errors.As(err, &merged) || merged.Into != other.ID {
		t.Errorf("merged, one who could see it and may see the other: %v", err)
	}
	if err := s.MaySee(as("u_tom", RoleMember), inv.ID); !errors.Is(err, ErrNotFound) || errors.As(err, new(*MergedError)) {
		t.Errorf("merged, one who may see the other and could not see it: %v", err)
	}
	if err := s.MaySee(who.bo, inv.ID); !errors.Is(err, ErrNotFound) || errors.As(err, new(*MergedError)) {
		t.Errorf("merged, its creator, who may not see the other: %v", err)
	}
}

// TestNobodyReachesWhatTheyMayNotSee calls every method that names an
// investigation as somebody who may not see it, beside one that does not exist:
// both fail alike, and nothing changes.
func TestNobodyReachesWhatTheyMayNotSee(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "Hidden title")
	pin := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
	picture := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindPicture, Title: "p", Picture: pngOf(4, 3)})
	remark, _, err := s.CreateAnnotation(who.bo, AnnotationNew{Anchor: Anchor{PinID: pin.ID}, Text: "hidden remark @vi"})
	if err != nil {
		t.Fatal(err)
	}
	mine := BlockNew{Ref: "mine", Kind: KindNote, Text: "from before"}
	mustBlock(t, s, who.ana, inv.ID, mine)
	setVisibility(t, s, inv.ID, VisibilityPrivate)
	before, err := s.LogPosition(who.bo, inv.ID)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(ctx context.Context, id InvestigationID, pin, picture BlockID, a AnnotationID) error{
		"InvestigationByID": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, err := s.InvestigationByID(ctx, id)
			return err
		},
		"UpdateInvestigation": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, err := s.UpdateInvestigation(ctx, id, InvestigationUpdate{Seen: seen(1), Title: text("x")})
			return err
		},
		"DeleteInvestigation": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			return s.DeleteInvestigation(ctx, id)
		},
		"Board": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, err := s.Board(ctx, id)
			return err
		},
		"Changes": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, _, err := s.Changes(ctx, id, 0, 0)
			return err
		},
		"LogPosition": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, err := s.LogPosition(ctx, id)
			return err
		},
		"BlockByID": func(ctx context.Context, id InvestigationID, pin, _ BlockID, _ AnnotationID) error {
			_, err := s.BlockByID(ctx, id, pin)
			return err
		},
		"EvidenceByBlock": func(ctx context.Context, id InvestigationID, pin, _ BlockID, _ AnnotationID) error {
			_, err := s.EvidenceByBlock(ctx, id, pin)
			return err
		},
		"ComparePin": func(ctx context.Context, id InvestigationID, pin, _ BlockID, _ AnnotationID) error {
			_, err := s.ComparePin(ctx, id, pin)
			return err
		},
		"PictureByBlock": func(ctx context.Context, id InvestigationID, _, picture BlockID, _ AnnotationID) error {
			_, err := s.PictureByBlock(ctx, id, picture)
			return err
		},
		"CreateBlock": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, _, err := s.CreateBlock(ctx, id, BlockNew{Kind: KindNote, Text: "x"})
			return err
		},
		"CreateBlock again": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, _, err := s.CreateBlock(ctx, id, mine)
			return err
		},
		"UpdateBlock": func(ctx context.Context, id InvestigationID, pin, _ BlockID, _ AnnotationID) error {
			_, err := s.UpdateBlock(ctx, id, pin, BlockUpdate{Seen: seen(1), Title: text("x")})
			return err
		},
		"DeleteBlock": func(ctx context.Context, id InvestigationID, pin, _ BlockID, _ AnnotationID) error {
			return s.DeleteBlock(ctx, id, pin)
		},
		"FindAnnotations": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, err := s.FindAnnotations(ctx, AnnotationFilter{InvestigationID: id})
			return err
		},
		"AnnotationByID": func(ctx context.Context, _ InvestigationID, _, _ BlockID, a AnnotationID) error {
			_, err := s.AnnotationByID(ctx, a)
			return err
		},
		"CreateAnnotation": func(ctx context.Context, id InvestigationID, _, _ BlockID, _ AnnotationID) error {
			_, _, err := s.CreateAnnotation(ctx, AnnotationNew{Anchor: Anchor{InvestigationID: id}, Text: "x"})
			return err
		},
		"CreateAnnotation on a pin": func(ctx context.Context, _ InvestigationID, pin, _ BlockID, _ AnnotationID) error {
			_, _, err := s.CreateAnnotation(ctx, AnnotationNew{Anchor: Anchor{PinID: pin}, Text: "x"})
			return err
		},
		"UpdateAnnotation": func(ctx context.Context, _ InvestigationID, _, _ BlockID, a AnnotationID) error {
			_, err := s.UpdateAnnotation(ctx, a, AnnotationUpdate{Seen: seen(1), Text: text("x")})
			return err
		},
		"DeleteAnnotation": func(ctx context.Context, _ InvestigationID, _, _ BlockID, a AnnotationID) error {
			return s.DeleteAnnotation(ctx, a)
		},
	}
	for name, call := range calls {
		for reader, ctx := range map[string]context.Context{"administrator": who.ana, "token": who.bot} {
			hidden := call(ctx, inv.ID, pin.ID, picture.ID, remark.ID)
			none := call(ctx, "i_none", "b_none", "b_none", "a_none")
			if !errors.Is(hidden, ErrNotFound) || !errors.Is(none, ErrNotFound) || errors.As(hidden, new(*InvalidError)) {
				t.Errorf("%s, %s: hidden %v, none %v: want both not found", name, reader, hidden, none)
			}
		}
		if err := call(t.Context(), inv.ID, pin.ID, picture.ID, remark.ID); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s, nobody: %v", name, err)
		}
	}
	if after, err := s.LogPosition(who.bo, inv.ID); err != nil || after != before {
		t.Errorf("the log moved from %v to %v, %v", before, after, err)
	}
	// What was told while it was open to all is told no more.
	if items, err := s.FindInbox(who.vi, "u_vi", InboxFilter{View: InboxEverything}); err != nil || len(items) != 0 {
		t.Errorf("inbox of one who may not see it any more: %+v, %v", items, err)
	}
	if n, err := s.UnreadCount(who.vi, "u_vi"); err != nil || n != 0 {
		t.Errorf("unread: %d, %v", n, err)
	}
	if list, err := s.FindAnnotations(who.vi, AnnotationFilter{TraceID: mustTrace(t, traceA)}); err != nil || len(list) != 0 {
		t.Errorf("annotations on the shared trace: %+v, %v", list, err)
	}
	if list, err := s.FindAnnotations(who.bo, AnnotationFilter{TraceID: mustTrace(t, traceA)}); err != nil || len(list) != 1 {
		t.Errorf("annotations on the shared trace, for a member: %+v, %v", list, err)
	}
}

func mustTrace(t *testing.T, hex string) trace.ID {
	t.Helper()
	id, err := trace.ParseID(hex)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
