package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// story is what the browser tests look at: a request sends a message; its
// consumer, in the same trace, enqueues a job; the job, in a trace of its own,
// is joined by a link and fails.
type story struct {
	request, job               trace.ID
	root, publish, run, failed trace.SpanID
	spans                      int // of the request's trace
}

func spanID(n uint64) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], n)
	return id
}

// tell sends the story and waits until it can be found.
func tell(t testing.TB, p *process) story {
	t.Helper()
	r := rand.New(rand.NewPCG(rand.Uint64(), 5))
	s := story{request: newID(r), job: newID(r), root: spanID(0xa1), publish: spanID(0xa6), run: spanID(0xb1), failed: spanID(0xb3)}
	start := time.Now().Add(-2 * time.Minute).UnixNano()
	const ms = int64(time.Millisecond)
	attr := func(kv ...string) (list []trace.Attribute) {
		for i := 0; i < len(kv); i += 2 {
			list = append(list, trace.Attribute{Key: kv[i], Value: trace.String(kv[i+1])})
		}
		return list
	}
	request := []trace.Span{
		{SpanID: s.root, Name: "POST /quotes", Service: "web-uk", Kind: trace.KindServer, StartUnixNano: start, DurationNano: 180 * ms,
			Attributes: append(attr("http.route", "/quotes", "user.id", "u-4711", "http.request.id", "req-58f2"), trace.Attribute{Key: "http.response.status_code", Value: trace.Int(202)})},
		{SpanID: spanID(0xa2), ParentID: s.root, Name: "QuotesController#create", Service: "web-uk", Kind: trace.KindInternal, StartUnixNano: start + 3*ms, DurationNano: 170 * ms},
		{SpanID: spanID(0xa3), ParentID: spanID(0xa2), Name: "SELECT cars", Service: "web-uk", Kind: trace.KindClient, StartUnixNano: start + 10*ms, DurationNano: 40 * ms,
			Attributes: attr("db.system", "postgresql", "db.statement", "SELECT * FROM cars WHERE id = $1")},
		{SpanID: spanID(0xa4), ParentID: spanID(0xa2), Name: "quotes.requested publish", Service: "web-uk", Kind: trace.KindProducer, StartUnixNano: start + 60*ms, DurationNano: 5 * ms,
			Attributes: attr("messaging.system", "kafka", "messaging.destination.name", "quotes.requested")},
		{SpanID: spanID(0xa5), ParentID: spanID(0xa4), Name: "quotes.requested process", Service: "pricing", Kind: trace.KindConsumer, StartUnixNano: start + 100*ms, DurationNano: 60 * ms,
			Attributes: attr("messaging.system", "kafka", "messaging.destination.name", "quotes.requested")},
		{SpanID: s.publish, ParentID: spanID(0xa5), Name: "PriceQuoteJob publish", Service: "pricing", Kind: trace.KindProducer, StartUnixNano: start + 120*ms, DurationNano: 2 * ms,
			Attributes: attr("messaging.system", "sidekiq")},
	}
	failure := trace.Event{Name: "exception", TimeUnixNano: start + 900*ms,
		Attributes: attr("exception.type", "DealerTimeout", "exception.message", "dealer 17 did not answer within 500 ms")}
	job := []trace.Span{
		{SpanID: s.run, Name: "PriceQuoteJob process", Service: "pricing-worker", Kind: trace.KindConsumer, StartUnixNano: start + 350*ms, DurationNano: 600 * ms,
			Status: trace.StatusError, Links: []trace.Link{{TraceID: s.request, SpanID: s.publish}}, Attributes: attr("messaging.system", "sidekiq", "dealer.id", "17")},
		{SpanID: spanID(0xb2), ParentID: s.run, Name: "SELECT dealers", Service: "pricing-worker", Kind: trace.KindClient, StartUnixNano: start + 360*ms, DurationNano: 12 * ms},
		{SpanID: s.failed, ParentID: s.run, Name: "GET /dealers/17/price", Service: "pricing-worker", Kind: trace.KindClient, StartUnixNano: start + 390*ms, DurationNano: 510 * ms,
			Status: trace.StatusError, StatusMessage: "dealer 17 did not answer within 500 ms", Events: []trace.Event{failure}},
	}
	for i := range request {
		request[i].TraceID, request[i].Environment = s.request, "production-uk"
	}
	for i := range job {
		job[i].TraceID, job[i].Environment = s.job, "production-uk"
	}
	s.spans = len(request)
	sendSpans(t, p, request, job)
	eventually(t, patience, "the story is findable", func() error {
		if a, b := p.spanCount(s.request), p.spanCount(s.job); a != len(request) || b != len(job) {
			return fmt.Errorf("%d and %d spans, want %d and %d", a, b, len(request), len(job))
		}
		return nil
	})
	return s
}

