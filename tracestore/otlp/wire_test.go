package otlp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"redthread/tracestore/trace"
)

func TestValidateRefuses(t *testing.T) {
	span := func(fields ...byte) []byte {
		return appendBytesField(nil, 1, appendBytesField(nil, 2, appendBytesField(nil, 2, fields)))
	}
	deep := []byte{}
	for range 200 {
		deep = appendBytesField(nil, 5, appendBytesField(nil, 1, deep)) // array in array
	}
	nested := appendBytesField(nil, 9, appendBytesField([]byte("\x0a\x01k"), 2, deep))
	tests := []struct {
		name string
		raw  []byte
		want string
	}{
		{"tag cut", []byte{0x80}, "cut short"},
		{"length past the end", []byte{0x0a, 5, 1}, "cut short"},
		{"long length past the end", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, "cut short"},
		{"huge length", append([]byte{0x0a}, bytes.Repeat([]byte{0xff}, 9)...), "cut short"},
		{"varint of 11 bytes", append([]byte{0x08}, bytes.Repeat([]byte{0xff}, 11)...), "longer than 10"},
		{"field 0", []byte{0x02, 0}, "number 0"},
		{"wire type 6", []byte{0x0e}, "wire type"},
		{"stray end of group", []byte{0x0c}, "group"},
		{"group without end", []byte{0x7b, 0x08, 1}, "group"},
		{"groups too deep", bytes.Repeat([]byte{0x7b}, 500), "nested deeper"},
		{"resource spans as number", []byte{0x08, 1}, "resource_spans has wire type 0, want 2"},
		{"trace id as number", span(0x08, 1), "trace_id has wire type 0, want 2"},
		{"start as varint", span(0x38, 1), "start_time_unix_nano has wire type 0, want 1"},
		{"fixed64 cut", span(0x39, 1, 2, 3), "cut short"},
		{"fixed32 cut", append(span(), 0x7d, 1), "cut short"},
		{"nested too deep", span(nested...), "nested deeper"},
	}
	for _, tt := range tests {
		_, err := Validate(Traces, tt.raw)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Sentence(), tt.want) {
			t.Errorf("%s: %v, want an InvalidError with %q", tt.name, err, tt.want)
			continue
		}
		if invalid.Offset < 0 || invalid.Offset > len(tt.raw) {
			t.Errorf("%s: offset %d of %d bytes", tt.name, invalid.Offset, len(tt.raw))
		}
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	raw := mustMarshal(t, request(kv("service.name", "web"), oneSpan()))
	// A group with a varint and a group in it, a fixed32 and a string, all unknown.
	raw = append(raw, 0xa3, 0x06, 0x08, 1, 0x13, 0x14, 0xa4, 0x06, 0xfd, 0x07, 1, 2, 3, 4, 0x9a, 0x06, 2, 'h', 'i')
	spans, rep, err := DecodeAll(Traces, raw, Arrival{})
	if v, verr := Validate(Traces, raw); err != nil || verr != nil || len(spans) != 1 || v != rep {
		t.Errorf("%d rows, %v, %v; want one row", len(spans), err, verr)
	}
}

func TestEveryCutIsAnErrorOrFewerSpans(t *testing.T) {
	raw := mustMarshal(t, randomRequest(rand.New(rand.NewPCG(3, 4)), 2, 3))
	for n := range raw {
		v, verr := Validate(Traces, raw[:n])
		_, rep, err := DecodeAll(Traces, raw[:n], Arrival{})
		if verr == nil && (err != nil || v != rep) {
			t.Fatalf("cut at %d: Validate %+v, Decode %+v, %v", n, v, rep, err)
		}
		if verr == nil && v.Accepted == 6 {
			t.Fatalf("cut at %d of %d: still six spans", n, len(raw))
		}
	}
}

func TestExpansionIsBounded(t *testing.T) {
	// A resource of 1 MiB over 600 tiny spans would become 600 MiB of rows.
	td := request(kv("big", strings.Repeat("x", 1<<20)))
	for range 600 {
		td.ResourceSpans[0].ScopeSpans[0].Spans = append(td.ResourceSpans[0].ScopeSpans[0].Spans, oneSpan())
	}
	_, err := Validate(Traces, mustMarshal(t, td))
	if err == nil || !strings.Contains(err.Error(), "512 MiB") {
		t.Errorf("Validate = %v, want a refusal that names the limit", err)
	}
}

// split collects the parts.
func split(sig Signal, raw []byte, maxBytes int) (parts [][]byte, err error) {
	err = Split(sig, raw, maxBytes, func(part []byte) error {
		parts = append(parts, part)
		return nil
	})
	return parts, err
}

// sameRows compares rows whose own memory may differ.
func sameRows(a, b []trace.Span) string { return cmp.Diff(a, b) }

