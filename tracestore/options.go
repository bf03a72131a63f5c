package tracestore

import (
	"log/slog"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog"
)

// Options configure a [Store]. The zero value of each field but Dir and Log is
// usable and means the default named beside it.
type Options struct {
	// Dir is the data folder. The store owns catalogue.db, segments, edges,
	// quarantine and LOCK in it.
	Dir string
	// Log is the durable ingest log. The store does not close it.
	Log ingestlog.Log

	Logger *slog.Logger     // default: discards
	Now    func() time.Time // default: time.Now

	// MemoryBytes is the limit for everything the store holds in memory: memtables,
	// decoded columns, bodies in flight, queries; memory.go has their shares.
	// Default 1 GiB.
	MemoryBytes int64
	// FlushRows, FlushBytes (raw bytes) and FlushAge bound a memtable.
	// Defaults 256 k, 160 MB and 10 min (DESIGN.md §5).
	FlushRows  int
	FlushBytes int64
	FlushAge   time.Duration

	// Rules find the edges between traces, and Kept are the attributes that the
	// summaries of traces keep. nil: the default, see [Store.UseRules].
	Rules *graph.Rules
	Kept  []string

	// SpanRetention and EdgeRetention are ages since arrival. Defaults 30 and
	// 400 days; negative keeps for ever.
	SpanRetention time.Duration
	EdgeRetention time.Duration
	// EnvironmentRetention are shorter ages for the spans of some environments.
	// They are applied when segments are compacted, and a segment is written
	// anew when enough of its rows are too old.
	EnvironmentRetention map[string]time.Duration
	// MaxDiskBytes drops the oldest segments beyond it, edges included, of which
	// a quarter of it is kept at most. 0: no limit.
	MaxDiskBytes int64
	// MinFreeBytes is the free disk below which Append answers ErrDiskFull.
	// 0: the greater of 512 MiB and 2 % of the file system.
	MinFreeBytes int64
}

const (
	defaultMemoryBytes   = 1 << 30
	defaultFlushRows     = 256 << 10
	defaultFlushBytes    = 160 << 20
	maxFlushBytes        = 512 << 20 // keeps a dictionary's 4 GiB out of reach
	defaultFlushAge      = 10 * time.Minute
	defaultSpanRetention = 30 * 24 * time.Hour
	defaultEdgeRetention = 400 * 24 * time.Hour
)

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = defaultMemoryBytes
	}
	if o.FlushRows <= 0 {
		o.FlushRows = defaultFlushRows
	}
	if o.FlushBytes <= 0 {
		o.FlushBytes = defaultFlushBytes
	}
	o.FlushBytes = min(o.FlushBytes, maxFlushBytes)
	if o.FlushAge <= 0 {
		o.FlushAge = defaultFlushAge
	}
	if o.SpanRetention == 0 {
		o.SpanRetention = defaultSpanRetention
	}
	if o.EdgeRetention == 0 {
		o.EdgeRetention = defaultEdgeRetention
	}
	return o
}
