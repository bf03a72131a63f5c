package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"redthread/collab"
)

const (
	traceA = "/t/4bf92f3577b34da6a3ce929d0e0e4736"
	traceB = "/t/00000000000000000000000000000b0b"
)

func here(t *testing.T, h *Hub, who int, path string) *Subscriber {
	t.Helper()
	s, err := h.JoinHere(Joining{Who: actor(who), Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Leave)
	return s
}

// waitFor takes messages of a type until one satisfies ok.
func waitFor[M any](t *testing.T, s *Subscriber, typ, what string, ok func(M) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var last []byte
	for {
		raw, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("never told: %s; last %s: %s (%v)", what, typ, last, err)
		}
		var head struct{ Type string }
		var m M
		if err := errors.Join(json.Unmarshal(raw, &head)); err != nil {
			t.Fatal(err)
		}
		if head.Type != typ {
			continue
		}
		last = raw
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if ok(m) {
			return
		}
	}
}

// are waits until a place is told with exactly these people: "Name:page page",
// in the order of names.
func are(t *testing.T, s *Subscriber, want ...string) {
	t.Helper()
	var got []string
	waitFor(t, s, TypePresence, strings.Join(want, ", "), func(p Presence) bool {
		got = nil
		for _, one := range p.People {
			got = append(got, one.ID+":"+strings.Join(one.Pages, " "))
		}
		return cmp.Equal(got, want)
	})
}

func TestPresence(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	a, b := join(t, h, 1, "", -1), join(t, h, 2, "", -1)
	are(t, a, "u_1:/i/i_1", "u_2:/i/i_1")
	twice := join(t, h, 2, "", -1)
	twice.SetView(View{Path: "/i/i_1?view=lanes"})
	are(t, a, "u_1:/i/i_1", "u_2:/i/i_1?view=lanes /i/i_1")
	b.SetView(View{Path: traceA}) // not where this socket is
	b.Leave()
	are(t, a, "u_1:/i/i_1", "u_2:/i/i_1?view=lanes")
	twice.SetView(View{Path: "/i/i_1?view=lanes", Idle: true})
	waitFor(t, a, TypePresence, "nobody looks", func(p Presence) bool { return p.People[1].Idle && !p.People[0].Idle })
	if got := h.People(inv); len(got) != 2 {
		t.Fatalf("People: %+v", got)
	}
	twice.Leave()
	are(t, a, "u_1:/i/i_1")
}

func TestPresenceOnATrace(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	board := join(t, h, 3, "", -1)
	a, b := here(t, h, 1, traceA), here(t, h, 2, "/thread"+traceA[2:]+"?span=00f067aa0ba902b7")
	are(t, a, "u_1:"+traceA, "u_2:/thread"+traceA[2:]+"?span=00f067aa0ba902b7")
	other := here(t, h, 4, traceB)
	are(t, other, "u_4:"+traceB)
	a.SetView(View{Path: traceA + "/00f067aa0ba902b7?zoom=1-2"})
	are(t, b, "u_1:"+traceA+"/00f067aa0ba902b7?zoom=1-2", "u_2:/thread"+traceA[2:]+"?span=00f067aa0ba902b7")

	// Who works on an investigation from the trace shows on its board, and the
	// trace's own people are not told on which.
	works, err := h.JoinHere(Joining{Who: actor(5), Path: traceB, Also: inv})
	if err != nil {
		t.Fatal(err)
	}
	defer works.Leave()
	are(t, board, "u_3:/i/i_1", "u_5:"+traceB)
	are(t, other, "u_4:"+traceB, "u_5:"+traceB)
	works.SetAlso("")
	are(t, board, "u_3:/i/i_1")
}

