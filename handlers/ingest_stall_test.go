package handlers

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestIngestStalledBody wants back what a sender that stalls has reserved, and
// the connection of one that does not stall as good as before.
func TestIngestStalledBody(t *testing.T) {
	in := NewIngest(IngestOptions{Store: &batchStore{}, Keys: oneKey{}, Open: true, BodyTimeout: 100 * time.Millisecond})
	srv := ingestServer(t, in)
	conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	request := func(length int, body []byte) *http.Response {
		t.Helper()
		_, err := fmt.Fprintf(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n%s", length, body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	raw := testSpans(1)
	if res := request(len(raw), raw); res.StatusCode != http.StatusOK {
		t.Fatalf("a whole body: status %d, want 200", res.StatusCode)
	}
	if res := request(maxSentBytes, raw); res.StatusCode != http.StatusRequestTimeout {
		t.Fatalf("a body that stalls: status %d, want 408", res.StatusCode)
	}
	if n := in.Stats().InFlightBytes; n != 0 {
		t.Errorf("%d bytes are still in flight, want none", n)
	}
}
