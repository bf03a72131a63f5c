package segment

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"redthread/tracestore/column"
	"redthread/tracestore/segment/parquet"
)

// Info says what a written segment holds.
type Info struct {
	Rows               int
	SizeBytes          int64 // with the sidecar
	MinStart, MaxStart int64
}

// Step is called before each step of a write with its name, and may fail it:
// a seam for tests of crashes and of failing disks. nil does nothing.
type Step func(name string) error

func (s Step) do(name string) error {
	if s == nil {
		return nil
	}
	return s(name)
}

// Write makes a segment at path and its sidecar. Each source becomes a row
// group, row for row. prints are the fingerprints of all rows, which a segment of
// fewer than 512 k rows keeps; nil: they are not known. When it returns, both files
// are durable under their names; after an error there may be files ending in .tmp,
// or whole files that nobody knows of.
func Write(path string, sources []column.Source, prints []uint64, step Step) (Info, error) {
	var info Info
	rows := make([]int, len(sources))
	for i, s := range sources {
		lo, hi := s.Bounds()
		if info.Rows == 0 || lo < info.MinStart {
			info.MinStart = lo
		}
		if info.Rows == 0 || hi > info.MaxStart {
			info.MaxStart = hi
		}
		rows[i] = s.Rows()
		info.Rows += rows[i]
	}
	if info.Rows >= printRows {
		prints = nil
	}
	effort := parquet.Fast
	if info.Rows >= printRows {
		effort = parquet.Thorough
	}
	l, place := plan(sources)
	index := newIndexBuilder(rows)
	watched := make([]column.Source, len(sources))
	for i, s := range sources {
		watched[i] = index.watch(s, i, place[i])
	}
	size, err := writeFile(path, step, func(w *bufio.Writer) error { return encode(w, l, place, watched, effort) })
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", path, err)
	}
	payload, err := index.build(prints)
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", IndexPath(path), err)
	}
	indexSize, err := writeFile(IndexPath(path), step, func(w *bufio.Writer) error { return writePages(w, payload) })
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", IndexPath(path), err)
	}
	info.SizeBytes = size + indexSize
	return info, nil
}

// writeFile writes a file durably: temporary name, sync, rename, sync of the
// folder.
func writeFile(path string, step Step, fill func(*bufio.Writer) error) (size int64, err error) {
	kind := filepath.Ext(path)
	if err := step.do("create" + kind); err != nil {
		return 0, err
	}
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	w := bufio.NewWriterSize(f, 256<<10)
	if err := fill(w); err != nil {
		return 0, err
	}
	if err := step.do("write" + kind); err != nil {
		return 0, err
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	if size, err = f.Seek(0, 1); err != nil {
		return 0, err
	}
	if err := step.do("sync" + kind); err != nil {
		return 0, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err := step.do("rename" + kind); err != nil {
		return 0, err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return 0, err
	}
	if err := step.do("syncdir" + kind); err != nil {
		return 0, err
	}
	return size, SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
