package live

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"redthread/collab"
)

const (
	// presenceDelay gathers what people do before it is told to others. A place
	// with very many people is told less often: delayPerPerson more for each.
	presenceDelay  = 50 * time.Millisecond
	delayPerPerson = time.Millisecond
	// presenceRefresh is how often a server repeats to the others who is with it,
	// and forgets those of whom it has not heard for presenceExpiry: 45 seconds
	// after a server died nobody there is shown any more.
	presenceRefresh = 15 * time.Second
	presenceExpiry  = 30 * time.Second
	// maxPeopleTold is how many people a place names; the rest is a number.
	maxPeopleTold = 50
	maxPagesTold  = 8
)

// conn is one open page: what is known of it here and, over NATS, on every other
// server. Nothing of it is ever stored. A conn is not changed but replaced.
type conn struct {
	ID   string                 `json:"id"` // of the server and the page
	Who  string                 `json:"who"`
	Name string                 `json:"name"`
	Path string                 `json:"path"` // the address, which shows what is on screen
	Also collab.InvestigationID `json:"also"` // that the person works on from this page, or ""
	// Moved is when the person last did something on it, in nanoseconds since the
	// epoch. A person's newest page is their view.
	Moved   int64   `json:"moved"`
	Idle    bool    `json:"idle"`
	Hidden  bool    `json:"hidden"`
	Alone   bool    `json:"alone"` // nobody may follow
	Follows string  `json:"follows"`
	Scroll  Scroll  `json:"scroll"`
	Cursor  *Cursor `json:"cursor"`

	place string // of Path
	sub   *Subscriber
	heard time.Time // when its server last spoke of it; zero: it is here
}

// places lists where the conn shows.
func (c *conn) places() []string {
	list := make([]string, 0, 2)
	if c.place != "" {
		list = append(list, c.place)
	}
	if also := boardPlace(c.Also); c.Also != "" && also != c.place {
		list = append(list, also)
	}
	return list
}

// presence knows who is where, on all servers. Everything is guarded by Hub.mu
// except the goroutine's own. It tells what has changed in one go every
// presenceDelay.
type presence struct {
	hub   *Hub
	node  string // names this server among those on the NATS
	last  int64  // of the pages here
	woken chan struct{}

	conns  map[string]*conn
	places map[string]map[string]*conn
	people map[string]map[string]*conn // by person
	follow map[string]map[string]*conn // by whom they follow

	// What is to be told.
	duePlaces  map[string]time.Time
	dueCursors map[string]*conn
	duePeople  map[string]bool // their view, who follows them, what they chose
	dueNodes   map[string]bool // ids of conns here that other servers have to hear of
}

func newPresence(h *Hub, node string) *presence {
	return &presence{
		hub: h, node: node, woken: make(chan struct{}, 1),
		conns: map[string]*conn{}, places: map[string]map[string]*conn{}, people: map[string]map[string]*conn{}, follow: map[string]map[string]*conn{},
		duePlaces: map[string]time.Time{}, dueCursors: map[string]*conn{}, duePeople: map[string]bool{}, dueNodes: map[string]bool{},
	}
}

func (p *presence) poke() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// add takes up a page of this server and tells it of the cursors around it.
func (p *presence) add(s *Subscriber, j Joining) {
	p.last++
	c := &conn{ID: p.node + "." + strconv.FormatInt(p.last, 36), Who: j.Who.ID, Name: j.Who.Name, Path: cleanPath(j.Path), Also: j.Also,
		Moved: time.Now().UnixNano(), Hidden: j.Preferences.Hidden, Alone: j.Preferences.Alone, sub: s}
	s.conn = c
	for _, o := range p.places[placeOf(c.Path)] {
		if o.Cursor != nil && !o.Hidden {
			s.pushNewest("cursor "+o.ID, cursorFrame(o))
		}
	}
	p.put(c)
}

