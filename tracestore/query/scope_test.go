package query

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/graph"
	"redthread/tracestore/trace"
)

// testThreads is the causal graph over spans in memory.
type testThreads struct {
	*graph.Graph
	*graph.Memory
}

// threadsOf returns the graph over spans, of which some are gone and only what an
// edge index keeps is left.
func threadsOf(spans, expired []trace.Span) Threads {
	m := graph.NewMemory(nil, expired)
	for i := range expired {
		m.Expire(expired[i].TraceID)
	}
	m.Add(spans...)
	return testThreads{graph.New(m, graph.Options{}), m}
}

// scriptThreads is the graph over the rows of the script that runs.
var scriptThreads Threads

// randomThreads are requests, their messages and jobs, batches, spans without a
// parent and links that lead nowhere; a trace here and there has expired.
func randomThreads(rng *rand.Rand) (spans, expired []trace.Span) {
	id := uint64(0)
	start := testNow.Add(-2 * time.Hour).UnixNano()
	add := func(of trace.ID, parent trace.SpanID, service, name string, kind trace.Kind, links ...trace.Ref) trace.Ref {
		id++
		s := trace.Span{TraceID: of, ParentID: parent, Service: service, Name: name, Kind: kind, Environment: "default",
			StartUnixNano: start + int64(rng.IntN(3*3600))*1e9, DurationNano: int64(rng.IntN(400)) * 250_000, Error: rng.IntN(5) == 0}
		binary.BigEndian.PutUint64(s.SpanID[:], id)
		s.StartUnixNano += int64(id) // no two at the same moment
		if kind == trace.KindConsumer {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: "messaging.operation.type", Value: trace.String("process")})
		}
		if rng.IntN(2) == 0 {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: "retries", Value: trace.Int(int64(rng.IntN(4)))})
		}
		if rng.IntN(3) == 0 {
			s.Attributes = append(s.Attributes, trace.Attribute{Key: "user.id", Value: trace.String("u" + strconv.Itoa(rng.IntN(5)))})
		}
		for _, l := range links {
			s.Links = append(s.Links, trace.Link{TraceID: l.TraceID, SpanID: l.SpanID})
		}
		spans = append(spans, s)
		return s.Ref()
	}
	fresh := func() (t trace.ID) {
		id++
		binary.BigEndian.PutUint64(t[8:], id)
		t[0] = byte(1 + rng.IntN(255))
		return t
	}
	var sent []trace.Ref
	one := func() trace.Ref { return sent[rng.IntN(len(sent))] }
	for range 4 + rng.IntN(30) {
		switch n := rng.IntN(8); {
		case n < 3 || len(sent) == 0:
			root := add(fresh(), trace.SpanID{}, "web", []string{"GET /", "POST /cars"}[rng.IntN(2)], trace.KindServer)
			client := add(root.TraceID, root.SpanID, "web", "GET", trace.KindClient)
			api := add(root.TraceID, client.SpanID, "api", "GET /x", trace.KindServer)
			sent = append(sent, add(api.TraceID, api.SpanID, "api", "send", trace.KindProducer))
		case n < 6:
			run := add(fresh(), trace.SpanID{}, "jobs", "process", trace.KindConsumer, one())
			sent = append(sent, add(run.TraceID, run.SpanID, "jobs", "send", trace.KindProducer))
		case n < 7:
			poll := add(fresh(), trace.SpanID{}, "jobs", "poll", trace.KindConsumer)
			for range 1 + rng.IntN(3) {
				p := add(poll.TraceID, poll.SpanID, "jobs", "process", trace.KindConsumer, one())
				add(p.TraceID, p.SpanID, "jobs", "SELECT", trace.KindClient)
			}
		default:
			lost := one()
			add(lost.TraceID, trace.SpanID{1}, "api", "orphan", trace.KindInternal)
			add(fresh(), trace.SpanID{}, "jobs", "process", trace.KindConsumer, trace.Ref{TraceID: trace.ID{9}, SpanID: trace.SpanID{9}})
		}
	}
	gone := make(map[trace.ID]bool)
	for i := range spans {
		if rng.IntN(30) == 0 {
			gone[spans[i].TraceID] = true
		}
	}
	var kept []trace.Span
	for _, s := range spans {
		if gone[s.TraceID] {
			expired = append(expired, s)
		} else {
			kept = append(kept, s)
		}
	}
	rng.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] }) // effects before causes
	return kept, expired
}

// refAround finds the spans around one by looking at all spans, and asks the graph
// about each row by itself.
type refAround struct {
	spans []trace.Span
	graph *graph.Graph
	all   *graph.Memory
}

