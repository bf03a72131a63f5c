package collab

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// InvitationKind says what a link does.
type InvitationKind string

// The kinds of link. Each works once.
const (
	InvitationInvite   InvitationKind = "invite"   // makes an account
	InvitationPassword InvitationKind = "password" // lets a user choose a password
	InvitationSetup    InvitationKind = "setup"    // makes the first administrator
)

// Invitation is a link that lets one person in once.
type Invitation struct {
	ID        string
	Kind      InvitationKind
	Email     string // empty: whoever has the link
	Role      Role
	UserID    string // of InvitationPassword
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// NewInvitation is what makes a link. SecretHash is the SHA-256 of its code.
type NewInvitation struct {
	Kind       InvitationKind
	Email      string // InvitationInvite only; may be empty
	Role       Role
	UserID     string // InvitationPassword only
	SecretHash []byte
	Lifetime   time.Duration
}

// CreateInvitation makes a link. A new setup or password link replaces the
// older ones. A setup link is refused with [ErrConflict] once there is an
// administrator.
func (s *Store) CreateInvitation(ctx context.Context, n NewInvitation) (Invitation, error) {
	now := s.now().UTC()
	inv := Invitation{ID: newID("l_"), Kind: n.Kind, Email: n.Email, Role: n.Role, UserID: n.UserID,
		CreatedBy: actorName(ctx), CreatedAt: now, ExpiresAt: now.Add(n.Lifetime)}
	err := s.tx(ctx, func(tx *sql.Tx) error { return s.createInvitation(ctx, tx, &inv, n.SecretHash) })
	if err != nil {
		return Invitation{}, fmt.Errorf("create %s link: %w", n.Kind, err)
	}
	return inv, nil
}

func (s *Store) createInvitation(ctx context.Context, tx *sql.Tx, inv *Invitation, secretHash []byte) error {
	var userID any
	subject := inv.Email
	switch inv.Kind {
	case InvitationSetup:
		inv.Role = RoleAdmin
		if has, err := hasAdmin(ctx, tx); err != nil || has {
			return orConflict(err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitations WHERE kind = 'setup'`); err != nil {
			return err
		}
	case InvitationPassword:
		userID = inv.UserID
		err := tx.QueryRowContext(ctx, `SELECT email, role FROM users WHERE id = ? AND deactivated_at IS NULL`, inv.UserID).Scan(&inv.Email, &inv.Role)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitations WHERE user_id = ?`, inv.UserID); err != nil {
			return err
		}
		subject = inv.Email
	default:
		if err := s.checkInvite(ctx, tx, inv); err != nil {
			return err
		}
		subject = inv.Email
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO invitations (id, kind, secret_hash, email, role, user_id, created_by, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, inv.ID, inv.Kind, secretHash, inv.Email, inv.Role, userID, inv.CreatedBy,
		inv.CreatedAt.UnixNano(), inv.ExpiresAt.UnixNano())
	if err != nil {
		return err
	}
	if inv.Kind == InvitationSetup {
		return nil // printed at each start: no news
	}
	return s.addAudit(ctx, tx, AuditEntry{Action: string(inv.Kind) + "_link.created", Subject: subject, Detail: "role " + string(inv.Role)})
}

func orConflict(err error) error {
	if err != nil {
		return err
	}
	return ErrConflict
}

func (s *Store) checkInvite(ctx context.Context, tx *sql.Tx, inv *Invitation) error {
	if err := cleanRole(inv.Role); err != nil {
		return err
	}
	if inv.Email == "" {
		return nil
	}
	email, err := CleanEmail(inv.Email)
	if err != nil {
		return err
	}
	inv.Email = email
	var taken bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE email = ?)`, email).Scan(&taken); err != nil {
		return err
	}
	if taken {
		return &InvalidError{"email", "There is already an account with this address."}
	}
	return nil
}

const invitationColumns = `id, kind, email, role, COALESCE(user_id, ''), created_by, created_at, expires_at`

func scanInvitation(row interface{ Scan(...any) error }) (Invitation, error) {
	var inv Invitation
	var created, expires int64
	err := row.Scan(&inv.ID, &inv.Kind, &inv.Email, &inv.Role, &inv.UserID, &inv.CreatedBy, &created, &expires)
	if err != nil {
		return Invitation{}, translate(err)
	}
	inv.CreatedAt, inv.ExpiresAt = timeOf(created), timeOf(expires)
	return inv, nil
}

// InvitationByHash returns the link with the code of this hash, or
// [ErrNotFound] if it is unknown, used or expired.
func (s *Store) InvitationByHash(ctx context.Context, secretHash []byte) (Invitation, error) {
	inv, err := scanInvitation(s.read.QueryRowContext(ctx, `SELECT `+invitationColumns+` FROM invitations
		WHERE secret_hash = ? AND used_at IS NULL AND expires_at > ?`, secretHash, s.nowNano()))
	if err != nil {
		return Invitation{}, fmt.Errorf("link: %w", err)
	}
	return inv, nil
}

// FindInvitations returns the invitations and password links that can still be
// used, the newest first.
func (s *Store) FindInvitations(ctx context.Context) ([]Invitation, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+invitationColumns+` FROM invitations
		WHERE kind <> 'setup' AND used_at IS NULL AND expires_at > ? ORDER BY created_at DESC, id`, s.nowNano())
	if err != nil {
		return nil, fmt.Errorf("find invitations: %w", err)
	}
	defer rows.Close()
	var list []Invitation
	for rows.Next() {
		inv, err := scanInvitation(rows)
		if err != nil {
			return nil, fmt.Errorf("find invitations: %w", err)
		}
		list = append(list, inv)
	}
	return list, rows.Err()
}

// DeleteInvitation takes a link back.
func (s *Store) DeleteInvitation(ctx context.Context, id string) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var kind, email string
		err := tx.QueryRowContext(ctx, `DELETE FROM invitations WHERE id = ? AND used_at IS NULL RETURNING kind, email`, id).Scan(&kind, &email)
		if err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: kind + "_link.deleted", Subject: email})
	})
	if err != nil {
		return fmt.Errorf("delete link %s: %w", id, err)
	}
	return nil
}

// UseInvitation lets the person in: it makes the account, or sets the password
// of the one the link is for, and uses the link up, all or nothing. Of two who
// use a link at once, one gets [ErrNotFound]. A setup link no longer works
// once there is an administrator. An address the link names wins over n.Email;
// the role is always the link's.
func (s *Store) UseInvitation(ctx context.Context, secretHash []byte, n NewUser) (User, error) {
	var u User
	err := s.tx(ctx, func(tx *sql.Tx) error {
		now := s.nowNano()
		inv, err := scanInvitation(tx.QueryRowContext(ctx, `UPDATE invitations SET used_at = ?
			WHERE secret_hash = ? AND used_at IS NULL AND expires_at > ? RETURNING `+invitationColumns, now, secretHash, now))
		if err != nil {
			return err
		}
		n.Role = inv.Role
		if inv.Email != "" {
			n.Email = inv.Email
		}
		switch inv.Kind {
		case InvitationPassword:
			if u, err = scanUser(tx.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = ? AND u.deactivated_at IS NULL`, inv.UserID)); err != nil {
				return err
			}
			return s.setPassword(WithActor(ctx, actorOf(u)), tx, u.ID, n.PasswordHash, "")
		case InvitationSetup:
			if has, err := hasAdmin(ctx, tx); err != nil || has {
				if err == nil {
					err = ErrNotFound
				}
				return err
			}
		}
		// In the audit log, people who come by a link made their account themselves.
		u, err = s.createUser(WithActor(ctx, Actor{Kind: ActorUser, Name: n.Name}), tx, n)
		return err
	})
	if err != nil {
		return User{}, fmt.Errorf("use link: %w", err)
	}
	s.tellSignedOut(u.ID) // a new password ends the sessions there were
	return u, nil
}

func actorOf(u User) Actor { return Actor{Kind: ActorUser, ID: u.ID, Name: u.Name, Role: u.Role} }
