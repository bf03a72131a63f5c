package handlers

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

const (
	// maxStripCauses is how many causes, and how many kinds of effect, the strip of
	// a trace names; maxStripFolded how many more it holds folded. The page of all
	// causes has every one.
	maxStripCauses = 4
	maxStripFolded = 16
	// maxMarkName bounds a name in a mark of the waterfall, in bytes.
	maxMarkName = 40
)

func originView(o graph.OriginSpan) views.CauseView {
	return views.CauseView{Service: clip(o.Service, maxRowName), Name: rowName(o.Name), Href: spanHref(o.Ref), Thread: threadHref(o.Ref), Start: timeOf(o.StartUnixNano)}
}

func causeView(c *graph.Cause) views.CauseView {
	from := &c.Edge.From
	v := views.CauseView{
		Service: clip(from.Service, maxRowName), Name: rowName(from.Name), Href: spanHref(from.Ref), Start: timeOf(c.StartUnixNano),
		Wait: waited(c.Edge.WaitNano), Inferred: c.Edge.Inferred, How: howKnown(c.Edge.Kind, c.Edge.Rule, c.Edge.Inferred), Rule: ruleTitle(&c.Edge),
		Thread: threadHref(from.Ref),
	}
	if from.Name == "" {
		v.Name = "span " + from.SpanID.String()
		if from.SpanID.IsZero() {
			v.Name = "trace " + from.TraceID.String()
		}
	}
	if !c.Known {
		v.Dead = deadWords(c)
		if c.Reason == graph.Expired {
			v.Href = threadHref(c.To) // its own page has nothing left to show
		}
	}
	return v
}

// distinctCauses lists the causes of spans that want keeps, each cause once,
// those that are here first.
func distinctCauses(n *graph.Neighbours, want func(to trace.Ref) bool) (list []*graph.Cause) {
	seen := map[trace.Ref]bool{}
	for i := range n.Causes {
		if c := &n.Causes[i]; want(c.To) && !seen[c.Edge.From.Ref] {
			seen[c.Edge.From.Ref] = true
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *graph.Cause) int { return cmp.Compare(deadRank(a), deadRank(b)) })
	return list
}

func deadRank(c *graph.Cause) int {
	if c.Known || c.Reason == graph.Cut {
		return 0
	}
	return 1
}

// lookUp reads the causing spans that the graph left, since they are too many
// for one page, of those causes that a page shows. tree is the trace of the effects.
func (s *Server) lookUp(ctx context.Context, tree *traceTree, causes []*graph.Cause) {
	var refs []trace.Ref
	for _, c := range causes {
		if c.Reason == graph.Cut && !c.Edge.From.SpanID.IsZero() {
			refs = append(refs, c.Edge.From.Ref)
		}
	}
	if len(refs) == 0 {
		return
	}
	spans, err := s.Store.SpansOf(ctx, refs)
	if err != nil {
		s.Log.ErrorContext(ctx, "read causing spans", "error", err)
		return
	}
	found := map[trace.Ref]*trace.Span{}
	for i := range spans {
		if ref := spans[i].Ref(); found[ref] == nil {
			found[ref] = &spans[i]
		}
	}
	for _, c := range causes {
		if c.Reason != graph.Cut || c.Edge.From.SpanID.IsZero() {
			continue
		}
		from := found[c.Edge.From.Ref]
		if from == nil {
			c.Reason = graph.NotArrived
			continue
		}
		c.Known, c.Reason, c.StartUnixNano = true, "", from.StartUnixNano
		c.Edge.From.Service, c.Edge.From.Name = from.Service, from.Name
		if i := tree.rowOf(c.To.SpanID.String()); i >= 0 {
			c.Edge.WaitNano = max(0, tree.rows[i].startNano-from.EndUnixNano())
		}
	}
}

// causesStrip builds the strip above the waterfall.
func causesStrip(n *graph.Neighbours, id trace.ID) views.TraceCauses {
	v := views.TraceCauses{AllHref: "/t/" + id.String() + "/causes"}
	if n == nil {
		v.Origin.Unknown = "could not be looked up just now"
		return v
	}
	causes := distinctCauses(n, func(trace.Ref) bool { return true })
	for i, c := range causes {
		switch {
		case i < maxStripCauses:
			v.By = append(v.By, causeView(c))
		case i < maxStripCauses+maxStripFolded:
			v.ByFolded = append(v.ByFolded, causeView(c))
		}
	}
	v.ByMore = len(causes) - len(v.By) - len(v.ByFolded)
	v.Origin = originStatus(n.Origin)
	if at := v.Origin.At; at != nil {
		o := n.Origin.Origins[0].Ref
		v.Origin.Itself = o.TraceID == id && len(causes) == 0
		if v.Origin.Itself || slices.ContainsFunc(causes, func(c *graph.Cause) bool { return c.Edge.From.Ref == o }) {
			v.Origin.At = nil // named already
		}
	}
	groups := effectGroups(n.Effects)
	v.Caused = groups[:min(len(groups), maxStripCauses)]
	v.CausedFolded = groups[len(v.Caused):min(len(groups), maxStripCauses+maxStripFolded)]
	v.CausedMore = len(groups) - len(v.Caused) - len(v.CausedFolded)
	v.CausedSpans, v.CausedTraces, v.Truncated = n.Caused, n.Traces, n.Truncated
	return v
}

