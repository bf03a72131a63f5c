package tracestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
	"redthread/tracestore/segment"
	"redthread/tracestore/segment/segmenttest"
	"redthread/tracestore/trace"
)

// testClock is the start of all test times.
var testClock = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func traceID(n int) (id trace.ID) {
	binary.BigEndian.PutUint64(id[:8], 0x1122334455667788)
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

func spanID(n int) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return id
}

// testSpans makes n spans of three-span traces from span number from on: a
// server, a client and a consumer whose link points to the trace before.
func testSpans(from, n int) []trace.Span {
	spans := make([]trace.Span, 0, n)
	for i := from; i < from+n; i++ {
		t := i / 3
		s := trace.Span{
			TraceID: traceID(t), SpanID: spanID(i), Service: fmt.Sprintf("service-%d", i%5), Environment: "default",
			StartUnixNano: testClock.UnixNano() + int64(i)*1e6, DurationNano: int64(rand.New(rand.NewPCG(7, uint64(i))).IntN(1e9)),
		}
		s.Attributes = append(s.Attributes,
			trace.Attribute{Key: "request.id", Value: trace.String(fmt.Sprintf("r-%d", t))},
			trace.Attribute{Key: "http.response.status_code", Value: trace.Int(int64(200 + i%3))},
		)
		switch i % 3 {
		case 0:
			s.Name, s.Kind = "GET /things", trace.KindServer
			s.Attributes = append(s.Attributes, trace.Attribute{Key: "http.route", Value: trace.String("/things")})
		case 1:
			s.Name, s.Kind, s.ParentID = "SELECT things", trace.KindClient, spanID(i-1)
			s.Status, s.StatusMessage, s.Error = trace.StatusError, "timed out", true
		case 2:
			s.Name, s.Kind, s.ParentID = "process", trace.KindConsumer, spanID(i-2)
			s.Events = []trace.Event{{Name: "picked up", TimeUnixNano: s.StartUnixNano + 5, Attributes: []trace.Attribute{{Key: "try", Value: trace.Int(1)}}}}
			if t > 0 {
				s.Links = []trace.Link{{TraceID: traceID(t - 1), SpanID: spanID(i - 3)}}
			}
		}
		spans = append(spans, s)
	}
	return spans
}

// harness is a store with a real log, which can be crashed and opened again.
type harness struct {
	t       *testing.T
	dir     string
	logDir  string
	opts    Options
	log     *ingestlog.JetStream
	stopLog func()
	broken  bool // the test damages files
	// compared are the segments that parquet-go has read too.
	compared map[string]bool
	*Store
}

func start(t *testing.T, o Options) *harness {
	t.Helper()
	checkLeaks(t)
	h := &harness{t: t, dir: t.TempDir(), logDir: t.TempDir(), opts: o}
	if h.opts.MinFreeBytes == 0 {
		h.opts.MinFreeBytes = 1
	}
	if testing.Verbose() && h.opts.Logger == nil {
		h.opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	h.open(nil)
	return h
}

// checkLeaks fails the test if it leaves goroutines behind.
func checkLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		var now int
		for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if now = runtime.NumGoroutine(); now <= before {
				return
			}
		}
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before the test:\n%s", now, before, buf[:runtime.Stack(buf, true)])
	})
}

func (h *harness) open(fault func(string) error) {
	h.t.Helper()
	h.log, h.stopLog = logtest.Start(h.t, h.logDir)
	h.opts.Dir, h.opts.Log = h.dir, h.log
	s, err := open(h.t.Context(), h.opts, fault)
	if err != nil {
		h.t.Fatalf("open: %v", err)
	}
	h.Store = s
	h.t.Cleanup(h.stop) // before the log's own end
	h.wait("ready", func() bool { ok, _ := s.Ready(); return ok })
}

func (h *harness) wait(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("not %s after 60 s; stats %+v", what, h.Stats())
		}
	}
}

func (h *harness) stop() {
	if h.Store != nil {
		if err := h.check(); err != nil && !h.broken {
			h.t.Errorf("check: %v", err)
		}
		if err := h.Close(); err != nil {
			h.t.Errorf("close: %v", err)
		}
		h.Store = nil
		h.stopLog()
		if !h.broken {
			h.oracle()
		}
	}
}

