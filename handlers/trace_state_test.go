package handlers

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"redthread/tracestore/trace"
)

// The addresses here are also in static/js/trace_state.test.js.
func TestTraceStateHref(t *testing.T) {
	for _, want := range []string{
		"/t/0a",
		"/t/0a/0000000000000002",
		"/t/0a/0000000000000002?half=1",
		"/t/0a?levels=2&open=0000000000000003",
		"/t/0a/0000000000000002?fold=0000000000000003,~0000000000000009&zoom=1200-5000&part=2&critical=1&q=SELECT+%26+%C3%BC&fields=db.&row=500",
	} {
		u, err := url.Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		_, span, _ := strings.Cut(strings.TrimPrefix(u.Path, "/t/"), "/")
		st := parseTraceState("0a", span, u.Query())
		if got := st.href(); got != want {
			t.Errorf("href of the state of %s\n is %s", want, got)
		}
	}
}

func TestTraceStateForgives(t *testing.T) {
	for _, q := range []string{"zoom=5-1", "zoom=-4-7", "zoom=x", "levels=-1", "levels=many", "row=-2", "half=2", "part=-1", "part=x"} {
		v, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		st := parseTraceState("0a", "", v)
		if got := st.href(); got != "/t/0a" {
			t.Errorf("%s: state %s, want it left out", q, got)
		}
	}
	long := parseTraceState("0a", "", url.Values{"fold": {strings.Repeat("0000000000000001,", 5000)}})
	if len(long.fold) != maxStateKeys {
		t.Errorf("%d folded keys read, want at most %d", len(long.fold), maxStateKeys)
	}
}

func TestVisibleRows(t *testing.T) {
	tree := newTraceTree([]trace.Span{
		testSpan(1, 0, "a", 0, 9), testSpan(2, 1, "a", 1, 5), testSpan(3, 2, "a", 2, 1), testSpan(4, 1, "a", 7, 1),
	})
	key := func(i int) string { return tree.rows[i].key() }
	for _, c := range []struct {
		name string
		st   traceState
		want []int
	}{
		{"all", traceState{}, []int{0, 1, 2, 3}},
		{"one folded", traceState{fold: []string{key(1)}}, []int{0, 1, 3}},
		{"a leaf cannot fold", traceState{fold: []string{key(3)}}, []int{0, 1, 2, 3}},
		{"one level", traceState{levels: 1}, []int{0}},
		{"two levels", traceState{levels: 2}, []int{0, 1, 3}},
		{"two levels, one opened", traceState{levels: 2, open: []string{key(1)}}, []int{0, 1, 2, 3}},
		{"toggled twice", traceState{}.toggled(key(1), 1).toggled(key(1), 1), []int{0, 1, 2, 3}},
		{"opened down to a row", traceState{levels: 1}.opened(tree, 2), []int{0, 1, 2, 3}},
	} {
		if diff := cmp.Diff(c.want, c.st.visibleRows(tree)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
