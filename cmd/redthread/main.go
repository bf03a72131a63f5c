// Command redthread is the whole product in one binary: the server, the demo and
// the commands around it. It reads the configuration, wires the packages and
// runs them; it has no rules of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

// version is set by the linker (see Makefile).
var version = "unknown"

// env is what a command may touch of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// command is one subcommand. run returns the error to print, or flag.ErrHelp.
type command struct {
	name, args, help string
	run              func(ctx context.Context, e env, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "[flags]", "run the server (the default)", runServe},
		{"demo", "[flags]", "serve a living car marketplace with an incident to find", runDemo},
		{"import", "FILE…", "load trace files (OTLP JSON or protobuf, Jaeger JSON, Zipkin JSON); - is stdin", runImport},
		{"token", "create|list|revoke", "API tokens", runToken},
		{"key", "create|list|revoke|attributes", "ingest keys", runKey},
		{"user", "create|list|reset|deactivate", "accounts", runUser},
		{"origin", "TRACE[:SPAN]", "what caused a span or a trace, as JSON or --text", runOrigin},
		{"thread", "TRACE[:SPAN]", "everything its origin set off, as JSON or --text", runThread},
		{"query", "SPEC.json", "run a query, as JSON; - is stdin", runQuery},
		{"backup", "DIR", "copy everything that is stored, also of a running server", runBackup},
		{"check", "[flags]", "read everything that is stored and say what is wrong", runCheck},
		{"version", "", "print the version", runVersion},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// A second signal ends the process at once: give the default handling back
	// as soon as the first one came.
	go func() { <-ctx.Done(); stop() }()
	e := env{os.Stdin, os.Stdout, os.Stderr, os.Getenv}
	os.Exit(dispatch(ctx, e, os.Args[1:]))
}

// dispatch runs the named command and returns the exit code: 0 fine, 1 it
// failed, 2 it was called wrongly.
func dispatch(ctx context.Context, e env, args []string) int {
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if name == "help" || len(args) > 0 && name == "serve" && slices.Contains([]string{"-h", "--help", "-help"}, args[0]) {
		usage(e.stdout)
		if name == "help" {
			return 0
		}
		fmt.Fprintln(e.stdout)
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		err := c.run(ctx, e, args)
		var u usageError
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, &u):
			fmt.Fprintf(e.stderr, "redthread %s: %v\nusage: redthread %s %s\n", name, err, name, c.args)
			return 2
		}
		fmt.Fprintf(e.stderr, "redthread %s: %v\n", name, err)
		return 1
	}
	fmt.Fprintf(e.stderr, "redthread: there is no command %q\n\n", name)
	usage(e.stderr)
	return 2
}

// usageError says that a command was called wrongly.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

func usage(w io.Writer) {
	fmt.Fprint(w, "redthread follows a request through everything it sets off.\n\nusage: redthread [command] [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %-30s %s\n", c.name, c.args, c.help)
	}
	fmt.Fprint(w, "\nredthread COMMAND --help shows the flags of a command.\n")
}

func runVersion(_ context.Context, e env, _ []string) error {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "unknown" {
		v = info.Main.Version
	}
	_, err := fmt.Fprintf(e.stdout, "redthread %s %s %s/%s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
