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
)

// BoardThen is a board as it was at an offset of its log.
type BoardThen struct {
	Board
	AtUnixNano int64 // when that change was made
	Last       int64 // where the log ends now
	// Erased is what stood there then and was deleted since, with its bytes.
	Erased []ErasedObject
}

// ErasedObject is what is left of a block or annotation that was deleted.
type ErasedObject struct {
	ID   string `json:"id"`
	Noun string `json:"noun"` // pin, note, annotation, …
}

// BoardAt rebuilds from the log what a board was at an offset. The names of
// people and teams are those of now; the annotations are those that its log
// holds, so one made elsewhere before its span was pinned here is missing.
func (s *Store) BoardAt(ctx context.Context, id InvestigationID, offset int64) (*BoardThen, error) {
	var out *BoardThen
	err := s.view(ctx, func(tx *sql.Tx) error {
		now, err := investigationByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if offset < 1 || offset > now.Offset {
			return &InvalidError{"at", "The log goes from 1 to " + strconv.FormatInt(now.Offset, 10) + "."}
		}
		r := newReplay(now)
		if err := r.read(ctx, tx, offset); err != nil {
			return err
		}
		out, err = r.board(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("board of %s at %d: %w", id, offset, err)
	}
	return out, nil
}

// OffsetAt returns the last offset of a log at a time, 1 before the first.
func (s *Store) OffsetAt(ctx context.Context, id InvestigationID, atUnixNano int64) (int64, error) {
	if err := maySee(ctx, s.read, id); err != nil {
		return 0, err
	}
	var offset int64
	err := s.read.QueryRowContext(ctx, `SELECT COALESCE(MAX(offset), 1) FROM changes WHERE investigation_id = ? AND at <= ?`, id, atUnixNano).Scan(&offset)
	if err != nil {
		return 0, fmt.Errorf("offset of %s at %d: %w", id, atUnixNano, err)
	}
	return offset, nil
}

// replay adds up changes to what they make.
type replay struct {
	inv    Investigation
	blocks map[string]*Block
	notes  map[string]*Annotation
	erased map[string]string // id → noun
	people map[string]AskedPerson
	teams  map[TeamID]int64 // since
	at     int64
	last   int64
}

func newReplay(now *Investigation) *replay {
	return &replay{last: now.Offset, blocks: map[string]*Block{}, notes: map[string]*Annotation{}, erased: map[string]string{},
		people: map[string]AskedPerson{}, teams: map[TeamID]int64{},
		inv: Investigation{ID: now.ID, Epoch: now.Epoch, CreatedBy: now.CreatedBy, CreatedByName: now.CreatedByName, byHand: map[string]bool{}}}
}

func (r *replay) read(ctx context.Context, q querier, to int64) error {
	rows, err := q.QueryContext(ctx, `SELECT type, offset, actor_id, actor_name, at, object_id, data FROM changes
		WHERE investigation_id = ? AND offset <= ? ORDER BY offset`, r.inv.ID, to)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c Change
		var data string
		if err := rows.Scan(&c.Type, &c.Offset, &c.Actor, &c.ActorName, &c.AtNano, &c.ID, &data); err != nil {
			return err
		}
		c.Data = json.RawMessage(data)
		if err := r.apply(&c); err != nil {
			return fmt.Errorf("change %d: %w", c.Offset, err)
		}
	}
	return rows.Err()
}

// replayData is what an update, of whatever it is, may hold.
type replayData struct {
	Erased   bool
	Fields   map[string]json.RawMessage
	Reaction Reaction
	On       bool
}

func (r *replay) apply(c *Change) error {
	r.inv.Offset, r.inv.UpdatedUnixNano, r.at = c.Offset, c.AtNano, c.AtNano
	noun, verb, _ := strings.Cut(string(c.Type), ".")
	var d replayData
	if err := json.Unmarshal(c.Data, &d); err != nil {
		return err
	}
	switch {
	case noun == "investigation":
		return r.applyInvestigation(c, verb, &d)
	case noun == "entry": // see timeline.go
		return nil
	case verb == "deleted":
		delete(r.blocks, c.ID)
		delete(r.notes, c.ID)
		delete(r.erased, c.ID)
		return nil
	case d.Erased:
		r.erased[c.ID] = noun
		return nil
	case noun == "annotation":
		return r.applyAnnotation(c, verb, &d)
	case verb == "added":
		b := &Block{}
		if err := json.Unmarshal(c.Data, b); err != nil {
			return err
		}
		if string(b.Query) == "null" {
			b.Query = nil
		}
		r.blocks[c.ID] = b
		return nil
	}
	b := r.blocks[c.ID]
	if b == nil {
		return nil // of an erased one
	}
	b.Offset, b.UpdatedUnixNano = c.Offset, c.AtNano
	return setFields(d.Fields, map[string]any{"title": &b.Title, "text": &b.Text, "url": &b.URL, "position": &b.Position, "state": &b.State, "done": &b.Done,
		"edited_by": &b.EditedBy, "edited_by_name": &b.EditedByName, "assignee": &b.Assignee, "due_unix_nano": (*nanoText)(&b.DueUnixNano), "references": (*referenceChanges)(&b.References)})
}

// nanoText is a time that stands in JSON as a decimal string.
type nanoText int64

func (n *nanoText) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	v, err := strconv.ParseInt(text, 10, 64)
	*n = nanoText(v)
	return err
}

