package handlers

import (
	"slices"
	"strings"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views"
	"redthread/views/ui"
)

// maxStripEffects is how many kinds of effect the strip of a trace names; the
// thread page has all of them.
const maxStripEffects = 4

// hopWords say how a hop is known.
var hopWords = map[graph.Kind]string{
	graph.KindParent:     "recorded parent",
	graph.KindLink:       "recorded link",
	graph.KindChildTrace: "recorded as child trace",
	graph.KindBatch:      "one of a batch",
	graph.KindMessageID:  "same message id",
	graph.KindRequestID:  "same request id",
	graph.KindAttribute:  "same id",
}

func howKnown(k graph.Kind, rule string, inferred bool) string {
	words := hopWords[k]
	switch rule {
	case graph.RuleSharedRoot:
		words = "same trace, the parent never arrived"
	case graph.RuleBatch:
		words = "one of a batch"
	case graph.RuleSpanLink:
		if inferred {
			words = "link of a message in its batch"
		}
	}
	if words == "" {
		words = string(k)
	}
	if inferred && words != "" {
		words = "inferred: " + words
	}
	return words
}

// unknownWords say why an origin or a cause is not known.
func unknownWords(reason string) string {
	switch reason {
	case graph.NotArrived:
		return "not known: the span it names has not arrived"
	case graph.SampledOut:
		return "not known: the span it names was sampled out by its sender"
	case graph.LinksDropped:
		return "not known: its sender dropped links, as it may carry only so many"
	case graph.NotRecorded:
		return "not recorded: its sender wrote down no parent or link"
	case graph.Expired:
		return "no longer known: the spans are past their time"
	case graph.Cut:
		return "not known: the chain behind it is longer than is followed at once"
	}
	return "not known"
}

func waited(nano int64) string {
	if nano <= 0 {
		return ""
	}
	return "waited " + ui.Duration(nano)
}

func spanHref(r trace.Ref) string {
	if r.SpanID.IsZero() {
		return "/t/" + r.TraceID.String()
	}
	return "/t/" + r.TraceID.String() + "/" + r.SpanID.String()
}

func timeOf(nano int64) (t time.Time) {
	if nano != 0 {
		t = unixTime(nano)
	}
	return t
}

func originView(o graph.OriginSpan) views.CauseView {
	return views.CauseView{Service: o.Service, Name: o.Name, Href: spanHref(o.Ref), Start: timeOf(o.StartUnixNano)}
}

func causeView(c graph.Cause) views.CauseView {
	v := views.CauseView{
		Service: c.Edge.From.Service, Name: c.Edge.From.Name, Href: spanHref(c.Edge.From.Ref), Start: timeOf(c.StartUnixNano),
		Wait: waited(c.Edge.WaitNano), Inferred: c.Edge.Inferred, How: howKnown(c.Edge.Kind, c.Edge.Rule, c.Edge.Inferred),
	}
	if v.Name == "" {
		v.Name = "span " + c.Edge.From.SpanID.String()
	}
	return v
}

// causesStrip builds the strip above the waterfall.
func causesStrip(n *graph.Neighbours) views.TraceCauses {
	var v views.TraceCauses
	if n == nil {
		v.Unknown = "could not be looked up just now"
		return v
	}
	seen := map[trace.Ref]bool{}
	for _, c := range n.Causes {
		if ref := c.Edge.From.Ref; c.Known && !seen[ref] && len(v.By) < maxStripEffects {
			seen[ref] = true
			v.By = append(v.By, causeView(c))
		}
	}
	if o := n.Origin; o != nil {
		switch {
		case o.Status == graph.Unknown && len(v.By) == 0:
			v.Unknown = unknownWords(o.Reason)
		case o.Status == graph.Ambiguous && len(v.By) == 0:
			v.Unknown = "one of " + ui.Count(len(o.Origins)) + " requests whose messages came in one batch"
		case o.Status == graph.Found && len(o.Origins) > 0 && !seen[o.Origins[0].Ref] && len(v.By) > 0:
			from := originView(o.Origins[0])
			v.Origin = &from
		}
	}
	v.Caused, v.More = effectGroups(n.Effects, maxStripEffects)
	v.Truncated = n.Truncated
	return v
}

// effectGroups joins effects of one service and name whatever span caused them,
// most first, and says how many groups it left out.
func effectGroups(effects []graph.Effect, limit int) (list []views.EffectView, more int) {
	at := map[[2]string]int{}
	for _, e := range effects {
		key := [2]string{e.Service, e.Name}
		i, ok := at[key]
		if !ok {
			i = len(list)
			at[key] = i
			list = append(list, views.EffectView{Service: e.Service, Name: e.Name, Href: spanHref(e.First), Start: timeOf(e.FirstStartUnixNano), Wait: waited(e.MaxWaitNano)})
		}
		list[i].Count += e.Count
		list[i].Errors += e.Errors
	}
	slices.SortStableFunc(list, func(a, b views.EffectView) int { return b.Count - a.Count })
	if len(list) > limit {
		more = len(list) - limit
		list = list[:limit]
	}
	for i := range list {
		if e := &list[i]; e.Name == "" {
			e.Name = "span that is not here"
		}
		if list[i].Count > 1 && list[i].Wait != "" {
			list[i].Wait = "waited up to " + strings.TrimPrefix(list[i].Wait, "waited ")
		}
	}
	return list, more
}

// effectCounts counts what each span of the trace caused in other traces.
func effectCounts(n *graph.Neighbours) map[trace.SpanID]int {
	counts := map[trace.SpanID]int{}
	if n != nil {
		for _, e := range n.Effects {
			counts[e.From] += e.Count
		}
	}
	return counts
}
