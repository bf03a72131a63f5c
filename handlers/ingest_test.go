package handlers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"

	"redthread/collab/auth"
	"redthread/tracestore"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// batchStore takes batches as the store does and keeps what it took.
type batchStore struct {
	mu      sync.Mutex
	batches []tracestore.Batch
	fail    error
}

func (s *batchStore) Append(_ context.Context, b tracestore.Batch) (tracestore.Ack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return tracestore.Ack{}, s.fail
	}
	sig, raw := otlp.Traces, b.Raw
	if b.Format == tracestore.FormatOTLPLogsProto || b.Format == tracestore.FormatOTLPLogsJSON {
		sig = otlp.Logs
	}
	var err error
	if b.Format == tracestore.FormatOTLPJSON || b.Format == tracestore.FormatOTLPLogsJSON {
		if raw, err = otlp.FromJSON(nil, sig, raw); err != nil {
			return tracestore.Ack{}, &tracestore.InvalidError{Message: err.Error()}
		}
	}
	rep, err := otlp.Validate(sig, raw)
	if err != nil {
		return tracestore.Ack{}, &tracestore.InvalidError{Message: err.Error()}
	}
	b.Raw = bytes.Clone(b.Raw)
	s.batches = append(s.batches, b)
	return tracestore.Ack{Spans: rep.Accepted, Rejected: rep.Rejected, Message: rep.Message}, nil
}

func (s *batchStore) taken() []tracestore.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]tracestore.Batch(nil), s.batches...)
}

// oneKey knows the key "right", of the environment production-uk.
type oneKey struct{}

func (oneKey) IngestKey(_ context.Context, secret string) (auth.Sender, bool, error) {
	switch secret {
	case "right":
		return auth.Sender{Environment: "production-uk"}, true, nil
	case "broken":
		return auth.Sender{}, false, errors.New("database is away")
	}
	return auth.Sender{}, false, nil
}

func (oneKey) Keyless(context.Context) (auth.Sender, error) { return auth.Sender{}, nil }
func (oneKey) HashSecret(context.Context) ([]byte, error)   { return []byte("secret"), nil }

// testSpans returns n spans as an export request.
func testSpans(n int) []byte {
	spans := make([]trace.Span, n)
	for i := range spans {
		spans[i] = trace.Span{
			TraceID: trace.ID{1, byte(i >> 8), byte(i)}, SpanID: trace.SpanID{1, byte(i >> 8), byte(i)},
			Service: "web-uk", Name: "GET /quotes", Kind: trace.KindServer,
			StartUnixNano: 1_790_000_000_000_000_000, DurationNano: 1_000_000,
		}
	}
	return otlp.AppendSpans(nil, spans)
}