// A page cannot say that it is at a place that it was not let into, nor give
// others a link that leads off the site.
func TestPlaces(t *testing.T) {
	cases := []struct{ path, clean, place string }{
		{"/i/i_1", "/i/i_1", "i:i_1"}, {"/i/i_1?view=lanes#b_2", "/i/i_1?view=lanes", "i:i_1"}, {"/i/i_1/blocks/b_1", "", ""}, {"/i/i_1?at=3", "/i/i_1?at=3", "i:i_1"}, {"/i/i_1/blocks/b_1/compare", "/i/i_1/blocks/b_1/compare", "i:i_1"}, {"/i/i_1/blocks/b_1/redact", "", ""}, {"/i/", "", ""},
		{"/t/ABCD", "/t/ABCD", "t:abcd"}, {"/t/abcd/01?zoom=1-2", "/t/abcd/01?zoom=1-2", "t:abcd"}, {"/thread/abcd", "/thread/abcd", "t:abcd"},
		{"/explore?v=COUNT&range=1h", "/explore?v=COUNT&range=1h", "/explore"}, {"/explore/download/csv", "", ""},
		{"/", "/", "/"}, {"/ripples?range=1h", "/ripples?range=1h", "/ripples"}, {"/services", "/services", "/services"}, {"/services/a%2Fb?range=1h", "/services/a%2Fb?range=1h", "/services/a%2Fb"},
		{"/service-map/traces?from=a", "/service-map/traces?from=a", "/service-map/traces"}, {"/service-map", "", ""}, {"/messages/m/x", "", ""}, {"/jobs/", "", ""}, {"/queues/q", "/queues/q", "/queues/q"},
		{"/investigations?q=their+title", "/investigations", "/investigations"}, {"/investigations/new", "", ""}, {"/find?q=1", "", ""}, {"/inbox", "", ""},
		{"/settings/people", "", ""}, {"", "", ""}, {"//evil.example/t/abcd", "", ""}, {"https://evil.example/t/abcd", "", ""},
		{"/t/abcd\\evil", "", ""}, {"/t/abcd\n", "", ""}, {"/t/\xff", "", ""}, {"/explore?w=" + strings.Repeat("x", 5000), "/explore", "/explore"}, {"/t/" + strings.Repeat("x", 5000), "", ""},
	}
	for _, c := range cases {
		if got := cleanPath(c.path); got != c.clean || placeOf(got) != c.place {
			t.Errorf("%.60q: %.60q at %q, want %.60q at %q", c.path, got, placeOf(got), c.clean, c.place)
		}
	}
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	board := join(t, h, 1, "", -1)
	are(t, board, "u_1:/i/i_1")
	sneak := here(t, h, 2, "/i/i_1")
	sneak.SetView(View{Path: "/i/i_1"})
	other := join(t, h, 3, "", -1)
	are(t, other, "u_1:/i/i_1", "u_3:/i/i_1")
	waitFor(t, sneak, TypeSelf, "its own", func(Self) bool { return true })
	sneak.Leave()
	for {
		m, err := sneak.Take()
		if err != nil {
			break
		}
		if strings.Contains(string(m), "i_1") {
			t.Fatalf("told to somebody at no place: %s", m)
		}
	}
}

func TestHiddenPeopleShowNowhere(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	a, b := here(t, h, 1, traceA), here(t, h, 2, traceA)
	are(t, a, "u_1:"+traceA, "u_2:"+traceA)
	b.SetCursor(&Cursor{Trace: "t", Span: "s", Offset: -1})
	waitFor(t, a, TypeCursor, "Bo's cursor", func(m CursorMoved) bool { return m.Person == "u_2" && m.Cursor != nil && m.Cursor.Span == "s" })
	h.Prefer("u_2", Preferences{Hidden: true})
	waitFor(t, b, TypeSelf, "hidden", func(m Self) bool { return m.Hidden })
	are(t, a, "u_1:"+traceA)
	late := here(t, h, 3, traceA)
	are(t, late, "u_1:"+traceA, "u_3:"+traceA)
	b.SetCursor(&Cursor{Trace: "t", Span: "s2", Offset: -1})
	a.Follow("u_2", false)
	waitFor(t, a, TypeFollowEnded, "as if they were not here", func(m FollowEnded) bool { return m.Reason == EndGone && m.Name == "" })
	h.Prefer("u_2", Preferences{})
	are(t, late, "u_1:"+traceA, "u_2:"+traceA, "u_3:"+traceA)
	waitFor(t, late, TypeCursor, "the cursor is shown again", func(m CursorMoved) bool { return m.Cursor != nil && m.Cursor.Span == "s2" })
}

