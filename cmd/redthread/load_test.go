package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// soak reports whether the long tests run at full size.
func soak() bool { return os.Getenv("REDTHREAD_SOAK") != "" }

const (
	// loadMark stands in a template where a batch puts its number: in the trace
	// ids and in the attribute batch.
	loadMark      = "\xfe\xed\xfa\xce\xca\xfe\xbe\xef"
	loadBatchMark = "batch-########"
	loadSpans     = 1000
)

// loadTemplate is an export request whose ids are patched, so that sending costs
// little beside receiving.
type loadTemplate struct {
	raw          []byte
	ids, numbers []int // offsets of the marks
}

func newLoadTemplate(r *rand.Rand) *loadTemplate {
	services := []string{"web-uk", "web-de", "quotes-api", "dealers-api", "job-workers", "kafka-consumers"}
	now := time.Now().UnixNano()
	var spans []trace.Span
	var parent trace.SpanID
	var id trace.ID
	for i := range loadSpans {
		if i%8 == 0 {
			copy(id[:], loadMark)
			binary.BigEndian.PutUint64(id[8:], r.Uint64())
			parent = trace.SpanID{}
		}
		var span trace.SpanID
		binary.BigEndian.PutUint64(span[:], r.Uint64()|1)
		s := trace.Span{
			TraceID: id, SpanID: span, ParentID: parent, Name: "GET /things/" + strconv.Itoa(r.IntN(40)), Service: services[r.IntN(len(services))],
			Kind: trace.KindServer, StartUnixNano: now - r.Int64N(60e9), DurationNano: int64(r.ExpFloat64() * 50e6),
			Attributes: []trace.Attribute{
				{Key: "batch", Value: trace.String(loadBatchMark)},
				{Key: "user.id", Value: trace.String(fmt.Sprintf("u-%d", r.IntN(100_000)))},
				{Key: "request.id", Value: trace.String(fmt.Sprintf("%016x", r.Uint64()))},
				{Key: "http.route", Value: trace.String("/things/" + strconv.Itoa(r.IntN(40)))},
				{Key: "http.response.status_code", Value: trace.Int(int64(200 + 100*r.IntN(4)))},
				{Key: "db.statement", Value: trace.String(fmt.Sprintf("SELECT * FROM things WHERE kind = %d AND state IN (1, 2, 3) ORDER BY id", r.IntN(200)))},
				{Key: "app.build", Value: trace.String("build-" + strconv.Itoa(r.IntN(12)))},
				{Key: "k8s.pod.name", Value: trace.String("pod-" + strconv.Itoa(r.IntN(60)))},
				{Key: "bytes", Value: trace.Int(r.Int64N(1 << 20))},
				{Key: "load", Value: trace.Float(r.Float64())},
			},
		}
		if r.IntN(50) == 0 {
			s.Status, s.Error = trace.StatusError, true
		}
		if i%8 == 0 {
			parent = span
		}
		spans = append(spans, s)
	}
	t := &loadTemplate{raw: otlp.AppendSpans(nil, spans)}
	for at := 0; ; at++ {
		i := bytes.Index(t.raw[at:], []byte(loadMark))
		if i < 0 {
			break
		}
		at += i
		t.ids = append(t.ids, at)
	}
	for at := 0; ; at++ {
		i := bytes.Index(t.raw[at:], []byte(loadBatchMark))
		if i < 0 {
			break
		}
		at += i
		t.numbers = append(t.numbers, at)
	}
	return t
}

func loadName(batch int) string { return fmt.Sprintf("batch-%08d", batch) }

// fill makes the body of one batch in buf.
func (l *loadTemplate) fill(buf []byte, batch int) []byte {
	buf = append(buf[:0], l.raw...)
	for _, at := range l.ids {
		binary.BigEndian.PutUint64(buf[at:], uint64(batch)+1)
	}
	name := loadName(batch)
	for _, at := range l.numbers {
		copy(buf[at:], name)
	}
	return buf
}

// load sends batches over many connections until it is stopped.
type load struct {
	mu       sync.Mutex
	acked    []int       // batches
	refused  map[int]int // by status; 0: the connection was closed
	faults   []string
	sentNext int
}

// run sends to url over conns connections until ctx is done.
func (l *load) run(ctx context.Context, url string, conns int, templates []*loadTemplate) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for c := range conns {
		wg.Go(func() {
			var buf []byte
			for ctx.Err() == nil {
				l.mu.Lock()
				n := l.sentNext
				l.sentNext++
				l.mu.Unlock()
				buf = templates[c%len(templates)].fill(buf, n)
				res, err := client.Post(url, "application/x-protobuf", bytes.NewReader(buf))
				if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
					// Refused, and the connection closed before the answer was read:
					// a sender tries again, as after any lost connection.
					l.mu.Lock()
					l.refused[0]++
					l.mu.Unlock()
					buf = nil
					continue
				}
				if err != nil {
					l.fault("post: %v", err)
					return
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				l.answered(n, res, body)
				if res.StatusCode != http.StatusOK {
					buf = nil // refused before it was read: it may still be on its way
				}
			}
		})
	}
	wg.Wait()
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

