package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // people put things off until nine in their own zone

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/views"
)

// inboxPageItems is how many items a page of the inbox shows.
const inboxPageItems = 100

// showInbox answers GET /inbox.
func (s *Server) showInbox(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	view := collab.InboxView(c.QueryParam("show"))
	f := collab.InboxFilter{View: view, After: collab.InboxItemID(c.QueryParam("after")), Limit: inboxPageItems + 1}
	items, err := s.Collab.FindInbox(ctx, actor.ID, f)
	var invalid *collab.InvalidError
	var notices []string
	if errors.As(err, &invalid) {
		switch invalid.Field {
		case "show":
			notices = append(notices, "The inbox has no list “"+clipRunes(string(view), maxNoticeText)+"”: this is what is open.")
			view, f = collab.InboxOpen, collab.InboxFilter{Limit: f.Limit}
		case "after":
			notices, f.After = append(notices, notAPlace), ""
		}
		items, err = s.Collab.FindInbox(ctx, actor.ID, f)
	}
	if err != nil {
		return err
	}
	page, err := s.page(c, "Inbox", views.SectionInbox)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/inbox.css"}
	v := views.Inbox{Page: page, View: string(view), Token: actor.Kind == collab.ActorToken, Undone: inboxUndo(c), Notices: notices}
	if len(items) > inboxPageItems {
		items = items[:inboxPageItems]
		q := c.QueryParams()
		q.Del("undo")
		if view == collab.InboxOpen {
			q.Del("show")
		}
		q.Set("after", string(items[len(items)-1].ID))
		v.Older = "/inbox?" + q.Encode()
	}
	closed := strings.Split(c.QueryParam("closed"), ",")
	at := map[string]int{}
	for i := range items {
		it := &items[i]
		key, title := inboxGroup(it)
		g, ok := at[key]
		if !ok {
			g = len(v.Groups)
			at[key] = g
			group := views.InboxGroup{Key: key, Title: title, Href: key, Closed: slices.Contains(closed, key)}
			if it.InvestigationID != "" {
				group.Href, group.Mutable = "/i/"+string(it.InvestigationID), true
			}
			v.Groups = append(v.Groups, group)
		}
		v.Groups[g].Items = append(v.Groups[g].Items, inboxItemView(it))
	}
	return render(c, http.StatusOK, views.InboxPage(v))
}

// inboxGroup is what an item is listed under: its investigation, or its trace.
func inboxGroup(it *collab.InboxItem) (key, title string) {
	if it.InvestigationID != "" {
		return string(it.InvestigationID), it.Title
	}
	path, _, _ := strings.Cut(it.Path, "#")
	if parts := strings.Split(path, "/"); len(parts) > 2 {
		return "/t/" + parts[2], "Trace " + parts[2]
	}
	return path, it.Title
}

func inboxItemView(it *collab.InboxItem) views.InboxItem {
	who, what := inboxWords(it)
	v := views.InboxItem{ID: string(it.ID), Reason: string(it.Reason), Actor: who, What: what, Text: it.Text, Count: it.Count,
		At: nanoTime(it.ToldUnixNano), Read: it.Read, Done: it.Done}
	if it.SnoozedUnixNano > 0 {
		v.Until = nanoTime(it.SnoozedUnixNano)
	}
	if it.Reason == collab.ReasonAsked && it.Text != "" {
		v.What, v.Text = v.What+" "+it.Text, ""
	}
	return v
}

// inboxWords is the sentence of an item: who, and what they did. A colon says that
// the text follows.
func inboxWords(it *collab.InboxItem) (who, what string) {
	switch it.Reason {
	case collab.ReasonMention:
		return it.ActorName, "named you:"
	case collab.ReasonReply:
		return it.ActorName, "answered you:"
	case collab.ReasonAssignment:
		return it.ActorName, "made you the lead"
	case collab.ReasonTask:
		return it.ActorName, "gave you a task:"
	case collab.ReasonReview:
		return it.ActorName, "finished a task that you wrote:"
	case collab.ReasonStatus:
		return it.ActorName, "changed the status:"
	case collab.ReasonAsked:
		return it.ActorName, "asked you in"
	case collab.ReasonDue:
		return "", "The next update is due: tell the others how it stands"
	}
	return it.ActorName, string(it.Reason)
}

