package tracestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"redthread/tracestore/memtable"
	"redthread/tracestore/query"
	"redthread/tracestore/trace"
)

// flushed appends spans in so many segments of per spans each.
func (h *harness) flushed(from, segments, per int) []trace.Span {
	h.t.Helper()
	for i := range segments {
		h.append(testSpans(from+i*per, per))
		h.settle()
		must(h.t, h.Flush(h.t.Context()))
	}
	return testSpans(from, segments*per)
}

// files counts the files of segments and edges by extension, and those in
// quarantine.
func (h *harness) files() map[string]int {
	h.t.Helper()
	out := map[string]int{}
	for _, dir := range []string{segmentsDir, edgesDir, quarantineDir} {
		err := filepath.WalkDir(filepath.Join(h.dir, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if dir == quarantineDir {
					out[quarantineDir]++
				} else {
					out[filepath.Ext(path)]++
				}
			}
			return err
		})
		must(h.t, err)
	}
	return out
}

// count asks a query for the number of spans.
func (h *harness) count() int {
	h.t.Helper()
	from, to := float64(testClock.Unix()-3600), float64(testClock.Unix()+3600)
	r, err := h.Query(context.Background(), query.Spec{StartTime: &from, EndTime: &to})
	if err != nil || len(r.Results) != 1 {
		h.t.Errorf("query: %+v, %v", r, err)
		return -1
	}
	return int(r.Results[0].Data["COUNT"].(float64))
}

func TestCompaction(t *testing.T) {
	h := start(t, Options{})
	spans := h.flushed(0, 5, 60)
	if st := h.Stats(); st.Segments != 5 || st.WaitingSegments != 0 {
		t.Fatalf("%d segments, %d waiting; want 5, and none to merge by itself", st.Segments, st.WaitingSegments)
	}
	must(t, h.Compact(t.Context()))
	st := h.Stats()
	if st.Segments != 1 || st.CompactionsTotal != 1 || st.CompactedRowsTotal != 300 || st.CompactedBytesTotal != st.SegmentBytes || st.Compacting || st.LastCompactionError != "" {
		t.Fatalf("after compaction: %+v", st)
	}
	h.wantRows(300)
	h.want(spans)
	if got := h.files(); got[".parquet"] != 1 || got[".idx"] != 1 {
		t.Fatalf("files %v, want one segment", got)
	}
	h.reopen()
	h.wantRows(300)
	h.want(spans)
	if r, err := h.Check(t.Context(), CheckOptions{}); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	// What comes later is merged with it.
	spans = append(spans, h.flushed(300, 1, 60)...)
	must(t, h.Compact(t.Context()))
	if st := h.Stats(); st.Segments != 1 {
		t.Fatalf("%d segments, want 1", st.Segments)
	}
	h.want(spans)
	must(t, h.Compact(t.Context()))
	if st := h.Stats(); st.CompactionsTotal != 1 {
		t.Fatalf("one segment was compacted alone: %+v", st)
	}
}

// TestCompactionStarts: it begins by itself when files pile up.
func TestCompactionStarts(t *testing.T) {
	h := start(t, Options{})
	spans := h.flushed(0, compactFiles, 30)
	h.wait("compacted", func() bool { return h.Stats().Segments == 1 })
	h.want(spans)
}

// TestCompactionDropsDuplicates: rows that came twice and lie in two segments are
// counted once after it.
func TestCompactionDropsDuplicates(t *testing.T) {
	h := start(t, Options{})
	h.flushed(0, 1, 60)
	h.writer.restored, *h.writer.recent = memtable.HashSet{}, *memtable.NewRecent(recentRows)
	h.flushed(30, 1, 60)
	h.wantRows(120)
	must(t, h.Compact(t.Context()))
	h.wantRows(90)
	if n := h.count(); n != 90 {
		t.Fatalf("COUNT is %d, want 90", n)
	}
	h.want(testSpans(0, 90))
}

// compactSteps are the disk steps of a compaction, in their order.
var compactSteps = []string{
	"compact.create.parquet", "compact.write.parquet", "compact.sync.parquet", "compact.rename.parquet", "compact.syncdir.parquet",
	"compact.create.idx", "compact.write.idx", "compact.sync.idx", "compact.rename.idx", "compact.syncdir.idx",
	"compact.commit",
}

