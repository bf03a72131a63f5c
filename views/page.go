// Package views renders pages and fragments. Every page takes [Page], which is
// the shell around it, and one view model of its own made of plain values.
//
// Components of this package are pages and named fragments; small shared parts
// live in views/ui. Nothing here has a style attribute or an inline script,
// which the content security policy blocks.
package views

import (
	"net/url"
	"time"
	"unicode"

	"redthread/static"
)

// Sections of the rail, for [Page.Section].
const (
	SectionHome           = "home"
	SectionExplore        = "explore"
	SectionThreads        = "threads"
	SectionServices       = "services"
	SectionInvestigations = "investigations"
	SectionInbox          = "inbox"
	SectionSettings       = "settings"
)

// Page is the shell around a page: what every page has.
type Page struct {
	Title   string // of the document; the page itself has its own heading
	Section string // the entry of the rail that is lit, or ""
	Me      *Me    // who is signed in; nil: the page stands without rail and bar
	Unread  int    // messages in the inbox, for its badge
	Theme   string // "light", "dark", or "" to follow the system
	Path    string // path and query of this page, to come back to
	Find    string // what stands in the find box
	Scope   *Scope // the pickers of environment and time range; nil: the page has none
	Now     time.Time

	// Styles and Scripts are what the page needs beside the shell's own, as paths
	// under static: "css/trace.css", "third_party/uPlot.iife.min.js". A module for
	// one element is better mounted with data-js.
	Styles  []string
	Scripts []string
	// Wide takes away the limit on the width of the page's content.
	Wide bool
}

// Me is the actor as the shell shows it.
type Me struct {
	ID    string
	Name  string
	Role  string
	Token bool // a program's token, not a person
	Admin bool
	// CanWrite is set for members and administrators.
	CanWrite bool
}

// Scope is what the pickers of the top bar offer and what is chosen. They send
// the page's own address again with the parameters environment and range.
type Scope struct {
	Environments []string // the names known; "" or "*" (all) need not be among them
	Environment  string   // "" or "*": all
	Ranges       []Option // nil: no time range on this page
	Range        string
	// Keep holds the page's other parameters, which the pickers carry along.
	Keep url.Values
}

// Option is one choice of a select.
type Option struct{ Value, Label string }

// Query returns the scope as it is carried to other pages, "" if all is at its
// default.
func (s *Scope) Query() string {
	v := url.Values{}
	if s != nil && s.Environment != "" && s.Environment != "*" {
		v.Set("environment", s.Environment)
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// All reports whether no single environment is chosen.
func (s *Scope) All() bool { return s.Environment == "" || s.Environment == "*" }

func (p Page) title() string {
	if p.Title == "" {
		return "redthread"
	}
	return p.Title + " · redthread"
}

// asset returns the address of a file under static.
func asset(path string) string { return static.URL(path) }

// ErrorPage says what went wrong.
type ErrorPage struct {
	Status    int
	Message   string
	RequestID string
}

func (e ErrorPage) heading() string {
	switch e.Status {
	case 401:
		return "Please sign in"
	case 403:
		return "Not allowed"
	case 404:
		return "Not found"
	case 405:
		return "Not like this"
	case 409:
		return "Changed meanwhile"
	case 413:
		return "Too large"
	case 429:
		return "Too many attempts"
	case 503:
		return "Not available just now"
	}
	return "That did not work"
}

// Initials returns at most two letters that stand for a name.
func Initials(name string) string {
	var out []rune
	start := true
	for _, r := range name {
		switch {
		case r == ' ' || r == '.' || r == '-' || r == '_' || r == '@':
			start = true
		case start && len(out) < 2:
			out = append(out, unicode.ToUpper(r))
			start = false
		default:
			start = false
		}
	}
	if len(out) == 0 {
		return "?"
	}
	return string(out)
}
