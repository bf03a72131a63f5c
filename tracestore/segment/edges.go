package segment

import (
	"bufio"
	"bytes"
	"cmp"
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

// A run of edges: the halves of edges, by the trace of the effect, by the trace of
// the cause and by key, then summaries of traces by trace id. Little-endian,
// version 2.
//
//	blocks   zstd frames of up to 512 records, fewer where they come to 1 MiB, section
//	         by section
//	index    per block, 36 bytes: 0 trace id or key of its first record (16)
//	         16 offset u64   24 length u32   28 records u32   32 CRC-32C u32
//	footer   56 bytes: 0 "rted"  4 version u32  8 blocks of each section u32
//	         24 records of each section u32  40 offset of the index u64
//	         48 CRC-32C of the index u32  52 CRC-32C of the footer's first 52 bytes u32
const (
	edgesMagic       = "rted"
	edgesVersion     = 2
	edgesFooterBytes = 56
	edgesIndexBytes  = 36
	edgesBlockItems  = 512
	// edgesBlockBytes is what a block comes to at most before its last record.
	edgesBlockBytes = 1 << 20
	halfBytes       = 71
	rootBit         = 0x80
	causedBit       = 0x40
	// maxEdgeBlockBytes bounds what a block may become when it is unpacked: the
	// strings of its last record come from one message of the log.
	maxEdgeBlockBytes = 64 << 20
)

// The sections of a run.
const (
	causesSection  = iota // halves of the effect side, by the trace they are of
	effectsSection        // recorded halves, by the trace of their target
	endsSection           // halves with a key, by key
	summarySection
	edgeSections
)

var (
	edgesEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	edgesDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxEdgeBlockBytes))
)

// EdgesInfo says what a written run holds.
type EdgesInfo struct {
	Links, Traces int // halves and summaries
	SizeBytes     int64
}

// WriteEdges makes a run at path of halves and summaries in any order, which it
// sorts in place. It is durable like [Write].
func WriteEdges(path string, halves []graph.Half, summaries []graph.Summary, step Step) (EdgesInfo, error) {
	var parts [edgeSections - 1]iter.Seq[graph.Half]
	for i := range parts {
		list := slices.DeleteFunc(slices.Clone(halves), func(h graph.Half) bool { return !sectionHas(i, &h) })
		slices.SortFunc(list, halfOrder[i])
		parts[i] = slices.Values(slices.CompactFunc(list, func(a, b graph.Half) bool { return halfOrder[i](a, b) == 0 }))
	}
	slices.SortFunc(summaries, func(a, b graph.Summary) int { return bytes.Compare(a.TraceID[:], b.TraceID[:]) })
	var failed error
	return writeEdges(path, parts, slices.Values(summaries), &failed, step)
}

// sectionHas reports whether a section of halves holds a half.
func sectionHas(section int, h *graph.Half) bool {
	switch section {
	case causesSection:
		return h.Side&graph.EffectSide != 0
	case effectsSection:
		return h.Recorded()
	}
	return !h.Recorded()
}

func compareRefs(a, b *trace.Ref) int {
	return cmp.Or(bytes.Compare(a.TraceID[:], b.TraceID[:]), bytes.Compare(a.SpanID[:], b.SpanID[:]))
}

// halfOrder are the orders of the sections. Halves that are equal in it are one.
var halfOrder = [...]func(a, b graph.Half) int{
	func(a, b graph.Half) int {
		return cmp.Or(compareRefs(&a.Of, &b.Of), compareRefs(&a.Target, &b.Target), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Rule, b.Rule))
	},
	func(a, b graph.Half) int {
		return cmp.Or(compareRefs(&a.Target, &b.Target), compareRefs(&a.Of, &b.Of), cmp.Compare(a.Rule, b.Rule))
	},
	func(a, b graph.Half) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), compareRefs(&a.Of, &b.Of), cmp.Compare(a.Rule, b.Rule))
	},
}

// halfPlace is what a section's index has of a half.
func halfPlace(section int, h *graph.Half) (id trace.ID) {
	switch section {
	case causesSection:
		return h.Of.TraceID
	case effectsSection:
		return h.Target.TraceID
	}
	return keyPlace(h.Key)
}

func keyPlace(k graph.Key) (id trace.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(k))
	return id
}

func appendHalf(dst []byte, h *graph.Half) []byte {
	dst = append(append(dst, h.Of.TraceID[:]...), h.Of.SpanID[:]...)
	dst = append(append(dst, h.Target.TraceID[:]...), h.Target.SpanID[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Key))
	unsampled := byte(0)
	if h.Unsampled {
		unsampled = 1
	}
	dst = append(dst, byte(h.Side), byte(h.Rule), unsampled)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Dropped))
	return binary.LittleEndian.AppendUint64(dst, uint64(h.StartUnixNano))
}

