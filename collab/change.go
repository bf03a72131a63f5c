package collab

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
)

// ChangeType is noun and verb of a change, the verb in the past tense. The list
// of all types that a socket carries is in collab/live.
type ChangeType string

// The types of change.
const (
	InvestigationCreated ChangeType = "investigation.created"
	InvestigationUpdated ChangeType = "investigation.updated"
	InvestigationDeleted ChangeType = "investigation.deleted"
	InvestigationMerged  ChangeType = "investigation.merged" // another into this one, or this one into another
	PinAdded             ChangeType = "pin.added"
	PinUpdated           ChangeType = "pin.updated"
	PinDeleted           ChangeType = "pin.deleted"
	NoteAdded            ChangeType = "note.added"
	NoteUpdated          ChangeType = "note.updated"
	NoteDeleted          ChangeType = "note.deleted"
	LinkAdded            ChangeType = "link.added"
	LinkUpdated          ChangeType = "link.updated"
	LinkDeleted          ChangeType = "link.deleted"
	PictureAdded         ChangeType = "picture.added"
	PictureUpdated       ChangeType = "picture.updated"
	PictureDeleted       ChangeType = "picture.deleted"
	TaskAdded            ChangeType = "task.added"
	TaskUpdated          ChangeType = "task.updated"
	TaskDeleted          ChangeType = "task.deleted"
	HypothesisAdded      ChangeType = "hypothesis.added"
	HypothesisUpdated    ChangeType = "hypothesis.updated"
	HypothesisDeleted    ChangeType = "hypothesis.deleted"
	AnnotationAdded      ChangeType = "annotation.added"
	AnnotationUpdated    ChangeType = "annotation.updated"
	AnnotationDeleted    ChangeType = "annotation.deleted"
	AnnotationReacted    ChangeType = "annotation.reacted" // with a mark, or took it away
	AnnotationResolved   ChangeType = "annotation.resolved"
	AnnotationReopened   ChangeType = "annotation.reopened"
	EntryAdded           ChangeType = "entry.added" // of the timeline, by hand
	EntryUpdated         ChangeType = "entry.updated"
	EntryDeleted         ChangeType = "entry.deleted"
)

// Change is one entry of an investigation's log, and the frame that its
// sockets get. Data is the object as it was added, or
// {"id","fields":{…},"was":{…}} for an update, or {"id"} for a deletion. The
// data of an object that was deleted since is {"id","erased":true}.
type Change struct {
	Type      ChangeType      `json:"type"`
	Offset    int64           `json:"offset"`
	Actor     string          `json:"actor"`
	ActorName string          `json:"actor_name"`
	AtNano    int64           `json:"at,string"`
	Ref       string          `json:"ref"`
	ID        string          `json:"id"` // of the object
	Data      json.RawMessage `json:"data"`
}

// Position is where a change log ends: its identity and its last offset.
type Position struct {
	InvestigationID InvestigationID
	Epoch           string
	Offset          int64
}

// ConflictError says that a field was changed by somebody since it was seen, or
// that a ref was used for something else (Field is "ref"). It is an
// [ErrConflict].
type ConflictError struct {
	Field         string
	Yours, Theirs any
	// Merged proposes, for a text, one that has both; "" if there is none.
	Merged string
	Offset int64 // of the log now
	// ActorName is who set the field last, and AtNano when; "" and 0 if no log says so.
	ActorName string
	AtNano    int64

	log InvestigationID // whose change set the field: that at set
	set int64
}

func (e *ConflictError) Error() string { return "collab: conflict in field " + e.Field }

// Is makes the error an [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// ErrErased says that what a ref has made was deleted since: the request was done,
// and is not to be sent again. It is an [ErrNotFound].
var ErrErased = fmt.Errorf("it was made and deleted since: %w", ErrNotFound)

// boards is what the store needs beside the database for investigations.
type boards struct {
	evidence EvidenceSource
	changed  func(Position)
	queued   func()
	inboxes  func(users []string)
	written  func(trace string, in InvestigationID)
}

// UseEvidence sets where pins get their evidence. Call it before use.
func (s *Store) UseEvidence(src EvidenceSource) { s.boards.evidence = src }

