package collab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func mustUser(t *testing.T, s *Store, email string, role Role) User {
	t.Helper()
	u, err := s.CreateUser(t.Context(), NewUser{Email: email, Name: strings.Split(email, "@")[0], Role: role, PasswordHash: "hash"})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantInvalid(t *testing.T, what string, err error, field string) {
	t.Helper()
	var invalid *InvalidError
	if !errors.As(err, &invalid) || invalid.Field != field {
		t.Errorf("%s: got %v, want an InvalidError about %q", what, err, field)
	}
}

func hashOf(s string) []byte { return bytes.Repeat([]byte(s[:1]), 32) }

func TestCleanEmail(t *testing.T) {
	good := map[string]string{" Ada@Example.COM ": "ada@example.com", "a+b@x": "a+b@x", "ü@exämple.de": "ü@exämple.de"}
	for in, want := range good {
		if got, err := CleanEmail(in); err != nil || got != want {
			t.Errorf("CleanEmail(%q): got %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "ada", "@x.de", "ada@", "a b@x.de", "<a>@x.de", "a@x.de\n", "\"><script>@x", "a\x00@x", strings.Repeat("a", 250) + "@x.de"} {
		if in == "a@x.de\n" { // space around it is cut
			continue
		}
		_, err := CleanEmail(in)
		wantInvalid(t, fmt.Sprintf("CleanEmail(%q)", in), err, "email")
	}
}

func TestCreateUser(t *testing.T) {
	s, _ := openPeople(t)
	u := mustUser(t, s, "Ada@example.com", RoleMember)
	got, err := s.UserByID(t.Context(), u.ID)
	if err != nil || got.Email != "ada@example.com" || got.Role != RoleMember || !got.HasPassword || !got.Active() {
		t.Errorf("user: got %+v, %v", got, err)
	}
	if _, hash, err := s.UserByEmail(t.Context(), " ADA@example.com"); err != nil || hash != "hash" {
		t.Errorf("by email: got hash %q, %v", hash, err)
	}
	_, err = s.CreateUser(t.Context(), NewUser{Email: "aDa@example.com", Name: "Another", Role: RoleViewer})
	wantInvalid(t, "address that is taken", err, "email")
	_, err = s.CreateUser(t.Context(), NewUser{Email: "b@example.com", Name: " \t ", Role: RoleViewer})
	wantInvalid(t, "no name", err, "name")
	_, err = s.CreateUser(t.Context(), NewUser{Email: "b@example.com", Name: "B\u202e", Role: RoleViewer})
	wantInvalid(t, "name with a direction override", err, "name")
	_, err = s.CreateUser(t.Context(), NewUser{Email: "b@example.com", Name: "B", Role: "owner"})
	wantInvalid(t, "unknown role", err, "role")
	if _, err := s.UserByID(t.Context(), "u_none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown id: got %v, want ErrNotFound", err)
	}
}

func TestLastAdminStays(t *testing.T) {
	s, _ := openPeople(t)
	ada := mustUser(t, s, "ada@example.com", RoleAdmin)
	if _, err := s.CreateUser(t.Context(), NewUser{Email: "bob@example.com", Name: "Bob", Role: RoleAdmin}); err != nil {
		t.Fatal(err) // an administrator without a password cannot sign in and does not count
	}
	member, off := RoleMember, false
	_, err := s.UpdateUser(t.Context(), ada.ID, UserUpdate{Role: &member})
	wantInvalid(t, "take the role of the last administrator", err, "role")
	_, err = s.UpdateUser(t.Context(), ada.ID, UserUpdate{Active: &off})
	wantInvalid(t, "deactivate the last administrator", err, "role")
	if u, err := s.UserByID(t.Context(), ada.ID); err != nil || u.Role != RoleAdmin || !u.Active() {
		t.Errorf("refused update left: %+v, %v", u, err)
	}
	mustUser(t, s, "cyd@example.com", RoleAdmin)
	if _, err := s.UpdateUser(t.Context(), ada.ID, UserUpdate{Role: &member}); err != nil {
		t.Errorf("take the role with another administrator there: %v", err)
	}
}

func TestSessions(t *testing.T) {
	s, clock := openPeople(t)
	ada := mustUser(t, s, "ada@example.com", RoleMember)
	const idle, life = 14 * 24 * time.Hour, 90 * 24 * time.Hour
	open := func(secret string) Session {
		t.Helper()
		ses, err := s.CreateSession(t.Context(), NewSession{UserID: ada.ID, SecretHash: hashOf(secret), Address: "192.0.2.7", UserAgent: strings.Repeat("ä", 300), Lifetime: life})
		if err != nil {
			t.Fatal(err)
		}
		return ses
	}
	first := open("a")
	a, err := s.ActorBySession(t.Context(), hashOf("a"), idle)
	want := Actor{Kind: ActorUser, ID: ada.ID, Name: "Ada", Role: RoleMember, SessionID: first.ID}
	want.Name = "ada"
	if err != nil || a != want {
		t.Errorf("actor: got %+v, %v, want %+v", a, err, want)
	}
	if _, err := s.ActorBySession(t.Context(), hashOf("x"), idle); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown secret: got %v, want ErrNotFound", err)
	}

	lastUsed := func() time.Time {
		t.Helper()
		list, err := s.FindSessions(t.Context(), ada.ID)
		if err != nil || len(list) == 0 {
			t.Fatalf("sessions: %v, %v", list, err)
		}
		return list[len(list)-1].LastUsedAt
	}
	made := lastUsed()
	clock.Add(59 * time.Second)
	if _, err := s.ActorBySession(t.Context(), hashOf("a"), idle); err != nil || !lastUsed().Equal(made) {
		t.Errorf("use within a minute: last use written at %v, %v, want %v", lastUsed(), err, made)
	}
	clock.Add(time.Second)
	if _, err := s.ActorBySession(t.Context(), hashOf("a"), idle); err != nil || !lastUsed().Equal(made.Add(time.Minute)) {
		t.Errorf("use after a minute: last use %v, %v, want %v", lastUsed(), err, made.Add(time.Minute))
	}

	clock.Add(idle)
	if _, err := s.ActorBySession(t.Context(), hashOf("a"), idle); !errors.Is(err, ErrNotFound) {
		t.Errorf("session not used for %v: got %v, want ErrNotFound", idle, err)
	}
	open("b")
	for range int(life/idle) + 1 {
		clock.Add(idle - time.Hour)
		_, err = s.ActorBySession(t.Context(), hashOf("b"), idle)
	}
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("session in steady use beyond its lifetime: got %v, want ErrNotFound", err)
	}
}

