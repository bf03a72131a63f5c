package tracestore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"redthread/tracestore/ingestlog"
	"redthread/tracestore/otlp"
)

const (
	// maxPartBytes is where a large request is cut, at a record's boundary
	// (DESIGN.md §5): half of the log's longest message, so that a record that
	// straddles the cut still fits.
	maxPartBytes = 4 << 20
	// maxGroupBytes bounds the requests that share one message and one sync.
	maxGroupBytes = 1 << 20
	// maxWaiting bounds the requests queued for the log. A full queue makes
	// Append wait; the bytes in flight are bounded before it.
	maxWaiting = 4096
	// maxUnapplied bounds the messages logged and not yet applied. When the
	// writer falls behind, the log waits, and then Append.
	maxUnapplied = 4
	// maxPartsWaiting bounds the parts of one request that wait for the log.
	maxPartsWaiting = 2
)

// A message of the log is a version byte, then records. A record is the format
// (1), the arrival time (8, little-endian nanoseconds), the length of the
// environment (uvarint) and its bytes, the length of the body (uvarint) and the
// body, always protobuf.
const messageVersion = 1

func appendRecord(dst []byte, r *request) []byte {
	dst = append(dst, byte(r.format))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.arrived))
	dst = binary.AppendUvarint(dst, uint64(len(r.environment)))
	dst = append(dst, r.environment...)
	dst = binary.AppendUvarint(dst, uint64(len(r.raw)))
	return append(dst, r.raw...)
}

// recordHead bounds what a record holds beside its environment and body.
const recordHead = 1 + 8 + 2*binary.MaxVarintLen64

var errMessage = errors.New("tracestore: log message is cut short or of an unknown version")

// eachRecord calls fn for every record of a message.
func eachRecord(msg []byte, fn func(f Format, arrived int64, environment string, raw []byte) error) error {
	if len(msg) == 0 || msg[0] != messageVersion {
		return errMessage
	}
	msg = msg[1:]
	field := func() ([]byte, bool) {
		n, w := binary.Uvarint(msg)
		if w <= 0 || n > uint64(len(msg)-w) {
			return nil, false
		}
		b := msg[w : w+int(n)]
		msg = msg[w+int(n):]
		return b, true
	}
	for len(msg) > 0 {
		if len(msg) < 9 {
			return errMessage
		}
		f, arrived := Format(msg[0]), int64(binary.LittleEndian.Uint64(msg[1:]))
		msg = msg[9:]
		environment, ok := field()
		if !ok {
			return errMessage
		}
		raw, ok := field()
		if !ok {
			return errMessage
		}
		if err := fn(f, arrived, string(environment), raw); err != nil {
			return err
		}
	}
	return nil
}

// request is a record waiting for the log. The committer copies raw, which is the
// sender's, when it has taken the request; until then the sender may withdraw it.
type request struct {
	format      Format
	arrived     int64
	environment string
	raw         []byte
	state       atomic.Int32
	done        chan<- error // buffered
}

// The states of a request.
const (
	requestWaits = iota
	requestTaken
	requestWithdrawn
)

func (r *request) take() bool     { return r.state.CompareAndSwap(requestWaits, requestTaken) }
func (r *request) withdraw() bool { return r.state.CompareAndSwap(requestWaits, requestWithdrawn) }

// size bounds the length of the record.
func (r *request) size() int { return recordHead + len(r.environment) + len(r.raw) }

// logged is a message that is durable and not yet applied.
type logged struct {
	seq uint64
	msg []byte
}

// signal returns the decoder's name for a format, and whether it is JSON.
func (f Format) signal() (sig otlp.Signal, json, ok bool) {
	switch f {
	case FormatOTLPProto, FormatOTLPJSON:
		return otlp.Traces, f == FormatOTLPJSON, true
	case FormatOTLPLogsProto, FormatOTLPLogsJSON:
		return otlp.Logs, f == FormatOTLPLogsJSON, true
	}
	return 0, false, false
}

