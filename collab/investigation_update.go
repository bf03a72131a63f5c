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

// maxClockSkew is how far behind this server's clock that of a program may be.
const maxClockSkew = 2 * time.Minute

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
	if _, set := e.set["next_update_unix_nano"]; set && inv.NextUpdateUnixNano > 0 && inv.NextUpdateUnixNano < w.now-int64(maxClockSkew) {
		return &InvalidError{"next_update_unix_nano", "The next update is still to come: name a time that is not past."}
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
