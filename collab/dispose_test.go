package collab

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"redthread/tracestore/trace"
)

// memberOf makes another member and returns a context of theirs.
func memberOf(t *testing.T, s *Store, id, name string) context.Context {
	t.Helper()
	_, err := s.write.ExecContext(t.Context(), `INSERT INTO users (id, name, email, role, password_hash, created_at) VALUES (?, ?, ?, 'member', '', 1)`, id, name, strings.ToLower(strings.Fields(name)[0])+"@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return WithActor(t.Context(), Actor{Kind: ActorUser, ID: id, Name: name, Role: RoleMember})
}

// Nobody takes an investigation away from the others who is not its lead, did not
// open it and is no administrator: neither by deleting it, nor by merging it into one
// that fewer may see, nor by letting fewer see it.
func TestWhoMayTakeAnInvestigationAway(t *testing.T) {
	s, who, _ := openBoards(t)
	olga := memberOf(t, s, "u_olga", "Olga Ruiz")
	inv := mustOpen(t, s, who.bo, "SEV1 live incident")
	mine, _, err := s.CreateInvestigation(olga, InvestigationNew{Title: "Mine", Visibility: VisibilityPrivate})
	if err != nil {
		t.Fatal(err)
	}
	public, _, err := s.CreateInvestigation(olga, InvestigationNew{Title: "Public"})
	if err != nil {
		t.Fatal(err)
	}
	attempts := func(when string) {
		t.Helper()
		p, err := s.LogPosition(olga, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, e1 := s.MergeInvestigation(olga, inv.ID, MergeNew{Into: mine.ID, Sure: true})
		_, e2 := s.MergeInvestigation(olga, inv.ID, MergeNew{Into: public.ID, Sure: true})
		_, e3 := s.UpdateInvestigation(olga, inv.ID, InvestigationUpdate{Seen: &p.Offset, Visibility: ptr(VisibilityPrivate)})
		_, e4 := s.UpdateInvestigation(olga, inv.ID, InvestigationUpdate{Seen: &p.Offset, Visibility: ptr(VisibilityTeam)})
		for i, err := range []error{e1, e2, e3, e4, s.DeleteInvestigation(olga, inv.ID)} {
			var said *ForbiddenError
			if !errors.As(err, &said) || !errors.Is(err, ErrForbidden) || !strings.Contains(said.Message, "opened it") {
				t.Errorf("%s, attempt %d: got %v, want it refused in words", when, i, err)
			}
		}
		if after, err := s.InvestigationByID(who.vi, inv.ID); err != nil || after.Offset != p.Offset {
			t.Fatalf("%s: the others see %+v, %v", when, after, err)
		}
	}
	attempts("who takes no part")
	mustUpdate(t, s, olga, inv.ID, InvestigationUpdate{Lead: text("u_olga")})
	attempts("who made themselves lead")
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Lead: text("")})
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Lead: text("u_olga")})
	team := mustTeam(t, s, who.ana, "Dealers", nil, "u_vi")
	if got := mustUpdate(t, s, olga, inv.ID, InvestigationUpdate{Visibility: ptr(VisibilityTeam), Teams: map[TeamID]bool{team.ID: true}}); got.Visibility != VisibilityTeam {
		t.Errorf("whom others made lead: %+v", got)
	}
	// What an alert opened, whoever takes care of it has.
	alert := mustOpen(t, s, who.bot, "Alert")
	mustUpdate(t, s, olga, alert.ID, InvestigationUpdate{Lead: text("u_olga")})
	if err := s.DeleteInvestigation(olga, alert.ID); err != nil {
		t.Errorf("a lead of what no person opened: %v", err)
	}
}

