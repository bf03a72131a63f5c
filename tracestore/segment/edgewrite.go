package segment

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
	"slices"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// WriteEdges makes a run at path of halves and summaries in any order. It is
// durable like [Write].
func WriteEdges(path string, halves []graph.Half, summaries []graph.Summary, step Step) (EdgesInfo, error) {
	o := orderEdges(halves, summaries)
	return writeRun(path, step, func(w *edgesWriter) error {
		for i := range o.traces {
			if err := w.trace(&o.traces[i]); err != nil {
				return err
			}
		}
		return w.edges(slices.Values(o.causes), slices.Values(o.effects), slices.Values(o.ends))
	})
}

func compareIDs(a, b *trace.ID) int { return bytes.Compare(a[:], b[:]) }

// orderedEdges are edges whose spans have their ordinals.
type orderedEdges struct {
	traces  []edgeTrace
	causes  []causeRecord
	effects []effectRecord
	ends    []endRecord
}

// place is where a span is named: by half number at, as its target or as the span
// itself, or by a summary.
type place struct {
	hi, lo, span uint64
	at           int32
	what         uint8
}

const (
	placeOf = iota
	placeTarget
	placeSummary
	placeSender // the trace of a mere sender: no span of it
)

// maxSenders is how many of the sent ids of one trace are kept without the span:
// reading a trace that sends more would take long.
const maxSenders = 64

// mereSender reports whether a half is nothing but the cause of what has its key.
func mereSender(h *graph.Half) bool {
	return h.Side == graph.CauseSide && !h.Recorded() && h.Dropped == 0
}

// orderEdges gives every span that something names its ordinal.
func orderEdges(halves []graph.Half, summaries []graph.Summary) *orderedEdges {
	places := make([]place, 0, 2*len(halves)+len(summaries))
	add := func(r trace.Ref, at int, what uint8) {
		places = append(places, place{binary.BigEndian.Uint64(r.TraceID[:]), binary.BigEndian.Uint64(r.TraceID[8:]), binary.BigEndian.Uint64(r.SpanID[:]), int32(at), what})
	}
	for i := range summaries {
		add(trace.Ref{TraceID: summaries[i].TraceID, SpanID: summaries[i].SpanID}, i, placeSummary)
	}
	senders := map[trace.ID]int{}
	for i := range halves {
		if mereSender(&halves[i]) {
			senders[halves[i].Of.TraceID]++
		}
	}
	sender := make([]bool, len(halves))
	for i := range halves {
		if sender[i] = mereSender(&halves[i]) && senders[halves[i].Of.TraceID] <= maxSenders; sender[i] {
			add(trace.Ref{TraceID: halves[i].Of.TraceID}, i, placeSender)
			continue
		}
		add(halves[i].Of, i, placeOf)
		if halves[i].Recorded() {
			add(halves[i].Target, i, placeTarget)
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		switch {
		case a.hi != b.hi:
			return cmp.Compare(a.hi, b.hi)
		case a.lo != b.lo:
			return cmp.Compare(a.lo, b.lo)
		}
		return cmp.Compare(a.span, b.span)
	})
	o := &orderedEdges{traces: make([]edgeTrace, 0, len(summaries))}
	ofs, targets := make([]uint32, len(halves)), make([]uint32, len(halves))
	spans := make([]edgeSpan, 0, len(places))
	for i := 0; i < len(places); {
		from, j := i, i
		for j < len(places) && places[j].hi == places[i].hi && places[j].lo == places[i].lo {
			j++
		}
		o.traces = append(o.traces, edgeTrace{})
		t := &o.traces[len(o.traces)-1]
		first := len(spans)
		least := int64(math.MaxInt64)
		for ; i < j; i++ {
			p := &places[i]
			if p.what == placeSender {
				ofs[p.at] = uint32(len(o.traces) - 1)
				least = min(least, halves[p.at].StartUnixNano)
				continue
			}
			if len(spans) == first || binary.BigEndian.Uint64(spans[len(spans)-1].id[:]) != p.span {
				spans = append(spans, edgeSpan{start: unknownStart})
				binary.BigEndian.PutUint64(spans[len(spans)-1].id[:], p.span)
			}
			ordinal := uint32(len(spans) - 1)
			switch s := &spans[ordinal]; p.what {
			case placeOf:
				h := &halves[p.at]
				ofs[p.at] = ordinal
				least = min(least, h.StartUnixNano)
				s.known(floorDiv(h.StartUnixNano, millisecond))
			case placeTarget:
				targets[p.at] = ordinal
				least = min(least, halves[p.at].StartUnixNano) // only for want of a better one
			case placeSummary:
				t.sum = summaries[p.at]
				t.sum.Kept = t.sum.Kept[:min(len(t.sum.Kept), maxKept)]
			}
		}
		if t.sum.TraceID.IsZero() {
			p := &places[j-1]
			binary.BigEndian.PutUint64(t.sum.TraceID[:], p.hi)
			binary.BigEndian.PutUint64(t.sum.TraceID[8:], p.lo)
			t.sum.StartUnixNano = least
		}
		t.spans = spans[first:len(spans):len(spans)]
		for k := j - 1; k >= 0 && places[k].hi == places[j-1].hi && places[k].lo == places[j-1].lo; k-- {
			if places[k].what == placeOf && t.request == 0 {
				t.request = requestOf(&t.sum, &halves[places[k].at])
			}
		}
		if t.request == 0 && slices.ContainsFunc(places[from:j], func(p place) bool { return p.what == placeOf && t.inherits(&halves[p.at]) }) {
			t.sum.Kept = nil
		}
	}
	o.records(halves, ofs, targets, sender)
	return o
}

