package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"

	"redthread/tracestore/jaeger"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
	"redthread/tracestore/zipkin"
)

const (
	// maxImportBytes bounds one file, which is read whole.
	maxImportBytes = 1 << 30
	// importBatchBytes and importBatchSpans bound one request.
	importBatchBytes = 4 << 20
	importBatchSpans = 4096
	// maxImportLinks bounds the links printed for one file.
	maxImportLinks = 20
	// shortID is the first trace id of 8 hex digits. Files with ids below it
	// (made by hand, or by counting) get new ones, as theirs will clash.
	shortID = 1 << 28
)

const importUsage = `usage: redthread import [flags] FILE…

Loads trace files into a running server: OTLP spans or log records (JSON or
protobuf), Jaeger JSON or Zipkin v2 JSON, gzipped or not, at most 1 GiB each. What a
file holds is found by looking into it; JSON values may follow each other, one a
line. A FILE of - is standard input. Prints the links of the first traces of each
file. It goes on after a file that cannot be read, and then ends with 1.

`

// runImport loads trace files into a running server, over OTLP.
func runImport(ctx context.Context, e env, args []string) error {
	fs := flag.NewFlagSet("import", flag.ContinueOnError)
	fs.SetOutput(e.stderr)
	fs.Usage = func() {
		fmt.Fprint(e.stderr, importUsage)
		fs.PrintDefaults()
	}
	url := fs.String("url", e.getenv("REDTHREAD_URL"), "address of the server; empty: --addr")
	addr := fs.String("addr", or(e.getenv("REDTHREAD_ADDR"), "127.0.0.1:8080"), "address the server listens on")
	key := fs.String("key", e.getenv("REDTHREAD_KEY"), "ingest key, where the server wants one")
	environment := fs.String("environment", "", "environment of spans that name none")
	var newIDs optionalBool
	fs.Var(&newIDs, "new-ids", "salt the ids with the file's hash, so that files with equal ids stay apart (default: only files whose trace ids are under 8 hex digits)")
	files, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usageError{"want one file or more, or - for stdin"}
	}
	base, err := serverURL(*url, *addr)
	if err != nil {
		return err
	}
	im := importer{sender: newSender(base, *key), stdout: e.stdout, environment: *environment, newIDs: newIDs}
	var faults []error
	for _, name := range files {
		if err := im.file(ctx, name, e.stdin); err != nil {
			if ctx.Err() != nil {
				return err
			}
			faults = append(faults, err)
			if errors.Is(err, errUnreachable) {
				break
			}
		}
	}
	return errors.Join(faults...)
}

// optionalBool is a flag that knows whether it was given.
type optionalBool struct{ set, value bool }

func (o *optionalBool) String() string   { return "" }
func (o *optionalBool) IsBoolFlag() bool { return true }
func (o *optionalBool) Set(s string) error {
	v, err := parseBool(s)
	o.set, o.value = true, v
	return err
}

type importer struct {
	sender      *sender
	stdout      io.Writer
	environment string
	newIDs      optionalBool
}

// placeError is a fault at a place of a file.
type placeError struct {
	file    string
	raw     []byte
	offset  int64 // -1: not known
	message string
}

func (e *placeError) Error() string {
	if e.offset < 0 || e.offset > int64(len(e.raw)) {
		return fmt.Sprintf("%s: %s", e.file, e.message)
	}
	before := e.raw[:e.offset]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("%s, line %d, column %d: %s", e.file, line, column, e.message)
}

// file imports one file and prints what came of it.
func (im *importer) file(ctx context.Context, name string, stdin io.Reader) error {
	raw, err := readImport(name, stdin)
	if err != nil {
		return err
	}
	if name == "-" {
		name = "stdin"
	}
	docs, err := readDocuments(name, raw)
	if err != nil {
		return err
	}
	var spans []trace.Span
	var logs [][]byte
	form := ""
	for _, d := range docs {
		form = d.form
		if d.logs != nil {
			logs = append(logs, d.logs)
			continue
		}
		spans = append(spans, d.spans...)
	}
	if im.newIDs.set && im.newIDs.value || !im.newIDs.set && shortIDs(spans) {
		if len(logs) > 0 {
			return &placeError{name, raw, -1, "log records keep their ids: import them without --new-ids"}
		}
		renameIDs(spans, sha256.Sum256(raw))
	}
	if im.environment != "" {
		for i := range spans {
			if e := spans[i].Environment; e == "" || e == "default" {
				spans[i].Environment = im.environment
			}
		}
	}
	var total sendResult
	for len(spans) > 0 {
		n := min(len(spans), importBatchSpans)
		err := otlp.Split(otlp.Traces, otlp.AppendSpans(nil, spans[:n]), importBatchBytes, func(part []byte) error {
			res, err := im.sender.send(ctx, "/v1/traces", part)
			if err == nil {
				total.add(res)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		total.seen(spans[:n])
		spans = spans[n:]
	}
	for _, part := range logs {
		rep, err := otlp.Validate(otlp.Logs, part)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		res, err := im.sender.send(ctx, "/v1/logs", part)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		total.add(res)
		rows, _, err := otlp.DecodeAll(otlp.Logs, part, otlp.Arrival{})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		total.seen(rows)
		total.records += rep.Rejected
	}
	return im.report(name, form, total)
}

// report prints what was imported and where it is to be seen.
func (im *importer) report(name, form string, total sendResult) error {
	what := "spans"
	if strings.Contains(form, "logs") {
		what = "log records"
	}
	fmt.Fprintf(im.stdout, "%s: %s, %d %s in %d traces\n", name, form, total.records-total.rejected, what, len(total.traces))
	if total.rejected > 0 {
		fmt.Fprintf(im.stdout, "  %d rejected: %s\n", total.rejected, total.message)
	}
	for i, id := range total.traces {
		if i == maxImportLinks {
			fmt.Fprintf(im.stdout, "  … and %d more\n", len(total.traces)-i)
			break
		}
		fmt.Fprintf(im.stdout, "  %s/t/%s\n", im.sender.base, id)
	}
	if total.records > 0 && total.records == total.rejected {
		return fmt.Errorf("%s: every record was rejected: %s", name, total.message)
	}
	return nil
}

func readImport(name string, stdin io.Reader) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err // names the file
		}
		defer f.Close()
		r = f
	}
	raw, err := readBounded(r)
	if err == nil && len(raw) > 2 && raw[0] == 0x1f && raw[1] == 0x8b {
		var g *gzip.Reader
		if g, err = gzip.NewReader(bytes.NewReader(raw)); err == nil {
			raw, err = readBounded(g)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxImportBytes+1))
	if err == nil && len(raw) > maxImportBytes {
		err = fmt.Errorf("larger than %d bytes", maxImportBytes)
	}
	return raw, err
}

