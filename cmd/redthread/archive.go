package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"redthread/collab"
	"redthread/handlers"
	"redthread/tracestore"
	"redthread/tracestore/ingestlog"
	"redthread/tracestore/segment"
)

// archive checks and copies all that is stored in a data folder whose stores are
// open.
type archive struct {
	data   string
	store  *tracestore.Store
	collab *collab.Store
	busy   sync.Mutex // held by the one backup that runs
}

var _ handlers.Archive = (*archive)(nil)

// Check implements [handlers.Archive].
func (a *archive) Check(ctx context.Context, o tracestore.CheckOptions) (tracestore.Report, error) {
	report, err := a.store.Check(ctx, o)
	if err != nil {
		return report, err
	}
	err = checkDatabase(ctx, a.collab, databasePath(a.data), &report)
	return report, err
}

// checkDatabase adds the application's database to a report.
func checkDatabase(ctx context.Context, store *collab.Store, path string, report *tracestore.Report) error {
	part := tracestore.Part{Name: "database", Files: 1, Unit: "changes"}
	if info, err := os.Stat(path); err == nil {
		part.SizeBytes = info.Size()
	}
	var faults []tracestore.Fault
	for _, check := range []func(context.Context) error{store.Check, store.CheckLogs, store.CheckEvidence} {
		if err := check(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			part.Faults++
			faults = append(faults, tracestore.Fault{Part: part.Name, Path: filepath.Base(path), Message: err.Error()})
		}
	}
	if c, err := store.Contents(ctx); err == nil { // what is wrong is said above
		part.Items = c.Changes
	}
	report.Add(tracestore.Report{Parts: []tracestore.Part{part}, Faults: faults})
	return nil
}

// checkFolder checks a data folder that is locked by us and not open. log is its
// ingest log; nil: it has none.
func checkFolder(ctx context.Context, data string, log ingestlog.Log, o tracestore.CheckOptions) (tracestore.Report, error) {
	path := databasePath(data)
	if o.RebuildEdges {
		if err := edgeRules(ctx, path, &o); err != nil {
			return tracestore.Report{}, err
		}
	}
	report, err := tracestore.CheckFolder(ctx, data, log, o)
	if err != nil {
		return report, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		report.Add(tracestore.Report{
			Parts:  []tracestore.Part{{Name: "database", Faults: 1}},
			Faults: []tracestore.Fault{{Part: "database", Path: filepath.Base(path), Message: "the file is missing"}},
		})
		return report, nil
	}
	store, err := collab.Open(ctx, collab.Options{Path: path})
	if err != nil {
		report.Add(tracestore.Report{
			Parts:  []tracestore.Part{{Name: "database", Files: 1, Faults: 1}},
			Faults: []tracestore.Fault{{Part: "database", Path: filepath.Base(path), Message: err.Error()}},
		})
		return report, ctx.Err()
	}
	return report, errors.Join(checkDatabase(ctx, store, path, &report), store.Close())
}

// edgeRules reads from the settings by which rules edges are found.
func edgeRules(ctx context.Context, path string, o *tracestore.CheckOptions) error {
	store, err := collab.Open(ctx, collab.Options{Path: path})
	if err != nil {
		return fmt.Errorf("read the correlations of the settings: %w", err)
	}
	correlations, err := handlers.LoadCorrelations(ctx, store)
	if err == nil {
		o.Rules, err = correlations.Rules()
		o.Kept = correlations.Kept
	}
	return errors.Join(err, store.Close())
}

// partialSuffix marks the folder of a backup that is not finished.
const partialSuffix = ".partial"

