package handlers

import (
	"fmt"
	"testing"
	"time"

	"redthread/collab"
	"redthread/tracestore"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

func TestFindPage(t *testing.T) {
	s := newSite(t)
	spans, root, job := jobSpans()
	// A second request of the same user.
	again := spans[0]
	again.TraceID, again.SpanID, again.StartUnixNano = trace.ID{0xa0, 15: 9}, trace.SpanID{0xb0, 7: 9}, spans[0].StartUnixNano+5e9
	again.Attributes = []trace.Attribute{{Key: "user.id", Value: trace.String("81723")}, {Key: "app.car.plate", Value: trace.String("MX-4711 ä")}}
	// Senders with many attributes: more than a person may write filters.
	for i := range 300 {
		again.Attributes = append(again.Attributes, trace.Attribute{Key: fmt.Sprintf("app.wide.%d", i), Value: trace.String(fmt.Sprintf("wide value %d", i))})
	}
	spans = append(spans, again)
	if _, err := s.Store.Append(t.Context(), tracestore.Batch{Format: tracestore.FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans)}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		if got, _, err := s.Store.TraceSpans(t.Context(), again.TraceID, 1); err != nil {
			t.Fatal(err)
		} else if len(got) == 1 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the spans are not found after 60 s")
		}
	}
	b := s.as(collab.RoleViewer)
	b.get("/find").want(t, "nothing typed", 200, "What are you looking for?")
	b.get("/find?q="+root.TraceID.String()).wantRedirect(t, "a trace id", "/t/"+root.TraceID.String())
	b.get("/find?q=+"+job.SpanID.String()+"+").wantRedirect(t, "a span id", "/t/"+job.TraceID.String()+"/"+job.SpanID.String())
	b.get("/find?q=81723").want(t, "a user with two requests", 200, `value="81723"`, "user.id", "POST /quotes", "/t/"+root.TraceID.String(), "/t/"+again.TraceID.String())
	b.get("/find?q=MX-4711+ä").wantRedirect(t, "a value of any attribute", "/t/"+again.TraceID.String()+"/"+again.SpanID.String())
	b.get("/find?q=wide+value+299").wantRedirect(t, "a value of the last of 300 attributes", "/t/"+again.TraceID.String()+"/"+again.SpanID.String())
	b.get("/api/v1/find?q=wide+value+299").want(t, "the same by the API", 200, `"column":"app.wide.299"`, `"partial":false`)
	b.get("/find?q=nobody").want(t, "an unknown value", 200, "Nothing is known", `value="nobody"`)
}
