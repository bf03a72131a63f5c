package collab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// RedactedText stands where a value was taken out of a pin.
const RedactedText = "[redacted]"

// Bounds of a value that is taken out: a shorter one would be found in words that
// mean something else.
const (
	minRedactRunes = 3
	maxRedactBytes = 4 << 10
)

// Redaction says that somebody took a value out of a frozen copy, not which.
type Redaction struct {
	By         string `json:"by"`
	ByName     string `json:"by_name"`
	AtUnixNano int64  `json:"at_unix_nano,string"`
	Places     int    `json:"places"` // where it stood in the copy
}

// RedactNew asks to take a value out of a pin.
type RedactNew struct {
	Ref   string `json:"ref"`
	Value string `json:"value"`
}

// RedactPin takes a text, or a number, out of a pin wherever it stands: in the
// frozen copy, which gets a new hash and is marked, in title, caption and query, in
// the comparisons that hold the copy, in the remarks on them, in the log of the
// investigation, and in what people were told of all that. It is for administrators
// who may see the investigation. A value that is nowhere, or that stands where the
// pin would be nothing without it, is an [InvalidError], and then all stays as it is.
func (s *Store) RedactPin(ctx context.Context, id InvestigationID, block BlockID, n RedactNew) (*Block, error) {
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleAdmin) {
		return nil, ErrForbidden
	}
	if err := checkRef(n.Ref); err != nil {
		return nil, err
	}
	value := strings.TrimSpace(n.Value)
	if utf8.RuneCountInString(value) < minRedactRunes || len(value) > maxRedactBytes || !utf8.ValidString(value) || strings.Contains(RedactedText, value) {
		return nil, &InvalidError{"value", fmt.Sprintf("Write the text to take out as it stands in the pin: from %d characters to 4 KiB.", minRedactRunes)}
	}
	var b *Block
	err := s.do(ctx, func(w *work) (err error) {
		inv, err := investigationByID(ctx, w.tx, id)
		if err != nil {
			return err
		}
		if b, err = blockByID(ctx, w.tx, id, block); err != nil {
			return err
		}
		if b.deleted || b.Evidence == nil || b.Kind == KindComparison {
			return &InvalidError{"", "Values are taken out of a pinned span, trace, thread or query."}
		}
		title, text := b.Title, b.Text
		r := redactor{work: w, value: value, inv: id, changed: map[string]string{}}
		if err := r.run(ctx, s.boards.evidence, b); err != nil {
			return err
		}
		if b, err = blockByID(ctx, w.tx, id, block); err != nil {
			return err
		}
		if b.Title != title {
			b.fieldOffsets["title"] = inv.Offset + 1 // who still edits the old one is asked
		}
		if b.Text != text {
			b.fieldOffsets["text"] = inv.Offset + 1
		}
		b.Offset, b.UpdatedUnixNano = inv.Offset+1, w.now
		if err := w.saveBlock(ctx, b); err != nil {
			return err
		}
		fields := map[string]any{"redacted": true, "title": b.Title, "text": b.Text}
		if _, err := w.log(ctx, id, PinUpdated, string(block), n.Ref, map[string]any{"id": b.ID, "kind": b.Kind, "fields": fields}); err != nil {
			return err
		}
		w.purge = true
		return s.addAudit(ctx, w.tx, AuditEntry{Action: "pin.redacted", Subject: string(block), Detail: "of investigation " + string(id)})
	})
	if err != nil {
		return nil, fmt.Errorf("redact %s: %w", block, err)
	}
	return b, nil
}

// emptyWAL writes what is in the write-ahead log to the database and empties it, so
// that what was erased is in no file. While others read it may not come to an end:
// then the next checkpoints do it.
func (s *Store) emptyWAL(ctx context.Context) {
	if _, err := s.write.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "checkpoint after erasing", "error", err)
	}
}

// redactor takes one value out of what a transaction holds.
type redactor struct {
	*work
	value   string
	inv     InvestigationID
	places  int               // where it was found so far
	changed map[string]string // hashes of copies, old and new
}

