package collab

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

func TestMerge(t *testing.T) {
	s, who, src := openBoards(t)
	origin := trace.ID{15: 7}
	src.facts = EvidenceFacts{Services: []string{"web-uk"}, Origin: origin}
	into := mustOpen(t, s, who.ana, "Slow quotes")
	first := mustBlock(t, s, who.ana, into.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	from := mustOpen(t, s, who.bo, "Stuck jobs")
	pin := mustBlock(t, s, who.bo, from.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
	gone := mustBlock(t, s, who.bo, from.ID, BlockNew{Kind: KindNote, Text: "deleted"})
	h := mustBlock(t, s, who.bo, from.ID, BlockNew{Kind: KindHypothesis, Title: "It is the build", References: References{pin.ID: SideFor}})
	picture := mustBlock(t, s, who.bo, from.ID, BlockNew{Kind: KindPicture, Title: "p", Picture: pngOf(2, 2)})
	if _, err := s.UpdateBlock(who.bo, from.ID, picture.ID, BlockUpdate{Seen: seen(5), After: ptr(BlockID(""))}); err != nil { // to the top
		t.Fatal(err)
	}
	if err := s.DeleteBlock(who.bo, from.ID, gone.ID); err != nil {
		t.Fatal(err)
	}
	remark, _, err := s.CreateAnnotation(who.bot, AnnotationNew{Anchor: Anchor{PinID: pin.ID}, Text: "look @ana"})
	if err != nil {
		t.Fatal(err)
	}
	general, _, err := s.CreateAnnotation(who.bo, AnnotationNew{Anchor: Anchor{InvestigationID: from.ID}, Text: "about it all"})
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, s, who.bo, from.ID, InvestigationUpdate{People: map[string]*string{"u_vi": text("scribe")}, Services: map[string]*bool{"pg": ptr(true)}, NextUpdateUnixNano: ptr(lastTime - 1)})

	sug, err := s.Suggest(who.vi, into.ID)
	if diff := cmp.Diff([]MergeSuggestion{{ID: from.ID, Title: "Stuck jobs", Visibility: VisibilityWorkspace, Blocks: 3, Traces: []string{origin.String()}}}, sug.Merges); err != nil || diff != "" {
		t.Fatalf("suggested: %v %s", err, diff)
	}
	setVisibility(t, s, from.ID, VisibilityPrivate)
	if sug, err = s.Suggest(who.ana, into.ID); err != nil || len(sug.Merges) != 0 {
		t.Errorf("suggested what one may not see: %+v, %v", sug, err)
	}
	if _, err := s.MergeInvestigation(who.ana, from.ID, MergeNew{Into: into.ID}); !errors.Is(err, ErrNotFound) {
		t.Errorf("merge what one may not see: %v", err)
	}
	_, err = s.MergeInvestigation(who.ana, into.ID, MergeNew{Into: from.ID})
	wantInvalid(t, "merge into what one may not see", err, "into")
	_, err = s.MergeInvestigation(who.ana, into.ID, MergeNew{Into: "i_none"})
	wantInvalid(t, "merge into what is not there", err, "into")
	setVisibility(t, s, from.ID, VisibilityWorkspace)
	_, err = s.MergeInvestigation(who.bo, from.ID, MergeNew{Into: from.ID})
	wantInvalid(t, "merge into itself", err, "into")
	if _, err := s.MergeInvestigation(who.vi, from.ID, MergeNew{Into: into.ID}); !errors.Is(err, ErrForbidden) {
		t.Errorf("a viewer merges: %v", err)
	}

	merged, err := s.MergeInvestigation(who.bo, from.ID, MergeNew{Ref: "m", Into: into.ID})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.MergeInvestigation(who.bo, from.ID, MergeNew{Ref: "m", Into: into.ID}); err != nil || again.Offset != merged.Offset {
		t.Errorf("merged again: %+v, %v", again, err)
	}
	board, err := s.Board(who.vi, into.ID)
	if err != nil {
		t.Fatal(err)
	}
	var order []BlockID
	for _, b := range board.Blocks {
		order = append(order, b.ID)
	}
	if want := []BlockID{first.ID, picture.ID, pin.ID, h.ID}; !slices.Equal(order, want) {
		t.Errorf("the board has %v, want %v", order, want)
	}
	if board.Blocks[3].References[pin.ID] != SideFor {
		t.Errorf("the hypothesis cites %v", board.Blocks[3].References)
	}
	var notes []AnnotationID
	for _, a := range board.Annotations {
		if notes = append(notes, a.ID); a.Anchor.InvestigationID != into.ID || a.Offset == 0 || a.Offset > merged.Offset {
			t.Errorf("annotation %+v", a)
		}
	}
	if !slices.Equal(notes, []AnnotationID{remark.ID, general.ID}) {
		t.Errorf("annotations %v", notes)
	}
	inv := board.Investigation
	if p := inv.asked("u_vi"); p == nil || p.Role != "scribe" || inv.asked("u_bo") == nil || inv.asked("u_ana") != nil {
		t.Errorf("people %+v", inv.People)
	}
	if !slices.ContainsFunc(inv.Services, func(a AffectedService) bool { return a.Name == "pg" && a.ByHand }) {
		t.Errorf("services %+v", inv.Services)
	}
	for _, b := range []BlockID{pin.ID} {
		if _, err := s.EvidenceByBlock(who.vi, into.ID, b); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.PictureByBlock(who.vi, into.ID, picture.ID); err != nil {
		t.Error(err)
	}
	// The log of what is left adds up to its board.
	changes, p, err := s.Changes(who.vi, into.ID, 0, 0)
	if err != nil || p.Offset != merged.Offset {
		t.Fatal(err, p)
	}
	adds := map[string]int{}
	for _, c := range changes {
		if strings.HasSuffix(string(c.Type), ".added") {
			adds[c.ID]++
		}
	}
	want := map[string]int{string(first.ID): 1, string(picture.ID): 1, string(pin.ID): 1, string(h.ID): 1, string(remark.ID): 1, string(general.ID): 1}
	if diff := cmp.Diff(want, adds); diff != "" {
		t.Errorf("added in the log: %s", diff)
	}
	// The tombstone leads there, is in no list and takes no more.
	var to *MergedError
	if _, err := s.Board(who.vi, from.ID); !errors.As(err, &to) || to.Into != into.ID {
		t.Errorf("the old board: %v", err)
	}
	if _, _, err := s.CreateBlock(who.bo, from.ID, BlockNew{Kind: KindNote, Text: "late"}); !errors.As(err, &to) {
		t.Errorf("a late note: %v", err)
	}
	if list, _, err := s.FindInvestigations(who.vi, InvestigationFilter{}); err != nil || len(list) != 1 {
		t.Errorf("listed %d, %v", len(list), err)
	}
	items, err := s.FindInbox(who.ana, "u_ana", InboxFilter{View: InboxEverything})
	if err != nil || len(items) != 1 || items[0].InvestigationID != into.ID || items[0].Path != "/i/"+string(into.ID)+"#"+string(remark.ID) {
		t.Errorf("inbox of Ana: %+v, %v", items, err)
	}
	if next, err := s.RemindDue(t.Context()); err != nil || next != 0 {
		t.Errorf("reminded of a tombstone: %d, %v", next, err)
	}
	// What is deleted where it is now, is erased where it was.
	if err := s.DeleteBlock(who.bo, into.ID, h.ID); err != nil {
		t.Fatal(err)
	}
	old, _, err := s.Changes(AsServer(t.Context()), from.ID, 0, 0)
	if err != nil || old[len(old)-1].Type != InvestigationMerged {
		t.Fatalf("the old log ends with %+v, %v", old[len(old)-1], err)
	}
	for _, c := range old {
		if strings.Contains(string(c.Data), "It is the build") {
			t.Errorf("the old log still says %s", c.Data)
		}
	}
	// Merged on, the first leads to the last.
	last := mustOpen(t, s, who.ana, "Third")
	if _, err := s.MergeInvestigation(who.ana, into.ID, MergeNew{Into: last.ID}); err != nil {
		t.Fatal(err)
	}
	if err := s.MaySee(who.vi, from.ID); !errors.As(err, &to) || to.Into != last.ID {
		t.Errorf("merged twice: %v", err)
	}
	if err := s.DeleteInvestigation(who.ana, last.ID); err != nil {
		t.Fatal(err)
	}
	if old, _, err = s.Changes(AsServer(t.Context()), from.ID, 0, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range old {
		if !strings.Contains(string(c.Data), `"erased":true`) {
			t.Errorf("after all is deleted, the log of the first says %s", c.Data)
		}
	}
}