const jsonSpan = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},
	"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET /"}]}]}]}`

func pack(t testing.TB, encoding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// ingestServer serves the routes of an Ingest alone.
func ingestServer(t testing.TB, in *Ingest) *httptest.Server {
	t.Helper()
	s := &Server{Deps: Deps{Ingest: in}}
	e := echo.New()
	e.POST("/v1/traces", s.ingestTraces)
	e.POST("/v1/logs", s.ingestLogs)
	e.POST("/v1/metrics", s.ingestMetrics)
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return srv
}

type answer struct {
	status int
	header http.Header
	body   string
}

func post(t testing.TB, url string, header map[string]string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("POST %s: %v", url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func TestIngestTakesEveryEncoding(t *testing.T) {
	for _, encoding := range []string{"", "identity", "gzip", "zstd", "deflate", "GZIP"} {
		for _, contentType := range []string{typeProtobuf, typeJSON, typeJSON + "; charset=utf-8"} {
			t.Run(encoding+" "+contentType, func(t *testing.T) {
				store := &batchStore{}
				srv := ingestServer(t, NewIngest(IngestOptions{Store: store, Keys: oneKey{}, Open: true}))
				raw := testSpans(3)
				if strings.HasPrefix(contentType, typeJSON) {
					raw = []byte(jsonSpan)
				}
				h := map[string]string{"Content-Type": contentType}
				if encoding != "" {
					h["Content-Encoding"] = encoding
				}
				got := post(t, srv.URL+"/v1/traces", h, bytes.NewReader(pack(t, strings.ToLower(encoding), raw)))
				wantBody, wantType := "", typeProtobuf
				if strings.HasPrefix(contentType, typeJSON) {
					wantBody, wantType = "{}", typeJSON
				}
				if got.status != 200 || got.body != wantBody || got.header.Get("Content-Type") != wantType {
					t.Fatalf("answer = %d %q %s, want 200 %q %s", got.status, got.body, got.header.Get("Content-Type"), wantBody, wantType)
				}
				batches := store.taken()
				if len(batches) != 1 || !bytes.Equal(batches[0].Raw, raw) {
					t.Fatalf("store got %d batches, want the body as it was before compression", len(batches))
				}
			})
		}
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestIngestRefuses(t *testing.T) {
	bomb := pack(t, "gzip", make([]byte, 200<<20))
	zbomb := pack(t, "zstd", make([]byte, 200<<20))
	proto := map[string]string{"Content-Type": typeProtobuf}
	with := func(kv ...string) map[string]string {
		h := map[string]string{"Content-Type": typeProtobuf}
		for i := 0; i < len(kv); i += 2 {
			h[kv[i]] = kv[i+1]
		}
		return h
	}
	tests := []struct {
		name   string
		header map[string]string
		body   io.Reader
		closed bool // keyless ingest is off
		status int
		want   string
	}{
		{"truncated protobuf", proto, bytes.NewReader(testSpans(2)[:50]), false, 400, "cut short"},
		{"not protobuf", proto, strings.NewReader("hello there, this is text"), false, 400, "protobuf"},
		{"JSON in protobuf", proto, strings.NewReader(jsonSpan), false, 400, "protobuf"},
		{"JSON of wrong type", with("Content-Type", typeJSON), strings.NewReader(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":7}]}]}]}`), false, 400,
			"resourceSpans[0].scopeSpans[0].spans[0].name"},
		{"JSON cut short", with("Content-Type", typeJSON), strings.NewReader(jsonSpan[:80]), false, 400, "cut short"},
		{"empty JSON", with("Content-Type", typeJSON), strings.NewReader(""), false, 400, "empty"},
		{"no content type", map[string]string{}, bytes.NewReader(testSpans(1)), false, 415, "application/x-protobuf"},
		{"form", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, strings.NewReader("a=b"), false, 415, "not supported"},
		{"unknown encoding", with("Content-Encoding", "br"), bytes.NewReader(testSpans(1)), false, 415, `"br"`},
		{"not gzip", with("Content-Encoding", "gzip"), bytes.NewReader(testSpans(1)), false, 400, "gzip"},
		{"not zstd", with("Content-Encoding", "zstd"), bytes.NewReader(testSpans(1)), false, 400, "zstd"},
		{"cut gzip", with("Content-Encoding", "gzip"), bytes.NewReader(pack(t, "gzip", testSpans(5))[:40]), false, 400, "gzip"},
		{"gzip bomb", with("Content-Encoding", "gzip"), bytes.NewReader(bomb), false, 413, "67108864"},
		{"zstd bomb", with("Content-Encoding", "zstd"), bytes.NewReader(zbomb), false, 413, "67108864"},
		{"too long", proto, bytes.NewReader(make([]byte, maxSentBytes+1)), false, 413, "20971520"},
		{"too long and chunked", proto, io.LimitReader(endless{}, maxSentBytes+1), false, 413, "20971520"},
		{"wrong key though open", with("x-redthread-key", "wrong"), bytes.NewReader(testSpans(1)), false, 401, "unknown or revoked"},
		{"wrong bearer though open", with("Authorization", "Bearer wrong"), bytes.NewReader(testSpans(1)), false, 401, "unknown or revoked"},
		{"basic authorization", with("Authorization", "Basic abc"), bytes.NewReader(testSpans(1)), false, 401, "Bearer"},
		{"empty bearer", with("Authorization", "Bearer "), bytes.NewReader(testSpans(1)), false, 401, "ey"},
		{"no key", proto, bytes.NewReader(testSpans(1)), true, 401, "x-redthread-key"},
		{"no key, forwarded", with("Forwarded", "for=10.0.0.1"), bytes.NewReader(testSpans(1)), false, 401, "proxy"},
		{"no key, x-forwarded-for", with("X-Forwarded-For", "10.0.0.1"), bytes.NewReader(testSpans(1)), false, 401, "proxy"},
		{"no key, x-forwarded-proto", with("X-Forwarded-Proto", "https"), bytes.NewReader(testSpans(1)), false, 401, "proxy"},
		{"key store broken", with("x-redthread-key", "broken"), bytes.NewReader(testSpans(1)), false, 503, "Send this one again."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := &batchStore{}
			srv := ingestServer(t, NewIngest(IngestOptions{Store: store, Keys: oneKey{}, Open: !tt.closed}))
			got := post(t, srv.URL+"/v1/traces", tt.header, tt.body)
			if got.status != tt.status || !strings.Contains(got.body, tt.want) && tt.status != 503 {
				t.Errorf("answer = %d %q, want %d with %q", got.status, got.body, tt.status, tt.want)
			}
			if n := len(store.taken()); n != 0 {
				t.Errorf("the store took %d batches of a refused request", n)
			}
		})
	}
}

