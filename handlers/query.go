package handlers

import (
	"context"
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
	res, err := s.Store.Query(ctx, spec)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	return c.JSON(http.StatusOK, res)
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
	all, err := s.Store.Columns(ctx, c.QueryParam("environment"), c.QueryParam("prefix"))
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
