package tracestore

import (
	"context"
	"errors"
	"testing"
	"time"

	"redthread/tracestore/ingestlog"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
)

// gatedLog holds each Append until it is let through.
type gatedLog struct {
	ingestlog.Log
	entered, leave chan struct{}
}

func (l *gatedLog) Append(ctx context.Context, msg []byte) (uint64, error) {
	l.entered <- struct{}{}
	<-l.leave
	return l.Log.Append(ctx, msg)
}

// TestAppendOfSenderThatGoes: a body is the sender's again when Append returns. One
// that the log has not begun to take is withdrawn, one that it has is answered.
func TestAppendOfSenderThatGoes(t *testing.T) {
	checkLeaks(t)
	inner, stopLog := logtest.Start(t, t.TempDir())
	defer stopLog()
	gate := &gatedLog{inner, make(chan struct{}), make(chan struct{})}
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: gate, MinFreeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, s.Close()) }()

	type answer struct {
		n   int
		err error
	}
	answers := make(chan answer, 3)
	send := func(ctx context.Context, n int) {
		raw := otlp.AppendSpans(nil, testSpans(3*n, 3))
		_, err := s.Append(ctx, Batch{Format: FormatOTLPProto, Raw: raw})
		for i := range raw {
			raw[i] = 0xff // the sender uses its buffer again
		}
		answers <- answer{n, err}
	}
	within := func(what string) answer {
		t.Helper()
		select {
		case a := <-answers:
			return a
		case <-time.After(60 * time.Second):
			t.Fatalf("%s: no answer in 60 s", what)
			return answer{}
		}
	}
	taken, goTaken := context.WithCancel(t.Context())
	defer goTaken()
	waiting, goWaiting := context.WithCancel(t.Context())
	defer goWaiting()
	go send(taken, 0)
	<-gate.entered
	go send(waiting, 1)
	deadline := time.Now().Add(60 * time.Second)
	for len(s.requests) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the second request does not wait")
		}
		time.Sleep(time.Millisecond)
	}
	goTaken()
	goWaiting()
	if a := within("withdrawn"); a.n != 1 || !errors.Is(a.err, context.Canceled) {
		t.Fatalf("request %d answered %v; want the waiting one canceled", a.n, a.err)
	}
	gate.leave <- struct{}{}
	if a := within("taken"); a.n != 0 || a.err != nil {
		t.Fatalf("request %d answered %v; want the taken one acknowledged", a.n, a.err)
	}
	// Another one shows that what was withdrawn is passed over.
	go send(t.Context(), 2)
	<-gate.entered
	gate.leave <- struct{}{}
	if a := within("third"); a.err != nil {
		t.Fatal(a.err)
	}
	for s.Stats().AppendedRowsTotal < 6 {
		if time.Now().After(deadline) {
			t.Fatalf("stats %+v; want 6 rows", s.Stats())
		}
		time.Sleep(time.Millisecond)
	}
	for n, want := range []int{3, 0, 3} {
		got, _, err := s.TraceSpans(t.Context(), traceID(n), 10)
		if err != nil || len(got) != want {
			t.Errorf("trace %d: %d spans, %v; want %d", n, len(got), err, want)
		}
	}
}
