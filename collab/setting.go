package collab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// SettingPublicURL is the address of the server as browsers see it.
const SettingPublicURL = "public_url"

// Setting returns a stored setting, or [ErrNotFound].
func (s *Store) Setting(ctx context.Context, key string) (string, error) {
	var v string
	err := s.read.QueryRowContext(ctx, `SELECT value FROM settings WHERE key = ?`, key).Scan(&v)
	if err != nil {
		return "", fmt.Errorf("setting %s: %w", key, translate(err))
	}
	return v, nil
}

// SetSetting stores a setting.
func (s *Store) SetSetting(ctx context.Context, key, value string) error {
	_, err := s.write.ExecContext(ctx, `INSERT INTO settings (key, value, updated_at) VALUES (?, ?, ?)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`, key, value, s.nowNano())
	if err != nil {
		return fmt.Errorf("set setting %s: %w", key, translate(err))
	}
	return nil
}

// SettingCorrelations are the attributes that join causes and effects, as JSON.
const SettingCorrelations = "correlations"

// ChangeSetting makes a new value of a setting from the old one ("" if there is
// none), with no other change in between, and tells of it in the audit log. An
// error of change leaves everything as it was.
func (s *Store) ChangeSetting(ctx context.Context, key string, e AuditEntry, change func(old string) (string, error)) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		var old string
		err := tx.QueryRowContext(ctx, `SELECT value FROM settings WHERE key = ?`, key).Scan(&old)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("change setting %s: %w", key, translate(err))
		}
		value, err := change(old)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO settings (key, value, updated_at) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`, key, value, s.nowNano())
		if err != nil {
			return fmt.Errorf("change setting %s: %w", key, translate(err))
		}
		return s.addAudit(ctx, tx, e)
	})
}
