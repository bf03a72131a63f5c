package segment

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// Blocks of a run of edges, see edges.go. A block is two parts: bytes that no
// compression makes less, such as ids, and a zstd frame of numbers. Each column
// stands for itself in one of them, element after element; unless said otherwise
// it is of uvarints.

var errEdges = errors.New("run of edges is damaged")

const (
	// edgesBlockItems is how many records a block has: what has to be read and
	// unpacked for one of them.
	edgesBlockItems = 256
	// edgesBlockBytes is what the names in a block come to at most before its last
	// record.
	edgesBlockBytes = 1 << 20
	// maxEdgeBlockBytes bounds what a block may become when it is unpacked: the
	// strings of its last record come from one message of the log.
	maxEdgeBlockBytes = 64 << 20
	// maxKept bounds the attributes that a summary keeps.
	maxKept = 200
	// microsecond is the grain of the times in a run.
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
}

// edgeSpan is a span that stands at the end of an edge, or for its trace. Its
// ordinal in the run is what edges name it by.
type edgeSpan struct {
	id    trace.SpanID
	start int64 // Unix milliseconds; unknownStart where only other spans name it
}

const unknownStart = math.MinInt64

// half returns the half that request speaks of.
func (t *edgeTrace) half() (h graph.Half, ok bool) {
	if t.request == 0 {
		return h, false
	}
	h = graph.Half{Of: trace.Ref{TraceID: t.sum.TraceID, SpanID: t.sum.SpanID}, Side: graph.Side(t.request & 3), Rule: graph.RuleID(t.request >> 2 & 15),
		Key: graph.RequestKey(t.sum.Kept[t.request>>6].Value.Str)}
	h.StartUnixNano = floorDiv(t.sum.RootStartUnixNano, millisecond) * millisecond
	return h, true
}

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
	ids      []trace.ID
	first    []uint32 // ordinal of the first span, and of the one after the last
	spanIDs  []trace.SpanID
	starts   []int64 // of spans, Unix milliseconds
	sums     []traceNumbers
	names    []string // what is not in the run's dictionary
	keptFrom []uint32 // into kept; one more than there are traces
	kept     []trace.Attribute
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
	n := int64(len(b.ids))*(16+4+80+4) + int64(len(b.spanIDs))*16 + int64(len(b.kept))*56
	for _, s := range b.names {
		n += int64(len(s)) + 16
	}
	for i := range b.kept {
		n += int64(len(b.kept[i].Value.Str))
	}
	return n + entryBytes
}

// names are the strings of a summary, which many share.
type names struct {
	service, name, route, environment string
	kind                              trace.Kind
	root, caused                      bool
}

func appendNames(dst []byte, s *graph.Summary) []byte {
	kind := byte(s.Kind) & kindMask
	if s.Root {
		kind |= rootBit
	}
	if s.Caused {
		kind |= causedBit
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
	kindMask  = 0x3f
)

func readNames(text string) (n names, err error) {
	if text == "" {
		return n, errEdges
	}
	n.kind, n.root, n.caused = trace.Kind(text[0]&kindMask), text[0]&rootBit != 0, text[0]&causedBit != 0
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

// columns are the two parts of a block that is written.
type columns struct{ plain, packed []byte }

func (c *columns) uvarint(n uint64) { c.packed = binary.AppendUvarint(c.packed, n) }
func (c *columns) text(s string) {
	c.uvarint(uint64(len(s)))
	c.packed = append(c.packed, s...)
}

// encode returns the block.
func (c *columns) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.plain)))
	return edgesEncoder.EncodeAll(c.packed, append(dst, c.plain...))
}

// colReader reads columns. After something that cannot be, bad is set and the rest
// is zero.
type colReader struct {
	rest []byte
	bad  bool
}

func (r *colReader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *colReader) varint() int64 {
	return unzigzag(r.uvarint())
}

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// count reads a number that may be at most limit.
func (r *colReader) count(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(v)
}

func (r *colReader) u32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.bad, r.rest = true, nil
		return 0
	}
	return uint32(v)
}

