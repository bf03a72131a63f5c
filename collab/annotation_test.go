package collab

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustAnnotate(t *testing.T, s *Store, ctx context.Context, n AnnotationNew) *Annotation {
	t.Helper()
	a, _, err := s.CreateAnnotation(ctx, n)
	if err != nil {
		t.Fatalf("annotate: %v", err)
	}
	return a
}

func TestRepliesHangWhereTheirParentHangs(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	pin := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
	a := mustAnnotate(t, s, who.ana, AnnotationNew{Anchor: Anchor{PinID: pin.ID}, Text: "Too many rows"})
	re := mustAnnotate(t, s, who.bo, AnnotationNew{ParentID: a.ID, Anchor: Anchor{PinID: pin.ID}, Text: "Since the deploy"})
	if re.ParentID != a.ID || re.Anchor != a.Anchor {
		t.Fatalf("reply %+v, want it below %s on the same anchor", re, a.ID)
	}
	if deeper := mustAnnotate(t, s, who.ana, AnnotationNew{ParentID: re.ID, Text: "Yes"}); deeper.ParentID != a.ID {
		t.Errorf("a reply to a reply is below %s, want %s: there is one level", deeper.ParentID, a.ID)
	}
	board, err := s.Board(who.vi, inv.ID)
	if err != nil || len(board.Annotations) != 3 {
		t.Fatalf("board %+v, %v", board, err)
	}
	// A thread goes on without its beginning; nothing can be added to what is gone.
	if err := s.DeleteAnnotation(who.ana, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateAnnotation(who.bo, AnnotationNew{ParentID: a.ID, Text: "late"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a reply to what was deleted: %v", err)
	}
	if _, err := s.AnnotationByID(who.vi, re.ID); err != nil {
		t.Errorf("the reply of another: %v, want it kept", err)
	}
}

func TestReactionsAreToggled(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	a := mustAnnotate(t, s, who.ana, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "Rolling back"})
	for _, step := range []struct {
		ctx context.Context
		r   Reaction
		on  bool
	}{{who.bo, ReactionThanks, true}, {who.bo, ReactionAgree, true}, {who.bo, ReactionAgree, true}, {who.ana, ReactionAgree, true}, {who.bo, ReactionThanks, false}, {who.bo, ReactionThanks, false}} {
		if _, err := s.React(step.ctx, a.ID, step.r, step.on); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.AnnotationByID(who.vi, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []ReactionCount{{ReactionAgree, []Person{{"u_bo", "Bo Olsen"}, {"u_ana", "Ana Lima"}}}}
	if diff := cmp.Diff(want, got.Reactions); diff != "" {
		t.Errorf("reactions (-want +got):\n%s", diff)
	}
	p, err := s.LogPosition(who.vi, inv.ID)
	if err != nil || p.Offset != a.Offset+4 {
		t.Errorf("log ends at %d, want %d: what changes nothing is no change; %v", p.Offset, a.Offset+4, err)
	}
	_, err = s.React(who.bo, a.ID, "applause", true)
	wantInvalid(t, "an unknown reaction", err, "reaction")
	if _, err := s.React(who.vi, a.ID, ReactionAgree, true); !errors.Is(err, ErrForbidden) {
		t.Errorf("a viewer reacts: %v", err)
	}
}

func TestAnnotationKeepsEveryText(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	for name, anchor := range map[string]Anchor{"on an investigation": {InvestigationID: inv.ID}, "on a trace": {TraceID: traceA}} {
		a := mustAnnotate(t, s, who.bo, AnnotationNew{Anchor: anchor, Text: "one"})
		was := a.Offset
		edited, err := s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Ref: name, Seen: &was, Text: text("two")})
		if err != nil || edited.Versions != 2 {
			t.Fatalf("%s: %+v, %v", name, edited, err)
		}
		if again, err := s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Ref: name, Seen: &was, Text: text("two")}); err != nil || again.Versions != 2 {
			t.Errorf("%s, the same ref again: %+v, %v", name, again, err)
		}
		var conflict *ConflictError
		if _, err := s.UpdateAnnotation(who.ana, a.ID, AnnotationUpdate{Seen: &was, Text: text("three")}); !errors.As(err, &conflict) || conflict.Theirs != "two" {
			t.Errorf("%s: an edit of what was not seen: %v, want a conflict", name, err)
		}
		list, err := s.AnnotationVersions(who.vi, a.ID)
		if err != nil || len(list) != 2 || list[0].Text != "one" || list[1].Text != "two" || list[1].ActorName != "Bo Olsen" {
			t.Errorf("%s: texts %+v, %v", name, list, err)
		}
		if err := s.DeleteAnnotation(who.ana, a.ID); err != nil {
			t.Fatal(err)
		}
		var left int
		if err := s.read.QueryRow(`SELECT COUNT(*) FROM annotation_versions WHERE annotation_id = ?`, a.ID).Scan(&left); err != nil || left > 0 {
			t.Errorf("%s: %d texts are left of what was deleted, %v", name, left, err)
		}
	}
}