// referenceChanges are applied to the references there are.
type referenceChanges References

func (c *referenceChanges) UnmarshalJSON(raw []byte) error {
	var set References
	if err := json.Unmarshal(raw, &set); err != nil {
		return err
	}
	for id, side := range set {
		if side == SideNone {
			delete(*c, id)
		} else {
			(*c)[id] = side
		}
	}
	return nil
}

// setFields puts the fields of an update where they belong. One that is not
// known is of a newer version, and left alone.
func setFields(fields map[string]json.RawMessage, into map[string]any) error {
	for name, raw := range fields {
		if target := into[name]; target != nil {
			if err := json.Unmarshal(raw, target); err != nil {
				return fmt.Errorf("field %s: %w", name, err)
			}
		}
	}
	return nil
}

func (r *replay) applyInvestigation(c *Change, verb string, d *replayData) error {
	i := &r.inv
	var teams map[TeamID]bool
	var people map[string]*string
	var services map[string]*bool
	lead := i.Lead
	fields := d.Fields
	switch verb {
	case "created":
		if err := json.Unmarshal(c.Data, &fields); err != nil {
			return err
		}
		i.CreatedUnixNano = c.AtNano
	case "updated":
	default:
		return nil
	}
	err := setFields(fields, map[string]any{"title": &i.Title, "status": &i.Status, "severity": &i.Severity, "lead": &i.Lead, "kind": &i.Kind, "visibility": &i.Visibility,
		"next_update_unix_nano": (*nanoText)(&i.NextUpdateUnixNano), "impact_start_unix_nano": (*nanoText)(&i.ImpactStartUnixNano),
		"impact_end_unix_nano": (*nanoText)(&i.ImpactEndUnixNano), "teams": &teams, "people": &people, "services": &services})
	if err != nil {
		return err
	}
	if i.Lead != lead {
		if i.LeadSinceUnixNano = c.AtNano; i.Lead == "" {
			i.LeadSinceUnixNano = 0
		}
	}
	for id, in := range teams {
		if in {
			r.teams[id] = c.AtNano
		} else {
			delete(r.teams, id)
		}
	}
	for id, role := range people {
		if role != nil {
			r.people[id] = AskedPerson{ID: id, Role: *role, SinceUnixNano: c.AtNano}
		} else {
			delete(r.people, id)
		}
	}
	for name, in := range services {
		if in != nil {
			i.byHand[name] = *in
		} else {
			delete(i.byHand, name)
		}
	}
	return nil
}

