package handlers

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// visibilityWords say who may see an investigation.
var visibilityWords = map[collab.Visibility]string{
	collab.VisibilityWorkspace: "whoever is signed in",
	collab.VisibilityTeam:      "members of its teams, and who leads it, opened it or was asked in",
	collab.VisibilityPrivate:   "only who leads it, opened it or was asked in; no administrator either",
}

// maxMergeTargets is how many investigations a board offers to be merged into.
const maxMergeTargets = 20

func (b *board) head(ctx context.Context) (views.BoardHead, error) {
	inv := b.Investigation
	h := views.BoardHead{ID: string(inv.ID), Title: inv.Title, Status: string(inv.Status), Severity: string(inv.Severity), Lead: inv.Lead,
		LeadName: inv.LeadName, LeadSince: timeAt(inv.LeadSinceUnixNano), OpenedBy: inv.CreatedByName, Created: nanoTime(inv.CreatedUnixNano), Seen: inv.Offset, Now: b.now, CanWrite: b.canWrite,
		Drill:      inv.Kind == collab.InvestigationDrill,
		Visibility: string(inv.Visibility), NextUpdate: timeAt(inv.NextUpdateUnixNano), ImpactStart: timeAt(inv.ImpactStartUnixNano), ImpactEnd: timeAt(inv.ImpactEndUnixNano),
		AskRef: uuid.NewString(), MergeRef: uuid.NewString(), Cards: len(b.Blocks), Remarks: len(b.Annotations)}
	var err error
	if h.CanDelete, err = b.server.Collab.MayDispose(ctx, inv); err != nil {
		return h, err
	}
	h.CanDelete = h.CanDelete && b.canWrite
	for _, st := range collab.Statuses {
		h.Statuses = append(h.Statuses, views.Option{Value: string(st), Label: string(st)})
	}
	for _, sev := range collab.Severities {
		h.Severities = append(h.Severities, views.Option{Value: string(sev), Label: string(sev)})
	}
	for _, vis := range collab.Visibilities {
		if vis.Narrower(inv.Visibility) && !h.CanDelete {
			break // not theirs to choose
		}
		h.Visibilities = append(h.Visibilities, views.Option{Value: string(vis), Label: visibilityWords[vis]})
	}
	for _, s := range inv.Services {
		h.Services = append(h.Services, views.ServiceChip{Name: s.Name, Derived: s.Derived})
	}
	history, err := b.server.Collab.StatusHistory(ctx, inv.ID)
	if err != nil {
		return h, err
	}
	for i := len(history) - 1; i >= 0; i-- {
		if b.replayed && history[i].AtUnixNano > b.thenNano {
			continue
		}
		h.History = append(h.History, views.StatusEntry{Status: string(history[i].Status), By: history[i].ActorName, At: nanoTime(history[i].AtUnixNano)})
	}
	teams, err := b.server.Collab.FindTeams(ctx)
	if err != nil {
		return h, err
	}
	b.headPeople(&h, teams)
	if h.CanMute = b.actor.Kind == collab.ActorUser; h.CanMute {
		if h.Muted, err = b.server.Collab.HasMuted(ctx, b.actor.ID, inv.ID); err != nil {
			return h, err
		}
	}
	if !b.canWrite {
		return h, nil
	}
	return h, b.headChoices(ctx, &h)
}

// headPeople fills in who takes part, and who else could.
func (b *board) headPeople(h *views.BoardHead, teams []collab.Team) {
	inv := b.Investigation
	in := map[string]bool{}
	for _, p := range inv.People {
		in[p.ID] = true
		h.People = append(h.People, views.RolePerson{ID: p.ID, Name: p.Name, Role: p.Role, Since: nanoTime(p.SinceUnixNano), MayTakeOut: h.CanDelete || p.ID == b.actor.ID})
	}
	for _, t := range inv.Teams {
		in[string(t.ID)] = true
		h.Teams = append(h.Teams, views.TeamChip{ID: string(t.ID), Name: t.Name, Handle: t.Handle})
	}
	for i := range teams {
		if !in[string(teams[i].ID)] {
			h.OtherTeams = append(h.OtherTeams, views.Option{Value: string(teams[i].ID), Label: teams[i].Name})
		}
	}
	h.Leads = []views.Option{{Value: "", Label: "nobody"}}
	known := inv.Lead == ""
	for _, u := range b.people {
		if u.Role.AtLeast(collab.RoleMember) || u.ID == inv.Lead {
			h.Leads = append(h.Leads, views.Option{Value: u.ID, Label: u.Name})
		}
		known = known || u.ID == inv.Lead
		if !in[u.ID] && u.ID != inv.Lead {
			h.OtherPeople = append(h.OtherPeople, views.Option{Value: u.ID, Label: u.Name})
		}
	}
	if !known { // deactivated since
		h.Leads = append(h.Leads, views.Option{Value: inv.Lead, Label: inv.LeadName})
	}
}

