// Package tracestore is the span store: a durable log in front, a memtable of
// columns, immutable Parquet segments behind it and a catalogue that says which
// segments count.
package tracestore

import (
	"context"
	"errors"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// Store holds rows. All methods may be called from several goroutines.
type Store struct{}

// Stats are the store's counters and sizes at one moment.
type Stats struct {
	AppendedRowsTotal     int64 // rows applied since start
	AppendedBytesTotal    int64 // raw bytes acknowledged since start
	DuplicateRowsTotal    int64 // rows dropped as equal to a stored one
	RejectedRowsTotal     int64
	LogMessagesTotal      int64
	FlushesTotal          int64
	InFlightBytes         int64
	MemtableRows          int64
	MemtableBytes         int64
	Segments              int
	SegmentRows           int64
	SegmentBytes          int64
	EdgeFiles             int
	EdgeBytes             int64
	DiskFreeBytes         int64
	DiskFull              bool
	AppliedSequence       uint64
	CorruptSegments       []string // names of segments set aside
	LastFlushError        string
	LastFlushUnixNano     int64
	OldestArrivedUnixNano int64
}

// Open opens the store in o.Dir and makes what is missing. It replays the log in
// the background; see [Store.Ready].
func Open(ctx context.Context, o Options) (*Store, error) { return nil, errors.ErrUnsupported }

// Append validates a batch, writes it to the log and returns after the sync.
func (s *Store) Append(ctx context.Context, b Batch) (Ack, error) {
	return Ack{}, errors.ErrUnsupported
}

// TraceSpans returns the spans of a trace by start, at most limit of them. Log
// records are joined to their span as events named "log".
func (s *Store) TraceSpans(ctx context.Context, id trace.ID, limit int) ([]trace.Span, bool, error) {
	return nil, false, errors.ErrUnsupported
}

// Effects returns the links whose target is a span of the trace.
func (s *Store) Effects(ctx context.Context, id trace.ID, limit int) ([]graph.Link, bool, error) {
	return nil, false, errors.ErrUnsupported
}

// TraceSummary returns what is known of a trace, or false.
func (s *Store) TraceSummary(ctx context.Context, id trace.ID) (graph.Summary, bool, error) {
	return graph.Summary{}, false, errors.ErrUnsupported
}

// Ready reports whether every acknowledged row is findable, and how far the
// replay of the log has come.
func (s *Store) Ready() (ok bool, progress string) { return false, "" }

// Stats returns counters and sizes.
func (s *Store) Stats() Stats { return Stats{} }

// Close flushes and stops. It may be called twice.
func (s *Store) Close() error { return nil }

var _ graph.Source = (*Store)(nil)
