package collab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
)

// MergeNew asks to merge an investigation into another. Sure says that the actor
// knows who sees other things then, if anybody does.
type MergeNew struct {
	Ref  string          `json:"ref"`
	Into InvestigationID `json:"into"`
	Sure bool            `json:"sure"`
}

// MergeInvestigation moves what stands on the board of one investigation, in its
// order, below that of another, with its annotations and its people, and leaves a
// tombstone that leads there. The actor has to see both, and may delete the one: for
// whoever does not see the other, it is gone. It is one transaction, and stands in
// both logs; doing it again answers as the first time.
func (s *Store) MergeInvestigation(ctx context.Context, id InvestigationID, n MergeNew) (*Investigation, error) {
	if err := checkRef(n.Ref); err != nil {
		return nil, err
	}
	if n.Into == "" || n.Into == id {
		return nil, &InvalidError{"into", "Name another investigation."}
	}
	var into *Investigation
	err := s.do(ctx, func(w *work) error {
		from, err := investigationByID(ctx, w.tx, id)
		var merged *MergedError
		if errors.As(err, &merged) && merged.Into == n.Into {
			into, err = investigationByID(ctx, w.tx, n.Into)
			return err
		}
		if err != nil {
			return err
		}
		if into, err = investigationByID(ctx, w.tx, n.Into); err != nil {
			if errors.Is(err, ErrNotFound) || errors.As(err, &merged) {
				return &InvalidError{"into", "There is no such investigation."}
			}
			return err
		}
		if err := w.dispose(ctx, from, "merge it into another"); err != nil {
			return err
		}
		reach, err := mergedReach(ctx, w.tx, from, into)
		if err != nil {
			return err
		}
		if reach != "" && !n.Sure {
			return &InvalidError{"sure", reach + " Say that you are sure."}
		}
		if err := w.mergeInto(ctx, from, into, n.Ref); err != nil {
			return err
		}
		err = w.audit(ctx, "investigation.merged", auditName(id, from.Visibility), "into "+auditName(n.Into, into.Visibility))
		if err != nil {
			return err
		}
		into, err = investigationByID(ctx, w.tx, n.Into)
		return err
	})
	if err != nil {
		return nil, err
	}
	return into, nil
}

func (w *work) mergeInto(ctx context.Context, from, into *Investigation, ref string) error {
	if from.Blocks+into.Blocks > maxBlocks {
		return &InvalidError{"into", "Together they have more than 1,000 blocks. Delete some first."}
	}
	both := map[string]any{"from": from.ID, "into": into.ID, "title": from.Title, "blocks": from.Blocks}
	with := func(id InvestigationID) map[string]any {
		m := maps.Clone(both)
		m["id"] = id
		return m
	}
	if _, err := w.log(ctx, from.ID, InvestigationMerged, string(from.ID), ref, with(from.ID)); err != nil {
		return err
	}
	if _, err := w.log(ctx, into.ID, InvestigationMerged, string(into.ID), ref, with(into.ID)); err != nil {
		return err
	}
	return firstError(
		func() error { return w.movePeople(ctx, from, into) },
		func() error { return w.moveBlocks(ctx, from.ID, into.ID) },
		func() error { return w.moveEntries(ctx, from.ID, into.ID) },
		func() error { return w.moveAnnotations(ctx, from.ID, into.ID) },
		func() error { return w.moveNews(ctx, from, into) },
	)
}

