package collab

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"redthread/tracestore/trace"
)

// EvidenceByBlock returns the frozen copy behind a pin, or [ErrNotFound].
func (s *Store) EvidenceByBlock(ctx context.Context, id InvestigationID, block BlockID) (*Evidence, error) {
	if err := s.MaySee(ctx, id); err != nil {
		return nil, err
	}
	var e Evidence
	var body []byte
	var asked, services, origin, redactions string
	err := s.read.QueryRowContext(ctx, `SELECT e.sha256, e.body, e.locator, e.frozen_by, e.frozen_by_name, e.frozen_at,
		e.services, e.first_at, e.last_at, e.origin, e.redactions FROM evidence e
		JOIN blocks b ON b.id = e.block_id WHERE b.id = ? AND b.investigation_id = ?`, block, id).
		Scan(&e.SHA256, &body, &asked, &e.FrozenBy, &e.FrozenByName, &e.FrozenUnixNano, &services, &e.Facts.FirstUnixNano, &e.Facts.LastUnixNano, &origin, &redactions)
	if err == nil {
		err = json.Unmarshal([]byte(services), &e.Facts.Services)
	}
	if err == nil && redactions != "" {
		err = json.Unmarshal([]byte(redactions), &e.Redactions)
	}
	if err == nil && origin != "" {
		e.Facts.Origin, err = trace.ParseID(origin)
	}
	if err != nil {
		return nil, fmt.Errorf("evidence of %s: %w", block, translate(err))
	}
	e.Body, e.Asked, e.SizeBytes = body, json.RawMessage(asked), len(body)
	return &e, nil
}

// LiveState says how what a pin shows stands to its frozen copy.
type LiveState string

// The states.
const (
	LiveSame    LiveState = "same"
	LiveChanged LiveState = "changed"
	LiveGone    LiveState = "gone" // nothing is there any more
)

// Comparison is a pin beside what its locator shows now.
type Comparison struct {
	State        LiveState `json:"state"`
	FrozenSHA256 string    `json:"frozen_sha256"`
	LiveSHA256   string    `json:"live_sha256"` // "" if it is gone
	// Changes are what differs, at most 100, and More how many others do.
	Changes []Difference `json:"changes"`
	More    int          `json:"more"`
	// Live is what would be frozen now, canonical JSON; nil if it is gone.
	Live json.RawMessage `json:"-"`
}

