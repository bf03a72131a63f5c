package tracestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"redthread/seeds"
	"redthread/tracestore/query"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

// soak reports whether the long tests run at full size.
func soak() bool { return os.Getenv("REDTHREAD_SOAK") != "" }

// seeded prints the seed of a random test.
func seeded(t *testing.T) *rand.Rand {
	seed := seeds.One(t)
	return rand.New(rand.NewPCG(seed, 17))
}

// faults counts the steps of a store and fails those it is told to.
type faults struct {
	mu     sync.Mutex
	names  []string // of all steps so far
	from   int      // the first step to fail, counted from 0; -1: none
	down   bool     // and all after it: the process has died
	err    error
	failed string // the step that failed first
}

func (f *faults) step(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := len(f.names)
	f.names = append(f.names, name)
	if f.from < 0 || at < f.from || at > f.from && !f.down {
		return nil
	}
	if f.failed == "" {
		f.failed = name
	}
	return f.err
}

func (f *faults) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.names)
}

// well ends the faults.
func (f *faults) well() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = -1
}

// faultStart is what each round of TestEveryStepFails begins with: a store whose
// next flush makes enough runs of edges to be merged, and enough segments.
func faultStart(t *testing.T) (dir, logDir string) {
	h := start(t, Options{SpanRetention: time.Hour, Now: func() time.Time { return testClock }})
	h.append(testSpans(0, 30)) // will be too old
	must(t, h.Flush(t.Context()))
	h.stop()
	h.opts.Now = func() time.Time { return testClock.Add(30 * time.Minute) }
	h.open(func(name string) error { // leave the segments as they are
		if strings.HasPrefix(name, "compact.") || strings.HasPrefix(name, "merge.") {
			return errCrash
		}
		return nil
	})
	for i := range mergeRuns - 2 {
		h.append(testSpans(30+30*i, 30))
		must(t, h.Flush(t.Context()))
	}
	h.crash()
	return h.dir, h.logDir
}

// faultKept are the spans that are kept of those of faultStart, and faultNew those
// that a round adds.
func faultKept() []trace.Span { return testSpans(30, 30*(mergeRuns-2)) }
func faultNew() []trace.Span  { return testSpans(3000, 60) }

