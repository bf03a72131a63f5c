package collab

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What inboxes and the log of notices say of a text goes with the text.
func TestWhatWasToldGoesWithTheText(t *testing.T) {
	s, who, _ := openBoards(t)
	memberOf(t, s, "u_olga", "Olga Ruiz")
	if _, err := s.CreateTarget(who.ana, TargetNew{Name: "all", URL: "https://hooks.example.com/x", Reasons: []Reason{ReasonMention}}); err != nil {
		t.Fatal(err)
	}
	inv := mustOpen(t, s, who.bo, "x")
	pin := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	inbox := func(user string) (list []string) {
		t.Helper()
		items, err := s.FindInbox(who.ana, user, InboxFilter{View: InboxEverything})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			list = append(list, string(it.Reason)+": "+it.Text)
		}
		return list
	}
	remarkOn := func(anchor Anchor) (write, rewrite func(string)) {
		var a *Annotation
		return func(body string) { a = mustAnnotate(t, s, who.bo, AnnotationNew{Anchor: anchor, Text: body}) },
			func(body string) {
				now := a.Offset
				var err error
				if a, err = s.UpdateAnnotation(who.bo, a.ID, AnnotationUpdate{Seen: &now, Text: &body}); err != nil {
					t.Fatal(err)
				}
			}
	}
	note := func() (write, rewrite func(string)) {
		var b *Block
		return func(body string) { b = mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: body}) },
			func(body string) {
				var err error
				if b, err = s.UpdateBlock(who.bo, inv.ID, b.ID, BlockUpdate{Seen: &b.Offset, Text: &body}); err != nil {
					t.Fatal(err)
				}
			}
	}
	for name, make := range map[string]func() (write, rewrite func(string)){
		"a remark on the board": func() (func(string), func(string)) { return remarkOn(Anchor{InvestigationID: inv.ID}) },
		"a remark on a pin":     func() (func(string), func(string)) { return remarkOn(Anchor{PinID: pin.ID}) },
		"a remark on a trace":   func() (func(string), func(string)) { return remarkOn(Anchor{TraceID: traceA}) },
		"a note":                note,
	} {
		if _, err := s.write.ExecContext(t.Context(), `DELETE FROM inbox_items; DELETE FROM deliveries`); err != nil {
			t.Fatal(err)
		}
		write, rewrite := make()
		write("the password is hunter2, @olga and @vi")
		for _, user := range []string{"u_olga", "u_vi"} {
			if got := inbox(user); len(got) != 1 || !strings.Contains(got[0], "hunter2") {
				t.Fatalf("%s: the inbox of %s: %q", name, user, got)
			}
		}
		rewrite("removed. @olga?")
		if got := inbox("u_olga"); !slices.Equal(got, []string{"mention: removed. @olga?"}) {
			t.Errorf("%s, edited: the inbox of who is named yet: %q", name, got)
		}
		if got := inbox("u_vi"); len(got) != 0 {
			t.Errorf("%s, edited: the inbox of who is not named any more: %q", name, got)
		}
		list, err := s.FindDeliveries(who.ana, 0)
		if err != nil || len(list) != 1 || strings.Contains(list[0].Notice.Text, "hunter2") {
			t.Errorf("%s, edited: the log of notices: %+v, %v", name, list, err)
		}
		rewrite("removed. @olga? And @vi, after all")
		if got := inbox("u_vi"); len(got) != 1 {
			t.Errorf("%s: named again: %q", name, got)
		}
	}
	// The answer to a remark, and the title of a task.
	parent := mustAnnotate(t, s, who.ana, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "Who knows the key?"})
	reply := mustAnnotate(t, s, who.bo, AnnotationNew{ParentID: parent.ID, Text: "It is hunter2"})
	if _, err := s.UpdateAnnotation(who.bo, reply.ID, AnnotationUpdate{Seen: &reply.Offset, Text: text("Ask me")}); err != nil {
		t.Fatal(err)
	}
	if got := inbox("u_ana"); !slices.Equal(got, []string{"reply: Ask me"}) {
		t.Errorf("the inbox of who is answered: %q", got)
	}
	task := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindTask, Title: "Change hunter2", Assignee: "u_ana"})
	if _, err := s.UpdateBlock(who.bo, inv.ID, task.ID, BlockUpdate{Seen: &task.Offset, Title: text("Change the key")}); err != nil {
		t.Fatal(err)
	}
	if got := inbox("u_ana"); !slices.Contains(got, "task: Change the key") {
		t.Errorf("the inbox of who was given the task: %q", got)
	}
}

