package handlers

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

const (
	// minRanked is how many other threads there have to be for a rank to mean
	// something.
	minRanked = 20
	// maxRankedTraces is up to how many traces a thread is compared with others on
	// its page: counting those beyond costs as much as the page.
	maxRankedTraces = 20_000
	// rankBefore and rankAfter are how far around a thread others are looked for,
	// from the half hour in which it began: who opens several asks the same.
	rankBefore = 30 * time.Minute
	rankAfter  = time.Hour
)

// ranking is what to compare a thread with: others from its endpoint around its
// time. It is false for a trace that begins none, as far as is known.
func (s *Server) ranking(ctx context.Context, id trace.ID) (ripplesState, bool, error) {
	sums, err := s.Store.Summaries(ctx, []trace.ID{id})
	if err != nil {
		return ripplesState{}, false, err
	}
	m := &sums[0]
	if !m.Root || m.Caused || m.Service == "" {
		return ripplesState{}, false, nil
	}
	at := time.Unix(0, m.StartUnixNano).UTC().Truncate(30 * time.Minute)
	return ripplesState{window: timeWindow{From: at.Add(-rankBefore), To: at.Add(rankAfter)}, environment: m.Environment, sort: sortBiggest,
		open: &graph.Endpoint{Environment: m.Environment, Service: m.Service, Name: graph.EndpointName(m.Name, m.Route)}}, true, nil
}

// showThreadRank is the part of a thread's page that comes later: how large it is
// among others from its endpoint. The trace is that of the origin.
func (s *Server) showThreadRank(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := trace.ParseID(c.Param("trace"))
	if err != nil {
		return s.traceMissing(c, http.StatusBadRequest, views.NoTrace{Invalid: invalidWords(err)})
	}
	st, ok, err := s.ranking(ctx, id)
	if err != nil {
		return err
	}
	v := views.ThreadRank{}
	if ok {
		v.Href = st.href("/ripples")
		report, err := s.ripples.glance(ctx, s.Graph, st)
		if err != nil {
			return err
		}
		if report != nil && report.Open != nil {
			v.Share, v.Than = threadRank(report.Open.All, id)
		}
	}
	return render(c, http.StatusOK, views.ThreadRankText(v))
}

// threadRank places the thread that begins with a trace among others: "Bigger
// than", "99.9 %", of what. It is "" where it is not among them, or they are few.
// A thread is as big as what it set off.
func threadRank(all []graph.RippleThread, id trace.ID) (share, than string) {
	own := -1
	for i := range all {
		if all[i].TraceID == id {
			own = all[i].Effects()
		}
	}
	others := len(all) - 1
	if own < 0 || others < minRanked {
		return "", ""
	}
	smaller, larger := 0, 0
	for i := range all {
		switch n := all[i].Effects(); {
		case n < own:
			smaller++
		case n > own:
			larger++
		}
	}
	of := " of " + ui.Count(others) + " others from this endpoint"
	switch {
	case smaller == 0 && larger == 0:
		return "As big as all", of + " within the hour"
	case smaller >= larger:
		return "Bigger than " + shareText(smaller, others), of + " within the hour"
	}
	return "Smaller than " + shareText(larger, others), of + " within the hour"
}

// shareText is a share in percent, rounded down: 999 of 1,000 are not all.
func shareText(n, of int) string {
	if n == of {
		return "all"
	}
	p := 100 * float64(n) / float64(of)
	if p > 99 {
		return strconv.FormatFloat(math.Floor(p*10)/10, 'f', -1, 64) + " %"
	}
	return strconv.Itoa(int(p)) + " %"
}
