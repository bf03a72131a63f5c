package collab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// InboxItemID is "n_" and a ULID.
type InboxItemID string

// InboxItem is one line of a person's inbox: what concerns them of one thing. What
// else happens to the thing while the line is open joins it.
type InboxItem struct {
	ID              InboxItemID     `json:"id"`
	Reason          Reason          `json:"reason"`
	InvestigationID InvestigationID `json:"investigation_id"`
	Title           string          `json:"title"` // of the investigation
	Text            string          `json:"text"`
	Path            string          `json:"path"` // where it is, from "/"
	Actor           string          `json:"actor"`
	ActorName       string          `json:"actor_name"`
	Count           int             `json:"count"` // how many changes it stands for; actor and text are of the last
	CreatedUnixNano int64           `json:"created_unix_nano,string"`
	ToldUnixNano    int64           `json:"told_unix_nano,string"` // when it last came up: it was made, joined by another, or woke
	SnoozedUnixNano int64           `json:"snoozed_until_unix_nano,string"`
	Read            bool            `json:"read"`
	Done            bool            `json:"done"`
}

// inbox puts an item into one user's inbox, unless it is about an investigation
// that the user may not see, or of which they do not want to hear. A change is told
// once to each user: what is told first counts, so callers tell the most particular
// reason first.
func (w *work) inbox(ctx context.Context, user string, it InboxItem, object string) error {
	return w.inboxLine(ctx, user, it, object, object)
}