// originStatus says where a chain begins, or why that is not known.
func originStatus(o *graph.Origin) views.OriginView {
	var v views.OriginView
	if o == nil {
		return v
	}
	if l := o.Links; l != nil {
		v.Links = rowName(l.Of.Name) + ": " + keptLinks(l.Recorded, l.Dropped, l.Inferred)
	}
	candidates := o.Candidates
	switch o.Status {
	case graph.Found:
		if len(o.Origins) > 0 {
			at := originView(o.Origins[0])
			v.At, v.Hops = &at, len(o.Hops)
		}
		switch {
		case o.Expired && o.Incomplete:
			v.Note = "Some spans on the way never arrived, and its own have expired: what is kept longer names it."
		case o.Expired:
			v.Note = "Its spans have expired: what is kept longer names it."
		case o.Incomplete:
			v.Note = "Some spans on the way never arrived; their traces lead here."
		}
	case graph.Ambiguous:
		candidates = o.Origins
		v.Unknown = "one of " + ui.Count(len(candidates)) + " requests"
		v.Fix = "It was handled in a batch, and the spans do not say which of the batch's messages it belongs to. A link or an id on the span itself would."
	default:
		v.Unknown, v.Fix = unknownWords(o.Reason), whatToDo(o.Reason)
	}
	v.CandidatesMore = max(len(candidates)-maxCandidates, 0)
	for _, c := range candidatesOf(o) {
		v.Candidates = append(v.Candidates, originView(c))
	}
	if o.Status == graph.Unknown && o.Furthest != nil {
		f := originView(*o.Furthest)
		v.Furthest = &f
	}
	return v
}

// effectGroups joins effects of one service and name whatever span caused them,
// most first.
func effectGroups(effects []graph.Effect) []views.EffectView {
	at := map[[2]string]int{}
	var list []views.EffectView
	for i := range effects {
		e := &effects[i]
		key := [2]string{e.Service, e.Name}
		n, ok := at[key]
		if !ok {
			n = len(list)
			at[key] = n
			list = append(list, effectView(e))
			continue
		}
		g := &list[n]
		g.Count += e.Count
		g.Errors += e.Errors
		g.MaxWaitNano = max(g.MaxWaitNano, e.MaxWaitNano)
	}
	slices.SortStableFunc(list, func(a, b views.EffectView) int { return cmp.Compare(b.Count, a.Count) })
	for i := range list {
		list[i].Wait = effectWait(list[i].Count, list[i].MaxWaitNano)
	}
	return list
}

func effectView(e *graph.Effect) views.EffectView {
	v := views.EffectView{Service: clip(e.Service, maxRowName), Name: rowName(e.Name), Href: spanHref(e.First), Thread: threadHref(e.First),
		Count: e.Count, Errors: e.Errors, Start: timeOf(e.FirstStartUnixNano), MaxWaitNano: e.MaxWaitNano, Wait: effectWait(e.Count, e.MaxWaitNano)}
	if e.Name == "" {
		v.Name = "span that is not here"
	}
	return v
}

func effectWait(count int, nano int64) string {
	words := waited(nano)
	if count > 1 && words != "" {
		return "waited up to " + strings.TrimPrefix(words, "waited ")
	}
	return words
}

// spanMarks are the marks of spans that were caused from elsewhere, or that
// caused something elsewhere: "◀ POST /quotes", "▶ 3 jobs". Hollow ones are
// inferred.
func spanMarks(n *graph.Neighbours) map[trace.SpanID]string {
	if n == nil {
		return nil
	}
	marks := map[trace.SpanID]string{}
	by := map[trace.SpanID][]*graph.Cause{}
	for i := range n.Causes {
		c := &n.Causes[i]
		by[c.To.SpanID] = append(by[c.To.SpanID], c)
	}
	for id, list := range by {
		marks[id] = causeMark(list)
	}
	type sum struct {
		count int
		work  graph.Work
	}
	sums := map[trace.SpanID]sum{}
	for i := range n.Effects {
		e := &n.Effects[i]
		s, again := sums[e.From]
		if again && s.work != e.Work {
			e = &graph.Effect{From: e.From, Count: e.Count, Work: graph.WorkOther}
		}
		sums[e.From] = sum{s.count + e.Count, e.Work}
	}
	for id, s := range sums {
		mark := "▶ " + effectWords(s.count, s.work)
		if marks[id] != "" {
			mark = marks[id] + "  " + mark
		}
		marks[id] = mark
	}
	return marks
}

func causeMark(list []*graph.Cause) string {
	sign := "◁ "
	different := map[trace.Ref]bool{}
	dead := true
	for _, c := range list {
		if !c.Edge.Inferred {
			sign = "◀ "
		}
		different[c.Edge.From.Ref] = true
		dead = dead && !c.Known
	}
	switch c := list[0]; {
	case len(different) > 1:
		return sign + ui.Count(len(different)) + " causes"
	case dead && c.RootName != "":
		return sign + "a span of " + clip(c.RootName, maxMarkName) + " that is not here"
	case dead:
		return sign + "a span that is not here"
	case c.RootName != "":
		return sign + clip(c.RootName, maxMarkName)
	default:
		return sign + clip(c.Edge.From.Name, maxMarkName)
	}
}

func effectWords(n int, w graph.Work) string {
	switch w {
	case graph.WorkJob:
		return countOf(n, "job", "jobs")
	case graph.WorkMessage:
		return countOf(n, "consumer", "consumers")
	case graph.WorkRequest:
		return countOf(n, "request", "requests")
	}
	return countOf(n, "effect", "effects")
}
