package collab

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TargetID is "g_" and a ULID.
type TargetID string

// TargetSlack is an incoming webhook of Slack, or of what speaks its format.
const TargetSlack = "slack"

// Target is where notifications go.
type Target struct {
	ID              TargetID
	Kind            string
	Name            string
	URL             string // holds a secret: shown to administrators only
	Reasons         []Reason
	Enabled         bool
	CreatedUnixNano int64
}

// TargetNew asks for a target.
type TargetNew struct {
	Name    string
	URL     string
	Reasons []Reason
}

// DeliveryID is "d_" and a ULID.
type DeliveryID string

// DeliveryState says how far a delivery is.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryPending   DeliveryState = "pending"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryFailed    DeliveryState = "failed"
)

// Delivery is one notice on its way to one target.
type Delivery struct {
	ID              DeliveryID
	TargetID        TargetID
	TargetName      string
	TargetKind      string
	URL             string
	Reason          Reason
	Notice          Notice
	State           DeliveryState
	Attempts        int
	NextUnixNano    int64
	CreatedUnixNano int64
	Log             []Attempt // the oldest first
}

// Attempt is one try to deliver.
type Attempt struct {
	Number       int
	AtUnixNano   int64
	DurationNano int64
	Status       int    // of HTTP, 0: no answer
	Response     string // its beginning
	Error        string
	NextUnixNano int64 // of the next try, 0: none
}

// keepDeliveries is how long the delivery log goes back.
const keepDeliveries = 30 * 24 * time.Hour

// enqueue writes one delivery for each target that wants the notice, in the
// transaction of what it tells of. A notice of one change goes to a target once.
// Targets are channels that everybody may read: what only some may see goes to
// none.
func (w *work) enqueue(ctx context.Context, n Notice, object string) error {
	if n.InvestigationID != "" {
		var v Visibility
		if err := w.tx.QueryRowContext(ctx, `SELECT visibility FROM investigations WHERE id = ?`, n.InvestigationID).Scan(&v); err != nil {
			return fmt.Errorf("visibility of %s: %w", n.InvestigationID, err)
		}
		if v != VisibilityWorkspace {
			return nil
		}
	}
	raw, err := marshal(n)
	if err != nil {
		return fmt.Errorf("encode notice: %w", err)
	}
	offset := int64(0)
	for _, p := range w.told {
		if p.InvestigationID == n.InvestigationID {
			offset = p.Offset
		}
	}
	cause := string(n.Reason) + " " + object + " " + strconv.FormatInt(offset, 10)
	if offset == 0 {
		cause += " " + strconv.FormatInt(w.now, 10) // no log numbers it
	}
	rows, err := w.tx.QueryContext(ctx, `SELECT id FROM targets WHERE enabled = 1 AND deleted_at = 0
		AND EXISTS (SELECT 1 FROM json_each(reasons) WHERE value = ?)`, n.Reason)
	if err != nil {
		return fmt.Errorf("find targets: %w", err)
	}
	targets, err := scanStrings(rows)
	if err != nil {
		return fmt.Errorf("find targets: %w", err)
	}
	for _, target := range targets {
		if err := insertDelivery(ctx, w.tx, TargetID(target), cause, n, object, string(raw), w.now); err != nil {
			return err
		}
		w.queued = true
	}
	return nil
}

