package collab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// maxReminders is how many investigations one look reminds of.
const maxReminders = 100

// RemindDue tells the lead of each live investigation whose next update is due,
// or whoever opened it if nobody leads it, once for each time that was set: the
// item and the mark that it was sent are one transaction. It returns when the next
// one is due, 0 if none is.
func (s *Store) RemindDue(ctx context.Context) (next int64, err error) {
	const waits = `next_update > 0 AND next_update <> reminded_of AND deleted_at = 0 AND merged_into = '' AND status IN ('open', 'mitigated')`
	now := s.nowNano()
	rows, err := s.read.QueryContext(ctx, `SELECT id FROM investigations WHERE `+waits+` AND next_update <= ? ORDER BY next_update LIMIT ?`, now, maxReminders)
	if err != nil {
		return 0, fmt.Errorf("find due updates: %w", err)
	}
	due, err := scanStrings(rows)
	if err != nil {
		return 0, fmt.Errorf("find due updates: %w", err)
	}
	for _, id := range due {
		if err := s.remind(ctx, InvestigationID(id), waits); err != nil {
			return 0, err
		}
	}
	if len(due) == maxReminders {
		return now, nil
	}
	err = s.read.QueryRowContext(ctx, `SELECT COALESCE(MIN(next_update), 0) FROM investigations WHERE `+waits).Scan(&next)
	if err != nil {
		return 0, fmt.Errorf("find next due update: %w", err)
	}
	return next, nil
}

func (s *Store) remind(ctx context.Context, id InvestigationID, waits string) error {
	ctx = AsServer(ctx)
	w := &work{now: s.nowNano()}
	err := s.tx(ctx, func(tx *sql.Tx) error {
		w.tx = tx
		// Whoever comes second finds that it was done, or put off.
		var due int64
		err := tx.QueryRowContext(ctx, `UPDATE investigations SET reminded_of = next_update WHERE id = ? AND next_update <= ? AND `+waits+` RETURNING next_update`,
			id, w.now).Scan(&due)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		inv, err := investigationByID(ctx, tx, id)
		if err != nil {
			return err
		}
		to, name := inv.Lead, inv.LeadName
		if to == "" {
			to, name = inv.CreatedBy, inv.CreatedByName
		}
		n := w.notice(inv, ReasonDue)
		n.To = []string{name}
		it := InboxItem{Reason: ReasonDue, InvestigationID: id, Title: inv.Title, Path: n.Path}
		if err := w.inbox(ctx, to, it, string(id)); err != nil {
			return err
		}
		return w.enqueue(ctx, n, string(id)+" "+fmt.Sprint(due))
	})
	if err != nil {
		return fmt.Errorf("remind of %s: %w", id, err)
	}
	if w.queued && s.boards.queued != nil {
		s.boards.queued()
	}
	s.tellInboxes(w.boxes...)
	return nil
}
