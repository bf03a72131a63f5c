package live

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"redthread/collab"
)

// maxEphemeral is how many messages without an offset may wait for a
// subscriber. The oldest make way: the next of their kind says the same better.
const maxEphemeral = 64

// Subscriber is the hub's end of one socket: a bounded queue of messages, the
// same bytes for everybody. One goroutine calls Next; the other methods may be
// called from any.
type Subscriber struct {
	hub  *Hub
	room *Room  // nil: the page shows no investigation
	conn *conn  // who and where; guarded by Hub.mu, as is self
	self []byte // what it was told last of its own person
	who  collab.Actor

	// What the room was asked for.
	epoch string
	after *int64

	limit int
	ready chan struct{} // holds one: there is something to take

	mu        sync.Mutex
	pending   [][]byte    // its start may be longer than limit; overflow disconnects
	backlog   int         // how many of pending are the start
	ephemeral []ephemeral // the newest of each key
	view      []byte      // what it was told last of whom it follows
	greeted   bool        // hello is queued: before it nothing without an offset goes out
	closed    bool
	code      int
	reason    string
}

// ephemeral is a message that the next with its key replaces.
type ephemeral struct {
	key string
	m   []byte
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
		if m, err := s.take(); m != nil || err != nil {
			return m, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Ready receives when there may be something to [Subscriber.Take].
func (s *Subscriber) Ready() <-chan struct{} { return s.ready }

// Take returns the next message, nil if none waits, or a *[CloseError].
func (s *Subscriber) Take() ([]byte, error) { return s.take() }

func (s *Subscriber) take() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.pending) > 0:
		m := s.pending[0]
		s.pending[0] = nil
		if s.pending = s.pending[1:]; len(s.pending) == 0 {
			s.pending = nil // an idle socket keeps no memory for what went through it
		}
		s.backlog = max(0, s.backlog-1)
		return m, nil
	case len(s.ephemeral) > 0 && s.greeted:
		m := s.ephemeral[0].m
		if s.ephemeral = slices.Delete(s.ephemeral, 0, 1); len(s.ephemeral) == 0 {
			s.ephemeral = nil
		}
		return m, nil
	case s.closed:
		return nil, &CloseError{s.code, s.reason}
	}
	return nil, nil
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
	s.greeted = true
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
		s.pending, s.ephemeral = nil, nil
		s.closed, s.code, s.reason = true, CloseSlow, "It did not keep up; come back and resume."
		s.notify()
		return
	}
	s.pending = append(s.pending, m)
	s.notify()
}

// pushNewest queues a message that has no offset in place of the one before it
// with the same key. It never closes a subscriber.
func (s *Subscriber) pushNewest(key string, m []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	defer s.notify()
	for i := range s.ephemeral {
		if s.ephemeral[i].key == key {
			s.ephemeral[i].m = m
			return
		}
	}
	if len(s.ephemeral) >= maxEphemeral {
		s.ephemeral = slices.Delete(s.ephemeral, 0, 1)
	}
	s.ephemeral = append(s.ephemeral, ephemeral{key, m})
}

// pushView tells what the one whom one follows sees, if that is another view than
// it was.
func (s *Subscriber) pushView(m []byte) {
	s.mu.Lock()
	same := bytes.Equal(s.view, m)
	s.view = m
	s.mu.Unlock()
	if !same {
		s.pushNewest("view", m)
	}
}

// forgetView makes the next view be told, whatever it is.
func (s *Subscriber) forgetView() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = nil
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

// Leave takes the subscriber out of its room, and its person out of the place
// that the page was.
func (s *Subscriber) Leave() {
	s.Close(CloseShutdown, "It left.")
	h := s.hub
	h.mu.Lock()
	if s.room != nil {
		delete(s.room.subs, s)
		s.room.joining = slices.DeleteFunc(s.room.joining, func(o *Subscriber) bool { return o == s })
	}
	h.presence.remove(s.conn)
	h.mu.Unlock()
	if s.room != nil {
		s.room.poke()
	}
}
