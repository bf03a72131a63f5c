package tracestore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"redthread/tracestore/otlp"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// TestReadWhileWriting reads traces and counts rows while several senders append
// and memtables are flushed. A reader never sees half a message.
func TestReadWhileWriting(t *testing.T) {
	h := start(t, Options{FlushRows: 500})
	const senders, batches, perBatch = 4, 40, 30
	var acked [senders]atomic.Int64
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for w := range senders {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for b := range batches {
				spans := testSpans((w*batches+b)*perBatch, perBatch)
				if _, err := h.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans)}); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				acked[w].Add(1)
			}
		}()
	}
	for r := range 3 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			var last int64
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := traceID((n*7 + r*13) % (senders * batches * perBatch / 3))
				spans, _, err := h.TraceSpans(t.Context(), id, 100)
				if err != nil || len(spans) != 0 && len(spans) != 3 {
					t.Errorf("trace %s: %d spans, %v; want 0 or 3", id, len(spans), err)
					return
				}
				if _, ok, err := h.TraceSummary(t.Context(), id); err != nil || len(spans) > 0 && !ok {
					t.Errorf("trace %s: no summary, %v", id, err)
					return
				}
				v := h.acquire()
				blocks, _, err := v.blocks(math.MinInt64, math.MaxInt64, h.setAsideSegment)
				var rows int64
				for _, b := range blocks {
					rows += int64(b.Rows())
					for _, info := range b.Columns() {
						if c, err := b.Column(info.Key, info.Type); err != nil || info.Rows > 0 && c == nil {
							t.Errorf("column %s: %v", info.Key, err)
						}
					}
				}
				v.release()
				if err != nil || rows%perBatch != 0 || rows < last {
					t.Errorf("a snapshot has %d rows after %d, %v; want whole batches of %d, never fewer", rows, last, err, perBatch)
					return
				}
				last = rows
			}
		}()
	}
	writers.Wait()
	h.settle()
	close(stop)
	readers.Wait()
	h.want(testSpans(0, senders*batches*perBatch))
	h.wantRows(senders * batches * perBatch)
}

func TestManySegments(t *testing.T) {
	h := start(t, Options{})
	h.stop()
	uncompacted := func(step string) error {
		if strings.HasPrefix(step, "compact.") {
			return errors.New("not now")
		}
		return nil
	}
	h.open(uncompacted)
	const segments, perSegment = 40, 30
	for i := range segments {
		h.append(testSpans(i*perSegment, perSegment))
		h.settle()
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h.stop()
	h.open(uncompacted)
	all := testSpans(0, segments*perSegment)
	h.want(all)
	if st := h.Stats(); st.Segments != segments {
		t.Fatalf("%d segments, want %d", st.Segments, segments)
	}
	// A trace that lies in several segments, and a limit across them.
	spread := traceID(1e6)
	for i := range 5 {
		s := testSpans(3*i, 1)
		s[0].TraceID, s[0].SpanID = spread, spanID(5000+i)
		h.append(s)
		h.settle()
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for limit := 1; limit <= 6; limit++ {
		got, truncated, err := h.TraceSpans(t.Context(), spread, limit)
		if err != nil || len(got) != min(limit, 5) || truncated != (limit < 5) {
			t.Errorf("limit %d: %d spans, truncated %v, %v", limit, len(got), truncated, err)
		}
	}
	if sum, ok, err := h.TraceSummary(t.Context(), spread); err != nil || !ok || sum.Spans != 5 || sum.SpanID != spanID(5000) {
		t.Errorf("summary %+v, %v, %v", sum, ok, err)
	}
}

func TestRetention(t *testing.T) {
	now := testClock
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	h := start(t, Options{Now: clock, SpanRetention: 30 * 24 * time.Hour, EdgeRetention: 400 * 24 * time.Hour})
	old := testSpans(0, 30)
	for i := range old {
		old[i].StartUnixNano += int64(1000 * 24 * time.Hour) // in the future: what counts is arrival
	}
	h.append(old)
	h.settle()
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := h.current.segments[0].file.Path()
	pass(20 * 24 * time.Hour)
	young := testSpans(300, 30)
	h.append(young)
	h.settle()
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, h.Maintain(t.Context()))
	h.want(old)
	pass(11 * 24 * time.Hour)
	held := h.acquire() // a reader at work
	must(t, h.Maintain(t.Context()))
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("segment was deleted under a reader: %v", err)
	}
	held.release()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("old segment is still there: %v", err)
	}
	if got, _, err := h.TraceSpans(t.Context(), old[0].TraceID, 10); err != nil || len(got) != 0 {
		t.Fatalf("%d spans of an expired trace, %v", len(got), err)
	}
	h.want(young)
	for range 2 {
		if sum, ok, err := h.TraceSummary(t.Context(), old[0].TraceID); err != nil || !ok || sum.Spans != 3 {
			t.Fatalf("summary of an expired trace: %+v, %v, %v", sum, ok, err)
		}
		if links, _, err := h.Effects(t.Context(), old[0].TraceID, 10); err != nil || len(links) != 1 {
			t.Fatalf("effects of an expired trace: %v, %v", links, err)
		}
		h.reopen()
	}
	pass(400 * 24 * time.Hour)
	must(t, h.Maintain(t.Context()))
	if _, ok, err := h.TraceSummary(t.Context(), old[0].TraceID); err != nil || ok {
		t.Fatalf("summary after 431 days: %v, %v", ok, err)
	}
	if st := h.Stats(); st.Segments != 0 || st.EdgeRuns != 0 {
		t.Fatalf("after 431 days: %+v", st)
	}
	for _, pattern := range []string{segmentsDir + "/*/*", edgesDir + "/*"} {
		if left, err := filepath.Glob(filepath.Join(h.dir, pattern)); err != nil || len(left) > 0 {
			t.Fatalf("files are left: %v, %v", left, err)
		}
	}
}

