package graph

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"redthread/tracestore/trace"
)

// TraceOrigin is where a trace begins, for queries over many traces.
type TraceOrigin struct {
	Status Status
	Reason string // while unknown
	// Origin is the span that begins the chain, when found.
	Origin trace.Ref
	// Origins are the candidates while ambiguous: nil if there are more than
	// [MaxCandidates], or if they are not all known.
	Origins []trace.Ref
	// Cause is the span that caused this trace: without a span id if only its
	// trace is known or several spans there did, zero if several traces did or
	// none.
	Cause    trace.Ref
	causeKey Key // finds the span of Cause where it has none, see PlaceCauses
	// Apart says that spans of the trace have causes of their own, so that their
	// origins may be others: [Graph.SpanOrigins] tells.
	Apart bool
}

// MaxCandidates is how many possible origins of one trace are told.
const MaxCandidates = 64

const (
	// maxOriginTraces bounds the traces that one question looks at (about 200
	// bytes each).
	maxOriginTraces = 1_000_000
	// originChunk is how many traces are read at once (about 300 bytes each).
	originChunk = 16 << 10
	// maxOriginHalves bounds the causes that are read for one chunk of traces.
	maxOriginHalves = 200_000
	// maxOriginWalks bounds the traces for which spans have to be read.
	maxOriginWalks = 5000
	// maxShared is how many traces one walk may leave to the next.
	maxShared = 64
)

// Origins answers for many traces at once what [Graph.TraceOrigin] answers for
// one. It reads summaries and edges in numbers, and spans only of chains through
// traces whose spans were caused apart from each other, such as batches, or that
// have no root; after 5,000 of these, or a million traces, the others are
// unknown because it was cut. It does not see that the parents of a cause run in
// a circle, and of several roots in the trace of the origin it names the first.
// It needs an [EdgeSource], else all is unknown.
func (g *Graph) Origins(ctx context.Context, ids []trace.ID) ([]TraceOrigin, error) {
	out := make([]TraceOrigin, len(ids))
	if g.edges == nil {
		for i := range out {
			out[i] = TraceOrigin{Status: Unknown, Reason: NotRecorded}
		}
		return out, nil
	}
	s := newOriginSearch(g, len(ids))
	at := make([]int32, len(ids))
	for i, id := range ids {
		at[i] = s.ask(id)
	}
	if err := s.resolve(ctx, at); err != nil {
		return nil, fmt.Errorf("origins of %d traces: %w", len(ids), err)
	}
	for i := range out {
		out[i] = s.answer(at[i])
	}
	return out, nil
}

// originNode is what a search knows of a trace. It has no pointers: there may be
// a million of them.
type originNode struct {
	id     trace.ID
	span   trace.SpanID // the root, or the earliest span
	by     trace.SpanID // the span of the one cause, if it is known
	causes int32        // how many
	cause  int32        // the node of the one; of several the first place in originSearch.more

	order, low int32 // Tarjan's; 0 is a trace that has not been settled
	origin     int32 // where the chain begins, when found
	status     originStatus
	reason     reasonCode // why the causes are not all, or why it is no beginning
	why        reasonCode // of the answer
	flags      nodeFlags
}

type nodeFlags uint16

const (
	isKnown     nodeFlags = 1 << iota // there is a summary
	hasRoot                           // it is that of a true root
	isBeginning                       // which begins a chain
	isRead                            // the causes were read, or are being read
	onStack                           // Tarjan's
	hasTimes                          // the summary was looked up or given
	isWalked                          // the spans were read for the answer
	// isTangled says that the spans of the trace have causes of their own, so that
	// what caused an effect of it depends on which of them did; or that what is
	// remembered of it does not suffice otherwise.
	isTangled
	isApart    // spans of this very trace have
	isInfected // not tangled itself, but caused by one that is
	mayPoll    // its root is no request, and no receipt: a loop may be
	byKey      // by is the key that the span sent
	mayBegin   // a chain by itself too, whatever its id says
	isShort    // more caused the root than is known, see chunkFlags
	isBatch    // see Summary.Batch
)

type originStatus uint8

const (
	unsettled originStatus = iota
	originFound
	originAmbiguous
	originUnknown
)

var originStatuses = [...]Status{unsettled: Unknown, originFound: Found, originAmbiguous: Ambiguous, originUnknown: Unknown}

type reasonCode uint8

const (
	noReason reasonCode = iota
	reasonNotArrived
	reasonSampledOut
	reasonLinksDropped
	reasonNotRecorded
	reasonExpired
	reasonCut
	reasonTooMany
)

var reasonTexts = [...]string{"", NotArrived, SampledOut, LinksDropped, NotRecorded, Expired, Cut, TooMany}

func reasonCodeOf(text string) reasonCode {
	return reasonCode(max(0, slices.Index(reasonTexts[:], text)))
}

