package handlers

import (
	"encoding/json"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// textCase is one line of testdata/explore_text.json, which the browser's twin
// of the text form reads as well (static/js/explore_text.test.js).
type textCase struct {
	Text   string          `json:"text"`
	Value  json.RawMessage `json:"value"`
	Prints string          `json:"prints"`
	Error  bool            `json:"error"`
}

func TestQueryTextForms(t *testing.T) {
	raw, err := os.ReadFile("testdata/explore_text.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string][]textCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	checkTextForm(t, cases["filters"], parseFilter, formatFilter)
	checkTextForm(t, cases["calculations"], parseCalculation, formatCalculation)
	checkTextForm(t, cases["orders"], parseOrder, formatOrder)
	checkTextForm(t, cases["havings"], parseHaving, formatHaving)
	checkTextForm(t, cases["calculated"], parseCalculated, formatCalculated)
}

func checkTextForm[T any](t *testing.T, cases []textCase, parse func(string) (T, error), format func(T) string) {
	t.Helper()
	if len(cases) == 0 {
		t.Errorf("no cases for %T", *new(T))
	}
	for _, c := range cases {
		v, err := parse(c.Text)
		if c.Error {
			if err == nil {
				t.Errorf("parse(%q) = %+v, want an error", c.Text, v)
			}
			continue
		}
		if err != nil {
			t.Errorf("parse(%q): %v", c.Text, err)
			continue
		}
		if diff := cmp.Diff(asJSON(t, c.Value), asJSON(t, v)); diff != "" {
			t.Errorf("parse(%q) (-want +got):\n%s", c.Text, diff)
		}
		want := c.Prints
		if want == "" {
			want = c.Text
		}
		got := format(v)
		if got != want {
			t.Errorf("format(parse(%q)) = %q, want %q", c.Text, got, want)
		}
		again, err := parse(got)
		if err != nil {
			t.Errorf("parse(%q), as printed: %v", got, err)
		} else if diff := cmp.Diff(v, again); diff != "" {
			t.Errorf("parse(format(x)) differs from x for %q:\n%s", c.Text, diff)
		}
	}
}

// asJSON brings a value into JSON's own types.
func asJSON(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"a = b", `"x y" in (1, "2", true)`, "a>=1e9", "a does not exist", `a = "\u0000"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 || !utf8.ValidString(s) { // the address is made valid before it is parsed
			return
		}
		v, err := parseFilter(s)
		if err != nil {
			return
		}
		again, err := parseFilter(formatFilter(v))
		if err != nil {
			t.Fatalf("parseFilter(%q), printed from %q: %v", formatFilter(v), s, err)
		}
		if diff := cmp.Diff(v, again); diff != "" {
			t.Fatalf("parse(format(x)) differs from x for %q:\n%s", s, diff)
		}
	})
}
