// Package logtest runs a real embedded NATS server for tests.
package logtest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"redthread/tracestore/ingestlog"
)

// Start runs a server with its files in dir and opens the ingest log in it. stop
// ends both; it may be called twice and is called at the end of the test.
func Start(t testing.TB, dir string) (log *ingestlog.JetStream, stop func()) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true,
		MaxPayload: 8 << 20, JetStreamMaxStore: 1 << 40, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatalf("new server: %v", err)
	}
	s.Start()
	if !s.ReadyForConnections(60 * time.Second) {
		t.Fatal("server is not ready after 60 s")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		nc.Close()
		s.Shutdown()
		s.WaitForShutdown()
	}
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	log, err = ingestlog.OpenJetStream(ctx, nc, ingestlog.JetStreamOptions{})
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	return log, stop
}
