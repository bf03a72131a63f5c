package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"google.golang.org/protobuf/encoding/protowire"

	"redthread/tracestore/trace"
)

// sendPatience is how long one request is sent again while the server says that
// it is busy.
const sendPatience = 2 * time.Minute

// errUnreachable is returned when the server does not answer at all.
var errUnreachable = errors.New("no answer")

// sender sends export requests over OTLP/HTTP.
type sender struct {
	base, key string
	http      *http.Client
	// wait pauses before a request is sent again; tests replace it.
	wait func(ctx context.Context, d time.Duration) error
}

func newSender(base, key string) *sender {
	return &sender{base: base, key: key, http: &http.Client{Timeout: time.Minute}, wait: waitFor}
}

func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendResult adds up what came of requests.
type sendResult struct {
	records, rejected int
	message           string
	traces            []trace.ID // in order of appearance
	known             map[trace.ID]bool
}

func (r *sendResult) add(one sendResult) {
	r.rejected += one.rejected
	if r.message == "" {
		r.message = one.message
	}
}

func (r *sendResult) seen(spans []trace.Span) {
	if r.known == nil {
		r.known = map[trace.ID]bool{}
	}
	r.records += len(spans)
	for i := range spans {
		if id := spans[i].TraceID; !r.known[id] {
			r.known[id] = true
			r.traces = append(r.traces, id)
		}
	}
}

// send posts one request and sends it again while the server asks for that.
func (s *sender) send(ctx context.Context, path string, body []byte) (sendResult, error) {
	var packed bytes.Buffer
	g := gzip.NewWriter(&packed)
	if _, err := g.Write(body); err != nil {
		return sendResult{}, err
	}
	if err := g.Close(); err != nil {
		return sendResult{}, err
	}
	for waited, pause := time.Duration(0), 250*time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		res, retry, err := s.once(ctx, path, packed.Bytes())
		if err == nil || retry < 0 || waited >= sendPatience {
			return res, err
		}
		d := max(retry, pause)
		waited += d
		if err := s.wait(ctx, d); err != nil {
			return sendResult{}, err
		}
	}
}

// once sends a request. retry is the least wait before it may be sent again,
// negative if that is of no use.
func (s *sender) once(ctx context.Context, path string, packed []byte) (res sendResult, retry time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(packed))
	if err != nil {
		return res, -1, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "redthread-import")
	if s.key != "" {
		req.Header.Set("x-redthread-key", s.key)
	}
	answer, err := s.http.Do(req)
	if err != nil {
		return res, -1, fmt.Errorf("%w from %s (is the server running?): %w", errUnreachable, s.base, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return res, -1, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		res.rejected, res.message = partialSuccess(body)
		return res, 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		retry = time.Duration(seconds) * time.Second
	default:
		retry = -1
	}
	message := statusMessage(body)
	if message == "" {
		message = http.StatusText(answer.StatusCode)
	}
	return res, retry, fmt.Errorf("the server answered %d: %s", answer.StatusCode, message)
}

// partialSuccess reads an Export…ServiceResponse: partial_success = 1 of
// rejected = 1 and error_message = 2.
func partialSuccess(body []byte) (rejected int, message string) {
	eachField(body, func(number protowire.Number, _ uint64, partial []byte) {
		if number != 1 {
			return
		}
		eachField(partial, func(number protowire.Number, n uint64, b []byte) {
			switch number {
			case 1:
				rejected = int(n)
			case 2:
				message = string(b)
			}
		})
	})
	return rejected, message
}

// statusMessage reads the message, field 2, of a google.rpc.Status.
func statusMessage(body []byte) (message string) {
	eachField(body, func(number protowire.Number, _ uint64, b []byte) {
		if number == 2 {
			message = strings.ToValidUTF8(string(b), "\uFFFD")
		}
	})
	return message
}

// eachField calls fn for the varint and bytes fields of a message, and stops
// where it is not one.
func eachField(b []byte, fn func(number protowire.Number, n uint64, data []byte)) {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		var num uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			num, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, typ, b)
		}
		if n < 0 {
			return
		}
		b = b[n:]
		fn(number, num, data)
	}
}
