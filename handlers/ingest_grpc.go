package handlers

import (
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
		grpc.MaxRecvMsgSize(maxPlainBytes),
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

// export answers one call.
func (in *Ingest) export(ctx context.Context, sig otlp.Signal, decode func(any) error) (any, error) {
	in.requests.Add(1)
	md, _ := metadata.FromIncomingContext(ctx)
	first := func(name string) string {
		if v := md.Get(name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	environment, err := in.authorize(ctx, first, proxied(md))
	if err != nil {
		return nil, in.grpcError(ctx, err)
	}
	var msg rawMessage
	defer msg.free()
	if err := decode(&msg); err != nil {
		in.refused.Add(1)
		return nil, err
	}
	raw := msg.buffer.ReadOnlyData()
	if sent, ok := ctx.Value(sentSizeKey{}).(*int); ok && *sent > maxSentBytes {
		return nil, in.grpcError(ctx, refuse(http.StatusRequestEntityTooLarge, "The message has %d bytes; at most %d are taken. Send smaller batches.", *sent, maxSentBytes))
	}
	if !in.reserve(int64(len(raw))) {
		return nil, in.grpcError(ctx, errOverloaded())
	}
	defer in.release(int64(len(raw)))
	address := ""
	if p, ok := peer.FromContext(ctx); ok {
		address = p.Addr.String()
	}
	res, err := in.take(ctx, sig, false, environment, raw, senderOf(address, first("user-agent")))
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
	encoding.RegisterCompressor(gzipCompressor{})
	encoding.RegisterCompressor(zstdCompressor{})
}

// errMessageTooLarge is told when a compressed message is too large as sent.
var errMessageTooLarge = fmt.Errorf("the message is larger than %d bytes as sent; send smaller batches", maxSentBytes)

// compressedReader bounds a compressed message and gives the reader back to its
// pool when it has been read to its end.
type compressedReader struct {
	io.Reader
	done func()
}

func (c *compressedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if errors.Is(err, errSentTooLarge) {
		err = errMessageTooLarge
	}
	if err != nil && c.done != nil {
		c.done()
		c.done = nil
		c.Reader = eofReader{err}
	}
	return n, err
}

type eofReader struct{ err error }

func (e eofReader) Read([]byte) (int, error) { return 0, e.err }

func decompressMessage(name string, r io.Reader) (io.Reader, error) {
	plain, done, err := decompressor(name, &sentReader{r, maxSentBytes})
	if err != nil {
		return nil, err
	}
	return &compressedReader{plain, done}, nil
}

type gzipCompressor struct{}

func (gzipCompressor) Name() string { return "gzip" }

func (gzipCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, gzip.BestSpeed)
}

func (gzipCompressor) Decompress(r io.Reader) (io.Reader, error) { return decompressMessage("gzip", r) }

type zstdCompressor struct{}

func (zstdCompressor) Name() string { return "zstd" }

func (zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

func (zstdCompressor) Decompress(r io.Reader) (io.Reader, error) { return decompressMessage("zstd", r) }