// inboxLine is inbox for an item that joins the open line of another object: that
// of the conversation it is part of.
func (w *work) inboxLine(ctx context.Context, user string, it InboxItem, object, line string) error {
	if user == w.actor.ID {
		return nil // nobody is told what they did themselves
	}
	cause := w.cause(it.InvestigationID, object)
	var way Way
	var muted, known bool
	err := w.tx.QueryRowContext(ctx, `SELECT COALESCE((SELECT way FROM inbox_rules WHERE user_id = u.id AND reason = ?), ''),
			EXISTS (SELECT 1 FROM inbox_mutes WHERE user_id = u.id AND investigation_id = ?),
			EXISTS (SELECT 1 FROM inbox_items WHERE user_id = u.id AND cause = ?)
		FROM users u WHERE u.id = ? AND u.deactivated_at IS NULL AND (? = '' OR `+seenByReader("?", "u.id", "0")+`)`,
		it.Reason, it.InvestigationID, cause, user, it.InvestigationID, it.InvestigationID).Scan(&way, &muted, &known)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rules of the inbox of %s: %w", user, err)
	}
	if way == "" {
		way = it.Reason.usualWay()
	}
	if known || way == WayOff || muted && !it.Reason.personal() {
		return nil
	}
	w.boxes = append(w.boxes, user)
	joined, err := w.tx.ExecContext(ctx, `UPDATE inbox_items SET count = count + 1, object_id = ?, text = ?, path = ?, actor_id = ?, actor_name = ?, cause = ?, notify = ?,
			told_at = ?, read_at = 0, snoozed_until = 0
		WHERE id = (SELECT id FROM inbox_items WHERE user_id = ? AND reason = ? AND investigation_id = ? AND line = ? AND done_at = 0
			ORDER BY told_at DESC LIMIT 1)`,
		object, it.Text, it.Path, w.actor.ID, w.actor.Name, cause, way == WayNotify, w.now, user, it.Reason, it.InvestigationID, line)
	if err != nil {
		return fmt.Errorf("join inbox item: %w", err)
	}
	if n, err := joined.RowsAffected(); err != nil || n > 0 {
		return err
	}
	_, err = w.tx.ExecContext(ctx, `INSERT INTO inbox_items (id, user_id, reason, investigation_id, title, text, path, actor_id, actor_name, object_id, line, created_at, cause, notify, told_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		newID("n_"), user, it.Reason, it.InvestigationID, it.Title, it.Text, it.Path, w.actor.ID, w.actor.Name, object, line, w.now, cause, way == WayNotify, w.now)
	if err != nil {
		return fmt.Errorf("insert inbox item: %w", err)
	}
	return nil
}

// cause names the change that the transaction is: its place in the log, or else the
// object and the time.
func (w *work) cause(id InvestigationID, object string) string {
	for _, p := range w.told {
		if id != "" && p.InvestigationID == id {
			return string(id) + " " + strconv.FormatInt(p.Offset, 10)
		}
	}
	return object + " " + strconv.FormatInt(w.now, 10)
}

// touchInboxes notes that whoever has items of an investigation may see others now.
func (w *work) touchInboxes(ctx context.Context, id InvestigationID) error {
	rows, err := w.tx.QueryContext(ctx, `SELECT DISTINCT user_id FROM inbox_items WHERE investigation_id = ? AND done_at = 0`, id)
	if err != nil {
		return fmt.Errorf("find inboxes with %s: %w", id, err)
	}
	users, err := scanStrings(rows)
	if err != nil {
		return fmt.Errorf("find inboxes with %s: %w", id, err)
	}
	w.boxes = append(w.boxes, users...)
	return nil
}

func (s *Store) tellInboxes(users ...string) {
	if len(users) > 0 && s.boards.inboxes != nil {
		slices.Sort(users)
		s.boards.inboxes(slices.Compact(users))
	}
}

// seenItem says that inbox item n is about nothing that its user may not see
// (any more). Such items count for nothing until access comes back.
var seenItem = `(n.investigation_id = '' OR ` + seenByReader("n.investigation_id", "n.user_id", "0") + `)`

// InboxView is a part of an inbox.
type InboxView string

// The views of an inbox.
const (
	InboxOpen       InboxView = ""        // neither done nor put off
	InboxNew        InboxView = "unread"  // of these what is not read
	InboxPutOff     InboxView = "snoozed" // what comes back later
	InboxFinished   InboxView = "done"
	InboxEverything InboxView = "all"
)

var inboxWhere = map[InboxView]string{
	InboxOpen:       `done_at = 0 AND snoozed_until = 0`,
	InboxNew:        `done_at = 0 AND snoozed_until = 0 AND read_at = 0`,
	InboxPutOff:     `done_at = 0 AND snoozed_until > 0`,
	InboxFinished:   `done_at > 0`,
	InboxEverything: `1`,
}

// InboxFilter says which items of an inbox are wanted.
type InboxFilter struct {
	View InboxView
	// After continues below the item with that id.
	After InboxItemID
	// Limit is 200 if zero, at most [MaxInboxItems].
	Limit int
}

const inboxColumns = `n.id, n.reason, n.investigation_id, COALESCE((SELECT title FROM investigations WHERE id = n.investigation_id), n.title), n.text, n.path, n.actor_id, n.actor_name,
	n.count, n.created_at, n.told_at, n.snoozed_until, n.read_at <> 0, n.done_at <> 0`

func scanInboxItem(row interface{ Scan(...any) error }) (it InboxItem, err error) {
	err = row.Scan(&it.ID, &it.Reason, &it.InvestigationID, &it.Title, &it.Text, &it.Path, &it.Actor, &it.ActorName,
		&it.Count, &it.CreatedUnixNano, &it.ToldUnixNano, &it.SnoozedUnixNano, &it.Read, &it.Done)
	return it, err
}

// MaxInboxItems is how many items are found at once.
const MaxInboxItems = 501

// FindInbox returns a user's items, what came up last first.
func (s *Store) FindInbox(ctx context.Context, user string, f InboxFilter) ([]InboxItem, error) {
	where, ok := inboxWhere[f.View]
	if !ok {
		return nil, &InvalidError{"show", "The inbox shows unread, snoozed, done or all."}
	}
	if f.Limit <= 0 {
		f.Limit = 200
	}
	var known bool
	err := s.read.QueryRowContext(ctx, `SELECT ?1 = '' OR EXISTS (SELECT 1 FROM inbox_items WHERE id = ?1 AND user_id = ?2)`, f.After, user).Scan(&known)
	if err != nil {
		return nil, fmt.Errorf("find inbox: %w", err)
	}
	if !known {
		return nil, &InvalidError{"after", "What the list goes on after is not in the inbox any more. Leave it out to begin with the newest."}
	}
	return s.findInbox(ctx, where+` AND (? = '' OR (n.told_at, n.id) < (SELECT told_at, id FROM inbox_items WHERE id = ?)) ORDER BY n.told_at DESC, n.id DESC LIMIT ?`,
		user, f.After, f.After, min(f.Limit, MaxInboxItems))
}

func (s *Store) findInbox(ctx context.Context, where, user string, args ...any) ([]InboxItem, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+inboxColumns+` FROM inbox_items n WHERE n.user_id = ? AND `+seenItem+` AND `+where, append([]any{user}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("find inbox: %w", err)
	}
	defer rows.Close()
	list := []InboxItem{}
	for rows.Next() {
		it, err := scanInboxItem(rows)
		if err != nil {
			return nil, fmt.Errorf("find inbox: %w", err)
		}
		list = append(list, it)
	}
	return list, rows.Err()
}

// UnreadCount returns how many items of a user's inbox are new to them.
func (s *Store) UnreadCount(ctx context.Context, user string) (int, error) {
	var n int
	err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM inbox_items n WHERE n.user_id = ? AND `+inboxWhere[InboxNew]+` AND `+seenItem, user).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count inbox: %w", err)
	}
	return n, nil
}