// oracle compares what we read of each segment with what parquet-go reads, once.
func (h *harness) oracle() {
	h.t.Helper()
	cat, err := openCatalogue(context.Background(), h.dir)
	must(h.t, err)
	defer cat.close()
	segments, err := cat.findSegments(context.Background())
	must(h.t, err)
	for _, r := range segments {
		if h.compared[r.ID] || r.Corrupt != "" {
			continue
		}
		if h.compared == nil {
			h.compared = map[string]bool{}
		}
		h.compared[r.ID] = true
		f := segment.Open(filepath.Join(h.dir, r.Path), r.Rows, segment.NewCache(16<<20))
		blocks, err := f.Blocks()
		must(h.t, err)
		segmenttest.Check(h.t, f.Path(), blocks)
		f.Close()
	}
}

// check reads everything and returns what is wrong.
func (h *harness) check() error {
	report, err := h.Check(context.Background(), CheckOptions{})
	return errors.Join(err, report.Err())
}

// crash stops the store as a kill would: nothing is flushed.
func (h *harness) crash() {
	s := h.Store
	s.closed.Store(true)
	s.ready.Store(false) // no last flush
	s.cancel()
	close(s.quit)
	s.wg.Wait()
	s.release()
	h.Store = nil
	h.stopLog()
}

func (h *harness) reopen() { h.stop(); h.open(nil) }

func (h *harness) append(spans []trace.Span) Ack {
	h.t.Helper()
	ack, err := h.Append(h.t.Context(), Batch{Format: FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans)})
	if err != nil {
		h.t.Fatalf("append: %v", err)
	}
	return ack
}