// put makes c what is known of its page, and notes what of it is news.
func (p *presence) put(c *conn) {
	c.place = placeOf(c.Path)
	old := p.conns[c.ID]
	if old == nil {
		old = &conn{}
	}
	p.drop(old)
	p.conns[c.ID] = c
	for _, place := range c.places() {
		index(p.places, place, c)
	}
	index(p.people, c.Who, c)
	if c.Follows != "" {
		index(p.follow, c.Follows, c)
	}
	if c.sub != nil {
		c.sub.conn = c
		p.dueNodes[c.ID] = true
	}

	listed := old.ID == "" || old.Path != c.Path || old.Also != c.Also || old.Idle != c.Idle || old.Hidden != c.Hidden || old.Follows != c.Follows
	if listed {
		p.tellPlaces(old)
		p.tellPlaces(c)
	}
	if listed || old.Scroll != c.Scroll || old.Moved != c.Moved || old.Alone != c.Alone {
		p.duePeople[c.Who] = true
	}
	for _, leader := range []string{old.Follows, c.Follows} {
		if old.Follows != c.Follows && leader != "" {
			p.duePeople[leader] = true
		}
	}
	if (old.Cursor == nil) != (c.Cursor == nil) || c.Cursor != nil && *old.Cursor != *c.Cursor || old.Hidden != c.Hidden && c.Cursor != nil {
		p.dueCursors[c.ID] = c
	}
	p.poke()
}

// remove forgets a page.
func (p *presence) remove(c *conn) {
	if c == nil || p.conns[c.ID] == nil {
		return
	}
	c = p.conns[c.ID]
	p.tellPlaces(c)
	p.drop(c)
	delete(p.conns, c.ID)
	p.duePeople[c.Who] = true
	if c.Follows != "" {
		p.duePeople[c.Follows] = true
	}
	if c.sub != nil {
		p.dueNodes[c.ID] = true
	}
	if c.Cursor != nil {
		gone := *c
		gone.Cursor = nil
		p.dueCursors[c.ID] = &gone
	}
	p.poke()
}

func (p *presence) drop(c *conn) {
	for _, place := range c.places() {
		unindex(p.places, place, c)
	}
	unindex(p.people, c.Who, c)
	unindex(p.follow, c.Follows, c)
}

func (p *presence) tellPlaces(c *conn) {
	for _, place := range c.places() {
		if _, waits := p.duePlaces[place]; !waits {
			p.duePlaces[place] = time.Now().Add(delayPerPerson * time.Duration(max(0, len(p.places[place])-maxPeopleTold)))
		}
	}
}

func index(m map[string]map[string]*conn, key string, c *conn) {
	if m[key] == nil {
		m[key] = map[string]*conn{}
	}
	m[key][c.ID] = c
}

