package handlers

import (
	"context"
	"fmt"
	"time"

	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// maxDueSample is of how many runs their spans are read for when they were due: some
// tens of microseconds each.
const maxDueSample = 200

// dueTimes are when a run was made and when it was due, as its own span says. Made is
// 0 where the span does not say it.
type dueTimes struct {
	made, due int64  // nanoseconds since the epoch
	by        string // the event or attribute that says due
}

// scheduledKeys are the attributes that tell when a job was asked to begin: those of
// OpenTelemetry Ruby for ActiveJob, new and old, in seconds since the epoch; dd-trace's
// and Celery's are text.
var scheduledKeys = []string{"rails.active_job.scheduled_at", "messaging.active_job.scheduled_at", "active_job.job.scheduled_at", "celery.eta"}

// scheduledLayouts are those of Ruby's Time#to_s and of Python's isoformat, which has
// no zone in UTC.
var scheduledLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST", "2006-01-02T15:04:05.999999"}

// dueOf reads when a run was due. Sidekiq (opentelemetry-ruby-contrib) adds the events
// created_at and enqueued_at, which is when the job was put into its queue: later than
// created_at by the delay that was asked for or the pause before a retry. Delayed Job
// adds created_at and run_at.
func dueOf(s *trace.Span) (dueTimes, bool) {
	var t dueTimes
	for i := range s.Events {
		switch e := &s.Events[i]; e.Name {
		case "created_at":
			t.made = e.TimeUnixNano
		case "enqueued_at", "run_at":
			t.due, t.by = e.TimeUnixNano, e.Name
		}
	}
	for i := range s.Attributes {
		if t.due > 0 {
			break
		}
		for _, key := range scheduledKeys {
			if s.Attributes[i].Key == key {
				t.due, t.by = scheduledAt(&s.Attributes[i].Value), key
			}
		}
	}
	if !near(t.made, t.due) {
		t.made = 0
	}
	return t, t.due > 0 && near(t.due, s.StartUnixNano)
}

// near reports whether the time between two is one to believe: what a clock says that
// is years off is no wait.
func near(a, b int64) bool {
	const believed = 366 * 24 * time.Hour
	d := time.Unix(0, a).Sub(time.Unix(0, b)) // it does not overflow
	return d < believed && d > -believed
}

func scheduledAt(v *trace.Value) int64 {
	switch v.Type {
	case trace.TypeFloat:
		if f := v.Float(); f > 0 && f < 9e9 {
			return int64(f*1e6) * 1e3 // a float has no nanoseconds of a date
		}
	case trace.TypeInt:
		if n := int64(v.Num); n > 0 && n < 9e9 {
			return n * 1e9
		}
	case trace.TypeString:
		for _, layout := range scheduledLayouts {
			if at, err := time.Parse(layout, v.Str); err == nil && at.Unix() > 0 && at.Unix() < 9e9 {
				return at.UnixNano()
			}
		}
	}
	return 0
}

// dueWaits part the waits of some runs into the delay that was asked for and the time
// in the queue.
type dueWaits struct {
	sampled       int
	queued, asked []float64 // milliseconds; asked of those that say when they were made
	by            []string  // what says it
}

// dueWaits looks at some of the runs that pass the filters.
func (w *work) dueWaits(ctx context.Context, st exploreState) (*dueWaits, error) {
	search := st.search()
	search.Limit = maxDueSample
	sample, err := w.spans.Sample(ctx, search)
	if err != nil {
		return nil, err
	}
	refs := make([]trace.Ref, len(sample.Spans))
	for i := range refs {
		refs[i] = sample.Spans[i].Ref
	}
	spans, err := w.spans.SpansOf(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("spans of %d runs: %w", len(refs), err)
	}
	d := &dueWaits{sampled: len(refs)}
	seen, said := map[trace.Ref]bool{}, map[string]bool{}
	for i := range spans {
		s := &spans[i]
		ref := trace.Ref{TraceID: s.TraceID, SpanID: s.SpanID}
		t, ok := dueOf(s)
		if !ok || seen[ref] {
			continue
		}
		seen[ref] = true
		if !said[t.by] {
			said[t.by] = true
			d.by = append(d.by, t.by)
		}
		d.queued = append(d.queued, float64(max(0, s.StartUnixNano-t.due))/1e6)
		if t.made > 0 {
			d.asked = append(d.asked, float64(max(0, t.due-t.made))/1e6)
		}
	}
	return d, nil
}

// spreadOfAll is the spread of some numbers, nil of none.
func spreadOfAll(list []float64) *spread {
	if len(list) == 0 {
		return nil
	}
	return &spread{*quantileOf(list, 0.5), *quantileOf(list, 0.95), *quantileOf(list, 0.99)}
}

// rows are the waits as the page shows them.
func (d *dueWaits) rows(what string) (list []views.WorkWait) {
	of := func(n int) string {
		if n == d.sampled {
			return "from " + ui.Count(n) + " " + what + " looked at"
		}
		return "from " + ui.Count(n) + " of " + ui.Count(d.sampled) + " " + what + " looked at"
	}
	if len(d.queued) == 0 {
		return nil
	}
	list = append(list, views.WorkWait{Spread: spreadText(spreadOfAll(d.queued)), How: "in its queue: from when it was due, by " + wordList(d.by) + ", to its start", Of: of(len(d.queued))})
	if len(d.asked) > 0 {
		list = append(list, views.WorkWait{Spread: spreadText(spreadOfAll(d.asked)), How: "before that: the delay that was asked for, or the pause before a retry, from created_at on", Of: of(len(d.asked))})
	}
	return list
}
