package collab

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// find returns the entry of an id, nil if it is not shown.
func (tl *Timeline) find(id EntryID) *TimelineEntry {
	for i := range tl.Entries {
		if tl.Entries[i].ID == id {
			return &tl.Entries[i]
		}
	}
	return nil
}

func TestTimelineFillsItself(t *testing.T) {
	s, who, src := openBoards(t)
	clock := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	s.now = func() time.Time { clock = clock.Add(time.Minute); return clock }
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	span := time.Date(2026, 11, 22, 13, 53, 0, 0, time.UTC).UnixNano()
	src.facts = EvidenceFacts{Services: []string{"quotes-api"}, FirstUnixNano: span, LastUnixNano: span + 1e9}
	pin := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "only a note"})
	near, far := span-120e9, span-2*3600e9
	mark := func(service string, at int64) EntryID {
		m, _, err := s.CreateMarker(who.bot, MarkerNew{Message: "7f3c1e9d", Service: service, StartUnixNano: at})
		if err != nil {
			t.Fatal(err)
		}
		return EntryID(m.ID)
	}
	deploy, everywhere, early, foreign := mark("quotes-api", near), mark("", near+1), mark("quotes-api", far), mark("billing", near)
	inv = mustUpdate(t, s, who.ana, inv.ID, InvestigationUpdate{Status: status(StatusMitigated)})
	tl, err := s.Timeline(who.vi, inv.ID, TimelineQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var order []EntryID
	for _, e := range tl.Entries {
		order = append(order, e.ID)
	}
	want := []EntryID{deploy, everywhere, "c_2", "c_1", "c_4"}
	if len(order) != len(want) {
		t.Fatalf("curated: %v, want %v", order, want)
	}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("curated: %v, want %v, the first that happened first", order, want)
		}
	}
	if e := tl.find("c_2"); !e.FromEvidence || e.HappenedUnixNano != span || e.RecordedUnixNano != pin.CreatedUnixNano || e.Change.ID != string(pin.ID) {
		t.Errorf("the pin's entry %+v, want the time of its span, and that of the pin", e)
	}
	if tl.find(early) != nil || tl.find(foreign) != nil {
		t.Error("a deploy of long before, or of another service, is on the timeline")
	}
	if all, err := s.Timeline(who.vi, inv.ID, TimelineQuery{All: true, ByRecorded: true}); err != nil || all.find("c_3") == nil || all.Entries[0].ID != "c_1" {
		t.Errorf("the whole log by when it was recorded: %+v, %v", all, err)
	}
	if then, err := s.Timeline(who.vi, inv.ID, TimelineQuery{At: 2}); err != nil || then.find("c_4") != nil || then.find("c_2") == nil {
		t.Errorf("as it was at 2: %+v, %v", then, err)
	}
	// What shows there is the change itself: once it is erased, so is the entry.
	if err := s.DeleteBlock(who.ana, inv.ID, pin.ID); err != nil {
		t.Fatal(err)
	}
	if tl, err = s.Timeline(who.vi, inv.ID, TimelineQuery{}); err != nil || tl.find("c_2") != nil {
		t.Errorf("a pin that was erased is on the timeline: %+v, %v", tl, err)
	}
}

