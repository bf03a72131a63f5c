package collab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func checkKind(k InvestigationKind) error {
	if !slices.Contains(InvestigationKinds, k) {
		return &InvalidError{"kind", "Kind is real or drill."}
	}
	return nil
}

func checkVisibility(v Visibility) error {
	if !slices.Contains(Visibilities, v) {
		return &InvalidError{"visibility", "Visibility is workspace, team or private."}
	}
	return nil
}

func (u *InvestigationUpdate) clean() error {
	if err := checkRef(u.Ref); err != nil {
		return err
	}
	if u.Title != nil {
		t, err := cleanTitle("title", *u.Title)
		if err != nil {
			return err
		}
		u.Title = &t
	}
	if u.Status != nil {
		if err := checkStatus(*u.Status); err != nil {
			return err
		}
	}
	if u.Severity != nil {
		if err := checkSeverity(*u.Severity); err != nil {
			return err
		}
	}
	if u.Kind != nil {
		if err := checkKind(*u.Kind); err != nil {
			return err
		}
	}
	if u.Visibility != nil {
		if err := checkVisibility(*u.Visibility); err != nil {
			return err
		}
	}
	for field, t := range map[string]*int64{"next_update_unix_nano": u.NextUpdateUnixNano, "impact_start_unix_nano": u.ImpactStartUnixNano, "impact_end_unix_nano": u.ImpactEndUnixNano} {
		if t == nil {
			continue
		}
		if err := checkTime(field, *t); err != nil {
			return err
		}
	}
	for who, role := range u.People {
		if role == nil {
			continue
		}
		text := strings.Join(strings.Fields(strings.ToValidUTF8(*role, "\uFFFD")), " ")
		if utf8.RuneCountInString(text) > maxRoleRunes {
			return &InvalidError{"people", "A role has at most 60 characters."}
		}
		u.People[who] = &text
	}
	for name, in := range u.Services {
		if clean, err := cleanServices("services", []string{name}); err != nil || len(clean) != 1 || clean[0] != name {
			return errors.Join(err, &InvalidError{"services", "Name the service as its spans do."})
		}
		if in != nil && *in && strings.Contains(name, "*") {
			return &InvalidError{"services", "Name one service; a pattern is for what a team owns."}
		}
	}
	return nil
}

// The years in which what people say of an investigation can be: what is further off
// is a slip, such as seconds for nanoseconds.
var (
	firstTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	lastTime  = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
)

// checkTime refuses a time that nobody means; 0 is none.
func checkTime(field string, at int64) error {
	if at != 0 && (at < firstTime || at >= lastTime) {
		return &InvalidError{field, "Give a time between the years 2000 and 2100, or none."}
	}
	return nil
}

// edit gathers what one update changes.
type edit struct {
	inv  *Investigation
	seen int64
	set  map[string]any // field → its value now
	was  map[string]any
}

// conflict is the error if somebody set a field to something else since it was
// seen.
func (e *edit) conflict(field string, yours, theirs any) error {
	if e.inv.fieldOffsets[field] > e.seen {
		return &ConflictError{Field: field, Yours: yours, Theirs: theirs, Offset: e.inv.Offset, log: e.inv.ID, set: e.inv.fieldOffsets[field]}
	}
	e.inv.fieldOffsets[field] = e.inv.Offset + 1
	return nil
}

// editField sets a field, if that changes it.
func editField[T comparable](e *edit, field string, target *T, to *T, shown func(T) any) error {
	if to == nil || *target == *to {
		return nil
	}
	if err := e.conflict(field, shown(*to), shown(*target)); err != nil {
		return err
	}
	e.was[field], e.set[field] = shown(*target), shown(*to)
	*target = *to
	return nil
}

func plain[T ~string](v T) any { return string(v) }

func nano(v int64) any { return strconv.FormatInt(v, 10) }

// entry notes a changed entry of a field that has several.
func (e *edit) entry(field, key string, yours, theirs any) error {
	if err := e.conflict(field+"."+key, yours, theirs); err != nil {
		return err
	}
	for _, side := range []struct {
		into map[string]any
		v    any
	}{{e.set, yours}, {e.was, theirs}} {
		m, ok := side.into[field].(map[string]any)
		if !ok {
			m = map[string]any{}
			side.into[field] = m
		}
		m[key] = side.v
	}
	return nil
}

