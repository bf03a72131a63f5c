package handlers

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"redthread/tracestore/otlp"
)

// OTLP over gRPC (https://opentelemetry.io/docs/specs/otlp/#otlpgrpc) is three
// calls of one message and one answer. They are served by net/http, by the wire
// protocol (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): a
// body is read as it comes, into the buffers and within the limits and deadlines
// of OTLP over HTTP. A gRPC library would read every message whole before it asks
// anybody.

// maxGRPCStreams bounds the calls at work on one connection. What they have sent
// and nobody has read yet is at most 1 MiB a connection: the flow control of
// net/http.
const maxGRPCStreams = 64

// grpcSignals are the signals by the path of their call.
var grpcSignals = map[string]otlp.Signal{
	"/opentelemetry.proto.collector.trace.v1.TraceService/Export":     otlp.Traces,
	"/opentelemetry.proto.collector.logs.v1.LogsService/Export":       otlp.Logs,
	"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": otlp.Metrics,
}

// The status codes of gRPC that are answered here
// (https://grpc.io/docs/guides/status-codes/).
const (
	grpcOK                = 0
	grpcCanceled          = 1
	grpcInvalidArgument   = 3
	grpcDeadlineExceeded  = 4
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcUnauthenticated   = 16
)

// grpcCodes are the codes of refusals.
var grpcCodes = map[int]int{
	http.StatusUnauthorized:         grpcUnauthenticated,
	http.StatusServiceUnavailable:   grpcResourceExhausted,
	http.StatusRequestTimeout:       grpcDeadlineExceeded,
	http.StatusUnsupportedMediaType: grpcUnimplemented,
	http.StatusNotFound:             grpcUnimplemented,
	statusClientGone:                grpcCanceled,
}

// GRPCServer returns a server of the three OTLP/gRPC services, without TLS. The
// caller may set what else it wants of it before it serves.
func (in *Ingest) GRPCServer() *http.Server {
	srv := &http.Server{
		Handler:           http.HandlerFunc(in.serveGRPC),
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxGRPCStreams},
		ReadHeaderTimeout: 10 * time.Second,
	}
	srv.Protocols.SetUnencryptedHTTP2(true)
	srv.Protocols.SetHTTP1(true) // to say that it is the wrong address
	return srv
}

func (in *Ingest) serveGRPC(w http.ResponseWriter, r *http.Request) {
	in.requests.Add(1)
	kind := r.Header.Get("Content-Type")
	if r.ProtoMajor < 2 || kind != "application/grpc" && kind != "application/grpc+proto" {
		in.refused.Add(1)
		http.Error(w, "This address takes OTLP over gRPC, as protobuf. OTLP over HTTP has an address of its own, most often with port 4318.", http.StatusUnsupportedMediaType)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Grpc-Accept-Encoding", "identity,gzip,zstd")
	res, err := in.receiveGRPC(w, r)
	if err != nil {
		refuseGRPC(h, in.asRefusal(r.Context(), err))
		return
	}
	message := res.protobuf()
	answer := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	h.Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(grpcOK))
	_, _ = w.Write(answer) // a sender that is gone sends again
}

// receiveGRPC reads the one message of a call and stores it.
func (in *Ingest) receiveGRPC(w http.ResponseWriter, r *http.Request) (result, error) {
	from, err := in.authorize(r.Context(), r.Header.Get, proxied(r.Header))
	if err != nil {
		return result{}, err
	}
	sig, ok := grpcSignals[r.URL.Path]
	if !ok || r.Method != http.MethodPost {
		return result{}, refuse(http.StatusNotFound, "There is no call %s. Send OTLP traces or logs.", clipHeader(r.URL.Path))
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(in.o.BodyTimeout))
	body, err := in.readMessage(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return result{}, refuse(http.StatusRequestTimeout, "The message did not arrive within %v.", in.o.BodyTimeout)
	}
	if err != nil {
		return result{}, err
	}
	defer in.putBody(body)
	_ = deadline.SetReadDeadline(time.Time{})
	return in.take(r.Context(), sig, false, from, body.b, senderOf(r.RemoteAddr, r.UserAgent()))
}

// grpcPrefix is what stands before a message: whether it is compressed (1 byte)
// and its length (4 bytes, big-endian).
const grpcPrefix = 5

// readMessage reads and decompresses the message, which must be the only one.
func (in *Ingest) readMessage(r *http.Request) (*body, error) {
	var prefix [grpcPrefix]byte
	if _, err := io.ReadFull(r.Body, prefix[:]); err != nil {
		return nil, cutShort(r.Context(), err)
	}
	size := int64(binary.BigEndian.Uint32(prefix[1:]))
	if size > maxSentBytes {
		return nil, refuse(http.StatusRequestEntityTooLarge, "The message has %d bytes; at most %d are taken. Send smaller batches.", size, maxSentBytes)
	}
	encoding := ""
	if prefix[0] != 0 {
		encoding = strings.ToLower(r.Header.Get("Grpc-Encoding"))
		if encoding == "" || encoding == "identity" {
			return nil, refuse(http.StatusBadRequest, "The message is compressed and grpc-encoding does not say how.")
		}
	}
	message := &io.LimitedReader{R: r.Body, N: size}
	b, err := in.unpack(r.Context(), encoding, message, int(size))
	if err != nil {
		return nil, err
	}
	// What a decompressor has not looked at, and the end behind it.
	_, err = io.Copy(io.Discard, message)
	if err == nil && message.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		if n, _ := io.ReadFull(r.Body, prefix[:1]); n > 0 {
			err = refuse(http.StatusBadRequest, "The call has more than one message.")
		}
	}
	if err != nil {
		in.putBody(b)
		return nil, cutShort(r.Context(), err)
	}
	return b, nil
}

// cutShort says that a message ended early, unless another error ended it.
func cutShort(ctx context.Context, err error) error {
	var known *refusal
	switch {
	case errors.As(err, &known), errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return refuse(http.StatusBadRequest, "The message is cut short: %v.", err)
}

// refuseGRPC answers with a status and nothing else. A sender that should come
// again is told when: without that it would give up on RESOURCE_EXHAUSTED.
func refuseGRPC(h http.Header, r *refusal) {
	code, ok := grpcCodes[r.status]
	if !ok {
		code = grpcInvalidArgument
	}
	message := strings.ToValidUTF8(r.message, "\uFFFD")
	h.Set("Grpc-Status", strconv.Itoa(code))
	h.Set("Grpc-Message", grpcText(message))
	if r.retry <= 0 {
		return
	}
	// google.rpc.Status {code 1, message 2, details 3: Any {type_url 1, value 2:
	// RetryInfo {retry_delay 1: Duration {seconds 1, nanos 2}}}}.
	delay := binary.AppendUvarint([]byte{1 << 3}, uint64(r.retry/time.Second))
	delay = binary.AppendUvarint(append(delay, 2<<3), uint64(r.retry%time.Second))
	detail := appendBytes(nil, 1, "type.googleapis.com/google.rpc.RetryInfo")
	detail = appendBytes(detail, 2, string(appendBytes(nil, 1, string(delay))))
	status := binary.AppendUvarint([]byte{1 << 3}, uint64(code))
	status = appendBytes(appendBytes(status, 2, message), 3, string(detail))
	h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(status))
}

// grpcText is the percent-encoding of grpc-message.
func grpcText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
