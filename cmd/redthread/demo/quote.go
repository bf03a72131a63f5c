package demo

import (
	"fmt"
	"slices"
	"time"

	"redthread/tracestore/trace"
)

// quoteTimeout is how long the web application waits for a quote.
const quoteTimeout = 5 * time.Second

// requestQuote is the heart of the marketplace: a person asks dealers for offers.
func (w *world) requestQuote(c *country, at int64) {
	q := quote{id: "q-" + w.hexID(4), user: w.user(), model: pick(w, c.models)}
	for range 3 {
		q.dealers = append(q.dealers, w.dealer())
	}
	slow := at >= w.incident && c.code == "uk" && w.chance(0.12)
	if slow {
		q.dealers[0] = slowDealer
	} else if i := slices.Index(q.dealers, slowDealer); i >= 0 {
		// The span names its first dealer, so that a GROUP BY finds the one. It
		// is a dealer in the UK.
		q.dealers[0], q.dealers[i] = q.dealers[i], q.dealers[0]
		if c.code != "uk" {
			q.dealers[0] = neighbourDealer
		}
	}
	r := w.page(pick(w, c.web), c, at, "POST", "/quotes", "/quotes", "QuotesController#create", q.user)
	r.set("quote.id", q.id, "car.model", q.model, "feature_flag.instant_quotes", true)
	if v, ok := r.rec.Attribute("app.request_id"); ok {
		q.request = v.Str
	}
	r.sql("web_"+c.code, "INSERT", "quote_requests", `INSERT INTO "quote_requests" ("user_id", "model", "created_at") VALUES ($1, $2, $3) RETURNING "id"`, 5*ms)

	p := pick(w, c.quotes)
	onSlowBuild := at >= w.incident && w.chance(0.4)
	if onSlowBuild {
		p = p.withBuild(slowBuild)
	}
	var server trace.Ref
	_, ok := r.http("quotes-api.internal", "POST", "/api/quotes", quoteTimeout, func(client *call, at int64) (int64, int) {
		end, ref := w.makeQuote(client, p, c, q, at, onSlowBuild)
		server = ref
		return end, 202
	})
	if !ok {
		r.fail(errReadTimeout)
		w.noteQuote(r, q, onSlowBuild, server)
		r.done(504)
		return
	}
	w.enqueue(r, c.worker, job{class: "SendQuoteEmailJob", queue: "mailers", run: func(j *call) { w.sendMail(j, c, q.user) }})
	r.render("quotes/created.html.erb", 8*ms)
	r.done(201)
	w.noteQuote(r, q, onSlowBuild, server)
}

// noteQuote picks the traces that tell the story: a quote that the slow build
// made for the slow dealer, and a healthy one of the same time.
func (w *world) noteQuote(r *call, q quote, onSlowBuild bool, server trace.Ref) {
	if r.rec.StartUnixNano < w.incident {
		return
	}
	took := time.Duration(r.t - r.rec.StartUnixNano)
	switch withDealer := q.dealers[0] == slowDealer; {
	case withDealer && onSlowBuild && took > 3*time.Second && w.story.SlowQuote == (trace.Ref{}):
		w.story.SlowQuote, w.story.SlowServer = r.ref(), server
		w.story.SlowUser = q.user
	case !onSlowBuild && took < time.Second && w.story.HealthyQuote == (trace.Ref{}):
		w.story.HealthyQuote = r.ref()
	}
}

