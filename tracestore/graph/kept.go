package graph

import (
	"bytes"
	"math"
	"slices"

	"redthread/tracestore/trace"
)

// DefaultKept are the attributes that summaries keep unless the settings say
// otherwise: whose request it was, and its id, under the names that these have.
func DefaultKept() []string { return slices.Concat(UserKeys(), RequestIDKeys()) }

// UserKeys are the attributes that name whose request it was, the standard ones
// first.
func UserKeys() []string {
	return []string{"user.id", "enduser.id", "app.user_id", "user_id", "usr.id"}
}

// RequestIDKeys are the attributes that name a request.
func RequestIDKeys() []string { return slices.Clone(fieldKeys[fieldRequestID]) }

// classKeys are the attributes that name the class of a job, those that shapeOf reads.
var classKeys = []string{"messaging.sidekiq.job_class", "messaging.resque.job_class", "bullmq.job.name", "job.class", "sidekiq.job.class",
	"celery.task_name", "messaging.active_job.job_class", "messaging.delayed_job.name", "messaging.oban.worker", "oban.job.worker"}

// ClassKeys are the attributes that name the class of a job. Whatever the settings keep,
// the summary of a trace that is the run of a job keeps the first of them that its span
// has, if the name of the span is another: that of the queue, say.
func ClassKeys() []string { return slices.Clone(classKeys) }

// Class is the class of the job that the trace is a run of, "" if it is none, does not
// say, or is called by its class.
func (sum *Summary) Class() string {
	if i := sum.classAt(); i >= 0 {
		return sum.Kept[i].Value.Str
	}
	return ""
}

// OnlyClass is what is kept of a trace whose requester is to be asked of another.
func (sum *Summary) OnlyClass() []trace.Attribute {
	if i := sum.classAt(); i >= 0 {
		return sum.Kept[i : i+1 : i+1]
	}
	return nil
}

func (sum *Summary) classAt() int {
	if !sum.Run {
		return -1
	}
	return slices.IndexFunc(sum.Kept, func(a trace.Attribute) bool { return slices.Contains(classKeys, a.Key) })
}

// MaxKeptBytes bounds a value that a summary keeps. Longer ones are no ids.
const MaxKeptBytes = 128

// Keep returns an attribute's value as summaries keep it, text; false: not at all.
func Keep(v trace.Value) (trace.Value, bool) {
	text := v.Text()
	return trace.String(text), text != "" && len(text) <= MaxKeptBytes
}

// Counts reports whether a row is a span that summaries count: no log record, and
// no note on another span.
func Counts(s *trace.Span) bool { return s.Signal == trace.SignalSpan && !annotation(s) }

// Summing is a summary to which spans are added; its zero value has none.
type Summing struct {
	Summary
	received []Received
	own      int         // how many of Kept are of SpanID
	below    []keptBelow // what else may be kept
}

