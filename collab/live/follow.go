package live

import (
	"context"
	"slices"
	"strings"
	"time"

	"redthread/collab"
)

// Reasons why somebody does not follow, or no longer.
const (
	EndRefused = "refused" // they let nobody follow
	EndGone    = "gone"    // they are not here
	EndLoop    = "loop"    // they follow the one who asks, or somebody who does
	EndLetGo   = "let_go"  // they ended it
)

// viewFor is what one follower is to be told of a person's view. Whether the
// follower may see it is asked outside of Hub.mu.
type viewFor struct {
	sub    *Subscriber
	leader Named
	pages  []*conn // where they are to be seen, the newest first; nil: nowhere
	end    string  // a reason: it is over
}

// viewsOf is what the followers of a person on this server are told.
func (p *presence) viewsOf(person string) []viewFor {
	var list []viewFor
	pages := p.views(person)
	alone := len(p.people[person]) > 0
	leader := Named{ID: person}
	for _, c := range p.people[person] {
		leader.Name = c.Name
		alone = alone && c.Alone && !c.Hidden // who hides is as good as gone
	}
	for _, f := range p.follow[person] {
		if f.sub == nil {
			continue
		}
		v := viewFor{sub: f.sub, leader: leader, pages: pages}
		switch {
		case alone:
			v.end = EndRefused
		case p.yields(f.Who):
			v.end = EndLoop
		}
		list = append(list, v)
	}
	for i := range list {
		if list[i].end != "" {
			p.edit(list[i].sub, func(c *conn) { c.Follows = "" })
		}
	}
	return list
}

func (v *viewFor) tell(h *Hub) {
	if v.end != "" {
		v.sub.pushNewest("end", Encode(FollowEnded{TypeFollowEnded, v.leader.ID, v.leader.Name, v.end}))
		return
	}
	m := FollowView{Type: TypeFollowView, Person: v.leader.ID, Name: v.leader.Name}
	// A page that the follower may not see is as good as one that nobody is shown
	// on: what shows is the page before it, and nothing is told of what is done there.
	for _, page := range v.pages {
		board, isBoard := strings.CutPrefix(page.place, "i:")
		if !isBoard || h.maySee(v.sub.who, collab.InvestigationID(board)) {
			m.Path, m.Scroll = page.Path, page.Scroll
			break
		}
	}
	v.sub.pushView(Encode(m))
}

// maySee asks the store; what it cannot tell is not seen.
func (h *Hub) maySee(who collab.Actor, id collab.InvestigationID) bool {
	if h.see == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(h.base, 2*time.Second)
	defer cancel()
	may, err := h.see(ctx, id, []string{who.ID})
	return err == nil && len(may) > 0
}

// leadersOf lists whom a person follows, from any of their pages.
func (p *presence) leadersOf(person string) []string {
	var list []string
	for _, c := range p.people[person] {
		if c.Follows != "" && !slices.Contains(list, c.Follows) {
			list = append(list, c.Follows)
		}
	}
	return list
}

// circle returns the people on the ways from a person along whom they follow
// that come back to the person; nil if none does.
func (p *presence) circle(person string) []string {
	seen := map[string]bool{}
	var on []string
	var leads func(at string) bool
	leads = func(at string) bool {
		back := false
		for _, next := range p.leadersOf(at) {
			if next == person {
				back = true
				continue
			}
			if !seen[next] {
				seen[next] = true
				back = leads(next) || back
			}
		}
		if back {
			on = append(on, at)
		}
		return back
	}
	leads(person)
	return on
}

// yields reports whether a person is in a circle of followers, which two who
// begin at once on two servers can make, and is the one who leaves it.
func (p *presence) yields(person string) bool {
	on := p.circle(person)
	return len(on) > 0 && person == slices.Min(on)
}

// edit replaces what is known of a subscriber's page. Hub.mu is held. A
// subscriber that has left is left alone.
func (p *presence) edit(s *Subscriber, fn func(c *conn)) {
	if p.conns[s.conn.ID] == nil {
		return
	}
	c := *s.conn
	fn(&c)
	p.put(&c)
}

// View is what a page shows, for those who are at the same place and those who
// follow.
type View struct {
	Path   string // the address, on this site
	Scroll Scroll // sent only while somebody follows
	Idle   bool   // nobody looks at the page
}

// SetView says what the page shows now. A path to another place is not taken:
// the place of a socket is what its owner was let into.
func (s *Subscriber) SetView(v View) {
	s.edit(func(c *conn) {
		if path := cleanPath(v.Path); placeOf(path) == c.place {
			c.Path = path
		}
		c.Scroll, c.Idle = v.Scroll.clean(), v.Idle
		if !v.Idle {
			c.Moved = time.Now().UnixNano()
		}
	})
}

