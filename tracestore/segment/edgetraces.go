package segment

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// traceWriter packs traces into a block, in the order of their ids. Its memory is used
// for one block after the other.
type traceWriter struct {
	cols      [traceColumns]col
	n         int
	first     trace.ID
	steps     []uint64 // the upper 5 bytes of ids
	starts    []int64  // grains
	bits      [traceRaw]bitWriter
	kept      keptWriter
	nameBytes int // of texts without a number
}

func (w *traceWriter) reset() {
	for i := range w.cols {
		w.cols[i] = w.cols[i][:0]
	}
	for i := range w.bits {
		w.bits[i].reset()
	}
	w.kept.reset()
	w.n, w.nameBytes, w.steps, w.starts = 0, 0, w.steps[:0], w.starts[:0]
}

// add adds a trace. The spans that it is said to have must be added by span after it,
// shape is the number that the keptWriter has given, and inline the text of names
// without a number in the dictionary.
func (w *traceWriter) add(id *trace.ID, s *traceNumbers, spans, shape int, inline string) {
	if w.n == 0 {
		w.first = *id
	}
	w.n++
	c := &w.cols
	start := floorDiv(s.start, grain)
	w.steps = append(w.steps, binary.BigEndian.Uint64(id[:])>>24)
	w.starts = append(w.starts, start)
	c[traceIDs] = append(c[traceIDs], id[5:]...)
	c[traceCounts].uvarint(uint64(spans))
	c[traceSpans].uvarint(uint64(s.spans))
	c[traceErrors].uvarint(uint64(s.errors))
	c[traceMessages].uvarint(uint64(s.messages))
	c[traceJobs].uvarint(uint64(s.jobs))
	c[traceRequests].uvarint(uint64(s.requests))
	c[traceRequest].uvarint(uint64(s.request))
	c[traceShapes].uvarint(uint64(shape))
	if s.spans == 0 {
		return
	}
	c[traceRoots].uvarint(uint64(s.root))
	c[traceRootStarts].uvarint(zigzag(floorDiv(s.rootStart, grain) - start))
	duration := durationCode(s.duration)
	w.bits[traceDurations].put(duration, durationBits)
	c[traceExponents].uvarint(duration >> durationBits)
	c[traceNameLow] = append(c[traceNameLow], byte(s.names))
	c[traceNameHigh].uvarint(uint64(s.names) >> 8)
	if s.names == 0 {
		c[traceNames].text(inline)
		w.nameBytes += len(inline)
	}
}

// span adds a span of the last trace, whose start in Unix milliseconds is ms.
func (w *traceWriter) span(id *trace.SpanID, start, ms int64) {
	w.cols[traceSpanIDs] = append(w.cols[traceSpanIDs], id[:]...)
	if start == unknownStart {
		w.cols[traceSpanStarts].uvarint(0)
	} else {
		w.cols[traceSpanStarts].uvarint(zigzag(start-ms) + 1)
	}
}

// append appends the block.
func (w *traceWriter) append(dst []byte) []byte {
	c := &w.cols
	head := &c[traceHead]
	head.uvarint(uint64(w.n))
	w.bits[traceIDSteps].steps(head, w.n, func(i int) uint64 { return w.steps[i] })
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, start := range w.starts {
		least, most = min(least, start), max(most, start)
	}
	width := bits.Len64(uint64(most - least))
	head.uvarint(zigzag(least))
	head.uvarint(uint64(width))
	for _, start := range w.starts {
		w.bits[traceStarts].put(uint64(start-least), width)
	}
	head.uvarint(uint64(len(w.kept.shapes)))
	for _, s := range w.kept.shapes {
		*head = append(*head, s...)
	}
	for _, i := range [...]int{traceIDSteps, traceStarts, traceDurations} {
		c[i] = w.bits[i].bytes()
	}
	c[traceDigits] = w.kept.digits.bytes()
	dst = encodeColumns(dst, c[:], traceRaw)
	for _, i := range [...]int{traceIDSteps, traceStarts, traceDurations, traceDigits} {
		c[i] = nil // the memory of bits
	}
	return dst
}

// keptWriter takes the values of a block.
type keptWriter struct {
	shapes []string
	of     map[string]int
	digits bitWriter
	shape  col
	form   []byte
	value  []byte // digits
}

func (w *keptWriter) reset() {
	w.shapes = w.shapes[:0]
	clear(w.of)
	w.digits.reset()
}

// add takes what a trace keeps and returns the number of its shape; 0: nothing.
func (w *keptWriter) add(list []trace.Attribute, keyID func(string) uint32) int {
	if len(list) == 0 {
		return 0
	}
	w.shape = w.shape[:0]
	w.shape.uvarint(uint64(len(list)))
	for i := range list {
		text := list[i].Value.Str
		w.form, w.value = w.form[:0], w.value[:0]
		decimal := uint64(1)
		id := strings.ContainsAny(text, hexDigits[:10]) // else a word: one of few, as the class of a job
		for k := range len(text) {
			ch := text[k]
			if d := hexValue[ch]; d > 0 && id {
				if w.value = append(w.value, d-1); d > 10 {
					decimal = 0
				}
				ch = digitMark
			} else if ch == digitMark || ch == digitEscape {
				w.form = append(w.form, digitEscape)
			}
			w.form = append(w.form, ch)
		}
		w.shape.uvarint(uint64(keyID(list[i].Key))<<1 | decimal)
		w.shape.uvarint(uint64(len(w.form)))
		w.shape = append(w.shape, w.form...)
		if decimal == 0 {
			for _, d := range w.value {
				w.digits.put(uint64(d), 4)
			}
			continue
		}
		for rest := w.value; len(rest) > 0; {
			n, v := min(3, len(rest)), uint64(0)
			for _, d := range rest[:n] {
				v = 10*v + uint64(d)
			}
			w.digits.put(v, digitBits[n])
			rest = rest[n:]
		}
	}
	return w.number()
}

