package live

import (
	"slices"
	"strings"
	"unicode/utf8"

	"redthread/collab"
)

// maxPathBytes bounds the address that a client says it is at. A longer one
// loses its query.
const maxPathBytes = 4096

// boardPlace is the place of everybody who has an investigation open, or works
// on it from another page.
func boardPlace(id collab.InvestigationID) string { return "i:" + string(id) }

// placeOf returns the place that a path belongs to, "" if people there are shown
// to nobody. A trace and its thread are one place: they are two views of it; so are
// a board and one of its pins compared with what is live. Of the other pages each is
// a place of its own, whatever is asked there.
func placeOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case parts[0] == "i" && len(parts) > 1 && parts[1] != "" && (len(parts) == 2 || len(parts) == 5 && parts[2] == "blocks" && parts[4] == "compare"):
		return boardPlace(collab.InvestigationID(parts[1]))
	case parts[0] == "t" && (len(parts) == 2 || len(parts) == 3) && parts[1] != "",
		parts[0] == "thread" && len(parts) == 2 && parts[1] != "":
		return tracePlace(parts[1])
	case len(parts) == 1 && (slices.Contains(shared, parts[0]) || slices.Contains(sharedLists, parts[0])),
		len(parts) == 2 && slices.Contains(sharedLists, parts[0]) && parts[1] != "",
		path == "/service-map/traces":
		return path
	}
	return ""
}

// Pages where people see each other, by the first part of their address. What one
// has of one's own (inbox, settings), looks for or is about to write is not among
// them. Those of sharedLists have a page for each of what they list.
var (
	shared      = []string{"", "explore", "ripples", listOfBoards}
	sharedLists = []string{"services", "messages", "queues", "jobs"}
)

// listOfBoards is told without its query: the words that somebody looks for there
// may be the title of what others may not see.
const listOfBoards = "investigations"

// cleanPath returns an address on this site, or "" if it is none: others get it
// as a link.
func cleanPath(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || !utf8.ValidString(path) ||
		strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
		return ""
	}
	path, _, _ = strings.Cut(path, "#")
	if len(path) > maxPathBytes || strings.HasPrefix(path, "/"+listOfBoards+"?") {
		path, _, _ = strings.Cut(path, "?")
	}
	if len(path) > maxPathBytes || placeOf(path) == "" {
		return ""
	}
	return path
}