func TestWhatClosesSessions(t *testing.T) {
	off := false
	cases := map[string]func(s *Store, u User, keep Session) error{
		"deactivation": func(s *Store, u User, _ Session) error {
			_, err := s.UpdateUser(context.Background(), u.ID, UserUpdate{Active: &off})
			return err
		},
		"password": func(s *Store, u User, keep Session) error {
			return s.SetPassword(context.Background(), u.ID, "new", keep.ID)
		},
		"sign out": func(s *Store, u User, keep Session) error {
			return s.DeleteOtherSessions(context.Background(), u.ID, keep.ID)
		},
	}
	for name, closeThem := range cases {
		t.Run(name, func(t *testing.T) {
			s, _ := openPeople(t)
			mustUser(t, s, "root@example.com", RoleAdmin)
			u := mustUser(t, s, "ada@example.com", RoleMember)
			keep, err := s.CreateSession(t.Context(), NewSession{UserID: u.ID, SecretHash: hashOf("k"), Lifetime: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.CreateSession(t.Context(), NewSession{UserID: u.ID, SecretHash: hashOf("o"), Lifetime: time.Hour}); err != nil {
				t.Fatal(err)
			}
			other, err := s.ActorBySession(t.Context(), hashOf("o"), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if err := closeThem(s, u, keep); err != nil {
				t.Fatal(err)
			}
			if _, err := s.ActorBySession(t.Context(), hashOf("o"), time.Hour); !errors.Is(err, ErrNotFound) {
				t.Errorf("the other session: got %v, want ErrNotFound", err)
			}
			if _, err := s.CurrentActor(t.Context(), other); !errors.Is(err, ErrNotFound) {
				t.Errorf("an open socket of the other session: got %v, want ErrNotFound", err)
			}
			_, err = s.ActorBySession(t.Context(), hashOf("k"), time.Hour)
			if kept := err == nil; kept != (name != "deactivation") {
				t.Errorf("the session at hand: got %v", err)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	s, clock := openPeople(t)
	ctx := WithActor(t.Context(), Actor{ID: "u_1", Name: "Ada"})
	tok, err := s.CreateToken(ctx, NewToken{Name: " deploy  script ", Role: RoleMember, SecretHash: hashOf("t"), Hint: "wxyz", Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.ActorByToken(t.Context(), hashOf("t"))
	if want := (Actor{Kind: ActorToken, ID: tok.ID, Name: "deploy script", Role: RoleMember}); err != nil || a != want {
		t.Errorf("actor: got %+v, %v, want %+v", a, err, want)
	}
	if _, err := s.CurrentActor(t.Context(), a); err != nil {
		t.Errorf("current actor: %v", err)
	}
	list, err := s.FindTokens(t.Context())
	if err != nil || len(list) != 1 || list[0].CreatedBy != "Ada" || !list[0].LastUsedAt.Equal(clock.Now()) {
		t.Errorf("tokens: got %+v, %v", list, err)
	}
	clock.Add(time.Hour)
	if _, err := s.ActorByToken(t.Context(), hashOf("t")); !errors.Is(err, ErrNotFound) {
		t.Errorf("expired token: got %v, want ErrNotFound", err)
	}
	forever, err := s.CreateToken(ctx, NewToken{Name: "x", Role: RoleViewer, SecretHash: hashOf("f")})
	if err != nil {
		t.Fatal(err)
	}
	a, err = s.ActorByToken(t.Context(), hashOf("f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeToken(t.Context(), forever.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ActorByToken(t.Context(), hashOf("f")); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoked token: got %v, want ErrNotFound", err)
	}
	if _, err := s.CurrentActor(t.Context(), a); !errors.Is(err, ErrNotFound) {
		t.Errorf("open socket of a revoked token: got %v, want ErrNotFound", err)
	}
	if err := s.RevokeToken(t.Context(), forever.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoke twice: got %v, want ErrNotFound", err)
	}
	_, err = s.CreateToken(ctx, NewToken{Name: "", Role: RoleViewer, SecretHash: hashOf("n")})
	wantInvalid(t, "token without a name", err, "name")
	_, err = s.CreateToken(ctx, NewToken{Name: "n", Role: "root", SecretHash: hashOf("n")})
	wantInvalid(t, "token with an unknown role", err, "role")
}

func TestIngestKeys(t *testing.T) {
	s, _ := openPeople(t)
	k, err := s.CreateIngestKey(t.Context(), NewIngestKey{Environment: " production-uk ", SecretHash: hashOf("k")})
	if err != nil || k.Environment != "production-uk" || k.Name != "production-uk" || k.CreatedBy != "command line" {
		t.Fatalf("key: got %+v, %v", k, err)
	}
	for _, env := range []string{"", "a b", "a\nb", "ä", strings.Repeat("x", 65), "**", `"`} {
		_, err := s.CreateIngestKey(t.Context(), NewIngestKey{Environment: env, SecretHash: hashOf("z")})
		wantInvalid(t, fmt.Sprintf("environment %q", env), err, "environment")
	}
	if got, err := s.IngestKeyByHash(t.Context(), hashOf("k")); err != nil || got.ID != k.ID {
		t.Errorf("by hash: got %+v, %v", got, err)
	}
	if err := s.RevokeIngestKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.IngestKeyByHash(t.Context(), hashOf("k")); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoked key: got %v, want ErrNotFound", err)
	}
}

// TestUseWithoutWriting lets people and programs in while the database cannot be
// written, as on a full disk.
func TestUseWithoutWriting(t *testing.T) {
	s, clock := openPeople(t)
	u := mustUser(t, s, "ada@example.com", RoleMember)
	_, err := s.CreateSession(t.Context(), NewSession{UserID: u.ID, SecretHash: hashOf("s"), Lifetime: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateToken(t.Context(), NewToken{Name: "n", Role: RoleViewer, SecretHash: hashOf("t")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateIngestKey(t.Context(), NewIngestKey{Environment: "e", SecretHash: hashOf("k")}); err != nil {
		t.Fatal(err)
	}
	clock.Add(time.Hour)
	if _, err := s.write.ExecContext(t.Context(), "PRAGMA query_only = on"); err != nil {
		t.Fatal(err)
	}
	if a, err := s.ActorBySession(t.Context(), hashOf("s"), 24*time.Hour); err != nil || a.ID != u.ID {
		t.Errorf("session: got %+v, %v", a, err)
	}
	if a, err := s.ActorByToken(t.Context(), hashOf("t")); err != nil || a.Name != "n" {
		t.Errorf("token: got %+v, %v", a, err)
	}
	if k, err := s.IngestKeyByHash(t.Context(), hashOf("k")); err != nil || k.Environment != "e" {
		t.Errorf("ingest key: got %+v, %v", k, err)
	}
}

func TestInvitation(t *testing.T) {
	s, clock := openPeople(t)
	mustUser(t, s, "root@example.com", RoleAdmin)
	invite := func(secret, email string) Invitation {
		t.Helper()
		inv, err := s.CreateInvitation(t.Context(), NewInvitation{Kind: InvitationInvite, Email: email, Role: RoleViewer, SecretHash: hashOf(secret), Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	invite("a", "Ada@example.com")
	forged := NewUser{Email: "mallory@example.com", Name: "Ada", Role: RoleAdmin, PasswordHash: "h"}

	// Many use the link at once: one account comes of it.
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := s.UseInvitation(context.Background(), hashOf("a"), forged)
			results <- err
		}()
	}
	won := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, ErrNotFound):
			t.Errorf("losing the race: got %v, want ErrNotFound", err)
		}
	}
	u, _, err := s.UserByEmail(t.Context(), "ada@example.com")
	if won != 1 || err != nil || u.Role != RoleViewer {
		t.Errorf("%d won; account %+v, %v; want one, with the link's address and role", won, u, err)
	}

	log, err := s.FindAudit(t.Context(), 0, 1)
	if err != nil || len(log) != 1 || log[0].ActorName != "Ada" || log[0].Action != "user.created" || log[0].Subject != "ada@example.com" {
		t.Errorf("audit log: got %+v, %v, want the account made by its person", log, err)
	}

	_, err = s.CreateInvitation(t.Context(), NewInvitation{Kind: InvitationInvite, Email: "ADA@example.com", Role: RoleViewer, SecretHash: hashOf("q"), Lifetime: time.Hour})
	wantInvalid(t, "invite somebody who is here", err, "email")

	invite("b", "")
	_, err = s.UseInvitation(t.Context(), hashOf("b"), NewUser{Email: "ada@example.com", Name: "Eve", PasswordHash: "h"})
	wantInvalid(t, "join with an address that is taken", err, "email")
	if _, err := s.InvitationByHash(t.Context(), hashOf("b")); err != nil {
		t.Errorf("a refused form uses the link up: %v", err)
	}
	clock.Add(time.Hour)
	if _, err := s.UseInvitation(t.Context(), hashOf("b"), NewUser{Email: "b@example.com", Name: "B", PasswordHash: "h"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("expired link: got %v, want ErrNotFound", err)
	}
	c := invite("c", "")
	if err := s.DeleteInvitation(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.InvitationByHash(t.Context(), hashOf("c")); !errors.Is(err, ErrNotFound) {
		t.Errorf("link taken back: got %v, want ErrNotFound", err)
	}
}

func TestSetupLink(t *testing.T) {
	s, clock := openPeople(t)
	setup := func(secret string) error {
		_, err := s.CreateInvitation(t.Context(), NewInvitation{Kind: InvitationSetup, SecretHash: hashOf(secret), Lifetime: 15 * time.Minute})
		return err
	}
	if err := errors.Join(setup("a"), setup("b")); err != nil {
		t.Fatal(err)
	}
	ada := NewUser{Email: "ada@example.com", Name: "Ada", PasswordHash: "h"}
	if _, err := s.UseInvitation(t.Context(), hashOf("a"), ada); !errors.Is(err, ErrNotFound) {
		t.Errorf("link of an earlier start: got %v, want ErrNotFound", err)
	}
	clock.Add(15 * time.Minute)
	if _, err := s.UseInvitation(t.Context(), hashOf("b"), ada); !errors.Is(err, ErrNotFound) {
		t.Errorf("link after 15 minutes: got %v, want ErrNotFound", err)
	}
	if err := setup("c"); err != nil {
		t.Fatal(err)
	}
	u, err := s.UseInvitation(t.Context(), hashOf("c"), ada)
	if err != nil || u.Role != RoleAdmin {
		t.Errorf("setup: got %+v, %v, want an administrator", u, err)
	}
	if err := setup("d"); !errors.Is(err, ErrConflict) {
		t.Errorf("setup link with an administrator there: got %v, want ErrConflict", err)
	}
	if list, err := s.FindInvitations(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("open links: got %+v, %v, want none", list, err)
	}
}

func TestSetupLinkIsDeadOnceThereIsAnAdmin(t *testing.T) {
	s, _ := openPeople(t)
	if _, err := s.CreateInvitation(t.Context(), NewInvitation{Kind: InvitationSetup, SecretHash: hashOf("a"), Lifetime: time.Hour}); err != nil {
		t.Fatal(err)
	}
	mustUser(t, s, "root@example.com", RoleAdmin) // by the command line, meanwhile
	_, err := s.UseInvitation(t.Context(), hashOf("a"), NewUser{Email: "eve@example.com", Name: "Eve", PasswordHash: "h"})
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("setup link: got %v, want ErrNotFound", err)
	}
}

func TestPasswordLink(t *testing.T) {
	s, _ := openPeople(t)
	mustUser(t, s, "root@example.com", RoleAdmin)
	u := mustUser(t, s, "ada@example.com", RoleMember)
	if _, err := s.CreateSession(t.Context(), NewSession{UserID: u.ID, SecretHash: hashOf("s"), Lifetime: time.Hour}); err != nil {
		t.Fatal(err)
	}
	link := func(secret string) {
		t.Helper()
		if _, err := s.CreateInvitation(t.Context(), NewInvitation{Kind: InvitationPassword, UserID: u.ID, SecretHash: hashOf(secret), Lifetime: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	link("a")
	link("b")
	if _, err := s.InvitationByHash(t.Context(), hashOf("a")); !errors.Is(err, ErrNotFound) {
		t.Errorf("an older link: got %v, want ErrNotFound", err)
	}
	got, err := s.UseInvitation(t.Context(), hashOf("b"), NewUser{Email: "eve@example.com", Name: "Eve", PasswordHash: "new"})
	if err != nil || got.ID != u.ID || got.Email != "ada@example.com" {
		t.Errorf("used: got %+v, %v, want the same account", got, err)
	}
	if _, hash, err := s.UserByEmail(t.Context(), "ada@example.com"); err != nil || hash != "new" {
		t.Errorf("password hash: got %q, %v, want the new one", hash, err)
	}
	if _, err := s.ActorBySession(t.Context(), hashOf("s"), time.Hour); !errors.Is(err, ErrNotFound) {
		t.Errorf("session from before: got %v, want ErrNotFound", err)
	}
	link("c")
	off := false
	if _, err := s.UpdateUser(t.Context(), u.ID, UserUpdate{Active: &off}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UseInvitation(t.Context(), hashOf("c"), NewUser{PasswordHash: "x"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("link of a deactivated account: got %v, want ErrNotFound", err)
	}
}

func TestAuditLog(t *testing.T) {
	s, _ := openPeople(t)
	root := mustUser(t, s, "root@example.com", RoleAdmin)
	ctx := WithActor(t.Context(), Actor{ID: root.ID, Name: root.Name})
	u := mustUser(t, s, "ada@example.com", RoleMember)
	viewer, off := RoleViewer, false
	tok, err := s.CreateToken(ctx, NewToken{Name: "deploy", Role: RoleViewer, SecretHash: hashOf("t")})
	key, err2 := s.CreateIngestKey(ctx, NewIngestKey{Environment: "*", SecretHash: hashOf("k")})
	_, err3 := s.UpdateUser(ctx, u.ID, UserUpdate{Role: &viewer})
	_, err4 := s.UpdateUser(ctx, u.ID, UserUpdate{Active: &off})
	if err := errors.Join(err, err2, err3, err4, s.RevokeToken(ctx, tok.ID), s.RevokeIngestKey(ctx, key.ID)); err != nil {
		t.Fatal(err)
	}
	list, err := s.FindAudit(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.ActorName+" "+e.Action+" "+e.Subject+" "+e.Detail)
	}
	want := []string{
		"root key.revoked any environment ", "root token.revoked deploy ", "root user.deactivated ada@example.com ",
		"root user.role_changed ada@example.com member → viewer", "root key.created any environment environment *",
		"root token.created deploy role viewer", " user.created ada@example.com role member", " user.created root@example.com role admin",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	page, err := s.FindAudit(t.Context(), list[1].ID, 2)
	if err != nil || len(page) != 2 || page[0].ID != list[2].ID {
		t.Errorf("next page: got %+v, %v", page, err)
	}
}
