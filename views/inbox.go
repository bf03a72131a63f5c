package views

import (
	"strconv"
	"strings"
	"time"
)

// Inbox is the page of what concerns a person.
type Inbox struct {
	Page    Page
	View    string // "", unread, snoozed, done, all
	Groups  []InboxGroup
	Older   string // address of what comes below, "": nothing does
	Undone  *InboxUndone
	Notices []string // what of the address was not understood
	Token   bool     // a token has no inbox
}

// InboxUndone says what was just put away. Until is when it comes back.
type InboxUndone struct {
	Mark  string
	Words string
	Until time.Time
}

// InboxGroup is what came from one investigation, or hangs on one trace, the newest
// first.
type InboxGroup struct {
	Key     string
	Title   string
	Href    string
	Mutable bool // an investigation
	Closed  bool
	Items   []InboxItem
}

// InboxItem is one message.
type InboxItem struct {
	ID     string
	Reason string
	Actor  string // "": What is the sentence
	What   string // what the actor did, in words
	Text   string
	Count  int // changes that it stands for
	At     time.Time
	Until  time.Time // put off; zero: not
	Read   bool
	Done   bool
}

// InboxRules is the form of what a person wants to hear of.
type InboxRules struct {
	Page  Page
	Rules []InboxRule
	Muted []Option // investigations
	Saved bool
}

// InboxRule is one reason and how the person is told.
type InboxRule struct{ Reason, Words, Way string }

var inboxViews = []Option{{"", "Open"}, {"unread", "Unread"}, {"snoozed", "Snoozed"}, {"done", "Done"}}

var inboxWays = []Option{{"notify", "Inbox and browser"}, {"inbox", "Inbox"}, {"off", "Nothing"}}

var inboxSnoozes = []Option{{"snooze:hour", "For an hour"}, {"snooze:tomorrow", "Until tomorrow, 9:00"}, {"snooze:monday", "Until Monday, 9:00"}}

// href is the address of a view of the inbox.
func (v Inbox) href(view string) string {
	if view == "" {
		return "/inbox"
	}
	return "/inbox?show=" + view
}

// open reports whether the view holds what one may still put away.
func (v Inbox) open() bool { return v.View == "" || v.View == "unread" }

func (v Inbox) closed() string {
	var keys []string
	for _, g := range v.Groups {
		if g.Closed {
			keys = append(keys, g.Key)
		}
	}
	return strings.Join(keys, ",")
}

func (g InboxGroup) count() string {
	n, unread := len(g.Items), 0
	for _, it := range g.Items {
		if it.unread() {
			unread++
		}
	}
	switch unread {
	case 0:
		return strconv.Itoa(n)
	case n:
		return strconv.Itoa(n) + " unread"
	}
	return strconv.Itoa(n) + ", " + strconv.Itoa(unread) + " unread"
}

func (it InboxItem) unread() bool { return !it.Read && !it.Done && it.Until.IsZero() }

func (it InboxItem) sentence() string {
	return strings.TrimSpace(it.Actor + " " + strings.TrimSuffix(it.What, ":") + " " + it.Text)
}
