package collab

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EntryID names an entry of a timeline: "c_" and the offset of the change that it
// shows, with "_" and which for the second and later things that the change says; a
// [MarkerID]; or "e_" and a ULID for one written by hand.
type EntryID string

// byHand reports whether somebody wrote the entry.
func (id EntryID) byHand() bool { return strings.HasPrefix(string(id), "e_") }

// offset is that of the change that the entry shows, 0 if it shows none.
func (id EntryID) offset() int64 {
	digits, ok := strings.CutPrefix(string(id), "c_")
	digits, _, _ = strings.Cut(digits, "_")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 1 || strconv.FormatInt(n, 10) != digits {
		return 0
	}
	return n
}

// TimelineEntry is one thing that happened. It points at what it shows, a change
// or a marker, and says itself only what people changed about it.
type TimelineEntry struct {
	ID EntryID `json:"id"`
	// Change is null unless it shows one. Of a change that says things of several
	// times, its data has only the fields that are of the entry's.
	Change *Change `json:"change"`
	Marker *Marker `json:"marker"` // null unless it shows one
	// Text is what somebody wrote, in place of the words of a change or marker; ""
	// if nobody did.
	Text string `json:"text"`
	// Happened is when it was so, Recorded when that was told here. Ended is 0 for
	// a moment.
	HappenedUnixNano int64 `json:"happened_unix_nano,string"`
	EndedUnixNano    int64 `json:"ended_unix_nano,string"`
	RecordedUnixNano int64 `json:"recorded_unix_nano,string"`
	// FromEvidence says that the time is that of the spans that were pinned.
	FromEvidence bool   `json:"from_evidence"`
	Pinned       bool   `json:"pinned"`
	Hidden       bool   `json:"hidden"`
	Edited       bool   `json:"edited"`
	Actor        string `json:"actor"`
	ActorName    string `json:"actor_name"`
	Offset       int64  `json:"offset"` // of the change that made or changed it last

	happenedByHand bool
	matters        bool // a curated timeline shows it by itself
	fieldOffsets   fieldOffsets
}

// Timeline is what happened, the first first.
type Timeline struct {
	Entries []TimelineEntry `json:"entries"`
	Offset  int64           `json:"offset"` // of the log that it shows
	// Hidden is how many entries were taken out of the curated timeline, and More
	// how many older ones there are.
	Hidden int `json:"hidden"`
	More   int `json:"more"`
}

// TimelineQuery picks entries.
type TimelineQuery struct {
	// All shows the whole log; else what matters, what was written by hand and what
	// was pinned, without what was hidden.
	All bool
	// ByRecorded sorts by when things were told in place of when they happened.
	ByRecorded bool
	// At, if set, is the offset whose timeline is asked for.
	At int64
	// Limit keeps the newest; 500 if zero, at most 2,000.
	Limit int
}

// EntryNew asks for an entry by hand. Happened zero means now.
type EntryNew struct {
	Ref              string `json:"ref"`
	Text             string `json:"text"`
	HappenedUnixNano int64  `json:"happened_unix_nano,string"`
}

// EntryUpdate changes what is not nil. Text "" and Happened 0 give a change or a
// marker back its own.
type EntryUpdate struct {
	Ref              string  `json:"ref"`
	Seen             *int64  `json:"seen"`
	Text             *string `json:"text"`
	HappenedUnixNano *int64  `json:"happened_unix_nano,string"`
	Pinned           *bool   `json:"pinned"`
	Hidden           *bool   `json:"hidden"`
}

const (
	maxEntryRunes = 2_000
	// markerMargin is how long before the impact, or the opening, a deploy may have
	// been that matters.
	markerMargin = int64(3600e9)
	// maxTimelineMarkers bounds the markers of one timeline.
	maxTimelineMarkers = 200
)