// TestCrashDuringCompaction ends the process before each step of a compaction.
func TestCrashDuringCompaction(t *testing.T) {
	for _, step := range compactSteps {
		t.Run(step, func(t *testing.T) {
			h := start(t, Options{})
			spans := h.flushed(0, 3, 30)
			h.stop()
			var reached atomic.Bool
			h.open(func(name string) error {
				if name == step || reached.Load() {
					reached.Store(true)
					return errCrash
				}
				return nil
			})
			if err := h.Compact(t.Context()); err == nil || !reached.Load() {
				t.Fatalf("compaction: %v, want the crash", err)
			}
			h.want(spans)
			h.crash()
			h.open(nil)
			h.wantRows(90)
			h.want(spans)
			must(t, h.Compact(t.Context()))
			h.reopen()
			h.wantRows(90)
			h.want(spans)
			if got := h.files(); got[".parquet"] != 1 || got[".idx"] != 1 || got[".tmp"] != 0 || got[quarantineDir] > 2 {
				t.Fatalf("files %v, want one segment, and at most the failed one set aside", got)
			}
		})
	}
}

// TestFailedCompactionLeavesNothing fails each step once: the next try succeeds,
// and no file is left of the first.
func TestFailedCompactionLeavesNothing(t *testing.T) {
	for _, step := range compactSteps {
		t.Run(step, func(t *testing.T) {
			h := start(t, Options{})
			spans := h.flushed(0, 3, 30)
			h.stop()
			var failures atomic.Int32
			h.open(func(name string) error {
				if name == step && failures.Add(1) == 1 {
					return errors.New("no space left on device")
				}
				return nil
			})
			if err := h.Compact(t.Context()); err == nil {
				t.Fatal("no error")
			}
			if st := h.Stats(); !strings.Contains(st.LastCompactionError, "no space") || st.Segments != 3 {
				t.Fatalf("after a failure: %+v", st)
			}
			h.want(spans)
			if got := h.files(); got[".parquet"] != 3 || got[".idx"] != 3 || got[".tmp"] != 0 {
				t.Fatalf("files after a failure: %v", got)
			}
			must(t, h.Compact(t.Context()))
			h.wantRows(90)
			h.want(spans)
			if got := h.files(); got[".parquet"] != 1 || got[".idx"] != 1 || got[".tmp"] != 0 {
				t.Fatalf("files %v", got)
			}
		})
	}
}

// TestReplacedFilesGoAtTheNextStart: a crash after the commit, while somebody
// still read the inputs, leaves them to the next start.
func TestReplacedFilesGoAtTheNextStart(t *testing.T) {
	h := start(t, Options{})
	spans := h.flushed(0, 3, 30)
	reader := h.acquire()
	must(t, h.Compact(t.Context()))
	if got := h.files(); got[".parquet"] != 4 {
		t.Fatalf("files %v, want the inputs too: they are being read", got)
	}
	for _, f := range reader.segments { // the process ends: nobody deletes them
		f.drop.Store(false)
	}
	reader.release()
	h.crash()
	h.open(nil)
	if got := h.files(); got[".parquet"] != 1 || got[".idx"] != 1 || got[quarantineDir] != 0 {
		t.Fatalf("files %v, want one segment", got)
	}
	h.wantRows(90)
	h.want(spans)
}

// TestCompactionSetsCorruptAside: one damaged segment does not keep the others
// from being merged.
func TestCompactionSetsCorruptAside(t *testing.T) {
	h := start(t, Options{})
	h.broken = true
	h.flushed(0, 4, 30)
	v := h.acquire()
	bad := v.segments[1].file.Path()
	v.release()
	h.stop()
	raw, err := os.ReadFile(bad)
	must(t, err)
	for i := 4; i < len(raw)/2; i++ {
		raw[i] ^= 0xff
	}
	must(t, os.WriteFile(bad, raw, 0o644))
	h.open(nil)
	must(t, h.Compact(t.Context()))
	st := h.Stats()
	if st.Segments > 2 || len(st.CorruptFiles) != 1 || st.SegmentRows != 90 {
		t.Fatalf("%+v", st)
	}
	h.want(testSpans(0, 30))
	h.want(testSpans(60, 60))
}

// TestReadersDuringCompaction asks all the time while segments are merged, and
// never sees a row less or twice.
func TestReadersDuringCompaction(t *testing.T) {
	h := start(t, Options{})
	const rounds, per = 12, 90
	var stored atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for reader := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(reader), 1))
			for ctx.Err() == nil {
				least := int(stored.Load())
				if n := h.count(); n < least || n%per != 0 {
					t.Errorf("COUNT is %d, want %d or some segments more", n, least)
					return
				}
				if least == 0 {
					continue
				}
				id := traceID(rng.IntN(least / 3))
				if spans, _, err := h.TraceSpans(ctx, id, 10); ctx.Err() == nil && (err != nil || len(spans) != 3) {
					t.Errorf("trace %s: %d spans, %v", id, len(spans), err)
					return
				}
			}
		})
	}
	for i := range rounds {
		h.flushed(i*per, 1, per)
		stored.Store(int64((i + 1) * per))
		if i%3 == 2 {
			must(t, h.Compact(t.Context()))
		}
	}
	cancel()
	wg.Wait()
	h.wantRows(rounds * per)
}