// originSearch finds the origins of many traces. More may be asked after some
// were answered.
type originSearch struct {
	g       *Graph
	nodes   []originNode
	at      idTable
	more    []int32               // the causes of traces that have several
	todo    []int32               // asked and not read
	settled int                   // nodes that Tarjan's algorithm has visited
	count   int32                 // its numbers
	walks   int                   // traces that were read
	walked  map[int32][]trace.Ref // origins, or candidates, of tangled traces
	cut     bool                  // some were not looked at
}

func newOriginSearch(g *Graph, expect int) *originSearch {
	expect = min(expect, maxOriginTraces)
	return &originSearch{g: g, nodes: make([]originNode, 0, expect), at: newIDTable(expect), walked: map[int32][]trace.Ref{}}
}

// node returns the position of a trace, which may be new.
func (s *originSearch) node(id trace.ID) int32 {
	at, slot := s.at.find(s.nodes, id)
	if at < 0 {
		at = int32(len(s.nodes))
		if len(s.nodes) == cap(s.nodes) {
			s.nodes = slices.Grow(s.nodes, max(1024, len(s.nodes)))
		}
		s.nodes = append(s.nodes, originNode{id: id})
		s.at.put(id, slot, at)
	}
	return at
}

// ask notes that the origin of a trace is wanted.
func (s *originSearch) ask(id trace.ID) int32 {
	at := s.node(id)
	if n := &s.nodes[at]; n.flags&isRead == 0 {
		n.flags |= isRead
		s.todo = append(s.todo, at)
	}
	return at
}

// see notes a summary, so that it is not looked up.
func (s *originSearch) see(at int32, m *Summary) {
	n := &s.nodes[at]
	n.flags |= hasTimes
	if m.TraceID.IsZero() {
		return
	}
	known := knownOf(m)
	n.span = known.span
	n.flags |= known.flags
}

// resolve answers for the traces that were asked.
func (s *originSearch) resolve(ctx context.Context, asked []int32) error {
	if err := s.spread(ctx); err != nil {
		return err
	}
	s.settle()
	return s.walk(ctx, asked)
}

// answer is what is known of a trace after resolve.
func (s *originSearch) answer(at int32) TraceOrigin {
	n := &s.nodes[at]
	out := TraceOrigin{Status: originStatuses[n.status], Apart: n.flags&isApart != 0}
	switch n.status {
	case originFound:
		o := &s.nodes[n.origin]
		out.Origin = trace.Ref{TraceID: o.id, SpanID: o.span}
		if w := s.walked[at]; len(w) > 0 {
			out.Origin = w[0]
		}
	case originAmbiguous:
		out.Origins = s.candidates(at)
	case originUnknown:
		out.Reason = reasonTexts[n.why]
	}
	if n.causes == 1 && n.flags&isShort == 0 {
		if out.Cause.TraceID = s.nodes[n.cause].id; n.flags&byKey != 0 {
			out.causeKey = keyOut(n.by)
		} else {
			out.Cause.SpanID = n.by
		}
	}
	return out
}

// candidates are the possible origins of a trace that is ambiguous; nil if they are
// too many or not all known.
func (s *originSearch) candidates(at int32) []trace.Ref {
	if s.needsSpans(&s.nodes[at]) {
		if list := s.walked[at]; len(list) > 1 && len(list) <= MaxCandidates {
			return list
		}
		return nil
	}
	nodes, ok := s.candidateNodes(at, nil)
	if !ok {
		return nil
	}
	out := make([]trace.Ref, len(nodes))
	for i, o := range nodes {
		out[i] = trace.Ref{TraceID: s.nodes[o].id, SpanID: s.nodes[o].span}
	}
	return out
}

// candidateNodes appends the traces where one that is ambiguous, and not tangled, may
// begin; false if they are too many. Nothing that caused it is unknown, or it were.
func (s *originSearch) candidateNodes(at int32, out []int32) ([]int32, bool) {
	todo, seen := []int32{at}, map[int32]bool{at: true}
	add := func(o int32) bool {
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
		return len(out) <= MaxCandidates
	}
	const most = 16 * MaxCandidates // steps
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n := &s.nodes[at]
		switch {
		case n.status == originFound:
			if !add(n.origin) {
				return nil, false
			}
			continue
		case n.causes == 0 || n.flags&mayBegin != 0:
			if !add(at) {
				return nil, false
			}
		}
		for k := range n.causes {
			if c := s.causeAt(n, k); !seen[c] {
				if seen[c] = true; len(seen) > most {
					return nil, false
				}
				todo = append(todo, c)
			}
		}
	}
	return out, len(out) > 1
}

