package column

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

func TestDictBuilder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b DictBuilder
	want := map[string]uint32{}
	var order []string
	type snapshot struct {
		dict Dict
		n    int
	}
	var snapshots []snapshot
	for range 20000 {
		s := strings.Repeat("x", rng.IntN(20)) + fmt.Sprint(rng.IntN(5000))
		if rng.IntN(100) == 0 {
			s = ""
		}
		id, err := b.ID(s)
		if err != nil {
			t.Fatal(err)
		}
		if known, ok := want[s]; !ok {
			if int(id) != len(order) {
				t.Fatalf("new value %q has id %d, want %d", s, id, len(order))
			}
			want[s] = id
			order = append(order, s)
		} else if known != id {
			t.Fatalf("%q has id %d, want %d", s, id, known)
		}
		if rng.IntN(2000) == 0 {
			b.Reserve(len(order)+rng.IntN(3000), rng.IntN(100_000))
		}
		if rng.IntN(500) == 0 {
			snapshots = append(snapshots, snapshot{b.Dict(), len(order)})
		}
	}
	for _, snap := range snapshots {
		if snap.dict.Len() != snap.n {
			t.Fatalf("a snapshot has %d values, want %d", snap.dict.Len(), snap.n)
		}
		for i := range snap.n {
			if got := snap.dict.At(uint32(i)); got != order[i] {
				t.Fatalf("value %d of a snapshot is %q, want %q", i, got, order[i])
			}
		}
	}
}

// TestRowHashIsStable: hashes are stored, so the function may not
// change.
func TestRowHashIsStable(t *testing.T) {
	s := trace.Span{
		TraceID: trace.ID{1, 2, 3}, SpanID: trace.SpanID{4}, Name: "n", Service: "s", StartUnixNano: 5, DurationNano: 6,
		Attributes: []trace.Attribute{{Key: "k", Value: trace.Int(7)}},
		Events:     []trace.Event{{Name: "e", TimeUnixNano: 8}},
		Links:      []trace.Link{{TraceID: trace.ID{9}}},
	}
	const want = 0x8c364dc3f969107a
	if got := RowHash(&s); got != want {
		t.Fatalf("hash %#x, want %#x", got, uint64(want))
	}
	s.ArrivedUnixNano = 99
	if got := RowHash(&s); got != want {
		t.Error("the hash depends on the arrival")
	}
	for name, change := range map[string]func(*trace.Span){
		"name":      func(s *trace.Span) { s.Name = "m" },
		"value":     func(s *trace.Span) { s.Attributes[0].Value = trace.Int(8) },
		"type":      func(s *trace.Span) { s.Attributes[0].Value.Type = trace.TypeFloat },
		"kind":      func(s *trace.Span) { s.Kind = trace.KindServer },
		"event":     func(s *trace.Span) { s.Events[0].TimeUnixNano++ },
		"link":      func(s *trace.Span) { s.Links[0].SpanID[0]++ },
		"no events": func(s *trace.Span) { s.Events = nil },
		"parent":    func(s *trace.Span) { s.ParentID[7]++ },
	} {
		c := s
		c.Attributes = append([]trace.Attribute(nil), s.Attributes...)
		c.Events = append([]trace.Event(nil), s.Events...)
		c.Links = append([]trace.Link(nil), s.Links...)
		change(&c)
		if RowHash(&c) == want {
			t.Errorf("the fingerprint does not depend on the %s", name)
		}
	}
}

// TestRowHash: a row in parts has the hash of the whole span, whatever part of
// its attributes is shared and in whatever order they stand.
func TestRowHash(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		var s trace.Span
		s.Service, s.Environment, s.StartUnixNano = "web", "uk", rng.Int64()
		for i := range rng.IntN(20) {
			v := trace.Int(rng.Int64N(3))
			if rng.IntN(2) == 0 {
				v = trace.String(strings.Repeat("v", rng.IntN(40)))
			}
			s.Attributes = append(s.Attributes, trace.Attribute{Key: fmt.Sprint("key", i), Value: v})
		}
		want := RowHash(&s)
		whole := NewRow(&s)
		if got := whole.Hash(); got != want {
			t.Fatalf("whole row: hash %#x, want %#x", got, want)
		}
		rng.Shuffle(len(s.Attributes), func(i, j int) {
			s.Attributes[i], s.Attributes[j] = s.Attributes[j], s.Attributes[i]
		})
		row := NewRow(&s)
		cut := rng.IntN(len(s.Attributes) + 1)
		row.Shared = &Shared{Attributes: row.Attributes[cut:], Hashes: row.Hashes[cut:]}
		row.Attributes, row.Hashes = row.Attributes[:cut], row.Hashes[:cut]
		if got := row.Hash(); got != want {
			t.Fatalf("%d of %d attributes shared: hash %#x, want %#x", len(s.Attributes)-cut, len(s.Attributes), got, want)
		}
	}
}

