package graph

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// rule finds halves of one sort in a span.
type rule struct {
	name  string
	kind  Kind
	needs fields // any of these must be there; the rules of links and events need none
	offer func(f *facts)
	// source says who records so, and where that is written or was seen.
	source string
}

// The rules that join a cause and its effect, as edges name them. These are the
// ones that need more than one span; ruleTable has the others.
const (
	RuleParentID   = "parent_id"  // the effect names its cause as parent
	RuleSpanLink   = "span_link"  // the effect carries a link to its cause
	RuleBatch      = "batch_poll" // work under the receipt of a batch, caused by the batch's messages
	RuleSharedRoot = "trace_root" // the parent never arrived; the root of the same trace stands for it
)

// ruleTable has what a span alone tells of its edges. Two kinds need no half:
// parents, which stand in the trace itself, and batches, which are read from
// the links of the messages under their receipt.
var ruleTable = [ruleCount]rule{
	bySpanLink: {name: RuleSpanLink, kind: KindLink, offer: offerSpanLinks,
		source: "OTLP Span.links. OpenTelemetry Ruby for Sidekiq, ActiveJob, Resque and Que by default, kafkajs batches, rdkafka, racecar, ruby-kafka, Bunny"},
	byLinkEvent: {name: "link_event", kind: KindLink, needs: hasAnnotation | hasLinkTrace, offer: offerLinkEvent,
		source: "Honeycomb, 'Link spans manually': an event with meta.annotation_type=link, trace.link.trace_id and trace.link.span_id. carwow/honeykiq, tracing mode :link"},
	byDatadogLinks: {name: "dd_span_links", kind: KindLink, needs: hasDatadogLinks, offer: offerDatadogLinks,
		source: "dd-trace: JSON in the meta tag _dd.span_links, on every span of the chunk, cut at 25,000 characters with '...' (dd-trace-js, span_format)"},
	byChildTrace: {name: "child_trace", kind: KindChildTrace, needs: hasParentTrace | hasParentRef, offer: offerChildTrace,
		source: "carwow/honeykiq, tracing mode :child_trace: the code writes parent.trace_id, the README says trace.parent_id"},
	byMessageID: {name: "message_id", kind: KindMessageID, needs: hasMessageID, offer: offerMessageID,
		source: "OpenTelemetry messaging conventions: messaging.message.id, before 1.17 messaging.message_id; the Ruby job instrumentations put the job id there, Delayed Job nothing else"},
	byJobID: {name: "job_id", kind: KindMessageID, needs: hasJobID, offer: offerJobID,
		source: "BullMQ (bullmq-otel), dd-trace for Sidekiq, Que, Delayed Job and ActiveJob, honeykiq job.id"},
	byQueueID: {name: "queue_id", kind: KindMessageID,
		source: "the ids of the two rules before, where they are small numbers or names, within their queue: BullMQ, Delayed Job, Que"},
	byKafkaOffset: {name: "kafka_offset", kind: KindMessageID, needs: hasOffset, offer: offerKafkaOffset,
		source: "OpenTelemetry Java and Go record the offset on the producer too once the broker has answered: topic, partition and offset are the message"},
	byKafkaKey: {name: "kafka_key", kind: KindMessageID, needs: hasKafkaKey, offer: offerKafkaKey,
		source: "messaging.kafka.message.key, before 1.17 messaging.kafka.message_key, on both sides. A key often names a thing and not a message: it counts only while one single send has it"},
	byRouter: {name: "router_request_id", kind: KindRequestID, needs: hasRequestID, offer: offerRequestID,
		source: "Heroku router, devcenter.heroku.com/articles/http-request-id; its log line has request_id, fwd and dyno"},
	byRequestID: {name: "request_id", kind: KindRequestID,
		source: "the other ends of router_request_id: roots of requests, and of jobs that were handed the id of their request"},
	byBareOffset: {name: "kafka_offset", kind: KindMessageID,
		source: "the same where spans do not name the cluster: another may have the topic too, so that it counts only while each service handled it once"},
	byMessageNumber: {name: "queue_id", kind: KindMessageID,
		source: "the same of messages, which several services may receive"},
	byReceipt: {name: "receipt", kind: KindMessageID, offer: offerReceipt,
		source: "the ids of a job's run that has a parent, or no id of a message that has one: they count where the parent turns out to be a loop"},
	byCorrelation: {name: "attribute", kind: KindAttribute, needs: hasCorrelated, offer: offerCorrelations,
		source: "Settings: attributes that mean the same message, job or request"},
}

