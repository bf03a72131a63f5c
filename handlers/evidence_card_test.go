package handlers

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"redthread/collab"
)

// frozenTraceBody is a frozen trace of spans given as "id parent name start duration".
func frozenTraceBody(t *testing.T, spans ...string) []byte {
	t.Helper()
	var list []map[string]any
	for _, s := range spans {
		f := strings.Fields(s)
		if f[1] == "-" {
			f[1] = ""
		}
		list = append(list, map[string]any{"span_id": f[0], "parent_span_id": f[1], "name": f[2], "service": "s", "start_unix_nano": f[3], "duration_nano": f[4]})
	}
	raw, err := json.Marshal(map[string]any{"trace": map[string]any{"start_unix_nano": "0", "duration_nano": "1000", "spans": len(spans)}, "spans": list})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTraceCardFoldsAlikeSpans(t *testing.T) {
	rows := func(spans ...string) string {
		t.Helper()
		c, err := drawCard(collab.KindTrace, frozenTraceBody(t, spans...))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, b := range c.trace.Bars {
			out = append(out, fmt.Sprintf("%d %s %s +%d", b.Depth, b.Label, b.Note, len(b.Also)))
			if b.X < 0 || b.W < minBar || b.X+b.W > 1000 {
				t.Errorf("bar %s from %d, %d wide", b.Label, b.X, b.W)
			}
		}
		return strings.Join(out, "; ")
	}
	for _, c := range []struct{ name, got, want string }{
		{"one query for each row", rows("1 - GET 0 1000", "2 1 SELECT 10 100", "3 1 SELECT 120 100", "4 1 render 300 50", "5 2 wait 11 1", "6 3 wait 121 1"),
			"0 GET 1 µs +0; 1 SELECT ×2 · 200 ns +1; 2 wait ×2 · 2 ns +1; 1 render 50 ns +0"},
		{"a parent that is not there", rows("2 9 a 0 10", "3 2 b 5 5"), "0 a 10 ns +0; 1 b 5 ns +0"},
		{"two halves of one span", rows("1 - call 0 10", "1 - call 2 5", "2 1 x 3 1"), "0 call ×2 · 15 ns +1; 1 x 1 ns +0"},
		{"its own parent", rows("1 1 a 0 10"), "0 a 10 ns +0"},
		{"nothing", rows(), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
	// Of very many rows the root and the longest are left, in their order.
	spans := []string{"1 - root 0 1"}
	for i := range 40 {
		spans = append(spans, fmt.Sprintf("%d 1 name-%02d %d %d", i+2, i, i, 1+i))
	}
	got := rows(spans...)
	if n := strings.Count(got, ";") + 1; n != maxTraceRows || !strings.HasPrefix(got, "0 root") || !strings.HasSuffix(got, "name-39 40 ns +0") || strings.Contains(got, "name-05") {
		t.Errorf("of 41 rows: %s", got)
	}
	// Parents in a circle are on no path from a root: nothing hangs.
	if got := rows("1 2 a 0 1", "2 1 b 0 1", "3 - c 0 1"); got != "0 c 1 ns +0" {
		t.Errorf("parents in a circle: %s", got)
	}
}
