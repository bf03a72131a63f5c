package collab

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mayWrite makes a viewer a member.
func mayWrite(t *testing.T, s *Store, user string) {
	t.Helper()
	if _, err := s.write.Exec(`UPDATE users SET role = 'member' WHERE id = ?`, user); err != nil {
		t.Fatal(err)
	}
}

func mustTeam(t *testing.T, s *Store, ctx context.Context, name string, services []string, members ...string) *Team {
	t.Helper()
	team, err := s.CreateTeam(ctx, TeamNew{Name: name, Services: services})
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]bool{}
	for _, m := range members {
		in[m] = true
	}
	if team, err = s.UpdateTeam(ctx, team.ID, TeamUpdate{Members: in}); err != nil {
		t.Fatal(err)
	}
	return team
}

// update changes an investigation as of now.
func mustUpdate(t *testing.T, s *Store, ctx context.Context, id InvestigationID, u InvestigationUpdate) *Investigation {
	t.Helper()
	p, err := s.LogPosition(AsServer(ctx), id)
	if err != nil {
		t.Fatal(err)
	}
	u.Seen = &p.Offset
	inv, err := s.UpdateInvestigation(ctx, id, u)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestTeams(t *testing.T) {
	s, who, _ := openBoards(t)
	team := mustTeam(t, s, who.ana, "Dealers  Team", []string{"dealers-api", " stock-* ", "dealers-api", ""}, "u_vi", "u_bo")
	if team.Name != "Dealers Team" || team.Handle != "dealers-team" || !slices.Equal(team.Services, []string{"dealers-api", "stock-*"}) {
		t.Fatalf("got %+v", team)
	}
	if len(team.Members) != 2 || team.Members[0].Name != "Bo Olsen" || team.Members[1].ID != "u_vi" {
		t.Fatalf("members %+v", team.Members)
	}
	_, err := s.CreateTeam(who.ana, TeamNew{Name: "dealers team"})
	wantInvalid(t, "a second team of that handle", err, "name")
	_, err = s.CreateTeam(who.ana, TeamNew{Name: "!!"})
	wantInvalid(t, "a name without letters", err, "name")
	_, err = s.CreateTeam(who.ana, TeamNew{Name: "All", Services: []string{"**"}})
	wantInvalid(t, "every service", err, "services")
	_, err = s.UpdateTeam(who.ana, team.ID, TeamUpdate{Members: map[string]bool{"u_none": true}})
	wantInvalid(t, "an unknown member", err, "members")
	for _, ctx := range []context.Context{who.bo, who.vi, who.bot, t.Context()} {
		_, e1 := s.CreateTeam(ctx, TeamNew{Name: "x"})
		_, e2 := s.UpdateTeam(ctx, team.ID, TeamUpdate{})
		if e3 := s.DeleteTeam(ctx, team.ID); !errors.Is(e1, ErrForbidden) || !errors.Is(e2, ErrForbidden) || !errors.Is(e3, ErrForbidden) {
			t.Errorf("not an administrator: %v, %v, %v", e1, e2, e3)
		}
	}
	if team, err = s.UpdateTeam(who.ana, team.ID, TeamUpdate{Name: text("Dealers"), Members: map[string]bool{"u_vi": false, "u_bo": true}}); err != nil ||
		team.Handle != "dealers" || len(team.Members) != 1 {
		t.Fatalf("updated %+v, %v", team, err)
	}
	inv := mustOpen(t, s, who.bo, "x")
	inv = mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Teams: map[TeamID]bool{team.ID: true}})
	if len(inv.Teams) != 1 || inv.Teams[0].Handle != "dealers" {
		t.Fatalf("teams %+v", inv.Teams)
	}
	if err := s.DeleteTeam(who.ana, team.ID); err != nil {
		t.Fatal(err)
	}
	after, err := s.InvestigationByID(who.bo, inv.ID)
	if err != nil || len(after.Teams) != 0 || after.Offset != inv.Offset+1 {
		t.Errorf("after the team is gone: %+v, %v", after, err)
	}
	if list, err := s.FindTeams(who.vi); err != nil || len(list) != 0 {
		t.Errorf("teams %v, %v", list, err)
	}
	mustTeam(t, s, who.ana, "Dealers", nil) // its handle is free again
}

