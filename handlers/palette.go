package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"redthread/collab"
	"redthread/tracestore/graph"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
	"redthread/tracestore/traffic"
)

const (
	// maxPaletteText is the longest text that the palette looks for: what is longer
	// is an id or nothing.
	maxPaletteText = 200
	// maxPaletteNames is how many names of each kind are offered.
	maxPaletteNames = 12
	// maxPaletteRecent is how many investigations a browser may ask to be named.
	maxPaletteRecent = 12
	// paletteTimeout bounds the search for an id; the names come from memory.
	paletteTimeout = 1500 * time.Millisecond
)

// paletteItem is a place to go.
type paletteItem struct {
	Kind   string `json:"kind"` // screen, investigation, service, topic, queue, job, person, recent, find, or a kind of find
	Label  string `json:"label"`
	Detail string `json:"detail"`
	URL    string `json:"url"`
}

// showPalette answers GET /api/v1/palette?q=: the places whose names have the
// letters of q in its order, at most [maxPaletteNames] of each kind. Without q it
// lists the screens and the newest investigations. "i" names investigations that the
// browser showed lately: those that may still be seen are named.
func (s *Server) showPalette(c echo.Context) error {
	ctx := c.Request().Context()
	text := strings.TrimSpace(c.QueryParam("q"))
	if len(text) > maxFindText {
		return &collab.InvalidError{Field: "q", Message: fmt.Sprintf("The text is longer than %d bytes.", maxFindText)}
	}
	actor, _ := collab.ActorFrom(ctx)
	items := []paletteItem{}
	words := strings.Join(strings.Fields(text), "") // letters in order, spaces are no letters
	if text == "" {
		items = append(items, screens(actor)...)
	}
	if len(text) <= maxPaletteText {
		titles, err := s.Collab.FindTitles(ctx, words, maxPaletteNames)
		if err != nil {
			return err
		}
		for _, t := range titles {
			items = append(items, titleItem("investigation", t))
		}
	}
	if recent := c.QueryParams()["i"]; len(recent) > 0 {
		ids := make([]collab.InvestigationID, 0, maxPaletteRecent)
		for _, id := range recent[:min(len(recent), maxPaletteRecent)] {
			ids = append(ids, collab.InvestigationID(id))
		}
		titles, err := s.Collab.TitlesOf(ctx, ids)
		if err != nil {
			return err
		}
		for _, t := range titles {
			items = append(items, titleItem("recent", t))
		}
	}
	if text != "" && len(text) <= maxPaletteText {
		names, err := s.paletteNames(ctx, text)
		if err != nil {
			return err
		}
		people, err := s.palettePeople(ctx, text)
		if err != nil {
			return err
		}
		items = append(append(items, names...), people...)
	}
	if looksLikeID(text) {
		items = append(items, s.paletteFind(ctx, text)...)
	}
	return c.JSON(http.StatusOK, map[string]any{"items": items})
}

func titleItem(kind string, t collab.InvestigationTitle) paletteItem {
	detail := string(t.Status)
	if t.Severity != collab.SeverityUnknown {
		detail += " · " + string(t.Severity)
	}
	return paletteItem{kind, t.Title, detail, "/i/" + string(t.ID)}
}

// screens lists the pages that an actor may open.
func screens(actor collab.Actor) []paletteItem {
	list := []paletteItem{
		{Label: "Home", URL: "/"}, {Label: "Explore", URL: "/explore", Detail: "ask a question"}, {Label: "Threads", URL: "/ripples", Detail: "which request caused most"},
		{Label: "Services", URL: "/services", Detail: "the map"}, {Label: "Messages", URL: "/messages", Detail: "topics"}, {Label: "Jobs", URL: "/jobs"}, {Label: "Queues", URL: "/queues"},
		{Label: "Investigations", URL: "/investigations"}, {Label: "Inbox", URL: "/inbox"}, {Label: "Inbox rules", URL: "/inbox/rules"},
	}
	if actor.Role.AtLeast(collab.RoleMember) {
		list = append(list, paletteItem{Label: "New investigation", URL: "/investigations/new"})
	}
	settings := []paletteItem{{Label: "Account", URL: "/settings/account"}, {Label: "Teams", URL: "/settings/teams"}, {Label: "About", URL: "/settings/about"}}
	if actor.Role.AtLeast(collab.RoleAdmin) {
		settings = append(settings, paletteItem{Label: "People", URL: "/settings/people"}, paletteItem{Label: "Ingest keys", URL: "/settings/keys"},
			paletteItem{Label: "API tokens", URL: "/settings/tokens"}, paletteItem{Label: "Notifications", URL: "/settings/notifications"},
			paletteItem{Label: "Correlations", URL: "/settings/correlations"}, paletteItem{Label: "Storage", URL: "/settings/storage"}, paletteItem{Label: "Audit log", URL: "/settings/audit"})
	}
	for _, it := range settings {
		it.Detail = "settings"
		list = append(list, it)
	}
	for i := range list {
		list[i].Kind = "screen"
	}
	return list
}

