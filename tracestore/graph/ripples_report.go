package graph

import (
	"bytes"
	"cmp"
	"slices"

	"redthread/tracestore/trace"
)

// endpoints groups the threads by where they begin.
func (w *windowScan) endpoints(out *RippleReport, inTime int) {
	w.byName()
	at := map[int32]int{}
	for rest := w.threads; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].name == rest[0].name {
			n++
		}
		at[rest[0].name] = len(out.Endpoints)
		out.Endpoints = append(out.Endpoints, w.endpoint(rest[:n]))
		rest = rest[n:]
	}
	of := func(name int32) *RippleEndpoint {
		k, ok := at[name]
		if !ok {
			k = len(out.Endpoints)
			at[name] = k
			e := &w.names.list[name]
			out.Endpoints = append(out.Endpoints, RippleEndpoint{Endpoint: e.Endpoint, Kind: e.kind, Over: make([]int, w.q.Buckets)})
		}
		return &out.Endpoints[k]
	}
	for i := range w.before {
		t := &w.before[i]
		of(t.name).Before.add(t, w.infos[t.origin].start < w.q.Before)
	}
	for i := range int32(inTime) {
		name, ok := w.endpointAgreed(i)
		if !ok || !w.inEnvironment(i) {
			continue
		}
		e, info := of(name), &w.infos[i]
		if info.start < w.q.From {
			e.Before.Ripple.addEffect(info)
			continue
		}
		e.Ripple.addEffect(info)
		e.Several++
		if w.q.Buckets > 0 {
			e.Over[w.bucket(info.start)] += info.effects(false)
		}
	}
	if w.q.Buckets > 0 {
		for i := range w.infos {
			n, info := &w.nodes[i], &w.infos[i]
			if !w.counts(info) || n.status != originFound || !w.infos[n.origin].known {
				continue
			}
			if k, ok := at[w.names.place[w.infos[n.origin].endpoint]]; ok {
				out.Endpoints[k].Over[w.bucket(info.start)] += info.effects(n.origin == int32(i))
			}
		}
	}
	slices.SortFunc(out.Endpoints, func(a, b RippleEndpoint) int {
		return cmp.Or(cmp.Compare(b.Effects(), a.Effects()), cmp.Compare(b.RippleMeasures.Traces, a.RippleMeasures.Traces), compareEndpoints(a.Endpoint, b.Endpoint))
	})
}

func compareEndpoints(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Environment, b.Environment))
}

// counts reports whether a trace began in the time.
func (w *windowScan) counts(i *traceInfo) bool {
	return i.known && i.start >= w.q.From && i.start < w.q.To
}

// bucket is the part of the time in which something began.
func (w *windowScan) bucket(start int64) int {
	return min(w.q.Buckets-1, int(float64(start-w.q.From)/float64(w.q.To-w.q.From)*float64(w.q.Buckets))) // rounded up at the very end
}

// effects is how much of what its thread set off a trace is.
func (i *traceInfo) effects(itself bool) int {
	var r Ripple
	r.add(i, i, itself)
	return r.Effects()
}

// addEffect counts a trace of which it is not known whose effect it is, and so not
// how long after.
func (r *Ripple) addEffect(i *traceInfo) {
	last := r.LastEffectNano
	r.add(i, i, false)
	r.LastEffectNano = last
}

// endpoint sums up the threads of one endpoint, of which there is at least one.
func (w *windowScan) endpoint(list []threadSum) RippleEndpoint {
	e := &w.names.list[list[0].name]
	out := RippleEndpoint{Endpoint: e.Endpoint, Kind: e.kind, Over: make([]int, w.q.Buckets)}
	largest, longest, worst := &list[0], &list[0], &list[0]
	last := make([]int64, 0, len(list))
	for i := range list {
		t := &list[i]
		out.add(t, w.infos[t.origin].start < w.q.From)
		if t.Effects() > 0 {
			last = append(last, t.LastEffectNano)
		}
		if w.larger(t, largest) < 0 {
			largest = t
		}
		if w.longer(t, longest) < 0 {
			longest = t
		}
		if w.failing(t, worst) < 0 {
			worst = t
		}
	}
	slices.Sort(last)
	out.LastP50Nano, out.LastP95Nano = percentile(last, 50), percentile(last, 95)
	out.Largest, out.Longest, out.Failing = w.thread(largest), w.thread(longest), w.thread(worst)
	return out
}

