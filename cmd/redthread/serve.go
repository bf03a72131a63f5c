package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"

	"redthread/collab"
	"redthread/collab/auth"
	"redthread/collab/live"
	"redthread/collab/notify"
	"redthread/handlers"
	"redthread/static"
	"redthread/tracestore"
	"redthread/tracestore/graph"
	"redthread/tracestore/ingestlog"
)

// shutdownTimeout bounds the whole of stopping (DESIGN.md §3); drainTimeout is the
// part of it that requests under way get, so that one sender who stalls does not
// take the time that the stores need.
const (
	shutdownTimeout = 25 * time.Second
	drainTimeout    = 8 * time.Second
)

func runServe(ctx context.Context, e env, args []string) error {
	c, err := parseConfig("serve", args, e.getenv, e.stderr, nil)
	if err != nil {
		return err
	}
	return serve(ctx, e, c, nil)
}

// app is everything that runs, in the order it was started.
type app struct {
	config Config
	log    *slog.Logger
	stderr io.Writer

	collab    *collab.Store
	auth      *auth.Service
	store     *tracestore.Store
	server    *handlers.Server
	hub       *live.Hub
	listeners map[string]net.Listener // by the flag that names the address

	servers []closer // take requests; stopped together
	closers []closer
}

// closer is one thing to stop; the last started is stopped first.
type closer struct {
	name string
	stop func(context.Context) error
}

func (a *app) onClose(name string, stop func(context.Context) error) {
	a.closers = append(a.closers, closer{name, stop})
}

// serve runs the server until ctx is done. After the addresses are bound it
// calls started, if given, in a goroutine of its own.
func serve(ctx context.Context, e env, c Config, started func(context.Context, *app)) (err error) {
	a := &app{config: c, log: newLogger(e.stderr), stderr: e.stderr, listeners: map[string]net.Listener{}}
	slog.SetDefault(a.log)
	limitMemory(c.Memory)
	defer func() { err = errors.Join(err, a.close()) }()

	failed := make(chan error, len(listenerFlags))
	if err := a.open(ctx, failed); err != nil {
		return err
	}
	if started != nil {
		runCtx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); started(runCtx, a) }()
		a.onClose("demo", func(context.Context) error { cancel(); <-done; return nil })
	}
	select {
	case <-ctx.Done():
		a.log.Info("stopping")
		return nil
	case err := <-failed:
		return err
	}
}

// newLogger writes text on a terminal and JSON elsewhere.
func newLogger(w io.Writer) *slog.Logger {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(slog.NewJSONHandler(w, nil))
}

// listenerFlags are the addresses, by the flag that sets each.
var listenerFlags = []string{"addr", "otlp-http-addr", "otlp-grpc-addr"}

