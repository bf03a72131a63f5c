package handlers

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

const (
	maxCandidates   = 12  // named on the page; the JSON has all
	threadTableRows = 500 // of one page of the table
	maxPhrases      = 7   // hops that the sentence tells
)

// threadState is what the address of a thread page says.
type threadState struct {
	trace string
	span  string
	open  []string // groups unfolded
	table bool
	row   int
}

// href is the address of the state.
func (st threadState) href() string {
	var q []string
	if st.span != "" {
		q = append(q, "span="+st.span)
	}
	if len(st.open) > 0 {
		q = append(q, "open="+strings.Join(st.open, ","))
	}
	if st.table {
		q = append(q, "view=table")
	}
	if st.row > 0 {
		q = append(q, "row="+strconv.Itoa(st.row))
	}
	if len(q) == 0 {
		return "/thread/" + st.trace
	}
	return "/thread/" + st.trace + "?" + strings.Join(q, "&")
}

// toggled is the state after folding or unfolding a group.
func (st threadState) toggled(group string) threadState {
	if i := slices.Index(st.open, group); i >= 0 {
		st.open = slices.Delete(slices.Clone(st.open), i, i+1)
	} else if len(st.open) < maxStateKeys {
		st.open = append(slices.Clone(st.open), group)
	}
	return st
}

// threadView builds the page of a thread. who names the person behind it, "" if
// that is not known.
func threadView(t *graph.Thread, st threadState, who string) views.ThreadPage {
	p := views.ThreadPage{
		TraceID: st.trace, By: who, Known: t.Origin != nil, Table: st.table,
		JSONHref: "/api/v1/traces/" + st.trace + "/thread", TraceHref: "/t/" + st.trace,
		Ripple: rippleFacts(t), Busy: busyServices(t.Legs), Hops: hopCounts(t.Legs),
	}
	if st.span != "" {
		p.TraceHref += "/" + st.span
	}
	switch begin := cmp.Or(t.Origin, t.Start); {
	case begin != nil:
		p.Name, p.Service, p.Start = rowName(begin.Name), begin.Service, timeOf(begin.StartUnixNano)
	case len(t.Legs) > 0:
		p.Name, p.Service, p.Start = rowName(t.Legs[0].Name), t.Legs[0].Service, timeOf(t.Legs[0].StartUnixNano)
	}
	p.Notices = threadNotices(t)
	for i, c := range t.Candidates {
		if i == maxCandidates {
			p.MoreCandidates = len(t.Candidates) - i
			break
		}
		p.Candidates = append(p.Candidates, originView(c))
	}
	other := st
	other.table, other.row = !st.table, 0
	here := st
	here.row = 0
	p.MapHref, p.TableHref = here.href(), other.href()
	if st.table {
		p.MapHref, p.TableHref = p.TableHref, p.MapHref
	}
	groups, _ := threadGroups(t.Legs)
	p.Sentence = threadSentence(t, groups, who)
	selected := t.Selected
	if selected == 0 {
		selected = -1 // the thread begins there: nothing needs to be singled out
	}
	if st.table {
		threadTable(&p, t, st, selected)
		return p
	}
	open := map[string]bool{}
	for _, g := range st.open {
		open[g] = true
	}
	p.Map = newThreadMap(t, open, selected, func(group string) string { return st.toggled(group).href() }).view()
	return p
}

// threadNotices say what is not known of the thread, and why.
func threadNotices(t *graph.Thread) []string {
	var list []string
	switch {
	case t.Status == graph.Ambiguous:
		list = append(list, "Where this began is ambiguous: it handled a batch of messages that came from "+ui.Count(len(t.Candidates))+
			" requests. What follows starts where all of them meet.")
	case t.Origin == nil && t.Start != nil:
		list = append(list, "Where this began is "+unknownWords(t.Reason)+". The thread starts at the earliest span that is known.")
	case t.Origin == nil:
		list = append(list, "Where this began is "+unknownWords(t.Reason)+".")
	}
	if t.Folded > 0 {
		list = append(list, ui.Count(t.Folded)+" of its traces are too many of a kind to be drawn: they are counted by their summaries.")
	}
	if t.Cut {
		list = append(list, "This thread is larger than what was read of it: counts and sums are of the part shown.")
	}
	return list
}

