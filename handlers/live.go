package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/collab/live"
)

const (
	liveWriteTimeout = 5 * time.Second // of one message; beyond it the client is gone
	maxLiveRequest   = 128 << 10       // bytes of one request: the longest note fits
)

// livePulse is how a socket learns that its client is gone without a word, or may
// read no more.
type livePulse struct {
	ping    time.Duration // between pings
	timeout time.Duration // since the last sign of life
	check   time.Duration // between looks whether the reader may still read
}

// defaultPulse: with what gathers and travels, within 45 seconds nobody is shown
// who is not here.
var defaultPulse = livePulse{ping: 15 * time.Second, timeout: 40 * time.Second, check: 3 * time.Second}

// liveUpgrader leaves the origin to checkLiveOrigin. Its buffers are small, and
// those to write shared: most sockets are silent, and there may be thousands.
var liveUpgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second,
	ReadBufferSize:   512, // bytes; what a page says is mostly shorter
	WriteBufferSize:  4 << 10,
	WriteBufferPool:  &sync.Pool{},
	Subprotocols:     []string{live.Subprotocol},
	CheckOrigin:      func(*http.Request) bool { return true },
}

// streamInvestigation answers GET /live/investigations/:id with a websocket: a
// hello, the changes after an offset, then changes as they happen.
func (s *Server) streamInvestigation(c echo.Context) error {
	r := c.Request()
	offset, given, err := int64Param(c, "after")
	if err != nil {
		return err
	}
	var after *int64
	if given {
		after = &offset
	}
	id := investigationParam(c)
	if err := s.Collab.MaySee(r.Context(), id); err != nil {
		return err
	}
	return s.stream(c, id, func(j live.Joining) (*live.Subscriber, error) {
		return s.Live.Join(r.Context(), id, j, c.QueryParam("epoch"), after)
	})
}

// streamHere answers GET /live/here with a websocket that tells who else is at a
// page that is no board. The investigation that the person works on may be named.
func (s *Server) streamHere(c echo.Context) error {
	also := collab.InvestigationID(c.QueryParam("investigation"))
	if also != "" && s.Collab.MaySee(c.Request().Context(), also) != nil {
		also = ""
	}
	return s.stream(c, "", func(j live.Joining) (*live.Subscriber, error) {
		j.Also = also
		return s.Live.JoinHere(j)
	})
}

// stream joins and opens the socket, which runs until it ends: not in the handler,
// so that the server's own part of the connection is let go.
func (s *Server) stream(c echo.Context, id collab.InvestigationID, join func(live.Joining) (*live.Subscriber, error)) error {
	r := c.Request()
	actor, _ := collab.ActorFrom(r.Context())
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, live.Subprotocol) {
		return &collab.InvalidError{Field: "Sec-WebSocket-Protocol", Message: "This socket speaks " + live.Subprotocol + "."}
	}
	if !websocket.IsWebSocketUpgrade(r) {
		return echo.NewHTTPError(http.StatusUpgradeRequired, "This address is a websocket.")
	}
	if !s.guard.take(actor) {
		return s.refuseSocket(c)
	}
	opened := false
	defer func() {
		if !opened {
			s.guard.give(actor)
		}
	}()
	pref, err := s.Collab.PresencePreferences(r.Context(), actor.ID)
	if err != nil {
		return err
	}
	sub, err := join(live.Joining{Who: actor, Path: c.QueryParam("path"), Preferences: live.Preferences(pref)})
	if errors.Is(err, live.ErrClosed) {
		return echo.NewHTTPError(http.StatusServiceUnavailable, "The server is restarting.")
	}
	if err != nil {
		return err
	}
	conn, err := liveUpgrader.Upgrade(c.Response(), r, nil)
	if err != nil {
		sub.Leave()
		return nil // the upgrader has answered
	}
	sock := &socket{server: s, conn: conn, sub: sub, id: id, actor: actor}
	opened = true
	s.guard.add(s, sock)
	go sock.serve(context.WithoutCancel(r.Context()))
	return nil
}

