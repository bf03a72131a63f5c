package handlers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/query"
)

// Limits of the lists.
const (
	defaultWorkLimit = 100
	maxWorkLimit     = query.MaxLimitNoSeries
)

// workList is the answer of the lists of topics, queues and job classes.
type workList struct {
	Results  []workStat `json:"results"`
	Total    int        `json:"total"`
	Warnings []string   `json:"warnings"`
}

// listMessagesJSON answers GET /api/v1/messages.
func (s *Server) listMessagesJSON(c echo.Context) error { return s.listWorkJSON(c, topics) }

// listJobsJSON answers GET /api/v1/jobs: by class.
func (s *Server) listJobsJSON(c echo.Context) error { return s.listWorkJSON(c, classes) }

// listQueuesJSON answers GET /api/v1/queues.
func (s *Server) listQueuesJSON(c echo.Context) error { return s.listWorkJSON(c, queues) }

func (s *Server) listWorkJSON(c echo.Context, k workKind) error {
	limit, err := limitParam(c, defaultWorkLimit, maxWorkLimit)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	stats, notes, err := w.list(ctx, k)
	if err != nil {
		return fmt.Errorf("list %s: %w", k.nouns, err)
	}
	out := workList{Results: append([]workStat{}, stats[:min(len(stats), limit)]...), Total: len(stats), Warnings: append([]string{}, notes...)}
	return c.JSON(http.StatusOK, out)
}

// workDetail is the answer for one topic, queue or job class.
type workDetail struct {
	workStat
	Origins        []originStat `json:"origins"`
	OriginsUnknown []originGap  `json:"origins_unknown"` // by reason, estimated from a sample where there are several
	EdgeWaitMS     *spread      `json:"edge_wait_ms"`    // from the end of what sent it to its start
	Waited         float64      `json:"edge_wait_count"` // of so many
	// Of jobs that say when they were due the waits are told apart, by a sample.
	QueueWaitMS  *spread       `json:"queue_wait_ms"`  // from when it was due to its start
	AskedDelayMS *spread       `json:"asked_delay_ms"` // from when it was made to when it was due
	Senders      []senderCount `json:"senders"`        // what caused them
}

type originGap struct {
	Reason string  `json:"reason"`
	Count  float64 `json:"count"`
}

type senderCount struct {
	Service string  `json:"service"`
	Name    string  `json:"name"`
	Count   float64 `json:"count"`
}

func (s *Server) showTopicJSON(c echo.Context) error    { return s.showWorkJSON(c, topics) }
func (s *Server) showJobClassJSON(c echo.Context) error { return s.showWorkJSON(c, classes) }
func (s *Server) showQueueJSON(c echo.Context) error    { return s.showWorkJSON(c, queues) }

func (s *Server) showWorkJSON(c echo.Context, k workKind) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	g := newWorkPage(w, k, pathName(c))
	known, err := g.measure(ctx)
	if err != nil {
		return fmt.Errorf("%s %q: %w", k.noun, g.name, err)
	}
	if !known {
		return echo.ErrNotFound
	}
	found, err := w.causesOf(ctx, g.handled()...)
	if err != nil {
		return err
	}
	due := &dueWaits{}
	if k.jobs {
		if due, err = w.dueWaits(ctx, g.ask(nil, calculations(), g.handled()...)); err != nil {
			return err
		}
	}
	out := workDetail{workStat: g.stat, Origins: found.origins, OriginsUnknown: []originGap{}, EdgeWaitMS: found.waits, Waited: found.waited, Senders: found.senders,
		QueueWaitMS: spreadOfAll(due.queued), AskedDelayMS: spreadOfAll(due.asked)}
	for _, reason := range slices.Sorted(maps.Keys(found.unknown)) {
		out.OriginsUnknown = append(out.OriginsUnknown, originGap{reason, found.unknown[reason]})
	}
	return c.JSON(http.StatusOK, out)
}

// showServiceMapJSON answers GET /api/v1/service-map.
func (s *Server) showServiceMapJSON(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	var g *serviceGraph
	if id := cleanText(c.QueryParam(paramThread)); id != "" {
		g, err = s.threadMap(ctx, id)
	} else {
		g, err = w.serviceGraph(ctx)
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, g)
}

// serviceList is the answer of GET /api/v1/services.
type serviceList struct {
	Services []serviceJSON `json:"services"`
}

type serviceJSON struct {
	Name   string   `json:"name"`
	Spans  float64  `json:"spans"`
	Count  float64  `json:"count"` // requests, messages and jobs
	Errors float64  `json:"errors"`
	P95MS  *float64 `json:"p95_ms"`
}

func (s *Server) listServicesJSON(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	w, err := s.work(ctx, c)
	if err != nil {
		return err
	}
	g := newServiceGraph()
	if err := w.askServices(ctx, g); err != nil {
		return fmt.Errorf("services: %w", err)
	}
	g.sort()
	out := serviceList{Services: []serviceJSON{}}
	for _, n := range g.Nodes {
		out.Services = append(out.Services, serviceJSON{n.Name, n.Spans, n.Count, n.Errors, n.P95MS})
	}
	return c.JSON(http.StatusOK, out)
}
