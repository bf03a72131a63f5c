// Package live brings the changes of investigations to whoever has one open, and
// tells people who is where. It knows no transport: a [Subscriber] is a bounded
// queue that a websocket drains; each open page has one.
//
// A [Room] is the live channel of one investigation, with one goroutine. It is
// woken with the place where the log now ends, reads what is new from the log
// once, and puts the same bytes into the queue of every subscriber. A lost wake
// costs at most [Options.Sweep]; never a change, since the log is what is read.
//
// A subscriber that joins after an offset gets, in one queue and in this order,
// the hello, every change after its offset, and whatever comes later: the room's
// goroutine does both, so nothing can slip between. A queue that is full is
// closed; nobody waits for it.
//
// Presence is kept by page, not by person, and never stored. A page is at a place
// (place.go): a board, a trace with its thread, or another page; those at one place are
// told who else is. Every server knows the pages of all, by NATS, and forgets a
// server that falls silent. What has no offset (who is here, cursors, whom one
// follows) may be dropped for the next of its kind, and is told at most every 50
// ms. A person's newest page is their view, which their followers are told; one who
// may not see it is told what one is told of somebody who is nowhere.
//
// What is promised, and the tests that prove it:
//
//	G1  What was confirmed is in the log and reaches every open page    TestLiveCrash (cmd/redthread), TestLiveFuzz (handlers)
//	G2  All pages get the changes in one order, numbered without holes  TestLiveFuzz, TestRoomReadsOnceForAll, collab.TestLogHasNoHoleUnderConcurrentWriters
//	G3  After a break a page goes on from (epoch, offset), or reloads   TestHelloReplayThenLive, TestResumeUnderLoad, TestReloadWhenTheLogIsAnother
//	G4  A slow page delays nobody: it loses cursors, then is sent away  TestSlowReaderDelaysNobody, TestSlowReaderLosesCursorsFirst, TestLiveLoad
//	G5  Presence is right within 45 s; nothing of it is stored          TestPresenceEndsWithoutAWord (handlers), TestPresenceOfADeadServerExpires
//	G6  Different fields both win; the same field asks                  collab.TestDifferentFieldsBothWin, collab.TestMergeTextProperties, TestBrowserConflict
//	G7  Nothing written after somebody lost access reaches them; they   TestNothingAfterAccessEnds, TestRevokedReadersLeave (handlers),
//	    are out within 5 s, and the content hidden                      TestBrowserRevoked
//	G8  NATS gone or back makes no difference to what is told           TestNATSIsOnlyTheWakeUp, TestLiveFuzz
//	G9  It works without scripts, and says how much is new              TestBrowserWithoutScripts, TestRefreshTellsWhatIsNew (handlers)
//
// Locks: Hub.mu, then Subscriber.mu. Neither is held while reading the log or
// calling out.
package live

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
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
	// sweepEvery is how often an open room looks at its log unasked, by default.
	sweepEvery = 2 * time.Second
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
	// Readers returns those of some actors, by id, who may read an investigation. It
	// is asked when a change is delivered, and before somebody is told where the one
	// whom they follow is. Nil: everybody sees all.
	Readers func(ctx context.Context, id collab.InvestigationID, actors []string) ([]string, error)
	// Sweep is how often an open room looks at its log unasked; 0: 2 s.
	Sweep time.Duration
	// Queue is how many messages may wait for a subscriber before it is
	// disconnected; 0: 256.
	Queue int
}

// Hub holds the rooms. Its methods may be called from several goroutines.
type Hub struct {
	log    Log
	nats   *nats.Conn // nil: none
	heard  []*nats.Subscription
	see    func(ctx context.Context, id collab.InvestigationID, actors []string) ([]string, error)
	logger *slog.Logger
	queue  int
	sweep  time.Duration
	base   context.Context // ends with Close
	ctx    context.Context // of what the hub reads for all
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	rooms    map[collab.InvestigationID]*Room
	presence *presence
	closed   bool
}

