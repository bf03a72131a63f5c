package segment

import (
	"context"
	"slices"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// Edges are found again from the rows that are stored: [FindEdges] makes a run of
// each segment, and [CorrectEdges] takes from the runs that are there what these
// say anew.

// FindEdges makes a run at path of the rows of a segment, as a flush does. It adds to
// runs those of the segment.
func FindEdges(ctx context.Context, path string, f *File, rules *graph.Rules, kept []string, runs *graph.Runs, step Step) (EdgesInfo, error) {
	blocks, err := f.Blocks()
	if err != nil {
		return EdgesInfo{}, err
	}
	sums := map[trace.ID]*graph.Summing{}
	var halves []graph.Half
	var spans []trace.Span
	for _, b := range blocks {
		const chunk = 2048 // rows in memory, a few kB each
		for from := 0; from < b.Rows(); from += chunk {
			if err := ctx.Err(); err != nil {
				return EdgesInfo{}, err
			}
			rows := make([]int, min(chunk, b.Rows()-from))
			for i := range rows {
				rows[i] = from + i
			}
			if spans, err = b.Spans(rows, spans[:0]); err != nil {
				return EdgesInfo{}, err
			}
			for i := range spans {
				s := &spans[i]
				halves = rules.Halves(halves, s)
				if !graph.Counts(s) {
					continue
				}
				sum := sums[s.TraceID]
				if sum == nil {
					sum = &graph.Summing{}
					sums[s.TraceID] = sum
				}
				sum.Add(s, kept, runs)
			}
		}
	}
	causes := map[trace.ID][]graph.Half{}
	for i := range halves {
		id := halves[i].Of.TraceID
		if sum := sums[id]; halves[i].Side&graph.EffectSide != 0 && sum != nil && sum.Receives() {
			causes[id] = append(causes[id], halves[i])
		}
	}
	list := make([]graph.Summary, 0, len(sums))
	for id, s := range sums {
		s.Settle(causes[id])
		list = append(list, s.Summary)
	}
	return WriteEdges(path, halves, list, step)
}

// Correction says what of a run goes: traces by their position in the run.
type Correction struct {
	// forget: the summary and the edges of the spans; of a fresh run, the summary.
	forget []bool
	some   bool
}

// CorrectEdges compares runs with fresh ones that were made of the rows that are
// stored. Where the fresh ones know all spans of a trace they say all about it,
// and the others forget it; else some of its spans are gone, and their edges and
// what the summary says of them stay: then the fresh runs add edges only.
func CorrectEdges(ctx context.Context, runs, fresh []*Edges) (old, anew []Correction, err error) {
	var m edgeMerge
	for _, e := range slices.Concat(runs, fresh) {
		r, err := e.reader()
		if err != nil {
			return nil, nil, err
		}
		m.inputs = append(m.inputs, &mergeInput{r: r})
	}
	out := make([]Correction, len(m.inputs))
	n := 0
	err = m.walk(func(id trace.ID, of []*mergeInput) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var was, is uint64
		for _, in := range of {
			if slices.Index(m.inputs, in) < len(runs) {
				was += uint64(in.b.sums[in.at].spans)
			} else {
				is += uint64(in.b.sums[in.at].spans)
			}
		}
		for i, in := range m.inputs {
			forget := slices.Contains(of, in) && ((i < len(runs)) == (is >= was) && (is > 0 || i >= len(runs)))
			if slices.Contains(of, in) {
				out[i].forget = append(out[i].forget, forget)
				out[i].some = out[i].some || forget
			}
		}
		return nil
	})
	return out[:len(runs)], out[len(runs):], err
}

