package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"

	"redthread/collab"
	"redthread/handlers"
	"redthread/tracestore"
	"redthread/tracestore/ingestlog"
	"redthread/views/ui"
)

// storageFlags are the flags of check and backup, which work on a data folder,
// or ask the server that has it.
type storageFlags struct {
	Config
	set    *flag.FlagSet
	client func(context.Context) (*client, error)
}

// newStorageFlags defines the flags. What the command is for stands above them.
func newStorageFlags(e env, command, usage string) *storageFlags {
	f := &storageFlags{set: flag.NewFlagSet(command, flag.ContinueOnError)}
	f.set.SetOutput(e.stderr)
	f.set.Usage = func() {
		fmt.Fprint(e.stderr, usage)
		f.set.PrintDefaults()
	}
	f.client = clientFlags(f.set, e, collab.RoleAdmin)
	f.set.StringVar(&f.NATSURL, "nats-url", e.getenv(envName("nats-url")), "NATS server that the server uses; empty: the one inside")
	f.IngestSync = "always"
	f.Memory = archiveMemory
	return f
}

// archiveMemory is what check and backup may use for tables and caches when they
// open the folder themselves.
const archiveMemory = 256 << 20

// lock takes the data folder; false says that a server has it, or that a server
// was named.
func (f *storageFlags) lock() (_ *os.File, ours bool, err error) {
	if f.set.Lookup("url").Value.String() != "" {
		return nil, false, nil
	}
	f.Data = f.set.Lookup("data").Value.String()
	if _, err := os.Stat(f.Data); err != nil {
		return nil, false, fmt.Errorf("--data: %w", err)
	}
	l, err := lockFolder(f.Data)
	if errors.Is(err, errInUse) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("--data %s: %w", f.Data, err)
	}
	return l, true, nil
}

// ask calls the server without a limit of time, and decodes its answer.
func (f *storageFlags) ask(ctx context.Context, path string, request, answer any) error {
	c, err := f.client(ctx)
	if err != nil {
		return err
	}
	c.http.Timeout = 0 // it reads or copies everything
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := c.call(ctx, http.MethodPost, path, body, &b); err != nil {
		return err
	}
	return json.Unmarshal(b.Bytes(), answer)
}

const checkUsage = `usage: redthread check [flags]

Reads everything that is stored and says what is wrong with it: the catalogue,
every segment with its sidecar and every run of edges, the position of the ingest
log, the database with its change logs and frozen evidence. It ends with 1 if
there is a fault. Without a running server it reads the folder --data, and changes
nothing; if a server has that folder, or --url is given, the server checks itself,
and sets aside what cannot be read.

`

// errFaults says that a check has found something; what, is printed.
var errFaults = errors.New("there are faults")

func runCheck(ctx context.Context, e env, args []string) error {
	f := newStorageFlags(e, "check", checkUsage)
	var o tracestore.CheckOptions
	f.set.BoolVar(&o.RebuildIndex, "rebuild-index", false, "make sidecars (.idx) that are missing or damaged anew")
	f.set.BoolVar(&o.RebuildEdges, "rebuild-edges", false, "find the edges between traces again from the spans that are stored, by the correlations of the settings; edges whose spans are gone stay")
	f.set.BoolVar(&o.TakeBack, "take-back", false, "let files that were set aside answer again if they can be read now, without a server running")
	rest, err := parseMixed(f.set, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usageError{fmt.Sprintf("unexpected argument %q", rest[0])}
	}
	lock, ours, err := f.lock()
	if err != nil {
		return err
	}
	var report tracestore.Report
	if ours {
		defer lock.Close()
		if _, err := os.Stat(databasePath(f.Data)); err != nil {
			return fmt.Errorf("--data %s is not a folder of redthread: %w", f.Data, err)
		}
		report, err = f.checkStopped(ctx, o)
	} else if o.TakeBack {
		return errors.New("--take-back works on a stopped server's folder: stop it first")
	} else {
		err = f.ask(ctx, "/api/v1/check", handlers.CheckRequest{RebuildIndex: o.RebuildIndex, RebuildEdges: o.RebuildEdges}, &report)
	}
	if err != nil {
		return err
	}
	if err := printReport(e.stdout, report); err != nil {
		return err
	}
	if len(report.Faults) > 0 {
		return errFaults
	}
	return nil
}