// run redacts the pin and all that holds a copy of it.
func (r *redactor) run(ctx context.Context, src EvidenceSource, pin *Block) error {
	blocks, err := findBlocks(ctx, r.tx, r.inv)
	if err != nil {
		return err
	}
	var objects []string
	found := 0
	for i := range blocks {
		b := &blocks[i]
		copied := b.ID == pin.ID
		for _, side := range b.Sides {
			copied = copied || side.PinID == pin.ID
		}
		if !copied {
			continue
		}
		if err := r.copyOf(ctx, src, b); err != nil {
			return err
		}
		found += r.places
		objects = append(objects, string(b.ID))
	}
	for _, block := range objects {
		notes, err := queryAnnotations(ctx, r.tx, `a.block_id = ?`, []any{block}, 10_000)
		if err != nil {
			return err
		}
		for i := range notes {
			objects = append(objects, string(notes[i].ID))
		}
	}
	r.places = 0
	for _, object := range objects {
		if err := r.object(ctx, object); err != nil {
			return err
		}
	}
	if found+r.places == 0 {
		return &InvalidError{"value", "This text is not in the pin."}
	}
	return nil
}

// copyOf redacts the frozen copy of a block, or of one of its sides. An equal copy
// gets the same hash everywhere: by the old one the value could be found by trying.
func (r *redactor) copyOf(ctx context.Context, src EvidenceSource, b *Block) error {
	var body, services, locator, marks string
	err := r.tx.QueryRowContext(ctx, `SELECT body, services, locator, redactions FROM evidence WHERE block_id = ?`, b.ID).Scan(&body, &services, &locator, &marks)
	if err != nil {
		return fmt.Errorf("evidence of %s: %w", b.ID, translate(err))
	}
	r.places = 0
	if b.Kind == KindComparison {
		var c comparisonBody
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return err
		}
		for i, side := range c.Sides {
			out, err := r.json(string(side))
			if err != nil {
				return err
			}
			if out != string(side) && i < len(b.Sides) {
				r.changed[b.Sides[i].SHA256] = hashHex([]byte(out))
			}
		}
	}
	out, err := r.json(body)
	if err != nil {
		return err
	}
	if b.Kind == KindComparison {
		r.places /= 2 // each was seen twice
	}
	if strings.Contains(out, r.value) || strings.Contains(out, r.escaped()) {
		return &InvalidError{"value", "This also stands in a name, an id or a time of the pin, which cannot be taken out. Delete the pin instead."}
	}
	if r.places == 0 {
		return nil
	}
	if b.Kind != KindComparison {
		if _, err := src.Compare(b.Kind, json.RawMessage(out), json.RawMessage(out)); err != nil && !errors.Is(err, ErrNotFound) {
			return &InvalidError{"value", "The pin cannot be shown without this. Delete the pin instead."}
		}
	}
	sum := hashHex([]byte(out))
	r.changed[b.Evidence.SHA256] = sum
	list := []Redaction{}
	if marks != "" {
		if err := json.Unmarshal([]byte(marks), &list); err != nil {
			return err
		}
	}
	raw, err := marshal(append(list, Redaction{By: r.actor.ID, ByName: r.actor.Name, AtUnixNano: r.now, Places: r.places}))
	if err != nil {
		return err
	}
	n := r.places
	if services, err = r.json(services); err == nil {
		locator, err = r.json(locator)
	}
	if err != nil {
		return err
	}
	r.places = n
	for old, now := range r.changed { // those of the sides of a comparison
		locator = strings.ReplaceAll(locator, old, now)
	}
	_, err = r.tx.ExecContext(ctx, `UPDATE evidence SET body = ?, sha256 = ?, services = ?, locator = ?, redactions = ? WHERE block_id = ?`,
		[]byte(out), sum, services, locator, string(raw), b.ID)
	if err == nil {
		_, err = r.tx.ExecContext(ctx, `UPDATE blocks SET evidence_sha256 = ?, evidence_bytes = ? WHERE id = ?`, sum, len(out), b.ID)
	}
	if err != nil {
		return fmt.Errorf("redact evidence of %s: %w", b.ID, err)
	}
	return nil
}

// object redacts what is said of a block or annotation beside its copy.
func (r *redactor) object(ctx context.Context, object string) error {
	logs := `(investigation_id = ?1 OR investigation_id IN (SELECT id FROM investigations WHERE merged_into = ?1))`
	for _, st := range []struct {
		table, key, columns, where string
		args                       []any
		fn                         func(string) (string, error)
	}{
		{"blocks", "id", "title, text, url", `id = ?1`, []any{object}, r.plain},
		{"blocks", "id", "query, sides", `id = ?1`, []any{object}, r.json},
		{"blocks", "id", "locator", `id = ?1`, []any{object}, r.address},
		{"annotations", "id", "text", `id = ?1`, []any{object}, r.plain},
		{"annotation_versions", "version", "text", `annotation_id = ?1`, []any{object}, r.plain},
		{"inbox_items", "id", "text", `object_id = ?1`, []any{object}, r.plain},
		{"deliveries", "id", "notice", `object_id = ?1`, []any{object}, r.json},
		{"changes", "investigation_id || '/' || offset", "data", logs + ` AND object_id = ?2`, []any{r.inv, object}, r.json},
	} {
		for _, column := range strings.Split(st.columns, ", ") {
			if err := r.column(ctx, st.table, st.key, column, st.where, st.args, st.fn); err != nil {
				return fmt.Errorf("redact %s of %s: %w", st.table, object, err)
			}
		}
	}
	// The hash of what was asked for could be tried out, too. Only an equal request
	// would be known by it, and it is not to be done again.
	_, err := r.tx.ExecContext(ctx, `UPDATE refs SET request = randomblob(32) WHERE object_id = ?`, object)
	return err
}

