package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"redthread/tracestore"
	"redthread/tracestore/otlp"
)

func newTextLog(w *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

const (
	exportTraces  = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	exportLogs    = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
	exportMetrics = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
)

// grpcClient connects to an Ingest served over gRPC.
func grpcClient(t testing.TB, in *Ingest) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := in.GRPCServer()
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return conn
}

func export(t testing.TB, conn *grpc.ClientConn, method string, body []byte, md map[string]string, opts ...grpc.CallOption) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.New(md))
	var answer []byte
	err := conn.Invoke(ctx, method, &body, &answer, append(opts, grpc.ForceCodec(bytesCodec{}))...)
	return answer, err
}

// bytesCodec sends and receives messages as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string                  { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(b)
	return nil
}

// zstdCompressor is zstd as collectors send it; grpc-go itself has gzip.
type zstdCompressor struct{}

func (zstdCompressor) Name() string { return "zstd" }
func (zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
}
func (zstdCompressor) Decompress(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }

func init() { encoding.RegisterCompressor(zstdCompressor{}) }

func TestGRPCTakesEveryEncoding(t *testing.T) {
	store := &batchStore{}
	conn := grpcClient(t, NewIngest(IngestOptions{Store: store, Keys: oneKey{}, Open: true}))
	raw := testSpans(8192)
	for i, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}, {grpc.UseCompressor("zstd")}} {
		got, err := export(t, conn, exportTraces, raw, nil, opts...)
		if err != nil || len(got) != 0 {
			t.Fatalf("export %d = %q, %v; want an empty answer", i, got, err)
		}
		if b := store.taken(); len(b) != i+1 || !bytes.Equal(b[i].Raw, raw) || b[i].Format != tracestore.FormatOTLPProto {
			t.Fatalf("export %d: the store did not get the message as sent", i)
		}
	}
	logs, err := otlp.FromJSON(nil, otlp.Logs, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[
		{"traceId":"0af7651916cd43dd8448eb211c80319c","body":{"stringValue":"x"}},{"body":{"stringValue":"of no trace"}}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := export(t, conn, exportLogs, logs, map[string]string{"x-honeycomb-team": "right"})
	if err != nil || !strings.HasPrefix(string(got[2:]), "\x08\x01\x12") {
		t.Fatalf("logs = %q, %v; want one rejected record", got, err)
	}
	b := store.taken()
	if last := b[len(b)-1]; last.Format != tracestore.FormatOTLPLogsProto || last.Environment != "production-uk" {
		t.Errorf("logs went to the store as format %d, environment %q", last.Format, last.Environment)
	}
}

func TestGRPCRefuses(t *testing.T) {
	zeros := make([]byte, 70<<20)
	tests := []struct {
		name   string
		method string // default: traces
		body   []byte
		md     map[string]string
		closed bool
		opts   []grpc.CallOption
		fail   error
		code   codes.Code
		want   string
		retry  bool
	}{
		{name: "truncated", body: testSpans(1)[:30], code: codes.InvalidArgument, want: "cut short"},
		{name: "no key", body: testSpans(1), closed: true, code: codes.Unauthenticated, want: "x-redthread-key"},
		{name: "wrong key", body: testSpans(1), md: map[string]string{"x-api-key": "wrong"}, code: codes.Unauthenticated, want: "unknown or revoked"},
		{name: "wrong bearer", body: testSpans(1), md: map[string]string{"authorization": "Bearer wrong"}, code: codes.Unauthenticated, want: "unknown or revoked"},
		{name: "proxied", body: testSpans(1), md: map[string]string{"x-forwarded-for": "10.0.0.1"}, code: codes.Unauthenticated, want: "proxy"},
		{name: "too large", body: zeros[:maxSentBytes+1], code: codes.InvalidArgument, want: "20971520"},
		{name: "bomb", body: zeros, opts: []grpc.CallOption{grpc.UseCompressor("gzip")}, code: codes.InvalidArgument, want: "67108864 bytes when decompressed"},
		{name: "far too large", body: zeros[:2*maxSentBytes], code: codes.InvalidArgument, want: "20971520"},
		{name: "no such call", method: "/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export", body: testSpans(1), code: codes.Unimplemented, want: "no call"},
		{name: "bomb without a key", body: zeros, closed: true, opts: []grpc.CallOption{grpc.UseCompressor("gzip")}, code: codes.Unauthenticated, want: "x-redthread-key"},
		{name: "overload", body: testSpans(1), fail: tracestore.ErrOverloaded, code: codes.ResourceExhausted, want: "again", retry: true},
		{name: "disk full", body: testSpans(1), fail: tracestore.ErrDiskFull, code: codes.ResourceExhausted, want: "disk", retry: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := grpcClient(t, NewIngest(IngestOptions{Store: &batchStore{fail: tt.fail}, Keys: oneKey{}, Open: !tt.closed}))
			_, err := export(t, conn, cmp.Or(tt.method, exportTraces), tt.body, tt.md, tt.opts...)
			st := status.Convert(err)
			if st.Code() != tt.code || !strings.Contains(st.Message(), tt.want) {
				t.Fatalf("error = %v: %s, want %v with %q", st.Code(), st.Message(), tt.code, tt.want)
			}
			var retry *errdetails.RetryInfo
			for _, d := range st.Details() {
				retry, _ = d.(*errdetails.RetryInfo)
			}
			if (retry != nil) != tt.retry {
				t.Errorf("retry info = %v, want some: %v", retry, tt.retry)
			}
			if tt.retry && retry.RetryDelay.AsDuration() <= 0 {
				t.Errorf("retry delay = %v, want more than none", retry.RetryDelay.AsDuration())
			}
		})
	}
}