// TestEveryStepFails runs flush, trim, compaction, merging of edges, retention and
// a backup, and fails each n-th of their steps on the disk, once as a disk that is
// well again after it, and once as the end of the process. Each time every
// acknowledged row is there once, and the store opens.
func TestEveryStepFails(t *testing.T) {
	dir, logDir := faultStart(t)
	round := func(t *testing.T, f *faults) {
		h := &harness{t: t, dir: t.TempDir(), logDir: t.TempDir(), opts: Options{
			MinFreeBytes: 1, SpanRetention: time.Hour, Now: func() time.Time { return testClock.Add(65 * time.Minute) }}}
		must(t, os.CopyFS(h.dir, os.DirFS(dir)))
		must(t, os.CopyFS(h.logDir, os.DirFS(logDir)))
		h.open(f.step)
		h.append(faultNew())
		done := make(chan struct{})
		s := h.Store
		go func() {
			defer close(done)
			ctx := t.Context()
			_ = s.Flush(ctx)
			_ = s.Maintain(ctx)
			_ = s.Compact(ctx)
			_, _ = s.Backup(ctx, t.TempDir())
		}()
		if f.down && f.from >= 0 {
			h.wait("at the end", func() bool {
				select {
				case <-done:
					return true
				default:
					return len(f.taken()) > f.from
				}
			})
			h.crash()
			<-done
			h.open(nil)
		} else {
			<-done
		}
		check := func() {
			t.Helper()
			h.want(faultNew())
			h.want(faultKept())
			if n, want := h.count(), len(faultNew())+len(faultKept()); n != want && n != want+30 {
				t.Errorf("COUNT is %d, want %d, or 30 more that retention has not dropped yet", n, want)
			}
		}
		check()
		f.well()
		must(t, h.Maintain(t.Context()))
		must(t, h.Flush(t.Context()))
		must(t, h.Compact(t.Context()))
		h.wantRows(len(faultNew()) + len(faultKept()))
		check()
		h.reopen()
		h.wantRows(len(faultNew()) + len(faultKept()))
		check()
		must(t, h.Maintain(t.Context())) // and what the store began at its opening is over
		must(t, h.Compact(t.Context()))
		if got := h.files(); got[".parquet"] != h.Stats().Segments || got[".idx"] != got[".parquet"] || got[".tmp"] != 0 || got[quarantineDir] > 3 {
			t.Errorf("files %v for %d segments", got, h.Stats().Segments)
		}
		h.stop()
	}
	f := &faults{from: -1}
	round(t, f)
	names := f.taken()
	for _, want := range []string{"bytes.parquet", "bytes.idx", "bytes.edges", "commit", "trim", "compact.bytes.parquet", "compact.commit", "merge.bytes.edges", "merge.commit", "backup.file"} {
		if !slices.Contains(names, want) {
			t.Errorf("the round has no step %s; it has %v", want, names)
		}
	}
	r := seeded(t)
	every, shift := 1, 0
	if !soak() {
		every = 8
		shift = r.IntN(every)
	}
	for n := shift; n < len(names); n += every {
		for _, down := range []bool{false, true} {
			f := &faults{from: n, down: down, err: syscall.EIO}
			if r.IntN(2) == 0 {
				f.err = &segment.ShortWrite{Bytes: r.IntN(3000), Err: syscall.ENOSPC}
			}
			t.Run(fmt.Sprintf("%d-%s/down=%v", n, names[n], down), func(t *testing.T) {
				round(t, f)
				if t.Failed() {
					t.Logf("step %q failed with %v", f.failed, f.err)
				}
			})
		}
	}
}

// TestTornFiles cuts files of one segment of three short, fills their ends with
// zeros and flips bits: whatever is hit, the check names the file, and all that
// does not stand in it is found.
func TestTornFiles(t *testing.T) {
	r := seeded(t)
	h := start(t, Options{})
	for i := range 3 {
		h.append(testSpans(i*300, 300))
		must(t, h.Flush(t.Context()))
	}
	seg, run := h.current.segments[1].Path, h.current.runs[1].Path
	h.stop()
	h.broken = true
	rounds := 3
	if soak() {
		rounds = 40
	}
	for kind, path := range map[string]string{"segment": seg, "sidecar": segment.IndexPath(seg), "edges": run} {
		full := filepath.Join(h.dir, path)
		whole, err := os.ReadFile(full)
		must(t, err)
		catalogue := t.TempDir()
		must(t, os.CopyFS(catalogue, os.DirFS(h.dir)))
		for range rounds {
			cut := r.IntN(len(whole))
			zeros := append(slices.Clone(whole[:cut]), make([]byte, len(whole)-cut)...)
			flipped := slices.Clone(whole)
			flipped[cut] ^= 1 << r.IntN(8)
			for name, bytes := range map[string][]byte{"cut": whole[:cut], "zeros": zeros, "flipped": flipped} {
				if string(bytes) == string(whole) {
					continue
				}
				what := fmt.Sprintf("%s %s at byte %d of %d", kind, name, cut, len(whole))
				must(t, os.WriteFile(full, bytes, 0o644))
				if report := h.checkFolder(CheckOptions{}); len(report.Faults) != 1 || report.Faults[0].Path != path {
					t.Errorf("%s: faults %+v, want one, of %s", what, report.Faults, path)
				}
				h.open(nil)
				report, err := h.Check(t.Context(), CheckOptions{})
				must(t, err)
				if kind == "sidecar" { // it was made anew
					if again, err := os.ReadFile(full); err != nil || string(again) != string(whole) || len(report.Faults) > 0 {
						t.Errorf("%s: not made anew: %v, %v", what, err, report.Err())
					}
				} else if len(report.Faults) != 1 || report.Faults[0].Path != path {
					t.Errorf("%s, running: faults %+v, want one, of %s", what, report.Faults, path)
				}
				h.want(testSpans(0, 297)) // the last span of a segment has effects in the next
				h.want(testSpans(603, 297))
				want := 900
				if kind == "segment" && len(h.Stats().CorruptFiles) > 0 {
					want = 600
				} else { // or the bit is one that no row needs
					h.want(testSpans(300, 300))
				}
				if n := h.count(); n != want {
					t.Errorf("%s: COUNT is %d, want %d", what, n, want)
				}
				h.stop()
				must(t, os.RemoveAll(h.dir))
				must(t, os.CopyFS(h.dir, os.DirFS(catalogue)))
			}
		}
		must(t, os.WriteFile(full, whole, 0o644))
	}
}