// causeAt is the k-th of the nodes that caused one.
func (s *originSearch) causeAt(n *originNode, k int32) int32 {
	if n.causes == 1 {
		return n.cause
	}
	return s.more[n.cause+k]
}

// tangled reports whether the answer of a trace needs spans.
func (n *originNode) tangled() bool { return n.flags&(isTangled|isInfected) != 0 }

// needsSpans reports whether the answer of a trace itself does: what caused a batch
// tells its own origin, if those of its messages are known without spans, and not those
// of what it set off.
func (s *originSearch) needsSpans(n *originNode) bool {
	if !n.tangled() || n.flags&isBatch == 0 || n.causes == 0 || n.reason != noReason {
		return n.tangled()
	}
	for k := range n.causes {
		if m := &s.nodes[s.causeAt(n, k)]; m.tangled() || m.status == originUnknown {
			return true
		}
	}
	return false
}

// asks is the trace whose answer a tangled one has too: itself, or the nearest
// before it of which the spans, or those of its cause, have to be read.
func (s *originSearch) asks(at int32) int32 {
	for range s.nodes {
		n := &s.nodes[at]
		if n.flags&isTangled != 0 || n.causes != 1 {
			return at
		}
		if c := &s.nodes[n.cause]; c.flags&isTangled != 0 || !c.tangled() {
			return at
		}
		at = n.cause
	}
	return at
}

// reads is the trace of which walkFrom reads the spans.
func (s *originSearch) reads(at int32) int32 {
	if n := &s.nodes[at]; n.flags&isTangled == 0 && n.causes == 1 {
		return n.cause
	}
	return at
}