func (a *refAround) span(ref trace.Ref) *trace.Span {
	for i := range a.spans {
		if a.spans[i].Ref() == ref {
			return &a.spans[i]
		}
	}
	return nil
}

// messages are how many messages the spans below one are about.
func (a *refAround) messages(s *trace.Span) int {
	var sent []trace.Ref
	for i := range a.spans {
		c := &a.spans[i]
		if c.TraceID != s.TraceID || c.ParentID != s.SpanID {
			continue
		}
		for _, l := range c.Links {
			if ref := (trace.Ref{TraceID: l.TraceID, SpanID: l.SpanID}); !slices.Contains(sent, ref) {
				sent = append(sent, ref)
			}
		}
	}
	return len(sent)
}

// value is the value of a scoped column.
func (a *refAround) value(t *testing.T, s *trace.Span, name string) trace.Value {
	prefix, rest, _ := strings.Cut(name, ".")
	ctx := context.Background()
	var of *trace.Span
	switch prefix {
	case "root":
		for i := range a.spans {
			if c := &a.spans[i]; c.TraceID == s.TraceID && c.ParentID.IsZero() && (of == nil || c.StartUnixNano < of.StartUnixNano) {
				of = c
			}
		}
	case "parent":
		of = a.span(trace.Ref{TraceID: s.TraceID, SpanID: s.ParentID})
	case "origin", "cause":
		o, err := a.graph.Origin(ctx, s.TraceID, s.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		var ref trace.Ref
		switch {
		case prefix == "origin" && o.Status == graph.Found:
			ref = o.Origins[0].Ref
		case prefix == "origin" && o.Status == graph.Ambiguous: // what all candidates say
			common := a.end(ctx, o.Origins[0].Ref, rest)
			for _, c := range o.Origins[1:] {
				if a.end(ctx, c.Ref, rest) != common {
					return trace.Value{}
				}
			}
			return common
		case prefix == "cause" && a.messages(s) > 1: // several: none of them
		case prefix == "cause" && len(o.Hops) > 0:
			ref = o.Hops[len(o.Hops)-1].From.Ref
		}
		return a.end(ctx, ref, rest)
	}
	if of == nil {
		return trace.Value{}
	}
	return refValue(of, rest)
}

// end is the value of a column of an origin or cause: of its span, or of what its
// trace is remembered by, which may keep what another of its spans says.
func (a *refAround) end(ctx context.Context, ref trace.Ref, name string) trace.Value {
	of := a.span(ref)
	if of != nil {
		if v := refValue(of, name); v.Type != trace.TypeNone {
			return v
		}
	}
	sum, ok, _ := a.all.TraceSummary(ctx, ref.TraceID)
	if !ok || ref.SpanID.IsZero() || sum.SpanID != ref.SpanID {
		return trace.Value{}
	}
	v, sure := ofSummary(&sum, name)
	if of != nil && sure {
		return trace.Value{}
	}
	return v
}

// TestAroundAgainstReference runs queries over random threads, of which some have
// expired, cut into random blocks, and compares them with what is found for each
// row by itself.
func TestAroundAgainstReference(t *testing.T) {
	names := []string{"root.name", "root.retries", "parent.name", "parent.duration_ms", "parent.user.id", "cause.name", "cause.retries",
		"origin.name", "origin.user.id", "origin.duration_ms", "origin.service.name", "name", "service.name"}
	known := make(map[string]int)
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 7))
		spans, expired := randomThreads(rng)
		if len(spans) == 0 {
			continue
		}
		threads := threadsOf(spans, expired).(testThreads)
		ref := &refAround{spans, threads.Graph, threads.Memory}
		pick := func() string { return names[rng.IntN(len(names))] }
		// The reference sees scoped columns as attributes of the rows.
		flat := slices.Clone(spans)
		for i := range flat {
			flat[i].Attributes = slices.Clone(flat[i].Attributes)
			for _, name := range names[:len(names)-2] {
				if v := ref.value(t, &spans[i], name); v.Type != trace.TypeNone {
					known[name]++
					flat[i].Attributes = append(flat[i].Attributes, trace.Attribute{Key: name, Value: v})
				}
			}
		}
		for range 6 {
			spec := Spec{Breakdowns: []string{pick()}, Calculations: []Calculation{{Op: "COUNT"}, {Op: "SUM", Column: "parent.duration_ms"}, {Op: "COUNT_DISTINCT", Column: pick()}}}
			for range rng.IntN(3) {
				f := Filter{Column: pick(), Op: []string{"=", "!=", "exists", "does-not-exist", ">"}[rng.IntN(5)]}
				if !strings.HasSuffix(f.Op, "exist") && !strings.HasSuffix(f.Op, "exists") {
					f.Value = []any{"GET /", "process", "u1", int64(1), "web", 20.5}[rng.IntN(6)]
				}
				spec.Filters = append(spec.Filters, f)
			}
			if rng.IntN(3) == 0 {
				spec.FilterCombination = "OR"
			}
			hours := 0.5 + rng.Float64()*3
			from := float64(testNow.Unix()) - 3600*hours
			spec.StartTime, spec.TimeRange = &from, &hours
			*spec.TimeRange *= 3600
			p, err := Compile(spec, testNow)
			if err != nil {
				t.Fatal(err)
			}
			p.Threads = threads
			got, err := Run(t.Context(), p, cut(spans, rng))
			if err != nil {
				t.Fatal(err)
			}
			want := refRun(spec, flat, testNow)
			got.Warnings, got.Stats = nil, Stats{RowsMatched: got.Stats.RowsMatched}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(a)) })); diff != "" {
				text, _ := json.Marshal(spec)
				t.Fatalf("seed %d: %s: result differs (-reference +engine):\n%s", seed, text, diff)
			}
		}
	}
	for _, name := range names[:len(names)-2] {
		if known[name] == 0 {
			t.Errorf("no row had a value of %s", name)
		}
	}
}

