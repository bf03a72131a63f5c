package live

import (
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
// to nobody. A trace and its thread are one place: they are two views of it.
func placeOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case parts[0] == "i" && len(parts) == 2 && parts[1] != "":
		return boardPlace(collab.InvestigationID(parts[1]))
	case parts[0] == "t" && (len(parts) == 2 || len(parts) == 3) && parts[1] != "",
		parts[0] == "thread" && len(parts) == 2 && parts[1] != "":
		return tracePlace(parts[1])
	case parts[0] == "explore" && len(parts) == 1:
		return "explore"
	}
	return ""
}

// cleanPath returns an address on this site, or "" if it is none: others get it
// as a link.
func cleanPath(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || !utf8.ValidString(path) ||
		strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
		return ""
	}
	path, _, _ = strings.Cut(path, "#")
	if len(path) > maxPathBytes {
		path, _, _ = strings.Cut(path, "?")
	}
	if len(path) > maxPathBytes || placeOf(path) == "" {
		return ""
	}
	return path
}
