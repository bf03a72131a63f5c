package handlers

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"redthread/collab"
	"redthread/views"
)

// changeWords puts changes into words.
type changeWords struct {
	blocks map[string]*collab.Block
	people map[string]string
	teams  map[string]string
}

// changeData is what the data of any change may hold.
type changeData struct {
	Kind     collab.BlockKind
	Title    string
	Text     string
	Erased   bool
	Fields   map[string]any
	Was      map[string]any
	Anchor   collab.Anchor
	ParentID string `json:"parent_id"`
	On       bool   // of a reaction
	Reaction string
	// Of a merge, and of what came with it.
	Blocks     int
	MergedFrom string `json:"merged_from"`
}

func (w changeWords) entry(c *collab.Change) views.TimelineEntry {
	e := views.TimelineEntry{ID: "c_" + strconv.FormatInt(c.Offset, 10), Offset: c.Offset, At: nanoTime(c.AtNano), Who: c.ActorName}
	var d changeData
	if err := json.Unmarshal(c.Data, &d); err != nil {
		e.What = "changed something that this version cannot read"
		return e
	}
	noun, verb, _ := strings.Cut(string(c.Type), ".")
	block := w.blocks[c.ID]
	if block != nil {
		e.Href = "#" + c.ID
	}
	switch {
	case c.Type == collab.InvestigationCreated:
		e.What = "opened this investigation"
	case c.Type == collab.InvestigationMerged:
		e.What = fmt.Sprintf("merged “%s” into this: %s", d.Title, countWord(d.Blocks, "block"))
	case c.Type == collab.InvestigationUpdated:
		e.What, e.Tone = w.updated(d)
	case c.Type == collab.InvestigationDeleted:
		e.What = "deleted this investigation"
	case d.MergedFrom != "":
		e.What, e.Detail = "brought along what was on the other board", blockWords(d)
	case d.Erased:
		e.What = map[string]string{"pin": "pinned something", "note": "wrote a note", "link": "added a link", "annotation": "made a remark",
			"picture": "added a picture", "task": "added a task", "hypothesis": "put up a hypothesis"}[noun] + ", deleted since"
		if verb == "updated" {
			e.What = "edited a " + noun + ", deleted since"
		}
	case noun == "annotation":
		e.What = map[string]string{"added": "remarked", "updated": "edited a remark", "deleted": "deleted a remark", "resolved": "resolved a remark", "reopened": "opened a remark again"}[verb]
		if verb == "added" && d.ParentID != "" {
			e.What = "replied"
		}
		if verb == "reacted" {
			e.What = map[bool]string{true: "reacted to a remark: ", false: "took back from a remark: "}[d.On] + d.Reaction
		}
		if verb != "deleted" {
			e.Href = "#" + c.ID
			e.Detail = excerpt(d.Text)
		}
	case verb == "deleted":
		e.What = "deleted a " + nounOf(d.Kind)
	case verb == "updated":
		e.What, e.Tone = w.blockUpdated(block, d)
	default:
		e.What, e.Detail = blockAdded(d)
		if d.Kind == collab.KindThread {
			e.Tone = "thread"
		}
	}
	return e
}

func nounOf(k collab.BlockKind) string {
	if k.Pin() {
		return "pinned " + string(k)
	}
	return string(k)
}

func blockAdded(d changeData) (what, detail string) {
	switch d.Kind {
	case collab.KindNote:
		return "wrote a note", excerpt(d.Text)
	case collab.KindLink:
		return "added a link", d.Title
	case collab.KindQuery:
		return "pinned the query " + queryWords(d.Title), excerpt(d.Text)
	case collab.KindComparison:
		return "compared " + d.Title, excerpt(d.Text)
	case collab.KindPicture:
		return "added the picture " + d.Title, excerpt(d.Text)
	case collab.KindTask:
		return "added the task " + d.Title, excerpt(d.Text)
	case collab.KindHypothesis:
		return "put up the hypothesis “" + d.Title + "”", excerpt(d.Text)
	}
	return "pinned the " + string(d.Kind) + " " + d.Title, excerpt(d.Text)
}