// rippleFacts are the measures of the thread.
func rippleFacts(t *graph.Thread) []views.ThreadFact {
	r := t.Ripple
	failed := 0
	for i := range t.Legs {
		if t.Legs[i].Work == graph.WorkJob && t.Legs[i].Errors > 0 {
			failed++
		}
	}
	jobs := views.ThreadFact{Name: "jobs run", Value: ui.Count(r.Jobs)}
	if failed > 0 {
		jobs.Warn = ui.Count(failed) + " failed"
	}
	errors := views.ThreadFact{Name: "errors", Value: ui.Count(r.Errors)}
	return []views.ThreadFact{
		{Name: "traces", Value: ui.Count(r.Traces)}, {Name: "messages", Value: ui.Count(r.Messages)}, jobs,
		{Name: "requests set off", Value: ui.Count(r.Requests)}, errors, {Name: "busy time", Value: ui.Duration(r.BusyNano)},
		{Name: "waiting in queues", Value: ui.Duration(r.WaitingNano)}, {Name: "last effect", Value: plusDuration(r.LastEffectNano)},
	}
}

// maxBusyServices is how many services the side names; the rest are summed up.
const maxBusyServices = 8

func busyServices(legs []graph.Leg) []views.BusyService {
	sums := map[string]int64{}
	for i := range legs {
		sums[legs[i].Service] += legs[i].BusyNano
	}
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int {
		return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b))
	})
	var list []views.BusyService
	var rest int64
	for i, name := range names {
		if i >= maxBusyServices && len(names) > maxBusyServices+1 {
			rest += sums[name]
			continue
		}
		list = append(list, views.BusyService{Service: name, Text: ui.Duration(sums[name]), Width: percent(float64(sums[name]), sums[names[0]])})
	}
	if rest > 0 {
		list = append(list, views.BusyService{Service: ui.Count(len(names)-maxBusyServices) + " others", Text: ui.Duration(rest), Width: percent(min(float64(rest), float64(sums[names[0]])), sums[names[0]])})
	}
	return list
}

