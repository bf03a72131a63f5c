package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/collab/live"
)

// liveSeeds is how many seeds the fuzz runs: 20, or REDTHREAD_SEEDS, or 1,000
// under soak.
func liveSeeds() int {
	if n, err := strconv.Atoi(os.Getenv("REDTHREAD_SEEDS")); err == nil && n > 0 {
		return n
	}
	if os.Getenv("REDTHREAD_SOAK") != "" {
		return 1000
	}
	return 20
}

// TestLiveFuzz lets clients edit one investigation at random over two servers on
// one database and one NATS, while connections are cut, readers stall, a server
// dies between the commit of a change and its announcement, and NATS stops and
// starts. At the end every board is the server's, the log adds up to it, and each
// client has seen each change once, in the same order. REDTHREAD_SEED runs one.
func TestLiveFuzz(t *testing.T) {
	site := newSite(t)
	site.addTrace()
	seeds := make([]uint64, liveSeeds())
	for i := range seeds {
		seeds[i] = rand.Uint64()
	}
	if one, err := strconv.ParseUint(os.Getenv("REDTHREAD_SEED"), 10, 64); err == nil {
		seeds = []uint64{one}
	}
	var sum fuzzSum
	for _, seed := range seeds {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newFuzzWorld(t, site, seed, boardTrace)
			w.run()
			w.check(&sum)
		})
		if !ok {
			t.Fatalf("seed %d failed; REDTHREAD_SEED=%d runs it again", seed, seed)
		}
	}
	t.Logf("%d seeds: %d changes, %d received by %d clients; %d cuts, %d stalls (%d readers shed), %d deaths between commit and announcement, %d announcements lost, %d stops of NATS; nothing lost, doubled or out of order",
		len(seeds), sum.changes.Load(), sum.received.Load(), sum.clients.Load(), sum.cuts.Load(), sum.stalls.Load(), sum.shed.Load(), sum.deaths.Load(), sum.unsaid.Load(), sum.stops.Load())
}

type fuzzSum struct {
	changes, received, clients, cuts, stalls, shed, deaths, unsaid, stops atomic.Int64
}

// fuzzWorld is one run: the servers, NATS and the clients.
type fuzzWorld struct {
	t     *testing.T
	site  *site
	path  string // of the database
	trace string
	inv   collab.InvestigationID
	own   *collab.Store // the test's own view of the database
	sum   fuzzSum

	mu    sync.Mutex
	r     *rand.Rand
	nodes []*fuzzNode
	ns    *server.Server
	port  int

	clients []*fuzzClient
}

func (w *fuzzWorld) rand(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n)
}

func newFuzzWorld(t *testing.T, s *site, seed uint64, trace string) *fuzzWorld {
	w := &fuzzWorld{t: t, site: s, path: filepath.Join(t.TempDir(), "redthread.db"), trace: trace, r: rand.New(rand.NewPCG(seed, 77)), port: -1}
	var err error
	if w.own, err = collab.Open(t.Context(), collab.Options{Path: w.path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.own.Check(context.Background()), w.own.CheckLogs(context.Background()), w.own.Close()); err != nil {
			t.Error(err)
		}
	})
	w.startNATS()
	t.Cleanup(func() { w.ns.Shutdown(); w.ns.WaitForShutdown() })
	for range 2 {
		w.nodes = append(w.nodes, w.startNode())
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.die()
		}
	})
	a := auth.New(w.own, auth.Options{})
	admin := collab.WithActor(t.Context(), collab.Actor{Kind: collab.ActorUser, ID: "u_admin", Name: "Admin", Role: collab.RoleAdmin})
	inv, _, err := w.own.CreateInvestigation(admin, collab.InvestigationNew{Title: "Fuzz"})
	if err != nil {
		t.Fatal(err)
	}
	w.inv = inv.ID
	for i := range 3 + w.rand(3) {
		token, _, err := a.CreateToken(admin, fmt.Sprint("client ", i), collab.RoleMember, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.clients = append(w.clients, &fuzzClient{w: w, name: fmt.Sprint("client ", i), token: token, r: rand.New(rand.NewPCG(seed, uint64(i))),
			state: newFuzzState(), made: map[string]bool{}, answers: map[string]chan string{}})
	}
	return w
}

