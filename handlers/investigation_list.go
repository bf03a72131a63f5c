package handlers

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// liveStatuses are those of investigations that somebody still works on.
var liveStatuses = []collab.Status{collab.StatusOpen, collab.StatusMitigated}

const (
	maxListText   = 200 // runes of what a list is searched for
	maxNoticeText = 40  // and of what is quoted from an address
)

// notAPlace is said of a list that cannot go on where its address says.
const notAPlace = "The address goes on at a place that is not in this list: it begins with the newest."

// showInvestigations answers GET /investigations. What it does not understand of its
// address it says and leaves out.
func (s *Server) showInvestigations(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	q := c.QueryParams()
	v := views.InvestigationList{Show: q.Get("show"), Text: clipRunes(strings.TrimSpace(q.Get("q")), maxListText), Severity: q.Get("severity"), Kind: q.Get("kind"), Team: q.Get("team")}
	teams, err := s.Collab.FindTeams(ctx)
	if err != nil {
		return err
	}
	leaveOut := func(name string, value *string, words string) {
		v.Notices = append(v.Notices, words)
		q.Del(name)
		*value = ""
	}
	if v.Severity != "" && !slices.Contains(collab.Severities, collab.Severity(v.Severity)) {
		leaveOut("severity", &v.Severity, "There is no severity “"+clipRunes(v.Severity, maxNoticeText)+"”: these are of any.")
	}
	if v.Kind != "" && !slices.Contains(collab.InvestigationKinds, collab.InvestigationKind(v.Kind)) {
		leaveOut("kind", &v.Kind, "There is no kind “"+clipRunes(v.Kind, maxNoticeText)+"”: these are of any.")
	}
	if v.Team != "" && !slices.ContainsFunc(teams, func(t collab.Team) bool { return string(t.ID) == v.Team }) {
		leaveOut("team", &v.Team, "There is no such team: these are of any.")
	}
	if len([]rune(strings.TrimSpace(q.Get("q")))) > maxListText {
		v.Notices = append(v.Notices, "Only the first 200 letters were looked for.")
	}
	f := collab.InvestigationFilter{After: collab.InvestigationID(q.Get("after")), Text: v.Text, Kind: collab.InvestigationKind(v.Kind)}
	switch v.Show {
	case "mine":
		f.UserID = actor.ID
	case "team":
		f.TeamIDs = teamsOf(teams, actor.ID)
	case "resolved", "closed":
		f.Statuses = []collab.Status{collab.Status(v.Show)}
	case "all":
	case "", "live":
		v.Show, f.Statuses = "live", liveStatuses
	default:
		leaveOut("show", &v.Show, "There is no list “"+clipRunes(v.Show, maxNoticeText)+"”: these are the open ones.")
		v.Show, f.Statuses = "live", liveStatuses
	}
	if v.Severity != "" {
		f.Severities = []collab.Severity{collab.Severity(v.Severity)}
	}
	if v.Team != "" {
		f.TeamIDs = []collab.TeamID{collab.TeamID(v.Team)}
	}
	v.Narrowed = v.Text != "" || v.Severity != "" || v.Kind != "" || v.Team != ""
	list, more, err := s.Collab.FindInvestigations(ctx, f)
	var invalid *collab.InvalidError
	if errors.As(err, &invalid) && invalid.Field == "after" {
		v.Notices = append(v.Notices, notAPlace)
		f.After = ""
		list, more, err = s.Collab.FindInvestigations(ctx, f)
	}
	if err != nil {
		return err
	}
	if q.Get("done") == "deleted" {
		v.Done = "The investigation was deleted, with all that stood on its board."
	}
	if v.Page, err = s.page(c, "Investigations", views.SectionInvestigations); err != nil {
		return err
	}
	listChoices(&v, teams)
	for i := range list {
		v.Rows = append(v.Rows, s.investigationRow(&list[i], actor))
	}
	if more {
		q.Del("done")
		q.Set("show", v.Show)
		q.Set("after", string(list[len(list)-1].ID))
		v.More = "/investigations?" + q.Encode()
	}
	if len(list) == 0 && (v.Show != "all" || v.Narrowed) {
		any, _, err := s.Collab.FindInvestigations(ctx, collab.InvestigationFilter{Limit: 1})
		if err != nil {
			return err
		}
		v.Filtered = len(any) > 0
	}
	v.Page.Styles = []string{"css/investigation.css"}
	return render(c, http.StatusOK, views.InvestigationsPage(v))
}

// listChoices fills in what a list can be narrowed by. What is chosen stays when
// another tab is.
func listChoices(v *views.InvestigationList, teams []collab.Team) {
	keep := url.Values{}
	for name, value := range map[string]string{"q": v.Text, "severity": v.Severity, "kind": v.Kind, "team": v.Team} {
		if value != "" {
			keep.Set(name, value)
		}
	}
	for _, x := range [][2]string{{"live", "Open"}, {"mine", "Mine"}, {"team", "My teams"}, {"resolved", "Resolved"}, {"closed", "Closed"}, {"all", "All"}} {
		keep.Set("show", x[0])
		v.Filters = append(v.Filters, views.Filter{Label: x[1], Href: "/investigations?" + keep.Encode(), Here: v.Show == x[0]})
	}
	any := views.Option{Value: "", Label: "any"}
	v.Severities, v.Kinds, v.Teams = []views.Option{any}, []views.Option{any}, []views.Option{any}
	for _, sev := range collab.Severities {
		v.Severities = append(v.Severities, views.Option{Value: string(sev), Label: string(sev)})
	}
	for _, k := range collab.InvestigationKinds {
		v.Kinds = append(v.Kinds, views.Option{Value: string(k), Label: string(k)})
	}
	for i := range teams {
		v.Teams = append(v.Teams, views.Option{Value: string(teams[i].ID), Label: teams[i].Name})
	}
}

// teamsOf are the teams that a user is in, never nil.
func teamsOf(teams []collab.Team, user string) []collab.TeamID {
	ids := []collab.TeamID{}
	for i := range teams {
		for _, m := range teams[i].Members {
			if m.ID == user {
				ids = append(ids, teams[i].ID)
			}
		}
	}
	return ids
}

// investigationRow is one line of a list of investigations.
func (s *Server) investigationRow(inv *collab.Investigation, me collab.Actor) views.InvestigationRow {
	r := views.InvestigationRow{Href: "/i/" + string(inv.ID), Title: inv.Title, Status: string(inv.Status), Severity: string(inv.Severity),
		LeadName: inv.LeadName, Blocks: inv.Blocks, Created: nanoTime(inv.CreatedUnixNano), Updated: nanoTime(inv.UpdatedUnixNano), Here: s.peopleHere(inv.ID, me),
		Drill: inv.Kind == collab.InvestigationDrill, Visibility: string(inv.Visibility)}
	live := inv.Status == collab.StatusOpen || inv.Status == collab.StatusMitigated
	r.Overdue = live && inv.NextUpdateUnixNano > 0 && inv.NextUpdateUnixNano <= s.Now().UnixNano()
	var names []string
	for _, a := range inv.Services {
		names = append(names, a.Name)
	}
	r.Services = strings.Join(names[:min(len(names), maxListServices)], " · ")
	if n := len(names) - maxListServices; n > 0 {
		r.Services += " and " + countWord(n, "other")
	}
	return r
}

// maxListServices is how many services a line names.
const maxListServices = 3