// SetCursor says where the person points or types; nil: nowhere.
func (s *Subscriber) SetCursor(cursor *Cursor) {
	s.edit(func(c *conn) { c.Cursor = cursor.clean() })
}

// SetAlso says on which investigation the person works from a page that is not
// its board. The caller has asked whether they may see it.
func (s *Subscriber) SetAlso(id collab.InvestigationID) {
	s.edit(func(c *conn) { c.Also = id })
}

// Also is the investigation that the person works on from this page, or "".
func (s *Subscriber) Also() collab.InvestigationID {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.conn.Also
}

func (s *Subscriber) edit(fn func(c *conn)) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.presence.edit(s, fn)
}

// Follow makes the page go where another person goes. It is told their view at
// once, or why not. Again says that the person was followed already, from the
// page before: then they may be between two pages themselves, and it is no
// reason to end that they are nowhere.
func (s *Subscriber) Follow(person string, again bool) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.presence
	page := p.view(person)
	name := ""
	if page != nil {
		name = page.Name
	}
	p.edit(s, func(c *conn) { c.Follows = person })
	s.forgetView()
	reason := ""
	switch {
	case person == s.who.ID || len(p.circle(s.who.ID)) > 0:
		reason = EndLoop
	case page == nil && !again:
		reason = EndGone
	case page != nil && page.Alone:
		reason = EndRefused
	}
	if reason != "" {
		p.edit(s, func(c *conn) { c.Follows = "" })
		s.pushNewest("end", Encode(FollowEnded{TypeFollowEnded, person, name, reason}))
		return
	}
	p.duePeople[person] = true
	p.poke()
}

// Unfollow ends it; the follower has done something of their own.
func (s *Subscriber) Unfollow() {
	s.edit(func(c *conn) { c.Follows = "" })
}

// order is something that a person's pages are told to do, on whatever server
// they are.
type order struct {
	Kind string `json:"kind"` // let_go, ask, prefer
	To   string `json:"to"`
	From Named  `json:"from"`
	// Place is where From was when asking to be followed.
	Place       string      `json:"place"`
	Preferences Preferences `json:"preferences"`
}

const (
	orderLetGo  = "let_go"
	orderAsk    = "ask"
	orderPrefer = "prefer"
)

// LetGo ends that somebody follows the person of this page.
func (s *Subscriber) LetGo(follower string) {
	s.hub.carry(order{Kind: orderLetGo, To: follower, From: s.named()})
}

// Ask asks somebody who is in the same place to follow. Who lets nobody follow,
// or hides, asks in vain.
func (s *Subscriber) Ask(person string) {
	s.hub.mu.Lock()
	place := s.conn.place
	ok := !s.conn.Hidden && !s.conn.Alone && place != "" && person != s.who.ID
	s.hub.mu.Unlock()
	if ok {
		s.hub.carry(order{Kind: orderAsk, To: person, From: s.named(), Place: place})
	}
}

// Prefer makes what a person chose count on all their open pages. Keeping it is
// the caller's.
func (h *Hub) Prefer(person string, pref Preferences) {
	h.carry(order{Kind: orderPrefer, To: person, Preferences: pref})
}

func (s *Subscriber) named() Named { return Named{s.who.ID, s.who.Name} }

// carry does an order here and sends it to the other servers.
func (h *Hub) carry(o order) {
	h.presence.obey(o)
	h.presence.publish(news{Orders: []order{o}})
}

// obey does an order on the pages of this server.
func (p *presence) obey(o order) {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range p.people[o.To] {
		if c.sub == nil {
			continue
		}
		switch o.Kind {
		case orderLetGo:
			if c.Follows == o.From.ID {
				p.edit(c.sub, func(c *conn) { c.Follows = "" })
				c.sub.pushNewest("end", Encode(FollowEnded{TypeFollowEnded, o.From.ID, o.From.Name, EndLetGo}))
			}
		case orderAsk:
			if slices.Contains(c.places(), o.Place) && c.Follows == "" {
				c.sub.pushNewest("ask "+o.From.ID, Encode(FollowAsked{TypeFollowAsked, o.From.ID, o.From.Name}))
			}
		case orderPrefer:
			p.edit(c.sub, func(c *conn) { c.Hidden, c.Alone = o.Preferences.Hidden, o.Preferences.Alone })
		}
	}
}
