package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"redthread/tracestore/otlp"
)

// What is sent in the test of lists: one value that is dropped, one that is hashed
// and one that stays, wherever an attribute may be.
const (
	droppedValue = "somebody@dropped.example"
	hashedValue  = "hashed-number-4711"
	keptValue    = "kept-and-found"
)

// attributesJSON are attributes in OTLP's JSON.
func attributesJSON() string {
	one := func(key, value string) string {
		return fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, key, value)
	}
	in := func(key, value string) string {
		return fmt.Sprintf(`{"key":%q,"value":{"kvlistValue":{"values":[%s]}}}`, key, value)
	}
	return "[" + strings.Join([]string{one("user.email", droppedValue), one("secret", droppedValue), one("account.id", hashedValue), one("kept", keptValue),
		in("user", one("name", droppedValue)), in("account", one("id", hashedValue)), one("messaging.message.id", droppedValue)}, ",") + "]"
}

// spanJSON is a request with one span that has the attributes everywhere.
func spanJSON(id string) string {
	a := attributesJSON()
	return fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":%s},"scopeSpans":[{"scope":{"name":"lib","attributes":%s},"spans":[
		{"traceId":%q,"spanId":"b7ad6b7169203331","name":"work","kind":5,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":%s,
		"events":[{"timeUnixNano":"1","name":"e","attributes":%s}],"links":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","attributes":%s}]}]}]}]}`,
		a, a, id, time.Now().UnixNano(), time.Now().UnixNano()+1e6, a, a, a)
}

