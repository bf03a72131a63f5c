package collab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// stay keeps those in who do not mean to go: whoever narrows the visibility, and
// a lead who hands over, of an investigation that not everybody may see.
func (w *work) stay(ctx context.Context, e *edit, old *Investigation, u InvestigationUpdate) error {
	inv := e.inv
	if inv.Visibility == VisibilityWorkspace {
		return nil
	}
	var keep []string
	if old.Lead != inv.Lead && old.Lead != "" && old.Lead != inv.CreatedBy {
		keep = append(keep, old.Lead)
	}
	left := false
	for who, role := range u.People {
		if role != nil || left {
			continue
		}
		id, err := w.person(ctx, inv, who)
		if err != nil {
			return err
		}
		left = id == w.actor.ID
	}
	if err := maySee(ctx, w.tx, inv.ID); errors.Is(err, ErrNotFound) && !left {
		if w.actor.Kind != ActorUser {
			return &InvalidError{"visibility", "A token that did not open the investigation would not see it any more. Let a person do it."}
		}
		keep = append(keep, w.actor.ID)
	} else if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, user := range keep {
		if e.inv.asked(user) != nil {
			continue
		}
		if err := e.entry("people", user, "", nil); err != nil {
			return err
		}
		if err := w.putPerson(ctx, e.inv.ID, user, ""); err != nil {
			return err
		}
	}
	if len(keep) == 0 {
		return nil
	}
	_, err := w.tx.ExecContext(ctx, `UPDATE investigations SET field_offsets = ? WHERE id = ?`, inv.fieldOffsets.text(), inv.ID)
	if err != nil {
		return fmt.Errorf("update investigation %s: %w", inv.ID, err)
	}
	return nil
}

// asked returns how a user was asked in, nil if not.
func (i *Investigation) asked(user string) *AskedPerson {
	for k := range i.People {
		if i.People[k].ID == user {
			return &i.People[k]
		}
	}
	return nil
}

func (i *Investigation) hasTeam(id TeamID) bool {
	return slices.ContainsFunc(i.Teams, func(t AskedTeam) bool { return t.ID == id })
}

func (w *work) editTeams(ctx context.Context, e *edit, teams map[TeamID]bool) error {
	added := map[TeamID]bool{}
	for _, id := range slices.Sorted(maps.Keys(teams)) {
		has := e.inv.hasTeam(id)
		if teams[id] == has {
			continue
		}
		if err := e.entry("teams", string(id), teams[id], has); err != nil {
			return err
		}
		if teams[id] {
			added[id] = true
			continue
		}
		_, err := w.tx.ExecContext(ctx, `DELETE FROM investigation_teams WHERE investigation_id = ? AND team_id = ?`, e.inv.ID, id)
		if err != nil {
			return fmt.Errorf("take team %s out: %w", id, err)
		}
	}
	return w.insertTeams(ctx, e.inv.ID, added)
}

func (w *work) insertTeams(ctx context.Context, id InvestigationID, teams map[TeamID]bool) error {
	for _, team := range slices.Sorted(maps.Keys(teams)) {
		if _, err := teamByID(ctx, w.tx, team); errors.Is(err, ErrNotFound) {
			return &InvalidError{"teams", "There is no such team."}
		} else if err != nil {
			return err
		}
		_, err := w.tx.ExecContext(ctx, `INSERT INTO investigation_teams (investigation_id, team_id, since) VALUES (?, ?, ?)`, id, team, w.now)
		if err != nil {
			return fmt.Errorf("ask team %s in: %w", team, err)
		}
	}
	return w.checkCount(ctx, `SELECT COUNT(*) FROM investigation_teams WHERE investigation_id = ?`, id, maxAskedTeams, "teams", "teams")
}

func (w *work) checkCount(ctx context.Context, query string, id InvestigationID, most int, field, noun string) error {
	var n int
	if err := w.tx.QueryRowContext(ctx, query, id).Scan(&n); err != nil {
		return fmt.Errorf("count %s of %s: %w", field, id, err)
	}
	if n > most {
		return &InvalidError{field, "An investigation has at most " + itoa(most) + " " + noun + "."}
	}
	return nil
}