func unindex(m map[string]map[string]*conn, key string, c *conn) {
	delete(m[key], c.ID)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// listOf is who shows in a place, by name, and how many more there are.
func (p *presence) listOf(place string) (list []Person, more int) {
	pages := map[string][]*conn{}
	for _, c := range p.places[place] {
		if !c.Hidden {
			pages[c.Who] = append(pages[c.Who], c)
		}
	}
	people := make([][]*conn, 0, len(pages))
	for _, conns := range pages {
		slices.SortFunc(conns, newestFirst)
		people = append(people, conns)
	}
	if len(people) > maxPeopleTold {
		slices.SortFunc(people, func(a, b []*conn) int { return newestFirst(a[0], b[0]) })
		more = len(people) - maxPeopleTold
		people = people[:maxPeopleTold]
	}
	list = make([]Person, 0, len(people))
	for _, conns := range people {
		one := Person{ID: conns[0].Who, Name: conns[0].Name, Pages: []string{}, Idle: true}
		for _, c := range conns {
			if c.Path != "" && len(one.Pages) < maxPagesTold && !slices.Contains(one.Pages, c.Path) {
				one.Pages = append(one.Pages, c.Path)
			}
			one.Idle = one.Idle && c.Idle
			one.Follows = cmp.Or(one.Follows, c.Follows)
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Person) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return list, more
}

func newestFirst(a, b *conn) int {
	return cmp.Or(cmp.Compare(b.Moved, a.Moved), cmp.Compare(a.ID, b.ID))
}

// views are the pages of a person that a follower may see, the newest first.
func (p *presence) views(person string) []*conn {
	var list []*conn
	for _, c := range p.people[person] {
		if c.Path != "" && !c.Hidden {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, newestFirst)
	return list
}

// view is the newest of a person's pages, nil if there is none to see.
func (p *presence) view(person string) *conn {
	if list := p.views(person); len(list) > 0 {
		return list[0]
	}
	return nil
}

// letter is a message for one subscriber, made while Hub.mu is held and
// delivered after.
type letter struct {
	sub *Subscriber
	key string
	m   []byte
}

// run tells what has changed, until the hub closes.
func (p *presence) run() {
	refresh := time.NewTicker(presenceRefresh)
	defer refresh.Stop()
	gather := time.NewTimer(time.Hour)
	gather.Stop()
	defer gather.Stop()
	for {
		select {
		case <-p.hub.ctx.Done():
			return
		case <-refresh.C:
			p.expire()
			p.publishAll()
		case <-p.woken:
			gather.Reset(presenceDelay)
			select {
			case <-p.hub.ctx.Done():
				return
			case <-gather.C:
			}
			p.tell()
		}
	}
}

// tell delivers what is due.
func (p *presence) tell() {
	h := p.hub
	h.mu.Lock()
	now := time.Now()
	var letters []letter
	for place, due := range p.duePlaces {
		if due.After(now) {
			p.poke()
			continue
		}
		delete(p.duePlaces, place)
		people, more := p.listOf(place)
		m := Encode(Presence{TypePresence, people, more})
		for _, c := range p.places[place] {
			// Whoever works on an investigation from another page sees who is on that page.
			if c.sub != nil && c.place == place {
				letters = append(letters, letter{c.sub, "presence", m})
			}
		}
	}
	for id, c := range p.dueCursors {
		m := cursorFrame(c)
		for _, o := range p.places[c.place] {
			if o.sub != nil && o.Who != c.Who && o.place == c.place {
				letters = append(letters, letter{o.sub, "cursor " + id, m})
			}
		}
	}
	clear(p.dueCursors)
	var views []viewFor
	for person := range p.duePeople {
		letters = append(letters, p.tellSelf(person)...)
		views = append(views, p.viewsOf(person)...)
	}
	clear(p.duePeople)
	news := p.takeNews()
	h.mu.Unlock()

	for _, l := range letters {
		l.sub.pushNewest(l.key, l.m)
	}
	for _, v := range views {
		v.tell(h)
	}
	p.publish(news)
}

// tellSelf tells a person's pages what they chose and who follows.
func (p *presence) tellSelf(person string) []letter {
	self := Self{Type: TypeSelf, ID: person, Followers: []Named{}}
	known := map[string]bool{}
	for _, c := range p.follow[person] {
		if !known[c.Who] {
			known[c.Who] = true
			self.Followers = append(self.Followers, Named{c.Who, c.Name})
		}
	}
	slices.SortFunc(self.Followers, func(a, b Named) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	var letters []letter
	for _, c := range p.people[person] {
		if c.sub != nil {
			self.Hidden, self.Alone = c.Hidden, c.Alone
			// Most of what a person does changes nothing of this.
			if m := Encode(self); !bytes.Equal(m, c.sub.self) {
				c.sub.self = m
				letters = append(letters, letter{c.sub, "self", m})
			}
		}
	}
	return letters
}

// expire forgets the pages of servers that have fallen silent.
func (p *presence) expire() {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := time.Now().Add(-presenceExpiry)
	for _, c := range p.conns {
		if c.sub == nil && c.heard.Before(limit) {
			p.remove(c)
		}
	}
}

// cursorFrame tells where a cursor is, or, without one or of somebody who
// hides, that there is none.
func cursorFrame(c *conn) []byte {
	m := CursorMoved{Type: TypeCursor, From: c.ID, Person: c.Who, Name: c.Name, Cursor: c.Cursor}
	if c.Hidden {
		m.Cursor = nil
	}
	return Encode(m)
}