// TestAroundIsBounded: a query that looks around too many traces says so, and one
// that nobody waits for ends.
func TestAroundIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	spans, expired := randomThreads(rng)
	p, err := Compile(Spec{Breakdowns: []string{"origin.name"}, Filters: []Filter{{Column: "any.error", Op: "=", Value: true}}}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	p.Threads = threadsOf(spans, expired)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, p, cut(spans, rng)); !errors.Is(err, context.Canceled) {
		t.Errorf("a query whose context has ended gives %v", err)
	}
	p.MemoryBytes = 100
	_, err = Run(t.Context(), p, cut(spans, rng))
	var invalid *InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(invalid.Message, "looking around them needs more memory") {
		t.Errorf("with 100 bytes the query gives %v", err)
	}

	// What was caused apart is read trace by trace: not without bounds.
	for _, column := range []string{"origin.name", "cause.name"} {
		p, err := Compile(Spec{Breakdowns: []string{column}}, testNow)
		if err != nil {
			t.Fatal(err)
		}
		p.Threads = threadsOf(spans, expired)
		if _, err := Run(t.Context(), p, cut(spans, rng)); err != nil {
			t.Fatal(err)
		}
		p.where.maxApart = 1
		if _, err := Run(t.Context(), p, cut(spans, rng)); !errors.As(err, &invalid) || !strings.Contains(invalid.Message, "read one by one; at most 1 are") {
			t.Errorf("%s of one row at most gives %v", column, err)
		}
	}

	// It is held against the query's memory, given back, and ends with its context.
	pool := NewPool(PoolOptions{MemoryBytes: 64 << 20, QueryBytes: 1 << 20})
	held := int64(0)
	ask := func(ctx context.Context) error {
		p, err := Compile(Spec{Breakdowns: []string{"cause.name"}}, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if p.Lease, err = pool.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer p.Lease.End()
		p.Threads = stoppedThreads{threadsOf(spans, expired), func() {
			held = max(held, pool.Stats().HeldBytes)
			cancel()
		}}
		_, err = Run(ctx, p, cut(spans, rng))
		return err
	}
	if err := ask(t.Context()); !errors.As(err, &invalid) || !strings.Contains(invalid.Message, "looking around them needs more memory") {
		t.Errorf("causes that take more memory than there is give %v", err)
	}
	pool = NewPool(PoolOptions{MemoryBytes: 128 << 20, QueryBytes: 64 << 20})
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if err := ask(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a query that is stopped while causes are read gives %v", err)
	}
	// Many such queries of few rows go on at once.
	if held < 1<<20 || held > 8<<20 {
		t.Errorf("the causes of some of %d rows hold %d bytes", len(spans), held)
	}
	if s := pool.Stats(); s.HeldBytes != 0 || s.Running != 0 {
		t.Errorf("after all queries ended the pool has %+v", s)
	}
}

// stoppedThreads stops a query when it asks for the causes of rows.
type stoppedThreads struct {
	Threads
	stop func()
}

func (s stoppedThreads) SpanCauses(ctx context.Context, refs []trace.Ref) ([]trace.Ref, error) {
	s.stop()
	return s.Threads.SpanCauses(ctx, refs)
}