// TestReadError puts a folder in the place of a segment: it opens, and every read
// fails. Who needs it is told so, the rest answers, and nothing is set aside: when
// it can be read again, its rows are there.
func TestReadError(t *testing.T) {
	h := start(t, Options{})
	for i := range 2 {
		h.append(testSpans(i*60, 60))
		must(t, h.Flush(t.Context()))
	}
	path := filepath.Join(h.dir, h.current.segments[0].Path)
	h.stop()
	saved := filepath.Join(t.TempDir(), "saved")
	must(t, os.Rename(path, saved))
	must(t, os.Mkdir(path, 0o755))
	h.open(nil)
	from, to := float64(testClock.Unix()-3600), float64(testClock.Unix()+3600)
	_, queryErr := h.Query(t.Context(), query.Spec{StartTime: &from, EndTime: &to})
	_, _, traceErr := h.TraceSpans(t.Context(), traceID(0), 10)
	for what, err := range map[string]error{"a query": queryErr, "a trace": traceErr, "a merge": h.Compact(t.Context())} {
		var unread *ReadError
		if !errors.Is(err, syscall.EISDIR) || !errors.As(err, &unread) || unread.Path != path {
			t.Errorf("%s: got %v, want the disk's error and the file", what, err)
		}
	}
	h.want(testSpans(60, 60))
	report, err := h.Check(t.Context(), CheckOptions{})
	must(t, err)
	if st := h.Stats(); len(report.Faults) != 1 || len(st.CorruptFiles) != 0 {
		t.Errorf("faults %+v, set aside %q; want the segment as a fault, and nothing set aside", report.Faults, st.CorruptFiles)
	}
	must(t, os.Remove(path))
	must(t, os.Rename(saved, path))
	h.want(testSpans(0, 120))
	must(t, h.Compact(t.Context()))
	h.wantRows(120)
}

// TestFailedMergeLeavesNothing: runs of edges whose merge the catalogue does not
// take are tried again, and no file is left of each try.
func TestFailedMergeLeavesNothing(t *testing.T) {
	h := start(t, Options{})
	h.stop()
	var well atomic.Bool
	h.open(func(name string) error {
		if name == "merge.commit" && !well.Load() {
			return errors.New("no space left on device")
		}
		return nil
	})
	for i := range mergeRuns {
		h.append(testSpans(30*i, 30))
		must(t, h.Flush(t.Context()))
	}
	for range 3 {
		must(t, h.Maintain(t.Context()))
		// Only of edges: segments may be compacted meanwhile.
		left, err := filepath.Glob(filepath.Join(h.dir, edgesDir, "*.tmp"))
		if got := h.files(); err != nil || got[".edges"] != mergeRuns || len(left) != 0 {
			t.Fatalf("files %v and %v after a merge that failed, want %d runs: %v", got, left, mergeRuns, err)
		}
	}
	well.Store(true)
	must(t, h.Maintain(t.Context()))
	if got := h.files(); got[".edges"] != 1 {
		t.Fatalf("files %v, want one run", got)
	}
	h.want(testSpans(0, 30*mergeRuns))
}