// Meaning is what the values of correlated attributes name.
type Meaning string

// The meanings.
const (
	MeansMessage Meaning = "message"
	MeansJob     Meaning = "job"
	MeansRequest Meaning = "request"
	MeansTrace   Meaning = "trace" // the value is the trace id, or the W3C traceparent, of the cause
)

// Correlation says that attributes of two spans mean the same message, job or
// request, so that the one caused the other. Messages and jobs are joined within one
// environment.
type Correlation struct {
	Name    string   `json:"name"`
	Means   Meaning  `json:"means"`
	Cause   []string `json:"cause"`  // the attribute on the sending side, under any of these names; none if it means a trace
	Effect  []string `json:"effect"` // on the receiving side; may be the same
	Scope   []string `json:"scope"`  // attributes that must be equal too, if values are unique only within a queue or a topic
	pattern string
}

// Check reports what is wrong with a correlation, as a sentence.
func (c *Correlation) Check() error {
	empty := func(s string) bool { return strings.TrimSpace(s) == "" }
	switch {
	case empty(c.Name):
		return errors.New("give the correlation a name")
	case !slices.Contains([]Meaning{MeansMessage, MeansJob, MeansRequest, MeansTrace}, c.Means):
		return fmt.Errorf("%q is none of message, job, request and trace", c.Means)
	case c.Means != MeansTrace && len(c.Cause) == 0:
		return errors.New("name an attribute of the cause")
	case len(c.Effect) == 0:
		return errors.New("name an attribute of the effect")
	case slices.ContainsFunc(c.Cause, empty), slices.ContainsFunc(c.Effect, empty), slices.ContainsFunc(c.Scope, empty):
		return errors.New("an attribute has no name")
	}
	return nil
}

// Rules finds the halves of spans. It may be used by several goroutines.
type Rules struct {
	fields map[string]field
	// lengths has, by keyByte, a bit for each length modulo 64 that a known key
	// has: nearly all keys are refused by it.
	lengths      [256]uint64
	correlations []Correlation
	scopes       map[string]bool // the keys of their scopes
}

// defaultRules are the rules without configured correlations.
var defaultRules = func() *Rules {
	r, err := NewRules()
	if err != nil {
		panic(err) // there is nothing to be wrong
	}
	return r
}()

// DefaultRules returns the rules without configured correlations.
func DefaultRules() *Rules { return defaultRules }

// NewRules returns the rules, with correlations beside the known attributes.
func NewRules(correlations ...Correlation) (*Rules, error) {
	r := &Rules{fields: map[string]field{}, scopes: map[string]bool{}}
	add := func(key string, f field) {
		if _, taken := r.fields[key]; taken && f == fieldCorrelated {
			f = r.fields[key] | alsoCorrelated
		}
		r.fields[key] = f
		r.lengths[keyByte(key)] |= 1 << (len(key) & 63)
	}
	for f, keys := range fieldKeys {
		for _, key := range keys {
			add(key, field(f))
		}
	}
	for _, c := range correlations {
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("correlation %q: %w", c.Name, err)
		}
		c.pattern = "attribute " + c.Name
		r.correlations = append(r.correlations, c)
		for _, key := range c.Scope {
			r.scopes[key] = true
		}
		for _, key := range slices.Concat(c.Cause, c.Effect) {
			add(key, fieldCorrelated)
		}
	}
	return r, nil
}

// starters are the fields without which no rule has anything to offer.
var starters = func() (out fields) {
	for i := range ruleTable {
		out |= ruleTable[i].needs
	}
	return out
}()

var factsPool = sync.Pool{New: func() any { return new(facts) }}

// Halves appends to dst the ends of edges that a span offers; nearly all spans
// offer none. It keeps nothing of the span. The halves depend on nothing else
// than the span, so that they can be found again wherever it is read.
func (r *Rules) Halves(dst []Half, s *trace.Span) []Half {
	if len(s.Links) == 0 && !receivedBelow(s) && !r.starts(s.Attributes) && !slices.ContainsFunc(s.Events, func(e trace.Event) bool { return r.starts(e.Attributes) }) {
		return dst
	}
	f := factsPool.Get().(*facts)
	f.read(r, s.Attributes)
	f.rules, f.span, f.out, f.from = r, s, dst, len(dst)
	if s.Signal == trace.SignalSpan {
		for i := range ruleTable {
			if t := &ruleTable[i]; t.offer != nil && (t.needs == 0 || t.needs&f.has != 0) {
				t.offer(f)
			}
		}
		f.offerEvents()
	} else if f.has&hasAnnotation != 0 {
		offerLinkEvent(f) // a log record, as which Honeycomb's links may come
	}
	f.several()
	dst = f.out
	*f = facts{}
	factsPool.Put(f)
	return dst
}

