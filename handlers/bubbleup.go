package handlers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/tracestore/query"
)

// compareRows answers POST /api/v1/bubbleup.
func (s *Server) compareRows(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return fmt.Errorf("read bubbleup: %w", err)
	}
	spec, err := query.ParseBubbleUp(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), queryTimeout)
	defer cancel()
	if strings.Contains(c.Request().Header.Get(echo.HeaderAccept), typeNDJSON) {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		return streamQuery(c, tick.C, func(p *query.Progress) (*query.BubbleUpResult, error) { return s.Store.BubbleUpProgress(ctx, spec, p) })
	}
	res, err := s.Store.BubbleUp(ctx, spec)
	if err != nil {
		return fmt.Errorf("bubbleup: %w", err)
	}
	return c.JSON(http.StatusOK, res)
}
