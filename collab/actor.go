// Package collab holds people and their shared work: users, sessions, tokens,
// investigations with their change log, pins, annotations. It owns the SQLite
// database of the application and knows no HTTP.
package collab

import "context"

// Role says what an actor may do. Each role may do what the one before may.
type Role string

// The roles, weakest first.
const (
	RoleViewer Role = "viewer" // reads and queries
	RoleMember Role = "member" // also writes
	RoleAdmin  Role = "admin"  // also settings
)

var roleRank = map[Role]int{RoleViewer: 1, RoleMember: 2, RoleAdmin: 3}

// Valid reports whether r is a known role.
func (r Role) Valid() bool { return roleRank[r] > 0 }

// AtLeast reports whether r may do what need may.
func (r Role) AtLeast(need Role) bool { return roleRank[r] >= roleRank[need] && roleRank[r] > 0 }

// ActorKind tells people from programs.
type ActorKind string

// The kinds of actor.
const (
	ActorUser  ActorKind = "user"
	ActorToken ActorKind = "token"
)

// Actor is who does something: a signed-in user or an API token.
type Actor struct {
	Kind ActorKind
	ID   string // "u_…" or "t_…", unique over both kinds
	Name string
	Role Role
	// SessionID names the browser session, empty for a token.
	SessionID string
}

type actorKey struct{}

// WithActor returns a context that carries the actor.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorFrom returns the context's actor, false if anonymous.
func ActorFrom(ctx context.Context) (Actor, bool) {
	a, ok := ctx.Value(actorKey{}).(Actor)
	return a, ok
}
