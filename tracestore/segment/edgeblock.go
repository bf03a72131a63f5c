package segment

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
	"sync"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// Blocks of traces of a run of edges, see edges.go and edgebits.go.

var errEdges = errors.New("run of edges is damaged")

const (
	// edgesBlockItems is how many records a block has: what has to be read and
	// unpacked for one of them. The codes of a block's columns take some 300 bytes.
	edgesBlockItems = 1024
	// edgesBlockBytes is what the names in a block come to at most before its last
	// record.
	edgesBlockBytes = 1 << 20
	// maxEdgeBlockBytes bounds what a block may become when it is unpacked: the
	// strings of its last record come from one message of the log.
	maxEdgeBlockBytes = 64 << 20
	// maxKept bounds the attributes that a summary keeps.
	maxKept = 200
	// grain is what the starts of traces are rounded down to in a run.
	grain       = 100 * microsecond
	microsecond = 1000
	millisecond = 1_000_000
)

// edgeTrace is a trace of a run: its summary, which has no spans if only other
// traces' edges name it, and those of its spans that have edges, by id.
type edgeTrace struct {
	sum   graph.Summary
	spans []edgeSpan
	// request says that the span of the summary has a half whose key is that of
	// the request id among what is kept: it is not stored a second time. 0: none,
	// else the side, from bit 2 on the rule, and from bit 6 on the place in Kept.
	request uint32
	key     graph.Key // of it
}

// edgeSpan is a span that stands at the end of an edge, or for its trace. Its
// ordinal in the run is what edges name it by.
type edgeSpan struct {
	id    trace.SpanID
	start int64 // Unix milliseconds; unknownStart where only other spans name it
}

const unknownStart = math.MinInt64

// requestOf is request for a half, 0 if it has to be stored.
func requestOf(sum *graph.Summary, h *graph.Half) uint32 {
	if h.Rule.Kind() != graph.KindRequestID || h.Of.SpanID != sum.SpanID || sum.Spans == 0 || h.Dropped != 0 {
		return 0
	}
	for i := range sum.Kept {
		if graph.RequestKey(sum.Kept[i].Value.Str) == h.Key {
			return uint32(h.Side) | uint32(h.Rule)<<2 | uint32(i)<<6
		}
	}
	return 0
}

// span returns the position of a span, or -1.
func (t *edgeTrace) span(id trace.SpanID) int {
	return slices.IndexFunc(t.spans, func(s edgeSpan) bool { return s.id == id })
}

// traceBlock is a block of traces, unpacked.
type traceBlock struct {
	at      uint32 // ordinal of the first trace
	ids     []trace.ID
	first   []uint32 // ordinal of the first span, and of the one after the last
	spanIDs []trace.SpanID
	starts  []int64 // of spans, Unix milliseconds
	sums    []traceNumbers
	names   []string // what is not in the run's dictionary
	kept    keptBlock

	byKey    sync.Once
	requests []requestAt // by key
}

// requestAt is the key of a trace's request.
type requestAt struct {
	key graph.Key
	at  int
}

// traceNumbers is a summary without its strings.
type traceNumbers struct {
	start, duration, rootStart              int64 // nanoseconds
	spans, errors, messages, jobs, requests uint32
	request                                 uint32 // as in edgeTrace
	names                                   uint32 // in the run's dictionary, plus one; 0: in traceBlock.names
	inline                                  uint32 // position there
	root                                    uint32 // position of the root among the spans of the trace
}

func (b *traceBlock) bytes() int64 {
	n := int64(len(b.ids))*(16+4+80+16) + int64(len(b.spanIDs))*16 + b.kept.bytes()
	for _, s := range b.names {
		n += int64(len(s)) + 16
	}
	return n + entryBytes
}

// names are the strings of a summary, which many share.
type names struct {
	service, name, route, environment string
	kind                              trace.Kind
	root, caused, run, batch          bool
}

