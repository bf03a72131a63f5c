package collab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Side is one half of a comparison. One that names a pin of the board is asked
// for by PinID alone; its frozen copy is taken as it is. Else Kind and what goes
// with it say what to freeze.
type Side struct {
	PinID   BlockID         `json:"pin_id"`
	Kind    BlockKind       `json:"kind"`
	TraceID string          `json:"trace_id"`
	SpanID  string          `json:"span_id"`
	Query   json.RawMessage `json:"query"`
	// The rest is filled in when the comparison is made.
	Title          string `json:"title"`
	Locator        string `json:"locator"` // path of the live view
	SHA256         string `json:"sha256"`  // of its half of the evidence
	FrozenUnixNano int64  `json:"frozen_unix_nano,string"`
}

// cleanSides checks what a comparison asks for.
func cleanSides(sides []Side) ([]Side, error) {
	if len(sides) != 2 {
		return nil, &InvalidError{"sides", "A comparison has two sides."}
	}
	out := make([]Side, 2)
	for i, s := range sides {
		if s.PinID != "" {
			out[i] = Side{PinID: s.PinID}
			continue
		}
		n := BlockNew{Kind: s.Kind, TraceID: s.TraceID, SpanID: s.SpanID, Query: s.Query}
		if !s.Kind.Pin() || s.Kind == KindComparison {
			return nil, &InvalidError{"sides", "Each side names a pin, or a span, trace, thread or query."}
		}
		if _, err := n.clean(); err != nil {
			return nil, err
		}
		out[i] = Side{Kind: n.Kind, TraceID: n.TraceID, SpanID: n.SpanID, Query: n.Query}
	}
	if out[0].PinID != "" && out[0].PinID == out[1].PinID {
		return nil, &InvalidError{"sides", "Choose two different pins."}
	}
	return out, nil
}

// comparisonBody is the evidence of a comparison: that of its sides.
type comparisonBody struct {
	V     int               `json:"v"`
	Kind  BlockKind         `json:"kind"`
	Sides []json.RawMessage `json:"sides"`
}

// freezeComparison copies the evidence of two pins, or freezes what is not
// pinned yet.
func (s *Store) freezeComparison(ctx context.Context, id InvestigationID, asked []Side) (*Frozen, error) {
	body := comparisonBody{V: 1, Kind: KindComparison}
	out := &Frozen{}
	for _, side := range asked {
		half, facts, err := s.freezeSide(ctx, id, &side)
		if err != nil {
			return nil, err
		}
		out.Facts.join(facts)
		body.Sides = append(body.Sides, half)
		out.Sides = append(out.Sides, side)
	}
	out.Title = clipRunes(out.Sides[0].Title, maxTitleRunes/2-4) + " and " + clipRunes(out.Sides[1].Title, maxTitleRunes/2-4)
	raw, err := marshal(body)
	if err != nil {
		return nil, fmt.Errorf("freeze comparison: %w", err)
	}
	if out.Body, err = CanonicalJSON(raw); err != nil {
		return nil, fmt.Errorf("freeze comparison: %w", err)
	}
	return out, checkEvidenceSize(out.Body)
}

func (s *Store) freezeSide(ctx context.Context, id InvestigationID, side *Side) (json.RawMessage, EvidenceFacts, error) {
	none := EvidenceFacts{}
	if side.PinID == "" {
		n := BlockNew{Kind: side.Kind, TraceID: side.TraceID, SpanID: side.SpanID, Query: side.Query}
		l, err := n.clean()
		if err != nil {
			return nil, none, err
		}
		f, err := s.freeze(ctx, l)
		if err != nil {
			return nil, none, err
		}
		if f.Query != nil {
			side.Query = f.Query
		}
		side.Title, side.Locator, side.SHA256, side.FrozenUnixNano = f.Title, f.Path, hashHex(f.Body), s.nowNano()
		return f.Body, f.Facts, nil
	}
	b, err := s.BlockByID(ctx, id, side.PinID)
	if errors.Is(err, ErrNotFound) || err == nil && (b.Evidence == nil || b.Kind == KindComparison) {
		return nil, none, &InvalidError{"sides", "There is no such pin on this board."}
	}
	if err != nil {
		return nil, none, err
	}
	e, err := s.EvidenceByBlock(ctx, id, b.ID)
	if err != nil {
		return nil, none, err
	}
	*side = Side{PinID: b.ID, Kind: b.Kind, TraceID: b.TraceID, SpanID: b.SpanID, Query: b.Query, Title: b.Title, Locator: b.Locator,
		SHA256: e.SHA256, FrozenUnixNano: e.FrozenUnixNano}
	return e.Body, e.Facts, nil
}

// freezeAgain reads what a pin shows as it is now, in the shape of its frozen
// copy.
func (s *Store) freezeAgain(ctx context.Context, b *Block) (*Frozen, error) {
	if b.Kind != KindComparison {
		n := BlockNew{Kind: b.Kind, TraceID: b.TraceID, SpanID: b.SpanID, Query: b.Query}
		l, err := n.clean()
		if err != nil {
			return nil, fmt.Errorf("locator of %s: %w", b.ID, err)
		}
		return s.freeze(ctx, l)
	}
	asked := make([]Side, len(b.Sides))
	for i, side := range b.Sides {
		asked[i] = Side{Kind: side.Kind, TraceID: side.TraceID, SpanID: side.SpanID, Query: side.Query}
	}
	return s.freezeComparison(ctx, b.InvestigationID, asked)
}