func (w *fuzzWorld) startNATS() {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: w.port, NoLog: true, NoSigs: true})
	if err != nil {
		w.t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		w.t.Fatal("the NATS server does not start")
	}
	w.ns = ns
	if w.port < 0 { // later servers take the port of the first, and others read it
		w.port = ns.Addr().(*net.TCPAddr).Port
	}
}

// fuzzNode is one server. It can die at any moment.
type fuzzNode struct {
	store *collab.Store
	hub   *live.Hub
	nc    *nats.Conn
	http  *httptest.Server
	once  sync.Once
	dead  atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// fuzzListener makes connections that hold little that is not
// read, so that a stalled reader is felt, and break when the node dies.
type fuzzListener struct {
	net.Listener
	node *fuzzNode
}

func (l fuzzListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).SetWriteBuffer(2048)
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	if l.node.dead.Load() {
		_ = c.Close()
	}
	l.node.conns[c] = true
	return c, nil
}

func (w *fuzzWorld) startNode() *fuzzNode {
	store, err := collab.Open(context.Background(), collab.Options{Path: w.path})
	if err != nil {
		w.t.Fatal(err)
	}
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", w.port), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		w.t.Fatal(err)
	}
	n := &fuzzNode{store: store, nc: nc, conns: map[net.Conn]bool{}}
	n.hub = live.NewHub(live.Options{Store: store, NATS: nc, MaySee: store.MaySee, Queue: 8, Sweep: 200 * time.Millisecond})
	s, err := New(context.Background(), Deps{Store: w.site.Store, Graph: w.site.Graph, Collab: store, Auth: auth.New(store, auth.Options{}), Live: n.hub})
	if err != nil {
		w.t.Fatal(err)
	}
	store.OnChange(func(p collab.Position) {
		switch {
		case n.dead.Load():
		case w.rand(60) == 0: // committed, and nobody is told: nor the one who asked
			w.sum.deaths.Add(1)
			go w.replace(n)
			n.cut()
		case w.rand(10) == 0: // the announcement is lost on the way
			w.sum.unsaid.Add(1)
		default:
			n.hub.Announce(p)
		}
	})
	n.http = httptest.NewUnstartedServer(s.Handler())
	n.http.Listener = fuzzListener{n.http.Listener, n}
	n.http.Start()
	return n
}

// cut breaks every connection of a node, as its death does.
func (n *fuzzNode) cut() {
	n.dead.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

func (n *fuzzNode) die() {
	n.once.Do(func() {
		n.cut()
		n.http.Close()
		_ = n.hub.Close()
		n.nc.Close()
		_ = n.store.Close()
	})
}

// replace lets a node die and starts another in its place.
func (w *fuzzWorld) replace(n *fuzzNode) {
	fresh := w.startNode()
	w.mu.Lock()
	for i := range w.nodes {
		if w.nodes[i] == n {
			w.nodes[i] = fresh
			fresh = nil
			break
		}
	}
	w.mu.Unlock()
	n.die()
	if fresh != nil {
		fresh.die()
	}
}

func (w *fuzzWorld) node(r *rand.Rand) *fuzzNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[r.IntN(len(w.nodes))]
}

func (w *fuzzWorld) run() {
	var clients, chaos sync.WaitGroup
	for _, c := range w.clients {
		clients.Go(c.run)
	}
	stop := make(chan struct{})
	chaos.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(20+w.rand(200)) * time.Millisecond):
			}
			if w.rand(3) > 0 {
				continue
			}
			w.sum.stops.Add(1)
			w.ns.Shutdown()
			w.ns.WaitForShutdown()
			time.Sleep(time.Duration(w.rand(100)) * time.Millisecond) // how long it is away
			w.startNATS()
		}
	})
	clients.Wait()
	close(stop)
	chaos.Wait()
}