func TestCursors(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	a, b := join(t, h, 1, "", -1), join(t, h, 2, "", -1)
	typing := Cursor{Block: "b_1", Field: "text", Offset: 12, Typing: true}
	a.SetCursor(&typing)
	waitFor(t, b, TypeCursor, "typing", func(m CursorMoved) bool { return m.Person == "u_1" && m.Cursor != nil && *m.Cursor == typing })
	late := join(t, h, 3, "", -1)
	waitFor(t, late, TypeCursor, "whoever comes later sees it too", func(m CursorMoved) bool { return m.Cursor != nil && *m.Cursor == typing })
	a.SetCursor(&Cursor{Field: strings.Repeat("x", maxCursorPart+1)})
	waitFor(t, b, TypeCursor, "nonsense is no cursor", func(m CursorMoved) bool { return m.Cursor == nil })
	a.SetCursor(&typing)
	waitFor(t, b, TypeCursor, "typing again", func(m CursorMoved) bool { return m.Cursor != nil })
	a.Leave()
	waitFor(t, b, TypeCursor, "gone with its page", func(m CursorMoved) bool { return m.Cursor == nil })
}

func TestFollow(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	ann, bo := here(t, h, 1, traceA), here(t, h, 2, "/explore")
	bo.Follow("u_1", false)
	waitFor(t, bo, TypeFollowView, "Ann's view", func(m FollowView) bool { return m.Path == traceA && m.Name == "Person 1" })
	waitFor(t, ann, TypeSelf, "her follower", func(m Self) bool { return len(m.Followers) == 1 && m.Followers[0] == Named{"u_2", "Person 2"} })
	ann.SetView(View{Path: traceA + "?zoom=3-4", Scroll: Scroll{"r-1", 26}})
	waitFor(t, bo, TypeFollowView, "Ann's zoom", func(m FollowView) bool { return m.Path == traceA+"?zoom=3-4" && m.Scroll == Scroll{"r-1", 26} })

	// Ann goes from page to page: between two there is nothing to see. Bo's own
	// next page asks again.
	ann.Leave()
	waitFor(t, bo, TypeFollowView, "Ann is nowhere", func(m FollowView) bool { return m.Path == "" })
	bo.Leave()
	bo = here(t, h, 2, traceA)
	bo.Follow("u_1", true)
	ann = here(t, h, 1, traceB)
	waitFor(t, bo, TypeFollowView, "Ann's next page", func(m FollowView) bool { return m.Path == traceB })

	// No circles, however long.
	ann.Follow("u_2", false)
	waitFor(t, ann, TypeFollowEnded, "a circle of two", func(m FollowEnded) bool { return m.Reason == EndLoop })
	cy := here(t, h, 3, traceB)
	cy.Follow("u_2", false)
	waitFor(t, cy, TypeFollowView, "Bo's view", func(m FollowView) bool { return m.Path == traceA })
	ann.Follow("u_3", false)
	waitFor(t, ann, TypeFollowEnded, "a circle of three", func(m FollowEnded) bool { return m.Reason == EndLoop })
	ann.Follow("u_1", false)
	waitFor(t, ann, TypeFollowEnded, "oneself", func(m FollowEnded) bool { return m.Reason == EndLoop })

	ann.LetGo("u_2")
	waitFor(t, bo, TypeFollowEnded, "let go", func(m FollowEnded) bool { return m.Reason == EndLetGo && m.Person == "u_1" })
	waitFor(t, ann, TypeSelf, "nobody follows her", func(m Self) bool { return len(m.Followers) == 0 })

	bo.Follow("u_1", false)
	h.Prefer("u_1", Preferences{Alone: true})
	waitFor(t, bo, TypeFollowEnded, "she lets nobody follow", func(m FollowEnded) bool { return m.Reason == EndRefused })
	bo.Follow("u_1", false)
	waitFor(t, bo, TypeFollowEnded, "nor begin to", func(m FollowEnded) bool { return m.Reason == EndRefused })
	h.Prefer("u_1", Preferences{})
	bo.Follow("u_9", false)
	waitFor(t, bo, TypeFollowEnded, "nobody of that name", func(m FollowEnded) bool { return m.Reason == EndGone })

	// Asked, only who is at the same place hears of it.
	ann.Ask("u_3")
	ann.Ask("u_2")
	waitFor(t, cy, TypePresence, "people", func(Presence) bool { return true })
	bo.Leave()
	for m, err := bo.Take(); err == nil && m != nil; m, err = bo.Take() {
		if strings.Contains(string(m), TypeFollowAsked) {
			t.Errorf("Bo is at another place and was told %s", m)
		}
	}
}

