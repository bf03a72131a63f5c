package ingestlog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStreamOptions configure [OpenJetStream]. The zero value is usable.
type JetStreamOptions struct {
	Stream  string // default "ingest"
	Subject string // default "v1.ingest"
}

const (
	defaultStream  = "ingest"
	defaultSubject = "v1.ingest"
	// identityKey is the stream metadata that names this very stream.
	identityKey = "redthread.identity"
	// readAheadBytes bounds what a Read has fetched and not yet handled.
	readAheadBytes = 32 << 20
	// apiTimeout bounds one call of the JetStream API when the caller has set
	// no deadline.
	apiTimeout = 10 * time.Second
)

// JetStream is a [Log] in a JetStream stream: file storage, one replica. Whether
// Append waits for the disk is the server's sync setting; redthread runs it with
// SyncAlways unless told otherwise.
type JetStream struct {
	js       jetstream.JetStream
	stream   jetstream.Stream
	subject  string
	identity string
}

var _ Log = (*JetStream)(nil)

// OpenJetStream opens the stream, or makes it with a new identity. The
// connection stays the caller's.
func OpenJetStream(ctx context.Context, nc *nats.Conn, o JetStreamOptions) (*JetStream, error) {
	if o.Stream == "" {
		o.Stream = defaultStream
	}
	if o.Subject == "" {
		o.Subject = defaultSubject
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("ingestlog: open: %w", err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := js.Stream(ctx, o.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = create(ctx, js, o)
	}
	if err != nil {
		return nil, fmt.Errorf("ingestlog: open stream %s: %w", o.Stream, err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ingestlog: open stream %s: %w", o.Stream, err)
	}
	identity := info.Config.Metadata[identityKey]
	if identity == "" {
		identity = "created-" + info.Created.UTC().Format(time.RFC3339Nano)
	}
	return &JetStream{js: js, stream: stream, subject: o.Subject, identity: identity}, nil
}

func create(ctx context.Context, js jetstream.JetStream, o JetStreamOptions) (jetstream.Stream, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	return js.CreateStream(ctx, jetstream.StreamConfig{
		Name:       o.Stream,
		Subjects:   []string{o.Subject},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardNew,
		Replicas:   1,
		MaxMsgs:    -1,
		MaxBytes:   -1,
		MaxMsgSize: MaxMessageBytes + 2048,
		// Duplicate detection is by content in the store: no message ids here.
		Metadata: map[string]string{identityKey: hex.EncodeToString(id[:])},
	})
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, apiTimeout)
}

// Append implements [Log].
func (l *JetStream) Append(ctx context.Context, msg []byte) (uint64, error) {
	if len(msg) > MaxMessageBytes {
		return 0, fmt.Errorf("ingestlog: append: message of %d bytes is longer than %d", len(msg), MaxMessageBytes)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	ack, err := l.js.Publish(ctx, l.subject, msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, fmt.Errorf("ingestlog: append: %w", err)
	}
	return ack.Sequence, nil
}

// Read implements [Log].
func (l *JetStream) Read(ctx context.Context, from, through uint64, fn func(seq uint64, msg []byte) error) error {
	state, err := l.State(ctx)
	if err != nil {
		return err
	}
	from = max(from, state.First)
	through = min(through, state.Last)
	if from > through {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   from,
	})
	if err != nil {
		return fmt.Errorf("ingestlog: read from %d: %w", from, err)
	}
	it, err := consumer.Messages(jetstream.PullMaxBytes(readAheadBytes))
	if err != nil {
		return fmt.Errorf("ingestlog: read from %d: %w", from, err)
	}
	// Next has no context of its own: stopping the iterator ends it.
	stop := context.AfterFunc(ctx, it.Stop)
	defer func() {
		stop()
		it.Stop()
	}()
	for {
		m, err := it.Next()
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("ingestlog: read from %d: %w", from, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("ingestlog: read from %d: %w", from, err)
		}
		seq := meta.Sequence.Stream
		if seq > through {
			return nil
		}
		if err := fn(seq, m.Data()); err != nil {
			return err
		}
		if seq == through {
			return nil
		}
	}
}

// Trim implements [Log].
func (l *JetStream) Trim(ctx context.Context, through uint64) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(through+1)); err != nil {
		return fmt.Errorf("ingestlog: trim through %d: %w", through, err)
	}
	return nil
}

// State implements [Log].
func (l *JetStream) State(ctx context.Context) (State, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("ingestlog: state: %w", err)
	}
	s := State{Identity: l.identity, First: info.State.FirstSeq, Last: info.State.LastSeq, Bytes: info.State.Bytes}
	if info.State.Msgs == 0 {
		s.First = s.Last + 1
	}
	return s, nil
}

// Close implements [Log]. The connection stays open.
func (l *JetStream) Close() error { return nil }