// dropTeam takes a team that is no more out of an investigation.
func (w *work) dropTeam(ctx context.Context, id InvestigationID, team TeamID) error {
	inv, err := investigationByID(AsServer(ctx), w.tx, id)
	if err != nil {
		return err
	}
	e := &edit{inv: inv, seen: inv.Offset, set: map[string]any{}, was: map[string]any{}}
	if err := w.editTeams(ctx, e, map[TeamID]bool{team: false}); err != nil {
		return err
	}
	if err := w.saveInvestigation(ctx, inv); err != nil {
		return err
	}
	_, err = w.log(ctx, id, InvestigationUpdated, string(id), "", map[string]any{"id": id, "fields": e.set, "was": e.was})
	return err
}

// mayTakeOut refuses that somebody is taken out by whoever has no say in it: that can
// end what they see. Everybody may go.
func (w *work) mayTakeOut(ctx context.Context, inv *Investigation, u InvestigationUpdate) error {
	out := false
	for who, role := range u.People {
		if role != nil || out {
			continue
		}
		id, err := w.person(ctx, inv, who)
		if err != nil {
			return err
		}
		out = id != w.actor.ID && inv.asked(id) != nil
	}
	for team, in := range u.Teams {
		out = out || !in && inv.hasTeam(team)
	}
	if !out {
		return nil
	}
	ok, err := mayDispose(ctx, w.tx, inv)
	if err == nil && !ok {
		err = &ForbiddenError{"Only who opened it, a lead whom others made lead, or an administrator may take others out."}
	}
	return err
}

// checkHasTeam refuses what only members of teams may see and no team was asked into.
func (w *work) checkHasTeam(ctx context.Context, id InvestigationID) error {
	var has bool
	if err := w.tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM investigation_teams WHERE investigation_id = ?)`, id).Scan(&has); err != nil {
		return fmt.Errorf("teams of %s: %w", id, err)
	}
	if !has {
		return &InvalidError{"visibility", "Ask a team in first: there is none yet whose members could see it."}
	}
	return nil
}

func (w *work) putPerson(ctx context.Context, id InvestigationID, user, role string) error {
	_, err := w.tx.ExecContext(ctx, `INSERT INTO investigation_people (investigation_id, user_id, role, since) VALUES (?, ?, ?, ?)
		ON CONFLICT (investigation_id, user_id) DO UPDATE SET role = excluded.role, since = excluded.since`, id, user, role, w.now)
	if err != nil {
		return fmt.Errorf("ask %s in: %w", user, err)
	}
	return nil
}

// person returns the id of whom an update of people names.
func (w *work) person(ctx context.Context, inv *Investigation, who string) (string, error) {
	if inv.asked(who) != nil { // maybe somebody deactivated since
		return who, nil
	}
	id, _, err := findActive(ctx, w.tx, "people", who)
	return id, err
}

// editPeople asks people in, gives them roles, and takes them out.
func (w *work) editPeople(ctx context.Context, e *edit, people map[string]*string) error {
	for _, who := range slices.Sorted(maps.Keys(people)) {
		to := people[who]
		id, err := w.person(ctx, e.inv, who)
		if err != nil {
			return err
		}
		now := e.inv.asked(id)
		var was any
		if now != nil {
			was = now.Role
		}
		switch {
		case id == "" || to == nil && now == nil || to != nil && now != nil && *to == now.Role:
			continue
		case to == nil:
			if err := e.entry("people", id, nil, was); err != nil {
				return err
			}
			_, err := w.tx.ExecContext(ctx, `DELETE FROM investigation_people WHERE investigation_id = ? AND user_id = ?`, e.inv.ID, id)
			if err != nil {
				return fmt.Errorf("take %s out: %w", id, err)
			}
		default:
			if err := e.entry("people", id, *to, was); err != nil {
				return err
			}
			if err := w.putPerson(ctx, e.inv.ID, id, *to); err != nil {
				return err
			}
		}
	}
	return w.checkCount(ctx, `SELECT COUNT(*) FROM investigation_people WHERE investigation_id = ?`, e.inv.ID, maxAskedPeople, "people", "people")
}
