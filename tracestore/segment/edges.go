package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// A run of edges: what is known of traces and of the edges between them, from a
// part of the rows. Little-endian, version 6.
//
//	traces   by id: their summaries and those of their spans that have edges, which
//	         the other sections name by their ordinal in this one
//	causes   the halves of the effect side, by their span
//	effects  the recorded halves, by their target
//	ends     the halves with a key, by the key's upper half
//	requests the blocks of traces that have a request, by the upper 26 bits of the
//	         key that its id has: the trace keeps the id and so is the half
//	strings  what summaries have in common: service, name, route, environment, kind;
//	         then the keys of what they keep
//	index    per block, 40 bytes: 0 trace id of its first record, else its span's
//	         ordinal or the upper part of its key, u32 big-endian (16)
//	         16 offset u64   24 length u32   28 records u32   32 CRC-32C u32
//	         36 ordinal of the first span u32
//	footer   100 bytes: 0 "rted"  4 version u32  8 blocks of each section u32
//	         28 records of each section u32  48 offset of the index u64
//	         56 offset of the strings u64  64 their length u32  68 their CRC-32C u32
//	         72 least and 80 greatest start of a trace i64  88 spans u32
//	         92 CRC-32C of the index u32  96 CRC-32C of the footer's first 96 bytes u32
//
// edgebits.go has the blocks. Most of what a run takes are ids, which nothing makes
// less; so it has none that can be found again. Who sent a message is there until
// nobody can look at it any more, and then only the trace is of use; whose request
// it was is said by the trace where the thread begins.
const (
	edgesMagic       = "rted"
	edgesVersion     = 6
	edgesFooterBytes = 100
	edgesIndexBytes  = 40
)

// The sections of a run.
const (
	traceSection = iota
	causeSection
	effectSection
	endSection
	requestSection
	edgeSections
)

// Bounds of the names of a run; what is beyond stands in the blocks.
const (
	maxNames     = 64 << 10
	maxNameBytes = 4 << 20
)

var (
	edgesEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	edgesDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxEdgeBlockBytes))
)

// EdgesInfo says what a written run holds.
type EdgesInfo struct {
	Links, Traces int // halves, and traces with a summary
	SizeBytes     int64
}

// Edges is a run of edges. Nothing is read before it is needed; only the index
// of its blocks stays in memory, and unpacked blocks in the cache. Its methods may
// be called by several goroutines at once, but none during or after Close.
type Edges struct {
	path  string
	cache *Cache
	id    uint64

	mu     sync.Mutex
	fd     *os.File
	index  []byte
	traces []uint32 // ordinal of the first trace of each block, and of the one after the last
	footer edgesFooter
}

type edgesFooter struct {
	from               [edgeSections + 1]int // the first block of each section
	records            [edgeSections]int
	strings            int64
	stringsLen         int
	stringsSum         uint32
	minStart, maxStart int64
	spans              uint32
}

// OpenEdges returns the run at path. It touches no disk.
func OpenEdges(path string, cache *Cache) *Edges {
	return &Edges{path: path, cache: cache, id: lastFileID.Add(1)}
}

// Path returns the path of the file.
func (e *Edges) Path() string { return e.path }

func (e *Edges) corrupt(offset int64, err error) error {
	return &CorruptError{Path: e.path, Offset: offset, Err: err}
}

func (e *Edges) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fd != nil {
		return nil
	}
	fd, err := os.Open(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return e.corrupt(-1, errors.New("the file is missing"))
	}
	if err != nil {
		return unread(e.path, err)
	}
	if err := e.readIndex(fd); err != nil {
		fd.Close()
		return err
	}
	e.fd = fd
	return nil
}

