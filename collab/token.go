package collab

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// Token lets a program in; it is an actor of its own.
type Token struct {
	ID         string // "t_…", not the secret
	Name       string
	Role       Role
	Hint       string // the last characters of the secret
	CreatedBy  string // a name, as it was then
	CreatedAt  time.Time
	LastUsedAt time.Time // zero: never
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time // zero: valid
}

// NewToken is what makes a token. SecretHash is the SHA-256 of its secret.
type NewToken struct {
	Name       string
	Role       Role
	SecretHash []byte
	Hint       string
	Lifetime   time.Duration // 0: for ever
}

// actorName is who did it, for lists that outlive the account.
func actorName(ctx context.Context) string {
	if a, ok := ActorFrom(ctx); ok {
		return a.Name
	}
	return "command line"
}

// CreateToken makes a token.
func (s *Store) CreateToken(ctx context.Context, n NewToken) (Token, error) {
	name, err := CleanName(n.Name)
	if err == nil {
		err = cleanRole(n.Role)
	}
	if err != nil {
		return Token{}, fmt.Errorf("create token: %w", err)
	}
	t := Token{ID: newID("t_"), Name: name, Role: n.Role, Hint: n.Hint, CreatedBy: actorName(ctx), CreatedAt: s.now().UTC()}
	var expires any
	if n.Lifetime > 0 {
		t.ExpiresAt = t.CreatedAt.Add(n.Lifetime)
		expires = t.ExpiresAt.UnixNano()
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tokens (id, secret_hash, hint, name, role, created_by, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, t.ID, n.SecretHash, t.Hint, t.Name, t.Role, t.CreatedBy, t.CreatedAt.UnixNano(), expires)
		if err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "token.created", Subject: t.Name, Detail: "role " + string(t.Role)})
	})
	if err != nil {
		return Token{}, fmt.Errorf("create token: %w", err)
	}
	return t, nil
}

// ActorByToken returns the token with the secret of this hash as an actor, or
// [ErrNotFound] if it is unknown, revoked or expired.
func (s *Store) ActorByToken(ctx context.Context, secretHash []byte) (Actor, error) {
	now := s.now()
	a := Actor{Kind: ActorToken}
	var used sql.NullInt64
	err := s.read.QueryRowContext(ctx, `SELECT id, name, role, last_used_at FROM tokens
		WHERE secret_hash = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)`,
		secretHash, now.UnixNano()).Scan(&a.ID, &a.Name, &a.Role, &used)
	if err != nil {
		return Actor{}, fmt.Errorf("token: %w", translate(err))
	}
	if now.Sub(timeOrZero(used)) >= touchEvery {
		s.touch(ctx, "tokens", a.ID)
	}
	return a, nil
}

