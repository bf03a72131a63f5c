package segment

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// A run of edges: links sorted by the trace of their target, then summaries of
// traces sorted by trace id. Little-endian, version 1.
//
//	blocks   zstd frames of up to 512 records, fewer where they come to 1 MiB: link
//	         blocks, then trace blocks
//	index    per block, 36 bytes: 0 trace id of its first record (16)
//	         16 offset u64   24 length u32   28 records u32   32 CRC-32C u32
//	footer   40 bytes: 0 "rted"  4 version u32  8 link blocks u32
//	         12 trace blocks u32  16 links u32  20 traces u32
//	         24 offset of the index u64  32 CRC-32C of the index u32
//	         36 CRC-32C of the footer's first 36 bytes u32
//
// A link is 48 bytes: target trace and span (the cause), own trace and span (the
// effect). A summary is trace id (16), span id (8), kind with bit 7 for a true
// root (1), then varint start, uvarint duration, spans, errors, and service, name,
// route, environment, each a uvarint length and its bytes.
const (
	edgesMagic       = "rted"
	edgesVersion     = 1
	edgesFooterBytes = 40
	edgesIndexBytes  = 36
	edgesBlockItems  = 512
	// edgesBlockBytes is what a block comes to at most before its last record.
	edgesBlockBytes = 1 << 20
	linkBytes       = 48
	rootBit         = 0x80
	// maxEdgeBlockBytes bounds what a block may become when it is unpacked: the
	// strings of its last record come from one message of the log.
	maxEdgeBlockBytes = 64 << 20
)

var (
	edgesEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	edgesDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxEdgeBlockBytes))
)

// EdgesInfo says what a written run holds.
type EdgesInfo struct {
	Links, Traces int
	SizeBytes     int64
}

// WriteEdges makes a run at path of links and summaries in any order, which it
// sorts in place. It is durable like [Write].
func WriteEdges(path string, links []graph.Link, summaries []graph.Summary, step Step) (EdgesInfo, error) {
	slices.SortFunc(links, compareLinks)
	links = slices.Compact(links)
	slices.SortFunc(summaries, func(a, b graph.Summary) int { return bytes.Compare(a.TraceID[:], b.TraceID[:]) })
	var failed error
	return writeEdges(path, slices.Values(links), slices.Values(summaries), &failed, step)
}