// fieldsThatMatter are those of an investigation whose changes a curated timeline
// shows by itself.
var fieldsThatMatter = []string{"status", "severity", "lead", "kind", "visibility", "impact_start_unix_nano", "impact_end_unix_nano", "people", "teams"}

// matters says which changes a curated timeline shows by itself.
var matters = `json_extract(c.data, '$.erased') IS NULL AND (c.type IN ('investigation.created', 'investigation.merged', 'pin.added', 'hypothesis.added')
	OR c.type = 'investigation.updated' AND COALESCE(json_extract(c.data, '$.fields.` + strings.Join(fieldsThatMatter, `'), json_extract(c.data, '$.fields.`) + `')) IS NOT NULL
	OR c.type = 'hypothesis.updated' AND json_extract(c.data, '$.fields.state') IS NOT NULL
	OR c.type = 'task.updated' AND json_extract(c.data, '$.fields.done')
	OR c.type = 'annotation.added' AND json_extract(c.data, '$.anchor.at_unix_nano') <> '0')`

// Timeline reads the timeline of an investigation.
func (s *Store) Timeline(ctx context.Context, id InvestigationID, tq TimelineQuery) (*Timeline, error) {
	var out *Timeline
	err := s.view(ctx, func(tx *sql.Tx) error {
		inv, err := investigationByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if tq.At == 0 {
			tq.At = inv.Offset
		}
		if tq.At < 1 || tq.At > inv.Offset {
			return &InvalidError{"at", "The log goes from 1 to " + strconv.FormatInt(inv.Offset, 10) + "."}
		}
		out, err = readTimeline(ctx, tx, inv, tq, s.nowNano())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("timeline of %s: %w", id, err)
	}
	return out, nil
}

func readTimeline(ctx context.Context, q querier, inv *Investigation, tq TimelineQuery, now int64) (*Timeline, error) {
	if tq.Limit <= 0 {
		tq.Limit = 500
	}
	tq.Limit = min(tq.Limit, 2_000)
	said, err := readEntries(ctx, q, inv.ID, tq.At)
	if err != nil {
		return nil, err
	}
	var kept []string // changes that somebody brought in, or said something about
	for id := range said {
		if n := id.offset(); n > 0 {
			kept = append(kept, strconv.FormatInt(n, 10))
		}
	}
	changes, more, err := readTimelineChanges(ctx, q, inv.ID, tq, "["+strings.Join(kept, ",")+"]")
	if err != nil {
		return nil, err
	}
	var list []TimelineEntry
	for i := range changes {
		parts, err := splitEntry(&changes[i])
		if err != nil {
			return nil, err
		}
		for _, e := range parts {
			if tq.All || said[e.ID] != nil || e.matters {
				list = append(list, e)
			}
		}
	}
	out := &Timeline{Offset: tq.At, More: more, Entries: []TimelineEntry{}}
	markers, err := timelineMarkers(ctx, q, inv, tq.At, list, now)
	if err != nil {
		return nil, err
	}
	for i := range markers {
		m := &markers[i]
		list = append(list, TimelineEntry{ID: EntryID(m.ID), Marker: m, HappenedUnixNano: m.StartUnixNano, EndedUnixNano: m.EndUnixNano, RecordedUnixNano: m.CreatedUnixNano,
			Actor: m.CreatedBy, ActorName: m.CreatedByName})
	}
	for _, e := range said {
		if e.ID.byHand() {
			list = append(list, *e)
		}
	}
	for i := range list {
		e := &list[i]
		if o := said[e.ID]; o != nil && !e.ID.byHand() {
			e.Text, e.Pinned, e.Hidden, e.Edited, e.Offset = o.Text, o.Pinned, o.Hidden, o.Text != "" || o.happenedByHand, o.Offset
			if o.happenedByHand {
				e.HappenedUnixNano, e.EndedUnixNano, e.FromEvidence = o.HappenedUnixNano, 0, false
			}
		}
		if e.Hidden && !tq.All {
			out.Hidden++
			continue
		}
		out.Entries = append(out.Entries, *e)
	}
	slices.SortStableFunc(out.Entries, func(a, b TimelineEntry) int {
		if tq.ByRecorded {
			return cmp.Or(cmp.Compare(a.RecordedUnixNano, b.RecordedUnixNano), cmp.Compare(a.order(), b.order()), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Or(cmp.Compare(a.HappenedUnixNano, b.HappenedUnixNano), cmp.Compare(a.order(), b.order()), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// order is the offset of what the entry shows: it sorts what has one time.
func (e *TimelineEntry) order() int64 {
	if e.Change != nil {
		return e.Change.Offset
	}
	return e.Offset
}

// readTimelineChanges reads the newest changes that a timeline shows, the first
// first, with the times of the evidence that they pinned.
func readTimelineChanges(ctx context.Context, q querier, id InvestigationID, tq TimelineQuery, kept string) ([]TimelineEntry, int, error) {
	where := `c.investigation_id = ?1 AND c.offset <= ?2 AND c.type NOT LIKE 'entry.%' AND (?3 OR c.offset IN (SELECT value FROM json_each(?4)) OR ` + matters + `)`
	args := []any{id, tq.At, tq.All, kept}
	rows, err := q.QueryContext(ctx, `SELECT c.type, c.offset, c.actor_id, c.actor_name, c.at, c.ref, c.object_id, c.data, COALESCE(e.first_at, 0), COALESCE(e.last_at, 0), COALESCE(`+matters+`, 0)
		FROM changes c LEFT JOIN evidence e ON c.type = 'pin.added' AND e.block_id = c.object_id
		WHERE `+where+` ORDER BY c.offset DESC LIMIT ?5`, append(args, tq.Limit+1)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var list []TimelineEntry
	for rows.Next() {
		c := &Change{}
		var data string
		var first, last int64
		var matter bool
		if err := rows.Scan(&c.Type, &c.Offset, &c.Actor, &c.ActorName, &c.AtNano, &c.Ref, &c.ID, &data, &first, &last, &matter); err != nil {
			return nil, 0, err
		}
		c.Data = json.RawMessage(data)
		e := TimelineEntry{ID: c.entry(), Change: c, HappenedUnixNano: c.AtNano, RecordedUnixNano: c.AtNano, Actor: c.Actor, ActorName: c.ActorName, matters: matter}
		if first > 0 {
			e.HappenedUnixNano, e.EndedUnixNano, e.FromEvidence = first, last, true
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	more := 0
	if len(list) > tq.Limit {
		list = list[:tq.Limit]
		if err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM changes c WHERE `+where, args...).Scan(&more); err != nil {
			return nil, 0, err
		}
		more -= tq.Limit
	}
	slices.Reverse(list)
	return list, more, nil
}

// timelineMarkers are those about the affected services in the time that the
// investigation is about.
func timelineMarkers(ctx context.Context, q querier, inv *Investigation, at int64, list []TimelineEntry, now int64) ([]Marker, error) {
	f := MarkerFilter{FromUnixNano: inv.CreatedUnixNano, ToUnixNano: now, Services: []string{}, Limit: maxTimelineMarkers}
	for _, s := range inv.Services {
		f.Services = append(f.Services, s.Name)
	}
	for i := range list {
		if list[i].HappenedUnixNano > 0 && (list[i].FromEvidence || list[i].Change.Type == InvestigationUpdated) {
			f.FromUnixNano = min(f.FromUnixNano, list[i].HappenedUnixNano)
		}
	}
	f.FromUnixNano -= markerMargin
	if at < inv.Offset || inv.Status == StatusResolved || inv.Status == StatusClosed {
		err := q.QueryRowContext(ctx, `SELECT at FROM changes WHERE investigation_id = ? AND offset = ?`, inv.ID, at).Scan(&f.ToUnixNano)
		if err != nil {
			return nil, err
		}
	}
	if at < inv.Offset { // as it was then: without what was told later
		f.KnownUnixNano = f.ToUnixNano
	}
	return findMarkers(ctx, q, f)
}

// readEntries adds up what people said about entries, up to an offset.
func readEntries(ctx context.Context, q querier, id InvestigationID, to int64) (map[EntryID]*TimelineEntry, error) {
	rows, err := q.QueryContext(ctx, `SELECT type, offset, actor_id, actor_name, at, object_id, data FROM changes
		WHERE investigation_id = ? AND offset <= ? AND type LIKE 'entry.%' ORDER BY offset`, id, to)
	if err != nil {
		return nil, fmt.Errorf("entries of %s: %w", id, err)
	}
	defer rows.Close()
	said := map[EntryID]*TimelineEntry{}
	for rows.Next() {
		var c Change
		var data string
		if err := rows.Scan(&c.Type, &c.Offset, &c.Actor, &c.ActorName, &c.AtNano, &c.ID, &data); err != nil {
			return nil, fmt.Errorf("entries of %s: %w", id, err)
		}
		if err := applyEntry(said, &c, []byte(data)); err != nil {
			return nil, fmt.Errorf("entry %s at %d: %w", c.ID, c.Offset, err)
		}
	}
	return said, rows.Err()
}

func applyEntry(said map[EntryID]*TimelineEntry, c *Change, data []byte) error {
	id := EntryID(c.ID)
	if c.Type == EntryDeleted {
		delete(said, id)
		return nil
	}
	var d struct {
		Erased  bool
		Text    string
		Fields  map[string]json.RawMessage
		AtNano  int64  `json:"happened_unix_nano,string"`
		Told    int64  `json:"recorded_unix_nano,string"`
		By      string `json:"actor"`
		ByNamed string `json:"actor_name"`
	}
	if err := json.Unmarshal(data, &d); err != nil || d.Erased {
		return err
	}
	e := said[id]
	if e == nil {
		e = &TimelineEntry{ID: id, fieldOffsets: fieldOffsets{}}
		said[id] = e
	}
	e.Offset = c.Offset
	if c.Type == EntryAdded {
		e.Text, e.HappenedUnixNano, e.RecordedUnixNano, e.Actor, e.ActorName = d.Text, d.AtNano, cmp.Or(d.Told, c.AtNano), cmp.Or(d.By, c.Actor), cmp.Or(d.ByNamed, c.ActorName)
		e.fieldOffsets["text"], e.fieldOffsets["happened_unix_nano"] = c.Offset, c.Offset
		return nil
	}
	for name := range d.Fields {
		e.fieldOffsets[name] = c.Offset
	}
	if _, set := d.Fields["text"]; set && id.byHand() {
		e.Edited = true
	}
	err := setFields(d.Fields, map[string]any{"text": &e.Text, "happened_unix_nano": (*nanoText)(&e.HappenedUnixNano), "pinned": &e.Pinned, "hidden": &e.Hidden})
	e.happenedByHand = e.HappenedUnixNano > 0
	return err
}

// CreateEntry writes an entry by hand. The same ref again returns it, with
// created false.
func (s *Store) CreateEntry(ctx context.Context, id InvestigationID, n EntryNew) (e *TimelineEntry, created bool, err error) {
	if err := checkRef(n.Ref); err != nil {
		return nil, false, err
	}
	if n.Text, err = cleanText("text", n.Text, maxEntryRunes); err != nil {
		return nil, false, err
	}
	if err := checkHappened(n.HappenedUnixNano, s.nowNano()); err != nil && n.HappenedUnixNano != 0 {
		return nil, false, err
	}
	request, err := requestHash("entry", n)
	if err != nil {
		return nil, false, err
	}
	err = s.do(ctx, func(w *work) error {
		if _, err := investigationByID(ctx, w.tx, id); err != nil {
			return err
		}
		before, err := findRef(ctx, w.tx, string(id), w.actor.ID, n.Ref, request)
		if err != nil {
			return err
		}
		if before != nil {
			e, err = w.entryByID(ctx, id, EntryID(before.object))
			return err
		}
		created = true
		e = &TimelineEntry{ID: EntryID(newID("e_")), Text: n.Text, HappenedUnixNano: cmp.Or(n.HappenedUnixNano, w.now), RecordedUnixNano: w.now, Actor: w.actor.ID, ActorName: w.actor.Name}
		data := map[string]any{"id": e.ID, "text": e.Text, "happened_unix_nano": nano(e.HappenedUnixNano)}
		if e.Offset, err = w.log(ctx, id, EntryAdded, string(e.ID), n.Ref, data); err != nil {
			return err
		}
		return w.keepRef(ctx, string(id), n.Ref, request, string(e.ID), e.Offset)
	})
	if err != nil {
		return nil, false, err
	}
	return e, created, nil
}

// maxAgeOfEntry and maxAhead bound when something on a timeline was, or will be: what
// is further off is a slip, such as seconds for nanoseconds.
const (
	maxAgeOfEntry = int64(20 * 366 * 24 * time.Hour)
	maxAhead      = int64(366 * 24 * time.Hour)
)

func checkHappened(at, now int64) error {
	if at < now-maxAgeOfEntry || at > now+maxAhead {
		return &InvalidError{"happened_unix_nano", "Say when it happened: within the last 20 years, or up to a year from now."}
	}
	return nil
}

// entryByID reads what people made of an entry, which may be nothing yet, or
// ErrNotFound if it shows nothing that is there.
func (w *work) entryByID(ctx context.Context, id InvestigationID, entry EntryID) (*TimelineEntry, error) {
	p, err := logEnd(ctx, w.tx, id)
	if err != nil {
		return nil, err
	}
	said, err := readEntries(ctx, w.tx, id, p.Offset)
	if err != nil {
		return nil, err
	}
	e := said[entry]
	none := fmt.Errorf("entry %s: %w", entry, ErrNotFound)
	switch {
	case entry.byHand() && e == nil:
		return nil, none
	case entry.offset() > 0:
		var c Change
		var data string
		err := w.tx.QueryRowContext(ctx, `SELECT type, offset, data FROM changes WHERE investigation_id = ? AND offset = ?`, id, entry.offset()).Scan(&c.Type, &c.Offset, &data)
		if errors.Is(err, sql.ErrNoRows) || strings.HasPrefix(string(c.Type), "entry.") {
			return nil, none
		}
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", entry, err)
		}
		c.Data = json.RawMessage(data)
		parts, err := splitEntry(&TimelineEntry{ID: c.entry(), Change: &c})
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(parts, func(p TimelineEntry) bool { return p.ID == entry }) {
			return nil, none
		}
	case !entry.byHand():
		if _, err := markerByID(ctx, w.tx, MarkerID(entry)); err != nil {
			return nil, err
		}
	}
	if e == nil {
		e = &TimelineEntry{ID: entry, fieldOffsets: fieldOffsets{}}
	}
	return e, nil
}

// UpdateEntry edits, moves in time, pins or hides an entry. What it shows stays as
// it is. A field that somebody changed since u.Seen is a [ConflictError].
func (s *Store) UpdateEntry(ctx context.Context, id InvestigationID, entry EntryID, u EntryUpdate) (*TimelineEntry, error) {
	if err := checkRef(u.Ref); err != nil {
		return nil, err
	}
	if u.Text != nil && (entry.byHand() || strings.TrimSpace(*u.Text) != "") {
		text, err := cleanText("text", *u.Text, maxEntryRunes)
		if err != nil {
			return nil, err
		}
		u.Text = &text
	}
	if u.HappenedUnixNano != nil && (*u.HappenedUnixNano != 0 || entry.byHand()) {
		if err := checkHappened(*u.HappenedUnixNano, s.nowNano()); err != nil {
			return nil, err
		}
	}
	request, err := requestHash("entry", entry, u)
	if err != nil {
		return nil, err
	}
	var e *TimelineEntry
	err = s.do(ctx, func(w *work) error {
		inv, err := investigationByID(ctx, w.tx, id)
		if err != nil {
			return err
		}
		if e, err = w.entryByID(ctx, id, entry); err != nil {
			return err
		}
		before, err := findRef(ctx, w.tx, string(id), w.actor.ID, u.Ref, request)
		if err != nil || before != nil {
			return err
		}
		if err := w.updateEntry(ctx, inv, e, u); err != nil {
			return err
		}
		return w.keepRef(ctx, string(id), u.Ref, request, string(entry), e.Offset)
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (w *work) updateEntry(ctx context.Context, inv *Investigation, e *TimelineEntry, u EntryUpdate) error {
	seen, err := checkSeen(u.Seen, inv.Offset)
	if err != nil {
		return err
	}
	fields := &edit{inv: &Investigation{ID: inv.ID, Offset: inv.Offset, fieldOffsets: e.fieldOffsets}, seen: seen, set: map[string]any{}, was: map[string]any{}}
	same := func(v bool) any { return v }
	err = firstError(
		func() error { return editField(fields, "text", &e.Text, u.Text, plain) },
		func() error {
			return editField(fields, "happened_unix_nano", &e.HappenedUnixNano, u.HappenedUnixNano, nano)
		},
		func() error { return editField(fields, "pinned", &e.Pinned, u.Pinned, same) },
		func() error { return editField(fields, "hidden", &e.Hidden, u.Hidden, same) },
	)
	if err != nil || len(fields.set) == 0 {
		return err
	}
	e.Offset, err = w.log(ctx, inv.ID, EntryUpdated, string(e.ID), u.Ref, map[string]any{"id": e.ID, "fields": fields.set})
	return err
}

// DeleteEntry deletes an entry that was written by hand, with its bytes. Who wrote
// it and administrators may. Others can be hidden.
func (s *Store) DeleteEntry(ctx context.Context, id InvestigationID, entry EntryID) error {
	return s.do(ctx, func(w *work) error {
		if _, err := investigationByID(ctx, w.tx, id); err != nil {
			return err
		}
		e, err := w.entryByID(ctx, id, entry)
		if err != nil {
			return err
		}
		if !entry.byHand() {
			return &InvalidError{"", "Only what was written by hand can be deleted; hide the others."}
		}
		if e.Actor != w.actor.ID && !w.actor.Role.AtLeast(RoleAdmin) {
			return ErrForbidden
		}
		if _, err := w.log(ctx, id, EntryDeleted, string(entry), "", map[string]any{"id": entry}); err != nil {
			return err
		}
		return w.erase(ctx, id, string(entry))
	})
}

// moveEntries writes what was written by hand in one investigation into another.
func (w *work) moveEntries(ctx context.Context, from, into InvestigationID) error {
	p, err := logEnd(ctx, w.tx, from)
	if err != nil {
		return err
	}
	said, err := readEntries(ctx, w.tx, from, p.Offset)
	if err != nil {
		return err
	}
	list := make([]*TimelineEntry, 0, len(said))
	for id, e := range said {
		if id.byHand() {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *TimelineEntry) int { return cmp.Compare(a.ID, b.ID) })
	for _, e := range list {
		data := map[string]any{"id": e.ID, "text": e.Text, "happened_unix_nano": nano(e.HappenedUnixNano), "recorded_unix_nano": nano(e.RecordedUnixNano),
			"actor": e.Actor, "actor_name": e.ActorName, "merged_from": from}
		if _, err := w.log(ctx, into, EntryAdded, string(e.ID), "", data); err != nil {
			return err
		}
	}
	return nil
}
