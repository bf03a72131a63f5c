package otlp

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"redthread/tracestore/trace"
)

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return b
}

// decodeOne decodes a request of exactly one accepted record.
func decodeOne(t testing.TB, sig Signal, m proto.Message, in Arrival) trace.Span {
	t.Helper()
	spans, rep, err := DecodeAll(sig, mustMarshal(t, m), in)
	if err != nil || len(spans) != 1 || rep != (Report{Accepted: 1}) {
		t.Fatalf("DecodeAll = %d rows, %+v, %v; want one row", len(spans), rep, err)
	}
	return spans[0]
}
