package graph

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"redthread/tracestore/trace"
)

// linkCap is how many links the SDKs keep of a span unless they are told
// otherwise (OpenTelemetry specification, OTEL_SPAN_LINK_COUNT_LIMIT).
const linkCap = 128

// droppedLinks is how many links of a span its sender dropped, by what it says of
// that, or by the size of the batch and the links that are there: not every exporter
// sends the count. A span with one link that names its one message says the size of
// the batch in which that came.
func droppedLinks(s *trace.Span) int {
	said, _ := s.Attribute(keyDroppedLinks)
	if text := said.Text(); text == "" {
		// As of most spans: an error costs memory.
	} else if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	kept := len(s.Links)
	if kept == 0 {
		return 0
	}
	batch, _ := s.Attribute(keyBatchCount)
	n := batchCount(batch.Text())
	if n <= kept || kept == 1 && namesOneMessage(s) {
		return 0
	}
	return n - kept // by the sender, or messages that came without context
}

// namesOneMessage reports whether a span has the id or the offset of a single message.
func namesOneMessage(s *trace.Span) bool {
	for _, key := range [...]string{"messaging.message.id", "messaging.message_id", "messaging.kafka.offset", "messaging.kafka.message.offset", "messaging.kafka.message_offset"} {
		if v, ok := s.Attribute(key); ok && v.Text() != "" && v.Text()[0] != '[' {
			return true
		}
	}
	return false
}

// batchCount is how many messages a span says that it handles, 0 if it does not.
func batchCount(text string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return min(max(n, 0), maxIDs)
}

// saysDropped reports whether a span itself says that its sender dropped links.
func saysDropped(s *trace.Span) bool {
	said, _ := s.Attribute(keyDroppedLinks)
	return said.Int() > 0
}

// systems are names that instrumentations give to one and the same system.
var systems = map[string]string{
	"activejob": "active_job", "delayedjob": "delayed_job", "delayed-job": "delayed_job", "bull": "bullmq", "amazonsqs": "aws_sqs", "aws.sqs": "aws_sqs",
}

// offerMessageID offers the ids of the messages that a span sends or handles.
func offerMessageID(f *facts) { f.messageIDs(f.span, f.values[fieldMessageID]) }

// offerIDs offers message ids that stand in a link or an event of the span.
func (f *facts) offerIDs(attributes []trace.Attribute) {
	g := *f
	g.values[fieldMessageID], g.values[fieldJobID] = nil, nil
	g.read(f.rules, attributes)
	f.messageIDs(f.span, g.values[fieldMessageID])
}

func (f *facts) messageIDs(s *trace.Span, ids *trace.Value) {
	side := f.side()
	if side == 0 {
		return
	}
	system := strings.ToLower(f.text(fieldSystem))
	if same, ok := systems[system]; ok {
		system = same
	}
	each(ids, func(id string) { f.offerID(side, byMessageID, system, f.text(fieldDestination), id) })
}

// offerJobID offers the id of a job, which most queues make unique by itself
// and BullMQ only within the queue.
func offerJobID(f *facts) {
	side := f.side()
	if side == 0 {
		return
	}
	queue := f.text(fieldQueue)
	if queue == "" {
		queue = f.text(fieldDestination)
	}
	each(f.values[fieldJobID], func(id string) { f.offerID(side, byJobID, "", queue, id) })
}

// offerID offers one id of a message or job. One that is unique by itself is
// its own key, so that the sides need not agree on the name of a queue; any
// other counts within its queue, and only if there is one.
func (f *facts) offerID(side Side, by RuleID, system, queue, id string) {
	if o := opaque(id); placeholder(id) && f.text(fieldPartition) == "" {
		return
	} else if o != "" {
		if side == CauseSide && (f.span.ParentID.IsZero() || f.shape().has(again)) {
			// Nobody's message or job may be one that is sent again, as Sidekiq's
			// poller does when its time has come; of others of the id the first made it.
			side |= EffectSide
		}
		f.addKey(side, by, KeyOf("id", f.span.Environment, o))
	} else if queue != "" {
		if part := f.text(fieldPartition); part != "" {
			queue += "/" + part // a message id that is the offset: otelsarama
		}
		if by == byMessageID && !f.shape().has(isJob) {
			by = byMessageNumber
		} else {
			by = byQueueID
		}
		f.addKey(side, by, KeyOf("id", f.span.Environment, system, queue, id))
	}
}

