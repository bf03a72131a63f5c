package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/a-h/templ"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// pinWhat is what a pin form pins: ids in hex, the query as JSON, by kind.
type pinWhat struct {
	Kind            collab.BlockKind
	TraceID, SpanID string
	QueryJSON       string
	// Title is the name of an investigation that is opened from it.
	Title string
}

// pinChoices is how many investigations a pin form offers.
const pinChoices = 6

// pinForm returns the "Pin to…" button for a page, or nil if the actor may not
// write.
func (s *Server) pinForm(c echo.Context, what pinWhat) (templ.Component, error) {
	r := c.Request()
	actor, ok := collab.ActorFrom(r.Context())
	if !ok || !actor.Role.AtLeast(collab.RoleMember) {
		return nil, nil
	}
	m := views.PinFormModel{Kind: string(what.Kind), TraceID: what.TraceID, SpanID: what.SpanID, QueryJSON: what.QueryJSON,
		Title: what.Title, Ref: uuid.NewString(), Back: r.URL.RequestURI()}
	if m.Title == "" {
		m.Title = "What is going on?"
	}
	live := []collab.Status{collab.StatusOpen, collab.StatusMitigated}
	list, _, err := s.Collab.FindInvestigations(r.Context(), collab.InvestigationFilter{Statuses: live, Limit: pinChoices})
	if err != nil {
		return nil, err
	}
	for _, inv := range list {
		m.Recent = append(m.Recent, views.PinChoice{ID: string(inv.ID), Title: inv.Title, Status: string(inv.Status)})
	}
	return views.PinForm(m), nil
}

// createPinFromForm pins what a page shows, to a chosen investigation or a new
// one. A browser that runs scripts asks for JSON and stays where it is.
func (s *Server) createPinFromForm(c echo.Context) error {
	ctx := c.Request().Context()
	n := collab.BlockNew{Ref: c.FormValue("ref"), Kind: collab.BlockKind(c.FormValue("kind")), TraceID: c.FormValue("trace_id"),
		SpanID: c.FormValue("span_id"), Text: c.FormValue("text")}
	if q := c.FormValue("query"); q != "" {
		n.Query = json.RawMessage(q)
	}
	id, block, err := s.pinTo(ctx, collab.InvestigationID(c.FormValue("investigation")), strings.TrimSpace(c.FormValue("title")), n)
	if err != nil {
		return err
	}
	path := "/i/" + url.PathEscape(string(id)) + "#" + string(block)
	if !wantsJSON(c) {
		return seeOther(c, path)
	}
	inv, err := s.Collab.InvestigationByID(ctx, id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, map[string]any{"investigation_id": id, "title": inv.Title, "pin_id": block, "path": path})
}

// pinTo pins to an investigation, or opens one with it if id is empty.
func (s *Server) pinTo(ctx context.Context, id collab.InvestigationID, title string, n collab.BlockNew) (collab.InvestigationID, collab.BlockID, error) {
	if id != "" {
		b, _, err := s.Collab.CreateBlock(ctx, id, n)
		if err != nil {
			return "", "", err
		}
		return id, b.ID, nil
	}
	if title == "" {
		title = "What is going on with this " + string(n.Kind) + "?"
	}
	inv, _, err := s.Collab.CreateInvestigation(ctx, collab.InvestigationNew{Ref: n.Ref, Title: title, Pin: &n})
	if err != nil {
		return "", "", err
	}
	board, err := s.Collab.Board(ctx, inv.ID)
	if err != nil {
		return "", "", err
	}
	if len(board.Blocks) == 0 { // a retry, and somebody deleted the pin meanwhile
		return inv.ID, "", nil
	}
	return inv.ID, board.Blocks[0].ID, nil
}

// wantsJSON reports whether a page's script asks a form route for JSON.
func wantsJSON(c echo.Context) bool {
	return strings.HasPrefix(c.Request().Header.Get("Accept"), "application/json")
}