func (r *replay) applyAnnotation(c *Change, verb string, d *replayData) error {
	if verb == "added" {
		a := &Annotation{}
		if err := json.Unmarshal(c.Data, a); err != nil {
			return err
		}
		a.Offset = c.Offset
		r.notes[c.ID] = a
		return nil
	}
	a := r.notes[c.ID]
	if a == nil {
		return nil
	}
	switch verb {
	case "updated":
		a.Offset, a.UpdatedUnixNano, a.Versions = c.Offset, c.AtNano, a.Versions+1
		a.Mentions = nil
		return setFields(d.Fields, map[string]any{"text": &a.Text, "mentions": &a.Mentions, "edited_by": &a.EditedBy, "edited_by_name": &a.EditedByName})
	case "reacted":
		if a.Reactions = dropReaction(a.Reactions, d.Reaction, c.Actor); d.On {
			a.Reactions = addReaction(a.Reactions, d.Reaction, Person{c.Actor, c.ActorName})
		}
	case "resolved":
		a.ResolvedUnixNano, a.ResolvedBy, a.ResolvedByName = c.AtNano, c.Actor, c.ActorName
	case "reopened":
		a.ResolvedUnixNano, a.ResolvedBy, a.ResolvedByName = 0, "", ""
	}
	return nil
}

// board is what the changes came to, with the names that they do not tell.
func (r *replay) board(ctx context.Context, q querier) (*BoardThen, error) {
	out := &BoardThen{AtUnixNano: r.at, Last: r.last, Board: Board{Investigation: &r.inv, Blocks: []Block{}, Annotations: []Annotation{}}, Erased: []ErasedObject{}}
	names, err := readNames(ctx, q, `SELECT id, name, '' FROM users`)
	if err != nil {
		return nil, err
	}
	teams, err := readNames(ctx, q, `SELECT id, name, handle FROM teams`)
	if err != nil {
		return nil, err
	}
	i := &r.inv
	i.LeadName = names[i.Lead].Name
	i.People, i.Teams = []AskedPerson{}, []AskedTeam{}
	for _, p := range r.people {
		p.Name = names[p.ID].Name
		i.People = append(i.People, p)
	}
	slices.SortFunc(i.People, func(a, b AskedPerson) int {
		return cmp.Or(cmp.Compare(a.SinceUnixNano, b.SinceUnixNano), cmp.Compare(a.ID, b.ID))
	})
	for id, since := range r.teams {
		t := teams[string(id)]
		i.Teams = append(i.Teams, AskedTeam{ID: id, Name: t.Name, Handle: t.Handle, SinceUnixNano: since})
	}
	slices.SortFunc(i.Teams, func(a, b AskedTeam) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for _, b := range r.blocks {
		b.AssigneeName = names[b.Assignee].Name
		out.Blocks = append(out.Blocks, *b)
	}
	slices.SortFunc(out.Blocks, func(a, b Block) int { return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.ID, b.ID)) })
	for _, a := range r.notes {
		out.Annotations = append(out.Annotations, *a)
	}
	slices.SortFunc(out.Annotations, func(a, b Annotation) int { return cmp.Compare(a.ID, b.ID) })
	for id, noun := range r.erased {
		out.Erased = append(out.Erased, ErasedObject{id, noun})
		if noun != "annotation" {
			i.Blocks++
		}
	}
	slices.SortFunc(out.Erased, func(a, b ErasedObject) int { return cmp.Compare(a.ID, b.ID) })
	i.Blocks += len(out.Blocks)
	found, err := r.services(ctx, q)
	i.Services = affectedServices(found, i.byHand)
	return out, err
}

// services are those of the evidence that stood on the board.
func (r *replay) services(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.QueryContext(ctx, `SELECT b.id, e.services FROM blocks b JOIN evidence e ON e.block_id = b.id WHERE b.investigation_id = ?`, r.inv.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var block, raw string
		var list []string
		if err := rows.Scan(&block, &raw); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(raw), &list); err != nil {
			return nil, err
		}
		if r.blocks[block] != nil {
			found = append(found, list...)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(found))), rows.Err()
}

type named struct{ Name, Handle string }

func readNames(ctx context.Context, q querier, query string) (map[string]named, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := map[string]named{}
	for rows.Next() {
		var id string
		var n named
		if err := rows.Scan(&id, &n.Name, &n.Handle); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		list[id] = n
	}
	return list, rows.Err()
}