func (l *load) answered(n int, res *http.Response, body []byte) {
	switch res.StatusCode {
	case http.StatusOK:
		l.mu.Lock()
		l.acked = append(l.acked, n)
		l.mu.Unlock()
		return
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || s < 1 {
			l.fault("refused with %d and Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
		}
	default:
		l.fault("answered %d %.200s", res.StatusCode, body)
	}
	l.mu.Lock()
	l.refused[res.StatusCode]++
	l.mu.Unlock()
}

// wantAll checks that every acknowledged batch is stored whole and once.
func (l *load) wantAll(t *testing.T, p *process) {
	t.Helper()
	slices.Sort(l.acked)
	var res struct {
		Results []struct{ Data map[string]any } `json:"results"`
	}
	counts := map[string]float64{}
	// A page of groups at a time: 10,000 is the most that an answer lists.
	for from := 0; from <= l.sentNext; from += 5000 {
		status := p.api(http.MethodPost, "/api/v1/query", map[string]any{
			"calculations": []map[string]string{{"op": "COUNT"}}, "breakdowns": []string{"batch"}, "limit": 10000,
			"filters": []map[string]any{{"column": "batch", "op": ">=", "value": loadName(from)}, {"column": "batch", "op": "<", "value": loadName(from + 5000)}},
		}, &res)
		if status != 200 {
			t.Fatalf("count by batch: %d", status)
		}
		for _, g := range res.Results {
			counts[fmt.Sprint(g.Data["batch"])] = g.Data["COUNT"].(float64)
		}
	}
	wrong := 0
	for _, n := range l.acked {
		if counts[loadName(n)] != loadSpans {
			if wrong++; wrong < 5 {
				t.Errorf("batch %d has %.0f rows, want %d", n, counts[loadName(n)], loadSpans)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d acknowledged batches are not stored whole and once", wrong, len(l.acked))
	}
}

// rssPeak is the most memory that a process has taken so far, in bytes.
func rssPeak(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		why := fmt.Sprintf("the peak of memory is not known here: %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	for _, line := range strings.Split(string(b), "\n") {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("no VmHWM in /proc/PID/status")
	return 0
}

// TestOverload offers ten times what may be in flight at once: refusals say when
// to come again, every acknowledged row is there, once, and under soak the memory
// stays within its budget.
func TestOverload(t *testing.T) {
	const budget = 400 << 20
	conns, lasts, memory := 48, 2*time.Second, "64MiB"
	if soak() {
		conns, lasts, memory = 1200, time.Minute, "400MiB"
	}
	p := start(t, t.TempDir(), "--memory", memory)
	r := rand.New(rand.NewPCG(3, 3))
	templates := []*loadTemplate{newLoadTemplate(r), newLoadTemplate(r), newLoadTemplate(r), newLoadTemplate(r)}
	l := &load{refused: map[int]int{}}
	began := time.Now()
	for done := false; !done && time.Since(began) < max(patience, lasts); {
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		l.run(ctx, p.otlpHTTP+"/v1/traces", conns, templates)
		cancel()
		done = len(l.acked) > 0 && len(l.refused) > 0 || len(l.faults) > 0
	}
	took := time.Since(began)
	for i, f := range l.faults {
		if i < 5 {
			t.Error(f)
		}
	}
	if len(l.acked) == 0 || len(l.refused) == 0 {
		t.Fatalf("%d batches acknowledged, refused %v; want both", len(l.acked), l.refused)
	}
	if cut := l.refused[0]; cut*2 > l.sentNext-len(l.acked) {
		t.Errorf("%d of %d refusals were cut off before they said when to come again", cut, l.sentNext-len(l.acked))
	}
	peak := rssPeak(t, p.cmd.Process.Pid)
	p.awaitApplied()
	l.wantAll(t, p)
	t.Logf("%d connections with %d KiB each for %s: %.0f spans/s acknowledged, %d batches refused %v, peak RSS %d MiB",
		conns, len(templates[0].raw)>>10, took.Round(time.Second), float64(len(l.acked)*loadSpans)/took.Seconds(), l.sentNext-len(l.acked), l.refused, peak>>20)
	if soak() && peak > budget+budget/8 {
		t.Errorf("peak RSS %d MiB, want at most %d", peak>>20, (budget+budget/8)>>20)
	}
	p.stop()
}

// awaitApplied waits until everything that was acknowledged can be found.
func (p *process) awaitApplied() {
	p.t.Helper()
	eventually(p.t, patience, "all is applied", func() error {
		if !strings.Contains(p.metrics(), "\nredthread_ingest_log_unapplied 0\n") {
			return errors.New("messages wait")
		}
		return nil
	})
}

// metrics reads the text of /metrics.
func (p *process) metrics() string {
	p.t.Helper()
	res, err := http.Get(p.url + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return "\n" + string(b)
}

// loadQueries are the kinds of question that are asked during ingest.
var loadQueries = []struct{ name, path, body string }{
	{"COUNT by service", "/api/v1/query", `{"calculations":[{"op":"COUNT"}],"breakdowns":["service.name"]}`},
	{"COUNT, P99 by service and minute", "/api/v1/query", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["service.name"],"granularity":60}`},
	{"COUNT, P99 by db.statement", "/api/v1/query", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["db.statement"],"orders":[{"op":"COUNT","order":"descending"}],"limit":20}`},
	{"COUNT, P99 by user.id", "/api/v1/query", `{"calculations":[{"op":"COUNT"},{"op":"P99","column":"duration_ms"}],"breakdowns":["user.id"],"orders":[{"op":"COUNT","order":"descending"}],"limit":20}`},
	{"one build, P99 by pod", "/api/v1/query", `{"calculations":[{"op":"P99","column":"duration_ms"}],"filters":[{"column":"app.build","op":"=","value":"build-3"}],"breakdowns":["k8s.pod.name"]}`},
	{"HEATMAP", "/api/v1/query", `{"calculations":[{"op":"HEATMAP","column":"duration_ms"}],"granularity":60}`},
	{"user.id = x, newest 20", "/api/v1/search", `{"filters":[{"column":"user.id","op":"=","value":"u-77"}],"limit":20}`},
	{"errors, newest 20", "/api/v1/search", `{"filters":[{"column":"error","op":"=","value":true}],"limit":20}`},
	{"BubbleUp of slow spans", "/api/v1/bubbleup", `{"query":{},"selection_filters":[{"column":"duration_ms","op":">","value":250}]}`},
	{"columns", "/api/v1/columns", ""},
}

// TestQueriesDuringIngest asks twenty questions at once while spans come in. Each
// is answered, and no acknowledged row is lost; soak prints how long each kind
// takes and what is left of the rate of ingest.
func TestQueriesDuringIngest(t *testing.T) {
	askers, lasts := 4, time.Second
	if soak() {
		askers, lasts = 20, 30*time.Second
	}
	p := start(t, t.TempDir(), "--memory", "800MiB")
	token := p.admin()
	r := rand.New(rand.NewPCG(4, 4))
	templates := []*loadTemplate{newLoadTemplate(r), newLoadTemplate(r)}
	l := &load{refused: map[int]int{}}
	rate := func() float64 {
		before := len(l.acked)
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		l.run(ctx, p.otlpHTTP+"/v1/traces", 4, templates)
		return float64((len(l.acked)-before)*loadSpans) / lasts.Seconds()
	}
	alone := rate()

	var mu sync.Mutex
	var busy atomic.Int64
	times := map[string][]time.Duration{}
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: askers}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for a := range askers {
		wg.Go(func() {
			for i := a; ctx.Err() == nil; i++ {
				q := loadQueries[i%len(loadQueries)]
				method := http.MethodPost
				if q.body == "" {
					method = http.MethodGet
				}
				req, err := http.NewRequestWithContext(ctx, method, p.url+q.path, strings.NewReader(q.body))
				if err != nil {
					l.fault("%s: %v", q.name, err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				began := time.Now()
				res, err := client.Do(req)
				if err != nil {
					if ctx.Err() == nil {
						l.fault("%s: %v", q.name, err)
					}
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil && ctx.Err() != nil {
					return
				}
				if err == nil && res.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), `"busy"`) && res.Header.Get("Retry-After") != "" {
					busy.Add(1) // the memory for queries is taken
					continue
				}
				if err != nil || res.StatusCode != 200 || !json.Valid(body) {
					l.fault("%s: %d, %v, %.200s", q.name, res.StatusCode, err, body)
				}
				mu.Lock()
				times[q.name] = append(times[q.name], time.Since(began))
				mu.Unlock()
			}
		})
	}
	together := rate()
	cancel()
	wg.Wait()
	for i, f := range l.faults {
		if i < 5 {
			t.Error(f)
		}
	}
	p.awaitApplied()
	l.wantAll(t, p)
	t.Logf("%.0f spans/s alone, %.0f with %d askers (%.0f %%), %d answers were that it is busy, %d rows, peak RSS %d MiB",
		alone, together, askers, 100*together/max(alone, 1), busy.Load(), len(l.acked)*loadSpans, rssPeak(t, p.cmd.Process.Pid)>>20)
	for _, q := range loadQueries {
		all := times[q.name]
		slices.Sort(all)
		if len(all) > 0 {
			t.Logf("%-34s %5d answers, p50 %8s, p95 %8s, most %8s", q.name, len(all), all[len(all)/2].Round(time.Millisecond),
				all[len(all)*95/100].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
		}
	}
	p.stop()
}
