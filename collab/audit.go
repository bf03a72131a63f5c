package collab

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	ID        int64
	At        time.Time
	ActorID   string
	ActorName string
	Action    string // "session.created", "token.revoked", …
	Subject   string // what it was done to, in words
	Detail    string
	Address   string
}

// auditMax is how many entries the log keeps: years of a busy team, and a bound
// on what failed sign-ins can write.
const auditMax = 200_000

// addAudit writes an entry in the transaction of what it tells of. The actor is
// the context's, unless the entry names one.
func (s *Store) addAudit(ctx context.Context, tx *sql.Tx, e AuditEntry) error {
	if a, ok := ActorFrom(ctx); ok && e.ActorID == "" && e.ActorName == "" {
		e.ActorID, e.ActorName = a.ID, a.Name
	}
	return writeAudit(ctx, tx, s.nowNano(), e)
}

func writeAudit(ctx context.Context, tx *sql.Tx, now int64, e AuditEntry) error {
	res, err := tx.ExecContext(ctx, `INSERT INTO audit_entries (at, actor_id, actor_name, action, subject, detail, address)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, now, e.ActorID, e.ActorName, e.Action, e.Subject, e.Detail, e.Address)
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	id, err := res.LastInsertId()
	if err == nil && id > auditMax {
		_, err = tx.ExecContext(ctx, `DELETE FROM audit_entries WHERE id <= ?`, id-auditMax)
	}
	if err != nil {
		return fmt.Errorf("trim audit log: %w", err)
	}
	return nil
}

// AddAudit writes an entry that stands alone.
func (s *Store) AddAudit(ctx context.Context, e AuditEntry) error {
	return s.tx(ctx, func(tx *sql.Tx) error { return s.addAudit(ctx, tx, e) })
}

// FindAudit returns at most limit entries older than before (0: the newest),
// newest first.
func (s *Store) FindAudit(ctx context.Context, before int64, limit int) ([]AuditEntry, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, at, actor_id, actor_name, action, subject, detail, address
		FROM audit_entries WHERE ? = 0 OR id < ? ORDER BY id DESC LIMIT ?`, before, before, limit)
	if err != nil {
		return nil, fmt.Errorf("find audit entries: %w", err)
	}
	defer rows.Close()
	var list []AuditEntry
	for rows.Next() {
		var e AuditEntry
		var at int64
		if err := rows.Scan(&e.ID, &at, &e.ActorID, &e.ActorName, &e.Action, &e.Subject, &e.Detail, &e.Address); err != nil {
			return nil, fmt.Errorf("find audit entries: %w", err)
		}
		e.At = time.Unix(0, at).UTC()
		list = append(list, e)
	}
	return list, rows.Err()
}
