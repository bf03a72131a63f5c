package tracestore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"redthread/tracestore/column"
	"redthread/tracestore/graph"
	"redthread/tracestore/otlp"
	"redthread/tracestore/trace"
)

// edgeSpans makes spans of a few hundred traces with edges of every kind between
// them, in no order, times in whole milliseconds.
func edgeSpans(rng *rand.Rand, n int) (spans []trace.Span) {
	text := func(key, value string) trace.Attribute {
		return trace.Attribute{Key: key, Value: trace.String(value)}
	}
	traces := n / 4
	refs := []trace.Ref{{TraceID: traceID(traces + 5), SpanID: spanID(1)}} // one that never comes
	for i := range n {
		s := trace.Span{TraceID: traceID(rng.IntN(traces)), SpanID: spanID(1000 + i), Service: fmt.Sprint("svc", rng.IntN(3)), Name: fmt.Sprint("op", rng.IntN(5)),
			Environment: "default", Kind: trace.Kind(rng.IntN(6)), StartUnixNano: testClock.UnixNano() + rng.Int64N(1e6)*1e6, DurationNano: rng.Int64N(1e4) * 1e6, Error: rng.IntN(9) == 0}
		if s.Error {
			s.Status = trace.StatusError
		}
		if rng.IntN(3) > 0 {
			s.ParentID = spanID(1000 + rng.IntN(n))
		}
		ref := refs[rng.IntN(len(refs))]
		request := fmt.Sprintf("%08x-aaaa-%04x", rng.IntN(n/6), 7)
		switch rng.IntN(12) {
		case 0:
			s.Kind, s.ParentID = trace.KindConsumer, spanID(1e6+i) // never comes: see TestRunsToldTwice
			s.Attributes = append(s.Attributes, text("messaging.system", "sidekiq"), text("messaging.operation", "process"))
			s.Links = []trace.Link{{TraceID: ref.TraceID, SpanID: ref.SpanID}}
		case 1:
			s.Kind = trace.KindProducer
			s.Attributes = append(s.Attributes, text("messaging.system", "sidekiq"), text("messaging.message.id", fmt.Sprintf("d028b411e30577e480%06x", rng.IntN(n/4))))
		case 2:
			s.Kind, s.ParentID = trace.KindConsumer, trace.SpanID{}
			s.Attributes = append(s.Attributes, text("messaging.system", "sidekiq"), text("messaging.message.id", fmt.Sprintf("d028b411e30577e480%06x", rng.IntN(n/4))))
		case 3:
			s.Kind, s.ParentID = trace.KindServer, trace.SpanID{}
			s.Attributes = append(s.Attributes, text("request_id", request), text("user.id", fmt.Sprint("u-", rng.IntN(50))), text("http.route", fmt.Sprint("/r", rng.IntN(4))))
		case 4:
			s.Kind, s.ParentID = trace.KindUnspecified, trace.SpanID{}
			s.Attributes = append(s.Attributes, text("type", "job"), text("job.class", "Mail"), text("request_id", request))
		case 5:
			s.Kind, s.ParentID = trace.KindUnspecified, trace.SpanID{}
			s.Attributes = append(s.Attributes, text("type", "job"), text("job.class", "Mail"), text("parent.trace_id", ref.TraceID.String()))
		case 6:
			s.Kind = trace.KindServer
			s.Attributes = append(s.Attributes, text("_dd.span_links", fmt.Sprintf(`[{"trace_id":"%s","span_id":"%s"}]`, ref.TraceID, ref.SpanID)))
		case 7:
			s.Kind = trace.KindInternal
			s.Attributes = append(s.Attributes, text("meta.annotation_type", "link"), text("trace.link.trace_id", ref.TraceID.String()), text("trace.link.span_id", ref.SpanID.String()))
		case 8:
			s.Kind, s.ParentID = trace.KindConsumer, trace.SpanID{}
			s.Attributes = append(s.Attributes, text("messaging.operation", "process"), text("messaging.destination.name", "t"),
				trace.Attribute{Key: "dropped_links_count", Value: trace.Int(int64(1 + rng.IntN(4)))}, text("messaging.message.id", fmt.Sprint(rng.IntN(30))))
			s.Links = []trace.Link{{TraceID: ref.TraceID, SpanID: ref.SpanID}}
		case 9:
			s.Events = []trace.Event{{Name: "link", TimeUnixNano: 1, Attributes: []trace.Attribute{text("trace.link.trace_id", ref.TraceID.String()), text("trace.link.span_id", ref.SpanID.String())}}}
		}
		refs = append(refs, s.Ref())
		spans = append(spans, s)
	}
	rng.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
	return spans
}

