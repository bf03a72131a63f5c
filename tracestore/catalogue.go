package tracestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	_ "github.com/mattn/go-sqlite3" // the catalogue's driver
)

// catalogueName is its file in the data folder.
const catalogueName = "catalogue.db"

// catalogueVersion is the schema's version, in PRAGMA user_version.
const catalogueVersion = 3

// catalogueSchema is version 3. A path is relative to the data folder.
const catalogueSchema = `
CREATE TABLE epochs (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,           -- of the ingest log
  applied_sequence INTEGER NOT NULL, -- every message up to it is in a segment
  created_unix_nano INTEGER NOT NULL
) STRICT;
CREATE TABLE segments (
  id TEXT PRIMARY KEY,
  epoch_id INTEGER NOT NULL REFERENCES epochs (id),
  first_sequence INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL,
  path TEXT NOT NULL,
  rows INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  checksum INTEGER NOT NULL,         -- CRC-32C of the Parquet file
  min_start_unix_nano INTEGER NOT NULL,
  max_start_unix_nano INTEGER NOT NULL,
  min_arrived_unix_nano INTEGER NOT NULL,
  max_arrived_unix_nano INTEGER NOT NULL,
  level INTEGER NOT NULL,            -- how often its rows were compacted
  corrupt TEXT NOT NULL DEFAULT '',  -- why it was set aside; empty: it answers
  created_unix_nano INTEGER NOT NULL
) STRICT;
CREATE TABLE dropped_files (
  path TEXT PRIMARY KEY              -- nobody needs it any more; it may still be there
) STRICT;
CREATE TABLE edge_runs (
  id TEXT PRIMARY KEY,
  path TEXT NOT NULL,
  level INTEGER NOT NULL,            -- how often it was merged
  links INTEGER NOT NULL,
  traces INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  min_arrived_unix_nano INTEGER NOT NULL,
  max_arrived_unix_nano INTEGER NOT NULL,
  corrupt TEXT NOT NULL DEFAULT '',
  created_unix_nano INTEGER NOT NULL
) STRICT;
`

// segmentRecord is a segment as the catalogue knows it.
type segmentRecord struct {
	ID                     string
	EpochID                int64
	FirstSeq, LastSeq      uint64
	Path                   string
	Rows                   int
	SizeBytes              int64
	Checksum               uint32
	MinStart, MaxStart     int64
	MinArrived, MaxArrived int64
	Level                  int // 0: a flush wrote it
	Corrupt                string
	Created                int64
}

// edgeRecord is a run of edges as the catalogue knows it.
type edgeRecord struct {
	ID                     string
	Path                   string
	Level                  int
	Links, Traces          int
	SizeBytes              int64
	MinArrived, MaxArrived int64
	Corrupt                string
	Created                int64
}

// epoch is one life of the ingest log.
type epoch struct {
	ID       int64
	Identity string
	Applied  uint64
}

// catalogue says which files count. Only the store's flusher and retention
// write, one at a time.
type catalogue struct{ db *sql.DB }

func openCatalogue(ctx context.Context, dir string) (*catalogue, error) {
	return openCatalogueFile(ctx, filepath.Join(dir, catalogueName))
}

func openCatalogueFile(ctx context.Context, path string) (*catalogue, error) {
	db, err := sql.Open("sqlite3", "file:"+escapePath(path)+"?_foreign_keys=on&_busy_timeout=5000&_journal_mode=WAL&_synchronous=FULL&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	db.SetMaxOpenConns(1)
	c := &catalogue{db}
	if err := c.migrate(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("open catalogue %s: %w", path, err)
	}
	return c, nil
}

// escapePath makes a path safe inside a file: URI.
func escapePath(p string) string {
	out := make([]byte, 0, len(p))
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '?', '#', '%':
			out = append(out, fmt.Sprintf("%%%02X", p[i])...)
		default:
			out = append(out, p[i])
		}
	}
	return string(out)
}

func (c *catalogue) migrate(ctx context.Context) error {
	var version int
	if err := c.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case version == catalogueVersion:
		return nil
	case version > catalogueVersion:
		return fmt.Errorf("made by a newer redthread: it has version %d, this program knows %d", version, catalogueVersion)
	case version > 0:
		return fmt.Errorf("made by an older redthread: it has version %d, this program knows %d and cannot read its files; keep the folder for the older program and start with a new one", version, catalogueVersion)
	}
	return c.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, catalogueSchema); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", catalogueVersion))
		return err
	})
}

func (c *catalogue) close() error { return c.db.Close() }

