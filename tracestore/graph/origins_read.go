package graph

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"

	"redthread/tracestore/trace"
)

// idTable finds nodes by trace id: open addressing over positions, without a
// pointer in it. A slot has a part of the hash, so that other nodes are seldom
// looked at. The hash is seeded, since senders choose the ids.
type idTable struct {
	slots []uint64 // upper half of the hash, then position plus one; 0 is free; a power of two of them
	used  int
	seed  maphash.Seed
}

func newIDTable(expect int) idTable {
	size := 64
	for size < 2*expect {
		size *= 2
	}
	return idTable{slots: make([]uint64, size), seed: maphash.MakeSeed()}
}

func (t *idTable) hash(id *trace.ID) uint64 { return maphash.Bytes(t.seed, id[:]) &^ math.MaxUint32 }

// find returns the position of an id, or -1 and the slot where it would stand.
func (t *idTable) find(nodes []originNode, id trace.ID) (at int32, slot int) {
	mask := len(t.slots) - 1
	h := t.hash(&id)
	slot = int(h>>32) & mask
	for ; t.slots[slot] != 0; slot = (slot + 1) & mask {
		if s := t.slots[slot]; s&^math.MaxUint32 == h && nodes[uint32(s)-1].id == id {
			return int32(uint32(s) - 1), slot
		}
	}
	return -1, slot
}

// put fills a slot that find returned.
func (t *idTable) put(id trace.ID, slot int, at int32) {
	t.slots[slot] = t.hash(&id) | uint64(at+1)
	if t.used++; t.used*2 >= len(t.slots) {
		t.grow(t.used)
	}
}

// grow makes room for as many nodes in all.
func (t *idTable) grow(nodes int) {
	size := len(t.slots)
	for size <= 2*nodes {
		size *= 2
	}
	if size == len(t.slots) {
		return
	}
	old := t.slots
	t.slots = make([]uint64, size)
	mask := size - 1
	for _, s := range old {
		if s == 0 {
			continue
		}
		slot := int(s>>32) & mask
		for t.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		t.slots[slot] = s
	}
}

// spread reads the causes of the traces asked, and of these, to the beginnings:
// a generation at a time, its chunks several at once, each in the order of the
// ids, in which an index stands.
func (s *originSearch) spread(ctx context.Context) error {
	read := 0
	for len(s.todo) > 0 {
		now := s.todo
		s.todo = nil
		if room := max(0, maxOriginTraces-read); len(now) > room {
			for _, at := range now[room:] {
				s.nodes[at].reason = reasonCut
			}
			now, s.cut = now[:room], true
		}
		read += len(now)
		type place struct {
			key uint64
			at  int32
		}
		order := make([]place, len(now))
		for i, at := range now {
			order[i] = place{binary.BigEndian.Uint64(s.nodes[at].id[:]), at}
		}
		byID := func(a, b place) int {
			if a.key != b.key {
				if a.key < b.key {
					return -1
				}
				return 1
			}
			return bytes.Compare(s.nodes[a.at].id[8:], s.nodes[b.at].id[8:])
		}
		if !slices.IsSortedFunc(order, byID) {
			slices.SortFunc(order, byID)
		}
		for i := range order {
			now[i] = order[i].at
		}
		chunks := slices.Collect(slices.Chunk(now, originChunk))
		got := make([]chunkCauses, len(chunks))
		err := s.g.each(ctx, len(chunks), func(ctx context.Context, i int) error {
			return s.read(ctx, chunks[i], &got[i])
		})
		if err != nil {
			return err
		}
		for i := range chunks {
			s.take(chunks[i], &got[i])
			got[i] = chunkCauses{}
		}
	}
	return nil
}

// chunkCauses is what is read of a chunk of traces.
type chunkCauses struct {
	known  []knownTrace
	causes []chunkCause // by pos
	flags  []chunkFlags // by pos
}

type knownTrace struct {
	flags nodeFlags
	span  trace.SpanID
}

