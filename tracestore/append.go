package tracestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

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
)

// A message of the log is a version byte, then records. A record is the format
// (1), the arrival time (8, little-endian nanoseconds), the length of the
// environment (uvarint) and its bytes, the length of the body (uvarint) and the
// body, always protobuf.
const messageVersion = 1

func appendRecord(dst []byte, f Format, arrived int64, environment string, raw []byte) []byte {
	dst = append(dst, byte(f))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(arrived))
	dst = binary.AppendUvarint(dst, uint64(len(environment)))
	dst = append(dst, environment...)
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	return append(dst, raw...)
}

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

// request is a record waiting for the log.
type request struct {
	record []byte
	done   chan<- error // buffered
}

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
	if err := s.admit(size); err != nil {
		return Ack{}, err
	}
	defer s.inFlight.Add(-size)
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
	parts, err := otlp.Split(sig, raw, maxPartBytes)
	if err != nil {
		return Ack{}, invalid(err)
	}
	environment := b.Environment
	if environment == "*" {
		environment = ""
	}
	arrived := s.o.Now().UnixNano()
	done := make(chan error, len(parts))
	sent := 0
	for _, part := range parts {
		record := appendRecord(make([]byte, 0, len(part)+len(environment)+32), format, arrived, environment, part)
		if len(record)+1 > ingestlog.MaxMessageBytes {
			one, err := otlp.Validate(sig, part)
			if err != nil {
				return Ack{}, invalid(err)
			}
			ack.Spans -= one.Accepted
			ack.Rejected += one.Accepted
			ack.Message = fmt.Sprintf("a record of %d bytes is longer than the %d that fit", len(part), ingestlog.MaxMessageBytes)
			continue
		}
		select {
		case s.requests <- request{record, done}:
			sent++
		case <-ctx.Done():
			return Ack{}, ctx.Err()
		case <-s.quit:
			return Ack{}, ErrClosed
		}
	}
	for range sent {
		select {
		case err := <-done:
			if err != nil {
				return Ack{}, err
			}
		case <-ctx.Done():
			return Ack{}, ctx.Err()
		case <-s.committed: // the committer has ended; it may have answered before
			select {
			case err := <-done:
				if err != nil {
					return Ack{}, err
				}
			default:
				return Ack{}, ErrClosed
			}
		}
	}
	s.rejected.Add(int64(ack.Rejected))
	s.ackedBytes.Add(size)
	return ack, nil
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
	limit, pending := s.o.MemoryBytes/8, s.inFlight.Add(size)
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
	var group []request
	for {
		group = group[:0]
		if held != nil {
			group, held = append(group, *held), nil
		} else {
			select {
			case r := <-s.requests:
				group = append(group, r)
			case <-s.quit:
				return
			}
		}
		msg := append(make([]byte, 0, len(group[0].record)+1), messageVersion)
		msg = append(msg, group[0].record...)
	gather:
		for len(msg) < maxGroupBytes {
			select {
			case r := <-s.requests:
				if len(msg)+len(r.record) > maxGroupBytes {
					held = &r
					break gather
				}
				msg = append(msg, r.record...)
				group = append(group, r)
			default:
				break gather
			}
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