func compareLinks(a, b graph.Link) int {
	if c := bytes.Compare(a.From.TraceID[:], b.From.TraceID[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(a.From.SpanID[:], b.From.SpanID[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(a.To.TraceID[:], b.To.TraceID[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.To.SpanID[:], b.To.SpanID[:])
}

func appendLink(dst []byte, l graph.Link) []byte {
	dst = append(append(dst, l.From.TraceID[:]...), l.From.SpanID[:]...)
	return append(append(dst, l.To.TraceID[:]...), l.To.SpanID[:]...)
}

func readLink(b []byte) graph.Link {
	return graph.Link{
		From: trace.Ref{TraceID: trace.ID(b[:16]), SpanID: trace.SpanID(b[16:24])},
		To:   trace.Ref{TraceID: trace.ID(b[24:40]), SpanID: trace.SpanID(b[40:48])},
	}
}

func appendSummary(dst []byte, s graph.Summary) []byte {
	dst = append(append(dst, s.TraceID[:]...), s.SpanID[:]...)
	kind := byte(s.Kind) &^ rootBit
	if s.Root {
		kind |= rootBit
	}
	dst = append(dst, kind)
	dst = binary.AppendVarint(dst, s.StartUnixNano)
	dst = binary.AppendUvarint(dst, uint64(s.DurationNano))
	dst = binary.AppendUvarint(dst, uint64(s.Spans))
	dst = binary.AppendUvarint(dst, uint64(s.Errors))
	for _, text := range [...]string{s.Service, s.Name, s.Route, s.Environment} {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst
}

var errEdges = errors.New("run of edges is damaged")

// readSummary reads one summary and returns what follows it.
func readSummary(b []byte) (s graph.Summary, rest []byte, err error) {
	if len(b) < 25 {
		return s, nil, errEdges
	}
	s.TraceID, s.SpanID = trace.ID(b[:16]), trace.SpanID(b[16:24])
	s.Root, s.Kind = b[24]&rootBit != 0, trace.Kind(b[24]&^rootBit)
	b = b[25:]
	start, n := binary.Varint(b)
	if n <= 0 {
		return s, nil, errEdges
	}
	b = b[n:]
	s.StartUnixNano = start
	var numbers [3]uint64
	for i := range numbers {
		if numbers[i], n = binary.Uvarint(b); n <= 0 {
			return s, nil, errEdges
		}
		b = b[n:]
	}
	s.DurationNano, s.Spans, s.Errors = int64(numbers[0]), int(numbers[1]), int(numbers[2])
	for _, text := range [...]*string{&s.Service, &s.Name, &s.Route, &s.Environment} {
		l, n := binary.Uvarint(b)
		if n <= 0 || l > uint64(len(b)-n) {
			return s, nil, errEdges
		}
		*text = string(b[n : n+int(l)])
		b = b[n+int(l):]
	}
	return s, b, nil
}

// MergeSummaries joins what two places know of one trace. A true root stands for
// the trace before an earlier start, an earlier start before a lesser span id.
func MergeSummaries(a, b graph.Summary) graph.Summary {
	if b.Root != a.Root && b.Root || b.Root == a.Root &&
		(b.StartUnixNano < a.StartUnixNano || b.StartUnixNano == a.StartUnixNano && bytes.Compare(b.SpanID[:], a.SpanID[:]) < 0) {
		a, b = b, a
	}
	end := max(a.StartUnixNano+a.DurationNano, b.StartUnixNano+b.DurationNano)
	a.StartUnixNano = min(a.StartUnixNano, b.StartUnixNano)
	a.DurationNano = end - a.StartUnixNano
	a.Spans += b.Spans
	a.Errors += b.Errors
	return a
}

// edgesWriter packs records into blocks.
type edgesWriter struct {
	w      *bufio.Writer
	offset int64
	first  []byte
	block  []byte
	items  int
	blocks int
	index  []byte
}

func (e *edgesWriter) add(id trace.ID, encode func([]byte) []byte) error {
	if e.items == 0 {
		e.first = append(e.first[:0], id[:]...)
	}
	e.block = encode(e.block)
	if e.items++; e.items == edgesBlockItems || len(e.block) >= edgesBlockBytes {
		return e.flush()
	}
	return nil
}

func (e *edgesWriter) flush() error {
	if e.items == 0 {
		return nil
	}
	packed := edgesEncoder.EncodeAll(e.block, nil)
	e.index = append(e.index, e.first...)
	e.index = binary.LittleEndian.AppendUint64(e.index, uint64(e.offset))
	e.index = binary.LittleEndian.AppendUint32(e.index, uint32(len(packed)))
	e.index = binary.LittleEndian.AppendUint32(e.index, uint32(e.items))
	e.index = binary.LittleEndian.AppendUint32(e.index, crc32.Checksum(packed, castagnoli))
	e.offset += int64(len(packed))
	e.block, e.items = e.block[:0], 0
	e.blocks++
	_, err := e.w.Write(packed)
	return err
}

// writeEdges writes sorted links and summaries. An error of theirs is in failed.
func writeEdges(path string, links iter.Seq[graph.Link], summaries iter.Seq[graph.Summary], failed *error, step Step) (EdgesInfo, error) {
	var info EdgesInfo
	file, err := writeFile(path, step, func(w *bufio.Writer) error {
		e := edgesWriter{w: w}
		for l := range links {
			info.Links++
			if err := e.add(l.From.TraceID, func(b []byte) []byte { return appendLink(b, l) }); err != nil {
				return err
			}
		}
		if err := e.flush(); err != nil {
			return err
		}
		linkBlocks := e.blocks
		for s := range summaries {
			info.Traces++
			if err := e.add(s.TraceID, func(b []byte) []byte { return appendSummary(b, s) }); err != nil {
				return err
			}
		}
		if err := e.flush(); err != nil {
			return err
		}
		if *failed != nil {
			return *failed
		}
		footer := []byte(edgesMagic)
		for _, n := range []int{edgesVersion, linkBlocks, e.blocks - linkBlocks, info.Links, info.Traces} {
			footer = binary.LittleEndian.AppendUint32(footer, uint32(n))
		}
		footer = binary.LittleEndian.AppendUint64(footer, uint64(e.offset))
		footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(e.index, castagnoli))
		footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(footer, castagnoli))
		if _, err := w.Write(e.index); err != nil {
			return err
		}
		_, err := w.Write(footer)
		return err
	})
	if err != nil {
		return EdgesInfo{}, fmt.Errorf("segment: write %s: %w", path, err)
	}
	info.SizeBytes = file.bytes
	return info, nil
}

// Edges is a run of edges. Nothing is read before it is needed; only the index
// of its blocks stays in memory. Its methods may be called by several goroutines
// at once, but none during or after Close.
type Edges struct {
	path string

	mu         sync.Mutex
	fd         *os.File
	index      []byte
	linkBlocks int
	blocks     int
	links      int
	traces     int
}

// OpenEdges returns the run at path. It touches no disk.
func OpenEdges(path string) *Edges { return &Edges{path: path} }

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
		return fmt.Errorf("segment: open: %w", err)
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
		return fmt.Errorf("segment: open: %w", err)
	}
	size := info.Size()
	footer := make([]byte, edgesFooterBytes)
	if size < edgesFooterBytes {
		return e.corrupt(0, errEdges)
	}
	if _, err := fd.ReadAt(footer, size-edgesFooterBytes); err != nil {
		return fmt.Errorf("segment: open: %w", err)
	}
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(footer[at:])) }
	if string(footer[:4]) != edgesMagic || crc32.Checksum(footer[:36], castagnoli) != uint32(u32(36)) {
		return e.corrupt(size-edgesFooterBytes, errEdges)
	}
	if v := u32(4); v != edgesVersion {
		return e.corrupt(size-edgesFooterBytes, fmt.Errorf("version %d, this program knows %d", v, edgesVersion))
	}
	blocks := u32(8) + u32(12)
	from := int64(binary.LittleEndian.Uint64(footer[24:]))
	if from < 0 || from+int64(blocks)*edgesIndexBytes != size-edgesFooterBytes {
		return e.corrupt(size-edgesFooterBytes, errEdges)
	}
	index := make([]byte, blocks*edgesIndexBytes)
	if _, err := fd.ReadAt(index, from); err != nil {
		return fmt.Errorf("segment: open: %w", err)
	}
	if crc32.Checksum(index, castagnoli) != uint32(u32(32)) {
		return e.corrupt(from, errEdges)
	}
	for i := range blocks {
		entry := index[i*edgesIndexBytes:]
		offset, length := binary.LittleEndian.Uint64(entry[16:]), binary.LittleEndian.Uint32(entry[24:])
		if offset > uint64(from) || uint64(length) > uint64(from)-offset {
			return e.corrupt(from, errEdges)
		}
	}
	e.index, e.linkBlocks, e.blocks, e.links, e.traces = index, u32(8), blocks, u32(16), u32(20)
	return nil
}

