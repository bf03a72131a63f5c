// Package traffic knows by what attributes senders tell of messages and jobs, so
// that queries can ask about both in one vocabulary whatever sent them.
//
// A [Vocabulary] turns the table of names (terms.go) into calculated fields of
// the query language: what a span does with a message or job ([Side]), which
// topic or queue and which job class it was, how long it waited, whether it is a
// further attempt. Only the names that the data has are in the expressions, so
// that they stay short and quick; they can be read, and changed, on the Explore
// page. What is a message or a job is decided as tracestore/graph decides it, and
// a test holds the two together.
package traffic

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/query"
)

// The calculated fields.
const (
	Side   = "work.side"    // see the sides below; none: the span has nothing to do with messages or jobs
	IsJob  = "work.is_job"  // true for a job queue, false for a stream of messages
	Topic  = "work.topic"   // topic or queue
	Class  = "work.class"   // of the job
	WaitMS = "work.wait_ms" // how long it waited before it was handled, as its sender measured
	Retry  = "work.retry"   // whether it is a further attempt
	Group  = "work.group"   // the consumer group
	// Nested is whether the same run, or the same sending, is told by the parent too: by
	// the queue that a framework puts its jobs into, or the other way round. So are runs
	// of a framework that stand elsewhere, where the queue tells of them too, see
	// [Vocabulary.Told].
	Nested = "work.nested"
	// Counted by their sums, beside the count of all.
	Failures = "work.failures" // 1 for a failure, else 0
	Retries  = "work.retries"  // 1 for a further attempt, else 0
	Jobs     = "work.jobs"     // how many it sent in one go, nearly always 1
	// Run is the id of a job whose sender does not tell attempts apart: what runs twice
	// under one was tried again. Ids may count within a service and environment only.
	Run = "work.run"
	// Of the span that sent it, which is the parent, or the cause in another trace.
	SenderService = "work.sender.service"
	SenderName    = "work.sender.name"
	SentWaitMS    = "work.sent_wait_ms" // from the end of the sending to the start
	// IsClass is whether a span has to do with the class of [Vocabulary.Of].
	IsClass = "work.is_class"
)

// What BullMQ says of jobs that are sent in one go (bullmq-otel, addBulk).
const (
	bulkCount = "bullmq.job.bulk.count"
	bulkNames = "bullmq.job.bulk.names" // a list, each as often as it is sent
)

// The sides of a message or job.
const (
	Sends    = "send"
	Handles  = "process" // of one message or job, or of a batch in one go
	Receives = "receive" // took messages in, which are handled by other spans
)

