package handlers

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"

	"redthread/tracestore/otlp"
)

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// ingestTraces, ingestLogs and ingestMetrics answer OTLP/HTTP
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
func (s *Server) ingestTraces(c echo.Context) error {
	s.Ingest.serve(c.Response(), c.Request(), otlp.Traces)
	return nil
}

func (s *Server) ingestLogs(c echo.Context) error {
	s.Ingest.serve(c.Response(), c.Request(), otlp.Logs)
	return nil
}

func (s *Server) ingestMetrics(c echo.Context) error {
	s.Ingest.serve(c.Response(), c.Request(), otlp.Metrics)
	return nil
}

func (in *Ingest) serve(w http.ResponseWriter, r *http.Request, sig otlp.Signal) {
	in.requests.Add(1)
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON := mediaType == typeJSON
	res, err := in.receive(w, r, sig, mediaType, isJSON)
	if err != nil {
		why := in.asRefusal(r.Context(), err)
		if why.retry > 0 {
			discardBody(w, r)
		}
		writeRefusal(w, why, mediaType)
		return
	}
	if isJSON {
		w.Header().Set("Content-Type", typeJSON)
		_, _ = w.Write(res.json(sig)) // a sender that is gone sends again
		return
	}
	w.Header().Set("Content-Type", typeProtobuf)
	_, _ = w.Write(res.protobuf())
}

// The body of a request that is to come again is read to its end and thrown away,
// for so long at most: whoever still writes does not read the answer, and net/http
// closes the connection of a sender that has more than 256 KiB to go.
const discardTime = 5 * time.Second

func discardBody(w http.ResponseWriter, r *http.Request) {
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(discardTime))
	_, _ = io.CopyN(io.Discard, r.Body, maxSentBytes) // the answer is written either way
	_ = deadline.SetReadDeadline(time.Time{})
}

func (in *Ingest) receive(w http.ResponseWriter, r *http.Request, sig otlp.Signal, mediaType string, isJSON bool) (result, error) {
	from, err := in.authorize(r.Context(), r.Header.Get, proxied(r.Header))
	if err != nil {
		return result{}, err
	}
	if !isJSON && mediaType != typeProtobuf && mediaType != "application/protobuf" {
		return result{}, refuse(http.StatusUnsupportedMediaType, "Content-Type %q is not supported; send %s or %s.", clipHeader(r.Header.Get("Content-Type")), typeProtobuf, typeJSON)
	}
	// A sender that stalls must not keep what its body has reserved. A connection
	// that knows no deadline, as in a test, goes without.
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(in.o.BodyTimeout))
	body, err := in.read(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return result{}, refuse(http.StatusRequestTimeout, "The body did not arrive within %v.", in.o.BodyTimeout)
	}
	if err != nil {
		return result{}, err
	}
	defer in.putBody(body)
	_ = deadline.SetReadDeadline(time.Time{})
	return in.take(r.Context(), sig, isJSON, from, body.b, senderOf(r.RemoteAddr, r.UserAgent()))
}

// proxied reports whether a request came through a proxy, by its own account.
func proxied(h map[string][]string) bool {
	for name := range h {
		if strings.EqualFold(name, "Forwarded") || len(name) > 12 && strings.EqualFold(name[:12], "X-Forwarded-") {
			return true
		}
	}
	return false
}

// body is a pooled buffer with what it has reserved of the bytes in flight.
type body struct {
	b        []byte
	reserved int64
}

// Buffers come in sizes of smallBody times a power of two, each with a pool of its
// own, so that small requests neither hold nor reserve what large ones left.
const (
	smallBody  = 32 << 10
	bodySizes  = 12
	longestBuf = maxPlainBytes + smallBody // smallBody << (bodySizes-1), and room to see that the limit is passed
)

var bodyPools [bodySizes]sync.Pool

