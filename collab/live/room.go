package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"redthread/collab"
)

// Room is the live channel of one investigation. Its goroutine is started by
// the first subscriber and ends after the last has left.
type Room struct {
	hub   *Hub
	id    collab.InvestigationID
	woken chan struct{} // holds one: there is something to look at

	// The goroutine's own: where the subscribers are.
	epoch  string
	offset int64

	// Guarded by Hub.mu.
	subs          map[*Subscriber]bool
	joining       []*Subscriber
	presenceDirty bool
}

func (r *Room) poke() {
	select {
	case r.woken <- struct{}{}:
	default: // it will look anyway
	}
}

func (r *Room) run() {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	presence := time.NewTimer(time.Hour)
	presence.Stop()
	defer presence.Stop()
	waiting := false // the presence timer runs
	for {
		if !r.step() {
			return
		}
		if !waiting && r.presenceWanted() {
			presence.Reset(presenceDelay)
			waiting = true
		}
		select {
		case <-r.woken:
		case <-sweep.C:
		case <-presence.C:
			waiting = false
			r.tellPresence()
		case <-r.hub.ctx.Done():
			r.closeAll(CloseShutdown, "The server is restarting.")
			return
		}
	}
}

// step brings everybody up to date, then lets those in who wait. It is false
// when the room is empty and gone.
func (r *Room) step() bool {
	h := r.hub
	h.mu.Lock()
	live, joining := len(r.subs), r.joining
	r.joining = nil
	if live == 0 && len(joining) == 0 {
		r.forget()
		h.mu.Unlock()
		return false
	}
	h.mu.Unlock()

	if live > 0 {
		r.follow()
	}
	for _, sub := range joining {
		r.admit(sub)
	}
	return true
}

// forget takes the room out of its hub, whose mu is held. Another room may have
// the place already.
func (r *Room) forget() {
	if r.hub.rooms[r.id] == r {
		delete(r.hub.rooms, r.id)
	}
}

// follow sends what the log has beyond the room's offset to all subscribers.
func (r *Room) follow() {
	for {
		changes, p, err := r.read(r.offset)
		switch {
		case errors.Is(err, collab.ErrNotFound):
			r.closeAll(CloseGone, "This investigation is gone.")
			return
		case err != nil:
			if r.hub.ctx.Err() == nil {
				r.hub.logger.Error("live: read change log", "investigation", r.id, "error", err)
			}
			return // the next sweep tries again
		case p.Epoch != r.epoch || p.Offset < r.offset:
			r.reloadAll()
			return
		}
		if len(changes) == 0 {
			return
		}
		frames := make([][]byte, len(changes))
		gone := false
		for i := range changes {
			frames[i] = frame(&changes[i])
			gone = gone || changes[i].Type == collab.InvestigationDeleted
		}
		for _, sub := range r.subscribers() {
			for _, f := range frames {
				sub.push(f)
			}
		}
		r.offset = changes[len(changes)-1].Offset
		if gone {
			r.closeAll(CloseGone, "This investigation was deleted.")
			return
		}
		if r.offset >= p.Offset {
			return
		}
	}
}

// admit gives a new subscriber its hello and what it missed, and makes it one of
// the room, at the room's offset.
func (r *Room) admit(sub *Subscriber) {
	from := int64(-1)
	if sub.after != nil {
		from = *sub.after
	}
	r.hub.mu.Lock()
	first := len(r.subs) == 0
	r.hub.mu.Unlock()
	p := collab.Position{InvestigationID: r.id, Epoch: r.epoch, Offset: r.offset}
	var err error
	if first {
		p, err = r.hub.log.LogPosition(r.hub.ctx, r.id)
	}
	var missed []collab.Change
	if err == nil {
		switch {
		case (sub.epoch != "" && sub.epoch != p.Epoch) || from > p.Offset || (from >= 0 && p.Offset-from > maxReplay):
			sub.push(Encode(Reload{TypeReload}))
			sub.Close(CloseReload, "Load it again.")
			return
		case from >= 0 && from < p.Offset:
			missed, _, err = r.hub.log.Changes(r.hub.ctx, r.id, from, int(p.Offset-from))
		}
	}
	if err != nil {
		if r.hub.ctx.Err() == nil {
			r.hub.logger.Error("live: admit", "investigation", r.id, "error", err)
		}
		sub.Close(CloseReload, "The log cannot be read just now.")
		return
	}
	start := [][]byte{Encode(Hello{TypeHello, p.Epoch, p.Offset})}
	for i := range missed {
		start = append(start, frame(&missed[i]))
	}
	sub.start(start)
	r.epoch, r.offset = p.Epoch, p.Offset
	r.hub.mu.Lock()
	r.subs[sub] = true
	r.presenceDirty = true
	r.hub.mu.Unlock()
}

// read returns the changes after an offset. An investigation that was deleted
// keeps its log, whose last change says so.
func (r *Room) read(after int64) ([]collab.Change, collab.Position, error) {
	p, err := r.hub.log.LogPosition(r.hub.ctx, r.id)
	if err != nil || p.Epoch != r.epoch || p.Offset <= after {
		return nil, p, err
	}
	return r.hub.log.Changes(r.hub.ctx, r.id, after, 0)
}

func (r *Room) subscribers() []*Subscriber {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	list := make([]*Subscriber, 0, len(r.subs))
	for s := range r.subs {
		list = append(list, s)
	}
	return list
}

