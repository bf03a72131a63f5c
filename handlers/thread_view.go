package handlers

import (
	"cmp"
	"maps"
	"slices"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

const (
	maxCandidates   = 8 // named on the page; a page of causes has all
	maxBusyServices = 8 // on the side; the rest are summed up
)

// threadView builds the page of a thread.
func threadView(t *graph.Thread, st threadState, who requesters) views.ThreadPage {
	p := views.ThreadPage{TraceID: st.trace, Known: t.Origin != nil, Table: st.table, Ripple: rippleFacts(t, st.raw)}
	g := newGrouping(t, st.raw)
	selected := t.Selected
	if st.sel == noSelection || selected == 0 && st.sel == "" && st.span == "" {
		selected = -1 // the thread begins there: nothing needs to be singled out
	}
	begin, known := threadBeginning(t)
	if known {
		p.Name, p.Service, p.Start, p.By = beginningName(t, begin), shown(begin.Service), timeOf(begin.StartUnixNano), who[begin.Ref].user
	}
	p.JSONHref = "/api/v1/traces/" + st.trace + "/thread"
	if st.span != "" {
		p.JSONHref += "?span=" + st.span
	}
	p.TraceHref = "/t/" + st.trace
	if st.span != "" {
		p.TraceHref += "/" + st.span
	}
	path := told(g, selected)
	href := func(leg int) string { return st.selecting(t.Legs[leg].Ref) }
	p.Sentence = threadSentence(g, path, p.By, href)
	p.SentenceText = sentenceText(p.Sentence)
	for _, o := range st.open {
		if !slices.ContainsFunc(g.groups, func(grp threadGroup) bool { return grp.id == o.id }) {
			st.leaveOut("open", o.id, "a group of this thread")
		}
	}
	p.Notices = threadNotices(t, st, selected)
	p.Candidates, p.MoreCandidates = threadCandidates(t, g, st, selected, who)
	if p.MoreCandidates > 0 {
		p.AllCandidates = causesHref(t, st)
	}
	p.Busy, p.Hops = busyServices(t), hopCounts(g)
	p.Critical = criticalView(g, st)
	if selected >= 0 {
		p.Panel = legPanel(g, st, selected)
	} else if st.sel != "" && st.sel != noSelection {
		p.Notices = append(p.Notices, views.Notice{Text: "The span selected in the address is not part of this thread.", Href: "/thread/" + selectedTrace(st.sel), Link: "Its own thread"})
	}
	other := st.with(func(st *threadState) { st.table, st.row = !st.table, 0 })
	here := st.with(func(st *threadState) { st.row = 0 })
	p.MapHref, p.TableHref = here, other
	if st.table {
		p.MapHref, p.TableHref = other, here
		p.Rows = threadTable(g, st, selected)
		return p
	}
	p.CriticalHref = st.with(func(st *threadState) { st.critical = !st.critical })
	p.CriticalOn = st.critical
	m := newThreadMap(g, st, selected, path)
	if st.zoomed() && !m.st.zoomed() {
		p.Notices = append(p.Notices, views.Notice{Text: "The address asks for a time that this thread has nothing of: all of it is shown."})
	}
	p.Map = m.view()
	return p
}

func selectedTrace(sel string) string {
	ref, _ := parseSelection(sel)
	if ref.SpanID.IsZero() {
		return ref.TraceID.String()
	}
	return ref.TraceID.String() + "?span=" + ref.SpanID.String()
}

// threadNotices say what is not known of the thread, and why.
func threadNotices(t *graph.Thread, st threadState, selected int) []views.Notice {
	var list []views.Notice
	say := func(text string) { list = append(list, views.Notice{Text: text}) }
	switch {
	case t.Status == graph.Ambiguous:
		say("Where this began is ambiguous: any of " + ui.Count(len(t.Candidates)) + " requests may have caused it, or all of them as a batch. What is drawn starts where all of them meet.")
	case t.Circle:
		say("This thread has no beginning: what caused it leads round in a circle. It is cut open at its earliest span.")
	case t.Origin == nil && t.Start != nil:
		say("Where this began is " + unknownWords(t.Reason) + ". The thread starts at the earliest span that is known.")
	case t.Origin == nil:
		say("Where this began is " + unknownWords(t.Reason) + ".")
	}
	if t.Links != nil {
		say(rowName(t.Links.Of.Name) + " kept " + linkWords(t.Links) + ".")
	}
	if t.Expired {
		say("Some of its spans are past their time. What is left of them are the summaries of their traces: service, name, times and counts.")
	}
	if t.Incomplete {
		say("A span on the way to the origin never arrived. The root of its trace stands for it.")
	}
	if n := len(t.Loops); n > 0 {
		say(countOf(n, "cause leads", "causes lead") + " back to what caused " + itOrThem(n) + ": the thread goes on there for ever and is drawn once.")
	}
	if t.Ripple.Shared > 0 && t.Origin != nil {
		others := 0
		for i := range t.Legs {
			if l := &t.Legs[i]; l.Shared && l.BatchHere < l.Batch {
				others = max(others, l.Batch-l.BatchHere)
			}
		}
		say("Some of it may not be this thread's: a batch of messages was handled together, of which " + countOf(others, "message is", "messages are") +
			" of other threads. The work after the batch is counted whole for each of them, so figures with “up to” are upper bounds.")
	}
	for _, text := range st.unread {
		say(text)
	}
	list = append(list, skewNotice(t, st)...)
	if t.Folded > 0 {
		say(ui.Count(t.Folded) + " traces are too many of a kind to be drawn one by one: they are folded and counted from their summaries.")
	}
	for _, part := range t.Cuts {
		if words := cutWords[part]; words != "" && !(part == graph.PartOrigin && t.Circle) {
			say(words)
		}
	}
	return list
}

// cutWords say where a thread was cut.
var cutWords = map[graph.Part]string{
	graph.PartTraces: "Cut: it has more traces than are drawn, and they are not enough of a kind to be folded. Counts and sums are of the part shown.",
	graph.PartSpans:  "Cut: it has more spans than are read for one thread. Counts and sums are of the part shown.",
	graph.PartTrace:  "Cut: one of its traces is larger than is read. Counts and sums are of the part shown.",
	graph.PartLinks:  "Cut: one of its traces set off more than is read. Counts and sums are of the part shown.",
	graph.PartLegs:   "Cut: it has more requests, messages and jobs than are listed. Counts and sums are of the part shown.",
	graph.PartFolded: "Cut: more was set off than is counted. Counts and sums are of the part shown.",
	graph.PartOrigin: "Cut: the way back to its origin is longer than is followed at once.",
}

// skewNotice says whose clocks are behind, and switches the correction.
func skewNotice(t *graph.Thread, st threadState) []views.Notice {
	most := map[string]int64{}
	n := 0
	for i := range t.Legs {
		if l := &t.Legs[i]; l.SkewNano > 0 {
			n++
			most[l.Service] = max(most[l.Service], l.SkewNano)
		}
	}
	if n == 0 {
		return nil
	}
	names := slices.SortedFunc(maps.Keys(most), func(a, b string) int { return cmp.Or(cmp.Compare(most[b], most[a]), cmp.Compare(a, b)) })
	text := "The clock of " + names[0] + " is at least " + ui.Duration(most[names[0]]) + " behind"
	if len(names) > 1 {
		text = "Clocks of " + ui.Count(len(names)) + " services are behind, that of " + names[0] + " by at least " + ui.Duration(most[names[0]])
	}
	toggle := st.with(func(st *threadState) { st.raw = !st.raw })
	if st.raw {
		return []views.Notice{{Text: text + ". Times are drawn as they were sent: effects stand before their causes.", Href: toggle, Link: "Correct the clocks"}}
	}
	return []views.Notice{{Text: text + ": what it sent is drawn later, so that no effect begins before its cause.", Href: toggle, Link: "Draw times as sent"}}
}

// threadCandidates are the beginnings that the thread may have, with what each
// would mean.
func threadCandidates(t *graph.Thread, g *grouping, st threadState, selected int, who requesters) (list []views.ThreadCandidate, more int) {
	for i, c := range t.Candidates {
		if i == maxCandidates {
			return list, len(t.Candidates) - i
		}
		v := views.ThreadCandidate{Cause: originView(c), By: who[c.Ref].facts(c.Ref)}
		ref := trace.Ref{}
		at := selected
		if at < 0 && len(t.Legs) > 0 {
			at = 0
		}
		if at >= 0 {
			l := &t.Legs[at]
			ref = l.Ref
			if passed := g.begin(l) - c.StartUnixNano; passed > 0 {
				v.Means = ui.Duration(passed) + " from there to " + legName(l)
			}
		}
		there := threadState{trace: c.TraceID.String(), span: c.SpanID.String()}
		if c.SpanID.IsZero() {
			there.span = ""
		}
		if !ref.TraceID.IsZero() {
			there.sel = selection(ref)
		}
		v.Thread = there.href()
		list = append(list, v)
	}
	return list, 0
}

// causesHref is the page of all causes of the leg where an ambiguous thread
// starts.
func causesHref(t *graph.Thread, st threadState) string {
	ref := trace.Ref{}
	if len(t.Legs) > 0 {
		ref = t.Legs[0].Ref
	}
	if ref.TraceID.IsZero() {
		return "/t/" + st.trace + "/causes"
	}
	return "/t/" + ref.TraceID.String() + "/causes"
}

// traceTimeTitle says what the busy time of a [graph.Ripple] is, which is not that of
// its services: those are busy at once within a trace, and idle in the midst of one.
const traceTimeTitle = "From the start to the end of each of its traces, added up: waiting within a trace counts"

// beginningName is what a thread is called: the leg that it begins with.
func beginningName(t *graph.Thread, begin graph.OriginSpan) string {
	if len(t.Legs) > 0 && t.Legs[0].Ref == begin.Ref {
		return legName(&t.Legs[0])
	}
	return rowName(begin.Name)
}

// lastEffect is when the last effect ended, from the start of the thread, by the
// clocks that are drawn.
func lastEffect(t *graph.Thread, raw bool) int64 {
	last := t.Ripple.LastEffectNano
	if raw || len(t.Legs) == 0 {
		return last
	}
	for i := range t.Legs {
		if l := &t.Legs[i]; l.SkewNano > 0 {
			last = max(last, l.StartUnixNano+l.SkewNano+l.DurationNano-threadStart(t))
		}
	}
	return last
}

// rippleFacts are the measures of the thread.
func rippleFacts(t *graph.Thread, raw bool) []views.ThreadFact {
	r := t.Ripple
	failed, retried := 0, 0
	for i := range t.Legs {
		l := &t.Legs[i]
		if l.Work == graph.WorkJob && l.Errors > 0 && l.Fold < 0 {
			failed++
		}
		if l.Attempt > 1 {
			retried++
		}
	}
	for i := range t.Folds {
		if t.Folds[i].Work == graph.WorkJob {
			failed += t.Folds[i].Failed
		}
	}
	upTo := ""
	if r.Shared > 0 && t.Origin != nil {
		upTo = "up to "
	}
	jobs := views.ThreadFact{Name: "jobs run", Value: upTo + ui.Count(r.Jobs)}
	if failed > 0 {
		jobs.Warn = ui.Count(failed) + " failed"
	}
	list := []views.ThreadFact{
		{Name: "traces", Value: upTo + ui.Count(r.Traces)}, {Name: "messages", Value: upTo + ui.Count(r.Messages), Title: "Spans that send: messages, and jobs that are enqueued"}, jobs,
		{Name: "requests set off", Value: upTo + ui.Count(r.Requests)}, {Name: "errors", Value: upTo + ui.Count(r.Errors)}, {Name: "trace time", Value: upTo + ui.Duration(r.BusyNano), Title: traceTimeTitle},
		{Name: "waiting in queues", Value: upTo + ui.Duration(r.WaitingNano)}, {Name: "last effect", Value: plusDuration(lastEffect(t, raw))},
	}
	if retried > 0 {
		list = slices.Insert(list, 3, views.ThreadFact{Name: "further attempts", Value: ui.Count(retried)})
	}
	untaken := 0
	for _, e := range t.Ends {
		untaken += e.Count
	}
	if untaken > 0 {
		list = append(list, views.ThreadFact{Name: "sent, not known to be taken", Value: ui.Count(untaken)})
	}
	return list
}

// serviceTotal is what one service did for a thread.
type serviceTotal struct {
	Service  string `json:"service"`
	BusyNano int64  `json:"busy_nano,string"`
	Runs     int    `json:"runs"`
	Errors   int    `json:"errors"`
}

// serviceTotals are the totals by service, the busiest first.
func serviceTotals(t *graph.Thread) []serviceTotal {
	sums := map[string]*serviceTotal{}
	add := func(service string, busy int64, runs, errors int) {
		if sums[service] == nil {
			sums[service] = &serviceTotal{Service: service}
		}
		s := sums[service]
		s.BusyNano, s.Runs, s.Errors = s.BusyNano+busy, s.Runs+runs, s.Errors+errors
	}
	for i := range t.Legs {
		if l := &t.Legs[i]; l.Fold < 0 {
			add(l.Service, l.BusyNano, 1, l.Errors)
		}
	}
	for i := range t.Folds {
		f := &t.Folds[i]
		add(f.Service, f.BusyNano, f.Traces, f.Errors)
	}
	list := make([]serviceTotal, 0, len(sums))
	for _, s := range sums {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b serviceTotal) int {
		return cmp.Or(cmp.Compare(b.BusyNano, a.BusyNano), cmp.Compare(a.Service, b.Service))
	})
	return list
}