// known notes the start of a span.
func (s *edgeSpan) known(ms int64) {
	if s.start == unknownStart || ms < s.start {
		s.start = ms
	}
}

// inherits reports whether a half says that another trace caused the span that
// stands for this one: whose request it was is said there.
func (t *edgeTrace) inherits(h *graph.Half) bool {
	return h.Recorded() && !h.Unsampled && h.Of.SpanID == t.sum.SpanID && h.Target.TraceID != t.sum.TraceID
}

// records makes the records of halves.
func (o *orderedEdges) records(halves []graph.Half, ofs, targets []uint32, sender []bool) {
	request := map[uint32]graph.Half{} // by the ordinal of the span
	first := uint32(0)
	for i := range o.traces {
		t := &o.traces[i]
		if h, ok := t.half(); ok {
			request[first+uint32(t.span(t.sum.SpanID))] = h
		}
		first += uint32(len(t.spans))
	}
	for i := range halves {
		h := &halves[i]
		if h.Recorded() {
			o.causes = append(o.causes, causeRecord{of: ofs[i], target: targets[i], side: uint8(h.Side), rule: uint8(h.Rule), unsampled: h.Unsampled, dropped: h.Dropped})
			o.effects = append(o.effects, effectRecord{target: targets[i], of: ofs[i]})
			continue
		}
		if sender[i] {
			start := floorDiv(h.StartUnixNano, millisecond) - floorDiv(o.traces[ofs[i]].sum.StartUnixNano, millisecond)
			o.ends = append(o.ends, endRecord{key: h.Key, of: ofs[i], side: uint8(h.Side), rule: uint8(h.Rule), sender: true, start: start})
			continue
		}
		if q, ok := request[ofs[i]]; ok && q.Key == h.Key && q.Rule == h.Rule && q.Side == h.Side && h.Dropped == 0 {
			continue
		}
		if h.Side&graph.EffectSide != 0 {
			o.causes = append(o.causes, causeRecord{of: ofs[i], target: recordedNone, key: h.Key, side: uint8(h.Side), rule: uint8(h.Rule), dropped: h.Dropped})
		}
		o.ends = append(o.ends, endRecord{key: h.Key, of: ofs[i], side: uint8(h.Side), rule: uint8(h.Rule), dropped: h.Dropped})
	}
	slices.SortFunc(o.causes, compareCauses)
	slices.SortFunc(o.effects, compareEffects)
	slices.SortFunc(o.ends, compareEnds)
	same := func(n int) bool { return n == 0 }
	o.causes = slices.CompactFunc(o.causes, func(a, b causeRecord) bool { return same(compareCauses(a, b)) })
	o.effects = slices.CompactFunc(o.effects, func(a, b effectRecord) bool { return same(compareEffects(a, b)) })
	o.ends = slices.CompactFunc(o.ends, func(a, b endRecord) bool { return same(compareEnds(a, b)) })
}

