package tracestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"redthread/tracestore/segment"
)

// BackupInfo says what a backup holds.
type BackupInfo struct {
	Segments int      `json:"segments"`
	Rows     int64    `json:"rows"`
	EdgeRuns int      `json:"edge_runs"`
	Links    int64    `json:"links"`
	Bytes    int64    `json:"size_bytes"`
	Linked   int      `json:"linked"` // files that share their bytes with the store
	Copied   int      `json:"copied"` // files with bytes of their own
	Kept     int      `json:"kept"`   // files that an earlier try had written
	LeftOut  []string `json:"left_out"`
}

const (
	// snapshotTries and snapshotPause: the catalogue and the view agree but for
	// the moment of a commit, which comes every few seconds at most.
	snapshotTries = 200
	snapshotPause = 25 * time.Millisecond
	// flushWatch is how often a backup looks whether the flush it waits for has
	// failed.
	flushWatch = 100 * time.Millisecond
)

// Backup makes dir, which has to be there, the folder of a store with every row
// that was acknowledged before the call. Files that were set aside are left out.
// Segments and edges never change, so they are hard links where the file system
// can, and copies elsewhere. dir may hold what an earlier Backup into it has left;
// nobody else may use it. When Backup returns, the copy is durable.
//
// The copy has no ingest log: it begins a new one when it is opened.
func (s *Store) Backup(ctx context.Context, dir string) (BackupInfo, error) {
	info := BackupInfo{LeftOut: []string{}}
	if err := s.flushOrFail(ctx); err != nil {
		return info, fmt.Errorf("tracestore: backup: %w", err)
	}
	v, err := s.snapshot(ctx, dir)
	if err != nil {
		return info, fmt.Errorf("tracestore: backup: %w", err)
	}
	defer v.release() // until then no file of it is deleted
	s.status.Lock()
	for path := range s.corrupt {
		info.LeftOut = append(info.LeftOut, path)
	}
	s.status.Unlock()

	known := make(map[string]bool)
	take := func(path string, must bool) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		known[path] = true
		err := s.step("backup.file")
		if err == nil {
			err = info.take(filepath.Join(s.o.Dir, path), filepath.Join(dir, path))
		}
		if !must && errors.Is(err, fs.ErrNotExist) {
			return nil // a sidecar is made anew when it is needed
		}
		return err
	}
	for _, f := range v.segments {
		info.Segments++
		info.Rows += int64(f.Rows)
		if err := errors.Join(take(f.Path, true), take(segment.IndexPath(f.Path), false)); err != nil {
			return info, fmt.Errorf("tracestore: backup %s: %w", f.Path, err)
		}
	}
	for _, f := range v.runs {
		info.EdgeRuns++
		info.Links += int64(f.Links)
		if err := take(f.Path, true); err != nil {
			return info, fmt.Errorf("tracestore: backup %s: %w", f.Path, err)
		}
	}
	if err := settleFolder(dir, known); err != nil {
		return info, fmt.Errorf("tracestore: backup: %w", err)
	}
	return info, nil
}

// flushOrFail is Flush, but does not wait for a disk that does not take it.
func (s *Store) flushOrFail(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Flush(ctx) }()
	tick := time.NewTicker(flushWatch)
	defer tick.Stop()
	failures := s.flushFailures.Load()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if s.flushFailures.Load() == failures {
				continue
			}
			cancel()
			<-done
			s.status.Lock()
			defer s.status.Unlock()
			return fmt.Errorf("rows cannot be written to a segment: %s", s.flushErr)
		}
	}
}

// snapshot copies the catalogue into dir and returns the view with just the files
// that the copy lists, to be released.
func (s *Store) snapshot(ctx context.Context, dir string) (*view, error) {
	for try := 1; ; try++ {
		v := s.acquire()
		if v == nil {
			return nil, ErrClosed
		}
		same, err := s.cat.copyTo(ctx, filepath.Join(dir, catalogueName), v, s.now())
		if err == nil && same {
			return v, nil
		}
		v.release()
		if err != nil {
			return nil, fmt.Errorf("copy the catalogue: %w", err)
		}
		if try == snapshotTries {
			return nil, errors.New("the store changes too fast to be copied; try again")
		}
		select {
		case <-time.After(snapshotPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// copyTo writes a copy of the catalogue to path and reports whether it lists just
// the files of the view. What was set aside is not in the copy, nor is the log.
func (c *catalogue) copyTo(ctx context.Context, path string, v *view, now int64) (same bool, err error) {
	temp := path + ".tmp"
	for _, p := range []string{temp, temp + "-wal", temp + "-shm", path + "-wal", path + "-shm"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if _, err := c.db.ExecContext(ctx, "VACUUM INTO ?", temp); err != nil {
		return false, err
	}
	copied, err := openCatalogueFile(ctx, temp)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, copied.close()) }()
	err = copied.tx(ctx, func(tx *sql.Tx) error {
		for _, statement := range []string{"DELETE FROM segments WHERE corrupt <> ''", "DELETE FROM edge_runs WHERE corrupt <> ''"} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO epochs (identity, applied_sequence, created_unix_nano) VALUES ('', 0, ?)", now)
		return err
	})
	if err != nil {
		return false, err
	}
	if same, err = copied.lists(ctx, v); err != nil || !same {
		return false, err
	}
	if err := copied.close(); err != nil { // which empties the WAL
		return false, err
	}
	if err := syncFile(temp); err != nil {
		return false, err
	}
	return true, os.Rename(temp, path)
}

// lists reports whether the catalogue has just the files of the view.
func (c *catalogue) lists(ctx context.Context, v *view) (bool, error) {
	segments, err := c.findSegments(ctx)
	if err != nil {
		return false, err
	}
	runs, err := c.findEdges(ctx)
	if err != nil {
		return false, err
	}
	if len(segments) != len(v.segments) || len(runs) != len(v.runs) {
		return false, nil
	}
	known := make(map[string]bool)
	for _, r := range segments {
		known[r.Path] = true
	}
	for _, r := range runs {
		known[r.Path] = true
	}
	for _, f := range v.segments {
		if !known[f.Path] {
			return false, nil
		}
	}
	for _, f := range v.runs {
		if !known[f.Path] {
			return false, nil
		}
	}
	return true, nil
}

// take makes to the same file as from: what is there under the name already is
// whole, since a copy gets its name when it is.
func (b *BackupInfo) take(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if there, err := os.Stat(to); err == nil {
		if there.Size() == info.Size() {
			b.Kept++
			b.Bytes += info.Size()
			return nil
		}
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Link(from, to); err == nil {
		b.Linked++
	} else {
		if err := copyFile(from, to); err != nil {
			return err
		}
		b.Copied++
	}
	b.Bytes += info.Size()
	return nil
}

// copyFile copies durably: the name stands for the whole file.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	temp := to + ".tmp"
	out, err := os.Create(temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(temp, to)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// settleFolder deletes what an earlier backup into dir has left of files that are
// no more, and makes all names durable.
func settleFolder(dir string, known map[string]bool) error {
	var folders []string
	for _, sub := range []string{segmentsDir, edgesDir} {
		root := filepath.Join(dir, sub)
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				folders = append(folders, path)
				return nil
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil || known[rel] {
				return err
			}
			return os.Remove(path)
		})
		if err != nil {
			return err
		}
	}
	for _, f := range append(folders, dir) {
		if err := segment.SyncDir(f); err != nil {
			return err
		}
	}
	return nil
}
