package tracestore

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
)

// The variables of the child of TestKill; REDTHREAD_KILLS is how often it dies.
const (
	killDirVar  = "REDTHREAD_TEST_KILL_DIR"
	killFromVar = "REDTHREAD_TEST_KILL_FROM"
)

const killBatch = 30

// TestKill runs a store in a process of its own, kills that at random moments
// while it takes in spans, and starts it again. Every span that it acknowledged
// must be there, and none twice, though the batches in flight are sent again.
func TestKill(t *testing.T) {
	if os.Getenv(killDirVar) != "" {
		killChild(t)
		return
	}
	kills := 3
	if n, err := strconv.Atoi(os.Getenv("REDTHREAD_KILLS")); err == nil {
		kills = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	h := &harness{t: t, dir: t.TempDir(), logDir: t.TempDir(), opts: Options{MinFreeBytes: 1}}
	acked := 0 // batches, which the child numbers on
	for range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), killDirVar+"="+h.dir+":"+h.logDir, fmt.Sprintf("%s=%d", killFromVar, acked))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		before, limit := acked, 20+rng.IntN(400)
		for acked-before < limit && lines.Scan() {
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "acked %d", &n); err == nil {
				acked = n + 1
			}
		}
		if acked == before {
			t.Fatalf("the child acknowledged nothing: %q", lines.Text())
		}
		time.Sleep(time.Duration(rng.IntN(5e6))) // anywhere in its work, not after an answer
		must(t, cmd.Process.Kill())
		for lines.Scan() {
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "acked %d", &n); err == nil {
				acked = n + 1
			}
		}
		_ = cmd.Wait() // it was killed
	}
	h.open(nil)
	defer h.stop()
	// At the kill one batch may have been logged without an answer; here it is
	// sent again, as its sender would.
	h.append(testSpans(acked*killBatch, killBatch))
	h.settle()
	h.want(testSpans(0, (acked+1)*killBatch))
	h.wantRows((acked + 1) * killBatch)
	t.Logf("%d kills, %d spans acknowledged, all found once", kills, acked*killBatch)
}

// killChild appends batch after batch until it is killed, and says which are
// acknowledged. The first may be one that its predecessor logged.
func killChild(t *testing.T) {
	dir, logDir, _ := strings.Cut(os.Getenv(killDirVar), ":")
	from, err := strconv.Atoi(os.Getenv(killFromVar))
	must(t, err)
	log, _ := logtest.Start(t, logDir)
	s, err := Open(t.Context(), Options{Dir: dir, Log: log, MinFreeBytes: 1, FlushRows: 1000})
	must(t, err)
	for n := from; ; n++ {
		raw := otlp.AppendSpans(nil, testSpans(n*killBatch, killBatch))
		if _, err := s.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: raw}); err != nil {
			t.Fatalf("append: %v", err)
		}
		fmt.Printf("acked %d\n", n)
	}
}