// names are the attributes that say one thing, the first that a row has counts.
// The query engine finds old and new names of the semantic conventions under
// either, so only one of them stands here.
var names = struct {
	system, topic, class, group []string
	// jobs are set on spans of job queues only. Each sender sets one of them on
	// every span that sends or runs a job.
	jobs []string
	// attempts count from 1, retries from 0, and again is set of a further attempt
	// alone, from 0: Sidekiq's retry_count.
	attempts, retries, again []string
	ids                      []string // of jobs, the same in each attempt
	waitMS, waitSec          []string
	// framework are set by ActiveJob, whose jobs another library may run and tell of too.
	framework []string
	// queueIDs have the id by which that knows the job, adapters say which library it is.
	queueIDs, adapters []string
}{
	system: []string{"messaging.system"},
	topic: []string{
		"messaging.destination.name", // OpenTelemetry, and before 1.17 messaging.destination
		"bullmq.queue.name",          // bullmq-otel
		"bull.queue.name",
		"job.queue",
		"queue.name",              // honeykiq
		"sidekiq.job.queue",       // dd-trace
		"active_job.job.queue",    // dd-trace
		"active_job.queue",        // the Rails instrumentation of beelines
		"que.job.queue",           // dd-trace
		"delayed_job.queue",       // dd-trace
		"messaging.sidekiq.queue", // seen in hand-made senders
		"celery.queue",
		"kafka.topic", // beelines
	},
	class: []string{
		"messaging.sidekiq.job_class", // OpenTelemetry Ruby
		"messaging.resque.job_class",
		"messaging.active_job.job_class",
		"messaging.delayed_job.name",
		"messaging.que.job_class",
		"bullmq.job.name",
		"job.class", // honeykiq
		"sidekiq.job.class",
		"sidekiq.job.wrapper", // dd-trace: the class behind ActiveJob's wrapper
		"active_job.job.class",
		"que.job.class",
		"delayed_job.name",
		"celery.task_name", // OpenTelemetry Python
		"good_job.job_class",
		"solid_queue.job_class",
		"oban.job.worker", // OpenTelemetry Erlang
		"faktory.job.type",
	},
	group: []string{"messaging.consumer.group.name"}, // and messaging.kafka.consumer.group, messaging.kafka.consumer_group
	jobs: []string{
		"bullmq.queue.operation", "bull.queue.name", "messaging.sidekiq.job_class", "messaging.resque.job_class", "messaging.active_job.job_class",
		"messaging.delayed_job.name", "messaging.que.job_class", "sidekiq.job.id", "sidekiq.job.queue", "sidekiq.job.class", "active_job.job.id",
		"active_job.job.queue", "active_job.job.class", "que.job.id", "que.job.class", "delayed_job.name", "delayed_job.id", "celery.task_name", "celery.action",
		"good_job.job_class", "solid_queue.job_class", "oban.job.worker", "faktory.job.type",
	},
	attempts: []string{"job.attempt_number", "job.attempt", "bullmq.job.attempts.made", "active_job.job.executions",
		"messaging.active_job.executions", "rails.active_job.execution.counter", "oban.job.attempt"},
	retries: []string{"messaging.delayed_job.attempts", "delayed_job.attempts", "messaging.message.retry.count", "celery.retries"},
	again:   []string{"sidekiq.job.retry_count", "messaging.sidekiq.retry_count"},
	ids: []string{"messaging.message.id", "sidekiq.job.id", "sidekiq.jid", "que.job.id", "delayed_job.id", "active_job.job.id", "rq.job.id", "good_job.job.id",
		"solid_queue.job.id", "faktory.job.jid", "job.id"},
	waitMS: []string{
		"job.latency_ms",
		"messaging.lag_ms",
		"sidekiq.job.delay",                 // dd-trace
		"messaging.message.receive.latency", // Sentry
		"kafka.record.queue_time_ms",        // OpenTelemetry Java, experimental attributes
		"job.wait_ms", "job.queue_time_ms", "messaging.sidekiq.latency_ms", "sidekiq.latency_ms",
	},
	waitSec: []string{"job.latency_sec", "sidekiq.latency_sec"}, // honeykiq
	framework: []string{"messaging.active_job.adapter.name", "messaging.active_job.message.provider_job_id", "messaging.active_job.message.priority",
		"messaging.active_job.scheduled_at", "messaging.active_job.executions", "rails.active_job.execution.counter", "rails.active_job.provider_job_id", "rails.active_job.priority",
		"rails.active_job.scheduled_at", "active_job.adapter", "active_job.job.id"}, // OpenTelemetry Ruby, new and old, and dd-trace
	queueIDs: []string{"messaging.active_job.message.provider_job_id", "messaging.active_job.provider_job_id", "rails.active_job.provider_job_id"},
	adapters: []string{"messaging.active_job.adapter.name", "active_job.adapter"},
}

// What an operation does, as in tracestore/graph/shape.go.
var (
	handleOps  = []string{"process", "deliver", "consume", "perform"}
	receiveOps = []string{"receive", "poll"}
	sendOps    = []string{"publish", "send", "create", "enqueue"}
)

// Vocabulary is the calculated fields for the names that some data has.
type Vocabulary struct {
	fields []query.CalculatedField // each reads none but those before it
	waits  []string
	others []query.Filter
	tries  bool
	nests  bool
	bulks  bool
	ids    bool
	// queueIDs and adapters are those of names that the data has.
	queueIDs, adapters []string
	// special says that the vocabulary is for one class, see [Vocabulary.Of].
	special bool
	// Where the name of a topic or class may stand.
	topics, classes []source
}

// source is an attribute, and how a name stands in it.
type source struct{ column, op string }