// updateInvestigation applies u to inv, logs it as one change and tells whom it
// concerns.
func (w *work) updateInvestigation(ctx context.Context, inv *Investigation, u InvestigationUpdate) error {
	seen, err := checkSeen(u.Seen, inv.Offset)
	if err != nil {
		return err
	}
	if u.Visibility != nil && u.Visibility.Narrower(inv.Visibility) {
		if err := w.dispose(ctx, inv, "let fewer people see it"); err != nil {
			return err
		}
	}
	if err := w.mayTakeOut(ctx, inv, u); err != nil {
		return err
	}
	old := *inv
	e := &edit{inv: inv, seen: seen, set: map[string]any{}, was: map[string]any{}}
	if u.Lead != nil {
		lead, err := findLead(ctx, w.tx, *u.Lead)
		if err != nil {
			return err
		}
		u.Lead = &lead
	}
	err = firstError(
		func() error { return editField(e, "title", &inv.Title, u.Title, plain) },
		func() error { return editField(e, "status", &inv.Status, u.Status, plain) },
		func() error { return editField(e, "severity", &inv.Severity, u.Severity, plain) },
		func() error { return editField(e, "lead", &inv.Lead, u.Lead, plain) },
		func() error { return editField(e, "kind", &inv.Kind, u.Kind, plain) },
		func() error { return editField(e, "visibility", &inv.Visibility, u.Visibility, plain) },
		func() error {
			return editField(e, "next_update_unix_nano", &inv.NextUpdateUnixNano, u.NextUpdateUnixNano, nano)
		},
		func() error {
			return editField(e, "impact_start_unix_nano", &inv.ImpactStartUnixNano, u.ImpactStartUnixNano, nano)
		},
		func() error {
			return editField(e, "impact_end_unix_nano", &inv.ImpactEndUnixNano, u.ImpactEndUnixNano, nano)
		},
		func() error { return w.editTeams(ctx, e, u.Teams) },
		func() error { return w.editPeople(ctx, e, u.People) },
		func() error { return e.editServices(u.Services) },
	)
	if err != nil || len(e.set) == 0 {
		return err
	}
	if inv.ImpactStartUnixNano == 0 && inv.ImpactEndUnixNano > 0 {
		return &InvalidError{"impact_end_unix_nano", "Say when the impact began, too: what is over has begun."}
	}
	if inv.ImpactStartUnixNano > 0 && inv.ImpactEndUnixNano > 0 && inv.ImpactEndUnixNano < inv.ImpactStartUnixNano {
		return &InvalidError{"impact_end_unix_nano", "The impact cannot be over before it began."}
	}
	if inv.Visibility == VisibilityTeam && inv.Visibility != old.Visibility {
		if err := w.checkHasTeam(ctx, inv.ID); err != nil {
			return err
		}
	}
	if inv.Lead != old.Lead {
		if inv.LeadSinceUnixNano = w.now; inv.Lead == "" {
			inv.LeadSinceUnixNano = 0
		}
	}
	if err := w.saveInvestigation(ctx, inv); err != nil {
		return err
	}
	if err := w.stay(ctx, e, &old, u); err != nil {
		return err
	}
	data := map[string]any{"id": inv.ID, "fields": e.set, "was": e.was}
	if inv.Offset, err = w.log(ctx, inv.ID, InvestigationUpdated, string(inv.ID), u.Ref, data); err != nil {
		return err
	}
	if e.set["visibility"] != nil || e.set["people"] != nil || e.set["teams"] != nil {
		w.wrote = append(w.wrote, Anchor{}) // what was written in it may show to others now
	}
	if inv.Visibility != old.Visibility {
		subject := auditName(inv.ID, old.Visibility, inv.Visibility)
		if err := w.audit(ctx, "investigation.visibility", subject, "from "+string(old.Visibility)+" to "+string(inv.Visibility)); err != nil {
			return err
		}
		if err := w.changeReach(ctx, inv.ID); err != nil {
			return err
		}
	}
	return w.notifyUpdated(ctx, inv, &old, e)
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) saveInvestigation(ctx context.Context, inv *Investigation) error {
	services, err := marshal(inv.byHand)
	if err != nil {
		return fmt.Errorf("encode services of %s: %w", inv.ID, err)
	}
	_, err = w.tx.ExecContext(ctx, `UPDATE investigations SET title = ?, status = ?, severity = ?, lead = ?, lead_since = ?, kind = ?, visibility = ?,
		next_update = ?, impact_start = ?, impact_end = ?, services = ?, field_offsets = ? WHERE id = ?`,
		inv.Title, inv.Status, inv.Severity, inv.Lead, inv.LeadSinceUnixNano, inv.Kind, inv.Visibility,
		inv.NextUpdateUnixNano, inv.ImpactStartUnixNano, inv.ImpactEndUnixNano, string(services), inv.fieldOffsets.text(), inv.ID)
	if err != nil {
		return fmt.Errorf("update investigation %s: %w", inv.ID, err)
	}
	return nil
}

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
	_, left := u.People[w.actor.ID]
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

