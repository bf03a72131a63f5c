package graph

import (
	"cmp"
	"context"
	"slices"

	"redthread/tracestore/trace"
)

// Fold stands for traces that one leg, or the traces of another fold, set off,
// too many to be read: all those of one service and name. What it says of them
// comes from their summaries; some of them, Shown, are legs of the thread too.
//
// Within such a trace there may be several legs, and what its spans say of
// their causes was not asked: the fold counts it because its root says that it
// was caused from here.
type Fold struct {
	Cause   int        `json:"cause"`   // the leg that caused them, -1 if another fold did
	Parent  int        `json:"parent"`  // that fold, -1 if none
	Example int        `json:"example"` // the first of the legs that are shown, -1 if none is
	Depth   int        `json:"depth"`
	Service string     `json:"service"` // service and name are empty where too many were counted together
	Name    string     `json:"name"`
	Kind    trace.Kind `json:"kind"`
	Work    Work       `json:"work"`
	Topic   string     `json:"topic"` // class of the job, as far as summaries tell it

	Traces int `json:"traces"`
	Shown  int `json:"shown"`
	Failed int `json:"failed"` // traces with an error
	Spans  int `json:"spans"`
	Errors int `json:"errors"`

	// From the start of a trace to the end of its last span.
	MinNano       int64    `json:"min_nano,string"`
	MedianNano    int64    `json:"median_nano,string"`
	MaxNano       int64    `json:"max_nano,string"`
	BusyNano      int64    `json:"busy_nano,string"`     // of all together
	MaxWaitNano   int64    `json:"max_wait_nano,string"` // 0 under another fold, where it is not known
	StartUnixNano int64    `json:"start_unix_nano,string"`
	EndUnixNano   int64    `json:"end_unix_nano,string"`
	Slowest       trace.ID `json:"slowest"`
	FirstFailed   trace.ID `json:"first_failed"` // zero if none

	list []folding
}

const (
	// foldChunk is how many summaries are read at once (about 300 bytes each).
	foldChunk = 2048
	// maxFoldNames is how many services and names are told apart under one leg
	// or fold: a name for each customer would be no fold.
	maxFoldNames = 100
	// examplesBy is how many traces of a fold are read by each of: the first, the
	// slowest, the first that failed.
	examplesBy = 3
)

// folding is what a fold keeps of a trace while it is made.
type folding struct {
	id                                     trace.ID
	entry                                  int32 // of the round, -1 under another fold
	start, end                             int64
	wait                                   int64
	spans, errors, messages, jobs, request int32
}

// kindred is the traces of one service and name, and of one class of jobs.
type kindred struct {
	service, name string
	class         string
	kind          trace.Kind
	work          Work
	list          []folding
}

func (m *Summary) work() Work {
	switch {
	case m.Run:
		return WorkJob
	case m.Caused || m.Kind == trace.KindConsumer:
		return WorkMessage
	case m.Kind == trace.KindServer:
		return WorkRequest
	}
	return WorkOther
}

func foldingOf(m *Summary, entry int32) folding {
	return folding{id: m.TraceID, entry: entry, start: m.StartUnixNano, end: m.StartUnixNano + m.DurationNano,
		spans: int32(m.Spans), errors: int32(m.Errors), messages: int32(m.Messages), jobs: int32(m.Jobs), request: int32(m.Requests)}
}

// kin sorts summaries by service, name and class.
type kin struct {
	expect int // how many there will be, about
	groups []*kindred
	by     map[kindredKey]*kindred
}

type kindredKey struct {
	service, name, class string
	kind                 trace.Kind
}

func (k *kin) add(m *Summary, f folding) {
	key := kindredKey{m.Service, m.Name, m.Class(), m.Kind}
	if k.by == nil {
		k.by = map[kindredKey]*kindred{}
	}
	g := k.by[key]
	if g == nil && len(k.groups) >= maxFoldNames {
		key = kindredKey{}
		g = k.by[key]
	}
	if g == nil {
		g = &kindred{service: key.service, name: key.name, class: key.class, kind: key.kind, work: m.work()}
		if key == (kindredKey{}) {
			g.work = WorkOther
		}
		g.list = make([]folding, 0, k.expect>>min(2*len(k.groups), 30))
		k.by[key] = g
		k.groups = append(k.groups, g)
	}
	g.list = append(g.list, f)
}