// column redacts one column of the rows that where finds.
func (r *redactor) column(ctx context.Context, table, key, column, where string, args []any, fn func(string) (string, error)) error {
	rows, err := r.tx.QueryContext(ctx, `SELECT `+key+`, `+column+` FROM `+table+` WHERE `+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	type row struct{ key, text string }
	var list []row
	for rows.Next() {
		var one row
		if err := rows.Scan(&one.key, &one.text); err != nil {
			return err
		}
		list = append(list, one)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, one := range list {
		text, err := fn(one.text)
		if err != nil {
			return err
		}
		for old, sum := range r.changed {
			text = strings.ReplaceAll(text, old, sum)
		}
		if text == one.text {
			continue
		}
		bound := append(append([]any{}, args...), text, one.key)
		stmt := fmt.Sprintf(`UPDATE %s SET %s = ?%d WHERE %s AND CAST(%s AS TEXT) = ?%d`, table, column, len(bound)-1, where, key, len(bound))
		if _, err := r.tx.ExecContext(ctx, stmt, bound...); err != nil {
			return err
		}
	}
	return nil
}

func (r *redactor) plain(s string) (string, error) {
	r.places += strings.Count(s, r.value)
	return strings.ReplaceAll(s, r.value, RedactedText), nil
}

// address redacts the path of the live view of a query, which has the query in it.
func (r *redactor) address(s string) (string, error) {
	path, q, ok := strings.Cut(s, "?q=")
	if !ok {
		return s, nil
	}
	raw, err := url.QueryUnescape(q)
	if err != nil {
		return s, nil
	}
	if raw, err = r.json(raw); err != nil {
		return s, err
	}
	return path + "?q=" + url.QueryEscape(raw), nil
}

// escaped is the value as it stands in JSON inside a string of JSON.
func (r *redactor) escaped() string {
	raw, _ := json.Marshal(r.value) // a string
	return string(raw[1 : len(raw)-1])
}

// json redacts a JSON text. One without the value stays as it is, byte for byte.
func (r *redactor) json(raw string) (string, error) {
	if raw == "" {
		return raw, nil
	}
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return raw, err
	}
	before := r.places
	v = r.walk(v, "", false)
	if r.places == before {
		return raw, nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return raw, err
	}
	return string(bytes.TrimRight(out.Bytes(), "\n")), nil
}

// fixedFields are fields by which a pin, a block or a query is what it is.
var fixedFields = map[string]bool{"v": true, "id": true, "kind": true, "trace_id": true, "span_id": true, "parent_span_id": true, "pin_id": true,
	"investigation_id": true, "merged_from": true, "position": true, "code": true, "op": true, "order": true, "filter_combination": true, "by": true, "status": true, "state": true,
	"created_by": true, "frozen_by": true, "assignee": true, "sha256": true, "type": true, "types": true}

// walk redacts a value of the field name; free says that it is what a sender chose,
// of whatever type.
func (r *redactor) walk(v any, name string, free bool) any {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			v[k] = r.walk(child, k, free || name == "attributes" || k == "value" || k == "values" || k == "rows")
		}
		return v
	case []any:
		for i, child := range v {
			v[i] = r.walk(child, name, free)
		}
		return v
	case string:
		if name == "locator" && strings.Contains(v, "?q=") {
			if s, err := r.address(v); err == nil {
				v = s
			}
		}
		if !free && (fixedFields[name] || strings.HasSuffix(name, "_nano")) {
			return v
		}
		s, _ := r.plain(v)
		if in := r.escaped(); in != r.value {
			r.places += strings.Count(s, in)
			s = strings.ReplaceAll(s, in, RedactedText)
		}
		return s
	case json.Number:
		if free && v.String() == r.value {
			r.places++
			return RedactedText
		}
	}
	return v
}
