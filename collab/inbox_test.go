package collab

import (
	"errors"
	"testing"
	"time"
)

func TestInboxTellsWhoItConcerns(t *testing.T) {
	s, who, _ := openBoards(t)
	mayWrite(t, s, "u_vi")
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "@Ana Lima @Bo Olsen look"})
	lead := "u_vi"
	if _, err := s.UpdateInvestigation(who.ana, inv.ID, InvestigationUpdate{Seen: seen(2), Lead: &lead, Status: status(StatusMitigated)}); err != nil {
		t.Fatal(err)
	}
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "@Bo Olsen"})
	// An edit tells only those that it names anew.
	if _, err := s.UpdateBlock(who.ana, inv.ID, note.ID, BlockUpdate{Seen: seen(4), Text: text("@Bo Olsen and @Vi Ng")}); err != nil {
		t.Fatal(err)
	}
	want := map[string][]Reason{
		"u_ana": {ReasonMention},                   // not of what she did herself
		"u_bo":  {ReasonMention, ReasonStatus},     // takes part since the note
		"u_vi":  {ReasonMention, ReasonAssignment}, // of the change that made her the lead, nothing twice
	}
	for user, reasons := range want {
		items, err := s.FindInbox(t.Context(), user, InboxFilter{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[Reason]int{}
		for _, it := range items {
			got[it.Reason]++
			if it.InvestigationID != inv.ID || it.Read || it.Done || it.ActorName == "" {
				t.Errorf("%s: item %+v", user, it)
			}
		}
		if len(items) != len(reasons) {
			t.Errorf("%s has %v, want %v", user, got, reasons)
		}
		for _, r := range reasons {
			if got[r] != 1 {
				t.Errorf("%s has %v, want one %s", user, got, r)
			}
		}
	}
	items, err := s.FindInbox(t.Context(), "u_vi", InboxFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.MoveInboxItem(t.Context(), "u_bo", items[0].ID, InboxRead, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("Bo reads what is Vi's: %v", err)
	}
	if it, _, err := s.MoveInboxItem(t.Context(), "u_vi", items[0].ID, InboxRead, 0); err != nil || !it.Read {
		t.Errorf("read: %+v, %v", it, err)
	}
	if it, _, err := s.MoveInboxItem(t.Context(), "u_vi", items[1].ID, InboxDone, 0); err != nil || !it.Done {
		t.Errorf("done: %+v, %v", it, err)
	}
	if n, err := s.UnreadCount(t.Context(), "u_vi"); err != nil || n != 0 {
		t.Errorf("unread %d, %v; want 0", n, err)
	}
	if _, _, err := s.MoveInbox(t.Context(), "u_vi", InboxMove{State: InboxDone}); err != nil {
		t.Fatal(err)
	}
	if items, err = s.FindInbox(t.Context(), "u_vi", InboxFilter{}); err != nil || len(items) != 0 {
		t.Errorf("all done, and still %d, %v", len(items), err)
	}
	if _, _, err := s.MoveInboxItem(t.Context(), "u_vi", "n_x", "eaten", 0); !errors.As(err, new(*InvalidError)) {
		t.Errorf("an unknown state: %v", err)
	}
}

// Lines join, are put off, wake once, are undone, and follow rules and mutes.
func TestInboxLines(t *testing.T) {
	s, who, _ := openBoards(t)
	clock := newTestClock()
	s.now = clock.Now
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	bo := func(view InboxView) []InboxItem {
		t.Helper()
		items, err := s.FindInbox(t.Context(), "u_bo", InboxFilter{View: view})
		if err != nil {
			t.Fatal(err)
		}
		return items
	}
	move := func(m InboxMove, want int) int64 {
		t.Helper()
		n, mark, err := s.MoveInbox(t.Context(), "u_bo", m)
		if err != nil || n != want {
			t.Fatalf("move %+v: %d, %v, want %d", m, n, err, want)
		}
		return mark
	}
	note := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "@Bo Olsen look"})
	for i, text := range []string{"nobody", "@Bo Olsen again"} {
		if _, err := s.UpdateBlock(who.ana, inv.ID, note.ID, BlockUpdate{Seen: seen(int64(2 + i)), Text: &text}); err != nil {
			t.Fatal(err)
		}
	}
	if got := bo(InboxOpen); len(got) != 1 || got[0].Count != 1 || got[0].Text != "@Bo Olsen again" || got[0].Read {
		t.Fatalf("named, taken out and named again in one note: %+v", got)
	}

	// Put off: nowhere but there, until it wakes, once.
	until := clock.Now().Add(time.Hour).UnixNano()
	move(InboxMove{State: InboxSnoozed, Until: until, IDs: []InboxItemID{bo(InboxOpen)[0].ID}}, 1)
	if open, off := bo(InboxOpen), bo(InboxPutOff); len(open) != 0 || len(off) != 1 || off[0].SnoozedUnixNano != until {
		t.Fatalf("put off: open %+v, off %+v", open, off)
	}
	if next, err := s.WakeSnoozed(t.Context()); err != nil || next != until {
		t.Fatalf("too early: next %d, %v, want %d", next, err, until)
	}
	clock.Add(2 * time.Hour)
	for i := range 3 {
		if next, err := s.WakeSnoozed(t.Context()); err != nil || next != 0 {
			t.Fatalf("wake: next %d, %v", next, err)
		}
		got := bo(InboxNew)
		if i == 0 && len(got) != 1 {
			t.Fatalf("awake: %+v", got)
		}
		if i == 0 {
			move(InboxMove{State: InboxRead, Group: string(inv.ID)}, 1)
		} else if len(got) != 0 {
			t.Errorf("it woke again: %+v", got)
		}
	}
	for _, wrong := range []int64{0, 1, clock.Now().Add(400 * 24 * time.Hour).UnixNano()} {
		if _, _, err := s.MoveInbox(t.Context(), "u_bo", InboxMove{State: InboxSnoozed, Until: wrong}); !errors.As(err, new(*InvalidError)) {
			t.Errorf("put off until %d: %v", wrong, err)
		}
	}

	// Done, and undone; somebody else's mark does nothing.
	mark := move(InboxMove{State: InboxDone}, 1)
	if n, err := s.UndoInbox(t.Context(), "u_vi", mark); err != nil || n != 0 {
		t.Errorf("Vi undoes %d of Bo's, %v", n, err)
	}
	if n, err := s.UndoInbox(t.Context(), "u_bo", mark); err != nil || n != 1 || len(bo(InboxOpen)) != 1 {
		t.Errorf("undone %d, %v", n, err)
	}
	move(InboxMove{State: InboxDone}, 1)

	// Nobody selected is nobody, not all.
	mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "@Bo Olsen anew"})
	move(InboxMove{State: InboxDone, IDs: []InboxItemID{}}, 0)
	move(InboxMove{State: InboxDone, Group: "i_other"}, 0)
	move(InboxMove{State: InboxDone}, 1)

	// Muted, only what is meant for them comes; switched off, nothing of that kind.
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "I take part"})
	if err := s.SetMuted(who.bo, "u_bo", inv.ID, true); err != nil {
		t.Fatal(err)
	}
	at := mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "@Bo Olsen, muted"}).Offset
	if _, err := s.UpdateInvestigation(who.ana, inv.ID, InvestigationUpdate{Seen: seen(at), Status: status(StatusMitigated)}); err != nil {
		t.Fatal(err)
	}
	if got := bo(InboxOpen); len(got) != 1 || got[0].Reason != ReasonMention {
		t.Errorf("muted, and still %+v", got)
	}
	if muted, err := s.Muted(t.Context(), "u_bo"); err != nil || len(muted) != 1 || muted[0].Title != "Slow quotes" {
		t.Errorf("muted %+v, %v", muted, err)
	}
	move(InboxMove{State: InboxDone}, 1)
	if err := s.SetInboxRules(t.Context(), "u_bo", map[Reason]Way{ReasonMention: WayOff}); err != nil {
		t.Fatal(err)
	}
	mustBlock(t, s, who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "@Bo Olsen, off"})
	if got := bo(InboxOpen); len(got) != 0 {
		t.Errorf("switched off, and still %+v", got)
	}
	if err := s.SetInboxRules(t.Context(), "u_bo", map[Reason]Way{"weather": WayOff}); !errors.As(err, new(*InvalidError)) {
		t.Errorf("an unknown reason: %v", err)
	}
}
