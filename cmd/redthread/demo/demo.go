// Package demo is a living car marketplace that sends real telemetry: two
// countries with Rails-like web applications, an API for quotes, a Go service for
// dealers, Kafka consumers and job workers. It speaks only OTLP over HTTP and
// records what the real instrumentations record (DESIGN.md §6): consumers that
// join by parent, by link in a new trace and in batches, jobs that are traces of
// their own with one link, retries, schedules.
//
// A story is built in. Some minutes before the demo starts, build [slowBuild] of
// quotes-api goes out to a part of the machines: for one dealer it makes quotes
// so slow that some time out. And one price update of the same dealer sets off a
// job that pushes itself again, hundreds of times. [Story] names the traces.
//
// The traffic is deterministic: the same seed and start make the same spans. All
// that an action sets off is made at once, ahead of time, and each span is sent
// when it has ended.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

const (
	defaultRate     = 2.0 // actions a second
	maxRate         = 500
	defaultBackfill = time.Hour
	sendEvery       = 500 * time.Millisecond
	// makeStep is how much time is made before it is sent: it bounds what waits
	// in memory at the start, and after a laptop has slept.
	makeStep   = time.Minute
	batchSpans = 4000
)

// Options configure the demo. URL has to be there.
type Options struct {
	URL      string        // address of the server; /v1/traces is appended
	Key      string        // ingest key, where the server wants one
	Rate     float64       // actions of people a second; default 2, at most 500
	Seed     uint64        // default 1
	Backfill time.Duration // past to make at the start; default one hour

	Client *http.Client
	Logger *slog.Logger
	Now    func() time.Time
	// Wait pauses; tests replace it together with Now.
	Wait func(ctx context.Context, d time.Duration) error
	// OnStory is called once, when the server has taken the spans of the story.
	OnStory func(Story)
}

// Story names the traces in which the incident is to be seen.
type Story struct {
	Began  time.Time // the slow build went out
	Build  string    // service.version of quotes-api
	Dealer string    // dealer.id

	SlowQuote    trace.Ref // root of a quote that the incident made slow
	SlowServer   trace.Ref // its request to quotes-api
	SlowUser     string    // user.id
	HealthyQuote trace.Ref // root of a quote of the same minutes, for comparison

	RippleOrigin trace.Ref // the price update that set off hundreds of jobs
	RippleUser   string
	RippleJobs   int // jobs that pushed themselves again
}

// Complete reports whether every trace of the story was made.
func (s Story) Complete() bool {
	none := trace.Ref{}
	return s.SlowQuote != none && s.HealthyQuote != none && s.RippleOrigin != none
}

// Stats count what was sent.
type Stats struct{ SpansTotal, RequestsTotal int64 }

// Run sends traffic until ctx is done: first the past, as fast as the server
// takes it, then the present. It returns nil when ctx is done, and an error when
// the server refuses the spans for good. A server that is busy or away is tried
// again.
func Run(ctx context.Context, o Options) error {
	r, err := newRunner(o)
	if err != nil {
		return err
	}
	err = r.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// CheckRate returns an error for a rate that [Run] would not take.
func CheckRate(rate float64) error {
	if !(rate > 0 && rate <= maxRate) { // this way round, NaN fails too
		return fmt.Errorf("want more than 0 and at most %d actions a second, got %g", maxRate, rate)
	}
	return nil
}

type runner struct {
	o     Options
	world *world
	stats Stats
}

func newRunner(o Options) (*runner, error) {
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if err := CheckRate(o.Rate); err != nil {
		return nil, fmt.Errorf("demo: rate: %w", err)
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Backfill == 0 {
		o.Backfill = defaultBackfill
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 30 * time.Second}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	now := o.Now()
	return &runner{o: o, world: newWorld(o.Seed, o.Rate, now.Add(-o.Backfill), now)}, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run sends until something stops it, and returns what.
func (r *runner) run(ctx context.Context) error {
	began := r.o.Now()
	if err := r.sendUntil(ctx, began.UnixNano()); err != nil {
		return err
	}
	r.o.Logger.Info("the demo has filled the past", "spans", r.stats.SpansTotal, "span_of_time", r.o.Backfill, "took", r.o.Now().Sub(began))
	told := false
	for {
		if r.o.OnStory != nil && !told && r.world.story.Complete() {
			told = true
			r.o.OnStory(r.world.story)
		}
		if err := r.o.Wait(ctx, sendEvery); err != nil {
			return err
		}
		if err := r.sendUntil(ctx, r.o.Now().UnixNano()); err != nil {
			return err
		}
	}
}

// sendUntil makes and sends all that has ended by the time, step by step.
func (r *runner) sendUntil(ctx context.Context, by int64) error {
	for r.world.clock < by {
		r.world.advance(min(by, r.world.clock+int64(makeStep)))
		for {
			spans := r.world.due(r.world.clock, batchSpans)
			if len(spans) == 0 {
				break
			}
			if err := r.send(ctx, encode(spans)); err != nil {
				return err
			}
			r.stats.SpansTotal += int64(len(spans))
		}
	}
	return nil
}

// encode makes one request: the spans of each process and library together, as
// exporters send them.
func encode(spans []*record) []byte {
	type group struct {
		process *process
		scope   scope
		spans   []trace.Span
	}
	groups := map[string]*group{}
	var order []string
	for _, s := range spans {
		key := s.process.key() + "\x00" + s.scope.name
		g := groups[key]
		if g == nil {
			g = &group{process: s.process, scope: s.scope}
			groups[key] = g
			order = append(order, key)
		}
		g.spans = append(g.spans, s.Span)
	}
	slices.Sort(order)
	var body []byte
	for _, key := range order {
		g := groups[key]
		body = otlp.AppendResourceSpans(body, g.process.resource, g.scope.name, g.scope.version, g.spans)
	}
	return body
}

// send posts a request, again and again while the server is busy or away.
func (r *runner) send(ctx context.Context, body []byte) error {
	pause := 250 * time.Millisecond
	for {
		retry, err := r.post(ctx, body)
		if err == nil {
			r.stats.RequestsTotal++
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if retry < 0 {
			return err
		}
		r.o.Logger.Warn("the demo could not send; it tries again", "error", err)
		if err := r.o.Wait(ctx, max(retry, pause)); err != nil {
			return err
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// post sends once. retry is the least wait before the next try, negative if that
// is of no use.
func (r *runner) post(ctx context.Context, body []byte) (retry time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.o.URL+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		return -1, fmt.Errorf("demo: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "redthread-demo")
	if r.o.Key != "" {
		req.Header.Set("x-redthread-key", r.o.Key)
	}
	res, err := r.o.Client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("demo: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	switch {
	case err != nil:
		return 0, fmt.Errorf("demo: read answer: %w", err)
	case res.StatusCode == http.StatusOK && len(answer) > 0:
		return -1, errors.New("demo: the server rejected some of the spans")
	case res.StatusCode == http.StatusOK:
		return 0, nil
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode >= 500:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		retry = time.Duration(seconds) * time.Second
	default:
		retry = -1
	}
	return retry, fmt.Errorf("demo: the server answered %s", res.Status)
}
