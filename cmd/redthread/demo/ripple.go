package demo

import (
	"time"

	"redthread/tracestore/trace"
)

// The ripple's size: runs of the job that goes on re-enqueueing itself, and how
// deep the chain gets before its guard stops it.
const (
	rippleRuns  = 420
	rippleDepth = 14
)

// startRipple lets one dealer change one price. The job that follows pushes
// itself again for each sibling model, forgets which it has seen, and stops only
// at its depth guard: one click becomes hundreds of jobs.
func (w *world) startRipple(_ *world, at int64) {
	w.ripple += int64(ripplePause)
	c := w.countries[0]
	r := w.page(c.web[0], c, at, "PATCH", "/dealer/listings/:id", "/dealer/listings/4170", "Dealer::ListingsController#update", "user-10007")
	r.set("dealer.id", slowDealer, "listing.id", 4170)
	r.sql("web_"+c.code, "UPDATE", "listings", `UPDATE "listings" SET "price" = $1, "updated_at" = $2 WHERE "listings"."id" = $3`, 6*ms)
	left := rippleRuns
	w.enqueue(r, c.worker, w.rippleJob(c, &left, 0))
	r.done(200)
	if w.story.RippleOrigin == (trace.Ref{}) {
		w.story.RippleOrigin = r.ref()
		w.story.RippleUser = "user-10007"
		w.story.RippleJobs = rippleRuns - left
	}
}

// rippleJob is one generation of the job. left counts down what the queue bears.
func (w *world) rippleJob(c *country, left *int, depth int) job {
	*left--
	model := pick(w, c.models)
	j := job{class: "RecalculateValuationsJob", queue: "low", note: []any{"car.model", model, "valuation.reason", "sibling", "job.depth", depth, "dealer.id", slowDealer},
		delay: time.Duration(3+w.rng.IntN(20)) * time.Second}
	if w.chance(0.06) {
		j.retries, j.fails = 1, &errDeadlock
	}
	j.run = func(r *call) {
		db := "pricing_" + c.code
		r.sql(db, "SELECT", "sales", `SELECT AVG("sales"."price") FROM "sales" WHERE "sales"."model" = $1 AND "sales"."sold_at" > $2`, 60*ms)
		r.sql(db, "UPDATE", "valuations", `UPDATE "valuations" SET "amount" = $1, "stale" = FALSE WHERE "valuations"."model" = $2`, 15*ms)
		if depth < rippleDepth {
			again := 1
			if depth < 3 {
				again = 3
			} else if w.chance(0.05) {
				again = 2
			}
			for range again {
				if *left > 0 {
					w.enqueue(r, c.worker, w.rippleJob(c, left, depth+1))
				}
			}
		}
		if w.chance(0.1) {
			user := w.user()
			w.enqueue(r, c.worker, job{class: "SendPriceAlertJob", queue: "mailers", run: func(m *call) {
				if w.chance(0.2) {
					m.work(w.spread(300 * ms))
					m.fail(errMail)
					return
				}
				w.sendMail(m, c, user)
			}})
		}
	}
	return j
}
