package collab

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TeamID is "m_" and a ULID.
type TeamID string

// Team is a named group of people. A text names it by "@" and its handle.
type Team struct {
	ID     TeamID `json:"id"`
	Name   string `json:"name"`
	Handle string `json:"handle"` // lower case, unique
	// Services are those that it owns: names, or patterns in which * stands for
	// anything.
	Services        []string     `json:"services"`
	Members         []TeamMember `json:"members"` // by name
	CreatedUnixNano int64        `json:"created_unix_nano,string"`
}

// TeamMember is a person of a team.
type TeamMember struct {
	ID            string `json:"id"` // a user's
	Name          string `json:"name"`
	SinceUnixNano int64  `json:"since_unix_nano,string"`
}

// TeamNew asks for a team.
type TeamNew struct {
	Name     string
	Services []string
}

// TeamUpdate names what changes; nil leaves it as it is. Members are users' ids:
// true joins, false leaves.
type TeamUpdate struct {
	Name     *string
	Services *[]string
	Members  map[string]bool
}

// Bounds of teams.
const (
	maxTeams        = 500
	maxTeamMembers  = 500
	maxTeamServices = 200
	maxServiceRunes = 200 // of a service's name or pattern
)

// Owns reports whether one of the team's patterns is the service.
func (t *Team) Owns(service string) bool {
	for _, p := range t.Services {
		if matchService(p, service) {
			return true
		}
	}
	return false
}

// matchService matches a name against a pattern in which * stands for anything.
// Each part is looked for as far left as it goes, so nothing is tried twice.
func matchService(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, p := range parts[1:last] {
		_, after, found := strings.Cut(rest, p)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}

// handleOf makes a handle of a name: its letters and digits, in lower case, with
// hyphens between.
func handleOf(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "-")
}

func cleanTeamName(s string) (name, handle string, err error) {
	if name, err = CleanName(s); err != nil {
		return "", "", err
	}
	if handle = handleOf(name); handle == "" {
		return "", "", &InvalidError{"name", "Use letters or digits: people write them behind an @."}
	}
	return name, handle, nil
}

// cleanServices trims names and patterns, and drops what stands there twice.
func cleanServices(field string, list []string) ([]string, error) {
	out := []string{}
	for _, p := range list {
		p = strings.TrimSpace(strings.ToValidUTF8(p, "\uFFFD"))
		switch {
		case p == "" || slices.Contains(out, p):
			continue
		case withoutControls(p) != p || strings.ContainsAny(p, "\n\r\t") || !shows(p):
			return nil, &InvalidError{field, "The name of a service is one line of characters that can be seen."}
		case utf8.RuneCountInString(p) > maxServiceRunes:
			return nil, &InvalidError{field, "The name of a service has at most 200 characters."}
		case strings.Trim(p, "*") == "":
			return nil, &InvalidError{field, "A pattern needs a letter beside the *: it would be every service."}
		}
		out = append(out, p)
	}
	if len(out) > maxTeamServices {
		return nil, &InvalidError{field, "A team owns at most 200 services; patterns such as billing-* save lines."}
	}
	return out, nil
}

// adminOf returns the context's actor if that is an administrator.
func adminOf(ctx context.Context) (Actor, error) {
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleAdmin) {
		return Actor{}, ErrForbidden
	}
	return actor, nil
}

