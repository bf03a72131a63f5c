package collab

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

const annotationColumns = `a.id, a.investigation_id, a.block_id, a.trace_id, a.span_id, a.moment, a.moment_end, a.text, a.mentions, a.field_offsets,
	a.created_by, a.created_by_name, a.created_at, a.updated_at, a.deleted_at <> 0,
	a.parent_id, a.resolved_at, a.resolved_by, a.resolved_by_name,
	(SELECT COUNT(*) FROM annotation_versions v WHERE v.annotation_id = a.id),
	COALESCE((SELECT json_object('id', v.actor_id, 'name', v.actor_name) FROM annotation_versions v WHERE v.annotation_id = a.id ORDER BY v.version DESC LIMIT 1), '{}'),
	(SELECT json_group_array(json_object('reaction', r.reaction, 'id', r.actor_id, 'name', r.actor_name, 'at', r.at))
		FROM annotation_reactions r WHERE r.annotation_id = a.id)`

func scanAnnotation(row interface{ Scan(...any) error }) (*Annotation, error) {
	var a Annotation
	var mentions, fields, reactions, editor string
	err := row.Scan(&a.ID, &a.Anchor.InvestigationID, &a.Anchor.PinID, &a.Anchor.TraceID, &a.Anchor.SpanID, &a.Anchor.AtUnixNano, &a.Anchor.UntilUnixNano,
		&a.Text, &mentions, &fields, &a.CreatedBy, &a.CreatedByName, &a.CreatedUnixNano, &a.UpdatedUnixNano, &a.deleted,
		&a.ParentID, &a.ResolvedUnixNano, &a.ResolvedBy, &a.ResolvedByName, &a.Versions, &editor, &reactions)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(mentions), &a.Mentions); err != nil {
		return nil, fmt.Errorf("mentions of %s: %w", a.ID, err)
	}
	var by Person
	if err := json.Unmarshal([]byte(editor), &by); err != nil {
		return nil, fmt.Errorf("editor of %s: %w", a.ID, err)
	}
	if by.ID != a.CreatedBy {
		a.EditedBy, a.EditedByName = by.ID, by.Name
	}
	if a.Reactions, err = readReactions(reactions); err != nil {
		return nil, fmt.Errorf("reactions of %s: %w", a.ID, err)
	}
	a.fieldOffsets, err = readFieldOffsets(fields)
	a.Offset = a.fieldOffsets[string(a.Anchor.InvestigationID)]
	return &a, err
}