// Add joins a span of the trace to the summary. The order does not matter. The
// summary keeps strings of the span. runs are those of all spans that are added to
// the summaries of their traces.
func (sum *Summing) Add(s *trace.Span, kept []string, runs *Runs) {
	jobRun, caused := Receipt(s)
	if (jobRun || caused) && len(sum.received) <= MaxReceived {
		sum.received = append(sum.received, receivedOf(s, jobRun))
	}
	root := s.ParentID.IsZero() || s.ParentID == s.SpanID
	better := sum.Spans == 0 || root && !sum.Root || root == sum.Root && (s.StartUnixNano < sum.RootStartUnixNano ||
		s.StartUnixNano == sum.RootStartUnixNano && bytes.Compare(s.SpanID[:], sum.SpanID[:]) < 0)
	if sum.Spans == 0 {
		sum.TraceID, sum.StartUnixNano = s.TraceID, s.StartUnixNano
	}
	end := max(sum.StartUnixNano+sum.DurationNano, s.EndUnixNano())
	sum.StartUnixNano = min(sum.StartUnixNano, s.StartUnixNano)
	sum.DurationNano = max(0, end-sum.StartUnixNano)
	sum.Spans++
	if s.Error {
		sum.Errors++
	}
	switch s.Kind {
	case trace.KindProducer:
		sum.Messages++
	case trace.KindServer:
		sum.Requests++
	}
	if jobRun {
		sum.Jobs += runs.Add(s)
	}
	for _, key := range kept {
		if v, ok := s.Attribute(key); ok {
			sum.keepBelow(s, key, v)
		}
	}
	if !better {
		return
	}
	route, _ := s.Attribute("http.route")
	sum.SpanID, sum.Root, sum.Service, sum.Name, sum.Kind, sum.Environment = s.SpanID, root, s.Service, s.Name, s.Kind, s.Environment
	sum.Route, sum.RootStartUnixNano, sum.Caused, sum.Run, sum.Kept = route.Text(), s.StartUnixNano, caused, jobRun, nil
	for _, key := range kept {
		if v, ok := s.Attribute(key); ok {
			if v, ok := Keep(v); ok {
				sum.Kept = append(sum.Kept, trace.Attribute{Key: key, Value: v})
			}
		}
	}
	for _, key := range classKeys {
		if !jobRun || sum.classAt() >= 0 {
			break
		}
		if v, ok := s.Attribute(key); ok {
			if v, ok := Keep(v); ok && v.Str != s.Name {
				sum.Kept = append(sum.Kept, trace.Attribute{Key: key, Value: v})
			}
		}
	}
	sum.own = len(sum.Kept)
}

// keptBelow is an attribute of the first span of a service that has it.
type keptBelow struct {
	trace.Attribute
	service string
	start   int64
	span    trace.SpanID
}

// keepBelow notes what a span, whichever it is, says that may be kept of the trace.
func (sum *Summing) keepBelow(s *trace.Span, key string, v trace.Value) {
	v, ok := Keep(v)
	if !ok {
		return
	}
	at := slices.IndexFunc(sum.below, func(k keptBelow) bool { return k.Key == key && k.service == s.Service })
	if at < 0 {
		at = len(sum.below)
		sum.below = append(sum.below, keptBelow{start: math.MaxInt64, service: s.Service})
	}
	k := &sum.below[at]
	if s.StartUnixNano < k.start || s.StartUnixNano == k.start && bytes.Compare(s.SpanID[:], k.span[:]) < 0 {
		k.Attribute, k.start, k.span = trace.Attribute{Key: key, Value: v}, s.StartUnixNano, s.SpanID
	}
}

// Settle is to be called when spans were added: what the span that stands for the
// trace does not say is taken from others. causes are the halves on the effect side of
// the trace; they are looked at only if [Summing.Receives].
func (sum *Summing) Settle(causes []Half) {
	sum.Batch = sum.Receives() && sum.IsBatch(sum.received, causes)
	sum.Kept = slices.Clip(sum.Kept[:sum.own])
	for i := range sum.below {
		if k := &sum.below[i]; k.service == sum.Service {
			sum.KeepMore(k.Attribute)
		}
	}
}

// Receives reports whether the trace may be that of a batch.
func (sum *Summing) Receives() bool {
	return sum.Caused && len(sum.received) > 1 && len(sum.received) <= MaxReceived
}

// KeepMore takes an attribute of another span of the service, unless something
// caused the trace, whose requester is to be asked then, or it is kept already.
func (sum *Summary) KeepMore(a trace.Attribute) {
	if !sum.Caused && !sum.Keeps(a.Key) {
		sum.Kept = append(sum.Kept, a)
	}
}

// Keeps reports whether the summary has a kept attribute.
func (sum *Summary) Keeps(key string) bool {
	return slices.ContainsFunc(sum.Kept, func(a trace.Attribute) bool { return a.Key == key })
}
