package tracestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog"
	"redthread/tracestore/otlp"
	"redthread/tracestore/segment"
)

// Report says what a check has read and what is wrong with it.
type Report struct {
	Parts  []Part   `json:"parts"`
	Faults []Fault  `json:"faults"` // none: everything is well
	Notes  []string `json:"notes"`  // worth knowing, and no fault
}

// Part is one sort of thing that was read.
type Part struct {
	Name      string `json:"name"`
	Files     int    `json:"files"`
	Items     int64  `json:"items"`
	Unit      string `json:"unit"` // of Items: "rows"; empty: they are not counted
	SizeBytes int64  `json:"size_bytes"`
	Faults    int    `json:"faults"`
}

// Fault is one thing that is wrong. Path is relative to the data folder.
type Fault struct {
	Part    string `json:"part"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

// Err joins all faults into one error, nil if there are none.
func (r *Report) Err() error {
	var errs []error
	for _, f := range r.Faults {
		errs = append(errs, fmt.Errorf("%s: %s: %s", f.Part, f.Path, f.Message))
	}
	return errors.Join(errs...)
}

// Add joins what another check has found.
func (r *Report) Add(other Report) {
	r.Parts = append(r.Parts, other.Parts...)
	r.Faults = append(r.Faults, other.Faults...)
	r.Notes = append(r.Notes, other.Notes...)
}

// CheckOptions are what a check does beside reading.
type CheckOptions struct {
	// RebuildIndex makes sidecars that are missing or damaged anew, in place of
	// reporting them.
	RebuildIndex bool
	// TakeBack lets files that were set aside answer again, if they can be read
	// now. [CheckFolder] only.
	TakeBack bool
	// RebuildEdges finds the edges between traces again before it checks them, see
	// [Store.RebuildEdges]. Rules and Kept are for [CheckFolder], nil: the default;
	// a store has its own.
	RebuildEdges bool
	Rules        *graph.Rules
	Kept         []string
}

// logDir is where the embedded log is; another one has no place of its own.
const logDir = "jetstream"

var errLogLost = errors.New("the log that the catalogue knows is not there: what was acknowledged and is in no segment is lost, and the next start begins a new log")

// checkCacheBytes is what a check may keep of what it has decoded; it reads each
// column once.
const checkCacheBytes = 16 << 20

// checker reads the files of one store and gathers what is wrong.
type checker struct {
	o     CheckOptions
	dir   string
	cache *segment.Cache
	Report
}

func newChecker(dir string, o CheckOptions) *checker {
	return &checker{o: o, dir: dir, cache: segment.NewCache(checkCacheBytes)}
}

// fault notes what is wrong with a file of a part.
func (c *checker) fault(p *Part, path string, err error) {
	p.Faults++
	message := strings.ReplaceAll(faultWords(err), c.dir+string(filepath.Separator), "")
	c.Faults = append(c.Faults, Fault{p.Name, path, message})
}

// faultWords says what is wrong with a file, whose path stands beside it.
func faultWords(err error) string {
	var corrupt *segment.CorruptError
	if !errors.As(err, &corrupt) {
		return err.Error()
	}
	if corrupt.Offset >= 0 {
		return fmt.Sprintf("corrupt at byte %d: %v", corrupt.Offset, corrupt.Err)
	}
	return corrupt.Err.Error()
}

func (c *checker) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// Check reads the catalogue, every file it lists and the ingest log's position.
// Files that turn out corrupt are set aside, as a query would do; those that were
// before are faults too. An error means that the check could not be made.
func (s *Store) Check(ctx context.Context, o CheckOptions) (Report, error) {
	c := newChecker(s.o.Dir, o)
	if o.RebuildEdges {
		if err := s.rebuildAll(ctx); err != nil {
			return Report{}, err
		}
		c.note("edges between traces were made anew from the rows that are stored")
	}
	v := s.acquire()
	if v == nil {
		return Report{}, ErrClosed
	}
	defer v.release()
	if err := c.catalogue(ctx, s.cat); err != nil {
		return Report{}, err
	}
	var segments, sidecars, edges = Part{Name: "segments", Unit: "rows"}, Part{Name: "sidecars"}, Part{Name: "edges", Unit: "edges"}
	for _, f := range v.segments {
		if err := c.segment(ctx, &segments, &sidecars, &f.segmentRecord); err != nil {
			if ctx.Err() != nil {
				return Report{}, ctx.Err()
			}
			s.setAsideSegment(f, err)
		}
	}
	for _, f := range v.runs {
		if err := c.edges(ctx, &edges, &f.edgeRecord); err != nil {
			if ctx.Err() != nil {
				return Report{}, ctx.Err()
			}
			s.setAsideEdges(f, err)
		}
	}
	c.Parts = append(c.Parts, segments, sidecars, edges)
	if err := c.quarantine(); err != nil {
		return Report{}, err
	}
	err := c.log(ctx, s.log, s.epoch.Identity, s.applied.Load(), false)
	return c.Report, err
}

// CheckFolder checks the store in dir, which must not be open: [ErrLocked]. It
// changes nothing but what o says. log is its ingest log; nil: it has none, as a
// backup.
func CheckFolder(ctx context.Context, dir string, log ingestlog.Log, o CheckOptions) (Report, error) {
	c := newChecker(dir, o)
	path := filepath.Join(dir, catalogueName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		p := Part{Name: "catalogue"}
		c.fault(&p, catalogueName, errors.New("the file is missing: no segment can be found without it"))
		c.Parts = append(c.Parts, p)
		return c.Report, nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	cat, err := openCatalogue(ctx, dir)
	if err != nil {
		return Report{}, fmt.Errorf("tracestore: check: %w", err)
	}
	defer cat.close()
	if o.RebuildEdges {
		if err := rebuildFolder(ctx, dir, cat, c.cache, time.Now().UnixNano(), o); err != nil {
			return Report{}, fmt.Errorf("tracestore: rebuild edges: %w", err)
		}
		c.note("edges between traces were made anew from the rows that are stored")
	}
	if err := c.catalogue(ctx, cat); err != nil {
		return Report{}, err
	}
	segments, err := cat.findSegments(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("tracestore: check: %w", err)
	}
	runs, err := cat.findEdges(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("tracestore: check: %w", err)
	}
	known := make(map[string]bool)
	var rows, sidecars, edges = Part{Name: "segments", Unit: "rows"}, Part{Name: "sidecars"}, Part{Name: "edges", Unit: "edges"}
	for _, r := range segments {
		known[r.Path], known[segment.IndexPath(r.Path)] = true, true
		if r.Corrupt != "" && !o.TakeBack {
			continue
		}
		if err := c.segment(ctx, &rows, &sidecars, &r); err != nil {
			if ctx.Err() != nil {
				return Report{}, ctx.Err()
			}
			continue
		}
		if r.Corrupt != "" {
			c.note("%s can be read and answers again", r.Path)
			if err := cat.markSegmentCorrupt(ctx, r.ID, ""); err != nil {
				return Report{}, fmt.Errorf("tracestore: take back %s: %w", r.Path, err)
			}
		}
	}
	for _, r := range runs {
		known[r.Path] = true
		if r.Corrupt != "" && !o.TakeBack {
			continue
		}
		if err := c.edges(ctx, &edges, &r); err != nil {
			if ctx.Err() != nil {
				return Report{}, ctx.Err()
			}
			continue
		}
		if r.Corrupt != "" {
			c.note("%s can be read and answers again", r.Path)
			if err := cat.markEdgesCorrupt(ctx, r.ID, ""); err != nil {
				return Report{}, fmt.Errorf("tracestore: take back %s: %w", r.Path, err)
			}
		}
	}
	c.Parts = append(c.Parts, rows, sidecars, edges)
	if err := errors.Join(c.unknown(known), c.quarantine()); err != nil {
		return Report{}, err
	}
	e, ok, err := cat.lastEpoch(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("tracestore: check: %w", err)
	}
	switch {
	case log != nil && ok:
		err = c.log(ctx, log, e.Identity, e.Applied, true)
	case ok && e.Identity != "":
		p := Part{Name: "ingest log"}
		c.fault(&p, logDir, errLogLost)
		c.Parts = append(c.Parts, p)
	}
	return c.Report, err
}

// catalogue checks the database and names what was set aside before.
func (c *checker) catalogue(ctx context.Context, cat *catalogue) error {
	p := Part{Name: "catalogue", Unit: "files"}
	defer func() { c.Parts = append(c.Parts, p) }()
	p.Files = 1
	if info, err := os.Stat(filepath.Join(c.dir, catalogueName)); err == nil {
		p.SizeBytes = info.Size()
	}
	if err := cat.check(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.fault(&p, catalogueName, err)
	}
	aside := func(path, why string) {
		p.Items++
		if why != "" && !c.o.TakeBack { // else it is looked at again
			c.fault(&p, path, fmt.Errorf("was set aside: %s", why))
		}
	}
	segments, err := cat.findSegments(ctx)
	if err != nil {
		return fmt.Errorf("tracestore: check: %w", err)
	}
	for _, r := range segments {
		aside(r.Path, r.Corrupt)
	}
	runs, err := cat.findEdges(ctx)
	if err != nil {
		return fmt.Errorf("tracestore: check: %w", err)
	}
	for _, r := range runs {
		aside(r.Path, r.Corrupt)
	}
	return nil
}

// segment reads one segment and its sidecar, and returns what is wrong with the
// segment.
func (c *checker) segment(ctx context.Context, p, sidecars *Part, r *segmentRecord) error {
	full := filepath.Join(c.dir, r.Path)
	p.Files++
	p.Items += int64(r.Rows)
	p.SizeBytes += fileSize(full)
	f := segment.Open(full, r.Rows, c.cache)
	defer f.Close()
	sidecars.Files++
	defer func() { sidecars.SizeBytes += fileSize(segment.IndexPath(full)) }() // it may be made anew
	indexErr := segment.CheckIndex(full, r.Rows)
	read := f.Verify
	if indexErr != nil && !c.o.RebuildIndex {
		what := "it is damaged"
		if errors.Is(indexErr, fs.ErrNotExist) {
			what = "the file is missing"
		}
		c.fault(sidecars, segment.IndexPath(r.Path), errors.New(what+"; check --rebuild-index makes it anew"))
		read = f.VerifyColumns // Verify would make the sidecar anew
	}
	err := read(ctx)
	var bad *segment.CorruptError
	if errors.As(err, &bad) && bad.Path == segment.IndexPath(full) {
		// The sidecar is whole, and not of these rows.
		switch sum, sumErr := segment.Checksum(ctx, full); {
		case sumErr != nil:
			err = sumErr
		case sum != r.Checksum: // what a page's checksum does not cover says how it is read
			err = &segment.CorruptError{Path: full, Offset: -1, Err: errors.New("it is not as it was written, and its rows are not those of its sidecar")}
		case !c.o.RebuildIndex:
			c.fault(sidecars, segment.IndexPath(r.Path), errors.New("it does not fit the rows; check --rebuild-index makes it anew"))
			return nil
		default:
			f.Close()
			if err = os.Remove(bad.Path); err == nil {
				indexErr, err = bad, read(ctx)
			}
		}
	}
	if err == nil {
		err = c.bounds(f, r)
	}
	if err == nil {
		var sum uint32
		if sum, err = segment.Checksum(ctx, full); err == nil && sum != r.Checksum {
			// Each page has a checksum of its own, so the rows are right.
			c.fault(p, r.Path, errors.New("it is not as it was written: its rows can be read here, other programs may stumble over it"))
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		c.fault(p, r.Path, err)
	case indexErr != nil && c.o.RebuildIndex:
		c.note("%s was made anew", segment.IndexPath(r.Path))
	}
	return err
}

// bounds compares the times of the rows with the catalogue, which leaves segments
// out of a query by them.
func (c *checker) bounds(f *segment.File, r *segmentRecord) error {
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	for i, b := range blocks {
		if lo, hi := b.Bounds(); lo < r.MinStart || hi > r.MaxStart {
			return &segment.CorruptError{Path: f.Path(), Offset: -1, Err: fmt.Errorf("block %d has rows outside of the times in the catalogue", i)}
		}
	}
	return nil
}

func (c *checker) edges(ctx context.Context, p *Part, r *edgeRecord) error {
	p.Files++
	p.Items += int64(r.Links)
	p.SizeBytes += fileSize(filepath.Join(c.dir, r.Path))
	f := segment.OpenEdges(filepath.Join(c.dir, r.Path), c.cache)
	defer f.Close()
	err := f.Verify(ctx)
	if err != nil && ctx.Err() == nil {
		c.fault(p, r.Path, err)
	}
	return err
}

// unknown notes files that the next start will set aside or delete.
func (c *checker) unknown(known map[string]bool) error {
	for _, dir := range []string{segmentsDir, edgesDir} {
		err := filepath.WalkDir(filepath.Join(c.dir, dir), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(c.dir, path)
			if err != nil || known[rel] {
				return err
			}
			if strings.HasSuffix(rel, ".tmp") {
				c.note("%s was not finished; the next start deletes it", rel)
			} else {
				c.note("%s is not in the catalogue; the next start sets it aside", rel)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("tracestore: check: %w", err)
		}
	}
	return nil
}

// quarantine counts the files that were set aside because nobody knew them.
func (c *checker) quarantine() error {
	p := Part{Name: "quarantine"}
	entries, err := os.ReadDir(filepath.Join(c.dir, quarantineDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("tracestore: check: %w", err)
	}
	for _, e := range entries {
		p.Files++
		p.SizeBytes += fileSize(filepath.Join(c.dir, quarantineDir, e.Name()))
		c.note("%s is in no catalogue; it is deleted when it has been there for %d days", filepath.Join(quarantineDir, e.Name()), int(quarantineAge.Hours()/24))
	}
	c.Parts = append(c.Parts, p)
	return nil
}

// log compares the ingest log with the catalogue: it has to be the one that was
// applied up to the sequence, and to hold what comes after. read says to read the
// messages that are in no segment yet.
func (c *checker) log(ctx context.Context, log ingestlog.Log, identity string, applied uint64, read bool) error {
	p := Part{Name: "ingest log", Unit: "messages"}
	defer func() { c.Parts = append(c.Parts, p) }()
	state, err := log.State(ctx)
	if err != nil {
		c.fault(&p, logDir, err)
		return ctx.Err()
	}
	p.SizeBytes = int64(state.Bytes)
	p.Items = int64(state.Last + 1 - state.First)
	switch {
	case identity == "": // of a copy, whose log begins with it
	case identity != state.Identity:
		c.fault(&p, logDir, errLogLost)
	case state.Last < applied:
		c.fault(&p, logDir, fmt.Errorf("it ends at message %d, the catalogue is at %d: an older copy of it was put back", state.Last, applied))
	case state.First > applied+1:
		c.fault(&p, logDir, fmt.Errorf("it begins at message %d, segments end at %d: what was between is lost", state.First, applied))
	case read && state.Last > applied:
		return c.messages(ctx, &p, log, applied, state.Last)
	}
	return nil
}

// messages reads what the next start will apply.
func (c *checker) messages(ctx context.Context, p *Part, log ingestlog.Log, applied, last uint64) error {
	rows := 0
	err := log.Read(ctx, applied+1, last, func(seq uint64, msg []byte) error {
		err := eachRecord(msg, func(f Format, _ int64, _ string, raw []byte) error {
			sig, _, ok := f.signal()
			if !ok {
				return fmt.Errorf("unknown format %d", f)
			}
			report, err := otlp.Validate(sig, raw)
			rows += report.Accepted
			return err
		})
		if err != nil {
			c.fault(p, logDir, fmt.Errorf("message %d cannot be read: %w", seq, err))
		}
		return nil
	})
	if err != nil {
		c.fault(p, logDir, err)
		return ctx.Err()
	}
	c.note("%d rows in the ingest log are in no segment yet; the next start applies them", rows)
	return nil
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