// CreateTeam adds a team without members. A name whose handle is taken is an
// [InvalidError].
func (s *Store) CreateTeam(ctx context.Context, n TeamNew) (*Team, error) {
	actor, err := adminOf(ctx)
	if err != nil {
		return nil, err
	}
	t := &Team{ID: TeamID(newID("m_")), CreatedUnixNano: s.nowNano(), Members: []TeamMember{}}
	if t.Name, t.Handle, err = cleanTeamName(n.Name); err != nil {
		return nil, err
	}
	if t.Services, err = cleanServices("services", n.Services); err != nil {
		return nil, err
	}
	services, err := marshal(t.Services)
	if err != nil {
		return nil, fmt.Errorf("encode services: %w", err)
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM teams WHERE deleted_at = 0`).Scan(&count); err != nil {
			return err
		}
		if count >= maxTeams {
			return &InvalidError{"", "There are 500 teams, which is the most there can be."}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO teams (id, name, handle, services, created_by, created_by_name, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			t.ID, t.Name, t.Handle, string(services), actor.ID, actor.Name, t.CreatedUnixNano)
		if err := takenHandle(err, t.Handle); err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "team.created", Subject: t.Name})
	})
	if err != nil {
		return nil, fmt.Errorf("create team: %w", err)
	}
	return t, nil
}

func takenHandle(err error, handle string) error {
	if errors.Is(translate(err), ErrConflict) {
		return &InvalidError{"name", "There is a team @" + handle + " already."}
	}
	return err
}

// UpdateTeam changes a team. Who leaves may at once not see any more what only
// the team may see.
func (s *Store) UpdateTeam(ctx context.Context, id TeamID, u TeamUpdate) (*Team, error) {
	if _, err := adminOf(ctx); err != nil {
		return nil, err
	}
	var t *Team
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var err error
		if t, err = teamByID(ctx, tx, id); err != nil {
			return err
		}
		was := t.Name
		if u.Name != nil {
			if t.Name, t.Handle, err = cleanTeamName(*u.Name); err != nil {
				return err
			}
		}
		if u.Services != nil {
			if t.Services, err = cleanServices("services", *u.Services); err != nil {
				return err
			}
		}
		services, err := marshal(t.Services)
		if err != nil {
			return fmt.Errorf("encode services: %w", err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE teams SET name = ?, handle = ?, services = ? WHERE id = ?`, t.Name, t.Handle, string(services), id)
		if err := takenHandle(err, t.Handle); err != nil {
			return err
		}
		if was != t.Name {
			if err := s.addAudit(ctx, tx, AuditEntry{Action: "team.renamed", Subject: was, Detail: "to " + t.Name}); err != nil {
				return err
			}
		}
		if err := s.changeMembers(ctx, tx, t, u.Members); err != nil {
			return err
		}
		t, err = teamByID(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("update team %s: %w", id, err)
	}
	if len(u.Members) > 0 && s.boards.written != nil {
		s.boards.written("", "") // others may see what was written
	}
	s.tellInboxes(slices.Collect(maps.Keys(u.Members))...) // they may see more, or less, of what is in them
	return t, nil
}