func TestSplit(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		raw := mustMarshal(t, randomRequest(r, 1+r.IntN(4), 1+r.IntN(60)))
		whole, _, err := DecodeAll(Traces, raw, Arrival{})
		if err != nil {
			t.Fatal(err)
		}
		limit := 1500 + r.IntN(8000)
		parts, err := split(Traces, raw, limit)
		if err != nil {
			t.Fatal(err)
		}
		var again []trace.Span
		for _, p := range parts {
			spans, _, err := DecodeAll(Traces, p, Arrival{})
			if err != nil {
				t.Fatalf("part: %v", err)
			}
			if len(p) > limit {
				t.Errorf("a part of %d spans has %d bytes, limit %d", len(spans), len(p), limit)
			}
			again = append(again, spans...)
		}
		if diff := sameRows(whole, again); diff != "" {
			t.Fatalf("the parts hold other rows (-whole +parts):\n%s", diff)
		}
		if min := len(raw) / limit; len(parts) < min || len(parts) > 4*min+8 {
			t.Errorf("%d bytes cut into %d parts of at most %d", len(raw), len(parts), limit)
		}
	}
}

func TestSplitKeepsOneLargeSpanWhole(t *testing.T) {
	big := oneSpan()
	big.Attributes = kv("big", strings.Repeat("x", 5000))
	raw := mustMarshal(t, request(kv("service.name", "web"), oneSpan(), big, oneSpan()))
	parts, err := split(Traces, raw, 1000)
	if err != nil || len(parts) != 3 {
		t.Fatalf("%d parts, %v; want three", len(parts), err)
	}
	for i, p := range parts {
		if spans, _, err := DecodeAll(Traces, p, Arrival{}); err != nil || len(spans) != 1 || spans[0].Service != "web" {
			t.Errorf("part %d: %d rows, %v; want one of service web", i, len(spans), err)
		}
	}
	if parts, err := split(Traces, raw, len(raw)); err != nil || len(parts) != 1 || &parts[0][0] != &raw[0] {
		t.Errorf("a request that fits is not returned as it is: %d parts, %v", len(parts), err)
	}
}

func TestAppendSpansRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	td := randomRequest(r, 3, 40)
	td.ResourceSpans[0].ScopeSpans[0].Spans[0].Attributes = append(td.ResourceSpans[0].ScopeSpans[0].Spans[0].Attributes,
		kv("list", []any{1, "a", 2.5, nil, true, kv("k", []any{})}, "map", kv("b", 1, "a", kv("c", "d")), "raw", []byte{1, 2})...)
	rows, _, err := DecodeAll(Traces, mustMarshal(t, td), Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	raw := AppendSpans(nil, rows)
	var parsed tracepb.TracesData
	if err := proto.Unmarshal(raw, &parsed); err != nil {
		t.Fatalf("protobuf cannot read the encoded rows: %v", err)
	}
	if len(parsed.ProtoReflect().GetUnknown()) > 0 || len(parsed.ResourceSpans) == 0 {
		t.Errorf("encoded rows have unknown fields or no resources")
	}
	again, rep, err := DecodeAll(Traces, raw, Arrival{})
	if err != nil || rep.Rejected != 0 {
		t.Fatalf("decode the encoded rows: %+v, %v", rep, err)
	}
	if diff := sameRows(rows, again); diff != "" {
		t.Errorf("rows changed on the way (-before +after):\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	f.Add(mustMarshal(f, randomRequest(r, 1, 3)))
	f.Add(mustMarshal(f, request(kv("m", kv("a", []any{1, "x"}), "e", nil), oneSpan())))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		for _, sig := range []Signal{Traces, Logs, Metrics} {
			v, verr := Validate(sig, raw)
			if sig == Metrics {
				continue
			}
			rows, rep, err := DecodeAll(sig, raw, Arrival{})
			if verr != nil {
				continue
			}
			if err != nil || rep != v {
				t.Fatalf("%v: Validate %+v, Decode %+v, %v", sig, v, rep, err)
			}
			parts, err := split(sig, raw, 256)
			if err != nil {
				t.Fatalf("%v: split what is valid: %v", sig, err)
			}
			n := 0
			for _, p := range parts {
				pv, err := Validate(sig, p)
				if err != nil {
					t.Fatalf("%v: a part is not valid: %v", sig, err)
				}
				n += pv.Accepted
			}
			if n != v.Accepted {
				t.Fatalf("%v: the parts hold %d records of %d", sig, n, v.Accepted)
			}
			if sig == Traces {
				if ev, err := Validate(Traces, AppendSpans(nil, rows)); err != nil || ev.Accepted != len(rows) {
					t.Fatalf("encode %d rows: %+v, %v", len(rows), ev, err)
				}
			}
		}
	})
}