func (c *catalogue) tx(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// lastEpoch returns the newest epoch, or false in a new catalogue.
func (c *catalogue) lastEpoch(ctx context.Context) (epoch, bool, error) {
	var e epoch
	var applied int64
	err := c.db.QueryRowContext(ctx, "SELECT id, identity, applied_sequence FROM epochs ORDER BY id DESC LIMIT 1").Scan(&e.ID, &e.Identity, &applied)
	if errors.Is(err, sql.ErrNoRows) {
		return e, false, nil
	}
	e.Applied = uint64(applied)
	return e, err == nil, err
}

// createEpoch begins an epoch after sequence applied.
func (c *catalogue) createEpoch(ctx context.Context, identity string, applied uint64, now int64) (epoch, error) {
	r, err := c.db.ExecContext(ctx, "INSERT INTO epochs (identity, applied_sequence, created_unix_nano) VALUES (?, ?, ?)", identity, int64(applied), now)
	if err != nil {
		return epoch{}, err
	}
	id, err := r.LastInsertId()
	return epoch{ID: id, Identity: identity, Applied: applied}, err
}

// commitFlush records what one memtable became, and that the log is applied up
// to the sequence. seg and run are nil if the memtable had no rows. To record the
// same again changes nothing.
func (c *catalogue) commitFlush(ctx context.Context, epochID int64, applied uint64, seg *segmentRecord, run *edgeRecord) error {
	return c.tx(ctx, func(tx *sql.Tx) error {
		if seg != nil {
			if err := insertSegment(ctx, tx, seg); err != nil {
				return err
			}
		}
		if run != nil {
			if err := insertEdges(ctx, tx, run); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "UPDATE epochs SET applied_sequence = ? WHERE id = ?", int64(applied), epochID)
		return err
	})
}

// insertSegment does nothing if the segment is there already.
func insertSegment(ctx context.Context, tx *sql.Tx, seg *segmentRecord) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO segments (id, epoch_id, first_sequence, last_sequence, path, rows, size_bytes, checksum,
		min_start_unix_nano, max_start_unix_nano, min_arrived_unix_nano, max_arrived_unix_nano, level, created_unix_nano)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		seg.ID, seg.EpochID, int64(seg.FirstSeq), int64(seg.LastSeq), seg.Path, seg.Rows, seg.SizeBytes, int64(seg.Checksum),
		seg.MinStart, seg.MaxStart, seg.MinArrived, seg.MaxArrived, seg.Level, seg.Created)
	return err
}

// errReplaced is returned when a segment that is to be replaced is not listed any
// more: it was dropped or set aside meanwhile.
var errReplaced = errors.New("a segment that was compacted is gone")

// replaceSegments puts one segment, or none, in the place of several, all or
// nothing.
func (c *catalogue) replaceSegments(ctx context.Context, old []*segmentFile, seg *segmentRecord) error {
	return c.tx(ctx, func(tx *sql.Tx) error {
		for _, f := range old {
			r, err := tx.ExecContext(ctx, "DELETE FROM segments WHERE id = ? AND corrupt = ''", f.ID)
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil {
				return err
			} else if n != 1 {
				return errReplaced
			}
			if err := dropFile(ctx, tx, f.Path); err != nil {
				return err
			}
		}
		if seg == nil {
			return nil
		}
		return insertSegment(ctx, tx, seg)
	})
}

// hasSegment and hasEdges report whether a file is listed.
func (c *catalogue) hasSegment(ctx context.Context, id string) (bool, error) {
	return c.has(ctx, "segments", id)
}

func (c *catalogue) hasEdges(ctx context.Context, id string) (bool, error) {
	return c.has(ctx, "edge_runs", id)
}

func (c *catalogue) has(ctx context.Context, table, id string) (bool, error) {
	var n int
	err := c.db.QueryRowContext(ctx, "SELECT count(*) FROM "+table+" WHERE id = ?", id).Scan(&n)
	return n > 0, err
}

// dropFile remembers that a file is to be deleted.
func dropFile(ctx context.Context, tx *sql.Tx, path string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO dropped_files (path) VALUES (?) ON CONFLICT (path) DO NOTHING", path)
	return err
}

