package collab

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	// A title turns nothing around that stands beside it.
	got = mustOpen(t, s, who.bo, "\u202Eevil\u202C \u2066x \u05E9\u05DC\u05D5\u05DD\u200F")
	if got.Title != "evil x \u05E9\u05DC\u05D5\u05DD\u200F" {
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
	whole := InvestigationNew{Ref: "r2", Title: "y"}
	made, _, err := s.CreateInvestigation(who.bo, whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteInvestigation(who.bo, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateInvestigation(who.bo, whole); !errors.Is(err, ErrErased) {
		t.Errorf("the investigation again: %v, want ErrErased", err)
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

// One change that speaks of several times has an entry at each: what was done is of
// when it was told, the impact of when it was.
func TestTimelineOfAMixedChange(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
	start := inv.CreatedUnixNano - int64(time.Hour)
	over, next := start+int64(time.Minute), inv.CreatedUnixNano+int64(time.Hour)
	ana, _ := ActorFrom(who.ana)
	// 2: all at once. 3: the impact alone. 4: both its ends. 5: taken back.
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{ImpactStartUnixNano: &start, ImpactEndUnixNano: &over, NextUpdateUnixNano: &next, People: map[string]*string{ana.ID: ptr("comms")}})
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{ImpactStartUnixNano: ptr(start + 1), NextUpdateUnixNano: ptr(next + 1)})
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{ImpactStartUnixNano: ptr(start + 2), ImpactEndUnixNano: ptr(over + 2)})
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{ImpactStartUnixNano: ptr(int64(0)), ImpactEndUnixNano: ptr(int64(0))})
	entries := func(all bool) map[EntryID]string {
		t.Helper()
		tl, err := s.Timeline(who.vi, inv.ID, TimelineQuery{All: all})
		if err != nil {
			t.Fatal(err)
		}
		out := map[EntryID]string{}
		for _, e := range tl.Entries {
			var d struct{ Fields map[string]json.RawMessage }
			if err := json.Unmarshal(e.Change.Data, &d); err != nil {
				t.Fatal(err)
			}
			at := "told"
			if e.HappenedUnixNano != e.RecordedUnixNano {
				at = strconv.FormatInt(e.HappenedUnixNano-start, 10)
			}
			out[e.ID] = strings.Join(append([]string{at}, slices.Sorted(maps.Keys(d.Fields))...), " ")
		}
		return out
	}
	const minute = "60000000000"
	want := map[EntryID]string{
		"c_1":       "told",
		"c_2":       "told next_update_unix_nano people",
		"c_2_begun": "0 impact_start_unix_nano",
		"c_2_over":  minute + " impact_end_unix_nano",
		"c_3":       "told next_update_unix_nano",
		"c_3_begun": "1 impact_start_unix_nano",
		"c_4":       "2 impact_start_unix_nano",
		"c_4_over":  "60000000002 impact_end_unix_nano",
		"c_5":       "told impact_end_unix_nano impact_start_unix_nano",
	}
	if got := entries(true); !maps.Equal(got, want) {
		t.Errorf("all: %s", cmp.Diff(want, got))
	}
	delete(want, "c_3") // a promise does not matter by itself
	if got := entries(false); !maps.Equal(got, want) {
		t.Errorf("curated: %s", cmp.Diff(want, got))
	}
	// The log has one change for each, with all that it says.
	list, _, err := s.Changes(who.vi, inv.ID, 1, 1)
	if err != nil || !strings.Contains(string(list[0].Data), "people") || !strings.Contains(string(list[0].Data), "impact_end_unix_nano") {
		t.Errorf("change 2: %s, %v", list[0].Data, err)
	}
	// What is said about one entry is not said about its neighbour.
	edit := func(id EntryID, u EntryUpdate) {
		t.Helper()
		p, err := s.LogPosition(who.bo, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		u.Seen = &p.Offset
		if _, err := s.UpdateEntry(who.bo, inv.ID, id, u); err != nil {
			t.Fatalf("edit %s: %v", id, err)
		}
	}
	edit("c_2_begun", EntryUpdate{Hidden: ptr(true)})
	edit("c_2_over", EntryUpdate{Text: text("over for most")})
	edit("c_3", EntryUpdate{Pinned: ptr(true)})
	delete(want, "c_2_begun")
	want["c_3"] = "told next_update_unix_nano"
	if got := entries(false); !maps.Equal(got, want) {
		t.Errorf("curated, after edits: %s", cmp.Diff(want, got))
	}
	tl, err := s.Timeline(who.vi, inv.ID, TimelineQuery{})
	if err != nil || tl.find("c_2").Edited || tl.find("c_2_over").Text != "over for most" || !tl.find("c_3").Pinned || tl.find("c_3_begun").Pinned {
		t.Errorf("after edits: %+v, %v", tl, err)
	}
	for _, id := range []EntryID{"c_1_over", "c_3_over", "c_4_begun", "c_5_begun", "c_2_", "c_2_begun_over", "c_02_over"} {
		if _, err := s.UpdateEntry(who.bo, inv.ID, id, EntryUpdate{Seen: &inv.Offset, Hidden: ptr(true)}); !errors.Is(err, ErrNotFound) {
			t.Errorf("entry %q: %v, want none", id, err)
		}
	}
}

func TestEntryOfAnAbsurdTime(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
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
