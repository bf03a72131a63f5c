package tracestore

import (
	"errors"

	"redthread/tracestore/otlp"
	"redthread/tracestore/segment"
)

// Format is how the bytes of a batch are encoded. The numbers are stored in the
// ingest log: never renumber.
type Format uint8

// The formats: the OTLP export requests of traces and of logs.
const (
	FormatOTLPProto     Format = 1 // ExportTraceServiceRequest, protobuf
	FormatOTLPJSON      Format = 2 // ExportTraceServiceRequest, JSON
	FormatOTLPLogsProto Format = 3 // ExportLogsServiceRequest, protobuf
	FormatOTLPLogsJSON  Format = 4 // ExportLogsServiceRequest, JSON
)

// Batch is one request's worth of telemetry as it came, decompressed. The store
// does not keep Raw after Append returned.
type Batch struct {
	Format      Format
	Environment string // the key's; empty: each resource names its own
	Raw         []byte
	// Filter takes attributes out, or hashes them, before anything is stored; nil:
	// all stay as they are.
	Filter *otlp.Filter
}

// Ack says what became of a batch. Rejected records were not stored; Message
// then says why, for OTLP's partial success.
type Ack struct {
	Spans    int // records accepted: spans or log records
	Rejected int
	Message  string
}

// InvalidError is a batch that cannot be read. Message is a sentence for the
// sender.
type InvalidError struct{ Message string }

func (e *InvalidError) Error() string { return "tracestore: invalid batch: " + e.Message }

// ReadError is a file that the disk cannot read now; whatever needs it fails until
// it can be read.
type ReadError = segment.ReadError

// Errors of Append which pass by themselves: the sender should come again.
var (
	// ErrOverloaded: too many bytes are in flight, or the log does not answer.
	ErrOverloaded = errors.New("tracestore: cannot take more now")
	ErrDiskFull   = errors.New("tracestore: disk is nearly full")
	ErrClosed     = errors.New("tracestore: closed")
	// ErrLocked is returned by Open when another process holds the data folder.
	ErrLocked = errors.New("tracestore: data folder is in use by another process")
)
