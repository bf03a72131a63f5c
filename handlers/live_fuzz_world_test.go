package handlers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/collab/live"
)

// fuzzWorld is one run: the servers, NATS and the clients.
type fuzzWorld struct {
	t     *testing.T
	site  *site
	path  string // of the database
	trace string
	inv   collab.InvestigationID
	team  collab.TeamID // of the guest alone
	own   *collab.Store // the test's own view of the database
	admin context.Context
	sum   fuzzSum

	mu    sync.Mutex
	r     *rand.Rand
	nodes []*fuzzNode
	ns    *server.Server
	port  int // of NATS, -1: not chosen yet

	replacing sync.WaitGroup
	clients   []*fuzzClient // the first is the guest, who loses access at times
}

func (w *fuzzWorld) rand(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n)
}

// fuzzDir is a folder in memory, where there is such a thing: what dies in the fuzz
// are processes, which no disk makes worse, and never the machine.
func fuzzDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "redthread-fuzz-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func newFuzzWorld(t *testing.T, s *site, seed uint64, trace string) *fuzzWorld {
	w := &fuzzWorld{t: t, site: s, path: filepath.Join(fuzzDir(t), "redthread.db"), trace: trace, r: rand.New(rand.NewPCG(seed, 77)), port: -1}
	var err error
	if w.own, err = collab.Open(t.Context(), collab.Options{Path: w.path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.own.Check(context.Background()), w.own.CheckLogs(context.Background()), w.own.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := w.startNATS(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.ns.Shutdown(); w.ns.WaitForShutdown() })
	w.admin = collab.WithActor(t.Context(), collab.Actor{Kind: collab.ActorUser, ID: "u_admin", Name: "Admin", Role: collab.RoleAdmin})
	w.people(seed)
	for range 2 {
		n, err := w.startNode()
		if err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, n)
	}
	t.Cleanup(func() {
		w.replacing.Wait()
		for _, n := range w.nodes {
			n.die()
		}
	})
	return w
}

// people opens the investigation and signs in those who work on it. All but the
// guest are asked in by name.
func (w *fuzzWorld) people(seed uint64) {
	must := func(err error) {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	inv, _, err := w.own.CreateInvestigation(w.admin, collab.InvestigationNew{Title: "Fuzz"})
	must(err)
	w.inv = inv.ID
	asked, role := map[string]*string{}, ""
	for i := range 3 + w.rand(3) {
		c := newFuzzClient(w, fmt.Sprint("client ", i), rand.New(rand.NewPCG(seed, uint64(i))))
		who := collab.NewUser{Email: fmt.Sprintf("client-%d@example.com", i), Name: c.name, Role: collab.RoleMember, PasswordHash: siteHash()}
		if i == 1 {
			who.Role = collab.RoleAdmin // who may edit what others wrote
		}
		u, err := w.own.CreateUser(w.t.Context(), who)
		must(err)
		c.id = u.ID
		must(c.signIn())
		if i > 0 {
			asked[u.ID] = &role
		}
		w.clients = append(w.clients, c)
	}
	team, err := w.own.CreateTeam(w.admin, collab.TeamNew{Name: "Guests"})
	must(err)
	w.team = team.ID
	_, err = w.own.UpdateTeam(w.admin, w.team, collab.TeamUpdate{Members: map[string]bool{w.clients[0].id: true}})
	must(err)
	must(w.update(collab.InvestigationUpdate{People: asked}))
}

// update changes the investigation beside all servers.
func (w *fuzzWorld) update(u collab.InvestigationUpdate) error {
	p, err := w.own.LogPosition(w.admin, w.inv)
	if err != nil {
		return err
	}
	u.Seen = &p.Offset
	_, err = w.own.UpdateInvestigation(w.admin, w.inv, u)
	return err
}

// merge brings what stands in another investigation into this one.
func (w *fuzzWorld) merge() error {
	other, _, err := w.own.CreateInvestigation(w.admin, collab.InvestigationNew{Title: "Other"})
	if err != nil {
		return err
	}
	note, _, err := w.own.CreateBlock(w.admin, other.ID, collab.BlockNew{Kind: collab.KindNote, Text: "From the other."})
	if err == nil {
		_, _, err = w.own.CreateAnnotation(w.admin, collab.AnnotationNew{Anchor: collab.Anchor{PinID: note.ID}, Text: "So it is."})
	}
	if err == nil {
		_, _, err = w.own.CreateEntry(w.admin, other.ID, collab.EntryNew{Text: "It began there."})
	}
	if err == nil {
		_, err = w.own.MergeInvestigation(w.admin, other.ID, collab.MergeNew{Into: w.inv, Sure: true})
	}
	return err
}

// fuzzPorts counts the ports of NATS in this process, from a random one on.
var fuzzPorts atomic.Uint32

func init() { fuzzPorts.Store(rand.Uint32N(8000)) }

// startNATS starts a NATS server, at the address of those before it. Its port is none
// of those that systems hand out: nobody gets it while NATS is away.
func (w *fuzzWorld) startNATS() error {
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		port := w.port
		if port < 0 {
			port = 20_000 + int(fuzzPorts.Add(1)%8000)
		}
		ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true})
		if err != nil {
			return err
		}
		go ns.Start()
		if ns.ReadyForConnections(2 * time.Second) {
			w.ns = ns
			if w.port < 0 { // before there is anybody who reads it
				w.port = port
			}
			return nil
		}
		ns.Shutdown() // somebody has the port just now
		ns.WaitForShutdown()
		if time.Now().After(deadline) {
			return fmt.Errorf("NATS does not start on port %d", port)
		}
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

