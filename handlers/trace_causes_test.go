package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"redthread/collab"
	"redthread/tracestore/trace"
)

// batchOf is a batch of n messages of n requests, of whose links the sender kept
// some, each request with a trace of its own.
func batchOf(n, kept int) (batch trace.Span, spans []trace.Span) {
	message := []trace.Attribute{{Key: "messaging.system", Value: trace.String("kafka")}, {Key: "messaging.destination.name", Value: trace.String("orders")}}
	batch = testSpan(50, 0, "worker", 600, 40)
	batch.TraceID, batch.Kind, batch.Name = trace.ID{0x0c}, trace.KindConsumer, "process batch"
	batch.Attributes = append([]trace.Attribute{{Key: "messaging.batch.message_count", Value: trace.Int(int64(n))}}, message...)
	for i := range n {
		id := trace.ID{0x0d, byte(i >> 8), byte(i)}
		root, send := testSpan(1, 0, "web", int64(i), 30), testSpan(2, 1, "web", int64(i)+5, 2)
		root.TraceID, send.TraceID, root.Kind, send.Kind, send.Attributes = id, id, trace.KindServer, trace.KindProducer, message
		root.Name, send.Name = fmt.Sprintf("POST /cars/%d", i), "publish orders"
		spans = append(spans, root, send)
		if i < kept {
			batch.Links = append(batch.Links, trace.Link{TraceID: id, SpanID: send.SpanID})
		}
	}
	return batch, append(spans, batch)
}

// TestCausesOfBatch: many causes are folded in the strip and the panel, and paged
// on a page of their own; dropped links are counted.
func TestCausesOfBatch(t *testing.T) {
	s := newSite(t)
	batch, spans := batchOf(150, 128)
	s.send(spans)
	viewer := s.as(collab.RoleViewer)
	path := "/t/" + batch.TraceID.String()
	span := batch.SpanID.String()
	page := viewer.get(path)
	page.want(t, "trace", 200, "and 124 more causes", "all, with 108 others", "◀ 128 causes", "128 of 150 links were sent", "!this is the origin", "OTEL_SPAN_LINK_COUNT_LIMIT")
	viewer.get(path+"/"+span).want(t, "span", 200, "128 of 150 links were sent", "22 causes are not known", "and 118 more causes", path+"/causes?span="+span)
	list := viewer.get(path + "/causes")
	list.want(t, "list", 200, "Causes and effects of", "publish orders", "28 more causes", "recorded link", `data-thread="/thread/0d`)
	if n := strings.Count(list.body, "<tr data-thread"); n != causesPageRows {
		t.Errorf("%d rows, want %d", n, causesPageRows)
	}
	viewer.get(path+"/causes?by=101").want(t, "second page", 200, "100 causes before these", "!more causes<")
	viewer.get(path+"/causes?by=9999&span="+span).want(t, "beyond the end", 200, "127 causes before these")
	_, more := batchOf(500, 500)
	for i := range more { // other requests than before
		more[i].TraceID[10] = 7
	}
	large := more[len(more)-1]
	for i := range large.Links {
		large.Links[i].TraceID[10] = 7
	}
	s.send(more)
	path = "/t/" + large.TraceID.String()
	viewer.get(path).want(t, "500 causes", 200, "and 496 more causes", "◀ 500 causes", "one of 500 requests")
	viewer.get(path+"/causes?by=401").want(t, "the last of 500", 200, "400 causes before these", "publish orders", "waited", "!not looked up")
	viewer.get("/t/"+spans[0].TraceID.String()+"/causes").want(t, "of a request", 200, "No span of another trace", "process batch")
	viewer.get(path+"/causes?span=zz").want(t, "no span id", http.StatusBadRequest, "does not name a span")
	viewer.get(path+"/causes?span="+spanID(999).String()).want(t, "unknown span", http.StatusNotFound, "This span has not arrived")
	viewer.get("/t/ffffffffffffffffffffffffffffffff/causes").want(t, "unknown trace", http.StatusNotFound, "No span of this trace has arrived")
}

