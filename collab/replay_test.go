package collab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// randomRun makes random changes to a board and keeps what it was after each.
type randomRun struct {
	t       *testing.T
	s       *Store
	who     people
	src     *fakeEvidence
	r       *rand.Rand
	id      InvestigationID
	boards  map[int64]*Board
	service map[BlockID]string // of a pin's evidence
	entries []EntryID
}

func (run *randomRun) actor() context.Context {
	return []context.Context{run.who.ana, run.who.bo, run.who.bot}[run.r.IntN(3)]
}

// allow drops the refusals that random changes meet.
func (run *randomRun) allow(err error) {
	run.t.Helper()
	var invalid *InvalidError
	if err != nil && !errors.As(err, &invalid) && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrNotFound) {
		run.t.Fatal(err)
	}
}

func (run *randomRun) keep() *Board {
	run.t.Helper()
	b, err := run.s.Board(AsServer(run.who.ana), run.id)
	if err != nil {
		run.t.Fatal(err)
	}
	run.boards[b.Investigation.Offset] = b
	return b
}

func (run *randomRun) addBlock(b *Board) {
	i := run.r.IntN(1_000_000)
	kinds := []BlockNew{{Kind: KindNote, Text: fmt.Sprint("note ", i)}, {Kind: KindTask, Title: fmt.Sprint("task ", i), Assignee: "u_bo"}, {Kind: KindLink, URL: "https://a.example/"},
		{Kind: KindHypothesis, Title: fmt.Sprint("it is ", i)}, {Kind: KindSpan, TraceID: traceA, SpanID: spanA}, {Kind: KindQuery, Query: json.RawMessage(`{"limit":3}`)}, {Kind: KindTrace, TraceID: fmt.Sprintf("%032x", i+1)}}
	service := fmt.Sprintf("service-%d", run.r.IntN(5))
	run.src.facts = EvidenceFacts{Services: []string{service}, FirstUnixNano: int64(i + 1), LastUnixNano: int64(i + 2)}
	made, _, err := run.s.CreateBlock(run.actor(), run.id, kinds[run.r.IntN(len(kinds))])
	run.allow(err)
	if err == nil && made.Kind.Pin() {
		run.service[made.ID] = service
	}
}

func (run *randomRun) changeBlock(b *Board) {
	if len(b.Blocks) == 0 {
		return
	}
	x := &b.Blocks[run.r.IntN(len(b.Blocks))]
	other := &b.Blocks[run.r.IntN(len(b.Blocks))]
	if run.r.IntN(6) == 0 {
		run.allow(run.s.DeleteBlock(run.actor(), run.id, x.ID))
		return
	}
	u := BlockUpdate{Seen: &b.Investigation.Offset}
	switch run.r.IntN(4) {
	case 0:
		u.Title = text(fmt.Sprint("title ", run.r.IntN(99)))
	case 1:
		u.After = &other.ID
	case 2:
		u.Text = text(fmt.Sprint("text ", run.r.IntN(99)))
	default:
		switch x.Kind {
		case KindTask:
			u.Done, u.Assignee, u.DueUnixNano = ptr(run.r.IntN(2) == 0), text([]string{"", "u_ana"}[run.r.IntN(2)]), ptr(int64(run.r.IntN(3)))
		case KindHypothesis:
			u.State = ptr(HypothesisStates[run.r.IntN(len(HypothesisStates))])
			if other.Kind.Citable() {
				u.References = References{other.ID: []EvidenceSide{SideFor, SideAgainst, SideNone}[run.r.IntN(3)]}
			}
		default:
			return
		}
	}
	_, err := run.s.UpdateBlock(run.actor(), run.id, x.ID, u)
	run.allow(err)
}

