package handlers

import (
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
	"redthread/views/ui"
)

// hopWords say how a hop is known, by its kind; ruleWords are for the rules that
// deserve words of their own.
var hopWords = map[graph.Kind]string{
	graph.KindParent:     "recorded parent",
	graph.KindLink:       "recorded link",
	graph.KindChildTrace: "recorded as child trace",
	graph.KindBatch:      "one of a batch",
	graph.KindMessageID:  "same message id",
	graph.KindRequestID:  "same request id",
	graph.KindAttribute:  "same id",
}

var ruleWords = map[string]string{
	graph.RuleSharedRoot: "same trace, the parent never arrived",
	graph.RuleBatch:      "one of a batch",
	"link_event":         "recorded link event",
	"dd_span_links":      "recorded Datadog link",
	"job_id":             "same job id",
	"queue_id":           "same id in its queue",
	"kafka_offset":       "same topic, partition and offset",
	"kafka_key":          "same Kafka key",
}

func howKnown(k graph.Kind, rule string, inferred bool) string {
	words := hopWords[k]
	if w := ruleWords[rule]; w != "" {
		words = w
	}
	if rule == graph.RuleSpanLink && inferred {
		words = "link of a message in its batch"
	}
	if words == "" {
		words = string(k)
	}
	if inferred && words != "" {
		words = "inferred: " + words
	}
	return words
}

// ruleTitle names the rule behind a hop for those who look closer.
func ruleTitle(e *graph.Edge) string {
	sure := "recorded by the sender"
	if e.Inferred {
		sure = "inferred, not recorded"
	}
	return string(e.Kind) + " edge, rule " + e.Rule + ": " + sure
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
		return "not recorded: its sender left nothing that says for certain what caused it"
	case graph.Expired:
		return "no longer known: the spans are past their time"
	case graph.TooMany:
		return "not known: more than a thousand spans share the value by which a correlation of the settings joins it"
	case graph.Cut:
		return "not known: the chain behind it is longer than is followed at once"
	}
	return "not known"
}

// whatToDo says what a person can do about an origin that is not known, "" if
// nothing can be done.
func whatToDo(reason string) string {
	switch reason {
	case graph.NotArrived:
		return "If it was just sent, look again in a minute: it is joined as soon as it arrives. Else its sender sends elsewhere, or samples."
	case graph.SampledOut:
		return "Let the sampler of the causing service keep what it hands on, or decide once for the whole chain (parent-based sampling)."
	case graph.LinksDropped:
		return "Raise OTEL_SPAN_LINK_COUNT_LIMIT where the batch is read (128 unless set), or record message ids on both sides: they bring dropped links back."
	case graph.NotRecorded:
		return "Let its library record a parent or a link, or an id that both sides have and nothing else has; attributes of your own that mean the same thing are joined in Settings, Correlations."
	case graph.Expired:
		return "Keep spans longer (--span-retention): what caused what is kept for longer than the spans, but not every detail."
	case graph.TooMany:
		return "Choose attributes for the correlation, in Settings, Correlations, whose values name one thing."
	case graph.Cut:
		return "Open its cause and ask again from there."
	}
	return ""
}

// deadWords say why the span that a cause names is not here.
func deadWords(c *graph.Cause) string {
	in := ""
	if c.RootName != "" {
		in = rowName(c.RootName) + " of " + rowName(c.RootService)
	}
	switch c.Reason {
	case graph.Expired:
		if in != "" {
			return "its spans have expired; it was in " + in
		}
		return "its spans have expired"
	case graph.SampledOut:
		return "not here: its sender decided not to record it"
	case graph.Cut:
		return "not looked up: there are too many"
	}
	if in != "" {
		return "this span has not arrived; others of its trace have: " + in
	}
	return "nothing of its trace has arrived"
}

// keptLinks says how many links of a span are left, and how many of the others
// ids brought back.
func keptLinks(kept, dropped, inferred int) string {
	words := ui.Count(kept) + " of " + ui.Count(kept+dropped) + " links were sent: the sender dropped the others."
	switch {
	case inferred >= dropped:
		words += " Ids brought all of them back, marked as inferred."
	case inferred > 0:
		words += " Ids brought " + ui.Count(inferred) + " back, marked as inferred; " + ui.Count(dropped-inferred) + " causes are not known."
	default:
		words += " " + countOf(dropped, "cause is", "causes are") + " not known."
	}
	return words
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

// threadHref is the thread of a span, with the way to it drawn.
func threadHref(r trace.Ref) string {
	if r.SpanID.IsZero() {
		return "/thread/" + r.TraceID.String()
	}
	return "/thread/" + r.TraceID.String() + "?span=" + r.SpanID.String()
}

func timeOf(nano int64) (t time.Time) {
	if nano != 0 {
		t = unixTime(nano)
	}
	return t
}
