package collab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reason says why somebody is told.
type Reason string

// The reasons. A target may want those of [Reasons], a person those of
// [InboxReasons].
const (
	ReasonOpened     Reason = "opened"     // an investigation was opened
	ReasonMention    Reason = "mention"    // a text names you
	ReasonAssignment Reason = "assignment" // you lead it now
	ReasonTask       Reason = "task"       // you are given a task
	ReasonStatus     Reason = "status"     // its status changed, and you take part
	ReasonAsked      Reason = "asked"      // you, or your team, were asked in, or given a role
	ReasonDue        Reason = "due"        // you lead it, and the next update is due
	ReasonReply      Reason = "reply"      // somebody answers you
	ReasonReview     Reason = "review"     // a task that you gave is done
)

// Reasons lists those that a target may want.
var Reasons = []Reason{ReasonOpened, ReasonMention, ReasonAssignment, ReasonTask, ReasonStatus, ReasonAsked, ReasonDue}

// maxExcerptRunes is how much of a text a notification shows.
const maxExcerptRunes = 300

// Notice is what a notification tells, by whatever way it goes.
type Notice struct {
	Reason          Reason          `json:"reason"`
	InvestigationID InvestigationID `json:"investigation_id"`
	Title           string          `json:"title"`
	Status          Status          `json:"status"`
	Severity        Severity        `json:"severity"`
	LeadName        string          `json:"lead_name"`
	Was             string          `json:"was"`  // the status before
	Text            string          `json:"text"` // an excerpt
	Path            string          `json:"path"`
	ActorName       string          `json:"actor_name"`
	To              []string        `json:"to"` // names of the people mentioned
	AtUnixNano      int64           `json:"at_unix_nano,string"`
}

func (w *work) notice(inv *Investigation, reason Reason) Notice {
	return Notice{Reason: reason, InvestigationID: inv.ID, Title: inv.Title, Status: inv.Status, Severity: inv.Severity,
		LeadName: inv.LeadName, Path: "/i/" + string(inv.ID), ActorName: w.actor.Name, AtUnixNano: w.now, To: []string{}}
}

func (w *work) notifyOpened(ctx context.Context, inv *Investigation) error {
	return w.enqueue(ctx, w.notice(inv, ReasonOpened), string(inv.ID))
}

func (w *work) notifyAssigned(ctx context.Context, inv *Investigation) error {
	if inv.Lead == "" || inv.Lead == w.actor.ID {
		return nil
	}
	if err := w.tx.QueryRowContext(ctx, `SELECT name FROM users WHERE id = ?`, inv.Lead).Scan(&inv.LeadName); err != nil {
		return fmt.Errorf("name of lead: %w", err)
	}
	n := w.notice(inv, ReasonAssignment)
	n.To = []string{inv.LeadName}
	it := InboxItem{Reason: ReasonAssignment, InvestigationID: inv.ID, Title: inv.Title, Path: n.Path}
	if err := w.inbox(ctx, inv.Lead, it, string(inv.ID)); err != nil {
		return err
	}
	return w.enqueue(ctx, n, string(inv.ID))
}

// notifyTask tells whoever is given a task that they did not have.
func (w *work) notifyTask(ctx context.Context, inv *Investigation, b *Block, before string) error {
	if b.Assignee == "" || b.Assignee == before || b.Assignee == w.actor.ID {
		return nil
	}
	n := w.notice(inv, ReasonTask)
	n.To, n.Text, n.Path = []string{b.AssigneeName}, b.Title, blockPath(inv.ID, b.ID)
	it := InboxItem{Reason: ReasonTask, InvestigationID: inv.ID, Title: inv.Title, Text: b.Title, Path: n.Path}
	if err := w.inbox(ctx, b.Assignee, it, string(b.ID)); err != nil {
		return err
	}
	return w.enqueue(ctx, n, string(b.ID))
}

// notifyReview tells whoever gave a task that it is done. Only inboxes hear it.
func (w *work) notifyReview(ctx context.Context, inv *Investigation, b *Block) error {
	if b.Kind != KindTask || !b.Done {
		return nil
	}
	it := InboxItem{Reason: ReasonReview, InvestigationID: inv.ID, Title: inv.Title, Text: b.Title, Path: blockPath(inv.ID, b.ID)}
	return w.inbox(ctx, b.CreatedBy, it, string(b.ID))
}