// hopCounts counts the ways in which hops are known, recorded ones first.
func hopCounts(legs []graph.Leg) []views.HopCount {
	counts := map[views.HopCount]int{}
	for i := range legs {
		if legs[i].Cause >= 0 {
			counts[views.HopCount{Text: howKnown(legs[i].By, legs[i].Rule, legs[i].Inferred), Inferred: legs[i].Inferred}]++
		}
	}
	list := make([]views.HopCount, 0, len(counts))
	for h, n := range counts {
		h.Count = n
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b views.HopCount) int {
		if a.Inferred != b.Inferred {
			if b.Inferred {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	return list
}

// threadSentence tells the thread along its largest branch: what began it, what
// that sent, what was set off and how often.
func threadSentence(t *graph.Thread, groups []threadGroup, who string) []views.Phrase {
	if len(groups) == 0 {
		return nil
	}
	legs := t.Legs
	first := &groups[0]
	list := []views.Phrase{{Text: rowName(first.name), Strong: true, Href: spanHref(legs[first.legs[0]].Ref)}}
	if who != "" {
		list = append(list, views.Phrase{Text: "by " + who})
	}
	list = append(list, views.Phrase{Text: "in " + first.service, Quiet: true})
	at, told, aside := 0, 0, 0
	for told < maxPhrases {
		next := largest(groups, groups[at].children)
		if next < 0 {
			break
		}
		aside += len(groups[at].children) - 1
		g := &groups[next]
		if g.topic != "" {
			list = append(list, views.Phrase{Arrow: true, Text: "message"}, views.Phrase{Text: g.topic, Strong: true})
			if g.waitNano > 0 {
				list = append(list, views.Phrase{Text: waitWords(g), Quiet: true})
			}
		}
		count, failed, deep := len(g.legs), g.failed, 0
		for { // the same work again and again is told once
			again := sameChild(groups, next)
			if again < 0 {
				break
			}
			aside += len(groups[next].children) - 1
			next = again
			count += len(groups[next].legs)
			failed += groups[next].failed
			deep++
		}
		list = append(list, views.Phrase{Arrow: true, Text: rowName(g.name), Strong: true, Href: spanHref(legs[g.legs[0]].Ref)})
		if count > 1 {
			list = append(list, views.Phrase{Text: "×" + ui.Count(count)})
		}
		if g.service != groups[at].service {
			list = append(list, views.Phrase{Text: "in " + g.service, Quiet: true})
		}
		if deep > 0 {
			list = append(list, views.Phrase{Text: "set off itself " + ui.Count(deep) + " deep", Quiet: true})
		}
		if g.topic == "" && g.waitNano > 0 {
			list = append(list, views.Phrase{Text: waitWords(g), Quiet: true})
		}
		if failed > 0 {
			list = append(list, views.Phrase{Text: ui.Count(failed) + " failed", Warn: true})
		}
		at = next
		told++
	}
	if told == 0 {
		return append(list, views.Phrase{Text: "set off nothing that is recorded", Quiet: true})
	}
	if below := groups[at].size - len(groups[at].legs); below > 0 {
		list = append(list, views.Phrase{Arrow: true, Text: ui.Count(below) + " more", Quiet: true})
	}
	if aside > 0 {
		list = append(list, views.Phrase{Text: "and " + countOf(aside, "other branch", "other branches"), Quiet: true})
	}
	return list
}

func waitWords(g *threadGroup) string {
	if len(g.legs) > 1 {
		return "waited up to " + ui.Duration(g.waitNano)
	}
	return waited(g.waitNano)
}

// largest is the child with the most below it, -1 if there is none.
func largest(groups []threadGroup, children []int) int {
	best := -1
	for _, g := range children {
		if best < 0 || groups[g].size > groups[best].size {
			best = g
		}
	}
	return best
}

// sameChild is the child that is the same work as its parent, -1 if none is.
func sameChild(groups []threadGroup, at int) int {
	for _, c := range groups[at].children {
		if groups[c].service == groups[at].service && groups[c].name == groups[at].name && groups[c].work == groups[at].work {
			return c
		}
	}
	return -1
}

// threadTable fills the table with one page of legs.
func threadTable(p *views.ThreadPage, t *graph.Thread, st threadState, selected int) {
	p.RowsAll = len(t.Legs)
	first := min(max(st.row-1, 0), max(len(t.Legs)-1, 0))
	if st.row == 0 && selected >= threadTableRows {
		first = selected - threadTableRows/2
	}
	last := min(first+threadTableRows, len(t.Legs))
	page := func(row int) string {
		st.row = row + 1
		return st.href()
	}
	if first > 0 {
		p.Earlier = &views.MoreRows{Count: first, Href: page(max(first-threadTableRows, 0))}
	}
	if last < len(t.Legs) {
		p.Later = &views.MoreRows{Count: len(t.Legs) - last, Href: page(last)}
	}
	for i := first; i < last; i++ {
		l := &t.Legs[i]
		r := views.ThreadRow{
			Depth: l.Depth, Name: legName(l), Service: l.Service, Work: string(l.Work), Href: spanHref(l.Ref),
			Offset: plusDuration(l.StartUnixNano - t.Legs[0].StartUnixNano), Duration: ui.Duration(l.DurationNano),
			Spans: l.Spans, Errors: l.Errors, Inferred: l.Inferred, Selected: i == selected,
		}
		if l.Work != graph.WorkJob {
			r.Topic = l.Topic
		}
		if l.WaitNano > 0 {
			r.Wait = ui.Duration(l.WaitNano)
		}
		if l.Cause >= 0 {
			r.How = howKnown(l.By, l.Rule, l.Inferred)
		}
		p.Rows = append(p.Rows, r)
	}
}

// userKeys are the attributes that name the person behind a request, the
// standard ones first.
var userKeys = []string{"user.id", "enduser.id", "app.user_id", "user_id", "usr.id"}

// whoOf names the person behind a span, or "".
func whoOf(spans []trace.Span, at trace.SpanID) string {
	for i := range spans {
		if spans[i].SpanID != at {
			continue
		}
		for _, key := range userKeys {
			if v, ok := spans[i].Attribute(key); ok && v.Text() != "" {
				return "user " + clip(v.Text(), 60)
			}
		}
	}
	return ""
}