// NewVocabulary returns the vocabulary of data that has the columns.
func NewVocabulary(columns []query.ColumnInfo) *Vocabulary {
	v := &Vocabulary{}
	has := func(name string) bool {
		_, ok := slices.BinarySearchFunc(columns, name, func(c query.ColumnInfo, n string) int { return strings.Compare(c.Name, n) })
		return ok
	}
	present := func(list []string) (out []string) {
		for _, n := range list {
			if has(n) || n == "messaging.message.id" && has("messaging.message_id") || n == "messaging.destination.name" && has("messaging.destination") ||
				n == "messaging.consumer.group.name" && (has("messaging.kafka.consumer.group") || has("messaging.kafka.consumer_group")) {
				out = append(out, n)
			}
		}
		return out
	}
	add := func(name, expression string) {
		v.fields = append(v.fields, query.CalculatedField{Name: name, Expression: expression})
	}

	run := "false" // a job by what honeykiq or dd-trace say of the span's type
	if has("type") && has("job.class") {
		run = call("AND", call("EQUALS", col("type"), text("job")), call("EXISTS", col("job.class")))
	}
	if has("span.type") {
		worker := call("EQUALS", col("span.type"), text("worker"))
		run = or(run, worker)
	}
	job := run
	if has("messaging.system") {
		job = or(job, call("IN", append([]string{call("TO_LOWER", col("messaging.system"))}, literals(graph.JobSystems())...)...))
	}
	for _, n := range present(names.jobs) {
		job = or(job, call("EXISTS", col(n)))
	}
	add(IsJob, job)

	var ops []string
	for _, n := range []string{"messaging.operation.type", "messaging.operation.name", "bullmq.queue.operation"} {
		if has(n) || n == "messaging.operation.type" && has("messaging.operation") {
			ops = append(ops, n)
		}
	}
	does := func(list []string) string {
		out := "false"
		for _, n := range ops {
			these := list
			if n == "bullmq.queue.operation" {
				these = nil
				if slices.Contains(list, "process") {
					these = []string{"process"}
				}
				if slices.Contains(list, "send") {
					these = []string{"add", "addBulk"}
				}
			}
			if len(these) > 0 {
				value := call("TO_LOWER", col(n))
				if n == "bullmq.queue.operation" {
					value = col(n)
				}
				out = or(out, call("IN", append([]string{value}, literals(these)...)...))
			}
		}
		return out
	}
	handles, receives, sends := does(handleOps), does(receiveOps), does(sendOps)
	for _, n := range ops {
		v.others = append(v.others, query.Filter{Column: n, Op: "exists"})
	}
	if has("type") && has("job.class") {
		v.others = append(v.others, query.Filter{Column: "type", Op: "=", Value: "job"})
	}
	if has("span.type") {
		v.others = append(v.others, query.Filter{Column: "span.type", Op: "=", Value: "worker"})
	}
	kind := col("span.kind")
	consumer := call("EQUALS", kind, text("consumer"))
	if has("bullmq.queue.operation") { // its other operations are housekeeping
		consumer = call("AND", consumer, or(call("NOT", call("EXISTS", col("bullmq.queue.operation"))), handles, receives))
	}
	other := call("IN", kind, text("internal"), text("client"), text("unspecified"))
	branches := []string{call("EQUALS", kind, text("producer")), text(Sends)}
	if receives != "false" {
		took := receives
		if handles != "false" {
			took = call("AND", receives, call("NOT", handles))
		}
		branches = append(branches, call("AND", or(consumer, other), took), text(Receives))
	}
	branches = append(branches, consumer, text(Handles))
	if sends != "false" {
		only := sends
		if handles != "false" {
			only = call("AND", sends, call("NOT", handles))
		}
		branches = append(branches, call("AND", other, only), text(Sends))
	}
	if handled := or(handles, run); handled != "false" {
		branches = append(branches, call("AND", other, handled), text(Handles))
	}
	add(Side, call("IF", branches...))

	topics := []string{}
	for _, n := range present(names.topic) {
		topics = append(topics, col(n))
		v.topics = append(v.topics, source{n, "="})
	}
	add(Topic, coalesce(topics))

	classes := []string{}
	for _, n := range present(names.class) {
		classes = append(classes, col(n))
		v.classes = append(v.classes, source{n, "="})
	}
	if has("span.type") && has("resource.name") { // dd-trace names the class so
		v.classes = append(v.classes, source{"resource.name", "="})
		classes = append(classes, call("IF", call("EQUALS", col("span.type"), text("worker")), col("resource.name")))
	}
	if has("code.namespace") { // OpenTelemetry Ruby for ActiveJob
		v.classes = append(v.classes, source{"code.namespace", "="})
		classes = append(classes, call("IF", call("IN", col("messaging.system"), text("active_job"), text("activejob")), col("code.namespace")))
	}
	if has(bulkNames) {
		classes = append(classes, col(bulkNames))
	}
	// Que, Resque and others put it into the name of the span: "PricingJob process".
	named := call("REG_VALUE", col("name"), "`^(.+?)(?: (?:publish|process|send|create|receive|enqueue|perform))?$`")
	if has("bullmq.queue.operation") { // "add queue.Name"; its other spans are not named for a job
		named = call("IF", call("EXISTS", col("bullmq.queue.operation")), call("REG_VALUE", col("name"), "`^add [^.]+\\.(.+)$`"), named)
	}
	classes = append(classes, named)
	v.classes = append(v.classes, source{"name", "contains"})
	add(Class, call("IF", col(IsJob), coalesce(classes)))

	v.nests = v.addNested(add, present(names.framework), present(names.class), has)
	v.queueIDs, v.adapters = present(names.queueIDs), present(names.adapters)

	add(Group, coalesce(columnsOf(present(names.group))))

	var waits []string
	for _, n := range present(names.waitMS) {
		waits = append(waits, call("EXISTS", col(n)), call("FLOAT", col(n)))
		v.waits = append(v.waits, n)
	}
	for _, n := range present(names.waitSec) {
		waits = append(waits, call("EXISTS", col(n)), call("MUL", col(n), "1000"))
		v.waits = append(v.waits, n)
	}
	if len(waits) == 0 {
		waits = []string{"false", "0"}
	}
	add(WaitMS, call("IF", waits...))

	retry := "false"
	for _, n := range present(names.attempts) {
		retry = or(retry, call("GT", call("INT", col(n)), "1"))
	}
	for _, n := range present(names.retries) {
		retry = or(retry, call("GT", call("INT", col(n)), "0"))
	}
	for _, n := range present(names.again) {
		retry = or(retry, call("AND", call("EXISTS", col(n)), call("NOT", call("EQUALS", col(n), text(""))))) // dd-trace has "" for none
	}
	add(Retry, retry)
	v.tries = retry != "false"
	if ids := present(names.ids); len(ids) > 0 {
		silent := call("AND", col(IsJob), call("EXISTS", coalesce(columnsOf(ids))))
		for _, n := range slices.Concat(present(names.attempts), present(names.retries), present(names.again)) {
			silent = call("AND", silent, call("NOT", call("EXISTS", col(n))))
		}
		add(Run, call("IF", silent, call("CONCAT", col("environment"), text(" "), col("service.name"), text(" "), coalesce(columnsOf(ids)))))
		v.ids = true
	}
	add(Failures, call("IF", col("error"), "1", "0"))
	add(Retries, call("IF", col(Retry), "1", "0"))
	if v.bulks = has(bulkCount) && has(bulkNames); v.bulks {
		add(Jobs, call("IF", call("EXISTS", col(bulkCount)), call("INT", col(bulkCount)), "1"))
	} else {
		add(Jobs, "1")
	}
	add(SenderService, fromSender(func(scope string) string { return col(scope + "service.name") }))
	add(SenderName, fromSender(func(scope string) string { return col(scope + "name") }))
	add(SentWaitMS, fromSender(func(scope string) string {
		nano := call("SUB", call("SUB", col("start_unix_nano"), col(scope+"start_unix_nano")), col(scope+"duration_nano"))
		// Of a trace whose spans are gone the length of this one is not known.
		return call("IF", call("EXISTS", col(scope+"duration_nano")), call("MAX", "0", call("DIV", nano, "1000000")))
	}))
	return v
}