// editServices puts services in or takes them out by hand, or leaves them to the
// evidence again.
func (e *edit) editServices(services map[string]*bool) error {
	shown := func(in, said bool) any {
		if !said {
			return nil
		}
		return in
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		to := services[name]
		in, said := e.inv.byHand[name]
		if (to != nil) == said && (to == nil || *to == in) {
			continue
		}
		yours := shown(to != nil && *to, to != nil)
		if err := e.entry("services", name, yours, shown(in, said)); err != nil {
			return err
		}
		if to == nil {
			delete(e.inv.byHand, name)
		} else {
			e.inv.byHand[name] = *to
		}
	}
	if len(e.inv.byHand) > maxHandServices {
		return &InvalidError{"services", "At most 200 services are put in or taken out by hand."}
	}
	return nil
}

// changeReach follows a changed visibility. What is told elsewhere of what only
// some may see is taken back: the annotations that other boards show of spans
// pinned there too, and the notices of targets. What everybody may see again,
// shows there again.
func (w *work) changeReach(ctx context.Context, id InvestigationID) error {
	var v Visibility
	if err := w.tx.QueryRowContext(ctx, `SELECT visibility FROM investigations WHERE id = ?`, id).Scan(&v); err != nil {
		return fmt.Errorf("visibility of %s: %w", id, err)
	}
	notes, err := queryAnnotations(ctx, w.tx, `a.investigation_id = ? AND a.trace_id <> '' AND a.deleted_at = 0`, []any{id}, 10_000)
	if err != nil {
		return err
	}
	for i := range notes {
		if err := w.spreadAnnotation(ctx, &notes[i]); err != nil {
			return err
		}
	}
	if v == VisibilityWorkspace {
		return nil
	}
	return w.takeBackNotices(ctx, id)
}

// takeBackNotices forgets what targets were told, and are to be told yet.
func (w *work) takeBackNotices(ctx context.Context, id InvestigationID) error {
	// What is being sent this very moment is on its way: that it was stays in the log,
	// and nothing of what it said.
	_, err := w.tx.ExecContext(ctx, `UPDATE deliveries SET state = 'failed', done_at = ?1, investigation_id = '', object_id = '', cause = id,
		notice = json_object('reason', reason, 'title', 'taken back while it was sent', 'to', json('[]'), 'at_unix_nano', CAST(created_at AS TEXT))
		WHERE investigation_id = ?2 AND state = 'pending' AND leased_until > ?1`, w.now, id)
	if err != nil {
		return fmt.Errorf("take back notices of %s: %w", id, err)
	}
	for _, stmt := range []string{
		`DELETE FROM delivery_attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE investigation_id = ?)`,
		`DELETE FROM deliveries WHERE investigation_id = ?`,
	} {
		if _, err := w.tx.ExecContext(ctx, stmt, id); err != nil {
			return fmt.Errorf("take back notices of %s: %w", id, err)
		}
	}
	return nil
}

// spreadAnnotation adds an annotation to the logs that show it now, and takes it
// out of those that do not any more.
func (w *work) spreadAnnotation(ctx context.Context, a *Annotation) error {
	homes, err := w.annotationHomes(ctx, a)
	if err != nil {
		return err
	}
	had, err := w.annotationLogs(ctx, a.ID)
	if err != nil {
		return err
	}
	offsets := maps.Clone(a.fieldOffsets)
	for _, id := range homes {
		if had[id] {
			continue
		}
		if offsets[string(id)], err = w.log(ctx, id, AnnotationAdded, string(a.ID), "", a); err != nil {
			return err
		}
	}
	for id, there := range had {
		if !there || slices.Contains(homes, id) {
			continue
		}
		data := map[string]any{"id": a.ID, "anchor": Anchor{}}
		if _, err := w.log(ctx, id, AnnotationDeleted, string(a.ID), "", data); err != nil {
			return err
		}
		if err := w.erase(ctx, id, string(a.ID)); err != nil {
			return err
		}
		delete(offsets, string(id))
	}
	if maps.Equal(offsets, a.fieldOffsets) {
		return nil
	}
	return w.saveAnnotationOffsets(ctx, a, offsets)
}

// annotationLogs says in which logs an annotation is: true, or false if it was
// deleted there since. Those of investigations that were merged into others have
// ended.
func (w *work) annotationLogs(ctx context.Context, id AnnotationID) (map[InvestigationID]bool, error) {
	rows, err := w.tx.QueryContext(ctx, `SELECT c.investigation_id, c.type <> 'annotation.deleted' FROM changes c
		JOIN investigations i ON i.id = c.investigation_id AND i.merged_into = '' WHERE c.object_id = ?
		AND c.offset = (SELECT MAX(l.offset) FROM changes l WHERE l.object_id = c.object_id AND l.investigation_id = c.investigation_id)`, id)
	if err != nil {
		return nil, fmt.Errorf("find logs of %s: %w", id, err)
	}
	defer rows.Close()
	logs := map[InvestigationID]bool{}
	for rows.Next() {
		var inv InvestigationID
		var there bool
		if err := rows.Scan(&inv, &there); err != nil {
			return nil, fmt.Errorf("find logs of %s: %w", id, err)
		}
		logs[inv] = there
	}
	return logs, rows.Err()
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
