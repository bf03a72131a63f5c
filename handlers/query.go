package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/query"
)

// queryTimeout ends a query that nobody would wait for.
const queryTimeout = time.Minute

// Pages of the list of columns.
const (
	defaultColumnLimit = 1_000
	maxColumnLimit     = 10_000
)

// runQuery answers POST /api/v1/query.
func (s *Server) runQuery(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return fmt.Errorf("read query: %w", err)
	}
	spec, err := query.ParseSpec(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	if strings.Contains(c.Request().Header.Get(echo.HeaderAccept), typeNDJSON) {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		return streamQuery(c, tick.C, func(p *query.Progress) (*query.Result, error) { return s.Store.QueryProgress(ctx, spec, p) })
	}
	res, err := s.Store.Query(ctx, spec)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	return c.JSON(http.StatusOK, res)
}

// typeNDJSON is the media type of one JSON value a line.
const typeNDJSON = "application/x-ndjson"

// progressEvery is how often a running query tells how far it is.
const progressEvery = 200 * time.Millisecond

// queryLine is a line of a streamed answer: progress while the query runs, then
// its result or its error.
type queryLine struct {
	Progress *queryProgress `json:"progress,omitempty"`
	Result   any            `json:"result,omitempty"`
	*errorBody
}

type queryProgress struct {
	RowsScanned int64 `json:"rows_scanned"`
	RowsTotal   int64 `json:"rows_total"`
}

// streamQuery answers a query line by line, telling how far it is at each tick. An
// error before the first line is answered like any other.
func streamQuery[T any](c echo.Context, tick <-chan time.Time, run func(*query.Progress) (T, error)) error {
	var progress query.Progress
	var res T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		res, err = run(&progress)
	}()
	lines := json.NewEncoder(c.Response())
	write := func(l queryLine) error {
		c.Response().Header().Set(echo.HeaderContentType, typeNDJSON)
		if err := lines.Encode(l); err != nil {
			return fmt.Errorf("query: write a line: %w", err)
		}
		c.Response().Flush()
		return nil
	}
	for running := true; running; {
		select {
		case <-tick:
			var p queryProgress
			p.RowsScanned, p.RowsTotal = progress.Rows()
			// Who does not read is gone: the request's context ends the query.
			_ = write(queryLine{Progress: &p})
		case <-done:
			running = false
		}
	}
	if err == nil {
		return write(queryLine{Result: res})
	}
	if c.Response().Committed {
		body := newErrorBody(c, describe(err))
		_ = write(queryLine{errorBody: &body})
	}
	return fmt.Errorf("query: %w", err)
}

// columnList is the answer of GET /api/v1/columns.
type columnList struct {
	Columns []query.ColumnInfo `json:"columns"`
	Next    string             `json:"next"` // the after of the next page, "" at the end
}

// listColumns answers GET /api/v1/columns.
func (s *Server) listColumns(c echo.Context) error {
	limit, err := limitParam(c, defaultColumnLimit, maxColumnLimit)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	scope, prefix := query.CutScope(c.QueryParam("prefix"))
	all, err := s.Store.Columns(ctx, c.QueryParam("environment"), prefix)
	all = query.ScopedColumns(scope, prefix, all)
	if err != nil {
		return fmt.Errorf("columns: %w", err)
	}
	if after := c.QueryParam("after"); after != "" {
		at, found := slices.BinarySearchFunc(all, after, func(i query.ColumnInfo, name string) int { return strings.Compare(i.Name, name) })
		if found {
			at++
		}
		all = all[at:]
	}
	page := columnList{Columns: all}
	if len(all) > limit {
		page.Columns = all[:limit]
		page.Next = all[limit-1].Name
	}
	return c.JSON(http.StatusOK, page)
}