func (e *Edges) readIndex(fd *os.File) error {
	info, err := fd.Stat()
	if err != nil {
		return unread(e.path, err)
	}
	size := info.Size()
	if size < edgesFooterBytes {
		return e.corrupt(0, errEdges)
	}
	end := size - edgesFooterBytes
	footer := make([]byte, edgesFooterBytes)
	if _, err := fd.ReadAt(footer, end); err != nil {
		return unread(e.path, err)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(footer[at:]) }
	i64 := func(at int) int64 { return int64(binary.LittleEndian.Uint64(footer[at:])) }
	if v := olderFooter(fd, size); v > 0 {
		return e.corrupt(end, fmt.Errorf("%w: version %d, this program knows %d", ErrOlder, v, edgesVersion))
	}
	if string(footer[:4]) != edgesMagic || crc32.Checksum(footer[:96], castagnoli) != u32(96) {
		return e.corrupt(end, errEdges)
	}
	if v := u32(4); v < edgesVersion {
		return e.corrupt(end, fmt.Errorf("%w: version %d, this program knows %d", ErrOlder, v, edgesVersion))
	} else if v > edgesVersion {
		return e.corrupt(end, fmt.Errorf("version %d, this program knows %d", v, edgesVersion))
	}
	f := edgesFooter{strings: i64(56), stringsLen: int(u32(64)), stringsSum: u32(68), minStart: i64(72), maxStart: i64(80), spans: u32(88)}
	for i := range f.records {
		f.from[i+1] = f.from[i] + int(u32(8+4*i))
		f.records[i] = int(u32(28 + 4*i))
	}
	blocks, from := f.from[edgeSections], i64(48)
	if from < 0 || from+int64(blocks)*edgesIndexBytes != end || f.strings < 0 || f.strings+int64(f.stringsLen) != from {
		return e.corrupt(end, errEdges)
	}
	index := make([]byte, blocks*edgesIndexBytes)
	if _, err := fd.ReadAt(index, from); err != nil {
		return unread(e.path, err)
	}
	if crc32.Checksum(index, castagnoli) != u32(92) {
		return e.corrupt(from, errEdges)
	}
	for i := range blocks {
		entry := index[i*edgesIndexBytes:]
		offset, length := binary.LittleEndian.Uint64(entry[16:]), binary.LittleEndian.Uint32(entry[24:])
		if offset > uint64(f.strings) || uint64(length) > uint64(f.strings)-offset {
			return e.corrupt(from, errEdges)
		}
	}
	e.traces = make([]uint32, f.from[traceSection+1]+1)
	for i := range len(e.traces) - 1 {
		e.traces[i+1] = e.traces[i] + binary.LittleEndian.Uint32(index[i*edgesIndexBytes+28:])
	}
	e.index, e.footer = index, f
	return nil
}

// ErrOlder is a run of edges that an older program wrote, in a format that is no
// longer read.
var ErrOlder = errors.New("run of edges of an older format")

// olderFooterBytes is how long the footer was up to version 3.
const olderFooterBytes = 92

// olderFooter returns the version of an older run, or 0.
func olderFooter(fd *os.File, size int64) uint32 {
	var head [8]byte
	if size < olderFooterBytes {
		return 0
	}
	if _, err := fd.ReadAt(head[:], size-olderFooterBytes); err != nil || string(head[:4]) != edgesMagic {
		return 0
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v < edgesVersion {
		return v
	}
	return 0
}

// Older reports whether the run is of an older format.
func (e *Edges) Older() bool { return errors.Is(e.open(), ErrOlder) }

func (e *Edges) entry(block int) []byte {
	return e.index[block*edgesIndexBytes : (block+1)*edgesIndexBytes]
}

func (e *Edges) firstID(block int) trace.ID { return trace.ID(e.entry(block)[:16]) }
func (e *Edges) first(block int) uint32     { return binary.BigEndian.Uint32(e.entry(block)) }
func (e *Edges) firstSpan(block int) uint32 { return binary.LittleEndian.Uint32(e.entry(block)[36:]) }
func (e *Edges) offset(block int) int64 {
	return int64(binary.LittleEndian.Uint64(e.entry(block)[16:]))
}

// read reads a piece of the file and compares its checksum.
func (e *Edges) read(offset int64, length int, sum uint32) ([]byte, error) {
	b := make([]byte, length)
	if _, err := e.fd.ReadAt(b, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, e.corrupt(offset, errEdges)
		}
		return nil, unread(e.path, err)
	}
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, e.corrupt(offset, errEdges)
	}
	return b, nil
}

// load reads a block; n is how many records it has.
func (e *Edges) load(block int) (b []byte, err error) {
	entry := e.entry(block)
	return e.read(e.offset(block), int(binary.LittleEndian.Uint32(entry[24:])), binary.LittleEndian.Uint32(entry[32:]))
}

