// Package otlp reads and writes the OpenTelemetry protocol: export requests in
// protobuf or JSON become finished rows ([trace.Span]), and rows become export
// requests again.
//
// The protobuf form is walked by hand, straight into one reused row: no
// generated structs, no allocation per span once the buffers have grown. JSON is
// first rewritten as protobuf ([FromJSON]), guided by the same table of messages
// that [Validate] uses, so there is one decoder and one meaning of every field.
//
// # What a row is made of
//
// All rules of DESIGN.md §4 are applied here, so that every store gets the same
// rows:
//
//   - Attributes are the span's, then its scope's, then its resource's. Where
//     two have the same key the span wins; the other, if it differs, is kept under
//     "scope." or "resource." plus the key. In one list the last value wins.
//   - A map is kept as JSON text and, as well, flattened with dots, five levels
//     deep; a flattened key never replaces one that was sent. An array is JSON
//     text. A value that was sent empty is the JSON text null.
//   - Text that is not UTF-8 is kept with U+FFFD in place of each bad byte.
//   - service.name is in Service ("unknown_service" if nobody said it). The
//     environment is the key's, else deployment.environment.name, else
//     deployment.environment, else "default"; those attributes stay as sent.
//   - Error is true for status ERROR, an exception event, a truthy "error"
//     attribute, an event "job failed" (BullMQ), and log records of severity
//     ERROR and above. Type and message of the last exception event are lifted to
//     exception.type and exception.message.
//   - What has no field in a row becomes an attribute; the constants in row.go
//     name them, and TestEveryFieldIsStored lists every field of the protocol.
//   - A trace id of 8 bytes is padded on the left; an id of any other wrong length
//     is hashed to size and its text kept in trace.original_id or
//     span.original_id. A span without a trace id or span id, or with one that is
//     all zero, is rejected by itself, as is a log record without a trace id.
package otlp

import (
	"fmt"

	"redthread/tracestore/trace"
)

// Signal is the kind of an export request.
type Signal uint8

// The signals.
const (
	Traces  Signal = iota + 1 // ExportTraceServiceRequest
	Logs                      // ExportLogsServiceRequest
	Metrics                   // ExportMetricsServiceRequest: only counted
)

// String returns traces, logs or metrics.
func (s Signal) String() string {
	switch s {
	case Logs:
		return "logs"
	case Metrics:
		return "metrics"
	}
	return "traces"
}

// Report says what became of the records of a request.
type Report struct {
	Accepted int
	Rejected int
	Message  string // why the first rejected record was rejected
}

// reject counts a record and keeps the first reason.
func (r *Report) reject(why string) {
	r.Rejected++
	if r.Message == "" {
		r.Message = why
	}
}

// InvalidError is a request that cannot be read at all. Message is a sentence
// for the sender.
type InvalidError struct {
	Field   string // path of the field, as resourceSpans[0].scopeSpans[1]; may be empty
	Offset  int    // bytes from the begin of the request
	Message string
}

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("otlp: byte %d: %s", e.Offset, e.Message)
	}
	return fmt.Sprintf("otlp: %s (byte %d): %s", e.Field, e.Offset, e.Message)
}

// Sentence is the error as it is shown to the sender.
func (e *InvalidError) Sentence() string {
	if e.Field == "" {
		return fmt.Sprintf("%s (at byte %d)", e.Message, e.Offset)
	}
	return fmt.Sprintf("%s: %s (at byte %d)", e.Field, e.Message, e.Offset)
}

// Arrival is what the receiver knows of a request beside its bytes.
type Arrival struct {
	UnixNano    int64
	Environment string // the key's; empty or *: each resource names its own
}

// maxDepth bounds how deep messages, or JSON values, may lie in each other: the
// recursion limit of protobuf's C++ and Java readers.
const maxDepth = 100

// DecodeAll reads a protobuf request into rows of their own memory. It is for
// callers that keep the rows; the ingest path uses a [Decoder].
func DecodeAll(sig Signal, raw []byte, in Arrival) ([]trace.Span, Report, error) {
	var d Decoder
	var spans []trace.Span
	rep, err := d.Decode(sig, raw, in, func(s *trace.Span) error {
		spans = append(spans, clone(s))
		return nil
	})
	return spans, rep, err
}
