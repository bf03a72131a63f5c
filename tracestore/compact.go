package tracestore

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"redthread/tracestore/column"
	"redthread/tracestore/segment"
	"redthread/tracestore/trace"
)

// Segments are merged with their neighbours in the order of arrival until they
// have half of compactRows or compactBytes, and never again after that. So every
// row is written by a flush and, but for the few of slow senders, once more.
const (
	compactRows  = 1 << 20
	compactBytes = 128 << 20
	// quietFor is how long no row has come when a merge no longer waits for more
	// rows than half of compactRows.
	quietFor = 1500 * time.Millisecond
	// compactFiles is how many segments of about one size are merged although
	// they are few rows together.
	compactFiles = 8
	// maxSmall is how many small neighbours there may be at all.
	maxSmall = 32
	// compactTick is how often is looked whether there is something to merge.
	compactTick = 500 * time.Millisecond
	// compactRetryMin and compactRetryMax: the pause after a compaction that went
	// wrong doubles between them.
	compactRetryMin = 5 * time.Second
	compactRetryMax = 5 * time.Minute
	// expiredShare: a segment is written anew when one in eight of its rows has
	// outlived the retention of its environment, or when all that can have.
	expiredShare = 8
	// expiryEvery is the pause between two looks at what of a segment has outlived
	// its retention: it asks the sidecar about each row group.
	expiryEvery = time.Minute
)

// small reports whether a segment is to be merged.
func (f *segmentFile) small() bool {
	return f.Rows < compactRows/2 && f.SizeBytes < compactBytes/2 && !f.apart.Load()
}

// nextMerge picks the segments to be merged next out of all, which are in the
// order of arrival; nil: there is nothing to do. quiet says that no row came for
// a while, all that even the smallest neighbours are to be merged.
func nextMerge(segments []*segmentFile, quiet, all bool) []*segmentFile {
	for from := 0; from < len(segments); {
		to, rows, bytes := from, 0, int64(0)
		for to < len(segments) && segments[to].small() && rows+segments[to].Rows <= compactRows && bytes+segments[to].SizeBytes <= compactBytes {
			rows += segments[to].Rows
			bytes += segments[to].SizeBytes
			to++
		}
		group := segments[from:to]
		from = max(to, from+1)
		if len(group) < 2 {
			continue
		}
		half := rows >= compactRows/2 || bytes >= compactBytes/2
		full := rows >= compactRows/8*7 || bytes >= compactBytes/8*7 ||
			to < len(segments) && segments[to].small() // it would not fit
		if full || half && quiet || all || len(group) >= maxSmall {
			return group
		}
		for i := 0; i+compactFiles <= len(group); i++ {
			if alike(group[i : i+compactFiles]) {
				return group[i : i+compactFiles]
			}
		}
	}
	return nil
}

// alike reports whether segments are of one size: within a factor of eight.
func alike(group []*segmentFile) bool {
	size := func(f *segmentFile) int { return bits.Len(uint(f.Rows)) / 3 }
	for _, f := range group[1:] {
		if size(f) != size(group[0]) {
			return false
		}
	}
	return true
}

// compactAll is the goroutine that merges segments.
func (s *Store) compactAll() {
	tick := time.NewTicker(compactTick)
	defer tick.Stop()
	ctx, cancel := s.untilQuit()
	defer cancel()
	var retryAt time.Time
	pause := compactRetryMin
	rows, since := s.appended.Load(), time.Now()
	round := func(all bool) error {
		if n := s.appended.Load(); n != rows {
			rows, since = n, time.Now()
		}
		err := s.compactRound(ctx, time.Since(since) >= quietFor, all)
		if ctx.Err() != nil {
			return ErrClosed
		}
		s.noteCompaction(err)
		if err != nil {
			s.o.Logger.Error("compact segments", "error", err, "retry_in", pause)
			retryAt = time.Now().Add(pause)
			pause = min(2*pause, compactRetryMax)
			return err
		}
		pause = compactRetryMin
		return nil
	}
	for {
		select {
		case <-tick.C:
			if time.Now().After(retryAt) {
				_ = round(false) // it is in the log and in the state
			}
		case done := <-s.compactions:
			done <- round(true)
		case <-s.quit:
			return
		}
	}
}