// TestEnvironmentRetention: an environment that is kept for less long loses its
// rows when segments are merged, and when a segment has enough of them.
func TestEnvironmentRetention(t *testing.T) {
	now := testClock
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	later := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	h := start(t, Options{Now: clock, SpanRetention: 1000 * time.Hour, EnvironmentRetention: map[string]time.Duration{"staging": 10 * time.Hour}})
	mixed := func(from, n int) (all, kept []trace.Span) {
		all = testSpans(from, n)
		for i := range all {
			if i%3 == 1 {
				all[i].Environment = "staging"
			} else {
				kept = append(kept, all[i])
			}
		}
		return all, kept
	}
	var kept []trace.Span
	for i := range 2 {
		all, keep := mixed(i*60, 60)
		h.append(all)
		kept = append(kept, keep...)
		h.settle()
		must(t, h.Flush(t.Context()))
		later(6 * time.Hour)
	}
	// 12 hours after the first segment, 6 after the second.
	must(t, h.Compact(t.Context()))
	h.wantRows(120 - 20)
	if st := h.Stats(); st.Segments != 1 || st.ExpiredRowsTotal != 20 {
		t.Fatalf("%d segments, %d rows expired; want 1 and 20", st.Segments, st.ExpiredRowsTotal)
	}
	later(6 * time.Hour)
	// The one segment is written anew, by itself.
	h.wait("rewritten", func() bool { return h.Stats().ExpiredRowsTotal == 40 })
	h.wantRows(len(kept))
	h.want(kept)
	h.reopen()
	h.want(kept)
	must(t, h.Compact(t.Context()))
	if st := h.Stats(); st.CompactionsTotal != 0 {
		t.Fatalf("a segment without expired rows was written anew: %+v", st)
	}
}

// TestExpiryIsLookedAtSeldom: a segment that is old, and of other environments, is
// not asked again and again what of it has expired.
func TestExpiryIsLookedAtSeldom(t *testing.T) {
	var ahead atomic.Int64
	h := start(t, Options{Now: func() time.Time { return testClock.Add(time.Duration(ahead.Load())) }, EnvironmentRetention: map[string]time.Duration{"staging": time.Hour}})
	h.flushed(0, 1, 30)
	ahead.Store(int64(2 * time.Hour))
	must(t, h.Compact(t.Context()))
	asked := func() int64 {
		st := h.Stats()
		return st.CacheHitsTotal + st.CacheMissesTotal
	}
	before := asked()
	for range 10 {
		if old, err := h.nextCompaction(true, false); err != nil || old != nil {
			t.Fatal(old, err)
		}
	}
	if n := asked() - before; n != 0 {
		t.Errorf("asked %d times within a moment, want none", n)
	}
	ahead.Add(int64(expiryEvery))
	if _, err := h.nextCompaction(true, false); err != nil || asked() == before {
		t.Errorf("not asked after %v: %v", expiryEvery, err)
	}
}

// TestWholeSegmentExpires: a segment of which nothing is left goes.
func TestWholeSegmentExpires(t *testing.T) {
	var ahead atomic.Int64
	h := start(t, Options{Now: func() time.Time { return testClock.Add(time.Duration(ahead.Load())) }, EnvironmentRetention: map[string]time.Duration{"default": time.Hour}})
	h.flushed(0, 1, 30)
	ahead.Store(int64(2 * time.Hour))
	must(t, h.Compact(t.Context()))
	if st := h.Stats(); st.Segments != 0 || st.ExpiredRowsTotal != 30 {
		t.Fatalf("%+v", st)
	}
	if got := h.files(); got[".parquet"] != 0 || got[".idx"] != 0 {
		t.Fatalf("files %v", got)
	}
	h.reopen()
	h.wantRows(0)
}

