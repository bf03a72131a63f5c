package views

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMarks places marks: those too near become one, words stand where there is
// room, and what began before the chart stands at its left end without a line.
func TestMarks(t *testing.T) {
	at := func(second int64) MarkerRow {
		return MarkerRow{ID: "k", Type: "deploy", Service: "api", At: time.Unix(second, 0).UTC()}
	}
	long := at(-50)
	long.End = time.Unix(25, 0).UTC()
	for _, c := range []struct {
		name    string
		markers []MarkerRow
		want    []string // place, label in brackets if it shows only on demand, side
		lines   string
		bands   []markBand
	}{
		{"none", nil, nil, "", nil},
		{"at the left", []MarkerRow{at(20)}, []string{"20% deploy api right"}, "20%", nil},
		{"at the right", []MarkerRow{at(90)}, []string{"90% deploy api left"}, "90%", nil},
		{"near", []MarkerRow{at(50), at(52), at(90)}, []string{"50% 2 markers right", "90% (deploy api) left"}, "50% 52% 90%", nil},
		{"no room between", []MarkerRow{at(10), at(30), at(50)}, []string{"10% (deploy api) left", "30% (deploy api) left", "50% deploy api right"}, "10% 30% 50%", nil},
		{"at one time", []MarkerRow{at(50), at(50)}, []string{"50% 2 markers right"}, "50%", nil},
		{"began before", []MarkerRow{long}, []string{"0% deploy api right"}, "", []markBand{{"0%", "25%"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			axis := ChartTime{From: 0, To: 100_000, Step: 10_000, Buckets: 10, Markers: c.markers}
			var got []string
			for _, m := range axis.marks() {
				label, side := m.Label, "right"
				if !m.Said {
					label = "(" + label + ")"
				}
				if m.Left {
					side = "left"
				}
				got = append(got, m.percent()+" "+label+" "+side)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("marks (-want +got):\n%s", diff)
			}
			if got := strings.Join(axis.lines(), " "); got != c.lines {
				t.Errorf("lines at %q, want %q", got, c.lines)
			}
			if diff := cmp.Diff(c.bands, axis.bands()); diff != "" {
				t.Errorf("bands (-want +got):\n%s", diff)
			}
		})
	}
}

// TestManyMarks: however many markers there are, their marks can be told apart, and
// the words of no two overlap.
func TestManyMarks(t *testing.T) {
	axis := ChartTime{From: 0, To: 1_000_000}
	for i := range int64(1000) {
		axis.Markers = append(axis.Markers, MarkerRow{Type: "deploy", At: time.Unix(i, 0).UTC()})
	}
	marks := axis.marks()
	if len(marks) < 20 || len(marks) > 34 {
		t.Errorf("1,000 markers make %d marks, want some 30", len(marks))
	}
	for i := 1; i < len(marks); i++ {
		if d := marks[i].At - marks[i-1].At; d < marksApart {
			t.Errorf("marks %d and %d are %v of the axis apart", i-1, i, d)
		}
	}
	if n := strings.Count(marks[0].Says, "\n"); n != maxMarkTold {
		t.Errorf("the first mark says %d lines, want %d and how many more", n+1, maxMarkTold)
	}
}