// several marks the ids of a span that handles several messages and has no links: its
// causes are known only when all of them are found.
func (f *facts) several() {
	n := 0
	for _, h := range f.out[f.from:] {
		if h.recorded() {
			return
		}
		if h.namesMessage() {
			n++
		}
	}
	for i := f.from; n > 1 && i < len(f.out); i++ {
		if f.out[i].namesMessage() {
			f.out[i].Dropped = max(f.out[i].Dropped, int32(n))
		}
	}
}

// namesMessage reports whether an effect has the id of a message.
func (h *Half) namesMessage() bool {
	return h.Side&EffectSide != 0 && (h.Rule == byMessageID || h.Rule == byMessageNumber)
}

// receivedBelow reports whether a span is a receipt that has a parent.
func receivedBelow(s *trace.Span) bool { return s.Kind == trace.KindConsumer && !s.ParentID.IsZero() }

// offerReceipt offers a receipt below another span that has nothing else to offer:
// where the other is a loop, its trace does not tell what caused the receipt.
func offerReceipt(f *facts) {
	if len(f.out) == f.from && receivedBelow(f.span) && f.span.Signal == trace.SignalSpan {
		of := f.span.Ref()
		f.addKey(EffectSide, byReceipt, KeyOf("receipt", string(of.TraceID[:]), string(of.SpanID[:])))
	}
}

// identity is the key of the message or job that a receipt handles, whatever
// else says where it came from; 0 if it has no single id. Attempts share it.
func (r *Rules) identity(s *trace.Span) Key {
	var f facts
	f.read(r, s.Attributes)
	if f.has&(hasMessageID|hasJobID) == 0 {
		return 0
	}
	f.span = s
	queue := f.text(fieldQueue)
	if queue == "" {
		queue = f.text(fieldDestination)
	}
	var ids [2]string
	n := 0
	for _, at := range [...]field{fieldMessageID, fieldJobID} {
		if n > 0 {
			break
		}
		each(f.values[at], func(id string) {
			ids[min(n, 1)] = id
			n++
		})
	}
	if n != 1 || placeholder(ids[0]) {
		return 0
	}
	if o := opaque(ids[0]); o != "" {
		return KeyOf("id", s.Environment, o)
	}
	return KeyOf("id", s.Environment, "", queue, ids[0])
}

// offerKafkaOffset offers the place of a message in its log.
func offerKafkaOffset(f *facts) {
	side := f.side()
	topic, partition, offset := f.text(fieldDestination), f.text(fieldPartition), f.text(fieldOffset)
	if side == 0 || topic == "" || partition == "" || offset == "" {
		return
	}
	cluster, by := f.text(fieldCluster), byKafkaOffset
	if cluster == "" {
		cluster, by = "environment "+f.span.Environment, byBareOffset
	}
	f.addKey(side, by, KeyOf("offset", cluster, topic, partition, offset))
}

// minKeyLength is the length from which a Kafka key may name a message: shorter
// ones are countries, shards and small numbers.
const minKeyLength = 8

// offerKafkaKey offers topic and key of a message, if nothing else says which one it
// is, and of a receipt only if nothing else says where it came from.
func offerKafkaKey(f *facts) {
	side := f.side()
	topic, key := f.text(fieldDestination), f.text(fieldKafkaKey)
	if side == 0 || topic == "" || len(key) < minKeyLength || strings.Trim(key, "0123456789") == "" {
		return
	}
	if f.has&hasMessageID != 0 || side == EffectSide && f.has&hasParentTrace != 0 {
		return
	}
	f.addKey(side, byKafkaKey, KeyOf("key", f.span.Environment, topic, key))
}

// minRequestID is the length below which a request id is a counter.
const minRequestID = 8