type chunkCause struct {
	pos  int32
	ref  trace.Ref
	many bool // several spans of that trace are causes
	// loose: in the place of the span there is the key that it sent.
	loose bool
	// unsure: something else may have caused the trace, or nothing.
	unsure bool
}

type chunkFlags struct {
	tangled, apart, cut bool
	// missing is why not all is known that caused the root, though links say some of
	// it: what its spans say besides does not change that.
	missing reasonCode
}

// take puts what was read of a chunk into the nodes.
func (s *originSearch) take(chunk []int32, got *chunkCauses) {
	next := 0
	for pos, at := range chunk {
		n := &s.nodes[at]
		n.flags = n.flags&^(isKnown|hasRoot|isBeginning) | got.known[pos].flags
		n.span = got.known[pos].span
		if got.flags[pos].tangled {
			n.flags |= isTangled
		}
		if got.flags[pos].apart {
			n.flags |= isApart
		}
		from := next
		for next < len(got.causes) && int(got.causes[next].pos) == pos {
			next++
		}
		list := got.causes[from:next]
		switch {
		case got.flags[pos].cut:
			n.reason, s.cut = reasonCut, true
		case got.flags[pos].missing != noReason:
			n.reason = got.flags[pos].missing
			n.flags |= isShort
		case slices.ContainsFunc(list, func(c chunkCause) bool { return c.unsure }):
			if n.flags&isBeginning == 0 {
				n.reason = reasonNotRecorded
			} else {
				n.flags |= mayBegin
			}
		case len(list) > 0:
		case n.flags&(isKnown|hasRoot) != isKnown|hasRoot:
			n.reason = reasonNotArrived
		case n.flags&isBeginning == 0:
			n.reason = reasonNotRecorded
		}
		switch len(list) {
		case 0:
		case 1:
			c := s.ask(list[0].ref.TraceID) // may move the nodes
			n = &s.nodes[at]
			n.causes, n.cause = 1, c
			if !list[0].many {
				if n.by = list[0].ref.SpanID; list[0].loose {
					n.flags |= byKey
				}
			}
		default:
			n.causes, n.cause = int32(len(list)), int32(len(s.more))
			for i := range list {
				s.more = append(s.more, s.ask(list[i].ref.TraceID))
			}
		}
	}
}

// read reads what caused the traces of a chunk. It changes nothing of the
// search, so that chunks may be read at the same time.
func (s *originSearch) read(ctx context.Context, chunk []int32, got *chunkCauses) error {
	got.known, got.flags = make([]knownTrace, len(chunk)), make([]chunkFlags, len(chunk))
	ids := make([]trace.ID, len(chunk))
	var unseen []trace.ID
	for i, at := range chunk {
		n := &s.nodes[at]
		ids[i] = n.id
		got.known[i] = knownTrace{n.flags & (isKnown | hasRoot | isBeginning | mayPoll | isBatch), n.span}
		if n.flags&hasTimes == 0 {
			unseen = append(unseen, n.id)
		}
	}
	if len(unseen) > 0 {
		sums, err := s.g.edges.Summaries(ctx, unseen)
		if err != nil {
			return err
		}
		k := 0
		for i, at := range chunk {
			if s.nodes[at].flags&hasTimes == 0 {
				got.known[i] = knownOf(&sums[k])
				k++
			}
		}
	}
	return s.g.readCauses(ctx, ids, 0, got)
}

func knownOf(m *Summary) knownTrace {
	if m.TraceID.IsZero() {
		return knownTrace{}
	}
	k := knownTrace{flags: isKnown, span: m.SpanID}
	if m.Root {
		k.flags |= hasRoot
	}
	if m.beginsChain() {
		k.flags |= isBeginning
	}
	if m.Batch {
		k.flags |= isBatch
	}
	switch m.Kind {
	case trace.KindServer, trace.KindConsumer:
	default:
		k.flags |= mayPoll
		if m.polls() {
			k.flags |= isTangled | isApart
		}
	}
	return k
}

