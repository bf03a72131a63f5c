package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
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
	subs    map[*Subscriber]bool
	joining []*Subscriber
	recheck bool // who may see what has changed
}

func (r *Room) poke() {
	select {
	case r.woken <- struct{}{}:
	default: // it will look anyway
	}
}

func (r *Room) run() {
	sweep := time.NewTicker(r.hub.sweep)
	defer sweep.Stop()
	for {
		if !r.step() {
			return
		}
		select {
		case <-r.woken:
		case <-sweep.C:
		case <-r.hub.ctx.Done():
			r.closeAll(CloseShutdown, shutdownReason)
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
	recheck := r.recheck
	r.joining, r.recheck = nil, false
	if live == 0 && len(joining) == 0 {
		r.forget()
		h.mu.Unlock()
		return false
	}
	h.mu.Unlock()

	if live > 0 {
		if recheck {
			r.readers()
		}
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
		for _, sub := range r.readers() {
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
	if err == nil && len(r.keepReaders([]*Subscriber{sub})) == 0 {
		return // whoever let it in asked before the log was read
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
	if r.hub.presence.conns[sub.conn.ID] != nil { // it has not left meanwhile
		r.subs[sub] = true
	}
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

// readers returns the subscribers who may read now, and sends the others away. It
// is asked after the log was read and before what was read is delivered: what was
// written after somebody lost access never reaches them, whatever took it from them.
func (r *Room) readers() []*Subscriber { return r.keepReaders(r.subscribers()) }

func (r *Room) keepReaders(list []*Subscriber) []*Subscriber {
	if r.hub.see == nil || len(list) == 0 {
		return list
	}
	var people []string
	known := map[string]bool{}
	for _, sub := range list {
		if !known[sub.who.ID] {
			known[sub.who.ID] = true
			people = append(people, sub.who.ID)
		}
	}
	ctx, cancel := context.WithTimeout(r.hub.ctx, 2*time.Second)
	defer cancel()
	may, err := r.hub.see(ctx, r.id, people)
	code, reason := CloseForbidden, "You may not see this."
	if err != nil { // nobody is told what they perhaps may not see: they come back, and are asked again
		if r.hub.ctx.Err() == nil {
			r.hub.logger.Error("live: who may read", "investigation", r.id, "error", err)
		}
		may, code, reason = nil, CloseReload, "Who may see this cannot be read just now."
	}
	return slices.DeleteFunc(list, func(sub *Subscriber) bool {
		if slices.Contains(may, sub.who.ID) {
			return false
		}
		r.hub.mu.Lock()
		delete(r.subs, sub)
		r.hub.mu.Unlock()
		sub.Close(code, reason)
		return true
	})
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