func readHalf(b []byte) (h graph.Half, rest []byte, err error) {
	if len(b) < halfBytes {
		return h, nil, errEdges
	}
	return graph.Half{
		Of:     trace.Ref{TraceID: trace.ID(b[:16]), SpanID: trace.SpanID(b[16:24])},
		Target: trace.Ref{TraceID: trace.ID(b[24:40]), SpanID: trace.SpanID(b[40:48])},
		Key:    graph.Key(binary.LittleEndian.Uint64(b[48:])), Side: graph.Side(b[56]), Rule: graph.RuleID(b[57]), Unsampled: b[58] != 0,
		Dropped: int32(binary.LittleEndian.Uint32(b[59:])), StartUnixNano: int64(binary.LittleEndian.Uint64(b[63:])),
	}, b[halfBytes:], nil
}

func appendSummary(dst []byte, s graph.Summary) []byte {
	dst = append(append(dst, s.TraceID[:]...), s.SpanID[:]...)
	kind := byte(s.Kind) &^ (rootBit | causedBit)
	if s.Root {
		kind |= rootBit
	}
	if s.Caused {
		kind |= causedBit
	}
	dst = append(dst, kind)
	dst = binary.AppendVarint(dst, s.StartUnixNano)
	for _, n := range [...]int64{s.RootStartUnixNano - s.StartUnixNano, s.DurationNano, int64(s.Spans), int64(s.Errors), int64(s.Messages), int64(s.Jobs), int64(s.Requests)} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	text := func(text string) {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	for _, t := range [...]string{s.Service, s.Name, s.Route, s.Environment} {
		text(t)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Kept)))
	for _, a := range s.Kept {
		text(a.Key)
		text(a.Value.Str)
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
	s.Root, s.Caused, s.Kind = b[24]&rootBit != 0, b[24]&causedBit != 0, trace.Kind(b[24]&^(rootBit|causedBit))
	b = b[25:]
	start, n := binary.Varint(b)
	if n <= 0 {
		return s, nil, errEdges
	}
	b = b[n:]
	s.StartUnixNano = start
	var numbers [7]uint64
	for i := range numbers {
		if numbers[i], n = binary.Uvarint(b); n <= 0 {
			return s, nil, errEdges
		}
		b = b[n:]
	}
	s.RootStartUnixNano, s.DurationNano, s.Spans, s.Errors = start+int64(numbers[0]), int64(numbers[1]), int(numbers[2]), int(numbers[3])
	s.Messages, s.Jobs, s.Requests = int(numbers[4]), int(numbers[5]), int(numbers[6])
	text := func() (string, bool) {
		l, n := binary.Uvarint(b)
		if n <= 0 || l > uint64(len(b)-n) {
			return "", false
		}
		t := string(b[n : n+int(l)])
		b = b[n+int(l):]
		return t, true
	}
	ok := true
	for _, t := range [...]*string{&s.Service, &s.Name, &s.Route, &s.Environment} {
		if *t, ok = text(); !ok {
			return s, nil, errEdges
		}
	}
	kept, n := binary.Uvarint(b)
	if n <= 0 || kept > uint64(len(b)) {
		return s, nil, errEdges
	}
	b = b[n:]
	for range kept {
		var a trace.Attribute
		if a.Key, ok = text(); !ok {
			return s, nil, errEdges
		}
		if a.Value.Str, ok = text(); !ok {
			return s, nil, errEdges
		}
		a.Value.Type = trace.TypeString
		s.Kept = append(s.Kept, a)
	}
	return s, b, nil
}