func TestIngestKeyHeaders(t *testing.T) {
	for _, header := range []string{"Authorization", "x-redthread-key", "x-honeycomb-team", "x-api-key", "DD-API-KEY"} {
		store := &batchStore{}
		srv := ingestServer(t, NewIngest(IngestOptions{Store: store, Keys: oneKey{}}))
		value := "right"
		if header == "Authorization" {
			value = "Bearer right"
		}
		got := post(t, srv.URL+"/v1/traces", map[string]string{"Content-Type": typeProtobuf, header: value, "X-Forwarded-For": "10.0.0.1"}, bytes.NewReader(testSpans(1)))
		if b := store.taken(); got.status != 200 || len(b) != 1 || b[0].Environment != "production-uk" {
			t.Errorf("%s: answer %d, batches %+v; want 200 and environment production-uk", header, got.status, b)
		}
	}
}

func TestIngestPartialSuccess(t *testing.T) {
	srv := ingestServer(t, NewIngest(IngestOptions{Store: &batchStore{}, Keys: oneKey{}, Open: true}))
	oneBad := strings.Replace(jsonSpan, `"name":"GET /"}`, `"name":"GET /"},{"traceId":"","spanId":"b7ad6b7169203331"}`, 1)
	got := post(t, srv.URL+"/v1/traces", map[string]string{"Content-Type": typeJSON}, strings.NewReader(oneBad))
	if want := `{"partialSuccess":{"errorMessage":"a span has no trace id","rejectedSpans":"1"}}`; got.status != 200 || got.body != want {
		t.Errorf("answer = %d %s, want 200 %s", got.status, got.body, want)
	}
	raw, err := otlp.FromJSON(nil, otlp.Traces, []byte(oneBad))
	if err != nil {
		t.Fatal(err)
	}
	got = post(t, srv.URL+"/v1/traces", map[string]string{"Content-Type": typeProtobuf}, bytes.NewReader(raw))
	// partial_success = 1 { rejected_spans = 1: 1, error_message = 2: … }
	if want := "\x0a\x1a\x08\x01\x12\x16a span has no trace id"; got.status != 200 || got.body != want {
		t.Errorf("answer = %d %q, want 200 %q", got.status, got.body, want)
	}
}

