package handlers

import (
	"net/http"
	"regexp"
	"sync"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/query"
)

// headerProgress names the request of a page, so that its queries can be watched
// while it waits for its answer: a random number of the page's own.
const headerProgress = "X-Redthread-Progress"

var progressID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// watchedQueries are the queries that pages wait for, by the number their page gave.
type watchedQueries struct {
	mu      sync.Mutex
	running map[string]*query.Progress
}

// begin makes the progress of a request findable until done is called; without a
// number nobody watches it.
func (w *watchedQueries) begin(id string) (p *query.Progress, done func()) {
	if !progressID.MatchString(id) {
		return nil, func() {}
	}
	p = new(query.Progress)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == nil {
		w.running = make(map[string]*query.Progress)
	}
	w.running[id] = p
	return p, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.running[id] == p {
			delete(w.running, id)
		}
	}
}

func (w *watchedQueries) find(id string) *query.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running[id]
}

// showProgress answers GET /explore/progress/:id: how far the query is that a page
// waits for, zeros before it has begun and after its end.
func (s *Server) showProgress(c echo.Context) error {
	var p queryProgress
	if running := s.watched.find(c.Param("id")); running != nil {
		p.RowsScanned, p.RowsTotal = running.Rows()
	}
	return c.JSON(http.StatusOK, p)
}