// MergeSummaries joins what two places know of one trace. A true root stands for
// the trace before an earlier start, an earlier start before a lesser span id.
func MergeSummaries(a, b graph.Summary) graph.Summary {
	if b.Root != a.Root && b.Root || b.Root == a.Root && (b.RootStartUnixNano < a.RootStartUnixNano ||
		b.RootStartUnixNano == a.RootStartUnixNano && bytes.Compare(b.SpanID[:], a.SpanID[:]) < 0) {
		a, b = b, a
	}
	end := max(a.StartUnixNano+a.DurationNano, b.StartUnixNano+b.DurationNano)
	a.StartUnixNano = min(a.StartUnixNano, b.StartUnixNano)
	a.DurationNano = end - a.StartUnixNano
	a.Spans += b.Spans
	a.Errors += b.Errors
	a.Messages += b.Messages
	a.Jobs += b.Jobs
	a.Requests += b.Requests
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

// writeEdges writes sorted halves and summaries. An error of theirs is in failed.
func writeEdges(path string, halves [edgeSections - 1]iter.Seq[graph.Half], summaries iter.Seq[graph.Summary], failed *error, step Step) (EdgesInfo, error) {
	var info EdgesInfo
	file, err := writeFile(path, step, func(w *bufio.Writer) error {
		e := edgesWriter{w: w}
		var blocks, records [edgeSections]int
		end := func(section int) error {
			if err := e.flush(); err != nil {
				return err
			}
			blocks[section], e.blocks = e.blocks, 0
			return *failed
		}
		for section, seq := range halves {
			for h := range seq {
				records[section]++
				if err := e.add(halfPlace(section, &h), func(b []byte) []byte { return appendHalf(b, &h) }); err != nil {
					return err
				}
			}
			if err := end(section); err != nil {
				return err
			}
		}
		for s := range summaries {
			records[summarySection]++
			if err := e.add(s.TraceID, func(b []byte) []byte { return appendSummary(b, s) }); err != nil {
				return err
			}
		}
		if err := end(summarySection); err != nil {
			return err
		}
		info.Links, info.Traces = records[effectsSection]+records[endsSection], records[summarySection]
		footer := binary.LittleEndian.AppendUint32([]byte(edgesMagic), edgesVersion)
		for _, list := range [][edgeSections]int{blocks, records} {
			for _, n := range list {
				footer = binary.LittleEndian.AppendUint32(footer, uint32(n))
			}
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

	mu      sync.Mutex
	fd      *os.File
	index   []byte
	from    [edgeSections + 1]int // the first block of each section
	records [edgeSections]int
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
	if string(footer[:4]) != edgesMagic || crc32.Checksum(footer[:52], castagnoli) != uint32(u32(52)) {
		return e.corrupt(size-edgesFooterBytes, errEdges)
	}
	if v := u32(4); v != edgesVersion {
		return e.corrupt(size-edgesFooterBytes, fmt.Errorf("version %d, this program knows %d", v, edgesVersion))
	}
	var sections [edgeSections + 1]int
	var records [edgeSections]int
	for i := range records {
		sections[i+1] = sections[i] + u32(8+4*i)
		records[i] = u32(24 + 4*i)
	}
	blocks := sections[edgeSections]
	from := int64(binary.LittleEndian.Uint64(footer[40:]))
	if from < 0 || from+int64(blocks)*edgesIndexBytes != size-edgesFooterBytes {
		return e.corrupt(size-edgesFooterBytes, errEdges)
	}
	index := make([]byte, blocks*edgesIndexBytes)
	if _, err := fd.ReadAt(index, from); err != nil {
		return fmt.Errorf("segment: open: %w", err)
	}
	if crc32.Checksum(index, castagnoli) != uint32(u32(48)) {
		return e.corrupt(from, errEdges)
	}
	for i := range blocks {
		entry := index[i*edgesIndexBytes:]
		offset, length := binary.LittleEndian.Uint64(entry[16:]), binary.LittleEndian.Uint32(entry[24:])
		if offset > uint64(from) || uint64(length) > uint64(from)-offset {
			return e.corrupt(from, errEdges)
		}
	}
	e.index, e.from, e.records = index, sections, records
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

// within calls fn with the blocks of a section that may hold records at a place,
// until fn says stop.
func (e *Edges) within(section int, id trace.ID, fn func(block []byte) (more bool, err error)) error {
	if err := e.open(); err != nil {
		return err
	}
	lo, hi := e.from[section], e.from[section+1]
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

// halves calls fn with the halves of a section at a place, until it says stop.
func (e *Edges) halves(section int, id trace.ID, fn func(*graph.Half) bool) error {
	return e.within(section, id, func(b []byte) (bool, error) {
		n := len(b) / halfBytes
		at := func(i int) trace.ID {
			h, _, _ := readHalf(b[i*halfBytes:])
			return halfPlace(section, &h)
		}
		for i := sort.Search(n, func(i int) bool { p := at(i); return bytes.Compare(p[:], id[:]) >= 0 }); i < n; i++ {
			h, _, _ := readHalf(b[i*halfBytes:])
			if halfPlace(section, &h) != id || !fn(&h) {
				return false, nil
			}
		}
		return true, nil
	})
}

// Effects returns the links whose target is a span of the trace, at most limit;
// truncated says there are more.
func (e *Edges) Effects(id trace.ID, limit int) (links []graph.Link, truncated bool, err error) {
	err = e.halves(effectsSection, id, func(h *graph.Half) bool {
		if truncated = len(links) == limit; !truncated {
			links = append(links, graph.Link{From: h.Target, To: h.Of})
		}
		return !truncated
	})
	return links, truncated, err
}

// Causes calls fn with the halves on the effect side of spans of the trace, until
// it says stop.
func (e *Edges) Causes(id trace.ID, fn func(*graph.Half) bool) error {
	return e.halves(causesSection, id, fn)
}

// Ends calls fn with the halves that have the key, on either side, until it says
// stop.
func (e *Edges) Ends(key graph.Key, fn func(*graph.Half) bool) error {
	return e.halves(endsSection, keyPlace(key), fn)
}

// Summary returns what the run knows of a trace, or false.
func (e *Edges) Summary(id trace.ID) (sum graph.Summary, ok bool, err error) {
	err = e.within(summarySection, id, func(b []byte) (bool, error) {
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

// All calls fn with the summaries of the traces of the run.
func (e *Edges) All(fn func(*graph.Summary) error) error {
	if err := e.open(); err != nil {
		return err
	}
	c := summaryCursor(e)
	for {
		ok, err := c.advance()
		if err != nil || !ok {
			return err
		}
		if err := fn(&c.at); err != nil {
			return err
		}
	}
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