// Records that are equal in these orders are one edge: of a row that came twice.

func compareCauses(a, b causeRecord) int {
	if a.of != b.of {
		return cmp.Compare(a.of, b.of)
	}
	return cmp.Or(cmp.Compare(a.target, b.target), cmp.Compare(a.key, b.key), cmp.Compare(a.rule, b.rule))
}

func compareEffects(a, b effectRecord) int {
	if a.target != b.target {
		return cmp.Compare(a.target, b.target)
	}
	return cmp.Compare(a.of, b.of)
}

func compareEnds(a, b endRecord) int {
	bit := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.key>>32, b.key>>32), cmp.Compare(bit(a.sender), bit(b.sender)), cmp.Compare(a.of, b.of),
		cmp.Compare(a.key, b.key), cmp.Compare(a.rule, b.rule), cmp.Compare(a.start, b.start))
}

func compareRequests(a, b requestRecord) int {
	return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.block, b.block))
}

// edgesWriter packs records into blocks, section by section.
type edgesWriter struct {
	w       *bufio.Writer
	offset  int64
	index   []byte
	blocks  [edgeSections]int
	records [edgeSections]int
	info    EdgesInfo

	pending   []edgeTrace
	size      int    // of the strings of pending
	spans     uint32 // of the traces that were added
	spansOut  uint32 // of those that were written
	names     []string
	nameBytes int
	nameAt    map[string]uint32
	keys      []string
	keyAt     map[string]uint32
	requests  []requestRecord
	traces    uint32 // that were added
	min, max  int64
	block     []byte
	text      []byte
}

// writeRun writes the file that fill fills.
func writeRun(path string, step Step, fill func(*edgesWriter) error) (EdgesInfo, error) {
	var w *edgesWriter
	file, err := writeFile(path, step, func(b *bufio.Writer) error {
		w = &edgesWriter{w: b, nameAt: map[string]uint32{}, keyAt: map[string]uint32{}, min: math.MaxInt64, max: math.MinInt64}
		if err := fill(w); err != nil {
			return err
		}
		return w.finish()
	})
	if err != nil {
		return EdgesInfo{}, fmt.Errorf("segment: write %s: %w", path, err)
	}
	w.info.SizeBytes = file.bytes
	return w.info, nil
}

// put writes a block.
func (w *edgesWriter) put(section int, first []byte, items int, span uint32) error {
	var entry [edgesIndexBytes]byte
	copy(entry[:16], first)
	binary.LittleEndian.PutUint64(entry[16:], uint64(w.offset))
	binary.LittleEndian.PutUint32(entry[24:], uint32(len(w.block)))
	binary.LittleEndian.PutUint32(entry[28:], uint32(items))
	binary.LittleEndian.PutUint32(entry[32:], crc32.Checksum(w.block, castagnoli))
	binary.LittleEndian.PutUint32(entry[36:], span)
	w.index = append(w.index, entry[:]...)
	w.offset += int64(len(w.block))
	w.blocks[section]++
	w.records[section] += items
	_, err := w.w.Write(w.block)
	return err
}

// trace adds a trace, in the order of ids. The next one may use its memory only
// when the block is written: spans and what is kept stay the caller's.
func (w *edgesWriter) trace(t *edgeTrace) error {
	w.pending = append(w.pending, *t)
	w.traces++
	w.spans += uint32(len(t.spans))
	if s := &t.sum; s.Spans > 0 {
		w.info.Traces++
		w.min, w.max = min(w.min, s.StartUnixNano), max(w.max, s.StartUnixNano)
		w.size += len(s.Service) + len(s.Name) + len(s.Route) + len(s.Environment)
	}
	if len(w.pending) == edgesBlockItems || w.size >= edgesBlockBytes {
		return w.flush()
	}
	return nil
}

