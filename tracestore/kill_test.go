package tracestore

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// killVar holds the task of the child of TestKill, JSON.
const killVar = "REDTHREAD_TEST_KILL"

const (
	killBatch   = 30
	killSenders = 3
	// killKeep is how long the child keeps spans; its clock leaps now and then,
	// so that all that came before goes.
	killKeep = time.Hour
	killLeap = 2 * killKeep
	// killShort is the environment of every fifth batch, which the child keeps for
	// no time at all: compaction drops its rows.
	killShort = "short"
)

// killTask is what one child does until it is killed.
type killTask struct {
	Dir, LogDir string
	From        int   // number of the first new batch
	Again       []int // batches that were sent and not acknowledged: their senders come again
	Leap        time.Duration
}

func (k *killTask) options() Options {
	began := time.Now()
	return Options{
		Dir: k.Dir, MinFreeBytes: 1, FlushRows: 400, SpanRetention: killKeep, EnvironmentRetention: map[string]time.Duration{killShort: time.Nanosecond},
		Now: func() time.Time { return testClock.Add(k.Leap + time.Since(began)) },
	}
}

func killEnvironment(batch int) string {
	if batch%5 == 0 {
		return killShort
	}
	return "default"
}

// killChild sends batch after batch, flushes, merges and drops until it is killed,
// and says what it sends and what is acknowledged.
func killChild(t *testing.T) {
	var k killTask
	must(t, json.Unmarshal([]byte(os.Getenv(killVar)), &k))
	log, _ := logtest.Start(t, k.LogDir)
	o := k.options()
	o.Log = log
	s, err := Open(t.Context(), o)
	must(t, err)
	again := make(chan int, len(k.Again))
	for _, n := range k.Again {
		again <- n
	}
	var next atomic.Int64
	next.Store(int64(k.From))
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format, args...)
	}
	for range killSenders {
		go func() {
			for {
				var n int
				select {
				case n = <-again:
				default:
					n = int(next.Add(1)) - 1
				}
				raw := otlp.AppendSpans(nil, testSpans(n*killBatch, killBatch))
				say("sent %d\n", n)
				if _, err := s.Append(t.Context(), Batch{Format: FormatOTLPProto, Environment: killEnvironment(n), Raw: raw}); err != nil {
					panic(fmt.Sprintf("append: %v", err))
				}
				say("acked %d\n", n)
			}
		}()
	}
	for {
		if err := s.Maintain(t.Context()); err != nil {
			panic(err)
		}
		if err := s.Compact(t.Context()); err != nil {
			panic(err)
		}
		st := s.Stats()
		say("did %d %d\n", st.FlushesTotal, st.CompactionsTotal)
		time.Sleep(5 * time.Millisecond) // a pace, nothing waits for it
	}
}

