package handlers

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// maxRepeats is how often work of one service and name stands under itself
// before what is deeper is folded into the last: a job that enqueues itself a
// thousand times over is one row.
const maxRepeats = 4

// threadGroup is what the map draws as one bar: the legs of one service, name
// and way of coming that the same group caused, with what of them is folded.
type threadGroup struct {
	id       string // stable while the thread grows
	parent   int    // group, -1 for the first
	legs     []int  // by start
	folds    []int
	topic    string // of the message that brought it, or ""
	service  string
	name     string
	work     graph.Work
	start    int64
	end      int64
	runs     int  // legs, and traces that are folded
	messages int  // that these took at least: a trace that is folded does not tell
	batches  bool // some took more than one in one go
	retries  int  // of the legs, those that were tried again
	failed   int
	inferred int
	expired  int
	waitNano int64 // the longest
	skewNano int64 // the largest
	shared   bool  // some of it may be of other threads
	least    int64 // how long one run took: least, median and most
	median   int64
	most     int64
	deep     int   // how often it set itself off, one run the next, within the group
	children []int // groups by start
	size     int   // runs in it and in everything below
}

type threadKey struct {
	parent               int
	service, name, topic string
	work                 graph.Work
}

// grouping folds the legs and folds of a thread into groups.
type grouping struct {
	t      *graph.Thread
	raw    bool // times as they were sent
	groups []threadGroup
	of     []int // group of each leg
	above  []int // how many runs of its own group set off each leg, one the next
	ofFold []int // and of each fold
	at     map[threadKey]int
}

func newGrouping(t *graph.Thread, raw bool) *grouping {
	g := &grouping{t: t, raw: raw, of: make([]int, len(t.Legs)), above: make([]int, len(t.Legs)), ofFold: make([]int, len(t.Folds)), at: map[threadKey]int{}}
	// Legs stand after their causes, so groups do too.
	for i := range t.Legs {
		l := &t.Legs[i]
		k := threadKey{parent: -1, service: l.Service, name: legName(l), work: l.Work}
		if l.Cause >= 0 && l.Cause < i {
			k.parent = g.of[l.Cause]
		}
		if l.Work == graph.WorkMessage && l.Cause >= 0 {
			k.topic = l.Topic
		}
		at := g.group(k)
		g.of[i] = at
		g.above[i] = g.runsAbove(i)
		g.groups[at].take(l, i, g.begin(l), g.above[i])
	}
	examples := map[int][]int{}
	for i := range t.Legs {
		if f := t.Legs[i].Fold; f >= 0 {
			examples[f] = append(examples[f], i)
		}
	}
	for i := range t.Folds {
		at := g.foldGroup(&t.Folds[i], examples[i])
		g.ofFold[i] = at
		g.groups[at].takeFold(&t.Folds[i], i)
	}
	g.finish()
	return g
}

// foldGroup is the group of a fold: that of its examples, or of legs that are
// called the same. Spans of different jobs may have one name (Sidekiq's have that
// of the queue): a fold with examples of several is none of them.
func (g *grouping) foldGroup(f *graph.Fold, examples []int) int {
	k := threadKey{parent: -1, service: f.Service, name: foldName(f), work: f.Work}
	switch {
	case f.Cause >= 0:
		k.parent = g.of[f.Cause]
	case f.Parent >= 0:
		k.parent = g.ofFold[f.Parent]
	}
	alike := -1
	if k.parent >= 0 && len(examples) == 0 {
		for _, c := range g.groups[k.parent].children {
			for _, l := range g.groups[c].legs {
				if leg := &g.t.Legs[l]; leg.Service == f.Service && leg.Name == f.Name && leg.Work == f.Work && (f.Topic == "" || f.Topic == leg.Topic) {
					examples = append(examples, l)
					break
				}
			}
		}
	}
	for _, l := range examples {
		if at := g.of[l]; alike < 0 {
			alike = at
		} else if at != alike {
			return g.group(k)
		}
	}
	if alike < 0 {
		return g.group(k)
	}
	return alike
}