// addNested adds [Nested], and reports whether there can be any. A parent with
// another class is another job, which this one is run in the midst of.
func (v *Vocabulary) addNested(add func(name, expression string), markers, classes []string, has func(string) bool) bool {
	if len(markers) == 0 {
		add(Nested, "false")
		return false
	}
	framework := func(scope string) string {
		is := "false"
		if has("messaging.system") {
			is = call("IN", col(scope+"messaging.system"), text("active_job"), text("activejob"))
		}
		for _, n := range markers {
			is = or(is, call("EXISTS", col(scope+n)))
		}
		return is
	}
	var known []string
	for _, n := range classes {
		known = append(known, col("parent."+n))
	}
	if has("code.namespace") {
		known = append(known, call("IF", framework("parent."), col("parent.code.namespace")))
	}
	same := func(column string) string { return call("EQUALS", col("parent."+column), col(column)) }
	class := coalesce(known)
	add(Nested, call("AND", col(IsJob), same("span.kind"), same("service.name"), call("NOT", call("EQUALS", framework("parent."), framework(""))),
		call("OR", call("NOT", call("EXISTS", class)), call("EQUALS", class, col(Class)), call("ENDS_WITH", class, text("JobWrapper")))))
	return true
}

// QueueIDs are the attributes in which a framework has the ids that a queue gave its
// jobs: who runs them may tell of each run too, in another trace.
func (v *Vocabulary) QueueIDs() []string { return v.queueIDs }

