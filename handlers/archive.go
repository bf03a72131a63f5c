package handlers

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore"
)

// Archive checks and copies everything that is stored: spans and the database.
type Archive interface {
	Check(ctx context.Context, o tracestore.CheckOptions) (tracestore.Report, error)
	// Backup makes the new folder to. It returns a *collab.InvalidError for a
	// folder that cannot be, and collab.ErrConflict while another one runs.
	Backup(ctx context.Context, to string) (BackupAnswer, error)
}

// CheckRequest is the body of POST /api/v1/check, which may be empty.
type CheckRequest struct {
	RebuildIndex bool `json:"rebuild_index"`
	RebuildEdges bool `json:"rebuild_edges"`
}

// BackupRequest is the body of POST /api/v1/backup.
type BackupRequest struct {
	To string `json:"to"` // a folder of the server's machine, absolute, not there yet
}

// BackupAnswer says what was copied, and what a check of the copy found.
type BackupAnswer struct {
	To             string                `json:"to"`
	Spans          tracestore.BackupInfo `json:"spans"`
	Investigations int64                 `json:"investigations"`
	ElapsedNano    int64                 `json:"elapsed_nano,string"`
	Check          tracestore.Report     `json:"check"`
}

// checkStore answers POST /api/v1/check. It takes as long as it takes to read
// everything.
func (s *Server) checkStore(c echo.Context) error {
	if s.Archive == nil {
		return echo.ErrNotFound
	}
	var req CheckRequest
	if c.Request().ContentLength != 0 {
		if err := readJSON(c, &req); err != nil {
			return err
		}
	}
	report, err := s.Archive.Check(c.Request().Context(), tracestore.CheckOptions{RebuildIndex: req.RebuildIndex, RebuildEdges: req.RebuildEdges})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, report)
}

// backUp answers POST /api/v1/backup. It writes to the disk of the server, so it
// wants an administrator who is on that machine already: a token that got lost
// must not be enough to put files there.
func (s *Server) backUp(c echo.Context) error {
	if s.Archive == nil {
		return echo.ErrNotFound
	}
	if !fromThisMachine(c.Request()) {
		return echo.NewHTTPError(http.StatusForbidden, "A backup writes to the server's disk: run redthread backup on that machine.")
	}
	var req BackupRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	if req.To == "" {
		return &collab.InvalidError{Field: "to", Message: "Name the folder to make."}
	}
	answer, err := s.Archive.Backup(c.Request().Context(), req.To)
	if err != nil {
		return err
	}
	if err := s.Collab.AddAudit(c.Request().Context(), collab.AuditEntry{Action: "backup.created", Subject: answer.To, Address: clientAddress(c.Request())}); err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, answer)
}