// maxInboxNews is how many items a browser tells at once.
const maxInboxNews = 20

// InboxNews returns what came up in a user's inbox since a time, as far as they
// want the browser to say so, the newest first, and when anything came up last.
func (s *Store) InboxNews(ctx context.Context, user string, after int64) (list []InboxItem, newest int64, err error) {
	list, err = s.findInbox(ctx, inboxWhere[InboxNew]+` AND n.notify = 1 AND n.told_at > ? ORDER BY n.told_at DESC LIMIT ?`, user, after, maxInboxNews)
	if err != nil {
		return nil, 0, err
	}
	err = s.read.QueryRowContext(ctx, `SELECT COALESCE(MAX(told_at), 0) FROM inbox_items WHERE user_id = ?`, user).Scan(&newest)
	if err != nil {
		return nil, 0, fmt.Errorf("newest of inbox: %w", err)
	}
	return list, newest, nil
}

// InboxState is what a user does with an item.
type InboxState string

// The states that an item can be put into.
const (
	InboxRead    InboxState = "read"
	InboxUnread  InboxState = "unread"  // and open
	InboxReopen  InboxState = "open"    // neither done nor put off, read as it was
	InboxSnoozed InboxState = "snoozed" // put off: it comes back by itself
	InboxDone    InboxState = "done"
)

// maxSnooze is how far off an item can be put: a year.
const maxSnooze = 366 * 24 * time.Hour

// InboxMove puts items into a state: those named, or those of a group, or else all
// that are open.
type InboxMove struct {
	State InboxState
	Until int64 // of snoozed
	IDs   []InboxItemID
	// Group, if set, is an investigation, or the path of a trace for what hangs on
	// that alone.
	Group string
}

// MaxInboxMove is how many items a move may name.
const MaxInboxMove = 500

