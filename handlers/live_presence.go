package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"redthread/collab"
	"redthread/collab/live"
)

// attend does what a client says of where it is and whom it follows. It is false
// if the request is of another kind. Nothing of it is answered: what is no sense
// is left out.
func (k *socket) attend(ctx context.Context, req *live.Request) bool {
	var data struct {
		Path   string
		Scroll live.Scroll
		Idle   bool
		Cursor *live.Cursor
		Person string
		Again  bool
		live.Preferences
	}
	bad := len(req.Data) > 0 && json.Unmarshal(req.Data, &data) != nil
	switch req.Type {
	case live.TypePresenceSet:
		if !bad {
			k.sub.SetView(live.View{Path: data.Path, Scroll: data.Scroll, Idle: data.Idle})
		}
	case live.TypeCursorSet:
		if !bad {
			k.sub.SetCursor(data.Cursor)
		}
	case live.TypePresencePrefer:
		if !bad {
			k.prefer(ctx, data.Preferences)
		}
	case live.TypeFollowStart:
		if !bad && data.Person != "" {
			k.sub.Follow(data.Person, data.Again)
		}
	case live.TypeFollowStop:
		k.sub.Unfollow()
	case live.TypeFollowAsk:
		k.sub.Ask(data.Person)
	case live.TypeFollowLetGo:
		k.sub.LetGo(data.Person)
	default:
		return false
	}
	return true
}

// prefer keeps what a person chose and makes it count on all their pages. What
// cannot be kept is not done either: the page shows what counts.
func (k *socket) prefer(ctx context.Context, pref live.Preferences) {
	if err := k.server.Collab.SetPresencePreferences(ctx, k.actor.ID, collab.PresencePreferences(pref)); err != nil {
		k.server.Log.ErrorContext(ctx, "presence preferences not kept", "error", err)
		return
	}
	k.server.Live.Prefer(k.actor.ID, pref)
}

// liveGuard closes the sockets of whoever may no longer read. It asks for all of
// them in one go, once for each person and investigation, while there are any.
type liveGuard struct {
	mu      sync.Mutex
	sockets map[*socket]bool
	people  map[string]int // how many each person has open
}

// maxSockets is how many a person has open at a time: far more pages than anybody
// looks at. The next is closed with a reason; the others go on. Tokens have no limit,
// an administrator made each for a program.
const maxSockets = 64

// take counts a socket that somebody is about to open, if they may have one more.
func (g *liveGuard) take(a collab.Actor) bool {
	if a.Kind != collab.ActorUser {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.people[a.ID] >= maxSockets {
		return false
	}
	if g.people == nil {
		g.people = map[string]int{}
	}
	g.people[a.ID]++
	return true
}

// give undoes take: it was not opened, or is closed.
func (g *liveGuard) give(a collab.Actor) {
	if a.Kind != collab.ActorUser {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.people[a.ID]--; g.people[a.ID] <= 0 {
		delete(g.people, a.ID)
	}
}

func (g *liveGuard) add(s *Server, k *socket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sockets) == 0 {
		g.sockets = map[*socket]bool{}
		go g.watch(s, g.sockets)
	}
	g.sockets[k] = true
}

func (g *liveGuard) remove(k *socket) {
	g.give(k.actor)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sockets, k)
	if len(g.sockets) == 0 {
		g.sockets = nil // its watch ends at its next round
	}
}

// look closes the sockets of somebody whose session ended, before whoever ended it
// hears that it did.
func (g *liveGuard) look(s *Server, actor string) {
	g.mu.Lock()
	var list []*socket
	for k := range g.sockets {
		if k.actor.ID == actor {
			list = append(list, k)
		}
	}
	g.mu.Unlock()
	check(s, list)
}

func (g *liveGuard) watch(s *Server, mine map[*socket]bool) {
	tick := time.NewTicker(s.pulse.check)
	defer tick.Stop()
	for range tick.C {
		g.mu.Lock()
		list := make([]*socket, 0, len(mine))
		for k := range mine {
			list = append(list, k)
		}
		g.mu.Unlock()
		if len(list) == 0 {
			return
		}
		check(s, list)
	}
}

// readsOn reports whether somebody may read the log of what is not there any more:
// it was deleted, and its room says by whom.
func (s *Server) readsOn(ctx context.Context, k *socket) bool {
	readers, err := s.Collab.Readers(ctx, k.id, []string{k.actor.ID})
	return err == nil && len(readers) > 0
}

// check asks once for all sockets. A store that does not answer closes none.
func check(s *Server, list []*socket) {
	ctx, cancel := context.WithTimeout(context.Background(), defaultPulse.check)
	defer cancel()
	type look struct {
		actor collab.Actor
		id    collab.InvestigationID
	}
	people := map[collab.Actor]error{}
	looks := map[look]error{}
	for _, k := range list {
		err, known := people[k.actor]
		if !known {
			_, err = k.current(ctx)
			people[k.actor] = err
		}
		if errors.Is(err, collab.ErrNotFound) {
			k.sub.Close(live.CloseSignedOut, "You are signed out.")
			continue
		}
		id := k.id
		if id == "" {
			if id = k.sub.Also(); id == "" {
				continue
			}
		}
		l := look{k.actor, id}
		if err, known = looks[l]; !known {
			err = s.Collab.MaySee(collab.WithActor(ctx, k.actor), id)
			looks[l] = err
		}
		var merged *collab.MergedError
		switch {
		case k.id == "" && err != nil && ctx.Err() == nil:
			k.sub.SetAlso("")
		case errors.As(err, &merged):
			k.sub.Send(live.Encode(live.Reload{Type: live.TypeReload}))
			k.sub.Close(live.CloseReload, "It was merged into another.")
		case errors.Is(err, collab.ErrNotFound) && !s.readsOn(ctx, k):
			k.sub.Close(live.CloseForbidden, "You may not see this.")
		}
	}
}
