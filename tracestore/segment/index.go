package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// index is the sidecar of a segment. See the package comment for its layout. It
// keeps its directories in memory, some kilobytes; everything else is read when
// asked for. Its methods may be called by several goroutines at once. One that
// finds damage returns an errIndex.
type index struct {
	pages
	close func() error

	rows   int
	groups int
	traces int
	prints bool   // whether there are fingerprints
	first  []byte // per trace block: first hash u32, offset in the trace section u32
	keys   []byte // per column record, by key hash: key hash u32, offset u32, length u32

	traceAt, recordAt, bloomAt, printAt section
}

// section is where a part of the payload lies.
type section struct{ offset, bytes int64 }

const (
	indexMagic       = "rtix"
	indexVersion     = 2
	indexHeaderBytes = 72
	// traceBlockItems is the traces of a block, which is decoded as a whole: about
	// 500 bytes.
	traceBlockItems = 64
	firstBytes      = 8
	keyBytes        = 12
	printBytes      = 8
)

// IndexPath is the path of a segment's sidecar.
func IndexPath(segment string) string { return strings.TrimSuffix(segment, ".parquet") + ".idx" }

// openIndex opens a sidecar and reads its directories.
func openIndex(path string, rows int) (*index, error) {
	fd, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := fd.Stat()
	if err == nil {
		var x *index
		if x, err = parseIndex(fd, info.Size(), rows); err == nil {
			x.close = fd.Close
			return x, nil
		}
	}
	fd.Close()
	return nil, fmt.Errorf("%s: %w", path, err)
}

// parseIndex reads the head of a sidecar of so many rows.
func parseIndex(r io.ReaderAt, size int64, rows int) (*index, error) {
	p, err := newPages(r, size)
	if err != nil {
		return nil, err
	}
	var head [indexHeaderBytes]byte
	if err := p.read(head[:], 0); err != nil {
		return nil, err
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(head[at:])) }
	if string(head[:4]) != indexMagic {
		return nil, errIndex
	}
	if v := u32(4); v != indexVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", errIndex, v, indexVersion)
	}
	x := &index{pages: p, rows: int(u32(8)), groups: int(u32(12)), traces: int(u32(16)), close: func() error { return nil }}
	var first, keys section
	end := int64(indexHeaderBytes)
	for i, s := range []*section{&first, &keys, &x.recordAt, &x.traceAt, &x.bloomAt, &x.printAt} {
		*s = section{end, int64(binary.LittleEndian.Uint64(head[24+8*i:]))}
		if s.bytes < 0 || s.bytes > p.bytes-end {
			return nil, errIndex
		}
		end += s.bytes
	}
	x.prints = x.printAt.bytes > 0
	switch {
	case end != p.bytes, x.rows != rows, x.groups > x.rows, x.traces > x.rows,
		first.bytes != int64((x.traces+traceBlockItems-1)/traceBlockItems*firstBytes), keys.bytes%keyBytes != 0,
		x.prints && x.printAt.bytes != int64(printBytes*x.rows):
		return nil, errIndex
	}
	x.first, x.keys = make([]byte, first.bytes), make([]byte, keys.bytes)
	if err := p.read(x.first, first.offset); err != nil {
		return nil, err
	}
	return x, p.read(x.keys, keys.offset)
}

// part reads bytes of a section.
func (x *index) part(s section, offset, bytes int64) ([]byte, error) {
	if offset < 0 || offset > s.bytes || bytes < 0 || bytes > s.bytes-offset {
		return nil, errIndex
	}
	b := make([]byte, bytes)
	return b, x.read(b, s.offset+offset)
}

// run is some rows of one trace that follow each other.
type run struct{ row, rows int }

// find returns the rows whose trace has this hash, in order: all rows of the
// trace, and rarely those of another one.
func (x *index) find(id trace.ID) (rows []int, err error) {
	hash := column.TraceHash(id)
	blocks := len(x.first) / firstBytes
	at := sort.Search(blocks, func(i int) bool { return binary.LittleEndian.Uint32(x.first[i*firstBytes:]) > hash }) - 1
	if at < 0 {
		return nil, nil
	}
	err = x.eachTrace(at, func(h uint32, runs []run) bool {
		if h == hash {
			for _, r := range runs {
				for i := range r.rows {
					rows = append(rows, r.row+i)
				}
			}
		}
		return h < hash
	})
	return rows, err
}

