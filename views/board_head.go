package views

import (
	"net/url"
	"strings"
	"time"

	"redthread/views/ui"
)

// BoardHead is the head of a board: what the investigation is, who is in it, and
// what is due.
type BoardHead struct {
	ID        string
	Title     string
	Status    string
	Severity  string
	Lead      string
	LeadName  string
	LeadSince time.Time
	OpenedBy  string
	Created   time.Time
	Seen      int64
	Now       time.Time
	CanWrite  bool
	CanDelete bool
	CanMute   bool // has an inbox
	Muted     bool // by whoever looks
	Drill     bool

	Statuses   []Option
	Severities []Option
	Leads      []Option
	History    []StatusEntry // the newest first

	Visibility   string
	Visibilities []Option
	People       []RolePerson
	Teams        []TeamChip
	OtherTeams   []Option // that can be asked in
	OtherPeople  []Option
	Owners       []OwnerChoice
	AskRef       string

	NextUpdate   time.Time // zero: not said
	ImpactStart  time.Time
	ImpactEnd    time.Time
	SuggestStart time.Time // as the evidence has it; zero: nothing to suggest
	SuggestEnd   time.Time
	Services     []ServiceChip
	Merges       []MergeChoice // suggested
	// What stands on the board, for who is about to delete or merge it.
	Cards, Remarks int
	MergeTargets   []Option
	MergeRef       string
}

// holds says what stands on the board; static/js/investigation.js does the same.
func (h BoardHead) holds() string {
	return plural(h.Cards, "card", "cards") + ", " + plural(h.Remarks, "remark", "remarks") + " and a timeline of " + plural(int(h.Seen), "change", "changes")
}

// opens reports whether a menu of the head has something for whoever looks: those
// who only read have no choices.
func (h BoardHead) opens(key string) bool {
	if h.CanWrite {
		return true
	}
	switch key {
	case "status":
		return len(h.History) > 0
	case "people":
		return h.Lead != "" || len(h.People)+len(h.Teams) > 0
	case "services":
		return len(h.Services) > 0
	case "impact":
		return !h.ImpactStart.IsZero() || !h.ImpactEnd.IsZero()
	case "update":
		return h.due()
	}
	return false
}

// StatusEntry is a status and who set it when.
type StatusEntry struct {
	Status, By string
	At         time.Time
}

// RolePerson is somebody who was asked in.
type RolePerson struct {
	ID, Name, Role string
	Since          time.Time
	MayTakeOut     bool // by whoever looks
}

func (p RolePerson) hue() int { return ServiceHue(p.ID) }

// TeamChip is a team that was asked in.
type TeamChip struct{ ID, Name, Handle string }

// OwnerChoice is a team or a person to ask in, with the services that speak for
// it.
type OwnerChoice struct {
	TeamID, UserID, Name string
	Services             []string
	Named                bool // on the board, but may not see it
}

// why says in a few words what speaks for an owner.
func (o OwnerChoice) why() string {
	if o.Named {
		return "named here, cannot see it"
	}
	verb := "owns "
	if o.TeamID == "" {
		verb = "knows "
	}
	return verb + shortList(o.Services, 2)
}

// ServiceChip is an affected service.
type ServiceChip struct {
	Name    string
	Derived bool // found in the evidence
}

// MergeChoice is an investigation about the same request. Without a Ref it is not
// the reader's to merge, or not meant to come where fewer may see it.
type MergeChoice struct {
	ID, Title, Ref string
	Few            bool // not everybody may see it
	Cards          int
}

func (m MergeChoice) holds() string { return " (" + plural(m.Cards, "card", "cards") + ")" }

func pathEscape(s string) string { return url.PathEscape(s) }

// shortList names the first few, and counts the rest.
func shortList(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, " · ")
	}
	return strings.Join(names[:most], " · ") + " +" + ui.Count(len(names)-most)
}

func (h BoardHead) servicesLabel() string {
	if len(h.Services) == 0 {
		return "no services yet"
	}
	names := make([]string, len(h.Services))
	for i, s := range h.Services {
		names[i] = s.Name
	}
	return shortList(names, 3)
}

func (h BoardHead) peopleLabel() string {
	label := "lead " + leadLabel(h.LeadName)
	if n := len(h.People); n > 0 {
		label += " +" + ui.Count(n)
	}
	return label
}

// live reports whether somebody still works on it.
func (h BoardHead) live() bool { return h.Status == "open" || h.Status == "mitigated" }

// due reports whether the head counts down to the next update.
func (h BoardHead) due() bool { return h.live() && !h.NextUpdate.IsZero() }

func (h BoardHead) overdue() bool { return h.due() && !h.NextUpdate.After(h.Now) }

func (h BoardHead) dueLabel() string {
	switch {
	case !h.due():
		return "no update due"
	case h.overdue():
		return "update overdue " + strings.TrimSuffix(ui.Ago(h.NextUpdate, h.Now), " ago")
	}
	return "next update " + ui.Ago(h.NextUpdate, h.Now)
}

// overdue reports whether a task should be done by now.
func (b BoardBlock) overdue() bool {
	return b.Kind == "task" && !b.Done && !b.Due.IsZero() && !b.Due.After(b.Now)
}

// utcInput is a moment as a datetime-local field has it, in UTC.
func utcInput(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}

// UpdateChoice is a time until the next update.
type UpdateChoice struct{ Minutes, Label string }

var updateChoices = []UpdateChoice{{"15", "in 15 min"}, {"30", "in 30 min"}, {"60", "in 1 h"}, {"120", "in 2 h"}, {"1440", "tomorrow"}, {"0", "not said"}}
