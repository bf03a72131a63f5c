package handlers

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"redthread/collab"
	"redthread/collab/live"
)

// fuzzClient is one person with one page: it edits, and keeps the board by what
// its socket tells.
type fuzzClient struct {
	w       *fuzzWorld
	name    string
	id      string
	session collab.Session
	secret  string // of the session
	r       *mrand.Rand
	made    map[string]bool // refs of what it was told is made
	denied  map[string]bool // refs of what it tried while it had no access
	refs    int
	barred  atomic.Bool // it has no access

	mu      sync.Mutex
	conn    *websocket.Conn
	gate    chan struct{} // not nil: the reader stalls until it is closed
	done    chan struct{} // of the connection's reader
	epoch   string
	last    int64
	seen    []string
	state   *fuzzState
	answers map[string]chan string // by ref
}

func newFuzzClient(w *fuzzWorld, name string, r *mrand.Rand) *fuzzClient {
	return &fuzzClient{w: w, name: name, r: r, state: newFuzzState(), made: map[string]bool{}, denied: map[string]bool{}, answers: map[string]chan string{}}
}

func (c *fuzzClient) signIn() (err error) {
	c.secret = rand.Text()
	sum := sha256.Sum256([]byte(c.secret))
	c.session, err = c.w.own.CreateSession(c.w.t.Context(), collab.NewSession{UserID: c.id, SecretHash: sum[:], Lifetime: time.Hour})
	return err
}

func (c *fuzzClient) run() {
	for range 16 + c.r.IntN(24) {
		switch n := c.r.IntN(100); {
		case n < 8:
			c.w.sum.cuts.Add(1)
			c.cut()
		case n < 14:
			c.stall()
		case n < 18:
			c.point()
		case n < 22 && c == c.w.clients[0]:
			c.barAndReturn()
		default:
			c.edit()
		}
	}
	c.open()
}

// open lets a stalled reader go on.
func (c *fuzzClient) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate != nil {
		close(c.gate)
		c.gate = nil
	}
}

func (c *fuzzClient) stall() {
	c.w.sum.stalls.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate == nil {
		c.gate = make(chan struct{})
	}
}

func (c *fuzzClient) cut() {
	c.mu.Lock()
	conn := c.conn
	c.conn = nil
	c.mu.Unlock()
	if conn != nil {
		_ = conn.NetConn().(*net.TCPConn).SetLinger(0)
		_ = conn.NetConn().Close()
	}
}

// dial opens a socket that resumes after the last change that the client has. The
// answer is the status of a refusal, 0 if there is none.
func (c *fuzzClient) dial() (*websocket.Conn, int, error) {
	c.mu.Lock()
	last, epoch := c.last, c.epoch
	c.mu.Unlock()
	url := "ws" + strings.TrimPrefix(c.w.node(c.r).http.URL, "http") + fmt.Sprintf("/live/investigations/%s?epoch=%s&after=%d", c.w.inv, epoch, last)
	d := websocket.Dialer{Subprotocols: []string{live.Subprotocol}, HandshakeTimeout: 5 * time.Second,
		NetDial: func(network, address string) (net.Conn, error) {
			conn, err := net.Dial(network, address)
			if err == nil {
				_ = conn.(*net.TCPConn).SetReadBuffer(2048)
			}
			return conn, err
		}}
	conn, res, err := d.Dial(url, http.Header{"Cookie": {sessionCookie + "=" + c.secret}})
	if err != nil && res != nil {
		return nil, res.StatusCode, err
	}
	return conn, 0, err
}

// connect returns the connection, a new one if there is none.
func (c *fuzzClient) connect() *websocket.Conn {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		conn, done := c.conn, c.done
		c.mu.Unlock()
		if conn != nil {
			return conn
		}
		if done != nil {
			c.open()
			<-done // its last messages count
		}
		conn, status, err := c.dial()
		if err == nil {
			c.mu.Lock()
			c.conn, c.done = conn, make(chan struct{})
			go c.read(conn, c.done)
			c.mu.Unlock()
			return conn
		}
		if status/100 == 4 || time.Now().After(deadline) {
			c.w.t.Errorf("%s: dial: status %d, %v", c.name, status, err)
			return nil
		}
	}
}

// point says where the client is and points somewhere, as pages do all the time.
func (c *fuzzClient) point() {
	conn := c.connect()
	if conn == nil {
		return
	}
	for _, m := range []map[string]any{
		{"type": live.TypePresenceSet, "data": map[string]any{"path": "/i/" + string(c.w.inv), "idle": c.r.IntN(2) == 0}},
		{"type": live.TypeCursorSet, "data": map[string]any{"cursor": live.Cursor{Block: fmt.Sprint("b_", c.r.IntN(5)), Field: "text", Offset: c.r.IntN(100), Typing: true}}},
	} {
		if conn.WriteJSON(m) != nil {
			c.cut()
			return
		}
	}
}

