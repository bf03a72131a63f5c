package otlp

import "encoding/binary"

// Split cuts a protobuf request of traces or logs into requests of at most
// maxBytes, at the boundaries of its records, and calls fn for each: together the
// parts hold the same records in the same order under the same resources and
// scopes. A request that fits is handed on as it is; the other parts have memory
// of their own, made one after the other, that fn may keep. A single record that
// does not fit makes a part of its own, larger than maxBytes. fn's error ends the
// cutting and comes back as it is.
func Split(sig Signal, raw []byte, maxBytes int, fn func(part []byte) error) error {
	if len(raw) <= maxBytes {
		return fn(raw)
	}
	s := splitter{raw: raw, max: maxBytes, fn: fn}
	var f wireField
	for i := 0; i < len(raw); {
		j, why := next(raw, i, &f)
		if j < 0 {
			return &InvalidError{Field: requestOf(sig).name, Offset: i, Message: why}
		}
		switch {
		case f.number != 1 || f.typ != wireBytes: // unknown: nothing to keep
		case len(s.part)+j-i <= maxBytes:
			s.part = append(s.part, raw[i:j]...)
		default:
			if err := s.resource(f.data); err != nil {
				return err
			}
		}
		i = j
	}
	return s.flush()
}

type splitter struct {
	raw  []byte
	max  int
	fn   func([]byte) error
	part []byte
}

func (s *splitter) flush() error {
	if len(s.part) == 0 {
		return nil
	}
	part := s.part
	s.part = nil
	return s.fn(part)
}

// split parts the fields of a message into those numbered 2, which repeat, and
// the others, which every part needs.
func (s *splitter) split(b []byte) (head []byte, items [][]byte, err error) {
	var f wireField
	for i := 0; i < len(b); {
		j, why := next(b, i, &f)
		if j < 0 {
			return nil, nil, &InvalidError{Offset: offset(s.raw, b, i), Message: why}
		}
		if f.number == 2 && f.typ == wireBytes {
			items = append(items, f.data)
		} else {
			head = append(head, b[i:j]...)
		}
		i = j
	}
	return head, items, nil
}

// resource cuts a ResourceSpans or ResourceLogs that does not fit the open part.
func (s *splitter) resource(b []byte) error {
	resHead, scopes, err := s.split(b)
	if err != nil {
		return err
	}
	for _, sc := range scopes {
		head, records, err := s.split(sc)
		if err != nil {
			return err
		}
		// Each run of records repeats both heads. Their own tags and lengths
		// take at most 6 bytes at each of the three levels, and so do the runs'.
		fixed := len(s.part) + len(resHead) + len(head) + 18
		var run []byte
		for _, r := range records {
			n := len(r) + 6
			if len(run) > 0 && fixed+len(run)+n > s.max || len(run) == 0 && len(s.part) > 0 && fixed+n > s.max {
				s.run(resHead, head, run)
				if err := s.flush(); err != nil {
					return err
				}
				fixed = len(resHead) + len(head) + 18
				run = run[:0]
			}
			run = appendBytesField(run, 2, r)
		}
		if len(run) > 0 {
			s.run(resHead, head, run)
		}
	}
	return nil
}

// run appends one resource with one scope with the records of a run.
func (s *splitter) run(resHead, head, records []byte) {
	if len(records) == 0 {
		return
	}
	scopeLen := len(head) + len(records)
	resLen := len(resHead) + 1 + uvarintLen(scopeLen) + scopeLen
	s.part = appendTag(s.part, 1, resLen)
	s.part = append(s.part, resHead...)
	s.part = appendTag(s.part, 2, scopeLen)
	s.part = append(append(s.part, head...), records...)
}

// appendTag begins a bytes field of n bytes.
func appendTag(dst []byte, number, n int) []byte {
	dst = binary.AppendUvarint(dst, uint64(number)<<3|wireBytes)
	return binary.AppendUvarint(dst, uint64(n))
}

func appendBytesField(dst []byte, number int, b []byte) []byte {
	return append(appendTag(dst, number, len(b)), b...)
}

func uvarintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}
