package graph

import (
	"maps"
	"slices"
	"strings"
	"time"

	"redthread/tracestore/trace"
)

// shape is what a span is to the graph, read from its kind, its name and the
// attributes that real libraries set.
type shape uint8

const (
	consumes  shape = 1 << iota // receives or handles messages or a job
	produces                    // sends a message or enqueues a job
	isJob                       // belongs to a job queue and not to a stream of messages
	scheduled                   // begun by a clock or a console
	again                       // a job that is sent, or run, well after it was made
	relay                       // a poller: what is sent under it was made before
)

func (s shape) has(f shape) bool { return s&f != 0 }

// jobRun reports whether the span is one run of a job.
func (s shape) jobRun() bool { return s.has(consumes) && s.has(isJob) }

// jobSystems are the messaging.system values of job queues.
var jobSystems = map[string]bool{
	"sidekiq": true, "active_job": true, "activejob": true, "resque": true, "que": true, "delayed_job": true,
	"good_job": true, "solid_queue": true, "sneakers": true, "bullmq": true, "bull": true, "bee-queue": true,
	"celery": true, "rq": true, "dramatiq": true, "hangfire": true, "oban": true, "faktory": true, "temporal": true,
	"asynq": true, "river": true, "remoulade": true, "huey": true, "arq": true, "taskiq": true, "procrastinate": true, "django_q": true,
	"django-q": true, "graphile_worker": true, "graphile-worker": true, "pg-boss": true, "pgboss": true, "agenda": true, "bee_queue": true,
	"sucker_punch": true, "shoryuken": true, "delayed": true, "exq": true, "toniq": true, "quartz": true, "async": true, "inline": true,
}

// IsJobSystem reports whether a value of messaging.system names a job queue.
func IsJobSystem(name string) bool { return jobSystems[strings.ToLower(name)] }

// JobSystems lists the values of messaging.system that name job queues.
func JobSystems() []string { return slices.Sorted(maps.Keys(jobSystems)) }

// jobPrefixes begin the keys that the instrumentations of job queues set, by
// their first byte.
var jobPrefixes = func() (out [256][]string) {
	for _, p := range []string{
		"messaging.sidekiq.", "messaging.active_job.", "messaging.resque.", "messaging.que.", "messaging.delayed_job.",
		"sidekiq.", "active_job.", "resque.", "que.", "delayed_job.", "bullmq.", "bull.", "celery.", "good_job.",
		"solid_queue.", "oban.", "faktory.",
	} {
		out[p[0]] = append(out[p[0]], p)
	}
	return out
}()

// scheduleKeys are set on work that a clock began.
var scheduleKeys = map[string]bool{
	"bullmq.job.scheduler.id": true, "bullmq.job.repeat.key": true, "good_job.cron_key": true,
	"messaging.sidekiq.cron": true, "sidekiq.cron": true, "sidekiq.cron.name": true, "sidekiq.scheduler": true,
	"cron": true, "cron.name": true, "cron.schedule": true, "cron.expression": true, "job.cron": true,
	"job.schedule": true, "faas.cron": true, "faas.time": true, "celery.periodic": true,
}

// shapeLengths refuses nearly all keys that are among neither shapeKeys nor
// scheduleKeys, see [Rules].
var shapeLengths = func() (out [256]uint64) {
	for _, keys := range []map[string]bool{shapeKeys, scheduleKeys} {
		for key := range keys {
			out[keyByte(key)] |= 1 << (len(key) & 63)
		}
	}
	return out
}()

// shapeKey reports whether shapeOf may want to know of a key.
func shapeKey(key string) bool {
	return key != "" && (shapeLengths[keyByte(key)]>>(len(key)&63)&1 != 0 || jobKey(key))
}