func appendNames(dst []byte, s *graph.Summary) []byte {
	kind := byte(s.Kind) & kindMask
	if s.Root {
		kind |= rootBit
	}
	if s.Caused {
		kind |= causedBit
	}
	if s.Run {
		kind |= runBit
	}
	if s.Batch {
		kind |= batchBit
	}
	dst = append(dst, kind)
	for _, t := range [...]string{s.Service, s.Name, s.Route, s.Environment} {
		dst = binary.AppendUvarint(dst, uint64(len(t)))
		dst = append(dst, t...)
	}
	return dst
}

const (
	rootBit   = 0x80
	causedBit = 0x40
	runBit    = 0x20
	batchBit  = 0x10
	kindMask  = 0x0f
)

func readNames(text string) (n names, err error) {
	if text == "" {
		return n, errEdges
	}
	n.kind, n.root = trace.Kind(text[0]&kindMask), text[0]&rootBit != 0
	n.caused, n.run, n.batch = text[0]&causedBit != 0, text[0]&runBit != 0, text[0]&batchBit != 0
	r := colReader{rest: []byte(text[1:])}
	at := 1
	for _, t := range [...]*string{&n.service, &n.name, &n.route, &n.environment} {
		before := len(r.rest)
		l := r.count(len(text))
		at += before - len(r.rest)
		if r.bad || l > len(r.rest) {
			return n, errEdges
		}
		*t = text[at : at+l]
		r.rest, at = r.rest[l:], at+l
	}
	return n, nil
}

// A duration is kept in microseconds of which the upper 11 bits are left, so that it
// is wrong by at most 0.05 %: a code has the bits after the first one, and above them
// how many more there are.
const durationBits = 10

// durationCode rounds a duration to the nearest code.
func durationCode(ns int64) uint64 {
	us := uint64(max(0, ns)) / microsecond
	e := bits.Len64(us >> (durationBits + 1))
	if e == 0 {
		return us
	}
	m := (us + 1<<(e-1)) >> e // at most 1 << (durationBits + 1)
	return uint64(e)<<durationBits + m
}

// durationOf is the duration of a code.
func durationOf(code uint64) int64 {
	e := int(code>>durationBits) - 1
	if e < 1 {
		return int64(code) * microsecond
	}
	us := (1<<durationBits | code&(1<<durationBits-1)) << e
	return int64(min(us, math.MaxInt64/microsecond) * microsecond)
}