// Told has [Nested] say too of the runs of frameworks that their queue tells of them:
// where the service has runs that the queue of the adapter tells of. tells are these
// queues, the values of messaging.system, by service.
func (v *Vocabulary) Told(tells map[string][]string) {
	var pairs []string
	for _, service := range slices.Sorted(maps.Keys(tells)) {
		pairs = append(pairs, text(service+" ")) // of which adapter they are is not always said
		for _, system := range tells[service] {
			pairs = append(pairs, text(service+" "+strings.ToLower(system)))
		}
	}
	if len(pairs) == 0 || len(v.queueIDs) == 0 {
		return
	}
	id := "false"
	for _, n := range v.queueIDs {
		id = or(id, call("EXISTS", col(n)))
	}
	of := call("CONCAT", col("service.name"), text(" "), call("TO_LOWER", coalesce(append(columnsOf(v.adapters), text("")))))
	i := slices.IndexFunc(v.fields, func(f query.CalculatedField) bool { return f.Name == Nested })
	v.fields[i].Expression = or(call("AND", id, call("EQUALS", col("span.kind"), text("consumer")), call("IN", append([]string{of}, pairs...)...)), v.fields[i].Expression)
}

// fromSender is what the sender of a span says: its parent, if that sends or is of
// another service. A parent of the same service is a part of the run, or took a
// batch in, whose messages have causes of their own.
func fromSender(of func(scope string) string) string {
	sends := call("EQUALS", col("parent.span.kind"), text("producer"))
	elsewhere := call("NOT", call("EQUALS", col("parent.service.name"), col("service.name")))
	parent := call("EXISTS", col("parent.start_unix_nano"))
	batch := call("IN", col("parent.span.kind"), text("consumer"), text("client"))
	return call("IF", call("AND", parent, or(sends, elsewhere)), of("parent."), call("AND", parent, call("NOT", batch)), "null",
		call("EXISTS", col("cause.start_unix_nano")), of("cause."))
}

// Sources are the filters of which a row passes one if its [Topic] or [Class] is a
// name: no other row has that name, though not each that passes has it.
func (v *Vocabulary) Sources(field, name string) []query.Filter {
	list := v.topics
	if field == Class {
		list = v.classes
	}
	out := make([]query.Filter, len(list))
	for i, s := range list {
		out[i] = query.Filter{Column: s.column, Op: s.op, Value: name}
	}
	return out
}

// Others are filters by which spans with a side are found whose kind is neither
// consumer nor producer: no other spans than those that pass one of them. They read
// one column each, and nearly always find few rows or none.
func (v *Vocabulary) Others() []query.Filter { return v.others }

// Tries reports whether senders tell attempts apart.
func (v *Vocabulary) Tries() bool { return v.tries }

// Identifies reports whether jobs have ids, see [Run].
func (v *Vocabulary) Identifies() bool { return v.ids }

// Nests reports whether there may be runs that two spans tell of, see [Nested].
func (v *Vocabulary) Nests() bool { return v.nests }

// Bulks reports whether one span may send several jobs, see [Jobs]. Their [Class] is
// the list of their classes then, see [Classes].
func (v *Vocabulary) Bulks() bool { return v.bulks }