// cachedBlock returns an unpacked block of a section.
func cachedBlock[T any](e *Edges, block int, decode func([]byte) (T, int64, error)) (T, error) {
	v, err := e.cache.get(cacheKey{file: e.id, group: block, part: partEdges}, func() (any, int64, error) {
		raw, err := e.load(block)
		if err != nil {
			return nil, 0, err
		}
		v, size, err := decode(raw)
		if err != nil {
			return nil, 0, e.corrupt(e.offset(block), err)
		}
		return v, size, nil
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return v.(T), nil
}

// runStrings are the strings of a run.
type runStrings struct {
	names []names
	keys  []string
}

func (e *Edges) strings() (*runStrings, error) {
	v, err := e.cache.get(cacheKey{file: e.id, group: -1, part: partEdges}, func() (any, int64, error) {
		raw, err := e.read(e.footer.strings, e.footer.stringsLen, e.footer.stringsSum)
		if err != nil {
			return nil, 0, err
		}
		s, size, err := decodeStrings(raw)
		if err != nil {
			return nil, 0, e.corrupt(e.footer.strings, err)
		}
		return s, size, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*runStrings), nil
}

func encodeStrings(names, keys []string) []byte {
	var c col
	for _, list := range [][]string{names, keys} {
		c.uvarint(uint64(len(list)))
		for _, s := range list {
			c.text(s)
		}
	}
	return encodeColumns(nil, []col{c}, 0)
}

func decodeStrings(raw []byte) (s *runStrings, size int64, err error) {
	err = decodeColumns(raw, 1, func(c []colReader) error {
		r := &c[0]
		size = int64(len(r.rest)) + entryBytes
		s = &runStrings{names: make([]names, r.count(min(maxNames, len(r.rest))))}
		for i := range s.names {
			text := r.text(maxEdgeBlockBytes)
			if r.bad {
				return errEdges
			}
			var err error
			if s.names[i], err = readNames(text); err != nil {
				return err
			}
		}
		s.keys = make([]string, r.count(len(r.rest)))
		for i := range s.keys {
			s.keys[i] = r.text(maxEdgeBlockBytes)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return s, size + 80*int64(len(s.names)), nil
}

// edgeReader reads a run for one question. It remembers the blocks it has used.
type edgeReader struct {
	e       *Edges
	strings *runStrings
	blocks  map[int]*traceBlock
	last    *traceBlock
	lastAt  int
	pos     int // where the last trace was found in last
}

func (e *Edges) reader() (*edgeReader, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	s, err := e.strings()
	if err != nil {
		return nil, err
	}
	return &edgeReader{e: e, strings: s, lastAt: -1}, nil
}

// traces returns a block of traces.
func (r *edgeReader) traces(block int) (*traceBlock, error) {
	if block == r.lastAt {
		return r.last, nil
	}
	b := r.blocks[block]
	if b == nil {
		var err error
		if b, err = cachedBlock(r.e, block, func(raw []byte) (*traceBlock, int64, error) {
			b, err := decodeTraces(raw, r.e.traces[block], r.e.firstSpan(block), r.strings.keys)
			if err != nil {
				return nil, 0, err
			}
			return b, b.bytes(), nil
		}); err != nil {
			return nil, err
		}
		if r.blocks == nil {
			r.blocks = map[int]*traceBlock{}
		}
		r.blocks[block] = b
	}
	r.last, r.lastAt, r.pos = b, block, 0
	return b, nil
}

// decode reads a block of traces past the cache.
func (r *edgeReader) decode(block int) (*traceBlock, error) {
	raw, err := r.e.load(block)
	if err != nil {
		return nil, err
	}
	b, err := decodeTraces(raw, r.e.traces[block], r.e.firstSpan(block), r.strings.keys)
	if err != nil {
		return nil, r.e.corrupt(r.e.offset(block), err)
	}
	return b, nil
}

// find returns the block and position of a trace, or nil. Asked in the order of
// ids it goes on from where it was.
func (r *edgeReader) find(id *trace.ID) (*traceBlock, int, error) {
	end := r.e.footer.from[traceSection+1]
	block := r.lastAt
	within := func(block int) bool {
		first := r.e.firstID(block)
		return bytes.Compare(first[:], id[:]) <= 0
	}
	if block < 0 || !within(block) || block+1 < end && within(block+1) {
		block = sort.Search(end, func(i int) bool { return !within(i) }) - 1
	}
	if block < 0 {
		return nil, 0, nil
	}
	b, err := r.traces(block)
	if err != nil {
		return nil, 0, err
	}
	lo, hi := 0, len(b.ids)
	if r.pos < hi && bytes.Compare(b.ids[r.pos][:], id[:]) <= 0 {
		lo = r.pos
		for step := 1; lo+step < hi; step *= 2 {
			if bytes.Compare(b.ids[lo+step][:], id[:]) > 0 {
				hi = lo + step
				break
			}
			lo += step
		}
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(b.ids[mid][:], id[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(b.ids) || b.ids[lo] != *id {
		return nil, 0, nil
	}
	r.pos = lo
	return b, lo, nil
}

// ref returns the span of an ordinal, and its start.
func (r *edgeReader) ref(ordinal uint32) (ref trace.Ref, start int64, err error) {
	b, at, err := r.ofSpan(ordinal)
	if err != nil {
		return ref, 0, err
	}
	k := ordinal - b.first[0]
	if start = b.starts[k]; start != unknownStart {
		start *= millisecond
	}
	return trace.Ref{TraceID: b.ids[at], SpanID: b.spanIDs[k]}, start, nil
}

// ofSpan returns the block and position of the trace that has the span.
func (r *edgeReader) ofSpan(ordinal uint32) (*traceBlock, int, error) {
	end := r.e.footer.from[traceSection+1]
	block := sort.Search(end, func(i int) bool { return r.e.firstSpan(i) > ordinal }) - 1
	if block < 0 {
		return nil, 0, r.e.corrupt(-1, errEdges)
	}
	b, err := r.aside(block)
	if err != nil {
		return nil, 0, err
	}
	if ordinal < b.first[0] || ordinal >= b.first[len(b.ids)] {
		return nil, 0, r.e.corrupt(r.e.offset(block), errEdges)
	}
	return b, sort.Search(len(b.ids), func(i int) bool { return b.first[i+1] > ordinal }), nil
}

// ofTrace returns the block and position of the trace of an ordinal.
func (r *edgeReader) ofTrace(ordinal uint32) (*traceBlock, int, error) {
	block := sort.Search(len(r.e.traces)-1, func(i int) bool { return r.e.traces[i+1] > ordinal })
	if block == len(r.e.traces)-1 {
		return nil, 0, r.e.corrupt(-1, errEdges)
	}
	b, err := r.aside(block)
	if err != nil {
		return nil, 0, err
	}
	if int(ordinal-b.at) >= len(b.ids) {
		return nil, 0, r.e.corrupt(r.e.offset(block), errEdges)
	}
	return b, int(ordinal - b.at), nil
}

// aside is traces, while a walk by ids goes on elsewhere.
func (r *edgeReader) aside(block int) (*traceBlock, error) {
	last, lastAt, pos := r.last, r.lastAt, r.pos
	b, err := r.traces(block)
	if lastAt >= 0 {
		r.last, r.lastAt, r.pos = last, lastAt, pos
	}
	return b, err
}

// summary fills in the summary of a trace; false: it has none. Its strings share
// memory with the block.
func (r *edgeReader) summary(b *traceBlock, i int, out *graph.Summary) (bool, error) {
	s := &b.sums[i]
	if s.spans == 0 {
		return false, nil
	}
	n, err := r.names(b, s)
	if err != nil {
		return false, err
	}
	*out = graph.Summary{
		TraceID: b.ids[i], SpanID: b.spanIDs[b.first[i]-b.first[0]+s.root], Root: n.root, RootStartUnixNano: s.rootStart,
		Service: n.service, Name: n.name, Route: n.route, Kind: n.kind, Environment: n.environment, Caused: n.caused, Run: n.run, Batch: n.batch,
		StartUnixNano: s.start, DurationNano: s.duration, Spans: int(s.spans), Errors: int(s.errors),
		Messages: int(s.messages), Jobs: int(s.jobs), Requests: int(s.requests), Kept: b.kept.list(i),
	}
	return true, nil
}

// names are the strings of a summary.
func (r *edgeReader) names(b *traceBlock, s *traceNumbers) (names, error) {
	if s.names == 0 {
		n, err := readNames(b.names[s.inline])
		if err != nil {
			return n, r.e.corrupt(-1, err)
		}
		return n, nil
	}
	if int(s.names) > len(r.strings.names) {
		return names{}, r.e.corrupt(-1, errEdges)
	}
	return r.strings.names[s.names-1], nil
}

// request returns the half that the summary of a trace speaks of, see edgeTrace.
func (b *traceBlock) request(i int) (h graph.Half, ok bool) {
	s := &b.sums[i]
	if s.request == 0 {
		return h, false
	}
	return graph.Half{
		Of:   trace.Ref{TraceID: b.ids[i], SpanID: b.spanIDs[b.first[i]-b.first[0]+s.root]},
		Side: graph.Side(s.request & 3), Rule: graph.RuleID(s.request >> 2 & 15),
		Key:           graph.RequestKey(b.kept.list(i)[s.request>>6].Value.Str),
		StartUnixNano: floorDiv(s.rootStart, millisecond) * millisecond,
	}, true
}

// Close releases the file. It may be called twice.
func (e *Edges) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fd != nil {
		e.fd.Close()
		e.fd = nil
	}
	e.cache.forget(e.id)
}
