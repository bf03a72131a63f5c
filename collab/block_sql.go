package collab

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
)

const blockColumns = `b.id, b.investigation_id, b.kind, b.position, b.title, b.text, b.url, b.trace_id, b.span_id, b.query, b.locator,
	b.evidence_sha256, b.evidence_bytes, COALESCE(e.frozen_by, ''), COALESCE(e.frozen_by_name, ''), COALESCE(e.frozen_at, 0), COALESCE(e.redactions, ''),
	b.sides, b.state, b.cited, b.done, b.assignee, COALESCE(u.name, ''), b.due_at,
	COALESCE(p.sha256, ''), COALESCE(p.type, ''), COALESCE(p.width, 0), COALESCE(p.height, 0), COALESCE(p.bytes, 0),
	b.field_offsets, b.changed_offset, b.created_by, b.created_by_name, b.created_at, b.updated_at, b.edited_by, b.edited_by_name, b.deleted_at <> 0`

const blockFrom = ` FROM blocks b LEFT JOIN evidence e ON e.block_id = b.id LEFT JOIN pictures p ON p.block_id = b.id LEFT JOIN users u ON u.id = b.assignee `

func scanBlock(row interface{ Scan(...any) error }) (*Block, error) {
	var b Block
	var e EvidenceInfo
	var p PictureInfo
	var query, fields, sides, cited, redactions string
	err := row.Scan(&b.ID, &b.InvestigationID, &b.Kind, &b.Position, &b.Title, &b.Text, &b.URL, &b.TraceID, &b.SpanID, &query, &b.Locator,
		&e.SHA256, &e.SizeBytes, &e.FrozenBy, &e.FrozenByName, &e.FrozenUnixNano, &redactions,
		&sides, &b.State, &cited, &b.Done, &b.Assignee, &b.AssigneeName, &b.DueUnixNano,
		&p.SHA256, &p.Type, &p.Width, &p.Height, &p.SizeBytes,
		&fields, &b.Offset, &b.CreatedBy, &b.CreatedByName, &b.CreatedUnixNano, &b.UpdatedUnixNano, &b.EditedBy, &b.EditedByName, &b.deleted)
	if err != nil {
		return nil, err
	}
	if query != "" {
		b.Query = json.RawMessage(query)
	}
	if e.SHA256 != "" {
		b.Evidence = &e
	}
	if redactions != "" {
		if err := json.Unmarshal([]byte(redactions), &e.Redactions); err != nil {
			return nil, err
		}
	}
	if p.SHA256 != "" {
		b.Picture = &p
	}
	if b.Sides = []Side{}; sides != "" {
		if err := json.Unmarshal([]byte(sides), &b.Sides); err != nil {
			return nil, err
		}
	}
	if b.References, err = readReferences(cited); err != nil {
		return nil, err
	}
	b.fieldOffsets, err = readFieldOffsets(fields)
	return &b, err
}

// blockByID reads a block, also a deleted one.
func blockByID(ctx context.Context, q querier, id InvestigationID, block BlockID) (*Block, error) {
	b, err := scanBlock(q.QueryRowContext(ctx, `SELECT `+blockColumns+blockFrom+`WHERE b.id = ? AND b.investigation_id = ?`, block, id))
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", block, translate(err))
	}
	return b, nil
}

// BlockByID returns a block of an investigation, or [ErrNotFound].
func (s *Store) BlockByID(ctx context.Context, id InvestigationID, block BlockID) (*Block, error) {
	if err := s.MaySee(ctx, id); err != nil {
		return nil, err
	}
	b, err := blockByID(ctx, s.read, id, block)
	if err == nil && b.deleted {
		return nil, fmt.Errorf("block %s was deleted: %w", block, ErrNotFound)
	}
	return b, err
}

// Board is an investigation as of one moment: its state, the blocks in their
// order, and the annotations that show on it.
type Board struct {
	Investigation *Investigation
	Blocks        []Block
	Annotations   []Annotation // the oldest first
}