// traffic sends n requests of several routes and durations in the last 50
// minutes; one in twenty fails.
func traffic(t testing.TB, p *process, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(6, 7))
	routes := []string{"/cars", "/cars/{id}", "/quotes", "/dealers", "/offers"}
	services := []string{"web-uk", "web-de", "api"}
	now := time.Now()
	spans := make([]trace.Span, n)
	for i := range spans {
		route := routes[r.IntN(len(routes))]
		code := int64(200)
		status := trace.StatusUnset
		if r.IntN(20) == 0 {
			code, status = 503, trace.StatusError
		}
		spans[i] = trace.Span{TraceID: newID(r), SpanID: spanID(uint64(i) + 1), Name: "GET " + route, Service: services[r.IntN(len(services))], Environment: "production-uk",
			Kind: trace.KindServer, Status: status, StartUnixNano: now.Add(-time.Duration(r.Int64N(int64(50 * time.Minute)))).UnixNano(),
			DurationNano: int64(float64(20*time.Millisecond) * (1 + r.ExpFloat64()*3)),
			Attributes: []trace.Attribute{{Key: "http.route", Value: trace.String(route)}, {Key: "http.response.status_code", Value: trace.Int(code)},
				{Key: "dealer.id", Value: trace.Int(int64(r.IntN(30)))}}}
	}
	sendSpans(t, p, spans)
	eventually(t, patience, "the traffic is findable", func() error {
		if got := p.spanCount(spans[n-1].TraceID); got != 1 {
			return fmt.Errorf("the last trace has %d spans", got)
		}
		return nil
	})
}

// bigTrace sends one trace of n spans, up to six levels deep; every 1,000th
// span fails.
func bigTrace(t testing.TB, p *process, n int) trace.ID {
	t.Helper()
	r := rand.New(rand.NewPCG(rand.Uint64(), 8))
	id := newID(r)
	start := time.Now().Add(-time.Minute).UnixNano()
	const each = int64(100 * time.Microsecond)
	spans := make([]trace.Span, n)
	last := [6]int{}
	for i := range spans {
		depth := 0
		if i > 0 {
			depth = 1 + i%5
		}
		spans[i] = trace.Span{TraceID: id, SpanID: spanID(uint64(i) + 1), Name: fmt.Sprintf("step %d", i), Service: fmt.Sprintf("service-%d", depth), Environment: "default",
			Kind: trace.KindInternal, StartUnixNano: start + int64(i)*each, DurationNano: int64(6-depth) * each}
		if depth > 0 {
			spans[i].ParentID = spans[last[depth-1]].SpanID
		} else {
			spans[i].DurationNano = int64(n+10) * each
		}
		if i%1000 == 999 {
			spans[i].Status = trace.StatusError
		}
		last[depth] = i
	}
	sendSpans(t, p, spans[:n/2], spans[n/2:])
	eventually(t, patience, "the large trace is findable", func() error {
		if got := p.spanCount(id); got != n {
			return fmt.Errorf("%d spans, want %d", got, n)
		}
		return nil
	})
	return id
}

func sendSpans(t testing.TB, p *process, batches ...[]trace.Span) {
	t.Helper()
	for _, b := range batches {
		if got, text := send(t, p.otlpHTTP+"/v1/traces", gzipped(otlp.AppendSpans(nil, b)), "Content-Encoding", "gzip"); got != 200 {
			t.Fatalf("send spans: %d %s", got, text)
		}
	}
}

