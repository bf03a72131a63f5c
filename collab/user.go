package collab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what people may be called.
const (
	maxNameRunes  = 80  // fits the menus
	maxEmailBytes = 254 // RFC 5321 §4.5.3.1.3, without the angle brackets
)

// User is an account of a person.
type User struct {
	ID            string // "u_…"
	Email         string // lower case, unique
	Name          string
	Role          Role
	HasPassword   bool
	CreatedAt     time.Time
	DeactivatedAt time.Time // zero: active
	LastUsedAt    time.Time // of the newest session; zero: none
}

// Active reports whether the person may sign in.
func (u User) Active() bool { return u.DeactivatedAt.IsZero() }

// NewUser is what makes an account. PasswordHash may be empty: the person
// chooses a password by a link.
type NewUser struct {
	Email, Name  string
	Role         Role
	PasswordHash string
}

// UserUpdate names what changes; nil leaves it as it is.
type UserUpdate struct {
	Name   *string
	Role   *Role
	Active *bool
}

// CleanEmail returns the address as it is stored, or an [InvalidError].
func CleanEmail(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	at := strings.LastIndexByte(s, '@')
	bad := at < 1 || at == len(s)-1 || len(s) > maxEmailBytes || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`<>"(),;:\`, r)
		})
	if bad {
		return "", &InvalidError{"email", "Write an email address, such as ada@example.com."}
	}
	return s, nil
}

// CleanName returns a name as it is stored, or an [InvalidError].
func CleanName(s string) (string, error) {
	s = strings.Join(strings.Fields(s), " ")
	switch {
	case s == "":
		return "", &InvalidError{"name", "Write a name."}
	case utf8.RuneCountInString(s) > maxNameRunes:
		return "", &InvalidError{"name", fmt.Sprintf("Use at most %d characters for the name.", maxNameRunes)}
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", &InvalidError{"name", "Use letters, digits and signs for the name."}
	}
	return s, nil
}

func cleanRole(r Role) error {
	if !r.Valid() {
		return &InvalidError{"role", "Choose viewer, member or admin."}
	}
	return nil
}

// CreateUser makes an account. An address that is taken is an [InvalidError].
func (s *Store) CreateUser(ctx context.Context, n NewUser) (User, error) {
	var u User
	err := s.tx(ctx, func(tx *sql.Tx) (err error) {
		u, err = s.createUser(ctx, tx, n)
		return err
	})
	if err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	return u, nil
}

func (s *Store) createUser(ctx context.Context, tx *sql.Tx, n NewUser) (User, error) {
	email, err := CleanEmail(n.Email)
	if err != nil {
		return User{}, err
	}
	name, err := CleanName(n.Name)
	if err != nil {
		return User{}, err
	}
	if err := cleanRole(n.Role); err != nil {
		return User{}, err
	}
	u := User{ID: newID("u_"), Email: email, Name: name, Role: n.Role, HasPassword: n.PasswordHash != "", CreatedAt: s.now().UTC()}
	_, err = tx.ExecContext(ctx, `INSERT INTO users (id, email, name, role, password_hash, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		u.ID, u.Email, u.Name, u.Role, n.PasswordHash, u.CreatedAt.UnixNano())
	if errors.Is(translate(err), ErrConflict) {
		return User{}, &InvalidError{"email", "There is already an account with this address."}
	}
	if err != nil {
		return User{}, err
	}
	return u, s.addAudit(ctx, tx, AuditEntry{Action: "user.created", Subject: u.Email, Detail: "role " + string(u.Role)})
}

const userColumns = `u.id, u.email, u.name, u.role, u.password_hash <> '', u.created_at, u.deactivated_at,
	(SELECT MAX(last_used_at) FROM sessions WHERE user_id = u.id)`

func scanUser(row interface{ Scan(...any) error }, more ...any) (User, error) {
	var (
		u                 User
		created           int64
		deactivated, used sql.NullInt64
	)
	dest := append([]any{&u.ID, &u.Email, &u.Name, &u.Role, &u.HasPassword, &created, &deactivated, &used}, more...)
	if err := row.Scan(dest...); err != nil {
		return User{}, translate(err)
	}
	u.CreatedAt, u.DeactivatedAt, u.LastUsedAt = timeOf(created), timeOrZero(deactivated), timeOrZero(used)
	return u, nil
}

func timeOf(nano int64) time.Time { return time.Unix(0, nano).UTC() }

func timeOrZero(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return timeOf(n.Int64)
}