// begin is when a leg is drawn to start.
func (g *grouping) begin(l *graph.Leg) int64 {
	if g.raw {
		return l.StartUnixNano
	}
	return l.StartUnixNano + l.SkewNano
}

// group returns the group of a key; what repeats itself under itself too often
// goes into the last of its like.
func (g *grouping) group(k threadKey) int {
	if at, ok := g.at[k]; ok {
		return at
	}
	again, last := 0, -1
	for p := k.parent; p >= 0; p = g.groups[p].parent {
		if up := &g.groups[p]; up.service == k.service && up.name == k.name && up.work == k.work && up.topic == k.topic {
			if again++; last < 0 {
				last = p
			}
		}
	}
	if again >= maxRepeats {
		g.at[k] = last
		return last
	}
	at := len(g.groups)
	g.at[k] = at
	above := ""
	if k.parent >= 0 {
		above = g.groups[k.parent].id
		g.groups[k.parent].children = append(g.groups[k.parent].children, at)
	}
	g.groups = append(g.groups, threadGroup{
		id: groupID(above, k.service, k.name, k.topic, string(k.work)), parent: k.parent, topic: k.topic, service: k.service, name: k.name, work: k.work,
	})
	return at
}

func (grp *threadGroup) extend(start, end int64) {
	if grp.runs == 0 {
		grp.start, grp.end = start, end
	}
	grp.start, grp.end = min(grp.start, start), max(grp.end, end)
}

// runsAbove counts the runs of a leg's group that lead to it. Between two of them
// stand only groups below theirs, with work of other names.
func (g *grouping) runsAbove(leg int) int {
	at := g.of[leg]
	for i := leg; ; {
		c := g.t.Legs[i].Cause
		if c < 0 || c >= i || g.of[c] == g.groups[at].parent {
			return 0
		}
		if i = c; g.of[i] == at {
			return g.above[i] + 1
		}
	}
}

func (grp *threadGroup) take(l *graph.Leg, i int, begin int64, above int) {
	grp.extend(begin, begin+l.DurationNano)
	grp.deep = max(grp.deep, above)
	grp.legs = append(grp.legs, i)
	grp.waitNano = max(grp.waitNano, l.WaitNano)
	grp.skewNano = max(grp.skewNano, l.SkewNano)
	if l.Inferred {
		grp.inferred++
	}
	if l.Expired {
		grp.expired++
	}
	grp.batches = grp.batches || l.Messages > 1
	if l.Fold >= 0 {
		grp.messages += max(l.Messages-1, 0)
		return // its fold counts it
	}
	grp.runs++
	grp.messages += l.Messages
	grp.shared = grp.shared || l.Shared
	if l.Errors > 0 {
		grp.failed++
	}
	if l.Attempt > 1 {
		grp.retries++
	}
}

func (grp *threadGroup) takeFold(f *graph.Fold, i int) {
	grp.extend(f.StartUnixNano, f.EndUnixNano)
	grp.folds = append(grp.folds, i)
	grp.runs += f.Traces
	grp.failed += f.Failed
	if f.Work == graph.WorkMessage {
		grp.messages += f.Traces
	}
	grp.waitNano = max(grp.waitNano, f.MaxWaitNano)
}

// finish sums up what needs all legs.
func (g *grouping) finish() {
	for i := len(g.groups) - 1; i >= 0; i-- {
		grp := &g.groups[i]
		grp.size += grp.runs
		if p := grp.parent; p >= 0 {
			g.groups[p].size += grp.size
		}
		slices.SortStableFunc(grp.legs, func(a, b int) int { return cmp.Compare(g.begin(&g.t.Legs[a]), g.begin(&g.t.Legs[b])) })
		slices.SortStableFunc(grp.children, func(a, b int) int { return cmp.Compare(g.groups[a].start, g.groups[b].start) })
		g.durations(grp)
	}
}