// Board reads a whole board in one read transaction, so that the offset in
// Board.Investigation is that of the blocks. The evidence of pins is read apart;
// it never changes.
func (s *Store) Board(ctx context.Context, id InvestigationID) (*Board, error) {
	var out Board
	err := s.view(ctx, func(tx *sql.Tx) (err error) {
		if out.Investigation, err = investigationByID(ctx, tx, id); err != nil {
			return err
		}
		if out.Blocks, err = findBlocks(ctx, tx, id); err != nil {
			return err
		}
		out.Annotations, err = boardAnnotations(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	return &out, nil
}

func findBlocks(ctx context.Context, q querier, id InvestigationID) ([]Block, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+blockColumns+blockFrom+
		`WHERE b.investigation_id = ? AND b.deleted_at = 0 ORDER BY b.position, b.id`, id)
	if err != nil {
		return nil, fmt.Errorf("find blocks of %s: %w", id, err)
	}
	defer rows.Close()
	list := []Block{}
	for rows.Next() {
		b, err := scanBlock(rows)
		if err != nil {
			return nil, fmt.Errorf("find blocks of %s: %w", id, err)
		}
		list = append(list, *b)
	}
	return list, rows.Err()
}

// CreateBlock puts a block on the board, below the others. A pin's evidence is
// read before the transaction opens. The same ref with the same request again
// returns the block as it was made, with created false; with another request it
// is a [ConflictError].
func (s *Store) CreateBlock(ctx context.Context, id InvestigationID, n BlockNew) (b *Block, created bool, err error) {
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleMember) {
		return nil, false, ErrForbidden
	}
	locator, err := n.clean()
	if err != nil {
		return nil, false, err
	}
	request, err := requestHash("block", n)
	if err != nil {
		return nil, false, err
	}
	if err := s.MaySee(ctx, id); err != nil {
		return nil, false, err
	}
	if b, err := s.blockByRef(ctx, s.read, id, actor, n.Ref, request); b != nil || err != nil {
		return b, false, err
	}
	frozen, err := s.freezeNew(ctx, id, &n, locator)
	if err != nil {
		return nil, false, err
	}
	err = s.do(ctx, func(w *work) error {
		if err := maySee(ctx, w.tx, id); err != nil { // it may have ended since
			return err
		}
		if b, err = s.blockByRef(ctx, w.tx, id, actor, n.Ref, request); b != nil || err != nil {
			return err
		}
		created = true
		if b, err = w.insertBlock(ctx, id, n, locator, frozen); err != nil {
			return err
		}
		return w.keepRef(ctx, string(id), n.Ref, request, string(b.ID), b.Offset)
	})
	if err != nil {
		return nil, false, err
	}
	return b, created, nil
}

// freezeNew reads the evidence of a block that is asked for, nil if it is no
// pin.
func (s *Store) freezeNew(ctx context.Context, id InvestigationID, n *BlockNew, l Locator) (*Frozen, error) {
	switch {
	case n.Kind == KindComparison:
		return s.freezeComparison(ctx, id, n.Sides)
	case n.Kind.Pin():
		return s.freeze(ctx, l)
	}
	return nil, nil
}

// blockByRef returns the block that a ref has made, as it was made, or nil.
func (s *Store) blockByRef(ctx context.Context, q querier, id InvestigationID, actor Actor, ref string, request []byte) (*Block, error) {
	before, err := findRef(ctx, q, string(id), actor.ID, ref, request)
	if before == nil || err != nil {
		return nil, err
	}
	var b Block
	if err := changeData(ctx, q, id, before.offset, &b); err != nil {
		return nil, err
	}
	return &b, nil
}

func (w *work) insertBlock(ctx context.Context, id InvestigationID, n BlockNew, l Locator, f *Frozen) (*Block, error) {
	inv, err := investigationByID(ctx, w.tx, id)
	if err != nil {
		return nil, err
	}
	if inv.Blocks >= maxBlocks {
		return nil, &InvalidError{"", "This board is full: 1,000 blocks. Delete some, or open another investigation."}
	}
	var last string
	err = w.tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(position), '') FROM blocks WHERE investigation_id = ? AND deleted_at = 0`, id).Scan(&last)
	if err != nil {
		return nil, fmt.Errorf("find last position: %w", err)
	}
	offset := inv.Offset + 1
	b := &Block{
		ID: BlockID(newID("b_")), InvestigationID: id, Kind: n.Kind, Position: positionBetween(last, ""),
		Title: n.Title, Text: n.Text, URL: n.URL, TraceID: n.TraceID, SpanID: n.SpanID, Query: n.Query,
		CreatedBy: w.actor.ID, CreatedByName: w.actor.Name, CreatedUnixNano: w.now, UpdatedUnixNano: w.now, Offset: offset,
		Sides: []Side{}, State: n.State, References: References{}, Done: n.Done, DueUnixNano: n.DueUnixNano,
		fieldOffsets: newFieldOffsets(offset),
	}
	if err := w.setParts(ctx, b, n); err != nil {
		return nil, err
	}
	if f != nil {
		b.Locator = f.Path
		if f.Sides != nil {
			b.Sides, l.Sides = f.Sides, f.Sides
		}
		if f.Query != nil {
			b.Query = f.Query
		}
		if b.Title == "" {
			b.Title = f.Title
		}
		b.Evidence = &EvidenceInfo{SHA256: hashHex(f.Body), SizeBytes: len(f.Body),
			FrozenBy: w.actor.ID, FrozenByName: w.actor.Name, FrozenUnixNano: w.now}
	}
	if err := w.saveBlock(ctx, b); err != nil {
		return nil, err
	}
	if b.Picture != nil {
		if err := w.insertPicture(ctx, b, n.Picture); err != nil {
			return nil, err
		}
	}
	if f != nil {
		asked, err := marshal(l)
		if err != nil {
			return nil, fmt.Errorf("encode locator: %w", err)
		}
		if asked, err = CanonicalJSON(asked); err != nil {
			return nil, fmt.Errorf("encode locator: %w", err)
		}
		services, origin, err := f.Facts.columns()
		if err != nil {
			return nil, fmt.Errorf("encode facts: %w", err)
		}
		_, err = w.tx.ExecContext(ctx, `INSERT INTO evidence (block_id, sha256, body, locator, frozen_by, frozen_by_name, frozen_at, services, first_at, last_at, origin)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, b.ID, b.Evidence.SHA256, f.Body, string(asked), w.actor.ID, w.actor.Name, w.now,
			services, f.Facts.FirstUnixNano, f.Facts.LastUnixNano, origin)
		if err != nil {
			return nil, fmt.Errorf("insert evidence: %w", err)
		}
	}
	if _, err := w.log(ctx, id, ChangeType(n.Kind.noun()+".added"), string(b.ID), n.Ref, b); err != nil {
		return nil, err
	}
	if err := w.notifyTask(ctx, inv, b, ""); err != nil {
		return nil, err
	}
	return b, w.notifyMentions(ctx, mentionSource{inv: inv, object: string(b.ID), path: blockPath(id, b.ID), text: b.Text})
}

