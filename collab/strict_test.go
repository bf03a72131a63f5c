package collab

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What cannot be seen is no title, remark or service.
func TestWhatCannotBeSeenIsRefused(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
	for _, none := range []string{"\u200b", "\ufeff", "\x00\x1b", "\u2060 \u00ad", "\u3164", "\u202e", "\u0301"} {
		_, _, err := s.CreateInvestigation(who.bo, InvestigationNew{Title: none})
		wantInvalid(t, "title "+quoted(none), err, "title")
		_, _, err = s.CreateAnnotation(who.bo, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID}, Text: none})
		wantInvalid(t, "remark "+quoted(none), err, "text")
		_, _, err = s.CreateBlock(who.bo, inv.ID, BlockNew{Kind: KindNote, Text: none})
		wantInvalid(t, "note "+quoted(none), err, "text")
	}
	for _, name := range []string{"web\nuk", "web\tuk", "web\x1b[31m"} {
		_, err := s.UpdateInvestigation(who.bo, inv.ID, InvestigationUpdate{Seen: &inv.Offset, Services: map[string]*bool{name: ptr(true)}})
		wantInvalid(t, "service "+quoted(name), err, "services")
	}
	got := mustOpen(t, s, who.bo, "Ça va\x1b[31m ✓ 東京 🔥")
	if got.Title != "Ça va[31m ✓ 東京 🔥" {
		t.Errorf("title %q", got.Title)
	}
}

func quoted(s string) string { return strings.Trim(strings.ToValidUTF8(s, "?"), "\n") }

// A request sent again after what it made was deleted says that it was done.
func TestRetryAfterDeletion(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
	n := BlockNew{Ref: "r1", Kind: KindNote, Text: "one"}
	b := mustBlock(t, s, who.bo, inv.ID, n)
	if err := s.DeleteBlock(who.ana, inv.ID, b.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateBlock(who.bo, inv.ID, n); !errors.Is(err, ErrErased) {
		t.Errorf("again: %v, want ErrErased", err)
	}
}

func TestAReplyHangsWhereItsParentDoes(t *testing.T) {
	s, who, _ := openBoards(t)
	public, private := mustOpen(t, s, who.bo, "public"), mustOpen(t, s, who.bo, "private")
	setVisibility(t, s, private.ID, VisibilityPrivate)
	a := mustAnnotate(t, s, who.bo, AnnotationNew{Anchor: Anchor{InvestigationID: public.ID}, Text: "one"})
	_, _, err := s.CreateAnnotation(who.bo, AnnotationNew{ParentID: a.ID, Anchor: Anchor{InvestigationID: private.ID}, Text: "for few"})
	wantInvalid(t, "an anchor that contradicts", err, "anchor")
	mustAnnotate(t, s, who.bo, AnnotationNew{ParentID: a.ID, Anchor: Anchor{InvestigationID: public.ID}, Text: "the same"})
}

// What was said together with when the impact began was said when it was said.
func TestTimelineOfAMixedChange(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
	start := inv.CreatedUnixNano - int64(time.Hour)
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{ImpactStartUnixNano: &start, NextUpdateUnixNano: ptr(inv.CreatedUnixNano + int64(time.Hour))})
	begun := start + int64(time.Minute)
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{ImpactStartUnixNano: &begun})
	tl, err := s.Timeline(who.vi, inv.ID, TimelineQuery{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if e := tl.find("c_2"); e.HappenedUnixNano != e.RecordedUnixNano {
		t.Errorf("the mixed one happened at %d, recorded at %d", e.HappenedUnixNano, e.RecordedUnixNano)
	}
	if e := tl.find("c_3"); e.HappenedUnixNano != begun {
		t.Errorf("that of the impact alone happened at %d, want %d", e.HappenedUnixNano, begun)
	}
	for _, at := range []int64{5, 9223372036854775807, -1} {
		_, _, err := s.CreateEntry(who.bo, inv.ID, EntryNew{Text: "x", HappenedUnixNano: at})
		wantInvalid(t, "an absurd time", err, "happened_unix_nano")
	}
}

// What is on its way to a target while its investigation is closed to others stays in
// the log, without what it said.
func TestNoticeTakenBackWhileItIsSent(t *testing.T) {
	s, who, _ := openBoards(t)
	if _, err := s.CreateTarget(who.ana, TargetNew{Name: "all", URL: "https://hooks.example.com/x", Reasons: []Reason{ReasonOpened}}); err != nil {
		t.Fatal(err)
	}
	inv := mustOpen(t, s, who.bo, "Secret")
	list, err := s.FindDeliveries(who.ana, 0)
	if err != nil || len(list) != 1 {
		t.Fatalf("deliveries %+v, %v", list, err)
	}
	d, err := s.LeaseDelivery(t.Context(), list[0].ID, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Visibility: ptr(VisibilityPrivate)})
	if err := s.FinishAttempt(t.Context(), d.ID, Attempt{Number: 1, AtUnixNano: s.nowNano(), Status: 200}, DeliveryDelivered); err != nil {
		t.Fatalf("finish what was taken back: %v", err)
	}
	if list, err = s.FindDeliveries(who.ana, 0); err != nil || len(list) != 1 || list[0].State != DeliveryDelivered || len(list[0].Log) != 1 {
		t.Fatalf("deliveries %+v, %v; want the one that went out", list, err)
	}
	if n := list[0].Notice; strings.Contains(n.Title+n.Path+n.Text+string(n.InvestigationID), "Secret") || n.InvestigationID != "" || n.Path != "" {
		t.Errorf("the log says %+v", n)
	}
	if err := s.ReplayDelivery(t.Context(), d.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("sent again: %v", err)
	}
}