func TestGRPCMetrics(t *testing.T) {
	conn := grpcClient(t, NewIngest(IngestOptions{Store: &batchStore{}, Keys: oneKey{}, Open: true}))
	// One resource, one scope, one metric, one gauge with two points.
	point := "\x0a\x00"
	gauge := point + point
	metric := "\x2a" + string(rune(len(gauge))) + gauge
	scope := "\x12" + string(rune(len(metric))) + metric
	resource := "\x12" + string(rune(len(scope))) + scope
	got, err := export(t, conn, exportMetrics, []byte("\x0a"+string(rune(len(resource)))+resource), nil)
	if err != nil || !strings.HasPrefix(string(got[2:]), "\x08\x02\x12") {
		t.Fatalf("answer = %q, %v; want two rejected points", got, err)
	}
}

// h2 sends one call by hand.
func h2(t testing.TB, in *Ingest) func(header map[string]string, body io.Reader) *http.Response {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := in.GRPCServer()
	go s.Serve(l)
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(func() { tr.CloseIdleConnections(); _ = s.Close() })
	return func(header map[string]string, body io.Reader) *http.Response {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, "http://"+l.Addr().String()+exportTraces, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/grpc")
		for k, v := range header {
			r.Header.Set(k, v)
		}
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res
	}
}

// framed puts the prefix before a message; size is what the prefix says.
func framed(flag byte, size int, message []byte) *bytes.Reader {
	return bytes.NewReader(append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(size)), message...))
}

func TestGRPCFraming(t *testing.T) {
	patient := NewIngest(IngestOptions{Store: &batchStore{}, Keys: oneKey{}, Open: true, BodyTimeout: time.Hour})
	hasty := NewIngest(IngestOptions{Store: &batchStore{}, Keys: oneKey{}, Open: true, BodyTimeout: 200 * time.Millisecond})
	call, callHasty := h2(t, patient), h2(t, hasty)
	raw := testSpans(2)
	stalled, hold := io.Pipe()
	defer hold.Close()
	for _, tt := range []struct {
		name   string
		header map[string]string
		body   io.Reader
		want   string // grpc-status; "" for an HTTP status
		says   string
	}{
		{"whole", nil, framed(0, len(raw), raw), "0", ""},
		{"no prefix", nil, bytes.NewReader([]byte{0, 0}), "3", "cut short"},
		{"short message", nil, framed(0, len(raw)+1, raw), "3", "cut short"},
		{"two messages", nil, framed(0, len(raw), append(raw[:len(raw):len(raw)], 0, 0, 0, 0, 0)), "3", "more than one"},
		{"compressed, not how", nil, framed(1, len(raw), raw), "3", "grpc-encoding"},
		{"compressed unknown", map[string]string{"Grpc-Encoding": "snappy"}, framed(1, len(raw), raw), "12", "snappy"},
		{"not what it says", map[string]string{"Grpc-Encoding": "gzip"}, framed(1, len(raw), raw), "3", "gzip"},
		{"4 GiB", nil, framed(0, 1<<32-1, nil), "3", "4294967295"},
		{"stalled", nil, io.MultiReader(framed(0, 100, raw[:50]), stalled), "4", "200ms"},
		{"json", map[string]string{"Content-Type": "application/json"}, framed(0, len(raw), raw), "", ""},
	} {
		send := call
		if tt.name == "stalled" {
			send = callHasty
		}
		res := send(tt.header, tt.body)
		status, message := res.Header.Get("Grpc-Status"), res.Header.Get("Grpc-Message")
		if tt.want == "" {
			if res.StatusCode != http.StatusUnsupportedMediaType {
				t.Errorf("%s: HTTP status %d, want 415", tt.name, res.StatusCode)
			}
			continue
		}
		if status == "" {
			status, message = res.Trailer.Get("Grpc-Status"), res.Trailer.Get("Grpc-Message")
		}
		if res.StatusCode != http.StatusOK || status != tt.want || !strings.Contains(message, tt.says) {
			t.Errorf("%s: HTTP %d, status %s %q; want %s with %q", tt.name, res.StatusCode, status, message, tt.want, tt.says)
		}
	}
	if n := patient.Stats().InFlightBytes + hasty.Stats().InFlightBytes; n != 0 {
		t.Errorf("%d bytes stay in flight when all is answered", n)
	}
}