// What somebody wrote in place of another's words says so, on the board as it is and
// as it was.
func TestEditedByAnother(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
	note := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "It is the index."})
	remark := mustAnnotate(t, s, who.bo, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "Surely."})
	edit := func(ctx context.Context, body string) {
		t.Helper()
		p, err := s.LogPosition(ctx, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, e1 := s.UpdateBlock(ctx, inv.ID, note.ID, BlockUpdate{Seen: &p.Offset, Text: &body})
		if p, err = s.LogPosition(ctx, inv.ID); err != nil {
			t.Fatal(err)
		}
		_, e2 := s.UpdateAnnotation(ctx, remark.ID, AnnotationUpdate{Seen: &p.Offset, Text: &body})
		if err := errors.Join(e1, e2); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when, by string) {
		t.Helper()
		p, err := s.LogPosition(who.vi, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		now, err := s.Board(who.vi, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		then, err := s.BoardAt(who.vi, inv.ID, p.Offset)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string]*Board{"now": now, "then": &then.Board} {
			if got := b.Blocks[0].EditedByName + "/" + b.Annotations[0].EditedByName; got != by+"/"+by {
				t.Errorf("%s, %s: edited by %q, want %q each", when, name, got, by)
			}
		}
	}
	want("as written", "")
	edit(who.bo, "It is the disk.")
	want("edited by its author", "")
	edit(who.ana, "It is the network.")
	want("edited by another", "Ana Lima")
	edit(who.bo, "It is the disk after all.")
	want("by its author again", "")
	list, err := s.FindAudit(t.Context(), 0, 100)
	if err != nil || len(list) != 1 || list[0].Action != "annotation.edited" || list[0].Subject != string(remark.ID) || list[0].Detail != "of Bo Olsen" || list[0].ActorName != "Ana Lima" {
		t.Errorf("the audit log: %+v, %v", list, err)
	}
	if err := s.DeleteAnnotation(who.ana, remark.ID); err != nil {
		t.Fatal(err)
	}
	if list, err = s.FindAudit(t.Context(), 0, 1); err != nil || list[0].Action != "annotation.deleted" {
		t.Errorf("the audit log: %+v, %v", list, err)
	}
}

// A conflict names who set the field, which is not who changed something else last.
func TestConflictSaysWhoAndWhen(t *testing.T) {
	s, who, _ := openBoards(t)
	clock := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	s.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "one"})
	job := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindTask, Title: "roll back"})
	h := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindHypothesis, Title: "the build"})
	remark := mustAnnotate(t, s, who.ana, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: "one"})
	entry, _, err := s.CreateEntry(who.ana, inv.ID, EntryNew{Text: "one"})
	if err != nil {
		t.Fatal(err)
	}
	vi, _ := ActorFrom(who.vi)
	seen := entry.Offset
	of := func(ctx context.Context, u InvestigationUpdate) error {
		u.Seen = &seen
		_, err := s.UpdateInvestigation(ctx, inv.ID, u)
		return err
	}
	block := func(ctx context.Context, b *Block, u BlockUpdate) error {
		u.Seen = &seen
		_, err := s.UpdateBlock(ctx, inv.ID, b.ID, u)
		return err
	}
	due := clock.Add(time.Hour).UnixNano()
	for field, set := range map[string]func(ctx context.Context, n int64) error{
		"title": func(ctx context.Context, n int64) error {
			return of(ctx, InvestigationUpdate{Title: text("Slow " + strconv.FormatInt(n, 10))})
		},
		"next_update_unix_nano": func(ctx context.Context, n int64) error {
			return of(ctx, InvestigationUpdate{NextUpdateUnixNano: ptr(due + n)})
		},
		"people." + vi.ID: func(ctx context.Context, n int64) error {
			return of(ctx, InvestigationUpdate{People: map[string]*string{vi.ID: text("scribe " + strconv.FormatInt(n, 10))}})
		},
		"text": func(ctx context.Context, n int64) error {
			return block(ctx, note, BlockUpdate{Text: text("n " + strconv.FormatInt(n, 10))})
		},
		"title of block": func(ctx context.Context, n int64) error {
			return block(ctx, job, BlockUpdate{Title: text("t " + strconv.FormatInt(n, 10))})
		},
		"due_unix_nano": func(ctx context.Context, n int64) error {
			return block(ctx, job, BlockUpdate{DueUnixNano: ptr(due + n)})
		},
		"state": func(ctx context.Context, n int64) error {
			return block(ctx, h, BlockUpdate{State: ptr([]HypothesisState{HypothesisSupported, HypothesisRefuted}[n])})
		},
		"references": func(ctx context.Context, n int64) error {
			return block(ctx, h, BlockUpdate{References: References{note.ID: []EvidenceSide{SideFor, SideAgainst}[n]}})
		},
		"text of remark": func(ctx context.Context, n int64) error {
			_, err := s.UpdateAnnotation(who.ana, remark.ID, AnnotationUpdate{Seen: &seen, Text: text("r " + strconv.FormatInt(n, 10))})
			return err
		},
		"text of entry": func(ctx context.Context, n int64) error {
			_, err := s.UpdateEntry(ctx, inv.ID, entry.ID, EntryUpdate{Seen: &seen, Text: text("e " + strconv.FormatInt(n, 10))})
			return err
		},
	} {
		if err := set(who.bo, 0); err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		p, err := s.LogPosition(who.ana, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		changes, _, err := s.Changes(who.ana, inv.ID, p.Offset-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "meanwhile, " + field})
		var c *ConflictError
		if err := set(who.ana, 1); !errors.As(err, &c) || c.ActorName != changes[0].ActorName || c.AtNano != changes[0].AtNano || c.ActorName == "" {
			t.Errorf("%s: %+v, %v; want the change of %s at %d", field, c, err, changes[0].ActorName, changes[0].AtNano)
		}
	}
}
