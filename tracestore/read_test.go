package tracestore

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// TestJoinLogs: log records are events of their spans; one whose span is not there
// is shown with the root, in order of time.
func TestJoinLogs(t *testing.T) {
	span := func(id, parent byte, start int64) trace.Span {
		return trace.Span{SpanID: trace.SpanID{id}, ParentID: trace.SpanID{parent}, StartUnixNano: start}
	}
	log := func(body string, id byte, at int64) trace.Span {
		return trace.Span{Signal: trace.SignalLog, Name: body, ParentID: trace.SpanID{id}, StartUnixNano: at}
	}
	event := func(at int64, body string, missing ...string) trace.Event {
		e := trace.Event{Name: "log", TimeUnixNano: at, Attributes: []trace.Attribute{{Key: "body", Value: trace.String(body)}}}
		for _, id := range missing {
			e.Attributes = append(e.Attributes, trace.Attribute{Key: "span_id", Value: trace.String(id)})
		}
		return e
	}
	got := joinLogs([]trace.Span{
		log("of no span", 0, 40), log("of a span that is not there", 9, 30),
		span(2, 1, 10), log("of the child", 2, 20), span(1, 0, 15),
	})
	child, root := span(2, 1, 10), span(1, 0, 15)
	child.Events = []trace.Event{event(20, "of the child")}
	root.Events = []trace.Event{event(30, "of a span that is not there", "0900000000000000"), event(40, "of no span")}
	if diff := cmp.Diff([]trace.Span{child, root}, got); diff != "" {
		t.Errorf("with a root (-want +got):\n%s", diff)
	}

	got = joinLogs([]trace.Span{log("early", 9, 5), span(2, 1, 10), span(3, 1, 12)})
	if len(got) != 2 || len(got[0].Events) != 1 || len(got[1].Events) != 0 {
		t.Errorf("without a root: %+v, want the record with the first span", got)
	}
	if got := joinLogs([]trace.Span{log("alone", 9, 5)}); len(got) != 0 {
		t.Errorf("without spans: %+v, want none", got)
	}
}