// percentile is that of sorted values by the nearest rank, 0 of none.
func percentile(sorted []int64, p int) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// The orders of threads, the first first. Those that set nothing off come last.
func (w *windowScan) larger(a, b *threadSum) int {
	if c := cmp.Compare(b.Effects(), a.Effects()); c != 0 {
		return c
	}
	if c := cmp.Compare(b.Traces, a.Traces); c != 0 {
		return c
	}
	return w.latest(a, b)
}

func (w *windowScan) longer(a, b *threadSum) int {
	set := func(t *threadSum) int { return min(t.Effects(), 1) }
	if c := cmp.Compare(set(b), set(a)); c != 0 {
		return c
	}
	if c := cmp.Compare(b.LastEffectNano, a.LastEffectNano); c != 0 {
		return c
	}
	return w.larger(a, b)
}

func (w *windowScan) failing(a, b *threadSum) int {
	if c := cmp.Compare(b.Errors, a.Errors); c != 0 {
		return c
	}
	return w.larger(a, b)
}

func (w *windowScan) latest(a, b *threadSum) int {
	if c := cmp.Compare(w.infos[b.origin].start, w.infos[a.origin].start); c != 0 {
		return c
	}
	x, y := &w.nodes[a.origin].id, &w.nodes[b.origin].id
	return bytes.Compare(x[:], y[:])
}

// byName puts threads in the order of their names, those of one as they were.
func (w *windowScan) byName() {
	from := make([]int, len(w.names.list)+1)
	for i := range w.threads {
		from[w.threads[i].name+1]++
	}
	for i := range w.names.list {
		from[i+1] += from[i]
	}
	out := make([]threadSum, len(w.threads))
	for i := range w.threads {
		t := &w.threads[i]
		out[from[t.name]] = *t
		from[t.name]++
	}
	w.threads = out
}

// top lists the first threads of an order, those that it is about.
func (w *windowScan) top(list []threadSum, n int, order func(a, b *threadSum) int) []RippleThread {
	var best []*threadSum
	for i := range list {
		t := &list[i]
		if len(best) == n && (n == 0 || order(t, best[n-1]) >= 0) {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, t, order)
		best = first(slices.Insert(best, at, t), n)
	}
	out := make([]RippleThread, len(best))
	for i, t := range best {
		out[i] = w.thread(t)
	}
	return out
}

// thread describes one thread.
func (w *windowScan) thread(t *threadSum) RippleThread {
	n, i := &w.nodes[t.origin], &w.infos[t.origin]
	e := &w.names.list[i.endpoint]
	return RippleThread{Environment: e.Environment, Ripple: t.Ripple, OriginSpan: OriginSpan{StartUnixNano: i.start,
		SpanInfo: SpanInfo{Ref: trace.Ref{TraceID: n.id, SpanID: n.span}, Service: e.Service, Name: e.Name}}}
}

// unknown groups the traces that have no single origin by the reason.
func (w *windowScan) unknown(out *RippleReport, inTime int) {
	type line struct {
		status originStatus
		why    reasonCode
	}
	at := map[line]int{}
	var works []works
	for i := range inTime {
		n, info := &w.nodes[i], &w.infos[i]
		if n.status == originFound && w.infos[n.origin].known {
			continue
		}
		if _, ok := w.endpointAgreed(int32(i)); ok || !w.inEnvironment(int32(i)) {
			continue
		}
		key := line{n.status, n.why}
		if n.status == originFound {
			key = line{originUnknown, reasonExpired} // its summary is gone
		}
		if key.status == originAmbiguous {
			key.why = noReason
		}
		k, ok := at[key]
		if !ok {
			k = len(out.Unknown)
			at[key] = k
			out.Unknown = append(out.Unknown, RippleUnknown{Status: originStatuses[key.status], Reason: reasonTexts[key.why], Over: make([]int, w.q.Buckets)})
			works = append(works, newWorks())
		}
		u := &out.Unknown[k]
		if info.start < w.q.From {
			u.Before.addEffect(info)
			continue
		}
		u.Ripple.addEffect(info)
		if w.q.Buckets > 0 {
			u.Over[w.bucket(info.start)] += info.effects(false)
		}
		works[k].add(w, int32(i))
	}
	for k := range out.Unknown {
		out.Unknown[k].By = works[k].list(w)
	}
	slices.SortFunc(out.Unknown, func(a, b RippleUnknown) int {
		return cmp.Or(cmp.Compare(b.Traces, a.Traces), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Reason, b.Reason))
	})
}