// TestDeadCauses: a link that leads nowhere says why, and what to do.
func TestDeadCauses(t *testing.T) {
	s := newSite(t)
	id, spans := shop()
	job := func(n byte, change func(*trace.Span)) trace.Span {
		j := testSpan(int(n), 0, "worker", 200, 10)
		j.TraceID, j.Kind, j.Name = trace.ID{0x0e, n}, trace.KindConsumer, "MailJob process"
		j.Attributes = []trace.Attribute{{Key: "messaging.system", Value: trace.String("sidekiq")}, {Key: "messaging.destination.name", Value: trace.String("mailers")}}
		change(&j)
		return j
	}
	lost := job(1, func(j *trace.Span) { j.Links = []trace.Link{{TraceID: trace.ID{0x0f}, SpanID: spanID(9)}} })
	half := job(2, func(j *trace.Span) { j.Links = []trace.Link{{TraceID: id, SpanID: spanID(77)}} })
	unsampled := job(3, func(j *trace.Span) {
		j.Links = []trace.Link{{TraceID: trace.ID{0x0f, 1}, SpanID: spanID(9), Attributes: []trace.Attribute{{Key: "trace.flags", Value: trace.Int(0x100)}}}}
	})
	silent := job(4, func(*trace.Span) {})
	aside := testSpan(70, 0, "web", 300, 5)
	aside.TraceID, aside.Kind, aside.Name = trace.ID{0x10}, trace.KindServer, "GET /late"
	aside.Links = []trace.Link{{TraceID: id, SpanID: spanID(3), Attributes: []trace.Attribute{{Key: "why", Value: trace.String("came after it")}}}}
	s.send(append(spans, lost, half, unsampled, silent, aside))
	viewer := s.as(collab.RoleViewer)
	for _, c := range []struct {
		name string
		span *trace.Span
		want []string
	}{
		{"nothing of the trace", &lost, []string{"nothing of its trace has arrived", "look again in a minute", "!this is the origin"}},
		{"only the span is missing", &half, []string{"others of its trace have: POST /quotes of web", "◀ a span of POST /quotes that is not here"}},
		{"sampled out", &unsampled, []string{"its sender decided not to record it", "parent-based sampling"}},
		{"not recorded", &silent, []string{"its sender left nothing that says for certain what caused it", "Settings, Correlations"}},
		{"a link that is an aside", &aside, []string{"publish quotes.created", "came after it"}},
	} {
		viewer.get("/t/"+c.span.TraceID.String()+"/"+c.span.SpanID.String()).want(t, c.name, 200, c.want...)
	}
}

// TestLongNames: a name of 50 kB stands whole in the panel, once, and cut
// elsewhere; a mark of direction does not turn a line round.
func TestLongNames(t *testing.T) {
	s := newSite(t)
	_, spans := shop()
	name := "start" + strings.Repeat("x", 50_000) + "end"
	spans[0].Name = name
	spans[0].Attributes = append(spans[0].Attributes, trace.Attribute{Key: "long", Value: trace.String(name)})
	spans[1].Name = "evil\u202Egpj.exe"
	s.send(spans)
	viewer := s.as(collab.RoleViewer)
	path := "/t/" + spans[0].TraceID.String()
	page := viewer.get(path)
	page.want(t, "trace", 200, "evil\uFFFDgpj.exe", "!\u202E")
	if n := strings.Count(page.body, strings.Repeat("x", 1000)); n != 0 {
		t.Errorf("the page has %d long stretches of the name", n)
	}
	panel := viewer.get(path + "/" + spans[0].SpanID.String())
	if n := strings.Count(panel.body, strings.Repeat("x", 50_000)); n != 2 { // the name, and the attribute
		t.Errorf("the panel has the whole name %d times, want 2", n)
	}
	if n := len(panel.body); n > 200_000 {
		t.Errorf("the page with the panel is %d bytes", n)
	}
	effect := viewer.get("/t/" + spans[len(spans)-1].TraceID.String())
	if n := len(effect.body); n > 100_000 {
		t.Errorf("the page of an effect is %d bytes", n)
	}
}