// OnChange sets a function that is told, after each commit, where a log now
// ends. It must not block. Call it before use.
func (s *Store) OnChange(fn func(Position)) { s.boards.changed = fn }

// OnDelivery sets a function that is told, after a commit, that deliveries wait
// in the outbox. It must not block. Call it before use.
func (s *Store) OnDelivery(fn func()) { s.boards.queued = fn }

// OnInbox sets a function that is told, after a commit, whose inboxes may hold
// something else now. It must not block. Call it before use.
func (s *Store) OnInbox(fn func(users []string)) { s.boards.inboxes = fn }

// OnAnnotation sets a function that is told, after a commit, that an annotation on
// a trace was made or changed, and in which investigation, "" for none. Without a
// trace, others may see an investigation than before, with what was written in it on
// whatever trace. It must not block. Call it before use.
func (s *Store) OnAnnotation(fn func(trace string, in InvestigationID)) { s.boards.written = fn }

// work is one write transaction over change logs.
type work struct {
	tx     *sql.Tx
	actor  Actor
	now    int64
	told   []Position // logs that grew, once each
	queued bool       // deliveries were written
	boxes  []string   // users whose inboxes were written
	wrote  []Anchor   // of annotations that were written; the zero one: others may see some
	purge  bool       // what was erased has to leave the write-ahead log too
}

// do runs fn in one transaction for the context's actor, who has to be a
// member, and tells of its changes after the commit.
func (s *Store) do(ctx context.Context, fn func(w *work) error) error {
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleMember) {
		return ErrForbidden
	}
	w := &work{actor: actor, now: s.nowNano()}
	err := s.tx(ctx, func(tx *sql.Tx) error {
		w.tx = tx
		return w.whose(ctx, fn(w))
	})
	if err != nil {
		return err
	}
	if w.purge {
		s.emptyWAL(ctx)
	}
	for _, p := range w.told {
		if s.boards.changed != nil {
			s.boards.changed(p)
		}
	}
	if w.queued && s.boards.queued != nil {
		s.boards.queued()
	}
	s.tellInboxes(w.boxes...)
	for _, a := range w.wrote {
		if s.boards.written != nil && (a.TraceID != "" || a == Anchor{}) {
			s.boards.written(a.TraceID, a.InvestigationID)
		}
	}
	return nil
}

// whose says in a conflict who set the field, and when.
func (w *work) whose(ctx context.Context, err error) error {
	var c *ConflictError
	if !errors.As(err, &c) || c.set == 0 {
		return err
	}
	none := w.tx.QueryRowContext(ctx, `SELECT actor_name, at FROM changes WHERE investigation_id = ? AND offset = ?`, c.log, c.set).Scan(&c.ActorName, &c.AtNano)
	if none != nil && !errors.Is(none, sql.ErrNoRows) {
		return fmt.Errorf("find who set %s: %w", c.Field, none)
	}
	return err
}

