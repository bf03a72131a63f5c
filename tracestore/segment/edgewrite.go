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
	at           uint32
	what         uint8
}

// saidByTrace is in the place of the ordinal of a span whose half the summary of its
// trace speaks of.
const saidByTrace = math.MaxUint32

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
		places = append(places, place{binary.BigEndian.Uint64(r.TraceID[:]), binary.BigEndian.Uint64(r.TraceID[8:]), binary.BigEndian.Uint64(r.SpanID[:]), uint32(at), what})
	}
	for i := range summaries {
		add(trace.Ref{TraceID: summaries[i].TraceID, SpanID: summaries[i].SpanID}, i, placeSummary)
	}
	for i := range halves {
		add(halves[i].Of, i, placeOf)
		if halves[i].Recorded() {
			add(halves[i].Target, i, placeTarget)
		}
	}
	sortByNumber(places, func(p *place) uint32 { return uint32(p.hi >> 32) }, comparePlaces)
	o := &orderedEdges{traces: make([]edgeTrace, 0, len(summaries))}
	sender := make([]bool, len(halves))
	ofs, targets := make([]uint32, len(halves)), make([]uint32, len(halves))
	spans := make([]edgeSpan, 0, len(places))
	for i := 0; i < len(places); {
		from, j, senders := i, i, 0
		for ; j < len(places) && places[j].hi == places[i].hi && places[j].lo == places[i].lo; j++ {
			if places[j].what == placeOf && mereSender(&halves[places[j].at]) {
				senders++
			}
		}
		o.traces = append(o.traces, edgeTrace{})
		t := &o.traces[len(o.traces)-1]
		first := len(spans)
		least := int64(math.MaxInt64)
		for ; i < j; i++ {
			p := &places[i]
			if senders > 0 && senders <= maxSenders && p.what == placeOf && mereSender(&halves[p.at]) {
				p.what, sender[p.at] = placeSender, true
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
		for k := j - 1; k >= from && t.request == 0; k-- {
			if p := &places[k]; p.what == placeOf {
				if t.request = requestOf(&t.sum, &halves[p.at]); t.request != 0 {
					t.key = halves[p.at].Key
				}
			}
		}
		if t.request != 0 {
			for k := from; k < j; k++ {
				if p := &places[k]; p.what == placeOf && t.says(&halves[p.at]) {
					ofs[p.at] = saidByTrace
				}
			}
		}
		if t.request == 0 && slices.ContainsFunc(places[from:j], func(p place) bool { return p.what == placeOf && t.inherits(&halves[p.at]) }) {
			t.sum.Kept = t.sum.OnlyClass()
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

// says reports whether a half is the one that request speaks of.
func (t *edgeTrace) says(h *graph.Half) bool {
	return h.Key == t.key && h.Of.SpanID == t.sum.SpanID && uint32(h.Side)|uint32(h.Rule)<<2 == t.request&0x3f && h.Dropped == 0 && !h.Recorded()
}

// records makes the records of halves.
func (o *orderedEdges) records(halves []graph.Half, ofs, targets []uint32, sender []bool) {
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
		if ofs[i] == saidByTrace {
			continue
		}
		if h.Side&graph.EffectSide != 0 {
			o.causes = append(o.causes, causeRecord{of: ofs[i], target: recordedNone, key: h.Key, side: uint8(h.Side), rule: uint8(h.Rule), dropped: h.Dropped})
		}
		o.ends = append(o.ends, endRecord{key: h.Key, of: ofs[i], side: uint8(h.Side), rule: uint8(h.Rule), dropped: h.Dropped})
	}
	sortByNumber(o.causes, causeNumber, compareCauses)
	sortByNumber(o.effects, effectNumber, compareEffects)
	sortByNumber(o.ends, endNumber, compareEnds)
	same := func(n int) bool { return n == 0 }
	o.causes = slices.CompactFunc(o.causes, func(a, b causeRecord) bool { return same(compareCauses(a, b)) })
	o.effects = slices.CompactFunc(o.effects, func(a, b effectRecord) bool { return same(compareEffects(a, b)) })
	o.ends = slices.CompactFunc(o.ends, func(a, b endRecord) bool { return same(compareEnds(a, b)) })
}

// sortByNumber sorts a list whose elements are in the order of a number, and of compare
// where that is equal, as it is of few: by 11 bits at a time, from the lowest on.
func sortByNumber[T any](list []T, number func(*T) uint32, compare func(a, b T) int) {
	const digit, few = 11, 256
	if len(list) < few {
		slices.SortFunc(list, compare)
		return
	}
	var ends [3][1 << digit]int
	for i := range list {
		n := number(&list[i])
		ends[0][n&(1<<digit-1)]++
		ends[1][n>>digit&(1<<digit-1)]++
		ends[2][n>>(2*digit)]++
	}
	from, to := list, make([]T, len(list))
	for pass := range ends {
		next, shift := &ends[pass], pass*digit
		if next[number(&from[0])>>shift&(1<<digit-1)] == len(list) {
			continue
		}
		for i, at := 0, 0; i < len(next); i++ {
			at, next[i] = at+next[i], at
		}
		for i := range from {
			n := number(&from[i]) >> shift & (1<<digit - 1)
			to[next[n]] = from[i]
			next[n]++
		}
		from, to = to, from
	}
	if &from[0] != &list[0] {
		copy(list, from)
	}
	for i := 0; i < len(list); {
		j, n := i+1, number(&list[i])
		for j < len(list) && number(&list[j]) == n {
			j++
		}
		if j-i > 1 {
			slices.SortFunc(list[i:j], compare)
		}
		i = j
	}
}

// The numbers that records are in the order of, and looked up by.

func causeNumber(h *causeRecord) uint32     { return h.of }
func effectNumber(h *effectRecord) uint32   { return h.target }
func endNumber(h *endRecord) uint32         { return uint32(h.key >> 32) }
func requestNumber(r *requestRecord) uint32 { return r.part }

func comparePlaces(a, b place) int {
	switch {
	case a.hi != b.hi:
		return cmp.Compare(a.hi, b.hi)
	case a.lo != b.lo:
		return cmp.Compare(a.lo, b.lo)
	}
	return cmp.Compare(a.span, b.span)
}

// Records that are equal in these orders are one edge: of a row that came twice.

func compareCauses(a, b causeRecord) int {
	switch {
	case a.of != b.of:
		return cmp.Compare(a.of, b.of)
	case a.target != b.target:
		return cmp.Compare(a.target, b.target)
	case a.key != b.key:
		return cmp.Compare(a.key, b.key)
	}
	return cmp.Compare(a.rule, b.rule)
}

func compareEffects(a, b effectRecord) int {
	if a.target != b.target {
		return cmp.Compare(a.target, b.target)
	}
	return cmp.Compare(a.of, b.of)
}

func compareEnds(a, b endRecord) int {
	switch {
	case a.key>>32 != b.key>>32:
		return cmp.Compare(a.key>>32, b.key>>32)
	case a.sender != b.sender:
		if b.sender {
			return -1
		}
		return 1
	case a.of != b.of:
		return cmp.Compare(a.of, b.of)
	case a.key != b.key:
		return cmp.Compare(a.key, b.key)
	case a.rule != b.rule:
		return cmp.Compare(a.rule, b.rule)
	}
	return cmp.Compare(a.start, b.start)
}

func compareRequests(a, b requestRecord) int {
	if a.part != b.part {
		return cmp.Compare(a.part, b.part)
	}
	return cmp.Compare(a.block, b.block)
}

// edgesWriter packs records into blocks, section by section.
type edgesWriter struct {
	w       *bufio.Writer
	offset  int64
	index   []byte
	blocks  [edgeSections]int
	records [edgeSections]int
	info    EdgesInfo

	block     traceWriter
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
	out       []byte // a block that is written
	text      []byte
}

func newEdgesWriter(b *bufio.Writer) *edgesWriter {
	return &edgesWriter{w: b, nameAt: map[string]uint32{}, keyAt: map[string]uint32{}, min: math.MaxInt64, max: math.MinInt64}
}

// writeRun writes the file that fill fills.
func writeRun(path string, step Step, fill func(*edgesWriter) error) (EdgesInfo, error) {
	var w *edgesWriter
	file, err := writeFile(path, step, func(b *bufio.Writer) error {
		w = newEdgesWriter(b)
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
	binary.LittleEndian.PutUint32(entry[24:], uint32(len(w.out)))
	binary.LittleEndian.PutUint32(entry[28:], uint32(items))
	binary.LittleEndian.PutUint32(entry[32:], crc32.Checksum(w.out, castagnoli))
	binary.LittleEndian.PutUint32(entry[36:], span)
	w.index = append(w.index, entry[:]...)
	w.offset += int64(len(w.out))
	w.blocks[section]++
	w.records[section] += items
	_, err := w.w.Write(w.out)
	return err
}

func ordinalKey(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// edges writes the other sections.
func (w *edgesWriter) edges(causes iter.Seq[causeRecord], effects iter.Seq[effectRecord], ends iter.Seq[endRecord]) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := putAll(w, causeSection, causes, causeNumber, encodeCauses); err != nil {
		return err
	}
	if err := putAll(w, effectSection, effects, effectNumber, encodeEffects); err != nil {
		return err
	}
	if err := putAll(w, endSection, ends, endNumber, encodeEnds); err != nil {
		return err
	}
	sortByNumber(w.requests, requestNumber, compareRequests)
	err := putAll(w, requestSection, slices.Values(w.requests), requestNumber, encodeRequests)
	w.info.Links = w.records[effectSection] + w.records[endSection] + w.records[requestSection]
	return err
}

func putAll[T any](w *edgesWriter, section int, list iter.Seq[T], number func(*T) uint32, encode func([]byte, []T) []byte) error {
	block := make([]T, 0, edgesBlockItems)
	put := func() error {
		if len(block) == 0 {
			return nil
		}
		w.out = encode(w.out[:0], block)
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
