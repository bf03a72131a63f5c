package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"redthread/collab"
	"redthread/collab/live"
)

// dialHere opens the socket of a page that is no board.
func (s *site) dialHere(b *browser, query string) *websocket.Conn {
	s.t.Helper()
	d := websocket.Dialer{Jar: b.client.Jar, Subprotocols: []string{live.Subprotocol}, HandshakeTimeout: 60 * time.Second}
	conn, res, err := d.Dial("ws"+strings.TrimPrefix(s.srv.URL, "http")+"/live/here?"+query, http.Header{"Origin": {s.srv.URL}})
	if err != nil {
		s.t.Fatalf("dial: %v, %v", err, res)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// awaitPeople reads until the people of the place are these, by name.
func awaitPeople(t *testing.T, c *websocket.Conn, want ...string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	awaitTold(t, func() ([]byte, error) {
		_, raw, err := c.ReadMessage()
		return raw, err
	}, want...)
}

// awaitTold takes what somebody is told until the people of the place are these.
func awaitTold(t *testing.T, next func() ([]byte, error), want ...string) {
	t.Helper()
	var names []string
	for {
		raw, err := next()
		if err != nil {
			t.Fatalf("people are %v, want %v: %v", names, want, err)
		}
		var m live.Presence
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if m.Type != live.TypePresence {
			continue
		}
		names = nil
		for _, p := range m.People {
			names = append(names, p.Name)
		}
		if slices.Equal(names, want) {
			return
		}
	}
}

// A client that goes without a word, its socket open for ever, is shown no more
// once its pongs are missing. What was told of it is nowhere on disk.
func TestPresenceEndsWithoutAWord(t *testing.T) {
	s := newSite(t)
	s.pulse.ping, s.pulse.timeout = 50*time.Millisecond, 2*time.Second
	// Who stays has no socket that would end too when this process is slow.
	admin := s.users[collab.RoleAdmin]
	stays, err := s.Live.JoinHere(live.Joining{Who: collab.Actor{Kind: collab.ActorUser, ID: admin.ID, Name: admin.Name, Role: admin.Role}, Path: "/t/" + boardTrace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stays.Leave)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	next := func() ([]byte, error) { return stays.Next(ctx) }
	const marker = "cursor.never.stored"
	gone := s.dialHere(s.as(collab.RoleMember), "path=/t/"+boardTrace+"/"+strings.Repeat("ab", 8))
	awaitTold(t, next, "The admin", "The member")
	cursor := map[string]any{"type": live.TypeCursorSet, "data": map[string]any{"cursor": live.Cursor{Span: "s", Field: marker, Offset: -1}}}
	if err := gone.WriteJSON(cursor); err != nil { // the last that is heard of it: it does not read, so it sends no pong
		t.Fatal(err)
	}
	awaitTold(t, next, "The admin")
	err = filepath.WalkDir(filepath.Dir(t.TempDir()), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(marker)) || bytes.Contains(raw, []byte(strings.Repeat("ab", 8))) {
			t.Errorf("%s holds where somebody was", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The socket of presence refuses strangers and foreign pages, takes no changes,
// and lets nobody say that they are at a board.
func TestLiveHere(t *testing.T) {
	s := newSite(t)
	d := websocket.Dialer{Subprotocols: []string{live.Subprotocol}}
	address := "ws" + strings.TrimPrefix(s.srv.URL, "http") + "/live/here"
	if _, res, err := d.Dial(address, nil); err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger: %v, %v", res, err)
	}
	member := s.as(collab.RoleMember)
	d.Jar = member.client.Jar
	if _, res, err := d.Dial(address, http.Header{"Origin": {"https://evil.example"}}); err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %v, %v", res, err)
	}
	admin := s.as(collab.RoleAdmin)
	inv := admin.openInvestigation("Slow quotes")
	board := s.dial(admin, inv.ID, "")
	awaitPeople(t, board, "The admin")
	c := s.dialHere(member, "path=/i/"+string(inv.ID))
	for _, m := range []any{
		map[string]any{"type": live.TypePresenceSet, "data": map[string]any{"path": "/i/" + string(inv.ID)}},
		map[string]any{"type": "note.add", "ref": "r1", "data": map[string]any{"text": "x"}},
	} {
		if err := c.WriteJSON(m); err != nil {
			t.Fatal(err)
		}
	}
	if f := nextFrame(t, c); f.Type != live.TypeHello {
		t.Errorf("first %+v, want hello", f)
	}
	if f := nextFrame(t, c); f.Type != live.TypeError || f.Ref != "r1" || f.Code != "invalid" {
		t.Errorf("a change over the socket of presence: %+v, want an error", f)
	}
	// Who works on it from another page shows on the board, and who may not see it does not.
	works := s.dialHere(member, "path=/explore&investigation="+string(inv.ID))
	awaitPeople(t, board, "The admin", "The member")
	admin.api("PATCH", "/api/v1/investigations/"+string(inv.ID), fmt.Sprintf(`{"seen":%d,"visibility":"private"}`, inv.Offset), 200, nil)
	awaitPeople(t, board, "The admin")
	if err := works.Close(); err != nil {
		t.Fatal(err)
	}
}

// Without scripts the page says how much is new since it was loaded before.
func TestRefreshTellsWhatIsNew(t *testing.T) {
	s := newSite(t)
	admin := s.as(collab.RoleAdmin)
	inv := admin.openInvestigation("Slow quotes")
	page := "/i/" + string(inv.ID)
	admin.get(page).want(t, "first load", 200, "as it was when you loaded it", fmt.Sprintf(`href="%s?since=%d"`, page, inv.Offset))
	since := fmt.Sprintf("%s?since=%d", page, inv.Offset)
	admin.get(since).want(t, "nothing new", 200, "Nothing is new")
	admin.post(page+"/blocks", "kind", "note", "text", "One", "ref", "1").want(t, "a note", 303)
	admin.get(since).want(t, "one", 200, "1 change is new")
	admin.post(page+"/blocks", "kind", "note", "text", "Two", "ref", "2").want(t, "a note", 303)
	admin.get(since+"&view=lanes").want(t, "two", 200, "2 changes are new", "view=lanes")
	admin.get(page+"?since=x").want(t, "nonsense", 400)
}

// A person has so many sockets and no more; a closed one makes room, and nobody else
// is harmed.
func TestSocketsOfOnePersonAreLimited(t *testing.T) {
	s := newSite(t)
	member, admin := s.as(collab.RoleMember), s.as(collab.RoleAdmin)
	list := make([]*websocket.Conn, maxSockets)
	for i := range list {
		list[i] = s.dialHere(member, "path=/")
		if f := nextFrame(t, list[i]); f.Type != live.TypeHello {
			t.Fatalf("socket %d begins with %+v", i, f)
		}
	}
	refused := s.dialHere(member, "path=/")
	if err := refused.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _, err := refused.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != live.CloseCrowded || !strings.Contains(closed.Text, "Close some") {
		t.Errorf("one too many: %v", err)
	}
	if f := nextFrame(t, s.dialHere(admin, "path=/")); f.Type != live.TypeHello {
		t.Errorf("somebody else: %+v", f)
	}
	if err := list[0].Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		again := s.dialHere(member, "path=/")
		if err := again.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := again.ReadMessage(); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("a closed one makes no room: %v", err)
		}
	}
}
