// Package auth decides who comes in: passwords, sessions, tokens, ingest keys
// and the links that make accounts. It keeps no state of its own but the
// counters of sign-in attempts and a short memory of ingest keys; everything
// else is in the [collab.Store].
//
// Secrets are random and stored as SHA-256; passwords are stored as argon2id. A
// secret is returned once, by the method that makes it.
package auth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"redthread/collab"
)

// How long things last.
const (
	SessionLifetime    = 90 * 24 * time.Hour // at most, however it is used
	SessionIdle        = 14 * 24 * time.Hour // without use
	InvitationLifetime = 7 * 24 * time.Hour
	PasswordLifetime   = 24 * time.Hour // of a link to choose a password
	SetupLifetime      = 15 * time.Minute
)

// keyMemory is how long an ingest key is believed without asking the database:
// a busy exporter sends thousands of requests a second. A key that another
// process revokes works for as long.
const (
	keyMemory     = time.Second
	maxKeysInMind = 1024 // beyond it all are forgotten
)

// ErrSignIn says that address and password do not belong together. It does not
// say which of them is wrong.
var ErrSignIn = errors.New("auth: wrong address or password")

// Options opens a [Service]. The zero values are usable.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
}

// Service lets people and programs in. Its methods may be called from several
// goroutines.
type Service struct {
	store *collab.Store
	now   func() time.Time
	log   *slog.Logger
	tries *limiter

	mu        sync.Mutex
	keys      map[string]knownKey // by secret hash; "": without a key
	forgotten int                 // how often all were
}

type knownKey struct {
	sender Sender
	until  time.Time
}

// Sender is what comes by an ingest key, or without one.
type Sender struct {
	Environment string // "": each resource says it
	// Lists say what becomes of attributes before they are stored.
	Lists collab.AttributeLists
}

// New returns a service over the store.
func New(store *collab.Store, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{store: store, now: o.Now, log: o.Log, tries: newLimiter(), keys: map[string]knownKey{}}
}

// Client is where an attempt comes from.
type Client struct {
	Address   string
	UserAgent string
}

// SignIn checks address and password and opens a session. It returns the
// session's secret, for the cookie. Wrong ones are [ErrSignIn], too many a
// [LimitedError].
func (s *Service) SignIn(ctx context.Context, email, password string, from Client) (string, collab.User, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	if err := s.countAttempt(email, from.Address); err != nil {
		return "", collab.User{}, err
	}
	user, hash, err := s.store.UserByEmail(ctx, email)
	if err != nil && !errors.Is(err, collab.ErrNotFound) {
		return "", collab.User{}, err
	}
	if !user.Active() {
		hash = ""
	}
	ok, err := verifyPassword(ctx, hash, password)
	if err != nil {
		return "", collab.User{}, err
	}
	if !ok {
		audit := collab.AuditEntry{Action: "session.refused", Subject: clip(email), Address: from.Address}
		return "", collab.User{}, errors.Join(ErrSignIn, s.store.AddAudit(ctx, audit))
	}
	s.tries.forget(accountKey(email))
	s.tries.giveBack(addressKey(from.Address))
	secret, err := s.openSession(ctx, user, from)
	return secret, user, err
}

func accountKey(email string) string   { return "account " + clip(email) }
func addressKey(address string) string { return "address " + address }

func clip(s string) string {
	if len(s) > 254 {
		s = s[:254]
	}
	return strings.ToValidUTF8(s, "�")
}

func (s *Service) countAttempt(email, address string) error {
	now := s.now()
	if wait := s.tries.take(addressKey(address), maxAddressTries, now); wait > 0 {
		return &LimitedError{wait}
	}
	if wait := s.tries.take(accountKey(email), maxAccountTries, now); wait > 0 {
		return &LimitedError{wait}
	}
	return nil
}

func (s *Service) openSession(ctx context.Context, u collab.User, from Client) (string, error) {
	secret := newSecret("")
	_, err := s.store.CreateSession(ctx, collab.NewSession{UserID: u.ID, SecretHash: hashSecret(secret),
		Address: from.Address, UserAgent: from.UserAgent, Lifetime: SessionLifetime})
	return secret, err
}

// ActorBySession returns who is signed in with the secret, or
// [collab.ErrNotFound].
func (s *Service) ActorBySession(ctx context.Context, secret string) (collab.Actor, error) {
	return s.store.ActorBySession(ctx, hashSecret(secret), SessionIdle)
}

// ActorByToken returns the token as an actor, or [collab.ErrNotFound].
func (s *Service) ActorByToken(ctx context.Context, secret string) (collab.Actor, error) {
	return s.store.ActorByToken(ctx, hashSecret(secret))
}

