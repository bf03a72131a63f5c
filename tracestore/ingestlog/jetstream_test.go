package ingestlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"redthread/tracestore/ingestlog"
	"redthread/tracestore/ingestlog/logtest"
)

func read(t *testing.T, l ingestlog.Log, from, through uint64) map[uint64]string {
	t.Helper()
	got := map[uint64]string{}
	err := l.Read(t.Context(), from, through, func(seq uint64, msg []byte) error {
		got[seq] = string(msg)
		return nil
	})
	if err != nil {
		t.Fatalf("read %d..%d: %v", from, through, err)
	}
	return got
}

func TestJetStream(t *testing.T) {
	dir := t.TempDir()
	log, stop := logtest.Start(t, dir)
	ctx := t.Context()
	st, err := log.State(ctx)
	if err != nil || st.First != 1 || st.Last != 0 || st.Identity == "" {
		t.Fatalf("new log: state %+v, %v", st, err)
	}
	if got := read(t, log, 1, 100); len(got) != 0 {
		t.Fatalf("new log has %v", got)
	}
	for i := uint64(1); i <= 10; i++ {
		seq, err := log.Append(ctx, fmt.Appendf(nil, "m%d", i))
		if err != nil || seq != i {
			t.Fatalf("append %d: seq %d, %v", i, seq, err)
		}
	}
	big := bytes.Repeat([]byte("x"), ingestlog.MaxMessageBytes)
	if _, err := log.Append(ctx, big); err != nil {
		t.Fatalf("append the longest message: %v", err)
	}
	if _, err := log.Append(ctx, append(big, 'x')); err == nil {
		t.Fatal("a message over the limit was taken")
	}
	if got := read(t, log, 4, 6); len(got) != 3 || got[4] != "m4" || got[6] != "m6" {
		t.Fatalf("read 4..6: %v", got)
	}
	if err := log.Trim(ctx, 5); err != nil {
		t.Fatal(err)
	}
	if got := read(t, log, 1, 100); len(got) != 6 || got[6] != "m6" || len(got[11]) != len(big) {
		t.Fatalf("after trim: %d messages", len(got))
	}
	stopped := errors.New("stop")
	if err := log.Read(ctx, 6, 11, func(uint64, []byte) error { return stopped }); !errors.Is(err, stopped) {
		t.Fatalf("fn's error: got %v", err)
	}
	stop()

	log, stop = logtest.Start(t, dir)
	again, err := log.State(ctx)
	if err != nil || again.Identity != st.Identity || again.First != 6 || again.Last != 11 {
		t.Fatalf("reopened: state %+v, %v; identity was %s", again, err, st.Identity)
	}
	if err := log.Trim(ctx, 11); err != nil {
		t.Fatal(err)
	}
	if again, err = log.State(ctx); err != nil || again.First != 12 || again.Last != 11 {
		t.Fatalf("emptied: state %+v, %v", again, err)
	}
	stop()

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	log, _ = logtest.Start(t, dir)
	fresh, err := log.State(ctx)
	if err != nil || fresh.Identity == st.Identity || fresh.Last != 0 {
		t.Fatalf("lost log: state %+v, %v; want a new identity, old was %s", fresh, err, st.Identity)
	}
}

func TestJetStreamReadCancelled(t *testing.T) {
	log, _ := logtest.Start(t, t.TempDir())
	if _, err := log.Append(t.Context(), []byte("m")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := log.Read(ctx, 1, 1, func(uint64, []byte) error { cancel(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}
