package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"redthread/seeds"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// kills is how often the crash test kills the server: few in CI, many in the
// long run.
func kills() int {
	if v, err := strconv.Atoi(os.Getenv("REDTHREAD_KILLS")); err == nil && v > 0 {
		return v
	}
	if os.Getenv("REDTHREAD_SOAK") != "" {
		return 100
	}
	return 5
}

// sentTrace is one trace of a batch: it went whole with one request.
type sentTrace struct {
	id    trace.ID
	spans int
}

// batchOf makes one export request of some small traces, all ids drawn from r.
func batchOf(r *rand.Rand, traces int) ([]byte, []sentTrace) {
	var spans []trace.Span
	var sent []sentTrace
	now := time.Now().UnixNano()
	for range traces {
		var id trace.ID
		binary.BigEndian.PutUint64(id[:], r.Uint64()|1)
		binary.BigEndian.PutUint64(id[8:], r.Uint64()|1)
		n := 1 + r.IntN(8)
		var parent trace.SpanID
		for i := range n {
			var sid trace.SpanID
			binary.BigEndian.PutUint64(sid[:], r.Uint64()|1)
			spans = append(spans, trace.Span{
				TraceID: id, SpanID: sid, ParentID: parent, Name: "step " + strconv.Itoa(i), Service: "crash-test", Environment: "default",
				Kind: trace.KindInternal, StartUnixNano: now + int64(i)*1e6, DurationNano: 5e6,
				Attributes: []trace.Attribute{{Key: "request.id", Value: trace.String(id.String())}, {Key: "step", Value: trace.Int(int64(i))}},
			})
			if i == 0 {
				parent = sid
			}
		}
		sent = append(sent, sentTrace{id, n})
	}
	return otlp.AppendSpans(nil, spans), sent
}

// lastBeforeKill is how many traces are surely looked at of each life of the
// server.
const lastBeforeKill = 1000

// TestCrash kills the server with signal 9 at random moments of ingest, starts
// it again on the same folder each time, and then asks for every acknowledged
// trace: all spans there, none twice.
func TestCrash(t *testing.T) {
	seed := seeds.One(t)
	r := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	var acked []sentTrace
	var ends []int // of acked, at each kill
	var mu sync.Mutex
	var refused atomic.Int64
	for range kills() {
		p := start(t, dir, "--memory", "96MiB") // small, so that it flushes and merges often
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 4 {
			wr := rand.New(rand.NewPCG(r.Uint64(), 2))
			wg.Go(func() {
				for ctx.Err() == nil {
					body, sent := batchOf(wr, 1+wr.IntN(200))
					if !post(p.otlpHTTP+"/v1/traces", body) {
						refused.Add(1)
						continue
					}
					mu.Lock()
					acked = append(acked, sent...)
					mu.Unlock()
				}
			})
		}
		<-time.After(time.Duration(50+r.IntN(1500)) * time.Millisecond)
		eventually(t, patience, "something is acknowledged", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(acked) == 0 {
				return errors.New("nothing yet")
			}
			return nil
		})
		p.kill()
		cancel()
		wg.Wait()
		ends = append(ends, len(acked))
	}
	p := start(t, dir)
	spans, missing, doubled, looked := 0, 0, 0, 0
	for i, s := range acked {
		spans += s.spans
		// All that were acknowledged last before a kill, and some of the rest.
		end := ends[sort.SearchInts(ends, i+1)]
		if i < end-lastBeforeKill && r.IntN(20) > 0 {
			continue
		}
		looked++
		switch got := p.spanCount(s.id); {
		case got < s.spans:
			missing += s.spans - got
		case got > s.spans:
			doubled += got - s.spans
		}
	}
	var res struct {
		Results []struct{ Data map[string]any } `json:"results"`
	}
	status := p.api(http.MethodPost, "/api/v1/query", map[string]any{"calculations": []map[string]string{{"op": "COUNT"}}}, &res)
	if status != 200 || len(res.Results) != 1 {
		t.Fatalf("COUNT: status %d, %+v", status, res)
	}
	t.Logf("%d kills, %d acknowledged traces with %d spans, %d requests failed; of %d traces looked at %d spans missing, %d doubled; COUNT %.0f",
		kills(), len(acked), spans, refused.Load(), looked, missing, doubled, res.Results[0].Data["COUNT"])
	if missing > 0 || doubled > 0 {
		t.Errorf("%d acknowledged spans are missing, %d are there twice", missing, doubled)
	}
	// A request that was cut off may have been stored; an acknowledged one must.
	if got := int(res.Results[0].Data["COUNT"].(float64)); got < spans {
		t.Errorf("COUNT = %d, want at least the %d acknowledged spans", got, spans)
	}
	// The rows themselves, which reading a trace would show once.
	status = p.api(http.MethodPost, "/api/v1/query", map[string]any{
		"calculations": []map[string]string{{"op": "COUNT"}}, "breakdowns": []string{"trace.span_id"},
		"havings": []map[string]any{{"calculate_op": "COUNT", "op": ">", "value": 1}},
	}, &res)
	if status != 200 || len(res.Results) != 0 {
		t.Errorf("spans stored twice: status %d, %+v", status, res.Results)
	}
	p.stop()
	wantSay(t, 0, []string{"Everything is well."}, "check", "--data", dir)
}

func post(url string, body []byte) bool {
	res, err := http.Post(url, "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

// spanCount asks for a trace and counts its spans; ids must be distinct.
func (p *process) spanCount(id trace.ID) int {
	p.t.Helper()
	var tr struct {
		Spans []struct {
			SpanID string `json:"span_id"`
		} `json:"spans"`
	}
	switch status := p.api(http.MethodGet, "/api/v1/traces/"+id.String(), nil, &tr); status {
	case http.StatusOK, http.StatusNotFound:
	default:
		p.t.Fatalf("trace %s: status %d", id, status)
	}
	return len(tr.Spans)
}

// TestLostLog loses the folder of the ingest log between two runs: what was
// flushed stays, and new spans are stored as if nothing had happened.
func TestLostLog(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(7, 7))
	p := start(t, dir)
	before, sentBefore := batchOf(r, 50)
	if !post(p.otlpHTTP+"/v1/traces", before) {
		t.Fatal("the first batch was refused")
	}
	p.stop() // flushes
	if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	p = start(t, dir)
	after, sentAfter := batchOf(r, 50)
	if !post(p.otlpHTTP+"/v1/traces", after) {
		t.Fatal("the batch after the loss was refused")
	}
	for _, s := range append(sentBefore, sentAfter...) {
		eventually(t, patience, "trace "+s.id.String(), func() error {
			if got := p.spanCount(s.id); got != s.spans {
				return fmt.Errorf("%d spans, want %d", got, s.spans)
			}
			return nil
		})
	}
	p.kill()
	p = start(t, dir)
	for _, s := range append(sentBefore, sentAfter...) {
		if got := p.spanCount(s.id); got != s.spans {
			t.Errorf("after a kill: trace %s has %d spans, want %d", s.id, got, s.spans)
		}
	}
	p.stop()
}

// TestSecondServer is refused on a folder that is in use.
func TestSecondServer(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	code := dispatch(context.Background(), env{nil, io.Discard, &bytes.Buffer{}, func(string) string { return "" }},
		[]string{"serve", "--data", dir, "--addr", "127.0.0.1:0", "--otlp-http-addr", "", "--otlp-grpc-addr", ""})
	if code == 0 {
		t.Error("a second server started on the same folder")
	}
	p.stop()
}
