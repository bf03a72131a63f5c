package collab

import (
	"errors"
	"testing"
)

func TestInboxTellsWhoItConcerns(t *testing.T) {
	s, who, _ := openBoards(t)
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