func insertDelivery(ctx context.Context, tx *sql.Tx, target TargetID, cause string, n Notice, object, raw string, now int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO deliveries (id, target_id, cause, reason, investigation_id, object_id, notice, state, attempts, next_at, leased_until, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?, 0, ?)`, newID("d_"), target, cause, n.Reason, n.InvestigationID, object, raw, now, now)
	if err != nil {
		return fmt.Errorf("insert delivery: %w", err)
	}
	return nil
}

// CreateTarget adds a target.
func (s *Store) CreateTarget(ctx context.Context, n TargetNew) (*Target, error) {
	name, err := cleanTitle("name", n.Name)
	if err != nil {
		return nil, err
	}
	raw := strings.TrimSpace(n.URL)
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || len(raw) > maxURLBytes {
		return nil, &InvalidError{"url", "Paste the webhook's address: it begins with https://."}
	}
	if err := checkReasons(n.Reasons); err != nil {
		return nil, err
	}
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleAdmin) {
		return nil, ErrForbidden
	}
	t := &Target{ID: TargetID(newID("g_")), Kind: TargetSlack, Name: name, URL: raw, Reasons: n.Reasons, Enabled: true, CreatedUnixNano: s.nowNano()}
	reasons, err := marshal(t.Reasons)
	if err != nil {
		return nil, fmt.Errorf("encode reasons: %w", err)
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO targets (id, kind, name, url, reasons, enabled, created_by, created_at) VALUES (?, ?, ?, ?, ?, 1, ?, ?)`,
			t.ID, t.Kind, t.Name, t.URL, string(reasons), actor.ID, t.CreatedUnixNano)
		if err != nil {
			return fmt.Errorf("insert target: %w", err)
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "target.created", Subject: name, Detail: u.Host})
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func checkReasons(reasons []Reason) error {
	if len(reasons) == 0 {
		return &InvalidError{"reasons", "Choose at least one reason to notify."}
	}
	for _, r := range reasons {
		if !slices.Contains(Reasons, r) {
			return &InvalidError{"reasons", "Reasons are opened, mention, assignment, task, status, asked and due."}
		}
	}
	return nil
}

// Targets lists the targets, the oldest first.
func (s *Store) Targets(ctx context.Context) ([]Target, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, kind, name, url, reasons, enabled, created_at FROM targets WHERE deleted_at = 0 ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	defer rows.Close()
	var list []Target
	for rows.Next() {
		var t Target
		var reasons string
		if err := rows.Scan(&t.ID, &t.Kind, &t.Name, &t.URL, &reasons, &t.Enabled, &t.CreatedUnixNano); err != nil {
			return nil, fmt.Errorf("list targets: %w", err)
		}
		if err := json.Unmarshal([]byte(reasons), &t.Reasons); err != nil {
			return nil, fmt.Errorf("list targets: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// EnableTarget switches a target on or off.
func (s *Store) EnableTarget(ctx context.Context, id TargetID, on bool) error {
	action := "target.disabled"
	if on {
		action = "target.enabled"
	}
	return s.editTarget(ctx, id, action, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE targets SET enabled = ? WHERE id = ?`, on, id)
		return err
	})
}

// DeleteTarget forgets a target's address; its delivery log stays. What waits
// for it fails.
func (s *Store) DeleteTarget(ctx context.Context, id TargetID) error {
	return s.editTarget(ctx, id, "target.deleted", func(tx *sql.Tx) error {
		now := s.nowNano()
		if _, err := tx.ExecContext(ctx, `UPDATE targets SET url = '', enabled = 0, deleted_at = ? WHERE id = ?`, now, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'failed', done_at = ? WHERE target_id = ? AND state = 'pending'`, now, id)
		return err
	})
}

func (s *Store) editTarget(ctx context.Context, id TargetID, action string, fn func(tx *sql.Tx) error) error {
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleAdmin) {
		return ErrForbidden
	}
	err := s.tx(ctx, func(tx *sql.Tx) error {
		var name string
		if err := tx.QueryRowContext(ctx, `SELECT name FROM targets WHERE id = ? AND deleted_at = 0`, id).Scan(&name); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: action, Subject: name})
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", action, id, err)
	}
	return nil
}

// TestTarget puts a trial message into the outbox of one target.
func (s *Store) TestTarget(ctx context.Context, id TargetID) error {
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleAdmin) {
		return ErrForbidden
	}
	now := s.nowNano()
	n := Notice{Reason: "test", Title: "Test from redthread", Text: "If you read this, notifications arrive here.", Path: "/settings/notifications",
		ActorName: actor.Name, AtUnixNano: now, To: []string{}}
	raw, err := marshal(n)
	if err != nil {
		return fmt.Errorf("encode notice: %w", err)
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var known bool
		if err := tx.QueryRowContext(ctx, `SELECT 1 FROM targets WHERE id = ? AND deleted_at = 0`, id).Scan(&known); err != nil {
			return err
		}
		return insertDelivery(ctx, tx, id, "test "+newID(""), n, "", string(raw), now)
	})
	if err != nil {
		return fmt.Errorf("test target %s: %w", id, err)
	}
	if s.boards.queued != nil {
		s.boards.queued()
	}
	return nil
}