// A merge by which others see more, or less, than before says so, and asks.
func TestMergeSaysWhoSeesWhat(t *testing.T) {
	s, who, src := openBoards(t)
	memberOf(t, s, "u_olga", "Olga Ruiz")
	open := func(title string, v Visibility, asked ...string) *Investigation {
		t.Helper()
		n := InvestigationNew{Title: title, Visibility: v}
		if v == VisibilityTeam {
			n.Teams = TeamsNew{mustTeam(t, s, who.ana, "Dealers", nil, "u_vi").ID}
		}
		inv, _, err := s.CreateInvestigation(who.bo, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range asked {
			mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{People: map[string]*string{id: text("")}})
		}
		return inv
	}
	for _, c := range []struct {
		name       string
		from, into *Investigation
		says       string // "": nobody sees anything else
	}{
		{"all to all", open("a", VisibilityWorkspace), open("b", VisibilityWorkspace), ""},
		{"private to all", open("a", VisibilityPrivate), open("b", VisibilityWorkspace), "More people"},
		{"all to private", open("a", VisibilityWorkspace), open("b", VisibilityPrivate), "Fewer people"},
		{"all to a team", open("a", VisibilityWorkspace), open("b", VisibilityTeam), "Fewer people"},
		{"private to private, the same people", open("a", VisibilityPrivate, "u_vi"), open("b", VisibilityPrivate, "u_vi"), ""},
		{"private to private, others", open("a", VisibilityPrivate, "u_vi"), open("b", VisibilityPrivate, "u_olga"), "Not the same people"},
	} {
		_, err := s.MergeInvestigation(who.bo, c.from.ID, MergeNew{Into: c.into.ID})
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Field != "sure" || !strings.Contains(invalid.Message, c.says) {
			t.Errorf("%s: got %v, want to be asked with %q", c.name, err, c.says)
		}
		if _, err := s.MergeInvestigation(who.bo, c.from.ID, MergeNew{Into: c.into.ID, Sure: true}); err != nil {
			t.Errorf("%s, sure: %v", c.name, err)
		}
	}
	// A suggestion says whether the actor may.
	src.facts.Origin = trace.ID{15: 7}
	one, other := open("one", VisibilityWorkspace), mustOpen(t, s, who.ana, "other")
	mustBlock(t, s, who.bo, one.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	mustBlock(t, s, who.ana, other.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	for ctx, want := range map[context.Context]bool{who.bo: false, who.ana: true} {
		if sug, err := s.Suggest(ctx, one.ID); err != nil || len(sug.Merges) != 1 || sug.Merges[0].MayMerge != want {
			t.Errorf("suggested %+v, %v; may merge: want %v", sug.Merges, err, want)
		}
	}
}

func TestAuditOfInvestigations(t *testing.T) {
	s, who, _ := openBoards(t)
	a, b, hidden := mustOpen(t, s, who.bo, "a"), mustOpen(t, s, who.bo, "b"), mustOpen(t, s, who.bo, "hidden")
	team := mustTeam(t, s, who.ana, "Dealers", nil, "u_vi")
	mustUpdate(t, s, who.bo, hidden.ID, InvestigationUpdate{Visibility: ptr(VisibilityTeam), Teams: map[TeamID]bool{team.ID: true}})
	mustUpdate(t, s, who.bo, hidden.ID, InvestigationUpdate{Visibility: ptr(VisibilityPrivate)})
	if _, err := s.MergeInvestigation(who.bo, a.ID, MergeNew{Into: b.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.MergeInvestigation(who.bo, hidden.ID, MergeNew{Into: b.ID, Sure: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteInvestigation(who.bo, b.ID); err != nil {
		t.Fatal(err)
	}
	list, err := s.FindAudit(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		if strings.HasPrefix(e.Action, "investigation.") {
			got = append(got, e.ActorName+" "+e.Action+" "+e.Subject+" "+e.Detail)
		}
	}
	want := []string{"Bo Olsen investigation.deleted " + string(b.ID) + " ", "Bo Olsen investigation.merged of few into " + string(b.ID),
		"Bo Olsen investigation.merged " + string(a.ID) + " into " + string(b.ID), "Bo Olsen investigation.visibility of few from team to private",
		"Bo Olsen investigation.visibility " + string(hidden.ID) + " from workspace to team"}
	if !slices.Equal(got, want) {
		t.Errorf("the audit log says\n%q, want\n%q", got, want)
	}
}

// Others are taken out only by those who have a say in it; oneself one takes out
// whenever one likes.
func TestWhoMayTakeOthersOut(t *testing.T) {
	s, who, _ := openBoards(t)
	olga := memberOf(t, s, "u_olga", "Olga Ruiz")
	team := mustTeam(t, s, who.ana, "Dealers", nil, "u_vi")
	in := func() *Investigation {
		t.Helper()
		inv := mustOpen(t, s, who.bo, "Slow quotes")
		return mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{People: map[string]*string{"u_vi": text(""), "u_olga": text("")}, Teams: map[TeamID]bool{team.ID: true}})
	}
	vi, herself, teams := map[string]*string{"u_vi": nil}, map[string]*string{"u_olga": nil}, map[TeamID]bool{team.ID: false}
	for name, c := range map[string]struct {
		ctx  context.Context
		u    InvestigationUpdate
		want error
	}{
		"somebody who takes part":       {olga, InvestigationUpdate{People: vi}, ErrForbidden},
		"them by their email":           {olga, InvestigationUpdate{People: map[string]*string{"vi@example.com": nil}}, ErrForbidden},
		"them by their name":            {olga, InvestigationUpdate{People: map[string]*string{"vi ng": nil}}, ErrForbidden},
		"oneself by one's name":         {olga, InvestigationUpdate{People: map[string]*string{"Olga Ruiz": nil}}, nil},
		"their team":                    {olga, InvestigationUpdate{Teams: teams}, ErrForbidden},
		"oneself":                       {olga, InvestigationUpdate{People: herself}, nil},
		"who opened it takes out":       {who.bo, InvestigationUpdate{People: vi, Teams: teams}, nil},
		"an administrator takes out":    {who.ana, InvestigationUpdate{People: vi}, nil},
		"who is not in is no one's end": {olga, InvestigationUpdate{People: map[string]*string{"u_ana": nil}}, nil},
	} {
		inv := in()
		c.u.Seen = &inv.Offset
		if _, err := s.UpdateInvestigation(c.ctx, inv.ID, c.u); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// Who leaves what they will not see any more is out, however they name themselves,
// also while they narrow it.
func TestLeaveWhatIsNotForAll(t *testing.T) {
	s, who, _ := openBoards(t)
	for _, name := range []string{"u_ana", "ana@example.com"} {
		for _, narrow := range []bool{false, true} {
			inv := mustOpen(t, s, who.bo, "Slow quotes")
			inv = mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{People: map[string]*string{"u_ana": text("")}})
			leave := InvestigationUpdate{People: map[string]*string{name: nil}}
			if narrow {
				leave.Visibility = ptr(VisibilityPrivate)
			} else {
				inv = mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Visibility: ptr(VisibilityPrivate)})
			}
			leave.Seen = &inv.Offset
			if got, err := s.UpdateInvestigation(who.ana, inv.ID, leave); err != nil || got.asked("u_ana") != nil {
				t.Fatalf("by %s, narrow %v: %+v, %v", name, narrow, got, err)
			}
			if _, err := s.InvestigationByID(who.ana, inv.ID); !errors.Is(err, ErrNotFound) {
				t.Errorf("by %s, narrow %v: it may still be seen: %v", name, narrow, err)
			}
			inv, err := s.InvestigationByID(who.bo, inv.ID)
			if err != nil || inv.asked("u_ana") != nil || inv.Visibility != VisibilityPrivate {
				t.Errorf("by %s, narrow %v: %+v, %v", name, narrow, inv, err)
			}
		}
	}
}
