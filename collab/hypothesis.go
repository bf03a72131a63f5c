package collab

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// HypothesisState says what became of a hypothesis.
type HypothesisState string

// The states of a hypothesis.
const (
	HypothesisOpen      HypothesisState = "open"
	HypothesisSupported HypothesisState = "supported"
	HypothesisRefuted   HypothesisState = "refuted"
	HypothesisConfirmed HypothesisState = "confirmed"
)

// HypothesisStates lists them all.
var HypothesisStates = []HypothesisState{HypothesisOpen, HypothesisSupported, HypothesisRefuted, HypothesisConfirmed}

func checkHypothesisState(s HypothesisState) error {
	if !slices.Contains(HypothesisStates, s) {
		return &InvalidError{"state", "The state of a hypothesis is open, supported, refuted or confirmed."}
	}
	return nil
}

// EvidenceSide says what a block does for a hypothesis.
type EvidenceSide string

// The sides.
const (
	SideFor     EvidenceSide = "for"
	SideAgainst EvidenceSide = "against"
	SideNone    EvidenceSide = "" // takes the reference away
)

// References are the blocks that speak for or against a hypothesis. One block
// may speak for one hypothesis and against another.
type References map[BlockID]EvidenceSide

// maxReferences bounds the evidence of one hypothesis.
const maxReferences = 200

// Citable reports whether a block of the kind can be evidence.
func (k BlockKind) Citable() bool { return k != KindHypothesis && k != KindTask }

func (r References) text() (string, error) {
	if len(r) == 0 {
		return "", nil
	}
	raw, err := json.Marshal(r)
	return string(raw), err
}

func readReferences(raw string) (References, error) {
	r := References{}
	if raw == "" {
		return r, nil
	}
	err := json.Unmarshal([]byte(raw), &r)
	return r, err
}

// referenceField names a reference in field offsets: each is a field of its own,
// so that two people who cite different blocks both win.
func referenceField(b BlockID) string { return "references." + string(b) }

// checkReferences makes sure that what is cited stands on the board.
func (w *work) checkReferences(ctx context.Context, id InvestigationID, refs References) error {
	if len(refs) > maxReferences {
		return &InvalidError{"references", "A hypothesis has at most 200 pieces of evidence."}
	}
	for block, side := range refs {
		switch side {
		case SideNone:
			continue // also of one that is gone
		case SideFor, SideAgainst:
		default:
			return &InvalidError{"references", "A block is for or against a hypothesis, or empty for neither."}
		}
		var kind BlockKind
		err := w.tx.QueryRowContext(ctx, `SELECT kind FROM blocks WHERE id = ? AND investigation_id = ? AND deleted_at = 0`, block, id).Scan(&kind)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !kind.Citable() {
			return &InvalidError{"references", "Evidence is a pin, note, link or picture on this board."}
		}
		if err != nil {
			return fmt.Errorf("find evidence %s: %w", block, err)
		}
	}
	return nil
}

// updateReferences applies changed references to a hypothesis; those that
// somebody set otherwise since seen are a conflict.
func (w *work) updateReferences(ctx context.Context, inv *Investigation, b *Block, seen int64, to References, set map[string]any) error {
	if err := w.checkReferences(ctx, inv.ID, to); err != nil {
		return err
	}
	changed := References{}
	for _, block := range slices.Sorted(maps.Keys(to)) {
		side, was := to[block], b.References[block]
		if side == was {
			continue
		}
		field := referenceField(block)
		if b.fieldOffsets[field] > seen {
			return &ConflictError{Field: field, Yours: string(side), Theirs: string(was), Offset: inv.Offset, log: inv.ID, set: b.fieldOffsets[field]}
		}
		if changed[block] = side; side == SideNone {
			delete(b.References, block)
		} else {
			b.References[block] = side
		}
	}
	if len(b.References) > maxReferences {
		return &InvalidError{"references", "A hypothesis has at most 200 pieces of evidence."}
	}
	if len(changed) > 0 {
		set["references"] = changed
	}
	return nil
}

// forget takes a block that is deleted out of the hypotheses that cite it, each
// in a change of its own, so that the log still adds up to the board.
func (w *work) forget(ctx context.Context, id InvestigationID, block BlockID) error {
	blocks, err := findBlocks(ctx, w.tx, id)
	if err != nil {
		return err
	}
	for i := range blocks {
		b := &blocks[i]
		if _, cites := b.References[block]; !cites {
			continue
		}
		delete(b.References, block)
		delete(b.fieldOffsets, referenceField(block))
		data := map[string]any{"id": b.ID, "kind": b.Kind, "fields": map[string]any{"references": References{block: SideNone}}}
		if b.Offset, err = w.log(ctx, id, ChangeType(b.Kind.noun()+".updated"), string(b.ID), "", data); err != nil {
			return err
		}
		b.UpdatedUnixNano = w.now
		if err := w.saveBlock(ctx, b); err != nil {
			return err
		}
	}
	return nil
}
