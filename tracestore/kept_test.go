package tracestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// TestKeptFromBelow: whose request it was is known also where a span below the
// server's says it (Express puts the user on the handler of the route), in whatever
// order the spans come, before and after they are flushed, merged and rebuilt; what
// another service says is not taken for it. Queries find origins by it.
func TestKeptFromBelow(t *testing.T) {
	attr := func(key, value string) []trace.Attribute {
		return []trace.Attribute{{Key: key, Value: trace.String(value)}}
	}
	for round := range uint64(8) {
		rng := rand.New(rand.NewPCG(round, 1))
		h := start(t, Options{})
		base := testSpans(0, 4)
		spans := make([]trace.Span, 5)
		for i := range spans {
			s := base[0]
			s.Links, s.Events, s.Attributes = nil, nil, nil
			s.TraceID, s.SpanID, s.ParentID = trace.ID{0xee, 15: byte(round)}, trace.SpanID{7: byte(i + 1)}, trace.SpanID{7: byte(i)}
			s.Service, s.Kind, s.Name = "web-de", trace.KindInternal, fmt.Sprint("step ", i)
			s.StartUnixNano, s.DurationNano = base[0].StartUnixNano+int64(i)*1e6, 50e6
			spans[i] = s
		}
		spans[0].ParentID, spans[0].Kind, spans[0].Name = trace.SpanID{}, trace.KindServer, "POST /quotes"
		spans[1].Service, spans[1].Attributes = "quotes-api", attr("app.user_id", "another")
		spans[2].Attributes = attr("app.user_id", "user-1004")
		spans[3].Attributes = append(attr("app.user_id", "user-later"), attr("app.request_id", "rid-1")...)
		spans[4].Kind, spans[4].Name = trace.KindProducer, "publish quotes"
		job := base[0]
		job.TraceID, job.SpanID, job.ParentID, job.Kind, job.Service, job.Name = trace.ID{0xef, 15: byte(round)}, trace.SpanID{7: 9}, trace.SpanID{}, trace.KindConsumer, "worker", "RecalculateQuotes"
		job.Events, job.Attributes, job.StartUnixNano = nil, attr("messaging.system", "kafka"), base[0].StartUnixNano+90e6
		job.Links = []trace.Link{{TraceID: spans[4].TraceID, SpanID: spans[4].SpanID}}
		id := spans[0].TraceID
		check := func(when string) {
			t.Helper()
			sums, err := h.Summaries(t.Context(), []trace.ID{id})
			must(t, err)
			got := map[string]string{}
			for _, a := range sums[0].Kept {
				got[a.Key] = a.Value.Text()
			}
			if want := map[string]string{"app.user_id": "user-1004", "app.request_id": "rid-1"}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("round %d, %s: kept %v, want %v", round, when, got, want)
			}
			for column, want := range map[string]int{"origin.app.user_id": 1, "origin.enduser.id": 0} {
				r, err := h.Search(t.Context(), query.Search{AnyTime: true, Filters: []query.Filter{{Column: "span.kind", Op: "=", Value: "consumer"}, {Column: column, Op: "=", Value: "user-1004"}}})
				must(t, err)
				if len(r.Rows) != want || want == 1 && r.Rows[0].Name != "RecalculateQuotes" {
					t.Errorf("round %d, %s: %d rows by %s, want %d", round, when, len(r.Rows), column, want)
				}
			}
		}
		rng.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
		h.append(spans)
		h.append([]trace.Span{job})
		h.settle()
		check("in memory")
		must(t, h.Flush(t.Context()))
		check("flushed")
		must(t, h.RebuildEdges(t.Context(), nil))
		check("rebuilt")
		h.stop()
	}
}

// TestKeptOfTwoFlushes: children are exported before a root that lasts long, and a
// flush may come between them.
func TestKeptOfTwoFlushes(t *testing.T) {
	h := start(t, Options{})
	defer h.stop()
	root := testSpans(0, 1)[0]
	root.TraceID, root.SpanID, root.ParentID, root.Kind, root.Service, root.Attributes, root.Links = trace.ID{0xe0}, trace.SpanID{1}, trace.SpanID{}, trace.KindServer, "web-de", nil, nil
	handler := root
	handler.SpanID, handler.ParentID, handler.Kind = trace.SpanID{2}, root.SpanID, trace.KindInternal
	handler.StartUnixNano += 1e6
	handler.Attributes = []trace.Attribute{{Key: "user.id", Value: trace.Int(81723)}}
	for _, s := range []trace.Span{handler, root} {
		h.append([]trace.Span{s})
		h.settle()
		must(t, h.Flush(t.Context()))
	}
	sums, err := h.Summaries(t.Context(), []trace.ID{root.TraceID})
	must(t, err)
	if s := sums[0]; !s.Root || len(s.Kept) != 1 || s.Kept[0].Value.Text() != "81723" {
		t.Errorf("kept %v of root %t, want user 81723", s.Kept, s.Root)
	}
}