// document is one JSON value or protobuf message of a file.
type document struct {
	form  string // what it turned out to be, for people
	spans []trace.Span
	logs  []byte // an ExportLogsServiceRequest; spans is empty then
}

// readDocuments finds out what a file holds. JSON values may follow each other,
// one a line, as the OpenTelemetry Collector's file exporter writes them.
func readDocuments(name string, raw []byte) ([]document, error) {
	body := bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	start := bytes.TrimLeft(body, " \t\r\n")
	if len(start) == 0 {
		return nil, &placeError{name, raw, -1, "the file is empty"}
	}
	if start[0] != '{' && start[0] != '[' {
		return readProtobuf(name, raw)
	}
	base := int64(len(raw) - len(body))
	var docs []document
	dec := json.NewDecoder(bytes.NewReader(body))
	for dec.More() {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			at := dec.InputOffset()
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				at = syntax.Offset
			} else if errors.Is(err, io.ErrUnexpectedEOF) {
				at = int64(len(body))
				err = errors.New("it is cut short")
			}
			return nil, &placeError{name, raw, base + at, "not JSON: " + err.Error()}
		}
		d, err := readJSON(value)
		if err != nil {
			at, message := placeOf(err)
			if at >= 0 {
				at += base + dec.InputOffset() - int64(len(value))
			}
			return nil, &placeError{name, raw, at, message}
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// placeOf returns where in its value an error lies, -1 if nobody knows.
func placeOf(err error) (offset int64, message string) {
	var o *otlp.InvalidError
	var j *jaeger.InvalidError
	var z *zipkin.InvalidError
	switch {
	case errors.As(err, &o):
		return int64(o.Offset), "OTLP: " + strings.TrimPrefix(o.Field+": "+o.Message, ": ")
	case errors.As(err, &j):
		return j.Offset, err.Error()
	case errors.As(err, &z):
		return z.Offset, err.Error()
	}
	return -1, err.Error()
}

// readJSON reads one JSON value by the keys it has.
func readJSON(raw []byte) (document, error) {
	has := func(keys map[string]json.RawMessage, names ...string) bool {
		for _, n := range names {
			if _, ok := keys[n]; ok {
				return true
			}
		}
		return false
	}
	if raw[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return document{}, err
		}
		if len(list) == 0 {
			return document{}, errors.New("the list is empty")
		}
		var keys map[string]json.RawMessage
		if json.Unmarshal(list[0], &keys) == nil && has(keys, "traceID", "spans") {
			spans, err := jaeger.Decode(raw)
			return document{form: "Jaeger JSON", spans: spans}, err
		}
		spans, err := zipkin.Decode(raw)
		return document{form: "Zipkin JSON", spans: spans}, err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return document{}, err
	}
	switch {
	case has(keys, "resourceSpans", "resource_spans"):
		wire, err := otlp.FromJSON(nil, otlp.Traces, raw)
		if err != nil {
			return document{}, err
		}
		return otlpDocument("OTLP JSON", wire)
	case has(keys, "resourceLogs", "resource_logs"):
		wire, err := otlp.FromJSON(nil, otlp.Logs, raw)
		return document{form: "OTLP JSON logs", logs: wire}, err
	case has(keys, "resourceMetrics", "resource_metrics"):
		return document{}, errors.New("this is OTLP metrics; redthread keeps traces and their logs")
	case has(keys, "data", "spans"):
		spans, err := jaeger.Decode(raw)
		return document{form: "Jaeger JSON", spans: spans}, err
	case has(keys, "traceId") && has(keys, "id"):
		spans, err := zipkin.Decode(raw)
		return document{form: "Zipkin JSON", spans: spans}, err
	}
	return document{}, errors.New(`not a trace: want OTLP JSON (an object with "resourceSpans"), Jaeger JSON ("data" or "spans") or Zipkin JSON (a list of spans)`)
}

func readProtobuf(name string, raw []byte) ([]document, error) {
	d, err := otlpDocument("OTLP protobuf", raw)
	if err != nil {
		return nil, &placeError{name, nil, -1, "neither JSON nor OTLP protobuf: " + err.Error()}
	}
	return []document{d}, nil
}

// otlpDocument decodes an export request into rows.
func otlpDocument(form string, wire []byte) (document, error) {
	if _, err := otlp.Validate(otlp.Traces, wire); err != nil {
		return document{}, err
	}
	spans, rep, err := otlp.DecodeAll(otlp.Traces, wire, otlp.Arrival{})
	switch {
	case err != nil:
		return document{}, err
	case len(spans) == 0 && rep.Rejected > 0:
		return document{}, errors.New(rep.Message)
	case len(spans) == 0:
		return document{}, errors.New("it holds no spans")
	}
	return document{form: form, spans: spans}, nil
}