// The columns of a block of traces. Those up to the digits are stored as they are.
const (
	traceIDSteps    = iota // the upper 5 bytes of ids, as steps
	traceIDs               // the other 11
	traceStarts            // grains after the least one, each of the same number of bits
	traceSpanIDs           // 8 bytes
	traceDurations         // the lower durationBits bits of the codes
	traceDigits            // see keptWriter
	traceHead              // traces, the first step, least start in grains, width, then the shapes of what is kept
	traceCounts            // of spans with edges
	traceSpanStarts        // milliseconds after the trace's, zigzag, plus one; 0 is unknown
	traceSpans
	traceErrors
	traceMessages
	traceJobs
	traceRequests
	traceRequest
	traceRoots      // positions
	traceRootStarts // grains after the trace's, zigzag
	traceExponents  // of durations
	traceNameLow    // number in the dictionary plus one, lower 8 bits, a byte each
	traceNameHigh   // the rest
	traceNames      // texts of those without a number
	traceShapes     // of what is kept
	traceColumns
	traceRaw = traceDigits + 1
)

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// decodeTraces reads a block whose first trace and first span have these ordinals.
func decodeTraces(block []byte, first, span uint32, keys []string) (*traceBlock, error) {
	b := &traceBlock{at: first}
	err := decodeColumns(block, traceColumns, func(c []colReader) error { return b.decode(c, span, keys) })
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (b *traceBlock) decode(c []colReader, ordinal uint32, keys []string) error {
	head := &c[traceHead]
	n := head.count(edgesBlockItems)
	b.ids, b.first, b.sums = make([]trace.ID, n), make([]uint32, n+1), make([]traceNumbers, n)
	steps := bitReader{b: c[traceIDSteps].all()}
	raw := c[traceIDs].bytes(11 * n)
	if c[traceIDs].bad {
		return errEdges
	}
	steps.steps(head, n, func(i int, v uint64) {
		binary.BigEndian.PutUint64(b.ids[i][:], v<<24)
		copy(b.ids[i][5:], raw[11*i:])
	})
	least, width := head.varint(), head.count(64)
	starts, durations := bitReader{b: c[traceStarts].all()}, bitReader{b: c[traceDurations].all()}
	b.kept.readShapes(head, keys)
	b.kept.digits = slices.Clone(c[traceDigits].all())
	if head.bad {
		return errEdges
	}
	b.kept.place(&c[traceShapes], n)
	spans := 0
	for i := range b.ids {
		b.first[i] = ordinal + uint32(spans)
		spans += c[traceCounts].count(len(c[traceSpanIDs].rest) / 8)
	}
	b.first[n] = ordinal + uint32(spans)
	raw = c[traceSpanIDs].bytes(8 * spans)
	if c[traceSpanIDs].bad || c[traceShapes].bad || c[traceCounts].bad {
		return errEdges
	}
	b.spanIDs, b.starts = make([]trace.SpanID, spans), make([]int64, spans)
	for i := range b.sums {
		s := &b.sums[i]
		s.start = (least + int64(starts.take(width))) * grain
		ms := floorDiv(s.start, millisecond)
		for k := b.first[i] - ordinal; k < b.first[i+1]-ordinal; k++ {
			b.spanIDs[k] = trace.SpanID(raw[8*k : 8*k+8])
			if v := c[traceSpanStarts].uvarint(); v == 0 {
				b.starts[k] = unknownStart
			} else {
				b.starts[k] = ms + unzigzag(v-1)
			}
		}
		s.spans, s.errors = c[traceSpans].u32(), c[traceErrors].u32()
		s.messages, s.jobs, s.requests = c[traceMessages].u32(), c[traceJobs].u32(), c[traceRequests].u32()
		s.request = c[traceRequest].u32()
		if s.request != 0 && (s.spans == 0 || s.request>>6 >= uint32(b.kept.count(i))) {
			return errEdges
		}
		if s.spans == 0 {
			continue
		}
		if s.root = c[traceRoots].u32(); s.root >= b.first[i+1]-b.first[i] {
			return errEdges
		}
		s.rootStart = s.start + c[traceRootStarts].varint()*grain
		s.duration = durationOf(uint64(c[traceExponents].count(64))<<durationBits | durations.take(durationBits))
		low := c[traceNameLow].bytes(1)
		if low == nil {
			return errEdges
		}
		if s.names = uint32(c[traceNameHigh].count(maxNames))<<8 | uint32(low[0]); s.names == 0 {
			s.inline = uint32(len(b.names))
			b.names = append(b.names, c[traceNames].text(maxEdgeBlockBytes))
		}
	}
	if !steps.whole() || !starts.whole() || !durations.whole() {
		return errEdges
	}
	return nil
}

// byRequest returns where in b.requests, which it fills in first, those with the key
// begin, if there are any.
func (b *traceBlock) byRequest(key graph.Key) (from int) {
	b.byKey.Do(func() {
		b.kept.all()
		for i := range b.sums {
			if h, ok := b.request(i); ok {
				b.requests = append(b.requests, requestAt{h.Key, i})
			}
		}
		slices.SortFunc(b.requests, func(x, y requestAt) int {
			if x.key != y.key {
				if x.key < y.key {
					return -1
				}
				return 1
			}
			return x.at - y.at
		})
	})
	from, _ = slices.BinarySearchFunc(b.requests, key, func(r requestAt, key graph.Key) int {
		if r.key < key {
			return -1
		}
		if r.key > key {
			return 1
		}
		return 0
	})
	return from
}