// TestHashText: each byte of a text counts, at every length, and so does the
// length.
func TestHashText(t *testing.T) {
	seen := map[uint64]string{}
	add := func(s string, ascii bool) {
		t.Helper()
		h, got := HashText(s)
		if got != ascii {
			t.Errorf("%q: ascii %v, want %v", s, got, ascii)
		}
		if h != HashString(0, s) {
			t.Errorf("%q: HashText %#x, HashString %#x", s, h, HashString(0, s))
		}
		if other, taken := seen[h]; taken {
			t.Errorf("%q and %q have one hash", s, other)
		}
		seen[h] = s
	}
	for n := range 70 {
		zero := make([]byte, n)
		add(string(zero), true)
		for i := range n {
			zero[i] = 1
			add(string(zero), true)
			zero[i] = 0x80
			add(string(zero), false)
			zero[i] = 0
		}
	}
	if HashString(1, "a") == HashString(2, "a") {
		t.Error("the running hash does not count")
	}
}

func TestAttributesText(t *testing.T) {
	attrs := []trace.Attribute{
		{Key: "b", Value: trace.String("x\"\\\n\x01<é>")},
		{Key: "a", Value: trace.Int(math.MinInt64)},
		{Key: "", Value: trace.Float(5)},
		{Key: "inf", Value: trace.Float(math.Inf(-1))},
		{Key: "tiny", Value: trace.Float(5e-324)},
		{Key: "big", Value: trace.Float(1e300)},
		{Key: "yes", Value: trace.Bool(true)},
		{Key: "no", Value: trace.Bool(false)},
		{Key: "raw", Value: trace.Bytes("\x00\xff")},
		{Key: "json", Value: trace.JSON(`{"a":[1,2]}`)},
		{Key: "none", Value: trace.Value{}},
	}
	text := string(AppendAttributes(nil, attrs))
	got, err := ParseAttributes(text)
	if diff := cmp.Diff(attrs, got); err != nil || diff != "" {
		t.Fatalf("%s: %v (-want +got):\n%s", text, err, diff)
	}
	nan, err := ParseAttributes(string(AppendAttributes(nil, []trace.Attribute{{Key: "nan", Value: trace.Float(math.NaN())}})))
	if err != nil || len(nan) != 1 || !math.IsNaN(nan[0].Value.Float()) {
		t.Fatalf("NaN: %+v, %v", nan, err)
	}
	if got := AppendAttributes(nil, nil); len(got) != 0 {
		t.Fatalf("no attributes: %q", got)
	}
	for _, bad := range []string{"[", "{", `{"a"`, `{"a":}`, `{"a":{"b":1}}`, `5`, `{"a":1e999}`, `{"a":99999999999999999999}`} {
		if got, err := ParseAttributes(bad); err == nil {
			t.Errorf("%s gives %+v, want an error", bad, got)
		}
	}
}

func FuzzParseAttributes(f *testing.F) {
	f.Add(`{"a":1,"b":2.0,"c":"x","d":true,"e":{"bytes":"AA=="},"f":{"json":"[]"},"g":{"float":"NaN"}}`)
	f.Add(``)
	f.Fuzz(func(t *testing.T, text string) {
		attrs, err := ParseAttributes(text)
		if err != nil {
			return
		}
		again, err := ParseAttributes(string(AppendAttributes(nil, attrs)))
		if err != nil || len(again) != len(attrs) {
			t.Fatalf("%q: %d attributes, again %d, %v", text, len(attrs), len(again), err)
		}
	})
}

func BenchmarkDictBuilder(b *testing.B) {
	for _, distinct := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("distinct=%d", distinct), func(b *testing.B) {
			values := make([]string, distinct)
			for i := range values {
				values[i] = fmt.Sprintf("/some/path/%d", i*7919%distinct)
			}
			b.ReportAllocs()
			var d DictBuilder
			for i := 0; b.Loop(); i++ {
				if _, err := d.ID(values[i%distinct]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