// slack is an incoming webhook on loopback that holds messages to the limits of
// Slack (docs.slack.dev/reference/block-kit/blocks).
type slack struct {
	*httptest.Server
	mu       sync.Mutex
	messages []string // the fallback texts
}

func newSlack(t testing.TB) *slack {
	s := &slack{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("slack: %v", err)
		}
		text, err := checkSlack(body)
		if err != nil {
			t.Errorf("slack: %v in %s", err, body)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.messages = append(s.messages, text)
		s.mu.Unlock()
		fmt.Fprint(w, "ok")
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *slack) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.messages...)
}

func checkSlack(body []byte) (string, error) {
	type text struct{ Type, Text string }
	var m struct {
		Text   string
		Blocks []struct {
			Type     string
			Text     *text
			Elements []text
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return "", err
	}
	length := func(s string) int { return len(utf16.Encode([]rune(s))) }
	limits := map[string]int{"header": 150, "section": 3000}
	switch {
	case len(body) > 40_000:
		return "", fmt.Errorf("%d bytes, want at most 40,000", len(body))
	case m.Text == "":
		return "", errors.New("no text beside the blocks")
	case len(m.Blocks) == 0 || len(m.Blocks) > 50:
		return "", fmt.Errorf("%d blocks, want 1 to 50", len(m.Blocks))
	}
	for i, b := range m.Blocks {
		switch limit, known := limits[b.Type]; {
		case known && (b.Text == nil || b.Text.Text == "" || length(b.Text.Text) > limit):
			return "", fmt.Errorf("block %d: a %s needs 1 to %d characters", i, b.Type, limit)
		case known && b.Type == "header" && b.Text.Type != "plain_text":
			return "", fmt.Errorf("block %d: the text of a header is %s, want plain_text", i, b.Text.Type)
		case b.Type == "context" && (len(b.Elements) == 0 || len(b.Elements) > 10):
			return "", fmt.Errorf("block %d: a context of %d elements, want 1 to 10", i, len(b.Elements))
		case !known && b.Type != "context" && b.Type != "divider":
			return "", fmt.Errorf("block %d: unknown type %s", i, b.Type)
		}
	}
	return m.Text, nil
}

// wire is a SOCKS5 proxy that can be cut: connections end at once, and new ones
// are refused until it is mended.
type wire struct {
	listener net.Listener
	done     sync.WaitGroup
	mu       sync.Mutex
	isCut    bool
	open     map[net.Conn]bool
	refused  int // connections since the cut
}

func newWire(t testing.TB) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, open: map[net.Conn]bool{}}
	w.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.done.Go(func() { w.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.cut()
		w.done.Wait()
	})
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

// hold notes a connection, or refuses it while the wire is cut.
func (w *wire) hold(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		w.refused++
		c.Close()
		return false
	}
	w.open[c] = true
	return true
}

func (w *wire) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
	c.Close()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut, w.refused = true, 0
	for c := range w.open {
		c.Close()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

func (w *wire) refusals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

// serve is the CONNECT command of RFC 1928 without authentication, to a name or
// an address of IPv4.
func (w *wire) serve(c net.Conn) {
	if !w.hold(c) {
		return
	}
	defer w.drop(c)
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil || head[0] != 5 {
		return
	}
	if _, err := io.ReadFull(c, make([]byte, head[1])); err != nil {
		return
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return
	}
	request := make([]byte, 4)
	if _, err := io.ReadFull(c, request); err != nil || request[1] != 1 {
		return
	}
	size := []byte{4} // of an IPv4 address
	if request[3] == 3 {
		if _, err := io.ReadFull(c, size); err != nil { // of a name
			return
		}
	}
	address := make([]byte, int(size[0])+2)
	if _, err := io.ReadFull(c, address); err != nil {
		return
	}
	host, port := string(address[:size[0]]), binary.BigEndian.Uint16(address[size[0]:])
	if request[3] == 1 {
		host = net.IP(address[:size[0]]).String()
	}
	server, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil || !w.hold(server) {
		return
	}
	defer w.drop(server)
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, c)
		server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(c, server)
	c.Close()
	both.Wait()
}
