package segment

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"redthread/tracestore/column"
	"redthread/tracestore/segment/parquet"
)

// Info says what a written segment holds.
type Info struct {
	Rows               int
	SizeBytes          int64  // with the sidecar
	Checksum           uint32 // CRC-32C of the Parquet file
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
	file, err := writeFile(path, step, func(w *bufio.Writer) error { return encode(w, l, place, watched, effort) })
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", path, err)
	}
	payload, err := index.build(prints)
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", IndexPath(path), err)
	}
	sidecar, err := writeFile(IndexPath(path), step, func(w *bufio.Writer) error { return writePages(w, payload) })
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", IndexPath(path), err)
	}
	info.SizeBytes, info.Checksum = file.bytes+sidecar.bytes, file.checksum
	return info, nil
}

// written is what a file that was written has.
type written struct {
	bytes    int64
	checksum uint32 // CRC-32C of all bytes
}

// writeFile writes a file durably: temporary name, sync, rename, sync of the
// folder.
func writeFile(path string, step Step, fill func(*bufio.Writer) error) (w written, err error) {
	kind := filepath.Ext(path)
	if err := step.do("create" + kind); err != nil {
		return written{}, err
	}
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return written{}, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	out := &stepWriter{f: f, step: step, name: "bytes" + kind}
	buffer := bufio.NewWriterSize(out, 256<<10)
	if err := fill(buffer); err != nil {
		return written{}, err
	}
	if err := step.do("write" + kind); err != nil {
		return written{}, err
	}
	if err := buffer.Flush(); err != nil {
		return written{}, err
	}
	if err := step.do("sync" + kind); err != nil {
		return written{}, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return written{}, err
	}
	if err := step.do("rename" + kind); err != nil {
		return written{}, err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return written{}, err
	}
	if err := step.do("syncdir" + kind); err != nil {
		return written{}, err
	}
	return out.written, SyncDir(filepath.Dir(path))
}

// ShortWrite is an error of a [Step] named bytes…: so many bytes of the write
// reach the file before it fails, as on a disk that becomes full.
type ShortWrite struct {
	Bytes int
	Err   error
}

func (e *ShortWrite) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ShortWrite) Unwrap() error { return e.Err }

// stepWriter asks its step before each write to the file, and sums up what is
// written.
type stepWriter struct {
	written
	f    *os.File
	step Step
	name string
}

func (w *stepWriter) Write(b []byte) (int, error) {
	err := w.step.do(w.name)
	var short *ShortWrite
	if errors.As(err, &short) {
		n, failed := w.f.Write(b[:min(short.Bytes, len(b))])
		return n, errors.Join(err, failed)
	}
	if err != nil {
		return 0, err
	}
	n, err := w.f.Write(b)
	w.bytes += int64(n)
	w.checksum = crc32.Update(w.checksum, castagnoli, b[:n])
	return n, err
}

// Checksum returns the CRC-32C of the bytes of a file.
func Checksum(ctx context.Context, path string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var sum uint32
	for b := make([]byte, 1<<20); ; {
		n, err := f.Read(b)
		sum = crc32.Update(sum, castagnoli, b[:n])
		switch {
		case errors.Is(err, io.EOF):
			return sum, nil
		case err != nil:
			return 0, err
		case ctx.Err() != nil:
			return 0, ctx.Err()
		}
	}
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
