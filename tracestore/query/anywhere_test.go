package query

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/seeds"
	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// TestSearchAnywhere: the rows with a text in any column, against a plain look at
// each row; in stored blocks and in those of memory.
func TestSearchAnywhere(t *testing.T) {
	seed := seeds.One(t)
	has := func(s *trace.Span, text string) bool {
		return s.Name == text || s.Service == text || s.Environment == text || s.StatusMessage == text ||
			slices.ContainsFunc(s.Attributes, func(a trace.Attribute) bool {
				return a.Value.Type != trace.TypeBool && a.Value.Text() == text
			})
	}
	for i := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed+i, 7))
		spans := randomSpans(rng, 1+rng.IntN(400))
		blocks := cut(spans, rng)
		if i%2 == 0 {
			blocks = stored(t, spans, rng)
		}
		texts := []string{"nobody-has-this"}
		for range 20 {
			s := &spans[rng.IntN(len(spans))]
			texts = append(texts, s.Name, s.Service)
			for _, a := range s.Attributes {
				texts = append(texts, a.Value.Text())
			}
		}
		slices.Sort(texts)
		for _, text := range slices.Compact(texts) {
			if text == "" {
				continue
			}
			p, err := CompileSearch(Search{Anywhere: text, AnyTime: true, Limit: MaxSearchRows}, testNow)
			if err != nil {
				t.Fatal(err)
			}
			r, err := RunSearch(t.Context(), p, blocks)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{}
			for k := range spans {
				if s := &spans[k]; s.Signal == trace.SignalSpan && has(s, text) {
					want[fmt.Sprint(s.TraceID, s.SpanID, s.Name)]++
				}
			}
			got := map[string]int{}
			for _, row := range r.Rows {
				got[fmt.Sprint(row.TraceID, row.SpanID, row.Name)]++
				if row.Column == "" {
					t.Errorf("seed %d: %q: the row names no column", seed+i, text)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || r.Partial {
				t.Fatalf("seed %d: %q: partial %t, rows differ (-want +got):\n%s", seed+i, text, r.Partial, diff)
			}
		}
	}
}

// TestSearchAnywhereIsBounded: when the time is over the answer is what was found
// until then, and says so; a search without a bound fails as any other.
func TestSearchAnywhereIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	spans := randomSpans(rng, 400)
	blocks := []column.Block{newTestBlock(spans)}
	p, err := CompileSearch(Search{Anywhere: spans[0].Name, AnyTime: true, Within: 1}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := RunSearch(t.Context(), p, blocks); err != nil || !r.Partial {
		t.Errorf("after a nanosecond: %+v, %v; want a partial answer", r, err)
	}
	if p, err = CompileSearch(Search{Anywhere: spans[0].Name, AnyTime: true, Within: time.Hour}, testNow); err != nil {
		t.Fatal(err)
	}
	if r, err := RunSearch(t.Context(), p, blocks); err != nil || r.Partial || len(r.Rows) == 0 {
		t.Errorf("within an hour: %+v, %v; want the rows, and all of them", r, err)
	}
}
