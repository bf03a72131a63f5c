package graph

import (
	"encoding/json"
	"strings"

	"redthread/tracestore/trace"
)

// field is an attribute that rules read, under any of its names.
type field uint16

// The fields.
const (
	fieldMessageID field = iota
	fieldJobID
	fieldSystem
	fieldDestination
	fieldQueue
	fieldPartition
	fieldOffset
	fieldCluster
	fieldKafkaKey
	fieldRequestID
	fieldProcess
	fieldForwarded
	fieldDyno
	fieldAnnotation
	fieldLinkTrace
	fieldLinkSpan
	fieldDatadogLinks
	fieldDatadogHigh
	fieldParentTrace
	fieldParentRef
	fieldBatchCount
	fieldDroppedLinks
	fieldCorrelated // of the configuration; has no value of its own
	fieldCount

	alsoCorrelated field = 1 << 8 // a known field that is correlated as well
)

// fields is a set of fields that rules begin with.
type fields uint32

const (
	hasMessageID    = fields(1) << fieldMessageID
	hasJobID        = fields(1) << fieldJobID
	hasOffset       = fields(1) << fieldOffset
	hasKafkaKey     = fields(1) << fieldKafkaKey
	hasRequestID    = fields(1) << fieldRequestID
	hasAnnotation   = fields(1) << fieldAnnotation
	hasLinkTrace    = fields(1) << fieldLinkTrace
	hasDatadogLinks = fields(1) << fieldDatadogLinks
	hasParentTrace  = fields(1) << fieldParentTrace
	hasParentRef    = fields(1) << fieldParentRef
	hasCorrelated   = fields(1) << fieldCorrelated
)

// fieldKeys are the names of the fields, new semantic conventions before old.
var fieldKeys = [fieldCount][]string{
	fieldMessageID: {"messaging.message.id", "messaging.message_id", "messaging.message.ids", "messaging.message_ids",
		"messaging.batch.message_ids", "celery.task_id", "messaging.celery.task_id", "faktory.job.jid", "messaging.masstransit.message_id",
		"nservicebus.message_id", "dramatiq.message_id", "remoulade.message_id"},
	fieldJobID: {"bullmq.job.id", "bull.job.id", "sidekiq.job.id", "sidekiq.jid", "que.job.id", "delayed_job.id",
		"active_job.job.id", "active_job.job_id", "messaging.oban.job_id", "oban.job.job_id", "rq.job.id", "django_q.task.id",
		"good_job.job.id", "solid_queue.job.id", "faktory.job.id", "hangfire.job.id", "messaging.active_job.message.provider_job_id",
		"job.id", "job_id"},
	fieldSystem:      {"messaging.system"},
	fieldDestination: {"messaging.destination.name", "messaging.destination", "messaging.source.name", "kafka.topic"},
	fieldQueue: {"bullmq.queue.name", "bull.queue.name", "queue.name", "sidekiq.job.queue", "que.job.queue", "delayed_job.queue",
		"active_job.queue"},
	fieldPartition: {"messaging.destination.partition.id", "messaging.kafka.destination.partition", "messaging.kafka.source.partition",
		"messaging.kafka.partition", "kafka.partition"},
	fieldOffset:   {"messaging.kafka.offset", "messaging.kafka.message.offset", "messaging.kafka.message_offset", "kafka.offset", "kafka.message.offset"},
	fieldCluster:  {"messaging.kafka.cluster.id"},
	fieldKafkaKey: {"messaging.kafka.message.key", "messaging.kafka.message_key"},
	fieldRequestID: {"http.request.header.x-request-id", "http.request.header.x_request_id", "request_id", "request.id", "http.request_id",
		"http.request.id", "app.request_id", "heroku.request_id", "rails.request_id", "action_dispatch.request_id", "x-request-id",
		"x_request_id", "request.header.x_request_id"},
	fieldProcess:      {"proc_id", "heroku.proc_id", "heroku.process", "ps"},
	fieldForwarded:    {"fwd", "heroku.fwd"},
	fieldDyno:         {"dyno", "heroku.dyno"},
	fieldAnnotation:   {"meta.annotation_type"},
	fieldLinkTrace:    {"trace.link.trace_id"},
	fieldLinkSpan:     {"trace.link.span_id"},
	fieldDatadogLinks: {"_dd.span_links"},
	fieldDatadogHigh:  {"_dd.p.tid"},
	fieldParentTrace:  {"parent.trace_id"},
	fieldParentRef:    {"trace.parent_id"},
	fieldBatchCount:   {"messaging.batch.message_count"},
	fieldDroppedLinks: {keyDroppedLinks},
}

