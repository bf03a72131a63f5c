package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// receiver is an OTLP server that keeps the rows it is sent.
type receiver struct {
	mu    sync.Mutex
	spans []trace.Span
	logs  []trace.Span
	keys  []string
	busy  int // requests to refuse first
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, req.Header.Get("x-redthread-key"))
	if r.busy > 0 {
		r.busy--
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	g, err := gzip.NewReader(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(g)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sig, into := otlp.Traces, &r.spans
	if req.URL.Path == "/v1/logs" {
		sig, into = otlp.Logs, &r.logs
	}
	rows, _, err := otlp.DecodeAll(sig, body, otlp.Arrival{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	*into = append(*into, rows...)
}

// importInto runs the command against a server that keeps what it gets.
func importInto(t *testing.T, r *receiver, stdin string, args ...string) (out string, err error) {
	t.Helper()
	srv := httptest.NewServer(r)
	defer srv.Close()
	var stdout, stderr bytes.Buffer
	e := env{strings.NewReader(stdin), &stdout, &stderr, func(string) string { return "" }}
	err = runImport(context.Background(), e, append(args, "--url", srv.URL))
	return strings.ReplaceAll(stdout.String(), srv.URL, "URL"), err
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	otlpFile = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"spans":[
		{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"GET /"}]}]}]}`
	jaegerFile = `{"data":[{"traceID":"84b3fad94c6112ed","spans":[
		{"traceID":"84b3fad94c6112ed","spanID":"487f03177ef9cf89","operationName":"op","startTime":1660049722779884,"duration":10,"processID":"p1"}],
		"processes":{"p1":{"serviceName":"web"}}}]}`
	zipkinFile = `[{"traceId":"14b60fd9ae504820","id":"a0dc23f22c4fee3f","name":"post","timestamp":1543549826259342,"localEndpoint":{"serviceName":"api"}}]`
)

func TestImportFindsTheFormat(t *testing.T) {
	wire, err := otlp.FromJSON(nil, otlp.Traces, []byte(otlpFile))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	g := gzip.NewWriter(&packed)
	if _, err := g.Write([]byte(otlpFile)); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	const otlpID, jaegerID, zipkinID = "0af7651916cd43dd8448eb211c80319c", "000000000000000084b3fad94c6112ed", "000000000000000014b60fd9ae504820"
	tests := []struct{ name, text, form, id string }{
		{"otlp", otlpFile, "OTLP JSON", otlpID},
		{"otlp with a byte order mark", "\xef\xbb\xbf" + otlpFile, "OTLP JSON", otlpID},
		{"otlp, snake case", strings.NewReplacer("resourceSpans", "resource_spans", "scopeSpans", "scope_spans").Replace(otlpFile), "OTLP JSON", otlpID},
		{"otlp lines", strings.ReplaceAll(otlpFile, "\n", "") + "\n" + strings.ReplaceAll(otlpFile, "\n", "") + "\n", "OTLP JSON", otlpID},
		{"otlp protobuf", string(wire), "OTLP protobuf", otlpID},
		{"otlp gzip", packed.String(), "OTLP JSON", otlpID},
		{"jaeger", jaegerFile, "Jaeger JSON", jaegerID},
		{"jaeger single", jaegerFile[len(`{"data":[`) : len(jaegerFile)-2], "Jaeger JSON", jaegerID},
		{"jaeger list", jaegerFile[len(`{"data":`) : len(jaegerFile)-1], "Jaeger JSON", jaegerID},
		{"zipkin", zipkinFile, "Zipkin JSON", zipkinID},
		{"zipkin list of lists", "[" + zipkinFile + "]", "Zipkin JSON", zipkinID},
		{"zipkin single", zipkinFile[1 : len(zipkinFile)-1], "Zipkin JSON", zipkinID},
	}
	for _, tt := range tests {
		r := &receiver{}
		path := writeFile(t, "trace.json", tt.text)
		n := 1 + strings.Count(tt.name, "lines")
		out, err := importInto(t, r, "", path)
		want := fmt.Sprintf("%s: %s, %d spans in 1 traces\n  URL/t/%s\n", path, tt.form, n, tt.id)
		if err != nil || out != want {
			t.Errorf("%s: %v, output:\n%swant:\n%s", tt.name, err, out, want)
			continue
		}
		if len(r.spans) != n || r.spans[0].TraceID.String() != tt.id {
			t.Errorf("%s: the server got %d spans, want %d of trace %s", tt.name, len(r.spans), n, tt.id)
		}
	}
}

func TestImportFromStdinWithKey(t *testing.T) {
	r := &receiver{}
	out, err := importInto(t, r, zipkinFile, "-", "--key", "secret", "--environment", "staging")
	if err != nil || !strings.HasPrefix(out, "stdin: Zipkin JSON, 1 spans") {
		t.Fatalf("%v: %s", err, out)
	}
	if r.keys[0] != "secret" || r.spans[0].Environment != "staging" {
		t.Errorf("the server got key %q, environment %q; want secret, staging", r.keys[0], r.spans[0].Environment)
	}
}

func TestImportLogs(t *testing.T) {
	r := &receiver{}
	text := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","body":{"stringValue":"x"}}]}]}]}`
	out, err := importInto(t, r, text, "-")
	if err != nil || len(r.logs) != 1 || !strings.Contains(out, "1 log records in 1 traces") {
		t.Errorf("%v, %d records at the server, output %s", err, len(r.logs), out)
	}
}

func TestImportNamesFileAndPlace(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", " \n", "the file is empty"},
		{"text", "hello", "neither JSON nor OTLP protobuf"},
		{"cut", "{\n\"resourceSpans\": [", "line 2, column 19: not JSON: it is cut short"},
		{"syntax", "{\n  \"resourceSpans\": nope}", "line 2, column"},
		{"otlp type", "{\"resourceSpans\": [\n{\"scopeSpans\": [{\"spans\": [{\n\"name\": 7}]}]}]}", "line 3, column 9: OTLP: resourceSpans[0].scopeSpans[0].spans[0].name: want a string, got the number 7"},
		{"second line", strings.ReplaceAll(otlpFile, "\n", "") + "\n{\"resourceSpans\": 5}", "line 2, column 19: OTLP: resourceSpans: want an array"},
		{"jaeger type", "{\"data\":[{\"traceID\":\"1\",\n\"spans\":[{\"spanID\":5}]}]}", "line 2, column 21: jaeger: spans.spanID: want a string, got number"},
		{"jaeger id", `{"data":[{"traceID":"","spans":[{"spanID":"1"}]}]}`, `jaeger: trace 0 (), spans[0].traceID: "" is not a trace id`},
		{"zipkin id", `[{"traceId":"1","id":""}]`, `zipkin: [0].id: "" is not a span id`},
		{"zipkin v1", `[{"traceId":"1","id":"2","binaryAnnotations":[]}]`, "version 1"},
		{"metrics", `{"resourceMetrics":[]}`, "metrics"},
		{"no spans", `{"resourceSpans":[]}`, "no spans"},
		{"other JSON", `{"hello":"world"}`, "not a trace"},
	}
	for _, tt := range tests {
		r := &receiver{}
		path := writeFile(t, "bad.json", tt.text)
		_, err := importInto(t, r, "", path)
		if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant the file and %q", tt.name, err, tt.want)
		}
		if len(r.keys) != 0 {
			t.Errorf("%s: %d requests were sent", tt.name, len(r.keys))
		}
	}
	if _, err := importInto(t, &receiver{}, "", "/does/not/exist.json"); err == nil || !strings.Contains(err.Error(), "/does/not/exist.json") {
		t.Errorf("missing file: %v, want its name", err)
	}
}