// headChoices fills in what the evidence suggests, and what the investigation can
// be merged into.
func (b *board) headChoices(ctx context.Context, h *views.BoardHead) error {
	inv := b.Investigation
	sug, err := b.server.Collab.Suggest(ctx, inv.ID)
	if err != nil {
		return err
	}
	for _, o := range sug.Owners {
		h.Owners = append(h.Owners, views.OwnerChoice{TeamID: string(o.TeamID), UserID: o.UserID, Name: o.Name, Services: o.Services, Named: o.Named})
	}
	for _, m := range sug.Merges {
		choice := views.MergeChoice{ID: string(m.ID), Title: m.Title, Few: m.Visibility != collab.VisibilityWorkspace, Cards: m.Blocks}
		if m.MayMerge && !inv.Visibility.Narrower(m.Visibility) {
			choice.Ref = uuid.NewString()
		}
		h.Merges = append(h.Merges, choice)
	}
	differs := sug.ImpactStartUnixNano/1e9 != inv.ImpactStartUnixNano/1e9 || sug.ImpactEndUnixNano/1e9 != inv.ImpactEndUnixNano/1e9
	if sug.ImpactStartUnixNano > 0 && differs {
		h.SuggestStart, h.SuggestEnd = nanoTime(sug.ImpactStartUnixNano), nanoTime(sug.ImpactEndUnixNano)
	}
	if !h.CanDelete {
		return nil
	}
	others, _, err := b.server.Collab.FindInvestigations(ctx, collab.InvestigationFilter{Statuses: liveStatuses, Limit: maxMergeTargets + 1})
	if err != nil {
		return err
	}
	for i := range others {
		if others[i].ID != inv.ID && !others[i].Visibility.Narrower(inv.Visibility) && len(h.MergeTargets) < maxMergeTargets {
			h.MergeTargets = append(h.MergeTargets, views.Option{Value: string(others[i].ID), Label: clipRunes(others[i].Title, 80)})
		}
	}
	return nil
}

// timeAt is nanoTime, with the zero time for none.
func timeAt(nano int64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return nanoTime(nano)
}

// showBoardHead answers GET /i/:id/head with the head alone.
func (s *Server) showBoardHead(c echo.Context) error {
	b, err := s.readBoard(c)
	if err != nil {
		return err
	}
	h, err := b.head(c.Request().Context())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.BoardHeadFragment(h))
}

// updateInvestigation answers POST /i/:id: the forms in the head of a board. Of
// what a form holds, only the fields that the person changed are taken.
func (s *Server) updateInvestigation(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return &collab.InvalidError{Message: "The form cannot be read."}
	}
	u, err := s.headUpdate(form)
	if err != nil {
		return err
	}
	inv, err := s.Collab.UpdateInvestigation(c.Request().Context(), investigationParam(c), u)
	if err != nil {
		return s.conflictPage(c, err, c.Request().URL.Path, "/i/"+string(investigationParam(c)))
	}
	return s.formDone(c, inv.Offset, "/i/"+string(inv.ID))
}

// headUpdate reads what a form in the head changes.
func (s *Server) headUpdate(form url.Values) (collab.InvestigationUpdate, error) {
	u := collab.InvestigationUpdate{Ref: form.Get("ref")}
	var err error
	if u.Seen, err = seenOf(form); err != nil {
		return u, err
	}
	changed := func(name string) *string { return changedValue(form, name) }
	u.Title, u.Lead = changed("title"), changed("lead")
	u.Status, u.Severity = (*collab.Status)(changed("status")), (*collab.Severity)(changed("severity"))
	u.Kind, u.Visibility = (*collab.InvestigationKind)(changed("kind")), (*collab.Visibility)(changed("visibility"))
	if u.ImpactStartUnixNano, err = utcField("impact_start", changed("impact_start")); err != nil {
		return u, err
	}
	if u.ImpactEndUnixNano, err = utcField("impact_end", changed("impact_end")); err != nil {
		return u, err
	}
	if v := changed("next_update"); v != nil {
		if u.NextUpdateUnixNano, err = s.inMinutes("next_update", *v); err != nil {
			return u, err
		}
	}
	if who := form.Get("person"); who != "" {
		role := form.Get("role")
		u.People = map[string]*string{who: &role}
		if form.Get("leave") != "" {
			u.People[who] = nil
		}
	}
	if team := form.Get("team_leaves"); team != "" {
		u.Teams = map[collab.TeamID]bool{collab.TeamID(team): false}
	}
	for name, in := range map[string]bool{"service_in": true, "service_out": false} {
		if service := strings.TrimSpace(form.Get(name)); service != "" {
			u.Services = map[string]*bool{service: &in}
		}
	}
	return u, nil
}