// works groups traces by what they are.
type works struct{ at map[int32][]int32 }

func newWorks() works { return works{map[int32][]int32{}} }

func (k works) add(w *windowScan, at int32) {
	name := w.infos[at].endpoint
	k.at[name] = append(k.at[name], at)
}

// list sums them up, those with the most traces first.
func (k works) list(w *windowScan) []RippleWork {
	type key struct {
		service, name string
		work          Work
	}
	by := map[key][]int32{}
	for name, nodes := range k.at {
		n := &w.names.list[name]
		of := key{n.Service, n.Name, n.work}
		by[of] = append(by[of], nodes...)
	}
	out := make([]RippleWork, 0, len(by))
	for of, nodes := range by {
		r := RippleWork{Service: of.service, Name: of.name, Work: of.work, Traces: len(nodes)}
		took := make([]int64, len(nodes))
		slices.SortFunc(nodes, func(a, b int32) int { return bytes.Compare(w.nodes[a].id[:], w.nodes[b].id[:]) })
		for i, at := range nodes {
			info := &w.infos[at]
			took[i] = info.end - info.start
			r.Errors += int(info.errors)
			if info.errors > 0 {
				r.Failed++
			}
			r.BusyNano += took[i]
			if r.Slowest.IsZero() || took[i] > r.MaxNano {
				r.Slowest, r.MaxNano = w.nodes[at].id, took[i]
			}
		}
		slices.Sort(took)
		r.MedianNano, r.P95Nano = percentile(took, 50), percentile(took, 95)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b RippleWork) int {
		return cmp.Or(cmp.Compare(b.Traces, a.Traces), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Work, b.Work))
	})
	return first(out, maxRippleWorks)
}

// detail tells more of the endpoint that is opened.
func (w *windowScan) detail(out *RippleReport, inTime int) {
	at := slices.IndexFunc(out.Endpoints, func(e RippleEndpoint) bool { return e.Endpoint == *w.q.Open })
	if at < 0 {
		return
	}
	d := &RippleDetail{RippleEndpoint: out.Endpoints[at], SetsOff: []RippleWork{}}
	out.Open = d
	from := slices.IndexFunc(w.threads, func(t threadSum) bool { return w.names.list[t.name].Endpoint == *w.q.Open })
	if from < 0 {
		from = len(w.threads) // there was something before only
	}
	to := from
	for to < len(w.threads) && w.threads[to].name == w.threads[from].name {
		to++
	}
	list := w.threads[from:to]
	d.LargestN, d.LongestN, d.FailingN = w.top(list, w.q.Threads, w.larger), w.top(list, w.q.Threads, w.longer), w.top(list, w.q.Threads, w.failing)
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b threadSum) int { return w.latest(&a, &b) })
	for i := range first(sorted, maxDetailThreads) {
		d.All = append(d.All, w.thread(&sorted[i]))
	}
	d.Parts = make([]RipplePart, w.q.Buckets)
	effects, last := make([][]int64, w.q.Buckets), make([][]int64, w.q.Buckets)
	for i := range list {
		t := &list[i]
		start := w.infos[t.origin].start
		if start < w.q.From || start >= w.q.To || w.q.Buckets == 0 {
			continue
		}
		b := w.bucket(start)
		d.Parts[b].add(t, false)
		effects[b] = append(effects[b], int64(t.Effects()))
		if t.Effects() > 0 {
			last[b] = append(last[b], t.LastEffectNano)
		}
	}
	for b := range d.Parts {
		slices.Sort(effects[b])
		slices.Sort(last[b])
		d.Parts[b].MedianEffects, d.Parts[b].MaxEffects = int(percentile(effects[b], 50)), int(percentile(effects[b], 100))
		d.Parts[b].LastP95Nano = percentile(last[b], 95)
	}
	of := map[int32]bool{}
	for i := range list {
		of[list[i].origin] = true
	}
	set := newWorks()
	for i := range inTime {
		if n := &w.nodes[i]; n.status == originFound && n.origin != int32(i) && of[n.origin] && w.counts(&w.infos[i]) {
			set.add(w, int32(i))
		} else if name, ok := w.endpointAgreed(int32(i)); ok && w.names.list[name].Endpoint == *w.q.Open && w.counts(&w.infos[i]) {
			set.add(w, int32(i))
		}
	}
	d.SetsOff = set.list(w)
}
