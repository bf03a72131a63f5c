// Package notify delivers what the outbox of package collab holds.
//
// A change writes its deliveries in its own transaction, so none is lost and
// none is made up. The relay hands the ids of those that are due to a JetStream
// work queue, which spreads them over servers; a worker leases the delivery in
// the database, sends it, and writes down how that went. The database alone says
// what is done and when the next try is: a message that is lost or comes twice
// costs nothing, and while NATS is away the relay feeds the workers itself.
package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"redthread/collab"
)

const (
	streamName    = "NOTIFY"
	streamSubject = "v1.notify.deliveries"
	consumerName  = "deliver"

	workers     = 4
	relayBatch  = 100
	relayIdle   = 5 * time.Second // the longest time between two looks at the outbox
	handedFor   = 30 * time.Second
	lease       = 30 * time.Second // three times the longest attempt
	natsTimeout = 2 * time.Second
	natsRetry   = 15 * time.Second // between tries to set up the work queue
)

// defaultBackoff is the schedule of Standard Webhooks 1.0.0: three days, then
// the delivery has failed.
var defaultBackoff = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

// Options configures a [Service]. Only Store has to be there.
type Options struct {
	Store *collab.Store
	// NATS carries the work queue; nil: this process works alone. Its owner
	// closes it after the service.
	NATS *nats.Conn
	Log  *slog.Logger
	// PublicURL begins the links in messages; if empty, the stored setting does.
	PublicURL string
	// Backoff is the time to the 2nd, 3rd … attempt; nil: over three days.
	Backoff []time.Duration
}

// Service delivers notifications until it is closed.
type Service struct {
	o      Options
	client *http.Client
	kick   chan struct{} // holds one: there is something in the outbox
	work   chan job
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	handed map[collab.DeliveryID]time.Time // to a worker or the queue, not to do again before

	delivered, failed, attempts atomic.Int64
}

// job is one delivery to work on. Ack may be nil.
type job struct {
	id  collab.DeliveryID
	ack func()
}

// Start begins to deliver. It makes itself the one that the store tells of new
// deliveries.
func Start(ctx context.Context, o Options) (*Service, error) {
	if o.Store == nil {
		return nil, errors.New("notify: no store")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Backoff == nil {
		o.Backoff = defaultBackoff
	}
	s := &Service{o: o, client: newClient(o.Store.AllowedHosts), kick: make(chan struct{}, 1), work: make(chan job), handed: map[collab.DeliveryID]time.Time{}}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	o.Store.OnDelivery(s.poke)
	for range workers {
		s.done.Go(func() { s.deliverAll(ctx) })
	}
	s.done.Go(func() { s.relay(ctx) })
	s.poke()
	return s, nil
}

// Close stops after the attempts that are under way. It may be called twice.
func (s *Service) Close() error {
	s.cancel()
	s.done.Wait()
	return nil
}

// Stats are the numbers of a service since its start.
type Stats struct{ DeliveredTotal, FailedTotal, AttemptsTotal int64 }

// Stats returns the numbers of now.
func (s *Service) Stats() Stats {
	return Stats{DeliveredTotal: s.delivered.Load(), FailedTotal: s.failed.Load(), AttemptsTotal: s.attempts.Load()}
}

func (s *Service) poke() {
	select {
	case s.kick <- struct{}{}:
	default: // it will look anyway
	}
}

// relay hands due deliveries on: to the work queue, or to the workers here.
func (s *Service) relay(ctx context.Context) {
	var queue *workQueue
	var tried time.Time
	defer func() { queue.stop() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if queue == nil && s.o.NATS != nil && time.Since(tried) > natsRetry {
			tried = time.Now()
			var err error
			if queue, err = s.openQueue(ctx); err != nil {
				s.o.Log.Warn("notify: no work queue; this server delivers alone", "error", err)
			}
		}
		wait := min(s.remind(ctx), s.wake(ctx))
		timer.Reset(min(wait, s.handOn(ctx, queue)))
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-timer.C:
		}
	}
}