// fold takes out of a round the ways that are too many siblings to be read, and
// counts what is behind them.
func (s *spread) fold(ctx context.Context, round []entry) ([]entry, error) {
	if s.g.edges == nil || len(round) <= s.g.o.FoldAbove {
		return round, nil
	}
	byLeg, legs := s.siblings(round)
	var gone []bool // entries of the round
	for _, leg := range legs {
		at := byLeg[leg]
		if len(at) <= s.g.o.FoldAbove {
			continue
		}
		if gone == nil {
			gone = make([]bool, len(round))
		}
		if err := s.foldSiblings(ctx, round, leg, at, gone); err != nil {
			return nil, err
		}
	}
	if gone == nil {
		return round, nil
	}
	kept := round[:0]
	for i, e := range round {
		if !gone[i] {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// siblings lists by leg the entries of a round that lead into traces that are
// not known yet, each once.
func (s *spread) siblings(round []entry) (byLeg map[int][]int, legs []int) {
	byLeg = map[int][]int{}
	seen := make(map[trace.ID]struct{}, len(round))
	for i := range round {
		e := &round[i]
		id := e.link.To.TraceID
		_, again := seen[id]
		if _, folded := s.folded[id]; folded || again || s.traces[id] != nil || s.keep[id] {
			continue
		}
		seen[id] = struct{}{}
		leg := e.leg
		if from := s.traces[e.link.From.TraceID]; leg < 0 && from != nil && from.begin() >= 0 {
			leg = int(s.members(from)[from.begin()]) - 1
		}
		if byLeg[leg] == nil {
			legs = append(legs, leg)
		}
		byLeg[leg] = append(byLeg[leg], i)
	}
	slices.Sort(legs)
	return byLeg, legs
}

// foldSiblings folds the effects of one leg and notes their entries as gone.
func (s *spread) foldSiblings(ctx context.Context, round []entry, leg int, at []int, gone []bool) error {
	k := kin{expect: len(at)}
	for chunk := range slices.Chunk(at, foldChunk) {
		ids := make([]trace.ID, len(chunk))
		for i, e := range chunk {
			ids[i] = round[e].link.To.TraceID
		}
		sums, err := s.g.edges.Summaries(ctx, ids)
		if err != nil {
			return err
		}
		for i := range sums {
			m, e := &sums[i], &round[chunk[i]]
			// Only of a root, and of the batches under a receipt, it is known
			// without reading that the walk back comes this way.
			if m.TraceID.IsZero() || !m.Root || m.SpanID != e.link.To.SpanID && !m.Caused {
				continue
			}
			f := foldingOf(m, int32(chunk[i]))
			if from := s.traces[e.link.From.TraceID]; from != nil {
				p := e.at - 1
				if p < 0 {
					p = from.find(e.link.From.SpanID, "")
				}
				if p >= 0 {
					s.hear(from, p)
					f.wait = wait(from.spans[p].end, m.StartUnixNano)
				}
			}
			k.add(m, f)
		}
	}
	for _, g := range k.groups {
		if len(g.list) <= s.g.o.FoldAbove {
			continue
		}
		if s.foldedTraces+len(g.list) > s.g.o.MaxFolded {
			s.cut(PartFolded)
			g.list = first(g.list, max(0, s.g.o.MaxFolded-s.foldedTraces))
		}
		examples := g.examples()
		ids := make([]trace.ID, 0, len(g.list))
		at := len(s.folds)
		for i := range g.list {
			f := &g.list[i]
			if examples[f.id] {
				s.examples[f.id] = at
				continue
			}
			gone[f.entry] = true
			ids = append(ids, f.id)
			s.folded[f.id] = struct{}{}
		}
		depth := 0
		if leg >= 0 {
			depth = s.legs[leg].Depth + 1
		}
		s.addFold(g, leg, -1, depth, examples)
		if err := s.unfold(ctx, at, ids); err != nil {
			return err
		}
	}
	return nil
}

// examples chooses the traces that are worth reading.
func (g *kindred) examples() map[trace.ID]bool {
	out := map[trace.ID]bool{}
	take := func(n int, less func(a, b *folding) int, ok func(*folding) bool) {
		var best []*folding
		for i := range g.list {
			f := &g.list[i]
			if !ok(f) || len(best) == n && less(f, best[n-1]) >= 0 {
				continue
			}
			at, _ := slices.BinarySearchFunc(best, f, less)
			best = slices.Insert(best, at, f)
			best = first(best, n)
		}
		for _, f := range best {
			out[f.id] = true
		}
	}
	byID := func(a, b *folding) int { return slices.Compare(a.id[:], b.id[:]) }
	byStart := func(a, b *folding) int { return cmp.Or(cmp.Compare(a.start, b.start), byID(a, b)) }
	any := func(*folding) bool { return true }
	take(examplesBy, byStart, any)
	take(examplesBy, func(a, b *folding) int { return cmp.Or(cmp.Compare(b.end-b.start, a.end-a.start), byID(a, b)) }, any)
	take(examplesBy, byStart, func(f *folding) bool { return f.errors > 0 })
	return out
}

// addFold sums up the traces of a fold. Those that are read as well count for
// the fold, but not for the ripple, which has them from their spans; but for their
// jobs: of the two traces that may tell of a run one may be read.
func (s *spread) addFold(g *kindred, cause, parent, depth int, shown map[trace.ID]bool) {
	f := Fold{Cause: cause, Parent: parent, Example: -1, Depth: depth, Service: g.service, Name: g.name, Kind: g.kind, Work: g.work, Topic: g.class,
		Traces: len(g.list), Shown: len(shown), StartUnixNano: g.list[0].start}
	took := make([]int64, len(g.list))
	failedAt := int64(0)
	for i := range g.list {
		t := &g.list[i]
		took[i] = t.end - t.start
		f.BusyNano += took[i]
		f.Spans += int(t.spans)
		f.Errors += int(t.errors)
		f.StartUnixNano, f.EndUnixNano = min(f.StartUnixNano, t.start), max(f.EndUnixNano, t.end)
		f.MaxWaitNano = max(f.MaxWaitNano, t.wait)
		if f.Slowest.IsZero() || took[i] > f.MaxNano {
			f.Slowest, f.MaxNano = t.id, took[i]
		}
		if t.errors > 0 {
			f.Failed++
			if f.FirstFailed.IsZero() || t.start < failedAt {
				f.FirstFailed, failedAt = t.id, t.start
			}
		}
		s.ripple.Jobs += int(t.jobs)
		if shown[t.id] {
			continue
		}
		s.foldedTraces++
		s.ripple.Traces++
		s.ripple.Spans += int(t.spans)
		s.ripple.Messages += int(t.messages)
		s.ripple.Requests += int(t.request)
		s.ripple.Errors += int(t.errors)
		s.ripple.BusyNano += took[i]
		s.ripple.WaitingNano += t.wait
		s.lastEnd = max(s.lastEnd, t.end)
	}
	slices.Sort(took)
	f.MinNano, f.MedianNano = took[0], took[len(took)/2]
	f.list = g.list
	s.folds = append(s.folds, f)
}

// unfold counts what the traces of a fold set off, and what that did, as far as
// it is recorded: what only ids join is not asked for.
func (s *spread) unfold(ctx context.Context, parent int, ids []trace.ID) error {
	type level struct {
		parent int
		ids    []trace.ID
	}
	for todo := []level{{parent, ids}}; len(todo) > 0; todo = todo[1:] {
		l := todo[0]
		k := kin{expect: len(l.ids) / 2}
		for chunk := range slices.Chunk(l.ids, foldChunk) {
			next, err := s.unfoldChunk(ctx, chunk)
			if err != nil {
				return err
			}
			for part := range slices.Chunk(next, foldChunk) {
				sums, err := s.g.edges.Summaries(ctx, part)
				if err != nil {
					return err
				}
				for i := range sums {
					if m := &sums[i]; !m.TraceID.IsZero() && m.Root {
						k.add(m, foldingOf(m, -1))
					}
				}
			}
		}
		for _, g := range k.groups {
			at := len(s.folds)
			s.addFold(g, -1, l.parent, s.folds[l.parent].Depth+1, nil)
			next := make([]trace.ID, len(g.list))
			for i := range g.list {
				next[i] = g.list[i].id
			}
			todo = append(todo, level{at, next})
		}
	}
	return nil
}

// unfoldChunk lists the traces that some traces set off and that are not part of
// the thread yet.
func (s *spread) unfoldChunk(ctx context.Context, ids []trace.ID) ([]trace.ID, error) {
	room := s.g.o.MaxFolded - len(s.folded)
	if room <= 0 {
		s.cut(PartFolded)
		return nil, nil
	}
	links, cut, err := s.g.edges.EffectsOf(ctx, ids, room)
	if err != nil {
		return nil, err
	}
	if cut {
		s.cut(PartFolded)
	}
	var next []trace.ID
	for _, l := range links {
		id := l.To.TraceID
		if _, folded := s.folded[id]; folded || s.traces[id] != nil || s.keep[id] {
			continue
		}
		s.folded[id] = struct{}{}
		next = append(next, id)
	}
	return next, nil
}