// checkStopped checks the folder, which is locked.
func (f *storageFlags) checkStopped(ctx context.Context, o tracestore.CheckOptions) (tracestore.Report, error) {
	_, err := os.Stat(jetstreamPath(f.Data))
	if f.NATSURL == "" && err != nil { // starting a server would make one
		return checkFolder(ctx, f.Data, nil, o)
	}
	nc, stop, err := startNATS(f.Config)
	if err != nil {
		return tracestore.Report{}, err
	}
	defer stop()
	log, err := ingestlog.OpenJetStream(ctx, nc, ingestlog.JetStreamOptions{})
	if err != nil {
		return tracestore.Report{}, err
	}
	defer log.Close()
	return checkFolder(ctx, f.Data, log, o)
}

// printReport prints a table of what was read, what is worth knowing, and each
// fault.
func printReport(w io.Writer, r tracestore.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PART\tFILES\tHOLDS\tSIZE\tFAULTS")
	for _, p := range r.Parts {
		holds := "-"
		if p.Unit != "" {
			holds = ui.Count(p.Items) + " " + p.Unit
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d\n", p.Name, p.Files, holds, ui.Bytes(p.SizeBytes), p.Faults)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(w, "fault: %s: %s\n", f.Path, f.Message)
	}
	if len(r.Faults) == 0 {
		fmt.Fprintln(w, "Everything is well.")
	}
	return nil
}

const backupUsage = `usage: redthread backup [flags] DIR

Copies everything that is stored into the new folder DIR: all spans acknowledged
before the call, links between traces, accounts and investigations. A server may
be running on the folder --data, on this machine: it goes on serving. The copy is
made in DIR.partial, checked, and then named; a backup that was cut off goes on
from there. To restore, start a server with --data DIR.

On the same disk segments are hard links: quick, and no bytes twice, but no help
when the disk dies. For that, let DIR be on another disk, or copy it there.

`

func runBackup(ctx context.Context, e env, args []string) error {
	f := newStorageFlags(e, "backup", backupUsage)
	to := f.set.String("to", "", "the new folder, in place of DIR")
	rest, err := parseMixed(f.set, args)
	if err != nil {
		return err
	}
	if *to != "" {
		rest = append(rest, *to)
	}
	if len(rest) != 1 {
		return usageError{fmt.Sprintf("want one new folder, got %d", len(rest))}
	}
	target, err := filepath.Abs(rest[0])
	if err != nil {
		return err
	}
	lock, ours, err := f.lock()
	if err != nil {
		return err
	}
	var answer handlers.BackupAnswer
	if ours {
		defer lock.Close()
		answer, err = f.backupStopped(ctx, e, target)
	} else {
		err = f.ask(ctx, "/api/v1/backup", handlers.BackupRequest{To: target}, &answer)
	}
	if err != nil {
		return err
	}
	if err := printReport(e.stdout, answer.Check); err != nil {
		return err
	}
	s := answer.Spans
	for _, path := range s.LeftOut {
		fmt.Fprintln(e.stdout, "left out:", path, "cannot be read and was set aside")
	}
	fmt.Fprintf(e.stdout, "%s rows and %s investigations are in %s: %s, %d files linked, %d copied, %d kept of an earlier try; it took %s.\n",
		ui.Count(s.Rows), ui.Count(answer.Investigations), answer.To, ui.Bytes(s.Bytes), s.Linked, s.Copied, s.Kept, ui.Duration(answer.ElapsedNano))
	if len(answer.Check.Faults) > 0 {
		return errors.New("the copy has faults; redthread check tells whether the original has them too")
	}
	if len(s.LeftOut) > 0 {
		return fmt.Errorf("the backup is made, but without what cannot be read: files left out: %d", len(s.LeftOut))
	}
	return nil
}

// backupStopped copies the folder, which is locked.
func (f *storageFlags) backupStopped(ctx context.Context, e env, target string) (handlers.BackupAnswer, error) {
	if _, err := os.Stat(databasePath(f.Data)); err != nil {
		return handlers.BackupAnswer{}, fmt.Errorf("--data %s is not a folder of redthread: %w", f.Data, err)
	}
	a, closeAll, err := openArchive(ctx, f.Config, slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return handlers.BackupAnswer{}, err
	}
	answer, err := a.Backup(ctx, target)
	return answer, errors.Join(err, closeAll())
}