// makeQuote is the quotes API: it asks the dealers, stores the quote and says so
// on Kafka.
func (w *world) makeQuote(client *call, p *process, c *country, q quote, at int64, slowBuildRuns bool) (end int64, ref trace.Ref) {
	s := client.serve(p, c, at, "POST", "/api/quotes", "/api/quotes", "Api::QuotesController#create")
	s.set("quote.id", q.id, "car.model", q.model, "user.id", q.user, "app.request_id", q.request,
		"quote.dealers", len(q.dealers), "dealer.id", q.dealers[0], "feature_flag.finance_calculator_v2", slowBuildRuns)
	db := "quotes_" + c.code
	s.sql(db, "SELECT", "models", `SELECT "models".* FROM "models" WHERE "models"."slug" = $1 LIMIT $2`, 3*ms)
	for _, dealer := range q.dealers {
		s.askDealer(c, dealer)
		if slowBuildRuns && dealer == slowDealer {
			// The new calculator asks for the finance terms of each trim that the
			// dealer stocks, one by one; this dealer stocks more than any other.
			for range 24 + w.rng.IntN(30) {
				s.sql(db, "SELECT", "finance_terms", `SELECT "finance_terms".* FROM "finance_terms" WHERE "finance_terms"."dealer_id" = $1 AND "finance_terms"."trim_id" = $2`, 95*ms)
			}
		} else {
			s.sql(db, "SELECT", "finance_terms", `SELECT "finance_terms".* FROM "finance_terms" WHERE "finance_terms"."dealer_id" = $1`, 7*ms)
		}
	}
	s.sql(db, "INSERT", "quotes", `INSERT INTO "quotes" ("id", "user_id", "model", "payload", "created_at") VALUES ($1, $2, $3, $4, $5)`, 6*ms)
	topic := c.code + ".quote-requested"
	m := s.publish(w, topic, q)
	end = s.done(202)
	w.deliver(c, topic, m)
	return end, s.ref()
}

// askDealer calls the Go service that knows the dealers, which records the new
// names of the semantic conventions.
func (c *call) askDealer(in *country, dealer string) {
	w := c.w
	c.http("dealers-api.internal", "GET", "/dealers/"+dealer+"/offer", 2*time.Second, func(client *call, at int64) (int64, int) {
		s := client.remote(in.dealers, scopeGoHTTP, trace.KindServer, "GET /dealers/{id}/offer", at,
			"http.request.method", "GET", "url.scheme", "http", "url.path", "/dealers/"+dealer+"/offer", "http.route", "/dealers/{id}/offer",
			"server.address", "dealers-api.internal", "network.protocol.version", "1.1", "user_agent.original", "Ruby", "dealer.id", dealer)
		s.work(w.spread(800 * time.Microsecond))
		s.leaf(scopeGoSQL, trace.KindClient, "sql.conn.query", w.spread(5*ms),
			"db.system.name", "postgresql", "db.namespace", "dealers_"+in.code, "db.operation.name", "SELECT",
			"db.query.text", "SELECT offer FROM dealer_offers WHERE dealer_id = $1", "server.address", "dealers-db.internal")
		status := 200
		if w.chance(0.004) {
			status = 503
			s.rec.Status = trace.StatusError
			s.set("error.type", "503")
		}
		s.set("http.response.status_code", status)
		return s.end(), status
	})
}

// publish sends a message, as the rdkafka instrumentation records it.
func (c *call) publish(w *world, topic string, q quote) message {
	offset := w.offset(topic)
	l := c.child(scopeRdkafka, trace.KindProducer, topic+" publish",
		"messaging.system", "kafka", "messaging.destination", topic, "messaging.destination_kind", "topic",
		"messaging.kafka.message_key", q.id, "messaging.kafka.partition", 0)
	l.work(w.spread(900 * time.Microsecond))
	c.t = l.end()
	return message{ref: l.ref(), at: c.t, offset: offset, quote: q}
}

// updatePrice is a dealer who changes prices in the portal.
func (w *world) updatePrice(c *country, at int64) {
	dealer := w.dealer()
	listing := 1000 + w.rng.IntN(9000)
	r := w.page(pick(w, c.web), c, at, "PATCH", "/dealer/listings/:id", fmt.Sprintf("/dealer/listings/%d", listing), "Dealer::ListingsController#update", "")
	r.set("dealer.id", dealer, "listing.id", listing)
	r.sql("web_"+c.code, "UPDATE", "listings", `UPDATE "listings" SET "price" = $1, "updated_at" = $2 WHERE "listings"."id" = $3`, 6*ms)
	topic := c.code + ".price-changed"
	m := r.publish(w, topic, quote{id: fmt.Sprintf("listing-%d", listing), model: pick(w, c.models)})
	r.done(200)
	w.deliver(c, topic, m)
}