// Compact merges all neighbouring segments that are small, drops what the
// retention of an environment no longer keeps, and returns when nothing is left to
// do. It happens by itself, but for the smallest segments, which wait for more.
func (s *Store) Compact(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case s.compactions <- done:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compactRound merges what is to be merged until nothing is left.
func (s *Store) compactRound(ctx context.Context, quiet, all bool) error {
	for ctx.Err() == nil {
		old, err := s.nextCompaction(quiet, all)
		if err != nil || old == nil {
			return err
		}
		err = s.compact(ctx, old)
		for _, f := range old {
			f.release()
		}
		if errors.Is(err, errReplaced) {
			// Retention was faster, and shows it in a moment.
			select {
			case <-time.After(compactTick):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// nextCompaction picks the segments to be compacted next and holds them; nil:
// none.
func (s *Store) nextCompaction(quiet, all bool) ([]*segmentFile, error) {
	v := s.acquire()
	if v == nil {
		return nil, nil
	}
	// Only the files are held: the view's memtables are not to wait for this.
	defer v.release()
	old := nextMerge(v.segments, quiet, all)
	if old == nil {
		for _, f := range v.segments {
			worth, err := s.worthRewriting(f, all)
			if err != nil {
				return nil, err
			}
			if worth {
				old = []*segmentFile{f}
				break
			}
		}
	}
	old = slices.Clone(old)
	for _, f := range old {
		f.refs.Add(1)
	}
	return old, nil
}

// keptSince says since when rows of an environment are kept.
func (s *Store) keptSince(environment string) int64 {
	age := s.o.SpanRetention
	if short, ok := s.o.EnvironmentRetention[environment]; ok && short > 0 && (age < 0 || short < age) {
		age = short
	}
	if age < 0 {
		return 0
	}
	return s.o.Now().Add(-age).UnixNano()
}

// worthRewriting reports whether enough rows of a segment have outlived the
// retention of their environment. It looks at most every expiryEvery, always if now.
func (s *Store) worthRewriting(f *segmentFile, now bool) (bool, error) {
	due := false
	for environment := range s.o.EnvironmentRetention {
		due = due || f.MinArrived < s.keptSince(environment)
	}
	if !due {
		return false, nil
	}
	at := s.now()
	if ago := at - f.looked.Load(); !now && 0 <= ago && ago < int64(expiryEvery) {
		return false, nil
	}
	f.looked.Store(at)
	blocks, err := f.file.Blocks()
	if err != nil {
		if s.setAsideSegment(f, err) {
			err = nil
		}
		return false, err
	}
	rows, last := 0, false
	for _, b := range blocks {
		environments, ok := b.Stats(column.Environment, trace.TypeString)
		arrived, ok2 := b.Stats(column.Arrived, trace.TypeInt)
		if !ok || !ok2 {
			continue
		}
		for _, e := range environments.Top {
			if since := s.keptSince(e.Text); arrived.Max < float64(since) {
				rows += e.Rows
				last = last || f.MaxArrived < since
			}
		}
	}
	return last || rows > 0 && rows*expiredShare >= f.Rows, nil
}

// compact puts one segment in the place of several. After an error everything is
// as before, and no file is left that the catalogue does not know.
func (s *Store) compact(ctx context.Context, old []*segmentFile) error {
	began := time.Now()
	first, last := &old[0].segmentRecord, &old[len(old)-1].segmentRecord
	record := segmentRecord{ID: ulid.Make().String(), EpochID: last.EpochID, FirstSeq: last.FirstSeq, LastSeq: last.LastSeq}
	inputs := make([]*segment.File, len(old))
	var bytes int64
	for i, f := range old {
		inputs[i] = f.file
		bytes += f.SizeBytes
		record.Level = max(record.Level, f.Level+1)
		if f.EpochID == last.EpochID {
			record.FirstSeq = min(record.FirstSeq, f.FirstSeq)
		}
	}
	if free, full := s.disk.state(); full || free > 0 && free < 2*bytes {
		return fmt.Errorf("%w: no room to compact %d MiB", ErrDiskFull, bytes>>20)
	}
	day := time.Unix(0, last.MaxArrived).UTC().Format(time.DateOnly)
	record.Path = filepath.Join(segmentsDir, day, record.ID+".parquet")
	full := filepath.Join(s.o.Dir, record.Path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	if err := segment.SyncDir(filepath.Join(s.o.Dir, segmentsDir)); err != nil {
		return err
	}
	s.compacting.Store(true)
	defer s.compacting.Store(false)
	out, err := s.writeCompacted(ctx, full, inputs)
	if err != nil {
		err = errors.Join(err, s.discard(full, segment.IndexPath(full)))
		var bad *segment.CorruptError
		var keys *segment.KeysError
		switch {
		case errors.As(err, &bad):
			for _, f := range old {
				if f.file.Path() == bad.Path && s.setAsideSegment(f, err) {
					return nil // the others go on without it
				}
			}
		case errors.As(err, &keys):
			for _, f := range old {
				if f.file.Path() == keys.Path {
					s.o.Logger.Warn("segment stays as it is", "path", f.Path, "error", err)
					f.apart.Store(true)
					return nil
				}
			}
		}
		return err
	}
	record.Rows, record.SizeBytes, record.Checksum, record.MinStart, record.MaxStart = out.Rows, out.SizeBytes, out.Checksum, out.MinStart, out.MaxStart
	record.MinArrived, record.MaxArrived, record.Created = out.MinArrived, out.MaxArrived, s.now()
	if err := s.commitCompaction(ctx, old, &record, full); err != nil {
		return err
	}
	s.compactionsTotal.Add(1)
	s.compactedRows.Add(int64(out.Rows))
	s.compactedBytes.Add(out.SizeBytes)
	s.duplicates.Add(int64(out.Duplicates))
	s.expiredRows.Add(int64(out.Expired))
	s.o.Logger.Info("segments compacted", "segments", len(old), "first", first.ID, "segment", record.ID, "rows", out.Rows, "size_bytes", out.SizeBytes,
		"duplicates", out.Duplicates, "expired", out.Expired, "elapsed", time.Since(began))
	return nil
}

// writeCompacted runs a compaction on a thread of its own, which the system gives
// less of the processors than to those that take in rows and answer.
func (s *Store) writeCompacted(ctx context.Context, path string, inputs []*segment.File) (out segment.Compacted, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Without an unlock the thread ends with the goroutine.
		runtime.LockOSThread()
		beNice()
		o := segment.CompactOptions{Step: s.compactStep}
		if len(s.o.EnvironmentRetention) > 0 {
			o.Keep = s.keptSince
		}
		out, err = segment.Compact(ctx, path, inputs, o)
	}()
	<-done
	return out, err
}

// commitCompaction records a compaction and shows it. The new file is discarded
// unless the catalogue has it.
func (s *Store) commitCompaction(ctx context.Context, old []*segmentFile, record *segmentRecord, path string) error {
	listed := record
	if record.Rows == 0 {
		listed = nil
	}
	err := s.compactStep("commit")
	if err == nil {
		if err = s.cat.replaceSegments(s.ctx, old, listed); err != nil && !errors.Is(err, errReplaced) && listed != nil {
			// The answer may be lost, and the segment there.
			has, again := s.cat.hasSegment(s.ctx, record.ID)
			if again != nil {
				return errors.Join(err, again) // the next start finds out
			}
			if has {
				err = nil
			}
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("commit to the catalogue: %w", err), s.discard(path, segment.IndexPath(path)))
	}
	for _, f := range old {
		f.drop.Store(true)
	}
	s.change(func(v *view) {
		at := slices.IndexFunc(v.segments, func(f *segmentFile) bool { return slices.Contains(old, f) })
		v.segments = slices.DeleteFunc(v.segments, func(f *segmentFile) bool { return slices.Contains(old, f) })
		if listed != nil {
			f := &segmentFile{segmentRecord: *record, file: segment.Open(path, record.Rows, s.cache)}
			v.segments = slices.Insert(v.segments, max(at, 0), f)
		}
	})
	return nil
}

// compactStep is the fault seam of a compaction.
func (s *Store) compactStep(name string) error { return s.step("compact." + name) }

func (s *Store) noteCompaction(err error) {
	s.status.Lock()
	defer s.status.Unlock()
	s.compactErr = ""
	if err != nil {
		s.compactErr = err.Error()
	}
}

// waiting counts the segments that will be merged by themselves.
func waiting(segments []*segmentFile) int {
	n := 0
	left := slices.Clone(segments)
	for {
		group := nextMerge(left, true, false)
		if group == nil {
			return n
		}
		n += len(group)
		at := slices.Index(left, group[0])
		left = slices.Delete(left, at, at+len(group))
	}
}