// bodySize is the size class of a buffer of n bytes, and its size.
func bodySize(n int) (class, size int) {
	for size = smallBody; size < n && class < bodySizes-1; class++ {
		size *= 2
	}
	if class == bodySizes-1 {
		size = longestBuf
	}
	return class, size
}

// takeBody returns an empty buffer of at least n bytes, n at most longestBuf, and
// reserves it for who has reserved own bytes before.
func (in *Ingest) takeBody(n int, own int64) (*body, error) {
	class, size := bodySize(n)
	if !in.reserve(int64(size), own) {
		return nil, errOverloaded()
	}
	b, ok := bodyPools[class].Get().(*body)
	if !ok {
		b = &body{b: make([]byte, 0, size)}
	}
	b.reserved = int64(size)
	return b, nil
}

func (in *Ingest) putBody(b *body) {
	in.release(b.reserved)
	b.b = b.b[:0]
	class, _ := bodySize(cap(b.b))
	bodyPools[class].Put(b)
}

// errSentTooLarge ends the reading of a body that is too large as sent.
var errSentTooLarge = errors.New("body too large")

// sentReader counts the bytes of a body as sent.
type sentReader struct {
	r    io.Reader
	left int64
}

func (s *sentReader) Read(p []byte) (int, error) {
	if int64(len(p)) > s.left+1 {
		p = p[:s.left+1]
	}
	n, err := s.r.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return n, errSentTooLarge
	}
	return n, err
}

// read reads and decompresses the body of a request. It stops as soon as a limit
// is passed, so that a small body which unpacks to gigabytes costs no more than
// the limit.
func (in *Ingest) read(r *http.Request) (*body, error) {
	if r.ContentLength > maxSentBytes {
		return nil, refuse(http.StatusRequestEntityTooLarge, "The body has %d bytes; at most %d are taken. Send smaller batches.", r.ContentLength, maxSentBytes)
	}
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	return in.unpack(r.Context(), encoding, r.Body, int(r.ContentLength))
}

// unpack reads and decompresses what was sent; sizeHint is its size, -1 if it is
// not known.
func (in *Ingest) unpack(ctx context.Context, encoding string, r io.Reader, sizeHint int) (*body, error) {
	var b *body
	plain, done, err := decompressor(encoding, &sentReader{r, maxSentBytes})
	if err == nil {
		defer done()
		limit := maxPlainBytes
		if encoding == "" || encoding == "identity" {
			limit = maxSentBytes
		}
		b, err = in.fill(plain, sizeHint, limit)
	}
	var known *refusal
	switch {
	case err == nil:
		return b, nil
	case errors.As(err, &known):
		return nil, known
	case errors.Is(err, errSentTooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, "The body is larger than %d bytes. Send smaller batches.", maxSentBytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case encoding == "" || encoding == "identity":
		return nil, refuse(http.StatusBadRequest, "The body could not be read: %v.", err)
	}
	return nil, refuse(http.StatusBadRequest, "The body could not be read as %s: %v.", encoding, err)
}

// fill reads all of r, at most limit bytes, into a buffer that grows as needed.
func (in *Ingest) fill(r io.Reader, sizeHint, limit int) (*body, error) {
	b, err := in.takeBody(sizeHint+1, 0) // one more, to meet the end without growing
	if err != nil {
		return nil, err
	}
	for {
		if len(b.b) == cap(b.b) {
			larger, err := in.takeBody(min(2*cap(b.b), longestBuf), b.reserved)
			if err != nil {
				in.putBody(b)
				return nil, err
			}
			larger.b = append(larger.b, b.b...)
			in.putBody(b)
			b = larger
		}
		n, err := r.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		if len(b.b) > limit {
			err = refuse(http.StatusRequestEntityTooLarge, "The body is larger than %d bytes when decompressed. Send smaller batches.", limit)
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			in.putBody(b)
			return nil, err
		}
	}
}

// maxZstdWindow bounds the memory of a zstd frame's history: the largest window
// that RFC 8878 §3.1.1.1.2 asks decoders to support.
const maxZstdWindow = 8 << 20

var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zstdReaders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			panic(err) // the options are constants
		}
		return d
	}}
)