func logJSON(id string) string {
	a := attributesJSON()
	return fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":%s},"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","traceId":%q,"spanId":"b7ad6b7169203331",
		"body":{"stringValue":"hello"},"attributes":%s}]}]}]}`, a, time.Now().UnixNano(), id, a)
}

// sendWithKey posts a request with a key.
func sendWithKey(t testing.TB, url, kind, key string, body []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if key != "" {
		req.Header.Set("x-redthread-key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != 200 {
		t.Fatalf("%s: %s %s", url, res.Status, answer)
	}
}

// traceText is what the API says of a trace, all of it, as soon as it is there.
func (p *process) traceText(id string) (text string) {
	p.t.Helper()
	eventually(p.t, patience, "trace "+id, func() (err error) {
		text, err = p.traceTextNow(id)
		return err
	})
	return text
}

func (p *process) traceTextNow(id string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, p.url+"/api/v1/traces/"+id, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+p.admin())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", res.Status, b)
	}
	return string(b), err
}

// TestListsOfKeys sends what a key's lists take out by every protocol, looks for it
// in what the server answers and in all its files, and does so again after a
// restart, with a change made while the server runs, and without a key.
func TestListsOfKeys(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	lists := []string{"--drop", "user.*,secret,messaging.message.id", "--hash", "account.*"}
	key := strings.TrimSpace(run(t, append([]string{"key", "create", "--data", dir, "--environment", "live"}, lists...)...))
	wire := func(id string) []byte {
		raw, err := otlp.FromJSON(nil, otlp.Traces, []byte(spanJSON(id)))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	jaeger := strings.NewReplacer("DROPPED", droppedValue, "HASHED", hashedValue, "KEPT", keptValue).Replace(`{"data":[{"traceID":"00000000000000000000000000000a05","spans":[
		{"traceID":"00000000000000000000000000000a05","spanID":"487f03177ef9cf89","operationName":"op","startTime":1700000000000000,"duration":10,"processID":"p1",
		"tags":[{"key":"user.email","type":"string","value":"DROPPED"},{"key":"account.id","type":"string","value":"HASHED"},{"key":"kept","type":"string","value":"KEPT"}],
		"logs":[{"timestamp":1700000000000001,"fields":[{"key":"event","value":"e"},{"key":"secret","value":"DROPPED"}]}]}],
		"processes":{"p1":{"serviceName":"web","tags":[{"key":"user.name","type":"string","value":"DROPPED"}]}}}]}`)
	zipkin := strings.NewReplacer("DROPPED", droppedValue, "HASHED", hashedValue, "KEPT", keptValue).Replace(`[{"traceId":"00000000000000000000000000000a06","id":"a0dc23f22c4fee3f",
		"name":"post","timestamp":1700000000000000,"localEndpoint":{"serviceName":"api"},"tags":{"user.email":"DROPPED","account.id":"HASHED","kept":"KEPT"}}]`)
	id := func(n int) string { return fmt.Sprintf("%031xa%02x", 0, n)[2:] }
	imported := func(file, text string) string { // its traces get new ids
		out := run(t, "import", "--url", p.url, "--key", key, writeFile(t, file, text))
		_, rest, _ := strings.Cut(out, "/t/")
		return rest[:min(32, len(rest))]
	}
	protocols := []func(id string) string{
		func(id string) string {
			sendWithKey(t, p.otlpHTTP+"/v1/traces", "application/x-protobuf", key, wire(id))
			return id
		},
		func(id string) string {
			sendWithKey(t, p.otlpHTTP+"/v1/traces", "application/json", key, []byte(spanJSON(id)))
			return id
		},
		func(id string) string {
			if err := exportGRPC(t, p.otlpGRPC, wire(id), withHeader("x-redthread-key", key)); err != nil {
				t.Fatal(err)
			}
			return id
		},
		func(id string) string { // and the span that the record is of
			sendWithKey(t, p.otlpHTTP+"/v1/logs", "application/json", key, []byte(logJSON(id)))
			sendWithKey(t, p.otlpHTTP+"/v1/traces", "application/json", key, []byte(spanJSON(id)))
			return id
		},
		func(string) string { return imported("jaeger.json", jaeger) },
		func(string) string { return imported("zipkin.json", zipkin) },
	}
	hash := ""
	look := func(id string) {
		t.Helper()
		text := p.traceText(id)
		if strings.Contains(text, droppedValue) || strings.Contains(text, hashedValue) || !strings.Contains(text, keptValue) {
			t.Errorf("trace %s: %s", id, text)
		}
		at := strings.Index(text, otlp.HashPrefix)
		if at < 0 {
			t.Fatalf("trace %s has no hash: %s", id, text)
		}
		if got := text[at:][:len(otlp.HashPrefix)+32]; hash == "" {
			hash = got
		} else if got != hash {
			t.Errorf("trace %s: the hash is %s, want %s", id, got, hash)
		}
	}
	var stored []string
	for i, send := range protocols {
		stored = append(stored, send(id(i+1)))
		look(stored[i])
	}
	// What joined messages is gone: the origin is not known, and nothing breaks.
	var origin struct{ Status string }
	if status := p.api(http.MethodGet, "/api/v1/traces/"+stored[0]+"/origin", nil, &origin); status != 200 {
		t.Errorf("origin of a trace without its ids: %d %+v", status, origin)
	}

	// A change by another process holds within a second, and asks for no restart.
	other := strings.TrimSpace(run(t, "key", "create", "--data", dir, "--environment", "live", "--name", "other"))
	listed := run(t, "key", "list", "--data", dir)
	otherID := ""
	for _, line := range strings.Split(listed, "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "other" {
			otherID = f[0]
		}
	}
	if !strings.Contains(listed, "user.*") || otherID == "" {
		t.Fatalf("key list: %s", listed)
	}
	run(t, append([]string{"key", "attributes", otherID, "--data", dir}, lists...)...)
	run(t, append([]string{"key", "attributes", "none", "--data", dir}, lists...)...)
	sendWithKey(t, p.otlpHTTP+"/v1/traces", "application/json", other, []byte(spanJSON(id(7))))
	sendWithKey(t, p.otlpHTTP+"/v1/traces", "application/json", "", []byte(spanJSON(id(8))))
	look(id(7))
	look(id(8))
	noFileHas(t, dir, droppedValue, hashedValue)

	p.stop() // flushes
	noFileHas(t, dir, droppedValue, hashedValue)
	p = start(t, dir)
	for _, id := range stored {
		look(id)
	}
	sendWithKey(t, p.otlpHTTP+"/v1/traces", "application/x-protobuf", key, wire(id(9)))
	look(id(9))
	// The lists stand in the backup, and so does the secret.
	copied := filepath.Join(t.TempDir(), "copy")
	run(t, "backup", "--data", dir, copied)
	noFileHas(t, copied, droppedValue, hashedValue)
	p.stop()
	p = start(t, copied)
	sendWithKey(t, p.otlpHTTP+"/v1/traces", "application/x-protobuf", key, wire(id(10)))
	look(id(10))
	p.stop()
}

// withHeader sends a header with a gRPC call.
func withHeader(key, value string) grpc.CallOption {
	return grpc.PerRPCCredentials(headerCredentials{key, value})
}

type headerCredentials [2]string

func (h headerCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{h[0]: h[1]}, nil
}
func (headerCredentials) RequireTransportSecurity() bool { return false }

// noFileHas searches the bytes of every file below a folder.
func noFileHas(t testing.TB, dir string, texts ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if os.IsNotExist(err) { // a server runs on the folder
			return nil
		}
		for _, text := range texts {
			if bytes.Contains(raw, []byte(text)) {
				t.Errorf("%s holds %q", path, text)
			}
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
