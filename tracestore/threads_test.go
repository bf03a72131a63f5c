package tracestore

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// capture is what real senders sent, and what caused the jobs in it; see
// graph/testdata/captures.
type capture struct {
	bodies []Batch
	spans  []trace.Span
	truth  struct {
		Jobs []struct {
			Job       string
			Root      trace.ID   `json:"root_trace_id"`
			MixedWith []trace.ID `json:"mixed_with"`
			Runs      []trace.Ref
		}
	}
}

func readCapture(t *testing.T, name string) (c capture) {
	t.Helper()
	dir := filepath.Join("graph", "testdata", "captures", name)
	raw, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	must(t, err)
	must(t, json.Unmarshal(raw, &c.truth))
	files, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("capture %s has no bodies: %v", name, err)
	}
	for _, path := range files {
		packed, err := os.ReadFile(path)
		must(t, err)
		z, err := gzip.NewReader(bytes.NewReader(packed))
		must(t, err)
		body, err := io.ReadAll(z)
		must(t, err)
		b := Batch{Format: FormatOTLPProto, Raw: body}
		if strings.HasSuffix(path, ".json.gz") {
			b.Format = FormatOTLPJSON
			body, err = otlp.FromJSON(nil, otlp.Traces, body)
			must(t, err)
		}
		more, _, err := otlp.DecodeAll(otlp.Traces, body, otlp.Arrival{})
		must(t, err)
		c.bodies, c.spans = append(c.bodies, b), append(c.spans, more...)
	}
	return c
}

// judged counts the answers about runs of jobs: right; the candidates of a batch;
// unknown with a reason. A wrong one fails the test.
type judged struct{ Right, Candidates, Lost int }

func (h *harness) judge(c *capture) (out judged) {
	h.t.Helper()
	g := graph.New(h.Store, graph.Options{})
	for _, job := range c.truth.Jobs {
		for _, run := range job.Runs {
			o, err := g.Origin(h.t.Context(), run.TraceID, run.SpanID)
			if errors.Is(err, graph.ErrNotFound) {
				continue // its own spans were left out
			}
			must(h.t, err)
			var said []trace.ID
			for _, s := range o.Origins {
				said = append(said, s.TraceID)
			}
			slices.SortFunc(said, compareIDs)
			mixed := slices.SortedFunc(slices.Values(job.MixedWith), compareIDs)
			switch {
			case o.Status == graph.Unknown && o.Reason != "":
				out.Lost++
			case o.Status == graph.Found && said[0] == job.Root && len(mixed) < 2:
				out.Right++
			case o.Status == graph.Ambiguous && slices.Equal(said, mixed):
				out.Candidates++
			default:
				h.t.Errorf("%s run %v: %s %s %v, want %v", job.Job, run, o.Status, o.Reason, said, mixed)
			}
		}
	}
	return out
}

// TestCaptures: what real senders sent, through the store.
func TestCaptures(t *testing.T) {
	for _, tt := range []struct {
		name string
		want judged
	}{{"node", judged{Right: 39, Candidates: 9}}, {"rails", judged{Right: 23}}} {
		t.Run(tt.name, func(t *testing.T) {
			c := readCapture(t, tt.name)
			h := start(t, Options{})
			for i, b := range c.bodies {
				_, err := h.Append(t.Context(), b)
				must(t, err)
				if i%3 == 1 {
					must(t, h.Flush(t.Context()))
				}
			}
			h.settle()
			if got := h.judge(&c); got != tt.want {
				t.Errorf("as sent: %+v, want %+v", got, tt.want)
			}
			h.reopen()
			if got := h.judge(&c); got != tt.want {
				t.Errorf("after a restart: %+v, want %+v", got, tt.want)
			}
			h.stop()

			rng := rand.New(rand.NewPCG(1, 4))
			h = start(t, Options{})
			twice := append(slices.Clone(c.spans), c.spans...)
			rng.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
			for part := range slices.Chunk(twice, 100) {
				h.append(part)
				if rng.IntN(3) == 0 {
					must(t, h.Flush(t.Context()))
				}
			}
			h.settle()
			if got := h.judge(&c); got != tt.want {
				t.Errorf("shuffled and doubled: %+v, want %+v", got, tt.want)
			}
			h.stop()

			var services []string
			for i := range c.spans {
				if !slices.Contains(services, c.spans[i].Service) {
					services = append(services, c.spans[i].Service)
				}
			}
			for _, service := range services {
				h := start(t, Options{})
				h.append(slices.DeleteFunc(slices.Clone(c.spans), func(s trace.Span) bool { return s.Service == service }))
				must(t, h.Flush(t.Context()))
				h.judge(&c) // none may be wrong
				h.stop()
			}
		})
	}
}

// scene writes spans as senders do.
type scene struct {
	spans []trace.Span
	n     int
}

const sceneTraces = 1_000_000 // their numbers begin here

