package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"redthread/tracestore/trace"
)

// TestStopDespiteStalledSender stops a server to which two senders have begun
// requests that never end. It still has to stop in time, as after any SIGTERM,
// and to keep what it acknowledged.
func TestStopDespiteStalledSender(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	id := trace.ID{15: 7}
	if status, body := send(t, p.otlpHTTP+"/v1/traces", spansIn(id, 10, "default")); status != 200 {
		t.Fatalf("send: %d %s", status, body)
	}
	for _, url := range []string{p.url, p.otlpHTTP} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprint(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000\r\n\r\n\x0a"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, patience, "both bodies are being read", func() error {
		res, err := http.Get(p.url + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), "\nredthread_ingest_in_flight_bytes 65536\n") {
			return errors.New("the two are not in flight")
		}
		return nil
	})
	began := time.Now()
	p.stop()
	if took := time.Since(began); took >= shutdownTimeout {
		t.Errorf("stopping took %v, want to leave the stores time within %v", took, shutdownTimeout)
	}
	q := start(t, dir)
	q.wantSpans(t, id, 10)
	q.stop()
}