// check compares everybody with the log and the board of the database.
func (w *fuzzWorld) check(sum *fuzzSum) {
	t := w.t
	ctx := collab.AsServer(t.Context())
	list, p, err := w.own.Changes(ctx, w.inv, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(list)) != p.Offset {
		t.Fatalf("%d changes in the log, which ends at %d; make a run shorter", len(list), p.Offset)
	}
	refs := map[string]int{}
	replayed := newFuzzState()
	for i := range list {
		c := &list[i]
		if c.Offset != int64(i+1) {
			t.Fatalf("change %d has offset %d", i+1, c.Offset)
		}
		replayed.apply(t, c)
		if c.Ref != "" {
			refs[c.ActorName+" "+c.Ref]++
		}
	}
	want := w.board(ctx)
	if diff := cmp.Diff(want, replayed.plain()); diff != "" {
		t.Errorf("the log does not add up to the board: -board +log\n%s", diff)
	}
	for _, c := range w.clients {
		c.catchUp(p.Offset)
		if len(c.seen) != len(list) {
			t.Errorf("%s saw %d changes, want %d", c.name, len(c.seen), len(list))
			continue
		}
		for i, got := range c.seen {
			if want := fuzzKey(&list[i]); got != want {
				t.Errorf("%s saw %s as change %d, want %s", c.name, got, i+1, want)
			}
		}
		if diff := cmp.Diff(want, c.state.plain()); diff != "" {
			t.Errorf("the board of %s: -server +client\n%s", c.name, diff)
		}
		for ref := range c.made {
			if refs[c.name+" "+ref] != 1 {
				t.Errorf("%s was told that %s is made; it is in the log %d times", c.name, ref, refs[c.name+" "+ref])
			}
		}
		sum.received.Add(int64(len(c.seen)))
	}
	for ref, n := range refs {
		if n > 1 {
			t.Errorf("%s was done %d times", ref, n)
		}
	}
	sum.changes.Add(int64(len(list)))
	sum.clients.Add(int64(len(w.clients)))
	for _, pair := range [][2]*atomic.Int64{{&sum.cuts, &w.sum.cuts}, {&sum.stalls, &w.sum.stalls}, {&sum.shed, &w.sum.shed}, {&sum.deaths, &w.sum.deaths}, {&sum.unsaid, &w.sum.unsaid}, {&sum.stops, &w.sum.stops}} {
		pair[0].Add(pair[1].Load())
	}
}

// board is the state of the database, in the words of [fuzzState.plain].
func (w *fuzzWorld) board(ctx context.Context) map[string]map[string]string {
	b, err := w.own.Board(ctx, w.inv)
	if err != nil {
		w.t.Fatal(err)
	}
	s := newFuzzState()
	add := func(id string, v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		s.put(w.t, id, raw)
	}
	add(string(w.inv), b.Investigation)
	for i := range b.Blocks {
		add(string(b.Blocks[i].ID), b.Blocks[i])
	}
	for i := range b.Annotations {
		add(string(b.Annotations[i].ID), b.Annotations[i])
	}
	return s.plain()
}

// fuzzFields are compared; others, as who was the last to change something, are
// not told in the log.
var fuzzFields = []string{"kind", "position", "title", "text", "url", "state", "done", "assignee", "status", "severity", "references"}

// fuzzState is what the changes of a log add up to.
type fuzzState struct {
	objects map[string]map[string]json.RawMessage
}

func newFuzzState() *fuzzState { return &fuzzState{map[string]map[string]json.RawMessage{}} }

func (s *fuzzState) put(t testing.TB, id string, raw json.RawMessage) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Errorf("data of %s: %v", id, err)
	}
	s.objects[id] = fields
}

func (s *fuzzState) apply(t testing.TB, c *collab.Change) {
	_, verb, _ := strings.Cut(string(c.Type), ".")
	switch verb {
	case "created", "added":
		s.put(t, c.ID, c.Data)
	case "deleted":
		delete(s.objects, c.ID)
	default:
		var u struct {
			Fields map[string]json.RawMessage `json:"fields"`
			Erased bool                       `json:"erased"`
		}
		if err := json.Unmarshal(c.Data, &u); err != nil {
			t.Errorf("change %d: %v", c.Offset, err)
		}
		if s.objects[c.ID] == nil {
			if !u.Erased {
				t.Errorf("change %d is of %s, which is not there", c.Offset, c.ID)
			}
			return
		}
		for name, value := range u.Fields {
			if name == "references" {
				value = mergedReferences(t, s.objects[c.ID][name], value)
			}
			s.objects[c.ID][name] = value
		}
	}
}

func mergedReferences(t testing.TB, was, change json.RawMessage) json.RawMessage {
	all, some := map[string]string{}, map[string]string{}
	if err := json.Unmarshal(change, &some); err != nil {
		t.Error(err)
	}
	if len(was) > 0 {
		if err := json.Unmarshal(was, &all); err != nil {
			t.Error(err)
		}
	}
	maps.Copy(all, some)
	maps.DeleteFunc(all, func(_, side string) bool { return side == "" })
	raw, err := json.Marshal(all)
	if err != nil {
		t.Error(err)
	}
	return raw
}

