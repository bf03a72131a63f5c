// Package trace holds the types of a stored span and its ids. It is a leaf: it
// imports the standard library only, so that every other package may use it.
//
// A [Span] is one row: the span together with the attributes of its resource
// and scope, its events and its links. Times are int64 nanoseconds since the
// Unix epoch.
package trace

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// ID is a W3C trace id. It prints as 32 lower-case hex digits.
type ID [16]byte

// SpanID is a W3C span id. It prints as 16 lower-case hex digits.
type SpanID [8]byte

// String returns 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id is all zero, which OpenTelemetry calls invalid.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// String returns 16 lower-case hex digits.
func (id SpanID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id is all zero: no span.
func (id SpanID) IsZero() bool { return id == SpanID{} }

// MarshalText implements encoding.TextMarshaler. The zero id is the empty text.
func (id SpanID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *SpanID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = SpanID{}
		return nil
	}
	v, err := ParseSpanID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// ParseID reads a trace id of 32 hex digits, or of 16, which are left-padded
// with zeros as Zipkin and Jaeger do. Dashes, as in a UUID, are passed over.
func ParseID(s string) (ID, error) {
	var id ID
	t := strings.ReplaceAll(strings.TrimSpace(s), "-", "")
	if len(t) != 32 && len(t) != 16 {
		return id, fmt.Errorf("trace id %q: want 32 or 16 hex digits, got %d", clip(s), len(t))
	}
	if _, err := hex.Decode(id[16-len(t)/2:], []byte(t)); err != nil {
		return ID{}, fmt.Errorf("trace id %q: not hex", clip(s))
	}
	if id.IsZero() {
		return id, fmt.Errorf("trace id %q: all zero", clip(s))
	}
	return id, nil
}

// ParseSpanID reads a span id of 16 hex digits.
func ParseSpanID(s string) (SpanID, error) {
	var id SpanID
	t := strings.TrimSpace(s)
	if len(t) != 16 {
		return id, fmt.Errorf("span id %q: want 16 hex digits, got %d", clip(s), len(t))
	}
	if _, err := hex.Decode(id[:], []byte(t)); err != nil {
		return SpanID{}, fmt.Errorf("span id %q: not hex", clip(s))
	}
	if id.IsZero() {
		return id, fmt.Errorf("span id %q: all zero", clip(s))
	}
	return id, nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// Ref names one span.
type Ref struct {
	TraceID ID     `json:"trace_id"`
	SpanID  SpanID `json:"span_id"`
}

// Kind is the OTLP SpanKind, with its numbers.
type Kind uint8

// The kinds, numbered as in opentelemetry/proto/trace/v1/trace.proto.
const (
	KindUnspecified Kind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

var kindNames = [...]string{"unspecified", "internal", "server", "client", "producer", "consumer"}

// String returns the lower-case name of the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[0]
}

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// StatusCode is the OTLP status code, with its numbers.
type StatusCode uint8

// The status codes, numbered as in opentelemetry/proto/trace/v1/trace.proto.
const (
	StatusUnset StatusCode = iota
	StatusOK
	StatusError
)

var statusNames = [...]string{"unset", "ok", "error"}

// String returns unset, ok or error.
func (c StatusCode) String() string {
	if int(c) < len(statusNames) {
		return statusNames[c]
	}
	return statusNames[0]
}

// MarshalText implements encoding.TextMarshaler.
func (c StatusCode) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Event is something that happened at one moment inside a span.
type Event struct {
	Name         string
	TimeUnixNano int64
	Attributes   []Attribute
}

// Link is a span's pointer to another span context.
type Link struct {
	TraceID    ID
	SpanID     SpanID
	TraceState string
	Attributes []Attribute
}

// Signal tells what a row is.
type Signal uint8

// The signals.
const (
	SignalSpan Signal = iota
	SignalLog         // a log record with a trace id; not counted as a span
)

// Span is one row. A log record is a row too: its Signal says so, ParentID is
// the span it was written in, Name its body, StartUnixNano its time. It is
// joined to its span as an event when a trace is read.
//
// Attributes hold, in this order, the span's own attributes,
// then those of its scope and resource, each key once: where the span has the
// key too, the other is kept under "scope." or "resource." plus the key.
// service.name is in Service and not in Attributes. The environment is decided by
// the key or the resource; what the resource says of it stays an attribute.
type Span struct {
	Signal          Signal
	TraceID         ID
	SpanID          SpanID
	ParentID        SpanID // zero: a root
	Name            string
	Service         string
	Environment     string
	Kind            Kind
	Status          StatusCode
	StatusMessage   string
	TraceState      string
	StartUnixNano   int64
	DurationNano    int64
	ArrivedUnixNano int64
	// Error is the derived error flag of DESIGN.md §4: status ERROR, an
	// exception event, a peer's error tag, or a known failure event.
	Error      bool
	Attributes []Attribute
	Events     []Event
	Links      []Link
}

// Ref returns the span's own reference.
func (s *Span) Ref() Ref { return Ref{s.TraceID, s.SpanID} }

// EndUnixNano is start plus duration.
func (s *Span) EndUnixNano() int64 { return s.StartUnixNano + s.DurationNano }

// Attribute returns the first value under key.
func (s *Span) Attribute(key string) (Value, bool) {
	for i := range s.Attributes {
		if s.Attributes[i].Key == key {
			return s.Attributes[i].Value, true
		}
	}
	return Value{}, false
}
