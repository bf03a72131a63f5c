package collab

import (
	"context"
	"fmt"
	"strings"
)

// MarkerID is "k_" and a ULID.
type MarkerID string

// Marker says that something happened to a system: a deploy, a changed flag. It
// shows on charts, and on the timeline of investigations about its service.
type Marker struct {
	ID              MarkerID `json:"id"`
	Type            string   `json:"type"` // deploy, …
	Message         string   `json:"message"`
	URL             string   `json:"url"`
	Service         string   `json:"service"`     // "": about all
	Environment     string   `json:"environment"` // "": about all
	StartUnixNano   int64    `json:"start_unix_nano,string"`
	EndUnixNano     int64    `json:"end_unix_nano,string"` // 0: a moment
	CreatedBy       string   `json:"created_by"`
	CreatedByName   string   `json:"created_by_name"`
	CreatedUnixNano int64    `json:"created_unix_nano,string"`
}

// MarkerNew asks for a marker. The same ref again returns the one it made.
type MarkerNew struct {
	Ref           string
	Type          string
	Message       string
	URL           string
	Service       string
	Environment   string
	StartUnixNano int64 // 0: now
	EndUnixNano   int64
}

// MarkerFilter picks markers that touch from ≤ t ≤ to, the newest first.
type MarkerFilter struct {
	FromUnixNano, ToUnixNano int64 // 0: open
	// Services, if not nil, keeps those about one of them or about all.
	Services []string
	// Environment, if set, keeps those about it or about all.
	Environment string
	Type        string
	// KnownUnixNano, if set, keeps those that were put by then.
	KnownUnixNano int64
	// Before, if set, leaves out the markers of exactly ToUnixNano that stand before
	// this one in the list, and itself: a page begins where the one before ended.
	Before MarkerID
	Limit  int // 100 if zero, at most 1,000
}

const (
	maxMarkerTypeRunes    = 60
	maxMarkerMessageRunes = 500
)

func (n *MarkerNew) clean(now int64) error {
	if err := checkRef(n.Ref); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text *string
		most int
	}{{"type", &n.Type, maxMarkerTypeRunes}, {"message", &n.Message, maxMarkerMessageRunes}, {"service", &n.Service, maxServiceRunes}, {"environment", &n.Environment, maxServiceRunes}} {
		*f.text = strings.Join(strings.Fields(strings.ToValidUTF8(*f.text, "\uFFFD")), " ")
		if len([]rune(*f.text)) > f.most {
			return &InvalidError{f.name, "That is too long: at most " + itoa(f.most) + " characters."}
		}
	}
	if n.Type == "" {
		n.Type = "deploy"
	}
	if n.URL != "" {
		var err error
		if n.URL, err = cleanURL(n.URL); err != nil {
			return err
		}
	}
	if n.StartUnixNano == 0 {
		n.StartUnixNano = now
	}
	if n.StartUnixNano < 0 {
		return &InvalidError{"time", "A time is after 1970."}
	}
	if n.EndUnixNano != 0 && n.EndUnixNano < n.StartUnixNano {
		return &InvalidError{"end_time", "It cannot end before it begins."}
	}
	return nil
}

const markerColumns = `id, type, message, url, service, environment, start_at, end_at, created_by, created_by_name, created_at FROM markers `

func scanMarker(row interface{ Scan(...any) error }) (*Marker, error) {
	var m Marker
	err := row.Scan(&m.ID, &m.Type, &m.Message, &m.URL, &m.Service, &m.Environment, &m.StartUnixNano, &m.EndUnixNano, &m.CreatedBy, &m.CreatedByName, &m.CreatedUnixNano)
	return &m, err
}

func markerByID(ctx context.Context, q querier, id MarkerID) (*Marker, error) {
	m, err := scanMarker(q.QueryRowContext(ctx, `SELECT `+markerColumns+`WHERE id = ?`, id))
	if err != nil {
		return nil, fmt.Errorf("marker %s: %w", id, translate(err))
	}
	return m, nil
}

