package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"redthread/collab"
)

const goodPassword = "four words in a row"

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func open(t *testing.T) (*Service, *collab.Store, *clock) {
	t.Helper()
	c := &clock{t: time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)}
	store, err := collab.Open(t.Context(), collab.Options{Path: filepath.Join(t.TempDir(), "redthread.db"), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(store.Check(context.Background()), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return New(store, Options{Now: c.Now}), store, c
}

func TestHashPassword(t *testing.T) {
	a, err := HashPassword(t.Context(), goodPassword)
	if err != nil || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("hash: got %q, %v", a, err)
	}
	if b, _ := HashPassword(t.Context(), goodPassword); a == b {
		t.Error("two hashes of one password are the same: no salt")
	}
	for password, want := range map[string]bool{goodPassword: true, goodPassword + " ": false, "": false, strings.Repeat("x", 2000): false} {
		if got, err := verifyPassword(t.Context(), a, password); err != nil || got != want {
			t.Errorf("verify %.30q: got %v, %v, want %v", password, got, err, want)
		}
	}
	if got, err := verifyPassword(t.Context(), "", ""); err != nil || got {
		t.Errorf("an account without a password lets in: %v, %v", got, err)
	}
	for _, bad := range []string{"x", "$argon2id$v=19$m=99999999,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA", "$argon2i$v=19$m=1,t=1,p=1$AAAA$AAAA",
		"$argon2id$v=19$m=19456,t=2,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=19456,t=2,p=1$!$!"} {
		if ok, err := verifyPassword(t.Context(), bad, goodPassword); err == nil || ok {
			t.Errorf("stored hash %q: got %v, %v, want an error", bad, ok, err)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for password, ok := range map[string]bool{
		goodPassword: true, "Tr0ub4dor&3x": true, "größenwahn": true, "correct horse": true,
		"": false, "short": false, "aaaaaaaaaaaa": false, "1234567890": false, "Password123!": false, "passwordpassword": false,
		"ada.lovelace@example.com": false, "ada.lovelace1!": false, strings.Repeat("ab1!", 300): false, "redthread123": false,
	} {
		if err := CheckPassword(password, "ada.lovelace@example.com"); (err == nil) != ok {
			t.Errorf("CheckPassword(%.30q): got %v, want ok %v", password, err, ok)
		}
	}
}

func TestSignIn(t *testing.T) {
	s, store, _ := open(t)
	from := Client{Address: "192.0.2.7", UserAgent: "test"}
	ada, err := s.CreateUser(t.Context(), "ada@example.com", "Ada", collab.RoleAdmin, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateUser(t.Context(), "bob@example.com", "Bob", collab.RoleMember, ""); err != nil {
		t.Fatal(err)
	}
	secret, u, err := s.SignIn(t.Context(), " ADA@example.com", goodPassword, from)
	if err != nil || u.ID != ada.ID {
		t.Fatalf("sign in: got %+v, %v", u, err)
	}
	actor, err := s.ActorBySession(t.Context(), secret)
	if err != nil || actor.ID != ada.ID || actor.SessionID == "" {
		t.Errorf("actor: got %+v, %v", actor, err)
	}
	for _, try := range [][2]string{{"ada@example.com", "wrong"}, {"bob@example.com", ""}, {"bob@example.com", goodPassword}, {"nobody@example.com", goodPassword}, {"", ""}} {
		if _, _, err := s.SignIn(t.Context(), try[0], try[1], from); !errors.Is(err, ErrSignIn) {
			t.Errorf("sign in as %q with %q: got %v, want ErrSignIn", try[0], try[1], err)
		}
	}
	list, err := store.FindAudit(t.Context(), 0, 1)
	if err != nil || len(list) != 1 || list[0].Action != "session.refused" || list[0].Address != "192.0.2.7" {
		t.Errorf("audit of a refused sign-in: got %+v, %v", list, err)
	}
	if err := s.SignOut(t.Context(), actor); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ActorBySession(t.Context(), secret); !errors.Is(err, collab.ErrNotFound) {
		t.Errorf("after signing out: got %v, want ErrNotFound", err)
	}
	if err := s.SignOut(t.Context(), actor); err != nil {
		t.Errorf("sign out twice: %v", err)
	}
}

func TestSignInLimits(t *testing.T) {
	s, _, clock := open(t)
	if _, err := s.CreateUser(t.Context(), "ada@example.com", "Ada", collab.RoleAdmin, goodPassword); err != nil {
		t.Fatal(err)
	}
	var limited *LimitedError
	for i := range maxAccountTries {
		if _, _, err := s.SignIn(t.Context(), "ada@example.com", "wrong", Client{Address: fmt.Sprintf("192.0.2.%d", i)}); !errors.Is(err, ErrSignIn) {
			t.Fatalf("try %d: got %v, want ErrSignIn", i, err)
		}
	}
	_, _, err := s.SignIn(t.Context(), "Ada@example.com", goodPassword, Client{Address: "198.51.100.1"})
	if !errors.As(err, &limited) || limited.RetryAfter <= 0 || limited.RetryAfter > limitWindow {
		t.Errorf("one more, right password, elsewhere: got %v, want LimitedError", err)
	}
	clock.Add(limitWindow)
	if _, _, err := s.SignIn(t.Context(), "ada@example.com", goodPassword, Client{Address: "198.51.100.1"}); err != nil {
		t.Errorf("after the window: %v", err)
	}

	// Counting, without the cost of hashing.
	for i := range maxAddressTries {
		if err := s.countAttempt(fmt.Sprintf("u%d@example.com", i), "203.0.113.9"); err != nil {
			t.Fatalf("address, try %d: %v", i, err)
		}
	}
	if err := s.countAttempt("another@example.com", "203.0.113.9"); !errors.As(err, &limited) {
		t.Errorf("address, one more: got %v, want LimitedError", err)
	}
	if err := s.countAttempt("another@example.com", "203.0.113.10"); err != nil {
		t.Errorf("another address: %v", err)
	}
}

func TestSuccessForgetsTries(t *testing.T) {
	s, _, _ := open(t)
	if _, err := s.CreateUser(t.Context(), "ada@example.com", "Ada", collab.RoleAdmin, goodPassword); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for range maxAccountTries - 1 {
			if err := s.countAttempt("ada@example.com", "192.0.2.1"); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := s.SignIn(t.Context(), "ada@example.com", goodPassword, Client{Address: "192.0.2.2"}); err != nil {
			t.Fatalf("the last try, right: %v", err)
		}
	}
}

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter()
	now := time.Now()
	for i := range 3 * maxLimitedEntries {
		l.take(fmt.Sprint(i), 1, now)
	}
	if len(l.entries) > maxLimitedEntries {
		t.Errorf("entries: got %d, want at most %d", len(l.entries), maxLimitedEntries)
	}
}

func TestFirstAdmin(t *testing.T) {
	s, _, clock := open(t)
	code, err := s.FirstAdminCode(t.Context())
	if err != nil || code == "" {
		t.Fatalf("code: got %q, %v", code, err)
	}
	from := Client{Address: "192.0.2.7"}
	if _, _, err := s.UseInvitation(t.Context(), code, "ada@example.com", "Ada", "short", from); err == nil {
		t.Error("a short password was taken")
	}
	clock.Add(SetupLifetime - time.Second)
	secret, u, err := s.UseInvitation(t.Context(), code, "ada@example.com", "Ada", goodPassword, from)
	if err != nil || u.Role != collab.RoleAdmin {
		t.Fatalf("use: got %+v, %v", u, err)
	}
	if a, err := s.ActorBySession(t.Context(), secret); err != nil || a.Role != collab.RoleAdmin {
		t.Errorf("signed in: got %+v, %v", a, err)
	}
	if _, _, err := s.UseInvitation(t.Context(), code, "eve@example.com", "Eve", goodPassword, from); !errors.Is(err, collab.ErrNotFound) {
		t.Errorf("use twice: got %v, want ErrNotFound", err)
	}
	if code, err := s.FirstAdminCode(t.Context()); err != nil || code != "" {
		t.Errorf("code with an administrator there: got %q, %v, want none", code, err)
	}
}

func TestChangePassword(t *testing.T) {
	s, _, _ := open(t)
	if _, err := s.CreateUser(t.Context(), "ada@example.com", "Ada", collab.RoleAdmin, goodPassword); err != nil {
		t.Fatal(err)
	}
	sign := func(password string) (collab.Actor, string, error) {
		secret, _, err := s.SignIn(t.Context(), "ada@example.com", password, Client{})
		if err != nil {
			return collab.Actor{}, "", err
		}
		a, err := s.ActorBySession(t.Context(), secret)
		return a, secret, err
	}
	here, _, err := sign(goodPassword)
	_, elsewhere, err2 := sign(goodPassword)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var invalid *collab.InvalidError
	if err := s.ChangePassword(t.Context(), here, "wrong", "another good one", Client{}); !errors.As(err, &invalid) || invalid.Field != "current" {
		t.Errorf("wrong current password: got %v", err)
	}
	if err := s.ChangePassword(t.Context(), here, goodPassword, "short", Client{}); !errors.As(err, &invalid) || invalid.Field != "password" {
		t.Errorf("short new password: got %v", err)
	}
	if err := s.ChangePassword(t.Context(), here, goodPassword, "another good one", Client{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CurrentActor(t.Context(), here); err != nil {
		t.Errorf("the session at hand: %v", err)
	}
	if _, err := s.ActorBySession(t.Context(), elsewhere); !errors.Is(err, collab.ErrNotFound) {
		t.Errorf("the other session: got %v, want ErrNotFound", err)
	}
	if _, _, err := sign(goodPassword); !errors.Is(err, ErrSignIn) {
		t.Errorf("old password: got %v, want ErrSignIn", err)
	}
	if err := s.ChangePassword(t.Context(), collab.Actor{Kind: collab.ActorToken, ID: "t_1"}, "", "", Client{}); !errors.Is(err, collab.ErrForbidden) {
		t.Errorf("a token: got %v, want ErrForbidden", err)
	}
}

func TestToken(t *testing.T) {
	s, _, _ := open(t)
	secret, tok, err := s.CreateToken(t.Context(), "deploy", collab.RoleMember, 0)
	if err != nil || !strings.HasPrefix(secret, "rtt_") || len(secret) != 56 || !strings.HasSuffix(secret, tok.Hint) {
		t.Fatalf("token: got %q, %+v, %v", secret, tok, err)
	}
	if a, err := s.ActorByToken(t.Context(), secret); err != nil || a.ID != tok.ID {
		t.Errorf("actor: got %+v, %v", a, err)
	}
	if _, err := s.ActorByToken(t.Context(), secret+"x"); !errors.Is(err, collab.ErrNotFound) {
		t.Errorf("another secret: got %v, want ErrNotFound", err)
	}
}

// TestAttributeListsOfKeys: a change is known at once here, and soon if another
// process made it; the secret stays the same.
func TestAttributeListsOfKeys(t *testing.T) {
	s, store, clock := open(t)
	lists := collab.AttributeLists{Drop: " user.email,http.request.header.*\n", Hash: "user.id user.id"}
	clean := collab.AttributeLists{Drop: "http.request.header.*\nuser.email", Hash: "user.id"}
	secret, key, err := s.CreateIngestKey(t.Context(), "", "staging", lists)
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, want collab.AttributeLists) {
		t.Helper()
		sender, ok, err := s.IngestKey(t.Context(), secret)
		if err != nil || !ok || sender.Lists != want {
			t.Errorf("%s: %+v %v %v, want %+v", what, sender, ok, err, want)
		}
	}
	want("as made", clean)
	if err := s.UpdateKeyLists(t.Context(), key.ID, collab.AttributeLists{Drop: "a"}); err != nil {
		t.Fatal(err)
	}
	want("changed here", collab.AttributeLists{Drop: "a"})
	if err := store.UpdateKeyLists(t.Context(), key.ID, collab.AttributeLists{}); err != nil {
		t.Fatal(err)
	}
	clock.Add(keyMemory)
	want("changed by another process", collab.AttributeLists{})
	for _, tt := range []struct {
		id    string
		lists collab.AttributeLists
		field string
	}{
		{key.ID, collab.AttributeLists{Drop: "*"}, "drop"}, {key.ID, collab.AttributeLists{Hash: "a*"}, "hash"},
		{key.ID, collab.AttributeLists{Hash: "*.a"}, "hash"}, {"", collab.AttributeLists{Drop: "a.*.b"}, "drop"},
		{"", collab.AttributeLists{Drop: ".*"}, "drop"}, {key.ID, collab.AttributeLists{Drop: strings.Repeat("x", 257)}, "drop"},
		{key.ID, collab.AttributeLists{Drop: "a\x00b"}, "drop"},
	} {
		var invalid *collab.InvalidError
		if err := s.UpdateKeyLists(t.Context(), tt.id, tt.lists); !errors.As(err, &invalid) || invalid.Field != tt.field {
			t.Errorf("%+v: %v, want a sentence about %s", tt.lists, err, tt.field)
		}
	}
	if err := s.UpdateKeyLists(t.Context(), "k_none", collab.AttributeLists{}); !errors.Is(err, collab.ErrNotFound) {
		t.Errorf("lists of no key: %v", err)
	}

	if sender, err := s.Keyless(t.Context()); err != nil || sender != (Sender{}) {
		t.Errorf("without a key: %+v %v", sender, err)
	}
	if err := s.UpdateKeyLists(t.Context(), "", lists); err != nil {
		t.Fatal(err)
	}
	if sender, err := s.Keyless(t.Context()); err != nil || sender != (Sender{Lists: clean}) {
		t.Errorf("without a key: %+v %v", sender, err)
	}
	log, err := store.FindAudit(t.Context(), 0, 1)
	if err != nil || len(log) != 1 || log[0].Action != "key.attributes" || log[0].Subject != "without a key" ||
		log[0].Detail != "drop http.request.header.*, user.email; hash user.id" {
		t.Errorf("audit log: %+v %v", log, err)
	}
	first, err1 := s.HashSecret(t.Context())
	second, err2 := New(store, Options{}).HashSecret(t.Context())
	if err1 != nil || err2 != nil || len(first) != 32 || !bytes.Equal(first, second) {
		t.Errorf("secrets %x (%v) and %x (%v)", first, err1, second, err2)
	}
}

func TestIngestKey(t *testing.T) {
	s, store, clock := open(t)
	secret, key, err := s.CreateIngestKey(t.Context(), "", "production-uk", collab.AttributeLists{})
	anySecret, _, err2 := s.CreateIngestKey(t.Context(), "", collab.AnyEnvironment, collab.AttributeLists{})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		secret, env string
		ok          bool
	}{{secret, "production-uk", true}, {secret, "production-uk", true}, {anySecret, "", true}, {"rtk_wrong", "", false}, {"", "", false}} {
		sender, ok, err := s.IngestKey(t.Context(), c.secret)
		if env := sender.Environment; env != c.env || ok != c.ok || err != nil {
			t.Errorf("IngestKey(%.8q): got %q, %v, %v, want %q, %v", c.secret, sender.Environment, ok, err, c.env, c.ok)
		}
	}
	if err := s.RevokeIngestKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.IngestKey(t.Context(), secret); ok {
		t.Error("a key revoked here still works")
	}

	// As the command line does it: in another process.
	secret, key, err = s.CreateIngestKey(t.Context(), "", "staging", collab.AttributeLists{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.IngestKey(t.Context(), secret); !ok || err != nil {
		t.Errorf("new key: got %v, %v", ok, err)
	}
	if err := store.RevokeIngestKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	clock.Add(keyMemory)
	if _, ok, _ := s.IngestKey(t.Context(), secret); ok {
		t.Errorf("a key revoked by another process still works after %v", keyMemory)
	}
}