// plain is the state as texts, by object and field.
func (s *fuzzState) plain() map[string]map[string]string {
	out := map[string]map[string]string{}
	for id, fields := range s.objects {
		one := map[string]string{}
		for _, name := range fuzzFields {
			v := string(fields[name])
			if name == "references" && v != "" {
				all := map[string]string{}
				if json.Unmarshal(fields[name], &all) == nil {
					v = fmt.Sprint(all) // sorted
				}
			}
			if v != "" && v != `""` && v != "null" && v != "false" && v != "map[]" && v != "{}" {
				one[name] = v
			}
		}
		out[id] = one
	}
	return out
}

// fuzzKey names a change; its data may be erased later.
func fuzzKey(c *collab.Change) string {
	return fmt.Sprint(c.Offset, " ", c.Type, " ", c.ID, " ", c.Actor, " ", c.Ref, " ", c.AtNano)
}

// fuzzClient is one person with one page: it edits, and keeps the board by what
// its socket tells.
type fuzzClient struct {
	w     *fuzzWorld
	name  string
	token string
	r     *rand.Rand
	made  map[string]bool // refs of what it was told is made
	refs  int

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

func (c *fuzzClient) run() {
	for range 12 + c.r.IntN(20) {
		switch n := c.r.IntN(100); {
		case n < 8:
			c.w.sum.cuts.Add(1)
			c.cut()
		case n < 14:
			c.stall()
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

// connect returns the connection, a new one if there is none. It resumes after
// the last change that it has.
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
		conn, res, err := d.Dial(url, http.Header{"Authorization": {"Bearer " + c.token}})
		if err == nil {
			c.mu.Lock()
			c.conn, c.done = conn, make(chan struct{})
			go c.read(conn, c.done)
			c.mu.Unlock()
			return conn
		}
		if res != nil && res.StatusCode/100 == 4 || time.Now().After(deadline) {
			c.w.t.Errorf("%s: dial: %v, %v", c.name, err, res)
			return nil
		}
	}
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
	case live.TypePresence, live.TypeSelf, live.TypeCursor:
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
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
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

// edit makes one random change, over the socket or the API, and tries again with
// the same ref until it knows what became of it.
func (c *fuzzClient) edit() {
	typ, data := c.invent()
	c.refs++
	ref := fmt.Sprintf("%s-%d", c.name, c.refs)
	overAPI := c.r.IntN(5) == 0 && (typ == "note.add" || typ == "task.add")
	for range 200 {
		var answer string
		if overAPI {
			answer = c.post(typ, ref, data)
		} else {
			answer = c.ask(typ, ref, data)
		}
		if strings.HasPrefix(answer, live.TypeAck) && strings.HasSuffix(typ, ".add") {
			c.made[ref] = true
		}
		if answer != "" {
			return
		}
	}
	c.w.t.Errorf("%s: no answer to %s %s", c.name, typ, ref)
}

// ask sends a request over the socket; "" if it was cut before the answer.
func (c *fuzzClient) ask(typ, ref string, data map[string]any) string {
	conn := c.connect()
	if conn == nil {
		return "error no connection"
	}
	raw, err := json.Marshal(map[string]any{"type": typ, "ref": ref, "data": data})
	if err != nil {
		return "error " + err.Error()
	}
	answer := make(chan string, 1)
	c.mu.Lock()
	if c.conn != conn {
		c.mu.Unlock()
		return ""
	}
	c.answers[ref] = answer
	stalled := c.gate != nil
	c.mu.Unlock()
	if conn.WriteMessage(websocket.TextMessage, raw) != nil {
		c.cut()
	}
	if stalled { // it does not read: it will not see the answer for a while
		select {
		case a := <-answer:
			return a
		case <-time.After(time.Duration(c.r.IntN(200)) * time.Millisecond):
			c.open()
		}
	}
	select {
	case a := <-answer:
		return a
	case <-time.After(10 * time.Second):
		c.cut()
		return ""
	}
}

func (c *fuzzClient) post(typ, ref string, data map[string]any) string {
	body := maps.Clone(data)
	body["ref"] = ref
	body["kind"], _, _ = strings.Cut(typ, ".")
	raw, err := json.Marshal(body)
	if err != nil {
		return "error " + err.Error()
	}
	req, err := http.NewRequest(http.MethodPost, c.w.node(c.r).http.URL+"/api/v1/investigations/"+string(c.w.inv)+"/blocks", bytes.NewReader(raw))
	if err != nil {
		return "error " + err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		time.Sleep(5 * time.Millisecond) // the next server is on its way
		return ""
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil || res.StatusCode >= 500:
		return ""
	case res.StatusCode == 201 || res.StatusCode == 200:
		return live.TypeAck
	}
	return fmt.Sprintf("error %d %s", res.StatusCode, answer)
}

// invent makes up a request about what the client knows of the board.
func (c *fuzzClient) invent() (string, map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.r
	byNoun := map[string][]string{}
	for id, o := range c.state.objects {
		var kind string
		if json.Unmarshal(o["kind"], &kind) != nil {
			kind = "annotation"
		}
		switch {
		case strings.HasPrefix(id, "i_"):
			continue
		case kind == "trace" || kind == "query":
			kind = "pin"
		}
		byNoun[kind] = append(byNoun[kind], id)
	}
	pick := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		slices.Sort(list) // what the state says in any order, the seed decides
		return list[r.IntN(len(list))]
	}
	text := func() string {
		s := fmt.Sprintf("%s says %d.", c.name, r.IntN(1000))
		if r.IntN(6) == 0 {
			s += strings.Repeat("\n\nA longer line of a long note.", 200)
		}
		return s
	}
	nouns := []string{"note", "note", "link", "task", "hypothesis", "pin", "annotation"}
	noun := nouns[r.IntN(len(nouns))]
	target := pick(byNoun[noun])
	blocks := slices.Concat(byNoun["note"], byNoun["link"], byNoun["task"], byNoun["hypothesis"], byNoun["pin"])
	n := r.IntN(100)
	switch {
	case n < 6:
		field := []string{"title", "status", "severity"}[r.IntN(3)]
		value := map[string][]string{"title": {"One", "Two", "Three"}, "status": {"open", "mitigated", "resolved"}, "severity": {"sev1", "sev2", "unknown"}}[field][r.IntN(3)]
		return "investigation.update", map[string]any{field: value, "seen": c.last}
	case n < 14 && target != "":
		return noun + ".delete", map[string]any{"id": target}
	case n < 45 && target != "":
		u := map[string]any{"id": target, "seen": c.last}
		if c.last > 5 && r.IntN(3) == 0 {
			u["seen"] = c.last - int64(r.IntN(5)) // an old page
		}
		switch {
		case noun == "annotation" || noun == "note" && r.IntN(2) == 0:
			u["text"] = text()
		case r.IntN(3) == 0:
			u["after"] = pick(blocks)
			if u["after"] == target {
				u["after"] = ""
			}
		case noun == "task" && r.IntN(2) == 0:
			u["done"] = r.IntN(2) == 0
		case noun == "hypothesis":
			if cited := pick(slices.Concat(byNoun["note"], byNoun["pin"], byNoun["link"])); cited != "" && r.IntN(2) == 0 {
				u["references"] = map[string]string{cited: []string{"for", "against", ""}[r.IntN(3)]}
			} else {
				u["state"] = []string{"open", "supported", "refuted", "confirmed"}[r.IntN(4)]
			}
		default:
			u["title"] = fmt.Sprintf("Title %d", r.IntN(100))
		}
		return noun + ".update", u
	}
	switch noun {
	case "link":
		return "link.add", map[string]any{"url": fmt.Sprintf("https://example.com/%d", r.IntN(100)), "title": "A page"}
	case "task", "hypothesis":
		return noun + ".add", map[string]any{"title": text()[:12], "text": ""}
	case "pin":
		return "pin.add", map[string]any{"kind": "trace", "trace_id": c.w.trace, "title": "The trace"}
	case "annotation":
		if block := pick(blocks); block != "" && r.IntN(2) == 0 {
			return "annotation.add", map[string]any{"anchor": map[string]any{"pin_id": block}, "text": text()}
		}
		return "annotation.add", map[string]any{"text": text()}
	}
	return "note.add", map[string]any{"text": text()}
}