// TestKill kills a process with a store at random moments of ingest, flush,
// compaction, retention and trim, and starts it again. Every row that it
// acknowledged and has to keep is there just once, though what was in flight is
// sent again, and a check finds no fault.
func TestKill(t *testing.T) {
	if os.Getenv(killVar) != "" {
		killChild(t)
		return
	}
	kills := 6
	if soak() {
		kills = 100
	}
	if n, err := strconv.Atoi(os.Getenv("REDTHREAD_KILLS")); err == nil {
		kills = n
	}
	r := seeded(t)
	task := killTask{Dir: t.TempDir(), LogDir: t.TempDir()}
	kept := 0 // the first batch that is not too old
	acked := map[int]bool{}
	sent, flushes, compactions := 0, 0, 0
	for kill := range kills {
		if r.IntN(4) == 0 {
			task.Leap += killLeap
			kept = sent // what is sent again arrives again
		}
		began := len(acked)
		limit := 20 + r.IntN(600)
		var did [2]int
		runKilled(t, task, time.Duration(r.IntN(20e6)), func(what string, a, b int) bool {
			switch what {
			case "sent":
				sent = max(sent, a+1)
			case "acked":
				acked[a] = true
			case "did":
				did = [2]int{a, b}
			}
			// The last goes on until there was a flush and a compaction, however slow.
			return len(acked)-began >= limit && (kill < kills-1 || flushes+did[0] > 0 && compactions+did[1] > 0)
		})
		if len(acked) == began {
			t.Fatal("the child acknowledged nothing")
		}
		flushes += did[0]
		compactions += did[1]
		task.From, task.Again = sent, nil
		for n := range sent {
			if !acked[n] {
				task.Again = append(task.Again, n)
			}
		}
		if soak() && kill%10 != 9 && kill != kills-1 {
			continue
		}
		wantKilled(t, task, kept, sent, acked)
		if t.Failed() {
			t.Fatalf("after kill %d", kill+1)
		}
	}
	t.Logf("%d kills, %d batches acknowledged, %d rows; between the kills at least %d flushes and %d compactions", kills, len(acked), len(acked)*killBatch, flushes, compactions)
	if flushes == 0 || compactions == 0 {
		t.Errorf("%d flushes and %d compactions: the kills were not among them", flushes, compactions)
	}
}

// runKilled runs a child, gives its lines to see until that says enough, waits a
// little, kills it, and reads the rest of what it said.
func runKilled(t *testing.T, task killTask, wait time.Duration, see func(what string, a, b int) bool) {
	t.Helper()
	raw, err := json.Marshal(task)
	must(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killVar+"="+string(raw))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(out)
	read := func() (enough bool) {
		var what string
		var a, b int
		if n, _ := fmt.Sscanf(lines.Text(), "%s %d %d", &what, &a, &b); n < 2 {
			t.Errorf("the child says %q", lines.Text())
			return true
		}
		return see(what, a, b)
	}
	for lines.Scan() && !read() {
	}
	time.Sleep(wait) // anywhere in its work, not after an answer
	must(t, cmd.Process.Kill())
	for lines.Scan() {
		read()
	}
	_ = cmd.Wait() // it was killed
}

// wantKilled opens what a killed child has left. Of the batches from kept up to
// sent each acknowledged one is there once, and no row of any is there twice.
func wantKilled(t *testing.T, task killTask, kept, sent int, acked map[int]bool) {
	t.Helper()
	h := &harness{t: t, dir: task.Dir, logDir: task.LogDir, opts: task.options()}
	if report := h.checkFolder(CheckOptions{}); report.Err() != nil {
		t.Errorf("check before the start: %v", report.Err())
	}
	h.open(nil)
	defer h.crash() // leaves its state to the next child
	rows := h.rowsByID()
	missing, doubled := 0, 0
	for n := range sent {
		for i := n * killBatch; i < (n+1)*killBatch; i++ {
			count := rows[spanID(i)]
			delete(rows, spanID(i))
			if count > 1 {
				doubled++
			}
			if count == 0 && n >= kept && acked[n] && killEnvironment(n) != killShort {
				missing++
			}
		}
	}
	if missing+doubled+len(rows) > 0 {
		t.Errorf("%d rows are missing, %d there twice, %d nobody sent", missing, doubled, len(rows))
	}
	if err := h.check(); err != nil {
		t.Errorf("check after the start: %v", err)
	}
}

// rowsByID counts all rows by the id of their span, duplicates too.
func (h *harness) rowsByID() map[trace.SpanID]int {
	h.t.Helper()
	v := h.acquire()
	defer v.release()
	blocks, _, err := v.blocks(0, 1<<62, func(*segmentFile, error) bool { return false })
	must(h.t, err)
	out := map[trace.SpanID]int{}
	for _, b := range blocks {
		all := make([]int, b.Rows())
		for i := range all {
			all[i] = i
		}
		spans, err := b.Spans(all, nil)
		must(h.t, err)
		for _, s := range spans {
			out[s.SpanID]++
		}
	}
	return out
}
