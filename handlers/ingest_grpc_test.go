package handlers

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
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
		s.Stop()
		if err := <-done; err != nil {
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
	in, out := rawMessage{answer: body}, rawMessage{}
	err := conn.Invoke(ctx, method, &in, &out, append(opts, grpc.ForceCodecV2(rawCodec{}))...)
	if err != nil {
		return nil, err
	}
	defer out.free()
	return bytes.Clone(out.buffer.ReadOnlyData()), nil
}

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
		{name: "far too large", body: zeros[:2*maxSentBytes], code: codes.ResourceExhausted, want: "larger than max"},
		{name: "bomb without a key", body: zeros, closed: true, opts: []grpc.CallOption{grpc.UseCompressor("gzip")}, code: codes.Unauthenticated, want: "x-redthread-key"},
		{name: "overload", body: testSpans(1), fail: tracestore.ErrOverloaded, code: codes.ResourceExhausted, want: "again", retry: true},
		{name: "disk full", body: testSpans(1), fail: tracestore.ErrDiskFull, code: codes.ResourceExhausted, want: "disk", retry: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := grpcClient(t, NewIngest(IngestOptions{Store: &batchStore{fail: tt.fail}, Keys: oneKey{}, Open: !tt.closed}))
			_, err := export(t, conn, exportTraces, tt.body, tt.md, tt.opts...)
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