func compareHalves(a, b graph.Half) int {
	ref := func(a, b trace.Ref) int {
		return cmp.Or(bytes.Compare(a.TraceID[:], b.TraceID[:]), bytes.Compare(a.SpanID[:], b.SpanID[:]))
	}
	return cmp.Or(ref(a.Of, b.Of), ref(a.Target, b.Target), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Rule, b.Rule))
}

func compareLinks(a, b graph.Link) int {
	return compareHalves(graph.Half{Of: a.To, Target: a.From}, graph.Half{Of: b.To, Target: b.From})
}

// sameDuration: runs keep durations to a twentieth of a percent, rounded once in each
// merge that joins parts of a trace, and starts to a tenth of a millisecond.
var sameDuration = gocmp.FilterPath(func(p gocmp.Path) bool { return p.Last().String() == ".DurationNano" }, gocmp.Comparer(func(a, b int64) bool {
	d := a - b
	return max(d, -d) <= max(a, b)/500+200_000
}))

// ownKept leaves of what summaries keep what the spans that stand for the traces say
// themselves. What other spans of their service say is found in the parts in which a
// trace was flushed, not across all of them: TestKeptFromBelow has that.
func ownKept(spans []trace.Span) func(*graph.Summary) {
	says := map[trace.Ref]map[string]bool{}
	for i := range spans {
		ref := spans[i].Ref()
		if says[ref] == nil {
			says[ref] = map[string]bool{}
		}
		for _, a := range spans[i].Attributes {
			says[ref][a.Key] = true
		}
	}
	return func(sum *graph.Summary) {
		var own []trace.Attribute
		for _, a := range sum.Kept {
			if says[trace.Ref{TraceID: sum.TraceID, SpanID: sum.SpanID}][a.Key] {
				own = append(own, a)
			}
		}
		sum.Kept = own
	}
}

// placed has the spans of senders filled in.
func (h *harness) placed(list []graph.Half, cut bool, err error) ([]graph.Half, bool, error) {
	h.t.Helper()
	must(h.t, h.Senders(h.t.Context(), list))
	return list, cut, err
}

// inherits are those of some traces whose root says that another trace caused it:
// what summaries keep is kept with that one.
func inherits(m *graph.Memory, sums []graph.Summary) map[trace.ID]bool {
	out := map[trace.ID]bool{}
	for i := range sums {
		halves, _, _ := m.Causes(context.Background(), []trace.ID{sums[i].TraceID}, 1e6)
		out[sums[i].TraceID] = slices.ContainsFunc(halves, func(h graph.Half) bool {
			return h.Recorded() && h.Of.SpanID == sums[i].SpanID && h.Target.TraceID != h.Of.TraceID
		})
	}
	return out
}