// NewHub returns a hub over a log. Close it.
func NewHub(o Options) *Hub {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Queue <= 0 {
		o.Queue = 256
	}
	if o.Sweep <= 0 {
		o.Sweep = sweepEvery
	}
	h := &Hub{log: o.Store, nats: o.NATS, see: o.Readers, logger: o.Log, queue: o.Queue, sweep: o.Sweep, rooms: map[collab.InvestigationID]*Room{}}
	h.base, h.cancel = context.WithCancel(context.Background())
	h.ctx = collab.AsServer(h.base)
	h.presence = newPresence(h, rand.Text()[:10])
	if h.nats != nil {
		h.listen("v1.investigation.*.changed", func(m *nats.Msg) { h.hear(m.Subject, m.Data) })
		h.listen(presenceSubject, h.presence.hear)
		h.listen(inboxSubject, h.hearInboxes)
		h.listen(annotationsSubject, h.hearAnnotations)
		h.presence.publish(news{New: true})
	}
	h.done.Go(h.presence.run)
	return h
}

func (h *Hub) listen(subject string, fn nats.MsgHandler) {
	sub, err := h.nats.Subscribe(subject, fn)
	if err != nil {
		h.logger.Warn("live: what happens on other servers shows late", "subject", subject, "error", err)
		return
	}
	h.heard = append(h.heard, sub)
}

// wake is the payload of v1.investigation.<id>.changed.
type wake struct {
	Epoch  string `json:"epoch"`
	Offset int64  `json:"offset"`
}

// Announce tells the room of an investigation, here and on other servers, where
// its log now ends. It does not block. It is what [collab.Store.OnChange] calls.
func (h *Hub) Announce(p collab.Position) {
	beforeAnnounce()
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

// recheck makes every room look who may still read.
func (h *Hub) recheck() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rooms {
		r.recheck = true
		r.poke()
	}
}

// ErrClosed says that the hub is shutting down.
var ErrClosed = errors.New("live: closed")

// Joining is who opens a page, and which.
type Joining struct {
	Who  collab.Actor
	Path string // the address of the page
	// Also is an investigation that the person works on from another page, or "".
	// The caller has asked whether they may see it.
	Also        collab.InvestigationID
	Preferences Preferences
}

// Join subscribes to an investigation; the caller has asked whether the person
// may see it. After nil means from now; otherwise the subscriber gets every
// change after *after, if epoch is that of the log, or else a reload. The error
// is [collab.ErrNotFound] if there is no such log.
func (h *Hub) Join(ctx context.Context, id collab.InvestigationID, j Joining, epoch string, after *int64) (*Subscriber, error) {
	if _, err := h.log.LogPosition(ctx, id); err != nil {
		return nil, err
	}
	if j.Path = cleanPath(j.Path); placeOf(j.Path) != boardPlace(id) {
		j.Path = "/i/" + string(id)
	}
	sub := &Subscriber{hub: h, who: j.Who, epoch: epoch, after: after, limit: h.queue, ready: make(chan struct{}, 1)}
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
	h.presence.add(sub, j)
	h.mu.Unlock()
	r.poke()
	return sub, nil
}

// JoinHere subscribes to the presence of a page that shows no investigation.
func (h *Hub) JoinHere(j Joining) (*Subscriber, error) {
	if strings.HasPrefix(placeOf(j.Path), boardPlace("")) {
		j.Path = "" // the way there is Join
	}
	if cleanPath(j.Path) == "" {
		j.Also = "" // settings and the like are no work on an investigation
	}
	sub := &Subscriber{hub: h, who: j.Who, limit: h.queue, ready: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	sub.start([][]byte{Encode(Hello{Type: TypeHello})})
	h.presence.add(sub, j)
	return sub, nil
}

// People returns who has an investigation open now, or works on it from another
// page, on whatever server.
func (h *Hub) People(id collab.InvestigationID) []Person {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, _ := h.presence.listOf(boardPlace(id))
	return list
}

// Stats are the numbers of a hub.
type Stats struct {
	Rooms       int
	Subscribers int // of this server
}

// Stats counts rooms and subscribers.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{Rooms: len(h.rooms)}
	for _, c := range h.presence.conns {
		if c.sub != nil {
			s.Subscribers++
		}
	}
	return s
}

// Close disconnects every subscriber with [CloseShutdown] and waits for the
// rooms. It may be called twice.
func (h *Hub) Close() error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	for _, c := range h.presence.conns {
		if c.sub != nil && c.sub.room == nil {
			c.sub.Close(CloseShutdown, shutdownReason)
		}
	}
	h.mu.Unlock()
	var errs []error
	if first && h.nats != nil && !h.nats.IsClosed() {
		h.presence.publish(news{Bye: true})
		for _, sub := range h.heard {
			errs = append(errs, sub.Unsubscribe())
		}
	}
	h.cancel()
	h.done.Wait()
	return errors.Join(errs...)
}

const shutdownReason = "The server is restarting."