// newFieldOffsets are those of a block that one change made.
func newFieldOffsets(offset int64) fieldOffsets {
	f := fieldOffsets{}
	for _, name := range []string{"title", "text", "url", "position", "state", "done", "assignee", "due_unix_nano"} {
		f[name] = offset
	}
	return f
}

// setParts fills in what only some kinds have and what the database has to
// check.
func (w *work) setParts(ctx context.Context, b *Block, n BlockNew) (err error) {
	if b.Kind == KindPicture {
		p, _, err := readPicture(n.Picture)
		if err != nil {
			return err
		}
		b.Picture = &p
	}
	if n.Assignee != "" {
		if b.Assignee, b.AssigneeName, err = findAssignee(ctx, w.tx, b.InvestigationID, n.Assignee); err != nil {
			return err
		}
	}
	if err := w.checkReferences(ctx, b.InvestigationID, n.References); err != nil {
		return err
	}
	for block, side := range n.References {
		if side != SideNone {
			b.References[block] = side
			b.fieldOffsets[referenceField(block)] = b.Offset
		}
	}
	return nil
}

func (w *work) saveBlock(ctx context.Context, b *Block) error {
	sum, size := "", 0
	if b.Evidence != nil {
		sum, size = b.Evidence.SHA256, b.Evidence.SizeBytes
	}
	cited, err := b.References.text()
	if err != nil {
		return fmt.Errorf("encode references of %s: %w", b.ID, err)
	}
	sides := ""
	if len(b.Sides) > 0 {
		raw, err := marshal(b.Sides)
		if err != nil {
			return fmt.Errorf("encode sides of %s: %w", b.ID, err)
		}
		sides = string(raw)
	}
	_, err = w.tx.ExecContext(ctx, `INSERT INTO blocks (id, investigation_id, kind, position, title, text, url, trace_id, span_id, query, locator,
			evidence_sha256, evidence_bytes, sides, state, cited, done, assignee, due_at,
			field_offsets, created_offset, changed_offset, created_by, created_by_name, created_at, updated_at, edited_by, edited_by_name)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET position = excluded.position, title = excluded.title, text = excluded.text, url = excluded.url,
			state = excluded.state, cited = excluded.cited, done = excluded.done, assignee = excluded.assignee, due_at = excluded.due_at,
			field_offsets = excluded.field_offsets, changed_offset = excluded.changed_offset, updated_at = excluded.updated_at,
			edited_by = excluded.edited_by, edited_by_name = excluded.edited_by_name`,
		b.ID, b.InvestigationID, b.Kind, b.Position, b.Title, b.Text, b.URL, b.TraceID, b.SpanID, string(b.Query), b.Locator,
		sum, size, sides, b.State, cited, b.Done, b.Assignee, b.DueUnixNano, b.fieldOffsets.text(), b.Offset, b.Offset, b.CreatedBy, b.CreatedByName, b.CreatedUnixNano, b.UpdatedUnixNano,
		b.EditedBy, b.EditedByName)
	if err != nil {
		return fmt.Errorf("save block %s: %w", b.ID, err)
	}
	return nil
}

