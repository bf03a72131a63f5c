package handlers

import (
	"context"
	"strconv"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// maxLegEffects is how many kinds of effect the panel names.
const maxLegEffects = 8

// legPanel tells of the leg that is selected: what it is, what caused it and
// what it set off.
func legPanel(g *grouping, st threadState, at int) *views.ThreadPanel {
	t := g.t
	l := &t.Legs[at]
	p := &views.ThreadPanel{TraceID: l.TraceID.String(), SpanID: l.SpanID.String(), Name: legName(l), Service: shown(l.Service), Work: string(l.Work), TraceHref: spanHref(l.Ref),
		Close: st.with(func(st *threadState) { st.sel = noSelection }), Start: timeOf(l.StartUnixNano), Copy: "/thread/" + selectedTrace(selection(l.Ref)), Error: l.Errors > 0}
	fact := func(name, value string) {
		if value != "" {
			p.Facts = append(p.Facts, views.ThreadFact{Name: name, Value: value})
		}
	}
	fact("started", plusDuration(g.begin(l)-threadStart(t)))
	fact("took", ui.Duration(l.DurationNano))
	if l.BusyNano != l.DurationNano {
		fact("busy", ui.Duration(l.BusyNano))
	}
	if l.WaitNano > 0 {
		fact("waited", ui.Duration(l.WaitNano))
	}
	fact("topic, queue or class", shown(l.Topic))
	fact("hops from the start", strconv.Itoa(l.Depth))
	if l.Messages > 0 {
		fact("messages", ui.Count(l.Messages))
	}
	fact("spans", ui.Count(l.Spans))
	p.Facts = append(p.Facts, views.ThreadFact{Name: "errors", Value: ui.Count(l.Errors)})
	if l.Attempts > 1 {
		fact("attempt", ui.Count(l.Attempt)+" of "+ui.Count(l.Attempts))
	}
	note := func(text string) { p.Notes = append(p.Notes, text) }
	if l.SkewNano > 0 {
		if st.raw {
			note("Its clock is " + ui.Duration(l.SkewNano) + " behind; it is drawn as sent.")
		} else {
			note("Its clock is " + ui.Duration(l.SkewNano) + " behind; it is drawn later. The span itself keeps its time.")
		}
	}
	if l.Batch > 0 {
		if l.Work == graph.WorkJob {
			note(ui.Count(l.BatchHere) + " of its " + ui.Count(l.Batch) + " causes are of this thread.")
		} else if l.BatchHere > 0 {
			note(ui.Count(l.BatchHere) + " of the " + ui.Count(l.Batch) + " messages of its batch are of this thread.")
		} else {
			note("It handled a batch of " + ui.Count(l.Batch) + " messages.")
		}
		p.BatchHref = "/thread/" + selectedTrace(selection(l.Ref))
	}
	if l.Links != nil {
		note("It kept " + linkWords(l.Links) + ".")
	}
	if l.Expired {
		note("Its spans are past their time: this is the summary that is left of its trace.")
	}
	for _, e := range t.Ends {
		if e.Leg == at {
			what := countOf(e.Count, "message", "messages")
			if e.Topic != "" {
				what += " to " + shown(e.Topic)
			}
			note(what + " it sent: nothing known took " + itOrThem(e.Count) + ".")
		}
	}
	for _, o := range t.Loops {
		if o.From == at {
			note("What it set off leads back to " + legName(&t.Legs[o.To]) + ", which caused it.")
		}
	}
	if l.Cause >= 0 {
		c := &t.Legs[l.Cause]
		by := views.ThreadPanelHop{Name: legName(c), Service: shown(c.Service), Href: st.selecting(c.Ref), How: howKnown(l.By, l.Rule, l.Inferred), Inferred: l.Inferred, Wait: waited(l.WaitNano)}
		if l.From.SpanID != c.SpanID && !l.From.SpanID.IsZero() && l.From.Name != "" {
			by.Span, by.SpanHref = rowName(l.From.Name), spanHref(l.From.Ref)
		}
		p.By = &by
	} else if t.Origin != nil {
		p.Origin = true
	} else if t.Status == graph.Ambiguous {
		p.Unknown = "one of several requests, see above"
	} else {
		p.Unknown = unknownWords(t.Reason)
	}
	p.Attempts = g.attempts(at, st)
	p.Effects, p.MoreEffects = g.effects(at, st)
	if grp := &g.groups[g.of[at]]; grp.runs > 1 && len(p.Attempts) != len(grp.legs) {
		p.Among = g.among(grp, st)
	}
	return p
}

// tellDue says how much of what the leg waited went by before it was due, where its
// span tells.
func (s *Server) tellDue(ctx context.Context, p *views.ThreadPanel, l *graph.Leg) error {
	if l.WaitNano <= 0 || l.Expired {
		return nil
	}
	spans, err := s.Store.SpansOf(ctx, []trace.Ref{l.Ref})
	if err != nil {
		return err
	}
	for i := range spans {
		due, ok := dueOf(&spans[i])
		asked := l.WaitNano - max(0, spans[i].StartUnixNano-due.due)
		if !ok || asked < int64(time.Millisecond) {
			continue // no clock is that good
		}
		p.Notes = append(p.Notes, "It was due only after "+ui.Duration(asked)+" of what it waited, as "+due.by+" says: a delay that was asked for, or the pause before a retry. It stood in its queue for "+ui.Duration(l.WaitNano-asked)+".")
		break
	}
	return nil
}

// attempts are the other attempts at what the leg did.
func (g *grouping) attempts(at int, st threadState) []views.ThreadStep {
	first := g.t.Legs[at].FirstAttempt
	if first < 0 {
		return nil
	}
	var list []views.ThreadStep
	for i := range g.t.Legs {
		l := &g.t.Legs[i]
		if l.FirstAttempt != first {
			continue
		}
		text := "attempt " + ui.Count(l.Attempt) + ", " + ui.Duration(l.DurationNano)
		if l.Errors > 0 {
			text += ", failed"
		}
		list = append(list, views.ThreadStep{Text: text, Href: st.selecting(l.Ref), Current: i == at})
	}
	return list
}

// effects are what the leg set off, by group.
func (g *grouping) effects(at int, st threadState) (list []views.ThreadPanelHop, more int) {
	index := map[int]int{}
	add := func(group, n, failed int, href string) {
		i, ok := index[group]
		if !ok {
			if len(list) == maxLegEffects {
				more += n
				return
			}
			i = len(list)
			index[group] = i
			grp := &g.groups[group]
			list = append(list, views.ThreadPanelHop{Name: grp.name, Service: shown(grp.service), Href: href, Topic: shown(grp.topic)})
		}
		list[i].Count += n
		list[i].Failed += failed
	}
	for i := range g.t.Legs {
		if l := &g.t.Legs[i]; l.Cause == at && l.Fold < 0 {
			add(g.of[i], 1, min(l.Errors, 1), st.selecting(l.Ref))
		}
	}
	for i := range g.t.Folds {
		if f := &g.t.Folds[i]; f.Cause == at {
			add(g.ofFold[i], f.Traces, f.Failed, st.selecting(trace.Ref{TraceID: f.Slowest}))
		}
	}
	return list, more
}

// among places the leg among its like.
func (g *grouping) among(grp *threadGroup, st threadState) *views.ThreadAmong {
	a := &views.ThreadAmong{Text: "one of " + ui.Count(grp.runs) + " · " + tookWords(grp)}
	if grp.failed > 0 {
		a.Text += " · " + ui.Count(grp.failed) + " failed"
	}
	link := func(text, href string) { a.Links = append(a.Links, views.ThreadStep{Text: text, Href: href}) }
	if st.opened(grp.id) == nil {
		link("unfold", st.toggled(grp.id).href())
	} else {
		link("fold", st.toggled(grp.id).href())
	}
	slowest, failed := -1, -1
	for _, i := range grp.legs {
		l := &g.t.Legs[i]
		if slowest < 0 || l.DurationNano > g.t.Legs[slowest].DurationNano {
			slowest = i
		}
		if l.Errors > 0 && failed < 0 {
			failed = i
		}
	}
	ref := trace.Ref{}
	if slowest >= 0 {
		ref = g.t.Legs[slowest].Ref
	}
	bad := trace.Ref{}
	if failed >= 0 {
		bad = g.t.Legs[failed].Ref
	}
	for _, i := range grp.folds {
		f := &g.t.Folds[i]
		if slowest < 0 || f.MaxNano > g.t.Legs[slowest].DurationNano {
			ref = trace.Ref{TraceID: f.Slowest}
		}
		if !f.FirstFailed.IsZero() && failed < 0 {
			bad = trace.Ref{TraceID: f.FirstFailed}
		}
	}
	link("slowest", st.selecting(ref))
	if !bad.TraceID.IsZero() {
		link("first that failed", st.selecting(bad))
	}
	return a
}