// jobKey reports whether the instrumentations of job queues set a key, which is not
// empty.
func jobKey(key string) bool {
	for _, p := range jobPrefixes[key[0]] {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// consumeOps and produceOps are the values of messaging.operation,
// messaging.operation.type and messaging.operation.name (semantic conventions,
// docs/messaging/messaging-spans.md, old names and new).
var (
	consumeOps = map[string]bool{"process": true, "receive": true, "deliver": true, "poll": true, "consume": true, "perform": true}
	produceOps = map[string]bool{"publish": true, "send": true, "create": true, "enqueue": true}
)

// shapeOf reads the shape of a span, and the topic, queue or job class that a
// person knows its message or job by.
func shapeOf(s *trace.Span) (sh shape, topic string) {
	var (
		consumeOp, produceOp   bool
		messaging, event       bool
		bullOp, kind, spanType string
		said                   string
		class, dest            string
		job, madeAt            bool
	)
	for i := range s.Attributes {
		key, v := s.Attributes[i].Key, &s.Attributes[i].Value
		if !shapeKey(key) {
			continue
		}
		switch key {
		case "messaging.operation", "messaging.operation.type", "messaging.operation.name":
			op := strings.ToLower(v.Str)
			consumeOp = consumeOp || consumeOps[op]
			produceOp = produceOp || produceOps[op]
			continue
		case "messaging.system":
			job, messaging = job || IsJobSystem(v.Str), true
			continue
		case "messaging.destination.name", "messaging.destination", "messaging.source.name":
			dest = v.Str
			continue
		case "messaging.sidekiq.job_class", "messaging.resque.job_class", "bullmq.job.name", "job.class", "sidekiq.job.class",
			"celery.task_name", "messaging.active_job.job_class", "messaging.delayed_job.name", "messaging.oban.worker", "oban.job.worker": // classKeys
			if v.Str != "" {
				class = v.Str
			}
		case "bullmq.queue.operation":
			bullOp = v.Str
		case "bullmq.job.id":
			if strings.HasPrefix(v.Str, "repeat:") {
				sh |= scheduled
			}
		case "bullmq.queue.name", "queue.name":
			if dest == "" {
				dest = v.Str
			}
		case "job.createdat": // Hangfire
			madeAt = true
		case "type": // honeykiq
			kind = v.Str
			continue
		case "span.type": // dd-trace
			spanType = v.Str
			continue
		case "span.kind": // dd-trace and OpenTracing, where the span itself has no kind
			said = v.Str
			continue
		case "faas.trigger":
			switch v.Str {
			case "timer":
				sh |= scheduled
			case "pubsub", "datasource":
				event = true // AWS Lambda, called by SQS or S3, say
			}
			continue
		}
		if scheduleKeys[key] && v.Text() != "" && v.Text() != "false" {
			sh |= scheduled
		}
		job = job || jobKey(key)
	}
	run := kind == "job" && class != "" || spanType == "worker" || madeAt
	if job || run {
		sh |= isJob
	}
	if topic = class; topic == "" {
		topic = dest
	}
	if bullOp != "" {
		consumeOp = consumeOp || bullOp == "process"
		produceOp = produceOp || bullOp == "add" || bullOp == "addBulk"
	}
	as := s.Kind
	if as == trace.KindUnspecified || as == trace.KindInternal {
		switch said {
		case "producer":
			as = trace.KindProducer
		case "consumer":
			as = trace.KindConsumer
		}
	}
	switch as {
	case trace.KindProducer:
		sh |= produces
	case trace.KindConsumer:
		if bullOp == "" || consumeOp {
			sh |= consumes
		}
	case trace.KindServer:
		if event || messaging && consumeOp {
			sh |= consumes // whatever its kind says
		}
	default:
		if messaging && !consumeOp && !produceOp && as != trace.KindClient {
			op := opOf(s.Name)
			consumeOp, produceOp = consumeOps[op], produceOps[op]
		}
		switch {
		case produceOp && !consumeOp:
			sh |= produces
		case consumeOp, run:
			sh |= consumes
		}
	}
	if sh.has(isJob) && len(s.Events) > 0 && sentAgain(s) {
		sh |= again
	}
	if relays(as, s.Name, sh) {
		sh = sh&^(consumes|isJob) | relay
	}
	if s.ParentID.IsZero() && sh&(consumes|produces|isJob) == 0 && as != trace.KindServer && begun(s.Name) {
		sh |= scheduled
	}
	return sh, topic
}

// opOf is what the name of a span without a kind says it does with a message: names
// are "topic process", and since semantic conventions 1.26 "process topic".
func opOf(name string) string {
	if op := strings.ToLower(name[strings.LastIndexByte(name, ' ')+1:]); consumeOps[op] || produceOps[op] {
		return op
	}
	op, _, _ := strings.Cut(name, " ")
	return strings.ToLower(op)
}

// againAfter is how long after a job was made its sending, or the sending of its
// run, is not the first. Sidekiq's poller looks every few seconds.
const againAfter = int64(time.Second)

// sentAgain reports whether a job says by its times that it was sent before: it
// waited in Sidekiq's set of scheduled or failed jobs, and its poller's context is
// what the run knows (opentelemetry-ruby-contrib, instrumentation/sidekiq: the
// events created_at, and of runs enqueued_at).
func sentAgain(s *trace.Span) bool {
	created, enqueued := int64(0), s.StartUnixNano
	for i := range s.Events {
		switch e := &s.Events[i]; e.Name {
		case "created_at":
			created = e.TimeUnixNano
		case "enqueued_at":
			enqueued = e.TimeUnixNano
		}
	}
	return created > 0 && enqueued-created > againAfter
}

// relays reports whether a span is the work of a poller that sends what others
// made: Sidekiq's (OpenTelemetry Ruby with trace_poller_enqueue, dd-trace-rb), or
// that of a table of messages, an outbox.
func relays(kind trace.Kind, name string, sh shape) bool {
	switch {
	case kind == trace.KindServer || kind == trace.KindConsumer || kind == trace.KindProducer:
		return false
	case name == "Sidekiq::Scheduled::Poller#enqueue" || name == "sidekiq.scheduled_push":
		return true
	}
	return !sh.has(consumes) && (strings.Contains(name, "utbox") || strings.Contains(name, "message relay") || strings.Contains(name, "MessageRelay"))
}

// begun reports whether a span without a role is by its name what a person or a
// clock began, and not a worker that such a command starts.
func begun(name string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(strings.ToLower(name), "bin/"), " ")
	switch first {
	case "rake", "rails", "console", "irb", "pry", "runner", "cron", "crond", "crontab", "clock", "clockwork", "whenever", "thor", "every", "artisan",
		"manage.py", "django-admin", "flask", "mix", "schedule", "scheduler":
	default:
		return false
	}
	for _, works := range []string{"work", "consum", "listen", "daemon", "server"} {
		if strings.Contains(strings.ToLower(name), works) {
			return false
		}
	}
	return true
}

// receiptKeys are those by which a span that has not the kind of a consumer may
// be one, and receiptLengths refuses nearly all others, see [Rules].
var (
	receiptKeys = map[string]bool{"messaging.operation": true, "messaging.operation.type": true, "messaging.operation.name": true,
		"bullmq.queue.operation": true, "type": true, "span.type": true, "span.kind": true, "messaging.system": true, "faas.trigger": true, "job.createdat": true}
	receiptLengths = func() (out [256]uint64) {
		for key := range receiptKeys {
			out[keyByte(key)] |= 1 << (len(key) & 63)
		}
		return out
	}()
)

// Receipt tells what the summary of a trace needs to know of a span: whether it
// is one run of a job ([Summary.Jobs]), and whether, as the root, something
// or an earlier sending of it, caused it ([Summary.Caused]).
func Receipt(s *trace.Span) (jobRun, caused bool) {
	switch s.Kind {
	case trace.KindProducer:
		if len(s.Events) == 0 {
			return false, false
		}
		sh, _ := shapeOf(s)
		return false, sh.has(again)
	case trace.KindConsumer:
	default:
		for i := 0; ; i++ {
			if i == len(s.Attributes) {
				return false, false
			}
			if key := s.Attributes[i].Key; key != "" && receiptLengths[keyByte(key)]>>(len(key)&63)&1 != 0 && receiptKeys[key] {
				break
			}
		}
	}
	sh, _ := shapeOf(s)
	return sh.jobRun(), sh.has(consumes) && !sh.has(scheduled)
}