// Backup implements [handlers.Archive]. The copy gets its name when it is whole
// and checked; until then it is in a folder beside, where the next try goes on.
func (a *archive) Backup(ctx context.Context, to string) (handlers.BackupAnswer, error) {
	began := time.Now()
	answer := handlers.BackupAnswer{To: filepath.Clean(to)}
	if !a.busy.TryLock() {
		return answer, fmt.Errorf("another backup is running: %w", collab.ErrConflict)
	}
	defer a.busy.Unlock()
	if err := a.checkTarget(answer.To); err != nil {
		return answer, err
	}
	partial := answer.To + partialSuffix
	if err := os.MkdirAll(partial, 0o700); err != nil {
		return answer, &collab.InvalidError{Field: "to", Message: "The folder cannot be made: " + err.Error() + "."}
	}
	lock, err := lockFolder(partial)
	if err != nil {
		return answer, fmt.Errorf("%s: %w", partial, err)
	}
	defer lock.Close()
	// The database first: then every span that a pin names, if it was
	// acknowledged, is in the copy of the spans.
	if err := a.collab.Backup(ctx, databasePath(partial)); err != nil {
		return answer, err
	}
	if answer.Spans, err = a.store.Backup(ctx, partial); err != nil {
		return answer, err
	}
	if answer.Check, err = checkFolder(ctx, partial, nil, tracestore.CheckOptions{}); err != nil {
		return answer, err
	}
	contents, err := a.collab.Contents(ctx)
	if err != nil {
		return answer, err
	}
	answer.Investigations = contents.Investigations
	if err := os.Rename(partial, answer.To); err != nil {
		return answer, fmt.Errorf("name the backup: %w", err)
	}
	if err := segment.SyncDir(filepath.Dir(answer.To)); err != nil {
		return answer, fmt.Errorf("name the backup: %w", err)
	}
	answer.ElapsedNano = time.Since(began).Nanoseconds()
	return answer, nil
}

// checkTarget says why a backup cannot be made in a folder.
func (a *archive) checkTarget(to string) error {
	invalid := func(format string, args ...any) error {
		return &collab.InvalidError{Field: "to", Message: fmt.Sprintf(format, args...)}
	}
	if !filepath.IsAbs(to) {
		return invalid("Name the folder from the root on, got %q.", to)
	}
	data, err := filepath.Abs(a.data)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(data, to); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return invalid("%s is inside the data folder.", to)
	}
	entries, err := os.ReadDir(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return invalid("%s cannot be used: %v.", to, err)
	case len(entries) > 0:
		return invalid("%s is there already and not empty: each backup needs a new folder.", to)
	}
	if info, err := os.Stat(filepath.Dir(to)); err != nil || !info.IsDir() {
		return invalid("There is no folder %s to make it in.", filepath.Dir(to))
	}
	return nil
}

// openArchive opens a data folder that no server has open, after replaying its
// log. The returned function closes it and gives the folder back.
func openArchive(ctx context.Context, c Config, log *slog.Logger) (_ *archive, _ func() error, err error) {
	var closers []func() error
	closeAll := func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		closers = nil
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	a := &archive{data: c.Data}
	if a.collab, err = collab.Open(ctx, collab.Options{Path: databasePath(c.Data), Log: log}); err != nil {
		return nil, nil, err
	}
	closers = append(closers, a.collab.Close)
	nc, stopNATS, err := startNATS(c)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, func() error { stopNATS(); return nil })
	ingest, err := ingestlog.OpenJetStream(ctx, nc, ingestlog.JetStreamOptions{})
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, ingest.Close)
	a.store, err = tracestore.Open(ctx, tracestore.Options{
		Dir: c.Data, Log: ingest, Logger: log, MemoryBytes: c.Memory,
		MinFreeBytes: c.MinFreeDisk, SpanRetention: -1, EdgeRetention: -1, // whoever copies wants it all
	})
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, a.store.Close)
	for {
		ok, _ := a.store.Ready()
		if ok {
			return a, closeAll, nil
		}
		select {
		case <-time.After(readyPoll):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// readyPoll is how often openArchive looks whether the log is replayed.
const readyPoll = 20 * time.Millisecond