func TestAskedToFollow(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	ann, bo := here(t, h, 1, traceA), here(t, h, 2, traceA)
	ann.Ask("u_2")
	waitFor(t, bo, TypeFollowAsked, "asked", func(m FollowAsked) bool { return m.Person == "u_1" && m.Name == "Person 1" })
}

// A follower who may not see where the other one is learns no more than if they
// were nowhere.
func TestFollowerIsNotLedIntoThePrivate(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{Readers: func(_ context.Context, id collab.InvestigationID, actors []string) ([]string, error) {
		return slices.DeleteFunc(slices.Clone(actors), func(a string) bool { return id != inv || a == "u_2" }), nil
	}})
	bo, cy := here(t, h, 2, traceA), here(t, h, 3, traceA)
	ann := here(t, h, 1, traceA)
	for _, s := range []*Subscriber{bo, cy} {
		s.Follow("u_1", false)
		waitFor(t, s, TypeFollowView, "the trace", func(m FollowView) bool { return m.Path == traceA })
	}
	ann.Leave()
	waitFor(t, bo, TypeFollowView, "between two pages", func(m FollowView) bool { return m.Path == "" })
	board := join(t, h, 1, "", -1)
	waitFor(t, cy, TypeFollowView, "the board", func(m FollowView) bool { return m.Path == "/i/i_1" })
	board.SetView(View{Path: "/i/i_1?view=lanes", Scroll: Scroll{"b_1", 3}})
	waitFor(t, cy, TypeFollowView, "its lanes", func(m FollowView) bool { return m.Path == "/i/i_1?view=lanes" })
	// With a page that Bo may see behind it, that is what he sees; what Ann does on
	// the board is nothing to him.
	explore := here(t, h, 1, "/explore")
	waitFor(t, bo, TypeFollowView, "the page beside it", func(m FollowView) bool { return m.Path == "/explore" })
	board.SetView(View{Path: "/i/i_1?view=board", Scroll: Scroll{"b_1", 4}})
	waitFor(t, cy, TypeFollowView, "the board again", func(m FollowView) bool { return m.Path == "/i/i_1?view=board" })
	explore.SetView(View{Path: "/explore?q=1"})
	waitFor(t, bo, TypeFollowView, "the page beside it, changed", func(m FollowView) bool {
		if m.Path == "" || strings.Contains(m.Path, "i_1") {
			t.Errorf("a follower who may not see the board was told %+v", m)
		}
		return m.Path == "/explore?q=1"
	})
	bo.Close(CloseShutdown, "")
	for m, err := bo.Take(); err == nil; m, err = bo.Take() {
		if strings.Contains(string(m), "i_1") || strings.Contains(string(m), "b_1") {
			t.Fatalf("a follower who may not see the board was told %s", m)
		}
	}
}

