package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"redthread/collab"
)

const inv = collab.InvestigationID("i_1")

// memoryLog is a change log in memory.
type memoryLog struct {
	mu    sync.Mutex
	epoch string
	n     int64
	reads atomic.Int64
	fail  atomic.Bool
}

func (l *memoryLog) append(n int64) collab.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n += n
	return collab.Position{InvestigationID: inv, Epoch: l.epoch, Offset: l.n}
}

func (l *memoryLog) LogPosition(_ context.Context, id collab.InvestigationID) (collab.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id != inv {
		return collab.Position{}, collab.ErrNotFound
	}
	if l.fail.Load() {
		return collab.Position{}, errors.New("disk on fire")
	}
	return collab.Position{InvestigationID: id, Epoch: l.epoch, Offset: l.n}, nil
}

func (l *memoryLog) Changes(ctx context.Context, id collab.InvestigationID, after int64, limit int) ([]collab.Change, collab.Position, error) {
	p, err := l.LogPosition(ctx, id)
	if err != nil {
		return nil, p, err
	}
	l.reads.Add(1)
	if limit <= 0 {
		limit = collab.MaxChanges
	}
	var list []collab.Change
	for o := after + 1; o <= p.Offset && len(list) < limit; o++ {
		list = append(list, collab.Change{Type: collab.NoteAdded, Offset: o, Actor: "u_1", ID: fmt.Sprint("b_", o), Data: json.RawMessage(`{}`)})
	}
	return list, p, nil
}

func newHub(t *testing.T, l Log, o Options) *Hub {
	t.Helper()
	o.Store = l
	h := NewHub(o)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func actor(n int) collab.Actor {
	return collab.Actor{Kind: collab.ActorUser, ID: fmt.Sprint("u_", n), Name: fmt.Sprint("Person ", n), Role: collab.RoleMember}
}

func join(t *testing.T, h *Hub, who int, epoch string, after int64) *Subscriber {
	t.Helper()
	var a *int64
	if after >= 0 {
		a = &after
	}
	s, err := h.Join(t.Context(), inv, Joining{Who: actor(who), Path: "/i/i_1"}, epoch, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Leave)
	return s
}

type message struct {
	Type, Epoch string
	Offset      int64
	People      []Person
}

// next returns the next message that is not of presence.
func next(t *testing.T, s *Subscriber) message {
	t.Helper()
	for {
		if m := nextAny(t, s); m.Type != TypePresence && m.Type != TypeSelf && m.Type != TypeCursor {
			return m
		}
	}
}

func nextAny(t *testing.T, s *Subscriber) message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	raw, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("next message: %v", err)
	}
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("message %s: %v", raw, err)
	}
	return m
}

func wantChanges(t *testing.T, s *Subscriber, from, to int64) {
	t.Helper()
	for o := from; o <= to; o++ {
		if m := next(t, s); m.Offset != o || m.Type != "note.added" {
			t.Fatalf("got %+v, want change %d", m, o)
		}
	}
}