// Rewrite makes a run at path of another one without what a correction takes;
// fresh says that the edges stay. False: nothing is left, and no file made.
func (e *Edges) Rewrite(path string, c Correction, fresh bool, step Step) (info EdgesInfo, some bool, err error) {
	r, err := e.reader()
	if err != nil {
		return info, false, err
	}
	// Which spans still have edges, or stand for their trace.
	used := make([]bool, e.footer.spans)
	gone := make([]bool, e.footer.spans) // spans whose edges are forgotten
	usedTraces := make([]bool, len(c.forget))
	n, spans := 0, uint32(0)
	for block := range e.footer.from[traceSection+1] {
		b, err := r.decode(block)
		if err != nil {
			return info, false, err
		}
		if b.first[0] != spans || b.first[len(b.ids)] > e.footer.spans || n+len(b.ids) > len(c.forget) {
			return info, false, e.corrupt(e.offset(block), errEdges)
		}
		spans = b.first[len(b.ids)]
		for i := range b.ids {
			forget := c.forget[n]
			n++
			for k := b.first[i]; k < b.first[i+1]; k++ {
				gone[k] = forget && !fresh
			}
			if !forget && b.sums[i].spans > 0 {
				used[b.first[i]+b.sums[i].root] = true
				some = true
			}
			if q, ok := b.request(i); ok && forget && fresh {
				used[b.first[i]+b.sums[i].root] = q.Side != 0
			}
		}
	}
	in := &mergeInput{r: r}
	var causes []causeRecord
	var effects []effectRecord
	var ends []endRecord
	for rec, err := range each(records(in, e.causes(), func(h *causeRecord) bool { return h.of < spans && (h.target == recordedNone || h.target < spans) })) {
		if err != nil {
			return info, false, err
		}
		if !gone[rec.of] {
			used[rec.of], some = true, true
			if rec.target != recordedNone {
				used[rec.target] = true
			}
			causes = append(causes, rec)
		}
	}
	for rec, err := range each(records(in, e.effects(), func(h *effectRecord) bool { return h.of < spans && h.target < spans })) {
		if err != nil {
			return info, false, err
		}
		if !gone[rec.of] {
			effects = append(effects, rec)
		}
	}
	for rec, err := range each(records(in, e.ends(), func(h *endRecord) bool { return !h.sender && h.of < spans || h.sender && int(h.of) < n })) {
		if err != nil {
			return info, false, err
		}
		switch {
		case rec.sender && (fresh || !c.forget[rec.of]):
			usedTraces[rec.of], some = true, true
			ends = append(ends, rec)
		case !rec.sender && !gone[rec.of]:
			used[rec.of], some = true, true
			ends = append(ends, rec)
		}
	}
	if !some {
		return info, false, nil
	}
	info, err = writeRun(path, step, func(w *edgesWriter) error {
		ordinals, traces := make([]uint32, len(used)), make([]uint32, len(usedTraces))
		n := 0
		for block := range e.footer.from[traceSection+1] {
			b, err := r.decode(block)
			if err != nil {
				return err
			}
			for i := range b.ids {
				forget := c.forget[n]
				n++
				t := edgeTrace{sum: graph.Summary{TraceID: b.ids[i], StartUnixNano: b.sums[i].start}}
				if !forget {
					if _, err := r.summary(b, i, &t.sum); err != nil {
						return err
					}
					t.sum.TraceID, t.sum.StartUnixNano = b.ids[i], b.sums[i].start
					if q, ok := b.request(i); ok {
						t.request, t.key = b.sums[i].request, q.Key
					}
				}
				for k := b.first[i]; k < b.first[i+1]; k++ {
					if used[k] {
						ordinals[k] = w.spans + uint32(len(t.spans))
						t.spans = append(t.spans, edgeSpan{b.spanIDs[k-b.first[0]], b.starts[k-b.first[0]]})
					}
				}
				if q, ok := b.request(i); ok && forget && fresh { // no longer with a summary
					at := b.first[i] + b.sums[i].root
					ends = append(ends, endRecord{key: q.Key, of: at, side: uint8(q.Side), rule: uint8(q.Rule)})
					if q.Side&graph.EffectSide != 0 {
						causes = append(causes, causeRecord{of: at, target: recordedNone, key: q.Key, side: uint8(q.Side), rule: uint8(q.Rule)})
					}
				}
				if len(t.spans) == 0 && t.sum.Spans == 0 && !usedTraces[n-1] {
					continue
				}
				traces[n-1] = w.traces
				if err := w.trace(&t); err != nil {
					return err
				}
			}
		}
		for i := range causes {
			c := &causes[i]
			if c.of = ordinals[c.of]; c.target != recordedNone {
				c.target = ordinals[c.target]
			}
		}
		for i := range effects {
			effects[i] = effectRecord{ordinals[effects[i].target], ordinals[effects[i].of]}
		}
		for i := range ends {
			if h := &ends[i]; h.sender {
				h.of = traces[h.of]
			} else {
				h.of = ordinals[h.of]
			}
		}
		slices.SortFunc(causes, compareCauses)
		slices.SortFunc(ends, compareEnds)
		return w.edges(slices.Values(causes), slices.Values(effects), slices.Values(ends))
	})
	return info, true, err
}

// Some reports whether the correction takes anything.
func (c *Correction) Some() bool { return c.some }

// each yields what next gives, and its error.
func each[T any](next func() (T, bool, error)) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for {
			rec, ok, err := next()
			if err != nil {
				yield(rec, err)
				return
			}
			if !ok || !yield(rec, nil) {
				return
			}
		}
	}
}