// Append validates a batch, writes it to the log and returns after the sync. It
// returns *[InvalidError] for a body that cannot be read, and [ErrOverloaded] or
// [ErrDiskFull], wrapped with detail, when the sender should come again. After
// any other error the batch may have been stored: a sender may send it again,
// equal rows are kept once.
func (s *Store) Append(ctx context.Context, b Batch) (Ack, error) {
	sig, isJSON, ok := b.Format.signal()
	if !ok {
		return Ack{}, &InvalidError{Message: fmt.Sprintf("unknown format %d", b.Format)}
	}
	size := int64(len(b.Raw))
	held := size
	if isJSON {
		held *= 2 // and once more as protobuf, which is no longer
	}
	if b.Filter != nil {
		held += size // and as the filter leaves it
	}
	if err := s.admit(held); err != nil {
		return Ack{}, err
	}
	defer s.inFlight.Add(-held)
	raw, format := b.Raw, FormatOTLPProto
	if sig == otlp.Logs {
		format = FormatOTLPLogsProto
	}
	if isJSON {
		var err error
		if raw, err = otlp.FromJSON(nil, sig, b.Raw); err != nil {
			return Ack{}, invalid(err)
		}
	}
	report, err := otlp.Validate(sig, raw)
	if err != nil {
		return Ack{}, invalid(err)
	}
	ack := Ack{Spans: report.Accepted, Rejected: report.Rejected, Message: report.Message}
	if report.Accepted == 0 {
		s.rejected.Add(int64(ack.Rejected))
		return ack, nil
	}
	if b.Filter != nil {
		kept := filterBuffers.Get().(*[]byte)
		defer putFilterBuffer(kept)
		if *kept, err = b.Filter.Apply((*kept)[:0], sig, raw); err != nil {
			return Ack{}, invalid(err)
		}
		raw = *kept
	}
	environment := b.Environment
	if environment == "*" {
		environment = ""
	}
	arrived := s.o.Now().UnixNano()
	var waiting []waiter
	err = otlp.Split(sig, raw, maxPartBytes, func(part []byte) error {
		done := make(chan error, 1)
		r := &request{format: format, arrived: arrived, environment: environment, raw: part, done: done}
		if r.size()+1 > ingestlog.MaxMessageBytes {
			one, err := otlp.Validate(sig, part)
			if err != nil {
				return err
			}
			ack.Spans -= one.Accepted
			ack.Rejected += one.Accepted
			ack.Message = fmt.Sprintf("a record of %d bytes is longer than the %d that fit", len(part), ingestlog.MaxMessageBytes)
			return nil
		}
		if len(waiting) == maxPartsWaiting {
			first := waiting[0]
			waiting = waiting[1:]
			if err := s.await(ctx, first); err != nil {
				return err
			}
		}
		select {
		case s.requests <- r:
			waiting = append(waiting, waiter{r, done})
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.quit:
			return ErrClosed
		}
	})
	// Also after an error each request is awaited or withdrawn: raw is the
	// caller's again when Append returns.
	for _, w := range waiting {
		err = cmp.Or(err, s.await(ctx, w))
	}
	if bad := (*otlp.InvalidError)(nil); errors.As(err, &bad) {
		return Ack{}, invalid(err)
	}
	if err != nil {
		return Ack{}, err
	}
	s.rejected.Add(int64(ack.Rejected))
	s.ackedBytes.Add(size)
	return ack, nil
}

// filterBuffers hold requests as a filter left them, until they are in the log.
var filterBuffers = sync.Pool{New: func() any { return new([]byte) }}

func putFilterBuffer(b *[]byte) {
	if cap(*b) <= maxPooledMessage {
		filterBuffers.Put(b)
	}
}

// waiter is a request with the end of its channel where the answer comes.
type waiter struct {
	r    *request
	done <-chan error
}

// await returns the log's answer to a request. When the sender goes or the store
// closes, a request that was not taken is withdrawn; one that was taken is
// answered within the log's time limit.
func (s *Store) await(ctx context.Context, w waiter) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		if w.r.withdraw() {
			return ctx.Err()
		}
	case <-s.committed:
		if w.r.withdraw() {
			return ErrClosed
		}
	}
	return <-w.done
}

func invalid(err error) error {
	var e *otlp.InvalidError
	if errors.As(err, &e) {
		return &InvalidError{Message: e.Sentence()}
	}
	return &InvalidError{Message: err.Error()}
}

// admit takes size bytes into flight, or says why not.
func (s *Store) admit(size int64) error {
	if s.closed.Load() {
		return ErrClosed
	}
	limit, pending := s.o.MemoryBytes/bodyShare, s.inFlight.Add(size)
	if pending > limit && pending > size {
		s.inFlight.Add(-size)
		return fmt.Errorf("%w: %d bytes wait, at most %d may", ErrOverloaded, pending-size, limit)
	}
	if err := s.disk.check(size, pending); err != nil {
		s.inFlight.Add(-size)
		return err
	}
	return nil
}

// commit is the goroutine that writes to the log. All requests that wait at the
// same moment share a message: while one is being synced, the next gathers.
func (s *Store) commit() {
	defer close(s.committed)
	var held *request
	var group []*request
	for {
		clear(group) // their bodies are the senders'
		group = group[:0]
		size := 1
		// add takes a request into the group; false: it does not fit any more.
		add := func(r *request) bool {
			if len(group) > 0 && size+r.size() > maxGroupBytes {
				held = r
				return false
			}
			if r.take() {
				group = append(group, r)
				size += r.size()
			}
			return true
		}
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-s.requests:
			case <-s.quit:
				return
			}
		}
		for more := add(first); more && size < maxGroupBytes; {
			select {
			case r := <-s.requests:
				more = add(r)
			default:
				more = false
			}
		}
		if len(group) == 0 {
			continue
		}
		msg := append(s.takeMessage(size), messageVersion)
		for _, r := range group {
			msg = appendRecord(msg, r)
		}
		seq, err := s.log.Append(s.ctx, msg)
		if err != nil {
			err = fmt.Errorf("%w: the ingest log does not take it: %w", ErrOverloaded, err)
			s.o.Logger.Error("append to the ingest log", "error", err, "bytes", len(msg))
		} else {
			s.messages.Add(1)
		}
		for _, r := range group {
			r.done <- err
		}
		if err != nil {
			continue
		}
		select {
		case s.apply <- logged{seq, msg}:
		case <-s.quit:
			return
		}
	}
}

// maxPooledMessage is the longest message whose buffer is used again.
const maxPooledMessage = 2 << 20

// takeMessage returns an empty buffer with room for size bytes, one that was
// applied if there is.
func (s *Store) takeMessage(size int) []byte {
	select {
	case b := <-s.buffers:
		if cap(b) >= size {
			return b[:0]
		}
	default:
	}
	return make([]byte, 0, max(size, maxGroupBytes))
}

// putMessage gives back the buffer of a message that was applied.
func (s *Store) putMessage(b []byte) {
	if cap(b) > maxPooledMessage {
		return
	}
	select {
	case s.buffers <- b:
	default:
	}
}