func wantClosed(t *testing.T, s *Subscriber, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		_, err := s.Next(ctx)
		var c *CloseError
		if errors.As(err, &c) {
			if c.Code != code {
				t.Fatalf("closed with %d %s, want %d", c.Code, c.Reason, code)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestHelloReplayThenLive(t *testing.T) {
	l := &memoryLog{epoch: "e1", n: 7}
	h := newHub(t, l, Options{})
	fromNow, resumed := join(t, h, 1, "", -1), join(t, h, 2, "e1", 3)
	for _, s := range []*Subscriber{fromNow, resumed} {
		if m := nextAny(t, s); m.Type != TypeHello || m.Epoch != "e1" || m.Offset != 7 {
			t.Fatalf("first message %+v, want hello at 7", m)
		}
	}
	wantChanges(t, resumed, 4, 7)
	h.Announce(l.append(3))
	wantChanges(t, resumed, 8, 10)
	wantChanges(t, fromNow, 8, 10)
}

func TestReloadWhenTheLogIsAnother(t *testing.T) {
	cases := []struct {
		name, epoch string
		after       int64
		reload      bool
	}{
		{"same", "e1", 2000, false}, {"no epoch", "", 1500, false}, {"other epoch", "e0", 2000, true},
		{"other epoch, from now", "e0", -1, true}, {"beyond the end", "e1", 2001, true}, {"too long a gap", "e1", 999, true}, {"longest gap", "e1", 1000, false},
	}
	l := &memoryLog{epoch: "e1", n: 2000}
	h := newHub(t, l, Options{})
	for _, c := range cases {
		s := join(t, h, 1, c.epoch, c.after)
		m := nextAny(t, s)
		if c.reload {
			if m.Type != TypeReload {
				t.Errorf("%s: got %+v, want reload", c.name, m)
			}
			wantClosed(t, s, CloseReload)
			continue
		}
		if m.Type != TypeHello {
			t.Errorf("%s: got %+v, want hello", c.name, m)
		}
		wantChanges(t, s, c.after+1, 2000)
	}
	s := join(t, h, 1, "", -1)
	next(t, s)
	l.mu.Lock()
	l.epoch = "e2"
	l.mu.Unlock()
	h.Announce(l.append(1))
	if m := next(t, s); m.Type != TypeReload {
		t.Fatalf("after the epoch changed: %+v", m)
	}
	wantClosed(t, s, CloseReload)
}

// A reader that takes nothing is cut off, and those beside it get everything.
func TestSlowReaderDelaysNobody(t *testing.T) {
	l := &memoryLog{epoch: "e1"}
	h := newHub(t, l, Options{Queue: 16})
	slow, fast := join(t, h, 1, "", -1), join(t, h, 2, "", -1)
	next(t, fast)
	const total = 500
	for o := int64(1); o <= total; o++ {
		h.Announce(l.append(1))
		wantChanges(t, fast, o, o)
	}
	wantClosed(t, slow, CloseSlow)
	back := join(t, h, 1, "e1", 0)
	if m := next(t, back); m.Type != TypeHello {
		t.Fatalf("got %+v, want hello", m)
	}
	wantChanges(t, back, 1, total)
}

// One read of the log serves everybody in the room.
func TestRoomReadsOnceForAll(t *testing.T) {
	l := &memoryLog{epoch: "e1"}
	h := newHub(t, l, Options{})
	var subs []*Subscriber
	for i := range 50 {
		subs = append(subs, join(t, h, i, "", -1))
		next(t, subs[i])
	}
	before := l.reads.Load()
	h.Announce(l.append(1))
	for _, s := range subs {
		wantChanges(t, s, 1, 1)
	}
	if got := l.reads.Load() - before; got > 2 {
		t.Fatalf("the log was read %d times for 50 subscribers", got)
	}
}

// Subscribers that come, drop out at random and resume while others write miss
// nothing and get nothing twice.
func TestResumeUnderLoad(t *testing.T) {
	l := &memoryLog{epoch: "e1", n: 1}
	h := newHub(t, l, Options{Queue: 64})
	const total = maxReplay
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			last := int64(0)
			for round := 0; last < total; round++ {
				s, err := h.Join(t.Context(), inv, Joining{Who: actor(i)}, "e1", &last)
				if err != nil {
					t.Error(err)
					return
				}
				for taken := 0; last < total && taken < 37*(i+1); taken++ {
					raw, err := s.Next(t.Context())
					var c *CloseError
					if errors.As(err, &c) {
						if c.Code != CloseSlow {
							t.Errorf("closed: %v", err)
							return
						}
						break
					}
					var m message
					if err := errors.Join(err, json.Unmarshal(raw, &m)); err != nil {
						t.Error(err)
						return
					}
					if m.Type == "note.added" {
						if m.Offset != last+1 {
							t.Errorf("reader %d got %d after %d", i, m.Offset, last)
							return
						}
						last = m.Offset
					}
				}
				s.Leave()
			}
		})
	}
	for l.append(0).Offset < total {
		h.Announce(l.append(1))
	}
	wg.Wait()
}

func TestRoomHealsAfterTheLogFailed(t *testing.T) {
	l := &memoryLog{epoch: "e1"}
	h := newHub(t, l, Options{})
	s := join(t, h, 1, "", -1)
	next(t, s)
	l.fail.Store(true)
	h.Announce(l.append(2))
	l.fail.Store(false)
	wantChanges(t, s, 1, 2) // by the sweep, or at once if the failure was not seen
}