// add writes a span of 10 ms, in a new trace unless under is given.
func (s *scene) add(under trace.Ref, kind trace.Kind, service, name string, after time.Duration, links []trace.Ref, attrs ...string) trace.Ref {
	s.n++
	span := trace.Span{TraceID: under.TraceID, ParentID: under.SpanID, SpanID: spanID(s.n), Kind: kind, Service: service, Name: name, Environment: "default",
		StartUnixNano: testClock.Add(after).UnixNano(), DurationNano: int64(10 * time.Millisecond)}
	if under.TraceID.IsZero() {
		span.TraceID = traceID(sceneTraces + s.n)
	}
	for _, l := range links {
		span.Links = append(span.Links, trace.Link{TraceID: l.TraceID, SpanID: l.SpanID})
	}
	for i := 0; i < len(attrs); i += 2 {
		span.Attributes = append(span.Attributes, trace.Attribute{Key: attrs[i], Value: trace.String(attrs[i+1])})
	}
	s.spans = append(s.spans, span)
	return span.Ref()
}

func (s *scene) request(after time.Duration) trace.Ref {
	return s.add(trace.Ref{}, trace.KindServer, "web", "POST /quotes", after, nil, "user.id", "u-17")
}

func (s *scene) enqueue(under trace.Ref, after time.Duration, attrs ...string) trace.Ref {
	return s.add(under, trace.KindProducer, "web", "publish", after, nil, append(attrs, "messaging.system", "sidekiq")...)
}

func (s *scene) job(after time.Duration, links []trace.Ref, attrs ...string) trace.Ref {
	return s.add(trace.Ref{}, trace.KindConsumer, "jobs", "process", after, links, append(attrs, "messaging.system", "sidekiq", "messaging.operation", "process")...)
}

func (h *harness) origin(of trace.Ref) *graph.Origin {
	h.t.Helper()
	o, err := graph.New(h.Store, graph.Options{}).Origin(h.t.Context(), of.TraceID, of.SpanID)
	must(h.t, err)
	return o
}

func (h *harness) wantOrigin(of, origin trace.Ref) *graph.Origin {
	h.t.Helper()
	o := h.origin(of)
	if o.Status != graph.Found || o.Origins[0].Ref != origin {
		h.t.Fatalf("origin of %v: %s %s %v, want %v", of, o.Status, o.Reason, o.Origins, origin)
	}
	return o
}

const sceneJob = "d028b411e30577e4803f2842"

// TestEffectBeforeItsCause: the job's spans come a day before those of the request
// that set it off, by link and by id, and its clock is 3 s behind.
func TestEffectBeforeItsCause(t *testing.T) {
	now := testClock
	h := start(t, Options{Now: func() time.Time { return now }})
	var s scene
	request := s.request(0)
	linked := s.enqueue(request, time.Millisecond)
	byID := s.enqueue(request, time.Millisecond, "messaging.message_id", sceneJob)
	causes := s.spans
	s.spans = nil
	a := s.job(-3*time.Second, []trace.Ref{linked})
	b := s.job(-3*time.Second, nil, "messaging.message_id", sceneJob)
	h.append(s.spans)
	must(t, h.Flush(t.Context()))
	if o := h.origin(b); o.Status != graph.Unknown || o.Reason != graph.NotRecorded {
		t.Errorf("before its cause: %s %s, want unknown, not_recorded", o.Status, o.Reason)
	}
	if o := h.origin(a); o.Status != graph.Unknown || o.Reason != graph.NotArrived {
		t.Errorf("before its cause: %s %s, want unknown, not_arrived", o.Status, o.Reason)
	}
	now = now.Add(24 * time.Hour)
	h.append(causes)
	h.settle()
	for range 2 {
		h.wantOrigin(a, request)
		if o := h.wantOrigin(b, request); !o.Hops[0].Inferred || o.Hops[0].From.SpanID != byID.SpanID || o.Hops[0].WaitNano != 0 {
			t.Errorf("by id: %+v", o.Hops)
		}
		must(t, h.Flush(t.Context()))
	}
}

// TestOriginOutlivesItsSpans: a job 40 days after the request, whose spans are
// gone.
func TestOriginOutlivesItsSpans(t *testing.T) {
	now := testClock
	h := start(t, Options{Now: func() time.Time { return now }, SpanRetention: 30 * 24 * time.Hour})
	var s scene
	request := s.request(0)
	sent := s.enqueue(request, time.Millisecond, "messaging.message_id", sceneJob)
	h.append(s.spans)
	must(t, h.Flush(t.Context()))
	now = now.Add(40 * 24 * time.Hour)
	must(t, h.Maintain(t.Context()))
	if st := h.Stats(); st.Segments != 0 || st.EdgeRuns != 1 {
		t.Fatalf("%d segments and %d runs of edges, want 0 and 1", st.Segments, st.EdgeRuns)
	}
	s.spans = nil
	linked := s.job(40*24*time.Hour, []trace.Ref{sent})
	byID := s.job(40*24*time.Hour, nil, "messaging.message_id", sceneJob)
	h.append(s.spans)
	h.settle()
	for range 2 {
		for _, job := range []trace.Ref{linked, byID} {
			if o := h.wantOrigin(job, request); !o.Expired || o.Origins[0].Name != "POST /quotes" || o.Origins[0].Service != "web" {
				t.Errorf("origin of %v: %+v", job, o)
			}
		}
		sums, err := h.Summaries(t.Context(), []trace.ID{request.TraceID})
		must(t, err)
		if want := []trace.Attribute{{Key: "user.id", Value: trace.String("u-17")}}; !slices.Equal(sums[0].Kept, want) {
			t.Errorf("kept %v, want %v", sums[0].Kept, want)
		}
		must(t, h.RebuildEdges(t.Context(), nil)) // which takes nothing of what is gone
		must(t, h.Flush(t.Context()))
	}
}