// decompressor wraps r by the Content-Encoding. done gives back what is pooled.
func decompressor(encoding string, r io.Reader) (plain io.Reader, done func(), err error) {
	switch encoding {
	case "", "identity":
		return r, func() {}, nil
	case "gzip", "x-gzip":
		g := gzipReaders.Get().(*gzip.Reader)
		if err := g.Reset(r); err != nil {
			gzipReaders.Put(g)
			return nil, nil, err
		}
		return g, func() { gzipReaders.Put(g) }, nil
	case "zstd":
		d := zstdReaders.Get().(*zstd.Decoder)
		if err := d.Reset(r); err != nil {
			zstdReaders.Put(d)
			return nil, nil, err
		}
		return d, func() {
			if err := d.Reset(nil); err == nil {
				zstdReaders.Put(d)
			}
		}, nil
	case "deflate":
		z, err := zlib.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { _ = z.Close() }, nil
	}
	return nil, nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %q is not supported; send gzip, zstd, deflate or none.", clipHeader(encoding))
}

// protobuf is an Export…ServiceResponse. The three have the same shape, and a
// request that was taken whole is answered with no bytes.
func (res result) protobuf() []byte {
	if res.rejected == 0 && res.message == "" {
		return nil
	}
	var partial []byte
	if res.rejected != 0 {
		partial = binary.AppendUvarint(append(partial, 1<<3), uint64(res.rejected))
	}
	partial = appendBytes(partial, 2, res.message)
	return appendBytes(nil, 1, string(partial))
}

// appendBytes appends a protobuf field of bytes.
func appendBytes(dst []byte, number byte, s string) []byte {
	dst = binary.AppendUvarint(append(dst, number<<3|2), uint64(len(s)))
	return append(dst, s...)
}

// rejectedNames are the fields of partial success in OTLP's JSON.
var rejectedNames = map[otlp.Signal]string{
	otlp.Traces: "rejectedSpans", otlp.Logs: "rejectedLogRecords", otlp.Metrics: "rejectedDataPoints",
}

func (res result) json(sig otlp.Signal) []byte {
	answer := map[string]any{}
	if res.rejected != 0 || res.message != "" {
		answer["partialSuccess"] = map[string]any{
			rejectedNames[sig]: strconv.FormatInt(res.rejected, 10), "errorMessage": res.message,
		}
	}
	b, _ := json.Marshal(answer) // strings only
	return b
}

// rpcCodes are the google.rpc codes that go with the statuses.
var rpcCodes = map[int]int{
	http.StatusBadRequest: 3, http.StatusUnauthorized: 16, http.StatusRequestEntityTooLarge: 3,
	http.StatusUnsupportedMediaType: 3, http.StatusRequestTimeout: 4, http.StatusServiceUnavailable: 14, statusClientGone: 1,
}

// writeRefusal answers with a google.rpc.Status in the encoding of the request,
// or with plain text if that encoding is the problem.
func writeRefusal(w http.ResponseWriter, r *refusal, mediaType string) {
	h := w.Header()
	if r.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(r.retry.Seconds())))
	}
	if r.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="redthread"`)
	}
	var answer []byte
	switch mediaType {
	case typeJSON:
		h.Set("Content-Type", typeJSON)
		answer, _ = json.Marshal(map[string]any{"code": rpcCodes[r.status], "message": r.message})
	case typeProtobuf, "application/protobuf":
		h.Set("Content-Type", typeProtobuf)
		answer = binary.AppendUvarint([]byte{1 << 3}, uint64(rpcCodes[r.status]))
		answer = appendBytes(answer, 2, r.message)
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		answer = []byte(r.message + "\n")
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(answer)
}

func clipHeader(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