func (run *randomRun) annotate(b *Board) {
	n := AnnotationNew{Text: fmt.Sprint("remark ", run.r.IntN(99)), Anchor: Anchor{InvestigationID: run.id, AtUnixNano: int64(run.r.IntN(3))}}
	if len(b.Blocks) > 0 && run.r.IntN(2) == 0 {
		n.Anchor = Anchor{PinID: b.Blocks[run.r.IntN(len(b.Blocks))].ID}
	}
	if len(b.Annotations) == 0 || run.r.IntN(4) == 0 {
		_, _, err := run.s.CreateAnnotation(run.actor(), n)
		run.allow(err)
		return
	}
	a := &b.Annotations[run.r.IntN(len(b.Annotations))]
	var err error
	switch run.r.IntN(5) {
	case 0:
		_, _, err = run.s.CreateAnnotation(run.actor(), AnnotationNew{ParentID: a.ID, Text: n.Text})
	case 1:
		_, err = run.s.React(run.actor(), a.ID, AnnotationReactions[run.r.IntN(2)], run.r.IntN(3) > 0)
	case 2:
		_, err = run.s.UpdateAnnotation(run.actor(), a.ID, AnnotationUpdate{Resolved: ptr(run.r.IntN(2) == 0)})
	case 3:
		_, err = run.s.UpdateAnnotation(run.actor(), a.ID, AnnotationUpdate{Seen: &b.Investigation.Offset, Text: &n.Text})
	default:
		err = run.s.DeleteAnnotation(run.actor(), a.ID)
	}
	run.allow(err)
}

func (run *randomRun) changeHead(b *Board, team TeamID) {
	u := InvestigationUpdate{Seen: &b.Investigation.Offset}
	switch run.r.IntN(7) {
	case 0:
		u.Status = ptr(Statuses[run.r.IntN(len(Statuses))])
	case 1:
		u.Severity, u.Title = ptr(Severities[run.r.IntN(len(Severities))]), text(fmt.Sprint("Slow ", run.r.IntN(9)))
	case 2:
		u.Lead = text([]string{"", "u_ana", "u_bo"}[run.r.IntN(3)])
	case 3:
		u.People = map[string]*string{"u_vi": []*string{nil, text(""), text("scribe")}[run.r.IntN(3)]}
	case 4:
		u.Teams = map[TeamID]bool{team: run.r.IntN(2) == 0}
	case 5:
		u.Services = map[string]*bool{fmt.Sprintf("service-%d", run.r.IntN(7)): []*bool{nil, ptr(true), ptr(false)}[run.r.IntN(3)]}
	default:
		u.ImpactStartUnixNano, u.NextUpdateUnixNano = ptr(int64(run.r.IntN(9))), ptr(int64(run.r.IntN(9)))
	}
	_, err := run.s.UpdateInvestigation(run.actor(), run.id, u)
	run.allow(err)
}

func (run *randomRun) changeTimeline(b *Board) {
	if len(run.entries) == 0 || run.r.IntN(3) == 0 {
		e, _, err := run.s.CreateEntry(run.actor(), run.id, EntryNew{Text: "rolled back", HappenedUnixNano: int64(run.r.IntN(99))})
		run.allow(err)
		if err == nil {
			run.entries = append(run.entries, e.ID, EntryID(fmt.Sprintf("c_%d", 1+run.r.Int64N(b.Investigation.Offset))))
		}
		return
	}
	_, err := run.s.UpdateEntry(run.actor(), run.id, run.entries[run.r.IntN(len(run.entries))], EntryUpdate{Seen: &b.Investigation.Offset, Pinned: ptr(run.r.IntN(2) == 0), Text: text("edited")})
	run.allow(err)
}