// open starts everything in order. What was started is stopped by close, also
// after an error.
func (a *app) open(ctx context.Context, failed chan<- error) error {
	c := a.config
	if err := static.Check(); err != nil {
		return err
	}
	if err := a.bind(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	lock, err := lockFolder(c.Data)
	if err != nil {
		return fmt.Errorf("--data %s: %w", c.Data, err)
	}
	a.onClose("lock", func(context.Context) error { return lock.Close() })
	if err := announce(lock, a.localURL()); err != nil {
		return err
	}

	a.collab, err = collab.Open(ctx, collab.Options{Path: databasePath(c.Data), Log: a.log.With("component", "collab")})
	if err != nil {
		return err
	}
	a.onClose("database", func(context.Context) error { return a.collab.Close() })
	a.auth = auth.New(a.collab, auth.Options{})

	nc, stopNATS, err := startNATS(c)
	if err != nil {
		return err
	}
	a.onClose("nats", func(context.Context) error { stopNATS(); return nil })
	ingest, err := ingestlog.OpenJetStream(ctx, nc, ingestlog.JetStreamOptions{})
	if err != nil {
		return err
	}
	a.onClose("ingest log", func(context.Context) error { return ingest.Close() })
	correlations, err := handlers.LoadCorrelations(ctx, a.collab)
	if err != nil {
		return err
	}
	rules, err := correlations.Rules()
	if err != nil {
		return fmt.Errorf("correlations of the settings: %w", err)
	}
	a.store, err = tracestore.Open(ctx, tracestore.Options{
		Rules: rules, Kept: correlations.Kept,
		Dir: c.Data, Log: ingest, Logger: a.log.With("component", "tracestore"), MemoryBytes: c.Memory,
		SpanRetention: c.SpanRetention, EnvironmentRetention: c.EnvironmentRetention, EdgeRetention: c.EdgeRetention, MaxDiskBytes: c.MaxDisk, MinFreeBytes: c.MinFreeDisk,
	})
	if err != nil {
		return err
	}
	a.onClose("span store", func(context.Context) error { return a.store.Close() })

	notifier, err := notify.Start(ctx, notify.Options{Store: a.collab, NATS: nc, PublicURL: c.PublicURL, Log: a.log.With("component", "notify")})
	if err != nil {
		return err
	}
	a.onClose("notifications", func(context.Context) error { return notifier.Close() })
	a.hub = live.NewHub(live.Options{Store: a.collab, NATS: nc, Readers: a.collab.Readers, Log: a.log.With("component", "live")})
	a.onClose("live rooms", func(context.Context) error { return a.hub.Close() })

	takeSpans := handlers.NewIngest(handlers.IngestOptions{
		Store: a.store, Keys: a.auth, Open: c.OpenIngest && c.loopbackOnly(), MaxInFlightBytes: c.Memory / 8,
		Log: a.log.With("component", "ingest"),
	})
	a.server, err = handlers.New(ctx, handlers.Deps{
		Store: a.store, Graph: graph.New(a.store, graph.Options{Rules: rules}), Collab: a.collab, Auth: a.auth, Ingest: takeSpans, Live: a.hub, Notify: notifier,
		Archive: &archive{data: c.Data, store: a.store, collab: a.collab},
		Log:     a.log.With("component", "handlers"), PublicURL: c.PublicURL, Version: version, Dev: c.Dev,
	})
	if err != nil {
		return err
	}
	a.onClose("requests", a.drain)
	a.serveHTTP("addr", a.server.Handler(), failed)
	if c.OTLPHTTPAddr != "" {
		a.serveHTTP("otlp-http-addr", a.server.IngestHandler(), failed)
	}
	if c.OTLPGRPCAddr != "" {
		a.serveOn("otlp-grpc-addr", takeSpans.GRPCServer(), failed)
	}
	for _, flag := range listenerFlags {
		if l := a.listeners[flag]; l != nil {
			a.log.Info("listening", "listener", flag, "address", l.Addr().String())
		}
	}
	return a.printSignIn(ctx)
}

func databasePath(data string) string { return filepath.Join(data, "redthread.db") }

// bind opens every listener, so that a port in use is said before anything else
// is touched.
func (a *app) bind() error {
	c := a.config
	addresses := map[string]string{"addr": c.Addr, "otlp-http-addr": c.OTLPHTTPAddr, "otlp-grpc-addr": c.OTLPGRPCAddr}
	var faults []error
	for _, flag := range listenerFlags {
		addr := addresses[flag]
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			faults = append(faults, fmt.Errorf("%w; choose another address with --%s or %s", err, flag, envName(flag)))
			continue
		}
		a.listeners[flag] = l
		a.onClose(flag, func(context.Context) error {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return errors.Join(faults...)
}

func (a *app) serveHTTP(flag string, h http.Handler, failed chan<- error) {
	a.serveOn(flag, &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}, failed)
}

// serveOn runs a server on the listener of a flag until the app drains.
func (a *app) serveOn(flag string, srv *http.Server, failed chan<- error) {
	srv.IdleTimeout = 2 * time.Minute
	srv.ErrorLog = slog.NewLogLogger(a.log.With("component", "http").Handler(), slog.LevelDebug)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(a.listeners[flag]); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("--%s: %w", flag, err)
		}
	}()
	a.servers = append(a.servers, closer{flag, func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			a.log.Warn("requests still under way were cut off", "listener", flag)
			err = srv.Close()
		}
		<-done
		return err
	}})
}

// drain tells the open sockets to come back, takes no more requests and lets
// those under way end, on all addresses at the same time.
func (a *app) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	errs := make([]error, len(a.servers)+1)
	var done sync.WaitGroup
	for i, s := range a.servers {
		done.Go(func() {
			if err := s.stop(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", s.name, err)
			}
		})
	}
	errs[len(a.servers)] = a.hub.Close()
	done.Wait()
	return errors.Join(errs...)
}

// close stops everything in reverse order within one deadline and reports what
// would not stop.
func (a *app) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if a.server != nil {
		a.server.Drain()
	}
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		if err := a.closers[i].stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", a.closers[i].name, err))
		}
	}
	a.closers = nil
	return errors.Join(errs...)
}

// address is the base of links to this server: the public URL, or the bound
// address.
func (a *app) address() string {
	if a.config.PublicURL != "" {
		return a.config.PublicURL
	}
	return a.localURL()
}

// localURL is the bound address as this machine reaches it.
func (a *app) localURL() string {
	l := a.listeners["addr"].Addr().(*net.TCPAddr)
	host := l.IP.String()
	if l.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(l.Port))
}

// printSignIn prints the link that makes the first administrator, while there
// is none.
func (a *app) printSignIn(ctx context.Context) error {
	code, err := a.auth.FirstAdminCode(ctx)
	if err != nil || code == "" {
		return err
	}
	_, err = fmt.Fprintf(a.stderr, "\nNo administrator yet. Open this link to become one (once, within 15 minutes):\n\n    %s/welcome?code=%s\n\n", a.address(), code)
	return err
}