// refuseSocket opens the socket to say that it is one too many: of a socket that is
// not opened a page hears no reason.
func (s *Server) refuseSocket(c echo.Context) error {
	conn, err := liveUpgrader.Upgrade(c.Response(), c.Request(), nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	message := websocket.FormatCloseMessage(live.CloseCrowded, "You have "+strconv.Itoa(maxSockets)+" pages open, the most at a time. Close some.")
	_ = conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(liveWriteTimeout))
	_ = conn.Close() // it was told why, or is gone
	return nil
}

// socket is one connection. serve is its only writer, read its only reader; both
// end once its subscriber is closed, as the hub does with all when it closes.
type socket struct {
	server *Server
	conn   *websocket.Conn
	sub    *live.Subscriber
	id     collab.InvestigationID // "": of a page that is no board
	actor  collab.Actor           // as it was at the beginning
}

// serve writes until the subscriber is closed or the client is gone.
func (k *socket) serve(ctx context.Context) {
	defer k.sub.Leave()
	defer k.server.guard.remove(k)
	ctx, cancel := context.WithCancel(ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer cancel()
		k.read(ctx)
	}()
	code, reason := k.write(ctx)
	if code != 0 {
		message := websocket.FormatCloseMessage(code, reason)
		// A client that is gone does not get it; that is all right.
		_ = k.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(liveWriteTimeout))
	}
	cancel()
	_ = k.conn.Close() // wakes the reader
	<-read
}

// write sends what the subscriber has, and pings. It returns the close code to
// give, 0 if the client is gone.
func (k *socket) write(ctx context.Context) (code int, reason string) {
	ping := time.NewTicker(k.server.pulse.ping)
	defer ping.Stop()
	for {
		m, err := k.sub.Take()
		var closed *live.CloseError
		switch {
		case errors.As(err, &closed):
			return closed.Code, closed.Reason
		case m != nil:
			if err := k.conn.SetWriteDeadline(time.Now().Add(liveWriteTimeout)); err != nil {
				return 0, ""
			}
			if err := k.conn.WriteMessage(websocket.TextMessage, m); err != nil {
				return 0, ""
			}
			continue
		}
		select {
		case <-ctx.Done():
			return 0, ""
		case <-k.sub.Ready():
		case <-ping.C:
			// A failed ping shows as a missing pong.
			_ = k.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(liveWriteTimeout))
		}
	}
}

// current returns the actor with the role of now.
func (k *socket) current(ctx context.Context) (collab.Actor, error) {
	return k.server.Auth.CurrentActor(ctx, k.actor)
}

func (k *socket) read(ctx context.Context) {
	k.conn.SetReadLimit(maxLiveRequest)
	alive := func(string) error { return k.conn.SetReadDeadline(time.Now().Add(k.server.pulse.timeout)) }
	k.conn.SetPongHandler(alive)
	if alive("") != nil {
		return
	}
	for {
		kind, raw, err := k.conn.ReadMessage()
		if err != nil || alive("") != nil {
			return
		}
		var req live.Request
		if kind != websocket.TextMessage || json.Unmarshal(raw, &req) != nil || req.Type == "" {
			k.sub.Close(live.CloseProtocol, "A message is a JSON object with a type.")
			return
		}
		k.answer(ctx, &req)
	}
}

// answer does what a client asks and acknowledges it.
func (k *socket) answer(ctx context.Context, req *live.Request) {
	if k.attend(ctx, req) {
		return
	}
	offset, err := k.do(ctx, req)
	if err != nil {
		f := describe(err)
		if f.Status >= 500 {
			k.server.Log.ErrorContext(ctx, "live request failed", "type", req.Type, "investigation", k.id, "error", err)
		}
		refused := live.Error{Type: live.TypeError, Ref: req.Ref, Code: f.Code, Message: f.Message}
		if c := f.Conflict; c != nil {
			refused.Conflict = &live.Conflict{Field: c.Field, Yours: c.Yours, Theirs: c.Theirs, Merged: c.Merged, Offset: c.Offset, ActorName: c.ActorName, AtNano: c.AtNano}
		}
		k.sub.Send(live.Encode(refused))
		return
	}
	k.sub.Send(live.Encode(live.Ack{Type: live.TypeAck, Ref: req.Ref, Offset: offset}))
}

