package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/durationpb"

	"redthread/tracestore/otlp"
)

// maxGRPCStreams bounds the calls at work on one connection, and with them the
// messages it may make the server hold.
const maxGRPCStreams = 64

// GRPCServer returns a server of the three OTLP/gRPC services
// (https://opentelemetry.io/docs/specs/otlp/#otlpgrpc). Messages are passed on as
// bytes; the generated types are never made.
func (in *Ingest) GRPCServer() *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(maxSentBytes+packedMark),
		grpc.InTapHandle(in.admitCall),
		grpc.MaxConcurrentStreams(maxGRPCStreams),
		grpc.StatsHandler(sentSizes{}),
	)
	for name, sig := range map[string]otlp.Signal{
		"opentelemetry.proto.collector.trace.v1.TraceService":     otlp.Traces,
		"opentelemetry.proto.collector.logs.v1.LogsService":       otlp.Logs,
		"opentelemetry.proto.collector.metrics.v1.MetricsService": otlp.Metrics,
	} {
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: name,
			HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
					return in.export(ctx, sig, decode)
				},
			}},
		}, in)
	}
	return s
}

// environmentKey holds the environment that a call may write to.
type environmentKey struct{}

// admitCall looks at the key as soon as the headers of a call are there, before
// any of its message is read: who has none cannot make the server hold anything.
func (in *Ingest) admitCall(ctx context.Context, call *tap.Info) (context.Context, error) {
	in.requests.Add(1)
	environment, err := in.authorize(ctx, firstOf(call.Header), proxied(call.Header))
	if err != nil {
		return nil, in.grpcError(ctx, err)
	}
	return context.WithValue(ctx, environmentKey{}, environment), nil
}

func firstOf(md metadata.MD) func(string) string {
	return func(name string) string {
		if v := md.Get(name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
}

// export answers one call.
func (in *Ingest) export(ctx context.Context, sig otlp.Signal, decode func(any) error) (any, error) {
	environment, ok := ctx.Value(environmentKey{}).(string)
	if !ok {
		return nil, in.grpcError(ctx, errors.New("a gRPC call came past the check of its key"))
	}
	var msg rawMessage
	defer msg.free()
	if err := decode(&msg); err != nil {
		in.refused.Add(1)
		return nil, err
	}
	// An answer is some bytes, and its compression would be marked as ours are.
	if err := grpc.SetSendCompressor(ctx, encoding.Identity); err != nil {
		return nil, in.grpcError(ctx, fmt.Errorf("answer without compression: %w", err))
	}
	raw := msg.buffer.ReadOnlyData()
	if sent, ok := ctx.Value(sentSizeKey{}).(*int); ok && *sent > maxSentBytes {
		return nil, in.grpcError(ctx, refuse(http.StatusRequestEntityTooLarge, "The message has %d bytes; at most %d are taken. Send smaller batches.", *sent, maxSentBytes))
	}
	if !in.reserve(int64(len(raw))) {
		return nil, in.grpcError(ctx, errOverloaded())
	}
	defer in.release(int64(len(raw)))
	if name := packedAs(raw); name != "" {
		b, err := in.unpack(ctx, name, bytes.NewReader(raw[packedMark:]), len(raw))
		if err != nil {
			return nil, in.grpcError(ctx, err)
		}
		defer in.putBody(b)
		raw = b.b
	}
	address := ""
	if p, ok := peer.FromContext(ctx); ok {
		address = p.Addr.String()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	res, err := in.take(ctx, sig, false, environment, raw, senderOf(address, firstOf(md)("user-agent")))
	if err != nil {
		return nil, in.grpcError(ctx, err)
	}
	return &rawMessage{answer: res.protobuf()}, nil
}

// grpcError turns an error into a status. A sender that should come again is told
// when: without the detail it would give up on RESOURCE_EXHAUSTED.
func (in *Ingest) grpcError(ctx context.Context, err error) error {
	r := in.asRefusal(ctx, err)
	code := codes.InvalidArgument
	switch r.status {
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusServiceUnavailable:
		code = codes.ResourceExhausted
	case statusClientGone:
		code = codes.Canceled
	}
	st := status.New(code, strings.ToValidUTF8(r.message, "\uFFFD"))
	if r.retry > 0 {
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)}); err == nil {
			st = with
		}
	}
	return st.Err()
}

// rawMessage is a message as bytes: buffer of a request, answer of a response.
type rawMessage struct {
	buffer mem.Buffer
	answer []byte
}

func (m *rawMessage) free() {
	if m.buffer != nil {
		m.buffer.Free()
	}
}

// rawCodec passes bytes through. It answers to "proto", the content type that
// every OTLP sender uses.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*rawMessage)
	if !ok {
		return nil, fmt.Errorf("cannot marshal %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.answer)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*rawMessage)
	if !ok {
		return fmt.Errorf("cannot unmarshal into %T", v)
	}
	m.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// sentSizes notes the size of each message as sent, which gRPC tells nobody else.
type sentSizes struct{}

type sentSizeKey struct{}

func (sentSizes) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, sentSizeKey{}, new(int))
}

func (sentSizes) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if p, ok := s.(*stats.InPayload); ok {
		if n, ok := ctx.Value(sentSizeKey{}).(*int); ok {
			*n = p.CompressedLength
		}
	}
}

func (sentSizes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (sentSizes) HandleConn(context.Context, stats.ConnStats)                       {}

// gRPC finds compressors in a registry of the process.
func init() {
	encoding.RegisterCompressor(packedMessages{"gzip", 'g'})
	encoding.RegisterCompressor(packedMessages{"zstd", 'z'})
}

// packedMark is the length of what [packedMessages] puts before a message: a zero,
// which no protobuf message begins with, and a letter for the compression.
const packedMark = 2

// packedMessages is a compression whose messages are passed on as they were sent,
// behind a mark. gRPC would unpack them before the key of the call is known to
// be right and before anybody counts the bytes in flight, each to the limit at
// once; [Ingest.export] does it after.
type packedMessages struct {
	name   string
	letter byte
}

func (p packedMessages) Name() string { return p.name }

func (p packedMessages) Decompress(r io.Reader) (io.Reader, error) {
	return io.MultiReader(bytes.NewReader([]byte{0, p.letter}), r), nil
}

// Compress is for clients in the same process; answers are not compressed.
func (p packedMessages) Compress(w io.Writer) (io.WriteCloser, error) {
	if p.letter == 'z' {
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	}
	return gzip.NewWriterLevel(w, gzip.BestSpeed)
}

// packedAs returns the compression of a message, "" if it has none.
func packedAs(raw []byte) string {
	if len(raw) < packedMark || raw[0] != 0 {
		return ""
	}
	switch raw[1] {
	case 'g':
		return "gzip"
	case 'z':
		return "zstd"
	}
	return ""
}
