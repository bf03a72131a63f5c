package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"redthread/collab"
)

// client calls a running server's API.
type client struct {
	url, token string
	http       *http.Client
}

// clientFlags adds --url, --token and --data to a command's flags; the returned
// function makes the client after parsing. role is what the command needs of the
// token that it makes for itself.
func clientFlags(fs *flag.FlagSet, e env, role collab.Role) func(context.Context) (*client, error) {
	url := fs.String("url", e.getenv("REDTHREAD_URL"), "address of the server; empty: --addr")
	addr := fs.String("addr", e.getenv("REDTHREAD_ADDR"), "address the server listens on; empty: what the server on --data says, else 127.0.0.1:8080")
	token := fs.String("token", e.getenv("REDTHREAD_TOKEN"), "API token; empty: one is made in --data for five minutes")
	data := fs.String("data", or(e.getenv("REDTHREAD_DATA"), "./redthread-data"), "data folder of the server, where a token can be made")
	return func(ctx context.Context) (*client, error) {
		if *url == "" && *addr == "" {
			*url = or(announced(*data), "http://127.0.0.1:8080")
		}
		base, err := serverURL(*url, *addr)
		if err != nil {
			return nil, err
		}
		c := &client{url: base, token: *token, http: &http.Client{Timeout: 5 * time.Minute}}
		if c.token == "" {
			t, err := shortToken(ctx, *data, role)
			if err != nil {
				return nil, fmt.Errorf("give --token or REDTHREAD_TOKEN, or the server's folder as --data: %w", err)
			}
			c.token = t
		}
		return c, nil
	}
}

// serverURL is the address to call: url, or else the server that listens on addr.
func serverURL(url, addr string) (string, error) {
	if url != "" {
		return strings.TrimSuffix(url, "/"), nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usageError{fmt.Sprintf("--addr: want host:port, got %q", addr)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// apiError is a request that the server refused.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

// call sends one request and copies a successful answer's JSON, indented, to w.
func (c *client) call(ctx context.Context, method, path string, body []byte, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from %s (is the server running?): %w", c.url, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if res.StatusCode/100 != 2 {
		var fault struct {
			Error struct{ Message, Field string } `json:"error"`
		}
		if json.Unmarshal(raw, &fault) == nil && fault.Error.Message != "" {
			if fault.Error.Field != "" {
				fault.Error.Message += " (" + fault.Error.Field + ")"
			}
			return &apiError{res.StatusCode, fault.Error.Message}
		}
		return &apiError{res.StatusCode, fmt.Sprintf("%s answered %s", path, res.Status)}
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return fmt.Errorf("%s answered no JSON: %w", path, err)
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(w)
	return err
}

// clientCommand is a command that takes one argument and calls the API.
type clientCommand struct {
	name, usage string
	role        collab.Role         // what it needs of the token that it makes for itself
	flags       func(*flag.FlagSet) // its own flags, or nil
	do          func(c *client, arg string) error
}

func (k clientCommand) run(ctx context.Context, e env, args []string) error {
	fs := flag.NewFlagSet(k.name, flag.ContinueOnError)
	fs.SetOutput(e.stderr)
	fs.Usage = func() {
		fmt.Fprint(e.stderr, k.usage)
		fs.PrintDefaults()
	}
	if k.flags != nil {
		k.flags(fs)
	}
	open := clientFlags(fs, e, k.role)
	rest, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError{fmt.Sprintf("want one argument, got %d", len(rest))}
	}
	c, err := open(ctx)
	if err != nil {
		return err
	}
	return k.do(c, rest[0])
}

// parseMixed parses flags that may stand before and after the arguments.
func parseMixed(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err.Error()}
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

const queryUsage = `usage: redthread query [flags] SPEC.json

Runs a query, in the form that POST /api/v1/query takes, on a running server and
prints the answer as JSON; - reads it from stdin.

`

func runQuery(ctx context.Context, e env, args []string) error {
	return clientCommand{name: "query", usage: queryUsage, role: collab.RoleViewer, do: func(c *client, arg string) error {
		var spec []byte
		var err error
		if arg == "-" {
			spec, err = io.ReadAll(e.stdin)
		} else {
			spec, err = os.ReadFile(arg)
		}
		if err != nil {
			return fmt.Errorf("read the query: %w", err)
		}
		return c.call(ctx, http.MethodPost, "/api/v1/query", spec, e.stdout)
	}}.run(ctx, e, args)
}