// droppedFiles lists the files to be deleted.
func (c *catalogue) droppedFiles(ctx context.Context) (paths []string, err error) {
	rows, err := c.db.QueryContext(ctx, "SELECT path FROM dropped_files ORDER BY path")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var path string
		if err := rows.Scan(&path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, rows.Err()
}

// forgetDropped is told of files that are gone.
func (c *catalogue) forgetDropped(ctx context.Context, paths []string) error {
	return c.tx(ctx, func(tx *sql.Tx) error {
		for _, path := range paths {
			if _, err := tx.ExecContext(ctx, "DELETE FROM dropped_files WHERE path = ?", path); err != nil {
				return err
			}
		}
		return nil
	})
}

// insertEdges does nothing if the run is there already.
func insertEdges(ctx context.Context, tx *sql.Tx, run *edgeRecord) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO edge_runs (id, path, level, links, traces, size_bytes, min_arrived_unix_nano, max_arrived_unix_nano, created_unix_nano)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		run.ID, run.Path, run.Level, run.Links, run.Traces, run.SizeBytes, run.MinArrived, run.MaxArrived, run.Created)
	return err
}

// replaceEdges puts runs in the place of others.
func (c *catalogue) replaceEdges(ctx context.Context, old []edgeRecord, runs ...edgeRecord) error {
	return c.tx(ctx, func(tx *sql.Tx) error {
		for _, r := range old {
			if _, err := tx.ExecContext(ctx, "DELETE FROM edge_runs WHERE id = ?", r.ID); err != nil {
				return err
			}
			if err := dropFile(ctx, tx, r.Path); err != nil {
				return err
			}
		}
		for i := range runs {
			if err := insertEdges(ctx, tx, &runs[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// findSegments lists all segments by age.
func (c *catalogue) findSegments(ctx context.Context) ([]segmentRecord, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT id, epoch_id, first_sequence, last_sequence, path, rows, size_bytes, checksum,
		min_start_unix_nano, max_start_unix_nano, min_arrived_unix_nano, max_arrived_unix_nano, level, corrupt, created_unix_nano
		FROM segments ORDER BY epoch_id, last_sequence, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []segmentRecord
	for rows.Next() {
		var s segmentRecord
		var first, last int64
		if err := rows.Scan(&s.ID, &s.EpochID, &first, &last, &s.Path, &s.Rows, &s.SizeBytes, &s.Checksum,
			&s.MinStart, &s.MaxStart, &s.MinArrived, &s.MaxArrived, &s.Level, &s.Corrupt, &s.Created); err != nil {
			return nil, err
		}
		s.FirstSeq, s.LastSeq = uint64(first), uint64(last)
		out = append(out, s)
	}
	return out, rows.Err()
}

// findEdges lists all runs of edges by age.
func (c *catalogue) findEdges(ctx context.Context) ([]edgeRecord, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT id, path, level, links, traces, size_bytes, min_arrived_unix_nano, max_arrived_unix_nano, corrupt, created_unix_nano
		FROM edge_runs ORDER BY max_arrived_unix_nano, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []edgeRecord
	for rows.Next() {
		var e edgeRecord
		if err := rows.Scan(&e.ID, &e.Path, &e.Level, &e.Links, &e.Traces, &e.SizeBytes, &e.MinArrived, &e.MaxArrived, &e.Corrupt, &e.Created); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// deleteSegments and deleteEdges forget files that retention drops.
func (c *catalogue) deleteSegments(ctx context.Context, ids []string) error {
	return c.deleteAll(ctx, "segments", ids)
}

func (c *catalogue) deleteEdges(ctx context.Context, ids []string) error {
	return c.deleteAll(ctx, "edge_runs", ids)
}

func (c *catalogue) deleteAll(ctx context.Context, table string, ids []string) error {
	return c.tx(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			for _, statement := range []string{
				"INSERT INTO dropped_files (path) SELECT path FROM " + table + " WHERE id = ? ON CONFLICT (path) DO NOTHING",
				"DELETE FROM " + table + " WHERE id = ?",
			} {
				if _, err := tx.ExecContext(ctx, statement, id); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// markSegmentCorrupt and markEdgesCorrupt set a file aside.
func (c *catalogue) markSegmentCorrupt(ctx context.Context, id, why string) error {
	_, err := c.db.ExecContext(ctx, "UPDATE segments SET corrupt = ? WHERE id = ?", why, id)
	return err
}

func (c *catalogue) markEdgesCorrupt(ctx context.Context, id, why string) error {
	_, err := c.db.ExecContext(ctx, "UPDATE edge_runs SET corrupt = ? WHERE id = ?", why, id)
	return err
}

// check returns what SQLite finds wrong with the catalogue's file.
func (c *catalogue) check(ctx context.Context) error {
	var answer string
	if err := c.db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return errors.New(answer)
	}
	return nil
}
