package segment

import (
	"bytes"
	"iter"
	"math"
	"slices"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// MergeSummaries joins what two places know of one trace. A true root stands for
// the trace before an earlier start, an earlier start before a lesser span id.
func MergeSummaries(a, b graph.Summary) graph.Summary {
	if b.Root != a.Root && b.Root || b.Root == a.Root && (b.RootStartUnixNano < a.RootStartUnixNano ||
		b.RootStartUnixNano == a.RootStartUnixNano && bytes.Compare(b.SpanID[:], a.SpanID[:]) < 0) {
		a, b = b, a
	}
	a.Batch = false // each may be, and what the other has not be one of its messages
	end := max(a.StartUnixNano+a.DurationNano, b.StartUnixNano+b.DurationNano)
	a.StartUnixNano = min(a.StartUnixNano, b.StartUnixNano)
	a.DurationNano = end - a.StartUnixNano
	a.Spans += b.Spans
	a.Errors += b.Errors
	a.Messages += b.Messages
	a.Jobs += b.Jobs
	a.Requests += b.Requests
	if a.Service == b.Service && !a.Caused && slices.ContainsFunc(b.Kept, func(k trace.Attribute) bool { return !a.Keeps(k.Key) }) {
		a.Kept = slices.Clone(a.Kept) // which the caller may have elsewhere
		for _, k := range b.Kept {
			a.KeepMore(k)
		}
	}
	return a
}

// MergeEdges makes one run at path of several, which stay as they are. What two
// of them know of one trace is joined, equal edges are kept once. It is durable
// like [Write]. A damaged input is a *[CorruptError], and nothing is written. It
// takes 4 bytes of memory for each span that the runs name and 16 for each trace.
func MergeEdges(path string, runs []*Edges, step Step) (EdgesInfo, error) {
	var m edgeMerge
	for _, e := range runs {
		r, err := e.reader()
		if err != nil {
			return EdgesInfo{}, err
		}
		m.inputs = append(m.inputs, &mergeInput{r: r, ordinals: make([]uint32, 0, e.footer.spans)})
		// Requests are found again from the traces; that they are whole is asked of all.
		for block := e.footer.from[requestSection]; block < e.footer.from[requestSection+1]; block++ {
			if _, err := e.load(block); err != nil {
				return EdgesInfo{}, err
			}
		}
	}
	return writeRun(path, step, func(w *edgesWriter) error {
		if err := m.traces(w); err != nil {
			return err
		}
		slices.SortFunc(m.causes, compareCauses)
		slices.SortFunc(m.ends, compareEnds)
		var failed error
		causes := []*cursor[causeRecord]{{next: fromSlice(m.causes)}}
		var effects []*cursor[effectRecord]
		ends := []*cursor[endRecord]{{next: fromSlice(m.ends)}}
		for _, in := range m.inputs {
			causes = append(causes, &cursor[causeRecord]{next: records(in, in.r.e.causes(), func(h *causeRecord) bool {
				return in.ordinal(&h.of) && (h.target == recordedNone || in.ordinal(&h.target))
			})})
			effects = append(effects, &cursor[effectRecord]{next: records(in, in.r.e.effects(), func(h *effectRecord) bool {
				return in.ordinal(&h.target) && in.ordinal(&h.of)
			})})
			ends = append(ends, &cursor[endRecord]{next: records(in, in.r.e.ends(), func(h *endRecord) bool {
				if !h.sender {
					return in.ordinal(&h.of)
				}
				if uint64(h.of) >= uint64(len(in.traces)) {
					return false
				}
				t := in.traces[h.of]
				h.of, h.start = t.ordinal, h.start+int64(t.later)
				return true
			})})
		}
		if err := w.edges(
			merge(causes, compareCauses, &failed), merge(effects, compareEffects, &failed), merge(ends, compareEnds, &failed)); err != nil {
			return err
		}
		return failed
	})
}

// edgeMerge is a merge of runs.
type edgeMerge struct {
	inputs []*mergeInput
	// ends are the halves that the summary of a trace spoke of in an input and does
	// not in the new run, since another span stands for the trace; causes are those
	// of them that are of the effect side.
	ends   []endRecord
	causes []causeRecord
}

// mergeInput walks the traces of a run.
type mergeInput struct {
	r        *edgeReader
	block    int
	b        *traceBlock
	at       int
	spans    uint32   // of the blocks so far
	ordinals []uint32 // in the new run, by that in this one
	traces   []mergedTrace

	names    []uint32 // in the new run, plus one, by those in this one; 0: not known
	shapes   []uint16 // in the new block, by those in b; 0: not known
	shapesOf int      // the new block
}

// mergedTrace says what became of a trace of an input.
type mergedTrace struct {
	ordinal uint32 // in the new run
	later   int32  // by how many milliseconds it began later than the new run says
}

// merged notes that the trace where the walk is becomes the next one that is written.
func (in *mergeInput) merged(w *edgesWriter, start int64) {
	later := floorDiv(in.b.sums[in.at].start, millisecond) - floorDiv(floorDiv(start, grain)*grain, millisecond)
	in.traces = append(in.traces, mergedTrace{w.traces, int32(max(math.MinInt32, min(later, math.MaxInt32)))})
}

// ordinal puts the new ordinal in the place of the old one; false: there is none.
func (in *mergeInput) ordinal(n *uint32) bool {
	if uint64(*n) >= uint64(len(in.ordinals)) {
		return false
	}
	*n = in.ordinals[*n]
	return true
}

// advance goes to the next trace; false at the end.
func (in *mergeInput) advance() (bool, error) {
	if in.b != nil {
		if in.at++; in.at < len(in.b.ids) {
			return true, nil
		}
		in.block++
	}
	for ; in.block < in.r.e.footer.from[traceSection+1]; in.block++ {
		b, err := in.r.decode(in.block)
		if err != nil {
			return false, err
		}
		if b.first[0] != in.spans {
			return false, in.r.e.corrupt(in.r.e.offset(in.block), errEdges)
		}
		in.spans = b.first[len(b.ids)]
		b.kept.uses.Store(math.MinInt32) // of few of its traces the texts are wanted
		if in.b, in.at, in.shapes = b, 0, in.shapes[:0]; len(b.ids) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// traces writes the traces of all inputs.
func (m *edgeMerge) traces(w *edgesWriter) error {
	return m.walk(func(id trace.ID, of []*mergeInput) error {
		if len(of) == 1 { // as nearly all are
			in := of[0]
			in.merged(w, in.b.sums[in.at].start)
			for i := range in.b.first[in.at+1] - in.b.first[in.at] {
				in.ordinals = append(in.ordinals, w.spans+i)
			}
			return w.copy(in)
		}
		t := edgeTrace{sum: graph.Summary{TraceID: id}}
		if err := m.join(w, &t, of); err != nil {
			return err
		}
		return w.trace(&t)
	})
}

// name returns the number of a trace's strings in the new run, plus one, or else the
// strings themselves.
func (in *mergeInput) name(w *edgesWriter, s *traceNumbers) (id uint32, inline string, err error) {
	if s.names > 0 && int(s.names) <= len(in.names) && in.names[s.names-1] > 0 {
		return in.names[s.names-1], "", nil
	}
	n, err := in.r.names(in.b, s)
	if err != nil {
		return 0, "", err
	}
	if id = w.name(&graph.Summary{Service: n.service, Name: n.name, Route: n.route, Environment: n.environment, Kind: n.kind, Root: n.root, Caused: n.caused, Run: n.run, Batch: n.batch}); id == 0 {
		return 0, string(w.text), nil
	}
	if s.names > 0 {
		if in.names == nil {
			in.names = make([]uint32, len(in.r.strings.names))
		}
		in.names[s.names-1] = id
	}
	return id, "", nil
}

// walk calls fn for each trace, in the order of ids, with the inputs that have it.
func (m *edgeMerge) walk(fn func(id trace.ID, of []*mergeInput) error) error {
	var open, of []*mergeInput
	for _, in := range m.inputs {
		ok, err := in.advance()
		if err != nil {
			return err
		}
		if ok {
			open = append(open, in)
		}
	}
	for len(open) > 0 {
		least := open[0].b.ids[open[0].at]
		of = append(of[:0], open[0])
		for _, in := range open[1:] {
			switch id := &in.b.ids[in.at]; compareIDs(id, &least) {
			case -1:
				least = *id
				of = append(of[:0], in)
			case 0:
				of = append(of, in)
			}
		}
		if err := fn(least, of); err != nil {
			return err
		}
		for _, in := range of {
			ok, err := in.advance()
			if err != nil {
				return err
			}
			if !ok {
				open = slices.DeleteFunc(open, func(x *mergeInput) bool { return x == in })
			}
		}
	}
	return nil
}

// join makes one trace of what several inputs know of it.
func (m *edgeMerge) join(w *edgesWriter, t *edgeTrace, of []*mergeInput) error {
	var some bool
	start := int64(0)
	for _, in := range of {
		var s graph.Summary
		ok, err := in.r.summary(in.b, in.at, &s)
		if err != nil {
			return err
		}
		switch {
		case !ok:
			if start == 0 {
				start = in.b.sums[in.at].start
			}
		case !some:
			t.sum, some = s, true
		default:
			t.sum = MergeSummaries(t.sum, s)
		}
	}
	if !some {
		t.sum.StartUnixNano = start
	}
	for _, in := range of {
		in.merged(w, t.sum.StartUnixNano)
	}
	for _, in := range of {
		for k := in.b.first[in.at] - in.b.first[0]; k < in.b.first[in.at+1]-in.b.first[0]; k++ {
			t.spans = append(t.spans, edgeSpan{in.b.spanIDs[k], in.b.starts[k]})
		}
	}
	compare := func(a, b edgeSpan) int { return bytes.Compare(a.id[:], b.id[:]) }
	slices.SortFunc(t.spans, compare)
	out := t.spans[:0]
	for _, s := range t.spans {
		if n := len(out); n == 0 || out[n-1].id != s.id {
			out = append(out, s)
		} else if s.start != unknownStart {
			out[n-1].known(s.start)
		}
	}
	t.spans = out
	ordinal := func(id trace.SpanID) uint32 {
		i, _ := slices.BinarySearchFunc(t.spans, edgeSpan{id: id}, compare)
		return w.spans + uint32(i)
	}
	for _, in := range of {
		for k := in.b.first[in.at] - in.b.first[0]; k < in.b.first[in.at+1]-in.b.first[0]; k++ {
			in.ordinals = append(in.ordinals, ordinal(in.b.spanIDs[k]))
		}
		h, ok := in.b.request(in.at)
		if !ok {
			continue
		}
		if q := requestOf(&t.sum, &h); q != 0 && (t.request == 0 || t.request == q) {
			t.request, t.key = q, h.Key
			continue
		}
		at := ordinal(h.Of.SpanID)
		m.ends = append(m.ends, endRecord{key: h.Key, of: at, side: uint8(h.Side), rule: uint8(h.Rule)})
		if h.Side&graph.EffectSide != 0 {
			m.causes = append(m.causes, causeRecord{of: at, target: recordedNone, key: h.Key, side: uint8(h.Side), rule: uint8(h.Rule)})
		}
	}
	return nil
}

// fromSlice yields records that are in order.
func fromSlice[T any](list []T) func() (T, bool, error) {
	return func() (rec T, ok bool, err error) {
		if len(list) == 0 {
			return rec, false, nil
		}
		rec, list = list[0], list[1:]
		return rec, true, nil
	}
}

// records yields those of a section of a run, as change makes them anew; it
// reports false for what cannot be.
func records[T any](in *mergeInput, s edgeSection[T], change func(*T) bool) func() (T, bool, error) {
	var list []T
	block := in.r.e.footer.from[s.which]
	return func() (rec T, ok bool, err error) {
		for len(list) == 0 {
			if block == in.r.e.footer.from[s.which+1] {
				return rec, false, nil
			}
			raw, err := in.r.e.load(block)
			if err != nil {
				return rec, false, err
			}
			if list, err = s.decode(raw); err != nil {
				return rec, false, in.r.e.corrupt(in.r.e.offset(block), err)
			}
			block++
		}
		rec, list = list[0], list[1:]
		if !change(&rec) {
			return rec, false, in.r.e.corrupt(-1, errEdges)
		}
		return rec, true, nil
	}
}

// cursor walks records.
type cursor[T any] struct {
	next func() (T, bool, error)
	at   T
}

// merge yields the records of all cursors in order, of equal ones one. It stops early
// at an error, which it leaves in failed.
func merge[T any](cursors []*cursor[T], compare func(a, b T) int, failed *error) iter.Seq[T] {
	return func(yield func(T) bool) {
		var heap []*cursor[T] // the least on top
		// sink moves the cursor at i down to its place.
		sink := func(i int) {
			c := heap[i]
			for {
				child := 2*i + 1
				if child >= len(heap) {
					break
				}
				if child+1 < len(heap) && compare(heap[child+1].at, heap[child].at) < 0 {
					child++
				}
				if compare(c.at, heap[child].at) <= 0 {
					break
				}
				heap[i] = heap[child]
				i = child
			}
			heap[i] = c
		}
		// advance reports whether the cursor has another record.
		advance := func(c *cursor[T]) (ok bool) {
			var err error
			if c.at, ok, err = c.next(); err != nil {
				*failed = err
			}
			return ok && err == nil
		}
		for _, c := range cursors {
			if advance(c) {
				heap = append(heap, c)
			}
		}
		for i := len(heap)/2 - 1; i >= 0; i-- {
			sink(i)
		}
		var last T
		for some := false; len(heap) > 0 && *failed == nil; {
			top := heap[0]
			if !some || compare(top.at, last) != 0 {
				if last, some = top.at, true; !yield(last) {
					return
				}
			}
			if !advance(top) {
				heap[0] = heap[len(heap)-1]
				heap = heap[:len(heap)-1]
			}
			if len(heap) > 1 {
				sink(0)
			}
		}
	}
}
