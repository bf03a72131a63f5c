package tracestore

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"redthread/tracestore/ingestlog"
	"redthread/tracestore/ingestlog/logtest"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// keepingLog keeps what is written to it.
type keepingLog struct {
	ingestlog.Log
	mu   sync.Mutex
	seen [][]byte
}

func (l *keepingLog) Append(ctx context.Context, msg []byte) (uint64, error) {
	l.mu.Lock()
	l.seen = append(l.seen, bytes.Clone(msg))
	l.mu.Unlock()
	return l.Log.Append(ctx, msg)
}

// TestFilterStandsBeforeTheLog: what a filter takes out is not even in the ingest
// log, from requests of any form and size, and those without a filter keep it.
func TestFilterStandsBeforeTheLog(t *testing.T) {
	checkLeaks(t)
	inner, stopLog := logtest.Start(t, t.TempDir())
	defer stopLog()
	log := &keepingLog{Log: inner}
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: log, MinFreeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, s.Close()) }()
	const secret, hashed = "somebody@example.com", "4711-secret-id"
	filter := otlp.NewFilter([]string{"user.*"}, []string{"account"}, []byte("key"))
	n := byte(0)
	request := func(spans int, filler string) ([]byte, trace.ID) {
		n++
		id := trace.ID{15: n}
		list := make([]trace.Span, spans)
		for i := range list {
			list[i] = trace.Span{TraceID: id, SpanID: trace.SpanID{6: byte(i >> 8), 7: byte(i), 0: 1}, Name: "work", Service: "s", Environment: "e", StartUnixNano: 1e18,
				Attributes: []trace.Attribute{{Key: "user.email", Value: trace.String(secret)}, {Key: "account", Value: trace.String(hashed)}, {Key: "filler", Value: trace.String(filler)}}}
		}
		return otlp.AppendSpans(nil, list), id
	}
	json := []byte(fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"user.email","value":{"stringValue":%q}}]},"scopeSpans":[{"spans":[
		{"traceId":"000000000000000000000000000000ff","spanId":"00000000000000ff","name":"x","attributes":[{"key":"account","value":{"stringValue":%q}}]}]}]}]}`, secret, hashed))
	small, smallID := request(3, "")
	large, largeID := request(120, strings.Repeat("x", 40_000)) // several parts
	for name, b := range map[string]Batch{
		"small": {Format: FormatOTLPProto, Raw: small, Filter: filter}, "large": {Format: FormatOTLPProto, Raw: large, Filter: filter},
		"json": {Format: FormatOTLPJSON, Raw: json, Filter: filter},
	} {
		if ack, err := s.Append(t.Context(), b); err != nil || ack.Spans == 0 || ack.Rejected != 0 {
			t.Fatalf("%s: %+v %v", name, ack, err)
		}
	}
	log.mu.Lock()
	for _, msg := range log.seen {
		if bytes.Contains(msg, []byte(secret)) || bytes.Contains(msg, []byte(hashed)) {
			t.Error("the ingest log was given a value that was to be taken out")
		}
	}
	log.mu.Unlock()
	var hashes []string
	for id, want := range map[trace.ID]int{smallID: 3, largeID: 120, {15: 0xff}: 1} {
		spans := storedSpans(t, s, id, want)
		for _, sp := range spans {
			for _, a := range sp.Attributes {
				switch {
				case strings.HasPrefix(a.Key, "user."):
					t.Fatalf("%s is stored: %v", a.Key, a.Value)
				case a.Key == "account":
					hashes = append(hashes, a.Value.Str)
				}
			}
		}
	}
	if len(hashes) != 124 || !strings.HasPrefix(hashes[0], otlp.HashPrefix) || strings.Count(strings.Join(hashes, ""), hashes[0]) != 124 {
		t.Errorf("%d hashes, the first %q; want 124 that are equal", len(hashes), hashes[:min(3, len(hashes))])
	}
	plain, plainID := request(1, "")
	if _, err := s.Append(t.Context(), Batch{Format: FormatOTLPProto, Raw: plain}); err != nil {
		t.Fatal(err)
	}
	if spans := storedSpans(t, s, plainID, 1); len(spans[0].Attributes) != 4 {
		t.Errorf("without a filter: %+v", spans)
	}
}

// storedSpans waits until a trace has so many spans.
func storedSpans(t *testing.T, s *Store, id trace.ID, want int) []trace.Span {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		spans, _, err := s.TraceSpans(t.Context(), id, 1000)
		if err == nil && len(spans) == want {
			return spans
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("trace %s: %d spans, want %d, %v", id, len(spans), want, err)
		}
		time.Sleep(time.Millisecond)
	}
}
