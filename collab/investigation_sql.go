package collab

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const investigationColumns = `i.id, i.epoch, i.offset, i.title, i.status, i.severity, i.lead, COALESCE(u.name, ''), i.lead_since,
	i.kind, i.visibility, i.next_update, i.impact_start, i.impact_end,
	(SELECT json_group_array(json_object('id', t.id, 'name', t.name, 'handle', t.handle, 'since_unix_nano', CAST(a.since AS TEXT)))
		FROM investigation_teams a JOIN teams t ON t.id = a.team_id WHERE a.investigation_id = i.id),
	(SELECT json_group_array(json_object('id', p.user_id, 'name', w.name, 'role', p.role, 'since_unix_nano', CAST(p.since AS TEXT)))
		FROM investigation_people p JOIN users w ON w.id = p.user_id WHERE p.investigation_id = i.id),
	i.services, (SELECT json_group_array(DISTINCT s.value) FROM blocks b JOIN evidence e ON e.block_id = b.id JOIN json_each(e.services) s
		WHERE b.investigation_id = i.id AND b.deleted_at = 0),
	i.field_offsets, i.created_by, i.created_by_name, i.created_at, i.updated_at, i.deleted_at <> 0,
	(SELECT COUNT(*) FROM blocks b WHERE b.investigation_id = i.id AND b.deleted_at = 0)`

const investigationFrom = ` FROM investigations i LEFT JOIN users u ON u.id = i.lead `

