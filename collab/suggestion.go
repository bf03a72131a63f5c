package collab

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Suggestions are what the evidence on a board gives reason to do. They name
// nothing that the actor may not see.
type Suggestions struct {
	Owners []Owner `json:"owners"`
	// Merges are other live investigations with evidence that began with the same
	// request.
	Merges []MergeSuggestion `json:"merges"`
	// The impact lasted at least as long as the spans on the board; 0: there are none.
	ImpactStartUnixNano int64 `json:"impact_start_unix_nano,string"`
	ImpactEndUnixNano   int64 `json:"impact_end_unix_nano,string"`
}

// Owner is a team that owns affected services, or somebody who pinned evidence of
// services that no team owns to other boards. One of TeamID and UserID is set.
type Owner struct {
	TeamID   TeamID   `json:"team_id"`
	UserID   string   `json:"user_id"`
	Name     string   `json:"name"`
	Services []string `json:"services"`
	// Named: a text on the board mentions the person, who was not told, because
	// they may not see it.
	Named bool `json:"named"`
}

// MergeSuggestion is an investigation to merge with.
type MergeSuggestion struct {
	ID         InvestigationID `json:"id"`
	Title      string          `json:"title"`
	Visibility Visibility      `json:"visibility"`
	Blocks     int             `json:"blocks"`
	Traces     []string        `json:"traces"` // with which the evidence of both began
	// MayMerge: the actor may merge that one into another.
	MayMerge bool `json:"may_merge"`
}

const (
	maxOwners = 6 // a row of buttons
	maxMerges = 3
)

// Suggest looks at the evidence of an investigation.
func (s *Store) Suggest(ctx context.Context, id InvestigationID) (*Suggestions, error) {
	out := &Suggestions{Owners: []Owner{}, Merges: []MergeSuggestion{}}
	err := s.view(ctx, func(tx *sql.Tx) error {
		inv, err := investigationByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if out.Owners, err = suggestNamed(ctx, tx, inv); err != nil {
			return err
		}
		owners, err := suggestOwners(ctx, tx, inv)
		if err != nil {
			return err
		}
		for _, o := range owners {
			if !slices.ContainsFunc(out.Owners, func(n Owner) bool { return n.UserID == o.UserID && o.UserID != "" }) && len(out.Owners) < maxOwners {
				out.Owners = append(out.Owners, o)
			}
		}
		if inv.Status == StatusOpen || inv.Status == StatusMitigated {
			if out.Merges, err = suggestMerges(ctx, tx, id); err != nil {
				return err
			}
		}
		return tx.QueryRowContext(ctx, `SELECT COALESCE(MIN(e.first_at), 0), COALESCE(MAX(e.last_at), 0) FROM blocks b JOIN evidence e ON e.block_id = b.id
			WHERE b.investigation_id = ? AND b.deleted_at = 0 AND e.first_at > 0`, id).Scan(&out.ImpactStartUnixNano, &out.ImpactEndUnixNano)
	})
	if err != nil {
		return nil, fmt.Errorf("suggest for %s: %w", id, err)
	}
	return out, nil
}