// do runs one request as the actor of now and returns the offset of its change.
func (k *socket) do(ctx context.Context, req *live.Request) (int64, error) {
	actor, err := k.current(ctx)
	if err != nil {
		return 0, fmt.Errorf("signed out: %w", collab.ErrForbidden)
	}
	ctx = collab.WithActor(ctx, actor)
	store := k.server.Collab
	if k.id == "" {
		return 0, &collab.InvalidError{Field: "type", Message: "This socket tells who is here; changes go to that of an investigation."}
	}
	noun, verb, _ := strings.Cut(req.Type, ".")
	if !slices.Contains(live.ClientTypes, req.Type) {
		return 0, &collab.InvalidError{Field: "type", Message: "There is no message of type " + clipRunes(req.Type, 60) + "."}
	}
	var target struct {
		ID string `json:"id"`
	}
	if verb != "add" && noun != "investigation" {
		if err := decodeJSON(req.Data, &target); err != nil {
			return 0, err
		}
	}
	switch {
	case noun == "investigation":
		u := collab.InvestigationUpdate{}
		if err := decodeJSON(req.Data, &u); err != nil {
			return 0, err
		}
		empty, err := nullFields(req.Data)
		if err == nil {
			err = clearEmpty(&u, empty)
		}
		if err != nil {
			return 0, err
		}
		u.Ref = req.Ref
		inv, err := store.UpdateInvestigation(ctx, k.id, u)
		if err != nil {
			return 0, err
		}
		return inv.Offset, nil
	case verb == "delete" && noun == "annotation":
		err = store.DeleteAnnotation(ctx, collab.AnnotationID(target.ID))
	case verb == "delete":
		err = store.DeleteBlock(ctx, k.id, collab.BlockID(target.ID))
	case noun == "annotation":
		return k.doAnnotation(ctx, verb, target.ID, req)
	default:
		return k.doBlock(ctx, noun, verb, target.ID, req)
	}
	if err != nil {
		return 0, err
	}
	p, err := store.LogPosition(ctx, k.id)
	return p.Offset, err
}

func (k *socket) doAnnotation(ctx context.Context, verb, id string, req *live.Request) (int64, error) {
	if verb == "update" {
		u := collab.AnnotationUpdate{}
		if err := decodeJSON(req.Data, &u); err != nil {
			return 0, err
		}
		u.Ref = req.Ref
		a, err := k.server.Collab.UpdateAnnotation(ctx, collab.AnnotationID(id), u)
		if err != nil {
			return 0, err
		}
		return a.Offset, nil
	}
	n := collab.AnnotationNew{}
	if err := decodeJSON(req.Data, &n); err != nil {
		return 0, err
	}
	n.Ref = req.Ref
	if n.Anchor.InvestigationID == "" && n.Anchor.PinID == "" && n.Anchor.TraceID == "" {
		n.Anchor.InvestigationID = k.id
	}
	a, _, err := k.server.Collab.CreateAnnotation(ctx, n)
	if err != nil {
		return 0, err
	}
	return a.Offset, nil
}

func (k *socket) doBlock(ctx context.Context, noun, verb, id string, req *live.Request) (int64, error) {
	if verb == "update" {
		u := collab.BlockUpdate{}
		if err := decodeJSON(req.Data, &u); err != nil {
			return 0, err
		}
		u.Ref = req.Ref
		b, err := k.server.Collab.UpdateBlock(ctx, k.id, collab.BlockID(id), u)
		if err != nil {
			return 0, err
		}
		return b.Offset, nil
	}
	n := collab.BlockNew{}
	if err := decodeJSON(req.Data, &n); err != nil {
		return 0, err
	}
	n.Ref = req.Ref
	if noun != "pin" {
		n.Kind = collab.BlockKind(noun)
	}
	b, _, err := k.server.Collab.CreateBlock(ctx, k.id, n)
	if err != nil {
		return 0, err
	}
	return b.Offset, nil
}
