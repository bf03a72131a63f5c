package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// showRedact answers GET /i/:id/blocks/:block/redact: the form that takes a value
// out of a pin.
func (s *Server) showRedact(c echo.Context) error { return s.renderRedact(c, http.StatusOK, nil) }

func (s *Server) renderRedact(c echo.Context, status int, errors views.FieldErrors) error {
	block, err := s.Collab.BlockByID(c.Request().Context(), investigationParam(c), blockParam(c))
	if err != nil {
		return err
	}
	if block.Evidence == nil || block.Kind == collab.KindComparison {
		return collab.ErrNotFound
	}
	page, err := s.page(c, "Take a value out of "+blockName(block), views.SectionInvestigations)
	if err != nil {
		return err
	}
	return render(c, status, views.RedactPage(views.Redact{Page: page, Title: blockName(block), Action: blockURL(block) + "/redact",
		Back: "/i/" + string(block.InvestigationID) + "#" + string(block.ID), Errors: errors}))
}

// redactPin answers the form. What was typed is not sent back.
func (s *Server) redactPin(c echo.Context) error {
	id, block := investigationParam(c), blockParam(c)
	_, err := s.Collab.RedactPin(c.Request().Context(), id, block, collab.RedactNew{Value: c.FormValue("value")})
	if fields, ok := fieldErrors(err, "value"); ok {
		return s.renderRedact(c, http.StatusUnprocessableEntity, fields)
	}
	if err != nil {
		return err
	}
	return seeOther(c, "/i/"+string(id)+"#"+string(block))
}

// redactPinJSON answers POST /api/v1/investigations/:id/pins/:block/redact.
func (s *Server) redactPinJSON(c echo.Context) error {
	var n collab.RedactNew
	if err := readJSON(c, &n); err != nil {
		return err
	}
	block, err := s.Collab.RedactPin(c.Request().Context(), investigationParam(c), blockParam(c), n)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, block)
}

// redactedWords say who took values out of a frozen copy, "" if nobody did.
func redactedWords(e *collab.EvidenceInfo) string {
	if len(e.Redactions) == 0 {
		return ""
	}
	last := e.Redactions[len(e.Redactions)-1]
	return "values taken out by " + last.ByName + ", " + views.At(nanoTime(last.AtUnixNano))
}
