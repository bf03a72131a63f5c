package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
)

// maxMentions is how many people and teams are offered at once.
const maxMentions = 8

// mentionList is the answer of GET /mentions.
type mentionList struct {
	Mentions []collab.MentionChoice `json:"mentions"`
}

// listMentions answers GET /mentions?q=: whom a text can name whose name begins so. Of
// an investigation, or of the one that an annotation is in, only who may see it.
func (s *Server) listMentions(c echo.Context) error {
	ctx := c.Request().Context()
	id := collab.InvestigationID(c.QueryParam("investigation"))
	if note := c.QueryParam("annotation"); note != "" {
		a, err := s.Collab.AnnotationByID(ctx, collab.AnnotationID(note))
		if err != nil {
			return err
		}
		id = a.Anchor.InvestigationID
	}
	list, err := s.Collab.FindMentions(ctx, id, clipRunes(c.QueryParam("q"), maxListText), maxMentions)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, mentionList{list})
}