// reloadAll sends everybody away to load anew. Whoever joins next starts from
// the log as it is then.
func (r *Room) reloadAll() {
	message := Encode(Reload{TypeReload})
	list := r.subscribers()
	r.hub.mu.Lock()
	clear(r.subs)
	r.hub.mu.Unlock()
	for _, sub := range list {
		sub.push(message)
		sub.Close(CloseReload, "Load it again.")
	}
}

func (r *Room) closeAll(code int, reason string) {
	r.hub.mu.Lock()
	list := append([]*Subscriber(nil), r.joining...)
	r.joining = nil
	for s := range r.subs {
		list = append(list, s)
	}
	clear(r.subs)
	r.forget()
	r.hub.mu.Unlock()
	for _, s := range list {
		s.Close(code, reason)
	}
}

func (r *Room) presenceWanted() bool {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return r.presenceDirty
}

func (r *Room) tellPresence() {
	r.hub.mu.Lock()
	r.presenceDirty = false
	people := r.people()
	r.hub.mu.Unlock()
	message := Encode(Presence{TypePresence, people})
	for _, sub := range r.subscribers() {
		sub.pushPresence(message)
	}
}

// people lists who is here, by name. Hub.mu is held.
func (r *Room) people() []Person {
	byID := map[string]*Person{}
	for s := range r.subs {
		p := byID[s.who.ID]
		if p == nil {
			p = &Person{ID: s.who.ID, Name: s.who.Name, Pages: []string{}}
			byID[s.who.ID] = p
		}
		if s.page != "" && !slices.Contains(p.Pages, s.page) {
			p.Pages = append(p.Pages, s.page)
		}
	}
	list := make([]Person, 0, len(byID))
	for _, p := range byID {
		slices.Sort(p.Pages)
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Person) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return list
}

// frame is the bytes of one change, as the API gives them too.
func frame(c *collab.Change) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		panic("live: encode change: " + err.Error()) // its data is JSON already
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// Subscriber is one socket's place in a room: a bounded queue of messages, the
// same bytes for everybody. One goroutine calls Next; the other methods may be
// called from any.
type Subscriber struct {
	room  *Room
	who   collab.Actor
	epoch string
	after *int64
	limit int
	ready chan struct{} // holds one: there is something to take

	page string // guarded by Hub.mu

	mu       sync.Mutex
	pending  [][]byte // its start may be longer than limit; overflow disconnects
	backlog  int      // how many of pending are the start
	presence []byte   // the newest only
	closed   bool
	code     int
	reason   string
}

// CloseError says why a subscriber was closed: the websocket's close code.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return "live: closed: " + e.Reason }

// Next returns the next message, which must not be changed. It waits for one. It
// returns a *[CloseError] when the subscriber was closed and all before is
// taken, or the error of ctx.
func (s *Subscriber) Next(ctx context.Context) ([]byte, error) {
	for {
		s.mu.Lock()
		switch {
		case len(s.pending) > 0:
			m := s.pending[0]
			s.pending[0] = nil
			s.pending = s.pending[1:]
			s.backlog = max(0, s.backlog-1)
			s.mu.Unlock()
			return m, nil
		case s.presence != nil:
			m := s.presence
			s.presence = nil
			s.mu.Unlock()
			return m, nil
		case s.closed:
			err := &CloseError{s.code, s.reason}
			s.mu.Unlock()
			return nil, err
		}
		s.mu.Unlock()
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// start puts the hello and the replay before anything else.
func (s *Subscriber) start(messages [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.pending = append(messages, s.pending...)
	s.backlog = len(messages)
	s.notify()
}

// push queues a message. If the queue is full, the subscriber is too slow and is
// closed: what waits is dropped, since the client resumes by its offset.
func (s *Subscriber) push(m []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if len(s.pending)-s.backlog >= s.limit {
		s.pending, s.presence = nil, nil
		s.closed, s.code, s.reason = true, CloseSlow, "It did not keep up; come back and resume."
		s.notify()
		return
	}
	s.pending = append(s.pending, m)
	s.notify()
}

func (s *Subscriber) pushPresence(m []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.presence = m
	s.notify()
}

// Send queues an answer for this subscriber alone.
func (s *Subscriber) Send(m []byte) { s.push(m) }

// Close ends the subscriber: Next returns what waits, then a *[CloseError]. The
// first code and reason count.
func (s *Subscriber) Close(code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed, s.code, s.reason = true, code, reason
	s.notify()
}

func (s *Subscriber) notify() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Leave takes the subscriber out of its room.
func (s *Subscriber) Leave() {
	s.Close(CloseShutdown, "It left.")
	h := s.room.hub
	h.mu.Lock()
	delete(s.room.subs, s)
	s.room.joining = slices.DeleteFunc(s.room.joining, func(o *Subscriber) bool { return o == s })
	s.room.presenceDirty = true
	h.mu.Unlock()
	s.room.poke()
}

// maxPageBytes bounds the path that a client says it is on.
const maxPageBytes = 200

// SetPage says where the person is now, for the others to see.
func (s *Subscriber) SetPage(page string) {
	if len(page) > maxPageBytes {
		page = page[:maxPageBytes]
	}
	page = strings.ToValidUTF8(page, "")
	h := s.room.hub
	h.mu.Lock()
	changed := s.page != page
	s.page = page
	s.room.presenceDirty = s.room.presenceDirty || changed
	h.mu.Unlock()
	if changed {
		s.room.poke()
	}
}