// durations finds how long a run of the group took: least, median, most. The
// median is exact for legs, and for a fold alone; of both it is that of the
// larger part.
func (g *grouping) durations(grp *threadGroup) {
	d := make([]int64, 0, len(grp.legs))
	for _, l := range grp.legs {
		if g.t.Legs[l].Fold < 0 {
			d = append(d, g.t.Legs[l].DurationNano)
		}
	}
	slices.Sort(d)
	part := 0
	if len(d) > 0 {
		grp.least, grp.median, grp.most, part = d[0], d[(len(d)-1)/2], d[len(d)-1], len(d)
	}
	for _, i := range grp.folds {
		f := &g.t.Folds[i]
		if part == 0 {
			grp.least = f.MinNano
		}
		grp.least, grp.most = min(grp.least, f.MinNano), max(grp.most, f.MaxNano)
		if f.Traces > part {
			grp.median, part = f.MedianNano, f.Traces
		}
	}
}

// takeMessages adds what another group took.
func (grp *threadGroup) takeMessages(of *threadGroup) {
	grp.messages += of.messages
	grp.batches = grp.batches || of.batches
	grp.folds = append(grp.folds, of.folds...)
}

// messageWords tell how many messages the runs of a group took, where that is not one
// each, as with polls; "" elsewhere.
func (grp *threadGroup) messageWords() string {
	switch {
	case !grp.batches:
		return ""
	case len(grp.folds) > 0:
		return "at least " + countOf(grp.messages, "message", "messages")
	}
	return countOf(grp.messages, "message", "messages")
}

// legName is what a leg is called: a job by its class, whatever its span says.
func legName(l *graph.Leg) string {
	if l.Work == graph.WorkJob && l.Topic != "" {
		return rowName(l.Topic)
	}
	return rowName(l.Name)
}

func foldName(f *graph.Fold) string {
	if f.Service == "" && f.Name == "" {
		return "of many names"
	}
	if f.Work == graph.WorkJob && f.Topic != "" {
		return rowName(f.Topic)
	}
	return rowName(f.Name)
}

func groupID(parts ...string) string {
	h := fnv.New32a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// unit is one member of a group: the leg of a message, request or job, or the
// attempts at it, or a trace that is folded.
type unit struct {
	legs []int
	fold *graph.FoldTrace
}

// units are the members of a group, in an order.
func (g *grouping) units(grp *threadGroup, order graph.FoldOrder) []unit {
	var list []unit
	seen := map[trace.ID]bool{}
	attempts := map[int]int{}
	for _, i := range grp.legs {
		l := &g.t.Legs[i]
		if l.Fold >= 0 {
			seen[l.TraceID] = true
		}
		if at, ok := attempts[l.FirstAttempt]; ok && l.FirstAttempt >= 0 {
			list[at].legs = append(list[at].legs, i)
			continue
		}
		if l.FirstAttempt >= 0 {
			attempts[l.FirstAttempt] = len(list)
		}
		list = append(list, unit{legs: []int{i}})
	}
	for _, i := range grp.folds {
		f := &g.t.Folds[i]
		page := f.List(graph.ByStart, 0, f.Traces)
		for k := range page {
			if !seen[page[k].TraceID] {
				list = append(list, unit{fold: &page[k]})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b unit) int {
		c := 0
		switch order {
		case graph.BySlowest:
			c = cmp.Compare(g.took(&b), g.took(&a))
		case graph.ByFailed:
			c = cmp.Compare(min(g.errors(&b), 1), min(g.errors(&a), 1))
		}
		return cmp.Or(c, cmp.Compare(g.starts(&a), g.starts(&b)))
	})
	return list
}

func (g *grouping) starts(u *unit) int64 {
	if u.fold != nil {
		return u.fold.StartUnixNano
	}
	return g.begin(&g.t.Legs[u.legs[0]])
}

// took is how long the last attempt took.
func (g *grouping) took(u *unit) int64 {
	if u.fold != nil {
		return u.fold.DurationNano
	}
	return g.t.Legs[u.legs[len(u.legs)-1]].DurationNano
}

func (g *grouping) errors(u *unit) int {
	if u.fold != nil {
		return u.fold.Errors
	}
	n := 0
	for _, i := range u.legs {
		n += g.t.Legs[i].Errors
	}
	return n
}