func TestMaxDisk(t *testing.T) {
	h := start(t, Options{})
	var sizes []int64
	for i := range 3 {
		h.append(testSpans(i*30, 30))
		h.settle()
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := h.acquire()
		sizes = append(sizes, v.segments[i].SizeBytes)
		v.release()
	}
	edges := h.Stats().EdgeBytes
	h.stop()
	h.opts.MaxDiskBytes = sizes[1] + sizes[2] + edges
	h.open(nil)
	must(t, h.Maintain(t.Context()))
	h.want(testSpans(30, 60))
	if st := h.Stats(); st.Segments != 2 {
		t.Fatalf("%d segments, want the newest 2", st.Segments)
	}
	// Edges have a quarter, and then give way, too.
	h.stop()
	h.opts.MaxDiskBytes = edges * maxEdgeShare * 3 / 4
	h.open(nil)
	must(t, h.Maintain(t.Context()))
	if st := h.Stats(); st.EdgeRuns != 2 || st.EdgeBytes > h.opts.MaxDiskBytes/maxEdgeShare {
		t.Fatalf("%d runs of edges with %d bytes, want 2 within a quarter of %d", st.EdgeRuns, st.EdgeBytes, h.opts.MaxDiskBytes)
	}
}

// TestMergeEdges flushes often enough for runs of edges to be joined twice, and
// crashes before each step of a merge.
func TestMergeEdges(t *testing.T) {
	h := start(t, Options{})
	h.stop()
	steps := []string{"merge.create.edges", "merge.sync.edges", "merge.rename.edges", "merge.commit"}
	var step atomic.Int64
	h.open(func(name string) error {
		if n := step.Load(); n < int64(len(steps)) && name == steps[n] {
			step.Add(1)
			return errCrash
		}
		return nil
	})
	const flushes = mergeRuns * (mergeRuns + 1)
	for i := range flushes {
		h.append(testSpans(i*6, 6))
		h.settle()
		must(t, h.Flush(t.Context()))
		if i >= mergeRuns {
			must(t, h.Maintain(t.Context()))
		}
	}
	if st := h.Stats(); st.EdgeRuns != 2 {
		t.Fatalf("%d runs of edges after %d flushes, want one of level 2 and one of level 1", st.EdgeRuns, flushes)
	}
	for range 2 {
		for n := range 2*flushes - 1 {
			links, _, err := h.Effects(t.Context(), traceID(n), 10)
			if err != nil || len(links) != 1 || links[0].To.TraceID != traceID(n+1) {
				t.Fatalf("effects of trace %d: %+v, %v", n, links, err)
			}
			if sum, ok, err := h.TraceSummary(t.Context(), traceID(n)); err != nil || !ok || sum.Spans != 3 || sum.SpanID != spanID(3*n) {
				t.Fatalf("summary of trace %d: %+v, %v, %v", n, sum, ok, err)
			}
		}
		h.reopen()
	}
	left, err := filepath.Glob(filepath.Join(h.dir, edgesDir, "*"))
	if err != nil || len(left) != 2 {
		t.Fatalf("files of edges: %v, %v; want 2", left, err)
	}
}