// log appends a change. The offset is taken and the row written in the
// transaction of the edit, so the log has no hole and no two rows share one.
func (w *work) log(ctx context.Context, id InvestigationID, typ ChangeType, object, ref string, data any) (int64, error) {
	raw, err := marshal(data)
	if err != nil {
		return 0, fmt.Errorf("encode change %s: %w", typ, err)
	}
	w.purge = w.purge || typ == InvestigationDeleted
	p := Position{InvestigationID: id}
	err = w.tx.QueryRowContext(ctx, `UPDATE investigations SET offset = offset + 1, updated_at = ? WHERE id = ? RETURNING epoch, offset`,
		w.now, id).Scan(&p.Epoch, &p.Offset)
	if err != nil {
		return 0, fmt.Errorf("advance log of %s: %w", id, err)
	}
	_, err = w.tx.ExecContext(ctx, `INSERT INTO changes (investigation_id, offset, type, object_id, actor_id, actor_name, at, ref, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, p.Offset, typ, object, w.actor.ID, w.actor.Name, w.now, ref, string(raw))
	if err != nil {
		return 0, fmt.Errorf("append change %d to %s: %w", p.Offset, id, err)
	}
	for i := range w.told {
		if w.told[i].InvestigationID == id {
			w.told[i] = p
			return p.Offset, nil
		}
	}
	w.told = append(w.told, p)
	return p.Offset, nil
}

// erase takes the bytes of an object out of the log, out of those of
// investigations that were merged into this one, and of what was made of it. The
// rows stay, so that the log keeps its numbers.
func (w *work) erase(ctx context.Context, id InvestigationID, object string) error {
	for _, stmt := range []string{
		`UPDATE changes SET data = json_object('id', object_id, 'erased', json('true'))
			WHERE investigation_id IN (SELECT ?1 UNION SELECT id FROM investigations WHERE merged_into = ?1 AND merged_into <> '')
			AND object_id = ?2 AND type NOT LIKE '%.deleted'`,
		`UPDATE inbox_items SET text = '' WHERE investigation_id = ?1 AND object_id = ?2`,
		`UPDATE deliveries SET notice = json_set(notice, '$.text', '') WHERE investigation_id = ?1 AND object_id = ?2`,
	} {
		if _, err := w.tx.ExecContext(ctx, stmt, id, object); err != nil {
			return fmt.Errorf("erase %s: %w", object, err)
		}
	}
	return nil
}

// done is what a ref has already made.
type done struct {
	object string
	offset int64
}

// querier reads, in a transaction or outside.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// findRef returns what the actor's ref has done in the scope, nil if nothing
// yet, or a *ConflictError if it was used for another request.
func findRef(ctx context.Context, q querier, scope, actor, ref string, request []byte) (*done, error) {
	if ref == "" {
		return nil, nil
	}
	var d done
	var was []byte
	err := q.QueryRowContext(ctx, `SELECT request, object_id, offset FROM refs WHERE scope = ? AND actor_id = ? AND ref = ?`,
		scope, actor, ref).Scan(&was, &d.object, &d.offset)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find ref: %w", err)
	}
	if string(was) != string(request) {
		return nil, &ConflictError{Field: "ref", Yours: ref, Theirs: d.object, Offset: d.offset}
	}
	return &d, nil
}

func (w *work) keepRef(ctx context.Context, scope, ref string, request []byte, object string, offset int64) error {
	if ref == "" {
		return nil
	}
	_, err := w.tx.ExecContext(ctx, `INSERT INTO refs (scope, actor_id, ref, request, object_id, offset, at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		scope, w.actor.ID, ref, request, object, offset, w.now)
	if err != nil {
		return fmt.Errorf("keep ref: %w", err)
	}
	return nil
}

// changeData reads the data of one change into v. An erased one is ErrErased.
func changeData(ctx context.Context, q querier, id InvestigationID, offset int64, v any) error {
	var raw string
	err := q.QueryRowContext(ctx, `SELECT data FROM changes WHERE investigation_id = ? AND offset = ?`, id, offset).Scan(&raw)
	if err != nil {
		return fmt.Errorf("read change %d of %s: %w", offset, id, translate(err))
	}
	var probe struct {
		Erased bool `json:"erased"`
	}
	if err := json.Unmarshal([]byte(raw), &probe); err != nil {
		return fmt.Errorf("read change %d of %s: %w", offset, id, err)
	}
	if probe.Erased {
		return ErrErased
	}
	return json.Unmarshal([]byte(raw), v)
}

// MaxChanges is the largest part of a log that is read at once, and the longest
// gap that a socket is replayed.
const MaxChanges = 1_000

// Changes returns up to limit changes after an offset (0: from the first) and
// where the log ends, as of one moment.
func (s *Store) Changes(ctx context.Context, id InvestigationID, after int64, limit int) ([]Change, Position, error) {
	if limit <= 0 || limit > MaxChanges {
		limit = MaxChanges
	}
	list := []Change{}
	p := Position{InvestigationID: id}
	err := s.view(ctx, func(tx *sql.Tx) error {
		if err := maySee(ctx, tx, id); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT epoch, offset FROM investigations WHERE id = ?`, id).Scan(&p.Epoch, &p.Offset)
		if err != nil || after >= p.Offset {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT type, offset, actor_id, actor_name, at, ref, object_id, data FROM changes
			WHERE investigation_id = ? AND offset > ? ORDER BY offset LIMIT ?`, id, after, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c Change
			var data string
			if err := rows.Scan(&c.Type, &c.Offset, &c.Actor, &c.ActorName, &c.AtNano, &c.Ref, &c.ID, &data); err != nil {
				return err
			}
			c.Data = json.RawMessage(data)
			list = append(list, c)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, p, fmt.Errorf("changes of %s after %d: %w", id, after, err)
	}
	return list, p, nil
}

// LogPosition returns where an investigation's log ends.
func (s *Store) LogPosition(ctx context.Context, id InvestigationID) (Position, error) {
	p := Position{InvestigationID: id}
	if err := maySee(ctx, s.read, id); err != nil {
		return p, err
	}
	return logEnd(ctx, s.read, id)
}

// RenewEpochs gives every change log a new identity, so that whoever followed
// one loads it anew. A copy of the database needs it: the offsets after the
// copy will name other changes than those of the original.
func (s *Store) RenewEpochs(ctx context.Context) error {
	_, err := s.write.ExecContext(ctx, `UPDATE investigations SET epoch = lower(hex(randomblob(8)))`)
	if err != nil {
		return fmt.Errorf("renew epochs: %w", translate(err))
	}
	return nil
}

// CheckLogs reports the first change log that has a hole or does not end where
// its investigation says.
func (s *Store) CheckLogs(ctx context.Context) error {
	var id string
	err := s.read.QueryRowContext(ctx, `SELECT i.id FROM investigations i
		LEFT JOIN changes c ON c.investigation_id = i.id
		GROUP BY i.id HAVING COUNT(c.offset) <> i.offset OR MIN(c.offset) <> 1 OR MAX(c.offset) <> i.offset LIMIT 1`).Scan(&id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("check change logs: %w", err)
	}
	return fmt.Errorf("the change log of investigation %s has a hole", id)
}

// view runs fn in one read transaction: it sees one moment of the database.
func (s *Store) view(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return translate(err)
	}
	defer tx.Rollback()
	return translate(fn(tx))
}

// fieldOffsets says, for each field of an object, which change set it last.
type fieldOffsets map[string]int64

func (f fieldOffsets) text() string {
	raw, err := json.Marshal(map[string]int64(f))
	if err != nil {
		return "{}" // cannot be: a map of numbers
	}
	return string(raw)
}

func readFieldOffsets(raw string) (fieldOffsets, error) {
	f := fieldOffsets{}
	err := json.Unmarshal([]byte(raw), &f)
	return f, err
}

// checkSeen makes sure that an update says what it saw.
func checkSeen(seen *int64, now int64) (int64, error) {
	if seen == nil {
		return 0, &InvalidError{"seen", "Send the offset that you saw."}
	}
	if *seen < 0 || *seen > now {
		return 0, &InvalidError{"seen", "The log ends at " + strconv.FormatInt(now, 10) + "."}
	}
	return *seen, nil
}

// newID makes a sortable id with a prefix.
func newID(prefix string) string { return prefix + strings.ToLower(ulid.Make().String()) }

// checkAfter refuses what newID never made as the place where a list goes on; a list
// may begin below what is not there any more.
func checkAfter(field, prefix, id string) error {
	if _, err := ulid.ParseStrict(strings.ToUpper(strings.TrimPrefix(id, prefix))); id != "" && (err != nil || !strings.HasPrefix(id, prefix) || id != strings.ToLower(id)) {
		return &InvalidError{field, "That is no place in this list. Leave it out to begin with the newest."}
	}
	return nil
}

// newEpoch makes the identity of a log.
func newEpoch() string { return strings.ToLower(rand.Text()[:13]) }

// requestHash identifies what was asked, for refs.
func requestHash(parts ...any) ([]byte, error) {
	raw, err := json.Marshal(parts)
	if err != nil {
		return nil, fmt.Errorf("hash request: %w", err)
	}
	return []byte(hashHex(raw)), nil
}

// marshal encodes without escaping <, > and &.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

func itoa(n int) string { return strconv.Itoa(n) }