func TestIngestLogsAndMetrics(t *testing.T) {
	store := &batchStore{}
	var logged bytes.Buffer
	in := NewIngest(IngestOptions{Store: store, Keys: oneKey{}, Open: true, Log: newTextLog(&logged)})
	srv := ingestServer(t, in)
	h := map[string]string{"Content-Type": typeJSON}

	logs := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[
		{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","body":{"stringValue":"hi"}},
		{"body":{"stringValue":"outside of any trace"}}]}]}]}`
	got := post(t, srv.URL+"/v1/logs", h, strings.NewReader(logs))
	if got.status != 200 || !strings.Contains(got.body, `"rejectedLogRecords":"1"`) {
		t.Errorf("logs: answer = %d %s, want 200 with one rejected record", got.status, got.body)
	}

	metrics := `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","sum":{"dataPoints":[{"asInt":"1"},{"asInt":"2"}]}},{"name":"b","gauge":{"dataPoints":[{"asDouble":1}]}}]}]}]}`
	for range 3 {
		got = post(t, srv.URL+"/v1/metrics", h, strings.NewReader(metrics))
		if got.status != 200 || !strings.Contains(got.body, `"rejectedDataPoints":"3"`) {
			t.Errorf("metrics: answer = %d %s, want 200 with three rejected points", got.status, got.body)
		}
	}
	if n := strings.Count(logged.String(), "metrics are not kept"); n != 1 {
		t.Errorf("warned %d times of one sender's metrics, want once", n)
	}
	if b := store.taken(); len(b) != 1 || b[0].Format != tracestore.FormatOTLPLogsJSON {
		t.Errorf("store got %+v, want the logs only", b)
	}
	if s := in.Stats(); s.MetricPointsTotal != 9 || s.SpansTotal != 1 || s.RejectedTotal != 1 || s.InFlightBytes != 0 {
		t.Errorf("stats = %+v, want 9 points, 1 record taken, 1 rejected, nothing in flight", s)
	}
}

func TestIngestComeAgain(t *testing.T) {
	for err, after := range map[error]string{
		fmt.Errorf("%w: 3 bytes wait", tracestore.ErrOverloaded): "2",
		fmt.Errorf("%w: 1 MB free", tracestore.ErrDiskFull):      "30",
		tracestore.ErrClosed:       "2",
		errors.New("disk on fire"): "2",
	} {
		srv := ingestServer(t, NewIngest(IngestOptions{Store: &batchStore{fail: err}, Keys: oneKey{}, Open: true}))
		got := post(t, srv.URL+"/v1/traces", map[string]string{"Content-Type": typeJSON}, strings.NewReader(jsonSpan))
		if got.status != 503 || got.header.Get("Retry-After") != after || strings.Contains(got.body, "fire") {
			t.Errorf("%v: answer = %d, Retry-After %q, %s; want 503 after %s and no inner words", err, got.status, got.header.Get("Retry-After"), got.body, after)
		}
	}
}

// blockingStore holds each batch until it is let go.
type blockingStore struct {
	entered chan struct{}
	leave   chan struct{}
}

func (s *blockingStore) Append(context.Context, tracestore.Batch) (tracestore.Ack, error) {
	s.entered <- struct{}{}
	<-s.leave
	return tracestore.Ack{}, nil
}

func TestIngestBoundsBodiesInFlight(t *testing.T) {
	store := &blockingStore{make(chan struct{}, 100), make(chan struct{})}
	letGo := sync.OnceFunc(func() { close(store.leave) })
	in := NewIngest(IngestOptions{Store: store, Keys: oneKey{}, Open: true, MaxInFlightBytes: 128 << 20})
	srv := ingestServer(t, in)
	defer letGo()
	h := map[string]string{"Content-Type": typeProtobuf}
	large := make([]byte, 15<<20) // each takes a buffer of 16 MiB
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { post(t, srv.URL+"/v1/traces", h, bytes.NewReader(large)) })
		select {
		case <-store.entered:
		case <-time.After(60 * time.Second):
			t.Fatalf("body %d is within the limit and did not reach the store in 60 s", i)
		}
	}
	got := post(t, srv.URL+"/v1/traces", h, bytes.NewReader(large))
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("ninth body: answer = %d, want 503 with Retry-After", got.status)
	}
	letGo()
	wg.Wait()
	if s := in.Stats(); s.InFlightBytes != 0 {
		t.Errorf("%d bytes stay in flight when all is answered", s.InFlightBytes)
	}
}