// What one who follows is told while the other opens and uses a board that they may
// not see is what they are told of a page that is shown to nobody.
func TestAPrivateBoardIsLikeAPageOfNobody(t *testing.T) {
	told := func(open func(h *Hub) *Subscriber) (views []string) {
		h := newHub(t, &memoryLog{epoch: "e1"}, Options{Readers: func(_ context.Context, id collab.InvestigationID, actors []string) ([]string, error) {
			return slices.DeleteFunc(slices.Clone(actors), func(a string) bool { return a == "u_2" }), nil
		}})
		bo, ann := here(t, h, 2, traceA), here(t, h, 1, "/explore")
		bo.Follow("u_1", false)
		see := func(what, path string) {
			waitFor(t, bo, TypeFollowView, what, func(m FollowView) bool { views = append(views, m.Path); return m.Path == path })
		}
		see("Explore", "/explore")
		ann.Leave()
		see("between two pages", "")
		page := open(h)
		page.SetView(View{Path: page.conn.Path, Scroll: Scroll{"b_1", 3}})
		page.Leave()
		here(t, h, 1, "/explore?q=2")
		see("Explore again", "/explore?q=2")
		return views
	}
	board := told(func(h *Hub) *Subscriber { return join(t, h, 1, "", -1) })
	nobody := told(func(h *Hub) *Subscriber { return here(t, h, 1, "/inbox") })
	if !slices.Equal(board, nobody) {
		t.Errorf("on a private board: %q; on a page of nobody: %q", board, nobody)
	}
}

// Presence is told once for what happens within its delay, and a refresh keeps
// the rest of the world out of it.
func TestPresenceIsGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(Options{Store: &memoryLog{epoch: "e1"}})
		defer h.Close()
		s, err := h.JoinHere(Joining{Who: actor(1), Path: "/explore"})
		if err != nil {
			t.Fatal(err)
		}
		drain := func() (told int) {
			for m, err := s.Take(); m != nil && err == nil; m, err = s.Take() {
				if strings.Contains(string(m), TypePresence) {
					told++
				}
			}
			return told
		}
		time.Sleep(time.Second)
		synctest.Wait()
		drain()
		for i := range 500 {
			s.SetView(View{Path: fmt.Sprint("/explore?limit=", i)})
		}
		synctest.Wait()
		if got := drain(); got != 0 {
			t.Errorf("told %d times at once, want it gathered for %s", got, presenceDelay)
		}
		time.Sleep(presenceDelay)
		synctest.Wait()
		if got := drain(); got != 1 {
			t.Errorf("told %d times, want once", got)
		}
	})
}

// A server that dies without a word is forgotten within 45 seconds; one that
// stops says so.
func TestPresenceOfADeadServerExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(Options{Store: &memoryLog{epoch: "e1"}})
		defer h.Close()
		told := func(n news) { h.presence.hear(&nats.Msg{Data: Encode(n)}) }
		elsewhere := &conn{ID: "other.1", Who: "u_7", Name: "Person 7", Path: "/i/i_1", Moved: 1}
		told(news{Node: "other", Conns: []*conn{elsewhere}})
		if got := h.People(inv); len(got) != 1 || got[0].ID != "u_7" {
			t.Fatalf("people %+v, want the one on the other server", got)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		told(news{Node: "other", Conns: []*conn{elsewhere}})
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if got := h.People(inv); len(got) != 1 {
			t.Fatalf("people %+v: forgotten although its server spoke 29 seconds ago", got)
		}
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if got := h.People(inv); len(got) != 0 {
			t.Fatalf("people %+v 45 seconds after its server died", got)
		}
		told(news{Node: "other", Conns: []*conn{elsewhere}})
		told(news{Node: "other", Bye: true})
		if got := h.People(inv); len(got) != 0 {
			t.Fatalf("people %+v after its server said goodbye", got)
		}
	})
}