// utcField reads a datetime-local field, which is in UTC: without scripts nobody
// knows the zone of whoever fills it in.
func utcField(name string, v *string) (*int64, error) {
	if v == nil {
		return nil, nil
	}
	none := int64(0)
	if *v == "" {
		return &none, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, strings.Replace(strings.TrimSpace(*v), " ", "T", 1)); err == nil && t.Year() >= 2000 && t.Year() < 2100 {
			n := t.UnixNano()
			return &n, nil
		}
	}
	return nil, &collab.InvalidError{Field: name, Message: "Write a time as 2026-11-22 14:03, in UTC, between the years 2000 and 2100."}
}

// maxDueMinutes is the longest time until an update is due.
const maxDueMinutes = 30 * 24 * 60

// inMinutes reads in how many minutes something is due; 0 is never.
func (s *Server) inMinutes(name, v string) (*int64, error) {
	minutes, err := strconv.Atoi(v)
	if err != nil || minutes < 0 || minutes > maxDueMinutes {
		return nil, &collab.InvalidError{Field: name, Message: "Say in how many minutes it is due."}
	}
	due := int64(0)
	if minutes > 0 {
		due = s.Now().Add(time.Duration(minutes) * time.Minute).UnixNano()
	}
	return &due, nil
}

// muteInvestigation answers POST /i/:id/mute: whether the person hears only what is
// meant for them of it. It is theirs alone, and no change of the investigation.
func (s *Server) muteInvestigation(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	if err := s.Collab.MaySee(ctx, investigationParam(c)); err != nil {
		return err
	}
	if actor.Kind != collab.ActorUser {
		return &collab.InvalidError{Message: "Only people have an inbox."}
	}
	if err := s.Collab.SetMuted(ctx, actor.ID, investigationParam(c), c.FormValue("muted") != "false"); err != nil {
		return err
	}
	return seeOther(c, "/i/"+url.PathEscape(string(investigationParam(c))))
}

// askIn answers POST /i/:id/ask: a team or a person is asked in.
func (s *Server) askIn(c echo.Context) error {
	n := collab.AskNew{Ref: c.FormValue("ref"), TeamID: collab.TeamID(c.FormValue("team_id")), UserID: c.FormValue("user_id")}
	inv, err := s.Collab.AskIn(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return s.formDone(c, inv.Offset, "/i/"+string(inv.ID))
}

// askInJSON answers POST /api/v1/investigations/:id/ask.
func (s *Server) askInJSON(c echo.Context) error {
	var n collab.AskNew
	if err := readJSON(c, &n); err != nil {
		return err
	}
	inv, err := s.Collab.AskIn(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, inv)
}

// mergeInvestigation answers POST /i/:id/merge.
func (s *Server) mergeInvestigation(c echo.Context) error {
	if c.FormValue("sure") == "" {
		return &collab.InvalidError{Field: "sure", Message: "Tick the box to merge the investigation."}
	}
	n := collab.MergeNew{Ref: c.FormValue("ref"), Into: collab.InvestigationID(c.FormValue("into")), Sure: true}
	inv, err := s.Collab.MergeInvestigation(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return s.formDone(c, inv.Offset, "/i/"+string(inv.ID))
}

// mergeInvestigationJSON answers POST /api/v1/investigations/:id/merge with what
// it was merged into.
func (s *Server) mergeInvestigationJSON(c echo.Context) error {
	var n collab.MergeNew
	if err := readJSON(c, &n); err != nil {
		return err
	}
	inv, err := s.Collab.MergeInvestigation(c.Request().Context(), investigationParam(c), n)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, inv)
}

// teamList is the answer of GET /api/v1/teams.
type teamList struct {
	Teams []collab.Team `json:"teams"`
}

// listTeams answers GET /api/v1/teams.
func (s *Server) listTeams(c echo.Context) error {
	list, err := s.Collab.FindTeams(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, teamList{list})
}