func TestImportGoesOnAfterABadFile(t *testing.T) {
	r := &receiver{}
	out, err := importInto(t, r, "", writeFile(t, "bad.json", "x"), writeFile(t, "good.json", zipkinFile))
	if err == nil || len(r.spans) != 1 || !strings.Contains(out, "good.json: Zipkin JSON") {
		t.Errorf("%v, %d spans, output %s; want the good file imported and an error for the bad one", err, len(r.spans), out)
	}
}

func TestImportNewIDs(t *testing.T) {
	const short = `[{"traceId":"a","id":"1","name":"root"},{"traceId":"a","id":"2","parentId":"1","name":"child"}]`
	get := func(text string, args ...string) []trace.Span {
		t.Helper()
		r := &receiver{}
		if _, err := importInto(t, r, text, append(args, "-")...); err != nil {
			t.Fatal(err)
		}
		return r.spans
	}
	a, again, other := get(short), get(short), get(short+"\n")
	if a[0].TraceID.String() == "0000000000000000000000000000000a" || a[0].TraceID != again[0].TraceID || a[0].TraceID == other[0].TraceID {
		t.Errorf("short ids: %s, again %s, other file %s; want new ones, the same for the same file", a[0].TraceID, again[0].TraceID, other[0].TraceID)
	}
	if a[0].TraceID != a[1].TraceID || a[1].ParentID != a[0].SpanID {
		t.Errorf("new ids do not fit each other: %+v", a)
	}
	if v, _ := a[0].Attribute("trace.original_id"); v.Str != "a" {
		t.Errorf("trace.original_id = %q, want a", v.Str)
	}
	if kept := get(short, "--new-ids=false"); kept[0].TraceID.String() != "0000000000000000000000000000000a" {
		t.Errorf("--new-ids=false: %s, want the id as it was", kept[0].TraceID)
	}
	if long := get(zipkinFile); long[0].TraceID.String() != "000000000000000014b60fd9ae504820" {
		t.Errorf("long id: %s, want it as it was", long[0].TraceID)
	}
	if salted := get(zipkinFile, "--new-ids"); salted[0].TraceID.String() == "000000000000000014b60fd9ae504820" {
		t.Errorf("--new-ids keeps the id")
	}
}

func TestSenderComesAgain(t *testing.T) {
	r := &receiver{busy: 3}
	srv := httptest.NewServer(r)
	defer srv.Close()
	s := newSender(srv.URL, "")
	var waits []time.Duration
	s.wait = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
	if _, err := s.send(context.Background(), "/v1/traces", nil); err != nil {
		t.Fatalf("send: %v", err)
	}
	if len(waits) != 3 || waits[0] != 3*time.Second {
		t.Errorf("waits %v, want three of at least the 3 s of Retry-After", waits)
	}
	r.busy = 1000
	if _, err := s.send(context.Background(), "/v1/traces", nil); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("send to a server that stays busy: %v, want an error that says 503", err)
	}
	srv.Close()
	if _, err := s.send(context.Background(), "/v1/traces", nil); err == nil || !strings.Contains(err.Error(), "is the server running?") {
		t.Errorf("send to nobody: %v", err)
	}
}