func TestMatchService(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"web-uk", "web-uk", true}, {"web-uk", "web-uk-2", false}, {"web-*", "web-uk", true}, {"web-*", "web-", true}, {"web-*", "web", false},
		{"*-api", "quotes-api", true}, {"*-api", "api", false}, {"a*b*c", "axxbyyc", true}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"*b*", "abc", true}, {"", "", true}, {"x.y", "xzy", false},
	} {
		if got := matchService(c.pattern, c.name); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.name, got)
		}
	}
	// A pattern that would make a backtracking matcher hang.
	if matchService(strings.Repeat("a*", 50)+"b", strings.Repeat("a", 5_000)) {
		t.Error("matched what it is not")
	}
}

func TestLifeFields(t *testing.T) {
	s, who, _ := openBoards(t)
	team := mustTeam(t, s, who.ana, "Dealers", nil, "u_vi")
	inv := mustOpen(t, s, who.bo, "Slow quotes")
	if inv.Kind != InvestigationReal || inv.Visibility != VisibilityWorkspace || inv.LeadSinceUnixNano == 0 || inv.Teams == nil || inv.People == nil || inv.Services == nil {
		t.Fatalf("a new one: %+v", inv)
	}
	kind, start := InvestigationDrill, int64(1_900_000_000_000_000_000)
	inv = mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Kind: &kind, ImpactStartUnixNano: &start, ImpactEndUnixNano: ptr(start + 60), NextUpdateUnixNano: ptr(start + 90),
		Teams: map[TeamID]bool{team.ID: true}, People: map[string]*string{"ana@example.com": text(" the  scribe "), "u_vi": text("")},
		Services: map[string]*bool{"web-uk": ptr(true), "billing": ptr(false)}})
	if inv.Offset != 2 || inv.Kind != kind || inv.ImpactEndUnixNano != start+60 || inv.NextUpdateUnixNano != start+90 {
		t.Fatalf("got %+v", inv)
	}
	if p := inv.asked("u_ana"); p == nil || p.Role != "the scribe" || p.Name != "Ana Lima" || p.SinceUnixNano == 0 || inv.asked("u_vi") == nil {
		t.Fatalf("people %+v", inv.People)
	}
	if diff := cmp.Diff([]AffectedService{{Name: "web-uk", ByHand: true}}, inv.Services); diff != "" {
		t.Fatalf("services: %s", diff)
	}
	changes, _, err := s.Changes(who.vi, inv.ID, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"fields":{"impact_end_unix_nano":"1900000000000000060","impact_start_unix_nano":"1900000000000000000","kind":"drill","next_update_unix_nano":"1900000000000000090",` +
		`"people":{"u_ana":"the scribe","u_vi":""},"services":{"billing":false,"web-uk":true},"teams":{"` + string(team.ID) + `":true}},"id":"` + string(inv.ID) + `",` +
		`"was":{"impact_end_unix_nano":"0","impact_start_unix_nano":"0","kind":"real","next_update_unix_nano":"0","people":{"u_ana":null,"u_vi":null},` +
		`"services":{"billing":null,"web-uk":null},"teams":{"` + string(team.ID) + `":false}}}`
	if got := string(changes[0].Data); got != want {
		t.Errorf("the change says\n%s, want\n%s", got, want)
	}
	// Each entry is a field of its own: different ones both win, the same asks.
	if _, err := s.UpdateInvestigation(who.ana, inv.ID, InvestigationUpdate{Seen: seen(1), People: map[string]*string{"u_bo": text("comms")}, Services: map[string]*bool{"quotes-api": ptr(true)}}); err != nil {
		t.Fatalf("other entries: %v", err)
	}
	for field, u := range map[string]InvestigationUpdate{
		"people.u_ana":             {People: map[string]*string{"u_ana": nil}},
		"services.web-uk":          {Services: map[string]*bool{"web-uk": ptr(false)}},
		"teams." + string(team.ID): {Teams: map[TeamID]bool{team.ID: false}},
		"kind":                     {Kind: ptr(InvestigationReal)},
		"next_update_unix_nano":    {NextUpdateUnixNano: ptr(int64(0))},
		"impact_start_unix_nano":   {ImpactStartUnixNano: ptr(start + 5)},
	} {
		u.Seen = seen(1)
		_, err := s.UpdateInvestigation(who.ana, inv.ID, u)
		var c *ConflictError
		if !errors.As(err, &c) || c.Field != field {
			t.Errorf("%s: got %v, want a conflict", field, err)
		}
	}
	for field, u := range map[string]InvestigationUpdate{
		"kind":                   {Kind: ptr(InvestigationKind("party"))},
		"visibility":             {Visibility: ptr(Visibility("none"))},
		"impact_end_unix_nano":   {ImpactEndUnixNano: ptr(start - 1)},
		"impact_start_unix_nano": {ImpactStartUnixNano: ptr(int64(-1))},
		"people":                 {People: map[string]*string{"u_nobody": text("")}},
		"teams":                  {Teams: map[TeamID]bool{"m_none": true}},
		"services":               {Services: map[string]*bool{"web-*": ptr(true)}},
	} {
		u.Seen = seen(3)
		_, err := s.UpdateInvestigation(who.ana, inv.ID, u)
		wantInvalid(t, field, err, field)
	}
	_, err = s.UpdateInvestigation(who.ana, inv.ID, InvestigationUpdate{Seen: seen(3), People: map[string]*string{"u_ana": text(strings.Repeat("x", 61))}})
	wantInvalid(t, "a long role", err, "people")
	// They were told, once each, and with the role.
	items, err := s.FindInbox(who.vi, "u_vi", InboxFilter{View: InboxEverything})
	if err != nil || len(items) != 1 || items[0].Reason != ReasonAsked {
		t.Errorf("inbox of Vi: %+v, %v", items, err)
	}
	if items, err = s.FindInbox(who.ana, "u_ana", InboxFilter{View: InboxEverything}); err != nil || len(items) != 1 || items[0].Text != "as the scribe" {
		t.Errorf("inbox of Ana: %+v, %v", items, err)
	}
	inv = mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{People: map[string]*string{"u_ana": nil}, Services: map[string]*bool{"web-uk": nil}, Status: status(StatusMitigated)})
	if inv.asked("u_ana") != nil || len(inv.Services) != 1 || inv.Services[0].Name != "quotes-api" {
		t.Errorf("taken out: %+v", inv)
	}
	history, err := s.StatusHistory(who.vi, inv.ID)
	if err != nil || len(history) != 2 || history[0].Status != StatusOpen || history[1].Status != StatusMitigated || history[1].ActorName != "Bo Olsen" || history[1].AtUnixNano == 0 {
		t.Errorf("status history %+v, %v", history, err)
	}
}

func TestServicesComeFromEvidence(t *testing.T) {
	s, who, src := openBoards(t)
	src.facts = EvidenceFacts{Services: []string{"web-uk", "quotes-api", "web-uk", ""}, FirstUnixNano: 100, LastUnixNano: 900}
	inv := mustOpen(t, s, who.bo, "x")
	pin := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
	src.facts = EvidenceFacts{Services: []string{"quotes-api", "dealers-api"}, FirstUnixNano: 50, LastUnixNano: 300}
	other := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindComparison, Sides: []Side{{PinID: pin.ID}, {PinID: other.ID}}})
	names := func() (list []string) {
		t.Helper()
		inv, err := s.InvestigationByID(who.vi, inv.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range inv.Services {
			if list = append(list, a.Name); !a.Derived && !a.ByHand {
				t.Errorf("%s is from nowhere", a.Name)
			}
		}
		return list
	}
	if got := names(); !slices.Equal(got, []string{"dealers-api", "quotes-api", "web-uk"}) {
		t.Fatalf("derived %v", got)
	}
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Services: map[string]*bool{"web-uk": ptr(false), "pg": ptr(true), "quotes-api": ptr(true)}})
	if got := names(); !slices.Equal(got, []string{"dealers-api", "pg", "quotes-api"}) {
		t.Fatalf("by hand %v", got)
	}
	sug, err := s.Suggest(who.vi, inv.ID)
	if err != nil || sug.ImpactStartUnixNano != 50 || sug.ImpactEndUnixNano != 900 {
		t.Errorf("impact %+v, %v", sug, err)
	}
	for _, b := range []BlockID{pin.ID, other.ID} {
		if err := s.DeleteBlock(who.bo, inv.ID, b); err != nil {
			t.Fatal(err)
		}
	}
	// The comparison keeps copies, and so what they tell.
	if got := names(); !slices.Equal(got, []string{"dealers-api", "pg", "quotes-api"}) {
		t.Errorf("after the pins are gone %v", got)
	}
}

func TestNarrowing(t *testing.T) {
	s, who, _ := openBoards(t)
	if _, err := s.CreateTarget(who.ana, TargetNew{Name: "all", URL: "https://hooks.example.com/x", Reasons: Reasons}); err != nil {
		t.Fatal(err)
	}
	inv, open := mustOpen(t, s, who.bo, "Hidden title"), mustOpen(t, s, who.ana, "Open")
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindSpan, TraceID: traceA, SpanID: spanA})
	mustBlock(t, s, who.ana, open.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	remark, _, err := s.CreateAnnotation(who.bo, AnnotationNew{Anchor: Anchor{InvestigationID: inv.ID, TraceID: traceA, SpanID: spanA}, Text: "hidden remark"})
	if err != nil {
		t.Fatal(err)
	}
	wantLog := func(what string, ctx context.Context, id InvestigationID, has bool) {
		t.Helper()
		list, _, err := s.Changes(ctx, id, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "hidden remark") != has {
			t.Errorf("%s: the log says so: %v, want %v", what, !has, has)
		}
		b, err := s.Board(ctx, id)
		if err != nil || (len(b.Annotations) == 1) != has {
			t.Errorf("%s: annotations %+v, %v, want one: %v", what, b.Annotations, err, has)
		}
	}
	wantLog("open to all, the other board", who.vi, open.ID, true)
	// Ana, who neither opened nor leads it, makes it private: she stays.
	p, err := s.LogPosition(who.ana, inv.ID)
	if err != nil {
		t.Fatal(err)
	}
	private := VisibilityPrivate
	if inv, err = s.UpdateInvestigation(who.ana, inv.ID, InvestigationUpdate{Seen: &p.Offset, Visibility: &private}); err != nil {
		t.Fatal(err)
	}
	if inv.asked("u_ana") == nil || s.MaySee(who.ana, inv.ID) != nil || s.MaySee(who.vi, inv.ID) == nil {
		t.Fatalf("after narrowing: %+v", inv.People)
	}
	wantLog("private, the other board", who.ana, open.ID, false)
	wantLog("private, its own", who.bo, inv.ID, true)
	deliveries, err := s.FindDeliveries(who.ana, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries {
		if d.Notice.InvestigationID == inv.ID || strings.Contains(d.Notice.Title+d.Notice.Text, "idden") {
			t.Errorf("a target is told %+v", d.Notice)
		}
	}
	// What happens in it now stays in it.
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Status: status(StatusMitigated), Lead: text("u_ana")})
	if _, err := s.UpdateAnnotation(who.bo, remark.ID, AnnotationUpdate{Seen: &inv.Offset, Text: text("hidden remark, edited")}); err != nil {
		t.Fatal(err)
	}
	wantLog("private and edited, the other board", who.ana, open.ID, false)
	after, err := s.FindDeliveries(who.ana, 0)
	if err != nil || len(after) != len(deliveries) {
		t.Errorf("deliveries went from %d to %d, %v", len(deliveries), len(after), err)
	}
	// A lead who hands over stays in, as does the next.
	mayWrite(t, s, "u_vi")
	inv = mustUpdate(t, s, who.ana, inv.ID, InvestigationUpdate{Lead: text("u_vi"), People: map[string]*string{"u_bo": text("comms")}})
	inv = mustUpdate(t, s, who.ana, inv.ID, InvestigationUpdate{Lead: text("u_ana")})
	if inv.asked("u_vi") == nil || s.MaySee(who.vi, inv.ID) != nil {
		t.Errorf("the former lead is out: %+v", inv.People)
	}
	// A task goes to those only who can read it.
	mustUpdate(t, s, who.ana, inv.ID, InvestigationUpdate{People: map[string]*string{"u_vi": nil}})
	_, _, err = s.CreateBlock(who.bo, inv.ID, BlockNew{Kind: KindTask, Title: "Look", Assignee: "u_vi"})
	wantInvalid(t, "a task for one who may not see it", err, "assignee")
	// Open again, it shows where it showed.
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Visibility: ptr(VisibilityWorkspace)})
	wantLog("open again, the other board", who.vi, open.ID, true)
	// A token that did not open it would lock itself out.
	p, err = s.LogPosition(who.bot, inv.ID)
	if err != nil {
		t.Fatal(err)
	}
	robot := WithActor(t.Context(), Actor{Kind: ActorToken, ID: "t_admin", Name: "robot", Role: RoleAdmin})
	_, err = s.UpdateInvestigation(robot, inv.ID, InvestigationUpdate{Seen: &p.Offset, Visibility: &private})
	wantInvalid(t, "a token that locks itself out", err, "visibility")
	// That it was deleted is told to administrators, not which it was.
	mustUpdate(t, s, who.bo, inv.ID, InvestigationUpdate{Visibility: &private})
	if err := s.DeleteInvestigation(who.bo, inv.ID); err != nil {
		t.Fatal(err)
	}
	entries, err := s.FindAudit(who.ana, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for _, e := range entries {
		if e.Action == "investigation.deleted" {
			deleted++
		} else if e.Action == "investigation.visibility" {
			continue // names it: all saw it before, or after
		}
		if strings.Contains(e.Subject+e.Detail, string(inv.ID)) {
			t.Errorf("the audit log says %+v", e)
		}
	}
	if deleted != 1 {
		t.Errorf("%d deletions in the audit log", deleted)
	}
}

func TestAskIn(t *testing.T) {
	s, who, src := openBoards(t)
	for _, u := range []string{"kim", "max"} {
		if _, err := s.write.Exec(`INSERT INTO users (id, email, name, role, password_hash, created_at) VALUES (?, ?, ?, 'member', '', 1)`, "u_"+u, u+"@example.com", u); err != nil {
			t.Fatal(err)
		}
	}
	kim := WithActor(t.Context(), Actor{Kind: ActorUser, ID: "u_kim", Name: "kim", Role: RoleMember})
	dealers := mustTeam(t, s, who.ana, "Dealers", []string{"dealers-*"}, "u_kim", "u_max")
	mustTeam(t, s, who.ana, "Nobody", []string{"dealers-api"})
	// Vi's colleague Ana pinned the quotes before, to a board that all may see, and
	// Bo to one that only Bo may see.
	src.facts = EvidenceFacts{Services: []string{"quotes-api"}}
	mustBlock(t, s, who.ana, mustOpen(t, s, who.ana, "Before").ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	hidden, _, err := s.CreateInvestigation(kim, InvestigationNew{Title: "Hidden", Visibility: VisibilityPrivate})
	if err != nil {
		t.Fatal(err)
	}
	mustBlock(t, s, kim, hidden.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	inv, _, err := s.CreateInvestigation(who.bo, InvestigationNew{Title: "Private quotes", Visibility: VisibilityPrivate})
	if err != nil {
		t.Fatal(err)
	}
	src.facts = EvidenceFacts{Services: []string{"quotes-api", "dealers-api", "dealers-web"}}
	mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindThread, TraceID: traceA})
	sug, err := s.Suggest(who.bo, inv.ID)
	want := []Owner{{TeamID: dealers.ID, Name: "Dealers", Services: []string{"dealers-api", "dealers-web"}}, {UserID: "u_ana", Name: "Ana Lima", Services: []string{"quotes-api"}}}
	if diff := cmp.Diff(want, sug.Owners); err != nil || diff != "" {
		t.Fatalf("owners: %v %s", err, diff)
	}
	if err := s.MaySee(kim, inv.ID); !errors.Is(err, ErrNotFound) {
		t.Fatalf("before being asked: %v", err)
	}
	ask := AskNew{Ref: "one", TeamID: dealers.ID}
	for range 2 {
		if inv, err = s.AskIn(who.bo, inv.ID, ask); err != nil {
			t.Fatal(err)
		}
	}
	if !inv.hasTeam(dealers.ID) || inv.asked("u_kim") == nil || inv.asked("u_max") == nil || inv.Offset != 3 || s.MaySee(kim, inv.ID) != nil {
		t.Fatalf("asked in: %+v", inv)
	}
	if items, err := s.FindInbox(kim, "u_kim", InboxFilter{View: InboxEverything}); err != nil || len(items) != 1 || items[0].Title != "Private quotes" {
		t.Fatalf("inbox of Kim: %+v, %v", items, err)
	}
	if inv, err = s.AskIn(who.bo, inv.ID, AskNew{UserID: "u_ana"}); err != nil || inv.asked("u_ana") == nil || inv.Offset != 4 {
		t.Fatalf("Ana asked in: %+v, %v", inv, err)
	}
	if again, err := s.AskIn(who.bo, inv.ID, AskNew{UserID: "u_ana"}); err != nil || again.Offset != 4 {
		t.Errorf("Ana asked again: %+v, %v", again, err)
	}
	if sug, err = s.Suggest(who.bo, inv.ID); err != nil || len(sug.Owners) != 0 {
		t.Errorf("owners when all are in: %+v, %v", sug, err)
	}
	_, err = s.AskIn(who.bo, inv.ID, AskNew{})
	wantInvalid(t, "nobody", err, "")
	_, err = s.AskIn(who.bo, inv.ID, AskNew{TeamID: "m_none"})
	wantInvalid(t, "no such team", err, "team_id")
	if _, err := s.AskIn(who.vi, inv.ID, ask); !errors.Is(err, ErrForbidden) {
		t.Errorf("a viewer asks: %v", err)
	}
}

func TestReminder(t *testing.T) {
	s, clock := openPeople(t)
	bo := mustUser(t, s, "bo@example.com", RoleMember)
	ana := mustUser(t, s, "ana@example.com", RoleMember)
	ctx := WithActor(t.Context(), Actor{Kind: ActorUser, ID: bo.ID, Name: bo.Name, Role: RoleMember})
	inv := mustOpen(t, s, ctx, "Slow quotes")
	due := clock.Now().Add(10 * time.Minute).UnixNano()
	mustUpdate(t, s, ctx, inv.ID, InvestigationUpdate{Lead: &ana.ID, NextUpdateUnixNano: &due})
	reminders := func(user string) (n int) {
		t.Helper()
		items, err := s.FindInbox(ctx, user, InboxFilter{View: InboxEverything})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if it.Reason == ReasonDue {
				n++
			}
		}
		return n
	}
	look := func(wantNext int64) {
		t.Helper()
		if next, err := s.RemindDue(t.Context()); err != nil || next != wantNext {
			t.Fatalf("next look at %d, %v; want %d", next, err, wantNext)
		}
	}
	look(due)
	if n := reminders(ana.ID); n != 0 {
		t.Fatalf("reminded %d times before it is due", n)
	}
	clock.Add(11 * time.Minute)
	look(0)
	look(0) // as after a restart: it is in the database that it was sent
	if n := reminders(ana.ID); n != 1 || reminders(bo.ID) != 0 {
		t.Fatalf("the lead was reminded %d times", n)
	}
	// Put off, it is due once more; without a lead it goes to whoever opened it.
	due = clock.Now().Add(time.Minute).UnixNano()
	mustUpdate(t, s, ctx, inv.ID, InvestigationUpdate{Lead: text(""), NextUpdateUnixNano: &due})
	clock.Add(time.Hour)
	look(0)
	if n := reminders(bo.ID); n != 1 {
		t.Errorf("whoever opened it was reminded %d times", n)
	}
	// Of what is over nobody is reminded.
	due = clock.Now().Add(time.Minute).UnixNano()
	mustUpdate(t, s, ctx, inv.ID, InvestigationUpdate{Status: status(StatusResolved), NextUpdateUnixNano: &due})
	clock.Add(time.Hour)
	look(0)
	if n := reminders(bo.ID); n != 1 {
		t.Errorf("reminded %d times of what is resolved", n)
	}
}

func TestTaskIsDue(t *testing.T) {
	s, who, _ := openBoards(t)
	inv := mustOpen(t, s, who.bo, "x")
	b := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindTask, Title: "Roll back", DueUnixNano: firstTime})
	if b.DueUnixNano != firstTime {
		t.Fatalf("got %+v", b)
	}
	b, err := s.UpdateBlock(who.ana, inv.ID, b.ID, BlockUpdate{Seen: seen(2), DueUnixNano: ptr(firstTime + 1_000)})
	if err != nil || b.DueUnixNano != firstTime+1_000 {
		t.Fatalf("got %+v, %v", b, err)
	}
	_, err = s.UpdateBlock(who.bo, inv.ID, b.ID, BlockUpdate{Seen: seen(2), DueUnixNano: ptr(int64(0))})
	var c *ConflictError
	if !errors.As(err, &c) || c.Field != "due_unix_nano" || c.Theirs != nano(firstTime+1_000) {
		t.Errorf("the same field: %v", err)
	}
	if _, err := s.UpdateBlock(who.bo, inv.ID, b.ID, BlockUpdate{Seen: seen(2), Done: ptr(true)}); err != nil {
		t.Errorf("another field: %v", err)
	}
	note := mustBlock(t, s, who.bo, inv.ID, BlockNew{Kind: KindNote, Text: "n"})
	_, err = s.UpdateBlock(who.bo, inv.ID, note.ID, BlockUpdate{Seen: seen(2), DueUnixNano: ptr(int64(7))})
	wantInvalid(t, "a note that is due", err, "due_unix_nano")
}

func TestFilters(t *testing.T) {
	s, who, src := openBoards(t)
	team := mustTeam(t, s, who.ana, "Dealers", nil, "u_vi")
	src.facts = EvidenceFacts{Services: []string{"quotes-api"}}
	a, _, err := s.CreateInvestigation(who.ana, InvestigationNew{Title: "Slow 100% quotes", Severity: Severity1, Teams: []TeamID{team.ID}})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := s.CreateInvestigation(who.bo, InvestigationNew{Title: "Drill", Kind: InvestigationDrill, Severity: Severity3})
	if err != nil {
		t.Fatal(err)
	}
	mustBlock(t, s, who.bo, b.ID, BlockNew{Kind: KindTrace, TraceID: traceA})
	mustUpdate(t, s, who.bo, b.ID, InvestigationUpdate{People: map[string]*string{"u_vi": text("")}, Services: map[string]*bool{"billing": ptr(true)}})
	for name, c := range map[string]struct {
		f    InvestigationFilter
		want []InvestigationID
	}{
		"all":                    {InvestigationFilter{}, []InvestigationID{b.ID, a.ID}},
		"severities":             {InvestigationFilter{Severities: []Severity{Severity1, Severity2}}, []InvestigationID{a.ID}},
		"kind":                   {InvestigationFilter{Kind: InvestigationDrill}, []InvestigationID{b.ID}},
		"team":                   {InvestigationFilter{TeamIDs: []TeamID{team.ID, "m_none"}}, []InvestigationID{a.ID}},
		"of no team":             {InvestigationFilter{TeamIDs: []TeamID{}}, nil},
		"asked in":               {InvestigationFilter{UserID: "u_vi"}, []InvestigationID{b.ID}},
		"title":                  {InvestigationFilter{Text: "SLOW"}, []InvestigationID{a.ID}},
		"% is itself":            {InvestigationFilter{Text: "0% q"}, []InvestigationID{a.ID}},
		"_ is itself":            {InvestigationFilter{Text: "S_ow"}, nil},
		"service of evidence":    {InvestigationFilter{Text: "quotes-a"}, []InvestigationID{b.ID}},
		"service put in by hand": {InvestigationFilter{Text: "billing"}, []InvestigationID{b.ID}},
		"lead":                   {InvestigationFilter{Text: "olsen"}, []InvestigationID{b.ID}},
	} {
		list, _, err := s.FindInvestigations(who.vi, c.f)
		var got []InvestigationID
		for _, i := range list {
			got = append(got, i.ID)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
		}
	}
	_, _, err = s.FindInvestigations(who.vi, InvestigationFilter{Severities: []Severity{"sev9"}})
	wantInvalid(t, "an unknown severity", err, "severity")
}

// Whose inbox may hold something else, because access came or went, is told at once.
func TestInboxesAreToldOfAccess(t *testing.T) {
	s, who, _ := openBoards(t)
	team, err := s.CreateTeam(who.ana, TeamNew{Name: "Quotes"})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	s.OnInbox(func(users []string) { told = append(told, users...) })
	inv, into := mustOpen(t, s, who.ana, "Hidden"), mustOpen(t, s, who.ana, "Other")
	mustUpdate(t, s, who.ana, inv.ID, InvestigationUpdate{Visibility: ptr(VisibilityTeam), Teams: map[TeamID]bool{team.ID: true}})
	members := func(in bool) func() error {
		return func() error {
			_, err := s.UpdateTeam(who.ana, team.ID, TeamUpdate{Members: map[string]bool{"u_bo": in}})
			return err
		}
	}
	for _, step := range []struct {
		what   string
		do     func() error
		unread int
	}{
		{"joins the team", members(true), 0},
		{"is named", func() error {
			_, _, err := s.CreateBlock(who.ana, inv.ID, BlockNew{Kind: KindNote, Text: "look @bo"})
			return err
		}, 1},
		{"leaves the team", members(false), 0},
		{"joins again", members(true), 1},
		{"merged into what all see", func() error {
			_, err := s.MergeInvestigation(who.ana, inv.ID, MergeNew{Into: into.ID, Sure: true})
			return err
		}, 2}, // and with it the team is asked in there
		{"which only the team sees", func() error {
			mustUpdate(t, s, who.ana, into.ID, InvestigationUpdate{Visibility: ptr(VisibilityTeam), People: map[string]*string{"u_bo": nil}})
			return nil
		}, 2},
		{"the team is gone", func() error { return s.DeleteTeam(who.ana, team.ID) }, 0},
		{"open to all again", func() error {
			mustUpdate(t, s, who.ana, into.ID, InvestigationUpdate{Visibility: ptr(VisibilityWorkspace)})
			return nil
		}, 2},
		{"deleted", func() error { return s.DeleteInvestigation(who.ana, into.ID) }, 0},
	} {
		told = nil
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if n, err := s.UnreadCount(who.bo, "u_bo"); err != nil || n != step.unread {
			t.Errorf("%s: %d unread, %v; want %d", step.what, n, err, step.unread)
		}
		if !slices.Contains(told, "u_bo") {
			t.Errorf("%s: Bo's pages are not told; only %v", step.what, told)
		}
	}
}