func (e *Edges) firstID(block int) []byte {
	return e.index[block*edgesIndexBytes : block*edgesIndexBytes+16]
}

// block reads and unpacks a block.
func (e *Edges) block(i int) ([]byte, error) {
	entry := e.index[i*edgesIndexBytes:]
	offset := int64(binary.LittleEndian.Uint64(entry[16:]))
	packed := make([]byte, binary.LittleEndian.Uint32(entry[24:]))
	if _, err := e.fd.ReadAt(packed, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, e.corrupt(offset, errEdges)
		}
		return nil, fmt.Errorf("segment: read %s: %w", e.path, err)
	}
	if crc32.Checksum(packed, castagnoli) != binary.LittleEndian.Uint32(entry[32:]) {
		return nil, e.corrupt(offset, errEdges)
	}
	b, err := edgesDecoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, e.corrupt(offset, err)
	}
	return b, nil
}

// within calls fn with the blocks from lo up to hi that may hold records of the
// trace, until fn says stop.
func (e *Edges) within(lo, hi int, id trace.ID, fn func(block []byte) (more bool, err error)) error {
	i := lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(e.firstID(lo+i), id[:]) >= 0 })
	for i = max(i-1, lo); i < hi && bytes.Compare(e.firstID(i), id[:]) <= 0; i++ {
		b, err := e.block(i)
		if err != nil {
			return err
		}
		more, err := fn(b)
		if err != nil {
			return e.corrupt(int64(binary.LittleEndian.Uint64(e.index[i*edgesIndexBytes+16:])), err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// Effects returns the links whose target is a span of the trace, at most limit;
// truncated says there are more.
func (e *Edges) Effects(id trace.ID, limit int) (links []graph.Link, truncated bool, err error) {
	if err := e.open(); err != nil {
		return nil, false, err
	}
	err = e.within(0, e.linkBlocks, id, func(b []byte) (bool, error) {
		n := len(b) / linkBytes
		i := sort.Search(n, func(i int) bool { return bytes.Compare(b[i*linkBytes:i*linkBytes+16], id[:]) >= 0 })
		for ; i < n; i++ {
			l := readLink(b[i*linkBytes:])
			if l.From.TraceID != id {
				return false, nil
			}
			if len(links) == limit {
				truncated = true
				return false, nil
			}
			links = append(links, l)
		}
		return true, nil
	})
	return links, truncated, err
}

// Summary returns what the run knows of a trace, or false.
func (e *Edges) Summary(id trace.ID) (sum graph.Summary, ok bool, err error) {
	if err := e.open(); err != nil {
		return graph.Summary{}, false, err
	}
	err = e.within(e.linkBlocks, e.blocks, id, func(b []byte) (bool, error) {
		for len(b) > 0 {
			s, rest, err := readSummary(b)
			if err != nil {
				return false, err
			}
			switch bytes.Compare(s.TraceID[:], id[:]) {
			case 0:
				sum, ok = s, true
				return false, nil
			case 1:
				return false, nil
			}
			b = rest
		}
		return true, nil
	})
	return sum, ok, err
}

// Close releases the file. It may be called twice.
func (e *Edges) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fd != nil {
		e.fd.Close()
		e.fd = nil
	}
}
