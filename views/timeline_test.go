package views

import (
	"math"
	"strings"
	"testing"
)

func TestNameParts(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"pinned the thread":                 "pinned the thread",
		"a Short::Name":                     "a Short::Name",
		"Api::QuotesController#create by x": "Api::|Quotes|Controller#|create by x",
		"see production/quotes-api.dealers": "see production/|quotes-|api.|dealers",
		"überlanges…Wörtchen,mitKomma":      "überlanges…Wörtchen,|mit|Komma",
	} {
		parts := nameParts(text)
		if got := strings.Join(parts, "|"); got != want {
			t.Errorf("nameParts(%q) = %q, want %q", text, got, want)
		}
		if strings.Join(parts, "") != text {
			t.Errorf("nameParts(%q) loses text", text)
		}
	}
}

func TestLonePoints(t *testing.T) {
	nan := math.NaN()
	c := LineChart{Time: ChartTime{From: 0, To: 5000, Start: 0, Step: 1000, Buckets: 5}}
	l := Line{Values: []float64{1, nan, 1, 0.5, nan}}
	c.Lines = []Line{l}
	if got, want := c.Points(l), "M100 0h0"; got != want {
		t.Errorf("points %q, want %q", got, want)
	}
	if got := c.Points(Line{Values: []float64{nan, 1, 1}}); got != "" {
		t.Errorf("points of a line without gaps: %q", got)
	}
}

func TestBreakable(t *testing.T) {
	var b strings.Builder
	if err := breakable("pinned Api::Quotes<Controller>#create").Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "pinned Api::<wbr>Quotes&lt;Controller&gt;#<wbr>create"; got != want {
		t.Errorf("breakable: %q, want %q", got, want)
	}
}