// readCauses reads the causes of some traces, which are in order; base is the
// position of the first in the chunk.
func (g *Graph) readCauses(ctx context.Context, ids []trace.ID, base int, got *chunkCauses) error {
	halves, cut, err := g.edges.Causes(ctx, ids, maxOriginHalves)
	if err != nil {
		return err
	}
	if cut {
		if len(ids) == 1 {
			got.flags[base].cut = true
			return nil
		}
		half := len(ids) / 2
		if err := g.readCauses(ctx, ids[:half], base, got); err != nil {
			return err
		}
		return g.readCauses(ctx, ids[half:], base+half, got)
	}
	byTrace := func(a, b Half) int { return bytes.Compare(a.Of.TraceID[:], b.Of.TraceID[:]) }
	if !slices.IsSortedFunc(halves, byTrace) {
		slices.SortStableFunc(halves, byTrace)
	}
	type placed struct {
		pos int
		target
	}
	var (
		recorded []placed
		asked    = make([]placedHalf, 0, len(halves))
		shorts   []lacking
	)
	h := 0
	for i := range ids {
		for h < len(halves) && bytes.Compare(halves[h].Of.TraceID[:], ids[i][:]) < 0 {
			h++
		}
		from := h
		for h < len(halves) && halves[h].Of.TraceID == ids[i] {
			h++
		}
		list := halves[from:h]
		if len(list) > 1 { // those of one span together
			slices.SortStableFunc(list, func(a, b Half) int { return bytes.Compare(a.Of.SpanID[:], b.Of.SpanID[:]) })
		}
		known, flags := &got.known[base+i], &got.flags[base+i]
		for k := range list {
			e := &list[k]
			switch {
			case e.Target.TraceID == e.Of.TraceID, e.Dropped != 0 && (e.Of.SpanID != known.span || known.flags&hasRoot == 0):
				flags.tangled, flags.apart = true, true
			case e.Dropped != 0:
				shorts = append(shorts, lacking{i, max(e.Dropped, -e.Dropped), e.Dropped < 0})
			}
			switch {
			case e.Rule == byReceipt && known.flags&mayPoll == 0: // below what enqueued it
			case !e.recorded():
				if known.flags&mayPoll != 0 && e.Of.SpanID != known.span {
					flags.tangled, flags.apart = true, true
				}
				asked = append(asked, placedHalf{e, i})
			case e.Target.TraceID != e.Of.TraceID:
				recorded = append(recorded, placed{i, target{Ref: e.Target, by: e.Rule, unsampled: e.Unsampled, at: e.Of}})
			}
		}
	}
	wanted, wantedPos, err := g.shared(ctx, asked)
	if err != nil {
		return err
	}
	found, senders, crowded, err := g.looseEnds(ctx, wanted)
	if err != nil {
		return err
	}
	for i := range found {
		if t := &found[i]; t.SpanID.IsZero() {
			t.SpanID, t.loose = keyIn(senders[i].Key), true
		}
	}
	many := map[int]bool{} // traces whose root has the value of a correlation that too many have
	for _, k := range crowded {
		if i := wantedPos[k]; wanted[k].Of.SpanID == got.known[base+i].span && got.known[base+i].flags&hasRoot != 0 {
			many[i] = true
		}
	}
	var list, also []target
	r, f, w, sh := 0, 0, 0, 0
	for i := range ids {
		list, also = list[:0], also[:0]
		for ; r < len(recorded) && recorded[r].pos == i; r++ {
			list = append(list, recorded[r].target)
		}
		var lacks lacking // of the root
		for ; sh < len(shorts) && shorts[sh].pos == i; sh++ {
			lacks = shorts[sh]
		}
		for f < len(found) {
			for wanted[w].Of != found[f].at {
				w++
			}
			if wantedPos[w] != i {
				break
			}
			t := &found[f]
			f++
			if t.TraceID == t.at.TraceID || slices.ContainsFunc(list, func(o target) bool { return o.Ref == t.Ref }) {
				continue
			}
			if wanted[w].Dropped != 0 {
				if !slices.ContainsFunc(list, func(o target) bool { return o.at == t.at && o.by < byMessageID }) {
					list = append(list, *t)
				} else if t.at.SpanID == got.known[base+i].span {
					also = append(also, *t)
				}
				continue
			}
			// A job that was sent again: what is recorded is its poller's.
			list = slices.DeleteFunc(list, func(o target) bool { return o.at == t.at && o.by < byMessageID })
			list = append(list, *t)
		}
		if lacks.links > 0 {
			flags := &got.flags[base+i]
			linked := slices.ContainsFunc(list, func(o target) bool { return o.at.SpanID == got.known[base+i].span && o.by < byMessageID })
			switch {
			case !linked || int(lacks.links) <= len(also):
				flags.tangled, flags.apart = true, true
			case lacks.short:
				flags.missing, list = reasonNotRecorded, append(list, also...)
			default:
				flags.missing, list = reasonLinksDropped, append(list, also...)
			}
		}
		if len(list) > 0 {
			got.add(base+i, list)
		} else if flags := &got.flags[base+i]; many[i] && flags.missing == noReason {
			flags.missing = reasonTooMany
		}
	}
	return nil
}

