package handlers

import (
	"strings"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore/trace"
)

// TestNamesOfSenders: a service, topic or class whose name turns the line round, or is
// as long as a book, is shown cut and with its marks visible, on every screen that
// names it.
func TestNamesOfSenders(t *testing.T) {
	s := newSite(t)
	evil, long := "shop\u202Egnp.exe\x00", strings.Repeat("W", 50_000)
	at := time.Now().Add(-time.Minute).UnixNano()
	attrs := func(system, to string) []trace.Attribute {
		return []trace.Attribute{{Key: "messaging.system", Value: trace.String(system)}, {Key: "messaging.destination.name", Value: trace.String(to)}}
	}
	var spans []trace.Span
	for i, name := range []string{evil, long} {
		for k, system := range []string{"kafka", "sidekiq"} {
			send, handle := testSpan(1, 0, name, 0, 10), testSpan(2, 0, name+"-worker", 20, 10)
			send.TraceID, handle.TraceID = trace.ID{0xf0, byte(i), byte(k), 1}, trace.ID{0xf0, byte(i), byte(k), 2}
			send.Kind, handle.Kind, send.StartUnixNano, handle.StartUnixNano = trace.KindProducer, trace.KindConsumer, at, at+20e6
			send.Name, handle.Name = name, name
			send.Attributes, handle.Attributes = attrs(system, name), append(attrs(system, name), trace.Attribute{Key: "messaging.sidekiq.job_class", Value: trace.String(name)})
			handle.Links = []trace.Link{{TraceID: send.TraceID, SpanID: send.SpanID}}
			spans = append(spans, send, handle)
		}
	}
	s.send(spans)
	viewer := s.as(collab.RoleViewer)
	paths := []string{"/messages?range=1h", "/jobs?range=1h", "/find?q=WW"}
	for i := 1; i < len(spans); i += 2 {
		id := spans[i].TraceID.String()
		paths = append(paths, "/thread/"+id, "/t/"+id)
	}
	for _, path := range paths {
		got := viewer.get(path)
		if got.status != 200 {
			t.Errorf("%s: status %d", path, got.status)
		}
		for _, bad := range []string{"\u202E", "\x00", strings.Repeat("W", 2000) + "<"} {
			if at := strings.Index(got.body, bad); at >= 0 {
				t.Errorf("%s shows %.12q as it was sent: %.200q", path, bad, got.body[max(0, at-150):])
			}
		}
	}
}