// UserByID returns an account, active or not.
func (s *Store) UserByID(ctx context.Context, id string) (User, error) {
	u, err := scanUser(s.read.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = ?`, id))
	if err != nil {
		return User{}, fmt.Errorf("user %s: %w", id, err)
	}
	return u, nil
}

// UserByEmail returns an account, active or not, with its password hash.
func (s *Store) UserByEmail(ctx context.Context, email string) (User, string, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	var hash string
	u, err := scanUser(s.read.QueryRowContext(ctx, `SELECT `+userColumns+`, u.password_hash FROM users u WHERE u.email = ?`, email), &hash)
	if err != nil {
		return User{}, "", fmt.Errorf("user by email: %w", err)
	}
	return u, hash, nil
}

// PasswordHash returns the stored hash of a user's password.
func (s *Store) PasswordHash(ctx context.Context, userID string) (string, error) {
	var hash string
	err := s.read.QueryRowContext(ctx, `SELECT password_hash FROM users WHERE id = ?`, userID).Scan(&hash)
	if err != nil {
		return "", fmt.Errorf("password of user %s: %w", userID, translate(err))
	}
	return hash, nil
}

// FindUsers returns all accounts by name, the active ones first.
func (s *Store) FindUsers(ctx context.Context) ([]User, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+userColumns+` FROM users u ORDER BY u.deactivated_at IS NOT NULL, u.name COLLATE NOCASE, u.id`)
	if err != nil {
		return nil, fmt.Errorf("find users: %w", err)
	}
	defer rows.Close()
	var list []User
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, fmt.Errorf("find users: %w", err)
		}
		list = append(list, u)
	}
	return list, rows.Err()
}

// HasAdmin reports whether there is an active administrator with a password.
func (s *Store) HasAdmin(ctx context.Context) (bool, error) {
	return hasAdmin(ctx, s.read)
}

func hasAdmin(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (bool, error) {
	var ok bool
	err := q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users
		WHERE role = 'admin' AND deactivated_at IS NULL AND password_hash <> '')`).Scan(&ok)
	if err != nil {
		return false, fmt.Errorf("look for an administrator: %w", err)
	}
	return ok, nil
}

// UpdateUser changes an account. Deactivating it closes its sessions. What
// would leave no administrator who can sign in is an [InvalidError].
func (s *Store) UpdateUser(ctx context.Context, id string, up UserUpdate) (User, error) {
	var u User
	err := s.tx(ctx, func(tx *sql.Tx) error {
		had, err := hasAdmin(ctx, tx)
		if err != nil {
			return err
		}
		if u, err = scanUser(tx.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = ?`, id)); err != nil {
			return err
		}
		if err := s.applyUserUpdate(ctx, tx, &u, up); err != nil {
			return err
		}
		has, err := hasAdmin(ctx, tx)
		if err == nil && had && !has {
			err = &InvalidError{"role", "This is the last administrator. Make somebody else an administrator first."}
		}
		return err
	})
	if err != nil {
		return User{}, fmt.Errorf("update user %s: %w", id, err)
	}
	s.tellSignedOut(id)
	return u, nil
}

func (s *Store) applyUserUpdate(ctx context.Context, tx *sql.Tx, u *User, up UserUpdate) error {
	var audit []AuditEntry
	if up.Name != nil {
		name, err := CleanName(*up.Name)
		if err != nil {
			return err
		}
		u.Name = name
	}
	if up.Role != nil && *up.Role != u.Role {
		if err := cleanRole(*up.Role); err != nil {
			return err
		}
		audit = append(audit, AuditEntry{Action: "user.role_changed", Subject: u.Email, Detail: fmt.Sprintf("%s → %s", u.Role, *up.Role)})
		u.Role = *up.Role
	}
	var deactivated any
	if !u.Active() {
		deactivated = u.DeactivatedAt.UnixNano()
	}
	switch {
	case up.Active == nil || *up.Active == u.Active():
	case *up.Active:
		u.DeactivatedAt, deactivated = time.Time{}, nil
		audit = append(audit, AuditEntry{Action: "user.reactivated", Subject: u.Email})
	default:
		u.DeactivatedAt = s.now().UTC()
		deactivated = u.DeactivatedAt.UnixNano()
		audit = append(audit, AuditEntry{Action: "user.deactivated", Subject: u.Email})
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE user_id = ?`, u.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM invitations WHERE user_id = ? AND used_at IS NULL`, u.ID); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE users SET name = ?, role = ?, deactivated_at = ? WHERE id = ?`, u.Name, u.Role, deactivated, u.ID); err != nil {
		return err
	}
	for _, e := range audit {
		if err := s.addAudit(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// SetPassword stores a new password hash and closes the user's sessions but
// the one to keep.
func (s *Store) SetPassword(ctx context.Context, userID, hash, keepSession string) error {
	err := s.tx(ctx, func(tx *sql.Tx) error { return s.setPassword(ctx, tx, userID, hash, keepSession) })
	if err != nil {
		return fmt.Errorf("set password of user %s: %w", userID, err)
	}
	s.tellSignedOut(userID)
	return nil
}

func (s *Store) setPassword(ctx context.Context, tx *sql.Tx, userID, hash, keepSession string) error {
	var email string
	err := tx.QueryRowContext(ctx, `UPDATE users SET password_hash = ? WHERE id = ? RETURNING email`, hash, userID).Scan(&email)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE user_id = ? AND id <> ?`, userID, keepSession); err != nil {
		return err
	}
	return s.addAudit(ctx, tx, AuditEntry{Action: "user.password_changed", Subject: email})
}