func (s *Store) changeMembers(ctx context.Context, tx *sql.Tx, t *Team, members map[string]bool) error {
	count := len(t.Members)
	for _, user := range slices.Sorted(maps.Keys(members)) {
		var name string
		err := tx.QueryRowContext(ctx, `SELECT name FROM users WHERE id = ?`, user).Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			return &InvalidError{"members", "There is no such person."}
		}
		if err != nil {
			return err
		}
		has := slices.ContainsFunc(t.Members, func(m TeamMember) bool { return m.ID == user })
		action := "team.joined"
		switch {
		case members[user] == has:
			continue
		case has:
			action = "team.left"
			_, err = tx.ExecContext(ctx, `DELETE FROM team_members WHERE team_id = ? AND user_id = ?`, t.ID, user)
		default:
			if count++; count > maxTeamMembers {
				return &InvalidError{"members", "A team has at most 500 members."}
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO team_members (team_id, user_id, since) VALUES (?, ?, ?)`, t.ID, user, s.nowNano())
		}
		if err != nil {
			return err
		}
		if err := s.addAudit(ctx, tx, AuditEntry{Action: action, Subject: t.Name, Detail: name}); err != nil {
			return err
		}
	}
	return nil
}

// DeleteTeam takes a team away, also from the investigations that it was asked
// into, each in a change of its log.
func (s *Store) DeleteTeam(ctx context.Context, id TeamID) error {
	if _, err := adminOf(ctx); err != nil {
		return err
	}
	return s.do(ctx, func(w *work) error {
		t, err := teamByID(ctx, w.tx, id)
		if err != nil {
			return err
		}
		rows, err := w.tx.QueryContext(ctx, `SELECT t.investigation_id FROM investigation_teams t JOIN investigations i ON i.id = t.investigation_id
			WHERE t.team_id = ? AND i.deleted_at = 0`, id)
		if err != nil {
			return fmt.Errorf("investigations of team %s: %w", id, err)
		}
		homes, err := scanStrings(rows)
		if err != nil {
			return fmt.Errorf("investigations of team %s: %w", id, err)
		}
		for _, m := range t.Members { // they may see less of what is in their inbox
			w.boxes = append(w.boxes, m.ID)
		}
		w.wrote = append(w.wrote, Anchor{})
		for _, inv := range homes {
			if err := w.dropTeam(ctx, InvestigationID(inv), id); err != nil {
				return err
			}
		}
		for _, stmt := range []string{
			`DELETE FROM investigation_teams WHERE team_id = ?1`,
			`DELETE FROM team_members WHERE team_id = ?1`,
			`UPDATE teams SET services = '[]', deleted_at = ?2 WHERE id = ?1`,
		} {
			args := []any{id}
			if strings.Contains(stmt, "?2") {
				args = append(args, w.now)
			}
			if _, err := w.tx.ExecContext(ctx, stmt, args...); err != nil {
				return fmt.Errorf("delete team %s: %w", id, err)
			}
		}
		return s.addAudit(ctx, w.tx, AuditEntry{Action: "team.deleted", Subject: t.Name})
	})
}

const teamColumns = `t.id, t.name, t.handle, t.services, t.created_at, (SELECT COALESCE(json_group_array(json_object(
		'id', m.user_id, 'name', u.name, 'since_unix_nano', CAST(m.since AS TEXT))), '[]')
	FROM team_members m JOIN users u ON u.id = m.user_id AND u.deactivated_at IS NULL WHERE m.team_id = t.id) FROM teams t `

func scanTeam(row interface{ Scan(...any) error }) (*Team, error) {
	var t Team
	var services, members string
	if err := row.Scan(&t.ID, &t.Name, &t.Handle, &services, &t.CreatedUnixNano, &members); err != nil {
		return nil, err
	}
	if err := errors.Join(json.Unmarshal([]byte(services), &t.Services), json.Unmarshal([]byte(members), &t.Members)); err != nil {
		return nil, fmt.Errorf("team %s: %w", t.ID, err)
	}
	slices.SortFunc(t.Members, func(a, b TeamMember) int {
		return strings.Compare(strings.ToLower(a.Name)+a.ID, strings.ToLower(b.Name)+b.ID)
	})
	return &t, nil
}

func teamByID(ctx context.Context, q querier, id TeamID) (*Team, error) {
	t, err := scanTeam(q.QueryRowContext(ctx, `SELECT `+teamColumns+`WHERE t.id = ? AND t.deleted_at = 0`, id))
	if err != nil {
		return nil, fmt.Errorf("team %s: %w", id, translate(err))
	}
	return t, nil
}

// TeamByID returns a team, or [ErrNotFound].
func (s *Store) TeamByID(ctx context.Context, id TeamID) (*Team, error) {
	return teamByID(ctx, s.read, id)
}

// FindTeams returns all teams with their active members, by name.
func (s *Store) FindTeams(ctx context.Context) ([]Team, error) { return findTeams(ctx, s.read) }

func findTeams(ctx context.Context, q querier) ([]Team, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+teamColumns+`WHERE t.deleted_at = 0 ORDER BY t.name COLLATE NOCASE, t.id`)
	if err != nil {
		return nil, fmt.Errorf("find teams: %w", err)
	}
	defer rows.Close()
	list := []Team{}
	for rows.Next() {
		t, err := scanTeam(rows)
		if err != nil {
			return nil, fmt.Errorf("find teams: %w", err)
		}
		list = append(list, *t)
	}
	return list, rows.Err()
}
