package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// maxPayload bounds one message of the ingest log: a part of a request that was
// cut at span boundaries (DESIGN.md §5.1).
const maxPayload = 8 << 20

func jetstreamPath(data string) string { return filepath.Join(data, "jetstream") }

// startNATS connects to the configured server, or starts one inside the process
// that opens no socket and keeps its streams under the data folder. The returned
// function closes the connection and ends the inner server.
func startNATS(c Config) (*nats.Conn, func(), error) {
	opts := []nats.Option{
		nats.Name("redthread"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.RetryOnFailedConnect(false),
	}
	if c.NATSURL != "" {
		nc, err := nats.Connect(c.NATSURL, opts...)
		if err != nil {
			return nil, nil, fmt.Errorf("connect to NATS at --nats-url: %w", err)
		}
		return nc, nc.Close, nil
	}
	so := &server.Options{
		ServerName: "redthread",
		DontListen: true,
		JetStream:  true,
		StoreDir:   jetstreamPath(c.Data),
		MaxPayload: maxPayload,
		NoSigs:     true,
		NoLog:      true,
		// Limits of the disk are ours to keep (DESIGN.md §5.6): the store refuses
		// before the disk is full, and says why.
		JetStreamMaxStore:  1 << 50,
		JetStreamMaxMemory: 64 << 20,
	}
	if c.IngestSync == "always" {
		so.SyncAlways = true
	} else {
		so.SyncInterval = time.Second
	}
	ns, err := server.NewServer(so)
	if err != nil {
		return nil, nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(30 * time.Second) {
		ns.Shutdown()
		return nil, nil, fmt.Errorf("embedded NATS server: not ready within 30 s")
	}
	nc, err := nats.Connect("", append(opts, nats.InProcessServer(ns))...)
	if err != nil {
		ns.Shutdown()
		return nil, nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return nc, func() {
		nc.Close()
		ns.Shutdown()
		ns.WaitForShutdown()
	}, nil
}