// TestCircle: two jobs that set off each other are nobody's end.
func TestCircle(t *testing.T) {
	h := start(t, Options{})
	var s scene
	one := trace.Ref{TraceID: traceID(sceneTraces + 1), SpanID: spanID(1)}
	two := trace.Ref{TraceID: traceID(sceneTraces + 2), SpanID: spanID(2)}
	s.job(0, []trace.Ref{two})
	s.job(0, []trace.Ref{one})
	h.append(s.spans)
	must(t, h.Flush(t.Context()))
	if o := h.origin(one); o.Status != graph.Unknown {
		t.Errorf("%s, want unknown", o.Status)
	}
}

// TestLongChainAndFanOut: a thousand hops back, and a hundred thousand jobs of one
// request forward.
func TestLongChainAndFanOut(t *testing.T) {
	h := start(t, Options{FlushRows: 40_000})
	var s scene
	request := s.request(0)
	last := request
	for i := range 1000 {
		last = s.job(time.Duration(i)*time.Millisecond, []trace.Ref{s.enqueue(last, time.Duration(i)*time.Millisecond)})
	}
	fanOut := 100_000
	if testing.Short() {
		fanOut = 5000
	}
	storm := s.request(time.Hour)
	sent := s.enqueue(storm, time.Hour)
	for range fanOut {
		s.job(time.Hour, []trace.Ref{sent})
	}
	for part := range slices.Chunk(s.spans, 2000) {
		h.append(part)
	}
	must(t, h.Flush(t.Context()))
	h.wantOrigin(last, request)
	if o := h.origin(last); len(o.Hops) < 1000 {
		t.Errorf("%d hops, want 1000", len(o.Hops))
	}
	links, cut, err := h.Effects(t.Context(), storm.TraceID, 1e6)
	if err != nil || cut || len(links) != fanOut {
		t.Fatalf("%d effects, cut %v, %v; want %d", len(links), cut, err, fanOut)
	}
	ids := make([]trace.ID, 0, fanOut)
	for _, l := range links {
		ids = append(ids, l.To.TraceID)
	}
	origins, err := graph.New(h.Store, graph.Options{}).Origins(context.Background(), ids)
	must(t, err)
	for i := range origins {
		if origins[i].Status != graph.Found || origins[i].Origin.TraceID != storm.TraceID {
			t.Fatalf("origin of job %d: %+v", i, origins[i])
		}
	}
}

// TestBatchBeyondTheLinkCap: of 500 messages of 500 requests the SDK kept 128
// links; ids bring the rest back.
func TestBatchBeyondTheLinkCap(t *testing.T) {
	h := start(t, Options{})
	var s scene
	var sent []trace.Ref
	var ids []string
	for i := range 500 {
		id := fmt.Sprintf("d028b411e30577e4%08x", i)
		sent = append(sent, s.enqueue(s.request(0), time.Millisecond, "messaging.message.id", id))
		ids = append(ids, `"`+id+`"`)
	}
	s.n++
	batch := trace.Span{TraceID: traceID(sceneTraces), SpanID: spanID(s.n), Kind: trace.KindConsumer, Service: "jobs", Name: "process batch", Environment: "default",
		StartUnixNano: testClock.Add(time.Second).UnixNano(), DurationNano: 1e6, Attributes: []trace.Attribute{
			{Key: "messaging.operation", Value: trace.String("process")}, {Key: "messaging.destination.name", Value: trace.String("quotes")},
			{Key: "dropped_links_count", Value: trace.Int(372)}, {Key: "messaging.message.ids", Value: trace.JSON("[" + strings.Join(ids, ",") + "]")}}}
	for _, l := range sent[:128] {
		batch.Links = append(batch.Links, trace.Link{TraceID: l.TraceID, SpanID: l.SpanID})
	}
	s.spans = append(s.spans, batch)
	for part := range slices.Chunk(s.spans, 300) {
		h.append(part)
		must(t, h.Flush(t.Context()))
	}
	for range 2 {
		o := h.origin(batch.Ref())
		if o.Status != graph.Ambiguous || len(o.Origins) != 500 || o.Links == nil || o.Links.Recorded != 128 || o.Links.Inferred != 372 {
			t.Fatalf("%s, %d origins, links %+v; want 500 candidates of 128 links and 372 ids", o.Status, len(o.Origins), o.Links)
		}
		h.reopen()
	}
}