// FindTokens returns the tokens that are not revoked, the newest first. Expired
// ones are among them.
func (s *Store) FindTokens(ctx context.Context) ([]Token, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, name, role, hint, created_by, created_at, last_used_at, expires_at
		FROM tokens WHERE revoked_at IS NULL ORDER BY created_at DESC, id`)
	if err != nil {
		return nil, fmt.Errorf("find tokens: %w", err)
	}
	defer rows.Close()
	var list []Token
	for rows.Next() {
		var t Token
		var created int64
		var used, expires sql.NullInt64
		if err := rows.Scan(&t.ID, &t.Name, &t.Role, &t.Hint, &t.CreatedBy, &created, &used, &expires); err != nil {
			return nil, fmt.Errorf("find tokens: %w", err)
		}
		t.CreatedAt, t.LastUsedAt, t.ExpiresAt = timeOf(created), timeOrZero(used), timeOrZero(expires)
		list = append(list, t)
	}
	return list, rows.Err()
}

// RevokeToken makes a token invalid at once.
func (s *Store) RevokeToken(ctx context.Context, id string) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var name string
		err := tx.QueryRowContext(ctx, `UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL RETURNING name`,
			s.nowNano(), id).Scan(&name)
		if err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "token.revoked", Subject: name})
	})
	if err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	s.tellSignedOut(id)
	return nil
}

// IngestKey lets exporters send. What comes by it belongs to its environment;
// with [AnyEnvironment] the resource says which.
type IngestKey struct {
	ID          string // "k_…", not the secret
	Name        string
	Environment string
	Hint        string
	CreatedBy   string
	CreatedAt   time.Time
	LastUsedAt  time.Time // zero: never
	Lists       AttributeLists
}

// AnyEnvironment, as the environment of an ingest key, takes the environment
// from the resource of what is sent.
const AnyEnvironment = "*"

const maxEnvironmentBytes = 64

// NewIngestKey is what makes an ingest key. An empty Name is that of the
// environment.
type NewIngestKey struct {
	Name        string
	Environment string
	SecretHash  []byte
	Hint        string
	Lists       AttributeLists
}

func cleanEnvironment(env string) (string, error) {
	env = strings.TrimSpace(env)
	if env == AnyEnvironment {
		return env, nil
	}
	bad := env == "" || len(env) > maxEnvironmentBytes || strings.ContainsFunc(env, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./", r)
	})
	if bad {
		return "", &InvalidError{"environment", fmt.Sprintf(
			"Write an environment such as production-uk (letters, digits, - _ . /, at most %d), or * to take it from the resource.", maxEnvironmentBytes)}
	}
	return env, nil
}

// CreateIngestKey makes an ingest key.
func (s *Store) CreateIngestKey(ctx context.Context, n NewIngestKey) (IngestKey, error) {
	env, err := cleanEnvironment(n.Environment)
	if err != nil {
		return IngestKey{}, fmt.Errorf("create ingest key: %w", err)
	}
	if strings.TrimSpace(n.Name) == "" {
		n.Name = env
		if env == AnyEnvironment {
			n.Name = "any environment"
		}
	}
	name, err := CleanName(n.Name)
	if err != nil {
		return IngestKey{}, fmt.Errorf("create ingest key: %w", err)
	}
	lists, err := n.Lists.clean()
	if err != nil {
		return IngestKey{}, fmt.Errorf("create ingest key: %w", err)
	}
	k := IngestKey{ID: newID("k_"), Name: name, Environment: env, Hint: n.Hint, CreatedBy: actorName(ctx), CreatedAt: s.now().UTC(), Lists: lists}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO ingest_keys (id, secret_hash, hint, name, environment, created_by, created_at, drop_names, hash_names)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, k.ID, n.SecretHash, k.Hint, k.Name, k.Environment, k.CreatedBy, k.CreatedAt.UnixNano(), lists.Drop, lists.Hash)
		if err != nil {
			return err
		}
		detail := "environment " + k.Environment
		if lists != (AttributeLists{}) {
			detail += "; " + lists.words()
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "key.created", Subject: k.Name, Detail: detail})
	})
	if err != nil {
		return IngestKey{}, fmt.Errorf("create ingest key: %w", err)
	}
	return k, nil
}

// IngestKeyByHash returns the key with the secret of this hash, or
// [ErrNotFound] if it is unknown or revoked.
func (s *Store) IngestKeyByHash(ctx context.Context, secretHash []byte) (IngestKey, error) {
	now := s.now()
	var k IngestKey
	var used sql.NullInt64
	err := s.read.QueryRowContext(ctx, `SELECT id, name, environment, last_used_at, drop_names, hash_names FROM ingest_keys
		WHERE secret_hash = ? AND revoked_at IS NULL`, secretHash).Scan(&k.ID, &k.Name, &k.Environment, &used, &k.Lists.Drop, &k.Lists.Hash)
	if err != nil {
		return IngestKey{}, fmt.Errorf("ingest key: %w", translate(err))
	}
	k.LastUsedAt = timeOrZero(used)
	if now.Sub(k.LastUsedAt) >= touchEvery {
		s.touch(ctx, "ingest_keys", k.ID)
	}
	return k, nil
}

// FindIngestKeys returns the keys that are not revoked, the newest first.
func (s *Store) FindIngestKeys(ctx context.Context) ([]IngestKey, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, name, environment, hint, created_by, created_at, last_used_at, drop_names, hash_names
		FROM ingest_keys WHERE revoked_at IS NULL ORDER BY created_at DESC, id`)
	if err != nil {
		return nil, fmt.Errorf("find ingest keys: %w", err)
	}
	defer rows.Close()
	var list []IngestKey
	for rows.Next() {
		var k IngestKey
		var created int64
		var used sql.NullInt64
		if err := rows.Scan(&k.ID, &k.Name, &k.Environment, &k.Hint, &k.CreatedBy, &created, &used, &k.Lists.Drop, &k.Lists.Hash); err != nil {
			return nil, fmt.Errorf("find ingest keys: %w", err)
		}
		k.CreatedAt, k.LastUsedAt = timeOf(created), timeOrZero(used)
		list = append(list, k)
	}
	return list, rows.Err()
}

// RevokeIngestKey makes a key invalid at once.
func (s *Store) RevokeIngestKey(ctx context.Context, id string) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var name string
		err := tx.QueryRowContext(ctx, `UPDATE ingest_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL RETURNING name`,
			s.nowNano(), id).Scan(&name)
		if err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "key.revoked", Subject: name})
	})
	if err != nil {
		return fmt.Errorf("revoke ingest key %s: %w", id, err)
	}
	return nil
}