// barAndReturn takes the access of the client away, in one of the ways there are,
// while its page is open, and gives it back: the page is sent away, and while there
// is no access nothing can be opened, read or written.
func (c *fuzzClient) barAndReturn() {
	t, w := c.w.t, c.w
	var bar, back func() error
	yes, none, role := true, (*string)(nil), ""
	visible := func(v collab.Visibility) func() error {
		return func() error { return w.update(collab.InvestigationUpdate{Visibility: &v}) }
	}
	member := func(in bool) func() error {
		return func() error {
			_, err := w.own.UpdateTeam(w.admin, w.team, collab.TeamUpdate{Members: map[string]bool{c.id: in}})
			return err
		}
	}
	team, private := collab.VisibilityTeam, collab.VisibilityPrivate
	var err error
	switch c.r.IntN(4) {
	case 0: // closed to the workspace
		bar, back = visible(collab.VisibilityPrivate), visible(collab.VisibilityWorkspace)
	case 1: // out of the team that may see it
		err = w.update(collab.InvestigationUpdate{Visibility: &team, Teams: map[collab.TeamID]bool{w.team: yes}})
		bar, back = member(false), member(true)
	case 2: // not asked in any more
		err = w.update(collab.InvestigationUpdate{Visibility: &private, People: map[string]*string{c.id: &role}})
		bar = func() error { return w.update(collab.InvestigationUpdate{People: map[string]*string{c.id: none}}) }
		back = visible(collab.VisibilityWorkspace)
	case 3: // signed out
		bar = func() error { return w.own.DeleteSession(t.Context(), c.id, c.session.ID) }
		back = c.signIn
	}
	if err != nil {
		t.Errorf("before access is taken: %v", err)
		return
	}
	c.open()
	conn := c.connect()
	if conn == nil {
		return
	}
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	c.barred.Store(true)
	if err := bar(); err != nil {
		t.Errorf("take access: %v", err)
	}
	w.sum.barred.Add(1)
	// Whatever is asked from now on is refused, on the open socket too.
	_ = conn.WriteJSON(map[string]any{"type": "note.add", "ref": c.deniedRef(), "data": map[string]any{"text": "Over the open socket."}})
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Errorf("%s lost access and stays connected", c.name)
		c.cut()
		<-done
	}
	until := time.Now().Add(time.Duration(c.r.IntN(60)) * time.Millisecond) // how long it is shut out
	for first := true; first || time.Now().Before(until); first = false {
		if conn, status, err := c.dial(); err == nil {
			t.Errorf("%s has no access and opened a socket", c.name)
			_ = conn.Close()
		} else if status != 0 && status != http.StatusNotFound && status != http.StatusUnauthorized {
			t.Errorf("%s has no access; dial: %v", c.name, err)
		}
		for _, try := range []fuzzRequest{
			{http.MethodGet, "/api/v1/investigations/" + string(w.inv) + "/changes?after=0", nil},
			{http.MethodPost, "/api/v1/investigations/" + string(w.inv) + "/blocks", map[string]any{"kind": "note", "text": "Over the API.", "ref": c.deniedRef()}},
			{http.MethodPost, "/api/v1/investigations/" + string(w.inv) + "/timeline", map[string]any{"text": "Over the API.", "ref": c.deniedRef()}},
		} {
			if answer := c.send(try); answer == live.TypeAck {
				t.Errorf("%s has no access and was let do %s %s", c.name, try.method, try.path)
			}
		}
	}
	if err := back(); err != nil {
		t.Errorf("give access back: %v", err)
	}
	c.barred.Store(false)
	if err := visible(collab.VisibilityWorkspace)(); err != nil {
		t.Errorf("give access back: %v", err)
	}
}

func (c *fuzzClient) deniedRef() string {
	c.refs++
	ref := fmt.Sprintf("denied-%s-%d", c.name, c.refs)
	c.denied[ref] = true
	return ref
}

// read takes what a connection says until it ends.
func (c *fuzzClient) read(conn *websocket.Conn, done chan struct{}) {
	defer close(done)
	defer func() {
		_ = conn.Close()
		c.mu.Lock()
		if c.conn == conn {
			c.conn = nil
		}
		for ref, answer := range c.answers {
			close(answer) // nobody knows whether it was done
			delete(c.answers, ref)
		}
		c.mu.Unlock()
	}()
	for {
		c.mu.Lock()
		gate := c.gate
		c.mu.Unlock()
		if gate != nil {
			<-gate
		}
		_, raw, err := conn.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			switch closed.Code {
			case live.CloseSlow:
				c.w.sum.shed.Add(1)
			case live.CloseForbidden, live.CloseSignedOut:
				if !c.barred.Load() {
					c.w.t.Errorf("%s was sent away: %v", c.name, err)
				}
			case live.CloseShutdown, live.CloseReload, websocket.CloseAbnormalClosure:
			default:
				c.w.t.Errorf("%s: closed: %v", c.name, err)
			}
		}
		if err != nil {
			return
		}
		c.take(raw)
	}
}

func (c *fuzzClient) take(raw []byte) {
	t := c.w.t
	var m struct {
		collab.Change
		Epoch, Code, Message string
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Errorf("%s: message %s: %v", c.name, raw, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Type {
	case live.TypeHello:
		if c.epoch != "" && c.epoch != m.Epoch {
			t.Errorf("%s: epoch %s, was %s", c.name, m.Epoch, c.epoch)
		}
		c.epoch = m.Epoch
	case live.TypeReload:
		t.Errorf("%s: told to reload at %d", c.name, c.last)
	case live.TypeAck, live.TypeError:
		if answer := c.answers[m.Ref]; answer != nil {
			answer <- string(m.Type) + " " + m.Code
			delete(c.answers, m.Ref)
		}
		if m.Code == "internal" {
			t.Errorf("%s: %s", c.name, raw)
		}
	case live.TypePresence, live.TypeSelf, live.TypeCursor, live.TypeInbox, live.TypeAnnotations:
	default:
		if m.Offset != c.last+1 {
			t.Errorf("%s: change %d after %d", c.name, m.Offset, c.last)
			return
		}
		c.last = m.Offset
		c.seen = append(c.seen, fuzzKey(&m.Change))
		c.state.apply(t, &m.Change)
	}
}

// catchUp waits until the client has all changes.
func (c *fuzzClient) catchUp(offset int64) {
	c.open()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c.mu.Lock()
		last, done := c.last, c.done
		c.mu.Unlock()
		if last >= offset || time.Now().After(deadline) || c.connect() == nil {
			c.cut()
			c.open()
			if done != nil {
				<-done
			}
			return
		}
	}
}