// inboxUndo tells what was just put away, and how to bring it back.
func inboxUndo(c echo.Context) *views.InboxUndone {
	mark, err := strconv.ParseInt(c.QueryParam("undo"), 10, 64)
	n, err2 := strconv.Atoi(c.QueryParam("moved"))
	if err != nil || err2 != nil || mark <= 0 || n < 1 {
		return nil
	}
	u := &views.InboxUndone{Mark: strconv.FormatInt(mark, 10), Words: "is done"}
	what := strconv.Itoa(n) + " message"
	if n > 1 {
		what += "s"
		u.Words = "are done"
	}
	if until, err := strconv.ParseInt(c.QueryParam("until"), 10, 64); err == nil && until > 0 {
		u.Words, u.Until = strings.Fields(u.Words)[0]+" put off until", nanoTime(until)
	}
	u.Words = what + " " + u.Words
	return u
}

// unread is the number on the inbox of whoever asks: 0 for a token.
func (s *Server) unread(ctx context.Context) (int, error) {
	actor, ok := collab.ActorFrom(ctx)
	if !ok || actor.Kind != collab.ActorUser {
		return 0, nil
	}
	return s.Collab.UnreadCount(ctx, actor.ID)
}

// updateInbox answers POST /inbox: several items at once. "selected" is about those
// with a check, "group" about one group, "all" about every open one; each is worth
// the state. "undo" takes back, "mute" silences an investigation.
func (s *Server) updateInbox(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	form := c.Request().Form
	if raw := form.Get("undo"); raw != "" {
		mark, _ := strconv.ParseInt(raw, 10, 64) // what is no mark undoes nothing
		if _, err := s.Collab.UndoInbox(ctx, actor.ID, mark); err != nil {
			return err
		}
		return seeOther(c, inboxBack(form, 0, 0, 0))
	}
	if id := form.Get("mute"); id != "" {
		if err := s.Collab.SetMuted(ctx, actor.ID, collab.InvestigationID(id), true); err != nil {
			return err
		}
		return seeOther(c, "/inbox/rules#muted")
	}
	m := collab.InboxMove{}
	switch {
	case form.Has("selected"):
		m.State, m.IDs = collab.InboxState(form.Get("selected")), []collab.InboxItemID{}
		for _, id := range form["item"] {
			m.IDs = append(m.IDs, collab.InboxItemID(id))
		}
	case form.Has("group"):
		state, group, _ := strings.Cut(form.Get("group"), " ")
		m.State, m.Group = collab.InboxState(state), group
	default:
		m.State = collab.InboxState(form.Get("all"))
	}
	return s.moveInbox(c, m)
}

// updateInboxItem answers POST /inbox/:item: an item is opened, done, put off or
// put back.
func (s *Server) updateInboxItem(c echo.Context) error {
	form := c.Request().Form
	state := collab.InboxState(form.Get("state"))
	if form.Has("open") {
		state = collab.InboxRead
	}
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	state, until, err := s.snooze(form, state)
	if err != nil {
		return err
	}
	it, mark, err := s.Collab.MoveInboxItem(ctx, actor.ID, collab.InboxItemID(c.Param("item")), state, until)
	if err != nil {
		return err
	}
	if form.Has("open") {
		return seeOther(c, sitePath(it.Path))
	}
	return seeOther(c, inboxBack(form, 1, mark, until))
}

func (s *Server) moveInbox(c echo.Context, m collab.InboxMove) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	form := c.Request().Form
	var err error
	if m.State, m.Until, err = s.snooze(form, m.State); err != nil {
		return err
	}
	n, mark, err := s.Collab.MoveInbox(ctx, actor.ID, m)
	if err != nil {
		return err
	}
	return seeOther(c, inboxBack(form, n, mark, m.Until))
}

// snooze reads a state of the form "snooze:hour" and works out until when, in the
// zone that the form names.
func (s *Server) snooze(form url.Values, state collab.InboxState) (collab.InboxState, int64, error) {
	kind, preset, _ := strings.Cut(string(state), ":")
	if kind != "snooze" {
		return state, 0, nil
	}
	zone, err := time.LoadLocation(form.Get("zone"))
	if err != nil || len(form.Get("zone")) > 64 {
		zone = time.UTC
	}
	until, ok := snoozeUntil(preset, s.Now().In(zone))
	if !ok {
		return "", 0, &collab.InvalidError{Field: "state", Message: "Put it off by an hour, until tomorrow or until Monday."}
	}
	return collab.InboxSnoozed, until.UnixNano(), nil
}