// Two servers on one NATS show and follow each other's people.
func TestPresenceCrossesServers(t *testing.T) {
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
	one := newHub(t, l, Options{NATS: connect()})
	ann := here(t, one, 1, traceA)
	are(t, ann, "u_1:"+traceA)
	two := newHub(t, l, Options{NATS: connect()}) // comes later and is told what there is
	bo := here(t, two, 2, traceA)
	are(t, ann, "u_1:"+traceA, "u_2:"+traceA)
	are(t, bo, "u_1:"+traceA, "u_2:"+traceA)
	bo.Follow("u_1", false)
	waitFor(t, ann, TypeSelf, "a follower elsewhere", func(m Self) bool { return len(m.Followers) == 1 })
	ann.SetView(View{Path: traceA + "?zoom=1-9"})
	waitFor(t, bo, TypeFollowView, "her zoom", func(m FollowView) bool { return m.Path == traceA+"?zoom=1-9" })
	ann.SetCursor(&Cursor{Trace: "t", Span: "s", Offset: -1})
	waitFor(t, bo, TypeCursor, "her cursor", func(m CursorMoved) bool { return m.Cursor != nil && m.Cursor.Span == "s" })
	ann.LetGo("u_2")
	waitFor(t, bo, TypeFollowEnded, "let go", func(m FollowEnded) bool { return m.Reason == EndLetGo })
	two.Prefer("u_1", Preferences{Hidden: true})
	waitFor(t, ann, TypeSelf, "what she chose elsewhere", func(m Self) bool { return m.Hidden })
	one.Prefer("u_1", Preferences{})
	are(t, bo, "u_1:"+traceA+"?zoom=1-9", "u_2:"+traceA)
	ann.Leave()
	are(t, bo, "u_2:"+traceA)
}

// A place with very many people names some of them.
func TestCrowd(t *testing.T) {
	h := newHub(t, &memoryLog{epoch: "e1"}, Options{})
	var last *Subscriber
	for i := range 120 {
		last = here(t, h, i, "/explore")
	}
	waitFor(t, last, TypePresence, "50 of 120", func(p Presence) bool { return len(p.People) == maxPeopleTold && p.More == 70 })
}

// What has no offset is dropped for a reader that does not keep up; that alone
// sends nobody away, and takes no room from the changes.
func TestSlowReaderLosesCursorsFirst(t *testing.T) {
	l := &memoryLog{epoch: "e1"}
	h := newHub(t, l, Options{Queue: 16})
	slow := join(t, h, 0, "", -1)
	// Nothing is taken from it before all is there.
	waits := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			slow.mu.Lock()
			done, n := ok(), len(slow.ephemeral)
			slow.mu.Unlock()
			if n > maxEphemeral {
				t.Fatalf("%d messages without an offset wait, want at most %d", n, maxEphemeral)
			}
			if done {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("does not wait for the slow reader: %s", what)
			}
		}
	}
	waits("hello", func() bool { return slow.greeted })
	const others = 3 * maxEphemeral
	for i := range others {
		join(t, h, 1+i, "", -1).SetCursor(&Cursor{Block: fmt.Sprint("b_", i), Offset: -1})
	}
	waits("as many cursors as fit", func() bool { return len(slow.ephemeral) == maxEphemeral })
	for o := int64(1); o <= 14; o++ {
		h.Announce(l.append(1))
	}
	waits("hello and 14 changes", func() bool { return len(slow.pending) == 15 && len(slow.ephemeral) == maxEphemeral })
	if m := nextAny(t, slow); m.Type != TypeHello {
		t.Fatalf("first %+v, want hello", m)
	}
	wantChanges(t, slow, 1, 14)
	for m, err := slow.Take(); m != nil || err != nil; m, err = slow.Take() {
		if err != nil {
			t.Fatalf("sent away: %v", err)
		}
	}
}