// ComparePin reads again what a pin shows. It changes nothing.
func (s *Store) ComparePin(ctx context.Context, id InvestigationID, block BlockID) (*Comparison, error) {
	b, err := s.BlockByID(ctx, id, block)
	if err != nil {
		return nil, err
	}
	if b.Evidence == nil {
		return nil, &InvalidError{"kind", "Only a pin can be compared."}
	}
	c := &Comparison{State: LiveGone, FrozenSHA256: b.Evidence.SHA256, Changes: []Difference{}}
	f, err := s.freezeAgain(ctx, b)
	switch {
	case errors.Is(err, ErrNotFound):
		return c, nil
	case err != nil:
		return nil, err
	}
	c.State, c.LiveSHA256, c.Live = LiveSame, hashHex(f.Body), f.Body
	if c.LiveSHA256 == c.FrozenSHA256 {
		return c, nil
	}
	frozen, err := s.EvidenceByBlock(ctx, id, block)
	if err != nil {
		return nil, err
	}
	c.Changes, err = s.differences(b.Kind, frozen.Body, f.Body)
	if errors.Is(err, ErrNotFound) {
		return &Comparison{State: LiveGone, FrozenSHA256: b.Evidence.SHA256, Changes: []Difference{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("compare %s: %w", block, err)
	}
	if len(c.Changes) > 0 {
		c.State = LiveChanged
	}
	if n := len(c.Changes) - maxDifferences; n > 0 {
		c.Changes, c.More = c.Changes[:maxDifferences], n
	}
	return c, nil
}

// maxDifferences is how many differences an answer lists.
const maxDifferences = 100

// differences says what differs between two bodies of a kind.
func (s *Store) differences(kind BlockKind, frozen, live json.RawMessage) ([]Difference, error) {
	if kind != KindComparison {
		list, err := s.boards.evidence.Compare(kind, frozen, live)
		if list == nil {
			list = []Difference{}
		}
		return list, err
	}
	var was, is comparisonBody
	if err := errors.Join(json.Unmarshal(frozen, &was), json.Unmarshal(live, &is)); err != nil {
		return nil, err
	}
	all := []Difference{}
	for i := range min(len(was.Sides), len(is.Sides)) {
		var head struct{ Kind BlockKind }
		if err := json.Unmarshal(was.Sides[i], &head); err != nil {
			return nil, err
		}
		list, err := s.boards.evidence.Compare(head.Kind, was.Sides[i], is.Sides[i])
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			d.What = []string{"left: ", "right: "}[min(i, 1)] + d.What
			all = append(all, d)
		}
	}
	return all, nil
}

// CheckEvidence reports the first frozen copy or picture that does not have its
// hash, or whose block says another one.
func (s *Store) CheckEvidence(ctx context.Context) error {
	for _, kind := range []struct{ what, query string }{
		{"frozen copy of pin", `SELECT b.investigation_id, e.block_id, e.sha256, e.body FROM evidence e JOIN blocks b ON b.id = e.block_id`},
		{"picture", `SELECT b.investigation_id, p.block_id, p.sha256, p.body FROM pictures p JOIN blocks b ON b.id = p.block_id`},
	} {
		if err := s.checkHashes(ctx, kind.what, kind.query); err != nil {
			return err
		}
	}
	var id, block string
	err := s.read.QueryRowContext(ctx, `SELECT b.investigation_id, b.id FROM blocks b LEFT JOIN evidence e ON e.block_id = b.id
		WHERE b.deleted_at = 0 AND b.evidence_sha256 <> COALESCE(e.sha256, '') LIMIT 1`).Scan(&id, &block)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("check evidence: %w", err)
	}
	return fmt.Errorf("the frozen copy of pin %s of investigation %s is missing, or is another one's", block, id)
}

func (s *Store) checkHashes(ctx context.Context, what, query string) error {
	rows, err := s.read.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("check evidence: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, block, sum string
		var body sql.RawBytes // a copy may be 8 MiB
		if err := rows.Scan(&id, &block, &sum, &body); err != nil {
			return fmt.Errorf("check evidence: %w", err)
		}
		if got := hashHex(body); got != sum {
			return fmt.Errorf("the %s %s of investigation %s is not what it was: its sha256 is %s, not %s", what, block, id, got, sum)
		}
	}
	return rows.Err()
}

func (s *Store) freeze(ctx context.Context, l Locator) (*Frozen, error) {
	if s.boards.evidence == nil {
		return nil, errors.New("collab: no evidence source")
	}
	f, err := s.boards.evidence.Freeze(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("freeze %s: %w", l.Kind, err)
	}
	if f.Body, err = CanonicalJSON(f.Body); err != nil {
		return nil, fmt.Errorf("freeze %s: %w", l.Kind, err)
	}
	if err := checkEvidenceSize(f.Body); err != nil {
		return nil, err
	}
	if f.Query != nil {
		if f.Query, err = CanonicalJSON(f.Query); err != nil {
			return nil, fmt.Errorf("freeze %s: %w", l.Kind, err)
		}
	}
	f.Title = clipRunes(strings.Join(strings.Fields(f.Title), " "), maxTitleRunes)
	return &f, nil
}

func checkEvidenceSize(body []byte) error {
	if len(body) > maxEvidenceBytes {
		return &InvalidError{"", "That is too much for one pin: over 8 MiB. Pin a part of it, such as one span."}
	}
	return nil
}
