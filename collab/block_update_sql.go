package collab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// UpdateBlock changes fields of a block. A field that somebody changed since
// u.Seen to something else is a [ConflictError], and then nothing is changed; a
// text is merged with theirs where the edits leave each other alone.
func (s *Store) UpdateBlock(ctx context.Context, id InvestigationID, block BlockID, u BlockUpdate) (*Block, error) {
	if err := checkRef(u.Ref); err != nil {
		return nil, err
	}
	request, err := requestHash("block", block, u)
	if err != nil {
		return nil, err
	}
	var b *Block
	err = s.do(ctx, func(w *work) error {
		inv, err := investigationByID(ctx, w.tx, id)
		if err != nil {
			return err
		}
		before, err := findRef(ctx, w.tx, string(id), w.actor.ID, u.Ref, request)
		if err != nil {
			return err
		}
		if b, err = blockByID(ctx, w.tx, id, block); err != nil || before != nil {
			return err
		}
		if b.deleted {
			return fmt.Errorf("block %s was deleted: %w", block, ErrNotFound)
		}
		if err := w.updateBlock(ctx, inv, b, u); err != nil {
			return err
		}
		return w.keepRef(ctx, string(id), u.Ref, request, string(block), b.Offset)
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (w *work) updateBlock(ctx context.Context, inv *Investigation, b *Block, u BlockUpdate) error {
	seen, err := checkSeen(u.Seen, inv.Offset)
	if err != nil {
		return err
	}
	if err := u.check(b.Kind); err != nil {
		return err
	}
	oldText, oldAssignee := b.Text, b.Assignee
	set := map[string]any{}
	change := func(field string, target *string, to string) error {
		if *target == to {
			return nil
		}
		if b.fieldOffsets[field] > seen {
			return &ConflictError{Field: field, Yours: to, Theirs: *target, Offset: inv.Offset, log: inv.ID, set: b.fieldOffsets[field]}
		}
		*target, set[field] = to, to
		return nil
	}
	if u.Title != nil {
		title, err := cleanBlockTitle(b.Kind, *u.Title)
		if err == nil {
			err = change("title", &b.Title, title)
		}
		if err != nil {
			return err
		}
	}
	if u.URL != nil {
		to, err := cleanURL(*u.URL)
		if err == nil {
			err = change("url", &b.URL, to)
		}
		if err != nil {
			return err
		}
	}
	if u.Text != nil {
		if err := w.updateText(ctx, inv, b, seen, *u.Text, set); err != nil {
			return err
		}
	}
	if u.State != nil {
		if err := change("state", (*string)(&b.State), string(*u.State)); err != nil {
			return err
		}
	}
	if err := w.updateReferences(ctx, inv, b, seen, u.References, set); err != nil {
		return err
	}
	if u.Done != nil && *u.Done != b.Done {
		if b.fieldOffsets["done"] > seen { // whoever saw the other state meant to change it; both did the same
			return &ConflictError{Field: "done", Yours: *u.Done, Theirs: b.Done, Offset: inv.Offset, log: inv.ID, set: b.fieldOffsets["done"]}
		}
		b.Done, set["done"] = *u.Done, *u.Done
	}
	if u.Assignee != nil {
		id, name, err := findAssignee(ctx, w.tx, inv.ID, *u.Assignee)
		if err == nil {
			err = change("assignee", &b.Assignee, id)
		}
		if err != nil {
			return err
		}
		b.AssigneeName = name
	}
	if u.DueUnixNano != nil && *u.DueUnixNano != b.DueUnixNano {
		yours, theirs := nano(*u.DueUnixNano), nano(b.DueUnixNano)
		if b.fieldOffsets["due_unix_nano"] > seen {
			return &ConflictError{Field: "due_unix_nano", Yours: yours, Theirs: theirs, Offset: inv.Offset, log: inv.ID, set: b.fieldOffsets["due_unix_nano"]}
		}
		b.DueUnixNano, set["due_unix_nano"] = *u.DueUnixNano, yours
	}
	if u.After != nil {
		// The order is last writer wins: a block is where it was last put.
		to, err := w.positionAfter(ctx, b, *u.After)
		if err != nil {
			return err
		}
		if to != b.Position {
			b.Position, set["position"] = to, to
		}
	}
	if len(set) == 0 {
		return nil
	}
	_, renamed := set["title"]
	_, rewritten := set["text"]
	if by := w.otherThan(b.CreatedBy); (renamed || rewritten) && by.ID != b.EditedBy {
		b.EditedBy, b.EditedByName = by.ID, by.Name
		set["edited_by"], set["edited_by_name"] = by.ID, by.Name
	}
	offset := inv.Offset + 1
	for field := range set {
		if field == "references" {
			for block := range u.References {
				b.fieldOffsets[referenceField(block)] = offset
			}
			continue
		}
		b.fieldOffsets[field] = offset
	}
	b.Offset, b.UpdatedUnixNano = offset, w.now
	if err := w.saveBlock(ctx, b); err != nil {
		return err
	}
	data := map[string]any{"id": b.ID, "kind": b.Kind, "fields": set}
	if _, err := w.log(ctx, inv.ID, ChangeType(b.Kind.noun()+".updated"), string(b.ID), u.Ref, data); err != nil {
		return err
	}
	if err := w.notifyTask(ctx, inv, b, oldAssignee); err != nil {
		return err
	}
	if _, changed := set["done"]; changed {
		if err := w.notifyReview(ctx, inv, b); err != nil {
			return err
		}
	}
	if err := w.retellBlock(ctx, b, renamed, rewritten); err != nil {
		return err
	}
	return w.notifyMentions(ctx, mentionSource{inv: inv, object: string(b.ID), path: blockPath(inv.ID, b.ID), text: b.Text, before: oldText})
}

// otherThan is the actor, unless that is who wrote something: then it is nobody.
func (w *work) otherThan(author string) Person {
	if w.actor.ID == author {
		return Person{}
	}
	return Person{w.actor.ID, w.actor.Name}
}

// updateText puts a text in place of the one seen, merging with what others
// made of it since.
func (w *work) updateText(ctx context.Context, inv *Investigation, b *Block, seen int64, to string, set map[string]any) error {
	if b.Kind != KindNote && strings.TrimSpace(to) == "" {
		to = ""
	} else {
		var err error
		if to, err = cleanText("text", to, maxTextRunes); err != nil {
			return err
		}
	}
	merged := to
	if b.fieldOffsets["text"] > seen && to != b.Text {
		base, known, err := textAt(ctx, w.tx, inv.ID, string(b.ID), seen)
		if err != nil {
			return err
		}
		if merged, err = mergeEdits(base, known, to, b.Text, maxTextRunes, ConflictError{Offset: inv.Offset, log: inv.ID, set: b.fieldOffsets["text"]}); err != nil {
			return err
		}
	}
	if merged != b.Text {
		b.Text, set["text"] = merged, merged
	}
	return nil
}

// textAt returns the text of an object as of an offset; false if it did not
// exist then.
func textAt(ctx context.Context, q querier, id InvestigationID, object string, offset int64) (string, bool, error) {
	var text string
	err := q.QueryRowContext(ctx, `SELECT COALESCE(json_extract(data, '$.fields.text'), json_extract(data, '$.text'))
		FROM changes WHERE investigation_id = ? AND object_id = ? AND offset <= ?
		AND (json_type(data, '$.fields.text') IS NOT NULL OR json_type(data, '$.text') IS NOT NULL)
		ORDER BY offset DESC LIMIT 1`, id, object, offset).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("text of %s at %d: %w", object, offset, err)
	}
	return text, true, nil
}

// positionAfter returns a position behind a block, or before all for "".
func (w *work) positionAfter(ctx context.Context, b *Block, after BlockID) (string, error) {
	if after == b.ID {
		return b.Position, nil
	}
	low := ""
	if after != "" {
		err := w.tx.QueryRowContext(ctx, `SELECT position FROM blocks WHERE id = ? AND investigation_id = ? AND deleted_at = 0`,
			after, b.InvestigationID).Scan(&low)
		if errors.Is(err, sql.ErrNoRows) {
			return "", &InvalidError{"after", "There is no such block on this board."}
		}
		if err != nil {
			return "", fmt.Errorf("position of %s: %w", after, err)
		}
	}
	var high string
	err := w.tx.QueryRowContext(ctx, `SELECT COALESCE(MIN(position), '') FROM blocks
		WHERE investigation_id = ? AND deleted_at = 0 AND position > ? AND id <> ?`, b.InvestigationID, low, b.ID).Scan(&high)
	if err != nil {
		return "", fmt.Errorf("position after %s: %w", after, err)
	}
	if b.Position > low && (high == "" || b.Position < high) {
		return b.Position, nil // it is there already
	}
	return positionBetween(low, high), nil
}