func (w changeWords) blockUpdated(block *collab.Block, d changeData) (what, tone string) {
	name := "a " + nounOf(d.Kind)
	if block != nil && block.Title != "" {
		name = block.Title
	}
	var parts []string
	if done, _ := d.Fields["redacted"].(bool); done {
		return "took a value out of " + name, "warn"
	}
	if to, ok := d.Fields["state"].(string); ok {
		parts = append(parts, map[string]string{"open": "opened again", "supported": "called supported", "refuted": "ruled out", "confirmed": "confirmed"}[to]+" “"+name+"”")
		if to == string(collab.HypothesisConfirmed) {
			tone = "ok"
		}
	}
	if done, ok := d.Fields["done"].(bool); ok {
		if parts = append(parts, map[bool]string{true: "did: ", false: "opened again: "}[done]+name); done {
			tone = "ok"
		}
	}
	if who, ok := d.Fields["assignee"].(string); ok {
		parts = append(parts, w.assigneeWords(who, name))
	}
	if refs, ok := d.Fields["references"].(map[string]any); ok {
		parts = append(parts, w.citedWords(refs, name))
	}
	if due, ok := d.Fields["due_unix_nano"].(string); ok {
		parts = append(parts, dueWords(due)+" for "+name)
	}
	if len(parts) > 0 {
		return strings.Join(parts, ", "), tone
	}
	if _, moved := d.Fields["position"]; moved && len(d.Fields) == 1 {
		return "moved " + name, ""
	}
	return "edited " + name, ""
}

func (w changeWords) assigneeWords(id, task string) string {
	switch {
	case id == "":
		return "gave to nobody: " + task
	case w.people[id] != "":
		return "gave to " + w.people[id] + ": " + task
	}
	return "gave away: " + task
}

// citedWords says which blocks became evidence of a hypothesis.
func (w changeWords) citedWords(refs map[string]any, hypothesis string) string {
	var parts []string
	for _, id := range sortedKeys(refs) {
		name := "something"
		if b := w.blocks[id]; b != nil {
			name = blockName(b)
		}
		side, _ := refs[id].(string)
		if side == "" {
			parts = append(parts, "took "+name+" out of")
		} else {
			parts = append(parts, "put "+name+" "+side)
		}
	}
	return strings.Join(parts, ", ") + " “" + hypothesis + "”"
}

func (w changeWords) updated(d changeData) (what, tone string) {
	var parts []string
	for _, field := range []string{"status", "severity", "lead", "title"} {
		to, ok := d.Fields[field].(string)
		if !ok {
			continue
		}
		from, _ := d.Was[field].(string)
		switch field {
		case "status":
			parts = append(parts, fmt.Sprintf("changed the status from %s to %s", from, to))
			if to == string(collab.StatusResolved) || to == string(collab.StatusMitigated) {
				tone = "ok"
			}
		case "severity":
			parts = append(parts, "set the severity to "+to)
			if to == string(collab.Severity1) || to == string(collab.Severity2) {
				tone = "warn"
			}
		case "lead":
			parts = append(parts, w.leadWords(to))
		case "title":
			parts = append(parts, "renamed it to “"+to+"”")
		}
	}
	return strings.Join(append(parts, w.lifeWords(d)...), ", "), tone
}

func (w changeWords) leadWords(id string) string {
	if id == "" {
		return "took the lead away"
	}
	if name := w.people[id]; name != "" {
		return "made " + name + " the lead"
	}
	return "changed the lead"
}

// excerpt is the beginning of a text on one line, without Markdown's marks for
// code. It ends with a word where that is not far back.
func excerpt(s string) string {
	whole := strings.Join(strings.Fields(strings.ReplaceAll(s, "`", "")), " ")
	short := clipRunes(whole, 90)
	if i := strings.LastIndexByte(short, ' '); short != whole && i > len(short)/2 {
		return strings.TrimRight(short[:i], ".,;:") + "…"
	}
	return short
}

// queryWords is the beginning of a query's title: what it computes, without the
// groups and filters that the block itself shows.
func queryWords(title string) string {
	for _, clause := range []string{" where ", " by "} {
		title, _, _ = strings.Cut(title, clause)
	}
	return title
}