const deliveryColumns = `d.id, d.target_id, t.name, t.kind, t.url, d.reason, d.notice, d.state, d.attempts, d.next_at, d.created_at
	FROM deliveries d JOIN targets t ON t.id = d.target_id `

func scanDelivery(row interface{ Scan(...any) error }) (*Delivery, error) {
	var d Delivery
	var notice string
	err := row.Scan(&d.ID, &d.TargetID, &d.TargetName, &d.TargetKind, &d.URL, &d.Reason, &notice, &d.State, &d.Attempts, &d.NextUnixNano, &d.CreatedUnixNano)
	if err != nil {
		return nil, err
	}
	return &d, json.Unmarshal([]byte(notice), &d.Notice)
}

// DueDeliveries returns the ids of pending deliveries whose time has come and
// that nobody works on, the oldest first, and when the next one is due (0: none
// is waiting).
func (s *Store) DueDeliveries(ctx context.Context, limit int) (ids []DeliveryID, next int64, err error) {
	now := s.nowNano()
	rows, err := s.read.QueryContext(ctx, `SELECT id, MAX(next_at, leased_until) AS due FROM deliveries WHERE state = 'pending' ORDER BY due, id LIMIT ?`, limit+1)
	if err != nil {
		return nil, 0, fmt.Errorf("find due deliveries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id DeliveryID
		var due int64
		if err := rows.Scan(&id, &due); err != nil {
			return nil, 0, fmt.Errorf("find due deliveries: %w", err)
		}
		if due > now || len(ids) == limit {
			next = due
			break
		}
		ids = append(ids, id)
	}
	return ids, next, rows.Err()
}

// LeaseDelivery gives one due delivery to the caller for a while, or answers
// [ErrNotFound]: it is done, not due, or somebody has it.
func (s *Store) LeaseDelivery(ctx context.Context, id DeliveryID, lease time.Duration) (*Delivery, error) {
	var d *Delivery
	err := s.tx(ctx, func(tx *sql.Tx) error {
		now := s.nowNano()
		res, err := tx.ExecContext(ctx, `UPDATE deliveries SET leased_until = ?, attempts = attempts + 1
			WHERE id = ? AND state = 'pending' AND next_at <= ? AND leased_until <= ?`, now+int64(lease), id, now, now)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrNotFound)
		}
		d, err = scanDelivery(tx.QueryRowContext(ctx, `SELECT `+deliveryColumns+`WHERE d.id = ?`, id))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lease delivery %s: %w", id, err)
	}
	return d, nil
}