// MoveInbox puts items of a user's inbox into a state. It returns how many there
// were, and a mark with which [Store.UndoInbox] brings them back if they were put
// away or off. An item that is already as wished counts.
func (s *Store) MoveInbox(ctx context.Context, user string, m InboxMove) (n int, mark int64, err error) {
	now := s.nowNano()
	set, args := "", []any{now}
	switch m.State {
	case InboxRead:
		set = `read_at = MAX(read_at, ?)`
	case InboxUnread:
		set, args = `read_at = 0, done_at = 0, snoozed_until = 0`, nil
	case InboxReopen:
		set, args = `done_at = 0, snoozed_until = 0`, nil
	case InboxDone:
		set, args, mark = `done_at = ?, snoozed_until = 0, moved_at = ?`, []any{now, now}, now
	case InboxSnoozed:
		if m.Until <= now || m.Until > now+int64(maxSnooze) {
			return 0, 0, &InvalidError{"until", "Say a time to come, within a year."}
		}
		set, args, mark = `snoozed_until = ?, done_at = 0, moved_at = ?`, []any{m.Until, now}, now
	default:
		return 0, 0, &InvalidError{"state", "State is read, unread, open, snoozed or done."}
	}
	where := inboxWhere[InboxOpen]
	args = append(args, user)
	switch {
	case len(m.IDs) > MaxInboxMove:
		return 0, 0, &InvalidError{"item", fmt.Sprintf("At most %d at once.", MaxInboxMove)}
	case m.IDs != nil:
		where = `n.id IN (''` + strings.Repeat(`, ?`, len(m.IDs)) + `)`
		for _, id := range m.IDs {
			args = append(args, id)
		}
	case strings.HasPrefix(m.Group, "/"):
		where += ` AND investigation_id = '' AND (path = ? OR substr(path, 1, length(?) + 1) IN (? || '#', ? || '/'))`
		args = append(args, m.Group, m.Group, m.Group, m.Group)
	case m.Group != "":
		where += ` AND investigation_id = ?`
		args = append(args, m.Group)
	}
	res, err := s.write.ExecContext(ctx, `UPDATE inbox_items AS n SET `+set+` WHERE n.user_id = ? AND `+where+` AND `+seenItem, args...)
	if err != nil {
		return 0, 0, fmt.Errorf("move inbox: %w", err)
	}
	moved, err := res.RowsAffected()
	if err != nil {
		return 0, 0, fmt.Errorf("move inbox: %w", err)
	}
	if moved > 0 {
		s.tellInboxes(user)
	}
	return int(moved), mark, nil
}

// MoveInboxItem is [Store.MoveInbox] for one item, which it returns, or
// [ErrNotFound].
func (s *Store) MoveInboxItem(ctx context.Context, user string, id InboxItemID, state InboxState, until int64) (*InboxItem, int64, error) {
	_, mark, err := s.MoveInbox(ctx, user, InboxMove{State: state, Until: until, IDs: []InboxItemID{id}})
	if err != nil {
		return nil, 0, err
	}
	list, err := s.findInbox(ctx, `n.id = ?`, user, id)
	if err != nil {
		return nil, 0, err
	}
	if len(list) == 0 {
		return nil, 0, fmt.Errorf("inbox item %s: %w", id, ErrNotFound)
	}
	return &list[0], mark, nil
}

// UndoInbox brings back what was put away or off in one go, by its mark.
func (s *Store) UndoInbox(ctx context.Context, user string, mark int64) (int, error) {
	if mark <= 0 {
		return 0, &InvalidError{"undo", "There is nothing to undo."}
	}
	res, err := s.write.ExecContext(ctx, `UPDATE inbox_items SET done_at = 0, snoozed_until = 0, moved_at = 0 WHERE user_id = ? AND moved_at = ?`, user, mark)
	if err != nil {
		return 0, fmt.Errorf("undo in inbox: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("undo in inbox: %w", err)
	}
	if n > 0 {
		s.tellInboxes(user)
	}
	return int(n), nil
}

// WakeSnoozed brings back, unread and on top, what was put off until now: each item
// once, since that it was put off ends in the same statement. It returns when the
// next one wakes, 0 if none does.
func (s *Store) WakeSnoozed(ctx context.Context) (next int64, err error) {
	now := s.nowNano()
	const first = `SELECT COALESCE(MIN(snoozed_until), 0) FROM inbox_items WHERE snoozed_until > 0`
	if err := s.read.QueryRowContext(ctx, first).Scan(&next); err != nil {
		return 0, fmt.Errorf("find next to wake: %w", err)
	}
	if next == 0 || next > now {
		return next, nil
	}
	rows, err := s.write.QueryContext(ctx, `UPDATE inbox_items SET snoozed_until = 0, read_at = 0, moved_at = 0, told_at = ?1
		WHERE snoozed_until > 0 AND snoozed_until <= ?1 RETURNING user_id`, now)
	if err != nil {
		return 0, fmt.Errorf("wake inbox items: %w", err)
	}
	users, err := scanStrings(rows)
	if err != nil {
		return 0, fmt.Errorf("wake inbox items: %w", err)
	}
	s.tellInboxes(users...)
	if err := s.read.QueryRowContext(ctx, first).Scan(&next); err != nil {
		return 0, fmt.Errorf("find next to wake: %w", err)
	}
	return next, nil
}