func TestTimelineIsEdited(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.ana, "Slow quotes")
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "the pool is full"})
	e, created, err := s.CreateEntry(who.bo, inv.ID, EntryNew{Ref: "r", Text: "Called the vendor", HappenedUnixNano: 1_700_000_000_000_000_005})
	if err != nil || !created {
		t.Fatal(err)
	}
	if again, created, err := s.CreateEntry(who.bo, inv.ID, EntryNew{Ref: "r", Text: "Called the vendor", HappenedUnixNano: 1_700_000_000_000_000_005}); err != nil || created || again.ID != e.ID {
		t.Errorf("the same ref again: %+v, %v, %v", again, created, err)
	}
	edit := func(id EntryID, u EntryUpdate) *TimelineEntry {
		t.Helper()
		p, err := s.LogPosition(who.ana, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		u.Seen = &p.Offset
		got, err := s.UpdateEntry(who.ana, inv.ID, id, u)
		if err != nil {
			t.Fatalf("edit %s: %v", id, err)
		}
		return got
	}
	edit("c_2", EntryUpdate{Pinned: ptr(true), Text: text("The pool was full"), HappenedUnixNano: ptr(int64(1_700_000_000_000_000_007))})
	edit("c_1", EntryUpdate{Hidden: ptr(true)})
	edit(e.ID, EntryUpdate{Text: text("Called the vendor, again")})
	tl, err := s.Timeline(who.vi, inv.ID, TimelineQuery{})
	if err != nil || len(tl.Entries) != 2 || tl.Hidden != 1 {
		t.Fatalf("%+v, %v; want the entry by hand and the note brought in", tl, err)
	}
	if got := tl.find("c_2"); got == nil || got.Text != "The pool was full" || got.HappenedUnixNano != 1_700_000_000_000_000_007 || !got.Edited || got.Change.Type != NoteAdded {
		t.Errorf("the note's entry: %+v", got)
	}
	if got := tl.find(e.ID); got == nil || got.Text != "Called the vendor, again" || got.HappenedUnixNano != 1_700_000_000_000_000_005 || got.ActorName != "Bo Olsen" {
		t.Errorf("the entry by hand: %+v", got)
	}
	edit("c_2", EntryUpdate{Text: text(""), HappenedUnixNano: ptr(int64(0))})
	if tl, err = s.Timeline(who.vi, inv.ID, TimelineQuery{}); err != nil || tl.find("c_2").Edited || tl.find("c_2").HappenedUnixNano != tl.find("c_2").RecordedUnixNano {
		t.Errorf("given back its own: %+v, %v", tl.find("c_2"), err)
	}
	var conflict *ConflictError
	if _, err := s.UpdateEntry(who.bo, inv.ID, e.ID, EntryUpdate{Seen: &e.Offset, Text: text("mine")}); !errors.As(err, &conflict) || conflict.Theirs != "Called the vendor, again" {
		t.Errorf("an edit of what was not seen: %v", err)
	}
	for _, id := range []EntryID{"c_99", "c_0", "c_02", "c_-1", "c_3", "e_none", "k_none", "x", ""} { // 3 is the entry by hand itself
		if _, err := s.UpdateEntry(who.ana, inv.ID, id, EntryUpdate{Seen: &e.Offset, Hidden: ptr(true)}); !errors.Is(err, ErrNotFound) {
			t.Errorf("entry %q: %v, want none", id, err)
		}
	}
	wantInvalid(t, "deleting what the log says", s.DeleteEntry(who.ana, inv.ID, "c_2"), "")
	if err := s.DeleteEntry(who.ana, inv.ID, e.ID); err != nil {
		t.Fatal(err)
	}
	if tl, err = s.Timeline(who.vi, inv.ID, TimelineQuery{All: true}); err != nil || tl.find(e.ID) != nil {
		t.Errorf("it is still there: %+v, %v", tl, err)
	}
	list, _, err := s.Changes(who.vi, inv.ID, 2, 1)
	if err != nil || string(list[0].Data) != `{"id":"`+string(e.ID)+`","erased":true}` {
		t.Errorf("its bytes: %s, %v", list[0].Data, err)
	}
}

func TestMarkers(t *testing.T) {
	s, who, _ := openBoards(t)
	m, created, err := s.CreateMarker(who.bot, MarkerNew{Ref: "v42", Message: "  release\nv42 ", URL: "https://ci.example/42", StartUnixNano: 100, EndUnixNano: 200})
	if err != nil || !created || m.Type != "deploy" || m.Message != "release v42" {
		t.Fatalf("%+v, %v", m, err)
	}
	if again, created, err := s.CreateMarker(who.bot, MarkerNew{Ref: "v42", Message: "  release\nv42 ", URL: "https://ci.example/42", StartUnixNano: 100, EndUnixNano: 200}); err != nil || created || again.ID != m.ID {
		t.Errorf("the same ref again: %+v, %v", again, err)
	}
	for _, f := range []struct {
		MarkerFilter
		want int
	}{{MarkerFilter{}, 1}, {MarkerFilter{FromUnixNano: 150}, 1}, {MarkerFilter{FromUnixNano: 201}, 0}, {MarkerFilter{ToUnixNano: 99}, 0}, {MarkerFilter{Services: []string{"x"}, Environment: "y"}, 1}, {MarkerFilter{Type: "flag"}, 0}} {
		if list, err := s.FindMarkers(who.vi, f.MarkerFilter); err != nil || len(list) != f.want {
			t.Errorf("%+v: %+v, %v; want %d", f.MarkerFilter, list, err, f.want)
		}
	}
	_, _, err = s.CreateMarker(who.bot, MarkerNew{StartUnixNano: 5, EndUnixNano: 4})
	wantInvalid(t, "an end before the begin", err, "end_time")
	_, _, err = s.CreateMarker(who.bot, MarkerNew{URL: "javascript:alert(1)"})
	wantInvalid(t, "a bad address", err, "url")
	if err := s.DeleteMarker(who.bo, m.ID); !errors.Is(err, ErrForbidden) {
		t.Errorf("deleted by another member: %v", err)
	}
	if err := errors.Join(s.DeleteMarker(who.ana, m.ID), s.DeleteMarker(who.ana, m.ID)); err != nil {
		t.Error(err)
	}
}

// A timeline as it was has no marker that was put later, whatever it is about.
func TestReplayKnowsNothingTold(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
	mustMarker := func(message string) {
		t.Helper()
		if _, _, err := s.CreateMarker(who.bot, MarkerNew{Message: message, StartUnixNano: inv.CreatedUnixNano - 60e9}); err != nil {
			t.Fatal(err)
		}
	}
	markers := func(at int64) (list []string) {
		t.Helper()
		tl, err := s.Timeline(who.vi, inv.ID, TimelineQuery{At: at, All: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range tl.Entries {
			if e.Marker != nil {
				list = append(list, e.Marker.Message)
			}
		}
		return list
	}
	mustMarker("known")
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "one"})
	mustMarker("told later")
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "two"})
	if got := markers(2); !slices.Equal(got, []string{"known"}) {
		t.Errorf("then: %q", got)
	}
	if got := markers(0); len(got) != 2 {
		t.Errorf("now: %q", got)
	}
}