// CurrentActor looks again at an actor that was let in earlier; see
// [collab.Store.CurrentActor].
func (s *Service) CurrentActor(ctx context.Context, a collab.Actor) (collab.Actor, error) {
	return s.store.CurrentActor(ctx, a)
}

// SignOut closes the session of the actor. A token has none.
func (s *Service) SignOut(ctx context.Context, a collab.Actor) error {
	if a.SessionID == "" {
		return nil
	}
	err := s.store.DeleteSession(ctx, a.ID, a.SessionID)
	if errors.Is(err, collab.ErrNotFound) {
		return nil
	}
	return err
}

// CreateUser makes an account. With an empty password the person needs a link
// from [Service.CreatePasswordLink] to choose one.
func (s *Service) CreateUser(ctx context.Context, email, name string, role collab.Role, password string) (collab.User, error) {
	n := collab.NewUser{Email: email, Name: name, Role: role}
	if password != "" {
		hash, err := s.newHash(ctx, password, email)
		if err != nil {
			return collab.User{}, err
		}
		n.PasswordHash = hash
	}
	return s.store.CreateUser(ctx, n)
}

func (s *Service) newHash(ctx context.Context, password, email string) (string, error) {
	if err := CheckPassword(password, email); err != nil {
		return "", err
	}
	return HashPassword(ctx, password)
}

// SetPassword gives a user a new password and closes all their sessions. It is
// for the command line; people use [Service.ChangePassword] or a link.
func (s *Service) SetPassword(ctx context.Context, u collab.User, password string) error {
	hash, err := s.newHash(ctx, password, u.Email)
	if err != nil {
		return err
	}
	return s.store.SetPassword(ctx, u.ID, hash, "")
}

// ChangePassword gives the actor a new password if the current one is right,
// and closes their other sessions.
func (s *Service) ChangePassword(ctx context.Context, a collab.Actor, current, password string, from Client) error {
	if a.Kind != collab.ActorUser {
		return collab.ErrForbidden
	}
	u, err := s.store.UserByID(ctx, a.ID)
	if err != nil {
		return err
	}
	if err := s.countAttempt(u.Email, from.Address); err != nil {
		return err
	}
	old, err := s.store.PasswordHash(ctx, a.ID)
	if err != nil {
		return err
	}
	ok, err := verifyPassword(ctx, old, current)
	if err != nil {
		return err
	}
	if !ok {
		return &collab.InvalidError{Field: "current", Message: "This is not your current password."}
	}
	s.tries.forget(accountKey(u.Email))
	s.tries.giveBack(addressKey(from.Address))
	hash, err := s.newHash(ctx, password, u.Email)
	if err != nil {
		return err
	}
	return s.store.SetPassword(ctx, a.ID, hash, a.SessionID)
}

// CreateInvitation makes a link that makes one account with the role. With an
// email it is for that address only. The code is the last part of the link.
func (s *Service) CreateInvitation(ctx context.Context, email string, role collab.Role) (code string, err error) {
	code = newSecret("")
	_, err = s.store.CreateInvitation(ctx, collab.NewInvitation{Kind: collab.InvitationInvite, Email: strings.TrimSpace(email),
		Role: role, SecretHash: hashSecret(code), Lifetime: InvitationLifetime})
	return code, err
}

// CreatePasswordLink makes a link by which the user chooses a password.
func (s *Service) CreatePasswordLink(ctx context.Context, userID string) (code string, err error) {
	code = newSecret("")
	_, err = s.store.CreateInvitation(ctx, collab.NewInvitation{Kind: collab.InvitationPassword, UserID: userID,
		SecretHash: hashSecret(code), Lifetime: PasswordLifetime})
	return code, err
}

// FirstAdminCode makes the link that makes the first administrator, at
// /welcome?code=CODE, and returns its code, or "" if there is one already. A
// new link replaces the one before.
func (s *Service) FirstAdminCode(ctx context.Context) (string, error) {
	code := newSecret("")
	_, err := s.store.CreateInvitation(ctx, collab.NewInvitation{Kind: collab.InvitationSetup,
		SecretHash: hashSecret(code), Lifetime: SetupLifetime})
	if errors.Is(err, collab.ErrConflict) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return code, nil
}

// Invitation returns the link of a code, or [collab.ErrNotFound] if it is
// unknown, used or expired.
func (s *Service) Invitation(ctx context.Context, code string) (collab.Invitation, error) {
	return s.store.InvitationByHash(ctx, hashSecret(code))
}

