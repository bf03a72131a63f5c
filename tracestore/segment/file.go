// Package segment keeps rows in immutable files: plain Parquet, which any other
// reader understands, with a small sidecar for finding traces; and runs of edges,
// which outlive the rows.
//
// # Segment
//
// One Parquet file, zstd, a row group for each block of at most 64 k rows, in the
// order of arrival; after compaction the rows of a trace lie together. The chunks
// of one column stand one after the other, those of all row groups. Columns: the
// fixed ones under the names of package column (trace.trace_id FIXED(16),
// trace.span_id and trace.parent_id FIXED(8), start_unix_nano, duration_nano, name,
// service.name, …); one OPTIONAL column for each key and type that at least 0.2 %
// of the rows have, at most 1,000 of them;
//
//	meta.shape     BYTE_ARRAY, the row's attributes in order: a uvarint each, 0
//	               for the next entry of attr.overflow, else 1 + the position in
//	               the layout's columns
//	attr.overflow  MAP<string,string>, the rarer attributes in canonical text
//	events         LIST<{name, time_unix_nano, attributes}>
//	links          LIST<{trace_id, span_id, trace_state, attributes}>
//
// Attributes of events and links are JSON text (column.AppendAttributes). The
// type of a key with most rows has the key as its column's name, the others
// key#type, and so has a key that contains # or is taken; in attr.overflow only
// strings have the plain name. The file's metadata redthread.layout (JSON) says
// what each column means: names are for people. Pages, encodings and what they take:
// package parquet.
//
// # Sidecar (.idx), version 2
//
// What finds rows without reading columns. It is made anew from the Parquet file
// when it is lost or damaged. Little-endian, in pages of 4,096 bytes: 4,092 of
// payload and the CRC-32C of the page's number (u64) and payload; the last page may
// be shorter. In the payload:
//
//	0   "rtix"         4  version u32    8  rows u32    12  row groups u32
//	16  traces u32    20  zero u32
//	24  6 × u64        bytes of the sections, which follow in this order
//	72  trace blocks   first hash u32, offset in the traces u32: each 64 traces
//	    columns        hash of the key u32, offset in the records u32, length u32; by
//	                   hash
//	    records        what is known of each column: see indexstats.go
//	    traces         uvarint distance to the hash before, then runs of rows: uvarint
//	                   gap to the end of the one before, uvarint 2 × rows + 1 if
//	                   another follows
//	    blooms         filters of the values of a column in a row group: bloom.go
//	    fingerprints   u64 a row; none from 512 k rows on
//
// Example: rows 0, 1 and 5 of a trace are the runs 00 05, 03 02.
//
// # Edges (.edges), version 1
//
// See edges.go.
package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"redthread/tracestore/column"
	"redthread/tracestore/segment/parquet"
)

// CorruptError is a file that cannot be what was written. What the disk cannot
// read now is none: it may be whole.
type CorruptError struct {
	Path   string
	Offset int64 // -1: not known
	Err    error
}

func (e *CorruptError) Error() string {
	if e.Offset >= 0 {
		return fmt.Sprintf("segment: %s is corrupt at byte %d: %v", e.Path, e.Offset, e.Err)
	}
	return fmt.Sprintf("segment: %s is corrupt: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// ReadError is a file that the disk cannot read now. It may be whole.
type ReadError struct {
	Path string
	Err  error
}

func (e *ReadError) Error() string { return fmt.Sprintf("segment: read %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// unread makes err a [ReadError], which names the path once.
func unread(path string, err error) error {
	var disk *fs.PathError
	if errors.As(err, &disk) {
		err = disk.Err
	}
	return &ReadError{Path: path, Err: err}
}

// lastFileID numbers files for the cache.
var lastFileID atomic.Uint64

// File is a segment. Nothing is read before it is needed. Its methods may be
// called by several goroutines at once, but none during or after Close.
type File struct {
	path  string
	rows  int
	id    uint64
	cache *Cache

	mu     sync.Mutex
	fd     *os.File
	blocks []column.Block

	indexMu sync.Mutex
	indexes []*index // the last one is read; those before turned out damaged
}

// Open returns the segment at path, which has so many rows. It touches no disk.
func Open(path string, rows int, cache *Cache) *File {
	return &File{path: path, rows: rows, id: lastFileID.Add(1), cache: cache}
}

// Path returns the path of the Parquet file.
func (f *File) Path() string { return f.path }

// corrupt makes err a [CorruptError] of this file, unless it is one already or the
// disk's.
func (f *File) corrupt(err error) error {
	var c *CorruptError
	var r *ReadError
	if errors.As(err, &c) || errors.As(err, &r) {
		return err
	}
	var disk *fs.PathError
	if errors.As(err, &disk) {
		return unread(f.path, err)
	}
	at := int64(-1)
	var page *parquet.Error
	if errors.As(err, &page) {
		at = page.Offset
	}
	return &CorruptError{Path: f.path, Offset: at, Err: err}
}

// Blocks returns the row groups. An error is a *[CorruptError], or says why the
// file cannot be opened or read.
func (f *File) Blocks() ([]column.Block, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open()
}

func (f *File) open() ([]column.Block, error) {
	if f.blocks != nil {
		return f.blocks, nil
	}
	fd, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.corrupt(errors.New("the file is missing"))
	}
	if err != nil {
		return nil, unread(f.path, err)
	}
	info, err := fd.Stat()
	if err != nil {
		fd.Close()
		return nil, unread(f.path, err)
	}
	r, err := newReader(fd, info.Size())
	if err != nil {
		fd.Close()
		return nil, f.corrupt(err)
	}
	rows := 0
	var blocks []column.Block
	for i, g := range r.layout.Groups {
		rows += g.Rows
		blocks = append(blocks, &block{f, r, i})
	}
	if rows != f.rows {
		fd.Close()
		return nil, f.corrupt(fmt.Errorf("%d rows, the catalogue says %d", rows, f.rows))
	}
	f.fd, f.blocks = fd, blocks
	return blocks, nil
}

// Close releases what the segment holds. It may be called twice.
func (f *File) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd != nil {
		f.fd.Close()
		f.fd = nil
	}
	f.blocks = nil
	f.indexMu.Lock()
	defer f.indexMu.Unlock()
	for _, x := range f.indexes {
		x.close()
	}
	f.indexes = nil
	f.cache.forget(f.id)
}
