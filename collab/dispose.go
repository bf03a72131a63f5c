package collab

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// ForbiddenError says what somebody may not do, and who may. It is an
// [ErrForbidden].
type ForbiddenError struct{ Message string }

func (e *ForbiddenError) Error() string { return "collab: forbidden: " + e.Message }

// Is makes the error an [ErrForbidden].
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }

// mayDispose is the one rule who may take an investigation away from others, be it
// that they delete it, merge it into another or let fewer people see it: whoever
// opened it, its lead and administrators, as far as they may see it. A lead who
// took the lead themselves counts only where no person opened it, or else everybody
// could.
func mayDispose(ctx context.Context, q querier, inv *Investigation) (bool, error) {
	a, _ := ActorFrom(ctx)
	switch {
	case a.ID == "" || !a.Role.AtLeast(RoleMember):
		return false, nil
	case inv.CreatedBy == a.ID || a.Role.AtLeast(RoleAdmin):
		return true, nil
	case inv.Lead != a.ID:
		return false, nil
	}
	var opened, given bool
	err := q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE id = ?), EXISTS (SELECT 1 FROM changes WHERE investigation_id = ? AND offset = ? AND actor_id <> ?)`,
		inv.CreatedBy, inv.ID, inv.fieldOffsets["lead"], a.ID).Scan(&opened, &given)
	if err != nil {
		return false, fmt.Errorf("who made %s lead of %s: %w", a.ID, inv.ID, err)
	}
	return given || !opened, nil
}

// MayDispose reports whether the context's actor may delete an investigation that
// they see, merge it into another, and let fewer people see it.
func (s *Store) MayDispose(ctx context.Context, inv *Investigation) (bool, error) {
	return mayDispose(ctx, s.read, inv)
}

// dispose is the error of whoever may not take the investigation away from others.
func (w *work) dispose(ctx context.Context, inv *Investigation, what string) error {
	ok, err := mayDispose(ctx, w.tx, inv)
	if err == nil && !ok {
		err = &ForbiddenError{"Only who opened it, a lead whom others made lead, or an administrator may " + what + "."}
	}
	return err
}

// Narrower reports whether fewer people may see than with another visibility.
func (v Visibility) Narrower(than Visibility) bool {
	return slices.Index(Visibilities, v) > slices.Index(Visibilities, than)
}

// mergedReach says in a sentence who sees other things than before once one
// investigation is merged into another; "" if nobody does.
func mergedReach(ctx context.Context, q querier, from, into *Investigation) (string, error) {
	if into.Visibility.Narrower(from.Visibility) {
		return "Fewer people may see that one than this: the others lose it.", nil
	}
	if from.Visibility.Narrower(into.Visibility) {
		return "More people may see that one than this: all that stands here shows to them.", nil
	}
	if from.Visibility == VisibilityWorkspace {
		return "", nil
	}
	var differ bool
	err := q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users u WHERE u.deactivated_at IS NULL AND `+
		seenByReader("?", "u.id", "FALSE")+` <> `+seenByReader("?", "u.id", "FALSE")+`)`, from.ID, into.ID).Scan(&differ)
	if err != nil {
		return "", fmt.Errorf("who sees %s and %s: %w", from.ID, into.ID, err)
	}
	if differ {
		return "Not the same people may see the two: whoever sees one of them sees what stands on both.", nil
	}
	return "", nil
}

// auditName is what the audit log calls an investigation that has, or had, one of
// some visibilities: administrators read the log, and may not know of what only few
// may see.
func auditName(id InvestigationID, visible ...Visibility) string {
	if slices.Contains(visible, VisibilityWorkspace) {
		return string(id)
	}
	return "of few"
}

func (w *work) audit(ctx context.Context, action, subject, detail string) error {
	return writeAudit(ctx, w.tx, w.now, AuditEntry{ActorID: w.actor.ID, ActorName: w.actor.Name, Action: action, Subject: subject, Detail: detail})
}

var _ querier = (*sql.DB)(nil)
