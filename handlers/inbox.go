package handlers

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// showInbox answers GET /inbox.
func (s *Server) showInbox(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	all := c.QueryParam("show") == "all"
	items, err := s.Collab.FindInbox(ctx, actor.ID, all, 0)
	if err != nil {
		return err
	}
	page, err := s.page(c, "Inbox", views.SectionInbox)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/investigation.css"}
	v := views.Inbox{Page: page, All: all, Token: actor.Kind == collab.ActorToken}
	at := map[string]int{}
	for i := range items {
		it := &items[i]
		key := string(it.InvestigationID) + " " + it.Title
		if it.InvestigationID != "" {
			key = string(it.InvestigationID)
		}
		g, ok := at[key]
		if !ok {
			g = len(v.Groups)
			at[key] = g
			group := views.InboxGroup{Title: it.Title}
			if it.InvestigationID != "" {
				group.Href = "/i/" + string(it.InvestigationID)
			}
			v.Groups = append(v.Groups, group)
		}
		v.Groups[g].Items = append(v.Groups[g].Items, views.InboxItem{ID: string(it.ID), Href: it.Path, Reason: string(it.Reason), Actor: it.ActorName,
			What: inboxWords(it), Text: it.Text, At: nanoTime(it.CreatedUnixNano), Read: it.Read, Done: it.Done})
	}
	return render(c, http.StatusOK, views.InboxPage(v))
}

func inboxWords(it *collab.InboxItem) string {
	switch it.Reason {
	case collab.ReasonMention:
		return "named you:"
	case collab.ReasonAssignment:
		return "made you the lead"
	case collab.ReasonTask:
		return "gave you a task:"
	case collab.ReasonStatus:
		return "changed the status:"
	case collab.ReasonAsked:
		return "asked you in"
	case collab.ReasonDue:
		return "The next update is due"
	}
	return string(it.Reason)
}

// unread is the number on the inbox of whoever asks: 0 for a token.
func (s *Server) unread(ctx context.Context) (int, error) {
	actor, ok := collab.ActorFrom(ctx)
	if !ok || actor.Kind != collab.ActorUser {
		return 0, nil
	}
	return s.Collab.UnreadCount(ctx, actor.ID)
}

// updateInbox answers POST /inbox: all items at once.
func (s *Server) updateInbox(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	if err := s.Collab.MarkWholeInbox(ctx, actor.ID, collab.InboxState(c.FormValue("state"))); err != nil {
		return err
	}
	return seeOther(c, "/inbox")
}

// updateInboxItem answers POST /inbox/:item: an item is opened, done or put
// back.
func (s *Server) updateInboxItem(c echo.Context) error {
	if _, err := s.markInboxItem(c, collab.InboxState(c.FormValue("state"))); err != nil {
		return err
	}
	if next := c.FormValue("next"); next != "" {
		return seeOther(c, sitePath(next))
	}
	if wantsJSON(c) {
		return s.countInbox(c)
	}
	return seeOther(c, "/inbox")
}

func (s *Server) markInboxItem(c echo.Context, to collab.InboxState) (*collab.InboxItem, error) {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	return s.Collab.MarkInbox(ctx, actor.ID, collab.InboxItemID(c.Param("item")), to)
}

// inboxList is the answer of GET /api/v1/inbox.
type inboxList struct {
	Items []collab.InboxItem `json:"items"`
}

// listInbox answers GET /api/v1/inbox.
func (s *Server) listInbox(c echo.Context) error {
	limit, err := limitParam(c, 200, 500)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	items, err := s.Collab.FindInbox(ctx, actor.ID, c.QueryParam("show") == "all", limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, inboxList{items})
}

// inboxCount is the answer of GET /api/v1/inbox/count.
type inboxCount struct {
	Unread int `json:"unread"`
}

// countInbox answers GET /api/v1/inbox/count.
func (s *Server) countInbox(c echo.Context) error {
	n, err := s.unread(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, inboxCount{n})
}

// updateInboxItemJSON answers PATCH /api/v1/inbox/:item with {"state"}.
func (s *Server) updateInboxItemJSON(c echo.Context) error {
	var body struct {
		State collab.InboxState `json:"state"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	it, err := s.markInboxItem(c, body.State)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, it)
}