// UseInvitation makes the account of a link, or sets its password, and signs
// the person in. It returns the session's secret.
func (s *Service) UseInvitation(ctx context.Context, code, email, name, password string, from Client) (string, collab.User, error) {
	inv, err := s.Invitation(ctx, code)
	if err != nil {
		return "", collab.User{}, err
	}
	if inv.Email != "" {
		email = inv.Email
	}
	if inv.Kind != collab.InvitationPassword { // tell what is wrong from the top of the form down
		if _, err := collab.CleanEmail(email); err != nil {
			return "", collab.User{}, err
		}
		if _, err := collab.CleanName(name); err != nil {
			return "", collab.User{}, err
		}
	}
	hash, err := s.newHash(ctx, password, email)
	if err != nil {
		return "", collab.User{}, err
	}
	u, err := s.store.UseInvitation(ctx, hashSecret(code), collab.NewUser{Email: email, Name: name, PasswordHash: hash})
	if err != nil {
		return "", collab.User{}, err
	}
	s.tries.forget(accountKey(u.Email))
	secret, err := s.openSession(ctx, u, from)
	return secret, u, err
}

// CreateToken makes an API token and returns its secret. A lifetime of 0 is for
// ever.
func (s *Service) CreateToken(ctx context.Context, name string, role collab.Role, lifetime time.Duration) (string, collab.Token, error) {
	secret := newSecret(tokenPrefix)
	t, err := s.store.CreateToken(ctx, collab.NewToken{Name: name, Role: role, SecretHash: hashSecret(secret), Hint: hint(secret), Lifetime: lifetime})
	if err != nil {
		return "", collab.Token{}, err
	}
	return secret, t, nil
}

// CreateIngestKey makes an ingest key for an environment, or for any with
// [collab.AnyEnvironment], and returns its secret.
func (s *Service) CreateIngestKey(ctx context.Context, name, environment string, lists collab.AttributeLists) (string, collab.IngestKey, error) {
	secret := newSecret(keyPrefix)
	k, err := s.store.CreateIngestKey(ctx, collab.NewIngestKey{Name: name, Environment: environment, SecretHash: hashSecret(secret),
		Hint: hint(secret), Lists: lists})
	if err != nil {
		return "", collab.IngestKey{}, err
	}
	return secret, k, nil
}

// RevokeIngestKey makes a key invalid; in this process at once.
func (s *Service) RevokeIngestKey(ctx context.Context, id string) error {
	defer s.forgetKeys()
	return s.store.RevokeIngestKey(ctx, id)
}

// UpdateKeyLists sets what becomes of the attributes that come with a key, or
// without one if id is empty; in this process at once.
func (s *Service) UpdateKeyLists(ctx context.Context, id string, lists collab.AttributeLists) error {
	defer s.forgetKeys()
	if id == "" {
		return s.store.UpdateKeylessLists(ctx, lists)
	}
	return s.store.UpdateKeyLists(ctx, id, lists)
}

// forgetKeys makes the next request of each key ask the database. A look-up that is
// under way remembers nothing.
func (s *Service) forgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
	s.forgotten++
}

// IngestKey returns what comes by the key. ok is false if the key is unknown or
// revoked.
func (s *Service) IngestKey(ctx context.Context, secret string) (_ Sender, ok bool, err error) {
	hash := hashSecret(secret)
	sender, err := s.remembered(string(hash), func() (sender Sender, err error) {
		k, err := s.store.IngestKeyByHash(ctx, hash)
		if k.Environment != collab.AnyEnvironment {
			sender.Environment = k.Environment
		}
		sender.Lists = k.Lists
		return sender, err
	})
	if errors.Is(err, collab.ErrNotFound) {
		return Sender{}, false, nil
	}
	return sender, err == nil, err
}

// Keyless returns what comes without a key, where none is asked for.
func (s *Service) Keyless(ctx context.Context) (Sender, error) {
	return s.remembered("", func() (sender Sender, err error) {
		sender.Lists, err = s.store.KeylessLists(ctx)
		return sender, err
	})
}

// HashSecret is what attributes are hashed by; see [collab.Store.HashSecret].
func (s *Service) HashSecret(ctx context.Context) ([]byte, error) { return s.store.HashSecret(ctx) }

// remembered returns what is known of a key, or looks it up.
func (s *Service) remembered(key string, look func() (Sender, error)) (Sender, error) {
	now := s.now()
	s.mu.Lock()
	known, ok := s.keys[key]
	forgotten := s.forgotten
	s.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.sender, nil
	}
	sender, err := look()
	if err != nil {
		return Sender{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgotten != forgotten {
		return sender, nil
	}
	if len(s.keys) >= maxKeysInMind {
		clear(s.keys)
	}
	s.keys[key] = knownKey{sender: sender, until: now.Add(keyMemory)}
	return sender, nil
}
