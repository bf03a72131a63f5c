package demo

import (
	"fmt"
	"time"

	"redthread/tracestore/trace"
)

// pollAfter is how long messages wait for others of their batch.
const pollAfter = 4 * time.Second

// job is work for a Sidekiq queue.
type job struct {
	class, queue string
	run          func(*call)
	fails        *exception // what each run before the last ends with
	retries      int        // how many runs fail first
	delay        time.Duration
	note         []any // attributes of every run
}

// enqueue pushes a job and plans its runs. As the Ruby instrumentation has it by
// default, each run is a trace of its own with one link to the push.
func (w *world) enqueue(from *call, p *process, j job) trace.Ref {
	jid := w.hexID(12)
	push := from.child(scopeSidekiq, trace.KindProducer, j.class+" publish",
		"messaging.system", "sidekiq", "messaging.sidekiq.job_class", j.class, "messaging.message_id", jid,
		"messaging.destination", j.queue, "messaging.destination_kind", "queue", "net.peer.name", "redis.internal")
	push.event("created_at")
	push.work(w.spread(900 * time.Microsecond))
	from.t = push.end()
	w.runJob(push.ref(), from.t, p, j, jid)
	return push.ref()
}

// runJob makes the runs of a job that was pushed at a moment. Each says when it was
// made and when it was put into its queue: after its delay, or the pause before a retry.
func (w *world) runJob(push trace.Ref, at int64, p *process, j job, jid string) {
	due := at + int64(j.delay)
	start := due + int64(w.spread(250*ms))
	for attempt := 0; ; attempt++ {
		r := w.root(p, scopeSidekiq, trace.KindConsumer, j.class+" process", start,
			"messaging.system", "sidekiq", "messaging.sidekiq.job_class", j.class, "messaging.message_id", jid,
			"messaging.destination", j.queue, "messaging.destination_kind", "queue", "messaging.operation", "process")
		if attempt > 0 {
			r.set("messaging.sidekiq.retry_count", attempt-1) // as Sidekiq counts: from 0, and none in the first run
		}
		r.set(j.note...)
		r.link(push)
		r.eventAt(at, "created_at")
		r.eventAt(due, "enqueued_at")
		r.work(w.spread(ms))
		if attempt < j.retries {
			r.work(w.spread(40 * ms))
			r.fail(*j.fails)
			due = r.end() + int64(w.spread(time.Duration(12+attempt*attempt*8)*time.Second))
			start = due + int64(w.spread(20*ms))
			continue
		}
		j.run(r)
		r.end()
		return
	}
}

// sendMail calls the mail provider.
func (w *world) sendMail(j *call, c *country, user string) {
	j.set("user.id", user)
	j.sql("web_"+c.code, "SELECT", "users", `SELECT "users".* FROM "users" WHERE "users"."id" = $1 LIMIT $2`, 3*ms)
	j.render("mailer/quote.html.erb", 9*ms)
	j.http("api.mail.example", "POST", "/email", 10*time.Second, func(_ *call, at int64) (int64, int) {
		return at + int64(w.spread(140*ms)), 200
	})
}

// deliver hands a message to its consumers. In the UK the consumer reads one
// message at a time and joins the sender's trace; in Germany it reads batches;
// price changes are read by a Ruby consumer that links.
func (w *world) deliver(c *country, topic string, m message) {
	switch {
	case topic == c.code+".price-changed":
		w.consumeByLink(c, topic, m)
	case c.code == "uk":
		w.consumeByParent(c, topic, m)
	default:
		c.batch = append(c.batch, m)
		if len(c.batch) >= 4 {
			w.poll(c, topic, m.at)
		}
	}
}

// consumeByParent is kafkajs with eachMessage: a child of the sender.
func (w *world) consumeByParent(c *country, topic string, m message) {
	start := m.at + int64(w.spread(30*ms))
	s := w.open(c.consumer, scopeNodeKafka, m.ref.TraceID, m.ref.SpanID, trace.KindConsumer, "process "+topic, start, processAttributes(topic, m))
	w.handleQuote(s, c, m.quote)
	s.end()
}

func processAttributes(topic string, m message) []any {
	return []any{"messaging.system", "kafka", "messaging.destination.name", topic, "messaging.destination.partition.id", "0",
		"messaging.operation.type", "process", "messaging.operation.name", "process",
		"messaging.kafka.message.key", m.quote.id, "messaging.kafka.offset", fmt.Sprint(m.offset)}
}

// pollOld reads what has waited long enough.
func (w *world) pollOld(at int64) {
	for _, c := range w.countries {
		if len(c.batch) > 0 && at-c.batch[0].at > int64(pollAfter) {
			w.poll(c, c.code+".quote-requested", c.batch[0].at+int64(pollAfter))
		}
	}
}