// then is what a kept board is without what was erased since.
func (run *randomRun) then(was, now *Board) *Board {
	there := map[string]bool{}
	for i := range now.Blocks {
		there[string(now.Blocks[i].ID)] = true
	}
	for i := range now.Annotations {
		there[string(now.Annotations[i].ID)] = true
	}
	inv := *was.Investigation
	out := &Board{Investigation: &inv, Blocks: []Block{}, Annotations: []Annotation{}}
	derived := map[string]bool{}
	for _, b := range was.Blocks {
		if there[string(b.ID)] {
			b.fieldOffsets = nil
			out.Blocks = append(out.Blocks, b)
			derived[run.service[b.ID]] = true
		}
	}
	for _, a := range was.Annotations {
		if there[string(a.ID)] {
			a.fieldOffsets = nil
			out.Annotations = append(out.Annotations, a)
		}
	}
	inv.Services = []AffectedService{}
	for _, s := range was.Investigation.Services {
		s.Derived = s.Derived && derived[s.Name]
		if s.Derived || s.ByHand {
			inv.Services = append(inv.Services, s)
		}
	}
	return out
}

// TestReplayIsWhatItWas makes random boards, and wants what the log adds up to at
// every offset to be what the board was then, without what was erased since.
func TestReplayIsWhatItWas(t *testing.T) {
	for seed := range uint64(12) {
		s, who, src := openBoards(t)
		var tick int64 = 1_700_000_000_000_000_000
		s.now = func() time.Time { tick += 1e9; return time.Unix(0, tick) }
		team := mustTeam(t, s, who.ana, "Quotes", nil)
		run := &randomRun{t: t, s: s, who: who, src: src, r: rand.New(rand.NewPCG(seed, 5)), boards: map[int64]*Board{}, service: map[BlockID]string{}}
		run.id = mustOpen(t, s, who.ana, "Slow").ID
		b := run.keep()
		for range 120 {
			switch run.r.IntN(6) {
			case 0:
				run.addBlock(b)
			case 1, 2:
				run.changeBlock(b)
			case 3:
				run.annotate(b)
			case 4:
				run.changeHead(b, team.ID)
			default:
				run.changeTimeline(b)
			}
			b = run.keep()
		}
		compared := 0
		for at := int64(1); at <= b.Investigation.Offset; at++ {
			got, err := s.BoardAt(who.vi, run.id, at)
			if err != nil {
				t.Fatalf("seed %d, offset %d: %v", seed, at, err)
			}
			was := run.boards[at]
			if was == nil {
				continue // in the middle of a transaction
			}
			compared++
			if diff := cmp.Diff(asJSON(t, run.then(was, b)), asJSON(t, &got.Board)); diff != "" {
				t.Fatalf("seed %d: the board at %d (-as it was +replayed):\n%s", seed, at, diff)
			}
			if lost := len(was.Blocks) + len(was.Annotations) - len(got.Blocks) - len(got.Annotations); lost != len(got.Erased) {
				t.Errorf("seed %d: the board at %d lost %d to deletion and says %d", seed, at, lost, len(got.Erased))
			}
			if _, err := s.Timeline(who.vi, run.id, TimelineQuery{At: at}); err != nil {
				t.Fatalf("seed %d: timeline at %d: %v", seed, at, err)
			}
		}
		if compared < 60 {
			t.Errorf("seed %d: only %d boards were compared", seed, compared)
		}
	}
}

func asJSON(t *testing.T, b *Board) string {
	t.Helper()
	raw, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestReplayRefusesWhatIsNotInTheLog(t *testing.T) {
	s, who, _ := openBoards(t)
	inv, _, err := s.CreateInvestigation(who.ana, InvestigationNew{Title: "Hush", Visibility: VisibilityPrivate})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{-1, 0, 2} {
		_, err := s.BoardAt(who.ana, inv.ID, at)
		wantInvalid(t, fmt.Sprint("offset ", at), err, "at")
	}
	if _, err := s.BoardAt(who.bo, inv.ID, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's board: %v", err)
	}
	if _, err := s.Timeline(who.bo, inv.ID, TimelineQuery{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's timeline: %v", err)
	}
	if _, err := s.OffsetAt(who.bo, inv.ID, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's log: %v", err)
	}
}
