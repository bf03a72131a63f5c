package collab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes a copy of the database to path, as of one moment, while others
// read and write. When it returns, the copy is durable; before, path is not
// there. Change logs of the copy have identities of their own, since their next
// offsets will name other changes.
func (s *Store) Backup(ctx context.Context, path string) error {
	temp := path + ".tmp"
	for _, p := range []string{temp, temp + "-wal", temp + "-shm", path, path + "-wal", path + "-shm"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("back up the database: %w", err)
		}
	}
	// SQLite would make it readable for others, and it holds hashes of secrets; it
	// fills an empty file.
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		_, err = s.read.ExecContext(ctx, `VACUUM INTO ?`, temp)
	}
	if err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	copied, err := Open(ctx, Options{Path: temp, Now: s.now, Log: s.log})
	if err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	if err := errors.Join(copied.RenewEpochs(ctx), copied.Close()); err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	if err := errors.Join(syncPath(temp), os.Rename(temp, path), syncPath(filepath.Dir(path))); err != nil {
		return fmt.Errorf("back up the database: %w", err)
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Contents counts what the database holds.
type Contents struct{ Users, Investigations, Changes, Evidence int64 }

// Contents counts what the database holds.
func (s *Store) Contents(ctx context.Context) (c Contents, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM investigations),
		(SELECT COUNT(*) FROM changes), (SELECT COUNT(*) FROM evidence)`).Scan(&c.Users, &c.Investigations, &c.Changes, &c.Evidence)
	if err != nil {
		return c, fmt.Errorf("count contents: %w", translate(err))
	}
	return c, nil
}
