package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	"redthread/collab"
)

// Limits of Slack's Block Kit (docs.slack.dev/reference/block-kit/blocks), in
// UTF-16 units to be on the safe side.
const (
	maxHeaderText  = 150
	maxSectionText = 3_000
	maxContextText = 2_000
	maxFallback    = 3_000 // of the text beside the blocks; Slack cuts at 40,000
)

type slackText struct {
	Type string `json:"type"` // plain_text or mrkdwn
	Text string `json:"text"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackMessage struct {
	Text        string       `json:"text"` // the notification, and for those who hear it
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"`
}

// slackPayload is the body for an incoming webhook. Base is the address of this
// server; without it there is no link.
func slackPayload(n collab.Notice, base string) ([]byte, error) {
	said := sentence(n)
	section := slackEscape(said, maxSectionText/2)
	if text := strings.TrimSpace(n.Text); text != "" {
		section += "\n" + quoteLines(slackEscape(text, maxSectionText/4))
	}
	if base != "" && n.Path != "" {
		section += "\n<" + base + slackURL(n.Path) + "|Open it>"
	}
	title := clip16(strings.TrimSpace(n.Title), maxHeaderText)
	if title == "" {
		title = "redthread"
	}
	m := slackMessage{
		Text: slackEscape(n.Title+": "+said, maxFallback),
		Blocks: []slackBlock{
			{Type: "header", Text: &slackText{"plain_text", title}},
			{Type: "section", Text: &slackText{"mrkdwn", section}},
		},
	}
	if n.InvestigationID != "" {
		lead := n.LeadName
		if lead == "" {
			lead = "nobody"
		}
		state := fmt.Sprintf("%s · %s · lead %s", n.Status, severityWords(n.Severity), lead)
		m.Blocks = append(m.Blocks, slackBlock{Type: "context", Elements: []slackText{{"mrkdwn", slackEscape(state, maxContextText)}}})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode slack message: %w", err)
	}
	return b.Bytes(), nil
}

func severityWords(s collab.Severity) string {
	if s == collab.SeverityUnknown || s == "" {
		return "severity unknown"
	}
	return strings.ToUpper(string(s))
}

// sentence says in words what happened.
func sentence(n collab.Notice) string {
	to := strings.Join(n.To, ", ")
	switch n.Reason {
	case collab.ReasonOpened:
		return n.ActorName + " opened an investigation"
	case collab.ReasonMention:
		return n.ActorName + " named " + to
	case collab.ReasonAssignment:
		return n.ActorName + " made " + to + " the lead"
	case collab.ReasonTask:
		return n.ActorName + " gave " + to + " a task"
	case collab.ReasonAsked:
		return n.ActorName + " asked " + to + " in"
	case collab.ReasonDue:
		return "The next update is due from " + to
	case collab.ReasonStatus:
		return n.ActorName + " changed the status from " + n.Was + " to " + string(n.Status)
	}
	return n.ActorName + " sent this"
}

// slackEscape makes text safe in mrkdwn, where & < > start entities, links and
// calls to everybody, and cuts it where the escaped text reaches limit.
func slackEscape(s string, limit int) string {
	var b strings.Builder
	used := 0
	for _, r := range s {
		piece := string(r)
		switch r {
		case '&':
			piece = "&amp;"
		case '<':
			piece = "&lt;"
		case '>':
			piece = "&gt;"
		}
		n := len16(piece)
		if used+n > limit-1 {
			return b.String() + "…"
		}
		b.WriteString(piece)
		used += n
	}
	return b.String()
}

// quoteLines puts each line into a quotation. It at most doubles the length, as
// every line is at least its newline.
func quoteLines(s string) string { return ">" + strings.ReplaceAll(s, "\n", "\n>") }

// slackURL escapes what would end a link.
func slackURL(path string) string {
	return strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C", " ", "%20").Replace(path)
}

func len16(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func clip16(s string, limit int) string {
	used := 0
	for i, r := range s {
		n := max(utf16.RuneLen(r), 1)
		if used+n > limit-1 && len16(s) > limit {
			return s[:i] + "…"
		}
		used += n
	}
	return s
}