func TestDiskGuard(t *testing.T) {
	h := start(t, Options{MinFreeBytes: 100 << 20})
	var free atomic.Int64
	free.Store(200 << 20)
	h.disk.mu.Lock()
	h.disk.free = func(string) (int64, int64, error) { return free.Load(), 1 << 30, nil }
	h.disk.mu.Unlock()
	spans := testSpans(0, 60)
	h.append(spans[:30])
	h.settle()
	free.Store(99 << 20)
	h.wait("full", func() bool { return h.Stats().DiskFull })
	_, err := h.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans[30:])})
	if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "99 MiB free") {
		t.Fatalf("append on a full disk: %v", err)
	}
	h.want(spans[:30])
	if err := h.Flush(t.Context()); err != nil {
		t.Fatalf("flush keeps a reserve: %v", err)
	}
	free.Store(101 << 20)
	h.wait("free again", func() bool { return !h.Stats().DiskFull })
	h.append(spans[30:])
	h.settle()
	h.want(spans)
}

func TestCorruptSegment(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"gone":      func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"cut short": func(t *testing.T, path string) { must(t, os.Truncate(path, 100)) },
		"overwritten": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			for i := 4; i < len(b)/2; i++ {
				b[i] ^= 0x55
			}
			must(t, os.WriteFile(path, b, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Options{})
			for i := range 3 {
				h.append(testSpans(i*30, 30))
				h.settle()
				must(t, h.Flush(t.Context()))
			}
			path := h.current.segments[1].Path
			h.stop()
			h.broken = true
			damage(t, filepath.Join(h.dir, path))
			h.open(nil)
			for range 2 {
				h.want(testSpans(0, 30))
				h.want(testSpans(60, 30))
				if got, _, err := h.TraceSpans(t.Context(), traceID(11), 10); err != nil || len(got) != 0 {
					t.Fatalf("a trace of the corrupt segment: %d spans, %v", len(got), err)
				}
				r, err := h.Search(t.Context(), query.Search{AnyTime: true, Limit: 1000})
				if err != nil || len(r.Rows) != 60 {
					t.Fatalf("search: %+v, %v; want the 60 rows of the other segments", r, err)
				}
				if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "30 rows") {
					t.Fatalf("search warns %q, want it to say that 30 rows are set aside", r.Warnings)
				}
				from, to := 0.0, 1.0
				before, err := h.Query(t.Context(), query.Spec{StartTime: &from, EndTime: &to})
				if err != nil || len(before.Warnings) != 0 {
					t.Fatalf("a query of another time: %+v, %v; want no warning", before, err)
				}
				if st := h.Stats(); len(st.CorruptFiles) != 1 || !strings.HasPrefix(st.CorruptFiles[0], path) || st.Segments != 2 {
					t.Fatalf("corrupt files %q, %d segments; want %s to be named", st.CorruptFiles, st.Segments, path)
				}
				if err := h.check(); err == nil || !strings.Contains(err.Error(), path) {
					t.Fatalf("check: %v; want %s to be named", err, path)
				}
				h.reopen()
			}
		})
	}
}

// TestRowsOfCorruptSegmentAreTakenAgain: what was lost with a file is no duplicate
// when it is sent again.
func TestRowsOfCorruptSegmentAreTakenAgain(t *testing.T) {
	for _, restart := range []bool{false, true} {
		h := start(t, Options{})
		h.append(testSpans(0, 60))
		must(t, h.Flush(t.Context()))
		path := filepath.Join(h.dir, h.current.segments[0].Path)
		if restart {
			h.reopen()
		}
		h.broken = true
		must(t, os.Truncate(path, 100))
		if _, err := h.Search(t.Context(), query.Search{AnyTime: true, Limit: 1000}); err != nil {
			t.Fatal(err)
		}
		if st := h.Stats(); len(st.CorruptFiles) != 1 {
			t.Fatalf("corrupt files: %q", st.CorruptFiles)
		}
		h.append(testSpans(0, 60))
		h.settle()
		h.want(testSpans(0, 60))
	}
}

func TestLostSidecar(t *testing.T) {
	h := start(t, Options{})
	spans := testSpans(0, 60)
	h.append(spans)
	h.stop()
	sidecars, err := filepath.Glob(filepath.Join(h.dir, segmentsDir, "*", "*.idx"))
	if err != nil || len(sidecars) != 1 {
		t.Fatalf("sidecars %v, %v", sidecars, err)
	}
	want, err := os.ReadFile(sidecars[0])
	must(t, err)
	for _, damage := range []func() error{
		func() error { return os.Remove(sidecars[0]) },
		func() error { return os.WriteFile(sidecars[0], want[:len(want)-1], 0o644) },
		func() error { return os.WriteFile(sidecars[0], []byte("nonsense"), 0o644) },
	} {
		must(t, damage())
		h.open(nil)
		h.want(spans)
		h.append(spans) // duplicates are known from the sidecar
		h.settle()
		h.wantRows(60)
		h.stop()
		if got, err := os.ReadFile(sidecars[0]); err != nil || string(got) != string(want) {
			t.Fatalf("the sidecar made anew differs: %d bytes, want %d, %v", len(got), len(want), err)
		}
	}
}