// CreateMarker puts a marker. The same ref again returns it, with created false.
func (s *Store) CreateMarker(ctx context.Context, n MarkerNew) (m *Marker, created bool, err error) {
	request, err := requestHash("marker", n)
	if err != nil {
		return nil, false, err
	}
	if err := n.clean(s.nowNano()); err != nil {
		return nil, false, err
	}
	err = s.do(ctx, func(w *work) error {
		before, err := findRef(ctx, w.tx, "markers", w.actor.ID, n.Ref, request)
		if err != nil {
			return err
		}
		if before != nil {
			m, err = markerByID(ctx, w.tx, MarkerID(before.object))
			return err
		}
		created = true
		m = &Marker{ID: MarkerID(newID("k_")), Type: n.Type, Message: n.Message, URL: n.URL, Service: n.Service, Environment: n.Environment,
			StartUnixNano: n.StartUnixNano, EndUnixNano: n.EndUnixNano, CreatedBy: w.actor.ID, CreatedByName: w.actor.Name, CreatedUnixNano: w.now}
		_, err = w.tx.ExecContext(ctx, `INSERT INTO markers (id, type, message, url, service, environment, start_at, end_at, created_by, created_by_name, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, m.ID, m.Type, m.Message, m.URL, m.Service, m.Environment, m.StartUnixNano, m.EndUnixNano, m.CreatedBy, m.CreatedByName, w.now)
		if err != nil {
			return fmt.Errorf("insert marker: %w", err)
		}
		return w.keepRef(ctx, "markers", n.Ref, request, string(m.ID), 0)
	})
	if err != nil {
		return nil, false, err
	}
	return m, created, nil
}

// FindMarkers returns markers, the newest first.
func (s *Store) FindMarkers(ctx context.Context, f MarkerFilter) ([]Marker, error) {
	return findMarkers(ctx, s.read, f)
}

func findMarkers(ctx context.Context, q querier, f MarkerFilter) ([]Marker, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	if err := checkAfter("before", "k_", string(f.Before)); err != nil {
		return nil, err
	}
	services := []byte("null")
	if f.Services != nil {
		var err error
		if services, err = marshal(f.Services); err != nil {
			return nil, fmt.Errorf("find markers: %w", err)
		}
	}
	rows, err := q.QueryContext(ctx, `SELECT `+markerColumns+`WHERE (?1 = 0 OR MAX(start_at, end_at) >= ?1) AND (?2 = 0 OR start_at <= ?2)
		AND (?3 = 'null' OR service = '' OR service IN (SELECT value FROM json_each(?3))) AND (?4 = '' OR environment IN ('', ?4)) AND (?5 = '' OR type = ?5)
		AND (?6 = '' OR start_at < ?2 OR id < ?6) AND (?8 = 0 OR created_at <= ?8)
		ORDER BY start_at DESC, id DESC LIMIT ?7`, f.FromUnixNano, f.ToUnixNano, string(services), f.Environment, f.Type, f.Before, min(f.Limit, 1_000), f.KnownUnixNano)
	if err != nil {
		return nil, fmt.Errorf("find markers: %w", err)
	}
	defer rows.Close()
	list := []Marker{}
	for rows.Next() {
		m, err := scanMarker(rows)
		if err != nil {
			return nil, fmt.Errorf("find markers: %w", err)
		}
		list = append(list, *m)
	}
	return list, rows.Err()
}

// DeleteMarker takes a marker away. Who put it and administrators may. Deleting
// twice is no error.
func (s *Store) DeleteMarker(ctx context.Context, id MarkerID) error {
	return s.do(ctx, func(w *work) error {
		var by string
		err := w.tx.QueryRowContext(ctx, `SELECT COALESCE((SELECT created_by FROM markers WHERE id = ?), '')`, id).Scan(&by)
		if err != nil || by == "" {
			return err
		}
		if by != w.actor.ID && !w.actor.Role.AtLeast(RoleAdmin) {
			return ErrForbidden
		}
		if _, err := w.tx.ExecContext(ctx, `DELETE FROM markers WHERE id = ?`, id); err != nil {
			return fmt.Errorf("delete marker %s: %w", id, err)
		}
		return nil
	})
}