func (r *colReader) bytes(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// readers are the two parts of a block that is read.
func readers(block []byte) (plain, packed colReader, err error) {
	r := colReader{rest: block}
	n := r.count(len(block))
	raw := r.bytes(n)
	if r.bad {
		return plain, packed, errEdges
	}
	unpacked, err := edgesDecoder.DecodeAll(r.rest, nil)
	if err != nil {
		return plain, packed, err
	}
	return colReader{rest: raw}, colReader{rest: unpacked}, nil
}

// width is how many bytes numbers up to n take.
func width(n uint64) int {
	w := 1
	for ; n > 0xff; n >>= 8 {
		w++
	}
	return w
}

func appendFixed(dst []byte, n uint64, w int) []byte {
	for range w {
		dst = append(dst, byte(n))
		n >>= 8
	}
	return dst
}

// fixed returns number i of those of w bytes in b.
func fixed(b []byte, i, w int) (n uint64) {
	for k := w - 1; k >= 0; k-- {
		n = n<<8 | uint64(b[i*w+k])
	}
	return n
}

// encodeTraces writes traces, which are in order. Those whose strings nameID knows
// have its number.
func encodeTraces(dst []byte, traces []edgeTrace, nameID func(*graph.Summary) (uint32, bool), keyID func(string) uint32) []byte {
	var c columns
	c.uvarint(uint64(len(traces)))
	// Ids: the upper 4 bytes as steps, which are small, the others as they are.
	last := uint32(0)
	for i := range traces {
		id := &traces[i].sum.TraceID
		hi := binary.BigEndian.Uint32(id[:])
		c.uvarint(uint64(hi - last))
		last = hi
		c.plain = append(c.plain, id[4:]...)
	}
	least := int64(math.MaxInt64)
	most := int64(math.MinInt64)
	micros := func(ns int64) int64 { return floorDiv(ns, microsecond) }
	for i := range traces {
		least, most = min(least, micros(traces[i].sum.StartUnixNano)), max(most, micros(traces[i].sum.StartUnixNano))
	}
	c.uvarint(zigzag(least))
	w := width(uint64(most - least))
	c.uvarint(uint64(w))
	for i := range traces {
		c.plain = appendFixed(c.plain, uint64(micros(traces[i].sum.StartUnixNano)-least), w)
	}
	for i := range traces {
		c.uvarint(uint64(len(traces[i].spans)))
	}
	for i := range traces {
		t := &traces[i]
		start := floorDiv(t.sum.StartUnixNano, millisecond)
		for _, s := range t.spans {
			c.plain = append(c.plain, s.id[:]...)
			if s.start == unknownStart {
				c.uvarint(0)
			} else {
				c.uvarint(zigzag(s.start-start) + 1)
			}
		}
	}
	for i := range traces {
		c.uvarint(uint64(traces[i].sum.Spans))
	}
	for i := range traces {
		c.uvarint(uint64(traces[i].sum.Errors))
	}
	for i := range traces {
		s := &traces[i].sum
		c.uvarint(uint64(s.Messages))
		c.uvarint(uint64(s.Jobs))
		c.uvarint(uint64(s.Requests))
	}
	for i := range traces {
		c.uvarint(uint64(traces[i].request))
	}
	for i := range traces {
		if t := &traces[i]; t.sum.Spans > 0 {
			c.uvarint(uint64(max(0, t.span(t.sum.SpanID))))
			c.uvarint(zigzag(micros(t.sum.RootStartUnixNano) - micros(t.sum.StartUnixNano)))
		}
	}
	for i := range traces {
		if s := &traces[i].sum; s.Spans > 0 {
			c.plain = binary.AppendUvarint(c.plain, uint64(max(0, s.DurationNano))/microsecond)
		}
	}
	for i := range traces {
		s := &traces[i].sum
		if s.Spans == 0 {
			continue
		}
		if id, ok := nameID(s); ok {
			c.uvarint(uint64(id) + 1)
		} else {
			c.uvarint(0)
			c.text(string(appendNames(nil, s)))
		}
	}
	// What is kept: hexadecimal digits apart from the rest of the text, of which
	// there are few sorts.
	var forms []string
	formOf := map[string]int{}
	var form []byte
	var digits []byte
	for i := range traces {
		c.uvarint(uint64(len(traces[i].sum.Kept)))
		for _, a := range traces[i].sum.Kept {
			key := keyID(a.Key)
			form = form[:0]
			for k := 0; k < len(a.Value.Str); k++ {
				ch := a.Value.Str[k]
				if d := strings.IndexByte(hexDigits, ch); d >= 0 {
					digits = append(digits, byte(d))
					ch = digitMark
				} else if ch == digitMark || ch == digitEscape {
					form = append(form, digitEscape)
				}
				form = append(form, ch)
			}
			id, ok := formOf[string(form)]
			if !ok {
				id = len(forms)
				formOf[string(form)] = id
				forms = append(forms, string(form))
			}
			c.uvarint(uint64(key))
			c.uvarint(uint64(id))
		}
	}
	c.uvarint(uint64(len(forms)))
	for _, f := range forms {
		c.text(f)
	}
	for i := 0; i < len(digits); i += 2 {
		d := digits[i] << 4
		if i+1 < len(digits) {
			d |= digits[i+1]
		}
		c.plain = append(c.plain, d)
	}
	return c.encode(dst)
}

const (
	hexDigits   = "0123456789abcdef"
	digitMark   = 0 // a digit in a form
	digitEscape = 1 // the next byte stands for itself
)

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

// decodeTraces reads a block whose first span has the ordinal.
func decodeTraces(block []byte, ordinal uint32, keys []string) (*traceBlock, error) {
	plain, r, err := readers(block)
	if err != nil {
		return nil, err
	}
	n := r.count(edgesBlockItems)
	b := &traceBlock{ids: make([]trace.ID, n), first: make([]uint32, n+1), sums: make([]traceNumbers, n), keptFrom: make([]uint32, n+1)}
	last := uint32(0)
	raw := plain.bytes(12 * n)
	if plain.bad {
		return nil, errEdges
	}
	for i := range b.ids {
		last += r.u32()
		binary.BigEndian.PutUint32(b.ids[i][:], last)
		copy(b.ids[i][4:], raw[12*i:])
	}
	least := r.varint()
	w := r.count(8)
	raw = plain.bytes(w * n)
	if plain.bad || r.bad {
		return nil, errEdges
	}
	for i := range b.sums {
		b.sums[i].start = (least + int64(fixed(raw, i, w))) * microsecond
	}
	spans := 0
	for i := range b.ids {
		b.first[i] = ordinal + uint32(spans)
		spans += r.count(len(plain.rest) / 8)
	}
	b.first[n] = ordinal + uint32(spans)
	raw = plain.bytes(8 * spans)
	if plain.bad || r.bad {
		return nil, errEdges
	}
	b.spanIDs, b.starts = make([]trace.SpanID, spans), make([]int64, spans)
	for i := range b.ids {
		start := floorDiv(b.sums[i].start, millisecond)
		for k := b.first[i] - ordinal; k < b.first[i+1]-ordinal; k++ {
			b.spanIDs[k] = trace.SpanID(raw[8*k : 8*k+8])
			if v := r.uvarint(); v == 0 {
				b.starts[k] = unknownStart
			} else {
				b.starts[k] = start + unzigzag(v-1)
			}
		}
	}
	for i := range b.sums {
		b.sums[i].spans = r.u32()
	}
	for i := range b.sums {
		b.sums[i].errors = r.u32()
	}
	for i := range b.sums {
		b.sums[i].messages, b.sums[i].jobs, b.sums[i].requests = r.u32(), r.u32(), r.u32()
	}
	for i := range b.sums {
		b.sums[i].request = r.u32()
	}
	for i := range b.sums {
		if s := &b.sums[i]; s.spans > 0 {
			if s.root = r.u32(); s.root >= b.first[i+1]-b.first[i] {
				return nil, errEdges
			}
			s.rootStart = s.start + r.varint()*microsecond
		}
	}
	for i := range b.sums {
		if s := &b.sums[i]; s.spans > 0 {
			s.duration = int64(plain.uvarint() * microsecond)
		}
	}
	for i := range b.sums {
		s := &b.sums[i]
		if s.spans == 0 {
			continue
		}
		if s.names = r.u32(); s.names == 0 {
			s.inline = uint32(len(b.names))
			b.names = append(b.names, string(r.bytes(r.count(len(r.rest)))))
		}
	}
	var values []keptValue
	for i := range b.ids {
		b.keptFrom[i] = uint32(len(values))
		for range r.count(maxKept) {
			values = append(values, keptValue{r.count(len(keys) - 1), r.u32()})
		}
	}
	b.keptFrom[n] = uint32(len(values))
	forms := make([]string, r.count(len(r.rest)))
	for i := range forms {
		forms[i] = string(r.bytes(r.count(2 * graph.MaxKeptBytes)))
	}
	if r.bad || plain.bad || len(r.rest) > 0 || !b.readKept(values, forms, plain.rest, keys) {
		return nil, errEdges
	}
	for i := range b.sums {
		if q := b.sums[i].request; q != 0 && (b.sums[i].spans == 0 || q>>6 >= b.keptFrom[i+1]-b.keptFrom[i]) {
			return nil, errEdges
		}
	}
	return b, nil
}

// keptValue is a value among what is kept: its key and its form, both numbers.
type keptValue struct {
	key  int
	form uint32
}

// readKept puts values together again out of their forms and all digits. The
// texts share memory.
func (b *traceBlock) readKept(values []keptValue, forms []string, digits []byte, keys []string) bool {
	if len(values) == 0 {
		return len(digits) == 0
	}
	ends := make([]int, len(values))
	var text []byte
	at := 0
	for i, v := range values {
		if v.form >= uint32(len(forms)) {
			return false
		}
		form := forms[v.form]
		for k := 0; k < len(form); k++ {
			ch := form[k]
			switch ch {
			case digitMark:
				if at>>1 >= len(digits) {
					return false
				}
				ch = hexDigits[digits[at>>1]>>(4*(1-at&1))&15]
				at++
			case digitEscape:
				if k++; k == len(form) {
					return false
				}
				ch = form[k]
			}
			text = append(text, ch)
		}
		ends[i] = len(text)
	}
	all := string(text)
	b.kept = make([]trace.Attribute, len(values))
	from := 0
	for i, v := range values {
		b.kept[i] = trace.Attribute{Key: keys[v.key], Value: trace.String(all[from:ends[i]])}
		from = ends[i]
	}
	return len(digits) == (at+1)/2
}