// TestLargeAndSmallRequests sends a body that must be cut, a record that cannot
// be, and many small bodies at once, which share messages of the log.
func TestLargeAndSmallRequests(t *testing.T) {
	h := start(t, Options{})
	big := testSpans(0, 90)
	for i := range big {
		big[i].Attributes = append(big[i].Attributes, trace.Attribute{Key: "big", Value: trace.String(strings.Repeat(fmt.Sprint(i%10), 100<<10))})
	}
	if ack := h.append(big); ack.Spans != 90 {
		t.Fatalf("ack %+v", ack)
	}
	h.settle()
	h.want(big)
	if n := h.Stats().LogMessagesTotal; n < 3 {
		t.Fatalf("9 MB went into %d messages, want at least 3", n)
	}
	huge := testSpans(300, 3)
	huge[1].Attributes = append(huge[1].Attributes, trace.Attribute{Key: "big", Value: trace.String(strings.Repeat("x", 9<<20))})
	if ack := h.append(huge); ack.Spans != 2 || ack.Rejected != 1 || ack.Message == "" {
		t.Fatalf("ack %+v; want 2 accepted, 1 rejected with a reason", ack)
	}
	before := h.Stats().LogMessagesTotal
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := h.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: otlp.AppendSpans(nil, testSpans(600+i, 1))}); err != nil {
				t.Errorf("append: %v", err)
			}
		}()
	}
	wg.Wait()
	h.settle()
	h.want(testSpans(600, 300))
	if n := h.Stats().LogMessagesTotal - before; n > 200 {
		t.Errorf("300 requests at once took %d messages of the log", n)
	}
}

func TestEnvironments(t *testing.T) {
	h := start(t, Options{})
	raw := otlp.AppendSpans(nil, testSpans(0, 3))
	if _, err := h.Append(t.Context(), Batch{Format: FormatOTLPProto, Environment: "staging", Raw: raw}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Append(t.Context(), Batch{Format: FormatOTLPProto, Environment: "*", Raw: otlp.AppendSpans(nil, testSpans(3, 3))}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	for n, want := range []string{"staging", "default"} {
		got, _, err := h.TraceSpans(t.Context(), traceID(n), 10)
		if err != nil || len(got) != 3 || got[0].Environment != want {
			t.Errorf("trace %d: %+v, %v; want environment %s", n, got, err, want)
		}
	}
}

// TestQueryOverBoth asks for rows of segments and of the memtable at once.
func TestQueryOverBoth(t *testing.T) {
	now := testClock.Add(time.Minute)
	h := start(t, Options{Now: func() time.Time { return now }})
	h.append(testSpans(0, 300))
	h.settle()
	must(t, h.Flush(t.Context()))
	h.append(testSpans(300, 300))
	h.settle()
	body := fmt.Sprintf(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","traceId":"%s"}]}]}]}`, testClock.UnixNano(), traceID(0))
	if _, err := h.Append(t.Context(), Batch{Format: FormatOTLPLogsJSON, Raw: []byte(body)}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	r, err := h.Query(t.Context(), query.Spec{Breakdowns: []string{"name"}, Calculations: []query.Calculation{{Op: "COUNT"}}})
	must(t, err)
	got := map[string]any{}
	for _, g := range r.Results {
		got[fmt.Sprint(g.Data["name"])] = g.Data["COUNT"]
	}
	if len(got) != 3 || fmt.Sprint(got[fmt.Sprint(trace.String("process"))]) != "200" || r.Stats.Segments != 1 || r.Stats.RowsMatched != 600 {
		t.Fatalf("%v, %+v; want 200 of each of 3 names, log records not counted", got, r.Stats)
	}
	from, to := float64(now.Add(time.Hour).Unix()), float64(now.Add(2*time.Hour).Unix())
	r, err = h.Query(t.Context(), query.Spec{StartTime: &from, EndTime: &to})
	if err != nil || r.Stats.RowsScanned != 0 || r.Stats.Segments != 0 {
		t.Fatalf("outside the window: %+v, %v; want nothing to be read", r, err)
	}
	found, err := h.Search(t.Context(), query.Search{Filters: []query.Filter{{Column: "request.id", Op: "=", Value: "r-150"}}})
	if err != nil || len(found.Rows) != 3 || found.Rows[0].TraceID != traceID(150) {
		t.Fatalf("search: %+v, %v", found, err)
	}
	columns, err := h.Columns(t.Context(), "", "http.")
	if err != nil || len(columns) != 2 {
		t.Fatalf("columns: %+v, %v; want http.route and http.response.status_code", columns, err)
	}
	var bad *query.InvalidError
	if _, err := h.Query(t.Context(), query.Spec{Calculations: []query.Calculation{{Op: "NONSENSE"}}}); !errors.As(err, &bad) {
		t.Fatalf("unknown operator: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
