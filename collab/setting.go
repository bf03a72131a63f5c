package collab

import (
	"context"
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