func (w *edgesWriter) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	for i := range w.pending {
		if h, ok := w.pending[i].half(); ok {
			w.requests = append(w.requests, requestRecord{requestPart(h.Key), uint32(w.blocks[traceSection])})
		}
	}
	w.block = encodeTraces(w.block[:0], w.pending, w.name, w.key)
	err := w.put(traceSection, w.pending[0].sum.TraceID[:], len(w.pending), w.spansOut)
	w.spansOut, w.size = w.spans, 0
	clear(w.pending)
	w.pending = w.pending[:0]
	return err
}

// name returns the number of a summary's strings, or false if there are too many.
func (w *edgesWriter) name(s *graph.Summary) (uint32, bool) {
	w.text = appendNames(w.text[:0], s)
	if id, ok := w.nameAt[string(w.text)]; ok {
		return id, true
	}
	if len(w.names) == maxNames || w.nameBytes+len(w.text) > maxNameBytes {
		return 0, false
	}
	id, text := uint32(len(w.names)), string(w.text)
	w.nameBytes += len(text)
	w.names, w.nameAt[text] = append(w.names, text), id
	return id, true
}

// key returns the number of a key of what is kept. The settings name them.
func (w *edgesWriter) key(key string) uint32 {
	id, ok := w.keyAt[key]
	if !ok {
		id = uint32(len(w.keys))
		w.keys, w.keyAt[key] = append(w.keys, key), id
	}
	return id
}

func ordinalKey(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// edges writes the other sections.
func (w *edgesWriter) edges(causes iter.Seq[causeRecord], effects iter.Seq[effectRecord], ends iter.Seq[endRecord]) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := putAll(w, causeSection, causes, func(h *causeRecord) uint32 { return h.of }, encodeCauses); err != nil {
		return err
	}
	if err := putAll(w, effectSection, effects, func(h *effectRecord) uint32 { return h.target }, encodeEffects); err != nil {
		return err
	}
	if err := putAll(w, endSection, ends, func(h *endRecord) uint32 { return uint32(h.key >> 32) }, encodeEnds); err != nil {
		return err
	}
	slices.SortFunc(w.requests, compareRequests)
	err := putAll(w, requestSection, slices.Values(w.requests), func(r *requestRecord) uint32 { return r.part }, encodeRequests)
	w.info.Links = w.records[effectSection] + w.records[endSection] + w.records[requestSection]
	return err
}

func putAll[T any](w *edgesWriter, section int, list iter.Seq[T], number func(*T) uint32, encode func([]byte, []T) []byte) error {
	block := make([]T, 0, edgesBlockItems)
	put := func() error {
		if len(block) == 0 {
			return nil
		}
		w.block = encode(w.block[:0], block)
		err := w.put(section, ordinalKey(number(&block[0])), len(block), 0)
		block = block[:0]
		return err
	}
	for rec := range list {
		if block = append(block, rec); len(block) == edgesBlockItems {
			if err := put(); err != nil {
				return err
			}
		}
	}
	return put()
}

// finish writes what stands behind the blocks.
func (w *edgesWriter) finish() error {
	strings := encodeStrings(w.names, w.keys)
	footer := binary.LittleEndian.AppendUint32([]byte(edgesMagic), edgesVersion)
	for _, list := range [][edgeSections]int{w.blocks, w.records} {
		for _, n := range list {
			footer = binary.LittleEndian.AppendUint32(footer, uint32(n))
		}
	}
	footer = binary.LittleEndian.AppendUint64(footer, uint64(w.offset)+uint64(len(strings)))
	footer = binary.LittleEndian.AppendUint64(footer, uint64(w.offset))
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(strings)))
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(strings, castagnoli))
	footer = binary.LittleEndian.AppendUint64(footer, uint64(w.min))
	footer = binary.LittleEndian.AppendUint64(footer, uint64(w.max))
	footer = binary.LittleEndian.AppendUint32(footer, w.spans)
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(w.index, castagnoli))
	footer = binary.LittleEndian.AppendUint32(footer, crc32.Checksum(footer, castagnoli))
	for _, b := range [][]byte{strings, w.index, footer} {
		if _, err := w.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
