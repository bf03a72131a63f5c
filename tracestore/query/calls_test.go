package query

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// callSpans makes traces of spans with random parents in services a to d; a few
// parents are not there, and a few spans share their id with one of another
// service, as Zipkin's halves do.
func callSpans(rng *rand.Rand, traces int) []trace.Span {
	var out []trace.Span
	for range traces {
		var id trace.ID
		binary.LittleEndian.PutUint64(id[:], rng.Uint64())
		binary.LittleEndian.PutUint64(id[8:], rng.Uint64())
		n := 1 + rng.IntN(20)
		var ids []trace.SpanID
		for i := range n {
			s := trace.Span{TraceID: id, Service: string(rune('a' + rng.IntN(4))), Name: "step", Environment: "e", Kind: trace.Kind(rng.IntN(6)),
				StartUnixNano: 1e18 + rng.Int64N(1e12), DurationNano: rng.Int64N(1e9), Error: rng.IntN(5) == 0}
			binary.LittleEndian.PutUint64(s.SpanID[:], rng.Uint64())
			if i > 0 {
				s.ParentID = ids[rng.IntN(len(ids))]
				if rng.IntN(20) == 0 {
					s.ParentID = trace.SpanID{1, 2, 3}
				}
				if rng.IntN(20) == 0 {
					s.SpanID = ids[rng.IntN(len(ids))]
					s.Service = "d"
				}
			}
			ids = append(ids, s.SpanID)
			out = append(out, s)
		}
	}
	return out
}

// plainCalls is the definition: for each span that passes, the service of its
// parent, unless one of the spans of that id is of the span's own service.
// either counts those of which several other services share the id: any counts.
func plainCalls(spans []trace.Span, passes func(*trace.Span) bool) (calls map[[2]string]Call, missing, either float64) {
	at := map[trace.Ref][]*trace.Span{}
	for i := range spans {
		at[spans[i].Ref()] = append(at[spans[i].Ref()], &spans[i])
	}
	calls = map[[2]string]Call{}
	for i := range spans {
		s := &spans[i]
		if s.ParentID.IsZero() || !passes(s) {
			continue
		}
		parents := at[trace.Ref{TraceID: s.TraceID, SpanID: s.ParentID}]
		own, several := false, false
		for _, p := range parents {
			own = own || p.Service == s.Service
			several = several || p.Service != parents[0].Service
		}
		switch {
		case len(parents) == 0:
			missing++
			continue
		case own:
			continue
		case several:
			either++
			continue
		}
		key := [2]string{parents[0].Service, s.Service}
		c := calls[key]
		c.Count++
		if s.Error {
			c.Errors++
		}
		calls[key] = c
	}
	return calls, missing, either
}

func TestCalls(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 11))
		spans := callSpans(rng, 150)
		blocks := stored(t, spans, rng)
		from, to := 1e9, 1e9+1000
		for _, c := range []struct {
			name    string
			filters []Filter
			passes  func(*trace.Span) bool
		}{
			{"all", nil, func(*trace.Span) bool { return true }},
			{"no consumers", []Filter{{Column: "span.kind", Op: "!=", Value: "consumer"}}, func(s *trace.Span) bool { return s.Kind != trace.KindConsumer }},
			{"failed", []Filter{{Column: "error", Op: "=", Value: true}}, func(s *trace.Span) bool { return s.Error }},
		} {
			p, err := CompileCalls(Calls{Filters: c.filters, StartTime: &from, EndTime: &to}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			got, err := RunCalls(context.Background(), p, blocks)
			if err != nil {
				t.Fatal(err)
			}
			want, missing, either := plainCalls(spans, c.passes)
			if got.Every != 1 || got.Missing != missing {
				t.Errorf("seed %d, %s: every %d, %v without a parent, want 1, %v", seed, c.name, got.Every, got.Missing, missing)
			}
			more := 0.0
			for _, call := range got.Calls {
				w := want[[2]string{call.Caller, call.Callee}]
				more += call.Count - w.Count
				if call.Count < w.Count || call.Errors < w.Errors || call.P50 > call.P95 || call.P95 > 1000 {
					t.Errorf("seed %d, %s: %+v, want at least %+v", seed, c.name, call, w)
				}
			}
			if len(got.Calls) < len(want) || more != either {
				t.Errorf("seed %d, %s: %d pairs, %v calls beside those that are clear; want %d pairs, %v", seed, c.name, len(got.Calls), more, len(want), either)
			}
		}
	}
}

// TestCallsOfSomeTraces: of many rows some traces are looked at, whole ones, and
// stand for the others.
func TestCallsOfSomeTraces(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 12))
	spans := callSpans(rng, 3000)
	blocks := stored(t, spans, rng)
	from, to := 1e9, 1e9+1000
	count := func(sample int) (float64, *CallsResult) {
		p, err := CompileCalls(Calls{StartTime: &from, EndTime: &to, SampleRows: sample}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, err := RunCalls(context.Background(), p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		n := 0.0
		for _, c := range r.Calls {
			n += c.Count
		}
		return n, r
	}
	all, r := count(0)
	if r.Every != 1 {
		t.Fatalf("one of %d traces, want all", r.Every)
	}
	some, r := count(len(spans) / 3)
	if r.Every != 4 && r.Every != 2 {
		t.Errorf("one of %d traces for a third of the rows, want one of 4", r.Every)
	}
	if math.Abs(some-all) > all/5 {
		t.Errorf("%v calls estimated, %v counted", some, all)
	}
	if orphans := r.Missing; orphans > float64(len(spans))/4 {
		t.Errorf("%v of %d spans have no parent: traces were cut", orphans, len(spans))
	}
	p, err := CompileCalls(Calls{StartTime: &from, EndTime: &to}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := RunCalls(ctx, p, blocks); err == nil {
		t.Error("a question that nobody waits for any more was answered")
	}
}

func TestSampleOfSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 13))
	spans := callSpans(rng, 2000)
	blocks := stored(t, spans, rng)
	ask := func(blocks []column.Block, limit int) *SampleResult {
		p, err := CompileSearch(Search{AnyTime: true, Filters: []Filter{{Column: "service.name", Op: "=", Value: "a"}}, Limit: limit}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, err := RunSample(context.Background(), p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	matched, failed := 0, 0
	byRef := map[trace.Ref]*trace.Span{}
	for i := range spans {
		if s := &spans[i]; s.Service == "a" {
			byRef[s.Ref()] = s
			matched++
			if s.Error {
				failed++
			}
		}
	}
	r := ask(blocks, 800)
	if int(r.Matched) != matched || len(r.Spans) != 800 {
		t.Fatalf("%d of %d spans, want 800 of %d", len(r.Spans), r.Matched, matched)
	}
	bad := 0
	for i := range r.Spans {
		x := &r.Spans[i]
		s := byRef[x.Ref]
		if s == nil || s.ParentID != x.ParentID || s.Name != x.Name || s.Service != x.Service || s.StartUnixNano != x.StartUnixNano || s.DurationNano != x.DurationNano {
			t.Fatalf("%+v is not the span %+v", x, s)
		}
		if x.Error {
			bad++
		}
	}
	if got, want := float64(bad)/800, float64(failed)/float64(matched); math.Abs(got-want) > 0.06 {
		t.Errorf("%v of the sample failed, %v of all", got, want)
	}
	few := ask(blocks, 10)
	for i := range few.Spans {
		if few.Spans[i].Ref != r.Spans[i].Ref {
			t.Errorf("the sample of 10 is no part of the sample of 800")
		}
	}
}