// wantEdges compares all that the store says of edges with an oracle that has the
// spans in memory.
func (h *harness) wantEdges(m *graph.Memory, spans []trace.Span) {
	h.t.Helper()
	ctx := h.t.Context()
	seen := map[trace.ID]bool{traceID(1e6): true}
	keys := []graph.Key{1}
	for i := range spans {
		seen[spans[i].TraceID] = true
		for _, half := range graph.DefaultRules().Halves(nil, &spans[i]) {
			if half.Recorded() {
				seen[half.Target.TraceID] = true
			} else {
				keys = append(keys, half.Key)
			}
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	var ids []trace.ID
	for id := range seen {
		ids = append(ids, id)
	}
	want, err := m.Summaries(ctx, ids)
	must(h.t, err)
	got, err := h.Summaries(ctx, ids)
	must(h.t, err)
	caused, own := inherits(m, want), ownKept(spans)
	for i := range want {
		own(&want[i])
		own(&got[i])
		if caused[want[i].TraceID] && got[i].Kept == nil {
			want[i].Kept = nil
		}
	}
	if diff := gocmp.Diff(want, got, sameDuration); diff != "" {
		h.t.Fatalf("summaries (-want +got):\n%s", diff)
	}
	live, noted := map[trace.Ref]bool{}, map[trace.Ref]bool{}
	for i := range spans {
		s := &spans[i]
		live[s.Ref()] = true
		if slices.ContainsFunc(s.Attributes, func(a trace.Attribute) bool { return a.Key == "meta.annotation_type" }) {
			noted[trace.Ref{TraceID: s.TraceID, SpanID: s.ParentID}] = true
		}
	}
	sortHalves := func(list []graph.Half, cut bool, err error) []graph.Half {
		h.t.Helper()
		if err != nil || cut {
			h.t.Fatalf("halves: cut %v, %v", cut, err)
		}
		for i := range list {
			// A note on a span may start at another moment than it; of a span one start
			// is kept.
			if list[i].Recorded() || noted[list[i].Of] {
				list[i].StartUnixNano = 0
			}
			// Of who sent a message the trace is remembered.
			if list[i].Side == graph.CauseSide && !live[list[i].Of] {
				list[i].Of.SpanID = trace.SpanID{}
			}
		}
		slices.SortFunc(list, compareHalves)
		list = slices.CompactFunc(list, func(a, b graph.Half) bool { return compareHalves(a, b) == 0 })
		return append([]graph.Half{}, list...) // none is none, nil or not
	}
	if diff := gocmp.Diff(sortHalves(m.Causes(ctx, ids, 1e6)), sortHalves(h.Causes(ctx, ids, 1e6))); diff != "" {
		h.t.Fatalf("causes (-want +got):\n%s", diff)
	}
	for _, side := range []graph.Side{graph.CauseSide, graph.EffectSide} {
		if diff := gocmp.Diff(sortHalves(m.Ends(ctx, side, keys, 1e6)), sortHalves(h.placed(h.Ends(ctx, side, keys, 1e6)))); diff != "" {
			h.t.Fatalf("ends of side %d (-want +got):\n%s", side, diff)
		}
	}
	// A key with two halves is shared; one that nobody has is not. What is sent twice
	// may be in two runs, so others may be named too, but few.
	shared, err := h.Shared(ctx, keys)
	must(h.t, err)
	of := map[graph.Key]map[trace.Ref]bool{}
	for _, side := range []graph.Side{graph.CauseSide, graph.EffectSide} {
		ends, _, err := m.Ends(ctx, side, keys, 1e6)
		must(h.t, err)
		for _, e := range ends {
			if of[e.Key] == nil {
				of[e.Key] = map[trace.Ref]bool{}
			}
			of[e.Key][e.Of] = true
		}
	}
	for _, key := range keys {
		if said := slices.Contains(shared, key); len(of[key]) > 1 && !said || len(of[key]) == 0 && said {
			h.t.Fatalf("key %x has %d halves, shared: %v", key, len(of[key]), said)
		}
	}
	links := func(list []graph.Link, cut bool, err error) []graph.Link {
		h.t.Helper()
		if err != nil || cut {
			h.t.Fatalf("links: cut %v, %v", cut, err)
		}
		slices.SortFunc(list, compareLinks)
		return append([]graph.Link{}, list...)
	}
	all := links(h.EffectsOf(ctx, ids, 1e6))
	if diff := gocmp.Diff(slices.Compact(links(m.EffectsOf(ctx, ids, 1e6))), all); diff != "" {
		h.t.Fatalf("effects, each once (-want +got):\n%s", diff)
	}
	if len(all) > 1 {
		if few, cut, err := h.EffectsOf(ctx, ids, len(all)-1); err != nil || !cut || len(few) != len(all)-1 {
			h.t.Fatalf("%d effects with a limit of %d, cut %v, %v", len(few), len(all)-1, cut, err)
		}
	}
	from, to := testClock.UnixNano()+2e11, testClock.UnixNano()+5e11
	window := func(s graph.WindowSource) map[trace.ID]graph.Summary {
		out := map[trace.ID]graph.Summary{}
		must(h.t, s.SummariesBetween(ctx, from, to, func(sums []graph.Summary, _ int) error {
			for _, s := range sums {
				if _, again := out[s.TraceID]; again {
					h.t.Errorf("trace %s comes twice", s.TraceID)
				}
				own(&s)
				out[s.TraceID] = s
			}
			return nil
		}))
		return out
	}
	had, has := window(m), window(h.Store)
	for id, s := range had {
		if caused[id] && has[id].Kept == nil {
			s.Kept = nil
			had[id] = s
		}
	}
	if diff := gocmp.Diff(had, has, sameDuration); diff != "" {
		h.t.Fatalf("summaries of a window (-want +got):\n%s", diff)
	}
	for _, s := range spans[:min(20, len(spans))] {
		got, err := h.SpansOf(ctx, []trace.Ref{s.Ref(), {TraceID: s.TraceID, SpanID: spanID(9e6)}})
		if err != nil || len(got) != 1 || got[0].Ref() != s.Ref() || got[0].Name != s.Name {
			h.t.Fatalf("span %v: %d found, %v", s.Ref(), len(got), err)
		}
	}
}

// TestEdgesAreThoseOfTheSpans sends spans with edges of every kind, in any order
// and twice, over flushes, merges, crashes and restarts. What the store says is
// always what an oracle says that has the spans in memory.
func TestEdgesAreThoseOfTheSpans(t *testing.T) {
	rng := seeded(t)
	rounds, n := 2, 1200
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		h := start(t, Options{Now: func() time.Time { return testClock }})
		spans := edgeSpans(rng, n)
		m := graph.NewMemory(nil, nil)
		for from := 0; from < n; {
			part := spans[from:min(n, from+1+rng.IntN(120))]
			from += len(part)
			h.append(part)
			m.Add(part...)
			if rng.IntN(3) == 0 {
				h.append(part[:1+rng.IntN(len(part))]) // sent again
			}
			switch rng.IntN(8) {
			case 0, 1, 2, 3:
				must(t, h.Flush(t.Context()))
			case 4:
				must(t, h.Maintain(t.Context()))
			case 5:
				h.settle()
				h.crash()
				h.open(nil)
			case 6:
				h.reopen()
			}
			if rng.IntN(3) == 0 {
				h.settle()
				h.wantEdges(m, spans[:from])
			}
		}
		h.settle()
		h.wantEdges(m, spans)
		for range mergeRuns {
			h.append(spans[:1])
			h.append([]trace.Span{{TraceID: traceID(5e6), SpanID: spanID(rng.IntN(1e9)), Service: "s", StartUnixNano: 1}})
			must(t, h.Flush(t.Context()))
		}
		must(t, h.Maintain(t.Context()))
		h.reopen()
		h.wantEdges(m, spans)

		// Made anew from the segments, it is the same.
		must(t, h.RebuildEdges(t.Context(), nil))
		h.wantEdges(m, spans)
		h.reopen()
		h.wantEdges(m, spans)
		h.stop()
	}
}

// TestRebuildEdges: what is missing is added, what is wrong corrected, and edges
// whose spans are gone stay.
func TestRebuildEdges(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	now := testClock
	h := start(t, Options{Now: func() time.Time { return now }, SpanRetention: time.Hour, EdgeRetention: 1000 * time.Hour})
	spans := edgeSpans(rng, 800)
	old, young := spans[:300], spans[300:]
	h.append(old)
	must(t, h.Flush(t.Context()))
	now = now.Add(50 * time.Minute)
	// The rules change: what comes now is joined by an attribute of its own too.
	rules, err := graph.NewRules(graph.Correlation{Name: "user", Means: graph.MeansRequest, Cause: []string{"user.id"}, Effect: []string{"user.id"}})
	must(t, err)
	h.append(young)
	must(t, h.Flush(t.Context()))
	now = now.Add(20 * time.Minute)
	must(t, h.Maintain(t.Context())) // the spans of old are gone
	if st := h.Stats(); st.Segments != 1 || st.EdgeRuns != 2 {
		t.Fatalf("%d segments and %d runs, want 1 and 2", st.Segments, st.EdgeRuns)
	}
	before := graph.NewMemory(nil, spans)
	h.wantEdges(before, young)
	must(t, h.RebuildEdges(t.Context(), nil))
	h.wantEdges(before, young)
	h.UseRules(rules, nil)
	must(t, h.RebuildEdges(t.Context(), nil))
	h.wantJoined(rules, young)
	h.UseRules(nil, nil)
	must(t, h.RebuildEdges(t.Context(), nil)) // and what it found goes again
	h.wantEdges(before, young)

	// A run that is damaged is set aside; a rebuild makes what it held of the spans.
	h.stop()
	h.broken = true
	h.damageRuns()
	h.open(nil)
	if _, err := h.Summaries(t.Context(), []trace.ID{young[0].TraceID}); err != nil {
		t.Fatalf("the rest does not answer: %v", err)
	}
	if st := h.Stats(); st.EdgeRuns != 0 || len(st.CorruptFiles) == 0 {
		t.Fatalf("%d runs and corrupt files %v", st.EdgeRuns, st.CorruptFiles)
	}
	report, err := h.Check(t.Context(), CheckOptions{RebuildEdges: true})
	must(t, err)
	must(t, report.Err())
	h.wantEdges(graph.NewMemory(nil, young), young)
	h.broken = false

	// And so it does when the server is stopped.
	h.stop()
	h.damageRuns()
	report = h.checkFolder(CheckOptions{RebuildEdges: true})
	must(t, report.Err())
	h.open(nil)
	h.wantEdges(graph.NewMemory(nil, young), young)
}

// wantJoined wants what the spans offer by attributes of the rules.
func (h *harness) wantJoined(rules *graph.Rules, spans []trace.Span) {
	h.t.Helper()
	joined := 0
	for i := range spans {
		for _, half := range rules.Halves(nil, &spans[i]) {
			if half.Rule.Kind() != graph.KindAttribute {
				continue
			}
			ends, _, err := h.placed(h.Ends(h.t.Context(), half.Side, []graph.Key{half.Key}, 1000))
			if err != nil || !slices.ContainsFunc(ends, func(e graph.Half) bool { return e.Of == half.Of }) {
				h.t.Fatalf("half %+v by the new rule is not there: %v, %v", half, ends, err)
			}
			joined++
		}
	}
	if joined == 0 {
		h.t.Fatal("no span has the attribute of the new rule")
	}
}

// TestRebuildOfTheNewest: the rules change, and what came just before them is in no
// segment yet.
func TestRebuildOfTheNewest(t *testing.T) {
	rules, err := graph.NewRules(graph.Correlation{Name: "user", Means: graph.MeansRequest, Cause: []string{"user.id"}, Effect: []string{"user.id"}})
	must(t, err)
	h := start(t, Options{})
	spans := edgeSpans(rand.New(rand.NewPCG(3, 4)), 300)
	h.append(spans)
	h.UseRules(rules, nil)
	report, err := h.Check(t.Context(), CheckOptions{RebuildEdges: true})
	must(t, err)
	must(t, report.Err())
	h.wantJoined(rules, spans)
}

// TestRowsThatMayOfferNothing: who passes a row over by its keys must not miss an
// edge.
func TestRowsThatMayOfferNothing(t *testing.T) {
	rng := seeded(t)
	for _, s := range edgeSpans(rng, 4000) {
		raw := otlp.AppendSpans(nil, []trace.Span{s})
		var d otlp.Decoder
		rules := graph.DefaultRules()
		d.UseMarks(rules.Marks)
		found := 0
		_, err := d.DecodeRows(otlp.Traces, raw, otlp.Arrival{}, rowLook(rules, &found))
		if want := len(rules.Halves(nil, &s)); err != nil || want > 0 && found == 0 {
			t.Fatalf("%d halves, and the row is passed over: %v %+v", want, err, s)
		}
	}
}

func rowLook(rules *graph.Rules, found *int) func(*column.Row) error {
	return func(r *column.Row) error {
		if rules.MayOffer(r.Marks, r.EventMarks, &r.Span) {
			*found++
		}
		return nil
	}
}

// TestOlderEdges: runs that an older program wrote are made anew from the rows, also
// where that was interrupted, and the log says so.
func TestOlderEdges(t *testing.T) {
	t.Run("version=3", func(t *testing.T) {
		olderEdges(t, func([]byte) []byte { // its footer had 92 bytes and began so
			return append(make([]byte, 500), append([]byte("rted\x03\x00\x00\x00"), make([]byte, 84)...)...)
		})
	})
	t.Run("version=5", func(t *testing.T) {
		olderEdges(t, func(run []byte) []byte {
			footer := run[len(run)-100:]
			footer[4] = 5
			binary.LittleEndian.PutUint32(footer[96:], crc32.Checksum(footer[:96], crc32.MakeTable(crc32.Castagnoli)))
			return run
		})
	})
}

// olderEdges: runs that were made older are made anew at the start, and after one that
// was interrupted.
func olderEdges(t *testing.T, older func(run []byte) []byte) {
	var log syncBuffer
	h := start(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	spans := edgeSpans(rand.New(rand.NewPCG(5, 5)), 300)
	h.append(spans)
	must(t, h.Flush(t.Context()))
	h.stop()
	files, err := filepath.Glob(filepath.Join(h.dir, edgesDir, "*.edges"))
	if err != nil || len(files) == 0 {
		t.Fatalf("runs of edges: %v, %v", files, err)
	}
	for _, f := range files {
		run, err := os.ReadFile(f)
		must(t, err)
		must(t, os.WriteFile(f, older(run), 0o644))
	}
	h.open(func(step string) error {
		if step == "rebuild.commit" {
			return errors.New("interrupted")
		}
		return nil
	})
	h.wait("interrupted", func() bool { return strings.Contains(log.String(), "could not be made anew") })
	if !strings.Contains(log.String(), "of an older format") {
		t.Errorf("the log does not speak of the older format:\n%s", log.String())
	}
	h.crash()
	h.open(nil)
	h.wait("rebuilt", func() bool { st := h.Stats(); return len(st.CorruptFiles) == 0 && st.EdgeRuns > 0 })
	h.wantEdges(graph.NewMemory(nil, spans), spans)
}

// syncBuffer is a buffer that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// damageRuns breaks every run of edges in the folder.
func (h *harness) damageRuns() {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, edgesDir, "*.edges"))
	if err != nil || len(files) == 0 {
		h.t.Fatalf("runs of edges: %v, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(h.t, err)
		b[3] ^= 0xff
		must(h.t, os.WriteFile(f, b, 0o644))
	}
}

// TestGraphReadsWhatItWants: spans with those attributes only that the graph wants
// have the same halves.
func TestGraphReadsWhatItWants(t *testing.T) {
	h := start(t, Options{})
	spans := edgeSpans(seeded(t), 600)
	h.append(spans)
	must(t, h.Flush(t.Context()))
	rules := graph.DefaultRules()
	seen := map[trace.ID]bool{}
	for i := range spans {
		id := spans[i].TraceID
		if seen[id] {
			continue
		}
		seen[id] = true
		all, _, err := h.TraceSpans(t.Context(), id, 1e6)
		must(t, err)
		var some []trace.Span
		must(t, h.EachTrace(t.Context(), []trace.ID{id}, 1e6, rules.Wants, func(_ int, spans []trace.Span, _ bool) error {
			some = spans
			return nil
		}))
		var want, got []graph.Half
		for k := range all {
			want, got = rules.Halves(want, &all[k]), rules.Halves(got, &some[k])
			wantJob, wantCaused := graph.Receipt(&all[k])
			if job, caused := graph.Receipt(&some[k]); job != wantJob || caused != wantCaused {
				t.Fatalf("span %v is another receipt", all[k].Ref())
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("halves of trace %s (-want +got):\n%s", id, diff)
		}
	}
}
