package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/tracestore"
	"redthread/tracestore/otlp"
)

// Limits of one request, HTTP and gRPC alike (DESIGN.md §5).
const (
	maxSentBytes  = 20 << 20 // as sent
	maxPlainBytes = 64 << 20 // decompressed
	// maxWarnedSenders bounds the memory of which senders of metrics were
	// warned; when it is full it starts anew.
	maxWarnedSenders = 4096
)

// Waits that a refused sender is told.
const (
	retryOverload = 2 * time.Second
	retryDiskFull = 30 * time.Second
)

// IngestStore is the span store as ingest uses it.
type IngestStore interface {
	Append(ctx context.Context, b tracestore.Batch) (tracestore.Ack, error)
}

// IngestKeys looks up ingest keys.
type IngestKeys interface {
	// IngestKey returns what comes by a key. ok is false for an unknown or revoked
	// one.
	IngestKey(ctx context.Context, secret string) (_ auth.Sender, ok bool, err error)
	// Keyless returns what comes without a key, where none is needed.
	Keyless(ctx context.Context) (auth.Sender, error)
	// HashSecret is what attributes are hashed by.
	HashSecret(ctx context.Context) ([]byte, error)
}

// IngestOptions configure an [Ingest]. Store and Keys have to be there.
type IngestOptions struct {
	Store IngestStore
	Keys  IngestKeys
	// Open takes requests without a key. Set it only while every listener is on
	// a loopback address; requests that came through a proxy need a key anyway.
	Open bool
	// MaxInFlightBytes bounds the bodies being read and stored at one moment;
	// beyond it senders are told to come again. A body that is alone is taken
	// whatever its size. Default 256 MiB.
	MaxInFlightBytes int64
	// BodyTimeout bounds how long a body may take to arrive; default 2 minutes:
	// the largest one on a line of 1.4 Mbit/s.
	BodyTimeout time.Duration
	Log         *slog.Logger
}

// IngestStats are counters since start.
type IngestStats struct {
	RequestsTotal        int64
	RefusedRequestsTotal int64 // answered with an error
	ReceivedBytesTotal   int64 // decompressed
	SpansTotal           int64 // spans and log records accepted
	RejectedTotal        int64 // spans and log records rejected
	MetricPointsTotal    int64 // accepted and dropped
	InFlightBytes        int64
}

// Ingest takes export requests over HTTP and gRPC, checks keys and limits, and
// hands the bytes to the store. Its methods may be called from several
// goroutines.
type Ingest struct {
	o IngestOptions

	requests, refused, received, spans, rejected, points atomic.Int64
	inFlight                                             atomic.Int64

	mu      sync.Mutex
	warned  map[string]bool // senders of metrics
	filters map[collab.AttributeLists]*otlp.Filter
}

// maxFilters bounds the filters that are kept ready; when they are too many, all
// are made anew.
const maxFilters = 256

// NewIngest returns an Ingest for the options.
func NewIngest(o IngestOptions) *Ingest {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxInFlightBytes <= 0 {
		o.MaxInFlightBytes = 256 << 20
	}
	if o.BodyTimeout <= 0 {
		o.BodyTimeout = 2 * time.Minute
	}
	return &Ingest{o: o, warned: map[string]bool{}, filters: map[collab.AttributeLists]*otlp.Filter{}}
}

// Stats returns the counters.
func (in *Ingest) Stats() IngestStats {
	return IngestStats{
		RequestsTotal: in.requests.Load(), RefusedRequestsTotal: in.refused.Load(), ReceivedBytesTotal: in.received.Load(),
		SpansTotal: in.spans.Load(), RejectedTotal: in.rejected.Load(), MetricPointsTotal: in.points.Load(),
		InFlightBytes: in.inFlight.Load(),
	}
}

// refusal is why a request is not taken, in terms that HTTP and gRPC share.
type refusal struct {
	status  int // HTTP status
	message string
	retry   time.Duration // when the sender should come again; 0: never with this
}

func (r *refusal) Error() string { return r.message }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, message: fmt.Sprintf(format, args...)}
}

// errOverloaded is told when the bodies in flight take all the memory they may.
func errOverloaded() *refusal {
	return &refusal{http.StatusServiceUnavailable, "The server is busy with other requests. Send this one again.", retryOverload}
}

// reserve counts n bytes as in flight, for who has own there already; false if
// that is too many and others have some too.
func (in *Ingest) reserve(n, own int64) bool {
	if total := in.inFlight.Add(n); total > in.o.MaxInFlightBytes && total > n+own {
		in.inFlight.Add(-n)
		return false
	}
	return true
}

func (in *Ingest) release(n int64) { in.inFlight.Add(-n) }

// keyHeaders are the headers that may carry an ingest key (DESIGN.md §8), in
// lower case as gRPC has them.
var keyHeaders = []string{"x-redthread-key", "x-honeycomb-team", "x-api-key", "dd-api-key"}

// grant is what a request may write: where its spans belong, and what is taken out of
// them.
type grant struct {
	environment string
	filter      *otlp.Filter // nil: nothing
}

