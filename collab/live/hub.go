// Package live brings the changes of investigations to whoever has one open. It
// knows no transport: a [Subscriber] is a bounded queue that a websocket drains.
//
// A [Room] is the live channel of one investigation, with one goroutine. It is
// woken with the place where the log now ends, reads what is new from the log
// once, and puts the same bytes into the queue of every subscriber. A lost wake
// costs at most [sweepEvery]; never a change, since the log is what is read.
//
// A subscriber that joins after an offset gets, in one queue and in this order,
// the hello, every change after its offset, and whatever comes later: the room's
// goroutine does both, so nothing can slip between. A queue that is full is
// closed; nobody waits for it.
//
// Locks: Hub.mu, then Subscriber.mu. Neither is held while reading the log or
// calling out.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"redthread/collab"
)

// Log is where changes are read.
type Log interface {
	Changes(ctx context.Context, id collab.InvestigationID, after int64, limit int) ([]collab.Change, collab.Position, error)
	LogPosition(ctx context.Context, id collab.InvestigationID) (collab.Position, error)
}

const (
	// sweepEvery is how often an open room looks at its log unasked.
	sweepEvery = 2 * time.Second
	// presenceDelay gathers what people do before it is told to others.
	presenceDelay = 50 * time.Millisecond
	// maxReplay is the longest gap that is replayed; beyond it a client loads
	// the page again, which is less work for both.
	maxReplay = collab.MaxChanges
)

// Options configures a [Hub]. Only Store has to be there.
type Options struct {
	Store Log
	// NATS carries wakes between servers and may lose any of them; nil: this
	// process only. Its owner closes it.
	NATS *nats.Conn
	Log  *slog.Logger
	// Queue is how many messages may wait for a subscriber before it is
	// disconnected; 0: 256.
	Queue int
}

// Hub holds the rooms. Its methods may be called from several goroutines.
type Hub struct {
	log    Log
	nats   *nats.Conn         // nil: none
	heard  *nats.Subscription // nil: none
	logger *slog.Logger
	queue  int
	ctx    context.Context // of the rooms; ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	rooms  map[collab.InvestigationID]*Room
	closed bool
}

// NewHub returns a hub over a log. Close it.
func NewHub(o Options) *Hub {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Queue <= 0 {
		o.Queue = 256
	}
	h := &Hub{log: o.Store, nats: o.NATS, logger: o.Log, queue: o.Queue, rooms: map[collab.InvestigationID]*Room{}}
	h.ctx, h.cancel = context.WithCancel(collab.AsServer(context.Background()))
	if h.nats != nil {
		var err error
		h.heard, err = h.nats.Subscribe("v1.investigation.*.changed", func(m *nats.Msg) { h.hear(m.Subject, m.Data) })
		if err != nil {
			h.logger.Warn("live: changes made by other servers show late", "error", err)
		}
	}
	return h
}

// wake is the payload of v1.investigation.<id>.changed.
type wake struct {
	Epoch  string `json:"epoch"`
	Offset int64  `json:"offset"`
}

// Announce tells the room of an investigation, here and on other servers, where
// its log now ends. It does not block. It is what [collab.Store.OnChange] calls.
func (h *Hub) Announce(p collab.Position) {
	h.wake(p.InvestigationID)
	if h.nats == nil {
		return
	}
	subject := "v1.investigation." + string(p.InvestigationID) + ".changed"
	if err := h.nats.Publish(subject, Encode(wake{p.Epoch, p.Offset})); err != nil {
		h.logger.Debug("change not announced; others will see it at their next sweep", "investigation", p.InvestigationID, "error", err)
	}
}

func (h *Hub) hear(subject string, payload []byte) {
	const prefix, suffix = "v1.investigation.", ".changed"
	if len(subject) <= len(prefix)+len(suffix) || !json.Valid(payload) {
		return
	}
	h.wake(collab.InvestigationID(subject[len(prefix) : len(subject)-len(suffix)]))
}

func (h *Hub) wake(id collab.InvestigationID) {
	h.mu.Lock()
	r := h.rooms[id]
	h.mu.Unlock()
	if r != nil {
		r.poke()
	}
}

// ErrClosed says that the hub is shutting down.
var ErrClosed = errors.New("live: closed")

// Join subscribes to an investigation. After nil means from now; otherwise the
// subscriber gets every change after *after, if epoch is that of the log, or
// else a reload. The error is [collab.ErrNotFound] if there is no such log.
func (h *Hub) Join(ctx context.Context, id collab.InvestigationID, who collab.Actor, page, epoch string, after *int64) (*Subscriber, error) {
	if _, err := h.log.LogPosition(ctx, id); err != nil {
		return nil, err
	}
	sub := &Subscriber{who: who, page: page, epoch: epoch, after: after, limit: h.queue, ready: make(chan struct{}, 1)}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	r := h.rooms[id]
	if r == nil {
		r = &Room{hub: h, id: id, woken: make(chan struct{}, 1), subs: map[*Subscriber]bool{}}
		h.rooms[id] = r
		h.done.Go(r.run)
	}
	sub.room = r
	r.joining = append(r.joining, sub)
	h.mu.Unlock()
	r.poke()
	return sub, nil
}

// People returns who is in the room of an investigation now.
func (h *Hub) People(id collab.InvestigationID) []Person {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[id]; r != nil {
		return r.people()
	}
	return []Person{}
}

// Stats are the numbers of a hub.
type Stats struct{ Rooms, Subscribers int }

// Stats counts rooms and subscribers.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{Rooms: len(h.rooms)}
	for _, r := range h.rooms {
		s.Subscribers += len(r.subs) + len(r.joining)
	}
	return s
}

// Close disconnects every subscriber with [CloseShutdown] and waits for the
// rooms. It may be called twice.
func (h *Hub) Close() error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	h.mu.Unlock()
	var err error
	if first && h.heard != nil && !h.nats.IsClosed() {
		err = h.heard.Unsubscribe()
	}
	h.cancel()
	h.done.Wait()
	return err
}
