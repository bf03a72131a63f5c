package collab

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"
)

// The sentinel errors of the package.
var (
	ErrNotFound  = errors.New("collab: not found")
	ErrConflict  = errors.New("collab: conflict")
	ErrForbidden = errors.New("collab: forbidden")
)

// InvalidError is bad input. Message is a sentence shown to the person; Field
// names the form or JSON field, if it is about one.
type InvalidError struct{ Field, Message string }

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Options opens a [Store]. The zero values of Now and Log are usable.
type Options struct {
	Path string // the database file; its folder is made if missing
	Now  func() time.Time
	Log  *slog.Logger
}

// Store is the application's SQLite database. Its methods may be called from
// several goroutines, and several processes may have the file open.
//
// Writes go through one connection; reads through a read-only pool, which sees
// every committed write.
type Store struct {
	write *sql.DB
	read  *sql.DB
	now   func() time.Time
	log   *slog.Logger

	boards    boards // see change.go
	signedOut func(actor string)
}

// writerDSN holds the settings of CONVENTIONS §8: they stand in the DSN since a
// pragma holds for its connection only. secure_delete overwrites what is deleted,
// as an erased text must be gone from the file.
const (
	writerDSN = "?_foreign_keys=on&_busy_timeout=5000&_journal_mode=WAL&_synchronous=FULL&_secure_delete=on&_txlock=immediate"
	readerDSN = "?mode=ro&_foreign_keys=on&_busy_timeout=5000"
)

// openPatience bounds how long opening waits for others that open, too.
const openPatience = 30 * time.Second

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Open opens the database, making it if there is none, and brings its schema
// up to date. A database that a newer binary has written is refused.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	file := "file:" + (&url.URL{Path: o.Path}).EscapedPath()
	write, err := sql.Open("sqlite3", file+writerDSN)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	write.SetMaxOpenConns(1)
	s := &Store{write: write, now: o.Now, log: o.Log}
	if err := os.Chmod(o.Path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("protect %s: %w", o.Path, err), s.Close())
	}
	sub, err := fs.Sub(migrationFiles, "migrations")
	if err == nil {
		err = whenFree(ctx, func() error { return migrate(ctx, write, sub, o.Now) })
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.Path, err), s.Close())
	}
	if err := os.Chmod(o.Path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect %s: %w", o.Path, err), s.Close())
	}
	if s.read, err = sql.Open("sqlite3", file+readerDSN); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", o.Path, err), s.Close())
	}
	s.read.SetMaxOpenConns(max(4, runtime.NumCPU()))
	s.read.SetMaxIdleConns(max(4, runtime.NumCPU()))
	return s, nil
}

// whenFree repeats what failed because another process has the database locked, up
// to openPatience: the change to WAL and the upgrade of a lock do not wait for the
// busy timeout (https://www.sqlite.org/c3ref/busy_handler.html).
func whenFree(ctx context.Context, do func() error) error {
	for begin := time.Now(); ; {
		err := do()
		var e sqlite3.Error
		if !errors.As(err, &e) || e.Code != sqlite3.ErrBusy || time.Since(begin) > openPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close closes the database. It may be called twice.
func (s *Store) Close() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	return errors.Join(append(errs, s.write.Close())...)
}

// Check runs SQLite's own consistency check and reports every fault.
func (s *Store) Check(ctx context.Context) error {
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		rows, err := s.read.QueryContext(ctx, "PRAGMA "+pragma)
		if err != nil {
			return fmt.Errorf("%s: %w", pragma, err)
		}
		faults, err := collectFaults(rows)
		if err != nil {
			return fmt.Errorf("%s: %w", pragma, err)
		}
		if len(faults) > 0 {
			return fmt.Errorf("%s: %s", pragma, strings.Join(faults, "; "))
		}
	}
	return nil
}

func collectFaults(rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var faults []string
	for rows.Next() {
		vals := make([]sql.NullString, len(cols))
		dest := make([]any, len(cols))
		for i := range vals {
			dest[i] = &vals[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		if len(cols) == 1 && vals[0].String == "ok" {
			continue
		}
		parts := make([]string, len(vals))
		for i, v := range vals {
			parts[i] = v.String
		}
		faults = append(faults, strings.Join(parts, " "))
	}
	return faults, rows.Err()
}

// tx runs fn in one write transaction, which holds the write lock from its
// beginning, and commits it if fn returns nil.
func (s *Store) tx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return translate(err)
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := fn(tx); err != nil {
		return translate(err)
	}
	return translate(tx.Commit())
}

// translate turns the errors of the driver into those of the package.
func translate(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	var se sqlite3.Error
	if errors.As(err, &se) {
		switch se.ExtendedCode {
		case sqlite3.ErrConstraintUnique, sqlite3.ErrConstraintPrimaryKey:
			return fmt.Errorf("%w: %w", ErrConflict, err)
		case sqlite3.ErrConstraintForeignKey:
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
	}
	return err
}

// nowNano returns the store's time in nanoseconds since the epoch.
func (s *Store) nowNano() int64 { return s.now().UnixNano() }

// migration is one numbered step of the schema.
type migration struct {
	number int
	name   string
	sql    string
}

// migrate applies the migrations that the database has not seen yet, each in
// one transaction.
func migrate(ctx context.Context, db *sql.DB, files fs.FS, now func() time.Time) error {
	all, err := readMigrations(files)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (
		number INTEGER PRIMARY KEY,
		name TEXT NOT NULL,
		applied_at INTEGER NOT NULL
	) STRICT`)
	if err != nil {
		return fmt.Errorf("make table migrations: %w", err)
	}
	for _, m := range all {
		if err := applyMigration(ctx, db, m, now().UnixNano()); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	var newest int
	if err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(number), 0) FROM migrations`).Scan(&newest); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if newest > len(all) {
		return fmt.Errorf("the database has schema version %d, this binary knows up to %d: run a newer redthread", newest, len(all))
	}
	return nil
}

// applyMigration checks and applies in the same transaction, so that two
// processes that start at once do not both apply it.
func applyMigration(ctx context.Context, db *sql.DB, m migration, now int64) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var done bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM migrations WHERE number >= ?)`, m.number).Scan(&done); err != nil {
		return err
	}
	if done {
		return nil
	}
	if _, err := tx.ExecContext(ctx, m.sql); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)`, m.number, m.name, now); err != nil {
		return err
	}
	return tx.Commit()
}

// readMigrations returns the files 0001_*.sql, 0002_*.sql … in order. The
// numbers have to run from 1 without a hole.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var all []migration
	for i, name := range names {
		digits, _, _ := strings.Cut(name, "_")
		n, err := strconv.Atoi(digits)
		if err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{number: n, name: name, sql: string(text)})
	}
	return all, nil
}