// authorize finds out what comes with the request. header returns the first value
// of a header; proxied says whether the request came through a proxy, so that it
// may be from anywhere.
func (in *Ingest) authorize(ctx context.Context, header func(string) string, proxied bool) (grant, error) {
	secret := ""
	if h := header("authorization"); h != "" {
		scheme, rest, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return grant{}, refuse(http.StatusUnauthorized, "Send the ingest key as Authorization: Bearer KEY, or in the header x-redthread-key.")
		}
		secret = strings.TrimSpace(rest)
		if secret == "" {
			return grant{}, refuse(http.StatusUnauthorized, "The Authorization header has no ingest key.")
		}
	}
	for _, name := range keyHeaders {
		if secret == "" {
			secret = header(name)
		}
	}
	switch {
	case secret != "":
		sender, ok, err := in.o.Keys.IngestKey(ctx, secret)
		if err != nil {
			return grant{}, fmt.Errorf("look up ingest key: %w", err)
		}
		if !ok {
			return grant{}, refuse(http.StatusUnauthorized, "This ingest key is unknown or revoked.")
		}
		return in.from(ctx, sender)
	case in.o.Open && !proxied:
		sender, err := in.o.Keys.Keyless(ctx)
		if err != nil {
			return grant{}, err
		}
		return in.from(ctx, sender)
	case in.o.Open:
		return grant{}, refuse(http.StatusUnauthorized, "A request through a proxy needs an ingest key, in the header x-redthread-key.")
	}
	return grant{}, refuse(http.StatusUnauthorized, "Send an ingest key as Authorization: Bearer KEY, or in the header x-redthread-key.")
}

// from makes ready what becomes of a sender's attributes. Without the secret to
// hash them by nothing is taken.
func (in *Ingest) from(ctx context.Context, s auth.Sender) (grant, error) {
	from := grant{environment: s.Environment}
	if s.Lists == (collab.AttributeLists{}) {
		return from, nil
	}
	in.mu.Lock()
	from.filter = in.filters[s.Lists]
	in.mu.Unlock()
	if from.filter != nil {
		return from, nil
	}
	secret, err := in.o.Keys.HashSecret(ctx)
	if err != nil {
		return from, err
	}
	from.filter = otlp.NewFilter(s.Lists.DropNames(), s.Lists.HashNames(), secret)
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.filters) >= maxFilters {
		clear(in.filters)
	}
	in.filters[s.Lists] = from.filter
	return from, nil
}

// result is what a request that was taken is answered with.
type result struct {
	rejected int64
	message  string
}

// take stores one decompressed body. sender names who sent it, for the log.
func (in *Ingest) take(ctx context.Context, sig otlp.Signal, isJSON bool, from grant, raw []byte, sender string) (result, error) {
	in.received.Add(int64(len(raw)))
	if sig == otlp.Metrics {
		return in.dropMetrics(isJSON, raw, sender)
	}
	format := tracestore.FormatOTLPProto
	switch {
	case sig == otlp.Logs && isJSON:
		format = tracestore.FormatOTLPLogsJSON
	case sig == otlp.Logs:
		format = tracestore.FormatOTLPLogsProto
	case isJSON:
		format = tracestore.FormatOTLPJSON
	}
	ack, err := in.o.Store.Append(ctx, tracestore.Batch{Format: format, Environment: from.environment, Raw: raw, Filter: from.filter})
	if err != nil {
		return result{}, refusalOf(err)
	}
	in.spans.Add(int64(ack.Spans))
	in.rejected.Add(int64(ack.Rejected))
	return result{int64(ack.Rejected), ack.Message}, nil
}

// refusalOf turns an error of the store into what the sender is told.
func refusalOf(err error) error {
	var invalid *tracestore.InvalidError
	switch {
	case errors.As(err, &invalid):
		return refuse(http.StatusBadRequest, "%s", invalid.Message)
	case errors.Is(err, tracestore.ErrDiskFull):
		return &refusal{http.StatusServiceUnavailable, "The server's disk is nearly full. It takes no data until there is room again.", retryDiskFull}
	case errors.Is(err, tracestore.ErrOverloaded):
		return errOverloaded()
	case errors.Is(err, tracestore.ErrClosed):
		return &refusal{http.StatusServiceUnavailable, "The server is shutting down. Send this request again.", retryOverload}
	}
	return err
}

// dropMetrics counts the points of a metrics request and tells the sender, once
// a request and once in the log, that they are not kept.
func (in *Ingest) dropMetrics(isJSON bool, raw []byte, sender string) (result, error) {
	var err error
	if isJSON {
		if raw, err = otlp.FromJSON(nil, otlp.Metrics, raw); err != nil {
			return result{}, invalidBody(err)
		}
	}
	report, err := otlp.Validate(otlp.Metrics, raw)
	if err != nil {
		return result{}, invalidBody(err)
	}
	if report.Accepted == 0 {
		return result{}, nil
	}
	in.points.Add(int64(report.Accepted))
	in.mu.Lock()
	if len(in.warned) >= maxWarnedSenders {
		clear(in.warned)
	}
	first := !in.warned[sender]
	in.warned[sender] = true
	in.mu.Unlock()
	if first {
		in.o.Log.Warn("metrics are not kept; switch off the sender's metrics exporter", "sender", sender, "points", report.Accepted)
	}
	return result{int64(report.Accepted), "redthread keeps traces and their logs, not metrics: all data points were dropped"}, nil
}

func invalidBody(err error) error {
	var e *otlp.InvalidError
	if errors.As(err, &e) {
		return refuse(http.StatusBadRequest, "%s", e.Sentence())
	}
	return refuse(http.StatusBadRequest, "%s", err.Error())
}

// asRefusal returns what to tell the sender; an error that is not a refusal is
// logged and told as an internal one.
func (in *Ingest) asRefusal(ctx context.Context, err error) *refusal {
	in.refused.Add(1)
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	if ctx.Err() != nil {
		return &refusal{statusClientGone, "The request was canceled.", 0}
	}
	in.o.Log.Error("ingest request failed", "error", err)
	return &refusal{http.StatusServiceUnavailable, "Something went wrong on the server. Send this request again.", retryOverload}
}

// senderOf names a sender: its address without the port, and its software.
func senderOf(remote, userAgent string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	if len(userAgent) > 100 {
		userAgent = userAgent[:100]
	}
	return strings.TrimSpace(remote + " " + userAgent)
}
