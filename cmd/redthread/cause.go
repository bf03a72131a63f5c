package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"

	"redthread/collab"
	"redthread/tracestore/trace"
)

const originUsage = `usage: redthread origin [flags] TRACE[:SPAN]

Says what caused a span, across any number of traces: the one request, cron tick
or console behind it and the hops from there. Without SPAN, what caused the
trace. It asks a running server and prints its answer as JSON, or with --text as
sentences. "ambiguous" and "unknown" are answers too, with candidates and the
reason; the command ends with 1 only if there is no answer, as for a trace that
nothing is known about.

`

const threadUsage = `usage: redthread thread [flags] TRACE[:SPAN]

Prints the thread of a trace: its origin and what that set off, as JSON, or with
--text as a sentence and a tree in which like work is counted. With SPAN it is the
thread of that span, which in a batch may be another.

Of a very large thread the JSON counts everything and lists a part: like traces
are counted in "folds", with some of them as examples among "nodes" and "legs". To
list all, one span of each trace, ask POST /api/v1/search for {"any_time": true,
"filters": [{"column": "is_root", "op": "=", "value": true}, {"column":
"origin.trace.trace_id", "op": "=", "value": "TRACE"}]}, page by page with "after".

`

// runOrigin asks for the origin of a span or of a trace.
func runOrigin(ctx context.Context, e env, args []string) error {
	return askCause(ctx, e, args, "origin", originUsage, func(id trace.ID, span string) string {
		if span == "" {
			return "/api/v1/traces/" + id.String() + "/origin"
		}
		return "/api/v1/traces/" + id.String() + "/spans/" + span + "/origin"
	}, originText)
}

// runThread asks for the thread of a span or of a trace.
func runThread(ctx context.Context, e env, args []string) error {
	return askCause(ctx, e, args, "thread", threadUsage, func(id trace.ID, span string) string {
		if span == "" {
			return "/api/v1/traces/" + id.String() + "/thread"
		}
		return "/api/v1/traces/" + id.String() + "/thread?span=" + span
	}, threadText)
}

// askCause asks about TRACE[:SPAN] at the path and prints the answer, which text
// writes for people.
func askCause(ctx context.Context, e env, args []string, name, usage string, path func(id trace.ID, span string) string, text func(w io.Writer, raw []byte) error) error {
	var forPeople bool
	return clientCommand{name: name, usage: usage, role: collab.RoleViewer,
		flags: func(fs *flag.FlagSet) { fs.BoolVar(&forPeople, "text", false, "print sentences instead of JSON") },
		do: func(c *client, arg string) error {
			first, span, named := strings.Cut(arg, ":")
			id, err := trace.ParseID(first)
			if err != nil {
				return usageError{err.Error()}
			}
			if named {
				s, err := trace.ParseSpanID(span)
				if err != nil {
					return usageError{err.Error()}
				}
				span = s.String()
			}
			var b bytes.Buffer
			err = c.call(ctx, http.MethodGet, path(id, span), nil, &b)
			var refused *apiError
			switch {
			case errors.As(err, &refused) && refused.status == http.StatusNotFound:
				return fmt.Errorf("nothing is known about %s on %s: it has not arrived, was sampled out, or is past its time", arg, c.url)
			case err != nil:
				return err
			case forPeople:
				return text(e.stdout, b.Bytes())
			}
			_, err = b.WriteTo(e.stdout)
			return err
		}}.run(ctx, e, args)
}

// place is a span as the API names it.
type place struct {
	TraceID       string `json:"trace_id"`
	SpanID        string `json:"span_id"`
	Service, Name string
	StartUnixNano int64 `json:"start_unix_nano,string"`
}

// decode reads an answer of the API.
func decode(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