func scanInvestigation(row interface{ Scan(...any) error }) (*Investigation, error) {
	var i Investigation
	var fields, teams, people, services, derived string
	err := row.Scan(&i.ID, &i.Epoch, &i.Offset, &i.Title, &i.Status, &i.Severity, &i.Lead, &i.LeadName, &i.LeadSinceUnixNano,
		&i.Kind, &i.Visibility, &i.NextUpdateUnixNano, &i.ImpactStartUnixNano, &i.ImpactEndUnixNano, &teams, &people, &services, &derived,
		&fields, &i.CreatedBy, &i.CreatedByName, &i.CreatedUnixNano, &i.UpdatedUnixNano, &i.deleted, &i.Blocks)
	if err != nil {
		return nil, err
	}
	var found []string
	err = errors.Join(json.Unmarshal([]byte(teams), &i.Teams), json.Unmarshal([]byte(people), &i.People),
		json.Unmarshal([]byte(services), &i.byHand), json.Unmarshal([]byte(derived), &found))
	if err != nil {
		return nil, fmt.Errorf("investigation %s: %w", i.ID, err)
	}
	slices.SortFunc(i.Teams, func(a, b AskedTeam) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(i.People, func(a, b AskedPerson) int {
		return cmp.Or(cmp.Compare(a.SinceUnixNano, b.SinceUnixNano), cmp.Compare(a.ID, b.ID))
	})
	i.Services = affectedServices(found, i.byHand)
	i.fieldOffsets, err = readFieldOffsets(fields)
	return &i, err
}

// affectedServices are those of the evidence without the ones taken out, and
// those put there by hand.
func affectedServices(derived []string, byHand map[string]bool) []AffectedService {
	list := []AffectedService{}
	for _, name := range derived {
		if in, said := byHand[name]; in || !said {
			list = append(list, AffectedService{Name: name, Derived: true, ByHand: in})
		}
	}
	for name, in := range byHand {
		if in && !slices.Contains(derived, name) {
			list = append(list, AffectedService{Name: name, ByHand: true})
		}
	}
	slices.SortFunc(list, func(a, b AffectedService) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// investigationByID reads one that is not deleted and that the actor may see.
func investigationByID(ctx context.Context, q querier, id InvestigationID) (*Investigation, error) {
	if err := maySee(ctx, q, id); err != nil {
		return nil, err
	}
	i, err := scanInvestigation(q.QueryRowContext(ctx, `SELECT `+investigationColumns+investigationFrom+`WHERE i.id = ?`, id))
	if err == nil && i.deleted {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("investigation %s: %w", id, translate(err))
	}
	return i, nil
}

// InvestigationByID returns one investigation, or the error of [Store.MaySee].
func (s *Store) InvestigationByID(ctx context.Context, id InvestigationID) (*Investigation, error) {
	return investigationByID(ctx, s.read, id)
}

// FindInvestigations returns investigations that the actor may see, the newest
// first, and whether there are more.
func (s *Store) FindInvestigations(ctx context.Context, f InvestigationFilter) ([]Investigation, bool, error) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	f.Limit = min(f.Limit, 200)
	for _, st := range f.Statuses {
		if err := checkStatus(st); err != nil {
			return nil, false, err
		}
	}
	for _, sev := range f.Severities {
		if err := checkSeverity(sev); err != nil {
			return nil, false, err
		}
	}
	if err := checkAfter("after", "i_", string(f.After)); err != nil {
		return nil, false, err
	}
	if f.Kind != "" {
		if err := checkKind(f.Kind); err != nil {
			return nil, false, err
		}
	}
	f.Statuses = slices.Compact(slices.Sorted(slices.Values(f.Statuses)))
	where, args := []string{"i.deleted_at = 0", "i.merged_into = ''", seenBy("i.id")}, readerOf(ctx).args()
	among := func(column string, n int) string {
		return column + " IN (?" + strings.Repeat(", ?", n-1) + ")"
	}
	if len(f.Statuses) > 0 {
		where = append(where, among("i.status", len(f.Statuses)))
		for _, st := range f.Statuses {
			args = append(args, st)
		}
	}
	if len(f.Severities) > 0 {
		where = append(where, among("i.severity", len(f.Severities)))
		for _, sev := range f.Severities {
			args = append(args, sev)
		}
	}
	if f.Kind != "" {
		where, args = append(where, "i.kind = ?"), append(args, f.Kind)
	}
	if f.TeamIDs != nil {
		if len(f.TeamIDs) == 0 {
			return []Investigation{}, false, nil
		}
		where = append(where, "EXISTS (SELECT 1 FROM investigation_teams a WHERE a.investigation_id = i.id AND "+among("a.team_id", len(f.TeamIDs))+")")
		for _, t := range f.TeamIDs {
			args = append(args, t)
		}
	}
	if f.UserID != "" {
		where = append(where, `(i.lead = ? OR i.id IN (SELECT investigation_id FROM changes WHERE actor_id = ?)
			OR i.id IN (SELECT investigation_id FROM investigation_people WHERE user_id = ?))`)
		args = append(args, f.UserID, f.UserID, f.UserID)
	}
	if text := strings.TrimSpace(f.Text); text != "" {
		like := "%" + likeEscaper.Replace(text) + "%"
		where = append(where, `(i.title LIKE ? ESCAPE '\' OR u.name LIKE ? ESCAPE '\'
			OR EXISTS (SELECT 1 FROM json_each(i.services) s WHERE s.value AND s.key LIKE ? ESCAPE '\')
			OR EXISTS (SELECT 1 FROM blocks b JOIN evidence e ON e.block_id = b.id JOIN json_each(e.services) s
				WHERE b.investigation_id = i.id AND b.deleted_at = 0 AND s.value LIKE ? ESCAPE '\'))`)
		args = append(args, like, like, like, like)
	}
	if f.After != "" {
		where = append(where, "i.id < ?")
		args = append(args, f.After)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT `+investigationColumns+investigationFrom+
		`WHERE `+strings.Join(where, " AND ")+` ORDER BY i.id DESC LIMIT ?`, append(args, f.Limit+1)...)
	if err != nil {
		return nil, false, fmt.Errorf("find investigations: %w", err)
	}
	defer rows.Close()
	list := []Investigation{}
	for rows.Next() {
		i, err := scanInvestigation(rows)
		if err != nil {
			return nil, false, fmt.Errorf("find investigations: %w", err)
		}
		list = append(list, *i)
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("find investigations: %w", err)
	}
	if len(list) > f.Limit {
		return list[:f.Limit], true, nil
	}
	return list, false, nil
}

// likeEscaper makes a text stand for itself in LIKE … ESCAPE '\'.
var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// CreateInvestigation opens an investigation: change 1 of its log, and its first
// block if one is asked for. The same ref again returns what it made, with
// created false.
func (s *Store) CreateInvestigation(ctx context.Context, n InvestigationNew) (inv *Investigation, created bool, err error) {
	if n.Title, err = cleanTitle("title", n.Title); err != nil {
		return nil, false, err
	}
	if n.Status == "" {
		n.Status = StatusOpen
	}
	if n.Severity == "" {
		n.Severity = SeverityUnknown
	}
	n.Kind, n.Visibility = cmp.Or(n.Kind, InvestigationReal), cmp.Or(n.Visibility, VisibilityWorkspace)
	err = errors.Join(checkRef(n.Ref), checkStatus(n.Status), checkSeverity(n.Severity), checkKind(n.Kind), checkVisibility(n.Visibility))
	if err != nil {
		return nil, false, err
	}
	if later := n.update(); n.life() {
		if err := later.clean(); err != nil {
			return nil, false, err
		}
	}
	template, err := templateByID(n.Template)
	if err != nil {
		return nil, false, err
	}
	var locator Locator
	if n.Pin != nil {
		if locator, err = n.Pin.clean(); err != nil {
			return nil, false, err
		}
	}
	request, err := requestHash("investigation", n)
	if err != nil {
		return nil, false, err
	}
	var frozen *Frozen
	if n.Pin != nil {
		if frozen, err = s.freezeNew(ctx, "", n.Pin, locator); err != nil {
			return nil, false, err
		}
	}
	err = s.do(ctx, func(w *work) error {
		before, err := findRef(ctx, w.tx, "", w.actor.ID, n.Ref, request)
		if err != nil {
			return err
		}
		if before != nil {
			if inv, err = investigationByID(ctx, w.tx, InvestigationID(before.object)); errors.Is(err, ErrNotFound) {
				err = ErrErased
			}
			return err
		}
		created = true
		if inv, err = s.insertInvestigation(ctx, w, n); err != nil {
			return err
		}
		if n.Pin != nil {
			if _, err := w.insertBlock(ctx, inv.ID, *n.Pin, locator, frozen); err != nil {
				return err
			}
		}
		for _, b := range template.Blocks {
			if _, err := b.clean(); err != nil {
				return fmt.Errorf("template %s: %w", template.ID, err)
			}
			if _, err := w.insertBlock(ctx, inv.ID, b, Locator{}, nil); err != nil {
				return err
			}
		}
		if n.life() {
			u := n.update()
			u.Seen = &inv.Offset
			if n.Pin != nil || len(template.Blocks) > 0 {
				if inv, err = investigationByID(ctx, w.tx, inv.ID); err != nil {
					return err
				}
				u.Seen = &inv.Offset
			}
			if err := w.updateInvestigation(ctx, inv, u); err != nil {
				return err
			}
		}
		if n.Pin != nil || len(template.Blocks) > 0 || n.life() {
			if inv, err = investigationByID(ctx, w.tx, inv.ID); err != nil {
				return err
			}
		}
		return w.keepRef(ctx, "", n.Ref, request, string(inv.ID), 1)
	})
	if err != nil {
		return nil, false, err
	}
	return inv, created, nil
}

func (s *Store) insertInvestigation(ctx context.Context, w *work, n InvestigationNew) (*Investigation, error) {
	lead := ""
	if n.Lead != nil {
		var err error
		if lead, err = findLead(ctx, w.tx, *n.Lead); err != nil {
			return nil, err
		}
	} else if w.actor.Kind == ActorUser {
		lead = w.actor.ID
	}
	id := InvestigationID(newID("i_"))
	fields := fieldOffsets{"title": 1, "status": 1, "severity": 1, "lead": 1, "kind": 1, "visibility": 1}
	since := w.now
	if lead == "" {
		since = 0
	}
	_, err := w.tx.ExecContext(ctx, `INSERT INTO investigations (id, epoch, offset, title, status, severity, lead, lead_since, kind, visibility, field_offsets,
		created_by, created_by_name, created_at, updated_at) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, newEpoch(), n.Title, n.Status, n.Severity, lead, since, n.Kind, n.Visibility, fields.text(), w.actor.ID, w.actor.Name, w.now, w.now)
	if err != nil {
		return nil, fmt.Errorf("insert investigation: %w", err)
	}
	data := map[string]any{"id": id, "title": n.Title, "status": n.Status, "severity": n.Severity, "lead": lead, "kind": n.Kind, "visibility": n.Visibility}
	teams := map[TeamID]bool{}
	for _, t := range n.Teams {
		teams[t] = true
	}
	if len(teams) > 0 {
		if err := w.insertTeams(ctx, id, teams); err != nil {
			return nil, err
		}
		data["teams"] = teams
	}
	if n.Visibility == VisibilityTeam {
		if err := w.checkHasTeam(ctx, id); err != nil {
			return nil, err
		}
	}
	if _, err := w.log(ctx, id, InvestigationCreated, string(id), n.Ref, data); err != nil {
		return nil, err
	}
	inv, err := investigationByID(ctx, w.tx, id)
	if err != nil {
		return nil, err
	}
	if err := w.notifyOpened(ctx, inv); err != nil {
		return nil, err
	}
	if err := w.notifyAsked(ctx, inv, nil, slices.Collect(maps.Keys(teams))); err != nil {
		return nil, err
	}
	return inv, w.notifyAssigned(ctx, inv)
}

// UpdateInvestigation changes fields. A field that somebody changed since
// u.Seen to something else is a [ConflictError], and then nothing is changed.
func (s *Store) UpdateInvestigation(ctx context.Context, id InvestigationID, u InvestigationUpdate) (*Investigation, error) {
	if err := u.clean(); err != nil {
		return nil, err
	}
	request, err := requestHash("investigation", id, u)
	if err != nil {
		return nil, err
	}
	var inv *Investigation
	err = s.do(ctx, func(w *work) error {
		if inv, err = investigationByID(ctx, w.tx, id); err != nil {
			return err
		}
		before, err := findRef(ctx, w.tx, string(id), w.actor.ID, u.Ref, request)
		if err != nil || before != nil {
			return err
		}
		if err := w.updateInvestigation(ctx, inv, u); err != nil {
			return err
		}
		if inv, err = investigationByID(AsServer(ctx), w.tx, id); err != nil { // who leaves may see it no more
			return err
		}
		return w.keepRef(ctx, string(id), u.Ref, request, string(id), inv.Offset)
	})
	if err != nil {
		return nil, err
	}
	return inv, nil
}

// findLead returns the id of an active user who may write, named by id, email or
// name. Empty stays empty.
func findLead(ctx context.Context, q querier, who string) (string, error) {
	id, name, err := findActive(ctx, q, "lead", who)
	if err != nil || id == "" {
		return id, err
	}
	var role Role
	if err := q.QueryRowContext(ctx, `SELECT role FROM users WHERE id = ?`, id).Scan(&role); err != nil {
		return "", fmt.Errorf("role of %s: %w", id, translate(err))
	}
	if !role.AtLeast(RoleMember) {
		return "", &InvalidError{"lead", name + " only reads, and a lead changes things. Choose somebody who may write."}
	}
	return id, nil
}

// findAssignee returns the id and name of whom a task is given to, who has to be
// able to see it.
func findAssignee(ctx context.Context, q querier, inv InvestigationID, who string) (id, name string, err error) {
	id, name, err = findActive(ctx, q, "assignee", who)
	if err != nil || id == "" {
		return id, name, err
	}
	var sees bool
	if err := q.QueryRowContext(ctx, `SELECT `+seenByReader("?", "?", "0"), id, inv).Scan(&sees); err != nil {
		return "", "", fmt.Errorf("access of %s: %w", id, err)
	}
	if !sees {
		return "", "", &InvalidError{"assignee", name + " may not see this investigation. Ask them in first."}
	}
	return id, name, nil
}

func findActive(ctx context.Context, q querier, field, who string) (id, name string, err error) {
	who = strings.TrimSpace(who)
	if who == "" {
		return "", "", nil
	}
	err = q.QueryRowContext(ctx, `SELECT id, name FROM users WHERE deactivated_at IS NULL AND (id = ?1 OR email = lower(?1) OR lower(name) = lower(?1))
		ORDER BY id = ?1 DESC, email = lower(?1) DESC LIMIT 1`, who).Scan(&id, &name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", &InvalidError{field, "There is no active person with that id, email or name."}
	}
	if err != nil {
		return "", "", fmt.Errorf("find %s: %w", field, err)
	}
	return id, name, nil
}

// DeleteInvestigation leaves a tombstone: the log keeps its numbers, everything
// in it is erased. Who opened it, its lead and administrators may do it.
func (s *Store) DeleteInvestigation(ctx context.Context, id InvestigationID) error {
	return s.do(ctx, func(w *work) error {
		if err := maySee(ctx, w.tx, id); err != nil {
			return err
		}
		inv, err := scanInvestigation(w.tx.QueryRowContext(ctx, `SELECT `+investigationColumns+investigationFrom+`WHERE i.id = ?`, id))
		if err != nil || inv.deleted {
			return err
		}
		if err := w.dispose(ctx, inv, "delete it"); err != nil {
			return err
		}
		if err := w.touchInboxes(ctx, id); err != nil {
			return err
		}
		// Other boards hold those that hang on spans which are pinned there too.
		spread, err := queryAnnotations(ctx, w.tx, `a.investigation_id = ? AND a.trace_id <> '' AND a.deleted_at = 0`, []any{id}, 10_000)
		if err != nil {
			return err
		}
		for i := range spread {
			if err := w.eraseAnnotation(ctx, &spread[i]); err != nil {
				return err
			}
		}
		if _, err := w.log(ctx, id, InvestigationDeleted, string(id), "", map[string]any{"id": id}); err != nil {
			return err
		}
		for _, st := range []struct {
			sql  string
			args []any
		}{
			{`UPDATE investigations SET title = '', services = '{}', deleted_at = ? WHERE id = ?`, []any{w.now, id}},
			{`DELETE FROM evidence WHERE block_id IN (SELECT id FROM blocks WHERE investigation_id = ?)`, []any{id}},
			{`DELETE FROM pictures WHERE block_id IN (SELECT id FROM blocks WHERE investigation_id = ?)`, []any{id}},
			{`UPDATE blocks SET title = '', text = '', url = '', query = '', locator = '', sides = '', cited = '', assignee = '', deleted_at = ? WHERE investigation_id = ?`, []any{w.now, id}},
			{`DELETE FROM annotation_versions WHERE annotation_id IN (SELECT id FROM annotations WHERE investigation_id = ?)`, []any{id}},
			{`DELETE FROM annotation_reactions WHERE annotation_id IN (SELECT id FROM annotations WHERE investigation_id = ?)`, []any{id}},
			{`UPDATE annotations SET text = '', mentions = '[]', deleted_at = ? WHERE investigation_id = ?`, []any{w.now, id}},
			{`UPDATE changes SET data = json_object('id', object_id, 'erased', json('true')) WHERE investigation_id = ?1
				OR investigation_id IN (SELECT id FROM investigations WHERE merged_into = ?1)`, []any{id}},
			{`UPDATE investigations SET title = '', services = '{}', deleted_at = ?2 WHERE merged_into = ?1`, []any{id, w.now}},
			{`DELETE FROM inbox_items WHERE investigation_id = ?`, []any{id}},
		} {
			if _, err := w.tx.ExecContext(ctx, st.sql, st.args...); err != nil {
				return fmt.Errorf("delete investigation %s: %w", id, err)
			}
		}
		if err := w.takeBackNotices(ctx, id); err != nil {
			return err
		}
		return w.audit(ctx, "investigation.deleted", auditName(id, inv.Visibility), "")
	})
}

// StatusAt is a status and since when.
type StatusAt struct {
	Status     Status `json:"status"`
	AtUnixNano int64  `json:"at_unix_nano,string"`
	Actor      string `json:"actor"`
	ActorName  string `json:"actor_name"`
}

// statusHistory reads from the log which statuses an investigation had, the
// first first.
func statusHistory(ctx context.Context, q querier, id InvestigationID) ([]StatusAt, error) {
	rows, err := q.QueryContext(ctx, `SELECT COALESCE(json_extract(data, '$.fields.status'), json_extract(data, '$.status')), at, actor_id, actor_name FROM changes
		WHERE investigation_id = ? AND object_id = investigation_id AND type IN ('investigation.created', 'investigation.updated')
		AND COALESCE(json_extract(data, '$.fields.status'), json_extract(data, '$.status')) IS NOT NULL ORDER BY offset`, id)
	if err != nil {
		return nil, fmt.Errorf("status history of %s: %w", id, err)
	}
	defer rows.Close()
	list := []StatusAt{}
	for rows.Next() {
		var st StatusAt
		if err := rows.Scan(&st.Status, &st.AtUnixNano, &st.Actor, &st.ActorName); err != nil {
			return nil, fmt.Errorf("status history of %s: %w", id, err)
		}
		list = append(list, st)
	}
	return list, rows.Err()
}
