package collab

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// Way is how somebody is told.
type Way string

// The ways.
const (
	WayOff    Way = "off"
	WayInbox  Way = "inbox"
	WayNotify Way = "notify" // in the inbox, and the browser says so
)

// Ways lists them all.
var Ways = []Way{WayOff, WayInbox, WayNotify}

// InboxReasons lists what reaches inboxes.
var InboxReasons = []Reason{ReasonMention, ReasonReply, ReasonAssignment, ReasonAsked, ReasonTask, ReasonReview, ReasonDue, ReasonStatus}

// usualWay is how somebody is told who chose nothing.
func (r Reason) usualWay() Way {
	if r == ReasonStatus {
		return WayInbox
	}
	return WayNotify
}

// personal reports whether the reason is about the person and not about the
// investigation: it is told of a muted one too.
func (r Reason) personal() bool {
	return r == ReasonMention || r == ReasonReply || r == ReasonAssignment || r == ReasonAsked || r == ReasonTask
}

// InboxRules returns how a user is told, for each of [InboxReasons].
func (s *Store) InboxRules(ctx context.Context, user string) (map[Reason]Way, error) {
	rules := map[Reason]Way{}
	for _, r := range InboxReasons {
		rules[r] = r.usualWay()
	}
	rows, err := s.read.QueryContext(ctx, `SELECT reason, way FROM inbox_rules WHERE user_id = ?`, user)
	if err != nil {
		return nil, fmt.Errorf("inbox rules of %s: %w", user, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Reason
		var way Way
		if err := rows.Scan(&r, &way); err != nil {
			return nil, fmt.Errorf("inbox rules of %s: %w", user, err)
		}
		if _, known := rules[r]; known {
			rules[r] = way
		}
	}
	return rules, rows.Err()
}

// SetInboxRules chooses how a user is told from now on. Reasons left out stay.
func (s *Store) SetInboxRules(ctx context.Context, user string, rules map[Reason]Way) error {
	for r, way := range rules {
		if !slices.Contains(InboxReasons, r) {
			return &InvalidError{"reason", "There is no such reason."}
		}
		if !slices.Contains(Ways, way) {
			return &InvalidError{string(r), "Choose off, inbox or notify."}
		}
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		for r, way := range rules {
			_, err := tx.ExecContext(ctx, `INSERT INTO inbox_rules (user_id, reason, way) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET way = excluded.way`, user, r, way)
			if err != nil {
				return fmt.Errorf("set inbox rule: %w", err)
			}
		}
		return nil
	})
}

// SetMuted makes a user hear only what is meant for them of an investigation, or
// everything again. It is [ErrNotFound] if they may not see it.
func (s *Store) SetMuted(ctx context.Context, user string, id InvestigationID, muted bool) error {
	if err := s.MaySee(ctx, id); err != nil {
		return err
	}
	stmt, args := `DELETE FROM inbox_mutes WHERE user_id = ? AND investigation_id = ?`, []any{user, id}
	if muted {
		stmt, args = `INSERT INTO inbox_mutes (user_id, investigation_id, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, append(args, s.nowNano())
	}
	if _, err := s.write.ExecContext(ctx, stmt, args...); err != nil {
		return fmt.Errorf("mute %s: %w", id, err)
	}
	return nil
}

// InvestigationTitle names an investigation.
type InvestigationTitle struct {
	ID       InvestigationID
	Title    string
	Status   Status
	Severity Severity
}

// HasMuted reports whether a user muted an investigation.
func (s *Store) HasMuted(ctx context.Context, user string, id InvestigationID) (bool, error) {
	var muted bool
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM inbox_mutes WHERE user_id = ? AND investigation_id = ?)`, user, id).Scan(&muted)
	if err != nil {
		return false, fmt.Errorf("mute of %s: %w", id, err)
	}
	return muted, nil
}

// Muted lists what a user muted and may see, what was muted last first.
func (s *Store) Muted(ctx context.Context, user string) ([]InvestigationTitle, error) {
	return s.findTitles(ctx, `JOIN inbox_mutes m ON m.investigation_id = i.id AND m.user_id = ? WHERE i.deleted_at = 0 AND `+seenByReader("i.id", "m.user_id", "0")+` ORDER BY m.since DESC`, user)
}

func (s *Store) findTitles(ctx context.Context, tail string, args ...any) ([]InvestigationTitle, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT i.id, i.title, i.status, i.severity FROM investigations i `+tail, args...)
	if err != nil {
		return nil, fmt.Errorf("find titles: %w", err)
	}
	defer rows.Close()
	var list []InvestigationTitle
	for rows.Next() {
		var t InvestigationTitle
		if err := rows.Scan(&t.ID, &t.Title, &t.Status, &t.Severity); err != nil {
			return nil, fmt.Errorf("find titles: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// FindTitles returns investigations that the actor may see in whose titles the
// letters of a text stand in its order, those that have the text itself and then the
// newest first; an empty text finds all.
func (s *Store) FindTitles(ctx context.Context, text string, limit int) ([]InvestigationTitle, error) {
	pattern := "%"
	for _, r := range text {
		pattern += likeEscaper.Replace(string(r)) + "%"
	}
	return s.findTitles(ctx, `WHERE i.deleted_at = 0 AND i.merged_into = '' AND i.title LIKE ? ESCAPE '\' AND `+seenBy("i.id")+`
		ORDER BY i.title LIKE ? ESCAPE '\' DESC, i.id DESC LIMIT ?`, append(append([]any{pattern}, readerOf(ctx).args()...), "%"+likeEscaper.Replace(text)+"%", limit)...)
}

// TitlesOf returns those of some investigations that the actor may see.
func (s *Store) TitlesOf(ctx context.Context, ids []InvestigationID) ([]InvestigationTitle, error) {
	raw, err := marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("encode ids: %w", err)
	}
	return s.findTitles(ctx, `WHERE i.deleted_at = 0 AND i.id IN (SELECT value FROM json_each(?)) AND `+seenBy("i.id"), append([]any{string(raw)}, readerOf(ctx).args()...)...)
}
