package handlers

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"redthread/collab"
)

// inboxList is the answer of GET /api/v1/inbox. Next is the id to continue after,
// "" at the end.
type inboxList struct {
	Items []collab.InboxItem `json:"items"`
	Next  collab.InboxItemID `json:"next"`
}

// listInbox answers GET /api/v1/inbox.
func (s *Server) listInbox(c echo.Context) error {
	limit, err := limitParam(c, 200, collab.MaxInboxItems-1)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	items, err := s.Collab.FindInbox(ctx, actor.ID, collab.InboxFilter{View: collab.InboxView(c.QueryParam("show")),
		After: collab.InboxItemID(c.QueryParam("after")), Limit: limit + 1})
	if err != nil {
		return err
	}
	list := inboxList{Items: items}
	if len(items) > limit {
		list.Items, list.Next = items[:limit], items[limit-1].ID
	}
	return c.JSON(http.StatusOK, list)
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

// inboxNews is the answer of GET /api/v1/inbox/news: the badge, and with "after" what
// a browser says that has said all until then. Newest is what to say next time.
type inboxNews struct {
	Unread         int         `json:"unread"`
	NewestUnixNano int64       `json:"newest_unix_nano,string"`
	Items          []inboxNote `json:"items"`
}

// inboxNote is an item in the words of a notification.
type inboxNote struct {
	ID    collab.InboxItemID `json:"id"`
	Title string             `json:"title"`
	Body  string             `json:"body"`
	Path  string             `json:"path"`
}

// showInboxNews answers GET /api/v1/inbox/news?after=.
func (s *Server) showInboxNews(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	after, err := strconv.ParseInt(c.QueryParam("after"), 10, 64)
	if err != nil && c.QueryParam("after") != "" {
		return &collab.InvalidError{Field: "after", Message: "After is nanoseconds since the epoch."}
	}
	news := inboxNews{Items: []inboxNote{}}
	if news.Unread, err = s.unread(ctx); err != nil {
		return err
	}
	items, newest, err := s.Collab.InboxNews(ctx, actor.ID, after)
	if err != nil {
		return err
	}
	news.NewestUnixNano = newest
	if c.QueryParam("after") == "" {
		items = nil
	}
	for i := range items {
		v := inboxItemView(&items[i])
		n := inboxNote{ID: items[i].ID, Title: items[i].Title, Body: v.What, Path: items[i].Path}
		if v.Actor != "" {
			n.Body = v.Actor + " " + n.Body
		}
		if v.Text != "" {
			n.Body += " " + v.Text
		}
		news.Items = append(news.Items, n)
	}
	return c.JSON(http.StatusOK, news)
}

// updateInboxItemJSON answers PATCH /api/v1/inbox/:item with {"state"}, and with
// {"until_unix_nano"} if that is snoozed.
func (s *Server) updateInboxItemJSON(c echo.Context) error {
	var body struct {
		State         collab.InboxState `json:"state"`
		UntilUnixNano int64             `json:"until_unix_nano,string"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	it, _, err := s.Collab.MoveInboxItem(ctx, actor.ID, collab.InboxItemID(c.Param("item")), body.State, body.UntilUnixNano)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, it)
}