// DeleteBlock leaves a tombstone in the log and erases the block's bytes, its
// evidence and the annotations on it. Deleting twice is no error.
func (s *Store) DeleteBlock(ctx context.Context, id InvestigationID, block BlockID) error {
	return s.do(ctx, func(w *work) error {
		if _, err := investigationByID(ctx, w.tx, id); err != nil {
			return err
		}
		b, err := blockByID(ctx, w.tx, id, block)
		if err != nil || b.deleted {
			return err
		}
		notes, err := queryAnnotations(ctx, w.tx, `a.block_id = ? AND a.deleted_at = 0`, []any{block}, 10_000)
		if err != nil {
			return err
		}
		for i := range notes {
			if err := w.eraseAnnotation(ctx, &notes[i]); err != nil {
				return err
			}
		}
		if err := w.forget(ctx, id, block); err != nil {
			return err
		}
		if _, err := w.log(ctx, id, ChangeType(b.Kind.noun()+".deleted"), string(block), "", map[string]any{"id": block, "kind": b.Kind}); err != nil {
			return err
		}
		for _, table := range []string{"evidence", "pictures"} {
			if _, err := w.tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE block_id = ?`, block); err != nil {
				return fmt.Errorf("erase %s of %s: %w", table, block, err)
			}
		}
		_, err = w.tx.ExecContext(ctx, `UPDATE blocks SET title = '', text = '', url = '', query = '', locator = '', trace_id = '', span_id = '',
			sides = '', cited = '', assignee = '', deleted_at = ? WHERE id = ?`, w.now, block)
		if err != nil {
			return fmt.Errorf("delete block %s: %w", block, err)
		}
		return w.erase(ctx, id, string(block))
	})
}

func blockPath(id InvestigationID, b BlockID) string { return "/i/" + string(id) + "#" + string(b) }

func cleanBlockTitle(kind BlockKind, s string) (string, error) {
	if strings.TrimSpace(s) == "" && !kind.Pin() && !kind.titled() {
		return "", nil
	}
	return cleanTitle("title", s)
}

func clipRunes(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