// remind tells leads whose next update is due and returns when to look again.
func (s *Service) remind(ctx context.Context) time.Duration {
	next, err := s.o.Store.RemindDue(ctx)
	if err != nil && ctx.Err() == nil {
		s.o.Log.Error("notify: remind of updates", "error", err)
	}
	if next == 0 {
		return relayIdle
	}
	return min(max(time.Until(time.Unix(0, next)), 10*time.Millisecond), relayIdle)
}

// wake brings back what people put off in their inboxes and returns when to look
// again.
func (s *Service) wake(ctx context.Context) time.Duration {
	next, err := s.o.Store.WakeSnoozed(ctx)
	if err != nil && ctx.Err() == nil {
		s.o.Log.Error("notify: wake inbox items", "error", err)
	}
	if next == 0 {
		return relayIdle
	}
	return min(max(time.Until(time.Unix(0, next)), 10*time.Millisecond), relayIdle)
}

// handOn hands on what is due and returns when to look again.
func (s *Service) handOn(ctx context.Context, queue *workQueue) time.Duration {
	ids, next, err := s.o.Store.DueDeliveries(ctx, relayBatch)
	if err != nil {
		if ctx.Err() == nil {
			s.o.Log.Error("notify: read outbox", "error", err)
		}
		return relayIdle
	}
	for _, id := range ids {
		if !s.claim(id) {
			continue
		}
		if queue != nil {
			err := queue.publish(ctx, id)
			if err == nil {
				continue
			}
			s.o.Log.Warn("notify: the work queue does not answer; this server delivers alone", "error", err)
			queue = nil // for this round
		}
		select {
		case s.work <- job{id: id}:
		case <-ctx.Done():
			return relayIdle
		}
	}
	if next > 0 {
		return min(max(time.Until(time.Unix(0, next)), 10*time.Millisecond), relayIdle)
	}
	return relayIdle
}

// claim reports whether a delivery is not handed on already, and notes that it
// is now.
func (s *Service) claim(id collab.DeliveryID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for k, until := range s.handed {
		if now.After(until) {
			delete(s.handed, k)
		}
	}
	if _, have := s.handed[id]; have {
		return false
	}
	s.handed[id] = now.Add(handedFor)
	return true
}

func (s *Service) release(id collab.DeliveryID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.handed, id)
}

// workQueue is the JetStream stream and this server's share of it.
type workQueue struct {
	js      jetstream.JetStream
	consume jetstream.ConsumeContext
}

func (s *Service) openQueue(ctx context.Context) (*workQueue, error) {
	setup, cancel := context.WithTimeout(ctx, 2*natsTimeout)
	defer cancel()
	js, err := jetstream.New(s.o.NATS)
	if err != nil {
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	stream, err := js.CreateOrUpdateStream(setup, jetstream.StreamConfig{Name: streamName, Subjects: []string{streamSubject},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, MaxAge: time.Hour, MaxMsgs: 100_000,
		Description: "ids of notifications that are due; the outbox has them all"})
	if err != nil {
		return nil, fmt.Errorf("make stream %s: %w", streamName, err)
	}
	consumer, err := stream.CreateOrUpdateConsumer(setup, jetstream.ConsumerConfig{Durable: consumerName,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: 1_000})
	if err != nil {
		return nil, fmt.Errorf("make consumer %s: %w", consumerName, err)
	}
	q := &workQueue{js: js}
	q.consume, err = consumer.Consume(func(m jetstream.Msg) { s.take(ctx, m) }, jetstream.PullMaxMessages(2*workers))
	if err != nil {
		return nil, fmt.Errorf("consume %s: %w", streamName, err)
	}
	return q, nil
}

// take brings a message of the queue to a worker.
func (s *Service) take(ctx context.Context, m jetstream.Msg) {
	ack := func() {
		if err := m.Ack(); err != nil {
			s.o.Log.Debug("notify: ack; it comes again and will find nothing to do", "error", err)
		}
	}
	select {
	case s.work <- job{collab.DeliveryID(m.Data()), ack}:
	case <-ctx.Done(): // the queue gives it to another server, or to this one later
	}
}

func (q *workQueue) publish(ctx context.Context, id collab.DeliveryID) error {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	_, err := q.js.Publish(ctx, streamSubject, []byte(id), jetstream.WithRetryAttempts(0))
	return err
}

func (q *workQueue) stop() {
	if q != nil {
		q.consume.Stop()
	}
}

func (s *Service) deliverAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.work:
			if err := s.deliver(ctx, j.id); err != nil {
				s.o.Log.Error("notify: deliver", "delivery", j.id, "error", err)
			}
			if j.ack != nil {
				j.ack()
			}
			s.release(j.id)
			s.poke() // for the time of its next try
		}
	}
}

