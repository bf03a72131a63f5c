package graph

import (
	"encoding/json"
	"strconv"
	"strings"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

func offerSpanLinks(f *facts) {
	of := f.span.Ref()
	for i := range f.span.Links {
		l := &f.span.Links[i]
		if unsampled, ok := readLink(l); ok {
			to := trace.Ref{TraceID: l.TraceID, SpanID: l.SpanID}
			if f.values[fieldDatadogHigh] != nil {
				to = f.halved(to)
			}
			f.addLink(of, bySpanLink, to, unsampled)
		} else if l.TraceID.IsZero() {
			// A message that came without context, but with its id (proposed in
			// semantic-conventions issue 2259).
			f.offerIDs(l.Attributes)
		}
	}
}

// readLink reports whether a link says that its target caused the span, and
// whether it says too that the target was not sampled: OTLP's Link.flags are
// set (bit 8) and the W3C sampled flag (bit 0) is not. Sentry joins the traces
// of one browser session by links of another meaning.
func readLink(l *trace.Link) (unsampled, ok bool) {
	for i := range l.Attributes {
		switch a := &l.Attributes[i]; a.Key {
		case "sentry.link.type":
			return false, false
		case keyFlags:
			f := a.Value.Int()
			unsampled = f&0x100 != 0 && f&1 == 0
		}
	}
	return unsampled, !l.TraceID.IsZero()
}

// annotation reports whether a row is no span but a note on its parent, as
// Honeycomb writes links and span events.
func annotation(s *trace.Span) bool {
	v, ok := s.Attribute("meta.annotation_type")
	return ok && (v.Str == "link" || v.Str == "span_event")
}

// offerLinkEvent reads Honeycomb's link events. The event is made as a span is,
// so it has an id of its own and ends there: the effect is its parent.
func offerLinkEvent(f *facts) {
	if f.has&hasAnnotation != 0 && f.text(fieldAnnotation) != "link" {
		return
	}
	of := f.span.Ref()
	if f.has&hasAnnotation != 0 {
		if of.SpanID = f.span.ParentID; of.SpanID.IsZero() {
			return // it does not say whose link it is
		}
	}
	f.addLink(of, byLinkEvent, refFromText(f.text(fieldLinkTrace), f.text(fieldLinkSpan)), false)
}

// offerEvents reads what stands in the events of the span itself: links, as
// Honeycomb's exporters write them, and messages by id.
func (f *facts) offerEvents() {
	for i := range f.span.Events {
		e := &f.span.Events[i]
		var g facts
		g.read(f.rules, e.Attributes)
		switch {
		case g.has&hasLinkTrace != 0:
			f.addLink(f.span.Ref(), byLinkEvent, refFromText(g.text(fieldLinkTrace), g.text(fieldLinkSpan)), false)
		case g.has&hasMessageID != 0:
			f.offerIDs(e.Attributes)
		}
	}
}

// offerDatadogLinks reads the links of dd-trace. Every span of a chunk carries
// them; they say what caused its first, and the handling of messages in it.
func offerDatadogLinks(f *facts) {
	s := f.span
	if !s.ParentID.IsZero() && s.Kind != trace.KindServer && !f.shape().has(consumes) {
		return
	}
	of := s.Ref()
	links, _ := datadogLinks(f.text(fieldDatadogLinks))
	for _, l := range links {
		f.addLink(of, byDatadogLinks, f.halved(l), false)
	}
}

// halved is the target of a link as its spans have it: where dd-trace's spans
// came with the lower half of their trace ids, the links on them are still whole
// (the collector's Datadog receiver keeps the upper half in _dd.p.tid,
// opentelemetry-collector-contrib issue 36926).
func (f *facts) halved(to trace.Ref) trace.Ref {
	if [8]byte(f.span.TraceID[:8]) == [8]byte{} {
		clear(to.TraceID[:8])
	}
	return to
}

// datadogLinks reads the value of _dd.span_links, as far as it goes: longer
// than 25,000 characters it is cut, and then the last links are missing.
func datadogLinks(text string) (links []trace.Ref, cut bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, false
	}
	for d.More() && len(links) < maxIDs {
		var l struct {
			TraceID     any    `json:"trace_id"`
			TraceIDHigh any    `json:"trace_id_high"`
			SpanID      any    `json:"span_id"`
			Kind        string `json:"kind"`
		}
		if d.Decode(&l) != nil {
			return links, true
		}
		base := 16
		if tooLong(l.TraceID) || tooLong(l.SpanID) {
			base = 10
		}
		ref := refFromText(datadogID(l.TraceID, base), datadogID(l.SpanID, base))
		if high := datadogID(l.TraceIDHigh, base); high != "" {
			if up, err := trace.ParseSpanID(pad(high)); err == nil {
				copy(ref.TraceID[:8], up[:])
			}
		}
		if !ref.TraceID.IsZero() && !ref.SpanID.IsZero() {
			links = append(links, ref)
		}
	}
	return links, false
}

// tooLong reports whether an id is text that can only be decimal: 64 bits are at
// most 16 digits in hex, and 17 to 20 in nearly all decimal ones; 128 bits have 32
// in hex, or few less.
func tooLong(v any) bool {
	s, ok := v.(string)
	return ok && len(s) > 16 && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

// datadogID is an id in hex: text is in the base, with leading zeros missing in
// dd-trace-js, and a number is the id itself.
func datadogID(v any, base int) string {
	switch v := v.(type) {
	case string:
		if n, err := strconv.ParseUint(v, base, 64); err == nil && base == 10 {
			return strconv.FormatUint(n, 16)
		}
		return v
	case json.Number:
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return strconv.FormatUint(n, 16)
		}
	}
	return ""
}

func pad(hex string) string { return strings.Repeat("0", max(0, 16-len(hex))) + hex }

// offerChildTrace reads the trace that honeykiq says it came from.
func offerChildTrace(f *facts) {
	s := f.span
	if !s.ParentID.IsZero() && !f.shape().has(consumes) {
		return // a field of the whole trace, copied to each span
	}
	from, parent := f.text(fieldParentTrace), f.text(fieldParentRef)
	if from == "" {
		if !traceLike(parent) || !s.ParentID.IsZero() {
			return // the span's own parent, which Honeycomb writes on every span
		}
		from, parent = parent, ""
	}
	if traceLike(parent) || parent == s.ParentID.String() {
		parent = ""
	}
	f.addLink(s.Ref(), byChildTrace, refFromText(from, parent), false)
}

// traceLike reports whether an id has the length of a trace id: 32 hex digits,
// or the UUID of older beelines.
func traceLike(id string) bool { return len(strings.ReplaceAll(id, "-", "")) == 32 }

// refFromText reads ids as people and agents write them. Ids that are no hex
// are hashed to size, as they are where spans arrive.
func refFromText(traceID, spanID string) (ref trace.Ref) {
	if traceID == "" {
		return ref
	}
	ref.TraceID, _ = otlp.PaddedTraceID(strings.TrimSpace(traceID))
	if spanID != "" {
		ref.SpanID, _ = otlp.PaddedSpanID(strings.TrimSpace(spanID))
	}
	return ref
}