// settle waits until all that was acknowledged is applied.
func (h *harness) settle() {
	h.t.Helper()
	st, err := h.log.State(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	h.wait("applied", func() bool { return h.applied.Load() >= st.Last })
}

// want checks that the spans, and no others of their traces, are found, each
// once.
func (h *harness) want(spans []trace.Span) {
	h.t.Helper()
	byTrace := map[trace.ID][]trace.Span{}
	var order []trace.ID
	for _, s := range spans {
		if byTrace[s.TraceID] == nil {
			order = append(order, s.TraceID)
		}
		byTrace[s.TraceID] = append(byTrace[s.TraceID], s)
	}
	for _, id := range order {
		got, truncated, err := h.TraceSpans(h.t.Context(), id, 1000)
		if err != nil || truncated {
			h.t.Fatalf("trace %s: truncated %v, %v", id, truncated, err)
		}
		for i := range got {
			if got[i].ArrivedUnixNano == 0 {
				h.t.Errorf("trace %s: span %s has no arrival", id, got[i].SpanID)
			}
			got[i].ArrivedUnixNano = 0
		}
		if diff := cmp.Diff(byTrace[id], got); diff != "" {
			h.t.Fatalf("trace %s (-want +got):\n%s", id, diff)
		}
	}
}

func TestAppendAndRead(t *testing.T) {
	h := start(t, Options{})
	spans := testSpans(0, 300)
	if ack := h.append(spans); ack.Spans != 300 || ack.Rejected != 0 {
		t.Fatalf("ack %+v, want 300 spans", ack)
	}
	h.settle()
	h.want(spans)
	if got, _, err := h.TraceSpans(t.Context(), traceID(1e6), 10); err != nil || len(got) != 0 {
		t.Fatalf("unknown trace: %d spans, %v", len(got), err)
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := h.Stats(); st.Segments != 1 || st.SegmentRows != 300 || st.MemtableRows != 0 {
		t.Fatalf("after flush: %+v", st)
	}
	h.want(spans)
	more := testSpans(300, 300)
	h.append(more)
	h.settle()
	h.want(spans)
	h.want(more)
	h.reopen()
	h.want(spans)
	h.want(more)
	if st := h.Stats(); st.Segments != 2 || st.SegmentRows != 600 {
		t.Fatalf("after reopening: %+v", st)
	}
}

func TestEffectsAndSummary(t *testing.T) {
	h := start(t, Options{})
	spans := testSpans(0, 90)
	for i := 0; i < 90; i += 9 {
		h.append(spans[i : i+9])
		if i%27 == 0 {
			h.settle()
			if err := h.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.settle()
	check := func() {
		t.Helper()
		for n := range 29 {
			got, truncated, err := h.Effects(t.Context(), traceID(n), 10)
			want := []graph.Link{{From: trace.Ref{TraceID: traceID(n), SpanID: spanID(3*n + 2)}, To: trace.Ref{TraceID: traceID(n + 1), SpanID: spanID(3*n + 5)}}}
			if diff := cmp.Diff(want, got); err != nil || truncated || diff != "" {
				t.Fatalf("effects of trace %d: truncated %v, %v (-want +got):\n%s", n, truncated, err, diff)
			}
		}
		for n := range 30 {
			got, ok, err := h.TraceSummary(t.Context(), traceID(n))
			root := spans[3*n]
			end := max(spans[3*n].EndUnixNano(), spans[3*n+1].EndUnixNano(), spans[3*n+2].EndUnixNano())
			want := graph.Summary{
				TraceID: root.TraceID, SpanID: root.SpanID, Root: true, Service: root.Service, Name: root.Name, Route: "/things",
				Kind: trace.KindServer, Environment: "default", StartUnixNano: root.StartUnixNano, DurationNano: end - root.StartUnixNano,
				RootStartUnixNano: root.StartUnixNano, Spans: 3, Errors: 1, Requests: 1,
			}
			id, _ := root.Attribute("request.id")
			if want.Kept = []trace.Attribute{{Key: "request.id", Value: id}}; got.Kept == nil && n > 0 {
				want.Kept = nil // kept with the trace that caused it
			}
			if diff := cmp.Diff(want, got, sameDuration); err != nil || !ok || diff != "" {
				t.Fatalf("summary of trace %d: %v, %v (-want +got):\n%s", n, ok, err, diff)
			}
		}
	}
	check()
	h.reopen()
	check()
}

func TestInvalidBatches(t *testing.T) {
	h := start(t, Options{MemoryBytes: 8 << 10})
	good := otlp.AppendSpans(nil, testSpans(0, 2))
	var bad *InvalidError
	for name, b := range map[string]Batch{
		"truncated":   {Format: FormatOTLPProto, Raw: good[:len(good)-1]},
		"not json":    {Format: FormatOTLPJSON, Raw: []byte(`{"resourceSpans":[{"scopeSpans":5}]}`)},
		"format":      {Format: 99, Raw: good},
		"json, empty": {Format: FormatOTLPJSON},
	} {
		if _, err := h.Append(t.Context(), b); !errors.As(err, &bad) || bad.Message == "" {
			t.Errorf("%s: got %v, want an InvalidError", name, err)
		}
	}
	h.inFlight.Add(1000)
	if _, err := h.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: good}); !errors.Is(err, ErrOverloaded) {
		t.Errorf("too much in flight: got %v, want ErrOverloaded", err)
	}
	h.inFlight.Add(-1000)
	if st := h.Stats(); st.InFlightBytes != 0 || st.LogMessagesTotal != 0 {
		t.Errorf("after bad batches: %+v", st)
	}
}

func TestLockedAndClosed(t *testing.T) {
	h := start(t, Options{})
	if _, err := Open(t.Context(), h.opts); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), h.dir) {
		t.Fatalf("second open: got %v, want ErrLocked naming %s", err, h.dir)
	}
	s := h.Store
	h.stop()
	if _, err := s.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: otlp.AppendSpans(nil, testSpans(0, 1))}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: got %v, want ErrClosed", err)
	}
	if _, _, err := s.TraceSpans(t.Context(), traceID(0), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: got %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestLogsAreJoined(t *testing.T) {
	h := start(t, Options{})
	spans := testSpans(0, 3)
	h.append(spans)
	id := traceID(0)
	body := fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"service-0"}}]},"scopeLogs":[{"logRecords":[
		{"timeUnixNano":"%d","traceId":"%s","spanId":"%s","body":{"stringValue":"hello"},"attributes":[{"key":"n","value":{"intValue":"3"}}]},
		{"timeUnixNano":"%d","body":{"stringValue":"nobody's"}}]}]}]}`, spans[0].StartUnixNano+1, id, spans[0].SpanID, spans[0].StartUnixNano)
	ack, err := h.Append(t.Context(), Batch{Format: FormatOTLPLogsJSON, Raw: []byte(body)})
	if err != nil || ack.Spans != 1 || ack.Rejected != 1 || ack.Message == "" {
		t.Fatalf("ack %+v, %v; want 1 accepted and 1 rejected with a reason", ack, err)
	}
	h.settle()
	for range 2 {
		got, _, err := h.TraceSpans(t.Context(), id, 10)
		if err != nil || len(got) != 3 || len(got[0].Events) != 1 || got[0].Events[0].Name != "log" || got[0].Events[0].TimeUnixNano != spans[0].StartUnixNano+1 {
			t.Fatalf("spans %+v, %v; want 3, the first with the log as an event", got, err)
		}
		if a := got[0].Events[0].Attributes; a[0] != (trace.Attribute{Key: "body", Value: trace.String("hello")}) {
			t.Fatalf("event's attributes: %+v", a)
		}
		if sum, ok, err := h.TraceSummary(t.Context(), id); err != nil || !ok || sum.Spans != 3 {
			t.Fatalf("summary %+v, %v, %v; want 3 spans", sum, ok, err)
		}
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
