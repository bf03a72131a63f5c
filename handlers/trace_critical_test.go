package handlers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/seeds"
	"redthread/tracestore/trace"
)

// paths lists a critical path as "row:from-to" in ms, by time.
func paths(t *traceTree) []string {
	type part struct {
		from int64
		text string
	}
	var parts []part
	for row, list := range t.criticalPath() {
		for _, c := range list {
			from, to := (c.from-t.startNano)/1e6, (c.to-t.startNano)/1e6
			parts = append(parts, part{c.from, fmt.Sprintf("%d:%d-%d", row, from, to)})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return int((a.from - b.from) / 1e6) })
	var list []string
	for _, p := range parts {
		list = append(list, p.text)
	}
	return list
}

func TestCriticalPath(t *testing.T) {
	async := testSpan(3, 1, "b", 20, 500)
	async.Kind = trace.KindConsumer
	for _, c := range []struct {
		name  string
		spans []trace.Span
		want  []string
	}{
		{"alone", []trace.Span{testSpan(1, 0, "a", 0, 10)}, []string{"0:0-10"}},
		{"one after the other", []trace.Span{testSpan(1, 0, "a", 0, 100), testSpan(2, 1, "a", 10, 20), testSpan(3, 1, "a", 40, 50)},
			[]string{"0:0-10", "1:10-30", "0:30-40", "2:40-90", "0:90-100"}},
		{"side by side: the last to finish", []trace.Span{testSpan(1, 0, "a", 0, 100), testSpan(2, 1, "a", 10, 80), testSpan(3, 1, "a", 20, 30)},
			[]string{"0:0-10", "1:10-90", "0:90-100"}},
		{"a child that outlives its parent counts up to its end", []trace.Span{testSpan(1, 0, "a", 0, 100), testSpan(2, 1, "a", 60, 90)},
			[]string{"0:0-60", "1:60-100"}},
		{"nobody waits for a message's consumer", []trace.Span{testSpan(1, 0, "a", 0, 100), testSpan(2, 1, "a", 10, 5), async},
			[]string{"0:0-10", "1:10-15", "0:15-100"}},
		{"a child of a child", []trace.Span{testSpan(1, 0, "a", 0, 100), testSpan(2, 1, "a", 10, 80), testSpan(3, 2, "b", 30, 60)},
			[]string{"0:0-10", "1:10-30", "2:30-90", "0:90-100"}},
		{"a clock that is early does not reach before the root", []trace.Span{testSpan(1, 0, "a", 50, 100), testSpan(2, 1, "b", 0, 80)},
			[]string{"1:50-80", "0:80-150"}},
	} {
		if diff := cmp.Diff(c.want, paths(newTraceTree(c.spans))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The path covers the root's time exactly once, whatever the tree.
func TestCriticalPathCoversTheRoot(t *testing.T) {
	seed := seeds.One(t)
	r := rand.New(rand.NewPCG(seed, 5))
	for range 300 {
		n := 1 + r.IntN(60)
		spans := []trace.Span{testSpan(1, 0, "a", 0, 1000)}
		for i := 1; i < n; i++ {
			spans = append(spans, testSpan(i+1, 1+r.IntN(i), "a", r.Int64N(1200)-50, r.Int64N(400)))
		}
		tree := newTraceTree(spans)
		var all []stretch
		for _, list := range tree.criticalPath() {
			all = append(all, list...)
		}
		slices.SortFunc(all, func(a, b stretch) int { return int((a.from - b.from) / 1e6) })
		at := tree.rows[0].startNano
		for _, c := range all {
			if c.from != at || c.to <= c.from {
				t.Fatalf("seed %d: the path jumps from %d to %d ms", seed, (at-tree.startNano)/1e6, (c.from-tree.startNano)/1e6)
			}
			at = c.to
		}
		if at != tree.rows[0].endNano {
			t.Fatalf("seed %d: the path ends at %d of %d", seed, at, tree.rows[0].endNano)
		}
	}
}
