package demo

import (
	"fmt"
	"strings"
	"time"

	"redthread/tracestore/trace"
)

const ms = time.Millisecond

// page opens a request to a Rails application, as OpenTelemetry's Rack
// instrumentation records it.
func (w *world) page(p *process, c *country, at int64, method, route, target, controller, user string) *call {
	name, action, _ := strings.Cut(controller, "#")
	r := w.root(p, scopeRack, trace.KindServer, controller, at,
		"http.method", method, "http.scheme", "https", "http.host", c.host, "http.target", target, "http.route", route,
		"http.user_agent", pick(w, userAgents), "code.namespace", name, "code.function", action,
		"app.request_id", w.hexID(16), "app.country", c.code)
	if user != "" {
		r.set("user.id", user, "user.segment", pick(w, []string{"new", "returning", "returning", "trade-in"}))
	}
	r.work(w.spread(2 * ms))
	return r
}

var userAgents = []string{
	"Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1.15", "Mozilla/5.0 (Linux; Android 16) Chrome/142.0 Mobile",
}

// done answers the request.
func (c *call) done(status int) int64 {
	c.set("http.status_code", status)
	if status >= 500 {
		c.rec.Status = trace.StatusError
	}
	return c.end()
}

// sql runs a statement, as the pg instrumentation records it.
func (c *call) sql(database, operation, table, statement string, d time.Duration) {
	c.leaf(scopePG, trace.KindClient, operation+" "+database, c.w.spread(d),
		"db.system", "postgresql", "db.name", database, "db.operation", operation, "db.collection.name", table, "db.statement", statement,
		"net.peer.name", database+".db.internal", "net.peer.port", 5432)
}

// redis runs a command.
func (c *call) redis(command, key string) {
	c.leaf(scopeRedis, trace.KindClient, command, c.w.spread(700*time.Microsecond),
		"db.system", "redis", "db.statement", command+" "+key, "net.peer.name", "redis.internal", "net.peer.port", 6379)
}

// render renders a template.
func (c *call) render(template string, d time.Duration) {
	c.leaf(scopeActionPack, trace.KindInternal, "render_template.action_view", c.w.spread(d), "identifier", "app/views/"+template)
}

// http calls another service, which work answers with a status. A client gives
// up after timeout: then the server goes on by itself, and ok is false.
func (c *call) http(host, method, target string, timeout time.Duration, serve func(client *call, at int64) (end int64, status int)) (status int, ok bool) {
	client := c.child(scopeNetHTTP, trace.KindClient, "HTTP "+method,
		"http.method", method, "http.scheme", "http", "http.target", target, "net.peer.name", host, "net.peer.port", 80)
	client.work(c.w.spread(600 * time.Microsecond))
	end, status := serve(client, client.t)
	if end-client.rec.StartUnixNano > int64(timeout) {
		client.t = client.rec.StartUnixNano + int64(timeout)
		client.fail(errReadTimeout)
		c.t = client.end()
		return 0, false
	}
	client.t = end
	client.work(c.w.spread(500 * time.Microsecond))
	client.set("http.status_code", status)
	if status >= 400 {
		client.rec.Status = trace.StatusError
	}
	c.t = client.end()
	return status, true
}

// searchCars lists cars.
func (w *world) searchCars(c *country, at int64) {
	town := pick(w, c.towns)
	r := w.page(pick(w, c.web), c, at, "GET", "/cars", "/cars?near="+town, "CarsController#index", w.visitor())
	r.set("search.town", town, "feature_flag.map_view", w.chance(0.5))
	r.redis("GET", "search:"+c.code+":"+town)
	if w.chance(0.6) {
		r.sql("web_"+c.code, "SELECT", "listings", `SELECT "listings".* FROM "listings" WHERE "listings"."town" = $1 AND "listings"."state" = $2 ORDER BY "listings"."rank" LIMIT $3`, 14*ms)
		r.sql("web_"+c.code, "SELECT", "photos", `SELECT "photos".* FROM "photos" WHERE "photos"."listing_id" IN ($1, $2, $3, $4, $5)`, 4*ms)
		r.redis("SETEX", "search:"+c.code+":"+town)
	}
	r.set("search.results", w.rng.IntN(240))
	r.render("cars/index.html.erb", 18*ms)
	r.done(200)
}

// visitor is a user, or nobody.
func (w *world) visitor() string {
	if w.chance(0.45) {
		return w.user()
	}
	return ""
}

// showCar shows one car with its price.
func (w *world) showCar(c *country, at int64) {
	model := pick(w, c.models)
	id := 1000 + w.rng.IntN(9000)
	r := w.page(pick(w, c.web), c, at, "GET", "/cars/:id", fmt.Sprintf("/cars/%d", id), "CarsController#show", w.visitor())
	r.set("car.id", id, "car.model", model)
	r.sql("web_"+c.code, "SELECT", "cars", `SELECT "cars".* FROM "cars" WHERE "cars"."id" = $1 LIMIT $2`, 3*ms)
	if w.chance(0.015) {
		r.fail(errNotFound)
		r.done(404)
		return
	}
	status, _ := r.http("quotes-api.internal", "GET", "/prices/"+model, 2*time.Second, func(client *call, at int64) (int64, int) {
		s := client.serve(pick(w, c.quotes), c, at, "GET", "/prices/:model", "/prices/"+model, "PricesController#show")
		s.redis("GET", "price:"+c.code+":"+model)
		if w.chance(0.3) {
			s.sql("quotes_"+c.code, "SELECT", "prices", `SELECT "prices".* FROM "prices" WHERE "prices"."model" = $1 AND "prices"."market" = $2`, 6*ms)
			s.redis("SETEX", "price:"+c.code+":"+model)
		}
		s.work(w.spread(2 * ms))
		return s.done(200), 200
	})
	r.set("price.known", status == 200)
	r.render("cars/show.html.erb", 22*ms)
	r.done(200)
}

// serve opens a request to another Rails application under its client's span.
func (c *call) serve(p *process, in *country, at int64, method, route, target, controller string) *call {
	name, action, _ := strings.Cut(controller, "#")
	s := c.remote(p, scopeRack, trace.KindServer, controller, at,
		"http.method", method, "http.scheme", "http", "http.host", p.service+".internal", "http.target", target, "http.route", route,
		"http.user_agent", "Ruby", "code.namespace", name, "code.function", action, "app.country", in.code)
	s.work(c.w.spread(1500 * time.Microsecond))
	return s
}

// showInbox shows the offers a person has got.
func (w *world) showInbox(c *country, at int64) {
	r := w.page(pick(w, c.web), c, at, "GET", "/inbox", "/inbox", "InboxController#show", w.user())
	r.sql("web_"+c.code, "SELECT", "offers", `SELECT "offers".* FROM "offers" WHERE "offers"."user_id" = $1 ORDER BY "offers"."created_at" DESC LIMIT $2`, 9*ms)
	r.sql("web_"+c.code, "SELECT", "messages", `SELECT COUNT(*) FROM "messages" WHERE "messages"."user_id" = $1 AND "messages"."read_at" IS NULL`, 5*ms)
	r.render("inbox/show.html.erb", 12*ms)
	r.done(200)
}
