// Package ingestlog is the durable log in front of the span store: what was
// appended is on disk before Append returns, in one sequence, and stays until it
// is trimmed. JetStream implements it; this package alone in tracestore knows
// NATS.
//
// A log has an identity, which changes when the log is made anew (its folder was
// lost, its stream deleted). A reader that remembers (identity, sequence) can
// therefore tell "nothing new" from "another log".
package ingestlog

import "context"

// MaxMessageBytes is the longest message that a log takes: the server's maximum
// payload (8 MiB, DESIGN.md §5) less room for headers.
const MaxMessageBytes = 8<<20 - 4096

// State is what a log holds.
type State struct {
	Identity string // never empty
	First    uint64 // the first sequence held; Last+1 when the log is empty
	Last     uint64 // the last sequence ever given; 0 for a new log
	Bytes    uint64 // bytes held
}

// Log is a durable sequence of messages. Sequences start at 1 and have no holes
// but those that Trim makes at the front.
type Log interface {
	// Append adds a message and returns its sequence once it is durable. When
	// it returns an error the message may still have been added.
	// Append may be called by several goroutines at once.
	Append(ctx context.Context, msg []byte) (seq uint64, err error)
	// Read calls fn for each message from sequence from up to and with through,
	// in order. fn must not keep msg. It stops at fn's first error and returns
	// it. A missing message at the front is passed over.
	Read(ctx context.Context, from, through uint64, fn func(seq uint64, msg []byte) error) error
	// Trim drops the messages up to and with sequence through.
	Trim(ctx context.Context, through uint64) error
	// State says what the log holds.
	State(ctx context.Context) (State, error)
	// Close releases the log. What was appended stays.
	Close() error
}