// paletteNames offers services, topics, queues and jobs from what the store knows
// of the values of their columns: no row is read.
func (s *Server) paletteNames(ctx context.Context, text string) ([]paletteItem, error) {
	columns, err := s.Store.Columns(ctx, "*", "")
	if err != nil {
		return nil, fmt.Errorf("columns: %w", err)
	}
	// Where one system carries messages and another jobs, a name may be of either.
	jobs, messages := false, false
	for _, system := range topValues(columns, traffic.SystemColumns()) {
		isJob := graph.IsJobSystem(system)
		jobs, messages = jobs || isJob, messages || !isJob
	}
	type namesOf struct {
		kind, path string
		columns    []string
	}
	kinds := []namesOf{{"service", "/services/", []string{"service.name"}}}
	if messages || !jobs {
		kinds = append(kinds, namesOf{"topic", "/messages/", traffic.DestinationColumns()})
	}
	if jobs {
		kinds = append(kinds, namesOf{"queue", "/queues/", traffic.DestinationColumns()})
	}
	kinds = append(kinds, namesOf{"job", "/jobs/", traffic.ClassColumns()})
	var items []paletteItem
	for _, k := range kinds {
		var names []string
		for _, name := range topValues(columns, k.columns) {
			if hasLetters(name, text) {
				names = append(names, name)
			}
		}
		slices.SortStableFunc(names, func(a, b string) int { return len(a) - len(b) })
		for _, name := range names[:min(len(names), maxPaletteNames)] {
			items = append(items, paletteItem{k.kind, name, k.kind, k.path + url.PathEscape(name)})
		}
	}
	return items, nil
}

// palettePeople offers the people whose names fit: what they lead, as far as the
// reader may see it.
func (s *Server) palettePeople(ctx context.Context, text string) ([]paletteItem, error) {
	users, err := s.Collab.FindUsers(ctx)
	if err != nil {
		return nil, err
	}
	var items []paletteItem
	for _, u := range users {
		if u.Active() && hasLetters(u.Name, text) && len(items) < maxPaletteNames {
			items = append(items, paletteItem{"person", u.Name, "investigations they lead", "/investigations?show=all&q=" + url.QueryEscape(u.Name)})
		}
	}
	return items, nil
}

// topValues lists the most frequent texts of some columns, each once.
func topValues(columns []query.ColumnInfo, among []string) []string {
	var list []string
	for i := range columns {
		if !slices.Contains(among, columns[i].Name) {
			continue
		}
		for _, v := range columns[i].Top {
			if name := v.Value.Text(); v.Value.Type == trace.TypeString && name != "" && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// hasLetters reports whether name has the letters of text in their order, whatever
// their case. The browser ranks what does.
func hasLetters(name, text string) bool {
	rest := strings.ToLower(name)
	for _, r := range strings.ToLower(text) {
		if r == ' ' {
			continue
		}
		at := strings.IndexRune(rest, r)
		if at < 0 {
			return false
		}
		rest = rest[at:]
		rest = rest[len(string(r)):]
	}
	return true
}

// looksLikeID reports whether a text is rather pasted than typed: it has digits, no
// space, and is long.
func looksLikeID(text string) bool {
	return len(text) >= 12 && strings.ContainsAny(text, "0123456789") && !strings.ContainsAny(text, " \t\n")
}

// paletteFind says what an id is, as far as that is found in time: the page behind
// "Find" has more patience.
func (s *Server) paletteFind(ctx context.Context, text string) []paletteItem {
	limited, cancel := context.WithTimeout(ctx, paletteTimeout)
	defer cancel()
	results, _, err := s.find(limited, text)
	if err != nil {
		return nil
	}
	var items []paletteItem
	for _, r := range results[:min(len(results), maxPaletteNames)] {
		items = append(items, paletteItem{r.Kind, r.Label, findKinds[r.Kind], r.URL})
	}
	return items
}