// suggestNamed finds whom a text on the board mentions, and who may not see it.
func suggestNamed(ctx context.Context, q querier, inv *Investigation) ([]Owner, error) {
	list := []Owner{}
	if inv.Visibility == VisibilityWorkspace {
		return list, nil
	}
	var texts string
	err := q.QueryRowContext(ctx, `SELECT COALESCE(group_concat(text, char(10)), '') FROM (
		SELECT text FROM blocks WHERE investigation_id = ?1 AND deleted_at = 0 AND instr(text, '@') > 0
		UNION ALL SELECT text FROM annotations WHERE investigation_id = ?1 AND deleted_at = 0 AND instr(text, '@') > 0)`, inv.ID).Scan(&texts)
	if err != nil || texts == "" {
		return list, err
	}
	people, err := mentionables(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, user := range told(mentioned(texts, people), people) {
		o := Owner{UserID: user, Services: []string{}, Named: true}
		var sees bool
		if err := q.QueryRowContext(ctx, `SELECT u.name, `+seenByReader("?", "u.id", "FALSE")+` FROM users u WHERE u.id = ? AND u.deactivated_at IS NULL`, inv.ID, user).Scan(&o.Name, &sees); errors.Is(err, sql.ErrNoRows) {
			continue // of a team, but gone
		} else if err != nil {
			return nil, fmt.Errorf("find who is named: %w", err)
		}
		if !sees && len(list) < maxOwners {
			list = append(list, o)
		}
	}
	return list, nil
}

// suggestOwners finds the teams that own the affected services and are not asked
// in, the one with the most services first, then people for the other services.
func suggestOwners(ctx context.Context, q querier, inv *Investigation) ([]Owner, error) {
	teams, err := findTeams(ctx, q)
	if err != nil {
		return nil, err
	}
	var orphans []string
	owned := map[TeamID][]string{}
	for _, s := range inv.Services {
		found := false
		for i := range teams {
			if teams[i].Owns(s.Name) {
				found = true
				owned[teams[i].ID] = append(owned[teams[i].ID], s.Name)
			}
		}
		if !found {
			orphans = append(orphans, s.Name)
		}
	}
	list := []Owner{}
	for i := range teams {
		t := &teams[i]
		if len(owned[t.ID]) > 0 && len(t.Members) > 0 && !inv.hasTeam(t.ID) {
			list = append(list, Owner{TeamID: t.ID, Name: t.Name, Services: owned[t.ID]})
		}
	}
	people, err := suggestPeople(ctx, q, inv, orphans)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b Owner) int { return len(b.Services) - len(a.Services) })
	list = append(list, people...)
	return list[:min(len(list), maxOwners)], nil
}

// suggestPeople finds who pinned evidence of services to other boards, and takes
// no part in this one.
func suggestPeople(ctx context.Context, q querier, inv *Investigation, services []string) ([]Owner, error) {
	if len(services) == 0 {
		return nil, nil
	}
	names, err := marshal(services)
	if err != nil {
		return nil, err
	}
	args := append([]any{string(names), inv.ID}, readerOf(ctx).args()...)
	rows, err := q.QueryContext(ctx, `SELECT u.id, u.name, json_group_array(DISTINCT s.value), COUNT(DISTINCT b.investigation_id) AS boards
		FROM json_each(?) want JOIN evidence e JOIN json_each(e.services) s ON s.value = want.value
		JOIN blocks b ON b.id = e.block_id AND b.deleted_at = 0 AND b.investigation_id <> ? AND `+seenBy("b.investigation_id")+`
		JOIN users u ON u.id = b.created_by AND u.deactivated_at IS NULL
		WHERE u.id NOT IN (?, ?) AND u.id NOT IN (SELECT user_id FROM investigation_people WHERE investigation_id = ?)
			AND u.id NOT IN (SELECT actor_id FROM changes WHERE investigation_id = ?)
		GROUP BY u.id ORDER BY boards DESC, u.name LIMIT ?`, append(args, inv.Lead, inv.CreatedBy, inv.ID, inv.ID, maxOwners/2)...)
	if err != nil {
		return nil, fmt.Errorf("find who knows the services: %w", err)
	}
	defer rows.Close()
	var list []Owner
	for rows.Next() {
		var o Owner
		var known string
		var boards int
		if err := rows.Scan(&o.UserID, &o.Name, &known, &boards); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(known), &o.Services); err != nil {
			return nil, err
		}
		slices.Sort(o.Services)
		list = append(list, o)
	}
	return list, rows.Err()
}

