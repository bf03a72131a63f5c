package collab

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

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