func TestAnnotationIsResolved(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	a := mustAnnotate(t, s, who.ana, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "Who knows?"})
	re := mustAnnotate(t, s, who.bo, AnnotationNew{ParentID: a.ID, Text: "I do"})
	got, err := s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Resolved: ptr(true)})
	if err != nil || got.ResolvedByName != "Bo Olsen" || got.ResolvedUnixNano == 0 {
		t.Fatalf("resolved by another than its author: %+v, %v", got, err)
	}
	if got, err = s.UpdateAnnotation(who.ana, a.ID, AnnotationUpdate{Resolved: ptr(false)}); err != nil || got.ResolvedBy != "" || got.ResolvedUnixNano != 0 {
		t.Errorf("reopened: %+v, %v", got, err)
	}
	_, err = s.UpdateAnnotation(who.ana, re.ID, AnnotationUpdate{Resolved: ptr(true)})
	wantInvalid(t, "a reply is resolved", err, "resolved")
	if _, err := s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Seen: &a.Offset, Text: text("mine now")}); !errors.Is(err, ErrForbidden) {
		t.Errorf("another edits: %v", err)
	}
}

func TestMentionOfATeam(t *testing.T) {
	s, who, _ := openBoards(t)
	mustTeam(t, s, who.ana, "Quotes team", nil, "u_bo", "u_vi")
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	a := mustAnnotate(t, s, who.ana, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "@quotes-team, yours? And @Bo Olsen?"})
	if len(a.Mentions) != 2 {
		t.Errorf("mentions %v, want the team and Bo", a.Mentions)
	}
	if _, err := s.UpdateAnnotation(who.ana, a.ID, AnnotationUpdate{Seen: &a.Offset, Text: text("@quotes-team: yours?")}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"u_bo", "u_vi"} {
		items, err := s.FindInbox(who.vi, user, InboxFilter{View: InboxEverything})
		if err != nil || len(items) != 1 || items[0].Reason != ReasonMention {
			t.Errorf("inbox of %s: %+v, %v; want one mention", user, items, err)
		}
	}
	// A private investigation is not told to those who may not see it.
	private, _, err := s.CreateInvestigation(who.ana, InvestigationNew{Title: "Hush", Visibility: VisibilityPrivate})
	if err != nil {
		t.Fatal(err)
	}
	mustAnnotate(t, s, who.ana, AnnotationNew{Anchor: Anchor{InvestigationID: private.ID}, Text: "@quotes-team"})
	if items, err := s.FindInbox(who.vi, "u_bo", InboxFilter{View: InboxEverything}); err != nil || len(items) != 1 {
		t.Errorf("inbox of Bo: %+v, %v", items, err)
	}
}

// Two who edit different parts of one text both win, whatever else happened to the
// annotation meanwhile: a mark, a reply and an end are no edit.
func TestAnnotationTextsMerge(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	for name, anchor := range map[string]Anchor{"on an investigation": {InvestigationID: inv.ID}, "on a trace": {TraceID: traceA}} {
		a := mustAnnotate(t, s, who.bo, AnnotationNew{Anchor: anchor, Text: "The dealer is slow.\n\nNobody knows why."})
		was := a.Offset
		if _, err := s.UpdateAnnotation(who.ana, a.ID, AnnotationUpdate{Seen: &was, Text: text("The dealer is slow since ten.\n\nNobody knows why.")}); err != nil {
			t.Fatal(err)
		}
		got, err := s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Seen: &was, Text: text("The dealer is slow.\n\nThe index is gone.")})
		if err != nil || got.Text != "The dealer is slow since ten.\n\nThe index is gone." || got.Versions != 3 {
			t.Errorf("%s: two edits of two paragraphs: %+v, %v", name, got, err)
		}
		var conflict *ConflictError
		_, err = s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Seen: &was, Text: text("The dealer is slow.\n\nThe disk is full.")})
		if !errors.As(err, &conflict) || conflict.Merged != "The dealer is slow since ten.\n\nThe index is gone.\nThe disk is full." {
			t.Errorf("%s: two edits of one paragraph: %v, %+v", name, err, conflict)
		}
		now := got.Offset
		mustAnnotate(t, s, who.ana, AnnotationNew{ParentID: a.ID, Text: "Since when?"})
		if _, err := s.React(who.ana, a.ID, ReactionAgree, true); err != nil {
			t.Fatal(err)
		}
		if _, err := s.UpdateAnnotation(who.ana, a.ID, AnnotationUpdate{Resolved: ptr(true)}); err != nil {
			t.Fatal(err)
		}
		if got, err = s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Seen: &now, Text: text("It is over.")}); err != nil || got.Text != "It is over." {
			t.Errorf("%s: an edit after a reply, a mark and an end: %+v, %v", name, got, err)
		}
		got, err = s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Seen: &was, Text: text("The dealer is slow.\n\nNobody knows why.")})
		if err != nil || got.Text != "It is over." {
			t.Errorf("%s: saved as it was seen, after others changed it: %+v, %v", name, got, err)
		}
	}
}