// number returns the number of the shape.
func (w *keptWriter) number() int {
	if w.of == nil {
		w.of = map[string]int{}
	}
	id, ok := w.of[string(w.shape)]
	if !ok {
		w.shapes = append(w.shapes, string(w.shape))
		id = len(w.shapes)
		w.of[string(w.shape)] = id
	}
	return id
}

// copy is add for a trace of another block. The block remembers in numbers, by its
// own ones, those of the shapes that it has had.
func (w *keptWriter) copy(k *keptBlock, i int, numbers []uint16, keyID func(string) uint32) int {
	of := k.of[i]
	if of == 0 {
		return 0
	}
	w.digits.copy(k.digits, int(k.from[i]), int(k.sizes[of]))
	if numbers[of] == 0 {
		w.shape = w.shape[:0]
		w.shape.uvarint(uint64(len(k.shapes[of])))
		for n := range k.shapes[of] {
			f := &k.shapes[of][n]
			decimal := uint64(0)
			if f.decimal {
				decimal = 1
			}
			w.shape.uvarint(uint64(keyID(f.key))<<1 | decimal)
			w.shape.text(f.form)
		}
		numbers[of] = uint16(w.number())
	}
	return int(numbers[of])
}

// trace adds a trace, in the order of ids.
func (w *edgesWriter) trace(t *edgeTrace) error {
	s := &t.sum
	n := traceNumbers{
		start: s.StartUnixNano, duration: s.DurationNano, rootStart: s.RootStartUnixNano,
		spans: uint32(s.Spans), errors: uint32(s.Errors), messages: uint32(s.Messages), jobs: uint32(s.Jobs), requests: uint32(s.Requests), request: t.request,
	}
	inline := ""
	if s.Spans > 0 {
		n.root = uint32(max(0, t.span(s.SpanID)))
		if n.names = w.name(s); n.names == 0 {
			inline = string(w.text)
		}
	}
	if t.request != 0 {
		w.request(t.key)
	}
	w.block.add(&s.TraceID, &n, len(t.spans), w.block.kept.add(s.Kept, w.key), inline)
	ms := floorDiv(s.StartUnixNano, millisecond)
	for i := range t.spans {
		w.block.span(&t.spans[i].id, t.spans[i].start, ms)
	}
	return w.added(&n, len(t.spans))
}

// copy adds a trace as it is in another run.
func (w *edgesWriter) copy(in *mergeInput) error {
	b, at := in.b, in.at
	n := b.sums[at] // with other names
	inline := ""
	if n.spans > 0 {
		var err error
		if n.names, inline, err = in.name(w, &n); err != nil {
			return err
		}
	}
	if n.request != 0 {
		w.text = b.kept.value(w.text[:0], at, int(n.request>>6))
		w.request(graph.RequestKey(w.text))
	}
	if in.shapesOf != w.blocks[traceSection] || len(in.shapes) == 0 {
		in.shapes, in.shapesOf = append(in.shapes[:0], make([]uint16, len(b.kept.shapes))...), w.blocks[traceSection]
	}
	shape := w.block.kept.copy(&b.kept, at, in.shapes, w.key)
	from, to := b.first[at]-b.first[0], b.first[at+1]-b.first[0]
	w.block.add(&b.ids[at], &n, int(to-from), shape, inline)
	ms := floorDiv(n.start, millisecond)
	for k := from; k < to; k++ {
		w.block.span(&b.spanIDs[k], b.starts[k], ms)
	}
	return w.added(&n, int(to-from))
}

// added counts a trace and writes the block if it is full.
func (w *edgesWriter) added(n *traceNumbers, spans int) error {
	w.traces++
	w.spans += uint32(spans)
	if n.spans > 0 {
		w.info.Traces++
		w.min, w.max = min(w.min, n.start), max(w.max, n.start)
	}
	if w.block.n == edgesBlockItems || w.block.nameBytes >= edgesBlockBytes {
		return w.flush()
	}
	return nil
}

// request notes that a trace of the block has a request of the key.
func (w *edgesWriter) request(key graph.Key) {
	w.requests = append(w.requests, requestRecord{requestPart(key), uint32(w.blocks[traceSection])})
}

// flush writes the block of traces, if there is one.
func (w *edgesWriter) flush() error {
	if w.block.n == 0 {
		return nil
	}
	w.out = w.block.append(w.out[:0])
	err := w.put(traceSection, w.block.first[:], w.block.n, w.spansOut)
	w.spansOut = w.spans
	w.block.reset()
	return err
}

// name returns the number of a summary's strings, which are in text then, plus one; 0
// if there are too many.
func (w *edgesWriter) name(s *graph.Summary) uint32 {
	w.text = appendNames(w.text[:0], s)
	if id, ok := w.nameAt[string(w.text)]; ok {
		return id + 1
	}
	if len(w.names) == maxNames || w.nameBytes+len(w.text) > maxNameBytes {
		return 0
	}
	id, text := uint32(len(w.names)), string(w.text)
	w.nameBytes += len(text)
	w.names, w.nameAt[text] = append(w.names, text), id
	return id + 1
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