// TestNextMerge tells what is merged of segments of given thousands of rows.
func TestNextMerge(t *testing.T) {
	k := func(thousands ...int) (out []*segmentFile) {
		for _, n := range thousands {
			out = append(out, &segmentFile{segmentRecord: segmentRecord{Rows: n << 10, SizeBytes: int64(n<<10) * 60}})
		}
		return out
	}
	many := func(n, thousands int) []int {
		return slices.Repeat([]int{thousands}, n)
	}
	for _, c := range []struct {
		have       []int
		quiet, all bool
		from, to   int // merged; equal: nothing
	}{
		{have: []int{}},
		{have: []int{256}, all: true},
		{have: []int{256, 256}},
		{have: []int{256, 256}, quiet: true, to: 2},
		{have: []int{256, 256, 256}},
		{have: []int{256, 256, 256, 256}, to: 4},
		{have: []int{256, 256, 256, 256, 256, 256}, to: 4},
		{have: []int{1024, 256, 256}},
		{have: []int{1024, 256, 256}, quiet: true, from: 1, to: 3},
		{have: []int{1024, 200, 1024}, all: true},
		{have: []int{400, 400, 400}, to: 2},
		{have: []int{200, 200}, quiet: true},
		{have: []int{200, 200}, all: true, to: 2},
		{have: []int{600, 600}, all: true},
		{have: many(7, 10)},
		{have: many(8, 10), to: 8},
		{have: append([]int{80, 80}, many(8, 10)...), from: 2, to: 10},
		{have: append([]int{80}, many(6, 10)...), quiet: true},
		{have: append(many(4, 2), append([]int{70}, many(26, 2)...)...), from: 5, to: 13},
	} {
		segments := k(c.have...)
		got := nextMerge(segments, c.quiet, c.all)
		want := segments[c.from:c.to]
		if !slices.Equal(got, want) {
			t.Errorf("%v, quiet %v, all %v: %d merged, want %d from %d", c.have, c.quiet, c.all, len(got), len(want), c.from)
		}
	}
	// Whatever the sizes: it ends, in the order given, and rows are written about
	// twice.
	rng := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		var segments []*segmentFile
		scale := 1 << rng.IntN(9)
		rows, written := 0, 0
		for range 300 {
			f := k(1 + rng.IntN(scale))[0]
			rows += f.Rows
			f.FirstSeq = uint64(rows)
			segments = append(segments, f)
			for {
				group := nextMerge(segments, rng.IntN(20) == 0, false)
				if group == nil {
					break
				}
				at := slices.Index(segments, group[0])
				merged := &segmentFile{segmentRecord: segmentRecord{FirstSeq: group[0].FirstSeq}}
				for _, f := range group {
					merged.Rows += f.Rows
					merged.SizeBytes += f.SizeBytes
				}
				written += merged.Rows
				segments = slices.Replace(segments, at, at+len(group), merged)
			}
			if len(segments) > rows/(compactRows/2)+4*maxSmall {
				t.Fatalf("scale %d k: %d segments of %d rows", scale, len(segments), rows)
			}
		}
		if !slices.IsSortedFunc(segments, func(a, b *segmentFile) int { return int(a.FirstSeq) - int(b.FirstSeq) }) {
			t.Fatal("out of order")
		}
		// Tiny segments pass a size or two more.
		if limit := 3; written > limit*rows && scale >= 16 || written > 2*limit*rows {
			t.Errorf("scale %d k: %d of %d rows written again", scale, written, rows)
		}
	}
}

// TestCompactionOfManyKeys: a segment of too many keys stays as it is, and the
// others are merged.
func TestCompactionOfManyKeys(t *testing.T) {
	h := start(t, Options{})
	spans := h.flushed(0, 2, 30)
	many := testSpans(60, 60)
	for i := range many {
		for k := range 2500 {
			many[i].Attributes = append(many[i].Attributes, trace.Attribute{Key: fmt.Sprintf("user.%d.%d", i, k), Value: trace.Bool(true)})
		}
	}
	h.append(many)
	must(t, h.Flush(t.Context()))
	for range 2 {
		must(t, h.Compact(t.Context()))
		if st := h.Stats(); st.Segments != 2 || st.WaitingSegments != 0 || st.LastCompactionError != "" {
			t.Fatalf("%d segments, %d waiting, error %q; want 2, and nothing to do", st.Segments, st.WaitingSegments, st.LastCompactionError)
		}
	}
	h.want(spans)
	h.wantRows(120)
}

// TestRetentionIsFaster drops the segments while they are being merged: what was
// merged goes, and the compactor goes on.
func TestRetentionIsFaster(t *testing.T) {
	h := start(t, Options{})
	h.stop()
	tries := 0
	h.open(func(name string) error {
		if name != "compact.commit" {
			return nil
		}
		tries++
		v := h.acquire()
		defer v.release()
		var ids []string
		for _, f := range v.segments {
			ids = append(ids, f.ID)
			f.drop.Store(true)
		}
		if err := h.cat.deleteSegments(t.Context(), ids); err != nil {
			return err
		}
		if tries > 1 { // the first time the view still shows them
			h.change(func(v *view) { v.segments = nil })
		}
		return nil
	})
	h.flushed(0, 3, 30)
	must(t, h.Compact(t.Context()))
	h.wantRows(0)
	if got := h.files(); tries != 2 || got[".parquet"] != 0 || got[".idx"] != 0 || got[".tmp"] != 0 {
		t.Errorf("%d tries, files %v; want 2 and none", tries, got)
	}
}
