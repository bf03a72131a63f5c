package graph

import (
	"cmp"
	"slices"

	"redthread/tracestore/trace"
)

// Part is what a thread is cut at.
type Part string

// The parts, by the option that bounds them.
const (
	PartTraces Part = "traces" // MaxNodes
	PartSpans  Part = "spans"  // MaxThreadSpans
	PartTrace  Part = "trace"  // MaxTraceSpans: one of the traces is larger
	PartLinks  Part = "links"  // MaxLinks
	PartLegs   Part = "legs"   // MaxLegs
	PartFolded Part = "folded" // MaxFolded
	PartOrigin Part = "origin" // MaxReads, or a circle: the way back
)

func (s *spread) cut(p Part) {
	if !slices.Contains(s.cuts, p) {
		s.cuts = append(s.cuts, p)
	}
}

// Loop is a cause that leads back to a leg on its own way: From caused To, and
// To is, over some hops, what caused From. The thread goes on there for ever and
// is drawn once.
type Loop struct {
	From int `json:"from"` // legs
	To   int `json:"to"`
}

// End is where a thread ends although more was sent: spans of one leg that sent
// messages or jobs which nothing that is known took.
type End struct {
	Leg   int      `json:"leg"`
	Topic string   `json:"topic"`
	Count int      `json:"count"`
	First SpanInfo `json:"first"`
	// AtUnixNano is when the first was sent, as its leg's clock had it.
	AtUnixNano int64  `json:"at_unix_nano,string"`
	Reason     string `json:"reason"` // not_arrived
}

// Step is a part of the way to what ended last: the time from the begin of a leg
// until it set off the next one, and what that waited. A fold can only be last.
type Step struct {
	Leg      int   `json:"leg"`  // -1 for a fold
	Fold     int   `json:"fold"` // -1 for a leg
	SelfNano int64 `json:"self_nano,string"`
	WaitNano int64 `json:"wait_nano,string"` // before it
}

// hear notes that something took what span at sent. Where libraries nest their
// producers (ActiveJob above Sidekiq) one message stands for all of them.
func (s *spread) hear(x *index, at int32) {
	heard := s.heard[x]
	if len(heard) < len(x.spans) {
		heard = append(heard, make([]bool, len(x.spans)-len(heard))...)
		s.heard[x] = heard
	}
	for at >= 0 && !heard[at] {
		heard[at] = true
		if p := x.spans[at].parent; p >= 0 && x.spans[p].kind == trace.KindProducer {
			at = p
		}
	}
}

// loop notes an edge back to a leg above.
func (s *spread) loop(x *index, at int32, from int) {
	to := int(s.members(x)[at]) - 1
	for leg := from; leg >= 0 && to >= 0; leg = s.legs[leg].Cause {
		if leg == to {
			if l := (Loop{From: from, To: to}); !slices.Contains(s.loops, l) {
				s.loops = append(s.loops, l)
			}
			return
		}
	}
}

// ends lists what was sent and not taken, by leg and topic. Legs are in order.
func (s *spread) ends() []End {
	type key struct {
		leg   int
		topic string
	}
	at := map[key]int{}
	out := []End{}
	for _, m := range s.sent {
		n := &m.x.spans[m.at]
		if heard := s.heard[m.x]; len(heard) > int(m.at) && heard[m.at] || n.parent >= 0 && m.x.spans[n.parent].kind == trace.KindProducer {
			continue
		}
		k := key{int(s.legOf[m.x][m.at]) - 1, n.topic}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, End{Leg: k.leg, Topic: k.topic, First: m.x.info(m.at), AtUnixNano: n.start, Reason: NotArrived})
		}
		e := &out[i]
		e.Count++
		if n.start < e.AtUnixNano {
			e.First, e.AtUnixNano = m.x.info(m.at), n.start
		}
	}
	slices.SortFunc(out, func(a, b End) int {
		return cmp.Or(cmp.Compare(a.Leg, b.Leg), cmp.Compare(a.AtUnixNano, b.AtUnixNano), cmp.Compare(a.Topic, b.Topic))
	})
	return out
}

// critical is the way to what ended last, by the corrected clocks.
func critical(t *Thread) []Step {
	out := []Step{}
	last, end := -1, int64(0)
	for i := range t.Legs {
		if e := t.Legs[i].end(); last < 0 || e > end {
			last, end = i, e
		}
	}
	if last < 0 {
		return out
	}
	fold := -1
	for i := range t.Folds {
		if f := &t.Folds[i]; f.EndUnixNano > end {
			fold, end = i, f.EndUnixNano
		}
	}
	next := end // when the step after began
	wait := int64(0)
	if fold >= 0 {
		f := &t.Folds[fold]
		out = append(out, Step{Leg: -1, Fold: fold, SelfNano: f.EndUnixNano - f.StartUnixNano})
		next, wait = f.StartUnixNano, f.MaxWaitNano
		for f.Cause < 0 && f.Parent >= 0 {
			f = &t.Folds[f.Parent]
			next = min(next, f.EndUnixNano)
		}
		last = f.Cause
		out[0].WaitNano = wait
	}
	for leg := last; leg >= 0; leg = t.Legs[leg].Cause {
		l := &t.Legs[leg]
		begin := l.StartUnixNano + l.SkewNano
		out = append(out, Step{Leg: leg, Fold: -1, SelfNano: max(0, next-wait-begin), WaitNano: l.WaitNano})
		next, wait = begin, l.WaitNano
	}
	slices.Reverse(out)
	return out
}

func (l *Leg) end() int64 { return l.StartUnixNano + l.SkewNano + l.DurationNano }

// FoldOrder is an order of the traces of a fold.
type FoldOrder string

// The orders: by start, the slowest first, those that failed first.
const (
	ByStart   FoldOrder = "start"
	BySlowest FoldOrder = "slowest"
	ByFailed  FoldOrder = "failed"
)

// FoldTrace is one trace of a fold, as its summary has it.
type FoldTrace struct {
	TraceID       trace.ID `json:"trace_id"`
	StartUnixNano int64    `json:"start_unix_nano,string"`
	DurationNano  int64    `json:"duration_nano,string"`
	WaitNano      int64    `json:"wait_nano,string"`
	Spans         int      `json:"spans"`
	Errors        int      `json:"errors"`
}

// List returns n traces of a fold from one on, in an order. It is for a thread
// as a [Graph] gave it, not for one that was decoded, and must not be called from
// several goroutines.
func (f *Fold) List(order FoldOrder, from, n int) []FoldTrace {
	slices.SortFunc(f.list, func(a, b folding) int {
		c := 0
		switch order {
		case BySlowest:
			c = cmp.Compare(b.end-b.start, a.end-a.start)
		case ByFailed:
			c = cmp.Compare(min(b.errors, 1), min(a.errors, 1))
		}
		return cmp.Or(c, cmp.Compare(a.start, b.start), slices.Compare(a.id[:], b.id[:]))
	})
	from = min(max(from, 0), len(f.list))
	out := make([]FoldTrace, 0, min(n, len(f.list)-from))
	for _, l := range f.list[from:min(from+n, len(f.list))] {
		out = append(out, FoldTrace{TraceID: l.id, StartUnixNano: l.start, DurationNano: l.end - l.start, WaitNano: l.wait, Spans: int(l.spans), Errors: int(l.errors)})
	}
	return out
}