// notifyUpdated tells of an update whom it concerns.
func (w *work) notifyUpdated(ctx context.Context, inv, old *Investigation, e *edit) error {
	if inv.Lead != old.Lead {
		if err := w.notifyAssigned(ctx, inv); err != nil {
			return err
		}
	}
	people, _ := e.set["people"].(map[string]any)
	teams, _ := e.set["teams"].(map[string]any)
	asked := map[string]string{}
	for user, role := range people {
		if role, in := role.(string); in {
			asked[user] = role
		}
	}
	var askedTeams []TeamID
	for team, in := range teams {
		if in == true {
			askedTeams = append(askedTeams, TeamID(team))
		}
	}
	if err := w.notifyAsked(ctx, inv, asked, askedTeams); err != nil {
		return err
	}
	for _, field := range []string{"visibility", "people", "teams", "lead"} {
		if _, changed := e.set[field]; changed { // somebody may see less, or more, of what is in their inbox
			if err := w.touchInboxes(ctx, inv.ID); err != nil {
				return err
			}
			break
		}
	}
	if inv.Status != old.Status {
		return w.notifyStatus(ctx, inv, old.Status)
	}
	return nil
}

// notifyAsked tells people that they were asked in, by themselves with a role or
// as members of teams. Whoever took part before is not told for a team.
func (w *work) notifyAsked(ctx context.Context, inv *Investigation, people map[string]string, teams []TeamID) error {
	told := maps.Clone(people)
	if told == nil {
		told = map[string]string{}
	}
	var to []string
	for user, role := range people {
		if role != "" {
			told[user] = "as " + role
		}
	}
	slices.Sort(teams)
	for _, id := range teams {
		t, err := teamByID(ctx, w.tx, id)
		if err != nil {
			return err
		}
		to = append(to, "@"+t.Handle)
		for _, m := range t.Members {
			if _, known := told[m.ID]; !known && inv.asked(m.ID) == nil && m.ID != inv.Lead {
				told[m.ID] = "with @" + t.Handle
			}
		}
	}
	n := w.notice(inv, ReasonAsked)
	for _, user := range slices.Sorted(maps.Keys(told)) {
		it := InboxItem{Reason: ReasonAsked, InvestigationID: inv.ID, Title: inv.Title, Text: told[user], Path: n.Path}
		if err := w.inbox(ctx, user, it, string(inv.ID)); err != nil {
			return err
		}
		if _, direct := people[user]; direct && user != w.actor.ID {
			var name string
			if err := w.tx.QueryRowContext(ctx, `SELECT name FROM users WHERE id = ?`, user).Scan(&name); err != nil {
				return fmt.Errorf("name of %s: %w", user, err)
			}
			to = append(to, name)
		}
	}
	if len(to) == 0 {
		return nil
	}
	n.To = to
	return w.enqueue(ctx, n, string(inv.ID))
}

// notifyStatus tells whoever takes part: the lead, who was asked in, and all who
// changed something.
func (w *work) notifyStatus(ctx context.Context, inv *Investigation, was Status) error {
	rows, err := w.tx.QueryContext(ctx, `SELECT id FROM users WHERE deactivated_at IS NULL AND (id = ?2 OR id IN
		(SELECT actor_id FROM changes WHERE investigation_id = ?1) OR id IN
		(SELECT user_id FROM investigation_people WHERE investigation_id = ?1))`, inv.ID, inv.Lead)
	if err != nil {
		return fmt.Errorf("find participants of %s: %w", inv.ID, err)
	}
	users, err := scanStrings(rows)
	if err != nil {
		return fmt.Errorf("find participants of %s: %w", inv.ID, err)
	}
	n := w.notice(inv, ReasonStatus)
	n.Was = string(was)
	it := InboxItem{Reason: ReasonStatus, InvestigationID: inv.ID, Title: inv.Title, Path: n.Path,
		Text: string(was) + " → " + string(inv.Status)}
	for _, u := range users {
		if err := w.inbox(ctx, u, it, string(inv.ID)); err != nil {
			return err
		}
	}
	return w.enqueue(ctx, n, string(inv.ID))
}

// mentionSource is a text that may name people.
type mentionSource struct {
	inv    *Investigation // nil: an annotation on a trace alone
	object string
	path   string
	text   string
	before string // the text that it replaces: who was named there is not told again
}

func (w *work) notifyMentions(ctx context.Context, m mentionSource) error {
	if !strings.Contains(m.text, "@") {
		return nil
	}
	people, err := mentionables(ctx, w.tx)
	if err != nil {
		return err
	}
	known := mentioned(m.before, people)
	before := told(known, people)
	var n Notice
	if m.inv != nil {
		n = w.notice(m.inv, ReasonMention)
	} else {
		n = Notice{Reason: ReasonMention, Title: "a trace", ActorName: w.actor.Name, AtUnixNano: w.now, To: []string{}}
	}
	n.Path, n.Text = m.path, clipRunes(strings.TrimSpace(m.text), maxExcerptRunes)
	it := InboxItem{Reason: ReasonMention, InvestigationID: n.InvestigationID, Title: n.Title, Text: n.Text, Path: m.path}
	named := mentioned(m.text, people)
	for _, id := range named {
		for i := range people {
			if p := &people[i]; p.ID != id || slices.Contains(known, id) {
				continue
			} else if p.team() {
				n.To = append(n.To, "@"+p.Name)
			} else {
				n.To = append(n.To, p.Name)
			}
		}
	}
	for _, user := range told(named, people) {
		if slices.Contains(before, user) {
			continue
		}
		if err := w.inbox(ctx, user, it, m.object); err != nil {
			return err
		}
	}
	if len(n.To) == 0 {
		return nil
	}
	return w.enqueue(ctx, n, m.object)
}

