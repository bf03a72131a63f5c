package graph

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"redthread/seeds"
	"redthread/tracestore/trace"
)

// TestRunsInAnyOrder: however the spans of the attempts of jobs stand to each other,
// and in whatever order they come, around a flush or not, there are as many runs.
func TestRunsInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(seeds.One(t), 3))
	ids := 0
	ref := func() (r trace.Ref) {
		ids++
		binary.BigEndian.PutUint64(r.TraceID[8:], uint64(ids))
		binary.BigEndian.PutUint64(r.SpanID[:], uint64(ids))
		return r
	}
	const inside, around, apart, queueAlone, frameworkAlone, nameless, twice = 0, 1, 2, 3, 4, 5, 6
	for range 500 {
		var spans []trace.Span
		want := 0
		add := func(r trace.Ref, parent trace.SpanID, key, id string) trace.Span {
			s := trace.Span{TraceID: r.TraceID, SpanID: r.SpanID, ParentID: parent, Service: "worker", Kind: trace.KindConsumer}
			if id != "" {
				s.Attributes = []trace.Attribute{{Key: key, Value: trace.String(id)}}
			}
			spans = append(spans, s)
			return s
		}
		const queue, framework = "messaging.message_id", "messaging.active_job.message.provider_job_id"
		for job := range 1 + rng.IntN(3) {
			id := fmt.Sprintf("%024x", job+1)
			shape := rng.IntN(twice + 1)
			for range 1 + rng.IntN(4) { // attempts
				want++
				at, other := ref(), ref()
				inner := trace.Ref{TraceID: at.TraceID, SpanID: other.SpanID}
				switch shape {
				case inside:
					add(at, trace.SpanID{}, queue, id)
					add(inner, at.SpanID, framework, id)
				case around:
					add(at, trace.SpanID{}, framework, id)
					add(inner, at.SpanID, queue, id)
				case apart:
					add(at, trace.SpanID{}, queue, id)
					add(other, trace.SpanID{}, framework, id)
				case queueAlone:
					add(at, trace.SpanID{}, queue, id)
				case frameworkAlone:
					add(at, trace.SpanID{}, framework, id)
				case nameless: // within
					add(at, trace.SpanID{}, queue, id)
					add(inner, at.SpanID, "", "")
				case twice: // of one kind
					add(at, trace.SpanID{}, queue, id)
					add(inner, at.SpanID, queue, id)
				}
			}
		}
		rng.Shuffle(len(spans), func(i, k int) { spans[i], spans[k] = spans[k], spans[i] })
		var runs Runs
		got := 0
		flush := rng.IntN(2 * len(spans))
		for i := range spans {
			if i == flush {
				runs = RunsAfter(&runs)
			}
			got += runs.Add(&spans[i])
		}
		if got != want {
			t.Fatalf("%d runs, want %d: %+v", got, want, spans)
		}
	}
}