// eachTrace calls fn with the hashes of a block of traces in order, until it says
// stop.
func (x *index) eachTrace(block int, fn func(hash uint32, runs []run) bool) error {
	entry := x.first[block*firstBytes:]
	from, to := int64(binary.LittleEndian.Uint32(entry[4:])), x.traceAt.bytes
	if len(entry) > firstBytes {
		to = int64(binary.LittleEndian.Uint32(entry[firstBytes+4:]))
	}
	b, err := x.part(x.traceAt, from, to-from)
	if err != nil {
		return err
	}
	next := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	hash := uint64(binary.LittleEndian.Uint32(entry))
	var runs []run
	for first := true; len(b) > 0; first = false {
		d, ok := next()
		if hash += d; !ok || d > 1<<32 || hash >= 1<<32 || (d == 0) != first {
			return errIndex
		}
		runs = runs[:0]
		row := uint64(0)
		for more := true; more; {
			gap, ok1 := next()
			n, ok2 := next()
			if !ok1 || !ok2 || gap > uint64(x.rows)-row || n>>1 > uint64(x.rows)-row-gap || n < 2 {
				return errIndex
			}
			runs = append(runs, run{int(row + gap), int(n >> 1)})
			row += gap + n>>1
			more = n&1 != 0
		}
		if !fn(uint32(hash), runs) {
			return nil
		}
	}
	return nil
}

// traceHashes returns the hash of each row's trace.
func (x *index) traceHashes() ([]uint32, error) {
	out := make([]uint32, x.rows)
	seen := 0
	for block := range len(x.first) / firstBytes {
		err := x.eachTrace(block, func(hash uint32, runs []run) bool {
			for _, r := range runs {
				seen += r.rows
				for i := range r.rows {
					out[r.row+i] = hash
				}
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	if seen != x.rows {
		return nil, errIndex
	}
	return out, nil
}

// fingerprints returns the fingerprint of each row, nil if the segment keeps none.
func (x *index) fingerprints() ([]uint64, error) {
	if !x.prints {
		return nil, nil
	}
	b, err := x.part(x.printAt, 0, x.printAt.bytes)
	if err != nil {
		return nil, err
	}
	out := make([]uint64, x.rows)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[printBytes*i:])
	}
	return out, nil
}

// verify reads and checks every page.
func (x *index) verify() error {
	buf := make([]byte, 64*indexPayloadBytes)
	for at := int64(0); at < x.pages.bytes; at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), x.pages.bytes-at)]
		if err := x.read(buf, at); err != nil {
			return err
		}
	}
	_, err := x.traceHashes()
	return err
}

// keyHash finds a key in the directory of column records.
func keyHash(key string) uint32 { return uint32(column.HashString(0, key) >> 32) }

// records returns what is known of the columns of a key, one for each type.
func (x *index) records(cache *Cache, file uint64, key string) (out []*columnRecord, err error) {
	hash, n := keyHash(key), len(x.keys)/keyBytes
	i := sort.Search(n, func(i int) bool { return binary.LittleEndian.Uint32(x.keys[i*keyBytes:]) >= hash })
	for ; i < n && binary.LittleEndian.Uint32(x.keys[i*keyBytes:]) == hash; i++ {
		v, err := cache.get(cacheKey{file: file, group: recordGroup, part: partRecord, name: strconv.Itoa(i)}, func() (any, int64, error) {
			e := x.keys[i*keyBytes:]
			packed, err := x.part(x.recordAt, int64(binary.LittleEndian.Uint32(e[4:])), int64(binary.LittleEndian.Uint32(e[8:])))
			if err != nil {
				return nil, 0, err
			}
			c, err := readRecord(packed, x.groups)
			if err != nil {
				return nil, 0, err
			}
			return c, c.size(), nil
		})
		if err != nil {
			return nil, err
		}
		if c := v.(*columnRecord); c.key == key {
			out = append(out, c)
		}
	}
	return out, nil
}

// recordGroup stands for no row group in the names of cached column records.
const recordGroup = -1

// mayHave reports whether a row of the group may have a value whose canonical
// text has the hash in one of the columns with a type from first to last.
func (x *index) mayHave(records []*columnRecord, group int, hash uint64, first, last trace.Type) (bool, error) {
	for _, c := range records {
		g := &c.groups[group]
		switch {
		case !g.here || c.typ < first || c.typ > last:
		case g.blocks > 0:
			at := int64(g.bloom + bloomBlock(hash, g.blocks)*bloomBlockBytes)
			var block [bloomBlockBytes]byte
			if at > x.bloomAt.bytes-bloomBlockBytes {
				return false, errIndex
			}
			if err := x.read(block[:], x.bloomAt.offset+at); err != nil {
				return false, err
			}
			if bloomHas(block[:], hash) {
				return true, nil
			}
		case g.complete():
			for i := range g.Top {
				if column.HashString(0, g.Top[i].Text) == hash {
					return true, nil
				}
			}
		default:
			return true, nil
		}
	}
	return false, nil
}

var errIndexTooLarge = errors.New("index would be larger than 4 GiB")