// deliver makes one attempt, if the delivery is still due and nobody has it.
func (s *Service) deliver(ctx context.Context, id collab.DeliveryID) error {
	// An attempt that has begun is finished also while the server stops.
	ctx = context.WithoutCancel(ctx)
	d, err := s.o.Store.LeaseDelivery(ctx, id, lease)
	if errors.Is(err, collab.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s.attempts.Add(1)
	a := collab.Attempt{Number: d.Attempts, AtUnixNano: time.Now().UnixNano()}
	start := time.Now()
	result := s.send(ctx, d)
	a.DurationNano = int64(time.Since(start))
	a.Status, a.Response, a.Error = result.status, result.response, result.problem
	state := collab.DeliveryDelivered
	switch {
	case result.ok:
		s.delivered.Add(1)
	case result.final || d.Attempts > len(s.o.Backoff):
		state = collab.DeliveryFailed
		s.failed.Add(1)
		s.o.Log.Warn("notification failed", "target", d.TargetID, "status", a.Status, "attempts", d.Attempts)
	default:
		state = collab.DeliveryPending
		wait := max(jitter(s.o.Backoff[d.Attempts-1]), result.retryAfter)
		a.NextUnixNano = time.Now().Add(wait).UnixNano()
	}
	return s.o.Store.FinishAttempt(ctx, id, a, state)
}

// jitter adds up to a tenth, so that what failed together does not come back
// together.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/10+1))
}

// outcome is how an attempt ended.
type outcome struct {
	ok, final  bool // final: trying again is of no use
	status     int
	response   string
	problem    string
	retryAfter time.Duration
}

// maxRetryAfter bounds how long a receiver can put us off.
const maxRetryAfter = 24 * time.Hour

func (s *Service) send(ctx context.Context, d *collab.Delivery) outcome {
	body, err := slackPayload(d.Notice, s.base(ctx))
	if err != nil {
		return outcome{final: true, problem: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(body))
	if err != nil {
		return outcome{final: true, problem: "the address of the target cannot be used"}
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "redthread")
	res, err := s.client.Do(req)
	if err != nil {
		return outcome{final: isRefused(err), problem: withoutURL(err)}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxResponseBytes))
	out := outcome{status: res.StatusCode, response: strings.ToValidUTF8(strings.ReplaceAll(string(text), "\x00", ""), "\uFFFD")}
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		out.ok = true
	case err != nil:
		out.problem = "the answer broke off"
	case res.StatusCode >= 300 && res.StatusCode < 400:
		out.final, out.problem = true, fmt.Sprintf("HTTP %d: a redirect, which is not followed", res.StatusCode)
	default:
		out.problem = fmt.Sprintf("HTTP %d", res.StatusCode)
		out.final = res.StatusCode < 500 && res.StatusCode != http.StatusRequestTimeout &&
			res.StatusCode != http.StatusTooEarly && res.StatusCode != http.StatusTooManyRequests
		out.retryAfter = retryAfter(res.Header.Get("Retry-After"))
	}
	return out
}

func retryAfter(v string) time.Duration {
	if secs, err := strconv.Atoi(strings.TrimSpace(v)); err == nil && secs > 0 {
		return min(time.Duration(secs)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}

// withoutURL is the text of an error without the target's address, which is a
// secret.
func withoutURL(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return "no answer within " + sendTimeout.String()
		}
		err = u.Err
	}
	return err.Error()
}

// base is the address of this server for links, "" if it is not known.
func (s *Service) base(ctx context.Context) string {
	if s.o.PublicURL != "" {
		return strings.TrimSuffix(s.o.PublicURL, "/")
	}
	stored, err := s.o.Store.Setting(ctx, collab.SettingPublicURL)
	if err != nil {
		return "" // not known yet: a message without a link is better than none
	}
	return strings.TrimSuffix(stored, "/")
}
