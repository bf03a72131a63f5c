package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"redthread/collab"
)

// receiver is a webhook that answers with the given statuses in turn, then 200.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	times  []time.Time
	codes  []int
	header http.Header
}

func newReceiver(t *testing.T, codes ...int) *receiver {
	r := &receiver{codes: codes, header: http.Header{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies, r.times = append(r.bodies, string(body)), append(r.times, time.Now())
		if len(r.codes) > 0 {
			for k := range r.header {
				w.Header().Set(k, r.header.Get(k))
			}
			w.WriteHeader(r.codes[0])
			fmt.Fprint(w, "answer of ", r.codes[0])
			r.codes = r.codes[1:]
			return
		}
		fmt.Fprint(w, "ok")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bodies)
}

type fixture struct {
	*collab.Store
	t     *testing.T
	admin context.Context
}

func open(t *testing.T) *fixture {
	t.Helper()
	s, err := collab.Open(t.Context(), collab.Options{Path: filepath.Join(t.TempDir(), "app.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Check(context.Background()), s.Close()); err != nil {
			t.Error(err)
		}
	})
	u, err := s.CreateUser(t.Context(), collab.NewUser{Email: "ana@example.com", Name: "Ana", Role: collab.RoleAdmin, PasswordHash: "x"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Store: s, t: t, admin: collab.WithActor(t.Context(), collab.Actor{Kind: collab.ActorUser, ID: u.ID, Name: "Ana", Role: collab.RoleAdmin})}
	if _, err := s.CreateUser(t.Context(), collab.NewUser{Email: "bo@example.com", Name: "Bo", Role: collab.RoleMember, PasswordHash: "x"}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) target(url string, reasons ...collab.Reason) {
	f.t.Helper()
	if len(reasons) == 0 {
		reasons = collab.Reasons
	}
	if _, err := f.CreateTarget(f.admin, collab.TargetNew{Name: "ops", URL: url, Reasons: reasons}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) allowLoopback() {
	f.t.Helper()
	if err := f.AllowHost(f.admin, "127.0.0.1"); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) start(o Options) *Service {
	f.t.Helper()
	o.Store = f.Store
	s, err := Start(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return s
}

func (f *fixture) openOne(title string) *collab.Investigation {
	f.t.Helper()
	inv, _, err := f.CreateInvestigation(f.admin, collab.InvestigationNew{Title: title})
	if err != nil {
		f.t.Fatal(err)
	}
	return inv
}

// wait polls until ok says so.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

func (f *fixture) log() []collab.Delivery {
	f.t.Helper()
	list, err := f.FindDeliveries(f.t.Context(), 100)
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

func (f *fixture) settled() bool {
	for _, d := range f.log() {
		if d.State == collab.DeliveryPending {
			return false
		}
	}
	return true
}

func TestEachCauseIsDeliveredOnce(t *testing.T) {
	f, r := open(t), newReceiver(t)
	f.allowLoopback()
	f.target(r.URL)
	f.target(r.URL, collab.ReasonStatus)
	f.start(Options{PublicURL: "https://rt.example/"})
	inv := f.openOne("Slow quotes")
	note := collab.BlockNew{Ref: "r", Kind: collab.KindNote, Text: "look @Bo\nplease"}
	for range 3 { // retries of one note
		if _, _, err := f.CreateBlock(f.admin, inv.ID, note); err != nil {
			t.Fatal(err)
		}
	}
	seen, resolved, lead := int64(2), collab.StatusResolved, "bo@example.com"
	if _, err := f.UpdateInvestigation(f.admin, inv.ID, collab.InvestigationUpdate{Seen: &seen, Status: &resolved, Lead: &lead}); err != nil {
		t.Fatal(err)
	}
	// opened, mention, assignment and status to one; status to the other.
	wait(t, "all delivered", func() bool { return len(f.log()) == 5 && f.settled() })
	if r.count() != 5 {
		t.Fatalf("the receiver got %d messages, want 5", r.count())
	}
	all := strings.Join(r.bodies, "\n")
	for _, want := range []string{"Ana opened an investigation", "Ana named Bo", ">look @Bo\\n>please", "Ana made Bo the lead", "from open to resolved",
		"<https://rt.example/i/" + string(inv.ID) + "#b_", "|Open it>", "resolved · severity unknown · lead Bo"} {
		if !strings.Contains(all, want) {
			t.Errorf("no message contains %q:\n%s", want, all)
		}
	}
	for _, d := range f.log() {
		if d.State != collab.DeliveryDelivered || len(d.Log) != 1 || d.Log[0].Status != 200 || d.Log[0].Response != "ok" {
			t.Errorf("log %+v", d)
		}
	}
}

func TestRetriesWithBackoffThenReplay(t *testing.T) {
	f, r := open(t), newReceiver(t, 500, 429, 503, 500, 500)
	f.allowLoopback()
	f.target(r.URL)
	f.openOne("x") // before anybody delivers: the outbox keeps it
	f.start(Options{Backoff: []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 10 * time.Millisecond}})
	wait(t, "given up", f.settled)
	d := f.log()[0]
	if d.State != collab.DeliveryFailed || len(d.Log) != 5 || r.count() != 5 {
		t.Fatalf("state %s after %d attempts, %d received", d.State, len(d.Log), r.count())
	}
	for i, a := range d.Log {
		if a.Number != i+1 || a.Error == "" || a.Response == "" || (i < 4) != (a.NextUnixNano > 0) {
			t.Errorf("attempt %+v", a)
		}
	}
	if gap := r.times[3].Sub(r.times[2]); gap < 80*time.Millisecond {
		t.Errorf("the fourth attempt came %v after the third, want at least 80 ms", gap)
	}
	if err := f.ReplayDelivery(f.admin, d.ID); err != nil {
		t.Fatal(err)
	}
	wait(t, "replayed", func() bool { return f.log()[0].State == collab.DeliveryDelivered })
	if err := f.ReplayDelivery(f.admin, "d_none"); !errors.Is(err, collab.ErrNotFound) {
		t.Errorf("replay of nothing: %v", err)
	}
}

func TestWhatIsOfNoUseIsNotRetried(t *testing.T) {
	cases := map[string]struct {
		codes []int
		allow bool
		error string
	}{
		"gone":     {[]int{410}, true, "HTTP 410"},
		"bad":      {[]int{400}, true, "HTTP 400"},
		"redirect": {[]int{302}, true, "a redirect, which is not followed"},
		"internal": {nil, false, "internal address"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f, r := open(t), newReceiver(t, c.codes...)
			r.header.Set("Location", "/elsewhere")
			if c.allow {
				f.allowLoopback()
			}
			f.target(r.URL + "/the-secret")
			f.start(Options{})
			f.openOne("x")
			wait(t, "failed", func() bool { return len(f.log()) == 1 && f.settled() })
			d := f.log()[0]
			if d.State != collab.DeliveryFailed || len(d.Log) != 1 || !strings.Contains(d.Log[0].Error, c.error) || strings.Contains(d.Log[0].Error, "the-secret") {
				t.Fatalf("got %+v", d)
			}
			if want := len(c.codes); r.count() != want {
				t.Fatalf("the receiver got %d requests, want %d", r.count(), want)
			}
		})
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "x": 0, "-1": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "99999999": maxRetryAfter,
		"Thu, 01 Jan 1970 00:00:00 GMT": 0} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	f, r := open(t), newReceiver(t, 429)
	r.header.Set("Retry-After", "3600")
	f.allowLoopback()
	f.target(r.URL)
	f.start(Options{Backoff: []time.Duration{time.Millisecond}})
	f.openOne("x")
	wait(t, "one attempt", func() bool { return len(f.log()) == 1 && len(f.log()[0].Log) == 1 })
	if d := f.log()[0]; time.Until(time.Unix(0, d.NextUnixNano)) < 59*time.Minute {
		t.Fatalf("the next try is at %v", time.Unix(0, d.NextUnixNano))
	}
}

func startNATS(t *testing.T) *server.Server {
	t.Helper()
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(60 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	return ns
}

// Two services over one outbox and one work queue deliver each notification
// once; when NATS dies, they go on.
func TestWorkQueueAndItsLoss(t *testing.T) {
	ns := startNATS(t)
	nc, err := nats.Connect(ns.ClientURL(), nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	f, r := open(t), newReceiver(t)
	f.allowLoopback()
	f.target(r.URL)
	one, two := f.start(Options{NATS: nc}), f.start(Options{NATS: nc})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the work queue is there", func() bool { _, err := js.Consumer(t.Context(), streamName, consumerName); return err == nil })
	const n = 40
	for i := range n {
		f.openOne(fmt.Sprint("before ", i))
	}
	wait(t, "all delivered", func() bool { return len(f.log()) == n && f.settled() })
	if r.count() != n {
		t.Fatalf("the receiver got %d messages, want %d", r.count(), n)
	}
	if a, b := one.Stats(), two.Stats(); a.DeliveredTotal+b.DeliveredTotal != n {
		t.Fatalf("delivered %d and %d, want %d in all", a.DeliveredTotal, b.DeliveredTotal, n)
	}
	stream, err := js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	if st := stream.CachedInfo().State; st.LastSeq == 0 { // what it does not take in time is delivered without it
		t.Fatal("no message went through the work queue")
	}
	ns.Shutdown()
	ns.WaitForShutdown()
	f.openOne("after")
	wait(t, "delivered without NATS", func() bool { return len(f.log()) == n+1 && f.settled() })
	if r.count() != n+1 {
		t.Fatalf("the receiver got %d messages, want %d", r.count(), n+1)
	}
}

func TestRefusedAddresses(t *testing.T) {
	internal := []string{"127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
		"100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1",
		"2002:7f00:1::", "2001::1", "2001:db8::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1"}
	for _, a := range internal {
		if !refused(netip.MustParseAddr(a)) {
			t.Errorf("%s is let through", a)
		}
		address := net.JoinHostPort(a, "443")
		if err := guard("tcp", address, nil); !isRefused(err) {
			t.Errorf("guard %s: %v", address, err)
		}
	}
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1"} {
		if refused(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
	if !refused(netip.Addr{}) || guard("tcp", "nonsense", nil) == nil {
		t.Error("what is no address is let through")
	}
}

// Names that lead inside are refused when they are dialled, by any spelling.
func TestGuardJudgesWhatIsDialled(t *testing.T) {
	r := newReceiver(t)
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(func(context.Context) ([]string, error) { return []string{"allowed.example"}, nil })
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "127.1", "0x7f000001", "2130706433"} {
		res, err := client.Post("http://"+host+":"+port+"/", "text/plain", nil)
		if err == nil {
			res.Body.Close()
			t.Errorf("%s was reached", host)
		}
	}
	if r.count() != 0 {
		t.Fatalf("%d requests came through", r.count())
	}
	client = newClient(func(context.Context) ([]string, error) { return []string{"LOCALHOST"}, nil })
	res, err := client.Post("http://localhost:"+port+"/", "text/plain", nil)
	if err != nil {
		t.Fatalf("an allowed host: %v", err)
	}
	res.Body.Close()
}

func TestSlackPayloadStaysInLimits(t *testing.T) {
	long := func(s string) string { return strings.Repeat(s, 50_000/len(s)+1) }
	notices := []collab.Notice{
		{}, {Reason: "test", Title: "Test", ActorName: "Ana"},
		{Reason: collab.ReasonMention, InvestigationID: "i_1", Title: long("é"), Text: long("<!channel> & \n"), ActorName: long("x<"), To: []string{long("y&")}, Path: "/i/1?a=<b>|&c#d e"},
		{Reason: collab.ReasonStatus, InvestigationID: "i_1", Title: long("😀"), Text: long("\n"), ActorName: long("😀"), LeadName: long("&"), Was: "open"},
	}
	for i, n := range notices {
		body, err := slackPayload(n, "https://rt.example")
		if err != nil {
			t.Fatal(err)
		}
		var m slackMessage
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		if len(body) > 40_000 || len(m.Blocks) > 50 || len(m.Blocks) < 2 || m.Text == "" || len16(m.Text) > 40_000 {
			t.Errorf("notice %d: %d bytes, %d blocks, text %d", i, len(body), len(m.Blocks), len16(m.Text))
		}
		for _, b := range m.Blocks {
			switch b.Type {
			case "header":
				if n := len16(b.Text.Text); n == 0 || n > maxHeaderText || b.Text.Type != "plain_text" {
					t.Errorf("notice %d: header of %d", i, n)
				}
			case "section":
				if n := len16(b.Text.Text); n == 0 || n > maxSectionText {
					t.Errorf("notice %d: section of %d", i, n)
				}
				if strings.Contains(b.Text.Text, "<!") {
					t.Errorf("notice %d calls everybody: %.200s", i, b.Text.Text)
				}
			case "context":
				if n := len16(b.Elements[0].Text); len(b.Elements) > 10 || n > maxContextText {
					t.Errorf("notice %d: context of %d", i, n)
				}
			}
		}
	}
}