// TestIngestRefusalIsRead: a sender that reads no answer before it has written its
// whole body is told to come again too.
func TestIngestRefusalIsRead(t *testing.T) {
	store := &blockingStore{make(chan struct{}, 1), make(chan struct{})}
	in := NewIngest(IngestOptions{Store: store, Keys: oneKey{}, Open: true, MaxInFlightBytes: 1 << 20})
	srv := ingestServer(t, in)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(store.leave)
	wg.Go(func() {
		post(t, srv.URL+"/v1/traces", map[string]string{"Content-Type": typeProtobuf}, bytes.NewReader(make([]byte, 900<<10)))
	})
	<-store.entered
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 16 << 20
	if _, err := fmt.Fprintf(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", typeProtobuf, size); err != nil {
		t.Fatal(err)
	}
	for range size / (64 << 10) {
		if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
			t.Fatalf("the connection is closed while the body is written: %v", err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("answer = %d, Retry-After %q; want 503 that says when to come again", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

func TestIngestManySmallRequestsAtOnce(t *testing.T) {
	const n = 500
	store := &blockingStore{make(chan struct{}, n), make(chan struct{})}
	letGo := sync.OnceFunc(func() { close(store.leave) })
	in := NewIngest(IngestOptions{Store: store, Keys: oneKey{}, Open: true, MaxInFlightBytes: n * 64 << 10})
	srv := ingestServer(t, in)
	defer letGo()
	h := map[string]string{"Content-Type": typeProtobuf}
	// A large body leaves a large buffer in the pool.
	go func() { <-store.entered; store.leave <- struct{}{} }()
	post(t, srv.URL+"/v1/traces", h, bytes.NewReader(make([]byte, 4<<20)))
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range n {
		wg.Go(func() {
			if got := post(t, srv.URL+"/v1/traces", h, bytes.NewReader(testSpans(1))); got.status != 200 {
				refused.Add(1)
			}
		})
	}
	for range n {
		select {
		case <-store.entered:
		case <-time.After(60 * time.Second):
			t.Fatal("not every small request reached the store in 60 s")
		}
	}
	letGo()
	wg.Wait()
	if refused.Load() > 0 {
		t.Errorf("%d of %d small requests were refused though they fit", refused.Load(), n)
	}
	if s := in.Stats(); s.InFlightBytes != 0 {
		t.Errorf("%d bytes stay in flight when all is answered", s.InFlightBytes)
	}
}

func TestIngestBombsCostBoundedMemory(t *testing.T) {
	bomb := pack(t, "gzip", make([]byte, 200<<20))
	in := NewIngest(IngestOptions{Store: &batchStore{}, Keys: oneKey{}, Open: true})
	srv := ingestServer(t, in)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 4 {
		if got := post(t, srv.URL+"/v1/traces", map[string]string{"Content-Type": typeProtobuf, "Content-Encoding": "gzip"}, bytes.NewReader(bomb)); got.status != 413 {
			t.Fatalf("answer = %d, want 413", got.status)
		}
	}
	runtime.GC()
	runtime.GC() // a pool is empty after the second
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 16<<20 {
		t.Errorf("%d bytes stay allocated after the bombs, want less than 16 MiB", kept)
	}
	if perBomb := int64(after.TotalAlloc-before.TotalAlloc) / 4; perBomb > 3*maxPlainBytes {
		t.Errorf("a bomb allocates %d bytes, want at most three times the limit", perBomb)
	}
}

// TestAuthorizeWithoutListsDoesNotAllocate: a key that takes nothing out costs what
// it did before there were lists.
func TestAuthorizeWithoutListsDoesNotAllocate(t *testing.T) {
	in := NewIngest(IngestOptions{Store: &batchStore{}, Keys: oneKey{}, Open: true})
	for name, secret := range map[string]string{"a key": "right", "no key": ""} {
		header := func(h string) string {
			if h == "x-redthread-key" {
				return secret
			}
			return ""
		}
		allocs := testing.AllocsPerRun(100, func() {
			if g, err := in.authorize(t.Context(), header, false); err != nil || g.filter != nil {
				t.Fatalf("%s: %+v %v", name, g, err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations, want none", name, allocs)
		}
	}
}
