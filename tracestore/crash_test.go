package tracestore

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"redthread/seeds"
	"redthread/tracestore/ingestlog"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/memtable"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// wantRows checks that the store holds just n rows, so that none is double.
func (h *harness) wantRows(n int) {
	h.t.Helper()
	if st := h.Stats(); st.SegmentRows+st.MemtableRows != int64(n) {
		h.t.Fatalf("%d rows in segments and %d in memtables, want %d in all", st.SegmentRows, st.MemtableRows, n)
	}
}

var errCrash = errors.New("crash")

// TestCrashAtEveryStep kills the store before each step of a flush in turn and
// wants every acknowledged span once after the restart.
func TestCrashAtEveryStep(t *testing.T) {
	steps := []string{
		"create.parquet", "write.parquet", "sync.parquet", "rename.parquet", "syncdir.parquet",
		"create.idx", "write.idx", "sync.idx", "rename.idx", "syncdir.idx",
		"create.edges", "write.edges", "sync.edges", "rename.edges", "syncdir.edges",
		"commit", "trim",
	}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			h := start(t, Options{})
			first := testSpans(0, 60)
			h.append(first)
			h.settle()
			if err := h.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.stop()
			var reached atomic.Bool
			h.open(func(name string) error {
				if name == step || reached.Load() {
					reached.Store(true)
					return errCrash
				}
				return nil
			})
			second := testSpans(60, 60)
			h.append(second)
			h.settle()
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			flushed := make(chan struct{})
			s := h.Store
			go func() { _ = s.Flush(ctx); close(flushed) }()
			h.wait("crashed", reached.Load)
			third := testSpans(120, 30)
			h.append(third)
			h.crash()
			<-flushed

			h.open(nil)
			h.wantRows(150)
			for _, spans := range [][]trace.Span{first, second, third} {
				h.want(spans)
			}
			matches, err := filepath.Glob(filepath.Join(h.dir, "*", "*", "*.tmp"))
			if err != nil || len(matches) > 0 {
				t.Fatalf("temporary files are left: %v, %v", matches, err)
			}
			h.reopen()
			h.wantRows(150)
			for _, spans := range [][]trace.Span{first, second, third} {
				h.want(spans)
			}
		})
	}
}