// movePeople asks those in who led, opened or were asked into the one merged, and
// its teams. Who has a role already, keeps it.
func (w *work) movePeople(ctx context.Context, from, into *Investigation) error {
	inv, err := investigationByID(ctx, w.tx, into.ID)
	if err != nil {
		return err
	}
	people, teams, services := map[string]*string{}, map[TeamID]bool{}, map[string]*bool{}
	add := func(user, role string) {
		if user == "" || !strings.HasPrefix(user, "u_") || user == inv.Lead || user == inv.CreatedBy || inv.asked(user) != nil || people[user] != nil {
			return
		}
		people[user] = &role
	}
	for _, p := range from.People {
		add(p.ID, p.Role)
	}
	add(from.Lead, "")
	add(from.CreatedBy, "")
	for user := range people { // of whom some may not be active any more
		var active bool
		err := w.tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE id = ? AND deactivated_at IS NULL)`, user).Scan(&active)
		if err != nil {
			return fmt.Errorf("find %s: %w", user, err)
		}
		if !active {
			delete(people, user)
		}
	}
	for _, t := range from.Teams {
		if !inv.hasTeam(t.ID) {
			teams[t.ID] = true
		}
	}
	for name, in := range from.byHand {
		if _, said := inv.byHand[name]; !said && in {
			services[name] = &in
		}
	}
	return w.updateInvestigation(ctx, inv, InvestigationUpdate{Seen: &inv.Offset, People: people, Teams: teams, Services: services})
}

// moveBlocks puts the blocks below those that are there, each as a change that
// adds it.
func (w *work) moveBlocks(ctx context.Context, from, into InvestigationID) error {
	blocks, err := findBlocks(ctx, w.tx, from)
	if err != nil {
		return err
	}
	var last string
	err = w.tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(position), '') FROM blocks WHERE investigation_id = ? AND deleted_at = 0`, into).Scan(&last)
	if err != nil {
		return fmt.Errorf("find last position: %w", err)
	}
	for i := range blocks {
		b := &blocks[i]
		last = positionBetween(last, "")
		p, err := logEnd(ctx, w.tx, into)
		if err != nil {
			return err
		}
		b.InvestigationID, b.Position, b.Offset = into, last, p.Offset+1
		b.fieldOffsets = newFieldOffsets(b.Offset)
		for other := range b.References {
			b.fieldOffsets[referenceField(other)] = b.Offset
		}
		_, err = w.tx.ExecContext(ctx, `UPDATE blocks SET investigation_id = ?, position = ?, field_offsets = ?, created_offset = ?, changed_offset = ? WHERE id = ?`,
			into, b.Position, b.fieldOffsets.text(), b.Offset, b.Offset, b.ID)
		if err != nil {
			return fmt.Errorf("move %s: %w", b.ID, err)
		}
		data := struct {
			*Block
			MergedFrom InvestigationID `json:"merged_from"`
		}{b, from}
		if _, err := w.log(ctx, into, ChangeType(b.Kind.noun()+".added"), string(b.ID), "", data); err != nil {
			return err
		}
	}
	return nil
}

// moveAnnotations gives the annotations of the one merged to the other, and brings
// all those that show on its board now into its log.
func (w *work) moveAnnotations(ctx context.Context, from, into InvestigationID) error {
	// That one's log ends here: only what it shows itself is left to take back.
	_, err := w.tx.ExecContext(ctx, `UPDATE investigations SET merged_into = ?1, next_update = 0 WHERE id = ?2 OR merged_into = ?2`, into, from)
	if err == nil {
		_, err = w.tx.ExecContext(ctx, `UPDATE annotations SET investigation_id = ? WHERE investigation_id = ?`, into, from)
	}
	if err != nil {
		return fmt.Errorf("move annotations of %s: %w", from, err)
	}
	notes, err := boardAnnotations(ctx, w.tx, into)
	if err != nil {
		return err
	}
	for i := range notes {
		a := &notes[i]
		if err := w.spreadAnnotation(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// moveNews makes what people were told lead to the one that is left.
func (w *work) moveNews(ctx context.Context, from, into *Investigation) error {
	err := w.touchInboxes(ctx, from.ID)
	if err != nil {
		return err
	}
	_, err = w.tx.ExecContext(ctx, `UPDATE inbox_items SET investigation_id = ?1, title = ?2, path = replace(path, '/i/' || ?3, '/i/' || ?1) WHERE investigation_id = ?3`,
		into.ID, into.Title, from.ID)
	if err == nil {
		_, err = w.tx.ExecContext(ctx, `UPDATE deliveries SET investigation_id = ?1, notice = json_set(notice, '$.path', '/i/' || ?1) WHERE investigation_id = ?2`,
			into.ID, from.ID)
	}
	if err != nil {
		return fmt.Errorf("move news of %s: %w", from.ID, err)
	}
	if into.Visibility != VisibilityWorkspace {
		return w.takeBackNotices(ctx, into.ID)
	}
	return nil
}

func logEnd(ctx context.Context, q querier, id InvestigationID) (Position, error) {
	p := Position{InvestigationID: id}
	err := q.QueryRowContext(ctx, `SELECT epoch, offset FROM investigations WHERE id = ?`, id).Scan(&p.Epoch, &p.Offset)
	if err != nil {
		return p, fmt.Errorf("log of %s: %w", id, translate(err))
	}
	return p, nil
}