// offerRequestID offers the id of a request. The router causes the request of
// that id; the request causes the jobs that were handed it. A request or job that
// knows its cause by context needs no id, and offers none as an effect. Clients
// cause nothing by it: many applications stamp the id on all their spans, those
// of the jobs too.
func offerRequestID(f *facts) {
	var id string
	each(f.values[fieldRequestID], func(text string) {
		if id == "" {
			id = strings.ToLower(text)
		}
	})
	if len(id) < minRequestID || placeholder(id) {
		return
	}
	key, sh := RequestKey(id), f.shape()
	switch {
	case sh.has(consumes):
		if f.alone() {
			f.addKey(EffectSide, byRequestID, key)
		}
	case f.router():
		f.addKey(CauseSide, byRouter, key)
	case f.span.Kind == trace.KindServer && f.alone():
		f.addKey(CauseSide|EffectSide, byRequestID, key)
	}
}

// router reports whether a span is the Heroku router's line about a request.
func (f *facts) router() bool {
	p := f.text(fieldProcess)
	return p == "router" || p == "heroku-router" || routerService(f.span.Service) ||
		f.values[fieldForwarded] != nil && f.values[fieldDyno] != nil
}

// RequestKey is the key of a request's id, however it is written. Runs of edges are
// merged by it: it makes no copy.
func RequestKey[T string | []byte](id T) Key {
	h := requestStart
	for i := range len(id) {
		c := id[i]
		if c >= utf8.RuneSelf {
			return KeyOf(requestPart, strings.ToLower(string(id)))
		}
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		h = h.add(c)
	}
	return h.add(0).key()
}

const requestPart = "request"

// requestStart is the hash of the first part of a request's key.
var requestStart = func() keyHash {
	h := keyStart
	for i := range len(requestPart) {
		h = h.add(requestPart[i])
	}
	return h.add(0)
}()

func routerService(name string) bool {
	const router = "heroku-router"
	for i := 0; i+len(router) <= len(name); i++ {
		if beginsWith(name[i:], router) {
			return true
		}
	}
	return false
}

// offerCorrelations offers what the settings say.
func offerCorrelations(f *facts) {
	for i := range f.rules.correlations {
		c := &f.rules.correlations[i]
		cause, effect := f.first(c.Cause), f.first(c.Effect)
		handles := f.shape().has(consumes)
		// With one and the same attribute on both sides the span itself says
		// where it stands; with two, the attribute does.
		if effect != nil && effect != cause {
			cause = nil
		}
		if cause != nil && effect != nil {
			if handles {
				cause = nil
			} else {
				effect = nil
			}
		}
		if effect != nil && !(f.alone() || handles && len(f.span.Links) == 0) {
			effect = nil
		}
		if c.Means == MeansTrace {
			if effect != nil {
				f.addLink(f.span.Ref(), byCorrelation, refFromContext(effect.Text()), false)
			}
			continue
		}
		side, v := CauseSide, cause
		if effect != nil {
			side, v = EffectSide, effect
		}
		each(v, func(text string) {
			parts := append(make([]string, 0, 8), c.pattern)
			if c.Means != MeansRequest { // as with the ids that are known: a request may go on in another environment
				parts = append(parts, f.span.Environment)
			}
			for _, key := range c.Scope {
				scope, _ := f.span.Attribute(key)
				parts = append(parts, scope.Text())
			}
			f.addKey(side, byCorrelation, KeyOf(append(parts, text)...))
		})
	}
}

// first returns the value of the first of the keys that the span has.
func (f *facts) first(keys []string) *trace.Value {
	for _, key := range keys {
		for i := range f.span.Attributes {
			if a := &f.span.Attributes[i]; a.Key == key && a.Value.Text() != "" {
				return &a.Value
			}
		}
	}
	return nil
}

// refFromContext reads a trace id, or a W3C traceparent with its span id.
func refFromContext(text string) trace.Ref {
	const traceparent = 55 // version, trace id, span id and flags with their dashes
	if len(text) >= traceparent && text[2] == '-' && text[35] == '-' && text[52] == '-' {
		return refFromText(text[3:35], text[36:52])
	}
	return refFromText(text, "")
}