func (w *work) notifyAnnotation(ctx context.Context, a *Annotation, before string) error {
	m := mentionSource{object: string(a.ID), text: a.Text, before: before}
	switch {
	case a.Anchor.InvestigationID != "":
		inv, err := investigationByID(ctx, w.tx, a.Anchor.InvestigationID)
		if err != nil {
			return err
		}
		m.inv, m.path = inv, "/i/"+string(inv.ID)+"#"+string(a.ID)
	case a.Anchor.SpanID != "":
		m.path = "/t/" + a.Anchor.TraceID + "/" + a.Anchor.SpanID + "#" + string(a.ID)
	default:
		m.path = "/t/" + a.Anchor.TraceID + "#" + string(a.ID)
	}
	if err := w.notifyMentions(ctx, m); err != nil || before != "" || a.ParentID == "" {
		return err
	}
	return w.notifyReply(ctx, m, a.ParentID)
}

// notifyReply tells whoever took part in a conversation, and was not named in the
// answer, that there is one. Only inboxes hear it.
func (w *work) notifyReply(ctx context.Context, m mentionSource, parent AnnotationID) error {
	rows, err := w.tx.QueryContext(ctx, `SELECT DISTINCT created_by FROM annotations WHERE (id = ?1 OR parent_id = ?1) AND deleted_at = 0 ORDER BY created_by`, parent)
	if err != nil {
		return fmt.Errorf("find who talks in %s: %w", parent, err)
	}
	people, err := scanStrings(rows)
	if err != nil {
		return fmt.Errorf("find who talks in %s: %w", parent, err)
	}
	it := InboxItem{Reason: ReasonReply, Title: "a trace", Text: clipRunes(strings.TrimSpace(m.text), maxExcerptRunes), Path: m.path}
	if m.inv != nil {
		it.InvestigationID, it.Title = m.inv.ID, m.inv.Title
	}
	for _, user := range people {
		if err := w.inboxLine(ctx, user, it, m.object, string(parent)); err != nil {
			return err
		}
	}
	return nil
}

// retell puts the text that something has now in the place of what inboxes and the
// log of notices say of it. Who is not named there any more was not meant: their
// line goes.
func (w *work) retell(ctx context.Context, id InvestigationID, object, text string) error {
	people, err := mentionables(ctx, w.tx)
	if err != nil {
		return err
	}
	named, err := marshal(append([]string{}, told(mentioned(text, people), people)...))
	if err != nil {
		return fmt.Errorf("encode who is named: %w", err)
	}
	return w.retellAs(ctx, id, object, clipRunes(strings.TrimSpace(text), maxExcerptRunes), string(named), ReasonMention, ReasonReply)
}

// retellBlock is retell for the parts of a block that people are told of.
func (w *work) retellBlock(ctx context.Context, b *Block, title, text bool) error {
	if title {
		if err := w.retellAs(ctx, b.InvestigationID, string(b.ID), b.Title, "", ReasonTask, ReasonReview); err != nil {
			return err
		}
	}
	if !text {
		return nil
	}
	return w.retell(ctx, b.InvestigationID, string(b.ID), b.Text)
}

// retellAs changes the lines of an object that have one of two reasons. Named, if
// not "", is a list of the users whose lines for the first of them stay.
func (w *work) retellAs(ctx context.Context, id InvestigationID, object, text, named string, reason, other Reason) error {
	const these = ` investigation_id = ?1 AND object_id = ?2 AND reason IN (?3, ?4)`
	rows, err := w.tx.QueryContext(ctx, `SELECT user_id FROM inbox_items WHERE`+these, id, object, reason, other)
	if err != nil {
		return fmt.Errorf("find who was told of %s: %w", object, err)
	}
	users, err := scanStrings(rows)
	if err != nil {
		return fmt.Errorf("find who was told of %s: %w", object, err)
	}
	w.boxes = append(w.boxes, users...)
	if named != "" {
		_, err := w.tx.ExecContext(ctx, `DELETE FROM inbox_items WHERE`+these+` AND reason = ?3 AND user_id NOT IN (SELECT value FROM json_each(?5))`, id, object, reason, other, named)
		if err != nil {
			return fmt.Errorf("take back what was told of %s: %w", object, err)
		}
	}
	for _, stmt := range []string{`UPDATE inbox_items SET text = ?5 WHERE` + these, `UPDATE deliveries SET notice = json_set(notice, '$.text', ?5) WHERE` + these} {
		if _, err := w.tx.ExecContext(ctx, stmt, id, object, reason, other, text); err != nil {
			return fmt.Errorf("tell anew of %s: %w", object, err)
		}
	}
	return nil
}