// walk finds the origins of those traces for which edges do not suffice, by
// reading the spans of the traces whose spans were caused apart from each other.
func (s *originSearch) walk(ctx context.Context, asked []int32) error {
	type question struct{ reads, of, at int32 }
	var todo []question
	for _, at := range asked {
		n := &s.nodes[at]
		if !s.needsSpans(n) || n.flags&isWalked != 0 {
			continue
		}
		n.flags |= isWalked
		of := s.asks(at)
		q := question{s.reads(of), of, at}
		if n := &s.nodes[of]; n.flags&isShort != 0 && n.causes == 1 {
			q.reads = n.cause // after its own trace; it may be large, and cause many
		}
		todo = append(todo, q)
	}
	slices.SortFunc(todo, func(a, b question) int {
		return cmp.Or(cmp.Compare(a.reads, b.reads), cmp.Compare(a.of, b.of), cmp.Compare(a.at, b.at))
	})
	var groups [][]question // by the trace that is read
	var walks []int         // up to each group
	sum := s.walks
	for rest := todo; len(rest) > 0; {
		n, of := 1, 1
		for ; n < len(rest) && rest[n].reads == rest[0].reads; n++ {
			if rest[n].of != rest[n-1].of {
				if of == maxShared {
					break
				}
				of++
			}
		}
		sum += of
		groups, walks, rest = append(groups, rest[:n]), append(walks, sum), rest[n:]
	}
	if room, _ := slices.BinarySearch(walks, maxOriginWalks+1); room < len(groups) {
		sum = 0
		if room > 0 {
			sum = walks[room-1]
		}
		for _, group := range groups[room:] {
			for _, q := range group {
				if n := &s.nodes[q.at]; n.status != originAmbiguous { // that holds without a closer look
					n.status, n.why = originUnknown, reasonCut
				}
			}
		}
		groups, s.cut = groups[:room], true
	}
	s.walks = max(s.walks, sum)
	found := make([][]*Origin, len(groups))
	err := s.g.each(ctx, len(groups), func(ctx context.Context, i int) error {
		se := s.g.newSession()
		se.plain = s.plain
		found[i] = make([]*Origin, len(groups[i]))
		for k, q := range groups[i] {
			if k > 0 && groups[i][k-1].of == q.of {
				found[i][k] = found[i][k-1]
				continue
			}
			var err error
			if found[i][k], err = s.walkFrom(ctx, se, q.of); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, group := range groups {
		for k, q := range group {
			s.note(q.at, found[i][k])
		}
	}
	return nil
}

// walkFrom walks back from one trace, from its cause if that is known.
func (s *originSearch) walkFrom(ctx context.Context, se *session, at int32) (*Origin, error) {
	n := &s.nodes[at]
	if reads := s.reads(at); reads != at && !n.by.IsZero() {
		x, err := se.load(ctx, s.nodes[reads].id)
		if err != nil {
			return nil, err
		}
		by, i := n.by, none
		if n.flags&byKey != 0 {
			if i = x.senderOf(keyOut(by)); i >= 0 {
				by = x.spans[i].id
			}
		} else {
			i = x.find(by, "")
		}
		if i >= 0 {
			return se.origin(ctx, x, i, by)
		}
	}
	if len(se.traces) > maxShared {
		clear(se.traces)
	}
	whole := &session{g: s.g, traces: se.traces} // of every span, when it began
	x, err := whole.load(ctx, n.id)
	if err != nil {
		return nil, err
	}
	o, err := whole.traceOrigin(ctx, x)
	if errors.Is(err, ErrNotFound) { // of its spans only notes on them are there
		return &Origin{Status: Unknown, Reason: NotArrived}, nil
	}
	return o, err
}

// plain is the origin of all spans of a trace where edges suffice to know it: a
// walk need not read that trace.
func (s *originSearch) plain(id trace.ID) (o OriginSpan, ok bool) {
	at, _ := s.at.find(s.nodes, id)
	if at < 0 {
		return o, false
	}
	n := &s.nodes[at]
	if n.tangled() || n.status != originFound || n.flags&(isKnown|hasRoot) != isKnown|hasRoot {
		return o, false
	}
	origin := &s.nodes[n.origin]
	o.Ref = trace.Ref{TraceID: origin.id, SpanID: origin.span}
	return o, true
}

// note takes the answer of a walk.
func (s *originSearch) note(at int32, o *Origin) {
	var refs []trace.Ref
	for _, list := range [2][]OriginSpan{o.Origins, o.Candidates} {
		for k := range list {
			refs = append(refs, list[k].Ref)
		}
	}
	s.walked[at] = refs
	n := &s.nodes[at]
	switch o.Status {
	case Found:
		origin := s.node(o.Origins[0].TraceID)
		n = &s.nodes[at]
		n.status, n.origin = originFound, origin
	case Ambiguous:
		n.status = originAmbiguous
	default:
		n.status, n.why = originUnknown, reasonCodeOf(o.Reason)
	}
}

// settle answers for the nodes that are new: Tarjan's algorithm finds what is
// caused in circles, and gives it after its causes.
func (s *originSearch) settle() {
	type frame struct{ at, next int32 }
	var stack []int32
	var calls []frame
	for ; s.settled < len(s.nodes); s.settled++ {
		if s.nodes[s.settled].order != 0 {
			continue
		}
		calls = append(calls[:0], frame{int32(s.settled), 0})
		for len(calls) > 0 {
			f := &calls[len(calls)-1]
			n := &s.nodes[f.at]
			if n.order == 0 {
				s.count++
				n.order, n.low = s.count, s.count
				n.flags |= onStack
				stack = append(stack, f.at)
			}
			if f.next < n.causes {
				c := s.causeAt(n, f.next)
				f.next++
				if m := &s.nodes[c]; m.order == 0 {
					calls = append(calls, frame{c, 0})
				} else if m.flags&onStack != 0 {
					n.low = min(n.low, m.order)
				}
				continue
			}
			at := f.at
			calls = calls[:len(calls)-1]
			if len(calls) > 0 {
				p := &s.nodes[calls[len(calls)-1].at]
				p.low = min(p.low, n.low)
			}
			if n.low == n.order {
				from := len(stack) - 1
				for stack[from] != at {
					from--
				}
				s.decide(stack[from:], n.order)
				stack = stack[:from]
			}
		}
	}
}

// decide answers for traces that caused each other, or a single one. The order
// of the first becomes the low of all of them.
func (s *originSearch) decide(circle []int32, order int32) {
	var (
		status  originStatus
		why     reasonCode
		origin  int32
		tangled bool
	)
	take := func(st originStatus, of int32, r reasonCode) {
		switch {
		case status == originUnknown:
		case st == originUnknown, status == unsettled:
			status, origin, why = st, of, r
		case st == originAmbiguous || of != origin:
			status = originAmbiguous
		}
	}
	for _, at := range circle {
		s.nodes[at].low = order
		s.nodes[at].flags &^= onStack
	}
	for _, at := range circle {
		n := &s.nodes[at]
		tangled = tangled || n.tangled()
		if n.reason != noReason {
			take(originUnknown, 0, n.reason)
		} else if n.causes == 0 || n.flags&mayBegin != 0 {
			take(originFound, at, noReason)
		}
		for k := range n.causes {
			m := &s.nodes[s.causeAt(n, k)]
			if n.flags&isShort != 0 && (m.low == order || m.tangled() || m.status == originUnknown && m.why != n.reason && m.flags&isKnown != 0) {
				n.flags |= isTangled // which reason comes first only spans tell
				tangled = true
			}
			if m.low != order {
				tangled = tangled || m.tangled()
				take(m.status, m.origin, m.why)
			}
		}
	}
	if status == unsettled {
		status, why = originUnknown, reasonNotRecorded // nothing leads out
	}
	for _, at := range circle {
		n := &s.nodes[at]
		n.status, n.why, n.origin = status, why, origin
		if tangled {
			n.flags |= isInfected
		}
	}
}
