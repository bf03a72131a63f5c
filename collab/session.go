package collab

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// touchEvery is how often the last use of a session, token or key is written.
const touchEvery = time.Minute

// Session is one browser in which a person is signed in.
type Session struct {
	ID         string // "s_…", not the secret
	UserID     string
	Address    string
	UserAgent  string
	CreatedAt  time.Time
	LastUsedAt time.Time
	ExpiresAt  time.Time
}

// NewSession is what makes a session. SecretHash is the SHA-256 of its secret.
type NewSession struct {
	UserID     string
	SecretHash []byte
	Address    string
	UserAgent  string
	Lifetime   time.Duration
}

// CreateSession signs a user in. It also deletes the sessions that expired.
func (s *Store) CreateSession(ctx context.Context, n NewSession) (Session, error) {
	now := s.now().UTC()
	ses := Session{ID: newID("s_"), UserID: n.UserID, Address: n.Address, UserAgent: clip(n.UserAgent, 256),
		CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(n.Lifetime)}
	err := s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires_at <= ?`, now.UnixNano()); err != nil {
			return err
		}
		var email, name string
		err := tx.QueryRowContext(ctx, `SELECT email, name FROM users WHERE id = ? AND deactivated_at IS NULL`, n.UserID).Scan(&email, &name)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sessions (id, secret_hash, user_id, address, user_agent, created_at, last_used_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, ses.ID, n.SecretHash, n.UserID, ses.Address, ses.UserAgent,
			now.UnixNano(), now.UnixNano(), ses.ExpiresAt.UnixNano())
		if err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{ActorID: n.UserID, ActorName: name, Action: "session.created", Subject: email, Address: n.Address})
	})
	if err != nil {
		return Session{}, fmt.Errorf("create session: %w", err)
	}
	return ses, nil
}

// ActorBySession returns who is signed in with the secret of this hash, or
// [ErrNotFound]. Each use extends the session by idle, up to its lifetime.
func (s *Store) ActorBySession(ctx context.Context, secretHash []byte, idle time.Duration) (Actor, error) {
	now := s.now()
	a := Actor{Kind: ActorUser}
	var used int64
	err := s.read.QueryRowContext(ctx, `SELECT u.id, u.name, u.role, s.id, s.last_used_at
		FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.secret_hash = ? AND s.expires_at > ? AND s.last_used_at > ? AND u.deactivated_at IS NULL`,
		secretHash, now.UnixNano(), now.Add(-idle).UnixNano()).Scan(&a.ID, &a.Name, &a.Role, &a.SessionID, &used)
	if err != nil {
		return Actor{}, fmt.Errorf("session: %w", translate(err))
	}
	if now.Sub(timeOf(used)) >= touchEvery {
		s.touch(ctx, "sessions", a.SessionID)
	}
	return a, nil
}

// touch notes that a session, token or key was used now. It is no reason to
// turn anybody away that this cannot be written: on a full disk reading goes on.
func (s *Store) touch(ctx context.Context, table, id string) {
	if _, err := s.write.ExecContext(ctx, `UPDATE `+table+` SET last_used_at = ? WHERE id = ?`, s.nowNano(), id); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "last use not written", "table", table, "id", id, "error", err)
	}
}

// CurrentActor looks again at an actor that was let in earlier, as an open
// websocket has to: it returns the actor with the role of now, or
// [ErrNotFound] once the session was closed, the token revoked or the account
// deactivated.
func (s *Store) CurrentActor(ctx context.Context, a Actor) (Actor, error) {
	now := s.nowNano()
	var row *sql.Row
	if a.Kind == ActorToken {
		row = s.read.QueryRowContext(ctx, `SELECT name, role FROM tokens
			WHERE id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)`, a.ID, now)
	} else {
		row = s.read.QueryRowContext(ctx, `SELECT u.name, u.role FROM sessions s JOIN users u ON u.id = s.user_id
			WHERE s.id = ? AND u.id = ? AND s.expires_at > ? AND u.deactivated_at IS NULL`, a.SessionID, a.ID, now)
	}
	if err := row.Scan(&a.Name, &a.Role); err != nil {
		return Actor{}, fmt.Errorf("current actor: %w", translate(err))
	}
	return a, nil
}

// FindSessions returns a user's sessions, the last used first.
func (s *Store) FindSessions(ctx context.Context, userID string) ([]Session, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, user_id, address, user_agent, created_at, last_used_at, expires_at
		FROM sessions WHERE user_id = ? AND expires_at > ? ORDER BY last_used_at DESC, id`, userID, s.nowNano())
	if err != nil {
		return nil, fmt.Errorf("find sessions: %w", err)
	}
	defer rows.Close()
	var list []Session
	for rows.Next() {
		var ses Session
		var created, used, expires int64
		if err := rows.Scan(&ses.ID, &ses.UserID, &ses.Address, &ses.UserAgent, &created, &used, &expires); err != nil {
			return nil, fmt.Errorf("find sessions: %w", err)
		}
		ses.CreatedAt, ses.LastUsedAt, ses.ExpiresAt = timeOf(created), timeOf(used), timeOf(expires)
		list = append(list, ses)
	}
	return list, rows.Err()
}

// DeleteSession signs a browser of the user out.
func (s *Store) DeleteSession(ctx context.Context, userID, id string) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var address string
		err := tx.QueryRowContext(ctx, `DELETE FROM sessions WHERE id = ? AND user_id = ? RETURNING address`, id, userID).Scan(&address)
		if err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "session.deleted", Detail: "signed in from " + address})
	})
	if err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	s.tellSignedOut(userID)
	return nil
}

// DeleteOtherSessions signs the user out everywhere but in one session.
func (s *Store) DeleteOtherSessions(ctx context.Context, userID, keep string) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE user_id = ? AND id <> ?`, userID, keep); err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "session.deleted", Detail: "all others"})
	})
	if err != nil {
		return fmt.Errorf("delete other sessions: %w", err)
	}
	s.tellSignedOut(userID)
	return nil
}

// OnSignOut sets a function that is told, after a commit, of whom, a user or a token,
// a session ended. Call it before use.
func (s *Store) OnSignOut(fn func(actor string)) { s.signedOut = fn }

func (s *Store) tellSignedOut(actor string) {
	if s.signedOut != nil {
		s.signedOut(actor)
	}
}

// clip cuts text to at most n bytes, at the border of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