func (w *fuzzWorld) startNode() (*fuzzNode, error) {
	store, err := collab.Open(context.Background(), collab.Options{Path: w.path})
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", w.port), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	n := &fuzzNode{store: store, nc: nc, conns: map[net.Conn]bool{}}
	n.hub = live.NewHub(live.Options{Store: store, NATS: nc, Readers: store.Readers, Queue: 8, Sweep: 200 * time.Millisecond})
	s, err := New(context.Background(), Deps{Store: w.site.Store, Graph: w.site.Graph, Collab: store, Auth: auth.New(store, auth.Options{}), Live: n.hub})
	if err != nil {
		return nil, errors.Join(err, n.hub.Close(), store.Close())
	}
	s.pulse.check = 30 * time.Millisecond
	store.OnChange(func(p collab.Position) {
		switch {
		case n.dead.Load():
		case w.rand(60) == 0: // committed, and nobody is told: nor the one who asked
			w.sum.deaths.Add(1)
			w.replacing.Go(func() { w.replace(n) })
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
	return n, nil
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
	fresh, err := w.startNode()
	if err != nil {
		w.t.Errorf("start a server: %v", err)
		return
	}
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

// run lets everybody work until they are done, and NATS come and go.
func (w *fuzzWorld) run() {
	var clients, chaos sync.WaitGroup
	for _, c := range w.clients {
		clients.Go(c.run)
	}
	stop := make(chan struct{})
	chaos.Go(func() {
		merge := w.rand(3) == 0
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(20+w.rand(200)) * time.Millisecond):
			}
			if merge {
				merge = false
				if err := w.merge(); err != nil {
					w.t.Errorf("merge: %v", err)
				}
			}
			if w.rand(3) > 0 {
				continue
			}
			w.sum.stops.Add(1)
			w.ns.Shutdown()
			w.ns.WaitForShutdown()
			time.Sleep(time.Duration(w.rand(100)) * time.Millisecond) // how long it is away
			if err := w.startNATS(); err != nil {
				w.t.Error(err)
				return
			}
		}
	})
	clients.Wait()
	close(stop)
	chaos.Wait()
}