// lacking is how many links the root of the trace at a position lacks, and whether
// they are of messages that came without context.
type lacking struct {
	pos   int
	links int32
	short bool
}

// placedHalf is a half of the index with the position of its trace.
type placedHalf struct {
	*Half
	pos int
}

// shared returns those halves that are not the only one with their key, and their
// positions.
func (g *Graph) shared(ctx context.Context, halves []placedHalf) (out []Half, pos []int, err error) {
	if len(halves) == 0 {
		return nil, nil, nil
	}
	keys := make([]Key, len(halves))
	for i := range halves {
		keys[i] = halves[i].Key
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if src, ok := g.src.(KeySource); ok {
		if keys, err = src.Shared(ctx, keys); err != nil {
			return nil, nil, err
		}
	}
	for _, h := range halves {
		if _, ok := slices.BinarySearch(keys, h.Key); ok {
			out, pos = append(out, *h.Half), append(pos, h.pos)
		}
	}
	return out, pos, nil
}

// add notes what caused a trace, given all that its spans say.
func (c *chunkCauses) add(pos int, list []target) {
	known := &c.known[pos]
	flags := &c.flags[pos]
	if len(list) > 1 {
		slices.SortFunc(list, func(a, b target) int { return compareRefs(a.Ref, b.Ref) })
	}
	atRoot, batch := 0, known.flags&isBatch != 0 // of that its messages' causes are the root's
	for i := range list {
		if batch || list[i].at.SpanID == known.span {
			atRoot++
		}
	}
	if atRoot < len(list) || known.flags&hasRoot == 0 {
		flags.tangled, flags.apart = true, true
	}
	from := len(c.causes)
	for i := range list {
		t := &list[i]
		if known.flags&isBeginning != 0 && atRoot == 0 {
			break
		}
		if atRoot > 0 && !batch && t.at.SpanID != known.span {
			continue
		}
		if last := len(c.causes) - 1; last >= from && c.causes[last].ref.TraceID == t.TraceID {
			if c.causes[last].ref != t.Ref {
				c.causes[last].many = true
			}
			c.causes[last].unsure = c.causes[last].unsure || t.unsure
			continue
		}
		c.causes = append(c.causes, chunkCause{pos: int32(pos), ref: t.Ref, loose: t.loose, unsure: t.unsure})
	}
	if len(c.causes)-from > 1 && flags.missing == noReason {
		flags.tangled = true
	}
	// Of one message, what stands below it and beside it has the same cause.
	flags.apart = flags.apart || batch && (len(c.causes)-from > 1 || c.causes[from].many)
}