func suggestMerges(ctx context.Context, q querier, id InvestigationID) ([]MergeSuggestion, error) {
	rows, err := q.QueryContext(ctx, `SELECT i.id, i.title, i.visibility, json_group_array(DISTINCT mine.origin)
		FROM blocks b JOIN evidence mine ON mine.block_id = b.id AND mine.origin <> ''
		JOIN evidence e ON e.origin = mine.origin
		JOIN blocks o ON o.id = e.block_id AND o.deleted_at = 0 AND o.investigation_id <> b.investigation_id
		JOIN investigations i ON i.id = o.investigation_id AND i.deleted_at = 0 AND i.status IN ('open', 'mitigated')
		WHERE b.investigation_id = ? AND b.deleted_at = 0 AND i.merged_into = '' AND `+seenBy("i.id")+`
		GROUP BY i.id ORDER BY i.id LIMIT ?`, append(append([]any{id}, readerOf(ctx).args()...), maxMerges)...)
	if err != nil {
		return nil, fmt.Errorf("find investigations of the same request: %w", err)
	}
	defer rows.Close()
	list := []MergeSuggestion{}
	for rows.Next() {
		var m MergeSuggestion
		var traces string
		if err := rows.Scan(&m.ID, &m.Title, &m.Visibility, &traces); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(traces), &m.Traces); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for i := range list {
		other, err := investigationByID(ctx, q, list[i].ID)
		if err != nil {
			return nil, err
		}
		list[i].Blocks = other.Blocks
		if list[i].MayMerge, err = mayDispose(ctx, q, other); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// StatusHistory returns which statuses an investigation had, the first first.
func (s *Store) StatusHistory(ctx context.Context, id InvestigationID) ([]StatusAt, error) {
	if err := s.MaySee(ctx, id); err != nil {
		return nil, err
	}
	return statusHistory(ctx, s.read, id)
}

// AskNew asks a team or a person into an investigation.
type AskNew struct {
	Ref    string `json:"ref"`
	TeamID TeamID `json:"team_id"`
	UserID string `json:"user_id"`
}

// AskIn asks a team or a person in, and tells them. If the visibility keeps them
// out, it gives them access: the members of a team asked into a private
// investigation are asked in one by one. Who is in already, is asked no second time.
func (s *Store) AskIn(ctx context.Context, id InvestigationID, n AskNew) (*Investigation, error) {
	if err := checkRef(n.Ref); err != nil {
		return nil, err
	}
	if (n.TeamID == "") == (n.UserID == "") {
		return nil, &InvalidError{"", "Name a team or a person."}
	}
	request, err := requestHash("ask", id, n)
	if err != nil {
		return nil, err
	}
	var inv *Investigation
	err = s.do(ctx, func(w *work) error {
		var err error
		if inv, err = investigationByID(ctx, w.tx, id); err != nil {
			return err
		}
		before, err := findRef(ctx, w.tx, string(id), w.actor.ID, n.Ref, request)
		if err != nil || before != nil {
			return err
		}
		u := InvestigationUpdate{Ref: n.Ref, Seen: &inv.Offset, People: map[string]*string{}}
		takesPart := ""
		if n.TeamID == "" {
			if inv.asked(n.UserID) == nil {
				u.People[n.UserID] = &takesPart
			}
		} else {
			t, err := teamByID(ctx, w.tx, n.TeamID)
			if errors.Is(err, ErrNotFound) {
				return &InvalidError{"team_id", "There is no such team."}
			}
			if err != nil {
				return err
			}
			u.Teams = map[TeamID]bool{n.TeamID: true}
			for _, m := range t.Members {
				if inv.Visibility == VisibilityPrivate && inv.asked(m.ID) == nil && m.ID != inv.Lead && m.ID != inv.CreatedBy {
					u.People[m.ID] = &takesPart
				}
			}
		}
		if err := w.updateInvestigation(ctx, inv, u); err != nil {
			return err
		}
		if inv, err = investigationByID(ctx, w.tx, id); err != nil {
			return err
		}
		return w.keepRef(ctx, string(id), n.Ref, request, string(id), inv.Offset)
	})
	if err != nil {
		return nil, err
	}
	return inv, nil
}