// Classes are those that a [Class] which is a list names, each as often as it stands
// there; nil if it is none.
func Classes(class string) (list []string) {
	if !strings.HasPrefix(class, `["`) || json.Unmarshal([]byte(class), &list) != nil {
		return nil
	}
	return list
}

// Special reports whether a field means something else than in the vocabulary of all.
func (v *Vocabulary) Special(field string) bool {
	return v.special && (field == IsClass || field == Jobs)
}

// maxCounted is how long the name of a class may be, in bytes, for the jobs that one
// span sends to be counted: a longer one counts once, as no pattern is made of it.
const maxCounted = 256

// Of returns the vocabulary for questions about one class: [IsClass] tells its spans,
// those too that send others with it, and [Jobs] how many of this class were sent.
func (v *Vocabulary) Of(class string) *Vocabulary {
	of := *v
	of.fields = slices.Clone(v.fields)
	is := call("EQUALS", col(Class), text(class))
	if v.bulks {
		var quoted strings.Builder // as it stands in the list
		e := json.NewEncoder(&quoted)
		e.SetEscapeHTML(false)
		if e.Encode(class) == nil {
			listed := strings.TrimSuffix(quoted.String(), "\n")
			is = or(is, call("CONTAINS", col(bulkNames), text(listed)))
			count := "1"
			if len(listed) <= maxCounted {
				count = call("REG_COUNT", col(bulkNames), text(regexp.QuoteMeta(listed)))
			}
			i := slices.IndexFunc(of.fields, func(f query.CalculatedField) bool { return f.Name == Jobs })
			of.fields[i].Expression = call("IF", call("EXISTS", col(bulkNames)), count, "1")
		}
	}
	of.fields = append(of.fields, query.CalculatedField{Name: IsClass, Expression: is})
	of.special = true
	return &of
}

// Waits are the attributes by which senders tell how long a message or job
// waited; none if they do not.
func (v *Vocabulary) Waits() []string { return v.waits }

// Fields returns the calculated fields of the names, and those that they read,
// in an order in which they can stand in a query.
func (v *Vocabulary) Fields(wanted ...string) []query.CalculatedField {
	need := map[string]bool{}
	for _, n := range wanted {
		need[n] = true
	}
	for i := len(v.fields) - 1; i >= 0; i-- {
		for _, read := range []string{IsJob, Retry, Class} {
			if f := v.fields[i]; need[f.Name] && f.Name != read && Reads(f.Expression, read) {
				need[read] = true
			}
		}
	}
	var out []query.CalculatedField
	for _, f := range v.fields {
		if need[f.Name] {
			out = append(out, f)
		}
	}
	return out
}

// Prefix begins the names of the vocabulary.
const Prefix = "work."

// Names are the names of the vocabulary, as far as the data has them.
func Names() []string {
	return []string{Side, IsJob, Topic, Class, WaitMS, Retry, Group, Nested, Failures, Retries, Jobs, Run, SenderService, SenderName, SentWaitMS}
}

// Calculated reports whether a column is one of the vocabulary's.
func Calculated(name string) bool {
	return strings.HasPrefix(name, Prefix) && (name == IsClass || slices.Contains(Names(), name))
}

// Reads reports whether the expression of a word reads another word.
func Reads(expression, name string) bool { return strings.Contains(expression, col(name)) }

func call(function string, args ...string) string {
	return function + "(" + strings.Join(args, ", ") + ")"
}

func col(name string) string { return "$" + name }

func text(s string) string { return strconv.Quote(s) }

func columnsOf(list []string) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = col(n)
	}
	return out
}

func literals(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = text(s)
	}
	return out
}

// or joins conditions; those that are never true are left out.
func or(conditions ...string) string {
	conditions = slices.DeleteFunc(slices.Clone(conditions), func(c string) bool { return c == "false" })
	switch len(conditions) {
	case 0:
		return "false"
	case 1:
		return conditions[0]
	}
	return call("OR", conditions...)
}

// coalesce is the first value that a row has.
func coalesce(values []string) string {
	switch len(values) {
	case 0:
		return "null"
	case 1:
		return values[0]
	}
	return call("COALESCE", values...)
}