// TestFlushRetryLeavesNothing fails a flush at each step, as a full disk would,
// and wants the next try to write each row once, and no file that is not in the
// catalogue: a disk that is full must not get fuller with each try.
func TestFlushRetryLeavesNothing(t *testing.T) {
	for _, step := range []string{"write.parquet", "write.idx", "syncdir.idx", "write.edges", "syncdir.edges", "commit"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := &harness{t: t, dir: t.TempDir(), logDir: t.TempDir(), opts: Options{MinFreeBytes: 1}}
			var failures atomic.Int32
			h.open(func(name string) error {
				if name == step && failures.Add(1) == 1 {
					return errors.New("no space left on device")
				}
				return nil
			})
			t.Cleanup(h.stop)
			spans := testSpans(0, 60)
			h.append(spans)
			h.settle()
			if err := h.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if failures.Load() < 2 {
				t.Fatalf("the step came %d times, want a try that fails and one that does not", failures.Load())
			}
			h.wantRows(60)
			h.want(spans)
			var files []string
			for _, dir := range []string{segmentsDir, edgesDir} {
				err := filepath.WalkDir(filepath.Join(h.dir, dir), func(path string, d os.DirEntry, err error) error {
					if err == nil && !d.IsDir() {
						files = append(files, filepath.Ext(path))
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			slices.Sort(files)
			if want := []string{".edges", ".idx", ".parquet"}; !slices.Equal(files, want) {
				t.Errorf("files %v, want %v", files, want)
			}
		})
	}
}

// TestCrashAtRandom crashes again and again while several senders append, who
// send a batch again until it is acknowledged.
func TestCrashAtRandom(t *testing.T) {
	seed := seeds.One(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	h := start(t, Options{FlushRows: 400})
	const rounds, perBatch = 6, 30
	next, total := 0, 0
	for range rounds {
		batches := 5 + rng.IntN(60)
		stopAt := rng.IntN(batches)
		for i := range batches {
			spans := testSpans(next, perBatch)
			raw := otlp.AppendSpans(nil, spans)
			next += perBatch
			total += perBatch
			if i == stopAt {
				// In flight when the process dies: the answer is lost.
				done := make(chan struct{})
				s := h.Store
				go func() {
					_, _ = s.Append(context.Background(), Batch{Format: FormatOTLPProto, Raw: raw})
					close(done)
				}()
				h.crash()
				<-done
				h.open(nil)
				h.append(spans)
				continue
			}
			h.append(spans)
		}
	}
	h.settle()
	h.wantRows(total)
	h.want(testSpans(0, total))
}

func TestDuplicates(t *testing.T) {
	h := start(t, Options{})
	spans := testSpans(0, 60)
	h.append(spans)
	h.append(spans)
	h.settle()
	h.wantRows(60)
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.append(spans)
	h.settle()
	h.wantRows(60)
	h.reopen()
	h.append(spans) // the memory of recent rows is read back
	h.settle()
	h.wantRows(60)
	h.want(spans)

	// One that is not remembered any more is dropped at read.
	h.writer.restored, *h.writer.recent = memtable.HashSet{}, *memtable.NewRecent(recentRows)
	h.append(spans)
	h.settle()
	h.wantRows(120)
	h.want(spans)

	// Same ids, other content: both are kept.
	changed := append([]trace.Span(nil), spans[:1]...)
	changed[0].Name = "other"
	h.append(changed)
	h.settle()
	got, _, err := h.TraceSpans(t.Context(), spans[0].TraceID, 10)
	if err != nil || len(got) != 4 {
		t.Fatalf("%d spans, %v; want 4: equal ids with other content are not duplicates", len(got), err)
	}
}

func TestLostLog(t *testing.T) {
	h := start(t, Options{})
	first := testSpans(0, 60)
	h.append(first)
	h.settle()
	h.stop()
	if err := os.RemoveAll(h.logDir); err != nil {
		t.Fatal(err)
	}
	h.open(nil)
	h.want(first)
	if h.epoch.ID != 2 {
		t.Errorf("epoch %d after the log was lost, want 2", h.epoch.ID)
	}
	second := testSpans(60, 60) // its sequence is one that the old log had
	h.append(second)
	h.settle()
	h.crash()
	h.open(nil)
	h.wantRows(120)
	h.want(first)
	h.want(second)
}

// TestLogBehind puts an old copy of the log back.
func TestLogBehind(t *testing.T) {
	h := start(t, Options{})
	spans := testSpans(0, 120)
	h.append(spans[:30])
	h.settle()
	h.crash()
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(h.logDir)); err != nil {
		t.Fatal(err)
	}
	h.open(nil)
	h.append(spans[30:60])
	h.append(spans[60:90])
	h.settle()
	h.stop()
	h.logDir = old
	h.open(nil)
	h.append(spans[90:])
	h.settle()
	h.want(spans)
	h.wantRows(120)
}

func TestUnknownFilesAreSetAside(t *testing.T) {
	h := start(t, Options{})
	h.append(testSpans(0, 30))
	h.stop()
	day := filepath.Join(h.dir, segmentsDir, "2026-11-22")
	if err := os.MkdirAll(day, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stray.parquet", "half.parquet.tmp"} {
		if err := os.WriteFile(filepath.Join(day, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	h.opts.Now = func() time.Time { return now }
	h.open(nil)
	h.want(testSpans(0, 30))
	aside := filepath.Join(h.dir, quarantineDir, "stray.parquet")
	if _, err := os.Stat(aside); err != nil {
		t.Fatalf("unknown segment is not in quarantine: %v", err)
	}
	if _, err := os.Stat(filepath.Join(day, "half.parquet.tmp")); !os.IsNotExist(err) {
		t.Fatalf("temporary file is still there: %v", err)
	}
	h.stop()
	now = now.Add(6 * 24 * time.Hour)
	h.open(nil)
	must(t, h.Maintain(t.Context()))
	if _, err := os.Stat(aside); err != nil {
		t.Fatalf("gone after 6 days: %v", err)
	}
	h.stop()
	now = now.Add(2 * 24 * time.Hour)
	h.open(nil)
	must(t, h.Maintain(t.Context()))
	if _, err := os.Stat(aside); !os.IsNotExist(err) {
		t.Fatalf("still there after 8 days: %v", err)
	}
}

func TestFailingDisk(t *testing.T) {
	h := start(t, Options{})
	h.stop()
	var fail atomic.Bool
	fail.Store(true)
	h.open(func(name string) error {
		if fail.Load() && strings.HasPrefix(name, "sync") {
			return errors.New("input/output error")
		}
		return nil
	})
	spans := testSpans(0, 60)
	h.append(spans)
	h.settle()
	done := make(chan error, 1)
	s := h.Store
	go func() { done <- s.Flush(t.Context()) }()
	h.wait("failed", func() bool { return h.Stats().LastFlushError != "" })
	h.want(spans)
	fail.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if st := h.Stats(); st.LastFlushError != "" || st.Segments != 1 {
		t.Fatalf("after the disk is well again: %+v", st)
	}
	h.want(spans)
	h.reopen()
	h.wantRows(60)
}

// lossyLog loses answers: the message is appended, and the caller told otherwise.
type lossyLog struct {
	ingestlog.Log
	lose, failRead atomic.Bool
}

func (l *lossyLog) Append(ctx context.Context, msg []byte) (uint64, error) {
	seq, err := l.Log.Append(ctx, msg)
	if l.lose.Load() {
		return 0, errors.New("no answer")
	}
	return seq, err
}

func (l *lossyLog) Read(ctx context.Context, from, through uint64, fn func(uint64, []byte) error) error {
	if l.failRead.Swap(false) {
		return errors.New("cannot read just now")
	}
	return l.Log.Read(ctx, from, through, fn)
}

// TestLostAnswers: what the log took without its answer arriving is applied in
// its place, before and after a restart, and kept once when it is sent again.
func TestLostAnswers(t *testing.T) {
	h := start(t, Options{})
	h.stop()
	inner, stop := logtest.Start(t, h.logDir)
	log := &lossyLog{Log: inner}
	o := h.opts
	o.Log = log
	s, err := Open(t.Context(), o)
	must(t, err)
	h.Store, h.log, h.stopLog = s, inner, stop
	t.Cleanup(h.stop)
	spans := testSpans(0, 90)
	h.append(spans[:30])
	log.lose.Store(true)
	_, err = h.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: otlp.AppendSpans(nil, spans[30:60])})
	if !errors.Is(err, ErrOverloaded) {
		t.Fatalf("append without an answer: got %v, want ErrOverloaded, so that the sender comes again", err)
	}
	log.lose.Store(false)
	log.failRead.Store(true)
	h.append(spans[60:])
	h.settle()
	h.want(spans)
	h.append(spans[30:60])
	h.settle()
	h.wantRows(90)
	h.crash()
	h.open(nil)
	h.want(spans)
	h.wantRows(90)
}