// FinishAttempt notes how an attempt ended. A pending state means that it is
// tried again at a.NextUnixNano.
func (s *Store) FinishAttempt(ctx context.Context, id DeliveryID, a Attempt, state DeliveryState) error {
	doneAt := int64(0)
	if state != DeliveryPending {
		doneAt = s.nowNano()
	}
	err := s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO delivery_attempts (delivery_id, attempt, at, took_nano, status, response, error, next_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, id, a.Number, a.AtUnixNano, a.DurationNano, a.Status, a.Response, a.Error, a.NextUnixNano)
		if err != nil {
			return err
		}
		// One that was taken back meanwhile went out all the same, or is not tried again.
		_, err = tx.ExecContext(ctx, `UPDATE deliveries SET state = ?1, next_at = ?2, leased_until = 0, done_at = ?3
			WHERE id = ?4 AND (state = 'pending' OR cause = id AND leased_until > 0 AND ?1 = 'delivered')`, state, a.NextUnixNano, doneAt, id)
		if err != nil {
			return err
		}
		old := s.nowNano() - int64(keepDeliveries)
		if _, err := tx.ExecContext(ctx, `DELETE FROM delivery_attempts WHERE delivery_id IN
			(SELECT id FROM deliveries WHERE created_at < ? AND state <> 'pending')`, old); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM deliveries WHERE created_at < ? AND state <> 'pending'`, old)
		return err
	})
	if err != nil {
		return fmt.Errorf("finish attempt %d of delivery %s: %w", a.Number, id, err)
	}
	return nil
}

// ReplayDelivery sends a finished delivery once more.
func (s *Store) ReplayDelivery(ctx context.Context, id DeliveryID) error {
	res, err := s.write.ExecContext(ctx, `UPDATE deliveries SET state = 'pending', next_at = ?, leased_until = 0, done_at = 0
		WHERE id = ? AND cause <> id AND target_id IN (SELECT id FROM targets WHERE deleted_at = 0)`, s.nowNano(), id)
	if err == nil {
		var n int64
		if n, err = res.RowsAffected(); err == nil && n == 0 {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("replay delivery %s: %w", id, translate(err))
	}
	if s.boards.queued != nil {
		s.boards.queued()
	}
	return nil
}

// FindDeliveries returns the newest deliveries with their attempts, the newest
// first.
func (s *Store) FindDeliveries(ctx context.Context, limit int) ([]Delivery, error) {
	if limit <= 0 || limit > 500 {
		limit = 100
	}
	rows, err := s.read.QueryContext(ctx, `SELECT `+deliveryColumns+`ORDER BY d.created_at DESC, d.id DESC LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("find deliveries: %w", err)
	}
	defer rows.Close()
	var list []Delivery
	for rows.Next() {
		d, err := scanDelivery(rows)
		if err != nil {
			return nil, fmt.Errorf("find deliveries: %w", err)
		}
		list = append(list, *d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find deliveries: %w", err)
	}
	for i := range list {
		if list[i].Log, err = s.attempts(ctx, list[i].ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (s *Store) attempts(ctx context.Context, id DeliveryID) ([]Attempt, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT attempt, at, took_nano, status, response, error, next_at FROM delivery_attempts WHERE delivery_id = ? ORDER BY attempt`, id)
	if err != nil {
		return nil, fmt.Errorf("attempts of %s: %w", id, err)
	}
	defer rows.Close()
	var list []Attempt
	for rows.Next() {
		var a Attempt
		if err := rows.Scan(&a.Number, &a.AtUnixNano, &a.DurationNano, &a.Status, &a.Response, &a.Error, &a.NextUnixNano); err != nil {
			return nil, fmt.Errorf("attempts of %s: %w", id, err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// AllowHost lets notifications reach a host inside the network: an exact name or
// address, without a port.
func (s *Store) AllowHost(ctx context.Context, host string) error {
	host = strings.ToLower(strings.Trim(strings.TrimSpace(host), "[]"))
	if host == "" || strings.ContainsAny(host, "/ @") || len(host) > 253 {
		return &InvalidError{"host", "Give a host name or an address, without scheme and port."}
	}
	actor, ok := ActorFrom(ctx)
	if !ok || !actor.Role.AtLeast(RoleAdmin) {
		return ErrForbidden
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO allowed_hosts (host, created_by, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, host, actor.ID, s.nowNano())
		if err != nil {
			return fmt.Errorf("allow host: %w", err)
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "host.allowed", Subject: host})
	})
}

// ForbidHost takes an allowed host back.
func (s *Store) ForbidHost(ctx context.Context, host string) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM allowed_hosts WHERE host = ?`, host); err != nil {
			return fmt.Errorf("forbid host: %w", err)
		}
		return s.addAudit(ctx, tx, AuditEntry{Action: "host.forbidden", Subject: host})
	})
}

// AllowedHosts lists the hosts that notifications may reach although they are
// inside the network.
func (s *Store) AllowedHosts(ctx context.Context) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT host FROM allowed_hosts ORDER BY host`)
	if err != nil {
		return nil, fmt.Errorf("list allowed hosts: %w", err)
	}
	hosts, err := scanStrings(rows)
	if err != nil {
		return nil, fmt.Errorf("list allowed hosts: %w", err)
	}
	return hosts, nil
}

// scanStrings reads rows of one text column and closes them.
func scanStrings(rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