// facts is what the rules know of one span.
type facts struct {
	rules *Rules
	span  *trace.Span
	out   []Half
	from  int // where those of this span begin in out

	values [fieldCount]*trace.Value
	has    fields

	shaped bool
	sh     shape
	below  bool // a run that stands below what enqueued it, if that is no loop
}

// read finds the fields among attributes. Under several names the first counts.
func (f *facts) read(r *Rules, attributes []trace.Attribute) {
	for i := range attributes {
		at, ok := r.field(attributes[i].Key)
		if !ok {
			continue
		}
		if at&alsoCorrelated != 0 {
			at &^= alsoCorrelated
			f.has |= hasCorrelated
		}
		f.has |= 1 << at
		if f.values[at] == nil {
			f.values[at] = &attributes[i].Value
		}
	}
}

// text is the value of a field as text, or "".
func (f *facts) text(at field) string {
	if v := f.values[at]; v != nil {
		return v.Text()
	}
	return ""
}

func (f *facts) shape() shape {
	if !f.shaped {
		f.sh, _ = shapeOf(f.span)
		f.shaped = true
	}
	return f.sh
}

// maxIDs bounds the ids that one attribute may hold: a batch that large is far
// beyond what Kafka hands out at once (max.poll.records is 500 by default).
const maxIDs = 10_000

// each calls fn with the values of a field: itself, or the elements of an array.
func each(v *trace.Value, fn func(text string)) {
	if v == nil {
		return
	}
	if v.Type != trace.TypeJSON || !strings.HasPrefix(v.Str, "[") {
		if t := strings.TrimSpace(v.Text()); t != "" {
			fn(t)
		}
		return
	}
	var list []any
	d := json.NewDecoder(strings.NewReader(v.Str))
	d.UseNumber()
	if d.Decode(&list) != nil {
		return
	}
	for _, e := range list[:min(len(list), maxIDs)] {
		switch e := e.(type) {
		case string:
			if e != "" {
				fn(e)
			}
		case json.Number:
			fn(e.String())
		}
	}
}

// add appends a half of the span.
func (f *facts) add(h Half) {
	if h.Of.TraceID.IsZero() {
		h.Of = f.span.Ref()
	}
	h.StartUnixNano = f.span.StartUnixNano
	if h.Side&EffectSide != 0 && f.has&(1<<fieldDroppedLinks|1<<fieldBatchCount|hasDatadogLinks) != 0 {
		h.Dropped = int32(dropped(f.span))
		if h.Dropped > 0 && short(f.span) {
			h.Dropped = -h.Dropped
		}
		if len(f.span.Links) == 0 && receivedBelow(f.span) {
			h.Dropped = max(h.Dropped, int32(batchCount(f.text(fieldBatchCount))-1)) // it may be below the first of them
		}
	}
	f.out = append(f.out, h)
}

// addLink appends the recorded half for a cause, unless it is the span itself,
// its own trace, or its parent, which the span names already.
func (f *facts) addLink(of trace.Ref, by RuleID, to trace.Ref, unsampled bool) {
	if to.TraceID.IsZero() || to == of || to.TraceID == of.TraceID && (to.SpanID.IsZero() || to.SpanID == f.span.ParentID) {
		return
	}
	f.add(Half{Of: of, Side: EffectSide, Rule: by, Target: to, Unsampled: unsampled})
}

// addKey appends the half of a key on the side where the span stands.
func (f *facts) addKey(side Side, by RuleID, key Key) {
	if f.below {
		by = byReceipt
	}
	for i := f.from; i < len(f.out); i++ {
		if h := &f.out[i]; h.Key == key && h.Of == f.span.Ref() {
			h.Side |= side
			return
		}
	}
	f.add(Half{Side: side, Rule: by, Key: key})
}

