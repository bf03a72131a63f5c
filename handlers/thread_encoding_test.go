package handlers

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/collab"
	"redthread/tracestore/trace"
)

// encoded writes the same seeded workload with its messages and jobs recorded in
// one way: child, link, child_trace, ids, or a mix of them.
func encoded(seed uint64, as string, salt byte) (spans []trace.Span, root trace.Ref) {
	plan, how := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	w := threadSpans{}
	clock := int64(0)
	tick := func() int64 { clock += 7; return clock }
	var work func(under trace.Ref, service string, depth int)
	work = func(under trace.Ref, service string, depth int) {
		for range 1 + plan.IntN(4-depth) {
			class := fmt.Sprintf("Job%d", plan.IntN(3))
			id := fmt.Sprintf("%02x%022x", salt, uint64(clock+1)*0x9e3779b97f4a7c15)
			sent := w.enqueue(under, service, class, id, tick())
			fresh, e := w.newTrace(), as
			if as == "mix" {
				e = []string{"child", "link", "child_trace", "ids"}[how.IntN(4)]
			}
			parent, opts := trace.SpanID{}, []spanOption{withSidekiq(class, id), withAttr("messaging.operation", "process")}
			switch e {
			case "child":
				fresh, parent = sent.TraceID, sent.SpanID
			case "link":
				opts = append(opts, withLinks(sent))
			case "child_trace":
				opts = append(opts, withAttr("parent.trace_id", sent.TraceID.String()))
			}
			if plan.IntN(5) == 0 {
				opts = append(opts, withError)
			}
			job := w.add(fresh, parent, "worker", "default process", trace.KindConsumer, tick(), 5, opts...)
			if depth < 2 {
				work(job, "worker", depth+1)
			}
		}
	}
	root, api := w.request("POST /quotes", "81723", 0, 400)
	work(api, "quotes-api", 0)
	for i := range w.list {
		w.list[i].TraceID[3] = salt
		for j := range w.list[i].Links {
			w.list[i].Links[j].TraceID[3] = salt
		}
		for j, a := range w.list[i].Attributes {
			if id, err := trace.ParseID(a.Value.Text()); a.Key == "parent.trace_id" && err == nil {
				id[3] = salt
				w.list[i].Attributes[j].Value = trace.String(id.String())
			}
		}
	}
	root.TraceID[3] = salt
	return w.list, root
}

var barTitles = regexp.MustCompile(`aria-label="([^"]*)" data-part="bar"`)

// TestEncodingsGiveOnePage: sent to the real store, the workload has one thread
// and one picture, however its senders record it.
func TestEncodingsGiveOnePage(t *testing.T) {
	s := newSite(t)
	viewer := s.as(collab.RoleViewer)
	for seed := range uint64(3) {
		var legs, bars []string
		var path string
		for n, as := range []string{"child", "link", "child_trace", "ids", "mix"} {
			spans, root := encoded(seed, as, byte(1+n)+byte(seed)*16)
			s.send(spans)
			var got struct {
				Status string
				Path   string
				Legs   []struct {
					Service, Name, Work, Topic string
					Depth, Spans, Errors       int
					WaitNano                   string `json:"wait_nano"`
				}
			}
			r := viewer.get("/api/v1/traces/" + root.TraceID.String() + "/thread")
			if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != http.StatusOK {
				t.Fatalf("%d: %v", r.status, err)
			}
			var lines, titles []string
			for _, l := range got.Legs {
				lines = append(lines, fmt.Sprintf("%d %s %s %s, %d spans, %d errors, waited %s", l.Depth, l.Work, l.Service, l.Topic, l.Spans, l.Errors, l.WaitNano))
			}
			page := viewer.get("/thread/" + root.TraceID.String())
			for _, m := range barTitles.FindAllStringSubmatch(page.body, -1) {
				titles = append(titles, m[1])
			}
			if n == 0 {
				legs, bars, path = lines, titles, got.Path
				if got.Status != "found" || len(legs) < 4 || len(bars) < 3 {
					t.Fatalf("seed %d: %s, %d legs, %d bars", seed, got.Status, len(legs), len(bars))
				}
			}
			if diff := cmp.Diff(legs, lines) + cmp.Diff(bars, titles) + cmp.Diff(path, got.Path); diff != "" {
				t.Errorf("seed %d as %s (-child +%s):\n%s", seed, as, as, diff)
			}
		}
	}
}