// The marks of keys.
const (
	markEdge   column.Marks = 1 << iota // says what caused the span, whatever the span is
	markID                              // an id that a cause and its effects have in common
	markRole                            // whoever has it may send or receive, whatever its kind
	markRouter                          // a router's
	markAside                           // meta.annotation_type
)

// Marks are what [Rules.MayOffer] wants to know of a key.
func (r *Rules) Marks(key string) (m column.Marks) {
	if key != "" && receiptLengths[keyByte(key)]>>(len(key)&63)&1 != 0 && receiptKeys[key] {
		m |= markRole
	}
	at, ok := r.field(key)
	if !ok {
		return m
	}
	if at&alsoCorrelated != 0 {
		m |= markEdge
	}
	switch at &^ alsoCorrelated {
	case fieldMessageID, fieldJobID, fieldOffset, fieldKafkaKey, fieldRequestID:
		m |= markID
	case fieldProcess, fieldForwarded, fieldDyno:
		m |= markRouter
	case fieldAnnotation:
		m |= markEdge | markAside
	case fieldLinkTrace, fieldDatadogLinks, fieldParentTrace, fieldParentRef, fieldCorrelated:
		m |= markEdge
	}
	return m
}

// Wants reports whether the graph reads an attribute of the key.
func (r *Rules) Wants(key string) bool {
	if key == "" {
		return false
	}
	_, ok := r.field(key)
	return ok || r.scopes[key] || shapeKeys[key] || scheduleKeys[key] || jobKey(key) || isProviderID(key)
}

// shapeKeys are those that shapeOf knows beside those with a prefix.
var shapeKeys = func() map[string]bool {
	out := map[string]bool{}
	for key := range receiptKeys {
		out[key] = true
	}
	for _, key := range []string{"messaging.destination.name", "messaging.destination", "messaging.source.name", "queue.name", "job.class", "messaging.oban.worker"} {
		out[key] = true
	}
	return out
}()

// MayOffer reports whether [Rules.Halves] may find anything in a span whose
// attributes, and whose events' attributes, have the marks. The span needs no
// attributes to be asked about. Most spans may not: many carry an id of their
// request or job and are neither sent nor received by it.
func (r *Rules) MayOffer(own, events column.Marks, s *trace.Span) bool {
	switch {
	case s.Signal != trace.SignalSpan:
		return own&markAside != 0
	case len(s.Links) > 0 || (own|events)&markEdge != 0 || receivedBelow(s):
		return true
	case (own|events)&markID == 0:
		return false
	case s.Kind == trace.KindProducer || s.Kind == trace.KindConsumer || own&markRouter != 0 || routerService(s.Service):
		return true
	case s.Kind == trace.KindServer:
		return s.ParentID.IsZero()
	}
	return own&markRole != 0 || enqueues(s)
}

// MayReceive reports whether [Receipt] may say anything of a span with the marks.
func MayReceive(own column.Marks, s *trace.Span) bool {
	switch s.Kind {
	case trace.KindConsumer:
		return true
	case trace.KindProducer:
		return own&markID != 0 && len(s.Events) > 0 && s.ParentID.IsZero()
	}
	return own&markRole != 0
}

// Aside reports whether a span with the marks is a note on its parent: no span
// that a summary counts.
func Aside(own column.Marks, s *trace.Span) bool { return own&markAside != 0 && annotation(s) }

// starts reports whether there is an attribute that a rule begins with.
func (r *Rules) starts(attributes []trace.Attribute) bool {
	for i := range attributes {
		if at, ok := r.field(attributes[i].Key); ok && (at&alsoCorrelated != 0 || starters>>at&1 != 0) {
			return true
		}
	}
	return false
}

// field returns the field of a key.
func (r *Rules) field(key string) (field, bool) {
	if key == "" || r.lengths[keyByte(key)]>>(len(key)&63)&1 == 0 {
		return 0, false
	}
	at, ok := r.fields[key]
	return at, ok
}

// keyByte mixes the first and last bytes of a key, which is not empty.
func keyByte(key string) byte { return key[0]*31 + key[len(key)-1] }