// alone reports whether the span has no parent and nothing else that says what
// caused it: ids may.
func (f *facts) alone() bool {
	if !f.span.ParentID.IsZero() || f.has&(hasParentTrace|hasDatadogLinks) != 0 {
		return false
	}
	for i := range f.span.Links {
		if _, ok := readLink(&f.span.Links[i]); ok {
			return false
		}
	}
	return true
}

// side is where a span stands between the sending and the handling of a message
// or job. A receipt stands on the effect side unless its cause is recorded: by
// all of its links, or, for a job, by its parent. What is recorded of a job that
// was sent again may be its poller, so that its id is looked at first.
func (f *facts) side() Side {
	sh := f.shape()
	switch {
	case sh.has(produces), !sh.has(consumes) && enqueues(f.span):
		return CauseSide
	case !sh.has(consumes):
		return 0
	case f.has&(1<<fieldDroppedLinks|1<<fieldBatchCount) != 0 && droppedLinks(f.span) > 0:
		return EffectSide
	case sh.has(again):
		return EffectSide
	case len(f.span.Links) > 0 && f.span.Links[0].TraceID != (trace.ID{}):
		return 0
	case sh.has(isJob) && receivedBelow(f.span):
		f.below = true
		return EffectSide
	case sh.has(isJob) && !f.span.ParentID.IsZero():
		return 0
	case f.has&hasDatadogLinks != 0:
		return 0
	}
	return EffectSide
}

// enqueues reports whether a span without a role, as hand-made tracing and the
// beelines write it, says by its name that it enqueues a job.
func enqueues(s *trace.Span) bool {
	if s.Kind == trace.KindServer || s.Kind == trace.KindConsumer {
		return false
	}
	for i := 0; i+len("enqueue") <= len(s.Name); i++ { // of nearly all spans that arrive: no lower-case copy
		switch rest := s.Name[i:]; rest[0] | 0x20 {
		case 'e':
			if beginsWith(rest, "enqueue") {
				return true
			}
		case 'p':
			if beginsWith(rest, "perform_async") || beginsWith(rest, "perform_later") {
				return true
			}
		}
	}
	return false
}

// beginsWith reports whether a text begins with another in ASCII, in whatever case.
func beginsWith(text, begin string) bool {
	return len(text) >= len(begin) && strings.EqualFold(text[:len(begin)], begin)
}

// placeholder reports whether an id is what is written where there is none: a word
// that says so, zeros, or one and the same character all along. Dashes do not count.
func placeholder(id string) bool {
	if len(id) <= len("undefined") {
		switch strings.ToLower(id) {
		case "undefined", "null", "none", "nil", "nan", "unknown", "n/a", "-", "-1", "":
			return true
		}
	}
	const long = 16
	n, first := 0, byte('0')
	for i := range len(id) {
		switch c := id[i]; {
		case c == '-':
			continue
		case n == 0:
			first = c
		case c != first:
			return false
		}
		n++
	}
	return first == '0' || n >= long
}

// opaque returns an id that is unique by itself, wherever it was made, in its
// canonical form: a UUID, a Sidekiq jid, a ULID, a snowflake. "" for any other,
// which is unique in its queue at best.
func opaque(id string) string {
	const minHex, minDigits, ulid, ksuid, uuidDigits = 16, 15, 26, 27, 32
	letters, digits, dashes, hex := 0, 0, 0, true
	for i := 0; i < len(id); i++ {
		switch c := id[i] | 0x20; {
		case c >= 'a' && c <= 'z':
			letters++
			hex = hex && c <= 'f'
		case id[i] >= '0' && id[i] <= '9':
			digits++
		case id[i] == '-' && i > 0:
			dashes++
		default:
			return ""
		}
	}
	switch n := letters + digits; {
	case digits == 0:
		return ""
	case dashes > 0 && (dashes != 4 || n != uuidDigits):
		return "" // words and dates joined by dashes
	case letters == 0 && dashes == 0 && n >= minDigits:
		return id
	case hex && n >= minHex && (letters > 0 || dashes > 0):
		return strings.ToLower(strings.ReplaceAll(id, "-", ""))
	case n == ulid && dashes == 0:
		return strings.ToUpper(id)
	case n == ksuid && dashes == 0:
		return id
	}
	return ""
}