// busyServices are the totals that the side names.
func busyServices(t *graph.Thread) []views.BusyService {
	all := serviceTotals(t)
	var list []views.BusyService
	var rest serviceTotal
	for i, s := range all {
		if i >= maxBusyServices && len(all) > maxBusyServices+1 {
			rest.BusyNano, rest.Runs, rest.Errors = rest.BusyNano+s.BusyNano, rest.Runs+s.Runs, rest.Errors+s.Errors
			continue
		}
		list = append(list, busyService(s, cmp.Or(shown(s.Service), "of many names"), all[0].BusyNano))
	}
	if rest.Runs > 0 {
		list = append(list, busyService(rest, ui.Count(len(all)-maxBusyServices)+" others", all[0].BusyNano))
	}
	return list
}

func busyService(s serviceTotal, name string, most int64) views.BusyService {
	return views.BusyService{Service: name, Text: ui.Duration(s.BusyNano), Width: percent(float64(min(s.BusyNano, most)), most), Runs: s.Runs, Errors: s.Errors}
}

// hopCounts counts the ways in which hops are known, recorded ones first. Those of
// traces that are folded are counted from summaries, which do not tell the way.
func hopCounts(g *grouping) []views.HopCount {
	counts := map[views.HopCount]int{}
	legs := g.t.Legs
	for _, rest := range g.rests() {
		if rest.traces > 0 {
			counts[views.HopCount{Text: "counted, not looked at one by one"}] += rest.traces
		}
	}
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
		return cmp.Or(boolInt(a.Inferred)-boolInt(b.Inferred), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	return list
}

// maxCriticalSteps is how many steps of the critical path the side lists.
const maxCriticalSteps = 12

// criticalView lists the steps to the last effect; of many those that took
// longest.
func criticalView(g *grouping, st threadState) []views.CriticalStep {
	if !st.critical {
		return nil
	}
	var list []views.CriticalStep
	for i, s := range g.t.Critical {
		v := views.CriticalStep{Nano: s.SelfNano + s.WaitNano, Self: ui.Duration(s.SelfNano)}
		if s.Leg >= 0 {
			l := &g.t.Legs[s.Leg]
			v.Name, v.Service, v.Href = legName(l), shown(l.Service), st.selecting(l.Ref)
		} else {
			f := &g.t.Folds[s.Fold]
			v.Name, v.Service = foldName(f)+" ×"+ui.Count(f.Traces), f.Service
		}
		if s.WaitNano > 0 && i > 0 {
			v.Wait = waited(s.WaitNano)
		}
		list = append(list, v)
	}
	if len(list) > maxCriticalSteps {
		sorted := slices.Clone(list)
		slices.SortFunc(sorted, func(a, b views.CriticalStep) int { return cmp.Compare(b.Nano, a.Nano) })
		least := sorted[maxCriticalSteps-1].Nano
		skipped := len(list) - maxCriticalSteps
		list = slices.DeleteFunc(list, func(s views.CriticalStep) bool { return s.Nano < least })
		list = append(list[:min(len(list), maxCriticalSteps)], views.CriticalStep{Name: countOf(skipped, "shorter step", "shorter steps") + " left out"})
	}
	return list
}
