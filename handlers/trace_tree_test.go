package handlers

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/seeds"
	"redthread/tracestore/trace"
)

func spanID(n int) trace.SpanID {
	var id trace.SpanID
	id[6], id[7] = byte(n>>8), byte(n)
	return id
}

// testSpan makes a span of the trace 01…: id and parent as small numbers (0: none), times in ms.
func testSpan(id, parent int, service string, start, length int64) trace.Span {
	return trace.Span{TraceID: trace.ID{1}, SpanID: spanID(id), ParentID: spanID(parent), Service: service,
		Name: fmt.Sprintf("op %d", id), Kind: trace.KindInternal, StartUnixNano: 1e18 + start*1e6, DurationNano: length * 1e6}
}

// outline draws a tree as text: two blanks a level, the low digits of the id,
// "?" for a parent that never arrived, "'" for a half, "@" where a circle was cut.
func outline(t *traceTree) string {
	var b strings.Builder
	for i := range t.rows {
		r := &t.rows[i]
		id := r.id()
		fmt.Fprintf(&b, "%s%d", strings.Repeat("  ", r.depth), int(id[6])<<8|int(id[7]))
		if r.span == nil {
			b.WriteString("?")
		}
		b.WriteString(strings.Repeat("'", r.half))
		if r.circle {
			b.WriteString("@")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestTraceTree(t *testing.T) {
	kind := func(s trace.Span, k trace.Kind) trace.Span { s.Kind = k; return s }
	for _, c := range []struct {
		name  string
		spans []trace.Span
		want  []string
	}{
		{"empty", nil, nil},
		{"siblings by start", []trace.Span{
			testSpan(3, 1, "a", 20, 5), testSpan(2, 1, "a", 10, 5), testSpan(1, 0, "a", 0, 100), testSpan(4, 2, "a", 12, 1),
		}, []string{"1", "  2", "    4", "  3"}},
		{"the longer of two that start together is first", []trace.Span{
			testSpan(1, 0, "a", 0, 9), testSpan(2, 1, "a", 1, 2), testSpan(3, 1, "a", 1, 7),
		}, []string{"1", "  3", "  2"}},
		{"several roots", []trace.Span{testSpan(2, 0, "b", 50, 5), testSpan(1, 0, "a", 0, 5)}, []string{"1", "2"}},
		{"orphans hang under the parent that never arrived", []trace.Span{
			testSpan(1, 0, "a", 0, 5), testSpan(3, 9, "b", 3, 5), testSpan(4, 9, "b", 2, 5), testSpan(5, 3, "b", 4, 1),
		}, []string{"1", "9?", "  4", "  3", "    5"}},
		{"a span that is its own parent is a root", []trace.Span{testSpan(1, 1, "a", 0, 5)}, []string{"1"}},
		{"a circle is cut at its earliest span", []trace.Span{
			testSpan(1, 3, "a", 5, 5), testSpan(2, 1, "a", 3, 5), testSpan(3, 2, "a", 7, 5), testSpan(4, 3, "a", 8, 1),
		}, []string{"2@", "  3", "    1", "    4"}},
		{"client and server share an id, as Zipkin does", []trace.Span{
			kind(testSpan(2, 1, "back", 11, 5), trace.KindServer), testSpan(1, 0, "front", 0, 20),
			kind(testSpan(2, 1, "front", 10, 8), trace.KindClient), testSpan(3, 2, "back", 12, 1), testSpan(4, 2, "front", 17, 1),
		}, []string{"1", "  2", "    2'", "      3", "    4"}},
	} {
		got := strings.TrimSuffix(outline(newTraceTree(c.spans)), "\n")
		if diff := cmp.Diff(strings.Join(c.want, "\n"), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestTraceTreeSums(t *testing.T) {
	bad := testSpan(3, 2, "b", -5, 1)
	bad.Error = true
	tree := newTraceTree([]trace.Span{testSpan(1, 0, "a", 0, 10), testSpan(2, 1, "b", 1, 30), bad, testSpan(4, 9, "c", 4, 2)})
	if tree.startNano != 1e18-5e6 || tree.extentNano != 36e6 {
		t.Errorf("extent: start %d, length %d", tree.startNano-1e18, tree.extentNano)
	}
	if tree.errors != 1 || tree.rows[0].errors != 1 || tree.rows[1].errors != 1 || tree.rows[2].errors != 0 {
		t.Errorf("errors: %d, by row %d %d %d", tree.errors, tree.rows[0].errors, tree.rows[1].errors, tree.rows[2].errors)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, tree.services); diff != "" {
		t.Errorf("services: %s", diff)
	}
	if m := tree.rows[3]; m.span != nil || m.startNano != 1e18+4e6 || m.endNano != 1e18+6e6 || m.key() != "~0000000000000009" {
		t.Errorf("missing parent: %+v", m)
	}
	if got := tree.path(2); len(got) != 3 || got[0] != 0 || got[2] != 2 {
		t.Errorf("path = %v, want 0 1 2", got)
	}
	if tree.main() != 0 || tree.rowOf(spanID(2).String()) != 1 || tree.rowOf("ffffffffffffffff") != -1 {
		t.Errorf("main %d, row of 2 %d", tree.main(), tree.rowOf(spanID(2).String()))
	}
}

// Whatever the parents are, each span has exactly one row, below its parent's.
func TestTraceTreeKeepsEverySpan(t *testing.T) {
	seed := seeds.One(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		n := 1 + r.IntN(40)
		spans := make([]trace.Span, n)
		for i := range spans {
			spans[i] = testSpan(1+r.IntN(n), r.IntN(n+4), "s"+fmt.Sprint(r.IntN(3)), r.Int64N(100), r.Int64N(50))
			spans[i].Kind = trace.Kind(r.IntN(6))
		}
		tree := newTraceTree(spans)
		seen := map[*trace.Span]bool{}
		for i := range tree.rows {
			row := &tree.rows[i]
			if row.span != nil {
				if seen[row.span] {
					t.Fatalf("seed %d: a span has two rows\n%s", seed, outline(tree))
				}
				seen[row.span] = true
			}
			if row.parent >= i || row.end <= i || row.end > len(tree.rows) {
				t.Fatalf("seed %d: row %d: parent %d, end %d\n%s", seed, i, row.parent, row.end, outline(tree))
			}
			if row.parent >= 0 && (row.depth != tree.rows[row.parent].depth+1 || tree.rows[row.parent].end < row.end) {
				t.Fatalf("seed %d: row %d does not lie inside its parent\n%s", seed, i, outline(tree))
			}
		}
		if len(seen) != n {
			t.Fatalf("seed %d: %d of %d spans have a row\n%s", seed, len(seen), n, outline(tree))
		}
	}
}

// A chain as deep as the trace is long must not exhaust a stack or take square time.
func TestTraceTreeDeepChain(t *testing.T) {
	spans := make([]trace.Span, 20000)
	for i := range spans {
		spans[i] = testSpan(i+1, i, "a", int64(i), 1)
	}
	tree := newTraceTree(spans)
	if last := tree.rows[len(tree.rows)-1]; last.depth != len(spans)-1 {
		t.Errorf("depth of the last = %d, want %d", last.depth, len(spans)-1)
	}
}

func BenchmarkTraceTree(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprintf("spans=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(7, 7))
			spans := make([]trace.Span, n)
			for i := range spans {
				spans[i] = testSpan(i+1, r.IntN(i+1), "s"+fmt.Sprint(r.IntN(8)), int64(i), 5)
			}
			b.ReportAllocs()
			for b.Loop() {
				newTraceTree(spans)
			}
		})
	}
}