func queryAnnotations(ctx context.Context, q querier, where string, args []any, limit int) ([]Annotation, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+annotationColumns+` FROM annotations a WHERE `+where+` ORDER BY a.id LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("find annotations: %w", err)
	}
	defer rows.Close()
	list := []Annotation{}
	for rows.Next() {
		a, err := scanAnnotation(rows)
		if err != nil {
			return nil, fmt.Errorf("find annotations: %w", err)
		}
		list = append(list, *a)
	}
	return list, rows.Err()
}

// boardAnnotations returns what shows on a board: the annotations made there,
// and those that everybody may see on the spans and traces that are pinned there.
// It is the same for all who may see the board, as its log is.
func boardAnnotations(ctx context.Context, q querier, id InvestigationID) ([]Annotation, error) {
	return queryAnnotations(ctx, q, `a.deleted_at = 0 AND (a.investigation_id = ? OR a.trace_id <> '' AND `+spreads+` AND EXISTS (
		SELECT 1 FROM blocks b WHERE b.investigation_id = ? AND b.deleted_at = 0 AND `+showsOn+`))`, []any{id, id}, 5_000)
}

// spreads says that annotation a shows on other boards than its own, where its
// span is pinned too: not if only some may see the investigation it was made in.
const spreads = `(a.investigation_id = '' OR EXISTS (SELECT 1 FROM investigations h WHERE h.id = a.investigation_id AND h.visibility = 'workspace'))`

// showsOn says that annotation a shows on block b: both are about one span, or
// b is about the whole trace.
const showsOn = `b.trace_id = a.trace_id AND (b.kind IN ('trace', 'thread') OR b.kind = 'span' AND b.span_id = a.span_id)`

// FindAnnotations returns annotations that the actor may see, the oldest first.
func (s *Store) FindAnnotations(ctx context.Context, f AnnotationFilter) ([]Annotation, error) {
	if f.Limit <= 0 || f.Limit > 5_000 {
		f.Limit = 500
	}
	where, args := "a.deleted_at = 0", []any{}
	if f.TraceID.IsZero() {
		if f.InvestigationID == "" {
			return nil, &InvalidError{"trace_id", "Name a trace or an investigation."}
		}
		if err := s.MaySee(ctx, f.InvestigationID); err != nil {
			return nil, err
		}
		list, err := boardAnnotations(ctx, s.read, f.InvestigationID)
		if f.PinID != "" {
			list = slices.DeleteFunc(list, func(a Annotation) bool { return a.Anchor.PinID != f.PinID })
		}
		return list, err
	}
	where, args = where+" AND a.trace_id = ? AND "+seenAnnotation, append(append(args, f.TraceID.String()), readerOf(ctx).args()...)
	if !f.SpanID.IsZero() {
		where, args = where+" AND a.span_id = ?", append(args, f.SpanID.String())
	}
	if f.InvestigationID != "" {
		where, args = where+" AND a.investigation_id = ?", append(args, f.InvestigationID)
	}
	return queryAnnotations(ctx, s.read, where, args, f.Limit)
}

// seenAnnotation says that the reader whose args it takes may see annotation a.
var seenAnnotation = `(a.investigation_id = '' OR ` + seenBy("a.investigation_id") + `)`

// AnnotationByID returns one annotation, or [ErrNotFound], also if the actor may
// not see where it was made.
func (s *Store) AnnotationByID(ctx context.Context, id AnnotationID) (*Annotation, error) {
	a, err := annotationByID(ctx, s.read, id)
	if err == nil && a.deleted {
		return nil, fmt.Errorf("annotation %s was deleted: %w", id, ErrNotFound)
	}
	return a, err
}

func annotationByID(ctx context.Context, q querier, id AnnotationID) (*Annotation, error) {
	a, err := scanAnnotation(q.QueryRowContext(ctx, `SELECT `+annotationColumns+` FROM annotations a WHERE a.id = ? AND `+seenAnnotation,
		append([]any{id}, readerOf(ctx).args()...)...))
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", id, translate(err))
	}
	return a, nil
}

// CreateAnnotation makes an annotation. It lands in the log of every
// investigation where its anchor shows. The same ref again returns it, with
// created false.
func (s *Store) CreateAnnotation(ctx context.Context, n AnnotationNew) (a *Annotation, created bool, err error) {
	if err := n.clean(); err != nil {
		return nil, false, err
	}
	request, err := requestHash("annotation", n)
	if err != nil {
		return nil, false, err
	}
	scope := "annotations"
	err = s.do(ctx, func(w *work) error {
		before, err := findRef(ctx, w.tx, scope, w.actor.ID, n.Ref, request)
		if err != nil {
			return err
		}
		if before != nil {
			if a, err = annotationByID(ctx, w.tx, AnnotationID(before.object)); err == nil && a.deleted {
				err = ErrErased
			}
			return err
		}
		created = true
		if a, err = w.insertAnnotation(ctx, n); err != nil {
			return err
		}
		return w.keepRef(ctx, scope, n.Ref, request, string(a.ID), 0)
	})
	if err != nil {
		return nil, false, err
	}
	return a, created, nil
}

// resolveAnchor completes an anchor: a pin names its investigation and what it
// pins.
func (w *work) resolveAnchor(ctx context.Context, a *Anchor) error {
	if a.PinID != "" {
		b, err := scanBlock(w.tx.QueryRowContext(ctx, `SELECT `+blockColumns+blockFrom+`WHERE b.id = ? AND `+seenBy("b.investigation_id"),
			append([]any{a.PinID}, readerOf(ctx).args()...)...))
		if err != nil {
			return fmt.Errorf("pin %s: %w", a.PinID, translate(err))
		}
		if b.deleted || (a.InvestigationID != "" && a.InvestigationID != b.InvestigationID) {
			return fmt.Errorf("pin %s: %w", a.PinID, ErrNotFound)
		}
		a.InvestigationID = b.InvestigationID
		if a.TraceID == "" {
			a.TraceID, a.SpanID = b.TraceID, b.SpanID
		}
	}
	if a.InvestigationID != "" {
		_, err := investigationByID(ctx, w.tx, a.InvestigationID)
		return err
	}
	return nil
}

func (w *work) insertAnnotation(ctx context.Context, n AnnotationNew) (*Annotation, error) {
	if n.ParentID != "" {
		parent, err := annotationByID(ctx, w.tx, n.ParentID)
		if err != nil {
			return nil, err
		}
		if parent.deleted {
			return nil, fmt.Errorf("annotation %s was deleted: %w", n.ParentID, ErrNotFound)
		}
		if parent.ParentID != "" { // one level: a reply to a reply stands beside it
			n.ParentID = parent.ParentID
		}
		if !n.Anchor.within(parent.Anchor) {
			return nil, &InvalidError{"anchor", "A reply hangs where its parent hangs: leave the anchor out."}
		}
		n.Anchor = parent.Anchor
	} else if err := w.resolveAnchor(ctx, &n.Anchor); err != nil {
		return nil, err
	}
	people, err := mentionables(ctx, w.tx)
	if err != nil {
		return nil, err
	}
	a := &Annotation{ID: AnnotationID(newID("a_")), Anchor: n.Anchor, Text: n.Text, Mentions: mentioned(n.Text, people),
		CreatedBy: w.actor.ID, CreatedByName: w.actor.Name, CreatedUnixNano: w.now, UpdatedUnixNano: w.now,
		ParentID: n.ParentID, Reactions: []ReactionCount{}, Versions: 1}
	if a.Mentions == nil {
		a.Mentions = []string{}
	}
	mentions, err := marshal(a.Mentions)
	if err != nil {
		return nil, fmt.Errorf("encode mentions: %w", err)
	}
	_, err = w.tx.ExecContext(ctx, `INSERT INTO annotations (id, investigation_id, block_id, trace_id, span_id, moment, moment_end, text, mentions, field_offsets,
		created_by, created_by_name, created_at, updated_at, parent_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '{}', ?, ?, ?, ?, ?)`,
		a.ID, a.Anchor.InvestigationID, a.Anchor.PinID, a.Anchor.TraceID, a.Anchor.SpanID, a.Anchor.AtUnixNano, a.Anchor.UntilUnixNano, a.Text, string(mentions),
		a.CreatedBy, a.CreatedByName, w.now, w.now, a.ParentID)
	if err != nil {
		return nil, fmt.Errorf("insert annotation: %w", err)
	}
	if err := w.keepVersion(ctx, a); err != nil {
		return nil, err
	}
	offsets, err := w.logAnnotation(ctx, AnnotationAdded, a, n.Ref, a)
	if err != nil {
		return nil, err
	}
	if err := w.saveAnnotationOffsets(ctx, a, offsets); err != nil {
		return nil, err
	}
	return a, w.notifyAnnotation(ctx, a, "")
}

// logAnnotation appends the change to each log that shows the annotation, and
// returns the new offset of each.
func (w *work) logAnnotation(ctx context.Context, typ ChangeType, a *Annotation, ref string, data any) (fieldOffsets, error) {
	homes, err := w.annotationHomes(ctx, a)
	if err != nil {
		return nil, err
	}
	w.wrote = append(w.wrote, a.Anchor)
	offsets := fieldOffsets{}
	for _, id := range homes {
		if offsets[string(id)], err = w.log(ctx, id, typ, string(a.ID), ref, data); err != nil {
			return nil, err
		}
	}
	return offsets, nil
}

// maxHomes bounds the logs that one annotation lands in, the newest first: a
// span is not evidence in more live investigations than that.
const maxHomes = 50

// annotationHomes finds the logs that an annotation lands in: that of its own
// investigation, and of every other board that shows it to all who may see it.
func (w *work) annotationHomes(ctx context.Context, a *Annotation) ([]InvestigationID, error) {
	rows, err := w.tx.QueryContext(ctx, `SELECT ?1 WHERE ?1 <> '' UNION
		SELECT id FROM (SELECT DISTINCT i.id FROM annotations a JOIN blocks b ON `+showsOn+`
			JOIN investigations i ON i.id = b.investigation_id
			WHERE a.id = ?2 AND a.trace_id <> '' AND `+spreads+` AND b.deleted_at = 0 AND i.deleted_at = 0 ORDER BY i.id DESC LIMIT ?3)`,
		a.Anchor.InvestigationID, a.ID, maxHomes)
	if err != nil {
		return nil, fmt.Errorf("find homes of %s: %w", a.ID, err)
	}
	defer rows.Close()
	var homes []InvestigationID
	for rows.Next() {
		var id InvestigationID
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("find homes of %s: %w", a.ID, err)
		}
		homes = append(homes, id)
	}
	return homes, rows.Err()
}

// saveAnnotationOffsets keeps, per investigation, the offset of the change that
// set the text last: "seen" means the log of the annotation's own investigation.
// One that hangs on a trace alone has no log, and counts its texts.
func (w *work) saveAnnotationOffsets(ctx context.Context, a *Annotation, offsets fieldOffsets) error {
	if a.Anchor.InvestigationID == "" {
		offsets[""] = int64(a.Versions)
	}
	a.fieldOffsets, a.Offset = offsets, offsets[string(a.Anchor.InvestigationID)]
	_, err := w.tx.ExecContext(ctx, `UPDATE annotations SET field_offsets = ? WHERE id = ?`, offsets.text(), a.ID)
	if err != nil {
		return fmt.Errorf("update annotation %s: %w", a.ID, err)
	}
	return nil
}

// UpdateAnnotation changes an annotation's text, or resolves or reopens it. u.Seen
// is an offset of the log of its investigation, or, if it hangs on a trace alone,
// that of the annotation, and may be left out there. A text that others changed
// since is merged with theirs, or a [ConflictError]. What else happened to the
// annotation, a reply or a mark, is no matter.
func (s *Store) UpdateAnnotation(ctx context.Context, id AnnotationID, u AnnotationUpdate) (*Annotation, error) {
	if err := checkRef(u.Ref); err != nil {
		return nil, err
	}
	if u.Text == nil && u.Resolved == nil {
		return nil, &InvalidError{"text", "Write something first."}
	}
	text := ""
	if u.Text != nil {
		var err error
		if text, err = cleanText("text", *u.Text, maxAnnotationRunes); err != nil {
			return nil, err
		}
	}
	request, err := requestHash("annotation", id, u)
	if err != nil {
		return nil, err
	}
	var a *Annotation
	err = s.do(ctx, func(w *work) error {
		if a, err = annotationByID(ctx, w.tx, id); err != nil {
			return err
		}
		if a.deleted {
			return fmt.Errorf("annotation %s was deleted: %w", id, ErrNotFound)
		}
		before, err := findRef(ctx, w.tx, "annotations", w.actor.ID, u.Ref, request)
		if err != nil || before != nil {
			return err
		}
		if u.Text != nil {
			if err := w.editAnnotation(ctx, a, text, u); err != nil {
				return err
			}
		}
		if u.Resolved != nil {
			if err := w.resolveAnnotation(ctx, a, *u.Resolved, u.Ref); err != nil {
				return err
			}
		}
		return w.keepRef(ctx, "annotations", u.Ref, request, string(id), a.Offset)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// annotationText returns the text that an annotation had where somebody saw it;
// false if it was not there.
func (w *work) annotationText(ctx context.Context, a *Annotation, seen int64) (string, bool, error) {
	if a.Anchor.InvestigationID != "" {
		return textAt(ctx, w.tx, a.Anchor.InvestigationID, string(a.ID), seen)
	}
	var text string
	err := w.tx.QueryRowContext(ctx, `SELECT text FROM annotation_versions WHERE annotation_id = ? AND version = ?`, a.ID, seen).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("text %d of %s: %w", seen, a.ID, err)
	}
	return text, true, nil
}

// editAnnotation puts a text in place of the one seen, merging with what others
// made of it since.
func (w *work) editAnnotation(ctx context.Context, a *Annotation, text string, u AnnotationUpdate) error {
	if err := w.mayEdit(a); err != nil {
		return err
	}
	now, seen := a.Offset, a.Offset
	if home := a.Anchor.InvestigationID; home != "" {
		p, err := logEnd(ctx, w.tx, home)
		if err != nil {
			return err
		}
		now = p.Offset
		if seen, err = checkSeen(u.Seen, now); err != nil {
			return err
		}
	} else if u.Seen != nil {
		seen = *u.Seen
	}
	if a.Offset > seen && text != a.Text {
		base, known, err := w.annotationText(ctx, a, seen)
		if err == nil {
			text, err = mergeEdits(base, known, text, a.Text, maxAnnotationRunes, ConflictError{Offset: now, ActorName: cmp.Or(a.EditedByName, a.CreatedByName), log: a.Anchor.InvestigationID, set: a.Offset})
		}
		if err != nil {
			return err
		}
	}
	return w.updateAnnotation(ctx, a, text, u.Ref)
}

func (w *work) updateAnnotation(ctx context.Context, a *Annotation, text, ref string) error {
	before := a.Text
	if text == before {
		return nil
	}
	people, err := mentionables(ctx, w.tx)
	if err != nil {
		return err
	}
	a.Text, a.Mentions, a.UpdatedUnixNano = text, mentioned(text, people), w.now
	if a.Mentions == nil {
		a.Mentions = []string{}
	}
	mentions, err := marshal(a.Mentions)
	if err != nil {
		return fmt.Errorf("encode mentions: %w", err)
	}
	_, err = w.tx.ExecContext(ctx, `UPDATE annotations SET text = ?, mentions = ?, updated_at = ? WHERE id = ?`, text, string(mentions), w.now, a.ID)
	if err != nil {
		return fmt.Errorf("update annotation %s: %w", a.ID, err)
	}
	a.Versions++
	if err := w.keepVersion(ctx, a); err != nil {
		return err
	}
	fields := map[string]any{"text": text, "mentions": a.Mentions}
	if by := w.otherThan(a.CreatedBy); by.ID != a.EditedBy {
		a.EditedBy, a.EditedByName = by.ID, by.Name
		fields["edited_by"], fields["edited_by_name"] = by.ID, by.Name
	}
	if err := w.auditRemark(ctx, a, "annotation.edited"); err != nil {
		return err
	}
	data := map[string]any{"id": a.ID, "anchor": a.Anchor, "fields": fields}
	offsets, err := w.logAnnotation(ctx, AnnotationUpdated, a, ref, data)
	if err != nil {
		return err
	}
	if err := w.saveAnnotationOffsets(ctx, a, offsets); err != nil {
		return err
	}
	if err := w.retell(ctx, a.Anchor.InvestigationID, string(a.ID), text); err != nil {
		return err
	}
	return w.notifyAnnotation(ctx, a, before)
}

// auditRemark notes what an administrator does with somebody else's remark.
func (w *work) auditRemark(ctx context.Context, a *Annotation, action string) error {
	if a.CreatedBy == w.actor.ID {
		return nil
	}
	detail := "of " + a.CreatedByName
	if in := a.Anchor.InvestigationID; in != "" {
		inv, err := investigationByID(ctx, w.tx, in)
		if err != nil {
			return err
		}
		if inv.Visibility != VisibilityWorkspace {
			return w.audit(ctx, action, "of few", "")
		}
	}
	return w.audit(ctx, action, string(a.ID), detail)
}

// DeleteAnnotation leaves a tombstone and erases the text. Its author and
// administrators may. Deleting twice is no error.
func (s *Store) DeleteAnnotation(ctx context.Context, id AnnotationID) error {
	return s.do(ctx, func(w *work) error {
		a, err := w.ownAnnotation(ctx, id)
		if err != nil || a.deleted {
			return err
		}
		if err := w.auditRemark(ctx, a, "annotation.deleted"); err != nil {
			return err
		}
		return w.eraseAnnotation(ctx, a)
	})
}

func (w *work) ownAnnotation(ctx context.Context, id AnnotationID) (*Annotation, error) {
	a, err := annotationByID(ctx, w.tx, id)
	if err != nil {
		return nil, err
	}
	return a, w.mayEdit(a)
}

// mayEdit says who may change and delete an annotation. What an administrator wrote
// in place of somebody's words is marked so, see Annotation.EditedBy.
func (w *work) mayEdit(a *Annotation) error {
	if a.CreatedBy != w.actor.ID && !w.actor.Role.AtLeast(RoleAdmin) {
		return ErrForbidden
	}
	return nil
}

func (w *work) eraseAnnotation(ctx context.Context, a *Annotation) error {
	data := map[string]any{"id": a.ID, "anchor": Anchor{InvestigationID: a.Anchor.InvestigationID, PinID: a.Anchor.PinID}}
	offsets, err := w.logAnnotation(ctx, AnnotationDeleted, a, "", data)
	if err != nil {
		return err
	}
	_, err = w.tx.ExecContext(ctx, `UPDATE annotations SET text = '', mentions = '[]', deleted_at = ? WHERE id = ?`, w.now, a.ID)
	if err != nil {
		return fmt.Errorf("delete annotation %s: %w", a.ID, err)
	}
	for _, table := range []string{"annotation_versions", "annotation_reactions"} {
		if _, err := w.tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE annotation_id = ?`, a.ID); err != nil {
			return fmt.Errorf("delete %s of %s: %w", table, a.ID, err)
		}
	}
	// It may have landed in logs that no longer show it: erase it by what the
	// logs say.
	rows, err := w.tx.QueryContext(ctx, `SELECT DISTINCT investigation_id FROM changes WHERE object_id = ?`, a.ID)
	if err != nil {
		return fmt.Errorf("find logs of %s: %w", a.ID, err)
	}
	var logs []InvestigationID
	for rows.Next() {
		var id InvestigationID
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		logs = append(logs, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("find logs of %s: %w", a.ID, err)
	}
	if len(offsets) == 0 {
		logs = append(logs, "") // inbox items of an annotation on a trace alone
	}
	for _, id := range logs {
		if err := w.erase(ctx, id, string(a.ID)); err != nil {
			return err
		}
	}
	return nil
}

var _ querier = (*sql.Tx)(nil)