// poll is kafkajs with eachBatch: a new trace whose root has no link, a child with
// one link for each message, and then the handler's work, as siblings of those.
func (w *world) poll(c *country, topic string, at int64) {
	batch := c.batch
	c.batch = nil
	for _, m := range batch {
		at = max(at, m.at)
	}
	root := w.root(c.consumer, scopeNodeKafka, trace.KindClient, "poll "+topic, at+int64(w.spread(20*ms)),
		"messaging.system", "kafka", "messaging.destination.name", topic, "messaging.destination.partition.id", "0",
		"messaging.operation.type", "receive", "messaging.operation.name", "poll", "messaging.batch.message_count", len(batch))
	for _, m := range batch {
		p := root.child(scopeNodeKafka, trace.KindConsumer, "process "+topic, processAttributes(topic, m)...)
		p.link(m.ref)
		p.work(w.spread(200 * time.Microsecond))
		root.t = p.end()
	}
	for _, m := range batch {
		w.handleQuote(root, c, m.quote)
	}
	root.end()
}

// handleQuote tells each dealer of a quote.
func (w *world) handleQuote(s *call, c *country, q quote) {
	s.leaf(scopeNodePG, trace.KindClient, "pg.query:SELECT dealers_"+c.code, w.spread(4*ms),
		"db.system.name", "postgresql", "db.namespace", "dealers_"+c.code, "db.query.text", "SELECT webhook FROM dealers WHERE id = ANY($1)", "server.address", "dealers-db.internal")
	for _, dealer := range q.dealers {
		j := job{class: "NotifyDealersJob", queue: "default", note: []any{"dealer.id", dealer, "quote.id", q.id}, run: func(r *call) {
			r.http("hooks."+dealer+".example", "POST", "/leads", 10*time.Second, func(_ *call, at int64) (int64, int) {
				return at + int64(w.spread(90*ms)), 200
			})
			r.sql("web_"+c.code, "INSERT", "offers", `INSERT INTO "offers" ("quote_id", "dealer_id", "state") VALUES ($1, $2, $3)`, 5*ms)
		}}
		if w.chance(0.03) {
			j.retries, j.fails = 1+w.rng.IntN(3), &errWebhook
		}
		w.enqueue(s, c.worker, j)
	}
}

// consumeByLink is Racecar: a new trace with a link to the message.
func (w *world) consumeByLink(c *country, topic string, m message) {
	start := m.at + int64(w.spread(60*ms))
	r := w.root(c.pricing, scopeRacecar, trace.KindConsumer, topic+" process", start,
		"messaging.system", "kafka", "messaging.destination", topic, "messaging.destination_kind", "topic", "messaging.operation", "process",
		"messaging.kafka.message_key", m.quote.id, "messaging.kafka.partition", 0, "messaging.kafka.offset", m.offset)
	r.link(m.ref)
	r.sql("pricing_"+c.code, "UPDATE", "valuations", `UPDATE "valuations" SET "stale" = TRUE WHERE "valuations"."model" = $1`, 12*ms)
	w.enqueue(r, c.worker, w.valuationJob(c, m.quote.model, "listing"))
	r.end()
}

// valuationJob works out what a model is worth.
func (w *world) valuationJob(c *country, model, reason string) job {
	return job{class: "RecalculateValuationsJob", queue: "low", note: []any{"car.model", model, "valuation.reason", reason}, run: func(r *call) {
		r.sql("pricing_"+c.code, "SELECT", "sales", `SELECT AVG("sales"."price") FROM "sales" WHERE "sales"."model" = $1 AND "sales"."sold_at" > $2`, 35*ms)
		r.sql("pricing_"+c.code, "UPDATE", "valuations", `UPDATE "valuations" SET "amount" = $1, "stale" = FALSE WHERE "valuations"."model" = $2`, 8*ms)
	}}
}

// tick is a job on a schedule.
type tick struct {
	country     *country
	class, spec string
	every       time.Duration
	next        int64
}

// fire pushes the job, as the scheduler does: from a root that says its schedule.
func (t *tick) fire(w *world, at int64) {
	t.next += int64(t.every)
	c := t.country
	r := w.root(c.cron, scopeSidekiq, trace.KindInternal, "sidekiq.cron "+t.class, at, "cron.schedule", t.spec, "cron.name", t.class, "messaging.sidekiq.job_class", t.class)
	w.enqueue(r, c.worker, job{class: t.class, queue: "cron", run: func(j *call) {
		j.sql("web_"+c.code, "SELECT", "listings", `SELECT "listings"."id" FROM "listings" WHERE "listings"."refreshed_at" < $1 LIMIT $2`, 60*ms)
		if t.class != "RefreshListingsJob" {
			j.sql("web_"+c.code, "UPDATE", "quote_requests", `UPDATE "quote_requests" SET "state" = 'expired' WHERE "quote_requests"."created_at" < $1`, 90*ms)
			return
		}
		for range 3 {
			dealer := w.dealer()
			w.enqueue(j, c.worker, job{class: "SyncDealerJob", queue: "low", note: []any{"dealer.id", dealer}, run: func(s *call) {
				s.http("feeds."+dealer+".example", "GET", "/stock.csv", 20*time.Second, func(_ *call, at int64) (int64, int) {
					return at + int64(w.spread(400*ms)), 200
				})
				s.sql("web_"+c.code, "INSERT", "listings", `INSERT INTO "listings" ("dealer_id", "price") VALUES ($1, $2) ON CONFLICT DO NOTHING`, 25*ms)
			}})
		}
	}})
	r.end()
}