// snoozeHour is when the day of somebody who put something off begins.
const snoozeHour = 9

// snoozeUntil is when something put off comes back, in the zone of now.
func snoozeUntil(preset string, now time.Time) (time.Time, bool) {
	at := func(days int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()+days, snoozeHour, 0, 0, 0, now.Location())
	}
	switch preset {
	case "hour":
		return now.Add(time.Hour), true
	case "tomorrow":
		return at(1), true
	case "monday":
		return at((int(time.Monday-now.Weekday())+6)%7 + 1), true
	}
	return time.Time{}, false
}

// inboxBack is the address of the view that a form came from, with what was done.
func inboxBack(form url.Values, n int, mark, until int64) string {
	q := url.Values{}
	for _, name := range []string{"show", "closed"} {
		if v := form.Get(name); v != "" {
			q.Set(name, v)
		}
	}
	if mark > 0 && n > 0 {
		q.Set("undo", strconv.FormatInt(mark, 10))
		q.Set("moved", strconv.Itoa(n))
		if until > 0 {
			q.Set("until", strconv.FormatInt(until, 10))
		}
	}
	if len(q) == 0 {
		return "/inbox"
	}
	return "/inbox?" + q.Encode()
}

// inboxReasons are the reasons in the words of the rules.
var inboxReasons = map[collab.Reason]string{
	collab.ReasonMention:    "Somebody names you, or a team of yours",
	collab.ReasonReply:      "Somebody answers in a conversation that you are part of",
	collab.ReasonAssignment: "You are made the lead",
	collab.ReasonAsked:      "You or a team of yours are asked in, or given a role",
	collab.ReasonTask:       "You are given a task",
	collab.ReasonReview:     "A task that you wrote is done",
	collab.ReasonDue:        "The next update is due, and you lead",
	collab.ReasonStatus:     "The status changes where you take part",
}

// showInboxRules answers GET /inbox/rules.
func (s *Server) showInboxRules(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	page, err := s.page(c, "Inbox rules", views.SectionInbox)
	if err != nil {
		return err
	}
	page.Styles = []string{"css/inbox.css"}
	rules, err := s.Collab.InboxRules(ctx, actor.ID)
	if err != nil {
		return err
	}
	muted, err := s.Collab.Muted(ctx, actor.ID)
	if err != nil {
		return err
	}
	v := views.InboxRules{Page: page, Saved: c.QueryParam("saved") == "1"}
	for _, r := range collab.InboxReasons {
		v.Rules = append(v.Rules, views.InboxRule{Reason: string(r), Words: inboxReasons[r], Way: string(rules[r])})
	}
	for _, t := range muted {
		v.Muted = append(v.Muted, views.Option{Value: string(t.ID), Label: t.Title})
	}
	return render(c, http.StatusOK, views.InboxRulesPage(v))
}

// updateInboxRules answers POST /inbox/rules: every rule that the form has, or
// "unmute", an investigation to hear of again.
func (s *Server) updateInboxRules(c echo.Context) error {
	ctx := c.Request().Context()
	actor, _ := collab.ActorFrom(ctx)
	form := c.Request().Form
	if id := form.Get("unmute"); id != "" {
		if err := s.Collab.SetMuted(ctx, actor.ID, collab.InvestigationID(id), false); err != nil {
			return err
		}
		return seeOther(c, "/inbox/rules#muted")
	}
	rules := map[collab.Reason]collab.Way{}
	for _, r := range collab.InboxReasons {
		if way := form.Get(string(r)); way != "" {
			rules[r] = collab.Way(way)
		}
	}
	if actor.Kind != collab.ActorUser {
		return fmt.Errorf("inbox rules of a token: %w", collab.ErrForbidden)
	}
	if err := s.Collab.SetInboxRules(ctx, actor.ID, rules); err != nil {
		return err
	}
	return seeOther(c, "/inbox/rules?saved=1")
}