func TestEmptyRoomsEnd(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	for range 20 {
		s, err := h.Join(t.Context(), inv, Joining{Who: actor(1)}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		next(t, s)
		s.Leave()
	}
	for deadline := time.Now().Add(60 * time.Second); h.Stats() != (Stats{}); {
		if time.Now().After(deadline) {
			t.Fatalf("still %+v", h.Stats())
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := h.Join(t.Context(), "i_none", Joining{Who: actor(1)}, "", nil); !errors.Is(err, collab.ErrNotFound) {
		t.Fatalf("unknown investigation: %v", err)
	}
}

func TestCloseSendsPeopleAway(t *testing.T) {
	h := NewHub(Options{Store: &memoryLog{epoch: "e1"}})
	s := join(t, h, 1, "", -1)
	next(t, s)
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, s, CloseShutdown)
	if _, err := h.Join(t.Context(), inv, Joining{Who: actor(1)}, "", nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("join after close: %v", err)
	}
}

// Two servers over one log and one NATS: what one announces arrives at the
// other; when NATS is gone it arrives all the same.
func TestNATSIsOnlyTheWakeUp(t *testing.T) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(60 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	connect := func() *nats.Conn {
		nc, err := nats.Connect(ns.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	l := &memoryLog{epoch: "e1"}
	one, two := newHub(t, l, Options{NATS: connect()}), newHub(t, l, Options{NATS: connect()})
	s := join(t, two, 1, "", -1)
	next(t, s)
	one.Announce(l.append(1))
	wantChanges(t, s, 1, 1)
	ns.Shutdown()
	one.Announce(l.append(1))
	wantChanges(t, s, 2, 2)
}

// NATS that was away and is back wakes the other server again: without waiting for
// a sweep.
func TestNATSWakesAgainAfterARestart(t *testing.T) {
	begin := func(port int) *server.Server {
		ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true})
		if err != nil {
			t.Fatal(err)
		}
		ns.Start()
		if !ns.ReadyForConnections(60 * time.Second) {
			t.Fatal("the NATS server does not start")
		}
		return ns
	}
	ns := begin(-1)
	address := ns.ClientURL()
	back := make(chan struct{}, 2)
	connect := func() *nats.Conn {
		nc, err := nats.Connect(address, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	l := &memoryLog{epoch: "e1"}
	hub := func() *Hub { return newHub(t, l, Options{NATS: connect(), Sweep: time.Hour}) }
	one, two := hub(), hub()
	s := join(t, two, 1, "", -1)
	next(t, s)
	if err := two.nats.Flush(); err != nil { // its subscriptions are there
		t.Fatal(err)
	}
	one.Announce(l.append(1))
	wantChanges(t, s, 1, 1)
	port := ns.Addr().(*net.TCPAddr).Port
	ns.Shutdown()
	ns.WaitForShutdown()
	ns = begin(port)
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	for range 2 {
		select {
		case <-back:
		case <-time.After(60 * time.Second):
			t.Fatal("not connected again")
		}
	}
	if err := two.nats.Flush(); err != nil { // its subscriptions are there again
		t.Fatal(err)
	}
	one.Announce(l.append(1))
	wantChanges(t, s, 2, 2)
}

// The Go and the JavaScript list of types are the same.
func TestScriptKnowsTheSameTypes(t *testing.T) {
	src, err := os.ReadFile("../../static/js/live_messages.js")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"serverTypes": ServerTypes, "clientTypes": ClientTypes} {
		block := regexp.MustCompile(`export const ` + name + ` = \[([^\]]*)\]`).FindSubmatch(src)
		if block == nil {
			t.Fatalf("live_messages.js has no %s", name)
		}
		var got []string
		for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllSubmatch(block[1], -1) {
			got = append(got, string(m[1]))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -go +js\n%s", name, diff)
		}
	}
}

// Each type that the server sends has its golden JSON.
func TestGoldenMessages(t *testing.T) {
	messages := map[string][]byte{
		TypeHello:    Encode(Hello{TypeHello, "e1", 42}),
		TypeReload:   Encode(Reload{TypeReload}),
		TypePresence: Encode(Presence{TypePresence, []Person{{"u_1", "Ana Lima", []string{"/t/4bf92f3577b34da6a3ce929d0e0e4736?zoom=0-500"}, false, "u_2"}}, 0}),
		TypeSelf:     Encode(Self{TypeSelf, "u_1", Preferences{Hidden: false, Alone: true}, []Named{{"u_2", "Bo"}}}),
		TypeCursor:   Encode(CursorMoved{TypeCursor, "k3.1", "u_1", "Ana Lima", &Cursor{Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Span: "00f067aa0ba902b7", Field: "http.route", Offset: -1}}),

		TypeFollowView:  Encode(FollowView{TypeFollowView, "u_1", "Ana Lima", "/i/i_1", Scroll{"b_1", -12.5}}),
		TypeFollowEnded: Encode(FollowEnded{TypeFollowEnded, "u_1", "Ana Lima", EndRefused}),
		TypeFollowAsked: Encode(FollowAsked{TypeFollowAsked, "u_1", "Ana Lima"}),
		TypeInbox:       Encode(InboxChanged{TypeInbox}),
		TypeAnnotations: Encode(AnnotationsChanged{TypeAnnotations}),
		TypeAck:         Encode(Ack{TypeAck, "6b0e", 42}),
		TypeError:       Encode(Error{Type: TypeError, Ref: "6b0e", Code: "invalid", Message: "Pick a span first."}),

		"error-conflict": Encode(Error{Type: TypeError, Ref: "6b0e", Code: "conflict", Message: "Somebody changed the text.", Conflict: &Conflict{"text", "mine", "theirs", "theirs\nmine", 42, "Ann", 1700000000000000000}}),
	}
	for _, typ := range ServerTypes {
		if messages[typ] == nil {
			c := collab.Change{Type: collab.ChangeType(typ), Offset: 42, Actor: "u_1", ActorName: "Ana <Lima>", AtNano: 1700000000000000000,
				Ref: "6b0e", ID: "b_1", Data: json.RawMessage(`{"id":"b_1"}`)}
			messages[typ] = frame(&c)
		}
	}
	for typ, got := range messages {
		path := filepath.Join("testdata", typ+".json")
		if os.Getenv("UPDATE") != "" {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, append(got, '\n'), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(want), got) {
			t.Errorf("%s:\n got %s\nwant %s", typ, got, want)
		}
	}
}

// What is written after somebody lost access never reaches them, however they lost it
// and however soon; what was written before may.
func TestNothingAfterAccessEnds(t *testing.T) {
	l := &memoryLog{epoch: "e1"}
	var out atomic.Bool
	h := newHub(t, l, Options{Sweep: time.Hour, Readers: func(_ context.Context, _ collab.InvestigationID, actors []string) ([]string, error) {
		return slices.DeleteFunc(slices.Clone(actors), func(a string) bool { return a == "u_2" && out.Load() }), nil
	}})
	only := func(s *Subscriber, last int64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		for {
			raw, err := s.Next(ctx)
			var closed *CloseError
			var m message
			switch {
			case errors.As(err, &closed) && closed.Code == CloseForbidden:
				return
			case err != nil:
				t.Fatalf("whose access ended got %v, want code %d", err, CloseForbidden)
			case json.Unmarshal(raw, &m) != nil || m.Type == "note.added" && m.Offset > last:
				t.Fatalf("whose access ended got %s", raw)
			}
		}
	}
	ann, bo := join(t, h, 1, "", -1), join(t, h, 2, "", -1)
	next(t, ann)
	next(t, bo)
	h.Announce(l.append(1))
	wantChanges(t, bo, 1, 1)
	out.Store(true)
	h.Announce(l.append(1))
	wantChanges(t, ann, 1, 2)
	only(bo, 1)
	only(join(t, h, 2, "e1", 0), 0) // nor does what they missed, if they come in just then
	// Where nothing is written, they go as soon as it is known that access changed.
	out.Store(false)
	di := join(t, h, 2, "", -1)
	next(t, di)
	out.Store(true)
	h.TellAnnotations("", "")
	only(di, 2)
}
